"""The best single graph at each quality, by what coding along it really costs.

What a pair costs depends on how its parents were coded, so costs of pairs measured along one graph mislead about
another, by some percent at low rates. So a graph is found from costs along the best one so far, a few times, and of all
that were met the one of least real cost is kept.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from atdc.codec import FeatureCodec
from atdc.features import Features
from atdc.graph import search
from atdc.graph.graph_tables import GraphTables
from atdc.graph.scores import ScoreTable, alone_columns, candidate_sets
from atdc.graph.task_graph import TaskGraph


def best_graph(costs: NDArray[np.float64], tensors: int, max_parents: int, edge_share: float = 0.0) -> TaskGraph:
    """The cheapest graph for costs of all pairs, (P,): exact, or by local search where tensors are too many.

    Args:
        costs: of all pairs.
        tensors: how many.
        max_parents: of each.
        edge_share: what each edge must save, as a share of what its child costs without parents.
    """
    pairs = candidate_sets(tensors, max_parents)
    dues = edge_share * costs[alone_columns(pairs)] * [len(parents) for _, parents in pairs]
    table = ScoreTable(pairs, costs + dues)
    if tensors <= _EXACT_TENSORS:
        return search.exact(table, max_parents)
    return search.local_search(table, max_parents, restarts=0)


_EXACT_TENSORS = 12
"""Beyond this many, dynamic programming takes seconds a graph."""


_ROUNDS = 2
"""How often costs of pairs are measured, each time along the best graph so far."""


def settled(codec: FeatureCodec, features: Features, quality: float, edge_share: float = 0.0) -> TaskGraph:
    """The best single graph for some images; the codec takes parents as decoded along it from here on.

    Args:
        codec: its tables are given the graph found.
        features: raw.
        quality: a whole number.
        edge_share: see :func:`best_graph`.
    """
    level, limit, count = int(quality), codec.config.max_parents, codec.task_count
    batch = codec.normalise(features)
    totals: dict[TaskGraph, float] = {}
    base_costs = np.zeros(count)

    def total(graph: TaskGraph) -> float:
        if graph not in totals:
            totals[graph] = float(codec.costs.total_costs(batch, quality, [graph] * len(batch)).mean())
        return totals[graph] + edge_share * float(base_costs @ [len(parents) for parents in graph.parents])

    for graph in (*codec.graph_tables.fixed, *codec.graph_tables.candidates):
        total(graph)
    for _ in range(_ROUNDS):
        codec.graph_tables = _with_fixed(codec.graph_tables, level, min(totals, key=total))
        costs = codec.costs.measured_costs(batch, quality).mean(0)
        base_costs = costs[np.unique(alone_columns(codec.pairs))]
        candidate = best_graph(costs, count, limit, edge_share)
        if candidate in totals:
            break
        total(candidate)
    best = min(totals, key=total)
    codec.graph_tables = _with_fixed(codec.graph_tables, level, best)
    return best


def _with_fixed(graph_tables: GraphTables, level: int, fixed: TaskGraph) -> GraphTables:
    """The graph tables with another fixed graph at a quality."""
    return replace(graph_tables, fixed=(*graph_tables.fixed[:level], fixed, *graph_tables.fixed[level + 1 :]))
