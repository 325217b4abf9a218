"""Reading and writing whole files: bounded when reading, all or nothing when writing."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from pathlib import Path

from atdc.errors import ArgumentError, AtdcError, OutputError

_CURES = {
    errno.ENOSPC: "Free some space, or write to another disk.",
    errno.EDQUOT: "Free some space, or write to another disk.",
    errno.EACCES: "Choose another folder, or change its permissions.",
    errno.EPERM: "Choose another folder, or change its permissions.",
    errno.EROFS: "Choose another folder: this file system is read-only.",
    errno.ENOENT: "Create the folder first.",
    errno.ENOTDIR: "Create the folder first.",
    errno.ENAMETOOLONG: "Choose a shorter name.",
}


def require_name(path: str | os.PathLike[str], error_class: type[AtdcError] = ArgumentError) -> None:
    """Refuses what no file is called: an empty name, which paths take for the current folder, and one with a NUL.

    Raises:
        AtdcError: of that class.

    >>> require_name("")
    Traceback (most recent call last):
    atdc.errors.ArgumentError: '': found an empty name; expected the path of a file. Check the variable it comes from.
    """
    name = os.fspath(path)
    if not name:
        raise error_class("''", "an empty name", "the path of a file", "Check the variable it comes from.")
    if "\0" in name:
        raise error_class(
            repr(name), "a path that holds a NUL", "the path of a file", "Check where it comes from: NULs end paths."
        )


def make_folder(folder: Path) -> None:
    """Creates a folder and its parents, where they are not there yet.

    Raises:
        OutputError: there is a file in the way, no permission, or a full disk.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = "a file" if isinstance(error, (FileExistsError, NotADirectoryError)) else reason_of(error)
        raise OutputError(str(folder), reason, "a folder to write to", "Choose another one with -o.") from error


def write_bytes_atomically(path: str | os.PathLike[str], data: bytes | memoryview) -> None:
    """Writes a file so that it is there in full or not at all.

    The bytes go to a temporary file in the same folder, to the disk, and only then under their name: whatever happens
    on the way, a file that was there before stays as it was. A symbolic link keeps pointing to what it points to.

    Args:
        path: where to; an existing regular file is replaced.
        data: all of its bytes.

    Raises:
        OutputError: no such folder, no permission, a full disk, or the path is no regular file; nothing is left behind.
    """
    try:
        target = Path(os.path.realpath(path))
        if target.exists() and not target.is_file():
            what = "a folder" if target.is_dir() else "a device or pipe"
            raise OutputError(str(path), what, "the name of a file", "Choose another name.")
        mode = stat.S_IMODE(target.stat().st_mode) if target.exists() else None
        temporary = target.with_name(f".{target.name[:40]}.{secrets.token_hex(4)}.part")  # of 4 bytes a letter at most
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
        try:
            try:
                view = memoryview(data)
                while view:
                    view = view[os.write(descriptor, view) :]
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            if mode is not None:
                os.chmod(temporary, mode)
            os.replace(temporary, target)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
    except ValueError as error:
        raise OutputError(repr(path), str(error), "the name of a file", "Choose another name.") from error
    except OSError as error:
        cure = _CURES.get(error.errno or 0, "Choose another place.")
        raise OutputError(str(path), reason_of(error), "a place to write to", cure) from error


def write_bytes_unless_others(path: str | os.PathLike[str], data: bytes, *, replace: bool = False) -> None:
    """Writes a file as :func:`write_bytes_atomically`, but never in place of other bytes, unless told to.

    Where the same bytes are there already, nothing is done: a command that is repeated succeeds.

    Args:
        path: where to.
        data: all of its bytes.
        replace: other bytes may be lost.

    Raises:
        OutputError: a file of other content is there, or writing fails.
    """
    if not replace and refuse_others(path, data):
        return
    write_bytes_atomically(path, data)


def refuse_others(path: str | os.PathLike[str], data: bytes) -> bool:
    """Raises if writing these bytes would lose others; otherwise, whether they are there already.

    Raises:
        OutputError: a file of other content is there.
    """
    target = Path(path)
    if not os.path.isfile(target):  # or in a folder that may not be entered, which writing will say
        return False
    try:
        lost = target.stat().st_size != len(data) or target.read_bytes() != data
    except (OSError, ValueError):  # it cannot be read, so it cannot be told apart from what is to be written
        lost = True
    if lost:
        cure = "Add --force to replace it, or choose another name with -o."
        raise OutputError(str(path), "a file of other content", "none, or the same", cure)
    return True


def read_bytes(path: str | os.PathLike[str], limit: int, *, error_class: type[AtdcError] = ArgumentError) -> bytes:
    """A whole file, if it is no larger than the reader is ready to hold.

    Args:
        path: the file.
        limit: the most bytes it may have; never more than one byte beyond it is read.
        error_class: what to raise; an image reader passes ``ImageError``.

    Raises:
        AtdcError: of that class: no such file, no permission, not a file, or larger than the limit.
    """
    require_name(path, error_class)
    try:
        with open(path, "rb") as file:
            data = file.read(limit + 1)
    except OSError as error:
        raise error_class(str(path), reason_of(error), "a file to read", "Check the path.") from error
    if len(data) > limit:
        raise error_class(str(path), f"more than {limit} bytes", f"at most {limit} bytes", "Check the path.")
    return data


def reason_of(error: OSError) -> str:
    """The operating system's sentence, without the number and the path around it.

    >>> reason_of(FileNotFoundError(2, "No such file or directory", "here"))
    'no such file or directory'
    """
    return (error.strerror or str(error)).lower()
