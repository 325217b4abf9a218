"""What features are like, before anything is fitted to them: ranges, tails, dead channels, effective dimensions.

All figures come from one pass in float64. Moments and covariances of samples are merged as Chan et al. (1983) and
Pébay (2008) do, so that a mean far from zero costs no digits: for two sets with n_a and n_b values, means that differ
by δ, and n = n_a + n_b,

    M2 = M2a + M2b + δ² n_a n_b / n,    M3 and M4 alike.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from atdc.data.feature_source import FeatureSource, evenly_spaced, finite_float32
from atdc.errors import ArgumentError
from atdc.tensors import MAX_TENSORS

_DEAD = 1e-6
"""A channel with less than this share of its tensor's standard deviation carries nothing."""
_TINY = 1e-12
"""Deviations that single precision cannot normalise by with a margin."""
_HEAVY_TAILS = 100
_FEW_SAMPLES = 50
_RARE = 0.1
_HALF_LIMIT = float(np.finfo(np.float16).max)


@dataclass(frozen=True, eq=False)
class TensorReport:
    """One tensor's figures. Normalised values are those less their channel's mean, over their channel's standard
    deviation.

    Attributes:
        name: the tensor's.
        samples: how many of all samples have it.
        channels: C.
        grids: how many of all samples have it on each grid (h, w).
        least: of the values that were read, as everything below.
        greatest: of all values.
        mean: of all values.
        std: of all values.
        kurtosis: fourth moment of the normalised values of all channels but dead ones, 3 for a normal distribution;
            0 if all are dead.
        dead_channels: those with a standard deviation below a millionth of the tensor's.
        effective_dimension: ``(Σ λ)² / Σ λ²`` of the eigenvalues λ of the normalised values' covariance between
            channels: C if channels are uncorrelated, 1 if one says all; dead ones are left out, 0 if all are.
        channel_mean: (C,).
        channel_std: (C,).
    """

    name: str
    samples: int
    channels: int
    grids: Counter[tuple[int, int]]
    least: float
    greatest: float
    mean: float
    std: float
    kurtosis: float
    dead_channels: tuple[int, ...]
    effective_dimension: float
    channel_mean: NDArray[np.float64]
    channel_std: NDArray[np.float64]

    def to_json(self) -> dict[str, Any]:
        """All figures, in what JSON has; a grid is (h, w, samples)."""
        return {
            "samples": self.samples,
            "channels": self.channels,
            "grids": [[height, width, count] for (height, width), count in sorted(self.grids.items())],
            "least": self.least,
            "greatest": self.greatest,
            "mean": self.mean,
            "deviation": self.std,
            "kurtosis": self.kurtosis,
            "dead_channels": list(self.dead_channels),
            "effective_dimension": self.effective_dimension,
            "channel_mean": self.channel_mean.tolist(),
            "channel_deviation": self.channel_std.tolist(),
        }

    def warnings(self, samples: int) -> list[str]:
        """What speaks against fitting to this tensor as it is, a sentence each.

        Args:
            samples: how many there are in all.
        """
        name, dead = f"Tensor {self.name!r}", len(self.dead_channels)
        sentences = []
        if dead == self.channels:
            sentences.append(f"{name} is constant: leave it out.")
        elif dead:
            first = ", ".join(map(str, self.dead_channels[:5])) + (", …" if dead > 5 else "")
            sentences.append(f"{name} has {dead} dead channels of {self.channels} ({first}), which never change.")
        if 0 < self.std < _TINY:
            sentences.append(
                f"{name} has a deviation of {self.std:.1g}, under {_TINY:g}: scale it, or nothing is left."
            )
        if self.kurtosis > _HEAVY_TAILS:
            sentences.append(
                f"{name} has a kurtosis of {self.kurtosis:.0f}, more than {_HEAVY_TAILS}: a few huge values decide its "
                "error; look for outliers, or clip them."
            )
        if self.samples < _RARE * samples:
            sentences.append(f"{name} is in {self.samples} of {samples} samples, under 10 %: it will be learned badly.")
        if (extreme := max(-self.least, self.greatest)) > _HALF_LIMIT:
            sentences.append(
                f"{name} has values up to ±{extreme:.4g}, beyond half precision ({_HALF_LIMIT:.0f}): "
                "keep it as float32."
            )
        return sentences


