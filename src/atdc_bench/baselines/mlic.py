"""MLIC++: slices of channels, each described by local, channel and global contexts.

Jiang et al., "MLIC++: Linear Complexity Multi-Reference Entropy Modeling for Learned Image Compression" (Neural
Compression Workshop, ICML 2023; arXiv 2307.15421); this implementation is ours. Slice *k* of the latent is described
by::

    anchors      1×1 layers(side, channel context of slices before k, inter-slice context of slices before k)
    the others   1×1 layers(side, both of these, local context of k's anchors, intra-slice context of k's anchors)

    local        attention among the twelve anchors in the 5×5 window around a position
    inter-slice  softmax(queries) · (softmax(keys) · valuesᵀ): linear in the positions, over the whole image
    intra-slice  likewise, its queries and keys taken from the slice before, its values from this one's anchors

A latent residual prediction adds up to half a quantisation step to each decoded value.

Where it differs from the paper: the hyper-latent's density is Gaussian (decision 0001), means are multiples of 1/16,
and gains make one set of weights serve five rates (the paper trains one per rate).

Rows of this codec promise decoding on the machine that encoded, and no other: networks that decide probabilities run
in float32.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from atdc_bench.baselines.learned_blocks import Residual, ResidualDown, ResidualUp, anchors, conv3, shuffle3, stack
from atdc_bench.baselines.learned_codec import GainedCoder, PixelCodec
from atdc_bench.baselines.learned_pixels import LearnedPixels

_WINDOW = 5
_ANCHORS = slice(1, None, 2)
"""Where, among the 25 of a window around a position of one colour, those of the other colour lie."""


@dataclass(frozen=True, slots=True)
class MlicConfig:
    """The shape of the networks; the defaults are those of the authors' published code."""

    widths: tuple[int, int, int] = (192, 192, 192)
    """Channels at 1/2, 1/4 and 1/8 of the resolution (paper: N = 192)."""
    slices: int = 10
    """How many there are (paper: 10)."""
    slice_channels: int = 32
    """Channels of each (paper: 32, so that M = 320)."""
    head_channels: int = 32
    """Channels of each attention head of the inter-slice context; the other two have two heads."""
    hyper: int = 192
    """Channels of the hyper-latent and of its analysis."""
    hyper_synthesis: tuple[int, int] = (320, 480)
    """Hidden channels of the hyper-synthesis, whose output has 2·M."""
    channel_context: tuple[int, int] = (192, 128)
    """Hidden channels of the channel context's 3×3 convolutions."""
    parameters: tuple[int, ...] = (320, 256, 128)
    """Hidden channels of the 1×1 layers."""
    residual_prediction: tuple[int, int] = (224, 128)
    """Hidden channels of the latent residual prediction's 3×3 convolutions."""

    @property
    def latent(self) -> int:
        """``M``."""
        return self.slices * self.slice_channels


PRESETS: dict[str, MlicConfig] = {
    "paper": MlicConfig(),
    "small": MlicConfig(
        widths=(20, 40, 56), slices=6, slice_channels=16, head_channels=16, hyper=32, hyper_synthesis=(32, 64),
        channel_context=(40, 24), parameters=(80, 48), residual_prediction=(24, 16),
    ),
}  # fmt: skip
"""Sizes; the small one's encoder costs about what ATDC's six encoders cost."""


