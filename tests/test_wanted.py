"""Files of wanted tasks: what runs, what is sent, what comes back."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import atdc
from any_tensors import untrained_codec
from atdc.codec import FeatureCodec
from atdc.config import MAX_QUALITY
from atdc.errors import ArgumentError
from atdc.graph.graph_tables import GraphTables
from atdc.graph.scores import candidate_sets
from atdc.graph.search import SETTINGS
from atdc.graph.subsets import with_ancestors, without_missing
from atdc.graph.task_graph import TaskGraph
from atdc.graph.wanted import WantedGraphs
from atdc.pipeline import Codec
from atdc.tasks import TASK_NAMES
from atdc.tensors import FeatureSet, TensorSpec
from atdc.training.wanted_stage import wanted_graphs

NORMAL, DEPTH, EDGES = (TASK_NAMES.index(name) for name in ("normal", "depth_zbuffer", "edge_texture"))
HELPED = TaskGraph.from_edges(6, [(EDGES, NORMAL), (NORMAL, DEPTH)])
"""Edges help normals, of which depth is predicted."""
PICTURE = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)


@pytest.fixture(scope="module")
def plain(untrained_weights: Path) -> Codec:
    return atdc.load(untrained_weights)


@pytest.fixture(scope="module")
def helped(plain: Codec) -> Codec:
    """Its weights know a helper of one wanted set."""
    own = copy.copy(plain)
    own.feature_codec = copy.copy(plain.feature_codec)
    pairs = len(candidate_sets(6, 2))
    costs = np.ones((MAX_QUALITY + 1, pairs))
    wanted = WantedGraphs(2, costs, costs, {tuple(sorted((NORMAL, DEPTH))): (HELPED,) * (MAX_QUALITY + 1)})
    own.feature_codec.graph_tables = replace(plain.feature_codec.graph_tables, wanted=wanted)
    return own


def calls_of_encoders(codec: Codec, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    called: list[str] = []
    for name, encoder in zip(TASK_NAMES, codec.networks.encoders, strict=True):
        forward = encoder.forward

        def counting(image: torch.Tensor, name: str = name, forward: object = forward) -> torch.Tensor:
            called.append(name)
            return forward(image)  # type: ignore[operator]

        monkeypatch.setattr(encoder, "forward", counting)
    return called


def test_only_networks_of_wanted_tasks_run_and_only_these_are_sent(
    plain: Codec, monkeypatch: pytest.MonkeyPatch
) -> None:
    called = calls_of_encoders(plain, monkeypatch)
    data = plain.encode(PICTURE, tasks=["depth_zbuffer", "normal"])
    assert called == ["normal", "depth_zbuffer"]
    assert list(plain.decode(data)) == ["normal", "depth_zbuffer"]
    assert len(data) < len(plain.encode(PICTURE))


def test_a_helpers_network_runs_and_it_is_sent(helped: Codec, monkeypatch: pytest.MonkeyPatch) -> None:
    assert helped.feature_codec.helpers(["normal", "depth_zbuffer"]) == ("edge_texture",)
    called = calls_of_encoders(helped, monkeypatch)
    data = helped.encode(PICTURE, tasks=["depth_zbuffer", "normal"])
    sent = {"normal", "depth_zbuffer", "edge_texture"}
    assert set(called) == sent and len(called) == 3
    seen = helped.inspect(data)
    assert set(seen.tasks) == sent and seen.graph is not None and seen.graph["normal"] == ["edge_texture"]
    assert set(helped.decode(data)) == sent and list(helped.decode(data, ["normal"])) == ["normal"]


def test_large_images_are_seen_by_the_wanted_networks_alone(plain: Codec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plain, "tile_positions", 2)
    called: list[str] = []
    for name, encoder in zip(TASK_NAMES, plain.networks.encoders, strict=True):
        local = encoder.local
        monkeypatch.setattr(encoder, "local", lambda image, n=name, f=local: called.append(n) or f(image))
    plain.encode(PICTURE, tasks=["normal"])
    assert set(called) == {"normal"}


@pytest.mark.parametrize("setting", [setting for setting in SETTINGS if setting != "paper-order"])
def test_every_setting_gives_graphs_over_wanted_tensors(plain: Codec, setting: str) -> None:
    data = plain.encode(PICTURE, graph=setting, tasks=["normal", "depth_zbuffer"])
    assert list(plain.decode(data)) == ["normal", "depth_zbuffer"]


def features_of(codec: Codec) -> dict[str, torch.Tensor]:
    pixels = torch.from_numpy(PICTURE).permute(2, 0, 1)[None]
    return dict(zip(TASK_NAMES, codec.features_of(pixels)[0], strict=True))


def test_what_is_given_and_not_wanted_is_sent_only_where_it_helps(helped: Codec, plain: Codec) -> None:
    whole, names = features_of(plain), ["normal", "depth_zbuffer"]
    pair = {name: whole[name] for name in names}
    assert plain.feature_codec.encode(whole, wanted=names) == plain.feature_codec.encode(pair)
    own = helped.feature_codec
    assert set(own.decode(own.encode(whole, wanted=names))) == {*names, "edge_texture"}
    assert set(own.decode(own.encode(pair, wanted=names))) == set(names)
    assert own.encode(whole, wanted=TASK_NAMES) == plain.feature_codec.encode(whole)


def test_features_that_are_neither_wanted_nor_help_are_not_looked_at(plain: Codec) -> None:
    whole, own = features_of(plain), plain.feature_codec
    broken = {**whole, "rgb": torch.full_like(whole["rgb"], float("nan"))}
    assert own.encode(broken, wanted=["normal"]) == own.encode({"normal": whole["normal"]})


@pytest.mark.parametrize("effort", ["normal", "high"])
def test_whole_files_of_weights_with_graphs_of_wanted_sets_stay_the_same(
    helped: Codec, plain: Codec, effort: str
) -> None:
    assert helped.encode(PICTURE, effort=effort) == plain.encode(PICTURE, effort=effort)


def test_helpers_have_the_mean_quality_of_wanted_tasks(helped: Codec) -> None:
    data = helped.encode(PICTURE, {"normal": 1, "depth_zbuffer": 2}, tasks=["normal", "depth_zbuffer"])
    quality = helped.inspect(data).quality
    assert quality["normal"] == 1 and quality["depth_zbuffer"] == 2
    assert quality.get("edge_texture", 1.5) == 1.5


def test_high_effort_weighs_a_helpers_bits_against_what_it_saves(helped: Codec) -> None:
    own = helped.feature_codec
    parts = [features_of(helped)[name][None] for name in TASK_NAMES]
    wanted = sorted((NORMAL, DEPTH))
    usual, high = (own.encode_batch(parts, 4, effort=effort, wanted=wanted) for effort in ("normal", "high"))
    batch = own.normalise(parts)
    costs = [own.costs.total_costs(batch, 4, encoded.graphs, wanted) for encoded in (usual, high)]
    assert usual.graphs == [HELPED] and costs[1] <= costs[0]


def test_total_costs_count_errors_of_wanted_tensors_and_bits_of_their_ancestors(plain: Codec) -> None:
    own = plain.feature_codec
    parts = [features_of(plain)[name][None] for name in TASK_NAMES]
    batch = own.normalise(parts)
    encoded = own.encode_batch(parts, 4, [HELPED])
    error = (
        (own.scaling.scaled(encoded.reconstruction)[NORMAL] - own.scaling.scaled(parts)[NORMAL]).square().sum().item()
    )
    expected = encoded.ideal_bits[0, [EDGES, NORMAL]].sum() + own.costs.lagrange_multipliers(4)[NORMAL] * error
    assert own.costs.total_costs(batch, 4, [HELPED], [NORMAL])[0] == pytest.approx(expected, rel=1e-3)
    multipliers = own.costs.lagrange_multipliers(4)
    bits, double = (own.costs.total_costs(batch, 4, [HELPED], [NORMAL], factor * multipliers)[0] for factor in (0, 2))
    assert bits < expected and double - expected == pytest.approx(expected - bits, rel=1e-3)


def test_both_forms_of_a_fixed_graph_are_coded_as_they_are(plain: Codec) -> None:
    whole, own = features_of(plain), plain.feature_codec
    for form, sent in ((with_ancestors, {"edge_texture", "normal"}), (without_missing, {"normal"})):
        graph, tensors = form(HELPED, [NORMAL])
        data = own.encode(whole, graph=graph, wanted=[TASK_NAMES[tensor] for tensor in tensors])
        assert set(own.decode(data)) == sent


@pytest.mark.parametrize(
    ("tasks", "said"),
    [
        (["normals"], "tasks: found 'normals'.*Did you mean 'normal'"),
        ([], "tasks: found an empty list"),
        ("normal", "a list of names"),
    ],
)
def test_tasks_that_cannot_be_wanted_are_one_clear_error(plain: Codec, tasks: list[str], said: str) -> None:
    with pytest.raises(ArgumentError, match=said):
        plain.encode(PICTURE, tasks=tasks)


def test_a_name_twice_counts_once_wherever_names_are_taken(plain: Codec) -> None:
    own, features = plain.feature_codec, features_of(plain)
    pair, twice = ["normal", "rgb"], ["normal", "rgb", "normal"]
    data = plain.encode(PICTURE, tasks=twice)
    assert data == plain.encode(PICTURE, tasks=pair)
    assert own.encode(features, wanted=twice) == own.encode(features, wanted=pair)
    assert own.encode(features, first=twice) == own.encode(features, first=pair)
    assert own.helpers(twice) == own.helpers(pair)
    assert list(plain.decode(data, twice)) == list(own.decode(own.encode(features), twice)) == pair
    assert sorted(name for name, _ in plain.decode_progressive(data, twice)) == pair


def test_a_weight_of_a_tensor_that_is_not_wanted_is_refused_and_so_is_none_at_all(plain: Codec) -> None:
    own, features = plain.feature_codec, features_of(plain)
    for weights in ({"rgb": 3}, {"normal": 1, "rgb": 0}):
        with pytest.raises(ArgumentError, match="weights: found 'rgb'; expected one of the wanted: normal"):
            own.encode(features, wanted=["normal"], max_bytes=5000, weights=weights)
        with pytest.raises(ArgumentError, match="weights: found 'rgb'"):
            plain.encode(PICTURE, tasks=["normal"], max_bytes=5000, weights=weights)
    with pytest.raises(ArgumentError, match="one at least that counts"):
        own.encode(features, wanted=["normal"], max_bytes=5000, weights={"normal": 0})
    some = {name: features[name] for name in ("normal", "rgb")}  # of one folder, some samples may lack tensors
    assert own.encode(some, max_bytes=5000, weights={"depth_zbuffer": 3}) == own.encode(some, max_bytes=5000)


def test_wanted_features_must_be_given(plain: Codec) -> None:
    with pytest.raises(ArgumentError, match=r"features of depth_zbuffer: found none.*wanted; given: normal"):
        plain.feature_codec.encode({"normal": features_of(plain)["normal"]}, wanted=["normal", "depth_zbuffer"])


def three_tensors() -> FeatureCodec:
    """An untrained codec of three tensors of unequal grids."""
    tensors = FeatureSet((TensorSpec("a", 2, 16, 4), TensorSpec("b", 3, 8, 4), TensorSpec("c", 1, (4, 8))))
    fixed = (TaskGraph(((1,), (2,), ())),) * (MAX_QUALITY + 1)
    return untrained_codec(tensors, replace(GraphTables.untrained(3), fixed=fixed), b"none")


def test_measured_graphs_of_wanted_sets_cover_all_and_cost_no_more_than_missing_parents_dropped() -> None:
    own, random = three_tensors(), torch.Generator().manual_seed(0)
    parts = [torch.randn(2, *shape, generator=random) for shape in ((2, 4, 4), (3, 8, 8), (1, 4, 8))]
    batch = own.normalise(parts)
    found = wanted_graphs(own, batch)
    found.require_tasks(3)
    assert len(found.graphs) == 6
    for wanted, graphs in found.graphs.items():
        for level in (1, 4, 7):
            pair = [graphs[level], without_missing(own.graph_tables.fixed[level], wanted)[0]]
            costs = [own.costs.total_costs(batch, level, [graph] * 2, wanted).mean() for graph in pair]
            assert costs[0] <= costs[1] * (1 + 1e-9)
    bits, squared = own.costs.pair_costs(batch, 3)
    assert np.allclose(found.rates[3], bits.mean(0))
    weights = own.costs.lagrange_multipliers(3)[own.costs.children]
    assert np.allclose(found.errors[3], (weights * squared).mean(0))
    whole = FeatureCodec.of_bytes(own.to_bytes({}))
    assert whole.graph_tables.wanted is None
    own.graph_tables = replace(own.graph_tables, wanted=found)
    again = FeatureCodec.of_bytes(own.to_bytes({}))
    assert again.graph_tables.wanted is not None and again.graph_tables.wanted.graphs == found.graphs
