"""Where a file's bytes come from: anything that can be read by range, so that a reader fetches only what it uses."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import BinaryIO, Protocol, TypeAlias, runtime_checkable

from atdc.errors import ArgumentError
from atdc.files import require_name


@runtime_checkable
class Source(Protocol):
    """Bytes that can be read by range; a file, a server's answer, or bytes in memory."""

    def size(self) -> int:
        """How many bytes there are."""
        ...

    def read(self, offset: int, count: int) -> bytes:
        """The bytes from ``offset`` on: ``count`` of them, or fewer where they end."""
        ...


class BytesSource:
    """Bytes in memory.

    >>> source = BytesSource(b"abcdef")
    >>> source.size(), source.read(4, 10)
    (6, b'ef')
    """

    def __init__(self, data: bytes) -> None:
        self._data = data

    def size(self) -> int:
        """How many bytes there are."""
        return len(self._data)

    def read(self, offset: int, count: int) -> bytes:
        """The bytes from ``offset`` on, fewer than ``count`` only at the end."""
        return self._data[offset : offset + count]


class FileSource:
    """A file on disk, kept open until the ``with`` block ends.

    Args:
        path: the file. Its size is taken once, when it is opened.

    Raises:
        ArgumentError: no such file, no permission, or not a file; from ``read``, what the disk says.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "letters")
    ...     with open(path, "wb") as file:
    ...         written = file.write(b"abcdef")
    ...     with FileSource(path) as source:
    ...         source.size(), source.read(1, 2)
    (6, b'bc')
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        require_name(path)
        self._path = path
        try:
            # Without a buffer of its own it takes from the disk what is asked for, and no more.
            self._file: BinaryIO = open(path, "rb", buffering=0)  # noqa: SIM115 - closed by the with block
        except OSError as error:
            raise self._error(error) from error
        status = os.fstat(self._file.fileno())
        if not stat.S_ISREG(status.st_mode):
            self._file.close()
            raise ArgumentError(str(path), "a device or pipe", "a file to read", "Check the path.")
        self._size = status.st_size

    def size(self) -> int:
        """How many bytes the file had when it was opened."""
        return self._size

    def read(self, offset: int, count: int) -> bytes:
        """The bytes from ``offset`` on, fewer than ``count`` only at the end.

        Raises:
            ArgumentError: the disk refuses.
        """
        parts: list[bytes] = []
        try:
            self._file.seek(offset)
            while count and (part := self._file.read(count)):
                parts.append(part)
                count -= len(part)
        except (OSError, ValueError) as error:
            raise self._error(error) from error
        return b"".join(parts)

    def __enter__(self) -> FileSource:
        """The source itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Closes the file."""
        self._file.close()

    def _error(self, error: OSError | ValueError) -> ArgumentError:
        reason = (error.strerror or str(error)).lower() if isinstance(error, OSError) else str(error)
        return ArgumentError(str(self._path), reason, "a file to read", "Check the path.")


class CountedSource:
    """A source that remembers which ranges were read, each of them once however often it is read.

    Args:
        source: where the bytes come from.

    Attributes:
        ranges: the ranges (offset, count) in the order of their first reading, with the counts that were there.

    >>> source = CountedSource(BytesSource(b"abcdef"))
    >>> source.read(0, 2), source.read(4, 9), source.read(0, 2)
    (b'ab', b'ef', b'ab')
    >>> source.ranges, source.bytes_read
    ([(0, 2), (4, 2)], 4)
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self.ranges: list[tuple[int, int]] = []

    @property
    def bytes_read(self) -> int:
        """The bytes in all ranges."""
        return sum(count for _, count in self.ranges)

    def size(self) -> int:
        """How many bytes the source has."""
        return self._source.size()

    def read(self, offset: int, count: int) -> bytes:
        """The source's bytes from ``offset`` on, fewer than ``count`` only at the end."""
        data = self._source.read(offset, count)
        if (offset, len(data)) not in self.ranges:
            self.ranges.append((offset, len(data)))
        return data


FileLike: TypeAlias = Source | bytes | bytearray | memoryview | str | os.PathLike[str] | BinaryIO
"""Whatever a program may have a file in."""


@contextmanager
def opened(data: FileLike) -> Iterator[Source]:
    """A source of a file's bytes, whatever the file is in: its path, its bytes, a file object, or a source already.

    Raises:
        ArgumentError: nothing that has bytes, or a path that cannot be opened.

    >>> with opened(memoryview(b"abc")) as source:
    ...     source.read(1, 2)
    b'bc'
    """
    if isinstance(data, (str, os.PathLike)):
        with FileSource(data) as source:
            yield source
    elif isinstance(data, (bytes, bytearray, memoryview)):
        yield BytesSource(bytes(data))
    elif isinstance(data, Source):
        yield data
    elif hasattr(data, "read"):
        try:
            content = data.read()
        except (OSError, ValueError) as error:  # closed, or opened for writing only
            raise ArgumentError("file", f"an object that cannot be read ({error})", "an open file object",
                                "Open it with 'rb'.") from error  # fmt: skip
        if not isinstance(content, bytes):
            raise ArgumentError("file", f"an object that reads {type(content).__name__}", "bytes", "Open it with 'rb'.")
        if not content and _position(data):
            found = "0 bytes left in it: it has been read, or written, to its end"
            raise ArgumentError("file", found, "a file object at its start", "Call its seek(0) first.")
        yield BytesSource(content)
    else:
        raise ArgumentError("file", type(data).__name__, "a path, bytes, or a file object")


def _position(stream: BinaryIO) -> int:
    """Where a file object stands; 0 where it cannot say."""
    try:
        return stream.tell()
    except (AttributeError, OSError):
        return 0
