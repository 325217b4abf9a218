"""All networks of the codec: the shared predictor, one set of transforms per task, the rate estimator."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from atdc.config import ModelConfig
from atdc.networks.predictor import Predictor
from atdc.networks.rate_estimators import RATE_ESTIMATORS, FactorisedEstimator, PairEstimator
from atdc.networks.transforms import TaskTransforms
from atdc.tensors import FeatureSet


class CodecNetworks(nn.Module):
    """Works on normalised features; knows nothing of images, files or which task is which."""

    def __init__(self, config: ModelConfig, tensors: FeatureSet) -> None:
        super().__init__()
        self.config, self.tensors = config, tensors
        self.task_count = len(tensors)
        self.predictor = Predictor(config, tensors)
        self.transforms = nn.ModuleList([TaskTransforms(config, tensor) for tensor in tensors.tensors])
        # The name that it has in weights files and checkpoints.
        self.scorer = RATE_ESTIMATORS[config.rate_estimator](config, tensors)

    @property
    def rate_estimator(self) -> PairEstimator | FactorisedEstimator:
        """Tells, before coding, what each child costs with each set of parents."""
        return self.scorer

    def contribution(self, parent: int, features: Tensor) -> Tensor:
        """What a decoded parent (B, C, h, w) contributes to its children's predictions; see :class:`Predictor`."""
        return self.predictor.contribution(parent, features) if self.config.predicts else features[:, :0]

    def no_contribution(self, batch: int, shape: tuple[int, int]) -> Tensor:
        """The contribution of no parent."""
        width = self.predictor.width if self.config.predicts else 0
        return torch.zeros(batch, width, *shape, device=self.predictor.pair.device)

    def predict(
        self, child: int, contributions: Sequence[Tensor], mask: Tensor, shape: tuple[int, int]
    ) -> tuple[Tensor, Tensor]:
        """Mean and log variance of a child given its parents' contributions; zeros, the normalised features' own, where
        parents do not predict."""
        if not self.config.predicts:
            zeros = torch.zeros(len(mask), self.tensors[child].channels, *shape, device=mask.device)
            return zeros, zeros
        if not contributions:
            return self.predictor.alone(child, mask, shape)
        return self.predictor(child, sum(contributions[1:], contributions[0]), mask)

    def task(self, index: int) -> TaskTransforms:
        """The transforms of one task."""
        transforms = self.transforms[index]
        assert isinstance(transforms, TaskTransforms)
        return transforms
