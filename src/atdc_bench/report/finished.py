"""How long a system was trained, and whether that is known to be enough for a verdict on it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def steps_of(system: Mapping[str, Any]) -> int | None:
    """Steps a system was trained for here, or None for one that was not.

    >>> steps_of({"trained": {"steps_run": 100}}), steps_of({"describe": {"training": {"steps": 2000}}}), steps_of({})
    (100, 2000, None)
    """
    if record := system.get("trained"):
        return int(record["steps_run"])
    training = (system.get("describe") or {}).get("training")
    return None if training is None else int(training["steps"])


def is_finished(system: Mapping[str, Any]) -> bool:
    """Whether a system was trained to the end, or needs no training: only then is there a verdict on it.

    Learned image codecs keep no curve of their training, so whether they still improved is not known.

    >>> is_finished({"trained": None}), is_finished({"describe": {"training": {"steps": 2000}}})
    (True, False)
    """
    record = system.get("trained")
    return not record["undertrained"] if record else steps_of(system) is None
