"""The best qualities within a number of bytes: real files, one after the other, each nearer to it.

The utility of a file is ``Σ_i w_i · u_i(q_i)``, with ``w`` the weights and ``u_i(q)`` what quality ``q`` of a tensor
is worth. Of curves of bits ``R_i(q)``, the qualities that maximise ``Σ_i w_i·u_i(q_i) − λ·Σ_i R_i(q_i)`` are the best
for the bits that they take (Everett, 1963). Every file that is coded tells a point of each tensor's curve, so that
curves are those of the sample itself, and of the qualities that come into question.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from atdc.config import MAX_QUALITY, QUALITY_STEPS_PER_UNIT
from atdc.errors import ArgumentError

STEPS = MAX_QUALITY * QUALITY_STEPS_PER_UNIT + 1
"""Qualities from 0 to 7, in eighths."""
_ROUNDS = 4
_SINGLE_STEPS = 6
_SLOPES = np.geomspace(1e-7, 1e2, 400)

Floats = NDArray[np.float64]
Coder = Callable[[tuple[int, ...]], tuple[bytes, Sequence[float]]]
"""From quality steps, one per tensor, to the file and the ideal bits of each tensor."""


def best_within(max_bytes: int, utilities: Floats, weights: Sequence[float], coded: Coder) -> bytes:
    """The file of the greatest utility that takes no more than so many bytes, of all that were tried.

    The best one quality for all is among them. Some fifteen files are coded.

    Args:
        max_bytes: of the file.
        utilities: of each tensor at each quality step, (57, T), rising.
        weights: of each tensor, not negative.
        coded: what codes the sample.

    Raises:
        ArgumentError: the least qualities take more.

    >>> best_within(5, np.sqrt(np.arange(57.0))[:, None], [1], lambda steps: (bytes(2 + steps[0]), [8.0 * steps[0]]))
    b'\\x00\\x00\\x00\\x00\\x00'
    """
    search = _Search(max_bytes, np.asarray(weights, np.float64) * utilities, coded)
    search.one_quality_for_all()
    for _ in range(_ROUNDS):
        if not search.try_slopes():
            break
    for _ in range(_SINGLE_STEPS):
        if not search.try_single_step():
            break
    return search.files[search.best]


class _Search:
    """Files coded so far, and what they say of bits.

    Args:
        max_bytes: of the file.
        worth: weighted utility by step and tensor, (57, T).
        coded: what codes the sample.
    """

    def __init__(self, max_bytes: int, worth: Floats, coded: Coder) -> None:
        self._limit, self._worth, self._coded = max_bytes, worth, coded
        self._tensors = range(worth.shape[1])
        self._points: list[dict[int, float]] = [{} for _ in self._tensors]
        self.files: dict[tuple[int, ...], bytes] = {}
        self._framing = 0.0
        self.best = (0,) * len(self._tensors)
        if not self._fits(self.best):
            least = len(self.files[self.best])
            raise ArgumentError("max_bytes", str(max_bytes), f"at least {least}, which quality 0 takes")

    def one_quality_for_all(self) -> None:
        """Halves the range in which the best one quality for all lies."""
        low, high = 0, STEPS
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self._fits((middle,) * len(self._tensors)) else (low, middle)

    def try_slopes(self) -> bool:
        """Codes the best qualities by what is known of bits; False if these are coded already."""
        bits = self._bits()
        chosen = np.stack([(self._worth - slope * bits).argmax(0) for slope in _SLOPES])
        distinct = np.unique(chosen, axis=0)
        good = [steps for steps in map(tuple, distinct.tolist()) if self._estimated(bits, steps) <= self._limit]
        steps = max(good, key=self._value, default=self.best)
        if steps in self.files:
            return False
        self._fits(steps)
        return True

    def try_single_step(self) -> bool:
        """Codes the best file so far with one tensor's quality raised as far as there is room, by what is known;
        False if nothing is left to try."""
        bits, tries = self._bits(), []
        for tensor in self._tensors:
            for step in range(self.best[tensor] + 1, STEPS):
                steps = (*self.best[:tensor], step, *self.best[tensor + 1 :])
                if steps not in self.files and self._value(steps) > self._value(self.best):
                    if self._estimated(bits, steps) > self._limit:
                        break
                    tries.append(steps)
        if not tries:
            return False
        self._fits(max(tries, key=self._value))
        return True

    def _fits(self, steps: tuple[int, ...]) -> bool:
        data, bits = self._coded(steps)
        self.files[steps] = data
        self._framing = len(data) - sum(bits) / 8
        for tensor in self._tensors:
            self._points[tensor][steps[tensor]] = bits[tensor]
        fits = len(data) <= self._limit
        if fits and (self._value(steps), -len(data)) > (self._value(self.best), -len(self.files[self.best])):
            self.best = steps
        return fits

    def _value(self, steps: tuple[int, ...]) -> float:
        return float(sum(self._worth[step, tensor] for tensor, step in enumerate(steps)))

    def _estimated(self, bits: Floats, steps: tuple[int, ...]) -> float:
        return sum(float(bits[step, tensor]) for tensor, step in enumerate(steps)) / 8 + self._framing

    def _bits(self) -> Floats:
        """By step and tensor, (57, T): geometric between the points that are known, and beyond the last of them."""
        curves = []
        for points in self._points:
            steps = sorted(points)
            logs = np.maximum.accumulate(np.log1p([points[step] for step in steps]))
            curve = np.interp(np.arange(STEPS), steps, logs)
            if len(steps) > 1:  # beyond the last point, as between the last two
                slope = max((logs[-1] - logs[-2]) / (steps[-1] - steps[-2]), 0.01)
                curve[steps[-1] :] = logs[-1] + slope * np.arange(STEPS - steps[-1])
            curves.append(np.expm1(curve))
        return np.stack(curves, 1)
