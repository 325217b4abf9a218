"""Tasks are rows: nothing else knows one by name, words that nobody knows are refused, and a further row is enough."""

import ast
import dataclasses
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch

from atdc.data.targets import TARGET_FORMS, decode_stored
from atdc.errors import ArgumentError
from atdc.graph import search
from atdc.tasks import (
    BY_NAME,
    IMAGE_TASK,
    LETTERS,
    PAPER_ORDER,
    SEMANTICS_TO_SIGNAL,
    TASK_NAMES,
    TASKS,
    Task,
    task_named,
)
from atdc.tasks.answers import ANSWER_FORMS, answer_form, presented
from atdc.tasks.task import registry

SOURCE = Path(__file__).parents[1] / "src"
TABLE = "atdc/tasks/taskonomy.py"
MAPPINGS = {
    "atdc/data/labelled.py": {"rgb"},  # what all networks see, by its name in every data set
    "atdc/data/nyuv2.py": {"segment_semantic", "normal", "depth_zbuffer", "rgb"},
    "atdc/data/rooms/__init__.py": {"keypoints2d", "edge_texture"},  # functions of these names
    "atdc/data/rooms/render.py": {"segment_semantic", "normal", "depth_zbuffer", "rgb"},
    "atdc/data/rooms/targets.py": {"keypoints2d", "edge_texture"},  # functions of these names
    "atdc/data/taskonomy.py": set(TASK_NAMES),
    "atdc/adapters/image_input.py": {"rgb"},  # an order of colours, next to bgr
}
"""Data sets, which say which of their files hold which targets, and words that mean something else."""
NORMAL_EFFORT = {
    "atdc/cli/coding.py", "atdc/codec.py", "atdc/cli/encoding.py", "atdc/pipeline.py",
    "atdc_bench/experiments/balance.py", "atdc_bench/experiments/compare.py", "atdc_bench/experiments/evaluate.py",
    "atdc_bench/experiments/speed.py", "atdc_bench/experiments/compare_weights.py", "atdc_bench/report/result_lines.py",
}  # fmt: skip
"""Where ``normal`` is an effort, besides ``high``."""

SEVENTH = """
TASKS = (*TASKS, Task(
    name="curvature", letter="c", title="curvature of surfaces", short_title="curves", out_channels=1, target="share",
    loss="l1", measure="absolute", error="L1", metric="L1", better="lower", presentation="share",
    scaling="share of the largest", source="made up", needs_scene=True,
))
"""


def names_said(path: Path) -> set[str]:
    """The names of tasks among a module's strings."""
    texts = (node.value for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Constant))
    return {text for text in texts if isinstance(text, str)} & set(TASK_NAMES)


def test_no_module_but_the_table_and_data_sets_knows_a_task_by_name() -> None:
    said = {path.relative_to(SOURCE).as_posix(): names_said(path) for path in SOURCE.rglob("*.py")}
    assert said.pop(TABLE) == set(TASK_NAMES)
    for module, names in MAPPINGS.items():
        assert said[module] == names, f"{module} says {said[module]}"
        del said[module]
    assert {module for module, names in said.items() if "normal" in names} == NORMAL_EFFORT
    assert {module: names - {"normal"} for module, names in said.items() if names - {"normal"}} == {}


@pytest.mark.parametrize("column", ["target", "loss", "measure", "presentation", "better", "formula"])
def test_a_word_that_no_registry_knows_is_an_error_that_names_the_known(column: str) -> None:
    with pytest.raises(ArgumentError, match=rf"task rgb: {column}: found 'guess'; expected one of \w+, \w+"):
        dataclasses.replace(BY_NAME["rgb"], **{column: "guess"})


@pytest.mark.parametrize(
    ("task", "change"),
    [
        ("normal", {"out_channels": 1}), ("rgb", {"out_channels": 4}), ("depth_zbuffer", {"out_channels": 2}),
        ("segment_semantic", {"out_channels": 0}), ("segment_semantic", {"loss": "l1"}),
        ("rgb", {"loss": "cross_entropy"}), ("rgb", {"letter": "rg"}), ("rgb", {"letter": ""}),
    ],
)  # fmt: skip
def test_a_row_that_contradicts_itself_cannot_be_built(task: str, change: dict[str, object]) -> None:
    with pytest.raises(ArgumentError, match=f"task {task}: {next(iter(change))}"):
        dataclasses.replace(BY_NAME[task], **change)


