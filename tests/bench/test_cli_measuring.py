"""The measuring commands, whole: rooms rendered, files coded, a result written, and its summary printed."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from atdc import cli
from atdc.cli.batch import out as console
from atdc.data.rooms import materialise
from atdc_bench.experiments import speed
from atdc_bench.report.readme import fill
from atdc_bench.report.registry import EXPERIMENTS

pytestmark = pytest.mark.slow

COMMANDS = {
    "evaluate": (
        ["--extra-count", "2", "--settings", "codebook,fixed", "--extra-settings", "random", "--qualities", "0,2,4,7"],
        ["against independent", "codebook+high", "random"],
    ),
    "score-calibration": (["--qualities", "4"], ["Spearman", "cheap", "full"]),
    "statistics": (["--qualities", "4"], ["top ten", "mean edges", "codebook"]),
    "speed": (["--rounds", "2", "--threads", "1"], ["Encode: ", "encoders", "fixed graph", "server, MMAC"]),
}


@pytest.fixture(scope="module")
def rooms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rooms")
    materialise(folder, "test", count=4, workers=1, size=64)
    return folder


@pytest.mark.parametrize("command", COMMANDS)
def test_the_command_writes_a_result_and_prints_its_summary(
    command: str, rooms: Path, untrained_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(console, "width", 160)
    monkeypatch.setattr(speed, "peak_memory_mib", lambda *_: {})  # takes seconds, and has a test of its own
    monkeypatch.setattr(speed, "WARM_UP", 1)
    monkeypatch.setattr(speed, "BATCHES", (1, 4))
    options, expected = COMMANDS[command]
    arguments = ["--data", str(rooms), "--model", str(untrained_weights), "--count", "4", "-o", "r.json"]
    result = CliRunner().invoke(cli.app, ["bench", command, *arguments, *options])
    assert result.exit_code == 0, result.output
    for text in (*expected, "written: r.json"):
        assert text in result.stdout
    assert json.loads(Path("r.json").read_text())["data"]["images"] == 4

    # The README's tables are made from the same file.
    for name, shown in EXPERIMENTS[command].blocks.items():
        if shown.file.endswith("_small.json"):
            Path(shown.file).write_bytes(Path("r.json").read_bytes())
            block = fill(f"<!-- numbers: {name} -->\n<!-- end -->", Path())
            assert f"[`results/{shown.file}`]" in block and "4 images of `rooms`, split `test`" in block


def test_quiet_writes_and_says_nothing(
    rooms: Path, untrained_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = ["--data", str(rooms), "--model", str(untrained_weights), "--count", "2", "--qualities", "4"]
    result = CliRunner().invoke(cli.app, ["--quiet", "bench", "score-calibration", *arguments, "-o", "r.json"])
    assert result.exit_code == 0 and result.output == "" and Path("r.json").exists()


def test_too_few_rooms_are_one_line(rooms: Path, untrained_weights: Path) -> None:
    arguments = ["bench", "score-calibration", "--data", str(rooms), "--model", str(untrained_weights), "--count", "9"]
    result = CliRunner().invoke(cli.app, arguments)
    assert result.exit_code == 1 and result.stderr.startswith("atdc: images: found 4 of them; expected at least 9")
