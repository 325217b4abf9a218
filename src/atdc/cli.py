"""The command line: ``atdc encode``, ``decode``, ``inspect``, ``verify``, ``demo``; making weights; the evidence.

Exit status: 0, all done; 1, some inputs failed, the others are done; 2, the command itself makes no sense; 130,
interrupted. An error is one line on standard error, without traceback. What takes long to import is imported when a
command needs it, so that ``atdc --help`` and shell completion answer at once.
"""

from __future__ import annotations

import glob
import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches
from enum import StrEnum
from functools import cache, partial
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from typer.core import TyperGroup

from atdc import jobs as jobs_of
from atdc.batch import INTERRUPTED, complain, complaint, err, for_each, globally
from atdc.batch import out as console
from atdc.config import DEFAULT_MODEL, MAX_QUALITY, PIXEL_LIMIT
from atdc.errors import ArgumentError, AtdcError
from atdc.graph.search import SETTINGS, parse_setting
from atdc.inputs import Item, apart, find_items
from atdc.jobs import SUFFIX
from atdc.tasks import TASK_NAMES
from atdc.terminal import escape, guard_output, require_output, shown, write_data

if TYPE_CHECKING:
    from atdc.inspection import Inspection

RESUME = "The same command with --skip-existing goes on from there."
PASSED_OVER = "Hidden files, and linked folders that are not named themselves, are passed over."
MEASURED_MODEL = "small"
"""What tables are of: weights that anybody can make again, from rooms alone."""


