"""The best graph under each order of the tasks, and the best order.

Under a given order every task chooses its cheapest parent set among its predecessors, on its own; so searching graphs
means searching orders: by a dynamic programme over the subsets of tasks where these are few, by moving single tasks
where they are many. Scores and ``max_parents`` are those of :mod:`atdc.graph.scores`; `limit` is ``K`` as
:func:`~atdc.graph.scores.parent_limit` gives it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import combinations
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from atdc.errors import ArgumentError
from atdc.graph.scores import Floats, Integers, candidate_sets, parent_limit

Ranked: TypeAlias = NDArray[np.complex128]
"""Costs as real parts, numbers of edges as imaginary ones: NumPy orders complex numbers by the former, then by the
latter, so that where costs are equal fewer edges are less."""

MAX_EXACT_TASKS = 16
"""Beyond this many tasks the dynamic programmes over all subsets are refused: they double with every task."""

MAX_LOCAL_TASKS = 64
"""A set of tasks is held as the bits of one 64-bit integer."""


def require_few(size: int) -> None:
    if size > MAX_EXACT_TASKS:
        raise ArgumentError("number of tasks", str(size), f"at most {MAX_EXACT_TASKS}", "Use local_search beyond.")


def cheapest_subsets(bits: Floats, size: int, limit: int) -> Ranked:
    """``cheapest[c, U]`` of :func:`~atdc.graph.search.exact`, shape (T, 2^T, N), and the size of the smallest such set.

    One pass per task ``b``: a subset of ``U`` either contains ``b`` or is a subset of ``U - b``.
    """
    table = subset_table(bits, size, limit)
    for task in range(size):
        halves = table.reshape(size, -1, 2, 1 << task, len(bits))
        np.minimum(halves[:, :, 0], halves[:, :, 1], out=halves[:, :, 1])
    return table


def subset_table(bits: Floats, size: int, limit: int) -> Ranked:
    """(N, P) scores and the sets' sizes by (child, mask of the parent set, image): +inf for sets without a score."""
    masks = _masks(size, limit)
    table = np.full((size, 1 << size, len(bits)), complex(np.inf, size))
    scored = np.empty((len(bits), bits.shape[1]), np.complex128)
    scored.real, scored.imag = bits, _set_sizes(size, limit)
    table[np.arange(size)[:, None], masks] = scored.T.reshape(*masks.shape, len(bits))
    return table


def least_totals(cost: Ranked) -> tuple[Ranked, NDArray[np.int8]]:
    """``best[U]`` of :func:`~atdc.graph.search.exact` for every set of tasks ``U``, by its mask; each (2^T, N).

    Args:
        cost: what each child costs given the mask of its predecessors, and how many edges that takes, (T, 2^T, N).

    Returns:
        The least costs and how many edges these take, and which task of each set comes last.
    """
    size, subsets, images = cost.shape
    best = np.zeros((subsets, images), np.complex128)
    last = np.zeros((subsets, images), np.int8)
    for whole, members, rest in _subset_steps(size):
        total = best[rest] + cost[members, rest]
        best[whole] = total.min(axis=1)
        last[whole] = members[np.arange(len(members))[:, None], total.argmin(axis=1)]
    return best, last


def cheapest_order(cost: Ranked) -> Integers:
    """The order of least ``sum cost[c, predecessors of c]``, shape (N, T), as :func:`least_totals` takes them; ties as
    :func:`~atdc.graph.search.exact` says."""
    size, subsets, images = cost.shape
    best, last = least_totals(cost)
    if np.isinf(best[-1]).any():
        raise ArgumentError("scores", "too few pairs scored for any graph", "at least one graph's worth")
    order = np.empty((images, size), np.int64)
    image = np.arange(images)
    remainder = np.full(images, subsets - 1)
    for place in range(size - 1, -1, -1):
        order[:, place] = last[remainder, image]
        remainder ^= 1 << order[:, place]
    return order


