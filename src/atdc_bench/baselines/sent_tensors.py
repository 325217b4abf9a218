"""Ways to get the answers of networks from a photo to a server: tensors at the networks' cuts, the photo, the answers.

=================  =================================================================================================
fitted codec       its own graph, every tensor alone, or one fixed graph without the parents that are not sent; its own
                   graph also with a quality for each network, as measured on other photos
untrained codec    principal components of 2×2 blocks, uniform steps, tables counted on other photos, ideal bits
whole numbers      each tensor on 4 to 256 levels between its ends, packed by Zstandard
tiled              each tensor's channels, normalised, side by side as one image, AVIF or VVC
images             JPEG, WebP, AVIF, VVC of the photo; AVIF and VVC also at the size of the largest input, and at half
answers            numbers as whole numbers likewise, or as an image of all channels by AVIF or VVC; classes packed
=================  =================================================================================================
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, final

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from atdc.adapters.answer import Array, RgbImage
from atdc.adapters.cut_costs import CountedTables, components, grid_of_blocks, packed_bytes, unblocked
from atdc.adapters.network_set import NetworkSet
from atdc.balance import Balance
from atdc.codec import FeatureCodec
from atdc.config import MAX_QUALITY
from atdc_bench.baselines import pixels, sent_answers, vvc
from atdc_bench.baselines.outside import load_library, missing_library
from atdc_bench.baselines.sent_answers import SentCodec
from atdc_bench.baselines.system import PixelSystem

FITTED = "fitted"
"""What names of the fitted codec's rows begin with."""
BALANCED = f"{FITTED}-balanced"
TOGETHER = ""
_ZSTD_LEVEL = 19
_TILE_RANGE = 4.0
"""Of normalised channels, what 256 levels span on either side."""
_ENDS_BYTES = 8
"""Of a tensor's least and greatest number, in single precision."""


@dataclass(frozen=True)
class Photo:
    """A photo that is sent.

    Attributes:
        image: (H, W, 3).
        features: of all networks, by name.
        before: the answers of the networks that are not cut, by ``network/answer``.
    """

    image: RgbImage
    features: Mapping[str, NDArray[np.float32]]
    before: Mapping[str, Array]


@dataclass(frozen=True)
class Coded:
    """What a server gets.

    Attributes:
        content: tensors, an image, or answers, as decoded.
        sizes: bytes, by network; of what is for all networks at once, by :data:`TOGETHER`.
    """

    content: Any
    sizes: Mapping[str, float]

    def size(self, members: Sequence[str]) -> float:
        """Bytes that some networks take."""
        return sum(self.sizes[name] for name in members) if TOGETHER not in self.sizes else self.sizes[TOGETHER]


class Sender(ABC):
    """A way to send.

    Attributes:
        title: what tables call it.
        points: settings, in its own unit.
        networks: what the device runs of them: their first halves, the wholes, or nothing.
        by_set: what a network's answers become follows from which other networks are wanted.
        for_several: there is no point in it for one network.
    """

    title: str
    points: tuple[float, ...]
    networks: Literal["first", "whole", ""]
    by_set: bool = False
    for_several: bool = False

    @abstractmethod
    def code(self, photo: Photo, members: Sequence[str], point: float) -> Coded:
        """What is sent of a photo for some networks."""

    @abstractmethod
    def answers(self, coded: Coded, members: Sequence[str]) -> dict[str, Array]:
        """Answers by ``network/answer``."""


@dataclass
class _TensorSender(Sender):
    """Sends the tensors at the cut."""

    set: NetworkSet
    title: str
    points: tuple[float, ...]
    networks: Literal["first", "whole", ""] = field(default="first", init=False)

    def answers(self, coded: Coded, members: Sequence[str]) -> dict[str, Array]:
        return {
            f"{name}/{key}": value
            for name in members
            for key, value in self.set.networks[name].answers_of(coded.content).items()
        }


@final
@dataclass
class FittedSender(_TensorSender):
    """A codec fitted to the networks' features; points are qualities.

    Attributes:
        codec: that codes.
        graph: a search setting.
        balance: what quality each tensor gets; none: one for all.
    """

    codec: FeatureCodec
    graph: str
    balance: Balance | None = None
    by_set: bool = field(default=True, init=False)

    def __post_init__(self) -> None:
        self.for_several = self.balance is not None

    def code(self, photo: Photo, members: Sequence[str], point: float) -> Coded:
        indices = self.codec.tensors.wanted(self.set.tensors_of(list(members)), "wanted")
        parts = [torch.from_numpy(photo.features[name])[None] for name in self.codec.task_names]
        quality = point if self.balance is None else self.balance.at(point)
        batch = self.codec.encode_batch(parts, quality, self.graph, wanted=indices)
        decoded = {self.codec.task_names[place]: batch.reconstruction[place][0].numpy() for place in indices}
        return Coded(decoded, {TOGETHER: len(batch.data[0])})


