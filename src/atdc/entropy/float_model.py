"""The float model of the integer entropy path: what training differentiates, and how its integers are made.

The equations and the integers are those of :mod:`atdc.entropy.model`; a test holds the two together.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from atdc.config import MAX_QUALITY, QUALITY_STEPS_PER_UNIT, ModelConfig
from atdc.entropy.model import (
    ACTIVATION_BITS,
    ACTIVATION_LIMIT,
    GAIN_BITS,
    HYPER_LIMIT,
    LATENT_LIMIT,
    LEAST_FIRST_FRACTION,
    MEAN_BITS,
    NEIGHBOUR_BITS,
    STATE_LIMIT,
    EntropyModel,
    TaskEntropy,
)
from atdc.entropy.rounding import quantised_mean, scale_index, scales
from atdc.entropy.tables import FrequencyTables
from atdc.networks.codec_networks import CodecNetworks
from atdc.networks.transforms import QualityTable, TaskTransforms
from atdc.tensors import FeatureSet, TensorSpec

_ACTIVATION_MAX = ACTIVATION_LIMIT / (1 << ACTIVATION_BITS)
_STATE_MAX = STATE_LIMIT / (1 << ACTIVATION_BITS)
_HYPER_MAX = HYPER_LIMIT / (1 << MEAN_BITS)


class FloatTensorEntropy(nn.Module):
    """One task's entropy parameters in floating point."""

    def __init__(self, config: ModelConfig, tensor: TensorSpec, task_count: int) -> None:
        super().__init__()
        hyper, width, latent = config.hyper_channels, config.hyper_width, tensor.latent_channels
        self.first = nn.Conv2d(hyper, width, 3, padding=1)
        self.up = nn.Conv2d(width, 4 * width, 1)
        self.last = nn.Conv2d(width, 2 * latent, 3, padding=1)
        self.quality = QualityTable(width)
        self.parent_bias = nn.Parameter(torch.zeros(task_count, width))
        self.hyper_mean = QualityTable(hyper)
        self.hyper_log_scale = QualityTable(hyper, -1.0, -1.0)
        self.own = nn.Conv2d(latent, config.state_channels, 3, padding=1)
        self.hidden = nn.Conv2d(width, config.state_channels, 1)
        self.state_quality = QualityTable(config.state_channels)
        self.parents = nn.Parameter(torch.zeros(task_count, config.state_channels, width))
        # Parents that shall not inform the tables keep their zeros; readers need no other code for it.
        self.parents.requires_grad_(config.informs)
        self.parent_bias.requires_grad_(config.informs)
        self.around: nn.Conv2d | None = None
        self.neighbours: QualityTable | None = None
        if config.spatial_context != "none":  # starts without effect
            self.around = nn.Conv2d(latent, width, 3, padding=1, bias=False)
            nn.init.zeros_(self.around.weight)
            self.neighbours = QualityTable(latent)

    @torch.no_grad()
    def start_from_std(self, std: Tensor) -> None:
        """Sets the expected scale of each latent channel before its gain, (M,), and what a hyper-latent says of it
        that starts as :meth:`~atdc.networks.transforms.TaskTransforms.start_hyper_latent` has it: magnitudes raise all
        scales, means move those of their channels."""
        hyper, width, latent = self.first.in_channels, self.first.out_channels, len(std)
        magnitudes = (hyper + 1) // 2
        for layer in (self.first, self.up, self.last):
            layer.weight.mul_(0.2)
            assert layer.bias is not None
            layer.bias.zero_()
        for unit in range(width):
            self.up.weight[4 * unit : 4 * (unit + 1), unit] += 1
        for unit in range(min(width, magnitudes)):
            self.first.weight[unit, unit, 1, 1] += 1
            self.last.weight[latent:, unit, 1, 1] += 1 / magnitudes
        for unit in range(magnitudes, min(width, magnitudes + 2 * min(latent, hyper - magnitudes))):
            channel, sign = (unit - magnitudes) // 2, 1 - 2 * ((unit - magnitudes) % 2)
            self.first.weight[unit, magnitudes + channel, 1, 1] += sign
            self.last.weight[channel, unit, 1, 1] += sign
        assert self.last.bias is not None
        self.last.bias[latent:] = std.log()

    def hyper_prior(self, quality: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log scale of the hyper-latent, each (B, H, 1, 1): a factorised density per channel."""
        return self.hyper_mean(quality), self.hyper_log_scale(quality)

    def hidden_sums(self, hyper: Tensor, quality: Tensor, mask: Tensor, states: list[Tensor | None]) -> Tensor:
        """What hyper-latent and parents tell of the latent, (B, W, h/2, w/2), from integers only.

        Args:
            hyper: decoded hyper-latent (B, H, h/4, w/4).
            quality: (B,).
            mask: (B, T), 1 where a task is a parent.
            states: by task, the state (B, Z, h/2, w/2) of those that are parents of some image, on this task's grid.
        """
        x = self.first(hyper.clamp(-_HYPER_MAX, _HYPER_MAX)) + self.quality(quality)
        x = torch.relu(x + (mask @ self.parent_bias)[:, :, None, None]).clamp(max=_ACTIVATION_MAX)
        x = F.pixel_shuffle(self.up(x), 2)
        for parent, state in enumerate(states):
            if state is not None:
                contribution = torch.einsum("bzhw,zc->bchw", state, self.parents[parent])
                x = x + contribution * mask[:, parent, None, None, None]
        return x

    def latent_prior(
        self, sums: Tensor, quality: Tensor, log_gain: Tensor, around: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Mean and log scale of the latent, each (B, M, h/2, w/2), and the hidden activations.

        Args:
            sums: of :meth:`hidden_sums`.
            quality: (B,).
            log_gain: logarithm of the latent's gain, (B, M, 1, 1): the networks tell of the latent before its gain.
            around: symbols of the latent that are known, like it, 0 elsewhere; None for none.
        """
        if around is not None and self.around is not None:
            around = around.clamp(-LATENT_LIMIT, LATENT_LIMIT)
            sums = sums + self.around(torch.asinh(around.abs()))
        x = torch.relu(sums).clamp(max=_ACTIVATION_MAX)
        mean, log_scale = self.last(x).chunk(2, 1)
        mean = mean * torch.exp(log_gain)
        if around is not None and self.neighbours is not None:
            wide = F.pad(around, (1, 1, 1, 1))
            sums = wide[..., :-2, 1:-1] + wide[..., 2:, 1:-1] + wide[..., 1:-1, :-2] + wide[..., 1:-1, 2:]
            mean = mean + self.neighbours(quality) * sums
        return mean, log_scale + log_gain, x

    def state(self, latent: Tensor, hidden: Tensor, quality: Tensor) -> Tensor:
        """What the children are given, (B, Z, h/2, w/2), from the decoded latent and its hidden activations."""
        whole = torch.round(latent.detach()).clamp(-LATENT_LIMIT, LATENT_LIMIT)
        x = self.own(torch.asinh(whole)) + self.hidden(hidden) + self.state_quality(quality)
        return torch.relu(x).clamp(max=_STATE_MAX)


class FloatEntropyModel(nn.ModuleList):
    """Float models of all tensors."""

    def __init__(self, config: ModelConfig, tensors: FeatureSet) -> None:
        super().__init__([FloatTensorEntropy(config, tensor, len(tensors)) for tensor in tensors.tensors])

    def task(self, index: int) -> FloatTensorEntropy:
        """One tensor's float model."""
        float_model = self[index]
        assert isinstance(float_model, FloatTensorEntropy)
        return float_model


@torch.no_grad()
def quantised_model(float_model: FloatEntropyModel, networks: CodecNetworks) -> EntropyModel:
    """The integer entropy model of a trained float model: constants of every quality, weights in fixed point, tables.

    Weights get as many fractional bits as keep them below 2¹⁵, at most 14; activations have 8. Done once, after
    training, on one machine: readers get the integers.
    """
    config = networks.config
    tables = FrequencyTables.gaussian(scales(config.scale_min, config.scale_max, config.scale_count))
    models = [_task_integers(float_model.task(i), networks.task(i), config) for i in range(networks.task_count)]
    return EntropyModel(tuple(models), tables, config.factorised, config.padding, config.spatial_context)


@torch.no_grad()
def extended_model(model: EntropyModel, float_model: FloatEntropyModel, networks: CodecNetworks) -> EntropyModel:
    """The integers of a float model that has tasks more than a model, whose own integers stay as they are.

    The old tasks get rows for their new parents, in the units that they have; a weight beyond those saturates.
    """
    fresh, count = quantised_model(float_model, networks), len(model.tasks)
    tasks = []
    for task, integers in enumerate(model.tasks):
        first_unit, up_fraction = MEAN_BITS + int(integers.fractions[0]), int(integers.fractions[1])
        parents = _weight(_array(float_model.task(task).parents)[count:], up_fraction)
        bias = _fixed(_array(float_model.task(task).parent_bias)[count:], first_unit)
        tasks.append(
            replace(
                integers,
                parents=np.concatenate([integers.parents, parents]),
                parent_bias=np.concatenate([integers.parent_bias, bias]),
            )
        )
    return replace(fresh, tasks=(*tasks, *fresh.tasks[count:]))


def _task_integers(float_model: FloatTensorEntropy, transforms: TaskTransforms, config: ModelConfig) -> TaskEntropy:
    steps = torch.arange(MAX_QUALITY * QUALITY_STEPS_PER_UNIT + 1) / QUALITY_STEPS_PER_UNIT
    width, latent = config.hyper_width, transforms.block.out_channels
    log_step = math.log(config.scale_max / config.scale_min) / (config.scale_count - 1)

    def of_steps(table: QualityTable) -> NDArray[np.float64]:
        return _array(table(steps)[:, :, 0, 0])

    hyper_mean, hyper_log_scale = float_model.hyper_prior(steps)
    first, up, last, own, hidden = (
        _array(layer.weight).transpose(2, 3, 1, 0)
        for layer in (float_model.first, float_model.up, float_model.last, float_model.own, float_model.hidden)
    )
    # PixelShuffle's channels are (c, row, column); ours are (row, column, c).
    up = up.reshape(1, 1, width, width, 4).transpose(0, 1, 2, 4, 3).reshape(1, 1, width, 4 * width)
    up_bias = _array(float_model.up.bias).reshape(width, 4).T.ravel()
    last_bias = _array(float_model.last.bias)
    means, counts = last[..., :latent], last[..., latent:] / log_step
    count_bias = (last_bias[latent:] - math.log(config.scale_min)) / log_step
    log_gain = of_steps(transforms.log_gain)
    parents = _array(float_model.parents)
    around = None if float_model.around is None else _array(float_model.around.weight).transpose(2, 3, 1, 0)
    of_up = [up, parents] if around is None else [up, parents, around]
    fractions = [
        max(_fraction(first), LEAST_FIRST_FRACTION),
        _fraction(*of_up),
        _fraction(means),
        _fraction(counts),
        _fraction(own, hidden),
    ]
    first_unit, up_unit = MEAN_BITS + fractions[0], ACTIVATION_BITS + fractions[1]
    mean_unit, count_unit, own_unit = (ACTIVATION_BITS + bits for bits in fractions[2:])
    index = scale_index(hyper_log_scale, config.scale_min, config.scale_max, config.scale_count)
    return TaskEntropy(
        fractions=np.array(fractions, np.int32),
        hyper_mean=_fixed(_array(quantised_mean(hyper_mean))[:, :, 0, 0], MEAN_BITS),
        hyper_table=_fixed(_array(index)[:, :, 0, 0], 0),
        first=_weight(first, fractions[0]),
        first_bias=_fixed(of_steps(float_model.quality) + _array(float_model.first.bias), first_unit),
        parent_bias=_fixed(_array(float_model.parent_bias), first_unit),
        up=_weight(up, fractions[1]),
        up_bias=_fixed(up_bias, up_unit),
        parents=_weight(parents, fractions[1]),
        last_mean=_weight(means, fractions[2]),
        last_mean_bias=_fixed(last_bias[:latent], mean_unit),
        last_scale=_weight(counts, fractions[3]),
        last_scale_bias=_fixed(count_bias, count_unit),
        gain=_fixed(np.exp(log_gain), GAIN_BITS),
        gain_tables=_fixed(log_gain / log_step, count_unit),
        own=_weight(own, fractions[4]),
        hidden=_weight(hidden, fractions[4]),
        state_bias=_fixed(
            of_steps(float_model.state_quality) + _array(float_model.own.bias) + _array(float_model.hidden.bias),
            own_unit,
        ),
        asinh=_weight(np.arcsinh(np.arange(-LATENT_LIMIT, LATENT_LIMIT + 1)), ACTIVATION_BITS),
        around=None if around is None else _weight(around, fractions[1]),
        neighbours=None
        if float_model.neighbours is None
        else _weight(of_steps(float_model.neighbours), MEAN_BITS + NEIGHBOUR_BITS),
    )


@torch.no_grad()
def dequantised_model(model: EntropyModel, config: ModelConfig, tensors: FeatureSet) -> FloatEntropyModel:
    """The float model of an integer entropy model, to train shipped weights further: the inverse of
    :func:`quantised_model` but for what fixed point rounded away, and for parents' part in the tables where the config
    gives them none."""
    float_model = FloatEntropyModel(config, tensors)
    log_step = math.log(config.scale_max / config.scale_min) / (config.scale_count - 1)
    width = config.hyper_width
    for integers, task in zip(model.tasks, map(float_model.task, range(len(model.tasks))), strict=True):
        first, up, means, counts, state = (2.0**-bits for bits in integers.fractions.tolist())
        activation, mean = 2.0**-ACTIVATION_BITS, 2.0**-MEAN_BITS
        # Constants of integer qualities are the tables' rows; the biases that were added to them stay in them.
        _fill(task.first.weight, (integers.first * first).transpose(3, 2, 0, 1))
        _fill(task.quality.rows, integers.first_bias[::QUALITY_STEPS_PER_UNIT] * (first * mean))
        up_weight = (integers.up * up).reshape(1, 1, width, 4, width).transpose(0, 1, 2, 4, 3)
        _fill(task.up.weight, up_weight.reshape(1, 1, width, 4 * width).transpose(3, 2, 0, 1))
        _fill(task.up.bias, (integers.up_bias * (up * activation)).reshape(4, width).T.ravel())
        if config.informs:
            _fill(task.parent_bias, integers.parent_bias * (first * mean))
            _fill(task.parents, integers.parents * up)
        last = np.concatenate([integers.last_mean * means, integers.last_scale * (counts * log_step)], -1)
        _fill(task.last.weight, last.transpose(3, 2, 0, 1))
        log_scale = integers.last_scale_bias * (counts * activation * log_step) + math.log(config.scale_min)
        _fill(task.last.bias, np.concatenate([integers.last_mean_bias * (means * activation), log_scale]))
        _fill(task.hyper_mean.rows, integers.hyper_mean[::QUALITY_STEPS_PER_UNIT] * mean)
        tables = integers.hyper_table[::QUALITY_STEPS_PER_UNIT]
        _fill(task.hyper_log_scale.rows, tables * log_step + math.log(config.scale_min))
        _fill(task.own.weight, (integers.own * state).transpose(3, 2, 0, 1))
        _fill(task.hidden.weight, (integers.hidden * state).transpose(3, 2, 0, 1))
        _fill(task.state_quality.rows, integers.state_bias[::QUALITY_STEPS_PER_UNIT] * (state * activation))
        if task.around is not None and integers.around is not None:
            _fill(task.around.weight, (integers.around * up).transpose(3, 2, 0, 1))
        if task.neighbours is not None and integers.neighbours is not None:
            _fill(task.neighbours.rows, integers.neighbours[::QUALITY_STEPS_PER_UNIT] * (mean * 2.0**-NEIGHBOUR_BITS))
        for layer in (task.first, task.own, task.hidden):
            _fill(layer.bias, np.zeros(layer.out_channels))
    return float_model


def _fill(parameter: Tensor | None, values: NDArray[np.floating[Any]]) -> None:
    assert parameter is not None
    parameter.copy_(torch.from_numpy(np.ascontiguousarray(values)))


def _array(value: Tensor | None) -> NDArray[np.float64]:
    assert value is not None
    return value.detach().double().numpy()


def _fraction(*weights: NDArray[np.float64]) -> int:
    largest = max(float(np.abs(weight).max(initial=0.0)) for weight in weights)
    return max(0, min(14, 14 - math.ceil(math.log2(largest)) if largest > 0 else 14))


def _fixed(values: NDArray[np.float64], bits: int) -> NDArray[np.int32]:
    limit = (1 << 31) - 1
    return np.clip(np.rint(values * 2.0**bits), -limit, limit).astype(np.int32)


def _weight(values: NDArray[np.float64], bits: int) -> NDArray[np.int16]:
    limit = (1 << 15) - 1
    return np.clip(np.rint(values * 2.0**bits), -limit, limit).astype(np.int16)
