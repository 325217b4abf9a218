"""What tasks cost given their parents: (child, parent set) pairs, and scores of them.

``score[c, S]`` is what task ``c`` is predicted to cost, in bits, when it is predicted from the tasks ``S``. A graph's
cost is the sum over tasks of ``score[c, parents(c)]``.

Arrays of scores are aligned with a list of *pairs* (child, parent set), by default that of :func:`candidate_sets`.
``max_parents`` is ``K``, the most parents a task may have; None means no limit.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import combinations, pairwise
from math import comb
from types import MappingProxyType
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from atdc.errors import ArgumentError, GraphError
from atdc.graph.task_graph import TaskGraph

Pair: TypeAlias = tuple[int, tuple[int, ...]]
"""A child and its parent set, ascending."""

Floats: TypeAlias = NDArray[np.float64]

Integers: TypeAlias = NDArray[np.int64]


def candidate_sets(size: int, max_parents: int | None = 2) -> tuple[Pair, ...]:
    """All (child, parent set) pairs of ``size`` tasks with at most ``max_parents`` parents, in canonical order.

    The order is by child, then by the number of parents, then lexicographic; every array of scores follows it. There
    are ``T * sum_{j=0..K} C(T-1, j)`` of them: 96 at T = 6, K = 2.

    >>> candidate_sets(3, 1)
    ((0, ()), (0, (1,)), (0, (2,)), (1, ()), (1, (0,)), (1, (2,)), (2, ()), (2, (0,)), (2, (1,)))
    """
    return _candidate_sets(size, parent_limit(size, max_parents))


def pair_index(size: int, max_parents: int | None = 2) -> Mapping[Pair, int]:
    """Where each pair stands in :func:`candidate_sets`; made once per (T, K), and read-only.

    >>> pair_index(6, 2)[3, (0, 4)]
    56
    """
    return _pair_index(size, parent_limit(size, max_parents))


@lru_cache(maxsize=32)
def children_of(pairs: tuple[Pair, ...]) -> Integers:
    """The child of each pair, (P,).

    >>> children_of(candidate_sets(2, 1)).tolist()
    [0, 0, 1, 1]
    """
    children = np.array([child for child, _ in pairs], np.int64)
    children.flags.writeable = False
    return children


def alone_columns(pairs: Sequence[Pair]) -> Integers:
    """For each pair, where the pair of the same child without parents stands, (P,).

    >>> alone_columns(candidate_sets(2, 1)).tolist()
    [0, 0, 2, 2]
    """
    alone = {child: place for place, (child, parents) in enumerate(pairs) if not parents}
    return np.array([alone[child] for child, _ in pairs], np.int64)


def columns_within(size: int, max_parents: int | None, tasks: Collection[int]) -> Integers:
    """Where the pairs of some of the tasks alone stand; in the order of these tasks' own :func:`candidate_sets`.

    >>> columns_within(3, 1, {0, 2}).tolist()
    [0, 2, 6, 7]
    """
    return _columns_within(size, parent_limit(size, max_parents), frozenset(tasks))


def pairs_of(graphs: Sequence[TaskGraph]) -> tuple[Pair, ...]:
    """The distinct (child, parent set) pairs that some graphs use, in canonical order: all that they need scored.

    >>> pairs_of([TaskGraph(((), (0,))), TaskGraph.independent(2)])
    ((0, ()), (1, ()), (1, (0,)))
    """
    used = {(child, row) for graph in graphs for child, row in enumerate(graph.parents)}
    return tuple(sorted(used, key=lambda pair: (pair[0], len(pair[1]), pair[1])))


@dataclass(frozen=True, eq=False)
class ScoreTable:
    """The cost of each task given each parent set, for one image (or on average): ``bits[i]`` belongs to ``pairs[i]``.

    Args:
        pairs: (child, parent set) pairs, each parent set ascending; every child has at least one.
        bits: their costs in bits, shape (P,). Negative is allowed; +inf means "not scored", like a pair left out.

    Attributes:
        size: ``T``, the number of tasks.

    Raises:
        ArgumentError: a number of costs other than that of pairs, a NaN or -inf among the costs, or malformed pairs.

    >>> scores = ScoreTable.of(2, [10.0, 4.0, 8.0, 3.0])
    >>> scores.cost(0, (1,)), scores.graph_bits(TaskGraph(((), (0,))))
    (4.0, 13.0)
    """

    pairs: tuple[Pair, ...]
    bits: Floats
    size: int = field(init=False)
    _index: Mapping[Pair, int] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Checks pairs and bits, and makes the bits a read-only float64 array."""
        index = _checked_pairs(self.pairs)
        bits = np.array(self.bits, dtype=np.float64)
        require_costs(bits, (len(self.pairs),))
        bits.flags.writeable = False
        object.__setattr__(self, "bits", bits)
        object.__setattr__(self, "size", self.pairs[-1][0] + 1 if self.pairs else 0)
        object.__setattr__(self, "_index", index)

    @classmethod
    def of(cls, size: int, bits: ArrayLike, max_parents: int | None = None) -> ScoreTable:
        """The table over ``candidate_sets(size, max_parents)``.

        >>> ScoreTable.of(3, range(9), max_parents=1).cost(2, (0,))
        7.0
        """
        return cls(candidate_sets(size, max_parents), np.asarray(bits, dtype=np.float64))

    def cost(self, child: int, parents: tuple[int, ...]) -> float:
        """What ``child`` costs given ``parents`` (ascending), in bits.

        Raises:
            ArgumentError: that pair was not scored.
        """
        position = self._index.get((child, parents))
        if position is None or self.bits[position] == np.inf:
            raise _unscored(child, parents)
        return float(self.bits[position])

    def graph_bits(self, graph: TaskGraph) -> float:
        """What a graph costs: the sum of ``cost(c, graph.parents[c])`` over tasks, in bits.

        Raises:
            ArgumentError: one of its pairs was not scored.
            GraphError: the graph has another number of tasks.
        """
        _require_size(graph, self.size)
        total = 0.0
        for child, row in enumerate(graph.parents):
            total += self.cost(child, row)
        return total


