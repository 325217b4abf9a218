"""Features as callers give them: checked, brought to zero mean and unit standard deviation, and back."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from atdc.errors import ArgumentError, FeatureWarning, caller_level
from atdc.networks.batches import FeatureBatch, by_tensor
from atdc.tensors import FeatureSet, Grid, require_unmasked

Features = Tensor | Sequence[Tensor] | Sequence[Tensor | None]
"""Raw features of several images: by tensor (B, C, h, w), None for those that there are none of; or stacked
(B, T, C, h, w) where all are alike."""

EXTREME_DEVIATIONS = 100.0
"""Features further from their mean than this, in standard deviations, are warned of; those of photos lie within 40."""
LARGEST_DEVIATIONS = 1e12
"""Features further from their mean than this are refused: their squares leave single precision."""


class FeatureScaling:
    """Between raw features of a set of tensors and normalised ones, ``(z − mean) / std`` of each channel.

    Args:
        tensors: the set.
        mean: of each tensor's channels, (C,).
        std: likewise.
    """

    def __init__(self, tensors: FeatureSet, mean: Sequence[Tensor] | Tensor, std: Sequence[Tensor] | Tensor) -> None:
        self.tensors = tensors
        self.mean, self.std = list(mean), list(std)

    @property
    def device(self) -> torch.device:
        """Where features are brought to."""
        return self.mean[0].device

    def on(self, device: torch.device) -> FeatureScaling:
        """The same, on a device."""
        return FeatureScaling(self.tensors, *([row.to(device) for row in rows] for rows in (self.mean, self.std)))

    def normalise(self, features: Features) -> FeatureBatch:
        """Raw features to zero mean and unit standard deviation, padded by repetition to multiples of 4.

        Args:
            features: by tensor (B, C, h, w), or stacked (B, T, C, h, w) where all are alike.

        Raises:
            ArgumentError: a wrong shape, or values that are not finite or beyond :data:`LARGEST_DEVIATIONS`.
        """
        argument: Any = features
        if not isinstance(argument, (Tensor, Sequence)) or isinstance(argument, str):
            raise ArgumentError(
                "features",
                type(argument).__name__,
                "a tensor, or one for each name; arrays are taken by name, see `encode`",
            )
        whole = features if isinstance(features, Tensor) else None
        if whole is not None and whole.ndim != 5:
            raise ArgumentError("features", f"shape {tuple(whole.shape)}", self._expected_shape())
        parts = by_tensor(features)
        if len(parts) != len(self.tensors):
            problem = f"shape {tuple(whole.shape)}" if whole is not None else f"{len(parts)} tensors"
            raise ArgumentError("features", problem, self._expected_shape())
        present = [place for place, part in enumerate(parts) if part is not None]
        if not present:
            raise ArgumentError("features", "none", f"some of {', '.join(self.tensors.names)}")
        count = len(parts[present[0]])
        normalised = []
        for place, (spec, part) in enumerate(zip(self.tensors.tensors, parts, strict=True)):
            mean, std = self.mean[place], self.std[place]
            if part is None:
                normalised.append(torch.zeros(count, spec.channels, *self._empty_grid(parts), device=self.device))
                continue
            if part.ndim != 4 or part.shape[1] != spec.channels or 0 in part.shape or len(part) != count:
                if whole is not None:
                    raise ArgumentError("features", f"shape {tuple(whole.shape)}", self._expected_shape())
                expected = f"({count}, {spec.channels}, height, width)"
                raise ArgumentError(f"features of {spec.name}", f"shape {tuple(part.shape)}", expected)
            part = part.detach().to(self.device, torch.float32)
            part = (part - mean[:, None, None]) / std[:, None, None]
            self._require_finite(spec.name, _extremes(part))
            normalised.append(part)
        batch = FeatureBatch.of(normalised)
        return batch if len(present) == len(parts) else batch.only(present)

    def scaled(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Raw features, or differences of them, in units of each channel's standard deviation."""
        return [part / std[:, None, None] for part, std in zip(features, self.std, strict=True)]

    def restored(self, normalised: Sequence[Tensor], grids: Sequence[Grid]) -> list[Tensor]:
        """All tensors' features in their own units, without padding."""
        rows = zip(normalised, grids, strict=True)
        return [self.raw(part, task, grid) for task, (part, grid) in enumerate(rows)]

    def raw(self, normalised: Tensor, task: int, grid: Grid) -> Tensor:
        """One tensor's features in their own units, without padding."""
        mean, std = self.mean[task], self.std[task]
        return normalised[..., : grid[0], : grid[1]] * std[:, None, None] + mean[:, None, None]

    def _empty_grid(self, parts: Sequence[Tensor | None]) -> Grid:
        """Of a tensor that there is none of: that of the others, where all are of one stride, as the rate estimator
        of such models wants."""
        if len({spec.grid for spec in self.tensors.tensors}) > 1:
            return 1, 1
        present = next(part for part in parts if part is not None)
        return present.shape[2], present.shape[3]

    def _expected_shape(self) -> str:
        channels = {spec.channels for spec in self.tensors.tensors}
        if len(channels) > 1:
            return f"{len(self.tensors)} tensors, each (images, channels, height, width)"
        return f"(images, {len(self.tensors)}, {channels.pop()}, height, width)"

    @staticmethod
    def _require_finite(name: str, extremes: NDArray[np.float64]) -> None:
        beyond = np.flatnonzero(~(extremes <= LARGEST_DEVIATIONS))  # in this form true of NaN
        if len(beyond):
            channel = int(beyond[0])
            finite = math.isfinite(extremes[channel])
            raise ArgumentError(
                f"features of {name}, channel {channel}",
                f"a value {extremes[channel]:.3g} standard deviations from the mean" if finite
                else "a value that is not finite, or not in single precision",
                f"finite numbers within {LARGEST_DEVIATIONS:g} standard deviations",
            )  # fmt: skip


