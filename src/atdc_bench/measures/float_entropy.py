"""Entropy parameters in floating point, to measure what integers cost."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from atdc.config import QUALITY_STEPS_PER_UNIT
from atdc.entropy.float_model import FloatEntropyModel
from atdc.entropy.integer import Integers, Numbers
from atdc.entropy.model import MEAN_BITS, sends_hyper
from atdc.entropy.rounding import quantised_mean, scale_index
from atdc.entropy.tables import FrequencyTables
from atdc.networks.codec_networks import CodecNetworks


class FloatEntropyParameters:
    """The float model in float64 in the place of the integer model: only to measure what integers cost, never to
    code a file.

    Means and tables are rounded at the end, as they must be; nothing before them is. States are floats.
    """

    def __init__(self, float_model: FloatEntropyModel, networks: CodecNetworks, tables: FrequencyTables) -> None:
        self._float_model, self._networks = deepcopy(float_model).double(), deepcopy(networks.transforms).double()
        self._config, self.tables, self.padding = networks.config, tables, networks.config.padding
        self.spatial_context = networks.config.spatial_context

    @property
    def hyper_channels(self) -> int:
        """Channels of the hyper-latent."""
        return self._config.hyper_channels

    def sends_hyper(self, parents: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Whether a task with these parents has a hyper-latent."""
        return sends_hyper(self._config.factorised, parents)

    @torch.no_grad()
    def hyper_prior(self, task: int, steps: Integers) -> tuple[Integers, Integers]:
        """Mean in sixteenths and table of each channel of the hyper-latent, each (n, H)."""
        mean, log_scale = self._float_model.task(task).hyper_prior(_quality(steps))
        return self._sixteenths(mean)[:, 0, 0], self._tables(log_scale)[:, 0, 0]

    @torch.no_grad()
    def hidden_sums(
        self, task: int, steps: Integers, hyper: Integers, parents: NDArray[np.bool_], states: Mapping[int, Numbers]
    ) -> Numbers:
        """What hyper-latent and parents tell of the latent."""
        parent_states = [_first(states[p]) if p in states else None for p in range(len(self._float_model))]
        sums = self._float_model.task(task).hidden_sums(
            _first(hyper / (1 << MEAN_BITS)), _quality(steps), torch.from_numpy(parents).double(), parent_states
        )
        return _last(sums)

    @torch.no_grad()
    def latent_prior(
        self, task: int, steps: Integers, sums: Numbers, around: Integers | None = None,
        at: NDArray[np.bool_] | None = None,
    ) -> tuple[Integers, Integers, Numbers]:  # fmt: skip
        """Mean in sixteenths and table of each latent, and the hidden activations."""
        log_gain = self._networks[task].log_gain(_quality(steps))  # type: ignore[operator]
        mean, log_scale, hidden = self._float_model.task(task).latent_prior(
            _first(sums), _quality(steps), log_gain, None if around is None else _first(around)
        )
        means, tables = self._sixteenths(mean), self._tables(log_scale)
        return (means, tables, _last(hidden)) if at is None else (means[:, at], tables[:, at], _last(hidden))

    @torch.no_grad()
    def state(self, task: int, steps: Integers, latent: Integers, hidden: Numbers) -> Numbers:
        """What a decoded latent tells the task's children."""
        return _last(
            self._float_model.task(task).state(_first(latent / (1 << MEAN_BITS)), _first(hidden), _quality(steps))
        )

    def _sixteenths(self, mean: Tensor) -> Integers:
        return _last(quantised_mean(mean) * (1 << MEAN_BITS)).astype(np.int64)

    def _tables(self, log_scale: Tensor) -> Integers:
        config = self._config
        index = scale_index(log_scale, config.scale_min, config.scale_max, config.scale_count)
        return _last(index).astype(np.int64)


def _quality(steps: Integers) -> Tensor:
    return torch.from_numpy(steps).double() / QUALITY_STEPS_PER_UNIT


def _first(values: Numbers) -> Tensor:
    return torch.from_numpy(np.asarray(values, np.float64)).permute(0, 3, 1, 2)


def _last(values: Tensor) -> Numbers:
    return values.permute(0, 2, 3, 1).numpy()
