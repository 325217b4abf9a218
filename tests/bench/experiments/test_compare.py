"""The comparison: a whole quick run on made-up weights, its files, and what makes it resume."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from atdc.data.rooms import materialise
from atdc.errors import ArgumentError
from atdc.pipeline import Codec
from atdc.report.page import thumbnail_uri
from atdc.tasks import TASK_NAMES
from atdc_bench.baselines.grouping import Grouping
from atdc_bench.baselines.trainer import BaselineTrainer, CodedFeatures, improvement
from atdc_bench.compare_recipe import CompareRecipe
from atdc_bench.experiments.compare import ADDED_IN_ORDER, Place, entries, key_of, read_records, run_compare
from atdc_bench.report.comparison import render_comparison
from atdc_bench.report.registry import EXPERIMENTS
from html_page import HtmlPage

pytestmark = pytest.mark.portability

RECIPE = """
base: {weights}
base_recipe: {training}
qualities: [0, 2, 4, 7]
affinity: {folder}/no_affinity.json
"""
ONLY = ("ours", "fixed", "joint", "paper", "webp")


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory, tiny_codec: Codec) -> tuple[Path, Path, Path, dict]:
    folder = tmp_path_factory.mktemp("compare")
    rooms = folder / "rooms"
    for split in ("train", "val", "test"):
        materialise(rooms, split, count=8, workers=1, size=64)
    card = {"loss_bounds": [[2.0, 0.1, 0.1, 0.5, 1.0, 0.1], [1.0, 0.05, 0.05, 0.2, 0.5, 0.05]]}
    weights = folder / "base.safetensors"
    Codec(tiny_codec.networks, tiny_codec.feature_codec, card).save(weights)
    (folder / "training.yaml").write_text("name: training")
    recipe = folder / "compare.yaml"
    recipe.write_text(RECIPE.format(weights=weights, training=folder / "training.yaml", folder=folder))
    result = run_compare(
        recipe, folder / "out", data=rooms, run=folder / "run", only=ONLY, quick=True, draw=thumbnail_uri, quiet=True
    )
    return recipe, rooms, folder, result


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_quick_comparison_measures_what_it_is_asked_for_and_names_the_rest(compared) -> None:
    _, _, folder, result = compared
    for name, system in result["systems"].items():
        assert (system["missing"] is None) == (name in ONLY)
        assert len(system["points"]) == ((5 if name == "webp" else 4) if name in ONLY else 0)
    assert "atdc bench affinity" in result["systems"]["tamc"]["missing"]
    assert json.loads((folder / "out" / "compare.json").read_text())["data"]["images"] == 4
    assert (folder / "out" / "points.csv").read_text().count("\n") == 2 + 4 * len(ONLY)
    assert "`ours`" in EXPERIMENTS["compare"].summary(result)
    page = HtmlPage(render_comparison(result))
    assert all(result["systems"][name]["title"] in page.text for name in ONLY)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_points_are_real_files_and_more_of_them_cost_more(compared) -> None:
    _, _, folder, result = compared
    for name in ONLY:
        records = read_records(folder / "out" / "systems" / f"{name}.npz")
        sizes = [point["bytes_mean"] for point in result["systems"][name]["points"]]
        assert sizes == [pytest.approx(float(rows.file_bytes.mean())) for rows in records.values()]
        assert sizes[0] < sizes[-1] and all(rows.file_bytes.min() >= 19 for rows in records.values())


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_more_tasks_take_no_fewer_bytes_and_a_joint_codec_sends_all_at_once(compared) -> None:
    _, _, _, result = compared
    for name in ONLY:
        steps = result["systems"][name]["cumulative"]
        sizes = [step["bytes"] for step in steps]
        assert sizes == sorted(sizes) and len(steps[-1]["tasks"]) == len(ADDED_IN_ORDER) == len(TASK_NAMES)
        assert name not in ("joint", "webp") or len(set(sizes)) == 1


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_what_is_there_is_not_done_again_and_other_settings_are(compared, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe, rooms, folder, result = compared
    before = {name: (folder / "out" / "systems" / f"{name}.npz").stat().st_mtime_ns for name in ONLY}
    again = run_compare(recipe, folder / "out", data=rooms, run=folder / "run", only=ONLY, quick=True, quiet=True)
    assert {name: (folder / "out" / "systems" / f"{name}.npz").stat().st_mtime_ns for name in ONLY} == before
    assert again["bd_rates"] == result["bd_rates"]
    recipe.write_text(recipe.read_text().replace("[0, 2, 4, 7]", "[0, 2, 4, 6]"))
    other = run_compare(recipe, folder / "out", data=rooms, run=folder / "run", only=["fixed"], quick=True, quiet=True)
    assert [name for name, system in other["systems"].items() if system["points"]] == ["fixed", "webp"]  # no qualities


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_every_feature_row_gives_back_what_its_bytes_say(compared) -> None:
    """What the receiver decodes is what the sender's own reconstruction was, along the same graphs."""
    recipe, rooms, folder, _ = compared
    recipe.write_text(recipe.read_text().replace("[0, 2, 4, 6]", "[0, 2, 4, 7]"))
    place = Place(recipe, rooms, folder / "run" / "quick", True)
    trainer, known = place.trainer(), entries(place.settings())
    features = trainer.features["val"].cache.read(np.arange(2))
    for name in ("ours", "fixed", "joint", "paper"):
        system, _ = known[name].system(trainer, train=False)
        assert isinstance(system, CodedFeatures)
        files = system.encode(features, 4.0)
        packed = system.grouping.pack(features)
        graphs = system._choose(system.codec, packed, 4.0)
        sent = system.codec.encode_batch(packed, 4.0, graphs)
        assert sent.data == files
        expected = system.grouping.unpack(sent.stacked)
        assert torch.allclose(system.decode(files), expected, atol=1e-4) and expected.shape == features.shape
        assert not torch.allclose(expected, features, atol=1e-2), "coding at this quality loses something"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_only_what_uses_the_bases_codec_depends_on_it(compared) -> None:
    recipe, rooms, folder, _ = compared
    place = Place(recipe, rooms, folder / "run" / "quick", True)
    settings = place.settings()
    known = entries(settings)

    def keys(trainer: BaselineTrainer) -> list[str]:
        return [key_of(known[name], settings, trainer) for name in ONLY]

    own, other_codec, other_networks = place.trainer(), place.trainer(), place.trainer()
    other_codec.base.feature_codec.fingerprint = b"else"
    with torch.no_grad():
        next(iter(other_networks.base.networks.parameters())).add_(1)
    differ = [one != other for one, other in zip(keys(own), keys(other_codec), strict=True)]
    assert differ == [name in ("ours", "fixed", "paper") for name in ONLY]
    assert all(one != other for one, other in zip(keys(own), keys(other_networks), strict=True))


