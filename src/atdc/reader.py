"""Files to integers: everything a reader does before the first network runs. Nothing here imports torch.

What it decodes is the same on every machine, byte for byte: see :mod:`atdc.entropy.integer`.
"""

from __future__ import annotations

import binascii
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from atdc.bitstream.container import PIXEL_LIMIT, POSITION_LIMIT, ContainerReader, Header
from atdc.bitstream.sources import FileLike, opened
from atdc.bitstream.symbols import SymbolReader
from atdc.config import pixel_limit_of
from atdc.entropy.coder import EntropyCoder
from atdc.entropy.integer import Integers
from atdc.entropy.model import EntropyModel
from atdc.errors import ArgumentError, BitstreamError, CorruptFileError
from atdc.graph.task_graph import TaskGraph
from atdc.tensors import GRID_MULTIPLE, FeatureSet, Grid, padded

VALUE_LIMIT = 1 << 29
"""The most numbers, of features and latents together, that a reader makes room for."""


@dataclass(frozen=True, slots=True)
class DecodedIntegers:
    """What a file's bytes say.

    Attributes:
        header: of the file.
        graph: who is predicted from whom; tensors that are not in the file have no edges.
        present: which tensors are in the file.
        grids: height and width of each tensor.
        latents: by task, the decoded latent (1, rows, columns, M), in sixteenths of a quantisation step.
        bits: ideal bits by task, (T,); 0 for what was not read.
        failed: by task, why it could not be read; the tasks predicted from it fail with it.
        bytes_read: from the file, header included.
    """

    header: Header
    graph: TaskGraph
    present: tuple[int, ...]
    grids: tuple[Grid, ...]
    latents: dict[int, Integers]
    bits: NDArray[np.float64]
    failed: dict[int, BitstreamError]
    bytes_read: int


