"""Odd files, more than a hundred: images of every kind and what is none, each with what it must end as.

Run as a program, it writes them into a folder and prints the table: ``python tests/odd_files.py FOLDER``.
"""

import io
import struct
import sys
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms

UNSIGNED, SIGNED, FLOAT = 1, 2, 3
WHITE_IS_ZERO, BLACK_IS_ZERO = 0, 1


def tiff(values: tuple[float, ...], bits: int, photometric: int, sample_format: int, order: str) -> bytes:
    """One row of grey, uncompressed."""
    kind = {
        (8, 1): "B",
        (8, 2): "b",
        (16, 1): "H",
        (16, 2): "h",
        (32, 1): "I",
        (32, 2): "i",
        (32, 3): "f",
        (64, 3): "d",
    }
    data = struct.pack(order + kind[bits, sample_format] * len(values), *values)
    fields = [(256, 4, len(values)), (257, 4, 1), (258, 3, bits), (259, 3, 1), (262, 3, photometric), (273, 4, 0),
              (277, 3, 1), (278, 4, 1), (279, 4, len(data)), (339, 3, sample_format)]  # fmt: skip
    start = 8 + 2 + 12 * len(fields) + 4
    head = {"<": b"II", ">": b"MM"}[order] + struct.pack(order + "HIH", 42, 8, len(fields))
    for tag, size, value in fields:
        own = start if tag == 273 else value
        head += struct.pack(order + "HHI", tag, size, 1)
        head += struct.pack(order + "HH", own, 0) if size == 3 else struct.pack(order + "I", own)
    return head + struct.pack(order + "I", 0) + data


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(colour: int, bits: int, samples: tuple[int, ...], width: int, *extra: bytes) -> bytes:
    """One row."""
    if bits < 8:  # one byte holds all of them
        row = bytes([0, sum(sample << 8 - bits * (place + 1) for place, sample in enumerate(samples))])
    else:
        row = b"\0" + struct.pack(">" + {8: "B", 16: "H"}[bits] * len(samples), *samples)
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, 1, bits, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(extra) + chunk(b"IDAT", zlib.compress(row)) + chunk(b"IEND", b"")


TIFFS = [
    (8, BLACK_IS_ZERO, UNSIGNED, (0, 200), (0, 200)),
    (8, WHITE_IS_ZERO, UNSIGNED, (0, 200), (255, 55)),
    (8, BLACK_IS_ZERO, SIGNED, (-128, -28, 127), (0, 100, 255)),
    (16, BLACK_IS_ZERO, UNSIGNED, (0, 25700), (0, 100)),
    (16, WHITE_IS_ZERO, UNSIGNED, (0, 25700), (255, 155)),
    (16, BLACK_IS_ZERO, SIGNED, (-32768, -7068, 32767), (0, 100, 255)),
    (32, BLACK_IS_ZERO, UNSIGNED, (0, 1_600_000_000, 4_000_000_000), (0, 102, 255)),
    (32, BLACK_IS_ZERO, SIGNED, (-1_000_000_000, 0, 1_000_000_000), (0, 128, 255)),
    (32, BLACK_IS_ZERO, FLOAT, (0.0, 0.4, 1.0), (0, 102, 255)),
    (32, WHITE_IS_ZERO, FLOAT, (0.0, 0.4, 1.0), (255, 153, 0)),
    (32, BLACK_IS_ZERO, FLOAT, (-10.0, 0.0, 10.0), (0, 128, 255)),
]
BIG_ENDIAN_UNREAD = ((16, WHITE_IS_ZERO, UNSIGNED), (32, BLACK_IS_ZERO, UNSIGNED))
"""Of these, what Pillow reads little-endian only."""
UNREAD = ((64, BLACK_IS_ZERO, FLOAT), (32, WHITE_IS_ZERO, UNSIGNED), (16, WHITE_IS_ZERO, SIGNED))
"""(bits, photometric, sample format) that Pillow does not read at all."""


