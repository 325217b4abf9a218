"""The balance of a codec's networks: a quality for each network, kept next to the weights, used by `encode`."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import atdc.training.loop
from atdc import cli
from atdc.adapters.halves import CutNetwork
from atdc.adapters.network_balance import measured_balance
from atdc.adapters.network_codec import NetworkCodec
from atdc.adapters.network_set import NetworkSet, load_networks
from atdc.balance import Balance, balance_path
from atdc.bitstream.container import ContainerReader
from atdc.codec import FeatureCodec
from atdc.data.feature_source import InMemoryFeatures
from atdc.errors import DataError, NetworkError, WeightsError
from fitted_networks import fit_in, settings_of
from tiny_networks import photos
from tiny_recipe import STEPS_PER_EPOCH

SETTINGS = settings_of("relative")
pytestmark = pytest.mark.filterwarnings("ignore::atdc.errors.FitWarning")


def run(*words: str) -> str:
    result = CliRunner().invoke(cli.app, words)
    assert result.exit_code == 0, (result.output, result.exception)
    return result.output


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Networks, photos, and weights fitted to their features."""
    place = tmp_path_factory.mktemp("balance")
    fit_in(place, "relative")
    return place


def both_of(folder: Path) -> NetworkCodec:
    return NetworkCodec(load_networks(folder / "networks.yaml"), FeatureCodec.load(folder / "mine.safetensors"))


def test_only_networks_of_what_is_wanted_run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    features_of = CutNetwork.features

    def counted(self: CutNetwork, image: Any, where: str = "image") -> Any:
        calls.append(self.name)
        return features_of(self, image, where)

    monkeypatch.setattr(CutNetwork, "features", counted)
    monkeypatch.chdir(folder)
    codec = FeatureCodec.load("mine.safetensors")
    words = ("encode", "photos/0.png", "--model", "mine.safetensors", "--networks", "networks.yaml", "--graph", "exact")
    for tasks, names in ((["--tasks", "segments"], ["segments"]), ([], ["segments", "heat"])):
        calls.clear()
        result = CliRunner().invoke(cli.app, [*words, *tasks, "-o", f"{len(names)}.atdc"])
        assert result.exit_code == 0, result.output
        assert calls == names
        present = codec.decode(f"{len(names)}.atdc")
        assert {name.split("/")[0] for name in present} == set(names)


def test_fitting_to_networks_leaves_a_balance_with_one_quality_for_a_networks_tensors(folder: Path) -> None:
    codec = FeatureCodec.load(folder / "mine.safetensors")
    balance = Balance.read(folder / "mine.safetensors", codec.fingerprint, codec.task_names)
    heat, deep, segments = (np.array(balance.qualities)[:, place] for place in range(3))
    assert [name.split("/")[0] for name in codec.task_names] == ["heat", "heat", "segments"]
    np.testing.assert_array_equal(heat, deep)
    assert not np.array_equal(heat, segments)


