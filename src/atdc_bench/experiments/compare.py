"""`atdc bench compare`: every system on the same images and task networks, from real bytes, with rate differences.

Each system leaves two files in the result folder: ``systems/NAME.json``, which says what it is, how it was trained and
what it takes, and ``systems/NAME.npz``, one vector per image, task and point (see :mod:`atdc.metrics.tasks`), from
which every table and every interval is arithmetic. A system whose files are there and were made by the same recipe and
weights is not trained or measured again; so a stopped comparison resumes, and one system can be done at a time.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from atdc.balance import balance_path
from atdc.config import load_recipe
from atdc.data.data_sets import labelled
from atdc.data.rooms import RoomsDataset
from atdc.errors import ArgumentError, DataError
from atdc.files import write_bytes_atomically
from atdc.metrics.tasks import FloatArray
from atdc.pipeline import Codec, load
from atdc.provenance import provenance, write_result
from atdc.tasks import IMAGE_TASK, LETTERS, PAPER_ORDER, TASK_NAMES, TASKS
from atdc.tasks.answers import presented
from atdc.weights import open_weights
from atdc_bench.baselines import elic, graphs, joint, mlic, omni_icm, paper, pixels, sssic, tamc, vvc
from atdc_bench.baselines.learned_training import KINDS, train_pixel_codec
from atdc_bench.baselines.system import FeatureSystem, PixelSystem, System
from atdc_bench.baselines.trainer import BaselineTrainer, CodedFeatures, Row
from atdc_bench.compare_recipe import CompareRecipe, load_compare_recipe
from atdc_bench.experiments.evaluate import (
    UNCOMPRESSED,
    ZERO,
    Cell,
    DataSet,
    Objective,
    Records,
    comparisons,
    figures,
    measure_answers,
    measure_items,
    point_row,
)
from atdc_bench.experiments.evaluated_codec import (
    LabelledImages,
    as_input,
    batches,
    image_size,
    images_at,
    require_images,
)

VERSION = 1
"""Rises when what is measured changes its meaning; files of another version are made again."""
REFERENCES = ("independent", "fixed", "paper", "joint")
"""Systems that all others are compared against, and the best pixel codec."""
ADDED_IN_ORDER = tuple(TASK_NAMES[LETTERS.index(letter)] for letter in PAPER_ORDER)
"""In which order tasks are added for the cumulative figure: the paper's fixed order."""
SYSTEMS = {"elic": elic.system, "mlic": mlic.system}
"""How learned pixel codecs are loaded."""
SHOWN = ("ours", "independent", "paper", "joint", "webp", "avif", "vvc_vvenc", "elic", "mlic")
"""Systems whose answers are shown as images."""
_SPAN = 25
_PREFIX_IMAGES, _PREFIX_POINT, _PREFIX_UTILITY = 24, 2.0, 0.85
_PICTURE, _PICTURE_BYTES = 3, (350, 1600)
_SHOWN = tuple(task.name for task in TASKS if task.needs_scene or task.name == IMAGE_TASK)
_UNDERTRAINED_PERCENT = 1.0
"""A codec whose validation objective still falls by more an epoch carries no verdict."""
_WHAT = (
    "Systems on the same images and task networks. bpp = 8 * file bytes / pixels. Utility u = (e_0 - e) / "
    "(e_0 - e_inf), U its mean over tasks; a receiver of images answers rgb with the image. bd_rates: percent of "
    "bytes at equal utility against a reference (negative: fewer), 95 % bootstrap interval over images. total_loss: "
    "file bits per feature element + Λ(q) * mean normalised task loss."
)

Draw = Callable[[str, NDArray[Any]], str]
"""A task's name and its answer to an image for a page (a data URI)."""


@dataclass(frozen=True)
class Entry:
    """One system of the comparison.

    Attributes:
        name: its key.
        family: `pixels`, `learned pixels` or `features`.
        row: how a learned feature codec is made; None for systems made otherwise.
        make: makes a system of another kind, given the trainer and whether it may train.
        points: of a system that is as it is; those of others follow from the recipe.
        missing: why it cannot even be tried.
    """

    name: str
    family: str
    row: Row | None = None
    make: Callable[[BaselineTrainer, bool], System] | None = None
    points: tuple[float, ...] = ()
    missing: str | None = None

    def system(self, trainer: BaselineTrainer, train: bool) -> tuple[System, Mapping[str, Any] | None]:
        """The system, trained if it may be, and how it was trained; None for what needs no training here."""
        if self.row is not None:
            return trainer.make(self.row, train)
        assert self.make is not None
        return self.make(trainer, train), None


