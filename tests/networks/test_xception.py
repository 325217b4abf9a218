"""The paper's task networks: as large as published, and tiles without seams."""

import pytest
import torch
from torch import nn

from atdc.config import ModelConfig
from atdc.errors import ArgumentError
from atdc.networks.task_networks import TaskNetworks
from atdc.networks.tiles import tiles_of
from atdc.networks.xception import XceptionEncoder, XceptionHead
from atdc.tasks import TASKS

CONFIG = ModelConfig(architecture="xception", feature_channels=512)


def _parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_sizes_are_those_that_are_published() -> None:
    encoder = XceptionEncoder(CONFIG)
    assert round(_parameters(encoder.body) / 1e6, 1) == 16.5
    for task in TASKS:
        assert round(_parameters(XceptionHead(CONFIG, task.out_channels)) / 1e6, 2) == 0.52


def test_an_image_becomes_features_of_a_sixteenth_and_answers_of_its_size() -> None:
    encoder, head = XceptionEncoder(CONFIG).eval(), XceptionHead(CONFIG, 3).eval()
    with torch.no_grad():
        features = encoder(torch.rand(1, 3, 64, 96))
        assert features.shape == (1, 512, 4, 6) and head(features).shape == (1, 3, 64, 96)


def test_the_halo_is_all_that_a_position_sees() -> None:
    """Pixels outside it have no gradient."""
    encoder = XceptionEncoder(CONFIG).eval()
    middle = 30
    image = torch.rand(1, 3, 16, 16 * (2 * middle + 1), requires_grad=True)
    encoder(image)[0, :, 0, middle].sum().backward()
    assert image.grad is not None
    seen = image.grad.abs().sum((0, 1, 2)).nonzero().ravel()
    first, last = (int(side) for side in (seen.min(), seen.max()))
    assert first >= 16 * (middle - encoder.halo) and last < 16 * (middle + 1 + encoder.halo)


def test_tiles_of_the_head_join_without_seams() -> None:
    head, features = XceptionHead(CONFIG, 1).eval(), torch.randn(1, 512, 5, 7)
    with torch.no_grad():
        whole = head(features)
        for tile in tiles_of(5, 7, 3, head.halo):
            part = tile.core_of(head.local(features[..., tile.outer_rows, tile.outer_columns]), 16)
            rows, columns = tile.pixels(16)
            assert torch.allclose(part, whole[..., rows, columns], atol=1e-5)


def test_an_unknown_architecture_is_refused() -> None:
    with pytest.raises(ArgumentError, match="small, xception"):
        ModelConfig(architecture="resnet")
    assert isinstance(TaskNetworks(ModelConfig()).encoders[0], nn.Module)
