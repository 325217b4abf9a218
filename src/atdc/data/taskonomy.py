"""Taskonomy (Zamir et al., CVPR 2018) as it is downloaded: listing, official splits, reading, both target scalings.

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

Two conventions say how networks are to answer. Masks are bool, true where a pixel takes part.

=================  ===============================================  ==============================================
target             ``standley`` (Standley et al., ICML 2020)        ``taskbank`` (the official Task Bank)
=================  ===============================================  ==============================================
rgb                v / 255                                          2 v / 255 - 1
depth_zbuffer      (d - 1500) / 1000, mask d < 8192                 ln(1 + d) / ln 2¹⁶, mask d < 64500
normal             2 v / 255 - 1, depth's mask                      the same, depth's mask
keypoints2d        (k - 50) / 100                                   clipped to [0, 0.005] of full scale, as -1 … 1
edge_texture       (e - 718) / 1070                                 clipped to [0, 0.08] of full scale, as -1 … 1
segment_semantic   long, 1 … 17; 255 where unlabelled, mask v > 0   the same
=================  ===============================================  ==============================================
"""

from __future__ import annotations

import csv
import logging
import math
import multiprocessing
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Literal, TypeAlias, final, get_args

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset, get_worker_info

from atdc.data.targets import NO_DEPTH, NO_NORMAL
from atdc.errors import ArgumentError, DataError
from atdc.tasks import IGNORE_CLASS

__all__ = [
    "CLASS_COUNT", "DOMAINS", "SPLIT_TABLE", "TINY", "Convention", "Domain", "TaskonomyDataset", "TaskonomyImages",
    "TaskonomyStream", "file_of", "read_split", "scaled", "stored_again",
]  # fmt: skip

Convention: TypeAlias = Literal["standley", "taskbank"]
Sample: TypeAlias = dict[str, Tensor]
"""Targets by task name, and their masks as ``mask/<task>`` where they have one; ready for PyTorch's collation."""

CLASS_COUNT = 17
"""Labelled classes; the networks of Standley et al. answer with 18 channels, the first for what is unlabelled."""
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
    def scaled(self, values: NDArray[np.generic], bank: bool) -> tuple[Tensor, Tensor | None]:
        """A file's values (C, H, W) as networks answer them, by the Task Bank or by Standley, and a mask (1, H, W)."""

    @abstractmethod
    def to_stored(self, values: NDArray[np.generic], masking: NDArray[np.generic] | None) -> NDArray[np.generic]:
        """A file's values (C, H, W) as a stored target, given those of :attr:`masked_by`."""

    @abstractmethod
    def to_file(self, stored: NDArray[np.integer]) -> NDArray[np.integer]:
        """The reverse: a stored target (C, H, W) as the array of a file, (H, W) or (H, W, 3)."""


@final
class _Classes(Domain):
    modes = ("L", "P")
    nearest = True

    def scaled(self, values: NDArray[np.generic], bank: bool) -> tuple[Tensor, Tensor | None]:
        labels = torch.from_numpy(values.astype(np.int64))
        labelled = (labels > 0) & (labels <= CLASS_COUNT)
        return torch.where(labelled, labels, IGNORE_CLASS), labelled

    def to_stored(self, values: NDArray[np.generic], masking: NDArray[np.generic] | None) -> NDArray[np.generic]:
        labels = values.astype(np.int64)
        return np.where((labels > 0) & (labels <= CLASS_COUNT), labels - 1, IGNORE_CLASS).astype(np.uint8)

    def to_file(self, stored: NDArray[np.integer]) -> NDArray[np.integer]:
        return np.where(stored[0] == IGNORE_CLASS, 0, stored[0] + 1).astype(np.uint8)


@final
class _Response(Domain):
    """Args: the share of full scale at which Task Bank targets reach 1; Standley's offset and divisor."""

    def __init__(self, clip: float, shift: int, scale: int) -> None:
        self.clip, self.shift, self.scale = clip, shift, scale

    def scaled(self, values: NDArray[np.generic], bank: bool) -> tuple[Tensor, Tensor | None]:
        floats = torch.from_numpy(values.astype(np.float32))
        if bank:
            return (floats / FULL_SCALE).clamp(0, self.clip) * (2 / self.clip) - 1, None
        return (floats - self.shift) / self.scale, None

    def to_stored(self, values: NDArray[np.generic], masking: NDArray[np.generic] | None) -> NDArray[np.generic]:
        share = np.clip(values.astype(np.float64) / (self.clip * FULL_SCALE), 0, 1)
        return np.rint(255 * share).astype(np.uint8)

    def to_file(self, stored: NDArray[np.integer]) -> NDArray[np.integer]:
        values: NDArray[np.integer] = np.rint(stored[0].astype(np.float64) * (self.clip * FULL_SCALE / 255)).astype(
            np.uint16
        )
        return values


