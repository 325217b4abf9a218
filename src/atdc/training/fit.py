"""A codec for any features: from samples to a :class:`~atdc.codec.FeatureCodec`, one stage after the other.

::

    report ─ sensitivities ─ principal components ─ predictor ─ graphs by its scores ─ warm-up ─ codec ─ entropy model
           ─ integers ─ what chooses graphs (:mod:`atdc.training.graph_stage`)

Each stage is resumed or skipped by what the run folder holds, or has no steps.
"""

from __future__ import annotations

import dataclasses
import json
import math
import tempfile
import threading
import warnings
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from numbers import Real
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from atdc.codec import FeatureCodec
from atdc.config import MAX_QUALITY, FitRecipe, ModelConfig, load_fit_recipe
from atdc.data.dumped import DumpedFeatures
from atdc.data.feature_report import FeatureReport, TensorReport, report
from atdc.data.feature_source import FeatureSource, InMemoryFeatures
from atdc.entropy.float_model import FloatEntropyModel, dequantised_model, extended_model, quantised_model
from atdc.errors import ArgumentError, DataError, FitWarning
from atdc.graph import search
from atdc.graph.graph_tables import GraphTables
from atdc.graph.scores import ScoreTable, alone_columns, candidate_sets
from atdc.graph.task_graph import TaskGraph, graphs_of, plain_graphs
from atdc.networks.codec_networks import CodecNetworks
from atdc.networks.devices import device_of, open_device, torch_defaults
from atdc.networks.predictability import score_bits
from atdc.networks.transforms import BlockMetric, blocks_of
from atdc.tensors import FeatureSet, Grid, TensorSpec
from atdc.training import processes
from atdc.training.adding import adopt
from atdc.training.codec_stage import TrainingState, train_codec
from atdc.training.data import SourceFeatures, kinds_of
from atdc.training.fixed_graphs import best_graph
from atdc.training.graph_source import PooledGraphs
from atdc.training.graph_stage import EDGE_SHARE, copy_for, copy_of, fit_graphs
from atdc.training.loop import epochs_of
from atdc.training.measured_costs import FEW_TENSORS, completed, single_columns
from atdc.training.objectives import AnchoredObjective, Objective, SensitiveObjective
from atdc.training.predictor_stage import train_predictor
from atdc.training.principal_components import start_from_principal_components
from atdc.training.run_folder import RunFolder

Samples = str | Path | FeatureSource | Sequence[Mapping[str, Any]]
"""A folder or file of features, a source of them, or the samples themselves."""

_STATISTICS_SAMPLES = 400
"""By which the number of a tensor's latent channels is found."""
_POOL = {"best": 8, "noisy": 12, "random": 2, "independent": 2}
"""Graphs at each quality that the codec is trained on, each as often as another: mostly good ones, so that it learns
for these, and enough of others that it can be coded along any."""
_SMALL_POOL = {"best": 2, "noisy": 3, "random": 1, "independent": 1}
"""Likewise, for many tensors, whose graphs take a second each to find."""
_ONE_AT_A_TIME = threading.RLock()
"""Held by the thread that fits: stages seed torch's one generator, so that what others draw would change a codec."""
_PLAIN_SHARE = 0.1
"""Of features' squared error in a metric that an objective's sensitivities give: errors that none of a few samples is
sensitive to shall not be free."""


@dataclass(frozen=True)
class _Sets:
    train: SourceFeatures
    val: SourceFeatures
    metric: list[BlockMetric | None]


