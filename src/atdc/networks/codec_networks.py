"""All networks of the codec: the shared predictor, one set of transforms per task, the cheap scorer."""

from __future__ import annotations

from collections.abc import Sequence

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
        self.transforms = nn.ModuleList([TaskTransforms(config) for _ in range(task_count)])
        self.scorer = Scorer(config, task_count, pairs)

    def task(self, index: int) -> TaskTransforms:
        """The transforms of one task."""
        transforms = self.transforms[index]
        assert isinstance(transforms, TaskTransforms)
        return transforms
