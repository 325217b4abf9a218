"""Fixtures that several test files share."""

import dataclasses
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from atdc.codec import FeatureCodec
from atdc.config import ModelConfig
from atdc.entropy.float_model import FloatEntropyModel, quantised_model
from atdc.graph.graph_tables import GraphTables
from atdc.graph.task_graph import TaskGraph
from atdc.networks.codec_networks import CodecNetworks
from atdc.networks.task_networks import TaskNetworks
from atdc.pipeline import Codec
from atdc.tasks import TASK_NAMES
from atdc.training import wanted_stage

# Times depend on what else the machine does; laws do not.
hypothesis.settings.register_profile("laws", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("laws")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks the tests that take a seed, so that they can be run with several."""
    for item in items:
        if "seed" in getattr(item, "fixturenames", ()):
            item.add_marker("seeded")


class OneDevice(TorchDispatchMode):
    """Refuses every operation on a tensor of a device together with one of another, single numbers apart.

    That is an error on a GPU. On the device ``meta``, which has shapes and no values, matrix products and convolutions
    do not complain, so this does.
    """

    _transfers = (torch.ops.aten.copy_.default, torch.ops.aten._to_copy.default)

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor) and leaf.ndim]
        places = sorted({tensor.device.type for tensor in tensors})
        if func not in self._transfers:
            assert len(places) < 2, f"{func} meets the devices {', '.join(places)}"
        return func(*args, **kwargs)


@pytest.fixture(scope="session", autouse=True)
def _few_listed_sets() -> Iterator[None]:
    """Trainings list the graphs of all sets of up to three tensors: of six there are 62, each coded several times."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wanted_stage, "_LISTED_TENSORS", 3)
        yield


@pytest.fixture
def one_device() -> OneDevice:
    """A context in which no operation may mix devices."""
    return OneDevice()


@pytest.fixture
def seed() -> int:
    """Of a test that trains: 0, or what ``make portability`` says."""
    return int(os.environ.get("ATDC_TEST_SEED", "0"))


@pytest.fixture(scope="session")
def untrained_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A weights file of narrow networks that have learned nothing: enough to code, too little to answer anything."""
    torch.manual_seed(0)
    config = ModelConfig(
        feature_channels=8, encoder_widths=(8, 8, 16), head_widths=(8, 8, 8), predictor_width=8, latent_channels=8,
        codec_width=16, hyper_channels=4, hyper_width=8, state_channels=4, scorer_width=8,
    )  # fmt: skip
    tasks = len(TASK_NAMES)
    graphs = (
        TaskGraph(((3,), (2,), (5,), (), (3, 0), (3,))),
        TaskGraph(((), (0, 2), (0,), (1, 2), (0, 3), (3, 4))),
    )
    graph_tables = dataclasses.replace(
        GraphTables.untrained(tasks), candidates=graphs, listed=graphs, fixed=(graphs[0],) * 8,
        correction=np.zeros((8, len(graphs))),
    )  # fmt: skip
    networks = CodecNetworks(config, config.tensors(TASK_NAMES))
    torch.nn.init.normal_(networks.rate_estimator.last.weight)  # left at zero, it would find all graphs equally good
    means, stds = torch.zeros(tasks, 8), torch.full((tasks, 8), 0.3)
    float_model = FloatEntropyModel(config, config.tensors(TASK_NAMES))
    for task in float_model.parameters():
        torch.nn.init.normal_(task, std=0.2)  # left at zero, parents would say nothing of a child's tables
    entropy = quantised_model(float_model, networks)
    codec = Codec(TaskNetworks(config), FeatureCodec(networks, entropy, means, stds, graph_tables), {})
    path = tmp_path_factory.mktemp("weights") / "untrained.safetensors"
    codec.save(path)
    return path
