"""`atdc bench evaluate`: every graph setting at several qualities on the same images, real bytes, with intervals.

For each image and each (setting, effort, quality) the codec writes a real file, another call reads the features back
from that file alone, and the heads answer from what was read. One vector per image and task is kept (see
:mod:`atdc.metrics.tasks`), so everything below the pixels, bootstrap intervals included, is arithmetic on records.

Records are written shard by shard as they are made; a run that was stopped resumes where it stopped. They are kept
apart by the weights' fingerprint: other weights start again.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from atdc.codec import DEFAULT_GRAPH, Effort
from atdc.config import MAX_QUALITY
from atdc.errors import ArgumentError, DataError
from atdc.files import write_bytes_atomically
from atdc.graph.search import parse_setting
from atdc.graph.task_graph import TaskGraph
from atdc.metrics.tasks import MEASURES, FloatArray, utility
from atdc.provenance import provenance, write_result
from atdc.tasks import BY_NAME, IMAGE_TASK, TASK_NAMES
from atdc.training.losses import loss_gap, task_loss
from atdc_bench.experiments.evaluated_codec import (
    DEFAULT_DATA,
    EvaluatedCodec,
    LabelledImages,
    batches,
    image_size,
    load_evaluated_codec,
    open_rooms,
    require_images,
)
from atdc_bench.measures.rate_distortion import bd_rate_with_interval, draw_counts

RECORDS_VERSION = 2
"""Records of another version are not read; it rises when a vector's meaning changes."""
SHARD = 50
"""Images per record file: what a stopped run loses at most, for one setting and quality."""
REFERENCES = ("independent", "fixed", DEFAULT_GRAPH)
"""Settings that all others are compared against."""
SAME_RECONSTRUCTION = 1e-3
"""Encoder's and decoder's floats may differ by rounding, up to this; one wrong symbol differs by far more."""
BITS_SLACK, BYTES_SLACK = 0.01, 24
"""Real bits are to stay within ideal bits + 1 % + 24 bytes: 19 to 22 of framing, and the end of the range coder."""


@dataclass(frozen=True, order=True)
class Cell:
    """One way to code an image: what is repeated for every image.

    >>> Cell("codebook", "high", 4).label, Cell("fixed", "normal", 2.5).key
    ('codebook+high', 'fixed-q2.5')
    """

    setting: str
    effort: Effort
    quality: float

    @property
    def label(self) -> str:
        """The curve it is a point of."""
        return self.setting + ("" if self.effort == "normal" else f"+{self.effort}")

    @property
    def key(self) -> str:
        """Its name among the record files."""
        return f"{self.label}-q{self.quality:g}"


ZERO, UNCOMPRESSED = "anchor-zero", "anchor-uncompressed"
"""Keys of the two ends of the utility scale: channel means, and features that were never coded."""


