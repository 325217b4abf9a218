"""Answers as images that people can look at: ``uint8`` RGB, made from numbers by fixed rules.

=================  ============================================================================
presentation       image
=================  ============================================================================
classes            one colour a class, :data:`CLASS_COLOURS`; ignored pixels black
metres             ``ln`` depth on a scale of even lightness, near bright and yellow, far dark blue
unit_vectors       ``(n + 1) / 2`` as red, green, blue
share              black to white
image              itself
=================  ============================================================================

The depth scale is a path through OKLCH (Björn Ottosson, "A perceptual color space for image processing", 2020) with
lightness linear along it, so that equal ratios of depth are equal steps for the eye, and grey prints keep the order.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from atdc.errors import ArgumentError
from atdc.images import srgb_of_light
from atdc.tasks import CLASSES, IGNORE_CLASS, task_named
from atdc.tasks.task import Presentation, registry

Range: TypeAlias = tuple[float, float] | None
"""Of the depth scale, in metres; the answer's own by default."""

CLASS_COLOURS: dict[str, tuple[int, int, int]] = {
    "wall": (201, 196, 184),
    "floor": (150, 108, 70),
    "ceiling": (240, 240, 234),
    "door": (120, 52, 34),
    "window": (124, 196, 236),
    "picture": (220, 92, 150),
    "table": (232, 148, 44),
    "chair": (208, 52, 52),
    "sofa": (124, 84, 178),
    "bed": (62, 104, 204),
    "furniture": (92, 140, 78),
    "tv": (44, 50, 68),
    "books": (16, 158, 146),
    "objects": (246, 220, 72),
}
"""A colour for every class of :data:`atdc.tasks.CLASSES`."""

_LEAST_SHARE = 0.004
"""Of the pixels: a class with fewer is not in the legend."""

# The ends of the depth scale, as OKLCH lightness, chroma, hue in degrees. The hue runs 105 → 60 → 0 → −90.
_NEAR, _FAR = (0.97, 0.13, 105.0), (0.16, 0.09, -85.0)


def image_of(
    task: str, answer: NDArray[np.generic], depth_range: tuple[float, float] | None = None
) -> NDArray[np.uint8]:
    """One task's answer as an image.

    Args:
        task: a name of :data:`atdc.tasks.TASK_NAMES`.
        answer: ``(H, W)``, or ``(H, W, 3)`` for unit vectors and images, as :meth:`atdc.Codec.decode` returns it.
        depth_range: nearest and farthest depth of the scale, in metres; by default :func:`depth_range_of` the answer.
            Pass one range to make two images comparable.

    Returns:
        ``(H, W, 3)``, 0 … 255.

    Raises:
        ArgumentError: the task is unknown, or the answer has another shape.

    >>> image_of("segment_semantic", np.array([[1]]))[0, 0].tolist()
    [150, 108, 70]
    >>> image_of("normal", np.array([[[0.0, 0.0, 1.0]]]))[0, 0].tolist()
    [128, 128, 255]
    """
    row = task_named(task)
    channels = row.answer_channels
    if answer.ndim != (2 if channels is None else 3) or (channels is not None and answer.shape[-1] != channels):
        raise ArgumentError(
            task, f"an answer of shape {answer.shape}", "(H, W)" if channels is None else f"(H, W, {channels})"
        )
    return DRAWN[row.presentation](answer, depth_range)


def depth_range_of(depth: NDArray[np.floating]) -> tuple[float, float]:
    """The nearest and farthest depth in metres, leaving out a hundredth of the pixels at either end.

    >>> depth_range_of(np.full((4, 4), 2.0))
    (2.0, 2.0)
    """
    valid = depth[np.isfinite(depth) & (depth > 0)]
    if valid.size == 0:
        return 1.0, 1.0
    near, far = np.quantile(valid, [0.01, 0.99])
    return float(near), float(far)


def classes_in(answer: NDArray[np.integer]) -> list[str]:
    """The classes a segmentation shows, most frequent first: the entries of its legend.

    >>> classes_in(np.array([[0, 0, 0], [1, 1, 255]]))
    ['wall', 'floor']
    """
    counts = np.bincount(answer.ravel().astype(np.int64).clip(0, 255), minlength=256)[: len(CLASSES)]
    order = sorted(range(len(CLASSES)), key=lambda index: -int(counts[index]))
    return [CLASSES[index] for index in order if counts[index] > _LEAST_SHARE * answer.size]


