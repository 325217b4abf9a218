"""Where a file's bytes come from: anything that can be read by range, so that a reader fetches only what it uses."""

from __future__ import annotations

import http.client
import mmap
import os
import re
import stat
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, BinaryIO, Protocol, TypeAlias, TypeGuard, cast, runtime_checkable

from atdc.errors import ArgumentError
from atdc.files import reason_of, require_name

STREAM_LIMIT_BYTES = 256 * 2**20
"""The most bytes taken from a pipe, for want of a file's size: no image that this package accepts needs as much."""
_PIECE_BYTES = 1 << 20
"""No more is asked for at once, so that a length that is only claimed takes no memory."""


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
        reason = reason_of(error) if isinstance(error, OSError) else str(error)
        return ArgumentError(str(self._path), reason, "a file to read", "Check the path.")


class StreamSource:
    """A pipe, or whatever else gives its bytes one after the other: read as far as is asked for, and kept.

    Args:
        stream: open for reading bytes, at the file's first.
        limit: the most bytes it may have.

    Raises:
        ArgumentError: from its methods: the stream cannot be read, or has more bytes than the limit.

    >>> import io
    >>> source = StreamSource(io.BytesIO(b"abcdef"))
    >>> source.read(1, 2), source.size(), source.read(5, 9)
    (b'bc', 6, b'f')
    """

    def __init__(self, stream: BinaryIO, limit: int = STREAM_LIMIT_BYTES) -> None:
        self._limit = limit
        # What is there is taken; without read1, a stream waits for all that it is asked for, which is never too much.
        self._take = getattr(stream, "read1", stream.read)
        self._data, self._ended = bytearray(), False

    def size(self) -> int:
        """How many bytes there are, which only the stream's end tells: it is waited for."""
        self._fill(self._limit + 1)
        return len(self._data)

    def read(self, offset: int, count: int) -> bytes:
        """The bytes from ``offset`` on, which are waited for; fewer than ``count`` only at the stream's end."""
        self._fill(offset + count)
        return bytes(self._data[offset : offset + count])

    def _fill(self, length: int) -> None:
        while not self._ended and len(self._data) < length:
            try:
                part = self._take(min(length - len(self._data), _PIECE_BYTES))
            except (OSError, ValueError) as error:  # closed, or opened for writing only
                raise _unreadable(error) from error
            if not isinstance(part, bytes):
                raise _no_bytes(part)
            self._data += part
            self._ended = not part
            if len(self._data) > self._limit:
                raise ArgumentError("file", "more bytes than that", f"at most {self._limit:,} bytes")


class HttpSource:
    """A file on a server that answers range requests: one request for every range.

    Args:
        url: ``http://…`` or ``https://…``.
        timeout_s: the longest silence of the server that is waited for, in seconds.

    Raises:
        ArgumentError: from its methods: no such file, no answer, or a server that knows no ranges.
    """

    def __init__(self, url: str, timeout_s: float = 60) -> None:
        self._url, self._timeout_s = url, timeout_s
        self._size: int | None = None

    def size(self) -> int:
        """How many bytes the file has, as the server says."""
        if self._size is None:
            self.read(0, 1)
        return self._size or 0

    def read(self, offset: int, count: int) -> bytes:
        """The bytes from ``offset`` on; fewer than ``count`` where the file ends, or the server ends its answer."""
        request = urllib.request.Request(self._url, headers={"Range": f"bytes={offset}-{offset + max(count, 1) - 1}"})
        data = b""
        try:
            with urllib.request.urlopen(request, timeout=self._timeout_s) as answer:
                first, total = _content_range(answer)
                if answer.status != http.client.PARTIAL_CONTENT or first != offset:
                    raise ArgumentError(
                        self._url, "a server that sends the whole file", "one that answers range requests",
                        "Let another program fetch it, and decode its output as `-`.",
                    )  # fmt: skip
                self._size = total
                while len(data) < count and (part := answer.read(min(count - len(data), _PIECE_BYTES))):
                    data += part
        except urllib.error.HTTPError as error:
            error.close()
            if error.code != http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
                raise self._error(f"{error.code} {error.reason}") from error
            self._size = _content_range(error)[1]
        except http.client.IncompleteRead as error:
            data += error.partial
        except ArgumentError:  # the one from above, a ValueError, too
            raise
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise self._error(str(getattr(error, "reason", error)) or type(error).__name__) from error
        return data[:count]

    def _error(self, reason: str) -> ArgumentError:
        return ArgumentError(self._url, reason, "a file that a server sends", "Check the address.")


