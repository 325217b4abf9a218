"""From nothing to weights: the stages in order, each resumed or skipped by what the run folder holds.

::

    train:   rooms ─ tasks ─ features ─ predictor ─ scorer ─ graphs ─ warm-up ─ codec ─ scorer and graphs ─ weights
    a start: rooms ─ tasks ─ features ─────────────────────────────── warm-up ─ codec ─ scorer and graphs ─ weights
    retrain:                                                weights ─ warm-up ─ codec ─ scorer and graphs ─ weights

A recipe may name weights to start from; predictor, codec and graphs are then theirs, and learn further on the new
features.

The scorer and graphs that a codec ends with are fitted to its own costs. Retraining closes the loop: the codec learns
on the graphs that a codec's costs prefer, not on those that a predictor preferred before there was any.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from atdc.codec import FeatureCodec
from atdc.config import MAX_QUALITY, Recipe, load_recipe
from atdc.data.labelled import LabelledImages, Mixed, Some
from atdc.data.nyuv2 import NyuV2Dataset
from atdc.data.rooms import RoomsDataset, materialise
from atdc.data.taskonomy import TaskonomyImages
from atdc.entropy.float_model import FloatEntropyModel, dequantised_model, quantised_model
from atdc.entropy.model import EntropyModel
from atdc.errors import ArgumentError
from atdc.graph import search
from atdc.graph.graph_book import GraphBook
from atdc.networks.codec_networks import CodecNetworks
from atdc.networks.devices import device_of, open_device
from atdc.networks.predictability import score_bits
from atdc.networks.task_networks import TaskNetworks
from atdc.pipeline import Codec, load
from atdc.tasks import TASKS, TENSOR_NAMES
from atdc.training import processes
from atdc.training.augment import Augmented
from atdc.training.codec_stage import Objective, Subject, train_codec
from atdc.training.data import NormalisedFeatures
from atdc.training.devices import moved
from atdc.training.feature_cache import FeatureCache
from atdc.training.graph_source import MixedGraphs
from atdc.training.graph_stage import choose_graphs, copy_of, fit_scorer_to_codec, scorer_costs
from atdc.training.losses import task_loss
from atdc.training.predictor_stage import train_predictor
from atdc.training.run_folder import RunFolder
from atdc.training.scorer_stage import teacher_costs, train_scorer
from atdc.training.task_objectives import TaskLosses
from atdc.training.task_stage import load_targets, train_tasks

Pairs = tuple[search.Pair, ...]

_SIDE_PX = 256
"""Of pictures that are not rendered but read."""


def train(
    recipe_path: Path, run_path: Path, data_path: Path, out: Path | None = None, device_name: str = "cpu",
    real_path: Path | None = None,
) -> Path:  # fmt: skip
    """Trains a model by a recipe, resuming whatever an earlier call finished.

    Args:
        recipe_path: a YAML file, see :class:`~atdc.config.Recipe`.
        run_path: checkpoints, logs, stage times.
        data_path: where rendered rooms are kept; rendered here if absent.
        out: the weights file; by default ``<run>/<name>.safetensors``.
        real_path: real pictures beside rooms, for recipes that learn from both.
        device_name: where networks are trained. What coding costs is always measured on the CPU, with integers.

    Returns:
        The weights file's path.

    Raises:
        ArgumentError: a setting that is unknown, a run folder of another recipe, no such device.
    """
    recipe, device = load_recipe(recipe_path), open_device(device_name)
    run = RunFolder(run_path, recipe)
    torch.manual_seed(recipe.seed)
    (train_data, val_data), half_data = training_images(recipe, data_path, real_path)

    start = load(recipe.start) if recipe.start else None
    if start is not None and start.feature_codec.config != recipe.model:
        raise ArgumentError("start", f"{recipe.start!r}, other networks", "weights of the recipe's model")
    task_networks = TaskNetworks(recipe.model).channels_last()
    if start is not None:
        task_networks.load_state_dict(start.networks.state_dict())
    train_tasks(run, recipe, task_networks.to(device), half_data, (train_data, val_data))
    round_to_half(task_networks)
    if recipe.augment:
        train_data = Augmented(train_data, recipe.seed)
    train_cache = FeatureCache(run, "train", task_networks, train_data)
    val_cache = FeatureCache(run, "val", task_networks, val_data)
    mean, deviation = train_cache.statistics()
    train_set = NormalisedFeatures(train_cache, mean, deviation)
    val_set = NormalisedFeatures(val_cache, mean, deviation)
    bounds = loss_bounds(run, task_networks, val_set, val_data)

    if start is None:
        pairs, tensors = search.candidate_sets(len(TASKS), recipe.model.max_parents), recipe.model.tensors(TENSOR_NAMES)
        networks, float_model = CodecNetworks(recipe.model, tensors), FloatEntropyModel(recipe.model, tensors)
        start_from_principal_components(networks, float_model, train_set)
        networks.to(device)
        float_model.to(device)
        train_predictor(run, recipe, networks, train_set, val_set)
        book = GraphBook.untrained(len(TASKS))
        fit_scorer_to_predictor(run, recipe, networks, train_set, book, pairs)
        book = choose_graphs(run, recipe, "graphs_predictor", networks, train_set, val_set, book, pairs)
    else:
        own = start.feature_codec
        networks, book = copy_of(own.networks).to(device), own.book
        float_model = dequantised_model(own.entropy, recipe.model, own.tensors).to(device)

    goals = tuple(TaskLosses(task_networks, images, bounds) for images in (train_data, val_data))
    entropy, book = train_codec_and_graphs(run, recipe, networks, float_model, book, (train_set, val_set), goals)

    card = {
        "recipe": recipe.name,
        "seed": recipe.seed,
        "data": f"{recipe.data}: {len(train_set)} training and {len(val_set)} validation images",
        "trained": datetime.date.today().isoformat(),
        "stage_seconds": run.read_json("times.json", {}),
        "loss_bounds": [[round(v, 6) for v in row] for row in bounds.tolist()],
        "lambda": [recipe.codec.lambda_min, recipe.codec.lambda_max],
    }
    if start is not None:
        card["start"] = f"{recipe.start} {start.feature_codec.fingerprint.hex()}"
    codec = Codec(task_networks.cpu(), FeatureCodec(networks, entropy, mean, deviation, book), card)
    path = out or run_path / f"{recipe.name}.safetensors"
    if processes.is_first():
        codec.save(path)
        print(json.dumps(card["stage_seconds"]))
    return path


Both = tuple[LabelledImages, LabelledImages]
"""Training and validation images."""


def training_images(recipe: Recipe, folder: Path, real: Path | None = None) -> tuple[Both, Both]:
    """The recipe's images, and the same at half their size. Rooms are rendered if they are not there.

    Args:
        recipe: says which.
        folder: of the data set, of rooms where there are two.
        real: folder of the real pictures beside rooms.

    Raises:
        ArgumentError: an unknown data set, no folder of real pictures.
        DataError: a folder does not hold what it should.
    """
    if recipe.data == "rooms+nyuv2":
        if real is None:
            raise ArgumentError("real", "no folder", "one that holds NYUv2 frames", "pass --real FOLDER")
        rooms = training_images(replace(recipe, data="rooms"), folder)

        def mixed(size: int, drawn: Both) -> Both:
            frames = [NyuV2Dataset(real, split, size) for split in ("train", "val")]
            return Mixed(drawn[0], frames[0], recipe.real_repeats), Mixed(drawn[1], frames[1])

        return mixed(_SIDE_PX, rooms[0]), mixed(_SIDE_PX // 2, rooms[1])
    if recipe.data == "rooms":
        if processes.is_first():
            for split, count in (("train", recipe.train_count), ("val", recipe.val_count)):
                materialise(folder, split, count)
                materialise(folder / "half", split, count, size=RoomsDataset(folder, split).size // 2)
        processes.wait()
        whole, half = (
            (RoomsDataset(place, "train", recipe.train_count), RoomsDataset(place, "val", recipe.val_count))
            for place in (folder, folder / "half")
        )
        return whole, half
    kinds: dict[str, Callable[[Path, str, int], LabelledImages]] = {"taskonomy": TaskonomyImages, "nyuv2": NyuV2Dataset}
    if recipe.data not in kinds:
        raise ArgumentError("data", repr(recipe.data), f"one of rooms, rooms+nyuv2, {', '.join(kinds)}")
    read = kinds[recipe.data]

    def both(size: int) -> Both:
        train, val = (read(folder, split, size) for split in ("train", "val"))
        return Some(train, recipe.train_count), Some(val, recipe.val_count)

    return both(_SIDE_PX), both(_SIDE_PX // 2)


def start_from_principal_components(
    networks: CodecNetworks, float_model: FloatEntropyModel, train: NormalisedFeatures
) -> None:
    """Starts every task's transforms, and what is expected of its latent, from a sample of training features."""
    sample = train.read(np.arange(min(400, len(train))))
    for task in range(networks.task_count):
        float_model.task(task).start_from_deviation(
            networks.task(task).start_from_principal_components(sample.parts[task])
        )