def by_index(tensors: FeatureSet, features: Any, device: torch.device) -> list[Tensor | None]:
    """Features by name as tensors (C, h, w) in index order, single precision, without gradients; None where there
    are none.

    Raises:
        ArgumentError: unknown names or none, or what is no tensor of its channels.
    """
    if not isinstance(features, Mapping):
        raise ArgumentError("features", type(features).__name__, f"a mapping of {', '.join(tensors.names)}")
    tensors.indices(list(features), "features")
    if not features:
        raise ArgumentError("features", "none", f"some of {', '.join(tensors.names)}")
    parts: list[Tensor | None] = []
    for name, spec in zip(tensors.names, tensors.tensors, strict=True):
        if name not in features:
            parts.append(None)
            continue
        tensor, channels = _float_tensor(features[name], f"features of {name}"), spec.channels
        if tensor.ndim != 3 or tensor.shape[0] != channels:
            problem = f"shape {tuple(tensor.shape)}"
            raise ArgumentError(f"features of {name}", problem, f"shape ({channels}, height, width)")
        if tensor.is_meta and device.type != "meta":
            raise ArgumentError(f"features of {name}", "a tensor on the device meta", "one that holds values")
        parts.append(tensor.to(device))
    return parts


def require_grids(tensors: FeatureSet, batch: FeatureBatch, size: tuple[int, int] | None) -> None:
    """Refuses grids that a reader would not expect of an image of that size, or of bare features.

    Raises:
        ArgumentError: another grid.
    """
    grids = batch.grids
    of_image = tensors.grids_of_image(*size) if size is not None else (None,) * len(tensors)
    first: dict[int, tuple[str, Grid]] = {}
    for place in batch.available:
        spec, grid, expected = tensors[place], grids[place], of_image[place]
        expected = spec.grid if isinstance(spec.grid, tuple) else expected
        whose = "that of every sample" if size is None else f"that of an image of {size[0]} x {size[1]}"
        if size is None and isinstance(spec.grid, int):
            name, expected = first.setdefault(spec.grid, (spec.name, grid))
            whose = f"that of {name}: tensors of one stride have one size"
        if expected is not None and grid != expected:
            problem, right = (f"a grid of {pair[0]} x {pair[1]}" for pair in (grid, expected))
            raise ArgumentError(f"features of {spec.name}", problem, f"{right}, {whose}")


def warn_of_extremes(tensors: FeatureSet, batch: FeatureBatch) -> None:
    """Says which tensor has values that no training has shown the codec."""
    extremes = [_extremes(part) for part in batch.parts]
    count = sum(int((row > EXTREME_DEVIATIONS).sum()) for row in extremes)
    if not count:
        return
    task = max(range(len(tensors)), key=lambda index: float(extremes[index].max()))
    channel = int(extremes[task].argmax())
    more = f" (and {count - 1} more channels likewise)" if count > 1 else ""
    warnings.warn(
        f"features of {tensors.names[task]}, channel {channel}: found a value {extremes[task][channel]:.3g} "
        f"standard deviations from the mean{more}; expected at most {EXTREME_DEVIATIONS:g}. Answers of this task "
        "and of those predicted from it are in doubt: check that the features are those of the networks that the "
        "codec was trained with.",
        FeatureWarning,
        stacklevel=caller_level(),
    )


def _float_tensor(value: Any, where: str) -> Tensor:
    """A tensor or an array of any floating-point type, byte order and layout in memory as a tensor of floats."""
    if not isinstance(value, Tensor):
        require_unmasked(value, where)
        try:
            array = np.asarray(value)
        except (TypeError, ValueError, RuntimeError) as error:
            raise ArgumentError(
                where, f"{type(value).__name__} ({error})", "a tensor or an array of numbers"
            ) from error
        if array.dtype.kind != "f":
            raise ArgumentError(where, f"{type(value).__name__} of {array.dtype}", "floating-point numbers")
        with np.errstate(over="ignore"):  # what is infinite then is refused as such
            return torch.from_numpy(np.array(array, np.float32, order="C"))
    if not value.is_floating_point() or value.layout != torch.strided or value.is_quantized or value.is_nested:
        raise ArgumentError(where, f"{value.dtype}, {value.layout}", "a dense tensor of floating-point numbers")
    return value.detach().float()


def _extremes(normalised: Tensor) -> NDArray[np.float64]:
    """How far from the mean the values of each channel lie at most, (C,), of normalised features (B, C, h, w)."""
    return normalised.abs().amax((0, 2, 3)).cpu().double().numpy()
