"""sRGB to YCbCr 4:2:0 and back: grey stays grey, the matrix is BT.709's, and smooth colour survives."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atdc.errors import ArgumentError
from atdc_bench.baselines.yuv420 import from_yuv420, to_yuv420


def planes(data: bytes, height: int, width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    values = np.frombuffer(data, np.uint8).astype(np.float32)
    luma, chroma = values[: height * width], values[height * width :].reshape(2, height // 2, width // 2)
    return luma.reshape(height, width), chroma[0], chroma[1]


def there_and_back(image: np.ndarray) -> np.ndarray:
    return from_yuv420(*planes(to_yuv420(image), *image.shape[:2]))


@settings(max_examples=40)
@given(st.integers(0, 255), st.integers(1, 4), st.integers(1, 4))
def test_grey_comes_back_exactly_and_has_no_colour(grey: int, rows: int, columns: int) -> None:
    image = np.full((2 * rows, 2 * columns, 3), grey, np.uint8)
    luma, cb, cr = planes(to_yuv420(image), 2 * rows, 2 * columns)
    assert (luma == grey).all() and (cb == 128).all() and (cr == 128).all()
    np.testing.assert_array_equal(there_and_back(image), image)


@settings(max_examples=40)
@given(st.tuples(*[st.integers(0, 255)] * 3))
def test_one_colour_comes_back_within_what_eight_bits_round_away(colour: tuple[int, int, int]) -> None:
    image = np.full((4, 6, 3), colour, np.uint8)
    # Half a step of luma and half a step of chroma times 1.86; 255.5 is cut to 255 in chroma, too.
    assert np.abs(there_and_back(image).astype(int) - image).max() <= 2


@pytest.mark.parametrize(
    ("colour", "expected"),
    # Y = (0.2126, 0.7152, 0.0722) . RGB; blue's Cb and red's Cr are the largest, 128 + 127.5, cut to 255.
    [((255, 0, 0), (54, 99, 255)), ((0, 255, 0), (182, 30, 12)), ((0, 0, 255), (18, 255, 116))],
)
def test_primaries_have_the_values_of_bt_709_full_range(
    colour: tuple[int, int, int], expected: tuple[int, int, int]
) -> None:
    luma, cb, cr = planes(to_yuv420(np.full((2, 2, 3), colour, np.uint8)), 2, 2)
    assert (luma[0, 0], cb[0, 0], cr[0, 0]) == expected


def test_smooth_colour_survives_half_resolution() -> None:
    y, x = np.mgrid[:64, :64]
    image = np.stack([3 * x + 30, 3 * y + 30, 255 - 2 * x - y], -1).astype(np.uint8)
    inside = np.abs(there_and_back(image).astype(int) - image)[1:-1, 1:-1]
    assert inside.max() <= 3


def test_enlarged_chroma_is_centred_between_its_pixels() -> None:
    luma = np.full((2, 4), 100, np.float32)
    cr = np.array([[128, 168]], np.float32)
    red = from_yuv420(luma, np.full((1, 2), 128, np.float32), cr)[0, :, 0].astype(float)
    np.testing.assert_allclose(red - 100, np.array([0, 10, 30, 40]) * 1.5748, atol=0.5)


def test_odd_sides_are_refused() -> None:
    with pytest.raises(ArgumentError, match="even"):
        to_yuv420(np.zeros((3, 4, 3), np.uint8))
