"""Figures in sentences are those of the result files."""

import json
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


def result(name: str) -> Any:
    return json.loads((ROOT / "results" / name).read_text("utf-8"))


def prose(name: str) -> str:
    return " ".join((ROOT / name).read_text("utf-8").split())


def bd_rate(rows: list[dict[str, Any]], **wanted: str) -> float:
    (row,) = [row for row in rows if all(row.get(key) == value for key, value in wanted.items())]
    return float(row["percent"])


def test_the_saving_in_the_readmes_first_sentences_is_measured() -> None:
    """On rooms by `small`, on real frames by `real`."""
    rooms = bd_rate(result("evaluate_small.json")["bd_rates"], setting="codebook", reference="independent", over="U")
    frames = bd_rate(result("compare_nyuv2/compare.json")["bd_rates"], system="ours", reference="independent", over="U")
    low, high = sorted(round(-value) for value in (rooms, frames))
    assert f"which saves {low} to {high} % of the bytes that independent coding takes" in prose("README.md")


def test_what_high_effort_gains_is_measured() -> None:
    rows = result("evaluate_small.json")["bd_rates"]
    (row,) = [r for r in rows if r["setting"] == "codebook+high" and r["reference"] == "fixed" and r["over"] == "U"]
    gained = f"{-row['percent']:.1f} % [{-row['high']:+.1f}, {-row['low']:+.1f}]".replace("-", "−")
    ratio = result("bench_small.json")["adaptive_over_fixed"]["batch_1"]["codebook+high"]["ratio"]["median"]
    assert f"gains {gained} at {ratio:.1f} times the time" in prose("README.md")


@pytest.mark.parametrize(
    ("task", "words"), [("segment_semantic", "for segments"), ("normal", "fewer for normals"), ("U", "more at equal U")]
)
def test_what_results_say_of_vvc_on_real_frames_is_measured(task: str, words: str) -> None:
    rows = result("compare_nyuv2/compare.json")["bd_rates"]
    percent = abs(bd_rate(rows, system="ours", reference="vvc_vvenc", over=task))
    assert f"{percent:.1f} %" in prose("docs/results.md").partition("ours takes")[2].partition(words)[0] + " "


def test_what_a_lower_threshold_mends_is_measured() -> None:
    loss = {(row["quality"], row["setting"]): row["total_loss"] for row in result("sweep_small.json")["rows"]}
    mended, third = [], []
    for quality in (1.0, 4.0, 7.0):
        paper, lower = loss[quality, "paper, K 2, τ 0.2"], loss[quality, "paper, K 2, τ 0.05"]
        two, three = loss[quality, "exact by predictor, K 2"], loss[quality, "exact by predictor, K 3"]
        mended.append(f"{100 * (paper - lower) / (paper - two):.0f}")
        third.append(100 * (1 - three / two))
    assert f"at 0.05, {mended[0]}, {mended[1]} and {mended[2]} % of the loss" in prose("docs/results.md")
    assert third[0] <= 0 and third[1] <= 0
    assert f"nothing at qualities 1 and 4, and a loss {third[2]:.1f} % lower at quality 7" in prose("docs/results.md")
