"""ATDC inside other people's programs: pickling, numbers, torch's global state, images and files in any form."""

import copy
import io
import json
import multiprocessing
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save

import atdc
from atdc import errors
from atdc.config import ModelConfig, quality_of
from atdc.features import FeatureScaling
from atdc.inspection import inspect, verify
from atdc.networks.devices import torch_defaults
from atdc.pipeline import Codec
from atdc.tasks import TASK_NAMES
from atdc.weights import open_weights

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
    raise errors.ImageError(f"image {number}", "noise", "an image", "Take another.")


# --- errors and pickles -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ERRORS)
def test_errors_survive_pickling_and_copying_with_their_fields(kind: type[errors.AtdcError]) -> None:
    error = kind("here", "this", "that", "Do so.")
    error.add_note("Seen twice.")
    for other in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
        assert other.__notes__ == ["Seen twice."]
        assert type(other) is kind and str(other) == str(error)
        assert (other.where, other.found, other.expected, other.cure) == ("here", "this", "that", "Do so.")


@pytest.mark.slow
def test_an_error_comes_back_from_a_pool() -> None:
    with (
        multiprocessing.get_context("spawn").Pool(1) as pool,
        pytest.raises(errors.ImageError, match="image 3") as caught,
    ):
        pool.apply_async(fail, (3,)).get(timeout=120)
    assert caught.value.cure == "Take another."


def test_codecs_pickle_and_copy(codec: Codec) -> None:
    data = codec.encode(PICTURE)
    reader = codec.feature_codec.integers
    for other in (pickle.loads(pickle.dumps(codec)), copy.deepcopy(codec)):
        assert other.encode(PICTURE) == data
    for own in (codec.feature_codec.entropy, codec.feature_codec.entropy.tables):
        for copied in (pickle.loads(pickle.dumps(own)), copy.deepcopy(own)):
            arrays = own.to_arrays()
            assert all(np.array_equal(array, arrays[name]) for name, array in copied.to_arrays().items())
    for copied in (pickle.loads(pickle.dumps(reader)), copy.deepcopy(reader)):
        assert copied.read(data).bits.tolist() == reader.read(data).bits.tolist()


# --- names ------------------------------------------------------------------------------------------------------------


def test_every_public_error_and_class_is_imported_from_the_package() -> None:
    names = dir(atdc)
    assert {kind.__name__ for kind in ERRORS} | {
        "FeatureWarning",
        "Codec",
        "FeatureCodec",
        "Answers",
        "EntropyModel",
        "FrequencyTables",
        "GraphTables",
        "IntegerReader",
        "Inspection",
        "Verification",
    } <= set(names)
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
    "value",
    [
        np.True_,
        torch.tensor(True),
        np.complex64(3),
        [[1], [2, 3]],
        [4] * 5,
        {4},
        True,
        "good",
        float("nan"),
        -1,
        7.01,
        [1, 2],
        b"3",
        torch.ones(2),
        10**400,
        {"x": 1},
    ],
)
def test_anything_else_is_one_typed_error(codec: Codec, value: object) -> None:
    with pytest.raises(atdc.ArgumentError):
        codec.encode(PICTURE, quality=value)
    with pytest.raises(atdc.ArgumentError):
        quality_of(value)


@pytest.mark.parametrize(
    ("given", "named"),
    [({"effort": "hihg"}, "'high'"), ({"profile": np.array(["a", "b"])}, "compact"),
     ({"pixel_limit": float("nan")}, "pixel_limit"), ({"pixel_limit": None}, "pixel_limit"),
     ({"profile": "compct"}, "'compact'"), ({"graph": "exakt"}, "'exact'"),
     ({"graph": 3}, "TaskGraph"), ({"graph": atdc.TaskGraph.independent(4)}, "of 6 tasks")],
)  # fmt: skip
def test_settings_are_checked_and_the_one_meant_is_named(codec: Codec, given: dict, named: str) -> None:
    with pytest.raises(atdc.ArgumentError, match=named):
        codec.encode(PICTURE, **given)


def test_one_name_instead_of_a_list_is_said(codec: Codec) -> None:
    data = codec.encode(PICTURE)
    with pytest.raises(atdc.ArgumentError, match=r"Pass \['rgb'\]"):
        codec.decode(data, tasks="rgb")
    with pytest.raises(atdc.ArgumentError, match="list of names"):
        codec.decode(data, tasks=3)
    assert list(codec.decode(data, tasks=iter(["rgb", "normal"]))) == ["rgb", "normal"]


