"""Features with planted dependencies whose worth is known."""

from __future__ import annotations

import math

import numpy as np
import torch

NOISE = 0.1
"""Of the variance of what depends on something else."""
SHAPES = {"a/b": (5, 20, 30), "x": (16, 10, 15), "y": (7, 40, 60)}
PAIRS = {frozenset({"a/b", "x"}), frozenset({"a/b", "y"})}
"""Who knows something of whom."""


def samples(seed: int, count: int) -> list[dict[str, np.ndarray]]:
    """Three channels of `a/b` follow from `x`, two others tell two channels of `y`; `x` and `y` have nothing in common.

    A position of the coarser tensor lies under 2×2 of the finer one, which repeat it, with noise.
    """
    draw = torch.Generator().manual_seed(seed)
    mixing = torch.linalg.qr(torch.randn(16, 16, generator=torch.Generator().manual_seed(7)))[0][:3]
    found = []
    for _ in range(count):
        x = torch.randn(16, 10, 15, generator=draw)
        middle = torch.randn(5, 20, 30, generator=draw)
        middle[:3] = noisy(repeated(torch.einsum("oc,chw->ohw", mixing, x)), draw)
        y = 0.5 * torch.randn(7, 40, 60, generator=draw)
        y[:2] = noisy(repeated(middle[3:]), draw)
        found.append({"a/b": middle.numpy(), "x": x.numpy(), "y": y.numpy()})
    return found


def repeated(values: torch.Tensor) -> torch.Tensor:
    return values.repeat_interleave(2, -1).repeat_interleave(2, -2)


def noisy(values: torch.Tensor, draw: torch.Generator) -> torch.Tensor:
    return math.sqrt(1 - NOISE) * values + math.sqrt(NOISE) * torch.randn(values.shape, generator=draw)


def planted_bits() -> float:
    """Mutual information of all planted pairs in a sample: of each 2×2 block of noisy copies, whose sum has variance
    4(1 − n) + n in units of n, with what they are copies of."""
    a_block = 0.5 * math.log2((4 * (1 - NOISE) + NOISE) / NOISE)
    return (3 * 10 * 15 + 2 * 20 * 30) * a_block
