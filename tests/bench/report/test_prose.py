"""The README's first sentences say what the result files say; tests/bench/report/test_figures.py reads all others."""

import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]


def result(name: str) -> Any:
    return json.loads((ROOT / "results" / name).read_text("utf-8"))


def prose(name: str) -> str:
    return " ".join((ROOT / name).read_text("utf-8").split())


def bd_rate(rows: list[dict[str, Any]], **wanted: str) -> float:
    (row,) = [row for row in rows if all(row.get(key) == value for key, value in wanted.items())]
    return float(row["percent"])


def test_the_saving_in_the_readmes_first_sentences_is_measured() -> None:
    """On rooms by `small`, on real frames by `real`."""
    rooms = bd_rate(result("evaluate_small.json")["bd_rates"], setting="codebook", reference="independent", over="U")
    frames = bd_rate(result("compare_nyuv2/compare.json")["bd_rates"], system="ours", reference="independent", over="U")
    low, high = sorted(round(-value) for value in (rooms, frames))
    assert f"a good graph saves {low} to {high} % of the bytes that coding each task by itself takes" in prose(
        "README.md"
    )
