"""Two tiny networks in a file, photos, features of other photos, and weights fitted to them by the command line."""

from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

import atdc.training.loop
from atdc import cli
from tiny_networks import photos
from tiny_recipe import STEPS_PER_EPOCH, TINY, yaml_of

TESTS = Path(__file__).parent


def settings_of(metric: str) -> str:
    """The file of networks: a segmenter, and a pyramid of two tensors.

    Args:
        metric: of the segmenter's answer.
    """
    return f"""
networks:
  segments:
    torch: {TESTS}/tiny_networks.py:segmenter
    input: {{size: [24, 24]}}
    cuts: [deep]
    answers: {{classes: {{tensor: output, loss: kl, metric: {metric}}}}}
  heat:
    torch: {TESTS}/tiny_networks.py:pyramid
    input: {{size: [24, 24]}}
    cuts: ["backbone:levels.0", "backbone:levels.1"]
    answers: {{map: {{tensor: heat, loss: l1}}}}
"""


def fit_in(place: Path, metric: str) -> None:
    """Writes ``networks.yaml``, ``tiny.yaml``, ``photos``, ``others``, ``features`` of these, ``mine.safetensors``."""
    (place / "networks.yaml").write_text(settings_of(metric), "utf-8")
    (place / "tiny.yaml").write_text(yaml_of(TINY), "utf-8")
    for name, seed in (("photos", 0), ("others", 1)):
        (place / name).mkdir()
        for number, image in enumerate(photos(6, seed)):
            Image.fromarray(image).save(place / name / f"{number}.png")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(atdc.training.loop, "STEPS_PER_EPOCH", STEPS_PER_EPOCH)
        patch.chdir(place)
        for words in (
            ["networks", "features", "networks.yaml", "others", "-o", "features"],
            ["fit", "features", "-o", "mine.safetensors", "--recipe", "tiny.yaml", "--networks", "networks.yaml"],
        ):
            result = CliRunner().invoke(cli.app, words)
            assert result.exit_code == 0, (result.output, result.exception)