def graph_costs(bits: ArrayLike, graphs: Sequence[TaskGraph], pairs: tuple[Pair, ...] | None = None) -> Floats:
    """What each graph costs on each image: :meth:`ScoreTable.graph_bits`, for many at once.

    Args:
        bits: scores, shape (N, P), in bits; +inf where not scored.
        graphs: M graphs.
        pairs: what the columns of ``bits`` are; by default the :func:`candidate_sets` that are P in number.

    Returns:
        Costs in bits, shape (M, N); +inf where a graph uses a pair not scored on that image.

    Raises:
        ArgumentError: no graphs, a wrong shape, or a graph using a pair that is in no column.
        GraphError: graphs of different sizes.

    >>> graph_costs([[10.0, 4.0, 8.0, 3.0]], [TaskGraph(((), (0,))), TaskGraph(((1,), ()))])
    array([[13.],
           [12.]])
    """
    if not graphs:
        raise ArgumentError("graphs", "none", "at least one")
    table = np.asarray(bits, dtype=np.float64)
    places = _places(tuple(graphs), _columns(table, graphs[0].size, pairs))
    by_pair = np.ascontiguousarray(table.T)
    total = np.zeros((len(graphs), len(table)))
    for columns in places:
        total += by_pair[columns]
    return total


def parent_limit(size: int, max_parents: int | None) -> int:
    """``K`` as the tables use it: no more than ``size - 1``."""
    if size < 1:
        raise ArgumentError("number of tasks", str(size), "at least 1")
    if max_parents is not None and max_parents < 0:
        raise ArgumentError("max_parents", str(max_parents), "0 or more, or None for no limit")
    return size - 1 if max_parents is None else min(max_parents, size - 1)


def dense_scores(scores: ScoreTable, max_parents: int | None) -> Floats:
    """The scores aligned with ``candidate_sets(size, max_parents)``; +inf where a pair is absent."""
    limit = parent_limit(scores.size, max_parents)
    if scores.pairs == _candidate_sets(scores.size, limit):
        return scores.bits
    return np.append(scores.bits, np.inf)[_gather(scores.pairs, scores.size, limit)]


