"""What the commands do with one input: encode, decode, inspect or verify it. Made again in every process that works.

Each function here loads what its inputs have in common, and returns what works on one of them.
"""

from __future__ import annotations

import builtins
import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import Enum
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from atdc.bitstream import sources
from atdc.bitstream.container import ContainerReader
from atdc.bitstream.sources import is_url
from atdc.cli.batch import Report, Work, complaint, warnings_as_lines
from atdc.cli.inputs import Item, arriving_bytes, is_arriving
from atdc.config import QUALITY_STEPS_PER_UNIT
from atdc.errors import ArgumentError, AtdcError, BitstreamError, IncompleteFileError
from atdc.files import make_folder, write_bytes_unless_others
from atdc.tasks import TASK_NAMES

if TYPE_CHECKING:
    from atdc.adapters.network_codec import NetworkCodec
    from atdc.bitstream.sources import Source
    from atdc.codec import FeatureCodec
    from atdc.data.dumped import DumpedFeatures
    from atdc.inspection import Verification
    from atdc.pipeline import Answers, Codec
    from atdc.reader import IntegerReader

SUFFIX = ".atdc"
_NOTHING: tuple[str, bytes | None] = ("nothing", None)
"""Where the output is of a file that gives no answer."""
FILE_LIMIT_BYTES = 256 * 2**20
"""A larger file is not read: no image that this package accepts needs as much."""


class Existing(Enum):
    """What to do where an output is there already."""

    REFUSE = "refuse"
    SKIP = "skip"
    REPLACE = "replace"


def tensor_names(model: str) -> tuple[str, ...]:
    """What weights code.

    Raises:
        WeightsError: no such weights, or a damaged file.
    """
    from atdc.weights import open_weights

    return open_weights(model).task_names


@dataclass(frozen=True, slots=True)
class Destination:
    """Where outputs go: below a folder, to the one file of that name, or to standard output."""

    kind: Literal["folder", "file", "stream"]
    path: Path
    existing: Existing

    @property
    def replaces(self) -> bool:
        """Outputs with other content give way."""
        return self.existing is Existing.REPLACE

    def prepare(self) -> None:
        """Makes the folder that outputs go to.

        Raises:
            OutputError: it cannot be made.
        """
        if self.kind != "stream":
            make_folder(self.path.parent if self.kind == "file" else self.path)

    def of(self, item: Item, suffix: str) -> Path:
        """The path of an input's output, a file or a folder."""
        return Path(f"{self.path / item.place}{suffix}") if self.kind == "folder" else self.path

    def is_done(self, *targets: Path) -> bool:
        """All outputs of an input are there, and those that are there are to be left."""
        return self.existing is Existing.SKIP and self.kind != "stream" and all(map(os.path.isfile, targets))

    def write(self, target: Path, data: bytes) -> tuple[str, bytes | None]:
        """Writes an output; where it is, in words, and what is left to be sent to standard output.

        Raises:
            OutputError: it cannot be written, or another file is there.
        """
        if self.kind == "stream":
            return "standard output", data
        make_folder(target.parent)
        write_bytes_unless_others(target, data, replace=self.replaces)
        return str(target), None


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


def is_features(path: Path) -> bool:
    """Whether a file holds features, by its name."""
    from atdc.data.dumped import SUFFIXES

    return path.suffix.lower() in SUFFIXES


@cache
def codes_images(model: str) -> bool:
    """Whether weights have networks that make features of images, and answers of features.

    Raises:
        WeightsError: no such weights, or a damaged file.
    """
    from atdc.weights import open_weights

    return bool(open_weights(model).arrays("tasks."))


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


