"""Scaling: planted scores are the entropies they claim to be, and what is counted is what is needed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from atdc.config import ModelConfig
from atdc.errors import ArgumentError
from atdc.graph.scores import ScoreTable, candidate_sets, pair_index
from atdc.graph.search import greedy
from atdc.graph.task_graph import TaskGraph
from atdc.networks.batches import FeatureBatch
from atdc.networks.predictability import score_bits
from atdc.networks.predictor import Predictor
from atdc_bench.experiments import scaling
from atdc_bench.experiments.scaling import (
    DISTORTION,
    ELEMENTS,
    Planted,
    compare_settings,
    compare_shortlists,
    greedy_scores,
    joint_bits,
    pair_scores,
    planted_covariances,
    run_scaling,
    scoring_cost,
    shortlist_scores,
    shortlisted,
    subset_scores,
)
from atdc_bench.experiments.score_calibration import graph_cost
from atdc_bench.experiments.speed import macs

sizes = st.integers(3, 7)
seeds = st.integers(0, 2**31)


def by_regression(covariance: np.ndarray, child: int, parents: tuple[int, ...]) -> float:
    """Bits from the variance that least squares on the parents leaves."""
    rows = list(parents)
    cross = covariance[child, rows]
    left = covariance[child, child] - cross @ np.linalg.solve(covariance[np.ix_(rows, rows)], cross)
    return float(ELEMENTS / 2 * np.log2(left / DISTORTION))


@given(sizes, seeds)
@settings(max_examples=15, deadline=None)
def test_a_score_is_what_regression_on_the_parents_leaves(size: int, seed: int) -> None:
    covariances = planted_covariances(size, 2, seed)
    scores = pair_scores(covariances)
    for column, (child, parents) in enumerate(candidate_sets(size, 2)):
        for image in range(2):
            expected = sum(by_regression(kind, child, parents) for kind in covariances[image])
            assert scores[image, column] == pytest.approx(expected, rel=1e-9, abs=1e-6)


@given(sizes, seeds)
@settings(max_examples=15, deadline=None)
def test_along_every_order_all_predecessors_cost_the_joint_entropy(size: int, seed: int) -> None:
    covariances = planted_covariances(size, 2, seed)
    index, scores = pair_index(size, None), subset_scores(covariances)
    for order in np.random.default_rng(seed).permuted(np.tile(np.arange(size), (3, 1)), axis=1).tolist():
        columns = [index[child, tuple(sorted(order[:place]))] for place, child in enumerate(order)]
        np.testing.assert_allclose(scores[:, columns].sum(1), joint_bits(covariances), rtol=1e-9)


@given(sizes, seeds)
@settings(max_examples=15, deadline=None)
def test_both_ways_to_score_agree_and_a_further_parent_never_costs(size: int, seed: int) -> None:
    covariances = planted_covariances(size, 2, seed)
    few, every, index = pair_scores(covariances), subset_scores(covariances), pair_index(size, None)
    pairs = candidate_sets(size, 2)
    np.testing.assert_allclose(few, every[:, [index[pair] for pair in pairs]], rtol=1e-9)
    assert (few > 0).all()
    for column, (child, parents) in enumerate(pairs):
        for parent in parents:
            fewer = tuple(other for other in parents if other != parent)
            assert (few[:, column] <= few[:, pairs.index((child, fewer))] + 1e-6).all()


def test_images_of_one_size_share_a_structure_and_differ() -> None:
    covariances = planted_covariances(12, 3, seed=1)
    np.testing.assert_array_equal(covariances, planted_covariances(12, 3, seed=1))
    assert (covariances[0] != covariances[1]).any() and (covariances != planted_covariances(12, 3, seed=2)).any()
    # Inside a cluster covariance exceeds a f alone, in every image: the clusters are the same.
    correlation = covariances / np.sqrt(np.einsum("nktt->nkt", covariances)[..., None])
    assert np.corrcoef(correlation[0].ravel(), correlation[1].ravel())[0, 1] > 0.5


@given(st.integers(3, 9), seeds)
@settings(max_examples=15, deadline=None)
def test_greedy_needs_no_score_that_is_not_counted(size: int, seed: int) -> None:
    bits = pair_scores(planted_covariances(size, 1, seed))[0]
    first = greedy(ScoreTable.of(size, bits, 2), max_parents=1)  # what the first round chooses
    needed = np.array([len(row) < 2 or set(first.parents[child]) <= set(row) for child, row in candidate_sets(size, 2)])
    needed &= np.array([len(row) < 2 or bool(first.parents[child]) for child, row in candidate_sets(size, 2)])
    assert needed.sum() <= greedy_scores(size)
    assert greedy(ScoreTable.of(size, np.where(needed, bits, np.inf), 2)) == greedy(ScoreTable.of(size, bits, 2))


@given(st.integers(3, 9), st.integers(1, 9), seeds)
@settings(max_examples=25, deadline=None)
def test_a_shortlist_scores_as_many_pairs_as_counted_and_keeps_the_best(size: int, kept: int, seed: int) -> None:
    bits = pair_scores(planted_covariances(size, 2, seed))
    short = shortlisted(bits, size, kept)
    scored = np.isfinite(short)
    assert (scored.sum(1) == shortlist_scores(size, kept)).all()
    np.testing.assert_array_equal(short[scored], bits[scored])
    index = pair_index(size, 2)
    for child, parents in candidate_sets(size, 2):
        if len(parents) == 2 and scored[0, index[child, parents]]:
            worse = max(bits[0, index[child, (parent,)]] for parent in parents)
            better = [other for other in range(size) if other != child and bits[0, index[child, (other,)]] < worse]
            assert len(better) < kept


def test_settings_keep_their_order_and_nothing_beats_the_joint_entropy() -> None:
    planted = Planted.of(9, 4, seed=0)
    rows = compare_settings(planted)
    saving = {name: row["saving_percent"] for name, row in rows.items()}
    assert 0 == saving["independent"] < saving["greedy"] <= saving["greedy+local"] <= saving["local"] + 1e-9
    assert saving["local"] <= saving["exact"] + 1e-9 and saving["exact"] < saving["chain"]
    assert saving["fixed"] <= saving["codebook"] + 0.5 and saving["codebook"] <= saving["exact"] + 1e-9
    assert all(row["share_of_exact"] == pytest.approx(saving[name] / saving["exact"]) for name, row in rows.items())
    assert rows["chain"]["once"]["scores"] == len(candidate_sets(9, None))
    shorts = compare_shortlists(planted, saving["exact"])
    shares = [row["share_of_saving"] for row in shorts.values()]
    assert shares == sorted(shares) and shares[-1] == 1  # nine tasks have eight parents each


def test_savings_are_those_of_the_scores() -> None:
    planted = Planted.of(5, 3, seed=4)
    graphs = [TaskGraph(((), (0,), (0, 1), (2,), ()))] * 3
    costs = [ScoreTable.of(5, row, 2).graph_bits(graphs[0]) for row in planted.bits]
    assert planted.saved(graphs) == pytest.approx(planted.alone - sum(costs))
    np.testing.assert_allclose(graph_cost(graphs, planted.bits), costs)


def test_scoring_counts_every_multiplication_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scaling, "ROUNDS", 1)
    pairs = candidate_sets(4, 2)
    cost = scoring_cost(4, {"all": len(pairs), "none": 0}, seed=0)
    config = ModelConfig()
    features = FeatureBatch.of(torch.zeros(1, 4, config.feature_channels, scaling.FEATURE_SIDE, scaling.FEATURE_SIDE))
    whole = macs(score_bits, Predictor(config, config.tensors(range(4))), features, pairs, torch.ones(1, 4))
    assert cost["all"]["mmac"] == pytest.approx(whole)
    assert cost["none"]["mmac"] == cost["shares_mmac"] < cost["all"]["mmac"] < cost["all_unshared_mmac"]
    per_contribution = 9 * config.feature_channels * config.predictor_width * scaling.FEATURE_SIDE**2 / 1e6
    assert cost["shares_mmac"] == pytest.approx(4 * per_contribution)
    uses = sum(len(parents) for _, parents in pairs)
    assert cost["all_unshared_mmac"] == pytest.approx(whole + (uses - 4) * per_contribution)
    assert cost["all"]["ms"] == pytest.approx(
        cost["shares_ms"]["median"] + len(pairs) * cost["pair_ms"]["median"], 0.05
    )


def test_the_result_is_written_with_exact_where_it_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scaling, "ROUNDS", 1)
    monkeypatch.setattr(scaling, "PAIRS_TIMED", 5)
    out = tmp_path / "scaling.json"
    result = run_scaling(out, sizes=(4, 17), images=2, quiet=True)
    assert json.loads(out.read_text(encoding="utf-8")) == result
    assert "exact" in result["sizes"]["4"]["settings"] and "exact" not in result["sizes"]["17"]["settings"]
    assert result["sizes"]["17"]["settings"]["greedy"]["share_of_exact"] is None
    assert result["sizes"]["17"]["settings"]["chain"]["once"]["search_ms"] is None
    assert result["sizes"]["17"]["pairs"] == len(candidate_sets(17, 2))
    assert result["provenance"]["seed"] == 0


@pytest.mark.parametrize("arguments", [{"sizes": ()}, {"sizes": (2,)}, {"sizes": (65,)}, {"images": 0}])
def test_impossible_sizes_are_refused_before_anything_runs(tmp_path: Path, arguments: dict[str, object]) -> None:
    with pytest.raises(ArgumentError):
        run_scaling(tmp_path / "scaling.json", **arguments)  # type: ignore[arg-type]
