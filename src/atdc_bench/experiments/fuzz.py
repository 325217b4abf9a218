"""`atdc bench fuzz`: damaged files by the million; each must decode to exactly what it says, or be refused by name.

What a damaged file says is not always what the file it was made from said: an image's height may be one less, or other
bytes may be a valid payload. So a file that decodes must be *the* file of what was decoded: its integers, written again
under its header, give its bytes, every one of them. A file that is refused must be refused with a subclass of
:class:`~atdc.errors.BitstreamError`. Anything else is a failure: another exception, other integers, too much time or
memory. Only integers are decoded: they are all that meets the bytes.
"""

from __future__ import annotations

import gc
import resource
import signal
import sys
import time
import tracemalloc
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from types import FrameType
from typing import Any

import numpy as np
from tqdm import tqdm

from atdc.bitstream.container import ContainerReader, Verification, unpack, verify
from atdc.entropy.integer import Integers
from atdc.errors import ArgumentError, BitstreamError, OutputError
from atdc.files import write_bytes_atomically
from atdc.provenance import provenance, write_result
from atdc.reader import IntegerReader
from atdc.weights import open_weights
from atdc_bench.experiments.mutants import Limits, Mutant, mutant, untouched
from atdc_bench.experiments.sample_files import (
    FromSegments,
    Sample,
    random_files,
    segment_places,
    tiny_reader,
    tiny_reader_of_any_tensors,
    write_symbols,
)

TINY = "tiny"
"""The name of the weights that are made on the spot: of tensors that are alike, and of any tensors."""
SIZES = (16, 17, 33, 48, 64, 96, 128)
"""Sides of the images that sample files stand for, in pixels; of a few, all sides are 256."""
MEMORY_EVERY = 50
"""Memory is watched while every so many mutants are decoded: watching takes several times as long as decoding."""
PARTS_EVERY = 8
"""Single tasks are decoded, damaged ones skipped, from every so many mutants."""
KEPT_FAILURES = 100
"""The most failing mutants that are described and saved; all are counted."""

Latents = Mapping[int, Integers]


class Failure(Exception):
    """A reader did what it must not do."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a mutant that a reader treated as it should.

    Attributes:
        outcome: ``right``, or the name of the error that it was refused with.
        fits: whether all its checks fit but those of the integers, which only a decoder can tell.
        latents: by task, as decoded; None if it was refused.
    """

    outcome: str
    fits: bool
    latents: Latents | None


class _TooSlow(BaseException):
    """Time is up. No ``except Exception`` on the way can take it for something else."""


# --- one mutant ------------------------------------------------------------------------------------------------------


def examine(reader: IntegerReader, case: Mutant, limits: Limits) -> Verdict:
    """Decodes a mutant and judges what comes of it.

    Args:
        reader: of the weights.
        case: the mutant.
        limits: what the reader may hold.

    Raises:
        Failure: the reader did neither what is right nor refuse.

    >>> reader = tiny_reader()
    >>> sample = random_files(reader, 1, [64])[0]
    >>> examine(reader, Mutant("none", sample.data, sample), Limits()).outcome
    'right'
    >>> examine(reader, Mutant("file: truncation", sample.data[:20], sample), Limits())
    Verdict(outcome='TruncatedFileError', fits=False, latents=None)
    """
    checked = verify(case.data, pixel_limit=limits.pixels, position_limit=limits.positions)
    for problem in checked.problems:
        _require_named(problem)
    try:
        decoded = reader.read(case.data, pixel_limit=limits.pixels, position_limit=limits.positions)
    except BitstreamError as error:
        _require_named(error)
        if case.data == case.sample.data:
            raise Failure(f"a valid file is refused: {error}") from error
        return Verdict(type(error).__name__, checked.ok, None)
    if decoded.bytes_read != len(case.data):
        raise Failure(f"{decoded.bytes_read} bytes are read of {len(case.data)}")
    _require_right(reader, case, decoded.latents, checked)
    return Verdict("right", True, decoded.latents)


