"""The file around the segments: a header, one byte string per task, a checksum. ``docs/bitstream.md`` specifies it."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Literal

from atdc.bitstream.layout import (
    CHECKSUM_BYTES,
    FINGERPRINT_BYTES,
    FORMAT_VERSION,
    KINDS,
    MAX_QUALITY_STEP,
    MAX_TASKS,
    VARINT_LIMIT,
    ByteReader,
    number_bytes,
    read_fields,
    write_fields,
)
from atdc.errors import ArgumentError, CorruptFileError, TruncatedFileError, WrongModelError
from atdc.graph.task_graph import TaskGraph

PIXEL_LIMIT = 1 << 28
"""The largest image a reader takes by default: 16384 x 16384 pixels."""

POSITION_LIMIT = 1 << 20
"""The largest feature grid a reader takes by default: that image's at stride 16."""


@dataclass(frozen=True, kw_only=True)
class Header:
    """Everything a file says about itself before its segments.

    Args:
        fingerprint: 4 bytes that name the weights.
        kind: ``image``, or ``features`` for a file that was made without one.
        height: of the image in pixels, or of the features in positions.
        width: likewise.
        task_count: ``T``, 1 to 24.
        qualities: one per task, in eighths: 0 to 56 for quality 0 to 7.
        graph: who is predicted from whom, over ``T`` tasks.
        max_parents: the most parents a graph of these weights may give a task, 0 to ``T - 1``; it fixes how many
            graphs there are, hence the bytes that the graph takes.
        version: of the format.

    Raises:
        ArgumentError: values that no file can hold.

    >>> graph = TaskGraph(((), (0,)))
    >>> header = Header(fingerprint=b"abcd", kind="image", height=256, width=256, task_count=2, qualities=(32, 32),
    ...                 graph=graph, max_parents=1)
    >>> pack(Container(header, (b"one", b"two"))).hex(" ")
    '41 54 44 43 01 00 61 62 63 64 02 01 80 02 80 02 20 01 03 03 6f 6e 65 74 77 6f d8 c7 c3 a0'
    """

    fingerprint: bytes
    kind: Literal["image", "features"]
    height: int
    width: int
    task_count: int
    qualities: tuple[int, ...]
    graph: TaskGraph
    max_parents: int
    version: int = FORMAT_VERSION

    def __post_init__(self) -> None:
        """Checks every value: a header that exists can be written and read back."""
        _require(self.version == FORMAT_VERSION, "version", self.version, str(FORMAT_VERSION))
        _require(self.kind in KINDS, "kind", self.kind, " or ".join(KINDS))
        _require(
            type(self.fingerprint) is bytes and len(self.fingerprint) == FINGERPRINT_BYTES,
            "fingerprint", self.fingerprint, f"{FINGERPRINT_BYTES} bytes",
        )  # fmt: skip
        for name, value, least, greatest in (
            ("height", self.height, 1, VARINT_LIMIT - 1),
            ("width", self.width, 1, VARINT_LIMIT - 1),
            ("task_count", self.task_count, 1, MAX_TASKS),
            ("max_parents", self.max_parents, 0, self.task_count - 1),
        ):
            _require(_is_integer(value, least, greatest), name, value, f"{least} to {greatest}")
        _require(
            type(self.qualities) is tuple
            and len(self.qualities) == self.task_count
            and all(_is_integer(step, 0, MAX_QUALITY_STEP) for step in self.qualities),
            "qualities", self.qualities, f"a tuple of {self.task_count} integers from 0 to {MAX_QUALITY_STEP}",
        )  # fmt: skip
        _require(self.graph.size == self.task_count, "graph", self.graph, f"a graph of {self.task_count} tasks")
        _require(
            all(len(parents) <= self.max_parents for parents in self.graph.parents),
            "graph", self.graph, f"at most {self.max_parents} parents per task",
        )  # fmt: skip

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
                "Load the weights the file was written with.",
            )