GREY, RGB, GREY_ALPHA, RGBA = 0, 2, 4, 6
LINEAR, SRGB_GAMMA = (chunk(b"gAMA", struct.pack(">I", value)) for value in (100_000, 45_455))
PNGS = {
    "16-bit grey": (png(GREY, 16, (0, 25700), 2), [[0] * 3, [100] * 3]),
    "16-bit grey, one value clear": (
        png(GREY, 16, (25700, 25701), 2, chunk(b"tRNS", struct.pack(">H", 25700))), [[255] * 3, [100] * 3],
    ),
    "16-bit colour, one colour clear": (
        png(RGB, 16, (0, 1000, 65535, 0, 256, 512), 2, chunk(b"tRNS", struct.pack(">3H", 0, 1000, 65535))),
        [[255] * 3, [0, 1, 2]],
    ),
    "16-bit grey and opacity": (png(GREY_ALPHA, 16, (25700, 65535, 0, 0), 2), [[100] * 3, [255] * 3]),
    "16-bit colour and opacity": (png(RGBA, 16, (256, 512, 768, 65535), 1), [[1, 2, 3]]),
    "8-bit grey, one value clear": (
        png(GREY, 8, (9, 10), 2, chunk(b"tRNS", struct.pack(">H", 9))), [[255] * 3, [10] * 3],
    ),
    "1-bit grey, one value clear": (
        png(GREY, 1, (0, 1), 2, chunk(b"tRNS", struct.pack(">H", 0))), [[255] * 3, [255] * 3],
    ),
    "2-bit grey, one value clear": (
        png(GREY, 2, (1, 2), 2, chunk(b"tRNS", struct.pack(">H", 1))), [[255] * 3, [170] * 3],
    ),
    "4-bit grey, one value clear": (
        png(GREY, 4, (1, 2), 2, chunk(b"tRNS", struct.pack(">H", 1))), [[255] * 3, [34] * 3],
    ),
    "linear light": (png(GREY, 8, (0, 55, 255), 3, LINEAR), [[0] * 3, [128] * 3, [255] * 3]),
    "linear light, in colour": (png(RGB, 8, (0, 55, 255), 1, LINEAR), [[0, 128, 255]]),
    "the gamma of sRGB": (png(GREY, 8, (55,), 1, SRGB_GAMMA), [[55] * 3]),
    "linear light, but marked as sRGB": (png(GREY, 8, (55,), 1, LINEAR, chunk(b"sRGB", b"\0")), [[55] * 3]),
}  # fmt: skip


@dataclass(frozen=True)
class OddFile:
    """A file and its end: the image it is read as, or how the error about it begins."""

    name: str
    data: bytes
    image: np.ndarray | None = None
    refused: str = ""
    """A regular expression for what is found."""


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def row(pixels: list[list[int]]) -> np.ndarray:
    return np.array([pixels], np.uint8)


def solid(pixel: int | tuple[int, int, int], size: tuple[int, int] = (19, 17)) -> np.ndarray:
    return np.full((size[1], size[0], 3), pixel, np.uint8)


CORNERS = np.arange(40, 40 + 4 * 3 * 3, dtype=np.uint8).reshape(4, 3, 3)
"""A small image without symmetry."""
LOSSLESS = {
    "1": (1, 255, "PNG TIFF BMP PPM GIF PCX"),
    "L": (90, 90, "PNG TIFF BMP PPM GIF PCX TGA SGI"),
    "LA": ((90, 255), 90, "PNG TIFF TGA"),
    "P": (0, 0, "PNG TIFF BMP GIF PCX"),
    "RGB": ((1, 2, 3), (1, 2, 3), "PNG TIFF BMP PPM PCX TGA SGI QOI WEBP JPEG2000"),
    "RGBA": ((1, 2, 3, 255), (1, 2, 3), "PNG TIFF TGA SGI QOI WEBP BMP"),
    "RGBX": ((1, 2, 3, 0), (1, 2, 3), "TIFF"),
    "CMYK": ((0, 0, 0, 255), 0, "TIFF"),
    "YCbCr": ((90, 128, 128), 90, "TIFF"),
    "I;16": (25700, 100, "PNG TIFF PPM"),
    "I": (25700, 100, "TIFF PPM"),
    "F": (0.4, 102, "TIFF PPM"),
}
"""Of each mode: a value, the pixel it is, and the formats that keep it. (LAB differs by one between colour engines.)"""


def grey_tiffs() -> Iterator[OddFile]:
    kinds = {UNSIGNED: "unsigned", SIGNED: "signed", FLOAT: "float"}
    for order, name in (("<", "little"), (">", "big")):
        for number, (bits, photometric, form, values, expected) in enumerate(TIFFS):
            data = tiff(values, bits, photometric, form, order)
            title = f"tiff-{number}-{bits}-{kinds[form]}-{'white' if photometric == 0 else 'black'}-is-zero-{name}.tif"
            if order == ">" and (bits, photometric, form) in BIG_ENDIAN_UNREAD:
                yield OddFile(title, data, refused=f"a TIFF of {bits} unsigned bits, big-endian")
            else:
                yield OddFile(title, data, row([[value] * 3 for value in expected]))
        for bits, photometric, form in UNREAD:
            data = tiff((0, 1), bits, photometric, form, order)
            yield OddFile(
                f"unread-{bits}-{kinds[form]}-{name}.tif", data, refused=f"a TIFF of {bits} .* {photometric}$"
            )


def pngs() -> Iterator[OddFile]:
    for kind, (data, pixels) in PNGS.items():
        yield OddFile(f"png {kind}.png", data, row(pixels))