class _Commands(TyperGroup):
    """Errors of this package end in one line and an exit status, whichever way a command is called."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        for before, argument in pairwise(["", *args]):
            if not ctx.resilient_parsing and (not argument or re.fullmatch("--[a-z-]+=", argument)):
                after = f" after {shown(before)}" if before else ""
                raise typer.BadParameter(f"an empty name or value{after}; is a variable of the shell not set?")
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except typer.BadParameter as error:
            error.message = shown(_in_our_words(error.message))
            raise
        except KeyboardInterrupt:
            complain("interrupted.")
            raise typer.Exit(INTERRUPTED) from None
        except AtdcError as error:
            if ctx.params.get("traceback"):
                raise
            complain(complaint(error))
            raise typer.Exit(2 if isinstance(error, ArgumentError) else 1) from error


app = typer.Typer(
    name="atdc",
    cls=_Commands,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


class Effort(StrEnum):
    """How long the encoder looks for a graph."""

    NORMAL = "normal"
    HIGH = "high"


class Profile(StrEnum):
    """How a file keeps its range-coded bytes."""

    COMPACT = "compact"
    SEGMENTS = "segments"


class CheckSet(StrEnum):
    """How much of `selfcheck` to run."""

    CI = "ci"
    FULL = "full"


# --- options that several commands share -----------------------------------------------------------------------------


def _in_our_words(message: str) -> str:
    """What is said of a value that typer has refused, without the names of its machinery."""
    message = re.sub(r"^Input should be (.*?)(, unable to .*)?$", r"it should be \1.", message)
    return message.removeprefix("Value error, ")


def _quality(value: float | None) -> float | None:
    if value is not None and not 0 <= value <= MAX_QUALITY:
        raise typer.BadParameter(f"{value:g} is out of range; qualities run from 0 (fewest bytes) to {MAX_QUALITY}.")
    return value


def _graph(value: str) -> str:
    return parse_setting(value) if value in SETTINGS else _known("graph setting", value, SETTINGS)


def _known(kind: str, name: str, names: Sequence[str]) -> str:
    """The name, if it is one of them; otherwise a usage error with the nearest and with all."""
    if name in names:
        return name
    near = get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f" Did you mean {near[0]}?" if near else ""
    raise typer.BadParameter(f"unknown {kind} {name!r}.{hint} Known: {', '.join(names)}.")


def _tasks(values: list[str] | None) -> list[str] | None:
    for value in values or []:
        if not (names := _listed(value)):
            raise typer.BadParameter(f"{value!r} names no task. Known: {', '.join(TASK_NAMES)}.")
        for name in names:
            _known("task", name, TASK_NAMES)
    return values


def _task_qualities(values: list[str] | None) -> list[str] | None:
    for value in values or []:
        name, equals, number = value.partition("=")
        if not equals:
            raise typer.BadParameter(f"{value!r} should read TASK=QUALITY, for example depth_zbuffer=6.")
        _known("task", name, TASK_NAMES)
        try:
            _quality(float(number))
        except ValueError as error:
            raise typer.BadParameter(f"{number!r} in {value!r} is not a number.") from error
    given = {value.partition("=")[0]: value for value in values or []}
    for value in values or []:
        if _task_quality(value) != _task_quality(other := given[value.partition("=")[0]]):
            raise typer.BadParameter(f"{value} and {other} contradict each other.")
    return values


def _listed(value: str) -> list[str]:
    return [name.strip() for name in value.split(",") if name.strip()]


def _starting_with(names: Iterable[str]) -> Callable[[str], list[str]]:
    return lambda incomplete: [name for name in names if name.startswith(incomplete)]


Device = Annotated[str, typer.Option("--device", help="Where networks run: cpu, or cuda.")]
ModelToUse = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar="NAME|FILE",
        help=f"Shipped weights by name, or a .safetensors file; by default what ATDC_MODEL names, or {DEFAULT_MODEL}.",
    ),
]
Model = Annotated[
    str, typer.Option("--model", metavar="NAME|FILE", help="Shipped weights by name, or a .safetensors file.")
]
ModelAtHand = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar="NAME|FILE",
        help="The weights that wrote the file: they add task names, the graph and the integers. Without the option: "
        "the shipped ones, if that is what wrote it; otherwise none.",
    ),
]
PixelLimit = Annotated[
    int,
    typer.Option(
        "--pixel-limit",
        metavar="N",
        min=1,
        help="Refuse larger pictures (height times width), before any memory is taken for them.",
    ),
]
Quality = Annotated[
    float,
    typer.Option(
        "--quality", "-q", callback=_quality, help=f"0 (fewest bytes) to {MAX_QUALITY} (best answers), in steps of 1/8."
    ),
]
Graph = Annotated[
    str,
    typer.Option(
        "--graph",
        metavar="SETTING",
        callback=_graph,
        autocompletion=_starting_with(SETTINGS),
        help="How the task graph is chosen: " + ", ".join(SETTINGS) + ".",
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
    bool, typer.Option("--skip-existing", help="Leave out inputs whose output is there: go on after a stop.")
]
Force = Annotated[
    bool,
    typer.Option("--force", help="Replace outputs of other content; without it they are refused, the same bytes not."),
]
Jobs = Annotated[
    int, typer.Option("--jobs", "-j", metavar="N", min=1, help="Processes that share the inputs; same bytes as with 1.")
]
Quiet = Annotated[bool, typer.Option("--quiet", help="Print errors only.")]


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


# --- the main job ----------------------------------------------------------------------------------------------------


@app.command(rich_help_panel="Use")
def encode(
    ctx: typer.Context,
    images: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="IMAGE",
            help=f"Pictures, folders of them (with all below), patterns, or - for standard input. {PASSED_OVER}",
        ),
    ] = None,
    *,
    out: Annotated[
        str,
        typer.Option(
            "--out",
            "-o",
            metavar="PATH",
            help="A folder; for one picture, a file (a name with a suffix), or - for standard output.",
        ),
    ],
    quality: Quality = 4.0,
    task_quality: Annotated[
        list[str] | None,
        typer.Option(
            "--task-quality",
            metavar="TASK=QUALITY",
            callback=_task_qualities,
            autocompletion=_starting_with(f"{name}=" for name in TASK_NAMES),
            help="Another quality for one task; may be repeated.",
        ),
    ] = None,
    balanced: Annotated[
        bool,
        typer.Option(
            "--balanced", help="Give each task its own quality: the same mean utility as at -q for all, in fewer bytes."
        ),
    ] = False,
    graph: Graph = "codebook",
    effort: Annotated[
        Effort, typer.Option(help="[bold]high[/bold] codes several graphs, keeps the best: slower.")
    ] = Effort.NORMAL,
    profile: Annotated[
        Profile,
        typer.Option(
            help="[bold]compact[/bold]: one stream, the fewest bytes. [bold]segments[/bold]: one stream per task, some "
            "30 bytes more; single tasks can be fetched alone; damage spoils one task and what is predicted from it."
        ),
    ] = Profile.COMPACT,
    from_file: FromFile = None,
    skip_existing: SkipExisting = False,
    force: Force = False,
    jobs: Jobs = 1,
    pixel_limit: PixelLimit = PIXEL_LIMIT,
    model: ModelToUse = None,
    device: Device = "cpu",
    quiet: Quiet = False,
) -> None:
    """Encode pictures: one small file each.

    Of equal names with different suffixes (a.jpg and a.png in one folder) none is encoded: both would be a.atdc.

    [bold]Examples[/bold]

        atdc encode photo.jpg -o photo.atdc
        atdc encode *.png -o encoded --quality 2
        atdc encode photos -o encoded --jobs 4       # photos/sub/a.jpg → encoded/sub/a.atdc
        atdc encode photos -o encoded --skip-existing      # go on after a stop
        cat photo.jpg | atdc encode - -o - > photo.atdc
        atdc encode photo.jpg -o out -q 3 --task-quality depth_zbuffer=6 --task-quality rgb=0
        atdc encode photo.jpg -o out -q 3 --balanced
        atdc encode photo.jpg -o out --effort high
        atdc encode photo.jpg -o out --profile segments
    """
    from atdc.integer_codec import default_model

    items = _items(ctx, images, from_file, _is_picture)
    to = _destination(out, items, "picture")
    given = dict(_task_quality(value) for value in task_quality or [])
    make = partial(
        jobs_of.encoder, model or default_model(), device, quality, given, balanced, graph, effort.value,
        profile.value, pixel_limit, to, _existing(skip_existing, force),
    )  # fmt: skip
    items = apart(items, lambda item: to.of(item, SUFFIX)) if to.kind != "stream" else items
    done = for_each(
        ctx, ("encoding", "encoded"), items, make,
        quiet=quiet, jobs=jobs, resume=RESUME, console=err if to.kind == "stream" else console,
    )  # fmt: skip
    for report in done.reports if to.kind == "stream" else ():
        write_data(report.value.data)
    done.finish(lambda coded: f"{sum(c.bytes for c in coded):,} bytes, {_mean_bpp(coded):.3f} bpp")


@app.command(rich_help_panel="Use")
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
            help="A folder; every file gets a folder of its own in it. For one file: a .zip, for one task an .npy or "
            ".png, or - for standard output (.npy of one task, .zip of several).",
        ),
    ],
    tasks: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TASK,...",
            callback=_tasks,
            autocompletion=_starting_with(TASK_NAMES),
            help="Only these answers, may be repeated; all by default: " + ", ".join(TASK_NAMES) + ".",
        ),
    ] = None,
    from_file: FromFile = None,
    skip_existing: SkipExisting = False,
    force: Force = False,
    jobs: Jobs = 1,
    pixel_limit: PixelLimit = PIXEL_LIMIT,
    model: Annotated[
        str | None,
        typer.Option(
            "--model", metavar="NAME|FILE", help="Weights. Without the option: the shipped ones that wrote the file."
        ),
    ] = None,
    device: Device = "cpu",
    quiet: Quiet = False,
) -> None:
    """Decode files: for every task a PNG to look at and an .npy to compute with.

    Of a file encoded with [bold]--profile segments[/bold], only what the tasks need is read; of a damaged one, the
    tasks that are whole are decoded, and the others get an error each.

    [bold]Examples[/bold]

        atdc decode photo.atdc -o answers      # answers/photo/depth_zbuffer.png, .npy, …
        atdc decode encoded -o answers --tasks depth_zbuffer,normal
        atdc decode photo.atdc -o depth.npy --tasks depth_zbuffer
        atdc decode - -o - < photo.atdc > answers.zip
    """
    wanted = list(dict.fromkeys(_listed(",".join(tasks)))) if tasks else None
    items = _items(ctx, files, from_file, _is_coded)
    to = _destination(out, items, "file")
    if to.kind == "file":
        several = wanted is None or len(wanted) > 1
        if to.path.suffix.lower() not in ((".zip",) if several else (".npy", ".png", ".zip")):
            better = ".zip for several answers" if several else ".npy, .png or .zip for one answer"
            raise typer.BadParameter(f"{out} looks like a file; write {better}, or name a folder: {out}/")
    items = apart(items, lambda item: to.of(item, "")) if to.kind != "stream" else items
    make = partial(jobs_of.decoder, model, device, wanted, pixel_limit, to, _existing(skip_existing, force))
    done = for_each(
        ctx, ("decoding", "decoded"), items, make,
        quiet=quiet, jobs=jobs, flawed_word="in part", resume=RESUME, console=err if to.kind == "stream" else console,
    )  # fmt: skip
    for report in done.reports if to.kind == "stream" else ():
        if report.value is not None:
            write_data(report.value)
    done.finish(lambda _: f"answers in {out}")


@app.command(rich_help_panel="Use")
def inspect(
    ctx: typer.Context,
    files: Files = None,
    from_file: FromFile = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
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
    items = _items(ctx, files, from_file, _is_coded)
    make = partial(jobs_of.inspector, model, pixel_limit)
    done = for_each(ctx, ("inspecting", "inspected"), items, make, quiet=True)
    seen = [(item.name, report.value) for item, report in zip(done.items, done.reports, strict=True)]
    if not as_json:
        for number, (name, inspection) in enumerate(seen):
            if number:
                console.print()
            _show(name, inspection)
    elif _one_file(files, from_file):
        for _, inspection in seen:
            print(inspection.to_json())
    else:
        print(json.dumps([{"file": name, **json.loads(inspection.to_json())} for name, inspection in seen], indent=1))
    require_output()
    done.finish()


@app.command(rich_help_panel="Use")
def verify(
    ctx: typer.Context,
    files: Files = None,
    from_file: FromFile = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
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
    items = _items(ctx, files, from_file, _is_coded)
    make = partial(jobs_of.verifier, model, pixel_limit)
    quiet = quiet or as_json
    done = for_each(ctx, ("verifying", "verified"), items, make, quiet=quiet, jobs=jobs, flawed_word="not ok")
    if as_json:
        rows = zip(done.items, done.reports, strict=True)
        print(json.dumps([{"file": item.name, **report.value} for item, report in rows], indent=1))
        require_output()
    done.finish()


@app.command(rich_help_panel="Use")
def demo(
    ctx: typer.Context,
    images: Annotated[
        list[str] | None, typer.Argument(metavar="IMAGE", help="Pictures; by default those carried along.")
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
    from atdc.images import read_image
    from atdc.integer_codec import default_model
    from atdc.report.demo import demo_tables, run_demo

    quiet = quiet or globally(ctx, "quiet")
    items = _items(ctx, images, None, _is_picture) if images else []
    pictures, refused = [], []
    for item in items:
        try:
            if item.refusal:
                refused.append(item.refusal)
            else:
                read_image(item.path)
                pictures.append(item.path)
        except AtdcError as error:
            refused.append(complaint(error, item))
    for line in refused:
        complain(line)
    if items and not pictures:
        raise typer.Exit(1)
    with err.status("starting", spinner="line") as status:
        result = run_demo(
            pictures,
            out,
            model=model or default_model(),
            quality=quality,
            graph=graph,
            report=status.update if not quiet else _silent,
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


# --- making the weights ----------------------------------------------------------------------------------------------

Data = Annotated[Path, typer.Option("--data", metavar="FOLDER", help="Rendered rooms; made if absent.")]


data_app = typer.Typer(invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
app.add_typer(data_app, name="data", rich_help_panel="Make the weights")


class Exported(StrEnum):
    """Data sets that can be written out."""

    ROOMS = "rooms"
    NYUV2 = "nyuv2"


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
    """Render the rooms: procedural indoor scenes with the truth for all six tasks. A stopped call goes on.

    [bold]Examples[/bold]

        atdc data
        atdc data --split val --count 50 --data /tmp/rooms
    """
    from atdc.data.rooms import SPLITS, materialise

    if ctx.invoked_subcommand is not None:
        return
    names = split or list(SPLITS)
    for name in names:
        _known("split", name, list(SPLITS))
    for name in names:
        materialise(folder, name, count=count, workers=workers)
        console.print(f"{name}: {count or SPLITS[name].count} rooms in {escape(str(folder / name))}")


@data_app.command()
def export(
    source: Annotated[Exported, typer.Argument(help="What to write.")],
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
    from atdc.data.nyuv2 import NyuV2Dataset
    from atdc.data.rooms import RoomsDataset

    which: Literal["train", "val", "test"]
    match _known("split", split, ("train", "val", "test")):
        case "train":
            which = "train"
        case "val":
            which = "val"
        case _:
            which = "test"
    images = RoomsDataset(folder, which) if source is Exported.ROOMS else NyuV2Dataset(folder, which)
    assert layout is Layout.TASKONOMY
    export_taskonomy(images, out, f"{source.value}-{which}", which, count)
    console.print(f"written: {escape(str(out))}")


@app.command(rich_help_panel="Make the weights")
def train(
    recipe: Annotated[
        Path,
        typer.Option(
            "--recipe",
            metavar="NAME|FILE",
            help="A shipped recipe by name (small made the weights `small`), or settings in YAML.",
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
        Path | None, typer.Option("--real", metavar="FOLDER", help="Real pictures, for recipes that learn from both.")
    ] = None,
    device: Device = "cpu",
) -> None:
    """Train a model, from rendered rooms to a weights file. A stopped call goes on where it was.

    [bold]Examples[/bold]

        atdc train --recipe small
        atdc train --recipe tiny --run /tmp/tiny
        atdc train --recipe small_long --device cuda
        atdc train --recipe real --real nyuv2
        tensorboard --logdir runs             # in another terminal
    """
    from atdc.training.stages import train as train_by_recipe

    path = train_by_recipe(recipe, run or Path("runs") / recipe.stem, data, out, device, real)
    console.print(f"weights: {escape(str(path))}")


# --- the evidence ----------------------------------------------------------------------------------------------------

Count = Annotated[int, typer.Option("--count", help="Images, from the split's start.")]
Split = Annotated[str, typer.Option("--split", help="Rooms: test; or test_styles, of styles not trained on.")]
Qualities = Annotated[str, typer.Option("--qualities", metavar="Q,Q,...", help="Qualities, separated by commas.")]
Images = Annotated[str, typer.Option("--images", help="What DATA holds: rooms or nyuv2.")]
ResultFile = Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="The result, JSON.")]


@app.command(rich_help_panel="Make the weights")
def refit(
    ctx: typer.Context,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="The new weights.")],
    model: Model = MEASURED_MODEL,
    recipe: Annotated[Path, typer.Option("--recipe", metavar="FILE", help="Its settings of the scorer.")] = Path(
        "small"
    ),
    run: Annotated[Path, typer.Option("--run", metavar="FOLDER", help="Checkpoints; a stopped call goes on.")] = Path(
        "runs/refit"
    ),
    data: Data = Path("data/rooms"),
) -> None:
    """Distil a trained model's scorer from what its codec takes now, and choose its graphs anew.

    For weights whose codec was trained further, or changed otherwise: a scorer left behind promises what is not there.

    [bold]Examples[/bold]

        atdc refit --model runs/small/small.safetensors -o better.safetensors
    """
    from atdc.training.stages import refit as refit_weights

    console.print(f"written: {escape(str(refit_weights(model, recipe, run, data, out)))}")


@app.command(rich_help_panel="Make the weights")
def retrain(
    ctx: typer.Context,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="The new weights.")],
    model: Model = MEASURED_MODEL,
    recipe: Annotated[Path, typer.Option("--recipe", metavar="FILE", help="Settings of codec and scorer.")] = Path(
        "small"
    ),
    run: Annotated[Path, typer.Option("--run", metavar="FOLDER", help="Checkpoints; a stopped call goes on.")] = Path(
        "runs/retrain"
    ),
    data: Data = Path("data/rooms"),
    device: Device = "cpu",
) -> None:
    """Train a trained model's codec anew, with its task networks and predictor; then its scorer and graphs.

    [bold]Examples[/bold]

        atdc retrain -o better.safetensors
    """
    from atdc.training.stages import retrain as retrain_weights

    console.print(f"written: {escape(str(retrain_weights(model, recipe, run, data, out, device)))}")


@app.command(rich_help_panel="Make the weights")
def balance(
    ctx: typer.Context,
    model: Model = MEASURED_MODEL,
    data: Data = Path("data/rooms"),
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FILE", help="By default beside the weights, for `encode`.")
    ] = None,
    images: Images = "rooms",
    count: Annotated[int, typer.Option("--count", help="Validation images.")] = 300,
    quiet: Quiet = False,
) -> None:
    """Measure what quality of each task reaches the same mean utility in the fewest bytes: for `encode --balanced`.

    [bold]Examples[/bold]

        atdc balance --model runs/small/small.safetensors
        atdc balance --model real --images nyuv2 --data nyuv2 --count 171
    """
    from atdc.evaluation.balance import run_balance

    quiet = quiet or globally(ctx, "quiet")
    result, path = run_balance(model, data, out, name=images, count=count, quiet=quiet)
    _summary("balance", result, path, quiet)


@app.command(rich_help_panel="Measure")
def evaluate(
    ctx: typer.Context,
    model: Model = MEASURED_MODEL,
    data: Data = Path("data/rooms"),
    out: ResultFile = Path("results/evaluate_small.json"),
    split: Split = "test",
    count: Count = 1000,
    extra_count: Annotated[int, typer.Option(help="Images for the extra settings and high effort.")] = 250,
    settings: Annotated[str, typer.Option(help="Graph settings on all images.")] = "codebook,exact,fixed,independent",
    extra_settings: Annotated[
        str, typer.Option(help="Graph settings on the extra images.")
    ] = "greedy,paper,fixed-mode,chain,paper-order,random",
    qualities: Qualities = "0,1,2,4,6,7",
    workers: Annotated[int, typer.Option(help="Processes of one thread each.")] = 1,
    quiet: Quiet = False,
) -> None:
    """Rates and errors of every graph setting on the same images, from real files. A stopped call goes on.

    [bold]Examples[/bold]

        atdc evaluate --workers 2
        atdc evaluate --count 50 --qualities 0,2,4,7 --settings codebook,fixed --extra-settings "" -o /tmp/a.json
    """
    for name in (*_listed(settings), *_listed(extra_settings)):
        _known("graph setting", name, SETTINGS)
    from atdc.evaluation.evaluate import run_evaluate

    quiet = quiet or globally(ctx, "quiet")
    result = run_evaluate(
        model, data, out, split=split, count=count, extra_count=extra_count, settings=_listed(settings),
        extra_settings=_listed(extra_settings), qualities=_numbers(qualities), workers=workers, quiet=quiet,
    )  # fmt: skip
    _summary("evaluate", result, out, quiet)


@app.command(rich_help_panel="Measure")
def bench(
    ctx: typer.Context,
    model: Model = MEASURED_MODEL,
    data: Data = Path("data/rooms"),
    out: ResultFile = Path("results/bench_small.json"),
    count: Count = 50,
    rounds: Annotated[int, typer.Option(help="Pairs of runs behind each ratio of adaptive over fixed.")] = 60,
    quality: Quality = 4.0,
    threads: Annotated[int | None, typer.Option(help="Threads of torch; its own choice by default.")] = None,
    device: Device = "cpu",
    quiet: Quiet = False,
) -> None:
    """Times of encoding and decoding, stage by stage; adaptive over fixed graphs; memory; device against server.

    [bold]Examples[/bold]

        atdc bench
        atdc bench --threads 1 --count 20 -o /tmp/bench.json
        atdc bench --device cuda --model runs/taskonomy_xception/taskonomy_xception.safetensors -o /tmp/bench.json
    """
    from atdc.evaluation.bench import run_bench

    quiet = quiet or globally(ctx, "quiet")
    result = run_bench(
        model, data, out, count=count, rounds=rounds, quality=quality, threads=threads, device=device, quiet=quiet
    )
    _summary("bench", result, out, quiet)


@app.command(rich_help_panel="Measure")
def premise(
    ctx: typer.Context,
    model: Model = MEASURED_MODEL,
    data: Data = Path("data/rooms"),
    out: ResultFile = Path("results/premise_small.json"),
    split: Split = "test",
    count: Count = 250,
    qualities: Qualities = "1,4,7",
    quiet: Quiet = False,
) -> None:
    """Do scores predict bits? Every (image, child, parent set): score against what coding it really takes."""
    from atdc.evaluation.premise import run_premise

    quiet = quiet or globally(ctx, "quiet")
    result = run_premise(model, data, out, split=split, count=count, qualities=_numbers(qualities), quiet=quiet)
    _summary("premise", result, out, quiet)


@app.command(rich_help_panel="Measure")
def statistics(
    ctx: typer.Context,
    model: Model = MEASURED_MODEL,
    data: Data = Path("data/rooms"),
    out: ResultFile = Path("results/statistics_small.json"),
    split: Split = "test",
    count: Count = 1000,
    qualities: Qualities = "1,4,7",
    picture: Annotated[
        Path | None, typer.Option("--picture", metavar="FILE", help="Also draw who is predicted from whom, as an SVG.")
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Which graphs are chosen, how often each, and how often slight changes of the picture change them.

    [bold]Examples[/bold]

        atdc statistics --picture docs/images/graphs.svg
    """
    from atdc.evaluation.statistics import run_statistics

    quiet = quiet or globally(ctx, "quiet")
    result = run_statistics(model, data, out, split=split, count=count, qualities=_numbers(qualities), quiet=quiet)
    if picture is not None:
        from atdc.files import write_bytes_atomically
        from atdc.report.graph_matrix import graph_matrices_svg

        write_bytes_atomically(picture, graph_matrices_svg(result).encode())
    _summary("statistics", result, out, quiet)


