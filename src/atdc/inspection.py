"""What a file says about itself, and whether it is whole: with the weights that wrote it, and without.

Nothing here imports torch.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

from atdc.bitstream import container
from atdc.bitstream.container import PIXEL_LIMIT, ContainerReader, Header
from atdc.bitstream.sources import FileLike, Source, opened
from atdc.config import QUALITY_STEPS_PER_UNIT, pixel_limit_of
from atdc.errors import AtdcError, BitstreamError
from atdc.graph.task_graph import TaskGraph
from atdc.reader import IntegerReader
from atdc.tensors import Grid


@dataclass(frozen=True, slots=True)
class Inspection:
    """What a file says about itself.

    Attributes:
        bytes: its length.
        bpp: bits per pixel of the image, ``8 * bytes / (height * width)``; for bare features, per position of all
            tensors together, None where their grids are not known.
        ideal_bits: −Σ log₂ of the probabilities the range coder was given; None without the weights.
        quality: 0 to 7 by task; tasks have numbers for names without the weights.
        graph: child to parents; None where the file names a graph of the weights' list and they are not at hand.
        graph_number: the graph's number in the weights' list, from 0; None for a graph that is spelled out.
        tasks: by task, the segment's ``bytes`` (profile ``segments``) and ``ideal_bits`` (with the weights).
        framing_bytes: what is not range-coded.
        grids: by task, (height, width) of its features, positions; None where the weights must tell.
        height: of the image, pixels; of features that are all alike, positions; 0 for others.
        width: likewise.
        kind: ``image`` or ``features``.
        profile: ``compact``, ``segments`` or ``ordered``.
        first: of an ``ordered`` file, the tensors whose segments come first; a reader may stop after them.
        fingerprint: of the weights that can read it, hexadecimal.
        version: of the format.
    """

    bytes: int
    bpp: float | None
    ideal_bits: float | None
    quality: dict[str, float]
    graph: dict[str, list[str]] | None
    graph_number: int | None
    tasks: dict[str, dict[str, float]]
    framing_bytes: int
    grids: dict[str, list[int]] | None
    height: int
    width: int
    kind: str
    profile: str
    first: list[str]
    fingerprint: str
    version: int

    def to_json(self) -> str:
        """One JSON object: every attribute under its own name, in the order above, whatever the file and weights.

        None is ``null``. The entries of ``tasks`` are objects, in task order; of their keys ``bytes`` and
        ``ideal_bits`` those are there whose values are known, so both, one or none.

        >>> two_tasks = bytes.fromhex("4154444312 61626364 02 8002 00 20 00 01 00030aff 626f7468")
        >>> values = json.loads(inspect(two_tasks).to_json())
        >>> values["bytes"], values["profile"], values["graph"], values["tasks"], values["ideal_bits"]
        (24, 'compact', {'0': [], '1': ['0']}, {'0': {}, '1': {}}, None)
        """
        return json.dumps(dataclasses.asdict(self), indent=1)


def inspect(source: FileLike, integers: IntegerReader | None = None, *, pixel_limit: int = PIXEL_LIMIT) -> Inspection:
    """Sizes, qualities and graph of a file. Whatever is said of it has been checked.

    Args:
        source: the file, in whatever :func:`~atdc.bitstream.sources.opened` takes. Without its weights only its head
            is read, but all of a ``compact`` file: no smaller part of it has a check.
        integers: of the weights that the file names: tasks and graph get their names, and ideal bits are counted.
            Those of other weights are of no use and left aside.
        pixel_limit: refuse larger images.

    Raises:
        BitstreamError: not an ATDC file, or damaged.

    >>> two_tasks = bytes.fromhex("4154444312 61626364 02 8002 00 20 00 01 00030aff 626f7468")
    >>> seen = inspect(two_tasks)
    >>> seen.height, seen.width, seen.quality, seen.framing_bytes, seen.fingerprint
    (256, 256, {'0': 4.0, '1': 4.0}, 20, '61626364')
    """
    with opened(source) as whole:
        return _inspection(whole, integers, pixel_limit_of(pixel_limit))


def _inspection(source: Source, integers: IntegerReader | None, pixel_limit: int) -> Inspection:
    reader = ContainerReader(source, pixel_limit=pixel_limit)
    reader.check_end()
    header = reader.header
    if header.profile == "compact":
        reader.segment(0)
    names = [str(task) for task in header.present]
    graph = header.graph if isinstance(header.graph, TaskGraph) else None
    bits, grids = None, _grids_of(header)
    if integers is not None and integers.fingerprint == header.fingerprint:
        decoded = integers.read(source, pixel_limit=pixel_limit)
        names, bits = [integers.task_names[task] for task in header.present], decoded.bits[list(header.present)]
        graph = decoded.graph.among(header.present)
        grids = [decoded.grids[task] for task in header.present]
    places = header.places(graph) if graph is not None else None
    if places is None and header.version == 1:
        places = tuple(range(len(names)))  # segments of version 1 are in index order, whatever the graph
    tasks: dict[str, dict[str, float]] = {name: {} for name in names}
    for index, name in enumerate(names):
        if header.profile != "compact" and places is not None:
            tasks[name]["bytes"] = reader.lengths[places[index]]
        if bits is not None:
            tasks[name]["ideal_bits"] = round(float(bits[index]), 2)
    size = source.size()
    positions = sum(height * width for height, width in grids or ())
    if header.kind == "image":
        positions = header.height * header.width
    return Inspection(
        bytes=size,
        bpp=8 * size / positions if positions else None,
        ideal_bits=None if bits is None else round(float(bits.sum()), 2),
        quality={name: step / QUALITY_STEPS_PER_UNIT for name, step in zip(names, header.qualities, strict=True)},
        graph=None
        if graph is None
        else {names[child]: [names[p] for p in parents] for child, parents in enumerate(graph.parents)},
        graph_number=None if isinstance(header.graph, TaskGraph) else header.graph,
        tasks=tasks,
        framing_bytes=size - sum(reader.lengths),
        grids=None if grids is None else {name: list(grid) for name, grid in zip(names, grids, strict=True)},
        height=header.height,
        width=header.width,
        kind=header.kind,
        profile=header.profile,
        first=[names[header.present.index(tensor)] for tensor in header.first],
        fingerprint=header.fingerprint.hex(),
        version=header.version,
    )


def _grids_of(header: Header) -> list[Grid] | None:
    """Of the tensors present, as far as the file alone says."""
    if header.kind == "features" and header.height:
        return [(header.height, header.width)] * len(header.present)
    return list(header.grids) if len(header.grids) == len(header.present) else None


@dataclass(frozen=True, slots=True)
class Verification:
    """Whether a file is whole.

    Attributes:
        problems: all that is wrong, by place in the file; what only its integers show comes last.
        decoded: whether integers were decoded, those of all whole segments, and compared with their checks; otherwise
            only bytes were.
        fingerprint: of the weights that can read it, hexadecimal; None if the head is damaged.
    """

    problems: tuple[AtdcError, ...]
    decoded: bool = False
    fingerprint: str | None = None

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems

    def to_json(self) -> dict[str, object]:
        """Plain values for JSON: ``ok``, ``decoded``, ``fingerprint`` and ``problems``.

        Each problem is an object of the strings ``error`` (the class), ``where``, ``found``, ``expected``, ``cure``.

        >>> verify(b"GIF89a").to_json()["problems"][0]["error"]
        'NotAnAtdcFileError'
        """
        problems = [
            {"error": type(p).__name__, "where": p.where, "found": p.found, "expected": p.expected, "cure": p.cure}
            for p in self.problems
        ]
        return {"ok": self.ok, "decoded": self.decoded, "fingerprint": self.fingerprint, "problems": problems}


def verify(source: FileLike, integers: IntegerReader | None = None, *, pixel_limit: int = PIXEL_LIMIT) -> Verification:
    """Checks everything that can be checked, and resumes after what is damaged.

    Args:
        source: the file, in whatever :func:`~atdc.bitstream.sources.opened` takes.
        integers: of the weights that the file names: all integers are decoded, compared with their checks, and their
            bytes with those that a writer would write. Without them header, checks and end are looked at.
        pixel_limit: refuse larger images.

    >>> two_tasks = bytes.fromhex("4154444312 61626364 02 8002 00 20 00 01 00030aff 626f7468")
    >>> verify(two_tasks)
    Verification(problems=(), decoded=False, fingerprint='61626364')
    >>> print(verify(two_tasks[:-1]).problems[0])
    header or payload: found check 0aff; expected ... for these bytes. Get the file again from its source.
    """
    with opened(source) as whole:
        return _verification(whole, integers, pixel_limit_of(pixel_limit))


def _verification(source: Source, integers: IntegerReader | None, pixel_limit: int) -> Verification:
    verification = container.verify(source, pixel_limit=pixel_limit)
    if verification.header is None:
        return Verification(verification.problems)
    fingerprint = verification.header.fingerprint.hex()
    if integers is None or integers.fingerprint != verification.header.fingerprint:
        return Verification(verification.problems, False, fingerprint)
    if verification.header.profile == "compact" and verification.problems:  # nothing of it is decoded
        return Verification(verification.problems, False, fingerprint)
    decoded, further = _decoded(source, integers, pixel_limit)
    problems, names = [*verification.problems, *further], _names_by_place(verification.header, integers)
    named = {str(error): error for error in (_with_task_name(error, names) for error in problems)}
    return Verification(tuple(named.values()), decoded, fingerprint)  # by text: damaged bytes are met twice


def _decoded(source: Source, integers: IntegerReader, pixel_limit: int) -> tuple[bool, list[BitstreamError]]:
    """Whether any integers were decoded, and what is wrong with them or keeps them from being decoded."""
    try:
        read = integers.read(source, skip_damaged=True, pixel_limit=pixel_limit)
    except BitstreamError as error:
        return error.where == "payload", [error]
    # A task that only lacks a parent has nothing wrong of its own.
    return bool(read.bits.any()), [
        error for task, error in read.failed.items() if not set(read.graph.parents[task]) & set(read.failed)
    ]


def _names_by_place(header: Header, integers: IntegerReader) -> tuple[str, ...]:
    """Whose each segment is; empty if that cannot be said."""
    if header.tensor_count != len(integers.task_names):
        return ()
    try:
        places = header.places(header.resolve(integers.listed))
    except BitstreamError:  # the graph is a problem of its own
        if header.version == 2:
            return ()
        places = tuple(range(header.present_count))
    return tuple(integers.task_names[task] for _, task in sorted(zip(places, header.present, strict=True)))


def _with_task_name(error: BitstreamError, names: Sequence[str]) -> BitstreamError:
    """The same error of ``segment of rgb`` where it speaks of ``segment 5``."""
    segment = re.match(r"segment (\d+)", error.where)
    if segment is None or not names:
        return error
    where = f"segment of {names[int(segment[1])]}{error.where[segment.end() :]}"
    return type(error)(where, error.found, error.expected, error.cure)
