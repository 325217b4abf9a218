"""The measuring commands, ``atdc bench …``: each writes a result file and prints what it says."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markdown import Markdown
from rich.markup import escape
from typer.core import TyperGroup

from atdc.cli.batch import globally
from atdc.cli.batch import out as console
from atdc.cli.options import (
    HELP_NAMES,
    Data,
    Device,
    Quality,
    Quiet,
    in_range,
    known,
    listed,
    numbers,
)
from atdc.data.data_sets import DATA_SETS
from atdc.errors import ArgumentError
from atdc.graph.search import SETTINGS


class _Measurements(TyperGroup):
    """Options come after the name of a measurement."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        option = next(iter(args), "")
        if option.startswith("-") and option not in HELP_NAMES["help_option_names"] and not ctx.resilient_parsing:
            expected = "a measurement, as in `atdc bench speed`, before its options"
            raise ArgumentError("atdc bench", option, expected, "atdc bench --help lists them.")
        return super().parse_args(ctx, args)


MEASURED_MODEL = "small"
"""What tables are of: weights from rooms alone, which anybody can render."""
Model = Annotated[
    str, typer.Option("--model", metavar="NAME|FILE", help="Shipped weights by name, or a .safetensors file.")
]
ResultFile = Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="The result, JSON.")]

app = typer.Typer(
    name="bench",
    cls=_Measurements,
    no_args_is_help=True,
    rich_markup_mode="rich",
    context_settings=HELP_NAMES,
)

Count = Annotated[int, typer.Option("--count", help="Images, from the split's start.")]
Split = Annotated[str, typer.Option("--split", help="Rooms: test; or test_styles, of styles not trained on.")]
Qualities = Annotated[str, typer.Option("--qualities", metavar="Q,Q,...", help="Qualities, separated by commas.")]
Real = Annotated[
    Path | None,
    typer.Option("--real", metavar="FOLDER", help="NYUv2 frames, for recipes that want them, too."),
]
Images = Annotated[str, typer.Option("--images", help=f"What DATA holds: {', '.join(DATA_SETS)}.")]


class CheckSet(StrEnum):
    """How much of `selfcheck` to run."""

    CI = "ci"
    FULL = "full"


@app.callback()
def root() -> None:
    """Measure: rates and errors, times, other systems, and what else the tables of the pages say.

    [bold]Examples[/bold]

        atdc bench evaluate --count 50 -o /tmp/evaluate.json
        atdc bench speed --threads 1 --count 20 -o /tmp/speed.json
    """


@app.command()
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
    """Rates and errors of every graph setting on the same images, from real files. A stopped call resumes.

    [bold]Examples[/bold]

        atdc bench evaluate --workers 2
        atdc bench evaluate --count 50 --qualities 0,2,4,7 --settings codebook,fixed --extra-settings "" -o /tmp/a.json
    """
    for name in (*listed(settings), *listed(extra_settings)):
        known("graph setting", name, SETTINGS)
    _measured(
        ctx, "evaluate", out, quiet, model=model, data=data, split=split, count=count, extra_count=extra_count,
        settings=listed(settings), extra_settings=listed(extra_settings), qualities=_qualities(qualities),
        workers=workers,
    )  # fmt: skip


