"""The header of an ATDC file as a table per version, read and written row by row; ``docs/bitstream.md`` shows both.

Numbers of several bytes are big-endian; a *varint* is a LEB128 number: seven bits a byte, low bits first, the high bit
set on all bytes but the last, below ``2**32`` and in as few bytes as possible, so that every number has one spelling.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
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
PLAIN_PROFILES = ("segments", "compact")
"""Of both versions, which are chosen by name."""
PROFILES = (*PLAIN_PROFILES, "ordered")
KINDS = ("image", "features")
FINGERPRINT_BYTES = 4
MAX_TASKS = 1024
"""In version 1. Any number that makes sense; it bounds what a hostile header can cost."""
MAX_TENSORS = 64
"""Of a model whose files are of version 2."""
MAX_TASKS_BY_RANK = 24
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
    """Reads a source from its start, fetching a little at a time, and never past its end.

    Args:
        source: the file.
        is_stream: its bytes come one after the other, and its end is not known: no more is fetched than is asked for.
        start: of the bytes that are read, where not at the file's.
        data: those that were fetched before.

    Attributes:
        data: all bytes fetched so far, from ``start`` on.
        position: of the next byte, counted from the file's start.

    >>> from atdc.bitstream.sources import BytesSource
    >>> reader = ByteReader(BytesSource(bytes([5, 0x80, 0x02])))
    >>> reader.number("tasks"), reader.number("width"), reader.position
    (5, 256, 3)
    """

    def __init__(self, source: Source, is_stream: bool = False, start: int = 0, data: bytes = b"") -> None:
        self._source = source
        self._size = None if is_stream else source.size()
        self.start, self.data, self.position = start, data, start

    @property
    def passed(self) -> bytes:
        """The bytes from the start to the position."""
        return self.data[: self.position - self.start]

    @property
    def ahead(self) -> bytes:
        """Those fetched beyond it."""
        return self.data[self.position - self.start :]

    def peek(self, count: int) -> bytes:
        """The next ``count`` bytes, or as many as there are, without moving on."""
        have, end = self.start + len(self.data), self.position + count
        if end > have:
            # Twice as many each time, so that even a long head takes few trips.
            further = self.start + max(2 * len(self.data), _FIRST_READ)
            goal = end if self._size is None else min(max(end, further), self._size)
            if goal > have:
                self.data += self._source.read(have, goal - have)
        return self.data[self.position - self.start : end - self.start]

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
    magic = reader.peek(len(MAGIC))
    if not magic or not MAGIC.startswith(magic):
        raise NotAnAtdcFileError(
            "file", f"it begins with {magic!r}" if magic else "0 bytes", f"the magic bytes {MAGIC!r}", "Check the path."
        )
    return reader.take(len(MAGIC), "magic")


def _read_form(reader: ByteReader, _: Mapping[str, Any]) -> tuple[str, str]:
    form = reader.take(1, "form")[0]
    version, profile, kind = form >> 4, form >> 1 & 7, form & 1
    if version not in TABLES:
        choices = " or ".join(map(str, TABLES))
        raise UnsupportedVersionError("version", f"version {version}", f"version {choices}", _OTHER_RELEASE)
    profiles = PROFILES if version > 1 else PLAIN_PROFILES
    if profile >= len(profiles):
        choices = ", ".join(f"{number} ({name})" for number, name in enumerate(profiles))
        raise UnsupportedVersionError("profile", f"profile {profile}", f"one of {choices}", _OTHER_RELEASE)
    return PROFILES[profile], KINDS[kind]


def _form(version: int, rule: str) -> Field:
    def write(values: Mapping[str, Any]) -> bytes:
        profile, kind = values["form"]
        return bytes([version << 4 | PROFILES.index(profile) << 1 | KINDS.index(kind)])

    return Field("form", "1", rule, _read_form, write)


def _read_mask(reader: ByteReader, before: Mapping[str, Any]) -> tuple[int, ...]:
    tensors: int = before["tensors"]
    mask = int.from_bytes(reader.take(_mask_bytes(tensors), "mask"), "little")
    if mask == 0:
        raise CorruptFileError("mask", "no tensor", "at least one", DAMAGED)
    if mask >> tensors:
        raise CorruptFileError("mask", f"tensor {mask.bit_length() - 1}", f"tensors from 0 to {tensors - 1}", DAMAGED)
    return tuple(tensor for tensor in range(tensors) if mask >> tensor & 1)


def _write_mask(values: Mapping[str, Any]) -> bytes:
    mask: int = sum(1 << tensor for tensor in values["mask"])
    return mask.to_bytes(_mask_bytes(values["tensors"]), "little")


def _mask_bytes(tensors: int) -> int:
    return (tensors + 7) // 8


def _count(before: Mapping[str, Any]) -> int:
    """How many tensors the file holds: in version 1 all of the model's, one per task."""
    return len(before["mask"]) if "mask" in before else before["tasks"]


