"""Graph settings of our codec: each starts from the same weights, trained on all kinds of graphs, and is trained on its
own from there."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from torch import Tensor

from atdc.codec import DEFAULT_GRAPH, FeatureCodec
from atdc.config import Quality
from atdc.graph.task_graph import TaskGraph
from atdc.training.graph_source import GraphSource
from atdc_bench.baselines.trainer import BaselineTrainer, Row

TITLES = {
    DEFAULT_GRAPH: "ours",
    "fixed": "fixed graph",
    "fixed-mode": "most frequent graph",
    "chain": "chain, all predecessors",
    "independent": "independent",
    "paper-order": "the paper's fixed order",
    "random": "random orders",
}
"""Settings that are rows, and what tables call them."""


def row(setting: str, seed: int = 0, *, balanced: bool = False) -> Row:
    """One setting, coded and trained under it.

    Args:
        setting: one of :data:`TITLES`.
        seed: of its further training.
        balanced: tasks have qualities of their own.
    """
    name = ("ours" if setting == DEFAULT_GRAPH else setting) + (f"-seed{seed}" if seed else "")
    title = TITLES[setting] + (f", seed {seed}" if seed else "")
    trained_as = name
    if balanced:
        name, title = f"{name}-balanced", f"{title}, balanced"
    return Row(
        name, title, partial(_choose, setting=setting), partial(_graph_source, setting=setting), seed=seed,
        trained_as=trained_as, balanced=balanced,
    )  # fmt: skip


def _choose(codec: FeatureCodec, features: Tensor, quality: Quality, setting: str) -> Sequence[TaskGraph]:
    return codec.choose_graphs(features, quality, setting)


def _graph_source(trainer: BaselineTrainer, split: str, setting: str) -> GraphSource:
    return trainer.mixed(split, {setting: 1.0})
