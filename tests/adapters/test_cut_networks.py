"""Networks in two halves: together they are the whole, and whatever stands in the way is said in one clear sentence."""

import contextlib
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import atdc.adapters
from atdc.adapters.answer import Answer
from atdc.adapters.differences import difference
from atdc.adapters.image_input import ImageInput
from atdc.errors import ArgumentError, AtdcError, CutError, DataError, NetworkError, ProgramError
from tiny_networks import CLASSES, SIDE, photos, pyramid, segmenter, write_onnx

SIZE = ImageInput(size=(SIDE, SIDE), mean=(0.5,), std=(0.25,))


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("onnxruntime", reason="needs onnx and onnxruntime: pip install onnx onnxruntime")
    return write_onnx(tmp_path_factory.mktemp("onnx") / "tiny.onnx")


def named(count: int = 3) -> list[tuple[str, Any]]:
    return [(f"photo {number}", image) for number, image in enumerate(photos(count))]


# --- ONNX ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cuts", [["stem"], ["deep"], {"a name": "logits/deep"}, ["planes"]])
def test_both_halves_of_an_onnx_file_are_the_whole(file: Path, cuts: Any) -> None:
    network = atdc.adapters.onnx(file, cuts, answers={"classes": Answer("classes", "logits/deep", "kl", "same")})
    check = network.check(named())
    assert check.differences == {"classes": 0.0} and 0 < check.device_share <= 1
    assert isinstance(size := check.gradients["classes"], float) and size > 0


def test_names_of_tensors_are_given_or_tell_network_and_shape(file: Path) -> None:
    assert [t.name for t in atdc.adapters.onnx(file, ["deep"], name="net").tensors] == ["net/16x6x6"]
    assert [t.name for t in atdc.adapters.onnx(file, {"c4": "deep"}).tensors] == ["c4"]


def test_uint8_images_with_channels_last_are_read_from_the_file(file: Path) -> None:
    network = atdc.adapters.onnx(file, ["deep"])
    assert (network.input.size, network.input.layout, network.input.type) == ((SIDE, SIDE), "hwc", "uint8")
    (array,) = network.input.array(np.full((7, 9, 3), 200, np.uint8))
    assert array.dtype == np.uint8 and array.shape == (SIDE, SIDE, 3) and (array == 200).all()


def test_a_batch_of_one_written_into_a_reshape_is_freed(file: Path) -> None:
    network = atdc.adapters.onnx(file, {"deep": "deep"})
    features = [network.features(image)["deep"] for _, image in named(4)]
    batch = torch.from_numpy(np.stack(features))
    logits = network.second_half({"deep": batch}, ["logits"])["logits"]
    single = [network.second_half({"deep": batch[i : i + 1]}, ["logits"])["logits"] for i in range(4)]
    assert network.takes_batches and logits.shape == (4, CLASSES, SIDE, SIDE)
    torch.testing.assert_close(logits, torch.cat(single))