def _is_subset(before: Mapping[str, Any]) -> bool:
    """Whether the file lacks some of the model's tensors."""
    return "mask" in before and len(before["mask"]) < before["tensors"]


def _read_width(reader: ByteReader, before: Mapping[str, Any]) -> int:
    height: int = before["height"]
    width = _read_second_side(reader, "width", height)
    kind = before["form"][1]
    limit, unit = before["area_limits"][kind], "pixels" if kind == "image" else "positions"
    if height * width > limit:
        raise _too_large("height and width", f"{height} x {width}, {height * width} {unit}", f"{limit} {unit}")
    return width


def _read_second_side(reader: ByteReader, field: str, height: int) -> int:
    written = reader.number(field)
    if written == height:
        raise CorruptFileError(field, f"{height}, the height once more", "0, which means the same", DAMAGED)
    return written or height


def _second_side_bytes(height: int, width: int) -> bytes:
    return number_bytes(0 if width == height else width)


def _too_large(where: str, size: str, most: str) -> CorruptFileError:
    return CorruptFileError(where, size, f"at most {most}", "If that size is meant, read the file with a higher limit.")


def _read_grids(reader: ByteReader, before: Mapping[str, Any]) -> tuple[tuple[int, int], ...]:
    limit: int = before["area_limits"]["features"]
    grids: list[tuple[int, int]] = []
    positions = 0
    for place in range(reader.number_within("grids", 0, _count(before))):
        where = f"grid {place}"
        height = reader.number(f"height of {where}")
        if height:
            grid = height, _read_second_side(reader, f"width of {where}", height)
            if grids and grid == grids[-1]:
                raise CorruptFileError(where, "the grid before once more", "0, which means the same", DAMAGED)
        elif grids:
            grid = grids[-1]
        else:
            raise CorruptFileError(where, "0, the grid before", "a height, as no grid is before the first", DAMAGED)
        positions += grid[0] * grid[1]
        if positions > limit:
            size = f"{grid[0]} x {grid[1]}, {positions} positions up to here"
            raise _too_large(where, size, f"{limit} positions")
        grids.append(grid)
    profile, kind = before["form"]
    if profile != "ordered" and not _is_subset(before) and has_one_size(kind, before["tensors"], grids):
        raise CorruptFileError("version", "2, with all tensors and one size for them", "version 1", DAMAGED)
    return tuple(grids)


def _write_grids(values: Mapping[str, Any]) -> bytes:
    grids: tuple[tuple[int, int], ...] = values["grids"]
    data = number_bytes(len(grids))
    for before, (height, width) in zip((None, *grids), grids, strict=False):
        repeated = before == (height, width)
        data += number_bytes(0) if repeated else number_bytes(height) + _second_side_bytes(height, width)
    return data


def has_one_size(kind: str, count: int, grids: Sequence[tuple[int, int]]) -> bool:
    """Whether a height and a width can stand for all grids, so that of a file of all tensors version 1 can say it.

    Args:
        kind: of the file.
        count: of the file's tensors.
        grids: those that are spelled out.

    >>> has_one_size("image", 2, ()), has_one_size("features", 2, ((4, 5), (4, 5))), has_one_size("features", 2, ())
    (True, True, False)
    """
    return not grids if kind == "image" else len(grids) == count and len(set(grids)) == 1


