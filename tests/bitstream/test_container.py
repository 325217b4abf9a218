"""The file format: one content, one file; a broken file and its error for each rule of ``docs/bitstream.md``."""

from __future__ import annotations

import re
import tracemalloc
import zlib
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atdc import errors
from atdc.bitstream import layout
from atdc.bitstream.container import Container, Header, pack, read_header, unpack
from atdc.errors import (
    ArgumentError,
    BitstreamError,
    CorruptFileError,
    NotAnAtdcFileError,
    TruncatedFileError,
    UnsupportedVersionError,
    WrongModelError,
)
from atdc.graph.task_graph import TaskGraph

PAGE = Path(__file__).parents[2] / "docs" / "bitstream.md"
GRAPH = TaskGraph(((3, 4), (), (), (), (3,), ()))
HEADER = Header(
    fingerprint=b"\x01\x02\x03\x04", kind="image", height=256, width=256, task_count=6, qualities=(32,) * 6,
    graph=GRAPH, max_parents=2,
)  # fmt: skip
CONTAINER = Container(HEADER, tuple(bytes([task + 1]) * (40 * task) for task in range(6)))
DATA = pack(CONTAINER)


def sealed(data):
    """The bytes with a checksum that fits, so that only the rule under test is broken."""
    return data + zlib.crc32(data).to_bytes(4, "big")


def file_of(
    magic=b"ATDC", version=b"\1", kind=b"\0", fingerprint=b"\1\2\3\4", tasks=b"\2", max_parents=b"\1", height=b"\x40",
    width=b"\x40", quality=b"\x20", graph=b"\1", lengths=b"\3\0", segments=b"abc", tail=b"",
):  # fmt: skip
    """A file of two tasks, field by field."""
    return (
        sealed(
            magic + version + kind + fingerprint + tasks + max_parents + height + width + quality + graph + lengths
            + segments
        )
        + tail
    )  # fmt: skip


@st.composite
def containers(draw):
    tasks = draw(st.integers(1, 9))
    max_parents = draw(st.integers(0, tasks - 1))
    rank = draw(st.integers(0, TaskGraph.count(tasks, max_parents) - 1))
    kind = draw(st.sampled_from(["image", "features"]))
    step = st.integers(0, 56)
    header = Header(
        fingerprint=draw(st.binary(min_size=4, max_size=4)),
        kind=kind,
        height=draw(st.one_of(st.integers(1, 1024), st.just(1 << 20))),
        width=draw(st.integers(1, 256 if kind == "image" else 1)),
        task_count=tasks,
        qualities=draw(st.one_of(step.map(lambda q: (q,) * tasks), st.tuples(*[step] * tasks))),
        graph=TaskGraph.unrank(rank, tasks, max_parents),
        max_parents=max_parents,
    )
    return Container(header, tuple(draw(st.binary(max_size=300)) for _ in range(tasks)))


@given(containers())
def test_a_container_comes_back_and_so_do_its_bytes(container):
    data = pack(container)
    again = unpack(data)
    assert again == container
    assert pack(again) == data
    assert read_header(data) == container.header


def test_the_header_can_be_read_before_the_rest_has_arrived():
    size = 20
    assert read_header(DATA[:size]) == HEADER
    with pytest.raises(TruncatedFileError):
        read_header(DATA[: size - 1])


@pytest.mark.parametrize(("length", "framing"), [(0, 30), (127, 30), (128, 36), (16383, 36)])
def test_framing_of_six_tasks_at_256_by_256_takes_at_most_36_bytes(length, framing):
    worst = replace(HEADER, graph=TaskGraph.unrank(TaskGraph.count(6, 2) - 1, 6, 2), qualities=(56,) * 6)
    assert len(pack(Container(worst, (bytes(length),) * 6))) - 6 * length == framing


def test_golden_file():
    assert file_of().hex() == "415444430100010203040201404020010300616263edfd3fdd"
    assert unpack(file_of()).segments == (b"abc", b"")
    assert unpack(file_of()).header.graph == TaskGraph(((), (0,)))


