"""What a result file says, in a few lines for a terminal; the whole of it is in the file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from rich.markup import escape
from rich.table import Table

from atdc.terminal import plain_table

Result = Mapping[str, Any]


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


def speed_tables(result: Result) -> list[Table]:
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
    throughput = plain_table("images a second", ["encode", "decode"])
    for batch, row in result["throughput"].items():
        throughput.add_row(
            batch.removeprefix("batch_") + " at a time", f"{row['encode_per_s']:.1f}", f"{row['decode_per_s']:.1f}"
        )
    return [times, ratios, throughput, systems]


def fuzz_tables(result: Result) -> list[Table]:
    """What became of damaged files, by the error that refused them and by what was done to them."""
    count = result["count"]
    outcomes = plain_table("damaged files", ["files", "share"])
    for name, number in result["outcomes"].items():
        outcomes.add_row(name, f"{number:,}", f"{number / count:.2%}")
        if name == "refused":
            for error, times in result["refused_as"].items():
                outcomes.add_row(f"  {error}", f"{times:,}", f"{times / count:.2%}")
    outcomes.add_row("behind all payload checks", "", f"{result['passing_payload_checks_share']:.2%}")
    groups: dict[str, list[int]] = {}
    for name, row in result["mutations"].items():
        sums = groups.setdefault(name.partition(":")[0], [0, 0, 0])
        for place, outcome in enumerate(("right", "refused", "failed")):
            sums[place] += row.get(outcome, 0)
    ways = plain_table("what was damaged", ["right", "refused", "failed"])
    for name, sums in groups.items():
        ways.add_row(name, *(f"{number:,}" for number in sums))
    costs = plain_table("cost", ["measured", "limit"])
    memory, slowest, limits = result["memory"], result["slowest"], result["limits"]
    costs.add_row(f"slowest ({slowest['mutation']}), ms", f"{slowest['ms']:.1f}", f"{1000 * limits['seconds']:,.0f}")
    costs.add_row("most memory, MB", f"{memory['peak_mb']:.2f}", f"{limits['memory_mb']:g}")
    costs.add_row("mean per file, ms", f"{result['ms_per_mutant']:.2f}", "")
    return [outcomes, ways, costs]


def entropy_cost_tables(result: Result) -> list[Table]:
    """What integers cost against floats, and what parents' states save."""
    table = plain_table("ideal bytes of an image", ["this", "that", "difference"])
    for quality, row in result["integers_against_floats"].items():
        name = f"integers against floats, quality {quality}"
        table.add_row(name, f"{row['integer_bytes']:,.1f}", f"{row['float_bytes']:,.1f}", f"{row['percent']:+.3f} %")
    states = result["states"]
    if isinstance(states, str):
        table.add_row("with parents' states against without", "", "", states)
    else:
        sizes = (states["with_states_bytes"], states["without_states_bytes"])
        table.add_row(
            "with parents' states against without", *(f"{size:,.1f}" for size in sizes), f"{states['percent']:+.2f} %"
        )
    low, high = result["time"]["interval"]
    ratio = f"{result['time']['ratio']['median']:.3f} [{low:.3f}, {high:.3f}]"
    table.add_row("time to encode, integers over floats", "", "", ratio)
    return [table]


def ablation_tables(result: Result) -> list[Table]:
    """The conditional against the plain residual codec."""
    points = plain_table("codec", ["quality", "bytes", "feature error", "task loss"])
    for kind, rows in result["kinds"].items():
        for row in rows:
            numbers = (f"{row['bytes']:,.0f}", f"{row['feature_error']:.4f}", f"{row['task_loss']:.4f}")
            points.add_row(kind, f"{row['quality']:g}", *numbers)
    rates = plain_table("bytes of conditional against plain, at equal", ["%"])
    for over, row in result["bytes_at_equal"].items():
        value = row.get("conditional_against_plain_percent", "refused")
        rates.add_row(over.replace("_", " "), _number(value, "+.2f"))
    return [points, rates]


def comparison_tables(result: Result) -> list[Table]:
    """Every system's bytes and mean utility, and its rate differences at equal mean utility."""
    points = plain_table("system", ["point", "bytes", "bpp", "U"])
    for name, system in result["systems"].items():
        for row in system["points"]:
            points.add_row(
                name,
                f"{row['point']:g}",
                f"{row['bytes_mean']:,.0f}",
                f"{row['bpp']:.4f}",
                _number(row["utility"], ".3f"),
            )
    rates = plain_table("bytes at equal U", ["against", "%", "from", "to"])
    for row in result["bd_rates"]:
        if row["over"] == "U":
            values = [row.get(key, "refused" if key == "percent" else "") for key in ("percent", "low", "high")]
            rates.add_row(row["system"], row["reference"], *(_number(value, "+.1f") for value in values))
    missing = plain_table("not measured", ["why"])
    for name, system in result["systems"].items():
        if system["missing"]:
            missing.add_row(name, escape(system["missing"]))
    return [points, rates, missing]


