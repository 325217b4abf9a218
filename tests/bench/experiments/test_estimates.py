"""Estimates against real files: sets of all sizes, graphs over a set alone, and an estimator that is right."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from atdc.choice.costs import CostModel
from atdc.errors import ArgumentError
from atdc.graph.graph_tables import GraphTables
from atdc.graph.wanted import WantedGraphs
from atdc.networks.batches import FeatureBatch
from atdc.pipeline import Codec
from atdc_bench.experiments import estimates
from atdc_bench.experiments.wanted_sets import subsets, tasks_of
from atdc_bench.report import wanted as pages


def test_drawn_sets_are_of_all_sizes_evenly_distinct_repeatable_and_hold_all_tasks() -> None:
    drawn = estimates.drawn_sets(40, 3)
    assert len(set(drawn)) == 40 and drawn == estimates.drawn_sets(40, 3) != estimates.drawn_sets(40, 4)
    sizes = Counter(map(len, drawn))
    assert (
        sizes[1] == sizes[5] == 6
        and sizes[6] == 1
        and max(sizes.values()) - min(sizes[size] for size in (2, 3, 4)) <= 1
    )
    assert set(estimates.drawn_sets(63, 0)) == set(subsets()) and estimates.drawn_sets(1, 0) == (subsets()[-1],)
    for count in (0, 64):
        with pytest.raises(ArgumentError, match="1 to 63"):
            estimates.drawn_sets(count, 0)


def test_graphs_over_a_set_are_distinct_and_have_edges_within_it_alone(tiny_codec: Codec) -> None:
    for letters in subsets():
        tasks = tasks_of(letters)
        graphs = estimates.graphs_over(tiny_codec.feature_codec, tasks, 4, np.random.default_rng(0))
        assert len(set(graphs)) == len(graphs) == {1: 1, 2: 3}.get(len(tasks), estimates.GRAPHS)
        assert all(graph == graph.within(tasks) for graph in graphs)


@pytest.fixture
def measured(tiny_codec: Codec, photos, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    own = tiny_codec.feature_codec

    def run(graph_tables: GraphTables = own.graph_tables) -> dict:
        monkeypatch.setattr(own, "graph_tables", graph_tables)
        monkeypatch.setattr(estimates, "load", lambda model: tiny_codec)
        monkeypatch.setattr(estimates, "labelled", lambda name, data, split: photos)
        return estimates.run_estimates(out=tmp_path / "e.json", count=2, set_count=8, qualities=(4.5,), quiet=True)

    return run


def test_an_estimator_that_knows_costs_of_pairs_errs_by_what_their_sums_err_and_ranks_as_they_do(
    measured, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = {(row["size"], row["quality"]): row for row in measured()["by_size"]}
    known: dict[float, np.ndarray] = {}
    really = CostModel.measured_costs

    def remembered(costs: CostModel, batch: FeatureBatch, quality: float) -> np.ndarray:
        known[quality] = really(costs, batch, quality)
        return known[quality]

    monkeypatch.setattr(CostModel, "measured_costs", remembered)
    monkeypatch.setattr(CostModel, "estimated_costs", lambda costs, batch, quality: known[quality])
    for row in measured()["by_size"]:
        before = plain[row["size"], row["quality"]]
        assert row["rank"] == row["by_pairs"] == before["by_pairs"]
        assert row["cost_error_percent"][0] < 3 and row["cost_error_percent"][0] < before["cost_error_percent"][0]
        assert (row["rank"] is None) == (row["size"] in (1, 2)), "ranks of three graphs say little"
        assert 0 <= row["lost_percent"][0] <= row["spread_percent"][0]


def test_bytes_are_told_where_weights_keep_mean_bits_by_the_share_of_bits_in_the_estimate(
    tiny_codec: Codec, measured, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert all(row["bytes_error_percent"] is None for row in measured()["by_size"])
    really = CostModel.estimated_costs
    monkeypatch.setattr(CostModel, "estimated_costs", lambda *given: abs(really(*given)))
    own = tiny_codec.feature_codec
    ones = np.ones((8, len(own.pairs)))
    found = []
    for errors in (0 * ones, 3 * ones):
        rows = measured(replace(own.graph_tables, wanted=WantedGraphs(2, ones, errors, {})))["by_set"]
        found.append(np.array([row["bytes_bias_percent"] for row in rows]))
    assert (found[0] > found[1]).all() and (found[1] > -100).all()


def test_a_page_has_a_row_for_each_size_and_quality_and_says_what_is_not_known(measured) -> None:
    lines = list(pages.estimates(measured()))
    assert len(lines) == 2 + 7 + 2 and lines[2].startswith("| any | 4.5 | 8 |")
    assert lines[3].startswith("| 1 | 4.5 |") and "| – | – | – | – |" in lines[3]
    assert all(line.count("|") == 10 for line in lines[:-2])
