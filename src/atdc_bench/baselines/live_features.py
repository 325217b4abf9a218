"""Features as task networks see images now: for encoders that learn with the codec."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from atdc.data.labelled import IMAGE, LabelledImages
from atdc.networks.batches import FeatureBatch
from atdc.networks.task_networks import TaskNetworks
from atdc_bench.baselines.stacked_features import StackedFeatures


@dataclass(frozen=True)
class LiveFeatures(StackedFeatures):
    """Features as the encoders are now, with gradients: for encoders that learn with the codec.

    Attributes:
        networks: whose encoders see the images.
        images: of the split.
    """

    networks: TaskNetworks = field(kw_only=True)
    images: LabelledImages = field(kw_only=True)

    def load(self, indices: NDArray[np.int64]) -> Tensor:
        """Images (n, 3, H, W) in [0, 1]."""
        return self.images.targets(indices, (IMAGE,))[IMAGE].float() / 255

    def seen(self, loaded: Tensor) -> FeatureBatch:
        """Their features, of about zero mean and unit standard deviation."""
        return super().seen(self.networks.features(loaded))