def reshaping(path: Path) -> Path:
    """Sides that are taken from a shape, as `x.view(x.size(0), -1)` is exported, and a leading side of one that is no
    batch."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    weights = np.random.default_rng(0).normal(size=(3 * SIDE * SIDE, 5)).astype(np.float32)
    numbers = {"first": np.array(0), "axis": np.array([0]), "rest": np.array([-1]), "W": weights}
    numbers |= {"column": np.array([5, 1]), "last": np.array([1, 5, 1, 1])}
    nodes = [
        helper.make_node("Relu", ["x"], ["r"]), helper.make_node("Shape", ["r"], ["sides"]),
        helper.make_node("Gather", ["sides", "first"], ["n"]), helper.make_node("Unsqueeze", ["n", "axis"], ["n1"]),
        helper.make_node("Concat", ["n1", "rest"], ["flat"], axis=0),
        helper.make_node("Reshape", ["r", "flat"], ["f"]), helper.make_node("MatMul", ["f", "W"], ["scores"]),
        helper.make_node("Reshape", ["scores", "column"], ["c"]), helper.make_node("Reshape", ["c", "last"], ["out"]),
    ]  # fmt: skip
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, SIDE, SIDE])
    made = [helper.make_tensor_value_info("out", TensorProto.FLOAT, [1, 5, 1, 1])]
    constants = [numpy_helper.from_array(value, name) for name, value in numbers.items()]
    onnx.save(
        helper.make_model(
            helper.make_graph(nodes, "g", [given], made, constants), opset_imports=[helper.make_opsetid("", 17)],
            ir_version=8,
        ),
        path,
    )  # fmt: skip
    return path


@pytest.mark.parametrize(
    ("shape", "type_of_values", "message"),
    [
        ([4, 3, SIDE, SIDE], 1, "a batch of 4 written into the file; expected a batch of 1"),
        ([1, 3, SIDE, SIDE], 7, r"\[1, 3, 24, 24\] of int64; expected images \(1, C, H, W\)"),
        ([1, 3, SIDE], 1, r"\[1, 3, 24\] of float; expected images"),
    ],
)
def test_inputs_that_are_no_image_are_told(
    file: Path, tmp_path: Path, shape: list[int], type_of_values: int, message: str
) -> None:
    import onnx
    from onnx import helper

    nodes = [helper.make_node("Identity", ["x"], ["y"]), helper.make_node("Identity", ["y"], ["out"])]
    given, made = (helper.make_tensor_value_info(name, type_of_values, shape) for name in ("x", "out"))
    model = helper.make_model(
        helper.make_graph(nodes, "g", [given], [made]), opset_imports=[helper.make_opsetid("", 17)], ir_version=8
    )
    onnx.save(model, tmp_path / "odd.onnx")
    with pytest.raises(NetworkError, match=message):
        atdc.adapters.onnx(tmp_path / "odd.onnx", ["y"])


def test_shapes_of_shapes_and_leading_ones_that_are_no_batch_have_gradients(file: Path, tmp_path: Path) -> None:
    network = atdc.adapters.onnx(reshaping(tmp_path / "r.onnx"), ["r"], answers={"m": Answer("out", loss="l1")})
    check = network.check(named())
    assert isinstance(size := check.gradients["m"], float) and size > 0
    batch = {network.tensors[0].name: torch.rand(2, 3, SIDE, SIDE)}
    both = network.second_half(batch, ["out"])["out"]
    single = [network.second_half({name: x[i : i + 1] for name, x in batch.items()}, ["out"])["out"] for i in range(2)]
    torch.testing.assert_close(both, torch.cat(single))


def test_an_operator_that_fails_is_named(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from atdc.adapters import onnx_torch

    def failing(*_: Any) -> Tensor:
        raise TypeError("no such thing")

    monkeypatch.setitem(onnx_torch._OPERATORS, "Conv", failing)
    network = atdc.adapters.onnx(file, ["stem"], answers={"classes": Answer("classes", "logits/deep", "kl", "same")})
    said = network.check(named()).gradients["classes"]
    assert isinstance(said, str) and "Conv that fails (TypeError: no such thing)" in said and "loss_on" in said


def test_a_half_that_takes_no_batch_works_on_images_one_by_one() -> None:
    class OneImage(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.reshape(1, -1, 4).mean(2)[:, :6]

    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3, 2), OneImage())
    network = atdc.adapters.torch(model, {"c": "0"}, input=SIZE)
    batch = torch.from_numpy(np.stack([network.features(image)["c"] for _, image in named(3)]))
    found = network.second_half({"c": batch}, ["output"])["output"]
    assert found.shape == (3, 6) and network.takes_batches is False
    expected = [network.answers_of({"c": row.numpy()})["output"] for row in batch]
    np.testing.assert_allclose(found.numpy(), np.concatenate(expected), rtol=1e-5)


def test_whether_a_half_takes_batches_is_asked_of_each_tensor() -> None:
    class Flat(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Conv2d(3, 4, 3, 2)

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            maps = self.first(x)
            return {"maps": maps * 2, "flat": maps.reshape(1, -1)}

    torch.manual_seed(0)
    network = atdc.adapters.torch(Flat(), {"c": "first"}, input=SIZE)
    batch = torch.from_numpy(np.stack([network.features(image)["c"] for _, image in named(3)]))
    assert network.second_half({"c": batch}, ["maps"])["maps"].shape == batch.shape and network.takes_batches
    assert network.second_half({"c": batch}, ["flat"])["flat"].shape == (3, batch[0].numel())
    assert not network.takes_batches and network.check(named()).batches is False


def test_the_half_with_gradients_gives_the_numbers_of_onnxruntime(file: Path) -> None:
    network = atdc.adapters.onnx(file, {"stem": "stem"})
    features = {"stem": torch.from_numpy(network.features(photos(1)[0])["stem"])[None].requires_grad_()}
    after = network.second_half(features, ["logits"])["logits"]
    reference = network._reference(network._placed({"stem": features["stem"][0].detach().numpy()}), "logits")
    assert reference is not None and difference(reference, after.detach().numpy()) < 1e-5
    (gradient,) = torch.autograd.grad(after.square().sum(), [features["stem"]])
    assert bool(gradient.isfinite().all()) and float(gradient.abs().amax()) > 1e-3


def test_argmax_has_no_gradient_and_the_check_says_zero(file: Path) -> None:
    network = atdc.adapters.onnx(file, ["deep"], answers={"classes": Answer("classes")})
    assert network.check(named(1)).gradients == {"classes": 0.0}


def test_a_tensor_that_is_not_there_is_refused_with_near_names(file: Path) -> None:
    with pytest.raises(NetworkError, match=r"no tensor 'deap'; expected one of its \d+ tensors\. Near: deep"):
        atdc.adapters.onnx(file, ["deap"])
    with pytest.raises(NetworkError, match=r"no tensor 'logit'.*Near: logits"):
        atdc.adapters.onnx(file, ["deep"], answers={"a": Answer("classes", "logit")})
    with pytest.raises(NetworkError, match="no tensor 'w1'"):
        atdc.adapters.onnx(file, ["w1"])


def test_a_cut_that_leaks_names_what_crosses(file: Path, tmp_path: Path) -> None:
    leaky = write_onnx(tmp_path / "leaky.onnx", leak=True)
    with pytest.raises(CutError, match="leaks: stem still goes from the first half to the second"):
        atdc.adapters.onnx(leaky, ["deep"])
    assert len(atdc.adapters.onnx(leaky, ["deep", "stem"]).tensors) == 2
    with pytest.raises(CutError, match="leaks: stem"):
        atdc.adapters.onnx(file, ["deep"], answers={"early": Answer("stem")})


def test_sides_that_are_not_fixed_have_to_be_said(file: Path, tmp_path: Path) -> None:
    path = write_onnx(tmp_path / "dynamic.onnx", dynamic=True)
    with pytest.raises(NetworkError, match=r"the shape \(1, height, width, 3\), with sides that are not fixed"):
        atdc.adapters.onnx(path, ["deep"])
    network = atdc.adapters.onnx(path, ["deep"], input=ImageInput(size=(SIDE, SIDE)))
    assert network.tensors[0].feature_shape == (16, 6, 6)
    with pytest.raises(NetworkError, match="the size 24 x 24; expected 32 x 32"):
        atdc.adapters.onnx(file, ["deep"], input=ImageInput(size=(32, 32)))


def test_features_that_are_not_finite_are_named(tmp_path: Path, file: Path) -> None:
    network = atdc.adapters.onnx(write_onnx(tmp_path / "nan.onnx", nan=True), {"deep": "deep"})
    with pytest.raises(DataError, match=r"photo 0, tensor 'deep', channel \d+: found (nan|inf)"):
        network.check(named(1))


def test_a_file_that_is_no_model_is_refused(tmp_path: Path, file: Path) -> None:
    for content in (b"", b"nothing of the kind", file.read_bytes()[:200]):
        (tmp_path / "broken.onnx").write_bytes(content)
        with pytest.raises(NetworkError, match=r"broken.onnx: found no ONNX model"):
            atdc.adapters.onnx(tmp_path / "broken.onnx", ["deep"])
    with pytest.raises(NetworkError, match="no such file"):
        atdc.adapters.onnx(tmp_path / "none.onnx", ["deep"])


def test_a_missing_package_is_named_with_what_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    with pytest.raises(ProgramError, match=r"onnx: found no such package; .* pip install onnx onnxruntime"):
        atdc.adapters.onnx("net.onnx", ["a"])


# --- torch -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["stem", "stem.0", "deep", "deep.0", "head"])
def test_both_halves_of_a_torch_module_are_the_whole(place: str) -> None:
    network = atdc.adapters.torch(segmenter(), {"cut": place}, input=SIZE, answers={"map": Answer("output", "", "kl")})
    check = network.check(named())
    assert check.differences["map"] < 1e-6 and check.batches
    assert isinstance(size := check.gradients["map"], float) and size > 0


def test_tensors_in_lists_and_mappings_are_taken_and_put_back() -> None:
    cuts = {"fine": "backbone:levels.0", "coarse": "backbone:levels.1"}
    network = atdc.adapters.torch(pyramid(), cuts, input=SIZE)
    assert [tensor.feature_shape for tensor in network.tensors] == [(4, 12, 12), (6, 6, 6)]
    assert list(network.answers) == ["heat", "boxes.0", "boxes.1"]
    assert max(network.check(named()).differences.values()) < 1e-6
    features = network.features(photos(1)[0])
    other = {name: value + 1 for name, value in features.items()}
    for name, before in network.answers_of(features).items():
        assert difference(before, network.answers_of(other)[name]) > 0.1, name


def test_a_module_that_gives_several_tensors_needs_the_name_of_one() -> None:
    with pytest.raises(NetworkError, match=r"the outputs levels.0, levels.1; .* backbone:levels.0"):
        atdc.adapters.torch(pyramid(), ["backbone"], input=SIZE)


def test_tokens_and_vectors_are_features_too() -> None:
    class Tokens(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.flatten(2).transpose(1, 2)

    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 8, 8), Tokens(), nn.Flatten(), nn.Linear(36, 3), nn.Linear(3, 2))
    network = atdc.adapters.torch(model, {"tokens": "1"}, input=SIZE)
    assert network.tensors[0].feature_shape == (4, 9, 1) and network.check(named()).differences["output"] < 1e-6
    network = atdc.adapters.torch(model, {"vector": "3"}, input=SIZE)
    assert network.tensors[0].feature_shape == (3, 1, 1) and network.check(named()).differences["output"] < 1e-6


def test_a_torch_cut_that_leaks_names_the_module_that_crosses() -> None:
    with pytest.raises(CutError, match=r"leaks: stem(\.1)? still reaches output past the cut"):
        atdc.adapters.torch(segmenter(leak=True), ["deep"], input=SIZE)

    class OfTheImage(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.conv(x) + x

    with pytest.raises(CutError, match="leaks: the image itself"):
        atdc.adapters.torch(OfTheImage(), ["conv"], input=SIZE)


def test_a_model_that_is_not_deterministic_is_refused() -> None:
    class Noise(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x + torch.rand_like(x)

    with pytest.raises(NetworkError, match=r"two runs that differ by .*expected the same numbers"):
        atdc.adapters.torch(nn.Sequential(Noise(), nn.Conv2d(3, 2, 1)), ["0"], input=SIZE)


class Halved(nn.Module):
    """A model whose second half is a function."""

    def __init__(self, second: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 3), second

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.first(x))


def test_a_second_half_that_is_not_deterministic_is_no_leak() -> None:
    with pytest.raises(NetworkError, match=r"two runs that differ by .*random") as caught:
        atdc.adapters.torch(Halved(lambda x: x + torch.rand_like(x)), ["first"], input=SIZE)
    assert not isinstance(caught.value, CutError)


def test_answers_and_gradients_that_are_not_numbers_are_refused() -> None:
    nothing = atdc.adapters.torch(Halved(lambda x: (x - x.mean()).log()), ["first"], input=SIZE)
    with pytest.raises(NetworkError, match="photo 0, network/output: found an answer that is not a number"):
        nothing.check(named())
    answers = {"output": Answer("output", loss="l2")}
    steep = atdc.adapters.torch(Halved(lambda x: (x * 0).sqrt() + x), ["first"], input=SIZE, answers=answers)
    with pytest.raises(NetworkError, match="gradients that are not numbers"):
        steep.check(named())


def test_layers_without_weights_yet_are_refused() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.LazyLinear(5))
    with pytest.raises(NetworkError, match=r"lazy layers.*Run the model on an image once"):
        atdc.adapters.torch(model, ["0"], input=SIZE)


class Pair(nn.Module):
    """A module that gives a second tensor, made of its first."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        maps = self.first(x)
        return maps, maps.mean((2, 3), keepdim=True)


