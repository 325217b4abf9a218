"""Comparing two codecs at equal answers: Bjøntegaard's rate difference over utility, and when to refuse it.

A codec measured at several qualities is a curve of utility over rate. The *BD-rate* of a candidate against a reference
is the mean distance between the two curves along the axis of log-rate, over the utilities that both reach, said in
percent:

    BD = 100 (exp( 1/(b - a) ∫_a^b [ln R_candidate(u) - ln R_reference(u)] du ) - 1)

-30 means 30 % fewer bytes at equal utility (Bjøntegaard, VCEG-M33, 2001; with utility in place of PSNR). ln R(u) runs
through the measured points as a piecewise cubic Hermite interpolant that keeps monotone data monotone (PCHIP; Fritsch
and Butland, 1984), which a single cubic does not.

A number is only given where it means something: at least :data:`LEAST_RATES` rates on each curve, and utilities both
reach at least :data:`LEAST_OVERLAP` of all that either reaches. A curve along which more bytes give a worse answer has
no inverse; it is replaced by its least-squares monotone fit (isotonic regression), whose flat stretches count as one
point each, and the result says so. A curve that saturates at its lowest rate, where all other rates add less than
:data:`LEAST_RISE` of its highest utility, is refused: utility hardly depends on bytes there, so bytes at equal utility
are noise. That is decided once, on all images; a resample that comes out flatter is no reason to leave it out.

Of *clipped* utilities, which end at 1, another curve is made (:meth:`Curve.of_cheapest`): through the points that
answer better than every cheaper one, up to the first that reaches 1. Its comparisons (:func:`differences`)
need four such points and the same overlap, whatever the curve's rise; where they are refused, bytes at a utility
(:meth:`Curve.rate_at`) are left to say.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.interpolate import PchipInterpolator
from scipy.optimize import isotonic_regression

from atdc.errors import ArgumentError
from atdc.metrics.tasks import FloatArray

LEAST_RATES = 4
"""Fewer measured rates than this do not make a curve."""
LEAST_OVERLAP = 0.5
"""Least share of the union of both utility ranges that both curves must reach."""
LEAST_RISE = 0.1
"""Least rise of a curve, as a share of its highest utility (of the larger end, if they are negative)."""
MOST_REFUSED = 0.1
"""Largest share of bootstrap resamples that may be refused before the interval is."""


@dataclass(frozen=True)
class Curve:
    """Utility over rate, by ascending rate, with a strictly increasing utility.

    Attributes:
        log_rates: natural logarithms of the rates, (P,), increasing.
        utilities: (P,), increasing.
        monotone: False when the measurements were not monotone and this is the monotone fit.
    """

    log_rates: FloatArray
    utilities: FloatArray
    monotone: bool

    @classmethod
    def through(cls, rates: ArrayLike, utilities: ArrayLike, name: str = "curve") -> Curve:
        """The curve through measured points, in any order.

        Args:
            rates: positive, in any unit (both curves of a comparison in the same).
            utilities: of the same length.
            name: what error messages call it.

        Raises:
            ArgumentError: fewer than four different rates, a rate that is not positive, a number that is not finite,
                or utilities that do not rise with the rate at all.

        >>> Curve.through([1, 2, 4, 8], [0.5, 0.7, 0.6, 0.9]).utilities.round(3).tolist()
        [0.5, 0.65, 0.9]
        """
        rate = np.asarray(rates, np.float64)
        utility = np.asarray(utilities, np.float64)
        if rate.ndim != 1 or rate.shape != utility.shape:
            raise ArgumentError(name, f"{rate.shape} rates, {utility.shape} utilities", "two lists of one length")
        if not (np.isfinite(rate).all() and np.isfinite(utility).all() and (rate > 0).all()):
            raise ArgumentError(name, "a rate or utility that is not usable", "finite numbers, positive rates")
        if len(np.unique(rate)) < LEAST_RATES:
            raise ArgumentError(
                name, f"{len(np.unique(rate))} different rates", f"at least {LEAST_RATES}", "measure more qualities"
            )
        order = np.lexsort((utility, rate))
        rate, utility = np.log(rate[order]), utility[order]
        if (np.diff(utility) > 0).all() and (np.diff(rate) > 0).all():
            return cls(rate, utility, True)
        fit = isotonic_regression(utility)
        starts = np.asarray(fit.blocks[:-1], np.intp)
        if len(starts) < 2:
            raise ArgumentError(name, "utilities that never rise with the rate", "a rate-distortion trade-off")
        block_rates = np.add.reduceat(rate, starts) / np.diff(fit.blocks)
        return cls(block_rates, np.asarray(fit.x)[starts], len(starts) == len(rate))

    @classmethod
    def of_cheapest(cls, rates: ArrayLike, utilities: ArrayLike) -> Curve:
        """The curve of clipped utilities: the points that answer better than every cheaper one, none after a 1.

        Args:
            rates: positive, in any unit and any order.
            utilities: of the same length, at most 1.

        Raises:
            ArgumentError: numbers that are not usable.

        >>> curve = Curve.of_cheapest([1, 2, 3, 4, 5, 6], [0.5, 0.7, 0.6, 0.9, 1.0, 1.0])
        >>> curve.utilities.tolist(), np.exp(curve.log_rates).round(1).tolist()
        ([0.5, 0.7, 0.9, 1.0], [1.0, 2.0, 4.0, 5.0])
        """
        rate, utility = np.asarray(rates, np.float64), np.asarray(utilities, np.float64)
        if rate.ndim != 1 or rate.shape != utility.shape or not rate.size or not (rate > 0).all():
            raise ArgumentError("curve", "rates that are not usable", "as many positive rates as utilities")
        if not (utility <= 1).all():  # in this form true of NaN, too
            raise ArgumentError("curve", "a utility above 1, or that is no number", "clipped utilities")
        order = np.lexsort((-utility, rate))
        rate, utility = rate[order], utility[order]
        before = np.concatenate([[-np.inf], np.maximum.accumulate(utility)[:-1]])
        better = utility > before
        return cls(np.log(rate[better]), utility[better], bool(better.all()))

    def rate_at(self, utility: float) -> float | None:
        """The rate at which a utility is reached, between points as in comparisons; the lowest rate where that answers
        better, None where no point answers as well.

        >>> curve = Curve.of_cheapest([1, 2, 4, 8], [0.6, 0.7, 0.8, 0.9])
        >>> curve.rate_at(0.5), round(curve.rate_at(0.75), 3), curve.rate_at(0.95)
        (1.0, 2.828, None)
        """
        if utility > self.utilities[-1]:
            return None
        if utility <= self.utilities[0]:
            return float(np.exp(self.log_rates[0]))
        return float(np.exp(self.log_rate(utility)))

    @cached_property
    def log_rate(self) -> PchipInterpolator:
        """ln R as a function of the utility."""
        return PchipInterpolator(self.utilities, self.log_rates)

    @property
    def rise(self) -> float:
        """How far the utility rises from the lowest to the highest rate, as a share of its larger end.

        >>> round(Curve.through([1, 2, 4, 8], [0.9, 0.95, 0.97, 1.0]).rise, 3)
        0.1
        """
        low, high = float(self.utilities[0]), float(self.utilities[-1])
        return (high - low) / max(abs(low), abs(high))


@dataclass(frozen=True)
class BDRate:
    """A rate difference at equal utility, with what it rests on.

    Attributes:
        percent: mean rate difference of the candidate against the reference; negative is better.
        low: lower end of the bootstrap interval, percent; None when none was computed.
        high: upper end.
        overlap: shared share of the union of the two utility ranges, 0 to 1.
        utility_from: lowest utility compared.
        utility_to: highest utility compared.
        monotone: False when a monotone fit stands in for at least one of the two curves.
        images: images drawn from in the bootstrap; 0 without one.
        resamples: drawn in the bootstrap; 0 without one.
        resamples_refused: resamples that could not be compared (overlap too small) and were left out.
    """

    percent: float
    overlap: float
    utility_from: float
    utility_to: float
    monotone: bool
    low: float | None = None
    high: float | None = None
    images: int = 0
    resamples: int = 0
    resamples_refused: int = 0

    def to_json(self) -> dict[str, Any]:
        """The same, as a mapping ready for JSON."""
        return asdict(self)


def bd_rate(
    reference_rates: ArrayLike, reference_utilities: ArrayLike, rates: ArrayLike, utilities: ArrayLike
) -> BDRate:
    """BD-rate of the second curve against the first.

    Raises:
        ArgumentError: as :meth:`Curve.through` and :func:`require_rise`, or the curves overlap by less than half.

    A codec that needs 70 % of the bytes everywhere:

    >>> u = [0.6, 0.8, 0.9, 0.95]
    >>> round(bd_rate([1, 2, 4, 8], u, [0.7, 1.4, 2.8, 5.6], u).percent, 6)
    -30.0
    """
    reference = Curve.through(reference_rates, reference_utilities, "reference curve")
    candidate = Curve.through(rates, utilities, "candidate curve")
    require_rise(reference, "reference curve")
    require_rise(candidate, "candidate curve")
    return _difference(reference, candidate)


def require_rise(curve: Curve, name: str) -> None:
    """Refuses a curve that saturates at its lowest rate.

    Raises:
        ArgumentError: the curve rises by less than :data:`LEAST_RISE`.

    >>> require_rise(Curve.through([1, 2, 4, 8], [0.96, 0.97, 0.99, 1.0]), "depth")
    Traceback (most recent call last):
        ...
    atdc.errors.ArgumentError: depth: found 96.0 % of its highest utility at its lowest rate; expected at most 90 %. \
