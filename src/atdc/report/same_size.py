"""The image that JPEG or WebP would send in as many bytes as an ATDC file takes.

An honest opponent gets every chance: all qualities, and, because a few hundred bytes are less than the formats' own
minimum at full size, shrinking the image first and enlarging it again at the other side. Of all files about as large
as wanted, the one with the highest PSNR counts; if none is that small, the smallest one, with its true size.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from atdc.images.pillow_codecs import JPEG, WEBP, PillowCodec

Format = Literal["JPEG", "WebP"]
_CODECS: dict[Format, PillowCodec] = {"JPEG": JPEG, "WebP": WEBP}
_SCALES = (1.0, 0.75, 0.5, 0.375, 0.25, 0.1875, 0.125, 0.09375, 0.0625, 0.03125)
ABOUT = 0.05
"""Files within this share of the wanted size count as equal to it."""


@dataclass(frozen=True, slots=True)
class SameSize:
    """What a pixel codec makes of about the same number of bytes.

    Attributes:
        format: its name.
        size_bytes: length of its file.
        psnr_db: of `image` against the original, over all pixels and channels.
        quality: the codec's own setting.
        width: of the image that was coded, in pixels; smaller than the original's if it was shrunk first.
        height: likewise.
        image: decoded and enlarged to the original's size, ``(H, W, 3)``.
    """

    format: Format
    size_bytes: int
    psnr_db: float
    quality: int
    width: int
    height: int
    image: NDArray[np.uint8]

    def is_about(self, wanted_bytes: int) -> bool:
        """Whether its file is about as large as wanted; no file of the format is nearer if not."""
        return abs(self.size_bytes - wanted_bytes) <= ABOUT * wanted_bytes


def psnr_db(original: NDArray[np.generic], image: NDArray[np.generic], peak: float = 255.0) -> float:
    """Peak signal-to-noise ratio, ``10 log10(peak² / mean squared error)``, in decibels; infinite for equal images.

    >>> round(psnr_db(np.zeros((2, 2)), np.full((2, 2), 25.5)), 1)
    20.0
    """
    error = float(np.mean((original.astype(np.float64) - image.astype(np.float64)) ** 2))
    return math.inf if error == 0.0 else 10.0 * math.log10(peak**2 / error)


def decibels(psnr_db: float) -> str:
    """A PSNR in words.

    >>> decibels(26.54), decibels(math.inf)
    ('26.5 dB', '∞ dB')
    """
    return "∞ dB" if math.isinf(psnr_db) else f"{psnr_db:.1f} dB"


def same_size(rgb: NDArray[np.uint8], wanted_bytes: int, format: Format) -> SameSize:
    """The best image that the format sends in about `wanted_bytes`.

    Args:
        rgb: the original, ``(H, W, 3)``.
        wanted_bytes: length of the file to compare with.
        format: ``"JPEG"`` or ``"WebP"``.
    """
    codec, original = _CODECS[format], Image.fromarray(rgb)
    candidates = [
        (data, quality, size)
        for size in _sizes(original)
        for data, quality in _around(np.array(original.resize(size, Image.Resampling.LANCZOS)), wanted_bytes, codec)
    ]
    about = [item for item in candidates if abs(len(item[0]) - wanted_bytes) <= ABOUT * wanted_bytes]
    nearest = min(abs(len(data) - wanted_bytes) for data, _, _ in candidates)
    chosen = about or [item for item in candidates if abs(len(item[0]) - wanted_bytes) == nearest]
    return max((_decoded(rgb, *item, format) for item in chosen), key=lambda result: result.psnr_db)


def _sizes(original: Image.Image) -> Iterator[tuple[int, int]]:
    sizes = set()
    for scale in _SCALES:
        size = (max(1, round(original.width * scale)), max(1, round(original.height * scale)))
        if size not in sizes:
            sizes.add(size)
            yield size


def _around(image: NDArray[np.uint8], wanted_bytes: int, codec: PillowCodec) -> list[tuple[bytes, int]]:
    """The files just below and just above the wanted size, by bisection over the quality."""
    low, high = codec.lowest, codec.highest
    files = {quality: codec.encode(image, quality) for quality in (low, high)}
    while high - low > 1 and len(files[low]) <= wanted_bytes < len(files[high]):
        middle = (low + high) // 2
        files[middle] = codec.encode(image, middle)
        low, high = (middle, high) if len(files[middle]) <= wanted_bytes else (low, middle)
    return [(files[low], low), (files[high], high)]


def _decoded(rgb: NDArray[np.uint8], data: bytes, quality: int, size: tuple[int, int], format: Format) -> SameSize:
    small = Image.fromarray(_CODECS[format].decode(data))
    image = small.resize((rgb.shape[1], rgb.shape[0]), Image.Resampling.BICUBIC)
    array = np.array(image, dtype=np.uint8)
    return SameSize(format, len(data), psnr_db(rgb, array), quality, size[0], size[1], array)
