"""The figures in sentences: each is read again from its result file, or said to have none.

After a paragraph with figures stands a comment, which no reader sees, with a line for each of them::

    A good graph saves 42 % of the bytes.
    <!-- figures
    42 % = -{evaluate_small rate fixed independent}
    -->

On the left stands what the paragraph says, letter by letter; on the right how its numbers follow from result files.
``{evaluate_small points/setting=fixed;quality=1/bytes_mean}`` is a value of ``results/evaluate_small.json``: a step is
a key, a place in a list, or conditions that one entry of a list fulfils. ``{FILE rate A B}`` is the rate difference of
A against B at equal U, or of a task (``{FILE rate A B depth_zbuffer}``); when the sentence has its interval, ``+1.7 %
[−0.4, +4.0]``, that is compared, too. Values are combined by ``+ - * /`` and numbers; several, in the order of the
sentence, are set apart by ``|``. A number agrees when it is the value, rounded as the sentence rounds, sign included.

Two words stand for what has no file: ``given`` for settings, definitions and what others claim, wherever they stand in
the paragraph; and ``once`` for what was measured once and kept in none, which the paragraph has to admit with the words
of :data:`ADMISSION`.

Every number with a unit, a sign, decimals or thousands must be in such a comment.
"""

from __future__ import annotations

import ast
import json
import operator
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from atdc.errors import DataError

ADMISSION = "no result file"
_COMMENT = re.compile(r"<!-- figures\n(.*?)-->\n?", re.DOTALL)
_NUMBER = re.compile(r"[+−-]?\d[\d,]*(?:\.\d+)?|[+−-]?\.\d+")
_UNIT = r"(?= ?(?:%|ms\b|bytes\b|MB\b|dB\b|MMAC\b|GMAC\b|°|times\b))"
_QUANTITY = re.compile(
    rf"(?<![\w.×²-])(?:[+−]\d[\d,.]*\d|[+−]\d|\d[\d,]*\.\d+|\.\d+|\d+(?:,\d{{3}})+|\d[\d,]*{_UNIT})(?![\w×])"
)
_NOT_PROSE = re.compile(r"<!-- numbers: .*?<!-- end -->|```.*?```|`[^`\n]*`|\]\([^)]*\)|<sub>.*?</sub>", re.DOTALL)
_REFERENCE = re.compile(r"\{([^}]*)\}")
_OPERATIONS: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
}  # fmt: skip


@dataclass(frozen=True)
class Paragraph:
    """Some lines of a page without a blank one between them, and what their comment says of their figures."""

    text: str
    figures: tuple[tuple[str, str], ...]


def pages(root: Path) -> dict[Path, str]:
    """What is checked, by file: the README, pages of results, decisions, and cards of weights."""
    results = [root / "docs" / f"{name}.md" for name in ("results", "real", "published-networks")]
    documents = [*root.glob("docs/decisions/0*.md"), *root.glob("src/atdc/shipped/*.md")]
    return {page: page.read_text(encoding="utf-8") for page in (root / "README.md", *results, *sorted(documents))}


def problems(text: str, results: Path) -> list[str]:
    """What is wrong with a page's figures: a sentence each; empty when all are as the files have them.

    Args:
        text: Markdown.
        results: folder of result files.

    >>> problems("It saves 40 % of 3.", Path("results"))
    ['40 of "It saves 40 % of 3." has no line under it that says where it comes from']
    """
    return [problem for paragraph in paragraphs(text) for problem in _problems_of(paragraph, results)]


def paragraphs(text: str) -> Iterator[Paragraph]:
    """The paragraphs of a page, without tables that are written from result files, code and targets of links.

    Raises:
        DataError: a comment that stands under no paragraph, or a line of it that says nothing.
    """
    for part in re.split(r"\n\s*\n", _NOT_PROSE.sub(lambda match: "\n" if "\n" in match[0] else "¤", text)):
        lines = [line for comment in _COMMENT.findall(part) for line in comment.splitlines()]
        figures = []
        for line in lines:
            words, separator, source = line.rpartition(" = ")
            if not separator:
                raise DataError("comment with figures", repr(line), "what the text says = where that comes from")
            figures.append((words, source.strip()))
        prose = " ".join(_COMMENT.sub("", part).split())
        if figures and not prose:
            raise DataError("comment with figures", repr(lines[0]), "a paragraph just above it")
        yield Paragraph(prose, tuple(figures))


