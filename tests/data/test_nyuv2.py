"""NYUv2 frames: exact planes give exact normals; what is missing is refused; real frames look like rooms."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from atdc.data.labelled import LabelledImages
from atdc.data.nyuv2 import INTRINSICS, METRES_TIMES_Q, NYU40, SIDE_PX, Intrinsics, NyuV2Dataset, normals_of
from atdc.data.targets import NO_DEPTH, NO_NORMAL, STORED_LAYOUT, decode_stored, target_form
from atdc.errors import ArgumentError, DataError
from atdc.metrics.tasks import MEASURES
from atdc.pipeline import load
from atdc.tasks import CLASSES, IGNORE_CLASS, TASK_NAMES
from atdc_bench.experiments.evaluate import UNCOMPRESSED, measure_anchor
from atdc_bench.experiments.evaluated_codec import features_at

REAL = Path(os.environ.get("ATDC_NYUV2", Path(__file__).parents[2].parent / "shared" / "data" / "nyuv2_256"))
real = pytest.mark.skipif(not REAL.is_dir(), reason="no NYUv2 frames here: set ATDC_NYUV2 to their folder")


def inverse_depth_of_plane(
    normal: tuple[float, float, float], distance_m: float, camera: Intrinsics, size: int
) -> torch.Tensor:
    """1/Z of the plane n·P = -distance, n in room axes (x right, y up, z towards the camera) and facing the camera."""
    v, u = torch.meshgrid(torch.arange(size).double(), torch.arange(size).double(), indexing="ij")
    right, up, back = normal
    ray = torch.stack([(u - camera.cx) / camera.fx, (v - camera.cy) / camera.fy, torch.ones_like(u)])
    towards = right * ray[0] - up * ray[1] - back * ray[2]  # n · ray, negative where the plane is in front
    return (-towards / distance_m)[None, None]


@pytest.fixture()
def folder(tmp_path: Path) -> Path:
    """Three frames: a floor below the horizon and a wall above it, in one split each."""
    (tmp_path / "classes.txt").write_text("\n".join(NYU40) + "\n")
    (tmp_path / "splits.json").write_text(json.dumps({"train": [3, 7], "val": [9], "test": []}))
    names = list(NYU40)
    wall = inverse_depth_of_plane((0, 0, 1), 3.0, INTRINSICS, SIDE_PX)
    floor = inverse_depth_of_plane((0, 1, 0), 0.8, INTRINSICS, SIDE_PX)
    q = torch.maximum(wall, floor)[0, 0].numpy() * METRES_TIMES_Q
    labels = np.where((floor > wall)[0, 0].numpy(), names.index("floor mat"), names.index("door")).astype(np.uint8)
    labels[:, :8] = IGNORE_CLASS
    for name in ("rgb", "invdepth", "seg40"):
        (tmp_path / name).mkdir()
    rng = np.random.default_rng(0)
    for frame in (3, 7, 9):
        holes = q.round().astype(np.uint16)
        holes[100:110, 30:60] = 0
        Image.fromarray(rng.integers(0, 256, (SIDE_PX, SIDE_PX, 3), np.uint8)).save(tmp_path / f"rgb/{frame:04d}.jpg")
        Image.fromarray(holes).save(tmp_path / f"invdepth/{frame:04d}.png")
        Image.fromarray(labels).save(tmp_path / f"seg40/{frame:04d}.png")
    return tmp_path


@pytest.mark.parametrize("normal", [(0, 0, 1), (0, 0.8, 0.6), (0.6, 0, 0.8), (-0.48, -0.6, 0.64)])
def test_a_plane_has_its_own_normal_everywhere_also_at_the_border_and_next_to_holes(
    normal: tuple[float, float, float],
) -> None:
    camera = Intrinsics(60.0, 62.0, 30.0, 33.0)
    q = inverse_depth_of_plane(normal, 2.0, camera, 64)
    q[..., 20:23, 40:50] = 0
    seen = q > 0
    normals = normals_of(q.clamp(min=0), camera)
    expected = torch.tensor(normal, dtype=torch.float32)[:, None].expand(-1, int(seen.sum()))
    assert torch.allclose(normals[0, :, seen[0, 0]], expected, atol=1e-4)
    assert not normals[:, :, ~seen[0, 0]].any()


def test_every_normal_faces_the_camera_and_none_stands_on_an_edge_of_depth() -> None:
    camera = Intrinsics(60.0, 60.0, 31.5, 31.5)
    near, far = (inverse_depth_of_plane((0.6, 0, 0.8), distance, camera, 64) for distance in (1.0, 2.0))
    q = torch.where(torch.arange(64) < 32, near, far)
    normals = normals_of(q, camera)
    length = normals.norm(dim=1)
    assert not length[..., 31:33].any() and length[..., :28].min() > 0.999
    v, u = torch.meshgrid(torch.arange(64), torch.arange(64), indexing="ij")
    to_point = torch.stack([(u - camera.cx) / camera.fx, -(v - camera.cy) / camera.fy, -torch.ones(64, 64)])
    assert ((normals[0] * to_point).sum(0) <= 0).all()


@pytest.mark.parametrize("size", [256, 128])
def test_a_frame_is_stored_as_rooms_are(folder: Path, size: int) -> None:
    data: LabelledImages = NyuV2Dataset(folder, "train", size)
    stored = data.targets(np.array([1, 0]))
    assert len(data) == 2 and list(stored) == list(STORED_LAYOUT)
    for name, (channels, dtype) in STORED_LAYOUT.items():
        assert stored[name].shape == (2, channels, size, size)
        assert stored[name].numpy().dtype == dtype
    scale = 256 // size
    bottom, top = (slice(None), slice(240 // scale, None), slice(90 // scale, -20 // scale)), slice(0, 80 // scale)
    depth_m = stored["depth_zbuffer"][1, 0, top].float() / 512
    assert (depth_m - 3).abs().max() < 3 * 3 / METRES_TIMES_Q, "half a step of inverse depth, and a rounding"
    normals = decode_stored("normal", stored["normal"])
    assert normals[1, 2, top].min() > 0.999 and normals[(1, *bottom)][1].min() > 0.97, "a wall is blue, a floor green"
    assert set(stored["segment_semantic"].unique().tolist()) == {
        CLASSES.index("floor"), CLASSES.index("door"), IGNORE_CLASS,
    }  # fmt: skip


def test_holes_are_not_measured(folder: Path) -> None:
    stored = NyuV2Dataset(folder, "val").targets([0], ["depth_zbuffer", "normal"])
    hole = (0, slice(None), slice(100, 110), slice(30, 60))
    assert not (stored["depth_zbuffer"].int()[hole] != NO_DEPTH).any()
    assert (stored["normal"][hole] == NO_NORMAL).all()
    valid = target_form("depth_zbuffer").measured(decode_stored("depth_zbuffer", stored["depth_zbuffer"]))
    assert valid is not None and int((~valid).sum()) == 10 * 30


def test_a_subset_of_targets_is_read_by_position_and_slice(folder: Path) -> None:
    data = NyuV2Dataset(folder, "train", classes=40)
    labels = data.targets(slice(0, 2), ["segment_semantic"])
    assert list(labels) == ["segment_semantic"] and len(labels["segment_semantic"]) == 2
    assert set(labels["segment_semantic"].unique().tolist()) == {7, 19, IGNORE_CLASS}
    assert len(data.targets([])["rgb"]) == 0 == len(NyuV2Dataset(folder, "test"))


def test_what_makes_no_sense_is_refused(folder: Path) -> None:
    for wrong in ({"split": "all"}, {"size": 100}, {"size": 0}, {"classes": 13}):
        with pytest.raises(ArgumentError):
            NyuV2Dataset(folder, **{"split": "val", **wrong})  # type: ignore[arg-type]
    data = NyuV2Dataset(folder, "train")
    with pytest.raises(ArgumentError, match="0 … 1"):
        data.targets([2])
    with pytest.raises(ArgumentError, match="names among"):
        data.targets([0], ["depth"])


def test_another_folder_and_damaged_frames_are_refused(folder: Path) -> None:
    with pytest.raises(DataError, match="NYUv2 frames"):
        NyuV2Dataset(folder / "rgb", "val")
    (folder / "seg40/0009.png").write_bytes((folder / "seg40/0009.png").read_bytes()[:60])
    with pytest.raises(DataError, match="0009"):
        NyuV2Dataset(folder, "val").targets([0])
    (folder / "rgb/0003.jpg").unlink()
    with pytest.raises(DataError, match="0003"):
        NyuV2Dataset(folder, "train").targets([0])
    Image.new("L", (SIDE_PX, SIDE_PX)).save(folder / "invdepth/0007.png")
    with pytest.raises(DataError, match="expected I;16"):
        NyuV2Dataset(folder, "train").targets([1])
    (folder / "splits.json").write_text('{"train": "all"}')
    with pytest.raises(DataError, match="no list 'train'"):
        NyuV2Dataset(folder, "train")
    (folder / "classes.txt").write_text("wall\nfloor\n")
    with pytest.raises(DataError, match="40 classes"):
        NyuV2Dataset(folder, "train")


def test_evaluation_takes_the_frames_as_it_takes_rooms(folder: Path, untrained_weights: Path) -> None:
    data, codec = NyuV2Dataset(folder, "train", size=64), load(untrained_weights)
    stored = data.targets([0, 1])
    targets = {task: decode_stored(task, stored[task]) for task in TASK_NAMES}
    records = measure_anchor(codec, UNCOMPRESSED, features_at(codec, data, [0, 1]), targets)
    assert np.isfinite(records.loss).all()
    for task, vectors in records.statistics.items():
        assert np.isfinite(vectors).all()
        assert np.isfinite(MEASURES[task].error(vectors.sum(0))), task


@real
def test_real_floors_are_green_and_real_walls_stand() -> None:
    data = NyuV2Dataset(REAL, "val")
    stored = data.targets(range(0, 160, 16), ["normal", "segment_semantic", "depth_zbuffer"])
    normals = decode_stored("normal", stored["normal"])
    known = target_form("normal").measured(normals)
    assert known is not None and 0.7 < known.float().mean() < 0.99
    up = {
        name: normals[:, 1:2][known & (stored["segment_semantic"] == CLASSES.index(name))].median()
        for name in ("floor", "wall")
    }
    assert up["floor"] > 0.85 and abs(up["wall"]) < 0.3
    metres = stored["depth_zbuffer"].float() / 512
    assert metres.min() >= 0.7 and metres.max() <= 10
