"""The package's reader and the one written from ``docs/bitstream.md`` alone agree on every file."""

from __future__ import annotations

import binascii
import importlib.util
import json
import sys
import time
import zlib
from collections import Counter
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atdc.bitstream.container import Container, ContainerReader, Header, Segment, pack, unpack
from atdc.bitstream.layout import MAX_QUALITY_STEP, TABLES, rank_bytes
from atdc.errors import BitstreamError
from atdc.graph.task_graph import TaskGraph
from bitstream.container_strategies import containers, graphs, headers_2

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


@st.composite
def files_2(draw):
    container = draw(containers(headers_2()))
    return pack(container), draw(st.lists(graphs(container.header.tensor_count), max_size=3, unique=True))


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
    found = {
        "version": header.version,
        "profile": header.profile,
        "kind": header.kind,
        "fingerprint": header.fingerprint,
        "tensors": header.tensor_count,
        "present": list(header.present),
        "grids": list(header.grids),
        "height": header.height,
        "width": header.width,
        "qualities": list(header.qualities),
        "graph": graph.parents if isinstance(graph, TaskGraph) else graph,
        "segments": [(segment.data, segment.symbol_check) for segment in segments],
        "first": list(header.first),
    }
    if header.profile != "compact" and (header.version == 1 or isinstance(graph, TaskGraph)):
        # In version 1 any graph of that many gives the same places.
        graph = graph if isinstance(graph, TaskGraph) else TaskGraph.independent(header.present_count)
        found["places"] = list(header.places(graph))
    return found


def outcome(read, data, listed):
    try:
        return read(data, listed)
    except ValueError:
        return "refused"


def both_agree(data, listed=None):
    found = outcome(package_reads, data, listed)
    assert outcome(reference.read, data, None if listed is None else [graph.parents for graph in listed]) == found
    return found


@given(st.one_of(files(), files_2()))
def test_both_readers_find_the_same_in_a_file(file):
    data, listed = file
    assert both_agree(data) != "refused"
    both_agree(data, listed)


@given(st.one_of(files(), files_2()), st.data())
def test_both_readers_refuse_the_same_damaged_files(file, choice):
    data, listed = file
    place = choice.draw(st.integers(0, len(data) - 1))
    changed = data[:place] + choice.draw(st.binary(max_size=3)) + data[place + choice.draw(st.integers(0, 2)) :]
    both_agree(changed)
    both_agree(changed, listed)


STARTS = (b"", b"ATDC", b"ATDC\x12abcd", b"ATDC\x13abcd\2\1\0", b"ATDC\x22abcd", b"ATDC\x23abcd\3\5\1\2\0")


@given(st.binary(max_size=60), st.sampled_from(STARTS))
def test_both_readers_find_or_refuse_the_same_in_any_bytes(body, start):
    both_agree(start + body)


FIELDS = (
    (b"\x10", b"\x11", b"\x12", b"\x13", b"\x14", b"\x1f", b"\x32"),
    (b"\2", b"\1", b"\0", b"\x19", b"\x82\0", b"\x81\x08"),
    (b"\x10", b"\0", b"\x80\x40", b"\x81\x40", b"\x80\x80\x80\x80\x10", b"\xff\xff\xff\xff\x0f"),
    (b"\0", b"\x10", b"\1", b"\x90\0", b"\x81\x40", b"\x80\x80\x80\x80\x80\1"),
    (b"\x20", b"\x38", b"\x39", b"\xfe", b"\xff\1\2", b"\xff\1\1", b"\xff\1\x39"),
    (b"\0\1", b"\0\2", b"\0\3", b"\1", b"\2", b"\0", b"\xff\xff\xff\xff\x0f", bytes(26), b"\0\1\1\1\0" + bytes(23)),
    (b"", b"\1\0\0\0\0" * 2, b"\0\0\0\0\0" * 2, b"\0\0\0\0\0", b"\0\0\0\0\0" * 25, b"\xff\xff\xff\xff\x0f\0\0\0\0" * 2),
)  # fmt: skip


