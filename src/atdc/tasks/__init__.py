"""Tasks: the rows of one table, and what follows from them for all.

A task is a row (:class:`Task`), the six of Taskonomy are six rows (:mod:`atdc.tasks.taskonomy`), and nothing else in
the code knows one of them by name. This module does not import torch, so that readers of graphs and headers stay light.
"""

from __future__ import annotations

from atdc.errors import ArgumentError
from atdc.tasks.task import Task as Task
from atdc.tasks.taskonomy import CLASSES as CLASSES
from atdc.tasks.taskonomy import IGNORE_CLASS as IGNORE_CLASS
from atdc.tasks.taskonomy import PAPER_ORDER as PAPER_ORDER
from atdc.tasks.taskonomy import SEMANTICS_TO_SIGNAL as SEMANTICS_TO_SIGNAL
from atdc.tasks.taskonomy import TASKS as TASKS

TaskSpec = Task
"""The name under which ``atdc.TaskSpec`` has always been there."""

TASK_NAMES: tuple[str, ...] = tuple(task.name for task in TASKS)
TENSOR_NAMES: tuple[str, ...] = tuple(task.reads for task in TASKS)
"""Of the feature tensors that the tasks read, in order: what the codec of a model codes."""
LETTERS: str = "".join(task.letter for task in TASKS)
BY_NAME: dict[str, Task] = {task.name: task for task in TASKS}

for _column in (TASK_NAMES, LETTERS):
    if len(set(_column)) < len(TASKS):
        raise ArgumentError("table of tasks", ", ".join(_column), "names and letters that differ")

_images = [task.name for task in TASKS if task.target == "image"]
if len(_images) != 1:
    raise ArgumentError("table of tasks", f"{len(_images)} rows whose target is the image", "one")
IMAGE_TASK: str = _images[0]
"""The one task whose answer is the image itself; pixel codecs answer it directly."""


def task_named(name: str) -> Task:
    """The task of that name.

    Raises:
        ArgumentError: an unknown task; the known ones are listed.

    >>> task_named("normal").title
    'surface normals'
    """
    try:
        return BY_NAME[name]
    except KeyError:
        raise ArgumentError("task", repr(name), f"one of {', '.join(TASK_NAMES)}") from None


def short_title(name: str) -> str:
    """Words for a task that fit into a box of the graph; the name itself of what is no task.

    >>> short_title("normal"), short_title("p4")
    ('normals', 'p4')
    """
    return BY_NAME[name].short_title if name in BY_NAME else name
