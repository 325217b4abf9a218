"""Bits of a Gaussian symbol, differentiable: the training counterpart of the integer frequency tables."""

from __future__ import annotations

import math

import torch
from torch import Tensor

SMALLEST_PROBABILITY = 2.0**-16
"""No symbol is cheaper to describe as rarer than this: the tables' smallest frequency is one in 2¹⁶."""


def gaussian_bits(value: Tensor, log_scale: Tensor) -> Tensor:
    """``−log₂[Φ((v+½)/σ) − Φ((v−½)/σ)]``, elementwise: bits of the unit bin around `value` under N(0, σ²).

    Args:
        value: distance from the mean, in quantisation steps.
        log_scale: natural logarithm of σ, in quantisation steps.

    >>> round(gaussian_bits(torch.zeros(1), torch.zeros(1)).item(), 3)
    1.385
    """
    inverse = torch.exp(-log_scale)
    distance = value.abs()
    # Both terms on the left tail, where Φ keeps its relative precision.
    upper = torch.special.ndtr((0.5 - distance) * inverse)
    lower = torch.special.ndtr((-0.5 - distance) * inverse)
    return -torch.log((upper - lower).clamp(min=SMALLEST_PROBABILITY)) / math.log(2)
