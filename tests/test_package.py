"""What is installed is what messages and documents speak of."""

import re
import tomllib
from pathlib import Path

import typer.main

from atdc.adapters.network_set import NETWORK_SETS
from atdc.cli import app
from atdc.config import FIT_RECIPES, RECIPES, load_fit_recipe, load_recipe, shipped_recipes
from atdc_bench.cli import app as measuring
from atdc_bench.compare_recipe import COMPARE_RECIPES, load_compare_recipe

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src"
FOLDERS = (RECIPES, FIT_RECIPES, COMPARE_RECIPES, NETWORK_SETS)
SHIPPED = {name for folder in FOLDERS for name in shipped_recipes(folder)}


def test_every_file_of_the_packages_goes_into_the_wheel() -> None:
    patterns = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    assert set(patterns) == {path.name for path in SOURCE.iterdir() if (path / "__init__.py").exists()}
    for name, own in patterns.items():
        package = SOURCE / name
        there = {path for path in package.rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")}
        assert there == {path for pattern in own for path in package.glob(pattern)}
    assert {path.stem for path in SOURCE.rglob("*.yaml")} == SHIPPED


def test_every_recipe_that_is_recommended_is_shipped() -> None:
    speaking = [*SOURCE.rglob("*.py"), *SOURCE.rglob("*.yaml"), *SOURCE.rglob("*.md"), *ROOT.glob("docs/*.md")]
    found = {
        (path.name, name)
        for path in (*speaking, ROOT / "README.md", ROOT / "Makefile")
        for name in re.findall(r"(?:--recipe |RECIPE ?\??= ?)([\w./]+)", path.read_text())
    }
    assert {"small", "real", "compare_nyuv2"} <= {name for _, name in found}
    assert not {(file, name) for file, name in found if name not in SHIPPED}


def test_every_recipe_that_a_command_takes_by_default_loads() -> None:
    commands = typer.main.get_group(app).commands | typer.main.get_group(measuring).commands
    defaults = {
        name: option.default
        for name, command in commands.items()
        for option in command.params
        if option.name == "recipe" and option.default is not None
    }
    assert len(defaults) >= 7
    for name, default in defaults.items():
        load = load_compare_recipe if "compare" in str(default) else load_recipe
        assert load(Path(default)).name == str(default), name
    for name in ("fit", "fit_networks", "fit_networks_wide", "fit_networks_further", "fit_entropy"):
        assert load_fit_recipe(Path(name)).name == name
