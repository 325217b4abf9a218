"""Whatever Pillow reads arrives upright, in sRGB, with eight bits; whatever it does not read gets one clear error."""

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from atdc.errors import ArgumentError, ImageError
from atdc.images import as_rgb, read_image, to_rgb


def _gradient(height: int = 20, width: int = 30) -> np.ndarray:
    """An image without symmetry, smooth enough for JPEG."""
    y, x = np.mgrid[:height, :width]
    return np.stack([255 * x / width, 255 * y / height, 255 * (x + y) / (height + width)], -1).astype(np.uint8)


def _save(path: Path, image: Image.Image, **options: object) -> Path:
    image.save(path, **options)
    return path


@pytest.mark.parametrize("suffix", ["png", "bmp", "tiff", "ppm", "webp", "gif", "jpg"])
def test_formats_are_read_alike(tmp_path: Path, suffix: str) -> None:
    options: dict[str, object] = {"webp": {"lossless": True}, "jpg": {"quality": 98, "subsampling": 0}}.get(suffix, {})
    read = read_image(_save(tmp_path / f"a.{suffix}", Image.fromarray(_gradient()), **options))
    tolerance = {"gif": 24, "jpg": 6}.get(suffix, 0)
    assert read.shape == (20, 30, 3) and read.dtype == np.uint8
    assert np.abs(read.astype(int) - _gradient()).max() <= tolerance


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path: Path, orientation: int) -> None:
    upright = _gradient()
    stored = {
        1: upright, 2: upright[:, ::-1], 3: upright[::-1, ::-1], 4: upright[::-1],
        5: upright.transpose(1, 0, 2), 6: np.rot90(upright), 7: np.rot90(upright, 2).transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }[orientation]  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = _save(tmp_path / "a.png", Image.fromarray(np.ascontiguousarray(stored)), exif=exif)
    np.testing.assert_array_equal(read_image(path), upright)


def test_sixteen_bit_grey_is_scaled_and_not_clipped(tmp_path: Path) -> None:
    values = np.array([[0, 257, 32896, 65535]], np.uint16)
    for suffix in ("png", "tiff"):
        read = read_image(_save(tmp_path / f"a.{suffix}", Image.fromarray(values)))
        np.testing.assert_array_equal(read[0, :, 0], [0, 1, 128, 255])


def test_sixteen_bit_pgm_is_scaled(tmp_path: Path) -> None:
    path = tmp_path / "a.pgm"
    path.write_bytes(b"P5 2 1 65535\n" + np.array([65535, 32896], ">u2").tobytes())
    np.testing.assert_array_equal(read_image(path)[0, :, 0], [255, 128])


def test_floats_in_the_unit_interval_stay_and_others_are_stretched() -> None:
    unit = to_rgb(Image.fromarray(np.array([[0.0, 0.5, 0.75]], np.float32)))
    np.testing.assert_array_equal(unit[0, :, 0], [0, 128, 191])
    metres = to_rgb(Image.fromarray(np.array([[2.0, 4.0, 6.0, np.nan]], np.float32)))
    np.testing.assert_array_equal(metres[0, :, 0], [0, 128, 255, 0])


def test_one_bit_and_grey_are_repeated_over_the_channels() -> None:
    np.testing.assert_array_equal(to_rgb(Image.new("1", (2, 1), 1)), np.full((1, 2, 3), 255))
    np.testing.assert_array_equal(to_rgb(Image.new("L", (2, 1), 7)), np.full((1, 2, 3), 7))


def test_palette_is_looked_up_and_its_transparent_entry_is_white() -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putdata([0, 1])
    np.testing.assert_array_equal(to_rgb(image)[0], [[10, 20, 30], [40, 50, 60]])
    image.info["transparency"] = 1
    np.testing.assert_array_equal(to_rgb(image)[0], [[10, 20, 30], [255, 255, 255]])


