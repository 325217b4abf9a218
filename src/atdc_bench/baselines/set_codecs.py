"""Codecs that are trained for one wanted set of tasks: the any-graph codec's rivals, which need weights for every set.

``alone`` goes on from the any-graph codec and is trained for the set alone, along the graphs that its weights keep for
the set. ``longer`` goes on as far for all sets alike, and is the same codec for each of them: what ``alone`` gains on
it comes of having one set to serve, the rest of training longer. ``joint`` codes the features of all tasks of the set
as one tensor and starts from nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from torch import Tensor

from atdc.codec import FeatureCodec
from atdc.config import MAX_QUALITY, QUALITY_STEPS_PER_UNIT, Quality
from atdc.graph.task_graph import TaskGraph
from atdc.training.graph_source import GraphSource, PooledGraphs
from atdc_bench.baselines import joint
from atdc_bench.baselines.grouping import Grouping
from atdc_bench.baselines.mixed_graphs import MIX
from atdc_bench.baselines.trainer import BaselineTrainer, Row


def alone(letters: str, tasks: tuple[int, ...]) -> Row:
    """The any-graph codec, trained further for one set.

    Args:
        letters: of the set.
        tasks: of the set.
    """
    return Row(
        f"alone_{letters}", f"trained for {letters} alone", partial(_choose, tasks=tasks),
        partial(_kept_graphs, tasks=tasks), tasks=tasks,
    )  # fmt: skip


def longer(letters: str, tasks: tuple[int, ...]) -> Row:
    """The any-graph codec, trained further as it was trained, for all sets.

    Args:
        letters: of the set that it is measured on.
        tasks: of that set.
    """
    return Row(
        f"longer_{letters}", "trained longer for all sets", partial(_choose, tasks=tasks), _mixed_graphs,
        trained_as="longer", subsets=True,
    )  # fmt: skip


def together(letters: str, tasks: tuple[int, ...]) -> Row:
    """One latent for all tasks of a set.

    Args:
        letters: of the set, two or more.
        tasks: of the set.
    """
    grouping = Grouping((tuple(range(len(tasks))),))
    return Row(
        f"joint_{letters}", f"joint latent of {letters}", joint.alone, joint.alone_in_training,
        partial(joint.model, count=len(tasks)), grouping, from_base=False, tasks=tasks,
    )  # fmt: skip


KINDS = {"alone": alone, "longer": longer, "joint": together}
"""How a set's codec is made, by the first part of its file's name."""


def graph_of(codec: FeatureCodec, tasks: Sequence[int], quality: float) -> TaskGraph:
    """The graph that a codec's weights keep for a set at a quality, over all tensors of the model."""
    level, tables = round(quality), codec.graph_tables
    if len(tasks) == codec.task_count or tables.wanted is None:
        return tables.fixed[level].within(tasks)
    steps = [QUALITY_STEPS_PER_UNIT * level] * codec.task_count
    return tables.wanted.graph(tasks, steps, tasks).within(tasks)


def _choose(codec: FeatureCodec, features: Tensor, quality: Quality, tasks: Sequence[int]) -> Sequence[TaskGraph]:
    assert isinstance(quality, float)
    return [graph_of(codec, tasks, quality)] * len(features)


def _kept_graphs(trainer: BaselineTrainer, split: str, tasks: Sequence[int]) -> GraphSource:
    base = trainer.base.feature_codec
    return PooledGraphs([[graph_of(base, tasks, level)] for level in range(MAX_QUALITY + 1)])


def _mixed_graphs(trainer: BaselineTrainer, split: str) -> GraphSource:
    return trainer.mixed(split, MIX)
