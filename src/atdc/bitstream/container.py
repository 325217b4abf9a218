"""The file around the segments: a header, checks, and range-coded bytes. ``docs/bitstream.md`` specifies it.

Two profiles share the header. ``segments`` has one segment per tensor, each with its length and checks, so that one
can be had without the others' bytes, and a damaged segment spoils itself alone (and what is predicted from it).
``compact`` has one segment for all tensors and the fewest bytes around it. ``ordered`` has segments, too, those of some
tensors first: a beginning of the file holds them and what they are predicted from, and says nothing of the others.

Version 1 holds all tensors of a model, one per task and all of one grid. Version 2 holds any of them, each with a grid
of its own, and its segments stand in coding order: each can be used when it arrives. What version 1 can say is written
as version 1.
"""

from __future__ import annotations

import binascii
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, NamedTuple

from atdc.bitstream.layout import (
    DAMAGED,
    FINGERPRINT_BYTES,
    KINDS,
    MAX_LISTED_NUMBER,
    MAX_QUALITY_STEP,
    MAX_TASKS,
    MAX_TENSORS,
    PROFILES,
    VARINT_LIMIT,
    ByteReader,
    has_one_size,
    number_bytes,
    read_fields,
    write_fields,
)
from atdc.bitstream.sources import BytesSource, CountedSource, Source, StreamSource
from atdc.config import PIXEL_LIMIT as PIXEL_LIMIT
from atdc.errors import ArgumentError, BitstreamError, CorruptFileError, TruncatedFileError, WrongModelError
from atdc.graph.task_graph import TaskGraph

_UNLIMITED = 1 << 62
POSITION_LIMIT = 1 << 18
"""The most feature positions a reader takes by default: those of an image of ``PIXEL_LIMIT`` pixels at stride 16."""

CHECK_BYTES = 2
"""Of a payload check or a symbol check: CRC-16."""
HEAD_CHECK_BYTES = 4
"""Of the check of all that stands before the segments: CRC-32."""

_FROM_THE_OTHERS: Any = None
"""The default of a field that is an integer or a tuple in every header that exists."""


