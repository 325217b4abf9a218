"""`atdc bench statistics`: which graphs are chosen, how asymmetric predictability is, and how stable the choice."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from atdc.codec import FeatureCodec
from atdc.graph import search
from atdc.graph.scores import Pair
from atdc.graph.task_graph import TaskGraph
from atdc.metrics.tasks import FloatArray
from atdc.provenance import provenance, write_result
from atdc.tasks import LETTERS
from atdc_bench.experiments.evaluated_codec import (
    DEFAULT_DATA,
    EvaluatedCodec,
    as_input,
    images_at,
    load_evaluated_codec,
    open_rooms,
    require_images,
)
from atdc_bench.experiments.score_calibration import graph_cost, saving_kept

JPEG_QUALITY = 90
NOISE_LEVEL = 2 / 255
"""Standard deviation of the slight noise: two grey levels of 255."""
ADAPTIVE = ("codebook", "exact", "greedy", "paper")
"""Settings that choose by image without drawing."""


def graph_statistics(graphs: Sequence[TaskGraph], names: Sequence[str]) -> dict[str, Any]:
    """How some images' graphs are distributed.

    Args:
        graphs: one per image.
        names: of the tasks, by index.

    Returns:
        ``root_share`` by task (an image with several roots counts for each), ``edge_share`` (child name to parent name
        to the share of images with that edge), ``single_root_share``, ``distinct``,
        ``top_ten_share`` and ``top_ten`` (graphs in letters with their shares), ``mean_edges``, ``mean_roots``,
        ``mean_depth`` (edges on the longest path) and ``entropy_bits`` of the graph's distribution.

    >>> graphs = [TaskGraph(((), (0,))), TaskGraph(((), (0,))), TaskGraph(((), ()))]
    >>> result = graph_statistics(graphs, ["a", "b"])
    >>> result["distinct"], result["root_share"]["a"], round(result["mean_edges"], 3)
    (2, 1.0, 0.667)
    """
    number = len(graphs)
    frequency = Counter(graphs)
    letters = LETTERS if len(names) == len(LETTERS) else list(names)
    shares = np.array(list(frequency.values())) / number
    top = frequency.most_common(10)
    return {
        "images": number,
        "root_share": {name: sum(task in graph.roots for graph in graphs) / number for task, name in enumerate(names)},
        "edge_share": {
            name: {names[parent]: count / number for parent, count in sorted(parents.items())}
            for name, parents in zip(names, _parents(graphs), strict=True)
        },
        "single_root_share": sum(len(graph.roots) == 1 for graph in graphs) / number,
        "distinct": len(frequency),
        "top_ten_share": sum(count for _, count in top) / number,
        "top_ten": [{"graph": graph.describe(letters), "share": count / number} for graph, count in top],
        "mean_edges": float(np.mean([len(graph.edges) for graph in graphs])),
        "mean_roots": float(np.mean([len(graph.roots) for graph in graphs])),
        "mean_depth": float(np.mean([_depth(graph) for graph in graphs])),
        "entropy_bits": float(-(shares * np.log2(shares)).sum()) + 0.0,
    }


def _parents(graphs: Sequence[TaskGraph]) -> list[Counter[int]]:
    """How often each task has each other as a parent."""
    return [Counter(parent for graph in graphs for parent in graph.parents[task]) for task in range(graphs[0].size)]


def _depth(graph: TaskGraph) -> int:
    return max(graph.layers)


def asymmetry(scores: FloatArray, pairs: Sequence[Pair], names: Sequence[str]) -> dict[str, Any]:
    """How much better one task predicts another than the other way round.

    The gain of a single parent is ``g(p → c) = score[c, {}] - score[c, {p}]``, in bits.

    Args:
        scores: (B, P).
        pairs: what the columns are.
        names: of the tasks, by index.

    Returns:
        ``mean_gain_bits``: parent name to child name to the mean over images; ``mean_relative_asymmetry``: the mean
        over images of Σ |g(p→c) - g(c→p)| / Σ (|g(p→c)| + |g(c→p)|), 0 for symmetric gains, 1 for one-way ones;
        ``direction_changes``: over pairs of tasks, the mean share of images in which the direction of the larger gain
        is not the usual one of that pair.
    """
    column = {pair: place for place, pair in enumerate(pairs)}
    tasks = range(len(names))
    gain = np.zeros((len(scores), len(names), len(names)))
    for child in tasks:
        for parent in tasks:
            if parent != child:
                gain[:, parent, child] = scores[:, column[child, ()]] - scores[:, column[child, (parent,)]]
    difference = np.abs(gain - gain.transpose(0, 2, 1)).sum((1, 2))
    total = 2 * np.abs(gain).sum((1, 2))
    forward = (gain > gain.transpose(0, 2, 1)).mean(0)
    upper = np.triu_indices(len(names), 1)
    return {
        "mean_gain_bits": {
            names[parent]: {names[child]: float(gain[:, parent, child].mean()) for child in tasks if child != parent}
            for parent in tasks
        },
        "mean_relative_asymmetry": float((difference / np.maximum(total, 1e-12)).mean()),
        "direction_changes": float(np.minimum(forward, 1 - forward)[upper].mean()),
    }


# --- disturbances ----------------------------------------------------------------------------------------------------


def jpeg(images: NDArray[np.uint8], seed: int) -> NDArray[np.uint8]:
    """Images (B, 3, H, W) through JPEG at quality 90."""
    result = []
    for image in images:
        buffer = io.BytesIO()
        Image.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0))).save(buffer, "JPEG", quality=JPEG_QUALITY)
        with Image.open(buffer) as pixels:
            result.append(np.asarray(pixels.convert("RGB")).transpose(2, 0, 1))
    return np.stack(result)


def slight_noise(images: NDArray[np.uint8], seed: int) -> NDArray[np.uint8]:
    """Gaussian noise of two grey levels, rounded to bytes."""
    noise = np.random.default_rng(seed).normal(0, 255 * NOISE_LEVEL, images.shape)
    return np.clip(np.round(images + noise), 0, 255).astype(np.uint8)


def flip(images: NDArray[np.uint8], seed: int) -> NDArray[np.uint8]:
    """Left to right."""
    return np.ascontiguousarray(images[..., ::-1])


DISTURBANCES: dict[str, Callable[[NDArray[np.uint8], int], NDArray[np.uint8]]] = {
    "jpeg_quality_90": jpeg,
    "noise_2_of_255": slight_noise,
    "horizontal_flip": flip,
}


def stability(graphs: Sequence[TaskGraph], disturbed: Sequence[TaskGraph], costs: FloatArray) -> dict[str, float]:
    """How often a disturbance of the image changes its graph, and what the changed graph costs the image.

    Args:
        graphs: of the images as they are.
        disturbed: of the disturbed images.
        costs: scores (B, P) of the images as they are.

    Returns:
        ``changed_share``; ``edges_changed``, the mean share of the edges of either graph that are not in both; and
        ``extra_cost_percent``, what coding the images along the disturbed ones' graphs adds to their scored cost.
    """
    pairs = list(zip(graphs, disturbed, strict=True))
    all_edges = sum(len(set(a.edges) | set(b.edges)) for a, b in pairs)
    common_edges = sum(len(set(a.edges) & set(b.edges)) for a, b in pairs)
    cost, disturbed_cost = graph_cost(graphs, costs).sum(), graph_cost(disturbed, costs).sum()
    return {
        "changed_share": sum(a != b for a, b in pairs) / len(pairs),
        "edges_changed": 1 - common_edges / all_edges if all_edges else 0.0,
        "extra_cost_percent": float(100 * (disturbed_cost - cost) / cost) if cost else 0.0,
    }


# --- the command -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Choices:
    """What was chosen and scored for some images at one quality.

    Attributes:
        full: full scores, (N, P).
        cheap: cheap scores, (N, P).
        graphs: by setting, one graph per image as it is.
        disturbed: by disturbance and setting, one graph per disturbed image.
    """

    full: FloatArray
    cheap: FloatArray
    graphs: dict[str, list[TaskGraph]]
    disturbed: dict[str, dict[str, list[TaskGraph]]]

    @classmethod
    def joined(cls, parts: Sequence[Choices]) -> Choices:
        """Choices of several sets of images, in order."""

        def chained(rows: Sequence[dict[str, list[TaskGraph]]]) -> dict[str, list[TaskGraph]]:
            return {setting: [graph for row in rows for graph in row[setting]] for setting in rows[0]}

        return cls(
            np.concatenate([part.full for part in parts]),
            np.concatenate([part.cheap for part in parts]),
            chained([part.graphs for part in parts]),
            {name: chained([part.disturbed[name] for part in parts]) for name in parts[0].disturbed},
        )


def choices_of(
    evaluated: EvaluatedCodec, images: NDArray[np.uint8], qualities: Sequence[float], seed: int
) -> dict[float, Choices]:
    """Scores and chosen graphs of a batch of images (B, 3, H, W) and of their disturbed versions, by quality."""
    codec = evaluated.feature_codec
    versions = {"": images} | {name: disturb(images, seed) for name, disturb in DISTURBANCES.items()}
    features = {name: evaluated.features_of(as_input(pixels)) for name, pixels in versions.items()}
    # The paper's setting knows no quality, and scores with the whole predictor: once is enough.
    paper = {name: codec.choose_graphs(rows, qualities[0], "paper") for name, rows in features.items()}

    def chosen(name: str, quality: float) -> dict[str, list[TaskGraph]]:
        return {
            setting: paper[name] if setting == "paper" else codec.choose_graphs(features[name], quality, setting)
            for setting in ADAPTIVE
        }

    return {
        quality: Choices(
            codec.costs.full_scores(codec.normalise(features[""]), quality),
            codec.costs.estimated_costs(codec.normalise(features[""]), quality),
            chosen("", quality),
            {name: chosen(name, quality) for name in DISTURBANCES},
        )
        for quality in qualities
    }


def statistics_at(choices: Choices, codec: FeatureCodec) -> dict[str, Any]:
    """Graph statistics, asymmetry, stability, and the rate estimator's share of the saving, at one quality."""
    names, limit = codec.task_names, codec.config.max_parents
    by_full_score = search.exact_batch(choices.full, codec.task_count, limit)
    return {
        "graphs": {
            **{setting: graph_statistics(graphs, names) for setting, graphs in choices.graphs.items()},
            "exact_by_full_score": graph_statistics(by_full_score, names),
        },
        "asymmetry": {
            "full_score": asymmetry(choices.full, codec.pairs, names),
            "cheap_score": asymmetry(choices.cheap, codec.pairs, names),
        },
        "stability": {
            name: {
                setting: stability(choices.graphs[setting], graphs, choices.cheap) for setting, graphs in chosen.items()
            }
            for name, chosen in choices.disturbed.items()
        },
        "full_score_saving_kept_by_cheap_scorer": saving_kept(
            {"cheap": choices.cheap}, choices.full, codec.task_count, limit
        ),
    }


