"""Which graphs a codec is trained on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from atdc.graph.task_graph import TaskGraph


def random_subset(count: int, share: float, rng: np.random.Generator) -> list[int]:
    """All of so many tensors or, as often as `share` says, some of them: each size alike, then each subset of it.

    >>> random_subset(4, 0.0, np.random.default_rng(0)), random_subset(4, 1.0, np.random.default_rng(0))
    ([0, 1, 2, 3], [0, 2, 3])
    """
    if not share or rng.random() >= share:
        return list(range(count))
    return sorted(rng.choice(count, rng.integers(1, count + 1), False).tolist())


class GraphSource(Protocol):
    """Draws a graph for each training image."""

    def draw(
        self, images: NDArray[np.int64], level: int, rng: np.random.Generator, tensors: Sequence[int]
    ) -> list[TaskGraph]:
        """One graph per image at an integer quality, over some of the tensors: others have no part in it."""
        ...


class PooledGraphs:
    """Graphs drawn from a list for each quality, each as often as another.

    Args:
        pools: by integer quality.
    """

    def __init__(self, pools: Sequence[Sequence[TaskGraph]]) -> None:
        self._pools = pools

    def draw(
        self, images: NDArray[np.int64], level: int, rng: np.random.Generator, tensors: Sequence[int]
    ) -> list[TaskGraph]:
        """One graph for all images: each step then meets few graphs with many images each."""
        pool = self._pools[level]
        return [pool[int(rng.integers(len(pool)))].within(tensors)] * len(images)
