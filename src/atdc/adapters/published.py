"""How answers of published networks are read and compared, for the sets in `recipes/networks`.

Each function reads the form that one network gives, as its authors document it: M-LSD's centres and displacements,
MoveNet's places of a body, XFeat's descriptors. A network of your own takes a file of your own (``file.py:function``).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Array = NDArray[Any]
Picture = NDArray[np.uint8]

_LEAST_SCORE, _LEAST_LENGTH = 0.2, 10.0
"""Of a line; its length in cells of the map, which is half as fine as the image."""
_LINE_TOLERANCE = 10.0
"""Of the sum of squared distances of both ends, of an image of 128 by 128: what sAP10 takes."""
_LINE_SIDE = 128
_VISIBLE = 0.3
_LEAST_AREA = 0.01
_SIGMAS = np.repeat([0.026, 0.025, 0.035, 0.079, 0.072, 0.062, 0.107, 0.087, 0.089], [1, *[2] * 8])
"""Standard deviations of human annotators by keypoint (nose to ankles), from the COCO keypoint evaluation."""


def lines(centres: Array, scores: Array, displacements: Array) -> Array:
    """Line segments of M-LSD (Gu et al., AAAI 2022) that are sure and long enough.

    Args:
        centres: (1, n, 2), row and column in the map.
        scores: (1, n).
        displacements: (1, h, w, 4), from a centre to both ends, column before row.

    Returns:
        (1, m, 4): column and row of both ends, as shares of the map's width and height.

    >>> field = np.zeros((1, 20, 20, 4))
    >>> field[0, 4, 10] = -8, 0, 6, 1
    >>> lines(np.array([[[4, 10], [1, 1]]]), np.array([[0.9, 0.9]]), field).round(2).tolist()
    [[[0.10000000149011612, 0.20000000298023224, 0.800000011920929, 0.25]]]
    """
    height, width = displacements.shape[1:3]
    rows, columns = centres[0].astype(np.int64).T
    field = displacements[0, np.clip(rows, 0, height - 1), np.clip(columns, 0, width - 1)].astype(np.float64)
    segments = np.stack([columns, rows, columns, rows], 1) + field
    mask = (scores[0] > _LEAST_SCORE) & (np.hypot(*(field[:, :2] - field[:, 2:]).T) > _LEAST_LENGTH)
    return np.asarray((segments[mask] / (width, height, width, height))[None], np.float32)


def line_f1(before: Array, after: Array) -> float:
    """F1 of segments that lie within a tolerance of one before, each taken once, the nearest pairs first.

    >>> pair = np.array([[[0.1, 0.1, 0.5, 0.5], [0.2, 0.8, 0.9, 0.8]]])
    >>> line_f1(pair, pair[:, ::-1, [2, 3, 0, 1]]), round(line_f1(pair, pair[:, :1]), 3), line_f1(pair, pair + 0.1)
    (1.0, 0.667, 0.0)
    """
    reference, answer = before[0].astype(np.float64) * _LINE_SIDE, after[0].astype(np.float64) * _LINE_SIDE
    if not len(reference):
        return float("nan")
    if not len(answer):
        return 0.0
    reversed_ends = answer[:, [2, 3, 0, 1]]
    distances = np.minimum(*(np.square(reference[:, None] - ends[None]).sum(2) for ends in (answer, reversed_ends)))
    pairs = 0
    while distances.min() <= _LINE_TOLERANCE:
        row, column = np.unravel_index(distances.argmin(), distances.shape)
        distances[row], distances[:, column] = np.inf, np.inf
        pairs += 1
    return 2 * pairs / (len(reference) + len(answer))


def keypoint_similarity(before: Array, after: Array) -> float:
    """Object keypoint similarity as COCO defines it, of the keypoints that are visible before. A body's area is that of
    the box around them.

    Args:
        before: (1, 1, 17, 3), row and column as shares of the image, and score.
        after: likewise.

    >>> pose = np.full((1, 1, 17, 3), 0.5)
    >>> pose[..., 0, :2] = 0
    >>> keypoint_similarity(pose, pose), keypoint_similarity(pose * [1, 1, 0], pose)
    (1.0, nan)
    """
    reference, answer = before[0, 0].astype(np.float64), after[0, 0].astype(np.float64)
    visible = reference[:, 2] >= _VISIBLE
    if not visible.any():
        return float("nan")
    area = max(float(np.prod(np.ptp(reference[visible, :2], axis=0))), _LEAST_AREA)
    squares = np.square(reference[:, :2] - answer[:, :2]).sum(1)[visible]
    return float(np.exp(-squares / (2 * area * np.square(2 * _SIGMAS[visible]))).mean())


def descriptors_with_reliability(descriptors: Array, reliability: Array) -> Array:
    """(1, C, h, w) and (1, 1, h, w) as one array (1, C + 1, h, w), reliability last.

    >>> descriptors_with_reliability(np.zeros((1, 64, 2, 3)), np.ones((1, 1, 2, 3))).shape
    (1, 65, 2, 3)
    """
    return np.concatenate([descriptors, reliability], 1)


def match_rate(before: Array, after: Array) -> float:
    """The share of the more reliable half of the cells whose descriptor after is nearest, of all descriptors before, to
    that of its own cell or of one next to it.

    Args:
        before: (1, C + 1, h, w), as of :func:`descriptors_with_reliability`; a cell is 8 by 8 pixels for XFeat.
        after: likewise.

    >>> rng = np.random.default_rng(0)
    >>> maps = rng.standard_normal((1, 65, 8, 8))
    >>> match_rate(maps, maps), match_rate(maps, rng.standard_normal((1, 65, 8, 8))) < 0.4
    (1.0, True)
    """
    width = before.shape[3]
    reference, answer = (
        value[0, :-1].reshape(value.shape[1] - 1, -1).T.astype(np.float64) for value in (before, after)
    )
    reference, answer = (
        rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12) for rows in (reference, answer)
    )
    reliability = before[0, -1].ravel()
    cells = np.flatnonzero(reliability >= np.median(reliability))
    nearest = (answer[cells] @ reference.T).argmax(1)
    rows, columns = np.divmod(np.stack([cells, nearest]), width)
    return float(np.mean(np.maximum(np.abs(np.diff(rows, axis=0)), np.abs(np.diff(columns, axis=0))) <= 1))


_DRAWN_SIDE = 320
_BONES = (
    (0, 1), (0, 2), (1, 3), (2, 4), (5, 6), (5, 7), (7, 9), (6, 8), (8, 10), (5, 11), (6, 12), (11, 12), (11, 13),
    (13, 15), (12, 14), (14, 16),
)  # fmt: skip
"""Of COCO's seventeen keypoints."""
_INK = (255, 40, 90)