def test_a_quality_is_rounded_to_the_nearest_eighth_and_inspection_shows_it(codec: Codec) -> None:
    assert set(codec.inspect(codec.encode(PICTURE, quality=3.2)).quality.values()) == {3.25}
    assert codec.encode(PICTURE, quality=3.2) == codec.encode(PICTURE, quality=3.25)


# --- torch's global state ---------------------------------------------------------------------------------------------


def scores_of(codec: Codec, features: torch.Tensor) -> NDArray[np.float64]:
    own = codec.feature_codec
    return own.costs.full_scores(own.normalise(features), 4)


@pytest.mark.parametrize("state", ["double", "meta", "deterministic", "inference", "autocast"])
def test_torchs_global_state_changes_nothing(untrained_weights: Path, codec: Codec, state: str) -> None:
    data = codec.encode(PICTURE)
    answers = codec.decode(data)
    arrays = {name: tensor.numpy() for name, tensor in features_of().items()}
    stacked = torch.stack(list(features_of().values()))[None]
    coded, scores = codec.feature_codec.encode(arrays), scores_of(codec, stacked)
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
                assert own.feature_codec.encode(arrays) == coded
                assert np.array_equal(scores_of(own, stacked), scores)
                assert all(np.array_equal(again[name], answers[name]) for name in TASK_NAMES)
    finally:
        torch.set_default_dtype(before)
        torch.set_default_device("cpu")
        torch.use_deterministic_algorithms(False)


def test_threads_at_work_leave_the_default_type_as_it_was(codec: Codec) -> None:
    """The second thread enters before the first leaves, and leaves after it."""
    first, second = threading.Event(), threading.Event()

    def work() -> None:
        with torch_defaults():
            first.set()
            assert second.wait(60)

    torch.set_default_dtype(torch.float64)
    try:
        thread = threading.Thread(target=work)
        with torch_defaults():
            thread.start()
            assert first.wait(60)
        assert torch.get_default_dtype() == torch.float32
        second.set()
        thread.join()
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.parametrize(("threads", "own", "ending"), [(2, 2, "ProgramError"), (2, 1, "same"), (1, 1, "same")])
def test_a_forked_process_is_refused_rather_than_hung(
    untrained_weights: Path, threads: int, own: int, ending: str
) -> None:
    code = f"""
import os, sys, numpy, torch, atdc
torch.set_num_threads({threads})
image = numpy.zeros((256, 256, 3), numpy.uint8)
codec = atdc.load(sys.argv[1])
data = codec.encode(image)
if os.fork() == 0:
    torch.set_num_threads({own})
    try:
        print("same" if codec.encode(image) == data else "other", flush=True)
    except atdc.ProgramError as error:
        assert "spawn" in error.cure
        print(type(error).__name__, flush=True)
    os._exit(0)
os.wait()
"""
    command = [sys.executable, "-W", "ignore", "-c", code, str(untrained_weights)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.strip() == ending


# --- images and files in any form -----------------------------------------------------------------------------------


def test_an_image_may_be_in_anything(codec: Codec, tmp_path: Path) -> None:
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
    ("image", "cure"),
    [
        (np.zeros((3, 40, 56), np.uint8), "moveaxis"), (np.zeros((1, 40, 56, 3), np.uint8), r"image\[0\]"),
        (np.zeros((40, 56, 2), np.uint8), "opacity"), (np.zeros((40, 56, 7), np.uint8), "three of its channels"),
        (np.zeros((0, 56, 3), np.uint8), "no pixel"), (PICTURE.astype(np.float32), "/ 255"),
        (PICTURE.astype(np.int64), "convert it to"), (PICTURE > 9, "255"), (PICTURE / 255 - 1, "normalisation"),
        (np.full((4, 4), np.nan), "not finite"), (torch.zeros(40, 56, 3), "permute"), (torch.zeros(40, 56), "None"),
        (torch.zeros(2, 3, 40, 56), r"image\[0\]"),
        (torch.zeros(3, 0, 56), "no pixel"), (torch.zeros(3, 4, 4, device="meta"), "without plain values"),
        (torch.zeros(3, 4, 4).to_sparse(), "without plain values"), (PICTURE / 255 * 1.001, r"clip\(0, 1\)"),
        (PICTURE / 127.5, "scale it"), (PICTURE.astype(np.float32) * 257, "/ 65535"),
        (object(), "array"), (None, "array"), ([[[1, 2], [3]]], "image"),
    ],
)  # fmt: skip
def test_what_is_no_image_gets_the_cure_that_fits(codec: Codec, image: object, cure: str) -> None:
    with pytest.raises(atdc.ArgumentError, match=cure):
        codec.encode(image)


