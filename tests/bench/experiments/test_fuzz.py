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
from atdc_bench.experiments.fuzz import KEPT_FAILURES, examine, examine_parts, run_fuzz, sample_files
from atdc_bench.experiments.mutants import FIELD_MUTATIONS, Limits, Mutant, Parts, mutant, with_symbol_checks
from atdc_bench.experiments.sample_files import tiny_reader, tiny_reader_of_any_tensors
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
    assert {f"field: {name}" for name in FIELD_MUTATIONS} <= set(result["mutations"])
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


READERS = {
    reader.fingerprint: reader
    for reader in (tiny_reader(), tiny_reader_of_any_tensors(), tiny_reader_of_any_tensors(sees=True))
}
each_reader = pytest.mark.parametrize("reader", READERS.values(), ids=["alike", "any", "seeing"])


@each_reader
def test_sample_files_are_of_both_versions_profiles_and_kinds(reader: IntegerReader) -> None:
    headers = [sample.container.header for sample in sample_files(reader, 0)]
    versions = {1, 2} if reader.fingerprint == b"tiny" else {2}
    assert {(header.version, header.profile, header.kind) for header in headers} == {
        (version, profile, kind)
        for version in versions for profile in ("segments", "compact") for kind in ("image", "features")
    }  # fmt: skip
    assert {len(header.present) for header in headers} == set(range(1, len(reader.tensors) + 1))
    assert {isinstance(header.graph, int) for header in headers} == {True, False}


@each_reader
def test_whole_files_are_right_whole_and_in_parts(reader: IntegerReader) -> None:
    for number, sample in enumerate(sample_files(reader, 0)):
        made = Mutant("none", sample.data, sample)
        verdict = examine(reader, made, Limits())
        assert verdict.outcome == "right"
        examine_parts(reader, made, Limits(), verdict.latents, Random(number))


@pytest.mark.parametrize("name", ["mask", "grids", "version", "segments", "graph"])
def test_damage_to_what_version_2_says_is_refused_or_another_valid_file(name: str) -> None:
    reader = tiny_reader_of_any_tensors()
    samples, random, outcomes = sample_files(reader, 0), Random(1), set()
    for _ in range(300):
        sample, other = random.choice(samples), random.choice(samples)
        parts = Parts.of(sample.container)
        FIELD_MUTATIONS[name](random, parts, Parts.of(other.container), reader)
        made = Mutant(name, parts.join(), sample)
        outcomes.add((made.data == sample.data, examine(reader, made, Limits()).outcome))
    assert (False, "CorruptFileError") in outcomes and (True, "CorruptFileError") not in outcomes
    assert {outcome for _, outcome in outcomes} <= {"right", "CorruptFileError", "TruncatedFileError"}


@pytest.mark.parametrize("second", FIELD_MUTATIONS)
def test_any_field_can_be_damaged_after_the_header_is_laid_out_as_the_other_version(second: str) -> None:
    reader = tiny_reader_of_any_tensors()
    for number, sample in enumerate(sample_files(reader, 0)[:20]):
        parts, random = Parts.of(sample.container), Random(number)
        FIELD_MUTATIONS["version"](random, parts, Parts.of(sample.container), reader)
        FIELD_MUTATIONS[second](random, parts, Parts.of(sample.container), reader)
        examine(reader, Mutant(second, parts.join(), sample), Limits())


@each_reader
def test_a_mutant_depends_on_its_number_alone(reader: IntegerReader) -> None:
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
            READERS[kept[5:9]].read(kept, skip_damaged=True)


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


@each_reader
def test_checks_of_damaged_files_fit(reader: IntegerReader) -> None:
    limits = Limits()
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
    sample = next(sample for sample in sample_files(reader, 0) if isinstance(sample.container.header.graph, int))
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
