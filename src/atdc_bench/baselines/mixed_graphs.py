"""Graphs of several search settings, chosen with a trained codec's rate estimator: what rivals are trained further
on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from atdc.entropy.float_model import FloatEntropyModel
from atdc.graph import search
from atdc.graph.graph_tables import GraphTables
from atdc.graph.scores import columns_within
from atdc.graph.task_graph import TaskGraph
from atdc.networks.codec_networks import CodecNetworks
from atdc.networks.devices import device_of
from atdc.training.codec_stage import TrainingState
from atdc.training.data import TrainingFeatures
from atdc_bench.baselines.graph_sources import shared_graphs

MIX = {"codebook": 0.5, "exact": 0.2, "fixed": 0.1, "random": 0.05, "independent": 0.1, "chain": 0.05}
"""Share of training images coded under each setting, where nothing else is said."""


@torch.no_grad()
def estimator_costs(networks: CodecNetworks, train: TrainingFeatures) -> NDArray[np.float32]:
    """The rate estimator's costs of all training images, bits per feature element, (N, 8, P)."""
    device = device_of(networks)
    return np.concatenate(
        [
            networks.rate_estimator(train.read(np.arange(start, min(start + 200, len(train)))).to(device)).cpu().numpy()
            for start in range(0, len(train), 200)
        ]
    )


class MixedGraphs:
    """A mixture of search settings, chosen with the rate estimator's costs of the training images.

    Args:
        mix: share of images coded under each setting.
        graph_tables: graphs that are the same for all images.
        costs: bits per feature element, (N, 8, P).
        task_count: tasks.
        max_parents: of a searched graph.
    """

    def __init__(
        self,
        mix: Mapping[str, float],
        graph_tables: GraphTables,
        costs: NDArray[np.float32],
        task_count: int,
        max_parents: int,
    ) -> None:
        self._mix, self._tables, self._costs = dict(mix), graph_tables, costs
        self._tasks, self._limit = task_count, max_parents

    def draw(
        self, images: NDArray[np.int64], level: int, rng: np.random.Generator, tensors: Sequence[int]
    ) -> list[TaskGraph]:
        """One graph per image at an integer quality, shared among sixteen; settings that search do so among the
        tensors, the others' graphs lose what is not there."""
        return shared_graphs(
            images, rng, lambda image: self._graph(self._costs[image, level].astype(np.float64), level, rng, tensors)
        )

    def _graph(
        self, costs: NDArray[np.float64], level: int, rng: np.random.Generator, tensors: Sequence[int]
    ) -> TaskGraph:
        names = list(self._mix)
        weights = np.array([self._mix[name] for name in names])
        name = names[int(rng.choice(len(names), p=weights / weights.sum()))]
        whole_graph = self._tables.whole(name, level)
        if whole_graph is not None:
            return whole_graph.within(tensors)
        if name == "codebook":
            if len(tensors) == self._tasks:
                return self._tables.cheapest(costs[None], level)[0]
            name = "exact"  # a subset's candidates are chosen when the codec is trained
        columns = columns_within(self._tasks, self._limit, tensors)
        graph = search.SEARCHES[name](costs[None, columns], len(tensors), self._limit, lambda _: rng)[0]
        return graph.expanded(tensors, self._tasks)


def mixed_state(
    networks: CodecNetworks, float_model: FloatEntropyModel, graph_tables: GraphTables, train: TrainingFeatures,
    val: TrainingFeatures,
) -> TrainingState:  # fmt: skip
    """A codec with the graphs that its rate estimator chooses in :data:`MIX`, over all tensors; validation images are
    coded under its most frequent setting."""
    usual = {max(MIX, key=lambda name: MIX[name]): 1.0}
    tasks, limit = networks.task_count, networks.config.max_parents
    return TrainingState(
        networks, float_model,
        MixedGraphs(MIX, graph_tables, estimator_costs(networks, train), tasks, limit),
        MixedGraphs(usual, graph_tables, estimator_costs(networks, val), tasks, limit),
        train, val, subset=tuple(range(tasks)),
    )  # fmt: skip
