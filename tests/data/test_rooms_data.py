"""Laws of the `rooms` data set: determinism, geometry, classes, the two image targets, and storage."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from atdc.data.rooms import SPLITS, RoomsDataset, edge_texture, keypoints2d, materialise, render_rooms, sample_scene
from atdc.data.rooms import store as store_module
from atdc.data.rooms import targets as targets_module
from atdc.data.rooms.styles import HELD_OUT_STYLES, TRAIN_STYLES
from atdc.errors import ArgumentError, DataError, OutputError
from atdc.tasks import CLASSES, TASK_NAMES

SEEDS = (11, 12, 13, 14, 15, 16)
SIDE = 96
ImageTarget = Callable[[Tensor], Tensor]


@pytest.fixture(scope="module")
def rooms() -> dict[str, Tensor]:
    return render_rooms(SEEDS, size=SIDE)


@pytest.fixture(scope="module")
def many_labels() -> Tensor:
    return render_rooms(range(500, 600), size=48)["segment_semantic"]


def unit_normals(rooms: dict[str, Tensor]) -> Tensor:
    return rooms["normal"].float() / 127.5 - 1.0


def back_project(depth: Tensor, seed: int) -> Tensor:
    """Points (3, H, W) in camera axes x right, y up, z towards the camera."""
    side = depth.shape[-1]
    focal = 0.5 * side / math.tan(math.radians(sample_scene(seed).camera.fov_deg) / 2)
    y, x = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    z = depth.float() / 512
    return torch.stack(((x - (side - 1) / 2) / focal * z, ((side - 1) / 2 - y) / focal * z, -z))


def test_every_task_has_its_target_in_its_stored_type(rooms: dict[str, Tensor]) -> None:
    assert set(rooms) == set(TASK_NAMES)
    for name, channels in {"rgb": 3, "normal": 3}.items():
        assert rooms[name].shape == (len(SEEDS), channels, SIDE, SIDE)
    for name in ("depth_zbuffer", "segment_semantic", "keypoints2d", "edge_texture"):
        assert rooms[name].shape == (len(SEEDS), 1, SIDE, SIDE)
    assert rooms["depth_zbuffer"].dtype == torch.uint16
    assert all(rooms[name].dtype == torch.uint8 for name in rooms if name != "depth_zbuffer")


def test_a_room_is_the_same_whatever_the_batch(rooms: dict[str, Tensor]) -> None:
    single = render_rooms([SEEDS[3]], size=SIDE)
    reverse = render_rooms(SEEDS[4:1:-1], size=SIDE)
    for name, whole in rooms.items():
        assert torch.equal(whole[3], single[name][0]), name
        assert torch.equal(whole[3], reverse[name][1]), name


def test_a_room_is_the_same_whatever_the_number_of_threads(rooms: dict[str, Tensor]) -> None:
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(3 - min(threads, 2))
        again = render_rooms(SEEDS[:2], size=SIDE)
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(rooms[name][:2], again[name]) for name in rooms)


def test_other_seeds_and_other_styles_give_other_rooms(rooms: dict[str, Tensor]) -> None:
    for a, b in itertools.combinations(range(len(SEEDS)), 2):
        assert not torch.equal(rooms["rgb"][a], rooms["rgb"][b])
    held_out = render_rooms(SEEDS[:1], styles="held_out", size=SIDE)
    assert not torch.equal(held_out["rgb"][0], rooms["rgb"][0])


def test_splits_are_disjoint_and_of_the_promised_sizes() -> None:
    assert {name: split.count for name, split in SPLITS.items()} == {
        "train": 8000, "val": 500, "test": 1000, "test_styles": 500,
    }  # fmt: skip
    for a, b in itertools.combinations(SPLITS.values(), 2):
        assert not set(a.seeds) & set(b.seeds)


def test_held_out_styles_never_appear_in_training() -> None:
    trained = {sample_scene(seed, "train").style for seed in range(150)}
    held_out = {sample_scene(seed, "held_out").style for seed in range(30)}
    assert trained == {style.name for style in TRAIN_STYLES}
    assert held_out == {style.name for style in HELD_OUT_STYLES}
    assert len(trained) >= 6 and len(held_out) == 2 and not trained & held_out


def test_rooms_run_from_empty_to_cluttered() -> None:
    counts = [len(sample_scene(seed).shape) for seed in range(150)]
    assert min(counts) <= 12 and max(counts) >= 100


def test_normals_have_unit_length(rooms: dict[str, Tensor]) -> None:
    assert (unit_normals(rooms).norm(dim=1) - 1.0).abs().max() < 0.0075  # half a step of 1/127.5 on three axes


def test_normals_face_the_camera(rooms: dict[str, Tensor]) -> None:
    for index, seed in enumerate(SEEDS):
        points = back_project(rooms["depth_zbuffer"][index, 0], seed)
        cosine = -(points * unit_normals(rooms)[index]).sum(0) / points.norm(dim=0)
        assert cosine.min() > -0.01


def test_depth_and_normals_describe_one_surface(rooms: dict[str, Tensor]) -> None:
    """Where depth is smooth, the cross product of back-projected steps is the stored normal."""
    step = 3
    angles = []
    for index, seed in enumerate(SEEDS):
        points = back_project(rooms["depth_zbuffer"][index, 0], seed)
        stored = unit_normals(rooms)[index][:, step:-step, step:-step]
        right = points[:, step:-step, 2 * step :] - points[:, step:-step, : -2 * step]
        up = points[:, : -2 * step, step:-step] - points[:, 2 * step :, step:-step]
        normal = torch.linalg.cross(right, up, dim=0)
        cosine = (normal * stored).sum(0) / normal.norm(dim=0) / stored.norm(dim=0)
        angles.append(torch.rad2deg(torch.acos(cosine.clamp(-1, 1))).flatten())
    angle_deg = torch.cat(angles)
    assert angle_deg.median() < 4.0  # depth is stored in steps of 2 mm
    assert (angle_deg < 15.0).float().mean() > 0.7


def test_floors_point_up_and_ceilings_down() -> None:
    for seed in range(40, 52):
        room = render_rooms([seed], size=48)
        up_in_camera = torch.tensor([axis[1] for axis in sample_scene(seed).camera.axes]) * torch.tensor(
            [1.0, 1.0, -1.0]
        )
        height = (unit_normals(room)[0] * up_in_camera[:, None, None]).sum(0)
        label = room["segment_semantic"][0, 0]
        floor, ceiling = height[label == CLASSES.index("floor")], height[label == CLASSES.index("ceiling")]
        if floor.numel() > 50:
            assert floor.median() > 0.98
        if ceiling.numel() > 50:
            assert ceiling.median() < 0.02  # beams show their sides


def test_depth_lies_inside_the_room(rooms: dict[str, Tensor]) -> None:
    for index, seed in enumerate(SEEDS):
        longest = 2 * math.hypot(*sample_scene(seed).half_m)
        metres = rooms["depth_zbuffer"][index].float() / 512
        assert metres.min() > 0.0 and metres.max() < longest


def test_all_classes_appear(many_labels: Tensor) -> None:
    found = set(many_labels.unique().tolist())
    assert found == set(range(len(CLASSES)))


def test_no_class_is_told_by_its_mean_colour() -> None:
    """Walls, floors and furniture each take dark and bright, reddish and bluish values."""
    room = render_rooms(range(500, 540), size=48)
    for name in ("wall", "floor", "furniture"):
        mask = room["segment_semantic"][:, 0] == CLASSES.index(name)
        means = [room["rgb"][i].float()[:, mask[i]].mean(1) for i in range(40) if mask[i].sum() > 100]
        colours = torch.stack(means)
        assert colours.mean(1).max() - colours.mean(1).min() > 80
        assert (colours[:, 0] - colours[:, 2]).min() < 0 < (colours[:, 0] - colours[:, 2]).max()


@pytest.mark.parametrize("target", [edge_texture, keypoints2d])
def test_image_targets_are_zero_on_constant_images(target: ImageTarget) -> None:
    for value in (0.0, 0.3, 1.0):
        assert target(torch.full((1, 3, 40, 33), value)).max() < 2e-3


@pytest.mark.parametrize("target", [edge_texture, keypoints2d])
def test_image_targets_are_the_stored_ones(target: ImageTarget, rooms: dict[str, Tensor]) -> None:
    again = target(rooms["rgb"].float() / 255.0)
    assert torch.equal((again * 255.0).round().to(torch.uint8), rooms[target.__name__])


@pytest.mark.parametrize("target", [edge_texture, keypoints2d])
@pytest.mark.parametrize("dims", [(-1,), (-2,), (-2, -1)])
def test_image_targets_follow_flips(target: ImageTarget, dims: tuple[int, ...], rooms: dict[str, Tensor]) -> None:
    image = rooms["rgb"][:2].float() / 255.0
    assert torch.allclose(target(image.flip(dims)), target(image).flip(dims), atol=1e-4)


@pytest.mark.parametrize("target", [edge_texture, keypoints2d])
def test_image_targets_take_any_size_and_stay_in_range(target: ImageTarget) -> None:
    generator = torch.Generator().manual_seed(0)
    for height, width in ((1, 1), (1, 30), (7, 5), (33, 64)):
        answer = target(torch.rand(2, 3, height, width, generator=generator))
        assert answer.shape == (2, 1, height, width)
        assert answer.min() >= 0.0 and answer.max() <= 1.0


def test_an_edge_answers_on_the_edge_and_a_blob_on_the_blob() -> None:
    step = torch.zeros(1, 3, 64, 64)
    step[..., 32:] = 0.4
    assert edge_texture(step)[0, 0, 32].argmax() in (31, 32)
    y, x = torch.meshgrid(torch.arange(65.0), torch.arange(65.0), indexing="ij")
    blob = 0.02 * torch.exp(-((x - 40) ** 2 + (y - 20) ** 2) / 30).expand(1, 3, -1, -1)
    peak = int(keypoints2d(blob).flatten().argmax())
    assert (peak // 65, peak % 65) == (20, 40)


def test_edges_are_spread_over_their_range(rooms: dict[str, Tensor]) -> None:
    for name in ("edge_texture", "keypoints2d"):
        assert 0.02 < rooms[name].float().mean() / 255.0 < 0.4
        assert (rooms[name] == 255).float().mean() < 0.1


def test_the_page_states_the_formulas_that_are_computed() -> None:
    page = (Path(__file__).parents[2] / "docs" / "rooms.md").read_text()
    small, large = targets_module.KEYPOINT_SIGMAS_PX
    for text in (page, targets_module.__doc__ or ""):
        assert f"g / {targets_module.EDGE_SCALE:g}" in text
        assert f"Gaussian of {targets_module.EDGE_SIGMA_PX:g} pixel" in text
        assert f"r / {targets_module.KEYPOINT_SCALE:g}" in text
        assert f"{{{small:g}, {large:g}}}" in text


def test_bad_arguments_are_named() -> None:
    with pytest.raises(ArgumentError, match="size: found 100"):
        render_rooms([1], size=100)
    with pytest.raises(ArgumentError, match="seeds: found -1"):
        render_rooms([-1])
    with pytest.raises(ArgumentError, match="styles"):
        render_rooms([1], styles="loft")  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="rgb01"):
        edge_texture(torch.zeros(1, 3, 8, 8, dtype=torch.uint8))
    with pytest.raises(ArgumentError, match="split: found 'dev'"):
        materialise(Path("unused"), "dev")
    with pytest.raises(ArgumentError, match="count"):
        materialise(Path("unused"), "val", count=501)


def test_a_materialised_split_holds_the_rendered_rooms(tmp_path: Path) -> None:
    materialise(tmp_path, "test_styles", count=5, workers=1, size=32)
    data = RoomsDataset(tmp_path, "test_styles")
    assert len(data) == 5 and data.size == 32
    fresh = render_rooms([3_000_004, 3_000_001], styles="held_out", size=32)
    stored = data.targets([4, 1])
    assert all(torch.equal(stored[name], fresh[name]) for name in TASK_NAMES)
    assert list(data.targets(slice(0, 2), names=["rgb"])) == ["rgb"]
    with pytest.raises(ArgumentError, match="indices"):
        data.targets([5])


def test_materialise_continues_after_an_interruption(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "_CHUNK", 2)
    rendered: list[int] = []
    render_chunk = store_module._render_chunk

    def stop_at_third(job: tuple[str, store_module.RoomsSplit, int, int, int]) -> int:
        if len(rendered) == 2:
            raise KeyboardInterrupt
        rendered.append(job[2])
        return render_chunk(job)

    def count_calls(job: tuple[str, store_module.RoomsSplit, int, int, int]) -> int:
        rendered.append(job[2])
        return render_chunk(job)

    monkeypatch.setattr(store_module, "_render_chunk", stop_at_third)
    with pytest.raises(KeyboardInterrupt):
        materialise(tmp_path, "val", count=7, workers=1, size=32)
    with pytest.raises(DataError, match="unfinished"):
        RoomsDataset(tmp_path, "val")

    monkeypatch.setattr(store_module, "_render_chunk", count_calls)
    materialise(tmp_path, "val", count=7, workers=1, size=32)
    assert rendered == [0, 1, 2, 3]
    fresh = render_rooms(range(1_000_000, 1_000_007), size=32)
    stored = RoomsDataset(tmp_path, "val").targets(range(7))
    assert all(torch.equal(stored[name], fresh[name]) for name in TASK_NAMES)

    materialise(tmp_path, "val", count=7, workers=1, size=32)  # finished: nothing is rendered
    assert rendered == [0, 1, 2, 3]


@pytest.mark.slow
def test_two_workers_write_what_one_writes(tmp_path: Path) -> None:
    materialise(tmp_path, "val", count=24, workers=2, size=32)
    fresh = render_rooms(range(1_000_000, 1_000_024), size=32)
    stored = RoomsDataset(tmp_path, "val").targets(range(24))
    assert all(torch.equal(stored[name], fresh[name]) for name in TASK_NAMES)


def test_missing_foreign_or_damaged_rooms_are_refused_with_a_cure(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="materialise"):
        RoomsDataset(tmp_path, "val")
    materialise(tmp_path, "val", count=1, workers=1, size=16)
    meta = tmp_path / "val" / "meta.json"
    whole = meta.read_text()
    meta.write_text(json.dumps({**json.loads(whole), "rooms_version": 0}))
    with pytest.raises(DataError, match="version 0"):
        RoomsDataset(tmp_path, "val")
    meta.write_text(whole)
    np.save(tmp_path / "val" / "rgb.npy", np.zeros((1, 3, 8, 8), dtype=np.uint8))
    with pytest.raises(DataError, match=r"rgb\.npy"):
        RoomsDataset(tmp_path, "val")
    (tmp_path / "val" / "rgb.npy").unlink()
    with pytest.raises(DataError, match=r"rgb\.npy"):
        RoomsDataset(tmp_path, "val")


def test_a_folder_that_cannot_be_made_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="file"):
        materialise(tmp_path / "file", "val", count=1, workers=1, size=16)
