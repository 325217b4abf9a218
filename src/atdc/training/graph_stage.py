"""What is fitted to a trained codec's own costs: Lagrange multipliers, fixed graphs, the rate estimator, the graphs
kept.

::

    distortions and rates ─ fixed graphs by real costs ─ measured costs of pairs ─ rate estimator ─ candidate graphs
                          ─ cost corrections ─ graphs of wanted sets
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from atdc.choice.costs import squared_errors
from atdc.codec import FeatureCodec
from atdc.config import MAX_QUALITY, FitRecipe, ModelConfig
from atdc.graph import search
from atdc.graph.graph_tables import GraphTables
from atdc.graph.scores import alone_columns, graph_costs
from atdc.graph.task_graph import TaskGraph, graphs_of, plain_graphs
from atdc.networks.batches import by_tensor
from atdc.networks.codec_networks import CodecNetworks
from atdc.networks.rate_estimators import PairEstimator
from atdc.training import processes
from atdc.training.data import SourceFeatures, TrainingFeatures
from atdc.training.estimator_stage import train_estimator
from atdc.training.fixed_graphs import best_graph, settled
from atdc.training.graphs_apart import measured_graphs_apart
from atdc.training.measured_costs import (
    BLOCK,
    FEW_TENSORS,
    columns_to_measure,
    mean_table,
    measured,
    single_columns,
)
from atdc.training.run_folder import RunFolder
from atdc.training.spoiling import SpoiltFeatures, random_spoiling
from atdc.training.wanted_stage import images_for_pairs, measured_wanted_graphs

EDGE_SHARE = 0.01
"""An edge is worth its time where it saves this share of what its child costs without parents; less is noise."""
_CANDIDATES_FROM = 400
"""Training samples whose best graphs become candidates; fewer of many tensors."""
_CORRECTION_IMAGES = 24
"""Validation samples of which every candidate graph is coded, the last ones."""
_LEAST_FALL = 1e-3
"""An error that falls by less than this share from one quality to the next does not say what it falls by costs."""
_MARGIN = 2.0
"""Standard deviations of what the rate estimator says of whole images by which a graph must be cheaper than the fixed
one, where some samples are spoilt: whole ones differ so little in which graph is best that they would lose by what the
rate estimator gets wrong, and spoilt ones gain far more."""
_LISTED_GRAPHS = 1000
"""So many graphs are kept with the weights, for files to name them by number."""


def fit_graphs(
    run: RunFolder, recipe: FitRecipe, codec: FeatureCodec, train: SourceFeatures, val: SourceFeatures
) -> None:
    """Fits all that chooses a graph to what a codec's coding costs; changes the codec."""
    count, has_few_tensors, pairs = codec.task_count, codec.task_count <= FEW_TENSORS, codec.pairs
    codec.graph_tables = measured_rates(run, codec, val)
    if has_few_tensors:
        settle_fixed_graphs(run, codec, val)
    rng = np.random.default_rng(recipe.seed)
    torch.manual_seed(recipe.seed)  # whatever was drawn before: a resumed run has drawn less
    samples = rng.permutation(train.alike(recipe.estimator_images))
    blocks = [samples[start : start + BLOCK] for start in range(0, len(samples), BLOCK)]
    source = SpoiltFeatures(train, random_spoiling(blocks[1:], count, recipe.spoilt_share, rng), recipe.seed)
    columns = np.arange(len(pairs))
    if not has_few_tensors:
        first = measured(run, "single_costs", codec, train, samples[:BLOCK], single_columns(pairs), rng)
        table = mean_table(first, pairs)[first[0].level]
        columns = columns_to_measure(table[alone_columns(pairs)] - table, pairs)
    estimator = codec.networks.rate_estimator
    measurements = measured(
        run, "costs", codec, source, samples, columns, rng, spoilt=frozenset(source.tensors),
        subset_share=recipe.subset_share if isinstance(estimator, PairEstimator) else 0.0,
    )  # fmt: skip
    means = mean_table(measurements, pairs)
    error = train_estimator(run, recipe, estimator, measurements, means, pairs, source)
    run.write_json("estimator.json", {"relative_error": None if math.isnan(error) else round(error, 4)})
    elements = np.array(val.read(val.alike(1)).elements)
    totals = means * elements[codec.costs.children]
    if not has_few_tensors:
        fixed = tuple(best_graph(row, count, codec.config.max_parents, EDGE_SHARE) for row in totals)
        codec.graph_tables = replace(codec.graph_tables, fixed=fixed)
    graphs_apart = measured_graphs_apart(run, codec, val) if source.tensors else ()
    codec.graph_tables = _with_candidates(codec, recipe, train, totals, elements, graphs_apart)
    margin = _MARGIN if source.tensors else 0.0
    codec.graph_tables = replace(codec.graph_tables, correction=measured_correction(run, codec, val, margin))
    codec.graph_tables = replace(codec.graph_tables, wanted=measured_wanted_graphs(run, codec, val))


