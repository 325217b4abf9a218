"""Other pictures of the same scenes: zoomed and coloured anew, with targets that follow.

For data sets of a few hundred frames, which networks would otherwise know by heart.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from atdc.data.rooms.targets import PICTURE_TARGETS, picture_target
from atdc.data.targets import NO_DEPTH

SHARE = 0.5
"""Of images that are changed."""
LEAST_SIDE = 0.6
"""Shortest side of a cut-out that fills the picture, as a share of the picture's."""


def augmented(stored: Mapping[str, Tensor], rng: np.random.Generator) -> dict[str, Tensor]:
    """Half of some images as a closer and differently coloured look at them.

    A square is cut out and enlarged to the whole picture; what was Z metres away then looks as if it were at Z times
    the square's share of the side, and is said to be there. Classes, normals and depth are not interpolated. Exposure,
    contrast and the balance of colours change; edges and keypoints follow from the new picture.

    Args:
        stored: stored targets (n, C, H, W) by name, ``rgb`` among them, see :mod:`atdc.data.targets`.
        rng: draws everything.

    >>> picture = torch.full((2, 3, 32, 32), 100, dtype=torch.uint8)
    >>> augmented({"rgb": picture}, np.random.default_rng(0))["rgb"].shape
    torch.Size([2, 3, 32, 32])
    """
    changed = {name: values.clone() for name, values in stored.items()}
    for image in np.flatnonzero(rng.random(len(stored["rgb"])) < SHARE):
        own = _zoomed({name: values[image : image + 1] for name, values in stored.items()}, rng)
        own["rgb"] = _coloured(own["rgb"], rng)
        own |= {name: picture_target(name, own["rgb"]) for name in PICTURE_TARGETS if name in own}
        for name, values in own.items():
            changed[name][image] = values[0]
    return changed


def _zoomed(stored: Mapping[str, Tensor], rng: np.random.Generator) -> dict[str, Tensor]:
    height, width = stored["rgb"].shape[2:]
    share = rng.uniform(LEAST_SIDE, 1.0)
    rows, columns = round(share * height), round(share * width)
    top, left = int(rng.integers(height - rows + 1)), int(rng.integers(width - columns + 1))
    zoomed = {}
    for name, values in stored.items():
        part = values[:, :, top : top + rows, left : left + columns]
        if name == "rgb":
            smooth = F.interpolate(part.float(), (height, width), mode="bilinear", align_corners=False)
            zoomed[name] = smooth.round().to(torch.uint8)
            continue
        whole = F.interpolate(part.double(), (height, width), mode="nearest")
        if name == "depth_zbuffer":
            closer = (whole * share).round().clamp(min=1)
            whole = torch.where(whole == NO_DEPTH, float(NO_DEPTH), closer)
        zoomed[name] = whole.to(values.dtype)
    return zoomed


def _coloured(rgb: Tensor, rng: np.random.Generator) -> Tensor:
    balance = torch.from_numpy(np.exp(rng.normal(0, 0.06, (1, 3, 1, 1)) + rng.normal(0, 0.2))).float()
    contrast, middle = float(np.exp(rng.normal(0, 0.15))), rgb.float().mean()
    lit = ((rgb.float() - middle) * contrast + middle) * balance
    return lit.clamp(0, 255).round().to(torch.uint8)
