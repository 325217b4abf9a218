"""Programs and libraries from outside: they end well, or in one typed error, and never continue in secret."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from atdc.errors import ProgramError
from atdc_bench.baselines.outside import load_library, missing_library, run_program


def test_what_a_program_prints_is_returned_and_nothing_is_read_by_a_shell() -> None:
    code = "import sys; print(sys.argv[1]); print('and this', file=sys.stderr)"
    said = run_program([sys.executable, "-c", code, "$HOME; `ls` *"], 20)
    assert said == "$HOME; `ls` *\nand this\n"


def test_a_failing_program_is_named_with_its_status_and_last_line() -> None:
    code = "import sys; print('first', file=sys.stderr); print('bad size', file=sys.stderr); sys.exit(3)"
    with pytest.raises(ProgramError, match=r"python.*status 3: bad size"):
        run_program([sys.executable, "-c", code], 20)
    with pytest.raises(ProgramError, match="status 4;"):
        run_program([sys.executable, "-c", "import sys; sys.exit(4)"], 20)


def test_a_program_that_does_not_end_is_stopped(tmp_path: Path) -> None:
    number = tmp_path / "pid"
    code = f"import os, pathlib, time; pathlib.Path({str(number)!r}).write_text(str(os.getpid())); time.sleep(60)"
    with pytest.raises(ProgramError, match=r"no end after 0\.8 seconds"):
        run_program([sys.executable, "-S", "-c", code], 0.8)
    if number.exists():
        with pytest.raises(ProcessLookupError):
            os.kill(int(number.read_text()), 0)


def test_a_program_that_is_none_is_named(tmp_path: Path) -> None:
    text = tmp_path / "program"
    text.write_text("not a program")
    for path in (text, tmp_path / "absent"):
        with pytest.raises(ProgramError, match="does not start"):
            run_program([path], 5)


def test_a_missing_library_is_told_in_one_sentence() -> None:
    assert missing_library("numpy") is None
    why = missing_library("no_such_package_here")
    assert why is not None and "no_such_package_here" in why and "pip install imagecodecs av" in why
    with pytest.raises(ProgramError):
        load_library("no_such_package_here")
