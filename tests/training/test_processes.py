"""Several processes, and parts of a batch, train as one process does with the whole."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from atdc.config import Recipe
from atdc.errors import ArgumentError
from atdc.graph.scores import candidate_sets
from atdc.training.feature_cache import FeatureCache
from atdc.training.loop import Draw, train_stage
from atdc.training.measured_costs import measured
from atdc.training.run_folder import RunFolder

pytestmark = pytest.mark.portability

SCRIPT = """
import atexit
import os
import sys
from pathlib import Path
import torch.distributed
from tests.training.test_processes import shared, trained
# Runs after what training registers: a group that is not left by then aborts one process in twenty.
atexit.register(lambda: torch.distributed.is_initialized() and os._exit(3))
trained(Path(sys.argv[1]))
shared(Path(sys.argv[1]))
"""


def trained(folder: Path, accumulate: int = 1, batch: int = 8) -> nn.Sequential:
    """A stage without chance: what parts of a batch come to is their mean."""
    torch.manual_seed(0)
    module, run = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1)), RunFolder(folder, Recipe())
    data = torch.from_numpy(np.random.default_rng(1).normal(size=(40, 3)).astype(np.float32))

    def prepare(draw: Draw) -> torch.Tensor:
        return data[draw.indices]

    def step(batch: torch.Tensor) -> tuple[torch.Tensor, dict[str, float]]:
        loss = (module(batch) - batch.prod(1, keepdim=True)).square().mean()
        return loss, {"loss": float(loss.detach())}

    train_stage(
        run, "toy", module, images=40, epochs=3, batch=batch, lr=0.05, lr_end=0.01, prepare=prepare, step=step,
        accumulate=accumulate,
    )  # fmt: skip
    return module


class _Networks(nn.Module):
    """Features that say which image they are of."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def features(self, images: torch.Tensor) -> torch.Tensor:
        return images[:, None, :, :2, :2] * self.scale


class _Images:
    def __len__(self) -> int:
        return 70

    def targets(self, indices, names=None):
        return {"rgb": torch.from_numpy(indices.astype(np.uint8))[:, None, None, None].expand(-1, 3, 4, 4)}


def test_curves_are_kept_where_tensorboard_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_it = trained(tmp_path / "with")
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    without = trained(tmp_path / "without")
    torch.testing.assert_close(dict(without.named_parameters()), dict(with_it.named_parameters()))
    curves = [(tmp_path / name / "curves.json").read_text("utf-8") for name in ("with", "without")]
    assert curves[0] == curves[1] and len(json.loads(curves[0])["toy"]) == 3
    assert (tmp_path / "with" / "log").is_dir() and not (tmp_path / "without" / "log").exists()


def shared(folder: Path) -> None:
    """Features and target costs, into the run folder; an odd number of blocks."""
    run = RunFolder(folder, Recipe())
    cache = FeatureCache(run, "train", _Networks(), _Images())
    assert np.allclose(cache.features[:, 0, 0, 0, 0] * 255, np.arange(70), atol=0.1)

    samples = np.arange(90)[::-1].copy()
    source = SimpleNamespace(read=lambda rows: SimpleNamespace(rows=rows, elements=(2, 2)))

    def pair_costs(batch: SimpleNamespace, level: int, pairs: list) -> tuple[np.ndarray, np.ndarray]:
        bits = batch.rows[:, None] + 1000.0 * np.arange(len(pairs))
        return bits, np.full(bits.shape, level)

    costs = SimpleNamespace(
        pair_costs=pair_costs, lagrange_multipliers=lambda level: np.array([2.0, 2.0]), children=np.array([0, 0, 1, 1])
    )
    config = SimpleNamespace(max_parents=1)
    codec = SimpleNamespace(task_count=2, config=config, pairs=candidate_sets(2, 1), costs=costs)
    blocks = measured(run, "toy_costs", codec, source, samples, np.arange(4), np.random.default_rng(0))
    assert np.array_equal(np.concatenate([block.samples for block in blocks]), samples)
    for block in blocks:
        expected = (block.samples[:, None] + 1000.0 * np.arange(4) + 2 * block.level) / 2
        assert np.array_equal(block.costs, expected)


def _same(first: nn.Module, second: nn.Module) -> bool:
    pairs = zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    return all(torch.allclose(a, b, atol=1e-5) for a, b in pairs)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_parts_of_a_batch_make_the_step_of_the_whole(tmp_path: Path) -> None:
    assert _same(trained(tmp_path / "whole"), trained(tmp_path / "parts", accumulate=4))
    with pytest.raises(ArgumentError, match="multiple of 3"):
        trained(tmp_path / "uneven", accumulate=3)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_two_processes_train_as_one(tmp_path: Path) -> None:
    whole = trained(tmp_path / "one")
    shared(tmp_path / "one")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2", "OMP_NUM_THREADS": "1"}
    root = Path(__file__).parents[2]
    started = [
        subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(tmp_path / "two")],
            cwd=root,
            env={**os.environ, **place, "RANK": str(rank)},
        )
        for rank in range(2)
    ]
    assert [process.wait(timeout=120) for process in started] == [0, 0]
    state = RunFolder(tmp_path / "two", Recipe()).load("toy")
    assert state is not None and state["epoch"] == 3
    both = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
    both.load_state_dict(state["module"])
    assert _same(whole, both)
