"""Rounding: of latents with a gradient for training, and of entropy parameters to integers for coding."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from atdc.entropy.model import MEAN_BITS

MEANS_PER_STEP = 1 << MEAN_BITS
"""Means of latents are multiples of 1/16 of a quantisation step."""


def round_straight_through(value: Tensor) -> Tensor:
    """Rounds; the gradient passes as if it did not."""
    return value + (torch.round(value) - value).detach()


def lower_bound(value: Tensor, bound: float) -> Tensor:
    """max(value, bound) whose gradient still flows where it would lift a value that lies under the bound.

    >>> x = torch.tensor([-1.0, 2.0], requires_grad=True)
    >>> lower_bound(x, 0.0).neg().sum().backward()  # more is better: the value under the bound is lifted, too
    >>> x.grad.tolist()
    [-1.0, -1.0]
    """
    return _LowerBound.apply(value, bound)  # type: ignore[no-untyped-call]


class _LowerBound(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor, bound: float) -> Tensor:
        ctx.save_for_backward(value)
        ctx.bound = bound
        return value.clamp(min=bound)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (value,) = ctx.saved_tensors
        gradient = gradients[0]
        return gradient * ((value >= ctx.bound) | (gradient < 0)), None


def scales(smallest: float, largest: float, count: int) -> list[float]:
    """Geometric standard deviations of the entropy tables.

    >>> [round(s, 2) for s in scales(0.5, 8.0, 5)]
    [0.5, 1.0, 2.0, 4.0, 8.0]
    """
    return [smallest * (largest / smallest) ** (i / (count - 1)) for i in range(count)]


def scale_index(log_scale: Tensor, smallest: float, largest: float, count: int) -> Tensor:
    """Index of the nearest table, on the logarithmic axis."""
    step = math.log(largest / smallest) / (count - 1)
    return torch.round((log_scale - math.log(smallest)) / step).clamp(0, count - 1)


def quantised_mean(mean: Tensor) -> Tensor:
    """The mean in multiples of 1/16, exactly representable; used alike by quantiser and reconstruction."""
    return torch.round(mean * MEANS_PER_STEP) / MEANS_PER_STEP
