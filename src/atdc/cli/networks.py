"""``atdc networks``: other people's networks, cut in two: check them, make their features, find where to cut."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from atdc.cli.batch import Report, Work, complain, err, for_each
from atdc.cli.batch import out as console
from atdc.cli.files import readable_images
from atdc.cli.inputs import Item
from atdc.cli.options import HELP_NAMES, RESUMES, AsJson, Jobs, Quiet, numbers
from atdc.cli.weights import PANEL
from atdc.errors import ArgumentError, DataError, ImageError, NetworkError, OutputError
from atdc.terminal import escape, plain_table, require_output

if TYPE_CHECKING:
    from atdc.adapters.answer import RgbImage
    from atdc.adapters.network_codec import NetworkCodec
    from atdc.adapters.onnx_network import OnnxModel
    from atdc.data.feature_source import FeatureSource

BALANCE_PHOTOS = 96
"""On which balances are measured, by default."""
_FEW_PHOTOS = 8
"""On fewer, a balance is mostly luck."""
MANIFEST = "networks.json"
"""In a folder of features: which networks, which photos, how many a file."""
AUGMENT = "augment"
"""In it: how many changed copies of each photo, if any."""
PHOTOS_PER_SHARD = 16
_OF_CHANNELS = "0.5, or 0.485,0.456,0.406"

app = typer.Typer(no_args_is_help=True, rich_markup_mode="rich", context_settings=HELP_NAMES)

Networks = Annotated[
    Path, typer.Argument(metavar="NETWORKS", help="A YAML file of networks, or a shipped set by name.")
]


def register(application: typer.Typer) -> None:
    """Adds the commands to an application."""
    application.add_typer(
        app,
        name="networks",
        rich_help_panel=PANEL,
        help="Networks of your own: where to cut, are the halves right, features for `atdc fit`, a page of answers.",
    )


@app.command()
def cuts(
    network: Annotated[Path, typer.Argument(metavar="NET.ONNX", help="An ONNX file.")],
    photos: Annotated[Path, typer.Option("--photos", metavar="FOLDER", help="Photos to measure on.")],
    count: Annotated[int, typer.Option("--count", min=4, help="Number of photos; half of them are learnt from.")] = 16,
    answer: Annotated[
        str, typer.Option("--answer", metavar="TENSOR", help="What has to agree; by default the first output.")
    ] = "",
    metric: Annotated[
        str,
        typer.Option(
            "--metric",
            metavar="NAME",
            help="Of the agreement: relative, overlap, same, top1, miou, cosine; by default miou for maps of whole "
            "numbers, same for other whole numbers, otherwise relative.",
        ),
    ] = "",
    agreement: Annotated[
        float, typer.Option("--agreement", min=0, max=1, help="Of the answer that is required; 1: unchanged.")
    ] = 0.9,
    most: Annotated[int, typer.Option("--tensors", min=1, help="Most tensors at a cut.")] = 3,
    size: Annotated[
        str, typer.Option("--size", metavar="HxW", help="Size of the input, if the file does not fix it.")
    ] = "",
    white: Annotated[float, typer.Option("--white", help="What white is in the input; black is 0.")] = 1.0,
    mean: Annotated[
        str, typer.Option("--mean", metavar="M,M,M", help="Taken from the input, a number or one for each channel.")
    ] = "",
    std: Annotated[str, typer.Option("--std", metavar="S,S,S", help="What the input is then divided by.")] = "",
    order: Annotated[
        str, typer.Option("--order", help="Of the channels: bgr, or grey for one alone; red, green, blue by default.")
    ] = "",
    extra: Annotated[
        list[float] | None, typer.Option("--extra", help="A further channel of the input, of that number everywhere.")
    ] = None,
    image: Annotated[
        Path | None, typer.Option("--svg", metavar="FILE", help="Bytes against the device's time, as an image.")
    ] = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Find where to cut: every place where few tensors separate a network, its time, and bytes without training.

    Bytes are those of principal components with uniform steps and ideal tables, at which the answer agrees; a codec
    fitted by `atdc fit` takes fewer. The image sent, as AVIF, and the answer sent stand at the ends. Of places within
    one per cent of the device's time, the one with the fewest numbers is listed.

    [bold]Examples[/bold]

        atdc networks cuts net.onnx --photos photos --svg cuts.svg
        atdc networks cuts net.onnx --photos photos --metric miou --agreement 0.85 --json
    """
    from atdc.adapters.cut_costs import cut_costs, svg
    from atdc.adapters.distances import metric_function
    from atdc.adapters.image_input import ImageInput
    from atdc.adapters.onnx_network import OnnxModel
    from atdc.files import write_bytes_atomically

    sides = tuple(int(side) for side in size.split("x")) if re.fullmatch(r"[0-9]+x[0-9]+", size) else ()
    if size and not sides:
        raise typer.BadParameter(f"{size!r} should read HxW, such as 480x640.")
    settings = ImageInput(
        size=sides, white=white, mean=tuple(numbers("--mean", mean, _OF_CHANNELS)),
        std=tuple(numbers("--std", std, _OF_CHANNELS)), extra=tuple(extra or ()),
    )  # fmt: skip
    settings = replace(settings, order=order) if order else settings
    model = OnnxModel(network, "", settings)
    answer = answer or model.graph.outputs[0]
    model.graph.require(answer, f"{model.name}, answer")
    images = [photo for _, photo in _images(photos, count)]
    silent = as_json or quiet
    with err.status("starting", spinner="line") as status:
        update: Callable[[str], None] = (lambda _: None) if silent else status.update
        kind = metric or _usual_metric(model, answer, images[0])
        costs = cut_costs(model, answer, metric_function(kind, Path()), images, agreement, most, update)
    if image is not None:
        title = f"{network.name}: bytes at {kind} {agreement:g} of {answer}"
        write_bytes_atomically(image, svg(costs, title).encode())
    if as_json:
        rows = [cost.to_json() for cost in costs]
        print(json.dumps({"answer": answer, "metric": kind, "agreement": agreement, "cuts": rows}, indent=1))
        require_output()
        return
    table = plain_table("sent", ["on the device", "values", "bytes", kind])
    for cost in costs:
        shapes = " + ".join("x".join(map(str, shape[1:])) for shape in cost.cut.shapes)
        words = f"{', '.join(cost.cut.tensors)} ({shapes})" if cost.what == "tensors" else f"the {cost.what}"
        size_word = "none" if cost.bytes is None else f"{cost.bytes:,.0f}"
        table.add_row(
            escape(words), f"{cost.cut.device_share:.0%}", f"{cost.cut.values:,}", size_word, f"{cost.agreement:.3f}"
        )
    console.print(table)


