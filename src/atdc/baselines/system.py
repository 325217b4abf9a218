"""What the comparison asks of a system: something in, bytes out, and back from the bytes alone.

There are two kinds. A :class:`PixelSystem` sends the picture, and the receiver runs the task networks on what it
decodes. A :class:`FeatureSystem` sends the features of all tasks, and the receiver runs the heads. Rate is the length
of the bytes in both. Whatever a receiver needs besides them is fixed before: a codec's program, or weights.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from atdc.errors import ArgumentError

if TYPE_CHECKING:  # pages that show pixel codecs beside ATDC load no torch
    from torch import Tensor

Picture = NDArray[np.uint8]
"""(H, W, 3), sRGB."""


def colour_bytes(picture: Picture) -> Picture:
    """The picture, laid out in memory by row, if it is one that systems code.

    Raises:
        ArgumentError: not (H, W, 3) of uint8, or no pixel.
    """
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3 or not picture.size:
        raise ArgumentError("image", f"{picture.dtype}, shape {picture.shape}", "uint8, shape (height, width, 3)")
    return np.ascontiguousarray(picture)


class System(ABC):
    """A row of the comparison.

    Attributes:
        name: its key in recipes and result files.
        title: what tables call it.
        points: the settings it is measured at, in its own unit (a quality, a QP), from few bytes to many.
    """

    name: str
    title: str
    points: tuple[float, ...]

    def missing(self) -> str | None:
        """Why it cannot run here and what to install, in one sentence; None if it can."""
        return None

    def describe(self) -> Mapping[str, Any]:
        """What identifies the system in a result file: program, version, settings."""
        return {}


class PixelSystem(System):
    """Sends pictures."""

    @abstractmethod
    def encode(self, picture: Picture, point: float) -> bytes:
        """One picture to bytes that say everything, its size included."""

    @abstractmethod
    def decode(self, data: bytes) -> Picture:
        """The picture, from the bytes alone."""


class FeatureSystem(System):
    """Sends features of all tasks."""

    @abstractmethod
    def encode(self, features: Tensor, point: float) -> list[bytes]:
        """Raw features (B, T, C, h, w) to one file per image."""

    @abstractmethod
    def decode(self, data: Sequence[bytes]) -> Tensor:
        """Raw features (B, T, C, h, w) of files whose features have one size, from the bytes alone."""
