"""What a task is: one row of words and numbers. What the words mean is looked up where it is done.

A row holds words, registries hold functions. Each column of words has its registry, next to what uses it:

==================  ========================================================================================
column              registry
==================  ========================================================================================
``target``          :data:`atdc.data.targets.TARGET_FORMS`: a stored target's layout and decoding
``loss``            :data:`atdc.training.losses.LOSSES`
``measure``         :data:`atdc.metrics.tasks.MEASURE_KINDS`; :mod:`atdc.report.ground_truth` says it in words
``presentation``    :data:`atdc.tasks.answers.ANSWER_FORMS`; :mod:`atdc.report.answer_images` draws it,
                    :mod:`atdc.report.page` compares two
``formula``         :data:`atdc.data.rooms.targets.FORMULAS`
==================  ========================================================================================

So a further task that does with known words is one more row, and its data; no other code knows a task by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, TypeVar, get_args

from atdc.errors import ArgumentError

Loss: TypeAlias = Literal["cross_entropy", "l1", "mse"]
TargetKind: TypeAlias = Literal["classes", "share", "unit_vectors", "depth", "image"]
MeasureKind: TypeAlias = Literal["confusion", "absolute", "angle", "relative_depth", "psnr"]
Presentation: TypeAlias = Literal["classes", "share", "unit_vectors", "metres", "image"]
Formula: TypeAlias = Literal["keypoints", "edges"]
Better: TypeAlias = Literal["higher", "lower"]

_CHANNELS: dict[str, int] = {"share": 1, "unit_vectors": 3, "metres": 1, "image": 3}
"""Of a head's output, by presentation; classes have as many as there are classes."""

K = TypeVar("K")
V = TypeVar("V")


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One task: a name, a letter, and everything that differs between tasks.

    Attributes:
        name: Taskonomy's domain name, used in files, options and result tables.
        letter: one-letter code used in graph images, ``n→d``.
        title: words for people.
        short_title: words that fit into a box of the graph.
        out_channels: channels of the head's output.
        target: how the ground truth is stored, and what it decodes to.
        loss: training loss on the head's output against the decoded target.
        measure: how answers are measured against targets.
        error: the error ``e_i`` of the evaluation tables; lower is better for every task.
        metric: the figure people know, shown next to the error.
        better: whether a higher or a lower metric is better.
        presentation: how the head's output becomes the answer that a user gets, and how that is drawn.
        scaling: how the head's output relates to the physical quantity.
        source: where the definition comes from.
        needs_scene: it takes an understanding of the scene, not of a pixel's surroundings alone: it learns longest.
        formula: by which the target follows from the image itself; None where it has to be measured.

    Raises:
        ArgumentError: a word that no registry knows, a letter that is none, channels that do not fit.

    >>> from atdc.tasks import TASKS
    >>> [task.letter for task in TASKS]
    ['s', 'k', 't', 'n', 'd', 'a']
    """

    name: str
    letter: str
    title: str
    short_title: str
    out_channels: int
    target: TargetKind
    loss: Loss
    measure: MeasureKind
    error: str
    metric: str
    better: Better
    presentation: Presentation
    scaling: str
    source: str
    needs_scene: bool = False
    formula: Formula | None = None

    def __post_init__(self) -> None:
        """Refuses a row that could not be trained, measured or shown."""
        columns = {
            "target": TargetKind, "loss": Loss, "measure": MeasureKind, "presentation": Presentation, "better": Better,
        }  # fmt: skip
        if self.formula is not None:
            columns["formula"] = Formula
        for column, words in columns.items():
            if getattr(self, column) not in get_args(words):
                value, choices = repr(getattr(self, column)), ", ".join(get_args(words))
                raise ArgumentError(f"task {self.name}: {column}", value, f"one of {choices}", "Or teach its registry.")
        if len(self.letter) != 1:
            raise ArgumentError(f"task {self.name}: letter", repr(self.letter), "one letter")
        channels = _CHANNELS.get(self.presentation, self.out_channels)
        if self.out_channels < 1 or self.out_channels != channels:
            expected = f"{channels} for answers shown as {self.presentation}" if channels > 0 else "at least 1"
            raise ArgumentError(f"task {self.name}: out_channels", str(self.out_channels), expected)
        if (self.loss == "cross_entropy") != (self.target == "classes"):
            value = f"{self.loss} against {self.target}"
            raise ArgumentError(f"task {self.name}: loss", value, "cross_entropy against classes, and only there")

    @property
    def reads(self) -> str:
        """The feature tensor that the head reads: that of the task's own encoder, which has the task's name."""
        return self.name

    @property
    def answer_channels(self) -> int | None:
        """Of an answer (H, W, channels); None where it is (H, W)."""
        return self.out_channels if self.presentation in ("unit_vectors", "image") else None


def registry(words: Any, functions: Mapping[K, V]) -> dict[K, V]:
    """What is done for each word of a column, once it is seen to be all of them.

    Args:
        words: the column's ``Literal``.
        functions: by word.

    Raises:
        ArgumentError: a word is missing, or is none of the column's.

    >>> registry(Literal["a", "b"], {"a": min})
    Traceback (most recent call last):
    atdc.errors.ArgumentError: registry: found a; expected one entry for each of a, b.
    """
    if set(functions) != set(get_args(words)):
        entries, expected = (", ".join(map(str, keys)) for keys in (functions, get_args(words)))
        raise ArgumentError("registry", entries, f"one entry for each of {expected}")
    return dict(functions)
