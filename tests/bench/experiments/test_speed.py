"""Timing: ratios of known durations, multiply-accumulates of known layers, and a result with every part."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from atdc.errors import AtdcError
from atdc.pipeline import Codec
from atdc.tasks import TASK_NAMES
from atdc_bench.experiments import speed
from atdc_bench.experiments.speed import choosing_times, encode_times, macs, paired_ratio, peak_memory_mib, run_speed


def test_the_ratio_is_that_of_pairs_however_the_machine_slows_down(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(speed.time, "perf_counter", lambda: clock[0])

    def work(seconds: float) -> None:
        clock[0] += seconds * (1 + clock[0])  # ever slower: unpaired means would be far off

    result = paired_ratio(lambda number: work(2e-3 + 1e-4 * number), lambda _: work(1e-3), rounds=40)
    assert result["pairs"] == 40
    assert result["ratio"]["median"] == pytest.approx(2 + 0.1 * 19.5, rel=0.02)
    assert result["interval"][0] < result["ratio"]["median"] < result["interval"][1]
    assert result["ratio"]["p10"] == pytest.approx(2 + 0.1 * 3.9, rel=0.05)


def test_both_sides_see_the_same_inputs_in_alternating_turns() -> None:
    seen: list[tuple[str, int]] = []
    paired_ratio(lambda number: seen.append(("a", number)), lambda number: seen.append(("b", number)), rounds=3)
    counted = seen[2 * speed.WARM_UP :]
    assert [number for _, number in counted] == [0, 0, 1, 1, 2, 2]
    assert [side for side, _ in counted] == ["b", "a", "a", "b", "b", "a"]


def test_multiply_accumulates_match_the_formula_for_float32_and_float64() -> None:
    layer = torch.nn.Conv2d(3, 8, 3, padding=1)
    image = torch.zeros(2, 3, 10, 12)
    with torch.no_grad():
        assert macs(layer, image) == pytest.approx(2 * 10 * 12 * 8 * 27 / 1e6)
        assert macs(layer.double(), image.double()) == pytest.approx(2 * 10 * 12 * 8 * 27 / 1e6)


def test_stages_write_the_file_that_encoding_writes(tiny_codec: Codec, photos: Any) -> None:
    times = encode_times(tiny_codec, photos.arrays["rgb"][:2], 4)  # asserts equal bytes inside
    assert set(times) == {"encoders", "scoring", "search", "coding", "writing", "total"}
    assert all(times[name]["median"] > 0 for name in ("encoders", "scoring", "search", "writing", "total"))


def test_choosing_is_a_part_of_encoding_and_a_wanted_set_takes_less(tiny_codec: Codec, photos: Any) -> None:
    times = choosing_times(tiny_codec, photos.arrays["rgb"][:6], 4)
    assert times["all"]["tasks"] == list(TASK_NAMES)
    assert times["wanted"]["tasks"] == ["segment_semantic", "normal", "depth_zbuffer"]
    assert all(0 < row["share"]["median"] < 1 for row in times.values())
    assert 0 < times["wanted"]["network"]["median"] < times["wanted"]["encoding"]["median"]
    assert times["wanted"]["encoding"]["p10"] < times["all"]["encoding"]["p90"]


@pytest.mark.slow
def test_the_command_writes_every_part(
    tiny_weights: Path, photos: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(speed, "open_rooms", lambda data, split: photos)
    monkeypatch.setattr(speed, "WARM_UP", 1)
    monkeypatch.setattr(speed, "BATCHES", (1, 5))
    out = tmp_path / "speed.json"
    result = run_speed(tiny_weights, tmp_path, out, count=2, rounds=2, batch=3, threads=1, quiet=True)
    assert json.loads(out.read_text()) == result
    assert result["provenance"]["machine"]["threads"] == 1
    assert set(result["choosing_ms"]) == {"all", "wanted"}
    memory = result["peak_memory_mib"]
    assert 50 < memory["torch"] <= memory["loaded"] <= memory["encoded"] <= memory["decoded"]
    assert set(result["systems"]) == {"atdc_quality_4", "jpeg_50", "jpeg_90"}
    assert result["mmac"]["encoders"] > result["mmac"]["scoring"] > 0
    assert set(result["adaptive_over_fixed"]) == {"batch_1", "batch_3"}
    assert np.isfinite(result["adaptive_over_fixed"]["batch_1"]["codebook"]["ratio"]["median"])
    assert list(result["throughput"]) == [f"batch_{batch}" for batch in speed.BATCHES] and result["device"] == "cpu"
    assert all(speed > 0 for row in result["throughput"].values() for speed in row.values())


@pytest.mark.slow
def test_a_process_that_fails_is_quoted() -> None:
    with pytest.raises(AtdcError, match="WeightsError"):
        peak_memory_mib("no-such-model", 64, 64)
