"""What is fitted to a trained codec's own costs: Lagrange multipliers, fixed graphs, the rate estimator, the graphs
kept.

::

    distortions and rates ─ fixed graphs by real costs ─ measured costs of pairs ─ rate estimator ─ graphs ─ cost
    corrections
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from atdc.choice.costs import squared_errors
from atdc.codec import FeatureCodec
from atdc.config import MAX_QUALITY, ModelConfig, Recipe
from atdc.entropy.model import EntropyModel
from atdc.graph import search
from atdc.graph.graph_tables import GraphTables
from atdc.graph.task_graph import TaskGraph, graphs_of, plain_graphs
from atdc.networks.batches import by_tensor
from atdc.networks.codec_networks import CodecNetworks
from atdc.networks.devices import device_of
from atdc.networks.predictability import score_bits
from atdc.training import processes
from atdc.training.data import TrainingFeatures
from atdc.training.fixed_graphs import settled
from atdc.training.graph_source import random_subset
from atdc.training.graphs_apart import measured_graphs_apart
from atdc.training.pair_estimator_stage import BLOCK, target_costs, train_pair_estimator
from atdc.training.run_folder import RunFolder
from atdc.training.spoiling import SpoiltFeatures, random_spoiling
from atdc.training.wanted_stage import measured_wanted_graphs

Pairs = tuple[search.Pair, ...]

_TEACHER_LEVELS = (5, 5, 4, 3, 2, 2, 2, 2)
"""How often target costs are measured at each quality: parent sets differ most where bytes are few."""
_SETTLED_IMAGES = 60
"""Validation images by which fixed graphs are chosen, the first; and cost corrections measured, the last."""
_LEAST_FALL = 1e-3
"""An error that falls by less than this share from one quality to the next does not say what it falls by costs."""
_MARGIN = 2.0
"""Standard deviations of what the rate estimator says of whole images by which a graph must be cheaper than the fixed
one: these differ so little in which graph is best that they would lose by what the rate estimator gets wrong, and
    spoilt ones gain far more."""
_LISTED_GRAPHS = 1000
"""So many graphs are kept with the weights, for files to name them by number."""


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


def fit_estimator_to_codec(
    run: RunFolder, recipe: Recipe, networks: CodecNetworks, entropy: EntropyModel, train: TrainingFeatures,
    val: TrainingFeatures, graph_tables: GraphTables,
) -> GraphTables:  # fmt: skip
    """Measures distortions and Lagrange multipliers, distils the rate estimator from the codec's own costs, chooses
    graphs again.

    The costs of each of the recipe's training images are measured at one quality, with all tensors or, as often as the
    codec met such, with a random subset of them; of a share of the images, one of all tensors is spoilt.
    """
    frozen = copy_of(networks)
    codec = FeatureCodec(frozen, entropy, train.mean, train.std, graph_tables)
    codec.graph_tables = measured_rates(run, codec, val)
    settle_fixed_graphs(run, codec, val)
    count, rng = recipe.scorer.final_images, np.random.default_rng(recipe.seed + 7)
    images = rng.permutation(len(train))[:count]
    share = np.array(_TEACHER_LEVELS) / sum(_TEACHER_LEVELS)
    levels = rng.choice(MAX_QUALITY + 1, size=-(-count // BLOCK), p=share)
    subsets = [random_subset(codec.task_count, recipe.codec.subset_share, rng) for _ in levels]
    blocks = [images[start : start + BLOCK] for start in range(0, len(images), BLOCK)]
    seen = SpoiltFeatures(
        train, random_spoiling(blocks, codec.task_count, recipe.scorer.spoilt_share, rng), recipe.seed
    )

    def costs_of(chosen: NDArray[np.int64], block: int) -> Tensor:
        level = int(levels[block])
        costs = torch.full((len(chosen), MAX_QUALITY + 1, len(codec.pairs)), torch.nan)
        batch = seen.read(chosen)
        elements = np.array(batch.elements)[codec.costs.children]
        whole = int(chosen[0]) in seen.tensors
        measured = codec.costs.measured_costs(batch if whole else batch.only(subsets[block]), level)
        costs[:, level] = torch.from_numpy(measured / elements)
        return costs

    costs = target_costs(run, "teacher_codec", images, costs_of)
    train_pair_estimator(run, recipe, "scorer_codec", networks.rate_estimator, images, costs, seen)
    apart = measured_graphs_apart(run, codec, val) if seen.tensors else ()
    codec.graph_tables = choose_graphs(
        run,
        recipe,
        "graphs_codec",
        networks,
        train,
        val,
        codec.graph_tables,
        codec.pairs,
        codec.graph_tables.fixed,
        apart,
    )
    frozen.rate_estimator.load_state_dict(networks.rate_estimator.state_dict())
    margin = _MARGIN if seen.tensors else 0.0
    codec.graph_tables = replace(codec.graph_tables, correction=measured_correction(run, codec, val, margin))
    return replace(codec.graph_tables, wanted=measured_wanted_graphs(run, codec, val))


def measured_correction(
    run: RunFolder, codec: FeatureCodec, val: TrainingFeatures, margin: float = 0.0, images: int = _SETTLED_IMAGES
) -> NDArray[np.float64]:
    """What coding along each candidate graph takes beyond its pairs' scores, the mean over some validation images
    at each quality, bits per feature element, (8, M).

    Args:
        run: keeps what was measured.
        codec: with its final rate estimator and codebook.
        val: validation images, which are whole.
        margin: each graph takes more by so many deviations, over these images, of its score over the fixed graph's.
        images: so many at most.
    """
    known = run.read_json("surcharge.json", None)
    if known is None:
        features = val.raw(val.alike(images, last=True))
        normalised, graphs = codec.normalise(features), codec.graph_tables.candidates
        known = np.zeros((MAX_QUALITY + 1, len(graphs)))
        with tqdm(total=known.size, desc="cost corrections", disable=not processes.shows_progress()) as bar:
            for quality, row in enumerate(known):
                estimated = codec.costs.estimated_costs(normalised, quality)
                scores = search.graph_costs(estimated, graphs)
                differences = (scores - search.graph_costs(estimated, [codec.graph_tables.fixed[quality]])).std(1)
                for place, graph in enumerate(graphs):
                    real = codec.costs.total_costs(normalised, quality, [graph] * len(normalised)).mean()
                    beyond = real - scores[place].mean() + margin * differences[place]
                    row[place] = beyond / normalised.mean_elements
                    bar.update()
        known = known.tolist()
        run.write_json("surcharge.json", known)
    return np.array(known)


def settle_fixed_graphs(run: RunFolder, codec: FeatureCodec, val: TrainingFeatures) -> None:
    """Gives the codec's book the best single graph of each quality, by real costs on some validation images."""
    known = run.read_json("fixed_graphs.json", None)
    if known is None:
        features = val.raw(val.alike(_SETTLED_IMAGES))
        for quality in tqdm(range(MAX_QUALITY + 1), desc="fixed graphs", disable=not processes.shows_progress()):
            settled(codec, features, quality)
        known = plain_graphs(codec.graph_tables.fixed)
        run.write_json("fixed_graphs.json", known)
    codec.graph_tables = replace(codec.graph_tables, fixed=graphs_of(known))


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
        grids, scaled = [(part.shape[2], part.shape[3]) for part in parts], codec.scaled(parts)
        rows = []
        for level in range(MAX_QUALITY + 1):
            encoded = codec.encode_batch(features, level, "fixed")
            error = squared_errors(codec.scaled(encoded.reconstruction), scaled, grids)
            rows.append(torch.stack([torch.from_numpy(encoded.ideal_bits).mean(0), error.double().mean(0)]))
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
    for task, own in enumerate(slopes.T):
        usable = (own > 0) & (-np.diff(errors[:, task]) > _LEAST_FALL * errors[:-1, task])
        if usable.sum() > 1:
            growth, start = np.polyfit(places[usable], np.log(own[usable]), 1)
            reached = np.clip(levels, places[usable][0] - 0.5, places[usable][-1] + 0.5)
            rates[:, task] = np.exp(start + growth * reached)
    return rates


