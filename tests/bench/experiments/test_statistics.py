"""Graph statistics: counts of known graphs, gains of known scores, and disturbances that really disturb."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from atdc.graph.scores import candidate_sets
from atdc.graph.task_graph import TaskGraph
from atdc_bench.experiments import statistics
from atdc_bench.experiments.statistics import (
    DISTURBANCES,
    asymmetry,
    graph_statistics,
    run_statistics,
    stability,
)

PAIRS = candidate_sets(3, 1)
CHAIN, STAR, ALONE = TaskGraph(((), (0,), (1,))), TaskGraph(((), (0,), (0,))), TaskGraph.independent(3)


def test_known_graphs_are_counted() -> None:
    result = graph_statistics([CHAIN] * 5 + [STAR] * 3 + [ALONE] * 2, ("a", "b", "c"))
    assert result["root_share"] == {"a": 1.0, "b": 0.2, "c": 0.2}
    assert result["single_root_share"] == 0.8
    assert result["distinct"] == 3 and result["top_ten_share"] == 1
    assert result["top_ten"][0] == {"graph": CHAIN.describe("abc"), "share": 0.5}
    assert result["mean_edges"] == pytest.approx(1.6) and result["mean_depth"] == pytest.approx(1.3)
    assert result["entropy_bits"] == pytest.approx(-(0.5 * np.log2(0.5) + 0.3 * np.log2(0.3) + 0.2 * np.log2(0.2)))


def test_the_top_ten_are_the_ten_most_frequent() -> None:
    graphs = [TaskGraph.unrank(rank, 4, 2) for rank in range(20) for _ in range(20 - rank)]
    result = graph_statistics(graphs, ("a", "b", "c", "d"))
    assert result["distinct"] == 20 and len(result["top_ten"]) == 10
    assert result["top_ten_share"] == pytest.approx(sum(range(11, 21)) / sum(range(1, 21)))


def scores_with_gains(gain: np.ndarray) -> np.ndarray:
    """Scores (P,) with g(parent → child) = gain[parent, child]."""
    return np.array([100.0 - (gain[parents[0], child] if parents else 0) for child, parents in PAIRS])


def test_symmetric_gains_have_no_asymmetry_and_one_way_gains_are_all_asymmetry() -> None:
    symmetric = np.array([[0, 5.0, 2], [5, 0, 1], [2, 1, 0]])
    one_way = np.triu(symmetric)
    names = ("a", "b", "c")
    assert asymmetry(scores_with_gains(symmetric)[None], PAIRS, names)["mean_relative_asymmetry"] == 0
    result = asymmetry(scores_with_gains(one_way)[None], PAIRS, names)
    assert result["mean_relative_asymmetry"] == pytest.approx(1)
    assert result["mean_gain_bits"]["a"] == {"b": 5.0, "c": 2.0} and result["mean_gain_bits"]["b"]["a"] == 0
    assert result["direction_changes"] == 0
    both = np.stack([scores_with_gains(one_way), scores_with_gains(one_way), scores_with_gains(one_way.T)])
    assert asymmetry(both, PAIRS, names)["direction_changes"] == pytest.approx(1 / 3)


def test_stability_counts_changed_graphs_and_what_they_cost() -> None:
    gain = np.array([[0, 5.0, 2], [0, 0, 1], [0, 0, 0]])
    costs = np.tile(scores_with_gains(gain), (4, 1))
    same = stability([CHAIN] * 4, [CHAIN] * 4, costs)
    assert same == {"changed_share": 0, "edges_changed": 0, "extra_cost_percent": 0}
    half = stability([STAR] * 4, [STAR, STAR, CHAIN, CHAIN], costs)
    assert half["changed_share"] == 0.5
    assert half["edges_changed"] == pytest.approx(1 - 6 / 10)  # two images keep both edges, two share one of three
    assert half["extra_cost_percent"] == pytest.approx(100 * 2 / (4 * 293))


def test_disturbances_are_slight_repeatable_and_keep_the_shape(photos: Any) -> None:
    images = photos.arrays["rgb"][:3]
    for name, disturb in DISTURBANCES.items():
        other = disturb(images, 0)
        assert other.shape == images.shape and other.dtype == np.uint8
        assert (other != images).any()
        np.testing.assert_array_equal(other, disturb(images, 0))
        if name != "horizontal_flip":
            assert np.abs(other.astype(int) - images).mean() < 20
    np.testing.assert_array_equal(DISTURBANCES["horizontal_flip"](images, 0)[..., 0], images[..., -1])


def test_the_command_writes_every_quality(
    tiny_weights: Path, photos: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statistics, "open_rooms", lambda data, split: photos)
    out = tmp_path / "statistics.json"
    result = run_statistics(tiny_weights, tmp_path, out, count=6, qualities=(4,), batch=4, quiet=True)
    assert json.loads(out.read_text()) == result
    row = result["qualities"]["4"]
    assert row["graphs"]["codebook"]["images"] == 6
    assert set(row["stability"]) == set(DISTURBANCES)
    assert set(row["full_score_saving_kept_by_cheap_scorer"]) == {"cheap", "best_fixed", "possible_percent"}
