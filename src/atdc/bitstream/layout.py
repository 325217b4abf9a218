"""The header of an ATDC file as a table: :data:`FIELDS` is read and written row by row; ``docs/bitstream.md`` shows it.

Numbers of several bytes are big-endian; a *varint* is a LEB128 number: seven bits a byte, low bits first, the high bit
set on all bytes but the last, below ``2**32`` and in as few bytes as possible, so that every number has one spelling.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from atdc.bitstream.sources import Source
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
PROFILES = ("segments", "compact")
KINDS = ("image", "features")
FINGERPRINT_BYTES = 4
MAX_TASKS = 1024
"""Any number that makes sense; it bounds what a hostile header can cost."""
MAX_RANKED_TASKS = 24
"""The most tasks whose graph is sent as a rank: its sums cost a reader a megabyte and some milliseconds."""
MAX_QUALITY_STEP = 56
"""Quality 7 in steps of 1/8."""
SEPARATE_QUALITIES = 255
"""In place of a quality: one byte per task follows."""
VARINT_LIMIT = 1 << 32
MAX_LISTED_NUMBER = VARINT_LIMIT - 2
"""The graph field holds one more than the number, and 0 for a graph that is not listed."""

DAMAGED = "Get the file again from its source."
"""The cure for most of what can be wrong with a file."""
_OTHER_RELEASE = "Use the release of atdc that wrote it."

_FIRST_READ = 64
"""Bytes: the whole head of a file of six tasks."""


class ByteReader:
    """Walks through a source from its start, fetching a little at a time, and never past its end.

    Args:
        source: the file.

    Attributes:
        data: all bytes fetched so far, from the first.
        position: of the next byte.

    >>> from atdc.bitstream.sources import BytesSource
    >>> reader = ByteReader(BytesSource(bytes([5, 0x80, 0x02])))
    >>> reader.number("tasks"), reader.number("width"), reader.position
    (5, 256, 3)
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._size = source.size()
        self.data = b""
        self.position = 0

    def peek(self, count: int) -> bytes:
        """The next ``count`` bytes, or as many as there are, without moving on."""
        have, end = len(self.data), self.position + count
        if end > have:
            # Twice as many each time, so that even a long head takes few trips.
            goal = min(max(end, 2 * have, _FIRST_READ), self._size)
            if goal > have:
                self.data += self._source.read(have, goal - have)
        return self.data[self.position : end]

    def take(self, count: int, field: str) -> bytes:
        """The next ``count`` bytes.

        Raises:
            TruncatedFileError: fewer are left.
        """
        data = self.peek(count)
        if len(data) < count:
            raise TruncatedFileError(
                f"{field} (byte {self.position})", f"{len(data)} bytes left", f"{count} bytes", DAMAGED
            )
        self.position += count
        return data

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
                raise CorruptFileError(f"{field} (byte {start})", "a number without end", "at most 5 bytes", DAMAGED)
        if value >= VARINT_LIMIT:
            raise CorruptFileError(f"{field} (byte {start})", str(value), f"a number below {VARINT_LIMIT}", DAMAGED)
        if byte == 0 and shift > 7:
            raise CorruptFileError(
                f"{field} (byte {start})", f"{value} in {shift // 7} bytes", "as few bytes as possible", DAMAGED
            )
        return value

    def number_within(self, field: str, least: int, greatest: int) -> int:
        """The next varint, which lies in a range.

        Raises:
            BitstreamError: as :meth:`number`, or CorruptFileError because it lies elsewhere.
        """
        start = self.position
        value = self.number(field)
        if not least <= value <= greatest:
            raise CorruptFileError(f"{field} (byte {start})", str(value), f"{least} to {greatest}", DAMAGED)
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


def rank_bytes(tasks: int) -> int:
    """Bytes of a graph's rank: enough for the ranks of all graphs of that many tasks, and no more.

    >>> rank_bytes(1), rank_bytes(6), rank_bytes(24)
    (0, 3, 43)
    """
    return ((TaskGraph.count(tasks) - 1).bit_length() + 7) // 8