@final
class _Normals(Domain):
    modes = ("RGB", "RGBA")
    nearest = True
    masked_by = "depth_zbuffer"

    def scaled(self, values: NDArray[np.generic], bank: bool) -> tuple[Tensor, Tensor | None]:
        vectors = torch.from_numpy(values.astype(np.float32)) / 127.5 - 1
        return vectors, vectors.square().sum(0, keepdim=True) > 0.25

    def to_stored(self, values: NDArray[np.generic], masking: NDArray[np.generic] | None) -> NDArray[np.generic]:
        assert masking is not None
        return np.where(masking.astype(np.int64) >= MASKED_DEPTH_RAW, NO_NORMAL, values).astype(np.uint8)

    def to_file(self, stored: NDArray[np.integer]) -> NDArray[np.integer]:
        return np.ascontiguousarray(stored.transpose(1, 2, 0))


@final
class _Depth(Domain):
    nearest = True

    def scaled(self, values: NDArray[np.generic], bank: bool) -> tuple[Tensor, Tensor | None]:
        floats = torch.from_numpy(values.astype(np.float32))
        if bank:
            return torch.log1p(floats) / math.log(2**16), floats < MASKED_DEPTH_RAW
        return (floats - 1500) / 1000, floats < 8192

    def to_stored(self, values: NDArray[np.generic], masking: NDArray[np.generic] | None) -> NDArray[np.generic]:
        return np.where(values.astype(np.int64) >= MASKED_DEPTH_RAW, NO_DEPTH, values).astype(np.uint16)

    def to_file(self, stored: NDArray[np.integer]) -> NDArray[np.integer]:
        return np.where(stored[0] == NO_DEPTH, NO_DEPTH_RAW, stored[0]).astype(np.uint16)


@final
class _Image(Domain):
    modes = ("RGB", "RGBA")

    def scaled(self, values: NDArray[np.generic], bank: bool) -> tuple[Tensor, Tensor | None]:
        floats = torch.from_numpy(values.astype(np.float32))
        return (floats / 127.5 - 1 if bank else floats / 255), None

    def to_stored(self, values: NDArray[np.generic], masking: NDArray[np.generic] | None) -> NDArray[np.generic]:
        return values.round().astype(np.uint8) if values.dtype != np.uint8 else values

    def to_file(self, stored: NDArray[np.integer]) -> NDArray[np.integer]:
        return np.ascontiguousarray(stored.transpose(1, 2, 0))


DOMAINS: dict[str, Domain] = {
    "segment_semantic": _Classes(),
    "keypoints2d": _Response(KEYPOINT_CLIP, 50, 100),
    "edge_texture": _Response(EDGE_CLIP, 718, 1070),
    "normal": _Normals(),
    "depth_zbuffer": _Depth(),
    "rgb": _Image(),
}
"""The domains that are read and written, by the task whose targets they hold."""


def _masks_of(tasks: Iterable[str]) -> list[str]:
    """The domains that mask those of some tasks."""
    return [other for task in tasks if (other := DOMAINS[task].masked_by) is not None]


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


def scaled(task: str, stored: NDArray[np.generic], convention: Convention) -> tuple[Tensor, Tensor | None]:
    """A stored target (C, H, W) as networks answer it, and its mask (1, H, W) if it has one of its own.

    The mask of normals is that of depth, too: :class:`TaskonomyDataset` joins them.

    Raises:
        ArgumentError: an unknown convention or task.

    >>> target, mask = scaled("depth_zbuffer", np.array([[[1500, 65535]]], np.uint16), "standley")
    >>> target[0, 0, 0].item(), mask.tolist()
    (0.0, [[[True, False]]])
    """
    if convention not in get_args(Convention):
        raise ArgumentError("convention", repr(convention), f"one of {', '.join(get_args(Convention))}")
    if task not in DOMAINS:
        raise ArgumentError("task", repr(task), f"one of {', '.join(DOMAINS)}")
    return DOMAINS[task].scaled(stored, convention == "taskbank")


