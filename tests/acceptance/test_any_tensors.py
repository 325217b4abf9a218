"""A codec for tensors that nobody has heard of: fitted, saved, loaded elsewhere, decoded to the same integers."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

import atdc
from acceptance.planted import PAIRS, SHAPES, planted_bits, samples
from atdc.config import FitRecipe, load_fit_recipe
from atdc.errors import ArgumentError

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::atdc.errors.FitWarning")]

TINY = FitRecipe(
    name="tiny", predictor_width=8, codec_width=8, hyper_channels=2, hyper_width=4, state_channels=2, estimator_width=4,
    latent_channels=16, predictor_steps=4, warmup_steps=4, steps=8, batch=4, estimator_images=16, estimator_steps=20,
    codebook_size=2,
)  # fmt: skip


def stacked(codec: atdc.FeatureCodec, rows: list[dict[str, np.ndarray]]) -> list[torch.Tensor]:
    return [torch.from_numpy(np.stack([row[name] for row in rows])) for name in codec.task_names]


@pytest.mark.portability
@pytest.mark.seeded
def test_planted_dependencies_are_found_and_pay_and_others_are_not_found(seed: int, tmp_path: Path) -> None:
    recipe = dataclasses.replace(load_fit_recipe(Path("fit_small")), batch=4)  # half of the time, and enough
    codec = atdc.FeatureCodec.fit(samples(seed, 160), recipe=recipe)
    assert {spec.name: (spec.channels, *spec.grid) for spec in codec.tensors.tensors} == SHAPES
    names = codec.task_names
    for graph in (*codec.graph_tables.fixed, *codec.graph_tables.candidates):
        assert {frozenset({names[parent], names[child]}) for parent, child in graph.edges} == PAIRS
    test = samples(seed + 50, 16)
    alone, along = (codec.encode_batch(stacked(codec, test), 7, setting) for setting in ("independent", "codebook"))
    saved = (alone.ideal_bits.sum(1) - along.ideal_bits.sum(1)).mean()
    assert saved >= 0.6 * planted_bits()
    given = stacked(codec, test)
    for back, without, original in zip(along.reconstruction, alone.reconstruction, given, strict=True):
        assert (back - original).square().mean() <= 1.05 * (without - original).square().mean()
        assert (back - original).square().mean() <= 0.1 * original.square().mean()
    path = tmp_path / "mine.safetensors"
    codec.save(path)
    assert elsewhere(path, test[:2]) == here(codec, test[:2])


def here(codec: atdc.FeatureCodec, rows: list[dict[str, np.ndarray]]) -> str:
    """A digest of files, and of the integers that they decode to."""
    digest = hashlib.sha256()
    for row in rows:
        for quality in (0, 3.5, 7):
            data = codec.encode(row, quality, profile="segments")
            decoded = codec.integers.read(data)
            for latent in decoded.latents.values():
                digest.update(np.ascontiguousarray(latent).tobytes())
    return digest.hexdigest()


def elsewhere(path: Path, rows: list[dict[str, np.ndarray]]) -> str:
    """The same from a process that has only the weights, and where tasks cannot be imported."""
    arrays = {f"{place}|{name}": values for place, row in enumerate(rows) for name, values in row.items()}
    np.savez(path.with_suffix(".npz"), **arrays)
    code = f"""
import sys
sys.modules["atdc.tasks"] = None
import hashlib, numpy as np
from atdc.codec import FeatureCodec
codec, digest = FeatureCodec.load({str(path)!r}), hashlib.sha256()
stored = np.load({str(path.with_suffix(".npz"))!r})
for place in range({len(rows)}):
    row = {{key.split("|", 1)[1]: stored[key] for key in stored.files if key.startswith(f"{{place}}|")}}
    for quality in (0, 3.5, 7):
        data = codec.encode(row, quality, profile="segments")
        back = codec.decode(data)
        assert {{name: value.shape for name, value in back.items()}} == {{name: row[name].shape for name in back}}
        for latent in codec.integers.read(data).latents.values():
            digest.update(np.ascontiguousarray(latent).tobytes())
