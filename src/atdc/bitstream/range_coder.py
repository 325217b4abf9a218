"""Range coding of integer symbols: one byte string per segment, as short as the arithmetic allows.

The only module that imports ``constriction``. Writer and reader run the same function, :func:`_code_symbols`, over a
stream that either writes values or reads them, so they cannot disagree:

1. symbols are grouped by table (ascending, their order kept), and each group is one run of symbols of that table;
2. the escaped values of all groups follow, in that order: first the ones-and-a-zero prefixes, one bit of every
   unfinished prefix per round, then the low bits, then the signs, all with uniform probabilities.

**The model.** A table of ``n`` used counts ``f`` reaches the coder as the exact floats ``f / 2**16``. constriction
turns them into cumulative probabilities of 24 bits, ``floor(F[i] * (2**24 - n) / 2**16) + i``, where ``F`` sums the
counts before ``i``; so a symbol has probability ``f / 2**16 * (1 - n / 2**24)``, or up to ``2**-23`` more. A table of
1000 symbols costs less than a ten-thousandth of a bit per symbol beyond what its counts say.

**The flush.** A range coder may end with any number in its final interval. Read as one long binary fraction, with
zeros beyond the end, the shortest byte string in the interval is written (the lowest, if there are several): at most
about one byte beyond the ideal bits. So symbols have exactly one spelling, which gives the reader its check:
:meth:`RangeDecoder.close` writes what it has read once more and refuses bytes that differ in any way.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast
from weakref import WeakKeyDictionary

import constriction
import numpy as np
from numpy.typing import NDArray

from atdc.entropy.tables import ESCAPE_BITS_LIMIT, PRECISION_BITS, SYMBOL_LIMIT, FrequencyTables, low_bits
from atdc.errors import CorruptFileError

_Result = TypeVar("_Result")
_Int32s = NDArray[np.int32]
_Exchange = Callable[["_Int32s | None", int, Any, "_Int32s | None"], _Int32s]
"""(values or None, how many, model, sizes of a family of uniform models or None) -> the values written or read."""

_STATE_BITS = 64
_WORD_BYTES = 4
_BIT = constriction.stream.model.Uniform(2)
_UNIFORM = constriction.stream.model.Uniform()

_models: WeakKeyDictionary[FrequencyTables, dict[int, Any]] = WeakKeyDictionary()


class RangeEncoder:
    """Turns symbols into one segment of bytes.

    Args:
        tables: the probability tables; the reader must have the same ones.

    >>> tables = FrequencyTables.gaussian([0.5, 4.0])
    >>> encoder = RangeEncoder(tables)
    >>> encoder.encode(np.array([0, -1, 7, 900], np.int32), np.array([0, 0, 1, 0]))
    >>> data = encoder.finish()
    >>> data.hex()
    '44587d2d3bac'
    >>> decoder = RangeDecoder(tables, data)
    >>> decoder.decode(np.array([0, 0, 1, 0])).tolist()
    [0, -1, 7, 900]
    >>> decoder.close()
    """

    def __init__(self, tables: FrequencyTables) -> None:
        self._tables = tables
        self._coder = constriction.stream.queue.RangeEncoder()

    def encode(self, symbols: NDArray[np.integer], table_index: NDArray[np.integer]) -> None:
        """Appends symbols.

        Args:
            symbols: integers ``(n,)``, magnitudes below ``2**20``.
            table_index: integers ``(n,)``, the table each symbol is coded with.

        Raises:
            ArgumentError: arrays that do not fit together, or values out of range; nothing is written then.
        """
        _code_symbols(self._exchange, self._tables, symbols, table_index)

    def finish(self) -> bytes:
        """The segment; the encoder may continue afterwards, and finish again."""
        return _shortest_bytes(self._coder)

    def _exchange(self, values: _Int32s | None, count: int, model: Any, sizes: _Int32s | None) -> _Int32s:
        assert values is not None and len(values) == count
        self._coder.encode(values, model, *(() if sizes is None else (sizes,)))
        return values


class RangeDecoder:
    """Reads the symbols of one segment back, in calls of the same lengths as the writer's.

    Args:
        tables: the writer's tables.
        data: the segment, any bytes; damage is noticed by :meth:`decode` or, at the latest, by :meth:`close`.
        where: what to call the segment in an error.
    """

    def __init__(self, tables: FrequencyTables, data: bytes, where: str = "segment") -> None:
        self._tables = tables
        self._data = bytes(data)
        self._where = where
        # Whole words, and two more so that constriction's own end-of-data rule never applies: zeros follow the end.
        padded = self._data + bytes(-len(self._data) % _WORD_BYTES + 2 * _WORD_BYTES)
        self._coder = constriction.stream.queue.RangeDecoder(np.frombuffer(padded, ">u4").astype(np.uint32))
        self._again = constriction.stream.queue.RangeEncoder()

    def decode(self, table_index: NDArray[np.integer]) -> _Int32s:
        """The next symbols.

        Args:
            table_index: integers ``(n,)``, the table of each symbol.

        Returns:
            int32 ``(n,)``.

        Raises:
            CorruptFileError: the bytes stand for no symbols of these tables.
            ArgumentError: ``table_index`` names a table that does not exist.
        """
        return _code_symbols(self._exchange, self._tables, None, table_index, self._where)

    def close(self) -> None:
        """Checks that the segment is, byte for byte, what the decoded symbols are written as.

        Raises:
            CorruptFileError: bytes are missing, left over, or different.
        """
        expected = self._guarded(lambda: _shortest_bytes(self._again))
        if self._data != expected:
            raise CorruptFileError(
                self._where,
                f"{len(self._data)} bytes that no writer produces",
                f"{len(expected)} bytes for the symbols in them",
                "Get the file again from its source, and decode with the software and weights that wrote it.",
            )

    def _exchange(self, values: _Int32s | None, count: int, model: Any, sizes: _Int32s | None) -> _Int32s:
        def read() -> _Int32s:
            arguments = (count,) if sizes is None else (sizes,)
            decoded = cast(_Int32s, self._coder.decode(model, *arguments))
            self._again.encode(decoded, model, *(() if sizes is None else (sizes,)))
            return decoded

        return self._guarded(read)

    def _guarded(self, action: Callable[[], _Result]) -> _Result:
        """Runs constriction on bytes from outside: whatever it raises, or panics with, is the bytes' fault."""
        try:
            return action()
        except BaseException as error:
            # A Rust panic arrives as a class that derives from BaseException and cannot be imported.
            if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
                raise
            if isinstance(error, MemoryError):
                raise
            raise CorruptFileError(
                self._where,
                "bytes that stand for no symbols",
                "a range-coded segment",
                "Get the file again from its source.",
            ) from error