class TaskonomyDataset(Dataset[Sample]):
    """Views of some buildings, by index; works with a :class:`torch.utils.data.DataLoader`.

    Views that lack a wanted file are left out; how many, and why, is in ``missing`` and said once through ``logging``.

    Args:
        folder: what holds the domains' folders.
        buildings: names, such as ``TINY["train"]`` or a split of :func:`read_split`.
        tasks: which targets to read.
        convention: how they are scaled.
        size: side that square images are brought to, each target as suits it (means for images and responses, the
            nearest pixel for depth, normals and classes); as they are if None.

    Attributes:
        views: (N, 3), number of the building, point and view.
        absent: wanted buildings of which there is nothing.
        missing: by task, views whose file for it is missing.

    Raises:
        ArgumentError: an unknown task or convention.
        DataError: there is not one complete view.
    """

    def __init__(
        self,
        folder: Path,
        buildings: Sequence[str],
        tasks: Sequence[str] = tuple(DOMAINS),
        convention: Convention = "standley",
        size: int | None = 256,
    ) -> None:
        for task in tasks:
            if task not in DOMAINS:
                raise ArgumentError("tasks", repr(task), f"names among {', '.join(DOMAINS)}")
        if convention not in get_args(Convention):
            raise ArgumentError("convention", repr(convention), f"one of {', '.join(get_args(Convention))}")
        self.folder, self.buildings, self.convention, self.size = Path(folder), tuple(buildings), convention, size
        self.tasks = tuple(tasks)
        self._needed = tuple(dict.fromkeys((*tasks, *_masks_of(tasks))))
        self.views, self.absent, self.missing = _list_views(self.folder, self.buildings, self._needed)
        if not len(self.views):
            found = f"no complete view of {len(self.buildings)} buildings (missing files: {_counts(self.missing)})"
            cure = "check the folder, which holds rgb, depth_zbuffer and so on, and the names of the buildings."
            raise DataError(str(folder), found, f"{Path('rgb') / 'BUILDING' / 'point_0_view_0_domain_rgb.png'}", cure)
        if self.absent or any(self.missing.values()):
            _log.warning(
                "%s: %d of %d buildings are absent; left out for a missing file: %s; %d views remain",
                folder, len(self.absent), len(self.buildings), _counts(self.missing), len(self.views),
            )  # fmt: skip

    def __len__(self) -> int:
        return len(self.views)

    def __getitem__(self, index: int) -> Sample:
        """The view's targets by task name, and masks as ``mask/<task>``.

        Raises:
            DataError: a file is damaged, gone, or of another size or kind than its fellows.
            IndexError: no such view.
        """
        if not 0 <= index < len(self):
            raise IndexError(index)
        number, point, view = (int(value) for value in self.views[index])
        building = self.buildings[number]
        read, shapes = {}, set()
        for task in self._needed:
            stored = _read(file_of(self.folder, task, building, point, view), task)
            shapes.add(stored.shape[1:])
            read[task] = scaled(task, _resized(task, stored, self.size), self.convention)
        if len(shapes) > 1:
            where = str(file_of(self.folder, "*", building, point, view))
            raise DataError(
                where, f"sizes {sorted(shapes)}", "one size for all targets of a view", "download it again."
            )
        sample: Sample = {}
        for task in self.tasks:
            sample[task], mask = read[task]
            for other in _masks_of([task]):
                masking = read[other][1]
                assert mask is not None and masking is not None
                mask = mask & masking
            if mask is not None:
                sample[f"mask/{task}"] = mask
        return sample


