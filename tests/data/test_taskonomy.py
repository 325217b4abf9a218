"""Taskonomy's files: what is exported is read back; splits; damage is counted, not silent."""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from atdc.data import export
from atdc.data.export import export_taskonomy
from atdc.data.targets import NO_DEPTH, NO_NORMAL, STORED_LAYOUT
from atdc.data.taskonomy import SPLIT_TABLE, TINY, TaskonomyImages, file_of, read_split
from atdc.errors import ArgumentError, DataError, OutputError
from atdc.tasks import CLASSES, IGNORE_CLASS, TASK_NAMES

SIDE = 16


class Made:
    """Random stored targets with every value and every kind of gap."""

    def __init__(self, count: int, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        vectors = rng.normal(size=(count, 3, SIDE, SIDE))
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        self.stored: dict[str, np.ndarray] = {
            name: rng.integers(0, 256, (count, channels, SIDE, SIDE)).astype(dtype)
            for name, (channels, dtype) in STORED_LAYOUT.items()
        }
        self.stored["normal"] = ((vectors + 1) * 127.5).round().astype(np.uint8)
        self.stored["depth_zbuffer"] = rng.integers(1, 8192, (count, 1, SIDE, SIDE)).astype(np.uint16)
        self.stored["segment_semantic"] %= len(CLASSES)
        self.stored["depth_zbuffer"][:, :, 0] = NO_DEPTH
        self.stored["normal"][:, :, 1] = NO_NORMAL
        self.stored["segment_semantic"][:, :, 2] = IGNORE_CLASS

    def __len__(self) -> int:
        return len(self.stored["rgb"])

    def targets(
        self, indices: Sequence[int] | NDArray[np.integer], names: Sequence[str] | None = None
    ) -> dict[str, Tensor]:
        return {name: torch.from_numpy(self.stored[name][list(indices)]) for name in names or STORED_LAYOUT}


@pytest.fixture()
def tree(tmp_path: Path) -> Path:
    for building, split, count, seed in (("one", "train", 5, 0), ("two", "train", 3, 1), ("three", "val", 2, 2)):
        export_taskonomy(Made(count, seed), tmp_path, building, split)  # type: ignore[arg-type]
    return tmp_path


def test_every_file_has_its_official_place_and_kind(tree: Path) -> None:
    names = {path.relative_to(tree).as_posix() for path in tree.rglob("*_view_*")}
    assert len(names) == 6 * 10
    assert "keypoints2d/one/point_4_view_0_domain_keypoints2d.png" in names
    assert "segment_semantic/two/point_0_view_0_domain_segmentsemantic.png" in names
    modes = {}
    for task in TASK_NAMES:
        with Image.open(file_of(tree, task, "one", 0, 0)) as image:
            modes[task] = image.mode
    assert modes == {
        "segment_semantic": "L", "keypoints2d": "I;16", "edge_texture": "I;16", "normal": "RGB",
        "depth_zbuffer": "I;16", "rgb": "RGB",
    }  # fmt: skip


def test_the_tiny_split_has_its_buildings_once() -> None:
    assert [len(TINY[name]) for name in ("train", "val", "test")] == [25, 5, 5]
    assert len({building for names in TINY.values() for building in names}) == 35


def test_splits_are_read_from_the_table_that_exports_write(tree: Path) -> None:
    assert read_split(tree / SPLIT_TABLE) == {"train": ("one", "two"), "val": ("three",), "test": ()}
    assert len(TaskonomyImages(tree, "train")) == 8
    for text in ("", "a,b\n1,2\n", "id,train,val,test\nhanson,1,yes,0\n", "id,train,val,test\nhanson,1\n"):
        (tree / "other.csv").write_text(text)
        with pytest.raises(DataError, match="id,train,val,test"):
            read_split(tree / "other.csv")
    with pytest.raises(DataError, match=r"absent\.csv"):
        read_split(tree / "absent.csv")


def test_a_stopped_export_resumes_and_leaves_whole_files_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = []

    def write(path: Path, data: bytes) -> None:
        if len(written) == 9:
            raise OutputError(str(path), "no space left on device", "a place to write to")
        written.append(path)
        path.write_bytes(data)

    with monkeypatch.context() as patch:
        patch.setattr(export, "write_bytes_atomically", write)
        with pytest.raises(OutputError):
            export_taskonomy(Made(4), tmp_path, "one", "train", 3)
    before = {path: path.stat().st_mtime_ns for path in written}
    export_taskonomy(Made(4), tmp_path, "one", "train", 3)
    assert len(TaskonomyImages(tmp_path, "train")) == 3
    assert {path: path.stat().st_mtime_ns for path in written} == before
    assert read_split(tmp_path / SPLIT_TABLE)["train"] == ("one",)
    with pytest.raises(DataError, match="another image"):
        export_taskonomy(Made(4, seed=9), tmp_path, "one", "train")


def test_an_export_that_makes_no_sense_is_refused(tmp_path: Path) -> None:
    for count, building, split in ((0, "a", "train"), (3, "a", "train"), (1, "../a", "train"), (1, "a", "all")):
        with pytest.raises(ArgumentError):
            export_taskonomy(Made(2), tmp_path, building, split, count)  # type: ignore[arg-type]
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError):
        export_taskonomy(Made(2), tmp_path / "file", "a", "train")


