"""Training losses of the tasks, one number per image."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from atdc.data.targets import TARGET_FORMS
from atdc.tasks import IGNORE_CLASS, Task
from atdc.tasks.task import Loss, registry


def every_fourth_pixel(task: Task, output: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """One pixel of each 2×2 at a random phase where the loss is a cross-entropy, the costliest of the losses: an
    unbiased sample of it. Other tasks' tensors are returned as they are."""
    if task.loss != "cross_entropy":
        return output, target
    row, column = (int(phase) for phase in torch.randint(2, (2,)))
    return output[..., row::2, column::2], target[..., row::2, column::2]


def loss_gap(bounds: Tensor) -> Tensor:
    """``L_0 − L_∞`` of each task, (T,): what a normalised loss is divided by.

    Args:
        bounds: losses of heads fed channel means, and of uncompressed features, (2, T).

    The gap is never taken below a twentieth of ``L_0``, so that a head that learned nothing does not rule the mean.

    >>> loss_gap(torch.tensor([[2.0, 1.0], [0.5, 1.0]])).tolist()
    [1.5, 0.05000000074505806]
    """
    return torch.maximum(bounds[0] - bounds[1], 0.05 * bounds[0])


def task_loss(task: Task, output: Tensor, target: Tensor, class_weights: Tensor | None = None) -> Tensor:
    """Mean loss over an image's measured pixels, (B,); 0 for an image without any.

    Args:
        task: which loss; cross-entropy ignores class 255, normals are compared at unit length, depth in ln metres.
        output: raw head output (B, out_channels, H, W).
        target: decoded target (B, C, H, W), see :mod:`atdc.data.targets`; says itself where nothing was measured.
        class_weights: weight of each class in the cross-entropy; all alike if None.
    """
    form = TARGET_FORMS[task.target]
    return LOSSES[task.loss](form.comparable(output.float()), target, form.measured(target), class_weights)


def _cross_entropy(output: Tensor, target: Tensor, valid: Tensor | None, weights: Tensor | None) -> Tensor:
    assert valid is not None
    loss = F.cross_entropy(output, target[:, 0], weights, ignore_index=IGNORE_CLASS, reduction="none")
    return loss.sum((1, 2)) / valid.sum((1, 2, 3)).clamp(min=1)


def _l1(output: Tensor, target: Tensor, valid: Tensor | None, weights: Tensor | None) -> Tensor:
    return _mean_of(torch.abs, output - target, valid)


def _mse(output: Tensor, target: Tensor, valid: Tensor | None, weights: Tensor | None) -> Tensor:
    return _mean_of(torch.square, output - target, valid)


def _mean_of(size: Callable[[Tensor], Tensor], difference: Tensor, valid: Tensor | None) -> Tensor:
    share: Tensor | float = 1.0
    if valid is not None:
        # Selected, not multiplied: what is left out may be NaN. With every pixel measured, the result is the same to
        # the last bit as without this.
        difference = torch.where(valid, difference, 0.0)
        share = valid.sum((1, 2, 3)).clamp(min=1) / valid[0].numel()
    return size(difference).mean((1, 2, 3)) / share


LOSSES: dict[Loss, Callable[[Tensor, Tensor, Tensor | None, Tensor | None], Tensor]] = registry(
    Loss, {"cross_entropy": _cross_entropy, "l1": _l1, "mse": _mse}
)
"""By a row's ``loss``: of each image, from the comparable output, the decoded target, its measured
pixels, and class weights."""
