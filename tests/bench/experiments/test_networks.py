"""`atdc bench networks` on tiny torch networks: every way to send, resumed, and what must hold of any result."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

import atdc
import atdc.training.fit
from atdc.adapters.network_set import NetworkSet, load_networks
from atdc.balance import Balance
from atdc.errors import DataError, NetworkError
from atdc_bench.baselines import sent_answers
from atdc_bench.baselines.sent_tensors import (
    BALANCED,
    GRAPHS,
    AnswerSender,
    FittedSender,
    Photo,
    TiledTensors,
    UntrainedSender,
    WholeNumbers,
    from_mosaic,
    mosaic,
    on_levels,
)  # fmt: skip
from atdc_bench.experiments import networks
from atdc_bench.report.networks import bytes_against_time
from atdc_bench.report.registry import EXPERIMENTS
from fitted_networks import fit_in, settings_of
from tiny_networks import photos

SETTINGS = settings_of("top1")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Networks, photos, features of other photos and weights fitted to them."""
    place = tmp_path_factory.mktemp("networks")
    fit_in(place, "top1")
    return place


@pytest.fixture(scope="module")
def measured(folder: Path) -> dict[str, Any]:
    return networks.run_networks(
        folder / "networks.yaml", folder / "r.json", photos=folder / "photos", features=folder / "features",
        model=folder / "mine.safetensors", count=3, qualities=(1, 7), runs=folder / "runs", quiet=True,
    )  # fmt: skip


def photos_of(folder: Path) -> tuple[Any, list[Photo]]:
    loaded = load_networks(folder / "networks.yaml")
    return loaded, [Photo(image, loaded.features(image), loaded.whole(image)) for image in photos(3)]


pytestmark = pytest.mark.filterwarnings("ignore::atdc.errors.FitWarning")


def test_every_way_is_measured_for_each_network_and_all_together(measured: dict[str, Any]) -> None:
    assert list(measured["sets"]) == ["segments", "heat", networks.ALL]
    seen = {(row["set"], row["system"]) for row in measured["points"]}
    several = {name for name in measured["titles"] if name == BALANCED or name.endswith(networks.APART)}
    assert seen == {
        (wanted, name)
        for wanted in measured["sets"]
        for name in measured["titles"]
        if wanted == networks.ALL or name not in several
    }
    assert several >= {BALANCED, "untrained-apart"} and not any(name.startswith("jpeg-") for name in several)
    assert {"fitted-codebook", "fitted-independent", "fitted-fixed", "untrained", "jpeg"} <= set(measured["titles"])
    together = {(row["system"], row["point"]): row for row in measured["points"] if row["set"] == networks.ALL}
    assert all(set(row["answers"]) == {"segments/classes", "heat/map"} for row in together.values())
    rows = {(row["set"], row["system"], row["point"]): row["bytes"] for row in measured["points"]}
    for (wanted, system, point), size in rows.items():
        if wanted == networks.ALL and system in ("untrained", "levels", "answers-levels"):
            assert size == pytest.approx(rows["segments", system, point] + rows["heat", system, point])
        if system == "jpeg":
            assert size == rows[networks.ALL, system, point]
    for row in measured["points"]:
        assert row["agreement"] == pytest.approx(np.mean(list(row["answers"].values())))  # one answer each


def test_a_result_is_what_the_terminal_and_the_page_say(measured: dict[str, Any], folder: Path) -> None:
    assert json.loads((folder / "r.json").read_text("utf-8")) == json.loads(json.dumps(measured))
    text = EXPERIMENTS["networks"].summary(measured)
    assert "fitted codec, its own graph" in text and text.count("| all together |") == len(
        {*measured["titles"], *networks.RIVALS}
    )
    for block in EXPERIMENTS["networks"].blocks.values():
        assert list(block.formatter(measured))