@pytest.mark.parametrize("mode, transparent", [("RGBA", (9, 9, 9, 0)), ("LA", (9, 0)), ("RGBa", (0, 0, 0, 0))])
def test_transparency_shows_a_white_page(mode: str, transparent: tuple[int, ...]) -> None:
    np.testing.assert_array_equal(to_rgb(Image.new(mode, (1, 1), transparent)), [[[255, 255, 255]]])


def test_cmyk_becomes_rgb(tmp_path: Path) -> None:
    path = _save(tmp_path / "a.jpg", Image.new("CMYK", (8, 8), (255, 0, 0, 0)), quality=98)
    red, green, blue = read_image(path).astype(int).mean((0, 1))
    assert red < 60 and green > 150 and blue > 150


def test_embedded_profile_is_converted_to_srgb(tmp_path: Path) -> None:
    lab = ImageCms.createProfile("LAB")
    image = Image.new("LAB", (1, 1), (128, 128, 128))
    red, green, blue = to_rgb(image)[0, 0].astype(int)
    assert abs(red - 119) < 3 and abs(green - 119) < 3 and abs(blue - 119) < 3, "L* = 50 is sRGB 119"
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    same = read_image(_save(tmp_path / "a.png", Image.fromarray(_gradient()), icc_profile=srgb))
    assert np.abs(same.astype(int) - _gradient()).max() <= 1
    # A profile for channels the image does not have, and bytes that are none, are ignored.
    for useless in (ImageCms.ImageCmsProfile(lab).tobytes(), b"no profile at all"):
        plain = read_image(_save(tmp_path / "b.png", Image.fromarray(_gradient()), icc_profile=useless))
        np.testing.assert_array_equal(plain, _gradient())


def test_another_gamut_changes_the_numbers() -> None:
    image = Image.fromarray(_gradient())
    image.info["icc_profile"] = _wide_gamut_profile()
    assert np.abs(to_rgb(image).astype(int) - _gradient()).max() > 10


