"""A sheet of rooms: one column a room, one row a task, from the image down to its keypoints.

``python -m atdc_bench.report.rooms_sheet docs/images/rooms.webp`` makes the one in the README.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from atdc.data.rooms import SPLITS, render_rooms
from atdc.data.rooms.render import SCENE_TARGETS
from atdc.data.rooms.targets import PICTURE_TARGETS
from atdc.data.targets import decode_stored
from atdc.files import write_bytes_atomically
from atdc.report.answer_images import image_of
from atdc.tasks.answers import answer_form

ROWS = (*SCENE_TARGETS, *reversed(PICTURE_TARGETS))
"""What rooms have, from the image down."""
GAP_PX = 4


def rooms_sheet(seeds: Sequence[int], side_px: int = 128, size: int = 256) -> NDArray[np.uint8]:
    """Rooms with the ground truth for all tasks that rooms have, on white.

    Args:
        seeds: the rooms.
        side_px: of each image on the sheet.
        size: of the rendered rooms, a multiple of 16.

    Returns:
        ``(6 · side + 5 · gap, n · side + (n − 1) · gap, 3)``.
    """
    targets = render_rooms(list(seeds), size=size)
    step = side_px + GAP_PX
    sheet = np.full((len(ROWS) * step - GAP_PX, len(seeds) * step - GAP_PX, 3), 255, dtype=np.uint8)
    for row, task in enumerate(ROWS):
        values = decode_stored(task, targets[task]).numpy()
        for column, value in enumerate(values):
            image = image_of(task, answer_form(task).of_target(value))
            small = Image.fromarray(image).resize((side_px, side_px), Image.Resampling.LANCZOS)
            sheet[row * step : row * step + side_px, column * step : column * step + side_px] = np.asarray(small)
    return sheet


def main(target: Path, count: int = 8) -> None:
    """Write the sheet of the first test rooms as WebP."""
    buffer = io.BytesIO()
    Image.fromarray(rooms_sheet(list(SPLITS["test"].seeds)[:count])).save(buffer, "WEBP", quality=85, method=6)
    write_bytes_atomically(target, buffer.getvalue())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
