"""Where to cut an ONNX network: every place where few tensors separate it, with the share of the device's time, and the
bytes that a codec without training needs there for a given agreement of the answer.

The codec without training: principal components of 2×2 blocks of half of the photos, uniform steps, and the ideal bits
of each component's values under a table counted on the same half. The other half of the photos is coded; the step is
sought at which the answer, through the network's second half, agrees with the one before by the wanted metric. At the
ends of the list stand what has no cut: the image sent, as AVIF, and the answer sent, packed without loss.
"""

from __future__ import annotations

import io
import json
import math
import tempfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, features

from atdc.adapters.answer import Array, RgbImage
from atdc.adapters.cost_chart import IMAGE, RESULT, TENSORS, CostPoint, cost_chart
from atdc.adapters.cut import feature_shape
from atdc.adapters.distances import Metric
from atdc.adapters.image_input import ImageInput
from atdc.adapters.onnx_graph import library
from atdc.adapters.onnx_network import OnnxModel
from atdc.errors import DataError, NetworkError, ProgramError

_LARGEST_BLOCK = 1024
"""Numbers of a block that principal components are found of; wider tensors are taken by positions, not by 2×2."""
_BLOCKS = 20_000
"""Of training photos, at most."""
_FINENESSES = 128
"""Of steps, from 16 standard deviations to 1/64 of one, geometrically."""


@dataclass(frozen=True, slots=True)
class Cut:
    """A place that separates a network.

    Attributes:
        tensors: that go from the first half to the second.
        shapes: theirs, with a batch of one.
        device_share: of the time of all nodes, that of the first half.
    """

    tensors: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    device_share: float

    @property
    def values(self) -> int:
        """Numbers of an image."""
        return sum(int(np.prod(shape)) for shape in self.shapes)


@dataclass(frozen=True, slots=True)
class CutCost:
    """What a cut costs.

    Attributes:
        what: ``image``, ``tensors`` or ``answer``.
        cut: the place; of the image and the answer, their tensors.
        bytes: of a photo, the mean; None where no step gives the agreement.
        agreement: of the answer after with before, the mean.
    """

    what: str
    cut: Cut
    bytes: float | None
    agreement: float

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "what": self.what, "tensors": list(self.cut.tensors), "shapes": [list(shape) for shape in self.cut.shapes],
            "device_share": self.cut.device_share, "values": self.cut.values, "bytes": self.bytes,
            "agreement": self.agreement,
        }  # fmt: skip


def separating_cuts(model: OnnxModel, answer: str, images: Sequence[RgbImage], most: int) -> list[Cut]:
    """Every place between two nodes where at most so many tensors separate image and answer, in order.

    Of neighbours that take the device's time alike, within one per cent, the one with the fewest numbers is listed.
    """
    graph = model.graph
    nodes, _ = graph.needed([answer], ())
    times = _node_seconds(model, answer, images)
    total = sum(times.get(place, 0.0) for place in nodes) or 1.0
    uses: dict[str, int] = {}
    for place in nodes:
        uses.update(dict.fromkeys(graph.nodes[place].input, place))
    live: dict[str, None] = {}
    last_read = max((place for place in nodes if model.input_name in graph.nodes[place].input), default=-1)
    seconds, candidates = 0.0, list[tuple[tuple[str, ...], float]]()
    for place in nodes[:-1]:
        node = graph.nodes[place]
        seconds += times.get(place, 0.0)
        live.update(dict.fromkeys(name for name in node.output if name in graph.of_image and name in uses))
        for name in [name for name in live if uses[name] <= place]:
            del live[name]
        if 0 < len(live) <= most and place >= last_read:
            candidates.append((tuple(live), seconds / total))
    shapes = _shapes(model, list({name for names, _ in candidates for name in names}), images[0])
    cuts = [
        Cut(names, tuple(shapes[name] for name in names), share)
        for names, share in candidates
        if set(names) <= set(shapes)
    ]
    selection: list[Cut] = []
    for cut in cuts:
        if selection and cut.device_share - selection[-1].device_share < 0.01:
            if cut.values <= selection[-1].values:
                selection[-1] = cut
        else:
            selection.append(cut)
    return selection


