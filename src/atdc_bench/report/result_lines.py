"""What results say, as lines of Markdown: on pages as they stand, in a terminal rendered."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from atdc.tasks import TASKS, Task
from atdc.tasks.task import MeasureKind, registry
from atdc_bench.report.finished import is_finished, steps_of

Result = Mapping[str, Any]
_SHOWN_METRIC: dict[MeasureKind, tuple[str, str, str]] = registry(
    MeasureKind,
    {
        "confusion": ("miou", "mIoU", ".3f"),
        "absolute": ("l1", "L1", ".4f"),
        "angle": ("mean_degrees", "angle", ".1f°"),
        "relative_depth": ("abs_rel", "AbsRel", ".3f"),
        "psnr": ("psnr_db", "PSNR", ".1f dB"),
    },
)
"""By a row's ``measure``: the metric's key in results, its heading and its format."""
_ARROWS = {"higher": "↑", "lower": "↓"}
_DEFAULT = ("codebook", "normal")
_THROUGHPUT = {"encode_per_s": "encode", "decode_per_s": "decode"}


def rates(result: Result) -> Iterable[str]:
    """Bytes at equal mean utility against coding every task alone, and against the best fixed graph."""
    rows: dict[str, dict[str, Result]] = {}
    for row in result["bd_rates"]:
        if row["over"] == "U":
            rows.setdefault(row["setting"], {})[row["reference"]] = row
    yield from _table_head("graph setting", ["against `independent`", "against `fixed`", "images"])
    for setting, by_reference in rows.items():
        cells = [_difference(by_reference.get(reference)) for reference in ("independent", "fixed")]
        images = max(row["images"] for row in by_reference.values())
        yield f"| `{setting}` | {' | '.join(cells)} | {images} |"


def points(result: Result) -> Iterable[str]:
    """The default's answers at every quality, above those from uncompressed features."""
    yield from _table_head(
        "quality",
        ["bytes", "bpp", "U6", *map(_heading, TASKS)],
    )
    for row in result["points"]:
        if (row["setting"], row["effort"]) == _DEFAULT:
            utility = _number(row["utility"], ".3f")
            cells = [f"{row['bytes_mean']:,.0f}", f"{row['bpp']:.4f}", utility, *_metrics(row["tasks"])]
            yield f"| {row['quality']:g} | {' | '.join(cells)} |"
    yield f"| uncompressed | | | 1 | {' | '.join(_metrics(result['anchors']['uncompressed']))} |"


def checks(result: Result) -> Iterable[str]:
    """What held of every file that was written."""
    row = result["checks"]
    within = row["files_within_ideal_plus_1_percent_plus_24_bytes"]
    yield (
        f"Of {row['files']:,} files, {within:,} are within ideal bits + 1 % + 24 bytes (largest overhead "
        f"{row['largest_overhead_bytes']:.1f} bytes), and {row['files_decoded_as_encoded']:,} decoded to what the "
        f"encoder had. From the lowest to the highest quality, bytes grow {row['bytes_ratio_across_qualities']:.1f} "
        "times."
    )


def score_calibration(result: Result) -> Iterable[str]:
    """How well scores predict real bits."""
    yield from _table_head(
        "quality, score",
        ["Spearman", "slope", "R²", "inside one image and child: Spearman", "slope", "R²", "share of saving kept"],
    )
    for quality, values in result["qualities"].items():
        for name, agreement in values["bits"].items():
            parts = (agreement["overall"], agreement["within_image_and_child"])
            cells = [_number(part[key], ".3f") for part in parts for key in ("spearman", "slope", "r2")]
            saving = values["saving_kept"]["judged_by_cost"][name]
            yield f"| {quality}, {name} | {' | '.join(cells)} | {_number(saving, '.1%')} |"
    yield ""
    headroom = []
    for quality, values in result["qualities"].items():
        savings = values["saving_kept"]["judged_by_cost"]
        percent = savings["possible_percent"] * (1 - savings["best_fixed"])
        headroom.append(f"{percent:.1f} % at quality {quality} (of {savings['possible_percent']:.1f} %)")
    yield (
        "What the best graph of each image saves beyond the best single graph, as sums of the measured costs of pairs "
        f"judge both: {', '.join(headroom)} of the independent cost. Really coded, graphs chosen by such sums cost up "
        "to 7 % more than the best fixed one (measured once; no result file is kept), since a parent is then coded "
        "along another graph than it was measured on."
    )