def best_parents(bits: Floats, order: Integers, size: int, limit: int) -> Integers:
    """For each image and child, which candidate is cheapest among those within its predecessors; shape (N, T).

    Args:
        bits: (N, P), aligned with the candidates.
        order: (N, T).
    """
    masks = _masks(size, limit)
    by_child = bits.reshape(len(bits), size, masks.shape[1])
    image = np.arange(len(bits))
    sent = np.zeros(len(bits), np.int64)
    chosen = np.empty((len(bits), size), np.int64)
    for child in order.T:
        allowed = (masks[child] & ~sent[:, None]) == 0
        cost = np.where(allowed, by_child[image, child], np.inf)
        pick = cost.argmin(axis=1)
        if np.isinf(cost[image, pick]).any():
            raise ArgumentError("scores", "a task without any scored set among its predecessors", "at least one")
        chosen[image, child] = child * masks.shape[1] + pick
        sent |= 1 << child
    return chosen


def predecessor_cost(bits: Floats, size: int, max_parents: int | None) -> Callable[[int, int], float]:
    """A function of (child, mask of its predecessors): the least cost over the sets within; remembers its answers."""
    masks = _masks(size, parent_limit(size, max_parents))
    by_child = bits.reshape(masks.shape)
    ascending = np.argsort(by_child, axis=1)
    masks = np.take_along_axis(masks, ascending, axis=1).view(np.uint64)
    sorted_bits = np.take_along_axis(by_child, ascending, axis=1)

    @lru_cache(maxsize=1 << 20)
    def cost(child: int, predecessors: int) -> float:
        within = (masks[child] & ~np.uint64(predecessors)) == 0
        return float(sorted_bits[child, within.argmax()])

    return cost


def costs_of_places(task: int, others: Sequence[int], cost: Callable[[int, int], float]) -> Floats:
    """What a task adds to an order of others at each place, before the first to after the last: its own cost, less
    what those after it save."""
    masks = [0]
    for other in others:
        masks.append(masks[-1] | 1 << other)
    own_costs = [cost(task, mask) for mask in masks]
    shifts = [cost(other, mask) - cost(other, mask | 1 << task) for other, mask in zip(others, masks, strict=False)]
    return np.array(own_costs) - np.append(np.cumsum(shifts[::-1])[::-1], 0.0)


def improved_order(order: list[int], cost: Callable[[int, int], float]) -> list[int]:
    """Moves single tasks to their best place until no move lowers the total; the empty set must be scored."""
    order = list(order)
    improved = True
    while improved:
        improved = False
        for task in sorted(order):
            place = order.index(task)
            others = [other for other in order if other != task]
            totals = costs_of_places(task, others, cost)
            best = int(totals.argmin())
            if totals[best] < totals[place] - 1e-9 * (1 + abs(totals[place])):
                order = [*others[:best], task, *others[best:]]
                improved = True
    return order


@lru_cache(maxsize=32)
def _masks(size: int, limit: int) -> Integers:
    """The parent sets of :func:`candidate_sets` as bit masks, shape (T, sets per child); task 63 is the sign bit."""
    masks = [sum(1 << parent for parent in parents) for _, parents in candidate_sets(size, limit)]
    return np.array(masks, np.uint64).view(np.int64).reshape(size, -1)


@lru_cache(maxsize=32)
def _set_sizes(size: int, limit: int) -> Integers:
    """How many parents the sets of :func:`candidate_sets` have, (P,)."""
    return np.array([len(parents) for _, parents in candidate_sets(size, limit)], np.int64)


@lru_cache(maxsize=MAX_EXACT_TASKS)
def _subset_steps(size: int) -> tuple[tuple[Integers, Integers, Integers], ...]:
    """For k = 1..T: the k-subsets (n,), their members by descending index (n, k), and the subsets without them."""
    steps = []
    for number in range(1, size + 1):
        members = np.array(list(combinations(range(size - 1, -1, -1), number)), np.int64)
        whole = (1 << members).sum(axis=1)
        steps.append((whole, members, whole[:, None] - (1 << members)))
    return tuple(steps)