@cache
def depth_scale(steps: int = 256) -> NDArray[np.uint8]:
    """The colours of the depth scale from near to far, ``(steps, 3)``."""
    return np.array([_depth_colour(step / (steps - 1)) for step in range(steps)], dtype=np.uint8)


def _class_image(answer: NDArray[np.generic], depth_range: Range) -> NDArray[np.uint8]:
    return _class_table()[answer.astype(np.int64).clip(0, 255)]


def _depth_image(answer: NDArray[np.generic], depth_range: Range) -> NDArray[np.uint8]:
    depth = answer.astype(np.float64)
    near, far = depth_range or depth_range_of(depth)
    valid = np.isfinite(depth) & (depth > 0)
    logarithm = np.log(np.where(valid, depth, near) / near)
    position = logarithm / max(math.log(far / near), 1e-6) if far > near else np.full_like(logarithm, 0.5)
    image: NDArray[np.uint8] = depth_scale()[(255.0 * position.clip(0.0, 1.0)).round().astype(np.int64)]
    image[~valid] = 0
    return image


def _vector_image(answer: NDArray[np.generic], depth_range: Range) -> NDArray[np.uint8]:
    return _bytes_of((answer.astype(np.float64) + 1.0) / 2.0)


def _grey_image(answer: NDArray[np.generic], depth_range: Range) -> NDArray[np.uint8]:
    return _bytes_of(np.repeat(answer.astype(np.float64)[..., None], 3, axis=-1))


def _image_image(answer: NDArray[np.generic], depth_range: Range) -> NDArray[np.uint8]:
    return _bytes_of(answer.astype(np.float64))


def _depth_colour(position: float) -> tuple[int, int, int]:
    """Along the path: lightness and chroma linear, the hue faster in its middle; chroma cut back to what sRGB holds."""
    lightness = _NEAR[0] + (_FAR[0] - _NEAR[0]) * position
    chroma = _NEAR[1] + (_FAR[1] - _NEAR[1]) * position + 0.07 * math.sin(math.pi * position)
    hue = math.radians(_NEAR[2] + (_FAR[2] - _NEAR[2]) * position)
    low, high = 0.0, chroma
    for _ in range(16):  # bisect for the largest chroma inside the gamut; grey, chroma 0, always is
        middle = (low + high) / 2
        inside = all(0.0 <= value <= 1.0 for value in _linear_srgb(lightness, middle, hue))
        low, high = (middle, high) if inside else (low, middle)
    light = (min(max(value, 0.0), 1.0) for value in _linear_srgb(lightness, low, hue))
    red, green, blue = (round(255 * srgb_of_light(value)) for value in light)
    return red, green, blue


def _linear_srgb(lightness: float, chroma: float, hue: float) -> tuple[float, float, float]:
    """OKLCH to linear sRGB; the constants are Ottosson's."""
    a, b = chroma * math.cos(hue), chroma * math.sin(hue)
    long = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3
    medium = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
    short = (lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3
    return (
        4.0767416621 * long - 3.3077115913 * medium + 0.2309699292 * short,
        -1.2684380046 * long + 2.6097574011 * medium - 0.3413193965 * short,
        -0.0041960863 * long - 0.7034186147 * medium + 1.7076147010 * short,
    )


@cache
def _class_table() -> NDArray[np.uint8]:
    table = np.zeros((256, 3), dtype=np.uint8)
    for index, name in enumerate(CLASSES):
        table[index] = CLASS_COLOURS[name]
    table[IGNORE_CLASS] = 0
    return table


def _bytes_of(values: NDArray[np.float64]) -> NDArray[np.uint8]:
    return (255.0 * np.nan_to_num(values).clip(0.0, 1.0)).round().astype(np.uint8)


DRAWN: dict[Presentation, Callable[[NDArray[np.generic], Range], NDArray[np.uint8]]] = registry(
    Presentation,
    {
        "classes": _class_image, "share": _grey_image, "unit_vectors": _vector_image,
        "metres": _depth_image, "image": _image_image,
    },
)  # fmt: skip
"""By a row's ``presentation``."""