@app.command()
def check(
    networks: Networks,
    photos: Annotated[
        Path | None, typer.Option("--photos", metavar="FOLDER", help="Photos to run them on; by default noise.")
    ] = None,
    count: Annotated[int, typer.Option("--count", min=1, help="Of the photos, so many.")] = 8,
    as_json: AsJson = False,
) -> None:
    """Check that each network runs, that its halves reproduce it, that cuts separate it, runs repeat, and metrics and
    losses can be used; list tensors.

    [bold]Examples[/bold]

        atdc networks check networks.yaml --photos photos
        atdc networks check networks.yaml --photos photos --count 2 --json
    """
    from atdc.adapters.network_set import load_networks
    from atdc.data.feature_report import report
    from atdc.data.feature_source import InMemoryFeatures

    loaded = load_networks(networks)
    images = list(_images(photos, count))
    checks = [network.check(images) for network in loaded.networks.values()]
    samples = [
        {name: value for result in checks for name, value in result.samples[place].items()}
        for place in range(len(images))
    ]
    feature_report = report(InMemoryFeatures(samples))
    if as_json:
        print(
            json.dumps(
                {"networks": [result.to_json() for result in checks], "report": feature_report.to_json()}, indent=1
            )
        )
        require_output()
        return
    table = plain_table(
        "network", ["values", "device ms", "server ms", "whole ms", "on the device", "halves", "batches"]
    )
    for result in checks:
        table.add_row(
            escape(result.name), f"{sum(tensor.values for tensor in result.tensors):,}", f"{result.device_ms:.0f}",
            f"{result.server_ms:.0f}", f"{result.whole_ms:.0f}", f"{result.device_share:.0%}",
            f"{max(result.differences.values()):.1g}", "yes" if result.batches else "one by one",
        )  # fmt: skip
    console.print(table)
    for line in feature_report.table().splitlines():
        console.print(escape(line))
    for result in checks:
        for name, size in result.gradients.items():
            what = f"gradient at the cut {size:.2g}" if isinstance(size, float) and size else f"no gradient: {size}"
            if size == 0.0:
                what = "no gradient: name a tensor ahead of ArgMax, TopK or rounding as its loss_on"
            console.print(escape(f"{result.name}/{name}: {what}"))
    console.print(f"{len(checks)} networks on {len(images)} images: halves are the whole, cuts separate, runs repeat.")


