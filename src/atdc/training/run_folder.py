"""The folder of one training run: settings, versions, checkpoints, logs, stage times."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import os
import platform
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from atdc.errors import ArgumentError, DataError, OutputError, WeightsError
from atdc.files import reason_of, write_bytes_atomically
from atdc.training import processes

if sys.platform != "win32":  # which has other locks, and goes without
    import fcntl

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


class RunFolder:
    """Everything a run keeps on disk. Opening a folder that belongs to another recipe is refused.

    Args:
        path: of the folder.
        recipe: a dataclass of all settings of the training.

    Raises:
        ArgumentError: the folder was made by a recipe with other settings.
    """

    def __init__(self, path: Path, recipe: DataclassInstance) -> None:
        self.path = path
        processes.join()
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ArgumentError(str(path), reason_of(error), "a folder that can be written") from error
        settings = dataclasses.asdict(recipe)
        recipe_file = path / "recipe.json"
        if recipe_file.exists():
            new_settings = json.loads(json.dumps(settings))
            old_settings = _completed(self.read_json("recipe.json", {}), recipe)
            if old_settings != new_settings:
                raise ArgumentError(
                    str(recipe_file), f"a run with other settings of {', '.join(_changed(old_settings, new_settings))}",
                    "the same recipe", "pass another --run folder, or delete this one",
                )  # fmt: skip
        else:
            self.write_json("recipe.json", settings)
            versions = {"python": platform.python_version(), "torch": torch.__version__, "machine": platform.machine()}
            self.write_json("versions.json", versions)
        processes.wait()

    @contextlib.contextmanager
    def claimed(self) -> Iterator[None]:
        """Inside, this process alone trains in the folder; others may look into it.

        Raises:
            ArgumentError: another process trains in it.
        """
        key = (os.getpid(), os.path.realpath(self.path))
        if sys.platform == "win32" or key in _claims or not processes.is_first():
            yield
            return
        try:
            lock = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            cure = "Pass another --run folder."
            raise OutputError(str(self.path), reason_of(error), "a folder that can be written", cure) from error
        try:
            with contextlib.suppress(OSError):  # a place that knows no locks
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError as error:
                    raise ArgumentError(
                        str(self.path), "a training that another process is at", "a folder that nobody trains in",
                        "Wait for its end, or pass another --run folder.",
                    ) from error  # fmt: skip
            _claims.add(key)
            yield
        finally:
            _claims.discard(key)
            os.close(lock)

    def write_json(self, name: str, value: Any) -> None:
        """Writes atomically: a kill leaves the old file or the new one. Of several processes the first alone writes."""
        if not processes.is_first():
            return
        write_bytes_atomically(self.path / name, (json.dumps(value, indent=1) + "\n").encode())

    def read_json(self, name: str, default: Any) -> Any:
        """The value written before under this name, or the default.

        Raises:
            DataError: the file is damaged.
        """
        path = self.path / name
        if not path.exists():
            return default
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            cure = "Delete the run folder, or pass another one with --run."
            raise DataError(str(path), f"a damaged file ({error})", "what training wrote", cure) from error

    def changes(self, name: str, settings: dict[str, Any]) -> dict[str, Any]:
        """What a run was begun with where that is not what it has now, by key; what it has is kept if nothing is."""
        record: dict[str, Any] = self.read_json(name, settings)
        if record == settings:
            self.write_json(name, settings)
        alike = {key for key in record.keys() & settings.keys() if record[key] == settings[key]}
        return {key: record.get(key) for key in {**settings, **record} if key not in alike}

    def require_same(self, settings: dict[str, Any]) -> None:
        """Refuses to resume a run that was begun with anything else than it has now, see :meth:`changes`.

        Raises:
            ArgumentError: it was; what has changed is named.
        """
        for key, value in self.changes("course.json", settings).items():
            raise ArgumentError(
                str(self.path), f"a run with other {key} ({value})", f"{settings.get(key)}",
                "Pass another --run folder, or delete this one.",
            )  # fmt: skip

    def save(self, name: str, state: dict[str, Any]) -> None:
        """Saves tensors and plain values atomically as ``name.pt``; likewise."""
        if not processes.is_first():
            return
        content = io.BytesIO()
        torch.save(state, content)
        write_bytes_atomically(self.path / f"{name}.pt", content.getbuffer())

    def load(self, name: str) -> dict[str, Any] | None:
        """What :meth:`save` wrote, or None; raises :class:`WeightsError` when the file is damaged."""
        path = self.path / f"{name}.pt"
        if not path.exists():
            return None
        try:
            state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # torch raises many kinds for a damaged file
            raise WeightsError(str(path), f"a damaged checkpoint ({error})", "a checkpoint", "delete it") from error
        return state

    def add_time(self, stage: str, seconds: float) -> None:
        """Adds to the seconds spent in a stage, over all resumes."""
        times = self.read_json("times.json", {})
        times[stage] = round(times.get(stage, 0.0) + seconds, 1)
        self.write_json("times.json", times)


_claims: set[tuple[int, str]] = set()
"""Processes and the run folders that they train in: a child that was forked is another process."""


def _changed(old_settings: dict[str, Any], new_settings: dict[str, Any]) -> list[str]:
    """The settings that differ, with the path of each.

    >>> _changed({"a": 1, "b": {"c": 2, "d": 3}}, {"a": 1, "b": {"c": 4, "d": 3}, "e": 5})
    ['b.c', 'e']
    """
    paths = []
    for key in {**new_settings, **old_settings}:
        first, second = old_settings.get(key), new_settings.get(key)
        if isinstance(first, dict) and isinstance(second, dict):
            paths += [f"{key}.{inner}" for inner in _changed(first, second)]
        elif first != second:
            paths.append(key)
    return paths


def _completed(old_settings: dict[str, Any], recipe: DataclassInstance) -> dict[str, Any]:
    """Stored settings of a run that may be older than some of them: those had what is now their default."""
    whole = dict(old_settings)
    for setting in dataclasses.fields(recipe):
        value = getattr(recipe, setting.name)
        if setting.name not in old_settings:
            factory = setting.default_factory
            default = factory() if factory is not dataclasses.MISSING else setting.default
            if default is not dataclasses.MISSING:
                whole[setting.name] = json.loads(json.dumps(default, default=dataclasses.asdict))
        elif (
            dataclasses.is_dataclass(value)
            and not isinstance(value, type)
            and isinstance(old_settings[setting.name], dict)
        ):
            whole[setting.name] = _completed(old_settings[setting.name], value)
    return whole
