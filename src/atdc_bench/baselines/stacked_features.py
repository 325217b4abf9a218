"""Features of tasks whose tensors are alike, as rivals are trained on them: some of the tasks, or several as one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from atdc.data.labelled import LabelledImages
from atdc.networks.batches import FeatureBatch
from atdc.pipeline import Codec
from atdc.tensors import Grid
from atdc.training.feature_cache import FeatureCache
from atdc.training.objectives import Objective
from atdc.training.run_folder import RunFolder
from atdc_bench.baselines.grouping import Grouping


class RawFeatures(Protocol):
    """Features of a split, as task networks left them."""

    def __len__(self) -> int: ...

    def read(self, indices: NDArray[np.int64]) -> Tensor:
        """Of some images, float32 (n, T, C, h, w)."""
        ...


@dataclass(frozen=True)
class CachedFeatures:
    """Features that are kept on disk.

    Attributes:
        cache: where.
    """

    cache: FeatureCache

    def __len__(self) -> int:
        return len(self.cache)

    def read(self, indices: NDArray[np.int64]) -> Tensor:
        """Of some images, float32 (n, T, C, h, w)."""
        return torch.from_numpy(self.cache.features[indices].astype(np.float32))


@dataclass(frozen=True)
class StackedFeatures:
    """``z' = (z − mean) / std`` per task and channel, for :func:`~atdc.training.codec_stage.train_codec`: a tensor for
    each group of tasks.

    Attributes:
        cache: raw features.
        mean: (T, C).
        std: (T, C).
        grouping: tasks that the codec takes as one; none by default.
    """

    cache: RawFeatures
    mean: Tensor
    std: Tensor
    grouping: Grouping | None = None

    def __len__(self) -> int:
        return len(self.cache)

    @property
    def groups(self) -> Grouping:
        """The groups; every task its own by default."""
        return Grouping.alone(len(self.mean)) if self.grouping is None else self.grouping

    def numbers(self, indices: NDArray[np.int64]) -> NDArray[np.int64]:
        """The same: any samples make a batch."""
        return indices

    def load(self, indices: NDArray[np.int64]) -> Tensor:
        """What :meth:`seen` takes, read on the CPU, during a training step."""
        return self.cache.read(indices)

    def seen(self, loaded: Tensor) -> FeatureBatch:
        """Features of zero mean and unit standard deviation over the training set, by group."""
        std, mean = self.std.to(loaded.device), self.mean.to(loaded.device)
        return FeatureBatch.of(self.groups.pack((loaded - mean[:, :, None, None]) / std[:, :, None, None]))

    def read(self, indices: NDArray[np.int64]) -> FeatureBatch:
        """Both at once."""
        return self.seen(self.load(indices))

    def alike(self, count: int, last: bool = False) -> NDArray[np.int64]:
        """At most so many samples, the first or the last."""
        indices = np.arange(len(self))
        return indices[-count:] if last else indices[:count]

    def having(self, tensor: int, count: int) -> NDArray[np.int64]:
        """At most so many samples, the first: each has every tensor."""
        return self.alike(count)

    def raw(self, indices: NDArray[np.int64]) -> Tensor:
        """Raw features of some images, (n, T, C, h, w)."""
        return self.cache.read(indices)

    def restored(self, parts: Sequence[Tensor], tensor: int, grids: Sequence[Grid]) -> Tensor:
        """Raw features (n, largest · C, h, w) of a group from normalised and padded ones."""
        statistics = self.groups.pack_statistics(self.mean, self.std)
        mean, std = (rows[tensor].to(parts[tensor].device)[:, None, None] for rows in statistics)
        height, width = grids[tensor]
        return parts[tensor][..., :height, :width] * std + mean


@dataclass(frozen=True)
class GroupedObjective:
    """An objective of tasks, for a codec that takes several of them as one: the mean over a group's tasks, of as many
    as the largest has, so that all groups together weigh their tasks alike.

    Attributes:
        objective: of the tasks.
        grouping: of them.
        per_step: the most tasks whose loss is taken of a batch.
    """

    objective: Objective
    grouping: Grouping
    per_step: int

    def targets(self, indices: NDArray[np.int64], tasks: Sequence[int]) -> Mapping[str, Tensor]:
        """Whatever :meth:`loss` compares with, of some tasks of each group; which ones follows from the images."""
        per_group, rng = math.ceil(self.per_step / len(tasks)), np.random.default_rng(indices.astype(np.uint64))
        targets: dict[str, Tensor] = {}
        for group in tasks:
            members = self.grouping.groups[group]
            for task in rng.permutation(members)[:per_group].tolist():
                task_targets = self.objective.targets(indices, [task])
                targets |= {f"{task} {name}": value for name, value in task_targets.items()}
        return targets

    def loss(self, task: int, decoded: Tensor, targets: Mapping[str, Tensor]) -> Tensor:
        """Of each image, (n,); of those tasks of the group that the targets are of."""
        members, largest = self.grouping.groups[task], self.grouping.largest
        places = decoded.reshape(len(decoded), largest, -1, *decoded.shape[2:])
        losses: list[Tensor] = []
        for place, member in enumerate(members):
            prefix = f"{member} "
            task_targets = {
                name.removeprefix(prefix): value for name, value in targets.items() if name.startswith(prefix)
            }
            if task_targets:
                losses.append(self.objective.loss(member, places[:, place], task_targets))
        return torch.stack(losses).mean(0) * (len(members) / largest)


def features_of(run: RunFolder, codec: Codec, images: Mapping[str, LabelledImages]) -> dict[str, StackedFeatures]:
    """A trained model's features of some splits, cached in the run folder."""
    feature_codec = codec.feature_codec
    return {
        split: StackedFeatures(
            CachedFeatures(FeatureCache(run, split, codec.networks, data)),
            torch.stack(feature_codec.mean),
            torch.stack(feature_codec.std),
        )
        for split, data in images.items()
    }
