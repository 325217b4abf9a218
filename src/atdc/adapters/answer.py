"""What a network says at its end: which tensors, how training and reports compare it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atdc.adapters.distances import UNREPORTED
from atdc.config import settle_types
from atdc.errors import ArgumentError, NetworkError

Array = NDArray[Any]
RgbImage = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a network says at its end, and how a difference of it is measured.

    Raises:
        ArgumentError: a weight that is no number from 0, names that are no texts, or several tensors without a function
            of them.

    >>> Answer(tensors=("boxes", "scores"), function="mine.py:found", loss="none").outputs
    ('boxes', 'scores')
    """

    tensor: str = ""
    """The output, or any tensor of the second half."""
    loss_on: str = ""
    """The tensor that training compares, ahead of ArgMax, TopK and resizing; by default the answer itself."""
    loss: str = "l1"
    """`kl` for logits (classes along axis 1), `l1`, `l2`, `none`, or `file.py:function` of (before, after) -> (n,)."""
    metric: str = "relative"
    """Of the answer after against before, 1 where nothing has changed; see :mod:`atdc.adapters.distances`. `none`:
    training alone compares it."""
    weight: float = 1.0
    tensors: tuple[str, ...] = ()
    """Several, instead of one, which `function` makes the answer of."""
    function: str = ""
    """`file.py:function` or `module:function` of these arrays, with a batch of one, to an array."""
    drawing: str = ""
    """Likewise, of the image (H, W, 3), the answer before and an answer, to a picture of that answer, (h, w, 3) bytes;
    by default a page shows it by its form."""

    def __post_init__(self) -> None:
        """Checks every value, and what belongs together."""
        settle_types(self, "answer")
        if not 0 <= self.weight < np.inf:
            raise ArgumentError("answer.weight", repr(self.weight), "a number from 0")
        names: tuple[Any, ...] = self.tensors
        for name in names:
            if not isinstance(name, str):
                raise ArgumentError("answer.tensors", repr(name), "a name", "Write it in quotes.")
        if bool(self.tensors) != bool(self.function) or (self.tensor and self.tensors):
            problem = f"tensor {self.tensor!r}, tensors {list(self.tensors)}, function {self.function!r}"
            raise ArgumentError("answer", problem, "a tensor, or tensors with a function of them")

    @property
    def outputs(self) -> tuple[str, ...]:
        """The tensors that the answer is, or is made of."""
        return self.tensors or ((self.tensor,) if self.tensor else ())

    @property
    def compared(self) -> str:
        """The tensor that training compares."""
        return self.loss_on or self.tensor

    @property
    def is_reported(self) -> bool:
        """Whether it is what somebody wants to know, and not only trained on."""
        return self.metric != UNREPORTED


def usable_answers(name: str, answers: Mapping[str, Answer] | None, outputs: Iterable[str]) -> dict[str, Answer]:
    """Answers by name; of none, all outputs.

    Raises:
        ArgumentError: what is no answer; an answer, or its loss, without a tensor; no answer that is reported.
        NetworkError: no outputs.
    """
    if answers is not None and not isinstance(answers, Mapping):
        raise ArgumentError(f"{name}, answers", repr(answers), "a mapping of names to Answer")
    answers = dict(answers or {}) or {output: Answer(output) for output in outputs}
    if not answers:
        raise NetworkError(name, "no tensor among its outputs", "one at least", "Let the network return its answers.")
    pairs: Iterable[tuple[Any, Any]] = answers.items()
    for key, answer in pairs:
        if not isinstance(key, str) or not isinstance(answer, Answer):
            raise ArgumentError(f"{name}, answers, {key}", repr(answer), "an Answer, by a name that is text")
        if answer.is_reported and not answer.outputs:
            raise ArgumentError(f"{name}, answers, {key}", "no tensor", "its tensor's name")
        if answer.loss != "none" and not answer.compared:
            raise ArgumentError(f"{name}, answers, {key}", "a loss without a tensor", "the name of one, as loss_on")
    if not any(answer.is_reported for answer in answers.values()):
        raise ArgumentError(f"{name}, answers", "none with a metric", "one at least that is reported")
    return answers