def encoder(
    model: str,
    device: str,
    networks: str | None,
    request: Request,
    pixel_limit: int,
    destination: Destination,
    as_json: bool,
) -> Work:
    """Encodes images, and files of features as they are; for some tasks or tensors alone, if they are named.

    With networks, a set of them by name or file, images are encoded as the tensors at their cuts. `as_json` also
    tells what the files are.
    """
    from PIL import Image

    from atdc.images import read_image

    Image.MAX_IMAGE_PIXELS = None  # the limit that is told stands before any pixel is decoded
    images, features = _load(model, device)
    cut = None if networks is None else _cut_networks(networks, features, model)
    if cut is not None:
        request = request.of_tensors(cut.networks.tensors_among)
    tasks = request.tasks
    if tasks is not None:
        features.tensors.wanted(tasks)  # names that cannot be used are said once, not for every file
        options = (("--first", request.first), ("--weight", request.weights), ("--task-quality", request.task_quality))
        for option, names in options:
            for name in names:
                if name not in tasks:
                    raise ArgumentError(option, repr(name), f"one of --tasks: {', '.join(tasks)}")
    settings: dict[str, Any] = {
        "graph": request.graph, "effort": request.effort, "profile": request.profile, "first": request.first,
    }  # fmt: skip
    qualities: dict[str, float] | None = None
    if request.max_bytes is not None:
        settings |= {"max_bytes": request.max_bytes, "weights": dict(request.weights)}
    else:
        usual = dict.fromkeys(features.task_names, request.quality)
        qualities = (features.balanced(request.quality) if request.balanced else usual) | dict(request.task_quality)
    steps = None if qualities is None else [qualities[name] for name in features.task_names]
    destination.prepare()

    def file_of(rgb: NDArray[np.uint8], name: str) -> bytes:
        if cut is not None:
            return features.encode(cut.networks.features(rgb, name), steps, wanted=tasks, **settings)
        assert images is not None
        return images.encode(rgb, qualities, tasks=tasks, pixel_limit=pixel_limit, **settings)

    def encode_image(item: Item) -> Report:
        target = destination.of(item, SUFFIX)
        if destination.is_done(target):
            return _there_before(item, target)
        rgb = read_image(item.path, pixel_limit)
        with warnings_as_lines(item.name):
            data = file_of(rgb, item.name)
        files = (_told_of(item, target, data, features, tasks),) if as_json else ()
        helpers = tuple(_helpers(data, features, tasks))
        where, output = destination.write(target, data)
        coded = Coded(len(data), rgb.shape[0] * rgb.shape[1], "bpp", output, files, helpers)
        return Report(f"{item.name} → {where}  {coded}", value=coded)

    def encode_features(item: Item) -> Report:
        samples = _samples_of(item)
        single = len(samples) == 1
        if not single and destination.kind != "folder":
            raise ArgumentError(
                item.name, f"a shard of {len(samples):,} samples", "one sample for one output",
                "Name a folder with -o: each sample gets a file there.",
            )  # fmt: skip
        targets = _targets_of_samples(destination, item, len(samples))
        todo = [row for row, target in enumerate(targets) if not destination.is_done(target)]
        if not todo:
            return _there_before(item, *targets)
        length = positions = 0
        files: list[Mapping[str, object]] = []
        helpers: list[str] = []
        for row in todo:
            sample = samples.read(row)
            with warnings_as_lines(item.name if single else f"{item.name}, sample {row}"):
                data = features.encode(sample, steps, wanted=tasks, **settings)
            files += [_told_of(item, targets[row], data, features, tasks)] if as_json else []
            helpers += _helpers(data, features, tasks)
            positions += sum(value.shape[1] * value.shape[2] for value in sample.values())
            length += len(data)
            where, output = destination.write(targets[row], data)
        coded = Coded(length, positions, "bits per position", output, tuple(files), tuple(dict.fromkeys(helpers)))
        return Report(f"{item.name} → {where if single else _first_to_last(targets)}  {coded}", value=coded)

    def work(item: Item) -> Report:
        of_features = is_features(item.path) or (images is None and cut is None)
        return encode_features(item) if of_features else encode_image(item)

    return work


def _there_before(item: Item, *targets: Path) -> Report:
    """Of an input that is left out."""
    return Report(f"{item.name} → {_first_to_last(targets)}  there before", skipped=True)