def test_the_chart_has_every_way_that_reaches_the_agreement_at_its_bytes_and_time(measured: dict[str, Any]) -> None:
    svg = ElementTree.fromstring(bytes_against_time(measured))
    namespace = "{http://www.w3.org/2000/svg}"
    times = measured["device_ms"][networks.ALL]
    rows = {
        row["system"]: row["bytes"]
        for row in measured["at"]
        if (row["set"], row["agreement"]) == (networks.ALL, networks.TARGETS[0]) and row["bytes"] is not None
        if row["system"] == BALANCED or not (row["system"].startswith("fitted") or row["system"].endswith("-apart"))
    }
    reached = [
        measured["titles"][name]
        for name, size in rows.items()
        if BALANCED not in rows or times[name] <= 5 * times[BALANCED] or size < rows[BALANCED]
    ]
    circles = {circle[0].text.partition(":")[0]: circle for circle in svg.iter(f"{namespace}circle")}
    assert len(reached) == len(circles) > 3 and set(circles) == set(reached)
    labels = {label.text for label in svg.iter(f"{namespace}text")}
    assert set(reached) <= labels
    time = measured["device_ms"][networks.ALL]
    slow, fast = max(circles, key=lambda title: float(circles[title].get("cx") or 0)), measured["titles"]
    assert time[next(name for name, title in fast.items() if title == slow)] == max(
        time[name] for name, title in measured["titles"].items() if title in reached
    )
    heights = {label.get("y"): label.text for label in svg.iter(f"{namespace}text") if label.text in reached}
    assert len(heights) >= len(reached) - 2  # labels next to each other are moved apart


def test_records_of_other_photos_answers_or_functions_are_not_taken(folder: Path) -> None:
    loaded, seen = photos_of(folder)
    same = networks.answers_digest(loaded)
    assert same == networks.answers_digest(load_networks(folder / "networks.yaml"))
    text = (folder / "networks.yaml").read_text("utf-8")
    (folder / "other.yaml").write_text(text.replace("metric: top1", "metric: miou"), "utf-8")
    assert same != networks.answers_digest(load_networks(folder / "other.yaml"))
    keys = set()
    for number in range(2):
        (folder / f"own{number}.py").write_text(f"def own(before, after):\n    return {number}\n", "utf-8")
        own = text.replace("metric: top1", f"metric: own{number}.py:own")
        (folder / "own.yaml").write_text(own, "utf-8")
        keys.add(json.dumps(networks.answers_digest(load_networks(folder / "own.yaml"))))
    assert len(keys) == 2
    assert networks._digest(seen[0].image) != networks._digest(seen[1].image)


def test_weights_of_more_networks_are_refused_before_anything_is_measured(folder: Path) -> None:
    text = (folder / "networks.yaml").read_text("utf-8")
    (folder / "fewer.yaml").write_text(text[: text.index("  heat:")], "utf-8")
    with pytest.raises(NetworkError, match="no network with heat/"):
        networks.run_networks(
            folder / "fewer.yaml", folder / "f.json", photos=folder / "photos", features=folder / "features",
            model=folder / "mine.safetensors", count=1, qualities=(1,), runs=folder / "fewer", quiet=True,
        )  # fmt: skip


