"""Stored targets (compact integers) to the scale in which heads answer.

================  ========  ========================================  ==========================  ===================
target            dtype     decoded                                   not measured, stored        decoded
================  ========  ========================================  ==========================  ===================
segment_semantic  uint8     class index, long                         255                         255
keypoints2d       uint8     v / 255
edge_texture      uint8     v / 255
normal            uint8     2 v / 255 - 1, then unit length           128, 128, 128 (no length)   0, 0, 0
depth_zbuffer     uint16    ln(v / 512), natural logarithm of metres  0                           NaN
rgb               uint8     v / 255
================  ========  ========================================  ==========================  ===================

A pixel without measurement takes no part in losses (:mod:`atdc.training.losses`) and metrics
(:mod:`atdc.metrics.tasks`). No measured pixel looks like one: a unit vector decodes to a length above 0.98, and
depth is never nought. Rooms measure every pixel.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from atdc.tasks import IGNORE_CLASS

DEPTH_UNITS_PER_METRE = 512
"""Taskonomy's unit of stored depth."""

NO_DEPTH = 0
"""Stored depth of a pixel that was not measured."""
NO_NORMAL = 128
"""Each channel of a stored normal that was not measured: a vector of almost no length."""
_SHORTEST_NORMAL = 0.5

STORED_LAYOUT: dict[str, tuple[int, type[np.generic]]] = {
    "rgb": (3, np.uint8), "depth_zbuffer": (1, np.uint16), "normal": (3, np.uint8),
    "segment_semantic": (1, np.uint8), "keypoints2d": (1, np.uint8), "edge_texture": (1, np.uint8),
}  # fmt: skip
"""Channels and type of each stored target."""


def decode_stored(task: str, stored: NDArray[np.integer] | Tensor) -> Tensor:
    """Target (B, C, H, W) as the losses compare it; the class map is long, all others float32.

    Where nothing was measured it is 255, NaN or the zero vector: see the module's table.

    >>> round(decode_stored("depth_zbuffer", np.full((1, 1, 1, 1), 1024, np.uint16)).item(), 4)  # ln 2 metres
    0.6931
    """
    array = stored.numpy() if isinstance(stored, Tensor) else np.asarray(stored)
    if task == "segment_semantic":
        return torch.from_numpy(array.astype(np.int64))
    if task == "depth_zbuffer":
        ln_metres = np.log(np.maximum(array, 1).astype(np.float32) / DEPTH_UNITS_PER_METRE)
        return torch.from_numpy(np.where(array == NO_DEPTH, np.float32(np.nan), ln_metres))
    values = torch.from_numpy(array.astype(np.float32)).div_(255)
    if task == "normal":
        vectors = values.mul_(2).sub_(1)
        x, y, z = vectors.unbind(1)  # norms over a dimension that is not the last are ten times slower
        length = (x * x + y * y + z * z).sqrt_()
        return vectors.div_(torch.where(length < _SHORTEST_NORMAL, torch.inf, length)[:, None])
    return values


def measured(task: str, target: Tensor) -> Tensor | None:
    """Which pixels of a decoded target take part: bool (B, 1, H, W), or None where all of them always do.

    >>> measured("depth_zbuffer", torch.tensor([[[[0.7, float("nan")]]]])).tolist()
    [[[[True, False]]]]
    """
    if task == "segment_semantic":
        return target != IGNORE_CLASS
    if task == "depth_zbuffer":
        return torch.isfinite(target)
    if task == "normal":
        return target.square().sum(1, keepdim=True) > _SHORTEST_NORMAL**2
    return None


def flip_stored(task: str, stored: NDArray[np.integer]) -> NDArray[np.integer]:
    """Mirrors a stored target left to right; a normal's x component changes sign with it."""
    flipped = stored[..., ::-1]
    if task == "normal":
        flipped = flipped.copy()
        flipped[:, 0] = 255 - flipped[:, 0]
    return flipped
