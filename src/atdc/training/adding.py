"""A tensor more for a fitted codec: everything that it has stays as it is, so its files stay readable.

Whatever the codec knows of its first tensors is frozen, weights and integers: the predictor's hidden layers, every old
tensor's transforms and probability tables. What is trained did not exist before: the new tensor's transforms and tables
and its pairs in the predictor and in the tables of others, as in the paper's test of scalability.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn

from atdc.codec import FeatureCodec
from atdc.graph.graph_tables import GraphTables
from atdc.networks.codec_networks import CodecNetworks
from atdc.tensors import FeatureSet


@torch.no_grad()
def adopt(larger: nn.Module, smaller: nn.Module) -> None:
    """Copies a module of fewer tasks into one of more, and freezes what was copied.

    A parameter that has rows for tasks keeps its new rows trainable. The rate estimator belongs to one number of tasks
    and is left alone.
    """
    old = dict(smaller.named_parameters())
    for name, parameter in larger.named_parameters():
        if name not in old or name.startswith("scorer."):
            continue
        known = tuple(slice(size) for size in old[name].shape)
        parameter[known] = old[name]
        if parameter.shape == old[name].shape:
            parameter.requires_grad_(False)
        else:
            parameter.register_hook(_without(known))  # type: ignore[no-untyped-call]


def _without(known: tuple[slice, ...]) -> Callable[[Tensor], Tensor]:
    def hook(gradient: Tensor) -> Tensor:
        kept = gradient.clone()
        kept[known] = 0
        return kept

    return hook


def first_tasks(codec: FeatureCodec, count: int, fingerprint: bytes) -> FeatureCodec:
    """The codec of the first tasks that is inside a codec of more: what reads files from before a task was added."""
    config = codec.config
    networks = CodecNetworks(config, FeatureSet(codec.tensors.tensors[:count]))
    whole = codec.networks.state_dict()
    part = {
        name: value if name.startswith("scorer.") else whole[name][tuple(slice(size) for size in value.shape)]
        for name, value in networks.state_dict().items()
    }
    networks.load_state_dict(part)
    tasks = [
        replace(task, parents=task.parents[:count], parent_bias=task.parent_bias[:count])
        for task in codec.entropy.tasks[:count]
    ]
    entropy = replace(codec.entropy, tasks=tuple(tasks))
    graph_tables = GraphTables.untrained(count)
    return FeatureCodec(networks, entropy, codec.mean[:count], codec.std[:count], graph_tables, fingerprint)
