"""Predictability through the predictor: what a task would cost given a set of others, in bits or in the paper's unit.

These are the full scores: one run of the predictor per (child, parent set). The rate estimator
(:mod:`atdc.networks.rate_estimators`) answers the same question from one small network.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from atdc.graph.scores import Pair
from atdc.networks.batches import FeatureBatch
from atdc.networks.predictor import Predictor, proxy_loss
from atdc.networks.resampling import resampled


def _predictions(
    predictor: Predictor, features: FeatureBatch, pairs: Sequence[Pair]
) -> Iterator[tuple[int, Tensor, Tensor]]:
    """(child, μ, log σ²) for each pair, parents clean; each parent's contribution to the first layer is computed
    once."""
    batch, grids = len(features), features.grids
    contributions = [predictor.contribution(task, part) for task, part in enumerate(features.parts)]
    for child, parents in pairs:
        mask = torch.zeros(batch, len(contributions), device=contributions[0].device)
        mask[:, list(parents)] = 1
        terms = [resampled(contributions[parent], grids[parent], grids[child]) for parent in parents]
        total = sum(terms, torch.zeros_like(contributions[child]))
        mean, log_variance = predictor(child, total, mask)
        yield child, mean, log_variance


def gaussian_score_bits(target: Tensor, mean: Tensor, log_variance: Tensor, distortion: Tensor) -> Tensor:
    """``Σ_k KL(N(z'_k, D) ‖ N(μ_k, σ²_k + D)) / ln 2``: bits to convey the target with squared error D.

    Args:
        target: normalised features z', (B, C, h, w).
        mean: μ, same shape.
        log_variance: log σ², same shape.
        distortion: D at each quality, (Q,), mean squared error per element.

    Returns:
        (B, Q) bits per image.
    """
    error, variance = torch.square(target - mean), torch.exp(log_variance)
    bits = []
    for d in distortion.cpu().tolist():
        total = variance + d
        bits.append((torch.log(total / d) + (d + error) / total - 1).sum((1, 2, 3)) * (0.5 / math.log(2)))
    return torch.stack(bits, 1)


@torch.no_grad()
def score_bits(predictor: Predictor, features: FeatureBatch, pairs: Sequence[Pair], distortion: Tensor) -> Tensor:
    """Score of each pair at each quality, bits per image, (B, Q, P).

    Args:
        predictor: the shared predictor.
        features: normalised features.
        pairs: (child, parents) in the order of the result.
        distortion: D of each task at each quality, (Q, T).
    """
    scores = [
        gaussian_score_bits(features.parts[child], mean, log_variance, distortion[:, child])
        for child, mean, log_variance in _predictions(predictor, features, pairs)
    ]
    return torch.stack(scores, 2)


@torch.no_grad()
def proxy_losses(predictor: Predictor, features: FeatureBatch, pairs: Sequence[Pair]) -> Tensor:
    """``L_proxy`` of each pair, nats per element, (B, P): what the paper's setting scores with."""
    losses = [
        proxy_loss(mean, log_variance, features.parts[child])
        for child, mean, log_variance in _predictions(predictor, features, pairs)
    ]
    return torch.stack(losses, 1)
