"""Labelled images as a tree of Taskonomy files, so that programs made for Taskonomy run on rooms or NYUv2.

One file a target, named and laid out as :mod:`atdc.data.taskonomy` says: the first image is ``point_0_view_0``. Stored
targets keep their precision:

=================  ==================================================================================================
target             in the file
=================  ==================================================================================================
rgb, normal        the same bytes; a normal that was not measured is 128, 128, 128
depth_zbuffer      the same number, 1/512 m; 65535 where depth was not measured, which both conventions mask
keypoints2d        our 0 … 1 as 0 … 0.005 of 16 bits, Taskonomy's usual range: ``round(v / 255 · 0.005 · 65535)``
edge_texture       our 0 … 1 as 0 … 0.08 of 16 bits
segment_semantic   class + 1, so that 0 is unlabelled, as there. The classes remain ours (or NYU's), not Taskonomy's.
=================  ==================================================================================================
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from atdc.data.labelled import IMAGE, LabelledImages
from atdc.data.taskonomy import DOMAINS, SPLIT_TABLE, file_of, read_split
from atdc.errors import ArgumentError, DataError, OutputError
from atdc.files import reason_of, write_bytes_atomically


def export_taskonomy(
    data: LabelledImages,
    folder: Path,
    building: str,
    split: Literal["train", "val", "test"],
    count: int | None = None,
) -> None:
    """Writes a building with one file per image and target, and notes its split in ``train_val_test.csv``.

    Every file appears whole or not at all. A run that was stopped continues with the first image that lacks a file;
    files that are there are left as they are, once the first image has been seen to be the same.

    Args:
        data: rooms, NYUv2 or anything with stored targets.
        folder: what holds, or will hold, the domains' folders.
        building: a new name.
        split: what the building is for.
        count: how many images from the start; all of them if None.

    Raises:
        ArgumentError: a count, split or name that makes no sense.
        DataError: the building is there and holds other images, or the table of splits is none.
        OutputError: the folder cannot be written.
    """
    count = len(data) if count is None else count
    if not 1 <= count <= len(data):
        raise ArgumentError("count", str(count), f"a number from 1 to {len(data)}")
    if split not in ("train", "val", "test"):
        raise ArgumentError("split", repr(split), "train, val or test")
    if not building or not all(letter.isalnum() or letter in "-_" for letter in building):
        raise ArgumentError("building", repr(building), "letters, digits, hyphens and underscores")
    folder = Path(folder)
    _recognise(data, folder, building)
    _make_folders(folder, building)
    missing = [
        [task for task in DOMAINS if not file_of(folder, task, building, point, 0).exists()] for point in range(count)
    ]
    bar = tqdm(total=count, initial=missing.count([]), desc=f"export {building}", unit="image", disable=None)
    with bar:
        for point, tasks in enumerate(missing):
            if not tasks:
                continue
            stored = data.targets([point], tasks)
            for task in tasks:
                array = DOMAINS[task].to_file(np.asarray(stored[task])[0])
                write_bytes_atomically(file_of(folder, task, building, point, 0), _png(array))
            bar.update()
    _note_split(folder / SPLIT_TABLE, building, split)


def _png(array: NDArray[np.integer]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "PNG", compress_level=4)
    return buffer.getvalue()


def _recognise(data: LabelledImages, folder: Path, building: str) -> None:
    """Refuses to resume in a building that was begun with other images."""
    path = file_of(folder, IMAGE, building, 0, 0)
    if not path.exists():
        return
    try:
        with Image.open(path) as image:
            pixels = np.array(image)
    except Exception as error:  # Pillow's readers let OSError, SyntaxError, ValueError, struct.error, … escape
        raise DataError(str(path), f"no readable image ({error})", "an exported image", "delete it.") from error
    if not np.array_equal(pixels, DOMAINS[IMAGE].to_file(np.asarray(data.targets([0], [IMAGE])[IMAGE])[0])):
        raise DataError(str(path), "another image", "the first of these images", "choose another building's name.")


def _make_folders(folder: Path, building: str) -> None:
    try:
        for task in DOMAINS:
            (folder / task / building).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = reason_of(error)
        raise OutputError(str(folder), reason, "a folder that can be written", "choose another folder.") from error


def _note_split(path: Path, building: str, split: str) -> None:
    """Adds the building to the table of splits, or moves it."""
    table = read_split(path) if path.exists() else {}
    of = {name: part for part, names in table.items() for name in names} | {building: split}
    lines = [",".join([name, *("01"[of[name] == part] for part in ("train", "val", "test"))]) for name in sorted(of)]
    write_bytes_atomically(path, "\n".join(["id,train,val,test", *lines, ""]).encode())
