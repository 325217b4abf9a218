"""`atdc bench selfcheck`: a file decodes to the same integers however the machine that decodes it computes.

A reference process codes rendered rooms to files and keeps a digest of every file's integers. Each configuration runs
in a process of its own, with other threads, batches, instruction sets, libraries' kernels, layouts or precisions. It
reads the reference's files, and writes files of its own that the reference reads. Writers may choose other symbols,
since their networks compute in floats; but whoever reads a file must get the integers that its writer had. How far
restored features drift apart is reported, not judged, as long as they are finite.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from rich.markup import escape
from rich.table import Table
from tqdm import tqdm

import atdc
from atdc.config import Quality, quality_steps
from atdc.data.labelled import IMAGE
from atdc.data.rooms import render_rooms
from atdc.errors import ArgumentError, AtdcError
from atdc.provenance import provenance, write_result
from atdc.terminal import plain_table
from atdc.weights import open_weights
from atdc_bench.experiments.selfcheck_worker import Files, Group, Job, Settings, numpy_features

FIRST_SEED = 9_000_000
"""Rooms from this seed on belong to no split."""
GRAPHS = ("codebook", "exact", "random", "independent")
"""Search settings, taken in turns image by image."""
QUALITIES: tuple[Quality, ...] = (4, 0.5, (6, 0, 2.375, 4, 7, 1.125), 7, 2.125, 0, 5.875)
"""Taken in turns group by group: whole ones, eighths, and one per task."""
GROUP = 8
"""Images that have size, quality and profile in common."""
SHARE = 8
"""A configuration restores and encodes every so many-th group, another one each; it reads the integers of all."""
LISTED = 20
"""So many mismatched files are named; all are counted."""

_TILE = 16
_FORCED = ("ATEN_CPU_CAPABILITY", "OPENBLAS_CORETYPE", "NPY_DISABLE_CPU_FEATURES", "NPY_ENABLE_CPU_FEATURES")
_WORKER = ("-m", "atdc_bench.experiments.selfcheck_worker")


@dataclass(frozen=True, slots=True)
class Configuration:
    """A way to compute.

    Attributes:
        name: in the result.
        settings: what the process sets when it runs.
        environment: what must be said before it starts.
        expects: what must be observed to have taken effect; otherwise it counts as not run.
        flags: what the processor must have, by the names of ``/proc/cpuinfo``.
        missing: why it cannot run here; empty if it can.
        may_fail: a process that fails is reported as not run, for what it needs can be known by trying only.
        python: another interpreter than this one.
    """

    name: str
    settings: Settings = field(default_factory=Settings)
    environment: Mapping[str, str] = field(default_factory=dict)
    expects: Mapping[str, Any] = field(default_factory=dict)
    flags: frozenset[str] = frozenset()
    missing: str = ""
    may_fail: bool = False
    python: Path | None = None

    def asked(self) -> dict[str, Any]:
        """Settings and environment that differ from the reference's."""
        usual = dataclasses.asdict(Settings())
        settings = {key: value for key, value in dataclasses.asdict(self.settings).items() if value != usual[key]}
        return settings | dict(self.environment) | ({"python": str(self.python)} if self.python else {})

    def why_not(self, flags: frozenset[str]) -> str:
        """Why it cannot run on a processor with these flags; empty if it can.

        >>> Configuration("wide", flags=frozenset({"avx512f"})).why_not(frozenset({"avx2"}))
        'the processor lacks avx512f'
        """
        lacking = sorted(self.flags - flags)
        return self.missing or (f"the processor lacks {', '.join(lacking)}" if lacking else "")

    def unmet(self, effective: Mapping[str, Any]) -> str:
        """What was expected and did not take effect; empty if all did.

        >>> Configuration("two", expects={"threads": 2}).unmet({"threads": 1})
        'asked for threads 2, found 1'
        """
        for key, value in self.expects.items():
            if str(effective.get(key)).lower() != str(value).lower():
                return f"asked for {key} {value}, found {effective.get(key)}"
        return ""


