"""A codec small enough to evaluate in a second, and a handful of labelled images for it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from atdc.codec import FeatureCodec
from atdc.config import ModelConfig
from atdc.entropy.float_model import FloatEntropyModel, quantised_model
from atdc.graph.graph_tables import GraphTables
from atdc.graph.task_graph import TaskGraph
from atdc.networks.codec_networks import CodecNetworks
from atdc.networks.task_networks import TaskNetworks
from atdc.pipeline import Codec
from atdc.tasks import TASK_NAMES

SIZE = 64
TINY = ModelConfig(
    feature_channels=4, encoder_widths=(4, 4, 4), head_widths=(8, 4, 4), predictor_width=8, latent_channels=4,
    codec_width=8, hyper_channels=2, hyper_width=4, scorer_width=4,
)  # fmt: skip


class SmallImages:
    """Labelled images made of random blocks, as rooms offer them."""

    def __init__(self, count: int, seed: int = 0) -> None:
        random = np.random.default_rng(seed)

        def blocks(channels: int, low: int, high: int, dtype: type) -> np.ndarray:
            coarse = random.integers(low, high, (count, channels, 8, 8))
            return coarse.repeat(SIZE // 8, 2).repeat(SIZE // 8, 3).astype(dtype)

        self.arrays = {
            "segment_semantic": blocks(1, 0, 14, np.uint8),
            "keypoints2d": blocks(1, 0, 256, np.uint8),
            "edge_texture": blocks(1, 0, 256, np.uint8),
            "normal": blocks(3, 0, 256, np.uint8),
            "depth_zbuffer": blocks(1, 300, 5000, np.uint16),
            "rgb": blocks(3, 0, 256, np.uint8),
        }

    def __len__(self) -> int:
        return len(self.arrays["rgb"])

    def targets(self, indices: Sequence[int]) -> dict[str, Tensor]:
        return {name: torch.from_numpy(array[list(indices)]) for name, array in self.arrays.items()}


def make_tiny_codec() -> Codec:
    torch.manual_seed(0)
    networks, coding = TaskNetworks(TINY), CodecNetworks(TINY, TINY.tensors(TASK_NAMES))
    torch.nn.init.normal_(coding.rate_estimator.last.weight)
    for task in range(len(TASK_NAMES)):  # untrained latents are small: finer steps, so that files hold something
        coding.task(task).log_gain.rows.data += 2.5
        coding.task(task).log_inverse_gain.rows.data -= 2.5
    graphs = [TaskGraph(tuple(() if task == i else (i,) for task in range(6))) for i in range(4)]
    start = GraphTables.untrained(len(TASK_NAMES))
    graph_tables = GraphTables(
        (graphs[0],) * 8, (graphs[1],) * 8, (graphs[2],) * 8, tuple(graphs), tuple(graphs), start.distortion,
        start.bits_per_error, np.zeros((8, 4)),
    )  # fmt: skip
    entropy = quantised_model(FloatEntropyModel(TINY, TINY.tensors(TASK_NAMES)), coding)
    codec = FeatureCodec(coding, entropy, torch.full((6, 4), 0.1), torch.full((6, 4), 0.5), graph_tables, b"tiny")
    return Codec(networks, codec, {"name": "tiny"})


@pytest.fixture(scope="session")
def tiny_codec() -> Codec:
    return make_tiny_codec()


@pytest.fixture(scope="session")
def photos() -> SmallImages:
    return SmallImages(12)


@pytest.fixture
def tiny_weights(tiny_codec: Codec, tmp_path: Path) -> Path:
    path = tmp_path / "tiny.safetensors"
    tiny_codec.save(path)
    return path
