"""The task networks' training: the six encoders and heads, each on its own task."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from atdc.config import Recipe
from atdc.data.labelled import IMAGE, LabelledImages
from atdc.data.targets import decode_stored, target_form
from atdc.networks.devices import device_of
from atdc.networks.task_networks import TaskNetworks
from atdc.tasks import CLASSES, TASK_NAMES, TASKS
from atdc.training.augment import augmented
from atdc.training.devices import mixed_precision, moved
from atdc.training.loop import Draw, train_stage
from atdc.training.losses import every_fourth_pixel, task_loss
from atdc.training.run_folder import RunFolder


def load_targets(
    data: LabelledImages, indices: NDArray[np.int64], tasks: tuple[str, ...] = TASK_NAMES, flip: bool = False,
    rng: np.random.Generator | None = None,
) -> dict[str, Tensor]:  # fmt: skip
    """Decoded targets of some images, by task name, optionally mirrored; the key
    :data:`~atdc.data.labelled.IMAGE` is the input image too.

    Given a generator, as :func:`~atdc.training.augment.augmented` changes them.
    """
    targets = data.targets(indices, tasks)
    if rng is not None:
        targets = augmented(targets, rng)
    arrays = {name: np.asarray(targets[name]) for name in tasks}
    return {
        name: decode_stored(name, target_form(name).flip(array) if flip else array) for name, array in arrays.items()
    }


def class_weights(data: LabelledImages, classes: int = len(CLASSES)) -> dict[str, Tensor]:
    """``1 / ln(1.02 + share)`` of each class, scaled to a mean of 1 over pixels (ENet, Paszke et al. 2016), by name of
    the tasks that answer with classes.

    Mean IoU counts a class of books as much as one of walls, which fill a hundred times the pixels.
    """
    names = tuple(task.name for task in TASKS if task.loss == "cross_entropy")
    labels = data.targets(np.arange(min(len(data), 1000)), names)
    return {name: _class_weights(labels[name], classes) for name in names}


def _class_weights(labels: Tensor, classes: int) -> Tensor:
    share = np.bincount(labels[..., ::4, ::4].numpy().ravel(), minlength=256)[:classes].astype(np.float64)
    share /= share.sum()
    weights = 1 / np.log(1.02 + share)
    return torch.from_numpy(weights / (weights * share).sum()).float()


def train_tasks(
    run: RunFolder,
    recipe: Recipe,
    networks: TaskNetworks,
    half: tuple[LabelledImages, LabelledImages],
    full: tuple[LabelledImages, LabelledImages],
    further: bool = False,
) -> None:
    """Trains the task networks: a shared start, then each task alone, on half-size and at last on whole rooms.

    Half-size rooms cost a quarter of the time, and one encoder a sixth of six; what they learn carries over.

    Args:
        half: training and validation rooms of half the size.
        full: training and validation rooms.
        further: networks that are trained already have no shared part.
    """
    settings = recipe.tasks
    weights = moved(class_weights(half[0], recipe.networks.classes), device_of(networks))
    scene = [place for place, task in enumerate(TASKS) if task.needs_scene]
    shared_module = nn.ModuleDict({"encoder": networks.encoders[scene[0]], "heads": networks.heads})
    if not further:
        _train(
            run, recipe, "tasks_shared", shared_module, [(networks.encoders[scene[0]], scene)], networks.heads, *half,
            weights, settings.shared_epochs, (1.0, 0.5),
        )  # fmt: skip
        start = networks.encoders[scene[0]].state_dict()
        for encoder in networks.encoders:
            encoder.load_state_dict(start)
    branches = [(encoder, [task]) for task, encoder in enumerate(networks.encoders)]
    arguments = (networks, branches, networks.heads)
    _train(run, recipe, "tasks_half", *arguments, *half, weights, settings.half_epochs, (0.5, 0.25))
    _train(run, recipe, "tasks", *arguments, *full, weights, settings.epochs, (0.25, 0.005))


def _train(
    run: RunFolder,
    recipe: Recipe,
    name: str,
    module: nn.Module,
    encoders: list[tuple[nn.Module, list[int]]],
    heads: nn.ModuleList,
    train: LabelledImages,
    val: LabelledImages,
    weights: Mapping[str, Tensor],
    epochs: int,
    lr: tuple[float, float],
) -> None:
    """One part of the stage; features carry noise, so that heads bear what compression does.

    The noise is Gaussian with a standard deviation drawn per image from [0, `feature_noise`]; features have unit
    standard deviation.

    Args:
        module: what is trained and saved.
        encoders: each encoder with the tasks whose heads read its features.
        lr: first and last learning rate, as shares of the recipe's.
    """
    settings = recipe.tasks
    members = sorted(task for _, tasks in encoders for task in tasks)
    names = tuple(dict.fromkeys([*(TASK_NAMES[task] for task in members), IMAGE]))

    def outputs(image: Tensor, change: Callable[[Tensor], Tensor]) -> dict[int, Tensor]:
        image = image.contiguous(memory_format=torch.channels_last)
        answers = {}
        with mixed_precision(image.device):
            for encoder, tasks in encoders:
                features = encoder(image)
                for task in tasks:
                    answers[task] = heads[task](change(features))
        return answers

    def noisy(features: Tensor) -> Tensor:
        std = torch.rand(len(features), 1, 1, 1, device=features.device) * settings.feature_noise
        return features + std * torch.randn_like(features)

    def prepare(draw: Draw) -> dict[str, Tensor]:
        flip = bool(draw.rng.integers(2))
        return load_targets(train, draw.indices, names, flip, draw.rng if recipe.augment else None)

    def step(targets: dict[str, Tensor]) -> tuple[Tensor, dict[str, float]]:
        module.train()
        losses = {}
        for task, output in outputs(targets[IMAGE], noisy).items():
            spec = TASKS[task]
            output, target = every_fourth_pixel(spec, output, targets[spec.name])
            losses[spec.letter] = task_loss(spec, output, target, weights.get(spec.name)).mean()
        # Each loss is divided by its own value, so that gradients of all tasks are of one size: a shared encoder
        # serves them alike, and so does the common clipping.
        total = torch.stack([loss / loss.detach().clamp(min=1e-6) for loss in losses.values()]).sum()
        return total, {letter: float(loss.detach()) for letter, loss in losses.items()}

    @torch.no_grad()
    def validate() -> dict[str, float]:
        module.eval()
        sums = dict.fromkeys((TASKS[task].letter for task in members), 0.0)
        count = min(len(val), 200)
        for start in range(0, count, 20):
            targets = moved(load_targets(val, np.arange(start, min(start + 20, count)), names), device_of(module))
            for task, output in outputs(targets[IMAGE], lambda features: features).items():
                sums[TASKS[task].letter] += float(task_loss(TASKS[task], output, targets[TASKS[task].name]).sum())
        return {letter: value / count for letter, value in sums.items()}

    train_stage(
        run, name, module, images=len(train), epochs=epochs, batch=settings.batch, lr=settings.lr * lr[0],
        lr_end=settings.lr * lr[1], prepare=prepare, step=step, validate=validate, seed=recipe.seed,
        weight_decay=settings.weight_decay, clip=20.0, accumulate=settings.accumulate,
    )  # fmt: skip
