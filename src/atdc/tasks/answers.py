"""Answers: what a user gets of a head's output, and the way back for measuring, by a row's ``presentation``.

================  ===========================  =====================================
presentation      head's output (C, H, W)      answer
================  ===========================  =====================================
classes           logits                       class ids, uint8 (H, W)
share             values                       in [0, 1], float32 (H, W)
unit_vectors      vectors                      of unit length, float32 (H, W, 3)
metres            natural logarithm of metres  metres, float32 (H, W)
image             values                       in [0, 1], float32 (H, W, 3)
================  ===========================  =====================================
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, final

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from atdc.tasks import task_named
from atdc.tasks.task import Presentation, registry
from atdc.tasks.taskonomy import CLASSES


class AnswerForm(ABC):
    """The form of one kind of answer."""

    @abstractmethod
    def presented(self, values: Tensor) -> Tensor:
        """A raw head output (C, H, W) as an answer."""

    @abstractmethod
    def of_target(self, target: NDArray[np.generic]) -> NDArray[np.generic]:
        """A decoded target (C, H, W) in the form of answers."""

    @abstractmethod
    def as_target(self, answer: NDArray[np.generic]) -> Tensor:
        """The reverse: an answer, or ground truth in the form of one, as a decoded target (1, C, H, W)."""

    def as_output(self, answer: NDArray[np.generic]) -> Tensor:
        """A raw head output (1, C, H, W) that is presented as this answer."""
        return self.as_target(answer)


@final
class _Classes(AnswerForm):
    def presented(self, values: Tensor) -> Tensor:
        return values.argmax(0).to(torch.uint8)

    def of_target(self, target: NDArray[np.generic]) -> NDArray[np.generic]:
        return target[0].astype(np.uint8)

    def as_target(self, answer: NDArray[np.generic]) -> Tensor:
        return torch.from_numpy(answer.astype(np.int64))[None, None]

    def as_output(self, answer: NDArray[np.generic]) -> Tensor:
        classes = torch.from_numpy(answer.astype(np.int64))
        return F.one_hot(classes, len(CLASSES)).permute(2, 0, 1)[None].float()


@final
class _Share(AnswerForm):
    def presented(self, values: Tensor) -> Tensor:
        return values[0].clamp(0, 1)

    def of_target(self, target: NDArray[np.generic]) -> NDArray[np.generic]:
        return target[0]

    def as_target(self, answer: NDArray[np.generic]) -> Tensor:
        return _floats(answer)[None, None]


@final
class _Metres(AnswerForm):
    def presented(self, values: Tensor) -> Tensor:
        return values[0].exp()

    def of_target(self, target: NDArray[np.generic]) -> NDArray[np.generic]:
        return np.exp(target[0])

    def as_target(self, answer: NDArray[np.generic]) -> Tensor:
        return _floats(answer).log()[None, None]


class _ChannelsLast(AnswerForm):
    def of_target(self, target: NDArray[np.generic]) -> NDArray[np.generic]:
        return target.transpose(1, 2, 0)

    def as_target(self, answer: NDArray[np.generic]) -> Tensor:
        return _floats(answer).permute(2, 0, 1)[None]


@final
class _UnitVectors(_ChannelsLast):
    def presented(self, values: Tensor) -> Tensor:
        return F.normalize(values, dim=0).permute(1, 2, 0).contiguous()


@final
class _Image(_ChannelsLast):
    def presented(self, values: Tensor) -> Tensor:
        return values.clamp(0, 1).permute(1, 2, 0).contiguous()


def _floats(answer: NDArray[np.generic]) -> Tensor:
    return torch.from_numpy(answer.astype(np.float32))


ANSWER_FORMS: dict[Presentation, AnswerForm] = registry(
    Presentation,
    {
        "classes": _Classes(), "share": _Share(), "unit_vectors": _UnitVectors(), "metres": _Metres(),
        "image": _Image(),
    },
)  # fmt: skip
"""By a row's ``presentation``."""


def answer_form(task: str) -> AnswerForm:
    """The form of a task's answers.

    Raises:
        ArgumentError: an unknown task.
    """
    return ANSWER_FORMS[task_named(task).presentation]


def presented(task: str, output: Tensor) -> NDArray[Any]:
    """A raw head output (1, C, H, W) as what a user gets: see the module's table.

    Raises:
        ArgumentError: an unknown task.

    >>> presented("depth_zbuffer", torch.zeros(1, 1, 1, 2)).tolist()
    [[1.0, 1.0]]
    """
    return answer_form(task).presented(output[0].float()).cpu().numpy()