@torch_defaults()
def fit(
    dataset: Samples,
    *,
    recipe: str | Path | FitRecipe = "fit",
    objective: Objective | None = None,
    val: Samples | None = None,
    val_objective: Objective | None = None,
    grids: Mapping[str, int | Grid | None] | None = None,
    start: FeatureCodec | str | Path | None = None,
    run: str | Path | None = None,
    device: str | torch.device = "cpu",
    feature_report: FeatureReport | None = None,
    model: ModelConfig | None = None,
    progress: bool = True,
) -> FeatureCodec:
    """See :meth:`atdc.FeatureCodec.fit`; ``feature_report`` is what :func:`~atdc.data.feature_report.report` says of
    the dataset, where it was asked before, and ``model`` what the weights are to say of task networks next to the
    recipe's settings."""
    choice: Any = recipe
    if not isinstance(choice, (str, Path, FitRecipe)):
        raise ArgumentError("recipe", repr(choice), "a recipe's name, a YAML file, or a FitRecipe")
    settings = choice if isinstance(choice, FitRecipe) else load_fit_recipe(Path(choice))
    for name, value in (("objective", objective), ("val_objective", val_objective)):
        if value is not None and not (hasattr(value, "targets") and hasattr(value, "loss")):
            raise ArgumentError(name, type(value).__name__, "an object with the methods targets and loss")
    torch_device = open_device(device)
    if isinstance(start, (str, Path)):
        start = FeatureCodec.load(start)
    if start is not None and not isinstance(start, FeatureCodec):
        raise ArgumentError("start", type(start).__name__, "a FeatureCodec, or its weights")
    if start is None and not settings.trains_transforms:
        raise ArgumentError(
            "recipe", f"{settings.name}, which trains no transforms", "weights to begin with",
            "Name them, as in --from mine.safetensors, or give the recipe warmup_steps or steps.",
        )  # fmt: skip
    source = _source(dataset)
    require_names(source.names, () if start is None else start.task_names)
    feature_report = report(source, progress=progress) if feature_report is None else feature_report
    place = tempfile.TemporaryDirectory(prefix="atdc-fit-") if run is None else nullcontext(run)
    with _ONE_AT_A_TIME, processes.silent(not progress), place as folder:
        run_folder = RunFolder(Path(folder), settings)
        with run_folder.claimed():
            config = settings.model() if model is None else model
            return _fit(
                run_folder, source, settings, config, objective, val, val_objective, grids or {}, start,
                feature_report, torch_device,
            )  # fmt: skip


def require_names(names: Sequence[str], old_names: Sequence[str]) -> None:
    """Refuses names that no tensor has, and those by which nobody could ask for one on the command line; those of older
    weights remain.

    Raises:
        ArgumentError: a name that is empty, too long or not printable.
        DataError: a comma in it, or blanks at its ends.
    """
    for name in names:
        TensorSpec(name, 1)
        if name not in old_names and ("," in name or name != name.strip()):
            raise DataError(
                "features", f"a tensor of the name {name!r}", "names without commas, and without blanks at their ends",
                "Rename it where features are written: lists of names, as in --tasks a,b, have commas between them.",
            )  # fmt: skip


