"""The page of the demo: one self-contained HTML file, images and style inside, readable by day and by night.

A page is a function of :class:`Shown` values and of nothing else: no codec, no clock, no files but the template.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from atdc.report.answer_images import CLASS_COLOURS, classes_in, depth_range_of, depth_scale, image_of
from atdc.report.graph_svg import GraphNode, graph_svg, layers
from atdc.report.same_size import SameSize, decibels, psnr_db
from atdc.report.templates import rendered
from atdc.report.wanted_table import WantedFile, wanted_table
from atdc.tasks import BY_NAME, IMAGE_TASK, short_title, task_named
from atdc.tasks.task import Presentation, registry

Answers = Mapping[str, NDArray[np.generic]]
_LOSSLESS_PIXELS = 300_000


@dataclass(frozen=True, slots=True)
class Candidate:
    """One graph and what it costs on one image: see :mod:`atdc.report.candidates`.

    Attributes:
        parents: {child: [parents]}.
        listed: whether it is one of the candidate graphs, among which the default chooses.
        estimated_cost_bits: by the rate estimator and the graph's cost correction; None where the graph is no
            candidate.
        cost_bits: really coded.
        size_bytes: of its file.
        chosen: whether the image's file has this graph.
    """

    parents: Mapping[str, Sequence[str]]
    listed: bool
    estimated_cost_bits: float | None
    cost_bits: float
    size_bytes: int
    chosen: bool

    @property
    def is_independent(self) -> bool:
        """Whether every task stands on its own."""
        return not any(self.parents.values())


@dataclass(frozen=True, slots=True)
class Shown:
    """One image of the demo, with everything that the page tells about it.

    Attributes:
        name: of the input, without folder and suffix.
        rgb: what was encoded, ``(H, W, 3)`` bytes.
        original_size: width and height of the input file; `rgb` is smaller if the demo shrank it.
        size_bytes: length of the ATDC file, all included.
        task_bytes: each task's part of the coded bytes.
        framing_bytes: header, graph and checks; with `task_bytes` they sum to `size_bytes`.
        parents: the graph, {child: [parents]}.
        setting: the search setting that chose it.
        candidates: graphs, the chosen one among them, and what they cost; by real cost, least first.
        quality: of every task.
        decoded: answers of the process that had only the file and the weights.
        uncompressed: answers from the features themselves.
        ground_truth: ground truth by task, in the form of answers, of the tasks that have one on this image.
        errors: of each of these, the error of `decoded` and of `uncompressed` against it, in words.
        same_size: what pixel codecs make of about as many bytes.
        jpeg75_bytes: the image as an ordinary JPEG, quality 75.
        wanted: files of sets of tasks at the same quality, of the default setting; that of all tasks among them.
        encode_seconds: time of `encode`, without loading the model.
    """

    name: str
    rgb: NDArray[np.uint8]
    original_size: tuple[int, int]
    size_bytes: int
    task_bytes: Mapping[str, int]
    framing_bytes: int
    parents: Mapping[str, Sequence[str]]
    setting: str
    candidates: Sequence[Candidate]
    quality: Mapping[str, float]
    decoded: Answers
    uncompressed: Answers
    ground_truth: Answers
    errors: Mapping[str, tuple[str, str]]
    same_size: Sequence[SameSize]
    jpeg75_bytes: int
    wanted: Sequence[WantedFile]
    encode_seconds: float

    @property
    def width(self) -> int:
        """Of what was encoded, in pixels."""
        return int(self.rgb.shape[1])

    @property
    def height(self) -> int:
        """Likewise."""
        return int(self.rgb.shape[0])

    @property
    def rate_bpp(self) -> float:
        """Bits per pixel: ``8 · bytes / (H · W)``."""
        return 8.0 * self.size_bytes / float(self.height * self.width)

    @property
    def roots(self) -> list[str]:
        """Words for the tasks that are sent without help."""
        return [short_title(task) for task in self.task_bytes if not self.parents.get(task)]

    @property
    def quality_in_words(self) -> str:
        """One number, or one for each task where they differ."""
        values = set(self.quality.values())
        if len(values) == 1:
            return f"{values.pop():g}"
        return ", ".join(f"{short_title(task)} {value:g}" for task, value in self.quality.items())

    @property
    def graph_in_letters(self) -> str:
        """Edges as ``n→d``, those sent first in front; a dash when every task stands on its own."""
        return _in_letters(self.task_bytes, self.parents)

    @property
    def image_psnr_db(self) -> float:
        """Of the decoded answer that is an image against the input."""
        return psnr_db(self.rgb / 255.0, self.decoded[IMAGE_TASK], peak=1.0)


def agreement(task: str, decoded: NDArray[np.generic], uncompressed: NDArray[np.generic]) -> str:
    """What compression changed in one task's answer, in that task's own measure, as words.

    >>> agreement("depth_zbuffer", np.array([[1.1]]), np.array([[1.0]]))
    '10.0 % away in depth'
    """
    return AGREEMENTS[task_named(task).presentation](decoded, uncompressed)


def _pixels_alike(decoded: NDArray[np.generic], uncompressed: NDArray[np.generic]) -> str:
    return f"{100 * float(np.mean(decoded == uncompressed)):.1f} % of pixels alike"


def _away_in_depth(decoded: NDArray[np.generic], uncompressed: NDArray[np.generic]) -> str:
    first, second = decoded.astype(np.float64), uncompressed.astype(np.float64)
    return f"{100 * float(np.mean(np.abs(first / second - 1.0))):.1f} % away in depth"


def _degrees_apart(decoded: NDArray[np.generic], uncompressed: NDArray[np.generic]) -> str:
    first, second = decoded.astype(np.float64), uncompressed.astype(np.float64)
    cosine = (first * second).sum(-1) / (np.linalg.norm(first, axis=-1) * np.linalg.norm(second, axis=-1) + 1e-9)
    return f"{float(np.degrees(np.arccos(cosine.clip(-1.0, 1.0))).mean()):.1f}° apart"


def _apart(decoded: NDArray[np.generic], uncompressed: NDArray[np.generic]) -> str:
    return f"{float(np.mean(np.abs(decoded.astype(np.float64) - uncompressed.astype(np.float64)))):.3f} apart, of 1"


AGREEMENTS: dict[Presentation, Callable[[NDArray[np.generic], NDArray[np.generic]], str]] = registry(
    Presentation,
    {
        "classes": _pixels_alike, "share": _apart, "unit_vectors": _degrees_apart, "metres": _away_in_depth,
        "image": _apart,
    },
)  # fmt: skip
"""By a row's ``presentation``: what two answers have in common, or what parts them."""


