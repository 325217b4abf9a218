"""``atdc encode`` and ``atdc decode``."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from functools import cache, partial
from math import inf
from typing import Annotated

import typer

from atdc.cli.batch import err, for_each, globally
from atdc.cli.batch import out as console
from atdc.cli.codecs import tensor_names
from atdc.cli.decoding import Decoder
from atdc.cli.encoding import Coded, Encoder, Request, encoded_paths
from atdc.cli.files import (
    destination_of,
    encodable_with,
    existing_of,
    is_coded,
    is_folder,
    is_image,
    items_of,
)
from atdc.cli.inputs import Item, apart
from atdc.cli.options import (
    PASSED_OVER,
    Device,
    Files,
    Force,
    FromFile,
    Graph,
    Jobs,
    ModelToUse,
    Networks,
    PixelLimit,
    Quality,
    Quiet,
    SkipExisting,
    in_range,
    known,
    listed,
    starting_with,
)
from atdc.config import PIXEL_LIMIT
from atdc.tasks import TASK_NAMES
from atdc.terminal import escape, require_output, shown, write_data

RESUME = "The same command with --skip-existing resumes from there."


def register(app: typer.Typer) -> None:
    """Adds the commands to an application."""
    for command in (encode, decode):
        app.command(rich_help_panel="Use")(command)


class Effort(StrEnum):
    """How long the encoder looks for a graph."""

    NORMAL = "normal"
    HIGH = "high"


class Profile(StrEnum):
    """How a file keeps its range-coded bytes."""

    COMPACT = "compact"
    SEGMENTS = "segments"


# --- what options of one command mean ---------------------------------------------------------------------------------


def _tasks(values: list[str] | None) -> list[str] | None:
    for value in values or []:
        if not listed(value):
            raise typer.BadParameter(f"{value!r} names no tensor or task.")
    return values


def _once_each(values: Sequence[str]) -> list[str]:
    """The names in lists with commas; one that is named twice counts once."""
    return list(dict.fromkeys(listed(",".join(values))))


def _require_names(names: Iterable[str], model: str | None) -> None:
    """Refuses names that no file of the weights can have; where each file finds its own weights, these will tell."""
    if model is None and {"ATDC_MODEL", "ATDC_WEIGHTS"} & os.environ.keys():
        return
    for name in names:
        if model is not None or name not in TASK_NAMES:
            known("tensor or task", name, tensor_names(model) if model is not None else _shipped_names())


def _shipped_names() -> list[str]:
    """Of the tensors of all shipped weights, one of which may have written a file."""
    from atdc.weights import shipped_cards

    return list(dict.fromkeys([*TASK_NAMES, *(name for stem, _ in shipped_cards() for name in tensor_names(stem))]))


def _task_qualities(values: list[str] | None) -> list[str] | None:
    for value in values or []:
        _, equals, number = value.rpartition("=")
        if not equals:
            raise typer.BadParameter(f"{value!r} should read NAME=QUALITY, for example depth_zbuffer=6.")
        try:
            in_range(float(number))
        except ValueError as error:
            raise typer.BadParameter(f"{number!r} in {value!r} is not a number.") from error
    _require_consistent(values or [])
    return values


def _task_weights(values: list[str] | None) -> list[str] | None:
    for value in values or []:
        name, equals, number = value.rpartition("=")
        try:
            good = bool(equals and name) and 0 <= float(number) < inf
        except ValueError:
            good = False
        if not good:
            raise typer.BadParameter(f"{value!r} should read NAME=WEIGHT, 0 or more, for example depth_zbuffer=3.")
    _require_consistent(values or [])
    return values


def _require_consistent(values: Sequence[str]) -> None:
    """Refuses two numbers for one name."""
    settings = {value.rpartition("=")[0]: value for value in values}
    for value in values:
        if _number_of(value) != _number_of(setting := settings[value.rpartition("=")[0]]):
            raise typer.BadParameter(f"{value} and {setting} contradict each other.")


# --- the main job ----------------------------------------------------------------------------------------------------


def encode(
    ctx: typer.Context,
    images: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="INPUT",
            help="Images, or features (.npz, .safetensors); folders (with all below; of features where the weights "
            f"code nothing else), patterns, or - for standard input. {PASSED_OVER}",
        ),
    ] = None,
    *,
    out: Annotated[
        str,
        typer.Option(
            "--out",
            "-o",
            metavar="PATH",
            help="A folder; for one input, a file (a name with a suffix), or - for standard output.",
        ),
    ],
    quality: Quality = 4.0,
    task_quality: Annotated[
        list[str] | None,
        typer.Option(
            "--task-quality",
            metavar="NAME=QUALITY",
            callback=_task_qualities,
            autocompletion=starting_with(f"{name}=" for name in TASK_NAMES),
            help="Another quality for one task or tensor; may be repeated.",
        ),
    ] = None,
    balanced: Annotated[
        bool,
        typer.Option(
            "--balanced",
            help="Give each task or network its own quality: the same mean utility as at -q for all, in fewer bytes.",
        ),
    ] = False,
    max_bytes: Annotated[
        int | None,
        typer.Option(
            "--max-bytes",
            metavar="N",
            min=1,
            help="Instead of a quality: the best that was found within so many bytes.",
        ),
    ] = None,
    weight: Annotated[
        list[str] | None,
        typer.Option(
            "--weight",
            metavar="NAME=WEIGHT",
            callback=_task_weights,
            autocompletion=starting_with(f"{name}=" for name in TASK_NAMES),
            help="With --max-bytes, how much one task or tensor counts, others 1; may be repeated.",
        ),
    ] = None,
    graph: Graph = "codebook",
    effort: Annotated[
        Effort, typer.Option(help="[bold]high[/bold] codes several graphs, keeps the best: slower.")
    ] = Effort.NORMAL,
    profile: Annotated[
        Profile | None,
        typer.Option(
            show_default="compact",
            help="[bold]compact[/bold]: one stream, the fewest bytes. [bold]segments[/bold]: one stream per task, some "
            "30 bytes more; single tasks can be fetched alone; damage spoils one task and what is predicted from it.",
        ),
    ] = None,
    first: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME,...",
            callback=_tasks,
            autocompletion=starting_with(TASK_NAMES),
            help="These tensors or tasks come first, predicted from each other alone: who stops reading after them has "
            "them. Gives the file the profile ordered: segments, these first.",
        ),
    ] = None,
    tasks: Annotated[
        list[str] | None,
        typer.Option(
            "--tasks",
            metavar="NAMES",
            callback=_tasks,
            autocompletion=starting_with(TASK_NAMES),
            help="Only these tensors or tasks, and what helps to predict them; may be repeated; all by default.",
        ),
    ] = None,
    from_file: FromFile = None,
    skip_existing: SkipExisting = False,
    force: Force = False,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json",
            help="For programs: a list of the files, with their bytes, what was wanted, what was sent to help, and "
            "qualities; with the bytes of each segment where there are any.",
        ),
    ] = False,
    jobs: Jobs = 1,
    pixel_limit: PixelLimit = PIXEL_LIMIT,
    model: ModelToUse = None,
    networks: Networks = None,
    device: Device = "cpu",
    quiet: Quiet = False,
) -> None:
    """Encode images, or features: one small file each; of a file with many samples, one a sample.

    Of equal names with different suffixes (a.jpg and a.png in one folder) none is encoded: both would be a.atdc.

    [bold]Examples[/bold]

        atdc encode photo.jpg -o photo.atdc
        atdc encode *.png -o encoded --quality 2
        atdc encode photos -o encoded --jobs 4       # photos/sub/a.jpg → encoded/sub/a.atdc
        atdc encode photos -o encoded --skip-existing      # resume after a stop
        cat photo.jpg | atdc encode - -o - > photo.atdc
        atdc encode photo.jpg -o out -q 3 --task-quality depth_zbuffer=6 --task-quality rgb=0
        atdc encode photo.jpg -o out -q 3 --balanced
        atdc encode photo.jpg -o out --tasks normal,depth_zbuffer      # a file of two answers
        atdc encode photo.jpg -o out --effort high
        atdc encode photo.jpg -o out --profile segments
        atdc encode photo.jpg -o out --first normal,depth_zbuffer
        atdc encode photos -o out --max-bytes 1000 --weight depth_zbuffer=3
        atdc encode features -o encoded --model mine.safetensors      # by `atdc fit`
        atdc encode photos -o encoded --model mine.safetensors --networks networks.yaml
    """
    from atdc.weights import default_model

    model = model or default_model()
    items = items_of(ctx, images, from_file, encodable_with(model) if networks is None else is_image)
    to = destination_of(out, items, "input", existing_of(skip_existing, force))
    qualities = dict(_number_of(value) for value in task_quality or [])
    wanted = _once_each(tasks) if tasks else None
    leading = _once_each(first or [])
    weights = dict(_number_of(value) for value in weight or [])
    if networks is None:  # otherwise names may be those of networks, which are known once these are loaded
        _require_names([*qualities, *leading, *(wanted or []), *weights], model)
    if leading and profile is Profile.COMPACT:
        raise typer.BadParameter("--first and --profile compact exclude each other.")
    if max_bytes is None and weights:
        raise typer.BadParameter("--weight counts within --max-bytes; give it, too.")
    source = ctx.get_parameter_source("quality")
    quality_given = source is not None and source.name != "DEFAULT"
    if max_bytes is not None and (quality_given or qualities or balanced):
        raise typer.BadParameter("--max-bytes chooses qualities; leave out --quality, --task-quality and --balanced.")
    if as_json and to.kind == "stream":
        raise typer.BadParameter("--json tells what is written to files; name one, or a folder, with -o.")
    request = Request(
        quality=quality, task_quality=qualities, balanced=balanced, max_bytes=max_bytes, weights=weights, graph=graph,
        effort=effort.value, profile=None if profile is None else profile.value, first=leading, tasks=wanted,
    )  # fmt: skip
    make = partial(Encoder, model, device, networks, request, pixel_limit, to, as_json)
    items = apart(items, cache(partial(encoded_paths, to))) if to.kind != "stream" else items
    done = for_each(
        ctx, ("encoding", "encoded"), items, make,
        quiet=quiet, lines=not as_json, jobs=jobs, resume=RESUME, console=err if to.kind == "stream" else console,
    )  # fmt: skip
    for report in done.reports if to.kind == "stream" else ():
        write_data(report.value.data)
    if as_json:
        files = [file for report in done.reports if not report.skipped for file in report.value.files]
        print(json.dumps(files, indent=1))
        require_output()
    done.finish(_total)


def decode(
    ctx: typer.Context,
    files: Files = None,
    *,
    out: Annotated[
        str,
        typer.Option(
            "--out",
            "-o",
            metavar="PATH",
            help="A folder; in it every file gets a folder of its answers, or an .npz of its features. For one file: a "
            ".zip, for one task an .npy or .png, for features an .npz or .safetensors; or - for standard output (.npy "
            "of one task, .zip of several, .npz of features).",
        ),
    ],
    tasks: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME,...",
            callback=_tasks,
            autocompletion=starting_with(TASK_NAMES),
            help="Only these tensors or tasks, may be repeated; all by default. Of images: "
            + ", ".join(TASK_NAMES)
            + ".",
        ),
    ] = None,
    from_file: FromFile = None,
    skip_existing: SkipExisting = False,
    force: Force = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="For programs: a line of JSON for every answer, when it is written.")
    ] = False,
    jobs: Jobs = 1,
    pixel_limit: PixelLimit = PIXEL_LIMIT,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            metavar="NAME|FILE",
            help="Weights. Without the option: those that wrote the file, if they are shipped, or where ATDC_MODEL or "
            "ATDC_WEIGHTS says.",
        ),
    ] = None,
    networks: Networks = None,
    device: Device = "cpu",
    quiet: Quiet = False,
) -> None:
    """Decode files: for every task a PNG to look at and an .npy to compute with; for features, their arrays by name.

    Of a file encoded with [bold]--profile segments[/bold], only what the tasks need is read; of a damaged one, the
    tasks that are whole are decoded, and the others get an error each. From a pipe, or from a server that answers range
    requests, each of its answers is written to the folder as soon as its bytes are there.

    [bold]Examples[/bold]

        atdc decode photo.atdc -o answers      # answers/photo/depth_zbuffer.png, .npy, …
        atdc decode encoded -o answers --tasks depth_zbuffer,normal
        atdc decode photo.atdc -o depth.npy --tasks depth_zbuffer
        atdc decode - -o - < photo.atdc > answers.zip
        ssh camera cat photo.atdc | atdc decode - -o answers      # answer by answer, as they arrive
        atdc decode https://example.org/photo.atdc -o answers --tasks normal
        atdc decode encoded -o decoded --model mine.safetensors      # features: decoded/a.npz, …
        atdc decode encoded -o answers --model mine.safetensors --networks networks.yaml --tasks segments
    """
    wanted = _once_each(tasks) if tasks else None
    if networks is None:
        _require_names(wanted or (), model)
    to_folder = is_folder(out)
    if as_json and not to_folder:
        raise typer.BadParameter("--json tells what is written to a folder; name one with -o.")
    arriving = to_folder and jobs == 1 and networks is None
    items = items_of(ctx, files, from_file, is_coded, as_they_come=arriving)
    to = destination_of(out, items, "file", existing_of(skip_existing, force))
    if to.kind == "file":
        several = wanted is not None and len(wanted) > 1
        of_images = (".zip",) if several else (".npy", ".png", ".zip")
        if to.path.suffix.lower() not in (*of_images, ".npz", ".safetensors"):
            better = ".zip for several answers" if several else ".npy or .png for one answer, .zip for several"
            better += ", .npz or .safetensors for features"
            raise typer.BadParameter(f"{out} looks like a file; write {better}, or name a folder: {out}/")
    items = apart(items, lambda item: [to.of(item, "")]) if to.kind != "stream" else items
    listener = _told_as_json if as_json else _told_quietly if quiet or globally(ctx, "quiet") else _told
    make = partial(Decoder, model, device, wanted, pixel_limit, to, listener, networks, as_json)
    done = for_each(
        ctx, ("decoding", "decoded"), items, make,
        quiet=quiet, jobs=jobs, flawed_word="in part", resume=RESUME,
        console=err if to.kind == "stream" or as_json else console,
    )  # fmt: skip
    for report in done.reports if to.kind == "stream" else ():
        if report.value is not None:
            write_data(report.value)
    if as_json:
        require_output()
    done.finish(lambda _: f"results in {out}")


# --- plumbing --------------------------------------------------------------------------------------------------------


def _total(coded: Sequence[Coded]) -> str:
    length, units = sum(item.bytes for item in coded), {item.unit for item in coded}
    if len(units) > 1:
        return f"{length:,} bytes"
    return str(Coded(length, sum(item.positions for item in coded), units.pop()))


def _number_of(value: str) -> tuple[str, float]:
    name, _, number = value.rpartition("=")
    return name, float(number)


def _told(item: Item, event: Mapping[str, object]) -> None:
    """Says of an answer that it has arrived."""
    if "note" in event:
        err.print(escape(f"{shown(item.name)}: {event['note']}"))
    elif "task" in event:
        console.print(escape(f"{shown(item.name)}: {event['task']}, after {event['bytes_read']:,} bytes"))


def _told_quietly(item: Item, event: Mapping[str, object]) -> None:
    """Says nothing of it."""


def _told_as_json(item: Item, event: Mapping[str, object]) -> None:
    """Says it to a program, at once."""
    print(json.dumps({"file": item.name, **event}), flush=True)
