"""The command line: what each command writes, its exit status, and one clear line for everything that goes wrong."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import atdc.cli.inputs
import atdc.pipeline
import atdc.weights
from atdc import cli
from atdc.bitstream.container import Container, ContainerReader, Header, Segment, pack
from atdc.bitstream.sources import Source
from atdc.cli.batch import complaint
from atdc.cli.inputs import Item
from atdc.config import DEFAULT_MODEL, ModelConfig
from atdc.errors import AtdcError, CorruptFileError, ImageError, NotAnAtdcFileError, WeightsError
from atdc.pipeline import Answers
from atdc.tasks import TASK_NAMES

USAGE, FAILED, DONE = 2, 1, 0


class FakeCodec:
    """Says what it was asked; a file is JSON, an answer a constant image."""

    def __init__(self) -> None:
        self.calls: list[dict[str, Any]] = []

    feature_codec = SimpleNamespace(task_names=TASK_NAMES, tensors=ModelConfig().tensors(TASK_NAMES))

    def to(self, device: str) -> "FakeCodec":
        assert device == "cpu"
        return self

    def encode(
        self, image: np.ndarray, quality: Mapping[str, float], graph: str, effort: str, profile: str | None, *,
        tasks: Sequence[str] | None,
        first: Sequence[str], pixel_limit: int,
    ) -> bytes:  # fmt: skip
        assert image.shape[0] * image.shape[1] <= pixel_limit
        if image.shape[0] == 13:
            raise RuntimeError("thirteen\nrows")
        if image.shape[0] == 14:
            raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to ...")
        self.calls.append({"quality": dict(quality), "graph": graph, "effort": effort, "profile": profile or "compact"})
        assert not first
        return json.dumps({"size": image.shape[:2]}).encode()

    def decode(
        self, source: Source, tasks: Sequence[str] | None = None, *, skip_damaged: bool, pixel_limit: int
    ) -> Answers:
        assert skip_damaged
        data = source.read(0, source.size())
        if not data.startswith(b"{"):
            raise NotAnAtdcFileError("file", "something else", "an ATDC file")
        height, width = json.loads(data)["size"]
        if height * width > pixel_limit:
            raise CorruptFileError("height and width", "many", f"at most {pixel_limit} pixels", "Read it otherwise.")
        shapes = {"normal": (height, width, 3), "rgb": (height, width, 3)}
        wanted = tasks or TASK_NAMES
        return Answers(
            {task: np.full(shapes.get(task, (height, width)), 0.5, np.float32) for task in wanted}, {}, len(data)
        )


@pytest.fixture
def codec(monkeypatch: pytest.MonkeyPatch) -> FakeCodec:
    fake = FakeCodec()

    def load(name: str) -> FakeCodec:
        if name != DEFAULT_MODEL:
            raise WeightsError("model", repr(name), "shipped weights (small)")
        return fake

    monkeypatch.setattr(atdc.pipeline, "load", load)
    return fake


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working folder with two images and a file that is none."""
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (6, 4)).save("a.png")
    Image.new("L", (8, 8)).save("b.jpg")
    Path("text.png").write_text("no image")
    yield tmp_path


def test_a_messages_words_are_not_taken_for_the_file_that_it_is_about() -> None:
    item = Item("./a", Path("a"), Path("a"))
    error = ImageError("a", "a file that is not an image", "an image", "Take a photo.")
    assert complaint(error, item) == "./a: found a file that is not an image; expected an image. Take a photo."


def run(*arguments: str) -> Any:
    return CliRunner().invoke(cli.app, list(arguments))


def words(text: str) -> str:
    """Without the frames and line breaks that a terminal's width brings."""
    return " ".join(text.replace("│", " ").split())


# --- encode ----------------------------------------------------------------------------------------------------------


