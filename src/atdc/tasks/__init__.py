"""Tasks: the rows of one table, and what follows from them for all. Torch-free, so that readers of graphs and headers
stay light."""

from __future__ import annotations

from atdc.tasks.taskonomy import BY_NAME as BY_NAME
from atdc.tasks.taskonomy import CLASSES as CLASSES
from atdc.tasks.taskonomy import IGNORE_CLASS as IGNORE_CLASS
from atdc.tasks.taskonomy import LETTERS as LETTERS
from atdc.tasks.taskonomy import TASK_NAMES as TASK_NAMES
from atdc.tasks.taskonomy import TASKS as TASKS
from atdc.tasks.taskonomy import TaskSpec as TaskSpec
