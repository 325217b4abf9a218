"""Graphs of wanted sets as weights keep them."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from atdc.errors import ArgumentError
from atdc.graph.graph_tables import GraphTables
from atdc.graph.scores import candidate_sets, pair_index
from atdc.graph.subsets import best_superset
from atdc.graph.task_graph import TaskGraph
from atdc.graph.wanted import WantedGraphs

HELPED = TaskGraph(((1,), (), ()))
"""0 is predicted from 1."""


def tables(seed: int = 0) -> WantedGraphs:
    random, pairs = np.random.default_rng(seed), candidate_sets(3, 2)
    return WantedGraphs(
        2, random.uniform(1, 9, (8, len(pairs))).round(2), random.uniform(1, 9, (8, len(pairs))).round(2), {}
    )


def kept() -> WantedGraphs:
    return replace(tables(), graphs={(0,): (HELPED,) * 4 + (TaskGraph.independent(3),) * 4})


def test_a_kept_graph_is_that_of_the_nearest_integer_quality() -> None:
    own = kept()
    for steps, graph in ((0, HELPED), (27, HELPED), (28, TaskGraph.independent(3)), (56, TaskGraph.independent(3))):
        assert own.graph((0,), (steps,) * 3, range(3)) == graph


def test_a_kept_graph_is_not_used_without_its_helpers() -> None:
    found = kept().graph((0,), (8,) * 3, (0, 2))
    assert found.closure([0]) != (1, 0) and 1 not in found.closure([0])


def test_other_sets_follow_from_mean_costs_at_each_tensors_own_quality() -> None:
    own, steps = tables(), (4, 56, 20)
    children = [child for child, _ in candidate_sets(3, 2)]
    rows = []
    for table in (own.rates, own.errors):
        exact = np.array(steps)[children] / 8
        columns = np.arange(len(children))
        rows.append([np.interp(exact[column], range(8), table[:, column]) for column in columns])
    for wanted in ((0,), (1,), (2,), (0, 2), (1, 2), (0, 1, 2)):
        assert own.graph(wanted, steps, range(3)) == best_superset(rows[0], rows[1], 3, wanted, 2).graph


def test_one_tensors_quality_changes_the_graph_of_the_set() -> None:
    """0 helps 1 at quality 7 of 1 alone."""
    own, index = tables(), pair_index(3, 2)
    own.rates[:], own.errors[:] = 5, 1
    own.rates[7, index[1, (0,)]], own.rates[:, index[0, ()]] = 1, 1
    assert own.graph((1,), (0, 0, 0), range(3)) == TaskGraph.independent(3)
    assert own.graph((1,), (0, 56, 0), range(3)) == TaskGraph(((), (0,), ()))


def test_a_found_graph_is_searched_once(monkeypatch: pytest.MonkeyPatch) -> None:
    own = tables()
    first = own.graph((0, 1), (8,) * 3, range(3))
    monkeypatch.setattr("atdc.graph.wanted.best_superset", None)
    assert own.graph((0, 1), (8,) * 3, range(3)) is first


def test_graph_tables_keep_graphs_of_wanted_sets_and_older_ones_have_none() -> None:
    graph_tables = replace(GraphTables.untrained(3), wanted=kept())
    again = GraphTables.from_json(json.loads(json.dumps(graph_tables.to_json())))
    again.require_tasks(3)
    assert again.wanted is not None and again.wanted.graphs == kept().graphs
    assert np.array_equal(again.wanted.rates, kept().rates) and np.array_equal(again.wanted.errors, kept().errors)
    older = GraphTables.untrained(3).to_json()
    assert "wanted" not in older and GraphTables.from_json(older).wanted is None


@pytest.mark.parametrize(
    "change",
    [
        {"rates": [[1.0]]},
        {"errors": [[-1.0] * 12] * 8},
        {"rates": [[float("nan")] * 12] * 8},
        {"max_parents": 1},
        {"max_parents": True},
        {"graphs": [[[], [[[], [], []]] * 8]]},
        {"graphs": [[[3], [[[], [], []]] * 8]]},
        {"graphs": [[[1, 0], [[[], [], []]] * 8]]},
        {"graphs": [[[0], [[[], [], []]] * 8]] * 2},
        {"graphs": [[["0"], [[[], [], []]] * 8]]},
        {"graphs": [[[0], [[[], [], []]] * 7]]},
        {"graphs": [[[0], [[[], []]] * 8]]},
        {"graphs": [[[0], [[[1], [0], []]] * 8]]},
    ],
)
def test_a_broken_part_of_the_header_is_refused(change: dict[str, object]) -> None:
    values = {**kept().to_json(), **change}
    graph_tables = GraphTables.untrained(3).to_json() | {"wanted": values}
    with pytest.raises(ArgumentError if "graphs" not in change else Exception, match=r"wanted|graph|cycle"):
        read = GraphTables.from_json(graph_tables)
        read.require_tasks(3)
        read.require_parents(2)
