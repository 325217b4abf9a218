"""The file format: one content, one file; a broken file and its error for each rule of ``docs/bitstream.md``."""

from __future__ import annotations

import binascii
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
from atdc.bitstream.container import (
    Container,
    ContainerReader,
    Header,
    Segment,
    graph_code,
    pack,
    unpack,
    verify,
)
from atdc.bitstream.sources import BytesSource, CountedSource, FileSource
from atdc.errors import (
    ArgumentError,
    BitstreamError,
    CorruptFileError,
    NotAnAtdcFileError,
    TruncatedFileError,
    UnsupportedVersionError,
    WrongModelError,
)
from atdc.graph import task_graph
from atdc.graph.task_graph import TaskGraph
from bitstream.container_strategies import all_containers, containers, graphs, headers_1, headers_2

PAGE = Path(__file__).parents[2] / "docs" / "bitstream.md"
CHAIN = TaskGraph(((), (0,)))
HEADER = Header(
    fingerprint=b"\x01\x02\x03\x04", kind="image", profile="segments", height=256, width=256, qualities=(32,) * 6,
    graph=TaskGraph(((3, 4), (), (), (), (3,), ())),
)  # fmt: skip
CONTAINER = Container(HEADER, tuple(Segment(bytes([task + 1]) * (40 * task), task) for task in range(6)))
COMPACT = Container(replace(HEADER, profile="compact"), (Segment(bytes(range(200)), 999),))
HEADER_2 = Header(
    fingerprint=b"\x01\x02\x03\x04", kind="features", profile="segments", height=0, width=0, qualities=(32, 40, 32),
    graph=TaskGraph(((2,), (), (1,))), tensor_count=9, present=(0, 4, 8), grids=((33, 33), (33, 33), (80, 60)),
)  # fmt: skip
CONTAINER_2 = Container(HEADER_2, tuple(Segment(bytes([place + 1]) * (60 * place), place) for place in range(3)))
ORDERED = Container(
    replace(HEADER_2, profile="ordered", graph=TaskGraph(((), (2,), ())), first=(4, 8)), CONTAINER_2.segments
)
COMPACT_2 = Container(replace(HEADER_2, profile="compact"), (Segment(bytes(range(200)), 999),))
FILES = {
    "segments": pack(CONTAINER), "compact": pack(COMPACT),
    "segments, version 2": pack(CONTAINER_2), "ordered": pack(ORDERED), "compact, version 2": pack(COMPACT_2),
}  # fmt: skip
ALL_OF_THEM = {"tensor_count": None, "present": None}
"""For a header with another number of qualities."""
HEAD_SIZE = 18 + 6 * 5 + 2 + 4  # two of the six lengths take two bytes


def crc16(data):
    return binascii.crc_hqx(data, 0).to_bytes(2, "big")


def head_of(
    magic=b"ATDC", form=b"\x10", fingerprint=b"\1\2\3\4", tasks=b"\2", height=b"\x40", width=b"\0", quality=b"\x20",
    graph=b"\0\1",
):  # fmt: skip
    return magic + form + fingerprint + tasks + height + width + quality + graph


def file_of(table=None, segments=b"abc", tail=b"", **fields):
    """A file of two tasks in the profile ``segments``, field by field, with checks that fit."""
    table = table if table is not None else b"\3" + crc16(b"abc") + b"\0\1" + b"\0" + crc16(b"") + b"\0\2"
    head = head_of(**fields) + table
    return head + zlib.crc32(head).to_bytes(4, "big") + segments + tail


def compact_of(symbol_check=b"\0\3", payload=b"abc", tail=b"", **fields):
    """Likewise in the profile ``compact``."""
    head = head_of(**{"form": b"\x12", **fields}) + symbol_check
    return head + crc16(head + payload) + payload + tail


def lists_of(*parents):
    """A graph field of 25 tasks that spells out the parents of the first ones."""
    return b"\0" + b"".join(parents) + bytes(25 - len(parents))


def head_2_of(
    magic=b"ATDC", form=b"\x20", fingerprint=b"\1\2\3\4", tensors=b"\6", mask=b"\x12", height=b"\x40", width=b"\0",
    grids=b"\0", quality=b"\x20", graph=b"\0\2",
):  # fmt: skip
    return magic + form + fingerprint + tensors + mask + height + width + grids + quality + graph


def file_2_of(table=None, segments=b"abc", tail=b"", **fields):
    """A file of version 2, of tensors 1 and 4 of six, the first predicted from the second, made from an image."""
    table = table if table is not None else b"\3" + crc16(b"abc") + b"\0\1" + b"\0" + crc16(b"") + b"\0\2"
    head = head_2_of(**fields) + table
    return head + zlib.crc32(head).to_bytes(4, "big") + segments + tail


def ordered_of(first=b"\2", table=None, check=None, segments=b"", **fields):
    """Likewise in the profile ``ordered``, tensor 4 first."""
    head = head_2_of(**{"form": b"\x24", **fields}) + first + b"\3" + crc16(b"abc") + b"\0\1"
    table = b"\2" + crc16(b"de") + b"\0\2" if table is None else table
    check = zlib.crc32(table).to_bytes(4, "big") if check is None else check
    return head + zlib.crc32(head).to_bytes(4, "big") + b"abc" + table + check + (segments or b"de")


def features_2_of(grids=b"\2\4\0\5\6", **fields):
    """Likewise, made from features alone, with a grid for each."""
    return file_2_of(form=b"\x21", height=b"", width=b"", grids=grids, **fields)


def compact_2_of(symbol_check=b"\0\3", payload=b"abc", tail=b"", **fields):
    """Likewise in the profile ``compact``, made from an image."""
    head = head_2_of(**{"form": b"\x22", **fields}) + symbol_check
    return head + crc16(head + payload) + payload + tail


@given(all_containers())
def test_a_container_comes_back_and_so_do_its_bytes(container):
    data = pack(container)
    assert data[4] >> 4 == container.header.version
    again = unpack(data)
    assert again == container
    assert pack(again) == data
    assert verify(data).ok and verify(data).header == container.header