def _read_quality(reader: ByteReader, before: Mapping[str, Any]) -> tuple[int, ...]:
    first = reader.take(1, "quality")[0]
    separate = first == SEPARATE_QUALITIES
    count = _count(before)
    steps = tuple(reader.take(count, "quality")) if separate else (first,) * count
    if max(steps) > MAX_QUALITY_STEP:
        raise CorruptFileError("quality", f"{max(steps)} eighths", f"0 to {MAX_QUALITY_STEP}", DAMAGED)
    if separate and len(set(steps)) == 1:
        raise CorruptFileError("quality", f"{steps[0]} for each on its own", "it once for all", DAMAGED)
    return steps


def _write_quality(values: Mapping[str, Any]) -> bytes:
    steps: tuple[int, ...] = values["quality"]
    return bytes([steps[0]]) if len(set(steps)) == 1 else bytes([SEPARATE_QUALITIES, *steps])


def _read_graph(reader: ByteReader, before: Mapping[str, Any]) -> TaskGraph | int:
    code = reader.number("graph")
    if code:
        if _is_subset(before):
            raise CorruptFileError(
                "graph",
                f"number {code - 1} of the weights' list",
                "a graph of the tensors present, spelled out",
                DAMAGED,
            )
        return code - 1
    tasks = _count(before)
    try:
        if tasks <= MAX_TASKS_BY_RANK:
            return TaskGraph.unrank(int.from_bytes(reader.take(rank_bytes(tasks), "graph"), "big"), tasks)
        return TaskGraph(tuple(_read_parent_lists(reader, tasks)))
    except GraphError as error:
        raise CorruptFileError("graph", f"{error.where} {error.found}", error.expected, DAMAGED) from error


def _read_parent_lists(reader: ByteReader, tasks: int) -> Iterator[tuple[int, ...]]:
    # As many edges as an acyclic graph can have: more need not be held to be refused.
    edge_limit = tasks * (tasks - 1) // 2
    for task in range(tasks):
        field = f"parents of task {task}"
        count = reader.number_within(field, 0, min(edge_limit, tasks - 1))
        edge_limit -= count
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
    if graph.size <= MAX_TASKS_BY_RANK:
        return explicit + graph.rank().to_bytes(rank_bytes(graph.size), "big")
    for parents in graph.parents:
        gaps = [parent - previous - 1 for previous, parent in zip((-1, *parents), parents, strict=False)]
        explicit += b"".join(number_bytes(number) for number in (len(parents), *gaps))
    return explicit


def _read_first(reader: ByteReader, before: Mapping[str, Any]) -> tuple[int, ...]:
    if before["form"][0] != "ordered":
        return ()
    present, graph = before["mask"], before["graph"]
    mask = int.from_bytes(reader.take(_mask_bytes(len(present)), "first"), "little")
    if not 0 < mask < (1 << len(present)) - 1:
        count = f"{mask.bit_count()} tensors, of {len(present)}"
        raise CorruptFileError("first", count, "some of the tensors, and not all", DAMAGED)
    places = [place for place in range(len(present)) if mask >> place & 1]
    if isinstance(graph, TaskGraph) and not graph.is_closed(places):
        raise CorruptFileError(
            "first", "a tensor without one of its parents", "all that they are predicted from", DAMAGED
        )
    return tuple(present[place] for place in places)


def _write_first(values: Mapping[str, Any]) -> bytes:
    if not values["first"]:
        return b""
    mask: int = sum(1 << values["mask"].index(tensor) for tensor in values["first"])
    return mask.to_bytes(_mask_bytes(len(values["mask"])), "little")


def _of_an_image(field: Field, rule: str) -> Field:
    """A row that a file without an image lacks; its value is 0 there."""
    return replace(
        field,
        rule=rule,
        read=lambda reader, before: field.read(reader, before) if before["form"][1] == "image" else 0,
        write=lambda values: field.write(values) if values["form"][1] == "image" else b"",
    )