@pytest.mark.parametrize("content", [b"", b"no picture"])
def test_bytes_that_are_no_image_are_said_to_be_none(codec: Codec, content: bytes) -> None:
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
    reader = codec.feature_codec.integers
    for make in (lambda: path, lambda: bytearray(data), lambda: memoryview(data), lambda: io.BytesIO(data)):
        assert codec.inspect(make()) == inspect(make(), reader) == seen
        assert verify(make(), reader).ok and reader.read(make()).bytes_read == len(data)
    closed = io.BytesIO(data)
    closed.close()
    with pytest.raises(atdc.ArgumentError, match="closed"):
        codec.decode(closed)
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
    with pytest.raises(atdc.ArgumentError, match=r"foreign.*some of"):
        codec.feature_codec.encode({**features_of(), "foreign": torch.zeros(8, 4, 6)})


def test_arrays_of_any_layout_are_one_set_of_features(codec: Codec) -> None:
    data = codec.feature_codec.encode(features_of())
    plain = {name: tensor.numpy() for name, tensor in features_of().items()}
    frozen = {name: array.copy() for name, array in plain.items()}
    for array in frozen.values():
        array.flags.writeable = False
    mirrored = {name: array[::-1].copy()[::-1] for name, array in plain.items()}
    for form in (frozen, mirrored, {name: array.astype(">f8") for name, array in plain.items()},
                 {name: np.asfortranarray(array) for name, array in plain.items()}):  # fmt: skip
        assert codec.feature_codec.encode(form) == data


def test_features_without_names_or_values_are_refused(codec: Codec) -> None:
    for features in (None, list(features_of().values()), torch.zeros(6, 8, 4, 6)):
        with pytest.raises(atdc.ArgumentError, match="mapping"):
            codec.feature_codec.encode(features)
    for value in (torch.zeros(8, 4, 6, device="meta"), torch.zeros(8, 4, 6).to_sparse()):
        with pytest.raises(atdc.ArgumentError, match="features of rgb"):
            codec.feature_codec.encode(features_of() | {"rgb": value})


def test_a_batch_has_a_graph_and_a_size_for_each_image(codec: Codec) -> None:
    own, graph = codec.feature_codec, atdc.TaskGraph.independent(6)
    batch = torch.stack([torch.stack(list(features_of(seed=seed).values())) for seed in (0, 1)])
    assert len(own.encode_batch(batch, 4, [graph] * 2, sizes=[(64, 96)] * 2).data) == 2
    for given in ({"graph": graph}, {"graph": [graph]}, {"sizes": [(64, 96)]}):
        with pytest.raises(atdc.ArgumentError, match="one per image"):
            own.encode_batch(batch, 4, **given)
    with pytest.raises(atdc.ArgumentError, match="a tensor"):
        own.encode_batch(batch.numpy(), 4)


def test_files_of_unequal_sizes_are_not_decoded_together(codec: Codec) -> None:
    files = [codec.encode(PICTURE), codec.encode(PICTURE[:16])]
    for given in (files, []):
        with pytest.raises(atdc.ArgumentError, match="one size"):
            codec.feature_codec.decode_batch(given)


def test_values_far_outside_what_training_saw_are_named(codec: Codec) -> None:
    features = features_of()
    features["normal"][3, 1, 2] = 1e7
    with pytest.warns(atdc.FeatureWarning, match="features of normal, channel 3") as seen:
        codec.feature_codec.encode(features)
    assert len(seen) == 1 and seen[0].filename == __file__
    with pytest.warns(atdc.FeatureWarning, match="and 47 more channels") as seen:
        codec.feature_codec.encode({name: tensor * 1e6 for name, tensor in features_of().items()})
    assert len(seen) == 1