def versus_tables(result: Result) -> list[Table]:
    """Each weights' bytes and mean utility, and what the others take against the first at equal utility."""
    points = plain_table("weights", ["quality", "bytes", "U"])
    for row in result["points"]:
        points.add_row(row["model"], f"{row['quality']:g}", f"{row['bytes_mean']:,.0f}", _number(row["utility"], ".3f"))
    rates = plain_table("bytes at equal utility", ["against", "of", "%", "from", "to"])
    for row in result["bd_rates"]:
        values = [row.get(key, "refused" if key == "percent" else "") for key in ("percent", "low", "high")]
        rates.add_row(row["model"], row["reference"], row["over"], *(_number(value, "+.1f") for value in values))
    return [points, rates]


def scaling_tables(result: Result) -> list[Table]:
    """What each search saves and takes, by number of tasks."""
    table = plain_table("search", ["tasks", "saving %", "ms an image", "scores"])
    for tasks, size in result["sizes"].items():
        for name, search in size["settings"].items():
            times = search["search_ms"]
            table.add_row(
                name, tasks, f"{search['saving_percent']:.1f}", _number(times and times["median"], ".2f"),
                f"{search['scores']:,}",
            )  # fmt: skip
    return [table]


def sweep_tables(result: Result) -> list[Table]:
    """The paper's K and τ."""
    table = plain_table("setting", ["quality", "bytes", "loss", "edges", "graphs"])
    for row in result["rows"]:
        table.add_row(
            row["setting"], f"{row['quality']:g}", f"{row['bytes']:,.0f}", f"{row['total_loss']:.4f}",
            f"{row['mean_edges']:.2f}", f"{row['distinct']}",
        )  # fmt: skip
    return [table]


def affinity_tables(result: Result) -> list[Table]:
    """By how much a step on one task lowers the others' losses, in percent, and the groups that follow."""
    table = plain_table("step on", [*result["tasks"]])
    for task, row in zip(result["tasks"], result["affinity"], strict=True):
        table.add_row(task, *(f"{100 * value:+.2f} %" for value in row))
    groups = plain_table("groups", [])
    groups.add_row(", ".join(result["groups_in_letters"]))
    return [table, groups]


def entropy_models_tables(result: Result) -> list[Table]:
    """What adapting earns with each entropy model."""
    table = plain_table("entropy model", ["graphs", "quality", "bytes", "task loss"])
    gains = plain_table("bytes of adaptive graphs", ["against", "%"])
    for name, model in result["models"].items():
        for row in model["points"]:
            table.add_row(name, row["graphs"], f"{row['quality']:g}", f"{row['bytes']:,.0f}", f"{row['task_loss']:.4f}")
        for reference, row in model["adaptive_against"].items():
            gains.add_row(name, reference, _number(row.get("percent", "refused"), "+.1f"))
    return [table, gains]


def added_task_tables(result: Result) -> list[Table]:
    """Bytes and losses of each task before and after another was added."""
    tasks = list(result["rows"][-1]["losses"])
    table = plain_table("coding", ["quality", "bytes", *tasks])
    for row in result["rows"]:
        losses = [_number(row["losses"].get(task), ".4f") for task in tasks]
        table.add_row(row["coding"], f"{row['quality']:g}", f"{row['bytes']:,.0f}", *losses)
    return [table]


def balance_tables(result: Result) -> list[Table]:
    """Qualities of each task that stand for one of all."""
    tasks = list(result["measured"])
    table = plain_table("quality", tasks)
    for level, row in result["qualities"].items():
        table.add_row(level, *(f"{row[task]:g}" for task in tasks))
    return [table]


SUMMARIES: dict[str, Callable[[Result], list[Table]]] = {
    "ablation": ablation_tables,
    "add-task": added_task_tables,
    "affinity": affinity_tables,
    "balance": balance_tables,
    "compare": comparison_tables,
    "entropy-cost": entropy_cost_tables,
    "entropy-models": entropy_models_tables,
    "evaluate": evaluation_tables,
    "fuzz": fuzz_tables,
    "premise": premise_tables,
    "scaling": scaling_tables,
    "speed": speed_tables,
    "statistics": statistics_tables,
    "sweep": sweep_tables,
    "versus": versus_tables,
}
"""By command."""


def _number(value: Any, form: str) -> str:
    if value is None:
        return "–"
    return value if isinstance(value, str) else format(value, form)
