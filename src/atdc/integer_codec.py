"""Files to integers: everything a reader does before the first network runs. Nothing here imports torch.

What it decodes is the same on every machine, byte for byte: see :mod:`atdc.numerics.integer`.
"""

from __future__ import annotations

import binascii
import hashlib
import json
import os
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from atdc.bitstream.container import PIXEL_LIMIT, POSITION_LIMIT, ContainerReader, Header
from atdc.bitstream.ports import ReadingPort
from atdc.bitstream.sources import FileLike, Source, opened
from atdc.coding.entropy_coder import EntropyCoder
from atdc.config import DEFAULT_MODEL, model_config, pixel_limit_of
from atdc.errors import BitstreamError, CorruptFileError, WeightsError
from atdc.files import read_bytes, require_name
from atdc.graph.graph_book import GraphBook
from atdc.graph.task_graph import TaskGraph
from atdc.numerics.entropy_model import EntropyModel
from atdc.numerics.integer import Integers

FEATURE_MULTIPLE = 4
"""Features are padded to multiples of this: latents lie at a half, hyper-latents at a quarter of their size."""
WEIGHTS_FORMAT = 2
ENTROPY_PREFIX = "entropy."
_WEIGHTS_LIMIT = 1 << 30
_SHIPPED = Path(__file__).parent / "weights"
_REINSTALL = "Install the package again, or train with: atdc train --recipe small"


@dataclass(frozen=True, slots=True)
class DecodedIntegers:
    """What a file's bytes say.

    Attributes:
        header: of the file.
        graph: who is predicted from whom.
        latents: by task, the decoded latent (1, rows, columns, M), in sixteenths of a quantisation step.
        bits: ideal bits by task, (T,); 0 for what was not read.
        failed: by task, why it could not be read; the tasks predicted from it fail with it.
        bytes_read: from the file, header included.
    """

    header: Header
    graph: TaskGraph
    latents: dict[int, Integers]
    bits: NDArray[np.float64]
    failed: dict[int, BitstreamError]
    bytes_read: int


