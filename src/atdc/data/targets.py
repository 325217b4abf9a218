"""Stored targets (compact integers) to the scale in which heads answer.

================  =========  ==========================================
stored             dtype      decoded
================  =========  ==========================================
segment_semantic   uint8      class index, long; 255 = ignore
keypoints2d        uint8      v / 255
edge_texture       uint8      v / 255
normal             uint8      2 v / 255 - 1, then unit length
depth_zbuffer      uint16     ln(v / 512), natural logarithm of metres
rgb                uint8      v / 255
================  =========  ==========================================
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

DEPTH_UNITS_PER_METRE = 512
"""Taskonomy's unit of stored depth."""


def decode_stored(task: str, stored: NDArray[np.integer] | Tensor) -> Tensor:
    """Target (B, C, H, W) as the losses compare it; the class map is long, all others float32.

    >>> round(decode_stored("depth_zbuffer", np.full((1, 1, 1, 1), 1024, np.uint16)).item(), 4)  # ln 2 metres
    0.6931
    """
    array = stored.numpy() if isinstance(stored, Tensor) else np.asarray(stored)
    if task == "segment_semantic":
        return torch.from_numpy(array.astype(np.int64))
    if task == "depth_zbuffer":
        return torch.from_numpy(np.log(np.maximum(array, 1).astype(np.float32) / DEPTH_UNITS_PER_METRE))
    values = torch.from_numpy(array.astype(np.float32)).div_(255)
    if task == "normal":
        return torch.nn.functional.normalize(values.mul_(2).sub_(1), dim=1)
    return values


def flip_stored(task: str, stored: NDArray[np.integer]) -> NDArray[np.integer]:
    """Mirrors a stored target left to right; a normal's x component changes sign with it."""
    flipped = stored[..., ::-1]
    if task == "normal":
        flipped = flipped.copy()
        flipped[:, 0] = 255 - flipped[:, 0]
    return flipped
