"""Choosing the task graph: from the predicted cost of each task given each parent set, to the graph to send.

A graph's cost is a sum of one term per task, ``score[c, parents(c)]`` (:mod:`atdc.graph.scores`), which is what makes
the search easy: the best graph under a *given order* lets every task choose its best set among its predecessors, on its
own (:mod:`atdc.graph.orders`).

========================  ==========================================================  =============================
setting                   what it sends                                               function
========================  ==========================================================  =============================
``codebook``              per image, the cheapest of M graphs kept with the weights   :func:`cheapest_candidates`
``exact``                 per image, the cheapest graph there is                      :func:`exact`
``greedy``                per image, edges by descending gain in bits                 :func:`greedy`
``paper``                 per image, edges by descending gain in exp(-L)              :func:`paper`
``fixed``                 always the cheapest graph on average                        :func:`exact` of mean scores
``fixed-mode``            always the most frequent exact graph                        :func:`fixed_mode`
``chain``                 always the order of ``fixed``, all predecessors as parents
``paper-order``           n, s, d, k, t, a; per image, best predecessors              :func:`paper_order`
``random``                per image, a random order, best predecessors                :func:`random_order`
``independent``           always the graph without edges                              :meth:`TaskGraph.independent`
========================  ==========================================================  =============================

``max_parents`` is ``K``, the most parents a task may have; None means no limit.
"""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import ArrayLike

from atdc.errors import ArgumentError
from atdc.graph.orders import (
    MAX_LOCAL_TASKS,
    best_parents,
    cheapest_order,
    cheapest_subsets,
    improved_order,
    predecessor_cost,
    require_few,
    subset_table,
)
from atdc.graph.scores import (
    Floats,
    Integers,
    Pair,
    ScoreTable,
    candidate_sets,
    dense_scores,
    graph_costs,
    pair_index,
    parent_limit,
    require_costs,
)
from atdc.graph.task_graph import TaskGraph

Setting = Literal[
    "codebook", "exact", "greedy", "paper", "fixed", "fixed-mode", "chain", "paper-order", "random", "independent"
]

SETTINGS: tuple[Setting, ...] = get_args(Setting)
"""The names of the search settings."""

PAPER_ORDER: tuple[int, ...] = (3, 0, 4, 1, 2, 5)
"""The fixed order n, s, d, k, t, a of the ATDC paper (CVPR 2026), as task indices."""

_CELLS_PER_CHUNK = 1 << 16
"""Images per batch of the exact search times T * 2^T: one array of a chunk is 1 MiB and stays in cache."""


def parse_setting(name: str) -> Setting:
    """The search setting of that name.

    Raises:
        ArgumentError: no such setting; the message lists all, and the one probably meant.

    >>> parse_setting("fixed-mode")
    'fixed-mode'
    >>> parse_setting("exakt")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    atdc.errors.ArgumentError: graph setting: found 'exakt'; expected one of codebook, exact, ... Did you mean 'exact'?
    """
    if name in SETTINGS:
        return name
    close = difflib.get_close_matches(name.lower().replace("_", "-"), SETTINGS, n=1)
    cure = f"Did you mean {close[0]!r}?" if close else ""
    raise ArgumentError("graph setting", repr(name), f"one of {', '.join(SETTINGS)}", cure)


# --- per image --------------------------------------------------------------------------------------------------------


def exact(scores: ScoreTable, max_parents: int | None = 2) -> TaskGraph:
    """The cheapest graph there is, for these scores: a dynamic programme over the subsets of tasks.

        cheapest[c, U] = min_{S within U, |S| <= K} score[c, S]
        best[U] = min_{c in U} best[U - c] + cheapest[c, U - c],        best[{}] = 0

    ``best[all tasks]`` is the least cost, and the choices made on the way are the graph (Silander and Myllymaki, UAI
    2006; Koivisto and Sood, JMLR 2004). Both lines take O(T^2 * 2^T) steps; T = 6 takes a fraction of a millisecond.

    Ties, where costs are equal as float64 sums: the graph with fewer edges; then the order that sends smaller indices
    first; then, for each task, fewer parents and the lexicographically smallest set.

    Raises:
        ArgumentError: more than ``MAX_EXACT_TASKS`` tasks, or too few pairs scored for any graph.

    >>> exact(ScoreTable.of(2, [10.0, 4.0, 8.0, 3.0])).describe("ab")
    'b a←b'
    """
    return exact_batch(dense_scores(scores, max_parents)[None], scores.size, max_parents)[0]


