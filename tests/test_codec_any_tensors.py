"""A codec of tensors with grids of their own: what of a file can be had, and how large it may be."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from any_tensors import untrained_codec
from atdc.balance import balance_path
from atdc.bitstream.container import unpack
from atdc.bitstream.layout import PLAIN_PROFILES
from atdc.codec import FeatureCodec
from atdc.errors import ArgumentError, CorruptFileError, WeightsError, WrongModelError
from atdc.graph.graph_tables import GraphTables
from atdc.graph.task_graph import TaskGraph
from atdc.inspection import inspect
from atdc.tensors import FeatureSet, TensorSpec

TENSORS = FeatureSet((
    TensorSpec("coarse", 2, 16, 4), TensorSpec("levels/fine", 3, 8, 4), TensorSpec("map", 1, (5, 9)),
    TensorSpec("token", 2, (1, 1)), TensorSpec("free", 1),
))  # fmt: skip
GRIDS = {"coarse": (3, 4), "levels/fine": (6, 8), "map": (5, 9), "token": (1, 1), "free": (7, 2)}
CHAIN = TaskGraph(((1,), (2,), (3,), (4,), ()))
each_profile = pytest.mark.parametrize("profile", PLAIN_PROFILES)


@pytest.fixture(scope="module")
def codec() -> FeatureCodec:
    graph_tables = dataclasses.replace(GraphTables.untrained(len(TENSORS)), listed=(CHAIN,))
    return untrained_codec(TENSORS, graph_tables, b"any!")


def features(*names: str) -> dict[str, Tensor]:
    random = torch.Generator().manual_seed(1)
    channels = {spec.name: spec.channels for spec in TENSORS.tensors}
    return {name: torch.randn(channels[name], *GRIDS[name], generator=random) for name in names or GRIDS}


@each_profile
def test_each_tensor_of_a_file_is_decoded_alone_as_among_the_others(codec: FeatureCodec, profile: str) -> None:
    data = codec.encode(features(), graph=CHAIN, profile=profile)
    whole = codec.decode(data)
    assert list(whole) == list(GRIDS)
    for name, value in whole.items():
        assert value.shape == (dict(zip(TENSORS.names, TENSORS.tensors, strict=True))[name].channels, *GRIDS[name])
        (alone,) = codec.decode(data, [name]).values()
        torch.testing.assert_close(alone, value)


def test_qualities_are_given_in_order_or_by_name(codec: FeatureCodec, tmp_path: Path) -> None:
    own = features()
    in_order = codec.encode(own, [1, 4, 2.5, 4, 7], graph=CHAIN)
    assert codec.encode(own, {"free": 7, "coarse": 1, "map": 2.5}, graph=CHAIN) == in_order, "4 where nothing is said"
    with pytest.raises(ArgumentError, match="maps"):
        codec.encode(own, {"maps": 4})
    with pytest.raises(WeightsError, match="in memory"):
        codec.balanced(4)
    codec.save(tmp_path / "own.safetensors")
    kept = FeatureCodec.load(tmp_path / "own.safetensors")
    with pytest.raises(WeightsError, match="no balance"):
        kept.balanced(4)
    rows = {str(level): dict.fromkeys(GRIDS, level / 2) for level in range(8)}
    said = {"provenance": {"weights": kept.fingerprint.hex()}, "qualities": rows}
    balance_path(tmp_path / "own.safetensors").write_text(json.dumps(said))
    assert kept.balanced(4) == dict.fromkeys(GRIDS, 2.0)


@each_profile
def test_a_tensor_that_is_not_in_the_file_is_not_decoded(codec: FeatureCodec, profile: str) -> None:
    data = codec.encode(features("map", "free"), profile=profile)
    assert unpack(data).header.present == (2, 4)
    assert list(codec.decode(data)) == ["map", "free"] and codec.decode(data, tasks=[]) == {}
    with pytest.raises(ArgumentError, match="tasks: found 'token'; expected what is in the file: map, free"):
        codec.decode(data, tasks=["map", "token"])
    with pytest.raises(ArgumentError, match=r"tasks: found 'levels/fin'.*Did you mean 'levels/fine'"):
        codec.decode(data, tasks=["levels/fin"])


def test_a_file_of_other_weights_is_not_decoded_though_their_tensors_are_the_same(codec: FeatureCodec) -> None:
    other = FeatureCodec(codec.networks, codec.entropy, codec.mean, codec.std, codec.graph_tables, b"else")
    with pytest.raises(WrongModelError, match=r"616e7921.*656c7365"):
        other.decode(codec.encode(features("map")))


@each_profile
def test_inspection_names_what_a_codec_wrote(codec: FeatureCodec, profile: str) -> None:
    data = codec.encode(features(), graph=CHAIN, profile=profile)
    seen = inspect(data, codec.integers)
    assert seen.graph_number == 0 and seen.graph is not None and seen.graph["levels/fine"] == ["map"]
    assert list(seen.tasks) == list(TENSORS.names)
    assert seen.bpp == 8 * len(data) / sum(height * width for height, width in GRIDS.values())


def test_what_is_larger_than_the_limit_is_decoded_with_a_higher_one(codec: FeatureCodec) -> None:
    data = codec.encode({"free": torch.zeros(1, 9, 9)})
    assert codec.decode(data, position_limit=81)["free"].shape == (1, 9, 9)
    with pytest.raises(CorruptFileError, match=r"at most 80 positions. .*higher limit"):
        codec.decode(data, position_limit=80)
    parts = [None if name != "coarse" else part[None] for name, part in features().items()]
    (image,) = codec.encode_batch(parts, 4, [TaskGraph.independent(5)], sizes=[(48, 64)]).data
    assert list(codec.decode(image, pixel_limit=48 * 64)) == ["coarse"]
    with pytest.raises(CorruptFileError, match="3072 pixels; expected at most 3071"):
        codec.decode(image, pixel_limit=48 * 64 - 1)


def test_tensors_are_named_and_numbers_given_in_any_usual_way(codec: FeatureCodec) -> None:
    given = features(*GRIDS)
    expected = codec.encode(given, wanted=["map", "token"], profile="segments", first=["token"])
    assert codec.encode(given, wanted=np.array(["map", "token"]), first=np.array(["token"])) == expected
    with pytest.raises(ArgumentError, match="wanted: found \\['map'\\]; expected some of"):
        codec.encode(given, wanted=[["map"]])  # type: ignore[list-item]
    with pytest.raises(ArgumentError, match="first: found 5; expected a list of names"):
        codec.encode(given, first=5)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match=r"quality: found 'mop'.*Did you mean 'map'"):
        codec.encode(given, quality={"mop": 3})
    batch = [value[None] for value in given.values()]
    for wrong, found in (([], "no tensor"), ([9], "9"), (["map"], "'map'")):
        with pytest.raises(ArgumentError, match=f"wanted: found {found}"):
            codec.encode_batch(batch, 4, wanted=wrong)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="first: found 9; expected indices of tensors, from 0 to 4"):
        codec.encode_batch(batch, 4, first=[9], profile="segments")
