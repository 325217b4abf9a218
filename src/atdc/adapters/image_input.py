"""From an image to what a network takes: size, numbers, order of channels, layout."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from atdc.config import PIXEL_LIMIT, settle_types
from atdc.errors import ArgumentError

_LAYOUTS, _TYPES, _ORDERS = ("chw", "hwc"), ("float32", "float16", "uint8"), ("rgb", "bgr", "grey")


@dataclass(frozen=True, slots=True)
class ImageInput:
    """How a network wants its image. Per channel: ``((black + v/255 · (white − black)) − mean) / std``.

    Raises:
        ArgumentError: a value that no network has.

    >>> ImageInput(size=(2, 4), layout="hwc", white=255.0, extra=(1.0,)).array(np.full((8, 8, 3), 51, np.uint8)).shape
    (1, 2, 4, 4)
    """

    size: tuple[int, ...] = ()
    """Height and width, to which images are stretched (bilinear); an ONNX file may say it itself."""
    layout: str = ""
    """`chw` or `hwc`; what an ONNX file says, otherwise `chw`."""
    type: str = ""
    """`float32`, `float16` or `uint8` (black 0, white 255); what an ONNX file says, otherwise `float32`."""
    black: float = 0.0
    white: float = 1.0
    mean: tuple[float, ...] = ()
    """A number for each channel, or one; none: 0."""
    std: tuple[float, ...] = ()
    """Likewise; none: 1."""
    order: str = "rgb"
    """`rgb`, `bgr` or `grey` (one channel, ITU-R BT.601)."""
    extra: tuple[float, ...] = ()
    """Channels of one number each, behind those of the image."""

    def __post_init__(self) -> None:
        """Checks every value."""
        settle_types(self, "input")
        size: tuple[Any, ...] = self.size
        if size and (len(size) != 2 or not all(type(side) is int and side > 0 for side in size)):
            raise ArgumentError("input.size", repr(size), "height and width, such as [224, 224]")
        if size and size[0] * size[1] > PIXEL_LIMIT:
            raise ArgumentError("input.size", repr(size), f"at most {PIXEL_LIMIT:,} pixels")
        for name, choices in (("layout", ("", *_LAYOUTS)), ("type", ("", *_TYPES)), ("order", _ORDERS)):
            if getattr(self, name) not in choices:
                raise ArgumentError(
                    f"input.{name}", repr(getattr(self, name)), f"one of {', '.join(filter(None, choices))}"
                )
        for name in ("mean", "std", "extra"):
            if not all(type(value) in (int, float) for value in getattr(self, name)):
                raise ArgumentError(f"input.{name}", repr(list(getattr(self, name))), "numbers")
        channels = 1 if self.order == "grey" else 3
        for name in ("mean", "std"):
            if len(getattr(self, name)) not in (0, 1, channels):
                raise ArgumentError(f"input.{name}", f"{len(getattr(self, name))} numbers", f"none, 1 or {channels}")
        if self.type == "uint8":
            for name, value, default in (("mean", self.mean, ()), ("std", self.std, ()), ("black", self.black, 0.0)):
                if value != default:
                    raise ArgumentError(f"input.{name}", repr(value), "nothing: the network takes bytes as they are")
            if self.white not in (1.0, 255.0):
                raise ArgumentError("input.white", repr(self.white), "nothing: the network takes bytes as they are")
            if not all(value in range(256) for value in self.extra):
                raise ArgumentError("input.extra", repr(list(self.extra)), "whole numbers from 0 to 255")
        numbers = {"black": (self.black,), "white": (self.white,), "mean": self.mean, "extra": self.extra}
        for name, values in numbers.items():
            if not np.isfinite(values).all():
                raise ArgumentError(f"input.{name}", repr(list(values)), "finite numbers")
        if not all(0 < value < np.inf for value in self.std):
            raise ArgumentError("input.std", repr(list(self.std)), "numbers above 0")

    @property
    def canonical(self) -> str:
        """All settings as text, of which digests are made: equal for equal settings, whatever types numbers have.

        >>> ImageInput(size=(2, 4), white=255, mean=(1,)).canonical
        '{"black": 0.0, "extra": [], "layout": "", "mean": [1.0], "order": "rgb", "size": [2.0, 4.0], "std": [], "type":
        "", "white": 255.0}'
        """
        values = {key: getattr(self, key) for key in sorted(self.__dataclass_fields__)}
        settings = {
            key: value if isinstance(value, str) else np.asarray(value, np.float64).tolist()
            for key, value in values.items()
        }
        return json.dumps(settings)

    @property
    def channels(self) -> int:
        """Of the array."""
        return (1 if self.order == "grey" else 3) + len(self.extra)

    def stretched(self, image: Image.Image) -> Image.Image:
        """An image of the size."""
        height, width = self.size
        has_size = image.size == (width, height)
        return image if has_size else image.resize((width, height), Image.Resampling.BILINEAR)

    def array(self, pixels: NDArray[np.uint8]) -> NDArray[Any]:
        """An image (H, W, 3) as a batch of one."""
        height, width = self.size
        image = Image.fromarray(pixels)
        if self.order == "grey":
            image = image.convert("L")
        image = self.stretched(image)
        values: NDArray[Any] = np.asarray(image, np.float32).reshape(height, width, -1)
        if self.order == "bgr":
            values = values[..., ::-1]
        if self.type != "uint8":
            values = np.float32(self.black) + values / np.float32(255) * np.float32(self.white - self.black)
            values = (values - np.array(self.mean or 0.0, np.float32)) / np.array(self.std or 1.0, np.float32)
        constant = np.broadcast_to(np.array(self.extra, np.float32), (height, width, len(self.extra)))
        values = np.concatenate([values, constant], 2) if self.extra else values
        if self.layout != "hwc":
            values = values.transpose(2, 0, 1)
        return np.ascontiguousarray(values[None], dtype=self.type or "float32")


def require_input(name: Any, input: Any) -> None:
    """Refuses a network's name and input that are none.

    Raises:
        ArgumentError: a name that is no text or has a slash; an input that is no :class:`ImageInput`.
    """
    if not isinstance(name, str) or not name or "/" in name:
        raise ArgumentError("name", repr(name), "a text without a slash")
    if not isinstance(input, ImageInput):
        raise ArgumentError(f"{name}, input", repr(input), "an ImageInput, such as ImageInput(size=(224, 224))")
