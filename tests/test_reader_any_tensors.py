"""Files of any tensors, each of a grid of its own: the reader gets what was written, or says by name why not."""

from __future__ import annotations

import binascii
import tracemalloc
from dataclasses import replace
from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from any_tensors import file_of, files, header_of, reader_of
from atdc.bitstream.container import Container, ContainerReader, Segment, pack, unpack, verify
from atdc.bitstream.layout import PLAIN_PROFILES
from atdc.bitstream.sources import BytesSource, CountedSource
from atdc.errors import ArgumentError, BitstreamError, CorruptFileError, TruncatedFileError
from atdc.graph.task_graph import TaskGraph
from atdc.reader import IntegerReader
from atdc.tensors import TensorSpec, padded
from atdc.weights import open_weights
from atdc_bench.experiments.sample_files import FromSegments, segment_places, write_symbols

GOLDEN = Path(__file__).parent / "golden" / "any_tensors"
each_profile = pytest.mark.parametrize("profile", PLAIN_PROFILES)


@pytest.fixture(scope="module")
def reader() -> IntegerReader:
    """Of four tensors: of an image, spelled out, always 3 × 5, always 1 × 1; and two that differ in numbers alone."""
    return reader_of(
        TensorSpec("image", 1, 8), TensorSpec("free", 1, None, 2), TensorSpec("map", 1, (3, 5), 1),
        TensorSpec("token", 2, (1, 1)), TensorSpec("one", 1, (4, 4)), TensorSpec("other", 1, (4, 4)),
    )  # fmt: skip


IMAGE, FREE, MAP, TOKEN, ONE, OTHER = range(6)

# --- what is written is read -----------------------------------------------------------------------------------------


