"""Which graphs a codec is trained on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from atdc.graph import search
from atdc.graph.graph_tables import GraphTables
from atdc.graph.task_graph import TaskGraph

_IMAGES_PER_GRAPH = 16


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


def shared(
    images: NDArray[np.int64], rng: np.random.Generator, graph_of: Callable[[int], TaskGraph]
) -> list[TaskGraph]:
    """Every sixteen images share the graph of one of them: each step then meets few graphs with many images each, which
    a CPU convolves twice as fast as the reverse."""
    graphs: list[TaskGraph] = []
    for start in range(0, len(images), _IMAGES_PER_GRAPH):
        members = images[start : start + _IMAGES_PER_GRAPH]
        graphs += [graph_of(int(rng.choice(members)))] * len(members)
    return graphs


class MixedGraphs:
    """A mixture of search settings, chosen with the rate estimator's costs of the training images.

    Args:
        mix: share of images coded under each setting.
        graph_tables: graphs that are the same for all images.
        costs: bits per feature element, (N, 8, P).
        task_count: tasks.
        max_parents: of a searched graph.
    """

    def __init__(
        self,
        mix: Mapping[str, float],
        graph_tables: GraphTables,
        costs: NDArray[np.float32],
        task_count: int,
        max_parents: int,
    ) -> None:
        self._mix, self._book, self._costs = dict(mix), graph_tables, costs
        self._tasks, self._limit = task_count, max_parents

    def draw(
        self, images: NDArray[np.int64], level: int, rng: np.random.Generator, tensors: Sequence[int]
    ) -> list[TaskGraph]:
        """One graph per image at an integer quality, shared among sixteen; settings that search do so among the
        tensors, the others' graphs lose what is not there."""
        return shared(
            images, rng, lambda image: self._graph(self._costs[image, level].astype(np.float64), level, rng, tensors)
        )

    def _graph(
        self, costs: NDArray[np.float64], level: int, rng: np.random.Generator, tensors: Sequence[int]
    ) -> TaskGraph:
        names = list(self._mix)
        weights = np.array([self._mix[name] for name in names])
        name = names[int(rng.choice(len(names), p=weights / weights.sum()))]
        whole = self._book.whole(name, level)
        if whole is not None:
            return whole.within(tensors)
        if name == "codebook":
            if len(tensors) == self._tasks:
                return self._book.cheapest(costs[None], level)[0]
            name = "exact"  # a subset's candidates are chosen when the codec is trained
        columns = search.columns_within(self._tasks, self._limit, tensors)
        graph = search.SEARCHES[name](costs[None, columns], len(tensors), self._limit, lambda _: rng)[0]
        return graph.expanded(tensors, self._tasks)


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
