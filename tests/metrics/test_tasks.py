"""Metrics from sums: each vector says what it should, and sums over images give data-set figures."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from atdc.data.targets import decode_stored
from atdc.errors import ArgumentError
from atdc.metrics.ms_ssim import ms_ssim
from atdc.metrics.tasks import MEASURES, measure_of, utility
from atdc.tasks import TASKS


def stored_targets(images: int, height: int, width: int, seed: int = 0) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    shape = (images, 1, height, width)
    return {
        "segment_semantic": random.integers(0, 14, shape).astype(np.uint8),
        "keypoints2d": random.integers(0, 256, shape).astype(np.uint8),
        "edge_texture": random.integers(0, 256, shape).astype(np.uint8),
        "normal": random.integers(0, 256, (images, 3, height, width)).astype(np.uint8),
        "depth_zbuffer": random.integers(300, 5000, shape).astype(np.uint16),
        "rgb": random.integers(0, 256, (images, 3, height, width)).astype(np.uint8),
    }


def perfect_output(task: str, stored: np.ndarray) -> torch.Tensor:
    target = decode_stored(task, stored)
    if task != "segment_semantic":
        return target
    return torch.nn.functional.one_hot(target[:, 0].clamp(max=13), 14).permute(0, 3, 1, 2).float()


@pytest.mark.parametrize("task", [task.name for task in TASKS])
def test_a_perfect_answer_has_no_error(task: str) -> None:
    stored = stored_targets(3, 8, 6)[task]
    measure = MEASURES[task]
    sums = measure.statistics(perfect_output(task, stored), decode_stored(task, stored))
    assert sums.shape == (3, measure.columns)
    error = measure.error(sums.sum(0))
    assert error == pytest.approx(-100.0 if task == "rgb" else 0.0, abs=1e-4)


@pytest.mark.parametrize("task", [task.name for task in TASKS])
def test_padding_to_the_stride_is_cropped_and_batches_add_up(task: str) -> None:
    stored = stored_targets(4, 10, 13)[task]
    target = decode_stored(task, stored)
    generator = torch.Generator().manual_seed(0)
    channels = next(spec.out_channels for spec in TASKS if spec.name == task)
    output = torch.randn(4, channels, 16, 16, generator=generator)
    measure = MEASURES[task]
    whole = measure.statistics(output, target)
    exact = measure.statistics(output[..., :10, :13], target)
    single = [measure.statistics(output[i : i + 1], target[i : i + 1])[0] for i in range(4)]
    np.testing.assert_allclose(whole, exact)
    np.testing.assert_allclose(whole, np.stack(single), rtol=1e-9)
    batch = measure.metrics(np.stack([whole.sum(0), whole[0]]))
    alone = measure.metrics(whole[0])
    for name, value in alone.items():
        assert batch[name].shape == (2,)
        assert batch[name][1] == pytest.approx(float(value))


def test_ignored_pixels_do_not_count_and_miou_averages_over_true_classes() -> None:
    labels = torch.tensor([[[[0, 0, 1, 255]]]])
    logits = torch.zeros(1, 14, 1, 4)
    logits[0, [0, 1, 1, 5], 0, [0, 1, 2, 3]] = 1
    measure = MEASURES["segment_semantic"]
    figures = measure.metrics(measure.statistics(logits, labels)[0])
    assert figures["pixel_accuracy"] == pytest.approx(2 / 3)
    assert figures["miou"] == pytest.approx((1 / 2 + 1 / 2) / 2)
    logits[0, 7, 0, 0] = 2  # a class that no pixel has costs the missed class, and adds no class to the mean
    figures = measure.metrics(measure.statistics(logits, labels)[0])
    assert figures["miou"] == pytest.approx((0 + 1 / 2) / 2)


def test_angles_are_measured_in_degrees_whatever_the_answers_length() -> None:
    angles = torch.tensor([0.0, 10.0, 20.0, 179.0])
    radians = torch.deg2rad(angles)
    answer = 3 * torch.stack([torch.sin(radians), torch.zeros(4), torch.cos(radians)]).view(1, 3, 1, 4)
    target = torch.tensor([0.0, 0.0, 1.0]).view(1, 3, 1, 1).expand(1, 3, 1, 4)
    measure = MEASURES["normal"]
    figures = measure.metrics(measure.statistics(answer, target)[0])
    assert figures["mean_degrees"] == pytest.approx(209 / 4, abs=1e-4)
    assert figures["within_11_25"] == 0.5
    assert figures["within_22_5"] == figures["within_30"] == 0.75
    assert 10 <= figures["median_degrees"] <= 11
    answer[..., 0] = 0
    assert measure.error(measure.statistics(answer, target)[0]) == pytest.approx((90 + 209) / 4, abs=1e-4)
    answer[..., 0] = answer[..., 1]
    blind = target.clone()
    blind[..., 3] = 0
    assert measure.error(measure.statistics(answer, blind)[0]) == pytest.approx(40 / 3, abs=1e-4)


def test_the_median_angle_is_within_a_degree_of_the_true_one() -> None:
    generator = torch.Generator().manual_seed(3)
    degrees = 60 * torch.rand(2, 1, 40, 40, generator=generator) ** 2
    radians = torch.deg2rad(degrees)
    answer = torch.cat([torch.sin(radians), torch.zeros_like(radians), torch.cos(radians)], 1)
    target = torch.tensor([0.0, 0.0, 1.0]).view(1, 3, 1, 1).expand(2, 3, 40, 40)
    measure = MEASURES["normal"]
    sums = measure.statistics(answer, target).sum(0)
    assert measure.metrics(sums)["median_degrees"] == pytest.approx(float(degrees.median()), abs=0.2)


def test_depth_is_compared_in_metres() -> None:
    target = torch.log(torch.tensor([1.0, 2.0, 4.0, math.nan])).view(1, 1, 1, 4)
    output = torch.log(torch.tensor([1.1, 1.0, 4.0, 9.0])).view(1, 1, 1, 4)
    measure = MEASURES["depth_zbuffer"]
    figures = measure.metrics(measure.statistics(output, target)[0])
    assert figures["abs_rel"] == pytest.approx((0.1 + 0.5) / 3, rel=1e-5)
    assert figures["rmse_metres"] == pytest.approx(math.sqrt((0.01 + 1) / 3), rel=1e-5)
    assert figures["within_1_25"] == pytest.approx(2 / 3)


def test_depth_shares_count_ratios_below_each_power_of_1_25_in_both_directions() -> None:
    ratios = torch.tensor([1.0, 1.24, 1 / 1.26, 1.55, 1 / 1.57, 1.94, 1 / 1.96, 0.1])
    target = torch.full((1, 1, 2, 4), math.log(2.0))
    measure = MEASURES["depth_zbuffer"]
    figures = measure.metrics(measure.statistics(target + torch.log(ratios).view(1, 1, 2, 4), target)[0])
    shares = [figures[name] for name in ("within_1_25", "within_1_25_squared", "within_1_25_cubed")]
    assert shares == [2 / 8, 4 / 8, 6 / 8]


def test_psnr_is_the_mean_of_the_images_own() -> None:
    target = torch.full((2, 3, 4, 4), 0.5)
    output = target.clone()
    output[0] += 0.1
    output[1] += 0.01
    measure = MEASURES["rgb"]
    figures = measure.metrics(measure.statistics(output, target).sum(0))
    assert figures["psnr_db"] == pytest.approx((20 + 40) / 2, abs=1e-3)
    assert figures["mse"] == pytest.approx((0.01 + 0.0001) / 2, rel=1e-4)


def test_ms_ssim_is_the_mean_of_the_images_own_and_clamps_answers() -> None:
    generator = torch.Generator().manual_seed(0)
    target = torch.rand(2, 3, 40, 40, generator=generator)
    output = target.clone()
    output[1] += 0.2 * torch.randn(3, 40, 40, generator=generator)
    measure = MEASURES["rgb"]
    vectors = measure.statistics(output, target)
    alone = float(ms_ssim(output[1:].clamp(0, 1), target[1:]))
    assert measure.metrics(vectors.sum(0))["ms_ssim"] == pytest.approx((1 + alone) / 2, rel=1e-6)
    assert measure.metrics(np.array([3.0, 1.0]) @ vectors)["ms_ssim"] == pytest.approx((3 + alone) / 4, rel=1e-6)


def test_drawing_images_by_matrix_product_is_drawing_images() -> None:
    stored = stored_targets(5, 8, 8)["segment_semantic"]
    output = torch.randn(5, 14, 8, 8, generator=torch.Generator().manual_seed(1))
    measure = MEASURES["segment_semantic"]
    chosen = [0, 0, 3, 4, 4]
    vectors = measure.statistics(output, decode_stored("segment_semantic", stored))
    drawn = measure.statistics(output[chosen], decode_stored("segment_semantic", stored[chosen]))
    counts = np.bincount(chosen, minlength=5).astype(float)
    assert measure.error(counts @ vectors) == pytest.approx(float(measure.error(drawn.sum(0))))


def test_utility_is_linear_and_not_clipped() -> None:
    values = utility(np.array([-10.0, -20.0, -35.0]), np.array(-12.0), np.array(-30.0))
    np.testing.assert_allclose(values, [-2 / 18, 8 / 18, 23 / 18])


def test_an_unknown_task_lists_the_known() -> None:
    with pytest.raises(ArgumentError, match="segment_semantic, keypoints2d"):
        measure_of("depth")
