"""The predictor: what some tasks' features say about another's. One network for all children and all parent sets.

::

    parents z'_p ─ 3×3 per parent ─ to the child's grid ─ Σ/√(1+|S|)
                 ─▶ (+ child's scale and shift, ReLU, 3×3) × 2, with shortcuts
                 ─▶ per child: 1×1 ─▶ μ    1×1 ─▶ log σ²

It is used twice: to score parent sets before coding, and to predict a child from decoded parents while coding.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from atdc.config import ModelConfig
from atdc.tensors import FeatureSet

_REACH = 2
"""Positions that the hidden layers see on each side."""
LOG_VARIANCE_RANGE = (-7.0, 3.0)
"""Bounds of log σ², in units of the normalised features; outside them the Gaussian loss has nothing left to learn."""


class Predictor(nn.Module):
    """Gaussian prediction of a child's normalised features from any set of parents.

    The first layer is linear, so each parent's contribution is computed once (:meth:`contribution`) and summed for any
    parent set. The sum is scaled by ``1/√(1+|S|)`` so that hidden units see the same spread for small and large sets
    (batch normalisation's running statistics would fit no single parent set).
    """

    def __init__(self, config: ModelConfig, tensors: FeatureSet) -> None:
        super().__init__()
        width, task_count = config.predictor_width, len(tensors)
        channels = [tensor.channels for tensor in tensors.tensors]
        self.width, self.channels = width, channels
        self.shares = nn.ModuleList([nn.Conv2d(count, width, 3, padding=1, bias=False) for count in channels])
        self.pair = nn.Parameter(torch.zeros(task_count, task_count, width))
        self.child_scale = nn.Parameter(torch.ones(3, task_count, width))
        self.child_shift = nn.Parameter(torch.zeros(3, task_count, width))
        self.hidden = nn.ModuleList([nn.Conv2d(width, width, 3, padding=1) for _ in range(2)])
        self.mean = nn.ModuleList([nn.Conv2d(width, count, 1) for count in channels])
        self.log_variance = nn.ModuleList([nn.Conv2d(width, count, 1) for count in channels])
        for head in (*self.mean, *self.log_variance):
            assert isinstance(head, nn.Conv2d)
            if not head.weight.is_meta:  # where there are no values to draw, and torch would load its compiler for it
                nn.init.normal_(head.weight, std=0.02)

    def contribution(self, parent: int, features: Tensor) -> Tensor:
        """A parent's contribution to the first layer, on its own grid: (B, C, h, w) to (B, width, h, w)."""
        return self.shares[parent](features)

    def alone(self, child: int, mask: Tensor, shape: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """:meth:`forward` for a child without parents; `mask` is all zeros, (B, T), and `shape` (h, w).

        Nothing is known but how far the border is, and two 3×3 layers see no further than two positions: so five by
        five positions tell all, a tenth of the work.
        """
        rows, columns = (_within_reach(length) for length in shape)
        zeros = torch.zeros(1, self.width, rows[-1] + 1, columns[-1] + 1, device=mask.device)
        mean, log_variance = self(child, zeros, mask[:1])
        whole = (len(mask), -1, -1, -1)
        mean, log_variance = (part[:, :, rows][..., columns].expand(whole) for part in (mean, log_variance))
        return mean, log_variance

    def forward(self, child: int, contributions: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance, each (B, C, h, w), of the child's normalised features.

        Args:
            child: the predicted task's index.
            contributions: sum over the parents of :meth:`contribution`, (B, width, h, w), on the child's grid; zeros
                where there is no parent.
            mask: (B, T), 1 where the task is a parent.
        """
        scale = torch.rsqrt(1 + mask.sum(1))
        x = (contributions + (mask @ self.pair[child])[:, :, None, None]) * scale[:, None, None, None]
        for layer in range(3):
            own_scale, own_shift = (part[layer, child, :, None, None] for part in (self.child_scale, self.child_shift))
            y = torch.relu(torch.addcmul(own_shift, x, own_scale))
            if layer == 2:
                break
            x = x + self.hidden[layer](y)
        mean, log_variance = (_pointwise(layers[child], y) for layers in (self.mean, self.log_variance))
        return mean, log_variance.clamp(*LOG_VARIANCE_RANGE)


def _within_reach(length: int) -> list[int]:
    """Which of at most five positions says what is predicted at each of `length`: the middle one but near the ends.

    >>> _within_reach(3), _within_reach(8)
    ([0, 1, 2], [0, 1, 2, 2, 2, 2, 3, 4])
    """
    if length <= 2 * _REACH + 1:
        return list(range(length))
    return [*range(_REACH), *[_REACH] * (length - 2 * _REACH), *range(_REACH + 1, 2 * _REACH + 1)]


def _pointwise(layer: nn.Module, x: Tensor) -> Tensor:
    """A 1×1 convolution as a matrix product, which for one small image takes a tenth of the time."""
    assert isinstance(layer, nn.Conv2d) and layer.bias is not None
    product: Tensor = layer.weight.flatten(1) @ x.flatten(2) + layer.bias[:, None]
    return product.reshape(len(x), -1, *x.shape[2:])


def proxy_loss(mean: Tensor, log_variance: Tensor, target: Tensor) -> Tensor:
    """``½·mean[log σ² + (z'−μ)²/σ²]`` per image, nats per feature element, (B,); the paper's proxy loss."""
    loss = log_variance + torch.square(target - mean) * torch.exp(-log_variance)
    return 0.5 * loss.mean((1, 2, 3))