print(digest.hexdigest())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.strip()


@pytest.mark.parametrize(
    "shapes",
    [
        {"wide": (3, 33, 33), "low": (4, 13, 17)}, {"only": (2, 6, 9)}, {"label": (6, 1, 1), "map": (2, 5, 4)},
        {"p2": (3, 16, 16), "p3": (4, 8, 8), "p4": (5, 4, 4), "p5": (6, 2, 2)},
    ],
    ids=["odd", "one", "label", "pyramid"],
)  # fmt: skip
def test_any_grids_are_coded_and_decoded(shapes: dict[str, tuple[int, int, int]]) -> None:
    draw = np.random.default_rng(0)
    rows = [{name: draw.normal(size=shape).astype(np.float32) for name, shape in shapes.items()} for _ in range(20)]
    codec = atdc.FeatureCodec.fit(rows, recipe=TINY)
    assert codec.tensors.names == tuple(sorted(shapes))
    for setting in ("codebook", "exact", "chain", "independent"):
        for profile in ("compact", "segments"):
            data = codec.encode(rows[0], 5, setting, profile=profile)
            back = codec.decode(data)
            assert {name: tuple(value.shape) for name, value in back.items()} == shapes
            coded = codec.encode_batch([part[:1] for part in stacked(codec, rows)], 5, setting, profile=profile)
            assert coded.data[0] == data
            for part, name in zip(coded.reconstruction, codec.tensors.names, strict=True):
                assert torch.allclose(part[0], back[name], atol=1e-5)
    for name in shapes:  # whatever is left out, and however hard is searched, the rest can be read
        some = {other: rows[2][other] for other in shapes if other != name}
        for setting in ("codebook", "exact", "fixed", "chain", "greedy", "random", "independent"):
            if some:
                assert set(codec.decode(codec.encode(some, 4, setting, effort="high"))) == set(some)
    if len(shapes) != 6:
        with pytest.raises(atdc.ArgumentError, match="six tasks"):
            codec.encode(rows[0], 5, "paper-order")
    for name in shapes:  # each alone is a file of its own
        part = codec.encode({name: rows[1][name]}, 5)
        assert list(codec.decode(part)) == [name] and len(part) < len(codec.encode(rows[1], 5)) + 8
        missing = next((other for other in shapes if other != name), None)
        if missing is not None:
            with pytest.raises(atdc.ArgumentError, match=f"{missing}.*{name}"):
                codec.decode(part, tasks=[missing])


def test_sixty_four_tensors_are_fitted_coded_and_decoded() -> None:
    draw = np.random.default_rng(1)
    shapes = {f"t{place}": (1, *((4, 4), (8, 4), (2, 3))[place % 3]) for place in range(64)}
    rows = [{name: draw.normal(size=shape).astype(np.float32) for name, shape in shapes.items()} for _ in range(6)]
    tiny = dataclasses.replace(
        TINY, max_parents=1, predictor_width=4, codec_width=4, predictor_steps=0, warmup_steps=0, steps=1, batch=2,
        estimator_images=2, estimator_steps=4,
    )  # fmt: skip
    codec = atdc.FeatureCodec.fit(rows, recipe=tiny)
    data = codec.encode(rows[0], 4)
    assert {name: tuple(value.shape) for name, value in codec.decode(data).items()} == shapes
    some = {name: rows[0][name] for name in ("t5", "t17", "t63")}
    assert set(codec.decode(codec.encode(some, 4))) == set(some)


def test_samples_that_lack_a_tensor_teach_the_rest() -> None:
    draw = np.random.default_rng(2)
    rows = [{"a": draw.normal(size=(2, 4, 4)), "b": draw.normal(size=(3, 8, 8))} for _ in range(16)]
    for row in rows[::3]:
        del row["b"]
    codec = atdc.FeatureCodec.fit(rows, recipe=TINY)
    assert set(codec.decode(codec.encode(rows[1]))) == {"a", "b"}
    assert set(codec.decode(codec.encode(rows[0]))) == {"a"}


