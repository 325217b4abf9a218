"""The page of reference names all that it is to name: settings with their defaults, errors, variables."""

import ast
import dataclasses
import re
from pathlib import Path

import atdc
from atdc.config import FitRecipe, Recipe
from atdc.errors import AtdcError

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")


def test_every_setting_of_a_training_is_told_with_its_default() -> None:
    section = PAGE.partition("## Settings of `atdc train`")[2].partition("\n## ")[0]
    told = dict(re.findall(r"^\| `([\w.]+)` \| `([^`]+)` \|", section, re.MULTILINE))
    expected: dict[str, object] = {}
    for setting in dataclasses.fields(Recipe):
        value = getattr(Recipe(), setting.name)
        if setting.name in ("networks", "tasks"):
            expected |= {f"{setting.name}.{name}": inner for name, inner in dataclasses.asdict(value).items()}
        elif setting.name != "codec":
            expected[setting.name] = value
    assert {name: ast.literal_eval(value) for name, value in told.items()} == expected


def test_every_setting_of_a_fit_is_told_with_its_default() -> None:
    told = dict(
        re.findall(
            r"^\| `(\w+)` \| `([^`]+)` \|",
            PAGE.partition("## Settings of `atdc fit`")[2].partition("\n## ")[0],
            re.MULTILINE,
        )
    )
    assert {name: ast.literal_eval(value) for name, value in told.items()} == {
        setting.name: setting.default for setting in dataclasses.fields(FitRecipe)
    }


def test_every_error_and_warning_is_told() -> None:
    public = [name for name in atdc.__all__ if isinstance(getattr(atdc, name), type)]
    told = [name for name in public if issubclass(getattr(atdc, name), (AtdcError, Warning)) and name != "AtdcError"]
    assert len(told) > 15
    assert not [name for name in told if f"`{name}`" not in PAGE]


def test_every_variable_is_told() -> None:
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "src" / "atdc").rglob("*.py")]
    read = {name for text in sources for name in re.findall(r'"(ATDC_[A-Z]+)"', text)}
    assert {"ATDC_MODEL", "ATDC_WEIGHTS", "ATDC_NETWORKS"} <= read
    assert not [name for name in read if f"| `{name}` |" not in PAGE]