@dataclass(frozen=True)
class Plan:
    """What is measured on how many images.

    Args:
        settings: graph settings measured on all images.
        extra_settings: graph settings measured on the first ``extra_count`` images.
        high_effort: graph settings also measured with high effort on the first ``extra_count`` images.
        qualities: of every setting; at least four, or there is no rate difference to compute.
        count: images.
        extra_count: images of the extra settings, at most ``count``.
        batch: images coded at once.
        resamples: bootstrap resamples.
        seed: of the bootstrap.

    Raises:
        ArgumentError: an unknown setting, a quality out of range, counts that make no sense.
    """

    settings: tuple[str, ...] = ("codebook", "exact", "fixed", "independent")
    extra_settings: tuple[str, ...] = ("greedy", "paper", "fixed-mode", "chain", "paper-order", "random")
    high_effort: tuple[str, ...] = (DEFAULT_GRAPH,)
    qualities: tuple[float, ...] = (0, 1, 2, 4, 6, 7)
    count: int = 1000
    extra_count: int = 250
    batch: int = 25
    resamples: int = 500
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuses what cannot be measured."""
        for name in (*self.settings, *self.extra_settings, *self.high_effort):
            parse_setting(name)
        if not self.settings or set(self.settings) & set(self.extra_settings):
            raise ArgumentError("settings", f"{self.settings} and {self.extra_settings}", "each setting once")
        for quality in self.qualities:
            if not 0 <= quality <= MAX_QUALITY:
                raise ArgumentError("quality", f"{quality:g}", f"a number from 0 to {MAX_QUALITY}")
        if self.count < 1 or self.batch < 1 or not 0 <= self.extra_count <= self.count:
            raise ArgumentError(
                "count", f"{self.count} images, {self.extra_count} of them for the extra settings",
                "at least one image, and no more extra ones",
            )  # fmt: skip

    @property
    def cells(self) -> tuple[tuple[Cell, int], ...]:
        """Every cell and on how many images it is measured."""
        every = [(Cell(setting, "normal", q), self.count) for setting in self.settings for q in self.qualities]
        if self.extra_count:
            every += [(Cell(s, "normal", q), self.extra_count) for s in self.extra_settings for q in self.qualities]
            every += [(Cell(s, "high", q), self.extra_count) for s in self.high_effort for q in self.qualities]
        return tuple(every)

    @property
    def items(self) -> tuple[tuple[Cell | str, int], ...]:
        """The cells and the two anchors."""
        return ((ZERO, self.count), (UNCOMPRESSED, self.count), *self.cells)


@dataclass(frozen=True)
class Records:
    """What is known of some images in one cell; every array has one row per image.

    Attributes:
        file_bytes: size of the real file, (N,); 0 in the anchors, which write none.
        ideal_bits: −Σ log₂ of the coded probabilities, (N, T).
        graph_rank: number of the graph among all with two parents at most, (N,); -1 where it has more.
        edges: of the graph, (N,).
        difference: largest absolute difference between the encoder's and the decoder's reconstruction, in units of
            the features' standard deviation, (N,).
        loss: training loss of each task, (N, T).
        statistics: by task, (N, columns); see :mod:`atdc.metrics.tasks`.
    """

    file_bytes: FloatArray
    ideal_bits: FloatArray
    graph_rank: NDArray[np.int64]
    edges: NDArray[np.int64]
    difference: FloatArray
    loss: FloatArray
    statistics: dict[str, FloatArray]

    _PLAIN: ClassVar = ("file_bytes", "ideal_bits", "graph_rank", "edges", "difference", "loss")

    def __len__(self) -> int:
        return len(self.file_bytes)

    @classmethod
    def _of(cls, plain: Mapping[str, NDArray[Any]], statistics: dict[str, FloatArray]) -> Records:
        return cls(
            plain["file_bytes"], plain["ideal_bits"], plain["graph_rank"], plain["edges"], plain["difference"],
            plain["loss"], statistics,
        )  # fmt: skip

    @classmethod
    def joined(cls, parts: Sequence[Records]) -> Records:
        """Images of several records, in order."""
        return cls._of(
            {name: np.concatenate([getattr(part, name) for part in parts]) for name in cls._PLAIN},
            {task: np.concatenate([part.statistics[task] for part in parts]) for task in parts[0].statistics},
        )

    def write(self, path: Path) -> None:
        """Keeps the records in a file (compressed numpy arrays)."""
        buffer = io.BytesIO()
        arrays = {name: getattr(self, name) for name in self._PLAIN}
        arrays |= {f"statistics/{task}": rows for task, rows in self.statistics.items()}
        np.savez_compressed(buffer, **arrays)
        write_bytes_atomically(path, buffer.getvalue())

    @classmethod
    def read(cls, path: Path) -> Records:
        """The inverse of :meth:`write`; raises :class:`DataError` when the file is no such thing."""
        try:
            with np.load(path) as arrays:
                names = [name for name in arrays.files if name.startswith("statistics/")]
                statistics = {name.partition("/")[2]: arrays[name] for name in names}
                return cls._of({name: arrays[name] for name in cls._PLAIN}, statistics)
        except Exception as error:
            raise DataError(str(path), f"{error}", "records of an earlier run", "delete the file") from error


# --- measuring -------------------------------------------------------------------------------------------------------


@torch.no_grad()
def measure_answers(
    evaluated: EvaluatedCodec, features: Tensor, targets: Mapping[str, Tensor], images: Tensor | None = None
) -> tuple[dict[str, FloatArray], FloatArray]:
    """Statistics by task, and training losses (B, T), of the answers from some features.

    Args:
        evaluated: whose heads answer.
        features: raw, (B, T, C, h, w).
        targets: the ground truth.
        images: the answer to :data:`~atdc.tasks.IMAGE_TASK`, (B, 3, H, W), where the receiver has images; the
            head's by default.
    """
    statistics, losses = {}, []
    for task in TASK_NAMES:
        output = images if task == IMAGE_TASK else None
        if output is None:
            output = evaluated.answer_tensors(features, [task])[task]
        target = targets[task]
        statistics[task] = MEASURES[task].statistics(output, target)
        height, width = target.shape[-2:]
        losses.append(task_loss(BY_NAME[task], output[..., :height, :width], target).double().numpy())
    return statistics, np.stack(losses, 1)


def measure_cell(
    evaluated: EvaluatedCodec, cell: Cell, features: Tensor, targets: Mapping[str, Tensor], size: tuple[int, int]
) -> Records:
    """Codes a batch, reads it back from its bytes alone, and measures the answers."""
    codec = evaluated.feature_codec
    encoded = codec.encode_batch(features, cell.quality, cell.setting, cell.effort, [size] * len(features))
    decoded = codec.decode_batch(encoded.data)
    difference = (decoded - encoded.stacked).abs() / torch.stack(codec.std)[:, :, None, None]
    statistics, loss = measure_answers(evaluated, decoded, targets)
    return Records(
        np.array([float(len(data)) for data in encoded.data]),
        encoded.ideal_bits,
        np.array([_rank(graph) for graph in encoded.graphs], np.int64),
        np.array([len(graph.edges) for graph in encoded.graphs], np.int64),
        difference.amax((1, 2, 3, 4)).double().numpy(),
        loss,
        statistics,
    )


def measure_anchor(evaluated: EvaluatedCodec, key: str, features: Tensor, targets: Mapping[str, Tensor]) -> Records:
    """One end of the utility scale: the answers from channel means, or from the features as they are."""
    codec, images = evaluated.feature_codec, len(features)
    if key == ZERO:
        features = torch.stack(codec.mean)[None, :, :, None, None].expand_as(features).contiguous()
    statistics, loss = measure_answers(evaluated, features, targets)
    nothing = np.zeros(images, np.int64)
    bits = np.zeros((images, len(TASK_NAMES)))
    return Records(np.zeros(images), bits, nothing, nothing, np.zeros(images), loss, statistics)


def measure_items(
    evaluated: EvaluatedCodec,
    data: LabelledImages,
    count: int,
    items: Sequence[Cell | str],
    done: Callable[[int], object] = lambda images: None,
) -> dict[Cell | str, Records]:
    """Cells and anchors on the first images, all in memory.

    Args:
        evaluated: the codec.
        data: the images.
        count: how many.
        items: what to measure.
        done: told the number of images after each batch.
    """
    records: dict[Cell | str, list[Records]] = {item: [] for item in items}
    for part in batches(evaluated, data, range(count)):
        size = (part.images.shape[2], part.images.shape[3])
        for item, parts in records.items():
            if isinstance(item, str):
                parts.append(measure_anchor(evaluated, item, part.features, part.targets))
            else:
                parts.append(measure_cell(evaluated, item, part.features, part.targets, size))
        done(len(part.features))
    return {item: Records.joined(parts) for item, parts in records.items()}


def measure_shard(
    evaluated: EvaluatedCodec,
    data: LabelledImages,
    folder: Path,
    span: range,
    missing: Sequence[Cell | str],
    batch: int,
    done: Callable[[int], object] = lambda images: None,
) -> None:
    """Measures the missing cells and anchors on a span of images and writes their records.

    Args:
        evaluated: the codec.
        data: the images.
        folder: where records are kept.
        span: image indices.
        missing: what to measure.
        batch: images coded at once.
        done: told the number of images after each of ``missing``.
    """
    parts = list(batches(evaluated, data, span, batch))
    size = (parts[0].images.shape[2], parts[0].images.shape[3])
    for item in missing:
        if isinstance(item, str):
            records = [measure_anchor(evaluated, item, part.features, part.targets) for part in parts]
        else:
            records = [measure_cell(evaluated, item, part.features, part.targets, size) for part in parts]
        Records.joined(records).write(_record_path(folder, item, span))
        done(len(span))


def _rank(graph: TaskGraph) -> int:
    return -1 if max(len(row) for row in graph.parents) > 2 else graph.rank(2)


def _record_path(folder: Path, item: Cell | str, span: range) -> Path:
    key = item if isinstance(item, str) else item.key
    return folder / f"{key}-{span.start:05d}-{span.stop:05d}.npz"


def _work(plan: Plan, folder: Path) -> list[tuple[range, list[Cell | str]]]:
    """What is not recorded yet, by span of images."""
    work = []
    for start in range(0, plan.count, SHARD):
        wanted: list[tuple[Cell | str, range]] = [
            (item, range(start, min(start + SHARD, count))) for item, count in plan.items if start < count
        ]
        for stop in sorted({span.stop for _, span in wanted}, reverse=True):
            missing = [item for item, s in wanted if s.stop == stop and not _record_path(folder, item, s).exists()]
            if missing:
                work.append((range(start, stop), missing))
    return work


def _collect(plan: Plan, folder: Path) -> dict[Cell | str, Records]:
    """All records of the plan."""
    records: dict[Cell | str, Records] = {}
    for item, count in plan.items:
        spans = [range(start, min(start + SHARD, count)) for start in range(0, count, SHARD)]
        records[item] = Records.joined([Records.read(_record_path(folder, item, span)) for span in spans])
    return records


_worker: tuple[EvaluatedCodec, LabelledImages] | None = None


def _start_worker(load: Callable[[], tuple[EvaluatedCodec, LabelledImages]]) -> None:
    global _worker
    torch.set_num_threads(1)
    _worker = load()


def _run_in_worker(folder: Path, span: range, missing: Sequence[Cell | str], batch: int) -> int:
    assert _worker is not None
    measure_shard(*_worker, folder, span, missing, batch)
    return len(span) * len(missing)


def measure(
    load: Callable[[], tuple[EvaluatedCodec, LabelledImages]],
    plan: Plan,
    folder: Path,
    workers: int = 1,
    quiet: bool = False,
) -> dict[Cell | str, Records]:
    """Measures whatever of the plan is not recorded in ``folder`` yet, and returns all of it.

    Args:
        load: makes the codec and the images; called once in each process, so picklable when ``workers`` > 1.
        plan: what to measure.
        folder: where records are kept.
        workers: processes; each uses one thread when there are several.
        quiet: no progress bar.
    """
    folder.mkdir(parents=True, exist_ok=True)
    work = _work(plan, folder)
    total = sum(len(span) * len(missing) for span, missing in work)
    with tqdm(total=total, unit="image", desc="evaluate", disable=quiet or not work, smoothing=0.05) as bar:
        if work and workers == 1:
            evaluated, data = load()
            for span, missing in work:
                measure_shard(evaluated, data, folder, span, missing, plan.batch, bar.update)
        elif work:
            with ProcessPoolExecutor(workers, get_context("spawn"), _start_worker, (load,)) as pool:
                tasks = [pool.submit(_run_in_worker, folder, span, missing, plan.batch) for span, missing in work]
                for task in tasks:
                    bar.update(task.result())
    return _collect(plan, folder)


# --- from records to results -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Objective:
    """The part of the training objective that a file and its answers decide, in bits per feature element.

    ``R + Λ(q) · mean_i (L_i - L_i,∞) / (L_i,0 - L_i,∞)``, with ``Λ`` geometric from q = 0 to q = 7.

    Args:
        weights: ``Λ(0)`` and ``Λ(7)``.
        bounds: ``L_0`` and ``L_∞`` of each task that training used, (2, T); None takes them from the images measured.
    """

    weights: tuple[float, float] = (0.2, 25.0)
    bounds: FloatArray | None = None

    @classmethod
    def of(cls, card: Mapping[str, Any]) -> Objective:
        """From a model's card; what it does not say is as in the first weights, whose cards did not."""
        low, high = card.get("lambda", cls().weights)
        bounds = card.get("loss_bounds")
        return cls((float(low), float(high)), None if bounds is None else np.array(bounds, np.float64))

    def weight(self, quality: float) -> float:
        """``Λ(q)``.

        >>> [round(Objective((0.01, 1.28)).weight(q), 4) for q in (0, 1, 7)]
        [0.01, 0.02, 1.28]
        """
        low, high = self.weights
        return float(low * (high / low) ** (quality / MAX_QUALITY))