def features_of(run: RunFolder, codec: Codec, rooms: Mapping[str, RoomsDataset]) -> dict[str, NormalisedFeatures]:
    """A trained model's features of some splits, cached in the run folder."""
    own = codec.feature_codec
    return {
        split: NormalisedFeatures(
            FeatureCache(run, split, codec.networks, data), torch.stack(own.mean), torch.stack(own.deviation)
        )
        for split, data in rooms.items()
    }


def subject_of(
    recipe: Recipe, networks: CodecNetworks, float_model: FloatEntropyModel, book: GraphBook, train: NormalisedFeatures,
    val: NormalisedFeatures,
) -> Subject:  # fmt: skip
    """A codec with the graphs that its scorer chooses in the recipe's mixture of settings.

    Validation images are coded under the mixture's most frequent setting.
    """
    mix = recipe.codec.graph_mix
    usual = {max(mix, key=lambda name: mix[name]): 1.0}
    tasks, limit = networks.task_count, recipe.model.max_parents
    return Subject(
        networks, float_model,
        MixedGraphs(mix, book, scorer_costs(networks, train), tasks, limit),
        MixedGraphs(usual, book, scorer_costs(networks, val), tasks, limit),
        train, val,
    )  # fmt: skip


def train_codec_and_graphs(
    run: RunFolder, recipe: Recipe, networks: CodecNetworks, float_model: FloatEntropyModel, book: GraphBook,
    sets: tuple[NormalisedFeatures, NormalisedFeatures], goals: tuple[Objective, ...],
) -> tuple[EntropyModel, GraphBook]:  # fmt: skip
    """Warm-up, the codec in one go with one falling learning rate, and, on the CPU, its scorer and graphs.

    Args:
        run: checkpoints.
        recipe: settings.
        networks: the codec at its start, with the scorer that chooses the graphs it learns on; trained in place, where
            it is, and left on the CPU.
        float_model: likewise.
        book: graphs to begin with.
        sets: features of training and validation images.
        goals: objectives of both.
    """
    settings, (goal, val_goal) = recipe.codec, goals
    subject = subject_of(recipe, networks, float_model, book, *sets)
    train_codec(run, recipe, "warmup", settings.warmup_epochs, (settings.lr, settings.lr), subject, None, val_goal)
    train_codec(run, recipe, "codec", settings.epochs, (settings.lr, settings.lr_end), subject, goal, val_goal)
    networks.cpu()
    float_model.cpu()
    entropy = quantised_model(float_model, networks)
    return entropy, fit_scorer_to_codec(run, recipe, networks, entropy, *sets, book)