class OfPair(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.pair, self.head = Pair(), nn.Conv2d(4, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        maps, means = self.pair(x)
        scores: Tensor = self.head(maps) + means[:, :2]
        return scores


def test_what_a_module_gives_beside_the_tensor_at_the_cut_is_named_where_it_leaks() -> None:
    with pytest.raises(CutError, match=r"pair:1 still reaches output"):
        atdc.adapters.torch(OfPair(), ["pair:0"], input=SIZE)
    atdc.adapters.torch(OfPair(), ["pair:0", "pair:1"], input=SIZE).check(named())
    atdc.adapters.torch(OfPair(), ["pair.first"], input=SIZE).check(named())


def test_a_network_without_a_tensor_at_its_end_has_no_answer() -> None:
    with pytest.raises(NetworkError, match="no tensor among its outputs"):
        atdc.adapters.torch(Halved(lambda _: "a word"), ["first"], input=SIZE)  # type: ignore[arg-type, return-value]


ODD_ARGUMENTS: list[tuple[str, dict[str, Any]]] = [
    ("network, model: found NoneType", {"model": None}),
    ("network, model: found type", {"model": nn.Conv2d}),
    ("network, cuts: found 'stem'", {"cuts": "stem"}),
    ("network, cuts: found None", {"cuts": None}),
    ("network, cuts: found 0;", {"cuts": [0]}),
    ("network, cuts: found 0;", {"cuts": {"a": 0}}),
    ("network, cuts: found 0;", {"cuts": {0: "stem"}}),
    (r"network, input: found \(24, 24\)", {"input": (24, 24)}),
    ("network, answers: found 'output'", {"answers": "output"}),
    ("network, answers, a: found 'output'", {"answers": {"a": "output"}}),
    ("name: found 'a/b'", {"name": "a/b"}),
    ("name: found 3", {"name": 3}),
]


@pytest.mark.parametrize(("message", "changes"), ODD_ARGUMENTS)
def test_arguments_of_other_types_are_told(file: Path, message: str, changes: dict[str, Any]) -> None:
    with pytest.raises(ArgumentError, match=message):
        atdc.adapters.torch(**{"model": segmenter(), "cuts": ["stem"], "input": SIZE, **changes})
    if "model" not in changes:
        with pytest.raises(ArgumentError, match=message):
            atdc.adapters.onnx(file, **{"cuts": ["stem"], "name": "network", **changes})


@pytest.mark.parametrize("path", [None, b"net.onnx", 3])
def test_what_is_no_path_is_told(path: Any) -> None:
    for opened in (lambda: atdc.adapters.onnx(path, ["stem"]), lambda: atdc.adapters.dumped(path)):
        with pytest.raises(ArgumentError, match="path: found"):
            opened()


@pytest.mark.parametrize(
    "settings", [
        {"size": 224}, {"size": "224"}, {"size": (True, True)}, {"mean": 0.5}, {"mean": None}, {"std": ("a",)},
        {"white": "255"}, {"white": None}, {"order": None}, {"extra": 1.0}, {"extra": (True,)},
        {"mean": (10.0,), "type": "uint8"}, {"std": (2.0,), "type": "uint8"}, {"black": 1.0, "type": "uint8"},
        {"white": 2.0, "type": "uint8"}, {"extra": (0.5,), "type": "uint8"},
    ],
)  # fmt: skip
def test_settings_of_an_input_of_other_types_or_without_effect_are_told(settings: dict[str, Any]) -> None:
    with pytest.raises(ArgumentError, match=rf"input\.{next(iter(settings))}: found"):
        ImageInput(**settings)


def test_bytes_may_be_said_to_end_at_255_and_have_further_channels() -> None:
    settings = ImageInput(size=(2, 2), type="uint8", white=255, extra=(7,))
    assert settings.array(np.full((2, 2, 3), 50, np.uint8))[0, :, 0, 0].tolist() == [50, 50, 50, 7]


class OfLight(nn.Module):
    """A model that fails on dark images."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        maps: Tensor = self.first(x)
        if float(x.mean()) == float(x.min()) > -1.9:
            raise ValueError("no light")
        return maps


def test_the_image_on_which_a_network_fails_is_named() -> None:
    network = atdc.adapters.torch(OfLight(), ["first"], input=SIZE)
    flat = np.full((SIDE, SIDE, 3), 9, np.uint8)
    with pytest.raises(NetworkError, match=r"^dark\.jpg, network: found ValueError"):
        network.check([*named(1), ("dark.jpg", flat)])


class OfType(nn.Module):
    """A model whose second half works in another type."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.first, self.dtype = nn.Conv2d(3, 4, 3), dtype

    def forward(self, x: Tensor) -> Tensor:
        return self.first(x).to(self.dtype)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.complex64])
