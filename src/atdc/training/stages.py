"""From nothing to weights, or from weights to better ones: one trainer, whose stages are resumed or skipped by what the
run folder holds.

::

    networks: images ─ task networks ─ features, their statistics
    codec:    features ─ (predictor ─ rate estimator ─ graphs) ─ warm-up ─ codec ─ integers
    graphs:   codec ─ Lagrange multipliers ─ fixed graphs ─ rate estimator ─ candidate graphs ─ weights

What a call does not train is that of the weights it starts from. The rate estimator and the graphs that a codec ends
with are fitted to its own costs: training it again from there closes the loop, as it then learns on the graphs that a
codec's costs prefer, not on those that a predictor preferred before there was any.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from atdc.codec import FeatureCodec
from atdc.config import Recipe, load_recipe, require_one_of
from atdc.data.data_sets import SIDE_PX, labelled
from atdc.data.labelled import LabelledImages, Mixed
from atdc.entropy.float_model import FloatEntropyModel, dequantised_model, quantised_model
from atdc.errors import ArgumentError
from atdc.graph import search
from atdc.graph.graph_tables import GraphTables
from atdc.networks.codec_networks import CodecNetworks
from atdc.networks.devices import device_of, open_device
from atdc.networks.predictability import score_bits
from atdc.networks.rate_estimators import PairEstimator
from atdc.networks.task_networks import TaskNetworks
from atdc.pipeline import Codec, load
from atdc.tasks import TASKS, TENSOR_NAMES
from atdc.training import processes
from atdc.training.augment import Augmented
from atdc.training.codec_stage import Objective, TrainingState, train_codec
from atdc.training.data import NormalisedFeatures
from atdc.training.devices import moved
from atdc.training.feature_cache import FeatureCache
from atdc.training.graph_source import MixedGraphs
from atdc.training.graph_stage import choose_graphs, copy_for, copy_of, estimator_costs, fit_estimator_to_codec
from atdc.training.losses import task_loss
from atdc.training.pair_estimator_stage import target_costs, train_pair_estimator
from atdc.training.predictor_stage import train_predictor
from atdc.training.principal_components import start_from_principal_components
from atdc.training.run_folder import RunFolder
from atdc.training.task_objectives import TaskLosses
from atdc.training.task_stage import load_targets, train_tasks

Pairs = tuple[search.Pair, ...]


STAGES = ("networks", "codec", "graphs")
"""What there is to train, in order."""


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
        stages: which of :data:`STAGES` are run; the others' results are those of `start`.

    Returns:
        The weights file's path.

    Raises:
        ArgumentError: a setting that is unknown, a run folder of another recipe, no such device, stages that need
            weights to start from.
    """
    recipe, device = load_recipe(recipe_path), open_device(device_name)
    for setting in recipe.codec.graph_mix:
        search.parse_setting(setting)
    for stage in stages:
        require_one_of("stages", stage, STAGES)
    origin = start or recipe.start
    model = load(origin) if origin else None
    if model is None and set(stages) != set(STAGES):
        raise ArgumentError("stages", ", ".join(stages) or "none", "all of them, or weights to start from", "--from W")
    if model is not None:
        found, wanted = model.feature_codec.config, recipe.model
        if "graphs" in stages:  # which fits the rate estimator again, of whatever kind
            wanted = replace(wanted, rate_estimator=found.rate_estimator)
        if found != wanted:
            raise ArgumentError("start", f"{origin!r}, other networks", "weights of the recipe's model")
    run = RunFolder(run_path, recipe)
    _require_same_course(run, None if model is None else model.feature_codec.fingerprint.hex(), stages)
    torch.manual_seed(recipe.seed)
    task_networks = TaskNetworks(recipe.model).channels_last()
    if model is not None:
        task_networks.load_state_dict(model.networks.state_dict())
    data = training_images(recipe, data_path, real_path)
    if "networks" in stages:
        smaller = training_images(recipe, data_path, real_path, half=True)
        train_tasks(run, recipe, task_networks.to(device), smaller, data)
        round_to_half(task_networks)
    task_networks.to(device)
    if recipe.augment:
        data = Augmented(data[0], recipe.seed), data[1]
    caches = [FeatureCache(run, split, task_networks, own) for split, own in zip(("train", "val"), data, strict=True)]
    if model is None or "networks" in stages:
        mean, std = caches[0].statistics()
    else:
        mean, std = (torch.stack(rows) for rows in (model.feature_codec.mean, model.feature_codec.std))
    sets = NormalisedFeatures(caches[0], mean, std), NormalisedFeatures(caches[1], mean, std)
    if model is None or "networks" in stages:
        bounds = loss_bounds(run, task_networks, sets[1], data[1])
    else:
        bounds = torch.tensor(model.card["loss_bounds"])
    if model is None:
        networks, float_model, graph_tables = _first_codec(run, recipe, sets, device)
    else:
        networks, float_model, graph_tables = _codec_of(model.feature_codec, recipe, sets[0], device)
    goals = tuple(TaskLosses(task_networks, images, bounds) for images in data)
    if "codec" in stages:
        train_networks(run, recipe, networks, float_model, graph_tables, sets, goals)
        entropy = quantised_model(float_model.cpu(), networks.cpu())
    else:
        assert model is not None
        entropy = model.feature_codec.entropy
    if "graphs" in stages:
        networks = _with_estimator(networks.cpu(), recipe)
        graph_tables = fit_estimator_to_codec(run, recipe, networks, entropy, *sets, graph_tables)

    card = {
        **({} if model is None else model.card),
        "recipe": recipe.name,
        "seed": recipe.seed,
        "data": f"{recipe.data}: {len(sets[0])} training and {len(sets[1])} validation images",
        "trained": datetime.date.today().isoformat(),
        "stages": list(stages),
        "stage_seconds": run.read_json("times.json", {}),
        "loss_bounds": [[round(v, 6) for v in row] for row in bounds.tolist()],
    }
    if "codec" in stages:  # else that of the weights that it starts from
        card["lambda"] = [recipe.codec.lambda_min, recipe.codec.lambda_max]
    if model is not None:
        card["start"] = f"{Path(origin).stem} {model.feature_codec.fingerprint.hex()}"
    codec = Codec(task_networks.cpu(), FeatureCodec(networks, entropy, mean, std, graph_tables), card)
    path = out or run_path / f"{recipe.name}.safetensors"
    if processes.is_first():
        codec.save(path)
        print(json.dumps(card["stage_seconds"]))
    return path


