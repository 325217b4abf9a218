"""Templates show values as text, miss none silently, and are read only where a page is made."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from atdc.report import templates
from atdc.report.templates import rendered

SOURCE = Path(templates.__file__).parents[2]
OF_CODE = {"drawn.graph", "drawn.wanted", "sample(styles[name])", "together.svg", "panel.svg", "as_added.svg"}
"""Drawings and tables that code has made as HTML, their words escaped: see the tests of each."""


def test_nothing_is_let_through_as_html_but_what_code_has_drawn() -> None:
    files = sorted(SOURCE.rglob("*.html"))
    found = {match for file in files for match in re.findall(r"{{ ([^}]*)\|\s*safe", file.read_text("utf-8"))}
    assert len(files) == 6 and found == OF_CODE
    assert not any("autoescape" in file.read_text("utf-8") for file in files)


def test_a_value_that_is_missing_is_an_error() -> None:
    with pytest.raises(KeyError, match=r"demo.html: 'title' is undefined"):
        rendered("atdc.report", "demo.html", shown=[], items=[])


@pytest.mark.parametrize("arguments", [None, ["--help"], ["demo", "--help"]])
def test_templates_are_loaded_where_a_page_is_made_and_nowhere_else(arguments: list[str] | None) -> None:
    code = "import sys, atdc\n"
    if arguments is not None:
        code += (
            f"sys.argv = {['atdc', *arguments]!r}\nfrom atdc.cli import main\ntry: main()\nexcept SystemExit: pass\n"
        )
    code += "assert 'atdc' in sys.modules and 'jinja2' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
