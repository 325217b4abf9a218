"""NYU Depth V2 (Silberman et al., ECCV 2012): real indoor frames with depth and classes, as stored targets.

The folder, whose indices are those of the official labelled set:

======================  ========================  ===============================================================
file                    format                    meaning
======================  ========================  ===============================================================
``rgb/%04d.jpg``        JPEG, 256×256             the image
``invdepth/%04d.png``   uint16 ``q``              depth in millimetres = 713 · 2047 / q; 0 = not measured
``seg40/%04d.png``      uint8                     line of ``classes.txt`` (40 of Gupta et al., CVPR 2013); 255 = ignore
``classes.txt``         40 lines                  names of the classes
``splits.json``         lists of indices          ``train``, ``val``, ``test``
======================  ========================  ===============================================================

What no camera measures is derived: normals from depth (:func:`normals_of`), edges and keypoints from the image, by
the formulas of :mod:`atdc.data.rooms.targets`. They stand in for Taskonomy's, and figures on them do not compare with
figures on Taskonomy.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from atdc.data.rooms.targets import PICTURE_TARGETS, image_target
from atdc.data.targets import DEPTH_UNITS_PER_METRE, NO_DEPTH, NO_NORMAL, STORED_LAYOUT
from atdc.errors import ArgumentError, DataError
from atdc.tasks import CLASSES, IGNORE_CLASS

SIDE_PX = 256
METRES_TIMES_Q = 713 * 2047 / 1000
"""Depth in metres is this over the stored inverse depth."""
WINDOW_PX = 7
"""Side of the window that a normal's plane is fitted in."""
FIT_TOLERANCE = 0.02
"""Root mean square misfit of a plane, relative to the inverse depth, above which there is no normal: an edge."""
SPLITS = ("train", "val", "test")
_SCENE_TARGETS = ("rgb", "segment_semantic", "depth_zbuffer", "normal")
TARGETS = tuple(name for name in STORED_LAYOUT if name in _SCENE_TARGETS or name in PICTURE_TARGETS)

NYU40: dict[str, str] = {
    "wall": "wall", "floor": "floor", "cabinet": "furniture", "bed": "bed", "chair": "chair", "sofa": "sofa",
    "table": "table", "door": "door", "window": "window", "bookshelf": "furniture", "picture": "picture",
    "counter": "furniture", "blinds": "window", "desk": "table", "shelves": "furniture", "curtain": "window",
    "dresser": "furniture", "pillow": "objects", "mirror": "objects", "floor mat": "floor", "clothes": "objects",
    "ceiling": "ceiling", "books": "books", "refridgerator": "furniture", "television": "tv", "paper": "objects",
    "towel": "objects", "shower curtain": "objects", "box": "objects", "whiteboard": "objects", "person": "objects",
    "night stand": "furniture", "toilet": "objects", "sink": "objects", "lamp": "objects", "bathtub": "objects",
    "bag": "objects", "otherstructure": "objects", "otherfurniture": "furniture", "otherprop": "objects",
}  # fmt: skip
"""The 40 classes in order, each with its class among :data:`atdc.tasks.CLASSES`: the customary merge into 13
(Couprie et al., ICLR 2013), but for doors, which that merge counts as walls."""


@dataclass(frozen=True, slots=True)
class Intrinsics:
    """A pinhole camera: focal lengths and principal point in pixels, (0, 0) the centre of the first pixel.

    Attributes:
        fx, fy: focal lengths, along columns and rows.
        cx, cy: principal point, column and row.
    """

    fx: float
    fy: float
    cx: float
    cy: float

    def reduced(self, factor: int) -> Intrinsics:
        """Of images whose every ``factor``×``factor`` pixels became one.

        >>> Intrinsics(100.0, 100.0, 31.5, 31.5).reduced(2)
        Intrinsics(fx=50.0, fy=50.0, cx=15.5, cy=15.5)
        """
        centre = ((self.cx + 0.5) / factor - 0.5, (self.cy + 0.5) / factor - 0.5)
        return dataclasses.replace(self, fx=self.fx / factor, fy=self.fy / factor, cx=centre[0], cy=centre[1])


INTRINSICS = Intrinsics(286.27, 286.60, 130.86, 135.35)
"""Of the frames at 256×256."""


def merged_classes() -> NDArray[np.uint8]:
    """Table from a stored byte to a class of :data:`atdc.tasks.CLASSES`; what names no class becomes 255.

    >>> int(merged_classes()[list(NYU40).index("curtain")]) == CLASSES.index("window")
    True
    """
    table = np.full(256, IGNORE_CLASS, np.uint8)
    table[: len(NYU40)] = [CLASSES.index(name) for name in NYU40.values()]
    return table


