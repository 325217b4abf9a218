"""The page of the comparison: one self-contained HTML file, drawn from the comparison's result and from nothing else.

It shows utility over rate for all tasks together and for each, utility as tasks are added one by one, bytes at equal
answers, what each system is and how long it was trained, who is missing and why, and answers at equal bytes. It needs
no script, no network and no plotting library, and is read as well by a reader who sees no colours: families differ in
dash and shape, systems of a family in colour and filling.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from importlib import resources
from string import Template
from typing import Any

from atdc.errors import DataError
from atdc.tasks import BY_NAME, TASK_NAMES, short_title
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
        sections = _sections(result)
        template = Template(
            resources.files("atdc_bench.report").joinpath("comparison.html").read_text(encoding="utf-8")
        )
        measured = sum(bool(system["points"]) for system in result["systems"].values())
        return template.substitute(
            headline=f"{measured} systems at equal answers" if measured != 1 else "One system",
            what=escape(result["what"]),
            contents="".join(f'<a href="#{key}">{title}</a>' for key, title, _ in sections),
            sections="\n".join(
                f'<section id="{key}"><h2>{title}</h2>{content}</section>' for key, title, content in sections
            ),
            provenance=_provenance(result["provenance"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        said = f"{type(error).__name__}: {error}"
        raise DataError("comparison", said, "a result of the comparison", "make it again") from error


def styles_of(systems: Mapping[str, Mapping[str, Any]]) -> dict[str, Style]:
    """How each system is drawn, families in order: the family's dash, and colour, filling and shape by its place in it.

    >>> styles = styles_of({"jpeg": {"family": "pixels"}, "atdc": {"family": "features"}})
    >>> list(styles), styles["jpeg"].shape, styles["atdc"].dash
    (['atdc', 'jpeg'], 'square', '')
    """
    styles = {}
    for number, (family, (_, dash, shapes)) in enumerate(FAMILIES.items()):
        own = [name for name, system in systems.items() if system["family"] == family]
        for place, name in enumerate(own):
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


def steps_of(system: Mapping[str, Any]) -> int | None:
    """Steps a system was trained for here, or None for one that was not.

    >>> steps_of({"trained": {"steps_run": 100}}), steps_of({"describe": {"training": {"steps": 2000}}}), steps_of({})
    (100, 2000, None)
    """
    if trained := system.get("trained"):
        return int(trained["steps_run"])
    training = (system.get("describe") or {}).get("training")
    return None if training is None else int(training["steps"])


def is_finished(system: Mapping[str, Any]) -> bool:
    """Whether a system was trained to the end, or needs no training: only then is there a verdict on it.

    Learned image codecs keep no curve of their training, so whether they still improved is not known.

    >>> is_finished({"trained": None}), is_finished({"describe": {"training": {"steps": 2000}}})
    (True, False)
    """
    trained = system.get("trained")
    return not trained["undertrained"] if trained else steps_of(system) is None


def _sections(result: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Identifier, title and content of what there is to show."""
    systems = result["systems"]
    styles = styles_of(systems)
    measured = {name: systems[name] for name in styles if systems[name]["points"]}
    sections = []
    if measured:
        sections.append(("together", "All tasks together", _together(measured, styles)))
        sections.append(("tasks", "Task by task", _by_task(measured, styles)))
    if added := {name: systems[name] for name in styles if systems[name].get("cumulative")}:
        sections.append(("added", "As tasks are added", _as_added(added, styles)))
    if rates := result.get("bd_rates"):
        sections.append(("rates", "Bytes at equal answers", _rates(rates, systems, list(styles))))
    sections.append(("systems", "Systems and training", _systems_table(systems, list(styles))))
    if reasons := {name: systems[name]["missing"] for name in styles if systems[name].get("missing")}:
        rows = "".join(f"<dt>{_title(systems, name)}</dt><dd>{escape(why)}</dd>" for name, why in reasons.items())
        sections.append(("missing", "Not measured here", f"<dl>{rows}</dl>"))
    if images := result.get("pictures"):
        sections.append(("pictures", "Answers at equal bytes", _images(images, systems)))
    return sections


# --- curves ----------------------------------------------------------------------------------------------------------


