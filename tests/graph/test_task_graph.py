"""Laws of task graphs: never cyclic, an order that respects parents, and a numbering without gaps or repetitions."""

from __future__ import annotations

import pickle
from itertools import combinations, pairwise, product
from math import comb

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atdc.errors import AtdcError, GraphError
from atdc.graph.task_graph import MAX_RANKED_TASKS, TaskGraph

SMALL = [(size, limit) for size in range(1, 5) for limit in (*range(size), None)]
"""Every kind of graph that can be enumerated in a moment: up to four tasks, every limit on parents."""


@st.composite
def graphs(draw: st.DrawFn, max_size: int = 9, max_parents: int = 8) -> TaskGraph:
    """Any graph: an order, and for each task any few of its predecessors. Knows nothing of ranks."""
    size = draw(st.integers(1, max_size))
    order = draw(st.permutations(range(size)))
    parents: list[tuple[int, ...]] = [()] * size
    for place, task in enumerate(order):
        if place:
            chosen = draw(st.sets(st.sampled_from(order[:place]), max_size=max_parents))
            parents[task] = tuple(draw(st.permutations(sorted(chosen))))
    return TaskGraph(tuple(parents))


def has_cycle(parents: tuple[tuple[int, ...], ...]) -> bool:
    """By peeling roots: written apart from the code under test."""
    left = set(range(len(parents)))
    while roots := {task for task in left if not left.intersection(parents[task])}:
        left -= roots
    return bool(left)


def parent_tables(size: int, limit: int | None) -> list[tuple[tuple[int, ...], ...]]:
    """Every choice of parents, cyclic ones included."""
    widest = size - 1 if limit is None else limit
    rows = [
        [row for number in range(widest + 1) for row in combinations([t for t in range(size) if t != child], number)]
        for child in range(size)
    ]
    return list(product(*rows))


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_a_graph_can_be_built_exactly_when_it_has_no_cycle(size: int) -> None:
    for parents in parent_tables(size, None):
        if has_cycle(parents):
            with pytest.raises(GraphError, match="cycle"):
                TaskGraph(parents)
        else:
            assert TaskGraph(parents).parents == parents


@given(graphs(), st.data())
@settings(deadline=None)
def test_closing_a_path_names_a_real_cycle(graph: TaskGraph, data: st.DataObject) -> None:
    below = [(ancestor, task) for task in range(graph.size) for ancestor in graph.ancestors(task)]
    if not below:
        return
    ancestor, task = data.draw(st.sampled_from(below))
    with pytest.raises(GraphError) as caught:
        TaskGraph.from_edges(graph.size, [*graph.edges, (task, ancestor)])
    walk = [int(step) for step in caught.value.found.removeprefix("the cycle ").split("→")]
    assert walk[0] == walk[-1] == min(walk) and len(set(walk)) == len(walk) - 1 >= 2
    assert set(pairwise(walk)) <= {*graph.edges, (task, ancestor)}


@given(graphs())
@settings(deadline=None)
def test_order_sends_parents_first_layer_by_layer(graph: TaskGraph) -> None:
    assert sorted(graph.order) == list(range(graph.size))
    for task in range(graph.size):
        assert graph.layers[task] == max((graph.layers[parent] + 1 for parent in graph.parents[task]), default=0)
        assert all(graph.order.index(parent) < graph.order.index(task) for parent in graph.parents[task])
    places = [(graph.layers[task], task) for task in graph.order]
    assert places == sorted(places)


@given(graphs())
@settings(deadline=None)
def test_views_of_a_graph_agree(graph: TaskGraph) -> None:
    assert TaskGraph.from_edges(graph.size, reversed(graph.edges)) == graph
    assert {(task, child) for task in range(graph.size) for child in graph.children(task)} == set(graph.edges)
    assert set(graph.roots) == set(range(graph.size)) - {child for _, child in graph.edges}
    for task in range(graph.size):
        own = set(graph.parents[task])
        assert set(graph.ancestors(task)) == own.union(*(graph.ancestors(parent) for parent in own))
        assert task not in graph.ancestors(task)


