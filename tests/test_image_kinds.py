"""Kinds of images: a table of (mode, bits, photometric interpretation, byte order) and the pixels expected."""

import io
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from atdc.errors import ImageError
from atdc.images import as_rgb
from odd_files import (
    BIG_ENDIAN_UNREAD,
    BLACK_IS_ZERO,
    FLOAT,
    GREY,
    PNGS,
    SIGNED,
    TIFFS,
    UNREAD,
    UNSIGNED,
    chunk,
    png,
    tiff,
)  # fmt: skip


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("bits", "photometric", "sample_format", "values", "expected"), TIFFS)
def test_grey_tiffs_have_their_right_values_or_are_named(
    bits: int, photometric: int, sample_format: int, values: tuple[float, ...], expected: tuple[int, ...], order: str
) -> None:
    data = tiff(values, bits, photometric, sample_format, order)
    if order == ">" and (bits, photometric, sample_format) in BIG_ENDIAN_UNREAD:
        with pytest.raises(
            ImageError,
            match=rf"a TIFF of {bits} unsigned bits, big-endian, with photometric interpretation {photometric};",
        ):
            as_rgb(data)
        return
    assert as_rgb(data)[0].tolist() == [[value] * 3 for value in expected]


@pytest.mark.parametrize(("bits", "photometric", "sample_format"), UNREAD)
@pytest.mark.parametrize("order", ["<", ">"])
def test_tiffs_that_pillow_does_not_read_are_named(
    tmp_path: Path, bits: int, photometric: int, sample_format: int, order: str
) -> None:
    path = tmp_path / "a.tif"
    path.write_bytes(tiff((0, 1), bits, photometric, sample_format, order))
    kind = {UNSIGNED: "unsigned", SIGNED: "signed", FLOAT: "floating-point"}[sample_format]
    named = f"a TIFF of {bits} {kind} bits, {'little' if order == '<' else 'big'}-endian, .* {photometric};"
    for form in (path, path.read_bytes()):
        with pytest.raises(ImageError, match=named):
            as_rgb(form)


@pytest.mark.parametrize("kind", PNGS)
def test_pngs_have_their_right_values(kind: str) -> None:
    data, expected = PNGS[kind]
    assert as_rgb(data)[0].tolist() == expected
    with Image.open(io.BytesIO(data)) as lazy:
        assert as_rgb(lazy)[0].tolist() == expected


def test_grey_of_twelve_bits_reaches_white() -> None:
    data = tiff((0x64, 0x0F, 0xFF), 8, BLACK_IS_ZERO, UNSIGNED, "<")  # two samples of 12 bits: 0x640 and 0xfff
    data = data.replace(struct.pack("<HHIHH", 258, 3, 1, 8, 0), struct.pack("<HHIHH", 258, 3, 1, 12, 0))
    data = data.replace(struct.pack("<HHII", 256, 4, 1, 3), struct.pack("<HHII", 256, 4, 1, 2))
    assert as_rgb(data)[0].tolist() == [[100] * 3, [255] * 3]


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_tiff_cut_short_is_not_called_unsupported(order: str) -> None:
    whole = tiff((0.0, 1.0), 64, BLACK_IS_ZERO, FLOAT, order)
    for length in (4, 8, 20, 60):
        with pytest.raises(ImageError, match=r"truncated|damaged") as caught:
            as_rgb(whole[:length])
        assert "a TIFF of" not in caught.value.found


def test_sixteen_bits_of_fits_are_signed() -> None:
    cards = ("SIMPLE  = T", "BITPIX  = 16", "NAXIS   = 2", "NAXIS1  = 3", "NAXIS2  = 1", "BZERO   = 32768", "END")
    head = "".join(card.ljust(80) for card in cards).ljust(2880).encode()
    data = head + struct.pack(">3h", -32768, -7068, 32767).ljust(2880, b"\0")
    assert as_rgb(data)[0].tolist() == [[value] * 3 for value in (0, 100, 255)]


def test_a_drawing_is_refused_and_no_interpreter_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    def started(*_: object, **__: object) -> None:
        raise AssertionError("Ghostscript was asked for")

    monkeypatch.setattr("PIL.EpsImagePlugin.Ghostscript", started)
    data = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n0 0 moveto\n%%EOF\n"
    with pytest.raises(ImageError, match="a file of the kind EPS; expected an image that Pillow reads"):
        as_rgb(data)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "I", "F", "LAB"])
def test_orientation_is_applied_in_every_mode(mode: str) -> None:
    wide = Image.new(mode, (3, 2))
    wide.getexif()[0x0112] = 6
    assert as_rgb(wide).shape == (3, 2, 3)


def test_odd_metadata_does_not_refuse_an_image_where_warnings_are_errors() -> None:
    data = png(GREY, 8, (0, 200), 2, chunk(b"acTL", bytes(8)))  # an animation of no frames
    with pytest.warns(UserWarning, match="Invalid APNG"), Image.open(io.BytesIO(data)):
        pass
    assert as_rgb(data)[0].tolist() == [[0] * 3, [200] * 3]


def test_a_lazily_opened_image_that_is_cut_short_is_named() -> None:
    buffer = io.BytesIO()
    Image.effect_noise((64, 64), 50).save(buffer, "PNG")
    with Image.open(io.BytesIO(buffer.getvalue()[:2000])) as lazy, pytest.raises(ImageError, match="truncated"):
        as_rgb(lazy)


MODES = {
    "1": (1, 255), "L": (90, 90), "LA": ((90, 255), 90), "RGB": ((1, 2, 3), (1, 2, 3)),
    "RGBA": ((1, 2, 3, 255), (1, 2, 3)), "RGBa": ((1, 2, 3, 255), (1, 2, 3)), "RGBX": ((1, 2, 3, 0), (1, 2, 3)),
    "CMYK": ((0, 0, 0, 255), 0), "YCbCr": ((90, 128, 128), 90), "HSV": ((0, 0, 90), 90), "I;16": (25700, 100),
    "I": (25700, 100), "F": (0.4, 102),
}  # fmt: skip


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_of_pillow_has_its_right_value(mode: str) -> None:
    value, expected = MODES[mode]
    pixel = expected if isinstance(expected, tuple) else (expected,) * 3
    assert np.abs(as_rgb(Image.new(mode, (3, 2), value)).astype(int) - pixel).max() <= 1


def test_a_heic_image_is_read_where_its_reader_is_installed(tmp_path: Path) -> None:
    heif = pytest.importorskip("pillow_heif", reason="needs pip install pillow-heif")
    path = tmp_path / "phone.heic"
    buffer = io.BytesIO()
    heif.from_pillow(Image.new("RGB", (64, 48), (200, 100, 50))).save(buffer, quality=90)
    path.write_bytes(buffer.getvalue())
    for form in (path, path.read_bytes()):
        read = as_rgb(form)
        assert read.shape == (48, 64, 3) and np.abs(read.astype(int) - (200, 100, 50)).max() <= 4
    assert "HEIF" not in Image.OPEN, "what a program's own Pillow reads is not changed"


def test_a_heic_image_without_its_reader_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    monkeypatch.setattr(Image, "open", lambda file: (_ for _ in ()).throw(Image.UnidentifiedImageError("no")))
    with pytest.raises(ImageError, match=r"a HEIC image; .* pip install pillow-heif"):
        as_rgb(b"\0\0\0\x18ftypheic" + bytes(40))
