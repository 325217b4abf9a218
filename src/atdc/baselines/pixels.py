"""Picture codecs that come as libraries: JPEG, WebP and AVIF through Pillow, JPEG XL through imagecodecs.

Each is used as people who want small files use it: the encoder's thorough modes, chroma at half resolution where the
format knows it, one thread, and whole files, headers and all. `points` reach the utilities that ATDC's reach, as far as
the format goes, and begin with the lowest quality that the encoder offers (JPEG's with 4: below it there is hardly a
picture): a room of 256x256 takes 450 to 750 bytes on average, and with no setting fewer. Shrinking the picture first
would help; :mod:`atdc.report.same_size` does that, for show.
"""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

import PIL
from PIL import Image, features

from atdc.baselines.outside import load_library, missing_library
from atdc.baselines.system import Picture, PixelSystem, colour_bytes
from atdc.errors import ArgumentError, ImageError, ProgramError
from atdc.images import as_rgb


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
class PillowCodec(PixelSystem):
    """A format that Pillow writes; the point is the encoder's `quality`.

    Args:
        name: see :class:`~atdc.baselines.system.System`.
        title: likewise.
        points: likewise.
        format: Pillow's name of it.
        lowest: quality that the encoder offers.
        highest: likewise; of JPEG, the most that Pillow advises.
        options: what else the encoder is told.
        library: what Pillow calls the library behind the format, asked whether it is there and asked for its version.
        limit: what its lowest quality comes to, for result files.

    >>> import numpy as np
    >>> picture = np.full((16, 24, 3), 128, np.uint8)
    >>> JPEG.decode(JPEG.encode(picture, 40)).shape
    (16, 24, 3)
    """

    name: str
    title: str
    points: tuple[float, ...]
    format: str
    lowest: int
    highest: int
    options: Mapping[str, Any]
    library: tuple[str, str]
    limit: str

    def missing(self) -> str | None:
        """None, but where Pillow was built without the format's library."""
        if features.check(self.library[0]):
            return None
        return f"{self.title}: found Pillow {PIL.__version__} without it; install a Pillow wheel, 11.3 or later."

    def describe(self) -> Mapping[str, Any]:
        """Pillow's and the library's version, the encoder's options, and how low it goes."""
        return {
            "program": f"Pillow {PIL.__version__}, {self.library[1]} {features.version(self.library[1])}",
            "point": f"quality, {self.lowest} to {self.highest}",
            "options": dict(self.options),
            "limit": self.limit,
        }

    def encode(self, picture: Picture, point: float) -> bytes:
        """One picture to a file of the format.

        Raises:
            ArgumentError: no such quality, or no such picture.
            ImageError: a picture that is too large for the format.
            ProgramError: this Pillow lacks the format.
        """
        quality = whole_point("quality", point, self.lowest, self.highest)
        image = Image.fromarray(colour_bytes(picture))
        if (why := self.missing()) is not None:
            raise ProgramError("Pillow", why, f"{self.title} support")
        buffer = io.BytesIO()
        try:
            image.save(buffer, self.format, quality=quality, **self.options)
        except (OSError, ValueError) as error:  # WebP ends at 16383 pixels a side, JPEG at 65500
            found = f"a picture of {image.width}×{image.height} that it refuses ({error})"
            raise ImageError(self.title, found, "one within the format's bounds", "Make it smaller.") from error
        return buffer.getvalue()

    def decode(self, data: bytes) -> Picture:
        """The picture in a file of the format.

        Raises:
            ImageError: bytes that are no whole file of the format, or a picture above the pixel limit.
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


@final
class JpegXl(PixelSystem):
    """JPEG XL, lossy (VarDCT), a bare codestream without the container; the point is libjxl's `distance`.

    Distance is in just noticeable differences, 1 being what a careful eye does not see; 25 is the most that it takes.
    """

    name = "jpeg_xl"
    title = "JPEG XL"
    points = (25.0, 17.0, 11.0, 7.0, 4.0)
    effort = 9

    def missing(self) -> str | None:
        """A sentence where imagecodecs is not installed."""
        return missing_library("imagecodecs")

    def describe(self) -> Mapping[str, Any]:
        """Versions and settings.

        Raises:
            ProgramError: imagecodecs is not installed.
        """
        codecs = load_library("imagecodecs")
        return {
            "program": f"imagecodecs {codecs.__version__}, {codecs.jpegxl_version()}",
            "point": "distance, 25 (fewest bytes) to 0.01",
            "options": {"effort": self.effort, "container": False, "threads": 1},
            "limit": "Distance 25, the largest, takes about 0.07 bpp on rooms of 256x256.",
        }

    def encode(self, picture: Picture, point: float) -> bytes:
        """One picture to a codestream.

        Raises:
            ArgumentError: a distance outside 0.01 … 25 (0 would be lossless, another mode), or no such picture.
            ProgramError: imagecodecs is not installed, or its encoder fails.
        """
        if not (math.isfinite(point) and 0.01 <= point <= 25):
            raise ArgumentError("distance", f"{point:g}", "a number from 0.01 to 25")
        codecs = load_library("imagecodecs")
        try:
            data: bytes = codecs.jpegxl_encode(
                colour_bytes(picture), distance=float(point), effort=self.effort, usecontainer=False, numthreads=1
            )
        except codecs.JpegxlError as error:
            raise ProgramError("libjxl", str(error), "a coded picture") from error
        return data

    def decode(self, data: bytes) -> Picture:
        """The picture in a codestream.

        Raises:
            ImageError: bytes that are no whole codestream of an 8-bit colour picture.
            ProgramError: imagecodecs is not installed.
        """
        codecs = load_library("imagecodecs")
        try:
            return as_rgb(codecs.jpegxl_decode(data, numthreads=1))
        except ImageError:
            raise
        except (RuntimeError, ValueError, MemoryError) as error:  # JpegxlError is a RuntimeError
            raise damaged(self.title, error) from error


JPEG = PillowCodec(
    "jpeg", "JPEG", (4, 8, 14, 24, 40), "JPEG", 1, 95,
    # Progressive files would be the larger ones at this size: every scan brings tables of its own.
    {"optimize": True, "progressive": False, "subsampling": "4:2:0"},
    ("jpg", "libjpeg_turbo"),
    "Quality 1, the lowest, takes about 0.09 bpp on rooms of 256x256: an empty picture takes 0.08.",
)  # fmt: skip
"""Baseline JPEG with Huffman tables made for the picture."""

WEBP = PillowCodec(
    "webp", "WebP", (0, 5, 12, 25, 50), "WEBP", 0, 100, {"method": 6}, ("webp", "webp"),
    "Quality 0, the lowest, takes about 0.06 bpp on rooms of 256x256.",
)  # fmt: skip
"""Lossy WebP (VP8 intra), the slowest and best method."""

AVIF = PillowCodec(
    "avif", "AVIF", (0, 10, 20, 32, 45), "AVIF", 0, 100, {"speed": 4, "subsampling": "4:2:0", "max_threads": 1},
    ("avif", "avif"),
    "Quality 0, the lowest, takes about 0.08 bpp on rooms of 256x256, half of it for an empty picture.",
)  # fmt: skip
"""AV1 intra in AVIF's container, speed 4 of 0 (slowest) to 10."""

JPEG_XL = JpegXl()
