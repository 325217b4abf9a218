"""The smallest recipe that a codec of features is fitted by, in a second or two: enough to code, too little to pay."""

from __future__ import annotations

import dataclasses

import yaml

from atdc.config import FitRecipe

TINY = FitRecipe(
    name="tiny", predictor_width=8, codec_width=8, hyper_channels=2, hyper_width=4, state_channels=2, estimator_width=4,
    latent_channels=8, predictor_steps=2, warmup_steps=0, steps=4, batch=4, estimator_images=8, estimator_steps=5,
    codebook_size=2,
)  # fmt: skip
STEPS_PER_EPOCH = 2
"""In tests, so that a training of a few steps has several checkpoints."""


def yaml_of(recipe: FitRecipe) -> str:
    """The recipe as a file has it."""
    return yaml.safe_dump(dataclasses.asdict(recipe))
