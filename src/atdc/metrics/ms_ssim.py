"""MS-SSIM: how alike the structure of two images is, over several scales.

Wang, Simoncelli and Bovik, "Multi-scale structural similarity for image quality assessment" (Asilomar 2003), equation
7, with the means over all places of the window that implementations take:

    MS-SSIM = mean(l_M c_M s_M)^w_M · Π_{j < M} mean(c_j s_j)^w_j

where ``l = (2 μ_x μ_y + C1) / (μ_x² + μ_y² + C1)`` and ``c s = (2 σ_xy + C2) / (σ_x² + σ_y² + C2)``. Moments are over a
Gaussian window of 11 pixels, standard deviation 1.5, where it fits inside; ``C1 = 0.01²``, ``C2 = 0.03²`` for values in
0 … 1; from scale to scale 2x2 pixels become their mean.

As is the custom in learned image coding, it is computed on each channel of RGB, not on luma, and averaged over them. A
negative mean counts as 0.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Exponents of the five scales, finest first (the paper's section 3.2); they sum to 1.0001, as printed there."""
WINDOW, DEVIATION = 11, 1.5
"""Of the Gaussian, in pixels (Wang et al., "Image quality assessment", 2004)."""
C1, C2 = 0.01**2, 0.03**2


def ms_ssim(first: Tensor, second: Tensor) -> Tensor:
    """MS-SSIM of each pair of images, (B,); 1 for equal ones.

    All five scales need 176 pixels a side. A smaller image has as many as leave room for the window, their weights
    scaled to the same sum; below 11 pixels a side there is one scale, and the window is cut to the image.

    Args:
        first: (B, C, H, W), 0 … 1.
        second: the same shape.

    >>> image = torch.linspace(0, 1, 3 * 64 * 64).view(1, 3, 64, 64)
    >>> ms_ssim(image, image).tolist()
    [1.0]
    """
    side = min(first.shape[-2:])
    scales = next(count for count in range(len(WEIGHTS), 0, -1) if count == 1 or side >> (count - 1) >= WINDOW)
    weights = [weight * sum(WEIGHTS) / sum(WEIGHTS[:scales]) for weight in WEIGHTS[:scales]]
    # One pair after the other: what a pair needs stays in the processor's cache, which is twice as fast as a batch.
    return torch.stack([_of_pair(x, y, weights) for x, y in zip(first.float(), second.float(), strict=True)])


def _of_pair(x: Tensor, y: Tensor, weights: Sequence[float]) -> Tensor:
    """MS-SSIM of two images (C, H, W) over as many scales as there are weights."""
    result = torch.ones(len(x))
    for place, weight in enumerate(weights):
        if place:
            x, y = avg_pool2d(x, 2), avg_pool2d(y, 2)
        luminance, structure = _terms(x, y)
        similarity = luminance * structure if place == len(weights) - 1 else structure
        result = result * similarity.mean((1, 2)).clamp(min=0) ** weight
    return result.mean()


def _terms(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """``l`` and ``c s`` at every place of the window, (C, H', W') each."""
    mean_x, mean_y, squares, product = (_blurred(value) for value in (x, y, x * x + y * y, x * y))
    means = mean_x * mean_x + mean_y * mean_y
    luminance = (2 * mean_x * mean_y + C1) / (means + C1)
    structure = (2 * (product - mean_x * mean_y) + C2) / (squares - means + C2)
    return luminance, structure


def _blurred(values: Tensor) -> Tensor:
    """Local means under the window, down the columns and then along the rows; no padding."""
    for dimension in (1, 2):
        size = min(WINDOW, values.shape[dimension])
        places = [place - (size - 1) / 2 for place in range(size)]
        taps = [math.exp(-(place**2) / (2 * DEVIATION**2)) for place in places]
        length = values.shape[dimension] - size + 1
        total = torch.zeros_like(values.narrow(dimension, 0, length))
        for start, tap in enumerate(taps):
            total.add_(values.narrow(dimension, start, length), alpha=tap / sum(taps))
        values = total
    return values
