"""Graphs by measured costs: a choice per image never really costs more than the fixed graph, the best that is known."""

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from atdc.config import Recipe
from atdc.graph.graph_tables import GraphTables
from atdc.graph.scores import graph_costs
from atdc.pipeline import Codec
from atdc.training.fixed_graphs import settled
from atdc.training.graph_stage import measured_correction, settle_fixed_graphs
from atdc.training.run_folder import RunFolder
from atdc_bench.baselines.stacked_features import StackedFeatures
from atdc_bench.experiments.entropy_models import chosen
from atdc_bench.experiments.evaluated_codec import features_at


class Kept:
    """Raw features in memory, read as those on disk are."""

    def __init__(self, features: torch.Tensor) -> None:
        self.features = features

    def __len__(self) -> int:
        return len(self.features)

    def read(self, indices: NDArray[np.int64]) -> torch.Tensor:
        return self.features[indices]


def test_choices_by_measured_costs_cost_no_more(tiny_codec: Codec, photos) -> None:
    codec = copy.copy(tiny_codec.feature_codec)
    features = features_at(tiny_codec, photos, range(6))
    normalised, before = codec.normalise(features), codec.graph_tables.fixed[4]
    fixed = settled(codec, features, 4)
    assert (
        codec.graph_tables.fixed[4] == fixed
        and codec.graph_tables.fixed[3] == tiny_codec.feature_codec.graph_tables.fixed[3]
    )

    def cost(graphs: list) -> np.ndarray:
        return codec.costs.total_costs(normalised, 4, graphs)

    assert (
        cost([fixed] * 6).mean()
        <= min(cost([graph] * 6).mean() for graph in (before, *codec.graph_tables.candidates)) + 1e-6
    )
    assert (cost(chosen(codec, features, 4)) <= cost([fixed] * 6) + 1e-6).all()


def test_with_cost_corrections_scores_are_right_in_the_mean_and_stopped_runs_resume(
    tiny_codec: Codec, photos, tmp_path: Path
) -> None:
    codec, run = copy.copy(tiny_codec.feature_codec), RunFolder(tmp_path, Recipe())
    features = features_at(tiny_codec, photos, range(6))
    val = StackedFeatures(Kept(features), torch.stack(codec.mean), torch.stack(codec.std))
    settle_fixed_graphs(run, codec, val)
    correction, graphs = measured_correction(run, codec, val), codec.graph_tables.candidates
    for quality in (0, 3, 7):
        scores = graph_costs(codec.costs.estimated_costs(codec.normalise(features), quality), graphs).mean(1)
        for place, graph in enumerate(graphs):
            real = codec.costs.total_costs(codec.normalise(features), quality, [graph] * 6).mean()
            assert np.isclose(scores[place] + correction[quality, place] * features[0, 0].numel(), real, rtol=1e-4)
    again = copy.copy(tiny_codec.feature_codec)
    settle_fixed_graphs(run, again, val)
    assert (
        again.graph_tables.fixed == codec.graph_tables.fixed
        and (measured_correction(run, again, val) == correction).all()
    )


def test_a_graph_is_left_for_a_cost_correction_and_the_graph_tables_keep_it(tiny_codec: Codec, photos) -> None:
    codec = copy.copy(tiny_codec.feature_codec)
    features = features_at(tiny_codec, photos, range(6))
    for place, graph in enumerate(codec.graph_tables.candidates):
        correction = np.full_like(codec.graph_tables.correction, 1e3)
        correction[:, place] = 0
        codec.graph_tables = GraphTables.from_json(replace(codec.graph_tables, correction=correction).to_json())
        assert codec.choose_graphs(features, 2.5, "codebook") == [graph] * 6
    older = codec.graph_tables.to_json()
    del older["surcharge"]
    assert not GraphTables.from_json(older).correction.any()
