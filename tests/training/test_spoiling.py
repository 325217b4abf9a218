"""Samples of which one tensor is spoilt: the same each time, and what an estimator and graphs make of them."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from atdc.config import ModelConfig, Recipe
from atdc.graph import search
from atdc.graph.scores import ScoreTable, candidate_sets
from atdc.graph.task_graph import TaskGraph
from atdc.networks.batches import FeatureBatch
from atdc.networks.rate_estimators import AgreementEstimator
from atdc.training.estimator_stage import train_pair_estimator
from atdc.training.graph_stage import measured_correction
from atdc.training.graphs_apart import graph_apart
from atdc.training.run_folder import RunFolder
from atdc.training.spoiling import SpoiltFeatures, random_spoiling, spoilt


def _features(parts: list[torch.Tensor]) -> SimpleNamespace:
    whole = FeatureBatch.of(parts)
    return SimpleNamespace(read=lambda rows: whole.select(torch.from_numpy(rows)))


def test_a_spoilt_sample_is_the_same_in_every_batch_and_in_one_tensor_another() -> None:
    generator = torch.Generator().manual_seed(0)
    train = _features([torch.randn(30, 5, 6, 9, generator=generator), torch.randn(30, 3, 4, 4, generator=generator)])
    tensors = random_spoiling(
        [np.arange(start, start + 5) for start in range(0, 30, 5)], 2, 0.5, np.random.default_rng(0)
    )
    seen = SpoiltFeatures(train, tensors, 3)
    rows = np.random.default_rng(1).permutation(30)
    together, plain = seen.read(rows), train.read(rows)
    assert len(tensors) == 15 and set(tensors.values()) == {0, 1}
    for place, row in enumerate(rows.tolist()):
        alone = seen.read(np.array([row]))
        for tensor in range(2):
            assert torch.equal(together.parts[tensor][place], alone.parts[tensor][0])
            kept = torch.equal(together.parts[tensor][place], plain.parts[tensor][place])
            assert kept == (tensors.get(row) != tensor), (row, tensor)
    padded = together.parts[0]
    assert torch.equal(padded[:, :, 6], padded[:, :, 5]) and torch.equal(padded[..., 11], padded[..., 8])
    other = SpoiltFeatures(train, tensors, 4).read(rows)
    assert not all(torch.equal(mine, own) for mine, own in zip(together.parts, other.parts, strict=True))


def test_what_replaces_a_tensor_is_of_four_kinds() -> None:
    generator = torch.Generator().manual_seed(0)
    own, other = (torch.randn(3, 4, 5, generator=generator) for _ in range(2))
    kinds = set()
    for seed in range(40):
        made = spoilt(own, other, np.random.default_rng(seed))
        assert made.shape == own.shape
        columns = [row.tolist() for row in made.reshape(3, -1).T]
        if torch.equal(made, other):
            kinds.add("another's")
        elif sorted(columns) == sorted(row.tolist() for row in own.reshape(3, -1).T):
            kinds.add("moved")
        elif all(row == columns[0] for row in columns):
            kinds.add("one position")
        else:
            kinds.add("noise")
    assert len(kinds) == 4


def test_whole_blocks_are_spoilt_and_as_many_as_the_share_says() -> None:
    blocks = [np.arange(start, start + 4) for start in range(0, 40, 4)]
    chosen = random_spoiling(blocks, 3, 0.3, np.random.default_rng(0))
    assert sorted(sum(int(row in chosen) for row in block) for block in blocks) == [0] * 7 + [4] * 3
    assert chosen == random_spoiling(blocks, 3, 0.3, np.random.default_rng(0))
    assert random_spoiling(blocks, 3, 0.0, np.random.default_rng(0)) == {}
    assert random_spoiling(blocks, 1, 1.0, np.random.default_rng(0)) == {}


@pytest.mark.parametrize("count", [2, 4])
def test_a_graph_apart_leaves_a_tensor_by_itself_and_is_the_best_for_the_others(count: int) -> None:
    pairs = candidate_sets(count, 2)
    costs = np.random.default_rng(count).random(len(pairs))
    for tensor in range(count):
        graph = graph_apart(costs, count, 2, tensor)
        assert not graph.parents[tensor] and tensor not in sum(graph.parents, ())
        without = np.array(
            [9.0 if tensor in parents else cost for cost, (_, parents) in zip(costs, pairs, strict=True)]
        )
        table = ScoreTable.of(count, without, 2)
        best = search.exact(table, 2)  # in which nothing but the tensor itself has parents that it may not have
        others = [child for child in range(count) if child != tensor]
        assert [graph.parents[child] for child in others] == [best.parents[child] for child in others]


def test_agreement_is_one_of_alike_tensors_and_none_of_others() -> None:
    model = ModelConfig(feature_channels=4, scorer_width=4, max_parents=1)
    estimator = AgreementEstimator(model, model.tensors(["a", "b", "c"]))
    for layer in estimator.project[1:]:
        layer.load_state_dict(estimator.project[0].state_dict())
    generator = torch.Generator().manual_seed(0)
    own, other = (torch.randn(2, 4, 16, 16, generator=generator) for _ in range(2))
    batch = FeatureBatch.of([own, own, other])
    with torch.no_grad():
        alike, first, second = estimator.summary(batch)[:, 8:].reshape(2, 3, 8).unbind(1)
        gone = estimator.summary(batch.only([0, 2]))[:, 8:].reshape(2, 3, 8)
    assert bool((alike > 0.95).all()) and float(torch.stack([first, second]).abs().max()) < 0.3
    assert bool((gone[:, [0, 2]] == 0).all()) and torch.equal(gone[:, 1], first)


def test_a_spoilt_tensor_is_nobodys_parent_in_the_chosen_graph(tmp_path: Path) -> None:
    """Three tensors say the same; one that is spoilt as none was in training is left alone, whole ones are not."""
    generator = torch.Generator().manual_seed(0)

    def drawn(count: int) -> list[torch.Tensor]:
        shared = torch.randn(count, 4, 8, 8, generator=generator)
        return [shared + 0.1 * torch.randn(shared.shape, generator=generator) for _ in range(3)]

    model = ModelConfig(feature_channels=4, scorer_width=24, max_parents=1)
    pairs, count = candidate_sets(3, 1), 240
    blocks = [np.arange(start, start + 20) for start in range(0, count, 20)]
    seen = SpoiltFeatures(_features(drawn(count)), random_spoiling(blocks, 3, 0.5, np.random.default_rng(0)), 0)
    costs = torch.full((count, 8, len(pairs)), 1.0)
    for place, (child, parents) in enumerate(pairs):
        costs[:, :, place] += 0.01 * child
        for row in range(count):
            if not parents or seen.tensors.get(row) in (child, *parents):
                costs[row, :, place] += 1 + 0.6 * bool(parents)
    torch.manual_seed(0)
    estimator = AgreementEstimator(model, model.tensors(["a", "b", "c"]))
    settings = {"steps": 360, "batch": 24, "lr": 5e-3, "noise": 0.05}
    train_pair_estimator(RunFolder(tmp_path, Recipe()), estimator, np.arange(count), costs, seen, **settings)
    usual = TaskGraph(((), (0,), (1,)))
    means = costs[:, 4].double().mean(0).numpy()
    graphs = [usual, *(graph_apart(means, 3, 1, tensor) for tensor in range(3))]

    def chosen(parts: list[torch.Tensor]) -> list[TaskGraph]:
        with torch.no_grad():
            estimated = estimator(FeatureBatch.of(parts))[:, 4].double().numpy()
        return [graphs[place] for place in search.cheapest_candidates(estimated, graphs)]

    assert chosen(drawn(20)) == [usual] * 20
    for tensor in range(3):
        parts = drawn(20)
        parts[tensor] = parts[tensor].flip(2)  # upside down: as it should be, but for where it is
        free = [tensor not in sum(graph.parents, ()) for graph in chosen(parts)]
        assert sum(free) >= 18, (tensor, free)


def test_a_margin_makes_graphs_costlier_by_what_their_scores_vary_and_leaves_the_fixed_one(tmp_path: Path) -> None:
    fixed, steady, varying = TaskGraph(((), (0,))), TaskGraph(((1,), ())), TaskGraph.independent(2)
    scores = np.array([[10.0, 4.0, 8.0, 3.0], [10.0, 4.0, 12.0, 3.0]])  # 0 alone, 0 by 1, 1 alone, 1 by 0
    scores[1, 1] = 0.0  # so that a graph with 1 first is costlier by 3 on both images
    costs = SimpleNamespace(
        estimated_costs=lambda batch, quality: scores, total_costs=lambda batch, quality, graphs: np.full(2, 20.0)
    )
    graph_tables = SimpleNamespace(candidates=(fixed, steady, varying), fixed=(fixed,) * 8)
    codec = SimpleNamespace(
        costs=costs, graph_tables=graph_tables, normalise=lambda features: FeatureBatch.of(features)
    )
    val = SimpleNamespace(alike=lambda count, last: np.arange(2), raw=lambda rows: [torch.zeros(2, 1, 4, 4)] * 2)
    plain = measured_correction(RunFolder(tmp_path / "plain", Recipe()), codec, val)
    dearer = measured_correction(RunFolder(tmp_path / "margin", Recipe()), codec, val, margin=2.0)
    assert plain[0].tolist() == [7 / 16, 8 / 16, 0]
    assert np.allclose(dearer - plain, [[0, 0, 2 * 2 / 16]] * 8)