_AVX2 = frozenset({"avx2", "fma"})
_AVX512 = _AVX2 | {"avx512f", "avx512bw", "avx512dq", "avx512vl"}


def _aten(level: str, flags: frozenset[str] = frozenset()) -> Configuration:
    return Configuration(
        f"aten_{level}", environment={"ATEN_CPU_CAPABILITY": level}, expects={"cpu_capability": level}, flags=flags
    )


def _openblas(core: str, flags: frozenset[str]) -> Configuration:
    return Configuration(
        f"openblas_{core.lower()}", environment={"OPENBLAS_CORETYPE": core}, expects={"blas_core": core}, flags=flags
    )


def _laid_out(layout: str) -> Configuration:
    expects = {"encoders_layout": layout, "codec_layout": layout}
    return Configuration(layout, Settings(layout=layout), expects=expects)


def ci_configurations() -> list[Configuration]:
    """Four that together change most of what can be changed, for every day."""
    haswell = _openblas("Haswell", _AVX2)
    return [
        Configuration("threads_2_batch_8", Settings(threads=2, batch=8), expects={"threads": 2, "batch": 8}),
        Configuration("mkldnn_off", Settings(mkldnn=False), expects={"mkldnn": False}),
        dataclasses.replace(
            haswell, name="aten_default_openblas_haswell",
            environment={**_aten("default").environment, **haswell.environment},
            expects={**_aten("default").expects, **haswell.expects},
        ),
        Configuration(
            "contiguous_autocast", Settings(layout="contiguous", autocast=True),
            expects={"encoders_layout": "contiguous", "encoders_dtype": "bfloat16", "codec_dtype": "bfloat16"},
        ),
    ]  # fmt: skip


def full_configurations(python: Path | None = None) -> list[Configuration]:
    """One for each thing that can be changed, and some that change two.

    Args:
        python: an interpreter with another release of torch, and with what else the package needs.
    """
    features = ",".join(numpy_features())
    compiler = next(filter(shutil.which, (os.environ.get("CXX", "c++"), "g++", "clang++")), None)
    return [
        Configuration("threads_2", Settings(threads=2), expects={"threads": 2}),
        Configuration("batch_8", Settings(batch=8), expects={"batch": 8}),
        Configuration("threads_2_batch_8", Settings(threads=2, batch=8), expects={"threads": 2, "batch": 8}),
        Configuration("mkldnn_off", Settings(mkldnn=False), expects={"mkldnn": False}),
        _aten("default"),
        _aten("avx2", _AVX2),
        _aten("avx512", _AVX512),
        _openblas("Nehalem", frozenset({"sse4_2"})),
        _openblas("Haswell", _AVX2),
        _openblas("SkylakeX", _AVX512),
        Configuration(
            "numpy_baseline", environment={"NPY_DISABLE_CPU_FEATURES": features}, expects={"numpy_features": []},
            missing="" if features else "numpy has code for this processor's baseline only",
        ),
        _laid_out("channels_last"),
        _laid_out("contiguous"),
        Configuration(
            "autocast_bfloat16", Settings(autocast=True),
            expects={"encoders_dtype": "bfloat16", "codec_dtype": "bfloat16"},
        ),
        Configuration(
            "compiled", Settings(compiled=True), expects={"compiled": True}, may_fail=True,
            missing="" if compiler else "no C++ compiler",
        ),
        Configuration(
            "other_torch", python=python, may_fail=True, missing="" if python else "not installed; name its Python",
        ),
        Configuration(
            "cuda", Settings(device="cuda"), expects={"encoders_device": "cuda", "codec_device": "cuda"}, may_fail=True,
            missing="" if torch.cuda.is_available() else "no GPU",
        ),
    ]  # fmt: skip


# --- a round: some images, all configurations ------------------------------------------------------------------------


