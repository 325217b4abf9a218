"""Normalised features of a split, as the codec's training stages read them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from atdc.training.feature_cache import FeatureCache


@dataclass(frozen=True)
class NormalisedFeatures:
    """``z' = (z − mean) / deviation`` per task and channel.

    Attributes:
        cache: raw features.
        mean: (T, C).
        deviation: (T, C).
    """

    cache: FeatureCache
    mean: Tensor
    deviation: Tensor

    def __len__(self) -> int:
        return len(self.cache)

    def read(self, indices: NDArray[np.int64]) -> Tensor:
        """(n, T, C, h, w) of zero mean and unit deviation over the training set."""
        return (self.cache.read(indices) - self.mean[:, :, None, None]) / self.deviation[:, :, None, None]

    def restore(self, normalised: Tensor) -> Tensor:
        """Back to the features' own units."""
        return normalised * self.deviation[:, :, None, None] + self.mean[:, :, None, None]
