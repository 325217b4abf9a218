"""What is sent for wanted sets: own graphs, helpers where they pay, utilities of a set, and a run that resumes."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from atdc.errors import ArgumentError, DataError
from atdc.pipeline import Codec
from atdc.tasks import LETTERS
from atdc_bench.experiments import wanted, wanted_parts
from atdc_bench.experiments.wanted_parts import Part, Plan, name_of, parts_of
from atdc_bench.experiments.wanted_result import Curves
from atdc_bench.experiments.wanted_sets import ARMS, NAMED, Choice, best_of_subsets, subsets, tasks_of
from atdc_bench.report import wanted as pages


def test_all_sets_are_measured_once_and_named_ones_are_among_them() -> None:
    assert len(set(subsets())) == 63 and set(NAMED) <= set(subsets())
    assert sorted(map(len, NAMED)) == [1, 2, 3, 5, 6] and all(
        tasks_of(letters) == tuple(sorted(tasks_of(letters))) for letters in subsets()
    )


def test_what_is_sent_for_a_set_is_the_set_and_what_it_needs(tiny_codec: Codec) -> None:
    codec = tiny_codec.feature_codec
    features = torch.rand((2, 6, 4, 4, 4), generator=torch.Generator().manual_seed(0))
    rates, random = np.full(len(codec.pairs), 10.0), np.random.default_rng(0)
    helped = codec.pairs.index((0, (5,)))
    rates[[helped, codec.pairs.index((5, ()))]] = 1.0, 3.0
    best = best_of_subsets(
        codec, rates, random.uniform(50, 90, len(rates)) * (np.arange(len(rates)) != helped), subsets()
    )
    assert best[LETTERS[0]].present == (0, 5) and best[LETTERS[0]].graph.parents[0] == (5,)
    choice = Choice.of(codec, features, 4, best)
    for letters in subsets():
        for name, arm in ARMS.items():
            for sent in arm.sent(choice, letters):
                assert set(tasks_of(letters)) <= set(sent.present), name
                assert all(set(sent.graph.parents[task]) <= set(sent.present) for task in sent.present), name
                if name in ("dropped", "independent"):
                    assert sent.present == tasks_of(letters) and (name == "dropped" or not sent.graph.edges)
                if name == "ancestors":
                    assert sent.present == tuple(sorted(choice.fixed.closure(tasks_of(letters))))


def test_the_utility_of_a_set_counts_no_task_above_1() -> None:
    each = np.array([[[0.5, 1.5]], [[0.9, 0.7]]])
    own = Curves(("0",), np.ones((2, 1)), each, np.zeros((1, 2)))
    np.testing.assert_allclose(own.utilities, [[0.75], [0.8]])


def test_blocks_end_where_a_kind_of_image_ends() -> None:
    plan = Plan(count=60, subset_count=30, rival_count=10)
    assert [span.stop for span in plan.spans] == [10, 25, 30, 50, 60]
    assert [len(plan.sets(span)) for span in plan.spans] == [63, 63, 63, 5, 5]
    with pytest.raises(ArgumentError, match="counts"):
        Plan(count=3, subset_count=4)
    with pytest.raises(ArgumentError, match="qualities"):
        Plan(qualities=(0, 1, 2))


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict, Path]:
    """A whole measurement of four images, and where its records are."""
    from tests.bench.experiments.conftest import SmallImages, make_tiny_codec

    folder, photos, tiny = tmp_path_factory.mktemp("wanted"), SmallImages(4), make_tiny_codec()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(wanted, "load", lambda model: tiny)
        patched.setattr(wanted, "labelled", lambda name, data, split: photos)
        patched.setattr(wanted_parts, "PICTURES", {"jpeg": wanted_parts.PICTURES["jpeg"]})
        patched.setattr("atdc_bench.experiments.wanted_result.PICTURES", {"jpeg": wanted_parts.PICTURES["jpeg"]})
        result = wanted.run_wanted(
            out=folder / "r.json", count=4, subset_count=2, rival_count=2, val_count=2, qualities=(0, 2, 4, 6),
            resamples=5, codecs=folder / "none", runs=folder / "runs", quiet=True,
        )  # fmt: skip
        wanted.run_wanted(
            out=folder / "more.json", count=4, subset_count=4, rival_count=2, val_count=2, qualities=(0, 2, 4, 6),
            resamples=5, codecs=folder / "none", runs=folder / "runs", quiet=True,
        )  # fmt: skip
        measured_parts: list[Part] = []
        patched.setattr(Part, "measure", lambda part, bench, folder: measured_parts.append(part))
        again = wanted.run_wanted(
            out=folder / "again.json", count=4, subset_count=2, rival_count=2, val_count=2, qualities=(0, 2, 4, 6),
            resamples=5, codecs=folder / "none", runs=folder / "runs", quiet=True,
        )  # fmt: skip
    assert measured_parts == [] and {**again, "provenance": 0} == {**result, "provenance": 0}
    return result, folder


def test_a_run_that_is_repeated_measures_nothing_again_and_says_the_same(measured) -> None:
    result, folder = measured
    assert json.loads((folder / "r.json").read_text()) == json.loads(json.dumps(result))


def test_more_images_of_all_sets_are_measured_where_some_sets_were(measured) -> None:
    _, folder = measured
    more = json.loads((folder / "more.json").read_text())
    assert {row["images"] for row in more["points"] if row["set"] == "kn" and row["system"] == "own"} == {4}


def test_every_arm_of_every_set_has_a_point_for_each_quality(measured) -> None:
    result, _ = measured
    points = {(row["set"], row["system"]): 0 for row in result["points"]}
    for row in result["points"]:
        points[row["set"], row["system"]] += 1
        assert set(row["errors"]) == set(row["set"]) and (row["utility"] is None or row["utility"] <= 1)
        assert ("u6" in row) == (row["set"] == LETTERS)
    assert all(points[letters, arm] == 4 for letters in subsets() for arm in ARMS)
    assert set(result["missing"]) >= {"joint_nd", "alone_s"}


def test_one_tensor_alone_is_the_same_file_whatever_graph_it_is_dropped_from(measured) -> None:
    result, _ = measured
    sizes = {(row["set"], row["system"], row["point"]): row["bytes"] for row in result["points"]}
    for letter in LETTERS:
        for quality in ("0", "2", "4", "6"):
            assert sizes[letter, "dropped", quality] == sizes[letter, "independent", quality]
            assert sizes[letter, "ancestors", quality] >= sizes[letter, "dropped", quality] - 2


def test_containers_of_answers_are_counted_and_told_apart(measured) -> None:
    result, _ = measured
    rows = [row for row in result["points"] if row["system"].startswith("answers-")]
    assert rows and all(0 < row["overhead_bytes"] < row["bytes"] for row in rows)


def test_pages_say_every_size_and_named_set(measured) -> None:
    result, _ = measured
    sizes = [line for line in pages.by_size(result) if line.startswith("| ")]
    assert len(sizes) == 1 + 6 and sizes[1].startswith("| 1 | 6 |")
    named = list(pages.named_sets(result))
    assert all(any(line.startswith(f"| {name} |") for line in named) for name in NAMED.values())
    assert any("not run: no joint_nd.safetensors" in line for line in pages.left_out(result))


def test_rivals_of_single_sets_are_told_where_some_were_run(measured) -> None:
    result, _ = measured
    others = [row for row in result["bd_rates"] if not row["reference"].startswith(("alone", "longer", "joint", "vvc"))]
    assert not list(pages.against_single_rivals(result | {"bd_rates": others}))
    rate = {"setting": "own", "reference": "longer_nd", "over": "nd", "percent": -1.0, "low": -2.0, "high": 0.5}
    at = {"setting": "own", "set": "nd", "family": "longer", "utility": 0.9, "percent": None}
    table = list(
        pages.against_single_rivals(
            result | {"bd_rates": [*others, rate], "against_best": [*result["against_best"], at]}
        )
    )
    assert table[0] == "| wanted | trained longer for all sets | at utility 0.9 |"
    assert "| normals, depth | -1.0 % [-2.0, +0.5] | not reached |" in table
    assert "| segments | not run | – |" in table


def test_parts_of_systems_that_are_missing_are_left_out() -> None:
    plan = Plan(count=4, subset_count=2, rival_count=2)
    names = {part.name for part in parts_of(plan, ["avif", "joint_snd"])}
    assert "avif" not in names and "joint_snd" not in names and "joint_nd" in names


def test_a_graph_of_ancestors_has_a_name() -> None:
    assert (
        name_of(((5, ()), (0, (5,)), (2, (0, 5))))
        == f"{LETTERS[5]} {LETTERS[0]}<{LETTERS[5]} {LETTERS[2]}<{LETTERS[0]}{LETTERS[5]}"
    )


def test_too_few_images_are_refused(tiny_codec: Codec, photos, monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setattr(wanted, "load", lambda model: tiny_codec)
    monkeypatch.setattr(wanted, "labelled", lambda name, data, split: photos)
    with pytest.raises(DataError, match="images"):
        wanted.run_wanted(count=99, runs=tmp_path, out=tmp_path / "r.json")
