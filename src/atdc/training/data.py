"""Normalised features of a split, as the codec's training stages read them."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from atdc.data.feature_source import FeatureSource, evenly_spaced
from atdc.errors import DataError
from atdc.networks.batches import FeatureBatch
from atdc.tensors import FeatureSet, Grid


class NormalisedSource(Protocol):
    """What gives normalised features of some samples."""

    def read(self, indices: NDArray[np.int64]) -> FeatureBatch:
        """Of about zero mean and unit standard deviation."""
        ...


class TrainingFeatures(Protocol):
    """Features of a split, as the stages of training read them."""

    def __len__(self) -> int: ...

    def alike(self, count: int, last: bool = False) -> NDArray[np.int64]:
        """At most so many samples, the first or the last, that have all tensors on the same grids."""
        ...

    def having(self, tensor: int, count: int) -> NDArray[np.int64]:
        """At most so many samples that have a tensor, all of one kind."""
        ...

    def numbers(self, indices: NDArray[np.int64]) -> NDArray[np.int64]:
        """Of the samples that :meth:`load` reads for these: their numbers in the data set."""
        ...

    def load(self, indices: NDArray[np.int64]) -> Any:
        """What :meth:`seen` takes, read on the CPU, during a training step."""
        ...

    def seen(self, loaded: Any) -> FeatureBatch:
        """Features of about zero mean and unit standard deviation, by the statistics of all that was reported on."""
        ...

    def read(self, indices: NDArray[np.int64]) -> FeatureBatch:
        """Both at once."""
        ...

    def raw(self, indices: NDArray[np.int64]) -> Tensor | Sequence[Tensor]:
        """Features as they were, of samples that are alike."""
        ...

    def restored(self, parts: Sequence[Tensor], tensor: int, grids: Sequence[Grid]) -> Tensor:
        """Raw features (n, C, h, w) of a tensor from normalised and padded ones."""
        ...


@dataclass(frozen=True)
class SourceFeatures:
    """Samples of any features, see :class:`~atdc.data.feature_source.FeatureSource`, for the stages of training.

    A batch has samples of one kind: the same tensors, on the same grids.

    Attributes:
        source: where features are read.
        tensors: what the codec codes, in its order.
        mean: of each tensor's channels.
        std: likewise.
        samples: which of the source's samples these are.
        kinds: of each of them, what tensors it has on which grids; in the tensors' order, None where there is none.
    """

    source: FeatureSource
    tensors: FeatureSet
    mean: list[Tensor]
    std: list[Tensor]
    samples: NDArray[np.int64]
    kinds: list[Kind]
    _by_kind: dict[Kind, NDArray[np.int64]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Groups samples by kind."""
        rows: dict[Kind, list[int]] = {}
        for row, kind in enumerate(self.kinds):
            rows.setdefault(kind, []).append(row)
        object.__setattr__(self, "_by_kind", {kind: np.array(indices) for kind, indices in rows.items()})

    def __len__(self) -> int:
        return len(self.samples)

    def identity(self) -> dict[str, int]:
        """What tells these samples from others: how many, and a checksum of some."""
        check = 0
        for row in self.samples[evenly_spaced(len(self), 16)].tolist():
            for name, value in sorted(self.source.read(row).items()):
                check = zlib.crc32(name.encode() + np.ascontiguousarray(value).tobytes(), check)
        return {"samples": len(self), "check": check}

    def alike(self, count: int, last: bool = False) -> NDArray[np.int64]:
        """At most so many samples, the first or the last, that have all tensors on the same grids: of the most frequent
        kind.

        Raises:
            DataError: no sample has all tensors.
        """
        whole = {kind: rows for kind, rows in self._by_kind.items() if None not in kind}
        if not whole:
            raise DataError(
                "features", "no sample that has all tensors", f"some with {', '.join(self.tensors.names)}",
                "Leave a tensor out, or add samples that have all.",
            )  # fmt: skip
        rows = max(whole.values(), key=len)
        return rows[-count:] if last else rows[:count]

    def having(self, tensor: int, count: int) -> NDArray[np.int64]:
        """At most so many samples that have a tensor, the first of the most frequent kind among those."""
        return max((rows for kind, rows in self._by_kind.items() if kind[tensor] is not None), key=len)[:count]

    def _of_one_kind(self, indices: NDArray[np.int64]) -> tuple[Kind, list[int]]:
        """The kind of one of the samples that are asked for, and rows of it: others of that kind stand in for samples
        of other kinds, the same ones each time.

        Indices ascend, and kinds may lie in blocks: the one whose kind it is must not follow from its place.
        """
        kind = self.kinds[int(indices[int(indices.sum()) % len(indices)])]
        peers = self._by_kind[kind]
        return kind, [int(i) if self.kinds[int(i)] == kind else int(peers[int(i) % len(peers)]) for i in indices]

    def numbers(self, indices: NDArray[np.int64]) -> NDArray[np.int64]:
        """Of the samples that :meth:`load` reads for these: their numbers in the source."""
        return self.samples[self._of_one_kind(indices)[1]]

    def load(self, indices: NDArray[np.int64]) -> FeatureBatch:
        """Normalised features of samples of one kind, that of one of those asked for."""
        kind, selection = self._of_one_kind(indices)
        rows = [self.source.read(int(self.samples[row])) for row in selection]
        parts = []
        for place, spec in enumerate(self.tensors.tensors):
            if kind[place] is None:
                parts.append(torch.zeros(len(rows), spec.channels, 1, 1))
                continue
            raw = torch.from_numpy(np.stack([row[spec.name] for row in rows]))
            parts.append((raw - self.mean[place][:, None, None]) / self.std[place][:, None, None])
        batch = FeatureBatch.of(parts)
        return batch.only([place for place, grid in enumerate(kind) if grid is not None])

    def seen(self, loaded: FeatureBatch) -> FeatureBatch:
        """The same."""
        return loaded

    def read(self, indices: NDArray[np.int64]) -> FeatureBatch:
        """See :meth:`load`."""
        return self.load(indices)

    def raw(self, indices: NDArray[np.int64]) -> list[Tensor]:
        """Features as they were, by tensor (n, C, h, w), of samples that are alike."""
        rows = [self.source.read(int(self.samples[row])) for row in indices]
        return [torch.from_numpy(np.stack([row[name] for row in rows])) for name in self.tensors.names]

    def restored(self, parts: Sequence[Tensor], tensor: int, grids: Sequence[Grid]) -> Tensor:
        """Raw features (n, C, h, w) of a tensor from normalised and padded ones."""
        mean, std = (rows[tensor].to(parts[tensor].device)[:, None, None] for rows in (self.mean, self.std))
        height, width = grids[tensor]
        return parts[tensor][..., :height, :width] * std + mean


def kinds_of(source: FeatureSource, names: Sequence[str]) -> list[Kind]:
    """The kind of each sample of a source."""
    samples = (source.shapes(index) for index in range(len(source)))
    return [tuple(shapes[name][1:] if name in shapes else None for name in names) for shapes in samples]


Kind = tuple[Grid | None, ...]
"""Of a sample: the grid of each tensor, None where it has none."""