FIELDS_2 = (
    (b"\x20", b"\x21", b"\x22", b"\x23", b"\x24"),
    (b"\2\3", b"\2\1", b"\3\5", b"\x08\x81", b"\x09\1\1", b"\2\0", b"\2\4", b"\x09\1", b"\x40" + bytes(7) + b"\x81"),
    (b"", b"\x10\0", b"\0\0", b"\x10\x10", b"\x80\x40\0", b"\x81\x40\x80\x40"),
    (b"\0", b"\1\4\0", b"\1\4\4", b"\2\4\5\0", b"\2\4\5\5\4", b"\2\4\5\4\5", b"\2\0\4\5", b"\3\4\0\0\0",
     b"\2\x80\4\0\1\0"),
    (b"\x20", b"\x39", b"\xff\1\2", b"\xff\1\1", b"\xff\1"),
    (b"\0\1", b"\0\2", b"\0\3", b"\1", b"\2", b"\0"),
    (b"", b"\1\0\0\0\0" * 2, b"\0\0\0\0\0" * 2, b"\0\0\0\0\0"),
)  # fmt: skip


@given(
    st.one_of(st.tuples(*map(st.sampled_from, FIELDS)), st.tuples(*map(st.sampled_from, FIELDS_2))),
    st.sampled_from([b"", b"\0", b"ab"]),
)
def test_both_readers_find_or_refuse_the_same_fields_under_checks_that_fit(fields, end):
    head = b"ATDC" + fields[0] + b"abcd" + b"".join(fields[1:])
    for listed in (None, LISTED):
        both_agree(head + zlib.crc32(head).to_bytes(4, "big") + end, listed)
        both_agree(head + bytes(2) + binascii.crc_hqx(head + bytes(2) + end, 0).to_bytes(2, "big") + end, listed)


