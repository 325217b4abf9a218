"""The cheap scorer: all parent sets' costs at once, from the features of all tasks.

Scoring every (child, parent set) with the predictor or by coding costs several encoders. The scorer is a small
network, distilled from those costs, that sees all tasks' features and answers with one number per pair.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from atdc.config import MAX_QUALITY, ModelConfig
from atdc.graph.search import candidate_sets
from atdc.networks.batches import FeatureBatch
from atdc.tensors import FeatureSet


class Scorer(nn.Module):
    """Normalised features to the cost, in bits, of each (child, parent set) at every whole quality; 20 MMAC at 16×16.

    What decides a graph is how much a parent set saves over no parents, which is small beside how much images differ.
    So the network's outputs are, per pair, that *relative* cost (for the empty set: the cost itself), standardised by
    `offset` and `spread`, the training costs' mean and deviation. Costs are per feature element, so any size works.
    """

    def __init__(self, config: ModelConfig, tensors: FeatureSet) -> None:
        super().__init__()
        width, pairs = config.scorer_width, candidate_sets(len(tensors), config.max_parents)
        self.pairs = len(pairs)
        self.base = [list(pairs).index((child, ())) for child, _ in pairs]
        relative = torch.tensor([float(bool(parents)) for _, parents in pairs])
        self.register_buffer("is_relative", relative, persistent=False)
        outputs = self.pairs * (MAX_QUALITY + 1)
        self.local = nn.Sequential(
            nn.Conv2d(sum(tensor.channels for tensor in tensors.tensors), width, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1),
            nn.ReLU(),
        )
        self.last = nn.Linear(2 * width, outputs)
        self.register_buffer("offset", torch.zeros(MAX_QUALITY + 1, self.pairs))
        self.register_buffer("spread", torch.ones(MAX_QUALITY + 1, self.pairs))
        self.is_relative: Tensor
        self.offset: Tensor
        self.spread: Tensor
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def standardised(self, features: FeatureBatch) -> Tensor:
        """Normalised features, all on one grid, to standardised relative costs (B, 8, pairs)."""
        local = self.local(torch.cat(features.parts, 1))
        pooled = torch.cat([local.mean((2, 3)), local.square().mean((2, 3)).add(1e-6).sqrt()], 1)
        output: Tensor = self.last(pooled)
        return output.reshape(len(features), MAX_QUALITY + 1, self.pairs)

    def forward(self, features: FeatureBatch) -> Tensor:
        """Normalised features to costs in bits per feature element, (B, 8, pairs)."""
        relative = self.standardised(features) * self.spread + self.offset
        return relative + relative[..., self.base] * self.is_relative

    def relative(self, costs: Tensor) -> Tensor:
        """Costs (..., pairs) to relative costs: less the cost of the same child without parents."""
        return costs - costs[..., self.base] * self.is_relative


RATE_ESTIMATORS = {"pairs": Scorer}
"""By the name that :attr:`~atdc.config.ModelConfig.rate_estimator` gives."""