def graphs(result: Result) -> Iterable[str]:
    """Which graphs are chosen."""
    yield from _table_head(
        "quality, setting",
        ["distinct", "top ten", "mean edges", "roots (share of images)", "changed by JPEG 90, noise, flip"],
    )
    for quality, values in result["qualities"].items():
        for setting, row in values["graphs"].items():
            letters = {task.name: task.letter for task in TASKS}
            shares = sorted(row["root_share"].items(), key=lambda item: -item[1])
            roots = ", ".join(f"{letters.get(name, name)} {share:.0%}" for name, share in shares if share >= 0.005)
            changes = [
                _number(by[setting]["changed_share"], ".0%") for by in values["stability"].values() if setting in by
            ]
            yield (
                f"| {quality}, `{setting}` | {row['distinct']} | {row['top_ten_share']:.0%} | {row['mean_edges']:.2f} "
                f"| {roots} | {', '.join(changes) or '–'} |"
            )


def times(result: Result) -> Iterable[str]:
    """Where the milliseconds go, and what device and server do."""
    encode, decode = result["encode_ms"], result["decode_ms"]
    for job, stages in (("Encode", encode), ("Decode", decode)):
        parts = ", ".join(f"{name} {row['median']:.1f}" for name, row in stages.items() if name != "total")
        yield f"{job}: **{stages['total']['median']:.1f} ms** ({parts})."
    ratios = [
        f"`{setting}` {row['ratio']['median']:.3f} [{row['interval'][0]:.3f}, {row['interval'][1]:.3f}]"
        for setting, row in result["adaptive_over_fixed"]["batch_1"].items()
    ]
    yield f"Time over that of the fixed graph, paired, one image at a time: {', '.join(ratios)}."
    codec_ms = sum(encode[stage]["median"] for stage in ("scoring", "search", "coding", "writing"))
    yield f"All but the encoders takes {codec_ms / encode['encoders']['median']:.2f} times what the encoders take."
    best = {job: max(result["throughput"].values(), key=lambda row: row[job]) for job in _THROUGHPUT}
    speeds = ", ".join(f"{_THROUGHPUT[job]} {row[job]:.0f}" for job, row in best.items())
    yield f"Images a second, at the best number at a time: {speeds}."
    yield ""
    yield from _table_head("system", ["device, ms", "device, MMAC", "bytes", "server, ms", "server, MMAC"])
    for name, row in result["systems"].items():
        yield (
            f"| {name.replace('_', ' ')} | {row['device_ms']:.1f} | {row['device_mmac']:,.0f} | {row['bytes']:,.0f} "
            f"| {row['server_ms']:.1f} | {row['server_mmac']:,.0f} |"
        )


def exact(result: Result) -> Iterable[str]:
    """How many symbols were compared, under what, and what could not be run."""
    totals = result["totals"]
    names = [name for name, row in result["configurations"].items() if "not_run" not in row]
    yield (
        f"{totals['symbols']:,} symbols compared between {len(names)} ways to compute: **{totals['mismatches']} "
        f"mismatches**; restored features differ by {totals['drift']:.2g} standard deviations at most. Run: "
        f"{', '.join(f'`{name}`' for name in names)}."
    )
    for name, row in result["configurations"].items():
        if "not_run" in row:
            yield f"Not run: `{name}`, {row['not_run']}."


def fuzz(result: Result) -> Iterable[str]:
    """What became of damaged files."""
    outcomes = result["outcomes"]
    share = f"{result['passing_payload_checks_share']:.0%}"
    yield (
        f"{result['count']:,} damaged files, {share} of them past every payload check: {outcomes['right']:,} right, "
        f"{outcomes['refused']:,} refused by name, **{outcomes['failed']} failed**. "
        f"The slowest took {result['slowest']['ms']:.0f} ms, the most memory was {result['memory']['peak_mb']:.1f} MB."
    )


def entropy(result: Result) -> Iterable[str]:
    """What integers cost, and what states save."""
    costs = [
        f"{row['percent']:+.3f} % at quality {quality}" for quality, row in result["integers_against_floats"].items()
    ]
    time, states = result["time"], result["states"]
    yield (
        f"Integers against floats, ideal bytes: {', '.join(costs)}; time to encode "
        f"{time['ratio']['median']:.3f} [{time['interval'][0]:.3f}, {time['interval'][1]:.3f}] times that with floats."
    )
    yield "What decoded parents tell a child's probability tables: " + (
        states
        if isinstance(states, str)
        else f"{states['percent']:+.2f} % of ideal bytes against tables without it, both trained equally long."
    )


