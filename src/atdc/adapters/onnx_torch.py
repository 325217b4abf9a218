"""A part of an ONNX model in torch, for gradients: its nodes one after the other, each as torch's function for it.

Why not onnx2torch: it needs torchvision's compiled operators, which have to match the build of torch, for two operators
that hardly any network at a cut has. See ``docs/decisions/0016-gradients-through-onnx.md``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from atdc.adapters.onnx_graph import OnnxGraph, library
from atdc.errors import NetworkError

Values = Sequence[Any]
"""Inputs of a node: tensors, None where one is left out."""


class OnnxTensors:
    """Tensors of a model from others, with gradients.

    Args:
        graph: of the model.
        where: what messages call it.

    A batch of one that is written into a reshape is freed: its first side is taken as it comes.
    """

    def __init__(self, graph: OnnxGraph, where: str) -> None:
        self._graph, self._where = graph, where
        onnx = library("onnx")
        self._array = onnx.numpy_helper.to_array
        self._value = onnx.helper.get_attribute_value
        self._opset = next((entry.version for entry in graph.model.opset_import if entry.domain in ("", "ai.onnx")), 1)
        self._constants: dict[str, Tensor] = {}
        self._attributes: dict[int, dict[str, Any]] = {}

    def __call__(self, sources: Mapping[str, Tensor], wanted: Sequence[str]) -> dict[str, Tensor]:
        """Wanted tensors by name.

        Raises:
            NetworkError: a node's operator is not known here, or a tensor that is not given is needed.
        """
        nodes, inputs = self._graph.needed(wanted, sources)
        if inputs:
            raise NetworkError(self._where, f"a need for {', '.join(sorted(inputs))}", "none past the cut")
        last_uses: dict[str, int] = {}
        for place in nodes:
            last_uses.update(dict.fromkeys(self._graph.nodes[place].input, place))
        tensors: dict[str, Any] = dict(sources)
        batch = len(next(iter(sources.values())))
        for place in nodes:
            node = self._graph.nodes[place]
            if node.op_type not in _OPERATORS:
                raise NetworkError(
                    self._where, f"the operator {node.op_type}", f"those that have gradients here ({len(_OPERATORS)})",
                    "Let training compare a tensor ahead of it (loss_on), or none (loss: none).",
                )  # fmt: skip
            values = [self._tensor(name, tensors) for name in node.input]
            attributes = self._attributes_of(place)
            if node.op_type == "Reshape" and node.input[0] in self._graph.of_image:
                values[1] = _freed(values[1], values[0], batch)
            try:
                result = _OPERATORS[node.op_type](values, attributes)
            except (RuntimeError, TypeError, ValueError, LookupError, AttributeError) as error:
                failure = f"{node.op_type} that fails ({type(error).__name__}: {str(error).splitlines()[0][:120]})"
                raise NetworkError(
                    f"{self._where}, {next(filter(None, node.output), '')}", failure, "a tensor with gradients",
                    "Let training compare a tensor ahead of it (loss_on), or none (loss: none).",
                ) from error  # fmt: skip
            parts = result if isinstance(result, tuple) else (result,)
            tensors.update({name: part for name, part in zip(node.output, parts, strict=False) if name})
            for name in node.input:
                if last_uses.get(name) == place and name not in wanted:
                    tensors.pop(name, None)
        return {name: tensors[name] for name in wanted}

    def _tensor(self, name: str, tensors: Mapping[str, Any]) -> Any:
        if not name:
            return None
        if name in tensors:
            return tensors[name]
        if name not in self._constants:
            self._constants[name] = torch.from_numpy(self._array(self._graph.constants[name]).copy())
        return self._constants[name]

    def _attributes_of(self, place: int) -> dict[str, Any]:
        if place not in self._attributes:
            node = self._graph.nodes[place]
            attributes = {entry.name: self._value(entry) for entry in node.attribute}
            if node.op_type in ("Constant", "ConstantOfShape") and "value" in attributes:
                attributes["value"] = torch.from_numpy(self._array(attributes["value"]).copy())
            attributes = {
                key: value.decode() if isinstance(value, bytes) else value for key, value in attributes.items()
            }
            self._attributes[place] = {**attributes, "opset": self._opset, "outputs": len(node.output)}
        return self._attributes[place]


def _freed(shape: Tensor, x: Tensor, batch: int) -> Tensor:
    """A shape whose first side, a batch of one, is as it comes; where what is reshaped has the batch first, too."""
    is_batch = len(shape) > 1 and int(shape[0]) == 1 and x.ndim > 0 and len(x) == batch
    return torch.cat([torch.zeros_like(shape[:1]), shape[1:]]) if is_batch else shape


def _ints(value: Any) -> list[int]:
    return [int(entry) for entry in (value.tolist() if isinstance(value, Tensor) else value)]


def _axes(values: Values, attributes: Mapping[str, Any]) -> list[int] | None:
    """Axes, which newer operator sets give as an input."""
    if len(values) > 1 and values[1] is not None:
        return _ints(values[1])
    return list(attributes["axes"]) if "axes" in attributes else None


# --- convolutions and pooling ----------------------------------------------------------------------------------------


def _padding(x: Tensor, kernel: Sequence[int], attributes: Mapping[str, Any]) -> tuple[list[int], list[int]]:
    """Before and after each axis."""
    rank = len(kernel)
    auto_pad = attributes.get("auto_pad", "NOTSET")
    if auto_pad in ("NOTSET", "VALID"):
        pads = [0] * (2 * rank) if auto_pad == "VALID" else list(attributes.get("pads", [0] * (2 * rank)))
        return pads[:rank], pads[rank:]
    strides, dilations = (list(attributes.get(key, [1] * rank)) for key in ("strides", "dilations"))
    before, after = [], []
    for side, size, stride, dilation in zip(x.shape[2:], kernel, strides, dilations, strict=True):
        whole = max((-(-side // stride) - 1) * stride + (size - 1) * dilation + 1 - side, 0)
        small, large = whole // 2, whole - whole // 2
        before.append(small if auto_pad == "SAME_UPPER" else large)
        after.append(large if auto_pad == "SAME_UPPER" else small)
    return before, after


def _padded(x: Tensor, before: Sequence[int], after: Sequence[int], value: float = 0.0) -> Tensor:
    pairs = [side for pair in zip(reversed(before), reversed(after), strict=True) for side in pair]
    return F.pad(x, pairs, value=value) if any(pairs) else x


def _conv(values: Values, attributes: Mapping[str, Any]) -> Tensor:
    x, weight = values[:2]
    bias = values[2] if len(values) > 2 else None
    rank = weight.ndim - 2
    before, after = _padding(x, weight.shape[2:], attributes)
    same = before == after
    function: Callable[..., Tensor] = (F.conv1d, F.conv2d, F.conv3d)[rank - 1]
    return function(
        x if same else _padded(x, before, after), weight, bias, tuple(attributes.get("strides", [1] * rank)),
        tuple(before) if same else 0, tuple(attributes.get("dilations", [1] * rank)), attributes.get("group", 1),
    )  # fmt: skip


def _conv_transpose(values: Values, attributes: Mapping[str, Any]) -> Tensor:
    x, weight = values[:2]
    bias = values[2] if len(values) > 2 else None
    rank = weight.ndim - 2
    strides, dilations = (list(attributes.get(key, [1] * rank)) for key in ("strides", "dilations"))
    extra = list(attributes.get("output_padding", [0] * rank))
    kernel = weight.shape[2:]
    full = [
        (side - 1) * stride + extra_side + (size - 1) * dilation + 1
        for side, stride, extra_side, size, dilation in zip(x.shape[2:], strides, extra, kernel, dilations, strict=True)
    ]
    sides, auto_pad = attributes.get("output_shape"), attributes.get("auto_pad", "NOTSET")
    if sides is None and auto_pad.startswith("SAME"):
        sides = [side * stride for side, stride in zip(x.shape[2:], strides, strict=True)]
    if sides is not None:
        excess = [whole - side for whole, side in zip(full, list(sides)[-rank:], strict=True)]
        before = [side // 2 if auto_pad == "SAME_UPPER" else side - side // 2 for side in excess]
        after = [side - first for side, first in zip(excess, before, strict=True)]
    else:
        pads = list(attributes.get("pads", [0] * (2 * rank))) if auto_pad == "NOTSET" else [0] * (2 * rank)
        before, after = pads[:rank], pads[rank:]
    function: Callable[..., Tensor] = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)[rank - 1]
    output = function(x, weight, None, tuple(strides), 0, 0, attributes.get("group", 1), tuple(dilations))
    output = _padded(output, [0] * rank, extra)
    for axis, (first, last) in enumerate(zip(before, after, strict=True)):
        output = output.narrow(axis + 2, first, output.shape[axis + 2] - first - last)
    return output if bias is None else output + bias.reshape(1, -1, *[1] * rank)


def _max_pool(values: Values, attributes: Mapping[str, Any]) -> Tensor:
    (x,) = values
    kernel = list(attributes["kernel_shape"])
    before, after = _padding(x, kernel, attributes)
    rank = len(kernel)
    function: Callable[..., Tensor] = (F.max_pool1d, F.max_pool2d, F.max_pool3d)[rank - 1]
    return function(
        _padded(x, before, after, -torch.inf), kernel, tuple(attributes.get("strides", [1] * rank)), 0,
        tuple(attributes.get("dilations", [1] * rank)), bool(attributes.get("ceil_mode", 0)),
    )  # fmt: skip


def _average_pool(values: Values, attributes: Mapping[str, Any]) -> Tensor:
    (x,) = values
    kernel = list(attributes["kernel_shape"])
    before, after = _padding(x, kernel, attributes)
    rank = len(kernel)
    function: Callable[..., Tensor] = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)[rank - 1]
    strides, ceil = tuple(attributes.get("strides", [1] * rank)), bool(attributes.get("ceil_mode", 0))
    output = function(_padded(x, before, after), kernel, strides, 0, ceil)
    if attributes.get("count_include_pad", 0) or not any(before + after):
        return output
    shares = function(_padded(torch.ones_like(x[:1, :1]), before, after), kernel, strides, 0, ceil)
    return output / shares


# --- resizing --------------------------------------------------------------------------------------------------------


def _resize(values: Values, attributes: Mapping[str, Any]) -> Tensor:
    x = values[0]
    if len(values) == 2:  # Upsample, and Resize of operator set 10
        scales, sizes = values[1], values[1:1]
    else:
        scales = values[2] if len(values) > 2 and values[2] is not None and values[2].numel() else None
        sizes = values[3] if len(values) > 3 else ()
    coordinates = attributes.get("coordinate_transformation_mode", "asymmetric" if len(values) == 2 else "half_pixel")
    mode = attributes.get("mode", "nearest")
    if mode not in ("nearest", "linear") or coordinates not in (
        "half_pixel",
        "asymmetric",
        "align_corners",
        "pytorch_half_pixel",
    ):
        raise NetworkError(
            "Resize", f"{mode}, {coordinates}", "nearest or linear", "Let training compare a tensor ahead of it."
        )
    axes = attributes.get("axes", range(x.ndim))
    nearest = attributes.get("nearest_mode", "floor" if len(values) == 2 else "round_prefer_floor")
    for number, axis in enumerate(axes):
        side = x.shape[axis]
        scale = float(scales[number]) if scales is not None else int(sizes[number]) / side
        length = int(np.float32(side) * np.float32(scale)) if scales is not None else int(sizes[number])
        if axis > 1 and (length != side or scale != 1):
            x = _resized(x, axis, length, scale, mode, coordinates, nearest)
    return torch.as_tensor(x)


def _resized(x: Tensor, axis: int, length: int, scale: float, mode: str, coordinates: str, nearest: str) -> Tensor:
    """Along one axis; where a row looks is computed in single precision, as runtimes do."""
    side, rows = x.shape[axis], np.arange(length, dtype=np.float32)
    scale32 = np.float32(scale)
    places: Any
    if coordinates == "align_corners":
        places = rows * np.float32((side - 1) / (length - 1)) if length > 1 else rows * 0
    elif coordinates == "asymmetric":
        places = rows / scale32
    elif coordinates == "pytorch_half_pixel" and length == 1:
        places = rows * 0
    else:
        places = (rows + np.float32(0.5)) / scale32 - np.float32(0.5)
    if mode == "nearest":
        rounding: dict[str, Any] = {
            "floor": np.floor, "ceil": np.ceil,
            "round_prefer_floor": lambda v: np.ceil(v - 0.5), "round_prefer_ceil": lambda v: np.floor(v + 0.5),
        }  # fmt: skip
        index = torch.from_numpy(np.clip(rounding[nearest](places), 0, side - 1).astype(np.int64))
        return x.index_select(axis, index.to(x.device))
    places = np.clip(places, 0, side - 1)
    low = np.floor(places).astype(np.int64)
    share = torch.from_numpy((places - low).astype(np.float32)).to(x.device, x.dtype)
    high = np.minimum(low + 1, side - 1)
    shape = [1] * x.ndim
    shape[axis] = length
    first, second = (x.index_select(axis, torch.from_numpy(index).to(x.device)) for index in (low, high))
    return first + (second - first) * share.reshape(shape)


# --- shapes ----------------------------------------------------------------------------------------------------------


def _reshape(values: Values, attributes: Mapping[str, Any]) -> Tensor:
    x, shape = values
    sides = _ints(shape)
    if not attributes.get("allowzero", 0):
        sides = [x.shape[axis] if side == 0 else side for axis, side in enumerate(sides)]
    return x.reshape(sides)


def _slice(values: Values, attributes: Mapping[str, Any]) -> Tensor:
    x = values[0]
    if len(values) == 1:
        starts, ends, axes, steps = attributes["starts"], attributes["ends"], attributes.get("axes"), None
    else:
        starts, ends = _ints(values[1]), _ints(values[2])
        axes = _ints(values[3]) if len(values) > 3 and values[3] is not None else None
        steps = _ints(values[4]) if len(values) > 4 and values[4] is not None else None
    for number, (start, end) in enumerate(zip(starts, ends, strict=True)):
        axis, step = axes[number] if axes is not None else number, steps[number] if steps is not None else 1
        index = torch.arange(x.shape[axis], device=x.device)
        places = range(x.shape[axis])[start:end:step]
        if step == 1:
            x = x.narrow(axis, places.start, len(places))
        else:
            x = x.index_select(axis, index[torch.tensor(list(places), dtype=torch.int64)])
    return torch.as_tensor(x)


def _split(values: Values, attributes: Mapping[str, Any]) -> tuple[Tensor, ...]:
    x, axis = values[0], attributes.get("axis", 0)
    sizes = _ints(values[1]) if len(values) > 1 and values[1] is not None else list(attributes.get("split", []))
    count = attributes.get("num_outputs", attributes["outputs"])
    return tuple(x.split(sizes or -(-x.shape[axis] // count), axis))


def _squeeze(values: Values, attributes: Mapping[str, Any]) -> Tensor:
    x, axes = values[0], _axes(values, attributes)
    axes = [axis for axis in range(x.ndim) if x.shape[axis] == 1] if axes is None else axes
    return x.squeeze(tuple(axis % x.ndim for axis in axes))


def _unsqueeze(values: Values, attributes: Mapping[str, Any]) -> Tensor:
    x, axes = values[0], _axes(values, attributes) or []
    rank = x.ndim + len(axes)
    for axis in sorted(axis % rank for axis in axes):
        x = x.unsqueeze(axis)
    return torch.as_tensor(x)


def _pad(values: Values, attributes: Mapping[str, Any]) -> Tensor:
    x = values[0]
    pads = _ints(values[1]) if len(values) > 1 else list(attributes["pads"])
    value = float(values[2]) if len(values) > 2 and values[2] is not None else attributes.get("value", 0.0)
    axes = _ints(values[3]) if len(values) > 3 and values[3] is not None else list(range(x.ndim))
    before, after = [0] * x.ndim, [0] * x.ndim
    for number, axis in enumerate(axes):
        before[axis], after[axis] = pads[number], pads[number + len(axes)]
    mode = attributes.get("mode", "constant")
    if mode == "constant":
        return _padded(x, before, after, value)
    modes = {"edge": "replicate", "reflect": "reflect"}
    if mode not in modes or any(before[:2] + after[:2]):
        raise NetworkError(
            "Pad", f"{mode} by {pads}", f"constant, or {' or '.join(modes)} of heights and widths",
            "Let training compare a tensor ahead of it.",
        )  # fmt: skip
    flat = [side for pair in zip(reversed(before[2:]), reversed(after[2:]), strict=True) for side in pair]
    return F.pad(x, flat, mode=modes[mode])


def _gather(values: Values, attributes: Mapping[str, Any]) -> Tensor:
    x, index = values
    axis = attributes.get("axis", 0) % x.ndim
    index = torch.where(index < 0, index + x.shape[axis], index)
    rows: Tensor = x.index_select(axis, index.reshape(-1))
    return rows.reshape([*x.shape[:axis], *index.shape, *x.shape[axis + 1 :]])


def _gather_nd(values: Values, attributes: Mapping[str, Any]) -> Tensor:
    x, index = values
    if attributes.get("batch_dims", 0):
        raise NetworkError("GatherND", "batch_dims", "none", "Let training compare a tensor ahead of it.")
    return x[tuple(index.unbind(-1))]


def _expand(values: Values, attributes: Mapping[str, Any]) -> Tensor:
    x, shape = values
    return x * torch.ones(_ints(shape), dtype=x.dtype, device=x.device)


# --- numbers ---------------------------------------------------------------------------------------------------------


def _clip(values: Values, attributes: Mapping[str, Any]) -> Tensor:
    low = values[1] if len(values) > 1 else attributes.get("min")
    high = values[2] if len(values) > 2 else attributes.get("max")
    kind = float if values[0].is_floating_point() else int
    number = [None if bound is None else kind(bound) for bound in (low, high)]
    return values[0] if number == [None, None] else torch.clamp(values[0], *number)


def _divide(values: Values, attributes: Mapping[str, Any]) -> Tensor:
    x, y = values
    return x / y if x.is_floating_point() else torch.div(x, y, rounding_mode="trunc")


def _batch_norm(values: Values, attributes: Mapping[str, Any]) -> Tensor:
    x, weight, bias, mean, variance = values[:5]
    return F.batch_norm(x, mean, variance, weight, bias, False, 0.0, attributes.get("epsilon", 1e-5))


def _layer_norm(values: Values, attributes: Mapping[str, Any]) -> Tensor:
    x = values[0]
    axis = attributes.get("axis", -1) % x.ndim
    bias = values[2] if len(values) > 2 else None
    return F.layer_norm(x, x.shape[axis:], values[1], bias, attributes.get("epsilon", 1e-5))


def _gemm(values: Values, attributes: Mapping[str, Any]) -> Tensor:
    a = values[0].T if attributes.get("transA", 0) else values[0]
    b = values[1].T if attributes.get("transB", 0) else values[1]
    output: Tensor = attributes.get("alpha", 1.0) * (a @ b)
    return output if len(values) < 3 or values[2] is None else output + attributes.get("beta", 1.0) * values[2]


def _cast(values: Values, attributes: Mapping[str, Any]) -> Tensor:
    name = np.dtype(library("onnx").helper.tensor_dtype_to_np_dtype(attributes["to"])).name
    return values[0].to(getattr(torch, name))


def _softmax(function: Callable[..., Tensor]) -> Callable[[Values, Mapping[str, Any]], Tensor]:
    def softmax(values: Values, attributes: Mapping[str, Any]) -> Tensor:
        x = values[0]
        if attributes["opset"] >= 13:
            return function(x, attributes.get("axis", -1))
        axis = attributes.get("axis", 1) % x.ndim
        return function(x.flatten(axis), -1).reshape(x.shape)

    return softmax


def _reduction(function: Callable[[Tensor, list[int], bool], Tensor]) -> Callable[[Values, Mapping[str, Any]], Tensor]:
    def reduction(values: Values, attributes: Mapping[str, Any]) -> Tensor:
        axes = _axes(values, attributes)
        if not axes and attributes.get("noop_with_empty_axes", 0):
            return torch.as_tensor(values[0])
        return function(values[0], axes or list(range(values[0].ndim)), bool(attributes.get("keepdims", 1)))

    return reduction


def _extreme(function: Callable[..., Tensor]) -> Callable[[Values, Mapping[str, Any]], Tensor]:
    return lambda values, attributes: function(
        values[0], dim=attributes.get("axis", 0), keepdim=bool(attributes.get("keepdims", 1))
    )


def _top_k(values: Values, attributes: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
    count = int(values[1]) if len(values) > 1 else attributes["k"]
    largest = bool(attributes.get("largest", 1))
    entries, places = values[0].topk(count, attributes.get("axis", -1), largest, bool(attributes.get("sorted", 1)))
    return entries, places


def _plain(function: Callable[..., Any]) -> Callable[[Values, Mapping[str, Any]], Any]:
    """An operator without attributes."""
    return lambda values, attributes: function(*values)


def _folded(function: Callable[[Any, Any], Any]) -> Callable[[Values, Mapping[str, Any]], Any]:
    """An operator of any number of inputs."""

    def fold(values: Values, attributes: Mapping[str, Any]) -> Any:
        result = values[0]
        for value in values[1:]:
            result = function(result, value)
        return result

    return fold


def _constant(values: Values, attributes: Mapping[str, Any]) -> Tensor:
    for key in ("value", "value_float", "value_floats", "value_int", "value_ints"):
        if key in attributes:
            return torch.as_tensor(attributes[key])
    raise NetworkError("Constant", f"{', '.join(attributes)}", "numbers")


_OPERATORS: Mapping[str, Callable[[Values, Mapping[str, Any]], Any]] = {
    "Abs": _plain(torch.abs),
    "Add": _plain(torch.add),
    "And": _plain(torch.logical_and),
    "ArgMax": _extreme(torch.argmax),
    "ArgMin": _extreme(torch.argmin),
    "AveragePool": _average_pool,
    "BatchNormalization": _batch_norm,
    "Cast": _cast,
    "Ceil": _plain(torch.ceil),
    "Clip": _clip,
    "Concat": lambda values, a: torch.cat(list(values), a["axis"]),
    "Constant": _constant,
    "ConstantOfShape": lambda values, a: a.get("value", torch.zeros(1)).expand(_ints(values[0])).clone(),
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "Cos": _plain(torch.cos),
    "Div": _divide,
    "Dropout": lambda values, a: values[0],
    "Elu": lambda values, a: F.elu(values[0], a.get("alpha", 1.0)),
    "Equal": _plain(torch.eq),
    "Erf": _plain(torch.erf),
    "Exp": _plain(torch.exp),
    "Expand": _expand,
    "Flatten": lambda values, a: values[0].reshape(
        int(np.prod(values[0].shape[: a.get("axis", 1)])), -1
    ),
    "Floor": _plain(torch.floor),
    "Gather": _gather,
    "GatherND": _gather_nd,
    "Gelu": lambda values, a: F.gelu(values[0], approximate=a.get("approximate", "none")),
    "Gemm": _gemm,
    "GlobalAveragePool": lambda values, a: values[0].mean(tuple(range(2, values[0].ndim)), keepdim=True),
    "GlobalMaxPool": lambda values, a: values[0].amax(tuple(range(2, values[0].ndim)), keepdim=True),
    "Greater": _plain(torch.gt),
    "HardSigmoid": lambda values, a: torch.clamp(a.get("alpha", 0.2) * values[0] + a.get("beta", 0.5), 0, 1),
    "HardSwish": _plain(F.hardswish),
    "Identity": lambda values, a: values[0],
    "InstanceNormalization": lambda values, a: F.instance_norm(
        values[0], weight=values[1], bias=values[2], eps=a.get("epsilon", 1e-5)
    ),
    "LayerNormalization": _layer_norm,
    "LeakyRelu": lambda values, a: F.leaky_relu(values[0], a.get("alpha", 0.01)),
    "Less": _plain(torch.lt),
    "Log": _plain(torch.log),
    "LogSoftmax": _softmax(torch.log_softmax),
    "MatMul": _plain(torch.matmul),
    "Max": _folded(torch.maximum),
    "MaxPool": _max_pool,
    "Min": _folded(torch.minimum),
    "Mul": _plain(torch.mul),
    "Neg": _plain(torch.neg),
    "Not": _plain(torch.logical_not),
    "PRelu": lambda values, a: torch.where(values[0] >= 0, values[0], values[0] * values[1]),
    "Pad": _pad,
    "Pow": _plain(torch.pow),
    "Reciprocal": _plain(torch.reciprocal),
    "ReduceL2": _reduction(lambda x, axes, keep: x.square().sum(axes, keepdim=keep).sqrt()),
    "ReduceMax": _reduction(lambda x, axes, keep: x.amax(axes, keepdim=keep)),
    "ReduceMean": _reduction(lambda x, axes, keep: x.mean(axes, keepdim=keep)),
    "ReduceMin": _reduction(lambda x, axes, keep: x.amin(axes, keepdim=keep)),
    "ReduceSum": _reduction(lambda x, axes, keep: x.sum(axes, keepdim=keep)),
    "Relu": _plain(torch.relu),
    "Reshape": _reshape,
    "Resize": _resize,
    "Round": _plain(torch.round),
    "Shape": lambda values, a: torch.tensor(values[0].shape[a.get("start", 0) : a.get("end")]),
    "Sigmoid": _plain(torch.sigmoid),
    "Sin": _plain(torch.sin),
    "Slice": _slice,
    "Softmax": _softmax(torch.softmax),
    "Softplus": _plain(F.softplus),
    "Split": _split,
    "Sqrt": _plain(torch.sqrt),
    "Squeeze": _squeeze,
    "Sub": _plain(torch.sub),
    "Sum": _folded(torch.add),
    "Tanh": _plain(torch.tanh),
    "TopK": _top_k,
    "Transpose": lambda values, a: values[0].permute(tuple(a.get("perm", range(values[0].ndim - 1, -1, -1)))),
    "Unsqueeze": _unsqueeze,
    "Upsample": _resize,
    "Where": _plain(torch.where),
}  # fmt: skip
"""By ONNX's names. One that has no gradient (ArgMax, Floor) is here for what computes shapes and answers."""
