"""Objectives: what decoded features are for, and what it costs where they are not as they were."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Protocol, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from atdc.errors import ArgumentError


class Objective(Protocol):
    """What decoded features are for: a loss of each task, 0 for uncompressed features and about 1 for channel means.

    It may have an attribute ``identity``, a text: a run resumes with an objective of the same one, or else of the same
    class.
    """

    def targets(self, indices: NDArray[np.int64], tasks: Sequence[int]) -> Mapping[str, Tensor]:
        """Whatever :meth:`loss` compares with, of some samples: their numbers in the data set that is fitted to, or in
        that of validation where it is another one."""
        ...

    def loss(self, task: int, decoded: Tensor, targets: Mapping[str, Tensor]) -> Tensor:
        """Of each image, (n,), from the task's decoded raw features (n, C, h, w); differentiable. NaN where there is
        nothing to compare with, such as no label: that image does not count."""
        ...


class JointObjective(Objective, Protocol):
    """An objective of several tensors together, as where a network's answer takes all levels of a pyramid."""

    def joint_losses(
        self, tasks: Sequence[int], decoded: Mapping[int, Tensor], targets: Mapping[str, Tensor]
    ) -> Mapping[int, Tensor]:
        """Losses of tasks, (n,) each, from the decoded raw features (n, C, h, w) of all that are there."""
        ...


class SensitiveObjective(Objective, Protocol):
    """An objective that says how much errors of features matter to it, before anything is trained."""

    def sensitivities(self) -> Mapping[str, NDArray[np.float64]]:
        """By tensor, a positive semidefinite matrix (4C, 4C) for errors of a block of 2×2 positions of raw features,
        channel by channel, row by row; scaled like squared errors in units of standard deviations. Tensors may be left
        out."""
        ...


class AnchoredObjective(Objective, Protocol):
    """An objective that says how much errors of features count next to its losses."""

    def anchors(self) -> Mapping[str, float]:
        """By tensor, relative to the recipe's weight of features; 1 for those that are left out."""
        ...


def losses_of(
    objective: Objective, tasks: Sequence[int], decoded: Mapping[int, Tensor], targets: Mapping[str, Tensor]
) -> Mapping[int, Tensor]:
    """Losses of those tasks whose features are there: together, if the objective is a :class:`JointObjective`.

    Where a loss is not a number, no gradient goes back to what was decoded of that image.

    Raises:
        ArgumentError: what an objective gives is no loss of each image, or of another task.
    """
    decoded_tasks = [task for task in tasks if task in decoded]
    if hasattr(objective, "joint_losses"):
        losses: Any = cast(JointObjective, objective).joint_losses(decoded_tasks, decoded, targets)
        if not isinstance(losses, Mapping) or not set(losses) <= set(decoded):
            form = f"joint_losses of {sorted(losses, key=str)}" if isinstance(losses, Mapping) else f"{losses!r:.80}"
            raise ArgumentError("objective", form, f"a mapping of some of the tasks {sorted(decoded)} to losses")
    else:
        losses = {task: objective.loss(task, decoded[task], targets) for task in decoded_tasks}
    for task, loss in losses.items():
        count = len(decoded[task])
        if not isinstance(loss, Tensor) or loss.shape != (count,) or not loss.is_floating_point():
            form = f"{loss.dtype} of shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else type(loss).__name__
            expected = f"a tensor of floats, ({count},): one an image"
            raise ArgumentError(f"objective, loss of task {task}", form, expected)
    if losses:
        mask = torch.stack([loss.detach().isnan() for loss in losses.values()]).any(0)
        if bool(mask.any()):
            for value in decoded.values():
                if value.requires_grad:
                    value.register_hook(partial(_of_known, mask))  # type: ignore[no-untyped-call]
    return dict(losses)


def _of_known(mask: Tensor, gradient: Tensor) -> Tensor:
    """The gradient of decoded features (n, C, h, w), 0 where a loss that is not a number has made it none: 0 times the
    derivative of what is not a number is none either, and one such image would take the step of all."""
    return torch.where(mask.to(gradient.device)[:, None, None, None] & gradient.isnan(), 0, gradient)
