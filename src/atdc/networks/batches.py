"""Features of several images as the networks take them: normalised and padded, tensor by tensor."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from atdc.tensors import Grid, padded


@dataclass(frozen=True)
class FeatureBatch:
    """Normalised features of a batch, by tensor.

    Attributes:
        parts: of each tensor (B, C, rows, columns), padded by repetition to multiples of 4.
        grids: height and width of each before padding.
        present: which tensors there are; the others' parts are zeros that stand for nothing. All by default.

    >>> batch = FeatureBatch.of([torch.zeros(2, 3, 5, 8), torch.zeros(2, 1, 4, 4)])
    >>> len(batch), batch.parts[0].shape, batch.grids, batch.elements
    (2, torch.Size([2, 3, 8, 8]), ((5, 8), (4, 4)), (192, 16))
    """

    parts: tuple[Tensor, ...]
    grids: tuple[Grid, ...]
    present: tuple[int, ...] | None = None

    @classmethod
    def of(cls, parts: Tensor | Sequence[Tensor]) -> FeatureBatch:
        """Pads normalised features, each (B, C, h, w), or (B, T, C, h, w) of tensors that are alike."""
        rows = by_tensor(parts)
        grids = tuple((part.shape[2], part.shape[3]) for part in rows)
        return cls(tuple(_padded(part) for part in rows), grids)

    def __len__(self) -> int:
        return len(self.parts[0])

    @property
    def available(self) -> tuple[int, ...]:
        """The tensors that there are."""
        return tuple(range(len(self.parts))) if self.present is None else self.present

    @property
    def elements(self) -> tuple[int, ...]:
        """Numbers of each tensor, with its padding; none of one that is not there."""
        tensors = self.available
        return tuple(math.prod(part.shape[1:]) if place in tensors else 0 for place, part in enumerate(self.parts))

    @property
    def mean_elements(self) -> float:
        """Numbers of a tensor of one image without padding, the mean over all tensors of the model.

        >>> FeatureBatch.of([torch.zeros(2, 3, 5, 8), torch.zeros(2, 1, 4, 4)]).mean_elements
        68.0
        """
        sizes = [self.parts[place].shape[1] * math.prod(self.grids[place]) for place in self.available]
        return sum(sizes) / len(self.parts)

    def to(self, device: torch.device) -> FeatureBatch:
        """The same on a device."""
        return FeatureBatch(tuple(part.to(device) for part in self.parts), self.grids, self.present)

    def select(self, images: slice | Tensor) -> FeatureBatch:
        """Some of the images."""
        return FeatureBatch(tuple(part[images] for part in self.parts), self.grids, self.present)

    def only(self, tensors: Collection[int]) -> FeatureBatch:
        """The same without tensors that are not named.

        >>> batch = FeatureBatch.of([torch.ones(2, 3, 4, 4), torch.ones(2, 1, 4, 4)]).only([1])
        >>> batch.available, [float(part.mean()) for part in batch.parts]
        ((1,), [0.0, 1.0])
        """
        places = tuple(place for place in self.available if place in tensors)
        parts = (part if place in places else torch.zeros_like(part) for place, part in enumerate(self.parts))
        return FeatureBatch(tuple(parts), self.grids, places)


def by_tensor(features: Tensor | Sequence[Tensor] | Sequence[Tensor | None]) -> list[Any]:
    """Features tensor by tensor, each (B, C, h, w); stacked ones (B, T, C, h, w) are taken apart."""
    return list(features.unbind(1)) if isinstance(features, Tensor) else list(features)


def _padded(part: Tensor) -> Tensor:
    height, width = part.shape[2:]
    rows, columns = padded((height, width))
    if (rows, columns) == (height, width):
        return part
    return F.pad(part, (0, columns - width, 0, rows - height), mode="replicate")