def test_encode_writes_the_named_file(codec: FakeCodec, folder: Path) -> None:
    result = run("encode", "a.png", "-o", "out/x.atdc")
    assert result.exit_code == DONE, result.output
    assert Path("out/x.atdc").read_bytes() == b'{"size": [4, 6]}'
    assert "a.png → out/x.atdc" in result.stdout
    assert codec.calls == [
        {"quality": dict.fromkeys(TASK_NAMES, 4.0), "graph": "codebook", "effort": "normal", "profile": "compact"}
    ]


def test_encode_writes_many_files_into_a_folder_with_a_summary(codec: FakeCodec, folder: Path) -> None:
    result = run("encode", "a.png", "b.jpg", "-o", "out")
    assert result.exit_code == DONE, result.output
    assert sorted(path.name for path in Path("out").iterdir()) == ["a.atdc", "b.atdc"]
    assert "encoded 2 of 2 files in" in result.stdout


def test_an_existing_folder_whose_name_ends_like_a_file_is_a_folder(codec: FakeCodec, folder: Path) -> None:
    Path("all.atdc").mkdir()
    assert run("encode", "a.png", "-o", "all.atdc").exit_code == DONE
    assert Path("all.atdc/a.atdc").is_file()


def test_options_reach_the_codec(codec: FakeCodec, folder: Path) -> None:
    result = run(
        "encode", "a.png", "-o", "o", "-q", "2.5", "--task-quality", "depth_zbuffer=6", "--task-quality", "rgb=0",
        "--graph", "fixed-mode", "--effort", "high", "--profile", "segments",
    )  # fmt: skip
    assert result.exit_code == DONE, result.output
    quality = dict.fromkeys(TASK_NAMES, 2.5) | {"depth_zbuffer": 6.0, "rgb": 0.0}
    assert codec.calls == [{"quality": quality, "graph": "fixed-mode", "effort": "high", "profile": "segments"}]


def test_an_image_that_fails_does_not_stop_the_others(codec: FakeCodec, folder: Path) -> None:
    Image.new("RGB", (6, 13)).save("thirteen.png")
    result = run("encode", "text.png", "a.png", "missing.png", "thirteen.png", "b.jpg", "-o", "out")
    assert result.exit_code == FAILED
    assert sorted(path.name for path in Path("out").iterdir()) == ["a.atdc", "b.atdc"]
    errors = result.stderr.strip().splitlines()
    assert len(errors) == 3 and all(line.startswith("atdc: ") for line in errors)
    assert "text.png: found a file that is not an image" in errors[0]
    assert "missing.png: found no such file" in errors[1]
    assert "thirteen.png: RuntimeError: thirteen rows" in errors[2]
    assert "encoded 2 of 5 files, 3 failed" in result.stdout


def test_too_little_memory_is_said_so(codec: FakeCodec, folder: Path) -> None:
    Image.new("RGB", (6, 14)).save("large.png")
    result = run("encode", "large.png", "a.png", "-o", "out")
    assert result.exit_code == FAILED and Path("out/a.atdc").exists()
    assert result.stderr.startswith("atdc: large.png: found too little memory")


def test_quiet_prints_errors_only(codec: FakeCodec, folder: Path) -> None:
    for arguments in (
        ["encode", "a.png", "text.png", "-o", "out", "--quiet"],
        ["--quiet", "encode", "a.png", "text.png", "-o", "out"],
    ):
        result = run(*arguments)
        assert result.exit_code == FAILED and result.stdout == "" and result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "arguments, expected",
    [
        (["--graph", "exat"], "unknown graph setting 'exat'. Did you mean exact? Known: codebook, exact, greedy"),
        (["-q", "7.5"], "7.5 is out of range; qualities run from 0 (fewest bytes) to 7"),
        (["-q", "high"], "valid number"),
        (["-q", "nan"], "nan is out of range"),
        (
            ["--task-quality", "depth=6"],
            "unknown tensor or task 'depth'. Did you mean depth_zbuffer? Known: segment_semantic",
        ),
        (["--task-quality", "depth_zbuffer"], "should read NAME=QUALITY, for example depth_zbuffer=6"),
        (["--task-quality", "rgb=9"], "9 is out of range"),
        (["--task-quality", "rgb=much"], "'much' in 'rgb=much' is not a number"),
        (["--effort", "low"], "'low' is not one of 'normal', 'high'"),
        (["--profile", "small"], "'small' is not one of 'compact', 'segments'"),
    ],
)
def test_a_value_that_makes_no_sense_is_a_usage_error(
    codec: FakeCodec, folder: Path, arguments: list[str], expected: str
) -> None:
    result = run("encode", "a.png", "-o", "out", *arguments)
    assert result.exit_code == USAGE
    assert expected in words(result.stderr)
    assert not Path("out").exists()


