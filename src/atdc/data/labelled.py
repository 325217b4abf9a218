"""Labelled images, of one size: what training and evaluation read, some of them, or two sets as one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

IMAGE = "rgb"
"""The stored target that is the image itself: what all networks see, whether or not a task answers with it."""


class LabelledImages(Protocol):
    """Images of one size with stored targets; what training and evaluation read. The target :data:`IMAGE` is the
    image."""

    def __len__(self) -> int: ...

    def targets(
        self, indices: Sequence[int] | NDArray[np.integer], names: Sequence[str] | None = None
    ) -> dict[str, Tensor]:
        """Stored targets (n, C, H, W) by name, all there are if None."""
        ...


@dataclass(frozen=True)
class Some:
    """Some of a data set's images, drawn once and for all; all of them where there are no more.

    Args:
        whole: the data set.
        count: how many.
    """

    whole: LabelledImages
    count: int

    @cached_property
    def chosen(self) -> NDArray[np.int64]:
        """Their places in the data set, ascending."""
        order = np.random.default_rng(0).permutation(len(self.whole))
        return np.sort(order[: self.count])

    def __len__(self) -> int:
        return len(self.chosen)

    def targets(
        self, indices: Sequence[int] | NDArray[np.integer], names: Sequence[str] | None = None
    ) -> dict[str, Tensor]:
        """Stored targets (n, C, H, W) by name, all there are if None."""
        return self.whole.targets(self.chosen[np.asarray(indices)], names)


@dataclass(frozen=True)
class Mixed:
    """Two data sets as one, in an order that is drawn once and for all: any run of it holds its share of both.

    Args:
        first: a data set.
        second: another, with images of the same size.
        repeats: how often each of the second's images occurs.
    """

    first: LabelledImages
    second: LabelledImages
    repeats: int = 1

    @cached_property
    def order(self) -> NDArray[np.int64]:
        """Places in the first data set, and after its end those in the second."""
        return np.random.default_rng(0).permutation(len(self.first) + self.repeats * len(self.second))

    def __len__(self) -> int:
        return len(self.order)

    def targets(
        self, indices: Sequence[int] | NDArray[np.integer], names: Sequence[str] | None = None
    ) -> dict[str, Tensor]:
        """Stored targets (n, C, H, W) by name, all there are if None."""
        places = self.order[np.asarray(indices)]
        of_second = places >= len(self.first)
        parts = [
            (where, data.targets(rows, names))
            for data, where, rows in (
                (self.first, np.flatnonzero(~of_second), places[~of_second]),
                (self.second, np.flatnonzero(of_second), (places[of_second] - len(self.first)) % len(self.second)),
            )
            if len(where)
        ]
        back = np.argsort(np.concatenate([where for where, _ in parts]))
        return {name: torch.cat([stored[name] for _, stored in parts])[back] for name in parts[0][1]}


def as_input(images: NDArray[np.uint8]) -> Tensor:
    """Bytes to what encoders take: float32 in [0, 1]."""
    return torch.from_numpy(np.ascontiguousarray(images)).float() / 255
