"""``atdc fit``: from features on disk to the weights of a codec for them."""

from __future__ import annotations

import contextlib
import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from atdc.cli.batch import INTERRUPTED, complain, globally, warnings_as_lines
from atdc.cli.batch import out as console
from atdc.cli.options import AsJson, Device, Quiet, known
from atdc.cli.weights import PANEL, interruptible, require_place
from atdc.config import MAX_QUALITY
from atdc.errors import ArgumentError, AtdcError
from atdc.terminal import escape, plain_table, require_output

if TYPE_CHECKING:
    from atdc.adapters.network_set import NetworkSet
    from atdc.codec import FeatureCodec
    from atdc.data.feature_source import DescribedSource
    from atdc.tensors import Grid


def register(app: typer.Typer) -> None:
    """Adds the command to an application."""
    app.command(rich_help_panel=PANEL)(fit)


def fit(
    ctx: typer.Context,
    features: Annotated[
        list[Path],
        typer.Argument(
            metavar="FEATURES",
            help="A folder of .npz and .safetensors files (with all below), or such files: arrays (C, h, w) by name, "
            "one sample a file, or (N, C, h, w), N samples a file. Samples may lack tensors.",
        ),
    ],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FILE", help="The weights, a .safetensors file.")
    ] = None,
    recipe: Annotated[
        Path | None,
        typer.Option(
            "--recipe",
            metavar="NAME|FILE",
            help="fit, fit_small (in minutes), fit_networks (with --networks); with --from also fit_networks_further "
            "(through the networks) and fit_entropy (the entropy model alone); or settings in YAML. By default fit, or "
            "fit_networks.",
        ),
    ] = None,
    val: Annotated[
        Path | None,
        typer.Option("--val", metavar="FOLDER", help="Features to validate on; by default a tenth of FEATURES."),
    ] = None,
    run: Annotated[
        Path | None,
        typer.Option("--run", metavar="FOLDER", help="Checkpoints and logs; by default runs/, and the output's name."),
    ] = None,
    add: Annotated[
        str | None,
        typer.Option(
            "--add",
            metavar="NAME|FILE",
            help="Weights to which the further tensors of FEATURES are added; all that they code stays as it is.",
        ),
    ] = None,
    start_from: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="NAME|FILE",
            help="Weights to begin with, of the same tensors; all of them are trained further. Networks keep their "
            "sizes, whatever the recipe says.",
        ),
    ] = None,
    grid: Annotated[
        list[str] | None,
        typer.Option(
            "--grid",
            metavar="NAME=GRID",
            help="What a tensor's grid follows from: pixels per position (NAME=16), or height and width (NAME=12x16), "
            "which files then need not hold. May be repeated; by default the grid of all samples, if it is one.",
        ),
    ] = None,
    networks: Annotated[
        Path | None,
        typer.Option(
            "--networks",
            metavar="NAME|FILE",
            help="The networks that FEATURES are of: training compares their answers before and after.",
        ),
    ] = None,
    device: Device = "cpu",
    report_only: Annotated[bool, typer.Option("--report", help="Only say what the features are like.")] = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
    force: Annotated[bool, typer.Option("--force", help="Replace an output that is there.")] = False,
) -> None:
    """Fit a codec to your own features. A stopped call resumes where it was.

    [bold]Examples[/bold]

        atdc fit features --report                          # what are they like?
        atdc fit features -o mine.safetensors --recipe fit_small
        atdc fit features -o mine.safetensors --networks networks.yaml
        atdc fit more_features -o more.safetensors --add mine.safetensors
        atdc fit features -o longer.safetensors --from mine.safetensors
        atdc encode features -o encoded --model mine.safetensors
        atdc decode encoded -o decoded --model mine.safetensors
    """
    from atdc.adapters.network_set import DIGESTS, load_networks
    from atdc.cli.networks import digests_in, holds_copies
    from atdc.codec import FeatureCodec
    from atdc.config import load_fit_recipe
    from atdc.data.dumped import DumpedFeatures
    from atdc.data.feature_report import report
    from atdc.networks.devices import open_device
    from atdc.training import processes
    from atdc.training.fit import require_names

    if out is None and not report_only:
        raise typer.BadParameter(
            "-o is missing: name the weights' file, as in -o mine.safetensors, or ask for --report."
        )
    if add is not None and start_from is not None:
        raise typer.BadParameter("--add and --from exclude each other: added tensors leave all else as it is.")
    settings_of_fit = load_fit_recipe(recipe or Path("fit" if networks is None else "fit_networks"))
    quiet = quiet or globally(ctx, "quiet")
    with interruptible():
        open_device(device)  # before the features are read
        source = DumpedFeatures(features)
        grids = _grids(grid or [], source.names)
        if out is not None and not report_only:
            require_place(out, force)
        start = _start(add, start_from, source.names)
        if start is None:
            require_names(source.names, ())
        samples: DescribedSource = source if val is None else DumpedFeatures(val)
        folders = [*features, *([] if val is None else [val])]
        digests, earlier_digests = digests_in(folders), {} if start is None else start.card.get(DIGESTS, {})
        _require_networks(earlier_digests, digests or {}, add or start_from)
        loaded = None if networks is None or report_only else load_networks(networks)
        if loaded is not None:
            loaded.require_digests(digests, ", ".join(map(str, folders)))
        processes.join()
        quiet = quiet or not processes.is_first()  # of several that train together
        feature_report = report(source, progress=not quiet)
        if not as_json and not quiet:
            for line in feature_report.table().splitlines():
                console.print(escape(line))
        for sentence in feature_report.warnings:
            complain(sentence)
        if report_only or out is None:
            if as_json:
                _print_json(feature_report.to_json())
            return
        if val is None and any(map(holds_copies, features)):
            complain(
                "FEATURES are of changed copies of photos, too, so that samples kept for validation are like some of "
                "those learned. Name features of other photos: --val."
            )
        settings: dict[str, Any] = {
            "recipe": settings_of_fit, "run": run or Path("runs") / out.stem, "start": start, "grids": grids,
            "device": device, "progress": not quiet,
        }  # fmt: skip
        with warnings_as_lines(shown_sentences=feature_report.warnings), contextlib.redirect_stdout(sys.stderr):
            if loaded is None:
                codec = FeatureCodec.fit(
                    source, val=None if val is None else samples, feature_report=feature_report, **settings
                )
                codec = _of_networks(codec, {**earlier_digests, **(digests or {})} or None)
            else:
                codec, samples = _fitted_to_answers(loaded, source, None if val is None else samples, settings)
    if not processes.is_first():  # of several that trained together
        return
    codec.save(out)
    balance: Path | None = None
    if loaded is not None and len(loaded.networks) > 1:
        with contextlib.redirect_stdout(sys.stderr):
            balance = _balance(loaded, codec, samples, out, quiet)
    place = _a_validation_sample(samples)
    sizes = _sizes(codec, samples, place)
    if as_json:
        _print_json(
            {
                "weights": str(out), "balance": None if balance is None else str(balance),
                "fingerprint": codec.fingerprint.hex(), "tensors": codec.tensors.to_json(),
                "report": feature_report.to_json(), "validation_sample": samples.described(place), "bytes": sizes,
            }
        )  # fmt: skip
    elif not quiet:
        words = ["atdc", "encode", *map(str, features[:1]), "--model", str(out), "-o", "encoded"]
        if networks is not None:
            options = ["--model", str(out), "--networks", str(networks)]
            words = ["atdc", "encode", "photo.jpg", *options, "-o", "photo.atdc"]
        size = out.stat().st_size
        console.print(f"written: {escape(str(out))}, fingerprint {codec.fingerprint.hex()}, {size:,} bytes")
        if balance is not None:
            console.print(f"written: {escape(str(balance))}, a quality for each network, for atdc encode --balanced")
        _show_sizes(samples, place, sizes)
        console.print(f"Next: {escape(shlex.join(words))}")


