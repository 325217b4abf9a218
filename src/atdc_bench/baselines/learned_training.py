"""Trains a learned pixel codec on crops of images: ``R + λ(point)·255²·MSE``, all points at once.

As a command, on rendered rooms::

    python -m atdc_bench.baselines.learned_training elic small --data data/rooms --run runs/elic_small
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from atdc.data.labelled import IMAGE
from atdc.data.rooms import RoomsDataset
from atdc.errors import ArgumentError
from atdc.training.loop import Draw, train_stage
from atdc.training.run_folder import RunFolder
from atdc_bench.baselines import elic, mlic
from atdc_bench.baselines.learned_codec import POINTS, STRIDE_PX, PixelCodec, RateCounter
from atdc_bench.baselines.learned_pixels import Trained

KINDS: Mapping[str, Callable[[str], PixelCodec]] = {"elic": elic.build, "mlic": mlic.build}
"""Untrained networks by kind, from a size."""


@dataclass(frozen=True, slots=True)
class PixelTraining:
    """Everything that a training depends on. Values are ours unless said otherwise."""

    kind: str = "elic"
    """``elic`` or ``mlic``."""
    size: str = "small"
    """``small`` or ``paper``."""
    steps: int = 2000
    batch: int = 8
    """Crops per step (both papers: 16 or 8)."""
    crop_px: int = 128
    """Side of a crop, a multiple of 64 (both papers: 256 or more)."""
    lr: float = 1e-3
    """Learning rate; the papers begin with 1e-4, for millions of steps."""
    lr_end: float = 1e-5
    lambda_min: float = 5e-4
    """λ of point 0; between the points it is geometric."""
    lambda_max: float = 0.15
    """λ of the last point."""
    seed: int = 0


SETTINGS: Mapping[str, PixelTraining] = {
    "small": PixelTraining(),
    "paper": PixelTraining(batch=16, crop_px=256, lr=1e-4, lr_end=1e-6),
}
"""By size. The paper's size is here to be trained on a GPU; its settings have not been tried."""

_STEPS_PER_EPOCH = 100
_REPORTED = 8


class Images(Protocol):
    """Images of one size, such as :class:`atdc.data.rooms.RoomsDataset`."""

    def __len__(self) -> int: ...

    def targets(self, indices: Sequence[int] | NDArray[np.integer], names: Sequence[str]) -> dict[str, Tensor]:
        """``rgb`` (n, 3, H, W) of 8 bits."""
        ...


def rate_weight(settings: PixelTraining) -> Tensor:
    """λ of each point, (POINTS,): geometric.

    >>> rate_weight(PixelTraining(lambda_min=0.01, lambda_max=0.16))
    tensor([0.0100, 0.0200, 0.0400, 0.0800, 0.1600])
    """
    low, high = math.log(settings.lambda_min), math.log(settings.lambda_max)
    return torch.linspace(low, high, POINTS).exp()


def random_crops(images: Tensor, side_px: int, rng: np.random.Generator) -> Tensor:
    """A crop (n, 3, side, side) of each image (n, 3, H, W), half of them mirrored; 8 bits to 0 … 1.

    Raises:
        ArgumentError: the images are smaller than that, or no latent has such a side.
    """
    rows, columns = images.shape[2:]
    if min(rows, columns) < side_px or side_px % STRIDE_PX:
        expected = f"a multiple of {STRIDE_PX}, at most the images' {min(rows, columns)}"
        raise ArgumentError("crop", f"{side_px} pixels", expected)
    crops = []
    for image in images:
        top, left = int(rng.integers(rows - side_px + 1)), int(rng.integers(columns - side_px + 1))
        crop = image[:, top : top + side_px, left : left + side_px]
        crops.append(crop.flip(2) if rng.random() < 0.5 else crop)
    return torch.stack(crops).float() / 255


def rate_and_error(networks: PixelCodec, point: Tensor, pixels: Tensor, noise: bool = True) -> tuple[Tensor, Tensor]:
    """Bits per pixel and mean squared error of 0 … 1, each (B,), differentiable; see :class:`RateCounter` for
    `noise`."""
    coder = RateCounter(noise)
    decoded = networks.restore(networks.traverse(coder, point, (pixels.shape[2], pixels.shape[3]), pixels))
    return torch.as_tensor(coder.bits) / pixels[0, 0].numel(), (decoded - pixels).square().mean((1, 2, 3))


