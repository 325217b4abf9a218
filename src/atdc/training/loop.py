"""The one training loop: epochs of shuffled batches, a cosine learning rate, a checkpoint and a log line per epoch."""

from __future__ import annotations

import functools
import importlib.util
import math
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Concatenate, Generic, ParamSpec, Self, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from tqdm import tqdm

from atdc.errors import ArgumentError
from atdc.networks.devices import device_of
from atdc.training import processes
from atdc.training.devices import moved
from atdc.training.run_folder import RunFolder

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

Batch = TypeVar("Batch")
P = ParamSpec("P")

QUALITY_TABLE = ".rows"
"""How the parameters of a :class:`~atdc.networks.transforms.QualityTable` are named."""
TABLE_RATE = 20.0
"""Quality tables learn this much faster: gains of the latent are logarithms, and a whole rate range may lie before
them; hidden ones have few steps at each quality."""
STEPS_PER_EPOCH = 50
"""Between two points of the validation curve and two checkpoints, where steps are counted and no passes over data."""
_WARMUP = 0.02
"""The share of a stage in which the learning rate rises."""
_SPIKE = 4.0
"""A gradient's norm is cut at this many times the usual one of its epoch."""
_HOPELESS = 20
"""Steps without a finite gradient, one after the other, after which a training is given up."""


@dataclass(frozen=True, slots=True)
class Draw:
    """Which images make a batch, and random numbers that depend on seed, epoch and batch only, so that a resumed run
    repeats itself."""

    indices: NDArray[np.int64]
    rng: np.random.Generator


def cosine(progress: float, start: float, end: float) -> float:
    """Learning rate after a share of the stage: linear warm-up, then half a cosine from start to end.

    >>> [round(cosine(p, 1.0, 0.1), 2) for p in (0.0, 0.02, 0.51, 1.0)]
    [0.02, 1.0, 0.55, 0.1]
    """
    if progress < _WARMUP:
        return start * max(progress / _WARMUP, 0.02)
    share = (progress - _WARMUP) / (1 - _WARMUP)
    return end + (start - end) * 0.5 * (1 + math.cos(math.pi * share))


