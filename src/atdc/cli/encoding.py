"""Encoding one input. What its inputs have in common is loaded once, in every process that works."""

from __future__ import annotations

import builtins
import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from atdc.bitstream.container import ContainerReader
from atdc.bitstream.sources import is_url
from atdc.cli.batch import Report, warnings_as_lines
from atdc.cli.codecs import cut_networks, load_codecs
from atdc.cli.destination import SUFFIX, Destination, first_to_last, there_before
from atdc.cli.inputs import Item, is_features
from atdc.config import QUALITY_STEPS_PER_UNIT
from atdc.errors import ArgumentError, AtdcError

if TYPE_CHECKING:
    from atdc.data.dumped import DumpedFeatures


@dataclass(frozen=True, slots=True)
class Coded:
    """What became of one input.

    Attributes:
        bytes: of its file, or its files.
        positions: pixels of the image, or positions of all feature tensors.
        unit: of bytes by positions.
        data: the file, if it goes to standard output.
        files: what each of its files is, plain values for JSON.
        helpers: tensors in them that nobody asked for.
    """

    bytes: int
    positions: int
    unit: Literal["bpp", "bits per position"] = "bpp"
    data: builtins.bytes | None = None
    files: tuple[Mapping[str, object], ...] = ()
    helpers: tuple[str, ...] = ()

    def __str__(self) -> str:
        helpers = f"; sent to help: {', '.join(self.helpers)}" if self.helpers else ""
        return f"{self.bytes:,} bytes, {8 * self.bytes / self.positions:.3f} {self.unit}{helpers}"


@dataclass(frozen=True, slots=True)
class Request:
    """What files are asked for, as :meth:`~atdc.codec.FeatureCodec.encode` says it.

    Attributes:
        quality: of all tasks or tensors.
        task_quality: of single ones, by name.
        balanced: each task gets the quality of its own that was measured for `quality`.
        max_bytes: instead of qualities, what a file may take.
        weights: within `max_bytes`, how much single tasks or tensors count, by name.
        graph: a search setting.
        effort: of the search.
        profile: how files keep their range-coded bytes; None leaves it to `first`.
        first: tasks or tensors that come first.
        tasks: those wanted; all that are there if None.
    """

    quality: float
    task_quality: Mapping[str, float]
    balanced: bool
    max_bytes: int | None
    weights: Mapping[str, float]
    graph: str
    effort: Literal["normal", "high"]
    profile: Literal["compact", "segments"] | None
    first: Sequence[str]
    tasks: Sequence[str] | None

    def of_tensors(self, tensors_among: Callable[[Iterable[str]], list[str]]) -> Request:
        """The same with the names of tensors where those of networks stand."""
        qualities, weights = (
            {tensor: number for name, number in mapping.items() for tensor in tensors_among([name])}
            for mapping in (self.task_quality, self.weights)
        )
        tasks = None if self.tasks is None else tensors_among(self.tasks)
        return replace(self, task_quality=qualities, weights=weights, first=tensors_among(self.first), tasks=tasks)


