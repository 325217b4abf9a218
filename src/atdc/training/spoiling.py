"""Features of which one tensor does not belong to the others: what a rate estimator has to tell from whole ones.

Where a sensor fails, a modality is of another moment, or a network sees what it cannot make sense of, a tensor says
nothing about the others, and the graph that is best for whole samples is a bad one. An estimator that met whole samples
alone would not know. All that replaces a tensor here is made of features, so that no network need be there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from atdc.networks.batches import FeatureBatch
from atdc.training.data import NormalisedSource


@dataclass(frozen=True)
class SpoiltFeatures:
    """Features of a split, some of whose samples have one tensor spoilt, each time in the same way.

    Attributes:
        features: of the split; those of spoilt samples are alike.
        tensors: of each spoilt sample, by its index, the tensor that is spoilt.
        seed: of what replaces it.
    """

    features: NormalisedSource
    tensors: Mapping[int, int]
    seed: int
    _pool: NDArray[np.int64] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Lists the spoilt samples, each of which may lend another its tensor."""
        object.__setattr__(self, "_pool", np.array(sorted(self.tensors), np.int64))

    def read(self, indices: NDArray[np.int64]) -> FeatureBatch:
        """Normalised features of some samples, spoilt ones spoilt."""
        batch = self.features.read(indices)
        rows = [row for row, index in enumerate(indices.tolist()) if index in self.tensors]
        if not rows:
            return batch
        draws = {row: np.random.default_rng([self.seed, int(indices[row])]) for row in rows}
        donors = self.features.read(np.array([self._other(int(indices[row]), draws[row]) for row in rows]))
        parts = [part.clone() for part in batch.parts]
        for place, row in enumerate(rows):
            tensor = self.tensors[int(indices[row])]
            height, width = batch.grids[tensor]
            values, donor = (part[..., :height, :width] for part in (parts[tensor][row], donors.parts[tensor][place]))
            replacement = spoilt(values, donor, draws[row])
            parts[tensor][row] = FeatureBatch.of([replacement[None]]).parts[0][0]
        return FeatureBatch(tuple(parts), batch.grids, batch.present)

    def _other(self, index: int, rng: np.random.Generator) -> int:
        """Another spoilt sample, where there is one."""
        candidates = self._pool[self._pool != index]
        return int(rng.choice(candidates)) if len(candidates) else index


def spoilt(values: Tensor, donor: Tensor, rng: np.random.Generator) -> Tensor:
    """What replaces a sample's tensor, (C, h, w), each kind as often as another.

    - another sample's;
    - its own, every position moved to a random one;
    - noise of the other's covariance between channels, from a faint to a strong one, around one of its positions;
    - one of the other's positions everywhere.

    Args:
        values: the sample's.
        donor: another sample's of the same shape.
        rng: draws the kind and all else.
    """
    channels, height, width = values.shape
    flat = donor.reshape(channels, -1)
    kind, count = int(rng.integers(4)), flat.shape[1]
    if kind == 0:
        return donor.clone()
    if kind == 1:
        return values.reshape(channels, -1)[:, torch.from_numpy(rng.permutation(count))].reshape(values.shape)
    centre = flat[:, int(rng.integers(count))][:, None] * rng.uniform(0, 1.5)
    if kind == 2:
        deviation = flat - flat.mean(1, keepdim=True)
        variances, axes = torch.linalg.eigh(deviation @ deviation.T / count)
        white = torch.from_numpy(rng.normal(size=(channels, count)).astype(np.float32)).to(flat)
        grain = axes @ (variances.clamp(min=0).sqrt()[:, None] * white)
        return (centre + rng.uniform(0.1, 1.5) * grain).reshape(values.shape)
    return centre.expand(-1, count).reshape(channels, height, width).clone()


def random_spoiling(
    blocks: Sequence[NDArray[np.int64]], tensors: int, share: float, rng: np.random.Generator
) -> dict[int, int]:
    """Which tensor is spoilt of the samples of a share of blocks, drawn for each sample; of none where one tensor is
    all that there is.

    >>> random_spoiling([np.arange(3), np.arange(3, 6)], 4, 0.5, np.random.default_rng(1))
    {0: 2, 1: 3, 2: 3}
    """
    if tensors < 2:
        return {}
    selection = np.sort(rng.permutation(len(blocks))[: round(share * len(blocks))])
    return {int(index): int(rng.integers(tensors)) for block in selection.tolist() for index in blocks[block]}
