"""All encoders and heads of a model, side by side."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from atdc.config import ModelConfig
from atdc.networks.encoders import SmallEncoder
from atdc.networks.heads import SmallHead
from atdc.tasks import TASKS


class TaskNetworks(nn.Module):
    """Six separate encoders and six separate heads (the paper's form: tasks share nothing before the codec)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.encoders = nn.ModuleList([SmallEncoder(config) for _ in TASKS])
        self.heads = nn.ModuleList([SmallHead(config, task.out_channels) for task in TASKS])

    def channels_last(self) -> TaskNetworks:
        """Lays weights out channels last, which CPUs and tensor cores convolve fastest."""
        for parameter in self.parameters():
            if parameter.ndim == 4:
                parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
        return self

    def features(self, image: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1], sides multiples of the stride, to (B, T, C, H/16, W/16)."""
        image = image.contiguous(memory_format=torch.channels_last)
        return torch.stack([encoder(image) for encoder in self.encoders], dim=1)

    def outputs(self, features: Tensor, tasks: Sequence[int]) -> list[Tensor]:
        """Raw outputs (B, out_channels, H, W) of the named task indices, in their order."""
        return [self.heads[task](features[:, task]) for task in tasks]