def entries(recipe: CompareRecipe) -> dict[str, Entry]:
    """All systems by name, in the order of tables."""
    rows = [graphs.row("codebook"), graphs.row("codebook", balanced=True)]
    rows += [graphs.row(setting) for setting in graphs.TITLES if setting != "codebook"]
    rows += [paper.row(), sssic.row(), joint.row(), omni_icm.row()]
    unbalanced = (
        None
        if balance_path(open_weights(recipe.base).path).exists()
        else "needs a balance; make it with: atdc bench balance"
    )
    all_entries = [Entry(row.name, "features", row, missing=unbalanced if row.balanced else None) for row in rows]
    all_entries.append(_tamc(Path(recipe.affinity)))
    seeds = range(1, recipe.seeds)
    more = [graphs.row(setting, seed) for setting in ("codebook", "fixed", "independent") for seed in seeds]
    all_entries += [Entry(row.name, "features", row) for row in more]
    all_entries += [
        Entry(codec.name, "pixels", make=partial(_given, codec=codec), points=codec.points)
        for codec in (pixels.JPEG, pixels.WEBP, pixels.AVIF, pixels.JPEG_XL, vvc.VVENC, vvc.VTM)
    ]
    all_entries += [
        Entry(kind, "learned pixels", make=partial(_learned, kind=kind, steps=recipe.pixel_steps)) for kind in KINDS
    ]
    return {entry.name: entry for entry in all_entries}


def _given(trainer: BaselineTrainer, train: bool, codec: PixelSystem) -> System:
    """A codec that is as it is."""
    return codec


def _learned(trainer: BaselineTrainer, train: bool, kind: str, steps: int) -> System:
    """A learned pixel codec of about the encoders' cost, trained as far as it is not yet."""
    folder = trainer.run / "pixels" / kind
    if train:
        train_pixel_codec(kind, "small", folder, trainer.images["train"], trainer.images["val"], steps)
    return SYSTEMS[kind]("small", folder / f"{kind}_small.safetensors")


def _tamc(path: Path) -> Entry:
    """The row that needs measured affinities."""
    if not path.exists():
        return Entry("tamc", "features", missing=f"needs {path}; make it with: atdc bench affinity")
    measured = json.loads(path.read_text(encoding="utf-8"))
    return Entry("tamc", "features", tamc.row(measured["affinity"], measured["qualities"]["4"]["cost_bits"]))


# --- measuring one system --------------------------------------------------------------------------------------------


def measure(system: System, codec: Codec, data: LabelledImages, span: range) -> dict[float, Records]:
    """Codes some images at every point of a system, decodes the bytes, and measures the answers."""
    records: dict[float, list[Records]] = {point: [] for point in system.points}
    for batch in batches(codec, data, span):
        for point in system.points:
            sizes, answered, images = received(system, codec, batch.features, batch.images, point)
            statistics, loss = measure_answers(codec, answered, batch.targets, images)
            records[point].append(_records(np.array(sizes, np.float64), loss, statistics))
    return {point: Records.joined(parts) for point, parts in records.items()}


@torch.no_grad()
def received(
    system: System, codec: Codec, features: Tensor, originals: NDArray[np.uint8], point: float
) -> tuple[list[int], Tensor, Tensor | None]:
    """Bytes of each file, the features that a receiver has from them, and its images if it has any.

    A receiver of images runs the encoders on what it decoded; its answer to `rgb` is the image itself.
    """
    if isinstance(system, FeatureSystem):
        files = system.encode(features, point)
        return [len(data) for data in files], system.decode(files), None
    assert isinstance(system, PixelSystem)
    files, decoded = [], []
    for image in originals:
        data = system.encode(np.ascontiguousarray(image.transpose(1, 2, 0)), point)
        back = system.decode(data)
        if back.shape[:2] != image.shape[1:]:
            raise DataError(system.name, f"an image of {back.shape[:2]}", f"the size {image.shape[1:]} that went in")
        files.append(data)
        decoded.append(back.transpose(2, 0, 1))
    images = as_input(np.stack(decoded))
    return [len(data) for data in files], codec.features_of(images), images


