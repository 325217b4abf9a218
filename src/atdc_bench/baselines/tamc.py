"""TAMC-style: tasks that learn well together share one latent; groups inform each other's probability tables.

After "Which Tasks Should Be Compressed Together?" (ICLR 2025): groups of most affine tasks
(:mod:`atdc_bench.baselines.affinity`), one representation a group, one static graph of groups, in which a parent is
context for its child's entropy model and predicts nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from torch import Tensor

from atdc.codec import FeatureCodec
from atdc.config import ModelConfig, Quality
from atdc.graph.task_graph import TaskGraph
from atdc.training.graph_source import GraphSource
from atdc_bench.baselines.affinity import best_partition, static_graph
from atdc_bench.baselines.graph_sources import OneGraph
from atdc_bench.baselines.trainer import BaselineTrainer, Row, wider


def model(base: ModelConfig) -> Mapping[str, Any]:
    """Settings of a group's codec."""
    return {**wider(base, 2), "residual": "plain", "parents": "context"}


def row(affinity: ArrayLike, cost: ArrayLike) -> Row:
    """The row.

    Args:
        affinity: of each task with each, (T, T).
        cost: bits of each of its best groups given each, (G, G).
    """
    graph = static_graph(cost)
    return Row(
        "tamc", "TAMC-style", partial(_choose, graph=graph), partial(_graph_source, graph=graph), model,
        best_partition(np.asarray(affinity)), from_base=False,
    )  # fmt: skip


def _choose(codec: FeatureCodec, features: Tensor, quality: Quality, graph: TaskGraph) -> Sequence[TaskGraph]:
    return [graph] * len(features)


def _graph_source(trainer: BaselineTrainer, split: str, graph: TaskGraph) -> GraphSource:
    return OneGraph(graph)
