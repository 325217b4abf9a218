"""Rate estimators: all parent sets' costs at once, from the features of all tensors.

Scoring every (child, parent set) with the predictor or by coding costs several encoders. A rate estimator is a small
network, distilled from those costs, that sees all tensors' features. Some have an output for each pair; another is
factorised, for any number of tensors::

    cost(c, S) = base(c) − Σ_{p ∈ S} gain(c, p) + Σ_{p < p′ ∈ S} overlap(c, p, p′)
"""

from __future__ import annotations

from functools import lru_cache
from itertools import combinations
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from atdc.config import MAX_QUALITY, ModelConfig
from atdc.graph.scores import alone_columns, candidate_sets
from atdc.networks.batches import FeatureBatch
from atdc.tensors import FeatureSet

LEVELS = slice(0, MAX_QUALITY + 1)
"""All integer qualities."""


class PairEstimator(nn.Module):
    """Normalised features to the cost, in bits, of each (child, parent set) at every integer quality; 16 MMAC at 16×16.

    What decides a graph is how much a parent set saves over no parents, which is small next to how much images differ.
    So the network's outputs are, per pair, that *relative* cost (for the empty set: the cost itself), standardised by
    `offset` and `spread`, the training costs' mean and standard deviation. Costs are per feature element, so any size
    works.
    """

    def __init__(self, config: ModelConfig, tensors: FeatureSet, further: int = 0) -> None:
        super().__init__()
        width, pairs = config.scorer_width, candidate_sets(len(tensors), config.max_parents)
        self.pairs = len(pairs)
        self.register_buffer("base", torch.tensor(alone_columns(pairs)), persistent=False)
        relative = torch.tensor([float(bool(parents)) for _, parents in pairs])
        self.register_buffer("is_relative", relative, persistent=False)
        outputs = self.pairs * (MAX_QUALITY + 1)
        self.local = nn.Sequential(
            nn.Conv2d(sum(tensor.channels for tensor in tensors.tensors), width, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1),
            nn.ReLU(),
        )
        self.last = nn.Linear(2 * width + further, outputs)
        self.register_buffer("offset", torch.zeros(MAX_QUALITY + 1, self.pairs))
        self.register_buffer("spread", torch.ones(MAX_QUALITY + 1, self.pairs))
        self.base: Tensor
        self.is_relative: Tensor
        self.offset: Tensor
        self.spread: Tensor
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def summary(self, features: FeatureBatch) -> Tensor:
        """What costs follow from, (B, inputs of the last layer): mean and root mean square of each hidden channel."""
        return _pooled(self.local(torch.cat(features.parts, 1)))

    def standardised(self, features: FeatureBatch, levels: slice = LEVELS) -> Tensor:
        """Normalised features, all on one grid, to standardised relative costs (B, 8, pairs), at some levels alone."""
        rows = slice(levels.start * self.pairs, levels.stop * self.pairs)
        output = F.linear(self.summary(features), self.last.weight[rows], self.last.bias[rows])
        return output.reshape(len(features), -1, self.pairs)

    def forward(self, features: FeatureBatch) -> Tensor:
        """Normalised features to costs in bits per feature element, (B, 8, pairs)."""
        return self.at(features)

    def at(self, features: FeatureBatch, levels: slice = LEVELS, columns: slice | Tensor = slice(None)) -> Tensor:
        """:meth:`forward` for some integer qualities and pairs alone."""
        relative = torch.addcmul(self.offset[levels], self.standardised(features, levels), self.spread[levels])
        return torch.addcmul(relative, relative[..., self.base], self.is_relative)[..., columns]

    def relative(self, costs: Tensor) -> Tensor:
        """Costs (..., pairs) to relative costs: less the cost of the same child without parents."""
        return costs - costs[..., self.base] * self.is_relative


class AgreementEstimator(PairEstimator):
    """A :class:`PairEstimator` that also sees how far every two tensors agree, position by position.

    Every tensor is projected to a few channels, and its summary has the correlation over positions of each of them with
    that of every other tensor. Where a tensor does not belong to the others (that of another image, of a sensor that
    failed) nothing else tells so directly: all that is known of it by itself may be as usual.
    """

    def __init__(self, config: ModelConfig, tensors: FeatureSet) -> None:
        pairs = list(combinations(range(len(tensors)), 2))
        super().__init__(config, tensors, _RANK * len(pairs))
        self.project = nn.ModuleList([nn.Conv2d(tensor.channels, _RANK, 1, bias=False) for tensor in tensors.tensors])
        places = torch.tensor([first * len(tensors) + second for first, second in pairs], dtype=torch.long)
        self.register_buffer("two", places, persistent=False)
        self.two: Tensor

    def summary(self, features: FeatureBatch) -> Tensor:
        """See :meth:`PairEstimator.summary`; then the correlations of every two tensors' projections."""
        weights = [cast(nn.Conv2d, layer).weight.flatten(1) for layer in self.project]
        parts = zip(weights, features.parts, strict=True)
        projections = torch.stack([weight @ part.flatten(2) for weight, part in parts], 2)  # (B, rank, T, h·w)
        projections = F.layer_norm(projections, projections.shape[3:], eps=_LEAST_VARIANCE)
        correlations = projections @ projections.transpose(2, 3) / projections.shape[3]
        agreement = correlations.flatten(2)[:, :, self.two].transpose(1, 2)
        return torch.cat([super().summary(features), agreement.flatten(1)], 1)