def prefix_bytes(system: System, codec: Codec, data: LabelledImages) -> list[float] | None:
    """Mean bytes a receiver needs for the first 1, 2, … tasks of :data:`ADDED_IN_ORDER`, at one quality; None for
    systems whose files cannot be read in part."""
    if not isinstance(system, CodedFeatures):
        return None
    order = [TASK_NAMES.index(name) for name in ADDED_IN_ORDER]
    originals = images_at(data, range(min(_PREFIX_IMAGES, len(data))))
    sums = np.zeros(len(order))
    for image in originals:
        features = codec.features_of(as_input(image[None]))
        sums += [system.prefix_bytes(features, _PREFIX_POINT, order[: count + 1]) for count in range(len(order))]
    return [float(total / len(originals)) for total in sums]


def drawn(system: System, codec: Codec, data: LabelledImages, draw: Draw) -> list[dict[str, Any]]:
    """Answers of one image at every point, as images for the report."""
    originals = images_at(data, [_PICTURE])
    features, shown = codec.features_of(as_input(originals)), []
    for point in system.points:
        sizes, answered, images = received(system, codec, features, originals, point)
        outputs = codec.answer_tensors(answered, _SHOWN)
        if images is not None:
            outputs[IMAGE_TASK] = images
        answers = {task: draw(task, presented(task, outputs[task])) for task in _SHOWN}
        shown.append({"bytes": sizes[0], "answers": answers})
    return shown


# --- files of one system ---------------------------------------------------------------------------------------------


def save_records(path: Path, records: Mapping[float, Records]) -> None:
    """All points of a system in one file; sums of pixels fit single precision."""
    arrays: dict[str, NDArray[Any]] = {}
    for point, part in records.items():
        arrays |= {f"{point:g}/file_bytes": part.file_bytes.astype(np.int32), f"{point:g}/loss": part.loss}
        arrays |= {f"{point:g}/statistics/{task}": rows.astype(np.float32) for task, rows in part.statistics.items()}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    write_bytes_atomically(path, buffer.getvalue())


def _records(sizes: FloatArray, loss: FloatArray, statistics: dict[str, FloatArray]) -> Records:
    """Records of a system of which only sizes and answers are known."""
    images = len(sizes)
    nothing = np.zeros(images, np.int64)
    return Records(sizes, np.zeros((images, len(TASKS))), nothing, nothing, np.zeros(images), loss, statistics)


def read_records(path: Path) -> dict[float, Records]:
    """The inverse of :func:`save_records`; raises :class:`DataError` when the file is no such thing."""
    try:
        with np.load(path) as arrays:
            points = list(dict.fromkeys(name.partition("/")[0] for name in arrays.files))
            records = {}
            for point in points:
                size, loss = arrays[f"{point}/file_bytes"].astype(np.float64), arrays[f"{point}/loss"]
                statistics = {task: arrays[f"{point}/statistics/{task}"].astype(np.float64) for task in TASK_NAMES}
                records[float(point)] = _records(size, loss, statistics)
            return records
    except Exception as error:  # numpy raises many kinds for a damaged file
        raise DataError(str(path), f"{error}", "records of a comparison", "delete the file") from error


def key_of(entry: Entry, recipe: CompareRecipe, trainer: BaselineTrainer) -> str:
    """Changes when anything does that a system's figures depend on: images, task networks, and what the system is.

    Only what starts from the base's codec, or is shown graphs by its predictor, depends on that codec.
    """
    row, base = entry.row, trainer.base
    inputs: list[Any] = [VERSION, entry.name, recipe.data, recipe.images, trainer.networks_key]
    if row is None:
        inputs.append(entry.points or recipe.pixel_steps)
    else:
        config = replace(base.feature_codec.config, **row.model(base.feature_codec.config))
        inputs += [asdict(config), row.grouping.groups, row.seed, recipe.qualities]
        inputs += [asdict(recipe.budget), asdict(trainer.recipe.codec)]
        if row.from_base or config.predicts:
            inputs.append(base.feature_codec.fingerprint.hex())
        if row.balanced:
            inputs.append([base.balanced(quality) for quality in recipe.qualities])
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()[:16]


