"""Taskonomy's files: what is exported is read back; scalings and masks; splits; damage is counted, not silent."""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader

from atdc.data import export
from atdc.data.export import export_taskonomy
from atdc.data.targets import NO_DEPTH, NO_NORMAL, STORED_LAYOUT, decode_stored
from atdc.data.taskonomy import (
    SPLIT_TABLE,
    TINY,
    TaskonomyDataset,
    TaskonomyImages,
    TaskonomyStream,
    file_of,
    read_split,
    scaled,
)
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


def test_what_was_exported_comes_back_within_quantisation_in_both_conventions(tree: Path) -> None:
    made = Made(5)
    known_depth, known_normal = (np.ones((SIDE, SIDE), bool) for _ in range(2))
    known_depth[0], known_normal[:2] = False, False
    for convention in ("standley", "taskbank"):
        data = TaskonomyDataset(tree, ["one"], convention=convention, size=None)  # type: ignore[arg-type]
        bank = convention == "taskbank"
        for index in range(len(data)):
            sample, stored = data[index], {name: array[index].astype(np.float64) for name, array in made.stored.items()}
            rgb = sample["rgb"].double().numpy()
            np.testing.assert_allclose((rgb + 1) / 2 if bank else rgb, stored["rgb"] / 255, atol=1e-6)
            k, t = (sample[task].double().numpy() for task in ("keypoints2d", "edge_texture"))
            raw_k, raw_t = ((k + 1) / 2 * 327.675, (t + 1) / 2 * 5242.8) if bank else (k * 100 + 50, t * 1070 + 718)
            np.testing.assert_allclose(raw_k / 327.675, stored["keypoints2d"] / 255, atol=0.51 / 327)
            np.testing.assert_allclose(raw_t / 5242.8, stored["edge_texture"] / 255, atol=0.51 / 5242)
            d = sample["depth_zbuffer"].double().numpy()
            units = np.exp(d * np.log(2**16)) - 1 if bank else d * 1000 + 1500
            np.testing.assert_allclose(
                units[0][known_depth], stored["depth_zbuffer"][0][known_depth], rtol=1e-4, atol=0.1
            )
            np.testing.assert_array_equal(sample["mask/depth_zbuffer"][0].numpy(), known_depth)
            np.testing.assert_array_equal(sample["mask/normal"][0].numpy(), known_normal)
            unit = decode_stored("normal", made.stored["normal"][index : index + 1])[0]
            assert (sample["normal"] - unit)[:, known_normal].abs().max() < 2 / 127
            labels = stored["segment_semantic"].astype(np.int64)
            expected = np.where(labels == IGNORE_CLASS, IGNORE_CLASS, labels + 1)
            np.testing.assert_array_equal(sample["segment_semantic"].numpy(), expected)
            np.testing.assert_array_equal(sample["mask/segment_semantic"].numpy(), labels != IGNORE_CLASS)


def test_scalings_are_those_of_the_two_publications() -> None:
    def value(task: str, stored: float, convention: str) -> tuple[float, bool | None]:
        target, mask = scaled(task, np.full((1, 1, 1), stored), convention)  # type: ignore[arg-type]
        return round(target.item(), 5), None if mask is None else bool(mask)

    assert value("depth_zbuffer", 2500, "standley") == (1.0, True) and not value("depth_zbuffer", 8192, "standley")[1]
    assert value("depth_zbuffer", 255, "taskbank") == (0.5, True)
    assert value("depth_zbuffer", 64499, "taskbank")[1] and not value("depth_zbuffer", 64500, "taskbank")[1]
    assert value("keypoints2d", 150, "standley") == (1.0, None) and value("edge_texture", 1788, "standley") == (
        1.0,
        None,
    )
    assert value("keypoints2d", 0.005 * 65535, "taskbank") == (1.0, None) == value("keypoints2d", 60000, "taskbank")
    assert value("edge_texture", 0.04 * 65535, "taskbank") == (0.0, None) and value("rgb", 255, "standley") == (
        1.0,
        None,
    )
    assert value("segment_semantic", 0, "standley") == (255.0, False)
    assert value("segment_semantic", 17, "standley") == (17.0, True)
    with pytest.raises(ArgumentError, match="standley, taskbank"):
        value("rgb", 0, "ours")
    with pytest.raises(ArgumentError, match="segment_semantic"):
        value("curvature", 0, "standley")


def test_the_tiny_split_has_its_buildings_once() -> None:
    assert [len(TINY[name]) for name in ("train", "val", "test")] == [25, 5, 5]
    assert len({building for names in TINY.values() for building in names}) == 35


