"""A codec's start: hyper-latents tell of the latent before anything is trained."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from atdc.config import ModelConfig
from atdc.entropy.float_model import FloatEntropyModel
from atdc.networks.batches import FeatureBatch
from atdc.networks.codec_networks import CodecNetworks
from atdc.tensors import FeatureSet, TensorSpec
from atdc.training.principal_components import start_from_principal_components

GRID = (16, 16)
QUALITY = torch.tensor([7.0])


class Noise:
    """Samples of one tensor, loud on the left and quiet on the right."""

    def __init__(self) -> None:
        values = torch.randn(24, 3, *GRID, generator=torch.Generator().manual_seed(0))
        values[..., 8:] *= 0.05
        self.values = values

    def having(self, tensor: int, count: int) -> NDArray[np.int64]:
        return np.arange(min(count, len(self.values)))

    def read(self, indices: NDArray[np.int64]) -> FeatureBatch:
        return FeatureBatch([self.values[indices]], [GRID])


@pytest.mark.parametrize(("hyper", "width"), [(8, 16), (8, 32), (2, 4), (1, 2), (3, 3), (16, 4)])
@torch.no_grad()
def test_hyper_latents_tell_of_loud_places_and_of_means_from_the_start(hyper: int, width: int) -> None:
    torch.manual_seed(0)
    config = ModelConfig(codec_width=8, hyper_channels=hyper, hyper_width=width)
    tensors, noise = FeatureSet((TensorSpec("a", 3, GRID, latent_channels=6),)), Noise()
    networks, float_model = CodecNetworks(config, tensors), FloatEntropyModel(config, tensors)
    start_from_principal_components(networks, float_model, noise)
    transforms, tables = networks.task(0), float_model.task(0)
    nothing = torch.zeros(1, 3, *GRID)

    def told(values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        latent = transforms.analysis(values, nothing, nothing, QUALITY)
        own = torch.zeros_like(transforms.log_gain(QUALITY))
        sums = tables.hidden_sums(transforms.hyper_analysis(latent), QUALITY, torch.zeros(1, 1), [])
        mean, log_scale, _ = tables.latent_prior(sums, QUALITY, own)
        return mean[0], log_scale[0]

    _, log_scale = told(noise.values[:1])
    assert float(log_scale[..., 1:3].mean()) > float(log_scale[..., 5:7].mean()) + 0.1
    if width < (hyper + 1) // 2 + 2:  # no room for means
        return
    first = transforms.unblock.weight[:1].tile(1, 1, 8, 8)  # the first component everywhere, and its negative
    above, below = told(2 * first)[0], told(-2 * first)[0]
    assert float(above[0].mean()) > float(below[0].mean()) + 0.2
