"""Training through second halves: what decoded features are worth is what becomes of the answers."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import atdc.adapters
import atdc.training.loop
from atdc.adapters.answer import Answer
from atdc.adapters.distances import LOSSES, loss_function
from atdc.adapters.image_input import ImageInput
from atdc.adapters.network_set import NetworkSet
from atdc.adapters.objective import AnswerObjective
from atdc.codec import FeatureCodec
from atdc.config import FitRecipe
from atdc.data.feature_source import InMemoryFeatures
from atdc.errors import ArgumentError, DataError, FitWarning, NetworkError
from tiny_networks import SIDE, photos, pyramid, segmenter, write_onnx

INPUT = ImageInput(size=(SIDE, SIDE))
PYRAMID = {"fine": "backbone:levels.0", "coarse": "backbone:levels.1"}


def networks() -> NetworkSet:
    kl = {"map": Answer("output", "", "kl")}
    both = {"heat": Answer("heat"), "box": Answer("boxes.0", weight=0.5)}
    return NetworkSet(
        [
            atdc.adapters.torch(segmenter(), {"deep": "deep"}, input=INPUT, name="segments", answers=kl),
            atdc.adapters.torch(pyramid(), PYRAMID, input=INPUT, name="boxes", answers=both),
        ]
    )


def samples(of: NetworkSet, count: int = 6) -> InMemoryFeatures:
    return InMemoryFeatures([of.features(image) for image in photos(count)])


def stacked(source: InMemoryFeatures, name: str, count: int = 6) -> Tensor:
    return torch.from_numpy(np.stack([source.read(index)[name] for index in range(count)]))


EVERY: NDArray[np.int64] = np.arange(6)


def test_the_loss_is_zero_for_features_as_they_were_and_one_for_channel_means() -> None:
    source = samples(networks())
    objective = AnswerObjective(networks(), source)
    assert objective.names == ("coarse", "deep", "fine")
    targets = objective.targets(EVERY, range(3))
    whole = {task: stacked(source, name) for task, name in enumerate(objective.names)}
    for half_precision in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=half_precision):
            losses = objective.joint_losses(range(3), whole, targets)
        for loss in losses.values():
            torch.testing.assert_close(loss, torch.zeros(6), atol=1e-6, rtol=0)
    empty = {task: value.mean((0, 2, 3), keepdim=True).expand_as(value) for task, value in whole.items()}
    means = {task: float(loss.mean()) for task, loss in objective.joint_losses(range(3), empty, targets).items()}
    # three tensors of two networks: 3/(2·2) for each level of the pyramid, 3/(2·1) for the other; their mean is one
    assert means == pytest.approx({0: 0.75, 1: 1.5, 2: 0.75}, rel=1e-4)


def test_gradients_reach_every_decoded_tensor_of_a_network() -> None:
    source = samples(networks())
    objective = AnswerObjective(networks(), source)
    decoded = {task: (stacked(source, name) + 0.1).requires_grad_() for task, name in enumerate(objective.names)}
    losses = objective.joint_losses([0], decoded, objective.targets(EVERY, [0]))
    assert list(losses) == [0]
    losses[0].sum().backward()
    coarse, deep, fine = (decoded[task].grad for task in range(3))
    assert deep is None and coarse is not None and fine is not None
    assert min(float(coarse.abs().amax()), float(fine.abs().amax())) > 1e-4


def test_tensors_that_were_not_coded_stand_in_as_they_were() -> None:
    source = samples(networks())
    objective = AnswerObjective(networks(), source)
    targets = objective.targets(EVERY, [0])
    fine = stacked(source, "fine")
    joint = objective.joint_losses([0], {0: stacked(source, "coarse") + 1, 2: fine}, targets)[0]
    alone = objective.loss(0, stacked(source, "coarse") + 1, targets)
    torch.testing.assert_close(joint, alone)
    assert float(alone.mean()) > 0.01


def test_an_onnx_half_is_differentiated_too(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="needs onnx and onnxruntime: pip install onnx onnxruntime")
    answers = {"classes": Answer("classes", "logits", "kl", "miou")}
    net = NetworkSet([atdc.adapters.onnx(write_onnx(tmp_path / "a.onnx"), {"deep": "deep"}, answers=answers)])
    source = samples(net)
    objective = AnswerObjective(net, source)
    decoded = (stacked(source, "deep") * 0.7).requires_grad_()
    objective.loss(0, decoded, objective.targets(EVERY, [0])).sum().backward()
    assert decoded.grad is not None and float(decoded.grad.abs().amax()) > 1e-4


def test_samples_of_several_shapes_are_refused() -> None:
    _, net = _of_two_channels()
    rows = [{"f": np.ones((2, 12, 12), np.float32), "z": np.ones((1, 4 + i, 4), np.float32)} for i in range(2)]
    with pytest.raises(DataError, match="sample 1: found z of the shape 1 x 5 x 4; expected 1 x 4 x 4"):
        AnswerObjective(net, InMemoryFeatures(rows))


def test_a_loss_behind_argmax_has_no_gradient_and_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="needs onnx and onnxruntime: pip install onnx onnxruntime")
    answers = {"classes": Answer("classes", "", "l1")}
    net = NetworkSet([atdc.adapters.onnx(write_onnx(tmp_path / "a.onnx"), {"deep": "deep"}, answers=answers)])
    with pytest.raises(NetworkError, match="no gradient at the cut"):
        AnswerObjective(net, samples(net))


def test_where_a_half_has_no_gradients_the_error_of_features_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    net = networks()

    def refuse(*_: Any) -> Any:
        raise NetworkError("segments", "the operator Odd", "another")

    monkeypatch.setattr(net.networks["segments"], "_differentiable", refuse)
    source = samples(net)
    with pytest.warns(FitWarning, match=r"segments: the second half has no gradients.*the operator Odd"):
        objective = AnswerObjective(net, source)
    deep = stacked(source, "deep")
    std = deep.std((0, 2, 3), correction=0)[:, None, None]
    known = std.clamp(min=1e-3 * float(deep.std(correction=0)) + 1e-12)
    loss = objective.loss(1, deep + 0.5 * known, objective.targets(EVERY, [1]))
    torch.testing.assert_close(loss, torch.full((6,), 1.5 * 0.25), rtol=1e-4, atol=1e-6)


def test_features_that_lack_a_tensor_are_refused() -> None:
    source = InMemoryFeatures([{"deep": np.zeros((16, 6, 6), np.float32)}] * 3)
    with pytest.raises(ArgumentError, match="found no fine"):
        AnswerObjective(networks(), source)


def test_a_sample_that_lacks_a_tensor_is_refused() -> None:
    whole = samples(networks(), 3)
    every = [whole.read(index) for index in range(3)]
    every[2] = {name: value for name, value in every[2].items() if name != "fine"}
    with pytest.raises(DataError, match="features, sample 2: found none of fine"):
        AnswerObjective(networks(), InMemoryFeatures(every))


def blocks_of(values: Tensor) -> Tensor:
    return nn.functional.unfold(values, 2, stride=2).transpose(1, 2)


def test_sensitivities_say_what_a_small_error_costs() -> None:
    """The square of the loss of small errors is what the matrices say, up to one factor for each network's answer."""
    net = NetworkSet([networks().networks["segments"]])
    source = samples(net, 16)
    objective = AnswerObjective(net, source)
    matrix = objective.sensitivities()["deep"]
    assert np.linalg.eigvalsh(matrix).min() > -1e-9 * np.trace(matrix)
    features = stacked(source, "deep", 16)
    energy = blocks_of(features - features.mean((0, 2, 3), keepdim=True)).double().numpy()
    assert np.einsum("nbi,ij,nbj->", energy, matrix, energy) / 16 == pytest.approx(features[0].numel(), rel=0.2)
    targets = objective.targets(np.arange(16), [0])
    factors = []
    for seed in range(4):
        torch.manual_seed(seed)
        error = 0.02 * features.std() * torch.randn(16, 16, 1, 1) * torch.randn_like(features[:, :1])
        errors = blocks_of(error).double().numpy()
        weighted = np.einsum("nbi,ij,nbj->", errors, matrix, errors)
        factors.append(float(objective.loss(0, features + error, targets).square().sum()) / weighted)
    assert max(factors) < 1.25 * min(factors)