def test_grids_may_differ_from_sample_to_sample() -> None:
    draw = np.random.default_rng(3)
    rows = [{"a": draw.normal(size=(2, 4 + place % 2, 6)), "b": draw.normal(size=(3, 8, 8))} for place in range(16)]
    codec = atdc.FeatureCodec.fit(rows, recipe=TINY)
    assert codec.tensors[0].grid is None and codec.tensors[1].grid == (8, 8)
    for row in (rows[0], rows[1], {"a": draw.normal(size=(2, 9, 3)), "b": rows[0]["b"]}):
        assert {name: value.shape for name, value in codec.decode(codec.encode(row)).items()} == {
            name: value.shape for name, value in row.items()
        }
    with pytest.raises(atdc.ArgumentError, match=r"b.*8 x 8"):
        codec.encode({"b": draw.normal(size=(3, 8, 7))})


def test_a_tensor_more_leaves_all_else_as_it_is() -> None:
    """The paper's N → N + 1: what the first tensors are coded to, along the same graph, is the same."""
    draw = np.random.default_rng(4)
    rows = [{name: draw.normal(size=(2, 6, 6)).astype(np.float32) for name in ("a", "b", "new")} for _ in range(16)]
    first = [{name: row[name] for name in ("a", "b")} for row in rows]
    before = atdc.FeatureCodec.fit(first, recipe=TINY)
    after = atdc.FeatureCodec.fit(rows, recipe=TINY, start=before)
    assert after.tensors.names == ("a", "b", "new")
    graph, larger = atdc.TaskGraph(((), (0,))), atdc.TaskGraph(((), (0,), ()))
    for row in first[:3]:
        old, new = before.encode(row, 5, graph), after.encode(row, 5, larger)
        latents = before.integers.read(old).latents
        again = after.integers.read(new).latents
        assert all(np.array_equal(again[task], latents[task]) for task in latents)
        decoded = before.decode(old)
        assert all(torch.equal(value, decoded[name]) for name, value in after.decode(new).items())
    assert set(after.decode(after.encode(rows[0]))) == {"a", "b", "new"}


def test_a_stopped_fit_resumes_and_gives_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draw = np.random.default_rng(5)
    rows = [{"a": draw.normal(size=(2, 4, 4)), "b": draw.normal(size=(3, 4, 8))} for _ in range(16)]
    whole = atdc.FeatureCodec.fit(rows, recipe=TINY, run=tmp_path / "whole")
    from atdc.training import graph_stage

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(graph_stage, "measured_rates", killed)
        with pytest.raises(KeyboardInterrupt):
            atdc.FeatureCodec.fit(rows, recipe=TINY, run=tmp_path / "stopped")
    again = atdc.FeatureCodec.fit(rows, recipe=TINY, run=tmp_path / "stopped")
    assert again.to_bytes({}) == whole.to_bytes({})


def test_a_run_does_not_resume_with_another_objective_or_other_validation_samples(tmp_path: Path) -> None:
    draw = np.random.default_rng(5)
    rows, others = ([{"a": draw.normal(size=(2, 4, 4))} for _ in range(16)] for _ in range(2))
    whole = atdc.FeatureCodec.fit(rows, recipe=TINY, run=tmp_path)
    with pytest.raises(ArgumentError, match="a run with other objective;"):
        atdc.FeatureCodec.fit(rows, recipe=TINY, run=tmp_path, objective=FromDecoded(rows, "a"))
    with pytest.raises(ArgumentError, match="a run with other val;"):
        atdc.FeatureCodec.fit(rows, recipe=TINY, run=tmp_path, val=others[:2])
    assert atdc.FeatureCodec.fit(rows, recipe=TINY, run=tmp_path).to_bytes({}) == whole.to_bytes({})
    noted = json.loads((tmp_path / "features.json").read_text())  # as a run of before these were noted has it
    (tmp_path / "features.json").write_text(
        json.dumps({key: value for key, value in noted.items() if key not in ("val", "objective", "val_objective")})
    )
    assert atdc.FeatureCodec.fit(rows, recipe=TINY, run=tmp_path).to_bytes({}) == whole.to_bytes({})