def normalised_loss(loss: FloatArray, bounds: FloatArray) -> FloatArray:
    """``mean_i (L_i - L_i,∞) / (L_i,0 - L_i,∞)`` of each image, (B,), from training losses (B, T) and bounds (2, T)."""
    return ((loss - bounds[1]) / loss_gap(torch.from_numpy(bounds)).numpy()).mean(1)


@dataclass(frozen=True)
class DataSet:
    """Records of one set of images, with what turns them into utilities.

    Args:
        records: by cell and anchor.
        pixels: per image.
        elements: feature elements per image, T·C·h·w.
        objective: what training minimised.
    """

    records: Mapping[Cell | str, Records]
    pixels: int
    elements: int
    objective: Objective = Objective()

    def errors(self, item: Cell | str, counts: FloatArray) -> FloatArray:
        """``e_i`` of drawn data sets, (R, T); ``counts`` (R, images) says how often each image was drawn."""
        records, images = self.records[item], counts.shape[1]
        return np.stack([MEASURES[t].error(counts @ records.statistics[t][:images]) for t in TASK_NAMES], 1)

    def utilities(self, item: Cell | str, counts: FloatArray) -> FloatArray:
        """``u_i`` of drawn data sets, (R, T), both ends of the scale from the same draws."""
        return utility(self.errors(item, counts), self.errors(ZERO, counts), self.errors(UNCOMPRESSED, counts))

    def rates(self, item: Cell | str, counts: FloatArray) -> FloatArray:
        """Bits per pixel of drawn data sets, (R,)."""
        images = counts.shape[1]
        bits = counts @ self.records[item].file_bytes[:images] * 8
        return np.asarray(bits / (counts.sum(1) * self.pixels))


