"""The images of answers keep order, distinguish classes, and show numbers by one fixed rule."""

import itertools

import numpy as np
import pytest

from atdc.errors import ArgumentError
from atdc.report.answer_images import CLASS_COLOURS, classes_in, depth_range_of, depth_scale, image_of
from atdc.tasks import CLASSES, IGNORE_CLASS, TASK_NAMES


def _oklab(rgb: np.ndarray) -> np.ndarray:
    """sRGB bytes to OKLab, by the published matrices: the inverse of what the depth scale is made with."""
    value = rgb / 255.0
    linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    to_lms = [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
    to_lab = [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
    return np.cbrt(linear @ np.array(to_lms).T) @ np.array(to_lab).T


def _answer(task: str, height: int = 5, width: int = 7) -> np.ndarray:
    generator = np.random.default_rng(1)
    if task == "segment_semantic":
        return generator.integers(0, len(CLASSES), (height, width)).astype(np.uint8)
    if task in ("normal", "rgb"):
        return generator.random((height, width, 3), dtype=np.float32)
    return generator.random((height, width), dtype=np.float32) + 0.1


@pytest.mark.parametrize("task", TASK_NAMES)
def test_every_answer_has_an_image_of_its_size(task: str) -> None:
    image = image_of(task, _answer(task))
    assert image.shape == (5, 7, 3) and image.dtype == np.uint8


@pytest.mark.parametrize("task", TASK_NAMES)
def test_a_wrong_shape_is_refused(task: str) -> None:
    with pytest.raises(ArgumentError, match="expected"):
        image_of(task, np.zeros((3, 3, 2)))


def test_an_unknown_task_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ArgumentError, match="segment_semantic, keypoints2d"):
        image_of("depth", np.zeros((3, 3)))


def test_every_class_has_a_colour_of_its_own() -> None:
    assert tuple(CLASS_COLOURS) == CLASSES
    colours = {name: _oklab(np.array(colour)) for name, colour in CLASS_COLOURS.items()}
    nearest = min(float(np.linalg.norm(colours[a] - colours[b])) for a, b in itertools.combinations(CLASSES, 2))
    assert nearest > 0.07, "0.02 is about what the eye tells apart side by side"


def test_ignored_pixels_are_black_and_not_in_the_legend() -> None:
    answer = np.array([[IGNORE_CLASS, 3]], np.uint8)
    assert image_of("segment_semantic", answer)[0, 0].tolist() == [0, 0, 0]
    assert classes_in(answer) == ["door"]


def test_depth_scale_falls_evenly_in_lightness_and_keeps_its_colour_steps_even() -> None:
    lab = _oklab(depth_scale().astype(float))
    steps = np.diff(lab[:, 0])
    assert (steps < 0).all(), "near is bright"
    np.testing.assert_allclose(lab[:, 0], np.linspace(0.97, 0.16, 256), atol=0.01)


def test_equal_ratios_of_depth_are_equal_steps() -> None:
    depth = np.array([[1.0, 2.0, 4.0, 8.0, 16.0]])
    lightness = _oklab(image_of("depth_zbuffer", depth, (1.0, 16.0)).astype(float))[0, :, 0]
    np.testing.assert_allclose(np.diff(lightness), np.diff(lightness).mean(), atol=0.01)


def test_depth_without_a_value_is_black_and_a_flat_wall_has_an_image() -> None:
    assert image_of("depth_zbuffer", np.array([[np.nan, 0.0, 2.0]]))[0, :2].tolist() == [[0, 0, 0]] * 2
    assert image_of("depth_zbuffer", np.full((2, 2), 3.0)).any()
    assert depth_range_of(np.full((2, 2), np.nan)) == (1.0, 1.0)


def test_grey_answers_are_clipped_to_black_and_white() -> None:
    grey = image_of("edge_texture", np.array([[-1.0, 0.0, 0.5, 1.0, 2.0, np.nan]]))
    assert grey[0, :, 0].tolist() == [0, 0, 128, 255, 255, 0]
    assert (grey == grey[..., :1]).all()
