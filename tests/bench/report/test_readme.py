"""The README's numbers are those of the result files, and its commands and links exist."""

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from typer.testing import CliRunner

from atdc import cli
from atdc.errors import DataError
from atdc.graph.search import SETTINGS
from atdc.tasks import TASKS
from atdc_bench import cli as measuring
from atdc_bench.report.readme import PAGES, fill
from atdc_bench.report.registry import BLOCKS
from atdc_bench.report.result_lines import _difference

ROOT = Path(__file__).parents[3]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_every_number_comes_from_a_result_file() -> None:
    shown = set()
    for name, link in PAGES.items():
        text = (ROOT / name).read_text(encoding="utf-8")
        assert fill(text, ROOT / "results", link) == text, "cure: make readme"
        shown |= set(re.findall(r"<!-- numbers: (\w+) -->", text))
    assert shown == set(BLOCKS)


def test_links_lead_to_files() -> None:
    for name in PAGES:
        page = ROOT / name
        targets = re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8"))
        assert targets
        assert not [t for t in targets if not t.startswith("http") and not (page.parent / t).exists()]


def test_the_commands_shown_are_understood() -> None:
    for line in re.findall(r"^(atdc \w+)", README, re.MULTILINE):
        assert CliRunner().invoke(cli.app, [line.split()[1], "--help"]).exit_code == 0
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in set(re.findall(r"^make ([a-z]+)", README, re.MULTILINE)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_every_task_and_setting_is_told() -> None:
    for task in TASKS:
        assert f"| {task.letter} | `{task.name}` |" in README
    for setting in SETTINGS:
        assert f"`{setting}`" in README


def test_an_unknown_block_and_a_damaged_result_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="one of rates, points"):
        fill("<!-- numbers: prices -->\n<!-- end -->", tmp_path)
    (tmp_path / "score_calibration_small.json").write_text("{}")
    with pytest.raises(DataError, match="score_calibration_small"):
        fill("<!-- numbers: calibration -->\n<!-- end -->", tmp_path)


def block(page: str, name: str) -> str:
    """What stands between the markers of a block."""
    found = re.search(rf"<!-- numbers: {name} -->\n(.*?)<!-- end -->", (ROOT / page).read_text("utf-8"), re.DOTALL)
    assert found is not None, name
    return found[1]


def test_every_system_that_learned_here_shows_its_steps_and_whether_it_was_done() -> None:
    rows = {
        row.split("`")[1]: row
        for row in block("docs/results.md", "systems").splitlines()
        if row[:1] == "|" and "(`" in row
    }
    compared = json.loads((ROOT / "results/compare_small/compare.json").read_text("utf-8"))["systems"]
    assert {"ours", "paper", "elic", "mlic"} <= set(rows)
    for name, row in rows.items():
        steps = row.rstrip(" |").rpartition("|")[2].strip()
        learned, trained = compared[name]["family"] != "pixels", compared[name]["trained"]
        assert (steps != "–") == learned, name
        assert steps.endswith("²") == (learned and (trained is None or trained["undertrained"])), name


def test_no_row_of_a_system_that_still_learned_carries_a_verdict() -> None:
    shown = block("docs/results.md", "systems") + block("docs/results.md", "bytask")
    marked = [row for row in shown.splitlines() if "²" in row]
    assert len(marked) > 10 and not [row for row in marked if "**" in row]


def test_a_verdict_is_bold_and_needs_an_interval_clear_of_zero() -> None:
    row = {"percent": -9.14, "low": -10.0, "high": -8.0, "monotone": True, "resamples": 300, "resamples_refused": 0}
    assert _difference(row) == "**-9.1 %** [-10.0, -8.0]"
    assert _difference(row, finished=False) == "-9.1 % [-10.0, -8.0]"
    assert _difference(row | {"high": 0.1}) == "-9.1 % [-10.0, +0.1]"
    assert _difference(row | {"monotone": False}) == "**-9.1 %** [-10.0, -8.0] ¹"


