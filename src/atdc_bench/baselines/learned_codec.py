"""A learned codec of images: transforms, hyperprior, context model, and gains that make one set of weights serve
several rates.

::

    image ─ analysis ─▶ y (M × H/16 × W/16) ─ ×gain(point) ─ quantise ─ ÷gain(point) ─ synthesis ─▶ image
                          └ hyper-analysis ─▶ z (H/64 × W/64) ─ ×gain ─ quantise ─▶ hyper-synthesis ─▶ side
    mean, log σ of each part of y: context model(side, parts before it)

:meth:`PixelCodec.traverse` is one traversal for training, counting, writing and reading: what differs is the coder that
it hands values to, as in :mod:`atdc.bitstream.symbols`. So what an encoder computes from decoded values is computed by
the same calls, on tensors of the same shapes, as in a decoder.

Gains follow Cui et al., "Asymmetric Gained Deep Image Compression With Continuous Rate Adaptation" (CVPR 2021), with
the inverse gain fixed to be the reciprocal. As in the feature codec, networks speak of the latent before its gain: a
predicted mean is multiplied by it, and its logarithm is added to a predicted log σ.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from atdc.entropy.gaussian import gaussian_bits
from atdc.entropy.model import MEAN_LIMIT
from atdc.entropy.rounding import (
    MEANS_PER_STEP,
    lower_bound,
    quantised_mean,
    round_straight_through,
    scale_index,
    scales,
)
from atdc.entropy.tables import FrequencyTables
from atdc.errors import CorruptFileError

POINTS = 5
"""Rates of one set of weights; point 0 has the fewest bytes."""
STRIDE_PX = 64
"""Images are padded to multiples of this: four halvings to the latent, two more to the hyper-latent."""
LARGEST_SYMBOL = 1 << 15
"""Writers clamp symbols to ± this; readers refuse more."""

SCALE_MIN, SCALE_MAX, SCALE_COUNT = 0.05, 64.0, 64
"""The probability tables, as in the feature codec: standard deviations in quantisation steps, geometric."""

_LOG_MIN, _LOG_MAX = math.log(SCALE_MIN), math.log(SCALE_MAX)
_MEAN_LIMIT = MEAN_LIMIT / MEANS_PER_STEP


def gaussian_tables() -> FrequencyTables:
    """The tables; made when weights are saved, and kept with them."""
    return FrequencyTables.gaussian(scales(SCALE_MIN, SCALE_MAX, SCALE_COUNT))


# --- coders -----------------------------------------------------------------------------------------------------------


class ValueCoder(Protocol):
    """What the traversal hands values to."""

    def code(self, value: Tensor | None, mean: Tensor, log_scale: Tensor, where: Tensor | None) -> Tensor:
        """Codes values and returns them as a decoder will see them, zero where nothing was coded.

        Args:
            value: (B, C, h, w), in quantisation steps; None when reading.
            mean: likewise, what the value is expected to be.
            log_scale: likewise, natural logarithm of how far it may lie from there.
            where: bool (h, w), the positions to code; None for all.
        """
        ...


class RateCounter:
    """Training: rates from uniform noise, values from rounding with a straight-through gradient.

    Mixed quantisation after Minnen and Singh, "Channel-wise autoregressive entropy models" (ICIP 2020).

    Args:
        noise: False takes the rates of the rounded values: what a file would cost, to be told but not minimised.

    Attributes:
        bits: of each image so far, (B,), differentiable.
    """

    def __init__(self, noise: bool = True) -> None:
        self.bits: Tensor | float = 0.0
        self._noise = noise

    def code(self, value: Tensor | None, mean: Tensor, log_scale: Tensor, where: Tensor | None) -> Tensor:
        assert value is not None, "training codes known values"
        distance = value - mean
        log_scale = lower_bound(log_scale, _LOG_MIN).clamp(max=_LOG_MAX)
        integers = round_straight_through(distance)
        bits = gaussian_bits(distance + torch.rand_like(value) - 0.5 if self._noise else integers, log_scale)
        decoded = integers + mean
        if where is not None:
            bits, decoded = bits * where, decoded * where
        self.bits = self.bits + bits.sum((1, 2, 3))
        return decoded


class IntegerCoder(Protocol):
    """A symbol coder of :mod:`atdc.bitstream.symbols`: counts, writes or reads."""

    def code(
        self, image: int, task: int, symbols: NDArray[np.int32] | None, table_index: NDArray[np.uint8]
    ) -> NDArray[np.int32]:
        """Takes, or returns, symbols, each with the table that describes it."""
        ...


class SymbolCoder:
    """Coding, one image at a time: values become integers around a mean of sixteenths, described by tables.

    Args:
        coder: counts, writes or reads them.
    """

    def __init__(self, coder: IntegerCoder) -> None:
        self._coder = coder

    def code(self, value: Tensor | None, mean: Tensor, log_scale: Tensor, where: Tensor | None) -> Tensor:
        """See :class:`ValueCoder`.

        Raises:
            CorruptFileError: bytes hold a symbol that no writer writes.
        """
        # Symbols of a damaged file may lead networks to anything, even to what is no number.
        index = scale_index(torch.nan_to_num(log_scale), SCALE_MIN, SCALE_MAX, SCALE_COUNT)
        mean = quantised_mean(torch.nan_to_num(mean).clamp(-_MEAN_LIMIT, _MEAN_LIMIT))
        mask = torch.ones(mean.shape[2:], dtype=torch.bool) if where is None else where.cpu()
        symbols = None
        if value is not None:
            integers = torch.round(value - mean).clamp(-LARGEST_SYMBOL, LARGEST_SYMBOL)
            symbols = integers.cpu()[0, :, mask].flatten().numpy().astype(np.int32)
        table_index = index.cpu()[0, :, mask].flatten().numpy().astype(np.uint8)
        symbols = self._coder.code(0, 0, symbols, table_index)
        if symbols.size and int(np.abs(symbols).max()) > LARGEST_SYMBOL:
            raise CorruptFileError("latents", f"a symbol of magnitude {np.abs(symbols).max()}", f"{LARGEST_SYMBOL}")
        decoded = torch.zeros(mean.shape)
        decoded[0, :, mask] = torch.from_numpy(symbols.astype(np.float32)).reshape(mean.shape[1], -1)
        decoded = decoded.to(mean.device) + mean
        return decoded if where is None else decoded * where


class _ShapeCoder:
    """Expects, and sees, the mean: for networks without numbers, whose work is counted."""

    def code(self, value: Tensor | None, mean: Tensor, log_scale: Tensor, where: Tensor | None) -> Tensor:
        return mean


# --- networks --------------------------------------------------------------------------------------------------------


class PointTable(nn.Module):
    """A learned vector per point: (B,) points to (B, width, 1, 1)."""

    def __init__(self, width: int, start: float = 0.0, end: float = 0.0) -> None:
        super().__init__()
        # The name makes the training loop treat it as it treats the feature codec's quality tables.
        self.rows = nn.Parameter(torch.linspace(start, end, POINTS)[:, None].repeat(1, width))

    def forward(self, point: Tensor) -> Tensor:
        return self.rows[point][:, :, None, None]


class GainedCoder:
    """Codes values before their gain through a coder that knows them after it.

    Args:
        coder: what values go to.
        log_gain: (B, C, 1, 1).
    """

    def __init__(self, coder: ValueCoder, log_gain: Tensor) -> None:
        self._coder, self._log_gain = coder, log_gain

    @property
    def step(self) -> Tensor:
        """Quantisation step of each channel, the reciprocal of its gain, (B, C, 1, 1)."""
        return torch.exp(-self._log_gain)

    def channels(self, start: int, stop: int) -> GainedCoder:
        """The same for some of the channels."""
        return GainedCoder(self._coder, self._log_gain[:, start:stop])

    def code(self, value: Tensor | None, mean: Tensor, log_scale: Tensor, where: Tensor | None) -> Tensor:
        """See :class:`ValueCoder`, but all of it before the gain."""
        gain = torch.exp(self._log_gain)
        gained = None if value is None else value * gain
        return self._coder.code(gained, mean * gain, log_scale + self._log_gain, where) * self.step


class PixelCodec(nn.Module):
    """What a learned pixel codec must bring; the rest is here.

    Args:
        latent: channels of y, ``M``.
        hyper: channels of z.
        side: channels of what the hyper-synthesis makes of z.
    """

    analysis: nn.Module
    """(B, 3, H, W) around 0 to (B, M, H/16, W/16)."""
    synthesis: nn.Module
    """Back."""
    hyper_analysis: nn.Module
    """(B, M, h, w) to (B, hyper, h/4, w/4)."""
    hyper_synthesis: nn.Module
    """(B, hyper, h/4, w/4) to (B, side, h, w)."""

    def __init__(self, latent: int, hyper: int, side: int) -> None:
        super().__init__()
        self.latent_channels, self.hyper_channels = latent, hyper
        self.log_gain = PointTable(latent, 0.5, 3.0)
        self.hyper_log_gain = PointTable(hyper, 1.0, 2.0)
        self.hyper_mean = PointTable(hyper)
        self.hyper_log_scale = PointTable(hyper, -1.0, -1.0)
        self.side_bias = PointTable(side)

    @abstractmethod
    def code_latent(self, coder: GainedCoder, side: Tensor, latent: Tensor | None) -> Tensor:
        """Codes y part by part, each in the context of those before it.

        Args:
            coder: where to; ``coder.channels`` for a part.
            side: (B, side, h, w).
            latent: y, (B, M, h, w); None when reading.

        Returns:
            The decoded y, (B, M, h, w).
        """

    def traverse(self, coder: ValueCoder, point: Tensor, sides: tuple[int, int], pixels: Tensor | None) -> Tensor:
        """Codes images, and returns the latent as a decoder will see it, (B, M, rows/16, columns/16).

        Args:
            coder: trains, counts, writes or reads.
            point: (B,) of 0 … POINTS − 1.
            sides: rows and columns, multiples of 64.
            pixels: (B, 3, rows, columns) in 0 … 1; None when reading.
        """
        latent = None if pixels is None else self.analysis(pixels - 0.5)
        hyper = None if latent is None else self.hyper_analysis(latent)
        # A density per channel, everywhere the same.
        positions = (len(point), self.hyper_channels, sides[0] // STRIDE_PX, sides[1] // STRIDE_PX)
        mean, log_scale = (table(point).expand(positions) for table in (self.hyper_mean, self.hyper_log_scale))
        hyper_coder = GainedCoder(coder, self.hyper_log_gain(point))
        side = self.hyper_synthesis(hyper_coder.code(hyper, mean, log_scale, None)) + self.side_bias(point)
        return self.code_latent(GainedCoder(coder, self.log_gain(point)), side, latent)

    def restore(self, latent: Tensor) -> Tensor:
        """What :meth:`traverse` returned to images (B, 3, rows, columns), about 0 … 1, not clamped."""
        return self.synthesis(latent) + 0.5


def complexity(codec: PixelCodec) -> Mapping[str, float]:
    """How large a codec is: parameters, and multiply-accumulates, counted where torch dispatches them. All layers are
    linear in the number of pixels, so the smallest image tells of any.

    Args:
        codec: on any device; ``meta`` counts without computing.

    Returns:
        ``parameters_millions``; thousands of multiply-accumulates per pixel of ``encode``, ``decode`` (both with
        hyper-synthesis and context model) and ``forward`` (everything once, which is what papers give).
    """
    device = next(codec.parameters()).device
    sides = (STRIDE_PX, STRIDE_PX)
    point, pixels = torch.zeros(1, dtype=torch.long, device=device), torch.zeros(1, 3, *sides, device=device)

    def kmac_per_px(work: Callable[[], object]) -> float:
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            work()
        return float(counter.get_total_flops()) / 2e3 / STRIDE_PX**2

    latent = torch.zeros(1, codec.latent_channels, STRIDE_PX // 16, STRIDE_PX // 16, device=device)
    encode = kmac_per_px(lambda: codec.traverse(_ShapeCoder(), point, sides, pixels))
    read = kmac_per_px(lambda: codec.traverse(_ShapeCoder(), point, sides, None))
    restore = kmac_per_px(lambda: codec.restore(latent))
    return {
        "parameters_millions": round(sum(p.numel() for p in codec.parameters()) / 1e6, 3),
        "encode_kmac_per_px": round(encode, 2),
        "decode_kmac_per_px": round(read + restore, 2),
        "forward_kmac_per_px": round(encode + restore, 2),
    }