class Fuzz:
    """Damaged tiny files of version 2, mostly under checks that fit, through both readers.

    By hand, a million of them: ``python tests/bitstream/test_reference_reader.py 1000000``.
    """

    def __init__(self, seed):
        self.random = Random(seed)

    def container(self):
        """Of few tensors, and segments of few bytes."""
        random, choose = self.random, self.random.choice
        tensors = choose((1, 2, 2, 3, 6, 8, 9, 17, 26, 64))
        present = tuple(t for t in range(tensors) if random.random() < choose((0.2, 0.9, 1))) or (tensors - 1,)
        count, image = len(present), random.random() < 0.5
        grids = tuple((choose((1, 2, 300)), choose((1, 2, 3))) for _ in range(choose((0, 1, count // 2, count))))
        one_size = not grids if image else len(grids) == count and len(set(grids)) == 1
        if count == tensors and one_size:
            grids = ((1, 2),) if image else ()
        parents = [tuple(p for p in range(c) if random.random() < 0.3) for c in range(count)]
        step = random.randint(0, MAX_QUALITY_STEP)
        header = Header(
            fingerprint=b"abcd",
            kind="image" if image else "features",
            profile=choose(("segments", "compact")),
            height=choose((1, 100, 8192)) if image else 0,
            width=choose((1, 100, 8192)) if image else 0,
            qualities=choose(((step,) * count, tuple(random.randint(0, MAX_QUALITY_STEP) for _ in present))),
            graph=choose((0, 1, 200)) if count == tensors and random.random() < 0.5 else TaskGraph(tuple(parents)),
            tensor_count=tensors,
            present=present,
            grids=grids,
        )
        segments = 1 if header.profile == "compact" else count
        return Container(
            header, tuple(Segment(random.randbytes(choose((0, 1, 3))), random.getrandbits(16)) for _ in range(segments))
        )

    def fields(self, header):
        """The header's bytes by field."""
        values = {
            "form": (header.profile, header.kind), "fingerprint": header.fingerprint, "tensors": header.tensor_count,
            "mask": header.present, "height": header.height, "width": header.width, "grids": header.grids,
            "quality": header.qualities, "graph": header.graph, "first": header.first,
        }  # fmt: skip
        return {field.name: field.write(values) for field in TABLES[2]}

    def damaged(self, data):
        """Bytes with one place changed."""
        random = self.random
        start = random.randint(0, len(data))
        end = start + random.choice((0, 1, 1, 1, 2))
        new = random.choice((b"", b"\0", b"\1", b"\xff", b"\x80", random.randbytes(1), random.randbytes(2), data[-1:]))
        return data[:start] + new + data[end:]

    def file(self):
        """A damaged file, now and then a whole one."""
        random, container = self.random, self.container()
        if random.random() < 0.2:
            return self.damaged(pack(container))
        fields = self.fields(container.header)
        for name in random.choices(list(fields)[1:], k=random.choice((0, 1, 1, 1, 2))):
            way = random.random()
            if way < 0.7:
                fields[name] = self.damaged(fields[name])
            elif way < 0.8:
                fields[name] = self.fields(self.container().header)[name]
            elif name == "graph":
                fields[name] = bytes([random.choice((0, 0, 1, 5))]) + random.randbytes(
                    rank_bytes(min(24, container.header.present_count))
                )
            else:
                fields[name] = random.choice(
                    (b"\0", b"\1", b"\2\4\0\0", b"\xff\1\2", b"\x80\x04\0", b"\x3f", b"\xff\xff\3")
                )
        head = b"".join(fields.values())
        body = b"".join(segment.data for segment in container.segments)
        if container.header.profile == "compact":
            head += bytes(2)
            return head + binascii.crc_hqx(head + body, 0).to_bytes(2, "big") + body
        table = b""
        for segment in container.segments:
            table += bytes([len(segment.data)]) + binascii.crc_hqx(segment.data, 0).to_bytes(2, "big") + b"\0\7"
        head += self.damaged(table) if random.random() < 0.1 else table
        return head + zlib.crc32(head).to_bytes(4, "big") + body

    def run(self, count):
        """How many files were read, by version, and refused; both readers said so of each."""
        fates = Counter()
        for _ in range(count):
            data = self.file()
            found = both_agree(data, self.random.choice((None, [], LISTED)))
            fates["refused" if found == "refused" else f"version {found['version']}"] += 1
            if found != "refused":
                assert pack(unpack(data)) == data
        return fates


LISTED = [TaskGraph.independent(2), TaskGraph(((), (0,))), TaskGraph(((), (0,), (0,)))]


def test_both_readers_find_or_refuse_the_same_damaged_tiny_files_of_version_2():
    fates = Fuzz(seed=1).run(4000)
    assert fates["version 2"] > 400 and fates["refused"] > 400


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
    paths = sorted(GOLDEN.glob("*.atdc"))
    listed = [
        TaskGraph(tuple(map(tuple, parents))) for parents in json.loads((GOLDEN / "graphs.json").read_text())["listed"]
    ]
    assert paths
    for path in paths:
        assert both_agree(path.read_bytes(), listed) != "refused", path


GOLDEN_2 = {
    name: golden
    for file in ("version_2.json", "ordered.json")
    for name, golden in json.loads((GOLDEN / file).read_text(encoding="utf-8")).items()
}


@pytest.mark.parametrize("name", GOLDEN_2)
def test_golden_containers_of_version_2_say_what_they_said_and_are_written_the_same(name):
    golden = GOLDEN_2[name]
    data = bytes.fromhex(golden["file"])
    found = both_agree(data)
    assert found == {
        "first": [],
        **golden["says"],
        "fingerprint": bytes.fromhex(golden["says"]["fingerprint"]),
        "grids": [tuple(grid) for grid in golden["says"]["grids"]],
        "graph": golden["says"]["graph"]
        if isinstance(golden["says"]["graph"], int)
        else tuple(map(tuple, golden["says"]["graph"])),
        "segments": [(bytes.fromhex(segment), check) for segment, check in golden["says"]["segments"]],
    }
    assert found["version"] == 2
    assert pack(unpack(data)) == data


if __name__ == "__main__":
    started = time.perf_counter()
    print(Fuzz(seed=2).run(int(sys.argv[1])), f"in {time.perf_counter() - started:.0f} s")
