"""The transforms start as principal components, and qualities interpolate."""

import numpy as np
import torch

from atdc.config import MAX_QUALITY, ModelConfig
from atdc.networks.transforms import BlockMetric, QualityTable, TaskTransforms
from atdc.tensors import TensorSpec

GAINS = ("analysis_gain", "synthesis_gain")


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


def test_hidden_gains_turn_what_refines_off_at_one_quality_and_leave_it_at_another() -> None:
    torch.manual_seed(0)
    config = ModelConfig(codec_width=8, hyper_channels=2, hyper_width=4, gains="hidden")
    transforms = TaskTransforms(config, TensorSpec("features", 3, latent_channels=12)).requires_grad_(False)
    plain = TaskTransforms(
        ModelConfig(codec_width=8, hyper_channels=2, hyper_width=4), TensorSpec("features", 3, None, 12)
    )
    for layers in (transforms.analysis_layers, transforms.synthesis_merge):
        torch.nn.init.normal_(layers[-1].weight)
    left = {name: value for name, value in transforms.state_dict().items() if not name.startswith(GAINS)}
    plain.load_state_dict(left)
    features, nothing = torch.randn(2, 3, 8, 8), torch.zeros(2, 3, 8, 8)
    for quality in (2.0, 5.0):  # gains start at 1
        whole = torch.full((2,), quality)
        torch.testing.assert_close(
            transforms.analysis(features, nothing, nothing, whole), plain.analysis(features, nothing, nothing, whole)
        )
    transforms.analysis_gain.rows[5] = transforms.synthesis_gain.rows[5] = -1
    off, still = (torch.full((2,), quality) for quality in (5.0, 2.0))
    latent = transforms.analysis(features, nothing, nothing, off)
    bias = transforms.analysis_layers[-1].bias[:, None, None]
    expected = (transforms.block(features) + bias) * torch.exp(transforms.log_gain(off))
    torch.testing.assert_close(latent, expected)
    back = transforms.synthesis(latent, nothing, nothing, off)
    linear = transforms.unblock(latent * torch.exp(transforms.log_inverse_gain(off)))
    torch.testing.assert_close(back, linear + transforms.synthesis_merge[-1].bias[:, None, None])
    for way in ("analysis", "synthesis"):
        given = features if way == "analysis" else latent
        same = getattr(plain, way)(given, nothing, nothing, still)
        torch.testing.assert_close(getattr(transforms, way)(given, nothing, nothing, still), same)


def test_qualities_between_are_interpolated() -> None:
    table = QualityTable(1, 0.0, 7.0).requires_grad_(False)
    assert torch.allclose(table(torch.tensor([0.0, 2.5, 7.0])).flatten(), torch.tensor([0.0, 2.5, 7.0]))