def _show_sizes(samples: DescribedSource, place: int, sizes: Sequence[int]) -> None:
    """Prints what a validation sample's files take."""
    elements = sum(value.size for value in samples.read(place).values())
    table = plain_table("quality", ["bytes", "bits per number"])
    for quality, size in enumerate(sizes):
        table.add_row(str(quality), f"{size:,}", f"{8 * size / elements:.3f}")
    console.print(f"{escape(samples.described(place))}, of the validation samples, {elements:,} numbers:")
    console.print(table)


def _start(add: str | None, start_from: str | None, names: tuple[str, ...]) -> FeatureCodec | None:
    """The codec to begin with, if any.

    Raises:
        ArgumentError: the features have no tensor to add to it, or one to train it further without.
    """
    from atdc.codec import FeatureCodec

    path = add or start_from
    if path is None:
        return None
    start = FeatureCodec.load(path)
    further = [name for name in names if name not in start.task_names]
    if add is not None and not further:
        raise ArgumentError(
            "--add", f"features of the tensors that {add} has", "one more at least",
            "To train these weights further, say --from.",
        )  # fmt: skip
    if add is None and further:
        raise ArgumentError(
            "--from", f"features of {further[0]}, which {path} does not have", "the same tensors",
            "To add tensors to these weights, say --add.",
        )  # fmt: skip
    return start


