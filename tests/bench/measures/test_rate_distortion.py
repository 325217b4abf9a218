"""BD-rate: known differences are found, swapping the codecs inverts them, and doubtful comparisons are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atdc.errors import ArgumentError
from atdc_bench.measures.rate_distortion import LEAST_RISE, Curve, bd_rate, bd_rate_with_interval, draw_counts

RESULTS = Path(__file__).parents[3] / "results"
RATES = np.array([0.05, 0.1, 0.2, 0.4, 0.8])
UTILITIES = 1 - 0.4 * np.exp(-6 * RATES) - 0.1 * np.exp(-40 * RATES)


@given(factor=st.floats(0.2, 5), points=st.integers(4, 8))
def test_a_curve_shifted_in_rate_differs_by_that_factor(factor: float, points: int) -> None:
    rates = np.geomspace(0.02, 1, points)
    utilities = np.log(rates)
    assert bd_rate(rates, utilities, factor * rates, utilities).percent == pytest.approx(100 * (factor - 1), abs=1e-6)


def test_seventy_percent_of_the_rate_is_minus_thirty() -> None:
    result = bd_rate(RATES, UTILITIES, 0.7 * RATES, UTILITIES)
    assert result.percent == pytest.approx(-30)
    assert result.overlap == 1 and result.monotone


def test_log_linear_curves_of_different_slope_match_the_integral_by_hand() -> None:
    rates = np.exp(np.linspace(0, 3, 4))
    # Reference: u = ln R, so ln R = u. Candidate: u = 1.5 ln R, so ln R = u / 1.5; over u in [0, 3] the mean
    # difference is (1 / 1.5 - 1) * 1.5 = -0.5.
    result = bd_rate(rates, np.log(rates), rates, 1.5 * np.log(rates))
    assert result.percent == pytest.approx(100 * np.expm1(-0.5))
    assert result.overlap == pytest.approx(3 / 4.5)
    assert (result.utility_from, result.utility_to) == (0, pytest.approx(3))


@given(st.lists(st.floats(0.6, 1.6), min_size=5, max_size=5), st.lists(st.floats(-0.02, 0.02), min_size=5, max_size=5))
def test_swapping_the_codecs_inverts_the_difference(factors: list[float], shifts: list[float]) -> None:
    rates, utilities = RATES * np.array(factors), UTILITIES + np.array(shifts)
    try:
        there = bd_rate(RATES, UTILITIES, rates, utilities)
    except ArgumentError:
        with pytest.raises(ArgumentError):
            bd_rate(rates, utilities, RATES, UTILITIES)
        return
    back = bd_rate(rates, utilities, RATES, UTILITIES)
    assert (1 + there.percent / 100) * (1 + back.percent / 100) == pytest.approx(1)
    assert there.overlap == pytest.approx(back.overlap)


@given(st.floats(0.01, 100))
def test_the_unit_of_rate_does_not_matter(unit: float) -> None:
    rates = RATES * np.array([0.9, 0.8, 0.95, 0.7, 0.8])
    expected = bd_rate(RATES, UTILITIES, rates, UTILITIES).percent
    assert bd_rate(unit * RATES, UTILITIES, unit * rates, UTILITIES).percent == pytest.approx(expected)


def test_the_order_of_the_points_does_not_matter() -> None:
    mixed = [3, 0, 4, 1, 2]
    assert bd_rate(RATES[mixed], UTILITIES[mixed], 0.5 * RATES, UTILITIES).percent == pytest.approx(-50)


def test_three_rates_are_refused() -> None:
    with pytest.raises(ArgumentError, match="3 different rates; expected at least 4"):
        bd_rate(RATES[:3], UTILITIES[:3], RATES, UTILITIES)
    with pytest.raises(ArgumentError, match="candidate curve: found 3 different rates"):
        bd_rate(RATES, UTILITIES, [1, 1, 2, 3], [0.1, 0.2, 0.3, 0.4])


def test_ranges_that_hardly_overlap_are_refused() -> None:
    shifted = UTILITIES + 0.6 * (UTILITIES[-1] - UTILITIES[0])
    with pytest.raises(ArgumentError, match=r"25 % shared; expected at least 50 %"):
        bd_rate(RATES, UTILITIES, RATES, shifted)
    with pytest.raises(ArgumentError, match="0 % shared"):
        bd_rate(RATES, UTILITIES, RATES, UTILITIES + 2)


@pytest.mark.parametrize(
    ("rates", "utilities"),
    [([0, 1, 2, 3], [1, 2, 3, 4]), ([1, 2, 3, 4], [1, 2, np.nan, 4]), ([1, 2, 3, 4], [1, 2, 3])],
)
def test_unusable_numbers_are_refused(rates: list[float], utilities: list[float]) -> None:
    with pytest.raises(ArgumentError):
        Curve.through(rates, utilities)


def test_a_curve_that_falls_throughout_is_refused() -> None:
    with pytest.raises(ArgumentError, match="never rise"):
        Curve.through([1, 2, 3, 4], [0.9, 0.8, 0.7, 0.6])


@given(start=st.floats(0.05, 1), rise=st.floats(0.01, 0.3))
def test_a_curve_that_saturates_at_its_lowest_rate_gets_no_bd_rate(start: float, rise: float) -> None:
    utilities = start * (1 + rise * np.array([0, 0.6, 0.8, 0.95, 1]))
    if utilities[0] > 0.9 * utilities[-1]:
        with pytest.raises(ArgumentError, match="at its lowest rate"):
            bd_rate(RATES, utilities, 0.5 * RATES, utilities)
    else:
        assert bd_rate(RATES, utilities, 0.5 * RATES, utilities).percent == pytest.approx(-50)


def test_either_curve_may_be_the_one_that_saturates() -> None:
    flat, steep = np.array([0.91, 0.96, 0.98, 0.99, 1.0]), np.array([0.85, 0.9, 0.95, 0.98, 1.0])
    for reference, candidate in ((flat, steep), (steep, flat)):
        with pytest.raises(ArgumentError, match="at its lowest rate"):
            bd_rate(RATES, reference, RATES, candidate)


def test_a_flatter_resample_is_counted_all_the_same() -> None:
    """Whether a curve saturates is decided on all images; the interval is of every resample that overlaps."""
    random = np.random.default_rng(2)
    images = 50
    rates = np.tile(RATES, (images, 1))
    steep = 1 - np.array([0.105, 0.07, 0.05, 0.02, 0]) * random.uniform(0.5, 1.5, (images, 1))
    result = bd_rate_with_interval(*resampled(rates, steep), *resampled(0.8 * rates, steep), images=images)
    flat = [utility for utility in resampled(rates, steep)[1] if utility[0] > 0.9 * utility[-1]]
    assert flat and result.resamples_refused == 0 and result.resamples == 100
    assert result.low == pytest.approx(-20) and result.high == pytest.approx(-20)


def test_a_curve_that_is_not_monotone_is_fitted_and_the_result_says_so() -> None:
    dented = UTILITIES.copy()
    dented[2], dented[3] = dented[3], dented[2]
    result = bd_rate(RATES, UTILITIES, RATES, dented)
    assert not result.monotone
    assert abs(result.percent) < 10
    curve = Curve.through(RATES, dented)
    assert not curve.monotone and len(curve.utilities) == len(RATES) - 1
    assert (np.diff(curve.utilities) > 0).all()


def resampled(
    rates: np.ndarray, utilities: np.ndarray, resamples: int = 100, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Data-set rates and utilities, means of per-image ones (images, P), on all images and on resamples."""
    counts = draw_counts(len(rates), resamples, seed)
    return counts @ rates / len(rates), counts @ utilities / len(rates)