def epochs_of(steps: int) -> tuple[int, int]:
    """Epochs, and steps of each, that come to at least so many steps.

    >>> epochs_of(120), epochs_of(0)
    ((3, 40), (0, 0))
    """
    epochs = -(-steps // STEPS_PER_EPOCH)
    return epochs, -(-steps // max(epochs, 1))


def _alone(train: Callable[Concatenate[RunFolder, P], None]) -> Callable[Concatenate[RunFolder, P], None]:
    """Training in a run folder that no other process trains in."""

    @functools.wraps(train)
    def claiming(run: RunFolder, /, *args: P.args, **settings: P.kwargs) -> None:
        with run.claimed():
            train(run, *args, **settings)

    return claiming


@_alone
def train_stage(
    run: RunFolder,
    name: str,
    module: nn.Module,
    *,
    images: int,
    epochs: int,
    batch: int,
    lr: float,
    lr_end: float,
    steps: int | None = None,
    prepare: Callable[[Draw], Batch],
    step: Callable[[Batch], tuple[torch.Tensor, dict[str, float]]],
    validate: Callable[[], dict[str, float]] | None = None,
    seed: int = 0,
    weight_decay: float = 0.0,
    clip: float = 1.0,
    accumulate: int = 1,
) -> None:
    """Trains a module's trainable parameters, resuming from the stage's checkpoint if there is one.

    Of several processes (:mod:`atdc.training.processes`) each takes its share of a batch.

    Args:
        run: where checkpoints and logs go.
        name: the stage; its checkpoint is ``name.pt``, its figures are in ``curves.json`` and, for
            TensorBoard where that is installed, in ``log/``.
        module: what is trained and saved.
        images: how many images an epoch shuffles.
        steps: of an epoch; by default as many as use every image once.
        batch: images of a step, in all processes together.
        prepare: loads a batch, or its part; runs in a thread during the step before, on the CPU.
        step: takes the batch where the module is; returns the loss to minimise and figures for the progress bar.
        validate: figures after each epoch, printed and logged.
        clip: largest norm of the gradient, which is also cut where it is far from usual.
        accumulate: parts of a batch, taken one after the other for a step: where memory is too small for the whole.

    Raises:
        ArgumentError: a batch that parts and processes cannot share evenly; another process trains in the run folder;
            or training diverges, so that step after step has no finite gradient.
    """
    if not epochs:
        return
    optimiser = _optimiser(module, lr, weight_decay)
    first = 0
    state = run.load(name)
    if state is not None:
        module.load_state_dict(state["module"])
        first = int(state["epoch"])
        if first >= epochs:
            return
        optimiser.load_state_dict(state["optimiser"])
    parts = accumulate * processes.count()
    if batch % parts:
        raise ArgumentError("batch", str(batch), f"a multiple of {parts}, the parts that it is cut into")
    if images < parts:
        raise ArgumentError("features", f"{images} samples", f"{parts} at least, one for each part of a batch")
    batch = min(batch, images // parts * parts)
    log = _events(run.path / "log" / name) if processes.is_first() else None
    per_epoch = images // batch if steps is None else steps
    update = _Update(optimiser, [p for p in module.parameters() if p.requires_grad], clip, run.path, name)
    with closing(log) if log is not None else nullcontext(), _Loader(prepare, device_of(module)) as loader:
        for epoch in range(first, epochs):
            start_time = time.perf_counter()
            rng = np.random.default_rng([seed, epoch, *name.encode()])
            torch.manual_seed(int(rng.integers(2**31)) + processes.rank())
            batches = loader.batches(_draws(rng, images, batch, per_epoch, accumulate, (seed, epoch)))
            update.begin_epoch()
            epoch_figures: dict[str, float] = {}
            bar = processes.bar(range(per_epoch), desc=f"{name} {epoch + 1}/{epochs}", leave=False)
            for index in bar:
                progress = (epoch + index / per_epoch) / epochs
                for group in optimiser.param_groups:
                    group["lr"] = group["share"] * cosine(progress, lr, lr_end)
                optimiser.zero_grad(set_to_none=True)
                for _ in range(accumulate):
                    loss, figures = step(next(batches))
                    torch.autograd.backward(loss / accumulate)
                    for key, value in figures.items():
                        epoch_figures[key] = 0.98 * epoch_figures.get(key, value) + 0.02 * value
                update.apply()
                if index % 20 == 0:
                    bar.set_postfix({key: f"{value:.4g}" for key, value in epoch_figures.items()})
                    if log is not None:
                        for key, value in figures.items():
                            log.add_scalar(f"train/{key}", value, epoch * per_epoch + index)
            processes.average_buffers(module)
            if processes.is_first():
                _finish_epoch(run, name, module, optimiser, (epoch, epochs, start_time), validate, epoch_figures, log)
            processes.wait()


def _optimiser(module: nn.Module, lr: float, weight_decay: float) -> torch.optim.Optimizer:
    """Of the trainable parameters, in two groups whose `share` of the learning rate differs."""
    entries = [(name, p) for name, p in module.named_parameters() if p.requires_grad]
    groups = [
        {"params": [p for name, p in entries if not name.endswith(QUALITY_TABLE)], "share": 1.0},
        {"params": [p for name, p in entries if name.endswith(QUALITY_TABLE)], "share": TABLE_RATE},
    ]
    return torch.optim.AdamW(groups, lr=lr, weight_decay=weight_decay, betas=(0.9, 0.98), fused=True)


def _draws(
    rng: np.random.Generator, images: int, batch: int, steps: int, accumulate: int, seeds: tuple[int, int]
) -> list[Draw]:
    """This process's share of the batches of an epoch, each in its parts; `seeds` are the stage's and the epoch."""
    order = rng.permutation(images)
    while len(order) < steps * batch:  # an epoch may be longer than the data
        order = np.concatenate([order, rng.permutation(images)])
    is_cut = accumulate * processes.count() > 1
    draws = []
    for index in range(steps):
        indices = np.sort(order[index * batch : (index + 1) * batch])[processes.rank() :: processes.count()]
        for part in range(accumulate):
            # A single whole batch has the seed that it always had.
            entropy = [*seeds, index] + ([part, processes.rank()] if is_cut else [])
            draws.append(Draw(indices[part::accumulate], np.random.default_rng(entropy)))
    return draws


class _Loader(Generic[Batch]):
    """Prepares each batch in a thread during the step before."""

    def __init__(self, prepare: Callable[[Draw], Batch], device: torch.device) -> None:
        self._prepare, self._device = prepare, device
        self._executor = ThreadPoolExecutor(1)

    def batches(self, draws: Sequence[Draw]) -> Iterator[Batch]:
        """Batches of an epoch, where the module is."""
        future = self._executor.submit(self._prepare, draws[0])
        for following in [*draws[1:], None]:
            prepared = future.result()
            if following is not None:
                future = self._executor.submit(self._prepare, following)
            yield moved(prepared, self._device)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._executor.shutdown(cancel_futures=True)


class _Update:
    """A step of the optimiser, with gradients cut where they are far from usual, and none where they are not finite."""

    def __init__(
        self, optimiser: torch.optim.Optimizer, parameters: list[nn.Parameter], clip: float, folder: Path, stage: str
    ) -> None:
        self._optimiser, self._parameters, self._clip = optimiser, parameters, clip
        self._folder, self._stage = folder, stage
        self._usual_norm: float | None = None
        self._skips = 0

    def begin_epoch(self) -> None:
        """Forgets the usual norm, so that a resumed stage repeats itself."""
        self._usual_norm = None

    def apply(self) -> None:
        """Averages gradients over processes, and takes the step.

        Raises:
            ArgumentError: step after step has no finite gradient.
        """
        processes.average_gradients(self._parameters)
        # One gradient far beyond the usual can undo hours: Adam divides by what gradients used to be.
        limit = self._clip if self._usual_norm is None else min(self._clip, _SPIKE * self._usual_norm)
        norm = float(nn.utils.clip_grad_norm_(self._parameters, limit))
        self._skips = 0 if math.isfinite(norm) else self._skips + 1
        if self._skips == _HOPELESS:
            raise ArgumentError(
                str(self._folder), f"no finite gradient in {_HOPELESS} steps of the stage {self._stage}",
                "training that does not diverge",
                "Lower the recipe's lr, and delete the folder; or check the features for huge values.",
            )  # fmt: skip
        if not self._skips:
            self._optimiser.step()
            usual_norm = self._usual_norm
            self._usual_norm = norm if usual_norm is None else 0.95 * usual_norm + 0.05 * min(norm, limit)


def _events(folder: Path) -> SummaryWriter | None:
    """Where TensorBoard's events go, if it is installed; ``curves.json`` has figures of every epoch without it."""
    if importlib.util.find_spec("tensorboard") is None:
        return None
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder))


def _finish_epoch(
    run: RunFolder, name: str, module: nn.Module, optimiser: torch.optim.Optimizer,
    at: tuple[int, int, float], validate: Callable[[], dict[str, float]] | None, epoch_figures: dict[str, float],
    log: SummaryWriter | None,
) -> None:  # fmt: skip
    """Validates, saves and says what an epoch came to; `at` is the epoch, their number, and when it started."""
    epoch, epochs, start_time = at
    if validate is not None:
        figures = validate()
        if log is not None:
            for key, value in figures.items():
                log.add_scalar(f"val/{key}", value, epoch + 1)
        epoch_figures.update({f"val {key}": value for key, value in figures.items()})
    run.save(name, {"module": module.state_dict(), "optimiser": optimiser.state_dict(), "epoch": epoch + 1})
    seconds = time.perf_counter() - start_time
    run.add_time(name, seconds)
    curve = run.read_json("curves.json", {})
    curve.setdefault(name, []).append({key: round(value, 6) for key, value in epoch_figures.items()})
    run.write_json("curves.json", curve)
    if processes.shows_progress():
        tqdm.write(
            f"{name} epoch {epoch + 1}/{epochs} ({seconds:.0f} s): "
            + ", ".join(f"{key} {value:.4g}" for key, value in epoch_figures.items())
        )
