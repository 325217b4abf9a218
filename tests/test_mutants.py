"""The list of mutants fits the source: each names a text that is there once, and tests that are there."""

import importlib.util
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def test_every_mutant_can_be_applied_and_names_tests_that_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = importlib.util.spec_from_file_location("mutants_run", HERE / "mutants" / "run.py")
    assert spec is not None and spec.loader is not None
    runner = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "mutants_run", runner)  # where dataclasses look up their names
    spec.loader.exec_module(runner)
    rows = runner.mutants()
    assert len(rows) >= 40 and len({row.name for row in rows}) == len(rows)
    for row in rows:
        text = (runner.ROOT / "src" / row.file).read_text("utf-8")
        assert row.applied(text) != text
        assert row.tests and all((runner.ROOT / test).is_file() for test in row.tests)
