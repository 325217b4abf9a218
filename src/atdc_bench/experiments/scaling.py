"""`atdc bench scaling`: choosing a graph for many tasks. What do search and scores cost, and what do they still save?

Six tasks have 96 (child, parent set) pairs, 64 have 129,088, and no model here has 64 tasks. So scores are made up,
with a planted structure of which everything is known (:func:`planted_covariances`), and searched by the same functions
that an encoder calls. What scoring costs is measured on the predictor itself (:func:`scoring_cost`), with as many
tasks, on small feature maps; its weights do not matter for that.

**What is planted.** A task is :data:`COMPONENTS` independent kinds of Gaussian elements, :data:`ELEMENTS` of each kind.
An element of kind k of task t is

    y = a f + b g_cluster + noise,        var(noise) = u + D

with a factor f that all tasks share, and one g per cluster of about :data:`CLUSTER` tasks; who is in whose cluster is
drawn again for each kind, so that a task's best parents for one kind are not those for another, and two parents say
more than one. All factors are standard normal, D is the coding distortion. Then

    score[c, S] = sum over kinds of ELEMENTS/2 log2( var(y_c | y_S) / D )        bits

is exactly the conditional entropy of c given S, above that of the noise D alone, and the chain rule holds: with all
predecessors as parents every order costs the joint entropy, which no graph can beat. Images differ in a and b.
One thing is simpler than in real scores: what one parent says is symmetric, ``I(c; p) = I(p; c)``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import comb
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from atdc.config import ModelConfig
from atdc.errors import ArgumentError
from atdc.graph import search
from atdc.graph.orders import MAX_EXACT_TASKS, MAX_LOCAL_TASKS
from atdc.graph.scores import ScoreTable, candidate_sets, pair_index, pairs_of
from atdc.graph.task_graph import TaskGraph
from atdc.metrics.tasks import FloatArray
from atdc.networks.batches import FeatureBatch
from atdc.networks.predictability import score_bits
from atdc.networks.predictor import Predictor
from atdc.provenance import provenance, write_result
from atdc_bench.experiments.score_calibration import graph_cost
from atdc_bench.experiments.speed import macs, spread, timed

SIZES = (8, 10, 12, 14, 16, 24, 32, 48, 64)
"""Numbers of tasks."""
PARENTS = 2
"""Most parents of a task."""
COMPONENTS = 4
"""Kinds of elements of a task, each with clusters of its own."""
ELEMENTS = 2048
"""Elements of each kind: with four kinds, as many as a task of the small model has at 256×256."""
CLUSTER = 4
"""Tasks per cluster, on average."""
DISTORTION = 0.01
"""D, mean squared error per element; elements have a variance of about 1.5."""
IMAGE_SPREAD = 0.5
"""Standard deviation, in nepers, of what an image multiplies each task's a and b with."""
RESTARTS = 4
"""Random orders that the longer local search starts from, besides that of the greedy graph."""
CODEBOOK = 16
"""Graphs in the codebook."""
SHORTLISTS = (2, 4, 8)
"""How many single parents a child keeps, the best ones, for its pairs of parents to be taken from."""
CHAIN_TASKS = 12
"""Beyond this many tasks no chain is searched: it asks for the scores of all T 2^(T-1) parent sets."""
FEATURE_SIDE = 4
"""Height and width of the feature maps on which scoring is timed: an image of 64×64."""
BATCH = 8
"""Images that are scored at once."""
PAIRS_TIMED = 200
"""Pairs that scoring is timed on; for more pairs, time grows in proportion."""
ROUNDS = 5
"""Times that scoring is timed."""

Search = Callable[[ScoreTable], TaskGraph]


# --- scores with a planted structure ---------------------------------------------------------------------------------


