"""What coding pairs of a child and its parents really costs, on training samples: what rate estimators are taught.

For up to :data:`FEW_TENSORS` tensors the costs of all pairs are measured. For more, all single parents are, and the
sets of parents that promise most; what a set costs that nobody measured follows from its parents alone, for two::

    cost(c, {p, p′}) = base − gain(p) − gain(p′) + overlap,    overlap = share of the smaller gain
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from atdc.codec import FeatureCodec
from atdc.config import MAX_QUALITY
from atdc.graph.scores import Pair, alone_columns, columns_within
from atdc.training import processes
from atdc.training.data import NormalisedSource
from atdc.training.graph_source import random_subset
from atdc.training.run_folder import RunFolder

FEW_TENSORS = 8
"""So many tensors have few enough pairs to measure them all."""
BLOCK = 8
"""Samples whose costs are measured together, at one quality."""
_KEPT = 20
"""Blocks after which what is measured is saved."""
_COLUMNS = 240
"""Pairs that are measured with a block, where there are many."""
_MEASURED_SHARE = 0.2
"""Of the sets of two parents or more, those that are measured."""


@dataclass(frozen=True)
class Measured:
    """What coding some samples' pairs costs.

    Attributes:
        samples: which, (n,).
        level: the integer quality.
        columns: which pairs, (m,).
        costs: bits per feature element of the child, (n, m).
        spoilt: one tensor of each of these samples does not belong to the others.
    """

    samples: NDArray[np.int64]
    level: int
    columns: NDArray[np.int64]
    costs: NDArray[np.float64]
    spoilt: bool = False


@dataclass(frozen=True)
class _Block:
    """What is measured together: samples, a quality, the tensors that are coded, and pairs of these."""

    samples: NDArray[np.int64]
    level: int
    tensors: tuple[int, ...]
    columns: NDArray[np.int64]


def measured(
    run: RunFolder, name: str, codec: FeatureCodec, source: NormalisedSource, samples: NDArray[np.int64],
    columns: NDArray[np.int64], rng: np.random.Generator, *, subset_share: float = 0.0,
    spoilt: frozenset[int] = frozenset(),
) -> list[Measured]:  # fmt: skip
    """Costs of pairs of some training samples, block by block, each at a random integer quality; kept in the run
    folder, where a stopped run resumes. Processes take turns.

    Args:
        run: where costs are kept.
        name: under which.
        codec: that codes, with its fixed graphs.
        source: normalised features.
        samples: of whom; those of a block are alike, all of them spoilt or none.
        columns: which pairs.
        rng: draws qualities and tensors.
        subset_share: of blocks, but the first, of which a random subset of the tensors is coded.
        spoilt: samples of which a tensor is.
    """
    blocks = [
        _block(codec, samples[start : start + BLOCK], columns, rng, subset_share if start else 0.0)
        for start in range(0, len(samples), BLOCK)
    ]
    state = run.load(name)
    costs: list[Tensor] = [] if state is None else list(state["costs"])
    with processes.bar(total=len(blocks), initial=len(costs), desc=name) as bar:
        while (count := len(costs)) < len(blocks):
            index = count + processes.rank()
            results = processes.gathered(_costs(codec, source, blocks[index]) if index < len(blocks) else None)
            new_costs = [torch.from_numpy(block) for block in results if block is not None]
            costs += new_costs
            bar.update(len(new_costs))
            if len(costs) // _KEPT > count // _KEPT or len(costs) == len(blocks):
                run.save(name, {"costs": costs})
    return [
        Measured(block.samples, block.level, block.columns, row.numpy(), int(block.samples[0]) in spoilt)
        for block, row in zip(blocks, costs, strict=True)
    ]


def _block(
    codec: FeatureCodec, samples: NDArray[np.int64], columns: NDArray[np.int64], rng: np.random.Generator, share: float
) -> _Block:
    level, count = int(rng.integers(MAX_QUALITY + 1)), codec.task_count
    tensors = tuple(random_subset(count, share, rng))
    subset_columns = np.intersect1d(columns, columns_within(count, codec.config.max_parents, tensors))
    base_columns = np.array([place for place in subset_columns.tolist() if not codec.pairs[place][1]], np.int64)
    further_columns = rng.permutation(np.setdiff1d(subset_columns, base_columns))[
        : _COLUMNS if count > FEW_TENSORS else None
    ]
    return _Block(samples, level, tensors, np.sort(np.concatenate([base_columns, further_columns])))


def _costs(codec: FeatureCodec, source: NormalisedSource, block: _Block) -> NDArray[np.float64]:
    batch = source.read(block.samples)
    batch = batch if len(block.tensors) == codec.task_count else batch.only(block.tensors)
    bits, errors = codec.costs.pair_costs(batch, block.level, [codec.pairs[place] for place in block.columns.tolist()])
    children = codec.costs.children[block.columns]
    multipliers = codec.costs.lagrange_multipliers(block.level)[children]
    return (bits + multipliers * errors) / np.array(batch.elements)[children]


def single_columns(pairs: Sequence[Pair]) -> NDArray[np.int64]:
    """Where the pairs without or with one parent stand."""
    return np.array([place for place, (_, parents) in enumerate(pairs) if len(parents) < 2])


def columns_to_measure(gains: NDArray[np.float64], pairs: Sequence[Pair]) -> NDArray[np.int64]:
    """The pairs without or with one parent, and the fifth of the others whose parents' gains are largest together.

    Args:
        gains: of each pair over no parents, (P,); those of single parents are looked at.
        pairs: what they are.
    """
    index = {pair: place for place, pair in enumerate(pairs)}
    sets = [(place, pair) for place, pair in enumerate(pairs) if len(pair[1]) > 1]
    promise = [sum(gains[index[child, (parent,)]] for parent in parents) for _, (child, parents) in sets]
    best = np.argsort(-np.array(promise), kind="stable")[: round(_MEASURED_SHARE * len(sets))]
    return np.concatenate([single_columns(pairs), np.array([sets[place][0] for place in best.tolist()], np.int64)])


def completed(costs: NDArray[np.float64], pairs: Sequence[Pair]) -> NDArray[np.float64]:
    """Costs of all pairs, (..., P), where those of sets of parents that are not known (NaN) follow from single ones.

    >>> from atdc.graph.scores import candidate_sets
    >>> pairs = candidate_sets(3, 2)
    >>> row = np.array([9, 5, 7, np.nan, 9, 9, 9, 9, 9, 9, 9, 9])
    >>> completed(row, pairs)[:4].tolist()
    [9.0, 5.0, 7.0, 4.0]
    """
    index = {pair: place for place, pair in enumerate(pairs)}
    base = alone_columns(pairs)
    whole = np.array(costs, np.float64)
    numbers = np.array([len(parents) for _, parents in pairs])
    is_single = numbers == 1  # a parent whose share nobody knows gives nothing
    whole[..., is_single] = np.where(
        np.isnan(whole[..., is_single]), whole[..., base[is_single]], whole[..., is_single]
    )
    gains = np.maximum(whole[..., base] - whole, 0.0)
    for number in range(2, int(numbers.max(initial=0)) + 1):
        places = np.flatnonzero(numbers == number)
        parents_of = [[index[pairs[place][0], (parent,)] for parent in pairs[place][1]] for place in places.tolist()]
        parent_gains = np.sort(gains[..., np.array(parents_of)], -1)[..., ::-1]
        estimates = whole[..., base[places]] - parent_gains[..., 0] - _UNSHARED * parent_gains[..., 1:].sum(-1)
        whole[..., places] = np.where(np.isnan(whole[..., places]), estimates, whole[..., places])
    return whole


_UNSHARED = 0.5
"""Of a further parent's gain, what it adds to a better parent's."""


def mean_table(blocks: Sequence[Measured], pairs: Sequence[Pair]) -> NDArray[np.float64]:
    """Mean costs of all pairs at every integer quality, (8, P), over samples that are not spoilt.

    What was not measured at a quality is interpolated between those where it was, and sets of parents that were never
    measured follow from single ones.
    """
    totals, counts = np.zeros((MAX_QUALITY + 1, len(pairs))), np.zeros((MAX_QUALITY + 1, len(pairs)))
    for block in blocks:
        if not block.spoilt:
            totals[block.level, block.columns] += block.costs.sum(0)
            counts[block.level, block.columns] += len(block.costs)
    with np.errstate(invalid="ignore", divide="ignore"):
        means = totals / counts
    levels = np.arange(MAX_QUALITY + 1)
    for place in np.flatnonzero(np.isnan(means).any(0)).tolist():
        mask = ~np.isnan(means[:, place])
        if mask.any():
            means[:, place] = np.interp(levels, levels[mask], means[mask, place])
    return completed(means, pairs)
