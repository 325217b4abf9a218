"""Exact layers: equal to plain integer arithmetic, whatever computes them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atdc.entropy.integer import EXACT_LIMIT, IntegerConv, clamped, rounded_shift, unfold_pixels
from atdc.errors import WeightsError


def plain(weight, x):
    """The same convolution with Python integers."""
    size, _, inputs, outputs = weight.shape
    images, height, width, _ = x.shape
    y = np.zeros((images, height, width, outputs), object)
    border = size // 2
    for row in range(height):
        for column in range(width):
            for i in range(size):
                for j in range(size):
                    r, c = row + i - border, column + j - border
                    if 0 <= r < height and 0 <= c < width:
                        for k in range(inputs):
                            for n in range(images):
                                y[n, row, column] += int(x[n, r, c, k]) * weight[i, j, k].astype(object)
    return y


@given(st.integers(0, 2**31), st.sampled_from([1, 3]), st.integers(1, 4), st.integers(1, 4))
def test_a_layer_is_plain_integer_arithmetic(seed, size, height, width):
    rng = np.random.default_rng(seed)
    weight = rng.integers(-(2**15) + 1, 2**15, (size, size, 2, 3))
    x = rng.integers(-(2**30), 2**30, (2, height, width, 2))
    assert np.array_equal(IntegerConv(weight, reach=2**30)(x), plain(weight, x).astype(np.int64))


def test_sums_at_the_edge_of_what_is_exact_are_exact():
    weight = np.array([[[[2**20 - 1], [1]]]])
    x = np.array([[[[2**32, 2**32 - 1]]]])
    reach = (EXACT_LIMIT - 1) // 2**20
    layer = IntegerConv(weight, reach)
    assert int(layer(x)[0, 0, 0, 0]) == (2**20 - 1) * 2**32 + 2**32 - 1
    with pytest.raises(WeightsError, match="2\\*\\*53"):
        IntegerConv(weight, reach + 1)


@pytest.mark.parametrize("weight", [np.zeros((2, 2, 1, 1), int), np.zeros((3, 3, 1)), np.zeros((1, 3, 1, 1), int)])
def test_what_is_no_layer_is_refused(weight):
    with pytest.raises(WeightsError):
        IntegerConv(weight, 1)


@given(st.integers(-(2**60), 2**60), st.integers(0, 30))
def test_shifts_round_to_the_nearest(value, bits):
    assert int(rounded_shift(np.array([value]), bits)[0]) == (value + (2**bits) // 2) // 2**bits


def test_clamps_and_unfolding():
    assert clamped(np.array([-9, 3, 9]), -4, 5).tolist() == [-4, 3, 5]
    x = np.arange(2 * 3 * 2 * 8).reshape(2, 3, 2, 8)
    y = unfold_pixels(x)
    for row in range(6):
        for column in range(4):
            channel = (2 * (row % 2) + column % 2) * 2
            assert np.array_equal(y[:, row, column], x[:, row // 2, column // 2, channel : channel + 2])
