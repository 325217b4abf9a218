"""ATDC inside other people's programs: pickling, numbers, torch's global state, pictures and files in any form."""

import copy
import io
import multiprocessing
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import atdc
from atdc import errors
from atdc.config import ModelConfig, quality_of
from atdc.pipeline import Codec
from atdc.tasks import TASK_NAMES

RNG = np.random.default_rng(0)
PICTURE = RNG.integers(0, 256, (40, 56, 3), np.uint8)
ERRORS = sorted(
    (kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.AtdcError)),
    key=lambda kind: kind.__name__,
)


@pytest.fixture(scope="module")
def codec(untrained_weights: Path) -> Codec:
    return atdc.load(untrained_weights)


def fail(number: int) -> int:
    raise errors.ImageError(f"picture {number}", "noise", "a picture", "Take another.")


# --- errors and pickles -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ERRORS)
def test_errors_survive_pickling_and_copying_with_their_fields(kind: type[errors.AtdcError]) -> None:
    error = kind("here", "this", "that", "Do so.")
    for other in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
        assert type(other) is kind and str(other) == str(error)
        assert (other.where, other.found, other.expected, other.cure) == ("here", "this", "that", "Do so.")


@pytest.mark.slow
def test_an_error_comes_back_from_a_pool() -> None:
    with (
        multiprocessing.get_context("spawn").Pool(1) as pool,
        pytest.raises(errors.ImageError, match="picture 3") as caught,
    ):
        pool.apply_async(fail, (3,)).get(timeout=120)
    assert caught.value.cure == "Take another."


def test_codecs_pickle_and_copy(codec: Codec) -> None:
    data = codec.encode(PICTURE)
    reader = codec.feature_codec.integers
    for other in (pickle.loads(pickle.dumps(codec)), copy.deepcopy(codec)):
        assert other.encode(PICTURE) == data
    for copied in (pickle.loads(pickle.dumps(reader)), copy.deepcopy(reader)):
        assert copied.read(data).bits.tolist() == reader.read(data).bits.tolist()


# --- names ------------------------------------------------------------------------------------------------------------


def test_every_public_error_and_class_is_imported_from_the_package() -> None:
    names = dir(atdc)
    assert {kind.__name__ for kind in ERRORS} | {"FeatureWarning", "Codec", "FeatureCodec", "Answers"} <= set(names)
    assert all(getattr(atdc, name) is not None for name in names) and names == sorted(names, key=names.index)


