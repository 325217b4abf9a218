"""Normalised features of a split, as the codec's training stages read them: kept, or as encoders see them now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from atdc.coding.grouping import Grouping
from atdc.data.targets import LabelledImages
from atdc.networks.batches import FeatureBatch
from atdc.networks.task_networks import TaskNetworks


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

    def load(self, indices: NDArray[np.int64]) -> Tensor:
        """What :meth:`seen` takes, read on the CPU, beside a training step."""
        return self.cache.read(indices)

    def seen(self, loaded: Tensor) -> FeatureBatch:
        """Features of zero mean and unit deviation over the training set, by group."""
        deviation, mean = self.deviation.to(loaded.device), self.mean.to(loaded.device)
        normalised = (loaded - mean[:, :, None, None]) / deviation[:, :, None, None]
        return FeatureBatch.of(normalised if self.grouping is None else self.grouping.pack(normalised))

    def read(self, indices: NDArray[np.int64]) -> FeatureBatch:
        """Both at once."""
        return self.seen(self.load(indices))

    def restore(self, parts: Sequence[Tensor]) -> Tensor:
        """Normalised features of each group back to raw features (n, T, C, h, w)."""
        normalised = torch.stack(list(parts), 1)
        if self.grouping is not None:
            normalised = self.grouping.unpack(normalised)
        deviation, mean = self.deviation.to(normalised.device), self.mean.to(normalised.device)
        return normalised * deviation[:, :, None, None] + mean[:, :, None, None]


@dataclass(frozen=True)
class LiveFeatures(NormalisedFeatures):
    """Features as the encoders are now, with gradients: for encoders that learn with the codec.

    Attributes:
        networks: whose encoders see the pictures.
        pictures: of the split.
    """

    networks: TaskNetworks = field(kw_only=True)
    pictures: LabelledImages = field(kw_only=True)

    def load(self, indices: NDArray[np.int64]) -> Tensor:
        """Pictures (n, 3, H, W) in [0, 1]."""
        return self.pictures.targets(indices, ("rgb",))["rgb"].float() / 255

    def seen(self, loaded: Tensor) -> FeatureBatch:
        """Their features, of about zero mean and unit deviation."""
        return super().seen(self.networks.features(loaded))
