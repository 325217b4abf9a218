"""Graphs for wanted tensors: which other tensors help, and who is predicted from whom.

Of a wanted set ``W``, wanted tensors cost ``R + w·D``, bits and squared error in bits. A *helper* is a tensor that
nobody asked for: it is sent because others are predicted from it, and costs ``R`` alone. With ``best[U]`` the least
cost of coding all of ``U`` along a graph over ``U`` (:func:`~atdc.graph.search.exact`),

    best(W) = min over U ⊇ W of best[U],    where child c costs  R[c, S] + w·D[c, S] if c ∈ W, and R[c, S] if not

One dynamic programme finds ``best[U]`` for all ``U`` at once.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from atdc.errors import ArgumentError
from atdc.graph.orders import cheapest_subsets, costs_of_places, improved_order, least_totals, predecessor_cost
from atdc.graph.scores import Floats, ScoreTable, candidate_sets, columns_within
from atdc.graph.search import greedy
from atdc.graph.task_graph import TaskGraph

MAX_EXACT_TENSORS = 14
"""Beyond this many tensors, wanted ones and possible helpers together, the search is local: exact search doubles with
each of them."""


@dataclass(frozen=True, slots=True)
class SubsetGraph:
    """What is sent for a wanted set.

    Attributes:
        graph: over all tensors of the model; those that are not sent have no edges.
        tensors: the wanted ones and their helpers, ascending.
        cost: as the equation at the top of this module, bits.
    """

    graph: TaskGraph
    tensors: tuple[int, ...]
    cost: float


def best_superset(
    rates: ArrayLike,
    errors: ArrayLike,
    size: int,
    wanted: Collection[int],
    max_parents: int | None = 2,
    helpers: Collection[int] | None = None,
) -> SubsetGraph:
    """The cheapest graph over a wanted set and any helpers.

    Exact for up to :data:`MAX_EXACT_TENSORS` tensors, wanted ones and possible helpers together. Beyond, an order of
    the wanted tensors is improved by single moves, and the helper that lowers the cost most is added until none does.

    Ties: fewer tensors, then fewer edges.

    Args:
        rates: ``R`` of each pair, bits, (P,), aligned with ``candidate_sets(size, max_parents)``.
        errors: ``w·D`` of each pair, likewise.
        size: tensors of the model.
        wanted: which are asked for.
        max_parents: ``K``.
        helpers: which others may be sent; all by default.

    Raises:
        ArgumentError: nothing is wanted, an index beyond the tensors, or costs of another shape, negative or not
            finite.

    >>> rates, errors = [9, 2, 1, 1], [0, 0, 5, 5]  # 0 is dear alone, and cheap given 1
    >>> best = best_superset(rates, errors, 2, wanted=[0])
    >>> best.tensors, best.cost, best.graph.describe("ab")
    ((0, 1), 3.0, 'b a←b')
    >>> best_superset(rates, errors, 2, wanted=[0], helpers=()).cost
    9.0
    """
    within = _members("wanted", wanted, size)
    if not within:
        raise ArgumentError("wanted", "no tensors", "at least one")
    allowed = sorted({*within, *(range(size) if helpers is None else _members("helpers", helpers, size))})
    columns = columns_within(size, max_parents, allowed)
    pairs = candidate_sets(size, max_parents)
    rate, error = (_costs(name, values, len(pairs)) for name, values in (("rates", rates), ("errors", errors)))
    is_wanted = np.array([pairs[column][0] in within for column in columns])
    costs = rate[columns] + np.where(is_wanted, error[columns], 0.0)
    places = [allowed.index(tensor) for tensor in within]
    search = _exact_order if len(allowed) <= MAX_EXACT_TENSORS else _local_order
    order = search(costs, len(allowed), places, max_parents)
    return _along(costs, [pairs[column] for column in columns], [allowed[place] for place in order], size)


def with_ancestors(graph: TaskGraph, wanted: Collection[int]) -> tuple[TaskGraph, tuple[int, ...]]:
    """A graph of all tensors for a wanted set, the ancestors of which are sent, too: the graph, and what is sent.

    >>> graph, sent = with_ancestors(TaskGraph(((1,), (2,), ())), [1])
    >>> graph.parents, sent
    (((), (2,), ()), (1, 2))
    """
    sent = tuple(sorted(graph.closure(wanted)))
    return graph.within(sent), sent


def without_missing(graph: TaskGraph, wanted: Collection[int]) -> tuple[TaskGraph, tuple[int, ...]]:
    """A graph of all tensors for a wanted set, parents outside which are dropped: the graph, and what is sent.

    >>> graph, sent = without_missing(TaskGraph(((1,), (2,), ())), [0, 1])
    >>> graph.parents, sent
    (((1,), (), ()), (0, 1))
    """
    sent = tuple(sorted(set(wanted)))
    return graph.within(sent), sent


def _exact_order(costs: Floats, size: int, wanted: Sequence[int], max_parents: int | None) -> list[int]:
    limit = size - 1 if max_parents is None else min(max_parents, size - 1)
    best, last = least_totals(cheapest_subsets(costs[None], size, limit))
    mask = sum(1 << tensor for tensor in wanted)
    supersets = np.flatnonzero((np.arange(len(best)) & mask) == mask)
    numbers = np.array([int(superset).bit_count() for superset in supersets])
    subset = int(supersets[np.lexsort((best.imag[supersets, 0], numbers, best.real[supersets, 0]))[0]])
    order: list[int] = []
    while subset:
        order.insert(0, int(last[subset, 0]))
        subset ^= 1 << order[0]
    return order


def _local_order(costs: Floats, size: int, wanted: Sequence[int], max_parents: int | None) -> list[int]:
    cost = predecessor_cost(costs, size, max_parents)
    table = ScoreTable.of(len(wanted), costs[columns_within(size, max_parents, wanted)], max_parents)
    order = improved_order([wanted[place] for place in greedy(table, max_parents).order], cost)
    candidates = sorted(set(range(size)) - set(wanted))
    while candidates:
        added = {candidate: costs_of_places(candidate, order, cost) for candidate in candidates}
        helper = min(candidates, key=lambda candidate: float(added[candidate].min()))
        place = int(added[helper].argmin())
        if not added[helper][place] < -_LEAST_GAIN * (1 + abs(costs).max()):
            break
        order = improved_order([*order[:place], helper, *order[place:]], cost)
        candidates.remove(helper)
    return order


_LEAST_GAIN = 1e-9
"""A helper must save more than this, as a share of the largest cost, which rounding of sums could feign."""


def _along(costs: Floats, pairs: Sequence[tuple[int, tuple[int, ...]]], order: Sequence[int], size: int) -> SubsetGraph:
    """The cheapest graph along an order, without helpers that nobody is predicted from."""
    parents: list[tuple[int, ...]] = [()] * size
    total = 0.0
    sent: set[int] = set()
    for tensor in order:
        open_to_it = [place for place, (child, row) in enumerate(pairs) if child == tensor and sent.issuperset(row)]
        best = min(open_to_it, key=lambda place: (costs[place], len(pairs[place][1]), pairs[place][1]))
        parents[tensor] = pairs[best][1]
        total += float(costs[best])
        sent.add(tensor)
    return SubsetGraph(TaskGraph(tuple(parents)), tuple(sorted(sent)), total)


def _members(name: str, tensors: Collection[int], size: int) -> list[int]:
    beyond = [tensor for tensor in tensors if not 0 <= tensor < size]
    if beyond:
        raise ArgumentError(name, f"tensor {beyond[0]}", f"tensors from 0 to {size - 1}")
    return sorted(set(tensors))


def _costs(name: str, values: ArrayLike, length: int) -> Floats:
    costs = np.asarray(values, np.float64)
    if costs.shape != (length,):
        raise ArgumentError(name, f"shape {costs.shape}", f"shape ({length},)", "See candidate_sets for the columns.")
    if not (np.isfinite(costs).all() and costs.min() >= 0):
        raise ArgumentError(name, "a negative cost, or one that is not finite", "finite bits, 0 or more")
    return costs
