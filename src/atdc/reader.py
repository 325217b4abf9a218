"""Files to integers: everything a reader does before the first network runs. Nothing here imports torch.

What it decodes is the same on every machine, byte for byte: see :mod:`atdc.entropy.integer`.
"""

from __future__ import annotations

import binascii
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from atdc.bitstream.container import PIXEL_LIMIT, ContainerReader, Header, Segment, positions_within
from atdc.bitstream.layout import DAMAGED
from atdc.bitstream.sources import FileLike, Source, arriving, opened
from atdc.bitstream.symbols import SymbolReader
from atdc.config import pixel_limit_of
from atdc.entropy.coder import EntropyCoder
from atdc.entropy.integer import Integers
from atdc.entropy.model import EntropyModel
from atdc.errors import ArgumentError, BitstreamError, CorruptFileError, IncompleteFileError, TruncatedFileError
from atdc.graph.task_graph import TaskGraph
from atdc.tensors import GRID_MULTIPLE, LATENT_STRIDE, FeatureSet, Grid, padded

VALUE_LIMIT = 1 << 29
"""The most numbers, of features and latents together, that a reader makes room for."""
_BYTES_PER_NUMBER = 8
"""More than a symbol takes: at most 16 bits by its table, and below 2**20, 40 more and a sign once it is escaped."""

T = TypeVar("T")


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
        position_limit: int | None = None,
    ) -> DecodedIntegers:
        """The integers of some tasks and their ancestors, or of all tasks.

        Args:
            source: the file: its path, bytes, a file object, or anything that can be read by range: of a file of
                profile ``segments``, only the segments that are needed are read.
            wanted: task indices; all if None.
            skip_damaged: a damaged segment fails its task and what is predicted from it, and the others are decoded;
                otherwise the first damage is raised. A file of profile ``compact`` is whole or fails.
            pixel_limit: the most pixels of an image.
            position_limit: the most positions of bare features; by default those that go with `pixel_limit`.

        Raises:
            BitstreamError: not a file of these weights, or damaged.
        """
        with opened(source) as whole:
            file = self.begin(whole, wanted, pixel_limit=pixel_limit, position_limit=position_limit)
            latents: dict[int, Integers] = {}
            failed: dict[int, BitstreamError] = {}
            for task, outcome in file.outcomes():
                if isinstance(outcome, BitstreamError):
                    if not skip_damaged:
                        raise outcome
                    failed[task] = outcome
                else:
                    latents[task] = outcome
            if wanted is None and not failed:
                file.check_end()
            return DecodedIntegers(
                file.header, file.graph, file.header.present, file.grids, latents, file.bits, failed, file.bytes_read
            )

    def begin(
        self,
        source: Source,
        wanted: Collection[int] | None = None,
        *,
        pixel_limit: int = PIXEL_LIMIT,
        position_limit: int | None = None,
    ) -> CodedFile:
        """A file of which the head has been read, to be decoded tensor by tensor; arguments as of :meth:`read`.

        Raises:
            BitstreamError: not a file of these weights, or its head is damaged.
        """
        position_limit = positions_within(pixel_limit_of(pixel_limit), position_limit)
        reader = ContainerReader(source, pixel_limit=pixel_limit, position_limit=position_limit)
        header = reader.header
        # The check of a compact file's payload covers its header, too: damage there is not taken for other weights.
        payload = reader.segment(0) if header.profile == "compact" else None
        header.require_model(self.fingerprint)
        count = len(self.task_names)
        if header.tensor_count != count:
            raise CorruptFileError("tensors", str(header.tensor_count), f"{count}, as the weights have")
        grids = self.grids(header)
        self._require_room(header, grids, pixel_limit, position_limit)
        graph = header.resolve(self.listed)
        if wanted is not None:
            self._require_present(header, wanted)
        return CodedFile(self, reader, payload, graph, grids, wanted)

    def _require_present(self, header: Header, wanted: Collection[int]) -> None:
        """Refuses to read what a file does not hold."""
        for task in wanted:
            if task not in header.present:
                names = ", ".join(self.task_names[place] for place in header.present)
                raise ArgumentError("tasks", repr(self.task_names[task]), f"what is in the file: {names}")

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


