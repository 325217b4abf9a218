"""`atdc bench score-calibration`: do the scores that choose graphs predict what coding really costs?

For each image, child and parent set, the child is really coded given those parents as decoded (ideal bits, which real
files exceed by a small constant), and compared with what was predicted: by the *full* score (the predictor's divergence
in bits) and by the rate estimator (cheap). Three questions, from easy to hard:

- over everything: does a pair with a higher score cost more? (Images and tasks differ so much that this flatters.)
- within each child: across images and parent sets of one task.
- within each (image, child): among the parent sets of one task on one image. Only this decides graphs. Both sides are
  taken relative to their mean over the group, then pooled.

And the question behind them: of what the best graph per image would save over independent coding, judged by real cost,
how much does the graph chosen by each score save?
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr
from tqdm import tqdm

from atdc.codec import FeatureCodec
from atdc.graph import search
from atdc.graph.scores import Pair, graph_costs
from atdc.graph.task_graph import TaskGraph
from atdc.metrics.tasks import FloatArray
from atdc.provenance import provenance, write_result
from atdc_bench.experiments.evaluated_codec import (
    DEFAULT_DATA,
    EvaluatedCodec,
    LabelledImages,
    features_at,
    load_evaluated_codec,
    open_rooms,
    require_images,
)


@dataclass(frozen=True)
class Agreement:
    """How well a score predicts a cost.

    Attributes:
        spearman: rank correlation.
        slope: of the least-squares line cost = slope * score + constant; 1 where the score is in the cost's unit.
        r2: share of the cost's variance that this line explains.
        pairs: how many (score, cost) pairs.
    """

    spearman: float
    slope: float
    r2: float
    pairs: int


def agreement(score: FloatArray, cost: FloatArray) -> Agreement:
    """Spearman, slope and R² of two arrays of one shape; zeros where either does not vary.

    >>> agreement(np.array([1.0, 2, 3, 4]), np.array([3.0, 5, 7, 9]))
    Agreement(spearman=1.0, slope=2.0, r2=1.0, pairs=4)
    """
    x, y = score.ravel().astype(np.float64), cost.ravel().astype(np.float64)
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        return Agreement(0.0, 0.0, 0.0, len(x))
    centred_x, centred_y = x - x.mean(), y - y.mean()
    covariance = float(centred_x @ centred_y)
    spread_x, spread_y = float(centred_x @ centred_x), float(centred_y @ centred_y)
    rank = float(spearmanr(x, y).statistic)
    return Agreement(rank, covariance / spread_x, covariance**2 / (spread_x * spread_y), len(x))


def compare(score: FloatArray, cost: FloatArray, pairs: Sequence[Pair], names: Sequence[str]) -> dict[str, Any]:
    """The three agreements of a score (B, P) with a cost (B, P).

    Args:
        score: predicted, per image and pair.
        cost: real, likewise.
        pairs: what the columns are.
        names: of the tasks, by index.

    Returns:
        ``overall``; ``within_child`` by task and their mean Spearman; ``within_image_and_child``, whose Spearman is
        the mean over groups.
    """
    children = np.array([child for child, _ in pairs])
    by_child: dict[str, Any] = {}
    inner_score, inner_cost = np.zeros_like(score), np.zeros_like(cost)
    ranks = []
    for child, name in enumerate(names):
        columns = np.flatnonzero(children == child)
        own_score, own_cost = score[:, columns], cost[:, columns]
        by_child[name] = asdict(agreement(own_score, own_cost))
        inner_score[:, columns] = own_score - own_score.mean(1, keepdims=True)
        inner_cost[:, columns] = own_cost - own_cost.mean(1, keepdims=True)
        ranks += [agreement(s, c).spearman for s, c in zip(own_score, own_cost, strict=True)]
    within = asdict(agreement(inner_score, inner_cost)) | {"spearman": float(np.mean(ranks))}
    return {
        "overall": asdict(agreement(score, cost)),
        "within_child": by_child,
        "within_child_mean_spearman": float(np.mean([row["spearman"] for row in by_child.values()])),
        "within_image_and_child": within,
    }


def saving_kept(choosers: dict[str, FloatArray], judge: FloatArray, size: int, max_parents: int) -> dict[str, float]:
    """What share of the possible saving over independent coding each score's graphs keep, as a judge counts cost.

    Args:
        choosers: scores (B, P) by name; each chooses its own exact graph per image.
        judge: costs (B, P) that count; its own exact graphs are the most that can be saved (share 1).
        size: tasks.
        max_parents: ``K``.

    Returns:
        Shares by chooser; ``best_fixed``, the graph of least mean judged cost, among them; and ``possible_percent``,
        what the judge's own exact graphs save of the independent cost.
    """
    costs = {name: graph_cost(search.exact_batch(score, size, max_parents), judge) for name, score in choosers.items()}
    alone = graph_cost([TaskGraph.independent(size)] * len(judge), judge).sum()
    best = graph_cost(search.exact_batch(judge, size, max_parents), judge).sum()
    fixed = search.exact_batch(judge.mean(0, keepdims=True), size, max_parents)[0]
    costs["best_fixed"] = graph_cost([fixed] * len(judge), judge)
    possible = alone - best
    shares = {name: float((alone - cost.sum()) / possible) if possible > 0 else 0.0 for name, cost in costs.items()}
    return shares | {"possible_percent": float(100 * possible / alone)}


def graph_cost(graphs: Sequence[TaskGraph], costs: FloatArray) -> FloatArray:
    """What each image's graph costs, (B,), by costs (B, P) in the order of all candidate pairs."""
    distinct = list(dict.fromkeys(graphs))
    table = graph_costs(costs, distinct)
    which = np.array([distinct.index(graph) for graph in graphs])
    return np.asarray(table[which, np.arange(len(graphs))], np.float64)


