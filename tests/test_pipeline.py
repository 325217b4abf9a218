"""Images to bytes and bytes to answers; weights files."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch.utils._python_dispatch import TorchDispatchMode

import atdc
from atdc.bitstream.container import ContainerReader
from atdc.bitstream.sources import FileSource
from atdc.errors import ArgumentError, BitstreamError, OutputError, WeightsError
from atdc.graph.search import SETTINGS
from atdc.pipeline import Codec
from atdc.tasks import TASK_NAMES

pytestmark = pytest.mark.portability

CHANNELS = {"normal": (3,), "rgb": (3,)}


@pytest.fixture(scope="module")
def codec(untrained_weights: Path) -> Codec:
    return atdc.load(untrained_weights)


def test_weights_are_saved_to_any_path_that_can_be_written(
    codec: Codec, untrained_weights: Path, tmp_path: Path
) -> None:
    again = tmp_path / "new" / "again.safetensors"
    codec.save(str(again))
    assert again.read_bytes() == untrained_weights.read_bytes()
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="a folder to write to"):
        codec.save(tmp_path / "file" / "again.safetensors")


@pytest.mark.parametrize("size", [(1, 1), (16, 16), (17, 300), (65, 63)])
def test_answers_have_the_images_size(codec: Codec, size: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    answers = codec.decode(codec.encode(image))
    assert set(answers) == set(TASK_NAMES) == set(codec.answers(image))
    for name, answer in answers.items():
        assert answer.shape == (*size, *CHANNELS.get(name, ())) and np.isfinite(answer).all()
    assert np.allclose(np.linalg.norm(answers["normal"], axis=2), 1, atol=1e-4)
    assert (answers["depth_zbuffer"] > 0).all()


def test_answers_without_a_file_run_the_networks_of_what_is_asked_alone(
    codec: Codec, monkeypatch: pytest.MonkeyPatch
) -> None:
    image, ran = np.zeros((32, 32, 3), np.uint8), []
    whole, features_of = codec.answers(image), Codec.features_of

    def counted(own: Codec, images: torch.Tensor, tasks: list[int]) -> torch.Tensor:
        ran.extend(tasks)
        return features_of(own, images, tasks)

    monkeypatch.setattr(Codec, "features_of", counted)
    (depth,) = codec.answers(image, ["depth_zbuffer"]).values()
    assert codec.answers(image, []) == {}
    assert np.array_equal(depth, whole["depth_zbuffer"]) and ran == [TASK_NAMES.index("depth_zbuffer")]


def test_loading_leaves_the_callers_random_numbers_as_they_are(untrained_weights: Path) -> None:
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    atdc.load(untrained_weights)
    assert torch.equal(torch.rand(2), expected)


def test_a_task_alone_is_answered_as_among_all(codec: Codec) -> None:
    data = codec.encode(np.random.default_rng(1).integers(0, 256, (48, 64, 3), np.uint8), graph="chain")
    everything = codec.decode(data)
    for name in TASK_NAMES:
        alone = codec.decode(data, tasks=[name])
        assert list(alone) == [name] and np.array_equal(alone[name], everything[name])


def test_coding_stays_on_its_device(
    codec: Codec, untrained_weights: Path, monkeypatch: pytest.MonkeyPatch, one_device: TorchDispatchMode
) -> None:
    """On the device `meta`, which has shapes and no values, no operation meets a tensor of the CPU. What comes back
    from there is zeros."""
    image = np.random.default_rng(3).integers(0, 256, (40, 64, 3), np.uint8)
    data = codec.encode(image, graph="chain")
    arrived = torch.Tensor.cpu
    monkeypatch.setattr(
        torch.Tensor, "cpu", lambda own: torch.zeros(own.shape, dtype=own.dtype) if own.is_meta else arrived(own)
    )
    monkeypatch.setattr("atdc.codec.open_device", torch.device)  # which refuses a device without values
    there = atdc.load(untrained_weights).to("meta")
    there.tile_positions = 2
    with one_device:
        assert there.encode(image)
        shapes = {name: (40, 64, *CHANNELS.get(name, ())) for name in TASK_NAMES}
        assert {name: answer.shape for name, answer in there.decode(data).items()} == shapes
        own, features = there.feature_codec, there.features_of(torch.from_numpy(image).permute(2, 0, 1)[None])
        assert features.is_meta and own.restore([own.integers.read(data)])[0].is_meta
        for setting in SETTINGS:
            assert own.encode_batch(features, 4, setting).data
        assert own.encode_batch(features, 4, effort="high").data
        batch = own.normalise(features)
        for costs in (own.costs.measured_costs(batch, 4), own.costs.full_scores(batch, 4)):
            assert costs.shape == (1, len(own.pairs))


def test_both_profiles_hold_the_same_answers(codec: Codec) -> None:
    image = np.random.default_rng(3).integers(0, 256, (48, 64, 3), np.uint8)
    compact, segments = (codec.encode(image, profile=profile) for profile in ("compact", "segments"))
    assert compact == codec.encode(image) and len(compact) < len(segments)
    for name, answer in codec.decode(segments).items():
        assert np.array_equal(answer, codec.decode(compact)[name])


def test_one_task_is_answered_from_a_part_of_the_file(codec: Codec, tmp_path: Path) -> None:
    image = np.random.default_rng(4).integers(0, 256, (96, 96, 3), np.uint8)
    path = tmp_path / "a.atdc"
    for profile in ("compact", "segments"):
        path.write_bytes(codec.encode(image, quality=7, graph="independent", profile=profile))
        with FileSource(path) as source:
            everything, one = codec.decode(source), codec.decode(source, ["depth_zbuffer"])
        size = path.stat().st_size
        assert everything.bytes_read == size and (one.bytes_read < size) == (profile == "segments")
        assert np.array_equal(one["depth_zbuffer"], everything["depth_zbuffer"]) and not one.failed


def test_damage_takes_the_answers_that_need_what_is_damaged(codec: Codec) -> None:
    image = np.random.default_rng(5).integers(0, 256, (48, 64, 3), np.uint8)
    data = codec.encode(image, graph="chain", profile="segments")
    whole = codec.decode(data)
    graph = codec.feature_codec.graph_tables.chain[4]
    broken = bytearray(data)
    broken[-1] ^= 1  # of the last task's segment
    lost = {name for task, name in enumerate(TASK_NAMES) if 5 in graph.closure([task])}
    with pytest.raises(BitstreamError):
        codec.decode(bytes(broken))
    answers = codec.decode(bytes(broken), skip_damaged=True)
    assert set(answers.failed) == lost and set(answers) == set(TASK_NAMES) - lost
    assert all(np.array_equal(answers[name], whole[name]) for name in answers)
    alone = codec.decode(bytes(broken), ["rgb"], skip_damaged=True)
    assert not alone and set(alone.failed) == {"rgb"}
    cut = codec.decode(data[: len(data) - sum(ContainerReader(data).lengths)], skip_damaged=True)
    assert not cut and set(cut.failed) == set(TASK_NAMES)


def test_an_image_over_the_limit_is_refused(codec: Codec) -> None:
    data = codec.encode(np.zeros((32, 48, 3), np.uint8))
    assert codec.decode(data, pixel_limit=32 * 48)
    with pytest.raises(BitstreamError, match="1536 pixels"):
        codec.decode(data, pixel_limit=32 * 48 - 1)


@pytest.mark.parametrize("profile", ["compact", "segments"])
def test_inspection_adds_up(codec: Codec, profile: str) -> None:
    data = codec.encode(np.zeros((32, 48, 3), np.uint8), quality={"rgb": 6.5}, profile=profile)
    seen = codec.inspect(data)
    assert seen.bytes == len(data) and seen.bpp == 8 * len(data) / (32 * 48)
    assert seen.quality["rgb"] == 6.5 and seen.quality["normal"] == 4
    assert seen.profile == profile and seen.fingerprint == codec.feature_codec.fingerprint.hex()
    assert sum(row["ideal_bits"] for row in seen.tasks.values()) == pytest.approx(seen.ideal_bits, abs=0.1)


def test_a_pillow_image_a_path_and_an_array_are_one_image(codec: Codec, tmp_path: Path) -> None:
    array = np.random.default_rng(2).integers(0, 256, (20, 30, 3), np.uint8)
    Image.fromarray(array).save(tmp_path / "a.png")
    files = {codec.encode(source) for source in (array, Image.fromarray(array), tmp_path / "a.png")}
    assert len(files) == 1


def test_a_file_of_bare_features_has_no_answers(codec: Codec) -> None:
    data = codec.feature_codec.encode({name: torch.zeros(8, 4, 4) for name in TASK_NAMES})
    with pytest.raises(ArgumentError, match="bare features"):
        codec.decode(data)


def test_weights_survive_a_second_save(untrained_weights: Path, tmp_path: Path) -> None:
    first = atdc.load(untrained_weights)
    first.save(tmp_path / "again.safetensors")
    second = atdc.load(tmp_path / "again.safetensors")
    assert first.feature_codec.fingerprint == second.feature_codec.fingerprint


def test_bad_weights_are_refused(untrained_weights: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no-such-model"):
        atdc.load("no-such-model")
    with pytest.raises(WeightsError):
        atdc.load(tmp_path / "absent.safetensors")
    whole = untrained_weights.read_bytes()
    for name, content in (("empty", b""), ("cut", whole[: len(whole) // 2]), ("noise", bytes(range(256)) * 9)):
        path = tmp_path / f"{name}.safetensors"
        path.write_bytes(content)
        with pytest.raises(WeightsError, match=name):
            atdc.load(path)
    save_file({"a": torch.zeros(3)}, tmp_path / "foreign.safetensors")
    with pytest.raises(WeightsError, match="foreign"):
        atdc.load(tmp_path / "foreign.safetensors")


def test_a_bad_array_is_refused(codec: Codec) -> None:
    for array in (np.zeros((4, 4, 5), np.uint8), np.full((4, 4, 3), 9, np.float32), np.zeros((0, 4, 3), np.uint8)):
        with pytest.raises(ArgumentError, match="image: found"):
            codec.encode(array)
