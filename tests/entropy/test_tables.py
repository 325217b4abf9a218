"""Laws of the probability tables: integers that sum to 2**16, and costs that are theirs."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atdc.entropy.tables import SYMBOL_LIMIT, FrequencyTables, low_bits
from atdc.errors import ArgumentError, WeightsError

SCALES = np.geomspace(0.04, 64, 64).tolist()
TABLES = FrequencyTables.gaussian(SCALES)


def gaussian_probability(symbols, scale):
    return np.array(
        [
            0.5 * (math.erfc((abs(s) - 0.5) / scale / math.sqrt(2)) - math.erfc((abs(s) + 0.5) / scale / math.sqrt(2)))
            for s in symbols.tolist()
        ]
    )


@given(st.lists(st.floats(0.001, 300), min_size=1, max_size=4))
def test_every_table_sums_to_the_total_and_gives_every_used_symbol_a_count(scales):
    tables = FrequencyTables.gaussian(scales)
    used = np.arange(tables.frequencies.shape[1]) < 2 * tables.radius[:, None] + 2
    assert (tables.frequencies.sum(axis=1) == 1 << 16).all()
    assert (tables.frequencies[used] >= 1).all()
    assert (tables.frequencies[~used] == 0).all()


def test_a_gaussian_table_is_symmetric_to_one_count_and_falls_from_its_centre():
    for row, radius in zip(TABLES.frequencies.astype(int), TABLES.radius.tolist(), strict=True):
        counts = row[: 2 * radius + 1]
        assert np.abs(counts - counts[::-1]).max() <= 1
        assert (np.diff(counts[radius:]) <= 1).all()
        assert counts[radius] >= counts.max() - 1


def test_rounding_to_integers_and_escapes_costs_gaussian_symbols_less_than_a_thousandth_of_a_bit():
    symbols = np.arange(-450, 451, dtype=np.int32)
    for table, scale in enumerate(SCALES):
        probability = gaussian_probability(symbols, scale)
        likely = probability > 0
        entropy = -(probability[likely] * np.log2(probability[likely])).sum()
        bits = (probability * TABLES.ideal_bits(symbols, np.full(symbols.size, table))).sum()
        assert entropy - 1e-9 <= bits <= entropy + 1e-3


def test_code_lengths_satisfy_krafts_equality_over_all_symbols():
    """All symbols of a table, escaped ones included, have code lengths of a complete code (up to the limit's cut)."""
    symbols = np.arange(-SYMBOL_LIMIT + 1, SYMBOL_LIMIT, dtype=np.int32)
    for table in (0, 40, 63):
        total = np.exp2(-TABLES.ideal_bits(symbols, np.full(symbols.size, table, np.uint8))).sum()
        assert 1 - 1e-4 < total <= 1 + 1e-12


def test_ideal_bits_of_an_escape_are_the_escape_plus_the_exp_golomb_code_and_the_sign():
    radius = int(TABLES.radius[0])
    for excess, code in ((1, 1), (2, 3), (3, 3), (4, 5), (255, 15), (256, 17)):
        for sign in (-1, 1):
            bits = TABLES.ideal_bits(np.array([sign * (radius + excess)], np.int32), np.array([0]))
            escape = 16 - math.log2(TABLES.frequencies[0, 2 * radius + 1])
            assert bits[0] == escape + code + 1


@given(st.integers(1, SYMBOL_LIMIT - 1))
def test_low_bits_is_the_integer_logarithm(value):
    assert low_bits(np.array([value]))[0] == value.bit_length() - 1


def test_tables_survive_storing():
    again = FrequencyTables.from_arrays(TABLES.to_arrays())
    assert np.array_equal(again.frequencies, TABLES.frequencies) and np.array_equal(again.radius, TABLES.radius)


def test_tables_cannot_be_changed_even_through_the_arrays_they_came_from():
    arrays = TABLES.to_arrays()
    tables = FrequencyTables(**arrays)
    arrays["frequencies"][0, 0] += 1
    assert np.array_equal(tables.frequencies, TABLES.frequencies)
    with pytest.raises(ValueError, match="read-only"):
        tables.frequencies[0, 0] = 5


@pytest.mark.parametrize(
    ("frequencies", "radius"),
    [
        ([[65536]], [0]),  # no room for the escape
        ([[65535, 2]], [0]),  # wrong sum
        ([[65536, 0]], [0]),  # an escape that cannot be coded
        ([[65537, -1]], [0]),  # a negative count
        ([[65534, 1, 1]], [0]),  # a count beyond the escape
        ([[32768.0, 32768.0]], [0]),  # floats
        ([[65535, 1]], [-1]),
        ([[65535, 1]], [0, 0]),
        ([[65535, 1]] * 257, [0] * 257),  # an index of which is more than a byte
        ([], []),
    ],
)  # fmt: skip
def test_arrays_that_are_no_tables_are_refused(frequencies, radius):
    frequencies = np.array(frequencies) if frequencies else np.zeros((0, 2), int)
    with pytest.raises(ArgumentError):
        FrequencyTables(frequencies, np.array(radius, int))
    with pytest.raises(WeightsError):
        FrequencyTables.from_arrays({"frequencies": frequencies, "radius": np.array(radius, int)})


def test_a_missing_array_is_named():
    with pytest.raises(WeightsError, match="radius"):
        FrequencyTables.from_arrays({"frequencies": TABLES.frequencies})


@pytest.mark.parametrize("scales", [[], [0.0], [-1.0], [math.nan], [math.inf]])
def test_impossible_scales_are_refused(scales):
    with pytest.raises(ArgumentError):
        FrequencyTables.gaussian(scales)


@pytest.mark.parametrize(
    ("symbols", "index"),
    [
        (np.array([SYMBOL_LIMIT], np.int32), np.array([0])),
        (np.array([-SYMBOL_LIMIT], np.int32), np.array([0])),
        (np.array([np.iinfo(np.int32).min], np.int32), np.array([0])),
        (np.array([1 << 40]), np.array([0])),
        (np.array([0, 0], np.int32), np.array([0])),
        (np.array([0.0]), np.array([0])),
        (np.array([0], np.int32), np.array([64])),
        (np.array([0], np.int32), np.array([-1])),
        (np.array([0], np.int32), np.array([0.0])),
        (np.zeros((1, 1), np.int32), np.zeros((1, 1), int)),
    ],
)
def test_symbols_and_indices_out_of_range_are_refused(symbols, index):
    with pytest.raises(ArgumentError):
        TABLES.ideal_bits(symbols, index)
