"""From what is named on a command line to the files that are meant, each with a place of its own for its output.

A file is kept by its name, a file in a named folder by its path below that folder, a match of a pattern by its path
below the part without wildcards, and a line of a list by its path as written (as ``tar`` does: without a leading ``/``
or ``..``). So equal stems of different folders stay apart; inputs whose outputs would still be one are all refused.

A linked folder is entered where it is named, by whole path or as a part of a pattern, and passed over below a folder
and by ``**``, so that no loop is endless; links to files are files. Hidden names, which begin with a dot, are passed
over below a folder, and by patterns without such names in them.
"""

from __future__ import annotations

import errno
import glob
import os
import stat
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import BinaryIO, cast
from urllib.parse import urlsplit

from atdc.bitstream import sources
from atdc.bitstream.sources import STREAM_LIMIT_BYTES, HttpSource, Source, StreamSource, is_url
from atdc.errors import ArgumentError, OutputError
from atdc.files import read_bytes, reason_of

STANDARD_INPUT = "-"
_KINDS_NAMED = 3
"""Of other files than a command reads, in a folder that has no others."""
_LIST_LIMIT_BYTES = 256 * 2**20
FILE_LIMIT_BYTES = 256 * 2**20
"""A larger file is not read: no image that this package accepts needs as much."""


@dataclass(frozen=True, slots=True)
class Item:
    """One input.

    Attributes:
        name: what messages call it: the path as given, or ``-``.
        path: the regular file with its bytes; for a pipe, a temporary copy.
        place: where its output belongs below the output folder, without a suffix.
        refusal: why nothing is done with it; empty if something is.
    """

    name: str
    path: Path
    place: Path
    refusal: str = ""


def find_items(
    names: Sequence[str], listed: str | None, wanted: Callable[[Path], bool], temporary: Callable[[], Path] | None
) -> list[Item]:
    """All inputs, in the order given; folders' contents sorted.

    Args:
        names: files, folders, patterns (``*``, ``?``, ``[…]``, ``**``) that the shell has left, or ``-``.
        listed: a file of one such name a line, or ``-``; None for none.
        wanted: of a folder's files, those that are meant.
        temporary: gives a folder for copies of what comes through pipes; None if pipes are read as they are.

    Raises:
        ArgumentError: the list cannot be read, or standard input is asked for twice.
    """
    arguments = [*names, *([] if listed is None else [listed])]
    _once(arguments)
    lines = [] if listed is None else _lines(listed)
    _once([*arguments, *lines])
    items = [item for name in names for item in _expanded(name, None, wanted)]
    items += [item for line in lines for item in _expanded(line, _relative(Path(line)), wanted)]
    distinct: dict[tuple[Path, Path, str], Item] = {}
    for item in items:
        distinct.setdefault((item.path, item.place, item.refusal), item)  # ./a and a are one file
    if temporary is None:
        return list(distinct.values())
    return [_with_regular_file(item, temporary, number) for number, item in enumerate(distinct.values())]


def apart(items: Iterable[Item], targets: Callable[[Item], Sequence[Path]]) -> list[Item]:
    """The items, those refused that would have one output together, or whose output would replace the input itself.

    Args:
        items: the inputs.
        targets: of an input, all its outputs.

    Of those with one output none is preferred: which of them comes first, can be read or was done before plays no part.
    """
    items = list(items)
    sharing: dict[str, list[Item]] = defaultdict(list)
    for item in items:
        if not item.refusal:
            for path in targets(item):
                sharing[_key(path)].append(item)
    result = []
    for item in items:
        for path in () if item.refusal else targets(item):
            problem, expected, cure = "", "", ""
            if rivals := [rival for rival in sharing[_key(path)] if rival is not item]:
                problem, expected = f"{path}, which {rivals[0].name} would be written to, too", "an output of its own"
                cure = _cure_of_sharing(Path(item.name), Path(rivals[0].name))
            elif _same_file(path, item.path):
                problem, expected = "the input itself as its output", "another file"
                cure = "Choose another name with -o."
            if problem:
                item = replace(item, refusal=_refusal(item.name, problem, expected, cure))
                break
        result.append(item)
    return result


def _key(output: Path) -> str:
    try:
        return os.path.normcase(os.path.abspath(output))
    except OSError:  # this process's folder is gone: whoever writes the output says so
        return os.path.normcase(output)


