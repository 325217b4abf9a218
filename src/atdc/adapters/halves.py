"""A network in two halves: images to tensors on the device, tensors to answers on the server.

::

    image ─ first half ─ tensors at the cut ═ file ═ tensors ─ second half ─ answers

What every kind of network has in common: names and forms of the tensors at the cut, the second half for batches with
gradients, and the checks that both halves together are the whole.
"""

from __future__ import annotations

import contextlib
import difflib
import importlib
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from atdc.adapters.distances import UNREPORTED, loss_function, metric_function
from atdc.adapters.image_input import ImageInput
from atdc.adapters.python_files import called
from atdc.config import settle_types
from atdc.data.feature_source import finite_float32
from atdc.errors import ArgumentError, DataError, NetworkError, ProgramError
from atdc.images import ImageLike, as_rgb

if TYPE_CHECKING:
    from torch import Tensor

Array = NDArray[Any]
RgbImage = NDArray[np.uint8]

_LARGEST_DRAWING, _LONGEST_DRAWING = 2048, 16383
"""Sides of an answer's picture; the longest that WebP has."""
SAME = 1e-3
"""Mean difference of two runs, as a share of the mean deviation of the values, that rounding may make."""
_SAME_WHOLE = 0.01
"""Share of whole numbers (classes, places) that ties may turn."""
_SAME_RUN = 1e-4
_LEAST_SCALE = 1e-4
"""Of values' deviation: in a map of probabilities that are all next to 0, rounding is no difference."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a network says at its end, and how a difference of it is measured.

    Raises:
        ArgumentError: a weight that is no number from 0, names that are no texts, or several tensors without a function
            of them.

    >>> Answer(tensors=("boxes", "scores"), function="mine.py:found", loss="none").outputs
    ('boxes', 'scores')
    """

    tensor: str = ""
    """The output, or any tensor of the second half."""
    loss_on: str = ""
    """The tensor that training compares, ahead of ArgMax, TopK and resizing; by default the answer itself."""
    loss: str = "l1"
    """`kl` for logits (classes along axis 1), `l1`, `l2`, `none`, or `file.py:function` of (before, after) -> (n,)."""
    metric: str = "relative"
    """Of the answer after against before, 1 where nothing has changed; see :mod:`atdc.adapters.distances`. `none`:
    training alone compares it."""
    weight: float = 1.0
    tensors: tuple[str, ...] = ()
    """Several, instead of one, which `function` makes the answer of."""
    function: str = ""
    """`file.py:function` or `module:function` of these arrays, with a batch of one, to an array."""
    drawing: str = ""
    """Likewise, of the image (H, W, 3), the answer before and an answer, to a picture of that answer, (h, w, 3) bytes;
    by default a page shows it by its form."""

    def __post_init__(self) -> None:
        """Checks every value, and what belongs together."""
        settle_types(self, "answer")
        if not 0 <= self.weight < np.inf:
            raise ArgumentError("answer.weight", repr(self.weight), "a number from 0")
        names: tuple[Any, ...] = self.tensors
        for name in names:
            if not isinstance(name, str):
                raise ArgumentError("answer.tensors", repr(name), "a name", "Write it in quotes.")
        if bool(self.tensors) != bool(self.function) or (self.tensor and self.tensors):
            problem = f"tensor {self.tensor!r}, tensors {list(self.tensors)}, function {self.function!r}"
            raise ArgumentError("answer", problem, "a tensor, or tensors with a function of them")

    @property
    def outputs(self) -> tuple[str, ...]:
        """The tensors that the answer is, or is made of."""
        return self.tensors or ((self.tensor,) if self.tensor else ())

    @property
    def compared(self) -> str:
        """The tensor that training compares."""
        return self.loss_on or self.tensor

    @property
    def is_reported(self) -> bool:
        """Whether it is what somebody wants to know, and not only trained on."""
        return self.metric != UNREPORTED


@dataclass(frozen=True, slots=True)
class CutTensor:
    """A tensor at the cut.

    Attributes:
        name: of the feature tensor.
        place: where it is in the network.
        shape: there, with a batch of one.
        type: there, as NumPy calls it.
    """

    name: str
    place: str
    shape: tuple[int, ...]
    type: str

    @property
    def feature_shape(self) -> tuple[int, int, int]:
        """Channels, height and width, see :func:`feature_shape`."""
        return feature_shape(self.shape)

    @property
    def values(self) -> int:
        """Numbers of an image."""
        channels, height, width = self.feature_shape
        return channels * height * width

    def feature_of(self, values: Any) -> Any:
        """From the network's form to (n, C, h, w), of arrays and of torch's tensors."""
        if len(self.shape) == 4:
            return values
        return values.swapaxes(1, 2)[..., None] if len(self.shape) == 3 else values[..., None, None]

    def place_of(self, feature: Any) -> Any:
        """The inverse."""
        if len(self.shape) == 4:
            return feature
        return feature[..., 0].swapaxes(1, 2) if len(self.shape) == 3 else feature[..., 0, 0]


