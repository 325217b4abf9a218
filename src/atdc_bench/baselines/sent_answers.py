"""The plain rival of every codec of features: the device runs its networks to the end and sends the answers, as
images that standard codecs take.

How an answer becomes an image follows from its form, a row's ``presentation``:

================  ==============================================================================================
classes           8 bits of grey, the class; without loss; at a smaller size the nearest pixel's class
share             8 bits of grey
metres            8 bits of grey, the logarithm between the image's nearest and farthest, which take four bytes
unit_vectors      three colours of 8 bits
image             the image itself
================  ==============================================================================================

Maps of numbers may be sent at a smaller size, and are enlarged by interpolation.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from atdc.errors import DataError, ProgramError
from atdc.tasks import Task
from atdc.tasks.task import Presentation, registry
from atdc_bench.baselines import vvc

Pixels: TypeAlias = NDArray[np.uint8]
"""(H, W), or (H, W, 3)."""
_RANGE = np.dtype("<f2")


@dataclass(frozen=True, slots=True)
class Point:
    """One way to send one task's answers.

    Attributes:
        quality: of the encoder; None for codecs without loss.
        reduction: by how much sides are divided first.
    """

    quality: float | None
    reduction: int


@dataclass(frozen=True)
class SentCodec:
    """An image codec for answers.

    Attributes:
        name: its key.
        title: what tables call it.
        encode: pixels and a quality to bytes.
        decode: bytes to pixels.
        points: of maps of numbers.
        payload: how many of a file's bytes are coded pixels; the others are the container's.
        missing: why it cannot run here; None if it can.
    """

    name: str
    title: str
    encode: Callable[[Pixels, float], bytes]
    decode: Callable[[bytes], Pixels]
    points: tuple[Point, ...]
    payload: Callable[[bytes], int]
    missing: Callable[[], str | None] = lambda: None


def webp_payload(data: bytes) -> int:
    """Bytes of the chunks of coded pixels in a WebP file (RFC 9649)."""
    payload, place = 0, 12
    while place < len(data):
        size = int.from_bytes(data[place + 4 : place + 8], "little")
        if data[place : place + 4] in (b"VP8 ", b"VP8L", b"ALPH"):
            payload += size
        place += 8 + size + size % 2
    if not payload:
        raise DataError("WebP", "a file without coded pixels", "a chunk VP8 or VP8L")
    return payload


def avif_payload(data: bytes) -> int:
    """Bytes of the box ``mdat`` of an AVIF file, without its head (ISO/IEC 14496-12, 8.1.1)."""
    place = 0
    while place < len(data):
        size = int.from_bytes(data[place : place + 4], "big")
        if data[place + 4 : place + 8] == b"mdat":
            return (size or len(data) - place) - 8
        if size < 8:
            break
        place += size
    raise DataError("AVIF", "a file without coded pixels", "a box mdat of 32-bit size")


def _saved(pixels: Pixels, quality: float, form: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    grey = {"subsampling": "4:0:0" if pixels.ndim == 2 else "4:4:4"} if form == "AVIF" else {}
    Image.fromarray(pixels).save(buffer, form, quality=int(quality), **options, **grey)
    return buffer.getvalue()


def _opened(data: bytes) -> Pixels:
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image if image.mode in ("L", "RGB") else image.convert("RGB"), np.uint8)


def _vvc_encoded(pixels: Pixels, quality: float) -> bytes:
    colour = pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, -1)
    return vvc.VVENC.encode(colour, quality)


CLASS_POINTS = tuple(Point(None, reduction) for reduction in (1, 2, 4, 8, 12, 16, 24))
"""Of classes, which are sent without loss."""


def _points(levels: Mapping[int, tuple[float, ...]]) -> tuple[Point, ...]:
    """By how much sides are divided, at which qualities."""
    return tuple(Point(quality, reduction) for reduction, row in levels.items() for quality in row)


WEBP = SentCodec(
    "answers-webp", "answers, WebP", partial(_saved, form="WEBP", method=6), _opened,
    _points({1: (20, 60, 85), 2: (20, 60), 4: (10, 40, 75), 8: (10, 60), 16: (10, 60)}), webp_payload,
)  # fmt: skip
AVIF = SentCodec(
    "answers-avif", "answers, AVIF", partial(_saved, form="AVIF", speed=6, max_threads=1), _opened,
    _points({1: (20, 40, 60), 2: (20, 55), 4: (20, 50), 8: (20, 50), 16: (20,)}), avif_payload,
)  # fmt: skip
VVC = SentCodec(
    "answers-vvc", "answers, VVC", _vvc_encoded, vvc.VVENC.decode,
    _points({1: (47, 38, 29), 2: (44, 32), 4: (44, 32), 8: (38,)}), len, vvc.VVENC.missing,
)  # fmt: skip
CODECS: dict[str, SentCodec] = {codec.name: codec for codec in (WEBP, AVIF, VVC)}
"""By name. Classes are WebP without loss in each of them."""


@dataclass(frozen=True, slots=True)
class SentAnswer:
    """One answer in bytes.

    Attributes:
        data: all that a receiver needs.
        overhead_bytes: how many of them are the container's.
    """

    data: bytes
    overhead_bytes: int


class _Form:
    """How one form of answers becomes pixels; this one serves for what is in [0, 1] already."""

    head_bytes = 0

    def pixels(self, answer: NDArray[Any]) -> tuple[bytes, Pixels]:
        """An answer as pixels, and what else has to be sent."""
        return b"", _to_bytes(answer)

    def answer(self, head: bytes, values: NDArray[np.float32]) -> NDArray[Any]:
        """The answer of decoded values in [0, 1]."""
        return values


class _Metres(_Form):
    head_bytes = 2 * _RANGE.itemsize

    def pixels(self, answer: NDArray[Any]) -> tuple[bytes, Pixels]:
        logarithm = np.log(answer)
        ends = np.array([logarithm.min(), logarithm.max()], _RANGE)
        low, high = ends.astype(np.float32)
        return ends.tobytes(), _to_bytes((logarithm - low) / max(high - low, np.float32(1e-6)))

    def answer(self, head: bytes, values: NDArray[np.float32]) -> NDArray[Any]:
        low, high = np.frombuffer(head, _RANGE).astype(np.float32)
        return np.exp(low + values * (high - low))


class _Vectors(_Form):
    def pixels(self, answer: NDArray[Any]) -> tuple[bytes, Pixels]:
        return b"", _to_bytes(answer / 2 + 0.5)

    def answer(self, head: bytes, values: NDArray[np.float32]) -> NDArray[Any]:
        vectors = 2 * values - 1
        length: NDArray[np.float32] = np.sqrt(np.square(vectors).sum(-1, keepdims=True))
        return np.asarray(vectors / np.maximum(length, 1e-6), np.float32)


FORMS: dict[Presentation, _Form | None] = registry(
    Presentation,
    {"classes": None, "share": _Form(), "metres": _Metres(), "unit_vectors": _Vectors(), "image": _Form()},
)
"""By a row's ``presentation``; None where pixels are classes."""


