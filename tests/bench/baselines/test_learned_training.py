"""Training of learned pixel codecs: it lowers what it minimises, resumes where it stopped, and writes what loads."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from atdc.errors import ArgumentError, DataError
from atdc.training.run_folder import RunFolder
from atdc_bench.baselines import elic, learned_training
from atdc_bench.baselines.learned_training import PixelTraining, fit, main, random_crops, train_pixel_codec

pytestmark = pytest.mark.portability

TINY = elic.ElicConfig(
    widths=(6, 8, 12), bottlenecks=1, groups=(2, 2, 4), hyper=4, hyper_synthesis=(6, 6), channel_context=(6, 6),
    aggregation=(12, 8),
)  # fmt: skip
SHORT = PixelTraining(size="tiny", steps=4, batch=2, crop_px=64, lr=5e-3)


class Slopes:
    """Smooth images (3, 64, 128) of random colours."""

    def __len__(self) -> int:
        return 6

    def targets(self, indices: Sequence[int] | NDArray[np.integer], names: Sequence[str]) -> dict[str, Tensor]:
        assert tuple(names) == ("rgb",)
        images = []
        for index in indices:
            ends = torch.rand(3, 1, 2, generator=torch.Generator().manual_seed(int(index)))
            share = torch.linspace(0, 1, 128)
            slope = ends[..., :1] * share + ends[..., 1:] * (1 - share)
            images.append((slope.expand(3, 64, 128) * 255).byte())
        return {"rgb": torch.stack(images)}


def _fit(folder: Path, settings: PixelTraining) -> elic.Elic:
    torch.manual_seed(0)
    networks = elic.Elic(TINY)
    fit(networks, settings, RunFolder(folder, settings), Slopes(), Slopes())
    return networks


def test_training_lowers_the_loss(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learned_training, "_STEPS_PER_EPOCH", 10)
    _fit(tmp_path, dataclasses.replace(SHORT, steps=20))
    curve = json.loads((tmp_path / "curves.json").read_text())["pixels"]
    assert len(curve) == 2
    assert curve[-1]["loss"] < curve[0]["loss"]
    assert set(curve[-1]) >= {f"val bpp{point}" for point in range(5)}


def test_a_killed_training_resumes_as_if_never_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learned_training, "_STEPS_PER_EPOCH", 2)
    whole = _fit(tmp_path / "whole", SHORT)

    class Killed(Exception):
        pass

    save, saved = RunFolder.save, []

    def save_once(self: RunFolder, name: str, state: dict[str, object]) -> None:
        if saved:
            raise Killed
        saved.append(name)
        save(self, name, state)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(RunFolder, "save", save_once)
        _fit(tmp_path / "killed", SHORT)
    resumed = _fit(tmp_path / "killed", SHORT)
    for (name, a), b in zip(whole.state_dict().items(), resumed.state_dict().values(), strict=True):
        assert torch.equal(a, b), name


def test_trained_weights_load_and_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(elic.PRESETS, "tiny", TINY)
    monkeypatch.setattr(learned_training, "SETTINGS", {"tiny": SHORT})
    path = train_pixel_codec("elic", "tiny", tmp_path, Slopes(), Slopes(), steps=2)
    row = elic.system("tiny", path)
    image = Slopes().targets([0], ("rgb",))["rgb"][0].permute(1, 2, 0).numpy()
    assert row.decode(row.encode(image, 1.0)).shape == image.shape
    assert row.describe()["training"]["training_pictures"] == 6
    with pytest.raises(ArgumentError, match="steps"):
        train_pixel_codec("elic", "tiny", tmp_path, Slopes(), Slopes(), steps=3)


@pytest.mark.parametrize(
    ("kind", "size", "steps", "named"),
    [("elics", "small", 1, "kind"), ("elic", "huge", 1, "size"), ("mlic", "small", 0, "steps")],
)
def test_settings_that_make_no_sense_are_named(tmp_path: Path, kind: str, size: str, steps: int, named: str) -> None:
    with pytest.raises(ArgumentError, match=named):
        train_pixel_codec(kind, size, tmp_path, Slopes(), Slopes(), steps=steps)


@pytest.mark.parametrize("side_px", [65, 128])
def test_crops_fit_images_and_networks(side_px: int) -> None:
    images = Slopes().targets([0], ("rgb",))["rgb"]
    with pytest.raises(ArgumentError, match="crop"):
        random_crops(images, side_px, np.random.default_rng(0))


def test_the_command_says_which_rooms_are_missing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="rooms"):
        main(["elic", "small", "--data", str(tmp_path), "--run", str(tmp_path / "run")])
    assert not (tmp_path / "run").exists()
