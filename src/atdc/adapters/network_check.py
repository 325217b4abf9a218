"""Whether a network in two halves is what it was: halves against whole, run against run, gradients, metrics, losses."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from atdc.adapters.answer import Array, RgbImage
from atdc.adapters.cut import CutTensor
from atdc.adapters.differences import SAME, SAME_WHOLE, difference, require_repeats
from atdc.adapters.distances import loss_function, metric_function
from atdc.adapters.halves import CutNetwork, of_image
from atdc.errors import DataError, NetworkError

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class NetworkCheck:
    """What a check of a network has found.

    Attributes:
        name: of the network.
        tensors: at the cut.
        differences: of each answer, halves against whole: mean difference as a share of the mean deviation, or the
            share of whole numbers that differ.
        gradients: of each answer that training compares, the gradient's root mean square at the cut times the
            features' deviation, or why there is none.
        batches: the second half takes batches; otherwise images go through it one by one.
        device_ms: of the first half.
        server_ms: of the second half; a torch module runs its first half with it, on a black image.
        whole_ms: of the network that is not cut.
    """

    name: str
    tensors: tuple[CutTensor, ...]
    differences: Mapping[str, float]
    gradients: Mapping[str, float | str]
    batches: bool
    device_ms: float
    server_ms: float
    whole_ms: float
    samples: list[dict[str, NDArray[np.float32]]] = field(repr=False, default_factory=list)

    @property
    def device_share(self) -> float:
        """The first half's share of the time of the whole network."""
        return min(self.device_ms / self.whole_ms, 1.0)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        tensors = [
            {"name": tensor.name, "place": tensor.place, "shape": list(tensor.feature_shape), "values": tensor.values}
            for tensor in self.tensors
        ]
        return {
            "name": self.name, "tensors": tensors, "differences": dict(self.differences),
            "gradients": dict(self.gradients), "batches": self.batches, "device_ms": self.device_ms,
            "server_ms": self.server_ms, "whole_ms": self.whole_ms, "device_share": self.device_share,
        }  # fmt: skip


def check_network(network: CutNetwork, images: Iterable[tuple[str, RgbImage]]) -> NetworkCheck:
    """Runs both halves and the whole on images.

    Args:
        network: it.
        images: with what messages call them.

    Raises:
        NetworkError: halves and whole differ, two runs differ, or the differentiable half differs.
        DataError: values that are not finite, or no image.
    """
    differences: dict[str, float] = dict.fromkeys(network.reported, 0.0)
    samples: list[dict[str, NDArray[np.float32]]] = []
    times = np.zeros(3)
    for where, image in images:
        features = network.features(image, where)
        with of_image(where):
            if not samples:  # first calls take longer
                network.answers_of(features)
                network.whole(image)
            begin = time.perf_counter()
            repeat = network.features(image, where)
            middle = time.perf_counter()
            answers = network.answers_of(features)
            end = time.perf_counter()
            whole = network.whole(image)
            times += [middle - begin, end - middle, time.perf_counter() - end]
            require_repeats(network.name, features, repeat)
            for name, before in whole.items():
                distance = _require_whole(network, name, before, answers[name])
                differences[name] = max(differences[name], distance)
        samples.append(features)
    if not samples:
        raise DataError(network.name, "no image", "one at least", "Name a folder of photos.")
    gradients = _gradients(network, samples[:2])
    device_ms, server_ms, whole_ms = (1000 * float(seconds) / len(samples) for seconds in times)
    return NetworkCheck(
        network.name, network.tensors, differences, gradients, network.takes_batches, device_ms, server_ms,
        whole_ms, samples,
    )  # fmt: skip


def _require_whole(network: CutNetwork, name: str, before: Array, after: Array) -> float:
    """How far an answer of both halves is from the whole network's, which its metric has to find equal to itself.

    Raises:
        NetworkError: not a number, too far, or a metric that fails or does not say 1.
    """
    where = f"{network.name}/{name}"
    if before.dtype.kind == "f" and np.isnan(before).any():
        raise NetworkError(
            where, "an answer that is not a number", "numbers",
            "Check the input's settings, and what the network does at its end.",
        )  # fmt: skip
    distance, limit = _difference(network, name, before, after)
    if distance > limit:
        raise NetworkError(
            where, f"a difference of {distance:.2g} between halves and whole", f"at most {limit:g}",
            "Find what the second half takes besides the tensors at the cut.",
        )  # fmt: skip
    metric = network.answers[name].metric
    with of_image(where):
        agreement = metric_function(metric, network.folder)(before, before)
    if agreement < 1 - SAME:  # untrue of what is not a number
        raise NetworkError(
            f"{where}, metric {metric}", f"{agreement:.3g} for an answer and itself", "1, or not a number",
            "Give an agreement, not a distance: 1 where nothing has changed, and less where something has.",
        )  # fmt: skip
    return distance


def _difference(network: CutNetwork, name: str, before: Array, after: Array) -> tuple[float, float]:
    """How far two computations of an answer are apart, and how far they may be. What a function makes of tensors
    (a list of what is found, say) can change its form by a rounding, so that its own metric says."""
    answer = network.answers[name]
    if answer.function:
        if np.array_equal(before, after):
            return 0.0, SAME_WHOLE
        agreement = metric_function(answer.metric, network.folder)(before, after)
        return (1.0 if np.isnan(agreement) else 1 - agreement), SAME_WHOLE
    return difference(before, after), SAME if before.dtype.kind == "f" else SAME_WHOLE


def _gradients(network: CutNetwork, samples: Sequence[Mapping[str, NDArray[np.float32]]]) -> dict[str, float | str]:
    """Of each compared tensor, from one or two samples; the differentiable half is compared with the other."""
    import torch

    pair = [samples[0], samples[-1]]
    features = {
        tensor.name: torch.from_numpy(np.stack([sample[tensor.name] for sample in pair])).requires_grad_()
        for tensor in network.tensors
    }
    gradients: dict[str, float | str] = {}
    for name, answer in network.answers.items():
        if answer.loss == "none":
            gradients[name] = "none is asked for"
            continue
        place = answer.compared
        try:
            after = network.second_half(features, [place])[place]
        except NetworkError as error:
            gradients[name] = str(error)
            continue
        network.require_reference(pair[0], place, after[:1].detach().numpy())
        gradients[name] = size = _gradient_size(after, features)
        if np.isnan(size):
            raise NetworkError(
                f"{network.name}, {place}", "gradients that are not numbers", "numbers",
                "Let training compare a tensor ahead of it (loss_on), or none (loss: none).",
            )  # fmt: skip
        if size:
            with of_image(f"{network.name}/{name}"):
                loss_function(answer.loss, network.folder)(after.detach().flip(0), after)
    return gradients


def _gradient_size(after: Tensor, features: Mapping[str, Tensor]) -> float:
    """Root mean square of the gradient of the values' mean square, in units of the features' deviation."""
    import torch

    if not after.is_floating_point() or not after.requires_grad:
        return 0.0
    gradients: Sequence[Tensor | None] = torch.autograd.grad(
        after.square().mean(), list(features.values()), allow_unused=True
    )
    pairs = zip(gradients, features.values(), strict=True)
    return sum(
        float(gradient.square().mean().sqrt() * x.detach().std()) for gradient, x in pairs if gradient is not None
    )
