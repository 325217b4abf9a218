"""`atdc bench joint-finetune`: the codec trained further with its encoders, under the rate, against the codec alone.

Both start from the same weights and take equally many steps of the same objective, on the same graphs; heads stay as
they are. What is compared is the answers' errors against the ground truth, at equal bytes, on one scale: see
:mod:`atdc_bench.experiments.compare_weights`.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from atdc.codec import FeatureCodec
from atdc.config import load_recipe
from atdc.data.rooms import RoomsDataset
from atdc.entropy.float_model import dequantised_model, quantised_model
from atdc.pipeline import Codec, load
from atdc.provenance import write_result
from atdc.training.codec_stage import train_codec
from atdc.training.graph_stage import copy_of
from atdc.training.loop import epochs_of
from atdc.training.run_folder import RunFolder
from atdc.training.stages import round_to_half
from atdc.training.task_objectives import TaskLosses
from atdc_bench.baselines.live_features import LiveFeatures
from atdc_bench.baselines.mixed_graphs import mixed_state
from atdc_bench.baselines.stacked_features import StackedFeatures, features_of
from atdc_bench.experiments.compare_weights import compared

KINDS = ("frozen", "joint")
_RATE = 2e-4
"""Learning rate at the start; it falls to the recipe's last."""


def run_joint_finetune(
    model: str | Path,
    recipe: Path,
    run: Path,
    data: Path,
    out: Path,
    *,
    steps: int = 200,
    count: int = 200,
    quiet: bool = False,
) -> dict[str, Any]:
    """Trains both further as far as they are not yet, compares them on test rooms, and writes the result.

    Args:
        model: name or weights file to start from.
        recipe: settings by which both are trained.
        run: checkpoints, cached features, and the two weights files.
        data: rendered rooms.
        out: the result, JSON.
        steps: of each.
        count: test rooms.
        quiet: no progress bar.
    """
    trained = [_tuned(kind, model, recipe, run, data, steps) for kind in KINDS]
    result = compared([model, *trained], data, count=count, quiet=quiet)
    result |= {
        "what": "A codec trained further alone (frozen), and with its encoders under the rate (joint); same heads. "
        + result["what"],
        "steps": steps,
    }
    write_result(out, result)
    return result


def _tuned(kind: str, model: str | Path, recipe: Path, run: Path, data: Path, steps: int) -> Path:
    """The weights file of one kind."""
    codec, settings = load(model), load_recipe(recipe)
    start = codec.feature_codec
    rooms = {split: RoomsDataset(data, split) for split in ("train", "val")}
    sets = features_of(RunFolder(run, settings), codec, rooms)
    folder = RunFolder(run / kind, settings)
    folder.require_same({"steps": steps, "start": start.fingerprint.hex()})
    torch.manual_seed(settings.seed)
    networks, float_model = copy_of(start.networks), dequantised_model(start.entropy, start.config, start.tensors)
    state = mixed_state(networks, float_model, start.graph_tables, sets["train"], sets["val"])
    bounds = torch.tensor(codec.card["loss_bounds"])
    goal, val_goal = (TaskLosses(codec.networks, rooms[split], bounds) for split in ("train", "val"))
    if kind == "joint":
        live = {split: _live(sets[split], codec, rooms[split]) for split in rooms}
        encoders = codec.networks.encoders.requires_grad_(True)
        state = replace(state, train=live["train"], val=live["val"], encoders=encoders)
    rates = (_RATE, settings.codec.lr_end)
    train_codec(folder, settings.codec, "further", epochs_of(steps), rates, state, goal, val_goal)
    round_to_half(codec.networks)
    entropy = quantised_model(float_model, networks)
    path = run / f"{kind}.safetensors"
    tuned = FeatureCodec(networks, entropy, start.mean, start.std, start.graph_tables)
    Codec(codec.networks, tuned, codec.card).save(path)
    return path


def _live(features: StackedFeatures, codec: Codec, images: RoomsDataset) -> LiveFeatures:
    return LiveFeatures(features.cache, features.mean, features.std, networks=codec.networks, images=images)
