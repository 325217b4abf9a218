"""The transforms of one task's codec: residual to latent and back, latent to hyper-latent and back.

::

    r, μ, log σ ─ analysis ─▶ y (64 × h/2 × w/2) ─ ×gain(q) ─ quantise ─ ÷gain(q) ─ synthesis (sees μ, log σ) ─▶ r̂
                              └ hyper-analysis ─▶ h (8 × h/4 × w/4) ─ quantise

Which probability table describes y and h is not decided here but by integers: :mod:`atdc.entropy.model`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from atdc.config import MAX_QUALITY, ModelConfig
from atdc.tensors import TensorSpec


def _conv(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1, stride=stride)


def _last(layers: nn.Sequential) -> nn.Conv2d:
    layer = layers[-1]
    assert isinstance(layer, nn.Conv2d)
    return layer


def _refined(layers: nn.Sequential, x: Tensor, gain: QualityTable | None, quality: Tensor) -> Tensor:
    """What layers make of x; the channels that their last one sees are scaled by 1 + gain."""
    hidden: Tensor = layers[:-1](x)
    if gain is not None:
        hidden = hidden * (1 + gain(quality)).to(hidden.dtype)
    return _last(layers)(hidden)


class Refine(nn.Module):
    """One 3×3 convolution around a shortcut."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = _conv(width, width)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv(torch.relu(x))
        return x + y


class QualityTable(nn.Module):
    """A learned vector per integer quality, interpolated linearly between them. (B,) qualities to (B, width, 1, 1)."""

    def __init__(self, width: int, start: float = 0.0, end: float = 0.0) -> None:
        super().__init__()
        # On the device `meta`, for `linspace` and `repeat` alone, torch would load a library of symbolic mathematics.
        row = torch.linspace(start, end, MAX_QUALITY + 1, device="cpu").to(torch.get_default_device())
        self.rows = nn.Parameter(row[:, None].expand(-1, width).contiguous())

    def forward(self, quality: Tensor) -> Tensor:
        levels = torch.arange(MAX_QUALITY + 1, device=quality.device)
        shares = torch.relu(1 - (quality[:, None] - levels).abs())  # of the rows around it; they sum to 1
        return (shares[:, :, None] * self.rows).sum(1)[:, :, None, None]


def blocks_of(features: Tensor) -> Tensor:
    """The blocks of 2×2 positions of maps (B, C, h, w) of even sides, (n, 4C) in double precision: image by image,
    channel by channel, row by row.

    >>> blocks_of(torch.arange(8.0).reshape(1, 1, 2, 4)).tolist()
    [[0.0, 1.0, 4.0, 5.0], [2.0, 3.0, 6.0, 7.0]]
    """
    return F.unfold(features, 2, stride=2).transpose(1, 2).flatten(0, 1).double()


@dataclass(frozen=True)
class BlockMetric:
    """How much errors of features matter: ``eᵀMe`` of each block e of 2×2 positions, M symmetric and positive definite.

    Attributes:
        root: of M, (4C, 4C), double precision; channel by channel, row by row.

    >>> metric = BlockMetric.of(np.diag([4.0, 1.0, 1.0, 1.0]))
    >>> metric.errors(torch.ones(1, 1, 2, 4)).tolist()
    [14.0]
    """

    root: Tensor

    @classmethod
    def of(cls, matrix: NDArray[np.float64]) -> BlockMetric:
        """From M, whose smallest eigenvalues are raised to a ten-thousandth of their mean."""
        eigenvalues, vectors = torch.linalg.eigh(torch.from_numpy(matrix).double())
        clamped = eigenvalues.clamp(min=1e-4 * float(eigenvalues.mean().clamp(min=1e-12)))
        return cls((vectors * clamped.sqrt()) @ vectors.T)

    def errors(self, difference: Tensor) -> Tensor:
        """Of each image's difference (B, C, h, w) of even sides, (B,)."""
        channels = difference.shape[1]
        kernel = self.root.to(difference).reshape(4 * channels, channels, 2, 2)
        return F.conv2d(difference, kernel, stride=2).square().sum((1, 2, 3))


