"""Sources: the same bytes from memory and from disk, by range, and each range counted once."""

from __future__ import annotations

import io
import mmap
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atdc.bitstream.sources import BytesSource, CountedSource, FileSource, arriving, opened
from atdc.errors import ArgumentError

DATA = bytes(range(200))


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("sources") / "file"
    path.write_bytes(DATA)
    return path


@given(offset=st.integers(0, 300), count=st.integers(0, 300))
def test_memory_and_disk_give_the_same_bytes_and_fewer_only_at_the_end(path, offset, count):
    expected = DATA[offset : offset + count]
    with FileSource(path) as source:
        assert source.size() == BytesSource(DATA).size() == 200
        assert source.read(offset, count) == BytesSource(DATA).read(offset, count) == expected


def test_a_file_is_closed_after_the_block(path):
    with FileSource(path) as source:
        pass
    with pytest.raises(ArgumentError, match="closed file"):
        source.read(0, 1)


def test_what_is_no_readable_file_is_an_argument_error(tmp_path):
    for path in (tmp_path / "absent", tmp_path, "a\0b", os.devnull):
        with pytest.raises(ArgumentError, match=r"a file to read|the path of a file"):
            FileSource(path)


@given(st.lists(st.tuples(st.integers(0, 250), st.integers(0, 250))))
def test_every_range_is_counted_once(ranges):
    source = CountedSource(BytesSource(DATA))
    for offset, count in ranges:
        assert source.read(offset, count) == DATA[offset : offset + count]
    assert source.size() == 200
    there = {(offset, len(DATA[offset : offset + count])) for offset, count in ranges}
    assert set(source.ranges) == there
    assert len(source.ranges) == len(there)
    assert source.bytes_read == sum(count for _, count in there)


def test_file_objects_with_a_size_and_maps_are_read(path):
    class Sized(io.BytesIO):
        size = 5

    class Measured(io.BytesIO):
        def size(self):
            return 5

    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        expected = path.read_bytes()
        for data in (Sized(expected), Measured(expected), mapped):
            for way in (opened, arriving):
                if hasattr(data, "seek"):
                    data.seek(0)
                with way(data) as source:
                    assert source.read(0, len(expected)) == expected
