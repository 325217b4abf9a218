"""What works on one input, whatever the command: opening it, the codecs that it takes, and where its output goes."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from atdc.bitstream import sources
from atdc.bitstream.sources import is_url
from atdc.cli.batch import Report
from atdc.cli.inputs import Item
from atdc.errors import ArgumentError
from atdc.files import make_folder, write_bytes_unless_others

if TYPE_CHECKING:
    from atdc.adapters.network_codec import NetworkCodec
    from atdc.bitstream.sources import Source
    from atdc.codec import FeatureCodec
    from atdc.pipeline import Codec

SUFFIX = ".atdc"
FILE_LIMIT_BYTES = 256 * 2**20
"""A larger file is not read: no image that this package accepts needs as much."""


class Existing(Enum):
    """What to do where an output is there already."""

    REFUSE = "refuse"
    SKIP = "skip"
    REPLACE = "replace"


def tensor_names(model: str) -> tuple[str, ...]:
    """What weights code.

    Raises:
        WeightsError: no such weights, or a damaged file.
    """
    from atdc.weights import open_weights

    return open_weights(model).task_names


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


def is_features(path: Path) -> bool:
    """Whether a file holds features, by its name."""
    from atdc.data.dumped import SUFFIXES

    return path.suffix.lower() in SUFFIXES


@cache
def codes_images(model: str) -> bool:
    """Whether weights have networks that make features of images, and answers of features.

    Raises:
        WeightsError: no such weights, or a damaged file.
    """
    from atdc.weights import open_weights

    return bool(open_weights(model).arrays("tasks."))


def there_before(item: Item, *targets: Path) -> Report:
    """Of an input that is left out."""
    return Report(f"{item.name} → {first_to_last(targets)}  there before", skipped=True)


def first_to_last(targets: Sequence[Path]) -> str:
    return str(targets[0]) if len(targets) == 1 else f"{targets[0]} … {targets[-1].name}"


@contextmanager
def opened(item: Item) -> Iterator[Source]:
    """A file to be read by range, on the disk or on a server."""
    with sources.opened(item.name if is_url(item.name) else item.path) as source:
        if source.size() > FILE_LIMIT_BYTES:
            limit = f"at most {FILE_LIMIT_BYTES:,} bytes"
            raise ArgumentError(item.name, f"{source.size():,} bytes", limit, "Check the path.")
        yield source


def load_codecs(model: str, device: str) -> tuple[Codec | None, FeatureCodec]:
    """The codec of images, None where the weights have no networks for them, and that of their features."""
    from atdc import pipeline
    from atdc.codec import FeatureCodec

    if not codes_images(model):
        return None, FeatureCodec.load(model).to(device)
    codec = pipeline.load(model).to(device)
    return codec, codec.feature_codec


def cut_networks(networks: str, features: FeatureCodec, model: str) -> NetworkCodec:
    """Networks with the codec of their features."""
    from atdc.adapters.network_codec import NetworkCodec
    from atdc.adapters.network_set import load_networks

    return NetworkCodec(load_networks(networks), features, f"weights {model}")
