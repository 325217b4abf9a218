"""Answers as files: for every task a PNG to look at and an ``.npy`` to compute with."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from atdc.errors import ArgumentError, DataError
from atdc.files import make_folder, refuse_others, write_bytes_atomically
from atdc.report.answer_images import image_of


def answer_names(tasks: Iterable[str]) -> list[str]:
    """The names of the files that :func:`write_answers` writes.

    >>> answer_names(["rgb"])
    ['rgb.png', 'rgb.npy']
    """
    return [f"{task}{suffix}" for task in tasks for suffix in (".png", ".npy")]


def answers_as_bytes(answers: Mapping[str, NDArray[np.generic]], suffix: str, name: str = "file") -> bytes:
    """Answers as one file: a ``.png`` or ``.npy`` of one, or a ``.zip`` of all files, which ``np.load`` opens, too.

    Args:
        answers: by task.
        suffix: of the file.
        name: what to call it in errors.

    Raises:
        ArgumentError: another suffix, or more than one answer for a file of one.

    >>> answers_as_bytes({"depth_zbuffer": np.ones((2, 2), np.float32)}, ".npy")[:6]
    b'\\x93NUMPY'
    """
    if suffix != ".zip" and (len(answers) != 1 or suffix not in _WRITERS):
        count, cure = f"{len(answers)} answer{'s' if len(answers) > 1 else ''}", "Name one by --tasks, or a folder."
        raise ArgumentError(name, count, "one in .npy or .png, or any number in .zip", cure)
    if suffix != ".zip":
        ((task, answer),) = answers.items()
        return _WRITERS[suffix](task, answer)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in _files_of(answers).items():
            archive.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)  # no date: same answers, same bytes
    return buffer.getvalue()


def write_answers(folder: Path, answers: Mapping[str, NDArray[np.generic]], *, replace: bool = True) -> list[Path]:
    """Write ``<task>.png`` (see :mod:`atdc.report.answer_images`) and ``<task>.npy`` (the numbers themselves).

    Args:
        folder: made if it is not there; files in it with these names are replaced.
        answers: as :meth:`atdc.Codec.decode` returns them.
        replace: files of other content with these names may be lost; otherwise nothing is written where there is one.

    Returns:
        The files written.

    Raises:
        OutputError: a file cannot be written, or may not be replaced; none is left half written.
    """
    make_folder(folder)
    files = {folder / name: data for name, data in _files_of(answers).items()}
    if not replace:
        for path, data in files.items():
            refuse_others(path, data)
    for path, data in files.items():
        write_bytes_atomically(path, data)
    return list(files)


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


def _png(task: str, answer: NDArray[np.generic]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image_of(task, answer)).save(buffer, "PNG")
    return buffer.getvalue()


def _npy(task: str, answer: NDArray[np.generic]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, answer, allow_pickle=False)
    return buffer.getvalue()


_WRITERS = {".png": _png, ".npy": _npy}


def _files_of(answers: Mapping[str, NDArray[np.generic]]) -> dict[str, bytes]:
    return {f"{task}{suffix}": make(task, answers[task]) for task in answers for suffix, make in _WRITERS.items()}
