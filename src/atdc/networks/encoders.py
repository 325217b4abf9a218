"""`small` image encoders: one convolutional network per task, from pixels to a task's features.

::

    image 3×H×W ─ 4×4/4 ─ block ─ 2×2/2 ─ block ─ 2×2/2 ─ block ─ block(dilated) ─ context ─ 1×1 ─ norm ─▶ 32×H/16×W/16
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from atdc.config import ModelConfig


class ResidualBlock(nn.Module):
    """Two 3×3 convolutions with batch normalisation around a shortcut."""

    def __init__(self, width: int, dilation: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=dilation, dilation=dilation, bias=False)
        self.norm1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=dilation, dilation=dilation, bias=False)
        self.norm2 = nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.norm1(self.conv1(x)))
        return torch.relu(x + self.norm2(self.conv2(y)))


class GlobalContext(nn.Module):
    """Adds to each position what the mean over all positions suggests; gives small networks a view of the whole."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner = nn.Linear(width, width)
        self.outer = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        context: Tensor = self.outer(torch.relu(self.inner(x.mean((2, 3)))))
        return x + context[:, :, None, None]


def place_of_context(layers: nn.Sequential) -> int:
    """Which layer is the context."""
    return next(place for place, layer in enumerate(layers) if isinstance(layer, GlobalContext))


class SmallEncoder(nn.Module):
    """Image to features, 220 MMAC at 256×256.

    Input (B, 3, H, W) in [0, 1], H and W multiples of 16; output (B, 32, H/16, W/16), each channel of about zero mean
    and unit standard deviation over the training set (the last normalisation has no learned scale).

    Attributes:
        halo: how many positions around its own a position of :meth:`local`'s output depends on. In pixels: 64 and 32
            by the blocks at 1/16, 16 and 8 by those at 1/8 and 1/4, together 120 of 128.
    """

    halo = 8

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        quarter, eighth, sixteenth = config.encoder_widths
        self.layers = nn.Sequential(
            nn.Conv2d(3, quarter, 4, stride=4, bias=False),
            nn.BatchNorm2d(quarter),
            nn.ReLU(),
            ResidualBlock(quarter),
            nn.Conv2d(quarter, eighth, 2, stride=2, bias=False),
            nn.BatchNorm2d(eighth),
            nn.ReLU(),
            ResidualBlock(eighth),
            nn.Conv2d(eighth, sixteenth, 2, stride=2, bias=False),
            nn.BatchNorm2d(sixteenth),
            nn.ReLU(),
            ResidualBlock(sixteenth),
            ResidualBlock(sixteenth, dilation=2),
            GlobalContext(sixteenth),
            nn.Conv2d(sixteenth, config.feature_channels, 1, bias=False),
            nn.BatchNorm2d(config.feature_channels, affine=False),
        )

    def forward(self, image: Tensor) -> Tensor:
        return self.whole(self.local(image))

    def local(self, image: Tensor) -> Tensor:
        """The layers that see surroundings only: may run tile by tile."""
        return self.layers[: place_of_context(self.layers)](image * 4 - 2)

    def whole(self, activations: Tensor) -> Tensor:
        """The rest, from the context on, which takes all positions at once."""
        return self.layers[place_of_context(self.layers) :](activations)