def test_numbers_that_are_not_coded_or_compared_are_refused(dtype: torch.dtype) -> None:
    with pytest.raises(NetworkError, match=rf"values of {dtype}"):
        atdc.adapters.torch(OfType(dtype), ["first"], input=SIZE)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_models_whose_modules_or_weights_cannot_be_had_are_refused() -> None:
    with pytest.raises(NetworkError, match=r"TorchScript.*Give the module that it was made of"):
        atdc.adapters.torch(torch.jit.trace(segmenter(), torch.zeros(1, 3, SIDE, SIDE)), ["stem"], input=SIZE)
    with pytest.raises(NetworkError, match=r"_extra_state: found dict in the state"):
        atdc.adapters.torch(Extra(), ["first"], input=SIZE)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_a_quantised_model_is_called_one() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    model.register_buffer("scales", torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8))
    with pytest.raises(NetworkError, match="scales: found a quantised tensor in the state"):
        atdc.adapters.torch(model, ["0"], input=SIZE)


class Extra(nn.Module):
    """A module that keeps more than tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.first(x)

    def get_extra_state(self) -> dict[str, int]:
        return {"step": 1}

    def set_extra_state(self, state: dict[str, int]) -> None:
        pass


class Boxes(nn.Module):
    """A detector: as many boxes as it happens to find."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        x = self.first(x)
        return {"boxes": x[:, 0].flatten(1)[:, : 3 + int(1e4 * float(x.detach().abs().mean())) % 97]}