# --- the command -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Place:
    """Where a comparison reads and writes, picklable for processes that measure.

    Attributes:
        recipe: file of the comparison's recipe.
        data: rendered rooms.
        run: checkpoints.
        quick: a few images and steps, for a trial.
    """

    recipe: Path
    data: Path
    run: Path
    quick: bool

    def settings(self) -> CompareRecipe:
        """The recipe, cut down for a quick run."""
        recipe = load_compare_recipe(self.recipe)
        if not self.quick:
            return recipe
        budget = replace(recipe.budget, warmup=2, codec=2, further=2, per_epoch=1)
        return replace(recipe, images=4, seeds=1, pixel_steps=2, resamples=20, budget=budget)

    def trainer(self) -> BaselineTrainer:
        """The trainer of learned feature codecs."""
        recipe = self.settings()
        base, training = load(recipe.base), load_recipe(Path(recipe.base_recipe))
        if self.quick:
            training = replace(training, codec=replace(training.codec, batch=4))

        def images() -> dict[str, LabelledImages]:
            return {split: RoomsDataset(self.data, split) for split in ("train", "val")}

        return BaselineTrainer(base, training, recipe.budget, self.run, images, recipe.qualities)


_worker: tuple[System, Codec, LabelledImages] | None = None


def _start_worker(place: Place, name: str) -> None:
    global _worker
    torch.set_num_threads(1)
    trainer = place.trainer()
    system, _ = entries(place.settings())[name].system(trainer, train=False)
    _worker = system, trainer.base, labelled(place.settings().data, place.data, "test")


def _measure_in_worker(span: range) -> dict[float, Records]:
    assert _worker is not None
    return measure(*_worker, span)


def _measured(
    place: Place,
    name: str,
    system: System,
    trainer: BaselineTrainer,
    data: LabelledImages,
    images: int,
    workers: int,
    quiet: bool,
) -> dict[float, Records]:
    spans = [range(start, min(start + _SPAN, images)) for start in range(0, images, _SPAN)]
    parts: list[dict[float, Records]] = []
    with tqdm(total=images, unit="image", desc=name, disable=quiet) as bar:
        if workers == 1:
            for span in spans:
                parts.append(measure(system, trainer.base, data, span))
                bar.update(len(span))
        else:
            with ProcessPoolExecutor(workers, get_context("spawn"), _start_worker, (place, name)) as pool:
                for span, part in zip(spans, pool.map(_measure_in_worker, spans), strict=True):
                    parts.append(part)
                    bar.update(len(span))
    return {point: Records.joined([part[point] for part in parts]) for point in system.points}


