"""What the codec codes: named feature tensors, each with channels and a grid of its own. Nothing of tasks or images.

A tensor's *grid* is its height and width, in positions. How a reader knows it is part of the model:

=================  ==================================================================================================
grid               height and width
=================  ==================================================================================================
an integer         ``⌈side / stride⌉`` of the image, or spelled out in a file that was made without an image
a pair             always these
None               spelled out in every file
=================  ==================================================================================================
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from atdc.errors import ArgumentError

Grid: TypeAlias = tuple[int, int]
"""Height and width of a feature tensor, in positions."""

MAX_TENSORS = 64
"""Of a model: a set of them is held as the bits of one integer, and a file's mask takes at most eight bytes."""
LATENT_STRIDE = 2
"""Positions of a tensor per position of its latent, along each axis."""
GRID_MULTIPLE = 4
"""Grids are padded to multiples of this: latents lie at a half, hyper-latents at a quarter of their size."""
_LONGEST_NAME = 200
_MOST_CHANNELS = 1 << 16


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One feature tensor of a model.

    Args:
        name: any text without control characters, ``backbone/layer3``, say.
        channels: at least 1.
        grid: see the top of this module.
        latent_channels: of what is coded in its place, at half the size; at most, and by default, four a channel.

    Raises:
        ArgumentError: values that no tensor has.

    >>> TensorSpec("edges", channels=3, grid=(20, 30)).latent_channels
    12
    """

    name: str
    channels: int
    grid: int | Grid | None = None
    latent_channels: int = 0

    def __post_init__(self) -> None:
        """Checks every value."""
        where = f"tensor {self.name!r}"
        name: Any = self.name
        if not isinstance(name, str) or not 0 < len(name) <= _LONGEST_NAME or not name.isprintable():
            raise ArgumentError(where, "that name", f"1 to {_LONGEST_NAME} printable characters")
        if not _is_count(self.channels) or self.channels > _MOST_CHANNELS:
            raise ArgumentError(f"{where}, channels", repr(self.channels), f"1 to {_MOST_CHANNELS}")
        if self.latent_channels == 0:
            object.__setattr__(self, "latent_channels", 4 * self.channels)
        if not _is_count(self.latent_channels) or self.latent_channels > 4 * self.channels:
            raise ArgumentError(f"{where}, latent channels", repr(self.latent_channels), f"1 to {4 * self.channels}")
        grid: Any = self.grid
        is_scalar = grid is None or _is_count(grid)
        if not is_scalar and not (isinstance(grid, tuple) and len(grid) == 2 and all(map(_is_count, grid))):
            raise ArgumentError(f"{where}, grid", repr(grid), "pixels per position, (height, width), or None")

    def grid_of_image(self, height: int, width: int) -> Grid | None:
        """The tensor's grid for an image of that size in pixels; None where it does not follow from it.

        >>> TensorSpec("depth", 32, grid=16).grid_of_image(40, 60)
        (3, 4)
        """
        if isinstance(self.grid, tuple):
            return self.grid
        return None if self.grid is None else (-(-height // self.grid), -(-width // self.grid))

    def to_json(self) -> dict[str, Any]:
        """Plain values, for the weights' header."""
        grid = list(self.grid) if isinstance(self.grid, tuple) else self.grid
        return {
            "name": self.name, "channels": self.channels, "grid": grid, "latent_channels": self.latent_channels,
        }  # fmt: skip

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> TensorSpec:
        """The inverse of :meth:`to_json`; raises :class:`ArgumentError`, TypeError or KeyError on other values."""
        grid = values["grid"]
        return cls(
            values["name"], values["channels"], tuple(grid) if isinstance(grid, list) else grid,
            values["latent_channels"],
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class FeatureSet:
    """The tensors of a model, in the order of their indices.

    Args:
        tensors: 1 to 64 of them, each name once.

    Raises:
        ArgumentError: none, too many, or a name twice.

    >>> levels = FeatureSet((TensorSpec("p3", 64, grid=8), TensorSpec("p4", 96, grid=16)))
    >>> levels.names, levels.indices(["p4"]), levels.grids_of_image(32, 64)
    (('p3', 'p4'), [1], ((4, 8), (2, 4)))
    """

    tensors: tuple[TensorSpec, ...]
    _index: dict[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Checks number and names."""
        if not 1 <= len(self.tensors) <= MAX_TENSORS:
            raise ArgumentError("tensors", f"{len(self.tensors)} of them", f"1 to {MAX_TENSORS}")
        index = {tensor.name: place for place, tensor in enumerate(self.tensors)}
        if len(index) < len(self.tensors):
            names = [tensor.name for tensor in self.tensors]
            twice = next(name for name in names if names.count(name) > 1)
            raise ArgumentError("tensors", f"{twice!r} twice", "each name once")
        object.__setattr__(self, "_index", index)

    @classmethod
    def alike(cls, names: Iterable[object], channels: int, latent_channels: int, grid: int | None) -> FeatureSet:
        """Tensors that differ in their names alone.

        >>> FeatureSet.alike(range(2), 32, 64, grid=16).names
        ('0', '1')
        """
        return cls(tuple(TensorSpec(str(name), channels, grid, min(latent_channels, 4 * channels)) for name in names))

    def __len__(self) -> int:
        return len(self.tensors)

    def __getitem__(self, index: int) -> TensorSpec:
        return self.tensors[index]

    @property
    def names(self) -> tuple[str, ...]:
        """In index order."""
        return tuple(tensor.name for tensor in self.tensors)

    def indices(self, names: Sequence[str] | None, where: str = "tasks") -> list[int]:
        """Indices of named tensors, in the order named; of all if None.

        Raises:
            ArgumentError: an unknown name, or no list of names.
        """
        if isinstance(names, str):
            raise ArgumentError(where, repr(names), "a list of names", f"pass [{names!r}]")
        try:
            wanted = self.names if names is None else tuple(names)
        except TypeError as error:
            raise ArgumentError(where, repr(names), "a list of names") from error
        for name in wanted:
            key: object = name
            if not isinstance(key, str) or name not in self._index:
                close = difflib.get_close_matches(str(name), self.names, n=1)
                cure = f"Did you mean {close[0]!r}?" if close else ""
                raise ArgumentError(where, repr(name), f"some of {', '.join(self.names)}", cure)
        return [self._index[name] for name in wanted]

    def wanted(self, names: Sequence[str], where: str = "tasks") -> tuple[int, ...]:
        """Indices of the tensors that are asked for, ascending; a name that is there twice counts once.

        Raises:
            ArgumentError: an unknown name, or none.

        >>> FeatureSet.alike("abc", 1, 1, None).wanted(["c", "a", "c"])
        (0, 2)
        """
        indices = self.indices(names, where)
        if not indices:
            raise ArgumentError(where, "an empty list", f"some of {', '.join(self.names)}")
        return tuple(sorted(set(indices)))

    def grids_of_image(self, height: int, width: int) -> tuple[Grid | None, ...]:
        """Every tensor's grid for an image of that size in pixels."""
        return tuple(tensor.grid_of_image(height, width) for tensor in self.tensors)

    def to_json(self) -> list[dict[str, Any]]:
        """Plain values, for the weights' header."""
        return [tensor.to_json() for tensor in self.tensors]

    @classmethod
    def from_json(cls, rows: list[dict[str, Any]]) -> FeatureSet:
        """The inverse of :meth:`to_json`."""
        if len(rows) > MAX_TENSORS:
            raise ArgumentError("tensors", f"{len(rows)} of them", f"1 to {MAX_TENSORS}")
        return cls(tuple(TensorSpec.from_json(row) for row in rows))


def padded(grid: Grid) -> Grid:
    """Rows and columns of a tensor as the codec sees it: multiples of 4.

    >>> padded((33, 8))
    (36, 8)
    """
    return -(-grid[0] // GRID_MULTIPLE) * GRID_MULTIPLE, -(-grid[1] // GRID_MULTIPLE) * GRID_MULTIPLE


def latent_grid(grid: Grid) -> Grid:
    """Rows and columns of a latent that belong to the tensor and not to its padding."""
    return -(-grid[0] // LATENT_STRIDE), -(-grid[1] // LATENT_STRIDE)


def spans(parent: int, child: int) -> NDArray[np.int64]:
    """Which of a parent's rows (or columns) each of a child's sees, as half-open ranges (child, 2), by normalised
    position.

    Where the child has as many or more, row ``i`` sees the row under its middle, ``(2i + 1)·parent // (2·child)``;
    where it has fewer, all rows that overlap its own.

    >>> spans(2, 4).tolist(), spans(5, 2).tolist()
    ([[0, 1], [0, 1], [1, 2], [1, 2]], [[0, 3], [2, 5]])
    """
    rows = np.arange(child, dtype=np.int64)
    if child >= parent:
        middles = (2 * rows + 1) * parent // (2 * child)
        return np.stack([middles, middles + 1], 1)
    return np.stack([rows * parent // child, -(-(rows + 1) * parent // child)], 1)


def require_unmasked(value: Any, where: str) -> None:
    """Refuses a masked array: what is under the mask would be coded like all else.

    Raises:
        ArgumentError: something is under a mask.
    """
    if isinstance(value, np.ma.MaskedArray) and np.ma.is_masked(value):
        raise ArgumentError(where, "values under a mask", "values everywhere", "Fill them: array.filled(0).")


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1
