"""The paper's method in full, as far as it is public: "Discovering Adaptive Task Dependencies for Efficient Multi-Task
Representation Compression" (CVPR 2026).

Graph: gains of ``exp(−L_proxy)``, all edges above τ, at most K parents. Roots: an autoencoder with a factorised prior.
Children: the residual of the parents' prediction alone, with a hyperprior. Parents say nothing to a child's probability
tables. Widths, qualities and the objective are this project's, the same for all rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from atdc.codec import FeatureCodec
from atdc.config import ModelConfig, Quality
from atdc.graph.task_graph import TaskGraph
from atdc.training.graph_source import GraphSource
from atdc_bench.baselines.graph_sources import GraphsByImage
from atdc_bench.baselines.trainer import BaselineTrainer, Row


def model(base: ModelConfig) -> Mapping[str, Any]:
    """What the paper's codec does otherwise than ours."""
    return {"residual": "plain", "parents": "prediction", "factorised": "roots"}


def row() -> Row:
    """The row."""
    return Row("paper", "the paper's codec and search", _choose, _graph_source, model, from_base=False)


def _choose(codec: FeatureCodec, features: Tensor, quality: Quality) -> Sequence[TaskGraph]:
    return codec.choose_graphs(features, quality, "paper")


def _graph_source(trainer: BaselineTrainer, split: str) -> GraphSource:
    base, cache = trainer.base.feature_codec, trainer.features[split].cache
    return GraphsByImage(lambda image: base.choose_graphs(cache.read(np.array([image])), 4, "paper")[0])