class CodedFile:
    """A file of which the head has been read: its tensors are decoded one after the other, parents first.

    Args:
        weights: what reads it.
        reader: of its bytes.
        payload: of a file of profile ``compact``.
        sent: the graph of the tensors in the file.
        grids: height and width of each tensor of the model.
        wanted: tasks to be decoded, their ancestors with them; all if None.

    Attributes:
        header: of the file.
        graph: who is predicted from whom; tensors that are not in the file have no edges.
        grids: height and width of each tensor.
        tasks: what is decoded, in the order in which it can be when the file comes from front to back: parents first;
            of a file of version 2, the coding order.
    """

    def __init__(
        self, weights: IntegerReader, reader: ContainerReader, payload: Segment | None, sent: TaskGraph,
        grids: tuple[Grid, ...], wanted: Collection[int] | None,
    ) -> None:  # fmt: skip
        self.header = header = reader.header
        self.graph = sent.expanded(header.present, len(weights.task_names))
        self.grids = grids
        self._names, self._reader, self._payload = weights.task_names, reader, payload
        self._places = dict(zip(header.present, header.places(sent), strict=True))
        every = [task for task in self.graph.order if task in self._places]
        asked_for = every if wanted is None or payload is not None else self.graph.closure(wanted)
        self.tasks = tuple(sorted(asked_for, key=self._last_place))  # stable: coding order where it is the same
        self._symbol_reader = SymbolReader(weights.model.tables)
        steps = np.zeros((1, self.graph.size), np.int64)
        steps[0, list(header.present)] = header.qualities
        self._coder = EntropyCoder(weights.model, self._symbol_reader, steps, grids)
        self._most = dict(self._most_bytes(weights))

    @property
    def bits(self) -> NDArray[np.float64]:
        """Ideal bits by task, (T,), of what has been decoded."""
        return self._symbol_reader.bits.array(1, self.graph.size)[0]

    @property
    def bytes_read(self) -> int:
        """How many of the file's bytes have been read so far."""
        return self._reader.bytes_read

    def check_end(self) -> None:
        """Raises :class:`CorruptFileError` if bytes follow the last segment."""
        self._reader.check_end()

    def outcomes(self) -> Iterator[tuple[int, Integers | BitstreamError]]:
        """Each of :attr:`tasks`, with its latent (1, rows, columns, M), or why there is none.

        What is predicted from a damaged tensor fails with it, and the others are decoded. A file of profile ``compact``
        is whole or fails.

        Raises:
            BitstreamError: a ``compact`` file whose integers are not what was written.
        """
        if self._payload is not None:
            yield from self._together(self._payload).items()
            return
        failed: set[int] = set()
        for task in self.tasks:
            try:
                yield task, self._alone(task, failed)
            except BitstreamError as error:
                failed.add(task)
                yield task, error

    def _together(self, payload: Segment) -> dict[int, Integers]:
        self._symbol_reader.begin(payload.data, "payload")
        latents = {task: self._read_task(task) for task in self.tasks}
        self._symbol_reader.end()
        checks = [self._coder.checks[0, task] for task in self.header.present]
        _compare("payload", payload.symbol_check, combined_check(checks))
        return latents

    def _alone(self, task: int, failed: Collection[int]) -> Integers:
        for parent in self.graph.parents[task]:
            if parent in failed:
                raise CorruptFileError(
                    f"task {self._names[task]}", f"its parent {self._names[parent]} damaged",
                    "parents that can be decoded", "Get the file again from its source.",
                )  # fmt: skip
        self._require_lengths(self._places[task])
        segment, where = self._reader.segment(self._places[task]), f"segment of {self._names[task]}"
        self._symbol_reader.begin(segment.data, where)
        latent = self._read_task(task)
        self._symbol_reader.end()
        _compare(where, segment.symbol_check, self._coder.checks[0, task])
        return latent

    def _read_task(self, task: int) -> Integers:
        parents = np.zeros((1, self.graph.size), np.bool_)
        parents[0, list(self.graph.parents[task])] = True
        return self._coder.code([0], task, parents)

    def _last_place(self, task: int) -> int:
        """Of the segments that a task takes: its own and those of its ancestors."""
        return max(self._places[needed] for needed in (task, *self.graph.ancestors(task)))

    def _most_bytes(self, weights: IntegerReader) -> Iterator[tuple[int, int]]:
        """Places, and how long the segments there may be: no symbols take more."""
        for task, place in self._places.items():
            rows, columns = padded(self.grids[task])
            numbers = weights.tensors[task].latent_channels * rows * columns // LATENT_STRIDE**2
            numbers += weights.model.hyper_channels * rows * columns // GRID_MULTIPLE**2
            yield place, _BYTES_PER_NUMBER * (numbers + 1)

    def _require_lengths(self, last: int) -> None:
        """Refuses too long a segment at a place, and of a stream before it: whoever reads that would wait for it."""
        for place in range(last + 1) if self._reader.is_stream else (last,):
            if (length := self._reader.length(place)) > self._most[place]:
                expected = f"at most {self._most[place]}, as no symbols take more"
                raise CorruptFileError(f"length of segment {place}", f"{length} bytes", expected, DAMAGED)