def test_losses_whose_square_sensitivities_are_of_are_anchored_fully() -> None:
    both = networks()
    found = AnswerObjective(both, samples(both, 4)).anchors()
    losses = {name: {answer.loss for answer in net.answers.values()} for name, net in both.networks.items()}
    assert losses == {"segments": {"kl"}, "boxes": {"l1"}}
    for name, (network, _) in both.places.items():
        assert found[name] == pytest.approx({"segments": 1.0, "boxes": 0.1}[network])


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_grows_with_the_error_and_has_a_gradient_where_nothing_has_changed(name: str) -> None:
    """Twice the error is twice the loss: none vanishes next to another one at high quality."""
    torch.manual_seed(0)
    before, error = torch.randn(2, 5, 4, 4), torch.randn(2, 5, 4, 4)
    loss = LOSSES[name]
    small, large = (loss(before, before + size * error) for size in (0.02, 0.04))
    assert (large / small - 2).abs().max() < 0.1 and (loss(before, before) == 0).all()
    after = before.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(loss(before, after).sum(), after)
    assert bool(gradient.isfinite().all())


def test_a_loss_of_ones_own_gets_copies_and_is_named_where_it_fails(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "def fails(before, after):\n    raise KeyError('oops')\n"
        "def leaves(before, after):\n    raise SystemExit(0)\n"
        "def gives_nothing(before, after):\n    return None\n"
        "def writes(before, after):\n    before += 1\n    return (before - after).abs().flatten(1).mean(1)\n"
    )
    before, after = torch.zeros(2, 3), torch.ones(2, 3)
    for name, problem in (("fails", "KeyError"), ("leaves", "SystemExit"), ("gives_nothing", "NoneType")):
        with pytest.raises(NetworkError, match=rf"loss mine.py:{name}: found {problem}"):
            loss_function(f"mine.py:{name}", tmp_path)(before, after)
    assert loss_function("mine.py:writes", tmp_path)(before, after).tolist() == [0, 0] and not before.any()


