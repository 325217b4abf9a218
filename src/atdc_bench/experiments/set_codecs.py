"""`atdc bench set-codecs`: trains the codecs that serve one wanted set each, which `atdc bench wanted` measures.

All share the base's frozen task networks, its training images and its objective. See
:mod:`atdc_bench.baselines.set_codecs` for what they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from atdc.config import Recipe, load_recipe, require_one_of
from atdc.data.labelled import LabelledImages
from atdc.errors import ArgumentError
from atdc.pipeline import load
from atdc.provenance import provenance, write_result
from atdc.training.augment import Augmented
from atdc.training.stages import training_images
from atdc.weights import open_weights
from atdc_bench.baselines.set_codecs import KINDS
from atdc_bench.baselines.trainer import BaselineTrainer
from atdc_bench.compare_recipe import Budget
from atdc_bench.experiments.evaluated_codec import DEFAULT_DATA
from atdc_bench.experiments.wanted_parts import trained_names
from atdc_bench.experiments.wanted_sets import NAMED, tasks_of

RATE = 2e-4
"""Learning rate at the start of steps that go on from the base's codec; it falls to the recipe's last."""
PER_EPOCH = 50
"""Steps between two points of a validation curve."""


def open_training_images(recipe: Recipe, data: Path, real: Path | None) -> Mapping[str, LabelledImages]:
    """A recipe's training and validation images, as its codec sees them.

    Args:
        recipe: says which.
        data: folder of the data set, of rooms where there are two.
        real: folder of the real images with rooms.
    """
    train, val = training_images(recipe, data, real)
    return {"train": Augmented(train, recipe.seed) if recipe.augment else train, "val": val}


def trainer_of(
    model: str | Path, recipe: str | Path, budget: Budget, run: Path, data: Path, real: Path | None
) -> BaselineTrainer:
    """What trains further codecs of some weights as the weights' own codec was trained.

    Args:
        model: name or weights file.
        recipe: settings by which they are trained.
        budget: steps.
        run: checkpoints and cached features.
        data: folder of the data set, of rooms where there are two.
        real: folder of the real images with rooms.
    """
    base, settings = load(model), load_recipe(Path(recipe))
    return BaselineTrainer(base, settings, budget, run, lambda: open_training_images(settings, data, real), ())


def run_set_codecs(
    model: str | Path = "real",
    data: Path = DEFAULT_DATA,
    out: Path = Path("results/set_codecs.json"),
    *,
    real: Path | None = None,
    recipe: str | Path = "real_subsets",
    kinds: Sequence[str] = tuple(KINDS),
    sets: Sequence[str] = tuple(NAMED),
    steps: int = 500,
    anew: int = 1500,
    run: Path = Path("runs/set_codecs"),
    codecs: Path = Path("runs/wanted/codecs"),
    quiet: bool = False,
) -> dict[str, Any]:
    """Trains what is not there yet; a stopped call resumes.

    Args:
        model: name or weights file of the any-graph codec.
        data: folder of the data set, of rooms where there are two.
        out: the result: of each codec its steps, seconds and validation curve.
        real: folder of the real images with rooms.
        recipe: settings by which they are trained.
        kinds: of :data:`~atdc_bench.baselines.set_codecs.KINDS`; a joint latent of one task is not
            made.
        sets: by letters, as of :data:`~atdc_bench.experiments.wanted_sets.NAMED`.
        steps: on from the any-graph codec, and at the end of what starts from nothing.
        anew: of what starts from nothing, before those; a sixth more on features alone.
        run: checkpoints and cached features.
        codecs: folder of the weights, for ``atdc bench wanted --codecs``.
        quiet: no progress bar.

    Returns:
        What was written.

    Raises:
        ArgumentError: unknown kinds or sets, steps that are none.
    """
    for kind in kinds:
        require_one_of("kinds", kind, tuple(KINDS))
    for letters in sets:
        require_one_of("sets", letters, tuple(NAMED))
    for name, count in (("steps", steps), ("anew", anew)):
        if count < 1:
            raise ArgumentError(name, str(count), "1 or more")
    each = min(PER_EPOCH, steps, anew)
    budget = Budget(warmup=anew // 6, codec=anew, further=steps, lr=RATE, per_epoch=each)
    trainer = trainer_of(model, recipe, budget, run, data, real)
    rows = [
        KINDS[kind](letters, tasks_of(letters))
        for letters in sets
        for kind in kinds
        if f"{kind}_{letters}" in trained_names()
    ]
    codecs.mkdir(parents=True, exist_ok=True)
    records: dict[str, Any] = {}
    for row in tqdm(rows, desc="codecs", disable=quiet):
        system, history = trainer.make(row)
        weights = codecs / f"{row.name}.safetensors"
        system.codec.save(weights)
        records[row.name] = {
            "title": row.title,
            "fingerprint": open_weights(weights).fingerprint.hex(),
            **(history or {}),
        }
    result: dict[str, Any] = {
        "what": "Codecs trained for one wanted set each: steps (of them what was run on from the start), seconds on "
        "this machine, validation objective at qualities 0, 2, 4, 7 along the set's graphs.",
        "provenance": provenance(seed=0, weights=trainer.base.feature_codec.fingerprint.hex()),
        "data": trainer.recipe.data,
        "codecs": records,
    }
    write_result(out, result)
    return result