def _require_same_course(run: RunFolder, start: str | None, stages: Sequence[str]) -> None:
    """Refuses to resume what started from other weights, or runs other stages."""
    now = {"start": start, "stages": list(stages)}
    for changed, before in run.changes("course.json", now).items():
        raise ArgumentError(
            str(run.path), f"a run with other {changed} ({before})", f"{now.get(changed)}",
            "Pass another --run folder, or delete this one.",
        )  # fmt: skip


Sets = tuple[NormalisedFeatures, NormalisedFeatures]
"""Features of training and validation images."""


def _first_codec(
    run: RunFolder, recipe: Recipe, sets: Sets, device: torch.device
) -> tuple[CodecNetworks, FloatEntropyModel, GraphTables]:
    """A codec at its start, with a trained predictor and the graphs that its scores prefer."""
    pairs, tensors = search.candidate_sets(len(TASKS), recipe.model.max_parents), recipe.model.tensors(TENSOR_NAMES)
    networks, float_model = CodecNetworks(recipe.model, tensors), FloatEntropyModel(recipe.model, tensors)
    start_from_principal_components(networks, float_model, sets[0])
    networks.to(device)
    float_model.to(device)
    train_predictor(run, recipe, networks, *sets)
    graph_tables = GraphTables.untrained(len(TASKS))
    fit_estimator_to_predictor(run, recipe, networks, sets[0], graph_tables, pairs)
    return networks, float_model, choose_graphs(run, recipe, "graphs_predictor", networks, *sets, graph_tables, pairs)


def _codec_of(
    codec: FeatureCodec, recipe: Recipe, train: NormalisedFeatures, device: torch.device
) -> tuple[CodecNetworks, FloatEntropyModel, GraphTables]:
    """A trained codec to be trained further; its predictor, rate estimator and graphs alone where the recipe wants the
    rest again."""
    if not recipe.codec.anew:
        float_model = dequantised_model(codec.entropy, recipe.model, codec.tensors).to(device)
        return copy_of(codec.networks).to(device), float_model, codec.graph_tables
    networks, float_model = CodecNetworks(codec.config, codec.tensors), FloatEntropyModel(codec.config, codec.tensors)
    networks.predictor.load_state_dict(codec.networks.predictor.state_dict())
    networks.rate_estimator.load_state_dict(codec.networks.rate_estimator.state_dict())
    start_from_principal_components(networks, float_model, train)
    return networks.to(device), float_model.to(device), codec.graph_tables


