"""Ground truth of the demo's images, and the error of answers against it, in the measures of all tables.

Edges, keypoints and the image itself have a ground truth on any image: they are functions of it. Classes, normals
and depth have one where the scene is known.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from atdc.data.rooms.targets import PICTURE_TARGETS, image_target
from atdc.data.targets import decode_stored
from atdc.metrics.tasks import measure_of
from atdc.pipeline import as_batch
from atdc.report.page import Answers
from atdc.report.same_size import decibels, psnr_db
from atdc.tasks import IMAGE_TASK, task_named
from atdc.tasks.answers import answer_form
from atdc.tasks.task import MeasureKind, registry


def image_ground_truth(rgb: NDArray[np.uint8]) -> dict[str, NDArray[np.generic]]:
    """The ground truth that any image has, itself and what follows from it by formula, in the form of answers.

    Args:
        rgb: ``(H, W, 3)`` bytes.

    >>> sorted(image_ground_truth(np.zeros((8, 8, 3), np.uint8)))
    ['edge_texture', 'keypoints2d', 'rgb']
    """
    ground_truth: dict[str, NDArray[np.generic]] = {IMAGE_TASK: rgb.astype(np.float32) / 255}
    for task in PICTURE_TARGETS:
        target = decode_stored(task, image_target(task, as_batch(rgb)))[0].numpy()
        ground_truth[task] = answer_form(task).of_target(target)
    return ground_truth


def error_of(task: str, answer: NDArray[np.generic], ground_truth: NDArray[np.generic]) -> float:
    """The error ``e_i`` of one image's answer as tables have it (:mod:`atdc.metrics.tasks`); lower is better.

    Args:
        task: its name.
        answer: as :meth:`atdc.Codec.decode` returns it.
        ground_truth: in the same form; pixels of class 255, depth NaN or normal (0, 0, 0) take no part.

    >>> round(error_of("depth_zbuffer", np.array([[1.1, 9.0]]), np.array([[1.0, np.nan]])), 3)
    0.1
    """
    measure = measure_of(task)
    form = answer_form(task)
    sums = measure.statistics(form.as_output(answer), form.as_target(ground_truth)).sum(0)
    return float(measure.error(sums))


def error_in_words(task: str, answer: NDArray[np.generic], ground_truth: NDArray[np.generic]) -> str:
    """The same as the figure that people know.

    >>> error_in_words("segment_semantic", np.array([[1, 1]], np.uint8), np.array([[1, 0]], np.uint8))
    'mIoU 0.250'
    """
    kind = task_named(task).measure
    if kind == "psnr":
        return decibels(psnr_db(ground_truth, answer, peak=1.0))
    return _IN_WORDS[kind](error_of(task, answer, ground_truth))


def errors_in_words(decoded: Answers, uncompressed: Answers, ground_truth: Answers) -> dict[str, tuple[str, str]]:
    """By task that has ground truth, :func:`error_in_words` of both answers."""
    return {
        task: (
            error_in_words(task, decoded[task], ground_truth[task]),
            error_in_words(task, uncompressed[task], ground_truth[task]),
        )
        for task in decoded
        if task in ground_truth
    }


_IN_WORDS: dict[MeasureKind, Callable[[float], str]] = registry(
    MeasureKind,
    {
        "confusion": lambda error: f"mIoU {1 - error:.3f}",
        "absolute": lambda error: f"L1 {error:.4f}",
        "angle": lambda error: f"{error:.1f}° off",
        "relative_depth": lambda error: f"AbsRel {error:.3f}",
        "psnr": lambda error: decibels(-error),
    },
)
"""By a row's ``measure``: what people call an error of that size."""