def _together(measured: Mapping[str, Any], styles: Mapping[str, Style]) -> str:
    curves = [_curve(system, styles[name], None) for name, system in measured.items()]
    caption = (
        "Utility U6, the mean over all six tasks, not clipped: 0 for answers from channel means, 1 for answers from "
        "uncompressed features. "
        "Bytes of whole files, mean over images." + _cut(curves)
    )
    chart = line_chart(
        curves[::-1], width=880, height=520, rate_label="bytes per image", value_label="utility U6", guide=_GUIDE
    )
    return f'<figure class="beside">{chart}{_legend(measured, styles)}</figure><p class="soft">{caption}</p>'


def _by_task(measured: Mapping[str, Any], styles: Mapping[str, Style]) -> str:
    panels, every = [], []
    for task in _tasks_of(measured):
        curves = [_curve(system, styles[name], task) for name, system in measured.items()]
        every += curves
        chart = line_chart(
            curves[::-1], width=400, height=300, rate_label="bytes per image, all tasks", value_label="utility",
            guide=_GUIDE,
        )  # fmt: skip
        panels.append(f"<div><h3>{_task_title(task)}</h3>{chart}</div>")
    return (
        f'<figure class="across"><div class="panels">{"".join(panels)}</div>{_legend(measured, styles)}'
        f"<figcaption>Every panel has its own upright axis.{_cut(every)}</figcaption></figure>"
    )


def _as_added(added: Mapping[str, Any], styles: Mapping[str, Style]) -> str:
    curves = []
    for name, system in added.items():
        points, before = [], 0
        for step in system["cumulative"]:
            tasks = step["tasks"]
            new = tasks[before:]
            letter = _letter(new[0]) if len(new) == 1 else str(len(new))
            words = ", ".join(_short(task) for task in new)
            note = f"{system['title']}: + {words}: {step['bytes']:,.0f} bytes, utility {step['utility']:.3f}"
            points.append(Point(float(step["bytes"]), float(step["utility"]), note, letter))
            before = len(tasks)
        curves.append(Curve(system["title"], styles[name], tuple(points)))
    high = max(point.value for curve in curves for point in curve.points)
    chart = line_chart(
        curves[::-1], width=880, height=520, rate_label="bytes per image so far", value_label="utility so far",
        guide=_GUIDE if high < 2 else (high, "all tasks"),
    )  # fmt: skip
    letters = ", ".join(f"{_letter(task)} {_short(task)}" for task in _added_tasks(added))
    caption = (
        f"Each point is one task more, in the order in which the system sends them: {letters}. A number says how many "
        "tasks come at once: whoever sends an image sends all of them together." + _cut(curves)
    )
    return f'<figure class="beside">{chart}{_legend(added, styles)}</figure><p class="soft">{escape(caption)}</p>'


def _curve(system: Mapping[str, Any], style: Style, task: str | None) -> Curve:
    points = []
    for row in sorted(system["points"], key=lambda row: float(row["bytes_mean"])):
        if task is not None and task not in row["tasks"]:
            continue
        value = float(row["utility"] if task is None else row["tasks"][task]["utility"])
        note = f"{system['title']}, {row['point']:g}: {row['bytes_mean']:,.0f} bytes, utility {value:.3f}"
        points.append(Point(float(row["bytes_mean"]), value, note))
    return Curve(system["title"], style, tuple(points))


def _cut(curves: Sequence[Curve]) -> str:
    """A sentence for the caption when the image leaves something out."""
    values = [point.value for curve in curves for point in curve.points]
    return (
        " Points far below 0, where answers are worse than from no features at all, are cut off."
        if value_range(values)[0] > min(values)
        else ""
    )


def _legend(systems: Mapping[str, Any], styles: Mapping[str, Style]) -> str:
    parts = []
    for family, (words, _, _) in FAMILIES.items():
        own = [name for name in systems if systems[name]["family"] == family]
        if own:
            entries = "".join(
                f'<li data-system="{escape(name)}">{sample(styles[name])}<span>{_title(systems, name)}</span></li>'
                for name in own
            )
            parts.append(f"<section><b>{words}</b><ul>{entries}</ul></section>")
    return f'<div class="legend">{"".join(parts)}</div>'


# --- tables ----------------------------------------------------------------------------------------------------------


