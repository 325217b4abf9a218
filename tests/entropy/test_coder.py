"""Latents to symbols: what is decoded is the nearest value that can be sent, and what parents tell other grids."""

import tracemalloc
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

import atdc
from atdc.bitstream.symbols import SymbolCounter
from atdc.entropy.coder import EntropyCoder, resampled_states
from atdc.entropy.model import MEAN_BITS, STATE_LIMIT
from atdc.tensors import padded, spans


def test_a_decoded_latent_is_within_half_a_step(untrained_weights: Path) -> None:
    model = atdc.load(untrained_weights).feature_codec.entropy
    rng = np.random.default_rng(0)
    latent, hyper = (
        rng.normal(0, 9, (2, 4, 6, model.latent_channels(2))),
        rng.normal(0, 9, (2, 2, 3, model.hyper_channels)),
    )
    coder = EntropyCoder(model, SymbolCounter(model.tables), np.full((2, 6), 32), [(8, 12)] * 6)
    decoded = coder.code([0, 1], 2, np.zeros((2, 6), np.bool_), latent, hyper)
    assert np.abs(decoded / (1 << MEAN_BITS) - latent).max() <= 0.5


def mean_under(states, parent, child):
    """What the page says of states between grids, one number at a time: states (rows, columns) on a padded grid."""
    own, wanted = ([-(-side // 2) for side in grid] for grid in (parent, child))

    def rows_under(row, axis):
        if wanted[axis] >= own[axis]:
            return [min((2 * row + 1) * own[axis] // (2 * wanted[axis]), own[axis] - 1)]
        return [
            r
            for r in range(own[axis])
            if r * wanted[axis] < (row + 1) * own[axis] and (r + 1) * wanted[axis] > row * own[axis]
        ]

    result = np.zeros([side // 2 for side in padded(child)], np.int64)
    for i, j in np.ndindex(*result.shape):
        rows, columns = (rows_under(min(place, wanted[axis] - 1), axis) for axis, place in ((0, i), (1, j)))
        result[i, j] = sum(int(states[r, c]) for r in rows for c in columns) // (len(rows) * len(columns))
    return result


grids = st.tuples(st.integers(1, 19), st.integers(1, 19))


@given(grids, grids, st.integers(0, 99))
def test_states_between_grids_are_floored_means_of_what_a_position_covers_or_has_under_its_middle(parent, child, seed):
    shape = [side // 2 for side in padded(parent)]
    states = np.random.default_rng(seed).integers(0, STATE_LIMIT + 1, (1, *shape, 1))
    found = resampled_states(states, parent, child)[0, :, :, 0]
    assert np.array_equal(
        found, states[0, :, :, 0] if parent == child else mean_under(states[0, :, :, 0], parent, child)
    )


def test_states_of_a_wide_parent_for_a_tall_child_take_no_room_for_a_grid_that_is_both() -> None:
    states = np.ones((1, 2, 4096, 2), np.int64)
    tracemalloc.start()
    found = resampled_states(states, (1, 8192), (8192, 1))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.shape == (1, 4096, 2, 2) and (found == 1).all()
    assert peak < 4 << 20


def test_where_a_million_rows_look_is_computed_at_once_not_row_by_row() -> None:
    tracemalloc.start()
    upwards, downwards = spans(3, 1 << 20), spans(1 << 20, 1 << 19)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert upwards.shape == (1 << 20, 2) and downwards[-1].tolist() == [(1 << 20) - 2, 1 << 20]
    assert peak < 80 << 20  # a pair of numbers in a list takes five times the room
