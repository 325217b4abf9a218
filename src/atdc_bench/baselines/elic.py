"""ELIC: unevenly grouped channels, each coded in two passes over a checkerboard.

He et al., "ELIC: Efficient Learned Image Compression with Unevenly Grouped Space-Channel Contextual Adaptive Coding"
(CVPR 2022); this implementation is ours. Group *k* of the latent is described by::

    anchors      1×1 layers(side, channel context of groups before k, 0)
    the others   1×1 layers(side, channel context of groups before k, 5×5 convolution of group k's anchors)

Where it differs from the paper: the hyper-latent's density is Gaussian (decision 0001), means are multiples of 1/16,
and gains make one set of weights serve five rates (the paper trains one per rate).

Rows of this codec promise decoding on the machine that encoded, and no other: networks that decide probabilities run
in float32.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from atdc_bench.baselines.learned_blocks import Attention, Bottleneck, anchors, conv3, down5, stack, up5
from atdc_bench.baselines.learned_codec import GainedCoder, PixelCodec
from atdc_bench.baselines.learned_pixels import LearnedPixels


@dataclass(frozen=True, slots=True)
class ElicConfig:
    """The shape of the networks; the defaults are the paper's."""

    widths: tuple[int, int, int] = (192, 192, 192)
    """Channels at 1/2, 1/4 and 1/8 of the resolution (paper: N = 192)."""
    bottlenecks: int = 3
    """Residual bottleneck blocks at each of these (paper: 3)."""
    groups: tuple[int, ...] = (16, 16, 32, 64, 192)
    """Channels of each group of the latent (paper: these, M = 320)."""
    hyper: int = 192
    """Channels of the hyper-latent and of its analysis (paper: N)."""
    hyper_synthesis: tuple[int, int] = (192, 288)
    """Hidden channels of the hyper-synthesis, whose output has 2·M (ours)."""
    channel_context: tuple[int, int] = (224, 128)
    """Hidden channels of the channel context's 5×5 convolutions (the paper refers to Minnen and Singh: these)."""
    aggregation: tuple[int, int] = (640, 512)
    """Hidden channels of the 1×1 layers (ours)."""

    @property
    def latent(self) -> int:
        """``M``."""
        return sum(self.groups)


PRESETS: dict[str, ElicConfig] = {
    "paper": ElicConfig(),
    "small": ElicConfig(
        widths=(24, 48, 64), bottlenecks=2, groups=(4, 4, 8, 16, 64), hyper=32, hyper_synthesis=(48, 96),
        channel_context=(48, 32), aggregation=(128, 96),
    ),
}  # fmt: skip
"""Sizes; the small one's encoder costs about what ATDC's six encoders cost."""


class Elic(PixelCodec):
    """The networks.

    Args:
        config: their shape.
    """

    def __init__(self, config: ElicConfig) -> None:
        latent = config.latent
        super().__init__(latent, config.hyper, 2 * latent)
        half, quarter, eighth = config.widths

        def blocks(width: int) -> list[nn.Module]:
            return [Bottleneck(width) for _ in range(config.bottlenecks)]

        self.analysis = nn.Sequential(
            down5(3, half), *blocks(half), down5(half, quarter), *blocks(quarter), Attention(quarter),
            down5(quarter, eighth), *blocks(eighth), down5(eighth, latent), Attention(latent),
        )  # fmt: skip
        self.synthesis = nn.Sequential(
            Attention(latent), up5(latent, eighth), *blocks(eighth), up5(eighth, quarter), Attention(quarter),
            *blocks(quarter), up5(quarter, half), *blocks(half), up5(half, 3),
        )  # fmt: skip
        hyper, (first, second) = config.hyper, config.hyper_synthesis
        self.hyper_analysis = nn.Sequential(
            conv3(latent, hyper), nn.ReLU(), down5(hyper, hyper), nn.ReLU(), down5(hyper, hyper)
        )
        self.hyper_synthesis = nn.Sequential(
            up5(hyper, first), nn.ReLU(), up5(first, second), nn.ReLU(), conv3(second, 2 * latent)
        )
        starts = [sum(config.groups[:k]) for k in range(len(config.groups))]
        self.groups = nn.ModuleList(_Group(config, *pair) for pair in zip(starts, config.groups, strict=True))

    def code_latent(self, coder: GainedCoder, side: Tensor, latent: Tensor | None) -> Tensor:
        """Group by group, anchors first."""
        decoded = side[:, :0]
        for group in self.groups:
            decoded = torch.cat([decoded, group(coder, side, decoded, latent)], 1)
        return decoded


class _Group(nn.Module):
    """The context model of one group of channels."""

    def __init__(self, config: ElicConfig, start: int, width: int) -> None:
        super().__init__()
        self.start, self.stop = start, start + width
        inputs = 2 * config.latent + 2 * width
        if start:
            self.channel_context = stack((start, *config.channel_context, 2 * width), 5, nn.ReLU)
            inputs += 2 * width
        # The paper masks the weights between positions of one colour; here those positions hold zeros.
        self.spatial_context = nn.Conv2d(width, 2 * width, 5, padding=2)
        self.aggregation = stack((inputs, *config.aggregation, 2 * width), 1, nn.ReLU)

    def forward(self, coder: GainedCoder, side: Tensor, before: Tensor, latent: Tensor | None) -> Tensor:
        first = anchors(side)
        coder = coder.channels(self.start, self.stop)
        value = None if latent is None else latent[:, self.start : self.stop]
        context = torch.cat([side, self.channel_context(before)], 1) if self.start else side
        spatial = side.new_zeros(len(side), 2 * (self.stop - self.start), *side.shape[2:])
        mean, log_scale = self.aggregation(torch.cat([context, spatial], 1)).chunk(2, 1)
        decoded = coder.code(value, mean, log_scale, first)
        mean, log_scale = self.aggregation(torch.cat([context, self.spatial_context(decoded)], 1)).chunk(2, 1)
        return decoded + coder.code(value, mean, log_scale, ~first)


def build(size: str) -> Elic:
    """Untrained networks of a size in :data:`PRESETS`."""
    return Elic(PRESETS[size])


def system(size: str, weights: Path) -> LearnedPixels:
    """The row, from weights that :func:`atdc_bench.baselines.learned_training.train_pixel_codec` wrote; they need not
    be there yet.

    >>> system("small", Path("not-there.safetensors")).missing()
    'not trained: python -m atdc_bench.baselines.learned_training elic small'
    """
    return LearnedPixels("elic", f"ELIC ({size}, ours)", size, build, weights)
