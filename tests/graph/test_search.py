"""Laws of the graph search: exact is exact, nothing beats it, and every other setting keeps its own promise."""

from __future__ import annotations

import pickle
from itertools import pairwise, permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atdc.errors import ArgumentError, AtdcError, GraphError
from atdc.graph.orders import MAX_EXACT_TASKS, MAX_LOCAL_TASKS
from atdc.graph.scores import Floats, ScoreTable, candidate_sets, graph_costs, pair_index, pairs_of
from atdc.graph.search import (
    PAPER_ORDER,
    SETTINGS,
    build_candidates,
    chain,
    cheapest_candidates,
    exact,
    exact_batch,
    fixed_mode,
    greedy,
    local_search,
    most_frequent,
    order_graph,
    paper,
    paper_order,
    parse_setting,
    random_order,
)
from atdc.graph.task_graph import TaskGraph
from atdc.tasks import LETTERS

SMALL = [(size, limit) for size in (1, 2, 3, 4) for limit in (1, 2, 3)]
EVERY = {key: [TaskGraph.unrank(rank, *key) for rank in range(TaskGraph.count(*key))] for key in SMALL}
"""All graphs of up to four tasks, for brute force."""

seeds = st.integers(0, 2**32 - 1)


def random_bits(seed: int, size: int, max_parents: int | None, images: int | None = None) -> Floats:
    """Normal scores, negative ones included; ties have probability zero."""
    pairs = len(candidate_sets(size, max_parents))
    return np.random.default_rng(seed).normal(size=pairs if images is None else (images, pairs))


def random_table(seed: int, size: int = 6, max_parents: int | None = 2) -> ScoreTable:
    return ScoreTable.of(size, random_bits(seed, size, max_parents), max_parents)


def monotone_table(seed: int, size: int) -> ScoreTable:
    """All parent sets scored, and a further parent never costs more: what ideal coders would give."""
    own = dict(zip(candidate_sets(size, None), random_bits(seed, size, None), strict=True))
    bits = {
        (child, row): min(own[child, subset] for number in range(len(row) + 1) for subset in _subsets(row, number))
        for child, row in own
    }
    return ScoreTable.of(size, list(bits.values()))


def _subsets(row: tuple[int, ...], number: int) -> list[tuple[int, ...]]:
    return [tuple(sorted(subset)) for subset in {frozenset(s) for s in permutations(row, number)}]


# --- pairs and tables -------------------------------------------------------------------------------------------------


@given(st.integers(1, 6), st.sampled_from([0, 1, 2, 3, None]))
@settings(deadline=None)
def test_candidates_stand_in_canonical_order_and_the_index_finds_them(size: int, limit: int | None) -> None:
    pairs = candidate_sets(size, limit)
    assert list(pairs) == sorted(set(pairs), key=lambda pair: (pair[0], len(pair[1]), pair[1]))
    assert all(child not in row and tuple(sorted(set(row))) == row for child, row in pairs)
    assert [pair_index(size, limit)[pair] for pair in pairs] == list(range(len(pairs)))


def test_six_tasks_have_96_pairs_with_two_parents_and_192_without_limit() -> None:
    assert len(candidate_sets(6, 2)) == 96 and len(candidate_sets(6, None)) == len(candidate_sets(6, 5)) == 192


@given(seeds, st.integers(0, 695_901))
@settings(deadline=None)
def test_a_graph_costs_the_sum_of_its_pairs(seed: int, rank: int) -> None:
    scores, graph = random_table(seed), TaskGraph.unrank(rank, 6, 2)
    by_pair = dict(zip(candidate_sets(6, 2), scores.bits.tolist(), strict=True))
    total = sum(by_pair[child, row] for child, row in enumerate(graph.parents))
    assert scores.graph_bits(graph) == pytest.approx(total)
    assert graph_costs(scores.bits[None], [graph])[0, 0] == scores.graph_bits(graph)