def _fit(
    run: RunFolder, source: FeatureSource, recipe: FitRecipe, model: ModelConfig, objective: Objective | None,
    val: Samples | None, val_objective: Objective | None, grids: Mapping[str, int | Grid | None],
    start: FeatureCodec | None, feature_report: FeatureReport, device: torch.device,
) -> FeatureCodec:  # fmt: skip
    for sentence in feature_report.warnings if processes.is_first() else ():
        warnings.warn(sentence, FitWarning, stacklevel=5)
    sensitivities, anchors = _sensitivities(objective, feature_report), _anchors(objective, feature_report)
    sets, tensors = _sets(
        source, recipe, feature_report, None if val is None else _source(val), grids, start, sensitivities
    )
    if model.rate_estimator != "factorised":
        _require_one_grid(model.rate_estimator, tensors, [*sets.train.kinds, *sets.val.kinds])
    smaller = start if start is not None and len(tensors) > start.task_count else None  # to which tensors are added
    config = model if start is None else replace(start.config, rate_estimator=model.rate_estimator)
    if smaller is None and recipe.trains_entropy:
        config = replace(config, spatial_context=model.spatial_context)
    objectives = {"objective": objective, "val_objective": val_objective}
    _require_same_features(run, feature_report, grids, start, config, objectives, sets)
    run.write_json("report.json", feature_report.to_json())
    torch.manual_seed(recipe.seed)
    if start is not None and smaller is None:
        networks, float_model = copy_for(start.networks, config), dequantised_model(start.entropy, config, tensors)
    else:
        networks, float_model = CodecNetworks(config, tensors), FloatEntropyModel(config, tensors)
        start_from_principal_components(networks, float_model, sets.train, sets.metric)
    if smaller is not None:
        adopt(networks, smaller.networks)
        adopt_entropy(float_model, smaller)
    networks.to(device)
    float_model.to(device)
    train_predictor(run, recipe, networks, sets.train, sets.val)
    pools = _pools(run, recipe, networks, sets.train)
    state = TrainingState(
        networks,
        float_model,
        PooledGraphs(pools),
        PooledGraphs(pools),
        sets.train,
        sets.val,
        metric=sets.metric,
        anchors=[anchors.get(name, 1.0) for name in tensors.names] if anchors else None,
    )
    rate = recipe.lr if objective is None or not recipe.objective_lr else recipe.objective_lr
    before = _curve(run)
    train_codec(run, recipe, "warmup", epochs_of(recipe.warmup_steps), (recipe.lr, rate), state, None, val_objective)
    if recipe.frozen_analysis and objective is not None and recipe.warmup_steps:
        for task in range(networks.task_count):
            networks.task(task).freeze_analysis()
    steps = epochs_of(recipe.steps)
    train_codec(run, recipe, "codec", steps, (rate, recipe.lr_end), state, objective, val_objective)
    steps = epochs_of(recipe.entropy_steps)
    if recipe.entropy_steps:
        networks.requires_grad_(False)
    train_codec(run, recipe, "entropy", steps, (recipe.lr, recipe.lr_end), state, None, val_objective)
    after = _curve(run)
    _warn_if_nothing_moved(before, after)
    if objective is not None and before != after:
        _warn_if_no_loss(after)
    networks.cpu()
    float_model.cpu()
    if smaller is not None:
        integers = extended_model(smaller.entropy, float_model, networks)
    elif start is not None and not recipe.trains_entropy:
        integers = start.entropy
    else:
        integers = quantised_model(float_model, networks)
    mean, std = sets.train.mean, sets.train.std
    codec = FeatureCodec(copy_of(networks), integers, mean, std, GraphTables.untrained(len(tensors)))
    fixed_graphs = None if start is None or smaller is not None else start.graph_tables.fixed
    codec.graph_tables = replace(codec.graph_tables, fixed=fixed_graphs or tuple(pool[0] for pool in pools))
    fit_graphs(run, recipe, codec, sets.train, sets.val)
    card: dict[str, Any] = {"recipe": recipe.name, "samples": len(sets.train)}
    if start is not None:
        card["start"] = start.fingerprint.hex()
    return FeatureCodec.of_bytes(codec.to_bytes(card))


def _require_same_features(
    run: RunFolder, feature_report: FeatureReport, grids: Mapping[str, int | Grid | None], start: FeatureCodec | None,
    config: ModelConfig, objectives: Mapping[str, Objective | None], sets: _Sets,
) -> None:  # fmt: skip
    """Refuses to resume with a codec of other features, whose numbers that no rounding touches tell them apart, of
    other objectives, or with other networks, as another version of the program may make of the same recipe."""
    tensors = {name: tensor.to_json() for name, tensor in feature_report.tensors.items()}
    exact = ("samples", "channels", "grids", "least", "greatest")
    record = run.read_json("features.json", {})
    settings: dict[str, Any] = {
        "samples": feature_report.samples,
        "tensors": {name: {key: row[key] for key in exact} for name, row in tensors.items()},
        "grids": {name: list(grid) if isinstance(grid, tuple) else grid for name, grid in grids.items()},
        "start": None if start is None else start.fingerprint.hex(),
        "model": json.loads(json.dumps(dataclasses.asdict(config))),
    }
    additions: dict[str, Any] = {"val": sets.val.identity()}
    additions |= {name: None if goal is None else _identity(goal) for name, goal in objectives.items()}
    # Older runs have not noted them.
    settings |= {key: value for key, value in additions.items() if not record or key in record}
    if changes := run.changes("features.json", settings):
        raise ArgumentError(
            str(run.path), f"a run with other {', '.join(changes)}",
            "the same features, validation samples, objective, grids, start and version of the program",
            "Pass another --run folder, or delete this one.",
        )  # fmt: skip


