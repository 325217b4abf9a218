"""``FeatureCodec.fit`` on features of all kinds: few, constant, of one position, of unlike grids, with odd names."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import atdc.training.fit
import atdc.training.loop
from atdc.codec import FeatureCodec
from atdc.errors import ArgumentError, DataError
from tiny_recipe import STEPS_PER_EPOCH, TINY

RECIPE = dataclasses.replace(TINY, steps=2)
Sample = dict[str, NDArray[np.float32]]

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::atdc.errors.FitWarning")]


@pytest.fixture(autouse=True)
def _short_epochs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(atdc.training.loop, "STEPS_PER_EPOCH", STEPS_PER_EPOCH)


def noise(number: int, *shape: int) -> NDArray[np.float32]:
    return np.random.default_rng(number).normal(size=shape).astype(np.float32)


def samples_of(kind: str) -> list[Sample]:
    constant, mask = np.full((2, 4, 4), 3, np.float32), np.array([1, 0, 1, 0], np.float32)[:, None, None]
    make = {
        "one tensor": lambda i: {"only": noise(i, 3, 8, 8)},
        "one position": lambda i: {"vector": noise(i, 5, 1, 1)},
        "unlike grids": lambda i: {"a": noise(i, 3, 33, 33), "b": noise(i, 2, 13, 17), "c": noise(i, 4, 1, 1)},
        "three samples": lambda i: {"a": noise(i, 3, 6, 6), "b": noise(i, 3, 4, 4)},
        "two samples": lambda i: {"a": noise(i, 3, 6, 6), "b": noise(i, 3, 4, 4)},
        "a constant": lambda i: {"a": constant, "b": noise(i, 3, 4, 4)},
        "constants alone": lambda _: {"a": constant, "b": np.zeros_like(constant)},
        "dead channels": lambda i: {"a": noise(i, 4, 6, 6) * mask, "b": noise(i, 3, 4, 4)},
        "odd names": lambda i: {"a/b": noise(i, 3, 6, 6), "ä ö=x y": noise(i, 3, 4, 4), "..": noise(i, 1, 2, 2)},
        "huge and tiny": lambda i: {"a": 1e20 * noise(i, 3, 6, 6), "b": 1e-20 * noise(i, 2, 4, 4)},
        "the largest": lambda i: {"a": np.float32(1e36) * np.sign(noise(i, 2, 4, 4)), "b": noise(i, 2, 4, 4)},
        "grids that vary": lambda i: {"a": noise(i, 3, 5 + i, 6), "b": noise(i, 2, 4, 4)},
    }[kind]  # fmt: skip
    return [make(number) for number in range({"three samples": 3, "two samples": 2}.get(kind, 8))]


@pytest.mark.parametrize(
    "kind",
    ["one tensor", "one position", "unlike grids", "three samples", "two samples", "a constant", "constants alone",
     "dead channels", "odd names", "huge and tiny", "the largest", "grids that vary"],
)  # fmt: skip
def test_odd_features_go_to_bytes_and_back_through_saved_weights(kind: str, tmp_path: Path) -> None:
    samples = samples_of(kind)
    codec = FeatureCodec.fit(samples, recipe=RECIPE)
    codec.save(tmp_path / "saved.safetensors")
    saved = FeatureCodec.load(tmp_path / "saved.safetensors")
    assert saved.fingerprint == codec.fingerprint and saved.card["samples"] == len(samples) - 1
    for sample in samples[:2]:
        decoded = saved.decode(codec.encode(sample, 7))
        assert {name: value.shape for name, value in decoded.items()} == {n: v.shape for n, v in sample.items()}
        assert all(bool(torch.isfinite(value).all()) for value in decoded.values())
        if kind == "constants alone":
            assert all(np.allclose(decoded[name], value, atol=1e-3) for name, value in sample.items())


def test_a_run_folder_refuses_other_features_grids_and_starts(tmp_path: Path) -> None:
    samples = samples_of("three samples")
    codec = FeatureCodec.fit(samples, recipe=RECIPE, run=tmp_path / "run")
    again = FeatureCodec.fit(samples, recipe=RECIPE, run=tmp_path / "run")
    assert again.fingerprint == codec.fingerprint
    wider = [sample | {"c": noise(7, 1, 2, 2)} for sample in samples]
    for changed, dataset, settings in (
        ("samples, tensors", samples[:2], {}), ("tensors", samples_of("huge and tiny")[:3], {}),
        ("grids", samples, {"grids": {"a": 8}}), ("tensors, start", wider, {"start": codec}),
    ):  # fmt: skip
        with pytest.raises(ArgumentError, match=rf"a run with other .*{changed}(, val)?;"):
            FeatureCodec.fit(dataset, recipe=RECIPE, run=tmp_path / "run", **settings)


def test_a_run_folder_refuses_networks_that_another_version_made(tmp_path: Path) -> None:
    samples = samples_of("three samples")
    FeatureCodec.fit(samples, recipe=RECIPE, run=tmp_path / "run")
    path = tmp_path / "run" / "features.json"
    before = json.loads(path.read_text("utf-8"))
    older = {name: value for name, value in before.items() if name != "model"}
    for said in (older, before | {"model": before["model"] | {"gains": "latent"}}):
        path.write_text(json.dumps(said), "utf-8")
        with pytest.raises(ArgumentError, match=r"a run with other model; expected .*version of the program"):
            FeatureCodec.fit(samples, recipe=RECIPE, run=tmp_path / "run")


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        ({"grids": {"a": (4, 4)}}, ArgumentError, "grid of a: found 6 x 6; expected 4 x 4, that of every sample"),
        ({"grids": {"a": 8, "b": 8}}, ArgumentError, "grid of b: found 4 x 4; expected 6 x 6, that of another tensor"),
        ({"val": [{"a": noise(0, 3, 6, 6)}]}, DataError, "val: found no sample that has all tensors"),
        (
            {"val": [{"a": noise(0, 2, 6, 6), "b": noise(0, 3, 4, 4)}]}, DataError,
            "val, features of a: found 2 channels; expected 3",
        ),
    ],
)  # fmt: skip
def test_what_contradicts_the_tensors_is_refused_before_training(
    settings: dict[str, object], error: type[Exception], words: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=words):
        FeatureCodec.fit(samples_of("three samples"), recipe=RECIPE, run=tmp_path / "run", **settings)
    assert not list((tmp_path / "run").glob("*.pt"))


@pytest.mark.parametrize("name", ["", "a\nb", "x" * 201])
def test_a_name_that_no_tensor_has_is_refused(name: str) -> None:
    with pytest.raises(ArgumentError, match="1 to 200 printable characters"):
        FeatureCodec.fit([{name: noise(i, 3, 4, 4)} for i in range(4)], recipe=RECIPE)


def test_a_value_that_is_not_finite_is_refused_with_its_sample() -> None:
    samples = samples_of("three samples")
    samples[2]["b"][1, 0, 0] = np.nan
    with pytest.raises(DataError, match="sample 2, tensor 'b', channel 1: found nan"):
        FeatureCodec.fit(samples, recipe=RECIPE)


def test_names_of_weights_that_a_codec_is_added_to_remain() -> None:
    """Older weights may have names with commas, which a new codec may not."""
    require = atdc.training.fit.require_names
    require(["a", "x,y"], ["x,y"])
    with pytest.raises(DataError, match=r"'x,y'.*without commas.*Rename"):
        require(["a", "x,y"], ["a"])


@pytest.mark.parametrize("kind", ["unlike grids", "grids that vary"])
@pytest.mark.parametrize("estimator", ["pairs", "agreement"])
def test_an_estimator_of_pairs_wants_one_grid_and_says_so_before_any_training(kind: str, estimator: str) -> None:
    recipe = dataclasses.replace(RECIPE, rate_estimator=estimator)
    with pytest.raises(ArgumentError, match=rf"rate_estimator {estimator}: found .*grids.*expected all tensors on one"):
        FeatureCodec.fit(samples_of(kind), recipe=recipe)


def test_an_estimator_of_pairs_is_fitted_to_tensors_of_one_grid() -> None:
    rows = [{"a": noise(i, 3, 6, 6), "b": noise(i, 2, 6, 6)} for i in range(9)]
    codec = FeatureCodec.fit(rows, recipe=dataclasses.replace(RECIPE, rate_estimator="agreement", spoilt_share=0.5))
    assert set(codec.decode(codec.encode(rows[0], graph="codebook"))) == {"a", "b"}
