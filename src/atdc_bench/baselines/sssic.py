"""SSSIC-style: layers in one fixed order, each coded given all before it; a prefix of the file serves the first tasks.

After the fixed semantic-to-signal hierarchy of "Semantics-to-Signal Scalable Image Compression with Learned Revertible
Representations" (Liu et al., IJCV 2021), whose lifting transform is not part of it: layers here are the tasks'
features, coded by our codec along ``s → n → d → k → t → a``.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from atdc.codec import FeatureCodec
from atdc.config import Quality
from atdc.graph.task_graph import TaskGraph
from atdc.tasks import LETTERS, SEMANTICS_TO_SIGNAL
from atdc.training.graph_source import GraphSource
from atdc_bench.baselines.graph_sources import OneGraph
from atdc_bench.baselines.trainer import BaselineTrainer, Row


def layers() -> TaskGraph:
    """Every task with all earlier ones of :data:`~atdc.tasks.SEMANTICS_TO_SIGNAL` as parents."""
    order = [LETTERS.index(letter) for letter in SEMANTICS_TO_SIGNAL]
    parents = {task: tuple(sorted(order[:place])) for place, task in enumerate(order)}
    return TaskGraph(tuple(parents[task] for task in range(len(LETTERS))))


def row() -> Row:
    """The row."""
    return Row("sssic", "SSSIC-style", _choose, _graph_source)


def _choose(codec: FeatureCodec, features: Tensor, quality: Quality) -> Sequence[TaskGraph]:
    return [layers()] * len(features)


def _graph_source(trainer: BaselineTrainer, split: str) -> GraphSource:
    return OneGraph(layers())
