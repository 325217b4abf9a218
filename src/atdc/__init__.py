"""ATDC: the codec for what machines look at.

>>> import atdc
>>> codec = atdc.load("real")

Names are imported on first use, so that ``import atdc`` alone stays light.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from atdc.errors import AtdcError as AtdcError
from atdc.graph.task_graph import TaskGraph as TaskGraph
from atdc.tasks import TASKS as TASKS
from atdc.tasks import TaskSpec as TaskSpec

if TYPE_CHECKING:
    from atdc.codec import FeatureCodec as FeatureCodec
    from atdc.pipeline import Codec as Codec
    from atdc.pipeline import load as load

__version__ = "0.1.0"
__all__ = ["TASKS", "AtdcError", "Codec", "FeatureCodec", "TaskGraph", "TaskSpec", "__version__", "load"]

_LATE = {"FeatureCodec": "atdc.codec", "Codec": "atdc.pipeline", "load": "atdc.pipeline"}


def __getattr__(name: str) -> Any:
    if name in _LATE:
        return getattr(importlib.import_module(_LATE[name]), name)
    raise AttributeError(f"module 'atdc' has no attribute {name!r}")