def run_compare(
    recipe: Path,
    out: Path,
    *,
    data: Path = Path("data/rooms"),
    run: Path = Path("runs/compare"),
    only: Sequence[str] = (),
    quick: bool = False,
    workers: int = 1,
    draw: Draw | None = None,
    quiet: bool = False,
) -> dict[str, Any]:
    """Trains and measures whatever is not there yet, and writes tables of all that is.

    Args:
        recipe: a YAML file, see :class:`~atdc_bench.compare_recipe.CompareRecipe`.
        out: folder of results.
        data: rendered rooms.
        run: checkpoints and cached features; a stopped call resumes.
        only: names of systems to train and measure now; all by default. Tables take in whatever is there.
        quick: a few images and steps.
        workers: processes that measure.
        draw: makes images of answers for the report; none by default.
        quiet: no progress bars.

    Returns:
        What was written to ``compare.json``, and images of answers at equal bytes.

    Raises:
        ArgumentError: an unknown system.
        DataError: fewer images than wanted, damaged files.
    """
    place = Place(recipe, data, run / ("quick" if quick else "whole"), quick)
    settings = place.settings()
    all_entries = entries(settings)
    for where, names in (("only", only), ("skipped", settings.skipped)):
        if unknown := [name for name in names if name not in all_entries]:
            raise ArgumentError(where, repr(unknown[0]), f"some of {', '.join(all_entries)}")
    trainer = place.trainer()
    rooms = labelled(settings.data, data, "test")
    require_images(rooms, settings.images)
    folder = out / "systems"
    folder.mkdir(parents=True, exist_ok=True)
    anchors = measure_items(trainer.base, rooms, settings.images, (ZERO, UNCOMPRESSED))
    for name, entry in all_entries.items():
        wanted = name in only if only else name not in settings.skipped
        if not wanted or entry.missing or _summary(folder, entry, settings, trainer) is not None:
            continue
        system, trained = entry.system(trainer, train=True)
        summary: dict[str, Any] = {
            "key": key_of(entry, settings, trainer), "name": name, "title": system.title,
            "family": entry.family, "missing": system.missing(),
        }  # fmt: skip
        if summary["missing"] is None:
            records = _measured(place, name, system, trainer, rooms, settings.images, workers, quiet)
            save_records(folder / f"{name}.npz", records)
            summary |= {"images": settings.images, "describe": dict(system.describe()), "trained": trained}
            summary["prefix_bytes"] = prefix_bytes(system, trainer.base, rooms)
            summary["pictures"] = (
                [] if draw is None or entry.name not in SHOWN else drawn(system, trainer.base, rooms, draw)
            )
        summary["provenance"] = provenance(seed=0, weights=trainer.base.feature_codec.fingerprint.hex())
        write_result(folder / f"{name}.json", summary)
    result = _result(folder, all_entries.values(), settings, trainer, rooms, anchors)
    write_result(out / "compare.json", {name: value for name, value in result.items() if name != "pictures"})
    _write_tables(out, result)
    return result


def _summary(folder: Path, entry: Entry, settings: CompareRecipe, trainer: BaselineTrainer) -> dict[str, Any] | None:
    """What a system's file says, if it is there and of this recipe."""
    path = folder / f"{entry.name}.json"
    if entry.missing or not path.exists():
        return None
    try:
        summary: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(str(path), f"{error}", "what a system takes, as JSON", "delete the file") from error
    return summary if summary["key"] == key_of(entry, settings, trainer) else None


def _result(
    folder: Path, all_entries: Iterable[Entry], settings: CompareRecipe, trainer: BaselineTrainer,
    rooms: LabelledImages, anchors: Mapping[Cell | str, Records],
) -> dict[str, Any]:  # fmt: skip
    height, width = image_size(rooms)
    elements = trainer.base.feature_codec.elements_of(height, width)
    records = dict(anchors)
    systems: dict[str, dict[str, Any]] = {}
    for entry in all_entries:
        summary = _summary(folder, entry, settings, trainer)
        if summary is None:
            why = entry.missing or settings.skipped.get(entry.name, "not run yet")
            summary = {"title": entry.name, "family": entry.family, "missing": why}
        systems[entry.name] = {"images": 0, "describe": {}, "trained": None, **summary}
        if summary["missing"] is None:
            system_records = read_records(folder / f"{entry.name}.npz")
            records |= {Cell(entry.name, "normal", point): rows for point, rows in system_records.items()}
    cells = [cell for cell in records if isinstance(cell, Cell)]
    objective = Objective.of(trainer.base.card)
    data = DataSet(records, int(height) * int(width), elements, objective)
    for name, summary in systems.items():
        own_cells = [cell for cell in cells if cell.setting == name]
        goal = objective if summary["family"] == "features" else None
        summary["points"] = [_point(point_row(data, cell, settings.images), goal, elements) for cell in own_cells]
        if summary["trained"] is not None:
            summary["trained"]["undertrained"] = _undertrained(summary["trained"])
        summary["cumulative"] = _cumulative(summary)
    counts = {cell: settings.images for cell in cells}
    pixel_names = [name for name, summary in systems.items() if summary["family"] != "features"]
    rows = comparisons(data, counts, (*REFERENCES, *pixel_names), settings.resamples, seed=0)
    images = _at_equal_bytes(systems)
    return {
        "what": _WHAT,
        "provenance": provenance(seed=0, weights=trainer.base.feature_codec.fingerprint.hex()),
        "recipe": asdict(settings),
        "data": {
            "name": settings.data,
            "split": "test",
            "images": settings.images,
            "height": int(height),
            "width": int(width),
        },
        "anchors": {"zero": figures(anchors[ZERO]), "uncompressed": figures(anchors[UNCOMPRESSED])},
        "systems": systems,
        "bd_rates": [{"system" if key == "setting" else key: value for key, value in row.items()} for row in rows],
        "best_pixel_codec": _best(systems, pixel_names),
        "pictures": images,
    }


