"""The paper's task networks: Standley et al., "Which Tasks Should Be Learned Together in Multi-task Learning?"
(ICML 2020). Xception (Chollet, CVPR 2017) up to its middle flow, and a head of transposed convolutions.

::

    image 3×H×W ─ 3×3/2 ─ 3×3 ─ block/2 ─ block/2 ─ block/2 ─ 8 × block ─ ReLU ─ separable 3×3 ─ norm ─▶ 512×H/16×W/16
    features ─ 4 × (2×2 transposed, norm, ReLU, 3×3, norm, ReLU; the last without the second norm and ReLU) ─▶ out×H×W

Encoder: 16.5 M parameters up to the ReLU, 16.8 M with the convolution that makes the features. Head: 0.52 M.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from atdc.config import ModelConfig

ENTRY_WIDTHS = (32, 64, 128, 256)
MIDDLE_WIDTH, MIDDLE_BLOCKS = 728, 8
HEAD_WIDTHS = (128, 64, 48, 32)


def _separable(inputs: int, outputs: int) -> nn.Sequential:
    """A 3×3 convolution of each channel by itself, then a 1×1 over channels."""
    return nn.Sequential(
        nn.Conv2d(inputs, inputs, 3, padding=1, groups=inputs, bias=False), nn.Conv2d(inputs, outputs, 1, bias=False)
    )


class XceptionBlock(nn.Module):
    """Separable convolutions around a shortcut, and at last, if it halves, a 2×2 convolution of stride 2.

    Args:
        inputs: channels.
        outputs: channels, from the first convolution on.
        repeats: separable convolutions.
        halves: whether the output has half the size.
        starts_with_relu: not where the input has just been through one.
    """

    def __init__(
        self, inputs: int, outputs: int, repeats: int, *, halves: bool = False, starts_with_relu: bool = True
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for place in range(repeats):
            if place or starts_with_relu:
                layers.append(nn.ReLU())
            layers += [_separable(outputs if place else inputs, outputs), nn.BatchNorm2d(outputs)]
        self.shortcut: nn.Module = nn.Identity()
        if halves:
            layers.append(nn.Conv2d(outputs, outputs, 2, stride=2))
            shortcut = nn.Conv2d(inputs, outputs, 1, stride=2, bias=False)
            self.shortcut = nn.Sequential(shortcut, nn.BatchNorm2d(outputs))
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x) + self.shortcut(x)


class XceptionEncoder(nn.Module):
    """Image (B, 3, H, W) in [0, 1], sides multiples of 16, to features (B, 512, H/16, W/16).

    Attributes:
        halo: how many positions around its own a position of the output depends on: 25 by the 3×3 at 1/16; 16, 8 and 4
            pixels by the pairs at 1/8, 1/4 and 1/2; 3 by the first two layers: together 431 pixels of 432.
    """

    halo = 27

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        first, second, third, fourth = ENTRY_WIDTHS
        self.body = nn.Sequential(
            nn.Conv2d(3, first, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(first),
            nn.ReLU(),
            nn.Conv2d(first, second, 3, padding=1, bias=False),
            nn.BatchNorm2d(second),
            nn.ReLU(),
            XceptionBlock(second, third, 2, halves=True, starts_with_relu=False),
            XceptionBlock(third, fourth, 2, halves=True),
            XceptionBlock(fourth, MIDDLE_WIDTH, 2, halves=True),
            *[XceptionBlock(MIDDLE_WIDTH, MIDDLE_WIDTH, 3) for _ in range(MIDDLE_BLOCKS)],
            nn.ReLU(),
        )
        self.last = nn.Sequential(
            _separable(MIDDLE_WIDTH, config.feature_channels), nn.BatchNorm2d(config.feature_channels)
        )
        _start_by_fan_out(self)

    def forward(self, image: Tensor) -> Tensor:
        return self.local(image)

    def local(self, image: Tensor) -> Tensor:
        """All layers: each sees surroundings only, so may run tile by tile."""
        return self.last(self.body(image))

    def whole(self, activations: Tensor) -> Tensor:
        """Nothing is left that takes all positions at once."""
        return activations


class XceptionHead(nn.Module):
    """Features (B, 512, h, w) to the task's raw output (B, out_channels, 16h, 16w).

    Attributes:
        halo: how many positions around its own an output depends on: 8, 4, 2 and 1 pixels of 16.
    """

    halo = 1

    def __init__(self, config: ModelConfig, out_channels: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        inputs = config.feature_channels
        for place, width in enumerate(HEAD_WIDTHS):
            layers += [nn.ConvTranspose2d(inputs, width, 2, stride=2), nn.BatchNorm2d(width), nn.ReLU()]
            if place < len(HEAD_WIDTHS) - 1:
                layers += [nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU()]
            inputs = width
        layers.append(nn.Conv2d(inputs, out_channels, 3, padding=1))
        self.layers = nn.Sequential(*layers)
        _start_by_fan_out(self)

    def forward(self, features: Tensor) -> Tensor:
        return self.local(features)

    def whole(self, features: Tensor) -> Tensor:
        """Nothing takes all positions at once."""
        return features

    def local(self, activations: Tensor) -> Tensor:
        """All layers, which see surroundings only: may run tile by tile."""
        return self.layers(activations)


@torch.no_grad()
def _start_by_fan_out(module: nn.Module) -> None:
    """Weights of convolutions from a normal density of variance 2 / (kernel area · outputs), as there."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            area = layer.kernel_size[0] * layer.kernel_size[1]
            layer.weight.normal_(0, (2 / (area * layer.out_channels)) ** 0.5)