def _identity(objective: Objective) -> str:
    """What tells an objective from another: what it says itself, or its class.

    Raises:
        ArgumentError: it says something that is no text.
    """
    identity = getattr(objective, "identity", f"{type(objective).__module__}.{type(objective).__qualname__}")
    if not isinstance(identity, str):
        raise ArgumentError("objective.identity", type(identity).__name__, "a text, the same for the same objective")
    return identity


def adopt_entropy(float_model: FloatEntropyModel, start: FeatureCodec) -> None:
    """Gives a float model of more tensors what the integers of fewer say, and freezes it."""
    adopt(float_model, dequantised_model(start.entropy, start.config, start.tensors))


def _source(dataset: Samples) -> FeatureSource:
    if isinstance(dataset, (str, Path)):
        return DumpedFeatures(dataset)
    if isinstance(dataset, (list, tuple)):
        return InMemoryFeatures(dataset)
    source: Any = dataset
    if not all(hasattr(source, name) for name in ("names", "__len__", "shapes", "read")):
        raise ArgumentError("dataset", type(source).__name__, "a folder of features, a FeatureSource, or samples")
    return source


def _sets(
    source: FeatureSource, recipe: FitRecipe, feature_report: FeatureReport, val: FeatureSource | None,
    grids: Mapping[str, int | Grid | None], start: FeatureCodec | None,
    sensitivities: Mapping[str, NDArray[np.float64]],
) -> tuple[_Sets, FeatureSet]:  # fmt: skip
    """Training and validation samples, and what tensors the codec has."""
    names = list(source.names)
    if unknown_names := sorted(set(grids) - set(names)):
        raise ArgumentError("grids", repr(unknown_names[0]), f"names among {', '.join(names)}")
    for name in grids:
        if start is not None and name in start.task_names:
            raise ArgumentError("grids", f"one for {name}", "grids of new tensors: the codec knows that of this one")
    old_specs: list[TensorSpec] = []
    if start is not None:
        missing_names = [name for name in start.tensors.names if name not in names]
        if missing_names:
            raise DataError("features", f"none of {missing_names[0]}", "samples of all tensors that the codec has")
        old_specs = list(start.tensors.tensors)
        names = [*start.tensors.names, *(name for name in names if name not in start.tensors.names)]
    if len(source) < 2:
        raise DataError(
            "features", f"{len(source)} sample to fit to", "two at least, besides those that are kept for validation",
            "Add samples.",
        )  # fmt: skip
    kinds = kinds_of(source, names)
    val_rows = [] if val is not None else held_out(kinds, recipe.val_share)
    rows = sorted(set(range(len(source))) - set(val_rows))
    mean, std, specs = [], [], list(old_specs)
    metric: list[BlockMetric | None] = []
    for place, name in enumerate(names):
        tensor = feature_report.tensors[name]
        if start is not None and place < len(old_specs):
            if tensor.channels != old_specs[place].channels:
                raise DataError(f"features of {name}", f"{tensor.channels} channels", f"{old_specs[place].channels}")
            mean.append(start.mean[place].cpu())
            std.append(start.std[place].cpu())
            is_trained = len(names) == len(old_specs) and name in sensitivities
            metric.append(_metric(sensitivities[name], std[-1].double().numpy()) if is_trained else None)
            continue
        centre, spread = statistics_of(tensor)
        mean.append(torch.from_numpy(centre).float())
        std.append(torch.from_numpy(spread).float())
        grid = grids.get(name, next(iter(tensor.grids)) if len(tensor.grids) == 1 else None)
        sample = [row for row in rows if kinds[row][place] is not None][:_STATISTICS_SAMPLES]
        if not sample:
            raise DataError(f"features of {name}", "no training sample", "some that have it")
        blocks = [_blocks(source.read(row)[name], mean[-1], std[-1]) for row in sample]
        limit = recipe.latent_channels if start is None else max(spec.latent_channels for spec in old_specs)
        metric.append(_metric(sensitivities[name], spread) if name in sensitivities else None)
        values = torch.cat(blocks)
        values = values if metric[-1] is None else values @ metric[-1].root
        specs.append(TensorSpec(name, tensor.channels, grid, _latent_channels(values, recipe, limit)))
    tensors = FeatureSet(tuple(specs))
    val_kinds = [] if val is None else kinds_of(val, names)
    _require_grids(tensors, [*kinds, *val_kinds])
    if val is not None:
        _require_validation(tensors, val, val_kinds)

    def of(features: FeatureSource, indices: Sequence[int], feature_kinds: Sequence[tuple[Grid | None, ...]]) -> Any:
        samples = np.array(indices, np.int64)
        return SourceFeatures(features, tensors, mean, std, samples, [feature_kinds[index] for index in indices])

    train = of(source, rows, kinds)
    if val is None:
        return _Sets(train, of(source, val_rows, kinds), metric), tensors
    return _Sets(train, of(val, range(len(val)), val_kinds), metric), tensors