def fit(
    networks: PixelCodec, settings: PixelTraining, run: RunFolder, train: Images, val: Images, device: str = "cpu"
) -> Mapping[str, float]:
    """Trains networks in place, or resumes from the folder's checkpoint; there is one every 100 steps.

    Args:
        networks: on the CPU, where they are again afterwards.
        settings: steps are rounded up to whole epochs.
        run: checkpoints, logs and curves.
        train: images to learn from.
        val: the first eight are what rates and errors are reported of.
        device: where torch computes.

    Returns:
        By ``bpp0``, ``psnr0_db``, … rate and PSNR of each point.
    """
    networks.to(device).train()
    weight = rate_weight(settings).to(device) * 255**2
    sample = val.targets(range(min(_REPORTED, len(val))), (IMAGE,))[IMAGE].to(device).float() / 255

    def prepare(draw: Draw) -> tuple[Tensor, Tensor]:
        indices = np.sort(draw.rng.integers(len(train), size=settings.batch))
        crops = random_crops(train.targets(indices, (IMAGE,))[IMAGE], settings.crop_px, draw.rng)
        point = torch.from_numpy(draw.rng.integers(POINTS, size=settings.batch))
        return crops.to(device), point.to(device)

    def step(batch: tuple[Tensor, Tensor]) -> tuple[Tensor, dict[str, float]]:
        pixels, point = batch
        rate_bpp, error = rate_and_error(networks, point, pixels)
        losses = rate_bpp + weight[point] * error
        # Losses at many bits are many times those at few: the square root of λ evens out their gradients.
        return (losses * (weight[0] / weight[point]).sqrt()).mean(), {
            "loss": float(losses.detach().mean()), "bpp": float(rate_bpp.detach().mean()),
            "mse": float(error.detach().mean()),
        }  # fmt: skip

    @torch.no_grad()
    def validate() -> dict[str, float]:
        figures: dict[str, float] = {}
        for point in range(POINTS):
            rate_bpp, error = rate_and_error(networks, torch.full((len(sample),), point, device=device), sample, False)
            figures[f"bpp{point}"] = float(rate_bpp.mean())
            figures[f"psnr{point}_db"] = float(-10 * error.log10().mean())
        return figures

    epochs = -(-settings.steps // _STEPS_PER_EPOCH)
    train_stage(
        run, "pixels", networks, images=-(-settings.steps // epochs) * settings.batch, epochs=epochs,
        batch=settings.batch, lr=settings.lr, lr_end=settings.lr_end, prepare=prepare, step=step, validate=validate,
        seed=settings.seed,
    )  # fmt: skip
    figures = validate()
    networks.to("cpu").eval()
    return figures


def train_pixel_codec(
    kind: str,
    size: str,
    run_folder: Path,
    train: Images,
    val: Images,
    steps: int = 2000,
    seed: int = 0,
    device: str = "cpu",
) -> Path:
    """Trains, or resumes with a training, and writes ``run_folder/KIND_SIZE.safetensors``.

    Args:
        kind: ``elic`` or ``mlic``.
        size: ``small`` or ``paper``.
        run_folder: of this training alone.
        train: images to learn from.
        val: images to report rates and errors of.
        steps: rounded up to whole epochs of at most 100.
        seed: of initial weights, crops and points.
        device: where torch computes.

    Returns:
        The weights.

    Raises:
        ArgumentError: no such kind or size, or the folder belongs to a training with other settings.
    """
    if kind not in KINDS:
        raise ArgumentError("kind", repr(kind), f"one of {', '.join(KINDS)}")
    if size not in SETTINGS:
        raise ArgumentError("size", repr(size), f"one of {', '.join(SETTINGS)}")
    if steps < 1:
        raise ArgumentError("steps", str(steps), "at least 1")
    settings = replace(SETTINGS[size], kind=kind, size=size, steps=steps, seed=seed)
    run = RunFolder(run_folder, settings)
    torch.manual_seed(seed)
    networks = KINDS[kind](size)
    figures = fit(networks, settings, run, train, val, device)
    weights = run_folder / f"{kind}_{size}.safetensors"
    entries = {name: round(value, 4) for name, value in figures.items()}
    Trained.of(networks, {**asdict(settings), "training_pictures": len(train), **entries}).save(weights, kind, size)
    return weights


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(description="Train a learned pixel codec on rendered rooms.")
    parser.add_argument("kind", choices=list(KINDS))
    parser.add_argument("size", choices=list(SETTINGS))
    parser.add_argument("--data", type=Path, default=Path("data/rooms"), help="folder of rendered rooms")
    parser.add_argument("--run", type=Path, help="folder of the training (default: runs/KIND_SIZE)")
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args(arguments)
    run = options.run or Path("runs") / f"{options.kind}_{options.size}"
    train, val = (RoomsDataset(options.data, split) for split in ("train", "val"))
    print(train_pixel_codec(options.kind, options.size, run, train, val, options.steps, options.seed, options.device))


if __name__ == "__main__":
    main()