def summarise(data: DataSet, plan: Plan) -> dict[str, Any]:
    """Tables and comparisons from the records: the part of the result that depends on nothing else."""
    cells = dict(plan.cells)
    return {
        "anchors": {
            "zero": figures(data.records[ZERO]),
            "uncompressed": figures(data.records[UNCOMPRESSED]),
        },
        "points": [point_row(data, cell, count) for cell, count in cells.items()],
        "bd_rates": comparisons(data, dict(plan.cells), REFERENCES, plan.resamples, plan.seed),
        "checks": _checks(data, cells),
    }


def figures(records: Records) -> dict[str, Any]:
    """Metrics and error of each task over all images."""
    result: dict[str, Any] = {}
    for place, task in enumerate(TASK_NAMES):
        sums = records.statistics[task].sum(0)
        result[task] = {
            "error": float(MEASURES[task].error(sums)),
            **{name: float(value) for name, value in MEASURES[task].metrics(sums).items()},
            "loss": float(records.loss[:, place].mean()),
        }
    return result


def point_row(data: DataSet, cell: Cell, count: int) -> dict[str, Any]:
    """One row of the table of points."""
    records = data.records[cell]
    everything = np.ones((1, count))
    utilities = data.utilities(cell, everything)[0]
    tasks = figures(records)
    bits = records.ideal_bits.mean(0)
    for place, task in enumerate(TASK_NAMES):
        tasks[task] |= {"utility": _finite(utilities[place]), "ideal_bits": float(bits[place])}
    real, ideal = records.file_bytes * 8, records.ideal_bits.sum(1)
    bounds = data.objective.bounds
    if bounds is None:
        bounds = np.stack([data.records[key].loss[:count].mean(0) for key in (ZERO, UNCOMPRESSED)])
    task_term = float(normalised_loss(records.loss.mean(0)[None], bounds)[0])
    rate_term = float(ideal.mean() / data.elements)
    ranks, uses = np.unique(records.graph_rank, return_counts=True)
    return {
        "setting": cell.setting,
        "effort": cell.effort,
        "quality": cell.quality,
        "images": count,
        "bpp": float(data.rates(cell, everything)[0]),
        "bytes_mean": float(records.file_bytes.mean()),
        "bytes_min": float(records.file_bytes.min()),
        "bytes_max": float(records.file_bytes.max()),
        "ideal_bits_mean": float(ideal.mean()),
        "overhead_bytes_mean": float((real - ideal).mean() / 8),
        "utility": _finite(utilities.mean()),
        "total_loss": rate_term + data.objective.weight(cell.quality) * task_term,
        "total_loss_rate": rate_term,
        "total_loss_tasks": task_term,
        "distinct_graphs": len(ranks),
        "most_frequent_graph_share": float(uses.max() / count),
        "mean_edges": float(records.edges.mean()),
        "tasks": tasks,
    }


