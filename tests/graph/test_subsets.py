"""Graphs for wanted tensors, against the enumeration of everything that could be sent."""

from __future__ import annotations

from itertools import chain, combinations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from atdc.errors import ArgumentError, GraphError
from atdc.graph import subsets
from atdc.graph.scores import candidate_sets, pair_index
from atdc.graph.subsets import SubsetGraph, best_superset
from atdc.graph.task_graph import TaskGraph

Costs = NDArray[np.float64]


def subsets_of(tensors: list[int]) -> list[tuple[int, ...]]:
    return list(chain.from_iterable(combinations(tensors, number) for number in range(len(tensors) + 1)))


def cost_of(
    graph: TaskGraph, sent: tuple[int, ...], wanted: set[int], rates: Costs, errors: Costs, limit: int
) -> float:
    index = pair_index(graph.size, limit)
    places = [(tensor, index[tensor, graph.parents[tensor]]) for tensor in sent]
    return float(sum(rates[place] + (errors[place] if tensor in wanted else 0) for tensor, place in places))


def brute_force(rates: Costs, errors: Costs, size: int, wanted: set[int], limit: int, helpers: set[int]) -> float:
    """The least cost over all sets of helpers and all graphs over them and the wanted tensors."""
    least = np.inf
    for extra in subsets_of(sorted(helpers - wanted)):
        sent = tuple(sorted(wanted | set(extra)))
        rows = [
            [row for row in subsets_of([t for t in sent if t != child]) if len(row) <= limit] if child in sent else [()]
            for child in range(size)
        ]
        for parents in product(*rows):
            try:
                graph = TaskGraph(parents)
            except GraphError:
                continue
            least = min(least, cost_of(graph, sent, wanted, rates, errors, limit))
    return least


@st.composite
def problems(draw: st.DrawFn) -> tuple[Costs, Costs, int, set[int], int, set[int]]:
    size = draw(st.integers(1, 4))
    limit = draw(st.integers(0, 2))
    pairs = len(candidate_sets(size, limit))
    few = st.lists(st.integers(0, 6), min_size=pairs, max_size=pairs)  # few values, so that there are ties
    wanted = draw(st.sets(st.integers(0, size - 1), min_size=1))
    helpers = draw(st.sets(st.integers(0, size - 1)))
    return np.array(draw(few), float), np.array(draw(few), float), size, wanted, limit, helpers


def is_a_plan(found: SubsetGraph, wanted: set[int], helpers: set[int]) -> bool:
    """Everything wanted is sent, and besides only allowed helpers that somebody wanted is predicted from."""
    used = set(found.graph.closure(wanted))
    edges = {task for edge in found.graph.edges for task in edge}
    return used == set(found.tensors) >= wanted and used <= wanted | helpers and edges <= used


@settings(max_examples=60, deadline=None)
@given(problems())
def test_the_cheapest_superset_equals_brute_force(problem: tuple[Costs, Costs, int, set[int], int, set[int]]) -> None:
    rates, errors, size, wanted, limit, helpers = problem
    found = best_superset(rates, errors, size, wanted, limit, helpers)
    assert is_a_plan(found, wanted, helpers)
    assert found.cost == cost_of(found.graph, found.tensors, wanted, rates, errors, limit)
    assert found.cost == brute_force(rates, errors, size, wanted, limit, helpers)


@settings(max_examples=60, deadline=None)
@given(problems())
def test_local_search_sends_a_plan_that_costs_what_it_says_and_no_less_than_the_best(
    problem: tuple[Costs, Costs, int, set[int], int, set[int]],
) -> None:
    rates, errors, size, wanted, limit, helpers = problem
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(subsets, "MAX_EXACT_TENSORS", 0)
        found = best_superset(rates, errors, size, wanted, limit, helpers)
    assert is_a_plan(found, wanted, helpers)
    assert found.cost == cost_of(found.graph, found.tensors, wanted, rates, errors, limit)
    assert found.cost >= brute_force(rates, errors, size, wanted, limit, helpers)


def random_costs(size: int, seed: int) -> tuple[Costs, Costs]:
    """Costs in which parents save, the more so the more their numbers are alike; wanted tensors share their helpers."""
    random, pairs = np.random.default_rng(seed), candidate_sets(size, 2)
    saving = random.gamma(1.0, 0.15, (size, size))
    base = random.uniform(100, 200, size)
    left = np.array([np.prod([1 - min(0.8, saving[child, parent]) for parent in row]) for child, row in pairs])
    rates = base[[child for child, _ in pairs]] * left
    return rates, 0.5 * rates


@pytest.mark.parametrize("seed", range(5))
def test_local_search_comes_near_exact_search_and_helpers_pay(seed: int) -> None:
    rates, errors = random_costs(9, seed)
    exact = best_superset(rates, errors, 9, [1, 4, 6])
    alone = best_superset(rates, errors, 9, [1, 4, 6], helpers=())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(subsets, "MAX_EXACT_TENSORS", 0)
        local = best_superset(rates, errors, 9, [1, 4, 6])
    assert exact.cost <= local.cost <= 1.05 * exact.cost
    assert exact.cost <= alone.cost and alone.tensors == (1, 4, 6)


def test_a_helper_that_pays_is_found_among_many_tensors() -> None:
    size = 20
    pairs = candidate_sets(size, 2)
    rates = np.array([100.0 if 17 not in row else 10.0 for _, row in pairs])
    rates[pair_index(size, 2)[17, ()]] = 50
    found = best_superset(rates, np.zeros(len(pairs)), size, [0, 1, 2])
    assert found.tensors == (0, 1, 2, 17) and found.cost == 80


def test_helpers_are_not_paid_for_their_error_and_wanted_tensors_are() -> None:
    index = pair_index(2, 1)
    rates, errors = np.array([9.0, 2.0, 1.0, 1.0]), np.array([0.0, 3.0, 50.0, 50.0])
    assert index[0, (1,)] == 1
    found = best_superset(rates, errors, 2, [0], 1)
    assert found.tensors == (0, 1) and found.cost == 6
    assert best_superset(rates, errors, 2, [0, 1], 1).cost == 2 + 3 + 1 + 50


def test_equal_costs_send_fewer_tensors() -> None:
    rates, errors = np.array([9.0, 5.0, 4.0, 4.0]), np.zeros(4)
    assert best_superset(rates, errors, 2, [0], 1).tensors == (0,)


@pytest.mark.parametrize(
    ("wanted", "rates", "said"),
    [
        ([], np.ones(4), "no tensors"),
        ([2], np.ones(4), "tensor 2"),
        ([0], np.ones(3), "shape"),
        ([0], -np.ones(4), "negative"),
        ([0], np.full(4, np.nan), "not finite"),
    ],
)
def test_what_is_no_problem_is_refused(wanted: list[int], rates: Costs, said: str) -> None:
    with pytest.raises(ArgumentError, match=said):
        best_superset(rates, np.ones(4), 2, wanted, 1)
