"""The paper's K and τ: more parents and a lower bar never take edges away."""

from pathlib import Path

import numpy as np
import torch

from atdc.choice.graphs import paper_graphs
from atdc.pipeline import Codec
from atdc_bench.experiments import sweep
from atdc_bench.experiments.evaluated_codec import as_input


def test_more_parents_and_smaller_gains_give_more_edges(tiny_codec: Codec, photos) -> None:
    images = np.asarray(photos.targets(range(6))["rgb"], np.uint8)
    torch.manual_seed(0)
    codec = tiny_codec.feature_codec
    features = tiny_codec.features_of(as_input(images))

    def edges(k: int, tau: float) -> int:
        return sum(
            len(graph.edges) for graph in paper_graphs(codec.networks.predictor, codec.normalise(features), k, tau)
        )

    assert edges(1, 0.0) <= edges(2, 0.0) <= edges(3, 0.0)
    assert edges(2, 0.4) <= edges(2, 0.1) <= edges(2, -1.0)
    for k in (1, 2, 3):
        graphs = sweep.exact_graphs(codec, features, 4, k)
        assert max(len(parents) for graph in graphs for parents in graph.parents) <= k


def test_a_sweep_says_what_each_setting_takes(tmp_path: Path, tiny_codec: Codec, photos, monkeypatch) -> None:
    evaluated = Codec(tiny_codec.networks, tiny_codec.feature_codec, {"loss_bounds": [[2.0] * 6, [1.0] * 6]})
    monkeypatch.setattr(sweep, "load_evaluated_codec", lambda model: evaluated)
    monkeypatch.setattr(sweep, "open_rooms", lambda data, split: photos)
    result = sweep.run_sweep(out=tmp_path / "sweep.json", count=4, qualities=(1, 7), quiet=True)
    assert len(result["rows"]) == 2 * 9 and (tmp_path / "sweep.json").exists()
    for row in result["rows"]:
        assert row["bytes"] >= 19 and row["mean_edges"] <= 5 * row["max_parents"]
