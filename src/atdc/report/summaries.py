"""What a result file says, in a few lines for a terminal; the whole of it is in the file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

Result = Mapping[str, Any]


def plain_table(first: str, numbers: Sequence[str]) -> Table:
    """A table with one column of words and some of numbers."""
    table = Table(first, header_style="bold", box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for name in numbers:
        table.add_column(name, justify="right")
    return table


def evaluation_tables(result: Result) -> list[Table]:
    """Every measured point, and the rate differences at equal mean utility."""
    points = plain_table("setting", ["quality", "images", "bytes", "bpp", "U", "loss", "graphs"])
    for row in result["points"]:
        setting = row["setting"] + ("" if row["effort"] == "normal" else f"+{row['effort']}")
        points.add_row(
            setting,
            f"{row['quality']:g}",
            f"{row['images']}",
            f"{row['bytes_mean']:,.0f}",
            f"{row['bpp']:.4f}",
            _number(row["utility"], ".4f"),
            f"{row['total_loss']:.4f}",
            f"{row['distinct_graphs']}",
        )
    rates = plain_table("bytes at equal U", ["against", "%", "from", "to", "images"])
    for row in result["bd_rates"]:
        if row["over"] == "U":
            refused = "percent" not in row
            values = ("refused", "", "") if refused else (row["percent"], row["low"], row["high"])
            rates.add_row(
                row["setting"], row["reference"], *(_number(value, "+.2f") for value in values), f"{row['images']}"
            )
    return [points, rates]


def premise_tables(result: Result) -> list[Table]:
    """How well scores predict bits: per quality and score, over all pairs and within one image and child."""
    table = plain_table("score", ["quality", "Spearman", "slope", "R²", "inside image: Spearman", "slope", "R²"])
    for quality, values in result["qualities"].items():
        for name, agreement in values["bits"].items():
            rows = (agreement["overall"], agreement["within_image_and_child"])
            numbers = [_number(row[key], ".3f") for row in rows for key in ("spearman", "slope", "r2")]
            table.add_row(name, quality, *numbers)
    return [table]


def statistics_tables(result: Result) -> list[Table]:
    """How graphs are distributed, per quality and setting, and how often they change."""
    graphs = plain_table("setting", ["quality", "distinct", "top ten", "mean edges", "commonest root", "its share"])
    stability = plain_table("graph changed", ["setting", "quality", "share of images"])
    for quality, values in result["qualities"].items():
        for setting, row in values["graphs"].items():
            root, share = max(row["root_share"].items(), key=lambda item: item[1])
            graphs.add_row(
                setting, quality, f"{row['distinct']}", f"{row['top_ten_share']:.1%}", f"{row['mean_edges']:.2f}",
                root, f"{share:.1%}",
            )  # fmt: skip
        for disturbance, settings in values["stability"].items():
            for setting, row in settings.items():
                stability.add_row(disturbance, setting, quality, _number(row["changed_share"], ".1%"))
    return [graphs, stability]


def bench_tables(result: Result) -> list[Table]:
    """Where the time goes, what an adaptive graph costs over a fixed one, and what device and server each do."""
    times = plain_table("median time per image", ["ms", "10 %", "90 %"])
    for job in ("encode", "decode"):
        for stage, spread in result[f"{job}_ms"].items():
            times.add_row(f"{job}: {stage}", *(f"{spread[key]:.2f}" for key in ("median", "p10", "p90")))
    ratios = plain_table("time over that of the fixed graph", ["batch", "ratio", "from", "to", "pairs"])
    for batch, settings in result["adaptive_over_fixed"].items():
        for setting, row in settings.items():
            values = (row["ratio"]["median"], *row["interval"])
            numbers = [f"{value:.3f}" for value in values]
            ratios.add_row(setting, batch.removeprefix("batch_"), *numbers, f"{row['pairs']}")
    systems = plain_table("system", ["device ms", "device MMAC", "bytes", "server ms", "server MMAC"])
    for name, row in result["systems"].items():
        systems.add_row(
            name, f"{row['device_ms']:.2f}", f"{row['device_mmac']:,.0f}", f"{row['bytes']:,.0f}",
            f"{row['server_ms']:.2f}", f"{row['server_mmac']:,.0f}",
        )  # fmt: skip
    return [times, ratios, systems]


SUMMARIES: dict[str, Callable[[Result], list[Table]]] = {
    "bench": bench_tables,
    "evaluate": evaluation_tables,
    "premise": premise_tables,
    "statistics": statistics_tables,
}
"""By command."""


def _number(value: Any, form: str) -> str:
    if value is None:
        return "–"
    return value if isinstance(value, str) else format(value, form)