def is_url(name: object) -> bool:
    """Whether a name is the address of a file on a server.

    >>> is_url("https://example.org/photo.atdc"), is_url("photo.atdc")
    (True, False)
    """
    return isinstance(name, str) and name.lower().startswith(("http://", "https://"))


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


FileLike: TypeAlias = Source | bytes | bytearray | memoryview | mmap.mmap | str | os.PathLike[str] | BinaryIO
"""Whatever a program may have a file in."""
_IN_MEMORY = (bytes, bytearray, memoryview, mmap.mmap)


@contextmanager
def opened(data: FileLike) -> Iterator[Source]:
    """A source of a file's bytes, whatever the file is in: its path or address, its bytes, a file object, or a source
    already.

    Raises:
        ArgumentError: nothing that has bytes, or a path that cannot be opened.

    >>> with opened(memoryview(b"abc")) as source:
    ...     source.read(1, 2)
    b'bc'
    """
    if isinstance(data, str) and is_url(data):
        yield HttpSource(data)
    elif isinstance(data, (str, os.PathLike)):
        with FileSource(data) as source:
            yield source
    elif isinstance(data, _IN_MEMORY):
        yield BytesSource(bytes(data))
    elif _is_source(data):
        yield data
    elif hasattr(data, "read"):
        stream = cast(BinaryIO, data)
        try:
            content: object = stream.read()
        except (OSError, ValueError) as error:  # closed, or opened for writing only
            raise _unreadable(error) from error
        if not isinstance(content, bytes):
            raise _no_bytes(content)
        if not content and _position(stream):
            problem = "0 bytes left in it: it has been read, or written, to its end"
            raise ArgumentError("file", problem, "a file object at its start", "Call its seek(0) first.")
        yield BytesSource(content)
    else:
        raise ArgumentError("file", type(data).__name__, "a path, bytes, or a file object")


def _is_source(data: object) -> TypeGuard[Source]:
    """Whether bytes are read from it by range. File objects have ``read``, too, and some of them a ``size``, which
    is a number or is not of bytes."""
    size = getattr(data, "size", None)
    return isinstance(data, Source) and callable(size) and not hasattr(data, "seek")


def _position(stream: BinaryIO) -> int:
    """Where a file object stands; 0 where it cannot say."""
    try:
        return stream.tell()
    except (AttributeError, OSError):
        return 0


@contextmanager
def arriving(data: FileLike) -> Iterator[Source]:
    """Like :func:`opened`, but a file object is read no further than is asked for: it may be a pipe that is written to.

    >>> import io
    >>> with arriving(io.BytesIO(b"abc")) as source:
    ...     source.read(1, 1)
    b'b'
    """
    file: object = data
    is_stream = hasattr(file, "read") and not isinstance(file, _IN_MEMORY) and not _is_source(file)
    with opened(StreamSource(cast(BinaryIO, data)) if is_stream else data) as source:
        yield source


def _content_range(answer: Any) -> tuple[int, int]:
    """The first byte of a server's answer, and how many the file has; -1 and 0 where it does not say."""
    match = re.fullmatch(r"bytes (?:(\d+)-\d+|\*)/(\d+)", answer.headers.get("Content-Range") or "")
    return (int(match[1] or -1), int(match[2])) if match else (-1, 0)


def _unreadable(error: OSError | ValueError) -> ArgumentError:
    problem = f"an object that cannot be read ({error})"
    return ArgumentError("file", problem, "an open file object", "Open it with 'rb'.")


def _no_bytes(content: object) -> ArgumentError:
    return ArgumentError("file", f"an object that reads {type(content).__name__}", "bytes", "Open it with 'rb'.")
