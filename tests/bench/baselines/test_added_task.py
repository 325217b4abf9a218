"""A task more: what a codec had before stays, bit for bit, and only what did not exist is trained."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from atdc.config import FitRecipe, ModelConfig
from atdc.tasks import TASK_NAMES
from atdc.training.run_folder import RunFolder
from atdc_bench.baselines.added_task import Trained, add_task, first_of, first_tasks, train_from_nothing
from atdc_bench.baselines.stacked_features import StackedFeatures
from atdc_bench.experiments.added_task import old_files

pytestmark = pytest.mark.portability

MODEL = ModelConfig(
    feature_channels=4, encoder_widths=(4, 4, 4), head_widths=(8, 4, 4), predictor_width=8, latent_channels=4,
    codec_width=8, hyper_channels=2, hyper_width=4, scorer_width=4,
)  # fmt: skip
RECIPE = FitRecipe(predictor_steps=3, batch=8)


class Planted:
    """Features of six tasks; the last is a copy of the first with noise."""

    def __init__(self, count: int) -> None:
        rng = np.random.default_rng(count)
        self.values = rng.normal(0, 1, (count, 6, 4, 8, 8)).astype(np.float32)
        self.values[:, 5] = self.values[:, 0] + 0.1 * self.values[:, 5]

    def __len__(self) -> int:
        return len(self.values)

    def read(self, indices: NDArray[np.int64]) -> Tensor:
        return torch.from_numpy(self.values[indices])


class Nothing:
    """An objective that asks for small features."""

    def targets(self, indices: NDArray[np.int64], tasks: Sequence[int]) -> Mapping[str, Tensor]:
        return {}

    def loss(self, task: int, decoded: Tensor, targets: Mapping[str, Tensor]) -> Tensor:
        return decoded.square().mean((1, 2, 3))


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Trained, Trained, Tensor]:
    folder = tmp_path_factory.mktemp("added")
    sets = {
        split: StackedFeatures(Planted(count), torch.zeros(6, 4), torch.ones(6, 4))
        for split, count in (("train", 24), ("val", 8))
    }
    goals = {"train": Nothing(), "val": Nothing()}
    run = RunFolder(folder / "first", RECIPE)
    five = train_from_nothing(run, RECIPE, MODEL, first_of(sets, 5), goals, TASK_NAMES[:5], 4)
    changed = replace(RECIPE, lr=0.05)
    six = add_task(RunFolder(folder / "added", changed), changed, five, sets, goals, TASK_NAMES, 4)
    return five, six, sets["val"].cache.read(np.arange(8))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_files_of_before_are_read_after(both) -> None:
    five, six, features = both
    said = old_files(five.codec, six.codec, features[:, :5])
    assert said["same_integers"] == said["files"] == 8 and said["greatest_difference_of_features"] < 1e-5


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_what_was_there_is_frozen_and_what_is_new_has_learned(both, tmp_path: Path) -> None:
    five, six, _ = both
    inside = first_tasks(six.codec, 5, bytes(4)).networks.state_dict()
    for name, value in five.codec.networks.state_dict().items():
        assert name.startswith("scorer.") or torch.equal(inside[name], value), name
    assert float(six.networks.predictor.pair.detach()[:5, 5].abs().max()) > 0
    assert float(six.float_model.task(0).parents[5].detach().abs().max()) > 0
    assert torch.equal(six.float_model.task(0).parents[:5], five.float_model.task(0).parents)
    assert six.codec.entropy.tasks[0].parents.shape[0] == 6
