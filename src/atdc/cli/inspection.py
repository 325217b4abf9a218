"""``atdc inspect`` and ``atdc verify``: what is in files, and whether they are whole."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from functools import cache, partial
from typing import TYPE_CHECKING

import typer

from atdc.cli.batch import Report, complaint, for_each
from atdc.cli.batch import out as console
from atdc.cli.files import is_coded, is_one_file, items_of
from atdc.cli.inputs import Item, opened
from atdc.cli.options import AsJson, Files, FromFile, Jobs, ModelAtHand, PixelLimit, Quiet
from atdc.config import PIXEL_LIMIT
from atdc.errors import ArgumentError
from atdc.terminal import escape, plain_table, require_output

if TYPE_CHECKING:
    from atdc.bitstream.sources import Source
    from atdc.inspection import Inspection, Verification
    from atdc.reader import IntegerReader


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
    make = partial(Inspector, model, pixel_limit)
    done = for_each(ctx, ("inspecting", "inspected"), items, make, quiet=False, lines=False)
    inspections = [(item.name, report.value) for item, report in zip(done.items, done.reports, strict=True)]
    if not as_json:
        for number, (name, inspection) in enumerate(inspections):
            if number:
                console.print()
            _show_inspection(name, inspection)
    elif is_one_file(files, from_file):
        for _, inspection in inspections:
            print(inspection.to_json())
    else:
        print(json.dumps([{"file": name, **asdict(inspection)} for name, inspection in inspections], indent=1))
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
    make = partial(Verifier, model, pixel_limit)
    done = for_each(
        ctx, ("verifying", "verified"), items, make, quiet=quiet, lines=not as_json, jobs=jobs, flawed_word="not ok"
    )
    if as_json:
        rows = zip(done.items, done.reports, strict=True)
        print(json.dumps([{"file": item.name, **report.value} for item, report in rows], indent=1))
        require_output()
    done.finish()


def _show_inspection(name: str, inspection: Inspection) -> None:
    """Prints a file's sizes and a table of what is in it."""
    if inspection.kind == "image":
        size = f"{inspection.width}×{inspection.height} pixels, {inspection.bpp:.3f} bpp"
    else:
        size = f"the features of {len(inspection.tasks)} tensors"
        size += "" if inspection.bpp is None else f", {inspection.bpp:.3f} bits per position"
    console.print(f"[bold]{escape(name)}[/bold]: {inspection.bytes:,} bytes for {size}")
    keys = [key for key in ("bytes", "ideal_bits") if all(key in row for row in inspection.tasks.values())]
    columns = ["quality", *(key.replace("_", " ") for key in keys), *(["share"] if keys else [])]
    grids = inspection.grids if inspection.kind == "features" else None
    table = plain_table("task" if inspection.kind == "image" else "tensor", [] if grids is None else ["grid"])
    if inspection.graph is not None:
        table.add_column("predicted from")
    for column in columns:
        table.add_column(column, justify="right")
    total = sum(row[keys[0]] for row in inspection.tasks.values()) if keys else 0
    for name, row in inspection.tasks.items():
        cells = [escape(name)]
        cells += [] if grids is None else ["×".join(map(str, grids[name]))]
        cells += [] if inspection.graph is None else [escape(", ".join(inspection.graph[name])) or "–"]
        cells += [f"{inspection.quality[name]:g}", *(f"{row[key]:,.0f}" for key in keys)]
        table.add_row(*cells, *([f"{row[keys[0]] / (total or 1):.0%}"] if keys else []))
    console.print(table)
    if inspection.graph is None:
        console.print(f"graph: number {inspection.graph_number} of the list kept with weights {inspection.fingerprint}")
    ideal = "" if inspection.ideal_bits is None else f"ideal {inspection.ideal_bits / 8:,.1f} bytes; "
    console.print(
        f"header and checks {inspection.framing_bytes} bytes; {ideal}format {inspection.version}, "
        f"profile {inspection.profile}, weights {inspection.fingerprint}"
    )
    if inspection.first:
        console.print(f"first: {escape(', '.join(inspection.first))}; a reader may stop after these")
    if inspection.ideal_bits is None:
        console.print(f"For names, the graph and ideal bits, name the weights {inspection.fingerprint} with --model.")


# --- what works on one file -------------------------------------------------------------------------------------------


class Inspector:
    """Looks into files; the value of a report is an :class:`~atdc.inspection.Inspection`."""

    def __init__(self, model: str | None, pixel_limit: int) -> None:
        self._reader_for, self._pixel_limit = _integers_at_hand(model), pixel_limit

    def __call__(self, item: Item) -> Report:
        """Looks into a file."""
        from atdc.inspection import inspect

        with opened(item) as source:
            return Report("", value=inspect(source, self._reader_for(source), pixel_limit=self._pixel_limit))


class Verifier:
    """Checks files; the value of a report is a :class:`~atdc.inspection.Verification` as plain values."""

    def __init__(self, model: str | None, pixel_limit: int) -> None:
        self._model, self._reader_for, self._pixel_limit = model, _integers_at_hand(model), pixel_limit

    def __call__(self, item: Item) -> Report:
        """Checks a file."""
        from atdc.inspection import Verification, verify

        try:
            with opened(item) as source:
                verification = verify(source, self._reader_for(source), pixel_limit=self._pixel_limit)
        except ArgumentError as error:  # it cannot be read: one of the things that can be wrong with a file
            verification = Verification((error,))
        problems = tuple(complaint(problem, item) for problem in verification.problems)
        checked = _what_was_checked(verification, self._model)
        return Report(f"{item.name}: ok; {checked}" if verification.ok else "", problems, verification.to_json())


def _integers_at_hand(model: str | None) -> Callable[[Source], IntegerReader | None]:
    """What reads a file's integers: the weights of that name; without a name, the shipped ones that wrote it."""
    from atdc.weights import open_weights, writer_of

    reader = cache(lambda name: open_weights(name).integers())
    if model is not None:
        reader(model)  # weights that cannot be used are said at once

    def of(source: Source) -> IntegerReader | None:
        name = model or writer_of(source)
        return None if name is None else reader(name)

    return of


def _what_was_checked(verification: Verification, model: str | None) -> str:
    if verification.decoded:
        return f"checked: header, checks, and all integers with the weights {verification.fingerprint}"
    if model is not None:
        return (
            f"checked: header and checks; not the integers: not {model}, "
            f"but the weights {verification.fingerprint} wrote it"
        )
    return f"checked: header and checks; for the integers, name the weights {verification.fingerprint} with --model"
