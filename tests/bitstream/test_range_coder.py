"""Laws of the range coder: what goes in comes out, at the promised cost, and damage never passes silently."""

from __future__ import annotations

import constriction
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atdc.bitstream import range_coder
from atdc.bitstream.range_coder import RangeDecoder, RangeEncoder
from atdc.entropy.tables import SYMBOL_LIMIT, FrequencyTables
from atdc.errors import ArgumentError, CorruptFileError

SCALES = np.geomspace(0.04, 64, 64)
TABLES = FrequencyTables.gaussian(SCALES.tolist())

runs = st.lists(
    st.lists(
        st.tuples(
            st.one_of(
                st.integers(-3, 3),
                st.integers(-300, 300),
                st.integers(-SYMBOL_LIMIT + 1, SYMBOL_LIMIT - 1),
                st.sampled_from([SYMBOL_LIMIT - 1, 1 - SYMBOL_LIMIT, 257, -257, 1, 2, 3, 4]),
            ),
            st.integers(0, TABLES.size - 1),
        ),
        max_size=40,
    ),
    max_size=4,
)


def arrays(run):
    return np.array([s for s, _ in run], np.int32), np.array([t for _, t in run], np.uint8)


def encoded(tables, *parts):
    encoder = RangeEncoder(tables)
    for symbols, index in parts:
        encoder.encode(symbols, index)
    return encoder.finish()


def ideal_bytes(tables, *parts):
    return sum(float(tables.ideal_bits(symbols, index).sum()) for symbols, index in parts) / 8


def gaussian_symbols(seed, count, scales=SCALES):
    generator = np.random.default_rng(seed)
    index = generator.integers(0, len(scales), count).astype(np.uint8)
    return np.rint(generator.normal(size=count) * scales[index]).astype(np.int32), index


@given(runs)
def test_symbols_come_back_escapes_and_extremes_included(parts):
    parts = [arrays(part) for part in parts]
    data = encoded(TABLES, *parts)
    decoder = RangeDecoder(TABLES, data)
    for symbols, index in parts:
        decoded = decoder.decode(index)
        assert decoded.dtype == np.int32 and np.array_equal(decoded, symbols)
    decoder.close()
    assert len(data) <= ideal_bytes(TABLES, *parts) * 1.001 + 1.5


@pytest.mark.parametrize("count", [0, 1, 20, 300, 25_000])
def test_real_bytes_are_the_ideal_bits_and_a_byte(count):
    part = gaussian_symbols(count, count)
    assert len(encoded(TABLES, part)) <= ideal_bytes(TABLES, part) * 1.0005 + 1.5


def test_the_cost_of_escapes_is_as_stated_too():
    generator = np.random.default_rng(3)
    symbols = generator.integers(-SYMBOL_LIMIT + 1, SYMBOL_LIMIT, 2000).astype(np.int32)
    part = (symbols, np.zeros(2000, np.uint8))
    assert abs(len(encoded(TABLES, part)) - ideal_bytes(TABLES, part)) < 40  # of 14,000: 2**-24 steps at count 1


def test_no_symbols_take_no_byte_and_symbols_that_say_nothing_take_one():
    assert encoded(TABLES) == b""
    assert len(encoded(TABLES, (np.zeros(1000, np.int32), np.zeros(1000, np.uint8)))) == 1


def test_no_segment_ends_in_a_zero_byte():
    assert not any(encoded(TABLES, gaussian_symbols(seed, 7)).endswith(b"\0") for seed in range(500))


def test_golden_bytes():
    """The file format rests on these: constriction's arithmetic, the grouping, the escapes and the flush."""
    tables = FrequencyTables(np.array([[60000, 5536, 0, 0], [1000, 60000, 4000, 536]]), np.array([0, 1]))
    symbols = np.array([0, 1, -1, 0, 5, -900, 0, 1048575], np.int32)
    index = np.array([0, 1, 1, 0, 1, 0, 1, 0], np.uint8)
    assert encoded(tables, (symbols, index)).hex() == "d678de4bd44e7b68ffbffb1b"


