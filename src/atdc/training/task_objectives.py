"""What decoded features of tasks are for: the tasks' own losses, or what their heads' first layers see.

Each is an :class:`~atdc.training.objectives.Objective`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from atdc.data.labelled import LabelledImages
from atdc.networks.task_networks import TaskNetworks
from atdc.tasks import TASKS
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