def _first_to_last(targets: Sequence[Path]) -> str:
    return str(targets[0]) if len(targets) == 1 else f"{targets[0]} … {targets[-1].name}"


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


def decoder(
    model: str | None,
    device: str,
    tasks: Sequence[str] | None,
    pixel_limit: int,
    destination: Destination,
    listener: Callable[[Item, Mapping[str, object]], None],
    networks: str | None,
    all_files: bool,
) -> Work:
    """Decodes files: to answers where they were made of images, to tensors where of features.

    With networks, a set of them by name or file, tensors go through their second halves; tasks are networks then.

    What arrives through a pipe or from a server, on its way to a folder, is written answer by answer, and `listener`
    told of each: plain values for JSON. With `all_files`, it is told of all other files' answers, too. The value of a
    report is the bytes for standard output, if that is where they go.
    """
    from atdc.data.dumped import features_as_bytes
    from atdc.pipeline import Answers
    from atdc.report.answer_files import answer_names, answers_as_bytes, write_answers
    from atdc.weights import default_model, writer_of

    load = cache(lambda name: _load(name, device))
    if model is not None:
        load(model)  # weights that cannot be used are said once, not for every file
    cut_by = cache(lambda name: None if networks is None else _cut_networks(networks, load(name)[1], name))
    wanted = tasks or TASK_NAMES
    destination.prepare()
    suffix = destination.path.suffix.lower()

    def tell(item: Item, answers: Answers, outputs: Mapping[str, Sequence[Path]]) -> None:
        for name in answers if all_files else ():
            paths = [str(path) for path in outputs[name]]
            listener(item, {"task": name, "outputs": paths, "bytes_read": answers.bytes_read})
        for name, error in answers.failed.items() if all_files else ():
            listener(item, {"task": name, "error": str(error)})

    def decode_features(item: Item, source: Source, codec: FeatureCodec, cut: NetworkCodec | None) -> Report:
        target = destination.of(item, ".npz")
        if destination.is_done(target):
            return _there_before(item, target)
        named = tasks if cut is None or tasks is None else cut.networks.tensors_of(list(tasks))
        answers = _tensors_of(codec, source, named, pixel_limit)
        if cut is not None:
            answers = Answers(cut.answers_of(answers), answers.failed, answers.bytes_read)
        where, value = _NOTHING
        if answers:
            data = features_as_bytes(answers, suffix if destination.kind == "file" else ".npz", str(target))
            where, value = destination.write(target, data)
        tell(item, answers, {name: [target] for name in answers})
        report = _report_of(item, where, answers, source, value)
        return report if cut is None else replace(report, details=tuple(_summaries(answers)))

    def decode_as_it_comes(item: Item, source: Source) -> Report:
        images, features = load(model or writer_of(source) or default_model())
        answers: dict[str, NDArray[Any]] = {}
        failed: list[str] = []
        of_image = images is not None and not _holds_features(source)
        target = destination.of(item, "" if of_image else ".npz")
        if not of_image and destination.is_done(target):
            return _there_before(item, target)
        decoder = images if images is not None and of_image else features
        arrivals = decoder.decode_progressive(source, tasks, pixel_limit=pixel_limit)
        if arrivals.header.profile == "compact":
            listener(item, {"note": "a compact file cannot be decoded in parts: its answers come once it is whole"})
        try:
            for name, answer in arrivals:
                answers[name] = answer if isinstance(answer, np.ndarray) else answer.cpu().numpy()
                replaces = destination.replaces
                paths = write_answers(target, {name: answers[name]}, replace=replaces) if of_image else []
                listener(item, {"task": name, "outputs": list(map(str, paths)), "bytes_read": arrivals.bytes_read})
        except IncompleteFileError as error:
            listener(item, {"error": str(error), "missing": list(error.missing)})
            failed.append(complaint(error, item))
        where = f"{target}{os.sep}" if of_image and answers else "nothing"
        if answers and not of_image:
            where, _ = destination.write(target, features_as_bytes(answers, ".npz"))
        where += f"  {', '.join(answers)}" if answers else ""
        return Report(f"{item.name} → {where}; read {arrivals.bytes_read:,} bytes", tuple(failed))

    def work(item: Item) -> Report:
        target = destination.of(item, "")
        outputs = [target / name for name in answer_names(wanted)] if destination.kind == "folder" else [target]
        if destination.is_done(*outputs):
            return _there_before(item, target)
        if networks is None and destination.kind == "folder" and is_arriving(item):
            try:
                with arriving_bytes(item) as source:
                    return decode_as_it_comes(item, source)
            except AtdcError as error:
                listener(item, {"error": str(error)})
                raise
        with opened(item) as source:
            name = model or writer_of(source) or default_model()
            images, features = load(name)
            if images is None or _holds_features(source):
                return decode_features(item, source, features, cut_by(name))
            answers = images.decode(source, tasks, skip_damaged=True, pixel_limit=pixel_limit)
            where, value = _NOTHING
            if answers and destination.kind == "folder":
                write_answers(target, answers, replace=destination.replaces)
                where = f"{target}{os.sep}"
            elif answers:
                kind = suffix if destination.kind == "file" else ".npy" if len(answers) == 1 else ".zip"
                where, value = destination.write(target, answers_as_bytes(answers, kind, str(target)))
            tell(item, answers, {name: [target / file for file in answer_names([name])] for name in answers})
            return _report_of(item, where, answers, source, value)

    return work


