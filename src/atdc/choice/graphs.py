"""Each image's graph, by a search setting's name, over the tensors that there are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from atdc.choice.costs import CostModel
from atdc.config import Quality, level_of, nearest_integer_quality, quality_steps
from atdc.graph import search
from atdc.graph.orders import MAX_EXACT_TASKS
from atdc.graph.scores import candidate_sets, columns_within, graph_costs, pairs_of
from atdc.graph.task_graph import TaskGraph
from atdc.networks.batches import FeatureBatch
from atdc.networks.devices import torch_defaults
from atdc.networks.predictability import proxy_losses
from atdc.networks.predictor import Predictor

HIGH_EFFORT_CANDIDATES = 4
"""So many of the candidate graphs, the cheapest by their estimates, are really coded."""


def choose(
    costs: CostModel, batch: FeatureBatch, quality: Quality, setting: str, wanted: Sequence[int] | None = None
) -> list[TaskGraph]:
    """One graph per image, over all tensors that there are, or over wanted ones and their helpers.

    Helpers are taken by the setting `codebook` alone, of weights that have :class:`~atdc.graph.wanted.WantedGraphs`.

    `random` draws from a generator seeded by the position in the batch, so that a call repeats itself.

    Args:
        costs: of the codec.
        batch: normalised features.
        quality: of all tasks, or of each.
        setting: a search setting's name.
        wanted: the tensors that are asked for; all that there are by default. Others of the batch may help.

    Raises:
        ArgumentError: no such setting, or one that is not for these tensors.
    """
    name = search.parse_setting(setting)
    tensors = batch.available if wanted is None else tuple(sorted(wanted))
    steps = quality_steps(quality, costs.networks.task_count)
    if name == "codebook" and len(tensors) < costs.networks.task_count and costs.graph_tables.wanted is not None:
        return [costs.graph_tables.wanted.graph(tensors, steps, batch.available)] * len(batch)
    batch = batch.only(tensors)
    level = nearest_integer_quality(quality, costs.networks.task_count)
    whole = costs.graph_tables.whole(name, level)
    if whole is not None:
        return [whole.within(batch.available)] * len(batch)
    if name == "paper":
        graphs = paper_graphs(costs.networks.predictor, batch, costs.networks.config.max_parents)
        return [graph.within(batch.available) for graph in graphs]
    if name != "codebook":
        return searched_graphs(costs, batch, costs.estimated_costs(batch, quality), name)
    if len(batch.available) == costs.networks.task_count:
        pairs = costs.graph_tables.codebook_pairs
        estimated = costs.estimated_costs(batch, quality, pairs)
        return costs.graph_tables.cheapest(estimated, _levels(costs, quality), batch.mean_elements, pairs)
    candidates = candidate_graphs(costs, batch)
    pairs = pairs_of(candidates)
    estimated = costs.estimated_costs(batch, quality, pairs)
    return [candidates[index] for index in search.cheapest_candidates(estimated, candidates, pairs).tolist()]


def cheapest_of_several(
    costs: CostModel, batch: FeatureBatch, quality: Quality, chosen: list[TaskGraph], wanted: Sequence[int]
) -> list[TaskGraph]:
    """Of each image's chosen graph, the fixed graph, the exact graph and its few cheapest candidate graphs the one that
    really costs least; all but the chosen one are over the wanted tensors alone."""
    everything, batch = batch, batch.only(wanted)
    available, level = batch.available, nearest_integer_quality(quality, costs.networks.task_count)
    estimated = costs.estimated_costs(batch, quality)
    if len(available) == costs.networks.task_count:
        kept_graphs = list(costs.graph_tables.candidates)
        levels = _levels(costs, quality)
        ranked = costs.graph_tables.estimates(estimated, levels, batch.mean_elements)
    else:
        kept_graphs = candidate_graphs(costs, batch)
        ranked = graph_costs(estimated, kept_graphs)
    best = np.argsort(ranked, axis=0, kind="stable")[:HIGH_EFFORT_CANDIDATES]
    candidates = [chosen, [costs.graph_tables.fixed[level].within(available)] * len(batch)]
    candidates.append(searched_graphs(costs, batch, estimated, best_search(available)))
    candidates += [[kept_graphs[index] for index in row] for row in best.tolist()]
    totals = np.stack([costs.total_costs(everything, quality, graphs, available) for graphs in candidates])
    return [candidates[row][image] for image, row in enumerate(totals.argmin(0).tolist())]


def candidate_estimates(costs: CostModel, batch: FeatureBatch, quality: Quality) -> NDArray[np.float64]:
    """What the setting `codebook` compares: the estimated cost of each candidate graph, bits, (M, B)."""
    estimated = costs.estimated_costs(batch, quality)
    return costs.graph_tables.estimates(estimated, _levels(costs, quality), batch.mean_elements)


def _levels(costs: CostModel, quality: Quality) -> list[int]:
    """Each task's quality as the level at which graph tables keep what they know of it."""
    return [level_of(step) for step in quality_steps(quality, costs.networks.task_count)]


@torch_defaults()
@torch.no_grad()
def paper_graphs(
    predictor: Predictor, batch: FeatureBatch, max_parents: int, threshold: float = 0.2
) -> list[TaskGraph]:
    """Each image's graph by :func:`~atdc.graph.search.paper`, for any K and τ."""
    pairs = candidate_sets(len(batch.parts), max_parents)
    losses = proxy_losses(predictor, batch, pairs).double().cpu().numpy()
    empty = torch.stack([torch.exp(-0.5 * part.square().mean((1, 2, 3))) for part in batch.parts], 1)
    alone = empty.double().cpu().numpy()
    return [search.paper(losses[i], alone[i], max_parents, threshold) for i in range(len(batch))]


def searched_graphs(
    costs: CostModel, batch: FeatureBatch, estimated: NDArray[np.float64], name: str
) -> list[TaskGraph]:
    """Graphs over the tensors that there are, by estimated costs of all pairs (B, P)."""
    available, count, limit = batch.available, costs.networks.task_count, costs.networks.config.max_parents
    columns = columns_within(count, limit, available)
    graphs = search.SEARCHES[name](estimated[:, columns], len(available), limit, np.random.default_rng)
    return [graph.expanded(available, count) for graph in graphs]


def best_search(tensors: Sequence[int]) -> str:
    """The setting that searches each image's costs best among those that so many tensors permit.

    >>> best_search(range(6)), best_search(range(20))
    ('exact', 'greedy')
    """
    return "exact" if len(tensors) <= MAX_EXACT_TASKS else "greedy"


def candidate_graphs(costs: CostModel, batch: FeatureBatch) -> list[TaskGraph]:
    """The candidate graphs over the tensors that there are, each once."""
    return list(dict.fromkeys(graph.within(batch.available) for graph in costs.graph_tables.candidates))
