"""The predictor's training, on random parent sets, clean and perturbed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from atdc.config import FitRecipe
from atdc.networks.batches import FeatureBatch
from atdc.networks.codec_networks import CodecNetworks
from atdc.networks.devices import device_of
from atdc.networks.predictor import proxy_loss
from atdc.networks.resampling import resampled
from atdc.training.data import TrainingFeatures
from atdc.training.loop import Draw, epochs_of, train_stage
from atdc.training.run_folder import RunFolder

PARENT_COUNT_WEIGHTS = (0.1, 0.3, 0.4, 0.1, 0.05, 0.05)
"""How often a training parent set has 0, 1, 2, … members: two mostly, as graphs have; five at most."""


_PARENT_NOISE = 0.7
"""Half of the parents get Gaussian noise of a standard deviation drawn from [0, this], which stands for
quantisation."""


def random_parent_mask(rng: np.random.Generator, batch: int, child: int, tasks: int) -> Tensor:
    """Random parent sets of a child, (B, T) of 0 and 1."""
    weights = np.array(PARENT_COUNT_WEIGHTS[:tasks])
    counts = rng.choice(len(weights), size=batch, p=weights / weights.sum())
    candidates = [task for task in range(tasks) if task != child]
    mask = torch.zeros(batch, tasks)
    for row, count in enumerate(counts):
        mask[row, rng.choice(candidates, size=count, replace=False)] = 1
    return mask


def train_predictor(
    run: RunFolder, recipe: FitRecipe, networks: CodecNetworks, train: TrainingFeatures, val: TrainingFeatures
) -> None:  # fmt: skip
    """Minimises ``L_proxy`` over all children; half of the images' parents carry noise that stands for quantisation."""
    tasks, predictor = networks.task_count, networks.predictor

    def loss_of(features: FeatureBatch, parents: Sequence[Tensor], rng: np.random.Generator) -> Tensor:
        contributions, grids = [predictor.contribution(task, part) for task, part in enumerate(parents)], features.grids
        children = range(tasks) if features.present is None else features.present
        losses = []
        for child in children:
            target = features.parts[child]
            mask = random_parent_mask(rng, len(features), child, tasks).to(target.device)
            mask[:, [task for task in range(tasks) if task not in children]] = 0
            total = torch.zeros_like(contributions[child])
            for parent in np.flatnonzero(mask.cpu().numpy().any(0)).tolist():
                contribution = resampled(contributions[parent], grids[parent], grids[child])
                total = total + contribution * mask[:, parent, None, None, None]
            mean, log_variance = predictor(child, total, mask)
            losses.append(proxy_loss(mean, log_variance, target).mean())
        return torch.stack(losses).mean()

    def prepare(draw: Draw) -> tuple[FeatureBatch, np.random.Generator]:
        return train.read(draw.indices), draw.rng

    def step(batch: tuple[FeatureBatch, np.random.Generator]) -> tuple[Tensor, dict[str, float]]:
        features, rng = batch
        noisy = torch.rand(len(features), 1, 1, 1, device=features.parts[0].device) < 0.5
        parents = []
        for part in features.parts:
            std = torch.rand(len(part), 1, 1, 1, device=part.device) * _PARENT_NOISE
            parents.append(part + noisy.float() * std * torch.randn_like(part))
        loss = loss_of(features, parents, rng)
        return loss, {"proxy": float(loss.detach())}

    @torch.no_grad()
    def validate() -> dict[str, float]:
        rng = np.random.default_rng(0)
        features = val.read(val.alike(200)).to(device_of(predictor))
        return {"proxy": float(loss_of(features, features.parts, rng))}

    epochs, steps = epochs_of(recipe.predictor_steps)
    train_stage(
        run, "predictor", predictor, images=len(train), epochs=epochs, steps=steps, batch=recipe.batch, lr=recipe.lr,
        lr_end=recipe.lr * 0.02, prepare=prepare, step=step, validate=validate, seed=recipe.seed,
        accumulate=recipe.accumulate,
    )  # fmt: skip
