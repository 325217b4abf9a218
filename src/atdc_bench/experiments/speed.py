"""`atdc bench speed`: where the time goes, what choosing graphs adds to it, peak memory, and what a device is spared.

One image at a time unless said otherwise, as a camera sends them; medians, with the tenth and ninetieth percentiles.
What is compared is run in turns (A B, B A, ...) and reported as the median of the pairs' ratios, so that a machine that
warms up or is shared slows both alike.
"""

from __future__ import annotations

import io
import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode
from tqdm import tqdm

from atdc.bitstream.container import Container, Segment, pack, unpack
from atdc.bitstream.symbols import SymbolWriter
from atdc.choice.graphs import choose
from atdc.codec import DEFAULT_GRAPH, Effort, FeatureCodec
from atdc.coding.latent_coders import IntegerLatentCoder
from atdc.coding.traversal import code_along_graph
from atdc.config import nearest_integer_quality, quality_steps
from atdc.entropy.coder import EntropyCoder
from atdc.errors import AtdcError
from atdc.graph.task_graph import TaskGraph
from atdc.provenance import provenance, write_result
from atdc.tasks import TASKS
from atdc_bench.experiments.evaluated_codec import (
    DEFAULT_DATA,
    EvaluatedCodec,
    as_input,
    images_at,
    load_evaluated_codec,
    open_rooms,
    require_images,
)

JPEG_QUALITIES = (50, 90)
"""Of the images a device would send instead: small, and good enough for any network."""
WARM_UP = 3
"""Rounds that are run and not counted."""
BATCHES = (1, 4, 16, 64)
"""Images at a time, of which the best throughput is told."""
ONE_ANSWER = next(task.name for task in TASKS if task.presentation == "metres")
"""What is timed where a reader wants one answer alone: a map of numbers."""
WANTED = tuple(task.name for task in TASKS if task.presentation in ("classes", "unit_vectors", "metres"))
"""What is timed where some answers alone are wanted: what a robot asks of a scene."""
ADAPTIVE: tuple[tuple[str, Effort], ...] = (("codebook", "normal"), ("exact", "normal"), ("codebook", "high"))
"""What is timed against the fixed graph."""

P = ParamSpec("P")
T = TypeVar("T")


