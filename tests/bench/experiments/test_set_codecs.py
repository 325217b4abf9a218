"""Codecs trained for one set, and arms that differ in whose graphs they are trained along: quick runs on made-up
weights."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.bench.experiments.conftest import SmallImages

from atdc.codec import FeatureCodec
from atdc.data.rooms import RoomsDataset, materialise
from atdc.errors import ArgumentError
from atdc.graph.task_graph import TaskGraph
from atdc.pipeline import Codec, load
from atdc_bench.baselines.graph_sources import GraphOfEach
from atdc_bench.baselines.set_codecs import KINDS, alone, graph_of
from atdc_bench.experiments import own_graphs, set_codecs
from atdc_bench.experiments.own_graphs import ARMS, run_own_graphs, shuffled
from atdc_bench.experiments.set_codecs import run_set_codecs
from atdc_bench.experiments.wanted_parts import Bench, Plan, measure_trained, missing_systems
from atdc_bench.experiments.wanted_sets import tasks_of
from atdc_bench.report.registry import EXPERIMENTS

SETS = ("nd", "sktnda")


@pytest.fixture(scope="module")
def patched() -> Iterator[pytest.MonkeyPatch]:
    """Where training and test images come from: rooms of 64 pixels."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            set_codecs,
            "training_images",
            lambda recipe, data, real: (RoomsDataset(data, "train"), RoomsDataset(data, "val")),
        )
        patch.setattr(own_graphs, "labelled", lambda name, data, split: RoomsDataset(data, split))
        yield patch


@pytest.fixture(scope="module")
def base(patched: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory, tiny_codec: Codec) -> Path:
    """A folder of weights, a recipe and rooms."""
    folder = tmp_path_factory.mktemp("sets")
    for split in ("train", "val", "test"):
        materialise(folder / "rooms", split, count=8, workers=1, size=64)
    card = {"loss_bounds": [[2.0, 0.1, 0.1, 0.5, 1.0, 0.1], [1.0, 0.05, 0.05, 0.2, 0.5, 0.05]]}
    Codec(tiny_codec.networks, tiny_codec.feature_codec, card).save(folder / "base.safetensors")
    (folder / "training.yaml").write_text("name: training\ncodec: {batch: 4, tasks_per_step: 1, subset_share: 0.85}")
    return folder


@pytest.fixture(scope="module")
def made(base: Path) -> dict:
    return run_set_codecs(
        base / "base.safetensors", base / "rooms", base / "sets.json", recipe=base / "training.yaml", sets=SETS,
        steps=2, anew=6, run=base / "run", codecs=base / "codecs", quiet=True,
    )  # fmt: skip


@pytest.mark.slow
def test_a_set_has_a_codec_of_each_kind_and_what_was_not_trained_stays(made: dict, base: Path) -> None:
    assert set(made["codecs"]) == {f"{kind}_{letters}" for kind in KINDS for letters in SETS}
    assert "trained for nd alone" in EXPERIMENTS["set-codecs"].summary(made)
    before, tasks = load(base / "base.safetensors").feature_codec, tasks_of("nd")
    after = FeatureCodec.load(base / "codecs" / "alone_nd.safetensors")
    old, new = (
        [torch.cat([value.flatten() for value in codec.networks.task(task).state_dict().values()]) for task in range(6)]
        for codec in (before, after)
    )
    changed = {task for task in range(6) if not torch.equal(old[task], new[task])}
    assert changed == set(tasks), "transforms of tasks that are not wanted are as they were"
    longer = {made["codecs"][f"longer_{letters}"]["fingerprint"] for letters in SETS}
    assert len(longer) == 1 and made["codecs"]["alone_sktnda"]["fingerprint"] not in longer, "one codec for all sets"


@pytest.mark.slow
def test_the_bench_of_wanted_sets_measures_them(made: dict, base: Path) -> None:
    codec = load(base / "base.safetensors")
    bench = Bench(codec, SmallImages(2), Plan((0, 2, 4, 7), 2, 2, 2), {}, base / "codecs")
    missing = missing_systems(bench.codecs)
    assert {"joint_nd", "alone_nd"}.isdisjoint(missing) and {"joint_snd", "alone_snd"} <= set(missing)
    for name in made["codecs"]:
        found = measure_trained(bench, range(2), name)
        letters = name.partition("_")[2]
        assert {key.split("/")[1] for key in found if key.startswith("statistics/")} == set(letters)
        assert all((found[f"bytes/{quality:g}"] > 10).all() for quality in bench.plan.qualities)
    (base / "codecs" / "alone_snd.safetensors").write_bytes((base / "codecs" / "joint_nd.safetensors").read_bytes())
    with pytest.raises(Exception, match="channels"):
        measure_trained(bench, range(2), "alone_snd")
    (base / "codecs" / "alone_snd.safetensors").unlink()


def test_a_set_is_coded_along_the_graph_that_the_weights_keep_for_it(tiny_codec: Codec) -> None:
    codec = tiny_codec.feature_codec
    graph = graph_of(codec, (3, 4), 4.0)
    assert graph == codec.graph_tables.fixed[4].within((3, 4)) and graph.size == 6
    row = alone("nd", (3, 4))
    assert row.choose(codec, torch.zeros(2, 6, 4, 4, 4), 4.0) == [graph, graph] and row.known_tasks == list(range(6))


def test_shuffled_graphs_are_the_same_ones_at_other_images() -> None:
    graphs = [TaskGraph(tuple(() if task == root else (root,) for task in range(6))) for root in range(6)]
    for seed in range(20):
        other = shuffled(graphs, seed)
        assert sorted(graphs, key=str) == sorted(other, key=str)
        assert all(own != found for own, found in zip(graphs, other, strict=True))
    source = GraphOfEach(graphs)
    assert source.draw(np.array([4, 0]), 4, np.random.default_rng(0), range(6)) == [graphs[4], graphs[0]]


@pytest.mark.slow
def test_arms_share_everything_but_their_graphs(base: Path) -> None:
    settings = {
        "recipe": base / "training.yaml", "images": "rooms", "count": 4, "quality": 4, "seeds": 2,
        "run": base / "own", "quiet": True,
    }  # fmt: skip
    found = run_own_graphs(base / "base.safetensors", base / "rooms", base / "own.json", steps=1, **settings)
    assert set(found["arms"]) == set(ARMS) and all(len(arm["seeds"]) == 2 for arm in found["arms"].values())
    curves = [json.loads(path.read_text()) for path in (base / "own" / "rows").glob("*-seed0-*/curves.json")]
    assert len(curves) == 3 and len({round(curve["further"][0]["loss q4"], 3) for curve in curves}) == 1, (
        "the same batches"
    )
    assert len({curve["further"][0]["rate q4"] for curve in curves}) > 1, "along other graphs"
    assert "own against shuffled" in EXPERIMENTS["own-graphs"].summary(found)
    with pytest.raises(ArgumentError, match=r"levels \[4\]"):
        run_own_graphs(
            base / "base.safetensors", base / "rooms", base / "own.json", steps=1, **(settings | {"quality": 3})
        )
    with pytest.raises(ArgumentError, match="further 1"):
        run_own_graphs(base / "base.safetensors", base / "rooms", base / "own.json", steps=2, **settings)
    with pytest.raises(ArgumentError, match="seeds"):
        run_own_graphs(base / "base.safetensors", base / "rooms", base / "own.json", **(settings | {"seeds": 1}))