def _wide_gamut_profile() -> bytes:
    """sRGB with its red and green primaries exchanged: the crudest profile that is not sRGB."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    red, green = data.index(b"rXYZ"), data.index(b"gXYZ")
    data[red : red + 4], data[green : green + 4] = b"gXYZ", b"rXYZ"
    return bytes(data)


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (20000, 300)])
def test_odd_sizes_are_read(tmp_path: Path, size: tuple[int, int]) -> None:
    read = read_image(_save(tmp_path / "a.png", Image.new("RGB", size)))
    assert read.shape == (size[1], size[0], 3)


def test_first_frame_of_an_animation_counts(tmp_path: Path) -> None:
    frames = [Image.new("L", (4, 4), value) for value in (255, 0)]
    path = _save(tmp_path / "a.gif", frames[0], save_all=True, append_images=frames[1:])
    assert read_image(path).min() == 255


def _damaged(tmp_path: Path, kind: str) -> Path:
    path = tmp_path / f"{kind}.png"
    if kind == "empty":
        path.write_bytes(b"")
    elif kind == "text":
        path.write_text("this is no image")
    elif kind == "folder":
        path.mkdir()
    elif kind == "truncated_jpeg":
        buffer = io.BytesIO()
        Image.fromarray(_gradient(64, 64)).save(buffer, "JPEG")
        path.write_bytes(buffer.getvalue()[:-200])
    elif kind in ("truncated_png", "broken_png", "header_only"):
        buffer = io.BytesIO()
        Image.fromarray(_gradient(64, 64)).save(buffer, "PNG")
        data = bytearray(buffer.getvalue())
        if kind == "broken_png":
            data[60:64] = b"\xff\xff\xff\xff"
        path.write_bytes(data[: {"truncated_png": len(data) // 2, "header_only": 20}.get(kind, len(data))])
    return path


@pytest.mark.parametrize(
    "kind, found",
    [
        ("missing", "no such file"),
        ("folder", "a folder"),
        ("empty", "an empty file"),
        ("text", "not an image"),
        ("truncated_jpeg", "a truncated image"),
        ("truncated_png", "a truncated image"),
        ("broken_png", "a damaged image"),
        ("header_only", "image"),
    ],
)
def test_what_cannot_be_read_gets_one_clear_error(tmp_path: Path, kind: str, found: str) -> None:
    path = _damaged(tmp_path, kind)
    with pytest.raises(ImageError) as caught:
        read_image(path)
    assert found in caught.value.found and caught.value.where == str(path)
    assert "\n" not in str(caught.value)


def test_more_pixels_than_the_limit_are_refused_before_decoding(tmp_path: Path) -> None:
    path = _save(tmp_path / "a.png", Image.new("1", (200, 100)))
    with pytest.raises(ImageError, match="200×100 pixels; expected at most 19,999 pixels"):
        read_image(path, pixel_limit=19_999)
    assert read_image(path, pixel_limit=20_000).shape == (100, 200, 3)
    with pytest.raises(ImageError, match="pixels"):
        as_rgb(np.zeros((100, 200, 3), np.uint8), pixel_limit=19_999)


def test_a_decompression_bomb_is_refused(tmp_path: Path) -> None:
    path = _save(tmp_path / "bomb.png", Image.new("1", (20000, 20000)))
    with pytest.raises(ImageError, match="at most 67,108,864 pixels"):
        read_image(path)


def test_images_in_memory_are_taken_too(tmp_path: Path) -> None:
    array = _gradient()
    path = _save(tmp_path / "a.png", Image.fromarray(array))
    with Image.open(path) as lazy:
        for image in (array, Image.fromarray(array), path, str(path), lazy):
            np.testing.assert_array_equal(as_rgb(image), array)
    for wrong in (array / 1.0, array[None], array[:0]):
        with pytest.raises(ArgumentError, match=r"from 0 to 1|expected shape \(height, width, 3\)"):
            as_rgb(wrong)


def test_the_callers_image_is_not_changed() -> None:
    image = Image.new("RGBA", (2, 2), (1, 2, 3, 4))
    before = image.tobytes()
    to_rgb(image)
    assert image.mode == "RGBA" and image.tobytes() == before


def test_a_png_with_any_byte_changed_before_its_end_is_damaged(tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 256, (24, 40, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    data = buffer.getvalue()
    np.testing.assert_array_equal(as_rgb(data), image)
    for place in range(8, len(data) - 12, 7):  # the last chunk holds nothing
        damaged = data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
        with pytest.raises(ImageError, match=r"a damaged image|a truncated image|a file that is not an image"):
            as_rgb(damaged)
    middle = data.index(b"IDAT") + 1000
    damaged = data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]
    (tmp_path / "a.png").write_bytes(damaged)
    for form in (tmp_path / "a.png", io.BytesIO(damaged), Image.open(io.BytesIO(damaged))):
        with pytest.raises(ImageError, match=r"a damaged image \(broken PNG file"):
            as_rgb(form)


def test_a_lazily_opened_animation_stays_at_its_frame() -> None:
    frames = [Image.new("RGB", (8, 8), value) for value in ("red", "lime", "blue")]
    buffer = io.BytesIO()
    frames[0].save(buffer, "PNG", save_all=True, append_images=frames[1:])
    with Image.open(buffer) as image:
        for number, pixel in ((2, [0, 0, 255]), (0, [255, 0, 0]), (1, [0, 255, 0])):
            image.seek(number)
            assert as_rgb(image)[0, 0].tolist() == pixel


def test_endings_of_images_are_known_before_any_image_is_read() -> None:
    code = "from atdc.images import image_suffixes; assert {'.jpg', '.webp', '.tiff'} <= image_suffixes()"
    subprocess.run([sys.executable, "-c", code], check=True)
