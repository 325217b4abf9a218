"""Weights files: the one place that reads, writes, checks and finds them. ``docs/weights.md`` specifies them.

A weights file is a safetensors file. Its metadata hold one entry, ``atdc``, a JSON object: ``format``, ``model`` (the
settings of the networks), ``tensors`` (what is coded), ``book`` (graphs and rates) and ``card`` (how it was made). Its
tensors are ``entropy.*``, the integers that decide every bit; ``codec.*``, the networks of the codec; ``feature.*``,
means and standard deviations; and ``tasks.*``, the task networks, where there are any. Nothing here imports torch.
"""

from __future__ import annotations

import glob
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from atdc.bitstream.container import header_of
from atdc.bitstream.sources import Source
from atdc.config import DEFAULT_MODEL, ModelConfig, model_config
from atdc.entropy.model import EntropyModel
from atdc.errors import BitstreamError, WeightsError
from atdc.files import make_folder, read_bytes, require_name, write_bytes_atomically
from atdc.graph.graph_tables import GraphTables
from atdc.reader import IntegerReader
from atdc.tensors import FeatureSet

WEIGHTS_FORMAT = 3
OLDER_FORMAT = 2
"""Whose tensors are alike: it has their names under ``tasks``, and the rest among the settings of the networks."""
ENTROPY_PREFIX = "entropy."
_WEIGHTS_LIMIT = 1 << 30
_SHIPPED = Path(__file__).parent / "shipped"
_REINSTALL = "Fetch the file again; if it came with the package, install that again."
_AGAIN = "Fetch or fit the weights again; if they came with the package, install that again."


@dataclass(frozen=True, slots=True)
class WeightsFile:
    """An opened weights file: what is in it but the networks.

    Attributes:
        path: of the file; where its content was given, what to call it.
        header: the JSON that is kept next to the tensors.
        config: settings of the networks.
        tensors: what is coded.
        graph_tables: the graphs and rates kept with the weights.
        fingerprint: the first four bytes of the file's SHA-256.
        contents: all arrays, by full name.
    """

    path: Path
    header: dict[str, Any]
    config: ModelConfig
    tensors: FeatureSet
    graph_tables: GraphTables
    fingerprint: bytes
    contents: Mapping[str, NDArray[Any]]

    @property
    def task_names(self) -> tuple[str, ...]:
        """Names of the tensors, in index order."""
        return self.tensors.names

    def integers(self) -> IntegerReader:
        """The reader of these weights' files; needs no network and no torch.

        Raises:
            WeightsError: the integers are damaged or missing.
        """
        arrays = self.arrays(ENTROPY_PREFIX)
        config = self.config
        try:
            model = EntropyModel.from_arrays(
                arrays, len(self.tensors), config.factorised, config.padding, config.spatial_context
            )
        except WeightsError as error:
            raise WeightsError(f"{self.path}, {error.where}", error.found, error.expected, error.cure) from error
        if unread := sorted(set(arrays) - set(model.to_arrays())):
            where, problem = f"{self.path}, {ENTROPY_PREFIX}{unread[0]}", "integers that nothing reads"
            raise WeightsError(where, problem, f"those of {len(self.tensors)} tasks", _REINSTALL)
        return IntegerReader(model, self.graph_tables.listed, self.tensors, self.fingerprint)

    def require_agreement(self, model: EntropyModel) -> None:
        """Refuses settings that the integers, which no network reads, do not follow.

        Raises:
            WeightsError: a number of channels or of tables differs.
        """
        counts = [
            ("hyper_channels", self.config.hyper_channels, model.hyper_channels),
            ("scale_count", self.config.scale_count, model.tables.size),
        ]
        for index, tensor in enumerate(self.tensors.tensors):
            counts.append(("latent_channels", tensor.latent_channels, model.latent_channels(index)))
        for name, setting, count in counts:
            if setting != count:
                raise WeightsError(f"{self.path}, model.{name}", str(setting), f"{count}, as its integers have", _AGAIN)

    def arrays(self, prefix: str) -> dict[str, NDArray[Any]]:
        """The arrays whose names begin with a prefix, by the rest of their names."""
        return {key.removeprefix(prefix): array for key, array in self.contents.items() if key.startswith(prefix)}

    def floats(self, prefix: str, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, NDArray[np.float32]]:
        """Arrays of floating-point numbers, as single precision, each checked.

        Args:
            prefix: of their names.
            shapes: by the rest of their names; exactly these must be there.

        Raises:
            WeightsError: one is missing, of another shape, not finite, or not read by anything.
        """
        arrays = self.arrays(prefix)
        for name in sorted(set(arrays) | set(shapes)):
            where = f"{self.path}, {prefix}{name}"
            if name not in shapes:
                raise WeightsError(where, "a tensor that nothing reads", "weights of this model", _AGAIN)
            if name not in arrays:
                raise WeightsError(where, "no such tensor", f"finite numbers of shape {shapes[name]}", _AGAIN)
            array = arrays[name]
            if array.dtype.kind != "f" or array.shape != shapes[name] or not np.isfinite(array).all():
                problem = f"{array.dtype}, shape {array.shape}, or no finite numbers"
                raise WeightsError(where, problem, f"finite numbers of shape {shapes[name]}", _AGAIN)
        return {name: array.astype(np.float32) for name, array in arrays.items()}

    def require_prefixes(self, prefixes: tuple[str, ...]) -> None:
        """Refuses tensors under names that nothing reads.

        Raises:
            WeightsError: there is one.
        """
        for key in self.contents:
            if not key.startswith(prefixes):
                problem, expected = "a tensor that nothing reads", f"names that begin with {', '.join(prefixes)}"
                raise WeightsError(f"{self.path}, {key}", problem, expected, _AGAIN)