def _with_estimator(networks: CodecNetworks, recipe: Recipe) -> CodecNetworks:
    """The networks; with a rate estimator at its start where the recipe wants one of another kind."""
    if networks.config == recipe.model:
        return networks
    others = copy_for(networks, recipe.model)
    before, after = networks.rate_estimator, others.rate_estimator
    if isinstance(before, PairEstimator) and isinstance(after, PairEstimator):  # what is not measured costs what it did
        after.offset.copy_(before.offset)
        after.spread.copy_(before.spread)
    return others


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
    if recipe.data == "rooms+nyuv2":
        if real is None:
            raise ArgumentError("real", "no folder", "one that holds NYUv2 frames", "pass --real FOLDER")
        drawn = training_images(replace(recipe, data="rooms"), folder, half=half)
        frames = [labelled("nyuv2", real, split, side) for split in ("train", "val")]
        return Mixed(drawn[0], frames[0], recipe.real_repeats), Mixed(drawn[1], frames[1])
    counts = {"train": recipe.train_count, "val": recipe.val_count}
    if processes.is_first():  # whatever is rendered is rendered once
        for split, count in counts.items():
            labelled(recipe.data, folder, split, side, count)
    processes.wait()
    train, val = (labelled(recipe.data, folder, split, side, count, render=False) for split, count in counts.items())
    return train, val


def features_of(run: RunFolder, codec: Codec, images: Mapping[str, LabelledImages]) -> dict[str, NormalisedFeatures]:
    """A trained model's features of some splits, cached in the run folder."""
    own = codec.feature_codec
    return {
        split: NormalisedFeatures(
            FeatureCache(run, split, codec.networks, data), torch.stack(own.mean), torch.stack(own.std)
        )
        for split, data in images.items()
    }


def subject_of(
    recipe: Recipe, networks: CodecNetworks, float_model: FloatEntropyModel, graph_tables: GraphTables,
    train: NormalisedFeatures,
    val: NormalisedFeatures,
) -> TrainingState:  # fmt: skip
    """A codec with the graphs that its rate estimator chooses in the recipe's mixture of settings.

    Validation images are coded under the mixture's most frequent setting.
    """
    mix = recipe.codec.graph_mix
    usual = {max(mix, key=lambda name: mix[name]): 1.0}
    tasks, limit = networks.task_count, recipe.model.max_parents
    return TrainingState(
        networks, float_model,
        MixedGraphs(mix, graph_tables, estimator_costs(networks, train), tasks, limit),
        MixedGraphs(usual, graph_tables, estimator_costs(networks, val), tasks, limit),
        train, val,
    )  # fmt: skip


def train_networks(
    run: RunFolder, recipe: Recipe, networks: CodecNetworks, float_model: FloatEntropyModel, graph_tables: GraphTables,
    sets: Sets, goals: tuple[Objective, ...],
) -> None:  # fmt: skip
    """Warm-up, then the codec in one go with one falling learning rate; in place, where the networks are.

    Args:
        run: checkpoints.
        recipe: settings.
        networks: the codec at its start, with the rate estimator that chooses the graphs it learns on.
        float_model: likewise.
        graph_tables: graphs to begin with.
        sets: features of training and validation images.
        goals: objectives of both.
    """
    settings, (goal, val_goal) = recipe.codec, goals
    state = subject_of(recipe, networks, float_model, graph_tables, *sets)
    train_codec(run, recipe, "warmup", settings.warmup_epochs, (settings.lr, settings.lr), state, None, val_goal)
    train_codec(run, recipe, "codec", settings.epochs, (settings.lr, settings.lr_end), state, goal, val_goal)


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


def fit_estimator_to_predictor(
    run: RunFolder,
    recipe: Recipe,
    networks: CodecNetworks,
    train: NormalisedFeatures,
    graph_tables: GraphTables,
    pairs: Pairs,
) -> None:
    """Distils the rate estimator from the predictor's rate-aware score, before there is a codec to measure."""
    images = np.random.default_rng(recipe.seed).permutation(len(train))[: recipe.scorer.teacher_images]
    device = device_of(networks)
    distortion = torch.from_numpy(graph_tables.distortion).to(device)

    def costs_of(chosen: NDArray[np.int64], block: int) -> Tensor:
        features = train.read(chosen).to(device)
        bits: Tensor = score_bits(networks.predictor, features, pairs, distortion) / features.elements[0]
        return bits.cpu()

    costs = target_costs(run, "teacher_predictor", images, costs_of)
    train_pair_estimator(run, recipe, "scorer_predictor", networks.rate_estimator, images, costs, train)
