"""What the comparison asks of a system: something in, bytes out, and back from the bytes alone.

There are two kinds. A :class:`PixelSystem` sends the image, and the receiver runs the task networks on what it
decodes. A :class:`FeatureSystem` sends the features of all tasks, and the receiver runs the heads. Rate is the length
of the bytes in both. Whatever a receiver needs besides them is fixed before: a codec's program, or weights.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from atdc.images.pillow_codecs import RgbImage

if TYPE_CHECKING:  # pages that show pixel codecs next to ATDC load no torch
    from torch import Tensor


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
    """Sends images."""

    @abstractmethod
    def encode(self, image: RgbImage, point: float) -> bytes:
        """One image to bytes that say everything, its size included."""

    @abstractmethod
    def decode(self, data: bytes) -> RgbImage:
        """The image, from the bytes alone."""


class FeatureSystem(System):
    """Sends features of all tasks."""

    @abstractmethod
    def encode(self, features: Tensor, point: float) -> list[bytes]:
        """Raw features (B, T, C, h, w) to one file per image."""

    @abstractmethod
    def decode(self, data: Sequence[bytes]) -> Tensor:
        """Raw features (B, T, C, h, w) of files whose features have one size, from the bytes alone."""
