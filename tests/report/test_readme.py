"""The README's numbers are those of the result files, and its commands and links exist."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from atdc import cli
from atdc.errors import DataError
from atdc.graph.search import SETTINGS
from atdc.report.readme import BLOCKS, PAGES, fill
from atdc.tasks import TASKS

ROOT = Path(__file__).parents[2]
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
    (tmp_path / "premise_small.json").write_text("{}")
    with pytest.raises(DataError, match="premise_small"):
        fill("<!-- numbers: premise -->\n<!-- end -->", tmp_path)