def test_two_images_never_go_to_one_file(codec: FakeCodec, folder: Path) -> None:
    Image.new("RGB", (7, 5)).save("a.jpg")
    both = run("encode", "a.png", "a.jpg", "b.jpg", "-o", "out")
    assert both.exit_code == FAILED and "a.jpg: found out/a.atdc, which a.png would be written to, too" in words(
        both.stderr
    )
    assert not Path("out/a.atdc").exists() and Path("out/b.atdc").exists()
    one = run("encode", "a.png", "b.jpg", "-o", "x.atdc")
    assert one.exit_code == USAGE and "name a folder" in words(one.stderr)


def test_output_that_cannot_be_written_is_one_line(codec: FakeCodec, folder: Path) -> None:
    Path("file").write_text("in the way")
    result = run("encode", "a.png", "-o", "file")
    assert result.exit_code == FAILED and "file: found a file; expected a folder" in words(result.stderr)
    assert Path("file").read_text() == "in the way"


def test_a_full_disk_leaves_no_half_file(codec: FakeCodec, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        result = run("encode", "a.png", "-o", "out")
    assert result.exit_code == FAILED and "no space left on device" in words(result.stderr).lower()
    assert list(Path("out").iterdir()) == []


def test_unknown_weights_are_one_line(codec: FakeCodec, folder: Path) -> None:
    result = run("encode", "a.png", "-o", "out", "--model", "large")
    assert result.exit_code == FAILED and result.stderr.startswith("atdc: model: found 'large'")


# --- decode ----------------------------------------------------------------------------------------------------------


def test_decode_writes_an_image_and_the_numbers_of_each_task(codec: FakeCodec, folder: Path) -> None:
    assert run("encode", "a.png", "-o", "a.atdc").exit_code == DONE
    result = run("decode", "a.atdc", "-o", "answers")
    assert result.exit_code == DONE, result.output
    expected = {f"{task}.{suffix}" for task in TASK_NAMES for suffix in ("png", "npy")}
    assert {path.name for path in Path("answers/a").iterdir()} == expected
    with Image.open("answers/a/normal.png") as image:
        assert image.size == (6, 4) and image.mode == "RGB"
    assert np.load("answers/a/depth_zbuffer.npy").shape == (4, 6)


def test_decode_of_some_tasks_writes_only_those(codec: FakeCodec, folder: Path) -> None:
    run("encode", "a.png", "-o", "a.atdc")
    assert run("decode", "a.atdc", "-o", "answers", "--tasks", "normal, rgb").exit_code == DONE
    assert {path.stem for path in Path("answers/a").iterdir()} == {"normal", "rgb"}
    wrong = run("decode", "a.atdc", "-o", "answers", "--tasks", "normals")
    assert wrong.exit_code == USAGE and "Did you mean normal?" in words(wrong.stderr)


def test_a_file_that_fails_does_not_stop_the_others(codec: FakeCodec, folder: Path) -> None:
    run("encode", "a.png", "-o", "a.atdc")
    result = run("decode", "text.png", "a.atdc", "missing.atdc", "-o", "answers")
    assert result.exit_code == FAILED and Path("answers/a/rgb.png").exists()
    assert len(result.stderr.strip().splitlines()) == 2
    assert "decoded 1 of 3 files, 2 failed" in result.stdout


def test_too_large_an_image_is_refused_with_the_option_that_helps(codec: FakeCodec, folder: Path) -> None:
    run("encode", "a.png", "-o", "a.atdc")
    assert run("decode", "a.atdc", "-o", "answers", "--pixel-limit", "24").exit_code == DONE
    result = run("decode", "a.atdc", "-o", "answers", "--pixel-limit", "23")
    assert result.exit_code == FAILED
    assert "expected at most 23 pixels. If that size is meant, raise --pixel-limit." in result.stderr
    assert run("decode", "a.atdc", "-o", "answers", "--pixel-limit", "0").exit_code == USAGE


def test_a_file_that_no_image_needs_is_not_read(
    codec: FakeCodec, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("encode", "a.png", "-o", "a.atdc")
    monkeypatch.setattr(atdc.cli.inputs, "FILE_LIMIT_BYTES", 15)
    for command in (["decode", "a.atdc", "-o", "answers"], ["inspect", "a.atdc"], ["verify", "a.atdc"]):
        result = run(*command)
        assert result.exit_code == FAILED and "a.atdc: found 16 bytes; expected at most 15 bytes" in result.stderr


# --- real files: decode in part, inspect, verify ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def files(untrained_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """A file of each profile, whose weights are not the shipped ones. Normal has ancestors and descendants."""
    image = np.random.default_rng(0).integers(0, 256, (70, 450, 3), dtype=np.uint8)
    codec = atdc.pipeline.load(untrained_weights)
    graph = codec.feature_codec.graph_tables.listed[1]
    return {name: codec.encode(image, 7, graph, profile=name) for name in ("compact", "segments")}


@pytest.fixture
def real(files: dict[str, bytes], folder: Path) -> dict[str, int]:
    """The two files, and ``damaged.atdc``, whose segment of normal is; where each segment starts."""
    for name, data in files.items():
        Path(f"{name}.atdc").write_bytes(data)
    whole = bytearray(files["segments"])
    lengths = ContainerReader(bytes(whole)).lengths
    starts = {task: len(whole) - sum(lengths[index:]) for index, task in enumerate(TASK_NAMES)}
    whole[starts["normal"] + 3] ^= 1
    Path("damaged.atdc").write_bytes(whole)
    return starts


@pytest.fixture
def no_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if no weights were in the package."""
    monkeypatch.setattr(atdc.weights, "_SHIPPED", tmp_path)


def test_one_task_of_segments_is_decoded_from_its_bytes_alone(real: dict[str, int], untrained_weights: Path) -> None:
    for name in ("segments", "compact"):
        result = run("decode", f"{name}.atdc", "-o", "answers", "--tasks", "normal", "--model", str(untrained_weights))
        assert result.exit_code == DONE, result.output
        read, size = re.search(r"normal; read ([\d,]+) of ([\d,]+) bytes", result.stdout).groups()
        read, size = (int(number.replace(",", "")) for number in (read, size))
        assert size == Path(f"{name}.atdc").stat().st_size
        assert read == (real["depth_zbuffer"] if name == "segments" else size)  # normal and all before it


def test_files_find_the_shipped_weights_that_wrote_them(
    real: dict[str, int], untrained_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipped = tmp_path / "weights"
    shipped.mkdir()
    monkeypatch.setattr(atdc.weights, "_SHIPPED", shipped)
    assert run("decode", "compact.atdc", "-o", "answers").exit_code == FAILED
    assert "all integers" not in run("verify", "compact.atdc").stdout
    another = tmp_path / "named"
    another.mkdir()
    shutil.copy(untrained_weights, another / "other.safetensors")
    monkeypatch.setattr(atdc.weights, "_SHIPPED", another)
    result = run("decode", "compact.atdc", "-o", "answers", "--tasks", "normal")
    assert result.exit_code == DONE, result.output
    assert "all integers" in run("verify", "compact.atdc").stdout


def test_of_a_damaged_file_what_is_whole_is_decoded(real: dict[str, int], untrained_weights: Path) -> None:
    lost = {"normal", "depth_zbuffer", "rgb"}
    model = ("--model", str(untrained_weights))
    result = run("decode", "damaged.atdc", "compact.atdc", "-o", "answers", *model)
    assert result.exit_code == FAILED
    assert {path.stem for path in Path("answers/damaged").iterdir()} == set(TASK_NAMES) - lost
    errors = result.stderr.strip().splitlines()
    assert len(errors) == len(lost)
    for name in lost:
        (error,) = [line for line in errors if line.startswith(f"atdc: damaged.atdc: {name} is not decoded: ")]
        assert ("found check" if name == "normal" else "its parent normal damaged") in error
    assert "decoded 1 of 2 files, 1 in part" in result.stdout
    nothing = run("decode", "damaged.atdc", "-o", "other", "--tasks", "normal", *model)
    assert nothing.exit_code == FAILED and "damaged.atdc → nothing; read" in nothing.stdout
    assert not Path("other/damaged").exists()
    damaged = bytearray(Path("compact.atdc").read_bytes())
    damaged[-1] ^= 1
    Path("damaged.atdc").write_bytes(damaged)
    whole = run("decode", "damaged.atdc", "-o", "other", *model)
    assert whole.exit_code == FAILED and whole.stderr.startswith("atdc: damaged.atdc: header or payload: found check")


@pytest.mark.parametrize("profile", ["compact", "segments"])
def test_inspect_prints_a_table_or_json(real: dict[str, int], untrained_weights: Path, profile: str) -> None:
    model = ("--model", str(untrained_weights))
    table = run("inspect", f"{profile}.atdc", *model)
    assert table.exit_code == DONE and table.stderr == ""
    for word in ("predicted from", "450×70 pixels", "ideal bits", "depth_zbuffer", f"profile {profile}"):
        assert word in table.stdout
    assert "--model" not in table.stdout
    values = json.loads(run("inspect", f"{profile}.atdc", "--json", *model).stdout)
    assert set(values["graph"]) == set(TASK_NAMES) == set(values["tasks"])
    assert values["ideal_bits"] > 0


@pytest.mark.parametrize("profile", ["compact", "segments"])
def test_inspect_without_weights_says_what_the_file_says(
    real: dict[str, int], no_weights: None, untrained_weights: Path, profile: str
) -> None:
    fingerprint = atdc.weights.open_weights(untrained_weights).fingerprint.hex()
    result = run("inspect", f"{profile}.atdc")
    assert result.exit_code == DONE and result.stderr == ""
    assert f"graph: number 1 of the list kept with weights {fingerprint}" in result.stdout
    assert f"name the weights {fingerprint} with --model" in result.stdout
    assert ("bytes  share" in result.stdout) == (profile == "segments")
    values = json.loads(run("inspect", f"{profile}.atdc", "--json").stdout)
    assert values["graph"] is None and values["graph_number"] == 1 and list(values["tasks"]) == list("012345")


def test_the_default_weights_are_used_if_they_wrote_the_file_and_never_in_the_way(
    real: dict[str, int], no_weights: None, untrained_weights: Path
) -> None:
    whole = untrained_weights.read_bytes()
    for content, decoded in ((whole, True), (whole[:500], False)):
        Path("small.safetensors").write_bytes(content)
        for command, words_of_weights in (("inspect", "predicted from"), ("verify", "all integers")):
            result = run(command, "compact.atdc")
            assert result.exit_code == DONE and (words_of_weights in result.stdout) == decoded


def test_bare_features_have_positions(folder: Path, no_weights: None) -> None:
    header = Header(
        fingerprint=b"\1\2\3\4", kind="features", profile="compact", height=3, width=5, qualities=(8, 9), graph=4
    )
    Path("bare.atdc").write_bytes(pack(Container(header, (Segment(b"a", 0),))))
    result = run("inspect", "bare.atdc")
    assert result.exit_code == DONE and "the features of 2 tensors" in result.stdout and " 3×5 " in result.stdout
    assert "bits per position" in result.stdout and "graph: number 4" in result.stdout


def test_weights_that_are_named_must_be_there(real: dict[str, int], no_weights: None) -> None:
    for command in ("inspect", "verify"):
        result = run(command, "compact.atdc", "--model", "small")
        assert result.exit_code == FAILED and result.stderr.startswith("atdc: model: found 'small'")
        result = run(command, "compact.atdc", "--model", "text.png")
        assert result.exit_code == FAILED and result.stdout == ""


def test_what_cannot_be_inspected_is_one_line(real: dict[str, int], folder: Path) -> None:
    Path("cut.atdc").write_bytes(Path("segments.atdc").read_bytes()[:-1])
    Path("empty").mkdir()
    for name in ("cut.atdc", "text.png", "missing.atdc", "empty"):
        result = run("inspect", name)
        assert result.exit_code == FAILED and result.stdout == ""
        assert result.stderr.startswith(f"atdc: {name}: ") and result.stderr.count("\n") == 1


def test_verify_says_of_every_file_what_is_wrong_and_what_was_checked(
    real: dict[str, int], untrained_weights: Path
) -> None:
    model = ("--model", str(untrained_weights))
    fine = run("verify", "compact.atdc", "segments.atdc", *model)
    assert fine.exit_code == DONE and fine.stderr == ""
    assert fine.stdout.count(": ok; checked: header, checks, and all integers with the weights") == 2
    data = bytearray(Path("damaged.atdc").read_bytes())
    data[real["rgb"]] ^= 0x80
    Path("damaged.atdc").write_bytes(data + b"?")
    result = run("verify", "damaged.atdc", "missing.atdc", "text.png", "compact.atdc", *model)
    assert result.exit_code == FAILED
    assert "damaged.atdc" not in result.stdout and "compact.atdc: ok" in result.stdout
    assert "verified 1 of 4 files, 3 not ok" in result.stdout
    errors = result.stderr.strip().splitlines()
    starts = ["damaged.atdc: segment of normal", "damaged.atdc: segment of rgb", "damaged.atdc: after the last segment",
              "missing.atdc: found no such file", "text.png: file: found it begins with"]  # fmt: skip
    assert len(errors) == len(starts)
    for error, start in zip(errors, starts, strict=True):
        assert error.startswith(f"atdc: {start}")


def test_verify_without_weights_checks_bytes(real: dict[str, int], no_weights: None) -> None:
    result = run("verify", "compact.atdc", "segments.atdc")
    assert result.exit_code == DONE
    assert result.stdout.count(": ok; checked: header and checks; for the integers, name the weights") == 2
    result = run("verify", "damaged.atdc", "--quiet")
    assert result.exit_code == FAILED and result.stdout == ""
    assert result.stderr.startswith("atdc: damaged.atdc: segment 3: found check")


def test_verify_for_programs_lists_every_file(real: dict[str, int], untrained_weights: Path) -> None:
    result = run("verify", "damaged.atdc", "missing.atdc", "compact.atdc", "--json", "--model", str(untrained_weights))
    assert result.exit_code == FAILED
    damaged, missing, whole = json.loads(result.stdout)
    assert [row["file"] for row in (damaged, missing, whole)] == ["damaged.atdc", "missing.atdc", "compact.atdc"]
    assert whole["ok"] and whole["decoded"] and whole["problems"] == [] and len(whole["fingerprint"]) == 8
    assert not missing["ok"] and not missing["decoded"] and missing["fingerprint"] is None
    (problem,) = damaged["problems"]
    assert problem["error"] == "CorruptFileError" and problem["where"] == "segment of normal"


def test_too_large_an_image_is_refused_by_inspect_and_verify_too(real: dict[str, int]) -> None:
    for command in ("inspect", "verify"):
        result = run(command, "segments.atdc", "--pixel-limit", "100")
        assert result.exit_code == FAILED and "raise --pixel-limit" in result.stderr
        assert run(command, "segments.atdc", "--pixel-limit", "31500").exit_code == DONE


@pytest.mark.parametrize("command", ["inspect", "verify"])
def test_reading_integers_does_not_import_torch(real: dict[str, int], untrained_weights: Path, command: str) -> None:
    code = (
        f"import sys; sys.argv = ['atdc', '{command}', 'segments.atdc', '--model', {str(untrained_weights)!r}]\n"
        "import atdc.cli\n"
        "try: atdc.cli.main()\n"
        "except SystemExit as end: assert not end.code\n"
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "450×70" in done.stdout or "all integers" in done.stdout


# --- the measuring commands pass on what they are told ---------------------------------------------------------------


def test_evaluate_passes_its_plan_on_and_prints_a_summary(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    seen: dict[str, Any] = {}

    def run_evaluate(model: str, data: Path, out: Path, **plan: Any) -> dict[str, Any]:
        seen.update(plan, model=model, out=out)
        return {"points": [], "bd_rates": []}

    monkeypatch.setitem(sys.modules, "atdc_bench.experiments.evaluate", SimpleNamespace(run_evaluate=run_evaluate))
    plan = ("--count", "8", "--qualities", "0,2.5,4,7", "--settings", "fixed,exact")
    result = run("bench", "evaluate", *plan, "-o", "r.json")
    assert result.exit_code == DONE, result.output
    assert seen["qualities"] == [0, 2.5, 4, 7] and seen["settings"] == ["fixed", "exact"] and seen["count"] == 8
    assert "written: r.json" in result.stdout
    assert run("bench", "evaluate", "--settings", "fixd").exit_code == USAGE
    assert run("bench", "evaluate", "--qualities", "0;1").exit_code == USAGE


def test_data_knows_its_splits(folder: Path) -> None:
    result = run("data", "--split", "tests")
    assert result.exit_code == USAGE and "Did you mean test" in words(result.stderr)


# --- the command itself ----------------------------------------------------------------------------------------------


def test_help_names_every_command_and_shows_examples() -> None:
    text = run("--help").stdout
    for name in (
        "encode", "decode", "inspect", "verify", "demo", "data", "fit", "train", "bench",
    ):  # fmt: skip
        assert f" {name} " in text
        assert run(name, "--help").exit_code == DONE
    panels = [word for word in ("Use", "Make the weights", "Measure", "Commands") if f"─ {word} ─" in text]
    assert panels == ["Use", "Make the weights", "Measure"]
    assert "Examples" in run("encode", "--help").stdout


def test_measuring_commands_are_listed_under_bench_and_nowhere_else() -> None:
    use, measure = run("--help").stdout, run("bench", "--help").stdout
    names = "evaluate", "speed", "score-calibration", "statistics", "compare", "sweep", "scaling", "fuzz", "balance"
    for name in names:
        assert f" {name} " in measure and f" {name} " not in use
        assert run("bench", name, "--help").exit_code == DONE


@pytest.mark.parametrize("name", ["evaluate", "compare", "joint-finetune", "balance"])
def test_a_measuring_command_by_its_former_name_is_one_line_with_the_new_one(name: str) -> None:
    result = run(name, "--count", "3")
    assert result.exit_code == USAGE and result.stdout == ""
    assert result.stderr.strip() == f"atdc: atdc {name}: found a command's former name; expected atdc bench {name}."


def test_the_former_bench_is_one_line_with_the_new_name() -> None:
    result = run("bench", "--count", "3")
    assert result.exit_code == USAGE and result.stdout == ""
    (line,) = result.stderr.strip().splitlines()
    assert line.startswith("atdc: atdc bench: found --count; expected a measurement, as in `atdc bench speed`")


@pytest.mark.parametrize(
    ("typed", "offered"),
    [("atdc ben", "bench"), ("atdc bench ev", "evaluate"), ("atdc evaluate --co", None), ("atdc bench --co", None)],
)
def test_the_shell_completes_measuring_commands_too(typed: str, offered: str | None) -> None:
    told = {"_ATDC_COMPLETE": "complete_bash", "COMP_WORDS": typed, "COMP_CWORD": str(len(typed.split()) - 1)}
    result = CliRunner().invoke(cli.app, [], prog_name="atdc", env=told)
    assert result.stdout.split() == ([offered] if offered else []) and not isinstance(result.exception, AtdcError)


def test_a_command_that_never_was_is_no_former_name() -> None:
    result = run("encde", "a.png")
    assert result.exit_code == USAGE and "former" not in result.stderr and "encde" in result.stderr


def test_version_is_the_packages() -> None:
    assert run("--version").stdout.split() == ["atdc", atdc.__version__]


def test_an_argument_error_from_below_is_a_usage_error(codec: FakeCodec, folder: Path) -> None:
    assert run("train", "--recipe", "no_such_recipe.yaml").exit_code == USAGE


def test_help_does_not_import_torch() -> None:
    code = (
        "import sys; sys.argv = ['atdc', 'encode', '--help']\n"
        "import atdc.cli\n"
        "try: atdc.cli.main()\n"
        "except SystemExit: pass\n"
        "import os; assert os.environ['OMP_WAIT_POLICY'], 'set before torch is loaded'\n"
        "heavy = {'torch', 'scipy', 'PIL', 'constriction'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


@pytest.mark.slow
def test_the_whole_main_job_from_the_shell(untrained_weights: Path, folder: Path) -> None:
    """Encode here, decode in another process that has only the file and the weights: the answers are the encoder's."""
    size = (70, 45)
    generator = np.random.default_rng(0)
    Image.fromarray(generator.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)).save("photo.png")
    model = ("--model", str(untrained_weights))
    assert run("encode", "photo.png", "-o", "photo.atdc", *model).exit_code == DONE
    alone = folder / "alone"
    alone.mkdir()
    Path("photo.atdc").rename(alone / "photo.atdc")
    command = [sys.executable, "-m", "atdc", "decode", "photo.atdc", "-o", "answers", "--quiet", *model]
    done = subprocess.run(command, cwd=alone, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    answers = atdc.pipeline.load(untrained_weights).decode((alone / "photo.atdc").read_bytes())
    for task in TASK_NAMES:
        np.testing.assert_allclose(np.load(alone / "answers" / "photo" / f"{task}.npy"), answers[task], atol=1e-5)
    damaged = bytearray((alone / "photo.atdc").read_bytes())
    damaged[-1] ^= 1
    Path("damaged.atdc").write_bytes(damaged)
    result = run("decode", "damaged.atdc", "-o", "answers", *model)
    assert result.exit_code == FAILED and result.stderr.count("\n") == 1


def test_data_are_exported_in_the_layout_asked_for(folder: Path) -> None:
    assert run("data", "--split", "val", "--count", "2", "--workers", "1", "--data", "rooms").exit_code == DONE
    result = run("data", "export", "rooms", "--data", "rooms", "--split", "val", "--out", "tree")
    assert result.exit_code == DONE and "tree" in result.stdout
    assert len(list(Path("tree").glob("*/rooms-val/point_*_view_0_domain_*.png"))) == 2 * len(TASK_NAMES)
    assert run("data", "export", "photos", "--out", "tree").exit_code == USAGE
    assert run("data", "export", "rooms", "--data", "nowhere", "--out", "tree").exit_code == FAILED
