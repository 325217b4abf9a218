"""Files of wanted tasks on the page: a table of named sets, and a row of ticks that tells of every set.

The ticks are there where scripts run, the table everywhere. All words are written here; a script only shows those of
what is ticked.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from atdc.tasks import IMAGE_TASK, TASK_NAMES, TASKS, short_title
from atdc.tasks.task import Presentation


@dataclass(frozen=True, slots=True)
class WantedFile:
    """A file of some tasks.

    Attributes:
        tasks: those wanted, in their order.
        helpers: tasks that are sent because wanted ones are predicted from them.
        size_bytes: of the file.
    """

    tasks: tuple[str, ...]
    helpers: tuple[str, ...]
    size_bytes: int


def _presented(*kinds: Presentation) -> tuple[str, ...]:
    return tuple(task.name for task in TASKS if task.presentation in kinds)


def _titles(tasks: Sequence[str]) -> str:
    return " + ".join(map(short_title, tasks))


_ANALYSIS = tuple(name for name in TASK_NAMES if name != IMAGE_TASK)
_SCENE = _presented("classes"), _presented("unit_vectors", "metres"), _presented("classes", "unit_vectors", "metres")

NAMED_SETS: dict[tuple[str, ...], str] = {
    **{tasks: _titles(tasks) for tasks in _SCENE},
    _ANALYSIS: f"the {len(_ANALYSIS)} analysis tasks",
    TASK_NAMES: f"all {len(TASK_NAMES)}",
}
"""What the table has rows for."""


def wanted_table(files: Sequence[WantedFile], images: Mapping[str, int]) -> str:
    """HTML: ticks if there is a file of every set of tasks, and the table of the named ones.

    Args:
        files: by set, that of all tasks among them.
        images: bytes of what else the image was sent as, by words for it.

    >>> "919 bytes" in wanted_table([WantedFile(TASK_NAMES, (), 919)], {"a JPEG": 5000})
    True
    """
    by_tasks = {file.tasks: file for file in files}
    whole = by_tasks[TASK_NAMES].size_bytes
    rows = "".join(_row(by_tasks[tasks], words, whole) for tasks, words in NAMED_SETS.items() if tasks in by_tasks)
    ticks = _ticks(by_tasks, whole) if len(by_tasks) == 2 ** len(TASK_NAMES) - 1 else _NO_TICKS
    others = "; ".join(f"{escape(words)}, {size:,} bytes" for words, size in images.items())
    return (
        f'{ticks}<p class="facts">Next to it: the file of all {len(TASK_NAMES)}, {whole:,} bytes; {others}.</p>'
        '<div class="scroll"><table class="detail"><thead><tr><th>wanted</th><th>sent to help</th><th>file</th>'
        f"<th>of the file<br>of all {len(TASK_NAMES)}</th></tr></thead><tbody>{rows}</tbody></table></div>"
    )


_NO_TICKS = '<p class="facts">Of an image of so many pixels, these sets alone were coded.</p>'


def _row(file: WantedFile, words: str, whole: int) -> str:
    helpers = escape(_titles(file.helpers)) or "–"
    return (
        f"<tr><td>{escape(words)}</td><td>{helpers}</td><td>{file.size_bytes:,} B</td>"
        f"<td>{_percent(file.size_bytes, whole)}</td></tr>"
    )


def _ticks(by_tasks: Mapping[tuple[str, ...], WantedFile], whole: int) -> str:
    """A checkbox for each task, worth its bit of the place at which the words of a set stand."""
    words = ["Nothing is ticked, and nothing sent."] + [""] * len(by_tasks)
    for tasks, file in by_tasks.items():
        words[sum(1 << TASK_NAMES.index(task) for task in tasks)] = _words(file, whole)
    boxes = "".join(
        f'<label><input type="checkbox" value="{1 << bit}" autocomplete="off" checked> '
        f"{escape(short_title(task))}</label>"
        for bit, task in enumerate(TASK_NAMES)
    )
    return (
        f'<fieldset class="ticks" data-words="{escape(json.dumps(words, ensure_ascii=False))}" hidden>'
        f"<legend>Tick what is wanted</legend>{boxes}<output>{escape(words[-1])}</output></fieldset>"
    )


def _words(file: WantedFile, whole: int) -> str:
    helpers = f", {_titles(file.helpers)} sent to help among them" if file.helpers else ""
    return f"{file.size_bytes:,} bytes{helpers}: {_percent(file.size_bytes, whole)} of the file of all."


def _percent(size: int, whole: int) -> str:
    """A share.

    >>> _percent(1, 3)
    '33 %'
    """
    return f"{100 * size / whole:.0f} %"
