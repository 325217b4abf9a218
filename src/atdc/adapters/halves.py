"""A network in two halves: images to tensors on the device, tensors to answers on the server.

::

    image ─ first half ─ tensors at the cut ═ file ═ tensors ─ second half ─ answers

What every kind of network has in common: images to features, features to answers, and the second half for batches with
gradients.
"""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from atdc.adapters.answer import Answer, Array, RgbImage
from atdc.adapters.cut import CutTensor
from atdc.adapters.differences import SAME, difference
from atdc.adapters.image_input import ImageInput
from atdc.adapters.python_files import called
from atdc.data.feature_source import finite_float32
from atdc.errors import ArgumentError, NetworkError
from atdc.images import ImageLike, as_rgb

if TYPE_CHECKING:
    from torch import Tensor

    from atdc.adapters.network_check import NetworkCheck

_LARGEST_DRAWING, _LONGEST_DRAWING = 2048, 16383
"""Sides of an answer's picture; the longest that WebP has."""


class CutNetwork(ABC):
    """A network in two halves.

    Attributes:
        name: what messages call it.
        input: how it takes images.
        tensors: at the cut.
        answers: by name.
        folder: of the files that answers name.
        digest: of what the network is: of an ONNX file, its bytes, input and cut; of a torch module, its class's name,
            weights, input and cut, and not its code.
    """

    name: str
    input: ImageInput
    tensors: tuple[CutTensor, ...]
    answers: Mapping[str, Answer]
    folder: Path = Path()
    digest: str

    # --- what each kind of network does --------------------------------------------------------------------------

    @abstractmethod
    def _first(self, array: Array) -> dict[str, Array]:
        """Tensors at the cut by place, of a batch of one."""

    @abstractmethod
    def _second(self, tensors: Mapping[str, Array]) -> dict[str, Array]:
        """Answers' tensors by name, of a batch of one."""

    @abstractmethod
    def _whole(self, array: Array) -> dict[str, Array]:
        """Likewise, from the network that is not cut."""

    @abstractmethod
    def _differentiable(self, tensors: Mapping[str, Tensor], wanted: Sequence[str]) -> dict[str, Tensor]:
        """Tensors of the second half by name, of a batch, with gradients.

        Raises:
            NetworkError: the half, or a tensor, cannot be had that way.
        """

    # --- images, features, answers -----------------------------------------------------------------------------

    def features(self, image: ImageLike, where: str = "image") -> dict[str, NDArray[np.float32]]:
        """The tensors at the cut, (C, h, w) by name.

        Args:
            image: (H, W, 3), sRGB, or what else :func:`atdc.images.as_rgb` takes for one.
            where: what messages call it.

        Raises:
            ArgumentError: no image.
            ImageError: one that cannot be read.
            DataError: a value is not finite.
            NetworkError: the network fails on this image, or a tensor has another shape than those of others.
        """
        array = self.input.array(as_rgb(image))
        with of_image(where):
            arrays = self._first(array)
        result = {}
        for tensor in self.tensors:
            values = arrays[tensor.place]
            if values.shape != tensor.shape:
                raise NetworkError(
                    f"{where}, {self.name}, {tensor.name}", f"the shape {values.shape}",
                    f"{tensor.shape}, as of other images",
                    "Choose a tensor whose shape does not follow from what is seen.",
                )  # fmt: skip
            result[tensor.name] = finite_float32(tensor.feature_of(values)[0], where, tensor.name)
        return result

    @cached_property
    def _batches(self) -> dict[frozenset[str], bool]:
        """By tensors of the second half: whether it gives them of a batch."""
        return {}

    @property
    def takes_batches(self) -> bool:
        """Whether the second half has given all that was asked of batches; otherwise images go through one by one."""
        return bool(self._batches) and all(self._batches.values())

    @property
    def reported(self) -> dict[str, Answer]:
        """Answers without those that training alone compares."""
        return {name: answer for name, answer in self.answers.items() if answer.is_reported}

    @property
    def _outputs_wanted(self) -> list[str]:
        """Tensors that reported answers are, or are made of."""
        return list(dict.fromkeys(tensor for answer in self.reported.values() for tensor in answer.outputs))

    def answers_of(self, features: Mapping[str, Array]) -> dict[str, Array]:
        """Reported answers by name, from tensors (C, h, w) at the cut, arrays or torch's.

        Raises:
            ArgumentError: a tensor is missing, of another shape, or none.
        """
        return self._made(self._second(self._placed(features)))

    def whole(self, image: ImageLike) -> dict[str, Array]:
        """Reported answers by name, from the network that is not cut."""
        return self._made(self._whole(self.input.array(as_rgb(image))))

    def drawn(self, name: str, image: RgbImage, before: Array, answer: Array) -> RgbImage | None:
        """A picture of an answer, by the answer's own function; None where it has none.

        Args:
            name: of the answer.
            image: that it is of.
            before: the answer of the network that is not cut, whose scale a picture may take.
            answer: drawn.

        Raises:
            NetworkError: the function gives no picture.
        """
        function = self.answers[name].drawing
        if not function:
            return None
        picture = called(function, self.folder, image, before, answer)
        if (
            not isinstance(picture, np.ndarray)
            or picture.ndim != 3
            or picture.shape[2] != 3
            or picture.dtype != np.uint8
            or not 0 < picture.size <= 3 * _LARGEST_DRAWING**2
            or max(picture.shape) > _LONGEST_DRAWING
        ):
            form = f"{picture.dtype} of the shape {picture.shape}" if isinstance(picture, np.ndarray) else repr(picture)
            raise NetworkError(
                f"{self.name}/{name}, {function}", form[:80],
                f"a picture (h, w, 3) of uint8, at most {_LARGEST_DRAWING} by {_LARGEST_DRAWING}",
            )  # fmt: skip
        return picture

    def _made(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        return {
            name: self._made_by(answer, arrays) if answer.function else arrays[answer.tensor]
            for name, answer in self.reported.items()
        }

    def _made_by(self, answer: Answer, arrays: Mapping[str, Array]) -> Array:
        result = called(answer.function, self.folder, *(arrays[tensor] for tensor in answer.tensors))
        try:
            array = np.asarray(result)
        except ValueError:  # rows of different lengths
            array = np.array(None)
        if array.dtype.kind not in "biuf" or array.ndim == 0 or (array.dtype.kind == "f" and np.isnan(array).any()):
            raise NetworkError(answer.function, repr(result)[:80], "an array of numbers, its batch of one first")
        return array

    def _placed(self, features: Mapping[str, Array]) -> dict[str, Array]:
        inputs = {}
        mapping: Any = features
        if not isinstance(mapping, Mapping):
            raise ArgumentError(f"features of {self.name}", type(mapping).__name__, "a mapping of tensors by name")
        for tensor in self.tensors:
            if tensor.name not in mapping:
                raise ArgumentError(f"features of {self.name}", f"no {tensor.name}", "all tensors of its cut")
            value = mapping[tensor.name]
            values = value.detach().cpu().float().numpy() if hasattr(value, "detach") else np.asarray(value)
            if values.dtype.kind not in "buif":
                raise ArgumentError(f"features of {tensor.name}", type(value).__name__, "an array of numbers")
            if values.shape != tensor.feature_shape:
                size, expected_size = (" x ".join(map(str, shape)) for shape in (values.shape, tensor.feature_shape))
                raise ArgumentError(
                    f"features of {tensor.name}", f"the shape {size}", f"{expected_size}, as {self.name} has"
                )
            inputs[tensor.place] = np.ascontiguousarray(tensor.place_of(values[None]), dtype=tensor.type)
        return inputs

    def second_half(self, features: Mapping[str, Tensor], wanted: Sequence[str]) -> dict[str, Tensor]:
        """Tensors of the second half by name, of a batch (n, C, h, w), with gradients.

        A network with a batch of one written into it works on images one by one: whether it is one is tried with the
        first batch of these tensors.

        Raises:
            NetworkError: the half cannot be computed that way, or has no such tensor.
        """
        import torch

        inputs = {
            tensor.place: tensor.place_of(features[tensor.name]).to(getattr(torch, tensor.type))
            for tensor in self.tensors
        }
        count = len(next(iter(inputs.values())))
        key = frozenset(wanted)
        if count > 1 and key not in self._batches:
            self._batches[key] = self._batches_agree({place: x[:2].detach() for place, x in inputs.items()}, wanted)
        if count == 1 or self._batches[key]:
            return self._differentiable(inputs, wanted)
        rows = self._one_by_one(inputs, wanted)
        if uneven := _uneven(rows, wanted):
            raise NetworkError(
                f"{self.name}, {uneven[0]}", "another size for another image", "one size, which training can compare",
                "Let training compare another tensor (loss_on), or none (loss: none).",
            )  # fmt: skip
        return {name: torch.cat([row[name] for row in rows]) for name in wanted}

    def _one_by_one(self, inputs: Mapping[str, Tensor], wanted: Sequence[str]) -> list[dict[str, Tensor]]:
        """What the half gives for each image of a batch by itself."""
        count = len(next(iter(inputs.values())))
        return [
            self._differentiable({place: values[i : i + 1] for place, values in inputs.items()}, wanted)
            for i in range(count)
        ]

    def _batches_agree(self, pair: Mapping[str, Tensor], wanted: Sequence[str]) -> bool:
        """Whether a batch of two images gives what each of them gives."""
        import torch

        with torch.no_grad():
            rows = self._one_by_one(pair, wanted)
            try:
                outputs = self._differentiable(pair, wanted)
            except (NetworkError, RuntimeError, ValueError, IndexError):
                return False
        if _uneven(rows, wanted):
            return False
        references = {name: torch.cat([row[name] for row in rows]) for name in wanted}
        return all(
            outputs[name].shape == references[name].shape
            and difference(references[name].cpu().numpy(), outputs[name].cpu().numpy()) <= SAME
            for name in wanted
        )

    # --- checks --------------------------------------------------------------------------------------------------

    def check(self, images: Iterable[tuple[str, RgbImage]]) -> NetworkCheck:
        """Runs both halves and the whole on images, with what messages call them; see
        :func:`~atdc.adapters.network_check.check_network`."""
        from atdc.adapters.network_check import check_network

        return check_network(self, images)

    def require_reference(self, features: Mapping[str, Array], place: str, value: Array) -> None:
        """Refuses a half with gradients that is not the network's.

        Args:
            features: of an image, (C, h, w).
            place: a tensor of the second half.
            value: it, as the half with gradients has it, with a batch of one.

        Raises:
            NetworkError: the network itself computes another.
        """
        reference = self._reference(self._placed(features), place)
        if reference is not None and difference(reference, value) > SAME:
            raise NetworkError(
                f"{self.name}, {place}", "other numbers in the half with gradients", "those of the network",
                "Set this answer's loss to none, and report the operator.",
            )  # fmt: skip

    def _reference(self, inputs: Mapping[str, Array], place: str) -> Array | None:
        """A tensor of the second half as the network itself computes it; None where that is what computes gradients."""
        return None


@contextlib.contextmanager
def of_image(where: str) -> Iterator[None]:
    """Within it, errors of networks say what they are of.

    >>> with of_image("photo.jpg"):
    ...     raise NetworkError("segments", "no answer", "one")
    Traceback (most recent call last):
    atdc.errors.NetworkError: photo.jpg, segments: found no answer; expected one.
    """
    try:
        yield
    except NetworkError as error:
        raise type(error)(f"{where}, {error.where}", error.found, error.expected, error.cure) from error


def _uneven(rows: Sequence[Mapping[str, Tensor]], names: Sequence[str]) -> list[str]:
    """The tensors whose size differs from image to image."""
    return [name for name in names if len({tuple(row[name].shape[1:]) for row in rows}) > 1]
