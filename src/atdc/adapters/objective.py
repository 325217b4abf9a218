"""What decoded features are for: the answers of their networks, before and after, through the networks' second halves.

The loss of a network is the mean over its answers of ``d(before, after) / e``, with ``d`` the answer's distance and
``e`` that distance for features that are their channels' means: 0 for features as they were, about 1 where nothing is
left. It is differentiated through the second half. Where a half has no gradients, and for tensors of no network, the
mean squared error of features, in their channels' standard deviations, takes its place.

Before anything goes through second halves, their curvature says how much an error of features matters:
``d ≈ ½·Δᵀ·JᵀHJ·Δ`` for a small error Δ, with J the second half's derivative at the cut and H the distance's curvature.
:meth:`AnswerObjective.sensitivities` averages it over positions, blocks of 2×2 of them, and samples.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from atdc.adapters.distances import CurvatureDraw, Loss, anchor, curvature_draw, loss_function
from atdc.adapters.halves import CutNetwork
from atdc.adapters.network_set import NetworkSet
from atdc.data.feature_source import FeatureSource, evenly_spaced
from atdc.errors import ArgumentError, DataError, FitWarning, NetworkError
from atdc.networks.transforms import blocks_of

_STATISTICS_SAMPLES = 16
_SENSITIVITY_SAMPLES, _SENSITIVITY_DRAWS = 64, 2
_SENSITIVITY_BATCH = 8


@dataclass(frozen=True)
class _Comparison:
    """One tensor that training compares: where, how, its weight, and the distance that counts as 1."""

    place: str
    distance: Loss
    draw: CurvatureDraw
    anchor: float
    weight: float
    scale: float


@dataclass(frozen=True)
class _Group:
    """Tensors whose loss is taken together; without a network, the error of features."""

    tensors: tuple[str, ...]
    network: CutNetwork | None
    comparisons: tuple[_Comparison, ...]


class AnswerObjective:
    """The objective of :meth:`atdc.FeatureCodec.fit` for a set of networks.

    Args:
        networks: whose features the source has.
        source: the samples that are fitted to, in the order of their indices.
        names: of all tensors, in the codec's order; by default the source's.

    Raises:
        ArgumentError: the source lacks a tensor.
        DataError: a sample does, or has a tensor of another shape.
        NetworkError: a compared tensor without any gradient at the cut, or one that features do not change; a half with
            gradients that is not the network's.

    A network whose second half cannot be differentiated is told of by a :class:`~atdc.errors.FitWarning`.

    Attributes:
        names: of all tensors, in the codec's order.
        identity: what tells it from objectives of other networks or answers, for runs that resume.
    """

    def __init__(self, networks: NetworkSet, source: FeatureSource, names: Sequence[str] | None = None) -> None:
        self._source, self.names = source, tuple(names or source.names)
        settings = [
            (network.digest, [(answer.compared, answer.loss, answer.weight) for answer in network.answers.values()])
            for network in networks.networks.values()
        ]
        self.identity = hashlib.sha256(repr(settings).encode()).hexdigest()[:16]
        for name in networks.names:
            if name not in self.names:
                raise ArgumentError(
                    "features", f"no {name}", f"all tensors of the networks: {', '.join(networks.names)}"
                )
        forms = source.shapes(0) if len(source) else {}
        for index in range(len(source)):
            shapes = source.shapes(index)
            if missing_names := [name for name in self.names if name not in shapes]:
                raise DataError(
                    f"features, sample {index}", f"none of {missing_names[0]}",
                    "all tensors of the networks in every sample", "Leave such samples out, or fit without --networks.",
                )  # fmt: skip
            for name in self.names:
                if shapes[name] != forms[name]:
                    here, first = (" x ".join(map(str, shape)) for shape in (shapes[name], forms[name]))
                    raise DataError(
                        f"features, sample {index}", f"{name} of the shape {here}", f"{first}, as of the first sample",
                        "Fit to samples of one shape, or without --networks.",
                    )  # fmt: skip
        sample = self._read(evenly_spaced(len(source), _STATISTICS_SAMPLES))
        self._mean = {name: value.mean((0, 2, 3))[:, None, None] for name, value in sample.items()}
        self._std = {
            name: value.std((0, 2, 3), correction=0)[:, None, None].clamp(
                min=1e-3 * float(value.std(correction=0)) + 1e-12
            )
            for name, value in sample.items()
        }
        groups = [self._group(network, networks, sample) for network in networks.networks.values()]
        network_names = {name for group in groups for name in group.tensors}
        groups += [_Group((name,), None, ()) for name in self.names if name not in network_names]
        self._groups = groups
        self._of_task = [
            next(place for place, group in enumerate(groups) if name in group.tensors) for name in self.names
        ]

    def _read(self, indices: NDArray[np.int64]) -> dict[str, Tensor]:
        samples = [self._source.read(int(index)) for index in indices]
        return {name: torch.from_numpy(np.stack([sample[name] for sample in samples])) for name in self.names}

    def _group(self, network: CutNetwork, networks: NetworkSet, sample: Mapping[str, Tensor]) -> _Group:
        """A network's part, with the distances that count as 1."""
        tensors = tuple(tensor.name for tensor in network.tensors)
        answers = {name: answer for name, answer in network.answers.items() if answer.loss != "none" and answer.weight}
        places = list(dict.fromkeys(answer.compared for answer in answers.values()))
        if not places:
            return _Group(tensors, None, ())
        empty = {name: self._mean[name].expand_as(sample[name]).clone() for name in tensors}
        for value in empty.values():
            value.requires_grad_()
        try:
            with torch.no_grad():
                before = network.second_half({name: sample[name] for name in tensors}, places)
            after = network.second_half(empty, places)
        except NetworkError as error:
            warnings.warn(
                f"{network.name}: the second half has no gradients, so that the error of its features counts. {error}",
                FitWarning, stacklevel=3,
            )  # fmt: skip
            return _Group(tensors, None, ())
        for place in places:
            features = {name: sample[name][0].numpy() for name in tensors}
            network.require_reference(features, place, before[place][:1].numpy())
        comparisons = []
        for name, answer in answers.items():
            place = answer.compared
            if not after[place].requires_grad:
                raise _no_gradient(f"{network.name}/{name}, {place}")
            distance = loss_function(answer.loss, networks.folder)
            distances = distance(before[place], after[place])
            where, scale = f"{network.name}/{name}, {place}", float(distances.detach().mean())
            if not np.isfinite(scale) or scale <= 0:
                raise NetworkError(
                    where, f"distances with the mean {scale:g} for features without content", "a mean above 0",
                    "Let training compare another tensor (loss_on), or another loss.",
                )  # fmt: skip
            gradients: Sequence[Tensor | None] = torch.autograd.grad(
                distances.sum(), list(empty.values()), retain_graph=True, allow_unused=True
            )
            if not any(gradient is not None and bool(gradient.any()) for gradient in gradients):
                raise _no_gradient(where)
            draw = curvature_draw(answer.loss)
            comparisons.append(_Comparison(place, distance, draw, anchor(answer.loss), answer.weight, scale))
        return _Group(tensors, network, tuple(comparisons))

    def sensitivities(self) -> Mapping[str, NDArray[np.float64]]:
        """How much errors of features matter to the answers, by tensor: a positive semidefinite matrix (4C, 4C) by
        which errors of a block of 2×2 positions (channel by channel, row by row) are to be weighted.

        Each answer's are scaled so that a network's features that are their channels' means err by as much as the
        features have numbers, as squared errors in units of standard deviations do. Tensors without such a matrix are
        left out.
        """
        indices = evenly_spaced(len(self._source), _SENSITIVITY_SAMPLES)
        matrices: dict[str, NDArray[np.float64]] = {}
        for group in self._groups:
            if group.network is not None:
                matrices |= self._sensitivities_of(group, group.network, indices)
        return matrices

    def anchors(self) -> Mapping[str, float]:
        """How much errors by these sensitivities count next to the losses, by tensor: 1, as much as they do."""
        return {
            name: sum(entry.weight * entry.anchor for entry in group.comparisons)
            / sum(entry.weight for entry in group.comparisons)
            for group in self._groups
            if group.network is not None
            for name in group.tensors
        }

    def _sensitivities_of(
        self, group: _Group, network: CutNetwork, indices: NDArray[np.int64]
    ) -> dict[str, NDArray[np.float64]]:
        generator = torch.Generator().manual_seed(0)
        places = list({entry.place for entry in group.comparisons})
        curvatures = [dict[str, Any]() for _ in group.comparisons]
        covariances: dict[str, Any] = {}
        for start in range(0, len(indices), _SENSITIVITY_BATCH):
            features = self._read(indices[start : start + _SENSITIVITY_BATCH])
            inputs = {name: features[name].requires_grad_() for name in group.tensors}
            for name in group.tensors:
                product = _products(inputs[name].detach() - self._mean[name])
                covariances[name] = covariances.get(name, 0.0) + product
            after = network.second_half(inputs, places)
            for entry, curvature in zip(group.comparisons, curvatures, strict=True):
                for _ in range(_SENSITIVITY_DRAWS):
                    scalar = entry.draw(after[entry.place], generator)
                    gradients: Sequence[Tensor | None] = torch.autograd.grad(
                        scalar, list(inputs.values()), retain_graph=True, allow_unused=True
                    )
                    for name, gradient in zip(group.tensors, gradients, strict=True):
                        if gradient is not None:
                            curvature[name] = curvature.get(name, 0.0) + _products(gradient)
        blocks = {name: len(indices) * _block_count(features[name]) for name in group.tensors}
        covariances = {name: total / blocks[name] for name, total in covariances.items()}
        numbers = sum(features[name][0].numel() for name in group.tensors)
        matrices = {name: np.zeros_like(covariance) for name, covariance in covariances.items()}
        for entry, totals in zip(group.comparisons, curvatures, strict=True):
            curvature = {name: total / blocks[name] for name, total in totals.items()}
            energy = sum(
                _block_count(features[name]) * float(np.vdot(curvature[name], covariances[name])) for name in curvature
            )
            share = entry.weight / sum(comparison.weight for comparison in group.comparisons)
            for name, matrix in curvature.items():
                matrices[name] += share * numbers / max(energy, 1e-300) * matrix
        return matrices

    def targets(self, indices: NDArray[np.int64], tasks: Sequence[int]) -> Mapping[str, Tensor]:
        """Features as they were, and what the networks of tasks make of them."""
        features = self._read(indices)
        targets = {f"features {name}": value for name, value in features.items()}
        for place in dict.fromkeys(self._of_task[task] for task in tasks):
            group = self._groups[place]
            if group.network is not None:
                inputs = {name: features[name] for name in group.tensors}
                with torch.no_grad():
                    outputs = group.network.second_half(inputs, list({entry.place for entry in group.comparisons}))
                targets |= {f"answer {place} {name}": value for name, value in outputs.items()}
        return targets

    def loss(self, task: int, decoded: Tensor, targets: Mapping[str, Tensor]) -> Tensor:
        """Of one tensor alone, others as they were; see :meth:`joint_losses`."""
        return self.joint_losses([task], {task: decoded}, targets)[task]

    def joint_losses(
        self, tasks: Sequence[int], decoded: Mapping[int, Tensor], targets: Mapping[str, Tensor]
    ) -> Mapping[int, Tensor]:
        """The loss of each task's network, (n,), all its tensors as decoded, those that were not coded as they were.

        Losses are scaled so that their mean over all tasks is the mean over networks.
        """
        features = {name: targets[f"features {name}"] for name in self.names}
        features |= {self.names[task]: value for task, value in decoded.items()}
        losses = {}
        for place in dict.fromkeys(self._of_task[task] for task in tasks):
            group = self._groups[place]
            scale = len(self.names) / (len(self._groups) * len(group.tensors))
            losses[place] = scale * self._loss(place, features, targets)
        return {task: losses[self._of_task[task]] for task in tasks}

    def _loss(self, place: int, features: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> Tensor:
        group = self._groups[place]
        if group.network is None:
            errors = [
                ((features[name] - targets[f"features {name}"]) / self._std[name].to(features[name].device))
                .square()
                .flatten(1)
                .mean(1)
                for name in group.tensors
            ]
            return torch.stack(errors).mean(0)
        device = features[group.tensors[0]].device
        # Second halves are on the CPU, wherever the codec is trained.
        inputs = {name: features[name].float().cpu() for name in group.tensors}
        before = {entry.place: targets[f"answer {place} {entry.place}"].cpu() for entry in group.comparisons}
        # In half precision an answer of unchanged features differs from the target by as much as codes at high quality.
        with torch.autocast("cpu", enabled=False):
            after = group.network.second_half(inputs, list(before))
            parts = [
                entry.weight / entry.scale * entry.distance(before[entry.place], after[entry.place])
                for entry in group.comparisons
            ]
        return (torch.stack(parts).sum(0) / sum(entry.weight for entry in group.comparisons)).to(device)


def _products(values: Tensor) -> NDArray[np.float64]:
    """Of the blocks of 2×2 positions of maps (n, C, h, w), the sum of their outer products, (4C, 4C)."""
    height, width = values.shape[2:]
    blocks = blocks_of(F.pad(values, (0, width % 2, 0, height % 2)))
    return (blocks.T @ blocks).numpy()


def _block_count(values: Tensor) -> int:
    return -(-values.shape[2] // 2) * -(-values.shape[3] // 2)


def _no_gradient(where: str) -> NetworkError:
    return NetworkError(
        where, "no gradient at the cut", "one that training can go along",
        "Name a tensor ahead of ArgMax, TopK or rounding as loss_on, or none (loss: none).",
    )  # fmt: skip
