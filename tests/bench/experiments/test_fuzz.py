"""Damaged files end well; a reader that is made to err is caught, and what it erred on is kept."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest

from atdc.bitstream.container import unpack, verify
from atdc.bitstream.range_coder import RangeDecoder
from atdc.errors import ArgumentError, BitstreamError, CorruptFileError
from atdc.reader import DecodedIntegers, IntegerReader
from atdc_bench.experiments.fuzz import KEPT_FAILURES, run_fuzz, sample_files
from atdc_bench.experiments.mutants import Limits, Parts, mutant, with_symbol_checks
from atdc_bench.experiments.sample_files import tiny_reader
from atdc_bench.report.registry import EXPERIMENTS

Run = Callable[..., dict[str, Any]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return lambda count=300, **options: run_fuzz("tiny", tmp_path / "fuzz.json", count=count, quiet=True, **options)


def test_two_thousand_damaged_files_end_well(run: Run, tmp_path: Path) -> None:
    result = run(2000)
    assert result["failures"] == []
    assert result["outcomes"]["failed"] == 0 and sum(result["outcomes"].values()) == 2000
    assert result["passing_payload_checks_share"] >= 0.5
    assert result["outcomes"]["right"] >= 100
    assert {name.partition(":")[0] for name in result["mutations"]} == {
        "none", "file", "field", "payload", "symbol check", "rewritten",
    }  # fmt: skip
    assert set(result["refused_as"]) == {
        "CorruptFileError", "NotAnAtdcFileError", "TruncatedFileError", "UnsupportedVersionError", "WrongModelError",
    }  # fmt: skip
    assert json.loads((tmp_path / "fuzz.json").read_text()) == result
    assert not (tmp_path / "fuzz_failures").exists()


def test_one_seed_has_one_outcome(run: Run) -> None:
    first, second, third = (run(seed=seed) for seed in (7, 7, 8))
    for key in ("outcomes", "refused_as", "mutations", "passing_payload_checks_share"):
        assert first[key] == second[key]
    assert first["mutations"] != third["mutations"]


def test_a_mutant_depends_on_its_number_alone() -> None:
    reader = tiny_reader()
    samples = sample_files(reader, 0)
    ascending, descending = range(100), range(99, -1, -1)
    first, second = ([mutant(reader, samples, Random(i), Limits()) for i in way] for way in (ascending, descending))
    assert [made.data for made in first] == [made.data for made in second[::-1]]
    assert len({made.data for made in first}) > 80


def failures(result: dict[str, Any]) -> list[dict[str, Any]]:
    assert min(result["outcomes"]["failed"], KEPT_FAILURES) == len(result["failures"]) > 0
    return result["failures"]


def test_an_exception_that_is_no_refusal_is_found_and_its_file_is_kept(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    decode = RangeDecoder.decode

    def planted(self: RangeDecoder, table_index: Any) -> Any:
        if self._data[-1:] == b"\x2a":
            raise ValueError("planted")
        return decode(self, table_index)

    monkeypatch.setattr(RangeDecoder, "decode", planted)
    for failure in failures(run(1000)):
        assert failure["what"] == "ValueError: planted"
        kept = (tmp_path / failure["file"]).read_bytes()
        with pytest.raises(ValueError, match="planted"):
            tiny_reader().read(kept, skip_damaged=True)


def changed_read(monkeypatch: pytest.MonkeyPatch, change: Callable[[DecodedIntegers], DecodedIntegers | None]) -> None:
    """A reader that returns something else."""
    read = IntegerReader.read
    monkeypatch.setattr(IntegerReader, "read", lambda *args, **options: change(read(*args, **options)))


def test_other_integers_are_found(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def change(decoded: DecodedIntegers) -> DecodedIntegers:
        if 1 in decoded.latents:
            decoded.latents[1][0, 0, 0, 0] += 1
        return decoded

    changed_read(monkeypatch, change)
    assert {failure["what"] for failure in failures(run())} == {"Failure: task 1 has other integers"}


def test_a_part_that_differs_from_the_whole_is_found(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    read = IntegerReader.read

    def planted(self: IntegerReader, source: bytes, wanted: Any = None, **options: Any) -> DecodedIntegers:
        decoded = read(self, source, wanted, **options)
        if wanted is not None:
            decoded.latents.pop(wanted[0], None)
        return decoded

    monkeypatch.setattr(IntegerReader, "read", planted)
    assert all(failure["what"].endswith("is missing") for failure in failures(run()))


def test_a_second_spelling_of_the_same_integers_is_found(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RangeDecoder, "close", lambda self: None)
    found = failures(run(400))
    assert all(failure["what"].startswith("Failure: what is decoded is written as other bytes") for failure in found)


@pytest.mark.parametrize(
    "error, what",
    [(BitstreamError, "an error that says too little"), (CorruptFileError, "a valid file is refused")],
)
def test_a_valid_file_that_is_refused_is_found(
    run: Run, monkeypatch: pytest.MonkeyPatch, error: type[BitstreamError], what: str
) -> None:
    def change(decoded: DecodedIntegers) -> DecodedIntegers:
        raise error("file", "planted", "none")

    changed_read(monkeypatch, change)
    assert all(what in failure["what"] for failure in failures(run()))


def test_a_reader_that_hangs_is_found(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def change(decoded: DecodedIntegers) -> DecodedIntegers:
        while True:
            pass

    changed_read(monkeypatch, change)
    assert "_TooSlow: more than 0.02 s" in {failure["what"] for failure in failures(run(40, time_limit_s=0.02))}


def test_a_reader_that_takes_too_much_memory_is_found(run: Run) -> None:
    assert all("bytes at a time" in failure["what"] for failure in failures(run(memory_limit_mb=0.001)))


def test_checks_of_damaged_files_fit() -> None:
    reader, limits = tiny_reader(), Limits()
    for sample in sample_files(reader, 0)[:8]:
        parts = Parts.of(sample.container)
        assert parts.join() == sample.data
        parts.segments[0] += b"\1"
        parts.symbol_checks[0] ^= 1
        data = parts.join()
        assert verify(data).ok
        fitting, valid = with_symbol_checks(reader, data, limits)  # type: ignore[misc]
        assert valid.container.header == sample.container.header
        assert reader.read(valid.data).header == sample.container.header
        assert Parts.of(unpack(fitting)).segments == parts.segments
        if fitting != valid.data:  # else the byte more made another valid payload
            with pytest.raises(BitstreamError, match="that no writer produces"):
                reader.read(fitting)
    other = replace(sample.container.header, graph=9)
    assert with_symbol_checks(reader, Parts.of(replace(sample.container, header=other)).join(), limits) is None


def test_a_summary_counts_every_outcome(run: Run) -> None:
    result = run()
    summary, count = EXPERIMENTS["fuzz"].summary(result), result["outcomes"]
    assert f"{result['count']} damaged files" in summary
    assert f"{count['right']} right, {count['refused']} refused by name, **{count['failed']} failed**" in summary


def test_no_mutants_and_no_such_weights_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="count"):
        run_fuzz("tiny", tmp_path / "a.json", count=0)
    with pytest.raises(ArgumentError, match="seed"):
        run_fuzz("tiny", tmp_path / "a.json", seed=-1)