@app.command()
def speed(
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

        atdc bench speed
        atdc bench speed --threads 1 --count 20 -o /tmp/speed.json
        atdc bench speed --device cuda --model runs/taskonomy_xception/taskonomy_xception.safetensors -o /tmp/speed.json
    """
    _measured(
        ctx, "speed", out, quiet, model=model, data=data, count=count, rounds=rounds, quality=quality, threads=threads,
        device=device,
    )  # fmt: skip


@app.command("score-calibration")
def score_calibration(
    ctx: typer.Context,
    model: Model = MEASURED_MODEL,
    data: Data = Path("data/rooms"),
    out: ResultFile = Path("results/score_calibration_small.json"),
    split: Split = "test",
    count: Count = 250,
    qualities: Qualities = "1,4,7",
    quiet: Quiet = False,
) -> None:
    """Do scores predict bits? Every (image, child, parent set): score against what coding it really takes."""
    _measured(
        ctx, "score-calibration", out, quiet, model=model, data=data, split=split, count=count,
        qualities=_qualities(qualities),
    )  # fmt: skip


@app.command()
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
    """Which graphs are chosen, how often each, and how often slight changes of the image change them.

    [bold]Examples[/bold]

        atdc bench statistics --picture docs/images/graphs.svg
    """
    result = _measured(
        ctx, "statistics", out, quiet, model=model, data=data, split=split, count=count, qualities=_qualities(qualities)
    )
    if picture is not None:
        from atdc.files import write_bytes_atomically
        from atdc_bench.report.graph_matrix import graph_matrices_svg

        write_bytes_atomically(picture, graph_matrices_svg(result).encode())


@app.command()
def balance(
    ctx: typer.Context,
    model: Model = MEASURED_MODEL,
    data: Data = Path("data/rooms"),
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FILE", help="By default next to the weights, for `encode`.")
    ] = None,
    images: Images = "rooms",
    count: Annotated[int, typer.Option("--count", help="Validation images.")] = 300,
    quiet: Quiet = False,
) -> None:
    """Measure what quality of each task reaches the same mean utility in the fewest bytes: for `encode --balanced`.

    [bold]Examples[/bold]

        atdc bench balance --model runs/small/small.safetensors
        atdc bench balance --model real --images nyuv2 --data nyuv2 --count 171
    """
    from atdc.balance import balance_path
    from atdc.weights import open_weights

    path = out or balance_path(open_weights(model).path)
    _measured(ctx, "balance", path, quiet, model=model, data=data, name=images, count=count)


@app.command("entropy-cost")
def entropy_cost(
    ctx: typer.Context,
    recipe: Annotated[Path, typer.Option("--recipe", metavar="FILE", help="Of the training run.")] = Path("small"),
    run: Annotated[Path, typer.Option("--run", metavar="FOLDER", help="A finished training run.")] = Path("runs/small"),
    data: Data = Path("data/rooms"),
    out: ResultFile = Path("results/entropy_small.json"),
    count: Count = 250,
    qualities: Qualities = "0,2,4,7",
    rounds: Annotated[int, typer.Option(help="Pairs of timed encodings.")] = 60,
    steps: Annotated[
        int, typer.Option(help="Training steps of each float model, with parents' states and without.")
    ] = 3000,
    quiet: Quiet = False,
) -> None:
    """What exact integers cost against floats in bytes and time, and what parents' states save.

    Needs the folder of a training run: only there is the float model of the integers.

    [bold]Examples[/bold]

        atdc bench entropy-cost
        atdc bench entropy-cost --steps 0 --count 50 -o /tmp/entropy.json
    """
    _measured(
        ctx, "entropy-cost", out, quiet, recipe=recipe, run=run, data=data, count=count,
        qualities=tuple(_qualities(qualities)), rounds=rounds, steps=steps,
    )  # fmt: skip


@app.command()
def ablation(
    ctx: typer.Context,
    model: Model = MEASURED_MODEL,
    recipe: Annotated[Path, typer.Option("--recipe", metavar="FILE", help="How both are trained.")] = Path("small"),
    run: Annotated[Path, typer.Option("--run", metavar="FOLDER", help="Checkpoints; a stopped call resumes.")] = Path(
        "runs/ablation"
    ),
    data: Data = Path("data/rooms"),
    out: ResultFile = Path("results/ablation_small.json"),
    epochs: Annotated[int, typer.Option(help="Of each kind, after one of warm-up.")] = 1,
    count: Count = 250,
    quiet: Quiet = False,
) -> None:
    """The conditional codec against the plain residual codec, both trained from scratch, equally long.

    [bold]Examples[/bold]

        atdc bench ablation
        atdc bench ablation --epochs 4
    """
    _measured(ctx, "ablation", out, quiet, model=model, recipe=recipe, run=run, data=data, epochs=epochs, count=count)


@app.command()
def compare(
    ctx: typer.Context,
    recipe: Annotated[Path, typer.Option("--recipe", metavar="FILE", help="Systems, images, budgets.")] = Path(
        "compare_small"
    ),
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FOLDER", help="Results and report.")] = Path(
        "results/compare_small"
    ),
    data: Data = Path("data/rooms"),
    run: Annotated[Path, typer.Option("--run", metavar="FOLDER", help="Checkpoints; a stopped call resumes.")] = Path(
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

        atdc bench compare --recipe compare_small --workers 2
        atdc bench compare --only jpeg --only avif
        atdc bench compare --quick -o /tmp/compare
    """
    from atdc.files import write_bytes_atomically
    from atdc.report.page import thumbnail_uri
    from atdc_bench.report.comparison import render_comparison

    result = _measured(
        ctx, "compare", out, quiet, recipe=recipe, data=data, run=run, only=only or (), quick=quick, workers=workers,
        draw=thumbnail_uri,
    )  # fmt: skip
    write_bytes_atomically(out / "report.html", render_comparison(result).encode())


@app.command("joint-finetune")
def joint_finetune(
    ctx: typer.Context,
    model: Model = MEASURED_MODEL,
    recipe: Annotated[Path, typer.Option("--recipe", metavar="FILE", help="How its codec was trained.")] = Path(
        "small"
    ),
    run: Annotated[Path, typer.Option("--run", metavar="FOLDER", help="Checkpoints; a stopped call resumes.")] = Path(
        "runs/tuned"
    ),
    data: Data = Path("data/rooms"),
    out: ResultFile = Path("results/joint_finetune_small.json"),
    steps: Annotated[int, typer.Option(help="Of each.")] = 200,
    count: Count = 200,
    quiet: Quiet = False,
) -> None:
    """Train the codec further with its encoders under the rate, and the codec alone as long; compare the two.

    [bold]Examples[/bold]

        atdc bench joint-finetune
        atdc bench joint-finetune --steps 50 --count 100 -o /tmp/tuned.json
    """
    _measured(
        ctx, "joint-finetune", out, quiet, model=model, recipe=recipe, run=run, data=data, steps=steps, count=count
    )


@app.command("compare-weights")
def compare_weights(
    ctx: typer.Context,
    models: Annotated[list[str], typer.Argument(metavar="NAME|FILE...", help="Weights; the first is the reference.")],
    data: Data = Path("data/rooms"),
    images: Images = "rooms",
    out: ResultFile = Path("results/compare_weights_rooms.json"),
    split: Split = "test",
    count: Count = 200,
    qualities: Qualities = "0,1,2,4,7",
    quiet: Quiet = False,
) -> None:
    """Several weights on the same images: what their networks see, and bytes at equal utility.

    [bold]Examples[/bold]

        atdc bench compare-weights real-1 small
        atdc bench compare-weights real-1 small --images nyuv2 --data nyuv2 -o /tmp/nyuv2.json
    """
    _measured(
        ctx, "compare-weights", out, quiet, models=models, data=data, name=images, split=split, count=count,
        qualities=_qualities(qualities),
    )  # fmt: skip


@app.command()
def wanted(
    ctx: typer.Context,
    model: Model = "real",
    data: Data = Path("data/rooms"),
    images: Images = "rooms",
    out: ResultFile = Path("results/wanted_rooms.json"),
    split: Split = "test",
    count: Annotated[
        int, typer.Option("--count", help="Images of the named sets, and of codecs trained for them.")
    ] = 400,
    subset_count: Annotated[int, typer.Option("--subset-count", help="Images of all other sets.")] = 100,
    rival_count: Annotated[int, typer.Option("--rival-count", help="Images of image codecs and answers.")] = 100,
    val_count: Annotated[
        int, typer.Option("--val-count", help="Validation images on which graphs of sets are chosen.")
    ] = 40,
    qualities: Qualities = "0,1,2,3,4,6",
    codecs: Annotated[
        Path, typer.Option("--codecs", metavar="FOLDER", help="Codecs trained for a set, such as joint_nd.safetensors.")
    ] = Path("runs/wanted/codecs"),
    run: Annotated[Path, typer.Option("--run", metavar="FOLDER", help="Records; a stopped call resumes.")] = Path(
        "runs/wanted"
    ),
    workers: Annotated[int, typer.Option(help="Processes of one thread each that measure.")] = 1,
    quiet: Quiet = False,
) -> None:
    """What is sent when only some of the answers are wanted: every set of tasks along its own graph, and its rivals.

    [bold]Examples[/bold]

        atdc bench wanted --workers 2
        atdc bench wanted --images nyuv2 --data nyuv2 --workers 2 -o results/wanted_nyuv2.json
    """
    _measured(
        ctx, "wanted", out, quiet, model=model, data=data, name=images, split=split, count=count,
        subset_count=subset_count, rival_count=rival_count, val_count=val_count, qualities=_qualities(qualities),
        codecs=codecs, runs=run, workers=workers,
    )  # fmt: skip


@app.command("set-codecs")
def set_codecs(
    ctx: typer.Context,
    model: Model = "real",
    data: Data = Path("data/rooms"),
    real: Real = None,
    recipe: Annotated[str, typer.Option("--recipe", help="Settings by which codecs are trained.")] = "real_subsets",
    kinds: Annotated[str, typer.Option("--kinds", help="alone, longer, joint.")] = "alone,longer,joint",
    sets: Annotated[str, typer.Option("--sets", help="By letters, such as nd; all that have a name by default.")] = "",
    steps: Annotated[int, typer.Option("--steps", help="Of each, on from the model's codec.")] = 500,
    anew: Annotated[int, typer.Option("--anew", help="Of joint latents before those, from nothing.")] = 1500,
    run: Annotated[Path, typer.Option("--run", metavar="FOLDER", help="Checkpoints; a stopped call resumes.")] = Path(
        "runs/set_codecs"
    ),
    codecs: Annotated[Path, typer.Option("--codecs", metavar="FOLDER", help="Where the weights go.")] = Path(
        "runs/wanted/codecs"
    ),
    out: ResultFile = Path("results/set_codecs.json"),
    quiet: Quiet = False,
) -> None:
    """Codecs trained for one wanted set each, which `atdc bench wanted` compares with. Hours; a stopped call resumes.

    [bold]Examples[/bold]

        atdc bench set-codecs --real nyuv2
        atdc bench set-codecs --real nyuv2 --kinds alone --sets nd,snd --steps 100 -o /tmp/codecs.json
    """
    _measured(
        ctx, "set-codecs", out, quiet, model=model, data=data, real=real, recipe=recipe, kinds=listed(kinds),
        **({"sets": listed(sets)} if sets else {}), steps=steps, anew=anew, run=run, codecs=codecs,
    )  # fmt: skip


@app.command("own-graphs")
def own_graphs(
    ctx: typer.Context,
    model: Model = "real",
    data: Data = Path("data/rooms"),
    real: Real = None,
    recipe: Annotated[str, typer.Option("--recipe", help="Settings by which codecs are trained.")] = "real_subsets",
    images: Images = "nyuv2",
    out: ResultFile = Path("results/own_graphs.json"),
    count: Annotated[int, typer.Option("--count", help="Test images.")] = 100,
    quality: Annotated[int, typer.Option("--quality", help="Trained and measured at, 0 to 7.")] = 4,
    steps: Annotated[int, typer.Option("--steps", help="Of each arm and seed.")] = 3000,
    seeds: Annotated[int, typer.Option("--seeds", help="Trainings of each arm.")] = 3,
    run: Annotated[Path, typer.Option("--run", metavar="FOLDER", help="Checkpoints; a stopped call resumes.")] = Path(
        "runs/own_graphs"
    ),
    quiet: Quiet = False,
) -> None:
    """Is a graph of each image's own worth anything when the codec is trained for it? Own, shuffled, one. Hours.

    [bold]Examples[/bold]

        atdc bench own-graphs --real nyuv2
        atdc bench own-graphs --real nyuv2 --steps 100 --seeds 2 -o /tmp/own_graphs.json
    """
    _measured(
        ctx, "own-graphs", out, quiet, model=model, data=data, real=real, recipe=recipe, images=images, count=count,
        quality=quality, steps=steps, seeds=seeds, run=run,
    )  # fmt: skip


@app.command()
def budget(
    ctx: typer.Context,
    model: Model = "real",
    data: Data = Path("data/rooms"),
    images: Images = "rooms",
    out: ResultFile = Path("results/budget_rooms.json"),
    split: Split = "test",
    count: Annotated[int, typer.Option("--count", help="Images, evenly spaced over the split.")] = 30,
    sizes: Annotated[str, typer.Option("--sizes", metavar="N,N,...", help="Numbers of bytes.")] = "500,1000,2000",
    quiet: Quiet = False,
) -> None:
    """Files within numbers of bytes against the best one quality for all that fits: bytes used, and utility.

    [bold]Examples[/bold]

        atdc bench budget --images nyuv2 --data nyuv2 -o results/budget_nyuv2.json
        atdc bench budget --sizes 1500 --count 10 -o /tmp/budget.json
    """
    limits = []
    for text in listed(sizes):
        if not (text.isdigit() and int(text)):
            raise typer.BadParameter(f"{text!r} should be a number of bytes, 1 or more.")
        limits.append(int(text))
    _measured(
        ctx, "budget", out, quiet, model=model, data=data, name=images, split=split, count=count, sizes=limits,
    )  # fmt: skip


@app.command()
def estimates(
    ctx: typer.Context,
    model: Model = "real",
    data: Data = Path("data/rooms"),
    images: Images = "rooms",
    out: ResultFile = Path("results/estimates_rooms.json"),
    split: Split = "test",
    count: Annotated[int, typer.Option("--count", help="Images, evenly spaced over the split.")] = 12,
    set_count: Annotated[int, typer.Option("--set-count", help="Sets of tasks, of all sizes.")] = 40,
    qualities: Qualities = "1,4,7",
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of sets and random graphs.")] = 0,
    quiet: Quiet = False,
) -> None:
    """How well the rate estimator tells what files of wanted sets take: levels, and ranks among graphs.

    [bold]Examples[/bold]

        atdc bench estimates
        atdc bench estimates --images nyuv2 --data nyuv2 -o results/estimates_nyuv2.json
    """
    _measured(
        ctx, "estimates", out, quiet, model=model, data=data, name=images, split=split, count=count,
        set_count=set_count, qualities=_qualities(qualities), seed=seed,
    )  # fmt: skip


@app.command()
def networks(
    ctx: typer.Context,
    networks: Annotated[Path, typer.Argument(metavar="NETWORKS", help="A file of networks, or a shipped set by name.")],
    photos: Annotated[Path, typer.Option("--photos", metavar="FOLDER", help="Photos that are sent.")],
    features: Annotated[
        Path,
        typer.Option(
            "--features",
            metavar="FOLDER",
            help="Of other photos, by `atdc networks features`: what plain codecs learn.",
        ),
    ],
    out: ResultFile = Path("results/networks_pypi.json"),
    model: Annotated[
        Path | None, typer.Option("--model", metavar="FILE", help="The fitted codec; without it, it is not run.")
    ] = None,
    count: Annotated[int, typer.Option("--count", min=1, help="Of the photos, so many, evenly spaced.")] = 20,
    qualities: Qualities = "1,3,5,7",
    run: Annotated[Path, typer.Option("--run", metavar="FOLDER", help="Records; a stopped call resumes.")] = Path(
        "runs/networks"
    ),
    picture: Annotated[
        Path | None, typer.Option("--picture", metavar="FILE", help="Also draw bytes against device time, as an SVG.")
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Bytes against agreement of your networks' answers: a fitted codec, plainer ones, images, the answers sent.

    [bold]Examples[/bold]

        atdc bench networks networks.yaml --photos photos --features features --model mine.safetensors
    """
    result = _measured(
        ctx, "networks", out, quiet, networks=networks, photos=photos, features=features, model=model, count=count,
        qualities=_qualities(qualities), runs=run,
    )  # fmt: skip
    if picture is not None:
        from atdc.files import write_bytes_atomically
        from atdc_bench.report.networks import bytes_against_time

        write_bytes_atomically(picture, bytes_against_time(result).encode())


@app.command()
def affinity(
    ctx: typer.Context,
    model: Model = MEASURED_MODEL,
    recipe: Annotated[Path, typer.Option("--recipe", metavar="FILE", help="Of the network that is trained.")] = Path(
        "small"
    ),
    run: Annotated[Path, typer.Option("--run", metavar="FOLDER", help="Checkpoint; a stopped call resumes.")] = Path(
        "runs/affinity"
    ),
    data: Data = Path("data/rooms"),
    out: ResultFile = Path("results/affinity_small.json"),
    steps: Annotated[int, typer.Option(help="Training steps of the shared network.")] = 300,
    batch: Annotated[int, typer.Option(help="Images in each.")] = 16,
    quiet: Quiet = False,
) -> None:
    """Which tasks help each other when they share a network: what the TAMC-style codec groups by."""
    _measured(ctx, "affinity", out, quiet, model=model, recipe=recipe, run=run, data=data, steps=steps, batch=batch)


@app.command()
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
    _measured(
        ctx, "sweep", out, quiet, model=model, data=data, split=split, count=count, qualities=_qualities(qualities)
    )


@app.command()
def adaptivity(
    ctx: typer.Context,
    model: Model = "real",
    images: Annotated[
        str, typer.Option("--images", metavar="NAME", help="The data set, or tiles: of the photos in the folder.")
    ] = "nyuv2",
    data: Data = Path("data/nyuv2"),
    out: ResultFile = Path("results/adaptivity_nyuv2.json"),
    count: Count = 60,
    qualities: Qualities = "1,4",
    conditions: Annotated[
        str, typer.Option("--conditions", metavar="NAME,...", help="Such as 'as they are'; all by default.")
    ] = "",
    quiet: Quiet = False,
) -> None:
    """What a graph for each image is worth over one for all: as images are, and with one modality spoiled."""
    _measured(
        ctx, "adaptivity", out, quiet, model=model, images=images, data=data, count=count,
        qualities=_qualities(qualities), names=listed(conditions) or None,
    )  # fmt: skip


@app.command()
def graphs(
    ctx: typer.Context,
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Weights of a codec of features.")],
    features: Annotated[Path, typer.Argument(metavar="FEATURES", help="Samples that it was not fitted to.")],
    out: ResultFile = Path("results/graphs.json"),
    count: Count = 60,
    qualities: Qualities = "1,4,7",
    quiet: Quiet = False,
) -> None:
    """Which tensors of a codec predict which, and what a graph for each sample is worth over one for all."""
    _measured(ctx, "graphs", out, quiet, model=model, features=features, count=count, qualities=_qualities(qualities))


@app.command("entropy-models")
def entropy_models(
    ctx: typer.Context,
    recipe: Annotated[Path, typer.Option("--recipe", metavar="FILE", help="Of the comparison.")] = Path(
        "compare_small"
    ),
    run: Annotated[Path, typer.Option("--run", metavar="FOLDER", help="Checkpoints; a stopped call resumes.")] = Path(
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
    _measured(
        ctx, "entropy-models", out, quiet, recipe=recipe, run=run, data=data, steps=steps, count=count,
        qualities=_qualities(qualities),
    )  # fmt: skip


@app.command("add-task")
def add_task(
    ctx: typer.Context,
    model: Model = MEASURED_MODEL,
    recipe: Annotated[Path, typer.Option("--recipe", metavar="FILE", help="How codecs are trained.")] = Path("small"),
    run: Annotated[Path, typer.Option("--run", metavar="FOLDER", help="Checkpoints; a stopped call resumes.")] = Path(
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

        atdc bench add-task
        atdc bench add-task --steps 1500 --count 1000
    """
    _measured(
        ctx, "add-task", out, quiet, model=model, recipe=recipe, run=run, data=data, steps=steps, count=count,
        qualities=_qualities(qualities),
    )  # fmt: skip


@app.command()
def scaling(
    ctx: typer.Context,
    out: ResultFile = Path("results/scaling.json"),
    quiet: Quiet = False,
) -> None:
    """Search and scoring for 8 to 64 tasks, on made-up scores with a known structure: time, and the saving kept."""
    _measured(ctx, "scaling", out, quiet)


@app.command()
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

    A stopped call resumes where it was.

    [bold]Examples[/bold]

        atdc bench selfcheck --set ci --images 32 -o /tmp/selfcheck.json
        atdc bench selfcheck --symbols 1e8
    """
    from atdc_bench.experiments.selfcheck import selfcheck_tables

    result = _measured(
        ctx, "selfcheck", out, quiet, model=model, images=images,
        configurations="ci" if which is CheckSet.CI else "full", symbols_target=symbols, python=python,
    )  # fmt: skip
    if not (quiet or globally(ctx, "quiet")):
        for table in selfcheck_tables(result):
            console.print(table)
    if not result["passed"]:
        raise typer.Exit(1)


@app.command()
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

        atdc bench fuzz --count 20000
        atdc bench fuzz --model small --count 50000 -o results/fuzz_small.json
    """
    out = out or Path(f"results/fuzz_{Path(model).stem}.json")
    result = _measured(ctx, "fuzz", out, quiet, model=model, count=count, seed=seed)
    if result["outcomes"]["failed"]:
        raise typer.Exit(1)


def _qualities(text: str) -> list[float]:
    values = numbers("--qualities", text, "0,2,4,7")
    for value in values:
        in_range(value)
    return values


def _measured(ctx: typer.Context, name: str, out: Path, quiet: bool, /, **options: Any) -> Mapping[str, Any]:
    """Runs an experiment, and prints what its result says and where it is."""
    from atdc_bench.report.registry import EXPERIMENTS

    experiment, quiet = EXPERIMENTS[name], quiet or globally(ctx, "quiet")
    result = experiment.measure(out, quiet=quiet, **options)
    if not quiet:
        console.print(Markdown(experiment.summary(result)))
        console.print(f"written: {escape(str(out))}")
    return result
