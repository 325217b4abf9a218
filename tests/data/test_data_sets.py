"""Data sets by name: each is read as its own class reads it, and rooms are rendered once, where they are to be."""

from pathlib import Path

import pytest
import torch

from atdc.data import data_sets
from atdc.data.data_sets import DATA_SETS, labelled
from atdc.data.export import export_taskonomy
from atdc.data.labelled import LabelledImages, Some
from atdc.data.rooms import RoomsDataset, materialise
from atdc.data.taskonomy import TaskonomyImages
from atdc.errors import ArgumentError, DataError


def same(images: LabelledImages, others: LabelledImages) -> bool:
    where = range(len(others))
    given, expected = images.targets(where), others.targets(where)
    return given.keys() == expected.keys() and all(torch.equal(given[name], expected[name]) for name in expected)


@pytest.fixture(scope="module")
def rooms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rooms")
    materialise(folder, "val", count=4, workers=1, size=32)
    return folder


def test_rooms_that_are_there_are_read_as_they_are(rooms: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in rooms.rglob("*")}
    images = labelled("rooms", rooms, "val")
    assert len(images) == 4 and same(images, RoomsDataset(rooms, "val"))
    assert {path: path.stat().st_mtime_ns for path in rooms.rglob("*")} == before


def test_rooms_that_are_not_there_are_rendered_if_they_may_be(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no finished split"):
        labelled("rooms", tmp_path, "val", size=32, count=2, render=False)
    small = labelled("rooms", tmp_path, "val", size=32, count=2)
    assert len(small) == 2 and small.targets([0])["rgb"].shape == (1, 3, 32, 32)
    assert len(labelled("rooms", tmp_path, "val", size=32, count=1)) == 1
    assert not (tmp_path / "val").exists(), "the folder itself has rooms of the usual size alone"
    half = labelled("rooms", tmp_path, "val", size=128, count=1)
    assert half.targets([0])["rgb"].shape[-1] == 128 and (tmp_path / "half" / "val").is_dir()


def test_a_data_set_that_is_read_gives_its_images_at_a_size_and_some_of_them(rooms: Path, tmp_path: Path) -> None:
    export_taskonomy(RoomsDataset(rooms, "val"), tmp_path, "made", "val")
    whole = TaskonomyImages(tmp_path, "val", 32)
    assert same(labelled("taskonomy", tmp_path, "val", 32), whole)
    assert same(labelled("taskonomy", tmp_path, "val", 32, 3), Some(whole, 3))
    assert labelled("taskonomy", tmp_path, "val").targets([0], ["rgb"])["rgb"].shape[-1] == 256


def test_a_further_data_set_is_one_row(rooms: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(
        data_sets.DATA_SETS, "mine", data_sets.DataSet(lambda folder, split, size, count: RoomsDataset(folder, split))
    )
    assert same(labelled("mine", rooms, "val"), RoomsDataset(rooms, "val"))


def test_an_unknown_data_set_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ArgumentError, match=f"'faces'.*{', '.join(DATA_SETS)}"):
        labelled("faces", Path("nowhere"), "val")
