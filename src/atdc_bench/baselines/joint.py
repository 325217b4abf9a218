"""Joint: one latent for all tasks, the natural reference; what graphs save between tasks, its transforms may save at
once, but no task can be had alone.

Its transforms are as wide as they must be to cost about what those of six tasks cost.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from atdc.codec import FeatureCodec
from atdc.config import ModelConfig, Quality
from atdc.graph.task_graph import TaskGraph
from atdc.tasks import TASKS
from atdc.training.graph_source import GraphSource
from atdc_bench.baselines.graph_sources import OneGraph
from atdc_bench.baselines.grouping import Grouping
from atdc_bench.baselines.trainer import BaselineTrainer, Row, wider

TOGETHER = Grouping((tuple(range(len(TASKS))),))
"""All tasks in one group."""
_SHARE = math.log(4) / math.log(len(TASKS))
"""A joint codec of so many tasks is wider by their number to this power: that of all six by four."""


def model(base: ModelConfig, count: int = len(TASKS)) -> Mapping[str, Any]:
    """Settings of one codec of the cost of so many tasks' codecs, with no parents to look at."""
    return {**wider(base, count**_SHARE), "residual": "plain", "parents": "none"}


def row() -> Row:
    """The row."""
    return Row("joint", "joint, one latent", alone, alone_in_training, model, TOGETHER, from_base=False)


def alone(codec: FeatureCodec, features: Tensor, quality: Quality) -> Sequence[TaskGraph]:
    """One group, no parents."""
    return [TaskGraph.independent(1)] * len(features)


def alone_in_training(trainer: BaselineTrainer, split: str) -> GraphSource:
    """One group, no parents."""
    return OneGraph(TaskGraph.independent(1))
