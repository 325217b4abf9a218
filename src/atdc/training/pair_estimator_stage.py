"""The rate estimator's distillation: from the predictor before the codec is trained, from the codec's own costs
after."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm import tqdm

from atdc.config import Recipe
from atdc.networks.batches import FeatureBatch
from atdc.networks.devices import device_of
from atdc.networks.rate_estimators import PairEstimator
from atdc.tensors import Grid
from atdc.training import processes
from atdc.training.data import NormalisedSource
from atdc.training.loop import Draw, train_stage
from atdc.training.run_folder import RunFolder

TargetCosts = Callable[[NDArray[np.int64], int], Tensor]
"""Image indices and the block's number to costs, bits per feature element (n, 8, P); NaN where they are not known."""

BLOCK = 20
"""Images whose costs are measured together, at one quality."""
_KEPT = 20
"""Blocks after which what is measured is saved."""


def target_costs(run: RunFolder, name: str, images: NDArray[np.int64], costs_of: TargetCosts) -> Tensor:
    """Costs of some images by `costs_of`; kept in the run folder, resumed block by block; processes take turns."""
    state = run.load(name)
    costs: list[Tensor] = [] if state is None else list(state["costs"])
    blocks = -(-len(images) // BLOCK)
    bar = tqdm(total=blocks, initial=len(costs), desc=name, mininterval=2.0, disable=not processes.shows_progress())
    with bar:
        while (done := len(costs)) < blocks:
            block = done + processes.rank()
            chosen = images[block * BLOCK : (block + 1) * BLOCK]
            gathered = processes.gathered(costs_of(chosen, block) if len(chosen) else None)
            measured = [block_costs.float() for block_costs in gathered if block_costs is not None]
            costs += measured
            bar.update(len(measured))
            if len(costs) // _KEPT > done // _KEPT or len(costs) == blocks:
                run.save(name, {"costs": costs})
    return torch.cat(costs)


def train_pair_estimator(
    run: RunFolder, recipe: Recipe, name: str, estimator: nn.Module, images: NDArray[np.int64], costs: Tensor,
    train: NormalisedSource,
) -> None:  # fmt: skip
    """Fits the rate estimator to the relative target costs, standardised per quality and pair.

    Where the codec coded some tensors alone, the rate estimator sees no others.
    """
    settings = recipe.scorer
    assert isinstance(estimator, PairEstimator), "the factorised estimator has a training of its own"
    estimator.requires_grad_(True)
    costs = costs.to(device_of(estimator))
    relative = estimator.relative(costs)
    known = ~relative.isnan()
    number = known.sum(0)
    mean = relative.nansum(0) / number.clamp(min=1)
    variance = (relative - mean).square().nansum(0) / number.clamp(min=1)
    estimator.offset.copy_(torch.where(number > 0, mean, estimator.offset))
    estimator.spread.copy_(torch.where(number > 0, variance.sqrt().clamp(min=1e-4), estimator.spread))
    goal = ((relative - estimator.offset) / estimator.spread).nan_to_num()
    alone = [pair for pair, base in enumerate(estimator.base) if pair == base]
    there = known[:, :, alone].any(1).cpu()  # which tensors the codec coded, (n, T)
    held_out = len(images) // 10

    def loss_of(rows: NDArray[np.int64], features: FeatureBatch) -> Tensor:
        error = torch.square(estimator.standardised(features) - goal[rows]) * known[rows]
        return error.sum() / known[rows].sum()

    def only_coded(parts: Sequence[Tensor], rows: NDArray[np.int64], grids: tuple[Grid, ...]) -> FeatureBatch:
        kept = there[rows].to(parts[0])[:, :, None, None, None]
        return FeatureBatch(tuple(part * kept[:, place] for place, part in enumerate(parts)), grids)

    def prepare(draw: Draw) -> tuple[NDArray[np.int64], FeatureBatch]:
        rows = draw.indices + held_out
        features = train.read(images[rows])
        mirrored = bool(draw.rng.integers(2))  # a mirrored map costs what the map costs
        seen = [part.flip(-1) if mirrored else part for part in features.parts]
        noisy = [part + settings.feature_noise * torch.randn_like(part) for part in seen]
        return rows, only_coded(noisy, rows, features.grids)

    def step(batch: tuple[NDArray[np.int64], FeatureBatch]) -> tuple[Tensor, dict[str, float]]:
        loss = loss_of(*batch)
        return loss, {"error": float(loss.detach())}

    @torch.no_grad()
    def validate() -> dict[str, float]:
        rows = np.arange(held_out)
        features = train.read(images[rows])
        coded = only_coded(features.parts, rows, features.grids)
        return {"error": float(loss_of(rows, coded.to(device_of(estimator))))}

    train_stage(
        run, name, estimator, images=len(images) - held_out, epochs=settings.epochs, batch=settings.batch,
        lr=settings.lr,
        lr_end=settings.lr * 0.02, prepare=prepare, step=step, validate=validate, seed=recipe.seed, weight_decay=1e-2,
    )  # fmt: skip