def _sensitivities(objective: Objective | None, feature_report: FeatureReport) -> dict[str, NDArray[np.float64]]:
    """What an objective says of how much errors matter, checked.

    Raises:
        ArgumentError: of a tensor that there is not, or no such matrix.
    """
    if not hasattr(objective, "sensitivities"):
        return {}
    matrices = {}
    for name, value in _by_tensor(
        "sensitivities", cast(SensitiveObjective, objective).sensitivities(), feature_report
    ).items():
        side, where = 4 * feature_report.tensors[name].channels, f"objective, sensitivities of {name}"
        try:
            matrix = np.asarray(value, np.float64)
        except (TypeError, ValueError, RuntimeError) as error:
            raise ArgumentError(where, f"{type(value).__name__} ({error})", f"a matrix ({side}, {side})") from error
        if matrix.shape != (side, side) or not np.isfinite(matrix).all():
            flaw = f"shape {matrix.shape}" if matrix.shape != (side, side) else "numbers that are not finite"
            raise ArgumentError(where, flaw, f"a matrix ({side}, {side}) of finite numbers")
        least, most = np.linalg.eigvalsh((matrix + matrix.T) / 2)[[0, -1]]
        if least < -1e-6 * max(most, 0) - 1e-12:
            raise ArgumentError(where, f"the eigenvalue {least:.3g}", "a positive semidefinite matrix")
        matrices[name] = matrix
    return matrices


def _anchors(objective: Objective | None, feature_report: FeatureReport) -> dict[str, float]:
    """How much an objective says errors of features count, checked.

    Raises:
        ArgumentError: of a tensor that there is not, or no number of 0 or more.
    """
    if not hasattr(objective, "anchors"):
        return {}
    anchors = _by_tensor("anchors", cast(AnchoredObjective, objective).anchors(), feature_report)
    for name, value in anchors.items():
        if not isinstance(value, Real) or not 0 <= float(value) < math.inf:
            raise ArgumentError(f"objective, anchors of {name}", repr(value), "a number, 0 or more")
    return {name: float(value) for name, value in anchors.items()}


def _by_tensor(kind: str, values: Any, feature_report: FeatureReport) -> Mapping[str, Any]:
    if not isinstance(values, Mapping):
        raise ArgumentError(f"objective, {kind}", type(values).__name__, "a mapping by names of tensors")
    for name in values:
        if name not in feature_report.tensors:
            raise ArgumentError(f"objective, {kind}", repr(name), f"some of {', '.join(feature_report.tensors)}")
    return values


