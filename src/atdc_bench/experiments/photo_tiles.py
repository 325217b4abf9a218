"""Tiles of large photos as a data set: images that differ a lot, and whose answers nobody knows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from atdc.data.data_sets import SIDE_PX
from atdc.data.labelled import IMAGE
from atdc.data.photos import photos_in
from atdc.errors import DataError
from atdc.images import read_image

TILES = "tiles"
"""What commands call it."""


class PhotoTiles:
    """All whole tiles of 256×256 of the photos in a folder, photo by photo, row by row.

    Photos are split in two halves by their paths, so that no photo has tiles in both.

    Args:
        folder: of the photos.
        split: ``val``, the first half of the photos, or ``test``, the second.

    Raises:
        DataError: no photo of that half has a whole tile.
    """

    def __init__(self, folder: Path, split: str) -> None:
        paths = photos_in(folder)
        half = len(paths) // 2
        tiles = [tile for path in (paths[:half] if split == "val" else paths[half:]) for tile in _tiles(path)]
        if not tiles:
            raise DataError(str(folder), f"no tile in its half {split!r}", f"photos of {SIDE_PX}×{SIDE_PX} or more")
        self._tiles = np.stack(tiles)

    def __len__(self) -> int:
        return len(self._tiles)

    def targets(
        self, indices: Sequence[int] | NDArray[np.integer], names: Sequence[str] | None = None
    ) -> dict[str, Tensor]:
        """The image alone, (n, 3, 256, 256), bytes."""
        return {IMAGE: torch.from_numpy(self._tiles[np.asarray(indices)])}


def _tiles(path: Path) -> list[NDArray[np.uint8]]:
    image = read_image(path).transpose(2, 0, 1)
    rows, columns = (side // SIDE_PX for side in image.shape[1:])
    return [
        image[:, row * SIDE_PX : (row + 1) * SIDE_PX, column * SIDE_PX : (column + 1) * SIDE_PX]
        for row in range(rows)
        for column in range(columns)
    ]