@given(graphs())
@settings(deadline=None)
def test_a_graph_is_a_value(graph: TaskGraph) -> None:
    again = TaskGraph(tuple(tuple(reversed(row)) for row in graph.parents))
    assert again == graph and hash(again) == hash(graph) and pickle.loads(pickle.dumps(graph)) == graph
    assert all(row == tuple(sorted(row)) for row in graph.parents)
    with pytest.raises(AttributeError):
        graph.parents = ()  # type: ignore[misc]


@given(graphs())
@settings(deadline=None)
def test_description_tells_every_edge(graph: TaskGraph) -> None:
    letters = "abcdefghi"[: graph.size]
    words = [word.partition("←") for word in graph.describe(letters).split(" ")]
    assert tuple(letters.index(child) for child, _, _ in words) == graph.order
    told = {(letters.index(parent), letters.index(child)) for child, _, row in words for parent in row}
    assert told == set(graph.edges)


def test_description_of_longer_names() -> None:
    assert TaskGraph(((), (), (0, 1))).describe(["left", "right", "flow"]) == "left right flow←left,right"
    with pytest.raises(GraphError, match="found 2 of them; expected 3, one per task"):
        TaskGraph.independent(3).describe("ab")


@pytest.mark.parametrize(
    ("parents", "message"),
    [
        ((), "found no tasks; expected at least one"),
        (((1,),), "parents of task 0: found task 1; expected tasks from 0 to 0"),
        (((), (-1,)), "parents of task 1: found task -1"),
        (((), (1,)), "parents of task 1: found the task itself"),
        (((), (0, 0)), "parents of task 1: found task 0 twice"),
        (((1,), (2,), (0,)), "found the cycle 0→2→1→0"),
        (((), (0.5,)), "one collection of task numbers per task"),
        (((), 0), "one collection of task numbers per task"),
    ],
)
def test_malformed_graphs_cannot_be_built(parents: object, message: str) -> None:
    with pytest.raises(GraphError, match=message) as caught:
        TaskGraph(parents)  # type: ignore[arg-type]
    assert isinstance(caught.value, AtdcError) and isinstance(caught.value, ValueError)


def test_unknown_tasks_are_refused_by_every_view() -> None:
    graph = TaskGraph.independent(2)
    for task in (-1, 2):
        with pytest.raises(GraphError):
            graph.children(task)
        with pytest.raises(GraphError):
            graph.ancestors(task)
    with pytest.raises(GraphError, match="edge 0→5"):
        TaskGraph.from_edges(2, [(0, 5)])


# --- the numbering ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "limit"), SMALL)
def test_ranks_number_all_graphs_without_gaps(size: int, limit: int | None) -> None:
    every = {parents for parents in parent_tables(size, limit) if not has_cycle(parents)}
    count = TaskGraph.count(size, limit)
    numbered = [TaskGraph.unrank(rank, size, limit) for rank in range(count)]
    assert {graph.parents for graph in numbered} == every and len(every) == count
    assert [graph.rank(limit) for graph in numbered] == list(range(count))


@given(st.integers(0, 695_901))
@settings(deadline=None)
def test_six_tasks_two_parents_rank_undoes_unrank(rank: int) -> None:
    graph = TaskGraph.unrank(rank, 6, 2)
    assert max(len(row) for row in graph.parents) <= 2 and graph.rank(2) == rank


@given(graphs(max_size=14, max_parents=13), st.integers(0, 2))
@settings(deadline=None)
def test_unrank_undoes_rank_under_every_sufficient_limit(graph: TaskGraph, slack: int) -> None:
    limit = max(len(row) for row in graph.parents) + slack
    for bound in (limit, None):
        rank = graph.rank(bound)
        assert 0 <= rank < TaskGraph.count(graph.size, bound)
        assert TaskGraph.unrank(rank, graph.size, bound) == graph


