"""Graphs in which one tensor is by itself: what is good where it does not belong to the others.

A tensor that says nothing about the others is to be nobody's parent, and nobody's child. Graphs that are best for whole
samples never leave it so, and none of them is good then. What the others cost without it does not depend on it: so
whole samples tell which graph is best for the others.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from atdc.codec import FeatureCodec
from atdc.graph.scores import columns_within
from atdc.graph.task_graph import TaskGraph, graphs_of, plain_graphs
from atdc.networks.batches import FeatureBatch
from atdc.training import processes
from atdc.training.data import TrainingFeatures
from atdc.training.fixed_graphs import best_graph
from atdc.training.run_folder import RunFolder

_IMAGES = 24
"""Validation images of which pairs are measured and graphs are coded."""
_QUALITIES = (1, 4, 7)
"""At which the best graph of the others is found."""


def measured_graphs_apart(run: RunFolder, codec: FeatureCodec, val: TrainingFeatures) -> tuple[TaskGraph, ...]:
    """For each tensor, the cheapest graphs of all others at a low, a middle and a high quality, by what coding them
    costs on validation images; each once, and kept in the run folder."""
    record = run.read_json("graphs_apart.json", None)
    if record is None:
        batch = codec.normalise(val.raw(val.alike(_IMAGES)))
        graphs = []
        with processes.bar(total=len(_QUALITIES) * codec.task_count, desc="graphs apart") as bar:
            for quality in _QUALITIES:
                means = codec.costs.measured_costs(batch, quality).mean(0)
                for tensor in range(codec.task_count):
                    graphs.append(_cheapest(codec, batch, quality, means, tensor))
                    bar.update()
        record = plain_graphs(list(dict.fromkeys(graphs)))
        run.write_json("graphs_apart.json", record)
    return graphs_of(record)


def graph_apart(costs: NDArray[np.float64], tensors: int, max_parents: int, tensor: int) -> TaskGraph:
    """The cheapest graph for costs of all pairs, (P,), in which a tensor has neither parents nor children.

    >>> costs = [9, 9, 9, 9, 1, 2, 9, 1, 4]  # of all parents, a is the best
    >>> graph_apart(np.array(costs, float), 3, 1, 0).describe("abc")
    'a c b←c'
    """
    other_tensors = tuple(place for place in range(tensors) if place != tensor)
    columns = columns_within(tensors, max_parents, other_tensors)
    graph = best_graph(costs[columns], len(other_tensors), max_parents)
    return graph.expanded(other_tensors, tensors)


def _cheapest(
    codec: FeatureCodec, batch: FeatureBatch, quality: int, means: NDArray[np.float64], tensor: int
) -> TaskGraph:
    other_tensors = [place for place in range(codec.task_count) if place != tensor]
    graphs = [graph_apart(means, codec.task_count, codec.config.max_parents, tensor)]
    graphs += [graph.within(other_tensors) for graph in (*codec.graph_tables.fixed, *codec.graph_tables.candidates)]

    def cost(graph: TaskGraph) -> float:
        return float(codec.costs.total_costs(batch, quality, [graph] * len(batch), other_tensors).mean())

    return min(dict.fromkeys(graphs), key=cost)
