"""What results of `atdc bench wanted`, `estimates` and `budget` say, as lines of Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Result = Mapping[str, Any]
_OURS = "own"
_UTILITY = 0.9
_SIZE_COLUMNS = {
    "ancestors": "fixed graph, ancestors sent", "dropped": "fixed graph, parents dropped", "independent": "independent",
    "dropped or independent": "the better of these two",
}  # fmt: skip


def by_size(result: Result) -> Iterable[str]:
    """By how many tasks are wanted: bytes of a set's own graphs at equal utility of the set, against other graphs."""
    lookup = {(row["size"], row["reference"]): row for row in result["by_size"] if row["setting"] == _OURS}
    heads = [f"against {title}" for title in _SIZE_COLUMNS.values()]
    yield f"| tasks wanted | sets | {' | '.join(heads)} | against ancestors sent, at utility 0.9 |"
    yield "|---:" * (len(heads) + 3) + "|"
    for size in sorted({size for size, _ in lookup}):
        rows = [lookup[size, reference] for reference in _SIZE_COLUMNS]
        cells = [_mean(row["bd_rate"], row["sets"]) for row in rows]
        cells.append(_mean(rows[0]["at 0.9"], rows[0]["sets"]))
        yield f"| {size} | {rows[0]['sets']} | {' | '.join(cells)} |"
    yield ""
    yield (
        "Bytes at equal utility of the set, which is the mean over its tasks of min(*u*, 1); geometric means over "
        f"sets, each of {result['subset_images']} images, but named ones of {result['data']['images']} (at utility 0.9 "
        f"all of {result['subset_images']})."
    )


def named_sets(result: Result) -> Iterable[str]:
    """Named sets at each utility: our bytes and device's time, against the best image codec and the answers."""
    lookup = {
        (row["set"], row["utility"], row["family"]): row for row in result["against_best"] if row["setting"] == _OURS
    }
    titles, times = result["titles"], result["device_ms"]
    yield (
        "| wanted | utility | bytes | device, ms | best image codec: bytes, device | ours against it "
        "| answers themselves: bytes, device | ours against them |"
    )
    yield "|---|---:|---:|---:|---:|---:|---:|---:|"
    for letters, name in result["sets"].items():
        for utility in sorted({row["utility"] for row in result["against_best"]}):
            cells = []
            for family in ("pictures", "answers"):
                row = lookup[letters, utility, family]
                if row["best"] is None:
                    cells += ["not reached", "–"]
                    continue
                size, ms = _bytes(row["best_bytes"]), _milliseconds(times[letters][row["best"]])
                size += " (its smallest)" if row["best_reached"] == "lowest" else ""
                cells += [f"{titles[row['best']]}: {size}, {ms}", _mean(row, 1)]
            codec_row = lookup[letters, utility, "pictures"]
            ms = _milliseconds(times[letters][_OURS])
            yield f"| {name} | {utility:g} | {_bytes(codec_row['bytes'])} | {ms} | {' | '.join(cells)} |"
    yield ""
    yield (
        f"Fewest bytes that reach the utility of the set, between measured points; {result['rival_images']} images. "
        "A device's time is that of its task encoders, heads and codec together, one image at a time."
    )


def against_single_rivals(result: Result) -> Iterable[str]:
    """Named sets against codecs that were trained for the set, and against VVC: at equal utility, and at one."""
    rates = {(row["over"], row["reference"]): row for row in result["bd_rates"] if row["setting"] == _OURS}
    lookup = {
        (row["set"], row["family"]): row
        for row in result["against_best"]
        if row["setting"] == _OURS and row["utility"] == _UTILITY
    }
    heads = {
        "alone": "trained for the set alone", "longer": "trained longer for all sets",
        "joint": "joint latent of the set", "vvc": "VVC of the image",
    }  # fmt: skip
    systems = {"alone": "alone_{}", "longer": "longer_{}", "joint": "joint_{}", "vvc": "vvc_vvenc"}
    families = [
        family for family, system in systems.items() if any((s, system.format(s)) in rates for s in result["sets"])
    ]
    if not families:
        return
    yield f"| wanted | {' | '.join(f'{heads[family]} | at utility {_UTILITY:g}' for family in families)} |"
    yield "|---|" + "---:|" * (2 * len(families))
    for letters, name in result["sets"].items():
        cells = []
        for family in families:
            system = systems[family]
            rival = system.format(letters)
            if (letters, rival) not in rates:
                cells += ["not run", "–"]
                continue
            rate, at = rates[letters, rival], lookup[letters, family]
            cells.append("refused" if "refused" in rate else _mean({"compared": 1, **rate}, 1))
            cells.append("not reached" if at["percent"] is None else _mean(at, 1))
        yield f"| {name} | {' | '.join(cells)} |"
    yield ""
    rivals = f", {result['rival_images']} where it is VVC" if "vvc" in families else ""
    yield (
        f"Bytes of the any-graph codec at equal utility of the set, percent above or below each rival, "
        f"{result['data']['images']} images{rivals}."
    )


def left_out(result: Result) -> Iterable[str]:
    """What could not be measured, and why."""
    reasons: dict[str, list[str]] = {}
    for name, reason in result["missing"].items():
        reasons.setdefault(reason, []).append(f"`{name}`")
    for reason, names in reasons.items():
        yield f"- {', '.join(names)}: {reason}"


