"""Which tasks help each other, the groups and the static graph that follow: what the TAMC-style codec is built on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from atdc.config import load_recipe
from atdc.data.rooms import RoomsDataset, materialise
from atdc.provenance import provenance, write_result
from atdc.tasks import LETTERS, TASKS
from atdc.training.run_folder import RunFolder
from atdc_bench.baselines.affinity import (
    Floats,
    affinity_trace,
    best_partition,
    group_costs,
    partition_affinity,
    static_graph,
)
from atdc_bench.baselines.grouping import Grouping
from atdc_bench.experiments.evaluated_codec import (
    DEFAULT_DATA,
    features_at,
    load_evaluated_codec,
    open_rooms,
    require_images,
)

HALF_SIZE_PX = 128
"""Side of the rooms that affinities are measured on."""
QUALITIES = (1, 4, 7)
"""Group costs are reported at these."""
RESAMPLES = 100
"""Draws of measurements with replacement, each partitioned again."""


def run_affinity(
    model: str | Path, recipe: Path, run: Path, data: Path = DEFAULT_DATA, out: Path = Path("results/affinity.json"), *,
    steps: int = 300, every: int = 5, batch: int = 16, images: int = 2400, count: int = 100, seed: int = 0,
    quiet: bool = False,
) -> dict[str, Any]:  # fmt: skip
    """Measures affinities, groups tasks, finds the graph over groups, and writes the result file. Resumes after a stop.

    Affinities are measured on training rooms of half size (``data/half``, rendered if absent, as in training), group
    costs on validation rooms of full size.

    Args:
        model: name or weights file of the codec that says what groups cost.
        recipe: of the network that is trained for the affinities, see
            :func:`~atdc_bench.baselines.affinity.affinity_trace`.
        run: folder of the checkpoint.
        data: rendered rooms.
        out: the result file.
        steps: of training.
        every: steps between two measurements.
        batch: images per step.
        images: of the training rooms, so many of the first are drawn from.
        count: validation images.
        seed: of training and of the resamples.
        quiet: no progress bar.

    Raises:
        ArgumentError: numbers that allow no measurement, or a run folder of another recipe.
        DataError: too few validation rooms, or rooms of another version.
    """
    settings = load_recipe(recipe)
    val = open_rooms(data, "val")
    require_images(val, count)
    if not (data / "half" / "train" / "meta.json").exists():
        materialise(data / "half", "train", settings.train_count, size=HALF_SIZE_PX)
    train = RoomsDataset(data / "half", "train")
    folder = RunFolder(run, settings)
    trace = affinity_trace(
        folder, settings, train, steps=steps, every=every, batch=batch, seed=seed, images=images, quiet=quiet
    )
    affinity = trace.mean(0)
    grouping = best_partition(affinity)

    evaluated = load_evaluated_codec(model)
    features = features_at(evaluated, val, range(count))
    costs = [group_costs(evaluated.feature_codec, features, grouping, quality) for quality in QUALITIES]
    names = ["".join(LETTERS[task] for task in group) for group in grouping.groups]
    result: dict[str, Any] = {
        "what": "affinity[i][j]: share by which a tenth of a training step on task i alone lowers the loss of task j, "
        "averaged over training, and its standard error over measurements. groups: the partition of highest mean "
        "affinity, a task alone counting 0. cost_bits[g][p]: predicted bits of group g given group p, alone on the "
        "diagonal.",
        "provenance": provenance(seed=seed, weights=evaluated.feature_codec.fingerprint.hex()),
        "data": {"affinity": {"split": "train", "images": images, "size": train.size},
                 "costs": {"split": "val", "images": count}},
        "training": {"recipe": settings.name, "steps": steps, "every": every, "batch": batch,
                     "measurements": len(trace)},
        "tasks": [task.name for task in TASKS],
        "affinity": affinity.round(6).tolist(),
        "standard_error": (trace.std(0, ddof=1) / np.sqrt(len(trace))).round(6).tolist(),
        "groups": [list(group) for group in grouping.groups],
        "groups_in_letters": names,
        "groups_affinity": partition_affinity(affinity, grouping.groups),
        "stability": stability(trace, seed),
        "qualities": {
            str(quality): {"cost_bits": cost.round(1).tolist(), "graph": static_graph(cost).describe(names)}
            for quality, cost in zip(QUALITIES, costs, strict=True)
        },
    }  # fmt: skip
    write_result(out, result)
    return result


def stability(trace: Floats, seed: int = 0) -> dict[str, Any]:
    """How much the groups hang on when and how often affinities were measured.

    Args:
        trace: measurements in order, (M, T, T), at least two.
        seed: of the resamples.

    Returns:
        Groups of the first and the second half of training, the rank correlation of their affinities (the diagonal
        left out), the share of resamples of all measurements with the same groups as the whole, and for each two
        tasks the share that has them in one group.
    """
    first, second = (part.mean(0) for part in np.array_split(trace, 2))
    off_diagonal = ~np.eye(trace.shape[1], dtype=bool)
    groups, rng = best_partition(trace.mean(0)).groups, np.random.default_rng(seed)
    resampled = [best_partition(trace[rng.integers(len(trace), size=len(trace))].mean(0)) for _ in range(RESAMPLES)]
    return {
        "first_half": [list(group) for group in best_partition(first).groups],
        "second_half": [list(group) for group in best_partition(second).groups],
        "halves_spearman": float(spearmanr(first[off_diagonal], second[off_diagonal]).statistic),
        "same_groups_when_resampled": sum(grouping.groups == groups for grouping in resampled) / RESAMPLES,
        "together_when_resampled": np.mean([_together(grouping) for grouping in resampled], 0).round(6).tolist(),
    }


def _together(grouping: Grouping) -> NDArray[np.bool_]:
    """Which tasks are in one group, (T, T)."""
    label = np.array([grouping.of_task(task) for task in range(sum(map(len, grouping.groups)))])
    return np.asarray(label[:, None] == label, np.bool_)
