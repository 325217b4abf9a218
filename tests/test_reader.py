"""The torch-free reader: it gets the writer's integers, from as few bytes as will do, or says by name why not."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import atdc
from atdc import weights
from atdc.bitstream.container import Container, ContainerReader, Header, Segment, graph_code, pack, unpack
from atdc.bitstream.layout import PLAIN_PROFILES
from atdc.bitstream.sources import BytesSource, CountedSource
from atdc.bitstream.symbols import SymbolWriter
from atdc.codec import FeatureCodec
from atdc.coding.traversal import schedule
from atdc.entropy.coder import LARGEST_SYMBOL, EntropyCoder
from atdc.errors import BitstreamError, CorruptFileError, WeightsError, WrongModelError
from atdc.graph.task_graph import TaskGraph
from atdc.reader import IntegerReader, combined_check
from atdc.tasks import TASK_NAMES
from atdc.tensors import padded
from atdc.weights import open_weights

TASKS = range(6)
DEEP = 1
"""The number of a listed graph in which every task but one has parents."""


@pytest.fixture(scope="module")
def codec(untrained_weights: Path) -> FeatureCodec:
    return atdc.load(untrained_weights).feature_codec


@pytest.fixture(scope="module")
def reader(untrained_weights: Path) -> IntegerReader:
    return open_weights(untrained_weights).integers()


@pytest.fixture(scope="module")
def files(codec: FeatureCodec) -> dict[str, bytes]:
    """One set of features along one graph, in each profile."""
    features = torch.randn(1, 6, 8, 13, 22, generator=torch.Generator().manual_seed(0))
    graph = [codec.graph_tables.listed[DEEP]]
    return {profile: codec.encode_batch(features, 6, graph, profile=profile).data[0] for profile in PLAIN_PROFILES}


def written(reader, graphs, steps, shape, values, profile):
    """Files of given latents, and the integers that the writer left in them, by image and task.

    Args:
        reader: of the weights.
        graphs: one per image.
        steps: quality steps, (B, T).
        shape: of the features.
        values: latents and hyper-latents in quantisation steps, (B, T, rows, columns, channels) each.
        profile: of the files.
    """
    writer = SymbolWriter(reader.model.tables, len(graphs), 6, together=profile == "compact")
    coder = EntropyCoder(reader.model, writer, np.asarray(steps), [shape] * 6)
    latent, hyper = values
    left = {}
    for task, images in schedule(graphs):
        parents = np.array([[parent in graphs[image].parents[task] for parent in TASKS] for image in images])
        decoded = coder.code(images, task, parents, latent[images, task], hyper[images, task])
        left |= {(image, task): decoded[row] for row, image in enumerate(images)}
    data = []
    for image, segments in enumerate(writer.finish()):
        header = Header(
            fingerprint=reader.fingerprint, kind="features", profile=profile, height=shape[0], width=shape[1],
            qualities=tuple(steps[image]), graph=graph_code(graphs[image], reader.listed),
        )  # fmt: skip
        checks = [coder.checks[image, task] for task in TASKS]
        checks = [combined_check(checks)] if profile == "compact" else checks
        data.append(pack(Container(header, tuple(map(Segment, segments, checks)))))
    return data, left


@st.composite
def graphs_of_six(draw):
    order = draw(st.permutations(TASKS))
    parents = [()] * 6
    for place, task in enumerate(order):
        parents[task] = tuple(sorted(draw(st.sets(st.sampled_from(order[:place]))))) if place else ()
    return TaskGraph(tuple(parents))


@st.composite
def contents(draw, images):
    """Graphs, quality steps, a shape of features, and latents from far below one step to far beyond all tables."""
    graphs = draw(st.lists(graphs_of_six(), min_size=images, max_size=images))
    steps = draw(st.lists(st.lists(st.integers(0, 56), min_size=6, max_size=6), min_size=images, max_size=images))
    shape = draw(st.tuples(st.integers(1, 9), st.integers(1, 9)))
    generator = np.random.default_rng(draw(st.integers(0, 99)))
    size = draw(st.sampled_from([0, 0.3, 2, 40, 1e4, 1e9]))
    rows, columns = (side // 2 for side in padded(shape))
    latent = size * generator.standard_normal((images, 6, rows, columns, 8))
    hyper = size * generator.standard_normal((images, 6, rows // 2, columns // 2, 4))
    return graphs, steps, shape, (latent, hyper)


def descendants(graph, task):
    """The task and everything predicted from it, however indirectly."""
    return {other for other in TASKS if task in graph.closure([other])}


# --- what is written is read -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("profile", PLAIN_PROFILES)
@given(data=st.data())
@settings(max_examples=50, deadline=None)
def test_integers_come_back_whatever_they_are(reader, profile, data):
    graphs, steps, shape, values = data.draw(contents(1))
    (file,), left = written(reader, graphs, steps, shape, values, profile)
    decoded = reader.read(file)
    assert decoded.graph == graphs[0] and decoded.header.qualities == tuple(steps[0]) and not decoded.failed
    assert sorted(decoded.latents) == list(TASKS) and decoded.bytes_read == len(file)
    for task in TASKS:
        assert np.array_equal(decoded.latents[task][0], left[0, task])
    finite = values[0][0]
    error = np.stack([decoded.latents[task][0] for task in TASKS]) / 16 - finite
    assert np.abs(error[np.abs(finite) < LARGEST_SYMBOL / 2]).max(initial=0) <= 0.5


@pytest.mark.parametrize("profile", PLAIN_PROFILES)
@given(data=st.data())
@settings(max_examples=15, deadline=None)
def test_the_same_latents_are_the_same_bytes_alone_and_among_others(reader, profile, data):
    graphs, steps, shape, values = data.draw(contents(3))
    together, _ = written(reader, graphs, steps, shape, values, profile)
    for image, file in enumerate(together):
        one = slice(image, image + 1)
        (alone,), _ = written(reader, graphs[one], steps[one], shape, [value[one] for value in values], profile)
        assert alone == file


@pytest.mark.parametrize("profile", PLAIN_PROFILES)
def test_the_reader_gets_the_encoders_features(codec: FeatureCodec, reader: IntegerReader, profile: str) -> None:
    for shape in ((1, 1), (3, 10), (8, 4)):
        features = torch.randn(1, 6, 8, *shape, generator=torch.Generator().manual_seed(1))
        encoded = codec.encode_batch(features, [0, 7, 4, 2.125, 1, 6], profile=profile)
        decoded = reader.read(encoded.data[0])
        assert torch.equal(torch.stack(codec.restore([decoded]), 1), encoded.stacked)
        assert np.array_equal(decoded.bits, encoded.ideal_bits[0])
        assert reader.grids(decoded.header) == decoded.grids == (shape,) * 6


def test_both_profiles_hold_the_same_integers(reader: IntegerReader, files: dict[str, bytes]) -> None:
    compact, segments = (reader.read(files[profile]) for profile in ("compact", "segments"))
    assert all(np.array_equal(compact.latents[task], segments.latents[task]) for task in TASKS)
    assert np.array_equal(compact.bits, segments.bits)


# --- single tasks ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", TASKS)
def test_a_task_takes_only_the_bytes_of_its_ancestors(
    reader: IntegerReader, files: dict[str, bytes], task: int
) -> None:
    data = files["segments"]
    source, lengths = CountedSource(BytesSource(data)), ContainerReader(data).lengths
    alone, everything = reader.read(source, [task]), reader.read(data)
    closure = everything.graph.closure([task])
    assert set(alone.latents) == set(closure)
    assert all(np.array_equal(alone.latents[one], everything.latents[one]) for one in closure)
    assert not alone.bits[[one for one in TASKS if one not in closure]].any()

    head = len(data) - sum(lengths)
    starts = [head + sum(lengths[:one]) for one in TASKS]
    needed = set(range(head)).union(*(range(starts[one], starts[one] + lengths[one]) for one in closure))
    fetched = [place for offset, count in source.ranges for place in range(offset, offset + count)]
    assert len(fetched) == len(set(fetched)) == alone.bytes_read  # nothing twice
    assert needed <= set(fetched)
    assert all(place < 64 for place in set(fetched) - needed)  # the head's length is not known before it is read


def test_of_a_compact_file_all_is_read(reader: IntegerReader, files: dict[str, bytes]) -> None:
    alone = reader.read(files["compact"], [0])
    assert alone.bytes_read == len(files["compact"]) and sorted(alone.latents) == list(TASKS)


# --- damage ----------------------------------------------------------------------------------------------------------


def with_segment(file: bytes, index: int, **changes: object) -> bytes:
    """The file with another segment, and with checks of its bytes that fit."""
    container = unpack(file)
    segments = list(container.segments)
    segments[index] = replace(segments[index], **changes)
    return pack(replace(container, segments=tuple(segments)))


def assert_spoils(reader: IntegerReader, broken: bytes, whole: bytes, task: int, match: str) -> None:
    """That one task and its descendants fail by name, and the others are as ever."""
    expected, decoded = reader.read(whole), reader.read(broken, skip_damaged=True)
    lost = descendants(expected.graph, task)
    assert set(decoded.failed) == lost and set(decoded.latents) == set(TASKS) - lost
    for other in decoded.latents:
        assert np.array_equal(decoded.latents[other], expected.latents[other])
    for other, error in decoded.failed.items():
        if other == task:
            assert match in str(error)
        else:
            parents = [TASK_NAMES[parent] for parent in expected.graph.parents[other] if parent in lost]
            assert error.where == f"task {TASK_NAMES[other]}" and error.found == f"its parent {parents[0]} damaged"
    for wanted in (None, [task]):
        with pytest.raises(CorruptFileError) as raised:
            reader.read(broken, wanted)
        assert match in str(raised.value)
    untouched = set(TASKS) - lost
    if untouched:
        assert not reader.read(broken, untouched).failed


@pytest.mark.parametrize("number", [0, DEEP])
@pytest.mark.parametrize("task", TASKS)
def test_damage_to_a_segment_stays_with_its_task_and_descendants(codec, reader, number, task):
    features = torch.randn(1, 6, 8, 8, 8, generator=torch.Generator().manual_seed(2))
    data = codec.encode_batch(features, 7, [codec.graph_tables.listed[number]], profile="segments").data[0]
    lengths = ContainerReader(data).lengths
    start = len(data) - sum(lengths[task:])
    for place in (start, start + lengths[task] // 2, start + lengths[task] - 1):
        broken = bytearray(data)
        broken[place] ^= 0x10
        assert_spoils(reader, bytes(broken), data, task, f"segment {task}: found check")


@pytest.mark.parametrize("task", TASKS)
def test_integers_that_do_not_fit_their_check_are_named(reader, files, task):
    data = files["segments"]
    broken = with_segment(data, task, symbol_check=unpack(data).segments[task].symbol_check ^ 1)
    assert_spoils(reader, broken, data, task, f"segment of {TASK_NAMES[task]}: found integers of check")


@pytest.mark.parametrize("task", TASKS)
def test_bytes_that_no_writer_writes_are_refused(reader, files, task):
    data = files["segments"]
    bytes_of = unpack(data).segments[task].data
    for other in (bytes_of + b"\0", bytes_of + b"\1", bytes_of[:-1]):
        assert_spoils(reader, with_segment(data, task, data=other), data, task, f"segment of {TASK_NAMES[task]}")


def test_a_compact_file_is_whole_or_fails(reader: IntegerReader, files: dict[str, bytes]) -> None:
    data = files["compact"]
    (segment,) = unpack(data).segments
    for changes in ({"symbol_check": segment.symbol_check ^ 1}, {"data": segment.data + b"\0"}):
        for skip in (False, True):
            with pytest.raises(CorruptFileError, match="payload"):
                reader.read(with_segment(data, 0, **changes), skip_damaged=skip)


@pytest.mark.parametrize("profile", PLAIN_PROFILES)
def test_a_flipped_bit_is_always_found(reader: IntegerReader, files: dict[str, bytes], profile: str) -> None:
    data = files[profile]
    for place in np.random.default_rng(0).integers(0, 8 * len(data), 60).tolist():
        broken = bytearray(data)
        broken[place // 8] ^= 1 << place % 8
        with pytest.raises(BitstreamError):
            reader.read(bytes(broken))


@pytest.mark.parametrize("profile", PLAIN_PROFILES)
def test_a_file_that_is_cut_or_resumes_is_refused(reader: IntegerReader, files: dict[str, bytes], profile: str) -> None:
    data = files[profile]
    for size in range(0, len(data), 7):
        with pytest.raises(BitstreamError):
            reader.read(data[:size])
    with pytest.raises(CorruptFileError):
        reader.read(data + b"\0")


# --- weights ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("profile", PLAIN_PROFILES)
def test_other_weights_are_refused_naming_both(reader: IntegerReader, files: dict[str, bytes], profile: str) -> None:
    other = IntegerReader(reader.model, reader.listed, reader.tensors, b"\1\2\3\4")
    with pytest.raises(WrongModelError, match=f"{reader.fingerprint.hex()}.*01020304"):
        other.read(files[profile], skip_damaged=True)


def test_a_file_of_fewer_tasks_than_the_weights_have_is_refused(reader: IntegerReader) -> None:
    header = Header(
        fingerprint=reader.fingerprint, kind="features", profile="compact", height=4, width=4, qualities=(8,) * 5,
        graph=TaskGraph.independent(5),
    )  # fmt: skip
    with pytest.raises(CorruptFileError, match="tensors: found 5; expected 6"):
        reader.read(pack(Container(header, (Segment(b"", 0),))))


def test_an_image_over_the_limit_is_refused_before_its_integers_are_read(reader: IntegerReader) -> None:
    header = Header(
        fingerprint=reader.fingerprint, kind="image", profile="compact", height=100, width=99, qualities=(8,) * 6,
        graph=0,
    )  # fmt: skip
    data = pack(Container(header, (Segment(b"", 0),)))
    with pytest.raises(CorruptFileError, match="9900 pixels; expected at most 9899"):
        reader.read(data, pixel_limit=9899)


def test_the_codecs_reader_and_the_files_are_the_same(codec: FeatureCodec, reader: IntegerReader) -> None:
    assert codec.integers.fingerprint == reader.fingerprint and codec.integers.listed == reader.listed
    mine, its = reader.model.to_arrays(), codec.integers.model.to_arrays()
    assert set(mine) == set(its) and all(np.array_equal(mine[name], its[name]) for name in mine)


def test_weights_without_their_integers_are_refused(untrained_weights: Path, tmp_path: Path) -> None:
    for name, content in (("cut", untrained_weights.read_bytes()[:999]), ("noise", bytes(range(256)))):
        path = tmp_path / f"{name}.safetensors"
        path.write_bytes(content)
        with pytest.raises(WeightsError, match=name):
            open_weights(path)
    with pytest.raises(WeightsError, match="no-such-model"):
        open_weights("no-such-model")


def test_an_image_one_pixel_high_is_refused_before_padding_makes_it_huge(untrained_weights: Path) -> None:
    reader = open_weights(untrained_weights).integers()
    header = Header(
        fingerprint=reader.fingerprint, kind="image", profile="compact", height=1, width=1 << 26, qualities=(0,) * 6,
        graph=0,
    )  # fmt: skip
    data = pack(Container(header, (Segment(b"", 0),)))
    tracemalloc.start()
    with pytest.raises(CorruptFileError, match=r"with padding; expected at most \d+ positions"):
        reader.read(data)
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()


def test_a_name_without_a_version_points_to_the_newest_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "_SHIPPED", tmp_path)
    for name in ("mine-2", "mine-10", "mine-x", "other", "min-11"):
        (tmp_path / f"{name}.safetensors").touch()
    assert {name: weights._shipped(name).stem for name in ("mine", "mine-2", "other", "no")} == {
        "mine": "mine-10", "mine-2": "mine-2", "other": "other", "no": "no",
    }  # fmt: skip
