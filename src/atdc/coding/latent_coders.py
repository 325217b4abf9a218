"""Coders between the traversal and what becomes of latents: bits with gradients (training), integers (coding), or
latents that are known already (decoding, once all integers are read)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from atdc.entropy.coder import EntropyCoder
from atdc.entropy.float_model import FloatEntropyModel
from atdc.entropy.gaussian import gaussian_bits
from atdc.entropy.integer import Integers
from atdc.entropy.model import first_half, sends_hyper
from atdc.entropy.rounding import MEANS_PER_STEP, lower_bound, round_straight_through
from atdc.networks.codec_networks import CodecNetworks
from atdc.networks.resampling import resampled_states
from atdc.tensors import Grid, latent_grid


class LatentCoder(Protocol):
    """What :func:`~atdc.coding.traversal.code_task` hands every task's latents to."""

    def code(
        self,
        images: Tensor,
        task: int,
        quality: Tensor,
        mask: Tensor,
        latent: Tensor | None,
        hyper: Tensor | None,
    ) -> Tensor:
        """Codes one task's latents and returns the latent as the decoder will see it, (n, M, rows, columns).

        Args:
            images: which images of the batch, (n,).
            task: whose latents.
            quality: (n,).
            mask: (n, T), 1 where a task is a parent; parents were coded before.
            latent: in quantisation steps, (n, M, rows, columns); None when reading.
            hyper: likewise, (n, H, rows/2, columns/2).
        """
        ...


class TrainingLatentCoder:
    """Rates from uniform noise, reconstructions from rounding with a straight-through gradient.

    Mixed quantisation after Minnen and Singh, "Channel-wise autoregressive entropy models" (ICIP 2020). Rates are
    computed in single precision, also where the networks around them are not.
    """

    def __init__(
        self, networks: CodecNetworks, float_model: FloatEntropyModel, batch: int, grids: Sequence[Grid]
    ) -> None:
        self._log_smallest = math.log(networks.config.scale_min)
        self._networks, self._float_model, self._grids = networks, float_model, tuple(grids)
        self._batch = batch
        self._bits = torch.zeros(batch, networks.task_count, device=networks.predictor.pair.device)
        self._states: list[Tensor | None] = [None] * networks.task_count

    @property
    def bits(self) -> Tensor:
        """Bits per image and task, (B, T), differentiable."""
        return self._bits

    def code(
        self,
        images: Tensor,
        task: int,
        quality: Tensor,
        mask: Tensor,
        latent: Tensor | None,
        hyper: Tensor | None,
    ) -> Tensor:
        assert latent is not None and hyper is not None, "training codes known latents"
        kind = latent.device.type
        with torch.autocast(kind if torch.amp.is_autocast_available(kind) else "cpu", enabled=False):
            return self._code(images, task, quality, mask, latent.float(), hyper.float())

    def _code(self, images: Tensor, task: int, quality: Tensor, mask: Tensor, latent: Tensor, hyper: Tensor) -> Tensor:
        float_model = self._float_model.task(task)
        mean, log_scale = float_model.hyper_prior(quality)
        parents = mask.cpu().numpy() > 0
        sent = torch.from_numpy(sends_hyper(self._networks.config.factorised, parents))
        if bool(sent.any()):
            hyper = self._coded(images, task, hyper, mean, log_scale.expand_as(hyper), sent.to(hyper))
        hyper = hyper * sent[:, None, None, None].to(hyper.device)
        wanted = np.flatnonzero(parents.any(0)).tolist()
        states: list[Tensor | None] = [None] * len(self._states)
        for parent in wanted:
            state = self._states[parent]
            if state is not None:
                parent_grid, child_grid = latent_grid(self._grids[parent]), latent_grid(self._grids[task])
                states[parent] = resampled_states(
                    state[images], parent_grid, child_grid, (latent.shape[2], latent.shape[3])
                )
        log_gain = self._networks.task(task).log_gain(quality)
        sums = float_model.hidden_sums(hyper, quality, mask, states)
        prior = partial(float_model.latent_prior, sums, quality, log_gain)
        mean, log_scale, hidden = prior()
        height, width = latent.shape[2:]
        padding = self._networks.config.padding
        rows, columns = latent_grid(self._grids[task]) if padding == "zero" else (height, width)
        if self._networks.config.spatial_context != "none":
            first = torch.from_numpy(first_half(height, width)).to(latent.device)
            first[rows:] = first[:, columns:] = False
            further_mean, further_scale, _ = prior(torch.round((latent - mean).detach()) * first)
            mean, log_scale = torch.where(first, mean, further_mean), torch.where(first, log_scale, further_scale)
        inner = (value[..., :rows, :columns] for value in (latent, mean, log_scale))
        decoded = F.pad(self._coded(images, task, *inner), (0, width - columns, 0, height - rows))
        state = float_model.state(decoded, hidden, quality)
        if len(images) < self._batch:
            batch_state = self._states[task]
            batch_state = state.new_zeros(self._batch, *state.shape[1:]) if batch_state is None else batch_state
            state = batch_state.index_copy(0, images, state)
        self._states[task] = state
        return decoded

    def _coded(
        self, images: Tensor, task: int, value: Tensor, mean: Tensor, log_scale: Tensor, sent: Tensor | float = 1.0
    ) -> Tensor:
        noise = torch.rand_like(value) - 0.5
        bits = sent * gaussian_bits(value - mean + noise, lower_bound(log_scale, self._log_smallest)).sum((1, 2, 3))
        self._bits = self._bits.index_put((images, torch.full_like(images, task)), bits, accumulate=True)
        return round_straight_through(value - mean) + mean


class IntegerLatentCoder:
    """Hands latents to the integer entropy coder; what comes back is exact."""

    def __init__(self, coder: EntropyCoder) -> None:
        self._coder = coder

    def code(
        self,
        images: Tensor,
        task: int,
        quality: Tensor,
        mask: Tensor,
        latent: Tensor | None,
        hyper: Tensor | None,
    ) -> Tensor:
        assert latent is not None and hyper is not None, "a reader decodes its integers first, see KnownLatentCoder"
        members, parents = images.cpu().tolist(), mask.cpu().numpy() > 0
        decoded = self._coder.code(members, task, parents, _channels_last(latent), _channels_last(hyper))
        return as_latent(decoded, latent.device)


class KnownLatentCoder:
    """Gives back latents that were decoded before, by task, each (B, rows, columns, M) in sixteenths."""

    def __init__(self, latents: Mapping[int, Integers]) -> None:
        self._latents = latents

    def code(
        self,
        images: Tensor,
        task: int,
        quality: Tensor,
        mask: Tensor,
        latent: Tensor | None,
        hyper: Tensor | None,
    ) -> Tensor:
        return as_latent(self._latents[task][images.cpu().numpy()], images.device)


def as_latent(sixteenths: Integers, device: torch.device) -> Tensor:
    """Integers (n, rows, columns, M) to float32 quantisation steps (n, M, rows, columns); exact below 2²⁰ steps."""
    steps = torch.from_numpy(sixteenths.astype(np.float32) / MEANS_PER_STEP)
    return steps.to(device).permute(0, 3, 1, 2).contiguous()


def _channels_last(value: Tensor) -> NDArray[np.float64]:
    return value.cpu().permute(0, 2, 3, 1).double().numpy()