@final
class UntrainedSender(_TensorSender):
    """Principal components; points are steps, logarithms to the base 2 in a tensor's standard deviations."""

    def __init__(self, networks: NetworkSet, samples: Sequence[Mapping[str, NDArray[np.float32]]]) -> None:
        super().__init__(networks, "codec without training", (1.0, 0.0, -1.0, -2.0, -3.0))
        self._samples, self._tables = samples, dict[tuple[str, float], CountedTables]()
        self._bases = {name: components([sample[name][None] for sample in samples]) for name in networks.names}

    def _integers(self, name: str, value: NDArray[np.float32], point: float) -> NDArray[Any]:
        mean, basis, std, side = self._bases[name]
        return np.round((grid_of_blocks(value[None], side) - mean) @ basis / (std * 2.0**point))

    def code(self, photo: Photo, members: Sequence[str], point: float) -> Coded:
        decoded, sizes = {}, dict.fromkeys(members, 0.0)
        for name in self.set.tensors_of(list(members)):
            mean, basis, std, side = self._bases[name]
            if (name, point) not in self._tables:
                rows = [self._integers(name, sample[name], point) for sample in self._samples]
                self._tables[name, point] = CountedTables(np.concatenate(rows))
            integers, shape = self._integers(name, photo.features[name], point), photo.features[name][None].shape
            sizes[self.set.places[name][0]] += self._tables[name, point].bits(integers) / 8
            back = unblocked((integers * std * 2.0**point) @ basis.T + mean, shape, side)
            decoded[name] = np.ascontiguousarray(back[0], np.float32)
        return Coded(decoded, sizes)


@final
class WholeNumbers(_TensorSender):
    """Tensors on few levels, packed; points are bits of a number."""

    def __init__(self, networks: NetworkSet) -> None:
        super().__init__(networks, "whole numbers per tensor, Zstandard", (2.0, 3.0, 4.0, 6.0, 8.0))

    def code(self, photo: Photo, members: Sequence[str], point: float) -> Coded:
        decoded, sizes = {}, {}
        for member in members:
            data = b""
            for name in self.set.tensors_of([member]):
                levels, decoded[name] = on_levels(photo.features[name], int(point))
                data += levels.tobytes()
            sizes[member] = _packed(data) + _ENDS_BYTES * len(self.set.networks[member].tensors)
        return Coded(decoded, sizes)


@dataclass(frozen=True)
class ImageCodec:
    """A codec of images, and the settings it is measured at.

    Attributes:
        photos: the codec.
        points: of photos.
        grey: the same for channels of numbers, which are no photos; none: it is not measured for them, nor for photos
            at smaller sizes.
        grey_points: of those.
    """

    photos: PixelSystem
    points: tuple[float, ...]
    grey: SentCodec | None = None
    grey_points: tuple[float, ...] = ()


IMAGE_CODECS = {
    "jpeg": ImageCodec(pixels.JPEG, (8, 25, 50, 75, 92)),
    "webp": ImageCodec(pixels.WEBP, (5, 25, 50, 75, 92)),
    "avif": ImageCodec(pixels.AVIF, (1, 10, 30, 50, 70, 88), sent_answers.AVIF, (10.0, 30.0, 50.0, 70.0, 90.0)),
    "vvc": ImageCodec(vvc.VVENC, (52, 45, 39, 33, 27, 21), sent_answers.VVC, (47.0, 41.0, 35.0, 29.0, 23.0)),
}


