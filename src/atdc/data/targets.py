"""Stored targets (compact integers) to the scale in which heads answer, by a row's ``target``.

================  ========  ========================================  ==========================  ===================
target            dtype     decoded                                   not measured, stored        decoded
================  ========  ========================================  ==========================  ===================
classes           uint8     class index, long                         255                         255
share             uint8     v / 255
unit_vectors      uint8     2 v / 255 - 1, then unit length           128, 128, 128 (no length)   0, 0, 0
depth             uint16    ln(v / 512), natural logarithm of metres  0                           NaN
image             uint8     v / 255
================  ========  ========================================  ==========================  ===================

A pixel without measurement takes no part in losses (:mod:`atdc.training.losses`) and metrics
(:mod:`atdc.metrics.tasks`). No measured pixel looks like one: a unit vector decodes to a length above 0.98, and
depth is never zero. Rooms measure every pixel.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, final

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from atdc.data.labelled import IMAGE
from atdc.tasks import IGNORE_CLASS, TASKS, task_named
from atdc.tasks.task import TargetKind, registry

DEPTH_UNITS_PER_METRE = 512
"""Taskonomy's unit of stored depth."""

NO_DEPTH = 0
"""Stored depth of a pixel that was not measured."""
NO_NORMAL = 128
"""Each channel of a stored normal that was not measured: a vector of almost no length."""
_SHORTEST_NORMAL = 0.5


class TargetForm(ABC):
    """How one kind of target is stored, and what becomes of it.

    Attributes:
        dtype: of stored values.
        one_channel: stored in one channel, however many the head answers with.
        nothing: decoded value where nothing was measured; None where all pixels always are.
    """

    dtype: ClassVar[type[np.generic]] = np.uint8
    one_channel: ClassVar[bool] = False
    nothing: ClassVar[float | None] = None

    @abstractmethod
    def decode(self, stored: NDArray[np.integer]) -> Tensor:
        """Stored (B, C, H, W) as the losses compare it."""

    def comparable(self, output: Tensor) -> Tensor:
        """A raw head output (B, C, H, W) as it is compared with a decoded target."""
        return output

    def measured(self, target: Tensor) -> Tensor | None:
        """Which pixels of a decoded target take part: bool (B, 1, H, W), or None where all of them always do."""
        return None

    def flip(self, stored: NDArray[np.integer]) -> NDArray[np.integer]:
        """Mirrored left to right."""
        return stored[..., ::-1]

    def zoom(self, part: Tensor, size: tuple[int, int], share: float) -> Tensor:
        """A stored cut-out (1, C, h, w), ``share`` of the image's side, enlarged to the whole; not interpolated."""
        return F.interpolate(part.double(), size, mode="nearest").to(part.dtype)


@final
class _Classes(TargetForm):
    one_channel = True
    nothing = float(IGNORE_CLASS)

    def decode(self, stored: NDArray[np.integer]) -> Tensor:
        return torch.from_numpy(stored.astype(np.int64))

    def measured(self, target: Tensor) -> Tensor:
        return target != IGNORE_CLASS


@final
class _Share(TargetForm):
    def decode(self, stored: NDArray[np.integer]) -> Tensor:
        return _of_one(stored)


@final
class _UnitVectors(TargetForm):
    nothing = 0.0

    def decode(self, stored: NDArray[np.integer]) -> Tensor:
        vectors = _of_one(stored).mul_(2).sub_(1)
        x, y, z = vectors.unbind(1)  # norms over a dimension that is not the last are ten times slower
        length = (x * x + y * y + z * z).sqrt_()
        return vectors.div_(torch.where(length < _SHORTEST_NORMAL, torch.inf, length)[:, None])

    def comparable(self, output: Tensor) -> Tensor:
        """At unit length."""
        return F.normalize(output, dim=1)

    def measured(self, target: Tensor) -> Tensor:
        return target.square().sum(1, keepdim=True) > _SHORTEST_NORMAL**2

    def flip(self, stored: NDArray[np.integer]) -> NDArray[np.integer]:
        """The x component changes sign."""
        flipped = stored[..., ::-1].copy()
        flipped[:, 0] = 255 - flipped[:, 0]
        return flipped


@final
class _Depth(TargetForm):
    dtype = np.uint16
    nothing = float("nan")

    def decode(self, stored: NDArray[np.integer]) -> Tensor:
        ln_metres = np.log(np.maximum(stored, 1).astype(np.float32) / DEPTH_UNITS_PER_METRE)
        return torch.from_numpy(np.where(stored == NO_DEPTH, np.float32(np.nan), ln_metres))

    def measured(self, target: Tensor) -> Tensor:
        return torch.isfinite(target)

    def zoom(self, part: Tensor, size: tuple[int, int], share: float) -> Tensor:
        """What is seen enlarged looks nearer, and is said to be."""
        whole = F.interpolate(part.double(), size, mode="nearest")
        closer = (whole * share).round().clamp(min=1)
        return torch.where(whole == NO_DEPTH, float(NO_DEPTH), closer).to(part.dtype)


@final
class _Image(TargetForm):
    def decode(self, stored: NDArray[np.integer]) -> Tensor:
        return _of_one(stored)

    def zoom(self, part: Tensor, size: tuple[int, int], share: float) -> Tensor:
        """Interpolated."""
        smooth = F.interpolate(part.float(), size, mode="bilinear", align_corners=False)
        return smooth.round().to(torch.uint8)


def _of_one(stored: NDArray[np.integer]) -> Tensor:
    return torch.from_numpy(stored.astype(np.float32)).div_(255)


TARGET_FORMS: dict[TargetKind, TargetForm] = registry(
    TargetKind,
    {"classes": _Classes(), "share": _Share(), "unit_vectors": _UnitVectors(), "depth": _Depth(), "image": _Image()},
)
"""By a row's ``target``."""

STORED_LAYOUT: dict[str, tuple[int, type[np.generic]]] = {
    task.name: (1 if form.one_channel else task.out_channels, form.dtype)
    for task in TASKS
    for form in [TARGET_FORMS[task.target]]
}
"""Channels and type of each task's stored target."""


def target_form(name: str) -> TargetForm:
    """The form of a stored target: a task's, or the image's own.

    Raises:
        ArgumentError: an unknown task.

    >>> target_form("depth_zbuffer").measured(torch.tensor([[[[0.7, float("nan")]]]])).tolist()
    [[[[True, False]]]]
    """
    return TARGET_FORMS["image" if name == IMAGE else task_named(name).target]


def decode_stored(task: str, stored: NDArray[np.integer] | Tensor) -> Tensor:
    """Target (B, C, H, W) as the losses compare it; the class map is long, all others float32.

    Where nothing was measured it is 255, NaN or the zero vector: see the module's table.

    Raises:
        ArgumentError: an unknown task.

    >>> round(decode_stored("depth_zbuffer", np.full((1, 1, 1, 1), 1024, np.uint16)).item(), 4)  # ln 2 metres
    0.6931
    """
    return target_form(task).decode(stored.numpy() if isinstance(stored, Tensor) else np.asarray(stored))