def statistics_of(tensor: TensorReport) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard deviation of a tensor's channels, (C,), as features are normalised by; no deviation is 0."""
    return tensor.channel_mean, np.maximum(tensor.channel_std, 1e-3 * max(tensor.std, 1e-12))


def _metric(sensitivity: NDArray[np.float64], std: NDArray[np.float64]) -> BlockMetric:
    """A sensitivity of raw features as one of normalised features, with a share of their squared error."""
    scale = np.repeat(std, 4)
    return BlockMetric.of(sensitivity * np.outer(scale, scale) + _PLAIN_SHARE * np.eye(len(scale)))


def _require_grids(tensors: FeatureSet, kinds: Sequence[tuple[Grid | None, ...]]) -> None:
    """Refuses samples that the codec could not code: their grids do not follow from what is said of them."""
    for kind in kinds:
        of_stride: dict[int, tuple[Grid, str]] = {}
        for spec, grid in zip(tensors.tensors, kind, strict=True):
            if grid is None or spec.grid is None:
                continue
            expected_grid, reason = (
                (spec.grid, "that of every sample")
                if isinstance(spec.grid, tuple)
                else (
                    of_stride.setdefault(
                        spec.grid, (grid, f"that of another tensor of {spec.grid} pixels per position")
                    )
                )
            )
            if grid != expected_grid:
                size, expected_size = (f"{height} x {width}" for height, width in (grid, expected_grid))
                raise ArgumentError(
                    f"grid of {spec.name}", size, f"{expected_size}, {reason}",
                    "Leave the grid to the samples, or sort out those of another.",
                )  # fmt: skip


def _require_one_grid(estimator: str, tensors: FeatureSet, kinds: Sequence[tuple[Grid | None, ...]]) -> None:
    """Refuses tensors that an estimator of pairs cannot take side by side."""
    mixed_kind = next((kind for kind in kinds if len({grid for grid in kind if grid is not None}) > 1), None)
    is_spelled = any(spec.grid is None for spec in tensors.tensors) and len(tensors) > 1
    if mixed_kind is None and not is_spelled:
        return
    problem = "grids that every file spells out" if mixed_kind is None else "tensors of different grids"
    raise ArgumentError(
        f"rate_estimator {estimator}", problem, "all tensors on one grid",
        "Use the rate estimator factorised" + ("." if mixed_kind else ", or tell the grids."),
    )  # fmt: skip


def _require_validation(tensors: FeatureSet, val: FeatureSource, kinds: Sequence[tuple[Grid | None, ...]]) -> None:
    """Refuses validation samples that do not fit those of training."""
    if all(None in kind for kind in kinds):
        raise DataError(
            "val", "no sample that has all tensors", f"some with {', '.join(tensors.names)}",
            "Add some, or leave val out: a tenth of the dataset is kept then.",
        )  # fmt: skip
    for spec in tensors.tensors:
        for index in range(len(val)):
            channels = val.shapes(index).get(spec.name, (spec.channels,))[0]
            if channels != spec.channels:
                raise DataError(f"val, features of {spec.name}", f"{channels} channels", f"{spec.channels}")


def held_out(kinds: Sequence[tuple[Grid | None, ...]], share: float) -> list[int]:
    """The samples that are kept for validation: evenly spaced ones that have all tensors.

    Raises:
        DataError: fewer than two have all.
    """
    whole = [index for index, kind in enumerate(kinds) if None not in kind]
    if len(whole) < 2:
        raise DataError(
            "features", f"{len(whole)} samples that have all tensors", "two at least",
            "Leave a tensor out, or add samples that have all.",
        )  # fmt: skip
    count = max(1, min(500, round(share * len(whole)), len(whole) - 1))
    return [whole[int(place)] for place in np.linspace(0, len(whole) - 1, count)]


def _blocks(values: NDArray[np.float32], mean: Tensor, std: Tensor) -> Tensor:
    """2×2 blocks of a sample's normalised features, repeated at odd ends, (n, 4C)."""
    part = (torch.from_numpy(values) - mean[:, None, None]) / std[:, None, None]
    height, width = part.shape[1:]
    return blocks_of(F.pad(part[None], (0, width % 2, 0, height % 2), mode="replicate"))