def _rates(rates: Sequence[Mapping[str, Any]], systems: Mapping[str, Any], order: Sequence[str]) -> str:
    overs = [over for over in ("U", *TASK_NAMES) if any(row["over"] == over for row in rates)]
    overs += [row["over"] for row in rates if row["over"] not in overs]
    parts = [
        "<p>How many more or fewer bytes a system needs for the same utility than the reference above the column: the "
        "BD-rate, with a 95 % bootstrap interval over images. Blue: fewer, orange: more, the interval being clear of 0 "
        "and both trained to the end. ¹ a curve needed a monotone fit. "
        '<abbr title="point at one to read why">refused</abbr>: the curves cannot be compared.</p>'
    ]
    for over in dict.fromkeys(overs):
        rows = [row for row in rates if row["over"] == over]
        table = _rate_table(rows, systems, order)
        words = "all six tasks, at equal U6" if over == "U" else f"{_task_title(over)}, at equal utility of this task"
        is_open = ' open="open"' if over == overs[0] else ""
        parts.append(f'<details{is_open}><summary>{words}</summary><div class="scroll">{table}</div></details>')
    return "".join(parts)


def _rate_table(rows: Sequence[Mapping[str, Any]], systems: Mapping[str, Any], order: Sequence[str]) -> str:
    references = list(dict.fromkeys(row["reference"] for row in rows))
    cells = {(row["system"], row["reference"]): row for row in rows}
    own = {row["system"] for row in rows}
    names = [name for name in order if name in own] + sorted(own - set(order))
    finished = {name for name in {*own, *references} if not _undertrained(systems.get(name, {}))}
    head = "".join(f'<th scope="col">against <br/>{_title(systems, reference)}</th>' for reference in references)
    body = "".join(
        f'<tr><th scope="row">{_title(systems, name)}{_undertrained(systems.get(name, {}))}</th>'
        + "".join(
            _rate_cell(cells.get((name, reference)), name == reference, name in finished and reference in finished)
            for reference in references
        )
        + "</tr>"
        for name in names
    )
    return f'<table><thead><tr><th scope="col">system</th>{head}</tr></thead><tbody>{body}</tbody></table>'


def _rate_cell(row: Mapping[str, Any] | None, is_reference: bool, both_finished: bool) -> str:
    if row is None:
        return '<td class="own">reference</td>' if is_reference else "<td>–</td>"
    if "refused" in row:
        return f'<td><span title="{escape(row["refused"])}">refused</span></td>'
    percent, low, high = float(row["percent"]), row["low"], row["high"]
    interval = "no interval" if low is None or high is None else f"{_signed(low)} … {_signed(high)}"
    if row["resamples_refused"]:
        interval += f" of {row['resamples'] - row['resamples_refused']}/{row['resamples']}"
    mark = "" if row["monotone"] else "¹"
    kind = ""
    if low is not None and high is not None and both_finished:  # a colour is a verdict
        kind = " fewer" if high < 0 else " more" if low > 0 else ""
    return f'<td class="number{kind}">{_signed(percent)} %{mark}<small>{interval}</small></td>'


def _systems_table(systems: Mapping[str, Any], order: Sequence[str]) -> str:
    parts = []
    for family, (words, _, _) in FAMILIES.items():
        own = [name for name in order if systems[name]["family"] == family]
        if own:
            parts.append(f'<tr class="group"><th colspan="5" scope="rowgroup">{words}</th></tr>')
            parts += [_system_row(systems, name) for name in own]
    return (
        '<div class="scroll"><table class="words"><thead><tr><th scope="col">system</th><th scope="col">images</th>'
        '<th scope="col">trained here</th><th scope="col">started from</th><th scope="col">what it is</th></tr></thead>'
        f"<tbody>{''.join(parts)}</tbody></table></div>"
    )


