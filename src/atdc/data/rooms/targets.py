"""The two targets that are functions of the image itself: texture edges and 2D keypoints.

Both take any photo, not only rooms, and both are exact formulas with fixed scales:

- ``edge_texture = min(1, g / 0.07)`` with ``g`` the length, over both directions and the three channels' mean
  square, of the gradient of the image smoothed by a Gaussian of 1.5 pixels. ``g`` is in intensity per pixel.
- ``keypoints2d = min(1, r / 0.05)`` with ``r = max over s in {3, 6} of s^2 sqrt(max(0, Lxx Lyy - Lxy^2))``,
  where ``L`` is the grey image smoothed by a Gaussian of ``s`` pixels: the scale-normalised determinant of the
  Hessian that SURF approximates, brought back to units of intensity by its square root.

Borders repeat the outermost pixel.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from atdc.errors import ArgumentError
from atdc.tasks import TASKS
from atdc.tasks.task import Formula, registry

__all__ = [
    "EDGE_SCALE",
    "FORMULAS",
    "KEYPOINT_SCALE",
    "KEYPOINT_SIGMAS_PX",
    "PICTURE_TARGETS",
    "edge_texture",
    "image_target",
    "keypoints2d",
]  # fmt: skip

EDGE_SIGMA_PX = 1.5
EDGE_SCALE = 0.07
"""Gradient, in intensity per pixel, at which ``edge_texture`` reaches 1."""

KEYPOINT_SIGMAS_PX = (3.0, 6.0)
KEYPOINT_SCALE = 0.05
"""Response, in intensity, at which ``keypoints2d`` reaches 1."""


def edge_texture(rgb01: Tensor) -> Tensor:
    """Return the gradient magnitude of a smoothed image; no thresholds, no thinning.

    Args:
        rgb01: float ``(B, 3, H, W)`` in [0, 1].

    Returns:
        float ``(B, 1, H, W)`` in [0, 1].

    Raises:
        ArgumentError: the tensor has another shape or is not floating point.

    >>> float(edge_texture(torch.full((1, 3, 8, 8), 0.5)).max()) < 1e-2
    True
    """
    _check(rgb01)
    smooth = _blur(rgb01, EDGE_SIGMA_PX)
    padded = F.pad(smooth, (1, 1, 1, 1), mode="replicate")
    dx = 0.5 * (padded[..., 1:-1, 2:] - padded[..., 1:-1, :-2])
    dy = 0.5 * (padded[..., 2:, 1:-1] - padded[..., :-2, 1:-1])
    squared = (dx.square() + dy.square()).mean(dim=1, keepdim=True)
    return (squared.sqrt() / EDGE_SCALE).clamp_max(1.0)


def keypoints2d(rgb01: Tensor) -> Tensor:
    """Return the Hessian-determinant response of the grey image, the larger of two scales.

    Args:
        rgb01: float ``(B, 3, H, W)`` in [0, 1]; grey is the mean of the channels.

    Returns:
        float ``(B, 1, H, W)`` in [0, 1].

    Raises:
        ArgumentError: the tensor has another shape or is not floating point.

    >>> float(keypoints2d(torch.full((1, 3, 8, 8), 0.5)).max()) < 1e-2
    True
    """
    _check(rgb01)
    grey = rgb01.mean(dim=1, keepdim=True)
    smooth, variance = grey, 0.0
    best = torch.zeros_like(grey)
    for sigma in KEYPOINT_SIGMAS_PX:
        smooth = _blur(smooth, math.sqrt(sigma**2 - variance))
        variance = sigma**2
        p = F.pad(smooth, (1, 1, 1, 1), mode="replicate")
        xx = (p[..., 1:-1, 2:] + p[..., 1:-1, :-2]) - 2.0 * smooth
        yy = (p[..., 2:, 1:-1] + p[..., :-2, 1:-1]) - 2.0 * smooth
        xy = 0.25 * ((p[..., 2:, 2:] + p[..., :-2, :-2]) - (p[..., 2:, :-2] + p[..., :-2, 2:]))
        best = torch.maximum(best, (xx * yy - xy.square()).clamp_min(0.0).sqrt() * sigma**2)
    return (best / KEYPOINT_SCALE).clamp_max(1.0)


def _check(rgb01: Tensor) -> None:
    if rgb01.dim() != 4 or rgb01.shape[1] != 3 or not rgb01.is_floating_point():
        kind = f"{rgb01.dtype} of shape {tuple(rgb01.shape)}"
        raise ArgumentError("rgb01", kind, "a floating-point tensor of shape (B, 3, H, W)", "divide uint8 by 255.")


def _blur(image: Tensor, sigma_px: float) -> Tensor:
    """Gaussian smoothing, one axis after the other; symmetric pairs are added first, so mirrored input mirrors."""
    radius = math.ceil(3.0 * sigma_px)
    weights = [math.exp(-0.5 * (i / sigma_px) ** 2) for i in range(radius + 1)]
    total = weights[0] + 2.0 * sum(weights[1:])
    for dim in (-1, -2):
        length = image.shape[dim]
        pad = (radius, radius, 0, 0) if dim == -1 else (0, 0, radius, radius)
        padded = F.pad(image, pad, mode="replicate")
        out = image * (weights[0] / total)
        for i in range(1, radius + 1):
            pair = padded.narrow(dim, radius - i, length) + padded.narrow(dim, radius + i, length)
            out = out.add(pair, alpha=weights[i] / total)
        image = out
    return image


FORMULAS: dict[Formula, Callable[[Tensor], Tensor]] = registry(
    Formula, {"keypoints": keypoints2d, "edges": edge_texture}
)
"""By a row's ``formula``."""

PICTURE_TARGETS = {task.name: FORMULAS[task.formula] for task in TASKS if task.formula is not None}
"""Targets that follow from the image alone."""


def image_target(name: str, rgb: Tensor) -> Tensor:
    """One of :data:`PICTURE_TARGETS` as it is stored, uint8 (B, 1, H, W), of an image of bytes (B, 3, H, W)."""
    return (PICTURE_TARGETS[name](rgb.float() / 255) * 255).round().to(torch.uint8)
