"""Why this graph: what the graphs that an encoder may choose from are expected to cost, and what they really cost.

A cost is what the encoder minimises, ``J = bits + Σ_i w_i·‖z_i − ẑ_i‖²``: the coded bits and each task's squared error
of (normalised) features at that task's Lagrange multiplier. The estimate is the sum of the rate estimator's costs of
all tasks given their parents and of the graph's cost correction, without coding anything; the real cost comes from
coding.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from atdc.choice.graphs import candidate_estimates
from atdc.graph.task_graph import TaskGraph
from atdc.pipeline import Codec, as_batch
from atdc.report.page import Candidate


@torch.no_grad()
def candidates_of(
    codec: Codec, rgb: NDArray[np.uint8], quality: float, chosen: dict[str, list[str]]
) -> list[Candidate]:
    """The candidate graphs, independent coding and the chosen graph, each coded; by real cost, least first.

    Args:
        codec: the model.
        rgb: the image, ``(H, W, 3)`` bytes.
        quality: 0 to 7.
        chosen: the graph that the image was coded along.

    >>> from atdc import load
    >>> codec, grey = load("small"), np.full((64, 64, 3), 128, np.uint8)
    >>> parents = codec.inspect(codec.encode(grey)).graph
    >>> [candidate.parents == parents for candidate in candidates_of(codec, grey, 4, parents) if candidate.chosen]
    [True]
    """
    features = codec.features_of(as_batch(rgb))
    feature_codec = codec.feature_codec
    names = feature_codec.task_names
    estimates = candidate_estimates(feature_codec.costs, feature_codec.normalise(features), quality)[:, 0].tolist()
    chosen_graph = TaskGraph(tuple(tuple(map(names.index, chosen[name])) for name in names))
    candidate_costs = dict(zip(feature_codec.graph_tables.candidates, estimates, strict=True))
    graphs = list(dict.fromkeys([*candidate_costs, chosen_graph, TaskGraph.independent(len(names))]))
    repeated = features.expand(len(graphs), -1, -1, -1, -1)
    coded = feature_codec.encode_batch(repeated, quality, graphs, sizes=[rgb.shape[:2]] * len(graphs))
    difference = (coded.stacked - repeated) / torch.stack(feature_codec.std)[:, :, None, None]
    errors = difference.square().sum((2, 3, 4)).double().cpu().numpy()
    costs = coded.ideal_bits.sum(1) + errors @ feature_codec.costs.lagrange_multipliers(quality)
    candidates = [
        Candidate(
            _named(graph, names),
            graph in candidate_costs,
            candidate_costs.get(graph),
            float(cost),
            len(data),
            graph == chosen_graph,
        )
        for graph, cost, data in zip(graphs, costs, coded.data, strict=True)
    ]
    return sorted(candidates, key=lambda candidate: candidate.cost_bits)


def _named(graph: TaskGraph, names: Sequence[str]) -> dict[str, list[str]]:
    return {names[child]: [names[parent] for parent in parents] for child, parents in enumerate(graph.parents)}