@app.command("entropy-cost", rich_help_panel="Measure")
def entropy_cost(
    ctx: typer.Context,
    recipe: Annotated[Path, typer.Option("--recipe", metavar="FILE", help="Of the training run.")] = Path("small"),
    run: Annotated[Path, typer.Option("--run", metavar="FOLDER", help="A finished training run.")] = Path("runs/small"),
    data: Data = Path("data/rooms"),
    out: ResultFile = Path("results/entropy_small.json"),
    count: Count = 250,
    qualities: Qualities = "0,2,4,7",
    rounds: Annotated[int, typer.Option(help="Pairs of timed encodings.")] = 60,
    steps: Annotated[int, typer.Option(help="Training steps of each twin, with parents' states and without.")] = 3000,
    quiet: Quiet = False,
) -> None:
    """What exact integers cost against floats in bytes and time, and what parents' states save.

    Needs the folder of a training run: only there is the float twin of the integers.

    [bold]Examples[/bold]

        atdc entropy-cost
        atdc entropy-cost --steps 0 --count 50 -o /tmp/entropy.json
    """
    from atdc.evaluation.entropy_cost import run_entropy_cost

    quiet = quiet or globally(ctx, "quiet")
    result = run_entropy_cost(
        recipe, run, data, out, count=count, qualities=tuple(_numbers(qualities)), rounds=rounds, steps=steps,
        quiet=quiet,
    )  # fmt: skip
    _summary("entropy-cost", result, out, quiet)


