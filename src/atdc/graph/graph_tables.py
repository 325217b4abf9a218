"""What is chosen on training and validation images and then kept with the weights: graphs, distortions, Lagrange
multipliers.

Nothing in it is ever chosen on test images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atdc.config import MAX_QUALITY
from atdc.errors import ArgumentError
from atdc.graph import search
from atdc.graph.scores import Pair, graph_costs, pairs_of
from atdc.graph.task_graph import TaskGraph, graphs_of, plain_graphs
from atdc.graph.wanted import WantedGraphs

_ATTRIBUTES = {"codebook": "candidates", "surcharge": "correction"}
"""Keys in the header of weights, which stay, whose attributes have other names."""


@dataclass(frozen=True, eq=False)
class GraphTables:
    """Graphs of the settings that do not search per image, and what the scores need to know of the working quality.

    Attributes:
        fixed: per integer quality, the graph of least mean cost.
        fixed_mode: per integer quality, the most frequent exact graph.
        chain: per integer quality, the fixed graph's order with all predecessors as parents.
        candidates: the M graphs among which `codebook` chooses per image, the same for every quality.
        listed: the graphs that files name by number, usual ones first: a prior that makes the usual graph one byte.
        distortion: mean squared error per normalised feature element at each quality, (8, T).
        bits_per_error: ``w = −dR/dD``, bits of a task's segment per unit of summed squared error, (8, T).
        correction: what each candidate graph really takes beyond the scores of its pairs, the mean over images at
            each quality, bits per feature element, (8, M). Scores take parents as the fixed graph leaves them; along
            another graph they are better or worse.
        wanted: graphs of wanted sets, and the costs that they follow from; None where the weights have none.
    """

    fixed: tuple[TaskGraph, ...]
    fixed_mode: tuple[TaskGraph, ...]
    chain: tuple[TaskGraph, ...]
    candidates: tuple[TaskGraph, ...]
    listed: tuple[TaskGraph, ...]
    distortion: NDArray[np.float64]
    bits_per_error: NDArray[np.float64]
    correction: NDArray[np.float64]
    wanted: WantedGraphs | None = None

    @classmethod
    def untrained(cls, task_count: int) -> GraphTables:
        """Independent coding everywhere, with guessed distortions: where training starts."""
        alone = (TaskGraph.independent(task_count),) * (MAX_QUALITY + 1)
        guess = np.geomspace(0.6, 0.04, MAX_QUALITY + 1)[:, None].repeat(task_count, 1)
        nothing = np.zeros((MAX_QUALITY + 1, 1))
        return cls(alone, alone, alone, alone[:1], alone[:1], guess, 0.5 / guess / np.log(2), nothing)

    def require_tasks(self, task_count: int) -> None:
        """Checks that everything is there that encoders and decoders of so many tasks look up.

        Raises:
            ArgumentError: graphs of another number of tasks or at too few qualities, or numbers that are of another
                shape, not finite, or, where only positive ones make sense, not positive.

        >>> GraphTables.untrained(3).require_tasks(2)
        Traceback (most recent call last):
        atdc.errors.ArgumentError: book.fixed: found a graph of 3 tasks; expected graphs of 2 tasks.
        """
        levels = MAX_QUALITY + 1
        for name in ("fixed", "fixed_mode", "chain", "codebook", "listed"):
            graphs: tuple[TaskGraph, ...] = getattr(self, _ATTRIBUTES.get(name, name))
            expected = levels if name in ("fixed", "fixed_mode", "chain") else max(1, len(graphs))
            if len(graphs) != expected:
                raise ArgumentError(f"book.{name}", f"{len(graphs)} graphs", f"{expected} of them")
            for graph in graphs:
                if graph.size != task_count:
                    problem = f"a graph of {graph.size} tasks"
                    raise ArgumentError(f"book.{name}", problem, f"graphs of {task_count} tasks")
        shapes = {
            "distortion": (levels, task_count), "bits_per_error": (levels, task_count),
            "surcharge": (levels, len(self.candidates)),
        }  # fmt: skip
        for name, shape in shapes.items():
            values: NDArray[np.float64] = getattr(self, _ATTRIBUTES.get(name, name))
            if values.shape != shape or not np.isfinite(values).all():
                problem = f"shape {values.shape}" if values.shape != shape else "a number that is not finite"
                raise ArgumentError(f"book.{name}", problem, f"finite numbers of shape {shape}")
            if name != "surcharge" and values.min() < 0:
                raise ArgumentError(f"book.{name}", f"{values.min():g}", "0 or more")
        if self.wanted is not None:
            self.wanted.require_tasks(task_count)

    def require_parents(self, max_parents: int) -> None:
        """Checks that costs are estimated for all graphs that are searched for.

        Raises:
            ArgumentError: a candidate graph has a task with more parents.
        """
        for graph in self.candidates:
            if (most := max(map(len, graph.parents))) > max_parents:
                raise ArgumentError("book.codebook", f"a task with {most} parents", f"at most {max_parents}")
        if self.wanted is not None:
            self.wanted.require_parents(max_parents)

    @cached_property
    def codebook_pairs(self) -> tuple[Pair, ...]:
        """The pairs that the candidate graphs use: all that a choice among them needs scored."""
        return pairs_of(self.candidates)

    def whole(self, setting: str, level: int) -> TaskGraph | None:
        """The graph that a setting has for all images at an integer quality; None if it chooses per image."""
        whole = {"fixed": self.fixed, "fixed-mode": self.fixed_mode, "chain": self.chain}
        if setting in whole:
            return whole[setting][level]
        return TaskGraph.independent(len(self.fixed[0].parents)) if setting == "independent" else None

    def cheapest(
        self, costs: NDArray[np.floating[Any]], level: int | Sequence[int], elements: float = 1,
        pairs: tuple[Pair, ...] | None = None,
    ) -> list[TaskGraph]:  # fmt: skip
        """Each image's cheapest candidate graph by costs of all pairs (B, P), the graphs' cost corrections included.

        Args:
            costs: bits per feature element, or bits where `elements` says of how many feature elements.
            level: the integer quality, or that of each task, over which the mean of cost corrections is taken.
            elements: of a tensor, in the mean over tensors.
            pairs: what the columns of `costs` are; all by default.
        """
        correction = self._correction_at(level) * elements
        chosen = search.cheapest_candidates(costs, self.candidates, pairs, correction=correction)
        return [self.candidates[index] for index in chosen.tolist()]

    def estimates(
        self, costs: NDArray[np.floating[Any]], level: int | Sequence[int], elements: float = 1
    ) -> NDArray[np.float64]:
        """What :meth:`cheapest` compares, by candidate graph and image, (M, B), in the unit of `costs`."""
        correction = self._correction_at(level)[:, None] * elements
        return graph_costs(costs, self.candidates) + correction

    def _correction_at(self, level: int | Sequence[int]) -> NDArray[np.float64]:
        levels = np.atleast_1d(level)
        return self.correction[levels].sum(0) / len(levels)

    def to_json(self) -> dict[str, Any]:
        """Plain values for the weights' header."""
        wanted = {} if self.wanted is None else {"wanted": self.wanted.to_json()}
        return wanted | {
            "fixed": plain_graphs(self.fixed),
            "fixed_mode": plain_graphs(self.fixed_mode),
            "chain": plain_graphs(self.chain),
            "codebook": plain_graphs(self.candidates),
            "listed": plain_graphs(self.listed),
            "distortion": np.round(self.distortion, 6).tolist(),
            "bits_per_error": np.round(self.bits_per_error, 6).tolist(),
            "surcharge": np.round(self.correction, 9).tolist(),
        }

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> GraphTables:
        """The inverse of :meth:`to_json`; graphs are validated as they are built."""
        candidates = graphs_of(values["codebook"])
        # Weights older than cost corrections were made for a choice without them.
        correction = values.get("surcharge", np.zeros((MAX_QUALITY + 1, len(candidates))))
        return cls(
            graphs_of(values["fixed"]), graphs_of(values["fixed_mode"]), graphs_of(values["chain"]), candidates,
            graphs_of(values["listed"]), np.array(values["distortion"], np.float64),
            np.array(values["bits_per_error"], np.float64), np.array(correction, np.float64),
            WantedGraphs.from_json(values["wanted"]) if "wanted" in values else None,
        )  # fmt: skip