@torch.no_grad()
def choose_graphs(
    run: RunFolder, recipe: Recipe, name: str, networks: CodecNetworks, train: TrainingFeatures,
    val: TrainingFeatures, graph_tables: GraphTables, pairs: Pairs, fixed: tuple[TaskGraph, ...] | None = None,
    others: Sequence[TaskGraph] = (),
) -> GraphTables:  # fmt: skip
    """Candidate graphs on training images by the rate estimator, which start from the fixed graphs, and others that are
    given; chains by the predictor on validation images. Fixed graphs, if they are not given, by the rate estimator on
    validation images."""
    known = run.read_json(f"{name}.json", None)
    if known is not None:
        return GraphTables.from_json(known)
    tasks, limit = networks.task_count, recipe.model.max_parents
    device = device_of(networks)
    val_features = val.read(np.arange(len(val))).to(device)
    val_costs = networks.rate_estimator(val_features).double().cpu().numpy()
    fixed = fixed or tuple(
        search.fixed(search.ScoreTable.of(tasks, val_costs[:, level].mean(0), limit), limit)
        for level in range(MAX_QUALITY + 1)
    )
    exact = [search.exact_batch(val_costs[:, level], tasks, limit) for level in range(MAX_QUALITY + 1)]
    mode = tuple(search.fixed_mode(graphs) for graphs in exact)
    train_costs = estimator_costs(networks, train).astype(np.float64)
    # One codebook for every quality: rows are (image, quality), each at a quality of its own, scaled to equal weight.
    levels = np.arange(len(train_costs)) % (MAX_QUALITY + 1)
    rows = train_costs[np.arange(len(train_costs)), levels]
    rows = rows / train_costs[:, :, [pairs.index((c, ())) for c in range(tasks)]].sum(2).mean(0)[levels][:, None]
    candidates = search.most_frequent(search.exact_batch(rows, tasks, limit), _LISTED_GRAPHS)
    kept_graphs = search.build_candidates(
        rows[:4000], recipe.codec.codebook_size, tuple(dict.fromkeys(fixed)), candidates
    )
    kept_graphs = tuple(dict.fromkeys([*kept_graphs, *others]))
    every = search.candidate_sets(tasks, None)
    distortion = torch.from_numpy(graph_tables.distortion).to(device)
    means = (
        score_bits(networks.predictor, val_features.select(slice(60)), every, distortion).double().mean(0).cpu().numpy()
    )
    chain = tuple(search.chain(search.ScoreTable.of(tasks, row)) for row in means)
    usual = (*kept_graphs, *fixed, *mode, *chain, TaskGraph.independent(tasks), *candidates)
    listed = tuple(dict.fromkeys(usual))[:_LISTED_GRAPHS]
    nothing = np.zeros((MAX_QUALITY + 1, len(kept_graphs)))
    chosen = GraphTables(
        fixed, mode, chain, kept_graphs, listed, graph_tables.distortion, graph_tables.bits_per_error, nothing
    )
    run.write_json(f"{name}.json", chosen.to_json())
    return chosen