@app.command(rich_help_panel="Measure")
def ablation(
    ctx: typer.Context,
    model: Model = MEASURED_MODEL,
    recipe: Annotated[Path, typer.Option("--recipe", metavar="FILE", help="How both are trained.")] = Path("small"),
    run: Annotated[Path, typer.Option("--run", metavar="FOLDER", help="Checkpoints; a stopped call goes on.")] = Path(
        "runs/ablation"
    ),
    data: Data = Path("data/rooms"),
    out: ResultFile = Path("results/ablation_small.json"),
    epochs: Annotated[int, typer.Option(help="Of each kind, after one of warm-up.")] = 1,
    count: Count = 250,
    quiet: Quiet = False,
) -> None:
    """The conditional codec against the plain residual codec, both trained anew, equally long.

    [bold]Examples[/bold]

        atdc ablation
        atdc ablation --epochs 4
    """
    from atdc.evaluation.ablation import run_ablation

    quiet = quiet or globally(ctx, "quiet")
    _summary("ablation", run_ablation(model, recipe, run, data, out, epochs=epochs, count=count), out, quiet)


@app.command(rich_help_panel="Measure")
def compare(
    ctx: typer.Context,
    recipe: Annotated[Path, typer.Option("--recipe", metavar="FILE", help="Systems, images, budgets.")] = Path(
        "compare_small"
    ),
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FOLDER", help="Results and report.")] = Path(
        "results/compare_small"
    ),
    data: Data = Path("data/rooms"),
    run: Annotated[Path, typer.Option("--run", metavar="FOLDER", help="Checkpoints; a stopped call goes on.")] = Path(
        "runs/compare"
    ),
    only: Annotated[
        list[str] | None, typer.Option("--only", metavar="SYSTEM", help="Train and measure these now; repeatable.")
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Four images and two steps: a trial of the machinery.")
    ] = False,
    workers: Annotated[int, typer.Option(help="Processes of one thread each that measure.")] = 1,
    quiet: Quiet = False,
) -> None:
    """Every system on the same images and task networks: trains what needs it, measures real bytes, writes a report.

    A system whose results are there is not done again. FOLDER gets compare.json, CSV tables and report.html.

    [bold]Examples[/bold]

        atdc compare --recipe compare_small --workers 2
        atdc compare --only jpeg --only avif
        atdc compare --quick -o /tmp/compare
    """
    from atdc.evaluation.compare import run_compare
    from atdc.files import write_bytes_atomically
    from atdc.report.comparison import render_comparison
    from atdc.report.page import thumbnail_uri

    quiet = quiet or globally(ctx, "quiet")
    result = run_compare(
        recipe, out, data=data, run=run, only=only or (), quick=quick, workers=workers, draw=thumbnail_uri, quiet=quiet
    )
    write_bytes_atomically(out / "report.html", render_comparison(result).encode())
    _summary("compare", result, out / "compare.json", quiet)


