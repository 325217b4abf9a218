"""Some tasks first: what is found is the cheapest graph in which these are predicted from each other alone."""

from __future__ import annotations

from functools import cache

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from atdc.graph.ordered import joined, ordered_scores
from atdc.graph.scores import candidate_sets, graph_costs
from atdc.graph.search import SEARCHES, exact_batch
from atdc.graph.task_graph import TaskGraph

SIZE = 4
PAIRS = candidate_sets(SIZE, 2)
tables = st.integers(0, 1 << 30).map(lambda seed: np.random.default_rng(seed).normal(size=(3, len(PAIRS))))
firsts = st.sets(st.integers(0, SIZE - 1), min_size=1, max_size=SIZE - 1)


@cache
def every_graph() -> list[TaskGraph]:
    ranks = range(TaskGraph.count(SIZE, 2))
    return [TaskGraph.unrank(rank, SIZE, 2) for rank in ranks]


@given(tables, firsts)
def test_the_exact_search_with_some_first_equals_brute_force(table, first):
    found = exact_batch(ordered_scores(table, PAIRS, first), SIZE)
    allowed = [graph for graph in every_graph() if graph.is_closed(first)]
    costs = graph_costs(table, allowed)
    for image, graph in enumerate(found):
        assert graph.is_closed(first)
        assert np.isclose(graph_costs(table[image : image + 1], [graph])[0, 0], costs[:, image].min())


@given(tables, firsts)
def test_first_the_best_of_the_first_then_the_best_of_the_rest_is_the_best_of_all(table, first):
    tasks = sorted(first)
    own = [n for n, (child, parents) in enumerate(PAIRS) if {child, *parents} <= first]
    heads = exact_batch(table[:, own], len(tasks))
    whole = exact_batch(ordered_scores(table, PAIRS, first), SIZE)
    for image, (head, graph) in enumerate(zip(heads, whole, strict=True)):
        rows: list[tuple[int, ...]] = [()] * SIZE
        for child, parents in zip(tasks, head.parents, strict=True):
            rows[child] = tuple(tasks[parent] for parent in parents)
        both = joined(TaskGraph(tuple(rows)), graph, first)
        costs = graph_costs(table[image : image + 1], [both, graph])
        assert np.isclose(costs[0, 0], costs[1, 0])


@given(st.integers(0, 542), st.integers(0, 542), firsts)
def test_any_head_goes_with_any_tail(head, tail, first):
    head, tail = TaskGraph.unrank(head, SIZE), TaskGraph.unrank(tail, SIZE)
    graph = joined(head, tail, first)
    assert graph.is_closed(first)
    assert all(graph.parents[task] == tail.parents[task] for task in range(SIZE) if task not in first)
    assert all(set(graph.parents[task]) == set(head.parents[task]) & first for task in first)


@given(tables, firsts, st.sampled_from(["exact", "greedy", "random"]))
def test_every_search_keeps_the_order(table, first, name):
    for graph in SEARCHES[name](ordered_scores(table, PAIRS, first), SIZE, 2, np.random.default_rng):
        assert graph.is_closed(first)