def _canvas(image: Picture) -> Image.Image:
    """The image, darkened, small enough for a page."""
    canvas = Image.fromarray(image // 2)
    canvas.thumbnail((_DRAWN_SIDE, _DRAWN_SIDE))
    return canvas


def lines_drawn(image: Picture, before: Array, answer: Array) -> Picture:
    """Line segments, as of :func:`lines`, over the image.

    >>> across = np.array([[[0, 0.5, 1, 0.5]]])
    >>> lines_drawn(np.zeros((64, 64, 3), np.uint8), across, across).max(axis=(0, 1))
    array([255,  40,  90], dtype=uint8)
    """
    canvas = _canvas(image)
    pen = ImageDraw.Draw(canvas)
    for ends in answer[0] * np.tile(canvas.size, 2):
        pen.line([float(place) for place in ends], fill=_INK, width=2)
    return np.asarray(canvas)


def keypoints_drawn(image: Picture, before: Array, answer: Array) -> Picture:
    """Visible keypoints of a body, (1, 1, 17, 3) as of MoveNet, and what joins them, over the image.

    >>> pose = np.full((1, 1, 17, 3), 0.5)
    >>> keypoints_drawn(np.zeros((64, 64, 3), np.uint8), pose, pose)[32, 32]
    array([255,  40,  90], dtype=uint8)
    """
    canvas = _canvas(image)
    pen = ImageDraw.Draw(canvas)
    rows, columns, scores = answer[0, 0].astype(np.float64).T
    places = list(zip(columns * canvas.width, rows * canvas.height, strict=True))
    for start, end in _BONES:
        if min(scores[start], scores[end]) >= _VISIBLE:
            pen.line([*places[start], *places[end]], fill=_INK, width=2)
    for (x, y), score in zip(places, scores, strict=True):
        if score >= _VISIBLE:
            pen.ellipse([x - 3, y - 3, x + 3, y + 3], fill=_INK)
    return np.asarray(canvas)


def map_drawn(image: Picture, before: Array, answer: Array) -> Picture:
    """A map (1, h, w, 1), white where it is greatest, between the 1st and 99th percentiles of the one before.

    >>> map_drawn(np.zeros((2, 2, 3), np.uint8), np.array([[[[0.0], [1.0]]]]), np.array([[[[2.0], [0.5]]]])).tolist()
    [[[255, 255, 255], [128, 128, 128]]]
    """
    low, high = np.percentile(before, (1, 99))
    grey = np.clip((answer[0].astype(np.float64) - low) / max(high - low, 1e-12), 0, 1)
    small = Image.fromarray((255 * grey[..., 0]).round().astype(np.uint8))
    small.thumbnail((_DRAWN_SIDE, _DRAWN_SIDE))
    return np.asarray(small.convert("RGB"))