@dataclass(frozen=True, kw_only=True)
class Header:
    """Everything a file says about itself before its segments.

    Args:
        fingerprint: 4 bytes that name the weights.
        kind: ``image``, or ``features`` for a file that was made without one.
        profile: ``segments``, one per tensor, or ``compact``, one for all, or ``ordered``, one per tensor, some first.
        height: of the image in pixels; without one, of the features in positions if all tensors are present and have
            this grid, else 0.
        width: likewise.
        qualities: one per tensor in the file, in eighths: 0 to 56 for quality 0 to 7.
        graph: who is predicted from whom among the tensors in the file; as an integer, the graph of that number in the
            weights' list, which is one of all tensors.
        tensor_count: ``T``, of the model; if left out, as many as there are qualities.
        present: the tensors in the file, their indices ascending; if left out, all.
        grids: height and width in positions of those tensors in the file whose grid follows neither from the image nor
            from the weights, by index. Only the weights know how many these are.
        first: the tensors whose segments come first, their indices ascending, and with each of them its parents; some
            of those present in the profile ``ordered``, none otherwise.

    Raises:
        ArgumentError: values that no file can hold.

    >>> header = Header(fingerprint=b"abcd", kind="image", profile="segments", height=256, width=256,
    ...                 qualities=(32, 32), graph=0)
    >>> pack(Container(header, (Segment(b"one", 1), Segment(b"two", 2)))).hex(" ")
    '41 54 44 43 10 61 62 63 64 02 80 02 00 20 01 03 a3 7c 00 01 03 08 4f 00 02 c2 f0 b6 f1 6f 6e 65 74 77 6f'
    >>> Header(fingerprint=b"abcd", kind="features", profile="segments", height=0, width=0, qualities=(32, 32),
    ...        graph=TaskGraph(((1,), ())), tensor_count=6, present=(1, 4), grids=((33, 33), (80, 80))).version
    2
    """

    fingerprint: bytes
    kind: Literal["image", "features"]
    profile: Literal["segments", "compact", "ordered"]
    height: int
    width: int
    qualities: tuple[int, ...]
    graph: TaskGraph | int
    tensor_count: int = _FROM_THE_OTHERS
    present: tuple[int, ...] = _FROM_THE_OTHERS
    grids: tuple[tuple[int, int], ...] = ()
    first: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        """Checks every value: a header that exists can be written and read back."""
        _require(self.kind in KINDS, "kind", self.kind, " or ".join(KINDS))
        _require(self.profile in PROFILES, "profile", self.profile, " or ".join(PROFILES))
        _require(
            type(self.fingerprint) is bytes and len(self.fingerprint) == FINGERPRINT_BYTES,
            "fingerprint", self.fingerprint, f"{FINGERPRINT_BYTES} bytes",
        )  # fmt: skip
        _require(
            type(self.qualities) is tuple
            and 1 <= len(self.qualities) <= MAX_TASKS
            and all(_is_integer(step, 0, MAX_QUALITY_STEP) for step in self.qualities),
            "qualities", self.qualities, f"a tuple of 1 to {MAX_TASKS} integers from 0 to {MAX_QUALITY_STEP}",
        )  # fmt: skip
        if self.tensor_count is _FROM_THE_OTHERS:
            object.__setattr__(self, "tensor_count", self.present_count)
        _require(_is_integer(self.tensor_count, 1, MAX_TASKS), "tensor_count", self.tensor_count, f"1 to {MAX_TASKS}")
        if self.present is _FROM_THE_OTHERS:
            object.__setattr__(self, "present", tuple(range(self.tensor_count)))
        _require(
            type(self.present) is tuple
            and len(self.present) == self.present_count
            and all(_is_integer(tensor, 0, self.tensor_count - 1) for tensor in self.present)
            and all(earlier < later for earlier, later in pairwise(self.present)),
            "present", self.present,
            f"a tuple of {self.present_count} ascending indices below {self.tensor_count}, one for each quality",
        )  # fmt: skip
        _require(
            type(self.grids) is tuple
            and len(self.grids) <= self.present_count
            and all(
                type(grid) is tuple and [_is_integer(side, 1, VARINT_LIMIT - 1) for side in grid] == [True, True]
                for grid in self.grids
            ),
            "grids", self.grids,
            f"a tuple of at most {self.present_count} pairs of integers from 1 to {VARINT_LIMIT - 1}",
        )  # fmt: skip
        self._check_size()
        if isinstance(self.graph, TaskGraph):
            _require(
                self.graph.size == self.present_count, "graph", self.graph, f"a graph of {self.present_count} tasks"
            )
        else:
            _require(
                _is_integer(self.graph, 0, MAX_LISTED_NUMBER),
                "graph", self.graph, f"a graph, or a number from 0 to {MAX_LISTED_NUMBER}",
            )  # fmt: skip
            _require(self._is_whole, "graph", self.graph, "a graph of the tensors present, as they are not all")
        self._check_first()
        if self.version == 2:
            _require(
                self.tensor_count <= MAX_TENSORS,
                "tensor_count", self.tensor_count, f"1 to {MAX_TENSORS} unless version 1 can say it",
            )  # fmt: skip

    def _check_first(self) -> None:
        """Checks who comes first."""
        if self.profile != "ordered":
            _require(self.first == (), "first", self.first, "none, unless the profile is ordered")
            return
        _require(
            type(self.first) is tuple
            and 0 < len(self.first) < self.present_count
            and all(tensor in self.present for tensor in self.first)
            and all(earlier < later for earlier, later in pairwise(self.first)),
            "first", self.first, f"some, not all, of {self.present}, ascending",
        )  # fmt: skip
        if isinstance(self.graph, TaskGraph):
            _require(self.graph.is_closed(self._first_places), "first", self.first, "with each of them its parents")

    @property
    def _first_places(self) -> list[int]:
        return [self.present.index(tensor) for tensor in self.first]

    def _check_size(self) -> None:
        """Checks height and width: of an image, or the one grid of all features; 0 if there is no such thing."""
        if self.kind == "image" or (self._is_version_1 and (self.height, self.width) != (0, 0)):
            for name, side in (("height", self.height), ("width", self.width)):
                _require(_is_integer(side, 1, VARINT_LIMIT - 1), name, side, f"1 to {VARINT_LIMIT - 1}")
            return
        _require(
            _is_integer(self.height, 0, 0) and _is_integer(self.width, 0, 0),
            "height and width", (self.height, self.width), "0 and 0 for features that do not all have this grid",
        )  # fmt: skip
        _require(
            self.profile == "ordered"
            or not (self._is_whole and has_one_size(self.kind, self.present_count, self.grids)),
            "grids", self.grids, "the one grid of all tensors as height and width",
        )  # fmt: skip

    @property
    def _is_whole(self) -> bool:
        return self.present_count == self.tensor_count

    @property
    def version(self) -> int:
        """Of the format: 1 for all that it can say, which is all tensors, and one size for them, in no order."""
        return 1 if self._is_version_1 and self.height else 2

    @property
    def _is_version_1(self) -> bool:
        return self._is_whole and not self.grids and self.profile != "ordered"

    @property
    def present_count(self) -> int:
        """How many tensors are in the file: in version 1 all of them, 1 to 1024, and in version 2 any 1 to 64."""
        return len(self.qualities)

    def places(self, graph: TaskGraph) -> tuple[int, ...]:
        """Where the segments of the tensors in the file stand, one place for each tensor.

        In version 1 segments are in the order of tensors, in version 2 in coding order, so that each can be used when
        it arrives; in the profile ``ordered``, first those of :attr:`first`. In ``compact`` one segment holds all.

        Args:
            graph: as :meth:`resolve` gives it.

        Raises:
            ArgumentError: a graph of another number of tensors.

        >>> chain = TaskGraph(((1,), (2,), ()))
        >>> header = Header(fingerprint=b"abcd", kind="image", profile="segments", height=64, width=64,
        ...                 qualities=(8, 8, 8), graph=chain, tensor_count=6, present=(0, 3, 5))
        >>> header.places(chain)
        (2, 1, 0)
        """
        _require(graph.size == self.present_count, "graph", graph, f"a graph of {self.present_count} tasks")
        if self.profile == "compact":
            return (0,) * self.present_count
        order: Sequence[int] = range(self.present_count) if self.version == 1 else graph.order
        first = self._first_places
        order = sorted(order, key=lambda task: task not in first)  # stable
        return tuple(map(order.index, range(self.present_count)))

    def resolve(self, listed: Sequence[TaskGraph]) -> TaskGraph:
        """The task graph of the tensors in the file.

        Args:
            listed: the graphs of all tensors that the weights keep, in their order.

        Raises:
            CorruptFileError: the list has no such number, or a graph of another size there, or the graph could have
                been written with a smaller number, or is spelled out though it is in the list.

        >>> header = Header(fingerprint=b"abcd", kind="image", profile="compact", height=16, width=16,
        ...                 qualities=(32, 32), graph=1)
        >>> header.resolve([TaskGraph.independent(2), TaskGraph(((), (0,)))]).edges
        ((0, 1),)
        """
        if isinstance(self.graph, TaskGraph):
            if self._is_whole and self.graph in listed:
                raise CorruptFileError(
                    "graph", "a graph spelled out", f"number {listed.index(self.graph)} of the weights' list", DAMAGED
                )
            return self.graph
        if self.graph >= len(listed):
            raise CorruptFileError(
                "graph", f"number {self.graph}", f"one of the {len(listed)} graphs that the weights list", DAMAGED
            )
        graph = listed[self.graph]
        if graph.size != self.present_count:
            raise CorruptFileError(
                "graph", f"number {self.graph}, of {graph.size} tasks", f"a graph of {self.present_count} tasks",
                DAMAGED,
            )  # fmt: skip
        if (first := listed.index(graph)) != self.graph:
            raise CorruptFileError("graph", f"number {self.graph}", f"number {first}, the same graph", DAMAGED)
        if not graph.is_closed(self._first_places):
            problem = "a tensor without one of its parents"
            raise CorruptFileError("first", problem, "all that they are predicted from", DAMAGED)
        return graph

    def require_model(self, fingerprint: bytes) -> None:
        """Checks that the file was written with the weights of that fingerprint.

        Raises:
            WrongModelError: it was not.
        """
        if self.fingerprint != fingerprint:
            raise WrongModelError(
                "fingerprint",
                f"a file of the weights {self.fingerprint.hex()}",
                f"{fingerprint.hex()}, the weights loaded",
                "Load those that wrote it: --model or the variable ATDC_MODEL names them, or their folder.",
            )