def test_what_no_answer_looks_at_is_insensitive() -> None:
    source, net = _of_two_channels()
    matrix = AnswerObjective(net, source).sensitivities()["f"]
    seen = np.repeat([True, False], 4)
    assert np.abs(matrix[~seen]).max() == 0
    off_diagonal = matrix[np.ix_(seen, seen)] - np.diag(np.diag(matrix)[seen])
    assert np.abs(off_diagonal).max() < 0.15 * np.diag(matrix)[seen].min()
    # eight numbers a block, all of whose energy the four that are seen stand for
    assert np.trace(matrix) == pytest.approx(8, rel=0.1)


def _of_two_channels() -> tuple[InMemoryFeatures, NetworkSet]:
    """Samples of two channels alike, of which the head sees one."""
    model = nn.Sequential(nn.Identity(), nn.Conv2d(2, 1, 1, bias=False))
    with torch.no_grad():
        model[1].weight[:] = torch.tensor([1.0, 0.0]).reshape(1, 2, 1, 1)
    rng = np.random.default_rng(0)
    source = InMemoryFeatures([{"f": rng.normal(size=(2, 12, 12)).astype(np.float32)} for _ in range(24)])

    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = model

        def forward(self, x: Tensor) -> Tensor:
            made: Tensor = self.net(x[:, :2])
            return made

    answers = {"a": Answer("output", "", "l2")}
    network = atdc.adapters.torch(Two(), {"f": "net.0"}, input=ImageInput(size=(12, 12)), answers=answers)
    return source, NetworkSet([network])


