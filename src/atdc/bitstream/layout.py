"""The header of an ATDC file as a table: :data:`FIELDS` is read and written row by row; ``docs/bitstream.md`` shows it.

Numbers of several bytes are big-endian; a *varint* is a LEB128 number: seven bits a byte, low bits first, the high bit
set on all bytes but the last, below ``2**32`` and in as few bytes as possible, so that every number has one spelling.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from atdc.errors import (
    ArgumentError,
    CorruptFileError,
    GraphError,
    NotAnAtdcFileError,
    TruncatedFileError,
    UnsupportedVersionError,
)
from atdc.graph.task_graph import TaskGraph

MAGIC = b"ATDC"
FORMAT_VERSION = 1
FORMAT_TITLE = "first container"
KINDS = ("image", "features")
FINGERPRINT_BYTES = 4
CHECKSUM_BYTES = 4
MAX_TASKS = 24
"""Keeps what a hostile file can make the numbering of graphs remember below 100 MB in all."""
MAX_QUALITY_STEP = 56
"""Quality 7 in steps of 1/8."""
SEPARATE_QUALITIES = 255
"""In place of a quality: one byte per task follows."""
VARINT_LIMIT = 1 << 32

_DAMAGED = "Get the file again from its source."


class ByteReader:
    """Walks through bytes and never past their end.

    Args:
        data: the whole file, or its beginning.

    >>> reader = ByteReader(bytes([5, 0x80, 0x02]))
    >>> reader.number("tasks"), reader.number("width"), reader.remaining
    (5, 256, 0)
    """

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.position = 0

    @property
    def remaining(self) -> int:
        """Bytes not read yet."""
        return len(self.data) - self.position

    def take(self, count: int, field: str) -> bytes:
        """The next ``count`` bytes.

        Raises:
            TruncatedFileError: fewer are left.
        """
        if count > self.remaining:
            raise TruncatedFileError(
                f"{field} (byte {self.position})", f"{self.remaining} bytes left", f"{count} bytes", _DAMAGED
            )
        self.position += count
        return self.data[self.position - count : self.position]

    def number(self, field: str) -> int:
        """The next varint.

        Raises:
            TruncatedFileError: the bytes end within it.
            CorruptFileError: it is ``2**32`` or more, or longer than need be.
        """
        start, value, shift = self.position, 0, 0
        while True:
            byte = self.take(1, field)[0]
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
            if shift >= 35:
                raise CorruptFileError(f"{field} (byte {start})", "a number without end", "at most 5 bytes", _DAMAGED)
        if value >= VARINT_LIMIT:
            raise CorruptFileError(f"{field} (byte {start})", str(value), f"a number below {VARINT_LIMIT}", _DAMAGED)
        if byte == 0 and shift > 7:
            raise CorruptFileError(
                f"{field} (byte {start})", f"{value} in {shift // 7} bytes", "as few bytes as possible", _DAMAGED
            )
        return value


def number_bytes(value: int) -> bytes:
    """A varint.

    Raises:
        ArgumentError: not in ``0 .. 2**32 - 1``.

    >>> number_bytes(0).hex(), number_bytes(127).hex(), number_bytes(256).hex()
    ('00', '7f', '8002')
    """
    if not 0 <= value < VARINT_LIMIT:
        raise ArgumentError("number in a file", str(value), f"0 to {VARINT_LIMIT - 1}")
    data = bytearray()
    while value >= 0x80:
        data.append(value & 0x7F | 0x80)
        value >>= 7
    data.append(value)
    return bytes(data)


def graph_bytes(tasks: int, max_parents: int) -> int:
    """Bytes of the graph field: enough for the ranks of all graphs of that many tasks and parents, and no more.

    >>> graph_bytes(6, 2), graph_bytes(1, 0)
    (3, 0)
    """
    return ((TaskGraph.count(tasks, max_parents) - 1).bit_length() + 7) // 8


@dataclass(frozen=True, slots=True)
class Field:
    """One row of the table.

    Attributes:
        name: what errors and documents call it.
        size: its bytes, in words.
        rule: what it holds, and what is refused.
        read: takes the reader and the fields before it; gives the value, or raises a BitstreamError.
        write: takes all values; gives the bytes.
    """

    name: str
    size: str
    rule: str
    read: Callable[[ByteReader, Mapping[str, Any]], Any]
    write: Callable[[Mapping[str, Any]], bytes]


def _read_magic(reader: ByteReader, _: Mapping[str, Any]) -> bytes:
    found = reader.data[: len(MAGIC)]
    if not found or not MAGIC.startswith(found):
        raise NotAnAtdcFileError(
            "file", f"it begins with {found!r}" if found else "0 bytes", f"the magic bytes {MAGIC!r}", "Check the path."
        )
    return reader.take(len(MAGIC), "magic")


def _read_version(reader: ByteReader, _: Mapping[str, Any]) -> int:
    version = reader.take(1, "version")[0]
    if version != FORMAT_VERSION:
        raise UnsupportedVersionError(
            "version", str(version), f"{FORMAT_VERSION} ('{FORMAT_TITLE}')", "Use the release of atdc that wrote it."
        )
    return version


def _read_kind(reader: ByteReader, _: Mapping[str, Any]) -> str:
    kind = reader.take(1, "kind")[0]
    if kind >= len(KINDS):
        known = ", ".join(f"{number} ({name})" for number, name in enumerate(KINDS))
        raise UnsupportedVersionError("kind", str(kind), known, "Use the release of atdc that wrote it.")
    return KINDS[kind]


def _read_within(field: str, least: int, greatest: Callable[[Mapping[str, Any]], int]) -> Callable[..., int]:
    def read(reader: ByteReader, before: Mapping[str, Any]) -> int:
        start = reader.position
        value = reader.number(field)
        if not least <= value <= greatest(before):
            raise CorruptFileError(f"{field} (byte {start})", str(value), f"{least} to {greatest(before)}", _DAMAGED)
        return value

    return read


def _read_quality(reader: ByteReader, before: Mapping[str, Any]) -> tuple[int, ...]:
    first = reader.take(1, "quality")[0]
    separate = first == SEPARATE_QUALITIES
    steps = tuple(reader.take(before["tasks"], "quality")) if separate else (first,) * before["tasks"]
    if max(steps) > MAX_QUALITY_STEP:
        raise CorruptFileError("quality", f"{max(steps)} eighths", f"0 to {MAX_QUALITY_STEP}", _DAMAGED)
    if separate and len(set(steps)) == 1:
        raise CorruptFileError("quality", f"{steps[0]} for each task on its own", "it once for all", _DAMAGED)
    return steps


def _write_quality(values: Mapping[str, Any]) -> bytes:
    steps: tuple[int, ...] = values["quality"]
    return bytes([steps[0]]) if len(set(steps)) == 1 else bytes([SEPARATE_QUALITIES, *steps])


def _read_graph(reader: ByteReader, before: Mapping[str, Any]) -> TaskGraph:
    tasks, max_parents = before["tasks"], before["max_parents"]
    rank = int.from_bytes(reader.take(graph_bytes(tasks, max_parents), "graph"), "big")
    try:
        return TaskGraph.unrank(rank, tasks, max_parents)
    except GraphError as error:
        raise CorruptFileError("graph", f"rank {rank}", error.expected, _DAMAGED) from error


def _write_graph(values: Mapping[str, Any]) -> bytes:
    tasks, max_parents = values["tasks"], values["max_parents"]
    graph: TaskGraph = values["graph"]
    return graph.rank(max_parents).to_bytes(graph_bytes(tasks, max_parents), "big")


def _varint_of(name: str) -> Callable[[Mapping[str, Any]], bytes]:
    return lambda values: number_bytes(values[name])


FIELDS: tuple[Field, ...] = (
    Field("magic", "4", "the letters `ATDC`", _read_magic, lambda values: MAGIC),
    Field("version", "1", "1", _read_version, lambda values: bytes([values["version"]])),
    Field(
        "kind", "1", "0: made from an image; 1: made from features alone",
        _read_kind, lambda values: bytes([KINDS.index(values["kind"])]),
    ),
    Field(
        "fingerprint", "4", "names the weights",
        lambda reader, before: reader.take(FINGERPRINT_BYTES, "fingerprint"), lambda values: values["fingerprint"],
    ),
    Field(
        "tasks", "varint", "number of tasks, 1 to 24",
        _read_within("tasks", 1, lambda before: MAX_TASKS), _varint_of("tasks"),
    ),
    Field(
        "max_parents", "varint", "the most parents a task may have, 0 to tasks - 1",
        _read_within("max_parents", 0, lambda before: before["tasks"] - 1), _varint_of("max_parents"),
    ),
    Field(
        "height", "varint", "of the image, or of the features if kind is 1; at least 1",
        _read_within("height", 1, lambda before: VARINT_LIMIT - 1), _varint_of("height"),
    ),
    Field(
        "width", "varint", "likewise",
        _read_within("width", 1, lambda before: VARINT_LIMIT - 1), _varint_of("width"),
    ),
    Field(
        "quality", "1, or 1 + tasks",
        "eighths, 0 to 56, for all tasks; or 255, then one such byte per task, not all equal",
        _read_quality, _write_quality,
    ),
    Field(
        "graph", "as many as the largest rank needs",
        "rank of the task graph among those of that many tasks and parents, big-endian",
        _read_graph, _write_graph,
    ),
)  # fmt: skip
"""The header, in file order. What follows it has no names: lengths, segments, checksum."""


def write_fields(values: Mapping[str, Any]) -> bytes:
    """The header of checked values, one per row of :data:`FIELDS`."""
    return b"".join(field.write(values) for field in FIELDS)


def read_fields(reader: ByteReader) -> dict[str, Any]:
    """The header's values by name.

    Raises:
        BitstreamError: the class that fits the first field that cannot be read.
    """
    values: dict[str, Any] = {}
    for field in FIELDS:
        values[field.name] = field.read(reader, values)
    return values