def graph_code(graph: TaskGraph, listed: Sequence[TaskGraph]) -> TaskGraph | int:
    """What a header says of a graph of all tensors: its number in the weights' list, or itself if it is not there.

    A file of some of the tensors says the graph itself.

    >>> graph_code(TaskGraph(((), (0,))), [TaskGraph.independent(2), TaskGraph(((), (0,)))])
    1
    >>> graph_code(TaskGraph(((1,), ())), [])
    TaskGraph(parents=((1,), ()))
    """
    return listed.index(graph) if graph in listed else graph


@dataclass(frozen=True)
class Segment:
    """Range-coded bytes, and a check of what they say.

    Args:
        data: the bytes.
        symbol_check: CRC-16 of the decoded integers, 0 to 65535; only a decoder can tell whether it is right.

    Raises:
        ArgumentError: values that no file can hold.
    """

    data: bytes
    symbol_check: int

    def __post_init__(self) -> None:
        """Checks both values."""
        _require(
            type(self.data) is bytes and len(self.data) < VARINT_LIMIT,
            "segment", type(self.data).__name__, f"fewer than {VARINT_LIMIT} bytes",
        )  # fmt: skip
        _require(_is_integer(self.symbol_check, 0, 0xFFFF), "symbol_check", self.symbol_check, "0 to 65535")