def comparisons(
    data: DataSet, counts: Mapping[Cell, int], references: Sequence[str], resamples: int, seed: int
) -> list[dict[str, Any]]:
    """Rate differences of every curve against every reference, over ``U`` and each ``u_i``.

    Args:
        data: records.
        counts: images of each cell.
        references: labels of curves; those that were not measured are left out.
        resamples: of the bootstrap.
        seed: of the bootstrap.
    """
    curves: dict[str, list[Cell]] = {}
    for cell in counts:
        curves.setdefault(cell.label, []).append(cell)
    draws = {n: draw_counts(n, resamples, seed) for n in set(counts.values())}
    cache: dict[tuple[str, int], tuple[FloatArray, FloatArray]] = {}

    def resampled(label: str, images: int) -> tuple[FloatArray, FloatArray]:
        """Rates (1 + R, P) and utilities (1 + R, P, T + 1), ``U`` first."""
        if (label, images) not in cache:
            rates = np.stack([data.rates(cell, draws[images]) for cell in curves[label]], 1)
            each = np.stack([data.utilities(cell, draws[images]) for cell in curves[label]], 1)
            cache[label, images] = rates, np.concatenate([each.mean(2, keepdims=True), each], 2)
        return cache[label, images]

    rows: list[dict[str, Any]] = []
    for label, cells in curves.items():
        for reference in references:
            if reference == label or reference not in curves:
                continue
            images = min(counts[cells[0]], counts[curves[reference][0]])
            base, candidate = resampled(reference, images), resampled(label, images)
            for column, over in enumerate(("U", *TASK_NAMES)):
                row: dict[str, Any] = {"setting": label, "reference": reference, "over": over, "images": images}
                try:
                    compared = bd_rate_with_interval(
                        base[0], base[1][..., column], candidate[0], candidate[1][..., column], images=images
                    )
                    row |= compared.to_json()
                except ArgumentError as refusal:
                    row["refused"] = str(refusal)
                rows.append(row)
    return rows


