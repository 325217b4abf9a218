"""Changed images: targets follow, shapes and types stay, and a draw repeats itself."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from atdc.data.rooms.targets import edge_texture
from atdc.data.targets import NO_DEPTH, STORED_LAYOUT
from atdc.training import augment
from atdc.training.augment import Augmented, augmented, turned


def _stored(count: int, seed: int) -> dict[str, torch.Tensor]:
    random = np.random.default_rng(seed)
    return {
        name: torch.from_numpy(random.integers(0, 256, (count, channels, 32, 32)).astype(dtype))
        for name, (channels, dtype) in STORED_LAYOUT.items()
    }


@given(st.integers(0, 2**31))
@settings(deadline=None, max_examples=20)
def test_a_draw_repeats_itself_and_keeps_shapes_types_and_what_is_stored(seed: int) -> None:
    stored = _stored(6, seed)
    before = {name: values.clone() for name, values in stored.items()}
    once, again = (augmented(stored, np.random.default_rng(seed)) for _ in range(2))
    for name, values in stored.items():
        assert torch.equal(values, before[name]) and torch.equal(once[name], again[name])
        assert once[name].shape == values.shape and once[name].dtype == values.dtype


@given(st.integers(0, 2**31))
@settings(deadline=None, max_examples=20)
def test_labels_are_never_mixed_and_edges_follow_the_image(seed: int) -> None:
    stored = _stored(4, seed)
    stored["depth_zbuffer"][:, :, ::3] = NO_DEPTH
    changed = augmented(stored, np.random.default_rng(seed))
    for image in range(4):
        for name in ("segment_semantic", "normal"):
            assert set(changed[name][image].ravel().tolist()) <= set(stored[name][image].ravel().tolist())
        depth, old = changed["depth_zbuffer"][image].int(), stored["depth_zbuffer"][image].int()
        assert (depth == NO_DEPTH).any() and depth.max() <= old.max()
        if not torch.equal(changed["rgb"][image], stored["rgb"][image]):
            edges = (edge_texture(changed["rgb"][image : image + 1].float() / 255) * 255).round()
            assert torch.equal(changed["edge_texture"][image].float(), edges[0])


def test_a_closer_look_brings_things_nearer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(augment, "SHARE", 1.0)
    stored = {"rgb": torch.zeros(8, 3, 32, 32, dtype=torch.uint8)}
    stored["depth_zbuffer"] = torch.full((8, 1, 32, 32), 1000, dtype=torch.int32).numpy().astype(np.uint16)
    stored["depth_zbuffer"] = torch.from_numpy(stored["depth_zbuffer"])
    depth = augmented(stored, np.random.default_rng(0))["depth_zbuffer"].int()
    assert depth.min() >= 600 and depth.max() <= 1000 and len(depth.unique()) > 4


class _Images:
    def __init__(self, count: int) -> None:
        self._stored = _stored(count, 3)

    def __len__(self) -> int:
        return len(self._stored["rgb"])

    def targets(self, indices, names=None):
        return {name: self._stored[name][list(indices)] for name in (names or STORED_LAYOUT)}


def test_a_data_set_is_changed_once_and_for_all() -> None:
    images = _Images(12)
    changed = Augmented(images, seed=5)
    whole = changed.targets(np.arange(12))
    assert len(changed) == 12 and set(whole) == set(STORED_LAYOUT)
    for name, values in changed.targets([7, 2, 9], ("normal", "edge_texture")).items():
        assert torch.equal(values, whole[name][[7, 2, 9]])
    same = [torch.equal(new, old) for new, old in zip(whole["rgb"], images.targets(range(12))["rgb"], strict=True)]
    assert 0 < sum(same) < 12
    assert not torch.equal(Augmented(images, seed=6).targets(range(12), ("rgb",))["rgb"], whole["rgb"])


@given(st.floats(-4, 4), st.floats(0, 3))
@settings(deadline=None, max_examples=30)
def test_hues_turn_around_greys(angle: float, saturation: float) -> None:
    matrix = turned(angle, saturation)
    torch.testing.assert_close(matrix @ torch.full((3,), 90.0), torch.full((3,), 90.0))
    torch.testing.assert_close(matrix.sum(0), torch.ones(3))  # brightness, the mean of the channels, stays
    torch.testing.assert_close(turned(-angle, 1.0) @ turned(angle, 1.0), torch.eye(3), atol=1e-5, rtol=0)
    colour = torch.tensor([200.0, 30.0, 60.0])
    distance = torch.linalg.vector_norm(matrix @ colour - colour.mean())
    assert math.isclose(
        float(distance), saturation * float((colour - colour.mean()).norm()), rel_tol=1e-3, abs_tol=1e-2
    )