def page(shown: Sequence[Shown], title: str, made_by: str, refused: Sequence[str] = ()) -> str:
    """The whole page.

    Args:
        shown: the images, in order.
        title: for the browser's tab.
        made_by: one sentence for the foot: model, versions, times.
        refused: inputs that could not be read, a line each.
    """
    stops = ",".join("rgb({},{},{})".format(*colour) for colour in depth_scale(9).tolist())
    return rendered(
        "atdc.report", "demo.html", title=title, made_by=made_by, refused=refused, shown=shown,
        items=[(item, _drawn(item)) for item in shown], depth_colours=stops, agreement=agreement, change=_change,
        data_uri=data_uri, decibels=decibels, in_letters=_in_letters, letter=_letter, short_title=short_title,
    )  # fmt: skip


def data_uri(image: NDArray[np.uint8]) -> str:
    """An image inside the page: WebP, lossless unless it is large."""
    buffer = io.BytesIO()
    lossless = image.shape[0] * image.shape[1] <= _LOSSLESS_PIXELS
    Image.fromarray(image).save(buffer, "WEBP", lossless=lossless, quality=90, method=2 if lossless else 4)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def thumbnail_uri(task: str, answer: NDArray[np.generic]) -> str:
    """An answer as a small image inside a page that shows many: half the size, a few kilobytes."""
    image = Image.fromarray(image_of(task, answer))
    filter_ = Image.Resampling.NEAREST if task_named(task).presentation == "classes" else Image.Resampling.BOX
    buffer = io.BytesIO()
    image.resize((image.width // 2, image.height // 2), filter_).save(buffer, "WEBP", quality=85)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def _drawn(item: Shown) -> dict[str, Any]:
    """What the page draws of an image, by the names that the template has for it."""
    depth_ranges = {
        task: depth_range_of(item.ground_truth.get(task, item.uncompressed[task]).astype(np.float64))
        for task in _presented_as("metres", item.uncompressed)
    }
    every = (item.ground_truth, item.decoded, item.uncompressed)
    ground_truth, decoded, uncompressed = (
        {task: image_of(task, answer, depth_ranges.get(task)) for task, answer in answers.items()} for answers in every
    )
    nodes = [
        GraphNode(task, short_title(task), size, data_uri(_thumbnail(decoded[task])))
        for task, size in item.task_bytes.items()
    ]
    maps = [answers[task] for answers in every for task in _presented_as("classes", answers)]
    classes = dict.fromkeys(name for answer in maps for name in classes_in(answer.astype(np.int64)))
    images = {"a JPEG of quality 75": item.jpeg75_bytes}
    images |= {f"the {rival.format} above": rival.size_bytes for rival in item.same_size}
    return {
        "ground_truth": ground_truth,
        "decoded": decoded,
        "uncompressed": uncompressed,
        "graph": graph_svg(nodes, item.parents),
        "classes": {name: CLASS_COLOURS[name] for name in classes},
        "depth_ranges": depth_ranges,
        "balls": {task: _ball(task) for task in _presented_as("unit_vectors", item.decoded)},
        "wanted": wanted_table(item.wanted, images),
    }


def _change(value: int, reference: int) -> str:
    """A signed change, one decimal.

    >>> _change(75, 100), _change(1, 1)
    ('−25.0 %', '±0.0 %')
    """
    change = 100 * (value / reference - 1)
    return "±0.0 %" if round(change, 1) == 0 else f"{change:+.1f} %".replace("-", "−")


def _presented_as(presentation: Presentation, answers: Answers) -> list[str]:
    return [task for task in answers if task_named(task).presentation == presentation]


def _in_letters(tasks: Iterable[str], parents: Mapping[str, Sequence[str]]) -> str:
    """Edges as ``n→d``, those sent first in front; a dash where there are none."""
    layer_of = layers(list(tasks), parents)
    children = sorted(layer_of, key=lambda child: layer_of[child])
    edges = [f"{_letter(parent)}→{_letter(child)}" for child in children for parent in parents.get(child, ())]
    return " ".join(edges) or "–"


def _letter(task: str) -> str:
    return BY_NAME[task].letter if task in BY_NAME else task


def _thumbnail(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = pixels.shape[:2]
    edge = min(height, width)
    top, left = (height - edge) // 2, (width - edge) // 2
    image = Image.fromarray(np.ascontiguousarray(pixels[top : top + edge, left : left + edge]))
    return np.array(image.resize((92, 92), Image.Resampling.LANCZOS), dtype=np.uint8)


def _ball(task: str) -> NDArray[np.uint8]:
    """The front of a ball in camera axes, x right, y up, z towards the camera, as an image of the task's."""
    y, x = np.mgrid[1:-1:48j, -1:1:48j]
    z = np.sqrt(np.maximum(0.0, 1.0 - x**2 - y**2))
    return image_of(task, np.stack([x, y, z], -1))
