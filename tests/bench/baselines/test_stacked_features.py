"""Tasks that a codec takes as one: the objective weighs them as it does those that are by themselves."""

from collections.abc import Mapping, Sequence

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from atdc_bench.baselines.grouping import Grouping
from atdc_bench.baselines.stacked_features import GroupedObjective, StackedFeatures


class Weighed:
    """A loss of each task by its number, of features that are all alike, and of its own target."""

    def targets(self, indices: NDArray[np.int64], tasks: Sequence[int]) -> Mapping[str, Tensor]:
        return {f"of {task}": torch.full((len(indices),), float(task)) for task in tasks}

    def loss(self, task: int, decoded: Tensor, targets: Mapping[str, Tensor]) -> Tensor:
        assert set(targets) == {f"of {task}"}
        return (1 + targets[f"of {task}"]) * decoded.mean((1, 2, 3))


class Kept:
    def __init__(self, features: Tensor) -> None:
        self.features = features

    def __len__(self) -> int:
        return len(self.features)

    def read(self, indices: NDArray[np.int64]) -> Tensor:
        return self.features[indices]


def test_groups_weigh_their_tasks_alike_and_each_task_sees_its_own_features() -> None:
    raw, images = torch.arange(1.0, 6.0).reshape(1, 5, 1, 1, 1).repeat(3, 1, 2, 4, 4), np.arange(3)
    alone = sum(float((1 + task) * (1 + task)) for task in range(5))
    for groups in (((0,), (1,), (2,), (3,), (4,)), ((0, 3, 4), (1, 2)), ((4, 2, 0, 1, 3),)):
        grouping = Grouping(groups)
        packed, every = grouping.pack(raw), range(len(groups))
        objective = GroupedObjective(Weighed(), grouping, 25)
        targets = objective.targets(images, every)
        total = sum(objective.loss(group, packed[:, group], targets)[0] for group in every)
        assert float(total) * grouping.largest == pytest.approx(alone)


def test_of_a_batch_as_many_tasks_are_looked_at_as_were_asked_for_and_all_in_turn() -> None:
    objective = GroupedObjective(Weighed(), Grouping(((0, 1, 2, 3), (4, 5))), 2)
    seen = [objective.targets(np.array([number, number + 1]), [0, 1]) for number in range(40)]
    assert all(len(targets) == 2 for targets in seen)
    assert set().union(*seen) == {f"{task} of {task}" for task in range(6)}


def test_groups_come_back_as_they_were() -> None:
    generator = torch.Generator().manual_seed(0)
    raw = torch.randn(3, 3, 2, 4, 4, generator=generator)
    mean, std = torch.randn(3, 2, generator=generator), torch.rand(3, 2, generator=generator) + 0.5
    grouping = Grouping(((2, 0), (1,)))
    features = StackedFeatures(Kept(raw), mean, std, grouping)
    batch = features.read(np.array([0, 2]))
    expected = (raw[[0, 2]][:, 1] - mean[1][:, None, None]) / std[1][:, None, None]
    assert torch.allclose(batch.parts[1][:, :2], expected) and not batch.parts[1][:, 2:].any()
    packed = grouping.pack(raw)
    for group in range(2):
        restored = features.restored(batch.parts, group, batch.grids)
        assert torch.allclose(restored, packed[[0, 2]][:, group], atol=1e-6)