def _latent_channels(blocks: Tensor, recipe: FitRecipe, limit: int) -> int:
    """As many as principal components need for the recipe's share of the energy."""
    covariance = blocks.T @ blocks / len(blocks)
    energy = torch.linalg.eigvalsh(covariance).flip(0).clamp(min=0).cumsum(0)
    count = int((energy < recipe.latent_energy * energy[-1]).sum()) + 1
    return min(count, limit, blocks.shape[1])


def _pools(run: RunFolder, recipe: FitRecipe, networks: CodecNetworks, train: SourceFeatures) -> list[list[TaskGraph]]:
    """Graphs at each quality that the codec learns on: the best by the predictor's mean scores first, good ones by
    scores with noise, some of random orders, and the graph without edges."""
    record = run.read_json("pools.json", None)
    if record is not None:
        return [list(graphs_of(pool)) for pool in record]
    count, limit = networks.task_count, networks.config.max_parents
    pairs = candidate_sets(count, limit)
    distortion = torch.from_numpy(GraphTables.untrained(count).distortion).to(device_of(networks))
    sample = train.read(train.alike(32)).to(device_of(networks))
    means = np.full((MAX_QUALITY + 1, len(pairs)), np.nan)
    columns = np.arange(len(pairs))
    if count > FEW_TENSORS:
        columns = single_columns(pairs)
    scored_pairs = [pairs[place] for place in columns.tolist()]
    means[:, columns] = score_bits(networks.predictor, sample, scored_pairs, distortion).double().mean(0).cpu().numpy()
    means = completed(means, pairs)
    rng, pools, base_columns = np.random.default_rng(recipe.seed), [], alone_columns(pairs)
    shares = _POOL if count <= FEW_TENSORS else _SMALL_POOL
    for row in means:
        graphs = [best_graph(row, count, limit, EDGE_SHARE)] * shares["best"]
        for _ in range(shares["noisy"]):
            noisy = row + (row[base_columns] - row) * rng.normal(0, 0.5, len(row))
            graphs.append(search.greedy(ScoreTable.of(count, noisy, limit), limit))
        table = ScoreTable.of(count, row, limit)
        graphs += [search.random_order(table, rng, limit) for _ in range(shares["random"])]
        pools.append([*graphs, *[TaskGraph.independent(count)] * shares["independent"]])
    run.write_json("pools.json", [plain_graphs(pool) for pool in pools])
    return pools


def _curve(run: RunFolder) -> dict[str, list[dict[str, float]]]:
    return run.read_json("curves.json", {})


def _warn_if_no_loss(after: Mapping[str, list[dict[str, float]]]) -> None:
    """Says that an objective gave no number for any sample."""
    rows = after.get("codec", [])
    if rows and not any(key.startswith("loss q") for row in rows for key in row):
        warnings.warn(
            "objective: found no loss of any sample that is a number; expected some. The error of features counted "
            "alone. Check what its targets are.",
            FitWarning, stacklevel=6,
        )  # fmt: skip


def _warn_if_nothing_moved(
    before: Mapping[str, list[dict[str, float]]], after: Mapping[str, list[dict[str, float]]]
) -> None:
    """Says that training changed neither rate nor error."""
    points = [row for name in ("warmup", "codec") for row in after.get(name, [])]
    if before == after or len(points) < 2:
        return
    first, last = points[0], points[-1]
    if all(abs(first[key] - last[key]) <= 1e-3 * abs(first[key]) for key in ("val bpe4", "val mse4") if key in first):
        warnings.warn(
            f"fitting: rate and error did not move ({json.dumps({k: first[k] for k in ('val bpe4', 'val mse4')})}); "
            "expected both to change. Check that features differ from sample to sample, or raise the recipe's lr.",
            FitWarning,
            stacklevel=6,
        )