def round_to_half(module: nn.Module) -> None:
    """Rounds convolutions to half precision, as the weights file keeps them, so that cached features are the shipped
    networks' features."""
    for parameter in module.parameters():
        if parameter.ndim >= 2:
            parameter.data = parameter.data.half().float()


@torch.no_grad()
def loss_bounds(run: RunFolder, networks: TaskNetworks, val: NormalisedFeatures, data: LabelledImages) -> Tensor:
    """``L_0`` (heads fed the channel means) and ``L_∞`` (uncompressed features) on validation images, (2, T)."""
    known = run.read_json("loss_bounds.json", None)
    if known is not None:
        return torch.tensor(known)
    networks.eval()
    sums, count = torch.zeros(2, len(TASKS)), min(len(val), 400)
    for start in range(0, count, 20):
        indices = np.arange(start, min(start + 20, count))
        features = val.cache.read(indices).to(device_of(networks))
        means = val.restore(torch.zeros_like(features).unbind(1))
        targets = moved(load_targets(data, indices), device_of(networks))
        for row, source in enumerate((means, features)):
            for task, output in enumerate(networks.outputs(source, range(len(TASKS)))):
                sums[row, task] += task_loss(TASKS[task], output, targets[TASKS[task].name]).sum().cpu()
    run.write_json("loss_bounds.json", (sums / count).tolist())
    return sums / count