def test_an_interval_says_of_how_many_resamples_it_is_where_some_were_refused() -> None:
    row = {"percent": -9.14, "low": -10.0, "high": -8.0, "monotone": True, "resamples": 300, "resamples_refused": 20}
    assert _difference(row) == "**-9.1 %** [-10.0, -8.0] of 280/300"
    assert _difference(row | {"low": None, "high": None}) == "-9.1 % (no interval: 280/300)"


COMMANDS = sorted({(block.command, block.file) for block in BLOCKS.values()})
FORMER = {"premise": "score-calibration", "versus": "compare-weights", "tune-encoders": "joint-finetune"}
"""What commands are called now by what older files call them."""
MACHINES_OWN = {"quiet", "run", "data", "codecs", "out", "only", "workers", "picture"}
"""Options of a recorded command that do not decide what is measured."""


def parsed_command(command: str) -> dict[str, Any]:
    """A command's parameters, with what the command line takes for those that are not named.

    Older files recorded ``atdc bench`` for ``atdc bench speed``, and the other measuring commands without ``bench``.
    """
    name, *arguments = shlex.split(command)[1:]
    if name == "bench":
        name, *arguments = ["speed", *arguments] if arguments[0].startswith("-") else arguments
    name = FORMER.get(name, name)
    found = typer.main.get_group(measuring.app).commands | typer.main.get_group(cli.app).commands
    with found[name].make_context(name, arguments) as context:
        return dict(context.params)


@pytest.mark.parametrize(("command", "file"), COMMANDS)
def test_a_shown_command_makes_its_file(command: str, file: str) -> None:
    """With the number of images, the steps and every option that the file records, spelt out."""
    found = json.loads((ROOT / "results" / file).read_text("utf-8"))
    taken, recorded = parsed_command(command), parsed_command(found["provenance"]["command"])
    for parameters in (taken, recorded):  # a recipe goes by its name, whatever folder it was in
        if "recipe" in parameters:
            parameters["recipe"] = Path(parameters["recipe"]).stem
    decide = set(taken) - MACHINES_OWN
    assert {key: taken[key] for key in decide} == {key: recorded[key] for key in decide}
    if "count" in taken:
        assert taken["count"] == (found["data"]["images"] if "data" in found else found["count"])
        assert f"--count {taken['count']}" in command
    if "steps" in taken and isinstance(found.get("steps"), int):
        assert taken["steps"] == found["steps"] and f"--steps {taken['steps']}" in command
    if "images" in taken and isinstance(taken["images"], int):
        assert taken["images"] * found["data"]["rounds"] == found["data"]["images"]
    if "recipe" in found:
        recipe = yaml.safe_load(
            (ROOT / "src" / "atdc_bench" / "recipes" / f"{taken['recipe']}.yaml").read_text("utf-8")
        )
        assert recipe["images"] == found["data"]["images"] and recipe["qualities"] == found["recipe"]["qualities"]
    if taken.get("out") is not None:
        assert ROOT / taken["out"] in (ROOT / "results" / file, (ROOT / "results" / file).parent)


@pytest.mark.parametrize("command", [command for command, _ in COMMANDS])
def test_make_makes_the_files_with_the_commands_shown(command: str) -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8").replace("$(BIN)/", "").replace('"$(NYUV2)"', "nyuv2")
    assert command in re.sub(r" --(run|workers) \$\(\w+\)", "", makefile)


def test_captions_say_what_has_to_be_renewed() -> None:
    """Older code, older weights, sources that differ from their commit, no seed: of the whole, or of some rows."""
    pages = {
        "entropy": "docs/results.md",
        "fuzz": "README.md",
        "weightsrooms": "docs/real.md",
        "systems": "docs/results.md",
    }
    captions = {name: block(page, name).splitlines()[-1] for name, page in pages.items()}
    assert "older code; weights `e2429603`, not shipped any more" in captions["entropy"]
    assert "To renew" not in captions["fuzz"]
    assert "uncommitted changes; no seed recorded" in captions["weightsrooms"]
    assert "uncommitted changes (`ours-balanced`)" in captions["systems"]
    assert re.search(r"weights `83ac57a8`, not shipped any more \([^)]*`elic`\)", captions["systems"])