def _checks(data: DataSet, cells: Iterable[Cell]) -> dict[str, Any]:
    """What must hold of every file that was written."""
    records = [data.records[cell] for cell in cells]
    real = np.concatenate([part.file_bytes for part in records]) * 8
    ideal = np.concatenate([part.ideal_bits.sum(1) for part in records])
    difference = np.concatenate([part.difference for part in records])
    return {
        "files": len(real),
        "files_within_ideal_plus_1_percent_plus_24_bytes": int(
            (real <= ideal * (1 + BITS_SLACK) + 8 * BYTES_SLACK).sum()
        ),
        "largest_overhead_bytes": float((real - ideal).max() / 8),
        "files_decoded_as_encoded": int((difference <= SAME_RECONSTRUCTION).sum()),
        "largest_reconstruction_difference": float(difference.max()),
        "bytes_ratio_across_qualities": _finite(_bytes_ratio(data, cells)),
    }


def _bytes_ratio(data: DataSet, cells: Iterable[Cell]) -> float:
    means = [float(data.records[c].file_bytes.mean()) for c in cells if c.label == DEFAULT_GRAPH]
    return max(means) / min(means) if means else float("nan")


def _finite(value: Any) -> float | None:
    """JSON has no NaN: an untrained head's utility, where the scale has no length, is null."""
    return float(value) if np.isfinite(value) else None