def examine_parts(reader: IntegerReader, case: Mutant, limits: Limits, latents: Latents | None, random: Random) -> None:
    """Decodes some tasks of a mutant, the damaged ones skipped or not.

    Args:
        reader: of the weights.
        case: the mutant.
        limits: what the reader may hold.
        latents: of the whole file; None if it is refused.
        random: which tasks, and whether to skip.

    Raises:
        Failure: the part differs from the whole, or a task that is whole is not decoded.
    """
    bounds = {"pixel_limit": limits.pixels, "position_limit": limits.positions}
    header = verify(case.data, **bounds).header
    present = range(len(reader.task_names)) if header is None else header.present
    wanted = random.sample(present, random.randint(1, len(present)))
    skip = random.random() < 0.7
    try:
        part = reader.read(case.data, wanted, skip_damaged=skip, **bounds)
    except BitstreamError as error:
        _require_named(error)
        if latents is not None:
            raise Failure(f"a part of a file that decodes is refused: {error}") from error
        return
    for failed in part.failed.values():
        _require_named(failed)
    if part.failed and not skip:
        raise Failure(f"damage is skipped unasked: {part.failed}")
    if latents is not None:
        _require_equal(part.latents, latents, wanted)
    elif part.header.profile == "segments" and case.sample.container.header.profile == "segments":
        places = segment_places(reader, case.sample.container.header)
        whole = untouched(ContainerReader(case.data, **bounds), case.sample, part.graph, places)
        _require_equal(part.latents, case.sample.latents, [task for task in whole if task in wanted])


def _require_named(error: BitstreamError) -> None:
    """A subclass says what kind of damage it is, and its words say where."""
    if type(error) is BitstreamError or not (error.where and error.found and error.expected):
        raise Failure(f"an error that says too little: {type(error).__name__}: {error}")


def _require_right(reader: IntegerReader, case: Mutant, latents: Latents, checked: Verification) -> None:
    if not checked.ok:
        raise Failure(f"a file decodes that a check without weights refuses: {checked.problems[0]}")
    if case.data == case.sample.data:
        _require_equal(latents, case.sample.latents, case.sample.latents)
        return
    container = unpack(case.data)
    again = write_symbols(reader, container.header, FromSegments(reader, container))
    _require_equal(latents, again.latents, again.latents)
    if again.data != case.data:
        raise Failure(f"what is decoded is written as other bytes: {again.data.hex()}")


def _require_equal(latents: Latents, expected: Latents, tasks: Iterable[int]) -> None:
    for task in tasks:
        if task not in latents:
            raise Failure(f"task {task} is missing")
        if not np.array_equal(latents[task], expected[task]):
            raise Failure(f"task {task} has other integers")


# --- the command -----------------------------------------------------------------------------------------------------


def sample_files(reader: IntegerReader, seed: int) -> list[Sample]:
    """Valid files to damage: of small images most, of 256×256 pixels a few, all versions, profiles, kinds, graphs."""
    return random_files(reader, 60, SIZES, seed) + random_files(reader, 4, (256,), seed + 1)


def run_fuzz(
    model: str | Path = TINY,
    out: Path = Path("results/fuzz_tiny.json"),
    *,
    count: int = 1_000_000,
    seed: int = 0,
    limits: Limits | None = None,
    time_limit_s: float = 1.0,
    memory_limit_mb: float = 16.0,
    quiet: bool = False,
) -> dict[str, Any]:
    """Damages files, decodes them, counts what comes of it and writes the result.

    Mutant ``i`` of a seed is the same however many there are. Failing ones are saved in a folder next to the result.

    Args:
        model: name or weights file, or ``tiny``: weights made on the spot, which decode fast, of tensors that are
            alike and of any tensors.
        out: the result, JSON.
        count: mutants.
        seed: of everything that is drawn.
        limits: pixels and positions that the reader is told to hold at most; small ones by default.
        time_limit_s: processor time that a mutant may take.
        memory_limit_mb: what a mutant may allocate at a time.
        quiet: no progress bar.

    Returns:
        What was written.

    Raises:
        ArgumentError: no mutants are wanted, or a negative seed.
        WeightsError: no such weights.
        OutputError: the result or a failing mutant cannot be written.
    """
    for name, value, least in (("count", count, 1), ("seed", seed, 0)):
        if value < least:
            raise ArgumentError(name, str(value), f"{least} or more")
    limits = limits or Limits()
    tiny = [tiny_reader(), tiny_reader_of_any_tensors(), tiny_reader_of_any_tensors(sees=True)]
    readers = tiny if model == TINY else [open_weights(model).integers()]
    subjects = [(reader, sample_files(reader, seed)) for reader in readers]
    tally, folder = _Tally(), out.parent / "fuzz_failures"
    start, resident = time.perf_counter(), _resident_mb()
    with _alarm():
        for index in tqdm(range(count), unit="file", desc="fuzz", disable=quiet):
            random = Random(seed << 32 | index)
            reader, files = random.choice(subjects)
            case = Mutant("none", b"", files[0])
            try:
                with _deadline(time_limit_s):
                    case = mutant(reader, files, random, limits)
                    outcome = _tried(reader, case, limits, memory_limit_mb, index, random, tally)
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # a panic of constriction is no Exception
                outcome = "failed"
                what = f"more than {time_limit_s:g} s" if isinstance(error, _TooSlow) else str(error)
                if len(tally.failures) < KEPT_FAILURES:
                    file = _keep(folder, f"{seed}_{index}.atdc", case.data)
                    what = f"{type(error).__name__}: {what}"
                    tally.failures.append({"index": index, "mutation": case.mutation, "what": what, "file": file})
            tally.outcomes[outcome] += 1
            short = outcome if outcome in ("right", "failed") else "refused"
            tally.mutations.setdefault(case.mutation, Counter())[short] += 1
    seconds = time.perf_counter() - start
    outcomes, mutations, every = tally.outcomes, tally.mutations, [sample for _, files in subjects for sample in files]
    refused = {name: number for name, number in sorted(outcomes.items()) if name not in ("right", "failed")}
    result = {
        "what": "Damaged files, decoded to integers: `right` ones decode to what they say, written again as the same "
        "bytes; `refused` ones end in a named error; `failed` is anything else. Times are processor time.",
        "provenance": provenance(seed=seed, weights=readers[0].fingerprint.hex()),
        "model": str(model),
        "samples": {"files": len(every), "bytes": sum(len(sample.data) for sample in every)},
        "limits": {
            "pixels": limits.pixels, "positions": limits.positions, "seconds": time_limit_s,
            "memory_mb": memory_limit_mb,
        },
        "count": count,
        "outcomes": {
            "right": outcomes["right"], "refused": sum(refused.values()), "failed": outcomes["failed"],
        },
        "refused_as": refused,
        "mutations": {name: dict(sorted(mutations[name].items())) for name in sorted(mutations)},
        "passing_payload_checks_share": tally.passing / count,
        "decoded_in_parts": tally.parts,
        "memory": {
            "watched": len(range(0, count, MEMORY_EVERY)), "peak_mb": tally.peak_bytes / (1 << 20),
            "resident_growth_mb": _resident_mb() - resident,
        },
        "slowest": {"ms": 1e3 * tally.slowest[0], "mutation": tally.slowest[1]},
        "seconds": seconds,
        "ms_per_mutant": 1e3 * seconds / count,
        "failures": tally.failures,
    }  # fmt: skip
    write_result(out, result)
    return result