@final
class TiledTensors(_TensorSender):
    """Tensors as images: channels of zero mean and unit standard deviation over other photos, cut at ±4, side by side
    by an image codec; points are its qualities."""

    def __init__(
        self, networks: NetworkSet, samples: Sequence[Mapping[str, NDArray[np.float32]]], codec: SentCodec, title: str,
        points: tuple[float, ...],
    ) -> None:  # fmt: skip
        super().__init__(networks, f"tensors side by side, {title}", points)
        self._codec = codec
        self._statistics = {}
        for name in networks.names:
            stack = np.stack([sample[name] for sample in samples])
            std = stack.std((0, 2, 3))[:, None, None]
            self._statistics[name] = stack.mean((0, 2, 3))[:, None, None], np.maximum(std, 1e-3 * std.max())

    def code(self, photo: Photo, members: Sequence[str], point: float) -> Coded:
        decoded, sizes = {}, dict.fromkeys(members, 0.0)
        for name in self.set.tensors_of(list(members)):
            mean, std = self._statistics[name]
            normalised = np.clip((photo.features[name] - mean) / std, -_TILE_RANGE, _TILE_RANGE)
            levels = np.round((normalised / _TILE_RANGE + 1) * 127.5).astype(np.uint8)[None]
            data = self._codec.encode(mosaic(levels), point)
            back = from_mosaic(_grey(self._codec.decode(data)), levels.shape)[0].astype(np.float32)
            decoded[name] = np.asarray((back / 127.5 - 1) * _TILE_RANGE * std + mean, np.float32)
            sizes[self.set.places[name][0]] += len(data)
        return Coded(decoded, sizes)


