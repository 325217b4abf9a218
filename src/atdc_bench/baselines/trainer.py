"""Where the learned feature codecs of a comparison are made: the same frozen task networks, features, objective and
steps for all of them."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from atdc.codec import FeatureCodec
from atdc.config import MAX_QUALITY, FitRecipe, ModelConfig, Quality, Recipe
from atdc.data.labelled import LabelledImages
from atdc.entropy.float_model import FloatEntropyModel, dequantised_model, quantised_model
from atdc.errors import ArgumentError
from atdc.graph.graph_tables import GraphTables
from atdc.graph.task_graph import TaskGraph
from atdc.networks.codec_networks import CodecNetworks
from atdc.pipeline import Codec
from atdc.tasks import TASKS
from atdc.training.codec_stage import TrainingState, train_codec
from atdc.training.graph_source import GraphSource
from atdc.training.objectives import Objective
from atdc.training.principal_components import start_from_principal_components
from atdc.training.run_folder import RunFolder
from atdc.training.task_objectives import TaskLosses
from atdc_bench.baselines.grouping import Grouping
from atdc_bench.baselines.mixed_graphs import MixedGraphs, estimator_costs
from atdc_bench.baselines.some_tasks import FeaturesOf, ObjectiveOf
from atdc_bench.baselines.stacked_features import GroupedObjective, StackedFeatures, features_of
from atdc_bench.baselines.system import FeatureSystem
from atdc_bench.compare_recipe import Budget


def wider(base: ModelConfig, factor: float) -> dict[str, int]:
    """Widths of a codec that takes several tasks as one, of about the cost of one for each.

    Latent and transforms grow by the factor, what decides probabilities by its square root.
    """
    root = factor**0.5
    return {
        "latent_channels": round(factor * base.latent_channels),
        "codec_width": 8 * round(0.7 * factor * base.codec_width / 8),
        "hyper_channels": round(root * base.hyper_channels),
        "hyper_width": round(root * base.hyper_width),
        "predictor_width": 1,
    }


ChooseGraphs = Callable[[FeatureCodec, Tensor, Quality], Sequence[TaskGraph]]
"""A codec, raw features (B, T, C, h, w) and a quality, or one of each task, to one graph per image."""


class CodedFeatures(FeatureSystem):
    """A trained :class:`~atdc.codec.FeatureCodec` as a row.

    Args:
        name: its key.
        title: what tables call it.
        codec: codes packed features.
        grouping: how it packs tasks.
        choose: its graphs.
        points: qualities.
        settings: what identifies it.
        quality: what is coded at a point.
    """

    def __init__(
        self, name: str, title: str, codec: FeatureCodec, grouping: Grouping, choose: ChooseGraphs,
        points: tuple[float, ...], settings: Mapping[str, Any], quality: Callable[[float], Quality],
    ) -> None:  # fmt: skip
        self.name, self.title, self.points = name, title, points
        self.codec, self.grouping = codec, grouping
        self._choose, self._settings, self._quality = choose, dict(settings), quality

    def describe(self) -> Mapping[str, Any]:
        """Architecture and graphs."""
        return self._settings

    def encode(self, features: Tensor, point: float) -> list[bytes]:
        """Raw features (B, T, C, h, w) to one file per image."""
        packed, quality = self.grouping.pack(features), self._quality(point)
        graphs = self._choose(self.codec, packed, quality)
        return self.codec.encode_batch(packed, quality, graphs, restore_all=False).data

    def decode(self, data: Sequence[bytes]) -> Tensor:
        """Raw features (B, T, C, h, w)."""
        return self.grouping.unpack(self.codec.decode_batch(data))

    def prefix_bytes(self, features: Tensor, point: float, tasks: Sequence[int]) -> int:
        """Bytes that a receiver reads who wants only some tasks of one image: header, their segments, and ancestors'.

        Args:
            features: raw, (1, T, C, h, w).
            point: quality.
            tasks: wanted.
        """
        packed, quality = self.grouping.pack(features), self._quality(point)
        graphs = self._choose(self.codec, packed, quality)
        data = self.codec.encode_batch(packed, quality, graphs, profile="segments", restore_all=False).data[0]
        return self.codec.integers.read(data, sorted({self.grouping.of_task(task) for task in tasks})).bytes_read


@dataclass(frozen=True)
class Row:
    """How one learned feature codec differs from the others.

    Attributes:
        name: its key.
        title: what tables call it.
        choose: its graphs when it codes.
        graphs: its graphs in training, from the trainer and a split.
        model: settings that differ from the base's, given those.
        grouping: tasks it takes as one.
        objective: what it is trained for, from the trainer and a split; the tasks' losses by default.
        from_base: whether it starts from the base's codec, trained on all kinds of graphs, or from nothing.
        seed: of its training.
        trained_as: name of the row whose training it shares; its own by default.
        balanced: whether tasks have qualities of their own (:mod:`atdc.balance`), or one for all.
        tasks: that it is trained for; a codec that starts from the base's never sees the others' features, any other
            does not even have them.
        levels: integer qualities trained at.
        subsets: whether it is trained for random subsets of the tensors, as often as the recipe says, and not for its
            tasks always.
    """

    name: str
    title: str
    choose: ChooseGraphs
    graphs: Callable[[BaselineTrainer, str], GraphSource]
    model: Callable[[ModelConfig], Mapping[str, Any]] = lambda base: {}
    grouping: Grouping = field(default_factory=lambda: Grouping.alone(len(TASKS)))
    objective: Callable[[BaselineTrainer, str], Objective] | None = None
    from_base: bool = True
    seed: int = 0
    trained_as: str | None = None
    balanced: bool = False
    tasks: tuple[int, ...] = tuple(range(len(TASKS)))
    levels: tuple[int, ...] = tuple(range(MAX_QUALITY + 1))
    subsets: bool = False

    @property
    def known_tasks(self) -> list[int]:
        """Tasks whose features its codec has."""
        return list(range(len(TASKS)) if self.from_base else self.tasks)


class BaselineTrainer:
    """Makes rows from a trained base model.

    Args:
        base: task networks and the any-graph codec.
        recipe: settings by which rows are trained.
        budget: steps.
        run: checkpoints and cached features.
        open_images: opens training and validation images, ``train`` and ``val``, once something is trained.
        points: qualities at which rows are measured.
    """

    def __init__(
        self, base: Codec, recipe: Recipe, budget: Budget, run: Path,
        open_images: Callable[[], Mapping[str, LabelledImages]], points: tuple[float, ...],
    ) -> None:  # fmt: skip
        self.base, self.recipe, self.budget, self.points = base, recipe, budget, points
        self.run, self._open_images = run, open_images

    @cached_property
    def images(self) -> Mapping[str, LabelledImages]:
        """Training and validation images."""
        return self._open_images()

    @cached_property
    def features(self) -> dict[str, StackedFeatures]:
        """Features of both, every task by itself."""
        return features_of(RunFolder(self.run, self.recipe), self.base, self.images)

    @cached_property
    def costs(self) -> dict[str, np.ndarray[Any, np.dtype[np.float32]]]:
        """The base rate estimator's costs of both, (N, 8, P)."""
        return {
            split: estimator_costs(self.base.feature_codec.networks, features)
            for split, features in self.features.items()
        }

    @property
    def graph_tables(self) -> GraphTables:
        """The base's graphs."""
        return self.base.feature_codec.graph_tables

    def mixed(self, split: str, mix: Mapping[str, float]) -> GraphSource:
        """Graphs that the base's rate estimator chooses."""
        limit = self.base.feature_codec.config.max_parents
        return MixedGraphs(mix, self.graph_tables, self.costs[split], len(TASKS), limit)

    @cached_property
    def networks_key(self) -> str:
        """Names the base's task networks, whatever its codec is."""
        digest = hashlib.sha256()
        for name, value in sorted(self.base.networks.state_dict().items()):
            digest.update(name.encode() + value.numpy().tobytes())
        return digest.hexdigest()[:16]

    def task_losses(self, split: str) -> Objective:
        """The tasks' losses on a split."""
        return TaskLosses(self.base.networks, self.images[split], torch.tensor(self.base.card["loss_bounds"]))

    def make(self, row: Row, trained: bool = True) -> tuple[CodedFeatures, dict[str, Any] | None]:
        """The row's system, trained as far as it is not yet, and how: steps, seconds, validation curve; None for the
        base's codec as it is.

        Args:
            row: which.
            trained: False only builds it around whatever checkpoint there is, for a process that measures.
        """
        base = self.base.feature_codec
        if row.from_base and not self.budget.further:
            return self._system(row, base, {}), None
        channels = base.config.feature_channels * row.grouping.largest
        changes = row.model(base.config)
        config = dataclasses.replace(base.config, feature_channels=channels, **changes)
        recipe = dataclasses.replace(self.recipe.codec, seed=row.seed)
        folder = row.trained_as or row.name
        if row.from_base:  # another base is another start
            folder = f"{folder}-{base.fingerprint.hex()}"
        run = RunFolder(self.run / "rows" / folder, recipe)
        self._require_same_training(run, row, config)
        networks, float_model = self._start(row, config)
        if trained:
            sets = {split: self._features_for(row, split) for split in ("train", "val")}
            sources = {split: row.graphs(self, split) for split in sets}
            subset = row.tasks if row.from_base else tuple(range(networks.task_count))
            state = TrainingState(
                networks, float_model, sources["train"], sources["val"], sets["train"], sets["val"],
                subset=None if row.subsets else subset, levels=row.levels,
            )  # fmt: skip
            self._train(run, recipe, row, state)
        last = run.load("further")
        assert last is not None, "a row is trained before it is measured"
        for part, module in (("networks", networks), ("entropy", float_model)):
            prefix = f"{part}."
            weights = {key.removeprefix(prefix): v for key, v in last["module"].items() if key.startswith(prefix)}
            module.load_state_dict(weights)
        mean, std = row.grouping.pack_statistics(
            torch.stack(base.mean)[row.known_tasks], torch.stack(base.std)[row.known_tasks]
        )
        groups = len(row.grouping.groups)
        graph_tables = self.graph_tables if groups == base.task_count else GraphTables.untrained(groups)
        codec = FeatureCodec(
            networks, quantised_model(float_model, networks), mean, std, graph_tables, base.fingerprint
        )
        settings = {"groups": [list(group) for group in row.grouping.groups], "seed": row.seed, **changes}
        return self._system(row, codec, settings), self._history(run, row)

    def _require_same_training(self, run: RunFolder, row: Row, config: ModelConfig) -> None:
        """Refuses to take up a training of other steps, tasks, qualities or networks."""
        settings = {**dataclasses.asdict(self.budget), "tasks": list(row.tasks), "levels": list(row.levels)}
        settings["model"] = json.loads(json.dumps(dataclasses.asdict(config)))
        for key, before in run.changes("row.json", settings).items():
            raise ArgumentError(
                str(run.path), f"a training with {key} {before}", f"{settings.get(key)}",
                "Pass another --run folder, or delete this one.",
            )  # fmt: skip

    def _system(self, row: Row, codec: FeatureCodec, settings: Mapping[str, Any]) -> CodedFeatures:
        quality = self._balanced if row.balanced else float
        return CodedFeatures(row.name, row.title, codec, row.grouping, row.choose, self.points, settings, quality)

    def _balanced(self, point: float) -> list[float]:
        return list(self.base.balanced(point).values())

    def _start(self, row: Row, config: ModelConfig) -> tuple[CodecNetworks, FloatEntropyModel]:
        base = self.base.feature_codec
        torch.manual_seed(row.seed)
        groups = len(row.grouping.groups)
        alone = groups == base.task_count
        tensors = base.tensors if alone else config.tensors(f"group {place}" for place in range(groups))
        networks = CodecNetworks(config, tensors)
        if row.from_base:
            networks.load_state_dict(base.networks.state_dict())
            return networks.requires_grad_(True), dequantised_model(base.entropy, config, tensors)
        float_model = FloatEntropyModel(config, tensors)
        if config.predicts:
            networks.predictor.load_state_dict(base.networks.predictor.state_dict())
            networks.rate_estimator.load_state_dict(base.networks.rate_estimator.state_dict())
        start_from_principal_components(networks, float_model, self._features_for(row, "train"))
        return networks, float_model

    def _features_for(self, row: Row, split: str) -> StackedFeatures:
        """What a row's codec is trained on."""
        features, tasks = self.features[split], row.known_tasks
        return StackedFeatures(
            FeaturesOf(features.cache, tasks), features.mean[tasks], features.std[tasks], row.grouping
        )

    def _train(self, run: RunFolder, recipe: FitRecipe, row: Row, state: TrainingState) -> None:
        budget, rate, end, steps = self.budget, recipe.lr, recipe.lr_end, self.budget.per_epoch
        goal, val_goal = (
            GroupedObjective(
                ObjectiveOf((row.objective or BaselineTrainer.task_losses)(self, split), row.known_tasks),
                row.grouping,
                per_step,
            )
            for split, per_step in (("train", recipe.tasks_per_step), ("val", len(TASKS) ** 2))
        )
        if not row.from_base:
            train_codec(run, recipe, "warmup", (budget.warmup // steps, steps), (rate, rate), state, None, val_goal)
            train_codec(run, recipe, "codec", (budget.codec // steps, steps), (rate, end), state, goal, val_goal)
        train_codec(run, recipe, "further", (budget.further // steps, steps), (budget.lr, end), state, goal, val_goal)

    def _history(self, run: RunFolder, row: Row) -> dict[str, Any]:
        budget, curves = self.budget, run.read_json("curves.json", {})
        curve = [
            {key.removeprefix("val "): value for key, value in point.items() if key.startswith("val objective")}
            for stage in ("codec", "further")
            for point in curves.get(stage, [])
        ]
        return {
            "start": "any-graph codec" if row.from_base else "principal components",
            "steps": budget.warmup + budget.codec + budget.further,
            "steps_run": budget.further if row.from_base else budget.warmup + budget.codec + budget.further,
            "batch": self.recipe.codec.batch,
            "seconds": round(sum(run.read_json("times.json", {}).values()), 1),
            "curve": curve,
            "improvement_percent_per_epoch": improvement(curve, 250 / budget.per_epoch),
        }


def improvement(curve: Sequence[Mapping[str, float]], points_per_epoch: float) -> float | None:
    """By how many percent an epoch the validation objective still fell at the end, the mean over qualities; None for a
    curve of one point.

    >>> improvement([{"objective0": 2.0}, {"objective0": 1.98}], 2.0)
    2.0
    """
    if len(curve) < 2:
        return None
    before, after = curve[-2], curve[-1]
    falls = [(before[key] - after[key]) / abs(before[key]) for key in after]  # objectives may be below 0
    return round(100 * float(np.mean(falls)) * points_per_epoch, 3)