def _problems_of(paragraph: Paragraph, results: Path) -> Iterator[str]:
    prose = paragraph.text
    for words, source in sorted(paragraph.figures, key=lambda figure: -len(figure[0])):  # long ones may hold short ones
        if words not in prose:
            yield f'"{words}" is not in "{_start(paragraph.text)}"'
            continue
        bare = rf"(?<!\d){re.escape(words)}(?!\d)" if source == "given" else re.escape(words)
        prose = re.sub(bare, "¤", prose, count=0 if source == "given" else 1)  # a setting may be named again and again
        if source == "once" and ADMISSION not in paragraph.text.lower():
            yield f'"{words}" has no file, and "{_start(paragraph.text)}" does not admit it: "{ADMISSION}"'
        if source in ("given", "once"):
            continue
        numbers = [number.replace("−", "-") for number in _NUMBER.findall(words)]
        values = [value for part in source.split(" | ") for value in evaluated(part, results, "[" in words)]
        if len(values) != len(numbers) or not all(map(_agree, numbers, values)):
            yield f'"{words}" is {", ".join(f"{value:.4f}" for value in values)} in the files ({source})'
    for number in _QUANTITY.findall(prose):
        yield f'{number} of "{_start(paragraph.text)}" has no line under it that says where it comes from'


def _agree(text: str, value: float) -> bool:
    number = text.replace(",", "")
    step = 10.0 ** -len(number.partition(".")[2])
    return abs(float(number) - value) <= step * (0.5 + 1e-9)


def _start(text: str) -> str:
    return text if len(text) < 60 else text[:60] + "…"


def evaluated(source: str, results: Path, interval: bool = False) -> list[float]:
    """The value of an expression; of a rate difference with its interval, if that is wanted.

    Raises:
        DataError: no such value in a file, or no such expression.

    >>> evaluated("100 * (3 - 2) / 4", Path("results"))
    [25.0]
    """
    source = source.strip()
    single = _REFERENCE.fullmatch(source.removeprefix("-"))
    if single is not None and interval and isinstance(row := _looked_up(single[1], results), Mapping):
        if row["low"] is None:
            raise DataError("figure", f"{source!r}, which has no interval", "a rate difference with one")
        percent, low, high = (float(row[key]) for key in ("percent", "low", "high"))
        return [-percent, -high, -low] if source.startswith("-") else [percent, low, high]
    values: list[float] = []

    def placed(match: re.Match[str]) -> str:
        value = _looked_up(match[1], results)
        values.append(float(value["percent"] if isinstance(value, Mapping) else value))
        return f"v{len(values) - 1}"

    try:
        return [_computed(ast.parse(_REFERENCE.sub(placed, source), mode="eval").body, values)]
    except (SyntaxError, TypeError, KeyError) as error:
        raise DataError("figure", f"{source!r}: {error}", "values of result files, numbers and + - * /") from error


def _computed(node: ast.expr, values: Sequence[float]) -> float:
    match node:
        case ast.Constant(value=int() | float() as number):
            return float(number)
        case ast.Name(id=name):
            return values[int(name[1:])]
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_computed(operand, values)
        case ast.BinOp(left=left, op=operation, right=right):
            return _OPERATIONS[type(operation)](_computed(left, values), _computed(right, values))
    raise TypeError(f"{ast.unparse(node)} is no value, sum, difference, product or quotient")


def _looked_up(reference: str, results: Path) -> Any:
    file, _, path = reference.partition(" ")
    try:
        value = _read(results / f"{file}.json")
        if path.startswith("rate "):
            name, rival, *over = path.split()[1:]
            return _rate(value["bd_rates"], name, rival, over[0] if over else "U")
        for step in path.split("/"):
            value = _selected(value, step) if isinstance(value, list) else value[step]
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise DataError(f"figure {{{reference}}}", repr(error), "a value of a result file") from error
    return value


def _rate(rows: Sequence[Mapping[str, Any]], name: str, rival: str, over: str) -> Mapping[str, Any]:
    conditions = {"reference": rival, "over": over}
    (row,) = [
        row
        for row in rows
        if name in (row.get("system"), row.get("setting"), row.get("model"))
        and all(row[key] == value for key, value in conditions.items())
    ]
    return row


def _selected(rows: Sequence[Any], step: str) -> Any:
    if step.isdigit():
        return rows[int(step)]
    conditions = dict(condition.split("=") for condition in step.split(";"))
    (row,) = [row for row in rows if all(_written(row[key]) == value for key, value in conditions.items())]
    return row


def _written(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


@cache
def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
