"""A folder of golden files: weights without networks, files, and what the files say."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from atdc.reader import IntegerReader
from atdc.weights import open_weights

GOLDEN = Path(__file__).parent / "golden"


@dataclass(frozen=True)
class GoldenFolder:
    """One of them; see ``make_golden.py`` in it."""

    path: Path

    @cached_property
    def headers(self) -> dict[str, dict[str, Any]]:
        """What each file's header says, by the file's name."""
        return json.loads((self.path / "expected.json").read_text(encoding="utf-8"))

    @cached_property
    def reader(self) -> IntegerReader:
        return open_weights(self.path / "tiny.safetensors").integers()

    @cached_property
    def _latents(self) -> dict[str, np.ndarray]:
        with np.load(self.path / "expected.npz") as file:
            return dict(file)

    def data(self, name: str) -> bytes:
        return (self.path / f"{name}.atdc").read_bytes()

    def latents(self, name: str) -> dict[int, np.ndarray]:
        """The integers that a file decodes to, by tensor."""
        keys = (key.rpartition(".") for key in self._latents)
        return {int(tensor): self._latents[f"{name}.{tensor}"] for file, _, tensor in keys if file == name}

    def require_all_known(self) -> None:
        """Every file, and no other, has a header and the integers of some tensor."""
        files = {path.stem for path in self.path.glob("*.atdc")}
        assert files == set(self.headers) == {key.rpartition(".")[0] for key in self._latents}
