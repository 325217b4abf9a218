"""Which graphs rivals are trained on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from atdc.graph.task_graph import TaskGraph

_IMAGES_PER_GRAPH = 16


def shared_graphs(
    images: NDArray[np.int64], rng: np.random.Generator, graph_of: Callable[[int], TaskGraph]
) -> list[TaskGraph]:
    """Every sixteen images share the graph of one of them: each step then meets few graphs with many images each, which
    a CPU convolves twice as fast as the reverse."""
    graphs: list[TaskGraph] = []
    for start in range(0, len(images), _IMAGES_PER_GRAPH):
        members = images[start : start + _IMAGES_PER_GRAPH]
        graphs += [graph_of(int(rng.choice(members)))] * len(members)
    return graphs


class OneGraph:
    """The same graph for every image."""

    def __init__(self, graph: TaskGraph) -> None:
        self._graph = graph

    def draw(
        self, images: NDArray[np.int64], level: int, rng: np.random.Generator, tensors: Sequence[int]
    ) -> list[TaskGraph]:
        """The graph, once per image."""
        return [self._graph.within(tensors)] * len(images)


class GraphsByImage:
    """A graph that follows from the image alone, such as the paper's; computed when it is first drawn."""

    def __init__(self, graph_of: Callable[[int], TaskGraph]) -> None:
        self._graph_of = graph_of
        self._graphs: dict[int, TaskGraph] = {}

    def draw(
        self, images: NDArray[np.int64], level: int, rng: np.random.Generator, tensors: Sequence[int]
    ) -> list[TaskGraph]:
        """One graph per image, shared among sixteen."""
        return shared_graphs(images, rng, lambda image: self._of(image).within(tensors))

    def _of(self, image: int) -> TaskGraph:
        if image not in self._graphs:
            self._graphs[image] = self._graph_of(image)
        return self._graphs[image]


@dataclass(frozen=True)
class GraphOfEach:
    """A graph for each training image, shared with no other."""

    graphs: Sequence[TaskGraph]

    def draw(
        self, images: NDArray[np.int64], level: int, rng: np.random.Generator, tensors: Sequence[int]
    ) -> list[TaskGraph]:
        """Those of the images."""
        return [self.graphs[image].within(tensors) for image in images.tolist()]
