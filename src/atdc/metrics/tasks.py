"""Task metrics from sums: every data-set figure is a function of one vector per image, added over images.

A bootstrap over images then needs no second look at a pixel: drawing images with repetition is a matrix product of
draw counts (resamples x images) with the vectors (images x columns), and each row of the product gives the figures of
one drawn data set. :class:`Measure` is that pair of functions, by a row's ``measure``:

==================  =============================================================  ==================================
measure             one image's vector                                             error ``e_i``
==================  =============================================================  ==================================
confusion           confusion counts, 14 x 14 (class 255 ignored)                  1 - mIoU
absolute            sum of absolute differences, pixels                            L1
angle               sum of angles, pixels, counts per whole degree                 mean angle (degrees)
relative_depth      sums of relative and squared differences, pixels within        AbsRel
                    1.25, 1.25², 1.25³, pixels
psnr                PSNR of the image, 1, squared differences, values, MS-SSIM     -PSNR (dB)
==================  =============================================================  ==================================

Pixels of all images count alike, except for PSNR and MS-SSIM, which are means of the images' own (the custom of learned
image coding; a data-set MSE would let the worst image speak for all). mIoU averages over the classes that occur in the
targets, so that two codecs on the same images average over the same classes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TypeAlias, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from atdc.metrics.ms_ssim import ms_ssim
from atdc.tasks import IGNORE_CLASS, TASKS, Task, task_named
from atdc.tasks.task import MeasureKind, registry

FloatArray: TypeAlias = NDArray[np.float64]

ANGLE_SHARES = (11.25, 22.5, 30.0)
"""Degrees within which the share of normals is reported (the usual three)."""
PSNR_LIMIT = 100.0
"""An image returned without any error would have infinite PSNR; it counts as this many dB."""


class Measure(ABC):
    """How one task is measured; see the module's table.

    Attributes:
        columns: the length of an image's vector.
    """

    columns: int

    @abstractmethod
    def statistics(self, output: Tensor, target: Tensor) -> FloatArray:
        """One vector per image, (B, columns).

        Args:
            output: raw head output (B, out_channels, H', W'); what exceeds the target's size (padding to the
                networks' stride) is cropped at the right and the bottom.
            target: decoded target (B, C, H, W), see :mod:`atdc.data.targets`.
        """

    @abstractmethod
    def metrics(self, sums: FloatArray) -> dict[str, FloatArray]:
        """Figures of data sets whose images' vectors add up to ``sums`` (..., columns), each (...)."""

    @abstractmethod
    def error(self, sums: FloatArray) -> FloatArray:
        """``e_i`` of the same data sets, (...); lower is better."""


def crop(output: Tensor, height: int, width: int) -> Tensor:
    """Cuts off what padding to the stride added, at the right and the bottom."""
    return output[..., :height, :width]


@final
class ConfusionMeasure(Measure):
    """Classes: counts of (true class, answered class), row by row."""

    def __init__(self, classes: int) -> None:
        self.classes = classes
        self.columns = classes * classes

    def statistics(self, output: Tensor, target: Tensor) -> FloatArray:
        """Confusion counts (B, classes²)."""
        labels = target[:, 0]
        answers = crop(output, *labels.shape[-2:]).argmax(1)
        image = torch.arange(len(labels)).view(-1, 1, 1)
        cell = (image * self.classes + labels) * self.classes + answers
        counts = torch.bincount(cell[labels != IGNORE_CLASS], minlength=len(labels) * self.columns)
        return counts.view(len(labels), self.columns).numpy().astype(np.float64)

    def metrics(self, sums: FloatArray) -> dict[str, FloatArray]:
        """``miou`` over the classes that occur in the targets, and ``pixel_accuracy``."""
        counts = sums.reshape(*sums.shape[:-1], self.classes, self.classes)
        true, answered = counts.sum(-1), counts.sum(-2)
        correct = np.diagonal(counts, axis1=-2, axis2=-1)
        occurs = true > 0
        iou = np.where(occurs, correct / np.maximum(true + answered - correct, 1), 0)
        return {
            "miou": iou.sum(-1) / np.maximum(occurs.sum(-1), 1),
            "pixel_accuracy": correct.sum(-1) / np.maximum(counts.sum((-2, -1)), 1),
        }

    def error(self, sums: FloatArray) -> FloatArray:
        """1 - mIoU."""
        return 1 - self.metrics(sums)["miou"]