def run_statistics(
    model: str | Path = "small",
    data: Path = DEFAULT_DATA,
    out: Path = Path("results/statistics_small.json"),
    *,
    split: str = "test",
    count: int = 1000,
    qualities: Sequence[float] = (1, 4, 7),
    batch: int = 25,
    seed: int = 0,
    quiet: bool = False,
) -> dict[str, Any]:
    """Gathers statistics of the chosen graphs on the first images of a split and writes the result.

    Args:
        model: name or weights file.
        data: folder of rooms.
        out: the result, JSON.
        split: of the rooms.
        count: images.
        qualities: at which graphs are chosen.
        batch: images at once.
        seed: of the noise.
        quiet: no progress bars.

    Returns:
        What was written.
    """
    evaluated, rooms = load_evaluated_codec(model), open_rooms(data, split)
    require_images(rooms, count)
    codec = evaluated.feature_codec
    parts = [
        choices_of(evaluated, images_at(rooms, range(start, min(start + batch, count))), qualities, seed + start)
        for start in tqdm(range(0, count, batch), unit="batch", desc="statistics", disable=quiet)
    ]
    result = {
        "what": "Task graphs chosen per image: their distribution, the asymmetry of pairwise gains (bits), how often "
        "the choice changes when the image is slightly disturbed, and the share of the full score's saving over "
        "independent coding that graphs chosen by the rate estimator keep.",
        "provenance": provenance(seed=seed, weights=codec.fingerprint.hex()),
        "data": {"name": "rooms", "split": split, "images": count},
        "qualities": {f"{q:g}": statistics_at(Choices.joined([part[q] for part in parts]), codec) for q in qualities},
    }
    write_result(out, result)
    return result
