"""The weights in the package do the main job."""

from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

import atdc
from atdc.adapters.network_set import NETWORK_SETS
from atdc.codec import FeatureCodec
from atdc.config import DEFAULT_MODEL
from atdc.data.rooms import render_rooms
from atdc.graph.search import SETTINGS
from atdc.pipeline import Codec
from atdc.tasks import TASK_NAMES
from atdc.weights import open_weights

PACKAGE = Path(atdc.__file__).parent
EVERY = sorted((PACKAGE / "shipped").glob("*.safetensors"))
OF_NETWORKS = {"pypi-4": "pypi", "mixed-5": "mixed", "pyramid-2": "pyramid"}
"""Weights of codecs alone, and the set of published networks that their tensors are of."""
WEIGHTS = [path for path in EVERY if path.stem not in OF_NETWORKS]
NORMALS_WITHIN_DEGREES = {"small-1": 5, "real-1": 6, "real-3": 6}
ROOMS = sorted((PACKAGE / "report" / "demo_images").glob("*.png"))

pytestmark = [
    pytest.mark.weights,
    pytest.mark.skipif(not WEIGHTS, reason="no weights in the package: train some with `make train`"),
]


@pytest.fixture(scope="module", params=[path.stem for path in WEIGHTS])
def codec(request: pytest.FixtureRequest) -> Codec:
    return atdc.load(request.param)


def _psnr_db(a: np.ndarray, b: np.ndarray) -> float:
    return float(-10 * np.log10(np.mean(np.square(a - b))))


@pytest.mark.parametrize("path", EVERY, ids=lambda path: path.stem)
def test_weights_are_small_and_described(path: Path) -> None:
    assert path.stat().st_size <= 16 * 2**20
    card = path.with_suffix(".md").read_text(encoding="utf-8")
    assert card.startswith(f"# `{path.stem}`") and open_weights(path).fingerprint.hex() in card


@pytest.mark.parametrize("path", WEIGHTS, ids=lambda path: path.stem)
def test_a_balance_lies_next_to(path: Path) -> None:
    qualities = atdc.load(path).balanced(4)
    assert tuple(qualities) == TASK_NAMES and all(0 <= quality <= 7 for quality in qualities.values())


@pytest.mark.parametrize(("name", "networks"), OF_NETWORKS.items())
def test_a_codec_of_published_networks_names_them_and_codes_their_tensors(name: str, networks: str) -> None:
    codec = atdc.FeatureCodec.load(name)
    settings = yaml.safe_load((NETWORK_SETS / f"{networks}.yaml").read_text("utf-8"))
    assert list(codec.card["networks"]) == list(settings["networks"])
    assert {tensor.partition("/")[0] for tensor in codec.task_names} == set(settings["networks"])
    random = np.random.default_rng(0)
    features = {}
    for spec, mean, std in zip(codec.tensors.tensors, codec.mean, codec.std, strict=True):
        coarse = random.normal(size=(spec.channels, 1, 1)) * std.numpy()[:, None, None]
        assert isinstance(spec.grid, tuple)
        features[spec.name] = np.broadcast_to(mean.numpy()[:, None, None] + coarse, (spec.channels, *spec.grid))
    sizes, errors = [], []
    for quality in (0, 7):
        data = codec.encode({key: value.astype(np.float32) for key, value in features.items()}, quality)
        decoded = codec.decode(data)
        sizes.append(len(data))
        errors.append(
            np.mean([
                np.square((decoded[spec.name].numpy() - features[spec.name]) / std.numpy()[:, None, None]).mean()
                for spec, std in zip(codec.tensors.tensors, codec.std, strict=True)
            ])
        )  # fmt: skip
    assert sizes[0] < sizes[1] and errors[1] < min(errors[0], 1)


def test_the_default_is_shipped() -> None:
    assert open_weights(DEFAULT_MODEL).path in WEIGHTS


@pytest.mark.parametrize("path", ROOMS, ids=lambda path: path.stem)
def test_a_room_comes_back(codec: Codec, path: Path) -> None:
    assert codec.path is not None
    with Image.open(path) as image:
        pixels, seed = np.asarray(image.convert("RGB")), int(str(image.info["Source"]).rpartition(" ")[2])
    best, data = codec.answers(pixels), codec.encode(pixels, quality=7)
    answers, seen = codec.decode(data), codec.inspect(data)
    assert len(data) <= 1.01 * seen.ideal_bits / 8 + 24
    assert _psnr_db(answers["rgb"], pixels / 255) > _psnr_db(best["rgb"], pixels / 255) - 1.5
    ground_truth = render_rooms([seed])["segment_semantic"][0, 0].numpy()
    accuracy, at_best = ((given["segment_semantic"] == ground_truth).mean() for given in (answers, best))
    assert accuracy > at_best - 0.05
    cosine = (answers["normal"] * best["normal"]).sum(2).clip(-1, 1)
    assert np.degrees(np.arccos(cosine)).mean() < NORMALS_WITHIN_DEGREES[codec.path.stem]


def test_more_quality_takes_more_bytes_ten_times_from_end_to_end(codec: Codec) -> None:
    image = np.asarray(Image.open(ROOMS[0]).convert("RGB"))
    sizes = [len(codec.encode(image, quality=quality, graph="fixed")) for quality in (0, 0.125, 2, 4, 5.5, 7)]
    assert sizes == sorted(sizes) and sizes[-1] >= 10 * sizes[0]


@pytest.mark.parametrize("setting", SETTINGS)
def test_every_setting_runs_on_the_same_weights(codec: Codec, setting: str) -> None:
    image = np.asarray(Image.open(ROOMS[-1]).convert("RGB"))
    data = codec.encode(image, quality=3, graph=setting)
    assert len(data) < 8000 and codec.decode(data, tasks=["normal"])["normal"].shape == (*image.shape[:2], 3)


def test_what_parents_predict_is_not_sent_again(codec: Codec) -> None:
    chosen = alone = 0
    for path in ROOMS:
        chosen += len(codec.encode(path, quality=4))
        alone += len(codec.encode(path, quality=4, graph="independent"))
    assert chosen < 0.9 * alone


@pytest.mark.parametrize("name", ["real-3", "mixed-5", "pyramid-2"])
def test_weights_that_are_saved_again_keep_their_fingerprint(name: str, tmp_path: Path) -> None:
    codec = atdc.load(name) if name.startswith("real") else FeatureCodec.load(name)
    codec.save(tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == open_weights(name).path.read_bytes()


def test_weights_whose_fingerprint_changes_when_they_are_saved_are_told_of(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="weights loaded as cc435e59: neither can read files of the other"):
        atdc.load("small-1").save(tmp_path / "small.safetensors")
    with pytest.warns(UserWarning, match="loaded as ab4c119c"):
        FeatureCodec.load("real-1").save(tmp_path / "features.safetensors")
