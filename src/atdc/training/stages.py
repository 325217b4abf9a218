"""From nothing to weights, or from weights to better ones; each stage is resumed or skipped by what the run folder
holds.

::

    networks: images ─ task networks
    codec:    their features ─ a codec, by the one trainer of codecs (:mod:`atdc.training.fit`)
    graphs:   what chooses graphs, which that trainer fits at its end

What a call does not train is that of the weights it starts from.
"""

from __future__ import annotations

import copy
import dataclasses
import datetime
import json
import zlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from atdc.config import Recipe, load_recipe, require_one_of
from atdc.data.data_sets import DATA_SETS, SIDE_PX, labelled
from atdc.data.feature_report import report
from atdc.data.feature_source import evenly_spaced
from atdc.data.labelled import IMAGE, LabelledImages, Mixed
from atdc.errors import ArgumentError
from atdc.features import FeatureScaling
from atdc.networks.devices import device_of, open_device
from atdc.networks.task_networks import TaskNetworks
from atdc.pipeline import Codec, load
from atdc.tasks import TASKS
from atdc.training import processes
from atdc.training.augment import Augmented
from atdc.training.devices import moved
from atdc.training.feature_cache import FeatureCache
from atdc.training.fit import fit, statistics_of
from atdc.training.losses import task_loss
from atdc.training.run_folder import RunFolder
from atdc.training.task_objectives import TaskLosses
from atdc.training.task_stage import load_targets, train_tasks

STAGES = ("networks", "codec", "graphs")
"""What there is to train, in order."""
BOTH = "rooms+nyuv2"
"""The name of rooms and real images together."""
CODEC_FOLDER = "codec"
"""Of a run folder: that of the codec's training."""


def train(
    recipe_path: Path, run_path: Path, data_path: Path, out: Path | None = None, device_name: str = "cpu",
    real_path: Path | None = None, start: str | Path | None = None, stages: Sequence[str] = STAGES,
) -> Path:  # fmt: skip
    """Trains a model by a recipe, resuming whatever an earlier call finished.

    Args:
        recipe_path: a YAML file, see :class:`~atdc.config.Recipe`.
        run_path: checkpoints, logs, stage times.
        data_path: where rendered rooms are kept; rendered here if absent.
        out: the weights file; by default ``<run>/<name>.safetensors``.
        device_name: where networks are trained. What coding costs is always measured on the CPU, with integers.
        real_path: real images with rooms, for recipes that learn from both.
        start: weights to start from, by name or file; by default the recipe's.
        stages: which of :data:`STAGES` are run: one, and all after it.

    Returns:
        The weights file's path.

    Raises:
        ArgumentError: a setting that is unknown, a run folder of another recipe, no such device, stages that need
            weights to start from.
    """
    recipe, device = load_recipe(recipe_path), open_device(device_name)
    for stage in stages:
        require_one_of("stages", stage, STAGES)
    origin = start or recipe.start
    model = load(origin) if origin else None
    _require_stages(stages, model, recipe)
    if model is not None:
        _require_networks(model, recipe, origin)
    processes.join()
    data = training_images(recipe, data_path, real_path)
    run = RunFolder(run_path, recipe)
    with run.claimed():
        fingerprint = None if model is None else model.feature_codec.fingerprint.hex()
        course = {"start": fingerprint, "stages": list(stages), "images": [_identity(images) for images in data]}
        run.require_same(course)
        return _train(run, recipe, stages, data, data_path, real_path, model, origin, out, device)


def _train(
    run: RunFolder, recipe: Recipe, stages: Sequence[str], data: Both, data_path: Path, real_path: Path | None,
    model: Codec | None, origin: str | Path, out: Path | None, device: torch.device,
) -> Path:  # fmt: skip
    torch.manual_seed(recipe.seed)
    task_networks = TaskNetworks(recipe.model()).channels_last()
    if model is not None:
        task_networks.load_state_dict(model.networks.state_dict())
    if "networks" in stages:
        smaller = training_images(recipe, data_path, real_path, half=True)
        train_tasks(run, recipe, task_networks.to(device), smaller, data, further=model is not None)
        round_to_half(task_networks)
    task_networks.to(device)
    if recipe.augment:
        data = Augmented(data[0], recipe.seed), data[1]
    features, val_features = (
        FeatureCache(run, split, task_networks, split_images)
        for split, split_images in zip(("train", "val"), data, strict=True)
    )
    feature_report = report(features, progress=processes.shows_progress())
    further = None if model is None or (recipe.anew and "codec" in stages) else model.feature_codec
    if model is None or "networks" in stages:
        rows = zip(*(statistics_of(feature_report.tensors[name]) for name in features.names), strict=True)
        means, stds = (torch.from_numpy(np.stack(row)).float() for row in rows)
        bounds = loss_bounds(run, task_networks, val_features, data[1], means)
        if further is not None:  # its networks see other features than they did
            further = copy.copy(further)
            further.scaling = FeatureScaling(further.tensors, means, stds)
    else:
        bounds = torch.tensor(model.card["loss_bounds"])
    goal, val_goal = (TaskLosses(task_networks, images, bounds) for images in data)
    settings = recipe.codec_recipe()
    if "codec" not in stages:
        settings = replace(settings, predictor_steps=0, warmup_steps=0, steps=0, entropy_steps=0)
    grids = None if further is not None else dict.fromkeys(features.names, recipe.model().stride)
    codec = fit(
        features, recipe=settings, objective=goal, val=val_features, val_objective=val_goal,
        feature_report=feature_report, start=further, grids=grids,
        run=run.path / CODEC_FOLDER, device=device, model=recipe.model(), progress=processes.shows_progress(),
    )  # fmt: skip
    times = {
        **run.read_json("times.json", {}),
        **RunFolder(run.path / CODEC_FOLDER, settings).read_json("times.json", {}),
    }
    card = {
        **({} if model is None else model.card),
        "recipe": recipe.name,
        "seed": recipe.seed,
        "data": f"{recipe.data}: {len(features)} training and {len(val_features)} validation images",
        "trained": datetime.date.today().isoformat(),
        "stages": list(stages),
        "stage_seconds": times,
        "loss_bounds": [[round(v, 6) for v in row] for row in bounds.tolist()],
    }
    if "codec" in stages:  # else that of the weights that it starts from
        card["lambda"] = [settings.lambda_min, settings.lambda_max]
    if model is not None:
        card["start"] = f"{Path(origin).stem} {model.feature_codec.fingerprint.hex()}"
    path = out or run.path / f"{recipe.name}.safetensors"
    if processes.is_first():
        Codec(task_networks.cpu(), codec, card).save(path)
        print(json.dumps(times))
    return path