@torch.no_grad()
def _with_candidates(
    codec: FeatureCodec, recipe: FitRecipe, train: SourceFeatures, totals: NDArray[np.float64],
    elements: NDArray[np.int64], extra_graphs: Sequence[TaskGraph],
) -> GraphTables:  # fmt: skip
    """The codec's graph tables with candidate graphs, which start from the fixed ones, and what else is listed.

    Args:
        codec: with its final rate estimator and fixed graphs.
        recipe: how many candidates.
        train: of some samples, the best graph by the rate estimator may become one.
        totals: mean costs of all pairs at every integer quality, bits, (8, P).
        elements: numbers of each tensor, padding included, which costs are of.
        extra_graphs: further candidates.
    """
    count, limit, base_columns = codec.task_count, codec.config.max_parents, alone_columns(codec.pairs)
    selection = train.alike(_CANDIDATES_FROM if count <= FEW_TENSORS else _CANDIDATES_FROM // 25)
    estimator = codec.networks.rate_estimator
    parts = [estimator(train.read(selection[start : start + 50])) for start in range(0, len(selection), 50)]
    costs = torch.cat(parts).double().numpy() * elements[codec.costs.children]
    # One list for every quality: rows are samples, each at a quality of its own, scaled to equal weight.
    levels = np.arange(len(costs)) % (MAX_QUALITY + 1)
    rows = costs[np.arange(len(costs)), levels]
    rows = rows / totals[levels][:, np.unique(base_columns)].sum(1)[:, None]
    candidates = [best_graph(row, count, limit, EDGE_SHARE) for row in rows]
    frequent_graphs = search.most_frequent(candidates, _LISTED_GRAPHS)
    tables, independent = codec.graph_tables, TaskGraph.independent(count)
    fixed = tuple(dict.fromkeys(tables.fixed))
    codebook = search.build_candidates(
        rows, max(recipe.codebook_size, len(fixed)), fixed, [*frequent_graphs, independent]
    )
    codebook = tuple(dict.fromkeys([*codebook, *extra_graphs]))
    chain = tuple(_chain(graph) for graph in tables.fixed)
    listed = tuple(dict.fromkeys([*codebook, *fixed, *chain, independent, *frequent_graphs]))[:_LISTED_GRAPHS]
    mode = (search.fixed_mode(candidates),) * (MAX_QUALITY + 1)
    correction = np.zeros((MAX_QUALITY + 1, len(codebook)))
    return GraphTables(
        tables.fixed, mode, chain, codebook, listed, tables.distortion, tables.bits_per_error, correction
    )


def _chain(graph: TaskGraph) -> TaskGraph:
    """A graph's order, with all predecessors as parents."""
    order = graph.order
    parents: list[tuple[int, ...]] = [()] * graph.size
    for place, child in enumerate(order):
        parents[child] = tuple(order[:place])
    return TaskGraph(tuple(parents))


def measured_correction(
    run: RunFolder, codec: FeatureCodec, val: TrainingFeatures, margin: float = 0.0
) -> NDArray[np.float64]:
    """What coding along each candidate graph takes beyond its pairs' scores, the mean over some validation images
    at each quality, bits per feature element, (8, M).

    Args:
        run: keeps what was measured.
        codec: with its final rate estimator and codebook.
        val: validation images, which are whole.
        margin: each graph takes more by so many deviations, over these images, of its score over the fixed graph's.
    """
    correction = run.read_json("surcharge.json", None)
    if correction is None:
        features = val.raw(val.alike(_CORRECTION_IMAGES, last=True))
        batch, graphs = codec.normalise(features), codec.graph_tables.candidates
        correction = np.zeros((MAX_QUALITY + 1, len(graphs)))
        with processes.bar(total=correction.size, desc="cost corrections") as bar:
            for quality, row in enumerate(correction):
                estimates = codec.costs.estimated_costs(batch, quality)
                scores = graph_costs(estimates, graphs)
                differences = (scores - graph_costs(estimates, [codec.graph_tables.fixed[quality]])).std(1)
                for place, graph in enumerate(graphs):
                    cost = codec.costs.total_costs(batch, quality, [graph] * len(batch)).mean()
                    excess = cost - scores[place].mean() + margin * differences[place]
                    row[place] = excess / batch.mean_elements
                    bar.update()
        correction = correction.tolist()
        run.write_json("surcharge.json", correction)
    return np.array(correction)


def settle_fixed_graphs(run: RunFolder, codec: FeatureCodec, val: TrainingFeatures) -> None:
    """Gives the codec's graph tables the best single graph of each quality, by real costs on some validation images."""
    record = run.read_json("fixed_graphs.json", None)
    if record is None:
        features = val.raw(val.alike(images_for_pairs(codec)))
        for quality in processes.bar(range(MAX_QUALITY + 1), desc="fixed graphs"):
            settled(codec, features, quality, edge_share=EDGE_SHARE)
        record = plain_graphs(codec.graph_tables.fixed)
        run.write_json("fixed_graphs.json", record)
    codec.graph_tables = replace(codec.graph_tables, fixed=graphs_of(record))


def copy_of(networks: CodecNetworks) -> CodecNetworks:
    """A copy for coding (the codec switches its networks to evaluation)."""
    copy = CodecNetworks(networks.config, networks.tensors)
    copy.load_state_dict(networks.state_dict())
    return copy


def copy_for(networks: CodecNetworks, config: ModelConfig) -> CodecNetworks:
    """A copy under settings that predictor and transforms do not depend on; its rate estimator is at its start."""
    copy = CodecNetworks(config, networks.tensors)
    copy.predictor.load_state_dict(networks.predictor.state_dict())
    copy.transforms.load_state_dict(networks.transforms.state_dict())
    return copy


def measured_rates(run: RunFolder, codec: FeatureCodec, val: TrainingFeatures) -> GraphTables:
    """The graph tables with D and ``w = −dR/dD`` measured on validation images along the fixed graphs.

    Slopes between neighbouring qualities are noisy: each quality has a graph of its own, and a task's error follows its
    parents', too. Training weighs errors by ``Λ(q)``, which is geometric in q, and so is ``w`` taken to be.
    """
    graph_tables = codec.graph_tables
    state = run.load("rates")
    if state is None:
        features = val.raw(val.alike(100))
        parts = by_tensor(features)
        grids, targets = [(part.shape[2], part.shape[3]) for part in parts], codec.scaling.scaled(parts)
        rows = []
        for level in range(MAX_QUALITY + 1):
            result = codec.encode_batch(features, level, "fixed")
            error = squared_errors(codec.scaling.scaled(result.reconstruction), targets, grids)
            rows.append(torch.stack([torch.from_numpy(result.ideal_bits).mean(0), error.double().mean(0)]))
        elements = torch.tensor([float(part[0].numel()) for part in parts])
        state = {"rates": torch.stack(rows), "elements": elements}
        run.save("rates", state)
    bits, errors = state["rates"][:, 0].numpy(), state["rates"][:, 1].numpy()
    return replace(
        graph_tables, distortion=errors / np.asarray(state["elements"]), bits_per_error=fitted_multipliers(bits, errors)
    )


def fitted_multipliers(bits: NDArray[np.float64], errors: NDArray[np.float64]) -> NDArray[np.float64]:
    """``w = −dR/dD`` at each integer quality, geometric in the quality.

    A least-squares line through the logarithms of the slopes between neighbouring qualities, without those of the wrong
    sign and those where the error hardly falls. It is followed no further than half a quality beyond the outermost
    slopes that it is drawn through, which is as far as the integer qualities go where all slopes are usable; beyond,
    the rate stays what it is there.

    Args:
        bits: of each quality and task, (Q, T).
        errors: likewise; falling where bits rise.

    >>> errors = 2.0 ** -np.arange(4)[:, None]
    >>> fitted_multipliers(-np.log2(errors), errors).round(2).ravel().tolist()
    [1.41, 2.83, 5.66, 11.31]
    """
    slopes = -np.diff(bits, axis=0) / np.minimum(np.diff(errors, axis=0), -1e-9)
    places, levels = np.arange(len(slopes)) + 0.5, np.arange(len(bits))
    rates = np.zeros_like(bits)
    for task, task_slopes in enumerate(slopes.T):
        usable = (task_slopes > 0) & (-np.diff(errors[:, task]) > _LEAST_FALL * errors[:-1, task])
        if usable.sum() > 1:
            growth, start = np.polyfit(places[usable], np.log(task_slopes[usable]), 1)
            positions = np.clip(levels, places[usable][0] - 0.5, places[usable][-1] + 0.5)
            rates[:, task] = np.exp(start + growth * positions)
    return rates
