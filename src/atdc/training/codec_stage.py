"""The codec's training: warm-up on features, then rate against an objective of the tasks, over many graphs and all
qualities."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from atdc.choice.costs import squared_errors
from atdc.coding.latent_coders import TrainingLatentCoder
from atdc.coding.traversal import code_along_graph
from atdc.config import MAX_QUALITY, FitRecipe
from atdc.entropy.float_model import FloatEntropyModel
from atdc.graph.task_graph import TaskGraph
from atdc.networks.batches import FeatureBatch
from atdc.networks.codec_networks import CodecNetworks
from atdc.networks.devices import device_of
from atdc.networks.transforms import BlockMetric
from atdc.tensors import LATENT_STRIDE, Grid, latent_grid
from atdc.training.data import TrainingFeatures
from atdc.training.devices import mixed_precision, moved
from atdc.training.graph_source import GraphSource, random_subset
from atdc.training.loop import Draw, train_stage
from atdc.training.objectives import Objective, losses_of
from atdc.training.run_folder import RunFolder

PROXY_WEIGHT = 0.02
"""Weight of ``L_proxy`` on decoded parents, so that the predictor stays a predictor while the codec trains it."""
_VALIDATION_LEVELS = (0, 2, 4, 7)


def task_weight(quality: Tensor, recipe: FitRecipe) -> Tensor:
    """``Λ(q)``, bits per feature element for a whole normalised task loss: geometric from q = 0 to q = 7."""
    low, high = math.log(recipe.lambda_min), math.log(recipe.lambda_max)
    return torch.exp(low + (high - low) * quality / MAX_QUALITY)


@dataclass(frozen=True, slots=True)
class CodecBatch:
    """What features are seen in, which of them are coded, the base quality and each group's own, graphs, and the tasks
    whose loss is taken."""

    loaded: Any
    subset: tuple[int, ...]
    level: int
    quality: Tensor
    graphs: list[TaskGraph]
    tasks: list[int]
    targets: Mapping[str, Tensor]


@dataclass(frozen=True)
class TrainingState:
    """What a codec stage trains, and on what.

    Attributes:
        networks: predictor and transforms; the rate estimator stays as it is.
        float_model: entropy parameters in floating point.
        graphs: of the training images.
        val_graphs: of the validation images.
        train: features of the training images.
        val: features of the validation images.
        encoders: that learn too, where features are live.
        metric: by which features' errors count, of each tensor; squared errors by default.
        anchors: how much those count next to an objective's losses, of each tensor; alike by default.
        subset: the tensors that are coded, always; as the recipe's ``subset_share`` draws them by default.
        levels: integer qualities trained at, each as often as another.
    """

    networks: CodecNetworks
    float_model: FloatEntropyModel
    graphs: GraphSource
    val_graphs: GraphSource
    train: TrainingFeatures
    val: TrainingFeatures
    encoders: nn.Module | None = None
    metric: Sequence[BlockMetric | None] | None = None
    anchors: Sequence[float] | None = None
    subset: tuple[int, ...] | None = None
    levels: tuple[int, ...] = tuple(range(MAX_QUALITY + 1))


def _errors(
    metric: Sequence[BlockMetric | None] | None, decoded: Sequence[Tensor], features: Sequence[Tensor],
    grids: Sequence[Grid],
) -> Tensor:  # fmt: skip
    """Of each image and tensor without its padding, up to the rest of a block where a metric counts, (B, T)."""
    if metric is None:
        return squared_errors(decoded, features, grids)
    columns = []
    for tensor_metric, reconstruction, target, grid in zip(metric, decoded, features, grids, strict=True):
        if tensor_metric is None:
            columns.append(squared_errors([reconstruction], [target], [grid])[:, 0])
        else:
            rows, width = (LATENT_STRIDE * side for side in latent_grid(grid))
            columns.append(tensor_metric.errors((reconstruction - target)[..., :rows, :width]))
    return torch.stack(columns, 1)


def validation_count(samples: int) -> int:
    """Of how many images validation measures, after training on so many: it costs about a tenth of that at most.

    >>> validation_count(200), validation_count(3000)
    (12, 40)
    """
    return max(8, min(40, samples // (4 * len(_VALIDATION_LEVELS))))


def train_codec(
    run: RunFolder,
    recipe: FitRecipe,
    name: str,
    epochs: tuple[int, int],
    lr: tuple[float, float],
    state: TrainingState,
    objective: Objective | None,
    val_objective: Objective | None,
) -> None:
    """One codec stage. Minimises, per image, in bits per feature element::

        ( R + [ Σ_i Λ(q_i)·l_i/T + w·Σ_i a_i·Λ(q_i)·‖z'_i − ẑ'_i‖²/n ] + 0.02·L_proxy ) / √Λ(q)

    with ``l_i`` the objective's normalised loss of task i and ``T`` the number of tasks whose loss the step takes,
    ``a_i`` its anchor, ``n`` the number of feature elements of all tasks that are coded, ``q`` the batch's base
    quality, and ``‖·‖²`` the squared error, or where the state has one its
    :class:`~atdc.networks.transforms.BlockMetric`. Without an objective there are no ``l_i``, and ``w`` and ``a_i`` are
    1.

    Args:
        run: where checkpoints go.
        recipe: settings.
        name: the stage's checkpoint.
        epochs: how many, and how many steps each has; between two of them are a point of the validation curve and a
            checkpoint.
        lr: first and last learning rate.
        state: what is trained.
        objective: of the training images; None warms up on features alone.
        val_objective: of the validation images, for the curve; None where features are all there is.
    """
    count, steps = epochs
    state.networks.rate_estimator.requires_grad_(False)
    stage = _CodecStage(recipe, state, objective, val_objective, validation_count(steps * recipe.batch))
    module = nn.ModuleDict({"networks": state.networks, "entropy": state.float_model})
    if state.encoders is not None:
        module["encoders"] = state.encoders
    train_stage(
        run, name, module, images=len(state.train), epochs=count, steps=steps, batch=recipe.batch, lr=lr[0],
        lr_end=lr[1], prepare=stage.prepare, step=stage.step, validate=stage.validate, seed=recipe.seed, clip=1.0,
        accumulate=recipe.accumulate,
    )  # fmt: skip


@dataclass(frozen=True)
class _CodecStage:
    """What :func:`train_codec` does at each step and between epochs.

    Attributes:
        val_count: of how many images validation measures.
    """

    recipe: FitRecipe
    state: TrainingState
    objective: Objective | None
    val_objective: Objective | None
    val_count: int

    def prepare(self, draw: Draw) -> CodecBatch:
        """A batch of one base quality and one subset of the tensors."""
        state, recipe, rng = self.state, self.recipe, draw.rng
        task_count = state.networks.task_count
        level = state.levels[int(rng.integers(len(state.levels)))]
        subset = state.subset or random_subset(task_count, recipe.subset_share, rng)
        tasks: list[int] = []
        targets: Mapping[str, Tensor] = {}
        if self.objective is not None:
            number = min(recipe.tasks_per_step, len(subset))
            tasks = sorted(rng.choice(subset, size=number, replace=False).tolist())
            targets = self.objective.targets(state.train.numbers(draw.indices), tasks)
        # One base quality a batch, so that graphs fit it; each group a step or so around it, so that they may differ.
        spread = torch.from_numpy(rng.normal(0, 0.5, (len(draw.indices), task_count)).astype(np.float32))
        return CodecBatch(
            state.train.load(draw.indices), tuple(subset), level, (level + spread).clamp(0, MAX_QUALITY),
            state.graphs.draw(draw.indices, level, rng, subset), tasks, targets,
        )  # fmt: skip

    def step(self, batch: CodecBatch) -> tuple[Tensor, dict[str, float]]:
        """The loss of a batch, and figures of it."""
        with mixed_precision(batch.quality.device):
            return self._loss(batch)

    def _loss(self, batch: CodecBatch) -> tuple[Tensor, dict[str, float]]:
        train, level, quality = self.state.train, batch.level, batch.quality
        features = train.seen(batch.loaded)
        if len(batch.subset) < self.state.networks.task_count:
            features = features.only(batch.subset)
        if features.present == ():  # none of the chosen tensors is there: all that are
            features = train.seen(batch.loaded)
        rate, error, proxy, decoded = self._terms(features, batch.graphs, quality)
        weight = task_weight(quality, self.recipe)
        loss = rate.mean() + PROXY_WEIGHT * proxy.mean()
        figures = {
            f"rate q{level}": float(rate.detach().mean()),
            f"error q{level}": float(error.detach().sum(1).mean()),
        }
        if self.objective is None:
            loss = loss + (weight * error).sum(1).mean()
        else:
            loss = loss + self.recipe.feature_weight * (weight * self._anchored(error)).sum(1).mean()
            tasks = list(features.available)
            if not hasattr(self.objective, "joint_losses"):
                tasks = [task for task in tasks if task in batch.tasks]
            raw_features = {task: train.restored(decoded, task, features.grids) for task in tasks}
            for task, task_loss in losses_of(self.objective, batch.tasks, raw_features, batch.targets).items():
                mask = ~torch.isnan(task_loss.detach())  # samples without a label
                if not bool(mask.any()):
                    continue
                costs = (weight[:, task] * task_loss)[mask]
                loss = loss + costs.mean() / len(batch.tasks)
                figures[f"loss q{level}"] = float(task_loss.detach()[mask].mean())
        # Losses at high quality are many times those at low quality: the square root of Λ evens out their gradients.
        return loss / task_weight(torch.tensor(float(level)), self.recipe).sqrt(), figures

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """The terms of the objective at a few qualities, on the same images and with the same noise every time."""
        state, val = self.state, self.state.val
        figures: dict[str, float] = {}
        images = val.alike(self.val_count)
        device = device_of(state.networks)
        task_count = state.networks.task_count
        subset = list(state.subset or range(task_count))
        features = val.seen(moved(val.load(images), device))
        if len(subset) < task_count:
            features = features.only(subset)
        targets: Mapping[str, Tensor] = {}
        if self.val_objective is not None:
            targets = moved(self.val_objective.targets(val.numbers(images), subset), device)
        for level in [level for level in _VALIDATION_LEVELS if level in state.levels]:
            torch.manual_seed(level)  # the same noise and pixels at every validation
            graphs = state.val_graphs.draw(images, level, np.random.default_rng(level), subset)
            quality = torch.full((len(features), task_count), float(level), device=device)
            rate, error, _, decoded = self._terms(features, graphs, quality)
            weight = float(task_weight(torch.tensor(float(level)), self.recipe))
            bits, square = float(rate.mean()), float(error.sum(1).mean())
            figures |= {f"bpe{level}": bits, f"mse{level}": square}
            if self.val_objective is None:
                figures[f"objective{level}"] = bits + weight * square
                continue
            raw_features = {task: val.restored(decoded, task, features.grids) for task in subset}
            task_losses = losses_of(self.val_objective, subset, raw_features, targets)
            losses = [float(loss.nanmean()) for loss in task_losses.values()]
            loss = sum(losses) / len(subset)
            figures[f"loss{level}"] = loss
            anchor = self.recipe.feature_weight * float(self._anchored(error).sum(1).mean())
            figures[f"objective{level}"] = bits + weight * (loss + anchor)
        return figures

    def _terms(
        self, features: FeatureBatch, graphs: list[TaskGraph], quality: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, list[Tensor]]:
        """Bits per feature element (B,), squared errors per feature element of all tensors (B, T), proxy losses,
        reconstructions."""
        networks = self.state.networks
        coder = TrainingLatentCoder(networks, self.state.float_model, len(features), features.grids)
        if features.present is not None:
            graphs = [graph.within(features.present) for graph in graphs]
        result = code_along_graph(
            networks, graphs, quality, coder, features.grids, features.parts, wanted=features.present, with_proxy=True
        )
        assert result.proxy is not None
        elements = sum(features.elements)
        error = _errors(self.state.metric, result.reconstruction, features.parts, features.grids) / elements
        return coder.bits.sum(1) / elements, error, result.proxy, result.reconstruction

    def _anchored(self, error: Tensor) -> Tensor:
        return error if self.state.anchors is None else error * error.new_tensor(self.state.anchors)
