"""Commands that make weights, and the data they are made from: ``atdc data`` and ``atdc train``."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal, cast

import typer

from atdc.cli.batch import INTERRUPTED, complain, warnings_as_lines
from atdc.cli.batch import out as console
from atdc.cli.options import HELP_NAMES, RESUMES, Data, Device, known
from atdc.data.data_sets import DATA_SETS, labelled
from atdc.errors import OutputError
from atdc.terminal import escape

PANEL = "Make the weights"
_SUFFIX = ".safetensors"
data_app = typer.Typer(invoke_without_command=True, context_settings=HELP_NAMES)


def register(app: typer.Typer) -> None:
    """Adds the commands to an application."""
    app.add_typer(data_app, name="data", rich_help_panel=PANEL)
    app.command(rich_help_panel=PANEL)(train)


class Layout(StrEnum):
    """Folder layouts that data sets can be written in."""

    TASKONOMY = "taskonomy"


@data_app.callback()
def data(
    ctx: typer.Context,
    split: Annotated[
        list[str] | None, typer.Option("--split", metavar="NAME", help="train, val, test or test_styles; repeatable.")
    ] = None,
    folder: Data = Path("data/rooms"),
    count: Annotated[int | None, typer.Option(help="Rooms of each split; all by default.")] = None,
    workers: Annotated[int | None, typer.Option(help="Processes; one per core by default.")] = None,
) -> None:
    """Render the rooms: procedural indoor scenes with the ground truth for all six tasks. A stopped call resumes.

    [bold]Examples[/bold]

        atdc data
        atdc data --split val --count 50 --data /tmp/rooms
    """
    from atdc.data.rooms import SPLITS, materialise

    if ctx.invoked_subcommand is not None:
        return
    names = split or list(SPLITS)
    for name in names:
        known("split", name, list(SPLITS))
    for name in names:
        materialise(folder, name, count=count, workers=workers)
        console.print(f"{name}: {count or SPLITS[name].count} rooms in {escape(str(folder / name))}")


@data_app.command()
def export(
    source: Annotated[str, typer.Argument(metavar="NAME", help=f"What to write: {', '.join(DATA_SETS)}.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FOLDER", help="Gets a folder for each kind of target.")],
    layout: Annotated[Layout, typer.Option(help="Of folders and file names.")] = Layout.TASKONOMY,
    folder: Annotated[Path, typer.Option("--data", metavar="FOLDER", help="Where the images are.")] = Path(
        "data/rooms"
    ),
    split: Annotated[str, typer.Option(metavar="NAME", help="train, val or test.")] = "test",
    count: Annotated[int | None, typer.Option(help="Images; all by default.")] = None,
) -> None:
    """Write images and targets in another layout: Taskonomy's, with its file names, scalings and a table of splits.

    [bold]Examples[/bold]

        atdc data export rooms --out /tmp/taskonomy --count 20
        atdc data export nyuv2 --data nyuv2_256 --split val --out /tmp/taskonomy
    """
    from atdc.data.export import export_taskonomy

    which = cast(Literal["train", "val", "test"], known("split", split, ("train", "val", "test")))
    images = labelled(known("data set", source, tuple(DATA_SETS)), folder, which, render=False)
    assert layout is Layout.TASKONOMY
    export_taskonomy(images, out, f"{source}-{which}", which, count)
    console.print(f"written: {escape(str(out))}")


def train(
    recipe: Annotated[
        Path,
        typer.Option(
            "--recipe",
            metavar="NAME|FILE",
            help="A shipped recipe by name, such as small, or settings in YAML.",
        ),
    ],
    run: Annotated[
        Path | None, typer.Option("--run", metavar="FOLDER", help="Checkpoints and logs; runs/<recipe> by default.")
    ] = None,
    data: Data = Path("data/rooms"),
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FILE", help="The weights; in the run folder by default.")
    ] = None,
    real: Annotated[
        Path | None, typer.Option("--real", metavar="FOLDER", help="Real images, for recipes that learn from both.")
    ] = None,
    start: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="NAME|FILE",
            help="Weights to start from, whose networks' sizes stay; the recipe's by default.",
        ),
    ] = None,
    stages: Annotated[
        str,
        typer.Option(
            metavar="LIST",
            help="One of networks, codec, graphs, and all after it. The rest is that of the weights to start from.",
        ),
    ] = "networks,codec,graphs",
    device: Device = "cpu",
    force: Annotated[bool, typer.Option("--force", help="Replace an output that is there.")] = False,
) -> None:
    """Train weights for images, from nothing or from other weights. A stopped call resumes where it was.

    [bold]Examples[/bold]

        atdc train --recipe small
        atdc train --recipe tiny --run /tmp/tiny
        atdc train --recipe small_long --device cuda
        atdc train --recipe real --real nyuv2
        atdc train --recipe subsets --from small-1 --stages codec,graphs   # the same task networks, another codec
        atdc train --recipe small --from mine.safetensors --stages graphs  # rate estimator and graphs alone
        tensorboard --logdir runs             # in another terminal
    """
    from atdc.training import processes
    from atdc.training.stages import train as train_by_recipe

    if out is not None:
        require_place(out, force)
    named = tuple(part.strip() for part in stages.split(",") if part.strip())
    with interruptible(), warnings_as_lines():
        path = train_by_recipe(recipe, run or Path("runs") / recipe.stem, data, out, device, real, start, named)
    if processes.is_first():
        console.print(f"weights: {escape(str(path))}")


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Says of an interruption how to resume."""
    try:
        yield
    except KeyboardInterrupt:
        complain(f"interrupted. {RESUMES}")
        raise typer.Exit(INTERRUPTED) from None


def require_place(out: Path, force: bool) -> None:
    """Refuses, before any training, what could not be written after it.

    Raises:
        OutputError: there is something else, or no folder can be made.
    """
    from atdc.files import make_folder

    if out.suffix != _SUFFIX:
        raise typer.BadParameter(f"{out} is no name of weights; end it with {_SUFFIX}.")
    if out.is_dir() or (out.exists() and not force):
        cure = "" if out.is_dir() else "Add --force to replace it, or choose another name with -o."
        raise OutputError(str(out), "a folder" if out.is_dir() else "a file that is there", "a new file", cure)
    make_folder(out.parent)
