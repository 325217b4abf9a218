"""Graphs in which some tasks come first: they are predicted from each other alone, all others from whatever helps.

With the parents of the first tasks among themselves, no cycle leads through both kinds. So a graph of least cost is a
graph of least cost of the first tasks, and for the others one given all of these: each part is searched on its own, and
a search over all tasks does both once the other pairs are ruled out.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atdc.graph.scores import Pair
from atdc.graph.task_graph import TaskGraph


def ordered_scores(
    bits: NDArray[np.floating[Any]], pairs: Sequence[Pair], first: Collection[int]
) -> NDArray[np.float64]:
    """Scores (N, P) with +inf, "not scored", wherever a first task would be predicted from one that is not.

    >>> pairs = ((0, ()), (0, (1,)), (1, ()), (1, (0,)))
    >>> ordered_scores(np.ones((1, 4)), pairs, {1}).tolist()
    [[1.0, 1.0, 1.0, inf]]
    """
    allowed = [child not in first or set(parents) <= set(first) for child, parents in pairs]
    return np.where(allowed, bits, np.inf)


def joined(head: TaskGraph, tail: TaskGraph, first: Collection[int]) -> TaskGraph:
    """The parents of the first tasks as in one graph, those of the others as in another; it is never cyclic.

    Args:
        head: its edges from other tasks to first ones are dropped.
        tail: of as many tasks.
        first: the first tasks.

    >>> joined(TaskGraph(((), (0,), ())), TaskGraph(((2,), (2,), ())), {0, 1}).parents
    ((), (0,), ())
    """
    subgraph = head.within(first)
    return TaskGraph(tuple((subgraph if task in first else tail).parents[task] for task in range(tail.size)))
