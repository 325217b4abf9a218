"""The table of tasks: what each network answers, how it is trained, measured and shown, a row a task.

The rows follow Taskonomy's names (Zamir et al., CVPR 2018) and the one-letter codes of Standley et al. (ICML 2020).
The order of :data:`TASKS` is the order of task indices everywhere: in tensors, in graphs, in files.
This module does not import torch, so that readers of graphs and headers stay light.
"""

from __future__ import annotations

from atdc.tasks.task import Task

CLASSES: tuple[str, ...] = (
    "wall", "floor", "ceiling", "door", "window", "picture", "table",
    "chair", "sofa", "bed", "furniture", "tv", "books", "objects",
)  # fmt: skip
"""Semantic classes: the customary 13 indoor classes of NYUv2, with doors kept apart from walls."""

IGNORE_CLASS = 255
"""Pixels of this class take no part in losses and metrics."""

TASKS: tuple[Task, ...] = (
    Task(
        name="segment_semantic", letter="s", title="semantic segmentation", short_title="segments",
        out_channels=len(CLASSES), target="classes", loss="cross_entropy", measure="confusion", error="1 - mIoU",
        metric="mIoU", better="higher", presentation="classes", scaling="class logits",
        source="Taskonomy; classes are the NYUv2-13 merge plus door", needs_scene=True,
    ),
    Task(
        name="keypoints2d", letter="k", title="2D keypoints", short_title="keypoints",
        out_channels=1, target="share", loss="l1", measure="absolute", error="L1",
        metric="L1", better="lower", presentation="share", scaling="response in [0, 1]",
        source="Taskonomy (SURF response); determinant of the Hessian", formula="keypoints",
    ),
    Task(
        name="edge_texture", letter="t", title="texture edges", short_title="edges",
        out_channels=1, target="share", loss="l1", measure="absolute", error="L1",
        metric="L1", better="lower", presentation="share", scaling="gradient magnitude in [0, 1]",
        source="Taskonomy (Canny without thresholds)", formula="edges",
    ),
    Task(
        name="normal", letter="n", title="surface normals", short_title="normals",
        out_channels=3, target="unit_vectors", loss="l1", measure="angle", error="mean angle (degrees)",
        metric="mean angle (degrees)", better="lower", presentation="unit_vectors", scaling="unit vector, camera axes",
        source="Taskonomy", needs_scene=True,
    ),
    Task(
        name="depth_zbuffer", letter="d", title="depth", short_title="depth",
        out_channels=1, target="depth", loss="l1", measure="relative_depth", error="AbsRel",
        metric="AbsRel", better="lower", presentation="metres", scaling="natural logarithm of metres",
        source="Taskonomy (z-buffer); logarithm is our choice", needs_scene=True,
    ),
    Task(
        name="rgb", letter="a", title="image", short_title="image",
        out_channels=3, target="image", loss="mse", measure="psnr", error="-PSNR (dB)",
        metric="PSNR (dB)", better="higher", presentation="image", scaling="sRGB in [0, 1]",
        source="Taskonomy (autoencoding)",
    ),
)  # fmt: skip

PAPER_ORDER = "nsdkta"
"""The fixed order of the ATDC paper (CVPR 2026), in letters; :data:`atdc.graph.search.PAPER_ORDER` in indices."""
SEMANTICS_TO_SIGNAL = "sndkta"
"""From the most abstract task to the signal, in letters: the layers of semantic-to-signal coding."""
