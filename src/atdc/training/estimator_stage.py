"""The factorised rate estimator's distillation from what coding really costs.

For up to :data:`FEW_TENSORS` tensors the costs of all pairs are measured. For more, all single parents are, and the
pairs of parents that promise most; what a pair of parents costs that nobody measured follows from the two alone::

    cost(c, {p, p′}) = base − gain(p) − gain(p′) + overlap,    overlap = share of the smaller gain
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from atdc.codec import FeatureCodec
from atdc.config import MAX_QUALITY, FitRecipe
from atdc.graph import search
from atdc.networks.rate_estimators import FactorisedEstimator
from atdc.training import processes
from atdc.training.data import TrainingFeatures

FEW_TENSORS = 8
"""So many tensors have few enough pairs to measure them all."""
_BLOCK = 8
"""Samples whose costs are measured together, at one quality."""
_COLUMNS = 240
"""Pairs that are measured with a block, where there are many."""
_MEASURED_SHARE = 0.2
"""Of the pairs of two parents, those that are measured."""


@dataclass(frozen=True)
class Measured:
    """What coding some samples' pairs costs.

    Attributes:
        samples: which, (n,).
        level: the integer quality.
        columns: which pairs, (m,).
        costs: bits per feature element of the child, (n, m).
    """

    samples: NDArray[np.int64]
    level: int
    columns: NDArray[np.int64]
    costs: NDArray[np.float64]


def completed(costs: NDArray[np.float64], pairs: Sequence[search.Pair]) -> NDArray[np.float64]:
    """Costs of all pairs, (..., P), where those of sets of parents that are not known (NaN) follow from single ones.

    >>> pairs = search.candidate_sets(3, 2)
    >>> row = np.array([9, 5, 7, np.nan, 9, 9, 9, 9, 9, 9, 9, 9])
    >>> completed(row, pairs)[:4].tolist()
    [9.0, 5.0, 7.0, 4.0]
    """
    index = {pair: place for place, pair in enumerate(pairs)}
    base = search.alone_columns(pairs)
    whole = np.array(costs, np.float64)
    numbers = np.array([len(parents) for _, parents in pairs])
    single = numbers == 1  # a parent whose share nobody knows gives nothing
    whole[..., single] = np.where(np.isnan(whole[..., single]), whole[..., base[single]], whole[..., single])
    gains = np.maximum(whole[..., base] - whole, 0.0)
    for number in range(2, int(numbers.max(initial=0)) + 1):
        places = np.flatnonzero(numbers == number)
        parents_of = [[index[pairs[place][0], (parent,)] for parent in pairs[place][1]] for place in places.tolist()]
        own = np.sort(gains[..., np.array(parents_of)], -1)[..., ::-1]
        expected = whole[..., base[places]] - own[..., 0] - _UNSHARED * own[..., 1:].sum(-1)
        whole[..., places] = np.where(np.isnan(whole[..., places]), expected, whole[..., places])
    return whole


_UNSHARED = 0.5
"""Of a further parent's gain, what it adds to a better parent's."""


def columns_to_measure(gains: NDArray[np.float64], pairs: Sequence[search.Pair]) -> NDArray[np.int64]:
    """The pairs without or with one parent, and the fifth of the others whose parents' gains are largest together.

    Args:
        gains: of each pair over no parents, (P,); those of single parents are looked at.
        pairs: what they are.
    """
    index = {pair: place for place, pair in enumerate(pairs)}
    single = [place for place, (_, parents) in enumerate(pairs) if len(parents) < 2]
    sets = [(place, pair) for place, pair in enumerate(pairs) if len(pair[1]) > 1]
    promise = [sum(gains[index[child, (parent,)]] for parent in parents) for _, (child, parents) in sets]
    best = np.argsort(-np.array(promise), kind="stable")[: round(_MEASURED_SHARE * len(sets))]
    return np.array([*single, *(sets[place][0] for place in best.tolist())], np.int64)


def measure(
    codec: FeatureCodec, train: TrainingFeatures, samples: NDArray[np.int64], columns: NDArray[np.int64],
    rng: np.random.Generator,
) -> list[Measured]:  # fmt: skip
    """Costs of pairs of some training samples, block by block, each at a random integer quality."""
    blocks = []
    alone = np.array([place for place in columns.tolist() if not codec.pairs[place][1]], np.int64)
    others = np.setdiff1d(columns, alone)
    for start in tqdm(
        range(0, len(samples), _BLOCK), desc="costs", mininterval=2.0, disable=not processes.shows_progress()
    ):
        chosen = samples[start : start + _BLOCK]
        level = int(rng.integers(MAX_QUALITY + 1))
        drawn = rng.permutation(others)[: _COLUMNS if len(codec.tensors) > FEW_TENSORS else None]
        own = np.sort(np.concatenate([alone, drawn]))
        batch = codec.normalise(train.raw(chosen))
        bits, errors = codec.costs.pair_costs(batch, level, [codec.pairs[place] for place in own.tolist()])
        children = [codec.pairs[place][0] for place in own.tolist()]
        elements = np.array(batch.elements)[children]
        costs = (bits + codec.costs.lagrange_multipliers(level)[children] * errors) / elements
        blocks.append(Measured(chosen, level, own, costs))
    return blocks


def mean_table(blocks: Sequence[Measured], pairs: Sequence[search.Pair]) -> NDArray[np.float64]:
    """Mean costs of all pairs at every integer quality, (8, P).

    What was not measured at a quality is interpolated between those where it was, and sets of parents that were never
    measured follow from single ones.
    """
    totals, counts = np.zeros((MAX_QUALITY + 1, len(pairs))), np.zeros((MAX_QUALITY + 1, len(pairs)))
    for block in blocks:
        totals[block.level, block.columns] += block.costs.sum(0)
        counts[block.level, block.columns] += len(block.costs)
    with np.errstate(invalid="ignore", divide="ignore"):
        means = totals / counts
    levels = np.arange(MAX_QUALITY + 1)
    for place in np.flatnonzero(np.isnan(means).any(0)).tolist():
        known = ~np.isnan(means[:, place])
        if known.any():
            means[:, place] = np.interp(levels, levels[known], means[known, place])
    return completed(means, pairs)


def train_estimator(
    recipe: FitRecipe, estimator: FactorisedEstimator, blocks: Sequence[Measured], means: NDArray[np.float64],
    pairs: Sequence[search.Pair], train: TrainingFeatures,
) -> float:  # fmt: skip
    """Fits the estimator to measured costs; returns the mean relative error of its costs over no parents on the last
    tenth of the blocks, which are kept out of the fit where there are several; 0 where no tensor can have a parent."""
    index = {pair: place for place, pair in enumerate(pairs)}
    count = len(estimator.local)
    alone = [index[child, ()] for child in range(count)]
    base = torch.from_numpy(means[:, alone])
    estimator.base_offset.copy_(base)
    stds = _stds(blocks, pairs, count)
    estimator.base_spread.copy_(torch.from_numpy(stds).clamp(min=1e-4))
    for child in range(count):
        for parent in range(count):
            if parent != child:
                gain = torch.from_numpy(means[:, alone[child]] - means[:, index[child, (parent,)]])
                estimator.gain_offset[:, child, parent] = gain
                estimator.gain_spread[:, child, parent] = 0.25 * gain.abs()
    usual = estimator.gain_offset.abs().amax(2).clamp(min=1e-5)
    estimator.overlap_scale.copy_(0.5 * usual)
    draw = torch.Generator().manual_seed(recipe.seed)  # the same whether stages before ran or were skipped
    with torch.no_grad():
        noise = 0.1 * torch.randn(estimator.shared.shape, generator=draw)
        estimator.shared.copy_(estimator.rank**-0.5 + noise)
    children = torch.tensor([child for child, _ in pairs])
    relative = torch.tensor([bool(parents) for _, parents in pairs])
    held_out = min(max(1, len(blocks) // 10), len(blocks) - 1)
    kept = [(train.read(block.samples), block) for block in blocks]
    estimator.requires_grad_(True)
    optimiser = torch.optim.AdamW(estimator.parameters(), lr=3e-3, weight_decay=1e-2)
    falling = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, recipe.estimator_steps)
    rng = np.random.default_rng(recipe.seed)

    def errors(place: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Squared errors in units of what is usual, of base costs and of gains."""
        features, block = kept[place]
        columns = torch.from_numpy(block.columns)
        costs = torch.from_numpy(block.costs).float()
        estimated = estimator.of_columns(features, columns)[:, block.level]
        own, has_parents = children[columns], relative[columns]
        where = {int(child): row for row, child in enumerate(own.tolist()) if not bool(has_parents[row])}
        at = torch.tensor([where[int(child)] for child in own])
        unit = torch.where(has_parents, usual[block.level, own], estimator.base_spread[block.level, own])
        difference = (estimated - estimated[:, at] * has_parents) - (costs - costs[:, at] * has_parents)
        squared = torch.square(difference / unit)
        return squared[:, ~has_parents], squared[:, has_parents]

    bar = tqdm(
        range(recipe.estimator_steps), desc="rate estimator", mininterval=2.0, disable=not processes.shows_progress()
    )
    for _ in bar:
        loss = torch.stack([part.mean() for part in errors(int(rng.integers(len(kept) - held_out))) if part.numel()])
        optimiser.zero_grad()
        torch.autograd.backward(loss.sum())
        optimiser.step()
        falling.step()
    estimator.requires_grad_(False)
    kept_out = [errors(place)[1].flatten() for place in range(len(kept) - held_out, len(kept))]
    rest = torch.cat(kept_out) if kept_out else torch.zeros(0)
    return float(rest.mean().sqrt()) if rest.numel() else math.nan


def _stds(blocks: Sequence[Measured], pairs: Sequence[search.Pair], count: int) -> NDArray[np.float64]:
    """Of base costs from sample to sample, (8, T); where a quality was not measured, that of all."""
    squares, numbers = np.zeros((MAX_QUALITY + 1, count)), np.zeros((MAX_QUALITY + 1, count))
    for block in blocks:
        for row, place in enumerate(block.columns.tolist()):
            child, parents = pairs[place]
            if not parents and len(block.costs) > 1:
                squares[block.level, child] += block.costs[:, row].var(ddof=1)
                numbers[block.level, child] += 1
    overall = squares.sum(0) / np.maximum(numbers.sum(0), 1)
    spread = np.where(numbers > 0, squares / np.maximum(numbers, 1), overall)
    stds: NDArray[np.float64] = np.sqrt(spread)
    return stds
