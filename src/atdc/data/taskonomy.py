"""Taskonomy (Zamir et al., CVPR 2018) as it is downloaded: listing, official splits, reading.

Files are ``<domain>/<building>/point_P_view_V_domain_<domain>.png``, the last ``<domain>`` being ``segmentsemantic`` in
the folder ``segment_semantic``. What is in them:

=================  ================  ==================================================================
folder             PNG               meaning
=================  ================  ==================================================================
rgb                8 bit, RGB        sRGB
depth_zbuffer      16 bit            1/512 m along the optical axis; 65535 = nothing there
normal             8 bit, RGB        127.5 (n + 1)
keypoints2d        16 bit            response, full scale 65535
edge_texture       16 bit            response, full scale 65535
segment_semantic   8 bit             0 = unlabelled, 1 = background, 2 … 17 = objects
=================  ================  ==================================================================
"""

from __future__ import annotations

import csv
import logging
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar, final

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from atdc.data.targets import NO_DEPTH, NO_NORMAL
from atdc.errors import ArgumentError, DataError
from atdc.tasks import IGNORE_CLASS

CLASS_COUNT = 17
"""Labelled classes."""
FULL_SCALE = 65535
KEYPOINT_CLIP, EDGE_CLIP = 0.005, 0.08
"""Shares of full scale at which Task Bank targets reach 1."""
NO_DEPTH_RAW = 65535
MASKED_DEPTH_RAW = 64500
"""Depth from here on is none, by the Task Bank."""
SPLIT_TABLE = "train_val_test.csv"
"""Next to the domains' folders, where it is not the official Tiny split: which building is of which, in the official
form."""

TINY: dict[str, tuple[str, ...]] = {
    "train": (
        "hanson", "merom", "klickitat", "onaga", "leonardo", "marstons", "newfields", "pinesdale", "lakeville",
        "cosmos", "benevolence", "pomaria", "tolstoy", "shelbyville", "allensville", "wainscott", "beechwood",
        "coffeen", "stockman", "hiteman", "woodbine", "lindenwood", "forkland", "mifflinburg", "ranchester",
    ),
    "val": ("wiconisco", "corozal", "collierville", "markleeville", "darden"),
    "test": ("ihlen", "muleshoe", "uvalda", "noxapater", "mcdade"),
}  # fmt: skip
"""Buildings of the official Tiny split. Others: :func:`read_split` of the official ``train_val_test_*.csv``."""

_log = logging.getLogger(__name__)


class Domain(ABC):
    """What the files of one domain hold, and what becomes of it.

    Attributes:
        modes: Pillow's, of a file; the first is the usual one.
        nearest: brought to another size by the nearest pixel, not by means.
        masked_by: another domain, whose pixels without a value have none here either.
    """

    modes: ClassVar[tuple[str, ...]] = ("I;16", "I;16B", "I")
    nearest: ClassVar[bool] = False
    masked_by: ClassVar[str | None] = None

    @abstractmethod
    def to_stored(self, values: NDArray[np.generic], masking: NDArray[np.generic] | None) -> NDArray[np.generic]:
        """A file's values (C, H, W) as a stored target, given those of :attr:`masked_by`."""

    @abstractmethod
    def to_file(self, stored: NDArray[np.integer]) -> NDArray[np.integer]:
        """The reverse: a stored target (C, H, W) as the array of a file, (H, W) or (H, W, 3).

        >>> DOMAINS["segment_semantic"].to_file(np.array([[[0, 255]]], np.uint8)).tolist()
        [[1, 0]]
        """


@final
class _Classes(Domain):
    modes = ("L", "P")
    nearest = True

    def to_stored(self, values: NDArray[np.generic], masking: NDArray[np.generic] | None) -> NDArray[np.generic]:
        labels = values.astype(np.int64)
        return np.where((labels > 0) & (labels <= CLASS_COUNT), labels - 1, IGNORE_CLASS).astype(np.uint8)

    def to_file(self, stored: NDArray[np.integer]) -> NDArray[np.integer]:
        return np.where(stored[0] == IGNORE_CLASS, 0, stored[0] + 1).astype(np.uint8)


@final
class _Response(Domain):
    """Args: the share of full scale at which Task Bank targets reach 1."""

    def __init__(self, clip: float) -> None:
        self.clip = clip

    def to_stored(self, values: NDArray[np.generic], masking: NDArray[np.generic] | None) -> NDArray[np.generic]:
        share = np.clip(values.astype(np.float64) / (self.clip * FULL_SCALE), 0, 1)
        return np.rint(255 * share).astype(np.uint8)

    def to_file(self, stored: NDArray[np.integer]) -> NDArray[np.integer]:
        return np.rint(stored[0].astype(np.float64) * (self.clip * FULL_SCALE / 255)).astype(np.uint16)


class _ThreeChannels(Domain):
    modes = ("RGB", "RGBA")

    def to_file(self, stored: NDArray[np.integer]) -> NDArray[np.integer]:
        return np.ascontiguousarray(stored.transpose(1, 2, 0))