def planted_covariances(size: int, images: int, seed: int) -> FloatArray:
    """Covariance of the tasks' elements, noise D included, for each image and kind of element: see the module's text.

    The strengths are log-normal: a about 0.5, b about 1, u about 0.1, with standard deviations of 0.3, 0.5 and 0.5
    nepers between tasks; a and b also vary by :data:`IMAGE_SPREAD` between images.

    Args:
        size: ``T``, number of tasks.
        images: ``N``.
        seed: of everything drawn; another size draws otherwise.

    Returns:
        (N, COMPONENTS, T, T), symmetric, positive definite.
    """
    rng = np.random.default_rng([seed, size])
    shape = (COMPONENTS, size)
    cluster = rng.integers(0, max(1, size // CLUSTER), shape)
    together = cluster[:, :, None] == cluster[:, None, :]
    shared, clustered = 0.5 * rng.lognormal(0, 0.3, shape), rng.lognormal(0, 0.5, shape)
    noise = 0.1 * rng.lognormal(0, 0.5, shape) + DISTORTION
    a = shared * rng.lognormal(0, IMAGE_SPREAD, (images, *shape))
    b = clustered * rng.lognormal(0, IMAGE_SPREAD, (images, *shape))
    covariance = a[..., :, None] * a[..., None, :] + b[..., :, None] * b[..., None, :] * together
    return np.asarray(covariance + noise[:, :, None] * np.eye(size))


def _bits(variance: FloatArray) -> FloatArray:
    """Of all elements of a kind, when one has that variance given the parents."""
    return np.asarray(0.5 * ELEMENTS * np.log2(variance / DISTORTION))


def pair_scores(covariances: FloatArray) -> FloatArray:
    """``score[c, S]`` for all parent sets of up to two tasks, in bits.

    By partial covariances, ``cov(c, q | p) = cov(c, q) - cov(c, p) cov(p, q) / var(p)``, and the same once more.

    Args:
        covariances: (N, kinds, T, T).

    Returns:
        (N, P), the columns those of ``candidate_sets(T, 2)``.

    >>> pair_scores(np.array([[[[0.04, 0.02], [0.02, 0.02]]]])).round(1).tolist()  # bits, of 2048 elements
    [[2048.0, 1024.0, 1024.0, 0.0]]
    """
    images, _, size, _ = covariances.shape
    parents = np.array([[task for task in range(size) if task != child] for child in range(size)])
    first, second = np.triu_indices(size - 1, 1)
    child = np.arange(size)[:, None]
    left, right = parents[:, first], parents[:, second]
    scores = np.zeros((images, size, 1 + parents.shape[1] + len(first)))
    for image, kinds in enumerate(covariances):
        for matrix in kinds:
            variance = np.diagonal(matrix)
            partial_covariance = matrix - matrix[:, :, None] * matrix[:, None, :] / variance[:, None, None]  # [p, c, q]
            given_one = np.diagonal(partial_covariance, axis1=1, axis2=2)  # [p, c]
            given_two = given_one[left, child] - partial_covariance[left, child, right] ** 2 / given_one[left, right]
            scores[image] += _bits(np.concatenate([variance[:, None], given_one[parents, child], given_two], 1))
    return scores.reshape(images, -1)


def subset_scores(covariances: FloatArray) -> FloatArray:
    """``score[c, S]`` for parent sets of every size, in bits: a joint entropy less another.

    Args:
        covariances: (N, kinds, T, T), for a T that has few enough subsets.

    Returns:
        (N, T 2^(T-1)), the columns those of ``candidate_sets(T, None)``.
    """
    images, _, size, _ = covariances.shape
    inside = (np.arange(1 << size)[:, None] >> np.arange(size) & 1).astype(bool)
    joint = np.empty((images, 1 << size))
    for image, kinds in enumerate(covariances):
        # Tasks outside the subset become independent, of a variance that costs nothing.
        masked = np.where(inside[:, None, :, None] & inside[:, None, None, :], kinds, DISTORTION * np.eye(size))
        joint[image] = joint_bits(masked)
    pairs = candidate_sets(size, None)
    without = np.array([sum(1 << parent for parent in parents) for _, parents in pairs])
    return np.asarray(joint[:, without | 1 << np.array([child for child, _ in pairs])] - joint[:, without])


def joint_bits(covariances: FloatArray) -> FloatArray:
    """What all tasks cost together, (N,) bits: every chain costs that, and no graph less."""
    _, log_determinant = np.linalg.slogdet(covariances / DISTORTION)
    return np.asarray(0.5 * ELEMENTS * log_determinant.sum(-1) / np.log(2))


# --- how many scores -------------------------------------------------------------------------------------------------


def greedy_scores(size: int) -> int:
    """Scores that greedy asks for at most: first each task alone and with any one parent, then with one more.

    In the second round a child has its first parent already, so T - 2 pairs per child are left to look at.

    >>> greedy_scores(6), len(candidate_sets(6, 2))
    (60, 96)
    """
    return size * (1 + (size - 1) + (size - 2))


def shortlist_scores(size: int, length: int) -> int:
    """Scores behind :func:`shortlisted`.

    >>> shortlist_scores(64, 4), len(candidate_sets(64, 2))
    (4480, 129088)
    """
    return size * (size + comb(min(length, size - 1), 2))


def shortlisted(bits: FloatArray, size: int, length: int) -> FloatArray:
    """Scores of no and one parent, and of pairs of the ``length`` best single parents; the rest is not scored, +inf.

    Args:
        bits: (N, P), as ``candidate_sets(size, 2)`` orders it.
        size: ``T``.
        length: single parents per child.

    >>> bits = np.array([[9.0, 5, 6, 7, 4, 3, 2] * 4])  # of each task: alone, with one parent, with two
    >>> shortlisted(bits, 4, 2)[0, :7].tolist()
    [9.0, 5.0, 6.0, 7.0, 4.0, inf, inf]
    """
    by_child = bits.reshape(len(bits), size, -1).copy()
    singles = by_child[:, :, 1:size]
    rank = singles.argsort(-1, kind="stable").argsort(-1, kind="stable")
    first, second = np.triu_indices(size - 1, 1)
    by_child[:, :, size:][np.maximum(rank[..., first], rank[..., second]) >= length] = np.inf
    return by_child.reshape(bits.shape)


# --- searching -------------------------------------------------------------------------------------------------------


def searches(size: int) -> dict[str, Search]:
    """The settings that search per image, by name; ``exact`` only where it runs.

    >>> list(searches(16)), list(searches(17))
    (['exact', 'greedy', 'greedy+local', 'local'], ['greedy', 'greedy+local', 'local'])
    """
    settings: dict[str, Search] = {
        "greedy": search.greedy,
        "greedy+local": partial(search.local_search, restarts=0),
        "local": partial(search.local_search, restarts=RESTARTS),
    }
    return {"exact": search.exact, **settings} if size <= MAX_EXACT_TASKS else settings


def best_search(size: int) -> Search:
    """``exact`` where it runs, otherwise the longer local search."""
    return searches(size).get("exact", searches(size)["local"])


def search_all(function: Search, bits: FloatArray, size: int) -> tuple[list[TaskGraph], list[float]]:
    """A graph for each image, and the milliseconds that each took; a first call warms up what is kept between calls."""
    tables = [ScoreTable.of(size, row, PARENTS) for row in bits]
    function(tables[0])
    took, graphs = zip(*(timed(function, table) for table in tables), strict=True)
    return list(graphs), list(took)


@dataclass(frozen=True)
class Planted:
    """Score tables of one number of tasks.

    Attributes:
        size: ``T``.
        training: (N, P) bits; what is fixed for all images is chosen on these.
        bits: (N, P) bits; everything is judged on these.
        joint: (N,) bits, the joint entropy of the images in `bits`.
        subsets: mean scores of `training`'s images with parent sets of every size; None for more than
            :data:`CHAIN_TASKS` tasks.
    """

    size: int
    training: FloatArray
    bits: FloatArray
    joint: FloatArray
    subsets: FloatArray | None

    @classmethod
    def of(cls, size: int, images: int, seed: int) -> Planted:
        """As many images for training as for judging."""
        covariances = planted_covariances(size, 2 * images, seed)
        training, judged = covariances[:images], covariances[images:]
        subsets = subset_scores(training).mean(0) if size <= CHAIN_TASKS else None
        return cls(size, pair_scores(training), pair_scores(judged), joint_bits(judged), subsets)

    @property
    def alone(self) -> float:
        """What independent coding takes, bits, all images together."""
        return float(graph_cost([TaskGraph.independent(self.size)] * len(self.bits), self.bits).sum())

    def saved(self, graphs: Sequence[TaskGraph]) -> float:
        """What a graph per image saves against independent coding, bits, all images together."""
        return self.alone - float(graph_cost(graphs, self.bits).sum())


def _row(
    planted: Planted, saved: float, scores: int, took: Sequence[float] = (), once: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    return {
        "saving_percent": 100 * saved / planted.alone,
        "search_ms": spread(took) if took else None,
        "scores": scores,
        "once": once,
    }


def compare_settings(planted: Planted) -> dict[str, Any]:
    """Each setting's saving, time and scores.

    Returns:
        By setting: ``saving_percent`` against independent coding; ``share_of_exact``, that saving over the one of
        ``exact`` (None where exact does not run); ``search_ms`` per image (None where nothing is searched per image);
        ``scores``, how many are needed per image; ``once``, ``search_ms`` and ``scores`` of what is chosen beforehand
        for all images (None where nothing is; no ``search_ms`` for a chain of more than :data:`CHAIN_TASKS` tasks).
    """
    size, images = planted.size, len(planted.bits)
    all_scores = planted.bits.shape[1]
    result = {}
    for name, function in searches(size).items():
        graphs, took = search_all(function, planted.bits, size)
        scores = greedy_scores(size) if name == "greedy" else all_scores
        result[name] = _row(planted, planted.saved(graphs), scores, took)

    mean = ScoreTable.of(size, planted.training.mean(0), PARENTS)
    took_fixed, fixed = timed(best_search(size), mean)
    once = {"search_ms": took_fixed, "scores": all_scores}
    result["fixed"] = _row(planted, planted.saved([fixed] * images), 0, once=once)

    candidates, took_candidates = search_all(searches(size)["greedy+local"], planted.training, size)
    took_book, graph_tables = timed(search.build_candidates, planted.training, CODEBOOK, [fixed], candidates)
    pairs = pairs_of(graph_tables)
    pair_bits = planted.bits[:, [pair_index(size, PARENTS)[pair] for pair in pairs]]
    took, chosen = zip(
        *(timed(search.cheapest_candidates, row[None], graph_tables, pairs) for row in pair_bits), strict=True
    )
    graphs = [graph_tables[int(choice[0])] for choice in chosen]
    once = {"search_ms": sum(took_candidates) + took_fixed + took_book, "scores": all_scores}
    result["codebook"] = _row(planted, planted.saved(graphs), len(pairs), took, once)

    saved_by_chain = planted.alone - float(planted.joint.sum())
    took_chain = None
    if planted.subsets is not None:
        took_chain, _ = timed(search.chain, ScoreTable.of(size, planted.subsets))
    once = {"search_ms": took_chain, "scores": size << (size - 1)}
    result["chain"] = _row(planted, saved_by_chain, 0, once=once)
    result["independent"] = _row(planted, 0.0, 0)

    most = result["exact"]["saving_percent"] if "exact" in result else None
    return {
        name: row | {"share_of_exact": row["saving_percent"] / most if most else None} for name, row in result.items()
    }


def compare_shortlists(planted: Planted, full_percent: float) -> dict[str, Any]:
    """What is left of the saving when only some pairs of parents are scored.

    Args:
        planted: the scores.
        full_percent: what :func:`best_search` saves with all of them.

    Returns:
        By number of single parents kept: ``scores`` per image, ``share_of_scores`` of all, ``saving_percent``,
        ``share_of_saving`` of the one with all scores, ``search_ms``.
    """
    result = {}
    for length in SHORTLISTS:
        graphs, took = search_all(
            best_search(planted.size), shortlisted(planted.bits, planted.size, length), planted.size
        )
        scores = shortlist_scores(planted.size, length)
        percent = 100 * planted.saved(graphs) / planted.alone
        result[str(length)] = {
            "scores": scores,
            "share_of_scores": scores / planted.bits.shape[1],
            "saving_percent": percent,
            "share_of_saving": percent / full_percent,
            "search_ms": spread(took),
        }
    return result


# --- scoring ---------------------------------------------------------------------------------------------------------


def scoring_cost(size: int, counts: Mapping[str, int], seed: int) -> dict[str, Any]:
    """What the predictor takes to score so many pairs of so many tasks, per image.

    Each task's contribution to the linear first layer is computed once, and then, for each pair, the rest. Both are
    timed on at most :data:`PAIRS_TIMED` pairs drawn at random; a pair's time does not depend on which pair it is.

    Args:
        size: ``T``.
        counts: how many pairs, by name.
        seed: of the pairs drawn, of features and weights.

    Returns:
        ``pairs_timed``; ``shares_ms`` of all tasks and ``pair_ms``; multiply-accumulates ``shares_mmac`` and
        ``pair_mmac``; by name ``ms`` and ``mmac`` of that many pairs, their contributions included; and
        ``all_unshared_mmac``, what all pairs would take if each computed its parents' contributions again.
    """
    config = ModelConfig()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        predictor = Predictor(config, config.tensors(range(size))).eval()
        drawn_features = torch.randn(BATCH, size, config.feature_channels, FEATURE_SIDE, FEATURE_SIDE)
    features = FeatureBatch.of(drawn_features)
    pairs = candidate_sets(size, PARENTS)
    drawn = np.random.default_rng([seed, size]).permutation(len(pairs))[:PAIRS_TIMED]
    sample = [pairs[place] for place in drawn.tolist()]
    distortion = torch.full((1, size), 0.1)

    def shares() -> None:
        with torch.no_grad():
            for task in range(size):
                predictor.contribution(task, features.parts[task])

    shares_ms, pair_ms = [], []
    for number in range(-1, ROUNDS):
        share_ms, _ = timed(shares)
        score_ms, _ = timed(score_bits, predictor, features, sample, distortion)
        if number >= 0:
            shares_ms.append(share_ms / BATCH)
            pair_ms.append((score_ms - share_ms) / BATCH / len(sample))
    shares_mmac = macs(shares) / BATCH
    pair_mmac = macs(score_bits, predictor, features, sample[:1], distortion) / BATCH - shares_mmac
    parents = sum(len(row) for _, row in pairs)
    first_ms, next_ms = float(np.median(shares_ms)), float(np.median(pair_ms))
    return {
        "pairs_timed": len(sample),
        "shares_ms": spread(shares_ms),
        "pair_ms": spread(pair_ms),
        "shares_mmac": shares_mmac,
        "pair_mmac": pair_mmac,
        **{
            name: {"ms": first_ms + number * next_ms, "mmac": shares_mmac + number * pair_mmac}
            for name, number in counts.items()
        },
        "all_unshared_mmac": parents * shares_mmac / size + len(pairs) * pair_mmac,
    }


# --- the command -----------------------------------------------------------------------------------------------------


def scaling_at(size: int, images: int, seed: int) -> dict[str, Any]:
    """The result for one number of tasks."""
    planted = Planted.of(size, images, seed)
    settings = compare_settings(planted)
    full = settings["exact" if "exact" in settings else "local"]["saving_percent"]
    counts = {"all": planted.bits.shape[1], "greedy": greedy_scores(size)}
    counts |= {f"shortlist_{length}": shortlist_scores(size, length) for length in SHORTLISTS}
    return {
        "pairs": planted.bits.shape[1],
        "independent_bits": planted.alone / images,
        "joint_bits": float(planted.joint.mean()),
        "settings": settings,
        "shortlists": compare_shortlists(planted, full),
        "scoring": scoring_cost(size, counts, seed),
    }


def run_scaling(
    out: Path = Path("results/scaling.json"),
    *,
    sizes: Sequence[int] = SIZES,
    images: int = 16,
    seed: int = 0,
    quiet: bool = False,
) -> dict[str, Any]:
    """Measures search and scoring for growing numbers of tasks and writes the result.

    Args:
        out: the result, JSON.
        sizes: numbers of tasks, 3 to ``MAX_LOCAL_TASKS``.
        images: score tables that each setting is judged on; as many more are drawn to choose the fixed ones on.
        seed: of the scores.
        quiet: no progress bar.

    Returns:
        What was written.

    Raises:
        ArgumentError: no sizes, one out of range, or no images.
        OutputError: the result cannot be written.
    """
    if not sizes or min(sizes) < 3 or max(sizes) > MAX_LOCAL_TASKS:
        raise ArgumentError("sizes", str(list(sizes)), f"numbers of tasks from 3 to {MAX_LOCAL_TASKS}")
    if images < 1:
        raise ArgumentError("images", str(images), "at least 1")
    config = ModelConfig()
    result = {
        "what": "Graph search and scoring by number of tasks, at most two parents each. Scores: exact conditional "
        "entropies of Gaussian features with planted clusters. chain: all predecessors as parents, so the joint "
        "entropy, the least there is. greedy+local: local search from the greedy order; local: from random orders, "
        "too. fixed and codebook are chosen on other images. scores: per image. shortlists: all single parents, and "
        "pairs of the best few. scoring: the predictor, per image. Times: medians, milliseconds.",
        "provenance": provenance(seed=seed),
        "data": {
            "name": "planted", "images": images, "components": COMPONENTS, "elements": ELEMENTS, "cluster": CLUSTER,
            "distortion": DISTORTION, "image_spread": IMAGE_SPREAD,
        },
        "search": {"parents": PARENTS, "restarts": RESTARTS, "codebook": CODEBOOK},
        "predictor": {
            "feature_channels": config.feature_channels, "width": config.predictor_width, "feature_side": FEATURE_SIDE,
            "batch": BATCH, "rounds": ROUNDS,
        },
        "sizes": {
            str(size): scaling_at(size, images, seed)
            for size in tqdm(sizes, unit="size", desc="scaling", disable=quiet)
        },
    }  # fmt: skip
    write_result(out, result)
    return result
