"""Scores against bits: agreements of known scores are what they should be, and planted dependencies are found."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from atdc.graph.scores import ScoreTable, candidate_sets
from atdc.graph.search import exact
from atdc.graph.task_graph import TaskGraph
from atdc.pipeline import Codec
from atdc_bench.experiments import score_calibration
from atdc_bench.experiments.score_calibration import (
    agreement,
    compare,
    graph_cost,
    pair_tables,
    run_score_calibration,
    saving_kept,
    score_calibration_at,
)

PAIRS = candidate_sets(3, 2)
NAMES = ("a", "b", "c")


def random_costs(images: int = 30, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(1, 10, (images, len(PAIRS)))


def test_a_line_with_noise_has_its_slope_and_r2() -> None:
    random = np.random.default_rng(0)
    score = random.normal(0, 1, 20000)
    found = agreement(score, 3 * score + random.normal(0, 4, 20000) + 7)
    assert found.slope == pytest.approx(3, abs=0.1)
    assert found.r2 == pytest.approx(9 / 25, abs=0.02)
    assert 0.5 < found.spearman < 0.65
    assert agreement(np.ones(5), np.arange(5.0)).r2 == 0


def test_a_perfect_score_agrees_on_every_level() -> None:
    costs = random_costs()
    result = compare(0.5 * costs, costs, PAIRS, NAMES)
    for level in (result["overall"], result["within_image_and_child"], *result["within_child"].values()):
        assert level["spearman"] == pytest.approx(1) and level["slope"] == pytest.approx(2)
        assert level["r2"] == pytest.approx(1)


def test_a_score_that_only_knows_the_image_agrees_overall_but_not_within() -> None:
    size = np.random.default_rng(1).uniform(1, 100, (50, 1))
    costs = size + random_costs(50) / 10
    result = compare(np.tile(size, (1, len(PAIRS))), costs, PAIRS, NAMES)
    assert result["overall"]["r2"] > 0.99
    assert result["within_image_and_child"]["r2"] == 0 and result["within_image_and_child"]["spearman"] == 0


def test_what_a_graph_costs_is_what_the_score_table_says() -> None:
    costs = random_costs(4)
    graphs = [
        TaskGraph(((), (0,), (0, 1))),
        TaskGraph.independent(3),
        TaskGraph(((), (0,), (0, 1))),
        TaskGraph(((2,), (), ())),
    ]
    expected = [ScoreTable.of(3, row, 2).graph_bits(graph) for row, graph in zip(costs, graphs, strict=True)]
    np.testing.assert_allclose(graph_cost(graphs, costs), expected)


def test_the_judges_own_choice_keeps_everything_and_no_other_keeps_more() -> None:
    costs = random_costs()
    kept = saving_kept({"same": costs, "shifted": 2 * costs + 3, "other": random_costs(seed=5)}, costs, 3, 2)
    assert kept["same"] == pytest.approx(1) and kept["shifted"] == pytest.approx(1)
    assert kept["other"] < kept["best_fixed"] < 1
    alone = graph_cost([TaskGraph.independent(3)] * 30, costs).sum()
    best = sum(ScoreTable.of(3, row, 2).graph_bits(exact(ScoreTable.of(3, row, 2))) for row in costs)
    assert kept["possible_percent"] == pytest.approx(100 * (1 - best / alone))


def test_pair_tables_hold_what_the_codec_really_spends(tiny_codec: Codec, photos: Any) -> None:
    tables = pair_tables(tiny_codec, photos, range(5), 4, batch=2)
    codec = tiny_codec.feature_codec
    assert tables.bits.shape == tables.full.shape == tables.cheap.shape == (5, 96)
    features = score_calibration.features_at(tiny_codec, photos, range(5))
    alone = codec.encode_batch(features, 4, "independent").ideal_bits
    roots = [place for place, (_, parents) in enumerate(codec.pairs) if not parents]
    np.testing.assert_allclose(tables.bits[:, roots], alone, rtol=1e-6)
    bits, errors = codec.costs.pair_costs(codec.normalise(features), 4)
    weights = codec.costs.lagrange_multipliers(4)[[child for child, _ in codec.pairs]]
    np.testing.assert_allclose(tables.cost, bits + weights * errors, rtol=1e-4)
    json.dumps(score_calibration_at(tables, codec), allow_nan=False)


def test_the_command_writes_every_quality(
    tiny_weights: Path, photos: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(score_calibration, "open_rooms", lambda data, split: photos)
    out = tmp_path / "scores.json"
    result = run_score_calibration(tiny_weights, tmp_path, out, count=4, qualities=(1, 6.5), quiet=True)
    assert json.loads(out.read_text()) == result
    assert set(result["qualities"]) == {"1", "6.5"}
    assert result["data"]["pairs"] == 96
