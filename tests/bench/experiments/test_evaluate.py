"""Evaluation: real files are what is measured, a stopped run resumes, and tables follow from records."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import atdc.pipeline
from atdc.errors import ArgumentError, DataError
from atdc.metrics.tasks import MEASURES
from atdc.pipeline import Codec
from atdc.tasks import TASK_NAMES
from atdc_bench.experiments import evaluate
from atdc_bench.experiments.evaluate import (
    UNCOMPRESSED,
    ZERO,
    Cell,
    DataSet,
    Objective,
    Plan,
    Records,
    measure,
    run_evaluate,
    summarise,
)
from atdc_bench.experiments.evaluated_codec import load_evaluated_codec

PLAN = Plan(("codebook", "independent"), ("paper",), ("codebook",), (0, 3, 5, 7), 6, 4, batch=4, resamples=20)


@pytest.fixture(scope="module")
def measured(tiny_codec: Codec, photos: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    folder = tmp_path_factory.mktemp("records")
    return folder, measure(lambda: (tiny_codec, photos), PLAN, folder, quiet=True)


def test_every_cell_is_measured_on_its_number_of_images(measured: tuple[Path, Any]) -> None:
    _, records = measured
    assert len(records[ZERO]) == len(records[UNCOMPRESSED]) == 6
    assert {cell.label for cell, _ in PLAN.cells} == {"codebook", "independent", "paper", "codebook+high"}
    for cell, count in PLAN.cells:
        assert len(records[cell]) == count
        assert records[cell].ideal_bits.shape == (count, 6)


def test_bytes_are_those_of_real_files_and_decoding_repeats_the_encoder(
    measured: tuple[Path, Any], tiny_codec: Codec, photos: Any
) -> None:
    _, records = measured
    rgb = photos.arrays["rgb"]
    for cell in (Cell("codebook", "normal", 5), Cell("codebook", "high", 5), Cell("independent", "normal", 0)):
        for image in range(2):
            data = tiny_codec.encode(rgb[image].transpose(1, 2, 0), cell.quality, cell.setting, cell.effort)
            assert len(data) == records[cell].file_bytes[image]
        assert records[cell].difference.max() < 1e-4
    assert (records[Cell("independent", "normal", 3)].edges == 0).all()
    assert (records[Cell("codebook", "normal", 3)].edges == 5).all()


def test_answers_are_measured_as_a_user_gets_them(measured: tuple[Path, Any], tiny_codec: Codec, photos: Any) -> None:
    _, records = measured
    cell, image = Cell("codebook", "normal", 3), 1
    data = tiny_codec.encode(photos.arrays["rgb"][image].transpose(1, 2, 0), 3, "codebook")
    answers = tiny_codec.decode(data)
    ground_truth = photos.arrays["keypoints2d"][image, 0] / 255
    raw = tiny_codec.answer_tensors(tiny_codec.feature_codec.decode_batch([data]))["keypoints2d"][0, 0].numpy()
    np.testing.assert_allclose(answers["keypoints2d"], raw.clip(0, 1), atol=1e-5)
    statistics = records[cell].statistics["keypoints2d"][image]
    assert MEASURES["keypoints2d"].error(statistics) == pytest.approx(np.abs(raw - ground_truth).mean(), rel=1e-4)


def test_a_stopped_run_resumes_where_it_stopped(
    measured: tuple[Path, Any], tiny_codec: Codec, photos: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, before = measured
    lost = sorted(folder.glob("independent-q3-*.npz"))
    assert len(lost) == 1
    lost[0].unlink()
    coded: list[str] = []
    original = evaluate.measure_cell

    def counted(subject: Any, cell: Cell, *rest: Any) -> Records:
        coded.append(cell.key)
        return original(subject, cell, *rest)

    monkeypatch.setattr(evaluate, "measure_cell", counted)
    after = measure(lambda: (tiny_codec, photos), PLAN, folder, quiet=True)
    assert coded == ["independent-q3"] * 2  # six images in batches of four
    for item, records in before.items():
        np.testing.assert_array_equal(records.file_bytes, after[item].file_bytes)
        np.testing.assert_allclose(records.loss, after[item].loss)

    def never() -> tuple[Any, Any]:
        raise AssertionError("nothing is left to measure")

    measure(never, PLAN, folder, quiet=True)


def test_records_survive_the_disk_and_damage_is_named(measured: tuple[Path, Any], tmp_path: Path) -> None:
    _, records = measured
    original = records[Cell("codebook", "normal", 0)]
    original.write(tmp_path / "one.npz")
    back = Records.read(tmp_path / "one.npz")
    np.testing.assert_array_equal(back.graph_rank, original.graph_rank)
    np.testing.assert_array_equal(back.statistics["normal"], original.statistics["normal"])
    (tmp_path / "one.npz").write_bytes(b"PK nonsense")
    with pytest.raises(DataError, match=r"one\.npz"):
        Records.read(tmp_path / "one.npz")


def test_the_summary_is_plain_json_with_every_point_and_comparison(measured: tuple[Path, Any]) -> None:
    _, records = measured
    summary = summarise(DataSet(records, 64 * 64, 6 * 4 * 16), PLAN)
    json.dumps(summary, allow_nan=False)
    assert len(summary["points"]) == len(PLAN.cells)
    point = next(p for p in summary["points"] if p["setting"] == "codebook" and p["effort"] == "normal")
    own = records[Cell("codebook", "normal", 0)]
    assert point["bpp"] == pytest.approx(8 * own.file_bytes.mean() / 4096)
    assert point["overhead_bytes_mean"] == pytest.approx((8 * own.file_bytes - own.ideal_bits.sum(1)).mean() / 8)
    utilities = [point["tasks"][task]["utility"] for task in TASK_NAMES]
    assert point["utility"] == pytest.approx(np.mean(utilities))
    assert summary["checks"]["files_decoded_as_encoded"] == summary["checks"]["files"] == 2 * 4 * 6 + 2 * 4 * 4
    compared = {(row["setting"], row["reference"], row["over"]) for row in summary["bd_rates"]}
    assert ("codebook", "independent", "U") in compared and ("paper", "codebook", "rgb") in compared
    assert ("codebook+high", "codebook", "U") in compared and ("codebook", "codebook", "U") not in compared
    for row in summary["bd_rates"]:
        assert ("percent" in row) != ("refused" in row)


def synthetic(rate_factor: float, images: int = 40) -> dict[Any, Records]:
    """Records whose utilities follow a known curve, the same for all tasks, at rates times a factor."""
    random = np.random.default_rng(0)
    scale = random.lognormal(0, 0.5, images)
    records: dict[Any, Records] = {}

    def made(share: float, size: float) -> Records:
        statistics = {}
        for task in TASK_NAMES:
            rows = np.zeros((images, MEASURES[task].columns))
            worst = 0.5 * scale / scale.mean()
            if task == "segment_semantic":
                rows[:, 0] = 100 * (1 - worst * share)
                rows[:, 1] = 100 * worst * share
            elif task == "rgb":
                rows[:, :2] = np.stack([30 - 10 * worst * share, np.ones(images)], 1)
            else:
                rows[:, 0] = worst * share
                rows[:, -1 if task == "depth_zbuffer" else 1] = 1
            statistics[task] = rows
        loss = np.full((images, 6), share)
        whole = np.zeros(images, np.int64)
        bits = np.full((images, 6), 8 * size / 6)
        return Records(np.round(size * scale), bits, whole, whole, np.zeros(images), loss, statistics)

    records[ZERO], records[UNCOMPRESSED] = made(1.0, 0), made(0.0, 0)
    for quality, rate in zip((0, 3, 5, 7), (100, 200, 400, 800), strict=True):
        share = 1 - np.log(rate) / 7
        records[Cell("independent", "normal", quality)] = made(share, rate)
        records[Cell("codebook", "normal", quality)] = made(share, rate_factor * rate)
    return records


def test_a_known_saving_is_reported_with_an_interval_around_it() -> None:
    plan = Plan(("codebook", "independent"), (), (), (0, 3, 5, 7), 40, 0, resamples=50)
    summary = summarise(DataSet(synthetic(0.7), 4096, 384), plan)
    rows = {(r["setting"], r["over"]): r for r in summary["bd_rates"]}
    assert rows["codebook", "U"]["percent"] == pytest.approx(-30, abs=0.5)
    assert rows["codebook", "U"]["low"] <= rows["codebook", "U"]["percent"] <= rows["codebook", "U"]["high"]
    assert rows["codebook", "normal"]["percent"] == pytest.approx(-30, abs=0.5)
    point = next(p for p in summary["points"] if p["quality"] == 7)
    assert point["total_loss"] == pytest.approx(
        point["total_loss_rate"] + Objective().weight(7) * point["total_loss_tasks"]
    )
    assert point["total_loss_tasks"] == pytest.approx(1 - np.log(800) / 7)


def test_the_objective_is_that_of_the_models_training() -> None:
    objective = Objective.of({"lambda": [0.1, 0.8], "loss_bounds": [[2.0] * 6, [1.0] * 6]})
    plan = Plan(("codebook", "independent"), (), (), (0, 3, 5, 7), 40, 0, resamples=2)
    point = summarise(DataSet(synthetic(0.7), 4096, 384, objective), plan)["points"][3]
    assert objective.weight(0) == 0.1 and objective.weight(7) == pytest.approx(0.8)
    share = 1 - np.log(800) / 7
    assert point["total_loss"] == pytest.approx(8 * 560 / 384 + 0.8 * (share - 1.0))


@pytest.mark.parametrize(
    "wrong",
    [
        {"settings": ("exakt",)},
        {"settings": ()},
        {"settings": ("paper",), "extra_settings": ("paper",)},
        {"qualities": (0, 1, 2, 8)},
        {"count": 0},
        {"count": 10, "extra_count": 11},
    ],
)
def test_a_plan_that_makes_no_sense_cannot_be_built(wrong: dict[str, Any]) -> None:
    with pytest.raises(ArgumentError):
        Plan(**wrong)


@pytest.mark.slow
def test_the_command_writes_a_result_that_says_where_it_comes_from(
    tiny_weights: Path, photos: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluate, "open_rooms", lambda data, split: photos)
    out = tmp_path / "results" / "evaluate.json"
    result = run_evaluate(
        tiny_weights, tmp_path, out, count=4, extra_count=2, settings=("codebook", "fixed"), extra_settings=("random",),
        qualities=(0, 2, 4, 7), resamples=10, runs=tmp_path / "runs", quiet=True,
    )  # fmt: skip
    assert json.loads(out.read_text()) == result
    assert result["provenance"]["weights"] and result["provenance"]["machine"]["cores"]
    assert result["data"] == {"name": "rooms", "split": "test", "images": 4, "height": 64, "width": 64}
    with pytest.raises(DataError, match="at least 13"):
        run_evaluate(tiny_weights, tmp_path, out, count=13, quiet=True)


def test_weights_of_other_classes_than_measures_count_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    codec = SimpleNamespace(feature_codec=SimpleNamespace(config=SimpleNamespace(classes=17)), to=lambda device: codec)
    monkeypatch.setattr(atdc.pipeline, "load", lambda model: codec)
    with pytest.raises(ArgumentError, match="weights of 17 classes; expected the 14"):
        load_evaluated_codec("other")
