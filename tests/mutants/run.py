"""Applies every mutant of ``mutants.yaml`` to a copy of the source and demands that its tests fail: ``make mutants``.

Prints a line per mutant. Exit status 1 if one lives, if its text is no longer there once and only once, or if its tests
fail without it.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
NO_TEST_FAILED, A_TEST_FAILED = 0, 1


@dataclass(frozen=True)
class Mutant:
    """One replacement in one file of ``src``, and the tests that must notice it."""

    name: str
    file: str
    before: str
    after: str
    tests: list[str]

    def applied(self, text: str) -> str:
        """The file's text with the mistake in it."""
        if text.count(self.before) != 1:
            raise SystemExit(f"{self.file}: found {text.count(self.before)} times {self.before!r}; expected it once")
        return text.replace(self.before, self.after)


def mutants() -> list[Mutant]:
    """All that the list holds."""
    return [Mutant(**row) for row in yaml.safe_load(Path(__file__).with_name("mutants.yaml").read_text("utf-8"))]


def pytest_status(source: Path, tests: list[str]) -> int:
    """Exit status of pytest with the package from a folder."""
    environment = os.environ | {"PYTHONPATH": str(source), "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    # Doctests are those of the copy.
    named = [str(source / test.removeprefix("src/")) if test.startswith("src/") else test for test in tests]
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *named]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, check=False).returncode


def fate(mutant: Mutant) -> str:
    """``killed``, ``LIVES``, or what else became of it."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "src"
        shutil.copytree(ROOT / "src", source, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        file = source / mutant.file
        file.write_text(mutant.applied(file.read_text("utf-8")), "utf-8")
        status = pytest_status(source, mutant.tests)
    return {A_TEST_FAILED: "killed", NO_TEST_FAILED: "LIVES"}.get(status, f"pytest ended with status {status}")


def line(end: str, mutant: Mutant) -> str:
    """What is said of a mutant's end."""
    return f"{end:8} {mutant.file}: {mutant.name}"


def main() -> int:
    """Runs the list, or the mutants whose names hold a word, but for those that a log says are killed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("words", nargs="*", default=[""], help="only mutants whose name or file holds one of them")
    parser.add_argument("--jobs", type=int, default=2, help="how many at a time")
    parser.add_argument("--log", type=Path, help="lines are added to this file; mutants that it has as killed are past")
    options = parser.parse_args()
    past = options.log.read_text("utf-8").splitlines() if options.log and options.log.exists() else []
    chosen = [
        mutant
        for mutant in mutants()
        if any(word in mutant.name or word in mutant.file for word in options.words)
        and line("killed", mutant) not in past
    ]
    for mutant in chosen:
        mutant.applied((ROOT / "src" / mutant.file).read_text("utf-8"))
    tests = sorted({test for mutant in chosen for test in mutant.tests})
    if pytest_status(ROOT / "src", tests) != NO_TEST_FAILED:
        print("the tests fail without any mutant: mend them first")
        return 1
    with ThreadPoolExecutor(options.jobs) as pool:
        fates = []
        for mutant, end in zip(chosen, pool.map(fate, chosen), strict=True):
            print(line(end, mutant), flush=True)
            fates.append(end)
            if options.log:
                with options.log.open("a", encoding="utf-8") as log:
                    log.write(line(end, mutant) + "\n")
    print(f"{fates.count('killed')} of {len(fates)} mutants killed")
    return int(any(end != "killed" for end in fates))


if __name__ == "__main__":
    sys.exit(main())