def fit_scorer_to_predictor(
    run: RunFolder, recipe: Recipe, networks: CodecNetworks, train: NormalisedFeatures, book: GraphBook, pairs: Pairs
) -> None:
    """Distils the scorer from the predictor's rate-aware score, before there is a codec to measure."""
    images = np.random.default_rng(recipe.seed).permutation(len(train))[: recipe.scorer.teacher_images]
    device = device_of(networks)
    distortion = torch.from_numpy(book.distortion).to(device)

    def teacher(chosen: NDArray[np.int64], block: int) -> tuple[Tensor, Tensor]:
        features = train.read(chosen).to(device)
        bits = score_bits(networks.predictor, features, pairs, distortion) / features.elements[0]
        return bits.cpu(), torch.ones(len(chosen), MAX_QUALITY + 1, dtype=torch.bool)

    costs, known = teacher_costs(run, "teacher_predictor", images, teacher)
    train_scorer(run, recipe, "scorer_predictor", networks.scorer, images, costs, known, train)


def refit(model: str | Path, recipe_path: Path, run_path: Path, data_path: Path, out: Path) -> Path:
    """Distils the scorer of trained weights anew from what their codec takes, and chooses their graphs anew.

    Whatever changes a codec's rates (further training, a changed quality table) leaves its scorer behind: it then
    promises what is no longer there. This brings it back, and touches nothing else.

    Args:
        model: name or weights file.
        recipe_path: its settings of the scorer.
        run_path: checkpoints; a stopped call goes on.
        data_path: rendered rooms.
        out: the new weights file.
    """
    codec, recipe = load(model), load_recipe(recipe_path)
    own, run = codec.feature_codec, RunFolder(run_path, recipe)
    sets = features_of(run, codec, {split: RoomsDataset(data_path, split) for split in ("train", "val")})
    own.book = fit_scorer_to_codec(run, recipe, own.networks, own.entropy, sets["train"], sets["val"], own.book)
    codec.card["refitted"] = {"date": datetime.date.today().isoformat(), "from": own.fingerprint.hex()}
    if processes.is_first():
        codec.save(out)
    return out


def retrain(
    model: str | Path, recipe_path: Path, run_path: Path, data_path: Path, out: Path, device_name: str = "cpu"
) -> Path:
    """Trains the codec of trained weights anew, on the graphs that their scorer chooses; then as :func:`refit`.

    Task networks and predictor stay where they are, so that a change of the codec or of its training takes the codec's
    share of the time.

    Args:
        model: name or weights file.
        recipe_path: settings of the codec and the scorer.
        run_path: checkpoints; a stopped call goes on.
        data_path: rendered rooms.
        out: the new weights file.
        device_name: where networks are trained.
    """
    codec, recipe, device = load(model), load_recipe(recipe_path), open_device(device_name)
    own, run = codec.feature_codec, RunFolder(run_path, recipe)
    codec.networks.to(device)
    rooms = {split: RoomsDataset(data_path, split) for split in ("train", "val")}
    sets = features_of(run, codec, rooms)
    torch.manual_seed(recipe.seed)
    networks = CodecNetworks(recipe.model, own.tensors)
    networks.predictor.load_state_dict(own.networks.predictor.state_dict())
    networks.scorer.load_state_dict(own.networks.scorer.state_dict())
    float_model = FloatEntropyModel(recipe.model, own.tensors)
    start_from_principal_components(networks, float_model, sets["train"])
    networks.to(device)
    float_model.to(device)
    bounds = torch.tensor(codec.card["loss_bounds"])
    goals = tuple(TaskLosses(codec.networks, rooms[split], bounds) for split in ("train", "val"))
    both = sets["train"], sets["val"]
    entropy, book = train_codec_and_graphs(run, recipe, networks, float_model, own.book, both, goals)
    card = dict(codec.card)
    card["retrained"] = {
        "date": datetime.date.today().isoformat(), "from": own.fingerprint.hex(),
        "stage_seconds": run.read_json("times.json", {}),
    }  # fmt: skip
    new = FeatureCodec(networks, entropy, own.mean, own.deviation, book)
    if processes.is_first():
        Codec(codec.networks.cpu(), new, card).save(out)
    return out
