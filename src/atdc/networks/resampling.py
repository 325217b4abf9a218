"""From one tensor's grid to another's, by normalised position: what a parent's features say at a child's positions."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from atdc.tensors import Grid, padded, spans


def resampled(x: Tensor, parent: Grid, child: Grid) -> Tensor:
    """Values on a parent's padded grid at the positions of a child's padded grid.

    Along each axis, the mean of what a position covers where the child is coarser, linear interpolation where it is
    finer; beyond the child's own grid the outermost values again. Nothing happens where the grids are equal.

    Args:
        x: (B, width, rows, columns) on the parent's padded grid.
        parent: height and width of the parent.
        child: height and width of the child.

    >>> resampled(torch.arange(4.0).reshape(1, 1, 1, 4).expand(1, 1, 4, 4), (4, 4), (2, 2))[0, 0, 0].tolist()
    [0.5, 2.5, 2.5, 2.5]
    """
    if parent == child:
        return x
    x = x[..., : parent[0], : parent[1]]
    coarse = min(parent[0], child[0]), min(parent[1], child[1])
    if coarse != parent:
        x = _area_mean(x, coarse)
    if coarse != child:
        x = F.interpolate(x, child, mode="bilinear", align_corners=False)
    return _replicated(x, child, padded(child))


def resampled_states(x: Tensor, parent: Grid, child: Grid, child_rows: Grid) -> Tensor:
    """States on a parent's latent grid at the positions of a child's, as :func:`atdc.entropy.coder.resampled_states`
    does with integers: the mean of what a position covers, or the state under its middle.

    Args:
        x: (B, Z, rows, columns).
        parent: the parent's latent grid, without padding.
        child: likewise the child's.
        child_rows: the child's padded latent grid.
    """
    if parent == child:
        return x
    rows, columns = (spans(parent[axis], child[axis]) for axis in (0, 1))
    x = x[..., : parent[0], : parent[1]]
    if child[0] >= parent[0]:
        x = x[..., [start for start, _ in rows], :]
    if child[1] >= parent[1]:
        x = x[..., [start for start, _ in columns]]
    if x.shape[2:] != child:
        x = _area_mean(x, child)
    return _replicated(x, child, child_rows)


def _area_mean(x: Tensor, grid: Grid) -> Tensor:
    """Means over boxes that may overlap by a row: each row of a box is picked and weighed.

    Adaptive pooling's gradient is not deterministic on every device, and a matrix of weights would grow with the
    product of both lengths.
    """
    for axis in (0, 1):
        ranges = torch.from_numpy(spans(x.shape[2 + axis], grid[axis])).to(x.device)
        counts = ranges[:, 1] - ranges[:, 0]
        offsets = torch.arange(int(counts.max()), device=x.device)
        weight = (offsets < counts[:, None]).to(x.dtype) / counts[:, None]
        places = torch.minimum(ranges[:, :1] + offsets, ranges[:, 1:] - 1)
        samples = x.index_select(2 + axis, places.flatten())
        samples = samples.reshape(*x.shape[: 2 + axis], *places.shape, *x.shape[3 + axis :])
        x = (samples * weight.reshape(*weight.shape, *(1,) * (1 - axis))).sum(3 + axis)
    return x


def _replicated(x: Tensor, grid: Grid, rows: Grid) -> Tensor:
    return x if grid == rows else F.pad(x, (0, rows[1] - grid[1], 0, rows[0] - grid[0]), mode="replicate")
