"""The command line: ``atdc encode``, ``decode``, ``inspect``, ``demo``; ``data``, ``train``; and the evidence.

Exit status: 0, all done; 1, some inputs failed, the others are done; 2, the command itself makes no sense. An error is
one line on standard error, without traceback. What takes long to import is imported when a command needs it, so that
``atdc --help`` and shell completion answer at once.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from typer.core import TyperGroup

from atdc.config import MAX_QUALITY
from atdc.errors import ArgumentError, AtdcError
from atdc.graph.search import SETTINGS, parse_setting
from atdc.tasks import TASK_NAMES

if TYPE_CHECKING:
    from atdc.pipeline import Codec, Inspection

SUFFIX = ".atdc"
FILE_LIMIT_BYTES = 256 * 2**20
"""A larger file is not read: no image that this package accepts needs as much."""

Result = TypeVar("Result")
_out = Console(highlight=False, soft_wrap=True)
_err = Console(stderr=True, highlight=False, soft_wrap=True)


class _Commands(TyperGroup):
    """Errors of this package end in one line and an exit status, whichever way a command is called."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except AtdcError as error:
            if ctx.params.get("traceback"):
                raise
            _complain(error)
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


# --- options that several commands share -----------------------------------------------------------------------------


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


def _tasks(value: str | None) -> str | None:
    if value is not None:
        for name in _listed(value):
            _known("task", name, TASK_NAMES)
    return value


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
    return values


def _listed(value: str) -> list[str]:
    return [name.strip() for name in value.split(",") if name.strip()]


def _starting_with(names: Iterable[str]) -> Callable[[str], list[str]]:
    return lambda incomplete: [name for name in names if name.startswith(incomplete)]


Model = Annotated[
    str, typer.Option("--model", metavar="NAME|FILE", help="Shipped weights by name, or a .safetensors file.")
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
Quiet = Annotated[bool, typer.Option("--quiet", help="Print errors only.")]


def _version(value: bool) -> None:
    if value:
        from atdc import __version__

        _out.print(f"atdc {__version__}")
        raise typer.Exit


@app.callback()
def root(
    ctx: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and leave.")
    ] = False,
    quiet: Quiet = False,
    traceback: Annotated[bool, typer.Option("--traceback", help="On an error, show where it came from.")] = False,
) -> None:
    """A codec for what machines look at: a photo in, one small file out, six answers back.

    [bold]Start here[/bold]

        atdc demo                             # see it all, as a page
        atdc encode photo.jpg -o photo.atdc   # one small file
        atdc decode photo.atdc -o answers     # PNG and .npy, per task
        atdc inspect photo.atdc               # the graph, and its price
    """
    ctx.obj = {"quiet": quiet, "traceback": traceback}


# --- the main job ----------------------------------------------------------------------------------------------------


@app.command(rich_help_panel="Use")
def encode(
    ctx: typer.Context,
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE", help="Pictures of any kind that Pillow reads.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="A folder; or, for one image, a file ending in .atdc.")],
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
    graph: Graph = "codebook",
    effort: Annotated[
        Effort, typer.Option(help="[bold]high[/bold] codes several graphs, keeps the best: slower.")
    ] = Effort.NORMAL,
    model: Model = "small",
    quiet: Quiet = False,
) -> None:
    """Encode pictures: one small file each.

    [bold]Examples[/bold]

        atdc encode photo.jpg -o photo.atdc
        atdc encode *.png -o encoded --quality 2
        atdc encode photo.jpg -o out -q 3 --task-quality depth_zbuffer=6 --task-quality rgb=0
        atdc encode photo.jpg -o out --effort high
    """
    targets = _targets(images, out)
    single = out.suffix == SUFFIX and not out.is_dir()
    qualities = dict.fromkeys(TASK_NAMES, quality)
    for item in task_quality or []:
        name, _, number = item.partition("=")
        qualities[name] = float(number)

    from atdc.files import write_bytes_atomically
    from atdc.images import read_image
    from atdc.report.answer_files import make_folder

    codec = _load(model)
    make_folder(out.parent if single else out)

    def work(path: Path) -> _Coded:
        rgb = read_image(path)
        data = codec.encode(rgb, quality=qualities, graph=graph, effort=effort.value)
        write_bytes_atomically(targets[path], data)
        return _Coded(len(data), rgb.shape[0] * rgb.shape[1])

    def line(path: Path, coded: _Coded) -> str:
        return f"{path} → {targets[path]}  {coded.bytes:,} bytes, {coded.bpp:.3f} bpp"

    done = _for_each(ctx, "encode", images, work, line, quiet)
    done.finish(lambda coded: f"{sum(c.bytes for c in coded):,} bytes, {_mean_bpp(coded):.3f} bpp")