def _shapes(model: OnnxModel, names: list[str], image: RgbImage) -> dict[str, tuple[int, ...]]:
    """Of tensors with a point and a batch of one, whose type the file tells."""
    names = [name for name in names if model.tells_type(name)]
    session = model.session(model.part([model.input_name], names))
    values = model.run(session, names, {model.input_name: model.input.array(image)})
    return {
        name: value.shape
        for name, value in values.items()
        if value.dtype.kind == "f" and 2 <= value.ndim <= 4 and len(value) == 1
    }


def _node_seconds(model: OnnxModel, answer: str, images: Sequence[RgbImage]) -> dict[int, float]:
    """Time of each node, measured by onnxruntime, which runs them as they stand; the least of some runs, which
    what else the machine does lengthens."""
    part = model.part([model.input_name], [answer])
    producers = model.graph.producers
    for node in part.graph.node:
        node.name = f"node {next(producers[name] for name in node.output if name)}"
    runtime_level = library("onnxruntime").GraphOptimizationLevel.ORT_DISABLE_ALL
    with tempfile.TemporaryDirectory(prefix="atdc-") as folder:
        session = model.session(
            part, enable_profiling=True, profile_file_prefix=str(Path(folder) / "profile"),
            graph_optimization_level=runtime_level,
        )  # fmt: skip
        for image in (list(images) * 3)[:5]:
            model.run(session, [answer], {model.input_name: model.input.array(image)})
        events = json.loads(Path(session.end_profiling()).read_text("utf-8"))
    seconds: dict[int, float] = {}
    for event in events:
        name = event.get("name", "")
        if event.get("cat") == "Node" and name.startswith("node ") and name.endswith("_kernel_time"):
            place = int(name.removeprefix("node ").removesuffix("_kernel_time"))
            seconds[place] = min(seconds.get(place, math.inf), event["dur"] * 1e-6)
    return seconds


def cut_costs(
    model: OnnxModel, answer: str, metric: Metric, images: Sequence[RgbImage], agreement: float, most: int,
    progress: Callable[[str], None],
) -> list[CutCost]:  # fmt: skip
    """Costs of all cuts, in the order of the device's time, the image first and the answer last.

    Args:
        model: the network.
        answer: the tensor that has to agree.
        metric: of the answer after against before.
        images: photos, half of them to learn from; at least four.
        agreement: that is wanted, the mean over photos whose answer can be compared.
        most: tensors of a cut.
        progress: gets a word on what is done.

    Raises:
        DataError: too few photos, or none whose answer can be compared.
        NetworkError: no such tensor.
    """
    model.graph.require(answer, f"{model.name}, answer")
    if len(images) < 4:
        raise DataError("photos", str(len(images)), "four at least, half of them to learn from", "Name more.")
    train, test = images[::2], images[1::2]
    session = model.session(model.part([model.input_name], [answer]))

    def whole(image: RgbImage) -> Array:
        return model.run(session, [answer], {model.input_name: model.input.array(image)})[answer]

    pairs = [(image, whole(image)) for image in test]
    test, before = [], []
    for image, value in pairs:
        if not math.isnan(metric(value, value)):
            test.append(image)
            before.append(value)
    if not test:
        raise DataError(
            "photos", "none whose answer can be compared", "one at least", "Name others, or another metric."
        )

    def counted(reference: Array, value: Array) -> float:
        agreement = metric(reference, value)
        return 0.0 if math.isnan(agreement) else agreement

    progress("the image")
    image_cut = Cut((model.input_name,), ((1, *model.input.size, 3),), 0.0)
    costs = [CutCost("image", image_cut, *_image_bytes(model.input, test, before, whole, counted, agreement))]
    cuts = separating_cuts(model, answer, images[:2], most)
    for number, cut in enumerate(cuts, 1):
        progress(f"cut {number} of {len(cuts)}: {', '.join(cut.tensors)}")
        costs.append(
            CutCost("tensors", cut, *_tensor_bytes(model, answer, cut, train, test, before, counted, agreement))
        )
    sizes = [packed_bytes(value) for value in before]
    answer_cut = Cut((answer,), (before[0].shape,), 1.0)
    return [*costs, CutCost("answer", answer_cut, float(np.mean(sizes)), 1.0)]


