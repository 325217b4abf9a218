"""`max_bytes`: never a byte more, never worse than the best one quality for all, and the weights count."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

import atdc
from atdc.balance import at_steps
from atdc.bitstream.container import ContainerReader
from atdc.choice.budget import STEPS, best_within
from atdc.cli import app
from atdc.codec import FeatureCodec
from atdc.errors import ArgumentError


class Curves:
    """A coder of known curves of bits, a little wrong each time, and utilities that rise ever more slowly."""

    def __init__(self, seed: int, tensors: int) -> None:
        random = np.random.default_rng(seed)
        self.bits = random.uniform(50, 800, tensors) * np.exp(
            np.arange(STEPS)[:, None] * random.uniform(0.02, 0.08, tensors)
        )
        self.utilities = 1 - np.exp(-np.arange(STEPS)[:, None] / random.uniform(8, 60, tensors))
        self.noise = random.uniform(0.97, 1.03, 1000)
        self.tried: list[tuple[int, ...]] = []

    def coded(self, steps: tuple[int, ...]) -> tuple[bytes, list[float]]:
        self.tried.append(steps)
        own = [float(self.bits[step, tensor]) for tensor, step in enumerate(steps)]
        noise = self.noise[hash(steps) % 1000]
        framing = 20 if len(set(steps)) == 1 else 20 + len(steps)
        return json.dumps(steps).encode().ljust(int(sum(own) * noise / 8) + framing), [bits * noise for bits in own]

    def value(self, steps: tuple[int, ...], weights: np.ndarray) -> float:
        worth = self.utilities[list(steps), range(len(steps))]
        return float(worth @ weights)


def steps_of(data: bytes) -> tuple[int, ...]:
    return tuple(json.loads(data))


@settings(max_examples=40)
@given(st.integers(0, 10_000), st.integers(2, 8), st.floats(0.05, 0.9), st.booleans())
def test_no_byte_more_and_no_less_worth_than_one_quality_for_all(seed, tensors, share, alike):
    curves = Curves(seed, tensors)
    weights = np.ones(tensors) if alike else np.random.default_rng(seed).uniform(0, 3, tensors)
    least, most = (len(curves.coded((step,) * tensors)[0]) for step in (0, STEPS - 1))
    limit = int(least + share * (most - least))
    data = best_within(limit, curves.utilities, weights, curves.coded)
    assert len(data) <= limit
    common = [steps for steps in list(curves.tried) if len(set(steps)) == 1 and len(curves.coded(steps)[0]) <= limit]
    assert curves.value(steps_of(data), weights) >= max(curves.value(steps, weights) for steps in common)
    assert len(set(curves.tried)) <= 1 + 6 + 4 + 6 + 1


def test_unequal_curves_gain_much_and_most_of_what_there_is_to_gain():
    gains = []
    for seed in range(20):
        curves = Curves(seed, 3)
        limit = len(curves.coded((28,) * 3)[0])
        weights = np.ones(3)
        data = best_within(limit, curves.utilities, weights, curves.coded)
        grid = [(a, b, c) for a in range(0, 57, 4) for b in range(0, 57, 4) for c in range(0, 57, 4)]
        sizes = [20 + 3 + sum(curves.bits[step, place] for place, step in enumerate(steps)) / 8 for steps in grid]
        best = max(curves.value(steps, weights) for steps, size in zip(grid, sizes, strict=True) if size <= limit)
        common, found = curves.value((28,) * 3, weights), curves.value(steps_of(data), weights)
        gains.append((found - common, best - common))
    assert sum(found for found, _ in gains) >= 0.9 * sum(best for _, best in gains) > 0


def test_fewer_bytes_than_quality_0_takes_are_refused_with_the_least():
    curves = Curves(0, 3)
    least = len(curves.coded((0, 0, 0))[0])
    with pytest.raises(ArgumentError, match=f"at least {least}"):
        best_within(least - 1, curves.utilities, [1, 1, 1], curves.coded)
    assert steps_of(best_within(least, curves.utilities, [1, 1, 1], curves.coded)) == (0, 0, 0)


def test_a_tensor_without_weight_gets_no_bytes_and_room_for_all_gives_all():
    curves = Curves(1, 2)
    most = len(curves.coded((56, 56))[0])
    assert steps_of(best_within(2 * most, curves.utilities, [1, 1], curves.coded)) == (56, 56)
    limit = len(curves.coded((30, 0))[0])
    one, other = steps_of(best_within(limit, curves.utilities, [1, 0], curves.coded))
    assert other == 0 and one >= 28


def test_values_between_integer_qualities_are_linear():
    assert at_steps(np.arange(8.0)[:, None] ** 2)[12, 0] == 2.5


@pytest.fixture(scope="module")
def codec(untrained_weights: Path) -> FeatureCodec:
    return atdc.load(untrained_weights).feature_codec


@pytest.fixture(scope="module")
def features(codec: FeatureCodec) -> dict[str, torch.Tensor]:
    random = torch.Generator().manual_seed(0)
    return {name: torch.randn(8, 8, 8, generator=random) for name in codec.task_names}


@pytest.mark.parametrize("names", [slice(0, 6), slice(1, 4)])
def test_a_codec_keeps_within_the_bytes_in_every_profile(
    codec: FeatureCodec, features: dict[str, torch.Tensor], names: slice
) -> None:
    some = {name: features[name] for name in codec.task_names[names]}
    first = list(some)[:1]
    limit = len(codec.encode(some, 2, first=first))
    for settings_ in ({}, {"profile": "segments"}, {"first": first}):
        data = codec.encode(some, max_bytes=limit, weights={first[0]: 5}, **settings_)
        assert len(data) <= limit and codec.decode(data).keys() == some.keys()
    with pytest.raises(ArgumentError, match=rf"at least {len(codec.encode(some, 0))}"):
        codec.encode(some, max_bytes=20)


def test_what_makes_no_sense_is_refused(codec: FeatureCodec, features: dict[str, torch.Tensor]) -> None:
    for wrong, message in (
        ({"max_bytes": 500, "quality": 4}, "one of them"), ({"max_bytes": 0}, "1 or more"),
        ({"max_bytes": 500.0}, "a number of bytes"), ({"weights": {"rgb": 1}}, "within which they count"),
        ({"max_bytes": 500, "weights": {"rbg": 1}}, "rbg"),
        ({"max_bytes": 500, "weights": {"rgb": -1}}, "weight of rgb"),
        ({"max_bytes": 500, "weights": {"rgb": float("nan")}}, "weight of rgb"),
        ({"max_bytes": 500, "weights": dict.fromkeys(codec.task_names, 0)}, "one at least that counts"),
        ({"max_bytes": 500, "weights": [1] * 6}, "a mapping"),
    ):  # fmt: skip
        with pytest.raises(ArgumentError, match=message):
            codec.encode(features, **wrong)


def test_the_command_line_keeps_within_the_bytes_and_tells_qualities(
    untrained_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    codec = atdc.load(untrained_weights)
    np.savez("a.npz", **{name: np.full((8, 4, 4), 0.5, np.float32) for name in codec.feature_codec.task_names})
    data = codec.feature_codec.encode(dict(np.load("a.npz")), 3)
    command = ["encode", "a.npz", "-o", "out", "--model", str(untrained_weights), "--max-bytes", str(len(data))]
    done = CliRunner().invoke(app, [*command, "--weight", "rgb=3", "--json"])
    assert done.exit_code == 0, done.stderr
    (told,) = json.loads(done.stdout)
    written = Path(told["output"]).read_bytes()
    assert told["file"] == "a.npz" and told["bytes"] == len(written) <= len(data)
    steps = ContainerReader(written).header.qualities
    assert [8 * value for value in told["quality"].values()] == list(steps)
    for wrong in (["-q", "3"], ["--balanced"], ["--task-quality", "rgb=3"], ["--weight", "rgb=-1"]):
        assert CliRunner().invoke(app, [*command, *wrong]).exit_code == 2
    assert CliRunner().invoke(app, [*command[:-2], "--weight", "rgb=3"]).exit_code == 2
    least = CliRunner().invoke(app, [*command[:-1], "20", "--force"])
    assert least.exit_code == 1 and "expected at least" in " ".join(least.stderr.split())