def test_the_model_inside_constriction_is_the_one_the_notes_describe():
    for table in (0, 30, 63):
        used = TABLES.frequencies[table, : 2 * int(TABLES.radius[table]) + 2].astype(int)
        n = len(used)
        below = np.concatenate([[0], np.cumsum(used)])
        cumulative = below * ((1 << 24) - n) // (1 << 16) + np.arange(n + 1)
        for column in range(0, n, max(1, n // 40)):
            coder = constriction.stream.queue.RangeEncoder()
            coder.encode(np.array([column], np.int32), range_coder._model(TABLES, table))
            _, (lower, width) = coder.pos()
            scale = (1 << 64) - 1 >> 24
            assert lower // scale == cumulative[column]
            if column < n - 1:
                assert width // scale == cumulative[column + 1] - cumulative[column]


def test_carries_across_words_are_resolved():
    """Symbols read from fractions like 0.0111… and 0.1000… keep the coder undecided about a carry for many words."""
    tables = FrequencyTables(np.array([[30000, 5000, 30000, 536]]), np.array([1]))
    generator = np.random.default_rng(5)
    index = np.zeros(60, np.uint8)
    hard = 0
    for _ in range(1500):
        words = generator.integers(0, 1 << 32, 5, dtype=np.uint64).astype(np.uint32)
        words[generator.integers(0, 3) + 1 :] = generator.choice([0, (1 << 32) - 1])
        try:
            symbols = RangeDecoder(tables, words.astype(">u4").tobytes()).decode(index)
        except CorruptFileError:
            continue
        coder = RangeEncoder(tables)
        coder.encode(symbols, index)
        _, (lower, width) = coder._coder.pos()
        hard += lower + width >= 1 << 64
        decoder = RangeDecoder(tables, coder.finish())
        assert np.array_equal(decoder.decode(index), symbols)
        decoder.close()
    assert hard > 10


def test_the_flush_is_the_shortest_possible():
    """No string that is shorter decodes to the same symbols (all of them are tried)."""
    for seed in range(40):
        symbols, index = gaussian_symbols(seed, 3, SCALES[20:45])
        index = index + 20
        data = encoded(TABLES, (symbols, index))
        if len(data) > 2:
            continue
        for length in range(len(data)):
            for number in range(256**length):
                shorter = number.to_bytes(length, "big")
                try:
                    decoded = RangeDecoder(TABLES, shorter).decode(index)
                except CorruptFileError:
                    continue
                assert not np.array_equal(decoded, symbols)


def test_no_other_bytes_stand_for_the_same_symbols():
    """Bytes cut, appended or changed raise, at the latest when closing, or spell other symbols in full.

    The latter cannot be noticed here, as every symbol string has its bytes: the file's checksum is there for that.
    """
    part = gaussian_symbols(1, 60)
    data = encoded(TABLES, part)
    broken = [data[:length] for length in range(len(data))]
    broken += [data + tail for tail in (b"\0", b"\1", b"\0" * 9, b"\xff" * 20)]
    for bit in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        broken.append(bytes(flipped))
    for candidate in broken:
        decoder = RangeDecoder(TABLES, candidate)
        try:
            decoded = decoder.decode(part[1])
            decoder.close()
        except CorruptFileError:
            continue
        assert candidate != data and not np.array_equal(decoded, part[0])


@settings(max_examples=200)
@given(st.binary(max_size=60), st.lists(st.integers(0, 63), max_size=50))
def test_any_bytes_decode_or_raise(data, index):
    index = np.array(index, np.uint8)
    decoder = RangeDecoder(TABLES, data)
    try:
        decoded = decoder.decode(index)
        decoder.close()
    except CorruptFileError:
        return
    assert encoded(TABLES, (decoded, index)) == data


def test_escapes_without_end_and_beyond_the_limit_are_refused():
    tables = FrequencyTables(np.array([[65000, 1, 1, 534]]), np.array([1]))

    def escape_with(prefix, low):
        coder = constriction.stream.queue.RangeEncoder()
        coder.encode(np.array([3], np.int32), range_coder._model(tables, 0))
        coder.encode(np.array(prefix, np.int32), range_coder._BIT)
        coder.encode(np.array([low], np.int32), range_coder._UNIFORM, np.array([1 << 19], np.int32))
        coder.encode(np.array([0], np.int32), range_coder._BIT)
        return coder.get_compressed().astype(">u4").tobytes()

    largest = RangeDecoder(tables, escape_with([1] * 19 + [0], (1 << 19) - 2)).decode(np.array([0]))
    assert largest.tolist() == [SYMBOL_LIMIT - 1]
    with pytest.raises(CorruptFileError, match="magnitude 1048576"):
        RangeDecoder(tables, escape_with([1] * 19 + [0], (1 << 19) - 1)).decode(np.array([0]))
    with pytest.raises(CorruptFileError, match="without end"):
        RangeDecoder(tables, escape_with([1] * 20, 0)).decode(np.array([0]))


def test_symbols_left_unread_are_noticed():
    part = gaussian_symbols(2, 100)
    decoder = RangeDecoder(TABLES, encoded(TABLES, part), "segment of task 3")
    decoder.decode(part[1][:50])
    with pytest.raises(CorruptFileError, match="segment of task 3"):
        decoder.close()


def test_a_panic_in_the_coder_becomes_a_corrupt_file_and_an_interrupt_stays_one():
    class PanicException(BaseException):
        pass

    def raising(error):
        def decode(*_):
            raise error

        return type("Coder", (), {"decode": staticmethod(decode)})()

    decoder = RangeDecoder(TABLES, b"")
    decoder._coder = raising(PanicException("assertion failed"))
    with pytest.raises(CorruptFileError):
        decoder.decode(np.array([0]))
    decoder._coder = raising(KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        decoder.decode(np.array([0]))


@pytest.mark.parametrize("value", [SYMBOL_LIMIT, -SYMBOL_LIMIT, np.iinfo(np.int32).min])
def test_symbols_out_of_range_are_refused_and_nothing_is_written(value):
    encoder = RangeEncoder(TABLES)
    with pytest.raises(ArgumentError):
        encoder.encode(np.array([0, value], np.int32), np.array([3, 3]))
    assert encoder.finish() == b""
