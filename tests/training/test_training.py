"""Training: resumed runs repeat themselves, and a recipe goes from rooms to weights that load."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

import atdc
from atdc.codec import FeatureCodec
from atdc.config import (
    FIT_RECIPES,
    RECIPES,
    ModelConfig,
    NetworkShape,
    Recipe,
    load_fit_recipe,
    load_recipe,
    shipped_recipes,
)
from atdc.data.export import export_taskonomy
from atdc.data.labelled import Mixed
from atdc.data.rooms import RoomsDataset, materialise
from atdc.errors import ArgumentError, DataError
from atdc.graph import search
from atdc.graph.graph_tables import GraphTables
from atdc.graph.scores import ScoreTable, candidate_sets, columns_within
from atdc.networks.batches import FeatureBatch
from atdc.networks.rate_estimators import AgreementEstimator, PairEstimator
from atdc.tasks import BY_NAME
from atdc.training import estimator_stage, graphs_apart
from atdc.training.estimator_stage import train_pair_estimator
from atdc.training.fit import held_out
from atdc.training.graph_stage import fitted_multipliers
from atdc.training.loop import Draw, train_stage
from atdc.training.losses import task_loss
from atdc.training.predictor_stage import random_parent_mask
from atdc.training.run_folder import RunFolder
from atdc.training.stages import train, training_images
from atdc_bench.baselines.mixed_graphs import MixedGraphs
from atdc_bench.compare_recipe import COMPARE_RECIPES, load_compare_recipe
from atdc_bench.experiments.ablation import KINDS, run_ablation
from atdc_bench.experiments.compare import entries
from atdc_bench.experiments.entropy_cost import run_entropy_cost
from atdc_bench.experiments.joint_finetune import run_joint_finetune

pytestmark = [pytest.mark.portability, pytest.mark.filterwarnings("ignore::atdc.errors.FitWarning")]  # of few rooms

RECIPE = """
name: tiny
train_count: 12
val_count: 8
networks:
  feature_channels: 8
  encoder_widths: [8, 8, 16]
  head_widths: [8, 8, 8]
tasks: {shared_epochs: 2, half_epochs: 1, epochs: 1, batch: 4}
codec:
  predictor_width: 8
  latent_channels: 8
  codec_width: 16
  hyper_channels: 4
  hyper_width: 8
  estimator_width: 8
  predictor_steps: 3
  warmup_steps: 3
  steps: 6
  batch: 4
  rate_estimator: pairs
  estimator_images: 12
  estimator_steps: 6
  codebook_size: 2