def normals_of(inverse_depth: Tensor, camera: Intrinsics) -> Tensor:
    """Surface normals by a least-squares plane in inverse depth over a window around each pixel.

    A plane ``n·P = c`` seen through a pinhole is linear in inverse depth:
    ``1/Z = (n/c)·((u − cx)/fx, (v − cy)/fy, 1)``. So the three coefficients of the best linear fit are the normal, but
    for its length. Sums over the window are convolutions; pixels without depth are left out of them.

    Args:
        inverse_depth: (B, 1, H, W), in any unit, 0 where depth was not measured.
        camera: the pinhole.

    Returns:
        float32 (B, 3, H, W): unit vectors in camera axes, x right, y up, z towards the camera, each facing the camera;
        the zero vector where depth was not measured or where no plane fits (:data:`FIT_TOLERANCE`).

    >>> wall = torch.full((1, 1, 16, 16), 0.5)  # two metres away, seen straight on
    >>> normals_of(wall, Intrinsics(16.0, 16.0, 7.5, 7.5))[0, :, 8, 8].abs().tolist()
    [0.0, 0.0, 1.0]
    """
    q = inverse_depth.double()
    weight = (q > 0).double()
    offset = torch.arange(WINDOW_PX, dtype=torch.float64) - WINDOW_PX // 2
    # One-dimensional moments; a two-dimensional one is a product of two.
    powers = [offset**power for power in range(3)]

    def moment(values: Tensor, along_u: int, along_v: int) -> Tensor:
        """Sum over the window of values · i^along_u · j^along_v."""
        rows = F.conv2d(values, powers[along_v].view(1, 1, -1, 1), padding=(WINDOW_PX // 2, 0))
        return F.conv2d(rows, powers[along_u].view(1, 1, 1, -1), padding=(0, WINDOW_PX // 2))[:, 0]

    count, i, j = moment(weight, 0, 0), moment(weight, 1, 0), moment(weight, 0, 1)
    ii, ij, jj = moment(weight, 2, 0), moment(weight, 1, 1), moment(weight, 0, 2)
    s, si, sj = moment(q, 0, 0), moment(q, 1, 0), moment(q, 0, 1)
    # The normal equations of q ≈ a·i + b·j + c, in centred moments.
    n = count.clamp(min=1)
    cii, cij, cjj = ii - i * i / n, ij - i * j / n, jj - j * j / n
    csi, csj = si - i * s / n, sj - j * s / n
    determinant = cii * cjj - cij * cij
    solvable = determinant > 1
    determinant = torch.where(solvable, determinant, 1.0)
    a = (csi * cjj - csj * cij) / determinant
    b = (csj * cii - csi * cij) / determinant
    c = (s - a * i - b * j) / n
    misfit = (moment(q * q, 0, 0) - s * s / n - a * csi - b * csj).clamp(min=0) / n
    fits = solvable & (misfit <= (FIT_TOLERANCE * c) ** 2) & (weight[:, 0] > 0)

    height, width = q.shape[-2:]
    u = torch.arange(width, dtype=torch.float64) - camera.cx
    v = (torch.arange(height, dtype=torch.float64) - camera.cy)[:, None]
    # (x, y, z) of n/c in axes right, down, forward points away from the camera; turned round and its y and z flipped.
    vector = torch.stack([-a * camera.fx, b * camera.fy, c - a * u - b * v], 1)
    return (F.normalize(vector, dim=1) * fits[:, None]).float()


class NyuV2Dataset:
    """A split of the folder, with the interface of :class:`atdc.data.rooms.RoomsDataset`.

    A frame is prepared when it is first asked for and then kept in memory, 11 bytes a pixel: 0.7 MB at full size.

    Args:
        folder: the folder described above.
        split: ``train``, ``val`` or ``test``.
        size: side of the images, 256 divided by a whole number.
        classes: 14 for the classes of :data:`atdc.tasks.CLASSES`, 40 for those of the folder.

    Attributes:
        split: its name.
        size: side of the images.
        frames: official index of each frame.

    Raises:
        ArgumentError: an unknown split or number of classes, or a size that is no divisor.
        DataError: the folder is missing, incomplete, or another one.
    """

    def __init__(self, folder: Path, split: str, size: int = SIDE_PX, classes: Literal[14, 40] = 14) -> None:
        if split not in SPLITS:
            raise ArgumentError("split", repr(split), f"one of {', '.join(SPLITS)}")
        if not 1 <= size <= SIDE_PX or SIDE_PX % size:
            raise ArgumentError("size", str(size), f"{SIDE_PX} divided by a whole number", "pass size=256.")
        if classes not in (14, 40):
            raise ArgumentError("classes", str(classes), "14 or 40")
        self.folder, self.split, self.size = Path(folder), split, size
        self.frames: tuple[int, ...] = _frames(self.folder, split)
        self._camera = INTRINSICS.reduced(SIDE_PX // size)
        self._table = np.arange(256, dtype=np.uint8) if classes == 40 else merged_classes()
        self._table[len(NYU40) :] = IGNORE_CLASS
        self._prepared: dict[int, dict[str, NDArray[np.generic]]] = {}

    def __len__(self) -> int:
        return len(self.frames)

    def targets(
        self, indices: Sequence[int] | NDArray[np.integer] | slice, names: Sequence[str] | None = None
    ) -> dict[str, Tensor]:
        """Reads frames by position in the split.

        Args:
            indices: positions from 0 to ``len(self) - 1``, or a slice.
            names: which targets to read; all if None.

        Returns:
            The stored tensors (B, C, H, W) by name, see :mod:`atdc.data.targets`.

        Raises:
            ArgumentError: an unknown target or a position out of range.
            DataError: a frame's file is missing, damaged or of another size.
        """
        wanted = list(TARGETS) if names is None else list(names)
        for name in wanted:
            if name not in TARGETS:
                raise ArgumentError("names", repr(name), f"names among {', '.join(TARGETS)}")
        where = range(len(self))[indices] if isinstance(indices, slice) else [int(index) for index in indices]
        for index in where:
            if not 0 <= index < len(self):
                raise ArgumentError("indices", str(index), f"0 … {len(self) - 1}")
        frames = [self._frame(index) for index in where]
        read = {}
        for name in wanted:
            channels, dtype = STORED_LAYOUT[name]
            array = np.empty((len(frames), channels, self.size, self.size), dtype)
            for place, frame in enumerate(frames):
                array[place] = frame[name]
            read[name] = torch.from_numpy(array)
        return read

    def _frame(self, index: int) -> dict[str, NDArray[np.generic]]:
        if index not in self._prepared:
            self._prepared[index] = self._prepare(self.frames[index])
        return self._prepared[index]

    @torch.no_grad()
    def _prepare(self, frame: int) -> dict[str, NDArray[np.generic]]:
        factor = SIDE_PX // self.size
        picture = _read(self.folder / "rgb" / f"{frame:04d}.jpg", ("RGB",))
        inverse = _read(self.folder / "invdepth" / f"{frame:04d}.png", ("I;16", "I;16B", "I"))
        labels = _read(self.folder / "seg40" / f"{frame:04d}.png", ("L", "P"))
        rgb = torch.from_numpy(picture.astype(np.float32)).permute(2, 0, 1)[None]
        q = torch.from_numpy(inverse.astype(np.float32))[None, None]
        if factor > 1:
            rgb, q = F.avg_pool2d(rgb, factor), _mean_of_measured(q, factor)
            labels = labels[factor // 2 :: factor, factor // 2 :: factor]
        rgb8 = rgb.round().to(torch.uint8)
        metres = METRES_TIMES_Q / q.clamp(min=1e-3)
        depth = torch.where(q > 0, (metres * DEPTH_UNITS_PER_METRE).round().clamp(1, 65535), NO_DEPTH)
        normals = normals_of(q, self._camera)
        mask = normals.square().sum(1, keepdim=True) > 0
        normal = torch.where(mask, ((normals + 1) * 127.5).round(), NO_NORMAL)
        values = {
            "rgb": rgb8,
            "depth_zbuffer": depth.to(torch.int32).numpy().astype(np.uint16),
            "normal": normal.to(torch.uint8),
            "segment_semantic": self._table[labels][None, None],
            **{name: image_target(name, rgb8) for name in PICTURE_TARGETS},
        }
        return {name: np.asarray(value)[0] for name, value in values.items()}


def _mean_of_measured(q: Tensor, factor: int) -> Tensor:
    """Mean of each square of pixels over those that are not 0; 0 where none is."""
    share = F.avg_pool2d((q > 0).float(), factor)
    return torch.where(share > 0, F.avg_pool2d(q, factor) / share.clamp(min=1e-6), 0.0)


def _frames(folder: Path, split: str) -> tuple[int, ...]:
    """Official indices of the split's frames, once the folder has been recognised."""
    cure = "name the folder that holds rgb, invdepth, seg40, classes.txt and splits.json."
    try:
        names = [line.strip() for line in (folder / "classes.txt").read_text(encoding="utf-8").splitlines()]
        splits = json.loads((folder / "splits.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(str(folder), f"no such data ({error})", "NYUv2 frames", cure) from error
    if [name for name in names if name] != list(NYU40):
        raise DataError(str(folder / "classes.txt"), f"{len(names)} other lines", "the 40 classes of NYUv2", cure)
    frames = splits.get(split) if isinstance(splits, dict) else None
    if not isinstance(frames, list) or not all(type(frame) is int and frame >= 0 for frame in frames):
        raise DataError(str(folder / "splits.json"), f"no list {split!r}", "lists of frame numbers", cure)
    return tuple(frames)


def _read(path: Path, modes: tuple[str, ...]) -> NDArray[np.generic]:
    """A frame's file as an array, in one of some Pillow modes."""
    try:
        with Image.open(path) as image:
            if image.mode not in modes or image.size != (SIDE_PX, SIDE_PX):
                kind, expected = f"{image.mode} of {image.size}", f"{modes[0]} of {SIDE_PX}×{SIDE_PX}"
                raise DataError(str(path), kind, expected, "copy the data again.")
            return np.array(image)
    except DataError:
        raise
    except Exception as error:  # Pillow's readers let OSError, SyntaxError, ValueError, struct.error, … escape
        raise DataError(str(path), f"no readable image ({error})", "a frame's file", "copy the data again.") from error
