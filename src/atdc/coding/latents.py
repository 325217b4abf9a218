"""Ports between the walk and what becomes of a latent: bits with gradients (training), or integers (coding)."""

from __future__ import annotations

import math
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from atdc.config import ModelConfig
from atdc.numerics.gaussian import gaussian_bits
from atdc.numerics.quantise import lower_bound, quantised_mean, round_straight_through, scale_index

LARGEST_SYMBOL = 2**15
"""Symbols are clamped to ± this; a latent that far out is damage, not data."""


class LatentPort(Protocol):
    """What the walk hands every latent to."""

    def code(self, images: Tensor, task: int, value: Tensor | None, mean: Tensor, log_scale: Tensor) -> Tensor:
        """Codes one latent of some images' task and returns it as the decoder will see it.

        Args:
            images: which images of the batch, (n,).
            task: whose latent.
            value: the latent in quantisation steps (n, C, h, w); None when reading.
            mean: its mean, broadcastable to the latent's shape.
            log_scale: its log standard deviation, (n, C, h, w).
        """
        ...


class SymbolPort(Protocol):
    """What the integer port hands symbols to: a counter, a writer or a reader."""

    def code(
        self, image: int, task: int, symbols: NDArray[np.int32] | None, table_index: NDArray[np.uint8]
    ) -> NDArray[np.int32]:
        """Takes (or, reading, returns) the symbols of one image's task, each with the table that describes it."""
        ...


class TrainingPort:
    """Rates from uniform noise, reconstructions from rounding with a straight-through gradient.

    Mixed quantisation after Minnen and Singh, "Channel-wise autoregressive entropy models" (ICIP 2020).
    """

    def __init__(self, config: ModelConfig, batch: int, task_count: int) -> None:
        self._log_smallest = math.log(config.scale_min)
        self._bits = torch.zeros(batch, task_count)

    @property
    def bits(self) -> Tensor:
        """Bits per image and task, (B, T), differentiable."""
        return self._bits

    def code(self, images: Tensor, task: int, value: Tensor | None, mean: Tensor, log_scale: Tensor) -> Tensor:
        assert value is not None, "training codes known latents"
        noise = torch.rand_like(value) - 0.5
        bits = gaussian_bits(value - mean + noise, lower_bound(log_scale, self._log_smallest)).sum((1, 2, 3))
        self._bits = self._bits.index_put((images, torch.full_like(images, task)), bits, accumulate=True)
        return round_straight_through(value - mean) + mean


class IntegerPort:
    """Rounds latents to integers and entropy parameters to table indices, and hands them to a symbol port."""

    def __init__(self, config: ModelConfig, symbols: SymbolPort) -> None:
        self._config = config
        self._symbols = symbols

    def code(self, images: Tensor, task: int, value: Tensor | None, mean: Tensor, log_scale: Tensor) -> Tensor:
        config = self._config
        index = scale_index(log_scale, config.scale_min, config.scale_max, config.scale_count)
        tables = index.to(torch.uint8).numpy()
        mean = quantised_mean(mean)
        given: NDArray[np.int32] | None = None
        if value is not None:
            rounded = torch.round(value - mean).clamp(-LARGEST_SYMBOL, LARGEST_SYMBOL)
            given = rounded.to(torch.int32).numpy()
        coded = [
            self._symbols.code(int(image), task, None if given is None else given[row].ravel(), tables[row].ravel())
            for row, image in enumerate(images.tolist())
        ]
        symbols = torch.from_numpy(np.stack(coded).reshape(tables.shape))
        return (symbols + mean).to(torch.float32)
