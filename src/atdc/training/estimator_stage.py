"""The rate estimator's distillation from what coding really costs (:mod:`atdc.training.measured_costs`)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from atdc.config import MAX_QUALITY, FitRecipe
from atdc.graph.scores import Pair
from atdc.networks.batches import FeatureBatch
from atdc.networks.devices import device_of
from atdc.networks.rate_estimators import FactorisedEstimator, PairEstimator
from atdc.tensors import Grid
from atdc.training import processes
from atdc.training.data import NormalisedSource
from atdc.training.loop import Draw, epochs_of, train_stage
from atdc.training.measured_costs import Measured
from atdc.training.run_folder import RunFolder

_BATCH = 50
_RATE = 2e-3
_NOISE = 0.3
"""Gaussian noise on the features that an estimator of pairs learns from, in standard deviations of the features: it has
few samples to learn from."""


def train_estimator(
    run: RunFolder, recipe: FitRecipe, estimator: PairEstimator | FactorisedEstimator, blocks: Sequence[Measured],
    means: NDArray[np.float64], pairs: Sequence[Pair], source: NormalisedSource,
) -> float:  # fmt: skip
    """Fits a rate estimator of any kind to measured costs.

    Args:
        run: checkpoints.
        recipe: settings.
        estimator: is changed.
        blocks: what was measured.
        means: mean costs of all pairs at every integer quality, (8, P).
        pairs: what they are.
        source: normalised features of the samples.

    Returns:
        Of the factorised estimator, the mean relative error of its costs over no parents on the last tenth of the
        blocks, which are kept out of the fit where there are several; NaN of others, whose error is in the curves.
    """
    if isinstance(estimator, FactorisedEstimator):
        return _train_factorised(recipe, estimator, blocks, means, pairs, source)
    estimator.offset.copy_(estimator.relative(torch.from_numpy(means).float()))  # of what no block has
    costs = torch.full((sum(len(block.samples) for block in blocks), MAX_QUALITY + 1, len(pairs)), torch.nan)
    row = 0
    for block in blocks:
        part = costs[row : row + len(block.samples), block.level]
        part[:, torch.from_numpy(block.columns)] = torch.from_numpy(block.costs).float()
        row += len(block.samples)
    samples = np.concatenate([block.samples for block in blocks])
    train_pair_estimator(run, estimator, samples, costs, source, steps=recipe.estimator_steps, seed=recipe.seed)
    return math.nan


def train_pair_estimator(
    run: RunFolder, estimator: PairEstimator, samples: NDArray[np.int64], costs: Tensor, source: NormalisedSource, *,
    steps: int, seed: int = 0, batch: int = _BATCH, lr: float = _RATE, noise: float = _NOISE,
) -> None:  # fmt: skip
    """Fits an estimator of pairs to relative target costs, standardised per quality and pair.

    Where the codec coded some tensors alone, the rate estimator sees no others.

    Args:
        run: checkpoints.
        estimator: is changed.
        samples: whose costs are known, (n,).
        costs: bits per feature element, (n, 8, P); NaN where they are not known.
        source: normalised features of the samples.
        steps: of training.
        seed: of all that is drawn.
        batch: samples of a step.
        lr: learning rate at the start.
        noise: on features, in standard deviations of theirs.
    """
    estimator.requires_grad_(True)
    costs = costs.to(device_of(estimator))
    relative = estimator.relative(costs)
    mask = ~relative.isnan()
    number = mask.sum(0)
    mean = relative.nansum(0) / number.clamp(min=1)
    variance = (relative - mean).square().nansum(0) / number.clamp(min=1)
    estimator.offset.copy_(torch.where(number > 0, mean, estimator.offset))
    estimator.spread.copy_(torch.where(number > 0, variance.sqrt().clamp(min=1e-4), estimator.spread))
    goal = ((relative - estimator.offset) / estimator.spread).nan_to_num()
    presence = mask[:, :, estimator.is_relative == 0].any(1).cpu()  # which tensors the codec coded, (n, T)
    val_count = len(samples) // 10

    def loss_of(rows: NDArray[np.int64], features: FeatureBatch) -> Tensor:
        error = torch.square(estimator.standardised(features) - goal[rows]) * mask[rows]
        return error.sum() / mask[rows].sum()

    def only_coded(parts: Sequence[Tensor], rows: NDArray[np.int64], grids: tuple[Grid, ...]) -> FeatureBatch:
        weights = presence[rows].to(parts[0])[:, :, None, None, None]
        return FeatureBatch(tuple(part * weights[:, place] for place, part in enumerate(parts)), grids)

    def prepare(draw: Draw) -> tuple[NDArray[np.int64], FeatureBatch]:
        rows = draw.indices + val_count
        features = source.read(samples[rows])
        is_mirrored = bool(draw.rng.integers(2))  # a mirrored map costs what the map costs
        views = [part.flip(-1) if is_mirrored else part for part in features.parts]
        noisy = [part + noise * torch.randn_like(part) for part in views]
        return rows, only_coded(noisy, rows, features.grids)

    def step(batch: tuple[NDArray[np.int64], FeatureBatch]) -> tuple[Tensor, dict[str, float]]:
        loss = loss_of(*batch)
        return loss, {"error": float(loss.detach())}

    @torch.no_grad()
    def validate() -> dict[str, float]:
        rows = np.arange(val_count)
        features = source.read(samples[rows])
        coded_features = only_coded(features.parts, rows, features.grids)
        return {"error": float(loss_of(rows, coded_features.to(device_of(estimator))))}

    epochs, epoch_steps = epochs_of(steps)
    parts = processes.count()
    batch = max(parts, min(batch, len(samples) - val_count) // parts * parts)
    train_stage(
        run, "estimator", estimator, images=len(samples) - val_count, epochs=epochs, steps=epoch_steps, batch=batch,
        lr=lr, lr_end=0.02 * lr, prepare=prepare, step=step, validate=validate if val_count else None, seed=seed,
        weight_decay=1e-2,
    )  # fmt: skip
    estimator.requires_grad_(False)


def _train_factorised(
    recipe: FitRecipe, estimator: FactorisedEstimator, blocks: Sequence[Measured], means: NDArray[np.float64],
    pairs: Sequence[Pair], source: NormalisedSource,
) -> float:  # fmt: skip
    """Fits the estimator to measured costs; returns the mean relative error of its costs over no parents on the last
    tenth of the blocks, which are kept out of the fit where there are several; NaN where nothing can have a parent."""
    index = {pair: place for place, pair in enumerate(pairs)}
    count = len(estimator.local)
    base_columns = [index[child, ()] for child in range(count)]
    base = torch.from_numpy(means[:, base_columns])
    estimator.base_offset.copy_(base)
    stds = _stds(blocks, pairs, count)
    estimator.base_spread.copy_(torch.from_numpy(stds).clamp(min=1e-4))
    for child in range(count):
        for parent in range(count):
            if parent != child:
                gain = torch.from_numpy(means[:, base_columns[child]] - means[:, index[child, (parent,)]])
                estimator.gain_offset[:, child, parent] = gain
                estimator.gain_spread[:, child, parent] = 0.25 * gain.abs()
    scale = estimator.gain_offset.abs().amax(2).clamp(min=1e-5)
    estimator.overlap_scale.copy_(0.5 * scale)
    draw = torch.Generator().manual_seed(recipe.seed)  # the same whether stages before ran or were skipped
    with torch.no_grad():
        noise = 0.1 * torch.randn(estimator.shared.shape, generator=draw)
        estimator.shared.copy_(estimator.rank**-0.5 + noise)
    children = torch.tensor([child for child, _ in pairs])
    relative = torch.tensor([bool(parents) for _, parents in pairs])
    val_count = min(max(1, len(blocks) // 10), len(blocks) - 1)
    batches = [(source.read(block.samples), block) for block in blocks]
    estimator.requires_grad_(True)
    optimiser = torch.optim.AdamW(estimator.parameters(), lr=3e-3, weight_decay=1e-2)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, recipe.estimator_steps)
    rng = np.random.default_rng(recipe.seed)

    def errors(place: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Squared errors in units of what is usual, of base costs and of gains."""
        features, block = batches[place]
        columns = torch.from_numpy(block.columns)
        costs = torch.from_numpy(block.costs).float()
        estimates = estimator.at(features, slice(block.level, block.level + 1), columns)[:, 0]
        block_children, has_parents = children[columns], relative[columns]
        base_rows = {int(child): row for row, child in enumerate(block_children.tolist()) if not bool(has_parents[row])}
        base_index = torch.tensor([base_rows[int(child)] for child in block_children])
        unit = torch.where(
            has_parents, scale[block.level, block_children], estimator.base_spread[block.level, block_children]
        )
        difference = (estimates - estimates[:, base_index] * has_parents) - (costs - costs[:, base_index] * has_parents)
        squares = torch.square(difference / unit)
        return squares[:, ~has_parents], squares[:, has_parents]

    for _ in processes.bar(range(recipe.estimator_steps), desc="rate estimator"):
        loss = torch.stack(
            [part.mean() for part in errors(int(rng.integers(len(batches) - val_count))) if part.numel()]
        )
        optimiser.zero_grad()
        torch.autograd.backward(loss.sum())
        optimiser.step()
        scheduler.step()
    estimator.requires_grad_(False)
    val_parts = [errors(place)[1].flatten() for place in range(len(batches) - val_count, len(batches))]
    val_errors = torch.cat(val_parts) if val_parts else torch.zeros(0)
    return float(val_errors.mean().sqrt()) if val_errors.numel() else math.nan


def _stds(blocks: Sequence[Measured], pairs: Sequence[Pair], count: int) -> NDArray[np.float64]:
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
    return np.sqrt(spread)