class Arrivals(Iterator[tuple[str, T]]):
    """What a file holds, tensor by tensor, as soon as the bytes of each are there.

    To be iterated over once; afterwards, or by :meth:`close`, the file is closed.

    Args:
        weights: what reads it.
        data: the file; a file object may be a pipe that is still written to.
        wanted: task indices; all if None.
        converted: makes what is given of a task's latent; called for its ancestors, too, and before it.
        limits: ``pixel_limit`` and ``position_limit``, see :meth:`IntegerReader.read`.

    Attributes:
        header: of the file, which has arrived.

    Raises:
        BitstreamError: not a file of these weights, or its head is damaged.
        IncompleteFileError: from the iteration, at its end: some of what was asked for is damaged or has not come.
    """

    def __init__(
        self, weights: IntegerReader, data: FileLike, wanted: Collection[int] | None,
        converted: Callable[[CodedFile], Callable[[int, Integers], T]], **limits: Any,
    ) -> None:  # fmt: skip
        self._names = weights.task_names
        with ExitStack() as stack:
            source = stack.enter_context(arriving(data))
            self._file = weights.begin(source, wanted, **limits)
            self._stack = stack.pop_all()
        self.header = self._file.header
        self._wanted = set(self._file.tasks if wanted is None else wanted)
        self._iterator = self._answers(converted(self._file), wanted is None)

    def __iter__(self) -> Arrivals[T]:
        """Itself."""
        return self

    def __next__(self) -> tuple[str, T]:
        """The name of the next tensor, and what was made of it; its bytes are waited for."""
        return next(self._iterator)

    @property
    def bytes_read(self) -> int:
        """How many of the file's bytes have been read so far."""
        return self._file.bytes_read

    def close(self) -> None:
        """Leaves the rest aside, and closes the file, unless it is the caller's own object."""
        self._iterator.close()
        self._stack.close()

    def _answers(self, converted: Callable[[int, Integers], T], whole: bool) -> Generator[tuple[str, T], None, None]:
        failed: dict[int, BitstreamError] = {}
        with self._stack:
            for task, outcome in self._file.outcomes():
                if isinstance(outcome, BitstreamError):
                    failed[task] = outcome
                    continue
                answer = converted(task, outcome)
                if task in self._wanted:
                    yield self._names[task], answer
            if failed:
                raise self._incomplete(failed)
            if whole:
                self._file.check_end()

    def _incomplete(self, failed: Mapping[int, BitstreamError]) -> IncompleteFileError:
        """Names what is damaged, what is predicted from it, and what came to no end."""
        parents, sentences = self._file.graph.parents, []
        causes = {task: error for task, error in failed.items() if not set(parents[task]) & failed.keys()}
        for task, error in causes.items():
            if not isinstance(error, TruncatedFileError):
                sentences.append(f"damage to {self._names[task]} ({error.found} instead of {error.expected})")
        if any(isinstance(error, TruncatedFileError) for error in causes.values()):
            cut = [self._names[task] for task, error in causes.items() if isinstance(error, TruncatedFileError)]
            sentences.append(f"its end before {', '.join(cut)}")
        if after := [self._names[task] for task in failed if task not in causes]:
            sentences.append(f"for want of their parents, nothing of {', '.join(after)}")
        lost = [self._names[task] for task in self._file.tasks if task in failed and task in self._wanted]
        error = IncompleteFileError("file", "; ".join(sentences), f"whole segments for {', '.join(lost)}", DAMAGED)
        error.missing = {self._names[task]: failed[task] for task in self._file.tasks if task in failed}
        return error


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
