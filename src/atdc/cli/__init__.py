"""The command line: ``atdc`` and its options, ``atdc demo``; other commands are in siblings.

Coding is in :mod:`atdc.cli.coding`, looking at files in :mod:`atdc.cli.inspection`; commands that make weights are in
:mod:`atdc.cli.weights`, :mod:`atdc.cli.fit` and :mod:`atdc.cli.networks`; those that measure are offered as ``atdc
bench`` by :mod:`atdc.cli.group`.

Exit status: 0, all done; 1, some inputs failed, the others are done; 2, the command itself makes no sense; 130,
interrupted. An error is one line on standard error, without traceback. What takes long to import is imported when a
command needs it, so that ``atdc --help`` and shell completion answer at once.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Annotated

import typer

from atdc.cli.batch import err, globally
from atdc.cli.batch import out as console
from atdc.cli.coding import register as register_coding
from atdc.cli.files import readable_images
from atdc.cli.fit import register as register_fit
from atdc.cli.group import Commands
from atdc.cli.inspection import register as register_inspection
from atdc.cli.networks import register as register_networks
from atdc.cli.options import HELP_NAMES, Graph, ModelToUse, Quality, Quiet
from atdc.cli.weights import register as register_weights
from atdc.terminal import guard_output

app = typer.Typer(
    name="atdc",
    cls=Commands,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings=HELP_NAMES,
)


def _version(value: bool) -> None:
    if value:
        from atdc import __version__

        console.print(f"atdc {__version__}")
        raise typer.Exit


@app.callback()
def root(
    ctx: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and leave.")
    ] = False,
    quiet: Quiet = False,
    traceback: Annotated[
        bool, typer.Option("--traceback", help="On an error, show where it came from; inputs one by one.")
    ] = False,
) -> None:
    """A codec for what machines look at: a photo in, one small file out, six answers back.

    [bold]Start here[/bold]

        atdc demo                             # see it all, as a page
        atdc encode photo.jpg -o photo.atdc   # one small file
        atdc decode photo.atdc -o answers     # PNG and .npy, per task
        atdc inspect photo.atdc               # the graph, and its price
        atdc verify photo.atdc                # is it whole?
    """
    ctx.obj = {"quiet": quiet, "traceback": traceback}


register_coding(app)
register_inspection(app)


@app.command(rich_help_panel="Use")
def demo(
    ctx: typer.Context,
    images: Annotated[
        list[str] | None, typer.Argument(metavar="IMAGE", help="Images; by default those carried along.")
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the page and the files.")] = Path("demo"),
    quality: Quality = 4.0,
    graph: Graph = "codebook",
    model: ModelToUse = None,
    quiet: Quiet = False,
) -> None:
    """The main job as a page: encode here, decode in another process, show everything.

    [bold]Examples[/bold]

        atdc demo
        atdc demo photo.jpg -o demo --quality 2
    """
    from atdc.report.demo import demo_tables, run_demo, silent
    from atdc.weights import default_model

    quiet = quiet or globally(ctx, "quiet")
    items, refused = readable_images(ctx, images) if images else ([], [])
    with err.status("starting", spinner="line") as status:
        result = run_demo(
            [item.path for item in items],
            out,
            model=model or default_model(),
            quality=quality,
            graph=graph,
            report=status.update if not quiet else silent,
            refused=refused,
        )
    if not quiet:
        for table in demo_tables(result.shown):
            console.print(table)
        console.print(
            f"Decoded by another process, from the files and the weights alone, in {result.decode_seconds:.1f} s."
        )
        console.print(f"The page: {result.page.resolve().as_uri()}")
    if refused:
        raise typer.Exit(1)


register_weights(app)
register_fit(app)
register_networks(app)


def _leave(number: int, frame: object) -> None:
    """Ends the command, so that what is temporary is removed; once."""
    signal.signal(number, signal.SIG_IGN)
    sys.exit(128 + number)


def main() -> None:
    """Entry point of the ``atdc`` command.

    Threads that wait for each other sleep instead of spinning: on a machine that does something else at the same time,
    spinning made coding a small image take a hundred times as long. It must be said before torch is loaded.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    for number in (signal.SIGTERM, getattr(signal, "SIGHUP", None)):
        if number is not None and signal.getsignal(number) is signal.SIG_DFL:  # `nohup` has had it ignored
            signal.signal(number, _leave)
    guard_output()
    app()
