"""Decoding one file. What files have in common is loaded once, in every process that works."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from atdc.bitstream.container import header_of
from atdc.cli.batch import Report, complaint
from atdc.cli.codecs import Codecs
from atdc.cli.destination import Destination, there_before
from atdc.cli.inputs import Item, arriving_bytes, is_arriving, opened
from atdc.errors import AtdcError, BitstreamError, IncompleteFileError
from atdc.tasks import TASK_NAMES

if TYPE_CHECKING:
    from atdc.adapters.network_codec import NetworkCodec
    from atdc.bitstream.sources import Source
    from atdc.codec import FeatureCodec
    from atdc.pipeline import Answers

_OF_FEATURES = (".npz", ".safetensors")
_NOTHING: tuple[str, bytes | None] = ("nothing", None)
"""Where the output is of a file that gives no answer."""


class Decoder:
    """Decodes files: to answers where they were made of images, to tensors where of features.

    With networks, a set of them by name or file, tensors go through their second halves; tasks are networks then.

    What arrives through a pipe or from a server, on its way to a folder, is written answer by answer, and `listener`
    told of each: plain values for JSON. With `all_files`, it is told of all other files' answers, too. The value of a
    report is the bytes for standard output, if that is where they go.
    """

    def __init__(
        self,
        model: str | None,
        device: str,
        tasks: Sequence[str] | None,
        pixel_limit: int,
        destination: Destination,
        listener: Callable[[Item, Mapping[str, object]], None],
        networks: str | None,
        all_files: bool,
    ) -> None:
        self._codecs = Codecs(model, device, networks)  # weights that cannot be used are said once
        self._tasks, self._pixel_limit, self._destination = tasks, pixel_limit, destination
        self._listener, self._has_networks, self._all_files = listener, networks is not None, all_files
        self._suffix = destination.path.suffix.lower()
        destination.prepare()

    def __call__(self, item: Item) -> Report:
        """Decodes a file to its answers."""
        from atdc.report.answer_files import answer_names

        destination = self._destination
        target, to_folder = destination.of(item, ""), destination.kind == "folder"
        names = answer_names(self._tasks or TASK_NAMES)
        is_of_features = self._suffix in _OF_FEATURES  # which may hold some of them: see below
        if not is_of_features and destination.is_done(*([target / name for name in names] if to_folder else [target])):
            return there_before(item, target)
        if to_folder and not self._has_networks and is_arriving(item):
            try:
                with arriving_bytes(item) as source:
                    return self._decode_arriving(item, source)
            except AtdcError as error:
                self._listener(item, {"error": str(error)})
                raise
        with opened(item) as source:
            image_codec, codec, network_codec = self._codecs.of(source)
            if image_codec is None or _holds_features(source):
                return self._decode_features(item, source, codec, network_codec)
            if to_folder and self._tasks is None and destination.is_done():  # what is there may be left
                names = answer_names([codec.task_names[place] for place in header_of(source).present])
                if destination.is_done(*(target / name for name in names)):
                    return there_before(item, target)
            answers = image_codec.decode(source, self._tasks, skip_damaged=True, pixel_limit=self._pixel_limit)
            return self._write_answers(item, source, answers)

    def _write_answers(self, item: Item, source: Source, answers: Answers) -> Report:
        from atdc.report.answer_files import answer_names, answers_as_bytes, write_answers

        destination, target = self._destination, self._destination.of(item, "")
        where, value = _NOTHING
        if answers and destination.kind == "folder":
            write_answers(target, answers, replace=destination.replaces)
            where = f"{target}{os.sep}"
        elif answers:
            count = len(answers) + len(answers.failed)  # damage does not change what a program reads
            kind = self._suffix if destination.kind == "file" else ".npy" if count == 1 else ".zip"
            where, value = destination.write(target, answers_as_bytes(answers, kind, str(target)))
        self._tell(item, answers, {name: [target / file for file in answer_names([name])] for name in answers})
        return _report_of(item, where, answers, source, value)

    def _decode_features(self, item: Item, source: Source, codec: FeatureCodec, cut: NetworkCodec | None) -> Report:
        from atdc.data.dumped import features_as_bytes
        from atdc.pipeline import Answers

        destination, tasks = self._destination, self._tasks
        target = destination.of(item, ".npz")
        names = tasks if cut is None or tasks is None else cut.networks.tensors_of(list(tasks))
        if destination.is_done(target) and (cut is not None or _holds(target, names or _names_in(source, codec))):
            return there_before(item, target)
        answers = _tensors_of(codec, source, names, self._pixel_limit)
        if cut is not None:
            answers = Answers(cut.answers_of(answers), answers.failed, answers.bytes_read)
        where, value = _NOTHING
        if answers:
            kind = self._suffix if destination.kind == "file" else ".npz"
            where, value = destination.write(target, features_as_bytes(answers, kind, str(target)))
        self._tell(item, answers, {name: [target] for name in answers})
        report = _report_of(item, where, answers, source, value)
        return report if cut is None else replace(report, details=tuple(_summaries(answers)))

    def _decode_arriving(self, item: Item, source: Source) -> Report:
        from atdc.data.dumped import features_as_bytes
        from atdc.report.answer_files import write_answers

        destination = self._destination
        image_codec, codec, _ = self._codecs.of(source)
        answers: dict[str, NDArray[Any]] = {}
        failed, events = list[str](), list[dict[str, object]]()
        of_image = image_codec is not None and not _holds_features(source)
        target = destination.of(item, "" if of_image else ".npz")
        if not of_image and destination.is_done(target) and _holds(target, self._tasks or _names_in(source, codec)):
            return there_before(item, target)
        decoding_codec = image_codec if image_codec is not None and of_image else codec
        arrivals = decoding_codec.decode_progressive(source, self._tasks, pixel_limit=self._pixel_limit)
        if arrivals.header.profile == "compact":
            note = "a compact file cannot be decoded in parts: its answers come once it is whole"
            self._listener(item, {"note": note})
        try:
            for name, answer in arrivals:
                answers[name] = answer if isinstance(answer, np.ndarray) else answer.cpu().numpy()
                replaces = destination.replaces
                paths = write_answers(target, {name: answers[name]}, replace=replaces) if of_image else [target]
                outputs = list(map(str, paths))
                events.append({"task": name, "outputs": outputs, "bytes_read": arrivals.bytes_read})
                if of_image:  # features come into one file, when all are there
                    self._listener(item, events[-1])
        except IncompleteFileError as error:
            self._listener(item, {"error": str(error), "missing": list(error.missing)})
            failed.append(complaint(error, item))
        where = f"{target}{os.sep}" if of_image and answers else "nothing"
        if answers and not of_image:
            where, _ = destination.write(target, features_as_bytes(answers, ".npz"))
            for event in events:
                self._listener(item, event)
        where += f"  {', '.join(answers)}" if answers else ""
        return Report(f"{item.name} → {where}; read {arrivals.bytes_read:,} bytes", tuple(failed))

    def _tell(self, item: Item, answers: Answers, outputs: Mapping[str, Sequence[Path]]) -> None:
        """Of the answers in a file that was there as a whole."""
        if not self._all_files:
            return
        for name in answers:
            paths = [str(path) for path in outputs[name]]
            self._listener(item, {"task": name, "outputs": paths, "bytes_read": answers.bytes_read})
        for name, error in answers.failed.items():
            self._listener(item, {"task": name, "error": str(error)})


def _summaries(answers: Answers) -> list[str]:
    """A line for each answer."""
    from atdc.adapters.network_codec import summary

    return [f"{name}: {summary(value)}" for name, value in answers.items()]


def _holds_features(source: Source) -> bool:
    try:
        return header_of(source).kind == "features"
    except BitstreamError:  # whoever decodes it says what is wrong
        return False


def _names_in(source: Source, codec: FeatureCodec) -> list[str]:
    """Of the tensors in a file."""
    return [codec.task_names[place] for place in header_of(source).present]


def _holds(path: Path, names: Sequence[str]) -> bool:
    """Whether a file of features has all of some tensors; one of a damaged file, or of other tasks, has not."""
    from atdc.data.dumped import DumpedFeatures

    try:
        return set(names) <= set(DumpedFeatures(path).names)
    except AtdcError:
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