def ablation(result: Result) -> Iterable[str]:
    """Conditional against plain residual coding."""
    for over, row in result["bytes_at_equal"].items():
        value = row.get("conditional_against_plain_percent")
        text = "refused: the curves overlap too little" if value is None else f"**{value:+.1f} %** bytes"
        yield f"Conditional against plain residual codec, at equal {over.replace('_', ' ')}: {text}."
    epochs = result["epochs"]
    yield f"Each trained {epochs['warm-up']} + {epochs['rate-distortion']} epochs from the same predictor."


def systems(result: Result) -> Iterable[str]:
    """Every system's bytes at equal mean utility against four others; other seeds of one have a block of their own."""
    measured_systems = {
        name: system for name, system in result["systems"].items() if system["points"] and "-seed" not in name
    }
    lookup = {(row["system"], row["reference"]): row for row in result["bd_rates"] if row["over"] == "U"}
    best = result["best_pixel_codec"]
    references = [name for name in ("independent", "fixed", "paper", "joint", best) if name in measured_systems]
    yield from _table_head("system", [*(f"against `{name}`" for name in references), "bytes", "U6", "steps here"])
    for name, system in measured_systems.items():
        cells = [
            _difference(lookup.get((name, reference)), is_finished(system) and is_finished(measured_systems[reference]))
            for reference in references
        ]
        points, steps_run = sorted(system["points"], key=lambda point: float(point["bytes_mean"])), steps_of(system)
        steps = "–" if steps_run is None else f"{steps_run:,}{'' if is_finished(system) else ' ²'}"
        sizes = f"{points[0]['bytes_mean']:,.0f} … {points[-1]['bytes_mean']:,.0f}"
        utilities = " … ".join(_number(point["utility"], ".2f") for point in (points[0], points[-1]))
        yield f"| {system['title']} (`{name}`) | {' | '.join(cells)} | {sizes} | {utilities} | {steps} |"
    yield ""
    reasons: dict[str, list[str]] = {}
    for name, system in result["systems"].items():
        if system["missing"]:
            reasons.setdefault(system["missing"], []).append(f"`{name}`")
    for reason, names in reasons.items():
        yield f"- {', '.join(names)}: {reason}."


def by_task(result: Result) -> Iterable[str]:
    """Our bytes at equal utility of each task, against every other system that is no graph setting."""
    lookup = {(row["reference"], row["over"]): row for row in result["bd_rates"] if row["system"] == "ours"}
    names = dict.fromkeys(reference for reference, _ in lookup)
    yield from _table_head("`ours` against", ["U6", *(task.title for task in TASKS)])
    for name in names:
        finished = is_finished(result["systems"]["ours"]) and is_finished(result["systems"][name])
        cells = [_difference(lookup.get((name, over)), finished) for over in ("U", *(task.name for task in TASKS))]
        yield f"| {result['systems'][name]['title']} (`{name}`){'' if finished else ' ²'} | {' | '.join(cells)} |"


def compared_weights(result: Result) -> Iterable[str]:
    """What several weights see on the same images, uncompressed and at every quality."""
    yield from _table_head(
        "weights, quality",
        ["bytes", "U6", *map(_heading, TASKS)],
    )
    for model, anchors in result["anchors"].items():
        for row in result["points"]:
            if row["model"] == model:
                cells = [f"{row['bytes_mean']:,.0f}", _number(row["utility"], ".3f"), *_metrics(row["tasks"])]
                yield f"| `{model}`, {row['quality']:g} | {' | '.join(cells)} |"
        yield f"| `{model}`, uncompressed | | | {' | '.join(_metrics(anchors['uncompressed']))} |"
    yield ""
    first = next(iter(result["models"]))
    for model in list(result["models"])[1:]:
        parts = []
        for over, title in (("U", "U6"), *((task.name, task.title) for task in TASKS)):
            rows = [row for row in result["bd_rates"] if (row["model"], row["over"]) == (model, over)]
            parts.append(f"{title} {_difference(rows[0])}")
        yield f"Bytes of `{model}` against `{first}`, at equal utility of: {', '.join(parts)}."


def uncompressed(result: Result) -> Iterable[str]:
    """Answers from uncompressed features: of one model with those to channel means, or of several models."""
    anchors = result["anchors"]
    if "models" in result:
        columns = {f"`{model}`": anchors[model]["uncompressed"] for model in result["models"]}
    else:
        columns = {"uncompressed": anchors["uncompressed"], "from channel means": anchors["zero"]}
    cells = {title: _metrics(tasks) for title, tasks in columns.items()}
    yield from _table_head("task", list(cells))
    for place, task in enumerate(TASKS):
        values = " | ".join(column[place] for column in cells.values())
        yield f"| {_heading(task)} | {values} |"


