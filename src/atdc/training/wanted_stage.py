"""Graphs for wanted sets, by what coding really costs on validation images.

Mean costs of pairs are measured at every integer quality with parents as the fixed graph leaves them. From these follow
a few candidates for each set, with helpers and without; as sums of pair costs mislead, above all at low rates, each
candidate is coded, and the cheapest is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np

from atdc.codec import FeatureCodec
from atdc.config import MAX_QUALITY
from atdc.graph.subsets import MAX_EXACT_TENSORS, best_superset, without_missing
from atdc.graph.task_graph import TaskGraph
from atdc.graph.wanted import WantedGraphs
from atdc.networks.batches import FeatureBatch
from atdc.training import processes
from atdc.training.data import TrainingFeatures
from atdc.training.run_folder import RunFolder

_TABLE_IMAGES, _TABLE_CODINGS = 24, 2400
"""Images of which all pairs are measured; fewer where that many times the pairs would be more than so many codings."""
_JUDGED_IMAGES = 8
"""Images of which the candidates of each set are coded."""
_LISTED_TENSORS = 6
"""Of models of so many tensors all sets are listed; of larger ones, graphs follow from mean costs when asked for."""
_JUDGED = {1: (0, 1, 2), 4: (3, 4, 5), 7: (6, 7)}
"""Integer qualities at which candidates are coded, and those for which the cheapest one there is kept."""


def measured_wanted_graphs(run: RunFolder, codec: FeatureCodec, val: TrainingFeatures) -> WantedGraphs | None:
    """Graphs of wanted sets for a codec whose networks, fixed graphs and candidate graphs are final.

    None of models of more than :data:`~atdc.graph.subsets.MAX_EXACT_TENSORS` tensors, whose pairs are too many to keep:
    their wanted sets go by the rate estimator, without helpers.
    """
    if codec.task_count > MAX_EXACT_TENSORS:
        return None
    record = run.read_json("wanted_graphs.json", None)
    if record is None:
        graphs = wanted_graphs(codec, codec.normalise(val.raw(val.alike(images_for_pairs(codec)))))
        record = graphs.to_json()
        run.write_json("wanted_graphs.json", record)
    return WantedGraphs.from_json(record)


def images_for_pairs(codec: FeatureCodec) -> int:
    """Of how many samples all pairs are measured, where that is done at every quality."""
    return max(4, min(_TABLE_IMAGES, _TABLE_CODINGS // len(codec.pairs)))


def wanted_graphs(codec: FeatureCodec, batch: FeatureBatch) -> WantedGraphs:
    """The same, measured on some normalised features."""
    count, limit = codec.task_count, codec.config.max_parents
    rates, errors = np.zeros((2, MAX_QUALITY + 1, len(codec.pairs)))
    for level in processes.bar(range(MAX_QUALITY + 1), desc="costs of pairs"):
        bits, squares = codec.costs.pair_costs(batch, level)
        weights = codec.costs.lagrange_multipliers(level)[codec.costs.children]
        rates[level], errors[level] = bits.mean(0), (weights * squares).mean(0)
    tables = WantedGraphs(limit, rates, errors, {})
    if count > _LISTED_TENSORS:
        return tables
    sample = batch.select(slice(_JUDGED_IMAGES))
    sets = [wanted for number in range(1, count) for wanted in combinations(range(count), number)]
    graphs = {wanted: _kept(codec, sample, tables, wanted) for wanted in processes.bar(sets, desc="wanted sets")}
    return WantedGraphs(limit, rates, errors, graphs)


def _kept(
    codec: FeatureCodec, batch: FeatureBatch, tables: WantedGraphs, wanted: Sequence[int]
) -> tuple[TaskGraph, ...]:
    """The cheapest graph of a set at each integer quality."""
    graphs: dict[int, TaskGraph] = {}
    for quality, levels in _JUDGED.items():
        costs = tables.rates[quality], tables.errors[quality], codec.task_count, wanted, tables.max_parents
        candidates = [best_superset(*costs).graph, best_superset(*costs, ()).graph]
        candidates.append(without_missing(codec.graph_tables.fixed[quality], wanted)[0])
        candidates = list(dict.fromkeys(candidates))
        if len(candidates) > 1:
            candidates.sort(
                key=lambda graph: float(codec.costs.total_costs(batch, quality, [graph] * len(batch), wanted).mean())
            )
        graphs |= dict.fromkeys(levels, candidates[0])
    return tuple(graphs[level] for level in range(MAX_QUALITY + 1))