@pytest.mark.parametrize("value", [1e20, -3e38, float("inf"), float("nan")])
def test_values_that_no_network_can_compute_with_are_refused_by_name(codec: Codec, value: float) -> None:
    features = features_of()
    features["normal"][3, 1, 2] = value
    with pytest.raises(atdc.ArgumentError, match="features of normal, channel 3"):
        codec.feature_codec.encode(features)
    as_double = features_of(torch.float64)
    as_double["normal"][3, 1, 2] = 1e300
    with pytest.raises(atdc.ArgumentError, match="features of normal, channel 3"):
        codec.feature_codec.encode(as_double)


@pytest.mark.weights
@pytest.mark.slow
def test_features_of_no_image_are_warned_of() -> None:
    """pytest makes an error of any warning."""
    codec = atdc.load("real")
    rows, columns = np.mgrid[:96, :96]
    odd = [np.zeros((96, 96), np.uint8), np.full((96, 96), 255, np.uint8),
           ((rows + columns) % 2 * 255).astype(np.uint8),
           RNG.integers(0, 256, (96, 96, 3), np.uint8), np.eye(96, dtype=np.uint8) * 255]  # fmt: skip
    for image in [*sorted((Path(atdc.__file__).parent / "report" / "demo_images").glob("*.*")), *odd]:
        assert codec.encode(image)


# --- what is loaded is what is meant ----------------------------------------------------------------------------------


def test_a_setting_that_nothing_obeys_is_refused() -> None:
    with pytest.raises(atdc.ArgumentError, match="stride"):
        ModelConfig(stride=8)
    with pytest.raises(atdc.ArgumentError, match="head_widths"):
        ModelConfig(architecture="xception", head_widths=(8, 8, 8))


def _rewritten(weights: Path, target: Path, change: Callable[[dict[str, Any]], Any]) -> Path:
    """The weights file with something else in its JSON."""
    with safe_open(weights, framework="pt") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a mapping)
        header = json.loads(file.metadata()["atdc"])
    change(header)
    target.write_bytes(save(tensors, {"atdc": json.dumps(header)}))
    return target


NO_EDGES: list[list[int]] = [[]] * 6
TENSOR = {"name": "rgb", "channels": 8, "grid": 16, "latent_channels": 8}


@pytest.mark.parametrize(
    ("part", "name", "value", "words"),
    [
        (None, "tensors", None, "other contents"), (None, "tensors", "rgb", "other contents"),
        (None, "tensors", [TENSOR] * 6, "twice"), (None, "tensors", [{**TENSOR, "grid": 1.5}], "grid"),
        (None, "tensors", [], "1 to 64"), (None, "tensors", [{**TENSOR, "channels": 0}], "channels"),
        (None, "format", 4, "format 4"), ("model", "stride", 8, "model.stride"),
        ("model", "scale_count", 3, "model.scale_count"), ("model", "hyper_channels", 3, "model.hyper_channels"),
        ("model", "max_parents", -1, "max_parents"), ("model", "nonsense", 1, "nonsense"),
        ("book", "fixed", [NO_EDGES] * 3, "book.fixed"), ("book", "chain", [[[]] * 7] * 8, "book.chain"),
        ("book", "codebook", [], "book.codebook"), ("book", "codebook", [NO_EDGES], "book.surcharge"),
        ("book", "distortion", [[1.0]], "book.distortion"), ("book", "bits_per_error", [[-1.0] * 6] * 8, "0 or more"),
        ("book", "distortion", [[float("nan")] * 6] * 8, "not finite"),
        ("book", "surcharge", [[10**400]] * 8, "other contents"), (None, "card", [1], "card"),
        ("model", "codec_width", 10**30, "codec_width"), ("model", "predictor_width", -1, "predictor_width"),
        ("model", "codec_width", 50_000, "shape"), ("model", "max_parents", True, "max_parents"),
        (None, "tensors", [TENSOR] * 10_000, "1 to 64"), (None, "tensors", [{**TENSOR, "channels": 10**9}], "channels"),
        ("book", "surcharge", None, "book.surcharge"),
    ],
)  # fmt: skip
def test_a_weights_file_whose_settings_do_not_fit_is_refused_when_it_is_loaded(
    untrained_weights: Path, tmp_path: Path, part: str | None, name: str, value: object, words: str
) -> None:
    def change(header: dict[str, Any]) -> None:
        (header if part is None else header[part])[name] = value

    with pytest.raises(atdc.WeightsError, match=words):
        atdc.load(_rewritten(untrained_weights, tmp_path / "other.safetensors", change))


