"""`first`: tensors at a file's beginning, predicted from each other alone, and all others after them."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

import atdc
from atdc.bitstream.container import ContainerReader
from atdc.choice.ordered import choose_ordered
from atdc.cli import app
from atdc.codec import FeatureCodec
from atdc.errors import ArgumentError, IncompleteFileError
from atdc.graph.ordered import joined
from atdc.graph.task_graph import TaskGraph

FIRST = ["normal", "depth_zbuffer"]


@pytest.fixture(scope="module")
def codec(untrained_weights: Path) -> FeatureCodec:
    return atdc.load(untrained_weights).feature_codec


@pytest.fixture(scope="module")
def features(codec: FeatureCodec) -> dict[str, torch.Tensor]:
    random = torch.Generator().manual_seed(0)
    return {name: torch.randn(8, 11, 9, generator=random) for name in codec.task_names}


@pytest.mark.parametrize("setting", ["codebook", "exact", "greedy", "random", "fixed", "independent", "paper"])
@pytest.mark.parametrize("effort", ["normal", "high"])
def test_the_first_have_no_ancestors_but_each_other_and_come_back(
    codec: FeatureCodec, features: dict[str, torch.Tensor], setting: str, effort: str
) -> None:
    data = codec.encode(features, 3, setting, effort, first=FIRST)
    read = codec.integers.read(data)
    head = codec.task_indices(FIRST)
    assert read.header.profile == "ordered" and read.header.first == tuple(sorted(head))
    assert read.graph.is_closed(head)
    arrived = [name for name, _ in codec.decode_progressive(io.BytesIO(data))]
    assert set(arrived[:2]) == set(FIRST) and len(arrived) == 6
    plain = codec.encode_batch([features[name][None] for name in codec.task_names], 3, [read.graph]).data[0]
    decoded = codec.decode(plain)
    assert all(torch.equal(value, decoded[name]) for name, value in codec.decode(data).items())


@pytest.mark.parametrize("quality", [1, 4.5, 7])
@pytest.mark.parametrize("effort", ["normal", "high"])
def test_the_default_costs_no_more_than_the_fixed_graph_and_the_exact_one_in_that_order(
    codec: FeatureCodec, monkeypatch: pytest.MonkeyPatch, quality: float, effort: str
) -> None:
    dense = TaskGraph(((), (0,), (0, 1), (1, 2), (2, 3), (3, 4)))
    monkeypatch.setattr(codec, "graph_tables", replace(codec.graph_tables, fixed=(dense,) * 8))
    parts = [torch.randn(4, 8, 8, 8, generator=torch.Generator().manual_seed(task)) for task in range(6)]
    batch, head = codec.normalise(parts), codec.task_indices(FIRST)
    chosen = choose_ordered(codec.costs, batch, quality, "codebook", head, effort)
    own = codec.costs.total_costs(batch, quality, chosen)
    heads = [graph.within(head) for graph in chosen]
    assert all(graph.is_closed(head) for graph in chosen)
    for setting in ("fixed", "exact"):
        tails = choose_ordered(codec.costs, batch, quality, setting, head, "normal")
        graphs = [joined(*pair, head) for pair in zip(heads, tails, strict=True)]
        assert (own <= codec.costs.total_costs(batch, quality, graphs) + 1e-6).all()


@pytest.mark.parametrize("first", [FIRST, ["rgb"], ["keypoints2d", "edge_texture", "normal", "rgb"]])
@pytest.mark.parametrize("quality", [1, 4, 7])
def test_the_beginning_is_a_file_of_the_first_alone_and_a_few_bytes(
    codec: FeatureCodec, features: dict[str, torch.Tensor], first: list[str], quality: float
) -> None:
    parts, head = [features[name][None] for name in codec.task_names], codec.task_indices(first)
    some = [part if place in head else None for place, part in enumerate(parts)]
    image = {"sizes": [(176, 144)], "profile": "segments"}
    data = codec.encode_batch(parts, quality, first=head, **image).data[0]
    alone = codec.encode_batch(some, quality, **image).data[0]
    reader, own = ContainerReader(data), ContainerReader(alone)
    places = [own.segment(place) for place in range(len(first))]
    assert [reader.segment(place) for place in range(len(first))] == places
    last = reader._rows[len(first) - 1]
    assert last.start + last.length <= len(alone) + 4


def test_whoever_stops_after_the_first_has_them(codec: FeatureCodec, features: dict[str, torch.Tensor]) -> None:
    data, whole = codec.encode(features, first=FIRST), {}
    reader = ContainerReader(data)
    end = reader._rows[1].start + reader._rows[1].length
    expected = codec.decode(data)
    for cut in (data[:end], data[:end] + b"\xff" * 30):
        assert codec.decode(cut, FIRST).keys() == set(FIRST)
        with pytest.raises(IncompleteFileError) as caught:
            for name, value in codec.decode_progressive(io.BytesIO(cut)):
                whole[name] = value
        assert whole.keys() == set(FIRST) and set(caught.value.missing) == set(codec.task_names) - set(FIRST)
    assert all(torch.equal(whole[name], expected[name]) for name in FIRST)


def test_some_of_some_tensors_come_first_and_all_of_them_are_no_order(
    codec: FeatureCodec, features: dict[str, torch.Tensor]
) -> None:
    some = {name: features[name] for name in ("rgb", "normal", "segment_semantic")}
    data = codec.encode(some, first=["rgb"])
    assert next(codec.decode_progressive(data))[0] == "rgb"
    assert codec.encode(some, first=list(some)) == codec.encode(some, profile="segments")


def test_what_cannot_come_first_is_refused(codec: FeatureCodec, features: dict[str, torch.Tensor]) -> None:
    chain = TaskGraph(((), (0,), (1,), (2,), (3,), (4,)))
    with pytest.raises(ArgumentError, match="predicted from another tensor"):
        codec.encode(features, graph=chain, first=["rgb"])
    assert codec.encode(features, graph=chain, first=["segment_semantic", "keypoints2d"])
    with pytest.raises(ArgumentError, match="the profile segments"):
        codec.encode(features, profile="compact", first=["rgb"])
    with pytest.raises(ArgumentError, match="what is coded: normal"):
        codec.encode({"normal": features["normal"]}, first=["rgb"])
    with pytest.raises(ArgumentError, match="norml"):
        codec.encode(features, first=["norml"])
    with pytest.raises(ArgumentError, match="a list of names"):
        codec.encode(features, first="rgb")


def test_the_command_line_puts_tasks_first_and_inspect_says_so(
    untrained_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    codec = atdc.load(untrained_weights)
    image = np.random.default_rng(0).integers(0, 255, (32, 32, 3), np.uint8)
    Image.fromarray(image).save("a.png")
    command = ["encode", "a.png", "-o", "a.atdc", "--first", ",".join(FIRST), "--model", str(untrained_weights)]
    assert CliRunner().invoke(app, command).exit_code == 0
    data = Path("a.atdc").read_bytes()
    assert data == codec.encode(image, first=FIRST)
    assert codec.inspect(data).first == sorted(FIRST, key=codec.feature_codec.task_names.index)
    shown = CliRunner().invoke(app, ["inspect", "a.atdc", "--model", str(untrained_weights)]).stdout
    assert "first: normal, depth_zbuffer" in shown
    refused = CliRunner().invoke(app, [*command, "--profile", "compact", "--force"])
    assert refused.exit_code == 2
