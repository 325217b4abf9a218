"""``balanced`` gives each task the quality that was measured for it, in files as in Python."""

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

import atdc
from atdc.balance import balance_path
from atdc.bitstream.container import ContainerReader
from atdc.cli import app
from atdc.tasks import TASK_NAMES


@pytest.fixture
def weights(untrained_weights: Path, tmp_path: Path) -> Path:
    """Weights with a balance next to them in which the quality of task i is i / 8 below that of all."""
    path = tmp_path / "own.safetensors"
    shutil.copy(untrained_weights, path)
    fingerprint = atdc.load(path).feature_codec.fingerprint.hex()
    rows = {
        str(level): {name: max(0.0, level - place / 8) for place, name in enumerate(TASK_NAMES)} for level in range(8)
    }
    balance_path(path).write_text(json.dumps({"provenance": {"weights": fingerprint}, "qualities": rows}))
    return path


def test_balanced_qualities_are_those_measured_for_each_task(weights: Path) -> None:
    found = atdc.load(weights).balanced(4)
    assert found == {name: 4 - place / 8 for place, name in enumerate(TASK_NAMES)}


def test_a_codec_keeps_its_balance_when_it_is_saved_elsewhere(weights: Path, tmp_path: Path) -> None:
    codec = atdc.load(weights)
    before = codec.balanced(4)
    codec.save(tmp_path / "again.safetensors")
    codec.feature_codec.save(tmp_path / "features.safetensors")
    assert codec.balanced(4) == before


def test_encode_balanced_writes_each_tasks_own_quality(weights: Path, tmp_path: Path) -> None:
    Image.new("RGB", (32, 32)).save(tmp_path / "a.png")
    command = ["encode", str(tmp_path / "a.png"), "-o", str(tmp_path / "out"), "-q", "4", "--model", str(weights)]
    for options, steps in (([], (32,) * 6), (["--balanced"], tuple(32 - place for place in range(6)))):
        target = tmp_path / "out" / "a.atdc"
        target.unlink(missing_ok=True)
        result = CliRunner().invoke(app, [*command, *options])
        assert result.exit_code == 0, result.output
        assert ContainerReader(target.read_bytes()).header.qualities == steps
