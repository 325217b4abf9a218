"""Large images in tiles: every position once, the same features and answers as the whole, bounded memory."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import atdc
from atdc.networks.encoders import SmallEncoder
from atdc.networks.heads import SmallHead
from atdc.networks.tiles import tiles_of
from atdc.pipeline import Codec

pytestmark = pytest.mark.portability

WEIGHTS = Path(atdc.__file__).parent / "shipped" / "small-1.safetensors"


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 12), st.integers(0, 9))
def test_tiles_cover_every_position_once_and_see_their_margin(rows: int, columns: int, side: int, halo: int) -> None:
    count = np.zeros((rows, columns), int)
    positions = torch.arange(rows * columns).view(rows, columns)
    for tile in tiles_of(rows, columns, side, halo):
        count[tile.rows, tile.columns] += 1
        assert torch.equal(
            tile.core_of(positions[tile.outer_rows, tile.outer_columns]), positions[tile.rows, tile.columns]
        )
        for inner, outer, length in ((tile.rows, tile.outer_rows, rows), (tile.columns, tile.outer_columns, columns)):
            assert outer.start == max(inner.start - halo, 0) and outer.stop == min(inner.stop + halo, length)
    assert (count == 1).all()


@pytest.fixture(scope="module", params=["untrained", pytest.param("small", marks=pytest.mark.weights)])
def codec(request: pytest.FixtureRequest, untrained_weights: Path) -> Codec:
    if request.param == "small" and not WEIGHTS.exists():
        pytest.skip("no weights in the package: train some with `make train`")
    return atdc.load(untrained_weights if request.param == "untrained" else "small")


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    smooth = torch.rand((1, 3, 30, 36), generator=torch.Generator().manual_seed(0))
    photo = torch.nn.functional.interpolate(smooth, (285, 361), mode="bicubic")[0].permute(1, 2, 0)
    noise = torch.randn(photo.shape, generator=torch.Generator().manual_seed(1)) * 0.05
    return ((photo + noise).clamp(0, 1) * 255).to(torch.uint8).numpy()


def with_tiles(codec: Codec, positions: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codec, "tile_positions", positions)


def test_features_of_tiles_are_those_of_the_whole(
    codec: Codec, image: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = torch.from_numpy(image).permute(2, 0, 1)[None]
    whole = codec.features_of(images)
    with_tiles(codec, 5, monkeypatch)
    for pixels in (images, images.float() / 255):
        tiled = codec.features_of(pixels)
        assert tiled.shape == whole.shape and (tiled - whole).abs().max() < 1e-4


def test_answers_of_tiles_are_those_of_the_whole(
    codec: Codec, image: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = codec.encode(image)
    whole = codec.decode(data)
    with_tiles(codec, 5, monkeypatch)
    for name, answer in codec.decode(data).items():
        assert answer.shape == whole[name].shape and answer.dtype == whole[name].dtype
        if name == "segment_semantic":
            assert (answer != whole[name]).mean() < 1e-4  # two classes may be equally likely but for rounding
        else:
            assert np.abs(answer - whole[name]).max() < 1e-4


def test_layers_never_see_more_than_a_tile_and_its_margin(
    codec: Codec, image: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    for network in (SmallEncoder, SmallHead):
        local = network.local

        def watched(self: object, x: Tensor, local: object = local, halo: int = network.halo) -> Tensor:
            scale = 16 if isinstance(self, SmallEncoder) else 1
            seen.append(max(x.shape[-2:]) // scale - 2 * halo)
            return local(self, x)  # type: ignore[operator]

        monkeypatch.setattr(network, "local", watched)
    with_tiles(codec, 4, monkeypatch)
    codec.answers(image, ["normal"])
    assert len(seen) > 30 and max(seen) == 4
