"""Samples of several kinds as batches: each kind as often as its samples are, and targets of those that are read."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

import atdc
from atdc.data.feature_source import InMemoryFeatures
from atdc.tensors import FeatureSet, TensorSpec
from atdc.training.data import SourceFeatures, kinds_of
from atdc.training.loop import _draws
from tiny_recipe import TINY

NAMES = ("a", "b")
Sample = dict[str, NDArray[np.float32]]


def in_blocks(*counts: int) -> list[Sample]:
    """Samples of kinds that lie one block after the other: both tensors, `a` alone, `b` alone."""
    samples: list[Sample] = []
    for names, count in zip((NAMES, ("a",), ("b",)), counts, strict=True):
        for _ in range(count):
            value = np.float32(len(samples)) + np.random.default_rng(len(samples)).normal(size=(2, 4, 4))
            samples.append({name: value.astype(np.float32) for name in names})
    return samples


def features_of(samples: Sequence[Sample], rows: Sequence[int] | None = None) -> SourceFeatures:
    source = InMemoryFeatures(list(samples))
    chosen = list(range(len(source))) if rows is None else list(rows)
    kinds = kinds_of(source, NAMES)
    tensors = FeatureSet(tuple(TensorSpec(name, 2) for name in NAMES))
    ones = [torch.ones(2)] * 2
    return SourceFeatures(source, tensors, [torch.zeros(2)] * 2, ones, np.array(chosen), [kinds[row] for row in chosen])


@pytest.mark.parametrize("counts", [(200, 800, 0), (800, 200, 0), (300, 400, 300)])
def test_kinds_in_blocks_make_batches_as_often_as_their_samples_are(counts: tuple[int, ...]) -> None:
    features = features_of(in_blocks(*counts))
    draws = _draws(np.random.default_rng(0), len(features), 16, 600, 1, (0, 0))
    present = [tuple(features.load(draw.indices).available) for draw in draws]
    shares = [np.mean([kind == there for there in present]) for kind in ((0, 1), (0,), (1,))]
    assert shares == pytest.approx(np.array(counts) / sum(counts), abs=0.06)


def test_numbers_are_those_of_the_samples_that_are_read() -> None:
    features = features_of(in_blocks(10, 6, 4), rows=range(1, 19))
    rng = np.random.default_rng(0)
    for _ in range(50):
        indices = np.sort(rng.permutation(len(features))[:5])
        batch, numbers = features.load(indices), features.numbers(indices)
        for row, number in enumerate(numbers.tolist()):
            sample = features.source.read(number)
            for place in batch.available:
                assert np.array_equal(batch.parts[place][row].numpy(), sample[NAMES[place]])


class Recorded(InMemoryFeatures):
    """Says which samples are read."""

    def __init__(self, samples: list[Sample], events: list[Any]) -> None:
        super().__init__(samples)
        self.events = events

    def read(self, index: int) -> Sample:
        self.events.append(index)
        return super().read(index)


class Recording:
    """An objective that says of which samples it was asked for targets."""

    def __init__(self, events: list[Any]) -> None:
        self.events = events

    def targets(self, indices: NDArray[np.int64], tasks: Sequence[int]) -> Mapping[str, Tensor]:
        self.events.append(tuple(indices.tolist()))
        return {}

    def loss(self, task: int, decoded: Tensor, targets: Mapping[str, Tensor]) -> Tensor:
        return decoded.square().mean((1, 2, 3))


@pytest.mark.filterwarnings("ignore::atdc.errors.FitWarning")
def test_targets_are_of_the_samples_whose_features_are_coded() -> None:
    """Some are held out, so that rows of the training set are not numbers of the data set; kinds differ, so that peers
    stand in."""
    events: list[Any] = []
    source = Recorded(in_blocks(12, 6, 4), events)
    atdc.FeatureCodec.fit(source, recipe=TINY, objective=Recording(events), progress=False)
    asked = [place for place, event in enumerate(events) if isinstance(event, tuple)]
    assert len(asked) >= TINY.steps
    for place in asked:
        assert tuple(events[place + 1 : place + 1 + len(events[place])]) == events[place]
    held_out = set(range(22)) - {number for place in asked for number in events[place]}
    assert held_out
