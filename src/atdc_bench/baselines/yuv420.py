"""sRGB images as YCbCr planes with chroma at half resolution (4:2:0), and back: what video codecs take.

Matrix of BT.709, full range, offset 128 for chroma:

    Y  = 0.2126 R + 0.7152 G + 0.0722 B
    Cb = (B - Y) / 1.8556 + 128
    Cr = (R - Y) / 1.5748 + 128

(Recommendation ITU-R BT.709-6, items 3.2 and 3.3, with 8 bits used in full.) Chroma of 2x2 pixels is their mean, and
comes back by linear interpolation between the blocks' centres: 9/16, 3/16, 3/16, 1/16, as JPEG decoders do.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from atdc.errors import ArgumentError
from atdc.images.pillow_codecs import RgbImage

RED, GREEN, BLUE = 0.2126, 0.7152, 0.0722
"""Shares of the primaries in luma."""

FloatPlane = NDArray[np.float32]


def to_yuv420(image: RgbImage) -> bytes:
    """Three planes of 8 bits, one after another: luma (H, W), Cb and Cr (H/2, W/2).

    Args:
        image: even height and width.

    Raises:
        ArgumentError: an odd side.

    >>> list(to_yuv420(np.full((2, 2, 3), 200, np.uint8)))
    [200, 200, 200, 200, 128, 128]
    """
    height, width = image.shape[:2]
    if height % 2 or width % 2:
        raise ArgumentError("image", f"{width}×{height} pixels", "an even width and height")
    red, green, blue = (image[..., channel].astype(np.float32) for channel in range(3))
    luma = RED * red + GREEN * green + BLUE * blue
    chroma = [(blue - luma) / (2 - 2 * BLUE) + 128, (red - luma) / (2 - 2 * RED) + 128]
    planes = [luma, *map(_halved, chroma)]
    return b"".join(np.rint(plane).clip(0, 255).astype(np.uint8).tobytes() for plane in planes)


def from_yuv420(luma: FloatPlane, cb: FloatPlane, cr: FloatPlane) -> RgbImage:
    """The image (H, W, 3) of three planes.

    Args:
        luma: (H, W), 0 … 255; deeper samples are scaled to that, fractions kept.
        cb: (H/2, W/2), centred at 128.
        cr: likewise.

    >>> plane = np.full((1, 1), 128, np.float32)
    >>> from_yuv420(np.full((2, 2), 200, np.float32), plane, plane)[0, 0].tolist()
    [200, 200, 200]
    """
    size = (luma.shape[1], luma.shape[0])
    blue = luma + (2 - 2 * BLUE) * _enlarged(cb - 128, size)
    red = luma + (2 - 2 * RED) * _enlarged(cr - 128, size)
    green = (luma - RED * red - BLUE * blue) / GREEN
    return np.rint(np.stack([red, green, blue], -1)).clip(0, 255).astype(np.uint8)


def _halved(plane: FloatPlane) -> FloatPlane:
    height, width = plane.shape
    return np.asarray(plane.reshape(height // 2, 2, width // 2, 2).mean((1, 3)), np.float32)


def _enlarged(plane: FloatPlane, size: tuple[int, int]) -> FloatPlane:
    """Linear interpolation between pixel centres; the outermost half pixel repeats its neighbour."""
    return np.asarray(Image.fromarray(plane).resize(size, Image.Resampling.BILINEAR), np.float32)