def inspector(model: str | None, pixel_limit: int) -> Work:
    """Looks into files; the value of a report is an :class:`~atdc.inspection.Inspection`."""
    from atdc.inspection import inspect

    quantised_model = _integers_at_hand(model)

    def work(item: Item) -> Report:
        with opened(item) as source:
            return Report("", value=inspect(source, quantised_model(source), pixel_limit=pixel_limit))

    return work


def verifier(model: str | None, pixel_limit: int) -> Work:
    """Checks files; the value of a report is a :class:`~atdc.inspection.Verification` as plain values."""
    from atdc.inspection import Verification, verify

    quantised_model = _integers_at_hand(model)

    def work(item: Item) -> Report:
        try:
            with opened(item) as source:
                verification = verify(source, quantised_model(source), pixel_limit=pixel_limit)
        except ArgumentError as error:  # it cannot be read: one of the things that can be wrong with a file
            verification = Verification((error,))
        problems = tuple(complaint(problem, item) for problem in verification.problems)
        checked = _what_was_checked(verification, model)
        return Report(f"{item.name}: ok; {checked}" if verification.ok else "", problems, verification.to_json())

    return work


@contextmanager
def opened(item: Item) -> Iterator[Source]:
    """A file to be read by range, on the disk or on a server."""
    with sources.opened(item.name if is_url(item.name) else item.path) as source:
        if source.size() > FILE_LIMIT_BYTES:
            limit = f"at most {FILE_LIMIT_BYTES:,} bytes"
            raise ArgumentError(item.name, f"{source.size():,} bytes", limit, "Check the path.")
        yield source


def _load(model: str, device: str) -> tuple[Codec | None, FeatureCodec]:
    """The codec of images, None where the weights have no networks for them, and that of their features."""
    from atdc import pipeline
    from atdc.codec import FeatureCodec

    if not codes_images(model):
        return None, FeatureCodec.load(model).to(device)
    codec = pipeline.load(model).to(device)
    return codec, codec.feature_codec


def _cut_networks(networks: str, features: FeatureCodec, model: str) -> NetworkCodec:
    """Networks with the codec of their features."""
    from atdc.adapters.network_codec import NetworkCodec
    from atdc.adapters.network_set import load_networks

    return NetworkCodec(load_networks(networks), features, f"weights {model}")


