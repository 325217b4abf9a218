"""What a result of `atdc bench networks` says, as lines of Markdown."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from atdc.adapters.cost_chart import IMAGE, RESULT, TENSORS, CostPoint, cost_chart
from atdc.errors import DataError

Result = Mapping[str, Any]
_STEPS = [digit * 10**power for power in range(-1, 6) for digit in (1, 2, 5)]
"""Between marks of an axis."""
_MUCH_SLOWER = 5
"""Times the fitted codec's time on the device."""


def bytes_at_agreement(result: Result) -> Iterable[str]:
    """For each set of networks and each way to send: bytes at equal agreement, and the device's time."""
    lookup = {(row["set"], row["system"], row["agreement"]): row for row in result["at"]}
    yield f"| wanted | sent | {' | '.join(f'bytes at {target:g}' for target in result['targets'])} | device, ms |"
    yield "|---|---|" + "---:|" * (len(result["targets"]) + 1)
    for wanted in result["sets"]:
        for system, title in result["titles"].items():
            if (wanted, system, result["targets"][0]) not in lookup:
                continue
            cells = [_bytes(lookup[wanted, system, target]) for target in result["targets"]]
            yield f"| {wanted} | {title} | {' | '.join(cells)} | {result['device_ms'][wanted][system]:.0f} |"
    for system, reason in result["missing"].items():
        yield f"| | `{system}`: {reason} | {' | '.join('–' for _ in result['targets'])} | – |"
    yield ""
    says = [
        f"{name}/{key} {count} of {result['data']['images']}"
        for name, network in result["networks"].items()
        for key, count in network["photos_that_say_something"].items()
        if count < result["data"]["images"]
    ]
    note = f" Photos in which there is something to find: {', '.join(says)}." if says else ""
    yield (
        "Agreement of answers after with before, the mean over answers and networks; bytes between measured points, "
        "`≤` where the smallest files agree better. The device's time is CPU time on one thread: first halves of the "
        f"networks for tensors, whole networks for answers, and coding.{note}"
    )


def bytes_against_time(result: Result) -> str:
    """An SVG: bytes of a file at the first agreement against the device's time, all networks together, or the one.

    Of the fitted codec the best of its ways alone; what no sender knows, and what takes more bytes and far longer, is
    left out.
    """
    wanted, target = list(result["sets"])[-1], result["targets"][0]
    best = "fitted-balanced" if "fitted-balanced" in result["titles"] else "fitted-codebook"
    rivals = [name for name in result["titles"] if not (name.startswith("fitted") or name.endswith("-apart"))]
    systems = {best, *rivals}
    colours = {"first": TENSORS, "whole": RESULT, "": IMAGE}
    rows = [
        (result["device_ms"][wanted][row["system"]], row)
        for row in result["at"]
        if (row["set"], row["agreement"]) == (wanted, target) and row["bytes"] is not None and row["system"] in systems
    ]
    best_point = next(((time, row["bytes"]) for time, row in rows if row["system"] == best), (math.inf, math.inf))
    points = [
        CostPoint(
            time, row["bytes"], colours[result["sent"][row["system"]]],
            f"{result['titles'][row['system']]}: {_bytes(row)} bytes", result["titles"][row["system"]],
        )
        for time, row in rows
        if time <= _MUCH_SLOWER * best_point[0] or row["bytes"] < best_point[1]
    ]  # fmt: skip
    if not points:
        raise DataError("picture", f"no way to send that reaches an agreement of {target:g}", "one at least")
    title = f"{wanted}, agreement {target:g}: bytes of a file against the device's time"
    longest = max(point.work for point in points)
    step = next(size for size in _STEPS if longest <= 5 * size)
    marks = [step * number for number in range(math.ceil(longest / step) + 1)]
    return cost_chart(points, title, "time on the device, one thread", marks, "ms")


def against_rivals(result: Result) -> Iterable[str]:
    """The fitted codec's bytes in percent of each rival's at equal agreement, with intervals."""
    lookup = {(row["set"], row["rival"], row["agreement"]): row for row in result["against"]}
    rivals = list(dict.fromkeys(row["rival"] for row in result["against"]))
    yield f"| wanted | against | {' | '.join(f'at {target:g}' for target in result['targets'])} |"
    yield "|---|---|" + "---:|" * len(result["targets"])
    for wanted in result["sets"]:
        for rival in rivals:
            if (wanted, rival, result["targets"][0]) not in lookup:
                continue
            cells = [_percent(lookup[wanted, rival, target]) for target in result["targets"]]
            yield f"| {wanted} | {rival} | {' | '.join(cells)} |"


def _percent(row: Result) -> str:
    if row["percent"] is None:
        return "–"
    percent = {"": "", "at least": "≥ ", "at most": "≤ "}[row["bound"]] + f"{row['percent']:.0f} %"
    if row["interval"] is None or row["bound"]:
        return percent
    return f"{percent} [{row['interval'][0]:.0f}, {row['interval'][1]:.0f}]"


def fitted_points(result: Result) -> Iterable[str]:
    """The fitted codec's points, answer by answer."""
    notes = {"fitted-codebook": "", "fitted-balanced": ", a quality for each"}
    rows = [row for row in result["points"] if row["system"] in notes]
    keys = list(dict.fromkeys(key for row in rows for key in row["answers"]))
    yield f"| wanted | quality | bytes | agreement | {' | '.join(keys)} |"
    yield "|---|---:|---:|---:|" + "---:|" * len(keys)
    for row in rows:
        cells = [_agreement(row["answers"].get(key)) for key in keys]
        head = f"| {row['set']}{notes[row['system']]} | {row['point']:g} | {row['bytes']:,.0f} | {row['agreement']:.3f}"
        yield f"{head} | {' | '.join(cells)} |"


def graph_arms(result: Result) -> Iterable[str]:
    """What a graph for each sample is worth, and how many different ones there are."""
    heads = ["default, %", "oracle, %", "control, %", "independent, %", "graphs: default, oracle", "candidates"]
    yield f"| tensors, quality | {' | '.join(heads)} |"
    yield "|---|" + "---:|" * len(heads)
    for row in result["rows"]:
        arms = [row["arms"][arm] for arm in ("default", "oracle", "control", "independent")]
        cells = [f"{mean:+.1f} [{low:+.1f}, {high:+.1f}]" for mean, low, high in arms]
        distinct = f"{row['distinct']['default']}, {row['distinct']['oracle']}"
        yield f"| {row['set']}, {row['quality']:g} | {' | '.join(cells)} | {distinct} | {row['pool']} |"


def saved_by_parents(result: Result) -> Iterable[str]:
    """The share of a child's bits that each parent alone saves, at the middle quality."""
    middle = result["saved"][len(result["saved"]) // 2]
    names = result["tensors"]
    yield f"| child, quality {middle['quality']:g} | {' | '.join(f'from {name}' for name in names)} |"
    yield "|---|" + "---:|" * len(names)
    for child, row in zip(names, middle["percent"], strict=True):
        cells = ["–" if parent == child else f"{value:.1f} %" for parent, value in zip(names, row, strict=True)]
        yield f"| {child} | {' | '.join(cells)} |"


def _bytes(row: Result) -> str:
    if row["bytes"] is None:
        return "not reached"
    return ("≤ " if row["state"] == "lowest" else "") + f"{row['bytes']:,.0f}"


def _agreement(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
