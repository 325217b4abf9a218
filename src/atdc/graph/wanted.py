"""Graphs of wanted sets as weights keep them, and mean costs of pairs, from which those of any other set follow."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atdc.config import MAX_QUALITY, QUALITY_STEPS_PER_UNIT, level_of
from atdc.errors import ArgumentError
from atdc.graph.scores import candidate_sets, children_of
from atdc.graph.subsets import best_superset
from atdc.graph.task_graph import TaskGraph, graphs_of, plain_graphs

_REMEMBERED = 1024
"""Graphs that are kept, of so many sets and qualities asked for; then all are forgotten."""


@dataclass(frozen=True, eq=False)
class WantedGraphs:
    """Which graph serves a wanted set best in the mean, helpers included.

    Attributes:
        max_parents: ``K`` of the pairs.
        rates: mean ideal bits of each pair at each integer quality on validation images, (8, P).
        errors: likewise mean squared errors, times ``w``: bits.
        graphs: by wanted set, indices ascending, the graph that really cost least at each integer quality.
    """

    max_parents: int
    rates: NDArray[np.float64]
    errors: NDArray[np.float64]
    graphs: Mapping[tuple[int, ...], tuple[TaskGraph, ...]]
    _cache: dict[tuple[Any, ...], TaskGraph] = field(init=False, repr=False, default_factory=dict)

    def graph(self, wanted: Sequence[int], steps: Sequence[int], available: Collection[int]) -> TaskGraph:
        """The graph of a wanted set, over all tensors; what is sent is the set and its ancestors.

        The one that is kept for the set, where wanted tensors have one quality and its helpers are available; else the
        best for the mean costs at each tensor's own quality, which is searched for and remembered.

        Args:
            wanted: which tensors, ascending.
            steps: quality of every tensor, in eighths.
            available: tensors that may be sent, the wanted ones among them.
        """
        available_set = set(available)
        wanted_steps = {steps[tensor] for tensor in wanted}
        if len(wanted_steps) == 1 and tuple(wanted) in self.graphs:
            kept_graph = self.graphs[tuple(wanted)][level_of(wanted_steps.pop())]
            if available_set.issuperset(kept_graph.closure(wanted)):
                return kept_graph
        key = (tuple(wanted), tuple(steps), tuple(sorted(available_set)))
        graph = self._cache.get(key)
        if graph is None:
            children = children_of(candidate_sets(len(steps), self.max_parents))
            tables = at_quality(self.rates, children, steps), at_quality(self.errors, children, steps)
            graph = best_superset(*tables, len(steps), wanted, self.max_parents, available_set).graph
            if len(self._cache) >= _REMEMBERED:
                self._cache.clear()
            self._cache[key] = graph
        return graph

    def require_tasks(self, task_count: int) -> None:
        """Checks that costs and graphs are those of so many tasks.

        Raises:
            ArgumentError: numbers of another shape, negative or not finite; graphs that are too few or of another
                number of tasks; sets that are empty, out of order or beyond the tasks.
        """
        shape = (MAX_QUALITY + 1, len(candidate_sets(task_count, self.max_parents)))
        for name, values in (("rates", self.rates), ("errors", self.errors)):
            if values.shape != shape or not np.isfinite(values).all() or values.min() < 0:
                problem = f"shape {values.shape}" if values.shape != shape else "a number below 0 or not finite"
                raise ArgumentError(f"book.wanted.{name}", problem, f"finite numbers of shape {shape}, 0 or more")
        for wanted, graphs in self.graphs.items():
            where = f"book.wanted.graphs of {list(wanted)}"
            if not wanted or list(wanted) != sorted(set(wanted)) or not 0 <= wanted[0] <= wanted[-1] < task_count:
                raise ArgumentError(where, "no set of tensors", f"ascending indices below {task_count}, at least one")
            if len(graphs) != MAX_QUALITY + 1 or any(graph.size != task_count for graph in graphs):
                problem = f"{len(graphs)} graphs of {sorted({graph.size for graph in graphs})} tasks"
                raise ArgumentError(where, problem, f"{MAX_QUALITY + 1} graphs of {task_count} tasks")

    def require_parents(self, max_parents: int) -> None:
        """Checks that the pairs are those of the model.

        Raises:
            ArgumentError: another number of parents.
        """
        if self.max_parents != max_parents:
            raise ArgumentError("book.wanted.max_parents", str(self.max_parents), str(max_parents))

    def to_json(self) -> dict[str, Any]:
        """Plain values for the weights' header."""
        return {
            "max_parents": self.max_parents, "rates": np.round(self.rates, 2).tolist(),
            "errors": np.round(self.errors, 2).tolist(),
            "graphs": [[list(wanted), plain_graphs(graphs)] for wanted, graphs in self.graphs.items()],
        }  # fmt: skip

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> WantedGraphs:
        """The inverse of :meth:`to_json`; graphs are validated as they are built.

        Raises:
            ArgumentError: a set twice, or a number of parents that is none.
        """
        sets = [tuple(wanted) for wanted, _ in values["graphs"]]
        if len(set(sets)) < len(sets) or not all(type(tensor) is int for wanted in sets for tensor in wanted):
            raise ArgumentError("book.wanted.graphs", "a set twice, or one of other than numbers", "each set once")
        if type(values["max_parents"]) is not int:
            raise ArgumentError("book.wanted.max_parents", repr(values["max_parents"]), "a number")
        rows = (graphs_of(graphs) for _, graphs in values["graphs"])
        rates, errors = (np.array(values[name], np.float64) for name in ("rates", "errors"))
        return cls(values["max_parents"], rates, errors, dict(zip(sets, rows, strict=True)))


def levels_around(steps: Sequence[int]) -> slice:
    """The integer qualities that :func:`at_quality` looks at: those around the ones in eighths.

    >>> levels_around([20, 33]), levels_around([56])
    (slice(2, 6, None), slice(7, 8, None))
    """
    return slice(min(steps) // QUALITY_STEPS_PER_UNIT, -(-max(steps) // QUALITY_STEPS_PER_UNIT) + 1)


def at_quality(
    values: NDArray[np.floating[Any]], tasks: Sequence[int] | NDArray[np.int64], steps: Sequence[int],
    levels: slice = slice(None),
) -> NDArray[np.float64]:  # fmt: skip
    """Values at integer qualities, taken at each task's own quality: linear between integer ones.

    Args:
        values: (..., 8, n), finite.
        tasks: that each column belongs to.
        steps: the quality of each task, in eighths.
        levels: which integer qualities there are values of, if not all: :func:`levels_around`.

    >>> at_quality(np.arange(8.0)[:, None] * [1, 10], [0, 1], [20, 56])
    array([ 2.5, 70. ])
    """
    return (values * _shares(tuple(steps))[levels, tasks]).sum(-2)


@lru_cache(maxsize=64)
def _shares(steps: tuple[int, ...]) -> NDArray[np.float64]:
    """How much each integer quality counts at each task's own, (8, T)."""
    distance = np.array(steps) / QUALITY_STEPS_PER_UNIT - np.arange(MAX_QUALITY + 1)[:, None]
    return np.maximum(1 - abs(distance), 0)
