"""Each image's graph where some tensors come first: what these take is what they would take alone."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from atdc.choice.costs import CostModel
from atdc.choice.graphs import (
    HIGH_EFFORT_CANDIDATES,
    best_search,
    candidate_graphs,
    cheapest_of_several,
    choose,
    searched_graphs,
)
from atdc.config import Quality
from atdc.graph import search
from atdc.graph.ordered import joined, ordered_scores
from atdc.graph.scores import Floats, graph_costs
from atdc.graph.task_graph import TaskGraph
from atdc.networks.batches import FeatureBatch


def choose_ordered(
    costs: CostModel, batch: FeatureBatch, quality: Quality, setting: str, first: Collection[int], effort: str
) -> list[TaskGraph]:
    """One graph per image, in which tensors that come first have no ancestors but each other.

    The first ones have the graph that they would have alone. Settings that search each image's costs search those of
    the others given all of the first; settings of one graph for all lose the edges that may not be. `codebook` codes
    the fixed graph and the exact one, both so ordered, and keeps the cheaper: candidate graphs were chosen for other
    orders, and at low qualities estimates rank graphs less well than the fixed one was chosen.

    Args:
        costs: of the codec.
        batch: normalised features.
        quality: of all tasks, or of each.
        setting: a search setting's name.
        first: tensors of the batch, not all of them.
        effort: `high` codes several graphs whatever the setting, the few cheapest candidate graphs among them.
    """
    alone = batch.only(sorted(first))
    heads = choose(costs, alone, quality, setting)
    if effort == "high":
        heads = cheapest_of_several(costs, alone, quality, heads, alone.available)
    estimated = ordered_scores(costs.estimated_costs(batch, quality), costs.pairs, first)
    tails = []
    if setting in search.SEARCHES:
        tails.append(searched_graphs(costs, batch, estimated, setting))
    elif setting != "codebook":
        tails.append(choose(costs, batch, quality, setting))
    if setting == "codebook" or effort == "high":
        tails.append(searched_graphs(costs, batch, estimated, best_search(batch.available)))
        tails.append(choose(costs, batch, quality, "fixed"))
    if effort == "high":
        best = [_cheapest(costs, batch, row, head, first) for row, head in zip(estimated, heads, strict=True)]
        tails += [[graphs[min(rank, len(graphs) - 1)] for graphs in best] for rank in range(HIGH_EFFORT_CANDIDATES)]
    graphs = [[joined(*pair, first) for pair in zip(heads, tail, strict=True)] for tail in tails]
    if len(graphs) == 1:
        return graphs[0]
    totals = np.stack([costs.total_costs(batch, quality, row) for row in graphs])
    return [graphs[row][image] for image, row in enumerate(totals.argmin(0).tolist())]


def _cheapest(
    costs: CostModel, batch: FeatureBatch, estimated: Floats, head: TaskGraph, first: Collection[int]
) -> list[TaskGraph]:
    """An image's candidate graphs around its head, the cheapest first."""
    graphs = list(dict.fromkeys(joined(head, graph, first) for graph in candidate_graphs(costs, batch)))
    return [graphs[row] for row in graph_costs(estimated[None], graphs)[:, 0].argsort(kind="stable").tolist()]
