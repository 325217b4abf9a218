"""An ONNX file as a network in two halves, run by onnxruntime, one thread, one image at a time."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from atdc.adapters.answer import Answer, Array, usable_answers
from atdc.adapters.cut import cut_tensors, require_cut
from atdc.adapters.halves import CutNetwork
from atdc.adapters.image_input import ImageInput, require_input
from atdc.adapters.onnx_graph import OnnxGraph, library
from atdc.errors import ArgumentError, NetworkError
from atdc.files import read_bytes

if TYPE_CHECKING:
    from torch import Tensor

_LARGEST_FILE = 2**31 - 1
"""Of what Protocol Buffers hold in one message."""
_TYPES = {1: "float32", 10: "float16", 2: "uint8"}


class OnnxModel:
    """An ONNX file, and how it takes images.

    Args:
        path: of the file.
        name: what messages call it.
        input: what the file does not say itself.

    Raises:
        ArgumentError: no path, name or input.
        NetworkError: no ONNX file, another number of inputs than one, or one that is no image; a size that is neither
            in the file nor given.
    """

    def __init__(self, path: str | Path, name: str = "", input: ImageInput | None = None) -> None:
        input = ImageInput() if input is None else input
        path_argument: Any = path
        if not isinstance(path_argument, str | Path):
            raise ArgumentError("path", repr(path_argument)[:80], "the path of an ONNX file")
        onnx, self.path, self.name = library("onnx"), Path(path), name or Path(path).stem
        require_input(self.name, input)
        data = read_bytes(path, _LARGEST_FILE, error_class=NetworkError)
        try:
            self.proto = onnx.load_model_from_string(data)
            onnx.checker.check_model(self.proto)
        except Exception as error:  # Protocol Buffers and the checker have errors of their own
            raise NetworkError(
                str(path), f"no ONNX model ({str(error).splitlines()[0]})", "one", "Export it again."
            ) from error
        self.bytes_digest = hashlib.sha256(data).hexdigest()
        self.graph = OnnxGraph(self.proto)
        self.input = self._image_input(input)

    def _image_input(self, settings: ImageInput) -> ImageInput:
        names = [value.name for value in self.graph.inputs]
        if len(names) != 1:
            raise NetworkError(str(self.path), f"the inputs {', '.join(names)}", "one, an image")
        tensor = self.graph.inputs[0].type.tensor_type
        sides = [dim.dim_value for dim in tensor.shape.dim]
        where = f"{self.name}, input {names[0]}"
        if len(sides) != 4 or tensor.elem_type not in _TYPES:
            kind = library("onnx").TensorProto.DataType.Name(tensor.elem_type).lower()
            raise NetworkError(
                where, f"the shape {sides} of {kind}", "images (1, C, H, W) or (1, H, W, C) of float, float16 or uint8",
                "Cut away what is ahead of the image, or export the network without it.",
            )  # fmt: skip
        if sides[0] not in (0, 1):
            raise NetworkError(
                where, f"a batch of {sides[0]} written into the file", "a batch of 1, or one that is not fixed",
                "Export it again, with one image or with dynamic_axes.",
            )  # fmt: skip
        channels = settings.channels
        layout = settings.layout or ("hwc" if sides[3] == channels and sides[1] != channels else "chw")
        file_size, size = (sides[1:3] if layout == "hwc" else sides[2:4]), settings.size
        file_channels = sides[3] if layout == "hwc" else sides[1]
        if file_channels not in (0, channels):
            raise NetworkError(
                where, f"{file_channels} channels", f"{channels}",
                "Say its order, layout, or extra channels; where cuts are sought, by --order and --extra.",
            )  # fmt: skip
        if size and any(side not in (0, length) for side, length in zip(file_size, size, strict=True)):
            raise NetworkError(
                where, f"the size {file_size[0]} x {file_size[1]}", f"{size[0]} x {size[1]}, as its input says"
            )
        if not size and 0 in file_size:
            shape = ", ".join(str(dim.dim_value or dim.dim_param or "?") for dim in tensor.shape.dim)
            raise NetworkError(
                where, f"the shape ({shape}), with sides that are not fixed", "a height and a width",
                "Say them: input: {size: [480, 640]}; or, where cuts are sought, --size 480x640.",
            )  # fmt: skip
        return replace(settings, size=tuple(size or file_size), layout=layout, type=_TYPES[tensor.elem_type])

    def session(self, model: Any, **options: Any) -> Any:
        """What runs a model, or a part of this one."""
        runtime = library("onnxruntime")
        settings = runtime.SessionOptions()
        settings.intra_op_num_threads = settings.inter_op_num_threads = 1
        settings.log_severity_level = 3
        for key, value in options.items():
            setattr(settings, key, value)
        try:
            return runtime.InferenceSession(model.SerializeToString(), settings, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime has a class for each of its reasons, and no common one
            raise NetworkError(
                f"{self.name}, {self.path}", f"a part that onnxruntime refuses ({str(error).splitlines()[0]})",
                "a model that it runs", "Cut elsewhere.",
            ) from error  # fmt: skip

    def run(self, session: Any, wanted: Sequence[str], inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Tensors by name, of a part of the model.

        Raises:
            NetworkError: an operator refuses these numbers.
        """
        try:
            values = session.run(list(wanted), dict(inputs))
        except Exception as error:  # as for sessions
            reason = f"an operator that fails ({str(error).splitlines()[0]})"
            raise NetworkError(f"{self.name}, {self.path}", reason, "one that takes these numbers") from error
        return dict(zip(wanted, values, strict=True))

    def part(self, inputs: Sequence[str], wanted: Sequence[str]) -> Any:
        """The part of the model between tensors, as a model.

        Raises:
            NetworkError: a tensor of an unknown type, as after operators of a runtime's own.
        """
        for name in (*inputs, *wanted):
            if not self.tells_type(name):
                raise NetworkError(
                    f"{self.name}, {name}", "a tensor whose type the file does not tell", "one whose type follows",
                    "Take another tensor, or export the network without operators of a runtime's own.",
                )  # fmt: skip
        return self._extractor.extract_model(list(inputs), list(wanted))

    def tells_type(self, name: str) -> bool:
        """Whether a tensor's type is known, without which no part begins or ends there."""
        return name in self._types

    @cached_property
    def _inferred(self) -> Any:
        return library("onnx").shape_inference.infer_shapes(self.proto)

    @cached_property
    def _types(self) -> frozenset[str]:
        graph = self._inferred.graph
        return frozenset(value.name for value in (*graph.input, *graph.output, *graph.value_info))

    @cached_property
    def _extractor(self) -> Any:
        return library("onnx.utils").Extractor(self._inferred)

    @property
    def input_name(self) -> str:
        """The image's tensor."""
        return self.graph.inputs[0].name