def _image_bytes(
    image_input: ImageInput, images: Sequence[RgbImage], before: Sequence[Array], whole: Callable[[RgbImage], Array],
    metric: Metric, agreement: float,
) -> tuple[float | None, float]:  # fmt: skip
    """The fewest bytes of AVIF at the size of the network's input that give the agreement, and what they give."""
    if not features.check("avif"):
        raise ProgramError("Pillow", "a build without AVIF", "one with it", "Install a Pillow wheel, 11.3 or later.")

    def at(quality: int) -> tuple[float, float]:
        sizes, agreements = [], []
        for pixels, reference in zip(images, before, strict=True):
            buffer = io.BytesIO()
            image_input.stretched(Image.fromarray(pixels)).save(buffer, "AVIF", quality=quality)
            sizes.append(buffer.tell())
            with Image.open(buffer) as image:
                agreements.append(metric(reference, whole(np.asarray(image.convert("RGB")))))
        return float(np.mean(sizes)), float(np.mean(agreements))

    return _least(at, 100, agreement, tolerance=5)


def _tensor_bytes(
    model: OnnxModel, answer: str, cut: Cut, train: Sequence[RgbImage], test: Sequence[RgbImage],
    before: Sequence[Array],
    metric: Metric, agreement: float,
) -> tuple[float | None, float]:  # fmt: skip
    """The fewest bytes of the codec without training that give the agreement, and what they give."""
    names = list(cut.tensors)
    first, second = model.session(model.part([model.input_name], names)), model.session(model.part(names, [answer]))

    def of(images: Sequence[RgbImage]) -> list[list[NDArray[np.float32]]]:
        rows = [model.run(first, names, {model.input_name: model.input.array(image)}) for image in images]
        return [[np.asarray(row[name], np.float32) for row in rows] for name in names]

    train_values, test_values = of(train), of(test)
    types = [value.type for value in second.get_inputs()]
    bases = [components(values) for values in train_values]
    projections = [  # of the photos that are learnt from, and of the others
        [
            [(grid_of_blocks(value, side) - mean) @ basis for value in values[place]]
            for values in (train_values, test_values)
        ]
        for place, (mean, basis, _, side) in enumerate(bases)
    ]

    def at(fineness: int) -> tuple[float, float]:
        bits, rows = 0.0, list[list[NDArray[Any]]]()
        for place in range(len(names)):
            mean, basis, std, side = bases[place]
            step = std * 2.0 ** (4 - 10 * fineness / _FINENESSES)
            table, integers = ([np.round(value / step) for value in values] for values in projections[place])
            bits += CountedTables(np.concatenate(table)).bits(np.concatenate(integers))
            rows.append(
                [
                    unblocked((value * step) @ basis.T + mean, whole.shape, side)
                    for value, whole in zip(integers, test_values[place], strict=True)
                ]
            )
        agreements = []
        for number, reference in enumerate(before):
            inputs = {
                name: np.ascontiguousarray(rows[place][number], np.float16 if "float16" in types[place] else np.float32)
                for place, name in enumerate(names)
            }
            agreements.append(metric(reference, model.run(second, [answer], inputs)[answer]))
        return bits / 8 / len(before), float(np.mean(agreements))

    return _least(at, _FINENESSES, agreement)


def _least(
    at: Callable[[int], tuple[float, float]], most: int, agreement: float, tolerance: int = 1
) -> tuple[float | None, float]:
    """What the least number up to ``most`` that gives the agreement takes and gives, found by bisection to within so
    many; no bytes where not even ``most`` gives it.

    >>> _least(lambda number: (10.0 * number, number / 100), 100, 0.42), _least(lambda number: (1.0, 0.5), 100, 0.9)
    ((420.0, 0.42), (None, 0.5))
    """
    low, high, best = 0, most, at(most)
    if best[1] < agreement:
        return None, best[1]
    while high - low > tolerance:
        middle = (low + high) // 2
        if (result := at(middle))[1] >= agreement:
            high, best = middle, result
        else:
            low = middle
    return best