class _Row(NamedTuple):
    """Of a table: where a segment starts in the file, its bytes, and its checks."""

    start: int
    length: int
    check: int
    symbol_check: int


@dataclass(frozen=True)
class Container:
    """A whole file.

    Args:
        header: what it says about itself.
        segments: one per tensor in the file, by place (see :meth:`Header.places`); exactly one if the profile is
            ``compact``.

    Raises:
        ArgumentError: another number of segments.
    """

    header: Header
    segments: tuple[Segment, ...]

    def __post_init__(self) -> None:
        """Checks that there are as many segments as the profile wants."""
        expected = 1 if self.header.profile == "compact" else self.header.present_count
        _require(len(self.segments) == expected, "segments", f"{len(self.segments)} of them", str(expected))


def pack(container: Container) -> bytes:
    """The bytes of a file; :func:`unpack` gives the container back."""
    header = container.header
    head = write_fields(
        {
            "form": (header.profile, header.kind),
            "fingerprint": header.fingerprint,
            "tasks": header.tensor_count,
            "tensors": header.tensor_count,
            "mask": header.present,
            "height": header.height,
            "width": header.width,
            "grids": header.grids,
            "quality": header.qualities,
            "graph": header.graph,
            "first": header.first,
        },
        header.version,
    )
    if header.profile == "compact":
        (segment,) = container.segments
        head += _check_bytes(segment.symbol_check)
        return head + _check_bytes(_crc16(segment.data, _crc16(head))) + segment.data
    data, part, segments = b"", head, container.segments
    for group in (segments[: len(header.first)], segments[len(header.first) :]):
        if not group:
            continue
        for segment in group:
            part += number_bytes(len(segment.data)) + _check_bytes(_crc16(segment.data))
            part += _check_bytes(segment.symbol_check)
        data += part + zlib.crc32(part).to_bytes(HEAD_CHECK_BYTES, "big")
        data += b"".join(segment.data for segment in group)
        part = b""
    return data


