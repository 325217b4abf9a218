"""The three symbol coders: one traversal counts, writes and reads, and all agree on the bits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atdc.bitstream.symbols import SymbolCounter, SymbolReader, SymbolWriter
from atdc.entropy.tables import FrequencyTables
from atdc.errors import ArgumentError, CorruptFileError

TABLES = FrequencyTables.gaussian(np.geomspace(0.1, 8, 16).tolist())
IMAGES, TASKS = 2, 3


def traverse(symbol_coder, content):
    """A stand-in for the coding traversal of all images."""
    return {key: value for image in range(IMAGES) for key, value in traverse_one(symbol_coder, image, content).items()}


def traverse_one(symbol_coder, image, content, segments=None):
    """One image: the table of a later run depends on the symbols before it."""
    results, shift = {}, 0
    for task in (2, 0, 1):
        if segments is not None:
            symbol_coder.begin(segments[task], str(task))
        for part in range(2):
            symbols = None if content is None else content[image, task, part]
            index = ((np.arange(5 * part + task + 1) + shift) % TABLES.size).astype(np.uint8)
            results[image, task, part] = symbol_coder.code(image if content is not None else 0, task, symbols, index)
            shift += int(np.abs(results[image, task, part]).sum())
        if segments is not None:
            symbol_coder.end()
    return results


@st.composite
def contents(draw):
    value = st.one_of(st.integers(-2, 2), st.integers(-5000, 5000))
    return {
        (image, task, part): np.array(
            draw(st.lists(value, min_size=5 * part + task + 1, max_size=5 * part + task + 1)), np.int32
        )
        for image in range(IMAGES)
        for task in range(TASKS)
        for part in range(2)
    }


@settings(max_examples=50)
@given(contents())
def test_counting_writing_and_reading_agree(content):
    counting, writing = SymbolCounter(TABLES), SymbolWriter(TABLES, IMAGES, TASKS)
    counted, written = traverse(counting, content), traverse(writing, content)
    segments = writing.finish()
    for image in range(IMAGES):
        reading = SymbolReader(TABLES)
        read = traverse_one(reading, image, None, segments[image])
        for key, symbols in read.items():
            assert np.array_equal(symbols, content[key]) and np.array_equal(symbols, counted[key])
            assert np.array_equal(symbols, written[key])
        assert np.array_equal(reading.bits.array(1, TASKS)[0], counting.bits.array(IMAGES, TASKS)[image])
    bits = counting.bits.array(IMAGES, TASKS)
    assert np.array_equal(bits, writing.bits.array(IMAGES, TASKS))
    lengths = np.array([[len(segment) for segment in row] for row in segments])
    assert (8 * lengths <= bits * 1.001 + 12).all()


@settings(max_examples=30)
@given(contents())
def test_tasks_in_one_segment_read_back_in_the_same_order(content):
    apart, together = SymbolWriter(TABLES, IMAGES, TASKS), SymbolWriter(TABLES, IMAGES, TASKS, together=True)
    traverse(apart, content)
    traverse(together, content)
    for image, [segment] in enumerate(together.finish()):
        reading = SymbolReader(TABLES)
        reading.begin(segment, "payload")
        for key, symbols in traverse_one(reading, image, None).items():
            assert np.array_equal(symbols, content[key])
        reading.end()
        assert len(segment) <= sum(map(len, apart.finish()[image])) + 1  # and saves what the flushes of the others take


def zeros(count):
    return np.zeros(count, np.int32), np.zeros(count, np.uint8)


def test_some_tasks_can_be_read_without_the_others():
    writing = SymbolWriter(TABLES, 1, 3)
    symbols = np.array([3, -4], np.int32)
    for task in range(3):
        writing.code(0, task, symbols, np.array([15, 15], np.uint8))
    reading = SymbolReader(TABLES)
    reading.begin(writing.finish()[0][1], "segment")
    assert np.array_equal(reading.code(0, 1, None, np.array([15, 15], np.uint8)), symbols)
    reading.end()
    with pytest.raises(ArgumentError, match="one that was begun"):
        reading.code(0, 0, None, np.array([15, 15], np.uint8))


def test_a_segment_left_unread_is_noticed_with_its_name():
    reading = SymbolReader(TABLES)
    reading.begin(b"data", "segment of depth")
    with pytest.raises(CorruptFileError, match="segment of depth"):
        reading.end()


def test_damage_is_reported_with_the_segments_name():
    reading = SymbolReader(TABLES)
    reading.begin(b"\xff" * 12, "segment of depth")
    with pytest.raises(CorruptFileError, match="segment of depth"):
        reading.code(0, 0, None, np.zeros(40, np.uint8))


def test_ports_refuse_what_is_not_theirs():
    symbols, index = zeros(2)
    with pytest.raises(ArgumentError):
        SymbolCounter(TABLES).code(0, 0, None, index)
    with pytest.raises(ArgumentError):
        SymbolWriter(TABLES, 1, 1).code(0, 0, None, index)
    with pytest.raises(ArgumentError):
        SymbolReader(TABLES).code(0, 0, symbols, index)
    for image, task in ((1, 0), (0, 1), (-1, 0), (0, -1)):
        with pytest.raises(ArgumentError):
            SymbolWriter(TABLES, 1, 1).code(image, task, symbols, index)


def test_a_refused_symbol_leaves_bits_and_bytes_alone():
    symbol_coder = SymbolWriter(TABLES, 1, 1)
    with pytest.raises(ArgumentError):
        symbol_coder.code(0, 0, np.array([1 << 20], np.int32), np.array([0], np.uint8))
    assert symbol_coder.bits[0][0] == 0 and symbol_coder.finish() == [[b""]]