@dataclass(frozen=True)
class Processes:
    """Where processes run, and what they are told.

    Attributes:
        model: name or weights file.
        folder: of images, files and answers.
        worker: the command that does a job.
        compiled: what torch.compile builds is kept here.
    """

    model: str
    folder: Path
    worker: tuple[str, ...]
    compiled: Path

    def run(
        self, name: str, configuration: Configuration, encode: Sequence[Group], decode: Sequence[Files]
    ) -> dict[str, Any]:
        """The worker's answer, from disk if it was given before; or ``not_run`` and why.

        Raises:
            AtdcError: the process failed, and may not.
        """
        path = self.folder / f"{name}.json"
        if path.exists():
            return json.loads(path.read_text(encoding="utf-8"))
        process_folder = self.folder / name
        process_folder.mkdir(parents=True, exist_ok=True)
        job = self.folder / f"{name}.job"
        job.write_text(
            Job(self.model, configuration.settings, str(process_folder), list(encode), list(decode)).to_json(),
            encoding="utf-8",
        )
        command = list(self.worker)
        if configuration.python is not None:
            command[0] = str(configuration.python)
        start = time.perf_counter()
        message = ""
        try:
            environment = self._environment(configuration)
            process = subprocess.run([*command, str(job)], env=environment, capture_output=True, text=True, check=False)
            if process.returncode:
                message = (process.stderr.strip().splitlines() or ["no word"])[-1]
            if process.returncode < 0:
                message = f"ended by {signal.Signals(-process.returncode).name}; {message}"
        except OSError as error:
            message = str(error)
        if message and not configuration.may_fail:
            raise AtdcError(f"configuration {name}", message, "a process that encodes and decodes")
        if message:
            answer = {"not_run": message}
        else:
            answer = json.loads(process.stdout.splitlines()[-1])
            answer["seconds"] = round(time.perf_counter() - start, 2)
        write_result(path, answer)
        return answer

    def _environment(self, configuration: Configuration) -> dict[str, str]:
        threads = str(configuration.settings.threads)
        environment = {key: value for key, value in os.environ.items() if key not in _FORCED}
        environment |= {f"{library}_NUM_THREADS": threads for library in ("OMP", "MKL", "OPENBLAS")}
        # Threads that wait for each other sleep, lest a check of two threads starve on a machine that is busy.
        environment |= {"OMP_WAIT_POLICY": "PASSIVE", "TORCHINDUCTOR_COMPILE_THREADS": "1"}
        environment["TORCHINDUCTOR_CACHE_DIR"] = str(self.compiled)
        if configuration.python is not None:
            environment["PYTHONPATH"] = str(Path(atdc.__file__).resolve().parents[1])
        return environment | dict(configuration.environment)

    def file(self, process: str, name: str, suffix: str = ".atdc") -> str:
        """Path of a file that a process has written."""
        return str(self.folder / process / f"{name}{suffix}")