@app.command("tune-encoders", rich_help_panel="Measure")
def tune_encoders(
    ctx: typer.Context,
    model: Model = MEASURED_MODEL,
    recipe: Annotated[Path, typer.Option("--recipe", metavar="FILE", help="How its codec was trained.")] = Path(
        "small"
    ),
    run: Annotated[Path, typer.Option("--run", metavar="FOLDER", help="Checkpoints; a stopped call goes on.")] = Path(
        "runs/tuned"
    ),
    data: Data = Path("data/rooms"),
    out: ResultFile = Path("results/joint_tuning_small.json"),
    steps: Annotated[int, typer.Option(help="Of each.")] = 200,
    count: Count = 200,
    quiet: Quiet = False,
) -> None:
    """Train the codec further with its encoders under the rate, and the codec alone as long; compare the two.

    [bold]Examples[/bold]

        atdc tune-encoders
        atdc tune-encoders --steps 50 --count 100 -o /tmp/tuned.json
    """
    from atdc.evaluation.joint_tuning import run_joint_tuning

    quiet = quiet or globally(ctx, "quiet")
    result = run_joint_tuning(model, recipe, run, data, out, steps=steps, count=count, quiet=quiet)
    _summary("versus", result, out, quiet)


@app.command(rich_help_panel="Measure")
def versus(
    ctx: typer.Context,
    models: Annotated[list[str], typer.Argument(metavar="NAME|FILE...", help="Weights; the first is the yardstick.")],
    data: Data = Path("data/rooms"),
    images: Images = "rooms",
    out: ResultFile = Path("results/versus_rooms.json"),
    split: Split = "test",
    count: Count = 200,
    qualities: Qualities = "0,1,2,4,7",
    quiet: Quiet = False,
) -> None:
    """Several weights on the same pictures: what their networks see, and bytes at equal utility.

    [bold]Examples[/bold]

        atdc versus real small
        atdc versus real small --images nyuv2 --data nyuv2 -o /tmp/nyuv2.json
    """
    from atdc.evaluation.versus import run_versus

    quiet = quiet or globally(ctx, "quiet")
    result = run_versus(
        models, data, out, name=images, split=split, count=count, qualities=_numbers(qualities), quiet=quiet
    )
    _summary("versus", result, out, quiet)