def test_splits_are_read_from_the_table_that_exports_write(tree: Path) -> None:
    assert read_split(tree / SPLIT_TABLE) == {"train": ("one", "two"), "val": ("three",), "test": ()}
    assert len(TaskonomyDataset(tree, read_split(tree / SPLIT_TABLE)["train"])) == 8
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
    assert len(TaskonomyDataset(tmp_path, ["one"])) == 3
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
    with caplog.at_level(logging.WARNING):
        data = TaskonomyDataset(tree, ["one", "two", "nowhere"])
    assert len(data) == 5 and data.absent == ("nowhere",)
    assert data.missing["normal"] == 1 and data.missing["rgb"] == 2 and data.missing["edge_texture"] == 0
    assert "1 of 3 buildings are absent" in caplog.text and "normal 1, rgb 2" in caplog.text
    assert len(TaskonomyDataset(tree, ["one"], ["rgb"])) == 5, "a target that is not wanted is not missed"
    with pytest.raises(DataError, match="no complete view"):
        TaskonomyDataset(tree, ["nowhere"])


def test_a_damaged_view_is_refused_by_index_and_replaced_in_a_stream(
    tree: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = file_of(tree, "depth_zbuffer", "one", 1, 0)
    path.write_bytes(path.read_bytes()[:50])
    Image.new("L", (SIDE, SIDE)).save(file_of(tree, "rgb", "one", 2, 0))
    Image.new("RGB", (SIDE, 8)).save(file_of(tree, "normal", "one", 3, 0))
    data = TaskonomyDataset(tree, ["one"], size=8)
    for index, found in ((1, "no readable image"), (2, "mode L"), (3, "sizes")):
        with pytest.raises(DataError, match=found):
            data[index]
    stream = TaskonomyStream(data)
    with caplog.at_level(logging.WARNING):
        samples = list(stream)
    assert len(samples) == len(stream) == 5 and stream.damaged == 3 and caplog.text.count("left out") == 3
    for point in (0, 4):
        file_of(tree, "rgb", "one", point, 0).write_bytes(b"no picture")
    with pytest.raises(DataError, match="5 damaged views"):
        list(stream)


def test_processes_and_workers_share_every_epoch_without_overlap(tree: Path) -> None:
    data = TaskonomyDataset(tree, ["one", "two"], ["rgb"])
    streams = [TaskonomyStream(data, seed=3, rank=rank, world=3) for rank in range(3)]
    orders = []
    for epoch in range(2):
        for stream in streams:
            stream.set_epoch(epoch)
        parts = [stream.part(worker, 2) for stream in streams for worker in range(2)]
        together = np.concatenate(parts)
        assert len(set(together.tolist())) == len(together) == 3 * len(streams[0]) == 6
        orders.append(together.tolist())
    assert orders[0] != orders[1]
    for rank, world in ((3, 3), (-1, 2), (0, 9)):
        with pytest.raises(ArgumentError):
            TaskonomyStream(data, rank=rank, world=world)


def test_targets_of_other_sizes_are_averaged_or_picked_as_suits_them(tree: Path) -> None:
    small, whole = TaskonomyDataset(tree, ["one"], size=8)[0], TaskonomyDataset(tree, ["one"], size=None)[0]
    assert torch.allclose(small["rgb"], torch.nn.functional.avg_pool2d(whole["rgb"], 2), atol=1e-6)
    for task in ("depth_zbuffer", "normal", "segment_semantic", "mask/depth_zbuffer"):
        assert torch.equal(small[task], whole[task][:, 1::2, 1::2])
    for wrong in ({"tasks": ["curvature"]}, {"convention": "ours"}):
        with pytest.raises(ArgumentError):
            TaskonomyDataset(tree, ["one"], **wrong)  # type: ignore[arg-type]


@pytest.mark.slow
def test_a_loader_with_workers_gives_every_view_once_and_the_count_of_damaged_ones(tree: Path) -> None:
    file_of(tree, "rgb", "two", 1, 0).write_bytes(b"no picture")
    stream = TaskonomyStream(TaskonomyDataset(tree, ["one", "two"], ["rgb", "normal"], size=None))
    loader = DataLoader(stream, batch_size=2, num_workers=2, multiprocessing_context="spawn")
    images = [image.numpy().tobytes() for batch in loader for image in batch["rgb"]]
    assert len(images) == 8 and len(set(images)) == 7 and stream.damaged == 1


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
    file_of(tree, "rgb", "one", 1, 0).write_bytes(b"no picture")
    images = TaskonomyImages(tree, "train", SIDE)
    with caplog.at_level(logging.WARNING):
        read = images.targets([0, 1, 2], ["rgb"])["rgb"]
    assert images.damaged == 1 and "another view" in caplog.text
    assert torch.equal(read[1], read[2]) and not torch.equal(read[0], read[1])
    with pytest.raises(ArgumentError, match="one of"):
        TaskonomyImages(tree, "other", SIDE)
