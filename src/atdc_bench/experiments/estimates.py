"""`atdc bench estimates`: how well the rate estimator tells what files of wanted sets take, before anything is coded.

The estimator gives the cost ``J = R + w·D`` of each tensor given each parent set, so of a graph over a set ``J`` is the
sum over its edges. Nothing in the codec estimates the length of a file on its own: within a number of bytes it codes
real files (:mod:`atdc.choice.budget`). Where weights keep mean bits and errors of pairs for wanted sets, the share of
bits in those means turns the estimated ``J`` into an estimated length; that is measured next to it.

For every set, test image and quality, several graphs over the set are coded to real files. ``J`` measured is the file's
bits and the squared errors of the decoded tensors at the Lagrange multiplier of the quality. Ranks among the graphs of
one set and image are what choosing a graph needs. Next to them stand the ranks by measured costs of pairs, each coded
on its own with parents as the fixed graph leaves them: what sums over pairs could tell at best.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import spearmanr
from tqdm import tqdm

from atdc.bitstream.container import ContainerReader
from atdc.codec import FeatureCodec
from atdc.config import nearest_integer_quality, quality_steps
from atdc.data.data_sets import labelled
from atdc.data.feature_source import evenly_spaced
from atdc.errors import ArgumentError
from atdc.graph import search
from atdc.graph.scores import ScoreTable, candidate_sets, pair_index
from atdc.graph.task_graph import TaskGraph
from atdc.graph.wanted import at_quality
from atdc.pipeline import load
from atdc.provenance import provenance, write_result
from atdc_bench.baselines.subset_files import Sent, SubsetFiles, ancestry
from atdc_bench.experiments.evaluated_codec import DEFAULT_DATA, features_at, image_size, require_images
from atdc_bench.experiments.wanted_sets import subsets, tasks_of

Floats = NDArray[np.float64]

GRAPHS = 12
"""Of each set, as far as there are so many over it."""
_RANKED = 4
"""Ranks of fewer graphs say little: two tensors have three graphs."""
_HIGH = 0.9
_RESAMPLES = 1000


def drawn_sets(count: int, seed: int) -> tuple[str, ...]:
    """So many sets of tasks by their letters, of all sizes in turn, drawn by a generator of this seed; all tasks are
    always among them.

    Raises:
        ArgumentError: none, or more than there are.

    >>> sorted(map(len, drawn_sets(8, seed=0)))
    [1, 1, 2, 2, 3, 4, 5, 6]
    """
    if not 1 <= count <= len(subsets()):
        raise ArgumentError("set_count", str(count), f"1 to {len(subsets())} sets")
    rng = np.random.default_rng(seed)
    largest = len(subsets()[-1])
    pools = {size: [letters for letters in subsets() if len(letters) == size] for size in range(1, largest + 1)}
    drawn = pools.pop(largest)
    while len(drawn) < count:
        for size in [size for size, letters in pools.items() if letters][: count - len(drawn)]:
            drawn.append(pools[size].pop(int(rng.integers(len(pools[size])))))
    return tuple(sorted(drawn, key=subsets().index))


def graphs_over(codec: FeatureCodec, tasks: Sequence[int], quality: float, rng: np.random.Generator) -> list[TaskGraph]:
    """Distinct graphs over a set: the fixed and the candidate ones within it, no edges, and random ones."""
    level, limit = nearest_integer_quality(quality, codec.task_count), codec.config.max_parents
    pool = [codec.graph_tables.fixed[level], *codec.graph_tables.candidates, TaskGraph.independent(codec.task_count)]
    graphs = dict.fromkeys(graph.within(tasks) for graph in pool)
    for _ in range(4 * GRAPHS):
        if len(graphs) >= GRAPHS:
            break
        scores = rng.random(len(candidate_sets(len(tasks), limit)))
        graph = search.random_order(ScoreTable.of(len(tasks), scores, limit), rng, limit)
        graphs[graph.expanded(tasks, codec.task_count)] = None
    return list(graphs)[:GRAPHS]


def run_estimates(
    model: str | Path = "real",
    data: Path = DEFAULT_DATA,
    out: Path = Path("results/estimates_rooms.json"),
    *,
    name: str = "rooms",
    split: str = "test",
    count: int = 12,
    set_count: int = 40,
    qualities: Sequence[float] = (1, 4, 7),
    seed: int = 0,
    quiet: bool = False,
) -> dict[str, Any]:
    """Compares estimated costs of graphs over wanted sets with what real files take, and writes the result.

    Args:
        model: name or weights file.
        data: folder of the data set.
        out: the result, JSON.
        name: of the data set, ``rooms`` or ``nyuv2``.
        split: of it.
        count: images, evenly spaced over the split.
        set_count: sets of tasks, of all sizes.
        qualities: of all tensors.
        seed: of the sets, of random graphs and of the bootstrap.
        quiet: no progress bar.

    Returns:
        What was written.

    Raises:
        ArgumentError: fewer sets than one, or more than there are.
        DataError: fewer images than wanted.
    """
    codec, images = load(model), labelled(name, data, split)
    feature_codec = codec.feature_codec
    require_images(images, count)
    letters = drawn_sets(set_count, seed)
    size = image_size(images)
    features = features_at(codec, images, evenly_spaced(len(images), count).tolist())
    by_set = []
    with tqdm(total=len(qualities), unit="quality", desc="estimates", disable=quiet) as bar:
        for quality in qualities:
            rng = np.random.default_rng(seed)
            graphs = {row: graphs_over(feature_codec, tasks_of(row), quality, rng) for row in letters}
            by_set += _of_sets(feature_codec, features, quality, size, graphs)
            bar.update()
    result = {
        "what": "Estimated against measured cost J = R + w·D of graphs over wanted sets, bits of real files: relative "
        "errors, and rank correlations among the graphs of one set and image; by_pairs: ranks by measured costs of "
        "pairs; lost: percent by which the graph of least estimate costs more than the cheapest one; bytes: lengths "
        "of files, estimated J times the mean share of bits that the weights keep. Of each set the median over images "
        "and graphs; by size and quality the median over sets, with 95 % bootstrap intervals over sets.",
        "provenance": provenance(seed=seed, weights=feature_codec.fingerprint.hex()),
        "data": {"name": name, "split": split, "images": count, "height": size[0], "width": size[1]},
        "qualities": list(qualities),
        "graphs_at_most": GRAPHS,
        "by_size": _summaries(by_set, qualities, seed),
        "by_set": by_set,
    }
    write_result(out, result)
    return result


@torch.no_grad()
def _of_sets(
    codec: FeatureCodec, features: torch.Tensor, quality: float, size: tuple[int, int],
    graphs: dict[str, list[TaskGraph]],
) -> list[dict[str, Any]]:  # fmt: skip
    """What came of each set at one quality."""
    batch, costs = codec.normalise(features), codec.costs
    sent_by_set = {letters: [Sent(graph, tasks_of(letters)) for graph in row] for letters, row in graphs.items()}
    files = SubsetFiles(
        codec, features, quality, size, [[sent] * len(batch) for row in sent_by_set.values() for sent in row]
    )
    multipliers, by_pairs = costs.lagrange_multipliers(quality), costs.measured_costs(batch, quality)
    columns = pair_index(codec.task_count, codec.config.max_parents)
    errors = {}
    for key in files.items():
        task = key[-1][0]
        difference = (files.decoded(key) - features[:, task]) / codec.std[task][:, None, None]
        errors[key] = multipliers[task] * difference.square().sum((1, 2, 3)).double().cpu().numpy()
    results = []
    for letters, row in sent_by_set.items():
        tasks = tasks_of(letters)
        places = [[columns[task, sent.graph.parents[task]] for task in tasks] for sent in row]
        estimated = _summed(costs.estimated_costs(batch.only(tasks), quality), places)
        coded = [[files.file(image, sent) for image in range(len(batch))] for sent in row]
        lengths = np.array([[len(data) for data in graph_files] for graph_files in coded], np.float64)
        framing = lengths - [[sum(ContainerReader(data).lengths) for data in graph_files] for graph_files in coded]
        lost = np.array([sum(errors[ancestry(sent.graph, task)] for task in tasks) for sent in row])
        measured = 8 * (lengths - framing) + lost
        of_bits = _share_of_bits(codec, quality, places)
        lengths_told = None if of_bits is None else estimated * of_bits[:, None] / 8 + framing
        best = measured.min(0)
        ranked = len(row) >= _RANKED
        results.append({
            "set": letters, "size": len(tasks), "quality": quality, "graphs": len(row),
            **_errors("cost", estimated, measured),
            **(_errors("bytes", lengths_told, lengths) if lengths_told is not None else {}),
            "rank": _rank(estimated, measured) if ranked else None,
            "by_pairs": _rank(_summed(by_pairs, places), measured) if ranked else None,
            "lost_percent": _rounded(np.median(100 * (_at(measured, estimated.argmin(0)) / best - 1))),
            "spread_percent": _rounded(np.median(100 * (measured.max(0) / best - 1))),
        })  # fmt: skip
    return results


def _summed(costs: Floats, places: Sequence[Sequence[int]]) -> Floats:
    """Costs of pairs (B, P) to those of graphs, (graphs, B)."""
    return np.stack([costs[:, row].sum(1) for row in places])


def _at(values: Floats, rows: NDArray[np.int64]) -> Floats:
    """Of each column the value in the row named for it."""
    return np.take_along_axis(values, rows[None], 0)[0]


def _share_of_bits(codec: FeatureCodec, quality: float, places: Sequence[Sequence[int]]) -> Floats | None:
    """What share of each graph's mean cost is bits, (graphs,), as weights keep it for wanted sets; None if not."""
    wanted = codec.graph_tables.wanted
    if wanted is None:
        return None
    children, steps = [child for child, _ in codec.pairs], quality_steps(quality, codec.task_count)
    rates, errors = (
        _summed(at_quality(table, children, steps)[None], places)[:, 0] for table in (wanted.rates, wanted.errors)
    )
    return rates / (rates + errors)


