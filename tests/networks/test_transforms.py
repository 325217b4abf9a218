"""The transforms start as principal components, and qualities interpolate."""

import numpy as np
import torch

from atdc.config import MAX_QUALITY, ModelConfig
from atdc.networks.transforms import BlockMetric, QualityTable, TaskTransforms
from atdc.tensors import TensorSpec


def test_untrained_transforms_keep_what_principal_components_keep() -> None:
    torch.manual_seed(0)
    mixing = torch.randn(8, 3)
    features = torch.einsum("ck,bkhw->bchw", mixing, torch.randn(20, 3, 8, 8))  # 12 dimensions to a 2×2 block
    config = ModelConfig(codec_width=8, hyper_channels=2, hyper_width=4)
    transforms = TaskTransforms(config, TensorSpec("features", 8, latent_channels=12)).requires_grad_(False)
    transforms.start_from_principal_components(features)
    quality, nothing = torch.full((20,), float(MAX_QUALITY)), torch.zeros_like(features)
    latent = transforms.analysis(features, nothing, nothing, quality)
    back = transforms.synthesis(latent, nothing, nothing, quality)
    constant = transforms.synthesis(torch.zeros_like(latent), nothing, nothing, quality)  # what biases alone give
    transformed = transforms.analysis(nothing, nothing, nothing, quality)
    offset = transforms.synthesis(transformed, nothing, nothing, quality)
    assert torch.allclose(back - offset, features, atol=1e-3)
    assert constant.shape == features.shape


def test_components_in_a_metric_are_uncorrelated_and_invert() -> None:
    """Steps of one size in them are errors that count alike, and without steps nothing is lost."""
    torch.manual_seed(0)
    features = torch.einsum("ck,bkhw->bchw", torch.randn(3, 3), torch.randn(40, 3, 8, 8))
    factor = np.random.default_rng(0).normal(size=(12, 12))
    metric = BlockMetric.of(factor @ factor.T + 0.1 * np.eye(12))
    config = ModelConfig(codec_width=8, hyper_channels=2, hyper_width=4)
    transforms = TaskTransforms(config, TensorSpec("features", 3, latent_channels=12)).requires_grad_(False)
    std = transforms.start_from_principal_components(features, metric)
    latent = transforms.block(features)
    torch.testing.assert_close(transforms.unblock(latent), features, atol=1e-3, rtol=1e-3)
    rows = latent.movedim(1, -1).flatten(0, -2)
    torch.testing.assert_close(rows.T @ rows / len(rows), torch.diag(std.square()), atol=1e-2, rtol=1e-3)
    step = torch.zeros_like(latent)
    step[:, torch.arange(12), torch.arange(12) % 4, torch.arange(12) % 3] = 0.5
    torch.testing.assert_close(metric.errors(transforms.unblock(step)), step.square().sum((1, 2, 3)))


def test_qualities_between_are_interpolated() -> None:
    table = QualityTable(1, 0.0, 7.0).requires_grad_(False)
    assert torch.allclose(table(torch.tensor([0.0, 2.5, 7.0])).flatten(), torch.tensor([0.0, 2.5, 7.0]))