def weights_bytes(
    config: Mapping[str, Any], tensors: FeatureSet, graph_tables: GraphTables, card: Mapping[str, Any],
    arrays: Mapping[str, NDArray[Any]],
) -> bytes:  # fmt: skip
    """The content of a weights file.

    Args:
        config: settings of the networks, plain values.
        tensors: what is coded.
        graph_tables: graphs and rates.
        card: how it was made, plain values.
        arrays: everything else, by full name.
    """
    header = {
        "format": WEIGHTS_FORMAT, "model": dict(config), "tensors": tensors.to_json(), "book": graph_tables.to_json(),
        "card": dict(card),
    }  # fmt: skip
    return save({name: np.ascontiguousarray(array) for name, array in arrays.items()}, {"atdc": json.dumps(header)})


def write_weights(path: Path, data: bytes) -> None:
    """Writes a weights file's content, whole or not at all; makes its folder.

    Raises:
        OutputError: the file or its folder cannot be written.
    """
    make_folder(path.parent)
    write_bytes_atomically(path, data)


def writer_of(source: Source | bytes) -> str | None:
    """The weights that wrote a file: the name of shipped ones, or the path of one's own; None if they are not at hand,
    or if it is no whole file.

    Searched are the shipped weights, the file that the environment's ``ATDC_MODEL`` names, and the folder of
    ``.safetensors`` files that it, or ``ATDC_WEIGHTS``, names.
    """
    try:
        fingerprint = header_of(source).fingerprint
    except BitstreamError:
        return None
    for name, file in _weights_at_hand():
        try:
            if _fingerprint_of(file, file.stat().st_mtime_ns) == fingerprint:
                return name
        except (OSError, WeightsError):  # gone since it was listed, or not to be read
            continue
    return None


def _weights_at_hand() -> Iterator[tuple[str, Path]]:
    """Names and files, the shipped ones first."""
    for file in _shipped_files():
        yield file.stem, file
    for variable in ("ATDC_MODEL", "ATDC_WEIGHTS"):
        path = Path(os.environ.get(variable, ""))
        for file in sorted(path.glob("*.safetensors")) if variable in os.environ and os.path.isdir(path) else [path]:
            if file.suffix == ".safetensors" and os.path.isfile(file):
                yield str(file), file


def shipped_cards() -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Names and cards of the shipped weights.

    >>> [name for name, card in shipped_cards() if "networks" in card]
    ['mixed-5', 'pypi-4', 'pyramid-2']
    """
    for file in _shipped_files():
        yield file.stem, open_weights(file).header.get("card", {})


def _shipped_files() -> list[Path]:
    return sorted(_SHIPPED.glob("*.safetensors"))


def default_model() -> str:
    """Weights that images are encoded with where none are named: ``ATDC_MODEL``, unless that is a folder, or the
    shipped default."""
    named = os.environ.get("ATDC_MODEL", "")
    return named if named and not os.path.isdir(named) else DEFAULT_MODEL


@cache
def _fingerprint_of(file: Path, changed_ns: int) -> bytes:
    """Of a file as it was last changed: many files are asked about, and reading weights takes longer than a header."""
    return fingerprint_of(read_bytes(file, _WEIGHTS_LIMIT, error_class=WeightsError))


def fingerprint_of(data: bytes) -> bytes:
    """What files call weights by, of a weights file's content: the first four bytes of its SHA-256."""
    return hashlib.sha256(data).digest()[:4]


