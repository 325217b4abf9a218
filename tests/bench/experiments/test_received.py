"""What a receiver has in the comparison comes from bytes, and from nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from atdc.bitstream.container import ContainerReader
from atdc.pipeline import Codec
from atdc.tasks import TASK_NAMES
from atdc_bench.baselines.system import FeatureSystem, PixelSystem
from atdc_bench.baselines.trainer import BaselineTrainer
from atdc_bench.compare_recipe import CompareRecipe
from atdc_bench.experiments.compare import batches, drawn, entries, received
from atdc_bench.experiments.evaluate import measure_answers

if TYPE_CHECKING:
    from conftest import SmallImages

GREY = 100


class CountsOnly(FeatureSystem):
    """Its files hold the number of an image, and its decoder answers with constant features of that number."""

    name, title, points = "counts", "Counts", (4.0,)

    def __init__(self, shape: Sequence[int]) -> None:
        self._shape = tuple(shape)

    def encode(self, features: torch.Tensor, point: float) -> list[bytes]:
        return [bytes([place + 1]) for place in range(len(features))]

    def decode(self, data: Sequence[bytes]) -> torch.Tensor:
        return torch.stack([torch.full(self._shape, float(file[0])) for file in data])


class GreyOnly(PixelSystem):
    """Its files hold nothing but the size; what comes back is grey."""

    name, title, points = "grey", "Grey", (4.0,)

    def encode(self, image: np.ndarray, point: float) -> bytes:
        return bytes(image.shape[:2])

    def decode(self, data: bytes) -> np.ndarray:
        return np.full((data[0], data[1], 3), GREY, np.uint8)


@pytest.fixture
def originals(photos: SmallImages) -> np.ndarray:
    return photos.targets([0, 1])["rgb"].numpy()


@pytest.fixture
def features(tiny_codec: Codec, originals: np.ndarray) -> torch.Tensor:
    return tiny_codec.features_of(torch.from_numpy(originals))


def test_features_are_what_the_files_decode_to(
    tiny_codec: Codec, features: torch.Tensor, originals: np.ndarray
) -> None:
    sizes, answered, own = received(CountsOnly(features.shape[1:]), tiny_codec, features, originals, 4.0)
    assert sizes == [1, 1] and own is None
    assert [image.unique().tolist() for image in answered] == [[1.0], [2.0]]


def test_a_receiver_of_images_sees_the_decoded_ones(
    tiny_codec: Codec, features: torch.Tensor, originals: np.ndarray
) -> None:
    sizes, answered, own = received(GreyOnly(), tiny_codec, features, originals, 4.0)
    grey = torch.full((2, 3, 64, 64), GREY / 255)
    assert sizes == [2, 2] and own is not None and torch.allclose(own, grey)
    assert torch.allclose(answered, tiny_codec.features_of(grey), atol=1e-4)
    assert not torch.allclose(answered, features, atol=1e-2)


def test_a_decoded_image_is_the_answer_to_rgb_and_to_nothing_else(
    tiny_codec: Codec, features: torch.Tensor, photos: SmallImages
) -> None:
    (batch,) = batches(tiny_codec, photos, range(2))
    targets = batch.targets
    black = torch.zeros(2, 3, 64, 64)
    by_head, _ = measure_answers(tiny_codec, features, targets)
    by_image, _ = measure_answers(tiny_codec, features, targets, black)
    for task in TASK_NAMES:
        assert np.array_equal(by_head[task], by_image[task]) == (task != "rgb")


def test_the_reports_image_of_rgb_is_the_decoded_one(tiny_codec: Codec, photos: SmallImages) -> None:
    shown: dict[str, np.ndarray] = {}

    def draw(task: str, answer: np.ndarray) -> str:
        shown[task] = answer
        return task

    drawn(GreyOnly(), tiny_codec, photos, draw)
    assert np.allclose(shown["rgb"], GREY / 255, atol=1 / 255)


def test_the_balanced_row_codes_the_balanced_qualities(tiny_codec: Codec, features: torch.Tensor) -> None:
    trainer = object.__new__(BaselineTrainer)
    qualities = dict(zip(TASK_NAMES, (1.0, 2.0, 3.0, 4.0, 5.0, 6.0), strict=True))
    trainer.base = SimpleNamespace(balanced=lambda point: qualities)
    trainer.points = (4.0,)
    row = entries(CompareRecipe())["ours-balanced"].row
    assert row is not None
    files = trainer._system(row, tiny_codec.feature_codec, {}).encode(features, 4.0)
    assert all(ContainerReader(file).header.qualities == (8, 16, 24, 32, 40, 48) for file in files)