def default_rates(result: Result) -> Iterable[str]:
    """The default's bytes and U6 at every quality."""
    yield from _table_head("quality", ["bytes", "U6"])
    for row in result["points"]:
        if (row["setting"], row["effort"]) == _DEFAULT:
            yield f"| {row['quality']:g} | {row['bytes_mean']:,.0f} | {_number(row['utility'], '.3f')} |"


def order(result: Result) -> Iterable[str]:
    """The objective and U6 of adaptive, fixed and random graphs at every quality."""
    names = [name for name in ("ours", "fixed", "chain", "random", "paper-order") if result["systems"][name]["points"]]
    yield from _table_head("quality", [f"`{name}`: loss, U6" for name in names])
    for place, quality in enumerate(result["recipe"]["qualities"]):
        cells = []
        for name in names:
            point = result["systems"][name]["points"][place]
            cells.append(f"{point['total_loss']:.4f}, {point['utility']:.3f}")
        yield f"| {quality:g} | {' | '.join(cells)} |"


def seeds(result: Result) -> Iterable[str]:
    """How much three trainings differ: bytes at equal U6 against the first training of `independent`."""
    percents = {
        row["system"]: row.get("percent")
        for row in result["bd_rates"]
        if row["over"] == "U" and row["reference"] == "independent"
    }
    for name in ("ours", "fixed", "independent"):
        values = [0.0 if name == "independent" else percents.get(name)]
        values += [value for system, value in percents.items() if system.startswith(f"{name}-seed")]
        numbers = [value for value in values if value is not None]
        count = "one training so far" if len(numbers) < 2 else f"{len(numbers)} trainings"
        yield f"- `{name}`: {', '.join(f'{value:+.1f} %' for value in numbers) or 'not measured'} ({count})"


def sweep(result: Result) -> Iterable[str]:
    """The paper's K and τ: bytes and objective."""
    qualities = list(dict.fromkeys(row["quality"] for row in result["rows"]))
    lookup = {(row["setting"], row["quality"]): row for row in result["rows"]}
    yield from _table_head("setting", ["edges", *(f"quality {quality:g}: bytes, loss" for quality in qualities)])
    for setting in dict.fromkeys(row["setting"] for row in result["rows"]):
        rows = [lookup[setting, quality] for quality in qualities]
        cells = [f"{row['bytes']:,.0f}, {row['total_loss']:.4f}" for row in rows]
        yield f"| {setting} | {rows[0]['mean_edges']:.2f} | {' | '.join(cells)} |"


def adaptivity(result: Result) -> Iterable[str]:
    """What a graph for each image is worth, under each condition."""
    arms = [arm for arm in result["rows"][0]["arms"] if arm != "one graph"]
    yield from _table_head("images, quality", [f"{arm}: cost %, truth %" for arm in arms])
    for row in result["rows"]:
        cells = []
        for arm in arms:
            cost, truth = row["arms"][arm]["cost_percent"], row["arms"][arm]["truth_percent"]
            cell = f"{cost[0]:+.1f} [{cost[1]:+.1f}, {cost[2]:+.1f}]"
            cells.append(cell + (f", {truth[0]:+.1f} [{truth[1]:+.1f}, {truth[2]:+.1f}]" if truth else ""))
        yield f"| {row['condition']}, {row['quality']:g} | {' | '.join(cells)} |"


def many_tasks(result: Result) -> Iterable[str]:
    """Search and scoring for many tasks."""
    names = ("exact", "greedy", "greedy+local", "fixed", "chain")
    yield from _table_head("tasks", ["pairs", *(f"`{name}`: saving, ms" for name in names)])
    for tasks, size in result["sizes"].items():
        cells = []
        for name in names:
            search = size["settings"].get(name)
            if search is None:
                cells.append("–")
            else:
                times = search["search_ms"]
                cells.append(f"{search['saving_percent']:.1f} %" + (f", {times['median']:.1f}" if times else ""))
        yield f"| {tasks} | {size['pairs']:,} | {' | '.join(cells)} |"


def low_rates(result: Result) -> Iterable[str]:
    """Every system's smallest files, and what is left of each task."""
    smallest = {
        name: min(system["points"], key=lambda point: float(point["bytes_mean"]))
        for name, system in result["systems"].items()
        if system["points"] and "-seed" not in name
    }
    yield from _table_head("system", ["bytes", "bpp", "U6", *(task.title for task in TASKS)])
    for name, point in sorted(smallest.items(), key=lambda item: float(item[1]["bytes_mean"])):
        utilities = " | ".join(f"{point['tasks'][task.name]['utility']:.2f}" for task in TASKS)
        cells = f"{point['bytes_mean']:,.0f} | {point['bpp']:.4f} | {point['utility']:.2f}"
        yield f"| {result['systems'][name]['title']} | {cells} | {utilities} |"