@final
class AbsoluteMeasure(Measure):
    """Dense responses in [0, 1]: mean absolute difference (L1)."""

    columns = 2

    def statistics(self, output: Tensor, target: Tensor) -> FloatArray:
        """Sum of absolute differences, values; (B, 2)."""
        difference = (crop(output, *target.shape[-2:]) - target).abs().double()
        return _stack(difference.sum((1, 2, 3)), torch.full((len(target),), float(difference[0].numel())))

    def metrics(self, sums: FloatArray) -> dict[str, FloatArray]:
        """``l1``."""
        return {"l1": sums[..., 0] / np.maximum(sums[..., 1], 1)}

    def error(self, sums: FloatArray) -> FloatArray:
        """L1."""
        return self.metrics(sums)["l1"]


@final
class AngleMeasure(Measure):
    """Normals: the angle between answer and target; targets of length zero are left out, such answers count 90°."""

    bins = 180
    columns = 2 + len(ANGLE_SHARES) + bins

    def statistics(self, output: Tensor, target: Tensor) -> FloatArray:
        """Sum of angles (degrees), pixels, pixels within 11.25, 22.5 and 30, pixels per whole degree."""
        # atan2(|a x t|, a · t) needs no unit lengths and is accurate for small angles, where acos is not.
        ax, ay, az = crop(output, *target.shape[-2:]).float().unbind(1)
        tx, ty, tz = target.float().unbind(1)
        valid = tx * tx + ty * ty + tz * tz > 0.25
        cross = torch.sqrt((ay * tz - az * ty) ** 2 + (az * tx - ax * tz) ** 2 + (ax * ty - ay * tx) ** 2)
        degrees = torch.rad2deg(torch.atan2(cross, ax * tx + ay * ty + az * tz))
        degrees = torch.where(ax.abs() + ay.abs() + az.abs() > 0, degrees, 90.0)
        weight = valid.double()
        image = torch.arange(len(target)).view(-1, 1, 1)
        cell = image * self.bins + degrees.long().clamp_(max=self.bins - 1)
        counts = torch.bincount(cell[valid], minlength=len(target) * self.bins).view(len(target), self.bins)
        within = [((degrees < limit) * weight).sum((1, 2)) for limit in ANGLE_SHARES]
        first = _stack((degrees.double() * weight).sum((1, 2)), weight.sum((1, 2)), *within)
        return np.concatenate([first, counts.numpy().astype(np.float64)], axis=1)

    def metrics(self, sums: FloatArray) -> dict[str, FloatArray]:
        """``mean_degrees``, ``median_degrees`` (linear within its whole degree), ``within_11_25`` and so on."""
        pixels = np.maximum(sums[..., 1], 1)
        shares = {
            f"within_{str(limit).removesuffix('.0').replace('.', '_')}": sums[..., 2 + place] / pixels
            for place, limit in enumerate(ANGLE_SHARES)
        }
        counts = sums[..., 2 + len(ANGLE_SHARES) :]
        below = np.cumsum(counts, axis=-1)
        half = below[..., -1:] / 2
        place = np.argmax(below >= half, axis=-1)[..., None]
        count = np.take_along_axis(counts, place, -1)
        before = np.take_along_axis(below, place, -1) - count
        median = place + (half - before) / np.maximum(count, 1)
        return {"mean_degrees": sums[..., 0] / pixels, "median_degrees": median[..., 0], **shares}

    def error(self, sums: FloatArray) -> FloatArray:
        """Mean angle in degrees."""
        return sums[..., 0] / np.maximum(sums[..., 1], 1)