@dataclass(frozen=True)
class Container:
    """A whole file.

    Args:
        header: what it says about itself.
        segments: the range-coded bytes of each task, by task index.

    Raises:
        ArgumentError: not one segment per task.
    """

    header: Header
    segments: tuple[bytes, ...]

    def __post_init__(self) -> None:
        """Checks that there is one segment per task."""
        _require(
            len(self.segments) == self.header.task_count,
            "segments", f"{len(self.segments)} of them", f"{self.header.task_count}, one per task",
        )  # fmt: skip


def pack(container: Container) -> bytes:
    """The bytes of a file; :func:`unpack` gives the container back."""
    header = container.header
    fields = write_fields(
        {
            "version": header.version,
            "kind": header.kind,
            "fingerprint": header.fingerprint,
            "tasks": header.task_count,
            "max_parents": header.max_parents,
            "height": header.height,
            "width": header.width,
            "quality": header.qualities,
            "graph": header.graph,
        }
    )
    lengths = b"".join(number_bytes(len(segment)) for segment in container.segments)
    data = b"".join((fields, lengths, *container.segments))
    return data + zlib.crc32(data).to_bytes(CHECKSUM_BYTES, "big")


def unpack(data: bytes, *, pixel_limit: int = PIXEL_LIMIT, position_limit: int = POSITION_LIMIT) -> Container:
    """The container in a file's bytes, every one of them checked.

    Args:
        data: the whole file; any bytes are safe: lengths are checked before anything is copied.
        pixel_limit: the most pixels (height times width) of an image that the caller is ready to hold.
        position_limit: the most positions of a file of kind ``features``.

    Raises:
        BitstreamError: the class that fits: not an ATDC file, an unsupported version, truncated, or corrupt.
    """
    reader = ByteReader(data)
    header = _header(reader, pixel_limit, position_limit)
    lengths = [reader.number(f"length of task {task}'s segment") for task in range(header.task_count)]
    expected = sum(lengths) + CHECKSUM_BYTES
    if reader.remaining < expected:
        raise TruncatedFileError(
            f"segments (byte {reader.position})",
            f"{reader.remaining} bytes left",
            f"{expected} bytes of segments and checksum",
            "Get the file again from its source.",
        )
    if reader.remaining > expected:
        raise CorruptFileError(
            f"after the checksum (byte {reader.position + expected})",
            f"{reader.remaining - expected} more bytes",
            "the end of the file",
            "Get the file again from its source.",
        )
    segments = tuple(reader.take(length, "segments") for length in lengths)
    computed = zlib.crc32(data[: reader.position])
    stored = int.from_bytes(reader.take(CHECKSUM_BYTES, "checksum"), "big")
    if stored != computed:
        raise CorruptFileError(
            "checksum", f"{stored:08x}", f"{computed:08x} for these bytes", "Get the file again from its source."
        )
    return Container(header, segments)


def read_header(data: bytes, *, pixel_limit: int = PIXEL_LIMIT, position_limit: int = POSITION_LIMIT) -> Header:
    """The header alone, from a whole file or just its first bytes.

    The checksum stands at the end of the file, so it is not looked at: only :func:`unpack` vouches for what it returns.

    Raises:
        BitstreamError: as :func:`unpack`, for the bytes of the header.
    """
    return _header(ByteReader(data), pixel_limit, position_limit)


def _header(reader: ByteReader, pixel_limit: int, position_limit: int) -> Header:
    values = read_fields(reader)
    area = values["height"] * values["width"]
    limit, unit = (pixel_limit, "pixels") if values["kind"] == "image" else (position_limit, "positions")
    if area > limit:
        raise CorruptFileError(
            "height and width",
            f"{values['height']} x {values['width']}, {area} {unit}",
            f"at most {limit} {unit}",
            "If that size is meant, read the file with a higher limit.",
        )
    return Header(
        version=values["version"],
        kind=values["kind"],
        fingerprint=values["fingerprint"],
        task_count=values["tasks"],
        max_parents=values["max_parents"],
        height=values["height"],
        width=values["width"],
        qualities=values["quality"],
        graph=values["graph"],
    )


def _is_integer(value: object, least: int, greatest: int) -> bool:
    return isinstance(value, int) and least <= value <= greatest


def _require(holds: bool, name: str, found: object, expected: str) -> None:
    if not holds:
        raise ArgumentError(name, str(found), expected)