@app.command(rich_help_panel="Measure")
def affinity(
    ctx: typer.Context,
    model: Model = MEASURED_MODEL,
    recipe: Annotated[Path, typer.Option("--recipe", metavar="FILE", help="Of the network that is trained.")] = Path(
        "small"
    ),
    run: Annotated[Path, typer.Option("--run", metavar="FOLDER", help="Checkpoint; a stopped call goes on.")] = Path(
        "runs/affinity"
    ),
    data: Data = Path("data/rooms"),
    out: ResultFile = Path("results/affinity_small.json"),
    steps: Annotated[int, typer.Option(help="Training steps of the shared network.")] = 300,
    batch: Annotated[int, typer.Option(help="Images in each.")] = 16,
    quiet: Quiet = False,
) -> None:
    """Which tasks help each other when they share a network: what the TAMC-style codec groups by."""
    from atdc.evaluation.affinity import run_affinity

    quiet = quiet or globally(ctx, "quiet")
    _summary("affinity", run_affinity(model, recipe, run, data, out, steps=steps, batch=batch), out, quiet)


@app.command(rich_help_panel="Measure")
def sweep(
    ctx: typer.Context,
    model: Model = MEASURED_MODEL,
    data: Data = Path("data/rooms"),
    out: ResultFile = Path("results/sweep_small.json"),
    split: Split = "test",
    count: Count = 100,
    qualities: Qualities = "1,4,7",
    quiet: Quiet = False,
) -> None:
    """The paper's search for several K (most parents) and τ (least gain): what each costs in real bytes."""
    from atdc.evaluation.sweep import run_sweep

    quiet = quiet or globally(ctx, "quiet")
    result = run_sweep(model, data, out, split=split, count=count, qualities=_numbers(qualities), quiet=quiet)
    _summary("sweep", result, out, quiet)