def test_answers_that_differ_in_size_from_image_to_image_are_named() -> None:
    network = atdc.adapters.torch(Boxes(), ["first"], input=SIZE, answers={"boxes": Answer("boxes", loss="l1")})
    gradients = network.check(named(6)).gradients
    assert "network, boxes: found another size for another image" in str(gradients["boxes"])


def test_dropout_is_switched_off_and_parameters_get_no_gradients() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Dropout(), nn.Conv2d(4, 2, 1)).train()
    network = atdc.adapters.torch(model, ["0"], input=SIZE)
    assert network.check(named(1)).differences["output"] < 1e-6
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_a_module_that_is_not_there_or_runs_twice_is_refused() -> None:
    with pytest.raises(NetworkError, match=r"no module 'steem'.*Near: stem"):
        atdc.adapters.torch(segmenter(), ["steem"], input=SIZE)
    relu = nn.ReLU()
    model = nn.Sequential(nn.Conv2d(3, 4, 3), relu, nn.Conv2d(4, 2, 1), relu)
    with pytest.raises(NetworkError, match="a module that runs 2 times"):
        atdc.adapters.torch(model, ["1"], input=SIZE)


def test_a_model_that_fails_on_its_image_says_why() -> None:
    with pytest.raises(
        NetworkError, match=r"network: found RuntimeError \(.*channels.* expected a run on \(1, 1, 24, 24\)"
    ):
        atdc.adapters.torch(segmenter(), ["stem"], input=ImageInput(size=(SIDE, SIDE), order="grey"))


