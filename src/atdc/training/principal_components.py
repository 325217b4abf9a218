"""Where a codec's training starts: transforms that are principal components of training features."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from atdc.entropy.float_model import FloatEntropyModel
from atdc.networks.codec_networks import CodecNetworks
from atdc.networks.transforms import BlockMetric
from atdc.training.data import TrainingFeatures

_SAMPLES = 400
"""By which the components of a tensor are found."""


def start_from_principal_components(
    networks: CodecNetworks,
    float_model: FloatEntropyModel,
    train: TrainingFeatures,
    metric: Sequence[BlockMetric | None] | None = None,
) -> None:
    """Starts every tensor's transforms, and what is expected of its latent, from training samples that have it; in the
    metric of each tensor, where there is one."""
    tensors_of: dict[tuple[int, ...], list[int]] = {}
    for tensor in range(networks.task_count):
        tensors_of.setdefault(tuple(train.having(tensor, _SAMPLES).tolist()), []).append(tensor)
    for rows, tensors in tensors_of.items():
        parts = train.read(np.array(rows)).parts
        for tensor in tensors:
            tensor_metric = None if metric is None else metric[tensor]
            std = networks.task(tensor).start_from_principal_components(parts[tensor], tensor_metric)
            float_model.task(tensor).start_from_std(std)
            networks.task(tensor).start_hyper_latent()
