"""BD-rate against the public `bjontegaard` package: the same number wherever both give one, and where they part.

The package (FAU-LMS, BSD-3-Clause, PyPI) is the one of Herglotz et al., ICIP 2022, whose PCHIP agrees with the
spreadsheet of the video standards' common test conditions. Both integrate PCHIP through (utility, log rate), there to
base 10, here to base e, which leaves rounding: :data:`AGREEMENT`.
"""

from __future__ import annotations

import bjontegaard
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from atdc.errors import ArgumentError
from atdc_bench.measures.rate_distortion import LEAST_OVERLAP, LEAST_RATES, bd_rate

AGREEMENT = 1e-9
"""Of the ratio of rates, relative."""
Points = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Rates and utilities."""

PUBLISHED: dict[str, tuple[list[float], list[float], list[float], list[float]]] = {
    "1": (
        [9487.76, 4593.60, 2486.44, 1358.24],
        [40.037, 38.615, 36.845, 34.851],
        [9787.80, 4469.00, 2451.52, 1356.24],
        [40.121, 38.651, 36.970, 34.987],
    ),
    "2, high rates": (
        [82472.76, 26875.24, 9487.76, 4593.6],
        [43.825, 41.404, 40.037, 38.615],
        [99896.96, 33952.04, 9787.8, 4469.0],
        [44.731, 41.875, 40.121, 38.651],
    ),
    "3, more points": (
        [82472.76, 26875.24, 9487.76, 4593.6, 3600, 2900],
        [43.825, 41.404, 40.037, 38.615, 36.5, 35.1],
        [99896.96, 33952.04, 9787.8, 4469.0, 4040, 3300],
        [44.731, 41.875, 40.121, 38.651, 37, 36.5],
    ),
}
"""The package's own examples: kbit/s and PSNR of x265 presets."""


def theirs(reference: Points, candidate: Points) -> float:
    """The package's BD-rate, percent, with its warning about overlaps below three quarters switched off."""
    return float(
        bjontegaard.bd_rate(*reference, *candidate, method="pchip", require_matching_points=False, min_overlap=0)
    )


def require_agreement(reference: Points, candidate: Points) -> None:
    ours = bd_rate(*reference, *candidate)
    assert ours.monotone
    assert 1 + ours.percent / 100 == pytest.approx(1 + theirs(reference, candidate) / 100, rel=AGREEMENT)


@st.composite
def monotone_curves(draw: st.DrawFn) -> Points:
    """Four to nine points, steep, flat and uneven, by ascending rate; none saturates at its lowest rate."""
    steps = st.tuples(st.floats(0.01, 2), st.floats(0.001, 1))
    log_rates, utilities = np.cumsum(draw(st.lists(steps, min_size=LEAST_RATES, max_size=9)), axis=0).T
    lowest = draw(st.floats(0, 2)) * (utilities[-1] - utilities[0])
    return np.exp(log_rates + draw(st.floats(-3, 3))), utilities - utilities[0] + lowest


@pytest.mark.parametrize("case", PUBLISHED)
def test_the_packages_own_examples_agree(case: str) -> None:
    rates, utilities, other_rates, other_utilities = map(np.array, PUBLISHED[case])
    require_agreement((rates, utilities), (other_rates, other_utilities))
    require_agreement((other_rates, other_utilities), (rates, utilities))


@given(monotone_curves(), monotone_curves())
def test_any_two_monotone_curves_agree_or_are_refused_for_their_overlap(reference: Points, candidate: Points) -> None:
    (_, u), (_, v) = reference, candidate
    overlap = (min(u[-1], v[-1]) - max(u[0], v[0])) / (max(u[-1], v[-1]) - min(u[0], v[0]))
    if overlap < LEAST_OVERLAP:
        with pytest.raises(ArgumentError, match="ranges of the two curves"):
            bd_rate(*reference, *candidate)
    else:
        require_agreement(reference, candidate)


@given(monotone_curves(), st.lists(st.floats(-1, 1), min_size=9, max_size=9), st.floats(-0.2, 0.2))
def test_curves_that_reach_much_the_same_agree(reference: Points, factors: list[float], lift: float) -> None:
    rates, utilities = reference
    spread = utilities[-1] - utilities[0]
    log_rates = np.cumsum(np.diff(np.log(rates), prepend=0) * np.exp(factors[: len(rates)]))
    require_agreement(reference, (np.exp(log_rates), utilities + lift * spread))


def test_a_curve_that_falls_has_a_number_here_and_none_there() -> None:
    rates, utilities = np.array([1.0, 2, 4, 8, 16]), np.array([0.5, 0.7, 0.65, 0.8, 0.9])
    straight = np.linspace(0.5, 0.9, 5)
    with pytest.raises(ValueError, match="strictly increasing"):
        theirs((rates, straight), (rates, utilities))
    assert not bd_rate(rates, straight, rates, utilities).monotone
    # The fit pools the two points that fall; through the pooled curve the package agrees again.
    pooled = np.array([1.0, 8**0.5, 8, 16]), np.array([0.5, 0.675, 0.8, 0.9])
    ours = bd_rate(rates, straight, rates, utilities).percent
    assert 1 + ours / 100 == pytest.approx(1 + theirs((rates, straight), pooled) / 100, rel=AGREEMENT)