"""


class Killed(Exception):
    """Stands for a kill between two epochs."""


def _train(folder: Path, die_after: int | None) -> nn.Linear:
    torch.manual_seed(0)
    module, run, epochs = nn.Linear(3, 1), RunFolder(folder, Recipe()), []

    def prepare(draw: Draw) -> torch.Tensor:
        return torch.from_numpy(draw.rng.normal(size=(len(draw.indices), 3)).astype(np.float32))

    def step(batch: torch.Tensor) -> tuple[torch.Tensor, dict[str, float]]:
        loss = (module(batch + torch.randn_like(batch)) - batch.sum(1, keepdim=True)).square().mean()
        return loss, {"loss": float(loss.detach())}

    def validate() -> dict[str, float]:
        epochs.append(1)
        if die_after is not None and len(epochs) > die_after:
            raise Killed
        return {}

    train_stage(
        run, "toy", module, images=20, epochs=4, batch=5, lr=0.1, lr_end=0.01, prepare=prepare, step=step,
        validate=validate,
    )  # fmt: skip
    return module


def test_of_few_samples_a_batch_is_as_many_as_its_parts_can_share(tmp_path: Path) -> None:
    sizes: list[int] = []

    def step(batch: torch.Tensor) -> tuple[torch.Tensor, dict[str, float]]:
        sizes.append(len(batch))
        return layer(batch).square().mean(), {}

    def prepare(draw: Draw) -> torch.Tensor:
        return torch.ones(len(draw.indices), 1)

    layer, settings = nn.Linear(1, 1), {"epochs": 1, "batch": 16, "accumulate": 4, "lr": 0.1, "lr_end": 0.1}
    train_stage(RunFolder(tmp_path, Recipe()), "toy", layer, images=13, prepare=prepare, step=step, **settings)
    assert sizes == [3, 3, 3, 3]
    with pytest.raises(ArgumentError, match="features: found 3 samples; expected 4 at least"):
        train_stage(RunFolder(tmp_path, Recipe()), "few", layer, images=3, prepare=prepare, step=step, **settings)
    with pytest.raises(ArgumentError, match="batch: found 15; expected a multiple of 4"):
        settings["batch"] = 15
        train_stage(RunFolder(tmp_path, Recipe()), "odd", layer, images=13, prepare=prepare, step=step, **settings)


def test_of_all_that_is_to_be_held_out_one_sample_is_left_to_learn_from() -> None:
    assert len(held_out([((1, 1),)] * 5, 1.0)) == 4 and held_out([((1, 1),)] * 2, 0.1) == [0]


def test_a_killed_run_resumes_as_if_never_killed(tmp_path: Path) -> None:
    whole = _train(tmp_path / "whole", None)
    with pytest.raises(Killed):
        _train(tmp_path / "killed", 2)
    resumed = _train(tmp_path / "killed", None)
    assert torch.equal(whole.weight, resumed.weight)


def test_a_run_that_is_older_than_a_setting_resumes(tmp_path: Path) -> None:
    RunFolder(tmp_path, Recipe())
    stored = json.loads((tmp_path / "recipe.json").read_text())
    del stored["networks"]["architecture"], stored["val_count"]
    (tmp_path / "recipe.json").write_text(json.dumps(stored))
    RunFolder(tmp_path, Recipe())
    with pytest.raises(ArgumentError, match=r"other settings of networks\.architecture;"):
        RunFolder(tmp_path, Recipe(networks=NetworkShape(architecture="xception")))
    (tmp_path / "recipe.json").write_text(json.dumps({**stored, "scorer": {}}))
    with pytest.raises(ArgumentError, match="other settings of scorer;"):
        RunFolder(tmp_path, Recipe())


def test_a_run_folder_of_another_recipe_is_refused(tmp_path: Path) -> None:
    RunFolder(tmp_path, Recipe())
    with pytest.raises(ArgumentError, match="seed"):
        RunFolder(tmp_path, Recipe(seed=1))


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("nmae: x", "nmae"),
        ("tasks: {epochs: many}", "epochs"),
        ("tasks: 3", "tasks"),
        ("a: [", r"YAML.*recipe\.yaml.*line 1"),
        ("seed: 1\ntasks: {epochs: 3}\nseed: 2", "the key 'seed' twice"),
        ("tasks: {epochs: 3, epochs: 4}", "'epochs' twice"),
        ("? [1, 2]\n: 3", "unhashable"),
        ("codec: {batch: 0}", "codec, batch: found 0"),
        ("networks: {encoder_widths: [1, 2]}", r"found \[1, 2\]; expected three whole numbers"),
        ("codec: {lr: -1}", "codec, lr: found -1"),
        ("tasks: {epochs: true}", "tasks.epochs: found True"),
        ("codec: {spoilt_share: 2}", "spoilt_share: found 2"),
        ("networks: {encoder_widths: []}", "encoder_widths"),
        ("networks: {encoder_widths: [a, b, c]}", "encoder_widths"),
        ("seed: -1", "seed: found -1; expected a whole number from 0"),
        ("seed: x", "seed: found 'x'; expected a whole number"),
        ("train_count: 1", "train_count: found 1; expected 2 or more"),
        ("networks: {classes: 0}", r"networks\.classes: found 0"),
        ("codec: {seed: 3}", r"codec\.seed: found 3; expected nothing"),
        ("codec: {lambda_min: 100.0}", "lambda_min: found 100; expected at most lambda_max, 60"),
        ("codec: {lr: 0}", "lr: found 0.0; expected a number above 0"),
        ("name: a/b", "name: found 'a/b'"),
        ("codec: {rate_estimator: pears}", r"rate_estimator: found 'pears'.*Did you mean 'pairs'"),
    ],
)
def test_a_broken_recipe_names_the_setting(tmp_path: Path, text: str, named: str) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    with pytest.raises(ArgumentError, match=f"(?s){named}"):
        load_recipe(path)


def test_a_damaged_file_of_a_run_folder_is_named(tmp_path: Path) -> None:
    run = RunFolder(tmp_path, Recipe())
    for name in ("recipe.json", "curves.json"):
        (tmp_path / name).write_text("")
        with pytest.raises(DataError, match=f"{name}: found a damaged file .*Delete the run folder"):
            run.read_json(name, {})
    with pytest.raises(DataError, match=r"recipe\.json"):
        RunFolder(tmp_path, Recipe())


@pytest.mark.skipif(sys.platform == "win32", reason="no such locks")
def test_two_processes_do_not_train_in_one_folder(tmp_path: Path) -> None:
    program = (
        "import sys\nfrom pathlib import Path\nfrom atdc.config import Recipe\n"
        "from atdc.training.run_folder import RunFolder\n"
        f"with RunFolder(Path({str(tmp_path)!r}), Recipe()).claimed():\n"
        "    print('there', flush=True)\n    sys.stdin.read()\n"
        "print('done', flush=True)\nsys.stdin.close()\nimport time\ntime.sleep(60)"
    )
    other = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert other.stdin is not None and other.stdout is not None
    assert other.stdout.readline().strip() == b"there"
    run = RunFolder(tmp_path, Recipe())  # looking into it is free
    with pytest.raises(ArgumentError, match="a training that another process is at"), run.claimed():
        pass
    other.stdin.close()
    assert other.stdout.readline().strip() == b"done"
    with run.claimed(), RunFolder(tmp_path, Recipe()).claimed():  # the other one lives, and trains no more
        pass
    other.kill()
    other.wait()
    other.stdout.close()


def test_a_training_that_diverges_ends_and_says_so(tmp_path: Path) -> None:
    layer, run = torch.nn.Linear(1, 1), RunFolder(tmp_path, Recipe())

    def step(batch: object) -> tuple[torch.Tensor, dict[str, float]]:
        loss = layer.weight.sum() * torch.inf
        return loss, {}

    with pytest.raises(ArgumentError, match=r"no finite gradient in 20 steps of the stage toy.*[Ll]ower the recipe"):
        train_stage(
            run, "toy", layer, images=40, epochs=1, batch=1, lr=1.0, lr_end=1.0, prepare=lambda draw: 0, step=step
        )


def test_numbers_in_a_recipe_may_have_an_exponent_without_a_point(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    for text in ("1e-3", "1E-3", "+1e-3", "1.e-3", ".1e-2", "0.001"):
        path.write_text(f"name: 3e\nlr: {text}")
        assert (load_fit_recipe(path).lr, load_fit_recipe(path).name) == (1e-3, "3e")


def test_every_recipe_of_the_project_loads() -> None:
    kinds = ((RECIPES, load_recipe), (FIT_RECIPES, load_fit_recipe), (COMPARE_RECIPES, load_compare_recipe))
    for folder, read in kinds:
        names = shipped_recipes(folder)
        assert len(names) >= 2 and [read(Path(name)).name for name in names] == list(names)


def test_a_recipe_that_is_not_there_is_answered_with_those_that_are(tmp_path: Path) -> None:
    for missing in (Path("smal"), tmp_path / "small", Path("recipes/small.yaml"), tmp_path):
        with pytest.raises(ArgumentError, match=r"shipped recipe \(.*\bsmall, .*\) or a readable YAML file"):
            load_recipe(missing)


@pytest.mark.parametrize("name", ["compare_small", "compare_nyuv2"])
def test_systems_that_a_comparison_skips_exist(name: str) -> None:
    recipe = load_compare_recipe(Path(name))
    assert set(recipe.skipped) <= set(entries(recipe))


def test_parent_sets_never_hold_the_child() -> None:
    mask = random_parent_mask(np.random.default_rng(0), 500, 2, 6)
    assert not mask[:, 2].any() and set(mask.sum(1).tolist()) == {0, 1, 2, 3, 4, 5}


def test_ignored_pixels_do_not_count() -> None:
    target = torch.zeros(1, 1, 2, 2, dtype=torch.long)
    output = torch.randn(1, 14, 2, 2)
    expected = torch.nn.functional.cross_entropy(output[..., :1], target[:, 0, :, :1])
    target[..., 1] = 255
    assert float(task_loss(BY_NAME["segment_semantic"], output, target)) == pytest.approx(float(expected))


def test_model_settings_are_whole() -> None:
    assert ModelConfig().encoder_widths == (32, 48, 96)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """Recipe, run folder and rooms of a whole, tiny training."""
    folder = tmp_path_factory.mktemp("training")
    recipe = folder / "tiny.yaml"
    recipe.write_text(RECIPE)
    train(recipe, folder / "run", folder / "rooms")
    return recipe, folder / "run", folder / "rooms"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_recipe_goes_from_rooms_to_weights(finished: tuple[Path, Path, Path]) -> None:
    recipe, run, rooms = finished
    path = run / "tiny.safetensors"
    before = path.read_bytes()
    codec = atdc.load(path)
    data = codec.encode(np.zeros((64, 64, 3), np.uint8), quality=2)
    assert codec.decode(data, tasks=["rgb"])["rgb"].shape == (64, 64, 3)
    assert train(recipe, run, rooms).read_bytes() == before  # nothing left to do


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_integers_cost_next_to_nothing_against_floats(finished: tuple[Path, Path, Path], tmp_path: Path) -> None:
    recipe, run, rooms = finished
    materialise(rooms, "test", count=6, workers=1)
    result = run_entropy_cost(
        recipe, run, rooms, tmp_path / "cost.json", count=6, qualities=(4, 7), rounds=2, train_images=12, steps=2,
        quiet=True,
    )  # fmt: skip
    for row in result["integers_against_floats"].values():
        assert abs(row["percent"]) < 1
    assert result["states"]["steps"] == 2 and abs(result["states"]["percent"]) < 20
    assert json.loads((tmp_path / "cost.json").read_text())["data"]["images"] == 6
    with pytest.raises(DataError, match="no finished training"):
        run_entropy_cost(recipe, tmp_path / "other", rooms, tmp_path / "cost.json", quiet=True)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_residual_ablation_trains_both_kinds(finished: tuple[Path, Path, Path], tmp_path: Path) -> None:
    recipe, run, rooms = finished
    weights = run / "tiny.safetensors"
    result = run_ablation(weights, recipe, tmp_path / "run", rooms, tmp_path / "ablation.json", count=8)
    for kind in KINDS:
        sizes = [row["bytes"] for row in result["kinds"][kind]]
        assert len(sizes) == 8 and sizes[0] < sizes[-1]
    assert (
        json.loads((tmp_path / "ablation.json").read_text())["bytes_at_equal"].keys() == result["bytes_at_equal"].keys()
    )


def test_lagrange_multipliers_are_geometric_and_skip_slopes_of_the_wrong_sign() -> None:
    """A planted growth of w is recovered, also where one slope between qualities has the wrong sign."""
    errors = np.geomspace(1.0, 0.02, 8)[:, None]
    bits = 100 - 50 * np.log2(errors)  # w = −dR/dD = 50/(ln 2 · D)
    rates = fitted_multipliers(bits, errors)
    assert rates[:, 0] == pytest.approx(50 / np.log(2) / errors[:, 0], rel=0.05)
    bits[3] = bits[4] + 5
    bent = fitted_multipliers(bits, errors)
    assert (np.diff(np.log(bent[:, 0])) > 0).all() and np.log(bent / rates).std() < 0.3


def test_lagrange_multipliers_are_not_followed_beyond_what_was_measured() -> None:
    """Where training moved a tensor between three qualities alone, the others have the nearest one's rate."""
    bits, errors = np.full((8, 1), 100.0), np.full((8, 1), 50.0)
    bits[4:], bits[5:] = 110, 120
    errors[4:], errors[5:] = 40, 39.9
    rates = fitted_multipliers(bits, errors)[:, 0]
    assert rates[3:6] == pytest.approx([0.1, 10, 1000])  # slopes of 1 and 100 lie at 3½ and 4½
    assert (rates[:3] == rates[3]).all() and (rates[6:] == rates[5]).all()