def feature_shape(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Channels, height and width: (1, C, h, w) as it is, tokens (1, N, D) as (D, N, 1), a vector as (C, 1, 1)."""
    if len(shape) == 4:
        return shape[1], shape[2], shape[3]
    return (shape[2], shape[1], 1) if len(shape) == 3 else (shape[1], 1, 1)


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
    _takes_batches: bool | None = None

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
        first batch.

        Raises:
            NetworkError: the half cannot be computed that way, or has no such tensor.
        """
        import torch

        inputs = {
            tensor.place: tensor.place_of(features[tensor.name]).to(getattr(torch, tensor.type))
            for tensor in self.tensors
        }
        count = len(next(iter(inputs.values())))
        if count > 1 and self._takes_batches is None:
            self._takes_batches = self._batches_agree({place: x[:2].detach() for place, x in inputs.items()}, wanted)
        if count == 1 or self._takes_batches:
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
        """Runs both halves and the whole on images.

        Args:
            images: with what messages call them.

        Raises:
            NetworkError: halves and whole differ, two runs differ, or the differentiable half differs.
            DataError: values that are not finite, or no image.
        """
        differences: dict[str, float] = dict.fromkeys(self.reported, 0.0)
        samples: list[dict[str, NDArray[np.float32]]] = []
        times = np.zeros(3)
        for where, image in images:
            features = self.features(image, where)
            with of_image(where):
                if not samples:  # first calls take longer
                    self.answers_of(features)
                    self.whole(image)
                begin = time.perf_counter()
                repeat = self.features(image, where)
                middle = time.perf_counter()
                answers = self.answers_of(features)
                end = time.perf_counter()
                whole = self.whole(image)
                times += [middle - begin, end - middle, time.perf_counter() - end]
                self._require_repeats(features, repeat)
                for name, before in whole.items():
                    distance = self._require_whole(name, before, answers[name])
                    differences[name] = max(differences[name], distance)
            samples.append(features)
        if not samples:
            raise DataError(self.name, "no image", "one at least", "Name a folder of photos.")
        gradients = self._gradients(samples[:2])
        device_ms, server_ms, whole_ms = (1000 * float(seconds) / len(samples) for seconds in times)
        return NetworkCheck(
            self.name,
            self.tensors,
            differences,
            gradients,
            bool(self._takes_batches),
            device_ms,
            server_ms,
            whole_ms,
            samples,
        )

    def _require_whole(self, name: str, before: Array, after: Array) -> float:
        """How far an answer of both halves is from the whole network's, which its metric has to find equal to itself.

        Raises:
            NetworkError: not a number, too far, or a metric that fails or does not say 1.
        """
        where = f"{self.name}/{name}"
        if before.dtype.kind == "f" and np.isnan(before).any():
            raise NetworkError(
                where, "an answer that is not a number", "numbers",
                "Check the input's settings, and what the network does at its end.",
            )  # fmt: skip
        distance, limit = self._difference(name, before, after)
        if distance > limit:
            raise NetworkError(
                where, f"a difference of {distance:.2g} between halves and whole", f"at most {limit:g}",
                "Find what the second half takes besides the tensors at the cut.",
            )  # fmt: skip
        metric = self.answers[name].metric
        with of_image(where):
            agreement = metric_function(metric, self.folder)(before, before)
        if agreement < 1 - SAME:  # untrue of what is not a number
            raise NetworkError(
                f"{where}, metric {metric}", f"{agreement:.3g} for an answer and itself", "1, or not a number",
                "Give an agreement, not a distance: 1 where nothing has changed, and less where something has.",
            )  # fmt: skip
        return distance

    def _difference(self, name: str, before: Array, after: Array) -> tuple[float, float]:
        """How far two computations of an answer are apart, and how far they may be. What a function makes of tensors
        (a list of what is found, say) can change its form by a rounding, so that its own metric says."""
        answer = self.answers[name]
        if answer.function:
            if np.array_equal(before, after):
                return 0.0, _SAME_WHOLE
            agreement = metric_function(answer.metric, self.folder)(before, after)
            return (1.0 if np.isnan(agreement) else 1 - agreement), _SAME_WHOLE
        return difference(before, after), SAME if before.dtype.kind == "f" else _SAME_WHOLE

    def _require_repeats(self, first: Mapping[str, Array], second: Mapping[str, Array]) -> None:
        for name, values in first.items():
            if (distance := difference(values, second[name])) > _SAME_RUN:
                raise NetworkError(
                    f"{self.name}, {name}", f"two runs that differ by {distance:.2g} of the deviation",
                    "the same numbers", "Switch off what is random in it, such as dropout.",
                )  # fmt: skip

    def _gradients(self, samples: Sequence[Mapping[str, NDArray[np.float32]]]) -> dict[str, float | str]:
        """Of each compared tensor, from one or two samples; the differentiable half is compared with the other."""
        import torch

        pair = [samples[0], samples[-1]]
        features = {
            tensor.name: torch.from_numpy(np.stack([sample[tensor.name] for sample in pair])).requires_grad_()
            for tensor in self.tensors
        }
        gradients: dict[str, float | str] = {}
        for name, answer in self.answers.items():
            if answer.loss == "none":
                gradients[name] = "none is asked for"
                continue
            place = answer.compared
            try:
                after = self.second_half(features, [place])[place]
            except NetworkError as error:
                gradients[name] = str(error)
                continue
            before = self._reference(self._placed(pair[0]), place)
            if before is not None and difference(before, after[:1].detach().numpy()) > SAME:
                raise NetworkError(
                    f"{self.name}, {place}", "other numbers in the half with gradients", "those of the network",
                    "Set this answer's loss to none, and report the operator.",
                )  # fmt: skip
            gradients[name] = size = _gradient_size(after, features)
            if np.isnan(size):
                raise NetworkError(
                    f"{self.name}, {place}", "gradients that are not numbers", "numbers",
                    "Let training compare a tensor ahead of it (loss_on), or none (loss: none).",
                )  # fmt: skip
            if size:
                with of_image(f"{self.name}/{name}"):
                    loss_function(answer.loss, self.folder)(after.detach().flip(0), after)
        return gradients

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


def _gradient_size(after: Tensor, features: Mapping[str, Tensor]) -> float:
    """Root mean square of the gradient of the values' sum of squares, in units of the features' deviation."""
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


def difference(before: Array, after: Array) -> float:
    """Mean difference as a share of the mean deviation of the values; of whole numbers, the share that differ.

    >>> difference(np.array([1.0, 3.0]), np.array([1.0, 3.5])), difference(np.array([1, 2]), np.array([1, 3]))
    (0.25, 0.5)
    """
    if before.shape != after.shape:
        return float("inf")
    if before.dtype.kind != "f":
        return float((before != after).mean()) if before.size else 0.0
    reference, values = before.astype(np.float64), after.astype(np.float64)
    error, scale = float(np.abs(reference - values).mean()), float(np.abs(reference - reference.mean()).mean())
    if error == 0:
        return 0.0
    return error / max(scale, 1e-6 * float(np.abs(reference).mean()), _LEAST_SCALE)


def no_such(where: str, name: str, candidates: Iterable[str], kind: str) -> NetworkError:
    """The error of a name that is not there, with near ones."""
    names = list(candidates)
    matches = difflib.get_close_matches(name, names, n=3, cutoff=0.3)
    matches = list(dict.fromkeys(matches))
    matches += [
        candidate for candidate in names if name and name.lower() in candidate.lower() and candidate not in matches
    ][: 3 - len(matches)]
    cure = (
        f"Near: {', '.join(matches)}."
        if matches
        else f"Known: {', '.join(names[:8])}{', …' if len(names) > 8 else ''}."
    )
    return NetworkError(where, f"no {kind} {name!r}", f"one of its {len(names)} {kind}s", cure)


def library(name: str) -> Any:
    """A package that the extra ``networks`` brings.

    Raises:
        ProgramError: it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        cure = "Install it: pip install onnx onnxruntime"
        raise ProgramError(name, "no such package", "what networks in ONNX files need", cure) from error


def require_input(name: Any, input: Any) -> None:
    """Refuses a network's name and input that are none.

    Raises:
        ArgumentError: a name that is no text or has a slash; an input that is no :class:`ImageInput`.
    """
    if not isinstance(name, str) or not name or "/" in name:
        raise ArgumentError("name", repr(name), "a text without a slash")
    if not isinstance(input, ImageInput):
        raise ArgumentError(f"{name}, input", repr(input), "an ImageInput, such as ImageInput(size=(224, 224))")


def usable_answers(name: str, answers: Mapping[str, Answer] | None, outputs: Iterable[str]) -> dict[str, Answer]:
    """Answers by name; of none, all outputs.

    Raises:
        ArgumentError: what is no answer; an answer, or its loss, without a tensor; no answer that is reported.
        NetworkError: no outputs.
    """
    if answers is not None and not isinstance(answers, Mapping):
        raise ArgumentError(f"{name}, answers", repr(answers), "a mapping of names to Answer")
    answers = dict(answers or {}) or {output: Answer(output) for output in outputs}
    if not answers:
        raise NetworkError(name, "no tensor among its outputs", "one at least", "Let the network return its answers.")
    pairs: Iterable[tuple[Any, Any]] = answers.items()
    for key, answer in pairs:
        if not isinstance(key, str) or not isinstance(answer, Answer):
            raise ArgumentError(f"{name}, answers, {key}", repr(answer), "an Answer, by a name that is text")
        if answer.is_reported and not answer.outputs:
            raise ArgumentError(f"{name}, answers, {key}", "no tensor", "its tensor's name")
        if answer.loss != "none" and not answer.compared:
            raise ArgumentError(f"{name}, answers, {key}", "a loss without a tensor", "the name of one, as loss_on")
    if not any(answer.is_reported for answer in answers.values()):
        raise ArgumentError(f"{name}, answers", "none with a metric", "one at least that is reported")
    return answers


def cut_names(name: str, cuts: Mapping[str, str] | Sequence[str], shapes: Mapping[str, tuple[int, ...]]) -> list[str]:
    """Names of the tensors at the cut: those given, or like ``segments/64x33x33``.

    >>> cut_names("net", ["a", "b"], {"a": (4, 8, 8), "b": (4, 8, 8)})
    ['net/4x8x8', 'net/4x8x8.2']
    """
    if isinstance(cuts, Mapping):
        return list(cuts)
    names: list[str] = []
    for place in cuts:
        base = f"{name}/{'x'.join(map(str, shapes[place]))}"
        count = sum(entry == base or entry.startswith(f"{base}.") for entry in names)
        names.append(f"{base}.{count + 1}" if count else base)
    return names


def require_cut(name: str, cuts: Mapping[str, str] | Sequence[str]) -> list[str]:
    """The places of a cut, each once.

    Raises:
        ArgumentError: none, or one twice.
    """
    argument: Any = cuts
    if not isinstance(argument, Mapping | Sequence) or not cuts or isinstance(cuts, str):
        raise ArgumentError(f"{name}, cuts", repr(cuts), "one tensor at least, as a list or by name")
    places = list(cuts.values()) if isinstance(cuts, Mapping) else list(cuts)
    for text in (*cuts, *places):
        if not isinstance(text, str):
            raise ArgumentError(f"{name}, cuts", repr(text), "a name, as text")
    for place in places:
        if places.count(place) > 1:
            raise ArgumentError(f"{name}, cuts", f"{place!r} twice", "each tensor once")
    return places


def cut_tensors(
    name: str, cuts: Mapping[str, str] | Sequence[str], arrays: Mapping[str, Array], places: Sequence[str]
) -> tuple[CutTensor, ...]:
    """The tensors at the cut, from what one image gives.

    Raises:
        NetworkError: one of another rank, of whole numbers, or with another batch than one.
    """
    for place in places:
        values = arrays[place]
        if values.dtype.kind != "f" or not 2 <= values.ndim <= 4 or values.shape[0] != 1 or 0 in values.shape:
            raise NetworkError(
                f"{name}, {place}", f"{values.dtype} of the shape {values.shape}",
                "numbers with a point, (1, C, h, w), (1, N, D) or (1, C)", "Cut at another tensor.",
            )  # fmt: skip
    tensors = {place: CutTensor("", place, arrays[place].shape, str(arrays[place].dtype)) for place in places}
    names = cut_names(name, cuts, {place: tensor.feature_shape for place, tensor in tensors.items()})
    return tuple(
        CutTensor(tensor_name, place, tensors[place].shape, tensors[place].type)
        for tensor_name, place in zip(names, places, strict=True)
    )