class OnnxNetwork(CutNetwork):
    """An ONNX model cut at tensors.

    Args:
        model: the file.
        cuts: names of tensors, or such names by the name that the feature tensor gets.
        answers: by name; all outputs by default.

    Raises:
        ArgumentError: cuts or answers that are none.
        NetworkError: no such tensor (near names are listed), or one that cannot be coded.
        CutError: the cut does not separate; what crosses is named.
        ProgramError: onnx or onnxruntime is not installed.
    """

    def __init__(
        self, model: OnnxModel, cuts: Mapping[str, str] | Sequence[str], answers: Mapping[str, Answer] | None = None
    ) -> None:
        self._model, self.name, self.input = model, model.name, model.input
        self.answers = usable_answers(self.name, answers, model.graph.outputs)
        places = require_cut(self.name, cuts)
        wanted = [tensor for answer in self.answers.values() for tensor in (*answer.outputs, answer.loss_on) if tensor]
        for place in places:
            model.graph.require(place, f"{self.name}, cuts")
        for tensor in wanted:
            model.graph.require(tensor, f"{self.name}, answers")
        model.graph.require_separation(places, wanted, self.name)
        self._wanted = self._outputs_wanted
        self._device = model.session(model.part([model.input_name], places))
        self._server = model.session(model.part(places, self._wanted))
        self._places = places
        probe = np.random.default_rng(0).integers(0, 256, (*self.input.size, 3), np.uint8)
        self.tensors = cut_tensors(self.name, cuts, self._first(self.input.array(probe)), places)
        cut = sorted((tensor.name, tensor.place) for tensor in self.tensors)
        text = f"{model.bytes_digest} {self.input.canonical} {cut}"
        self.digest = hashlib.sha256(text.encode()).hexdigest()[:16]

    def _first(self, array: Array) -> dict[str, Array]:
        return self._model.run(self._device, self._places, {self._model.input_name: array})

    def _second(self, tensors: Mapping[str, Array]) -> dict[str, Array]:
        return self._model.run(self._server, self._wanted, tensors)

    def _whole(self, array: Array) -> dict[str, Array]:
        return self._model.run(self._uncut, self._wanted, {self._model.input_name: array})

    @cached_property
    def _uncut(self) -> Any:
        return self._model.session(self._model.part([self._model.input_name], self._wanted))

    @cached_property
    def _tensors_with_gradients(self) -> Any:
        from atdc.adapters.onnx_torch import OnnxTensors

        return OnnxTensors(self._model.graph, self.name)

    def _differentiable(self, tensors: Mapping[str, Tensor], wanted: Sequence[str]) -> dict[str, Tensor]:
        return self._tensors_with_gradients(tensors, wanted)

    def _reference(self, inputs: Mapping[str, Array], place: str) -> Array | None:
        session = self._model.session(self._model.part(self._places, [place]))
        return self._model.run(session, [place], inputs)[place]
