"""Graphs by image against one graph: arms that know more never cost more, and conditions change what they say."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from atdc.errors import ArgumentError, DataError
from atdc.pipeline import Codec
from atdc_bench.experiments import adaptivity
from atdc_bench.experiments.photo_tiles import PhotoTiles
from atdc_bench.report import result_lines


def test_an_oracle_never_costs_more_than_one_graph_nor_any_nearby_quality(
    tmp_path: Path, tiny_codec: Codec, photos, monkeypatch
) -> None:
    evaluated = Codec(tiny_codec.networks, tiny_codec.feature_codec, {"loss_bounds": [[2.0] * 6, [1.0] * 6]})
    monkeypatch.setattr(adaptivity, "load_evaluated_codec", lambda model: evaluated)
    monkeypatch.setattr(adaptivity, "labelled", lambda name, data, split: photos)
    result = adaptivity.run_adaptivity(
        out=tmp_path / "a.json", count=6, qualities=(4,),
        names=["as they are", "random qualities", "one modality noise", "one modality missing"], quiet=True,
    )  # fmt: skip
    assert len(result["rows"]) == 4 and (tmp_path / "a.json").exists()
    for row in result["rows"]:
        costs = {arm: values["cost_percent"] for arm, values in row["arms"].items()}
        assert costs["one graph"] == [0, 0, 0]
        assert costs["oracle"][0] <= min(0, costs["graph by kind"][0]) and costs["control"][0] <= 0
        judged = row["condition"] != "one modality noise"
        assert (row["arms"]["oracle"]["truth_percent"] is not None) == judged
    assert len(list(result_lines.adaptivity(result))) == 2 + 4


def test_tiles_of_photos_have_no_truth_and_no_photo_is_in_both_halves(
    tmp_path: Path, tiny_codec: Codec, monkeypatch
) -> None:
    rng = np.random.default_rng(0)
    for number, size in enumerate([(512, 300), (256, 256), (255, 600), (256, 512)]):
        Image.fromarray(rng.integers(0, 256, (*size, 3), np.uint8)).save(tmp_path / f"{number}.png")
    val, test = (PhotoTiles(tmp_path, split) for split in ("val", "test"))
    assert (len(val), len(test)) == (3, 2)
    whole = np.asarray(Image.open(tmp_path / "3.png")).transpose(2, 0, 1)
    assert np.array_equal(np.concatenate(list(test.targets([0, 1])["rgb"]), 2), whole)
    evaluated = Codec(tiny_codec.networks, tiny_codec.feature_codec, {"loss_bounds": [[2.0] * 6, [1.0] * 6]})
    monkeypatch.setattr(adaptivity, "load_evaluated_codec", lambda model: evaluated)
    options = {"images": "tiles", "count": 2, "qualities": (4,), "quiet": True}
    result = adaptivity.run_adaptivity(data=tmp_path, out=tmp_path / "a.json", names=["as they are"], **options)
    (row,) = result["rows"]
    assert row["arms"]["oracle"]["cost_percent"][0] <= 0 and row["arms"]["oracle"]["truth_percent"] is None
    with pytest.raises(ArgumentError, match="'as they were'"):
        adaptivity.run_adaptivity(data=tmp_path, out=tmp_path / "a.json", names=["as they were"], **options)
    (tmp_path / "3.png").unlink()
    with pytest.raises(DataError, match="no tile in its half 'val'"):
        PhotoTiles(_moved(tmp_path / "2.png"), "val")


def _moved(photo: Path) -> Path:
    """A folder of that photo and a copy."""
    folder = photo.parent / "small"
    folder.mkdir()
    for name in ("a.png", "b.png"):
        (folder / name).write_bytes(photo.read_bytes())
    return folder


def test_conditions_spoil_one_modality_and_leave_the_others() -> None:
    features = torch.arange(4 * 3 * 2.0).reshape(4, 3, 2, 1, 1)
    noise, dark = torch.full((3, 2, 1, 1), -1.0), torch.full((3, 2, 1, 1), -2.0)
    every = adaptivity.conditions(3)
    for name, spoiled in (("one modality noise", -1.0), ("one modality dark", -2.0)):
        parts = every[name].spoil(features, 1, noise, dark)
        assert torch.equal(parts[0], features[:, 0]) and torch.equal(parts[2], features[:, 2])
        assert parts[1].shape == features[:, 1].shape and bool((parts[1] == spoiled).all())
    other = every["one modality of another image"].spoil(features, 2, noise, dark)
    assert torch.equal(other[2][1:], features[:-1, 2]) and torch.equal(other[0], features[:, 0])
    assert [part is None for part in every["one modality missing"].spoil(features, 0, noise, dark)] == [
        True,
        False,
        False,
    ]
    assert [part is None for part in every["without the image"].spoil(features, 0, noise, dark)][-1]
    drawn = [every["random qualities"].quality(4, kind, 3) for kind in range(6)]
    assert len({tuple(row) for row in drawn}) == 6 and all(0 <= q <= 7 and 8 * q == int(8 * q) for q in np.ravel(drawn))