@dataclass(frozen=True, eq=False)
class FeatureReport:
    """What features are like.

    Attributes:
        samples: how many there are.
        samples_read: how many of them the figures are from.
        tensors: one tensor's figures, by name, sorted.
    """

    samples: int
    samples_read: int
    tensors: Mapping[str, TensorReport]

    @property
    def warnings(self) -> tuple[str, ...]:
        """What speaks against fitting to these features as they are, a sentence each."""
        clause = "is 1 sample" if self.samples == 1 else f"are {self.samples} samples"
        few = f"There {clause}, fewer than {_FEW_SAMPLES}: what is fitted will not hold for others."
        of_tensors = [sentence for tensor in self.tensors.values() for sentence in tensor.warnings(self.samples)]
        many = f"There are {len(self.tensors)} tensors; a codec takes at most {MAX_TENSORS}: leave some out."
        return (
            *([few] if self.samples < _FEW_SAMPLES else []), *([many] if len(self.tensors) > MAX_TENSORS else []),
            *of_tensors,
        )  # fmt: skip

    def to_json(self) -> dict[str, Any]:
        """All figures and warnings, in what JSON has."""
        return {
            "samples": self.samples,
            "samples_read": self.samples_read,
            "tensors": {name: tensor.to_json() for name, tensor in self.tensors.items()},
            "warnings": list(self.warnings),
        }

    def table(self) -> str:
        """A line a tensor, for people; the grid is the commonest, with a + if there are others."""
        rows = [
            ("tensor", "samples", "channels", "grid", "least", "greatest", "mean", "std", "kurtosis", "dead", "dim.")
        ]
        for name, tensor in self.tensors.items():
            (height, width), _ = tensor.grids.most_common(1)[0]
            numbers = (tensor.least, tensor.greatest, tensor.mean, tensor.std, tensor.kurtosis)
            least, greatest, mean, std, kurtosis = (f"{number:.4g}" for number in numbers)
            rows.append(
                (
                    name if name.isprintable() else ascii(name), str(tensor.samples), str(tensor.channels),
                    f"{height}×{width}{'+' * (len(tensor.grids) > 1)}", least, greatest, mean, std, kurtosis,
                    str(len(tensor.dead_channels)), f"{tensor.effective_dimension:.1f}",
                )
            )  # fmt: skip
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = []
        for row in rows:
            cells = [row[0].ljust(widths[0])]
            cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
            lines.append("  ".join(cells).rstrip())
        return "\n".join(lines)


