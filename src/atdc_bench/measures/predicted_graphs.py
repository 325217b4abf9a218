"""Graphs by full scores: one run of the predictor per pair, which no encoder has the time for."""

from __future__ import annotations

from torch import Tensor

from atdc.graph import search
from atdc.graph.scores import candidate_sets
from atdc.graph.task_graph import TaskGraph
from atdc.networks.batches import FeatureBatch
from atdc.networks.predictability import score_bits
from atdc.networks.predictor import Predictor


def best_graphs(predictor: Predictor, features: FeatureBatch, distortion: Tensor, max_parents: int) -> list[TaskGraph]:
    """The cheapest graph of each image by :func:`~atdc.networks.predictability.score_bits`, for any number of parents.

    Args:
        predictor: the shared predictor.
        features: normalised features.
        distortion: D of each task, (T,).
        max_parents: the most a task may have.
    """
    tasks = len(features.parts)
    pairs = candidate_sets(tasks, max_parents)
    scores = score_bits(predictor, features, pairs, distortion[None])[:, 0]
    return search.exact_batch(scores.double().cpu().numpy(), tasks, max_parents)
