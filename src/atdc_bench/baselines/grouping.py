"""Tasks that a codec takes as one: their features side by side in one tensor, as a joint codec wants them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from atdc.errors import ArgumentError


@dataclass(frozen=True, slots=True)
class Grouping:
    """A partition of the tasks. Codecs of this package have one width for all, so smaller groups end in zeros.

    Args:
        groups: task indices, each task once.

    Raises:
        ArgumentError: a task that is missing or there twice, or an empty group.

    >>> pairs = Grouping(((0, 2), (1,)))
    >>> features = torch.arange(6.0).reshape(1, 3, 2, 1, 1)
    >>> pairs.pack(features)[0, :, :, 0, 0].tolist()
    [[0.0, 1.0, 4.0, 5.0], [2.0, 3.0, 0.0, 0.0]]
    >>> torch.equal(pairs.unpack(pairs.pack(features)), features)
    True
    """

    groups: tuple[tuple[int, ...], ...]

    def __post_init__(self) -> None:
        """Refuses what is no partition."""
        members = sorted(task for group in self.groups for task in group)
        if members != list(range(len(members))) or not all(self.groups):
            raise ArgumentError("groups", str(self.groups), "every task in exactly one group")

    @classmethod
    def alone(cls, task_count: int) -> Grouping:
        """Every task by itself."""
        return cls(tuple((task,) for task in range(task_count)))

    @property
    def largest(self) -> int:
        """Tasks of the largest group."""
        return max(map(len, self.groups))

    def of_task(self, task: int) -> int:
        """The group that a task is in."""
        return next(place for place, group in enumerate(self.groups) if task in group)

    def pack(self, features: Tensor, fill: float = 0.0) -> Tensor:
        """(B, T, C, …) to (B, groups, largest · C, …); what smaller groups lack is `fill`."""
        rows = []
        for group in self.groups:
            row = features[:, list(group)].flatten(1, 2)
            padding = (self.largest - len(group)) * features.shape[2]
            rows.append(F.pad(row, (0, 0) * (row.ndim - 2) + (0, padding), value=fill))
        return torch.stack(rows, 1)

    def pack_statistics(self, mean: Tensor, std: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of tasks' channels, (T, C), as those of the groups', (groups, largest · C)."""
        return self.pack(mean[None])[0], self.pack(std[None], fill=1.0)[0]

    def unpack(self, packed: Tensor) -> Tensor:
        """The inverse of :meth:`pack`."""
        split = packed.reshape(*packed.shape[:2], self.largest, -1, *packed.shape[3:])
        places = {task: (row, place) for row, group in enumerate(self.groups) for place, task in enumerate(group)}
        return torch.stack([split[:, row, place] for _, (row, place) in sorted(places.items())], 1)
