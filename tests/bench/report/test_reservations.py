"""A result's origin says why the result may not be what the command gives today."""

from typing import Any

import pytest

from atdc.provenance import provenance
from atdc_bench.report.reservations import CODEC_CHANGED, reservations

FRESH: dict[str, Any] = {"date": CODEC_CHANGED, "commit": "6400cff4", "seed": 0, "weights": "cc435e59"}


def test_a_result_of_this_code_these_weights_and_a_seed_needs_no_reservation() -> None:
    assert reservations(FRESH, ["cc435e59"]) == []
    assert reservations(FRESH | {"weights": None}, []) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"date": "2026-11-26T13:47:14Z"}, "older code"),
        ({"commit": "6400cff4+changes"}, "uncommitted changes"),
        ({"commit": None}, "no commit recorded"),
        ({"seed": None}, "no seed recorded"),
        ({"weights": "83ac57a8"}, "weights `83ac57a8`, not shipped any more"),
    ],
)
def test_each_reason_is_named_alone(change: dict[str, Any], words: str) -> None:
    assert reservations(FRESH | change, ["cc435e59"]) == [words]


def test_what_a_run_records_is_what_reservations_read() -> None:
    now = provenance(seed=1, weights="cc435e59")
    assert set(FRESH) <= set(now) and "older code" not in reservations(now, ["cc435e59"])
