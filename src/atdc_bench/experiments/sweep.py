"""`atdc bench sweep`: the paper's two numbers, K (most parents) and τ (least gain), and what they cost in real bytes.

The same images and codec along the graphs of the paper's greedy search for several K and τ, and along the exact graphs
of the predictor's score in bits for several K. The codec was trained with two parents at most; sets of three it has
hardly met, and the result says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from atdc.choice.graphs import paper_graphs
from atdc.codec import FeatureCodec
from atdc.errors import WeightsError
from atdc.graph.task_graph import TaskGraph
from atdc.provenance import provenance, write_result
from atdc_bench.experiments.evaluate import Objective, measure_answers, normalised_loss
from atdc_bench.experiments.evaluated_codec import (
    DEFAULT_DATA,
    batches,
    load_evaluated_codec,
    open_rooms,
    require_images,
)
from atdc_bench.measures.predicted_graphs import best_graphs


@torch.no_grad()
def exact_graphs(codec: FeatureCodec, features: Tensor, quality: float, max_parents: int) -> list[TaskGraph]:
    """The cheapest graph of each image by the predictor's score in bits, for any K.

    Args:
        codec: with the predictor.
        features: raw, (B, T, C, h, w).
        quality: a whole number.
        max_parents: K.
    """
    distortion = torch.from_numpy(codec.graph_tables.distortion[int(quality)])
    return best_graphs(codec.networks.predictor, codec.normalise(features), distortion, max_parents)


def run_sweep(
    model: str | Path = "small",
    data: Path = DEFAULT_DATA,
    out: Path = Path("results/sweep_small.json"),
    *,
    split: str = "test",
    count: int = 100,
    qualities: Sequence[float] = (1, 4, 7),
    parents: Sequence[int] = (1, 2, 3),
    thresholds: Sequence[float] = (0.05, 0.1, 0.2, 0.4),
    quiet: bool = False,
) -> dict[str, Any]:
    """Codes the first images of a split under every K and τ, and writes the result.

    Args:
        model: name or weights file.
        data: folder of rooms.
        out: the result, JSON.
        split: of the rooms.
        count: images.
        qualities: whole numbers.
        parents: values of K.
        thresholds: values of τ, with K = 2 and the paper's 0.2 among them.
        quiet: no progress bar.

    Returns:
        What was written: per quality and setting mean bytes, task loss, objective, edges and distinct graphs.
    """
    evaluated, rooms = load_evaluated_codec(model), open_rooms(data, split)
    require_images(rooms, count)
    codec, objective = evaluated.feature_codec, Objective.of(evaluated.card)
    settings: dict[str, tuple[int, float | None]] = {f"paper, K {k}, τ 0.2": (k, 0.2) for k in parents}
    settings |= {f"paper, K 2, τ {tau:g}": (2, tau) for tau in thresholds}
    settings |= {f"exact by predictor, K {k}": (k, None) for k in parents}
    sums = {(q, name): np.zeros(3) for q in qualities for name in settings}
    graphs: dict[tuple[float, str], list[TaskGraph]] = {key: [] for key in sums}
    if objective.bounds is None:
        raise WeightsError(
            str(model), "a card without loss bounds", "weights that were trained here", "Train them again."
        )
    with tqdm(total=count * len(sums), unit="image", desc="sweep", disable=quiet) as bar:
        for batch in batches(evaluated, rooms, range(count)):
            features, coded = batch.features, len(batch.features)
            by_image = {
                name: paper_graphs(codec.networks.predictor, codec.normalise(features), k, tau)
                for name, (k, tau) in settings.items()
                if tau is not None
            }
            for quality, name in sums:
                limit = settings[name][0]
                chosen = by_image.get(name) or exact_graphs(codec, features, quality, limit)
                encoded = codec.encode_batch(features, quality, chosen, restore_all=False)
                _, loss = measure_answers(evaluated, codec.decode_batch(encoded.data), batch.targets)
                normalised = float(normalised_loss(loss, objective.bounds).sum())
                sums[quality, name] += (sum(map(len, encoded.data)), normalised, coded)
                graphs[quality, name] += chosen
                bar.update(coded)
    elements = features[0].numel()
    rows = []
    for (quality, name), (size, loss_sum, images) in sums.items():
        chosen_graphs, mean_bytes, task_loss = graphs[quality, name], size / images, loss_sum / images
        limit, threshold = settings[name]
        figures = {
            "bytes": mean_bytes,
            "task_loss": task_loss,
            "total_loss": 8 * mean_bytes / elements + objective.weight(quality) * task_loss,
            "mean_edges": float(np.mean([len(graph.edges) for graph in chosen_graphs])),
            "distinct": len(set(chosen_graphs)),
        }
        rows.append({"quality": quality, "setting": name, "max_parents": limit, "threshold": threshold, **figures})
    result = {
        "what": "The paper's search for several K (most parents) and τ (least gain), and exact graphs by the "
        "predictor's score, on one codec that was trained with at most two parents. total_loss: file bits per feature "
        "element + Λ(q) * mean normalised task loss.",
        "provenance": provenance(weights=codec.fingerprint.hex()),
        "data": {"name": "rooms", "split": split, "images": count},
        "rows": rows,
    }
    write_result(out, result)
    return result