@final
class _Normals(_ThreeChannels):
    nearest = True
    masked_by = "depth_zbuffer"

    def to_stored(self, values: NDArray[np.generic], masking: NDArray[np.generic] | None) -> NDArray[np.generic]:
        assert masking is not None
        return np.where(masking.astype(np.int64) >= MASKED_DEPTH_RAW, NO_NORMAL, values).astype(np.uint8)


@final
class _Depth(Domain):
    nearest = True

    def to_stored(self, values: NDArray[np.generic], masking: NDArray[np.generic] | None) -> NDArray[np.generic]:
        return np.where(values.astype(np.int64) >= MASKED_DEPTH_RAW, NO_DEPTH, values).astype(np.uint16)

    def to_file(self, stored: NDArray[np.integer]) -> NDArray[np.integer]:
        return np.where(stored[0] == NO_DEPTH, NO_DEPTH_RAW, stored[0]).astype(np.uint16)


@final
class _Image(_ThreeChannels):
    def to_stored(self, values: NDArray[np.generic], masking: NDArray[np.generic] | None) -> NDArray[np.generic]:
        return values.round().astype(np.uint8) if values.dtype != np.uint8 else values


DOMAINS: dict[str, Domain] = {
    "segment_semantic": _Classes(),
    "keypoints2d": _Response(KEYPOINT_CLIP),
    "edge_texture": _Response(EDGE_CLIP),
    "normal": _Normals(),
    "depth_zbuffer": _Depth(),
    "rgb": _Image(),
}
"""The domains that are read and written, by the task whose targets they hold."""


def _masks_of(tasks: Iterable[str]) -> list[str]:
    """The domains that mask those of some tasks."""
    return [mask for task in tasks if (mask := DOMAINS[task].masked_by) is not None]


def file_of(folder: Path, task: str, building: str, point: int, view: int) -> Path:
    """Where a target lies.

    >>> file_of(Path("data"), "segment_semantic", "hanson", 3, 0).as_posix()
    'data/segment_semantic/hanson/point_3_view_0_domain_segmentsemantic.png'
    """
    return Path(folder) / task / building / f"point_{point}_view_{view}{_ending(task)}"


def _ending(task: str) -> str:
    return f"_domain_{task.replace('segment_semantic', 'segmentsemantic')}.png"


