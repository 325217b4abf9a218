"""Rooms on disk: one memory-mappable array per target, written in parallel, in pieces that survive a kill."""

from __future__ import annotations

import json
import multiprocessing
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from atdc.data.rooms.render import SCENE_TARGETS, TILE_PX, render_rooms
from atdc.data.rooms.sample import StyleSet
from atdc.data.rooms.targets import PICTURE_TARGETS
from atdc.data.targets import STORED_LAYOUT
from atdc.errors import ArgumentError, DataError, OutputError

ROOMS_VERSION = 2
"""Rises whenever a pixel of any room changes; folders of another version are refused."""

_LAYOUT = {name: form for name, form in STORED_LAYOUT.items() if name in SCENE_TARGETS or name in PICTURE_TARGETS}
_CHUNK = 20
_META = "meta.json"
_PROGRESS = "progress.json"


@dataclass(frozen=True, slots=True)
class RoomsSplit:
    """A range of seeds.

    Attributes:
        name: ``train``, ``val``, ``test`` or ``test_styles``.
        first_seed: seed of the first room; the others follow one by one.
        count: number of rooms.
        styles: the style set the rooms are drawn from.
    """

    name: str
    first_seed: int
    count: int
    styles: StyleSet

    @property
    def seeds(self) -> range:
        """All seeds of the split.

        >>> SPLITS["val"].seeds
        range(1000000, 1000500)
        """
        return range(self.first_seed, self.first_seed + self.count)


SPLITS: dict[str, RoomsSplit] = {
    "train": RoomsSplit("train", 0, 8000, "train"),
    "val": RoomsSplit("val", 1_000_000, 500, "train"),
    "test": RoomsSplit("test", 2_000_000, 1000, "train"),
    "test_styles": RoomsSplit("test_styles", 3_000_000, 500, "held_out"),
}
"""The four splits; their seeds are disjoint."""


def materialise(
    folder: Path, split: str, count: int | None = None, workers: int | None = None, size: int = 256
) -> None:
    """Render a split to ``folder/split``: ``<target>.npy`` of shape ``(count, C, size, size)``, then ``meta.json``.

    A finished folder of as many rooms, or more, is left as it is. A run that was killed continues where it stopped,
    with at most one chunk of rooms per worker rendered again.

    Args:
        folder: parent folder; created if need be.
        split: a name in :data:`SPLITS`.
        count: how many rooms from the split's start; all of them if None.
        workers: processes; one per core if None, and 1 means this process alone.
        size: side of the images in pixels.

    Raises:
        ArgumentError: unknown split, or a count, size or number of workers that makes no sense.
        OutputError: the folder cannot be written.
    """
    rooms = _split(split)
    count = rooms.count if count is None else count
    if not 1 <= count <= rooms.count:
        raise ArgumentError("count", str(count), f"a number from 1 to {rooms.count} for split {split!r}")
    if size <= 0 or size % TILE_PX:
        raise ArgumentError("size", str(size), f"a positive multiple of {TILE_PX}", "pass size=256.")
    workers = (os.cpu_count() or 1) if workers is None else workers
    if workers < 1:
        raise ArgumentError("workers", str(workers), "at least 1")
    target = Path(folder) / split
    plan = _plan(rooms, count, size)
    meta = _read_json(target / _META)
    if isinstance(meta, dict) and meta == plan | {"count": meta.get("count")} and int(meta["count"]) >= count:
        return
    try:
        done = _prepare(target, plan, count, size)
        _fill(target, rooms, plan, done, workers)
    except OSError as error:
        cure = "free some space or choose another folder; the next run continues from here."
        raise OutputError(str(target), f"{error.strerror or error}", "a folder that can be written", cure) from error


def _split(name: str) -> RoomsSplit:
    if name not in SPLITS:
        raise ArgumentError("split", repr(name), f"one of {', '.join(SPLITS)}")
    return SPLITS[name]


def _plan(rooms: RoomsSplit, count: int, size: int) -> dict[str, object]:
    return {
        "rooms_version": ROOMS_VERSION, "split": rooms.name, "styles": rooms.styles, "count": count, "size": size,
        "first_seed": rooms.first_seed,
    }  # fmt: skip


def _read_json(path: Path) -> object:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return None


def _write_json(path: Path, value: object) -> None:
    draft = path.with_suffix(".tmp")
    draft.write_text(json.dumps(value, indent=1) + "\n")
    os.replace(draft, path)


def _prepare(target: Path, plan: dict[str, object], count: int, size: int) -> set[int]:
    """Make the arrays, or recognise those of a run with the same plan; return the chunks that are done."""
    target.mkdir(parents=True, exist_ok=True)
    progress = _read_json(target / _PROGRESS)
    complete = all((target / f"{name}.npy").exists() for name in _LAYOUT)
    if complete and isinstance(progress, dict) and progress.get("plan") == plan:
        return {int(chunk) for chunk in progress["chunks"]}
    (target / _META).unlink(missing_ok=True)
    (target / _PROGRESS).unlink(missing_ok=True)
    for name, (channels, dtype) in _LAYOUT.items():
        shape = (count, channels, size, size)
        np.lib.format.open_memmap(target / f"{name}.npy", mode="w+", dtype=dtype, shape=shape).flush()
    _write_json(target / _PROGRESS, {"plan": plan, "chunks": []})
    return set()