def positions_within(pixel_limit: int, position_limit: int | None = None) -> int:
    """The most positions of bare features: as the caller says, or that go with a limit of pixels.

    >>> positions_within(PIXEL_LIMIT) == POSITION_LIMIT, positions_within(4 * PIXEL_LIMIT) == 4 * POSITION_LIMIT
    (True, True)
    """
    if position_limit is not None:
        return position_limit
    return max(POSITION_LIMIT, pixel_limit * POSITION_LIMIT // PIXEL_LIMIT)


def header_of(source: Source | bytes) -> Header:
    """What a file says about itself, however large what it holds may be: for who decodes nothing.

    Raises:
        BitstreamError: no such file, or a damaged head.
    """
    return ContainerReader(source, pixel_limit=_UNLIMITED, position_limit=_UNLIMITED).header


class ContainerReader:
    """Reads a file piece by piece: the head at once, each segment when it is asked for.

    Args:
        source: the file; any bytes are safe. No more is read or held than is asked for and there.
        pixel_limit: the most pixels (height times width) of an image that the caller is ready to hold.
        position_limit: the most positions of a file of kind ``features``, and of all grids that are spelled out; by
            default as many as :func:`positions_within` says.

    Attributes:
        header: what the file says about itself. In profiles with segments it is checked; in ``compact`` it is once the
            segment has been read.
        is_stream: whether all bytes before a segment have to come before it does.

    Raises:
        BitstreamError: the class that fits: not an ATDC file, an unsupported version, truncated, or corrupt.

    >>> header = Header(fingerprint=b"abcd", kind="image", profile="segments", height=256, width=256,
    ...                 qualities=(32, 32), graph=0)
    >>> reader = ContainerReader(pack(Container(header, (Segment(b"one" * 100, 1), Segment(b"two", 2)))))
    >>> reader.lengths, reader.segment(1), reader.bytes_read
    ((300, 3), Segment(data=b'two', symbol_check=2), 67)
    """

    header: Header

    def __init__(
        self, source: Source | bytes, *, pixel_limit: int = PIXEL_LIMIT, position_limit: int | None = None
    ) -> None:
        self._source = CountedSource(BytesSource(source) if isinstance(source, bytes) else source)
        self.is_stream = isinstance(source, StreamSource)
        reader = ByteReader(self._source, self.is_stream)
        self.header = _read_header(reader, pixel_limit, positions_within(pixel_limit, position_limit))
        self._seed = 0
        self._rows: list[_Row] = []
        if self.header.profile == "compact":
            symbol_check = _read_check(reader, "symbol check")
            self._seed = _crc16(reader.passed)
            check = _read_check(reader, "payload check")
            self._rows.append(_Row(reader.position, self._source.size() - reader.position, check, symbol_check))
        else:
            self._read_table(reader, len(self.header.first) or self.header.present_count)
        # What was fetched together with a table's last bytes is kept: nothing is read twice.
        self._ahead = {reader.position: reader.ahead}

    @property
    def segment_count(self) -> int:
        """How many segments the file has: one per tensor in it, or one for all."""
        return 1 if self.header.profile == "compact" else self.header.present_count

    @property
    def lengths(self) -> tuple[int, ...]:
        """Bytes of each segment, by place.

        Raises:
            BitstreamError: the second table of a file of profile ``ordered`` is damaged.
        """
        return tuple(self._row(place).length for place in range(self.segment_count))

    def length(self, place: int) -> int:
        """Bytes of one segment; raises as :attr:`lengths`."""
        return self._row(place).length

    def _read_table(self, reader: ByteReader, count: int) -> None:
        places = range(len(self._rows), len(self._rows) + count)
        rows = [_read_row(reader, place) for place in places]
        _check_head(reader)
        start = reader.position
        for length, check, symbol_check in rows:
            self._rows.append(_Row(start, length, check, symbol_check))
            start += length

    def _row(self, place: int) -> _Row:
        """Of a segment; that of profile ``ordered`` stand in two tables, the second behind the first segments."""
        if place >= len(self._rows):
            last = self._rows[-1]
            start = last.start + last.length
            reader = ByteReader(self._source, self.is_stream, start, self._fetched(start))
            self._read_table(reader, self.segment_count - len(self._rows))
            self._ahead[reader.position] = reader.ahead
        return self._rows[place]

    def _fetched(self, start: int) -> bytes:
        """The bytes from a place on that were fetched with a table before it."""
        before = max((place for place in self._ahead if place <= start), default=start)
        return self._ahead.get(before, b"")[start - before :]

    @property
    def bytes_read(self) -> int:
        """How many of the file's bytes have been read so far."""
        return self._source.bytes_read

    def segment(self, index: int) -> Segment:
        """One segment, read alone and checked against its payload check.

        Args:
            index: its place, 0 to the number of segments - 1. :meth:`Header.places` has it for each tensor.

        Raises:
            ArgumentError: no such segment.
            TruncatedFileError: the file ends within it.
            CorruptFileError: its bytes do not fit the check.
        """
        last = self.segment_count - 1
        _require(_is_integer(index, 0, last), "segment", index, f"0 to {last}")
        row = self._row(index)
        where = "header or payload" if self.header.profile == "compact" else f"segment {index}"
        remainder = row.length if self.is_stream else max(0, self._source.size() - row.start)
        data = self._read(row.start, min(row.length, remainder))
        if len(data) < row.length:
            size, expected = f"{len(data)} bytes left", f"{row.length} bytes"
            raise TruncatedFileError(f"{where} (byte {row.start})", size, expected, DAMAGED)
        _compare(where, row.check, _crc16(data, self._seed), CHECK_BYTES)
        return Segment(data, row.symbol_check)

    def check_end(self) -> None:
        """Checks that the file ends where its last segment does.

        Raises:
            CorruptFileError: bytes follow.
            TruncatedFileError: bytes are missing.
        """
        last = self._row(self.segment_count - 1)
        end = last.start + last.length
        if self.is_stream and self._source.read(end, 1):  # how many more is not waited for
            raise _beyond(end, "more bytes")
        if (size := self._source.size()) > end:
            raise _beyond(end, f"{size - end} more bytes")
        if size < end:
            raise TruncatedFileError("file", f"{size} bytes", f"{end} bytes", DAMAGED)

    def _read(self, start: int, length: int) -> bytes:
        """Bytes of a segment."""
        prefix = self._fetched(start)[:length]
        if len(prefix) == length:
            return prefix
        return prefix + self._source.read(start + len(prefix), length - len(prefix))


def unpack(data: bytes, *, pixel_limit: int = PIXEL_LIMIT, position_limit: int | None = None) -> Container:
    """The container in a file's bytes, every one of them checked.

    Raises:
        BitstreamError: as :class:`ContainerReader` and its methods.
    """
    reader = ContainerReader(data, pixel_limit=pixel_limit, position_limit=position_limit)
    segments = tuple(reader.segment(index) for index in range(reader.segment_count))
    reader.check_end()
    return Container(reader.header, segments)


@dataclass(frozen=True)
class Verification:
    """What can be said of a file without weights.

    Args:
        header: None if the head is damaged.
        problems: all that is wrong: with the head, or with segments by place, then with the file's end.
    """

    header: Header | None
    problems: tuple[BitstreamError, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


def verify(
    source: Source | bytes, *, pixel_limit: int = PIXEL_LIMIT, position_limit: int | None = None
) -> Verification:
    """Checks whatever can be checked without weights, and resumes after a damaged segment.

    >>> verify(b"GIF89a").problems[0].expected
    "the magic bytes b'ATDC'"
    """
    try:
        reader = ContainerReader(source, pixel_limit=pixel_limit, position_limit=position_limit)
    except BitstreamError as error:
        return Verification(None, (error,))
    problems: dict[str, BitstreamError] = {}  # by text: a damaged table is met for each of its segments
    for index in range(reader.segment_count):
        try:
            reader.segment(index)
        except BitstreamError as error:
            problems[str(error)] = error
    try:
        reader.check_end()
    except TruncatedFileError:
        pass  # Said already of the segments that are cut.
    except BitstreamError as error:
        problems[str(error)] = error
    return Verification(reader.header, tuple(problems.values()))


def _read_header(reader: ByteReader, pixel_limit: int, position_limit: int) -> Header:
    values = read_fields(reader, {"image": pixel_limit, "features": position_limit})
    profile, kind = values["form"]
    return Header(
        fingerprint=values["fingerprint"],
        kind=kind,
        profile=profile,
        height=values["height"],
        width=values["width"],
        qualities=values["quality"],
        graph=values["graph"],
        tensor_count=values.get("tensors", _FROM_THE_OTHERS),
        present=values.get("mask", _FROM_THE_OTHERS),
        grids=values.get("grids", ()),
        first=values.get("first", ()),
    )


def _read_row(reader: ByteReader, place: int) -> tuple[int, int, int]:
    """The length, the payload check and the symbol check of one segment."""
    of = f"of segment {place}"
    return reader.number(f"length {of}"), _read_check(reader, f"check {of}"), _read_check(reader, f"symbol check {of}")


def _read_check(reader: ByteReader, field: str) -> int:
    return int.from_bytes(reader.take(CHECK_BYTES, field), "big")


def _check_bytes(check: int) -> bytes:
    return check.to_bytes(CHECK_BYTES, "big")


def _check_head(reader: ByteReader) -> None:
    computed = zlib.crc32(reader.passed)
    _compare(
        "head check", int.from_bytes(reader.take(HEAD_CHECK_BYTES, "head check"), "big"), computed, HEAD_CHECK_BYTES
    )


def _crc16(data: bytes, before: int = 0) -> int:
    """CRC-16/XMODEM of bytes that follow others, whose CRC is ``before``."""
    return binascii.crc_hqx(data, before)


def _compare(where: str, stored: int, computed: int, count: int) -> None:
    if stored != computed:
        raise CorruptFileError(
            where, f"check {stored:0{2 * count}x}", f"{computed:0{2 * count}x} for these bytes", DAMAGED
        )


def _beyond(end: int, excess: str) -> CorruptFileError:
    return CorruptFileError(f"after the last segment (byte {end})", excess, "the end of the file", DAMAGED)


def _is_integer(value: object, least: int, greatest: int) -> bool:
    return isinstance(value, int) and least <= value <= greatest


def _require(holds: bool, name: str, value: object, expected: str) -> None:
    if not holds:
        raise ArgumentError(name, str(value), expected)