@app.command("entropy-models", rich_help_panel="Measure")
def entropy_models(
    ctx: typer.Context,
    recipe: Annotated[Path, typer.Option("--recipe", metavar="FILE", help="Of the comparison.")] = Path(
        "compare_small"
    ),
    run: Annotated[Path, typer.Option("--run", metavar="FOLDER", help="Checkpoints; a stopped call goes on.")] = Path(
        "runs/compare"
    ),
    data: Data = Path("data/rooms"),
    out: ResultFile = Path("results/entropy_models_small.json"),
    steps: Annotated[int, typer.Option(help="Training steps of each codec, from the base's weights.")] = 200,
    count: Count = 40,
    qualities: Qualities = "1,3,5,7",
    quiet: Quiet = False,
) -> None:
    """What graphs per image earn with a factorised, a hyper-latent and a context entropy model, by measured costs."""
    from atdc.evaluation.entropy_models import run_entropy_models

    quiet = quiet or globally(ctx, "quiet")
    result = run_entropy_models(
        recipe, run, data, out, steps=steps, count=count, qualities=_numbers(qualities), quiet=quiet
    )
    _summary("entropy-models", result, out, quiet)


@app.command("add-task", rich_help_panel="Measure")
def add_task(
    ctx: typer.Context,
    model: Model = MEASURED_MODEL,
    recipe: Annotated[Path, typer.Option("--recipe", metavar="FILE", help="How codecs are trained.")] = Path("small"),
    run: Annotated[Path, typer.Option("--run", metavar="FOLDER", help="Checkpoints; a stopped call goes on.")] = Path(
        "runs/added"
    ),
    data: Data = Path("data/rooms"),
    out: ResultFile = Path("results/added_task_small.json"),
    steps: Annotated[int, typer.Option(help="Of the codec of five; the sixth task gets half.")] = 500,
    count: Count = 100,
    qualities: Qualities = "1,4,7",
    quiet: Quiet = False,
) -> None:
    """Train a codec of five tasks, add the sixth with all else frozen, and see what changes for the five.

    [bold]Examples[/bold]

        atdc add-task
        atdc add-task --steps 1500 --count 1000
    """
    from atdc.evaluation.added_task import run_added_task

    quiet = quiet or globally(ctx, "quiet")
    result = run_added_task(
        model, recipe, run, data, out, steps=steps, count=count, qualities=_numbers(qualities), quiet=quiet
    )
    _summary("add-task", result, out, quiet)


@app.command(rich_help_panel="Measure")
def scaling(
    ctx: typer.Context,
    out: ResultFile = Path("results/scaling.json"),
    quiet: Quiet = False,
) -> None:
    """Search and scoring for 8 to 64 tasks, on made-up scores with a known structure: time, and the saving kept."""
    from atdc.evaluation.scaling import run_scaling

    quiet = quiet or globally(ctx, "quiet")
    _summary("scaling", run_scaling(out, quiet=quiet), out, quiet)


@app.command(rich_help_panel="Measure")
def fuzz(
    ctx: typer.Context,
    model: Annotated[
        str, typer.Option("--model", metavar="NAME|FILE", help="Weights; or tiny, made on the spot, which decode fast.")
    ] = "tiny",
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FILE", help="The result; results/fuzz_MODEL.json by default.")
    ] = None,
    count: Annotated[int, typer.Option("--count", min=1, help="Damaged files.")] = 1_000_000,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of everything that is drawn.")] = 0,
    quiet: Quiet = False,
) -> None:
    """Damaged files by the million: each decodes to exactly what it says, or is refused by name.

    [bold]Examples[/bold]

        atdc fuzz --count 20000
        atdc fuzz --model small --count 50000 -o results/fuzz_small.json
    """
    from atdc.evaluation.fuzz import run_fuzz

    quiet, out = quiet or globally(ctx, "quiet"), out or Path(f"results/fuzz_{Path(model).stem}.json")
    result = run_fuzz(model, out, count=count, seed=seed, quiet=quiet)
    _summary("fuzz", result, out, quiet)
    if result["outcomes"]["failed"]:
        raise typer.Exit(1)