def _fill(target: Path, rooms: RoomsSplit, plan: dict[str, object], done: set[int], workers: int) -> None:
    count, size = int(str(plan["count"])), int(str(plan["size"]))
    chunks = range((count + _CHUNK - 1) // _CHUNK)
    jobs = [(str(target), rooms, chunk, count, size) for chunk in chunks if chunk not in done]
    bar = tqdm(
        total=count, initial=min(count, len(done) * _CHUNK), desc=f"rooms {rooms.name}", unit="room", disable=None
    )
    with bar:

        def note(chunk: int) -> None:
            done.add(chunk)
            _write_json(target / _PROGRESS, {"plan": plan, "chunks": sorted(done)})
            bar.update(min(_CHUNK, count - chunk * _CHUNK))

        if workers == 1 or len(jobs) <= 1:
            for job in jobs:
                note(_render_chunk(job))
        else:
            context = multiprocessing.get_context("spawn")
            with context.Pool(min(workers, len(jobs)), initializer=torch.set_num_threads, initargs=(1,)) as pool:
                for chunk in pool.imap_unordered(_render_chunk, jobs):
                    note(chunk)
    _write_json(target / _META, plan)
    (target / _PROGRESS).unlink(missing_ok=True)


def _render_chunk(job: tuple[str, RoomsSplit, int, int, int]) -> int:
    """Render one chunk of rooms and write it to its place in every array."""
    folder, rooms, chunk, count, size = job
    start, stop = chunk * _CHUNK, min((chunk + 1) * _CHUNK, count)
    rendered = render_rooms(rooms.seeds[start:stop], rooms.styles, size)
    for name in _LAYOUT:
        array = np.lib.format.open_memmap(Path(folder) / f"{name}.npy", mode="r+")
        array[start:stop] = rendered[name].numpy()
        array.flush()
    return chunk


class RoomsDataset:
    """A materialised split, opened without reading it into memory.

    Args:
        folder: the parent folder that was given to :func:`materialise`.
        split: a name in :data:`SPLITS`.
        count: how many rooms from the split's start; all that are there if None.

    Attributes:
        split: the split's description.
        size: side of the images in pixels.
        arrays: read-only memory maps ``(N, C, H, W)`` by target name, in stored units.

    Raises:
        ArgumentError: unknown split.
        DataError: the folder is missing, unfinished, damaged or of another version.
    """

    def __init__(self, folder: Path, split: str, count: int | None = None) -> None:
        self.split = _split(split)
        self.folder = Path(folder) / split
        cure = f"run atdc.data.rooms.materialise(Path({str(folder)!r}), {split!r})."
        renew = f"delete the folder and {cure}"
        meta = _read_json(self.folder / _META)
        if not isinstance(meta, dict):
            problem = "an unfinished split" if (self.folder / _PROGRESS).exists() else "no finished split"
            raise DataError(str(self.folder), problem, f"rooms with a {_META}", cure)
        if meta != _plan(self.split, int(meta.get("count", 0)), int(meta.get("size", 0))):
            problem = f"rooms of version {meta.get('rooms_version')}"
            raise DataError(str(self.folder), problem, f"version {ROOMS_VERSION}", renew)
        self._count, self.size = int(meta["count"]), int(meta["size"])
        self.arrays: dict[str, NDArray[np.generic]] = {}
        for name, (channels, dtype) in _LAYOUT.items():
            path = self.folder / f"{name}.npy"
            try:
                array = np.lib.format.open_memmap(path, mode="r")
            except (OSError, ValueError) as error:
                raise DataError(str(path), str(error), "a NumPy array", renew) from error
            shape = (self._count, channels, self.size, self.size)
            if array.shape != shape or array.dtype != dtype:
                problem = f"{array.dtype} of shape {array.shape}"
                raise DataError(str(path), problem, f"{np.dtype(dtype)} of shape {shape}", renew)
            self.arrays[name] = array[:count]
        self._count = min(self._count, count or self._count)

    def __len__(self) -> int:
        return self._count

    def targets(
        self, indices: Sequence[int] | NDArray[np.integer] | slice, names: Sequence[str] | None = None
    ) -> dict[str, Tensor]:
        """Read rooms by position.

        Args:
            indices: positions from 0 to ``len(self) - 1``, or a slice.
            names: which targets to read; all if None.

        Returns:
            The stored tensors ``(B, C, H, W)`` by name, in the units of :func:`render_rooms`, copied from the disk.

        Raises:
            ArgumentError: an unknown target or a position out of range.
        """
        wanted = list(_LAYOUT) if names is None else list(names)
        for name in wanted:
            if name not in _LAYOUT:
                raise ArgumentError("names", repr(name), f"names among {', '.join(_LAYOUT)}")
        where = np.arange(self._count)[indices] if isinstance(indices, slice) else np.asarray(indices, dtype=np.int64)
        if where.size and (int(where.min()) < 0 or int(where.max()) >= self._count):
            raise ArgumentError("indices", f"{int(where.min())} … {int(where.max())}", f"0 … {self._count - 1}")
        return {name: torch.from_numpy(self.arrays[name][where]) for name in wanted}