@dataclass(frozen=True, slots=True)
class Field:
    """One row of the table.

    Attributes:
        name: what errors and documents call it.
        size: its bytes, in words.
        rule: what it holds.
        read: takes the reader and the values before it; gives the value, or raises a BitstreamError.
        write: takes all values; gives the bytes.
    """

    name: str
    size: str
    rule: str
    read: Callable[[ByteReader, Mapping[str, Any]], Any]
    write: Callable[[Mapping[str, Any]], bytes]


def _read_magic(reader: ByteReader, _: Mapping[str, Any]) -> bytes:
    found = reader.peek(len(MAGIC))
    if not found or not MAGIC.startswith(found):
        raise NotAnAtdcFileError(
            "file", f"it begins with {found!r}" if found else "0 bytes", f"the magic bytes {MAGIC!r}", "Check the path."
        )
    return reader.take(len(MAGIC), "magic")


def _read_form(reader: ByteReader, _: Mapping[str, Any]) -> tuple[str, str]:
    form = reader.take(1, "form")[0]
    version, profile, kind = form >> 4, form >> 1 & 7, form & 1
    if version != FORMAT_VERSION:
        raise UnsupportedVersionError("version", f"version {version}", f"version {FORMAT_VERSION}", _OTHER_RELEASE)
    if profile >= len(PROFILES):
        known = ", ".join(f"{number} ({name})" for number, name in enumerate(PROFILES))
        raise UnsupportedVersionError("profile", f"profile {profile}", f"one of {known}", _OTHER_RELEASE)
    return PROFILES[profile], KINDS[kind]


def _write_form(values: Mapping[str, Any]) -> bytes:
    profile, kind = values["form"]
    return bytes([FORMAT_VERSION << 4 | PROFILES.index(profile) << 1 | KINDS.index(kind)])


def _read_width(reader: ByteReader, before: Mapping[str, Any]) -> int:
    height: int = before["height"]
    written = reader.number("width")
    if written == height:
        raise CorruptFileError("width", f"{height}, the height once more", "0, which means the same", DAMAGED)
    width = written or height
    kind = before["form"][1]
    limit, unit = before["area_limits"][kind], "pixels" if kind == "image" else "positions"
    if height * width > limit:
        raise CorruptFileError(
            "height and width",
            f"{height} x {width}, {height * width} {unit}",
            f"at most {limit} {unit}",
            "If that size is meant, read the file with a higher limit.",
        )
    return width


def _write_width(values: Mapping[str, Any]) -> bytes:
    return number_bytes(0 if values["width"] == values["height"] else values["width"])


def _read_quality(reader: ByteReader, before: Mapping[str, Any]) -> tuple[int, ...]:
    first = reader.take(1, "quality")[0]
    separate = first == SEPARATE_QUALITIES
    steps = tuple(reader.take(before["tasks"], "quality")) if separate else (first,) * before["tasks"]
    if max(steps) > MAX_QUALITY_STEP:
        raise CorruptFileError("quality", f"{max(steps)} eighths", f"0 to {MAX_QUALITY_STEP}", DAMAGED)
    if separate and len(set(steps)) == 1:
        raise CorruptFileError("quality", f"{steps[0]} for each task on its own", "it once for all", DAMAGED)
    return steps


def _write_quality(values: Mapping[str, Any]) -> bytes:
    steps: tuple[int, ...] = values["quality"]
    return bytes([steps[0]]) if len(set(steps)) == 1 else bytes([SEPARATE_QUALITIES, *steps])


