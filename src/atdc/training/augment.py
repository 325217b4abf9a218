"""Other images of the same scenes: zoomed and recoloured, with targets that follow.

For data sets of a few hundred frames, which networks would otherwise know by heart.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from atdc.data.labelled import IMAGE, LabelledImages
from atdc.data.rooms.targets import PICTURE_TARGETS, image_target
from atdc.data.targets import STORED_LAYOUT, target_form

SHARE = 0.5
"""Of images that are changed."""
LEAST_SIDE = 0.6
"""Shortest side of a cut-out that fills the image, as a share of the image's."""


def augmented(targets: Mapping[str, Tensor], rng: np.random.Generator) -> dict[str, Tensor]:
    """Half of some images as a closer and differently coloured look at them.

    A square is cut out and enlarged to the whole image; what was Z metres away then looks as if it were at Z times
    the square's share of the side, and is said to be there. Classes, normals and depth are not interpolated. Exposure,
    contrast and the balance of colours change, and the colours of half of these turn around the circle of hues; edges
    and keypoints follow from the new image.

    Args:
        targets: stored targets (n, C, H, W) by name, ``rgb`` among them, see :mod:`atdc.data.targets`.
        rng: draws everything.

    >>> image = torch.full((2, 3, 32, 32), 100, dtype=torch.uint8)
    >>> augmented({"rgb": image}, np.random.default_rng(0))["rgb"].shape
    torch.Size([2, 3, 32, 32])
    """
    result = {name: values.clone() for name, values in targets.items()}
    for image in np.flatnonzero(rng.random(len(targets[IMAGE])) < SHARE):
        view = _zoomed({name: values[image : image + 1] for name, values in targets.items()}, rng)
        view[IMAGE] = _coloured(view[IMAGE], rng)
        view |= {name: image_target(name, view[IMAGE]) for name in PICTURE_TARGETS if name in view}
        for name, values in view.items():
            result[name][image] = values[0]
    return result


def _zoomed(targets: Mapping[str, Tensor], rng: np.random.Generator) -> dict[str, Tensor]:
    height, width = targets[IMAGE].shape[2:]
    share = rng.uniform(LEAST_SIDE, 1.0)
    rows, columns = round(share * height), round(share * width)
    top, left = int(rng.integers(height - rows + 1)), int(rng.integers(width - columns + 1))
    result = {}
    for name, values in targets.items():
        part = values[:, :, top : top + rows, left : left + columns]
        result[name] = target_form(name).zoom(part, (height, width), share)
    return result


def _coloured(rgb: Tensor, rng: np.random.Generator) -> Tensor:
    balance = torch.from_numpy(np.exp(rng.normal(0, 0.06, (1, 3, 1, 1)) + rng.normal(0, 0.2))).float()
    contrast, middle = float(np.exp(rng.normal(0, 0.15))), rgb.float().mean()
    pixels = ((rgb.float() - middle) * contrast + middle) * balance
    turn = rng.uniform(-math.pi, math.pi) if rng.random() < SHARE else 0.0
    saturation = float(np.exp(rng.normal(0.2, 0.4)))
    colours = torch.einsum("rc,nchw->nrhw", turned(turn, saturation), pixels)
    return colours.clamp(0, 255).round().to(torch.uint8)


def turned(angle: float, saturation: float) -> Tensor:
    """The matrix (3, 3) that turns RGB around the axis of greys and scales the distance from it; greys stay.

    Args:
        angle: radians; a third of a circle takes red to green.
        saturation: factor.

    >>> (turned(2 * math.pi / 3, 1.0) @ torch.tensor([1.0, 0.0, 0.0])).round(decimals=4).abs().tolist()
    [0.0, 1.0, 0.0]
    """
    grey = torch.full((3, 3), 1 / 3)
    cross = torch.tensor([[0.0, -1.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 1.0, 0.0]]) / math.sqrt(3)
    return grey + saturation * (math.cos(angle) * (torch.eye(3) - grey) + math.sin(angle) * cross)


@dataclass(frozen=True)
class Augmented:
    """A data set as :func:`augmented` changes it, every image once and for all: what is kept of it stays true.

    An image that occurs several times is changed differently each time.

    Args:
        whole: the data set.
        seed: of the changes.
    """

    whole: LabelledImages
    seed: int = 0

    def __len__(self) -> int:
        return len(self.whole)

    def targets(
        self, indices: Sequence[int] | NDArray[np.integer], names: Sequence[str] | None = None
    ) -> dict[str, Tensor]:
        """Stored targets (n, C, H, W) by name, all of the tasks if None."""
        target_names = tuple(STORED_LAYOUT if names is None else names)
        places = np.asarray(indices)
        targets = self.whole.targets(places, tuple(dict.fromkeys([*target_names, IMAGE])))
        images = [
            augmented(
                {name: values[row : row + 1] for name, values in targets.items()},
                np.random.default_rng([self.seed, place]),
            )
            for row, place in enumerate(places.tolist())
        ]
        return {name: torch.cat([image[name] for image in images]) for name in target_names}
