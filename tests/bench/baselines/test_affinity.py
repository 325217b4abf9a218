"""Laws of task groups: affinity says who helps whom, every partition is tried, the graph over groups is cheapest."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import atdc_bench.baselines.affinity as affinity_module
from atdc.codec import FeatureCodec
from atdc.config import NetworkShape, Recipe
from atdc.data.rooms import RoomsDataset, materialise
from atdc.errors import ArgumentError, GraphError
from atdc.graph.task_graph import TaskGraph
from atdc.networks.predictability import score_bits
from atdc.pipeline import load
from atdc.training.run_folder import RunFolder
from atdc_bench.baselines.affinity import (
    Floats,
    affinity_trace,
    best_partition,
    group_costs,
    look_ahead,
    partition_affinity,
    set_partitions,
    static_graph,
)
from atdc_bench.baselines.grouping import Grouping
from atdc_bench.experiments.affinity import stability

seeds = st.integers(0, 2**32 - 1)
RECIPE = Recipe(networks=NetworkShape(feature_channels=8, encoder_widths=(8, 8, 16), head_widths=(8, 8, 8)))
RUN = {"steps": 4, "every": 2, "batch": 2, "seed": 1}


@pytest.fixture(scope="module")
def rooms(tmp_path_factory: pytest.TempPathFactory) -> RoomsDataset:
    folder = tmp_path_factory.mktemp("rooms")
    materialise(folder, "train", count=5, workers=1, size=32)
    return RoomsDataset(folder, "train")


@pytest.fixture(scope="module")
def codec(untrained_weights: Path) -> FeatureCodec:
    return load(untrained_weights).feature_codec


# --- affinity ---------------------------------------------------------------------------------------------------------


def toy(seed: int, tasks: int = 4) -> tuple[Tensor, Tensor, Tensor]:
    """A shared layer (3, 5), its inputs, and goals of linear tasks that read its output."""
    generator = torch.Generator().manual_seed(seed)
    weights = torch.randn(3, 5, generator=generator)
    inputs = torch.randn(20, 3, generator=generator)
    return weights, inputs, torch.randn(tasks, 20, generator=generator) + 3


def toy_losses(inputs: Tensor, goals: Tensor, shared: dict[str, Tensor]) -> Tensor:
    hidden = torch.tanh(inputs @ shared["w"])
    return torch.stack([(hidden.sum(1) - goal).square().mean() for goal in goals])


@given(seeds)
@settings(max_examples=30)
def test_a_step_on_a_task_lowers_its_own_loss(seed: int) -> None:
    weights, inputs, goals = toy(seed)
    measured = look_ahead(lambda shared: toy_losses(inputs, goals, shared), {"w": weights}, {"w": torch.tensor(1e-2)})
    assert (np.diag(measured) > 0).all()


@given(seeds)
@settings(max_examples=30)
def test_affinity_is_the_formula_written_out(seed: int) -> None:
    weights, inputs, goals = toy(seed, tasks=3)
    sizes = torch.rand(3, 5, generator=torch.Generator().manual_seed(seed)) * 0.05
    measured = look_ahead(lambda shared: toy_losses(inputs, goals, shared), {"w": weights}, {"w": sizes})
    for i, j in product(range(3), repeat=2):
        w = weights.clone().requires_grad_()
        before = toy_losses(inputs, goals, {"w": w})
        (gradient,) = torch.autograd.grad(before[i], w)
        after = toy_losses(inputs, goals, {"w": w - sizes * gradient / before[i].detach()})
        assert measured[i, j] == pytest.approx(float((1 - after[j] / before[j]).detach()), abs=1e-5)


@given(seeds, st.floats(0.01, 100))
@settings(max_examples=30)
def test_the_unit_of_a_loss_does_not_matter(seed: int, unit: float) -> None:
    weights, inputs, goals = toy(seed, tasks=3)
    scales = torch.tensor([1.0, unit, 1.0])
    shared, sizes = {"w": weights}, {"w": torch.tensor(1e-2)}
    one = look_ahead(lambda shared: toy_losses(inputs, goals, shared), shared, sizes)
    other = look_ahead(lambda shared: scales * toy_losses(inputs, goals, shared), shared, sizes)
    np.testing.assert_allclose(one, other, atol=1e-4)


def test_tasks_with_one_goal_help_each_other_and_opposed_ones_do_not() -> None:
    goals = torch.tensor([1.0, 2.0, -1.0])

    def losses(shared: dict[str, Tensor]) -> Tensor:
        return (shared["x"] - goals).square()

    measured = look_ahead(losses, {"x": torch.zeros(1)}, {"x": torch.tensor(0.1)})
    assert measured[0, 1] > 0 and measured[1, 0] > 0 and (measured[2, :2] < 0).all() and (measured[:2, 2] < 0).all()
    assert best_partition(measured).groups == ((0, 1), (2,))


def test_looking_ahead_changes_nothing() -> None:
    weights, inputs, goals = toy(0)
    kept = weights.clone()
    look_ahead(lambda shared: toy_losses(inputs, goals, shared), {"w": weights}, {"w": torch.tensor(1.0)})
    assert torch.equal(weights, kept) and not weights.requires_grad


# --- affinity over training -------------------------------------------------------------------------------------------


class Killed(Exception):
    """Stands for a kill between two steps."""


@pytest.mark.slow  # what optimisers load takes longer than what is tested
def test_a_killed_measurement_resumes_as_if_never_killed(
    rooms: RoomsDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = affinity_trace(RunFolder(tmp_path / "whole", RECIPE), RECIPE, rooms, **RUN)
    assert whole.shape == (2, 6, 6) and np.isfinite(whole).all()
    killed, load_targets, loads = RunFolder(tmp_path / "killed", RECIPE), affinity_module.load_targets, []

    def dying(*arguments: object, **options: object) -> object:
        loads.append(1)
        if len(loads) > 3:
            raise Killed
        return load_targets(*arguments, **options)  # type: ignore[arg-type]

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(affinity_module, "load_targets", dying)
        affinity_trace(killed, RECIPE, rooms, **RUN)
    np.testing.assert_array_equal(affinity_trace(killed, RECIPE, rooms, **RUN), whole)


@pytest.mark.parametrize(
    ("changed", "named"),
    [({"every": 1}, "every"), ({"every": 7}, "every"), ({"batch": 6}, "batch"), ({"batch": 0}, "batch"),
     ({"images": 6}, "images"), ({"images": 1}, "batch")],
)  # fmt: skip
def test_numbers_that_allow_no_measurement_are_refused(
    rooms: RoomsDataset, tmp_path: Path, changed: dict[str, int], named: str
) -> None:
    with pytest.raises(ArgumentError, match=named):
        affinity_trace(RunFolder(tmp_path, RECIPE), RECIPE, rooms, **(RUN | changed))


# --- partitions -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("count", "bell"), [(1, 1), (2, 2), (3, 5), (4, 15), (5, 52), (6, 203), (7, 877)])
def test_there_are_as_many_partitions_as_the_bell_number_says(count: int, bell: int) -> None:
    partitions = list(set_partitions(count))
    assert len(partitions) == bell == len({frozenset(map(frozenset, groups)) for groups in partitions})
    for groups in partitions:
        Grouping(groups)  # refuses what is none


def labels(groups: tuple[tuple[int, ...], ...]) -> list[int]:
    return [next(place for place, group in enumerate(groups) if task in group) for task in range(6)]


@given(st.integers(0, 202), seeds)
@settings(max_examples=50)
def test_planted_groups_are_found(number: int, seed: int) -> None:
    planted = list(set_partitions(6))[number]
    label, rng = np.array(labels(planted)), np.random.default_rng(seed)
    # All members of a group help each other alike; others harm. Of equals the first wins, and larger groups come first.
    matrix = np.where(label[:, None] == label, 1.0, rng.uniform(-1, -0.1, (6, 6)))
    assert best_partition(matrix).groups == planted


@given(seeds)
@settings(max_examples=20)
def test_no_partition_beats_the_best(seed: int) -> None:
    matrix = np.random.default_rng(seed).normal(size=(4, 4))
    best = partition_affinity(matrix, best_partition(matrix).groups)
    for assignment in product(range(4), repeat=4):
        groups = [[task for task in range(4) if assignment[task] == place] for place in set(assignment)]
        helped = 0.0
        for task in range(4):
            mates = [other for other in range(4) if assignment[other] == assignment[task] and other != task]
            helped += sum(matrix[mate, task] for mate in mates) / len(mates) if mates else 0.0
        assert abs(partition_affinity(matrix, groups) - helped / 4) < 1e-12
        assert best >= helped / 4 - 1e-12


@given(seeds)
@settings(max_examples=30)
def test_the_diagonal_is_not_used(seed: int) -> None:
    matrix = np.random.default_rng(seed).normal(size=(4, 4))
    changed = matrix + np.diag([5.0, -5.0, 9.0, 0.0])
    assert best_partition(matrix) == best_partition(changed)


def test_tasks_that_only_harm_each_other_stay_alone() -> None:
    assert best_partition(-np.ones((4, 4))).groups == ((0,), (1,), (2,), (3,))


@pytest.mark.parametrize("values", [np.zeros((0, 0)), np.zeros(3), np.zeros((2, 3)), np.full((2, 2), np.nan)])
def test_what_is_no_square_of_finite_numbers_is_refused(values: Floats) -> None:
    for function, name in ((best_partition, "affinity"), (static_graph, "cost")):
        with pytest.raises(ArgumentError, match=name):
            function(values)


def test_too_many_tasks_are_refused_at_once() -> None:
    with pytest.raises(ArgumentError, match="at most 10"):
        best_partition(np.zeros((11, 11)))


def test_stability_tells_steady_groups_from_shifting_ones() -> None:
    label = np.array([0, 0, 1, 1, 2, 2])
    together = np.where(label[:, None] == label, 1.0, -1.0)
    trace = np.stack([together] * 6)
    trace += np.random.default_rng(0).normal(scale=0.01, size=trace.shape)
    steady = stability(trace)
    assert steady["first_half"] == steady["second_half"] == [[0, 1], [2, 3], [4, 5]]
    assert steady["same_groups_when_resampled"] == 1.0
    assert np.array_equal(steady["together_when_resampled"], label[:, None] == label)
    shifting = stability(np.concatenate([trace[:3], -trace[3:]]))
    assert shifting["first_half"] != shifting["second_half"] and shifting["halves_spearman"] < 0


# --- the graph over groups --------------------------------------------------------------------------------------------


def total_bits(cost: Floats, parents: tuple[tuple[int, ...], ...]) -> float:
    return float(sum(cost[group, row[0] if row else group] for group, row in enumerate(parents)))


@given(seeds, st.integers(1, 4))
@settings(max_examples=30)
def test_the_static_graph_is_the_cheapest_acyclic_one(seed: int, size: int) -> None:
    cost = np.random.default_rng(seed).normal(size=(size, size))
    graph = static_graph(cost)  # a TaskGraph cannot be built with a cycle
    assert max(map(len, graph.parents)) <= 1
    least = np.inf
    for choice in product(range(size), repeat=size):
        parents = tuple(() if parent == group else (parent,) for group, parent in enumerate(choice))
        try:
            TaskGraph(parents)
        except GraphError:
            continue
        least = min(least, total_bits(cost, parents))
    assert total_bits(cost, graph.parents) == pytest.approx(least)


def test_groups_that_tell_nothing_of_each_other_are_sent_alone() -> None:
    assert static_graph(np.full((3, 3), 5.0)).edges == ()


# --- group costs ------------------------------------------------------------------------------------------------------


def features(images: int) -> Tensor:
    return torch.randn(images, 6, 8, 4, 4, generator=torch.Generator().manual_seed(2))


def test_a_group_costs_what_its_tasks_score(codec: FeatureCodec) -> None:
    groups, raw = ((0, 2), (1,), (3, 4, 5)), features(3)
    cost = group_costs(codec, raw, Grouping(groups), quality=3)
    every = torch.from_numpy(codec.graph_tables.distortion)
    for g, p in product(range(3), repeat=2):
        pairs = [(task, () if g == p else groups[p]) for task in groups[g]]
        bits = score_bits(codec.networks.predictor, codec.normalise(raw), pairs, every)[:, 3]
        assert cost[g, p] == pytest.approx(float(bits.double().mean(0).sum()), rel=1e-5)


def test_costs_of_many_images_are_the_mean_over_batches(codec: FeatureCodec) -> None:
    raw, pairs = features(60), Grouping(((0, 1), (2, 3), (4, 5)))
    parts = [group_costs(codec, part, pairs) for part in (raw[:30], raw[30:])]
    np.testing.assert_allclose(group_costs(codec, raw, pairs), np.mean(parts, 0), rtol=1e-5)


def test_one_group_of_all_costs_what_its_tasks_cost_alone(codec: FeatureCodec) -> None:
    one = group_costs(codec, features(2), Grouping(((0, 1, 2, 3, 4, 5),)))
    alone = group_costs(codec, features(2), Grouping.alone(6))
    assert one.shape == (1, 1) and one[0, 0] == pytest.approx(float(np.diag(alone).sum()), rel=1e-6)


def test_costs_refuse_other_tasks_other_qualities_and_no_images(codec: FeatureCodec) -> None:
    with pytest.raises(ArgumentError, match="grouping"):
        group_costs(codec, features(1), Grouping.alone(5))
    for quality in (-1, 8, 0.5):
        with pytest.raises(ArgumentError, match="quality"):
            group_costs(codec, features(1), Grouping.alone(6), quality)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="no images"):
        group_costs(codec, features(0), Grouping.alone(6))