def _shipped(name: str) -> Path:
    """The file of shipped weights of that name; a name without a version, `real`, points to the newest, `real-3`.

    Shipped weights stay as they are for ever, as files name them: other ones get another version.
    """
    versions = [path for path in _SHIPPED.glob(f"{glob.escape(name)}-*.safetensors") if _version(path, name)]
    return max(versions, key=lambda path: _version(path, name), default=_SHIPPED / f"{name}.safetensors")


def _version(path: Path, name: str) -> int:
    version = path.stem.removeprefix(f"{name}-")
    return int(version) if version.isascii() and version.isdecimal() else 0


def open_weights(name: str | Path | None = None) -> WeightsFile:
    """Opens shipped weights by name, or a weights file.

    Raises:
        WeightsError: no such weights, or a damaged or foreign file.
    """
    name = default_model() if name is None else name
    if not isinstance(name, (str, Path)):
        raise WeightsError("model", repr(name), "a name or a path, as a string", "See `help(atdc.load)`.")
    require_name(name, WeightsError)
    path = Path(name)
    if path.suffix != ".safetensors":
        is_name = path.name == str(name)  # and no path, which would not be looked for among shipped ones
        if is_name:
            path = _shipped(str(name))
        if not is_name or not path.exists():
            shipped = ", ".join(file.stem for file in _shipped_files()) or "none"
            expected = f"shipped weights ({shipped}) or a .safetensors file"
            if os.path.exists(name):
                kind = "a folder" if os.path.isdir(name) else "a file of another kind, by its name"
                raise WeightsError(str(name), kind, expected, "Name the file that `atdc fit` or `atdc train` wrote.")
            guess = f"{name}.safetensors"
            cure = (
                f"Did you mean {guess}?" if os.path.isfile(guess) else "See `atdc fit --help` and `atdc train --help`."
            )
            raise WeightsError("model", repr(str(name)), expected, cure)
    return weights_of(path, read_bytes(path, _WEIGHTS_LIMIT, error_class=WeightsError))


def weights_of(path: Path, data: bytes) -> WeightsFile:
    """A weights file by its content.

    Args:
        path: what to call it in errors, and where what belongs to it is looked for.
        data: the content.

    Raises:
        WeightsError: it is damaged or foreign.
    """
    try:
        contents, header = load(data), json.loads(_metadata(data)["atdc"])
        if header["format"] not in (OLDER_FORMAT, WEIGHTS_FORMAT):
            expected = f"{OLDER_FORMAT} or {WEIGHTS_FORMAT}"
            raise WeightsError(str(path), f"weights format {header['format']}", expected, "Upgrade atdc.")
        config = model_config(header["model"])
        if header["format"] == OLDER_FORMAT:
            tensors = config.tensors(_task_names(header["tasks"]))
        else:
            tensors = FeatureSet.from_json(header["tensors"])
        graph_tables = GraphTables.from_json(header["book"])
        graph_tables.require_tasks(len(tensors))
        graph_tables.require_parents(config.max_parents)
        if not isinstance(header.get("card", {}), dict):
            raise WeightsError(str(path), "a card that is no object", "a JSON object", _REINSTALL)
    except SafetensorError as error:
        raise WeightsError(str(path), f"a damaged file ({error})", "a safetensors file of ATDC", _REINSTALL) from error
    except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError) as error:
        raise WeightsError(str(path), f"other contents ({error})", "weights written by ATDC", _REINSTALL) from error
    return WeightsFile(path, header, config, tensors, graph_tables, fingerprint_of(data), contents)


def _metadata(data: bytes) -> dict[str, str]:
    """Of a safetensors file that is known to be whole: eight bytes of length, then JSON."""
    length = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + length]).get("__metadata__", {})


def _task_names(names: Any) -> tuple[str, ...]:
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise ValueError(f"tasks {names!r}, where a list of names is expected")
    if len(set(names)) < len(names):
        raise ValueError(f"tasks {names!r}, one of them twice")
    return tuple(names)
