"""From grid to grid: means down, interpolation up, nothing where grids are equal."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from atdc.networks.resampling import resampled, resampled_states
from atdc.tensors import padded

SIDES = st.tuples(st.integers(1, 13), st.integers(1, 13))


@given(SIDES, SIDES)
def test_a_coarser_grid_gets_the_means_of_adaptive_pooling(parent: tuple[int, int], child: tuple[int, int]) -> None:
    child = min(parent[0], child[0]), min(parent[1], child[1])
    x = torch.randn(2, 3, *padded(parent), generator=torch.Generator().manual_seed(0))
    result = resampled(x, parent, child)
    assert result.shape[2:] == padded(child) or parent == child
    expected = F.adaptive_avg_pool2d(x[..., : parent[0], : parent[1]], child)
    assert torch.allclose(result[..., : child[0], : child[1]], expected, atol=1e-5)
    assert parent != child or result is x


@given(SIDES, SIDES)
def test_a_constant_stays_that_constant_on_any_grid(parent: tuple[int, int], child: tuple[int, int]) -> None:
    result = resampled(torch.full((1, 2, *padded(parent)), 3.5), parent, child)
    assert torch.allclose(result, torch.full((1, 2, *padded(child)), 3.5))


def test_the_parents_padding_is_not_seen() -> None:
    x = torch.zeros(1, 1, 8, 8)
    x[..., 5:, :] = x[..., 5:] = 1e9
    assert not resampled(x, (5, 5), (3, 2)).any() and not resampled(x, (5, 5), (9, 11)).any()
    assert not resampled_states(x, (5, 5), (3, 9), (4, 10)).any()


def test_long_thin_grids_take_memory_by_their_sum_and_not_by_their_product() -> None:
    x = torch.ones(1, 1, 4, 1 << 18)
    assert resampled(x, (1, 1 << 18), (1, (1 << 17) + 1)).shape[3] == (1 << 17) + 4


@pytest.mark.parametrize("child", [(3, 5), (11, 9), (3, 9)])
def test_gradients_reach_every_position_of_the_parent(child: tuple[int, int]) -> None:
    x = torch.randn(1, 1, 8, 8, requires_grad=True)
    resampled(x, (7, 7), child).square().sum().backward()
    assert x.grad is not None and bool((x.grad[..., :7, :7] != 0).all()) and not bool(x.grad[..., 7:, :].any())