def points_of(task: Task, codec: SentCodec) -> tuple[Point, ...]:
    """The ways to send a task's answers by a codec."""
    return CLASS_POINTS if FORMS[task.presentation] is None else codec.points


def encode_answer(task: Task, answer: NDArray[Any], codec: SentCodec, point: Point) -> SentAnswer:
    """An answer in bytes.

    Args:
        task: whose answer.
        answer: (H, W) or (H, W, 3), see :mod:`atdc.tasks.answers`.
        codec: of pixels.
        point: one of :func:`points_of`.

    Raises:
        ProgramError: the codec is not here.
    """
    size = (-(-answer.shape[1] // point.reduction), -(-answer.shape[0] // point.reduction))
    form = FORMS[task.presentation]
    if form is None:
        image = Image.fromarray(np.asarray(answer, np.uint8)).resize(size, Image.Resampling.NEAREST)
        buffer = io.BytesIO()
        image.convert("RGB").save(buffer, "WEBP", lossless=True, quality=100, method=6)
        data = buffer.getvalue()
        return SentAnswer(data, len(data) - webp_payload(data))
    if (why := codec.missing()) is not None or point.quality is None:
        raise ProgramError(codec.title, why or "a point without a quality", "one of points_of", "Install the encoder.")
    head, pixels = form.pixels(answer)
    if point.reduction > 1:
        pixels = np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BOX), np.uint8)
    data = codec.encode(pixels, point.quality)
    return SentAnswer(head + data, len(data) - codec.payload(data))


def decode_answer(task: Task, data: bytes, codec: SentCodec, size: tuple[int, int]) -> NDArray[Any]:
    """The answer (H, W) or (H, W, 3) of a height and width, from its bytes."""
    form, target_size = FORMS[task.presentation], (size[1], size[0])
    if form is None:
        classes = Image.fromarray(_opened(data)[..., 0]).resize(target_size, Image.Resampling.NEAREST)
        return np.asarray(classes, np.uint8)
    pixels = codec.decode(data[form.head_bytes :])
    if task.answer_channels is None and pixels.ndim == 3:
        pixels = np.asarray(Image.fromarray(pixels).convert("L"), np.uint8)
    channels = [pixels] if pixels.ndim == 2 else [pixels[..., channel] for channel in range(3)]
    planes = [
        np.asarray(Image.fromarray(plane.astype(np.float32)).resize(target_size, Image.Resampling.BILINEAR), np.float32)
        for plane in channels
    ]
    values = planes[0] if pixels.ndim == 2 else np.stack(planes, -1)
    return form.answer(data[: form.head_bytes], np.clip(values / np.float32(255), 0, 1))


def _to_bytes(values: NDArray[Any]) -> Pixels:
    return np.asarray(np.rint(255 * np.clip(values, 0, 1)), np.uint8)


def combined(curves: Sequence[Sequence[tuple[float, float]]]) -> list[tuple[int, ...]]:
    """Which point of each task to send for fewest bytes together: one of each for every price of a utility.

    Args:
        curves: of each task, (bytes, utility) of its points.

    Returns:
        Places in ``curves``, from fewest bytes to most: where, as the price rises, another choice is the best.

    >>> combined([[(10, 0.5), (20, 0.9)], [(5, 0.2), (50, 0.6)]])
    [(0, 0), (1, 0), (1, 1)]
    """
    steps: list[tuple[float, int, int]] = []
    choice = []
    for task, points in enumerate(curves):
        place = min(range(len(points)), key=lambda number: (points[number][0], -points[number][1]))
        choice.append(place)
        while True:
            size, utility = points[place]
            further = [
                ((points[candidate][1] - utility) / (points[candidate][0] - size), points[candidate][0], candidate)
                for candidate in range(len(points))
                if points[candidate][0] > size and points[candidate][1] > utility
            ]
            if not further:
                break
            gain, _, place = max(further)
            steps.append((-gain, task, place))
    choices = [tuple(choice)]
    for _, task, place in sorted(steps, key=lambda step: step[0]):
        choice[task] = place
        choices.append(tuple(choice))
    return choices
