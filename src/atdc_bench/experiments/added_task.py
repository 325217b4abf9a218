"""`atdc bench add-task`: a codec of five tasks gets the sixth, with all that it had frozen; what changes for the five.

The paper's test of scalability: with five tasks and with six its losses are .1841/.1840 for segments,
.2110/.2112 for normals and .2524/.2526 for keypoints. Three codings of the same test images are compared: five tasks
before; all six with the five along their old graphs; all six along the best graphs of six, where old tasks may be
predicted from the new one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from atdc.codec import FeatureCodec
from atdc.config import load_recipe
from atdc.data.rooms import RoomsDataset
from atdc.graph.task_graph import TaskGraph
from atdc.pipeline import Codec, load
from atdc.provenance import provenance, write_result
from atdc.tasks import TASK_NAMES, TASKS
from atdc.training.losses import task_loss
from atdc.training.run_folder import RunFolder
from atdc.training.task_objectives import TaskLosses
from atdc_bench.baselines.added_task import (
    Trained,
    add_task,
    best_by_predictor,
    first_of,
    first_tasks,
    train_from_nothing,
)
from atdc_bench.baselines.stacked_features import features_of
from atdc_bench.experiments.evaluated_codec import Batch, batches, open_rooms, require_images

FIRST = len(TASKS) - 1
"""How many tasks the codec has before: all but the image."""


def run_added_task(
    model: str | Path,
    recipe: Path,
    run: Path,
    data: Path,
    out: Path,
    *,
    steps: int = 500,
    count: int = 100,
    qualities: Sequence[float] = (1, 4, 7),
    quiet: bool = False,
) -> dict[str, Any]:
    """Trains both codecs as far as they are not yet, codes test images with both, and writes the result.

    Args:
        model: whose task networks and features are used.
        recipe: how codecs are trained; of the predictor's steps a quarter before, an eighth for the new task.
        run: checkpoints and cached features.
        data: rendered rooms.
        out: the result, JSON.
        steps: of the first training on rate and tasks, after half as many on features; the new task gets half of both.
        count: test images.
        qualities: whole numbers.
        quiet: no progress bar.
    """
    base, settings = load(model), load_recipe(recipe)
    five, six = trained(base, settings, run, data, steps)
    rooms = open_rooms(data, "test")
    require_images(rooms, count)
    rows = []
    with tqdm(total=len(qualities) * count, unit="image", desc="coding", disable=quiet) as bar:
        parts = list(batches(base, rooms, range(count)))
        for quality in qualities:
            sums = {name: np.zeros(1 + 2 * len(TASKS)) for name in ("before", "old graphs", "new graphs")}
            for part in parts:
                images = len(part.features)
                graphs = best_by_predictor(
                    five.codec.networks, five.codec.normalise(part.features[:, :FIRST]), int(quality)
                )
                best = best_by_predictor(six.codec.networks, six.codec.normalise(part.features), int(quality))
                old = [_with_new(graph, whole) for graph, whole in zip(graphs, best, strict=True)]
                for name, codec, chosen in (
                    ("before", five.codec, graphs), ("old graphs", six.codec, old), ("new graphs", six.codec, best),
                ):  # fmt: skip
                    sums[name] += _coded(base, codec, part, quality, chosen)
                bar.update(images)
            for name, total in sums.items():
                size, losses, bits = total[0] / count, total[1 : 1 + len(TASKS)], total[1 + len(TASKS) :]
                tasks = TASK_NAMES[:FIRST] if name == "before" else TASK_NAMES
                rows.append(
                    {
                        "quality": quality, "coding": name, "bytes": float(size),
                        "losses": {task: float(losses[i] / count) for i, task in enumerate(tasks)},
                        "ideal_bytes": {task: float(bits[i] / count / 8) for i, task in enumerate(tasks)},
                    }
                )  # fmt: skip
    result = {
        "what": "A codec of five tasks, and the same with the image added while all it had is frozen. Losses are the "
        "tasks' own, from decoded features; ideal_bytes is what each task's symbols take. old_files: files of the five "
        "tasks read by the codec of six.",
        "provenance": provenance(seed=settings.seed, weights=base.feature_codec.fingerprint.hex()),
        "data": {"name": "rooms", "split": "test", "images": count},
        "steps": {"before": [steps // 2, steps], "added": [steps // 4, steps // 2]},
        "rows": rows,
        "old_files": old_files(five.codec, six.codec, parts[0].features[:, :FIRST]),
    }
    write_result(out, result)
    return result


def trained(base: Codec, settings: Any, run: Path, data: Path, steps: int) -> tuple[Trained, Trained]:
    """The codec of the first tasks, and the same with the last one added."""
    rooms = {split: RoomsDataset(data, split) for split in ("train", "val")}
    sets = features_of(RunFolder(run, settings), base, rooms)
    bounds = torch.tensor(base.card["loss_bounds"])
    goals = {split: TaskLosses(base.networks, rooms[split], bounds) for split in rooms}
    first, added = (
        replace(settings.codec, predictor_steps=max(1, settings.codec.predictor_steps // share)) for share in (4, 8)
    )
    five = train_from_nothing(
        RunFolder(run / "first", first), first, base.feature_codec.config, first_of(sets, FIRST), goals,
        TASK_NAMES[:FIRST], steps,
    )  # fmt: skip
    six = add_task(RunFolder(run / "added", added), added, five, sets, goals, TASK_NAMES, steps // 2)
    return five, six


@torch.no_grad()
def old_files(five: FeatureCodec, six: FeatureCodec, features: Tensor, quality: float = 4) -> dict[str, Any]:
    """Files of the five tasks, read by what the codec of six has of them."""
    inside = first_tasks(six, five.task_count, five.fingerprint)
    graphs = best_by_predictor(five.networks, five.normalise(features), int(quality))
    encoded = five.encode_batch(features, quality, graphs)
    same = 0
    for data in encoded.data:
        before, now = five.integers.read(data).latents, inside.integers.read(data).latents
        same += all(np.array_equal(before[task], now[task]) for task in before)
    drift = (inside.decode_batch(encoded.data) - five.decode_batch(encoded.data)).abs()
    return {"files": len(encoded.data), "same_integers": same, "greatest_difference_of_features": float(drift.max())}


def _with_new(graph: TaskGraph, whole: TaskGraph) -> TaskGraph:
    """A graph of the first tasks, and the new one at its end with the parents that it has in a graph of all."""
    return TaskGraph((*graph.parents, whole.parents[graph.size]))


@torch.no_grad()
def _coded(base: Codec, codec: FeatureCodec, part: Batch, quality: float, graphs: list[TaskGraph]) -> Any:
    """Sums over images: file bytes, losses by task, ideal bits by task; zeros for tasks that the codec has not."""
    features = part.features[:, : codec.task_count]
    encoded = codec.encode_batch(features, quality, graphs)
    outputs = base.networks.outputs(codec.decode_batch(encoded.data), range(codec.task_count))
    losses, bits = np.zeros(len(TASKS)), np.zeros(len(TASKS))
    for task, output in enumerate(outputs):
        losses[task] = float(task_loss(TASKS[task], output, part.targets[TASKS[task].name]).sum())
    bits[: codec.task_count] = encoded.ideal_bits.sum(0)
    return np.concatenate([[sum(map(len, encoded.data))], losses, bits])
