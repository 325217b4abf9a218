"""The command line: what each command writes, its exit status, and one clear line for everything that goes wrong."""

import json
import os
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

import atdc.pipeline
from atdc import cli
from atdc.errors import NotAnAtdcFileError, WeightsError
from atdc.tasks import TASK_NAMES

USAGE, FAILED, DONE = 2, 1, 0


class FakeCodec:
    """Says what it was asked; a file is JSON, an answer a constant picture."""

    def __init__(self) -> None:
        self.calls: list[dict[str, Any]] = []

    def encode(self, image: np.ndarray, quality: Mapping[str, float], graph: str, effort: str) -> bytes:
        if image.shape[0] == 13:
            raise RuntimeError("thirteen\nrows")
        if image.shape[0] == 14:
            raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to ...")
        self.calls.append({"quality": dict(quality), "graph": graph, "effort": effort})
        return json.dumps({"size": image.shape[:2]}).encode()

    def decode(self, data: bytes, tasks: Sequence[str] | None = None) -> dict[str, np.ndarray]:
        if not data.startswith(b"{"):
            raise NotAnAtdcFileError("file", "something else", "an ATDC file")
        height, width = json.loads(data)["size"]
        shapes = {"normal": (height, width, 3), "rgb": (height, width, 3)}
        return {task: np.full(shapes.get(task, (height, width)), 0.5, np.float32) for task in tasks or TASK_NAMES}

    def inspect(self, data: bytes) -> Any:
        return atdc.pipeline.Inspection(
            bytes=len(data), bpp=0.5, ideal_bits=90.0, quality=dict.fromkeys(TASK_NAMES, 4.0),
            graph={"rgb": ["normal"]},
            tasks={task: {"bytes": 2, "ideal_bits": 15.0} for task in TASK_NAMES}, height=4, width=6,
            fingerprint="00000000", version=1,
        )  # fmt: skip


@pytest.fixture
def codec(monkeypatch: pytest.MonkeyPatch) -> FakeCodec:
    fake = FakeCodec()

    def load(name: str) -> FakeCodec:
        if name != "small":
            raise WeightsError("model", repr(name), "shipped weights (small)")
        return fake

    monkeypatch.setattr(atdc.pipeline, "load", load)
    return fake


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working folder with two pictures and a file that is none."""
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (6, 4)).save("a.png")
    Image.new("L", (8, 8)).save("b.jpg")
    Path("text.png").write_text("no picture")
    yield tmp_path


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
    assert codec.calls == [{"quality": dict.fromkeys(TASK_NAMES, 4.0), "graph": "codebook", "effort": "normal"}]


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
        "--graph", "fixed-mode", "--effort", "high",
    )  # fmt: skip
    assert result.exit_code == DONE, result.output
    quality = dict.fromkeys(TASK_NAMES, 2.5) | {"depth_zbuffer": 6.0, "rgb": 0.0}
    assert codec.calls == [{"quality": quality, "graph": "fixed-mode", "effort": "high"}]


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
        (["--task-quality", "depth=6"], "unknown task 'depth'. Did you mean depth_zbuffer? Known: segment_semantic"),
        (["--task-quality", "depth_zbuffer"], "should read TASK=QUALITY, for example depth_zbuffer=6"),
        (["--task-quality", "rgb=9"], "9 is out of range"),
        (["--task-quality", "rgb=much"], "'much' in 'rgb=much' is not a number"),
        (["--effort", "low"], "'low' is not one of 'normal', 'high'"),
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
    Image.new("RGB", (6, 4)).save("a.jpg")
    both = run("encode", "a.png", "a.jpg", "-o", "out")
    assert both.exit_code == USAGE and "would be written to the same name" in words(both.stderr)
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


# --- decode, inspect -------------------------------------------------------------------------------------------------


def test_decode_writes_a_picture_and_the_numbers_of_each_task(codec: FakeCodec, folder: Path) -> None:
    assert run("encode", "a.png", "-o", "a.atdc").exit_code == DONE
    result = run("decode", "a.atdc", "-o", "answers")
    assert result.exit_code == DONE, result.output
    expected = {f"{task}.{suffix}" for task in TASK_NAMES for suffix in ("png", "npy")}
    assert {path.name for path in Path("answers/a").iterdir()} == expected
    with Image.open("answers/a/normal.png") as picture:
        assert picture.size == (6, 4) and picture.mode == "RGB"
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


def test_inspect_prints_a_table_or_json(codec: FakeCodec, folder: Path) -> None:
    run("encode", "a.png", "-o", "a.atdc")
    table = run("inspect", "a.atdc")
    assert table.exit_code == DONE and "predicted from" in table.stdout and "6×4 pixels" in table.stdout
    values = json.loads(run("inspect", "a.atdc", "--json").stdout)
    assert values["graph"] == {"rgb": ["normal"]} and values["tasks"]["rgb"]["bytes"] == 2
    assert {"bytes", "bpp", "ideal_bits", "quality", "graph", "tasks"} <= set(values)
    missing = run("inspect", "b.atdc")
    assert missing.exit_code != DONE and missing.stderr.startswith("atdc: b.atdc: ")


# --- the measuring commands pass on what they are told ---------------------------------------------------------------


def test_evaluate_passes_its_plan_on_and_prints_a_summary(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    seen: dict[str, Any] = {}

    def run_evaluate(model: str, data: Path, out: Path, **plan: Any) -> dict[str, Any]:
        seen.update(plan, model=model, out=out)
        return {"points": [], "bd_rates": []}

    monkeypatch.setitem(sys.modules, "atdc.evaluation.evaluate", SimpleNamespace(run_evaluate=run_evaluate))
    result = run("evaluate", "--count", "8", "--qualities", "0,2.5,4,7", "--settings", "fixed,exact", "-o", "r.json")
    assert result.exit_code == DONE, result.output
    assert seen["qualities"] == [0, 2.5, 4, 7] and seen["settings"] == ["fixed", "exact"] and seen["count"] == 8
    assert "written: r.json" in result.stdout
    assert run("evaluate", "--settings", "fixd").exit_code == USAGE
    assert run("evaluate", "--qualities", "0;1").exit_code == USAGE


def test_data_knows_its_splits(folder: Path) -> None:
    result = run("data", "--split", "tests")
    assert result.exit_code == USAGE and "Did you mean test" in words(result.stderr)


# --- the command itself ----------------------------------------------------------------------------------------------


def test_help_names_every_command_and_shows_examples() -> None:
    text = run("--help").stdout
    for name in ("encode", "decode", "inspect", "demo", "data", "train", "evaluate", "bench", "premise", "statistics"):
        assert f" {name} " in text
        assert run(name, "--help").exit_code == DONE
    assert "Examples" in run("encode", "--help").stdout


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
    command = [sys.executable, "-m", "atdc.cli", "decode", "photo.atdc", "-o", "answers", "--quiet", *model]
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
