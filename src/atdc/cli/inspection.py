"""``atdc inspect`` and ``atdc verify``: what is in files, and whether they are whole."""

from __future__ import annotations

import json
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING

import typer

import atdc.cli.jobs as jobs_of
from atdc.cli.batch import for_each
from atdc.cli.batch import out as console
from atdc.cli.files import is_coded, is_one_file, items_of
from atdc.cli.options import AsJson, Files, FromFile, Jobs, ModelAtHand, PixelLimit, Quiet
from atdc.config import PIXEL_LIMIT
from atdc.terminal import escape, plain_table, require_output

if TYPE_CHECKING:
    from atdc.inspection import Inspection


def register(app: typer.Typer) -> None:
    """Adds the commands to an application."""
    for command in (inspect, verify):
        app.command(rich_help_panel="Use")(command)


def inspect(
    ctx: typer.Context,
    files: Files = None,
    from_file: FromFile = None,
    as_json: AsJson = False,
    pixel_limit: PixelLimit = PIXEL_LIMIT,
    model: ModelAtHand = None,
) -> None:
    """Show what is in files: size, the graph, and what every task cost. Works without weights, but tells less.

    For programs: --json prints an object for one file, and for several files or a folder a list of them, with names.

    [bold]Examples[/bold]

        atdc inspect photo.atdc
        atdc inspect photo.atdc --json | jq .graph
        atdc inspect photo.atdc --model my_weights.safetensors
    """
    items = items_of(ctx, files, from_file, is_coded)
    make = partial(jobs_of.inspector, model, pixel_limit)
    done = for_each(ctx, ("inspecting", "inspected"), items, make, quiet=False, lines=False)
    seen = [(item.name, report.value) for item, report in zip(done.items, done.reports, strict=True)]
    if not as_json:
        for number, (name, inspection) in enumerate(seen):
            if number:
                console.print()
            _show_inspection(name, inspection)
    elif is_one_file(files, from_file):
        for _, inspection in seen:
            print(inspection.to_json())
    else:
        print(json.dumps([{"file": name, **asdict(inspection)} for name, inspection in seen], indent=1))
    require_output()
    done.finish()


def verify(
    ctx: typer.Context,
    files: Files = None,
    from_file: FromFile = None,
    as_json: AsJson = False,
    pixel_limit: PixelLimit = PIXEL_LIMIT,
    model: ModelAtHand = None,
    jobs: Jobs = 1,
    quiet: Quiet = False,
) -> None:
    """Check that files are whole: header, checks and end; with the weights that wrote them, every integer, too.

    [bold]Examples[/bold]

        atdc verify encoded
        atdc verify photo.atdc --json | jq '.[0].problems'
    """
    items = items_of(ctx, files, from_file, is_coded)
    make = partial(jobs_of.verifier, model, pixel_limit)
    done = for_each(
        ctx, ("verifying", "verified"), items, make, quiet=quiet, lines=not as_json, jobs=jobs, flawed_word="not ok"
    )
    if as_json:
        rows = zip(done.items, done.reports, strict=True)
        print(json.dumps([{"file": item.name, **report.value} for item, report in rows], indent=1))
        require_output()
    done.finish()


def _show_inspection(name: str, seen: Inspection) -> None:
    """Prints a file's sizes and a table of what is in it."""
    if seen.kind == "image":
        size = f"{seen.width}×{seen.height} pixels, {seen.bpp:.3f} bpp"
    else:
        size = f"the features of {len(seen.tasks)} tensors"
        size += "" if seen.bpp is None else f", {seen.bpp:.3f} bits per position"
    console.print(f"[bold]{escape(name)}[/bold]: {seen.bytes:,} bytes for {size}")
    known = [key for key in ("bytes", "ideal_bits") if all(key in row for row in seen.tasks.values())]
    columns = ["quality", *(key.replace("_", " ") for key in known), *(["share"] if known else [])]
    grids = seen.grids if seen.kind == "features" else None
    table = plain_table("task" if seen.kind == "image" else "tensor", [] if grids is None else ["grid"])
    if seen.graph is not None:
        table.add_column("predicted from")
    for column in columns:
        table.add_column(column, justify="right")
    total = sum(row[known[0]] for row in seen.tasks.values()) if known else 0
    for name, row in seen.tasks.items():
        cells = [escape(name)]
        cells += [] if grids is None else ["×".join(map(str, grids[name]))]
        cells += [] if seen.graph is None else [escape(", ".join(seen.graph[name])) or "–"]
        cells += [f"{seen.quality[name]:g}", *(f"{row[key]:,.0f}" for key in known)]
        table.add_row(*cells, *([f"{row[known[0]] / (total or 1):.0%}"] if known else []))
    console.print(table)
    if seen.graph is None:
        console.print(f"graph: number {seen.graph_number} of the list kept with weights {seen.fingerprint}")
    ideal = "" if seen.ideal_bits is None else f"ideal {seen.ideal_bits / 8:,.1f} bytes; "
    console.print(
        f"header and checks {seen.framing_bytes} bytes; {ideal}format {seen.version}, profile {seen.profile}, "
        f"weights {seen.fingerprint}"
    )
    if seen.first:
        console.print(f"first: {escape(', '.join(seen.first))}; a reader may stop after these")
    if seen.ideal_bits is None:
        console.print(f"For names, the graph and ideal bits, name the weights {seen.fingerprint} with --model.")
