"""Normalised features of a split, as the codec's training stages read them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from atdc.coding.grouping import Grouping


class RawFeatures(Protocol):
    """Features of a split, as task networks left them."""

    def __len__(self) -> int: ...

    def read(self, indices: NDArray[np.int64]) -> Tensor:
        """Of some images, float32 (n, T, C, h, w)."""
        ...


@dataclass(frozen=True)
class NormalisedFeatures:
    """``z' = (z − mean) / deviation`` per task and channel, packed into the groups of a codec.

    Attributes:
        cache: raw features.
        mean: (T, C).
        deviation: (T, C).
        grouping: tasks that the codec takes as one; none by default.
    """

    cache: RawFeatures
    mean: Tensor
    deviation: Tensor
    grouping: Grouping | None = None

    def __len__(self) -> int:
        return len(self.cache)

    @property
    def groups(self) -> Grouping:
        """The groups; every task its own by default."""
        return Grouping.alone(len(self.mean)) if self.grouping is None else self.grouping

    def read(self, indices: NDArray[np.int64]) -> Tensor:
        """(n, groups, channels, h, w) of zero mean and unit deviation over the training set."""
        normalised = (self.cache.read(indices) - self.mean[:, :, None, None]) / self.deviation[:, :, None, None]
        return normalised if self.grouping is None else self.grouping.pack(normalised)

    def restore(self, normalised: Tensor) -> Tensor:
        """Back to raw features (n, T, C, h, w)."""
        if self.grouping is not None:
            normalised = self.grouping.unpack(normalised)
        deviation, mean = self.deviation.to(normalised.device), self.mean.to(normalised.device)
        return normalised * deviation[:, :, None, None] + mean[:, :, None, None]
