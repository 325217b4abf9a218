"""The page of the comparison: one self-contained HTML file, drawn from the comparison's result and from nothing else.

It shows utility over rate for all tasks together and for each, utility as tasks are added one by one, bytes at equal
answers, what each system is and how long it was trained, who is missing and why, and answers at equal bytes. It needs
no script, no network and no plotting library, and is read as well by a reader who sees no colours: families differ in
dash and shape, systems of a family in colour and filling.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from atdc.errors import DataError
from atdc.report.templates import rendered
from atdc.tasks import BY_NAME, TASK_NAMES, short_title
from atdc_bench.report.finished import is_finished, steps_of
from atdc_bench.report.line_chart import COLOURS, Curve, Point, Shape, Style, line_chart, sample, value_range

FAMILIES: dict[str, tuple[str, str, tuple[Shape, Shape]]] = {
    "features": ("features", "", ("circle", "triangle")),
    "learned pixels": ("learned image codecs", "7 3.5", ("diamond", "hexagon")),
    "pixels": ("image codecs", "2 3", ("square", "cross")),
}
"""By family: what the legend calls it, its dash and its two shapes. In this order they stand in legends and tables."""

_GUIDE = (1.0, "uncompressed features")


def render_comparison(result: Mapping[str, Any]) -> str:
    """The whole page.

    Args:
        result: ``what`` (a sentence), ``provenance`` and ``systems``; by system ``title``, ``family`` (of
            :data:`FAMILIES`), ``images``, ``describe``, ``trained`` (``steps``, ``steps_run``, ``seconds``,
            ``start``, ``undertrained``; or None), ``missing`` (why it was not measured, or None), ``points`` (each:
            ``point``, ``bytes_mean``, ``bpp``, ``utility`` and ``tasks``, by task with its ``utility``) and
            ``cumulative`` (``tasks`` so far, ``bytes``, ``utility``). Also ``bd_rates`` (``system``, ``reference``,
            ``over``: "U" or a task, and ``percent``, ``low``, ``high``, ``monotone``, ``resamples``,
            ``resamples_refused``; or
            ``refused``) and ``images`` (``image``, ``bytes``, ``rows``: ``system``, ``bytes``, ``answers``, data
            URIs by task). Lists may be empty or absent.

    Returns:
        HTML that is also well-formed XML. Columns of the tables of rates are the references, in the order in which
        ``bd_rates`` names them.

    Raises:
        DataError: no such result, or an image that is not inside it.
    """
    try:
        return rendered("atdc_bench.report", "comparison.html", **_values(result))
    except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        message = f"{type(error).__name__}: {error}"
        raise DataError("comparison", message, "a result of the comparison", "make it again") from error


def styles_of(systems: Mapping[str, Mapping[str, Any]]) -> dict[str, Style]:
    """How each system is drawn, families in order: the family's dash, and colour, filling and shape by its place in it.

    >>> styles = styles_of({"jpeg": {"family": "pixels"}, "atdc": {"family": "features"}})
    >>> list(styles), styles["jpeg"].shape, styles["atdc"].dash
    (['atdc', 'jpeg'], 'square', '')
    """
    styles = {}
    for number, (family, (_, dash, shapes)) in enumerate(FAMILIES.items()):
        names = [name for name, system in systems.items() if system["family"] == family]
        for place, name in enumerate(names):
            turn, colour = divmod(place, len(COLOURS))
            styles[name] = Style(
                colour=COLOURS[(colour + 2 * number) % len(COLOURS)],  # families start elsewhere in the palette
                dash=dash,
                shape=shapes[turn // 2 % 2],
                hollow=turn % 2 == 1,
                width=2.2 if family == "features" else 1.7,
            )
    if unknown := [name for name in systems if name not in styles]:
        raise ValueError(f"the family of {unknown[0]} is none of {', '.join(FAMILIES)}")
    return styles


def _values(result: Mapping[str, Any]) -> dict[str, Any]:
    """What the page says and draws, by the names that the template has for it."""
    systems = result["systems"]
    styles = styles_of(systems)
    measured_systems = {name: systems[name] for name in styles if systems[name]["points"]}
    cumulative_systems = {name: systems[name] for name in styles if systems[name].get("cumulative")}
    reasons = {name: systems[name]["missing"] for name in styles if systems[name].get("missing")}
    rates, images = result.get("bd_rates"), result.get("pictures")
    sections = {
        "together": ("All tasks together", measured_systems),
        "tasks": ("Task by task", measured_systems),
        "added": ("As tasks are added", cumulative_systems),
        "rates": ("Bytes at equal answers", rates),
        "systems": ("Systems and training", True),
        "missing": ("Not measured here", reasons),
        "pictures": ("Answers at equal bytes", images),
    }
    families = {
        words: [name for name in styles if systems[name]["family"] == key] for key, (words, *_) in FAMILIES.items()
    }
    return {
        "what": result["what"],
        "sections": {key: title for key, (title, content) in sections.items() if content},
        "systems": systems,
        "styles": styles,
        "families": families,
        "measured": measured_systems,
        "together": _together(measured_systems, styles),
        "panels": {task: _panel(measured_systems, styles, task) for task in _tasks_of(measured_systems)},
        "added": cumulative_systems,
        "as_added": _as_added(cumulative_systems, styles),
        "added_tasks": _added_tasks(cumulative_systems),
        "rate_tables": _rate_tables(rates or [], list(styles)),
        "missing": reasons,
        "images": [(image, _tasks_shown(image)) for image in images or []],
        "facts": _facts(result["provenance"]),
        "described": _described,
        "is_finished": is_finished,
        "letter": _letter,
        "sample": sample,
        "short_title": short_title,
        "signed": _signed,
        "steps_of": steps_of,
        "task_title": _task_title,
        "time": _time,
    }


# --- curves ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Chart:
    """Curves, drawn; and whether points far below 0 are cut off."""

    svg: str
    is_cut: bool


def _chart(
    curves: Sequence[Curve], rate_label: str, value_label: str, guide: tuple[float, str] = _GUIDE,
    size: tuple[int, int] = (880, 520),
) -> _Chart:  # fmt: skip
    width, height = size
    svg = line_chart(
        curves[::-1], width=width, height=height, rate_label=rate_label, value_label=value_label, guide=guide
    )
    values = [point.value for curve in curves for point in curve.points]
    return _Chart(svg, bool(values) and value_range(values)[0] > min(values))


def _together(systems: Mapping[str, Any], styles: Mapping[str, Style]) -> _Chart:
    curves = [_curve(system, styles[name], None) for name, system in systems.items()]
    return _chart(curves, "bytes per image", "utility U6")


def _panel(systems: Mapping[str, Any], styles: Mapping[str, Style], task: str) -> _Chart:
    curves = [_curve(system, styles[name], task) for name, system in systems.items()]
    return _chart(curves, "bytes per image, all tasks", "utility", size=(400, 300))


def _as_added(systems: Mapping[str, Any], styles: Mapping[str, Style]) -> _Chart:
    curves = []
    for name, system in systems.items():
        points, before = [], 0
        for step in system["cumulative"]:
            tasks = step["tasks"]
            new = tasks[before:]
            letter = _letter(new[0]) if len(new) == 1 else str(len(new))
            words = ", ".join(map(short_title, new))
            note = f"{system['title']}: + {words}: {step['bytes']:,.0f} bytes, utility {step['utility']:.3f}"
            points.append(Point(float(step["bytes"]), float(step["utility"]), note, letter))
            before = len(tasks)
        curves.append(Curve(system["title"], styles[name], tuple(points)))
    high = max((point.value for curve in curves for point in curve.points), default=0.0)
    guide = _GUIDE if high < 2 else (high, "all tasks")
    return _chart(curves, "bytes per image so far", "utility so far", guide)


def _curve(system: Mapping[str, Any], style: Style, task: str | None) -> Curve:
    points = []
    for row in sorted(system["points"], key=lambda row: float(row["bytes_mean"])):
        if task is not None and task not in row["tasks"]:
            continue
        value = float(row["utility"] if task is None else row["tasks"][task]["utility"])
        note = f"{system['title']}, {row['point']:g}: {row['bytes_mean']:,.0f} bytes, utility {value:.3f}"
        points.append(Point(float(row["bytes_mean"]), value, note))
    return Curve(system["title"], style, tuple(points))


# --- tables ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _RateTable:
    """Rates at equal utility of one thing: systems in rows, references in columns."""

    names: list[str]
    references: list[str]
    cells: Mapping[tuple[str, str], Mapping[str, Any]]


def _rate_tables(rates: Sequence[Mapping[str, Any]], order: Sequence[str]) -> dict[str, _RateTable]:
    """By what is equal: "U", then tasks in the order of their indices."""
    overs = ["U", *_ordered([row["over"] for row in rates if row["over"] != "U"])]
    return {over: _rate_table(rows, order) for over in overs if (rows := [row for row in rates if row["over"] == over])}


def _rate_table(rows: Sequence[Mapping[str, Any]], order: Sequence[str]) -> _RateTable:
    systems = {row["system"] for row in rows}
    return _RateTable(
        names=[name for name in order if name in systems] + sorted(systems - set(order)),
        references=list(dict.fromkeys(row["reference"] for row in rows)),
        cells={(row["system"], row["reference"]): row for row in rows},
    )


def _tasks_shown(image: Mapping[str, Any]) -> list[str]:
    """The tasks of which a system has an answer.

    Raises:
        ValueError: an answer is not inside the result.
    """
    for row in image["rows"]:
        for task, uri in row["answers"].items():
            if not uri.startswith("data:image/"):
                raise ValueError(f"the image of {task} by {row['system']} is not a data URI")
    return _ordered([task for row in image["rows"] for task in row["answers"]])


def _facts(provenance: Mapping[str, Any]) -> dict[str, Any]:
    """The command, the commit and the machine, as far as they are known."""
    machine = provenance.get("machine") or {}
    facts = {name: provenance.get(name) for name in ("command", "date", "commit", "seed", "weights")}
    facts |= {"machine": machine.get("cpu"), "threads": machine.get("threads")}
    return {name: fact for name, fact in facts.items() if fact is not None}


# --- words -----------------------------------------------------------------------------------------------------------


def _tasks_of(systems: Mapping[str, Any]) -> list[str]:
    tasks = [task for system in systems.values() for row in system["points"] for task in row["tasks"]]
    return _ordered(tasks)


def _added_tasks(systems: Mapping[str, Any]) -> list[str]:
    return _ordered([task for system in systems.values() for step in system["cumulative"] for task in step["tasks"]])


def _ordered(tasks: Sequence[str]) -> list[str]:
    """Each task once, known ones in the order of their indices."""
    return [task for task in TASK_NAMES if task in tasks] + sorted(set(tasks) - set(TASK_NAMES))


def _task_title(task: str) -> str:
    return BY_NAME[task].title if task in BY_NAME else task


def _letter(task: str) -> str:
    return BY_NAME[task].letter if task in BY_NAME else task[:1]


def _signed(percent: float) -> str:
    """With a real minus sign, which is as wide as a plus."""
    return f"{percent:+.1f}".replace("-", "−")


def _time(seconds: float) -> str:
    """
    >>> _time(40), _time(1500), _time(9000)
    ('40 s', '25 min', '2.5 h')
    """
    return (
        f"{seconds:.0f} s"
        if seconds < 120
        else f"{seconds / 60:.0f} min"
        if seconds < 5400
        else f"{seconds / 3600:.1f} h"
    )


def _described(system: Mapping[str, Any]) -> str:
    return "; ".join(f"{key}: {_value(value)}" for key, value in (system.get("describe") or {}).items())


def _value(value: object) -> str:
    if isinstance(value, Mapping):
        return "(" + ", ".join(f"{key} {_value(inner)}" for key, inner in value.items()) + ")"
    if isinstance(value, (list, tuple)):
        return ", ".join(_value(inner) for inner in value)
    if isinstance(value, int) and abs(value) >= 10_000:
        return f"{value:,}"
    return f"{value:g}" if isinstance(value, float) else str(value)
