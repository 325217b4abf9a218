"""Libraries and programs that ATDC does not bring along: found, called, and clearly missed where they are not there."""

from __future__ import annotations

import importlib
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from atdc.errors import ProgramError

INSTALL_CODECS = "Install it: pip install imagecodecs av"
"""The cure for a missing library."""


def load_library(name: str) -> Any:
    """An optional Python package, imported.

    Raises:
        ProgramError: it is not installed, or cannot be loaded here.

    >>> load_library("json").loads("[1]")
    [1]
    >>> load_library("no_such_package")
    Traceback (most recent call last):
    atdc.errors.ProgramError: no_such_package: found nothing to import (No module named 'no_such_package'); expected ...
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ProgramError(name, f"nothing to import ({error})", "the package", INSTALL_CODECS) from error


def missing_library(name: str) -> str | None:
    """One sentence if an optional Python package cannot be imported, None if it can.

    >>> missing_library("json") is None
    True
    """
    try:
        load_library(name)
    except ProgramError as error:
        return str(error)
    return None


def run_program(command: Sequence[str | Path], timeout_s: float, *, any_status: bool = False) -> str:
    """Runs a program to its end, without a shell, and returns what it printed (standard output, then errors).

    Args:
        command: the program's path and its arguments.
        timeout_s: it is stopped after this many seconds.
        any_status: what it prints is all that counts, whatever status it ends with.

    Raises:
        ProgramError: it cannot be started, does not end in time, or ends with a status other than zero; the last line
            that it printed is named.

    >>> import sys
    >>> run_program([sys.executable, "-c", "print('hello')"], 20).strip()
    'hello'
    """
    words = [str(word) for word in command]
    name = Path(words[0]).name
    try:
        result = subprocess.run(
            words, stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout_s, check=False, errors="replace"
        )
    except subprocess.TimeoutExpired as error:
        raise ProgramError(name, f"no end after {timeout_s:g} seconds", "one by then", "Allow it more.") from error
    except OSError as error:
        raise ProgramError(name, f"a program that does not start ({error})", "one that runs here") from error
    if result.returncode != 0 and not any_status:
        lines = [line.strip() for line in (result.stdout + "\n" + result.stderr).splitlines() if line.strip()]
        message = f": {lines[-1][:200]}" if lines else ""
        raise ProgramError(name, f"status {result.returncode}{message}", "status 0")
    return result.stdout + result.stderr