class FactorisedEstimator(nn.Module):
    """Normalised features to the cost of each (child, parent set), by the equation at the top of this module.

    Every tensor is summed up as one vector, from its own grid. Base costs come from a child's vector and the mean of
    all; gains from the product of a child's and a parent's; overlaps, which hardly differ from image to image, are
    products of learned vectors. All are told as deviations from what training features cost in the mean (`*_offset`),
    in units of how much that varies (`*_spread`). Costs are per feature element of the child.
    """

    def __init__(self, config: ModelConfig, tensors: FeatureSet) -> None:
        super().__init__()
        width, count, levels = config.scorer_width, len(tensors), MAX_QUALITY + 1
        self.rank = _RANK
        self.local = nn.ModuleList([nn.Conv2d(t.channels, width, 3, stride=2, padding=1) for t in tensors.tensors])
        self.summary = nn.ModuleList([nn.Linear(2 * width, width) for _ in tensors.tensors])
        self.base = nn.Linear(2 * width, levels)
        self.child = nn.Linear(width, levels * _RANK)
        self.parent = nn.Linear(width, _RANK)
        self.shared = nn.Parameter(torch.zeros(count, count, _RANK))
        for name, shape in (("base", (levels, count)), ("gain", (levels, count, count))):
            self.register_buffer(f"{name}_offset", torch.zeros(shape))
            self.register_buffer(f"{name}_spread", torch.zeros(shape))
        self.register_buffer("overlap_scale", torch.zeros(levels, count))
        self.base_offset: Tensor
        self.base_spread: Tensor
        self.gain_offset: Tensor
        self.gain_spread: Tensor
        self.overlap_scale: Tensor
        nn.init.zeros_(self.base.weight)
        nn.init.zeros_(self.child.weight)
        children, parents, mask = _pair_arrays(count, config.max_parents)
        self.register_buffer("_children", torch.from_numpy(children), persistent=False)
        self.register_buffer("_parents", torch.from_numpy(parents), persistent=False)
        self.register_buffer("_mask", torch.from_numpy(mask), persistent=False)
        self._children: Tensor
        self._parents: Tensor
        self._mask: Tensor

    def parts(self, features: FeatureBatch) -> tuple[Tensor, Tensor, Tensor]:
        """Base costs (B, 8, T), gains (B, 8, T child, T parent) and overlaps (8, T child, T, T)."""
        vectors = []
        for index, part in enumerate(features.parts):
            vectors.append(torch.tanh(self.summary[index](_pooled(torch.relu(self.local[index](part))))))
        embeddings = torch.stack(vectors, 1)
        places = list(features.available)
        whole = embeddings[:, places].mean(1, keepdim=True).expand_as(embeddings)
        base = self.base(torch.cat([embeddings, whole], 2)).transpose(1, 2) * self.base_spread + self.base_offset
        child = self.child(embeddings).reshape(len(embeddings), embeddings.shape[1], -1, self.rank)
        deviations = torch.einsum("bclr,bpr->blcp", child, self.parent(embeddings)) / self.rank
        gain = deviations * self.gain_spread + self.gain_offset
        overlap = torch.einsum("cpr,cqr->cpq", self.shared, self.shared)
        return base, gain, overlap * self.overlap_scale[:, :, None, None]

    def forward(self, features: FeatureBatch) -> Tensor:
        """Costs in bits per feature element of the child, (B, 8, pairs)."""
        return self.at(features)

    def at(self, features: FeatureBatch, levels: slice = LEVELS, columns: slice | Tensor = slice(None)) -> Tensor:
        """:meth:`forward` for some integer qualities and pairs alone."""
        base, gain, overlap = self.parts(features)
        base, gain, overlap = base[:, levels], gain[:, levels], overlap[levels]
        children, parents, mask = self._children[columns], self._parents[columns], self._mask[columns]
        costs = base[:, :, children]
        for place in range(parents.shape[1]):
            costs = costs - gain[:, :, children, parents[:, place]] * mask[:, place]
            for partner in range(place):
                overlaps = overlap[:, children, parents[:, place], parents[:, partner]]
                costs = costs + overlaps * (mask[:, place] * mask[:, partner])
        return costs


_RANK = 8
"""Length of the vectors whose products are agreement, gains and overlaps."""
_LEAST_VARIANCE = 1e-3
"""A projection that varies less says nothing of agreement; nor does a tensor that is not there."""


def _pooled(local: Tensor) -> Tensor:
    """Mean and root mean square of each channel, (B, 2C), of (B, C, h, w)."""
    return torch.cat([local.mean((2, 3)), local.square().mean((2, 3)).add(1e-6).sqrt()], 1)


@lru_cache(maxsize=8)
def _pair_arrays(count: int, max_parents: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """Of each pair of :func:`candidate_sets`: the child (P,), parents (P, K), and which of them are there."""
    pairs = candidate_sets(count, max_parents)
    width = max(1, *(len(row) for _, row in pairs))
    parents = np.array([[*row, *[0] * (width - len(row))] for _, row in pairs], np.int64)
    mask = np.array([[1.0] * len(row) + [0.0] * (width - len(row)) for _, row in pairs], np.float32)
    return np.array([child for child, _ in pairs], np.int64), parents, mask


RATE_ESTIMATORS: dict[str, type[PairEstimator] | type[FactorisedEstimator]] = {
    "pairs": PairEstimator,
    "agreement": AgreementEstimator,
    "factorised": FactorisedEstimator,
}
"""By the name that :attr:`~atdc.config.ModelConfig.rate_estimator` gives."""