def _read_graph(reader: ByteReader, before: Mapping[str, Any]) -> TaskGraph | int:
    code = reader.number("graph")
    if code:
        return code - 1
    tasks: int = before["tasks"]
    try:
        if tasks <= MAX_RANKED_TASKS:
            return TaskGraph.unrank(int.from_bytes(reader.take(rank_bytes(tasks), "graph"), "big"), tasks)
        return TaskGraph(tuple(_read_parent_lists(reader, tasks)))
    except GraphError as error:
        raise CorruptFileError("graph", f"{error.where} {error.found}", error.expected, DAMAGED) from error


def _read_parent_lists(reader: ByteReader, tasks: int) -> Iterator[tuple[int, ...]]:
    left = tasks * (tasks - 1) // 2  # As many edges as an acyclic graph can have: more need not be held to be refused.
    for task in range(tasks):
        field = f"parents of task {task}"
        count = reader.number_within(field, 0, min(left, tasks - 1))
        left -= count
        parents: list[int] = []
        previous = -1
        for _ in range(count):
            previous += 1 + reader.number(field)
            if previous >= tasks:
                raise CorruptFileError(field, f"task {previous}", f"tasks from 0 to {tasks - 1}", DAMAGED)
            parents.append(previous)
        yield tuple(parents)


def _write_graph(values: Mapping[str, Any]) -> bytes:
    graph: TaskGraph | int = values["graph"]
    if isinstance(graph, int):
        return number_bytes(graph + 1)
    explicit = number_bytes(0)
    if graph.size <= MAX_RANKED_TASKS:
        return explicit + graph.rank().to_bytes(rank_bytes(graph.size), "big")
    for parents in graph.parents:
        gaps = [parent - previous - 1 for previous, parent in zip((-1, *parents), parents, strict=False)]
        explicit += b"".join(number_bytes(number) for number in (len(parents), *gaps))
    return explicit


FIELDS: tuple[Field, ...] = (
    Field("magic", "4", "the letters `ATDC`", _read_magic, lambda values: MAGIC),
    Field(
        "form", "1",
        "bits 7 to 4: version, 1; bits 3 to 1: profile, 0 `segments` or 1 `compact`; bit 0: kind, 0 made from an image "
        "or 1 made from features alone",
        _read_form, _write_form,
    ),
    Field(
        "fingerprint", "4", "names the weights",
        lambda reader, before: reader.take(FINGERPRINT_BYTES, "fingerprint"), lambda values: values["fingerprint"],
    ),
    Field(
        "tasks", "varint", f"number of tasks, 1 to {MAX_TASKS}",
        lambda reader, before: reader.number_within("tasks", 1, MAX_TASKS),
        lambda values: number_bytes(values["tasks"]),
    ),
    Field(
        "height", "varint", "of the image, or of the features if they are all there is; at least 1",
        lambda reader, before: reader.number_within("height", 1, VARINT_LIMIT - 1),
        lambda values: number_bytes(values["height"]),
    ),
    Field("width", "varint", "likewise; 0 if it equals the height, and only then", _read_width, _write_width),
    Field(
        "quality", "1, or 1 + tasks",
        "eighths, 0 to 56, for all tasks; or 255, then one such byte per task, not all equal",
        _read_quality, _write_quality,
    ),
    Field(
        "graph", "varint, and more if it is 0",
        "`n` + 1 for graph `n` of the weights' list; 0 for a graph that is not in it, which follows",
        _read_graph, _write_graph,
    ),
)  # fmt: skip
"""The header, in file order; what follows it depends on the profile."""


def write_fields(values: Mapping[str, Any]) -> bytes:
    """The header of checked values, one per row of :data:`FIELDS`."""
    return b"".join(field.write(values) for field in FIELDS)


def read_fields(reader: ByteReader, area_limits: Mapping[str, int]) -> dict[str, Any]:
    """The header's values by name.

    Args:
        reader: at the start of the file.
        area_limits: the most that height times width may be, for each kind.

    Raises:
        BitstreamError: the class that fits the first field that cannot be read.
    """
    values: dict[str, Any] = {"area_limits": area_limits}
    for field in FIELDS:
        values[field.name] = field.read(reader, values)
    return values
