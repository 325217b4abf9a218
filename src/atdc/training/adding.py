"""A tensor more for a fitted codec: everything that it has stays as it is, so its files stay readable.

Whatever the codec knows of its first tensors is frozen, weights and integers: the predictor's hidden layers, every old
tensor's transforms and probability tables. What is trained did not exist before: the new tensor's transforms and tables
and its pairs in the predictor and in the tables of others, as in the paper's test of scalability.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn


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
        region = tuple(slice(size) for size in old[name].shape)
        parameter[region] = old[name]
        if parameter.shape == old[name].shape:
            parameter.requires_grad_(False)
        else:
            parameter.register_hook(_without(region))  # type: ignore[no-untyped-call]


def _without(region: tuple[slice, ...]) -> Callable[[Tensor], Tensor]:
    def hook(gradient: Tensor) -> Tensor:
        result = gradient.clone()
        result[region] = 0
        return result

    return hook