class IntegerReader:
    """Reads the integers of files written with some weights.

    Args:
        model: the integer entropy model.
        listed: the graphs that files name by number.
        tensors: what the weights code.
        fingerprint: of the weights.
    """

    def __init__(
        self,
        model: EntropyModel,
        listed: Sequence[TaskGraph],
        tensors: FeatureSet,
        fingerprint: bytes,
    ) -> None:
        self.model, self.listed, self.fingerprint = model, tuple(listed), fingerprint
        self.tensors, self.task_names = tensors, tensors.names

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
        count = len(self.task_names)
        if header.tensor_count != count:
            raise CorruptFileError("tensors", str(header.tensor_count), f"{count}, as the weights have")
        grids = self.grids(header)
        self._require_room(header, grids, pixel_limit, position_limit)
        sent = header.resolve(self.listed)
        graph = within_model(sent, header.present, count)
        tasks = [task for task in graph.order if task in header.present]
        if wanted is not None:
            self._require_present(header, wanted)
            tasks = list(graph.closure(wanted))
        port = SymbolReader(self.model.tables)
        steps = np.zeros((1, count), np.int64)
        steps[0, list(header.present)] = header.qualities
        coder = EntropyCoder(self.model, port, steps, grids)
        latents: dict[int, Integers] = {}
        failed: dict[int, BitstreamError] = {}
        if payload is not None:
            port.begin(payload.data, "payload")
            for task in graph.order:
                if task in header.present:
                    latents[task] = self._read_task(coder, graph, task)
            port.end()
            checks = [coder.checks[0, task] for task in header.present]
            self._compare("payload", payload.symbol_check, combined_check(checks))
        else:
            places = dict(zip(header.present, header.places(sent), strict=True))
            for task in tasks:
                try:
                    for parent in graph.parents[task]:
                        if parent in failed:
                            raise CorruptFileError(
                                f"task {self.task_names[task]}", f"its parent {self.task_names[parent]} damaged",
                                "parents that can be decoded", "Get the file again from its source.",
                            )  # fmt: skip
                    segment = reader.segment(places[task])
                    port.begin(segment.data, f"segment of {self.task_names[task]}")
                    latents[task] = self._read_task(coder, graph, task)
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
            header, graph, header.present, grids, latents, port.bits.array(1, graph.size)[0], failed,
            reader.bytes_read,
        )  # fmt: skip

    def _require_present(self, header: Header, wanted: Collection[int]) -> None:
        """Refuses to read what a file does not hold."""
        for task in wanted:
            if task not in header.present:
                there = ", ".join(self.task_names[place] for place in header.present)
                raise ArgumentError("tasks", repr(self.task_names[task]), f"what is in the file: {there}")

    def _require_room(self, header: Header, grids: Sequence[Grid], pixel_limit: int, position_limit: int) -> None:
        """Refuses what is far larger than the limits: padding makes four rows of one, and tensors are many."""
        total = 0
        for index in header.present:
            spec, grid = self.tensors[index], grids[index]
            rows, columns = padded(grid)
            total += spec.channels * rows * columns + spec.latent_channels * rows * columns // 4
            if isinstance(spec.grid, tuple):
                continue
            limit = position_limit
            if header.kind == "image" and spec.grid is not None:
                limit = pixel_limit // spec.grid**2
            most = max(4 * limit, GRID_MULTIPLE**2)
            if rows * columns > most:
                raise CorruptFileError(
                    "height and width", f"{grid[0]} x {grid[1]} of {spec.name}, {rows * columns} with padding",
                    f"at most {most} positions", "If that size is meant, read the file with a higher limit.",
                )  # fmt: skip
        if total > VALUE_LIMIT:
            raise CorruptFileError("tensors", f"{total} numbers with padding", f"at most {VALUE_LIMIT}")

    def grids(self, header: Header) -> tuple[Grid, ...]:
        """Height and width of each tensor in a file.

        Raises:
            CorruptFileError: they do not follow from the header.
        """
        size = (header.height, header.width)
        if header.version == 1 and header.kind == "features":
            for spec in self.tensors.tensors:
                if isinstance(spec.grid, tuple):
                    expected = "a file of version 2: these weights know that grid"
                    raise CorruptFileError(f"grid of {spec.name}", f"{size[0]} x {size[1]}", expected)
            return (size,) * len(self.tensors)
        spelled_out, grids = iter(header.grids), []
        for index, spec in enumerate(self.tensors.tensors):
            grid = spec.grid_of_image(*size) if header.kind == "image" else None
            grid = spec.grid if isinstance(spec.grid, tuple) else grid
            if grid is None and index in header.present:
                grid = next(spelled_out, None)
                if grid is None:
                    raise CorruptFileError(f"grid of {spec.name}", "none", "one that is spelled out")
            grids.append((1, 1) if grid is None else grid)
        if next(spelled_out, None) is not None:
            raise CorruptFileError("grids", f"{len(header.grids)} of them", "as many as the weights want spelled out")
        return tuple(grids)

    def _read_task(self, coder: EntropyCoder, graph: TaskGraph, task: int) -> Integers:
        parents = np.zeros((1, graph.size), np.bool_)
        parents[0, list(graph.parents[task])] = True
        return coder.code([0], task, parents)

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


def within_model(graph: TaskGraph, present: Sequence[int], count: int) -> TaskGraph:
    """A graph over the tensors present, in index order, as one over all tensors of a model; others have no edges.

    >>> within_model(TaskGraph(((), (0,))), (1, 3), 4).parents
    ((), (), (), (1,))
    """
    parents: list[tuple[int, ...]] = [()] * count
    for child, row in zip(present, graph.parents, strict=True):
        parents[child] = tuple(present[parent] for parent in row)
    return TaskGraph(tuple(parents))


def among_present(graph: TaskGraph, present: Sequence[int]) -> TaskGraph:
    """The inverse of :func:`within_model`; parents that are not present are dropped.

    >>> among_present(TaskGraph(((), (0,), (), (1,))), (1, 3)).parents
    ((), (0,))
    """
    place = {tensor: number for number, tensor in enumerate(present)}
    return TaskGraph(tuple(tuple(place[p] for p in graph.parents[tensor] if p in place) for tensor in present))