def test_unknown_systems_are_refused(tmp_path: Path, tiny_weights: Path) -> None:
    recipe = tmp_path / "compare.yaml"
    (tmp_path / "training.yaml").write_text("name: training")
    recipe.write_text(RECIPE.format(weights=tiny_weights, training=tmp_path / "training.yaml", folder=tmp_path))
    with pytest.raises(ArgumentError, match="nonesuch"):
        run_compare(recipe, tmp_path / "out", only=["nonesuch"], quick=True, quiet=True)


def test_every_row_has_a_name_of_its_own_and_seeds_are_rows() -> None:
    names = list(entries(dataclasses.replace(CompareRecipe(), seeds=3)))
    assert len(names) == len(set(names)) and {"ours-seed2", "fixed-seed1", "independent-seed2"} <= set(names)


def test_a_curve_of_one_point_tells_nothing_of_its_slope() -> None:
    assert improvement([{"objective0": 1.0}], 5.0) is None


def test_groups_keep_every_feature() -> None:
    grouping = Grouping(((4, 0), (1, 2, 5), (3,)))
    features = torch.randn(2, 6, 4, 3, 3)
    packed = grouping.pack(features)
    assert packed.shape == (2, 3, 12, 3, 3) and torch.equal(grouping.unpack(packed), features)
    with pytest.raises(ArgumentError):
        Grouping(((0, 1), (1,)))
