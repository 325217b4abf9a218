"""Image codecs that come as libraries: JPEG, WebP and AVIF through Pillow, JPEG XL through imagecodecs.

Each is used as people who want small files use it (:mod:`atdc.images.pillow_codecs`), with one thread. `points` reach
the utilities that ATDC's reach, as far as the format goes, and begin with the lowest quality that the encoder offers
(JPEG's with 4: below it there is hardly an image): a room of 256x256 takes 450 to 750 bytes on average, and with no
setting fewer. An image that is shrunk first takes fewer (:class:`Reduced`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, final

import numpy as np
import PIL
from PIL import Image, features

from atdc.errors import ArgumentError, ImageError, ProgramError
from atdc.images import as_rgb, pillow_codecs
from atdc.images.pillow_codecs import PillowCodec, RgbImage, colour_bytes, damaged
from atdc_bench.baselines.outside import load_library, missing_library
from atdc_bench.baselines.system import PixelSystem


@final
class PillowSystem(PixelSystem):
    """A format that Pillow writes; the point is the encoder's `quality`.

    Args:
        name: see :class:`~atdc_bench.baselines.system.System`.
        codec: of the format; the row has its title.
        points: see :class:`~atdc_bench.baselines.system.System`.
        limit: what its lowest quality comes to, for result files.
    """

    def __init__(self, name: str, codec: PillowCodec, points: tuple[float, ...], limit: str) -> None:
        self.name, self.title, self.points = name, codec.title, points
        self.codec, self.limit = codec, limit

    def missing(self) -> str | None:
        """None, but where Pillow was built without the format's library."""
        return self.codec.missing()

    def describe(self) -> Mapping[str, Any]:
        """Pillow's and the library's version, the encoder's options, and how low it goes."""
        return {
            "program": f"Pillow {PIL.__version__}, {self.codec.library[1]} {features.version(self.codec.library[1])}",
            "point": f"quality, {self.codec.lowest} to {self.codec.highest}",
            "options": dict(self.codec.options),
            "limit": self.limit,
        }

    def encode(self, image: RgbImage, point: float) -> bytes:
        """One image to a file of the format; raises what
        :meth:`~atdc.images.pillow_codecs.PillowCodec.encode` raises."""
        return self.codec.encode(image, point)

    def decode(self, data: bytes) -> RgbImage:
        """The image in a file; raises what :meth:`~atdc.images.pillow_codecs.PillowCodec.decode` raises."""
        return self.codec.decode(data)


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

    def encode(self, image: RgbImage, point: float) -> bytes:
        """One image to a codestream.

        Raises:
            ArgumentError: a distance outside 0.01 … 25 (0 would be lossless, another mode), or no such image.
            ProgramError: imagecodecs is not installed, or its encoder fails.
        """
        if not (math.isfinite(point) and 0.01 <= point <= 25):
            raise ArgumentError("distance", f"{point:g}", "a number from 0.01 to 25")
        codecs = load_library("imagecodecs")
        try:
            data: bytes = codecs.jpegxl_encode(
                colour_bytes(image), distance=float(point), effort=self.effort, usecontainer=False, numthreads=1
            )
        except codecs.JpegxlError as error:
            raise ProgramError("libjxl", str(error), "a coded image") from error
        return data

    def decode(self, data: bytes) -> RgbImage:
        """The image in a codestream.

        Raises:
            ImageError: bytes that are no whole codestream of an 8-bit colour image.
            ProgramError: imagecodecs is not installed.
        """
        codecs = load_library("imagecodecs")
        try:
            return as_rgb(codecs.jpegxl_decode(data, numthreads=1))
        except ImageError:
            raise
        except (RuntimeError, ValueError, MemoryError) as error:  # JpegxlError is a RuntimeError
            raise damaged(self.title, error) from error


@final
class Reduced(PixelSystem):
    """Another codec's image, made smaller first and enlarged by the receiver: fewer bytes than the codec's lowest
    quality takes.

    One byte in front of the file says how many columns (low four bits) and rows the enlarged image is too large by.

    Args:
        base: codes the smaller image.
        by: what sides are divided by, 2 to 15.
        points: the base's.
    """

    def __init__(self, base: PixelSystem, by: int, points: tuple[float, ...]) -> None:
        self.base, self.by, self.points = base, by, points
        self.name, self.title = f"{base.name}-{by}", f"{base.title}, sides divided by {by}"

    def missing(self) -> str | None:
        """What the base says."""
        return self.base.missing()

    def describe(self) -> Mapping[str, Any]:
        """The base's description, and the division."""
        return {**self.base.describe(), "divided_by": self.by}

    def encode(self, pixels: RgbImage, point: float) -> bytes:
        """One image to a byte and the base's file; raises what the base's `encode` raises."""
        height, width = pixels.shape[:2]
        rows, columns = -height % self.by, -width % self.by
        padded_pixels = np.pad(pixels, ((0, rows), (0, columns), (0, 0)), mode="edge")
        image = Image.fromarray(padded_pixels).reduce(self.by)
        return bytes([columns | rows << 4]) + self.base.encode(np.asarray(image, np.uint8), point)

    def decode(self, data: bytes) -> RgbImage:
        """The image at its size; raises what the base's `decode` raises, for no bytes too."""
        image = Image.fromarray(self.base.decode(data[1:]))
        size = (self.by * image.width, self.by * image.height)
        pixels = np.asarray(image.resize(size, Image.Resampling.BICUBIC), np.uint8)
        return np.ascontiguousarray(pixels[: size[1] - (data[0] >> 4), : size[0] - (data[0] & 15)])


JPEG = PillowSystem(
    "jpeg", pillow_codecs.JPEG, (4, 8, 14, 24, 40),
    "Quality 1, the lowest, takes about 0.09 bpp on rooms of 256x256: an empty image takes 0.08.",
)  # fmt: skip
"""Baseline JPEG with Huffman tables made for the image."""

WEBP = PillowSystem(
    "webp", pillow_codecs.WEBP, (0, 5, 12, 25, 50), "Quality 0, the lowest, takes about 0.06 bpp on rooms of 256x256."
)
"""Lossy WebP (VP8 intra), the slowest and best method."""

AVIF = PillowSystem(
    "avif",
    PillowCodec("AVIF", "AVIF", 0, 100, {"speed": 4, "subsampling": "4:2:0", "max_threads": 1}, ("avif", "avif")),
    (0, 10, 20, 32, 45),
    "Quality 0, the lowest, takes about 0.08 bpp on rooms of 256x256, half of it for an empty image.",
)
"""AV1 intra in AVIF's container, speed 4 of 0 (slowest) to 10."""

JPEG_XL = JpegXl()

SMALLER = (Reduced(AVIF, 2, (0, 20, 40)), Reduced(WEBP, 2, (0, 15, 50)), Reduced(WEBP, 4, (10, 50, 80)))
"""Images that are made smaller first."""
