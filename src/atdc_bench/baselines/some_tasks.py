"""Some of the tasks, for codecs that know no others: their features, and what they are for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from atdc.training.objectives import Objective
from atdc_bench.baselines.stacked_features import RawFeatures


@dataclass(frozen=True)
class FeaturesOf:
    """Features of some of the tasks."""

    features: RawFeatures
    tasks: Sequence[int]

    def __len__(self) -> int:
        return len(self.features)

    def read(self, indices: NDArray[np.int64]) -> Tensor:
        """Of some images, (n, tasks, C, h, w)."""
        return self.features.read(indices)[:, self.tasks]


@dataclass(frozen=True)
class ObjectiveOf:
    """An objective of some of the tasks, which are counted from 0."""

    objective: Objective
    tasks: Sequence[int]

    def targets(self, indices: NDArray[np.int64], tasks: Sequence[int]) -> Mapping[str, Tensor]:
        """Whatever :meth:`loss` compares with."""
        return self.objective.targets(indices, [self.tasks[task] for task in tasks])

    def loss(self, task: int, decoded: Tensor, targets: Mapping[str, Tensor]) -> Tensor:
        """Of each image, (n,)."""
        return self.objective.loss(self.tasks[task], decoded, targets)