class IntegerReader:
    """Reads the integers of files written with some weights.

    Args:
        model: the integer entropy model.
        listed: the graphs that files name by number.
        task_names: names in index order.
        stride: pixels per feature position.
        fingerprint: of the weights.
    """

    def __init__(
        self,
        model: EntropyModel,
        listed: Sequence[TaskGraph],
        task_names: Sequence[str],
        stride: int,
        fingerprint: bytes,
    ) -> None:
        self.model, self.listed, self.fingerprint = model, tuple(listed), fingerprint
        self.task_names = tuple(task_names)
        self.stride = stride

    def read(
        self,
        source: FileLike,
        wanted: Collection[int] | None = None,
        *,
        skip_damaged: bool = False,
        pixel_limit: int = PIXEL_LIMIT,
        position_limit: int = POSITION_LIMIT,
    ) -> DecodedIntegers:
        """The integers of some tasks and their ancestors, or of all tasks.

        Args:
            source: the file: its path, bytes, a file object, or anything that can be read by range: of a file of
                profile ``segments``, only the segments that are needed are read.
            wanted: task indices; all if None.
            skip_damaged: a damaged segment fails its task and what is predicted from it, and the others are decoded;
                otherwise the first damage is raised. A file of profile ``compact`` is whole or fails.
            pixel_limit: the most pixels of an image.
            position_limit: the most positions of bare features.

        Raises:
            BitstreamError: not a file of these weights, or damaged.
        """
        with opened(source) as whole:
            return self._read(
                ContainerReader(whole, pixel_limit=pixel_limit_of(pixel_limit), position_limit=position_limit),
                wanted, skip_damaged, pixel_limit, position_limit,
            )  # fmt: skip

    def _read(
        self,
        reader: ContainerReader,
        wanted: Collection[int] | None,
        skip_damaged: bool,
        pixel_limit: int,
        position_limit: int,
    ) -> DecodedIntegers:
        header = reader.header
        # The check of a compact file's payload covers its header, too: damage there is not taken for other weights.
        payload = reader.segment(0) if header.profile == "compact" else None
        header.require_model(self.fingerprint)
        if header.task_count != len(self.task_names):
            raise CorruptFileError("tasks", str(header.task_count), f"{len(self.task_names)}, as the weights have")
        self._require_room(header, pixel_limit, position_limit)
        graph = header.resolve(self.listed)
        tasks = graph.order if wanted is None else graph.closure(wanted)
        port = ReadingPort(self.model.tables)
        coder = EntropyCoder(self.model, port, np.array([header.qualities], np.int64))
        latents: dict[int, Integers] = {}
        failed: dict[int, BitstreamError] = {}
        if payload is not None:
            port.begin(payload.data, "payload")
            for task in graph.order:
                latents[task] = self._read_task(coder, graph, task, header)
            port.end()
            checks = [coder.checks[0, task] for task in range(graph.size)]
            self._compare("payload", payload.symbol_check, combined_check(checks))
        else:
            for task in tasks:
                try:
                    for parent in graph.parents[task]:
                        if parent in failed:
                            raise CorruptFileError(
                                f"task {self.task_names[task]}", f"its parent {self.task_names[parent]} damaged",
                                "parents that can be decoded", "Get the file again from its source.",
                            )  # fmt: skip
                    segment = reader.segment(task)
                    port.begin(segment.data, f"segment of {self.task_names[task]}")
                    latents[task] = self._read_task(coder, graph, task, header)
                    port.end()
                    self._compare(f"segment of {self.task_names[task]}", segment.symbol_check, coder.checks[0, task])
                except BitstreamError as error:
                    if not skip_damaged:
                        raise
                    failed[task] = error
                    latents.pop(task, None)
        if wanted is None and not failed:
            reader.check_end()
        return DecodedIntegers(
            header, graph, latents, port.bits.array(1, graph.size)[0], failed, reader.bytes_read
        )  # fmt: skip

    def _require_room(self, header: Header, pixel_limit: int, position_limit: int) -> None:
        """Refuses a picture that padding makes far larger than the limit: one of a pixel's height takes four rows."""
        rows, columns = padded(self.feature_shape(header))
        limit = pixel_limit // self.stride**2 if header.kind == "image" else position_limit
        most = max(4 * limit, FEATURE_MULTIPLE**2)
        if rows * columns > most:
            raise CorruptFileError(
                "height and width", f"{header.height} x {header.width}, {rows * columns} positions with padding",
                f"at most {most} positions", "If that size is meant, read the file with a higher limit.",
            )  # fmt: skip

    def feature_shape(self, header: Header) -> tuple[int, int]:
        """(h, w) of the features in a file."""
        if header.kind == "features":
            return header.height, header.width
        return -(-header.height // self.stride), -(-header.width // self.stride)

    def _read_task(self, coder: EntropyCoder, graph: TaskGraph, task: int, header: Header) -> Integers:
        rows, columns = padded(self.feature_shape(header))
        parents = np.zeros((1, graph.size), np.bool_)
        parents[0, list(graph.parents[task])] = True
        return coder.code([0], task, parents, (rows // 2, columns // 2))

    @staticmethod
    def _compare(where: str, stored: int, computed: int) -> None:
        if stored != computed:
            raise CorruptFileError(
                where, f"integers of check {computed:04x}", f"{stored:04x}",
                "Get the file again from its source; if it is whole, report this: the entropy path has erred.",
            )  # fmt: skip


def combined_check(checks: Sequence[int]) -> int:
    """The check of all tasks' integers together, as the profile ``compact`` keeps it: the CRC-16 of their checks.

    >>> combined_check([0x1234, 0x5678]) == binascii.crc_hqx(bytes.fromhex("12345678"), 0)
    True
    """
    return binascii.crc_hqx(b"".join(check.to_bytes(2, "big") for check in checks), 0)


def padded(shape: tuple[int, int]) -> tuple[int, int]:
    """(h, w) of features as the codec sees them: multiples of 4."""
    multiple = FEATURE_MULTIPLE
    return -(-shape[0] // multiple) * multiple, -(-shape[1] // multiple) * multiple


@dataclass(frozen=True, slots=True)
class WeightsFile:
    """An opened weights file: what is in it but the networks.

    Attributes:
        path: of the file.
        header: the JSON that is kept beside the tensors.
        book: the graphs and rates kept with the weights.
        task_names: names in index order.
        stride: pixels per feature position.
        fingerprint: the first four bytes of the file's SHA-256.
    """

    path: Path
    header: dict[str, Any]
    book: GraphBook
    task_names: tuple[str, ...]
    stride: int
    fingerprint: bytes

    def integers(self) -> IntegerReader:
        """The reader of these weights' files; needs no network and no torch.

        Raises:
            WeightsError: the integers are damaged or missing.
        """
        with safe_open(self.path, framework="np") as file:
            keys = [key for key in file.keys() if key.startswith(ENTROPY_PREFIX)]  # noqa: SIM118 (not a mapping)
            arrays = {key.removeprefix(ENTROPY_PREFIX): file.get_tensor(key) for key in keys}
        model = EntropyModel.from_arrays(arrays, len(self.task_names), model_config(self.header["model"]).factorised)
        if unread := sorted(set(arrays) - set(model.to_arrays())):
            where, found = f"{self.path}, {ENTROPY_PREFIX}{unread[0]}", "integers that nothing reads"
            raise WeightsError(where, found, f"those of {len(self.task_names)} tasks", _REINSTALL)
        return IntegerReader(model, self.book.listed, self.task_names, self.stride, self.fingerprint)


def writer_of(source: Source | bytes) -> str | None:
    """The weights that wrote a file: the name of shipped ones, or the path of one's own; None if they are not at hand,
    or if it is no whole file.

    Searched are the shipped weights, the file that the environment's ``ATDC_MODEL`` names, and the folder of
    ``.safetensors`` files that it, or ``ATDC_WEIGHTS``, names.
    """
    try:
        fingerprint = ContainerReader(source).header.fingerprint
    except BitstreamError:
        return None
    for name, file in _weights_at_hand():
        try:
            if _fingerprint_of(file, file.stat().st_mtime_ns) == fingerprint:
                return name
        except OSError:  # gone since it was listed
            continue
    return None


def _weights_at_hand() -> Iterator[tuple[str, Path]]:
    """Names and files, the shipped ones first."""
    for file in sorted(_SHIPPED.glob("*.safetensors")):
        yield file.stem, file
    for variable in ("ATDC_MODEL", "ATDC_WEIGHTS"):
        path = Path(os.environ.get(variable, ""))
        for file in sorted(path.glob("*.safetensors")) if variable in os.environ and os.path.isdir(path) else [path]:
            if file.suffix == ".safetensors" and os.path.isfile(file):
                yield str(file), file


def default_model() -> str:
    """Weights that pictures are encoded with where none are named: ``ATDC_MODEL``, unless that is a folder, or the
    shipped default."""
    named = os.environ.get("ATDC_MODEL", "")
    return named if named and not os.path.isdir(named) else DEFAULT_MODEL


@cache
def _fingerprint_of(file: Path, changed_ns: int) -> bytes:
    """Of a file as it was last changed: many files are asked about, and reading weights takes longer than a header."""
    return _fingerprint(read_bytes(file, _WEIGHTS_LIMIT, error_class=WeightsError))


def _fingerprint(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()[:4]


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
        path = _SHIPPED / f"{name}.safetensors"
        if not path.exists():
            shipped = ", ".join(sorted(p.stem for p in _SHIPPED.glob("*.safetensors"))) or "none"
            expected = f"shipped weights ({shipped}) or a .safetensors file"
            if os.path.exists(name):
                found = "a folder" if os.path.isdir(name) else "a file of another kind, by its name"
                raise WeightsError(str(name), found, expected, "Name the file that `atdc train` wrote.")
            raise WeightsError("model", repr(str(name)), expected, "Train some with: atdc train --recipe small")
    data = read_bytes(path, _WEIGHTS_LIMIT, error_class=WeightsError)
    try:
        with safe_open(path, framework="np") as file:
            header = json.loads((file.metadata() or {})["atdc"])
        if header["format"] != WEIGHTS_FORMAT:
            raise WeightsError(str(path), f"weights format {header['format']}", str(WEIGHTS_FORMAT), "Upgrade atdc.")
        names, stride = _task_names(header["tasks"]), model_config(header["model"]).stride
        book = GraphBook.from_json(header["book"])
        book.require_tasks(len(names))
    except (SafetensorError, OSError) as error:
        raise WeightsError(str(path), f"a damaged file ({error})", "a safetensors file of ATDC", _REINSTALL) from error
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, WeightsError):
            raise
        raise WeightsError(str(path), f"other contents ({error})", "weights written by ATDC", _REINSTALL) from error
    return WeightsFile(path, header, book, names, stride, _fingerprint(data))


def _task_names(names: Any) -> tuple[str, ...]:
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise ValueError(f"tasks {names!r}, where a list of names is expected")
    if len(set(names)) < len(names):
        raise ValueError(f"tasks {names!r}, one of them twice")
    return tuple(names)
