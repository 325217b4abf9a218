"""Photos in a folder, without any labels: recursively, in a fixed order, whatever Pillow reads."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from atdc.errors import DataError, ImageError
from atdc.files import reason_of
from atdc.images import PIXEL_LIMIT, image_suffixes, read_image


def _closed(error: OSError) -> None:
    raise DataError(
        str(error.filename), reason_of(error), "a folder that can be entered",
        "Check its permissions, or leave it out.",
    ) from error  # fmt: skip


class PhotoFolder:
    """The photos below a folder, sorted by path: regular files whose ending is that of an image.

    Iterating reads one photo after the other, upright and in sRGB as :func:`atdc.images.read_image` gives them. What
    cannot be read is passed over and noted. Linked folders are not entered, so that no loop is endless; hidden files
    and folders are left out.

    Args:
        folder: where to look.
        pixel_limit: a larger photo cannot be read.

    Attributes:
        paths: all photos found, readable or not.
        skipped: what the latest iteration could not read, so far, and why.

    Raises:
        DataError: no such folder, no photo in it, or a folder below it that may not be entered.
    """

    def __init__(self, folder: Path, pixel_limit: int = PIXEL_LIMIT) -> None:
        self.folder, self.pixel_limit = Path(folder), pixel_limit
        if not os.path.isdir(self.folder):
            raise DataError(str(folder), "no such folder", "a folder of photos", "Check the path.")
        endings, found = image_suffixes(), []
        for parent, folders, names in os.walk(self.folder, onerror=_closed):
            folders[:] = [name for name in folders if not name.startswith(".")]
            photos = (name for name in names if not name.startswith(".") and Path(name).suffix.lower() in endings)
            found += [path for path in (Path(parent) / name for name in photos) if path.is_file()]
        if not found:
            raise DataError(
                str(folder), "no photo", "files that Pillow reads (.jpg, .png, .webp, …)", "Check the path."
            )
        self.paths = tuple(sorted(found))
        self.skipped: list[ImageError] = []

    def __len__(self) -> int:
        return len(self.paths)

    def __iter__(self) -> Iterator[tuple[Path, NDArray[np.uint8]]]:
        """Path and image (H, W, 3) of every photo that can be read."""
        self.skipped = []
        for path in self.paths:
            try:
                image = read_image(path, self.pixel_limit)
            except ImageError as error:
                self.skipped.append(error)
                continue
            yield path, image

    def summary(self) -> str:
        """One sentence on the latest iteration: how many photos were read, how many were not, and the first reason."""
        read = f"{len(self) - len(self.skipped)} of {len(self)} photos read"
        return f"{read}; {len(self.skipped)} skipped, the first: {self.skipped[0]}" if self.skipped else f"{read}."