def _cure_of_sharing(path: Path, rival: Path) -> str:
    if path.parent != rival.parent:
        return "Name their common folder instead, or use two calls with different -o folders."
    if path.suffix == rival.suffix:
        return "Use two calls with different -o folders."
    kinds = " and ".join(f"'{file.with_name('*' + file.suffix)}'" for file in (path, rival))
    return f"Use two calls with different -o folders, for example for the patterns {kinds}."


def _same_file(path: Path, input_path: Path) -> bool:
    try:
        return os.path.samefile(path, input_path)
    except (OSError, ValueError):  # one of them is not there, or may not be looked at: whoever opens it says so
        return False


def _once(names: Sequence[str]) -> None:
    if sum(name in (STANDARD_INPUT, "/dev/stdin") for name in names) > 1:
        raise ArgumentError("standard input", "named twice", "one use of it", "Name the other input as a file.")


def is_features(path: Path) -> bool:
    """Whether a file holds features, by its name."""
    from atdc.data.dumped import SUFFIXES

    return path.suffix.lower() in SUFFIXES


@contextmanager
def opened(item: Item) -> Iterator[Source]:
    """A file to be read by range, on the disk or on a server."""
    with sources.opened(item.name if is_url(item.name) else item.path) as source:
        if source.size() > FILE_LIMIT_BYTES:
            limit = f"at most {FILE_LIMIT_BYTES:,} bytes"
            raise ArgumentError(item.name, f"{source.size():,} bytes", limit, "Check the path.")
        yield source


def is_arriving(item: Item) -> bool:
    """Whether an input's bytes may still be on their way: those of a pipe that was not copied, or of a server."""
    return is_url(item.name) or _is_standard_input(item) or _is_pipe(item.path)


@contextmanager
def arriving_bytes(item: Item) -> Iterator[Source]:
    """The bytes of an input that :func:`is_arriving`, as they come.

    Raises:
        ArgumentError: it cannot be read.
    """
    with ExitStack() as stack:
        if is_url(item.name):
            yield HttpSource(item.name)
            return
        try:
            is_standard = _is_standard_input(item)
            stream = _standard_input() if is_standard else stack.enter_context(open(item.path, "rb"))
        except OSError as error:
            reason = reason_of(error)
            raise ArgumentError(item.name, reason, "bytes to read", "Check the path.") from error
        yield StreamSource(stream)


def _is_standard_input(item: Item) -> bool:
    """Whether it is what ``-`` stands for, and no file of that name: ``./-``, or a match of a pattern."""
    return item.name == STANDARD_INPUT and item.path == Path(STANDARD_INPUT) and item.place == Path("stdin")


def _standard_input() -> BinaryIO:
    stream = getattr(sys.stdin, "buffer", None)
    if stream is None:  # closed before this program began
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))
    return cast(BinaryIO, stream)


def _lines(listed: str) -> list[str]:
    try:
        data = _standard_input().read() if listed == STANDARD_INPUT else read_bytes(listed, _LIST_LIMIT_BYTES)
    except OSError as error:
        reason = reason_of(error)
        raise ArgumentError("standard input", reason, "a list of inputs", "Name a file with --from-file.") from error
    text = data.decode("utf-8-sig", "surrogateescape")
    if "\0" in text:  # find -print0
        return [name for name in text.split("\0") if name]
    lines = (line.removesuffix("\r") for line in text.split("\n"))  # a name may hold whatever else ends a line
    return [line for line in lines if line.strip()]


def _expanded(name: str, base: Path | None, wanted: Callable[[Path], bool]) -> Iterator[Item]:
    """The items that a name means, kept below ``base``; None: below nothing, a file by its name."""
    path = Path(name)
    if name in (STANDARD_INPUT, "/dev/stdin"):
        yield Item(name, path, Path("stdin"))
    elif is_url(name):
        yield _on_server(name)
    elif os.path.isdir(path):  # unlike Path.is_dir, it raises nothing where a folder may not be entered
        yield from _in_folder(path, base or Path(), wanted)
    elif not os.path.lexists(path) and glob.has_magic(name):
        fixed = _before_wildcards(path)
        matches = _matches(fixed, path.relative_to(fixed).parts)
        for match in matches:
            yield Item(str(match), match, _stem(_relative(match) if base else match.relative_to(fixed)))
        if not matches:
            yield Item(name, path, path, _refusal(name, "no file of this pattern", "some", "Check the path."))
    else:
        yield Item(name, path, _stem(base or Path(path.name)))


