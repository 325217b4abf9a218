"""Operators of ONNX as the half with gradients computes them: the numbers of onnxruntime, or a refusal."""

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from atdc.adapters.onnx_graph import OnnxGraph
from atdc.adapters.onnx_torch import OnnxTensors
from atdc.errors import NetworkError

onnx = pytest.importorskip("onnx", reason="needs onnx and onnxruntime: pip install onnx onnxruntime")
runtime = pytest.importorskip("onnxruntime", reason="needs onnx and onnxruntime: pip install onnx onnxruntime")

RNG = np.random.default_rng(0)
WEIGHT = RNG.normal(size=(2, 3, 3, 3)).astype(np.float32)
Case = tuple[str, int, tuple[int, ...], dict[str, Any], list[Any]]
"""Operator, operator set, the image's shape, attributes, further inputs: arrays, or None for one that is left out."""


def scales(*sides: float) -> NDArray[np.float32]:
    return np.array([1, 1, *sides], np.float32)


def cases() -> list[Case]:
    maps, square = (1, 2, 3, 4), (1, 2, 10, 10)
    pools = [
        (name, 12, (1, 2, 6, 7), {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": ceil, **extra}, [])
        for name in ("MaxPool", "AveragePool")
        for ceil in (0, 1)
        for extra in ({}, {"pads": [1, 1, 1, 1]})
    ]
    resizes = [
        ("Resize", 13, square, {"mode": mode, "coordinate_transformation_mode": places}, [None, scales(scale, scale)])
        for mode in ("nearest", "linear")
        for places in ("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel")
        for scale in (0.3, 0.7, 1.5, 2.0, 3.0)
    ]
    nearest = [
        ("Resize", 13, maps, {"mode": "nearest", "nearest_mode": rounding}, [None, scales(2.5, 3.0)])
        for rounding in ("floor", "ceil", "round_prefer_floor", "round_prefer_ceil")
    ]
    old_resizes = [
        (name, number, maps, {"mode": mode}, [scales(scale, scale)])
        for name, number in (("Upsample", 9), ("Resize", 10))
        for mode in ("nearest", "linear")
        for scale in (2.0, 3.0, 4.0)
    ]
    transposed = [
        ("ConvTranspose", 11, maps, {"strides": [2, 2], **extra}, [WEIGHT])
        for extra in (
            {}, {"output_shape": [6, 8]}, {"output_shape": [7, 9]}, {"pads": [1, 0, 1, 2]},
            {"output_padding": [1, 1]}, {"auto_pad": "SAME_UPPER"}, {"auto_pad": "SAME_LOWER"},
            {"auto_pad": "SAME_UPPER", "output_shape": [6, 8]}, {"auto_pad": "SAME_LOWER", "output_shape": [6, 8]},
        )
    ]  # fmt: skip
    convolutions = [
        ("Conv", 11, (1, 3, 6, 7), {"strides": [2, 2], **extra}, [WEIGHT])
        for extra in (
            {},
            {"pads": [1, 0, 2, 1]},
            {"auto_pad": "SAME_UPPER"},
            {"auto_pad": "SAME_LOWER"},
            {"dilations": [2, 1]},
        )
    ]
    pads = np.array([0, 0, 1, 2, 0, 0, 2, 1])
    others: list[Case] = [
        ("Pad", 13, maps, {"mode": "constant"}, [pads, np.float32(3)]),
        ("Pad", 13, maps, {"mode": "constant"}, [np.array([0, 0, -1, 1, 0, 0, 0, 1])]),
        ("Pad", 13, maps, {"mode": "edge"}, [pads]), ("Pad", 13, maps, {"mode": "reflect"}, [pads]),
        ("HardSigmoid", 11, maps, {}, []), ("HardSwish", 14, maps, {}, []),
        ("ReduceMean", 11, maps, {"axes": [-1], "keepdims": 0}, []), ("Softmax", 13, maps, {"axis": 1}, []),
        ("LogSoftmax", 13, maps, {"axis": 1}, []), ("Clip", 12, maps, {}, [None, np.float32(0.1)]),
        ("PRelu", 11, maps, {}, [np.array([[[0.1]], [[0.2]]], np.float32)]),
        ("Slice", 13, maps, {}, [np.array([-1]), np.array([-(2**63)]), np.array([2]), np.array([-1])]),
        ("Gather", 12, maps, {"axis": 2}, [np.array(-1)]), ("Flatten", 12, maps, {"axis": 2}, []),
        ("LayerNormalization", 17, maps, {"axis": -1}, [np.ones(4, np.float32)]),
    ]  # fmt: skip
    return [*pools, *resizes, *nearest, *old_resizes, *transposed, *convolutions, *others]


def model_of(case: Case) -> Any:
    name, number, shape, attributes, inputs = case
    helper = onnx.helper
    names = ["x", *(f"i{place}" if value is not None else "" for place, value in enumerate(inputs))]
    constants = [
        onnx.numpy_helper.from_array(np.asarray(v), f"i{place}") for place, v in enumerate(inputs) if v is not None
    ]
    graph = helper.make_graph(
        [helper.make_node(name, names, ["y"], **attributes)], "g",
        [helper.make_tensor_value_info("x", 1, shape)], [helper.make_tensor_value_info("y", 1, None)], constants,
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", number)], ir_version=8)


def differentiated(case: Case, image: NDArray[np.float32]) -> torch.Tensor:
    value: torch.Tensor = OnnxTensors(OnnxGraph(model_of(case)), "net")({"x": torch.from_numpy(image)}, ["y"])["y"]
    return value


@pytest.mark.parametrize("case", cases(), ids=lambda case: f"{case[0]}{case[1]}")
def test_an_operator_gives_the_numbers_of_onnxruntime(case: Case) -> None:
    image = np.random.default_rng(1).normal(size=case[2]).astype(np.float32)
    settings = runtime.SessionOptions()
    settings.intra_op_num_threads, settings.log_severity_level = 1, 4
    session = runtime.InferenceSession(model_of(case).SerializeToString(), settings, ["CPUExecutionProvider"])
    (expected,) = session.run(None, {"x": image})
    np.testing.assert_allclose(differentiated(case, image).numpy(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "case", [
        ("Pad", 19, (1, 2, 3, 4), {"mode": "wrap"}, [np.array([0, 0, 1, 1, 0, 0, 1, 1])]),
        ("Pad", 13, (1, 2, 3, 4), {"mode": "edge"}, [np.array([0, 1, 1, 1, 0, 0, 1, 1])]),
        ("Resize", 13, (1, 2, 3, 4), {"mode": "cubic"}, [None, scales(2, 2)]),
    ], ids=["wrap", "channels", "cubic"],
)  # fmt: skip
def test_what_has_no_gradient_here_is_refused(case: Case) -> None:
    with pytest.raises(NetworkError, match="Let training compare a tensor ahead of it"):
        differentiated(case, np.ones(case[2], np.float32))