def _errors(of: str, estimated: Floats, measured: Floats) -> dict[str, float]:
    relative = 100 * (estimated / measured - 1)
    return {
        f"{of}_error_percent": _rounded(np.median(abs(relative))),
        f"{of}_bias_percent": _rounded(np.median(relative)),
    }


def _rank(estimated: Floats, measured: Floats) -> float:
    """The median over images of the rank correlation among graphs."""
    pairs = zip(estimated.T, measured.T, strict=True)
    return _rounded(np.median([float(spearmanr(estimate, real).statistic) for estimate, real in pairs]))


def _summaries(by_set: Sequence[dict[str, Any]], qualities: Sequence[float], seed: int) -> list[dict[str, Any]]:
    """By number of tensors and quality, and of all numbers (size None)."""
    sizes: list[int | None] = [None, *sorted({row["size"] for row in by_set})]
    summaries = []
    for quality in qualities:
        for size in sizes:
            rows = [row for row in by_set if row["quality"] == quality and size in (None, row["size"])]
            ranks = [row["rank"] for row in rows if row["rank"] is not None]
            summary: dict[str, Any] = {"size": size, "quality": quality, "sets": len(rows), "ranked_sets": len(ranks)}
            for key in ("cost_error_percent", "cost_bias_percent", "bytes_error_percent", "bytes_bias_percent", "rank",
                        "by_pairs", "lost_percent", "spread_percent"):  # fmt: skip
                summary[key] = _median([row[key] for row in rows if row.get(key) is not None], seed)
            summary["high_ranks"] = _rounded(np.mean(np.array(ranks) >= _HIGH)) if ranks else None
            summaries.append(summary)
    return summaries


def _median(values: Sequence[float], seed: int) -> list[float] | None:
    """The median and its 95 % interval over sets; None of nothing."""
    if not values:
        return None
    drawn = np.random.default_rng(seed).choice(values, (_RESAMPLES, len(values)))
    return [_rounded(value) for value in (np.median(values), *np.quantile(np.median(drawn, 1), [0.025, 0.975]))]


def _rounded(value: Any) -> float:
    return round(float(value), 3)