def _require_networks(before: dict[str, str], digests: dict[str, str], path: str | None) -> None:
    """Refuses to train weights of some networks further on features of others.

    Raises:
        ArgumentError: a network is another.
    """
    for name, digest in digests.items():
        if before.get(name, digest) != digest:
            raise ArgumentError(
                f"network {name}", "features of another one", f"the one that {path} was fitted to",
                "Make the features again, with the networks of those weights.",
            )  # fmt: skip


def _grids(values: list[str], names: tuple[str, ...]) -> dict[str, int | Grid | None]:
    grids: dict[str, int | Grid | None] = {}
    for value in values:
        name, _, text = value.rpartition("=")
        sides = text.split("x")
        if not name or len(sides) > 2 or not all(side.isascii() and side.isdigit() and int(side) for side in sides):
            raise typer.BadParameter(f"{value!r} should read NAME=16 (pixels per position) or NAME=12x16.")
        known("tensor", name, names)
        grid = int(sides[0]) if len(sides) == 1 else (int(sides[0]), int(sides[1]))
        if grids.setdefault(name, grid) != grid:
            raise typer.BadParameter(f"{value} contradicts another grid of {name}.")
    return grids


def _fitted_to_answers(
    networks: NetworkSet, source: DescribedSource, val: DescribedSource | None, settings: dict[str, Any]
) -> tuple[FeatureCodec, DescribedSource]:
    """A codec fitted to the answers of networks, which its card names, and the validation samples.

    Raises:
        NetworkError: answers cannot be compared.
    """
    from atdc.adapters.objective import AnswerObjective
    from atdc.codec import FeatureCodec
    from atdc.data.feature_source import SelectedFeatures
    from atdc.training.data import kinds_of
    from atdc.training.fit import held_out

    train: DescribedSource = source
    if val is None:
        apart = held_out(kinds_of(source, source.names), settings["recipe"].val_share)
        train = SelectedFeatures(source, sorted(set(range(len(source))) - set(apart)))
        val = SelectedFeatures(source, apart)
    start = settings["start"]
    names = [] if start is None else list(start.task_names)
    names += [name for name in source.names if name not in names]
    codec = FeatureCodec.fit(
        train, val=val, objective=AnswerObjective(networks, train, names),
        val_objective=AnswerObjective(networks, val, names), **settings,
    )  # fmt: skip
    return _of_networks(codec, networks.digests), val


def _balance(
    networks: NetworkSet, codec: FeatureCodec, samples: DescribedSource, out: Path, quiet: bool
) -> Path | None:
    """Where the balance is that was measured for new weights; None, and a complaint, where it cannot be: the weights
    are whole without it."""
    from atdc.adapters.network_codec import NetworkCodec
    from atdc.balance import balance_path
    from atdc.cli.networks import BALANCE_PHOTOS, write_balance

    path = balance_path(out)
    try:
        write_balance(NetworkCodec(networks, codec, str(out)), samples, path, BALANCE_PHOTOS, quiet=quiet)
    except AtdcError as error:
        complain(f"{out} is written, but no balance of its networks. {error}")
    except KeyboardInterrupt:
        complain(
            f"interrupted. {out} is written, but no balance of its networks; measure it with: atdc networks balance"
        )
        raise typer.Exit(INTERRUPTED) from None
    else:
        return path
    return None


def _of_networks(codec: FeatureCodec, digests: dict[str, str] | None) -> FeatureCodec:
    """The codec, whose card says which networks its features are of, if that is known."""
    from atdc.adapters.network_set import DIGESTS
    from atdc.codec import FeatureCodec

    if digests is None:
        return codec
    return FeatureCodec.of_bytes(codec.to_bytes({**codec.card, DIGESTS: digests}))


def _a_validation_sample(samples: DescribedSource) -> int:
    """The first sample that has all tensors: fitting, too, keeps it for validation, where it chooses samples itself."""
    whole = (index for index in range(len(samples)) if len(samples.shapes(index)) == len(samples.names))
    return next(whole, 0)


def _sizes(codec: FeatureCodec, samples: DescribedSource, place: int) -> list[int]:
    """Bytes of a sample's file at each integer quality."""
    sample = samples.read(place)
    with warnings_as_lines(samples.described(place)):
        return [len(codec.encode(sample, quality)) for quality in range(MAX_QUALITY + 1)]


def _print_json(values: dict[str, Any]) -> None:
    print(json.dumps(values, indent=1))
    require_output()
