"""Task heads: from a task's features to its answer at full resolution.

::

    32×h×w ─ 3×3 ─ block ─ context ─ 1×1 ↑2 ─ 3×3 ─ 1×1 ↑2 ─ 3×3 ─ 1×1 ↑4 ─▶ out×16h×16w
"""

from __future__ import annotations

from torch import Tensor, nn

from atdc.config import ModelConfig
from atdc.networks.encoders import GlobalContext, ResidualBlock, place_of_context


def _conv_norm(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU())


def _up(inputs: int, outputs: int, factor: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs * factor**2, 1), nn.PixelShuffle(factor))


class SmallHead(nn.Module):
    """Features (B, 32, h, w) to the task's raw output (B, out_channels, 16h, 16w); about 90 MMAC at 16×16.

    Attributes:
        halo: how many positions around its own an output of :meth:`local` depends on: half of one by the 3×3 at 1/8, a
            quarter by that at 1/4.
    """

    halo = 1

    def __init__(self, config: ModelConfig, out_channels: int) -> None:
        super().__init__()
        sixteenth, eighth, quarter = config.head_widths
        self.layers = nn.Sequential(
            _conv_norm(config.feature_channels, sixteenth),
            ResidualBlock(sixteenth),
            GlobalContext(sixteenth),
            _up(sixteenth, eighth, 2),
            _conv_norm(eighth, eighth),
            _up(eighth, quarter, 2),
            _conv_norm(quarter, quarter),
            _up(quarter, out_channels, 4),
        )

    def forward(self, features: Tensor) -> Tensor:
        return self.local(self.whole(features))

    def whole(self, features: Tensor) -> Tensor:
        """The layers up to the context, which take all positions at once, at the features' resolution."""
        return self.layers[: place_of_context(self.layers) + 1](features)

    def local(self, activations: Tensor) -> Tensor:
        """The rest, up to full resolution, which sees surroundings only: may run tile by tile."""
        return self.layers[place_of_context(self.layers) + 1 :](activations)
