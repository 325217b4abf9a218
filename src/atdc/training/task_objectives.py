"""What decoded features of tasks are for: the tasks' own losses, or what their heads' first layers see.

Each is an :class:`~atdc.training.codec_stage.Objective`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from atdc.data.labelled import LabelledImages
from atdc.networks.devices import device_of
from atdc.networks.heads import SmallHead
from atdc.networks.task_networks import TaskNetworks
from atdc.tasks import TASKS
from atdc.training.data import NormalisedFeatures
from atdc.training.losses import every_fourth_pixel, loss_gap, task_loss
from atdc.training.task_stage import load_targets


class TaskLosses:
    """The tasks' own losses, through frozen heads: ``(L − L_∞)/(L_0 − L_∞)``.

    Args:
        networks: heads; frozen.
        data: labelled images of the split.
        bounds: ``L_0`` (channel means) and ``L_∞`` (uncompressed) of each task, (2, T).
    """

    def __init__(self, networks: TaskNetworks, data: LabelledImages, bounds: Tensor) -> None:
        self._heads = networks.eval().requires_grad_(False).heads
        self._data, self._bounds, self._gap = data, bounds, loss_gap(bounds)

    def targets(self, indices: NDArray[np.int64], tasks: Sequence[int]) -> Mapping[str, Tensor]:
        """The ground truth of some images."""
        return load_targets(self._data, indices, tuple(TASKS[task].name for task in tasks))

    def loss(self, task: int, decoded: Tensor, targets: Mapping[str, Tensor]) -> Tensor:
        """Of each image, (n,)."""
        output = self._heads[task](decoded.contiguous(memory_format=torch.channels_last))
        output, target = every_fourth_pixel(TASKS[task], output, targets[TASKS[task].name])
        return (task_loss(TASKS[task], output, target) - float(self._bounds[1, task])) / float(self._gap[task])


class DeepFeatures:
    """Squared error of the heads' first layers, without any label: what they see in decoded against uncompressed
    features, as a share of its variance (Omni-ICM, Feng et al., ECCV 2022).

    Args:
        networks: heads; frozen.
        features: uncompressed features of the split.
        depth: how many of a head's layers.
    """

    def __init__(self, networks: TaskNetworks, features: NormalisedFeatures, depth: int = 3) -> None:
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
