"""OmniICM-style: one bottleneck latent for all tasks, trained without any task's labels.

After "Image Coding for Machines with Omnipotent Feature Learning" (Feng et al., ECCV 2022): a feature passes an
information-filtering bottleneck, trained with the rate, the features' squared error and that of deeper layers. Here the
bottleneck is the joint codec's, what it carries are all tasks' features, the deeper layers are the first of the frozen
heads, and the last convolution before each task's features is its light decoder.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from atdc.networks.devices import device_of
from atdc.networks.heads import SmallHead
from atdc.networks.task_networks import TaskNetworks
from atdc.tasks import TASKS
from atdc.training.objectives import Objective
from atdc_bench.baselines.joint import TOGETHER, alone, alone_in_training, model
from atdc_bench.baselines.stacked_features import StackedFeatures
from atdc_bench.baselines.trainer import BaselineTrainer, Row


class DeepFeatures:
    """Squared error of the heads' first layers, without any label: what they see in decoded against uncompressed
    features, as a share of its variance (Omni-ICM, Feng et al., ECCV 2022).

    Args:
        networks: heads; frozen.
        features: uncompressed features of the split.
        depth: how many of a head's layers.
    """

    def __init__(self, networks: TaskNetworks, features: StackedFeatures, depth: int = 3) -> None:
        self._layers: list[nn.Module] = []
        for head in networks.eval().requires_grad_(False).heads:
            assert isinstance(head, SmallHead)
            self._layers.append(head.layers[:depth])
        self._features = features

    def targets(self, indices: NDArray[np.int64], tasks: Sequence[int]) -> Mapping[str, Tensor]:
        """What the layers see in uncompressed features."""
        raw = self._features.cache.read(indices)
        with torch.no_grad():
            return {
                TASKS[task].name: self._layers[task](raw[:, task].to(device_of(self._layers[task]))) for task in tasks
            }

    def loss(self, task: int, decoded: Tensor, targets: Mapping[str, Tensor]) -> Tensor:
        """Of each image, (n,)."""
        target = targets[TASKS[task].name]
        error = F.mse_loss(self._layers[task](decoded), target, reduction="none").mean((1, 2, 3))
        return error / target.var((0, 2, 3)).mean()


def row() -> Row:
    """The row."""
    return Row("omni-icm", "OmniICM-style", alone, alone_in_training, model, TOGETHER, _deeper_layers, from_base=False)


def _deeper_layers(trainer: BaselineTrainer, split: str) -> Objective:
    return DeepFeatures(trainer.base.networks, trainer.features[split])
