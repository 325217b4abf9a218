"""Weights against weights: each sees with its own networks, all are judged on one scale."""

from pathlib import Path

import pytest

from atdc.errors import ArgumentError
from atdc.pipeline import Codec
from atdc_bench.experiments import compare_weights


def test_the_same_weights_under_another_name_take_the_same(
    tmp_path: Path, tiny_codec: Codec, photos, monkeypatch
) -> None:
    monkeypatch.setattr(compare_weights, "load_evaluated_codec", lambda model: tiny_codec)
    monkeypatch.setattr(compare_weights, "labelled", lambda name, data, split: photos)
    out = tmp_path / "weights.json"
    result = compare_weights.run_compare_weights(
        ("a", "b"), out=out, count=4, qualities=(0, 2, 4, 7), resamples=5, quiet=True
    )
    assert out.exists() and result["anchors"]["a"] == result["anchors"]["b"]
    own: dict[str, list[dict[str, object]]] = {"a": [], "b": []}
    for row in result["points"]:
        own[row.pop("model")].append(row)
    first, second = own.values()
    assert len(first) == 4 and first == second
    for row in result["bd_rates"]:
        assert row["model"] == "b" and row["reference"] == "a" and ("refused" in row or abs(row["percent"]) < 1e-6)


def test_one_model_is_no_comparison() -> None:
    for models in (("small",), ("small", "elsewhere/small.safetensors")):
        with pytest.raises(ArgumentError, match="two or more"):
            compare_weights.run_compare_weights(models)
