"""Scores mean what they say: the formula, and a planted dependency that they recover."""

import math

import numpy as np
import pytest
import torch

from atdc.config import ModelConfig
from atdc.graph.scores import ScoreTable, candidate_sets
from atdc.graph.search import exact
from atdc.networks.batches import FeatureBatch
from atdc.networks.predictability import gaussian_score_bits, proxy_losses, score_bits
from atdc.networks.predictor import Predictor, proxy_loss
from atdc.tensors import FeatureSet


def test_the_score_is_the_divergence_of_two_gaussians() -> None:
    torch.manual_seed(0)
    target, mean, log_variance = torch.randn(3, 1, 2, 3, 3, dtype=torch.float64)
    distortion = torch.tensor([0.05, 0.4], dtype=torch.float64)
    bits = gaussian_score_bits(target, mean, log_variance, distortion)
    for column, d in enumerate(distortion):
        source = torch.distributions.Normal(target, d.sqrt())
        model = torch.distributions.Normal(mean, (log_variance.exp() + d).sqrt())
        expected = torch.distributions.kl_divergence(source, model).sum() / math.log(2)
        assert float(bits[0, column]) == pytest.approx(float(expected))


def test_a_perfect_prediction_costs_nothing() -> None:
    target = torch.randn(2, 3, 4, 4)
    bits = gaussian_score_bits(target, target, torch.full_like(target, -40.0), torch.tensor([0.1]))
    assert float(bits.abs().max()) < 1e-4


def predictor_of(tensors: int, channels: int, width: int) -> Predictor:
    config = ModelConfig(feature_channels=channels, predictor_width=width)
    return Predictor(config, FeatureSet.alike(range(tensors), channels, channels, None))


def planted(rng: torch.Generator, images: int) -> torch.Tensor:
    """Four tasks: 1 is 0 without its sign, so 0 tells 1 but 1 tells only the size of 0; 2 needs both 0 and 3."""
    zero, three = torch.randn(2, images, 4, 8, 8, generator=rng)
    noise = torch.randn(2, images, 4, 8, 8, generator=rng) * 0.1
    one = (zero.abs() - 0.8) / 0.6 + noise[0]
    two = (zero + three) / math.sqrt(2) + noise[1]
    return torch.stack([zero, one, two, three], 1)


@pytest.mark.slow
@pytest.mark.portability
def test_a_planted_dependency_is_recovered_whatever_the_seed(seed: int) -> None:
    """Trained until the losses are level, at a rate that falls to nothing, so that no seed and no kernel decides: the
    ratios of five seeds come out at .24 to .35, 2.8 to 3.3 and .09 to .14, bounds are .75, 1.2 and .6."""
    torch.manual_seed(seed)
    rng, choices = torch.Generator().manual_seed(seed), np.random.default_rng(seed)
    predictor, steps = predictor_of(4, channels=4, width=16), 300
    optimiser = torch.optim.AdamW(predictor.parameters(), lr=8e-3)
    falling = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    pairs = candidate_sets(4, 2)
    compared = [(1, ()), (1, (0,)), (0, (1,)), (2, (0, 3))]
    for _ in range(steps):
        features = planted(rng, 8)
        losses = []
        for child, parents in (*compared, *(pairs[int(i)] for i in choices.integers(len(pairs), size=2))):
            mask = torch.zeros(8, 4)
            mask[:, list(parents)] = 1
            contributions = sum((predictor.contribution(p, features[:, p]) for p in parents), torch.zeros(8, 16, 8, 8))
            losses.append(proxy_loss(*predictor(child, contributions, mask), features[:, child]).mean())
        optimiser.zero_grad()
        torch.stack(losses).sum().backward()
        optimiser.step()
        falling.step()

    predictor.requires_grad_(False)
    test = planted(torch.Generator().manual_seed(1), 32)
    bits = score_bits(predictor, FeatureBatch.of(test), pairs, torch.full((1, 4), 0.05))[:, 0]
    table = ScoreTable.of(4, bits.double().mean(0).numpy(), 2)
    assert table.cost(1, (0,)) < 0.75 * table.cost(1, ())
    assert table.cost(1, ()) - table.cost(1, (0,)) > 1.2 * (table.cost(0, ()) - table.cost(0, (1,)))
    assert table.cost(2, (0, 3)) < 0.6 * min(table.cost(2, (0,)), table.cost(2, (3,)))
    graph = exact(table, 2)
    assert (0, 1) in graph.edges
    # Of the three tasks tied by one sum, two come first and the third from both.
    child = next(task for task in (0, 2, 3) if len(set(graph.parents[task]) & {0, 2, 3}) == 2)
    assert set(graph.parents[child]) == {0, 2, 3} - {child}


def test_proxy_losses_are_those_of_the_predictor() -> None:
    predictor = predictor_of(3, channels=3, width=8).requires_grad_(False)
    features = torch.randn(2, 3, 3, 4, 4)
    pairs = candidate_sets(3, 2)
    losses = proxy_losses(predictor, FeatureBatch.of(features), pairs)
    mask = torch.tensor([[0.0, 1.0, 1.0]] * 2)
    contributions = predictor.contribution(1, features[:, 1]) + predictor.contribution(2, features[:, 2])
    expected = proxy_loss(*predictor(0, contributions, mask), features[:, 0])
    assert torch.allclose(losses[:, pairs.index((0, (1, 2)))], expected)
