"""The images that the package carries for its demo: four test rooms, and three rooms as people's files have them.

All are rendered, so their ground truth is rendered again wherever it is wanted.
``python -m atdc.report.carried src/atdc/report/demo_images`` makes the files again.
"""

from __future__ import annotations

import io
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin

from atdc.data.labelled import IMAGE
from atdc.data.rooms import ROOMS_VERSION, render_rooms
from atdc.data.rooms.render import SCENE_TARGETS
from atdc.data.rooms.sample import StyleSet
from atdc.data.targets import decode_stored, target_form
from atdc.files import write_bytes_atomically
from atdc.tasks import IMAGE_TASK, TASK_NAMES
from atdc.tasks.answers import answer_form

ROOMS = {"bedroom": 2_000_022, "dining-room": 2_000_018, "playroom": 2_000_041, "study": 2_000_032}
"""Seeds of the test split."""
RENDERED_TARGETS = tuple(task for task in TASK_NAMES if task in SCENE_TARGETS and task != IMAGE_TASK)
"""Tasks whose ground truth comes from the scene; that of the others is a function of the image."""
_ORIENTATION = 0x0112
"""EXIF's tag; 6 is an image to be turned to the right."""


@dataclass(frozen=True, slots=True)
class _View:
    """What of which room a file shows: the part `box` (left, top, right, bottom) of a square rendering, in a border."""

    seed: int
    styles: StyleSet
    side_px: int
    box: tuple[int, int, int, int]
    border_px: int = 0


_PHOTO, _SCAN, _THUMBNAIL = "phone-photo.jpg", "grey-scan.tif", "thumbnail.gif"
_VIEWS = {f"{name}.png": _View(seed, "train", 256, (0, 0, 256, 256)) for name, seed in ROOMS.items()} | {
    _PHOTO: _View(3_000_010, "held_out", 512, (64, 0, 448, 512)),
    _SCAN: _View(3_000_003, "held_out", 256, (0, 32, 256, 224)),
    _THUMBNAIL: _View(3_000_007, "held_out", 96, (0, 16, 96, 80), border_px=4),
}


def carried_files() -> dict[str, bytes]:
    """File names and contents: rooms as PNG; a phone's upright photo, stored lying with its orientation; a scan with 16
    bits of grey; a thumbnail with a palette and a transparent border."""
    files = {}
    for name, seed in ROOMS.items():
        source = PngImagePlugin.PngInfo()
        source.add_text("Source", f"atdc rooms, version {ROOMS_VERSION}, test split, seed {seed}")
        files[f"{name}.png"] = _saved(_image(f"{name}.png"), "PNG", pnginfo=source, optimize=True)

    orientation = Image.Exif()
    orientation[_ORIENTATION] = 6
    lying = _image(_PHOTO).transpose(Image.Transpose.ROTATE_90)
    files[_PHOTO] = _saved(lying, "JPEG", quality=90, exif=orientation)

    grey = np.asarray(_image(_SCAN).convert("L"), np.uint16)
    files[_SCAN] = _saved(Image.fromarray(grey * 257), "TIFF", compression="tiff_lzw")

    room, border = _image(_THUMBNAIL), _VIEWS[_THUMBNAIL].border_px
    cut_out = Image.new("RGBA", (room.width + 2 * border, room.height + 2 * border))
    cut_out.paste(room, (border, border))
    files[_THUMBNAIL] = _saved(cut_out, "GIF")
    return files


def carried_ground_truth(file_name: str) -> dict[str, NDArray[np.generic]]:
    """The ground truth of a carried image by task, for :data:`RENDERED_TARGETS`, in the form of answers.

    What the room does not fill (the thumbnail's border) is class 255, depth NaN, normal (0, 0, 0).

    >>> carried_ground_truth("thumbnail.gif")["depth_zbuffer"].shape
    (72, 104)
    """
    view = _VIEWS[file_name]
    stored = render_rooms([view.seed], view.styles, view.side_px)
    left, top, right, bottom = view.box
    ground_truth: dict[str, NDArray[np.generic]] = {}
    for task in RENDERED_TARGETS:
        nothing = target_form(task).nothing
        assert nothing is not None
        values = decode_stored(task, stored[task])[0, :, top:bottom, left:right].numpy()
        border = (view.border_px, view.border_px)
        values = np.pad(values, ((0, 0), border, border), constant_values=nothing)
        ground_truth[task] = answer_form(task).of_target(values)
    return ground_truth


def _image(file_name: str) -> Image.Image:
    view = _VIEWS[file_name]
    rgb = render_rooms([view.seed], view.styles, view.side_px)[IMAGE][0].permute(1, 2, 0).numpy()
    return Image.fromarray(rgb).crop(view.box)


def _saved(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


if __name__ == "__main__":
    for file_name, content in carried_files().items():
        write_bytes_atomically(Path(sys.argv[1]) / file_name, content)