def test_digests_tell_weights_inputs_and_cuts_apart(file: Path) -> None:
    def digest(**other: Any) -> str:
        return atdc.adapters.torch(segmenter(), **{"cuts": ["deep"], "input": SIZE, **other}).digest

    changed = segmenter()
    with torch.no_grad():
        changed.head.bias[0] += 1e-3
    found = {
        digest(), digest(cuts=["stem"]), digest(input=ImageInput(size=(SIDE, SIDE))),
        atdc.adapters.torch(changed, ["deep"], input=SIZE).digest, atdc.adapters.onnx(file, ["deep"]).digest,
    }  # fmt: skip
    assert len(found) == 5 and digest() in found
    assert digest(input=ImageInput(size=(SIDE, SIDE), mean=(0.5,), std=(0.25,), white=1)) == digest()


# --- images --------------------------------------------------------------------------------------------------------


def test_images_are_scaled_and_ordered_as_told() -> None:
    image = np.zeros((2, 2, 3), np.uint8)
    image[..., 0], image[..., 2] = 255, 51
    plain = ImageInput(size=(2, 2), black=-1.0, white=1.0, order="bgr").array(image)
    np.testing.assert_allclose(plain[0, :, 0, 0], [-0.6, -1, 1], atol=1e-6)
    whitened = ImageInput(size=(2, 2), mean=(0.5, 0.0, 0.2), std=(0.5, 1.0, 2.0)).array(image)
    np.testing.assert_allclose(whitened[0, :, 0, 0], [1, 0, 0], atol=1e-6)
    assert ImageInput(size=(3, 5), layout="hwc", extra=(1.0,), white=255.0).array(image)[0, 2, 4].tolist() == [
        255,
        0,
        51,
        1,
    ]
    assert ImageInput(size=(2, 2), order="grey").array(image).shape == (1, 1, 2, 2)