@app.command(rich_help_panel="Use")
def decode(
    ctx: typer.Context,
    files: Annotated[list[Path], typer.Argument(metavar="FILE", help="Files written by `atdc encode`.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="A folder; every file gets a folder of its own in it.")],
    tasks: Annotated[
        str | None,
        typer.Option(
            metavar="TASK,...",
            callback=_tasks,
            autocompletion=_starting_with(TASK_NAMES),
            help="Only these answers; all by default: " + ", ".join(TASK_NAMES) + ".",
        ),
    ] = None,
    model: Model = "small",
    quiet: Quiet = False,
) -> None:
    """Decode files: for every task a PNG to look at and an .npy to compute with.

    [bold]Examples[/bold]

        atdc decode photo.atdc -o answers      # answers/photo/depth_zbuffer.png, .npy, …
        atdc decode encoded/*.atdc -o answers --tasks depth_zbuffer,normal
    """
    _distinct_stems(files)
    wanted = None if tasks is None else list(dict.fromkeys(_listed(tasks)))

    from atdc.report.answer_files import make_folder, write_answers

    codec = _load(model)
    make_folder(out)

    def work(path: Path) -> list[Path]:
        return write_answers(out / path.stem, codec.decode(_read(path), wanted))

    def line(path: Path, written: list[Path]) -> str:
        return f"{path} → {out / path.stem}{os.sep}  " + ", ".join(p.stem for p in written if p.suffix == ".png")

    _for_each(ctx, "decode", files, work, line, quiet).finish(lambda _: f"answers in {out}")


@app.command(rich_help_panel="Use")
def inspect(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A file written by `atdc encode`.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
    model: Model = "small",
) -> None:
    """Show what is in a file: its size, the graph, and what every task cost.

    [bold]Examples[/bold]

        atdc inspect photo.atdc
        atdc inspect photo.atdc --json | jq .graph
    """
    inspection = _load(model).inspect(_read(file))
    if as_json:
        print(inspection.to_json())
    else:
        _show(file, inspection)


@app.command(rich_help_panel="Use")
def demo(
    ctx: typer.Context,
    images: Annotated[
        list[Path] | None, typer.Argument(metavar="IMAGE", help="Pictures; by default the rooms carried along.")
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the page and the files.")] = Path("demo"),
    quality: Quality = 4.0,
    graph: Graph = "codebook",
    model: Model = "small",
    quiet: Quiet = False,
) -> None:
    """The main job as a page: encode here, decode in another process, show everything.

    [bold]Examples[/bold]

        atdc demo
        atdc demo photo.jpg -o demo --quality 2
    """
    from atdc.report.demo import demo_tables, run_demo

    quiet = quiet or _globally(ctx, "quiet")
    with _err.status("starting", spinner="dots") as status:
        result = run_demo(
            images or [], out, model=model, quality=quality, graph=graph, report=status.update if not quiet else _silent
        )
    if not quiet:
        for table in demo_tables(result.shown):
            _out.print(table)
        _out.print(
            f"Decoded by another process, from the files and the weights alone, in {result.decode_seconds:.1f} s."
        )
        _out.print(f"The page: {result.page.resolve().as_uri()}")


# --- making the weights ----------------------------------------------------------------------------------------------

Data = Annotated[Path, typer.Option("--data", metavar="FOLDER", help="Rendered rooms; made if absent.")]


@app.command(rich_help_panel="Make the weights")
def data(
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

    names = split or list(SPLITS)
    for name in names:
        _known("split", name, list(SPLITS))
    for name in names:
        materialise(folder, name, count=count, workers=workers)
        _out.print(f"{name}: {count or SPLITS[name].count} rooms in {escape(str(folder / name))}")


@app.command(rich_help_panel="Make the weights")
def train(
    recipe: Annotated[
        Path,
        typer.Option("--recipe", metavar="FILE", help="Settings, in YAML; recipes/small.yaml is the shipped model."),
    ],
    run: Annotated[
        Path | None, typer.Option("--run", metavar="FOLDER", help="Checkpoints and logs; runs/<recipe> by default.")
    ] = None,
    data: Data = Path("data/rooms"),
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FILE", help="The weights; in the run folder by default.")
    ] = None,
) -> None:
    """Train a model, from rendered rooms to a weights file. A stopped call goes on where it was.

    [bold]Examples[/bold]

        atdc train --recipe recipes/small.yaml
        atdc train --recipe recipes/tiny.yaml --run /tmp/tiny
        tensorboard --logdir runs             # in another terminal
    """
    from atdc.training.stages import train as train_by_recipe

    path = train_by_recipe(recipe, run or Path("runs") / recipe.stem, data, out)
    _out.print(f"weights: {escape(str(path))}")


# --- the evidence ----------------------------------------------------------------------------------------------------

Count = Annotated[int, typer.Option("--count", help="Images, from the split's start.")]
Split = Annotated[str, typer.Option("--split", help="Rooms: test; or test_styles, of styles not trained on.")]
Qualities = Annotated[str, typer.Option("--qualities", metavar="Q,Q,...", help="Qualities, separated by commas.")]
ResultFile = Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="The result, JSON.")]


@app.command(rich_help_panel="Measure")
def evaluate(
    ctx: typer.Context,
    model: Model = "small",
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

    quiet = quiet or _globally(ctx, "quiet")
    result = run_evaluate(
        model, data, out, split=split, count=count, extra_count=extra_count, settings=_listed(settings),
        extra_settings=_listed(extra_settings), qualities=_numbers(qualities), workers=workers, quiet=quiet,
    )  # fmt: skip
    _summary("evaluate", result, out, quiet)


@app.command(rich_help_panel="Measure")
def bench(
    ctx: typer.Context,
    model: Model = "small",
    data: Data = Path("data/rooms"),
    out: ResultFile = Path("results/bench_small.json"),
    count: Count = 50,
    rounds: Annotated[int, typer.Option(help="Pairs of runs behind each ratio of adaptive over fixed.")] = 60,
    quality: Quality = 4.0,
    threads: Annotated[int | None, typer.Option(help="Threads of torch; its own choice by default.")] = None,
    quiet: Quiet = False,
) -> None:
    """Times of encoding and decoding, stage by stage; adaptive over fixed graphs; memory; device against server.

    [bold]Examples[/bold]

        atdc bench
        atdc bench --threads 1 --count 20 -o /tmp/bench.json
    """
    from atdc.evaluation.bench import run_bench

    quiet = quiet or _globally(ctx, "quiet")
    result = run_bench(model, data, out, count=count, rounds=rounds, quality=quality, threads=threads, quiet=quiet)
    _summary("bench", result, out, quiet)


@app.command(rich_help_panel="Measure")
def premise(
    ctx: typer.Context,
    model: Model = "small",
    data: Data = Path("data/rooms"),
    out: ResultFile = Path("results/premise_small.json"),
    split: Split = "test",
    count: Count = 250,
    qualities: Qualities = "1,4,7",
    quiet: Quiet = False,
) -> None:
    """Do scores predict bits? Every (image, child, parent set): score against what coding it really takes."""
    from atdc.evaluation.premise import run_premise

    quiet = quiet or _globally(ctx, "quiet")
    result = run_premise(model, data, out, split=split, count=count, qualities=_numbers(qualities), quiet=quiet)
    _summary("premise", result, out, quiet)


@app.command(rich_help_panel="Measure")
def statistics(
    ctx: typer.Context,
    model: Model = "small",
    data: Data = Path("data/rooms"),
    out: ResultFile = Path("results/statistics_small.json"),
    split: Split = "test",
    count: Count = 1000,
    qualities: Qualities = "1,4,7",
    quiet: Quiet = False,
) -> None:
    """Which graphs are chosen, how often each, and how often slight changes of the picture change them."""
    from atdc.evaluation.statistics import run_statistics

    quiet = quiet or _globally(ctx, "quiet")
    result = run_statistics(model, data, out, split=split, count=count, qualities=_numbers(qualities), quiet=quiet)
    _summary("statistics", result, out, quiet)


# --- plumbing --------------------------------------------------------------------------------------------------------


class _Coded:
    """Length of one file and the pixels it stands for."""

    def __init__(self, size_bytes: int, pixels: int) -> None:
        self.bytes, self.bpp = size_bytes, 8 * size_bytes / pixels
        self.pixels = pixels


def _mean_bpp(coded: Sequence[_Coded]) -> float:
    return 8 * sum(item.bytes for item in coded) / max(1, sum(item.pixels for item in coded))


class _Done:
    """What became of many inputs."""

    def __init__(self, verb: str, results: list[Any], failed: int, seconds: float, quiet: bool) -> None:
        self.verb, self.results, self.failed, self.seconds, self.quiet = verb, results, failed, seconds, quiet

    def finish(self, summary: Callable[[list[Any]], str]) -> None:
        """Print the summary of many inputs, and leave with status 1 if one failed."""
        total = len(self.results) + self.failed
        if not self.quiet and total > 1:
            failed = f", {self.failed} failed" if self.failed else ""
            what = f": {summary(self.results)}" if self.results else ""
            _out.print(f"{self.verb}d {len(self.results)} of {total} files{failed} in {self.seconds:.1f} s{what}")
        if self.failed:
            raise typer.Exit(1)


def _for_each(
    ctx: typer.Context,
    verb: str,
    paths: Sequence[Path],
    work: Callable[[Path], Result],
    line: Callable[[Path, Result], str],
    quiet: bool,
) -> _Done:
    """Work on every input; one that fails gets a line and does not stop the others."""
    quiet = quiet or _globally(ctx, "quiet")
    start, results, failed = time.perf_counter(), [], 0
    progress = Progress(
        TextColumn(f"{verb[:-1]}ing"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
        console=_err, transient=True, disable=quiet or len(paths) < 2 or not _err.is_terminal,
    )  # fmt: skip
    with progress:
        step = progress.add_task(verb, total=len(paths))
        for path in paths:
            try:
                result = work(path)
                results.append(result)
                if not quiet:
                    _out.print(escape(line(path, result)))
            except Exception as error:
                if _globally(ctx, "traceback"):
                    raise
                failed += 1
                _complain(error, path)
            progress.advance(step)
    return _Done(verb, results, failed, time.perf_counter() - start, quiet)


def _complain(error: Exception, path: Path | None = None) -> None:
    """One line on standard error."""
    text = " ".join(str(error).split())
    if isinstance(error, MemoryError) or "allocate memory" in text:  # torch says it with a RuntimeError
        text = "found too little memory; expected about 150 bytes a pixel. Make the picture smaller."
    elif not isinstance(error, AtdcError):
        text = f"{type(error).__name__}: {text} (a defect of atdc; `atdc --traceback …` shows where)"
    if path is not None and str(path) not in text:
        text = f"{path}: {text}"
    _err.print(f"[bold red]atdc:[/bold red] {escape(text)}")


def _globally(ctx: typer.Context, option: str) -> bool:
    return bool((ctx.obj or {}).get(option, False))


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
            _out.print(table)
        _out.print(f"written: {escape(str(out))}")


def _load(model: str) -> Codec:
    from atdc.pipeline import load

    return load(model)


def _read(path: Path) -> bytes:
    from atdc.files import read_bytes

    return read_bytes(path, FILE_LIMIT_BYTES)


def _targets(images: Sequence[Path], out: Path) -> dict[Path, Path]:
    """Which file each image goes to; a usage error if two would go to one."""
    if out.suffix == SUFFIX and not out.is_dir():
        if len(images) > 1:
            raise typer.BadParameter(f"{out} is one file, but there are {len(images)} images; name a folder.")
        return {images[0]: out}
    _distinct_stems(images)
    return {path: out / f"{path.stem}{SUFFIX}" for path in images}


def _distinct_stems(paths: Sequence[Path]) -> None:
    seen: dict[str, Path] = {}
    for path in paths:
        if path.stem in seen:
            raise typer.BadParameter(
                f"{seen[path.stem]} and {path} would be written to the same name, {path.stem}; use separate calls."
            )
        seen[path.stem] = path


def _show(file: Path, inspection: Inspection) -> None:
    from atdc.report.summaries import plain_table

    total = max(1, sum(int(row["bytes"]) for row in inspection.tasks.values()))
    _out.print(
        f"[bold]{escape(str(file))}[/bold]: {inspection.bytes:,} bytes for "
        f"{inspection.width}×{inspection.height} pixels, {inspection.bpp:.3f} bpp"
    )
    table = plain_table("task", [])
    table.add_column("predicted from")
    for column in ("quality", "bytes", "share", "ideal bits"):
        table.add_column(column, justify="right")
    for name, row in inspection.tasks.items():
        table.add_row(
            name,
            ", ".join(inspection.graph.get(name, [])) or "–",
            f"{inspection.quality[name]:g}",
            f"{int(row['bytes']):,}",
            f"{row['bytes'] / total:.0%}",
            f"{row['ideal_bits']:,.0f}",
        )
    _out.print(table)
    framing = inspection.bytes - sum(int(row["bytes"]) for row in inspection.tasks.values())
    _out.print(
        f"header, graph and checksum {framing} bytes; ideal {inspection.ideal_bits / 8:,.1f} bytes; "
        f"format {inspection.version}, weights {inspection.fingerprint}"
    )


def main() -> None:
    """Entry point of the ``atdc`` command.

    Threads that wait for each other sleep instead of spinning: on a machine that does something else at the same time,
    spinning made coding a small picture take a hundred times as long. It must be said before torch is loaded.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    app()


if __name__ == "__main__":
    main()
