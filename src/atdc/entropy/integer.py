"""Exact integer layers: the same integers on every machine, with any number of threads, from any math library.

A product of integer matrices is computed in float64. Every partial sum of it is an integer below ``2**53`` (the bound
follows from the weights and from the range of the input, and is checked when a layer is built), so it is exact in
whatever order, with or without fused multiply-add. What lies between two products is shifts, clamps and additions of
int64. No result is ever rounded by a floating-point unit, hence none can differ.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atdc.errors import WeightsError

Integers = NDArray[np.int64]
Numbers = NDArray[Any]
"""Integers; or floats, where the float model stands in for them to be measured."""

EXACT_LIMIT = 1 << 53
"""Integers up to here, and only up to here, are all exact in float64."""


def rounded_shift(values: Integers, bits: int) -> Integers:
    """``floor(values / 2**bits + 1/2)``, in integers.

    >>> rounded_shift(np.array([-3, -2, 1, 2, 6]), 2).tolist()
    [-1, 0, 0, 1, 2]
    """
    return (values + (1 << bits >> 1)) >> bits


def clamped(values: Integers, low: int, high: int) -> Integers:
    """Values limited to ``low .. high``."""
    return np.minimum(np.maximum(values, low), high)


@dataclass(frozen=True, eq=False)
class IntegerConv:
    """A convolution of integers, size 1 or 3 with zeros around the image: ``y = Σ w·x``, no bias, no rounding.

    Args:
        weight: (k, k, inputs, outputs), k = 1 or 3.
        reach: the greatest magnitude of an input; the caller clamps to it.
        name: what to call the layer in an error.

    Raises:
        WeightsError: the shape fits no layer, or a partial sum could reach ``2**53``.

    >>> layer = IntegerConv(np.full((3, 3, 1, 1), 2), reach=100)
    >>> layer(np.arange(9).reshape(1, 3, 3, 1))[0, :, :, 0].tolist()
    [[16, 30, 24], [42, 72, 54], [40, 66, 48]]
    """

    weight: NDArray[np.integer]
    reach: int
    name: str = "integer layer"
    _matrices: NDArray[np.float64] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Checks the bound and keeps the weights as exact floats."""
        shape = self.weight.shape
        if len(shape) != 4 or shape[0] != shape[1] or shape[0] not in (1, 3) or self.weight.dtype.kind not in "iu":
            raise WeightsError(self.name, f"{self.weight.dtype} of shape {shape}", "integers (k, k, in, out), k = 1, 3")
        worst = int(np.abs(self.weight.astype(np.int64)).sum((0, 1, 2)).max(initial=0)) * self.reach
        if worst >= EXACT_LIMIT:
            raise WeightsError(self.name, f"sums that may reach {worst}", f"sums below 2**53 = {EXACT_LIMIT}")
        object.__setattr__(self, "_matrices", self.weight.astype(np.float64))

    def __call__(self, x: Integers, at: NDArray[np.bool_] | None = None) -> Integers:
        """Integers (n, h, w, inputs) to (n, h, w, outputs); at some positions alone (h, w), to (n, positions, outputs).

        >>> layer = IntegerConv(np.ones((3, 3, 1, 1), int), reach=100)
        >>> layer(np.arange(4).reshape(1, 2, 2, 1), np.eye(2, dtype=bool)).ravel().tolist()
        [6, 6]
        """
        size, outputs = len(self._matrices), self._matrices.shape[3]
        images, height, width, inputs = x.shape
        border = size // 2
        canvas = np.zeros((images, height + 2 * border, width + 2 * border, inputs))
        canvas[:, border : border + height, border : border + width] = x
        places = (height, width) if at is None else (int(at.sum()),)
        total = np.zeros((images * math.prod(places), outputs))
        for row in range(size):
            for column in range(size):
                window = canvas[:, row : row + height, column : column + width]
                total += (window if at is None else window[:, at]).reshape(-1, inputs) @ self._matrices[row, column]
        return total.astype(np.int64).reshape(images, *places, outputs)


def unfold_pixels(x: Integers) -> Integers:
    """Channels to pixels: (n, h, w, 4·C) to (n, 2h, 2w, C), channel ``(2·row + column)·C + c`` to its place.

    >>> unfold_pixels(np.arange(4).reshape(1, 1, 1, 4))[0, :, :, 0].tolist()
    [[0, 1], [2, 3]]
    """
    images, height, width, channels = x.shape
    blocks = x.reshape(images, height, width, 2, 2, channels // 4).transpose(0, 1, 3, 2, 4, 5)
    return blocks.reshape(images, 2 * height, 2 * width, channels // 4)