@pytest.mark.slow
def test_the_package_runs_as_a_module() -> None:
    done = subprocess.run([sys.executable, "-m", "atdc", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"atdc {atdc.__version__}"


# --- numbers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [3, 3.0, "3", np.float32(3), np.int64(3), np.array(3), torch.tensor(3), torch.tensor(3.0, dtype=torch.float16)],
)
def test_whatever_is_a_number_is_a_quality(codec: Codec, value: object) -> None:
    assert quality_of(value) == 3.0
    assert codec.encode(PICTURE, quality=value) == codec.encode(PICTURE, quality=3)
    assert codec.encode(PICTURE, quality={"rgb": value}) == codec.encode(PICTURE, quality={"rgb": 3})


@pytest.mark.parametrize(
    "value", [None, True, "good", float("nan"), -1, 7.01, [1, 2], b"3", torch.ones(2), 10**400, {"x": 1}]
)
def test_anything_else_is_one_typed_error(codec: Codec, value: object) -> None:
    with pytest.raises(atdc.ArgumentError):
        codec.encode(PICTURE, quality=value)
    with pytest.raises(atdc.ArgumentError):
        quality_of(value)


@pytest.mark.parametrize(
    ("given", "named"),
    [({"effort": "hihg"}, "'high'"), ({"profile": "compct"}, "'compact'"), ({"graph": "exakt"}, "'exact'"),
     ({"graph": 3}, "TaskGraph"), ({"graph": atdc.TaskGraph.independent(4)}, "of 6 tasks")],
)  # fmt: skip
def test_settings_are_checked_and_the_one_meant_is_named(codec: Codec, given: dict, named: str) -> None:
    with pytest.raises(atdc.ArgumentError, match=named):
        codec.encode(PICTURE, **given)


def test_one_name_instead_of_a_list_is_said(codec: Codec) -> None:
    with pytest.raises(atdc.ArgumentError, match=r"pass \['rgb'\]"):
        codec.decode(codec.encode(PICTURE), tasks="rgb")


# --- torch's global state ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["double", "meta", "deterministic", "inference", "autocast"])
def test_torchs_global_state_changes_nothing(untrained_weights: Path, codec: Codec, state: str) -> None:
    data = codec.encode(PICTURE)
    answers = codec.decode(data)
    before = torch.get_default_dtype()
    try:
        if state == "double":
            torch.set_default_dtype(torch.float64)
        if state == "meta":
            torch.set_default_device("meta")
        if state == "deterministic":
            torch.use_deterministic_algorithms(True)
        with torch.inference_mode(state == "inference"), torch.autocast("cpu", enabled=state == "autocast"):
            for own in (codec, atdc.load(untrained_weights)):
                assert own.encode(PICTURE) == data
                again = own.decode(data)
                assert all(np.array_equal(again[name], answers[name]) for name in TASK_NAMES)
    finally:
        torch.set_default_dtype(before)
        torch.set_default_device("cpu")
        torch.use_deterministic_algorithms(False)


# --- pictures and files in any form -----------------------------------------------------------------------------------


def test_a_picture_may_be_in_anything(codec: Codec, tmp_path: Path) -> None:
    data, path = codec.encode(PICTURE), tmp_path / "a.png"
    Image.fromarray(PICTURE).save(path)
    content = path.read_bytes()
    opaque = np.concatenate([PICTURE, np.full((40, 56, 1), 255, np.uint8)], 2)
    tensor = torch.from_numpy(PICTURE).permute(2, 0, 1)
    forms = [
        path, str(path), content, bytearray(content), memoryview(content), io.BytesIO(content), Image.open(path),
        opaque,
        PICTURE.astype(np.uint16) * 257, PICTURE / 255, (PICTURE / 255).astype(np.float32), tensor, tensor / 255,
        (tensor / 255).double().requires_grad_(), np.asfortranarray(PICTURE), PICTURE[::-1][::-1],
    ]  # fmt: skip
    for form in forms:
        assert codec.encode(form) == data, type(form)
    grey = PICTURE[..., 0]
    for form in (grey, grey[..., None], torch.from_numpy(grey)[None]):
        assert codec.encode(form) == codec.encode(np.repeat(grey[..., None], 3, 2))


@pytest.mark.parametrize(
    ("picture", "cure"),
    [
        (np.zeros((3, 40, 56), np.uint8), "moveaxis"), (np.zeros((1, 40, 56, 3), np.uint8), r"image\[0\]"),
        (np.zeros((40, 56, 2), np.uint8), "opacity"), (np.zeros((40, 56, 7), np.uint8), "three of its channels"),
        (np.zeros((0, 56, 3), np.uint8), "no pixel"), (PICTURE.astype(np.float32), "/ 255"),
        (PICTURE.astype(np.int64), "astype"), (PICTURE > 9, "255"), (PICTURE / 255 - 1, "normalisation"),
        (np.full((4, 4), np.nan), "not finite"), (torch.zeros(40, 56, 3), "permute"), (torch.zeros(40, 56), "None"),
        (torch.zeros(2, 3, 40, 56), r"image\[0\]"), (object(), "array"), (None, "array"), ([[[1, 2], [3]]], "picture"),
    ],
)  # fmt: skip
def test_what_is_no_picture_gets_the_cure_that_fits(codec: Codec, picture: object, cure: str) -> None:
    with pytest.raises(atdc.ArgumentError, match=cure):
        codec.encode(picture)


@pytest.mark.parametrize("content", [b"", b"no picture"])
def test_bytes_that_are_no_picture_are_said_to_be_none(codec: Codec, content: bytes) -> None:
    with pytest.raises(atdc.ImageError):
        codec.encode(content)
    with pytest.raises(atdc.ImageError):
        codec.encode(io.BytesIO(content))


def test_a_file_may_be_in_anything(codec: Codec, tmp_path: Path) -> None:
    data, path = codec.encode(PICTURE, profile="segments"), tmp_path / "a.atdc"
    path.write_bytes(data)
    answers, seen = codec.decode(data), codec.inspect(data)
    with path.open("rb") as file:
        for form in (path, str(path), bytearray(data), memoryview(data), io.BytesIO(data), file):
            assert np.array_equal(codec.decode(form)["normal"], answers["normal"])
    for form in (path, bytearray(data), io.BytesIO(data)):
        assert codec.inspect(form) == seen
    with pytest.raises(atdc.ArgumentError):
        codec.decode(3)
    with pytest.raises(atdc.ArgumentError, match="rb"):
        codec.decode(io.StringIO("text"))


# --- features ---------------------------------------------------------------------------------------------------------


def features_of(dtype: torch.dtype = torch.float32, seed: int = 0) -> dict[str, torch.Tensor]:
    drawn = torch.randn(6, 8, 4, 6, generator=torch.Generator().manual_seed(seed)) / 4
    return {name: tensor.to(torch.float16).to(dtype) for name, tensor in zip(TASK_NAMES, drawn, strict=True)}


def test_features_may_have_any_floating_point_type(codec: Codec) -> None:
    own = codec.feature_codec
    data = own.encode(features_of())
    for dtype in (torch.float16, torch.float64):
        assert own.encode(features_of(dtype)) == data
    assert own.encode({name: tensor.numpy() for name, tensor in features_of().items()}) == data
    assert own.encode({name: tensor.requires_grad_() for name, tensor in features_of().items()}) == data
    assert own.decode(own.encode(features_of(torch.bfloat16)))["rgb"].shape == (8, 4, 6)


@pytest.mark.parametrize(
    ("value", "words"),
    [(torch.zeros(8, 4, 5), "one size"), (torch.zeros(7, 4, 6), "rgb"), (torch.zeros(8, 24), "rgb"),
     (torch.zeros(8, 4, 6, dtype=torch.int64), "floating"), ("no", "rgb"),
     (torch.full((8, 4, 6), torch.nan), "finite")],
)  # fmt: skip
def test_features_that_do_not_fit_are_named(codec: Codec, value: object, words: str) -> None:
    with pytest.raises(atdc.ArgumentError, match=words):
        codec.feature_codec.encode(features_of() | {"rgb": value})
    with pytest.raises(atdc.ArgumentError, match="exactly"):
        codec.feature_codec.encode({**features_of(), "foreign": torch.zeros(8, 4, 6)})


def test_values_far_outside_what_training_saw_are_named(codec: Codec) -> None:
    features = features_of()
    features["normal"][3, 1, 2] = 1e7
    with pytest.warns(atdc.FeatureWarning, match="features of normal, channel 3"):
        codec.feature_codec.encode(features)


# --- what is loaded is what is meant ----------------------------------------------------------------------------------


def test_a_setting_that_nothing_obeys_is_refused() -> None:
    with pytest.raises(atdc.ArgumentError, match="stride"):
        ModelConfig(stride=8)


@pytest.mark.parametrize("names", [TASK_NAMES[::-1], ("foreign", *TASK_NAMES[1:])])
def test_weights_of_other_or_reordered_tasks_are_refused(codec: Codec, tmp_path: Path, names: tuple[str, ...]) -> None:
    own = copy.copy(codec.feature_codec)
    own.task_names = names
    path = tmp_path / "other.safetensors"
    Codec(codec.networks, own, {}).save(path)
    with pytest.raises(atdc.WeightsError, match="in order"):
        atdc.load(path)


def test_weights_with_no_numbers_are_refused(codec: Codec, tmp_path: Path) -> None:
    own = copy.copy(codec.feature_codec)
    for changed, word in ((torch.full_like(own.mean, torch.nan), "mean"), (own.mean[:5], "mean")):
        own.mean = changed
        path = tmp_path / "other.safetensors"
        Codec(codec.networks, own, {}).save(path)
        with pytest.raises(atdc.WeightsError, match=word):
            atdc.load(path)


def test_ones_own_weights_are_found_by_fingerprint(
    codec: Codec, untrained_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from atdc.integer_codec import default_model, writer_of

    data = codec.encode(PICTURE)
    assert writer_of(data) is None
    for variable, value in (("ATDC_MODEL", untrained_weights), ("ATDC_MODEL", untrained_weights.parent),
                            ("ATDC_WEIGHTS", untrained_weights.parent)):  # fmt: skip
        with monkeypatch.context() as patch:
            patch.setenv(variable, str(value))
            assert writer_of(data) == str(untrained_weights)
            assert default_model() == (str(value) if value == untrained_weights else "real")
