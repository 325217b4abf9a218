"""`atdc bench own-graphs`: what it is worth that a codec is trained, and codes, along a graph of each image's own.

Three arms go on from the same weights, for as many steps, on the same batches, at one quality and with at most K
parents:

- own: each image's best graph by the rate estimator's costs;
- shuffled: the same graphs, each given to another image: as many graphs as often, chosen for somebody else;
- one: the one graph that costs least in the mean over training images.

Own minus shuffled is what adapting to the image is worth, and nothing else differs between them. One against both says
what it costs a codec to know many graphs. Graphs follow from the base's rate estimator in all arms, seeds and images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats
from tqdm import tqdm

from atdc.codec import FeatureCodec
from atdc.config import MAX_QUALITY
from atdc.data.data_sets import labelled
from atdc.errors import ArgumentError
from atdc.graph import search
from atdc.graph.task_graph import TaskGraph
from atdc.provenance import provenance, write_result
from atdc.training.graph_source import GraphSource
from atdc_bench.baselines.graph_sources import GraphOfEach, OneGraph
from atdc_bench.baselines.trainer import BaselineTrainer, Row
from atdc_bench.compare_recipe import Budget
from atdc_bench.experiments.adaptivity import percent_over
from atdc_bench.experiments.evaluate import Objective, measure_answers, normalised_loss
from atdc_bench.experiments.evaluated_codec import DEFAULT_DATA, Batch, batches, require_images
from atdc_bench.experiments.set_codecs import PER_EPOCH, RATE, trainer_of

ARMS = ("own", "shuffled", "one")
_BLOCK = 25


def shuffled(graphs: Sequence[TaskGraph], seed: int) -> list[TaskGraph]:
    """The same graphs, each given to another image: places along a random circle.

    >>> graphs = [TaskGraph.independent(2), TaskGraph(((), (0,)))]
    >>> shuffled(graphs, 0) == graphs[::-1]
    True
    """
    circle = np.random.default_rng(seed).permutation(len(graphs))
    shuffled_graphs = list(graphs)
    for place, after in zip(circle.tolist(), np.roll(circle, -1).tolist(), strict=True):
        shuffled_graphs[place] = graphs[after]
    return shuffled_graphs


@dataclass(frozen=True)
class Graphs:
    """Graphs by the base's costs, of some images at one quality.

    Attributes:
        own_graphs: each image's best.
        one_graph: the best for all of them.
    """

    own_graphs: list[TaskGraph]
    one_graph: TaskGraph

    @classmethod
    def of(cls, costs: NDArray[np.floating[Any]], tensors: int, limit: int) -> Graphs:
        """From costs of pairs (N, P)."""
        exact = search.SEARCHES["exact"]
        rows = costs.astype(np.float64)
        *own_graphs, one_graph = exact(np.vstack([rows, rows.mean(0)]), tensors, limit, np.random.default_rng)
        return cls(own_graphs, one_graph)

    def of_arm(self, arm: str, seed: int, one_graph: TaskGraph) -> list[TaskGraph]:
        """What an arm codes images along; `one_graph` is that of the training images."""
        if arm == "one":
            return [one_graph] * len(self.own_graphs)
        return self.own_graphs if arm == "own" else shuffled(self.own_graphs, seed)


def run_own_graphs(
    model: str | Path = "real",
    data: Path = DEFAULT_DATA,
    out: Path = Path("results/own_graphs.json"),
    *,
    real: Path | None = None,
    recipe: str | Path = "real_subsets",
    images: str = "nyuv2",
    count: int = 100,
    quality: int = 4,
    steps: int = 3000,
    seeds: int = 3,
    run: Path = Path("runs/own_graphs"),
    quiet: bool = False,
) -> dict[str, Any]:
    """Trains the arms as far as they are not yet, measures them on test images, and writes the result.

    Args:
        model: name or weights file that all start from.
        data: folder of the training images, of rooms where there are two data sets.
        out: the result, JSON.
        real: folder of the real images with rooms.
        recipe: how the weights' codec was trained.
        images: data set that is measured on; in `real` where that is given, else in `data`.
        count: images of its test split.
        quality: the integer quality of training and measuring.
        steps: of each arm and seed.
        seeds: trainings of each arm, each with batches and a shuffle of its own; 2 or more.
        run: checkpoints and cached features.
        quiet: no progress bar.

    Returns:
        What was written.

    Raises:
        ArgumentError: a number that makes no sense.
    """
    if not 0 <= quality <= MAX_QUALITY:
        raise ArgumentError("quality", str(quality), f"0 to {MAX_QUALITY}")
    for name, number, least in (("steps", steps, 1), ("seeds", seeds, 2)):
        if number < least:
            raise ArgumentError(name, str(number), f"{least} or more")
    each = min(PER_EPOCH, steps)
    trainer = trainer_of(model, recipe, Budget(further=steps // each * each, lr=RATE, per_epoch=each), run, data, real)
    base, feature_codec = trainer.base, trainer.base.feature_codec
    test = labelled(images, data if real is None else real, "test")
    require_images(test, count)
    blocks = list(batches(base, test, range(count), _BLOCK))
    limit, tensors = feature_codec.config.max_parents, feature_codec.task_count
    trained_on = {split: Graphs.of(costs[:, quality], tensors, limit) for split, costs in trainer.costs.items()}
    with torch.no_grad():
        estimated = [
            feature_codec.networks.rate_estimator(feature_codec.normalise(batch.features)).numpy() for batch in blocks
        ]
    on_test, one_graph = Graphs.of(np.concatenate(estimated)[:, quality], tensors, limit), trained_on["train"].one_graph

    def source(trainer: BaselineTrainer, split: str, arm: str, seed: int) -> GraphSource:
        return OneGraph(one_graph) if arm == "one" else GraphOfEach(trained_on[split].of_arm(arm, seed, one_graph))

    objective = Objective.of(base.card)
    measurements: dict[str, list[Measured]] = {arm: [] for arm in ARMS}
    before = {
        arm: measure(feature_codec, trainer, objective, blocks, on_test.of_arm(arm, 0, one_graph), quality)
        for arm in ARMS
    }
    seconds: dict[str, list[float]] = {arm: [] for arm in ARMS}
    with tqdm(total=seeds * len(ARMS), desc="arms", disable=quiet) as bar:
        for seed in range(seeds):
            for arm in ARMS:
                row = Row(
                    f"{arm}-seed{seed}", arm, lambda codec, features, quality: [], partial(source, arm=arm, seed=seed),
                    seed=seed, levels=(quality,),
                )  # fmt: skip
                system, history = trainer.make(row)
                assert history is not None
                graphs = on_test.of_arm(arm, seed, one_graph)
                measurements[arm].append(measure(system.codec, trainer, objective, blocks, graphs, quality))
                seconds[arm].append(history["seconds"])
                bar.update()
    result = {
        "what": "Bits per feature element + Λ(q) * mean normalised task loss (J) of test images, from real files; "
        "percent of one arm over another in the mean over images, with a 95 % interval over images of each seed, and "
        "the mean over seeds with a 95 % interval of Student's t over seeds.",
        "provenance": provenance(seed=0, weights=feature_codec.fingerprint.hex()),
        "data": {"trained_on": trainer.recipe.data, "name": images, "split": "test", "images": count},
        "quality": quality, "max_parents": limit, "steps": trainer.budget.further, "batch": trainer.recipe.codec.batch,
        "seeds": seeds,
        "distinct_graphs": {"train": len(set(trained_on["train"].own_graphs)), "test": len(set(on_test.own_graphs))},
        "images_with_the_one_graph": {
            "train": sum(graph == one_graph for graph in trained_on["train"].own_graphs),
            "test": sum(g == one_graph for g in on_test.own_graphs),
        },
        "before": {arm: row.means() for arm, row in before.items()},
        "arms": {
            arm: {"seconds": seconds[arm], "seeds": [row.means() for row in rows]} for arm, rows in measurements.items()
        },
        "compared": {
            f"{arm} against {reference}": {
                "before": percent_over(before[arm].cost, before[reference].cost),
                **_compared([row.cost for row in measurements[arm]], [row.cost for row in measurements[reference]]),
            }
            for arm, reference in (("own", "shuffled"), ("own", "one"), ("shuffled", "one"))
        },
    }  # fmt: skip
    write_result(out, result)
    return result


@dataclass(frozen=True)
class Measured:
    """Of each image: bytes of its file, mean normalised loss of its answers, and J."""

    size: NDArray[np.float64]
    loss: NDArray[np.float64]
    cost: NDArray[np.float64]

    def means(self) -> dict[str, float]:
        """Over images."""
        return {"bytes": round(float(self.size.mean()), 2), "loss": round(float(self.loss.mean()), 6),
                "cost": round(float(self.cost.mean()), 6)}  # fmt: skip


@torch.no_grad()
def measure(
    codec: FeatureCodec, trainer: BaselineTrainer, objective: Objective, blocks: Sequence[Batch],
    graphs: Sequence[TaskGraph], quality: int,
) -> Measured:  # fmt: skip
    """Codes test images along given graphs, and measures the answers."""
    assert objective.bounds is not None, "weights that were trained here have bounds"
    sizes, losses, start = [], [], 0
    for batch in blocks:
        batch_graphs = graphs[start : start + len(batch.features)]
        start += len(batch_graphs)
        encoded = codec.encode_batch(batch.features, quality, list(batch_graphs))
        _, loss = measure_answers(trainer.base, encoded.stacked, batch.targets)
        sizes.append(np.array([len(data) for data in encoded.data], np.float64))
        losses.append(normalised_loss(loss, objective.bounds))
    size, loss, elements = np.concatenate(sizes), np.concatenate(losses), blocks[0].features[0].numel()
    return Measured(size, loss, 8 * size / elements + objective.weight(quality) * loss)


def _compared(values: Sequence[NDArray[np.float64]], references: Sequence[NDArray[np.float64]]) -> dict[str, Any]:
    """Percent over a reference: of each seed, and the mean over seeds with its interval."""
    rows = [percent_over(value, reference) for value, reference in zip(values, references, strict=True)]
    means = np.array([row[0] for row in rows])
    half = float(stats.t.ppf(0.975, len(means) - 1) * means.std(ddof=1) / np.sqrt(len(means)))
    mean = float(means.mean())
    return {"seeds": rows, "percent": round(mean, 3), "low": round(mean - half, 3), "high": round(mean + half, 3)}