def _code_symbols(
    exchange: _Exchange,
    tables: FrequencyTables,
    symbols: NDArray[np.integer] | None,
    table_index: NDArray[np.integer],
    where: str = "segment",
) -> _Int32s:
    """Writes ``symbols``, or reads them when they are None: one loop for both directions."""
    if symbols is None:
        tables.require_index(table_index)
        columns = None
    else:
        columns = tables.columns_of(symbols, table_index)
    table_index = table_index.astype(np.uint8, copy=False)  # bytes are radix-sorted
    order = np.argsort(table_index, kind="stable")
    counts = np.bincount(table_index, minlength=tables.size)
    if columns is not None:
        columns = columns[order]

    models: dict[int, Any] = _models.setdefault(tables, {})
    runs = []
    start = 0
    for table in np.flatnonzero(counts).tolist():
        stop = start + int(counts[table])
        model = models.get(table)
        if model is None:
            model = models[table] = _model(tables, table)
        runs.append(exchange(None if columns is None else columns[start:stop], stop - start, model, None))
        start = stop
    coded = np.concatenate(runs) if runs else np.zeros(0, np.int32)

    radius = tables.radius[table_index[order]]
    values = coded - radius
    escaped = np.flatnonzero(values > radius)
    if escaped.size:
        escaped_symbols = None if symbols is None else symbols[order[escaped]].astype(np.int32, copy=False)
        values[escaped] = _code_escaped(exchange, escaped_symbols, radius[escaped], where)
    result: _Int32s = np.empty_like(values)
    result[order] = values
    return result


def _code_escaped(exchange: _Exchange, symbols: _Int32s | None, radius: _Int32s, where: str) -> _Int32s:
    """Writes or reads symbols beyond their table's radius: Exp-Golomb codes of ``|s| - radius``, then signs."""
    excess = None if symbols is None else np.abs(symbols) - radius
    lengths = np.zeros(len(radius), np.int32) if excess is None else low_bits(excess)
    unfinished = np.arange(len(radius))
    level = 0
    while unfinished.size:
        if level > ESCAPE_BITS_LIMIT:
            raise CorruptFileError(where, "an escaped symbol without end", f"magnitudes below {SYMBOL_LIMIT}")
        ones = None if excess is None else (lengths[unfinished] > level).astype(np.int32)
        ones = exchange(ones, unfinished.size, _BIT, None)
        unfinished = unfinished[ones == 1]
        level += 1
        if excess is None:
            lengths[unfinished] = level

    top = np.left_shift(1, lengths, dtype=np.int32)
    long = np.flatnonzero(lengths)
    magnitude = top.copy()
    if long.size:
        low = None if excess is None else excess[long] - top[long]
        magnitude[long] += exchange(low, long.size, _UNIFORM, top[long])
    magnitude += radius
    negative = exchange(None if symbols is None else (symbols < 0).astype(np.int32), len(radius), _BIT, None)
    if int(magnitude.max()) >= SYMBOL_LIMIT:
        raise CorruptFileError(where, f"a symbol of magnitude {magnitude.max()}", f"magnitudes below {SYMBOL_LIMIT}")
    return np.where(negative == 1, -magnitude, magnitude)


def _model(tables: FrequencyTables, table: int) -> Any:
    """constriction's model of one table: its frequencies as exact floats."""
    used = tables.frequencies[table, : 2 * int(tables.radius[table]) + 2]
    return constriction.stream.model.Categorical(used / float(1 << PRECISION_BITS), perfect=False)


def _shortest_bytes(coder: Any) -> bytes:
    """The shortest bytes whose value, zeros following, lies in the coder's final interval.

    The interval is ``[lower, lower + range)`` in units of the last of ``position`` words and a 64-bit state.
    constriction ends with ``lower + 2**32 - 1``; when that overflows the state, the words before it hold a carry that
    the lower end does not have.
    """
    position, (lower, width) = cast(tuple[int, tuple[int, int]], coder.pos())
    words: bytes = np.asarray(coder.get_compressed()[:position]).astype(">u4").tobytes()
    carried = lower + (1 << _STATE_BITS // 2) - 1 >> _STATE_BITS
    for length in range(_STATE_BITS // 8 + 1):
        unit = 1 << _STATE_BITS - 8 * length
        end = -(-lower // unit) * unit
        if end < lower + width:
            break
    carry = (end >> _STATE_BITS) - carried
    if carry:
        words = (int.from_bytes(words, "big") + carry).to_bytes(len(words), "big")
    tail = (end % (1 << _STATE_BITS)).to_bytes(_STATE_BITS // 8, "big")
    return (words + tail).rstrip(b"\0")
