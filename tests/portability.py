"""Runs the tests that could differ between kernels or seeds under many of both: ``make portability``.

Marked ``portability`` are tests that train, or compare floats of different kernels. They run under every instruction
set that torch and oneDNN can be told to use, with one and two threads; those that take a seed, with five. What the
processor lacks is said to be not run.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
SEEDS = range(5)
NOTHING_COLLECTED = 5


def processor_flags() -> frozenset[str]:
    """Instruction sets by Linux's names; none where they cannot be asked for."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return frozenset()
    return frozenset(word for line in lines if line.startswith("flags") for word in line.split())


SETTINGS: tuple[tuple[str, dict[str, str], str], ...] = (
    ("the processor's own", {}, ""),
    ("ATEN_CPU_CAPABILITY=default", {"ATEN_CPU_CAPABILITY": "default"}, ""),
    ("ATEN_CPU_CAPABILITY=avx2", {"ATEN_CPU_CAPABILITY": "avx2"}, "avx2"),
    ("ATEN_CPU_CAPABILITY=avx512", {"ATEN_CPU_CAPABILITY": "avx512"}, "avx512f"),
    ("ONEDNN_MAX_CPU_ISA=AVX2", {"ONEDNN_MAX_CPU_ISA": "AVX2"}, "avx2"),
)
"""What it is called, its environment, and the instruction set that it needs."""


def run(environment: dict[str, str], marked: str) -> int:
    """Exit status of the marked tests."""
    command = [sys.executable, "-m", "pytest", "-q", "-m", marked, "-p", "no:cacheprovider"]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | environment, capture_output=True, text=True, check=False)
    if done.returncode not in (0, NOTHING_COLLECTED):
        print(done.stdout[-4000:])
    return done.returncode


def main() -> int:
    """Prints a line per setting; exit status 1 if a test failed under one."""
    flags, failed = processor_flags(), 0
    for title, environment, needed in SETTINGS:
        if needed and needed not in flags:
            print(f"not run  {title}: this processor has no {needed}", flush=True)
            continue
        for threads in ("1", "2"):
            for seed in SEEDS:
                # Tests without a seed are alike for all seeds: they run with the first.
                marked = "portability" if seed == 0 else "portability and seeded"
                status = run({**environment, "OMP_NUM_THREADS": threads, "ATDC_TEST_SEED": str(seed)}, marked)
                failed += status != 0
                print(f"{'passed' if status == 0 else 'FAILED':8} {title}, threads {threads}, seed {seed}", flush=True)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
