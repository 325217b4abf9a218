"""The pictures that the package carries for its demo: four test rooms, and three rooms as people's files have them.

``python -m atdc.report.carried src/atdc/report/demo_images`` makes them again.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
from PIL import Image, PngImagePlugin

from atdc.data.rooms import ROOMS_VERSION, render_rooms
from atdc.data.rooms.sample import StyleSet
from atdc.files import write_bytes_atomically

ROOMS = {"bedroom": 2_000_022, "dining-room": 2_000_018, "playroom": 2_000_041, "study": 2_000_032}
"""Seeds of the test split."""
_ORIENTATION = 0x0112
"""EXIF's tag; 6 is a picture to be turned to the right."""


def carried_pictures() -> dict[str, bytes]:
    """File names and contents: rooms as PNG; a phone's upright photo, stored lying with its orientation; a scan with 16
    bits of grey; a thumbnail with a palette and a transparent border."""
    files = {}
    for name, seed in ROOMS.items():
        source = PngImagePlugin.PngInfo()
        source.add_text("Source", f"atdc rooms, version {ROOMS_VERSION}, test split, seed {seed}")
        files[f"{name}.png"] = _saved(_room(seed, "train", 256), "PNG", pnginfo=source, optimize=True)

    upright = _room(3_000_010, "held_out", 512).crop((64, 0, 448, 512))
    orientation = Image.Exif()
    orientation[_ORIENTATION] = 6
    lying = upright.transpose(Image.Transpose.ROTATE_90)
    files["phone-photo.jpg"] = _saved(lying, "JPEG", quality=90, exif=orientation)

    grey = np.asarray(_room(3_000_003, "held_out", 256).convert("L").crop((0, 32, 256, 224)), np.uint16)
    files["grey-scan.tif"] = _saved(Image.fromarray(grey * 257), "TIFF", compression="tiff_lzw")

    cut_out = Image.new("RGBA", (104, 72))
    cut_out.paste(_room(3_000_007, "held_out", 96).crop((0, 16, 96, 80)), (4, 4))
    files["thumbnail.gif"] = _saved(cut_out, "GIF")
    return files


def _room(seed: int, styles: StyleSet, side_px: int) -> Image.Image:
    return Image.fromarray(render_rooms([seed], styles, side_px)["rgb"][0].permute(1, 2, 0).numpy())


def _saved(picture: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


if __name__ == "__main__":
    for file_name, content in carried_pictures().items():
        write_bytes_atomically(Path(sys.argv[1]) / file_name, content)