@given(st.integers(1, 24), st.data())
def test_every_rank_comes_back(tasks, data):
    graph = TaskGraph.unrank(data.draw(st.integers(0, TaskGraph.count(tasks) - 1)), tasks)
    header = replace(HEADER, **ALL_OF_THEM, qualities=(0,) * tasks, graph=graph, profile="compact")
    assert unpack(pack(Container(header, (Segment(b"", 0),)))).header.graph == graph


def test_a_graph_of_the_most_tasks_comes_back():
    graph = TaskGraph(tuple((task - 1, task // 2) if task > 2 else () for task in range(1024)))
    header = replace(HEADER, **ALL_OF_THEM, qualities=(0,) * 1024, graph=graph)
    container = Container(header, (Segment(b"", 0),) * 1024)
    assert unpack(pack(container)) == container


@pytest.mark.parametrize(
    ("profile", "length", "framing"),
    [("compact", 0, 19), ("compact", 60000, 19), ("segments", 0, 49), ("segments", 127, 49), ("segments", 128, 55),
     ("segments", 16383, 55)],
)  # fmt: skip
def test_framing_of_six_tasks_at_256_by_256(profile, length, framing):
    header = replace(HEADER, profile=profile, graph=126)
    count = 1 if profile == "compact" else 6
    data = pack(Container(header, (Segment(bytes(length), 0xFFFF),) * count))
    assert len(data) - count * length == framing
    spelled_out = replace(header, graph=TaskGraph.unrank(TaskGraph.count(6) - 1, 6))
    assert len(pack(Container(spelled_out, (Segment(bytes(length), 0),) * count))) == len(data) + 3
    separate = replace(header, qualities=(56, 0, 0, 0, 0, 0))
    assert len(pack(Container(separate, (Segment(bytes(length), 0),) * count))) == len(data) + 6


@pytest.mark.parametrize(("count", "compact", "segments"), [(2, 22, 32), (5, 23, 48)])
def test_framing_of_some_of_six_tensors_at_256_by_256(count, compact, segments):
    for rank in (0, TaskGraph.count(count) - 1):
        header = Header(
            fingerprint=b"abcd", kind="image", profile="compact", height=256, width=256, qualities=(32,) * count,
            graph=TaskGraph.unrank(rank, count), tensor_count=6, present=tuple(range(1, count + 1)),
        )  # fmt: skip
        assert len(pack(Container(header, (Segment(b"", 0),)))) == compact
        apart = replace(header, profile="segments")
        assert len(pack(Container(apart, (Segment(bytes(127), 0),) * count))) - 127 * count == segments
    page = " ".join(PAGE.read_text(encoding="utf-8").split())
    assert "any two of an image, without grids, take 22 bytes in `compact` and 32 in `segments` of less than" in page
    assert "any five take 23 and 48." in page


BROKEN = {
    "no bytes": (b"", NotAnAtdcFileError),
    "other first letters": (file_of(magic=b"RIFF"), NotAnAtdcFileError),
    "an image": (b"\x89PNG\r\n\x1a\n" + bytes(50), NotAnAtdcFileError),
    "one other letter": (b"B", NotAnAtdcFileError),
    "version 3": (file_of(form=b"\x30"), UnsupportedVersionError),
    "version 0": (file_of(form=b"\x00"), UnsupportedVersionError),
    "version 15": (file_of(form=b"\xf0"), UnsupportedVersionError),
    "profile 2": (file_of(form=b"\x14"), UnsupportedVersionError),
    "profile 7": (file_of(form=b"\x1e"), UnsupportedVersionError),
    "half a magic": (b"AT", TruncatedFileError),
    "an end within the header": (head_of()[:7], TruncatedFileError),
    "an end within the graph": (head_of(graph=b"\0"), TruncatedFileError),
    "an end within the parents": (head_of(tasks=b"\x19", graph=b"\0\1"), TruncatedFileError),
    "an end within the table": (file_of()[:20], TruncatedFileError),
    "an end within the head check": (file_of(segments=b"")[:-1], TruncatedFileError),
    "an end within a segment": (file_of()[:-1], TruncatedFileError),
    "an end within the checks of compact": (compact_of(payload=b"")[:-1], TruncatedFileError),
    "a length that promises the world": (
        file_of(table=b"\xff\xff\xff\xff\x0f" + bytes(4) + b"\0" + bytes(4)), TruncatedFileError,
    ),
    "lengths that add up to more than 32 bits": (
        file_of(table=(b"\xff\xff\xff\xff\x0f" + bytes(4)) * 2), TruncatedFileError,
    ),
    "1024 tasks in a few bytes": (head_of(tasks=b"\x80\x08", graph=b"\1"), TruncatedFileError),
    "a varint of 2**32": (file_of(table=b"\x80\x80\x80\x80\x10" + bytes(9)), CorruptFileError),
    "a varint of six bytes": (file_of(height=b"\x80\x80\x80\x80\x80\x01"), CorruptFileError),
    "a graph's number of 2**32 - 1 or more": (file_of(graph=b"\x80\x80\x80\x80\x10"), CorruptFileError),
    "a varint longer than need be": (file_of(tasks=b"\x82\x00"), CorruptFileError),
    "no tasks": (file_of(tasks=b"\0"), CorruptFileError),
    "1025 tasks": (file_of(tasks=b"\x81\x08"), CorruptFileError),
    "no height": (file_of(height=b"\0"), CorruptFileError),
    "neither height nor width": (file_of(height=b"\0", width=b"\0"), CorruptFileError),
    "a width written out though it equals the height": (file_of(width=b"\x40"), CorruptFileError),
    "a quality of 57 eighths": (file_of(quality=b"\x39"), CorruptFileError),
    "a quality of 254": (file_of(quality=b"\xfe"), CorruptFileError),
    "a separate quality of 57 eighths": (file_of(quality=b"\xff\x39\x20"), CorruptFileError),
    "separate qualities, all equal": (file_of(quality=b"\xff\x20\x20"), CorruptFileError),
    "too many pixels": (file_of(height=b"\x81\x40", width=b"\x80\x40"), CorruptFileError),
    "the most pixels that can be written": (file_of(height=b"\xff\xff\xff\xff\x0f"), CorruptFileError),
    "too many positions": (file_of(form=b"\x11", height=b"\x81\x04", width=b"\x80\x04"), CorruptFileError),
    "a rank that no graph has": (file_of(graph=b"\0\3"), CorruptFileError),
    "a rank of 24 tasks that no graph has": (file_of(tasks=b"\x18", graph=b"\0" + b"\xff" * 43), CorruptFileError),
    "a task among its own parents": (file_of(tasks=b"\x19", graph=lists_of(b"\1\0")), CorruptFileError),
    "two tasks as each other's parents": (file_of(tasks=b"\x19", graph=lists_of(b"\1\1", b"\1\0")), CorruptFileError),
    "a parent that is no task": (file_of(tasks=b"\x19", graph=lists_of(b"\1\x19")), CorruptFileError),
    "a second parent that is no task": (file_of(tasks=b"\x19", graph=lists_of(b"\2\x18\0")), CorruptFileError),
    "as many parents as tasks": (file_of(tasks=b"\x19", graph=lists_of(b"\x19" + bytes(25))), CorruptFileError),
    "more parents than an acyclic graph has": (
        file_of(tasks=b"\x19", graph=b"\0" + (b"\x18" + bytes(24)) * 25), CorruptFileError,
    ),
    "a head check of other bytes": (file_of(segments=b"")[:-1] + b"\0abc", CorruptFileError),
    "a payload check of other bytes": (file_of(segments=b"abd"), CorruptFileError),
    "a payload check of other bytes in compact": (compact_of()[:-1] + b"\0", CorruptFileError),
    "bytes after the end": (file_of(tail=b"\0"), CorruptFileError),
    "bytes after the end in compact": (compact_of(tail=b"\0"), CorruptFileError),
    "bytes missing in compact": (compact_of()[:-1], CorruptFileError),
    "another file after the end": (file_of() * 2, CorruptFileError),
    "another compact file after the end": (compact_of() * 2, CorruptFileError),
    "version 2: other first letters": (file_2_of(magic=b"ATDD"), NotAnAtdcFileError),
    "version 2: profile 3": (file_2_of(form=b"\x26"), UnsupportedVersionError),
    "ordered: none first": (ordered_of(b"\0"), CorruptFileError),
    "ordered: all first": (ordered_of(b"\3"), CorruptFileError),
    "ordered: a spare bit of the mask": (ordered_of(b"\6"), CorruptFileError),
    "ordered: one without its parent": (ordered_of(b"\1"), CorruptFileError),
    "ordered: a mask of two bytes, all first": (
        ordered_of(b"\xff\1", tensors=b"\x0a", mask=b"\xff\1", graph=b"\0" + bytes(layout.rank_bytes(9))),
        CorruptFileError,
    ),
    "ordered: an end within the mask": (head_2_of(form=b"\x24"), TruncatedFileError),
    "ordered: an end within the first segments": (ordered_of()[:-13], TruncatedFileError),
    "ordered: an end within the second table": (ordered_of()[:-7], TruncatedFileError),
    "ordered: an end within the table check": (ordered_of()[:-3], TruncatedFileError),
    "ordered: an end within the other segments": (ordered_of()[:-1], TruncatedFileError),
    "ordered: a table check of other bytes": (ordered_of(check=b"\0\0\0\0"), CorruptFileError),
    "ordered: a payload check of other bytes": (ordered_of(segments=b"df"), CorruptFileError),
    "ordered: bytes after the end": (ordered_of(segments=b"def"), CorruptFileError),
    "version 2: an end within the tensors": (head_2_of()[:9], TruncatedFileError),
    "version 2: an end within the mask": (head_2_of(tensors=b"\x40", mask=bytes(7))[:17], TruncatedFileError),
    "version 2: an end before the grids": (head_2_of()[:13], TruncatedFileError),
    "version 2: an end within a grid": (
        head_2_of(form=b"\x21", height=b"", width=b"", grids=b"\1\4", quality=b"", graph=b""), TruncatedFileError,
    ),
    "version 2: an end within the qualities": (head_2_of(quality=b"\xff\x20", graph=b""), TruncatedFileError),
    "version 2: an end within the rank": (head_2_of(graph=b"\0"), TruncatedFileError),
    "version 2: an end within the table": (file_2_of()[:20], TruncatedFileError),
    "version 2: an end within the head check": (file_2_of(segments=b"")[:-1], TruncatedFileError),
    "version 2: an end within a segment": (file_2_of()[:-1], TruncatedFileError),
    "version 2: an end within the checks of compact": (compact_2_of(payload=b"")[:-1], TruncatedFileError),
    "version 2: no tensors in the model": (file_2_of(tensors=b"\0", mask=b""), CorruptFileError),
    "version 2: 65 tensors": (file_2_of(tensors=b"\x41", mask=b"\x12" + bytes(8)), CorruptFileError),
    "version 2: more tensors than version 1 has": (file_2_of(tensors=b"\x81\x08"), CorruptFileError),
    "version 2: a mask of no tensor": (file_2_of(mask=b"\0", graph=b"\1"), CorruptFileError),
    "version 2: a mask of two bytes and no tensor": (file_2_of(tensors=b"\x09", mask=b"\0\0"), CorruptFileError),
    "version 2: a spare bit of the mask": (file_2_of(mask=b"\x42"), CorruptFileError),
    "version 2: the last spare bit of the mask": (file_2_of(mask=b"\x92"), CorruptFileError),
    "version 2: a spare bit of a second byte": (file_2_of(tensors=b"\x09", mask=b"\1\2"), CorruptFileError),
    "version 2: no height of an image": (file_2_of(height=b"\0"), CorruptFileError),
    "version 2: a width that equals the height": (file_2_of(width=b"\x40"), CorruptFileError),
    "version 2: too many pixels": (file_2_of(height=b"\x81\x40", width=b"\x80\x40"), CorruptFileError),
    "version 2: more grids than tensors in the file": (file_2_of(grids=b"\3\4\0\5\0\6\0"), CorruptFileError),
    "version 2: a number of grids longer than need be": (file_2_of(grids=b"\x80\0"), CorruptFileError),
    "version 2: a first grid like the one before": (features_2_of(b"\2\0\5\6"), CorruptFileError),
    "version 2: a grid that is written twice": (features_2_of(b"\2\4\5\4\5"), CorruptFileError),
    "version 2: a square grid that is written twice": (features_2_of(b"\2\4\0\4\0"), CorruptFileError),
    "version 2: a grid's width that equals its height": (features_2_of(b"\2\4\4\5\6"), CorruptFileError),
    "version 2: a grid's side longer than need be": (features_2_of(b"\1\x84\0\0"), CorruptFileError),
    "version 2: a grid of too many positions": (features_2_of(b"\1\x81\x04\x80\x04"), CorruptFileError),
    "version 2: a grid of an image of too many positions": (file_2_of(grids=b"\1\x81\x04\x80\x04"), CorruptFileError),
    "version 2: the largest grid that can be written": (features_2_of(b"\1\xff\xff\xff\xff\x0f\0"), CorruptFileError),
    "version 2: grids of too many positions together": (features_2_of(b"\2\x80\x04\0\1\0"), CorruptFileError),
    "version 2: one grid twice, too many positions together": (
        features_2_of(b"\2\xff\x03\x80\x04\0"), CorruptFileError,
    ),
    "version 2: all tensors of an image, no grids": (file_2_of(tensors=b"\2", mask=b"\3"), CorruptFileError),
    "version 2: all tensors of an image, no grids, compact": (
        compact_2_of(tensors=b"\2", mask=b"\3"), CorruptFileError,
    ),
    "version 2: all tensors of features, one grid for all": (
        features_2_of(b"\2\4\5\0", tensors=b"\2", mask=b"\3"), CorruptFileError,
    ),
    "version 2: the only tensor, its grid": (
        features_2_of(b"\1\4\0", tensors=b"\1", mask=b"\1", graph=b"\0", table=b"\3" + crc16(b"abc") + b"\0\1"),
        CorruptFileError,
    ),
    "version 2: a quality of 57 eighths": (file_2_of(quality=b"\x39"), CorruptFileError),
    "version 2: separate qualities, all equal": (file_2_of(quality=b"\xff\x20\x20"), CorruptFileError),
    "version 2: a separate quality of the only tensor": (
        file_2_of(mask=b"\2", quality=b"\xff\x20", graph=b"\0", table=b"\3" + crc16(b"abc") + b"\0\1"),
        CorruptFileError,
    ),
    "version 2: a number of the list for some tensors": (file_2_of(graph=b"\1"), CorruptFileError),
    "version 2: a number of the list for some tensors, compact": (compact_2_of(graph=b"\1"), CorruptFileError),
    "version 2: a rank that no graph of these tensors has": (file_2_of(graph=b"\0\3"), CorruptFileError),
    "version 2: a parent of 25 tensors that is none of them": (
        compact_2_of(tensors=b"\x40", mask=b"\xff\xff\xff\1\0\0\0\0", graph=lists_of(b"\1\x19")), CorruptFileError,
    ),
    "version 2: a head check of other bytes": (file_2_of(segments=b"")[:-1] + b"\0abc", CorruptFileError),
    "version 2: a payload check of other bytes": (file_2_of(segments=b"abd"), CorruptFileError),
    "version 2: a payload check of other bytes in compact": (compact_2_of()[:-1] + b"\0", CorruptFileError),
    "version 2: bytes after the end": (file_2_of(tail=b"\0"), CorruptFileError),
    "version 2: bytes after the end in compact": (compact_2_of(tail=b"\0"), CorruptFileError),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_raises_its_error(name):
    data, expected = BROKEN[name]
    with pytest.raises(expected) as caught:
        unpack(data)
    assert type(caught.value) is expected
    assert caught.value.where and caught.value.found and caught.value.expected and caught.value.cure
    assert any(type(problem) is expected for problem in verify(data).problems)


def test_the_files_that_are_broken_are_whole_otherwise():
    assert unpack(file_of()).segments == (Segment(b"abc", 1), Segment(b"", 2))
    assert unpack(file_of()).header.graph == CHAIN
    assert unpack(compact_of()).segments == (Segment(b"abc", 3),)
    wide = unpack(compact_of(tasks=b"\x19", graph=lists_of(b"\2\1\1", b"\1\3"))).header
    assert wide.graph.parents == ((1, 3), (3,), *((),) * 23)


def test_the_files_of_version_2_that_are_broken_are_whole_otherwise():
    image = unpack(file_2_of())
    assert image.segments == (Segment(b"abc", 1), Segment(b"", 2))
    assert (image.header.version, image.header.tensor_count, image.header.present) == (2, 6, (1, 4))
    assert (image.header.graph.parents, image.header.grids, image.header.height) == (((1,), ()), (), 64)
    features = unpack(features_2_of()).header
    assert (features.height, features.width, features.grids) == (0, 0, ((4, 4), (5, 6)))
    assert unpack(features_2_of(b"\2\4\5\0")).header.grids == ((4, 5), (4, 5))
    assert unpack(compact_2_of()).segments == (Segment(b"abc", 3),)
    ordered = unpack(ordered_of())
    assert ordered.segments == (Segment(b"abc", 1), Segment(b"de", 2)) and ordered.header.first == (4,)
    every = unpack(ordered_of(tensors=b"\2", mask=b"\3", graph=b"\1")).header
    assert (every.version, every.graph, every.first) == (2, 0, (1,))
    assert unpack(features_2_of(b"\2\4\5\5\4", tensors=b"\2", mask=b"\3")).header.present == (0, 1)
    assert unpack(file_2_of(tensors=b"\2", mask=b"\3", grids=b"\1\4\0", graph=b"\1")).header.graph == 0
    only = unpack(file_2_of(mask=b"\2", graph=b"\0", table=b"\3" + crc16(b"abc") + b"\0\1")).header
    assert (only.present, only.graph.parents) == ((1,), ((),))
    far = unpack(compact_2_of(tensors=b"\x40", mask=b"\xff\xff\xff\0\0\0\0\x80", graph=lists_of(b"\1\x18"))).header
    assert far.present == (*range(24), 63) and far.graph.parents == ((24,), *((),) * 24)


def test_an_unknown_version_or_profile_is_named():
    with pytest.raises(UnsupportedVersionError, match="version 15"):
        unpack(file_of(form=b"\xf0"))
    with pytest.raises(UnsupportedVersionError, match="profile 5"):
        unpack(file_of(form=b"\x1a"))


def test_the_largest_allowed_sizes_are_not_refused():
    assert unpack(file_of(height=b"\x80\x40")).header.height == 1 << 13
    assert unpack(file_of(form=b"\x11", height=b"\x80\x04")).header.width == 1 << 9
    assert unpack(features_2_of(b"\1\x80\x04\0")).header.grids == ((1 << 9, 1 << 9),)
    assert unpack(features_2_of(b"\2\x80\x02\x80\x04\0")).header.grids == ((1 << 8, 1 << 9),) * 2


def test_limits_can_be_set_by_the_caller():
    with pytest.raises(CorruptFileError, match="4096 pixels"):
        unpack(file_of(), pixel_limit=4095)
    assert unpack(file_of(), pixel_limit=4096).header.width == 64
    with pytest.raises(CorruptFileError, match="4096 positions"):
        ContainerReader(file_of(form=b"\x11"), position_limit=4095)
    assert ContainerReader(file_of(height=b"\x81\x40"), pixel_limit=1 << 27).header.height == 8193
    assert not verify(file_of(), pixel_limit=1).ok
    two_grids = features_2_of()  # 4 x 4 and 5 x 6 positions
    assert ContainerReader(two_grids, position_limit=46).header.grids == ((4, 4), (5, 6))
    with pytest.raises(CorruptFileError, match="grid 1: found 5 x 6, 46 positions up to here; expected at most 45"):
        ContainerReader(two_grids, position_limit=45)
    with pytest.raises(CorruptFileError, match="grid 0: found 4 x 4, 16 positions"):
        ContainerReader(two_grids, position_limit=15)
    with pytest.raises(CorruptFileError, match="4096 pixels"):
        unpack(file_2_of(), pixel_limit=4095)


@pytest.mark.parametrize("name", FILES)
def test_every_single_flipped_bit_is_noticed(name):
    data = FILES[name]
    for bit in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(BitstreamError):
            unpack(bytes(flipped))
        assert not verify(bytes(flipped)).ok


@given(all_containers(max_tasks=26), st.data())
def test_a_changed_byte_is_refused_unless_it_moves_its_own_check(container, data):
    file = pack(container)
    place = data.draw(st.integers(0, len(file) - 1))
    changed = file[:place] + bytes([file[place] ^ data.draw(st.integers(1, 255))]) + file[place + 1 :]
    try:
        again = unpack(changed)
    except BitstreamError:
        return
    # Here a check of other bytes, at another place, has fitted by chance.
    assert pack(again) == changed
    assert start_of_checks(again) != start_of_checks(container)


def start_of_checks(container):
    """Where the head's check stands, in which form."""
    checked = 2 if container.header.profile == "compact" else 4
    return container.header.profile, len(pack(container)) - sum(len(s.data) for s in container.segments) - checked


@pytest.mark.parametrize("name", FILES)
def test_every_cut_is_noticed(name):
    data = FILES[name]
    head = len(data) - 200 if "compact" in name else len(data)
    for length in range(len(data)):
        expected = TruncatedFileError if 0 < length < head else BitstreamError
        with pytest.raises(expected):
            unpack(data[:length])
        assert not verify(data[:length]).ok


@given(st.binary(min_size=1, max_size=40))
def test_appended_bytes_are_noticed(tail):
    with pytest.raises(CorruptFileError, match="after the last segment"):
        unpack(FILES["segments"] + tail)


STARTS = (
    b"", b"ATDC\x10", b"ATDC\x12", b"ATDC\x13abcd\x19\1\0\0\0", b"ATDC\x20", b"ATDC\x23abcd\6\x12",
    b"ATDC\x22abcd\2\1\1\0",
)  # fmt: skip


@given(st.binary(max_size=80), st.sampled_from(STARTS))
def test_any_bytes_unpack_to_what_packs_to_them_or_raise_a_named_error(body, start):
    data = start + body
    try:
        container = unpack(data)
    except BitstreamError:
        return
    assert pack(container) == data


@given(st.lists(st.just([]) | st.lists(st.integers(0, 25), max_size=3), min_size=25, max_size=25))
def test_a_graph_that_is_spelled_out_packs_to_itself_or_raises_a_named_error(gaps):
    data = compact_of(tasks=b"\x19", graph=b"\0" + b"".join(bytes([len(row), *row]) for row in gaps))
    try:
        container = unpack(data)
    except CorruptFileError as error:
        assert "task" in error.where + error.found
        return
    assert pack(container) == data


def test_a_small_file_cannot_ask_for_much_memory():
    forget_graph_sums()
    tracemalloc.start()
    for data, expected in BROKEN.values():
        with pytest.raises(expected):
            unpack(data)
        assert not verify(data).ok
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20


def test_all_sizes_of_ranked_graphs_together_take_little_memory():
    forget_graph_sums()
    tracemalloc.start()
    for tasks in range(1, layout.MAX_TASKS_BY_RANK + 1):
        last = (TaskGraph.count(tasks) - 1).to_bytes(layout.rank_bytes(tasks), "big")
        assert unpack(compact_of(tasks=bytes([tasks]), graph=b"\0" + last)).header.present_count == tasks
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 << 20


def test_a_header_of_a_million_parents_is_refused_before_they_are_all_held():
    full = layout.number_bytes(1023) + bytes(1023)
    data = compact_of(tasks=layout.number_bytes(1024), graph=b"\0" + full * 1024)
    tracemalloc.start()
    with pytest.raises(CorruptFileError, match="parents of task 512"):
        ContainerReader(data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 50_000_000


def forget_graph_sums():
    for sums in (task_graph._completions, task_graph._layer_block, task_graph._parent_choices):
        sums.cache_clear()


class Watched:
    """A source that checks that nothing beyond its end, and nothing twice, is asked for."""

    def __init__(self, data):
        self.inner, self.seen, self.asked = BytesSource(data), set(), 0

    def size(self):
        return self.inner.size()

    def read(self, offset, count):
        places = set(range(offset, offset + count))
        assert offset + count <= self.size() and not places & self.seen
        self.seen |= places
        self.asked += count
        return self.inner.read(offset, count)


@given(all_containers())
def test_reading_all_segments_fetches_every_byte_once(container):
    data = pack(container)
    source = Watched(data)
    reader = ContainerReader(source)
    head = len(data) - sum(reader.lengths)
    # A read that runs ahead at most doubles what is needed.
    assert reader.bytes_read == source.asked <= max(64, 2 * head)
    assert tuple(reader.segment(index) for index in range(len(reader.lengths))) == container.segments
    reader.check_end()
    assert reader.bytes_read == source.asked <= len(data)


def test_what_comes_first_is_read_without_the_others_table_and_whatever_befalls_it():
    whole, head = ordered_of(), len(ordered_of()) - 3 - 5 - 4 - 2
    for data in (whole, whole[: head + 3], whole[: head + 3] + b"\xff" * 40):
        reader = ContainerReader(data)
        assert reader.segment(0) == Segment(b"abc", 1)
        if data != whole:
            with pytest.raises(BitstreamError):
                reader.segment(1)
            assert reader.header.first == (4,) and len(verify(data).problems) >= 1
    source = CountedSource(BytesSource(pack(ORDERED)))
    reader = ContainerReader(source)
    assert [reader.segment(place) for place in (0, 1)] == list(ORDERED.segments[:2])
    assert reader.bytes_read < len(pack(ORDERED)) - len(ORDERED.segments[2].data)


@given(graphs(6), st.sets(st.integers(0, 5), min_size=1))
def test_ordered_segments_are_those_that_come_first_then_the_others_in_coding_order(graph, some):
    first = graph.closure(some)
    if len(first) == 6:
        return
    header = replace(HEADER, graph=graph, profile="ordered", first=tuple(sorted(first)))
    order = [task for task in graph.order if task in first] + [task for task in graph.order if task not in first]
    assert sorted(range(6), key=header.places(graph).__getitem__) == order
    assert header.version == 2


def test_a_listed_graph_in_which_one_comes_without_its_parent_is_noticed_with_the_weights():
    header = replace(HEADER, **ALL_OF_THEM, qualities=(32, 32), graph=0, profile="ordered", first=(1,))
    assert unpack(pack(Container(header, (Segment(b"", 0),) * 2))).header == header
    with pytest.raises(CorruptFileError, match="a tensor without one of its parents"):
        header.resolve([CHAIN])
    assert replace(header, first=(0,)).resolve([CHAIN]) == CHAIN


def test_one_segment_is_read_without_the_bytes_of_the_others():
    source = CountedSource(BytesSource(FILES["segments"]))
    reader = ContainerReader(source)
    assert source.ranges == [(0, 64)]
    assert reader.segment(3) == CONTAINER.segments[3]
    assert source.ranges[1:] == [(HEAD_SIZE + 40 + 80, 120)]
    assert reader.lengths == (0, 40, 80, 120, 160, 200)
    assert reader.segment(3) == CONTAINER.segments[3]
    assert reader.bytes_read == 64 + 120


def test_a_file_on_disk_is_read_like_bytes(tmp_path):
    path = tmp_path / "image.atdc"
    path.write_bytes(FILES["segments"])
    with FileSource(path) as source:
        assert ContainerReader(source).segment(5) == CONTAINER.segments[5]
        assert verify(source).ok


def test_a_file_that_shrinks_while_it_is_read_is_truncated():
    class Shrinking(BytesSource):
        def size(self):
            return 10_000

    data = file_of(table=b"\xe8\x07" + bytes(4) + b"\0" + bytes(4))
    with pytest.raises(TruncatedFileError, match=r"segment 0 .* 3 bytes left"):
        ContainerReader(Shrinking(data)).segment(0)
    with pytest.raises(TruncatedFileError, match="of segment 1 "):
        ContainerReader(Shrinking(file_of()[:20]))


def test_a_cut_file_gives_its_whole_segments_and_names_the_others():
    cut = FILES["segments"][: HEAD_SIZE + 40 + 80 + 119]
    reader = ContainerReader(cut)
    assert [reader.segment(index) for index in range(3)] == list(CONTAINER.segments[:3])
    for index in (3, 4, 5):
        with pytest.raises(TruncatedFileError, match=f"segment {index} "):
            reader.segment(index)
    with pytest.raises(TruncatedFileError):
        reader.check_end()
    assert [type(problem) for problem in verify(cut).problems] == [TruncatedFileError] * 3


def test_a_damaged_segment_leaves_the_others_readable():
    data = bytearray(FILES["segments"])
    data[HEAD_SIZE + 40 + 5] ^= 1
    data[-1] ^= 0x80
    reader = ContainerReader(bytes(data))
    for index in (0, 1, 3, 4):
        assert reader.segment(index) == CONTAINER.segments[index]
    for index in (2, 5):
        with pytest.raises(CorruptFileError, match=f"segment {index}:"):
            reader.segment(index)
    found = verify(bytes(data) + b"!")
    assert found.header == HEADER and not found.ok
    assert [problem.where for problem in found.problems] == [
        "segment 2", "segment 5", f"after the last segment (byte {len(data)})",
    ]  # fmt: skip


def test_a_reader_without_a_head_says_why():
    found = verify(FILES["compact"][:9])
    assert found.header is None
    assert [type(problem) for problem in found.problems] == [TruncatedFileError]


def test_a_segment_that_is_not_there_is_an_argument_error():
    for data, index in ((FILES["segments"], 6), (FILES["segments"], -1), (FILES["compact"], 1)):
        with pytest.raises(ArgumentError):
            ContainerReader(data).segment(index)


@given(containers(headers_2(ordered=False)))
def test_a_cut_file_of_version_2_gives_whole_tensors_and_all_that_they_need(container):
    header = replace(container.header, profile="segments")
    graph = header.graph if isinstance(header.graph, TaskGraph) else TaskGraph.independent(header.present_count)
    segments = tuple(Segment(bytes([place]) * place, place) for place in range(graph.size))
    data, places = pack(Container(header, segments)), header.places(graph)
    assert sorted(places) == list(range(graph.size))
    end = len(data) - sum(range(graph.size))
    for arrived in range(graph.size):
        end += arrived
        reader = ContainerReader(data[:end])
        there = [tensor for tensor in range(graph.size) if places[tensor] <= arrived]
        assert [reader.segment(places[tensor]) for tensor in there] == [segments[places[tensor]] for tensor in there]
        assert set(graph.closure(there)) == set(there)


@given(headers_2(ordered=False), st.data())
def test_segments_of_version_2_stand_layer_by_layer_and_by_index_within_one(header, data):
    graph = data.draw(graphs(header.present_count))
    places = replace(header, profile="segments").places(graph)
    for one in range(graph.size):
        for other in range(graph.size):
            earlier = (graph.layers[one], one) < (graph.layers[other], other)
            assert (places[one] < places[other]) == earlier


@given(headers_1(), st.data())
def test_segments_of_version_1_stand_by_index(header, data):
    graph = data.draw(graphs(header.present_count))
    assert replace(header, profile="segments").places(graph) == tuple(range(graph.size))


def test_the_segment_of_a_compact_file_is_that_of_all():
    assert replace(HEADER_2, profile="compact").places(HEADER_2.graph) == (0, 0, 0)
    assert replace(HEADER, profile="compact").places(HEADER.graph) == (0,) * 6


def test_places_are_those_of_a_graph_of_the_tensors_in_the_file():
    with pytest.raises(ArgumentError, match="a graph of 3 tasks"):
        HEADER_2.places(TaskGraph.independent(9))


LISTED = (CHAIN, TaskGraph.independent(2), TaskGraph.independent(3), CHAIN)
TWO = replace(HEADER, **ALL_OF_THEM, qualities=(0, 0), graph=0)


def test_a_graph_goes_by_its_number_exactly_if_it_is_listed():
    other = TaskGraph(((1,), ()))
    assert [graph_code(graph, LISTED) for graph in (*LISTED, other)] == [0, 1, 2, 0, other]
    for graph in (CHAIN, TaskGraph.independent(2), other):
        assert replace(TWO, graph=graph_code(graph, LISTED)).resolve(LISTED) == graph


@pytest.mark.parametrize(
    ("graph", "message"),
    [(4, "number 4"), (layout.MAX_LISTED_NUMBER, "number 4294967294"), (2, "of 3 tasks"), (3, "the same graph"),
     (CHAIN, "number 0"), (TaskGraph.independent(2), "number 1")],
)  # fmt: skip
def test_a_graph_that_the_list_gives_otherwise_is_refused(graph, message):
    header = unpack(pack(Container(replace(TWO, graph=graph), (Segment(b"", 0),) * 2))).header
    with pytest.raises(CorruptFileError, match=message):
        header.resolve(LISTED)


def test_a_file_of_version_2_with_all_tensors_goes_by_the_list_like_one_of_version_1():
    header = replace(TWO, grids=((7, 9),))
    assert header.version == 2
    assert replace(header, graph=1).resolve(LISTED) == LISTED[1]
    for graph in (CHAIN, 2, 3, 4):
        with pytest.raises(CorruptFileError):
            replace(header, graph=graph).resolve(LISTED)


def test_a_graph_of_some_tensors_is_no_graph_of_the_list():
    header = replace(TWO, tensor_count=3, present=(0, 2), graph=CHAIN)
    assert header.resolve(LISTED) == CHAIN


def test_other_weights_are_refused_and_both_are_named():
    HEADER.require_model(b"\1\2\3\4")
    with pytest.raises(WrongModelError, match=r"01020304.*ffffffff"):
        HEADER.require_model(b"\xff" * 4)


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "video"}, {"profile": "tiny"}, {"fingerprint": b"abc"}, {"fingerprint": "abcd"}, {"height": 0},
        {"width": 0}, {"width": 1 << 32}, {"width": 2.5}, {"qualities": ()}, {"qualities": (1, 2)},
        {**ALL_OF_THEM, "qualities": (0,) * 1025, "graph": 0}, {"qualities": (57,) * 6}, {"qualities": (-1,) * 6},
        {"qualities": [1] * 6}, {"qualities": (0.5,) * 6}, {"graph": TaskGraph.independent(5)}, {"graph": -1},
        {"graph": (1 << 32) - 1}, {"graph": None},
    ],
)  # fmt: skip
def test_a_header_that_no_file_can_hold_cannot_be_built(change):
    with pytest.raises(ArgumentError):
        replace(HEADER, **change)


@pytest.mark.parametrize(
    "change",
    [
        {"present": (0, 4)}, {"present": (0, 4, 9)}, {"present": (-1, 4, 8)}, {"present": (0, 8, 4)},
        {"present": (0, 4, 4)}, {"present": [0, 4, 8]}, {"present": (0, 4, 7.5)}, {"present": ()}, {"present": None},
        {"tensor_count": 8}, {"tensor_count": 0}, {"tensor_count": 65}, {"tensor_count": "9"}, {"tensor_count": 1025},
        {"grids": ((3, 4),) * 4}, {"grids": [(3, 4)]}, {"grids": ([3, 4],)}, {"grids": ((0, 4),)}, {"grids": ((3, 0),)},
        {"grids": ((3,),)}, {"grids": ((3, 4, 5),)}, {"grids": ((3, 1 << 32),)}, {"grids": ((3, 4.0),)},
        {"height": 5}, {"width": 5}, {"height": 5, "width": 5}, {"kind": "image"}, {"kind": "image", "height": 5},
        {"kind": "image", "width": 5}, {"graph": 0}, {"graph": TaskGraph.independent(9)}, {"graph": None},
        {"qualities": (1, 2)}, {**ALL_OF_THEM, "grids": ((3, 4),) * 3}, {**ALL_OF_THEM, "height": 5, "width": 5},
        {**ALL_OF_THEM, "height": 5, "width": 0, "grids": ()},
    ],
)  # fmt: skip
def test_a_header_of_version_2_that_no_file_can_hold_cannot_be_built(change):
    with pytest.raises(ArgumentError):
        replace(HEADER_2, **change)


def test_a_header_is_of_version_1_whenever_that_can_say_it():
    assert HEADER.version == 1 and (HEADER.tensor_count, HEADER.present) == (6, (0, 1, 2, 3, 4, 5))
    assert replace(HEADER, tensor_count=6, present=(0, 1, 2, 3, 4, 5), grids=()) == HEADER
    all_there = replace(HEADER_2, **ALL_OF_THEM)
    assert replace(all_there, height=5, width=6, grids=()).version == 1
    assert [replace(all_there, grids=grids).version for grids in (((1, 2), (1, 2), (1, 3)), ((1, 2),), ())] == [2, 2, 2]
    assert replace(HEADER, grids=((3, 4),)).version == replace(HEADER, grids=((3, 4),) * 6).version == 2
    assert replace(HEADER, tensor_count=7).version == 2


def test_more_tensors_than_version_2_has_are_for_version_1_only():
    many = replace(HEADER, **ALL_OF_THEM, qualities=(0,) * 65, graph=0)
    assert many.version == 1
    with pytest.raises(ArgumentError, match="tensor_count"):
        replace(many, grids=((3, 4),))
    assert replace(many, **ALL_OF_THEM, qualities=(0,) * 64, grids=((3, 4),)).version == 2


@pytest.mark.parametrize(("data", "check"), [("abc", 0), (b"", -1), (b"", 1 << 16), (b"", None)])
def test_a_segment_that_no_file_can_hold_cannot_be_built(data, check):
    with pytest.raises(ArgumentError):
        Segment(data, check)


def test_a_container_has_one_segment_per_task_or_one_for_all():
    with pytest.raises(ArgumentError):
        Container(HEADER, (Segment(b"", 0),) * 5)
    with pytest.raises(ArgumentError):
        Container(COMPACT.header, (Segment(b"", 0),) * 6)


def test_the_page_shows_the_tables_of_the_code():
    rows = [
        tuple(cell.strip() for cell in line.strip("|\n").split("|"))
        for line in PAGE.read_text(encoding="utf-8").splitlines()
        if line.startswith("| ")
    ]
    header = rows[rows.index(("field", "bytes", "version 1", "version 2")) + 1 :]
    assert list(layout.TABLES) == [1, 2]
    assert [row[:3] for row in header if len(row) == 4 and row[2] != "—"] == [
        (field.name, field.size, field.rule) for field in layout.FIELDS
    ]
    assert [(row[0], row[1], row[3]) for row in header if len(row) == 4 and row[3] != "—"] == [
        (field.name, field.size, "likewise" if field in layout.FIELDS else field.rule) for field in layout.FIELDS_2
    ]
    tables = [rows[start + 1 :] for start, row in enumerate(rows) if row == ("field", "bytes", "content")]
    assert [row[0] for row in tables[0][:3]] == ["table", "head check", "segments"]
    assert [row[0] for row in tables[1][:6]] == ["table", "head check", "segments", "table", "table check", "segments"]
    assert [row[0] for row in tables[2][:3]] == ["symbol check", "payload check", "payload"]


def test_the_page_shows_three_files_as_they_are():
    page = PAGE.read_text(encoding="utf-8")
    fields = {"fingerprint": b"abcd", "kind": "image", "height": 256, "width": 256, "qualities": (32, 32)}
    segments = Header(profile="segments", graph=0, **fields)
    compact = Header(profile="compact", graph=CHAIN, **fields)
    some = Header(
        fingerprint=b"abcd", kind="features", profile="segments", height=0, width=0, qualities=(32, 40),
        graph=TaskGraph(((1,), ())), tensor_count=6, present=(1, 4), grids=((33, 33), (80, 60)),
    )  # fmt: skip
    for container in (
        Container(segments, (Segment(b"one", 1), Segment(b"two", 2))),
        Container(compact, (Segment(b"both", 3),)),
        Container(some, (Segment(b"four", 4), Segment(b"one", 1))),
    ):
        data = pack(container)
        start = page.index(f"\n    {data.hex(' ')}\n")
        # The parts below the file, put together, are the file.
        below = page[start + 1 :].split("\n\n")[1]
        named = "".join(
            re.findall(r"\b(?:[0-9a-f]{2})+\b(?! of)", re.sub(r"\b(256|\d\d/8)\b|version \d|graph 0", "", below))
        )
        assert named == data.hex()


def test_the_page_s_numbers_of_graphs_are_right():
    page = " ".join(PAGE.read_text(encoding="utf-8").split())
    counts = [TaskGraph.count(tasks) for tasks in range(1, 7)]
    assert "1, 3, 25, 543, 29,281, 3,781,503 of one to six tasks" in page
    assert counts == [1, 3, 25, 543, 29281, 3781503]
    assert "{5}, {}, {0, 1, 5}, {0, 4}, {0, 1, 2}, {}" in page
    assert TaskGraph.unrank(1000000, 6).parents == ((5,), (), (0, 1, 5), (0, 4), (0, 1, 2), ())
    assert "none for one, 1 for two and three, 2 for four and five, 3 for six, 43 for 24" in page
    assert [layout.rank_bytes(tasks) for tasks in (1, 2, 3, 4, 5, 6, 24)] == [0, 1, 1, 2, 2, 3, 43]


def test_the_page_s_checks_are_those_of_the_letters_123456789():
    page = PAGE.read_text(encoding="utf-8")
    assert f"0x{binascii.crc_hqx(b'123456789', 0):04X}" in page
    assert f"0x{zlib.crc32(b'123456789'):08X}" in page


def test_the_page_names_real_errors_and_the_versions():
    page = PAGE.read_text(encoding="utf-8")
    named = set(re.findall(r"`(\w+Error)`", page))
    assert named >= {cls.__name__ for cls in BitstreamError.__subclasses__()}
    assert all(issubclass(getattr(errors, name), BitstreamError) for name in named)
    assert f"# The ATDC file, versions {' and '.join(map(str, layout.TABLES))}\n" in page