class Mlic(PixelCodec):
    """The networks.

    Args:
        config: their shape.
    """

    def __init__(self, config: MlicConfig) -> None:
        latent = config.latent
        super().__init__(latent, config.hyper, 2 * latent)
        half, quarter, eighth = config.widths
        self.analysis = nn.Sequential(
            ResidualDown(3, half), Residual(half, half), ResidualDown(half, quarter), Residual(quarter, quarter),
            ResidualDown(quarter, eighth), Residual(eighth, eighth), conv3(eighth, latent, stride=2),
        )  # fmt: skip
        self.synthesis = nn.Sequential(
            Residual(latent, eighth), ResidualUp(eighth, eighth), Residual(eighth, eighth), ResidualUp(eighth, quarter),
            Residual(quarter, quarter), ResidualUp(quarter, half), Residual(half, half), shuffle3(half, 3),
        )  # fmt: skip
        hyper, (first, second) = config.hyper, config.hyper_synthesis
        self.hyper_analysis = nn.Sequential(
            conv3(latent, hyper), nn.GELU(), conv3(hyper, hyper), nn.GELU(), conv3(hyper, hyper, stride=2), nn.GELU(),
            conv3(hyper, hyper), nn.GELU(), conv3(hyper, hyper, stride=2),
        )  # fmt: skip
        self.hyper_synthesis = nn.Sequential(
            conv3(hyper, first), nn.GELU(), shuffle3(first, first), nn.GELU(), conv3(first, second), nn.GELU(),
            shuffle3(second, second), nn.GELU(), conv3(second, 2 * latent),
        )  # fmt: skip
        self.slices = nn.ModuleList(_Slice(config, index) for index in range(config.slices))

    def code_latent(self, coder: GainedCoder, side: Tensor, latent: Tensor | None) -> Tensor:
        """Slice by slice, anchors first."""
        decoded = side[:, :0]
        for part in self.slices:
            decoded = torch.cat([decoded, part(coder, side, decoded, latent)], 1)
        return decoded