@pytest.mark.parametrize(
    "settings", [{"size": (0, 3)}, {"layout": "nchw"}, {"order": "grb"}, {"mean": (1.0, 2.0)}, {"std": (0.0,)}]
)
def test_settings_that_no_input_has_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ArgumentError, match=f"input.{next(iter(settings))}"):
        ImageInput(**settings)


def test_features_that_do_not_fit_the_network_are_refused() -> None:
    network = atdc.adapters.torch(segmenter(), {"c": "deep"}, input=SIZE)
    for features in ({}, {"c": np.zeros((16, 6, 7), np.float32)}):
        with pytest.raises(AtdcError, match="features of"):
            network.answers_of(features)


class Waiting(nn.Module):
    """Waits, for a moment, until two threads have come this far."""

    def __init__(self) -> None:
        super().__init__()
        self.both = threading.Barrier(2, timeout=0.3)
        self.waits = False

    def forward(self, x: Tensor) -> Tensor:
        if self.waits:
            with contextlib.suppress(threading.BrokenBarrierError):
                self.both.wait()
        return x


def test_second_halves_may_be_run_by_two_threads_at_once() -> None:
    """As training does: one takes losses while the other prepares the next batch."""
    before, after = Waiting(), Waiting()
    model = nn.Sequential(before, nn.Conv2d(3, 4, 1), after)
    network = atdc.adapters.torch(model, ["1"], input=ImageInput(size=(4, 4)))
    (name,) = (tensor.name for tensor in network.tensors)
    features = [torch.full((1, 4, 4, 4), number) for number in (1.0, 2.0)]
    before.waits = after.waits = True
    with ThreadPoolExecutor(2) as pool:
        made = list(pool.map(lambda value: network.second_half({name: value}, ["output"])["output"], features))
    assert [float(value.mean()) for value in made] == [1.0, 2.0]