def test_lagrange_multipliers_leave_out_slopes_over_an_error_that_does_not_fall() -> None:
    errors = np.geomspace(1.0, 0.02, 8)[:, None]
    bits = 100 - 50 * np.log2(errors)
    level = errors.copy()
    level[6:] = errors[5] * (1 - 1e-9 * np.arange(1, 3)[:, None])  # rounding alone tells the last three apart
    whole, rates = fitted_multipliers(bits, errors), fitted_multipliers(bits, level)
    assert rates[:6] == pytest.approx(whole[:6], rel=1e-6)
    assert (rates[6:] == rates[5]).all()


def test_training_reads_taskonomy_at_both_sizes(tmp_path: Path) -> None:
    for split, count in (("train", 5), ("val", 3)):
        materialise(tmp_path / "rooms", split, count=count, workers=1, size=64)
        export_taskonomy(RoomsDataset(tmp_path / "rooms", split), tmp_path / "tree", f"made_{split}", split)
    recipe = Recipe(data="taskonomy", train_count=4, val_count=9)
    train, val = training_images(recipe, tmp_path / "tree")
    half, _ = training_images(recipe, tmp_path / "tree", half=True)
    assert (len(train), len(val), len(half)) == (4, 3, 4)
    assert train.targets([0, 3])["rgb"].shape == (2, 3, 256, 256) and half.targets([1])["normal"].shape[-1] == 128
    assert torch.equal(train.targets([2], ["rgb"])["rgb"], train.targets([0, 2], ["rgb"])["rgb"][1:])
    with pytest.raises(ArgumentError, match="taskonomy"):
        training_images(Recipe(data="faces"), tmp_path)


