"""The report before fitting: its figures are NumPy's of all values at once, and its warnings say what is wrong."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from atdc.data.dumped import DumpedFeatures, write_shard
from atdc.data.feature_report import FeatureReport, TensorReport, report
from atdc.data.feature_source import InMemoryFeatures
from atdc.errors import ArgumentError, DataError


def figures(values: NDArray[np.float64]) -> dict[str, Any]:
    """Of all values (C, n) at once, none of whose channels is dead."""
    normalised = (values - values.mean(1, keepdims=True)) / values.std(1, keepdims=True)
    eigenvalues = np.linalg.eigvalsh(np.atleast_2d(np.cov(normalised, bias=True)))
    return {
        "least": values.min(), "greatest": values.max(), "mean": values.mean(), "std": values.std(),
        "kurtosis": (normalised**4).mean(), "effective_dimension": eigenvalues.sum() ** 2 / (eigenvalues**2).sum(),
        "channel_mean": values.mean(1), "channel_std": values.std(1),
    }  # fmt: skip


def assert_figures(tensor: TensorReport, expected: dict[str, Any], rtol: float) -> None:
    for name, value in expected.items():
        np.testing.assert_allclose(getattr(tensor, name), value, rtol=rtol, err_msg=name)


def report_of(samples: Any, **options: Any) -> FeatureReport:
    return report(InMemoryFeatures(samples), progress=False, **options)


@given(
    seed=st.integers(0, 2**32),
    channels=st.integers(1, 5),
    grids=st.lists(st.tuples(st.integers(1, 4), st.integers(1, 4)), min_size=6, max_size=12),
    offset=st.sampled_from([0.0, 1.0, -1e4]),
    power=st.sampled_from([1, 3]),
)
def test_figures_of_one_pass_are_those_of_all_values_at_once(
    seed: int, channels: int, grids: list[tuple[int, int]], offset: float, power: int
) -> None:
    draw = np.random.default_rng(seed)
    mixing, scales = draw.normal(size=(channels, channels)), draw.lognormal(size=(channels, 1))
    arrays = []
    for height, width in grids:  # means drift from sample to sample, so that merging has something to do
        flat = scales * (mixing @ draw.normal(size=(channels, height * width)) ** power + draw.normal() + offset)
        arrays.append(flat.reshape(channels, height, width).astype(np.float32))
    tensor = report_of([{"a": array} for array in arrays]).tensors["a"]
    whole = np.concatenate([array.reshape(channels, -1) for array in arrays], 1).astype(np.float64)
    assert_figures(tensor, figures(whole), 1e-6)
    assert (tensor.samples, tensor.channels, tensor.grids) == (len(grids), channels, Counter(grids))
    assert tensor.dead_channels == ()


def test_dead_channels_are_found_and_left_out_of_kurtosis_and_dimension() -> None:
    values = np.random.default_rng(1).normal(size=(20, 5, 6, 6)).astype(np.float32)
    values[:, 1] = 0.1
    values[:, 3] *= 1e-7
    tensor = report_of([{"a": value} for value in values]).tensors["a"]
    assert tensor.dead_channels == (1, 3)
    whole = values.swapaxes(0, 1).reshape(5, -1).astype(np.float64)
    alive = figures(whole[[0, 2, 4]])
    assert_figures(tensor, {name: alive[name] for name in ("kurtosis", "effective_dimension")}, 1e-9)
    assert_figures(tensor, {"std": whole.std(), "channel_std": whole.std(1)}, 1e-6)


def test_the_threshold_of_dead_channels_is_a_millionth_of_the_tensors_standard_deviation() -> None:
    values = np.random.default_rng(2).choice([-1.0, 1.0], size=(10, 3, 8, 8))
    values *= np.array([1, 1.1e-6, 0.4e-6])[:, None, None]
    assert report_of([{"a": value} for value in values]).tensors["a"].dead_channels == (2,)


def test_the_effective_dimension_is_one_of_equal_and_all_of_unrelated_channels() -> None:
    one = np.random.default_rng(3).normal(size=(30, 1, 4, 4))
    equal = report_of([{"a": value.repeat(6, 0) * np.arange(1, 7)[:, None, None] + 5} for value in one]).tensors["a"]
    assert equal.effective_dimension == pytest.approx(1, rel=1e-5)
    signs = np.array([[a, b, a * b] for a in (-1.0, 1.0) for b in (-1.0, 1.0)])[..., None, None]
    assert report_of([{"a": value} for value in signs]).tensors["a"].effective_dimension == pytest.approx(3)


def test_a_constant_tensor_has_figures_that_json_can_hold() -> None:
    for value in (np.full((3, 2, 2), 0.1), np.arange(3.0)[:, None, None] * np.ones((1, 2, 2))):
        result = report_of([{"a": value}] * 60)
        tensor = result.tensors["a"]
        assert (tensor.kurtosis, tensor.effective_dimension, tensor.dead_channels) == (0, 0, (0, 1, 2))
        assert result.warnings == ("Tensor 'a' is constant: leave it out.",)
        json.dumps(result.to_json(), allow_nan=False)


def test_every_warning_names_its_tensor_and_nothing_else_warns() -> None:
    draw = np.random.default_rng(4)
    sound = draw.normal(size=(60, 8, 4, 4))
    dead, tails, huge = sound.copy(), sound.copy(), sound * 3e4
    dead[:, [0, 5]] = 1
    tails[0, :, 0, 0] = 1e3
    samples: list[dict[str, NDArray[np.float64]]] = [
        {"sound": sound[i], "dead": dead[i], "tails": tails[i], "huge": huge[i]} for i in range(60)
    ]
    for sample in samples[:5]:
        sample["rare"] = sample["sound"]
    for sample in samples[:6]:
        sample["enough"] = sample["sound"]
    warnings = report_of(samples).warnings
    expected = {
        "'dead' has 2 dead channels of 8 (0, 5)": "dead", "'huge' has values up to ±": "huge",
        "'rare' is in 5 of 60 samples, under 10 %": "rare", "'tails' has a kurtosis of": "tails",
    }  # fmt: skip
    assert len(warnings) == len(expected)
    for words in expected:
        assert sum(words in warning for warning in warnings) == 1, words
    assert report_of(samples[:50]).warnings[0].startswith("Tensor")
    assert (
        report_of(samples[:49]).warnings[0]
        == "There are 49 samples, fewer than 50: what is fitted will not hold for others."
    )


@pytest.mark.parametrize(
    ("limit", "places"), [(1, [0]), (2, [0, 9]), (4, [0, 3, 6, 9]), (10, [*range(10)]), (99, [*range(10)])]
)
def test_a_limit_reads_evenly_spaced_samples_once(limit: int, places: list[int]) -> None:
    read: list[int] = []

    class Noted(InMemoryFeatures):
        def read(self, index: int) -> dict[str, NDArray[np.float32]]:
            read.append(index)
            return super().read(index)

    values = np.random.default_rng(5).normal(size=(10, 2, 3, 3)).astype(np.float32)
    result = report(Noted([{"a": value} for value in values]), limit, progress=False)
    assert read == places and (result.samples, result.samples_read) == (10, len(places))
    whole = values[places].swapaxes(0, 1).reshape(2, -1).astype(np.float64)
    assert_figures(result.tensors["a"], figures(whole), 1e-9)
    assert result.tensors["a"].samples == 10


def test_a_tensor_that_the_evenly_spaced_samples_lack_is_reported_all_the_same() -> None:
    draw = np.random.default_rng(6)
    samples = [{"a": draw.normal(size=(1, 2, 2))} for _ in range(9)]
    samples[3]["rare"] = samples[5]["rare"] = draw.normal(size=(2, 4, 4))
    result = report_of(samples, limit=2)
    assert (result.samples_read, result.tensors["rare"].samples, result.tensors["rare"].channels) == (3, 2, 2)
    assert result.tensors["rare"].grids == {(4, 4): 2}
    assert_figures(result.tensors["rare"], figures(samples[3]["rare"].reshape(2, -1)), 1e-6)


def test_features_on_disk_and_in_memory_have_one_report(tmp_path: Path) -> None:
    values = np.random.default_rng(7).normal(size=(12, 3, 4, 4)).astype(np.float32)
    samples = [{"x/y": value} for value in values]
    write_shard(tmp_path / "1.safetensors", samples[:5])
    np.savez(tmp_path / "2.npz", **{"x/y": values[5:]})
    result = report(DumpedFeatures(tmp_path), progress=False)
    assert result.to_json() == report_of(samples).to_json() and result.table() == report_of(samples).table()


def test_a_limit_below_one_and_a_source_with_nan_are_refused() -> None:
    with pytest.raises(ArgumentError, match="limit: found 0; expected at least 1"):
        report_of([{"a": np.ones((1, 1, 1))}], limit=0)

    class Careless(InMemoryFeatures):
        def read(self, index: int) -> dict[str, NDArray[np.float32]]:
            return {"a": np.full((1, 1, 1), np.nan, np.float32)}

    with pytest.raises(DataError, match="sample 0, tensor 'a', channel 0: found nan"):
        report(Careless([{"a": np.ones((1, 1, 1))}]), progress=False)


def test_the_table_has_a_line_a_tensor_and_marks_several_grids() -> None:
    draw = np.random.default_rng(8)
    samples = [
        {"a\n": draw.normal(size=(2, 3 + i % 3, 4)), "longer name": draw.normal(size=(1, 1, 1))} for i in range(4)
    ]
    head, *lines = report_of(samples).table().splitlines()
    assert head.split()[:4] == ["tensor", "samples", "channels", "grid"]
    assert [line.split()[-8 - 2] for line in lines] == ["4", "4"]
    assert lines[0].startswith(r"'a\n'") and "3×4+" in lines[0] and "1×1 " in lines[1] and "+" not in lines[1]
    assert len({line.index("×") for line in lines}) <= 2 and len({len(line) for line in (head, *lines)}) == 1


def test_a_deviation_that_single_precision_cannot_divide_by_is_told() -> None:
    values = np.random.default_rng(5).normal(size=(60, 2, 4, 4))
    for scale, words in ((1e-11, 0), (1e-13, 1), (1e-20, 1)):
        warnings = report_of([{"a": scale * value} for value in values]).warnings
        assert sum("scale it" in warning for warning in warnings) == words == len(warnings)
