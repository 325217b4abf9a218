"""`atdc bench graphs`: arms of a codec of any tensors, and which predicts which."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from any_tensors import untrained_codec
from atdc.codec import FeatureCodec
from atdc.errors import DataError
from atdc.graph.graph_tables import GraphTables
from atdc.graph.task_graph import TaskGraph
from atdc.tensors import FeatureSet, TensorSpec
from atdc_bench.experiments.feature_graphs import run_feature_graphs
from atdc_bench.report.registry import EXPERIMENTS

SHAPES = {"a/fine": (2, 8, 12), "a/coarse": (3, 4, 6), "b/map": (2, 5, 5)}


def codec() -> FeatureCodec:
    specs = [TensorSpec(name, shape[0], (shape[1], shape[2]), 4) for name, shape in SHAPES.items()]
    graphs = (TaskGraph(((), (0,), ())), TaskGraph(((1,), (), (1,))))
    nothing = GraphTables.untrained(3)
    graph_tables = dataclasses.replace(nothing, candidates=graphs, fixed=graphs[:1] * 8, correction=np.zeros((8, 2)))
    return untrained_codec(FeatureSet(tuple(specs)), graph_tables, b"grap")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    codec().save(tmp_path / "codec.safetensors")
    (tmp_path / "features").mkdir()
    rng = np.random.default_rng(0)
    for number in range(7):
        sample = {name: rng.normal(size=shape).astype(np.float32) for name, shape in SHAPES.items()}
        np.savez(tmp_path / "features" / f"{number}.npz", **sample)
    return tmp_path


def measured(folder: Path, **settings: Any) -> dict[str, Any]:
    return run_feature_graphs(
        folder / "codec.safetensors", folder / "features", folder / "r.json", qualities=(1, 6), quiet=True, **settings
    )


def test_arms_that_choose_by_real_costs_never_cost_more_than_the_fixed_graph(folder: Path) -> None:
    result = measured(folder, count=7)
    assert result["sets"] == {"all": list(SHAPES), "a": ["a/fine", "a/coarse"]}
    assert [(row["set"], row["quality"]) for row in result["rows"]] == [("all", 1), ("a", 1), ("all", 6), ("a", 6)]
    for row in result["rows"]:
        assert row["arms"]["fixed"] == [0, 0, 0] and row["pool"] == 2
        assert row["arms"]["oracle"][0] <= 0 and row["arms"]["control"][0] <= 0
        assert row["arms"]["oracle"][0] <= row["arms"]["default"][0]
        roots = row["roots"]["fixed"]
        assert roots == {name: float(name != "a/coarse") for name in result["sets"][row["set"]]}
    for block in EXPERIMENTS["graphs"].blocks.values():
        assert len(list(block.formatter(result))) > 3


def test_a_tensor_saves_nothing_of_itself_and_what_is_saved_is_of_the_childs_bits(folder: Path) -> None:
    result = measured(folder, count=3)
    for row in result["saved"]:
        table = np.array(row["percent"])
        assert table.shape == (3, 3) and np.diag(table).tolist() == [0, 0, 0] and (table < 100).all()


def test_too_few_samples_are_refused(folder: Path) -> None:
    with pytest.raises(DataError, match="7 samples with all tensors on the same grids; expected at least 8"):
        measured(folder, count=8)