BROKEN = {
    "no bytes": (b"", NotAnAtdcFileError),
    "other first letters": (file_of(magic=b"RIFF"), NotAnAtdcFileError),
    "a picture": (b"\x89PNG\r\n\x1a\n" + bytes(50), NotAnAtdcFileError),
    "one other letter": (b"B", NotAnAtdcFileError),
    "another version": (file_of(version=b"\2"), UnsupportedVersionError),
    "version 0": (file_of(version=b"\0"), UnsupportedVersionError),
    "an unknown kind": (file_of(kind=b"\2"), UnsupportedVersionError),
    "half a magic": (b"AT", TruncatedFileError),
    "an end within the segments": (sealed(file_of(lengths=b"\x08\0")[:-5]), TruncatedFileError),
    "an end within the checksum": (file_of()[:-1], TruncatedFileError),
    "a length that promises the world": (file_of(lengths=b"\xff\xff\xff\xff\x0f\0"), TruncatedFileError),
    "a varint of 2**32": (file_of(lengths=b"\x80\x80\x80\x80\x10\0"), CorruptFileError),
    "a varint of six bytes": (file_of(height=b"\x80\x80\x80\x80\x80\x01"), CorruptFileError),
    "a varint longer than need be": (file_of(lengths=b"\x83\x00\0"), CorruptFileError),
    "no tasks": (file_of(tasks=b"\0"), CorruptFileError),
    "25 tasks": (file_of(tasks=b"\x19"), CorruptFileError),
    "more parents than other tasks": (file_of(max_parents=b"\2"), CorruptFileError),
    "no height": (file_of(height=b"\0"), CorruptFileError),
    "no width": (file_of(width=b"\0"), CorruptFileError),
    "a quality of 57 eighths": (file_of(quality=b"\x39"), CorruptFileError),
    "a separate quality of 57 eighths": (file_of(quality=b"\xff\x39\x20"), CorruptFileError),
    "too many pixels": (file_of(height=b"\x81\x80\x01", width=b"\x80\x80\x01"), CorruptFileError),
    "too many positions": (file_of(kind=b"\1", height=b"\x81\x08", width=b"\x80\x08"), CorruptFileError),
    "separate qualities, all equal": (file_of(quality=b"\xff\x20\x20"), CorruptFileError),
    "a rank that no graph has": (file_of(graph=b"\3"), CorruptFileError),
    "bytes after the checksum": (file_of(tail=b"\0"), CorruptFileError),
    "another file after the checksum": (file_of() * 2, CorruptFileError),
    "a checksum of other bytes": (file_of()[:-1] + b"\0", CorruptFileError),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_raises_its_error(name):
    data, expected = BROKEN[name]
    with pytest.raises(expected) as caught:
        unpack(data)
    assert type(caught.value) is expected
    assert caught.value.where and caught.value.found and caught.value.expected and caught.value.cure


def test_the_largest_allowed_sizes_are_not_refused():
    assert unpack(file_of(height=b"\x80\x80\x01", width=b"\x80\x80\x01")).header.height == 1 << 14
    assert unpack(file_of(kind=b"\1", height=b"\x80\x08", width=b"\x80\x08")).header.height == 1 << 10


def test_limits_can_be_set_by_the_caller():
    with pytest.raises(CorruptFileError, match="4096 pixels"):
        unpack(file_of(), pixel_limit=4095)
    assert read_header(file_of(), pixel_limit=4096).width == 64
    with pytest.raises(CorruptFileError, match="4096 positions"):
        read_header(file_of(kind=b"\1"), position_limit=4095)


def test_every_single_flipped_bit_is_noticed():
    for bit in range(8 * len(DATA)):
        flipped = bytearray(DATA)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(BitstreamError):
            unpack(bytes(flipped))


def test_every_cut_is_noticed_and_named():
    for length in range(len(DATA)):
        with pytest.raises(TruncatedFileError if length else NotAnAtdcFileError):
            unpack(DATA[:length])


@given(st.binary(min_size=1, max_size=40))
def test_appended_bytes_are_noticed(tail):
    with pytest.raises(CorruptFileError, match="after the checksum"):
        unpack(DATA + tail)


@given(st.binary(max_size=80), st.booleans())
def test_any_bytes_unpack_to_what_packs_to_them_or_raise_a_named_error(body, with_start):
    data = sealed(b"ATDC\1\0" + body) if with_start else body
    try:
        container = unpack(data)
    except BitstreamError:
        return
    assert pack(container) == data


def test_a_small_file_cannot_ask_for_much_memory():
    tracemalloc.start()
    for data, expected in BROKEN.values():
        with pytest.raises(expected):
            unpack(data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20


def test_other_weights_are_refused_and_both_are_named():
    HEADER.require_model(b"\1\2\3\4")
    with pytest.raises(WrongModelError, match=r"01020304.*ffffffff"):
        HEADER.require_model(b"\xff" * 4)


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2}, {"kind": "video"}, {"fingerprint": b"abc"}, {"fingerprint": "abcd"}, {"height": 0},
        {"width": 1 << 32}, {"width": 2.5}, {"task_count": 0}, {"task_count": 5}, {"task_count": 25},
        {"qualities": (1, 2)}, {"qualities": (57,) * 6}, {"qualities": (-1,) * 6}, {"qualities": [1] * 6},
        {"qualities": (0.5,) * 6}, {"graph": TaskGraph.independent(5)}, {"max_parents": 1}, {"max_parents": 6},
    ],
)  # fmt: skip
def test_a_header_that_no_file_can_hold_cannot_be_built(change):
    with pytest.raises(ArgumentError):
        replace(HEADER, **change)


def test_a_container_has_one_segment_per_task():
    with pytest.raises(ArgumentError):
        Container(HEADER, (b"",) * 5)


def test_the_page_shows_the_table_of_the_code():
    rows = [
        tuple(cell.strip() for cell in line.strip("|\n").split("|"))
        for line in PAGE.read_text(encoding="utf-8").splitlines()
        if line.startswith("| ") and line.count("|") == 4
    ]
    assert rows[0] == ("field", "bytes", "content")
    assert rows[1 : len(layout.FIELDS) + 1] == [(field.name, field.size, field.rule) for field in layout.FIELDS]
    assert [row[0] for row in rows[len(layout.FIELDS) + 1 :]] == ["lengths", "segments", "checksum"]


def test_the_page_names_real_errors_and_the_current_version():
    page = PAGE.read_text(encoding="utf-8")
    named = set(re.findall(r"`(\w+Error)`", page))
    assert named >= {cls.__name__ for cls in BitstreamError.__subclasses__()}
    assert all(issubclass(getattr(errors, name), BitstreamError) for name in named)
    assert f'version {layout.FORMAT_VERSION}: "{layout.FORMAT_TITLE}"' in page