class TaskonomyStream(IterableDataset[Sample]):
    """A data set in random order, shared out between processes and the workers of their loaders.

    Every epoch is a new order, the same in all processes. Each of ``world`` processes gets as many views, and each
    worker of its loader a part of them. A view that cannot be read is said through ``logging``, counted in
    :attr:`damaged`, and replaced by another of the same worker, so that all processes yield equally many.

    Args:
        data: the views.
        seed: of the order.
        rank: which process this is.
        world: how many there are.

    Raises:
        ArgumentError: a rank outside 0 … world - 1, or fewer views than processes.
    """

    def __init__(self, data: TaskonomyDataset, seed: int = 0, rank: int = 0, world: int = 1) -> None:
        if not 0 <= rank < world:
            raise ArgumentError("rank", str(rank), f"0 … {world - 1}")
        if len(data) < world:
            raise ArgumentError("world", str(world), f"at most {len(data)}, the number of views")
        self.data, self.seed, self.rank, self.world = data, seed, rank, world
        # Shared with the loader's workers, also with those that live on from epoch to epoch. Locks of the context
        # `spawn` can be handed to workers however they are started.
        context = multiprocessing.get_context("spawn")
        self._epoch, self._damaged = context.Value("q", 0), context.Value("q", 0)

    def set_epoch(self, epoch: int) -> None:
        """Which order comes next; a training loop sets it before each epoch."""
        self._epoch.value = epoch

    @property
    def damaged(self) -> int:
        """How many reads have failed so far, in all workers of this process."""
        return int(self._damaged.value)

    def __len__(self) -> int:
        return len(self.data) // self.world

    def part(self, worker: int = 0, workers: int = 1) -> NDArray[np.int64]:
        """Indices of a worker's views, in the order of this epoch."""
        order = np.random.default_rng((self.seed, self._epoch.value)).permutation(len(self.data))
        return order[self.rank :: self.world][: len(self)][worker::workers]

    def __iter__(self) -> Iterator[Sample]:
        """Views of this process, or of this worker of its loader.

        Raises:
            DataError: not one of them can be read.
        """
        worker = get_worker_info()
        part = self.part(worker.id, worker.num_workers) if worker else self.part()
        whole = []
        for index in part:
            try:
                sample = self.data[int(index)]
            except DataError as error:
                with self._damaged.get_lock():
                    self._damaged.value += 1
                _log.warning("left out: %s", error)
                continue
            whole.append(int(index))
            yield sample
        if len(part) and not whole:
            raise DataError(str(self.data.folder), f"{len(part)} damaged views and no other", "views that can be read")
        for place in range(len(part) - len(whole)):
            yield self.data[whole[place % len(whole)]]


class TaskonomyImages:
    """Views as stored targets of :mod:`atdc.data.targets`, for training: the inverse of :mod:`atdc.data.export`.

    Responses are in shares of the Task Bank's range, which is the usual one; classes count from 0 for the first that is
    labelled, so networks for Taskonomy have 17. A view that cannot be read is said through ``logging``, counted in
    :attr:`damaged` and replaced by the next.

    Args:
        folder: what holds the domains' folders, and the split's table if it is not the official Tiny split.
        split: ``train``, ``val`` or ``test``.
        size: side that square images are brought to.

    Raises:
        ArgumentError: an unknown split.
        DataError: there is not one complete view, or a damaged table.
    """

    def __init__(self, folder: Path, split: str, size: int = 256) -> None:
        table = Path(folder) / SPLIT_TABLE
        splits = read_split(table) if table.exists() else TINY
        if split not in splits:
            raise ArgumentError("split", repr(split), f"one of {', '.join(splits)}")
        self._views = TaskonomyDataset(folder, splits[split], size=size)
        self.size, self.damaged = size, 0

    def __len__(self) -> int:
        return len(self._views)

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
        for further in range(len(self)):
            try:
                return self._view((index + further) % len(self), names)
            except DataError as error:
                self.damaged += 1
                _log.warning("another view in its place: %s", error)
        raise DataError(str(self._views.folder), f"{len(self)} damaged views and no other", "views that can be read")

    def _view(self, index: int, names: Sequence[str]) -> dict[str, NDArray[np.generic]]:
        number, point, view = (int(value) for value in self._views.views[index])
        building = self._views.buildings[number]
        needed = dict.fromkeys((*names, *_masks_of(names)))
        read = {
            task: _resized(task, _read(file_of(self._views.folder, task, building, point, view), task), self.size)
            for task in needed
        }
        masking = {task: read[other] for task in names for other in _masks_of([task])}
        return {task: stored_again(task, read[task], masking.get(task)) for task in names}


def stored_again(
    task: str, array: NDArray[np.generic], masking: NDArray[np.generic] | None = None
) -> NDArray[np.generic]:
    """A file's array (C, H, W) as a stored target, given that of the domain that masks it.

    >>> stored_again("segment_semantic", np.array([[[0, 1]]], np.uint8)).tolist()
    [[[255, 0]]]
    """
    return DOMAINS[task].to_stored(array, masking)


def _list_views(
    folder: Path, buildings: Sequence[str], tasks: Sequence[str]
) -> tuple[NDArray[np.int32], tuple[str, ...], dict[str, int]]:
    """Complete views in the order of buildings, points and views; absent buildings; missing files by task."""
    views: list[tuple[int, int, int]] = []
    absent, missing = [], dict.fromkeys(tasks, 0)
    for number, building in enumerate(buildings):
        found = {task: _views_in(folder / task / building, _ending(task)) for task in tasks}
        every = set().union(*found.values())
        if not every:
            absent.append(building)
        for task in tasks:
            missing[task] += len(every - found[task])
        views += sorted((number, *view) for view in every.intersection(*found.values()))
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
