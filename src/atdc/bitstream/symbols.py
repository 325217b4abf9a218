"""The three things to do with the symbols of a batch: count their bits, write them, or read them.

The traversal visits tasks in order and hands each run of symbols to a *symbol coder*::

    symbols = coder.code(image, task, symbols or None, table_index)

and resumes with what it gets back, so counting, writing and reading are one loop and cannot disagree. Each of them adds
up the ideal bits of what passes, per image and task.
"""

from __future__ import annotations

from collections import defaultdict

import numpy as np
from numpy.typing import NDArray

from atdc.bitstream.range_coder import RangeDecoder, RangeEncoder
from atdc.entropy.tables import FrequencyTables
from atdc.errors import ArgumentError


class BitCount:
    """Ideal bits by image and task: ``count[image][task]``; what was never coded has cost 0.

    Bits of all that was added are counted together, when somebody asks for them.

    Args:
        tables: the probability tables.

    >>> count = BitCount(FrequencyTables.gaussian([1.0]))
    >>> count.add(0, 2, np.array([0, 0], np.int32), np.array([0, 0], np.uint8))
    >>> round(count[0][2], 2), count[3][1], count.array(1, 3).round(2).tolist()
    (2.77, 0.0, [[0.0, 0.0, 2.77]])
    """

    def __init__(self, tables: FrequencyTables) -> None:
        self._tables = tables
        self._bits: dict[int, defaultdict[int, float]] = {}
        self._waiting: list[tuple[int, int, NDArray[np.int32], NDArray[np.uint8]]] = []

    def __getitem__(self, image: int) -> dict[int, float]:
        """Bits of one image by task."""
        self.settle()
        return self._bits.get(image, defaultdict(float))

    def add(self, image: int, task: int, symbols: NDArray[np.int32], table_index: NDArray[np.uint8]) -> None:
        """Adds symbols of one image's task."""
        self._waiting.append((image, task, symbols, table_index))

    def settle(self) -> None:
        """Counts what was added; raises :class:`ArgumentError` for symbols that cannot be coded."""
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return
        symbols, table_index = (np.concatenate([entry[part] for entry in waiting]) for part in (2, 3))
        bits = self._tables.ideal_bits(symbols, table_index)
        ends = np.cumsum([len(entry[2]) for entry in waiting])[:-1]
        for (image, task, _, _), task_bits in zip(waiting, np.split(bits, ends), strict=True):
            self._bits.setdefault(image, defaultdict(float))[task] += float(task_bits.sum())

    def array(self, images: int, tasks: int) -> NDArray[np.float64]:
        """The same as float64 ``(images, tasks)``."""
        rows = [self[image] for image in range(images)]
        return np.array([[row[task] for task in range(tasks)] for row in rows], np.float64).reshape(images, tasks)


class SymbolCounter:
    """Writes nothing and counts ideal bits.

    Args:
        tables: the probability tables.

    Attributes:
        bits: ideal bits, ``bits[image][task]``.

    >>> counter = SymbolCounter(FrequencyTables.gaussian([1.0]))
    >>> counter.code(0, 0, np.array([0, 0], np.int32), np.array([0, 0], np.uint8)).tolist()
    [0, 0]
    >>> round(counter.bits[0][0], 2)
    2.77
    """

    def __init__(self, tables: FrequencyTables) -> None:
        self.bits = BitCount(tables)

    def code(
        self, image: int, task: int, symbols: NDArray[np.int32] | None, table_index: NDArray[np.uint8]
    ) -> NDArray[np.int32]:
        """Adds the ideal bits of ``symbols`` ``(n,)``, which are counted when they are asked for, and returns them.

        Raises:
            ArgumentError: no symbols.
        """
        symbols = _present(symbols)
        self.bits.add(image, task, symbols, table_index)
        return symbols


class SymbolWriter:
    """Writes segments: one per image and task, or one per image.

    Args:
        tables: the probability tables.
        images: number of images.
        tasks: number of tasks.
        together: all tasks of an image go into one segment, in the order in which they come.

    Attributes:
        bits: ideal bits, ``bits[image][task]``.
    """

    def __init__(self, tables: FrequencyTables, images: int, tasks: int, together: bool = False) -> None:
        self.bits = BitCount(tables)
        self._together = together
        self._encoders = [[RangeEncoder(tables) for _ in range(1 if together else tasks)] for _ in range(images)]

    def code(
        self, image: int, task: int, symbols: NDArray[np.int32] | None, table_index: NDArray[np.uint8]
    ) -> NDArray[np.int32]:
        """Appends ``symbols`` ``(n,)`` to the segment of that image and task, and returns them.

        Raises:
            ArgumentError: no symbols, symbols that cannot be coded, or no such image or task.
        """
        symbols = _present(symbols)
        segment = 0 if self._together else task
        if not (0 <= image < len(self._encoders) and 0 <= segment < len(self._encoders[image])):
            raise ArgumentError("image and task", f"{image} and {task}", f"{len(self._encoders)} images, their tasks")
        self._encoders[image][segment].encode(symbols, table_index)
        self.bits.add(image, task, symbols, table_index)
        return symbols

    def finish(self) -> list[list[bytes]]:
        """The segments, by image, then by task (or one that holds all tasks)."""
        return [[encoder.finish() for encoder in row] for row in self._encoders]


class SymbolReader:
    """Reads the symbols of one image back, segment by segment: :meth:`begin`, symbols, :meth:`end`.

    Args:
        tables: the writer's probability tables.

    Attributes:
        bits: ideal bits of what has been read, ``bits[0][task]``.
    """

    def __init__(self, tables: FrequencyTables) -> None:
        self.bits = BitCount(tables)
        self._tables = tables
        self._decoder: RangeDecoder | None = None

    def begin(self, data: bytes, where: str) -> None:
        """Goes to a segment; `where` is what to call it in an error."""
        self._decoder = RangeDecoder(self._tables, data, where)

    def code(
        self, image: int, task: int, symbols: NDArray[np.int32] | None, table_index: NDArray[np.uint8]
    ) -> NDArray[np.int32]:
        """The next symbols, int32 ``(n,)``; ``symbols`` must be None.

        Raises:
            CorruptFileError: the segment stands for no symbols.
            ArgumentError: symbols were given, or no segment was begun.
        """
        if symbols is not None:
            raise ArgumentError("symbols", f"{len(symbols)} of them", "None: a reader knows none")
        decoded = self._begun().decode(table_index)
        self.bits.add(image, task, decoded, table_index)
        return decoded

    def end(self) -> None:
        """Checks that the segment has been read to its end.

        Raises:
            CorruptFileError: it has not, or its bytes are not what its symbols are written as.
        """
        self._begun().close()
        self._decoder = None

    def _begun(self) -> RangeDecoder:
        if self._decoder is None:
            raise ArgumentError("segment", "none", "one that was begun")
        return self._decoder


def _present(symbols: NDArray[np.int32] | None) -> NDArray[np.int32]:
    if symbols is None:
        raise ArgumentError("symbols", "None", "the symbols to code: only a reader gets them from bytes")
    return symbols
