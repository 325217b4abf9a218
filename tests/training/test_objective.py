"""What training minimises: the equation of :func:`atdc.training.codec_stage.train_codec`, term by term."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from atdc.coding.latent_coders import TrainingLatentCoder
from atdc.config import FitRecipe, ModelConfig
from atdc.entropy.float_model import FloatEntropyModel
from atdc.graph.task_graph import TaskGraph
from atdc.networks.batches import FeatureBatch
from atdc.networks.codec_networks import CodecNetworks
from atdc.networks.transforms import BlockMetric
from atdc.training import codec_stage, fit

TASKS, CHANNELS, SIDE = 3, 4, 8
BITS_PER_ELEMENT = 1.5


class KnownRate(TrainingLatentCoder):
    """Every element of every task costs the same."""

    @property
    def bits(self) -> torch.Tensor:
        return torch.full((self._batch, TASKS), BITS_PER_ELEMENT * CHANNELS * SIDE * SIDE)


class Features:
    """As much of a training set as the step looks at."""

    def __len__(self) -> int:
        return 4

    def numbers(self, indices: np.ndarray) -> np.ndarray:
        return indices

    def load(self, indices: np.ndarray) -> torch.Tensor:
        return torch.randn(len(indices), TASKS, CHANNELS, SIDE, SIDE, generator=torch.Generator().manual_seed(0))

    def seen(self, loaded: torch.Tensor) -> FeatureBatch:
        return FeatureBatch.of(loaded)


def test_the_rate_is_in_bits_per_feature_element_of_all_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    stage: dict[str, Any] = {}
    monkeypatch.setattr(codec_stage, "train_stage", lambda *_, **given: stage.update(given))
    monkeypatch.setattr(codec_stage, "TrainingLatentCoder", KnownRate)
    torch.manual_seed(0)
    config = ModelConfig(
        feature_channels=CHANNELS, latent_channels=8, codec_width=8, hyper_channels=2, hyper_width=4, state_channels=2,
        predictor_width=8, scorer_width=8,
    )  # fmt: skip
    networks = CodecNetworks(config, config.tensors(range(TASKS)))
    graphs = SimpleNamespace(draw=lambda indices, level, rng, tensors: [TaskGraph.independent(TASKS)] * len(indices))
    state = codec_stage.TrainingState(
        networks, FloatEntropyModel(config, config.tensors(range(TASKS))), graphs, graphs, Features(), Features()
    )
    recipe = FitRecipe(batch=4, subset_share=0.0)
    codec_stage.train_codec(None, recipe, "warmup", (1, 1), (1e-3, 1e-4), state, None, None)
    batch = stage["prepare"](SimpleNamespace(rng=np.random.default_rng(0), indices=np.arange(4)))
    loss, figures = stage["step"](batch)
    assert figures[f"rate q{batch.level}"] == pytest.approx(BITS_PER_ELEMENT)
    # The rate enters the loss with weight one, before the division that evens out qualities.
    batch_loss = float(loss.detach())
    monkeypatch.setattr(KnownRate, "bits", property(lambda self: torch.zeros(self._batch, TASKS)))
    without, _ = stage["step"](batch)
    scale = float(codec_stage.task_weight(torch.tensor(float(batch.level)), recipe).sqrt())
    assert (batch_loss - float(without.detach())) * scale == pytest.approx(BITS_PER_ELEMENT, rel=1e-3)


class NothingToLose:
    """An objective whose losses are 0, so that the anchor alone is left."""

    def targets(self, indices: np.ndarray, tasks: list[int]) -> dict[str, torch.Tensor]:
        return {}

    def loss(self, task: int, decoded: torch.Tensor, targets: dict[str, torch.Tensor]) -> torch.Tensor:
        return 0 * decoded.flatten(1).sum(1)


def test_each_tensors_error_is_anchored_by_a_weight_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Features, "restored", lambda self, decoded, task, grids: decoded[task], raising=False)
    losses = {}
    for anchors in (None, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), (0.5, 0.0, 0.0), (0.0, 0.5, 0.0), (0.0, 0.0, 0.5)):
        stage: dict[str, Any] = {}
        monkeypatch.setattr(codec_stage, "train_stage", lambda *_, stage=stage, **given: stage.update(given))
        torch.manual_seed(0)
        config = ModelConfig(
            feature_channels=CHANNELS, latent_channels=8, codec_width=8, hyper_channels=2, hyper_width=4,
            state_channels=2, predictor_width=8, scorer_width=8,
        )  # fmt: skip
        networks = CodecNetworks(config, config.tensors(range(TASKS)))
        graphs = SimpleNamespace(draw=lambda indices, level, rng, names: [TaskGraph.independent(TASKS)] * len(indices))
        float_model = FloatEntropyModel(config, config.tensors(range(TASKS)))
        state = codec_stage.TrainingState(
            networks, float_model, graphs, graphs, Features(), Features(), anchors=anchors
        )
        codec_stage.train_codec(
            None, FitRecipe(batch=4, subset_share=0.0), "codec", (1, 1), (1e-3, 1e-4), state, NothingToLose(), None
        )
        batch = stage["prepare"](SimpleNamespace(rng=np.random.default_rng(0), indices=np.arange(4)))
        torch.manual_seed(1)
        losses[anchors] = float(stage["step"](batch)[0].detach())
    nothing, everything = losses[0.0, 0.0, 0.0], losses[1.0, 1.0, 1.0]
    assert losses[None] == pytest.approx(everything)
    parts = [losses[tuple(0.5 * (place == own) for place in range(3))] - nothing for own in range(3)]
    assert min(parts) > 0.01 * everything and sum(parts) == pytest.approx(0.5 * (everything - nothing), rel=1e-3)


def expected_of(blocks: torch.Tensor, matrix: torch.Tensor) -> torch.Tensor:
    return torch.einsum("nbi,ij,nbj->n", blocks, matrix, blocks)


def test_errors_count_by_a_tensors_metric_and_squared_without_one() -> None:
    torch.manual_seed(0)
    decoded, features = ([torch.randn(2, 3, 4, 6), torch.randn(2, 2, 4, 4)] for _ in range(2))
    factor = np.random.default_rng(0).normal(size=(12, 12))
    matrix = torch.from_numpy(factor @ factor.T)
    grids = [(3, 6), (4, 3)]  # the rest is padding, of which a metric sees what its last blocks have
    found = codec_stage._errors([BlockMetric.of(matrix.numpy()), None], decoded, features, grids)
    blocks = torch.nn.functional.unfold(decoded[0] - features[0], 2, stride=2).transpose(1, 2).double()
    expected = expected_of(blocks, matrix)
    torch.testing.assert_close(found[:, 0].double(), expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found[:, 1], (decoded[1] - features[1])[..., :3].square().sum((1, 2, 3)))
    assert bool((codec_stage._errors(None, decoded, features, grids)[:, 1] == found[:, 1]).all())
    short = codec_stage._errors([BlockMetric.of(matrix.numpy()), None], decoded, features, [(2, 6), (4, 3)])
    torch.testing.assert_close(short[:, 0].double(), expected_of(blocks[:, :3], matrix), rtol=1e-4, atol=1e-4)


def test_a_sensitivity_of_raw_features_weighs_normalised_ones_alike() -> None:
    """An error costs what it costs, in whatever units features are; a tenth of the squared error of normalised features
    comes on top."""
    std = np.array([0.5, 20.0])
    factor = np.random.default_rng(1).normal(size=(8, 8))
    error = np.random.default_rng(2).normal(size=(2, 2, 2))
    metric = fit._metric(factor @ factor.T, std)
    raw = (error * std[:, None, None]).reshape(8)
    expected = raw @ factor @ factor.T @ raw + 0.1 * float(np.square(error).sum())
    assert float(metric.errors(torch.from_numpy(error)[None])) == pytest.approx(expected, rel=1e-6)
