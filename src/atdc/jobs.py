"""What the commands do with one input: encode, decode, inspect or verify it. Made anew in every process that works.

Each function here loads what its inputs have in common, and returns what works on one of them.
"""

from __future__ import annotations

import builtins
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from atdc.batch import Report, Work, complaint
from atdc.bitstream.sources import FileSource
from atdc.errors import ArgumentError
from atdc.inputs import Item
from atdc.tasks import TASK_NAMES

if TYPE_CHECKING:
    from atdc.bitstream.sources import Source
    from atdc.inspection import Verification
    from atdc.pipeline import Codec
    from atdc.reader import IntegerReader

SUFFIX = ".atdc"
FILE_LIMIT_BYTES = 256 * 2**20
"""A larger file is not read: no image that this package accepts needs as much."""


class Existing(Enum):
    """What to do where an output is there already."""

    REFUSE = "refuse"
    SKIP = "skip"
    REPLACE = "replace"


@dataclass(frozen=True, slots=True)
class Destination:
    """Where outputs go: below a folder, to the one file of that name, or to standard output."""

    kind: Literal["folder", "file", "stream"]
    path: Path

    def of(self, item: Item, suffix: str) -> Path:
        """The path of an input's output, a file or a folder."""
        return Path(f"{self.path / item.place}{suffix}") if self.kind == "folder" else self.path


@dataclass(frozen=True, slots=True)
class Coded:
    """Length of one file and the pixels it stands for; its bytes, if they go to standard output."""

    bytes: int
    pixels: int
    data: builtins.bytes | None = None


def encoder(
    model: str,
    device: str,
    quality: float,
    task_quality: Mapping[str, float],
    balanced: bool,
    graph: str,
    effort: Literal["normal", "high"],
    profile: Literal["compact", "segments"],
    pixel_limit: int,
    destination: Destination,
    existing: Existing,
) -> Work:
    """Encodes pictures."""
    from PIL import Image

    from atdc.files import write_bytes_unless_others
    from atdc.images import read_image
    from atdc.report.answer_files import make_folder

    Image.MAX_IMAGE_PIXELS = None  # the limit that is told stands before any pixel is decoded
    codec = _load(model, device)
    qualities = (codec.balanced(quality) if balanced else dict.fromkeys(TASK_NAMES, quality)) | dict(task_quality)
    if destination.kind != "stream":
        make_folder(destination.path.parent if destination.kind == "file" else destination.path)

    def work(item: Item) -> Report:
        target = destination.of(item, SUFFIX)
        if existing is Existing.SKIP and destination.kind != "stream" and os.path.isfile(target):
            return Report(f"{item.name} → {target}  there before", skipped=True)
        rgb = read_image(item.path, pixel_limit)
        data = codec.encode(
            rgb, quality=qualities, graph=graph, effort=effort, profile=profile, pixel_limit=pixel_limit
        )
        coded = Coded(len(data), rgb.shape[0] * rgb.shape[1], data if destination.kind == "stream" else None)
        if destination.kind != "stream":
            make_folder(target.parent)
            write_bytes_unless_others(target, data, replace=existing is Existing.REPLACE)
        where = "standard output" if destination.kind == "stream" else str(target)
        line = f"{item.name} → {where}  {coded.bytes:,} bytes, {8 * coded.bytes / coded.pixels:.3f} bpp"
        return Report(line, value=coded)

    return work


def decoder(
    model: str | None,
    device: str,
    tasks: Sequence[str] | None,
    pixel_limit: int,
    destination: Destination,
    existing: Existing,
) -> Work:
    """Decodes files; the value of a report is the bytes for standard output, if that is where they go."""
    from atdc.files import write_bytes_unless_others
    from atdc.report.answer_files import answer_names, answers_as_bytes, make_folder, write_answers
    from atdc.weights import default_model, writer_of

    load = cache(lambda name: _load(name, device))
    if model is not None:
        load(model)  # weights that cannot be used are said once, not for every file
    wanted = tasks or TASK_NAMES
    if destination.kind != "stream":
        make_folder(destination.path.parent if destination.kind == "file" else destination.path)
    suffix = destination.path.suffix.lower()
    if destination.kind == "stream":
        suffix = ".npy" if len(wanted) == 1 else ".zip"

    def work(item: Item) -> Report:
        target = destination.of(item, "")
        outputs = {"folder": [target / name for name in answer_names(wanted)], "file": [target], "stream": []}
        there = outputs[destination.kind]
        if existing is Existing.SKIP and there and all(os.path.isfile(path) for path in there):
            return Report(f"{item.name} → {target}  there before", skipped=True)
        with opened(item.path) as source:
            codec = load(model or writer_of(source) or default_model())
            answers = codec.decode(source, tasks, skip_damaged=True, pixel_limit=pixel_limit)
            reading = f"read {answers.bytes_read:,} of {source.size():,} bytes"
        where, value, replace = "nothing", None, existing is Existing.REPLACE
        if answers and destination.kind == "folder":
            write_answers(target, answers, replace=replace)
            where = f"{target}{os.sep}"
        elif answers:
            data = answers_as_bytes(answers, suffix)
            if destination.kind == "file":
                write_bytes_unless_others(target, data, replace=replace)
                where = str(target)
            else:
                where, value = "standard output", data
        where += f"  {', '.join(answers)}" if answers else ""
        failed = [complaint(f"{task} is not decoded: {error}", item) for task, error in answers.failed.items()]
        return Report(f"{item.name} → {where}; {reading}", tuple(failed), value)

    return work


def inspector(model: str | None, pixel_limit: int) -> Work:
    """Looks into files; the value of a report is an :class:`~atdc.inspection.Inspection`."""
    from atdc.inspection import inspect

    integers_of = _integers_at_hand(model)

    def work(item: Item) -> Report:
        with opened(item.path) as source:
            return Report("", value=inspect(source, integers_of(source), pixel_limit=pixel_limit))

    return work


def verifier(model: str | None, pixel_limit: int) -> Work:
    """Checks files; the value of a report is a :class:`~atdc.inspection.Verification` as plain values."""
    from atdc.inspection import Verification, verify

    integers_of = _integers_at_hand(model)

    def work(item: Item) -> Report:
        try:
            with opened(item.path) as source:
                seen = verify(source, integers_of(source), pixel_limit=pixel_limit)
        except ArgumentError as error:  # it cannot be read: one of the things that can be wrong with a file
            seen = Verification((error,))
        problems = tuple(complaint(problem, item) for problem in seen.problems)
        return Report(f"{item.name}: ok; {_what_was_checked(seen)}" if seen.ok else "", problems, seen.to_json())

    return work


@contextmanager
def opened(path: Path) -> Iterator[FileSource]:
    """A file to be read by range."""
    with FileSource(path) as source:
        if source.size() > FILE_LIMIT_BYTES:
            limit = f"at most {FILE_LIMIT_BYTES:,} bytes"
            raise ArgumentError(str(path), f"{source.size():,} bytes", limit, "Check the path.")
        yield source


def _load(model: str, device: str) -> Codec:
    from atdc.pipeline import load

    return load(model).to(device)


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


def _what_was_checked(seen: Verification) -> str:
    if seen.decoded:
        return f"checked: header, checks, and all integers with the weights {seen.fingerprint}"
    return f"checked: header and checks; for the integers, name the weights {seen.fingerprint} with --model"