def test_a_pair_not_scored_cannot_be_looked_up() -> None:
    table = ScoreTable(((0, ()), (1, ()), (1, (0,))), np.array([1.0, 2.0, np.inf]))
    assert table.size == 2 and table.cost(1, ()) == 2.0
    for child, row in ((0, (1,)), (1, (0,)), (7, ())):
        with pytest.raises(ArgumentError, match="score of task"):
            table.cost(child, row)
    with pytest.raises(GraphError, match="found 3 tasks; expected 2"):
        table.graph_bits(TaskGraph.independent(3))


@pytest.mark.parametrize(
    ("pairs", "bits"),
    [
        (((0, ()), (1, ())), [1.0]),
        (((0, ()), (1, ())), [1.0, np.nan]),
        (((0, ()), (1, ())), [1.0, -np.inf]),
        (((0, ()), (0, ())), [1.0, 2.0]),
        (((1, ()), (0, ())), [1.0, 2.0]),
        (((0, ()), (2, ())), [1.0, 2.0]),
        (((0, ()), (1, (1,))), [1.0, 2.0]),
        (((0, (2, 1)), (1, ()), (2, ())), [1.0, 2.0, 3.0]),
        (((0, (5,)), (1, ())), [1.0, 2.0]),
        ((), []),
    ],
)
def test_malformed_tables_cannot_be_built(pairs: tuple[tuple[int, tuple[int, ...]], ...], bits: list[float]) -> None:
    with pytest.raises(ArgumentError):
        ScoreTable(pairs, np.array(bits))


def test_a_table_cannot_be_changed_and_leaves_the_callers_array_alone() -> None:
    bits = np.zeros(4)
    table = ScoreTable.of(2, bits)
    bits[0] = 9.0
    assert table.cost(0, ()) == 0.0 and pickle.loads(pickle.dumps(table)).cost(1, (0,)) == 0.0
    with pytest.raises(ValueError, match="read-only"):
        table.bits[0] = 1.0


# --- exact ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "limit"), SMALL)
def test_exact_equals_brute_force(size: int, limit: int) -> None:
    bits = random_bits(size * 10 + limit, size, limit, images=200)
    found = exact_batch(bits, size, limit)
    least = graph_costs(bits, EVERY[size, limit]).min(axis=0)
    own = [ScoreTable.of(size, row, limit).graph_bits(graph) for row, graph in zip(bits, found, strict=True)]
    np.testing.assert_allclose(own, least, atol=1e-12)


@pytest.mark.parametrize(("size", "limit"), SMALL)
def test_exact_takes_fewest_edges_among_ties(size: int, limit: int) -> None:
    bits = np.random.default_rng(size).integers(-2, 3, (200, len(candidate_sets(size, limit)))).astype(float)
    costs = graph_costs(bits, EVERY[size, limit])  # sums of small integers: exact
    edges = np.array([len(graph.edges) for graph in EVERY[size, limit]])
    for image, graph in enumerate(exact_batch(bits, size, limit)):
        tied = costs[:, image] == costs[:, image].min()
        assert ScoreTable.of(size, bits[image], limit).graph_bits(graph) == costs[:, image].min()
        assert len(graph.edges) == edges[tied].min()


def test_when_all_costs_are_equal_the_answer_is_the_graph_without_edges() -> None:
    assert exact(ScoreTable.of(6, np.zeros(96), 2)) == TaskGraph.independent(6)


def test_equally_good_orders_send_smaller_indices_first() -> None:
    # Either task may predict the other at the same saving, and so for every pair of tasks.
    bits = [0.0 if row else 1.0 for _, row in candidate_sets(4, 1)]
    assert exact(ScoreTable.of(4, bits, 1), 1).parents == ((), (0,), (0,), (0,))


@given(seeds, st.integers(1, 7), st.sampled_from([0, 1, 2, 3, None]))
@settings(deadline=None, max_examples=40)
def test_one_by_one_and_in_batches_the_answers_are_the_same(seed: int, size: int, limit: int | None) -> None:
    bits = np.round(random_bits(seed, size, limit, images=5), 1)
    single = [exact(ScoreTable.of(size, row, limit), limit) for row in bits]
    assert exact_batch(bits, size, limit) == single