def estimates(result: Result) -> Iterable[str]:
    """By how many tasks are wanted, and by quality: estimated costs of graphs against those of real files."""
    yield (
        "| tasks wanted | quality | sets | *J*: error % (bias) | bytes: error % (bias) | rank correlation "
        "| sets of .9 or more | by costs of pairs | chosen graph costs more by % |"
    )
    yield "|---|" + "---:|" * 8
    for row in result["by_size"]:
        size = "any" if row["size"] is None else str(row["size"])
        cells = [
            f"{_median(row[f'{of}_error_percent'], '.1f')}{_bias(row[f'{of}_bias_percent'])}"
            for of in ("cost", "bytes")
        ]
        high = "–" if row["high_ranks"] is None else f"{100 * row['high_ranks']:.0f} %"
        pairs = "–" if row["by_pairs"] is None else f"{row['by_pairs'][0]:.2f}"
        cells += [_median(row["rank"], ".2f"), high, pairs, f"{row['lost_percent'][0]:.1f}"]
        yield f"| {size} | {row['quality']:g} | {row['sets']} | {' | '.join(cells)} |"
    yield ""
    yield (
        f"Medians over sets, of each set over {result['data']['images']} images and up to {result['graphs_at_most']} "
        "graphs; 95 % intervals over sets. *Bytes*: the estimated *J* times the mean share of bits that the weights "
        "keep. *By costs of pairs*: ranks by what each tensor really costs given each parent set. *Chosen*: the graph "
        "of the least estimate, against the one that costs least."
    )


def budget(result: Result) -> Iterable[str]:
    """By number of bytes: what is used, and utility against one quality for all."""
    yield (
        "| at most | bytes used, mean | most | utility | one quality: bytes used, mean | utility | gain "
        "| gain as the encoder counts | images that gain by that |"
    )
    yield "|---:" * 9 + "|"
    for row in result["rows"]:
        bytes_arm, quality_arm = row["arms"]["within bytes"], row["arms"]["one quality"]
        gain, low, high = row["gain"]
        text = f"**{gain:+.3f}**" if not low <= 0 <= high else f"{gain:+.3f}"
        yield (
            f"| {row['max_bytes']:,} | {100 * bytes_arm['used_share']:.1f} % | {bytes_arm['most_bytes']:,} "
            f"| {bytes_arm['utility']:.3f} | {100 * quality_arm['used_share']:.1f} % | {quality_arm['utility']:.3f} "
            f"| {text} [{low:+.3f}, {high:+.3f}] | {row['told_gain']:+.3f} | {100 * row['told_better_share']:.0f} % |"
        )


def _median(values: Sequence[float] | None, form: str) -> str:
    """A median with its interval; a dash where there is none."""
    if values is None:
        return "–"
    value, low, high = (format(number, form) for number in values)
    return f"{value} [{low}, {high}]"


def _bias(values: Sequence[float] | None) -> str:
    return "" if values is None else f" ({values[0]:+.1f})"


def _mean(row: Result, sets: int) -> str:
    """A difference with its interval, bold where that is clear of 0, and of how many sets it is if not of all."""
    if row["percent"] is None:
        return "refused"
    value, low, high = (row[key] for key in ("percent", "low", "high"))
    note = "" if row["compared"] == sets else f", {row['compared']} of {sets} sets"
    if low is None:
        return f"{value:+.1f} % (no interval{note})"
    text = f"**{value:+.1f} %**" if not low <= 0 <= high else f"{value:+.1f} %"
    return f"{text} [{low:+.1f}, {high:+.1f}]{note}"


def _bytes(size: float | None) -> str:
    return "not reached" if size is None else f"{size:,.0f}"


def _milliseconds(row: Mapping[str, float]) -> str:
    return f"{sum(row.values()):.1f} ms"


def set_codecs(result: Result) -> Iterable[str]:
    """Codecs trained for one set each: steps, time, and how far from their end they stopped."""
    yield "| codec | starts from | steps | minutes | objective still falls by, % in 250 steps |"
    yield "|---|---|---:|---:|---:|"
    for row in result["codecs"].values():
        falls = row["improvement_percent_per_epoch"]
        fall = "–" if falls is None else f"{falls:.1f}"
        yield f"| {row['title']} | {row['start']} | {row['steps_run']} | {row['seconds'] / 60:.0f} | {fall} |"


def own_graphs(result: Result) -> Iterable[str]:
    """What adapting graphs to images is worth to a codec that is trained for it."""
    yield "| graphs | J against, before | after, each seed | mean |"
    yield "|---|---:|---:|---:|"
    for name, row in result["compared"].items():
        seeds = ", ".join(f"{seed[0]:+.2f}" for seed in row["seeds"])
        before = "{:+.2f} % [{:+.2f}, {:+.2f}]".format(*row["before"])
        yield f"| {name} | {before} | {seeds} | {row['percent']:+.2f} % [{row['low']:+.2f}, {row['high']:+.2f}] |"
    distinct, usual = result["distinct_graphs"], result["images_with_the_one_graph"]
    images = result["data"]["images"]
    yield ""
    yield (
        f"J: bits and the tasks' weighted losses of {images} images, from real files; quality {result['quality']}, "
        f"at most {result['max_parents']} parents, {result['steps']} steps of {result['batch']} images. Intervals: "
        f"before, over images; of the mean, over {result['seeds']} seeds. Own graphs are {distinct['test']} different "
        f"ones for the {images} images, of which {usual['test']} have the one graph."
    )
