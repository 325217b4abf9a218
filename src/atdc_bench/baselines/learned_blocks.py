"""Layers that learned pixel codecs are built from: (B, C, H, W) in, (B, C', H', W') out.

::

    Bottleneck      x + 1×1(relu 3×3(relu 1×1 x)), the middle at half the width             He et al., CVPR 2022
    Attention       x + trunk(x) · sigmoid(mask(x)), three bottlenecks each          Cheng et al., CVPR 2020
    Divisive        x / √(β + γ·x²), or its inverse                                   Ballé et al., ICLR 2016
    Residual*       two 3×3 convolutions around a shortcut, at the same, half or double resolution
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def down5(inputs: int, outputs: int) -> nn.Conv2d:
    """5×5 convolution to half the resolution."""
    return nn.Conv2d(inputs, outputs, 5, stride=2, padding=2)


def up5(inputs: int, outputs: int) -> nn.ConvTranspose2d:
    """5×5 transposed convolution to double the resolution."""
    return nn.ConvTranspose2d(inputs, outputs, 5, stride=2, padding=2, output_padding=1)


def conv3(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    """3×3 convolution."""
    return nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1)


def shuffle3(inputs: int, outputs: int) -> nn.Sequential:
    """3×3 convolution to double the resolution, by pixel shuffle."""
    return nn.Sequential(conv3(inputs, 4 * outputs), nn.PixelShuffle(2))


def stack(widths: Sequence[int], size: int, activation: type[nn.Module]) -> nn.Sequential:
    """Convolutions of one size from width to width, with activations between them.

    >>> stack((8, 6, 4), 1, nn.ReLU)
    Sequential(
      (0): Conv2d(8, 6, kernel_size=(1, 1), stride=(1, 1))
      (1): ReLU()
      (2): Conv2d(6, 4, kernel_size=(1, 1), stride=(1, 1))
    )
    """
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        layers += [nn.Conv2d(inputs, outputs, size, padding=size // 2), activation()]
    return nn.Sequential(*layers[:-1])


class Bottleneck(nn.Module):
    """A residual bottleneck block."""

    def __init__(self, width: int) -> None:
        super().__init__()
        half = width // 2
        self.layers = nn.Sequential(
            nn.Conv2d(width, half, 1), nn.ReLU(), conv3(half, half), nn.ReLU(), nn.Conv2d(half, width, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layers(x)
        return x + y


class Attention(nn.Module):
    """Each position's activations are scaled by what surrounds them; no softmax, hence linear in the positions."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.trunk = nn.Sequential(*(Bottleneck(width) for _ in range(3)))
        self.mask = nn.Sequential(*(Bottleneck(width) for _ in range(3)), nn.Conv2d(width, width, 1))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.trunk(x) * torch.sigmoid(self.mask(x))
        return x + y


class Divisive(nn.Module):
    """Generalised divisive normalisation across channels.

    β and γ are squares of what is learned, hence never negative.
    """

    def __init__(self, width: int, inverse: bool = False) -> None:
        super().__init__()
        self.inverse = inverse
        self.beta = nn.Parameter(torch.ones(width))
        # Not quite zero off the diagonal: the square of zero has no gradient.
        self.gamma = nn.Parameter(0.02 + 0.3 * torch.eye(width))

    def forward(self, x: Tensor) -> Tensor:
        norm = F.conv2d(x.square(), self.gamma.square()[:, :, None, None], self.beta.square() + 1e-6)
        return x * torch.sqrt(norm) if self.inverse else x * torch.rsqrt(norm)


class Residual(nn.Module):
    """Same resolution."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(conv3(inputs, outputs), nn.GELU(), conv3(outputs, outputs), nn.GELU())
        self.shortcut = nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x) + self.shortcut(x)


class ResidualDown(nn.Module):
    """Half the resolution."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            conv3(inputs, outputs, stride=2), nn.GELU(), conv3(outputs, outputs), Divisive(outputs)
        )
        self.shortcut = nn.Conv2d(inputs, outputs, 1, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x) + self.shortcut(x)


class ResidualUp(nn.Module):
    """Double the resolution."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            shuffle3(inputs, outputs), nn.GELU(), conv3(outputs, outputs), Divisive(outputs, inverse=True)
        )
        self.shortcut = shuffle3(inputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x) + self.shortcut(x)


def anchors(like: Tensor) -> Tensor:
    """The checkerboard, bool (h, w) of a (B, C, h, w): True where row + column is even; these are coded first.

    >>> anchors(torch.zeros(1, 1, 2, 3)).int().tolist()
    [[1, 0, 1], [0, 1, 0]]
    """
    rows, columns = (torch.arange(side, device=like.device) for side in like.shape[2:])
    return (rows[:, None] + columns) % 2 == 0