@app.command(rich_help_panel="Measure")
def selfcheck(
    ctx: typer.Context,
    model: Model = MEASURED_MODEL,
    out: ResultFile = Path("results/selfcheck_small.json"),
    images: Annotated[int, typer.Option("--images", min=1, help="Images of a round.")] = 128,
    which: Annotated[CheckSet, typer.Option("--set", help="[bold]ci[/bold]: four ways to compute.")] = CheckSet.FULL,
    symbols: Annotated[
        float | None, typer.Option("--symbols", help="Go on with fresh images until so many symbols are compared.")
    ] = None,
    python: Annotated[
        Path | None, typer.Option("--python", metavar="FILE", help="A Python with another release of torch.")
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Files decode to the same integers whatever computes them: threads, kernels, precisions.

    A stopped call goes on where it was.

    [bold]Examples[/bold]

        atdc selfcheck --set ci --images 32 -o /tmp/selfcheck.json
        atdc selfcheck --symbols 1e8
    """
    from atdc.evaluation.selfcheck import run_selfcheck

    quiet = quiet or globally(ctx, "quiet")
    result = run_selfcheck(
        model, out, images=images, configurations="ci" if which is CheckSet.CI else "full", symbols_target=symbols,
        python=python, quiet=quiet,
    )  # fmt: skip
    _summary("selfcheck", result, out, quiet)
    if not result["passed"]:
        raise typer.Exit(1)


# --- plumbing --------------------------------------------------------------------------------------------------------


def _mean_bpp(coded: Sequence[jobs_of.Coded]) -> float:
    return 8 * sum(item.bytes for item in coded) / max(1, sum(item.pixels for item in coded))


def _items(
    ctx: typer.Context, names: Sequence[str] | None, from_file: str | None, wanted: Callable[[Path], bool]
) -> list[Item]:
    """The inputs that are named; copies of what comes through pipes live as long as the command."""
    if not names and from_file is None:
        raise typer.BadParameter("no input is named; name files or folders, - for standard input, or use --from-file.")
    temporary = ctx.with_resource(TemporaryDirectory(prefix="atdc-"))
    return find_items(names or (), from_file, wanted, Path(temporary))


def _one_file(names: Sequence[str] | None, from_file: str | None) -> bool:
    """Whether a single file is named by its path, so that a program expects one answer instead of a list."""
    return (
        from_file is None
        and len(names or ()) == 1
        and not any(os.path.isdir(name) or (glob.has_magic(name) and not os.path.exists(name)) for name in names or ())
    )


def _is_coded(path: Path) -> bool:
    return path.suffix == SUFFIX


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in _picture_suffixes()


@cache
def _picture_suffixes() -> frozenset[str]:
    """Of what Pillow opens, and of kinds that cameras write and Pillow opens with an extra."""
    from PIL import Image

    documents = {"EPS", "MPEG", "BUFR", "GRIB", "HDF5", "WMF"}
    known = {suffix for suffix, kind in Image.registered_extensions().items() if kind in Image.OPEN.keys() - documents}
    return frozenset(known | {".heic", ".heif", ".avif"})


def _destination(out: str, items: Sequence[Item], kind: str) -> jobs_of.Destination:
    """Standard output for ``-``, a file for what looks like one, otherwise a folder."""
    path = Path(out)
    if out in ("-", "/dev/stdout"):
        where = jobs_of.Destination("stream", path)
        if len(items) == 1 and getattr(sys.stdout, "isatty", bool)():
            raise typer.BadParameter("standard output is a terminal; send it to a file or a program.")
    elif path.suffix and not out.endswith(("/", os.sep)) and not os.path.isdir(path):
        where = jobs_of.Destination("file", path)
    else:
        return jobs_of.Destination("folder", path)
    if len(items) != 1:
        folder = f": {out}/" if where.kind == "file" else ""
        raise typer.BadParameter(f"{out} is one file, but there are {len(items)} {kind}s; name a folder{folder}")
    return where


def _existing(skip: bool, force: bool) -> jobs_of.Existing:
    if skip and force:
        raise typer.BadParameter("--skip-existing and --force exclude each other.")
    return jobs_of.Existing.SKIP if skip else jobs_of.Existing.REPLACE if force else jobs_of.Existing.REFUSE


def _task_quality(value: str) -> tuple[str, float]:
    name, _, number = value.partition("=")
    return name, float(number)


def _silent(step: str) -> None:
    """Says nothing."""


def _numbers(text: str) -> list[float]:
    try:
        values = [float(item) for item in _listed(text)]
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} should be numbers with commas between, for example 0,2,4,7.") from error
    for value in values:
        _quality(value)
    return values


def _summary(command: str, result: Mapping[str, Any], out: Path, quiet: bool) -> None:
    from atdc.report.summaries import SUMMARIES

    if not quiet:
        for table in SUMMARIES[command](result):
            console.print(table)
        console.print(f"written: {escape(str(out))}")


def _show(name: str, seen: Inspection) -> None:
    from atdc.report.summaries import plain_table

    unit, rate = ("pixels", "bpp") if seen.kind == "image" else ("feature positions", "bits per position")
    console.print(
        f"[bold]{escape(name)}[/bold]: {seen.bytes:,} bytes for {seen.width}×{seen.height} {unit}, "
        f"{seen.bpp:.3f} {rate}"
    )
    known = [key for key in ("bytes", "ideal_bits") if all(key in row for row in seen.tasks.values())]
    columns = ["quality", *(key.replace("_", " ") for key in known), *(["share"] if known else [])]
    table = plain_table("task", [])
    if seen.graph is not None:
        table.add_column("predicted from")
    for column in columns:
        table.add_column(column, justify="right")
    total = sum(row[known[0]] for row in seen.tasks.values()) if known else 0
    for name, row in seen.tasks.items():
        cells = [name] if seen.graph is None else [name, ", ".join(seen.graph[name]) or "–"]
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
    if seen.ideal_bits is None:
        console.print(f"For task names, the graph and ideal bits, name the weights {seen.fingerprint} with --model.")


def main() -> None:
    """Entry point of the ``atdc`` command.

    Threads that wait for each other sleep instead of spinning: on a machine that does something else at the same time,
    spinning made coding a small picture take a hundred times as long. It must be said before torch is loaded.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    guard_output()
    app()


if __name__ == "__main__":
    main()