# --- the command -----------------------------------------------------------------------------------------------------


def _load(model: str | Path, data: Path, split: str) -> tuple[EvaluatedCodec, LabelledImages]:
    return load_evaluated_codec(model), open_rooms(data, split)


def run_evaluate(
    model: str | Path = "small",
    data: Path = DEFAULT_DATA,
    out: Path = Path("results/evaluate_small.json"),
    *,
    split: str = "test",
    count: int = 1000,
    extra_count: int = 250,
    settings: Sequence[str] = Plan.settings,
    extra_settings: Sequence[str] = Plan.extra_settings,
    high_effort: Sequence[str] = Plan.high_effort,
    qualities: Sequence[float] = Plan.qualities,
    batch: int = 25,
    resamples: int = 500,
    seed: int = 0,
    workers: int = 1,
    runs: Path = Path("runs/evaluate"),
    quiet: bool = False,
) -> dict[str, Any]:
    """Measures graph settings on the first images of a split and writes tables and comparisons.

    Args:
        model: name or weights file.
        data: folder of rooms.
        out: the result, JSON.
        split: of the rooms.
        count: images for ``settings``.
        extra_count: images for ``extra_settings`` and ``high_effort``.
        settings: graph settings.
        extra_settings: more of them, on fewer images.
        high_effort: graph settings to measure with high effort, too.
        qualities: at least four.
        batch: images coded at once.
        resamples: of the bootstrap.
        seed: of the bootstrap.
        workers: processes of one thread each; 1 measures in this process.
        runs: folder of the records, which let a stopped run resume; keyed by weights, split and image size. Delete it
            to measure again after a change of the code.
        quiet: no progress bar.

    Returns:
        What was written.

    Raises:
        ArgumentError: a plan that makes no sense.
        DataError: fewer images than ``count``.
    """
    plan = Plan(
        tuple(settings), tuple(extra_settings), tuple(high_effort), tuple(qualities), count, min(extra_count, count),
        batch, resamples, seed,
    )  # fmt: skip
    evaluated, rooms = _load(model, data, split)
    require_images(rooms, count)
    codec = evaluated.feature_codec
    height, width = image_size(rooms)
    folder = runs / f"{codec.fingerprint.hex()}-{split}-{width}x{height}-v{RECORDS_VERSION}"
    load = partial(_load, model, data, split) if workers > 1 else lambda: (evaluated, rooms)
    records = measure(load, plan, folder, workers, quiet)
    elements = codec.elements_of(height, width)
    result = {
        "what": "Graph settings of one model on the same images, real files decoded from their bytes alone. bpp = "
        "8 * file bytes / pixels. utility u = (e_0 - e) / (e_0 - e_inf), U their mean over tasks. bd_rates: percent of "
        "bytes at equal utility against a reference (negative: fewer), 95 % bootstrap interval over images. "
        "total_loss = ideal bits per feature element + Λ(q) * mean (L_i - L_iinf) / (L_i0 - L_iinf).",
        "provenance": provenance(seed=seed, weights=codec.fingerprint.hex()),
        "data": {"name": "rooms", "split": split, "images": count, "height": height, "width": width},
        "resamples": resamples,
        **summarise(DataSet(records, int(height) * int(width), elements, Objective.of(evaluated.card)), plan),
    }
    write_result(out, result)
    return result
