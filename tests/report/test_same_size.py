"""The pixel codecs that ATDC is shown next to get about the same bytes, and the best use of them."""

import numpy as np
import pytest
from PIL import Image

from atdc.report import same_size as module
from atdc.report.same_size import ABOUT, Format, psnr_db, same_size


def _image(size: int = 128) -> np.ndarray:
    """Smooth, with edges and a little texture."""
    y, x = np.mgrid[:size, :size] / size
    red = 255 * (np.hypot(x - 0.5, y - 0.5) < 0.3)
    noise = np.random.default_rng(0).normal(0, 6, (size, size))
    return np.stack([red + noise, 255 * x + noise, 255 * y], -1).clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("format", ["JPEG", "WebP"])
@pytest.mark.parametrize("wanted", [500, 1500, 5000])
def test_the_file_is_about_as_large_as_wanted(format: Format, wanted: int) -> None:
    result = same_size(_image(), wanted, format)
    assert abs(result.size_bytes - wanted) <= ABOUT * wanted
    assert result.image.shape == (128, 128, 3)
    assert result.psnr_db == psnr_db(_image(), result.image)


def test_more_bytes_never_make_a_worse_image() -> None:
    quality = [same_size(_image(), wanted, "WebP").psnr_db for wanted in (300, 600, 1200, 2400, 4800)]
    assert quality == sorted(quality)


def test_below_a_formats_own_minimum_the_image_is_shrunk_and_the_true_size_is_told() -> None:
    small = same_size(_image(), 20, "JPEG")
    assert small.size_bytes > 20 and small.width < 128


def test_shrinking_is_used_only_where_it_helps(monkeypatch: pytest.MonkeyPatch) -> None:
    free = same_size(_image(), 900, "JPEG")
    monkeypatch.setattr(module, "_SCALES", (1.0,))
    assert free.psnr_db >= same_size(_image(), 900, "JPEG").psnr_db


def test_an_image_of_one_pixel_is_compared_too() -> None:
    assert same_size(np.zeros((1, 1, 3), np.uint8), 40, "WebP").image.shape == (1, 1, 3)


def test_psnr_of_equal_images_is_infinite() -> None:
    assert psnr_db(_image(), _image()) == float("inf")
    assert psnr_db(np.array(Image.new("L", (2, 2), 0)), np.array(Image.new("L", (2, 2), 255))) == 0.0
