"""Images of any kind, from a file or from memory, as one kind: sRGB, 8 bits, ``(height, width, 3)``.

Why this is a file of its own: a codec that is fed the wrong orientation, the wrong colour space or a black square where
the alpha channel was answers nonsense without a word. Here every such choice is made once and written down:

- EXIF orientation is applied, then forgotten.
- An embedded ICC profile is converted to sRGB; a profile that cannot be used is ignored, as image viewers do.
- Transparency is composited over white, the page that most images with alpha are drawn for.
- 16 bits become 8 by ``round(v / 257)``, so that 65535 is white, and 12 bits likewise; signed numbers of 8 or 16 bits
  after adding half their range. Colours of 16 bits a channel are read by their high bytes, which is Pillow's way, and
  so is the colour that a PNG says is clear. Grey is repeated over the three channels.
- Grey of 32 bits, whose range no file states, is stretched from its least to its largest value, and so is floating
  point that does not lie in 0 … 1. What Pillow itself keeps in 32 bits although it fits into 16 counts as 16 bits.
- Where zero is white (TIFF's MinIsWhite), brightness is turned round.
- A PNG's gamma counts where neither a profile nor an sRGB mark says more; its primaries without a profile do not.
- Of an animation, and of a file of several pages, the first frame counts.
- A PNG with a byte that does not fit its check is damaged, even if pixels come of it.
- What has no pixels of its own (EPS, which Pillow would hand to Ghostscript, and data formats) is refused.

No torch here: reading an image costs no second of import time.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import re
import warnings
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageCms, ImageFile, ImageOps, TiffImagePlugin, UnidentifiedImageError
from PIL.PngImagePlugin import PngImageFile

from atdc.config import PIXEL_LIMIT as PIXEL_LIMIT
from atdc.errors import ImageError
from atdc.files import require_name
from atdc.images.arrays import rgb_of_array

if TYPE_CHECKING:
    from torch import Tensor

ImageLike: TypeAlias = (
    "Image.Image | NDArray[np.generic] | Tensor | bytes | bytearray | memoryview | BinaryIO | str | os.PathLike[str]"
)

_READABLE = "an image that Pillow reads (PNG, JPEG, WebP, TIFF, BMP, GIF, PPM, …)"
_SIXTEEN_BIT_MODES = frozenset({"I", "I;16", "I;16B", "I;16L", "I;16N"})
_BITS, _PHOTOMETRIC, _SAMPLE_FORMAT = 258, 262, 339
"""TIFF's tags."""
_SIGNED = 2
"""A TIFF's sample format."""
_GAMMA_TOLERANCE = 0.02
"""Of the product of a file's gamma and 2.2: within it, the file is sRGB."""
_HEIF_BRANDS = (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1")
_TIFF_ORDERS = {b"II*\0": "little-endian", b"MM\0*": "big-endian"}
_TIFF_FORMATS = {1: "unsigned", 2: "signed", 3: "floating-point"}
_WITHOUT_PIXELS = frozenset({"EPS", "WMF", "BUFR", "GRIB", "HDF5", "MPEG"})
"""What Pillow opens and cannot load by itself."""
_SCALES = {"L;2": 85, "L;4": 17}
"""Of grey with fewer than 8 bits: what Pillow multiplies the samples by, but not the value that is clear."""
_WITH_ALPHA = {"LA": "LA", "La": "LA", "PA": "RGBA", "RGBA": "RGBA", "RGBa": "RGBA"}


def read_image(path: str | os.PathLike[str], pixel_limit: int = PIXEL_LIMIT) -> NDArray[np.uint8]:
    """Read the image in a file.

    Args:
        path: any file that Pillow reads.
        pixel_limit: width times height above this is refused before a pixel is decoded.

    Returns:
        ``(height, width, 3)``, sRGB, 0 … 255, upright.

    Raises:
        ImageError: there is no such file, it is empty, no image, truncated, damaged, or too large.
    """
    require_name(path, ImageError)
    path = Path(path)
    where = str(path)
    try:
        if path.stat().st_size == 0 and path.is_file():
            raise _empty(where)
    except OSError:
        pass  # said by what opens it, below
    return _read(path, where, pixel_limit)


def _read(file: Path | BinaryIO, where: str, pixel_limit: int) -> NDArray[np.uint8]:
    """The image in a file on disk or in memory; errors speak of `where`."""
    with _named_errors(where, pixel_limit), _opened(file, where) as image:
        if image.format in _WITHOUT_PIXELS:
            raise ImageError(where, f"a file of the kind {image.format}", _READABLE, "Convert it, for example to PNG.")
        _check_size(image, where, pixel_limit)
        _require_checks(image)
        return to_rgb(image)


@cache
def image_suffixes() -> frozenset[str]:
    """Endings of what Pillow opens, and of kinds that cameras write and Pillow opens with an extra.

    >>> {".jpg", ".heic"} <= image_suffixes(), ".eps" in image_suffixes()
    (True, False)
    """
    endings = Image.registered_extensions()  # which loads what opens them
    kinds = Image.OPEN.keys() - _WITHOUT_PIXELS
    suffixes = {suffix for suffix, kind in endings.items() if kind in kinds}
    return frozenset(suffixes | {".heic", ".heif", ".avif"})


@contextlib.contextmanager
def _named_errors(where: str, pixel_limit: int) -> Iterator[None]:
    """Whatever Pillow raises inside becomes an :class:`ImageError`, and its warnings do not become errors."""
    try:
        with warnings.catch_warnings():
            # Our own limit comes before Pillow's warning about large images; an image that can be read in spite of
            # odd metadata is read.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            warnings.simplefilter("ignore", UserWarning)
            yield
    except (ImageError, KeyboardInterrupt):
        raise
    except FileNotFoundError as error:
        raise ImageError(where, "no such file", _READABLE, "Check the path.") from error
    except IsADirectoryError as error:
        cure = f"Name the files in it: {Path(where) / '*.jpg'}"
        raise ImageError(where, "a folder", "an image file", cure) from error
    except PermissionError as error:
        raise ImageError(where, "a file that may not be read", _READABLE, "Check its permissions.") from error
    except UnidentifiedImageError as error:
        cure = "Use `atdc decode` to decode it." if where.endswith(".atdc") else "Convert it, for example to PNG."
        raise ImageError(where, "a file that is not an image", _READABLE, cure) from error
    except Image.DecompressionBombError as error:
        raise _more_than_pillow_takes(where, error, pixel_limit) from error
    except MemoryError as error:
        raise ImageError(where, "an image larger than the free memory", "one that fits", "Make it smaller.") from error
    except Exception as error:  # Pillow's readers let OSError, SyntaxError, ValueError, struct.error, … escape
        problem = "a truncated image" if "truncated" in str(error).lower() else f"a damaged image ({error})"
        if isinstance(error, OSError) and error.errno in (errno.ELOOP, errno.ENAMETOOLONG):
            raise ImageError(where, str(error.strerror).lower(), _READABLE, "Check the path.") from error
        raise ImageError(where, problem, "a whole, readable image", "Copy or download it again.") from error


def _from_its_start(stream: BinaryIO) -> BinaryIO:
    """A stream that can be read several times, from its start, as Pillow reads one; of a pipe, what is left in it."""
    try:
        stream.seek(0)
    except (AttributeError, OSError):
        return io.BytesIO(stream.read())
    return stream


def _opened(file: Path | BinaryIO, where: str) -> Image.Image:
    """Pillow's image of a file, or an error that names the kind of image that is not supported."""
    try:
        return Image.open(file)
    except UnidentifiedImageError:
        if isinstance(file, Path):
            with file.open("rb") as opened:
                head = opened.read(12)
        else:
            file.seek(0)
            head = file.read(12)
            file.seek(0)
        if not head:
            raise _empty(where) from None
        if head[4:8] == b"ftyp" and head[8:12] in _HEIF_BRANDS:
            try:
                import pillow_heif
            except ImportError as error:
                cure = "Install what reads it: pip install pillow-heif"
                raise ImageError(where, "a HEIC image", _READABLE, cure) from error
            # Not registered with Pillow, which belongs to the whole program.
            image_of: Callable[[Path | BinaryIO], Image.Image] = pillow_heif.HeifImageFile
            return image_of(file)
        if head[:4] in _TIFF_ORDERS:
            expected = "8 or 16 unsigned bits a sample with black as zero, or 32-bit floats"
            raise ImageError(where, _tiff_kind(file), expected, "Convert it, for example to PNG.") from None
        raise


def _tiff_kind(file: Path | BinaryIO) -> str:
    """What a TIFF that Pillow does not read says of its samples."""
    with contextlib.ExitStack() as stack:
        stream = stack.enter_context(file.open("rb")) if isinstance(file, Path) else file
        header = stream.read(8)
        tags = TiffImagePlugin.ImageFileDirectory_v2(header)
        stream.seek(tags.next)
        tags.load(stream)
    if _PHOTOMETRIC not in tags:
        raise OSError("truncated directory of tags")
    bits = ", ".join(str(value) for value in tags.get(_BITS, (1,)))
    sample_format = _TIFF_FORMATS.get(tags.get(_SAMPLE_FORMAT, (1,))[0], "unusual")
    order = _TIFF_ORDERS[header[:4]]
    return f"a TIFF of {bits} {sample_format} bits, {order}, with photometric interpretation {tags[_PHOTOMETRIC]}"


def as_rgb(image: ImageLike, pixel_limit: int = PIXEL_LIMIT) -> NDArray[np.uint8]:
    """Whatever a caller calls an image, as ``(height, width, 3)`` sRGB bytes.

    Args:
        image: a path; a file's bytes or a file object; a Pillow image; an array ``(H, W)``, ``(H, W, 1)``,
            ``(H, W, 3)`` or ``(H, W, 4)`` of uint8, uint16 or floats from 0 to 1; or a torch tensor ``(3, H, W)`` of
            such numbers. The fourth channel is opacity over white.
        pixel_limit: as in :func:`read_image`.

    Raises:
        ImageError: the image cannot be read, or is too large.
        ArgumentError: the array has another shape or type; the message says how to make it fit.

    >>> as_rgb(np.ones((4, 6))).shape
    (4, 6, 3)
    >>> as_rgb(np.zeros((3, 40, 60), np.uint8))
    Traceback (most recent call last):
    atdc.errors.ArgumentError: image: found an array of uint8, shape (3, 40, 60); expected shape (height, width, 3), ...
    """
    if isinstance(image, (str, os.PathLike)):
        return read_image(image, pixel_limit)
    if isinstance(image, Image.Image):
        where = getattr(image, "filename", "") or "image"
        _check_size(image, str(where), pixel_limit)
        with _named_errors(str(where), pixel_limit):  # an image opened lazily is decoded only here
            _require_checks(image)
            return to_rgb(image)
    if isinstance(image, (bytes, bytearray, memoryview)):
        return _read(io.BytesIO(image), "image", pixel_limit)
    if hasattr(image, "read"):
        where = str(getattr(image, "name", "image"))
        with _named_errors(where, pixel_limit):
            stream = _from_its_start(cast(BinaryIO, image))
        return _read(stream, where, pixel_limit)
    array = rgb_of_array(image)
    if array.shape[0] * array.shape[1] > pixel_limit:
        raise _too_large("image", f"{array.shape[1]}×{array.shape[0]} pixels", pixel_limit)
    return to_rgb(Image.fromarray(array)) if array.shape[2] == 4 else array


def to_rgb(image: Image.Image) -> NDArray[np.uint8]:
    """Apply orientation, colour profile, transparency and bit depth, as the head of this file says.

    Args:
        image: an open Pillow image of any mode; it is not changed.

    >>> to_rgb(Image.new("I;16", (1, 1), 32896)).tolist()
    [[[128, 128, 128]]]
    >>> to_rgb(Image.new("LA", (1, 1), (0, 128))).tolist()
    [[[127, 127, 127]]]
    """
    profile: bytes | None = image.info.get("icc_profile")
    gamma = None if profile or "srgb" in image.info else image.info.get("gamma")
    tags = getattr(image, "tag_v2", {})
    zero_is_white = tags.get(_PHOTOMETRIC) == 0 and image.mode not in ("1", "L")  # of those, Pillow takes care
    form = tags.get(_BITS, (0,))[0], tags.get(_SAMPLE_FORMAT, (1,))[0]
    if image.format == "FITS" and image.mode == "I;16":
        form = (16, _SIGNED)
    clear = _clear(image)
    image.load()
    with contextlib.suppress(Exception):  # an unreadable EXIF block is no reason to refuse the image
        image = ImageOps.exif_transpose(image)
    image, alpha = _eight_bits(image, form, clear)
    if zero_is_white:
        image = ImageChops.invert(image)
    if (
        isinstance(gamma, float)
        and gamma > 0
        and abs(gamma * 2.2 - 1) > _GAMMA_TOLERANCE
        and image.mode in ("L", "RGB")
    ):
        image = image.point(_srgb_of_gamma(gamma) * len(image.getbands()))
    image = _to_srgb(image, profile)
    if alpha is not None:
        page = Image.new("RGB", image.size, "white")
        page.paste(image, mask=alpha)
        image = page
    return np.array(image, dtype=np.uint8)


def _srgb_of_gamma(gamma: float) -> list[int]:
    """The sRGB byte of each byte that a file of that gamma keeps: ``light = v^(1/gamma)``."""
    return [round(255 * srgb_of_light((value / 255) ** (1 / gamma))) for value in range(256)]


def srgb_of_light(light: float) -> float:
    """The transfer function of sRGB (IEC 61966-2-1), on 0 … 1."""
    return 12.92 * light if light <= 0.0031308 else 1.055 * light ** (1 / 2.4) - 0.055


def _clear(image: Image.Image) -> Any:
    """The value, colour or palette entry that is clear, in terms of the samples that Pillow makes; None without one.

    Only an image that is not loaded yet still knows how many bits its samples have in the file.
    """
    clear = image.info.get("transparency")
    stored = str(image.tile[0].args) if isinstance(image, ImageFile.ImageFile) and image.tile else ""
    if isinstance(clear, tuple) and ";16" in stored:
        return tuple(value >> 8 for value in clear)
    return clear * _SCALES.get(stored, 1) if isinstance(clear, int) else clear


def _eight_bits(image: Image.Image, form: tuple[int, int], clear: Any) -> tuple[Image.Image, Image.Image | None]:
    """The colours in a mode of 8 bits a channel (L, RGB, CMYK, LAB), and the alpha channel if there is one.

    Args:
        image: of any mode.
        form: bits and sample format, where a TIFF says them.
        clear: what :func:`_clear` says.
    """
    if image.mode in _SIXTEEN_BIT_MODES:
        values = _unsigned(np.asarray(image).astype(np.int64), form)
        if values.min() < 0 or values.max() > 65535:
            return Image.fromarray(_stretch(values.astype(np.float64))), None
        alpha = Image.fromarray(np.where(values == clear, 0, 255).astype(np.uint8)) if isinstance(clear, int) else None
        return Image.fromarray(((values + 128) // 257).astype(np.uint8)), alpha
    if image.mode == "F":
        return Image.fromarray(_stretch(np.asarray(image, dtype=np.float64))), None
    if image.mode in _WITH_ALPHA or image.has_transparency_data:
        if clear != image.info.get("transparency"):
            image = image.copy()
            image.info["transparency"] = clear
        image = image.convert(_WITH_ALPHA.get(image.mode, "RGBA"))
        return image.convert("L" if image.mode == "LA" else "RGB"), image.getchannel("A")
    if image.mode == "L" and form == (8, _SIGNED):
        return image.point([value ^ 128 for value in range(256)]), None
    if image.mode in ("L", "RGB", "CMYK", "LAB"):
        return image, None
    return image.convert("L" if image.mode == "1" else "RGB"), None


def _unsigned(values: NDArray[np.int64], form: tuple[int, int]) -> NDArray[np.int64]:
    """Samples of 16 bits as 0 … 65535; of 32 bits as they are, but with the sign that the file says."""
    if form == (12, 1):
        return (values * 65535 + 2047) // 4095
    if form == (16, _SIGNED):
        return (values + (1 << 15)) % (1 << 16)
    if form == (32, 1):  # Pillow keeps them in signed ones of 32
        return values % (1 << 32)
    return values


def _stretch(values: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Floats as bytes: 0 … 1 as they are, anything else from its least to its largest finite value."""
    finite = np.isfinite(values)
    low, high = (values[finite].min(), values[finite].max()) if finite.any() else (0.0, 0.0)
    if low >= 0.0 and high <= 1.0:
        low, high = 0.0, 1.0
    scaled = np.where(finite, (values - low) / max(high - low, 1e-30), 0.0)
    return (255.0 * scaled).round().astype(np.uint8)


def _to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Convert from the embedded profile where it fits the image's mode, and plainly otherwise."""
    if image.mode == "LAB":
        lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        converted = ImageCms.profileToProfile(image, lab, srgb, outputMode="RGB")
        return converted if converted is not None else image
    if profile:
        # PyCMSError: not a profile, or one for other channels than the image has. OSError: bytes that are no profile.
        with contextlib.suppress(ImageCms.PyCMSError, OSError):
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            converted = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
            if converted is not None:
                return converted
    return image.convert("RGB")


def _require_checks(image: Image.Image) -> None:
    """Raises whatever Pillow does where a PNG's bytes do not fit their checks, which loading does not look at."""
    if isinstance(image, PngImageFile) and image.fp is not None and image.tile:  # otherwise it is loaded already
        position = image.fp.tell()
        Image.open(image.fp, formats=["PNG"]).verify()
        image.fp.seek(position)


def _check_size(image: Image.Image, where: str, pixel_limit: int) -> None:
    width, height = image.size
    if width * height > pixel_limit:
        raise _too_large(where, f"{width}×{height} pixels", pixel_limit)
    if width * height == 0:
        raise ImageError(where, f"{width}×{height} pixels", "at least one pixel")


def _more_than_pillow_takes(where: str, error: Image.DecompressionBombError, pixel_limit: int) -> ImageError:
    """Its own limit lies above ours by default, and it says how many pixels there are."""
    pixels = int(re.sub(r"\D*(\d+).*", r"\1", str(error)))
    if pixels > pixel_limit:
        return _too_large(where, f"{pixels:,} pixels", pixel_limit)
    expected = "no more than Pillow accepts"
    return ImageError(where, f"{pixels:,} pixels", expected, "Set PIL.Image.MAX_IMAGE_PIXELS = None to read it.")


def _empty(where: str) -> ImageError:
    return ImageError(where, "an empty file (0 bytes)", _READABLE, "Copy or download it again.")


def _too_large(where: str, size: str, pixel_limit: int) -> ImageError:
    return ImageError(where, size, f"at most {pixel_limit:,} pixels", "Make the image smaller first.")