class _Slice(nn.Module):
    """The context model of one slice."""

    def __init__(self, config: MlicConfig, index: int) -> None:
        super().__init__()
        width, side = config.slice_channels, 2 * config.latent
        before = index * width
        self.start, self.stop = before, before + width
        inputs = side
        if index:
            self.channel_context = stack((before, *config.channel_context, 4 * width), 3, nn.GELU)
            self.inter_slice = _InterSlice(before, 2 * width, before // config.head_channels)
            self.intra_slice = _IntraSlice(width, heads=2)
            inputs += 6 * width
        local = 2 * width + (2 * width if index else 0)
        self.local = _Local(width, heads=2)
        self.first_parameters = stack((inputs, *config.parameters, 2 * width), 1, nn.GELU)
        self.other_parameters = stack((inputs + local, *config.parameters, 2 * width), 1, nn.GELU)
        residual_inputs = side + before + width
        self.first_residual = stack((residual_inputs, *config.residual_prediction, width), 3, nn.GELU)
        self.other_residual = stack((residual_inputs, *config.residual_prediction, width), 3, nn.GELU)

    def forward(self, coder: GainedCoder, side: Tensor, before: Tensor, latent: Tensor | None) -> Tensor:
        first = anchors(side)
        coder = coder.channels(self.start, self.stop)
        value = None if latent is None else latent[:, self.start : self.stop]
        context = torch.cat([side, self.channel_context(before), self.inter_slice(before)], 1) if self.start else side

        mean, log_scale = self.first_parameters(context).chunk(2, 1)
        decoded = coder.code(value, mean, log_scale, first)
        decoded = decoded + _half_step(self.first_residual(torch.cat([side, before, decoded], 1)), coder) * first

        context = torch.cat([context, self.local(decoded)], 1)
        if self.start:
            last = before[:, 2 * self.start - self.stop :]
            context = torch.cat([context, self.intra_slice(last, decoded, first)], 1)
        mean, log_scale = self.other_parameters(context).chunk(2, 1)
        decoded = decoded + coder.code(value, mean, log_scale, ~first)
        return decoded + _half_step(self.other_residual(torch.cat([side, before, decoded], 1)), coder) * ~first


def _half_step(prediction: Tensor, coder: GainedCoder) -> Tensor:
    """At most what quantisation may have taken away."""
    return 0.5 * torch.tanh(prediction) * coder.step


class _Local(nn.Module):
    """Attention among the anchors around each position, (B, C, h, w) to (B, 2·C, h, w).

    What it finds at anchors themselves is not used: those are known.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads, count = heads, len(range(_WINDOW**2)[_ANCHORS])
        self.norm = nn.LayerNorm(width)
        self.project = nn.Linear(width, 3 * width)
        self.bias = nn.Parameter(torch.zeros(heads, count, count))
        self.fuse = nn.Linear(count * width, 2 * width)
        self.feed_forward = nn.Sequential(
            nn.LayerNorm(2 * width), nn.Linear(2 * width, 4 * width), nn.GELU(), nn.Linear(4 * width, 2 * width)
        )

    def forward(self, x: Tensor) -> Tensor:
        batch, width, rows, columns = x.shape
        projection = self.project(self.norm(x.permute(0, 2, 3, 1))).permute(0, 3, 1, 2)
        windows = F.unfold(projection, _WINDOW, padding=_WINDOW // 2)
        windows = windows.reshape(batch, 3, self.heads, -1, _WINDOW**2, rows * columns)
        # (B, heads, positions, anchors, channels of a head)
        queries, keys, values = windows[..., _ANCHORS, :].permute(1, 0, 2, 5, 4, 3)
        weights = queries @ keys.transpose(-1, -2) * (width // self.heads) ** -0.5 + self.bias[:, None]
        context = torch.softmax(weights, -1) @ values
        outputs = self.fuse(context.permute(0, 2, 3, 1, 4).reshape(batch, rows * columns, -1))
        outputs = outputs + self.feed_forward(outputs)
        return outputs.transpose(1, 2).reshape(batch, -1, rows, columns)


def _pointwise_depthwise(width: int) -> nn.Sequential:
    """What makes queries, keys and values."""
    return nn.Sequential(nn.Conv2d(width, width, 1), nn.Conv2d(width, width, 3, padding=1, groups=width))


class _FeedForward(nn.Module):
    """Two 1×1 convolutions with a depthwise one between them."""

    def __init__(self, inputs: int, hidden: int, outputs: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(inputs, hidden, 1), nn.GELU(), nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden), nn.GELU(),
            nn.Conv2d(hidden, outputs, 1),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


def _linear_attention(queries: Tensor, keys: Tensor, values: Tensor, heads: int) -> Tensor:
    """Softmax of queries over channels and of keys over positions, after Shen et al., "Efficient Attention" (WACV
    2021), all (B, C, h, w)."""
    batch, channels, rows, columns = values.shape
    query, key, value = (x.reshape(batch, heads, channels // heads, -1) for x in (queries, keys, values))
    summary = torch.softmax(key, -1) @ value.transpose(-1, -2)
    return (summary.transpose(-1, -2) @ torch.softmax(query, -2)).reshape(batch, channels, rows, columns)


class _InterSlice(nn.Module):
    """The whole image's context in the slices before, (B, C, h, w) to (B, outputs, h, w)."""

    def __init__(self, width: int, outputs: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.queries, self.keys, self.values = (_pointwise_depthwise(width) for _ in range(3))
        middle = outputs * 3 // 2
        self.project = nn.Conv2d(width, middle, 5, padding=2)
        self.feed_forward = _FeedForward(middle, 2 * outputs, outputs)
        self.shortcut = nn.Conv2d(middle, outputs, 1)

    def forward(self, before: Tensor) -> Tensor:
        context = _linear_attention(self.queries(before), self.keys(before), self.values(before), self.heads)
        context = self.project(context)
        return self.shortcut(context) + self.feed_forward(context)


class _IntraSlice(nn.Module):
    """This slice's anchors, found by what the slice before is like there and here: (B, C, h, w) to (B, 2·C, h, w)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.queries, self.keys, self.values = (_pointwise_depthwise(width) for _ in range(3))
        self.project = nn.Conv2d(width, 2 * width, 5, padding=2)
        self.feed_forward = _FeedForward(2 * width, 4 * width, 2 * width)

    def forward(self, last: Tensor, decoded: Tensor, first: Tensor) -> Tensor:
        queries = self.queries(last * ~first)
        keys = self.keys(last * first).masked_fill(~first, -math.inf)
        context = self.project(_linear_attention(queries, keys, self.values(decoded), self.heads) * ~first)
        return context + self.feed_forward(context)


def build(size: str) -> Mlic:
    """Untrained networks of a size in :data:`PRESETS`."""
    return Mlic(PRESETS[size])


def system(size: str, weights: Path) -> LearnedPixels:
    """The row, from weights that :func:`atdc_bench.baselines.learned_training.train_pixel_codec` wrote; they need not
    be there yet.

    >>> system("small", Path("not-there.safetensors")).missing()
    'not trained: python -m atdc_bench.baselines.learned_training mlic small'
    """
    return LearnedPixels("mlic", f"MLIC++ ({size}, ours)", size, build, weights)