def modes() -> Iterator[OddFile]:
    for mode, (value, pixel, formats) in LOSSLESS.items():
        image = Image.new(mode, (19, 17), value)
        for kind in formats.split():
            options: dict[str, object] = {"lossless": True} if kind == "WEBP" else {}
            yield OddFile(
                f"mode-{mode.replace(';', '-')}-{kind}.{kind.lower()}", saved(image, kind, **options), solid(pixel)
            )


def orientations() -> Iterator[OddFile]:
    stored = {
        1: CORNERS, 2: CORNERS[:, ::-1], 3: CORNERS[::-1, ::-1], 4: CORNERS[::-1], 5: CORNERS.transpose(1, 0, 2),
        6: np.rot90(CORNERS), 7: np.rot90(CORNERS, 2).transpose(1, 0, 2), 8: np.rot90(CORNERS, -1),
    }  # fmt: skip
    for orientation, pixels in stored.items():
        exif = Image.Exif()
        exif[0x0112] = orientation
        for kind in ("png", "tiff"):
            data = saved(Image.fromarray(np.ascontiguousarray(pixels)), kind, exif=exif)
            yield OddFile(f"turned-{orientation}-{kind}.{kind}", data, CORNERS)


def frames_and_profiles() -> Iterator[OddFile]:
    first, second = (Image.new("RGB", (19, 17), value) for value in ((255, 255, 255), (0, 0, 0)))
    for kind in ("GIF", "PNG", "TIFF", "WEBP"):
        options: dict[str, object] = {"lossless": True} if kind == "WEBP" else {}
        data = saved(first, kind, save_all=True, append_images=[second], **options)
        yield OddFile(f"frames-{kind}.{kind.lower()}", data, solid(255))
    for name, profile in (("none", b"no profile at all"), ("lab", _profile("LAB"))):
        data = saved(Image.fromarray(CORNERS), "PNG", icc_profile=profile)
        yield OddFile(f"profile-{name}.png", data, CORNERS)
    for size in ((1, 1), (1, 300), (300, 1), (513, 3)):
        data = saved(Image.new("RGB", size, (9, 8, 7)), "PNG")
        yield OddFile(f"size-{size[0]}-{size[1]}.png", data, solid((9, 8, 7), size))
    yield OddFile("a name with ümläuts, [brackets] & spaces.png", saved(Image.fromarray(CORNERS), "PNG"), CORNERS)
    yield OddFile("png called.jpg", saved(Image.fromarray(CORNERS), "PNG"), CORNERS)


def _profile(space: str) -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile(space)).tobytes()


def refused() -> Iterator[OddFile]:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    for kind in ("PNG", "JPEG", "TIFF", "WEBP", "BMP", "GIF", "JPEG2000"):
        whole = saved(noise, kind)
        yield OddFile(f"half-{kind}.bin", whole[: len(whole) // 2], refused="a truncated image|a damaged image")
        yield OddFile(f"head-{kind}.bin", whole[:10], refused="a truncated image|a damaged image|a file that is not an")
    broken = bytearray(saved(noise, "PNG"))
    broken[60:64] = b"\xff\xff\xff\xff"
    yield OddFile("broken.png", bytes(broken), refused="a damaged image")
    yield OddFile(
        "bomb.png", saved(Image.new("1", (20000, 20000)), "PNG"), refused="20000×20000 pixels|400,000,000 pixels"
    )
    yield OddFile("no width.png", png(GREY, 8, (), 0), refused="a file that is not an image|0×1 pixels")
    yield OddFile("no bytes.png", b"", refused="an empty file")
    yield OddFile("heic.heic", b"\0\0\0\x18ftypheic" + bytes(40), refused="a HEIC image|a damaged image")
    yield OddFile(
        "drawing.eps",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n%%EOF\n",
        refused="a file of the kind EPS",
    )
    for name, data in {
        "text.txt": b"this is no picture", "page.pdf": b"%PDF-1.7\n", "drawing.svg": b"<svg xmlns='x'/>",
        "program.elf": b"\x7fELF" + bytes(60), "packed.zip": b"PK\3\4" + bytes(30), "zeros.png": bytes(1000),
        "features.atdc": b"ATDC" + bytes(30), "jxl.jxl": b"\xff\x0a" + bytes(30),
    }.items():  # fmt: skip
        yield OddFile(name, data, refused="a file that is not an image")


def odd_files() -> list[OddFile]:
    """All of them; their names differ without their suffixes, too."""
    makers = (grey_tiffs, pngs, modes, orientations, frames_and_profiles, refused)
    files = [file for make in makers for file in make()]
    return [
        OddFile(f"{number:03} {file.name}", file.data, file.image, file.refused) for number, file in enumerate(files)
    ]


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for file in odd_files():
        (folder / file.name).write_bytes(file.data)
        end = f"refused: {file.refused}" if file.image is None else f"{file.image.shape}, {file.image[0, 0].tolist()} …"
        print(f"{file.name}: {end}")