def test_pairing_cancels_what_both_codecs_share() -> None:
    random = np.random.default_rng(0)
    images = 100
    rates = RATES * random.lognormal(0, 1, (images, 1))
    utilities = UTILITIES + random.normal(0, 0.05, (images, 1))
    result = bd_rate_with_interval(*resampled(rates, utilities), *resampled(0.8 * rates, utilities), images=images)
    assert result.percent == pytest.approx(-20)
    assert result.low == pytest.approx(-20) and result.high == pytest.approx(-20)
    assert result.images == images and result.resamples_refused == 0


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    random = np.random.default_rng(1)
    images, trials, covered = 60, 25, 0
    same = np.tile(UTILITIES, (images, 1))
    for trial in range(trials):
        saving = np.exp(random.normal(np.log(0.9), 0.2, (images, 1)))
        reference = resampled(np.tile(RATES, (images, 1)), same, 100, trial)
        result = bd_rate_with_interval(*reference, *resampled(RATES * saving, same, 100, trial), images=images)
        truth = 100 * (0.9 * np.exp(0.02) - 1)
        assert result.low is not None and result.high is not None
        assert result.low < result.percent < result.high
        covered += result.low <= truth <= result.high
    assert covered >= 0.8 * trials


def test_no_interval_when_too_many_resamples_cannot_be_compared() -> None:
    images = 4
    rates, utilities = np.tile(RATES, (images, 1)), np.tile(UTILITIES, (images, 1))
    lifted = utilities.copy()
    lifted[0] += 0.3  # one image alone lifts the candidate's whole range
    result = bd_rate_with_interval(*resampled(rates, utilities), *resampled(rates, lifted), images=images)
    assert result.resamples_refused > 10
    assert result.low is None and result.high is None


def test_draws_repeat_by_seed_and_keep_the_number_of_images() -> None:
    counts = draw_counts(50, 20, seed=3)
    np.testing.assert_array_equal(counts, draw_counts(50, 20, seed=3))
    assert counts.shape == (21, 50) and (counts[0] == 1).all() and (counts.sum(1) == 50).all()
    assert (counts != draw_counts(50, 20, seed=4)).any()


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("compare_small/compare.json", "system"),
        ("compare_nyuv2/compare.json", "system"),
        ("compare_weights_nyuv2.json", "model"),
        ("compare_weights_rooms.json", "model"),
        ("evaluate_small.json", "setting"),
    ],
)
def test_no_result_file_compares_a_curve_that_saturates(file: str, name: str) -> None:
    result = json.loads((RESULTS / file).read_text("utf-8"))
    points: dict[str, list[dict[str, Any]]] = {}
    if name == "system":
        points = {key: system["points"] for key, system in result["systems"].items()}
    else:
        for row in result["points"]:
            effort = "" if row.get("effort", "normal") == "normal" else f"+{row['effort']}"
            points.setdefault(row[name] + effort, []).append(row)
    for row in result["bd_rates"]:
        for label in (row[name], row["reference"]):
            over = row["over"]
            utilities = [p["utility"] if over == "U" else p["tasks"][over]["utility"] for p in points[label]]
            if "percent" in row:
                curve = Curve.through([p["bytes_mean"] for p in points[label]], utilities)
                assert curve.rise >= LEAST_RISE, (label, over)
                assert row["resamples"] >= 10 * row["resamples_refused"] or row["low"] is None
