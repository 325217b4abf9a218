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
from tqdm import tqdm

from atdc.codec import FeatureCodec
from atdc.config import MAX_QUALITY, Recipe, load_recipe
from atdc.data.nyuv2 import NyuV2Dataset
from atdc.data.rooms import RoomsDataset, materialise
from atdc.data.targets import LabelledImages, Mixed, Some
from atdc.data.taskonomy import TaskonomyImages
from atdc.entropy.model import EntropyModel
from atdc.entropy.twin import EntropyTwin, integers_of, twin_of
from atdc.errors import ArgumentError
from atdc.graph import search
from atdc.graph.graph_book import GraphBook, graphs_of, plain_graphs
from atdc.graph.task_graph import TaskGraph
from atdc.networks.codec_networks import CodecNetworks
from atdc.networks.devices import device_of, open_device
from atdc.networks.predictability import score_bits
from atdc.networks.task_networks import TaskNetworks
from atdc.pipeline import Codec, load
from atdc.tasks import TASK_NAMES, TASKS
from atdc.training import processes
from atdc.training.augment import Augmented
from atdc.training.codec_stage import Objective, Subject, TaskLosses, train_codec
from atdc.training.data import NormalisedFeatures
from atdc.training.devices import moved
from atdc.training.feature_cache import FeatureCache
from atdc.training.fixed_graphs import settled
from atdc.training.graph_source import MixedGraphs
from atdc.training.losses import task_loss
from atdc.training.predictor_stage import train_predictor
from atdc.training.run_folder import RunFolder
from atdc.training.scorer_stage import BLOCK, teacher_costs, train_scorer
from atdc.training.task_stage import load_targets, train_tasks

Pairs = tuple[search.Pair, ...]

_TEACHER_LEVELS = (5, 5, 4, 3, 2, 2, 2, 2)
"""How often the scorer's teacher measures each quality: parent sets differ most where bytes are few."""
_SETTLED_IMAGES = 60
"""Validation images by which fixed graphs are chosen, the first; and surcharges measured, the last."""
_SIDE_PX = 256
"""Of pictures that are not rendered but read."""
_LISTED_GRAPHS = 1000
"""So many graphs are kept with the weights, for files to name them by number."""


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
        pairs, tensors = search.candidate_sets(len(TASKS), recipe.model.max_parents), recipe.model.tensors(TASK_NAMES)
        networks, twin = CodecNetworks(recipe.model, tensors), EntropyTwin(recipe.model, tensors)
        start_from_principal_components(networks, twin, train_set)
        networks.to(device)
        twin.to(device)
        train_predictor(run, recipe, networks, train_set, val_set)
        book = GraphBook.untrained(len(TASKS))
        fit_scorer_to_predictor(run, recipe, networks, train_set, book, pairs)
        book = choose_graphs(run, recipe, "graphs_predictor", networks, train_set, val_set, book, pairs)
    else:
        own = start.feature_codec
        networks, book = copy_of(own.networks).to(device), own.book
        twin = twin_of(own.entropy, recipe.model, own.tensors).to(device)

    goals = tuple(TaskLosses(task_networks, images, bounds) for images in (train_data, val_data))
    entropy, book = train_codec_and_graphs(run, recipe, networks, twin, book, (train_set, val_set), goals)

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


def start_from_principal_components(networks: CodecNetworks, twin: EntropyTwin, train: NormalisedFeatures) -> None:
    """Starts every task's transforms, and what is expected of its latent, from a sample of training features."""
    sample = train.read(np.arange(min(400, len(train))))
    for task in range(networks.task_count):
        twin.task(task).start_from_deviation(networks.task(task).start_from_principal_components(sample.parts[task]))


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
    recipe: Recipe, networks: CodecNetworks, twin: EntropyTwin, book: GraphBook, train: NormalisedFeatures,
    val: NormalisedFeatures,
) -> Subject:  # fmt: skip
    """A codec with the graphs that its scorer chooses in the recipe's mixture of settings.

    Validation images are coded under the mixture's most frequent setting.
    """
    mix = recipe.codec.graph_mix
    usual = {max(mix, key=lambda name: mix[name]): 1.0}
    tasks, limit = networks.task_count, recipe.model.max_parents
    return Subject(
        networks, twin,
        MixedGraphs(mix, book, scorer_costs(networks, train), tasks, limit),
        MixedGraphs(usual, book, scorer_costs(networks, val), tasks, limit),
        train, val,
    )  # fmt: skip


