"""The six tasks: what each network answers, how it is trained and how its error is measured.

The rows follow Taskonomy's names (Zamir et al., CVPR 2018) and the one-letter codes of Standley et al. (ICML 2020).
The order of :data:`TASKS` is the order of task indices everywhere: in tensors, in graphs, in files.
This module does not import torch, so that readers of graphs and headers stay light.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

CLASSES: tuple[str, ...] = (
    "wall", "floor", "ceiling", "door", "window", "picture", "table",
    "chair", "sofa", "bed", "furniture", "tv", "books", "objects",
)  # fmt: skip
"""Semantic classes: the customary 13 indoor classes of NYUv2, with doors kept apart from walls."""

IGNORE_CLASS = 255
"""Pixels of this class take no part in losses and metrics."""


@dataclass(frozen=True, slots=True)
class TaskSpec:
    """One task: a name, a letter, and everything that differs between tasks.

    Attributes:
        name: Taskonomy's domain name, used in files, options and result tables.
        letter: one-letter code used in graph pictures, ``n→d``.
        title: words for people.
        out_channels: channels of the head's output.
        loss: training loss on the head's output against the scaled target.
        error: the error ``e_i`` of the evaluation tables; lower is better for every task.
        metric: the figure people know, shown beside the error.
        scaling: how the head's output relates to the physical quantity.
        source: where the definition comes from.

    >>> [task.letter for task in TASKS]
    ['s', 'k', 't', 'n', 'd', 'a']
    """

    name: str
    letter: str
    title: str
    out_channels: int
    loss: Literal["cross_entropy", "l1", "mse"]
    error: str
    metric: str
    scaling: str
    source: str


TASKS: tuple[TaskSpec, ...] = (
    TaskSpec(
        "segment_semantic", "s", "semantic segmentation", len(CLASSES), "cross_entropy",
        "1 - mIoU", "mIoU", "class logits", "Taskonomy; classes are the NYUv2-13 merge plus door",
    ),
    TaskSpec(
        "keypoints2d", "k", "2D keypoints", 1, "l1",
        "L1", "L1", "response in [0, 1]", "Taskonomy (SURF response); determinant of the Hessian",
    ),
    TaskSpec(
        "edge_texture", "t", "texture edges", 1, "l1",
        "L1", "L1", "gradient magnitude in [0, 1]", "Taskonomy (Canny without thresholds)",
    ),
    TaskSpec(
        "normal", "n", "surface normals", 3, "l1",
        "mean angle (degrees)", "mean angle (degrees)", "unit vector, camera axes", "Taskonomy",
    ),
    TaskSpec(
        "depth_zbuffer", "d", "depth", 1, "l1",
        "AbsRel", "AbsRel", "natural logarithm of metres", "Taskonomy (z-buffer); logarithm is our choice",
    ),
    TaskSpec(
        "rgb", "a", "image", 3, "mse",
        "-PSNR (dB)", "PSNR (dB)", "sRGB in [0, 1]", "Taskonomy (autoencoding)",
    ),
)  # fmt: skip

TASK_NAMES: tuple[str, ...] = tuple(task.name for task in TASKS)
LETTERS: str = "".join(task.letter for task in TASKS)
BY_NAME: dict[str, TaskSpec] = {task.name: task for task in TASKS}