def test_counts_are_those_of_the_literature() -> None:
    # Robinson's labelled acyclic digraphs; rooted labelled forests, (T + 1)^(T - 1), when K = 1.
    assert [TaskGraph.count(size) for size in range(1, 8)] == [1, 3, 25, 543, 29281, 3781503, 1138779265]
    assert [TaskGraph.count(size, 1) for size in range(1, 9)] == [(size + 1) ** (size - 1) for size in range(1, 9)]
    assert TaskGraph.count(6, 2) == 695_902 and (TaskGraph.count(6, 2) - 1).bit_length() == 20
    assert TaskGraph.count(9, 0) == 1


def test_unlimited_count_obeys_robinsons_recursion() -> None:
    robinson = [1]
    for size in range(1, 20):
        terms = (
            (-1) ** (k + 1) * comb(size, k) * 2 ** (k * (size - k)) * robinson[size - k] for k in range(1, size + 1)
        )
        robinson.append(sum(terms))
        assert TaskGraph.count(size) == TaskGraph.count(size, size + 3) == robinson[size]


def test_the_numbering_is_part_of_the_file_format() -> None:
    golden = {
        0: ((), (), (), (), (), ()),
        1: ((), (), (), (), (), (0,)),
        12345: ((), (0, 3), (), (), (0, 3), (0, 1)),
        400000: ((2,), (), (1,), (0,), (1, 5), (1, 3)),
        695901: ((1, 5), (2, 5), (3, 5), (4, 5), (5,), ()),
    }
    for rank, parents in golden.items():
        assert TaskGraph.unrank(rank, 6, 2).parents == parents and TaskGraph(parents).rank(2) == rank


def test_ranks_ascend_in_the_documented_order() -> None:
    def place(graph: TaskGraph) -> list[tuple[object, ...]]:
        """Layer by layer: larger first, then which tasks, then each task's parents by number, nearness and index."""
        depth: dict[int, int] = {}
        for task in graph.order:
            depth[task] = max((depth[parent] + 1 for parent in graph.parents[task]), default=0)
        layers = [[t for t in range(graph.size) if depth[t] == layer] for layer in range(max(depth.values()) + 1)]
        keys: list[tuple[object, ...]] = []
        for number, layer in enumerate(layers):
            rows = [graph.parents[task] for task in layer]
            near = [tuple(parent for parent in row if depth[parent] == number - 1) for row in rows]
            far = [tuple(parent for parent in row if depth[parent] < number - 1) for row in rows]
            sets = [(len(row), len(n), n, f) for row, n, f in zip(rows, near, far, strict=True)]
            keys.append((-len(layer), layer, sets))
        return keys

    for size, limit, step in ((4, None, 1), (4, 1, 1), (5, 2, 1), (6, 2, 97)):
        places = [place(TaskGraph.unrank(r, size, limit)) for r in range(0, TaskGraph.count(size, limit), step)]
        assert all(before < after for before, after in pairwise(places))


@pytest.mark.parametrize("rank", [-1, 695_902, 1 << 200])
def test_ranks_that_no_graph_has_are_refused(rank: int) -> None:
    with pytest.raises(GraphError, match=r"graph rank: found -?\d+; expected 0 to 695901, .* at most 2 parents each"):
        TaskGraph.unrank(rank, 6, 2)


def test_a_graph_with_too_many_parents_has_no_rank() -> None:
    with pytest.raises(GraphError, match="parents of task 2: found 2 of them; expected at most 1"):
        TaskGraph(((), (0,), (0, 1))).rank(1)


def test_sizes_and_limits_out_of_range_are_refused() -> None:
    for size, limit in ((0, None), (-1, 2), (MAX_RANKED_TASKS + 1, 2), (6, -1)):
        with pytest.raises(GraphError):
            TaskGraph.count(size, limit)
        with pytest.raises(GraphError):
            TaskGraph.unrank(0, size, limit)
    assert TaskGraph.unrank(TaskGraph.count(MAX_RANKED_TASKS, 2) - 1, MAX_RANKED_TASKS, 2).size == MAX_RANKED_TASKS