def entropy_models(result: Result) -> Iterable[str]:
    """What adapting earns by entropy model."""
    qualities = list(dict.fromkeys(row["quality"] for model in result["models"].values() for row in model["points"]))
    yield from _table_head(
        "entropy model",
        ["adaptive against fixed", "against independent", *(f"bytes at quality {q:g}, adaptive" for q in qualities)],
    )
    for name, model in result["models"].items():
        gains = []
        for reference in ("fixed", "independent"):
            percent = model["adaptive_against"][reference].get("percent")
            gains.append("refused" if percent is None else f"**{percent:+.1f} %**")
        sizes = [f"{row['bytes']:,.0f}" for row in model["points"] if row["graphs"] == "adaptive"]
        yield f"| {name} | {' | '.join([*gains, *sizes])} |"


def added_task(result: Result) -> Iterable[str]:
    """What a sixth task changes for the five."""
    tasks = [task for task in TASKS if task.name in result["rows"][0]["losses"]]
    new = next(task for task in TASKS if task.name not in result["rows"][0]["losses"])
    yield from _table_head(
        "quality, coding",
        ["bytes", *(f"{task.title}: loss" for task in tasks), "bytes of the five", f"{new.title}: bytes"],
    )
    for row in result["rows"]:
        losses = [f"{row['losses'][task.name]:.4f}" for task in tasks]
        five = sum(row["ideal_bytes"][task.name] for task in tasks)
        new_bytes = row["ideal_bytes"].get(new.name)
        cells = [f"{row['bytes']:,.0f}", *losses, f"{five:,.0f}", "–" if new_bytes is None else f"{new_bytes:,.0f}"]
        yield f"| {row['quality']:g}, {row['coding']} | {' | '.join(cells)} |"
    old = result["old_files"]
    yield ""
    yield (
        f"Of {old['files']} files written before, {old['same_integers']} are read to the same integers after; features "
        f"differ by {old['greatest_difference_of_features']:.1g} at most."
    )


def affinity(result: Result) -> Iterable[str]:
    """By how much a step on one task lowers the others' losses, and the groups that follow."""
    yield from _table_head("step on", list(result["tasks"]))
    for task, row in zip(result["tasks"], result["affinity"], strict=True):
        yield f"| {task} | {' | '.join(f'{100 * value:+.2f} %' for value in row)} |"
    yield ""
    yield f"Groups: {', '.join(result['groups_in_letters'])}."


def balance(result: Result) -> Iterable[str]:
    """Qualities of each task that stand for one of all."""
    tasks = list(result["measured"])
    yield from _table_head("quality", tasks)
    for level, row in result["qualities"].items():
        yield f"| {level} | {' | '.join(f'{row[task]:g}' for task in tasks)} |"


def _number(value: float | None, form: str) -> str:
    """A number as a cell; a dash for one that these few images do not give."""
    return "–" if value is None else format(value, form)


def _table_head(first: str, columns: list[str]) -> Iterable[str]:
    yield f"| {' | '.join([first, *columns])} |"
    yield "|---|" + "---:|" * len(columns)


def _difference(row: Result | None, finished: bool = True) -> str:
    """A rate difference as a cell, with how many resamples its interval is of if some were refused.

    Bold is a verdict: the interval is clear of 0, and both systems were trained to the end.
    """
    if row is None:
        return "–"
    if "percent" not in row:
        return "refused"
    low, high, resamples, refusals = (row[key] for key in ("low", "high", "resamples", "resamples_refused"))
    value, mark = f"{row['percent']:+.1f} %", "" if row["monotone"] else " ¹"
    if low is None:
        return f"{value} (no interval: {resamples - refusals}/{resamples}){mark}"
    text = f"**{value}**" if finished and not low <= 0 <= high else value
    return f"{text} [{low:+.1f}, {high:+.1f}]{f' of {resamples - refusals}/{resamples}' if refusals else ''}{mark}"


def _heading(task: Task) -> str:
    """The task and its metric, with an arrow to where it is better."""
    return f"{task.title}, {_SHOWN_METRIC[task.measure][1]} {_ARROWS[task.better]}"


def _metrics(tasks: Result) -> list[str]:
    cells = []
    for task in TASKS:
        key, _, form = _SHOWN_METRIC[task.measure]
        digits = re.match(r"\.\df", form)
        assert digits is not None
        cells.append(f"{tasks[task.name][key]:{digits[0]}}{form[digits.end() :]}")
    return cells
