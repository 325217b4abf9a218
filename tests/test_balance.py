"""Balanced qualities: never worth less than one quality for all, never costlier, and refused where they do not
belong."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atdc.balance import Balance, balance_path, balanced
from atdc.errors import ArgumentError, WeightsError

LEVELS, NAMES = np.arange(8), ("a", "b")


@given(st.integers(0, 2**32 - 1), st.integers(1, 6))
def test_no_less_utility_in_no_more_bytes(seed: int, tasks: int) -> None:
    rng = np.random.default_rng(seed)
    sizes = np.cumsum(rng.uniform(1, 50, (8, tasks)), 0) * rng.uniform(0.1, 10, tasks)
    utilities = 1 - np.exp(-np.cumsum(rng.uniform(0.1, 1, (8, tasks)), 0))
    found = balanced(sizes, utilities)
    for level in range(8):
        qualities = np.array(found.at(level))
        worth = [np.interp(qualities[task], LEVELS, utilities[:, task]) for task in range(tasks)]
        taken = [np.exp(np.interp(qualities[task], LEVELS, np.log(sizes[:, task]))) for task in range(tasks)]
        assert np.mean(worth) >= utilities[level].mean() - 1e-9
        assert np.sum(taken) <= sizes[level].sum() * (1 + 1e-9)


def test_between_two_points_of_the_hull_the_steps_from_one_to_the_next_are_tried() -> None:
    """One task alone that can rise, along a line: the hull has its ends only, one quality for all would raise both."""
    sizes = np.stack([np.full(8, 10.0), np.linspace(10, 80, 8)], 1)
    sizes[:, 0] += 5 * LEVELS
    utilities = np.stack([np.full(8, 0.5), np.linspace(0.1, 0.9, 8)], 1)
    rows = np.array(balanced(sizes, utilities).qualities)
    assert (rows[:, 0] == 0).all() and (np.abs(rows[:, 1] - LEVELS) < 0.26).all()
    assert (np.array(balanced(np.full((8, 2), 3.0), utilities).qualities) <= 7).all()  # bytes that never change


def test_of_some_tensors_only_the_utility_of_their_answers_counts(tmp_path: Path) -> None:
    """`a` is a network of two tensors, which stops to get better at quality 2; nothing is known of `d`."""
    names, weights = ("a/1", "b", "a/2", "c", "d"), tmp_path / "some.safetensors"
    rising, sizes = np.linspace(0.1, 0.8, 8).tolist(), (10 * 2.0**LEVELS).tolist()
    measured = {
        "a": {"tensors": ["a/1", "a/2"], "bytes": sizes, "utility": np.minimum(rising, rising[2]).tolist()},
        "b": {"bytes": sizes, "utility": rising},
        "c": {"bytes": [4 * size for size in sizes], "utility": rising},
        "d": {"bytes": sizes, "utility": None},
    }
    rows = {str(level): dict.fromkeys(names, 1.5) for level in range(8)}
    record = {"provenance": {"weights": b"abcd".hex()}, "qualities": rows, "measured": measured}
    balance_path(weights).write_text(json.dumps(record))

    def at(quality: float, *wanted: str) -> dict[str, float]:
        return dict(zip(names, Balance.read(weights, b"abcd", names, wanted or None).at(quality), strict=True))

    assert at(4) == at(4, *names) == dict.fromkeys(names, 1.5)
    assert at(4, "b") == at(4, "b", "d") == dict.fromkeys(names, 4.0)
    assert at(6, "a/2") == {"a/1": 2.0, "b": 6.0, "a/2": 2.0, "c": 6.0, "d": 6.0}
    both = at(4, "b", "c")
    assert both["b"] > 4 > both["c"] and both["a/1"] == both["d"] == 4
    measured["b"] = {"bytes": sizes[:7], "utility": rising[:7]}
    balance_path(weights).write_text(json.dumps(record))
    with pytest.raises(WeightsError, match="damaged"):
        at(4, "b")


def test_a_noisy_dip_is_not_taken_for_a_reason() -> None:
    utilities = np.linspace(0.5, 1.0, 8)[:, None].repeat(2, 1)
    utilities[4, 1] = 0.6
    rows = np.array(balanced(2.0 ** LEVELS[:, None].repeat(2, 1), utilities).qualities)
    assert (np.diff(rows, axis=0) >= 0).all()


def test_a_balance_of_other_weights_is_refused(tmp_path: Path) -> None:
    weights = tmp_path / "some.safetensors"
    with pytest.raises(WeightsError, match="atdc bench balance"):
        Balance.read(weights, b"abcd", NAMES)
    rows = {str(level): {"a": level, "b": 0} for level in range(8)}
    balance_path(weights).write_text(json.dumps({"provenance": {"weights": b"abcd".hex()}, "qualities": rows}))
    assert Balance.read(weights, b"abcd", NAMES).at(2.5) == [2.5, 0.0]
    with pytest.raises(WeightsError, match="a balance of weights"):
        Balance.read(weights, b"efgh", NAMES)
    with pytest.raises(ArgumentError):
        Balance.read(weights, b"abcd", NAMES).at(8)
    assert Balance.read(weights, b"abcd", ("b", "a")).at(2) == [0.0, 2.0]
    balance_path(weights).unlink()
    balance_path(weights).mkdir()
    with pytest.raises(WeightsError, match="is a directory"):
        Balance.read(weights, b"abcd", NAMES)
    balance_path(weights).rmdir()
    balance_path(weights).write_text(json.dumps({"provenance": {"weights": "61626364"}, "qualities": rows}))
    with pytest.raises(WeightsError, match="damaged"):
        Balance.read(weights, b"abcd", (*NAMES, "c"))
    wrong = {str(level): {"a": 9, "b": 0} for level in range(8)}
    of_range = json.dumps({"provenance": {"weights": "61626364"}, "qualities": wrong})
    texts = of_range.replace("9", '"4"')
    empty = '{"provenance": {"weights": "61626364"}, "qualities": {}}'
    for damaged in ("{", "[]", "[" * 100_000, empty, of_range, texts):
        balance_path(weights).write_text(damaged)
        with pytest.raises(WeightsError, match="atdc bench balance"):
            Balance.read(weights, b"abcd", NAMES)
