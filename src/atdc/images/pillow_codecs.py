"""Image codecs that Pillow brings, each used as people who want small files use it: the encoder's thorough modes,
chroma at half resolution where the format knows it, and whole files, headers and all.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import PIL
from numpy.typing import NDArray
from PIL import Image, features

from atdc.errors import ArgumentError, ImageError, ProgramError
from atdc.images import as_rgb

RgbImage = NDArray[np.uint8]
"""(H, W, 3), sRGB."""


def colour_bytes(image: RgbImage) -> RgbImage:
    """The image, laid out in memory by row, if it is one that systems code.

    Raises:
        ArgumentError: not (H, W, 3) of uint8, or no pixel.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise ArgumentError("image", f"{image.dtype}, shape {image.shape}", "uint8, shape (height, width, 3)")
    return np.ascontiguousarray(image)


def whole_point(name: str, point: float, lowest: int, highest: int) -> int:
    """A setting that must be a whole number within bounds.

    Raises:
        ArgumentError: it is not.

    >>> whole_point("quality", 40.0, 0, 100)
    40
    """
    if not (lowest <= point <= highest and point == int(point)):
        raise ArgumentError(name, f"{point:g}", f"a whole number from {lowest} to {highest}")
    return int(point)


def damaged(title: str, error: Exception) -> ImageError:
    """What decoding raises for bytes that are no whole file of the format."""
    return ImageError(title, f"bytes that cannot be decoded ({error})", f"a whole {title} file")


@final
@dataclass(frozen=True, eq=False)
class PillowCodec:
    """A format that Pillow writes.

    Args:
        title: what people call it.
        format: Pillow's name of it.
        lowest: quality that the encoder offers.
        highest: likewise; of JPEG, the most that Pillow advises.
        options: what else the encoder is told.
        library: what Pillow calls the library behind the format, asked whether it is there and asked for its version.

    >>> image = np.full((16, 24, 3), 128, np.uint8)
    >>> JPEG.decode(JPEG.encode(image, 40)).shape
    (16, 24, 3)
    """

    title: str
    format: str
    lowest: int
    highest: int
    options: Mapping[str, Any]
    library: tuple[str, str]

    def missing(self) -> str | None:
        """None, but where Pillow was built without the format's library."""
        if features.check(self.library[0]):
            return None
        return f"{self.title}: found Pillow {PIL.__version__} without it; install a Pillow wheel, 11.3 or later."

    def encode(self, pixels: RgbImage, quality: float) -> bytes:
        """One image to a file of the format.

        Raises:
            ArgumentError: no such quality, or no such image.
            ImageError: an image that is too large for the format.
            ProgramError: this Pillow lacks the format.
        """
        quality = whole_point("quality", quality, self.lowest, self.highest)
        image = Image.fromarray(colour_bytes(pixels))
        if (why := self.missing()) is not None:
            raise ProgramError("Pillow", why, f"{self.title} support")
        buffer = io.BytesIO()
        try:
            image.save(buffer, self.format, quality=quality, **self.options)
        except (OSError, ValueError) as error:  # WebP ends at 16383 pixels a side, JPEG at 65500
            problem = f"an image of {image.width}×{image.height} that it refuses ({error})"
            raise ImageError(self.title, problem, "one within the format's bounds", "Make it smaller.") from error
        return buffer.getvalue()

    def decode(self, data: bytes) -> RgbImage:
        """The image in a file of the format.

        Raises:
            ImageError: bytes that are no whole file of the format, or an image above the pixel limit.
        """
        try:
            with warnings.catch_warnings():
                # as_rgb has a limit of its own, below the size that Pillow would warn of and then refuse.
                warnings.simplefilter("ignore", Image.DecompressionBombWarning)
                with Image.open(io.BytesIO(data), formats=(self.format,)) as image:
                    return as_rgb(image)
        except ImageError:
            raise
        except Exception as error:  # Pillow's readers let OSError, SyntaxError, ValueError, struct.error, … escape
            raise damaged(self.title, error) from error


JPEG = PillowCodec(
    "JPEG", "JPEG", 1, 95,
    # Progressive files would be the larger ones at this size: every scan brings tables of its own.
    {"optimize": True, "progressive": False, "subsampling": "4:2:0"},
    ("jpg", "libjpeg_turbo"),
)  # fmt: skip
"""Baseline JPEG with Huffman tables made for the image."""

WEBP = PillowCodec("WebP", "WEBP", 0, 100, {"method": 6}, ("webp", "webp"))
"""Lossy WebP (VP8 intra), the slowest and best method."""
