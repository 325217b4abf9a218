"""The cheap scorer's distillation: from the predictor before the codec is trained, from the codec's own costs after."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm import tqdm

from atdc.config import MAX_QUALITY, Recipe
from atdc.networks.batches import FeatureBatch
from atdc.networks.devices import device_of
from atdc.networks.rate_estimators import PairEstimator
from atdc.training import processes
from atdc.training.data import TrainingFeatures
from atdc.training.loop import Draw, train_stage
from atdc.training.run_folder import RunFolder

Teacher = Callable[[NDArray[np.int64], int], tuple[Tensor, Tensor]]
"""Image indices and the block's number to costs, bits per feature element (n, 8, P), and known qualities (n, 8)."""

BLOCK = 20
"""Images whose costs are measured together, at one quality."""
_KEPT = 20
"""Blocks after which what is measured is saved."""


def teacher_costs(run: RunFolder, name: str, images: NDArray[np.int64], teacher: Teacher) -> tuple[Tensor, Tensor]:
    """Costs of some images by the teacher; kept in the run folder, resumed block by block; processes take turns."""
    state = run.load(name)
    costs: list[Tensor] = [] if state is None else list(state["costs"])
    known: list[Tensor] = [] if state is None else list(state["known"])
    blocks = -(-len(images) // BLOCK)
    bar = tqdm(total=blocks, initial=len(costs), desc=name, mininterval=2.0, disable=not processes.is_first())
    with bar:
        while (done := len(costs)) < blocks:
            block = done + processes.rank()
            chosen = images[block * BLOCK : (block + 1) * BLOCK]
            measured = [made for made in processes.gathered(teacher(chosen, block) if len(chosen) else None) if made]
            for block_costs, block_known in measured:
                costs.append(block_costs.float())
                known.append(block_known)
            bar.update(len(measured))
            if len(costs) // _KEPT > done // _KEPT or len(costs) == blocks:
                run.save(name, {"costs": costs, "known": known})
    return torch.cat(costs), torch.cat(known)


def train_scorer(
    run: RunFolder, recipe: Recipe, name: str, scorer: nn.Module, images: NDArray[np.int64], costs: Tensor,
    known: Tensor,
    train: TrainingFeatures,
) -> None:  # fmt: skip
    """Fits the scorer to the teacher's relative costs, standardised per quality and pair."""
    settings = recipe.scorer
    assert isinstance(scorer, PairEstimator), "the factorised estimator has a training of its own"
    scorer.requires_grad_(True)
    costs, known = costs.to(device_of(scorer)), known.to(device_of(scorer))
    relative = scorer.relative(costs)
    for level in range(MAX_QUALITY + 1):
        rows = relative[known[:, level], level]
        if len(rows):
            scorer.offset[level] = rows.mean(0)
            scorer.spread[level] = rows.std(0, correction=0).clamp(min=1e-4)
    goal = (relative - scorer.offset) / scorer.spread
    held_out = len(images) // 10

    def loss_of(rows: NDArray[np.int64], features: FeatureBatch) -> Tensor:
        error = torch.square(scorer.standardised(features) - goal[rows]) * known[rows][:, :, None]
        return error.sum() / (known[rows].sum() * scorer.pairs)

    def prepare(draw: Draw) -> tuple[NDArray[np.int64], FeatureBatch]:
        rows = draw.indices + held_out
        features = train.read(images[rows])
        mirrored = bool(draw.rng.integers(2))  # a mirrored map costs what the map costs
        seen = [part.flip(-1) if mirrored else part for part in features.parts]
        noisy = [part + settings.feature_noise * torch.randn_like(part) for part in seen]
        return rows, FeatureBatch(tuple(noisy), features.grids)

    def step(batch: tuple[NDArray[np.int64], FeatureBatch]) -> tuple[Tensor, dict[str, float]]:
        loss = loss_of(*batch)
        return loss, {"error": float(loss.detach())}

    @torch.no_grad()
    def validate() -> dict[str, float]:
        rows = np.arange(held_out)
        return {"error": float(loss_of(rows, train.read(images[rows]).to(device_of(scorer))))}

    train_stage(
        run, name, scorer, images=len(images) - held_out, epochs=settings.epochs, batch=settings.batch, lr=settings.lr,
        lr_end=settings.lr * 0.02, prepare=prepare, step=step, validate=validate, seed=recipe.seed, weight_decay=1e-2,
    )  # fmt: skip
