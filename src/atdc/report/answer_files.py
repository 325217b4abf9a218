"""Answers as files: for every task a PNG to look at and an ``.npy`` to compute with."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from atdc.errors import DataError, OutputError
from atdc.files import write_bytes_atomically
from atdc.report.pictures import picture_of


def make_folder(folder: Path) -> None:
    """Create a folder and its parents.

    Raises:
        OutputError: there is a file in the way, no permission, or a full disk.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        found = "a file" if isinstance(error, (FileExistsError, NotADirectoryError)) else (error.strerror or str(error))
        raise OutputError(str(folder), found.lower(), "a folder to write to", "Choose another one with -o.") from error


def write_answers(folder: Path, answers: Mapping[str, NDArray[np.generic]]) -> list[Path]:
    """Write ``<task>.png`` (see :mod:`atdc.report.pictures`) and ``<task>.npy`` (the numbers themselves).

    Args:
        folder: made if it is not there; files in it with these names are replaced.
        answers: as :meth:`atdc.Codec.decode` returns them.

    Returns:
        The files written.

    Raises:
        OutputError: a file cannot be written; none is left half written.
    """
    make_folder(folder)
    written = []
    for task, answer in answers.items():
        for suffix, data in ((".png", _png(picture_of(task, answer))), (".npy", _npy(answer))):
            path = folder / f"{task}{suffix}"
            write_bytes_atomically(path, data)
            written.append(path)
    return written


def read_answers(folder: Path, tasks: Iterable[str]) -> dict[str, NDArray[np.generic]]:
    """The numbers that :func:`write_answers` has written.

    Raises:
        DataError: a task's file is missing or damaged.
    """
    answers = {}
    for task in tasks:
        path = folder / f"{task}.npy"
        try:
            answers[task] = np.load(path, allow_pickle=False)
        except (OSError, ValueError) as error:
            raise DataError(str(path), str(error), "an array written by `atdc decode`") from error
    return answers


def _png(picture: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG")
    return buffer.getvalue()


def _npy(answer: NDArray[np.generic]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, answer, allow_pickle=False)
    return buffer.getvalue()