def timed(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> tuple[float, T]:
    """Milliseconds a call takes, a GPU's work included, and its result."""
    _settle()
    start = time.perf_counter()
    result = function(*args, **kwargs)
    _settle()
    return 1000 * (time.perf_counter() - start), result


def _uses_gpu() -> bool:
    """Whether this process computes on a GPU."""
    return bool(torch.cuda.is_initialized())  # type: ignore[no-untyped-call]


def _settle() -> None:
    """Waits until a GPU has done what it was given."""
    if _uses_gpu():
        torch.cuda.synchronize()


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, tenth and ninetieth percentile.

    >>> spread([1.0, 2.0, 3.0])
    {'median': 2.0, 'p10': 1.2, 'p90': 2.8}
    """
    p10, median, p90 = np.percentile(values, [10, 50, 90])
    return {"median": round(float(median), 4), "p10": round(float(p10), 4), "p90": round(float(p90), 4)}


def paired_ratio(first: Callable[[int], object], second: Callable[[int], object], rounds: int) -> dict[str, Any]:
    """How much longer the first takes than the second, run in turns on the same inputs.

    Args:
        first: called with the round's number.
        second: likewise.
        rounds: pairs that count.

    Returns:
        ``ratio``: median, p10 and p90 of the pairs' ratios; ``interval``: where the median lies with 95 % confidence
        (sign test, normal approximation); ``pairs``.
    """
    ratios = []
    for number in range(-WARM_UP, rounds):
        image = max(number, 0)
        if number % 2:
            (a, _), (b, _) = timed(first, image), timed(second, image)
        else:
            (b, _), (a, _) = timed(second, image), timed(first, image)
        if number >= 0:
            ratios.append(a / b)
    ordered = np.sort(ratios)
    reach = 0.98 * np.sqrt(rounds)
    low, high = max(0, int(rounds / 2 - reach)), min(rounds - 1, int(np.ceil(rounds / 2 + reach)))
    interval = [round(float(ordered[low]), 4), round(float(ordered[high]), 4)]
    return {"ratio": spread(ratios), "interval": interval, "pairs": rounds}


def macs(function: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> float:
    """Multiply-accumulates of every convolution and matrix product in a call, in millions.

    Counted where torch dispatches them, whoever asks for them; table look-ups and element-wise work are not counted.

    >>> macs(torch.matmul, torch.ones(10, 20), torch.ones(20, 30))
    0.006
    """
    with FlopCounterMode(display=False) as counter:
        function(*args, **kwargs)
    return float(counter.get_total_flops()) / 2e6


# --- stages ----------------------------------------------------------------------------------------------------------


class _Recorder:
    """A symbol coder that keeps what passes, to be written again without the networks."""

    def __init__(self) -> None:
        self.passed: list[tuple[int, NDArray[np.int32], NDArray[np.uint8]]] = []

    def code(
        self, image: int, task: int, symbols: NDArray[np.int32] | None, table_index: NDArray[np.uint8]
    ) -> NDArray[np.int32]:
        assert symbols is not None
        self.passed.append((task, symbols, table_index))
        return symbols


def _recorded(codec: FeatureCodec, features: Tensor, quality: float, graph: TaskGraph) -> _Recorder:
    """The symbols of one image, in the order in which they are written."""
    normalised = codec.normalise(features)
    qualities = torch.full((1, codec.task_count), float(quality), device=codec.device)
    recorder = _Recorder()
    steps = np.array([quality_steps(quality, codec.task_count)])
    coder = IntegerLatentCoder(EntropyCoder(codec.entropy, recorder, steps, normalised.grids))
    with torch.no_grad():
        code_along_graph(codec.networks, [graph], qualities, coder, normalised.grids, normalised.parts)
    return recorder


def _write(codec: FeatureCodec, recorder: _Recorder, container: Container) -> bytes:
    """Range-codes recorded symbols and packs the file."""
    writer = SymbolWriter(codec.entropy.tables, 1, codec.task_count, together=True)
    for task, symbols, table_index in recorder.passed:
        writer.code(0, task, symbols, table_index)
    return pack(Container(container.header, (Segment(writer.finish()[0][0], container.segments[0].symbol_check),)))


def encode(
    evaluated: EvaluatedCodec, images: NDArray[np.uint8], quality: float, setting: str, effort: Effort = "normal"
) -> list[bytes]:
    """Pixels (n, 3, H, W) to files."""
    features = evaluated.features_of(as_input(images))
    sizes = [(images.shape[2], images.shape[3])] * len(images)
    return evaluated.feature_codec.encode_batch(features, quality, setting, effort, sizes, restore_all=False).data


def encode_times(
    evaluated: EvaluatedCodec, images: NDArray[np.uint8], quality: float, quiet: bool = True
) -> dict[str, Any]:
    """Milliseconds of each stage of encoding one image with the default setting.

    ``coding`` is what coding along the chosen graph takes besides ``writing`` (range coding and packing, timed on the
    recorded symbols); ``total`` is a run from pixels to bytes of its own.

    Args:
        evaluated: the codec.
        images: (n, 3, H, W), sides multiples of 64.
        quality: of all tasks.
        quiet: no progress bar.
    """
    codec = evaluated.feature_codec
    size = (images.shape[2], images.shape[3])
    rows: list[dict[str, float]] = []
    for number in tqdm(range(-WARM_UP, len(images)), desc="encode", unit="image", disable=quiet):
        image = images[max(number, 0)][None]
        row: dict[str, float] = {}
        row["encoders"], features = timed(evaluated.features_of, as_input(image))
        normalising, batch = timed(codec.normalise, features)
        estimating, costs = timed(codec.costs.estimated_costs, batch, quality)
        row["scoring"] = normalising + estimating
        level = nearest_integer_quality(quality, codec.task_count)
        row["search"], (graph,) = timed(codec.graph_tables.cheapest, costs, level, batch.mean_elements)
        encoding, encoded = timed(codec.encode_batch, features, quality, [graph], sizes=[size], restore_all=False)
        recorder, container = _recorded(codec, features, quality, graph), unpack(encoded.data[0])
        row["writing"], data = timed(_write, codec, recorder, container)
        assert data == encoded.data[0], "the recorded symbols write another file"
        row["coding"] = encoding - row["writing"]
        row["total"], _ = timed(encode, evaluated, image, quality, DEFAULT_GRAPH)
        if number >= 0:
            rows.append(row)
    stages = ("encoders", "scoring", "search", "coding", "writing", "total")
    return {name: spread([row[name] for row in rows]) for name in stages}


def choosing_times(
    evaluated: EvaluatedCodec, images: NDArray[np.uint8], quality: float, quiet: bool = True
) -> dict[str, dict[str, Any]]:
    """What choosing the graph takes of encoding with the default setting: of all tasks, and of a wanted set.

    Args:
        evaluated: the codec.
        images: (n, 3, H, W).
        quality: of all tasks.
        quiet: no progress bar.

    Returns:
        By ``all`` and ``wanted``: the ``tasks``; ``choosing`` and ``encoding`` (from pixels to bytes, networks of these
        tasks and of their helpers alone), milliseconds; ``share``, the first over the second of the same image. Of
        ``wanted`` also ``network``, milliseconds of one task's network, mean over the tasks: what a helper adds.
    """
    codec, result = evaluated.feature_codec, {}
    sizes = [(images.shape[2], images.shape[3])]
    for name, tasks in (("all", codec.task_names), ("wanted", WANTED)):
        wanted = codec.task_indices(tasks)
        needed = codec.needed(wanted, quality)

        def encoded(pixels: NDArray[np.uint8], wanted: list[int] = wanted, needed: list[int] = needed) -> bytes:
            parts = dict(zip(needed, evaluated.features_of(as_input(pixels), needed).unbind(1), strict=True))
            features = [parts.get(task) for task in range(codec.task_count)]
            encoded_batch = codec.encode_batch(features, quality, sizes=sizes, restore_all=False, wanted=wanted)
            return encoded_batch.data[0]

        rows: list[tuple[float, float]] = []
        for number in tqdm(range(-WARM_UP, len(images)), desc=f"choosing, {name}", unit="image", disable=quiet):
            pixels = images[max(number, 0)][None]
            batch = codec.normalise(evaluated.features_of(as_input(pixels))).only(needed)
            choosing, _ = timed(choose, codec.costs, batch, quality, DEFAULT_GRAPH, wanted)
            encoding, _ = timed(encoded, pixels)
            if number >= 0:
                rows.append((choosing, encoding))
        columns = np.array(rows).T
        result[name] = {
            "tasks": list(tasks), "choosing": spread(columns[0]), "encoding": spread(columns[1]),
            "share": spread(columns[0] / columns[1]),
        }  # fmt: skip
    every = range(codec.task_count)
    networks = [
        float(np.mean([timed(evaluated.features_of, as_input(image[None]), [task])[0] for task in every]))
        for image in images
    ]
    result["wanted"]["network"] = spread(networks)
    return result


def decode_times(
    evaluated: EvaluatedCodec, images: NDArray[np.uint8], quality: float, quiet: bool = True
) -> dict[str, Any]:
    """Milliseconds of reading all features of one file, of all heads, of both, and of one task from file to answer."""
    codec = evaluated.feature_codec
    tasks = [ONE_ANSWER]
    wanted = codec.task_indices(tasks)
    rows: list[dict[str, float]] = []
    files = [encode(evaluated, image[None], quality, DEFAULT_GRAPH)[0] for image in images]

    def answer_one(data: bytes) -> object:
        return evaluated.answer_tensors(
            torch.stack(codec.restore([codec.integers.read(data, wanted)], wanted), 1), tasks
        )

    for number in tqdm(range(-WARM_UP, len(images)), desc="decode", unit="image", disable=quiet):
        data = files[max(number, 0)]
        row: dict[str, float] = {}
        row["reading"], features = timed(codec.decode_batch, [data])
        row["heads"], _ = timed(evaluated.answer_tensors, features)
        row["total"] = row["reading"] + row["heads"]
        row[f"{ONE_ANSWER}_only"], _ = timed(answer_one, data)
        if number >= 0:
            rows.append(row)
    return {name: spread([row[name] for row in rows]) for name in rows[0]}


def adaptive_over_fixed(
    evaluated: EvaluatedCodec,
    images: NDArray[np.uint8],
    quality: float,
    rounds: int,
    batch: int = 1,
    quiet: bool = True,
) -> dict[str, Any]:
    """Time from pixels to bytes with graphs chosen per image, over the same with the fixed graph."""

    def run(setting: str, effort: Effort) -> Callable[[int], object]:
        def one(number: int) -> object:
            chosen = np.arange(number * batch, (number + 1) * batch) % len(images)
            return encode(evaluated, images[chosen], quality, setting, effort)

        return one

    result = {}
    for setting, effort in tqdm(ADAPTIVE, desc=f"adaptive/fixed, batch {batch}", disable=quiet):
        name = setting if effort == "normal" else f"{setting}+{effort}"
        result[name] = paired_ratio(run(setting, effort), run("fixed", "normal"), rounds)
    return result


def _decode(evaluated: EvaluatedCodec, files: Sequence[bytes]) -> dict[str, Tensor]:
    """Files to all raw answers."""
    return evaluated.answer_tensors(evaluated.feature_codec.decode_batch(files))


def throughput(
    evaluated: EvaluatedCodec,
    images: NDArray[np.uint8],
    quality: float,
    batches: Sequence[int],
    quiet: bool = True,
) -> dict[str, Any]:
    """Images a second from pixels to files, and from files to all raw answers, several at a time; best of three runs.

    On a GPU also the most memory that its tensors took, MiB.
    """
    rows = {}
    for batch in tqdm(batches, desc="throughput", disable=quiet):
        chosen = images[np.arange(batch) % len(images)]
        files = encode(evaluated, chosen, quality, DEFAULT_GRAPH)  # also the warm-up
        if _uses_gpu():
            torch.cuda.reset_peak_memory_stats()
        encoding = min(timed(encode, evaluated, chosen, quality, DEFAULT_GRAPH)[0] for _ in range(3))
        decoding = min(timed(_decode, evaluated, files)[0] for _ in range(3))
        row = {"encode_per_s": round(1000 * batch / encoding, 2), "decode_per_s": round(1000 * batch / decoding, 2)}
        if _uses_gpu():
            row["gpu_memory_mib"] = round(torch.cuda.max_memory_allocated() / 2**20, 1)
        rows[f"batch_{batch}"] = row
    return rows


# --- memory ----------------------------------------------------------------------------------------------------------

_MEMORY_SCRIPT = """
import json, resource, sys
from pathlib import Path

def peak_mib():
    status = Path("/proc/self/status")
    if status.exists():  # getrusage would count the parent's memory, inherited over fork
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) / 1024
    unit = 2**20 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit

