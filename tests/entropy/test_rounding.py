"""Rounding and the training counterpart of the frequency tables."""

import math

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from atdc.entropy.gaussian import gaussian_bits
from atdc.entropy.rounding import quantised_mean, round_straight_through, scale_index, scales
from atdc.entropy.tables import FrequencyTables


def test_gradients_are_straight_through() -> None:
    x = torch.linspace(-3, 3, 13, requires_grad=True)
    round_straight_through(x).sum().backward()
    assert x.grad is not None and torch.equal(x.grad, torch.ones(13))


@given(st.floats(-100, 100))
def test_means_are_sixteenths_and_near(mean: float) -> None:
    quantised = float(quantised_mean(torch.tensor(mean, dtype=torch.float64)))
    assert (quantised * 16).is_integer() and abs(quantised - mean) <= 1 / 32


@given(st.integers(0, 63))
def test_a_tables_own_scale_finds_the_table(index: int) -> None:
    scale = scales(0.05, 64.0, 64)[index]
    assert int(scale_index(torch.tensor(math.log(scale)), 0.05, 64.0, 64)) == index


def test_training_bits_are_the_tables_bits() -> None:
    chosen = [0.3, 1.0, 7.0]
    tables = FrequencyTables.gaussian(chosen)
    for index, scale in enumerate(chosen):
        symbols = np.arange(-int(2 * scale) - 1, int(2 * scale) + 2, dtype=np.int32)
        coded = tables.ideal_bits(symbols, np.full(len(symbols), index, np.uint8))
        trained = gaussian_bits(torch.from_numpy(symbols).double(), torch.tensor(math.log(scale)))
        assert np.allclose(coded, trained.numpy(), atol=0.02)