@app.command()
def features(
    ctx: typer.Context,
    networks: Networks,
    photos: Annotated[Path, typer.Argument(metavar="PHOTOS", help="A folder of photos, with all below.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FOLDER", help="For files of features.")],
    augment: Annotated[
        int,
        typer.Option(
            "--augment",
            metavar="N",
            min=0,
            max=100,
            help="Of each photo also so many changed copies (cut out, mirrored, recoloured), where photos are few; "
            "atdc fit is then to validate on others: --val.",
        ),
    ] = 0,
    jobs: Jobs = 1,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Make features of photos, as `atdc fit` reads them. A stopped call resumes where it was.

    [bold]Examples[/bold]

        atdc networks features networks.yaml photos -o features --jobs 4
        atdc networks features networks.yaml photos -o features --augment 3
        atdc fit features --networks networks.yaml -o mine.safetensors
    """
    from atdc.adapters.network_set import load_networks
    from atdc.data.photos import photos_in
    from atdc.files import make_folder

    loaded = load_networks(networks)
    paths = [str(path.relative_to(photos)) for path in photos_in(photos)]
    looks = [_Look(path, copy) for copy in range(augment + 1) for path in paths]
    shards = [looks[start : start + PHOTOS_PER_SHARD] for start in range(0, len(looks), PHOTOS_PER_SHARD)]
    make_folder(out)
    manifest = {
        "networks": loaded.digests,
        "tensors": list(loaded.names),
        "photos": [list(map(str, s)) for s in shards],
    }
    _write_manifest(out, manifest | ({AUGMENT: augment} if augment else {}))
    items = [
        Item(f"photos {start + 1} to {start + len(shard)}", out / f"{number:05}.safetensors", Path(f"{number:05}"))
        for number, (start, shard) in enumerate(zip(range(0, len(looks), PHOTOS_PER_SHARD), shards, strict=True))
    ]
    done = for_each(
        ctx, ("making features", "made features of"), items, partial(_feature_maker, str(networks), photos, shards),
        quiet=quiet, lines=not as_json, jobs=jobs, flawed_word="in part", resume=RESUMES,
    )  # fmt: skip
    if as_json:
        rows = {item.path.name: report.value for item, report in zip(done.items, done.reports, strict=True)}
        print(json.dumps({"folder": str(out), "photos": len(looks), "files": rows}, indent=1))
        require_output()
    done.finish(lambda values: f"{_photos(sum(value['photos'] for value in values))} in {out}")


@app.command()
def balance(
    networks: Networks,
    features: Annotated[
        Path, typer.Argument(metavar="FEATURES", help="Features of photos that the weights were not fitted to.")
    ],
    model: Annotated[str, typer.Option("--model", metavar="NAME|FILE", help="Weights fitted to these networks.")],
    count: Annotated[int, typer.Option("--count", min=1, help="Of the photos, so many.")] = BALANCE_PHOTOS,
    quiet: Quiet = False,
) -> None:
    """Measure what quality of each network reaches the same mean agreement in the fewest bytes.

    It is written next to the weights, where `atdc encode --balanced` finds it.

    `atdc fit --networks` measures it as well.

    [bold]Examples[/bold]

        atdc networks balance networks.yaml validation_features --model mine.safetensors
        atdc encode photo.jpg -o photo.atdc --model mine.safetensors --networks networks.yaml --balanced
    """
    from atdc.adapters.network_codec import NetworkCodec
    from atdc.adapters.network_set import load_networks
    from atdc.balance import balance_path
    from atdc.codec import FeatureCodec
    from atdc.data.dumped import DumpedFeatures
    from atdc.weights import open_weights

    loaded, path = load_networks(networks), balance_path(open_weights(model).path)
    loaded.require_digests(digests_in([features]), str(features))
    network_codec = NetworkCodec(loaded, FeatureCodec.load(model), model)
    write_balance(network_codec, DumpedFeatures(features), path, count, quiet=quiet)
    if not quiet:
        console.print(f"written: {escape(str(path))}")


def write_balance(network_codec: NetworkCodec, samples: FeatureSource, path: Path, count: int, *, quiet: bool) -> None:
    """Measures the balance of a codec's networks, with a progress bar, and writes it.

    Raises:
        OutputError: a folder is there.
    """
    from atdc.adapters.network_balance import measured_balance
    from atdc.provenance import write_result

    if path.is_dir():
        raise OutputError(str(path), "a folder", "a place for the balance", "Move it away.")
    measured = measured_balance(network_codec, samples, count, quiet=quiet)
    if (photo_count := measured["data"]["samples"]) < _FEW_PHOTOS:
        complain(
            f"{path}: measured on {_photos(photo_count)} alone, which says little about others. Give more to: "
            "atdc networks balance"
        )
    write_result(path, measured)


@app.command()
def demo(
    ctx: typer.Context,
    networks: Networks,
    photos: Annotated[list[str], typer.Argument(metavar="PHOTO...", help="Photos, or folders of them.")],
    model: Annotated[str, typer.Option("--model", metavar="NAME|FILE", help="Weights fitted to these networks.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FOLDER", help="Gets index.html.")] = Path(
        "demo-networks"
    ),
    qualities: Annotated[
        str, typer.Option("--qualities", metavar="Q,Q,...", help="Of the files, 0 to 7 each.")
    ] = "1,3,5,7",
) -> None:
    """Show on a page what networks answer before a photo's tensors are sent as bytes, and after.

    [bold]Examples[/bold]

        atdc networks demo networks.yaml photo.jpg --model mine.safetensors
        atdc networks demo pypi photo.jpg other.jpg --model pypi-4 -o demo
    """
    from atdc.adapters.network_set import load_networks
    from atdc.codec import FeatureCodec
    from atdc.config import quality_of
    from atdc.report.networks_demo import run_networks_demo

    values = [quality_of(word, "qualities") for word in qualities.split(",")]
    loaded, codec = load_networks(networks), FeatureCodec.load(model)
    items, refused = readable_images(ctx, photos)
    with err.status("starting", spinner="line") as status:
        page, refusals = run_networks_demo(
            loaded, codec, {item.name: item.path for item in items}, out,
            qualities=values, whose=str(model), report=status.update, refused=refused,
        )  # fmt: skip
    for line in refusals:
        complain(line)
    console.print(f"written: {escape(str(page))}")
    if refused or refusals:
        raise typer.Exit(1)


def _usual_metric(model: OnnxModel, answer: str, image: RgbImage) -> str:
    """The metric of an answer of its kind."""
    session = model.session(model.part([model.input_name], [answer]))
    value = model.run(session, [answer], {model.input_name: model.input.array(image)})[answer]
    if value.dtype.kind == "f":
        return "relative"
    return "miou" if sum(side > 1 for side in value.shape) >= 2 else "same"


class _Look(NamedTuple):
    """A photo below a folder, or the changed copy of that number."""

    path: str
    copy: int

    def __str__(self) -> str:
        return f"{self.path}, copy {self.copy}" if self.copy else self.path


def _feature_maker(networks: str, photos: Path, shards: list[list[_Look]]) -> Work:
    """Makes the features of one shard of photos."""
    from atdc.adapters.network_set import load_networks
    from atdc.data.changed_photos import changed_copy
    from atdc.data.dumped import DumpedFeatures, write_shard
    from atdc.images import read_image

    loaded = load_networks(networks)

    def work(item: Item) -> Report:
        if item.path.is_file():
            wanted, count = len(shards[int(item.place.name)]), len(DumpedFeatures(item.path))
            line = f"{item.name} → {item.path}  there before"
            value = {"photos": count, "bytes": item.path.stat().st_size}
            if count == wanted:
                return Report(line, value=value, skipped=True)
            problem = (
                f"{item.path}: found {count} of {_photos(wanted)}, the others could not be used before; expected all."
            )
            return Report(line, (f"{problem} Delete the file to try again, or leave them out.",), value)
        samples, problems = [], []
        for look in shards[int(item.place.name)]:
            try:
                image = read_image(photos / look.path)
                samples.append(loaded.features(changed_copy(image, look.copy) if look.copy else image, str(look)))
            except (ImageError, DataError, NetworkError) as error:
                problems.append(str(error))
        if not samples:
            raise DataError(item.name, f"no photo that can be used ({problems[0]})", "some", "Leave them out.")
        write_shard(item.path, samples)
        size = item.path.stat().st_size
        line = f"{item.name} → {item.path}  {_photos(len(samples))}, {size:,} bytes"
        return Report(line, tuple(problems), {"photos": len(samples), "bytes": size})

    return work


def _photos(count: int) -> str:
    """So many photos, in words.

    >>> _photos(1), _photos(1200)
    ('1 photo', '1,200 photos')
    """
    return f"{count:,} photo{'s' if count != 1 else ''}"


def _write_manifest(folder: Path, values: dict[str, Any]) -> None:
    """Says what is in a folder of features; refuses one of others.

    Raises:
        OutputError: the folder holds features of other networks or photos.
    """
    from atdc.files import write_bytes_atomically

    path = folder / MANIFEST
    if path.exists():
        before = _manifest(path)
        if changed := [key for key, value in values.items() if before.get(key) != value]:
            raise OutputError(
                str(folder), f"features of other {' and '.join(changed)}", "an empty folder, or the same",
                "Name another folder with -o, or delete this one.",
            )  # fmt: skip
        return
    write_bytes_atomically(path, json.dumps(values, indent=1).encode())


def _manifest(path: Path) -> dict[str, Any]:
    """What is kept of a folder of features.

    Raises:
        DataError: a damaged file.
    """
    try:
        manifest = json.loads(path.read_text("utf-8"))
        if not isinstance(manifest, dict) or not isinstance(manifest["networks"], dict):
            raise TypeError("no networks")
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataError(
            str(path), f"a damaged file ({str(error)[:80]})", "what `atdc networks features` writes",
            "Make the features again, into another folder.",
        ) from error  # fmt: skip
    return manifest


def digests_in(folders: list[Path]) -> dict[str, str] | None:
    """Which networks features are of, as their folders say; None where one does not.

    Raises:
        ArgumentError: folders of different networks.
    """
    digests: dict[str, str] = {}
    for folder in folders:
        path = (folder if folder.is_dir() else folder.parent) / MANIFEST
        if not path.is_file():
            return None
        for name, digest in _manifest(path)["networks"].items():
            if digests.setdefault(name, digest) != digest:
                raise ArgumentError(str(folder), f"features of another {name}", f"those of {folders[0]}")
    return digests


def holds_copies(folder: Path) -> bool:
    """Whether features are of changed copies of photos, too."""
    return (folder / MANIFEST).is_file() and bool(_manifest(folder / MANIFEST).get(AUGMENT))


def _images(folder: Path | None, count: int) -> Iterator[tuple[str, RgbImage]]:
    """Photos of a folder, evenly spaced; without one, smooth noise."""
    import numpy as np

    if folder is None:
        rng = np.random.default_rng(0)
        for number in range(min(count, 2)):
            coarse = rng.integers(0, 256, (12, 16, 3), np.uint8)
            yield f"noise {number}", np.kron(coarse, np.ones((20, 20, 1), np.uint8))
        return
    from atdc.data.feature_source import evenly_spaced
    from atdc.data.photos import photos_in
    from atdc.images import read_image

    paths = photos_in(folder)
    for place in evenly_spaced(len(paths), count):
        try:
            yield str(paths[place]), read_image(paths[place])
        except ImageError as error:
            complain(str(error))
