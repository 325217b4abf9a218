"""Image codecs from libraries: files that say everything, more bytes for better images, one error for the rest."""

from __future__ import annotations

import contextlib
import io

import numpy as np
import pytest
from PIL import Image

from atdc.errors import ArgumentError, AtdcError, ImageError, ProgramError
from atdc.images import pillow_codecs
from atdc.images.pillow_codecs import whole_point
from atdc_bench.baselines import outside
from atdc_bench.baselines.pixels import AVIF, JPEG, JPEG_XL, SMALLER, WEBP, PillowSystem, Reduced
from atdc_bench.baselines.system import PixelSystem

CODECS: tuple[PixelSystem, ...] = (JPEG, WEBP, AVIF, JPEG_XL)
KNOWN = pytest.mark.parametrize("codec", CODECS, ids=lambda codec: codec.name)


def here(codec: PixelSystem) -> PixelSystem:
    """The codec; skips the test where it cannot run."""
    if (why := codec.missing()) is not None:
        pytest.skip(why)
    return codec


def scene(height: int, width: int) -> np.ndarray:
    """Smooth, with an edge and a little texture."""
    y, x = np.mgrid[:height, :width] / max(height, width)
    noise = np.random.default_rng(0).normal(0, 4, (height, width))
    red = 200 * (np.hypot(x - 0.4, y - 0.4) < 0.3) + 20
    return np.stack([red + noise, 220 * x + noise, 220 * y + 20], -1).clip(0, 255).astype(np.uint8)


def squared_error(first: np.ndarray, second: np.ndarray) -> float:
    return float(np.mean((first.astype(float) - second) ** 2))


@KNOWN
def test_more_bytes_make_a_better_image_from_point_to_point(codec: PixelSystem) -> None:
    here(codec)
    image = scene(56, 48)
    files = [codec.encode(image, point) for point in codec.points]
    sizes = [len(data) for data in files]
    assert sizes == sorted(set(sizes)) and len(sizes) == 5
    errors = [squared_error(image, codec.decode(data)) for data in files]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 250 and 1.5 * errors[-1] < errors[0]  # the rest is chroma at half resolution


@KNOWN
@pytest.mark.parametrize("size", [(1, 1), (1, 17), (33, 1), (7, 5)])
def test_any_size_comes_back(codec: PixelSystem, size: tuple[int, int]) -> None:
    here(codec)
    image = np.full((*size, 3), (200, 90, 30), np.uint8)
    back = codec.decode(codec.encode(image, codec.points[-1]))
    assert back.shape == image.shape and back.dtype == np.uint8
    assert np.abs(back.astype(int) - image).max() <= 20


@pytest.mark.parametrize("codec", [JPEG, WEBP, AVIF], ids=lambda codec: codec.name)
def test_no_setting_takes_fewer_bytes_than_the_lowest_quality(codec: PillowSystem) -> None:
    here(codec)
    image = scene(40, 40)
    lowest, highest = codec.codec.lowest, codec.codec.highest
    assert codec.points[0] == (4 if codec is JPEG else lowest)
    least = len(codec.encode(image, lowest))
    assert all(len(codec.encode(image, quality)) >= least for quality in (lowest + 1, 30, highest))
    with pytest.raises(ArgumentError, match="whole number"):
        codec.encode(image, lowest - 1)


def test_jpeg_xl_starts_at_the_largest_distance_there_is() -> None:
    assert JPEG_XL.points[0] == 25
    for wrong in (25.1, 0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ArgumentError, match=r"0\.01 to 25"):
            JPEG_XL.encode(scene(8, 8), wrong)


@KNOWN
def test_files_are_whole_files_that_say_what_they_are(codec: PixelSystem) -> None:
    here(codec)
    data = codec.encode(scene(32, 32), codec.points[1])
    magic = {"jpeg": b"\xff\xd8\xff", "webp": b"RIFF", "avif": b"\0\0\0\x20ftypavif", "jpeg_xl": b"\xff\x0a"}
    assert data.startswith(magic[codec.name])
    assert codec.encode(scene(32, 32), codec.points[1]) == data