def test_real_frames_with_rooms_are_spread_and_whole(tmp_path: Path) -> None:
    for split, count in (("train", 7), ("val", 3)):
        materialise(tmp_path / "rooms", split, count=count, workers=1, size=64)
        materialise(tmp_path / "other", split, count=count - 1, workers=1, size=64)
    first, second = (RoomsDataset(tmp_path / name, "train") for name in ("rooms", "other"))
    mixed = Mixed(first, second, repeats=2)
    assert len(mixed) == 7 + 2 * 6 and len(mixed.targets([0], ["rgb"])) == 1
    everything = mixed.targets(range(len(mixed)))
    for place, drawn in enumerate(mixed.order.tolist()):
        data, index = (first, drawn) if drawn < 7 else (second, (drawn - 7) % 6)
        own = data.targets([index])
        assert all(torch.equal(everything[name][place], own[name][0]) for name in own)
    with pytest.raises(ArgumentError, match="--real"):
        training_images(Recipe(data="rooms+nyuv2", train_count=7, val_count=3), tmp_path / "rooms")


def test_the_papers_recipe_is_read() -> None:
    recipe = load_recipe(Path("taskonomy_xception"))
    assert (
        recipe.networks.architecture == "xception" and recipe.codec.predictor_steps == 20 * 40000 // recipe.codec.batch
    )


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_training_a_codec_again_keeps_task_networks_and_resumes_after_a_kill(
    finished: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    recipe, run, rooms = finished
    start, out = run / "tiny.safetensors", tmp_path / "new.safetensors"
    again = tmp_path / "anew.yaml"
    again.write_text("anew: true\nseed: 1\n" + recipe.read_text())

    def trained(out: Path) -> atdc.Codec:
        return atdc.load(train(again, tmp_path / "run", rooms, out, start=start, stages=("codec", "graphs")))

    before, after = atdc.load(start), trained(out)
    assert after.card["start"] == f"tiny {before.feature_codec.fingerprint.hex()}"
    kept, now = before.networks.state_dict(), after.networks.state_dict()
    assert all(torch.equal(kept[name], now[name]) for name in kept)
    old, new = before.feature_codec.networks.state_dict(), after.feature_codec.networks.state_dict()
    assert not torch.equal(old["transforms.0.block.weight"], new["transforms.0.block.weight"])
    resumed = trained(tmp_path / "again.safetensors").feature_codec.networks.state_dict()
    assert torch.equal(new["scorer.last.weight"], resumed["scorer.last.weight"])
    with pytest.raises(ArgumentError, match="other stages"):
        train(again, tmp_path / "run", rooms, out, start=start, stages=("graphs",))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_last_stage_changes_rate_estimator_and_graphs_and_nothing_else(
    finished: tuple[Path, Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe, run, rooms = finished
    monkeypatch.setattr(graphs_apart, "_QUALITIES", (4,))  # of whole trainings several
    monkeypatch.setattr(graphs_apart, "_IMAGES", 4)
    before = atdc.load(run / "tiny.safetensors").feature_codec
    kept = atdc.load(run / "tiny.safetensors").card["lambda"]
    other = tmp_path / "other.yaml"
    text = recipe.read_text().replace("rate_estimator: pairs", "rate_estimator: agreement\n  lambda_min: 1.5")
    other.write_text(text.replace("estimator_images", "spoilt_share: 0.5\n  estimator_images"))

    def refitted(stages_named: tuple[str, ...]) -> FeatureCodec:
        out, start = tmp_path / "new.safetensors", run / "tiny.safetensors"
        return atdc.load(train(other, tmp_path / "run", rooms, out, start=start, stages=stages_named)).feature_codec

    with pytest.raises(ArgumentError, match="one and all after it"):
        refitted(("codec",))
    after = refitted(("graphs",))
    assert isinstance(after.networks.rate_estimator, AgreementEstimator)
    assert atdc.load(tmp_path / "new.safetensors").card["lambda"] == kept  # by which nothing was trained here
    for tensor in range(6):  # for each there is a candidate that leaves it by itself
        assert any(not g.parents[tensor] and tensor not in sum(g.parents, ()) for g in after.graph_tables.candidates)
    first, second = before.networks.state_dict(), after.networks.state_dict()
    for name in first:
        assert name.startswith("scorer.") or torch.equal(first[name], second[name]), name
    integers = after.entropy.to_arrays()
    assert all(np.array_equal(value, integers[name]) for name, value in before.entropy.to_arrays().items())


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_recipe_may_start_from_weights(finished: tuple[Path, Path, Path], tmp_path: Path) -> None:
    _, run, rooms = finished
    start = run / "tiny.safetensors"
    recipe = tmp_path / "further.yaml"
    further = RECIPE.replace("half_epochs: 1", "half_epochs: 0").replace("predictor_steps: 3", "predictor_steps: 0")
    recipe.write_text(f"start: {start}\n{further.replace('train_count: 12', 'train_count: 9')}")
    before, after = atdc.load(start), atdc.load(train(recipe, tmp_path / "run", rooms))
    assert after.card["start"].endswith(before.feature_codec.fingerprint.hex())
    assert after.card["data"].startswith("rooms: 9 training")
    old, new = before.networks.state_dict(), after.networks.state_dict()
    assert any(not torch.equal(old[name], new[name]) for name in old if name.startswith("heads"))
    coding, now = before.feature_codec, after.feature_codec
    assert not any(torch.equal(a, b) for a, b in zip(coding.mean, now.mean, strict=True))  # of other networks
    recipe.write_text(f"start: {start}\n{RECIPE.replace('feature_channels: 8', 'feature_channels: 12')}")
    with pytest.raises(ArgumentError, match=r"networks\.feature_channels is 8; expected 12"):
        train(recipe, tmp_path / "other", rooms)


def test_stages_without_weights_to_go_on_from_are_refused(tmp_path: Path) -> None:
    recipe = tmp_path / "tiny.yaml"
    recipe.write_text(RECIPE)
    for stages_named, match in (
        (("graphs",), "--from"),
        (("graphs", "weights"), "one of networks, codec, graphs"),
        (("networks", "codec"), "one and all after it"),
        ((), "one and all after it"),
    ):
        with pytest.raises(ArgumentError, match=match):
            train(recipe, tmp_path / "run", tmp_path, stages=stages_named)


def test_what_cannot_end_well_is_refused_before_anything_is_trained(tmp_path: Path) -> None:
    recipe = tmp_path / "tiny.yaml"
    for text, match in (
        ("anew: true\n" + RECIPE, "anew: found no weights"),
        (
            RECIPE.replace("warmup_steps: 3", "warmup_steps: 0").replace("  steps: 6", "  steps: 0"),
            r"codec\.steps: found 0",
        ),
        ("data: faces\n" + RECIPE, r"data: found 'faces'.*rooms\+nyuv2"),
    ):
        recipe.write_text(text)
        with pytest.raises(ArgumentError, match=match):
            train(recipe, tmp_path / "run", tmp_path / "rooms")
        assert not (tmp_path / "run").exists()  # the right recipe may still train there


@pytest.mark.slow
def test_a_training_does_not_resume_with_other_images(finished: tuple[Path, Path, Path]) -> None:
    recipe, run, rooms = finished
    course = json.loads((run / "course.json").read_text())
    course["images"][1][1] += 1  # as if a validation image were another one
    kept = (run / "course.json").read_text()
    try:
        (run / "course.json").write_text(json.dumps(course))
        with pytest.raises(ArgumentError, match="a run with other images"):
            train(recipe, run, rooms)
    finally:
        (run / "course.json").write_text(kept)


def test_a_rate_estimator_learns_what_tensors_cost_where_others_are_not_there(tmp_path: Path) -> None:
    """Tensor 0 costs 2 with tensor 1 there and 1 without it; an estimator that saw no subset could not tell."""
    model = ModelConfig(scorer_width=8, max_parents=1)
    tensors = model.tensors(["a", "b"])
    generator = torch.Generator().manual_seed(0)
    parts = [torch.randn(80, 32, 8, 8, generator=generator) for _ in range(2)]
    pairs = candidate_sets(2, 1)
    costs = torch.full((80, 8, len(pairs)), torch.nan)
    costs[:40, :, :] = torch.tensor([2.0, 1.5, 3.0, 2.5])
    costs[40:, :, 0] = 1.0
    whole = FeatureBatch.of(parts)
    train = SimpleNamespace(read=lambda rows: whole.select(torch.from_numpy(rows)))
    torch.manual_seed(0)
    estimator = PairEstimator(model, tensors)
    images = np.random.default_rng(0).permutation(80)
    run = RunFolder(tmp_path, Recipe())
    train_pair_estimator(run, estimator, images, costs[images], train, steps=120, batch=18, lr=5e-3)
    with torch.no_grad():
        both, alone = estimator(whole)[:, 4], estimator(whole.only([0]))[:, 4]
    assert both[:, 0].mean() - alone[:, 0].mean() > 0.2  # 1 in ground truth; about 0 if it never saw a tensor left out
    assert both[:, 3].mean() == pytest.approx(2.5, abs=0.3)


def test_any_number_of_processes_can_share_the_rate_estimators_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, given = ModelConfig(scorer_width=4, max_parents=1), []
    monkeypatch.setattr(estimator_stage, "train_stage", lambda *_, **settings: given.append(settings["batch"]))
    run, train = RunFolder(tmp_path, Recipe()), SimpleNamespace(read=None)
    for count, samples in ((1, 12), (2, 12), (3, 80), (4, 80), (8, 2400)):
        with monkeypatch.context() as patch:
            patch.setattr(estimator_stage.processes, "count", lambda count=count: count)
            estimator = PairEstimator(model, model.tensors(["a", "b"]))
            train_pair_estimator(run, estimator, np.arange(samples), torch.ones(samples, 8, 4), train, steps=2)
    assert given == [11, 10, 48, 48, 48]


def test_graphs_of_a_subset_are_searched_within_it() -> None:
    """Costs that say otherwise outside a subset change nothing within: its graph is the cheapest of its own pairs."""
    pairs = candidate_sets(4, 2)
    costs = np.random.default_rng(0).random((8, 8, len(pairs))).astype(np.float32)
    source = MixedGraphs({"codebook": 1.0}, GraphTables.untrained(4), costs, 4, 2)
    for subset in ([1], [0, 3], [0, 1, 3]):
        columns = columns_within(4, 2, tuple(subset))
        table = ScoreTable.of(len(subset), costs[0, 5][columns], 2)
        expected = search.exact(table).expanded(subset, 4)
        assert source.draw(np.zeros(3, np.int64), 5, np.random.default_rng(1), subset) == [expected] * 3


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_encoders_learn_with_the_codec_only_where_they_are_to(
    finished: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    recipe, run, rooms = finished
    start = run / "tiny.safetensors"
    materialise(rooms, "test", count=4, workers=1)
    result = run_joint_finetune(start, recipe, tmp_path, rooms, tmp_path / "out.json", steps=2, count=4, quiet=True)
    assert list(result["models"]) == ["tiny", "frozen", "joint"] and result["steps"] == 2
    before, frozen, joint = (
        atdc.load(path).networks.state_dict()
        for path in (start, tmp_path / "frozen.safetensors", tmp_path / "joint.safetensors")
    )
    assert all(torch.equal(before[name], frozen[name]) for name in before)
    changed = {name for name in before if not torch.equal(before[name], joint[name])}
    assert changed and all(name.startswith("encoders") for name in changed)