def _undertrained(trained: Mapping[str, Any]) -> bool:
    """Whether the validation objective still fell at the end, or whether that is not known."""
    still = trained["improvement_percent_per_epoch"]
    return still is None or still > _UNDERTRAINED_PERCENT


def _cumulative(summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Bytes and utility of the first 1, 2, … tasks: of files that can be read in part at one quality, of others at the
    point nearest to a like mean utility, where the first task costs what all do."""
    points, parts = summary["points"], summary.get("prefix_bytes")
    if not points:
        return []
    if parts is None:
        point = min(points, key=lambda row: abs(row["utility"] - _PREFIX_UTILITY))
        parts = [point["bytes_mean"]] * len(TASKS)
    else:
        point = next(row for row in points if row["point"] == _PREFIX_POINT)
    steps = []
    for count, size in enumerate(parts, 1):
        tasks = ADDED_IN_ORDER[:count]
        utility = sum(point["tasks"][task]["utility"] for task in tasks) / len(TASKS)
        steps.append({"tasks": list(tasks), "bytes": size, "utility": utility})
    return steps


def _at_equal_bytes(systems: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """The report's images: of every system that was drawn, the point nearest to some sizes."""
    drawn_points = {name: summary.pop("pictures", []) for name, summary in systems.items()}
    rows = []
    for size in _PICTURE_BYTES:
        row = []
        for name, shown in drawn_points.items():
            if shown:
                nearest = min(shown, key=lambda point: abs(np.log(point["bytes"] / size)))
                row.append({"system": name, **nearest})
        if row:
            rows.append({"image": _PICTURE, "bytes": size, "rows": row})
    return rows


def _point(row: dict[str, Any], objective: Objective | None, elements: int) -> dict[str, Any]:
    """A row of the table; for a system whose points are qualities, with the objective counted in real bytes."""
    rate, loss = 8 * row["bytes_mean"] / elements, row["total_loss_tasks"]
    return {
        "point": row["quality"],
        **{name: row[name] for name in ("bytes_mean", "bytes_min", "bytes_max", "bpp", "utility", "tasks")},
        "task_loss": loss,
        "total_loss": None if objective is None else rate + objective.weight(row["quality"]) * loss,
    }


def _best(systems: Mapping[str, Mapping[str, Any]], names: Sequence[str]) -> str | None:
    """The pixel codec of fewest bytes at the utility of uncompressed features, U = 1, between its points."""
    needed = {}
    for name in names:
        points = sorted(systems[name]["points"], key=lambda point: float(point["utility"]))
        if points and points[0]["utility"] <= 1 <= points[-1]["utility"]:
            reached, sizes = ([point[key] for point in points] for key in ("utility", "bytes_mean"))
            needed[name] = float(np.interp(1.0, reached, np.log(sizes)))
    return min(needed, key=lambda name: needed[name]) if needed else None


def _write_tables(out: Path, result: Mapping[str, Any]) -> None:
    """The points and the rate differences as CSV."""
    tasks = [f"u {task}" for task in TASK_NAMES]
    points: list[Sequence[Any]] = [("system", "family", "point", "bytes", "bpp", "U", *tasks)]
    for name, summary in result["systems"].items():
        for point in summary["points"]:
            each = [point["tasks"][task]["utility"] for task in TASK_NAMES]
            points.append(
                (name, summary["family"], point["point"], point["bytes_mean"], point["bpp"], point["utility"], *each)
            )
    rates: list[Sequence[Any]] = [("system", "reference", "over", "percent", "low", "high", "monotone", "refused")]
    for row in result["bd_rates"]:
        rates.append(
            [row.get(key) for key in ("system", "reference", "over", "percent", "low", "high", "monotone", "refused")]
        )
    for name, rows in (("points.csv", points), ("bd_rates.csv", rates)):
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(rows)
        write_bytes_atomically(out / name, text.getvalue().encode())