def test_a_model_that_others_run_meanwhile_gives_them_its_own_outputs() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 1, 1))
    early, late = (atdc.adapters.torch(model, {"f": place}, input=ImageInput(size=(24, 32))) for place in ("1", "3"))
    (image,) = photos(1)
    value = torch.rand(1, 3, 24, 32)
    with torch.no_grad():
        expected = model(value)
    answers = [network.answers_of(network.features(image))["output"] for network in (early, late)]

    def cutting(network: Any, answer: Any) -> bool:
        return all(np.array_equal(network.answers_of(network.features(image))["output"], answer) for _ in range(60))

    def running(_: int) -> bool:
        with torch.no_grad():
            return all(torch.equal(model(value), expected) for _ in range(200))

    with ThreadPoolExecutor(4) as pool:
        cut = [pool.submit(cutting, network, answer) for network, answer in zip((early, late), answers, strict=True)]
        assert all(pool.map(running, range(2))) and all(future.result() for future in cut)


def test_whatever_an_image_is_kept_in_gives_the_same_features_and_else_is_refused(tmp_path: Path) -> None:
    network = atdc.adapters.torch(segmenter(), ["deep"], input=SIZE)
    (image,) = photos(1)
    (expected,) = network.features(image).values()
    picture = Image.fromarray(image)
    picture.save(tmp_path / "photo.png")
    tensor = torch.from_numpy(image).permute(2, 0, 1)
    for same in (picture, tmp_path / "photo.png", (tmp_path / "photo.png").read_bytes(), tensor):
        np.testing.assert_array_equal(next(iter(network.features(same).values())), expected)
    for wrong in (None, 5, np.zeros((0, 5, 3), np.uint8), np.zeros((3, 40, 60), np.uint8), image.astype(np.int64)):
        with pytest.raises(ArgumentError):
            network.features(wrong)  # type: ignore[arg-type]


def test_decoded_tensors_of_torch_are_taken_whatever_their_type() -> None:
    network = atdc.adapters.torch(segmenter(), ["deep"], input=SIZE)
    features = network.features(photos(1)[0])
    expected = network.answers_of(features)["output"]
    tensors = {name: torch.from_numpy(value).requires_grad_() for name, value in features.items()}
    np.testing.assert_array_equal(network.answers_of(tensors)["output"], expected)  # type: ignore[arg-type]
    coarse = {name: value.to(torch.bfloat16) for name, value in tensors.items()}
    assert network.answers_of(coarse)["output"].shape == expected.shape  # type: ignore[arg-type]
    for wrong in (None, [1], dict.fromkeys(features, "text")):
        with pytest.raises(ArgumentError):
            network.answers_of(wrong)  # type: ignore[arg-type]