def train_codec_and_graphs(
    run: RunFolder, recipe: Recipe, networks: CodecNetworks, twin: EntropyTwin, book: GraphBook,
    sets: tuple[NormalisedFeatures, NormalisedFeatures], goals: tuple[Objective, ...],
) -> tuple[EntropyModel, GraphBook]:  # fmt: skip
    """Warm-up, the codec in one go with one falling learning rate, and, on the CPU, its scorer and graphs.

    Args:
        run: checkpoints.
        recipe: settings.
        networks: the codec at its start, with the scorer that chooses the graphs it learns on; trained in place, where
            it is, and left on the CPU.
        twin: likewise.
        book: graphs to begin with.
        sets: features of training and validation images.
        goals: objectives of both.
    """
    settings, (goal, val_goal) = recipe.codec, goals
    subject = subject_of(recipe, networks, twin, book, *sets)
    train_codec(run, recipe, "warmup", settings.warmup_epochs, (settings.lr, settings.lr), subject, None, val_goal)
    train_codec(run, recipe, "codec", settings.epochs, (settings.lr, settings.lr_end), subject, goal, val_goal)
    networks.cpu()
    twin.cpu()
    entropy = integers_of(twin, networks)
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


@torch.no_grad()
def scorer_costs(networks: CodecNetworks, train: NormalisedFeatures) -> NDArray[np.float32]:
    """The scorer's costs of all training images, bits per feature element, (N, 8, P)."""
    device = device_of(networks)
    return np.concatenate(
        [
            networks.scorer(train.read(np.arange(start, min(start + 200, len(train)))).to(device)).cpu().numpy()
            for start in range(0, len(train), 200)
        ]
    )


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


