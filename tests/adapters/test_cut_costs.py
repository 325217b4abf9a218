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
from atdc.adapters.distances import METRICS
from atdc.adapters.onnx_network import OnnxModel, OnnxNetwork
from atdc.errors import DataError, NetworkError
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
        (("--white", "255", "--order", "bgr"), 0), (("--mean", "0.5"), 2), (("--mean", "a"), 2), (("--std", "0"), 2),
        (("--mean", "1,2"), 2), (("--order", "bgrr"), 2),
    ):  # fmt: skip
        result = run("tiny.onnx", "--agreement", "0.7", *options)
        assert result.exit_code == expected, result.output


def test_a_table_is_for_people(folder: Path) -> None:
    result = run("tiny.onnx", "--agreement", "0.7")
    assert result.exit_code == 0 and "the image" in result.stdout and "the answer" in result.stdout
    result = run("tiny.onnx", "--answer", "logit")
    assert result.exit_code == 1 and "Near: logits" in result.stderr


def test_answers_that_cannot_be_compared_do_not_count(folder: Path) -> None:
    model, images = OnnxModel("tiny.onnx"), photos(8)
    first = costs(model, METRICS["same"], images)
    session = model.session(model.part([model.input_name], ["classes"]))
    silent = model.run(session, ["classes"], {model.input_name: model.input.array(images[1])})["classes"]

    def without_one(before: Any, after: Any) -> float:
        return float("nan") if np.array_equal(before, silent) else METRICS["same"](before, after)

    others = costs(model, without_one, images)
    assert [row.cut.tensors for row in others] == [row.cut.tensors for row in first]
    assert all(row.bytes is not None and row.agreement >= 0.8 for row in others)
    lost = costs(model, lambda before, after: 1.0 if np.array_equal(before, after) else float("nan"), images)
    assert all(0 <= row.agreement <= 1 for row in lost)
    with pytest.raises(DataError, match="none whose answer can be compared"):
        costs(model, lambda before, after: float("nan"), images)


def costs(model: OnnxModel, metric: Any, images: Any) -> list[cut_costs.CutCost]:
    return cut_costs.cut_costs(model, "classes", metric, images, 0.8, 1, lambda _: None)


def test_tensors_whose_type_the_file_does_not_tell_are_no_cuts_and_others_are(folder: Path) -> None:
    """After an operator of a runtime's own, as optimised exports have them, the type of what follows is unknown."""
    import onnx
    from onnx import helper

    weight = onnx.numpy_helper.from_array(np.ones((2, 3, 3, 3), np.float32), "w")
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"]), helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("Gelu", ["r"], ["g"], domain="com.microsoft"), helper.make_node("Neg", ["g"], ["y"]),
    ]  # fmt: skip
    given, made = (helper.make_tensor_value_info(*row) for row in (("x", 1, [1, 3, 24, 24]), ("y", 1, [1, 2, 22, 22])))
    sets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    graph = helper.make_graph(nodes, "g", [given], [made], [weight])
    onnx.save(helper.make_model(graph, opset_imports=sets, ir_version=8), "own.onnx")
    with pytest.raises(NetworkError, match="own, g: found a tensor whose type the file does not tell"):
        OnnxNetwork(OnnxModel("own.onnx"), ["g"])
    assert OnnxNetwork(OnnxModel("own.onnx"), ["r"]).tensors[0].feature_shape == (2, 22, 22)
    names = [row["tensors"] for row in json.loads(run("own.onnx", "--json", "--agreement", "0.5").stdout)["cuts"]]
    assert ["g"] not in names and names[-1] == ["y"]


def test_blocks_are_put_together_again() -> None:
    from atdc.adapters.cut_costs import grid_of_blocks, unblocked

    rng = np.random.default_rng(0)
    for shape, side in (((1, 5, 7, 4), 2), ((1, 5, 7, 4), 1), ((1, 9, 6), 1), ((1, 8), 1)):
        value = rng.normal(size=shape).astype(np.float32)
        np.testing.assert_array_equal(unblocked(grid_of_blocks(value, side), shape, side), value)
