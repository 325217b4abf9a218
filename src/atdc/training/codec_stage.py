"""The codec's training: warm-up on features, then rate against task loss, over many graphs and all qualities."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from atdc.coding.latents import TrainingPort
from atdc.coding.walk import walk
from atdc.config import MAX_QUALITY, Recipe
from atdc.data.targets import LabelledImages
from atdc.graph import search
from atdc.graph.graph_book import GraphBook
from atdc.graph.task_graph import TaskGraph
from atdc.networks.codec_networks import CodecNetworks
from atdc.networks.entropy import EntropyTwin
from atdc.networks.task_networks import TaskNetworks
from atdc.tasks import TASKS
from atdc.training.data import NormalisedFeatures
from atdc.training.loop import Draw, train_stage
from atdc.training.losses import every_fourth_pixel, loss_gap, task_loss
from atdc.training.run_folder import RunFolder
from atdc.training.task_stage import load_targets

PROXY_WEIGHT = 0.02
"""Weight of ``L_proxy`` on decoded parents, so that the predictor stays a predictor while the codec trains it."""


def task_weight(quality: Tensor, recipe: Recipe) -> Tensor:
    """``Λ(q)``, bits per feature element for a whole normalised task loss: geometric from q = 0 to q = 7."""
    low, high = math.log(recipe.codec.lambda_min), math.log(recipe.codec.lambda_max)
    return torch.exp(low + (high - low) * quality / MAX_QUALITY)


_IMAGES_PER_GRAPH = 16


class GraphSampler:
    """Training graphs: a mixture of the search settings, chosen with the scorer's costs of the training images."""

    def __init__(self, recipe: Recipe, book: GraphBook, costs: NDArray[np.float32]) -> None:
        self._mix = recipe.codec.graph_mix
        self._book = book
        self.codebook = book.codebook
        self._costs = costs  # (N, 8, P)
        self._limit = recipe.model.max_parents
        self._tasks = len(TASKS)

    def draw(self, images: NDArray[np.int64], level: int, rng: np.random.Generator) -> list[TaskGraph]:
        """One graph per image at a whole quality. Every sixteen images share the graph of one of them: each step then
        meets few graphs with many images each, which a CPU convolves twice as fast as the reverse."""
        graphs: list[TaskGraph] = []
        for start in range(0, len(images), _IMAGES_PER_GRAPH):
            members = images[start : start + _IMAGES_PER_GRAPH]
            costs = self._costs[rng.choice(members), level].astype(np.float64)
            graphs += [self._graph(costs, level, rng)] * len(members)
        return graphs

    def _graph(self, costs: NDArray[np.float64], level: int, rng: np.random.Generator) -> TaskGraph:
        names = list(self._mix)
        weights = np.array([self._mix[name] for name in names])
        match names[int(rng.choice(len(names), p=weights / weights.sum()))]:
            case "codebook":
                return self.codebook[int(search.codebook_choice(costs[None], self.codebook)[0])]
            case "exact":
                return search.exact_batch(costs[None], self._tasks, self._limit)[0]
            case "fixed":
                return self._book.fixed[level]
            case "chain":
                return self._book.chain[level]
            case "independent":
                return TaskGraph.independent(self._tasks)
        table = search.ScoreTable.of(self._tasks, costs, self._limit)
        return search.random_order(table, rng, self._limit)


@dataclass(frozen=True, slots=True)
class CodecBatch:
    """Normalised features, the base quality and each task's own, graphs, and the tasks whose loss is taken."""

    features: Tensor
    level: int
    quality: Tensor
    graphs: list[TaskGraph]
    tasks: list[int]
    targets: dict[str, Tensor]