def exact_batch(bits: ArrayLike, size: int, max_parents: int | None = 2) -> list[TaskGraph]:
    """:func:`exact` for many images at once, with the same answers.

    Args:
        bits: scores aligned with ``candidate_sets(size, max_parents)``, shape (N, P), in bits; +inf where not scored.
        size: ``T``, the number of tasks.
        max_parents: ``K``.

    Returns:
        One graph per image; equal graphs are one object.

    Raises:
        ArgumentError: a wrong shape, too many tasks, or too few pairs scored for any graph.

    >>> [graph.describe("ab") for graph in exact_batch([[10, 4, 8, 3], [10, 9, 8, 3]], size=2)]
    ['b a←b', 'a b←a']
    """
    limit = parent_limit(size, max_parents)
    pairs = candidate_sets(size, limit)
    table = np.asarray(bits, dtype=np.float64)
    require_costs(table, (None, len(pairs)))
    require_few(size)
    chosen = np.empty((len(table), size), np.int64)
    step = max(1, _CELLS_PER_CHUNK // (size << size))
    for start in range(0, len(table), step):
        part = table[start : start + step]
        order = cheapest_order(cheapest_subsets(part, size, limit))
        chosen[start : start + step] = best_parents(part, order, size, limit)
    rows = [tuple(row) for row in chosen.tolist()]
    graphs = {row: TaskGraph(tuple(pairs[position][1] for position in row)) for row in set(rows)}
    return [graphs[row] for row in rows]


def greedy(scores: ScoreTable, max_parents: int | None = 2, gain_threshold_bits: float = 0.0) -> TaskGraph:
    """Edges one by one, by descending gain in bits: ``gain = score[c, S] - score[c, S + p]``.

    The paper's loop (see :func:`paper`) with the gain in the unit that is paid for. O(K * T^2 log T) steps.

    Raises:
        ArgumentError: a task's score without parents is missing.

    >>> greedy(ScoreTable.of(2, [10.0, 4.0, 8.0, 3.0])).describe("ab")
    'b a←b'
    """
    return _greedy(-dense_scores(scores, max_parents), scores.size, max_parents, gain_threshold_bits)


def paper(
    loss_nats: ArrayLike, empty_predictability: ArrayLike, max_parents: int | None = 2, threshold: float = 0.2
) -> TaskGraph:
    """The greedy search of the ATDC paper (CVPR 2026): edges by descending gain in predictability.

    Predictability is ``C[c, S] = exp(-L[c, S])``, and the gain of an edge ``g(p, c) = C[c, S + p] - C[c, S]``, where
    ``S`` are the parents that ``c`` has. For k = 1 .. K: collect every edge with a gain above the threshold, all gains
    taken with the parents of that moment; add them in descending order, each if the graph stays acyclic and the child
    has fewer than k parents. (So a child gets at most one parent per k, and each gain is what its edge really adds:
    who gained nothing at k can gain nothing at k + 1, as cycles never go away.) Equal gains: smaller child, then
    smaller parent, first. How two-parent sets are scored and what ``C[c, {}]`` is, the paper leaves open.

    Args:
        loss_nats: ``L``, the predictor's loss in nats per element, shape (P,), aligned with
            ``candidate_sets(T, max_parents)``; the entries of empty parent sets are not used.
        empty_predictability: ``C[c, {}]``, shape (T,).
        max_parents: ``K_max``; the paper's is 2.
        threshold: what a gain must exceed; the paper's is 0.2.

    Raises:
        ArgumentError: a wrong shape or a NaN.

    >>> paper([9.0, 0.1, 9.0, 0.2], empty_predictability=[0.4, 0.6]).describe("ab")
    'b a←b'
    >>> paper([9.0, 0.1, 9.0, 0.2], empty_predictability=[0.8, 0.7]).describe("ab")
    'a b'
    """
    empty = np.asarray(empty_predictability, dtype=np.float64)
    loss = np.asarray(loss_nats, dtype=np.float64)
    if empty.ndim != 1 or not len(empty) or not np.isfinite(empty).all():
        raise ArgumentError("empty_predictability", f"{empty!r}", "one finite number per task")
    size = len(empty)
    require_costs(loss, (len(candidate_sets(size, max_parents)),))
    predictability = np.exp(-loss).reshape(size, -1)
    predictability[:, 0] = empty
    return _greedy(predictability.reshape(-1), size, max_parents, threshold)


def order_graph(scores: ScoreTable, order: Sequence[int], max_parents: int | None = 2) -> TaskGraph:
    """The cheapest graph in which every task's parents precede it in ``order``.

    Each task takes ``argmin_{S within its predecessors, |S| <= K} score[c, S]``; ties: fewer parents, then the
    lexicographically smallest set. O(P) steps.

    Raises:
        ArgumentError: the order is not one of all tasks, or a task has no scored set among its predecessors.

    >>> order_graph(ScoreTable.of(2, [10.0, 4.0, 8.0, 3.0]), (0, 1)).describe("ab")
    'a b←a'
    """
    size, limit = scores.size, parent_limit(scores.size, max_parents)
    if sorted(order) != list(range(size)):
        raise ArgumentError("order", str(tuple(order)), f"each task from 0 to {size - 1} once")
    if size > MAX_LOCAL_TASKS:
        raise ArgumentError("number of tasks", str(size), f"at most {MAX_LOCAL_TASKS}")
    chosen = best_parents(dense_scores(scores, max_parents)[None], np.array([order], np.int64), size, limit)
    pairs = candidate_sets(size, limit)
    return TaskGraph(tuple(pairs[position][1] for position in chosen[0].tolist()))


def paper_order(scores: ScoreTable, max_parents: int | None = 2) -> TaskGraph:
    """:func:`order_graph` with the fixed order n, s, d, k, t, a of the ATDC paper.

    Raises:
        ArgumentError: the scores are not those of the six tasks.

    >>> paper_order(ScoreTable.of(6, [0.0] * 96, 2)).describe("sktnda")
    's k t n d a'
    """
    if scores.size != len(PAPER_ORDER):
        raise ArgumentError("graph setting", f"'paper-order' for {scores.size} tensors", "the six tasks of the paper")
    return order_graph(scores, PAPER_ORDER, max_parents)


def random_order(scores: ScoreTable, rng: np.random.Generator, max_parents: int | None = 2) -> TaskGraph:
    """:func:`order_graph` with an order drawn uniformly.

    >>> random_order(ScoreTable.of(2, [10.0, 4.0, 8.0, 3.0]), np.random.default_rng(0)).size
    2
    """
    return order_graph(scores, rng.permutation(scores.size).tolist(), max_parents)


def local_search(scores: ScoreTable, max_parents: int | None = 2, restarts: int = 32, seed: int = 0) -> TaskGraph:
    """A good graph for more tasks than :func:`exact` can take: local search over orders.

    The state is an order, its cost that of :func:`order_graph` (Teyssier and Koller, UAI 2005); a move takes one task
    out and puts it back where the total is least, so that every swap of neighbours and every longer jump is tried. It
    starts from the order of :func:`greedy`, then from ``restarts`` random ones, and stops where no move helps; the best
    is returned, hence never worse than greedy. Deterministic for a seed. A sweep looks up O(T^2) costs of O(T^K) steps.
    On normally distributed random scores of 14 tasks it missed at most 0.3 % of the saving that exact finds over
    independent coding (20 tables), where greedy missed 22 % on average.

    Raises:
        ArgumentError: more than ``MAX_LOCAL_TASKS`` tasks, a negative number of restarts, or a task's score without
            parents is missing.

    >>> local_search(ScoreTable.of(2, [10.0, 4.0, 8.0, 3.0])).describe("ab")
    'b a←b'
    """
    size = scores.size
    if restarts < 0:
        raise ArgumentError("restarts", str(restarts), "0 or more")
    if size > MAX_LOCAL_TASKS:
        raise ArgumentError("number of tasks", str(size), f"at most {MAX_LOCAL_TASKS}")
    cost = predecessor_cost(dense_scores(scores, max_parents), size, max_parents)
    rng = np.random.default_rng(seed)
    starts = [list(greedy(scores, max_parents).order), *(rng.permutation(size).tolist() for _ in range(restarts))]
    candidates = [order_graph(scores, improved_order(start, cost), max_parents) for start in starts]
    return min(candidates, key=scores.graph_bits)


def _each(search: Callable[[ScoreTable, int | None, np.random.Generator], TaskGraph]) -> Search:
    """A search of one image's scores as one of many images', each with random numbers of its own."""

    def of_all(
        bits: Floats, size: int, max_parents: int | None, rng: Callable[[int], np.random.Generator]
    ) -> list[TaskGraph]:
        tables = [ScoreTable.of(size, row, max_parents) for row in bits]
        return [search(table, max_parents, rng(place)) for place, table in enumerate(tables)]

    return of_all


Search: TypeAlias = Callable[[Floats, int, "int | None", Callable[[int], np.random.Generator]], list[TaskGraph]]
"""From scores of all pairs (N, P), the number of tensors, K, and random numbers by image, to one graph per image."""

SEARCHES: Mapping[str, Search] = MappingProxyType(
    {
        "exact": lambda bits, size, max_parents, rng: exact_batch(bits, size, max_parents),
        "greedy": _each(lambda scores, max_parents, rng: greedy(scores, max_parents)),
        "paper-order": _each(lambda scores, max_parents, rng: paper_order(scores, max_parents)),
        "random": _each(lambda scores, max_parents, rng: random_order(scores, rng, max_parents)),
    }
)
"""The settings that search each image's scores: a further one is a row here and a name in :data:`Setting`."""


# --- one graph for all images, or a few -------------------------------------------------------------------------------


def most_frequent(graphs: Sequence[TaskGraph], limit: int | None = None) -> list[TaskGraph]:
    """The distinct graphs, the most frequent first (equally frequent ones by their parents), at most ``limit``.

    >>> alone, edge = TaskGraph(((), ())), TaskGraph(((), (0,)))
    >>> [graph.describe("ab") for graph in most_frequent([alone, edge, alone])]
    ['a b', 'a b←a']
    """
    counts = Counter(graphs)
    return sorted(counts, key=lambda graph: (-counts[graph], graph.parents))[:limit]


def fixed_mode(graphs: Sequence[TaskGraph]) -> TaskGraph:
    """The most frequent of the per-image graphs.

    Raises:
        ArgumentError: no graphs.

    >>> fixed_mode([TaskGraph(((), (0,)))] * 2 + [TaskGraph(((), ()))]).describe("ab")
    'a b←a'
    """
    if not graphs:
        raise ArgumentError("graphs", "none", "at least one")
    return most_frequent(graphs, 1)[0]


def chain(mean_scores: ScoreTable) -> TaskGraph:
    """The best order, with *all* predecessors as parents.

    With ideal coders every order would cost the same (the chain rule of entropy), so this is the baseline that a
    choice of edges has to beat.

        best[U] = min_{c in U} best[U - c] + score[c, U - c]

    O(T * 2^T) steps. Ties: the order that sends smaller indices first.

    Args:
        mean_scores: must score parent sets of every size, ``ScoreTable.of(T, bits)``: 192 pairs at T = 6.

    Raises:
        ArgumentError: the larger parent sets were not scored, or there are too many tasks.

    >>> chain(ScoreTable.of(3, [9, 9, 9, 1, 9, 2, 9, 9, 3, 9, 9, 9])).describe("abc")
    'c b←c a←bc'
    """
    size = mean_scores.size
    require_few(size)
    order = cheapest_order(subset_table(dense_scores(mean_scores, None)[None], size, size - 1))[0].tolist()
    parents: list[tuple[int, ...]] = [()] * size
    for place, child in enumerate(order):
        parents[child] = tuple(sorted(order[:place]))
    return TaskGraph(tuple(parents))


def cheapest_candidates(
    bits: ArrayLike, graphs: Sequence[TaskGraph], pairs: tuple[Pair, ...] | None = None, correction: ArrayLike = 0.0
) -> Integers:
    """For each image the cheapest of the graphs, ``argmin_m extra_m + sum_c score[c, parents_m(c)]``; ties: the first.

    Args:
        bits: scores, shape (N, P), in bits.
        graphs: the candidate graphs, M of them; only the pairs in ``pairs_of(graphs)`` need scores.
        pairs: what the columns of ``bits`` are; by default the :func:`candidate_sets` that are P in number.
        correction: what each graph takes beyond its pairs' scores, shape (M,), in bits; nothing by default.

    Returns:
        Indices into ``graphs``, shape (N,).

    Raises:
        ArgumentError: as :func:`graph_costs`; also an image on which no graph is fully scored.

    >>> candidates = [TaskGraph(((), (0,))), TaskGraph(((1,), ()))]
    >>> cheapest_candidates([[10, 4, 8, 3], [10, 9, 8, 3]], candidates)
    array([1, 0])
    """
    costs = graph_costs(bits, graphs, pairs)
    if np.isinf(costs.min(axis=0)).any():
        raise ArgumentError(
            "scores", "an image on which no graph is fully scored", "finite costs", "Score pairs_of(graphs)."
        )
    return (costs + np.reshape(correction, (-1, 1))).argmin(axis=0).astype(np.int64)


def build_candidates(
    bits: ArrayLike,
    codebook_size: int,
    start: Sequence[TaskGraph],
    candidates: Sequence[TaskGraph],
    candidate_limit: int = 2000,
) -> tuple[TaskGraph, ...]:
    """A few graphs that serve all images well, each image being free to take the cheapest.

    Starting from ``start``, each new graph is the candidate that lowers ``mean_n min_m cost[m, n]`` most. That drop is
    a monotone submodular function of the set of graphs added, so this greedy choice reaches at least 1 - 1/e = 63 % of
    the drop that the best set of that size has (Nemhauser, Wolsey and Fisher, 1978). O(M * candidates * N) steps.

    Args:
        bits: scores of the training images, shape (N, P), in bits, of :func:`candidate_sets`.
        codebook_size: ``M``, at least 1.
        start: graphs that no image shall do worse than, usually the cheapest on average; at least one, no two alike.
        candidates: graphs to choose from, usually the exact ones of the training images, repetitions included.
        candidate_limit: only so many of the candidates, the most frequent, are looked at.

    Returns:
        ``start`` and others in the order they were added, M in all unless ``start`` has more; fewer when no candidate
        lowers the mean.

    Raises:
        ArgumentError: a size below 1, no images, or as :func:`graph_costs`.

    >>> training = [[10, 4, 8, 3], [10, 9, 8, 3]]
    >>> candidates = build_candidates(training, 4, [TaskGraph.independent(2)], exact_batch(training, 2))
    >>> [graph.describe("ab") for graph in candidates]
    ['a b', 'a b←a', 'b a←b']
    """
    if codebook_size < 1:
        raise ArgumentError("codebook_size", str(codebook_size), "at least 1")
    graphs = [*start, *(graph for graph in most_frequent(candidates, candidate_limit) if graph not in start)]
    costs = graph_costs(bits, graphs)
    if not costs.size:
        raise ArgumentError("scores", "no images", "at least one")
    chosen = list(range(len(start)))
    current = costs[chosen].min(0)
    while len(chosen) < codebook_size:
        means = np.array([np.minimum(current, row).mean() for row in costs])
        pick = int(means.argmin())
        if not means[pick] < current.mean():
            break
        chosen.append(pick)
        current = np.minimum(current, costs[pick])
    return tuple(graphs[number] for number in chosen)


def _greedy(value: Floats, size: int, max_parents: int | None, threshold: float) -> TaskGraph:
    """The loop of :func:`paper` for any value of (child, parent set) pairs; an edge's gain is what it adds to it."""
    limit = parent_limit(size, max_parents)
    index = pair_index(size, limit)
    values = value.tolist()
    parents: list[tuple[int, ...]] = [()] * size
    before = [0] * size  # the ancestors of each task, as a bit mask
    if any(np.isinf(values[index[child, ()]]) for child in range(size)):
        raise ArgumentError("scores", "a task without a score for no parents", "one for every task")
    for number in range(1, limit + 1):
        gains = []
        for child, row in enumerate(parents):
            present = values[index[child, row]]
            others = [task for task in range(size) if task != child and task not in row]
            gains += [(values[index[child, tuple(sorted((*row, task)))]] - present, child, task) for task in others]
        for gain, child, parent in sorted(gains, key=lambda entry: (-entry[0], *entry[1:])):
            if gain <= threshold:
                break
            if len(parents[child]) < number and not before[parent] >> child & 1:
                parents[child] = tuple(sorted((*parents[child], parent)))
                above = before[parent] | 1 << parent
                below = [task for task in range(size) if task == child or before[task] >> child & 1]
                for task in below:
                    before[task] |= above
    return TaskGraph(tuple(parents))
