"""Curves of clipped utilities: the cheapest points only, nothing after a 1, and bytes at a utility."""

import numpy as np
import pytest

from atdc.errors import ArgumentError
from atdc_bench.measures.rate_distortion import BDRate, Curve, differences, with_interval

UTILITIES = np.array([0.5, 0.7, 0.85, 0.95, 1.0, 1.0])
RATES = np.array([10.0, 20.0, 40.0, 80.0, 160.0, 320.0])


def test_a_point_that_a_cheaper_one_answers_as_well_as_is_no_point_of_the_curve() -> None:
    curve = Curve.of_cheapest([1, 2, 3, 4, 5], [0.4, 0.6, 0.5, 0.6, 0.8])
    assert curve.utilities.tolist() == [0.4, 0.6, 0.8]
    np.testing.assert_allclose(np.exp(curve.log_rates), [1, 2, 5])


def test_what_follows_the_first_1_changes_nothing() -> None:
    longer = Curve.of_cheapest([*RATES, 1000], [*UTILITIES, 1.0])
    assert (
        longer.utilities.tolist() == Curve.of_cheapest(RATES, UTILITIES).utilities.tolist() == [0.5, 0.7, 0.85, 0.95, 1]
    )


def curves(rates: np.ndarray, utilities: np.ndarray, times: int = 1) -> list[Curve | ArgumentError]:
    return [Curve.of_cheapest(rates, utilities)] * times


def test_fewer_than_four_points_below_and_at_1_are_not_compared() -> None:
    few = curves(np.array([1, 2, 3, 4, 5]), np.array([0.96, 0.98, 1.0, 1.0, 1.0]))
    for pair in ((few, curves(RATES, UTILITIES)), (curves(RATES, UTILITIES), few)):
        (refusal,) = differences(*pair)
        assert isinstance(refusal, ArgumentError) and "3 rates that answer better" in str(refusal)


@pytest.mark.parametrize("utility", [1.01, float("nan")])
def test_utilities_that_are_not_clipped_are_refused(utility: float) -> None:
    with pytest.raises(ArgumentError, match="clipped"):
        Curve.of_cheapest([1, 2, 3, 4], [0.1, 0.2, 0.3, utility])


def test_the_rate_at_a_measured_utility_is_the_measured_rate_and_below_all_the_lowest() -> None:
    curve = Curve.of_cheapest(RATES, UTILITIES)
    for rate, utility in zip(RATES[:5], UTILITIES[:5], strict=True):
        assert curve.rate_at(float(utility)) == pytest.approx(rate)
    assert curve.rate_at(0.1) == pytest.approx(10) and Curve.of_cheapest(RATES[:4], UTILITIES[:4]).rate_at(0.96) is None


def test_half_the_bytes_everywhere_are_minus_50_percent_on_all_images_and_each_resample() -> None:
    found = differences(curves(RATES, UTILITIES, 4), curves(RATES / 2, UTILITIES, 4))
    assert all(isinstance(row, BDRate) and row.percent == pytest.approx(-50) for row in found)


def test_a_resample_that_cannot_be_compared_stands_as_its_refusal_and_is_counted() -> None:
    other = curves(RATES, UTILITIES, 3)
    other[1] = ArgumentError("curve", "no scale", "one")
    found = differences(curves(RATES, UTILITIES, 3), other)
    assert [isinstance(row, BDRate) for row in found] == [True, False, True] and found[1] is other[1]
    assert isinstance(found[0], BDRate)
    told = with_interval(found[0], [row.percent for row in found[1:] if isinstance(row, BDRate)], 2, 9)
    assert (told.resamples, told.resamples_refused, told.low, told.images) == (2, 1, None, 9)


def test_curves_that_share_less_than_half_of_their_utilities_are_refused() -> None:
    low, high = np.array([0.1, 0.2, 0.3, 0.5]), np.array([0.45, 0.6, 0.8, 0.9])
    (refusal,) = differences(curves(RATES[:4], low), curves(RATES[:4], high))
    assert isinstance(refusal, ArgumentError) and "shared" in str(refusal)
