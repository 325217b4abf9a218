"""The data sets of labelled images, by name: a further one is a row here, and known wherever a data set is named.

Rows import what they open only then, so that names are known without torch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from atdc.errors import ArgumentError

if TYPE_CHECKING:
    from atdc.data.labelled import LabelledImages

SIDE_PX = 256
"""Of images that are not asked for at another size."""


@dataclass(frozen=True)
class DataSet:
    """How a data set comes from a folder.

    Attributes:
        read: a split, from the folder, the split's name, the side of its square images and how many of them; as
            :func:`labelled` takes them.
        render: makes what is to be read, as far as it is not there, from the same; None where images are not made.
    """

    read: Callable[[Path, str, int | None, int | None], LabelledImages]
    render: Callable[[Path, str, int | None, int | None], None] | None = None


def labelled(
    name: str, folder: Path, split: str, size: int | None = None, count: int | None = None, *, render: bool = True
) -> LabelledImages:
    """A split of a data set, by name.

    Args:
        name: a key of :data:`DATA_SETS`.
        folder: where it is, or is rendered to.
        split: ``train``, ``val`` or ``test``, or another that the data set has.
        size: side of the square images in pixels; if None, 256, and of rooms that of those in the folder.
        count: at most so many images, of rooms the first, of others some drawn once and for all; all if None.
        render: whether what can be rendered is, where it is not there.

    Raises:
        ArgumentError: an unknown data set or split, or a size that it does not have.
        DataError: the folder does not hold it.

    >>> sorted(DATA_SETS)
    ['nyuv2', 'rooms', 'taskonomy']
    """
    if name not in DATA_SETS:
        raise ArgumentError("data", repr(name), f"one of {', '.join(DATA_SETS)}")
    data_set = DATA_SETS[name]
    if render and data_set.render is not None:
        data_set.render(Path(folder), split, size, count)
    return data_set.read(Path(folder), split, size, count)


def _rooms(folder: Path, split: str, size: int | None, count: int | None) -> LabelledImages:
    from atdc.data.rooms import RoomsDataset

    return RoomsDataset(_place_of_rooms(folder, size), split, count)


def _render_rooms(folder: Path, split: str, size: int | None, count: int | None) -> None:
    """Rooms that are there are left as they are, unless there are fewer than asked for."""
    from atdc.data.rooms import materialise

    place = _place_of_rooms(folder, size)
    if count is not None or not (place / split / "meta.json").exists():
        materialise(place, split, count, size=size or SIDE_PX)


def _place_of_rooms(folder: Path, size: int | None) -> Path:
    """Rooms of another than the usual size have a folder of their own; those of half of it are in ``half``."""
    if size in (None, SIDE_PX):
        return folder
    return folder / ("half" if size == SIDE_PX // 2 else f"{size}px")


def _nyuv2(folder: Path, split: str, size: int | None, count: int | None) -> LabelledImages:
    from atdc.data.nyuv2 import NyuV2Dataset

    return _some(NyuV2Dataset(folder, split, size or SIDE_PX), count)


def _taskonomy(folder: Path, split: str, size: int | None, count: int | None) -> LabelledImages:
    from atdc.data.taskonomy import TaskonomyImages

    return _some(TaskonomyImages(folder, split, size or SIDE_PX), count)


def _some(images: LabelledImages, count: int | None) -> LabelledImages:
    from atdc.data.labelled import Some

    return images if count is None else Some(images, count)


DATA_SETS: dict[str, DataSet] = {
    "rooms": DataSet(_rooms, _render_rooms),
    "nyuv2": DataSet(_nyuv2),
    "taskonomy": DataSet(_taskonomy),
}
"""Every data set of labelled images, by the name it has in recipes and on the command line."""
