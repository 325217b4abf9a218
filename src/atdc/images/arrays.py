"""Images that a program has in memory as numbers: arrays, and torch's tensors, told apart by their shapes.

No torch here: a tensor is known by what it can do.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from atdc.errors import ArgumentError
from atdc.tensors import require_unmasked

CHANNELS = (1, 3, 4)
"""Grey, colour, colour and opacity."""
_OVERSHOOT = 0.1
"""How far beyond 0 … 1 resampling and rounding take an image, at most; beyond that, it is scaled otherwise."""
_EXPECTED = "shape (height, width, 3), (height, width), or with 1 or 4 channels"


def rgb_of_array(image: Any) -> NDArray[np.uint8]:
    """An array or a tensor as ``(height, width, 3)`` bytes, or with 4 channels where it has opacity.

    Args:
        image: see :func:`atdc.images.as_rgb`.

    Raises:
        ArgumentError: another shape or type, no pixel, or floats that are not from 0 to 1.

    >>> rgb_of_array(np.full((1, 2), 65535, np.uint16)).tolist()
    [[[255, 255, 255], [255, 255, 255]]]
    """
    if hasattr(image, "detach"):
        array = _channels_last(image.detach())
    else:
        require_unmasked(image, "image")
        try:
            array = np.asarray(image)
        except (TypeError, ValueError) as error:
            raise ArgumentError(
                "image", f"{type(image).__name__} ({error})", "an image", "See `help(atdc.Codec)`."
            ) from error
        if array.dtype.kind not in "buif":
            raise ArgumentError(
                "image", f"{type(image).__name__}", "a path, bytes, a Pillow image or an array of numbers"
            )
        _require_shape(array)
    array = _bytes(array)
    if array.ndim == 2:
        array = array[..., None]
    return np.ascontiguousarray(np.broadcast_to(array, (*array.shape[:2], max(3, array.shape[2]))))


def _channels_last(tensor: Any) -> NDArray[Any]:
    """A tensor (C, H, W) as an array (H, W, C)."""
    shape = tuple(tensor.shape)
    if len(shape) != 3 or shape[0] not in CHANNELS or 0 in shape:
        cure = "Check how it was made."
        if 0 in shape:
            cure = "It has no pixel."
        elif len(shape) == 4:
            cure = "One image at a time: pass image[0]."
        elif len(shape) == 3 and shape[2] in CHANNELS:
            cure = "Pass image.permute(2, 0, 1)."
        elif len(shape) == 2:
            cure = "Pass image[None]."
        raise ArgumentError("image", f"a tensor of shape {shape}", "shape (3, height, width)", cure)
    if tensor.is_floating_point():
        tensor = tensor.float()
    try:
        array: NDArray[Any] = tensor.permute(1, 2, 0).cpu().numpy()
    except (TypeError, RuntimeError) as error:  # sparse, quantised, or on the device `meta`, which holds no values
        problem = f"a tensor without plain values ({str(error).splitlines()[0]})"
        raise ArgumentError("image", problem, "a dense tensor of uint8, uint16 or floats") from error
    return array


def _require_shape(array: NDArray[Any]) -> None:
    shape = array.shape
    if array.size and (array.ndim == 2 or (array.ndim == 3 and shape[2] in CHANNELS)):
        return
    cure = "Check how it was made."
    if not array.size:
        cure = "It has no pixel."
    elif array.ndim == 4:
        cure = "One image at a time: pass image[0]."
    elif array.ndim == 3 and shape[0] in CHANNELS:
        cure = "Pass numpy.moveaxis(image, 0, -1)."
    elif array.ndim == 3 and shape[2] == 2:
        cure = "Grey and opacity: pass image[..., 0], or a Pillow image of mode LA."
    elif array.ndim == 3:
        cure = "Choose three of its channels, for example image[..., :3]."
    raise ArgumentError("image", f"an array of {array.dtype}, shape {shape}", _EXPECTED, cure)


def _bytes(array: NDArray[Any]) -> NDArray[np.uint8]:
    """Numbers as bytes: 16 bits by ``round(v / 257)``, floats by ``round(255·v)``."""
    if array.dtype == np.uint8:
        return array
    if array.dtype == np.uint16:
        return ((array.astype(np.uint32) + 128) // 257).astype(np.uint8)
    kind = f"an array of {array.dtype}"
    if array.dtype.kind == "b":
        raise ArgumentError("image", kind, "uint8, uint16 or floats", "Pass image.astype('uint8') * 255.")
    if array.dtype.kind not in "uif":
        raise ArgumentError("image", kind, "uint8, uint16 or floats")
    if not bool(np.isfinite(array).all()):
        raise ArgumentError("image", "a value that is not finite", "numbers from 0 to 1")
    low, high = float(array.min()), float(array.max())
    if array.dtype.kind != "f":
        fitting = "uint8" if high <= 255 else "uint16"
        fits = low >= 0 and high <= 65535
        cure = f"Its values fit {fitting}: convert it to that type." if fits else "Scale it to 0 … 255, as uint8."
        raise ArgumentError("image", f"{kind}, {low:g} to {high:g}", "uint8, uint16 or floats", cure)
    if low < 0 or high > 1:
        cure = "Undo its normalisation, or scale it to 0 … 1."
        if low >= -_OVERSHOOT and high <= 1 + _OVERSHOOT:
            cure = "Clip it: pass image.clip(0, 1)."
        elif low >= 0 and 2 < high <= 65535:
            cure = f"Pass image / {255 if high <= 255 else 65535}."
        raise ArgumentError("image", f"values from {low:.9g} to {high:.9g}", "numbers from 0 to 1", cure)
    return (255 * array.astype(np.float64)).round().astype(np.uint8)