def test_encode_balanced_takes_the_measured_qualities(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    common = ("--model", "mine.safetensors", "--networks", "networks.yaml", "-q", "5", "--force")
    run("encode", "photos/0.png", "-o", "x.atdc", "--balanced", *common)
    header = ContainerReader((folder / "x.atdc").read_bytes()).header
    said = json.loads((folder / "mine.balance.json").read_text("utf-8"))["qualities"]["5"]
    assert header.qualities == tuple(round(8 * said[name]) for name in FeatureCodec.load("mine.safetensors").task_names)


def test_within_some_bytes_networks_get_qualities_by_the_agreement_that_was_measured(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    codec = FeatureCodec.load("mine.safetensors")
    record = json.loads(Path("mine.balance.json").read_text("utf-8"))
    utilities = dict(codec.utilities())
    assert list(utilities) == [(2,), (0, 1)]
    rising = utilities[0, 1]
    measured = record["measured"]["heat"]["utility"]
    assert (np.diff(rising) >= 0).all() and np.abs(rising - np.minimum(measured, 1)).max() < 0.2
    features = both_of(folder).networks.features(photos(1)[0])
    limit = len(codec.encode(features, 4))
    monkeypatch.setattr(codec, "path", folder / "copy.safetensors")
    for name, most in (("heat", 1.0), ("segments", 7.0)):  # beyond which nothing gets better
        record["measured"][name]["utility"] = (np.minimum(np.arange(8), most) / 7).tolist()
    Path("copy.balance.json").write_text(json.dumps(record), "utf-8")
    data = codec.encode(features, max_bytes=limit)
    first, second, third = ContainerReader(data).header.qualities
    assert len(data) <= limit and first == second < third
    record["measured"]["heat"]["utility"] = None  # nothing could be compared
    Path("copy.balance.json").write_text(json.dumps(record), "utf-8")
    assert [places for places, _ in codec.utilities()] == [(2,), (0,), (1,)]
    record["measured"]["heat"] |= {"tensors": ["other"], "utility": measured}
    Path("copy.balance.json").write_text(json.dumps(record), "utf-8")
    with pytest.raises(WeightsError, match="a tensor 'other' that the weights do not have"):
        codec.encode(features, max_bytes=limit)


def test_balanced_qualities_of_some_networks_are_for_their_agreement_alone(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    common = ("--model", "mine.safetensors", "--networks", "networks.yaml", "-q", "5", "--force")
    run("encode", "photos/0.png", "-o", "x.atdc", "--balanced", "--tasks", "segments", *common)
    run("encode", "photos/0.png", "-o", "y.atdc", "--tasks", "segments", *common)
    alone, plain = (ContainerReader(Path(f"{name}.atdc").read_bytes()).header for name in "xy")
    utility = json.loads(Path("mine.balance.json").read_text("utf-8"))["measured"]["segments"]["utility"]
    best_below = max(utility[:5])
    assert alone.present == plain.present and alone.qualities[0] <= plain.qualities[0]
    if best_below < utility[5]:  # nothing less is as good
        assert alone.qualities == plain.qualities


def test_encode_takes_names_of_networks_for_those_of_their_tensors(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    common = ("photos/0.png", "--model", "mine.safetensors", "--networks", "networks.yaml", "--force")
    run("encode", *common, "-o", "y.atdc", "--tasks", "heat", "--first", "heat", "--task-quality", "heat=6")
    names = FeatureCodec.load("mine.safetensors").task_names
    tensors = [name for name in names if name.startswith("heat")]
    header = ContainerReader(Path("y.atdc").read_bytes()).header
    assert [names[place] for place in header.present] == tensors and header.qualities == (48, 48)
    run("encode", *common, "-o", "z.atdc", "--tasks", tensors[0])
    assert [names[place] for place in ContainerReader(Path("z.atdc").read_bytes()).header.present] == tensors[:1]
    refused = CliRunner().invoke(cli.app, ["encode", *common, "-o", "z.atdc", "--tasks", "heit"])
    assert refused.exit_code == 2 and "'heit'" in refused.output


def test_what_is_measured_is_bytes_and_agreement_of_whole_networks(folder: Path) -> None:
    both = both_of(folder)
    features = [both.networks.features(image) for image in photos(3, 2)]
    found = measured_balance(both, InMemoryFeatures(features), 2)
    assert found["data"] == {"samples": 2}
    chosen = [features[0], features[2]]
    for level in (0, 6):
        files = [both.feature_codec.encode(sample, level, "fixed") for sample in chosen]
        before = [both.networks.answers_of(sample) for sample in chosen]
        after = [both.answers_of(both.feature_codec.decode(data)) for data in files]
        for name, key in (("segments", "segments/classes"), ("heat", "heat/map")):
            agreement = [both.networks.agreement(b, a)[key] for b, a in zip(before, after, strict=True)]
            assert found["measured"][name]["utility"][level] == pytest.approx(np.mean(agreement), abs=1e-4)
        together = sum(found["measured"][name]["bytes"][level] for name in both.networks.networks)
        assert together < np.mean([len(data) for data in files]) < together + 60  # header, checks, whole bytes


def test_a_network_that_says_nothing_keeps_the_quality_of_all(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    both = both_of(folder)
    silent = {"segments/classes"}
    monkeypatch.setattr(NetworkSet, "saying", lambda self, before: frozenset(before) - silent)
    found = measured_balance(both, InMemoryFeatures([both.networks.features(photos(1)[0])]), 1)
    assert found["measured"]["segments"]["utility"] is None and found["measured"]["heat"]["utility"] is not None
    for level, row in found["qualities"].items():
        assert [row[name] for name in row if name.startswith("segments")] == [float(level)]


def test_networks_that_are_not_all_there_and_features_without_them_are_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "fewer.yaml").write_text(SETTINGS[: SETTINGS.index("  heat:")], "utf-8")
    fewer = NetworkCodec(load_networks(tmp_path / "fewer.yaml"), FeatureCodec.load(folder / "mine.safetensors"))
    samples = InMemoryFeatures([both_of(folder).networks.features(photos(1)[0])])
    with pytest.raises(NetworkError, match="none with heat/"):
        measured_balance(fewer, samples, 1)
    left = {name: value for name, value in samples.read(0).items() if name.startswith("heat")}
    with pytest.raises(DataError, match="no sample that has all tensors"):
        measured_balance(both_of(folder), InMemoryFeatures([left]), 1)


def test_the_balance_is_measured_again_next_to_copies_of_the_weights(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.safetensors"
    copy.write_bytes((folder / "mine.safetensors").read_bytes())
    command = ["networks", "balance", str(folder / "networks.yaml"), str(folder / "features"), "--model", str(copy)]
    run(*command, "--count", "2", "--quiet")
    codec = FeatureCodec.load(copy)
    assert len(Balance.read(copy, codec.fingerprint, codec.task_names).qualities) == 8
    balance_path(copy).unlink()
    balance_path(copy).mkdir()
    refused = CliRunner().invoke(cli.app, command)
    assert refused.exit_code == 1 and isinstance(refused.exception, SystemExit) and "found a folder" in refused.output
    balance_path(copy).rmdir()
    (tmp_path / "features").mkdir()
    command[3] = str(tmp_path / "features")
    for damaged in ("", "{", "[]", "{}", '{"networks": null}', "[" * 100_000):
        (tmp_path / "features" / "networks.json").write_text(damaged, "utf-8")
        refused = CliRunner().invoke(cli.app, command)
        assert refused.exit_code == 1 and "a damaged file" in refused.output, refused.output


def test_a_fit_whose_balance_fails_keeps_its_weights_and_says_so(
    folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setattr(atdc.training.loop, "STEPS_PER_EPOCH", STEPS_PER_EPOCH)
    command = ["fit", "features", "-o", str(tmp_path / "other.safetensors"), "--networks", "networks.yaml"]
    command += ["--recipe", "tiny.yaml", "--run", "runs/mine", "--force", "--json"]
    for error, status in ((DataError("heat/map", "nothing", "something"), 0), (KeyboardInterrupt(), 130)):

        def failing(*_: object, error: BaseException = error, **__: object) -> None:
            raise error

        monkeypatch.setattr("atdc.adapters.network_balance.measured_balance", failing)
        result = CliRunner().invoke(cli.app, command)
        assert result.exit_code == status and "is written, but no balance" in " ".join(result.stderr.split())
        assert FeatureCodec.load(tmp_path / "other.safetensors").task_names
        if not status:
            assert json.loads(result.stdout)["balance"] is None


def test_agreements_below_nothing_count_as_nothing_and_infinite_ones_are_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = both_of(folder)
    samples = InMemoryFeatures([both.networks.features(image) for image in photos(2, 3)])
    found = {}
    for least in (0.0, -1e9):
        monkeypatch.setattr(
            NetworkSet, "counted", lambda self, before, after, saying, least=least: dict.fromkeys(after, least)
        )
        found[least] = measured_balance(both, samples, 2)["measured"]
    assert found[0.0] == found[-1e9]
    monkeypatch.setattr(NetworkSet, "counted", lambda self, before, after, saying: dict.fromkeys(after, -np.inf))
    with pytest.raises(NetworkError, match="an agreement of -inf"):
        measured_balance(both, samples, 1)


def test_fitting_to_changed_copies_asks_for_photos_to_validate_on(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setattr(atdc.training.loop, "STEPS_PER_EPOCH", STEPS_PER_EPOCH)
    run("networks", "features", "networks.yaml", "photos", "-o", "copies", "--augment", "1")
    fit = ["fit", "copies", "-o", "copies.safetensors", "--recipe", "tiny.yaml"]
    assert "Name features of other photos: --val." in run(*fit)
    assert "--val" not in run(*fit, "--val", "features", "--force", "--run", "runs/others")