@dataclass(slots=True)
class _Tally:
    """What has become of the mutants so far."""

    outcomes: Counter[str] = field(default_factory=Counter)
    mutations: dict[str, Counter[str]] = field(default_factory=dict)
    failures: list[dict[str, Any]] = field(default_factory=list)
    passing: int = 0
    parts: int = 0
    peak_bytes: int = 0
    slowest: tuple[float, str] = (0.0, "")


def _tried(
    reader: IntegerReader, case: Mutant, limits: Limits, memory_limit_mb: float, index: int, random: Random,
    tally: _Tally,
) -> str:  # fmt: skip
    """Decodes a mutant, whole and perhaps in part; returns the outcome, or raises whatever must not happen."""
    watched = index % MEMORY_EVERY == 0
    begun = time.process_time()
    try:
        if watched:
            tracemalloc.start()
        verdict = examine(reader, case, limits)
        used = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    if watched:
        tally.peak_bytes = max(tally.peak_bytes, used)
        if used > memory_limit_mb * (1 << 20):
            raise Failure(f"{used} bytes at a time")
    else:  # watching takes time of its own
        tally.slowest = max(tally.slowest, (time.process_time() - begun, case.mutation))
    tally.passing += verdict.fits
    if index % PARTS_EVERY == 0:
        tally.parts += 1
        examine_parts(reader, case, limits, verdict.latents, random)
    return verdict.outcome


@contextmanager
def _alarm() -> Iterator[None]:
    """Time that is up raises while the block runs."""

    def ring(number: int, frame: FrameType | None) -> None:
        raise _TooSlow

    before = signal.signal(signal.SIGPROF, ring)
    gc.collect()
    gc.freeze()  # else every so often a mutant's time holds a walk through all that is loaded, about 100 ms
    try:
        yield
    finally:
        gc.unfreeze()
        signal.signal(signal.SIGPROF, before)


@contextmanager
def _deadline(seconds: float) -> Iterator[None]:
    """Rings when the block has taken that much processor time, and again as long as it runs."""
    signal.setitimer(signal.ITIMER_PROF, seconds, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def _resident_mb() -> float:
    """The most memory that the process has had so far."""
    unit = 1 << 20 if sys.platform == "darwin" else 1 << 10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def _keep(folder: Path, name: str, data: bytes) -> str:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(str(folder), str(error), "a folder that can be made", "pass another --out") from error
    write_bytes_atomically(folder / name, data)
    return f"{folder.name}/{name}"
