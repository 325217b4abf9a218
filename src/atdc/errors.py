"""One class per way to fail; every message says where, what was found, what was expected, and the cure.

Every error a user can meet derives from :class:`AtdcError`, so ``except AtdcError`` is the one net a program needs.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any


class AtdcError(Exception):
    """Base of every error raised on purpose.

    Args:
        where: the place that noticed (a file path, a field of a file, an argument's name).
        found: what was there.
        expected: what would have been right.
        cure: what to do or to type next, a sentence; may be empty when there is nothing to do.

    >>> print(AtdcError("quality", "9", "a number from 0 to 7", "Pass --quality 4."))
    quality: found 9; expected a number from 0 to 7. Pass --quality 4.
    """

    def __init__(self, where: str, found: str, expected: str, cure: str = "") -> None:
        cure = cure[:1].upper() + cure[1:]
        self.where, self.found, self.expected, self.cure = where, found, expected, cure
        super().__init__(f"{where}: found {found}; expected {expected}.{' ' + cure if cure else ''}")

    def __reduce__(self) -> tuple[type[AtdcError], tuple[str, str, str, str], dict[str, Any]]:
        """Pickles and copies with all fields and notes: a process pool hands errors on in pickled form."""
        return type(self), (self.where, self.found, self.expected, self.cure), self.__dict__


class FitWarning(UserWarning):
    """Features that a codec can be fitted to, though little may come of it, or a training that changes nothing."""


class FeatureWarning(UserWarning):
    """Features are so far outside what the weights were trained on that their answers, and others', are in doubt."""


class ArgumentError(AtdcError, ValueError):
    """A value from outside (a task name, a graph setting, a quality, a recipe field) is not usable."""


class ImageError(AtdcError):
    """An input image cannot be read: not an image, truncated, empty, or larger than the pixel limit."""


class OutputError(AtdcError):
    """A result cannot be written: no permission, no such folder, a full disk. No half-written file is left."""


class WeightsError(AtdcError):
    """Model weights are missing, damaged, or of another architecture."""


class GraphError(AtdcError, ValueError):
    """A task graph that would be cyclic, have too many parents, or name unknown tasks."""


class DataError(AtdcError):
    """A data set folder or cache is missing, incomplete, or of another version."""


class ProgramError(AtdcError):
    """A program or library that does not come with ATDC is not there, fails, or takes too long."""


class NetworkError(AtdcError):
    """Somebody's network cannot be run or cut as it was asked for, or is not the one that features were made by."""


class CutError(NetworkError):
    """A cut does not separate a network: another tensor still goes from the first half to the second."""


class BitstreamError(AtdcError):
    """Base of everything that can be wrong with the bytes of an ATDC file."""


class NotAnAtdcFileError(BitstreamError):
    """The magic bytes are absent: this is some other kind of file (or an empty one)."""


class UnsupportedVersionError(BitstreamError):
    """The file's format version or profile is not one this reader knows."""


class WrongModelError(BitstreamError):
    """The file was written with other weights than the ones loaded; both fingerprints are named."""


class TruncatedFileError(BitstreamError):
    """The file ends before its header says it should."""


class IncompleteFileError(BitstreamError):
    """A file that is decoded as it arrives has ended, or is damaged, before all that was asked for was there.

    Attributes:
        missing: by tensor's name, why it is not there.
    """

    missing: Mapping[str, BitstreamError] = MappingProxyType({})


class CorruptFileError(BitstreamError):
    """A checksum, a field's range, or the entropy-coded payload contradicts itself, or bytes trail the end."""


_NOT_THE_CALLERS = ("atdc", "contextlib", "torch")
"""Packages; decorators are of the latter two."""


def caller_level() -> int:
    """The `stacklevel` of :func:`warnings.warn` by which a warning names the line of the program that called us."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").split(".")[0] in _NOT_THE_CALLERS:
        level, frame = level + 1, frame.f_back
    return level
