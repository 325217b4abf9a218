"""The package's reader and the one written from ``docs/bitstream.md`` alone agree on every file."""

from __future__ import annotations

import binascii
import importlib.util
import json
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atdc.bitstream.container import Container, ContainerReader, Header, Segment, pack
from atdc.errors import BitstreamError
from atdc.graph.task_graph import TaskGraph

HERE = Path(__file__).parent
GOLDEN = HERE.parent / "golden"


def load_reference():
    """By its path: tests are imported without a package around them."""
    spec = importlib.util.spec_from_file_location("reference_reader", HERE / "reference_reader.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


reference = load_reference()


@st.composite
def graphs(draw, tasks):
    if tasks <= 24 and draw(st.booleans()):
        return TaskGraph.unrank(draw(st.integers(0, TaskGraph.count(tasks) - 1)), tasks)
    order = draw(st.permutations(range(tasks)))
    parents = [()] * tasks
    for place, task in enumerate(order[1:], 1):
        parents[task] = tuple(draw(st.sets(st.sampled_from(order[:place]), max_size=3)))
    return TaskGraph(tuple(parents))


@st.composite
def files(draw):
    tasks = draw(st.integers(1, 40))
    listed = draw(st.lists(graphs(tasks), max_size=3, unique=True))
    graph = draw(graphs(tasks))
    step = st.integers(0, 56)
    height = draw(st.integers(1, 512))
    header = Header(
        fingerprint=draw(st.binary(min_size=4, max_size=4)),
        kind=draw(st.sampled_from(["image", "features"])),
        profile=draw(st.sampled_from(["segments", "compact"])),
        height=height,
        width=draw(st.one_of(st.just(height), st.integers(1, 512))),
        qualities=draw(st.one_of(step.map(lambda q: (q,) * tasks), st.tuples(*[step] * tasks))),
        graph=draw(st.integers(0, len(listed))) if draw(st.booleans()) else graph,
    )
    segment = st.builds(Segment, st.binary(max_size=40), st.integers(0, 0xFFFF))
    count = 1 if header.profile == "compact" else tasks
    return pack(Container(header, tuple(draw(segment) for _ in range(count)))), listed


def package_reads(data, listed=None):
    """What the package finds, in the words of the reference; ValueError if it refuses."""
    try:
        reader = ContainerReader(data)
        segments = [reader.segment(index) for index in range(len(reader.lengths))]
        reader.check_end()
        header = reader.header
        graph = header.graph if listed is None else header.resolve(listed)
    except BitstreamError as error:
        raise ValueError(str(error)) from error
    return {
        "profile": header.profile,
        "kind": header.kind,
        "fingerprint": header.fingerprint,
        "tasks": header.task_count,
        "height": header.height,
        "width": header.width,
        "qualities": list(header.qualities),
        "graph": graph.parents if isinstance(graph, TaskGraph) else graph,
        "segments": [(segment.data, segment.symbol_check) for segment in segments],
    }


def outcome(read, data, listed):
    try:
        return read(data, listed)
    except ValueError:
        return "refused"


def both_agree(data, listed=None):
    found = outcome(package_reads, data, listed)
    assert outcome(reference.read, data, None if listed is None else [graph.parents for graph in listed]) == found
    return found


@given(files())
def test_both_readers_find_the_same_in_a_file(file):
    data, listed = file
    assert both_agree(data) != "refused"
    both_agree(data, listed)


@given(files(), st.data())
def test_both_readers_refuse_the_same_damaged_files(file, choice):
    data, listed = file
    place = choice.draw(st.integers(0, len(data) - 1))
    changed = data[:place] + choice.draw(st.binary(max_size=3)) + data[place + choice.draw(st.integers(0, 2)) :]
    both_agree(changed)
    both_agree(changed, listed)


@given(st.binary(max_size=60), st.sampled_from([b"", b"ATDC", b"ATDC\x12abcd", b"ATDC\x13abcd\2\1\0"]))
def test_both_readers_find_or_refuse_the_same_in_any_bytes(body, start):
    both_agree(start + body)


FIELDS = (
    (b"\x10", b"\x11", b"\x12", b"\x13", b"\x14", b"\x1f", b"\x22"),
    (b"\2", b"\1", b"\0", b"\x19", b"\x82\0", b"\x81\x08"),
    (b"\x10", b"\0", b"\x80\x40", b"\x81\x40", b"\x80\x80\x80\x80\x10", b"\xff\xff\xff\xff\x0f"),
    (b"\0", b"\x10", b"\1", b"\x90\0", b"\x81\x40", b"\x80\x80\x80\x80\x80\1"),
    (b"\x20", b"\x38", b"\x39", b"\xfe", b"\xff\1\2", b"\xff\1\1", b"\xff\1\x39"),
    (b"\0\1", b"\0\2", b"\0\3", b"\1", b"\2", b"\0", b"\xff\xff\xff\xff\x0f", bytes(26), b"\0\1\1\1\0" + bytes(23)),
    (b"", b"\1\0\0\0\0" * 2, b"\0\0\0\0\0" * 2, b"\0\0\0\0\0", b"\0\0\0\0\0" * 25, b"\xff\xff\xff\xff\x0f\0\0\0\0" * 2),
)  # fmt: skip


@given(st.tuples(*map(st.sampled_from, FIELDS)), st.sampled_from([b"", b"\0", b"ab"]))
def test_both_readers_find_or_refuse_the_same_fields_under_checks_that_fit(fields, end):
    head = b"ATDC" + fields[0] + b"abcd" + b"".join(fields[1:])
    both_agree(head + zlib.crc32(head).to_bytes(4, "big") + end)
    both_agree(head + bytes(2) + binascii.crc_hqx(head + bytes(2) + end, 0).to_bytes(2, "big") + end)


@given(st.integers(1, 24), st.data())
def test_both_readers_number_graphs_alike(tasks, choice):
    assert reference.ways(0, 0, tasks) == TaskGraph.count(tasks)
    rank = choice.draw(st.integers(0, TaskGraph.count(tasks) - 1))
    assert reference.ranked_graph(rank, tasks) == TaskGraph.unrank(rank, tasks).parents


def test_the_reference_imports_nothing_of_the_package():
    source = (HERE / "reference_reader.py").read_text(encoding="utf-8")
    imported = [line.split()[1] for line in source.splitlines() if line.startswith(("import ", "from "))]
    assert set(imported) == {"binascii", "zlib", "functools", "math"}


def test_both_readers_read_every_golden_file():
    if not GOLDEN.is_dir():
        pytest.skip("there are no golden files in tests/golden")
    paths = sorted(GOLDEN.rglob("*.atdc"))
    listed = [
        TaskGraph(tuple(map(tuple, parents))) for parents in json.loads((GOLDEN / "graphs.json").read_text())["listed"]
    ]
    assert paths
    for path in paths:
        assert both_agree(path.read_bytes(), listed) != "refused", path