def train_codec(
    run: RunFolder,
    recipe: Recipe,
    name: str,
    epochs: int,
    lr: tuple[float, float],
    networks: CodecNetworks,
    twin: EntropyTwin,
    task_networks: TaskNetworks,
    sampler: GraphSampler,
    train: NormalisedFeatures,
    val: NormalisedFeatures,
    train_data: LabelledImages | None,
    bounds: Tensor,
) -> None:
    """One codec stage. Minimises, per image, in bits per feature element::

        R + Λ(q)·[ Σ_i (L_i − L_i,∞)/(L_i,0 − L_i,∞)/T + w·‖z' − ẑ'‖²/n ] + 0.02·L_proxy

    Args:
        name: the stage's checkpoint.
        epochs: passes over the training images.
        lr: first and last learning rate.
        train_data: targets for the task loss; None warms up on features alone.
        bounds: ``L_0`` (channel means) and ``L_∞`` (uncompressed) of each task, (2, T).
    """
    settings, tasks = recipe.codec, networks.task_count
    task_networks.eval().requires_grad_(False)
    networks.scorer.requires_grad_(False)
    scale = loss_gap(bounds)

    def terms(features: Tensor, graphs: list[TaskGraph], quality: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        port = TrainingPort(networks, twin, len(features))
        result = walk(networks, graphs, quality, port, (features.shape[3], features.shape[4]), features)
        assert result.proxy is not None
        error = (result.reconstruction - features).square().mean((2, 3, 4))
        return port.bits / features[0, 0].numel(), error, result.proxy, result.reconstruction

    def prepare(draw: Draw) -> CodecBatch:
        rng = draw.rng
        level = int(rng.integers(MAX_QUALITY + 1))
        chosen: list[int] = []
        targets: dict[str, Tensor] = {}
        if train_data is not None:
            chosen = sorted(rng.choice(tasks, size=settings.tasks_per_step, replace=False).tolist())
            targets = load_targets(train_data, draw.indices, tuple(TASKS[task].name for task in chosen))
        # One base quality a batch, so that graphs fit it; each task a step or so around it, so that they may differ.
        spread = torch.from_numpy(rng.normal(0, 0.5, (len(draw.indices), tasks)).astype(np.float32))
        return CodecBatch(
            train.read(draw.indices), level, (level + spread).clamp(0, MAX_QUALITY),
            sampler.draw(draw.indices, level, rng), chosen, targets,
        )  # fmt: skip

    def step(batch: CodecBatch) -> tuple[Tensor, dict[str, float]]:
        level, quality = batch.level, batch.quality
        rate, error, proxy, decoded = terms(batch.features, batch.graphs, quality)
        weight = task_weight(quality, recipe)
        loss = rate.mean() + PROXY_WEIGHT * proxy.mean()
        figures = {f"rate q{level}": float(rate.detach().mean()), f"error q{level}": float(error.detach().mean())}
        if train_data is None:
            loss = loss + (weight * error).mean()
        else:
            loss = loss + settings.feature_weight * (weight * error).mean()
            raw = train.restore(decoded)
            for task in batch.tasks:
                with torch.autocast(raw.device.type, torch.bfloat16):
                    inputs = raw[:, task].contiguous(memory_format=torch.channels_last)
                    output = task_networks.heads[task](inputs)
                output, target = every_fourth_pixel(TASKS[task], output, batch.targets[TASKS[task].name])
                measured = task_loss(TASKS[task], output, target)
                normalised = (measured - bounds[1, task]) / scale[task]
                loss = loss + (weight[:, task] * normalised).mean() / settings.tasks_per_step
                figures[f"loss q{level}"] = float(normalised.detach().mean())
        # Losses at high quality are many times those at low quality: the square root of Λ evens out their gradients.
        return loss / task_weight(torch.tensor(float(level)), recipe).sqrt(), figures

    @torch.no_grad()
    def validate() -> dict[str, float]:
        figures: dict[str, float] = {}
        features = val.read(np.arange(min(100, len(val))))
        for level in (0, 2, 4, 7):
            costs = networks.scorer(features)[:, level].double().numpy()
            graphs = [sampler.codebook[i] for i in search.codebook_choice(costs, sampler.codebook).tolist()]
            rate, error, _, _ = terms(features, graphs, torch.full((len(features), tasks), float(level)))
            figures |= {f"bpe{level}": float(rate.mean()), f"mse{level}": float(error.mean())}
        return figures

    module = nn.ModuleDict({"networks": networks, "entropy": twin})
    train_stage(
        run, name, module, images=len(train), epochs=epochs, batch=settings.batch, lr=lr[0], lr_end=lr[1],
        prepare=prepare, step=step, validate=validate, seed=recipe.seed, clip=1.0,
    )  # fmt: skip
