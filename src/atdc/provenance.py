"""Where a result comes from: enough to run it again, recorded in every result file."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy
import torch

from atdc.files import make_folder, write_bytes_atomically


def provenance(*, seed: int | None = None, weights: str | None = None) -> dict[str, Any]:
    """Seed, command, date, commit, software and machine of this run.

    Args:
        seed: the seed of whatever the run draws.
        weights: fingerprint of the model's weights.

    Returns:
        A mapping ready for JSON; ``commit`` ends in ``+changes`` when the source differs from it, and is None when
        the package does not run from a checkout.

    >>> sorted(provenance(seed=1)["machine"])
    ['cores', 'cpu', 'system', 'threads']
    """
    return {
        "command": command_of(sys.argv),
        "date": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "commit": _commit(),
        "seed": seed,
        "weights": weights,
        "versions": {
            "atdc": _version(),
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": numpy.__version__,
        },
        "machine": {
            "cpu": _cpu(),
            "cores": os.cpu_count(),
            "threads": torch.get_num_threads(),
            "system": f"{platform.system()} {platform.machine()}",
        },
    }


def command_of(arguments: Sequence[str]) -> str:
    """A command as others would type it: absolute paths, which are this machine's alone, by their last part.

    >>> command_of(["/usr/bin/atdc", "bench", "evaluate", "--data", "/mnt/disk 1/rooms", "-o", "results/a.json"])
    'atdc bench evaluate --data rooms -o results/a.json'
    """
    program, *words = arguments
    shown = [Path(word).name if Path(word).is_absolute() else word for word in words]
    return shlex.join([Path(program).name, *shown])


def write_result(path: Path, result: Mapping[str, Any]) -> None:
    """Writes a result as JSON, whole or not at all; numbers that are not finite are refused.

    Raises:
        OutputError: the file cannot be written.
    """
    text = json.dumps(result, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    make_folder(path.parent)
    write_bytes_atomically(path, text.encode())


def _version() -> str:
    try:
        return importlib.metadata.version("atdc")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


def _commit() -> str | None:
    folder = Path(__file__).resolve().parent

    def git(*arguments: str) -> str | None:
        try:
            command = ["git", "--no-optional-locks", "-C", str(folder), *arguments]
            done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    commit = git("rev-parse", "HEAD")
    if commit is None or git("ls-files", "--error-unmatch", str(Path(__file__).resolve())) is None:
        return None
    return commit + ("+changes" if git("status", "--porcelain", "--", str(folder.parent)) else "")


def _cpu() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