def require_costs(bits: Floats, shape: tuple[int | None, ...]) -> None:
    """Raises ArgumentError unless the array has that shape (None: any length) and neither NaN nor -inf in it."""
    fits = bits.ndim == len(shape) and all(want in (None, have) for have, want in zip(bits.shape, shape, strict=True))
    if not fits:
        wanted = ", ".join("N" if length is None else str(length) for length in shape)
        raise ArgumentError("scores", f"shape {bits.shape}", f"shape ({wanted})", "See candidate_sets for the columns.")
    if bits.size and not bits.min() > -np.inf:  # false for NaN, too
        raise ArgumentError("scores", "NaN or -inf", "finite numbers, or +inf for a pair that was not scored")


@lru_cache(maxsize=32)
def _candidate_sets(size: int, limit: int) -> tuple[Pair, ...]:
    return tuple(
        (child, parents)
        for child in range(size)
        for number in range(limit + 1)
        for parents in combinations([task for task in range(size) if task != child], number)
    )


@lru_cache(maxsize=32)
def _pair_index(size: int, limit: int) -> Mapping[Pair, int]:
    return MappingProxyType({pair: position for position, pair in enumerate(_candidate_sets(size, limit))})


@lru_cache(maxsize=256)
def _columns_within(size: int, limit: int, tasks: frozenset[int]) -> Integers:
    pairs = _candidate_sets(size, limit)
    columns = np.array(
        [n for n, (child, row) in enumerate(pairs) if child in tasks and tasks.issuperset(row)], np.int64
    )
    columns.flags.writeable = False
    return columns


@lru_cache(maxsize=8)
def _places(graphs: tuple[TaskGraph, ...], pairs: tuple[Pair, ...]) -> Integers:
    """Which of the pairs each graph uses, by child and graph, (T, M)."""
    size, index = graphs[0].size, _checked_pairs(pairs)
    places = np.empty((size, len(graphs)), np.int64)
    for row, graph in enumerate(graphs):
        _require_size(graph, size)
        for pair in enumerate(graph.parents):
            if pair not in index:
                raise _unscored(*pair)
            places[pair[0], row] = index[pair]
    return places


def _columns(bits: Floats, size: int, pairs: tuple[Pair, ...] | None) -> tuple[Pair, ...]:
    """What the columns of (N, P) scores are."""
    if pairs is not None:
        require_costs(bits, (None, len(pairs)))
        return pairs
    numbers = [sum(size * comb(size - 1, number) for number in range(limit + 1)) for limit in range(size)]
    if bits.ndim != 2 or bits.shape[1] not in numbers:
        raise ArgumentError(
            "scores", f"shape {bits.shape}", f"shape (N, P) with P one of {numbers}", "Or say what the pairs are."
        )
    require_costs(bits, (None, bits.shape[1]))
    return _candidate_sets(size, numbers.index(bits.shape[1]))


@lru_cache(maxsize=32)
def _gather(pairs: tuple[Pair, ...], size: int, limit: int) -> Integers:
    """Where in ``pairs`` each candidate stands; -1, the last, for those absent."""
    index = _checked_pairs(pairs)
    return np.array([index.get(pair, -1) for pair in _candidate_sets(size, limit)], np.int64)


@lru_cache(maxsize=32)
def _checked_pairs(pairs: tuple[Pair, ...]) -> Mapping[Pair, int]:
    """Where each pair stands, after making sure that pairs are pairs; the last one must be of the last child."""
    size = 1 + max((child for child, _ in pairs), default=-1)
    for child, parents in pairs:
        ascending = all(left < right for left, right in pairwise(parents))
        if not ascending or child in parents or not all(0 <= parent < size for parent in parents):
            raise ArgumentError(
                f"scored pairs of task {child}", str(parents), f"ascending other tasks from 0 to {size - 1}"
            )
    children = [child for child, _ in pairs]
    if children != sorted(children) or set(children) != set(range(size)):
        raise ArgumentError("scored pairs", "tasks missing or out of order", "every task from 0 up, by ascending child")
    if len(set(pairs)) < len(pairs) or not pairs:
        raise ArgumentError("scored pairs", "a pair twice" if pairs else "none", "each pair once, at least one")
    return {pair: position for position, pair in enumerate(pairs)}


def _require_size(graph: TaskGraph, size: int) -> None:
    if graph.size != size:
        raise GraphError("task graph", f"{graph.size} tasks", f"{size}, as many as the scores have")


def _unscored(child: int, parents: tuple[int, ...]) -> ArgumentError:
    return ArgumentError(
        f"score of task {child}", f"none given parents {parents}", "a number of bits", "Score this pair, too."
    )
