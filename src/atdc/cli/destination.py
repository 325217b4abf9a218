"""Where the outputs of a command go, and what becomes of those that are there already."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Literal

from atdc.cli.batch import Report
from atdc.cli.inputs import Item
from atdc.files import make_folder, write_bytes_unless_others

SUFFIX = ".atdc"


class Existing(Enum):
    """What to do where an output is there already."""

    REFUSE = "refuse"
    SKIP = "skip"
    REPLACE = "replace"


@dataclass(frozen=True, slots=True)
class Destination:
    """Where outputs go: below a folder, to the one file of that name, or to standard output."""

    kind: Literal["folder", "file", "stream"]
    path: Path
    existing: Existing

    @property
    def replaces(self) -> bool:
        """Outputs with other content give way."""
        return self.existing is Existing.REPLACE

    def prepare(self) -> None:
        """Makes the folder that outputs go to.

        Raises:
            OutputError: it cannot be made.
        """
        if self.kind != "stream":
            make_folder(self.path.parent if self.kind == "file" else self.path)

    def of(self, item: Item, suffix: str) -> Path:
        """The path of an input's output, a file or a folder."""
        return Path(f"{self.path / item.place}{suffix}") if self.kind == "folder" else self.path

    def is_done(self, *targets: Path) -> bool:
        """All outputs of an input are there, and those that are there are to be left."""
        return self.existing is Existing.SKIP and self.kind != "stream" and all(map(os.path.isfile, targets))

    def write(self, target: Path, data: bytes) -> tuple[str, bytes | None]:
        """Writes an output; where it is, in words, and what is left to be sent to standard output.

        Raises:
            OutputError: it cannot be written, or another file is there.
        """
        if self.kind == "stream":
            return "standard output", data
        make_folder(target.parent)
        write_bytes_unless_others(target, data, replace=self.replaces)
        return str(target), None


def there_before(item: Item, *targets: Path) -> Report:
    """Of an input that is left out."""
    return Report(f"{item.name} → {first_to_last(targets)}  there before", skipped=True)


def first_to_last(targets: Sequence[Path]) -> str:
    """Paths of outputs, in words."""
    return str(targets[0]) if len(targets) == 1 else f"{targets[0]} … {targets[-1].name}"