class _Moments:
    """Of each channel: count, mean and sums of powers of deviations from it; of each pair of channels, of products."""

    def __init__(self, channels: int) -> None:
        self.count = 0
        self.least, self.greatest = np.inf, -np.inf
        self.mean, self.third, self.fourth = np.zeros((3, channels))
        self.products = np.zeros((channels, channels))

    @property
    def second(self) -> NDArray[np.float64]:
        """Sums of squared deviations."""
        return self.products.diagonal()

    def add(self, values: NDArray[np.float32]) -> None:
        """One sample's, (C, h, w)."""
        flat = values.reshape(len(values), -1).astype(np.float64)
        self.least, self.greatest = min(self.least, float(flat.min())), max(self.greatest, float(flat.max()))
        mean = flat.mean(1)
        flat -= mean[:, None]
        products = flat @ flat.T
        squares = flat * flat
        second, third, fourth = products.diagonal(), (squares * flat).sum(1), (squares * squares).sum(1)
        a, b, n = self.count, flat.shape[1], self.count + flat.shape[1]
        delta = mean - self.mean
        self.fourth += fourth + delta**4 * (a * b * (a * a - a * b + b * b) / n**3)
        self.fourth += 6 * delta**2 * (a * a * second + b * b * self.second) / n**2
        self.fourth += 4 * delta * (a * third - b * self.third) / n
        self.third += third + delta**3 * (a * b * (a - b) / n**2) + 3 * delta * (a * second - b * self.second) / n
        self.products += products + np.outer(delta, delta) * (a * b / n)
        self.mean += delta * (b / n)
        self.count = n

    def report(self, name: str, grids: Counter[tuple[int, int]]) -> TensorReport:
        """The figures of a tensor."""
        stds = np.sqrt(self.second / self.count)
        mean = float(self.mean.mean())
        std = float(np.sqrt((stds**2 + (self.mean - mean) ** 2).mean()))
        dead = (stds < _DEAD * std) | (self.least == self.greatest)
        live = np.flatnonzero(~dead)
        kurtosis = dimension = 0.0
        if len(live):
            normalised = self.products[np.ix_(live, live)] / self.count / np.outer(stds[live], stds[live])
            kurtosis = float((self.fourth[live] / self.count / stds[live] ** 4).mean())
            dimension = float(len(live) ** 2 / np.square(normalised).sum())  # Σ λ is the trace, Σ λ² the squared norm
        return TensorReport(
            name=name, samples=grids.total(), channels=len(self.mean), grids=grids, least=self.least,
            greatest=self.greatest, mean=mean, std=std, kurtosis=kurtosis,
            dead_channels=tuple(map(int, np.flatnonzero(dead))), effective_dimension=dimension,
            channel_mean=self.mean, channel_std=stds,
        )  # fmt: skip


def report(features: FeatureSource, limit: int = 2000, progress: bool = True) -> FeatureReport:
    """Reads samples once and says what their tensors are like.

    How many samples have a tensor, and its grids, are counted over all samples; values are read of ``limit`` of them,
    evenly spaced, and of the first sample with a tensor that none of these has.

    Args:
        features: of any number of samples.
        limit: how many samples are read where there are more.
        progress: whether a bar shows how far reading is.

    Raises:
        ArgumentError: a limit below one.
        DataError: features that cannot be read, or are not finite.

    >>> from atdc.data.feature_source import InMemoryFeatures
    >>> samples = [{"edges": np.full((2, 4, 4), i % 3) * [[[1.0]], [[2.0]]]} for i in range(60)]
    >>> result = report(InMemoryFeatures(samples), progress=False)
    >>> result.tensors["edges"].channel_mean.round(6).tolist(), round(result.tensors["edges"].effective_dimension, 6)
    ([1.0, 2.0], 1.0)
    >>> print(result.table())
    tensor  samples  channels  grid  least  greatest  mean    std  kurtosis  dead  dim.
    edges        60         2   4×4      0         4   1.5  1.384       1.5     0   1.0
    """
    if limit < 1:
        raise ArgumentError("limit", str(limit), "at least 1")
    total = len(features)
    grids: dict[str, Counter[tuple[int, int]]] = {name: Counter() for name in features.names}
    first: dict[str, int] = {}
    for index in range(total):
        for name, (_, height, width) in features.shapes(index).items():
            grids[name][height, width] += 1
            first.setdefault(name, index)
    chosen = set(evenly_spaced(total, limit).tolist())
    chosen |= {first[name] for name in set(first) - {name for index in chosen for name in features.shapes(index)}}
    moments: dict[str, _Moments] = {}
    for index in tqdm(sorted(chosen), desc="features", unit="sample", delay=2.0, disable=not progress or None):
        for name, values in features.read(index).items():
            if name not in moments:
                moments[name] = _Moments(len(values))
            moments[name].add(finite_float32(values, f"sample {index}", name))
    return FeatureReport(
        total, len(chosen), {name: moments[name].report(name, grids[name]) for name in sorted(moments)}
    )