def test_views_that_lack_a_file_are_left_out_and_counted(tree: Path, caplog: pytest.LogCaptureFixture) -> None:
    file_of(tree, "normal", "one", 1, 0).unlink()
    file_of(tree, "rgb", "two", 0, 0).unlink()
    file_of(tree, "rgb", "two", 2, 0).unlink()
    (tree / SPLIT_TABLE).write_text("id,train,val,test\none,1,0,0\ntwo,1,0,0\nnowhere,1,0,1\n")
    with caplog.at_level(logging.WARNING):
        data = TaskonomyImages(tree, "train")
    assert len(data) == 5 and data.absent == ("nowhere",)
    assert data.missing["normal"] == 1 and data.missing["rgb"] == 2 and data.missing["edge_texture"] == 0
    assert "1 of 3 buildings are absent" in caplog.text and "normal 1, rgb 2" in caplog.text
    with pytest.raises(DataError, match="no complete view"):
        TaskonomyImages(tree, "test")


def test_targets_of_other_sizes_are_averaged_or_picked_as_suits_them(tree: Path) -> None:
    small, whole = (TaskonomyImages(tree, "train", size).targets([0]) for size in (8, None))
    means = torch.nn.functional.avg_pool2d(whole["rgb"].float(), 2)
    assert (small["rgb"].float() - means).abs().max() <= 0.5
    for task in ("depth_zbuffer", "normal", "segment_semantic"):
        assert torch.equal(small[task], whole[task][:, :, 1::2, 1::2])


def test_what_training_reads_is_what_was_exported(tree: Path) -> None:
    images, made = TaskonomyImages(tree, "train", SIDE), [Made(5, 0), Made(3, 1)]
    assert len(images) == 8
    read = images.targets(range(8))
    for name in STORED_LAYOUT:
        expected = np.concatenate([own.stored[name] for own in made])
        if name == "normal":  # measured where depth is
            expected[np.concatenate([own.stored["depth_zbuffer"] for own in made]).repeat(3, 1) == NO_DEPTH] = NO_NORMAL
        assert read[name].numpy().dtype == expected.dtype and np.array_equal(read[name].numpy(), expected), name
    assert list(images.targets([3], ["rgb"])) == ["rgb"]


def test_a_damaged_view_is_counted_and_another_read_in_its_place(tree: Path, caplog: pytest.LogCaptureFixture) -> None:
    depth = file_of(tree, "depth_zbuffer", "one", 1, 0)
    depth.write_bytes(depth.read_bytes()[:50])
    Image.new("L", (SIDE, SIDE)).save(file_of(tree, "rgb", "one", 2, 0))
    Image.new("RGB", (SIDE, 8)).save(file_of(tree, "normal", "one", 3, 0))
    images = TaskonomyImages(tree, "train", SIDE)
    with caplog.at_level(logging.WARNING):
        read = images.targets([0, 1, 4])["rgb"]
    assert images.damaged == 3
    for found in ("no readable image", "mode L", "sizes"):
        assert found in caplog.text, found
    assert torch.equal(read[1], read[2]) and not torch.equal(read[0], read[1])
    fresh = TaskonomyImages(tree, "train", SIDE)  # features need the image alone, and are of the view of the labels
    assert torch.equal(fresh.targets([1], ["rgb"])["rgb"], read[2:])
    depth_of_third = TaskonomyImages(tree, "train", SIDE).targets([2], ["depth_zbuffer"])["depth_zbuffer"]
    assert torch.equal(depth_of_third, fresh.targets([4])["depth_zbuffer"])
    for building, points in (("one", 5), ("two", 3)):
        for point in range(points):
            file_of(tree, "rgb", building, point, 0).write_bytes(b"no picture")
    with pytest.raises(DataError, match="8 damaged views"):
        images.targets([0])
    with pytest.raises(ArgumentError, match="one of"):
        TaskonomyImages(tree, "other", SIDE)
