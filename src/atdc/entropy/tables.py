"""Probability tables as integers: what the range coder is given, and what a symbol costs under it.

A probability that writer and reader each compute in floating point may differ in its last digit, and one different
digit turns the rest of a stream into garbage. So the tables are made once, rounded to integers that sum to
``2**16``, and kept; a reader never rebuilds them. *Ideal bits* are defined by these integers and nothing else:

    bits(s | table) = 16 - log2 f[s]                                 for |s| <= radius
    bits(s | table) = 16 - log2 f[escape] + 2 * floor(log2 v) + 2    beyond it, with v = |s| - radius

The second line is an escape symbol, then ``v`` as an Exp-Golomb code (``floor(log2 v)`` ones and a zero, then as many
low bits), then a sign. Escapes let a table stay short while every integer below :data:`SYMBOL_LIMIT` can be coded.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from atdc.config import MAX_TABLES
from atdc.errors import ArgumentError, WeightsError

PRECISION_BITS = 16
"""Frequencies of a table sum to ``2**PRECISION_BITS``."""

SYMBOL_LIMIT = 1 << 20
"""Symbols lie strictly between ``-SYMBOL_LIMIT`` and ``SYMBOL_LIMIT``."""

ESCAPE_BITS_LIMIT = 19
"""The most low bits an escaped value can need: ``floor(log2(SYMBOL_LIMIT - 1))``."""

_TOTAL = 1 << PRECISION_BITS


@dataclass(frozen=True, eq=False)
class FrequencyTables:
    """Integer frequencies for a family of symbol distributions.

    Row ``t`` of ``frequencies`` holds the counts of the symbols ``-radius[t] .. radius[t]`` in columns
    ``0 .. 2 * radius[t]``, then the count of the escape, then zeros.

    Args:
        frequencies: int32 ``(n_tables, columns)`` with ``columns >= 2 * max(radius) + 2``; every used count is at
            least 1, every unused one 0, and each row sums to ``2**16``.
        radius: int32 ``(n_tables,)``, at least 0; of at most 256 tables.

    Raises:
        ArgumentError: any of that does not hold.

    >>> tables = FrequencyTables.gaussian([0.5, 4.0])
    >>> tables.radius.tolist(), tables.frequencies[0, :6].tolist()
    ([2, 16], [89, 10309, 44740, 10309, 88, 1])
    >>> tables.ideal_bits(np.array([0, 1, 3], np.int32), np.array([0, 0, 0])).round(3).tolist()
    [0.551, 2.668, 18.0]
    """

    frequencies: NDArray[np.int32]
    radius: NDArray[np.int32]
    _cost_bits: NDArray[np.float64] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Checks the law of the tables and freezes private copies of the arrays."""
        frequencies, radius = np.asarray(self.frequencies), np.asarray(self.radius)
        if frequencies.dtype.kind not in "iu" or radius.dtype.kind not in "iu":
            raise ArgumentError("frequency tables", f"{frequencies.dtype} and {radius.dtype}", "integer arrays")
        if frequencies.ndim != 2 or radius.shape != (frequencies.shape[0],) or not radius.size:
            raise ArgumentError(
                "frequency tables", f"shapes {frequencies.shape} and {radius.shape}", "(tables, columns) and (tables,)"
            )
        if len(radius) > MAX_TABLES:
            raise ArgumentError("frequency tables", f"{len(radius)} of them", f"at most {MAX_TABLES}")
        if radius.min() < 0 or radius.max() >= SYMBOL_LIMIT or 2 * int(radius.max()) + 2 > frequencies.shape[1]:
            raise ArgumentError(
                "radius", f"{radius.min()} to {radius.max()}", f"0 or more, 2 * radius + 2 <= {frequencies.shape[1]}"
            )
        is_used = np.arange(frequencies.shape[1]) < 2 * radius.astype(np.int64)[:, None] + 2
        is_wrong = ((frequencies < 1) & is_used) | ((frequencies != 0) & ~is_used) | (frequencies > _TOTAL)
        wrong_rows = np.flatnonzero(is_wrong.any(axis=1) | (frequencies.sum(axis=1, dtype=np.int64) != _TOTAL))
        if wrong_rows.size:
            table = int(wrong_rows[0])
            raise ArgumentError(
                f"frequency table {table}",
                f"counts from {frequencies[table].min()} that sum to {frequencies[table].sum(dtype=np.int64)}",
                f"used counts of at least 1, zeros after the escape, sum {_TOTAL}",
            )
        cost = np.full(frequencies.shape, np.inf)
        cost[is_used] = PRECISION_BITS - np.log2(frequencies[is_used].astype(np.float64))
        for name, array in (
            ("frequencies", frequencies.astype(np.int32)),
            ("radius", radius.astype(np.int32)),
            ("_cost_bits", cost),
        ):
            array.setflags(write=False)
            object.__setattr__(self, name, array)

    @classmethod
    def gaussian(cls, scales: Sequence[float]) -> FrequencyTables:
        """Tables of zero-mean Gaussians integrated over unit bins, one per scale.

        ``p(s) = Phi((s + 1/2) / scale) - Phi((s - 1/2) / scale)`` for ``|s| <= radius = max(1, ceil(4 * scale))``; the
        two tails beyond are the escape's. Symbols expected less than once in ``2**16`` get a count of 1, the others
        share the rest in proportion, rounded by largest remainder (ties: the smaller symbol). Float64 throughout;
        meant to be called once, when weights are made, and stored with :meth:`to_arrays`.

        Args:
            scales: standard deviations in symbol steps, each in (0, 1000].

        Raises:
            ArgumentError: no scale, or one that is out of range.
        """
        if len(scales) == 0:
            raise ArgumentError("scales", "none", "at least one standard deviation")
        for scale in scales:
            if not 0 < scale <= 1000:
                raise ArgumentError("scales", str(scale), "standard deviations in (0, 1000]")
        radius = np.array([max(1, math.ceil(4 * scale)) for scale in scales], np.int32)
        frequencies = np.zeros((len(scales), 2 * int(radius.max()) + 2), np.int32)
        for row, (scale, reach) in enumerate(zip(scales, radius.tolist(), strict=True)):
            # Upper-tail probabilities at the bin edges 1/2, 3/2, ...: differences keep their precision far out.
            tail = np.array([0.5 * math.erfc((k + 0.5) / (scale * math.sqrt(2))) for k in range(reach + 1)])
            side = tail[:-1] - tail[1:]
            share = np.concatenate([side[::-1], [1 - 2 * tail[0]], side, [2 * tail[-1]]])
            frequencies[row, : share.size] = _apportion(share)
        return cls(frequencies, radius)

    @property
    def size(self) -> int:
        """Number of tables."""
        return int(self.radius.size)

    def columns_of(self, symbols: NDArray[np.integer], table_index: NDArray[np.integer]) -> NDArray[np.int32]:
        """The column of each symbol in its table's row; the escape's column for symbols beyond the radius.

        Args:
            symbols: integers ``(n,)``, magnitudes below :data:`SYMBOL_LIMIT`.
            table_index: integers ``(n,)``, each in ``0 .. n_tables - 1``.

        Raises:
            ArgumentError: arrays that do not fit together, or a value out of range.
        """
        self.require_index(table_index)
        if symbols.dtype.kind not in "iu" or symbols.shape != table_index.shape:
            raise ArgumentError(
                "symbols", f"{symbols.dtype} of shape {symbols.shape}", f"integers of shape {table_index.shape}"
            )
        if symbols.size and (int(symbols.max()) >= SYMBOL_LIMIT or int(symbols.min()) <= -SYMBOL_LIMIT):
            raise ArgumentError(
                "symbols",
                f"values from {symbols.min()} to {symbols.max()}",
                f"magnitudes below {SYMBOL_LIMIT}",
                "Lower the quality, or check the features for infinities.",
            )
        radius = self.radius[table_index]
        columns = symbols.astype(np.int32, copy=False) + radius
        escape = 2 * radius + 1
        return np.where((columns < 0) | (columns > escape), escape, columns)

    def require_index(self, table_index: NDArray[np.integer]) -> None:
        """Raises ArgumentError unless ``table_index`` is a 1-D integer array of known tables."""
        if table_index.ndim != 1 or table_index.dtype.kind not in "iu":
            raise ArgumentError(
                "table_index", f"{table_index.dtype} of shape {table_index.shape}", "a 1-D array of integers"
            )
        if table_index.size and (int(table_index.min()) < 0 or int(table_index.max()) >= self.size):
            raise ArgumentError(
                "table_index", f"values from {table_index.min()} to {table_index.max()}", f"0 to {self.size - 1}"
            )

    def ideal_bits(self, symbols: NDArray[np.integer], table_index: NDArray[np.integer]) -> NDArray[np.float64]:
        """The code length of each symbol in bits, escapes included: the equations at the top of this module.

        Args:
            symbols: integers ``(n,)``.
            table_index: integers ``(n,)``, the table each symbol is coded with.

        Returns:
            float64 ``(n,)``; its sum is what a perfect range coder would spend.

        Raises:
            ArgumentError: as :meth:`columns_of`.
        """
        columns = self.columns_of(symbols, table_index)
        bits: NDArray[np.float64] = self._cost_bits[table_index, columns]
        radius = self.radius[table_index]
        escapes = np.flatnonzero(columns == 2 * radius + 1)
        if escapes.size:
            excess = np.abs(symbols[escapes].astype(np.int64)) - radius[escapes]
            bits[escapes] += 2 * low_bits(excess) + 2
        return bits

    def to_arrays(self) -> dict[str, NDArray[np.int32]]:
        """The two arrays to store next to the weights, by name.

        >>> tables = FrequencyTables.gaussian([1.0])
        >>> np.array_equal(FrequencyTables.from_arrays(tables.to_arrays()).frequencies, tables.frequencies)
        True
        """
        return {"frequencies": self.frequencies.copy(), "radius": self.radius.copy()}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[np.integer]]) -> FrequencyTables:
        """The inverse of :meth:`to_arrays`.

        Raises:
            WeightsError: an array is missing, or the arrays are not frequency tables.
        """
        try:
            return cls(arrays["frequencies"], arrays["radius"])  # type: ignore[arg-type]  # checked and cast inside
        except KeyError as error:
            raise WeightsError("frequency tables", f"no array {error}", "'frequencies' and 'radius'") from error
        except ArgumentError as error:
            raise WeightsError(error.where, error.found, error.expected, "Fetch the weights again.") from error


def low_bits(excess: NDArray[np.integer]) -> NDArray[np.int32]:
    """``floor(log2 v)`` of positive integers below 2**53: the low bits that an Exp-Golomb code of ``v`` sends.

    >>> low_bits(np.array([1, 2, 3, 4, 1048575])).tolist()
    [0, 1, 1, 2, 19]
    """
    return np.frexp(excess.astype(np.float64))[1].astype(np.int32) - 1


def _apportion(share: NDArray[np.float64]) -> NDArray[np.int64]:
    """Integer counts of at least 1 that sum to 2**16 and follow ``share``: the rare get 1, the rest is proportional."""
    rare = np.zeros(share.size, bool)
    while True:
        quotas = share * ((_TOTAL - rare.sum()) / share[~rare].sum())
        union = rare | (quotas < 1)
        if np.array_equal(union, rare):
            break
        rare = union
    quotas[rare] = 1
    counts: NDArray[np.int64] = np.floor(quotas).astype(np.int64)
    deficit = _TOTAL - int(counts.sum())
    # Mirrored symbols have equal remainders: the stable sort keeps ties in column order.
    counts[np.argsort(counts - quotas, kind="stable")[:deficit]] += 1
    return counts