def _on_server(address: str) -> Item:
    try:
        stem = PurePosixPath(urlsplit(address).path).stem
    except ValueError as error:  # such as a bracket that is not closed
        return Item(address, Path(address), Path("file"), _refusal(address, str(error), "an address", "Check it."))
    return Item(address, Path(address), Path("file" if stem in ("", ".", "..") else stem))


def _in_folder(folder: Path, base: Path, wanted: Callable[[Path], bool]) -> Iterator[Item]:
    unreadable: list[OSError] = []
    empty, suffixes = True, Counter[str]()
    for parent, folders, files in os.walk(folder, onerror=unreadable.append):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for path in (Path(parent, name) for name in sorted(files) if not name.startswith(".")):
            if not wanted(path):
                suffixes[path.suffix.lower() or path.name] += 1
            elif not _is_pipe(path):  # one that nobody writes to would be waited for
                empty = False
                yield Item(str(path), path, _stem(base / path.relative_to(folder)))
    for error in unreadable:
        reason = reason_of(error)
        where = str(error.filename)
        yield Item(
            where, Path(where), Path(where), _refusal(where, reason, "a folder to read", "Check its permissions.")
        )
    if empty and not unreadable:
        kinds = ", ".join(f"{count} {suffix}" for suffix, count in suffixes.most_common(_KINDS_NAMED))
        problem = f"a folder of other files ({kinds})" if kinds else "a folder without files"
        cure = "Name files by their paths."
        if any(suffix in (".npz", ".safetensors") for suffix in suffixes):
            cure = "For features, name weights that were fitted to them by --model."
        refusal = _refusal(str(folder), problem, "files that this command reads", cure)
        yield Item(str(folder), folder, folder, refusal)


def _matches(folder: Path, parts: Sequence[str]) -> list[Path]:
    """The files below a folder that a pattern means, sorted."""
    hidden = any(part.startswith(".") for part in parts)
    pattern = Path(*parts, "*") if parts[-1] == "**" else Path(*parts)  # where ** alone is the folders
    paths = {path for path in folder.glob(str(pattern)) if not os.path.isdir(path)}
    shown = (p for p in paths if hidden or not any(part.startswith(".") for part in p.relative_to(folder).parts))
    return sorted(shown, key=str)


def _before_wildcards(path: Path) -> Path:
    fixed = Path(path.anchor)
    for part in path.parts[len(fixed.parts) : -1]:
        if glob.has_magic(part):
            break
        fixed /= part
    return fixed


def _relative(path: Path) -> Path:
    """As written, without a root and without ways up."""
    parts = Path(os.path.normpath(path)).relative_to(Path(os.path.normpath(path)).anchor).parts
    return Path(*(part for part in parts if part != os.pardir))


def _stem(path: Path) -> Path:
    return path.parent / path.stem


def _with_regular_file(item: Item, temporary: Callable[[], Path], number: int) -> Item:
    """The item; where it is a pipe, with its bytes in a temporary file, which can be read from any place."""
    if item.refusal:
        return item
    try:
        if _is_standard_input(item):
            return _copied(item, _standard_input(), temporary() / str(number))
        if is_url(item.name) or (item.name != "/dev/stdin" and not _is_pipe(item.path)):
            return item
        with open(item.path, "rb") as stream:
            return _copied(item, stream, temporary() / str(number))
    except OSError as error:
        reason = reason_of(error)
        return replace(item, refusal=_refusal(item.name, reason, "bytes to read", "Check the path."))


def _is_pipe(path: Path) -> bool:
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):  # whoever reads it says what is wrong
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def _copied(item: Item, stream: BinaryIO, copy: Path) -> Item:
    with open(copy, "wb") as file:
        remainder = STREAM_LIMIT_BYTES + 1
        while remainder and (part := stream.read(min(remainder, 2**20))):
            file.write(part)
            remainder -= len(part)
    if not remainder:
        limit = f"at most {STREAM_LIMIT_BYTES:,} bytes"
        return replace(item, refusal=_refusal(item.name, "more bytes than that", limit, "Check where they come from."))
    return replace(item, path=copy)


def _refusal(where: str, problem: str, expected: str, cure: str) -> str:
    return str(OutputError(where, problem, expected, cure))