def test_an_answer_that_found_nothing_takes_a_byte_and_no_part(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded, (photo, *_) = photos_of(folder)
    sender = AnswerSender(loaded)
    assert sender._sent(np.zeros((1, 0, 4), np.float32), "relative", 4.0)[0] == 1
    monkeypatch.setattr(NetworkSet, "agreement", lambda *_: dict.fromkeys(photo.before, float("nan")))
    assert not loaded.saying(photo.before)


def test_the_codec_is_compared_with_the_cheapest_of_a_rivals_systems() -> None:
    cheap, dear = [(100, 0.5), (400, 0.9)], [(300, 0.5), (1200, 0.9)]
    assert networks._ratio([(50, 0.5), (200, 0.9)], [dear, cheap], 0.7) == (pytest.approx(50.0), "")
    assert networks._ratio([(50, 0.5), (200, 0.9)], [cheap], 0.95) == (None, "")
    assert networks._ratio([(50, 0.5), (200, 0.9)], [[(400, 0.8)]], 0.7) == (pytest.approx(25.0), "at least")
    assert networks._ratio([(50, 0.8)], [cheap], 0.7) == (pytest.approx(25.0), "at most")
    assert networks._ratio([(50, 0.8)], [[(50, 0.9)]], 0.7) == (None, "")


def test_settings_apart_are_at_least_as_good_as_any_common_one(measured: dict[str, Any]) -> None:
    rows = [row for row in measured["points"] if row["set"] == networks.ALL]
    for base in ("untrained", "answers-avif"):
        apart = [(row["bytes"], row["agreement"]) for row in rows if row["system"] == base + networks.APART]
        assert apart == sorted(apart)
        for row in (row for row in rows if row["system"] == base):
            # The best for some price of a byte: nothing common lies above the lines between them.
            assert np.interp(row["bytes"], *zip(*apart, strict=True)) >= row["agreement"] - 1e-9


def test_a_balanced_file_has_each_networks_quality_and_other_graphs_are_compared_at_one(
    measured: dict[str, Any], folder: Path
) -> None:
    loaded, photos = photos_of(folder)
    codec = atdc.FeatureCodec.load(folder / "mine.safetensors")
    balance = Balance(tuple((0.0, 0.0, float(level)) for level in range(8)))
    assert codec.task_names[-1].startswith("segments")
    sender = FittedSender(loaded, "", (5,), codec, "codebook", balance)
    coded = sender.code(photos[0], ["segments", "heat"], 5)
    data = codec.encode(photos[0].features, [0.0, 0.0, 5.0], "codebook")
    assert sender.for_several and coded.size(["segments", "heat"]) == len(data)
    points = {(row["system"], row["point"]): row for row in measured["points"] if row["set"] == networks.ALL}
    same = [row for row in measured["against"] if row["set"] == networks.ALL and row["rival"] == "one fixed graph"]
    curves = [
        [(row["bytes"], row["agreement"]) for (system, _), row in points.items() if system == name]
        for name in ("fitted-codebook", "fitted-fixed")
    ]
    for row in same:
        percent, bound = networks._ratio(curves[0], [curves[1]], row["agreement"])
        assert row["bound"] == bound and row["percent"] == (None if percent is None else round(percent, 1))


def test_comparisons_name_every_rival_and_their_intervals_hold_the_means(measured: dict[str, Any]) -> None:
    rows = measured["against"]
    assert {(row["set"], row["rival"]) for row in rows} == {
        (wanted, rival)
        for wanted in measured["sets"]
        for rival in networks.RIVALS
        if wanted == networks.ALL or rival != "one quality for all"
    }
    known = [row for row in rows if row["interval"] is not None]
    assert known and all(row["interval"][0] <= row["interval"][1] for row in known)


def test_the_devices_time_has_the_half_that_it_runs(measured: dict[str, Any]) -> None:
    for wanted, members in measured["sets"].items():
        first = sum(measured["networks"][name]["first_ms"] for name in members)
        whole = sum(measured["networks"][name]["whole_ms"] for name in members)
        assert measured["device_ms"][wanted]["fitted-codebook"] > first
        assert measured["device_ms"][wanted]["untrained"] > first
        if "answers-levels" in measured["titles"]:
            assert measured["device_ms"][wanted]["answers-levels"] > whole


def test_the_time_of_programs_that_are_called_counts() -> None:
    busy = [sys.executable, "-c", "import time\nwhile time.process_time() < 0.3: pass"]
    measured_ms = networks._median_ms(lambda _: subprocess.run(busy, check=True), [None])
    assert measured_ms > 250


def test_a_stopped_run_resumes_from_its_records(
    measured: dict[str, Any], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(networks, "_measured", lambda *_: pytest.fail("measured again"))
    again = networks.run_networks(
        folder / "networks.yaml", folder / "again.json", photos=folder / "photos", features=folder / "features",
        model=folder / "mine.safetensors", count=3, qualities=(1, 7), runs=folder / "runs", quiet=True,
    )  # fmt: skip
    assert again["points"] == measured["points"]


def test_without_weights_the_fitted_codec_is_said_to_be_left_out(folder: Path) -> None:
    result = networks.run_networks(
        folder / "networks.yaml", folder / "none.json", photos=folder / "photos", features=folder / "features",
        count=1, qualities=(4,), runs=folder / "runs", quiet=True,
    )  # fmt: skip
    assert result["missing"]["fitted-codebook"] == result["missing"][BALANCED] == "no weights were given"
    assert not any(name.startswith("fitted") for name in result["titles"])


def test_a_fitted_file_decodes_to_the_tensors_whose_answers_are_compared(folder: Path) -> None:
    loaded, photos = photos_of(folder)
    codec = atdc.FeatureCodec.load(folder / "mine.safetensors")
    for graph in GRAPHS:
        sender = FittedSender(loaded, "", (5,), codec, graph)
        for members in (["heat"], ["segments", "heat"]):
            coded = sender.code(photos[0], members, 5)
            wanted = loaded.tensors_of(members)
            data = codec.encode(photos[0].features, 5, graph, wanted=wanted)
            decoded = codec.decode(data)
            assert coded.size(members) == len(data) and sorted(coded.content) == sorted(wanted)
            for name in wanted:
                np.testing.assert_allclose(coded.content[name], decoded[name], atol=1e-3)


def test_too_few_photos_and_features_of_other_networks_are_refused(folder: Path) -> None:
    options: dict[str, Any] = {"photos": folder / "photos", "features": folder / "features", "quiet": True}
    with pytest.raises(DataError, match="at least 7"):
        networks.run_networks(folder / "networks.yaml", folder / "x.json", count=7, **options)
    other = folder / "other.yaml"
    other.write_text(SETTINGS.replace("cuts: [deep]", "cuts: [stem]"), "utf-8")
    with pytest.raises(NetworkError, match="segments"):
        networks.run_networks(other, folder / "x.json", count=1, **options)


def test_finer_steps_and_more_levels_cost_bytes_and_bring_features_back(folder: Path) -> None:
    pytest.importorskip("imagecodecs", reason="needs imagecodecs: pip install imagecodecs av")
    loaded, photos = photos_of(folder)
    known = [photo.features for photo in photos[:2]]
    for sender in (
        UntrainedSender(loaded, known),
        WholeNumbers(loaded),
        TiledTensors(loaded, known, sent_answers.AVIF, "AVIF", (10.0, 50.0, 90.0)),
    ):
        sizes, errors = [], []
        for point in sender.points:
            coded = sender.code(photos[2], ["segments", "heat"], point)
            sizes.append(coded.size(["segments", "heat"]))
            errors.append(
                sum(float(np.square(coded.content[name] - x).sum()) for name, x in photos[2].features.items())
            )
        assert sizes == sorted(sizes) and errors == sorted(errors, reverse=True) and errors[-1] < 0.05 * errors[0]


def test_a_class_is_sent_in_two_bytes_and_is_the_same_class(folder: Path) -> None:
    loaded, _ = photos_of(folder)
    logits = np.array([[0.5, 3.0, -1.0]], np.float32)
    size, back = AnswerSender(loaded, sent_answers.AVIF, "AVIF", (50.0,))._sent(logits, "top1", 50)
    assert size == 2 and back.argmax(1).tolist() == [1]


def test_channels_come_back_from_their_mosaic() -> None:
    for shape in ((1, 5, 3, 4), (1, 6, 7), (1, 9)):
        values = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
        np.testing.assert_array_equal(from_mosaic(mosaic(values), shape), values)


def test_values_between_ends_come_back_within_half_a_step() -> None:
    values = np.random.default_rng(0).normal(size=1000).astype(np.float32)
    for bits in (1, 4, 8):
        step = float(np.ptp(values)) / (2**bits - 1)
        assert np.abs(on_levels(values, bits)[1] - values).max() <= 0.501 * step


def test_a_map_without_anything_in_it_takes_no_part(tmp_path: Path) -> None:
    (tmp_path / "n.yaml").write_text(SETTINGS.replace("loss: l1}", "loss: l1, metric: overlap}"), "utf-8")
    loaded = load_networks(tmp_path / "n.yaml")
    empty, something = np.zeros((1, 4, 4)), np.full((1, 4, 4), 0.4)
    assert loaded.saying({"heat/map": empty, "segments/classes": empty}) == {"segments/classes"}
    assert loaded.saying({"heat/map": something}) == {"heat/map"}
    values = loaded.counted({"heat/map": empty}, {"heat/map": something}, frozenset())
    assert np.isnan(values["heat/map"])
    with pytest.MonkeyPatch.context() as patch:  # nothing is found any more
        patch.setattr(NetworkSet, "agreement", lambda *_: {"heat/map": float("nan")})
        assert loaded.counted({}, {}, frozenset({"heat/map"})) == {"heat/map": 0.0}
    point = {"bytes": [10, 30], "answers": {"heat/map": [None, 0.5], "segments/classes": [1.0, 0.0]}}
    assert networks._mean_point("2", point)["answers"] == {"heat/map": 0.5, "segments/classes": 0.5}