@each_profile
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_integers_of_any_tensors_come_back(profile: str, data: st.DataObject) -> None:
    reader, sample = data.draw(files(profile))
    header = sample.container.header
    decoded = reader.read(sample.data)
    assert decoded.header == header and decoded.present == header.present and not decoded.failed
    assert decoded.latents.keys() == set(header.present) and decoded.bytes_read == len(sample.data)
    spelled_out = iter(header.grids)
    for place, tensor in enumerate(header.present):
        spec = reader.tensors[tensor]
        if isinstance(spec.grid, tuple):
            assert decoded.grids[tensor] == spec.grid
        elif header.kind == "image" and spec.grid is not None:
            assert decoded.grids[tensor] == (-(-header.height // spec.grid), -(-header.width // spec.grid))
        else:
            one_size = (header.height, header.width)
            assert decoded.grids[tensor] == (one_size if header.version == 1 else next(spelled_out))
        rows, columns = (side // 2 for side in padded(decoded.grids[tensor]))
        assert decoded.latents[tensor].shape == (1, rows, columns, spec.latent_channels)
        assert np.array_equal(decoded.latents[tensor], sample.latents[tensor])
        parents = header.resolve(reader.listed).parents[place]
        assert decoded.graph.parents[tensor] == tuple(header.present[parent] for parent in parents)


@each_profile
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_a_changed_byte_is_refused_or_makes_another_valid_file(profile: str, data: st.DataObject) -> None:
    reader, sample = data.draw(files(profile))
    place = data.draw(st.integers(0, len(sample.data) - 1))
    changed = bytearray(sample.data)
    changed[place] ^= data.draw(st.integers(1, 255))
    for wanted in (None, [data.draw(st.sampled_from(sample.container.header.present))]):
        try:
            decoded = reader.read(bytes(changed), wanted, skip_damaged=wanted is not None)
        except BitstreamError:
            continue
        if wanted is None:
            container = unpack(bytes(changed))
            assert write_symbols(reader, decoded.header, FromSegments(reader, container)).data == changed


@given(data=st.data())
@settings(max_examples=30, deadline=None)
def test_a_damaged_segment_spoils_its_tensor_and_what_is_predicted_from_it(data: st.DataObject) -> None:
    reader, sample = data.draw(files("segments"))
    header, count = sample.container.header, len(reader.tensors)
    tensor = data.draw(st.sampled_from(header.present))
    place = segment_places(reader, header)[tensor]
    segments = list(sample.container.segments)
    too_long = data.draw(st.booleans())  # longer than any symbols take
    changes = {"data": bytes(1 << 16)} if too_long else {"symbol_check": segments[place].symbol_check ^ 1}
    segments[place] = replace(segments[place], **changes)
    broken = pack(Container(header, tuple(segments)))
    decoded = reader.read(broken, skip_damaged=True)
    graph = decoded.graph
    lost = {other for other in header.present if tensor in graph.closure([other])}
    where = f"length of segment {place}" if too_long else f"segment of {reader.task_names[tensor]}"
    assert set(decoded.failed) == lost and decoded.failed[tensor].where == where
    assert set(decoded.latents) == set(header.present) - lost
    for other, latent in decoded.latents.items():
        assert np.array_equal(latent, sample.latents[other])
    for other in range(count):
        if other in lost:
            with pytest.raises(CorruptFileError):
                reader.read(broken, [other])
        elif other in header.present:
            assert not reader.read(broken, [other]).failed


def test_only_segments_of_a_tensor_and_its_ancestors_are_fetched(reader: IntegerReader) -> None:
    graph = TaskGraph(((3,), (), (1,), ()))  # of free, map, token and one
    sample = file_of(
        reader, present=(FREE, MAP, TOKEN, ONE), grids=((40, 40),), graph=graph, profile="segments", wild=0.3
    )
    lengths = ContainerReader(sample.data).lengths
    framing = len(sample.data) - sum(lengths)
    places = segment_places(reader, sample.container.header)
    assert [places[tensor] for tensor in (MAP, ONE, FREE, TOKEN)] == [0, 1, 2, 3]
    source = CountedSource(BytesSource(sample.data))
    decoded = reader.read(source, [TOKEN])
    assert set(decoded.latents) == {MAP, TOKEN}
    assert source.bytes_read <= max(2 * framing, 64) + lengths[places[MAP]] + lengths[places[TOKEN]] < len(sample.data)


@each_profile
def test_sixty_four_tensors_are_read_all_and_in_part(profile: str) -> None:
    random = Random(0)
    rules = [random.choice((8, None, (2, 3), (1, 1))) for _ in range(64)]
    reader = reader_of(*(TensorSpec(f"t{place}", 1, rule, 1) for place, rule in enumerate(rules)))
    for present in (tuple(range(64)), tuple(range(3, 64, 2)), (63,)):
        parents = tuple(tuple(random.sample(range(child), min(child, 3))) for child in range(len(present)))
        grids = tuple(
            (random.randint(1, 5), random.randint(1, 5)) for tensor in present if not isinstance(rules[tensor], tuple)
        )
        sample = file_of(reader, present=present, graph=TaskGraph(parents), grids=grids, profile=profile)
        decoded = reader.read(sample.data)
        assert decoded.present == present
        assert all(np.array_equal(decoded.latents[tensor], sample.latents[tensor]) for tensor in present)
        assert present[-1] in reader.read(sample.data, [present[-1]]).latents


# --- sizes -----------------------------------------------------------------------------------------------------------


def refused_early(reader: IntegerReader, match: str, **fields: object) -> None:
    """That a file of no symbols is refused in less than a megabyte."""
    header = header_of(reader, **fields)
    count = 1 if header.profile == "compact" else header.present_count
    data = pack(Container(header, (Segment(b"", 0),) * count))
    tracemalloc.start()
    try:
        with pytest.raises(CorruptFileError, match=match):
            reader.read(data)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


@each_profile
def test_numbers_beyond_what_a_reader_makes_room_for_are_refused_before_there_is_room(profile: str) -> None:
    huge = reader_of(TensorSpec("huge", 1, (1 << 15, 1 << 15)), TensorSpec("small", 1, (1, 1)))
    refused_early(huge, "numbers with padding; expected at most 536870912", profile=profile)
    refused_early(huge, "numbers with padding", profile=profile, present=(0,))
    small = file_of(huge, profile=profile, present=(1,))
    assert np.array_equal(huge.read(small.data).latents[1], small.latents[1]), "what is absent takes no room"
    wide = reader_of(*(TensorSpec(f"{place}", 1 << 9, None) for place in range(8)))
    refused_early(wide, "numbers with padding", profile=profile, grids=((1, 1 << 15),) * 4 + ((2, 1 << 14),) * 4)


def test_room_is_counted_to_the_last_number_of_the_tensors_in_the_file(
    reader: IntegerReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = file_of(reader, present=(FREE, MAP), grids=((5, 6),)).data
    numbers = 8 * 8 * 1 + 4 * 4 * 2 + 4 * 8 * 1 + 2 * 4 * 1  # features and latents of each, padded
    monkeypatch.setattr("atdc.reader.VALUE_LIMIT", numbers)
    reader.read(data)
    monkeypatch.setattr("atdc.reader.VALUE_LIMIT", numbers - 1)
    with pytest.raises(CorruptFileError, match=f"found {numbers} numbers"):
        reader.read(data)


def test_grids_that_are_spelled_out_are_limited_together_and_by_the_caller() -> None:
    many = reader_of(*(TensorSpec(f"{place}", 1, None, 1) for place in range(64)))
    refused_early(many, "positions up to here", grids=((64, 64),) * 63 + ((65, 64),))
    data = file_of(many, grids=((3, 4),) * 63 + ((1, 1),)).data
    assert many.read(data, position_limit=63 * 12 + 1).present == tuple(range(64))
    with pytest.raises(CorruptFileError, match="higher limit"):
        many.read(data, position_limit=63 * 12)


@each_profile
def test_a_wide_parent_of_a_tall_child_is_read_in_the_room_of_both(profile: str) -> None:
    crossed = reader_of(TensorSpec("wide", 1, None, 1), TensorSpec("tall", 1, None, 1))
    sample = file_of(crossed, grids=((1, 1 << 13), (1 << 13, 1)), graph=1, profile=profile)
    tracemalloc.start()
    decoded = crossed.read(sample.data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert decoded.graph.parents == ((), (0,)) and np.array_equal(decoded.latents[1], sample.latents[1])
    assert peak < 64 << 20


# --- what does not follow from the weights ---------------------------------------------------------------------------


def test_version_1_says_no_grid_that_the_weights_know_or_want_spelled_out(reader: IntegerReader) -> None:
    count = len(reader.tensors)
    one_size = {"height": 4, "width": 4, "qualities": (8,) * count}
    refused_early(reader, "grid of map: found 4 x 4; expected a file of version 2", **one_size)
    refused_early(reader, "grid of free: found none; expected one that is spelled out", kind="image", **one_size)
    constant = reader_of(TensorSpec("map", 1, (4, 4)))
    refused_early(constant, "version 2: these weights know that grid", height=4, width=4)


def test_as_many_grids_are_spelled_out_as_the_weights_want(reader: IntegerReader) -> None:
    refused_early(reader, "grid of free: found none", present=(FREE, MAP))
    refused_early(reader, "grids: found 2 of them; expected as many", present=(FREE, MAP), grids=((1, 2), (3, 4)))
    refused_early(reader, "grids: found 1 of them", present=(MAP,), grids=((3, 5),))
    image = {"kind": "image", "height": 20, "width": 30}
    refused_early(reader, "grids: found 1 of them", present=(IMAGE,), grids=((3, 4),), **image)
    refused_early(reader, "grid of image: found none", present=(IMAGE, TOKEN))
    assert reader.read(file_of(reader, present=(IMAGE,), grids=((3, 4),)).data).grids[IMAGE] == (3, 4)


@each_profile
def test_another_tensor_of_the_same_shape_under_the_mask_is_refused(reader: IntegerReader, profile: str) -> None:
    sample = file_of(reader, present=(ONE,), profile=profile)
    other = pack(replace(sample.container, header=replace(sample.container.header, present=(OTHER,))))
    assert verify(other).ok
    with pytest.raises(CorruptFileError, match=r"payload|segment of other"):
        reader.read(other)


@each_profile
def test_another_graph_of_the_same_tensors_is_refused(reader: IntegerReader, profile: str) -> None:
    sample = file_of(
        reader, present=(FREE, MAP, ONE), grids=((6, 6),), graph=TaskGraph(((2,), (0,), ())), profile=profile
    )
    for rank in range(TaskGraph.count(3)):
        graph = TaskGraph.unrank(rank, 3)
        data = pack(replace(sample.container, header=replace(sample.container.header, graph=graph)))
        if data == sample.data:
            continue
        with pytest.raises(CorruptFileError):
            reader.read(data)


def test_parents_beyond_the_tensors_of_the_file_are_refused() -> None:
    many = reader_of(*(TensorSpec(f"{place}", 1, (1, 1), 1) for place in range(64)))
    present = tuple(range(0, 60, 2))
    chain = TaskGraph(tuple((child - 1,) if child else () for child in range(30)))
    data = pack(Container(header_of(many, present=present, graph=chain), (Segment(b"", 0),)))
    start = data.index(b"\0\0" + b"\1\0" + b"\1\1")  # code 0; tensor 0: no parent; 1: parent 0; 2: parent 1
    for parent, found in ((30, "task 30"), (1, "the task itself")):
        head = data[: start + 3] + bytes([parent]) + data[start + 4 : -2]
        with pytest.raises(CorruptFileError, match=f"parents of task 1.*{found}"):
            many.read(head + binascii.crc_hqx(head, 0).to_bytes(2, "big"))


# --- damage ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(path.stem for path in GOLDEN.glob("*.atdc")))
def test_a_cut_file_is_refused_wherever_it_is_cut(name: str) -> None:
    golden = open_weights(GOLDEN / "tiny.safetensors").integers()
    data = (GOLDEN / f"{name}.atdc").read_bytes()
    for size in range(0, len(data), 1 if len(data) < 200 else 5):
        with pytest.raises(BitstreamError):
            golden.read(data[:size])
        assert not verify(data[:size]).ok
    with pytest.raises(CorruptFileError):
        golden.read(data + b"\0")


def test_what_came_of_a_stream_can_be_decoded_before_the_rest_is_there(reader: IntegerReader) -> None:
    graph = TaskGraph(((2,), (0,), ()))  # of free, map and one
    sample = file_of(reader, present=(FREE, MAP, ONE), grids=((9, 9),), graph=graph, profile="segments")
    lengths, order, cut = ContainerReader(sample.data).lengths, (ONE, FREE, MAP), len(sample.data) - 1
    for there in range(2, -1, -1):
        decoded = reader.read(sample.data[:cut], skip_damaged=True)
        assert set(decoded.latents) == set(order[:there])
        assert isinstance(decoded.failed[order[there]], TruncatedFileError)
        cut -= lengths[there]


@each_profile
def test_what_is_not_in_the_file_cannot_be_wanted(reader: IntegerReader, profile: str) -> None:
    data = file_of(reader, present=(MAP, TOKEN), profile=profile).data
    for wanted in ([ONE], [MAP, ONE], range(6)):
        for skip in (False, True):
            with pytest.raises(
                ArgumentError, match=r"tasks: found '(image|one)'; expected what is in the file: map, token"
            ):
                reader.read(data, wanted, skip_damaged=skip)
    assert reader.read(data, []).latents.keys() == (set() if profile == "segments" else {MAP, TOKEN})


@each_profile
@given(data=st.data())
@settings(max_examples=30, deadline=None)
def test_files_of_other_weights_under_one_fingerprint_are_refused(profile: str, data: st.DataObject) -> None:
    reader, sample = data.draw(files(profile))
    specs = list(reader.tensors.tensors)
    more = reader_of(*specs, TensorSpec("one more", 1, 16))
    with pytest.raises(CorruptFileError, match="tensors"):
        more.read(sample.data)
    others = reader_of(*(replace(spec, grid=(2, 3) if spec.grid is None else None) for spec in specs))
    try:
        read = others.read(sample.data)
    except BitstreamError:
        return
    again = write_symbols(others, read.header, FromSegments(others, sample.container))
    assert again.data == sample.data, "only where both weights would have written it"
