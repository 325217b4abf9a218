"""Stage 1: the six encoders and heads, each on its own task."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from atdc.config import Recipe
from atdc.data.rooms import RoomsDataset
from atdc.data.targets import decode_stored, flip_stored
from atdc.networks.task_networks import TaskNetworks
from atdc.tasks import TASK_NAMES, TASKS
from atdc.training.loop import Draw, train_stage
from atdc.training.losses import every_fourth_pixel, task_loss
from atdc.training.run_folder import RunFolder


def load_targets(
    data: RoomsDataset, indices: NDArray[np.int64], tasks: tuple[str, ...] = TASK_NAMES, flip: bool = False
) -> dict[str, Tensor]:
    """Decoded targets of some images, by task name, optionally mirrored; the key ``rgb`` is the input image too."""
    stored = data.targets(indices)
    return {
        name: decode_stored(name, flip_stored(name, np.asarray(stored[name])) if flip else np.asarray(stored[name]))
        for name in tasks
    }


def train_tasks(run: RunFolder, recipe: Recipe, networks: TaskNetworks, train: RoomsDataset, val: RoomsDataset) -> None:
    """Trains all six tasks on the same batches; features carry noise, so that heads bear what compression does.

    The noise is Gaussian with a deviation drawn per image from [0, `feature_noise`]; features have unit deviation.
    """
    settings = recipe.tasks

    def prepare(draw: Draw) -> dict[str, Tensor]:
        return load_targets(train, draw.indices, flip=bool(draw.rng.integers(2)))

    def step(targets: dict[str, Tensor]) -> tuple[Tensor, dict[str, float]]:
        networks.train()
        image = targets["rgb"].contiguous(memory_format=torch.channels_last)
        losses = []
        for index, task in enumerate(TASKS):
            with torch.autocast(image.device.type, torch.bfloat16):
                features = networks.encoders[index](image)
                deviation = torch.rand(len(image), 1, 1, 1) * settings.feature_noise
                output = networks.heads[index](features + deviation * torch.randn_like(features))
            output, target = every_fourth_pixel(task, output, targets[task.name])
            losses.append(task_loss(task, output, target).mean())
        figures = {task.letter: float(loss.detach()) for task, loss in zip(TASKS, losses, strict=True)}
        # Tasks share no parameter. Each loss is divided by its own value, so that gradients of all tasks are of one
        # size and the common clipping treats them alike.
        return torch.stack([loss / loss.detach().clamp(min=1e-6) for loss in losses]).sum(), figures

    @torch.no_grad()
    def validate() -> dict[str, float]:
        networks.eval()
        sums = np.zeros(len(TASKS))
        count = min(len(val), 200)
        for start in range(0, count, 20):
            targets = load_targets(val, np.arange(start, min(start + 20, count)))
            image = targets["rgb"].contiguous(memory_format=torch.channels_last)
            for index, task in enumerate(TASKS):
                with torch.autocast(image.device.type, torch.bfloat16):
                    output = networks.heads[index](networks.encoders[index](image))
                sums[index] += float(task_loss(task, output, targets[task.name]).sum())
        return {task.letter: float(value) / count for task, value in zip(TASKS, sums, strict=True)}

    train_stage(
        run, "tasks", networks, images=len(train), epochs=settings.epochs, batch=settings.batch, lr=settings.lr,
        lr_end=settings.lr * 0.01, prepare=prepare, step=step, validate=validate, seed=recipe.seed,
        weight_decay=settings.weight_decay, clip=20.0,
    )  # fmt: skip
