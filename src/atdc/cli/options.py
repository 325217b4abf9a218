"""Options that several commands share, and what checks them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated

import typer

from atdc.config import DEFAULT_MODEL, MAX_QUALITY
from atdc.graph.search import SETTINGS

PASSED_OVER = "Hidden files, and linked folders that are not named themselves, are passed over."
RESUMES = "The same command resumes from there."
HELP_NAMES = {"help_option_names": ["-h", "--help"]}


def in_range(value: float | None) -> float | None:
    """The quality, if it is one; otherwise a usage error."""
    if value is not None and not 0 <= value <= MAX_QUALITY:
        raise typer.BadParameter(f"{value:g} is out of range; qualities run from 0 (fewest bytes) to {MAX_QUALITY}.")
    return value


def graph_setting(value: str) -> str:
    """The graph setting, if it is one; otherwise a usage error."""
    return known("graph setting", value, SETTINGS)


def known(kind: str, name: str, names: Sequence[str]) -> str:
    """The name, if it is one of them; otherwise a usage error with the nearest and with all."""
    if name in names:
        return name
    near = get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f" Did you mean {near[0]}?" if near else ""
    raise typer.BadParameter(f"unknown {kind} {name!r}.{hint} Known: {', '.join(names)}.")


def listed(value: str) -> list[str]:
    """The names in a list with commas."""
    return [name.strip() for name in value.split(",") if name.strip()]


def numbers(option: str, value: str, example: str) -> list[float]:
    """The numbers in a list with commas; otherwise a usage error that gives the example."""
    try:
        return [float(word) for word in listed(value)]
    except ValueError:
        raise typer.BadParameter(f"{option}: {value!r} should be numbers with commas between, as {example}.") from None


def starting_with(names: Iterable[str]) -> Callable[[str], list[str]]:
    """What completes a word to one of the names."""
    return lambda incomplete: [name for name in names if name.startswith(incomplete)]


Device = Annotated[str, typer.Option("--device", help="Where networks run: cpu, or cuda.")]
Quality = Annotated[
    float,
    typer.Option(
        "--quality", "-q", callback=in_range, help=f"0 (fewest bytes) to {MAX_QUALITY} (best answers), in steps of 1/8."
    ),
]
Graph = Annotated[
    str,
    typer.Option(
        "--graph",
        metavar="SETTING",
        callback=graph_setting,
        autocompletion=starting_with(SETTINGS),
        help="How the task graph is chosen: " + ", ".join(SETTINGS) + ".",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Print errors only.")]
Data = Annotated[Path, typer.Option("--data", metavar="FOLDER", help="Rendered rooms; made if absent.")]
ModelToUse = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar="NAME|FILE",
        help=f"Shipped weights by name, or a .safetensors file; by default what ATDC_MODEL names, or {DEFAULT_MODEL}.",
    ),
]
Networks = Annotated[
    str | None,
    typer.Option(
        "--networks",
        metavar="NAME|FILE",
        help="Your networks, as for `atdc networks check`: images go through their first halves, files through "
        "their second halves.",
    ),
]
ModelAtHand = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar="NAME|FILE",
        help="The weights that wrote the file: they add names, the graph and the integers. Without the option: those "
        "that wrote it, if they are shipped, or where ATDC_MODEL or ATDC_WEIGHTS says; otherwise none.",
    ),
]
PixelLimit = Annotated[
    int,
    typer.Option(
        "--pixel-limit",
        metavar="N",
        min=1,
        help="Refuse larger images (height times width), before any memory is taken for them.",
    ),
]
Files = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="FILE",
        help=f"Files written by `atdc encode`, folders of them (with all below), patterns, or - for standard input. "
        f"{PASSED_OVER}",
    ),
]
FromFile = Annotated[
    str | None,
    typer.Option(
        "--from-file", metavar="LIST", help="Inputs from a file, one a line or with NULs between; - for standard input."
    ),
]
SkipExisting = Annotated[
    bool, typer.Option("--skip-existing", help="Leave out inputs whose output is there: resume after a stop.")
]
Force = Annotated[
    bool,
    typer.Option("--force", help="Replace outputs that exist with other content; without it they are refused."),
]
Jobs = Annotated[
    int, typer.Option("--jobs", "-j", metavar="N", min=1, help="Processes that share the inputs; same bytes as with 1.")
]
