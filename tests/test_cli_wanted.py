"""`atdc encode` with --tasks, --first and --max-bytes: files, what is said of them, and what is refused."""

import copy
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import atdc
from atdc import cli
from atdc.bitstream.container import ContainerReader
from atdc.config import MAX_QUALITY
from atdc.graph.scores import candidate_sets
from atdc.graph.task_graph import TaskGraph
from atdc.graph.wanted import WantedGraphs
from atdc.pipeline import Codec
from atdc.tasks import TASK_NAMES

DONE, FAILED, USAGE = 0, 1, 2
NORMAL, DEPTH, EDGES = (TASK_NAMES.index(name) for name in ("normal", "depth_zbuffer", "edge_texture"))
PAIR = ["normal", "depth_zbuffer"]
PICTURES = ["photos/a.png", "photos/sub/b.png"]


@pytest.fixture(scope="module")
def helped(untrained_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights that know that edges help normals and depth."""
    codec = copy.copy(atdc.load(untrained_weights))
    costs = np.ones((MAX_QUALITY + 1, len(candidate_sets(6, 2))))
    graphs = (TaskGraph.from_edges(6, [(EDGES, NORMAL), (NORMAL, DEPTH)]),) * (MAX_QUALITY + 1)
    wanted = WantedGraphs(2, costs, costs, {(NORMAL, DEPTH): graphs})
    codec.feature_codec.graph_tables = replace(codec.feature_codec.graph_tables, wanted=wanted)
    path = tmp_path_factory.mktemp("helped") / "helped.safetensors"
    codec.save(path)
    return path


@pytest.fixture(scope="module")
def codec(helped: Path) -> Codec:
    return atdc.load(helped)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working folder with two images, one below the other's folder, and a file of features."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for number, name in enumerate(PICTURES):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (24, 32 + number, 3), dtype=np.uint8)).save(name)
    np.savez("f.npz", **{name: rng.normal(size=(8, 5, 3)).astype(np.float32) for name in TASK_NAMES})  # type: ignore[arg-type]
    yield tmp_path


@pytest.fixture
def encode(helped: Path) -> Any:
    def run(*arguments: str) -> Any:
        return CliRunner().invoke(cli.app, ["encode", *arguments, "-o", "out", "--model", str(helped)])

    return run


def pixels(name: str) -> np.ndarray:
    with Image.open(name) as image:
        return np.asarray(image)


def written(name: str = "a") -> bytes:
    return Path(f"out/{name}.atdc").read_bytes()


def words(text: str) -> str:
    return " ".join(text.replace("│", " ").split())


def test_every_image_of_a_folder_becomes_a_file_of_the_wanted_tasks(encode: Any, codec: Codec) -> None:
    done = encode("photos", "--tasks", "rgb", "--tasks", "segment_semantic")
    assert done.exit_code == DONE, done.output
    for name, output in zip(PICTURES, ("a", "sub/b"), strict=True):
        assert written(output) == codec.encode(pixels(name), tasks=["rgb", "segment_semantic"])
        assert set(codec.decode(written(output))) == {"rgb", "segment_semantic"}


def test_a_file_of_features_becomes_one_of_the_wanted_tensors(encode: Any, codec: Codec) -> None:
    assert encode("f.npz", "--tasks", ",".join(PAIR)).exit_code == DONE
    assert written("f") == codec.feature_codec.encode(dict(np.load("f.npz")), wanted=PAIR)
    assert set(codec.feature_codec.decode(written("f"))) == {*PAIR, "edge_texture"}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--tasks", "normals"], "Did you mean normal?"), (["--tasks", ","], "names no tensor"),
        (["--tasks", ""], "an empty name"), (["--first", "normals"], "Did you mean normal?"),
        (["--first", ","], "names no tensor"), (["--first", "rgb", "--tasks", "normal"], "one of --tasks: normal"),
        (["--first", "rgb", "--profile", "compact"], "exclude each other"),
        (["--max-bytes", "0"], "greater than or equal to 1"), (["--max-bytes", "many"], "it should be a valid integer"),
        (["--max-bytes", "500", "--balanced"], "--max-bytes chooses qualities"),
        (["--weight", "rgb=2"], "--weight counts within --max-bytes"),
        (["--max-bytes", "500", "--weight", "rgb"], "should read NAME=WEIGHT"),
        (["--max-bytes", "500", "--weight", "rbg=2"], "Did you mean rgb?"),
        (["--max-bytes", "500", "--weight", "rgb=2", "--tasks", "normal"], "one of --tasks: normal"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_said_once_and_nothing_is_written(encode: Any, options: list[str], said: str) -> None:
    result = encode("photos", *options)
    assert result.exit_code == USAGE and words(result.stderr).count(said) == 1, result.stderr
    assert not list(Path().rglob("*.atdc"))


@pytest.mark.parametrize("option", ["--tasks", "--first"])
def test_a_name_twice_counts_once_in_every_option_and_command(encode: Any, helped: Path, option: str) -> None:
    assert encode("photos/a.png", option, "normal,rgb").exit_code == DONE
    once = written()
    for options in ([option, "normal,rgb,normal"], [option, "rgb,normal", option, "normal"]):
        assert encode("photos/a.png", *options, "--force").exit_code == DONE
        assert written() == once
    decode = ["decode", "out/a.atdc", "-o", "answers", "--tasks", "rgb,rgb", "--model", str(helped)]
    done = CliRunner().invoke(cli.app, decode)
    assert done.exit_code == DONE and words(done.stdout).count("rgb") == 1, done.output


def test_a_line_names_what_is_sent_to_help_and_no_other_line_does(encode: Any) -> None:
    assert words(encode("photos/a.png", "f.npz", "--tasks", ",".join(PAIR)).stdout).count(
        "sent to help: edge_texture"
    ) == 2  # fmt: skip
    for options in ([], ["--tasks", "normal"], ["--tasks", "normal,depth_zbuffer,edge_texture"]):
        done = encode("photos/a.png", "--force", *options)
        assert done.exit_code == DONE and "sent to help" not in done.stdout


def told_of(done: Any) -> dict[str, Any]:
    assert done.exit_code == DONE, done.output
    (told,) = json.loads(done.stdout)
    return dict(told)


def test_programs_are_told_what_was_wanted_and_what_helps(encode: Any, codec: Codec) -> None:
    told = told_of(encode("photos/a.png", "-q", "2", "--tasks", "depth_zbuffer,normal", "--json"))
    assert told == {
        "file": "photos/a.png", "output": "out/a.atdc", "bytes": len(written()), "wanted": PAIR,
        "helpers": ["edge_texture"], "quality": dict.fromkeys(("edge_texture", *PAIR), 2.0),
    }  # fmt: skip
    whole = told_of(encode("f.npz", "--json"))
    assert whole["wanted"] == list(TASK_NAMES) and whole["helpers"] == [] and "segment_bytes" not in whole


@pytest.mark.parametrize("options", [["--profile", "segments"], ["--first", "depth_zbuffer"]])
def test_programs_are_told_what_each_segment_takes_helpers_too(encode: Any, codec: Codec, options: list[str]) -> None:
    names = ["segment_semantic", *PAIR] if "--first" in options else PAIR
    Image.fromarray(np.random.default_rng(1).integers(0, 256, (160, 192, 3), dtype=np.uint8)).save("photos/a.png")
    told = told_of(encode("photos/a.png", "-q", "7", "--tasks", ",".join(names), "--json", *options))
    inspected = codec.inspect(written())
    assert told["helpers"] == (["edge_texture"] if "--profile" in options else [])
    assert len(set(told["segment_bytes"].values())) > 1
    assert told["segment_bytes"] == {task: row["bytes"] for task, row in inspected.tasks.items()}


def test_first_among_wanted_tasks_stands_at_the_beginning_and_nothing_helps(encode: Any, codec: Codec) -> None:
    assert encode("photos/a.png", "--tasks", ",".join(PAIR), "--first", "depth_zbuffer").exit_code == DONE
    assert written() == codec.encode(pixels(PICTURES[0]), tasks=PAIR, first=["depth_zbuffer"])
    assert [name for name, _ in codec.decode_progressive(written())] == ["depth_zbuffer", "normal"]


def test_names_of_first_may_repeat_and_of_all_tasks_they_are_no_order(encode: Any, codec: Codec) -> None:
    assert encode("photos/a.png", "--first", "rgb,normal", "--first", "rgb").exit_code == DONE
    assert written() == codec.encode(pixels(PICTURES[0]), first=["normal", "rgb"])
    assert encode("photos/a.png", "--first", ",".join(TASK_NAMES), "--force").exit_code == DONE
    assert ContainerReader(written()).header.profile == "segments"


def test_every_file_keeps_within_max_bytes_and_is_the_codecs_own(encode: Any, codec: Codec) -> None:
    limit = max(len(codec.encode(pixels(name), quality, tasks=PAIR)) for name in PICTURES for quality in (0, 7)) - 1
    done = encode("photos", "--max-bytes", str(limit), "--tasks", ",".join(PAIR), "--weight", "normal=3")
    assert done.exit_code == DONE, done.output
    for name, output in zip(PICTURES, ("a", "sub/b"), strict=True):
        data = written(output)
        assert len(data) <= limit
        assert data == codec.encode(pixels(name), tasks=PAIR, max_bytes=limit, weights={"normal": 3})


def test_too_few_bytes_are_an_error_of_that_input_and_name_how_many_it_takes(encode: Any, codec: Codec) -> None:
    least = [len(codec.encode(pixels(name), 0)) for name in PICTURES]
    Image.new("RGB", (400, 300)).save("photos/large.png")
    large = len(codec.encode(pixels("photos/large.png"), 0))
    assert large > max(least)
    result = encode("photos", "--max-bytes", str(large - 1))
    assert result.exit_code == FAILED and sorted(path.name for path in Path("out").rglob("*.atdc")) == [
        "a.atdc", "b.atdc",
    ]  # fmt: skip
    assert f"expected at least {large}" in words(result.stderr)