_MAGIC = Field("magic", "4", "the letters `ATDC`", _read_magic, lambda values: MAGIC)
_FINGERPRINT = Field(
    "fingerprint", "4", "names the weights",
    lambda reader, before: reader.take(FINGERPRINT_BYTES, "fingerprint"), lambda values: values["fingerprint"],
)  # fmt: skip
_HEIGHT = Field(
    "height", "varint", "of the image, or of the features if they are all there is; at least 1",
    lambda reader, before: reader.number_within("height", 1, VARINT_LIMIT - 1),
    lambda values: number_bytes(values["height"]),
)  # fmt: skip
_WIDTH = Field(
    "width", "varint", "of the same; 0 if it equals the height, and only then", _read_width,
    lambda values: _second_side_bytes(values["height"], values["width"]),
)  # fmt: skip
_QUALITY = Field(
    "quality", "1, or 1 + 1 each",
    "eighths, 0 to 56, for all tensors of the file; or 255, then one such byte for each, not all equal",
    _read_quality, _write_quality,
)  # fmt: skip
_GRAPH = Field(
    "graph", "varint, and more if it is 0",
    "`n` + 1 for graph `n` of the weights' list; 0 for a graph that is not in it, which follows",
    _read_graph, _write_graph,
)  # fmt: skip

FIELDS: tuple[Field, ...] = (
    _MAGIC,
    _form(
        1,
        "bits 7 to 4: version, 1; bits 3 to 1: profile, 0 `segments` or 1 `compact`; bit 0: kind, 0 made from an image "
        "or 1 made from features alone",
    ),
    _FINGERPRINT,
    Field(
        "tasks", "varint", f"number of tensors, one per task and all in the file, 1 to {MAX_TASKS}",
        lambda reader, before: reader.number_within("tasks", 1, MAX_TASKS),
        lambda values: number_bytes(values["tasks"]),
    ),
    _HEIGHT,
    _WIDTH,
    _QUALITY,
    _GRAPH,
)  # fmt: skip
"""The header of version 1, in file order; what follows it depends on the profile."""

FIELDS_2: tuple[Field, ...] = (
    _MAGIC,
    _form(2, "version 2; profile also 2 `ordered`; all else likewise"),
    _FINGERPRINT,
    Field(
        "tensors", "varint", f"`T`, number of the model's tensors, 1 to {MAX_TENSORS}",
        lambda reader, before: reader.number_within("tensors", 1, MAX_TENSORS),
        lambda values: number_bytes(values["tensors"]),
    ),
    Field(
        "mask", "⌈`T`/8⌉",
        "bit `i` mod 8, low bits first, of byte ⌊`i`/8⌋: tensor `i` is in the file; one is at least; spare bits 0",
        _read_mask, _write_mask,
    ),
    _of_an_image(_HEIGHT, "of the image; without one, neither height nor width is there"),
    _of_an_image(_WIDTH, "likewise"),
    Field(
        "grids", "varint, and more",
        "how many grids are spelled out, at most one per tensor of the file; then they, by tensor index",
        _read_grids, _write_grids,
    ),
    _QUALITY,
    replace(_GRAPH, rule="likewise, of the tensors in the file; a number only if all are"),
    Field(
        "first", "0, or ⌈tensors in the file/8⌉",
        "in profile `ordered` alone: which of the tensors in the file come first, a mask likewise: bit `j` stands for "
        "tensor `j` as the file's graph counts; spare bits 0; some, not all, and with each of them its parents",
        _read_first, _write_first,
    ),
)  # fmt: skip
"""The header of version 2."""

TABLES = {1: FIELDS, 2: FIELDS_2}
"""By version. Magic and form are the same bytes in all."""


def write_fields(values: Mapping[str, Any], version: int) -> bytes:
    """The header of checked values, one per row of the version's table."""
    return b"".join(field.write(values) for field in TABLES[version])


def read_fields(reader: ByteReader, area_limits: Mapping[str, int]) -> dict[str, Any]:
    """The header's values by name.

    Args:
        reader: at the start of the file.
        area_limits: the most that height times width may be, for each kind; that of features bounds the sum of all
            grids that are spelled out, too.

    Raises:
        BitstreamError: the class that fits the first field that cannot be read.
    """
    values: dict[str, Any] = {"area_limits": area_limits}
    for field in FIELDS[:2]:
        values[field.name] = field.read(reader, values)
    for field in TABLES[reader.data[reader.position - 1] >> 4][2:]:
        values[field.name] = field.read(reader, values)
    return values
