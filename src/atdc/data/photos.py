"""Photos in a folder, without any labels: recursively, in a fixed order, whatever Pillow reads."""

from __future__ import annotations

import os
from pathlib import Path

from atdc.errors import DataError
from atdc.files import reason_of
from atdc.images import image_suffixes


def _closed(error: OSError) -> None:
    raise DataError(
        str(error.filename), reason_of(error), "a folder that can be entered",
        "Check its permissions, or leave it out.",
    ) from error  # fmt: skip


def photos_in(folder: Path) -> tuple[Path, ...]:
    """The photos below a folder, sorted by path: regular files whose ending is that of an image.

    Linked folders are not entered, so that no loop is endless; hidden files and folders are left out.

    Raises:
        DataError: no such folder, no photo in it, or a folder below it that may not be entered.
    """
    if not os.path.isdir(folder):
        raise DataError(str(folder), "no such folder", "a folder of photos", "Check the path.")
    endings, paths = image_suffixes(), list[Path]()
    for parent, folders, names in os.walk(folder, onerror=_closed):
        folders[:] = [name for name in folders if not name.startswith(".")]
        photos = (name for name in names if not name.startswith(".") and Path(name).suffix.lower() in endings)
        paths += [path for path in (Path(parent) / name for name in photos) if path.is_file()]
    if not paths:
        raise DataError(str(folder), "no photo", "files that Pillow reads (.jpg, .png, .webp, …)", "Check the path.")
    return tuple(sorted(paths))
