"""Devices: a missing one is one clear line, and a batch arrives whole."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from atdc.coding.latent_coders import TrainingLatentCoder
from atdc.coding.traversal import code_along_graph
from atdc.config import ModelConfig
from atdc.entropy.float_model import FloatEntropyModel
from atdc.errors import ArgumentError
from atdc.graph.task_graph import TaskGraph
from atdc.networks.batches import FeatureBatch
from atdc.networks.codec_networks import CodecNetworks
from atdc.networks.devices import device_of, open_device, torch_defaults
from atdc.tasks import TASK_NAMES, TASKS, TaskSpec
from atdc.training.devices import mixed_precision, moved
from atdc.training.losses import every_fourth_pixel, task_loss


@dataclass(frozen=True, slots=True)
class Batch:
    features: torch.Tensor
    level: int
    targets: dict[str, torch.Tensor]
    rows: np.ndarray
    graphs: list[TaskGraph]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("name", ["cuda", "cuda:1", "nonesuch"])
def test_a_device_that_is_not_here_is_refused(name: str) -> None:
    with pytest.raises(ArgumentError, match=name):
        open_device(name)


def test_what_is_no_device_with_values_is_refused_with_those_that_are_here() -> None:
    for wrong in ("meta", torch.device("meta"), "gpu", "GPU:0", None, 1.5, ["cpu"], ""):
        with pytest.raises(ArgumentError, match=r"^device: found .*; expected one that is here: cpu") as caught:
            open_device(wrong)  # type: ignore[arg-type]
        named = isinstance(wrong, str) and wrong.lower().startswith("gpu")
        assert caught.value.cure == ("A GPU is called cuda." if named else "")
    assert open_device(torch.device("cpu")) == torch.device("cpu")


@pytest.mark.parametrize("outside", [torch_defaults, lambda: torch.autocast("cpu", torch.bfloat16)])
def test_every_step_computes_with_the_weights_that_there_are(
    outside: Callable[[], AbstractContextManager[None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True)
    layer, given = torch.nn.Conv2d(4, 4, 3), torch.ones(1, 4, 5, 5)
    outputs = []
    with outside():
        for _ in range(2):
            with mixed_precision(torch.device("cpu")):
                outputs.append(layer(given))
            with torch.no_grad():
                layer.weight.mul_(2)
                layer.bias.mul_(2)
    assert outputs[0].dtype == torch.bfloat16
    torch.testing.assert_close(outputs[1], 2 * outputs[0])


def test_tensors_at_any_depth_are_moved_and_all_else_stays() -> None:
    batch = Batch(torch.ones(2, 3), 4, {"rgb": torch.zeros(2)}, np.arange(2), [TaskGraph.independent(3)])
    (there,) = moved((batch,), torch.device("meta"))
    assert there.features.device.type == there.targets["rgb"].device.type == "meta"
    assert there.features.shape == (2, 3) and there.level == 4 and there.rows is batch.rows
    assert there.graphs is batch.graphs


def test_the_watch_over_devices_notices_a_convolution_that_stayed_behind(one_device: TorchDispatchMode) -> None:
    there, here = torch.zeros(1, 1, 3, 3, device="meta"), torch.zeros(1, 1, 3, 3)
    with one_device, pytest.raises(AssertionError, match="convolution"):
        torch.nn.functional.conv2d(there, here)


def test_a_module_is_where_its_parameters_are() -> None:
    assert device_of(torch.nn.Linear(1, 1).to("meta")).type == "meta"


@pytest.mark.parametrize("factorised", ["none", "roots"])
def test_a_training_step_stays_on_its_device(
    factorised: str, monkeypatch: pytest.MonkeyPatch, one_device: TorchDispatchMode
) -> None:
    """On the device `meta`, which has shapes and no values, no operation meets a tensor of the CPU."""
    config = ModelConfig(
        feature_channels=4, latent_channels=8, codec_width=8, hyper_channels=2, hyper_width=4, state_channels=2,
        predictor_width=8, scorer_width=8, factorised=factorised,
    )  # fmt: skip
    networks = CodecNetworks(config, config.tensors(range(3))).to("meta")
    float_model = FloatEntropyModel(config, config.tensors(range(3))).to("meta")
    batch = FeatureBatch.of(torch.zeros(4, 3, config.feature_channels, 8, 8, device="meta"))
    quality = torch.zeros(4, 3, device="meta")
    monkeypatch.setattr(torch.Tensor, "cpu", lambda tensor: torch.ones(tensor.shape))  # masks are looked at
    latent_coder = TrainingLatentCoder(networks, float_model, 4, [(8, 8)] * 3)
    chain, star = TaskGraph(((), (0,), (0, 1))), TaskGraph(((2,), (2,), ()))
    with one_device:
        result = code_along_graph(
            networks, [chain, chain, star, star], quality, latent_coder, batch.grids, batch.parts, with_proxy=True
        )
        loss = latent_coder.bits.sum() + torch.stack(result.reconstruction).sum() + result.proxy.sum()
        loss = loss + networks.rate_estimator(batch).sum()
        loss.backward()
    assert loss.device.type == "meta" and networks.predictor.pair.grad.device.type == "meta"


@pytest.mark.parametrize("spec", TASKS, ids=TASK_NAMES)
def test_losses_stay_on_their_device(spec: TaskSpec, one_device: TorchDispatchMode) -> None:
    output = torch.zeros(2, spec.out_channels, 8, 8, device="meta", requires_grad=True)
    kind = torch.long if spec.loss == "cross_entropy" else torch.float32
    target = torch.zeros(2, 1 if spec.loss == "cross_entropy" else spec.out_channels, 8, 8, dtype=kind, device="meta")
    with one_device:
        loss = task_loss(spec, *every_fourth_pixel(spec, output, target))
        loss.sum().backward()
    assert loss.device.type == output.grad.device.type == "meta"