@pytest.mark.filterwarnings("ignore::atdc.errors.FitWarning")
@pytest.mark.parametrize("frozen", [True, False])
def test_answers_change_what_is_made_of_latents_and_what_latents_are_as_the_recipe_says(
    tmp_path: Path, frozen: bool
) -> None:
    source, net = _of_two_channels()
    recipe = FitRecipe(
        predictor_width=8, codec_width=8, hyper_channels=2, hyper_width=8, state_channels=2, estimator_width=4,
        predictor_steps=0, warmup_steps=2, steps=2, batch=4, estimator_images=4, estimator_steps=2, codebook_size=1,
        frozen_analysis=frozen,
    )  # fmt: skip
    FeatureCodec.fit(source, recipe=recipe, objective=AnswerObjective(net, source), val=source, run=tmp_path)
    before, after = (torch.load(tmp_path / f"{name}.pt", weights_only=False)["module"] for name in ("warmup", "codec"))
    learned = {name for name, value in after.items() if not torch.equal(value, before[name])}
    parts = {name.removeprefix("networks.transforms.0.").split(".")[0] for name in learned}
    analysis = {"block", "analysis_layers", "hyper_analysis_layers"}
    assert parts & analysis == (set() if frozen else analysis)
    assert {"unblock", "synthesis_deep", "synthesis_merge", "log_gain", "log_inverse_gain"} <= parts


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::atdc.errors.FitWarning")
@pytest.mark.parametrize("through_the_half", [True, False], ids=["through the second half", "by sensitivities alone"])
def test_training_for_answers_codes_what_they_look_at(monkeypatch: pytest.MonkeyPatch, through_the_half: bool) -> None:
    """Of two channels alike, the head sees one: the error of that one falls against the error of the other."""
    monkeypatch.setattr(atdc.training.loop, "STEPS_PER_EPOCH", 40)
    source, net = _of_two_channels()
    if through_the_half:
        monkeypatch.setattr(AnswerObjective, "sensitivities", lambda self: {})
    recipe = FitRecipe(
        predictor_width=8, codec_width=8, hyper_channels=2, hyper_width=8, state_channels=2, estimator_width=4,
        predictor_steps=0, warmup_steps=0 if through_the_half else 40, steps=120 if through_the_half else 0, batch=4,
        lr=3e-3, lambda_min=4.0, lambda_max=4.0,
        subset_share=0.0, estimator_images=4, estimator_steps=2, codebook_size=1, feature_weight=0.01,
    )  # fmt: skip
    shares = []
    for objective in (None, AnswerObjective(net, source)):
        codec = FeatureCodec.fit(source, recipe=recipe, objective=objective, val=source)
        errors = np.zeros(2)
        for index in range(8):
            sample = source.read(index)
            errors += np.square(codec.decode(codec.encode(sample))["f"].numpy() - sample["f"]).mean((1, 2))
        shares.append(errors[0] / errors[1])
    assert shares[1] < 0.7 * shares[0]


def test_training_along_another_half_than_the_networks_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnxruntime", reason="needs onnx and onnxruntime: pip install onnx onnxruntime")
    from atdc.adapters import onnx_torch

    answers = {"classes": Answer("classes", "logits", "kl", "same")}
    network = atdc.adapters.onnx(write_onnx(tmp_path / "tiny.onnx"), ["stem"], answers=answers)
    source = InMemoryFeatures([network.features(image) for image in photos(3)])
    AnswerObjective(NetworkSet([network]), source)
    monkeypatch.setitem(onnx_torch._OPERATORS, "Relu", lambda values, _: values[0].clamp(min=-0.5))
    with pytest.raises(NetworkError, match="other numbers in the half with gradients"):
        AnswerObjective(NetworkSet([network]), source)
