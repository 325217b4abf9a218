"""`atdc bench ablation`: the conditional codec against the plain residual codec, each trained from scratch and equally
long.

Both start from the same task networks, predictor and graphs, those of a trained model, and differ in one thing:
whether the transforms see the prediction (``analysis(r, μ, σ)``, ``synthesis(ŷ, μ, σ)``) or the residual alone, the
paper's way.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from atdc.codec import DEFAULT_GRAPH, FeatureCodec
from atdc.config import MAX_QUALITY, FitRecipe, ModelConfig, load_recipe
from atdc.data.rooms import RoomsDataset
from atdc.entropy.float_model import FloatEntropyModel, quantised_model
from atdc.errors import ArgumentError
from atdc.networks.codec_networks import CodecNetworks
from atdc.pipeline import Codec, load
from atdc.provenance import provenance, write_result
from atdc.tasks import TASKS
from atdc.training.codec_stage import train_codec
from atdc.training.losses import loss_gap, task_loss
from atdc.training.principal_components import start_from_principal_components
from atdc.training.run_folder import RunFolder
from atdc.training.task_objectives import TaskLosses
from atdc.training.task_stage import load_targets
from atdc_bench.baselines.mixed_graphs import mixed_state
from atdc_bench.baselines.stacked_features import StackedFeatures, features_of
from atdc_bench.measures.rate_distortion import bd_rate

KINDS = ("conditional", "plain")
_BATCH = 20


def run_ablation(
    model: str | Path,
    recipe: Path,
    run: Path,
    data: Path,
    out: Path,
    *,
    epochs: int = 1,
    count: int = 250,
    quiet: bool = False,
) -> dict[str, Any]:
    """Trains both kinds, measures them on validation rooms, and writes the result file. Resumes after a stop.

    Args:
        model: name or weights file.
        recipe: how the codecs are trained.
        run: folder of the checkpoints and cached features.
        data: rendered rooms.
        out: the result file.
        epochs: rate–distortion epochs of each kind, after one epoch of warm-up.
        count: validation images.
        quiet: no progress bar of measuring.
    """
    settings = load_recipe(recipe)
    folder = RunFolder(run, settings)
    codec = load(model)
    feature_codec = codec.feature_codec
    rooms = {split: RoomsDataset(data, split) for split in ("train", "val")}
    sets = features_of(folder, codec, rooms)
    bounds = torch.tensor(codec.card["loss_bounds"])
    kinds: dict[str, Any] = {}
    for kind in KINDS:
        config = dataclasses.replace(feature_codec.config, residual=kind)
        trained = _train(settings.codec, config, run / kind, codec, sets, rooms, bounds, epochs)
        kinds[kind] = measure(codec, trained, sets["val"], rooms["val"], bounds, count, quiet)
    result: dict[str, Any] = {
        "what": "conditional against plain residual codec, trained equally long",
        "provenance": provenance(seed=settings.seed, weights=feature_codec.fingerprint.hex()),
        "data": {"split": "val", "images": count},
        "epochs": {"warm-up": 1, "rate-distortion": epochs},
        "kinds": kinds,
        "bytes_at_equal": {
            over: _compared(kinds["conditional"], kinds["plain"], over) for over in ("feature_error", "task_loss")
        },
    }
    write_result(out, result)
    return result


def _train(
    recipe: FitRecipe,
    config: ModelConfig,
    path: Path,
    codec: Codec,
    sets: dict[str, StackedFeatures],
    rooms: dict[str, RoomsDataset],
    bounds: torch.Tensor,
    epochs: int,
) -> FeatureCodec:
    """One kind, from the predictor to integers."""
    start, run = codec.feature_codec, RunFolder(path, recipe)
    torch.manual_seed(recipe.seed)
    networks = CodecNetworks(config, start.tensors)
    networks.predictor.load_state_dict(start.networks.predictor.state_dict())
    networks.rate_estimator.load_state_dict(start.networks.rate_estimator.state_dict())
    float_model = FloatEntropyModel(config, start.tensors)
    start_from_principal_components(networks, float_model, sets["train"])
    state = mixed_state(networks, float_model, start.graph_tables, sets["train"], sets["val"])
    goal, val_goal = (TaskLosses(codec.networks, rooms[split], bounds) for split in ("train", "val"))
    images = len(sets["train"])
    rate, steps = recipe.lr, images // min(recipe.batch, images)
    train_codec(run, recipe, "warmup", (1, steps), (rate, rate), state, None, val_goal)
    train_codec(run, recipe, "codec", (epochs, steps), (rate, recipe.lr_end), state, goal, val_goal)
    return FeatureCodec(networks, quantised_model(float_model, networks), start.mean, start.std, start.graph_tables)


@torch.no_grad()
def measure(
    codec: Codec,
    trained: FeatureCodec,
    features: StackedFeatures,
    rooms: RoomsDataset,
    bounds: torch.Tensor,
    count: int,
    quiet: bool,
) -> list[dict[str, float]]:
    """Per integer quality: mean bytes of a file, squared error per normalised element, mean normalised task loss."""
    rows = []
    for level in tqdm(range(MAX_QUALITY + 1), unit="quality", desc="measuring", leave=False, disable=quiet):
        sums = np.zeros(3)
        for start in range(0, count, _BATCH):
            images = np.arange(start, min(start + _BATCH, count))
            raw = features.cache.read(images)
            encoded = trained.encode_batch(raw, level, DEFAULT_GRAPH)
            error = (encoded.stacked - raw) / torch.stack(trained.std)[:, :, None, None]
            targets = load_targets(rooms, images)
            outputs = codec.networks.outputs(encoded.stacked, range(len(TASKS)))
            losses = torch.stack(
                [task_loss(task, output, targets[task.name]) for task, output in zip(TASKS, outputs, strict=True)], 1
            )
            normalised = (losses - bounds[1]) / loss_gap(bounds)
            sums += (
                sum(map(len, encoded.data)),
                float(error.square().mean((1, 2, 3, 4)).sum()),
                float(normalised.mean(1).sum()),
            )
        size, error_mean, loss = (sums / count).tolist()
        rows.append({"quality": level, "bytes": size, "feature_error": error_mean, "task_loss": loss})
    return rows


def _compared(rows: list[dict[str, float]], reference: list[dict[str, float]], over: str) -> dict[str, Any]:
    """BD-rate, in percent, of the first rows against the second at equal error."""
    try:
        difference = bd_rate(
            [row["bytes"] for row in reference], [-row[over] for row in reference],
            [row["bytes"] for row in rows], [-row[over] for row in rows],
        )  # fmt: skip
    except ArgumentError as error:
        return {"refused": str(error)}
    return {
        "conditional_against_plain_percent": difference.percent,
        "overlap": difference.overlap,
        "monotone": difference.monotone,
    }
