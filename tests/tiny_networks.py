"""Networks of a few weights, in torch and in ONNX files, as people have them: a batch of one written into a reshape,
whole numbers at the end, several outputs."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

SIDE, CLASSES = 24, 5


class TinySegmenter(nn.Module):
    """Two levels, a sum and a head: ``stem`` 8×12×12, ``deep`` 16×6×6, logits 5×12×12."""

    def __init__(self, leak: bool = False) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(inplace=True))
        self.deep = nn.Sequential(nn.Conv2d(8, 16, 3, 2, 1), nn.ReLU(inplace=True))
        self.head = nn.Conv2d(16, CLASSES, 1)
        self.leak = leak

    def forward(self, x: Tensor) -> Tensor:
        early = self.stem(x)
        logits: Tensor = nn.functional.interpolate(self.head(self.deep(early)), scale_factor=2.0, mode="bilinear")
        return logits + early[:, :CLASSES] if self.leak else logits


class TinyPyramid(nn.Module):
    """A backbone that gives a mapping of a list, and a head of all levels, as detection networks have them."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = TinyBackbone()
        self.head = TinyHead()

    def forward(self, x: Tensor) -> dict[str, Any]:
        levels = self.backbone(x)["levels"]
        return {"heat": self.head(levels), "boxes": (levels[0].mean((2, 3)), levels[1].amax((2, 3)))}


class TinyBackbone(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(4, 6, 3, 2, 1)

    def forward(self, x: Tensor) -> dict[str, list[Tensor]]:
        fine = self.first(x)
        return {"levels": [fine, self.second(fine)]}


class TinyHead(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lateral = nn.Conv2d(6, 4, 1)

    def forward(self, levels: list[Tensor]) -> Tensor:
        return levels[0] + nn.functional.interpolate(self.lateral(levels[1]), scale_factor=2)


def segmenter(leak: bool = False) -> TinySegmenter:
    """Seeded."""
    torch.manual_seed(0)
    return TinySegmenter(leak).eval()


def pyramid() -> TinyPyramid:
    """Seeded."""
    torch.manual_seed(1)
    return TinyPyramid().eval()


def write_onnx(path: Path, *, dynamic: bool = False, leak: bool = False, nan: bool = False) -> Path:
    """``uint8`` images (1, 24, 24, 3) to ``classes`` (1, 24, 24), by way of ``stem``, ``deep`` and ``logits``.

    Args:
        path: of the file.
        dynamic: height and width are not fixed.
        leak: the logits take a part of the stem, too.
        nan: what is divided by zero becomes a feature.
    """
    from onnx import TensorProto, checker, helper, numpy_helper, save

    rng = np.random.default_rng(0)
    weights: dict[str, Any] = {
        "w1": rng.normal(0, 0.3, (8, 3, 3, 3)), "b1": rng.normal(0, 0.1, 8), "w2": rng.normal(0, 0.2, (16, 8, 3, 3)),
        "b2": rng.normal(0, 0.1, 16), "w3": rng.normal(0, 0.5, (CLASSES, 16, 1, 1)), "scale": np.array(1 / 128),
        "one": np.array(1.0), "zero": np.array(0.0),
    }  # fmt: skip
    nodes = [
        helper.make_node("Cast", ["picture"], ["numbers"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["numbers", "scale"], ["scaled"]),
        helper.make_node("Sub", ["scaled", "one"], ["centred"]),
        helper.make_node("Transpose", ["centred"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["planes", "w1", "b1"], ["stem/conv"], strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["stem/conv"], ["stem"]),
        helper.make_node("Conv", ["stem", "w2", "b2"], ["deep/conv"], strides=[2, 2], auto_pad="SAME_UPPER"),
        helper.make_node("Relu", ["deep/conv"], ["deep/relu"]),
        helper.make_node("Div", ["deep/relu", "zero" if nan else "one"], ["deep"]),
        helper.make_node("Reshape", ["deep", "flat"], ["deep/flat"]),  # with a batch of one written into it
        helper.make_node("Reshape", ["deep/flat", "square"], ["deep/square"]),
        helper.make_node("Conv", ["deep/square", "w3"], ["logits/deep"]),
        helper.make_node("Slice", ["stem", "from", "to", "axes", "steps"], ["stem/part"]),
        helper.make_node("Add", ["logits/deep", "stem/part"], ["logits/leaky"]),
        helper.make_node(
            "Resize", ["logits/leaky" if leak else "logits/deep", "", "", "size"], ["logits"], mode="linear",
            coordinate_transformation_mode="align_corners",
        ),
        helper.make_node("ArgMax", ["logits"], ["classes"], axis=1, keepdims=0),
    ]  # fmt: skip
    if not leak:
        del nodes[12:14]
    integers: dict[str, list[int]] = {
        "flat": [1, -1], "square": [1, 16, 6, 6], "from": [0, 0, 0], "to": [CLASSES, 12, 12], "axes": [1, 2, 3],
        "steps": [1, 2, 2], "size": [1, CLASSES, SIDE, SIDE],
    }  # fmt: skip
    constants = [numpy_helper.from_array(np.asarray(value, np.float32), name) for name, value in weights.items()]
    constants += [numpy_helper.from_array(np.array(value, np.int64), name) for name, value in integers.items()]
    sides: list[Any] = ["height", "width"] if dynamic else [SIDE, SIDE]
    graph = helper.make_graph(
        nodes, "tiny", [helper.make_tensor_value_info("picture", TensorProto.UINT8, [1, *sides, 3])],
        [helper.make_tensor_value_info("classes", TensorProto.INT64, [1, SIDE, SIDE])], constants,
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    checker.check_model(model)
    save(model, str(path))
    return path


def photos(count: int, seed: int = 0) -> list[Any]:
    """Smooth ones, of other sizes than networks take."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (count, 5, 4, 3), np.uint8)
    return [np.kron(image, np.ones((8, 9, 1), np.uint8)) for image in coarse]
