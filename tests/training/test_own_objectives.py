"""Objectives that users give to ``FeatureCodec.fit``: labels that are lacking, and what is no loss."""

import dataclasses
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import atdc.training.loop
from atdc.codec import FeatureCodec
from atdc.errors import ArgumentError, FitWarning
from atdc.training.codec_stage import losses_of
from tiny_recipe import STEPS_PER_EPOCH, TINY

RECIPE = dataclasses.replace(TINY, steps=2, warmup_steps=0)
NAMES = ("a", "b")
SAMPLES = [
    {name: np.random.default_rng([i, k]).normal(size=(2, 4, 4)).astype(np.float32) for k, name in enumerate(NAMES)}
    for i in range(8)
]


@pytest.fixture(autouse=True)
def _short_epochs(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(atdc.training.loop, "STEPS_PER_EPOCH", STEPS_PER_EPOCH)
    before = threading.active_count()
    yield
    assert threading.active_count() <= before + 1  # torch keeps one of its own


class Means:
    """Compares the features' mean with a label."""

    def __init__(self, labels: Tensor, loss: Any = None) -> None:
        self.labels, self._loss = labels, loss

    def targets(self, indices: Any, tasks: Any) -> Mapping[str, Tensor]:
        return {"label": self.labels[torch.from_numpy(np.asarray(indices))]}

    def loss(self, task: int, decoded: Tensor, targets: Mapping[str, Tensor]) -> Any:
        measured = (decoded.mean((1, 2, 3)) - targets["label"]).square()
        return measured if self._loss is None else self._loss(measured)


def test_an_image_without_a_label_takes_no_gradient_from_the_others() -> None:
    decoded = torch.randn(3, 2, 4, 4, requires_grad=True)
    objective = Means(torch.tensor([1.0, float("nan"), 2.0]))
    targets = objective.targets([0, 1, 2], [0])
    losses = losses_of(objective, [0], {0: decoded}, targets)[0]
    (losses[~losses.isnan()].mean()).backward()
    assert decoded.grad is not None
    assert not decoded.grad.isnan().any() and (decoded.grad[1] == 0).all()
    assert (decoded.grad[[0, 2]].abs().amax((1, 2, 3)) > 0).all()


def test_a_gradient_that_is_none_for_another_reason_stays_so() -> None:
    decoded = torch.zeros(2, 1, 1, 1, requires_grad=True)
    objective = Means(torch.tensor([0.0, float("nan")]), lambda measured: measured.sqrt())
    losses = losses_of(objective, [0], {0: decoded}, objective.targets([0, 1], [0]))[0]
    losses[:1].sum().backward()
    assert decoded.grad is not None and decoded.grad[0].isnan().all() and (decoded.grad[1] == 0).all()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:There are 8 samples", "ignore:fitting. rate and error did not move")
def test_labels_may_be_lacking_and_none_at_all_is_told() -> None:
    some = torch.tensor([1.0, float("nan")] * 4)
    codec = FeatureCodec.fit(SAMPLES, val=SAMPLES, recipe=RECIPE, objective=Means(some), progress=False)
    assert codec.task_names == NAMES
    with pytest.warns(FitWarning, match="no loss of any sample that is a number"):
        FeatureCodec.fit(SAMPLES, val=SAMPLES, recipe=RECIPE, objective=Means(some * float("nan")), progress=False)


@pytest.mark.parametrize(
    ("wrong", "found"),
    [
        (lambda loss: loss[:, None], r"torch.float32 of shape \(\d, 1\)"),
        (lambda loss: loss.mean(), r"torch.float32 of shape \(\)"),
        (lambda loss: loss.long(), "torch.int64 of shape"),
        (lambda loss: None, "NoneType"),
        (lambda loss: 1.0, "float"),
    ],
)
@pytest.mark.filterwarnings("ignore::atdc.errors.FitWarning")
def test_what_is_no_loss_of_each_image_is_refused(wrong: Any, found: str) -> None:
    with pytest.raises(ArgumentError, match=rf"objective, loss of task \d: found {found}"):
        FeatureCodec.fit(SAMPLES, recipe=RECIPE, objective=Means(torch.zeros(8), wrong), progress=False)


@pytest.mark.parametrize(
    ("method", "given", "found"),
    [
        ("sensitivities", None, "objective, sensitivities: found NoneType"),
        ("sensitivities", {"c": np.eye(8)}, "objective, sensitivities: found 'c'; expected some of a, b"),
        ("sensitivities", {"a": np.eye(4)}, r"sensitivities of a: found shape \(4, 4\); expected a matrix \(8, 8\)"),
        ("sensitivities", {"a": np.full((8, 8), np.nan)}, "found numbers that are not finite"),
        ("sensitivities", {"a": -np.eye(8)}, "found the eigenvalue -1; expected a positive semidefinite"),
        ("sensitivities", {"a": "text"}, "sensitivities of a: found str"),
        ("anchors", {"a": float("nan")}, "anchors of a: found nan; expected a number, 0 or more"),
        ("anchors", {"a": -1}, "anchors of a: found -1"),
        ("anchors", {"x": 1}, "anchors: found 'x'"),
    ],
)
@pytest.mark.filterwarnings("ignore::atdc.errors.FitWarning")
def test_what_an_objective_says_of_errors_is_checked_before_training(method: str, given: Any, found: str) -> None:
    objective = Means(torch.zeros(8))
    setattr(objective, method, lambda: given)
    with pytest.raises(ArgumentError, match=found):
        FeatureCodec.fit(SAMPLES, recipe=RECIPE, objective=objective, progress=False)


def test_joint_losses_of_what_was_not_asked_for_are_refused() -> None:
    class Joint(Means):
        def joint_losses(self, tasks: Any, decoded: Any, targets: Any) -> Any:
            return {7: targets["label"]}

    objective = Joint(torch.zeros(2))
    with pytest.raises(ArgumentError, match=r"found joint_losses of \[7\]; expected a mapping of some of the tasks"):
        losses_of(objective, [0], {0: torch.zeros(2, 1, 1, 1)}, objective.targets([0, 1], [0]))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::atdc.errors.FitWarning")
def test_codecs_that_threads_fit_at_once_are_those_of_one_after_the_other() -> None:
    alone = FeatureCodec.fit(SAMPLES, recipe=RECIPE, progress=False).fingerprint
    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(lambda _: FeatureCodec.fit(SAMPLES, recipe=RECIPE, progress=False).fingerprint, range(2)))
    assert both == [alone, alone]