def _summaries(answers: Answers) -> list[str]:
    """A line for each answer."""
    from atdc.adapters.network_codec import summary

    return [f"{name}: {summary(value)}" for name, value in answers.items()]


def _reader_of(data: bytes) -> ContainerReader:
    """Of a file that was just written, whatever its size."""
    return ContainerReader(data, pixel_limit=len(data) << 40, position_limit=len(data) << 40)


def _helpers(data: bytes, codec: FeatureCodec, tasks: Sequence[str] | None) -> list[str]:
    """Tensors in a file that nobody asked for."""
    if tasks is None:
        return []
    names = [codec.task_names[place] for place in _reader_of(data).header.present]
    return [name for name in names if name not in tasks]


def _told_of(
    item: Item, target: Path, data: bytes, codec: FeatureCodec, tasks: Sequence[str] | None
) -> Mapping[str, object]:
    """What a file is, for programs."""
    reader = _reader_of(data)
    header, helpers = reader.header, _helpers(data, codec, tasks)
    names = [codec.task_names[tensor] for tensor in header.present]
    description: dict[str, object] = {
        "file": item.name, "output": str(target), "bytes": len(data),
        "wanted": [name for name in names if name not in helpers], "helpers": helpers,
        "quality": {name: step / QUALITY_STEPS_PER_UNIT for name, step in zip(names, header.qualities, strict=True)},
    }  # fmt: skip
    if header.profile != "compact":  # where one stream holds all, only decoding would tell
        places = header.places(header.resolve(codec.graph_tables.listed))
        description["segment_bytes"] = {name: reader.lengths[place] for name, place in zip(names, places, strict=True)}
    return description


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


def _holds_features(source: Source) -> bool:
    try:
        return ContainerReader(source).header.kind == "features"
    except BitstreamError:  # whoever decodes it says what is wrong
        return False


def _tensors_of(codec: FeatureCodec, source: Source, tasks: Sequence[str] | None, pixel_limit: int) -> Answers:
    """A file's features by name, those that are whole."""
    from atdc.pipeline import Answers

    named = None if tasks is None else codec.task_indices(tasks)
    file = codec.integers.read(source, named, skip_damaged=True, pixel_limit=pixel_limit)
    wanted = file.present if named is None else named
    whole = [tensor for tensor in wanted if tensor not in file.failed]
    restored = codec.restore([file], whole)
    values = {codec.task_names[tensor]: restored[tensor][0].cpu().numpy() for tensor in whole}
    failed = {codec.task_names[tensor]: file.failed[tensor] for tensor in wanted if tensor in file.failed}
    return Answers(values, failed, file.bytes_read)


def _report_of(item: Item, where: str, answers: Answers, source: Source, value: bytes | None) -> Report:
    """What was decoded, and what was not."""
    where += f"  {', '.join(answers)}" if answers else ""
    failed = [complaint(f"{task} is not decoded: {error}", item) for task, error in answers.failed.items()]
    line = f"{item.name} → {where}; read {answers.bytes_read:,} of {source.size():,} bytes"
    return Report(line, tuple(failed), value)


def _integers_at_hand(model: str | None) -> Callable[[Source], IntegerReader | None]:
    """What reads a file's integers: the weights of that name; without a name, the shipped ones that wrote it."""
    from atdc.weights import open_weights, writer_of

    reader = cache(lambda name: open_weights(name).integers())
    if model is not None:
        reader(model)  # weights that cannot be used are said at once

    def of(source: Source) -> IntegerReader | None:
        name = model or writer_of(source)
        return None if name is None else reader(name)

    return of


def _what_was_checked(verification: Verification, model: str | None) -> str:
    if verification.decoded:
        return f"checked: header, checks, and all integers with the weights {verification.fingerprint}"
    if model is not None:
        return (
            f"checked: header and checks; not the integers: not {model}, "
            f"but the weights {verification.fingerprint} wrote it"
        )
    return f"checked: header and checks; for the integers, name the weights {verification.fingerprint} with --model"