def read_split(path: Path) -> dict[str, tuple[str, ...]]:
    """Buildings by ``train``, ``val`` and ``test`` from an official table, ``id,train,val,test`` with 0 or 1.

    Raises:
        DataError: the file cannot be read or is no such table.
    """
    expected, cure = "columns id,train,val,test", "take one of the official train_val_test_*.csv."
    try:
        with open(path, newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(str(path), str(error), expected, cure) from error
    names = ("train", "val", "test")
    if not rows or any(row.get(name) not in ("0", "1") for row in rows for name in names) or not rows[0].get("id"):
        raise DataError(str(path), "another table", expected, cure)
    return {name: tuple(row["id"] for row in rows if row[name] == "1") for name in names}


class TaskonomyImages:
    """Views as stored targets of :mod:`atdc.data.targets`, for training: the inverse of :mod:`atdc.data.export`.

    Responses are in shares of the Task Bank's range, which is the usual one; classes count from 0 for the first that is
    labelled, so networks for Taskonomy have 17. Views that lack a file are left out, which is said once through
    ``logging``; one that cannot be read is said likewise, counted in :attr:`damaged` and replaced by the next, whatever
    is asked of it.

    Args:
        folder: what holds the domains' folders, and the split's table if it is not the official Tiny split.
        split: ``train``, ``val`` or ``test``.
        size: side that square images are brought to, each target as suits it (means for images and responses, the
            nearest pixel for depth, normals and classes); as they are if None.

    Attributes:
        absent: buildings of the split of which there is nothing.
        missing: by task, views whose file for it is missing.

    Raises:
        ArgumentError: an unknown split.
        DataError: there is not one complete view, or a damaged table.
    """

    def __init__(self, folder: Path, split: str, size: int | None = 256) -> None:
        table = Path(folder) / SPLIT_TABLE
        splits = read_split(table) if table.exists() else TINY
        if split not in splits:
            raise ArgumentError("split", repr(split), f"one of {', '.join(splits)}")
        self.size = size
        self._whole_views, self._damaged_views = set[int](), set[int]()
        self._folder, self._buildings = Path(folder), splits[split]
        self._views, self.absent, self.missing = _list_views(self._folder, self._buildings, tuple(DOMAINS))
        if not len(self._views):
            problem = f"no complete view of {len(self._buildings)} buildings (missing files: {_counts(self.missing)})"
            cure = "check the folder, which holds rgb, depth_zbuffer and so on, and the names of the buildings."
            raise DataError(str(folder), problem, f"{Path('rgb') / 'BUILDING' / 'point_0_view_0_domain_rgb.png'}", cure)
        if self.absent or any(self.missing.values()):
            _log.warning(
                "%s: %d of %d buildings are absent; left out for a missing file: %s; %d views remain",
                folder, len(self.absent), len(self._buildings), _counts(self.missing), len(self._views),
            )  # fmt: skip

    def __len__(self) -> int:
        return len(self._views)

    @property
    def damaged(self) -> int:
        """Views found damaged so far."""
        return len(self._damaged_views)

    def targets(
        self, indices: Sequence[int] | NDArray[np.integer], names: Sequence[str] | None = None
    ) -> dict[str, Tensor]:
        """Stored targets (n, C, H, W) by name, all if None.

        Raises:
            DataError: no view can be read.
        """
        wanted = tuple(DOMAINS if names is None else names)
        views = [self._readable(int(index), wanted) for index in indices]
        return {name: torch.from_numpy(np.stack([view[name] for view in views])) for name in wanted}

    def _readable(self, index: int, names: Sequence[str]) -> dict[str, NDArray[np.generic]]:
        """A view, or the next that is whole. All files are read the first time, so that features, which need the image
        alone, and labels are of one view."""
        for further in range(len(self)):
            place = (index + further) % len(self)
            if place in self._damaged_views:
                continue
            try:
                if place in self._whole_views:
                    return self._view(place, names)
                view = self._view(place, tuple(DOMAINS))
                self._whole_views.add(place)
                return {name: view[name] for name in names}
            except DataError as error:
                self._damaged_views.add(place)
                _log.warning("another view in its place: %s", error)
        raise DataError(str(self._folder), f"{len(self)} damaged views and no other", "views that can be read")

    def _view(self, index: int, names: Sequence[str]) -> dict[str, NDArray[np.generic]]:
        number, point, view = (int(value) for value in self._views[index])
        read, shapes = {}, set()
        for task in dict.fromkeys((*names, *_masks_of(names))):
            stored = _read(file_of(self._folder, task, self._buildings[number], point, view), task)
            shapes.add(stored.shape[1:])
            read[task] = _resized(task, stored, self.size)
        if len(shapes) > 1:
            where = str(file_of(self._folder, "*", self._buildings[number], point, view))
            expected = "one size for all targets of a view"
            raise DataError(where, f"sizes {sorted(shapes)}", expected, "download it again.")
        masking = {task: read[mask] for task in names for mask in _masks_of([task])}
        return {task: DOMAINS[task].to_stored(read[task], masking.get(task)) for task in names}


def _list_views(
    folder: Path, buildings: Sequence[str], tasks: Sequence[str]
) -> tuple[NDArray[np.int32], tuple[str, ...], dict[str, int]]:
    """Complete views in the order of buildings, points and views; absent buildings; missing files by task."""
    views: list[tuple[int, int, int]] = []
    absent, missing = [], dict.fromkeys(tasks, 0)
    for number, building in enumerate(buildings):
        task_views = {task: _views_in(folder / task / building, _ending(task)) for task in tasks}
        every = set().union(*task_views.values())
        if not every:
            absent.append(building)
        for task in tasks:
            missing[task] += len(every - task_views[task])
        views += sorted((number, *view) for view in every.intersection(*task_views.values()))
    return np.array(views, np.int32).reshape(-1, 3), tuple(absent), missing


def _views_in(folder: Path, ending: str) -> set[tuple[int, int]]:
    pattern = re.compile(r"point_(\d+)_view_(\d+)" + re.escape(ending))
    try:
        matches = [pattern.fullmatch(path.name) for path in folder.iterdir()]
    except OSError:
        return set()
    return {(int(match[1]), int(match[2])) for match in matches if match}


def _counts(missing: Mapping[str, int]) -> str:
    return ", ".join(f"{task} {count}" for task, count in missing.items() if count) or "none"


def _read(path: Path, task: str) -> NDArray[np.generic]:
    """A file as (C, H, W), in the type its domain has."""
    allowed = DOMAINS[task].modes
    try:
        with Image.open(path) as image:
            if image.mode not in allowed:
                raise DataError(str(path), f"an image of mode {image.mode}", f"mode {allowed[0]}", "download it again.")
            array = np.array(image)
    except DataError:
        raise
    except Exception as error:  # Pillow's readers let OSError, SyntaxError, ValueError, struct.error, … escape
        raise DataError(str(path), f"no readable image ({error})", f"a file of {task}", "download it again.") from error
    return array[None] if array.ndim == 2 else np.ascontiguousarray(array[..., :3].transpose(2, 0, 1))


def _resized(task: str, stored: NDArray[np.generic], size: int | None) -> NDArray[np.generic]:
    """A target (C, H, W) at another size, as suits it."""
    height, width = stored.shape[1:]
    if size is None or (height, width) == (size, size):
        return stored
    if DOMAINS[task].nearest:
        rows, columns = ((np.arange(size) + 0.5) * side / size for side in (height, width))
        return stored[:, rows.astype(np.intp)[:, None], columns.astype(np.intp)]
    return F.interpolate(torch.from_numpy(stored.astype(np.float32))[None], (size, size), mode="area")[0].numpy()
