"""What is said of a file without decoding it to features, and what is found wrong with it."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import atdc
from any_tensors import file_of, reader_of
from atdc.bitstream.container import ContainerReader, pack, unpack
from atdc.bitstream.layout import PLAIN_PROFILES
from atdc.bitstream.sources import BytesSource, CountedSource
from atdc.codec import EncodedBatch
from atdc.errors import BitstreamError, CorruptFileError, NotAnAtdcFileError, TruncatedFileError
from atdc.graph.task_graph import TaskGraph
from atdc.inspection import Inspection, inspect, verify
from atdc.reader import IntegerReader
from atdc.tasks import TASK_NAMES
from atdc.tensors import TensorSpec
from atdc.weights import open_weights

KEYS = [
    "bytes", "bpp", "ideal_bits", "quality", "graph", "graph_number", "tasks", "framing_bytes", "grids",
    "height", "width", "kind", "profile", "first", "fingerprint", "version",
]  # fmt: skip
UNLISTED = TaskGraph(((), (0,), (), (1, 2), (), ()))


@pytest.fixture(scope="module")
def integers(untrained_weights: Path) -> IntegerReader:
    return open_weights(untrained_weights).integers()


@pytest.fixture(scope="module")
def encoded(untrained_weights: Path) -> dict[tuple[str, str], EncodedBatch]:
    """One image by profile and by how its graph is kept."""
    codec = atdc.load(untrained_weights).feature_codec
    features = torch.randn(1, 6, 8, 4, 7, generator=torch.Generator().manual_seed(0))
    graphs = {"listed": codec.graph_tables.listed[1], "spelled": UNLISTED}
    qualities = [4, 4, 4, 0.125, 4, 7]
    return {
        (profile, kept): codec.encode_batch(features, qualities, [graph], sizes=[(61, 100)], profile=profile)
        for profile in PLAIN_PROFILES
        for kept, graph in graphs.items()
    }


@pytest.fixture(params=PLAIN_PROFILES)
def profile(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.mark.parametrize("kept", ["listed", "spelled"])
def test_with_the_weights_everything_has_a_name_and_a_price(encoded, integers, profile, kept):
    batch = encoded[profile, kept]
    data = batch.data[0]
    seen = inspect(data, integers)
    graph = batch.graphs[0]
    assert seen.graph == {
        name: [TASK_NAMES[parent] for parent in graph.parents[task]] for task, name in enumerate(TASK_NAMES)
    }
    assert seen.graph_number == (1 if kept == "listed" else None)
    assert seen.quality == dict.fromkeys(TASK_NAMES, 4.0) | {"normal": 0.125, "rgb": 7.0}
    assert seen.ideal_bits == pytest.approx(batch.ideal_bits.sum(), abs=0.01)
    bits = [row["ideal_bits"] for row in seen.tasks.values()]
    assert np.allclose(bits, batch.ideal_bits[0], atol=0.01)
    assert (seen.height, seen.width, seen.kind, seen.profile, seen.version) == (61, 100, "image", profile, 1)
    assert seen.bytes == len(data) and seen.bpp == 8 * len(data) / 6100
    assert seen.fingerprint == integers.fingerprint.hex()
    assert len(data) - seen.framing_bytes == sum(ContainerReader(data).lengths)


def test_only_segments_have_bytes_of_their_own(encoded, integers):
    segments, compact = (inspect(encoded[name, "listed"].data[0], integers) for name in PLAIN_PROFILES)
    assert sum(row["bytes"] for row in segments.tasks.values()) + segments.framing_bytes == segments.bytes
    assert all("bytes" not in row for row in compact.tasks.values())
    assert compact.framing_bytes < segments.framing_bytes
    assert compact.ideal_bits == segments.ideal_bits


def test_without_the_weights_tasks_are_numbers_and_a_listed_graph_is_one(encoded, integers, profile):
    other = IntegerReader(integers.model, integers.listed, integers.tensors, b"else")
    for known in (None, other):
        listed, spelled = (inspect(encoded[profile, kept].data[0], known) for kept in ("listed", "spelled"))
        assert listed.graph is None and listed.graph_number == 1
        assert spelled.graph_number is None
        assert spelled.graph == {"0": [], "1": ["0"], "2": [], "3": ["1", "2"], "4": [], "5": []}
        assert listed.ideal_bits is None and list(listed.tasks) == list(listed.quality) == list("012345")
        assert listed.quality["3"] == 0.125
        assert all(set(row) == ({"bytes"} if profile == "segments" else set()) for row in listed.tasks.values())
        assert listed.fingerprint == integers.fingerprint.hex()


def test_without_the_weights_only_the_head_of_segments_is_read(encoded):
    data = encoded["segments", "listed"].data[0]
    source = CountedSource(BytesSource(data))
    assert source.bytes_read <= max(64, 2 * inspect(source).framing_bytes)


def test_json_holds_every_value_under_its_name(encoded, integers, profile):
    for known in (None, integers):
        seen = inspect(encoded[profile, "listed"].data[0], known)
        values = json.loads(seen.to_json())
        assert list(values) == KEYS == [field.name for field in dataclasses.fields(Inspection)]
        assert Inspection(**values) == seen


def test_what_is_damaged_is_not_shown(encoded, integers, profile):
    data = encoded[profile, "listed"].data[0]
    for known in (None, integers):
        for broken in (data[:-1], data + b"\0", data[:6] + b"?" + data[7:], b"", b"GIF89a"):
            with pytest.raises(BitstreamError):
                inspect(broken, known)
        with pytest.raises(CorruptFileError, match="6100 pixels"):
            inspect(data, known, pixel_limit=6099)


# --- verify ----------------------------------------------------------------------------------------------------------


def test_a_whole_file_has_no_problems(encoded, integers, profile):
    for kept in ("listed", "spelled"):
        data = encoded[profile, kept].data[0]
        fingerprint = integers.fingerprint.hex()
        for known in (None, integers):
            seen = verify(data, known)
            assert seen.ok and seen.decoded == (known is not None) and seen.fingerprint == fingerprint
            expected = {"ok": True, "decoded": seen.decoded, "fingerprint": fingerprint, "problems": []}
            assert json.loads(json.dumps(seen.to_json())) == expected


def changed(file, index, **changes):
    """The file with another segment, and with checks of its bytes that fit."""
    container = unpack(file)
    segments = list(container.segments)
    segments[index] = replace(segments[index], **changes)
    return pack(replace(container, segments=tuple(segments)))


def test_only_the_weights_show_integers_that_do_not_fit_and_bytes_that_no_writer_writes(encoded, integers, profile):
    data = encoded[profile, "listed"].data[0]
    where = "payload" if profile == "compact" else "segment of segment_semantic"
    segment = unpack(data).segments[0]
    for changes in ({"symbol_check": segment.symbol_check ^ 1}, {"data": segment.data + b"\0"}):
        broken = changed(data, 0, **changes)
        assert verify(broken).ok
        seen = verify(broken, integers)
        assert [error.where for error in seen.problems] == [where] and seen.decoded


def test_every_damaged_segment_is_named_once_and_what_only_lacks_a_parent_is_not(encoded, integers):
    data = encoded["segments", "listed"].data[0]
    lengths = ContainerReader(data).lengths
    broken = bytearray(data)
    for task in (0, 3, 4):  # in the listed graph 3 has the ancestor 0, and 4 has both
        broken[len(data) - sum(lengths[task:])] ^= 1
    seen = verify(bytes(broken) + b"\0", integers)
    assert [error.where.split(" (")[0] for error in seen.problems] == [
        "segment of segment_semantic", "segment of normal", "segment of depth_zbuffer", "after the last segment",
    ]  # fmt: skip
    numbered = verify(bytes(broken))
    assert [error.where for error in numbered.problems] == ["segment 0", "segment 3", "segment 4"]
    both = verify(changed(bytes(data), 5, symbol_check=0)[:-1], integers)  # the last segment is cut: said once
    assert [type(error) for error in both.problems] == [TruncatedFileError]


def test_a_damaged_head_is_all_that_can_be_said(encoded, integers):
    data = bytearray(encoded["segments", "listed"].data[0])
    data[20] ^= 1
    seen = verify(bytes(data), integers)
    assert not seen.ok and len(seen.problems) == 1 and not seen.decoded and seen.fingerprint is None
    assert isinstance(verify(b"", integers).problems[0], NotAnAtdcFileError)


def test_a_graph_that_the_list_lacks_is_a_problem_only_the_weights_show(encoded, integers, profile):
    container = unpack(encoded[profile, "listed"].data[0])
    data = pack(replace(container, header=replace(container.header, graph=99)))
    assert verify(data).ok
    (problem,) = verify(data, integers).problems
    assert problem.where == "graph" and "number 99" in problem.found


def test_a_compact_file_whose_check_fails_is_not_said_to_be_decoded(encoded, integers):
    data = bytearray(encoded["compact", "listed"].data[0])
    data[-1] ^= 1
    seen = verify(bytes(data), integers)
    assert [error.where for error in seen.problems] == ["header or payload"] and not seen.decoded
    graph = pack(
        replace(
            unpack(encoded["compact", "listed"].data[0]),
            header=replace(unpack(encoded["compact", "listed"].data[0]).header, graph=99),
        )
    )
    assert not verify(graph, integers).decoded, "a graph that is not there leaves nothing to decode along"


def test_of_segments_those_that_are_whole_are_decoded(encoded, integers):
    data = bytearray(encoded["segments", "listed"].data[0])
    data[-1] ^= 1
    seen = verify(bytes(data), integers)
    assert [error.where for error in seen.problems] == ["segment of rgb"] and seen.decoded


# --- any tensors -----------------------------------------------------------------------------------------------------

ANY = reader_of(
    TensorSpec("a/b", 1, 8),
    TensorSpec("free", 1, None, 2),
    TensorSpec("map", 1, (3, 5), 1),
    TensorSpec("token", 2, (1, 1)),
)
BACKWARDS = TaskGraph(((1,), (2,), ()))


@pytest.mark.parametrize("listed", [ANY, None], ids=["with weights", "without"])
def test_of_any_tensors_those_in_the_file_are_shown_with_their_own_bytes(listed, profile):
    sample = file_of(ANY, present=(0, 1, 3), graph=BACKWARDS, grids=((2, 3), (4, 5)), profile=profile, wild=0.3)
    seen, names = inspect(sample.data, listed), ["0", "1", "3"] if listed is None else ["a/b", "free", "token"]
    assert seen.version == 2 and list(seen.tasks) == list(seen.quality) == names
    assert seen.graph == {names[0]: [names[1]], names[1]: [names[2]], names[2]: []}
    if profile == "segments":  # which stand in coding order
        assert [row["bytes"] for row in seen.tasks.values()] == [*ContainerReader(sample.data).lengths][::-1]
        assert len({row["bytes"] for row in seen.tasks.values()}) == 3
    assert seen.framing_bytes == len(sample.data) - sum(ContainerReader(sample.data).lengths)
    assert Inspection(**json.loads(seen.to_json())) == seen
    if listed is not None:
        bits = ANY.read(sample.data).bits
        assert [row["ideal_bits"] for row in seen.tasks.values()] == [round(float(bits[i]), 2) for i in (0, 1, 3)]
        assert bits[2] == 0


def test_bits_per_position_are_those_of_the_file_s_tensors_alone(profile):
    grids = file_of(ANY, present=(0, 1), grids=((2, 3), (4, 5)), profile=profile).data
    for known in (None, ANY):
        assert inspect(grids, known).bpp == 8 * len(grids) / 26
    partly = file_of(ANY, present=(1, 2), grids=((4, 5),), profile=profile).data
    assert inspect(partly).bpp is None and inspect(partly, ANY).bpp == 8 * len(partly) / 35
    image = file_of(ANY, kind="image", height=9, width=30, present=(0, 3), profile=profile).data
    for known in (None, ANY):
        assert inspect(image, known).bpp == 8 * len(image) / 270


def test_without_the_weights_a_listed_graph_of_any_tensors_hides_whose_bytes_are_whose():
    data = file_of(ANY, graph=1, grids=((2, 3), (4, 5)), profile="segments").data
    assert all(row == {} for row in inspect(data).tasks.values()) and inspect(data).graph_number == 1
    assert all("bytes" in row for row in inspect(data, ANY).tasks.values())


def test_a_damaged_segment_of_any_tensors_is_named_by_its_tensor_not_by_its_place():
    data = file_of(ANY, present=(0, 1, 3), graph=BACKWARDS, grids=((2, 3), (4, 5)), profile="segments", wild=0.3).data
    lengths = ContainerReader(data).lengths
    for place, name in enumerate(("token", "free", "a/b")):
        broken = bytearray(data)
        broken[len(data) - sum(lengths[place:])] ^= 1
        assert [error.where for error in verify(bytes(broken), ANY).problems] == [f"segment of {name}"]
        assert [error.where for error in verify(bytes(broken)).problems] == [f"segment {place}"]


@pytest.mark.parametrize("sent", [0, 99])
def test_a_damaged_segment_has_a_number_where_the_weights_have_no_name_for_it(sent):
    other = reader_of(*ANY.tensors.tensors[:2], fingerprint=ANY.fingerprint)
    container = file_of(ANY, graph=0, grids=((2, 3), (4, 5)), profile="segments").container
    data = bytearray(pack(replace(container, header=replace(container.header, graph=sent))))
    data[-1] ^= 1
    weights, where = (ANY, "graph") if sent == 99 else (other, "tensors")
    assert [error.where for error in verify(bytes(data), weights).problems] == ["segment 3", where]