@final
class DepthMeasure(Measure):
    """Depth in metres, from answers and targets in ln metres; targets that are not finite are left out.

    "Within" is the usual share of pixels with ``max(d̂/d, d/d̂)`` below 1.25, 1.25² and 1.25³ (Eigen et al. 2014, arXiv
    1406.2283, section 4.1).
    """

    powers = (1, 2, 3)
    columns = 3 + len(powers)

    def statistics(self, output: Tensor, target: Tensor) -> FloatArray:
        """Sums of |d̂ - d| / d and of (d̂ - d)², pixels within 1.25, 1.25² and 1.25³, and pixels; (B, 6)."""
        valid = torch.isfinite(target)
        ground_truth = torch.where(valid, target, 0.0).double()
        answer = crop(output, *target.shape[-2:]).double()
        weight = valid.double()
        relative = (torch.expm1(answer - ground_truth)).abs()
        squared = torch.square(answer.exp() - ground_truth.exp())
        within = [((answer - ground_truth).abs() < power * float(np.log(1.25))).double() for power in self.powers]
        dims = (1, 2, 3)
        return _stack(*((value * weight).sum(dims) for value in (relative, squared, *within)), weight.sum(dims))

    def metrics(self, sums: FloatArray) -> dict[str, FloatArray]:
        """``abs_rel``, ``rmse_metres``, ``within_1_25``, ``within_1_25_squared``, ``within_1_25_cubed``."""
        pixels = np.maximum(sums[..., -1], 1)
        return {
            "abs_rel": sums[..., 0] / pixels,
            "rmse_metres": np.sqrt(sums[..., 1] / pixels),
            "within_1_25": sums[..., 2] / pixels,
            "within_1_25_squared": sums[..., 3] / pixels,
            "within_1_25_cubed": sums[..., 4] / pixels,
        }

    def error(self, sums: FloatArray) -> FloatArray:
        """AbsRel."""
        return self.metrics(sums)["abs_rel"]


@final
class ImageMeasure(Measure):
    """The image itself, answers clamped to [0, 1]: PSNR and MS-SSIM of each image, then the mean over images."""

    columns = 5

    def statistics(self, output: Tensor, target: Tensor) -> FloatArray:
        """PSNR (dB), 1, sum of squared differences, values, MS-SSIM; (B, 5)."""
        answer = crop(output, *target.shape[-2:]).clamp(0, 1)
        difference = (answer - target).double()
        squared = torch.square(difference).sum((1, 2, 3))
        values = float(difference[0].numel())
        psnr = (-10 * torch.log10(squared / values)).clamp(max=PSNR_LIMIT)
        ones = torch.ones(len(target))
        return _stack(psnr, ones, squared, values * ones, ms_ssim(answer, target))

    def metrics(self, sums: FloatArray) -> dict[str, FloatArray]:
        """``psnr_db`` and ``ms_ssim`` (means over images), ``mse`` (over all values)."""
        images = np.maximum(sums[..., 1], 1)
        return {
            "psnr_db": sums[..., 0] / images,
            "ms_ssim": sums[..., 4] / images,
            "mse": sums[..., 2] / np.maximum(sums[..., 3], 1),
        }

    def error(self, sums: FloatArray) -> FloatArray:
        """-PSNR (dB)."""
        return -self.metrics(sums)["psnr_db"]


MEASURE_KINDS: dict[MeasureKind, Callable[[Task], Measure]] = registry(
    MeasureKind,
    {
        "confusion": lambda task: ConfusionMeasure(task.out_channels), "absolute": lambda task: AbsoluteMeasure(),
        "angle": lambda task: AngleMeasure(), "relative_depth": lambda task: DepthMeasure(),
        "psnr": lambda task: ImageMeasure(),
    },
)  # fmt: skip
"""By a row's ``measure``."""

MEASURES: dict[str, Measure] = {task.name: MEASURE_KINDS[task.measure](task) for task in TASKS}
"""The measure of each task, in task order."""


def measure_of(task: str) -> Measure:
    """The task's measure.

    Raises:
        ArgumentError: an unknown task; the known ones are listed.
    """
    return MEASURES[task_named(task).name]


def utility(error: FloatArray, error_zero: FloatArray, error_uncompressed: FloatArray) -> FloatArray:
    """``u = (e_0 - e) / (e_0 - e_∞)``: 0 for the answer that knows nothing, 1 for that from uncompressed features.

    Not clipped: a codec that beats the uncompressed features is above 1, one worse than ignorance below 0.

    Args:
        error: ``e``, the error after decoding.
        error_zero: ``e_0``, with every channel at its mean.
        error_uncompressed: ``e_∞``.

    >>> utility(np.array([40.0, 12.0, 10.0]), np.array(40.0), np.array(12.0)).round(3).tolist()
    [0.0, 1.0, 1.071]
    """
    gap = error_zero - error_uncompressed
    return np.asarray((error_zero - error) / np.where(gap == 0, np.nan, gap))


def _stack(*columns: Tensor) -> FloatArray:
    """Per-image columns side by side, (B, columns)."""
    return torch.stack([column.double() for column in columns], dim=1).numpy()