def _grey(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return image if image.ndim == 2 else image[..., 0]


def on_levels(values: Array, bits: int) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Values on 2^bits levels between their ends, and what comes back.

    >>> on_levels(np.array([0.0, 0.4, 1.0]), 1)[1].tolist()
    [0.0, 0.0, 1.0]
    """
    low, high = np.float32(values.min()), np.float32(values.max())
    step = max(high - low, np.float32(1e-12)) / np.float32(2**bits - 1)
    levels = np.round((values.astype(np.float32) - low) / step).astype(np.uint8)
    return levels, np.asarray(low + levels * step, np.float32)


def _packed(data: bytes) -> int:
    return len(load_library("imagecodecs").zstd_encode(data, level=_ZSTD_LEVEL))


@final
class ImageSender(Sender):
    """Sends the photo, for the server to run the networks on; points are qualities.

    Args:
        networks: that are run.
        codec: of the image.
        points: qualities.
        size: height and width to which the photo is reduced, where it is larger; none: as it is.
    """

    networks: Literal["first", "whole", ""] = ""

    def __init__(
        self, networks: NetworkSet, codec: PixelSystem, points: tuple[float, ...], size: tuple[int, ...] = ()
    ) -> None:
        self._set, self._codec, self._size, self.points = networks, codec, size, points
        self.title = f"the photo, {codec.title}" + (f", at {size[0]}×{size[1]}" if size else "")

    def code(self, photo: Photo, members: Sequence[str], point: float) -> Coded:
        pixels = photo.image
        if self._size:
            image = Image.fromarray(pixels).resize((self._size[1], self._size[0]), Image.Resampling.LANCZOS)
            pixels = np.asarray(image)
        data = self._codec.encode(pixels, point)
        return Coded(data, {TOGETHER: len(data)})

    def answers(self, coded: Coded, members: Sequence[str]) -> dict[str, Array]:
        image = self._codec.decode(coded.content)
        return {
            f"{name}/{key}": value for name in members for key, value in self._set.networks[name].whole(image).items()
        }


@final
class AnswerSender(Sender):
    """Sends the answers: of `top1` the class alone, whole numbers without loss, all other numbers on levels or as an
    image.

    Args:
        networks: whose.
        codec: of images; none: levels, packed.
        title: of how numbers are coded.
        points: qualities of the codec, or bits of a number.
    """

    networks: Literal["first", "whole", ""] = "whole"

    def __init__(
        self, networks: NetworkSet, codec: SentCodec | None = None, title: str = "whole numbers, Zstandard",
        points: tuple[float, ...] = (2.0, 3.0, 4.0, 6.0, 8.0),
    ) -> None:  # fmt: skip
        self._set, self._codec, self.title, self.points = networks, codec, f"the answers, {title}", points

    def code(self, photo: Photo, members: Sequence[str], point: float) -> Coded:
        content: dict[str, Array] = {}
        sizes = dict.fromkeys(members, 0.0)
        for name in members:
            for key, answer in self._set.networks[name].reported.items():
                size, content[f"{name}/{key}"] = self._sent(photo.before[f"{name}/{key}"], answer.metric, point)
                sizes[name] += size
        return Coded(content, sizes)

    def answers(self, coded: Coded, members: Sequence[str]) -> dict[str, Array]:
        return coded.content

    def _sent(self, value: Array, metric: str, point: float) -> tuple[int, Array]:
        if metric == "top1" and value.dtype.kind == "f":
            classes = value.argmax(1)
            one_hot = np.zeros_like(value)
            np.put_along_axis(one_hot, classes[:, None], 1, 1)
            size = 2 * classes.size if classes.size < 16 else packed_bytes(classes)
            return size, one_hot
        if not value.size:
            return 1, value
        if value.dtype.kind != "f":
            return packed_bytes(value), value
        if self._codec is None:
            levels, back = on_levels(value, int(point))
            return _packed(levels.tobytes()) + _ENDS_BYTES, back
        levels, _ = on_levels(value, 8)
        low, high = float(value.min()), float(value.max())
        data = self._codec.encode(mosaic(levels), point)
        grey = _grey(self._codec.decode(data))
        back = low + from_mosaic(grey, value.shape).astype(np.float32) * np.float32(max(high - low, 1e-12) / 255)
        return len(data) + _ENDS_BYTES, np.asarray(back, np.float32)


def mosaic(values: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Channels (1, C, h, w), or numbers of any other form as one channel, side by side as one image.

    >>> mosaic(np.zeros((1, 3, 4, 5), np.uint8)).shape
    (8, 10)
    """
    channels = _channels(values)
    count, height, width = channels.shape
    across = math.ceil(math.sqrt(count))
    image = np.zeros((-(-count // across) * height, across * width), np.uint8)
    for place, channel in enumerate(channels):
        row, column = divmod(place, across)
        image[row * height : (row + 1) * height, column * width : (column + 1) * width] = channel
    return image


def from_mosaic(image: NDArray[np.uint8], shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """The inverse."""
    count, height, width = _channels(np.empty(shape, np.uint8)).shape
    across = math.ceil(math.sqrt(count))
    tiles = image.reshape(-1, height, across, width).swapaxes(1, 2).reshape(-1, height, width)
    return np.ascontiguousarray(tiles[:count]).reshape(shape)


def _channels(values: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return values.reshape(values.shape[1:] if values.ndim == 4 else (1, -1, values.shape[-1]))


GRAPHS = {"codebook": "its own graph", "independent": "each tensor alone", "fixed": "one fixed graph"}
"""Of the fitted codec."""


def senders(
    networks: NetworkSet, codec: FeatureCodec | None, samples: Sequence[Mapping[str, NDArray[np.float32]]],
    qualities: tuple[float, ...], balance: Balance | None,
) -> tuple[dict[str, Sender], dict[str, str]]:  # fmt: skip
    """All ways to send by name, and why those that are left out are.

    Args:
        networks: whose answers are wanted.
        codec: fitted to their features.
        samples: features of other photos, which the untrained codec learns from.
        qualities: of the fitted codec; where each network has its own, all integer ones.
        balance: of its tensors, if one was measured.
    """
    by_name: dict[str, Sender] = {}
    reasons: dict[str, str] = {}
    for graph, title in GRAPHS.items():
        if codec is None:
            reasons[f"{FITTED}-{graph}"] = "no weights were given"
        else:
            by_name[f"{FITTED}-{graph}"] = FittedSender(networks, f"fitted codec, {title}", qualities, codec, graph)
    if codec is not None and balance is not None:
        title = "fitted codec, its own graph, a quality for each network"
        all_qualities = tuple(float(level) for level in range(MAX_QUALITY + 1))
        by_name[BALANCED] = FittedSender(networks, title, all_qualities, codec, "codebook", balance)
    elif len(networks.networks) > 1:
        reasons[BALANCED] = "no weights were given" if codec is None else "no balance lies next to the weights"
    by_name["untrained"] = UntrainedSender(networks, samples)
    if (why := missing_library("imagecodecs")) is None:
        by_name["levels"] = WholeNumbers(networks)
        by_name["answers-levels"] = AnswerSender(networks)
    else:
        reasons |= {"levels": why, "answers-levels": why}
    largest = max((network.input.size for network in networks.networks.values()), key=math.prod)
    for name, form in IMAGE_CODECS.items():
        of_codec: dict[str, Sender] = {form.photos.name: ImageSender(networks, form.photos, form.points)}
        if form.grey is not None:
            title = form.photos.title
            of_codec |= {
                f"answers-{name}": AnswerSender(networks, form.grey, title, form.grey_points),
                f"tiled-{name}": TiledTensors(networks, samples, form.grey, title, form.grey_points),
                f"{name}-small": ImageSender(networks, form.photos, form.points, largest),
                f"{name}-half": ImageSender(networks, form.photos, form.points, tuple(side // 2 for side in largest)),
            }
        if (why := form.photos.missing()) is None:
            by_name |= of_codec
        else:
            reasons |= dict.fromkeys(of_codec, why)
    return by_name, reasons
