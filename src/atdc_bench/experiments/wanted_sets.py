"""Which answers are wanted: sets of tasks, by their letters, and what of a codec is sent for each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from torch import Tensor

from atdc.codec import DEFAULT_GRAPH, FeatureCodec
from atdc.graph import search
from atdc.graph.task_graph import TaskGraph
from atdc.metrics.tasks import FloatArray
from atdc.reader import within_model
from atdc.tasks import BY_NAME, IMAGE_TASK, LETTERS
from atdc_bench.baselines.subset_files import Sent

_IMAGE_LETTER = BY_NAME[IMAGE_TASK].letter

NAMED: dict[str, str] = {
    "s": "segments", "nd": "normals, depth", "snd": "segments, normals, depth",
    LETTERS.replace(_IMAGE_LETTER, ""): "the five analysis tasks", LETTERS: "all six",
}  # fmt: skip
"""Sets with a name, by letters in task order."""


def subsets() -> tuple[str, ...]:
    """All non-empty sets, by size.

    >>> len(subsets()), subsets()[0], subsets()[-1]
    (63, 's', 'sktnda')
    """
    sizes = range(1, len(LETTERS) + 1)
    return tuple(
        "".join(LETTERS[task] for task in row) for size in sizes for row in combinations(range(len(LETTERS)), size)
    )


def tasks_of(letters: str) -> tuple[int, ...]:
    """The task indices of a set.

    >>> tasks_of("nd")
    (3, 4)
    """
    return tuple(LETTERS.index(letter) for letter in letters)


@dataclass(frozen=True)
class Choice:
    """What arms choose by, of some pictures at one quality.

    Attributes:
        codec: codes them.
        features: raw, (B, T, C, h, w).
        quality: of all tensors.
        of_subsets: by letters, what is sent of every picture where a set has one graph (:func:`best_of_subsets`).
    """

    codec: FeatureCodec
    features: Tensor
    quality: float
    of_subsets: Mapping[str, Sent]

    @property
    def fixed(self) -> TaskGraph:
        """The weights' one graph of all tensors."""
        return self.codec.choose_graphs(self.features[:1], self.quality, "fixed")[0]

    def of_each(self, letters: str) -> list[Sent]:
        """The default setting's graph over the set, picture by picture."""
        tasks = tasks_of(letters)
        parts = [part if task in tasks else None for task, part in enumerate(self.features.unbind(1))]
        graphs = self.codec.choose_graphs(parts, self.quality, DEFAULT_GRAPH)
        return [Sent.along(graph, tasks) for graph in graphs]

    def everywhere(self, sent: Sent) -> list[Sent]:
        """The same of every picture."""
        return [sent] * len(self.features)


@dataclass(frozen=True)
class Arm:
    """A way to send a set with one any-graph codec.

    Attributes:
        title: what tables call it.
        sent: from what it chooses by and a set's letters, what is sent of each picture.
    """

    title: str
    sent: Callable[[Choice, str], list[Sent]]


def _with_ancestors(choice: Choice, letters: str) -> list[Sent]:
    graph = choice.fixed
    return choice.everywhere(Sent.along(graph, graph.closure(tasks_of(letters))))


def _alone(choice: Choice, letters: str) -> list[Sent]:
    return choice.everywhere(Sent.along(search.independent(choice.codec.task_count), tasks_of(letters)))


ARMS: dict[str, Arm] = {
    "own": Arm("own graph of each picture", lambda choice, letters: choice.of_each(letters)),
    "own-fixed": Arm("own graph of the set", lambda choice, letters: choice.everywhere(choice.of_subsets[letters])),
    "ancestors": Arm("fixed graph, ancestors sent", _with_ancestors),
    "dropped": Arm(
        "fixed graph, missing parents dropped",
        lambda choice, letters: choice.everywhere(Sent.along(choice.fixed, tasks_of(letters))),
    ),
    "independent": Arm("independent", _alone),
}
"""By key, the ways to send a set. What is sent is all that differs."""


def best_of_subsets(codec: FeatureCodec, bits: FloatArray, costs: FloatArray, sets: Sequence[str]) -> dict[str, Sent]:
    """The one graph of each set that costs least on average, with tensors that nobody asked for where they pay:

        best(W) = min over U ⊇ W of min over graphs on U of sum over W of (R + w D) + sum over U without W of R

    Args:
        codec: whose tensors these are.
        bits: of each pair (child, parent set), the mean over pictures of what it takes, (P,); see
            :meth:`~atdc.codec.FeatureCodec.pair_costs`.
        costs: likewise with its error, ``R + w D``, (P,).
        sets: by letters.
    """
    limit, count = codec.config.max_parents, codec.task_count
    wanted = {letters: tasks_of(letters) for letters in sets}
    best: dict[str, tuple[float, Sent]] = {}
    for size in range(1, count + 1):
        for present in combinations(range(count), size):
            columns = [
                place for place, (child, parents) in enumerate(codec.pairs)
                if child in present and set(parents) <= set(present)
            ]  # fmt: skip
            children = np.array([codec.pairs[place][0] for place in columns])
            inside = [letters for letters, tasks in wanted.items() if set(tasks) <= set(present)]
            if not inside:
                continue
            rows = np.stack([
                np.where(np.isin(children, wanted[letters]), costs[columns], bits[columns]) for letters in inside
            ])  # fmt: skip
            graphs = search.exact_batch(rows, size, limit)
            for letters, row, graph in zip(inside, rows, graphs, strict=True):
                cost = search.ScoreTable.of(size, row, limit).graph_bits(graph)
                if letters not in best or cost < best[letters][0]:
                    best[letters] = cost, Sent(within_model(graph, present, count), present)
    return {letters: sent for letters, (_, sent) in best.items()}
