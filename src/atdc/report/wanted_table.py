"""Files of wanted tasks on the page: a table of named sets, and a row of ticks that tells of every set.

The ticks are there where scripts run, the table everywhere. All words are written here; a script only shows those of
what is ticked.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from atdc.report.templates import rendered
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
    words = _words_of_sets(by_tasks, whole) if len(by_tasks) == 2 ** len(TASK_NAMES) - 1 else []
    return rendered(
        "atdc.report", "wanted_table.html", words=words and json.dumps(words, ensure_ascii=False),
        all_words=words and words[-1], tasks=TASK_NAMES, titles=_titles, whole=whole, images=images, percent=_percent,
        files={words: by_tasks[tasks] for tasks, words in NAMED_SETS.items() if tasks in by_tasks},
    )  # fmt: skip


def _words_of_sets(by_tasks: Mapping[tuple[str, ...], WantedFile], whole: int) -> list[str]:
    """Of each set, at the place that is the sum of its tasks' bits: the checkboxes' values."""
    words = ["Nothing is ticked, and nothing sent."] + [""] * len(by_tasks)
    for tasks, file in by_tasks.items():
        words[sum(1 << TASK_NAMES.index(task) for task in tasks)] = _words(file, whole)
    return words


def _words(file: WantedFile, whole: int) -> str:
    helpers = f", {_titles(file.helpers)} sent to help among them" if file.helpers else ""
    return f"{file.size_bytes:,} bytes{helpers}: {_percent(file.size_bytes, whole)} of the file of all."


def _percent(size: int, whole: int) -> str:
    """A share.

    >>> _percent(1, 3)
    '33 %'
    """
    return f"{100 * size / whole:.0f} %"