@dataclass(frozen=True)
class PairTables:
    """Everything known of every (image, pair) at one quality; arrays (B, P).

    Attributes:
        bits: ideal bits of the child's segment.
        cost: bits plus squared error at the Lagrange multiplier of that quality; what a choice should minimise.
        full: the full score.
        cheap: the rate estimator's prediction.
    """

    bits: FloatArray
    cost: FloatArray
    full: FloatArray
    cheap: FloatArray


def pair_tables(
    evaluated: EvaluatedCodec,
    data: LabelledImages,
    indices: Sequence[int],
    quality: float,
    batch: int = 25,
    quiet: bool = True,
) -> PairTables:
    """Codes every child from every parent set, and scores it, on some images."""
    codec = evaluated.feature_codec
    multipliers = codec.costs.lagrange_multipliers(quality)[[child for child, _ in codec.pairs]]
    rows: list[tuple[NDArray[np.float64], ...]] = []
    starts = range(0, len(indices), batch)
    for start in tqdm(starts, unit="batch", desc=f"quality {quality:g}", disable=quiet):
        features = codec.normalise(features_at(evaluated, data, indices[start : start + batch]))
        bits, errors = codec.costs.pair_costs(features, quality)
        cost = bits + errors * multipliers
        rows.append(
            (bits, cost, codec.costs.full_scores(features, quality), codec.costs.estimated_costs(features, quality))
        )
    return PairTables(*(np.concatenate(column) for column in zip(*rows, strict=True)))


def score_calibration_at(tables: PairTables, codec: FeatureCodec) -> dict[str, Any]:
    """The result at one quality."""
    names, pairs = codec.task_names, codec.pairs
    choosers = {"full": tables.full, "cheap": tables.cheap}
    arguments = (codec.task_count, codec.config.max_parents)
    return {
        "mean_bits_independent": float(tables.bits[:, [i for i, (_, p) in enumerate(pairs) if not p]].sum(1).mean()),
        "bits": {name: compare(score, tables.bits, pairs, names) for name, score in choosers.items()},
        "cost": {name: compare(score, tables.cost, pairs, names) for name, score in choosers.items()},
        "saving_kept": {
            "judged_by_bits": saving_kept(choosers, tables.bits, *arguments),
            "judged_by_cost": saving_kept(choosers, tables.cost, *arguments),
            "judged_by_full_score": saving_kept({"cheap": tables.cheap}, tables.full, *arguments),
        },
    }


def run_score_calibration(
    model: str | Path = "small",
    data: Path = DEFAULT_DATA,
    out: Path = Path("results/score_calibration_small.json"),
    *,
    split: str = "test",
    count: int = 250,
    qualities: Sequence[float] = (1, 4, 7),
    batch: int = 25,
    quiet: bool = False,
) -> dict[str, Any]:
    """Compares scores with bits on the first images of a split and writes the result.

    Args:
        model: name or weights file.
        data: folder of rooms.
        out: the result, JSON.
        split: of the rooms.
        count: images.
        qualities: at which everything is coded.
        batch: images at once.
        quiet: no progress bars.

    Returns:
        What was written.
    """
    evaluated, rooms = load_evaluated_codec(model), open_rooms(data, split)
    require_images(rooms, count)
    codec = evaluated.feature_codec
    result = {
        "what": "Scores against real coding cost per (image, child, parent set); parents decoded at the same quality "
        "along the fixed graph. bits: ideal bits of the child's segment. cost: bits plus squared error at the exchange "
        "rate of the quality. full: the predictor's divergence in bits. cheap: the rate estimator.",
        "provenance": provenance(weights=codec.fingerprint.hex()),
        "data": {"name": "rooms", "split": split, "images": count, "pairs": len(codec.pairs)},
        "qualities": {
            f"{q:g}": score_calibration_at(pair_tables(evaluated, rooms, range(count), q, batch, quiet), codec)
            for q in qualities
        },
    }
    write_result(out, result)
    return result
