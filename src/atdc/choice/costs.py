"""What coding costs: each child given each set of parents, and whole graphs; estimated, and measured by coding.

A cost is ``J = R + Σ_i w_i·‖z′_i − ẑ′_i‖²``: bits, and squared error of normalised features in bits.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from atdc.bitstream.symbols import SymbolCounter
from atdc.coding.latent_coders import IntegerLatentCoder
from atdc.coding.traversal import code_along_graph, code_task, quality_tensor
from atdc.config import Quality, nearest_integer_quality, quality_steps
from atdc.entropy.coder import EntropyCoder
from atdc.entropy.model import EntropyModel
from atdc.graph.graph_tables import GraphTables
from atdc.graph.scores import Pair, candidate_sets, children_of, columns_within, pair_index
from atdc.graph.task_graph import TaskGraph
from atdc.graph.wanted import at_quality, levels_around
from atdc.networks.batches import FeatureBatch
from atdc.networks.codec_networks import CodecNetworks
from atdc.networks.devices import torch_defaults
from atdc.networks.predictability import score_bits
from atdc.networks.resampling import resampled
from atdc.tensors import Grid, padded

_ROWS_AT_ONCE = 64
"""Samples, each as often as there are sets of parents to try, whose child is coded in one go."""


@dataclass(frozen=True, eq=False)
class CostModel:
    """Costs of pairs and graphs, for batches of normalised features.

    Args:
        networks: predictor, transforms and rate estimator.
        entropy: the integers that decide every probability.
        graph_tables: graphs and rates kept with the weights.
    """

    networks: CodecNetworks
    entropy: EntropyModel
    graph_tables: GraphTables

    @property
    def pairs(self) -> tuple[Pair, ...]:
        """The (child, parent set) pairs that columns of costs belong to."""
        return candidate_sets(self.networks.task_count, self.networks.config.max_parents)

    @property
    def children(self) -> NDArray[np.int64]:
        """The child of each pair."""
        return children_of(self.pairs)

    def lagrange_multipliers(self, quality: Quality) -> NDArray[np.float64]:
        """``w``, bits per unit of summed squared error, of each task at its quality, (T,)."""
        return at_quality(self.graph_tables.bits_per_error, range(self.networks.task_count), self._steps(quality))

    @torch_defaults()
    @torch.no_grad()
    def estimated_costs(
        self, batch: FeatureBatch, quality: Quality, pairs: tuple[Pair, ...] | None = None
    ) -> NDArray[np.float64]:
        """The rate estimator's cost of each pair, bits, (B, P).

        A cost is what the child's segment is expected to take, plus its squared error at the Lagrange multiplier
        ``w = −dR/dD`` of the working quality: the term of the total that depends on the child's parents.

        Args:
            batch: normalised features.
            quality: of all tasks, or of each.
            pairs: which; all by default, in the order of :attr:`pairs`. Of few, an estimator may take less time.
        """
        columns: slice | Tensor = slice(None)
        if pairs is not None:
            indices = _columns_of(pairs, self.networks.task_count, self.networks.config.max_parents)
            columns = indices.to(batch.parts[0].device)
        children, steps = children_of(self.pairs if pairs is None else pairs), self._steps(quality)
        levels = levels_around(steps)
        estimated = self.networks.rate_estimator.at(batch, levels, columns).cpu().numpy()
        return at_quality(estimated, children, steps, levels) * np.array(batch.elements)[children]

    @torch_defaults()
    @torch.no_grad()
    def full_scores(self, batch: FeatureBatch, quality: Quality) -> NDArray[np.float64]:
        """The predictor's score of each pair, bits, (B, P): :func:`~atdc.networks.predictability.score_bits`."""
        distortion = torch.from_numpy(self.graph_tables.distortion)
        scores = score_bits(self.networks.predictor, batch, self.pairs, distortion)
        return at_quality(scores.cpu().numpy(), self.children, self._steps(quality))

    @torch_defaults()
    @torch.no_grad()
    def pair_costs(
        self, batch: FeatureBatch, quality: Quality, pairs: Sequence[Pair] | None = None
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """What each pair really costs: ideal bits and summed squared error of the child, each (B, P).

        The parents are taken as decoded along the fixed graph at this quality, as far as it lies within the tensors
        that there are; then each child is coded from each set.

        Args:
            batch: normalised features.
            quality: of all tasks, or of each.
            pairs: which, all among tensors that there are; by default all that are, in the order of :attr:`pairs`.
        """
        pairs = [self.pairs[column] for column in self._columns_within(batch).tolist()] if pairs is None else pairs
        count, images = self.networks.task_count, len(batch)
        coder, qualities = self._counting(SymbolCounter(self.entropy.tables), batch, quality)
        fixed = [self.graph_tables.fixed[nearest_integer_quality(quality, count)].within(batch.available)] * images
        parents = code_along_graph(
            self.networks, fixed, qualities, IntegerLatentCoder(coder), batch.grids, batch.parts, batch.present
        ).reconstruction
        bits, errors = np.zeros((images, len(pairs))), np.zeros((images, len(pairs)))
        contributions = [self.networks.contribution(task, part) for task, part in enumerate(parents)]
        for columns in _together(pairs, max(1, _ROWS_AT_ONCE // images)):
            child, copies = pairs[columns[0]][0], len(columns)
            mask = torch.zeros(copies, images, count, device=qualities.device)
            for parent_mask, column in zip(mask, columns, strict=True):
                parent_mask[:, list(pairs[column][1])] = 1
            stacks = [
                torch.stack([resampled(contributions[p], batch.grids[p], batch.grids[child]) for p in pairs[column][1]])
                for column in columns
                if pairs[column][1]
            ]
            summed = [torch.cat([parts.sum(0) for parts in stacks])] if stacks else []
            counter = SymbolCounter(self.entropy.tables)
            all_parents = {parent for column in columns for parent in pairs[column][1]}
            trial = IntegerLatentCoder(coder.for_trial(counter, copies, all_parents))
            rows = torch.arange(copies * images, device=qualities.device)
            target, shape = batch.parts[child].repeat(copies, 1, 1, 1), padded(batch.grids[child])
            own_qualities = qualities[:, child].repeat(copies)
            value, _ = code_task(
                self.networks, child, rows, summed, mask.flatten(0, 1), own_qualities, shape, trial, target
            )
            each = (copies, images)
            bits[:, columns] = counter.bits.array(len(rows), count)[:, child].reshape(each).T
            error = squared_errors([value], [target], [batch.grids[child]])
            errors[:, columns] = error[:, 0].cpu().numpy().reshape(each).T
        return bits, errors

    def measured_costs(self, batch: FeatureBatch, quality: Quality) -> NDArray[np.float64]:
        """What coding each pair costs, bits, (B, P): :meth:`pair_costs` with errors at :meth:`lagrange_multipliers`;
        NaN of pairs with a tensor that is not there."""
        bits, errors = self.pair_costs(batch, quality)
        costs = np.full((len(batch), len(self.pairs)), np.nan)
        columns = self._columns_within(batch)
        costs[:, columns] = bits + self.lagrange_multipliers(quality)[self.children[columns]] * errors
        return costs

    def _columns_within(self, batch: FeatureBatch) -> NDArray[np.int64]:
        """Where the pairs among the tensors that there are stand in :attr:`pairs`."""
        return columns_within(self.networks.task_count, self.networks.config.max_parents, batch.available)

    @torch_defaults()
    @torch.no_grad()
    def total_costs(
        self,
        batch: FeatureBatch,
        quality: Quality,
        graphs: Sequence[TaskGraph],
        wanted: Collection[int] | None = None,
        multipliers: NDArray[np.float64] | None = None,
    ) -> NDArray[np.float64]:
        """``J = bits + Σ_i w_i·‖z'_i − ẑ'_i‖²`` of each image along its graph, (B,).

        Args:
            batch: normalised features.
            quality: of all tasks, or of each.
            graphs: one per image.
            wanted: the tensors that errors count of; bits count of these and of their ancestors. All there are if None.
            multipliers: the ``w`` of each task; by default that of its quality.
        """
        tensors = list(batch.available if wanted is None else wanted)
        counter = SymbolCounter(self.entropy.tables)
        coder, qualities = self._counting(counter, batch, quality)
        result = code_along_graph(
            self.networks, graphs, qualities, IntegerLatentCoder(coder), batch.grids, batch.parts, tensors
        )
        errors = squared_errors(result.reconstruction, batch.parts, batch.grids).double().cpu().numpy()
        bits = counter.bits.array(len(batch), self.networks.task_count).sum(1)
        multipliers = self.lagrange_multipliers(quality) if multipliers is None else multipliers
        return bits + errors[:, tensors] @ multipliers[tensors]

    def _steps(self, quality: Quality) -> tuple[int, ...]:
        return quality_steps(quality, self.networks.task_count)

    def _counting(self, counter: SymbolCounter, batch: FeatureBatch, quality: Quality) -> tuple[EntropyCoder, Tensor]:
        """A coder of the batch that counts, and the qualities of images and tasks, (B, T)."""
        steps = [self._steps(quality)] * len(batch)
        coder = EntropyCoder(self.entropy, counter, np.array(steps, np.int64), batch.grids)
        return coder, quality_tensor(steps, batch.parts[0].device)


@lru_cache(maxsize=32)
def _columns_of(pairs: tuple[Pair, ...], size: int, max_parents: int) -> Tensor:
    """Where some pairs stand among all."""
    index = pair_index(size, max_parents)
    return torch.tensor([index[pair] for pair in pairs])


def _together(pairs: Sequence[Pair], most: int) -> list[list[int]]:
    """Columns of the pairs that are coded in one go: of one child, with parents or without, at most so many.

    >>> _together([(0, ()), (0, (1,)), (1, ()), (0, (2,)), (0, (1, 2))], 2)
    [[0], [1, 3], [4], [2]]
    """
    alike: dict[tuple[int, bool], list[int]] = {}
    for column, (child, parents) in enumerate(pairs):
        alike.setdefault((child, bool(parents)), []).append(column)
    return [columns[start : start + most] for columns in alike.values() for start in range(0, len(columns), most)]


def squared_errors(decoded: Sequence[Tensor], features: Sequence[Tensor], grids: Sequence[Grid]) -> Tensor:
    """Summed squared error of each image and tensor without its padding, (B, T).

    >>> squared_errors([torch.ones(1, 2, 4, 4)], [torch.zeros(1, 2, 4, 4)], [(3, 4)])
    tensor([[24.]])
    """
    rows = zip(decoded, features, grids, strict=True)
    return torch.stack([(a - b)[..., : g[0], : g[1]].square().sum((1, 2, 3)) for a, b, g in rows], 1)