def test_batches_of_any_number_of_images_are_searched() -> None:
    bits = random_bits(3, 6, 2, images=900)
    graphs = exact_batch(bits, 6)
    assert graphs[::300] == [exact(ScoreTable.of(6, row, 2)) for row in bits[::300]]
    assert exact_batch(bits[:0], 6) == []


@given(seeds, st.permutations(range(5)))
@settings(deadline=None, max_examples=40)
def test_renaming_the_tasks_renames_the_exact_graph(seed: int, new_name: list[int]) -> None:
    scores = random_table(seed, 5)
    renamed = {
        (new_name[child], tuple(sorted(new_name[task] for task in row))): bits
        for (child, row), bits in zip(scores.pairs, scores.bits, strict=True)
    }
    other = exact(ScoreTable.of(5, [renamed[pair] for pair in candidate_sets(5, 2)], 2))
    expected = TaskGraph.from_edges(5, [(new_name[parent], new_name[child]) for parent, child in exact(scores).edges])
    assert other == expected


@given(seeds, st.integers(2, 6))
@settings(deadline=None, max_examples=40)
def test_exact_is_never_beaten(seed: int, size: int) -> None:
    scores, rng = random_table(seed, size), np.random.default_rng(seed)
    least = scores.graph_bits(exact(scores)) - 1e-9
    rivals = [greedy(scores), TaskGraph.independent(size), random_order(scores, rng), local_search(scores, restarts=2)]
    rivals += [exact(random_table(seed + 1, size)), exact(scores, max_parents=1)]
    rivals += [paper(scores.bits, scores.bits[:: len(scores.bits) // size])]
    rivals += [paper_order(scores)] if size == 6 else []
    assert all(least <= scores.graph_bits(rival) for rival in rivals)


@given(seeds)
@settings(deadline=None, max_examples=20)
def test_more_parents_allowed_never_cost_more(seed: int) -> None:
    scores = random_table(seed, 6, None)
    costs = [scores.graph_bits(exact(scores, limit)) for limit in (0, 1, 2, 3, 4, 5, None)]
    assert all(more <= fewer + 1e-9 for fewer, more in pairwise(costs))
    assert costs[0] == scores.graph_bits(TaskGraph.independent(6)) and costs[-1] == costs[-2]


def test_exact_uses_only_scored_pairs() -> None:
    graph = TaskGraph.unrank(123_456, 6, 2)
    few = pairs_of([graph])
    assert exact(ScoreTable(few, np.ones(6))) == graph
    with pytest.raises(ArgumentError, match="too few pairs"):
        exact(ScoreTable(((0, (1,)), (1, (0,))), np.ones(2)))


def test_exact_refuses_what_it_cannot_search() -> None:
    size = MAX_EXACT_TASKS + 1
    with pytest.raises(ArgumentError, match="Use local_search"):
        exact(ScoreTable.of(size, np.zeros(size), 0))
    with pytest.raises(ArgumentError, match=r"shape \(N, 96\)"):
        exact_batch(np.zeros((2, 95)), 6)
    with pytest.raises(ArgumentError, match="NaN"):
        exact_batch(np.full((2, 96), np.nan), 6)


# --- greedy and the paper ---------------------------------------------------------------------------------------------


def loop_of_the_paper(value: dict[tuple[int, tuple[int, ...]], float], size: int, limit: int, tau: float) -> TaskGraph:
    """The loop as published, word for word; cycles are found by trying to build the graph."""
    parents: list[tuple[int, ...]] = [()] * size
    for k in range(1, limit + 1):
        edges = []
        for c in range(size):
            for p in range(size):
                if p != c and p not in parents[c] and len(parents[c]) < limit:
                    gain = value[c, tuple(sorted((*parents[c], p)))] - value[c, parents[c]]
                    if gain > tau:
                        edges.append((gain, p, c))
        for _, p, c in sorted(edges, reverse=True):
            grown = [*parents[:c], tuple(sorted((*parents[c], p))), *parents[c + 1 :]]
            if len(parents[c]) < k:
                try:
                    TaskGraph(tuple(grown))
                except GraphError:
                    continue
                parents = grown
    return TaskGraph(tuple(parents))


@given(seeds, st.integers(1, 6), st.integers(0, 3), st.floats(-0.5, 1.0))
@settings(deadline=None)
def test_greedy_is_the_published_loop_with_gains_in_bits(seed: int, size: int, limit: int, threshold: float) -> None:
    scores = random_table(seed, size, limit)
    value = dict(zip(scores.pairs, -scores.bits, strict=True))
    assert greedy(scores, limit, threshold) == loop_of_the_paper(value, size, limit, threshold)


@given(seeds, st.integers(1, 6), st.integers(0, 3), st.floats(-0.5, 0.5))
@settings(deadline=None)
def test_paper_is_the_published_loop_with_gains_in_predictability(
    seed: int, size: int, limit: int, threshold: float
) -> None:
    loss = random_bits(seed, size, limit)
    empty = np.random.default_rng(seed).uniform(size=size)
    value = dict(zip(candidate_sets(size, limit), np.exp(-loss), strict=True)) | {
        (c, ()): empty[c] for c in range(size)
    }
    assert paper(loss, empty, limit, threshold) == loop_of_the_paper(value, size, limit, threshold)


@given(seeds, st.integers(1, 3), st.floats(0, 2))
@settings(deadline=None)
def test_greedy_takes_few_parents_and_every_one_for_a_gain(seed: int, limit: int, threshold: float) -> None:
    scores = random_table(seed, 6, limit)
    graph = greedy(scores, limit, threshold)
    for child, row in enumerate(graph.parents):
        assert len(row) <= limit
        assert any(
            all(
                scores.cost(child, tuple(sorted(path[:k]))) - scores.cost(child, tuple(sorted(path[: k + 1])))
                > threshold
                for k in range(len(path))
            )
            for path in permutations(row)
        )
    assert scores.graph_bits(graph) <= scores.graph_bits(TaskGraph.independent(6))


def test_a_gain_equal_to_the_threshold_is_not_enough() -> None:
    scores = ScoreTable.of(2, [1.0, 1.0, 3.0, 1.0])
    assert greedy(scores, gain_threshold_bits=2.0) == TaskGraph.independent(2)
    assert greedy(scores, gain_threshold_bits=1.999).parents == ((), (0,))


def test_equal_gains_go_to_the_smaller_child_then_the_smaller_parent() -> None:
    bits = [float(not row) for _, row in candidate_sets(3, 1)]
    assert greedy(ScoreTable.of(3, bits, 1), 1).parents == ((1,), (2,), ())


def test_paper_by_hand() -> None:
    # Three tasks. From no parents, gains: 0→1 0.5, 1→0 0.4, 0→2 0.3, 1→2 0.25, the others below 0.2. First round: 0→1,
    # then 1→0 closes a cycle, then 0→2, and task 2 is full. Second: 1→2 gains 0.9 - 0.6 = 0.3; 2→1 closes a cycle.
    predictability = {
        (0, ()): 0.3, (0, (1,)): 0.7, (0, (2,)): 0.4, (0, (1, 2)): 0.99,
        (1, ()): 0.3, (1, (0,)): 0.8, (1, (2,)): 0.4, (1, (0, 2)): 0.99,
        (2, ()): 0.3, (2, (0,)): 0.6, (2, (1,)): 0.55, (2, (0, 1)): 0.9,
    }  # fmt: skip
    loss = -np.log([predictability[pair] for pair in candidate_sets(3, 2)])
    assert paper(loss, [0.3] * 3).parents == ((), (0,), (0, 1))
    assert paper(loss, [0.3] * 3, max_parents=2, threshold=0.35).parents == ((), (0,), ())
    assert paper(np.delete(loss, [3, 7, 11]), [0.3] * 3, max_parents=1).parents == ((), (0,), (0,))


def test_greedy_can_lose_to_exact() -> None:
    # 0→1 saves most and goes first; then 1→0 would close a cycle and task 1 is full, so the two next best are lost.
    bits = dict.fromkeys(candidate_sets(3, 1), 10.0)
    bits |= {(1, (0,)): 5.0, (1, (2,)): 5.5, (0, (1,)): 6.0, (2, (1,)): 9.0}
    scores = ScoreTable(tuple(bits), np.array(list(bits.values())))
    assert greedy(scores, 1).edges == ((0, 1), (1, 2)) and scores.graph_bits(greedy(scores, 1)) == 24.0
    assert exact(scores, 1).edges == ((1, 0), (2, 1)) and scores.graph_bits(exact(scores, 1)) == 21.5


def test_greedy_and_paper_need_a_score_without_parents() -> None:
    with pytest.raises(ArgumentError, match="for no parents"):
        greedy(ScoreTable(((0, (1,)), (1, ())), np.ones(2)))
    for loss, empty in ((np.zeros(5), [0.1, 0.2]), (np.zeros(4), [0.1, np.nan]), (np.full(4, np.nan), [0.1, 0.2])):
        with pytest.raises(ArgumentError):
            paper(loss, empty)


# --- orders -----------------------------------------------------------------------------------------------------------


@given(seeds, st.permutations(range(4)), st.integers(1, 3))
@settings(deadline=None)
def test_an_orders_graph_is_the_cheapest_that_keeps_it(seed: int, order: list[int], limit: int) -> None:
    scores = random_table(seed, 4, limit)
    place = {task: number for number, task in enumerate(order)}
    fitting = [g for g in EVERY[4, limit] if all(place[parent] < place[child] for parent, child in g.edges)]
    graph = order_graph(scores, order, limit)
    assert graph in fitting
    assert scores.graph_bits(graph) == pytest.approx(min(scores.graph_bits(rival) for rival in fitting))


@given(seeds)
@settings(deadline=None, max_examples=20)
def test_the_best_of_all_orders_is_exact(seed: int) -> None:
    scores = random_table(seed, 5)
    best = min(scores.graph_bits(order_graph(scores, order)) for order in permutations(range(5)))
    assert scores.graph_bits(exact(scores)) == pytest.approx(best)


def test_ties_within_an_order_go_to_fewer_parents_then_smaller_indices() -> None:
    assert order_graph(ScoreTable.of(4, np.zeros(28), 2), (3, 1, 0, 2)) == TaskGraph.independent(4)
    bits = [float(len(row) != 1) for _, row in candidate_sets(4, 2)]
    assert order_graph(ScoreTable.of(4, bits, 2), (3, 1, 0, 2)).parents == ((1,), (3,), (0,), ())


def test_the_papers_order_is_nsdkta() -> None:
    assert "".join(LETTERS[task] for task in PAPER_ORDER) == "nsdkta"
    bits = [-float(len(row)) for _, row in candidate_sets(6, None)]
    graph = paper_order(ScoreTable.of(6, bits), max_parents=None)
    assert graph.describe(LETTERS) == "n s←n d←sn k←snd t←sknd a←sktnd"
    with pytest.raises(ArgumentError):
        paper_order(random_table(0, 5))


def test_random_orders_repeat_with_their_seed_and_reach_every_order() -> None:
    scores = ScoreTable.of(3, [-float(len(row)) for _, row in candidate_sets(3, 2)], 2)
    once, again = ([random_order(scores, rng).order for _ in range(60)] for rng in map(np.random.default_rng, (5, 5)))
    assert once == again and set(once) == set(permutations(range(3)))


@pytest.mark.parametrize("order", [(0, 1), (0, 1, 1), (0, 1, 3)])
def test_what_is_no_order_is_refused(order: tuple[int, ...]) -> None:
    with pytest.raises(ArgumentError, match="each task from 0 to 2 once"):
        order_graph(random_table(0, 3), order)


@given(seeds, st.integers(1, 5))
@settings(deadline=None, max_examples=30)
def test_chain_is_the_best_order_with_all_predecessors(seed: int, size: int) -> None:
    scores = random_table(seed, size, None)

    def whole(order: tuple[int, ...]) -> TaskGraph:
        place = {task: number for number, task in enumerate(order)}
        return TaskGraph(tuple(tuple(t for t in range(size) if place[t] < place[child]) for child in range(size)))

    graph = chain(scores)
    assert graph == whole(graph.order)
    best = min(scores.graph_bits(whole(order)) for order in permutations(range(size)))
    assert scores.graph_bits(graph) == pytest.approx(best)
    assert scores.graph_bits(exact(scores, None)) <= best + 1e-9


@given(seeds)
@settings(deadline=None, max_examples=10)
def test_chain_is_exact_when_further_parents_never_cost(seed: int) -> None:
    scores = monotone_table(seed, 5)
    assert scores.graph_bits(chain(scores)) == pytest.approx(scores.graph_bits(exact(scores, None)))


def test_chain_needs_the_larger_parent_sets() -> None:
    with pytest.raises(ArgumentError, match="too few pairs"):
        chain(random_table(0, 6, 2))


@pytest.mark.parametrize("size", [6, 10, 12])
def test_local_search_loses_less_than_one_percent_of_the_saving(size: int) -> None:
    for seed in range(8):
        scores = random_table(seed, size)
        none, best = scores.graph_bits(TaskGraph.independent(size)), scores.graph_bits(exact(scores))
        assert none - scores.graph_bits(local_search(scores)) >= 0.99 * (none - best)


@given(seeds, st.sampled_from([0, 1]))
@settings(deadline=None, max_examples=5)
def test_local_search_beyond_exact_never_loses_to_greedy_and_repeats(seed: int, restarts: int) -> None:
    scores = random_table(seed, 20)
    graph = local_search(scores, restarts=restarts, seed=3)
    assert graph == local_search(scores, restarts=restarts, seed=3)
    assert scores.graph_bits(graph) <= scores.graph_bits(greedy(scores)) and max(map(len, graph.parents)) <= 2


def test_local_search_handles_as_many_tasks_as_it_says() -> None:
    """A star: all children are cheap given the last task, whose bit is the sign bit of the masks."""
    size, hub = MAX_LOCAL_TASKS, MAX_LOCAL_TASKS - 1
    rng = np.random.default_rng(0)
    bits = [1.0 if row == (hub,) else rng.uniform(2, 9) if row else 10.0 for _, row in candidate_sets(size, 1)]
    scores = ScoreTable.of(size, bits, 1)
    star = TaskGraph(((hub,),) * hub + ((),))
    assert local_search(scores, 1, restarts=0) == star == order_graph(scores, range(hub, -1, -1), 1)
    larger = ScoreTable.of(size + 1, np.zeros(len(candidate_sets(size + 1, 0))), 0)
    with pytest.raises(ArgumentError, match="at most 64"):
        local_search(larger, 0)
    with pytest.raises(ArgumentError, match="at most 64"):
        order_graph(larger, range(size + 1), 0)


# --- one graph, or a few ----------------------------------------------------------------------------------------------


@given(seeds, st.integers(1, 3))
@settings(deadline=None, max_examples=20)
def test_fixed_is_the_cheapest_single_graph(seed: int, limit: int) -> None:
    bits = random_bits(seed, 4, limit, images=10)
    means = graph_costs(bits, EVERY[4, limit]).mean(axis=1)
    mean_scores = ScoreTable.of(4, bits.mean(axis=0), limit)
    assert mean_scores.graph_bits(exact(mean_scores, limit)) == pytest.approx(means.min())


def test_fixed_mode_is_the_most_frequent_and_breaks_ties_by_parents() -> None:
    a, b, c = TaskGraph.independent(2), TaskGraph(((), (0,))), TaskGraph(((1,), ()))
    assert fixed_mode([b, a, b, c]) == b and fixed_mode([c, b]) == b
    assert most_frequent([c, b, a, b], limit=2) == [b, a]
    with pytest.raises(ArgumentError):
        fixed_mode([])


@given(seeds)
@settings(deadline=None, max_examples=20)
def test_the_choice_among_candidates_never_costs_more_than_its_first_graph_nor_less_than_exact(seed: int) -> None:
    bits = random_bits(seed, 6, 2, images=30)
    first, found = exact(ScoreTable.of(6, bits.mean(axis=0), 2)), exact_batch(bits, 6)
    candidates = build_candidates(bits, 4, [first], found)
    assert candidates[0] == first and len(set(candidates)) == len(candidates) <= 4
    costs = graph_costs(bits, candidates)
    own = costs[cheapest_candidates(bits, candidates), np.arange(30)]
    assert (own == costs.min(axis=0)).all() and (own <= costs[0]).all()
    assert (own >= [ScoreTable.of(6, row, 2).graph_bits(g) - 1e-9 for row, g in zip(bits, found, strict=True)]).all()


@given(seeds)
@settings(deadline=None, max_examples=20)
def test_each_candidate_graph_is_the_one_that_helps_most(seed: int) -> None:
    bits = random_bits(seed, 4, 2, images=20)
    pool = EVERY[4, 2]
    candidates = build_candidates(bits, 4, [TaskGraph.independent(4)], pool)
    costs = graph_costs(bits, pool)
    for number in range(1, len(candidates)):
        before = graph_costs(bits, candidates[:number]).min(axis=0)
        reached = graph_costs(bits, candidates[: number + 1]).min(axis=0).mean()
        assert reached < before.mean() and reached == pytest.approx(np.minimum(before, costs).mean(axis=1).min())


def test_the_search_for_candidates_stops_where_no_graph_helps() -> None:
    bits = random_bits(0, 4, 2, images=3)
    found = exact_batch(bits, 4)
    candidates = build_candidates(bits, 50, found[:1], found)
    assert set(candidates) == set(found)
    np.testing.assert_array_equal(cheapest_candidates(bits, candidates), [candidates.index(graph) for graph in found])
    assert build_candidates(bits, 1, found[:1], found) == (found[0],)
    assert build_candidates(bits, 5, [TaskGraph.independent(4)], found * 2 + found[:1], candidate_limit=1)[1:] == (
        found[0],
    )


def test_candidates_need_no_scores_but_their_own() -> None:
    bits = random_bits(1, 6, 2, images=40)
    candidates = build_candidates(bits, 4, [exact(ScoreTable.of(6, bits.mean(axis=0), 2))], exact_batch(bits, 6))
    pairs = pairs_of(candidates)
    few = bits[:, [pair_index(6, 2)[pair] for pair in pairs]]
    assert len(pairs) < 96
    np.testing.assert_array_equal(cheapest_candidates(few, candidates, pairs), cheapest_candidates(bits, candidates))
    with pytest.raises(ArgumentError, match="score of task"):
        graph_costs(few, [exact(random_table(5))], pairs)
    few[3] = np.inf
    with pytest.raises(ArgumentError, match="no graph is fully scored"):
        cheapest_candidates(few, candidates, pairs)


def test_candidates_of_nothing_are_refused() -> None:
    bits = random_bits(0, 4, 2, images=3)
    for call in (
        lambda: cheapest_candidates(bits, []),
        lambda: cheapest_candidates(bits[:, :-1], [TaskGraph.independent(4)]),
        lambda: build_candidates(bits, 0, [TaskGraph.independent(4)], []),
        lambda: build_candidates(bits[:0], 2, [TaskGraph.independent(4)], []),
        lambda: graph_costs(bits, [TaskGraph.independent(4), TaskGraph.independent(3)]),
    ):
        with pytest.raises(AtdcError):
            call()


# --- names ------------------------------------------------------------------------------------------------------------


def test_every_setting_has_a_name_that_parses() -> None:
    assert [parse_setting(name) for name in SETTINGS] == list(SETTINGS) and len(set(SETTINGS)) == 10


@pytest.mark.parametrize(("typed", "meant"), [("exakt", "exact"), ("Fixed_Mode", "fixed-mode"), ("papers", "paper")])
def test_an_unknown_setting_names_the_known_ones_and_the_likely_one(typed: str, meant: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        parse_setting(typed)
    assert all(name in str(caught.value) for name in SETTINGS) and f"Did you mean '{meant}'?" in str(caught.value)
    with pytest.raises(ArgumentError) as caught:
        parse_setting("zzz")
    assert "Did you mean" not in str(caught.value)
