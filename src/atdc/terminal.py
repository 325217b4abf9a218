"""Standard output and standard error that cannot fail a job: what cannot be shown is spelled out, what cannot be
written is remembered instead of raised.

A line about a finished file is worth less than the file: a terminal of few characters, a full disk behind ``>`` or a
reader that has gone must not end the work. Where the output *is* the work, as with ``--json`` or ``-o -``, the command
asks at its end (:func:`require_output`, :func:`write_data`). Tables all look alike (:func:`plain_table`).
"""

from __future__ import annotations

import codecs
import errno
import io
import select
import sys
import unicodedata
from collections.abc import Sequence
from io import BufferedIOBase, RawIOBase
from typing import TYPE_CHECKING, TextIO

from rich import markup
from rich.box import SIMPLE_HEAD
from rich.table import Table

from atdc.errors import OutputError
from atdc.files import reason_of

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer

_OBEYED = frozenset({"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"})
"""Unicode's bidirectional classes of characters that turn the direction of what follows."""
_SPELLED_OUT = {"→": "->", "×": "x", "–": "-", "−": "-", "…": "...", "“": '"', "”": '"', "’": "'"}
_HANDLER = "atdc.spelled_out"


class LenientOutput(io.RawIOBase):
    """Bytes to a stream; after its first failure, to nowhere.

    Attributes:
        failure: why writing failed; None as long as it has not.
    """

    def __init__(self, raw: RawIOBase | BufferedIOBase) -> None:
        self._raw = raw
        self.failure: OSError | None = None

    def writable(self) -> bool:
        """It is."""
        return True

    def write(self, data: Buffer, /) -> int:
        """How many bytes were taken: all, where they go nowhere."""
        if self.failure is None:
            try:
                while (count := self._raw.write(data)) is None:  # a pipe that does not block, and is full
                    select.select([], [self._raw], [])
            except OSError as error:
                self.failure = error
            else:
                return count
        return memoryview(data).nbytes

    def fileno(self) -> int:
        """Of the stream."""
        return self._raw.fileno()

    def isatty(self) -> bool:
        """Whether the stream is a terminal."""
        return self._raw.isatty()


def plain_table(first: str, numbers: Sequence[str]) -> Table:
    """A table with one column of words and some of numbers."""
    table = Table(header_style="bold", box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column(first, overflow="fold")  # a name is of use only as a whole
    for name in numbers:
        table.add_column(name, justify="right")
    return table


def shown(text: str) -> str:
    """The text, with everything spelled out that a terminal would obey: control characters, ends of lines, and turns of
    the direction of writing. File names may hold them.

    >>> shown("a\\nb \\x1b[31mc")
    'a\\\\nb \\\\x1b[31mc'
    """

    def is_obeyed(character: str) -> bool:
        return unicodedata.category(character) in ("Cc", "Zl", "Zp") or unicodedata.bidirectional(character) in _OBEYED

    return "".join(c.encode("unicode_escape").decode() if is_obeyed(c) else c for c in text)


def escape(text: str) -> str:
    """The text for rich's consoles: :func:`shown`, and not taken for markup."""
    return markup.escape(shown(text))


def guard_output() -> None:
    """Makes ``sys.stdout`` and ``sys.stderr`` lenient, for the rest of the process."""
    codecs.register_error(_HANDLER, _spelled_out)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if isinstance(stream, io.TextIOWrapper):
            raw: RawIOBase | BufferedIOBase = getattr(stream.buffer, "raw", None) or stream.buffer
            binary: io.BufferedWriter = io.BufferedWriter(LenientOutput(raw))
            lenient = io.TextIOWrapper(
                binary, stream.encoding, _HANDLER, line_buffering=stream.line_buffering or name == "stderr"
            )
            setattr(sys, name, lenient)


def require_output(*, to_the_end: bool = False) -> None:
    """Raises if standard output has not taken what was printed.

    Args:
        to_the_end: a reader that has gone (``| head``) is a failure, too; otherwise it has had what it wanted.

    Raises:
        OutputError: with the operating system's reason.
    """
    stream = _standard_output()
    stream.flush()
    raw = getattr(getattr(stream, "buffer", None), "raw", None)
    failure = raw.failure if isinstance(raw, LenientOutput) else None
    if failure is not None and (to_the_end or failure.errno not in (errno.EPIPE, errno.EINVAL)):
        reason = reason_of(failure)
        raise OutputError("standard output", reason, "a place to write to", "Name a file with -o, or free some space.")


def write_data(data: bytes) -> None:
    """Bytes to standard output, all of them.

    Raises:
        OutputError: it takes no bytes, or not all of them.
    """
    stream = _standard_output()
    stream.flush()
    stream.buffer.write(data)
    require_output(to_the_end=True)


def _standard_output() -> TextIO:
    stream: TextIO | None = sys.stdout
    if stream is None:
        raise OutputError("standard output", "a closed one", "a place to write to", "Send it to a file or a program.")
    return stream


def _spelled_out(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    return "".join(_SPELLED_OUT.get(c) or c.encode("ascii", "backslashreplace").decode() for c in text), error.end