@KNOWN
def test_bytes_of_no_such_file_are_refused_by_name(codec: PixelSystem) -> None:
    here(codec)
    whole = codec.encode(scene(48, 48), codec.points[2])
    other = (JPEG if codec is not JPEG else WEBP).encode(scene(48, 48), 40)
    for wrong in (b"", b"\0", b"no picture", whole[: len(whole) // 2], other):
        with pytest.raises(ImageError, match=codec.title):
            codec.decode(wrong)


@KNOWN
def test_damaged_files_give_an_image_or_one_typed_error(codec: PixelSystem) -> None:
    here(codec)
    random = np.random.default_rng(1)
    whole = codec.encode(scene(40, 40), codec.points[2])
    for _ in range(60):
        data = bytearray(whole)
        for place in random.integers(0, len(data), 3):
            data[place] = random.integers(0, 256)
        with contextlib.suppress(AtdcError):
            assert codec.decode(bytes(data)).dtype == np.uint8


def test_an_image_above_the_pixel_limit_is_refused_before_it_is_decoded() -> None:
    whole = bytearray(JPEG.encode(scene(16, 16), 40))
    place = whole.index(b"\xff\xc0") + 5
    whole[place : place + 4] = b"\x23\x28\x23\x28"
    with pytest.raises(ImageError, match="9000×9000"):
        JPEG.decode(bytes(whole))


def test_what_a_format_cannot_hold_is_refused() -> None:
    here(WEBP)
    with pytest.raises(ImageError, match="16384"):
        WEBP.encode(np.zeros((1, 16384, 3), np.uint8), 0)


@KNOWN
def test_only_colour_images_of_bytes_are_coded(codec: PixelSystem) -> None:
    here(codec)
    for wrong in (np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.float32), np.zeros((0, 4, 3), np.uint8)):
        with pytest.raises(ArgumentError, match="image"):
            codec.encode(wrong, codec.points[0])


def test_jpeg_is_pillows_own_with_huffman_tables_made_for_the_image() -> None:
    pixels = scene(64, 64)
    with Image.open(io.BytesIO(JPEG.encode(pixels, 40))) as image:
        assert image.format == "JPEG" and "progressive" not in image.info
        assert [component[1:3] for component in image.layer] == [(2, 2), (1, 1), (1, 1)]
    plain = io.BytesIO()
    Image.fromarray(pixels).save(plain, "JPEG", quality=40)
    assert len(JPEG.encode(pixels, 40)) < len(plain.getvalue())


@KNOWN
def test_a_description_names_program_version_and_settings(codec: PixelSystem) -> None:
    said = here(codec).describe()
    assert any(character.isdigit() for character in said["program"])
    assert said["options"] and said["point"] and "bpp" in said["limit"]


def test_a_missing_library_is_one_sentence_with_its_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(name: str) -> object:
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(outside.importlib, "import_module", nothing)
    why = JPEG_XL.missing()
    assert why is not None and "imagecodecs" in why and "pip install imagecodecs av" in why
    for call in (lambda: JPEG_XL.encode(scene(8, 8), 4), lambda: JPEG_XL.decode(b""), JPEG_XL.describe):
        with pytest.raises(ProgramError, match="imagecodecs"):
            call()


def test_a_pillow_without_a_format_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pillow_codecs.features, "check", lambda name: False)
    assert "AVIF" in str(AVIF.missing())
    with pytest.raises(ProgramError, match="AVIF"):
        AVIF.encode(scene(8, 8), 50)


def test_a_quality_is_a_whole_number() -> None:
    assert whole_point("quality", 7.0, 0, 10) == 7
    for wrong in (7.5, -1, 11, float("nan"), float("inf")):
        with pytest.raises(ArgumentError, match="quality"):
            whole_point("quality", wrong, 0, 10)


@pytest.mark.parametrize("system", SMALLER, ids=lambda system: system.name)
@pytest.mark.parametrize("shape", [(64, 96), (61, 83), (1, 5)])
def test_an_image_that_was_made_smaller_comes_back_at_its_size(system: Reduced, shape: tuple[int, int]) -> None:
    rows, columns = np.mgrid[0 : shape[0], 0 : shape[1]]
    image = np.stack([2 * rows, 2 * columns, rows + columns], -1).astype(np.uint8)
    data = system.encode(image, system.points[-1])
    back = system.decode(data)
    assert back.shape == image.shape and np.abs(back.astype(int) - image).mean() < 20


def test_smaller_images_take_fewer_bytes_than_the_lowest_quality() -> None:
    image = np.random.default_rng(0).integers(0, 255, (128, 128, 3)).astype(np.uint8)
    for system in SMALLER:
        assert len(system.encode(image, system.points[0])) < len(system.base.encode(image, system.base.points[0]))