class Encoder:
    """Encodes images, and files of features as they are; for some tasks or tensors alone, if they are named.

    With networks, a set of them by name or file, images are encoded as the tensors at their cuts. `as_json` also
    tells what the files are.
    """

    def __init__(
        self,
        model: str,
        device: str,
        networks: str | None,
        request: Request,
        pixel_limit: int,
        destination: Destination,
        as_json: bool,
    ) -> None:
        from PIL import Image

        Image.MAX_IMAGE_PIXELS = None  # the limit that is told stands before any pixel is decoded
        self._image_codec, self._codec = load_codecs(model, device)
        self._cut = None if networks is None else cut_networks(networks, self._codec, model)
        if self._cut is not None:
            request = request.of_tensors(self._cut.networks.tensors_among)
        self._tasks = request.tasks
        self._pixel_limit, self._destination, self._as_json = pixel_limit, destination, as_json
        self._require_names(request)
        self._settings: dict[str, Any] = {
            "graph": request.graph, "effort": request.effort, "profile": request.profile, "first": request.first,
        }  # fmt: skip
        self._qualities: dict[str, float] | None = None
        if request.max_bytes is not None:
            self._settings |= {"max_bytes": request.max_bytes, "weights": dict(request.weights)}
        else:
            usual = dict.fromkeys(self._codec.task_names, request.quality)
            qualities = self._codec.balanced(request.quality, self._tasks) if request.balanced else usual
            self._qualities = qualities | dict(request.task_quality)
        self._needed = self._needed_tensors()
        destination.prepare()

    def __call__(self, item: Item) -> Report:
        """Encodes an input to its files."""
        if is_url(item.name):
            cure = "Fetch it first, as with curl -O."
            raise ArgumentError(item.name, "an address", "a file: only files that are decoded are fetched", cure)
        of_features = is_features(item.path) or (self._image_codec is None and self._cut is None)
        return self._encode_features(item) if of_features else self._encode_image(item)

    def _require_names(self, request: Request) -> None:
        """Refuses names that cannot be used: once, not for every file."""
        options = (("--first", request.first), ("--weight", request.weights), ("--task-quality", request.task_quality))
        for option, names in options:
            self._codec.tensors.indices(list(names), option)
        if request.tasks is None:
            return
        self._codec.tensors.wanted(request.tasks)
        for option, names in options:
            for name in names:
                if name not in request.tasks:
                    raise ArgumentError(option, repr(name), f"one of --tasks: {', '.join(request.tasks)}")

    def _needed_tensors(self) -> list[str] | None:
        """The wanted tensors and those that help them; all, None, where helpers depend on qualities to be found."""
        if self._cut is None or self._tasks is None or self._qualities is None:
            return None
        codec = self._codec
        wanted = codec.tensors.wanted(self._tasks)
        places = codec.needed(wanted, codec.qualities(self._qualities), self._settings["graph"])
        return [codec.task_names[place] for place in places]

    def _encode_image(self, item: Item) -> Report:
        from atdc.images import read_image

        target = self._destination.of(item, SUFFIX)
        if self._destination.is_done(target):
            return there_before(item, target)
        rgb = read_image(item.path, self._pixel_limit)
        with warnings_as_lines(item.name):
            data = self._image_file(rgb, item.name)
        helpers = tuple(self._helpers(data))
        files = (self._description(item, target, data, helpers),) if self._as_json else ()
        where, output = self._destination.write(target, data)
        coded = Coded(len(data), rgb.shape[0] * rgb.shape[1], "bpp", output, files, helpers)
        return Report(f"{item.name} → {where}  {coded}", value=coded)

    def _image_file(self, rgb: NDArray[np.uint8], name: str) -> bytes:
        if self._cut is not None:
            return self._features_file(self._cut.networks.features(rgb, name, self._needed))
        assert self._image_codec is not None
        return self._image_codec.encode(
            rgb, self._qualities, tasks=self._tasks, pixel_limit=self._pixel_limit, **self._settings
        )

    def _features_file(self, features: Mapping[str, NDArray[Any]]) -> bytes:
        return self._codec.encode(features, self._qualities, wanted=self._tasks, **self._settings)

    def _encode_features(self, item: Item) -> Report:
        destination, samples = self._destination, _samples_of(item)
        single = len(samples) == 1
        if not single and destination.kind != "folder":
            raise ArgumentError(
                item.name, f"a shard of {len(samples):,} samples", "one sample for one output",
                "Name a folder with -o: each sample gets a file there.",
            )  # fmt: skip
        targets = _targets_of_samples(destination, item, len(samples))
        todo = [row for row, target in enumerate(targets) if not destination.is_done(target)]
        if not todo:
            return there_before(item, *targets)
        length = positions = 0
        files: list[Mapping[str, object]] = []
        all_helpers: list[str] = []
        for row in todo:
            sample = samples.read(row)
            with warnings_as_lines(item.name if single else f"{item.name}, sample {row}"):
                data = self._features_file(sample)
            helpers = self._helpers(data)
            files += [self._description(item, targets[row], data, helpers)] if self._as_json else []
            all_helpers += helpers
            positions += sum(value.shape[1] * value.shape[2] for value in sample.values())
            length += len(data)
            where, output = destination.write(targets[row], data)
        coded = Coded(length, positions, "bits per position", output, tuple(files), tuple(dict.fromkeys(all_helpers)))
        return Report(f"{item.name} → {where if single else first_to_last(targets)}  {coded}", value=coded)

    def _helpers(self, data: bytes) -> list[str]:
        """Tensors in a file that nobody asked for."""
        if self._tasks is None:
            return []
        names = [self._codec.task_names[place] for place in _reader_of(data).header.present]
        return [name for name in names if name not in self._tasks]

    def _description(self, item: Item, target: Path, data: bytes, helpers: Sequence[str]) -> Mapping[str, object]:
        """What a file is, for programs."""
        codec, reader = self._codec, _reader_of(data)
        header = reader.header
        names = [codec.task_names[tensor] for tensor in header.present]
        steps = zip(names, header.qualities, strict=True)
        description: dict[str, object] = {
            "file": item.name, "output": str(target), "bytes": len(data),
            "wanted": [name for name in names if name not in helpers], "helpers": list(helpers),
            "quality": {name: step / QUALITY_STEPS_PER_UNIT for name, step in steps},
        }  # fmt: skip
        if header.profile != "compact":  # where one stream holds all, only decoding would tell
            places = zip(names, header.places(header.resolve(codec.graph_tables.listed)), strict=True)
            description["segment_bytes"] = {name: reader.lengths[place] for name, place in places}
        return description


def encoded_paths(destination: Destination, item: Item) -> list[Path]:
    """All files that an input is encoded to: of a shard of features, one for each sample."""
    if is_features(item.path):
        with contextlib.suppress(AtdcError, OSError):  # which reading it says
            return _targets_of_samples(destination, item, len(_samples_of(item)))
    return [destination.of(item, SUFFIX)]


def _targets_of_samples(destination: Destination, item: Item, count: int) -> list[Path]:
    if count == 1 or destination.kind != "folder":
        return [destination.of(item, SUFFIX)] * count
    return [destination.of(item, f".{row:04}{SUFFIX}") for row in range(count)]


def _reader_of(data: bytes) -> ContainerReader:
    """Of a file that was just written, whatever its size."""
    return ContainerReader(data, pixel_limit=1 << 62, position_limit=1 << 62)


def _samples_of(item: Item) -> DumpedFeatures:
    """The features in a file, for weights that code nothing else. What came through a pipe has no ending, and gets the
    one of its first bytes."""
    from atdc.data.dumped import SUFFIXES, DumpedFeatures

    path = item.path
    if path != Path(item.name) and not is_features(path):
        with open(path, "rb") as file:
            kind = ".npz" if file.read(2) == b"PK" else ".safetensors"
        path = path.rename(path.with_suffix(kind))
    if not is_features(path):
        expected = f"features ({' or '.join(SUFFIXES)}), which is all that these weights code"
        cure = "For images, name other weights by --model, or the networks of these by --networks."
        raise ArgumentError(item.name, "a file of another kind, by its name", expected, cure)
    return DumpedFeatures(path)