def make_groups(number: int, images: int, qualities: Sequence[Quality], folder: Path) -> list[Group]:
    """Renders the images of a round, none of which was used before, and says how each is to be coded."""
    groups = []
    per_round = -(-images // GROUP)
    for place, start in enumerate(range(0, images, GROUP)):
        turn = number * per_round + place
        height, width = (200, 328) if turn % 4 == 3 else (256, 256)
        seeds = range(FIRST_SEED + number * images + start, FIRST_SEED + number * images + min(start + GROUP, images))
        side = -(-max(height, width) // _TILE) * _TILE
        path = folder / f"{place:03}.npy"
        np.save(path, render_rooms(seeds, size=side)[IMAGE][:, :, :height, :width].numpy())
        quality = qualities[turn % len(qualities)]
        groups.append(
            Group(
                f"{place:03}", str(path), _plain(quality),
                "segments" if turn // 2 % 2 else "compact",
                [GRAPHS[(turn + image) % len(GRAPHS)] for image in range(len(seeds))],
            )
        )  # fmt: skip
    return groups


def run_round(
    processes: Processes,
    number: int,
    images: int,
    qualities: Sequence[Quality],
    chosen: Sequence[Configuration],
    advance: Callable[[Mapping[str, Any]], None],
) -> dict[str, Any]:
    """One round: by configuration, the reference first, what :func:`compare` finds or why it did not run.

    Args:
        processes: where and what to run.
        number: of the round.
        images: of the round.
        qualities: taken in turns.
        chosen: the configurations.
        advance: told every process's answer.
    """
    processes.folder.mkdir(parents=True, exist_ok=True)
    groups = make_groups(number, images, qualities, processes.folder)
    names = [[f"{group.name}-{image}" for image in range(len(group.graphs))] for group in groups]
    plain = Configuration("reference")

    def files(process: str, restored: Iterable[int]) -> list[Files]:
        places = set(restored)
        return [
            Files([processes.file(process, name) for name in names[place]], place in places)
            for place in range(len(groups))
        ]

    everywhere = range(len(groups))
    reference = processes.run("reference", plain, groups, files("reference", everywhere))
    answers = {"reference": reference}
    share, flags = min(SHARE, len(groups)), processor_flags()
    advance(reference)
    for place, configuration in enumerate(chosen):
        why = configuration.why_not(flags)
        group_places = everywhere[place % share :: share]
        answer: dict[str, Any] = {"not_run": why}
        if not why:
            encode = [groups[group] for group in group_places]
            answer = processes.run(configuration.name, configuration, encode, files("reference", group_places))
        answers[configuration.name] = answer
        advance(answer)
    written = [
        processes.file(name, file)
        for name, answer in answers.items()
        if name != "reference"
        for file in answer.get("encoded", {})
    ]
    again = processes.run("again", plain, [], [Files(written, False)])["decoded"]
    rows = {"reference": compare(processes, "reference", reference, reference, {})}
    for configuration in chosen:
        answer = answers[configuration.name]
        if "not_run" in answer:
            rows[configuration.name] = answer
            continue
        rows[configuration.name] = compare(processes, configuration.name, answer, reference, again)
        unmet = configuration.unmet(answer["effective"])
        if unmet and not rows[configuration.name]["mismatches"]:
            rows[configuration.name] = {"not_run": unmet}
    return rows


def compare(
    processes: Processes, name: str, answer: Mapping[str, Any], reference: Mapping[str, Any], again: Mapping[str, Any]
) -> dict[str, Any]:
    """What a configuration read of the reference's files, and the reference of its files, against what was written.

    Args:
        processes: where the files are.
        name: of the configuration.
        answer: its process's answer.
        reference: the reference's.
        again: the reference's reading of the files of all configurations, by path.

    Returns:
        Symbols compared, mismatched files, and how far restored features are from those the reference restored.
    """
    read = [(Path(path).stem, path, answer["decoded"][path]) for path in answer["decoded"]]
    mismatched = _mismatches("read", ((file, reference["encoded"][file], record) for file, _, record in read))
    drift = 0.0
    for file, _, record in read:
        if record.get("finite") and reference["decoded"][processes.file("reference", file)].get("finite"):
            values, reference_values = (
                np.load(processes.file(process, file, ".npy")) for process in (name, "reference")
            )
            drift = max(drift, float(np.abs(values - reference_values).max()))
    written = answer["encoded"] if name != "reference" else {}
    mismatched += _mismatches(
        "written", ((file, record, again[processes.file(name, file)]) for file, record in written.items())
    )
    otherwise = sum(
        Path(processes.file(name, file)).read_bytes() != Path(processes.file("reference", file)).read_bytes()
        for file in written
    )
    return {
        "effective": answer["effective"],
        "files_read": len(read),
        "files_written": len(written),
        "files_written_otherwise": otherwise,
        "symbols_read": sum(reference["encoded"][file]["symbols"] for file, _, _ in read),
        "symbols_written": sum(record["symbols"] for record in written.values()),
        "mismatches": len(mismatched),
        "mismatched": mismatched,
        "drift": drift,
        "seconds": answer["seconds"],
    }


def _mismatches(way: str, pairs: Iterable[tuple[str, Mapping[str, Any], Mapping[str, Any]]]) -> list[dict[str, str]]:
    """Files of which the reader had not what the writer had: (name, writer's, reader's)."""
    mismatches = []
    for file, written_record, read_record in pairs:
        why = read_record.get("error") or (
            "" if read_record["digest"] == written_record["digest"] else "other integers"
        )
        if not why and not read_record.get("finite", True):
            why = "restored features that are not finite"
        if why:
            mismatches.append({"file": file, "way": way, "why": why})
    return mismatches


def processor_flags() -> frozenset[str]:
    """What the processor can do, by the names of ``/proc/cpuinfo``; nothing where there is no such file."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    return frozenset(next((line.partition(":")[2] for line in lines if line.startswith("flags")), "").split())


# --- the command -----------------------------------------------------------------------------------------------------


def run_selfcheck(
    model: str | Path = "small",
    out: Path = Path("results/selfcheck_small.json"),
    *,
    images: int = 128,
    qualities: Sequence[Quality] = QUALITIES,
    configurations: Literal["ci", "full"] | Sequence[Configuration] = "full",
    symbols_target: float | None = None,
    python: Path | None = None,
    worker: Sequence[str] = (sys.executable, *_WORKER),
    runs: Path = Path("runs/selfcheck"),
    quiet: bool = False,
) -> dict[str, Any]:
    """Checks that files decode to the integers that their writers had, and writes the result.

    Args:
        model: name or weights file.
        out: the result, JSON.
        images: of a round; each is coded once by the reference and read by every configuration.
        qualities: taken in turns.
        configurations: by name of a set, or one by one.
        symbols_target: rounds of fresh images follow until so many symbols have been compared; one round if None.
        python: an interpreter with another release of torch.
        worker: the command that does a job.
        runs: folder for what a stopped call has done; it resumes there, unless code, weights or arguments are others.
        quiet: no progress bar.

    Returns:
        What was written; ``passed`` is the verdict.

    Raises:
        ArgumentError: arguments that make no sense.
        AtdcError: a configuration's process failed.
    """
    weights = open_weights(model)
    for quality in qualities:
        quality_steps(quality, len(weights.tensors))
    if images < 1 or not qualities:
        raise ArgumentError("images and qualities", f"{images} and {len(qualities)}", "at least one of each")
    if isinstance(configurations, str):
        if configurations not in ("ci", "full"):
            raise ArgumentError("configurations", repr(configurations), "'ci' or 'full'")
        chosen = ci_configurations() if configurations == "ci" else full_configurations(python)
    else:
        chosen = list(configurations)
    plan = [
        weights.fingerprint.hex(),
        images,
        repr(qualities),
        repr([(configuration.name, configuration.asked()) for configuration in chosen]),
        *worker,
        _source_digest(),
    ]
    # Processes are told absolute paths, wherever they start.
    folder = runs.resolve() / hashlib.sha256(repr(plan).encode()).hexdigest()[:12]
    rounds: list[dict[str, Any]] = []
    symbols = 0
    bar: tqdm[Any]

    def advance(answer: Mapping[str, Any]) -> None:
        read = sum(record.get("symbols", 0) for record in answer.get("decoded", {}).values())
        bar.update(read if symbols_target else 1)

    total, unit = (int(symbols_target), "symbol") if symbols_target else (len(chosen) + 1, "process")
    with tqdm(total=total, unit=unit, unit_scale=bool(symbols_target), desc="selfcheck", disable=quiet) as bar:
        while not rounds or symbols < (symbols_target or 0):
            number = len(rounds)
            processes = Processes(str(model), folder / f"round-{number:03}", tuple(worker), folder / "compiled")
            summary = folder / f"round-{number:03}.json"
            if summary.exists():
                rounds.append(json.loads(summary.read_text(encoding="utf-8")))
                bar.update(_symbols(rounds[-1].values()) if symbols_target else total)
            else:
                rounds.append(run_round(processes, number, images, qualities, chosen, advance))
                write_result(summary, rounds[-1])
            shutil.rmtree(processes.folder, ignore_errors=True)
            symbols += _symbols(rounds[-1].values())
    rows = {
        name: {"asked": options, **merged([outcome[name] for outcome in rounds])}
        for name, options in {
            "reference": {},
            **{configuration.name: configuration.asked() for configuration in chosen},
        }.items()
    }
    mismatches = sum(row.get("mismatches", 0) for row in rows.values())
    result = {
        "what": "Files read by processes that compute differently. Every configuration reads the reference's files, "
        "and the reference reads those that it writes; a mismatch is a file of which the reader has not the integers "
        "(latents and hyper-latents) that its writer had. drift: greatest difference of restored normalised features.",
        "provenance": provenance(seed=FIRST_SEED, weights=weights.fingerprint.hex()),
        "data": {"name": "rooms", "first_seed": FIRST_SEED, "images": images * len(rounds), "rounds": len(rounds)},
        "qualities": [_plain(quality) for quality in qualities],
        "graphs": list(GRAPHS),
        "configurations": rows,
        "totals": {
            "run": sum("not_run" not in row for row in rows.values()),
            "not_run": sum("not_run" in row for row in rows.values()),
            "symbols": symbols,
            "mismatches": mismatches,
            "drift": max(row.get("drift", 0.0) for row in rows.values()),
            "seconds": round(sum(row.get("seconds", 0.0) for row in rows.values()), 2),
        },
        "passed": mismatches == 0,
    }
    write_result(out, result)
    shutil.rmtree(folder, ignore_errors=True)
    return result


def merged(rounds: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One configuration's rounds as one: numbers added up, the greatest drift, the first files that are mismatched.

    >>> one = {"effective": {}, "symbols_read": 5, "mismatched": [], "drift": 0.5}
    >>> merged([one, one | {"drift": 0.25}])
    {'effective': {}, 'symbols_read': 10, 'mismatched': [], 'drift': 0.5}
    """
    run = [row for row in rounds if "not_run" not in row]
    if not run:
        return dict(rounds[0])
    total: dict[str, Any] = {}
    for key, first in run[0].items():
        values = [row[key] for row in run]
        if key == "drift":
            total[key] = max(values)
        elif key == "mismatched":
            total[key] = [file for value in values for file in value][:LISTED]
        else:
            total[key] = first if isinstance(first, dict) else sum(values)
    return total


def _plain(quality: Quality) -> float | list[float]:
    return float(quality) if isinstance(quality, (int, float)) else [float(q) for q in quality]


def _symbols(rows: Iterable[Mapping[str, Any]]) -> int:
    return sum(row.get("symbols_read", 0) + row.get("symbols_written", 0) for row in rows)


def _source_digest() -> str:
    """Of the package's code: what a stopped call found with other code counts no more."""
    total = hashlib.sha256()
    for path in sorted(Path(atdc.__file__).parent.rglob("*.py")):
        total.update(path.read_bytes())
    return total.hexdigest()


def selfcheck_tables(result: Mapping[str, Any]) -> list[Table]:
    """What every configuration compared, and found; and what did not run, and why."""
    run = plain_table("computed", ["files read", "written", "otherwise", "symbols", "mismatches", "drift", "s"])
    not_run = plain_table("not run", [])
    not_run.add_column("why")
    for name, row in result["configurations"].items():
        if "not_run" in row:
            not_run.add_row(name, escape(row["not_run"]))
            continue
        run.add_row(
            name, f"{row['files_read']}", f"{row['files_written']}", f"{row['files_written_otherwise']}",
            f"{row['symbols_read'] + row['symbols_written']:,}", f"{row['mismatches']}", f"{row['drift']:.2g}",
            f"{row['seconds']:.1f}",
        )  # fmt: skip
    totals = result["totals"]
    run.add_row(
        "all", "", "", "", f"{totals['symbols']:,}", f"{totals['mismatches']}", f"{totals['drift']:.2g}",
        f"{totals['seconds']:.1f}",
    )  # fmt: skip
    return [run, not_run] if totals["not_run"] else [run]