def grid_of_blocks(value: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    """Blocks of side × side positions, (n, C·side²); edges are repeated."""
    channels, height, width = feature_shape(value.shape)
    x = value.reshape(channels, height, width) if value.ndim != 3 else value[0].T[:, :, None]
    x = np.pad(x, ((0, 0), (0, -height % side), (0, -width % side)), mode="edge")
    x = x.reshape(channels, x.shape[1] // side, side, x.shape[2] // side, side)
    return np.ascontiguousarray(x.transpose(1, 3, 0, 2, 4).reshape(-1, channels * side * side))


def unblocked(blocks: NDArray[Any], shape: tuple[int, ...], side: int) -> NDArray[Any]:
    """A tensor of a shape from its blocks."""
    channels, height, width = feature_shape(shape)
    rows, columns = -(-height // side), -(-width // side)
    x = blocks.reshape(rows, columns, channels, side, side).transpose(2, 0, 3, 1, 4)
    x = x.reshape(channels, rows * side, columns * side)[:, :height, :width]
    return x[:, :, 0].T[None] if len(shape) == 3 else x.reshape(shape)


def components(values: Sequence[NDArray[np.float32]]) -> tuple[NDArray[Any], NDArray[Any], float, int]:
    """Of tensors with a batch of one: mean, basis, the root mean square deviation, and the side of blocks."""
    channels, height, width = feature_shape(values[0].shape)
    side = 2 if 4 * channels <= _LARGEST_BLOCK and min(height, width) > 1 else 1
    blocks = np.concatenate([grid_of_blocks(value, side) for value in values])
    blocks = blocks[:: max(1, len(blocks) // _BLOCKS)].astype(np.float64)
    mean = blocks.mean(0)
    deviations = blocks - mean
    variances, basis = np.linalg.eigh(deviations.T @ deviations / len(deviations))
    std = float(np.sqrt(max(variances.mean(), 1e-24)))
    return mean.astype(np.float32), basis.astype(np.float32), std, side


class CountedTables:
    """Tables of whole numbers, one for each component, counted on some values; what was never seen counts 0.3.

    Args:
        symbols: (values, components), whole numbers.

    >>> round(CountedTables(np.array([[0.0]] * 9 + [[1.0]])).bits(np.array([[0.0]] * 10)), 1)
    3.1
    """

    def __init__(self, symbols: NDArray[Any]) -> None:
        self._rows = [np.unique(column, return_counts=True) for column in symbols.T]

    def bits(self, symbols: NDArray[Any]) -> float:
        """Ideal bits of others' values (values, components)."""
        total = 0.0
        for (values, counts), column in zip(self._rows, symbols.T, strict=True):
            places = np.minimum(np.searchsorted(values, column), len(values) - 1)
            frequencies = np.where(values[places] == column, counts[places], 0) + 0.3
            total -= float(np.log2(frequencies / (counts.sum() + 0.3 * (len(values) + 3))).sum())
        return total


def packed_bytes(answer: Array) -> int:
    """Of an answer sent: maps of up to 256 classes as WebP without loss, all else by zlib, numbers in half precision.

    >>> packed_bytes(np.zeros((1, 40, 40), np.int64)) < 100
    True
    """
    is_map = (
        answer.dtype.kind in "iu" and answer.ndim >= 3 and len(answer) == 1 and 0 <= answer.min() <= answer.max() < 256
    )
    if is_map and answer.size == answer.shape[-1] * answer.shape[-2] and max(answer.shape) < 16384:
        buffer = io.BytesIO()
        Image.fromarray(answer.reshape(answer.shape[-2:]).astype(np.uint8)).save(
            buffer, "WEBP", lossless=True, method=6
        )
        return min(buffer.tell(), len(zlib.compress(answer.astype(np.uint8).tobytes(), 9)))
    small = answer.astype(np.float16) if answer.dtype.kind == "f" else answer.astype(np.int32)
    return len(zlib.compress(small.tobytes(), 9))


def svg(costs: Sequence[CutCost], title: str) -> str:
    """Bytes (logarithmic) against the share of the device's time, as an image.

    Raises:
        NetworkError: no cut gives the agreement.
    """
    colours: Mapping[str, str] = {"image": IMAGE, "tensors": TENSORS, "answer": RESULT}
    points = [
        CostPoint(
            100 * cost.cut.device_share, cost.bytes, colours[cost.what],
            f"{cost.what}: {', '.join(cost.cut.tensors)}, {cost.bytes:,.0f} bytes, agreement {cost.agreement:.3f}",
            "" if cost.what == "tensors" else cost.what,
        )
        for cost in costs
        if cost.bytes
    ]  # fmt: skip
    if not points:
        raise NetworkError(title, "no cut that gives the agreement", "one at least", "Ask for a lower --agreement.")
    return cost_chart(points, title, "share of the time on the device", (0, 25, 50, 75, 100), "%")
