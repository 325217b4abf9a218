"""All networks of the codec: the shared predictor, one set of transforms per task, the cheap scorer."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from atdc.config import ModelConfig
from atdc.networks.predictor import Predictor
from atdc.networks.scorer import Scorer
from atdc.networks.transforms import TaskTransforms


class CodecNetworks(nn.Module):
    """Works on normalised features; knows nothing of images, files or which task is which."""

    def __init__(self, config: ModelConfig, task_count: int, pairs: Sequence[tuple[int, tuple[int, ...]]]) -> None:
        super().__init__()
        self.config = config
        self.task_count = task_count
        self.predictor = Predictor(config, task_count)
        self.transforms = nn.ModuleList([TaskTransforms(config, task_count) for _ in range(task_count)])
        self.scorer = Scorer(config, task_count, pairs)

    def task(self, index: int) -> TaskTransforms:
        """The transforms of one task."""
        transforms = self.transforms[index]
        assert isinstance(transforms, TaskTransforms)
        return transforms

    def entropy_in_double(self) -> None:
        """Switches what computes entropy parameters to float64, so that batch size, threads and kernels, which move
        last digits, do not move a table index between encoder and decoder on one machine."""
        for index in range(self.task_count):
            task = self.task(index)
            for module in (task.hyper_first, task.hyper_up, task.hyper_last, task.hyper_quality, task.hyper_mean,
                           task.hyper_log_scale, task.log_gain):  # fmt: skip
                module.double()
            task.parent_bias.data = task.parent_bias.data.to(torch.float64)
