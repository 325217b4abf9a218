"""Ground truth of the demo's pictures, and the error of answers against it, in the measures of all tables.

Edges, keypoints and the picture itself have a ground truth on any picture: they are functions of it. Classes, normals
and depth have one where the scene is known.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from atdc.data.rooms.targets import PICTURE_TARGETS, picture_target
from atdc.data.targets import decode_stored
from atdc.metrics.tasks import measure_of
from atdc.report.page import Answers
from atdc.report.same_size import decibels, psnr_db
from atdc.tasks import CLASSES


def picture_truth(rgb: NDArray[np.uint8]) -> dict[str, NDArray[np.generic]]:
    """The ground truth that any picture has: `keypoints2d`, `edge_texture` and `rgb`, in the form of answers.

    Args:
        rgb: ``(H, W, 3)`` bytes.

    >>> sorted(picture_truth(np.zeros((8, 8, 3), np.uint8)))
    ['edge_texture', 'keypoints2d', 'rgb']
    """
    pixels = torch.from_numpy(np.array(rgb)).permute(2, 0, 1)[None]
    truth: dict[str, NDArray[np.generic]] = {"rgb": rgb.astype(np.float32) / 255}
    for task in PICTURE_TARGETS:
        truth[task] = decode_stored(task, picture_target(task, pixels))[0, 0].numpy()
    return truth


def error_of(task: str, answer: NDArray[np.generic], truth: NDArray[np.generic]) -> float:
    """The error ``e_i`` of one picture's answer as tables have it (:mod:`atdc.metrics.tasks`); lower is better.

    Args:
        task: its name.
        answer: as :meth:`atdc.Codec.decode` returns it.
        truth: in the same form; pixels of class 255, depth NaN or normal (0, 0, 0) take no part.

    >>> round(error_of("depth_zbuffer", np.array([[1.1, 9.0]]), np.array([[1.0, np.nan]])), 3)
    0.1
    """
    measure = measure_of(task)
    sums = measure.statistics(_as_output(task, answer), _as_target(task, truth)).sum(0)
    return float(measure.error(sums))


def error_in_words(task: str, answer: NDArray[np.generic], truth: NDArray[np.generic]) -> str:
    """The same as the figure that people know.

    >>> error_in_words("segment_semantic", np.array([[1, 1]], np.uint8), np.array([[1, 0]], np.uint8))
    'mIoU 0.250'
    """
    if task == "rgb":
        return decibels(psnr_db(truth, answer, peak=1.0))
    error = error_of(task, answer, truth)
    if task == "segment_semantic":
        return f"mIoU {1 - error:.3f}"
    if task == "depth_zbuffer":
        return f"AbsRel {error:.3f}"
    if task == "normal":
        return f"{error:.1f}° off"
    return f"L1 {error:.4f}"


def errors_in_words(decoded: Answers, uncompressed: Answers, truth: Answers) -> dict[str, tuple[str, str]]:
    """By task that has ground truth, :func:`error_in_words` of both answers."""
    return {
        task: (error_in_words(task, decoded[task], truth[task]), error_in_words(task, uncompressed[task], truth[task]))
        for task in decoded
        if task in truth
    }


def _as_output(task: str, answer: NDArray[np.generic]) -> Tensor:
    """An answer as a raw head output, (1, C, H, W): logits, ln metres, vectors, values."""
    if task == "segment_semantic":
        classes = torch.from_numpy(answer.astype(np.int64))
        return torch.nn.functional.one_hot(classes, len(CLASSES)).permute(2, 0, 1)[None].float()
    return _as_target(task, answer)


def _as_target(task: str, truth: NDArray[np.generic]) -> Tensor:
    """Ground truth in the form of answers as a decoded target, (1, C, H, W)."""
    if task == "segment_semantic":
        return torch.from_numpy(truth.astype(np.int64))[None, None]
    values = torch.from_numpy(truth.astype(np.float32))
    if task == "depth_zbuffer":
        values = values.log()
    return values.permute(2, 0, 1)[None] if values.ndim == 3 else values[None, None]