class FromDecoded:
    """An objective that knows the ground truth of every other sample."""

    def __init__(self, rows: list[dict[str, np.ndarray]], name: str) -> None:
        self.rows, self.name, self.shapes = rows, name, set()

    def targets(self, indices: np.ndarray, tasks: object) -> dict[str, torch.Tensor]:
        known = [
            self.rows[int(i)][self.name] if i % 2 else np.full_like(self.rows[int(i)][self.name], np.nan)
            for i in indices
        ]
        return {self.name: torch.from_numpy(np.stack(known))}

    def loss(self, task: int, decoded: torch.Tensor, targets: dict[str, torch.Tensor]) -> torch.Tensor:
        self.shapes.add(tuple(decoded.shape[1:]))
        if decoded.shape[1:] != targets[self.name].shape[1:]:
            return decoded.new_full((len(decoded),), torch.nan)
        return (decoded - targets[self.name]).square().mean((1, 2, 3))


def test_an_objective_gets_decoded_features_without_padding_and_may_lack_labels() -> None:
    draw = np.random.default_rng(6)
    rows = [
        {"a": draw.normal(size=(2, 5, 7)).astype(np.float32), "b": np.zeros((3, 1, 1), np.float32)} for _ in range(16)
    ]
    objective = FromDecoded(rows, "a")
    codec = atdc.FeatureCodec.fit(rows, recipe=TINY, objective=objective)
    assert objective.shapes == {(2, 5, 7), (3, 1, 1)}
    assert codec.decode(codec.encode(rows[0]))["a"].shape == (2, 5, 7)


def test_features_of_which_little_may_be_expected_are_warned_of() -> None:
    rows = [{"a": np.zeros((2, 4, 4), np.float32), "b": np.ones((1, 4, 4), np.float32)} for _ in range(8)]
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        atdc.FeatureCodec.fit(rows, recipe=TINY)
    assert any(issubclass(warning.category, atdc.FitWarning) for warning in said)


@pytest.mark.parametrize(
    ("dataset", "given", "words"),
    [
        ([], {}, "none"), (3, {}, "folder of features"), ("no/such/folder", {}, "no/such/folder"),
        ([{"a": np.ones((1, 2, 2))}], {}, "two at least"), ([{"a": np.ones((1, 2, 2))}] * 3, {"recipe": "fitt"}, "fit"),
        ([{"a": np.ones((1, 2, 2))}] * 3, {"grids": {"b": 8}}, "'b'"),
        ([{"a": np.ones((1, 2, 2))}] * 3, {"objective": 3}, "targets and loss"), ([[1.0]], {}, "mapping"),
        ([{"a": [[[1.0]]]}] * 3, {}, "NumPy array"), ([{"a": np.ones((1, 2, 2))}] * 3, {"recipe": 3}, "recipe"),
        ([{"a": np.ones((1, 2, 2))}] * 3, {"start": 3}, "FeatureCodec"),
        ([{"a,b": np.ones((1, 2, 2))}] * 3, {}, "without commas"), ([{" a": np.ones((1, 2, 2))}] * 3, {}, "blanks"),
        ([{"a": np.full((1, 2, 2), np.nan)}] * 3, {}, "finite"), ([{"a": np.ones((2, 2))}] * 3, {}, "C, h, w"),
    ],
)  # fmt: skip
def test_what_cannot_be_fitted_is_refused(dataset: object, given: dict[str, object], words: str) -> None:
    with pytest.raises(atdc.AtdcError, match=words):
        atdc.FeatureCodec.fit(dataset, **{"recipe": TINY, **given})
