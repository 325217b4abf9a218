"""`atdc bench entropy-models`: what adapting graphs to images earns when tables know little, and when they know much.

Three codecs of the same transforms and predictor, trained equally long from the same weights: one density for each
latent channel (factorised), a hyper-latent, and a hyper-latent with parents' context. Each has graphs by its own costs:
every image is coded from every parent set, so no rate estimator stands between. *Adaptive* is the cheapest graph of
each image by those costs, or the fixed one where that really costs less: about the most that a choice per image can
save. *Fixed* is the graph that really costs least for the mean of validation images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor
from tqdm import tqdm

from atdc.codec import FeatureCodec
from atdc.errors import ArgumentError
from atdc.graph import search
from atdc.graph.task_graph import TaskGraph
from atdc.provenance import provenance, write_result
from atdc.training.fixed_graphs import settled
from atdc_bench.baselines.mixed_graphs import MIX
from atdc_bench.baselines.trainer import Row
from atdc_bench.experiments.compare import Place
from atdc_bench.experiments.evaluate import measure_answers, normalised_loss
from atdc_bench.experiments.evaluated_codec import batches, open_rooms, require_images
from atdc_bench.measures.rate_distortion import bd_rate

MODELS: dict[str, dict[str, Any]] = {
    "factorised": {"parents": "prediction", "factorised": "all"},
    "hyperprior": {"parents": "prediction"},
    "context": {},
}
"""Settings of each codec that differ from the base's."""
CHOICES = ("adaptive", "fixed", "independent")


def row(name: str) -> Row:
    """How a codec is made: from the base's weights, trained further on the base's mixture of graphs."""
    return Row(
        f"entropy-{name}", name,
        choose=lambda codec, features, quality: [TaskGraph.independent(codec.task_count)] * len(features),
        graphs=lambda trainer, split: trainer.mixed(split, MIX),
        model=lambda base: MODELS[name],
    )  # fmt: skip


def run_entropy_models(
    recipe: Path,
    run: Path,
    data: Path,
    out: Path,
    *,
    steps: int = 200,
    count: int = 40,
    qualities: Sequence[float] = (1, 3, 5, 7),
    quiet: bool = False,
) -> dict[str, Any]:
    """Trains the three codecs as far as they are not yet, measures them, and writes the result.

    Args:
        recipe: of a comparison; says base, learning rate and batch.
        run: the comparison's folder of checkpoints and features.
        data: rendered rooms.
        out: the result, JSON.
        steps: of training, for each codec.
        count: test images, and validation images that fixed graphs are chosen on.
        qualities: whole numbers.
        quiet: no progress bar.
    """
    trainer = Place(recipe, data, run / "whole", quick=False).trainer()
    if steps % trainer.budget.per_epoch or steps < trainer.budget.per_epoch:
        raise ArgumentError("steps", str(steps), f"a multiple of {trainer.budget.per_epoch}")
    trainer.budget = replace(trainer.budget, further=steps)
    rooms, bounds = open_rooms(data, "test"), np.array(trainer.base.card["loss_bounds"], np.float64)
    require_images(rooms, count)
    models: dict[str, Any] = {}
    with tqdm(total=len(MODELS) * len(qualities) * 2 * count, unit="image", desc="costs", disable=quiet) as bar:
        for name in MODELS:
            system, trained = trainer.make(row(name))
            parts = list(batches(trainer.base, rooms, range(count)))
            rows = []
            for quality in qualities:
                val = trainer.features["val"].cache.read(np.arange(count))
                fixed = settled(system.codec, val, quality)
                bar.update(count)
                sums = {choice: np.zeros(2) for choice in CHOICES}
                distinct = set()
                for part in parts:
                    adaptive = chosen(system.codec, part.features, quality)
                    distinct |= set(adaptive)
                    graphs = {
                        "adaptive": adaptive,
                        "fixed": [fixed] * len(adaptive),
                        "independent": [TaskGraph.independent(fixed.size)] * len(adaptive),
                    }
                    for choice, image_graphs in graphs.items():
                        files = system.codec.encode_batch(part.features, quality, image_graphs, restore_all=False).data
                        _, loss = measure_answers(trainer.base, system.codec.decode_batch(files), part.targets)
                        sums[choice] += sum(map(len, files)), float(normalised_loss(loss, bounds).sum())
                    bar.update(len(adaptive))
                for choice, (size, loss_sum) in sums.items():
                    rows.append(
                        {"quality": quality, "graphs": choice, "bytes": size / count, "task_loss": loss_sum / count}
                        | ({"distinct": len(distinct)} if choice == "adaptive" else {})
                    )
            compared = {reference: _compared(rows, reference) for reference in CHOICES[1:]}
            models[name] = {"settings": MODELS[name], "trained": trained, "points": rows, "adaptive_against": compared}
    result = {
        "what": "Bytes at equal task loss of graphs chosen per image by what they really cost, against the best single "
        "graph and against independent coding, for three entropy models. Negative: fewer.",
        "provenance": provenance(seed=0, weights=trainer.base.feature_codec.fingerprint.hex()),
        "data": {"name": "rooms", "split": "test", "images": count},
        "models": models,
    }
    write_result(out, result)
    return result


def chosen(codec: FeatureCodec, features: Tensor, quality: float) -> list[TaskGraph]:
    """Each image's graph: the cheapest by the costs of pairs, or the codec's fixed one where that really costs less."""
    limit, level = codec.config.max_parents, int(quality)
    normalised_features = codec.normalise(features)
    measured = codec.costs.measured_costs(normalised_features, quality)
    by_pairs = search.exact_batch(measured, codec.task_count, limit)
    fixed = [codec.graph_tables.fixed[level]] * len(features)
    costs = [codec.costs.total_costs(normalised_features, quality, graphs) for graphs in (by_pairs, fixed)]
    return [graph if a < b else fixed_graph for graph, fixed_graph, a, b in zip(by_pairs, fixed, *costs, strict=True)]


def _compared(rows: Sequence[dict[str, Any]], reference: str) -> dict[str, Any]:
    """Bytes at equal task loss, in percent."""
    curves = {
        choice: ([r["bytes"] for r in rows if r["graphs"] == choice],
                 [-r["task_loss"] for r in rows if r["graphs"] == choice])
        for choice in ("adaptive", reference)
    }  # fmt: skip
    try:
        difference = bd_rate(*curves[reference], *curves["adaptive"])
    except ArgumentError as error:
        return {"refused": str(error)}
    return {"percent": difference.percent, "overlap": difference.overlap, "monotone": difference.monotone}