def fit_scorer_to_codec(
    run: RunFolder, recipe: Recipe, networks: CodecNetworks, entropy: EntropyModel, train: NormalisedFeatures,
    val: NormalisedFeatures, book: GraphBook,
) -> GraphBook:  # fmt: skip
    """Measures distortions and exchange rates, distils the scorer from the codec's own costs, chooses graphs anew.

    The costs of each of the recipe's training images are measured at one quality.
    """
    frozen = copy_of(networks)
    codec = FeatureCodec(frozen, entropy, train.mean, train.deviation, book)
    codec.book = measured_rates(run, codec, val)
    settle_fixed_graphs(run, codec, val)
    count, rng = recipe.scorer.final_images, np.random.default_rng(recipe.seed + 7)
    images = rng.permutation(len(train))[:count]
    share = np.array(_TEACHER_LEVELS) / sum(_TEACHER_LEVELS)
    levels = rng.choice(MAX_QUALITY + 1, size=-(-count // BLOCK), p=share)

    def teacher(chosen: NDArray[np.int64], block: int) -> tuple[Tensor, Tensor]:
        features, level = train.cache.read(chosen), int(levels[block])
        costs = torch.zeros(len(chosen), MAX_QUALITY + 1, len(codec.pairs))
        costs[:, level] = torch.from_numpy(codec.measured_costs(features, level) / features[0, 0].numel())
        known = torch.zeros(len(chosen), MAX_QUALITY + 1, dtype=torch.bool)
        known[:, level] = True
        return costs, known

    costs, known = teacher_costs(run, "teacher_codec", images, teacher)
    train_scorer(run, recipe, "scorer_codec", networks.scorer, images, costs, known, train)
    codec.book = choose_graphs(
        run, recipe, "graphs_codec", networks, train, val, codec.book, codec.pairs, codec.book.fixed
    )
    frozen.scorer.load_state_dict(networks.scorer.state_dict())
    return replace(codec.book, surcharge=measured_surcharge(run, codec, val))


def measured_surcharge(run: RunFolder, codec: FeatureCodec, val: NormalisedFeatures) -> NDArray[np.float64]:
    """What coding along each graph of the codebook takes beyond its pairs' scores, the mean over some validation images
    at each quality, bits per feature element, (8, M)."""
    known = run.read_json("surcharge.json", None)
    if known is None:
        features = val.cache.read(np.arange(len(val))[-_SETTLED_IMAGES:])
        normalised, graphs = codec.normalise(features), codec.book.codebook
        known = np.zeros((MAX_QUALITY + 1, len(graphs)))
        with tqdm(total=known.size, desc="surcharge") as bar:
            for quality, row in enumerate(known):
                scores = search.graph_costs(codec.cost_table(features, quality), graphs).mean(1)
                for place, graph in enumerate(graphs):
                    real = codec.total_costs(normalised, quality, [graph] * len(features)).mean()
                    row[place] = (real - scores[place]) / features[0, 0].numel()
                    bar.update()
        known = known.tolist()
        run.write_json("surcharge.json", known)
    return np.array(known)


def settle_fixed_graphs(run: RunFolder, codec: FeatureCodec, val: NormalisedFeatures) -> None:
    """Gives the codec's book the best single graph of each quality, by real costs on some validation images."""
    known = run.read_json("fixed_graphs.json", None)
    if known is None:
        features = val.cache.read(np.arange(min(_SETTLED_IMAGES, len(val))))
        for quality in tqdm(range(MAX_QUALITY + 1), desc="fixed graphs"):
            settled(codec, features, quality)
        known = plain_graphs(codec.book.fixed)
        run.write_json("fixed_graphs.json", known)
    codec.book = replace(codec.book, fixed=graphs_of(known))


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
    twin = EntropyTwin(recipe.model, own.tensors)
    start_from_principal_components(networks, twin, sets["train"])
    networks.to(device)
    twin.to(device)
    bounds = torch.tensor(codec.card["loss_bounds"])
    goals = tuple(TaskLosses(codec.networks, rooms[split], bounds) for split in ("train", "val"))
    both = sets["train"], sets["val"]
    entropy, book = train_codec_and_graphs(run, recipe, networks, twin, own.book, both, goals)
    card = dict(codec.card)
    card["retrained"] = {
        "date": datetime.date.today().isoformat(), "from": own.fingerprint.hex(),
        "stage_seconds": run.read_json("times.json", {}),
    }  # fmt: skip
    new = FeatureCodec(networks, entropy, own.mean, own.deviation, book)
    if processes.is_first():
        Codec(codec.networks.cpu(), new, card).save(out)
    return out


def copy_of(networks: CodecNetworks) -> CodecNetworks:
    """A copy for coding (the codec switches its networks to evaluation)."""
    copy = CodecNetworks(networks.config, networks.tensors)
    copy.load_state_dict(networks.state_dict())
    return copy


def measured_rates(run: RunFolder, codec: FeatureCodec, val: NormalisedFeatures) -> GraphBook:
    """The book with D and ``w = −dR/dD`` measured on validation images along the fixed graphs.

    Slopes between neighbouring qualities are noisy: each quality has a graph of its own, and a task's error follows its
    parents', too. Training weighs errors by ``Λ(q)``, which is geometric in q, and so is ``w`` taken to be.
    """
    book = codec.book
    state = run.load("rates")
    if state is None:
        features = val.cache.read(np.arange(min(100, len(val))))
        rows = []
        for level in range(MAX_QUALITY + 1):
            encoded = codec.encode_batch(features, level, "fixed")
            deviation = torch.stack(codec.deviation)[:, :, None, None]
            error = ((encoded.stacked - features) / deviation).square().sum((2, 3, 4))
            rows.append(torch.stack([torch.from_numpy(encoded.ideal_bits).mean(0), error.double().mean(0)]))
        state = {"rates": torch.stack(rows), "elements": features[0, 0].numel()}
        run.save("rates", state)
    bits, errors = state["rates"][:, 0].numpy(), state["rates"][:, 1].numpy()
    return replace(book, distortion=errors / state["elements"], bits_per_error=exchange_rates(bits, errors))


def exchange_rates(bits: NDArray[np.float64], errors: NDArray[np.float64]) -> NDArray[np.float64]:
    """``w = −dR/dD`` at each whole quality, geometric in the quality.

    A least-squares line through the logarithms of the slopes between neighbouring qualities, without those of the wrong
    sign.

    Args:
        bits: of each quality and task, (Q, T).
        errors: likewise; falling where bits rise.

    >>> errors = 2.0 ** -np.arange(4)[:, None]
    >>> exchange_rates(-np.log2(errors), errors).round(2).ravel().tolist()
    [1.41, 2.83, 5.66, 11.31]
    """
    slopes = -np.diff(bits, axis=0) / np.minimum(np.diff(errors, axis=0), -1e-9)
    places, levels = np.arange(len(slopes)) + 0.5, np.arange(len(bits))
    rates = np.zeros_like(bits)
    for task, own in enumerate(slopes.T):
        usable = (own > 0) & (np.diff(errors[:, task]) < 0)
        if usable.sum() > 1:
            growth, start = np.polyfit(places[usable], np.log(own[usable]), 1)
            rates[:, task] = np.exp(start + growth * levels)
    return rates


@torch.no_grad()
def choose_graphs(
    run: RunFolder, recipe: Recipe, name: str, networks: CodecNetworks, train: NormalisedFeatures,
    val: NormalisedFeatures, book: GraphBook, pairs: Pairs, fixed: tuple[TaskGraph, ...] | None = None,
) -> GraphBook:  # fmt: skip
    """Codebook on training images by the scorer, which starts from the fixed graphs; chains by the predictor on
    validation images. Fixed graphs, if they are not given, by the scorer on validation images."""
    known = run.read_json(f"{name}.json", None)
    if known is not None:
        return GraphBook.from_json(known)
    tasks, limit = len(TASKS), recipe.model.max_parents
    device = device_of(networks)
    val_features = val.read(np.arange(len(val))).to(device)
    val_costs = networks.scorer(val_features).double().cpu().numpy()
    fixed = fixed or tuple(
        search.fixed(search.ScoreTable.of(tasks, val_costs[:, level].mean(0), limit), limit)
        for level in range(MAX_QUALITY + 1)
    )
    exact = [search.exact_batch(val_costs[:, level], tasks, limit) for level in range(MAX_QUALITY + 1)]
    mode = tuple(search.fixed_mode(graphs) for graphs in exact)
    train_costs = scorer_costs(networks, train).astype(np.float64)
    # One codebook for every quality: rows are (image, quality), each at a quality of its own, scaled to equal weight.
    levels = np.arange(len(train_costs)) % (MAX_QUALITY + 1)
    rows = train_costs[np.arange(len(train_costs)), levels]
    rows = rows / train_costs[:, :, [pairs.index((c, ())) for c in range(tasks)]].sum(2).mean(0)[levels][:, None]
    candidates = search.most_frequent(search.exact_batch(rows, tasks, limit), _LISTED_GRAPHS)
    codebook = search.build_codebook(rows[:4000], recipe.codec.codebook_size, tuple(dict.fromkeys(fixed)), candidates)
    every = search.candidate_sets(tasks, None)
    distortion = torch.from_numpy(book.distortion).to(device)
    means = (
        score_bits(networks.predictor, val_features.select(slice(60)), every, distortion).double().mean(0).cpu().numpy()
    )
    chain = tuple(search.chain(search.ScoreTable.of(tasks, row)) for row in means)
    usual = (*codebook, *fixed, *mode, *chain, TaskGraph.independent(tasks), *candidates)
    listed = tuple(dict.fromkeys(usual))[:_LISTED_GRAPHS]
    nothing = np.zeros((MAX_QUALITY + 1, len(codebook)))
    chosen = GraphBook(fixed, mode, chain, codebook, listed, book.distortion, book.bits_per_error, nothing)
    run.write_json(f"{name}.json", chosen.to_json())
    return chosen