@pytest.mark.parametrize(
    ("names", "words"),
    [(None, "list of names"), ("rgb", "list of names"), ([*TASK_NAMES[:5], "normal"], "twice"), ([], "list of names")],
)
def test_an_older_weights_file_with_wrong_names_is_refused(tmp_path: Path, names: object, words: str) -> None:
    shipped = open_weights("small").path
    with pytest.raises(atdc.WeightsError, match=words):
        atdc.load(_rewritten(shipped, tmp_path / "other.safetensors", lambda header: header.update(tasks=names)))


def test_channels_that_the_integers_do_not_have_are_refused(untrained_weights: Path, tmp_path: Path) -> None:
    def change(header: dict[str, Any]) -> None:
        header["tensors"][2]["latent_channels"] = 4

    with pytest.raises(atdc.WeightsError, match="latent_channels"):
        atdc.load(_rewritten(untrained_weights, tmp_path / "other.safetensors", change))


def test_json_that_is_nested_without_end_is_refused(untrained_weights: Path, tmp_path: Path) -> None:
    path = tmp_path / "deep.safetensors"
    path.write_bytes(save({"a": torch.zeros(1)}, {"atdc": "[" * 100_000}))
    with pytest.raises(atdc.WeightsError, match="other contents"):
        open_weights(path)


@pytest.mark.parametrize("name", ["gain", "first", "own", "hyper_mean"])
def test_integers_without_axes_are_refused(untrained_weights: Path, tmp_path: Path, name: str) -> None:
    with safe_open(untrained_weights, framework="pt") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a mapping)
        metadata = file.metadata()
    tensors[f"entropy.0.{name}"] = tensors[f"entropy.0.{name}"].flatten()[0].clone()
    path = tmp_path / "other.safetensors"
    path.write_bytes(save(tensors, metadata))
    with pytest.raises(atdc.WeightsError, match=name):
        open_weights(path).integers()


def test_integers_that_nothing_reads_are_refused(untrained_weights: Path, tmp_path: Path) -> None:
    with safe_open(untrained_weights, framework="pt") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a mapping)
        metadata = file.metadata()
    path = tmp_path / "other.safetensors"
    path.write_bytes(save(tensors | {"entropy.6.gain": tensors["entropy.5.gain"].clone()}, metadata))
    with pytest.raises(atdc.WeightsError, match=r"entropy\.6\.gain"):
        open_weights(path).integers()


@pytest.mark.parametrize("names", [TASK_NAMES[::-1], ("foreign", *TASK_NAMES[1:])])
def test_weights_of_other_or_reordered_tasks_are_refused(codec: Codec, tmp_path: Path, names: tuple[str, ...]) -> None:
    own = copy.copy(codec.feature_codec)
    own.tensors = own.config.tensors(names)
    path = tmp_path / "other.safetensors"
    Codec(codec.networks, own, {}).save(path)
    with pytest.raises(atdc.WeightsError, match="in order"):
        atdc.load(path)


def test_weights_with_no_numbers_are_refused(codec: Codec, tmp_path: Path) -> None:
    own = copy.copy(codec.feature_codec)
    mean, *others = own.mean
    for changed in (torch.full_like(mean, torch.nan), mean[:5]):
        own.scaling = FeatureScaling(own.tensors, [changed, *others], own.std)
        path = tmp_path / "other.safetensors"
        Codec(codec.networks, own, {}).save(path)
        with pytest.raises(atdc.WeightsError, match=r"feature\.0\.mean"):
            atdc.load(path)


def test_ones_own_weights_are_found_by_fingerprint(
    codec: Codec, untrained_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from atdc.weights import default_model, writer_of

    data = codec.encode(PICTURE)
    assert writer_of(data) is None
    for variable, value in (("ATDC_MODEL", untrained_weights), ("ATDC_MODEL", untrained_weights.parent),
                            ("ATDC_WEIGHTS", untrained_weights.parent)):  # fmt: skip
        with monkeypatch.context() as patch:
            patch.setenv(variable, str(value))
            assert writer_of(data) == str(untrained_weights)
            assert default_model() == (str(value) if value == untrained_weights else "real")