class TaskTransforms(nn.Module):
    """Everything learned in one task's codec apart from the shared predictor."""

    def __init__(self, config: ModelConfig, tensor: TensorSpec) -> None:
        super().__init__()
        channels, width, latent = tensor.channels, config.codec_width, tensor.latent_channels
        hyper, hyper_width = config.hyper_channels, config.hyper_width
        self.conditional = config.residual == "conditional"
        # A linear transform of 2×2 blocks and its inverse, which start as the principal components of the features
        # (the best transform there is for a Gaussian source); the networks next to them start at zero and refine.
        self.block = nn.Conv2d(channels, latent, 2, stride=2, bias=False)
        self.unblock = nn.ConvTranspose2d(latent, channels, 2, stride=2, bias=False)
        inputs = 3 * channels if self.conditional else channels
        self.analysis_layers = nn.Sequential(
            _conv(inputs, width, stride=2), Refine(width), nn.ReLU(), nn.Conv2d(width, latent, 1)
        )
        merge = width // 2
        self.synthesis_deep = nn.Sequential(
            _conv(latent, width), Refine(width), nn.ReLU(), nn.Conv2d(width, 4 * merge, 1), nn.PixelShuffle(2)
        )
        self.synthesis_merge = nn.Sequential(
            _conv(merge + inputs - channels, merge), nn.ReLU(), nn.Conv2d(merge, channels, 1)
        )
        self.hyper_analysis_layers = nn.Sequential(
            _conv(latent, hyper_width), nn.ReLU(), _conv(hyper_width, hyper_width, stride=2), nn.ReLU(),
            nn.Conv2d(hyper_width, hyper, 1),
        )  # fmt: skip
        hidden = config.gains == "hidden"
        self.analysis_gain = QualityTable(width) if hidden else None
        self.synthesis_gain = QualityTable(merge) if hidden else None
        nn.init.zeros_(_last(self.analysis_layers).weight)
        nn.init.zeros_(_last(self.synthesis_merge).weight)
        # Steps of 16 at quality 0 and of 2/3 at quality 7, in units of the normalised features.
        self.log_gain = QualityTable(latent, math.log(1 / 16), math.log(3 / 2))
        self.log_inverse_gain = QualityTable(latent, math.log(16), math.log(2 / 3))

    @torch.no_grad()
    def start_from_principal_components(self, features: Tensor, metric: BlockMetric | None = None) -> Tensor:
        """Sets the linear transforms to the principal components of normalised features (B, C, h, w), in a metric if
        there is one; returns the standard deviation of each component, (M,)."""
        channels, latent = self.block.in_channels, self.block.out_channels
        root = torch.eye(4 * channels, dtype=torch.float64) if metric is None else metric.root
        blocks = blocks_of(features) @ root
        covariance = blocks.T @ blocks / len(blocks)
        eigenvalues, vectors = torch.linalg.eigh(covariance)
        basis = vectors.flip(1)[:, :latent]
        std = eigenvalues.flip(0)[:latent].clamp(min=1e-3).sqrt()
        shape = (latent, channels, 2, 2)
        self.block.weight.copy_((basis.T @ root).reshape(shape))
        self.unblock.weight.copy_(torch.linalg.solve(root, basis).T.reshape(shape))
        return std.float()

    @torch.no_grad()
    def start_hyper_latent(self) -> None:
        """Starts the hyper-latent as what is worth telling of the latent, of its first channels over 2×2 positions:
        mean magnitudes in one half of its channels, means in the other. Made by random weights it is mere noise, which
        training learns to do without, and does not come back to."""
        first, down, last = (layer for layer in self.hyper_analysis_layers if isinstance(layer, nn.Conv2d))
        width, latent, hyper = first.out_channels, first.in_channels, last.out_channels
        magnitudes = (hyper + 1) // 2
        for layer in (first, down, last):
            layer.weight.mul_(0.1)
            if layer.bias is not None:
                layer.bias.zero_()
        for unit in range(width):  # a channel and its negative in turn, since units are rectified
            channel, sign = unit // 2, 1 - 2 * (unit % 2)
            first.weight[unit, channel % latent, 1, 1] += sign
            down.weight[unit, unit, 1:, 1:] += 0.25
            last.weight[channel % magnitudes, unit] += 2 * magnitudes / width
            if channel < min(latent, hyper - magnitudes):
                last.weight[magnitudes + channel, unit] += sign

    def freeze_analysis(self) -> None:
        """What makes latents of features learns no more; gains still do."""
        for module in (self.block, self.analysis_layers, self.hyper_analysis_layers):
            module.requires_grad_(False)

    def _seen(self, mean: Tensor, log_variance: Tensor) -> list[Tensor]:
        return [mean, 0.5 * log_variance] if self.conditional else []

    def analysis(self, residual: Tensor, mean: Tensor, log_variance: Tensor, quality: Tensor) -> Tensor:
        """Residual r = z' − μ (B, C, h, w) to the latent in quantisation steps, (B, M, h/2, w/2)."""
        inputs = torch.cat([residual, *self._seen(mean, log_variance)], 1)
        refinement = _refined(self.analysis_layers, inputs, self.analysis_gain, quality)
        linear: Tensor = self.block(residual)
        return (linear + refinement) * torch.exp(self.log_gain(quality)).to(residual.dtype)

    def synthesis(self, latent: Tensor, mean: Tensor, log_variance: Tensor, quality: Tensor) -> Tensor:
        """Decoded latent to the decoded residual r̂ (B, C, h, w)."""
        latent = latent * torch.exp(self.log_inverse_gain(quality))
        deep = self.synthesis_deep(latent)
        inputs = torch.cat([deep, *self._seen(mean, log_variance)], 1)
        refinement = _refined(self.synthesis_merge, inputs, self.synthesis_gain, quality)
        linear: Tensor = self.unblock(latent)
        return linear + refinement

    def hyper_analysis(self, latent: Tensor) -> Tensor:
        """Latent to hyper-latent, (B, hyper, h/4, w/4)."""
        return self.hyper_analysis_layers(torch.asinh(latent))
