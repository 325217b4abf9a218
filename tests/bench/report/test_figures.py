"""Every figure in a sentence is that of its result file, or says that it has none."""

import json
from pathlib import Path

import pytest

from atdc.errors import DataError
from atdc_bench.report.figures import evaluated, pages, problems

ROOT = Path(__file__).parents[3]
PAGES = pages(ROOT)


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """A result file with a rate difference and two points."""
    rates = [
        {"setting": "a", "reference": "b", "over": "U", "percent": -12.36, "low": -15.7, "high": -8.4},
        {"setting": "a", "reference": "b", "over": "rgb", "percent": 3.0, "low": None, "high": None},
    ]
    points = [{"setting": "a, K 1", "quality": 1.0, "bytes": 1234.4}, {"setting": "a, K 1", "quality": 4.0, "bytes": 8}]
    (tmp_path / "made.json").write_text(json.dumps({"bd_rates": rates, "points": points}))
    return tmp_path


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_sentence_says_what_the_files_say(page: Path) -> None:
    assert problems(PAGES[page], ROOT / "results") == []


def test_every_page_with_results_is_checked() -> None:
    names = {str(page.relative_to(ROOT)) for page in PAGES}
    assert {"README.md", "docs/results.md", "docs/real.md", "src/atdc/shipped/real-1.md"} <= names
    assert len(PAGES[ROOT / "README.md"]) > 1000 and sum("docs/decisions" in name for name in names) >= 12


@pytest.mark.parametrize(
    ("said", "source"),
    [
        ("12 %", "-{made rate a b}"),
        ("12.4 %", "-{made rate a b}"),
        ("−12.4 % [−15.7, −8.4]", "{made rate a b}"),
        ("12.4 % [8.4, 15.7]", "-{made rate a b}"),
        ("+3 %", "{made rate a b rgb}"),
        ("1,234 bytes", "{made points/setting=a, K 1;quality=1/bytes}"),
        ("8 and 1,234.4 bytes", "{made points/1/bytes} | {made points/0/bytes}"),
        (".5 %", "({made points/1/bytes} - 6) / 4"),
    ],
)
def test_a_figure_that_rounds_to_its_value_agrees(said: str, source: str, results: Path) -> None:
    assert problems(f"It takes {said} here.\n<!-- figures\n{said} = {source}\n-->\n", results) == []


@pytest.mark.parametrize(
    ("said", "source"),
    [
        ("13 %", "-{made rate a b}"),
        ("12 %", "{made rate a b}"),  # fewer is not more
        ("12.3 %", "-{made rate a b}"),
        ("−12.4 % [−15.7, −8.5]", "{made rate a b}"),
        ("−12.4 % [−8.4, −15.7]", "{made rate a b}"),
        ("1,235 bytes", "{made points/0/bytes}"),
        ("8 and 9 %", "{made points/1/bytes}"),
    ],
)
def test_a_figure_that_is_not_in_the_file_is_found(said: str, source: str, results: Path) -> None:
    (problem,) = problems(f"It takes {said} here.\n<!-- figures\n{said} = {source}\n-->\n", results)
    assert problem.startswith(f'"{said}" is ') and "in the files" in problem


@pytest.mark.parametrize(
    "number", ["7 %", "+1.7", "−3", "0.94", ".70", "4,114", "12 ms", "300 bytes", "16.7°", "5 times"]
)
def test_a_figure_without_a_source_is_found(number: str, results: Path) -> None:
    (problem,) = problems(f"It is {number} now, of 200 images at quality 4 and 256×256.", results)
    assert "has no line under it" in problem


def test_tables_from_files_code_and_links_are_not_prose(results: Path) -> None:
    text = "See [2.5 %](a/1.5.md), `--r 3.5`.\n\n<!-- numbers: rates -->\n7.5 %\n<!-- end -->\n\n```sh\nrun 1.5\n```\n"
    assert [problem.split()[0] for problem in problems(text, results)] == ["2.5"]


def test_what_no_file_has_must_be_admitted(results: Path) -> None:
    hidden = "It was 15 % then.\n<!-- figures\n15 % = once\n-->\n"
    assert len(problems(hidden, results)) == 1
    assert problems(hidden.replace("then.", "then (measured once; no result file is kept)."), results) == []


def test_a_line_for_a_figure_that_nobody_says_is_found(results: Path) -> None:
    (problem,) = problems("Nothing.\n<!-- figures\n15 % = given\n-->\n", results)
    assert problem == '"15 %" is not in "Nothing."'


@pytest.mark.parametrize(
    "source",
    [
        "{absent rate a b}",
        "{made rate b a}",
        "{made points/9/bytes}",
        "{made points/quality=2/bytes}",
        "2 ** 3",
        "print()",
    ],
)
def test_what_is_in_no_file_or_no_expression_is_an_error_of_ours(source: str, results: Path) -> None:
    with pytest.raises(DataError):
        evaluated(source, results)


def test_an_interval_that_was_refused_cannot_be_told(results: Path) -> None:
    with pytest.raises(DataError, match="no interval"):
        evaluated("{made rate a b rgb}", results, interval=True)


@pytest.mark.parametrize("text", ["<!-- figures\n15 % = given\n-->\n", "It is so.\n<!-- figures\n15 %\n-->\n"])
def test_a_comment_without_a_paragraph_or_a_source_is_an_error(text: str, results: Path) -> None:
    with pytest.raises(DataError):
        problems(text, results)