import numpy as np, torch
torch.set_num_threads(int(sys.argv[2]))
peaks = {"torch": peak_mib()}
import atdc.pipeline
codec = atdc.pipeline.load(Path(sys.argv[1]) if sys.argv[1].endswith(".safetensors") else sys.argv[1])
peaks["loaded"] = peak_mib()
image = np.random.default_rng(0).integers(0, 256, (int(sys.argv[3]), int(sys.argv[4]), 3)).astype(np.uint8)
data = codec.encode(image)
peaks["encoded"] = peak_mib()
codec.decode(data)
peaks["decoded"] = peak_mib()
print(json.dumps(peaks))
"""


def peak_memory_mib(model: str | Path, height: int, width: int) -> dict[str, float]:
    """Peak resident memory, MiB, of a fresh process: after importing torch, loading, encoding, decoding one image.

    Raises:
        AtdcError: the process failed; its last line is quoted.
    """
    arguments = [str(model), str(torch.get_num_threads()), str(height), str(width)]
    process = subprocess.run(
        [sys.executable, "-c", _MEMORY_SCRIPT, *arguments], capture_output=True, text=True, check=False
    )
    if process.returncode:
        lines = process.stderr.strip().splitlines() or ["nothing"]
        raise AtdcError("memory measurement", lines[-1], "a process that encodes and decodes an image")
    return {name: round(value, 1) for name, value in json.loads(process.stdout).items()}


# --- device and server -----------------------------------------------------------------------------------------------


def _jpeg(image: NDArray[np.uint8], quality: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def _from_jpeg(data: bytes) -> NDArray[np.uint8]:
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB")).transpose(2, 0, 1)[None]


def device_and_server(
    evaluated: EvaluatedCodec,
    images: NDArray[np.uint8],
    quality: float,
    encoded: dict[str, Any],
    decoded: dict[str, Any],
) -> dict[str, Any]:
    """What a device and a server each spend: features sent by ATDC, against a JPEG sent and all networks run there.

    Args:
        evaluated: the codec.
        images: (n, 3, H, W).
        quality: of ATDC.
        encoded: from :func:`encode_times`.
        decoded: from :func:`decode_times`.

    Returns:
        By system: milliseconds and millions of multiply-accumulates on either side, and the mean bytes between them.
        What the answers are worth is not in here: see the evaluation.
    """
    codec = evaluated.feature_codec
    first = as_input(images[:1])
    features = evaluated.features_of(first)
    graph = codec.choose_graphs(features, quality, DEFAULT_GRAPH)
    data = codec.encode_batch(features, quality, graph, restore_all=False).data
    counts = {
        "encoders": macs(evaluated.features_of, first),
        "scoring": macs(codec.costs.estimated_costs, codec.normalise(features), quality),
        "coding": macs(codec.encode_batch, features, quality, graph, restore_all=False),
        "reading": macs(codec.decode_batch, data),
        "heads": macs(evaluated.answer_tensors, features),
    }
    sizes = [len(encode(evaluated, image[None], quality, DEFAULT_GRAPH)[0]) for image in images]
    systems: dict[str, Any] = {
        f"atdc_quality_{quality:g}": {
            "device_ms": encoded["total"]["median"],
            "device_mmac": round(counts["encoders"] + counts["scoring"] + counts["coding"], 1),
            "bytes": round(float(np.mean(sizes)), 1),
            "server_ms": decoded["total"]["median"],
            "server_mmac": round(counts["reading"] + counts["heads"], 1),
        }
    }
    for jpeg_quality in JPEG_QUALITIES:
        device, server, lengths = [], [], []
        for image in images:
            photo = np.ascontiguousarray(image.transpose(1, 2, 0))
            took, sent = timed(_jpeg, photo, jpeg_quality)
            reading, pixels = timed(_from_jpeg, sent)
            networks, jpeg_features = timed(evaluated.features_of, as_input(pixels))
            heads, _ = timed(evaluated.answer_tensors, jpeg_features)
            device.append(took)
            server.append(reading + networks + heads)
            lengths.append(len(sent))
        systems[f"jpeg_{jpeg_quality}"] = {
            "device_ms": round(float(np.median(device)), 4),
            "device_mmac": 0.0,
            "bytes": round(float(np.mean(lengths)), 1),
            "server_ms": round(float(np.median(server)), 4),
            "server_mmac": round(counts["encoders"] + counts["heads"], 1),
        }
    return {"mmac": {name: round(value, 3) for name, value in counts.items()}, "systems": systems}


# --- the command -----------------------------------------------------------------------------------------------------


def run_speed(
    model: str | Path = "small",
    data: Path = DEFAULT_DATA,
    out: Path = Path("results/bench_small.json"),
    *,
    split: str = "test",
    count: int = 50,
    rounds: int = 60,
    quality: float = 4,
    batch: int = 16,
    threads: int | None = None,
    device: str = "cpu",
    quiet: bool = False,
) -> dict[str, Any]:
    """Times everything on the first images of a split and writes the result.

    Args:
        model: name or weights file.
        data: folder of rooms.
        out: the result, JSON.
        split: of the rooms.
        count: images.
        rounds: pairs of each adaptive-over-fixed ratio.
        quality: of all tasks.
        batch: images of the second, batched, ratio.
        threads: of torch; None leaves its choice.
        device: where the networks run.
        quiet: no progress bars.

    Returns:
        What was written.
    """
    before = torch.get_num_threads()
    if threads is not None:
        torch.set_num_threads(threads)
    try:
        load_ms, evaluated = timed(load_evaluated_codec, model, device)
        rooms = open_rooms(data, split)
        require_images(rooms, count)
        images = images_at(rooms, range(count))
        height, width = images.shape[2:]
        encoded = encode_times(evaluated, images, quality, quiet)
        decoded = decode_times(evaluated, images, quality, quiet)
        result = {
            "what": "Milliseconds per image (one at a time), ratios of paired runs, images a second of several at a "
            "time, peak memory of a fresh process on the CPU in MiB, and millions of multiply-accumulates on device "
            "and server.",
            "provenance": provenance(weights=evaluated.feature_codec.fingerprint.hex()),
            "data": {"name": "rooms", "split": split, "images": count, "height": height, "width": width},
            "device": torch.cuda.get_device_name() if _uses_gpu() else "cpu",
            "quality": quality,
            "load_ms": round(load_ms, 1),
            "encode_ms": encoded,
            "choosing_ms": choosing_times(evaluated, images, quality, quiet),
            "decode_ms": decoded,
            "adaptive_over_fixed": {
                "batch_1": adaptive_over_fixed(evaluated, images, quality, rounds, 1, quiet),
                f"batch_{batch}": adaptive_over_fixed(evaluated, images, quality, max(10, rounds // 4), batch, quiet),
            },
            "throughput": throughput(evaluated, images, quality, BATCHES, quiet),
            "peak_memory_mib": peak_memory_mib(model, height, width),
            **device_and_server(evaluated, images, quality, encoded, decoded),
        }
    finally:
        torch.set_num_threads(before)
    write_result(out, result)
    return result
