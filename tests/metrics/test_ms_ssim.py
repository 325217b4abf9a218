"""MS-SSIM: equal to a second computation by other means, 1 for the image itself, less for a disturbed one."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import correlate, uniform_filter

from atdc.metrics.ms_ssim import WEIGHTS, ms_ssim


def pixels(height: int, width: int, seed: int = 0) -> torch.Tensor:
    """Smooth shapes with texture, (1, 3, height, width), 0 … 1."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width] / 40
    smooth = [0.5 + 0.3 * np.sin(a * x + b * y + c) for a, b, c in random.uniform(0.5, 3, (3, 3))]
    values = np.stack(smooth) + random.normal(0, 0.03, (3, height, width))
    return torch.from_numpy(values.clip(0, 1)).float()[None]


def disturbed(image: torch.Tensor, std: float) -> torch.Tensor:
    noise = torch.randn(image.shape, generator=torch.Generator().manual_seed(7))
    return (image + std * noise).clamp(0, 1)


def by_other_means(first: torch.Tensor, second: torch.Tensor) -> float:
    """The formula once more: numpy in double precision, a window of two dimensions, scipy's filters."""
    weights = [0.0448, 0.2856, 0.3001, 0.2363, 0.1333]
    place = np.mgrid[-5:6, -5:6]
    window = np.exp(-(place**2).sum(0) / (2 * 1.5**2))
    window /= window.sum()

    def local(values: np.ndarray) -> np.ndarray:
        return correlate(values, window, mode="constant")[5:-5, 5:-5]

    channels = []
    for x, y in zip(first[0].double().numpy(), second[0].double().numpy(), strict=True):
        product = 1.0
        for scale in range(5):
            mx, my = local(x), local(y)
            vx, vy, cov = local(x * x) - mx**2, local(y * y) - my**2, local(x * y) - mx * my
            term = (2 * cov + 0.03**2) / (vx + vy + 0.03**2)
            if scale == 4:
                term = term * (2 * mx * my + 0.01**2) / (mx**2 + my**2 + 0.01**2)
            product *= term.mean() ** weights[scale]
            # A mean over 2x2 at every pixel, of which every second is kept.
            x, y = (
                uniform_filter(v, 2, origin=-1)[: v.shape[0] // 2 * 2 : 2, : v.shape[1] // 2 * 2 : 2] for v in (x, y)
            )
        channels.append(product)
    return float(np.mean(channels))


@pytest.mark.parametrize("size", [(256, 256), (181, 240)])
@pytest.mark.parametrize("std", [0.01, 0.1])
def test_it_equals_a_computation_by_other_means(size: tuple[int, int], std: float) -> None:
    image = pixels(*size)
    other = disturbed(image, std)
    assert float(ms_ssim(image, other)) == pytest.approx(by_other_means(image, other), abs=1e-5)


@pytest.mark.parametrize("size", [(256, 256), (176, 200), (175, 90), (11, 30), (5, 5), (1, 1)])
def test_it_is_1_for_the_image_itself_and_symmetric_at_any_size(size: tuple[int, int]) -> None:
    image = pixels(*size)
    assert float(ms_ssim(image, image)) == pytest.approx(1, abs=1e-6)
    other = disturbed(image, 0.2)
    assert float(ms_ssim(image, other)) == pytest.approx(float(ms_ssim(other, image)), abs=1e-6)
    assert 0 <= float(ms_ssim(image, other)) < 1


def test_it_falls_with_noise() -> None:
    image = pixels(192, 192)
    values = [float(ms_ssim(image, disturbed(image, std))) for std in (0, 0.02, 0.05, 0.1, 0.3)]
    assert values == sorted(values, reverse=True) and len(set(values)) == 5


def test_each_image_of_a_batch_has_its_own() -> None:
    images = torch.cat([pixels(64, 48, seed) for seed in range(3)])
    others = torch.cat([disturbed(images[:1], 0.1), images[1:2], disturbed(images[2:], 0.3)])
    together = ms_ssim(images, others)
    alone = [float(ms_ssim(images[i : i + 1], others[i : i + 1])) for i in range(3)]
    assert together.tolist() == pytest.approx(alone)
    assert together[1] == 1


def test_a_shift_of_brightness_costs_luminance_at_the_last_scale_only() -> None:
    """Variances and covariance do not change, so `c s` is 1, and `l` of two flat images is known."""
    first, second = torch.full((1, 1, 256, 256), 0.4), torch.full((1, 1, 256, 256), 0.6)
    luminance = (2 * 0.4 * 0.6 + 1e-4) / (0.4**2 + 0.6**2 + 1e-4)
    assert float(ms_ssim(first, second)) == pytest.approx(luminance ** WEIGHTS[-1], abs=1e-4)


def test_a_negative_is_as_unlike_as_can_be() -> None:
    image = pixels(64, 64)
    assert float(ms_ssim(image, 1 - image)) == 0