Measure lower rates.
    """
    if curve.rise < LEAST_RISE:
        raise ArgumentError(
            name,
            f"{100 * (1 - curve.rise):.1f} % of its highest utility at its lowest rate",
            f"at most {100 * (1 - LEAST_RISE):.0f} %",
            "Measure lower rates.",
        )


def _difference(reference: Curve, candidate: Curve) -> BDRate:
    low = max(reference.utilities[0], candidate.utilities[0])
    high = min(reference.utilities[-1], candidate.utilities[-1])
    union = max(reference.utilities[-1], candidate.utilities[-1]) - min(reference.utilities[0], candidate.utilities[0])
    overlap = max(high - low, 0.0) / union
    if overlap < LEAST_OVERLAP:
        raise ArgumentError(
            "utility ranges of the two curves",
            f"{100 * overlap:.0f} % shared",
            f"at least {100 * LEAST_OVERLAP:.0f} % of their union",
            "measure qualities that reach the same utilities",
        )
    area = [float(curve.log_rate.integrate(low, high)) for curve in (reference, candidate)]
    return BDRate(
        percent=100 * float(np.expm1((area[1] - area[0]) / (high - low))),
        overlap=float(overlap),
        utility_from=float(low),
        utility_to=float(high),
        monotone=reference.monotone and candidate.monotone,
    )


def draw_counts(images: int, resamples: int, seed: int) -> FloatArray:
    """How often each image occurs in the whole data set (row 0: once each) and in each bootstrap resample.

    Returns:
        (1 + resamples, images); every row sums to ``images``. The same arguments draw the same images, so codecs
        measured on the same images are compared on the same resamples.

    >>> draw_counts(5, 3, seed=0).sum(1).tolist()
    [5.0, 5.0, 5.0, 5.0]
    """
    generator = np.random.Generator(np.random.PCG64(seed))
    counts = generator.multinomial(images, np.full(images, 1 / images), size=resamples)
    return np.concatenate([np.ones((1, images)), counts.astype(np.float64)])


def bd_rate_with_interval(
    reference_rates: FloatArray,
    reference_utilities: FloatArray,
    rates: FloatArray,
    utilities: FloatArray,
    *,
    images: int,
    level: float = 0.95,
) -> BDRate:
    """BD-rate on all images, with a percentile bootstrap interval over images (Efron, 1979).

    Args:
        reference_rates: (1 + R, P), of the whole data set and of R resamples; see :func:`draw_counts`. Every figure of
            a resample, the ends of the utility scale included, is computed again from the images drawn.
        reference_utilities: (1 + R, P).
        rates: the candidate's, (1 + R, P'), from the same resamples (the comparison is paired).
        utilities: (1 + R, P').
        images: how many images were drawn from.
        level: coverage of the interval.

    Raises:
        ArgumentError: the comparison on all images is refused (see :func:`bd_rate`). Resamples that are refused are
            left out and counted; when more than a tenth are, no interval is given.
    """
    difference = bd_rate(reference_rates[0], reference_utilities[0], rates[0], utilities[0])
    percents: list[float] = []
    for row in zip(reference_rates[1:], reference_utilities[1:], rates[1:], utilities[1:], strict=True):
        try:
            reference, candidate = Curve.through(*row[:2]), Curve.through(*row[2:])
            percents.append(_difference(reference, candidate).percent)
        except ArgumentError:
            continue
    return with_interval(difference, percents, len(rates) - 1, images, level)


def with_interval(
    difference: BDRate, percents: Sequence[float], resamples: int, images: int, level: float = 0.95
) -> BDRate:
    """A difference on all images with the percentile interval of its resamples, unless too many were refused.

    Args:
        difference: on all images.
        percents: of the resamples that could be compared.
        resamples: that were drawn.
        images: that were drawn from.
        level: coverage of the interval.
    """
    refusals = resamples - len(percents)
    low = high = None
    if percents and refusals <= MOST_REFUSED * resamples:
        tail = 100 * (1 - level) / 2
        low, high = (float(value) for value in np.percentile(percents, [tail, 100 - tail]))
    return replace(difference, low=low, high=high, images=images, resamples=resamples, resamples_refused=refusals)


def differences(
    references: Sequence[Curve | ArgumentError], candidates: Sequence[Curve | ArgumentError]
) -> list[BDRate | ArgumentError]:
    """BD-rates of clipped utilities on all images and on each resample; in the place of one that is refused, why.

    Args:
        references: :meth:`Curve.of_cheapest` of all images and of each resample, or why there is none.
        candidates: likewise, of the same resamples.

    >>> reference = Curve.of_cheapest([1.0, 2, 4, 8, 16], [0.6, 0.8, 0.9, 1.0, 1.0])
    >>> [row] = differences([reference], [Curve.of_cheapest([0.7, 1.4, 2.8, 5.6], [0.6, 0.8, 0.9, 1.0])])
    >>> round(row.percent, 6)
    -30.0
    """
    results: list[BDRate | ArgumentError] = []
    for pair in zip(references, candidates, strict=True):
        refusals = [curve for curve in pair if isinstance(curve, ArgumentError)]
        short_curves = [curve for curve in pair if isinstance(curve, Curve) and len(curve.utilities) < LEAST_RATES]
        if short_curves:
            refusals.append(
                ArgumentError(
                    "curve", f"{len(short_curves[0].utilities)} rates that answer better than every lower one",
                    f"at least {LEAST_RATES}", "Measure more qualities below the utility 1.",
                )
            )  # fmt: skip
        if refusals:
            results.append(refusals[0])
            continue
        try:
            results.append(_difference(*pair))  # type: ignore[arg-type]
        except ArgumentError as refusal:
            results.append(refusal)
    return results
