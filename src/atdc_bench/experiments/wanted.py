"""`atdc bench wanted`: what is sent when only some of the answers are wanted, in real bytes.

For every set of tasks (:mod:`atdc_bench.experiments.wanted_sets`) the same any-graph codec sends the set's own graph,
and the one graph of all tensors with ancestors or without; codecs trained for the set, image codecs, and the answers
themselves stand next to it. *Utility* of a set is the mean over its tasks of ``min(u, 1)``.

Records are written part by part, by one process or several; a run that was stopped resumes where it stopped.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from atdc.data.data_sets import labelled
from atdc.files import write_bytes_atomically
from atdc.pipeline import load
from atdc.provenance import provenance, write_result
from atdc_bench.baselines import sent_answers
from atdc_bench.experiments.evaluated_codec import DEFAULT_DATA, image_size, require_images
from atdc_bench.experiments.wanted_parts import (
    PICTURES,
    TRAINED,
    VERSION,
    Bench,
    Part,
    Plan,
    device_ms,
    graphs_of_sets,
    missing_systems,
    parts_of,
    trained_names,
)
from atdc_bench.experiments.wanted_result import Records, summarise
from atdc_bench.experiments.wanted_sets import ARMS, NAMED

_WHAT = (
    "What is sent when a set of tasks is wanted, in real files. utility of a set: mean over its tasks of min(u, 1), "
    "u = (e_0 - e) / (e_0 - e_inf); u6: mean over all six, unclipped. bd_rates: percent of bytes at equal utility of "
    "the set in `over` (negative: fewer), through the points that answer better than every cheaper one, up to the "
    "first at 1, with a 95 % bootstrap interval over images. bytes_at: bytes that reach a utility, between points; "
    "`lowest` where the smallest files already do, `none` where no file does. by_size: ratios of bytes, geometric "
    "means over the sets that can be compared. against_best: likewise against the best system of a family at each "
    "utility. device_ms: medians, one image at a time."
)


@dataclass(frozen=True)
class Source:
    """Where a measurement reads, picklable for processes that measure.

    Attributes:
        model: name or weights file.
        name: of the data set.
        data: its folder.
        split: of it.
        codecs: folder of codecs trained for sets.
        plan: of the measurement.
        folder: of the records.
    """

    model: str | Path
    name: str
    data: Path
    split: str
    codecs: Path
    plan: Plan
    folder: Path

    def bench(self) -> Bench:
        """What parts are measured with; graphs of sets are chosen if they are not there yet."""
        codec, images = load(self.model), labelled(self.name, self.data, self.split)
        path = self.folder / "graphs.json"
        val = images if path.exists() else labelled(self.name, self.data, "val")
        return Bench(codec, images, self.plan, graphs_of_sets(codec, val, self.plan, path), self.codecs)


_worker: Bench | None = None


def _start_worker(source: Source) -> None:
    global _worker
    torch.set_num_threads(1)
    _worker = source.bench()


def _measure_in_worker(part: Part, folder: Path) -> None:
    assert _worker is not None
    part.measure(_worker, folder)


def _measure(source: Source, bench: Bench, parts: Sequence[Part], workers: int, quiet: bool) -> None:
    with tqdm(total=len(parts), unit="part", desc="wanted", disable=quiet or not parts, smoothing=0.05) as bar:
        if workers == 1:
            for part in parts:
                part.measure(bench, source.folder)
                bar.update()
        elif parts:
            with ProcessPoolExecutor(workers, get_context("spawn"), _start_worker, (source,)) as pool:
                for done in [pool.submit(_measure_in_worker, part, source.folder) for part in parts]:
                    done.result()
                    bar.update()


def run_wanted(
    model: str | Path = "real",
    data: Path = DEFAULT_DATA,
    out: Path = Path("results/wanted_rooms.json"),
    *,
    name: str = "rooms",
    split: str = "test",
    count: int = Plan.count,
    subset_count: int = Plan.subset_count,
    rival_count: int = Plan.rival_count,
    val_count: int = Plan.val_count,
    qualities: Sequence[float] = Plan.qualities,
    resamples: int = Plan.resamples,
    seed: int = Plan.seed,
    codecs: Path = Path("runs/wanted/codecs"),
    workers: int = 1,
    runs: Path = Path("runs/wanted"),
    quiet: bool = False,
) -> dict[str, Any]:
    """Measures what is sent for sets of tasks, and writes tables and comparisons.

    Args:
        model: name or weights file.
        data: folder of the data set.
        out: the result, JSON.
        name: of the data set, ``rooms`` or ``nyuv2``.
        split: of it.
        count: images of the named sets, and of codecs trained for them.
        subset_count: images of all other sets, at most ``count``.
        rival_count: images of image codecs and answers, at most ``count``.
        val_count: validation images on which graphs of sets are chosen.
        qualities: at least four.
        resamples: of the bootstrap.
        seed: of the bootstrap.
        codecs: folder of codecs trained for sets, ``joint_nd.safetensors`` or ``alone_nd.safetensors`` for normals and
            depth; what is not there is said to be not run.
        workers: processes of one thread each; 1 measures in this process.
        runs: folder of the records, which let a stopped run resume; keyed by weights, data and plan. Delete it to
            measure again after a change of the code.
        quiet: no progress bar.

    Returns:
        What was written.

    Raises:
        ArgumentError: a plan that makes no sense.
        DataError: fewer images than wanted.
    """
    subset_count, rival_count = min(subset_count, count), min(rival_count, count)
    plan = Plan(tuple(qualities), count, subset_count, rival_count, val_count, resamples, seed)
    codec, images = load(model), labelled(name, data, split)
    require_images(images, count)
    require_images(labelled(name, data, "val"), val_count)
    height, width = image_size(images)
    fingerprint = codec.feature_codec.fingerprint.hex()
    points: dict[str, Any] = {system: rival.points for system, rival in PICTURES.items()}
    points |= {system: [str(point) for point in rival.points] for system, rival in sent_answers.CODECS.items()}
    measured = [VERSION, fingerprint, name, split, height, width, plan.qualities, val_count, list(ARMS), points]
    folder = runs / hashlib.sha256(json.dumps(measured).encode()).hexdigest()[:12]
    folder.mkdir(parents=True, exist_ok=True)
    source = Source(model, name, data, split, codecs, plan, folder)
    bench, missing = source.bench(), missing_systems(codecs)
    times = folder / "device_ms.json"
    if not times.exists():
        write_bytes_atomically(times, json.dumps(device_ms(bench, missing)).encode())
    todo = [part for part in parts_of(plan, missing) if not part.is_measured(folder, plan)]
    _measure(source, bench, todo, workers, quiet)
    result = {
        "what": _WHAT,
        "provenance": provenance(seed=seed, weights=fingerprint),
        "data": {"name": name, "split": split, "images": count, "height": height, "width": width},
        "subset_images": subset_count, "rival_images": rival_count, "val_images": val_count,
        "qualities": list(plan.qualities), "resamples": resamples,
        "sets": NAMED,
        "titles": _titles(),
        "missing": missing,
        "graphs": {
            f"{quality:g}": {letters: bench.described(sent) for letters, sent in rows.items()}
            for quality, rows in bench.graphs.items()
        },
        "device_ms": json.loads(times.read_text(encoding="utf-8")),
        **summarise(Records(plan, folder, missing)),
    }  # fmt: skip
    write_result(out, result)
    return result


def _titles() -> dict[str, str]:
    titles = {name: arm.title for name, arm in ARMS.items()} | {name: system.title for name, system in PICTURES.items()}
    titles |= {name: codec.title for name, codec in sent_answers.CODECS.items()}
    return titles | {name: TRAINED[name.partition("_")[0]] for name in trained_names()}
