"""Settings of a comparison, as recipes in YAML have them.

Under each field stands its meaning, its unit, and whether the value is the paper's or ours.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from atdc.config import read_settings

COMPARE_RECIPES = Path(__file__).parent / "recipes"
"""The folder of the recipes that come with the package."""


@dataclass(frozen=True, slots=True)
class Budget:
    """Training steps of a comparison's learned feature codecs: as many as the base had, then further ones."""

    warmup: int = 250
    """The base's steps on features alone."""
    codec: int = 1350
    """The base's steps on rate and objective."""
    further: int = 100
    """Steps of every codec on its own graphs after those; 0 takes the base's codec as it is."""
    lr: float = 2e-4
    """Learning rate at the start of the further steps."""
    per_epoch: int = 50
    """Steps between two points of a validation curve."""


@dataclass(frozen=True, slots=True)
class CompareRecipe:
    """A comparison of systems on the same images and task networks."""

    name: str = "compare_small"
    base: str = "small"
    """Weights whose task networks all systems share, and whose codec, trained on all kinds of graphs, is the start."""
    base_recipe: str = "small"
    """How the base's codec was trained; learned feature codecs are trained by the same settings."""
    data: str = "rooms"
    """Of which data set, by its name in :data:`~atdc.data.data_sets.DATA_SETS`."""
    images: int = 200
    """How many, from the start of the test split."""
    qualities: tuple[float, ...] = (0, 1, 2, 4, 7)
    """At which feature codecs are measured."""
    affinity: str = "results/affinity_small.json"
    """Measured task affinities, which the TAMC-style codec is built on."""
    seeds: int = 3
    """Trainings of `ours`, `fixed` and `independent`."""
    pixel_steps: int = 2000
    """Training steps of the learned pixel codecs."""
    resamples: int = 300
    """Of the bootstrap."""
    skipped: dict[str, str] = field(default_factory=dict)
    """Systems that are measured only when they are named, and why."""
    budget: Budget = field(default_factory=Budget)


def load_compare_recipe(path: Path) -> CompareRecipe:
    """Reads a comparison's recipe, as :func:`~atdc.config.load_recipe` does a training's.

    >>> load_compare_recipe(Path("compare_small")).images
    200
    """
    return read_settings(CompareRecipe, path, COMPARE_RECIPES)