def _require_stages(stages: Sequence[str], model: Codec | None, recipe: Recipe) -> None:
    """Refuses stages that lack what they need.

    Raises:
        ArgumentError: a later one is left out, or an earlier one though there are no weights to start from; or a codec
            that begins has no steps.
    """
    names = ", ".join(stages) or "none"
    if not stages or set(stages) != set(STAGES[min(map(STAGES.index, stages)) :]):
        ends = (", ".join(STAGES[first:]) for first in range(len(STAGES)))
        raise ArgumentError("stages", names, f"one and all after it: {'; or '.join(ends)}")
    if model is None and set(stages) != set(STAGES):
        raise ArgumentError("stages", names, "all of them, or weights to start from", "--from W")
    if model is None and recipe.anew:
        raise ArgumentError("anew", "no weights to start from", "weights whose task networks are kept", "--from W")
    if (model is None or recipe.anew) and "codec" in stages and not recipe.codec.trains_transforms:
        raise ArgumentError("codec.steps", "0, and no warmup_steps", "some for a codec that begins")


def _require_networks(model: Codec, recipe: Recipe, origin: str | Path) -> None:
    """Refuses weights of task networks of another shape than the recipe's.

    Raises:
        ArgumentError: they are.
    """
    config = model.feature_codec.config
    for setting, value in dataclasses.asdict(recipe.networks).items():
        if getattr(config, setting) != value:
            raise ArgumentError(
                "start", f"{origin!r}, whose networks.{setting} is {getattr(config, setting)}", f"{value}, the recipe's"
            )


def _identity(images: LabelledImages) -> list[int]:
    """What tells some images from others: how many, and a checksum of a few."""
    samples = images.targets(evenly_spaced(len(images), 4), (IMAGE,))[IMAGE]
    return [len(images), zlib.crc32(samples.contiguous().numpy().tobytes())]


Both = tuple[LabelledImages, LabelledImages]
"""Training and validation images."""


def training_images(recipe: Recipe, folder: Path, real: Path | None = None, half: bool = False) -> Both:
    """The recipe's images. Rooms are rendered if they are not there.

    Args:
        recipe: says which.
        folder: of the data set, of rooms where there are two.
        real: folder of the real images with rooms.
        half: the same images at half their size.

    Raises:
        ArgumentError: an unknown data set, no folder of real images.
        DataError: a folder does not hold what it should.
    """
    side = SIDE_PX // 2 if half else None
    require_one_of("data", recipe.data, (*DATA_SETS, BOTH))
    if recipe.data == BOTH:
        if real is None:
            raise ArgumentError("real", "no folder", "one that holds NYUv2 frames", "pass --real FOLDER")
        rooms = training_images(replace(recipe, data="rooms"), folder, half=half)
        frames = [labelled("nyuv2", real, split, side) for split in ("train", "val")]
        return Mixed(rooms[0], frames[0], recipe.real_repeats), Mixed(rooms[1], frames[1])
    counts = {"train": recipe.train_count, "val": recipe.val_count}
    if processes.is_first():  # whatever is rendered is rendered once
        for split, count in counts.items():
            labelled(recipe.data, folder, split, side, count)
    processes.wait()
    train, val = (labelled(recipe.data, folder, split, side, count, render=False) for split, count in counts.items())
    return train, val


def round_to_half(module: nn.Module) -> None:
    """Rounds convolutions to half precision, as the weights file keeps them, so that cached features are the shipped
    networks' features."""
    for parameter in module.parameters():
        if parameter.ndim >= 2:
            parameter.data = parameter.data.half().float()


@torch.no_grad()
def loss_bounds(
    run: RunFolder, networks: TaskNetworks, val: FeatureCache, data: LabelledImages, means: Tensor
) -> Tensor:
    """``L_0`` (heads fed channel means, (T, C)) and ``L_∞`` (uncompressed features) on validation images, (2, T)."""
    record = run.read_json("loss_bounds.json", None)
    if record is not None:
        return torch.tensor(record)
    networks.eval()
    sums, count, device = torch.zeros(2, len(TASKS)), min(len(val), 400), device_of(networks)
    for start in range(0, count, 20):
        indices = np.arange(start, min(start + 20, count))
        features = torch.from_numpy(val.features[indices].astype(np.float32)).to(device)
        constant = means.to(device)[None, :, :, None, None].expand_as(features)
        targets = moved(load_targets(data, indices), device)
        for row, source in enumerate((constant, features)):
            for task, output in enumerate(networks.outputs(source, range(len(TASKS)))):
                sums[row, task] += task_loss(TASKS[task], output, targets[TASKS[task].name]).sum().cpu()
    run.write_json("loss_bounds.json", (sums / count).tolist())
    return sums / count