def test_a_registry_has_one_entry_for_each_word() -> None:
    words = Literal["a", "b"]
    assert registry(words, {"b": 1, "a": 2}) == {"a": 2, "b": 1}
    for entries in ({"a": 1}, {"a": 1, "b": 1, "c": 1}, {}):
        with pytest.raises(ArgumentError, match="one entry for each of a, b"):
            registry(words, entries)


def test_an_unknown_task_is_answered_with_those_there_are() -> None:
    for use in (task_named, answer_form, lambda name: decode_stored(name, np.zeros((1, 1, 1, 1), np.uint8))):
        with pytest.raises(ArgumentError, match="'depth'; expected one of segment_semantic, keypoints2d"):
            use("depth")


def test_orders_of_the_table_are_of_its_letters_and_the_search_spells_the_papers() -> None:
    for order in (PAPER_ORDER, SEMANTICS_TO_SIGNAL):
        assert sorted(order) == sorted(LETTERS)
    assert "".join(LETTERS[task] for task in search.PAPER_ORDER) == PAPER_ORDER == "nsdkta"
    assert BY_NAME[IMAGE_TASK].letter == "a"


@pytest.mark.parametrize("task", TASKS, ids=TASK_NAMES)
def test_an_answer_goes_back_to_an_output_that_is_presented_as_it(task: Task) -> None:
    output = torch.randn((1, task.out_channels, 5, 7), generator=torch.Generator().manual_seed(0))
    answer = presented(task.name, output)
    assert answer.shape == ((5, 7) if task.answer_channels is None else (5, 7, task.answer_channels))
    form = ANSWER_FORMS[task.presentation]
    again = presented(task.name, form.as_output(answer))
    assert again.dtype == answer.dtype
    np.testing.assert_allclose(again, answer, rtol=1e-5, atol=1e-6)
    target = form.as_target(answer)
    np.testing.assert_allclose(form.of_target(target[0].numpy()), answer, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("task", TASKS, ids=TASK_NAMES)
def test_what_decodes_to_nothing_is_not_measured(task: Task) -> None:
    form = TARGET_FORMS[task.target]
    if form.nothing is None:
        assert form.measured(torch.zeros(1, task.out_channels, 2, 2)) is None
        return
    channels = 1 if form.one_channel else task.out_channels
    valid = form.measured(torch.full((1, channels, 2, 2), form.nothing))
    assert valid is not None and valid.shape == (1, 1, 2, 2) and not valid.any()


def with_seventh_row(folder: Path, row: str = SEVENTH) -> dict[str, str]:
    """An environment in which the package's table has a row more."""
    shutil.copytree(SOURCE / "atdc", folder / "atdc", ignore=shutil.ignore_patterns("weights", "__pycache__"))
    table = folder / TABLE
    table.write_text(table.read_text("utf-8") + row, "utf-8")
    return os.environ | {"PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"}


@pytest.mark.slow
def test_a_further_row_and_its_data_are_all_that_a_further_task_takes(tmp_path: Path) -> None:
    environment = with_seventh_row(tmp_path)
    script = Path(__file__).with_name("seventh_task.py")
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path)],
        env=environment, cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('presentation="share"', 'presentation="vector"', "task curvature: presentation: found 'vector'"),
        ('letter="c"', 'letter="a"', "names and letters that differ"),
        ('name="curvature"', 'name="normal"', "names and letters that differ"),
        ('target="share"', 'target="image"', "found 2 rows whose target is the image; expected one"),
    ],
)
def test_a_row_that_does_not_fit_is_an_error_at_import(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert SEVENTH.count(old) == 1
    environment = with_seventh_row(tmp_path, SEVENTH.replace(old, new))
    done = subprocess.run(
        [sys.executable, "-c", "import atdc.tasks"], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode != 0 and said in done.stderr
