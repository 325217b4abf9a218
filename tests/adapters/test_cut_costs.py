"""Where to cut: places that separate, in order, with bytes that fall where the network narrows."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from atdc import cli
from atdc.adapters import cut_costs
from tiny_networks import photos, write_onnx


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    pytest.importorskip("onnxruntime", reason="needs onnx and onnxruntime: pip install onnx onnxruntime")
    monkeypatch.chdir(tmp_path)
    write_onnx(Path("tiny.onnx"))
    write_onnx(Path("leaky.onnx"), leak=True)
    Path("photos").mkdir()
    for number, image in enumerate(photos(6)):
        Image.fromarray(image).save(f"photos/{number}.png")
    return tmp_path


def run(*arguments: str) -> Any:
    return CliRunner().invoke(cli.app, ["networks", "cuts", *arguments, "--photos", "photos"])


def test_cuts_are_listed_between_the_image_and_the_answer(folder: Path) -> None:
    result = run("tiny.onnx", "--json", "--metric", "same", "--agreement", "0.8", "--svg", "cuts.svg")
    assert result.exit_code == 0, result.output
    values = json.loads(result.stdout)
    assert values["answer"] == "classes" and values["metric"] == "same"
    rows = values["cuts"]
    assert [rows[0]["what"], rows[-1]["what"]] == ["image", "answer"]
    middle = rows[1:-1]
    assert middle and all(row["what"] == "tensors" and len(row["tensors"]) == 1 for row in middle)
    shares = [row["device_share"] for row in rows]
    assert shares == sorted(shares) and shares[0] == 0 and shares[-1] == 1
    assert all(row["bytes"] is not None and row["agreement"] >= 0.8 for row in rows)
    svg = Path("cuts.svg").read_text("utf-8")
    assert svg.startswith("<svg ") and svg.count("<circle ") == len(rows)


def test_where_two_tensors_cross_a_cut_has_both(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def equal_seconds(model: cut_costs.OnnxModel, *_: Any) -> dict[int, float]:
        """In place of measured ones, by which cuts that take nothing are left out."""
        return dict.fromkeys(range(len(model.graph.nodes)), 1.0)

    monkeypatch.setattr(cut_costs, "_node_seconds", equal_seconds)

    def names(*options: str) -> list[list[str]]:
        return [
            row["tensors"]
            for row in json.loads(run("leaky.onnx", "--json", "--agreement", "0.5", *options).stdout)["cuts"]
        ]

    assert any(set(row) == {"stem", "deep"} or (len(row) == 2 and "stem" in row) for row in names())
    assert all(len(row) == 1 for row in names("--tensors", "1"))


def test_maps_of_classes_are_compared_by_miou_unless_told_otherwise(folder: Path) -> None:
    values = json.loads(run("tiny.onnx", "--json", "--agreement", "0.5").stdout)
    assert values["metric"] == "miou" and all(row["agreement"] >= 0.5 for row in values["cuts"])


def test_photos_that_cannot_be_read_are_named_and_the_others_measured(folder: Path) -> None:
    Path("photos/00.png").write_bytes(b"no picture")
    result = run("tiny.onnx", "--agreement", "0.7")
    assert result.exit_code == 0 and "the image" in result.stdout and "00.png" in result.stderr


def test_preprocessing_is_told_by_options(folder: Path) -> None:
    for options, expected in (
        (("--mean", "0.5", "--std", "0.2,0.3,0.4", "--order", "bgr"), 0), (("--mean", "a"), 2), (("--std", "0"), 2),
        (("--mean", "1,2"), 2), (("--order", "bgrr"), 2),
    ):  # fmt: skip
        result = run("tiny.onnx", "--agreement", "0.7", *options)
        assert result.exit_code == expected, result.output


def test_a_table_is_for_people(folder: Path) -> None:
    result = run("tiny.onnx", "--agreement", "0.7")
    assert result.exit_code == 0 and "the image" in result.stdout and "the answer" in result.stdout
    result = run("tiny.onnx", "--answer", "logit")
    assert result.exit_code == 1 and "Near: logits" in result.stderr


def test_blocks_are_put_together_again() -> None:
    from atdc.adapters.cut_costs import grid_of_blocks, unblocked

    rng = np.random.default_rng(0)
    for shape, side in (((1, 5, 7, 4), 2), ((1, 5, 7, 4), 1), ((1, 9, 6), 1), ((1, 8), 1)):
        value = rng.normal(size=shape).astype(np.float32)
        np.testing.assert_array_equal(unblocked(grid_of_blocks(value, side), shape, side), value)