def _system_row(systems: Mapping[str, Any], name: str) -> str:
    system = systems[name]
    trained, steps = system.get("trained"), steps_of(system)
    budget, start = "–" if steps is None else f"{steps:,} steps", "–"
    if trained:
        budget = f"{trained['steps']:,} steps, {_time(float(trained['seconds']))}"
        start = escape(str(trained["start"]))
    described = "; ".join(f"{key}: {_value(value)}" for key, value in (system.get("describe") or {}).items())
    images = f"{system['images']:,}" if system["points"] else "–"
    return (
        f'<tr><th scope="row">{_title(systems, name)}</th><td class="number">{images}</td>'
        f"<td>{budget}{_undertrained(system)}</td><td>{start}</td><td>{escape(described) or '–'}</td></tr>"
    )


def _undertrained(system: Mapping[str, Any]) -> str:
    if is_finished(system):
        return ""
    why = "it was still improving when training ended, or nobody knows: no verdict"
    return f' <span class="pill" title="{why}">undertrained</span>'


def _provenance(provenance: Mapping[str, Any]) -> str:
    """The command, the commit and the machine, as far as they are known."""
    machine = provenance.get("machine") or {}
    facts = {
        "command": provenance.get("command"),
        "date": provenance.get("date"),
        "commit": provenance.get("commit"),
        "seed": provenance.get("seed"),
        "weights": provenance.get("weights"),
        "machine": machine.get("cpu"),
        "threads": machine.get("threads"),
    }
    known = [f"{key} <code>{escape(str(value))}</code>" for key, value in facts.items() if value is not None]
    return " · ".join(known) or "Nothing is recorded of where this result comes from."


# --- images --------------------------------------------------------------------------------------------------------


def _images(images: Sequence[Mapping[str, Any]], systems: Mapping[str, Any]) -> str:
    parts = ["<p>What a receiver makes of files as close to the same number of bytes as each system comes.</p>"]
    for image in images:
        shown = {task for row in image["rows"] for task in row["answers"]}
        tasks = _ordered(list(shown))
        head = "".join(f'<th scope="col">{escape(_short(task))}</th>' for task in tasks)
        body = "".join(
            f'<tr><th scope="row">{_title(systems, row["system"])}<small>{row["bytes"]:,} bytes</small></th>'
            + "".join(f"<td>{_answer(row, task, systems)}</td>" for task in tasks)
            + "</tr>"
            for row in image["rows"]
        )
        parts.append(
            f"<h3>Image {image['image']}, about {image['bytes']:,} bytes</h3>"
            f'<div class="scroll"><table class="answers"><thead><tr><th scope="col">system</th>{head}</tr></thead>'
            f"<tbody>{body}</tbody></table></div>"
        )
    return "".join(parts)


def _answer(row: Mapping[str, Any], task: str, systems: Mapping[str, Any]) -> str:
    if task not in row["answers"]:
        return "–"
    uri = row["answers"][task]
    if not uri.startswith("data:image/"):
        raise ValueError(f"the image of {task} by {row['system']} is not a data URI")
    words = f"{_short(task)} by {systems.get(row['system'], {}).get('title', row['system'])}"
    return f'<img src="{escape(uri)}" alt="{escape(words)}"/>'


# --- words -----------------------------------------------------------------------------------------------------------


def _tasks_of(measured: Mapping[str, Any]) -> list[str]:
    found = [task for system in measured.values() for row in system["points"] for task in row["tasks"]]
    return _ordered(found)


def _added_tasks(added: Mapping[str, Any]) -> list[str]:
    return _ordered([task for system in added.values() for step in system["cumulative"] for task in step["tasks"]])


def _ordered(tasks: Sequence[str]) -> list[str]:
    """Each task once, known ones in the order of their indices."""
    return [task for task in TASK_NAMES if task in tasks] + sorted(set(tasks) - set(TASK_NAMES))


def _title(systems: Mapping[str, Any], name: str) -> str:
    return escape(systems[name]["title"] if name in systems else name)


def _task_title(task: str) -> str:
    return escape(BY_NAME[task].title if task in BY_NAME else task)


def _short(task: str) -> str:
    return short_title(task)


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


def _value(value: object) -> str:
    if isinstance(value, Mapping):
        return "(" + ", ".join(f"{key} {_value(inner)}" for key, inner in value.items()) + ")"
    if isinstance(value, (list, tuple)):
        return ", ".join(_value(inner) for inner in value)
    if isinstance(value, int) and abs(value) >= 10_000:
        return f"{value:,}"
    return f"{value:g}" if isinstance(value, float) else str(value)
