"""Which answers are wanted: sets of tasks, by their letters, and what of a codec is sent for each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from torch import Tensor

from atdc.choice.graphs import choose
from atdc.codec import DEFAULT_GRAPH, FeatureCodec
from atdc.graph.subsets import best_superset, with_ancestors, without_missing
from atdc.graph.task_graph import TaskGraph
from atdc.metrics.tasks import FloatArray
from atdc.networks.batches import FeatureBatch
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
    """What arms choose by, of some images at one quality.

    Attributes:
        codec: codes them.
        batch: normalised features of all tensors.
        quality: of all tensors.
        of_subsets: by letters, what is sent of every image where a set has one graph (:func:`best_of_subsets`).
    """

    codec: FeatureCodec
    batch: FeatureBatch
    quality: float
    of_subsets: Mapping[str, Sent]

    @classmethod
    def of(cls, codec: FeatureCodec, features: Tensor, quality: float, of_subsets: Mapping[str, Sent]) -> Choice:
        """From raw features (B, T, C, h, w)."""
        return cls(codec, codec.normalise(features), quality, of_subsets)

    @property
    def fixed(self) -> TaskGraph:
        """The weights' one graph of all tensors."""
        return choose(self.codec.costs, self.batch, self.quality, "fixed")[0]

    def of_default(self, tasks: tuple[int, ...]) -> list[Sent]:
        """What the codec sends by itself when asked for these tasks, image by image, helpers included."""
        graphs = choose(self.codec.costs, self.batch, self.quality, DEFAULT_GRAPH, tasks)
        return [Sent(*with_ancestors(graph, tasks)) for graph in graphs]

    def everywhere(self, sent: Sent) -> list[Sent]:
        """The same of every image."""
        return [sent] * len(self.batch)


@dataclass(frozen=True)
class Arm:
    """A way to send a set with one any-graph codec.

    Attributes:
        title: what tables call it.
        sent: from what it chooses by and a set's letters, what is sent of each image.
    """

    title: str
    sent: Callable[[Choice, str], list[Sent]]


ARMS: dict[str, Arm] = {
    "own": Arm("own graph, by the default setting", lambda choice, letters: choice.of_default(tasks_of(letters))),
    "own-fixed": Arm(
        "one own graph of the set, by costs measured here",
        lambda choice, letters: choice.everywhere(choice.of_subsets[letters]),
    ),
    "ancestors": Arm(
        "fixed graph, ancestors sent",
        lambda choice, letters: choice.everywhere(Sent(*with_ancestors(choice.fixed, tasks_of(letters)))),
    ),
    "dropped": Arm(
        "fixed graph, missing parents dropped",
        lambda choice, letters: choice.everywhere(Sent(*without_missing(choice.fixed, tasks_of(letters)))),
    ),
    "independent": Arm(
        "independent",
        lambda choice, letters: choice.everywhere(
            Sent(*without_missing(TaskGraph.independent(choice.codec.task_count), tasks_of(letters)))
        ),
    ),
}
"""By key, the ways to send a set. What is sent is all that differs."""


def best_of_subsets(codec: FeatureCodec, rates: FloatArray, errors: FloatArray, sets: Sequence[str]) -> dict[str, Sent]:
    """The one graph of each set that costs least on average, with tensors that nobody asked for where they pay: see
    :func:`~atdc.graph.subsets.best_superset`.

    Args:
        codec: whose tensors these are.
        rates: of each pair (child, parent set), bits, the mean over images, (P,).
        errors: likewise ``w D``, bits.
        sets: by letters.
    """
    limit, count = codec.config.max_parents, codec.task_count
    supersets = {letters: best_superset(rates, errors, count, tasks_of(letters), limit) for letters in sets}
    return {letters: Sent(superset.graph, superset.tensors) for letters, superset in supersets.items()}
