"""How much quality each task or network gets: the same mean utility in fewer bytes than by one quality for all.

At one quality for all tasks, a byte more is worth as much *loss* to each of them, as in training. What answers are
judged by is another thing (degrees, mIoU, …), and there it is worth more to one task than to another. With measured
bytes ``B_i(q)`` and utilities ``u_i(q)`` of each task, the qualities that maximise ``Σ_i u_i(q_i)/T − λ·Σ_i B_i(q_i)``
are the best for the bytes that they take (Everett, 1963); λ is chosen so that the mean utility is that of one quality
for all.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atdc.config import MAX_QUALITY, QUALITY_STEPS_PER_UNIT, quality_of
from atdc.errors import WeightsError
from atdc.files import reason_of

_STEPS = np.arange(MAX_QUALITY * QUALITY_STEPS_PER_UNIT + 1) / QUALITY_STEPS_PER_UNIT
_LEVELS = np.arange(MAX_QUALITY + 1)
_TINY = 1e-12
_SHOWN = 80
"""Letters of what a file says that messages repeat."""
_MADE_BY = (
    "atdc bench balance, or for your own networks with atdc networks balance; or give qualities by --task-quality."
)


@dataclass(frozen=True)
class Balance:
    """The qualities of each task that stand for one quality of all.

    Args:
        qualities: at integer qualities, (8, T), 0 to 7.

    >>> Balance(tuple((float(q), float(q) / 2) for q in range(8))).at(4.5)
    [4.5, 2.25]
    """

    qualities: tuple[tuple[float, ...], ...]

    def at(self, quality: float) -> list[float]:
        """Of each task, linear between integer qualities, in steps of 1/8.

        Raises:
            ArgumentError: not from 0 to 7.
        """
        rows, level = np.array(self.qualities), quality_of(quality)
        exact = [float(np.interp(level, _LEVELS, rows[:, task])) for task in range(rows.shape[1])]
        return [round(value * QUALITY_STEPS_PER_UNIT) / QUALITY_STEPS_PER_UNIT for value in exact]

    @classmethod
    def read(
        cls, weights: Path, fingerprint: bytes, names: Sequence[str], wanted: Collection[str] | None = None
    ) -> Balance:
        """The one that was measured for some weights and is kept next to them.

        Args:
            weights: their file.
            fingerprint: theirs.
            names: of the tasks or tensors, in order.
            wanted: those whose mean utility counts, all by default; the others keep the quality of all.

        Raises:
            WeightsError: there is none, it is damaged, or it belongs to other weights.
        """
        with _measured(weights, fingerprint) as record:
            if wanted is not None and not set(names) <= set(wanted):
                return cls._of_some(record["measured"], names, wanted)
            rows = [record["qualities"][str(level)] for level in range(MAX_QUALITY + 1)]
            if texts := [row[name] for row in rows for name in names if isinstance(row[name], str)]:
                raise ValueError(f"the text {texts[0]!r} as a quality")
            return cls(tuple(tuple(quality_of(row[name], f"quality of {name}") for name in names) for row in rows))

    @classmethod
    def _of_some(cls, measured: Mapping[str, Any], names: Sequence[str], wanted: Collection[str]) -> Balance:
        """From what was measured of those that are wanted."""
        qualities = np.arange(float(len(_LEVELS)))[:, None].repeat(len(names), 1)
        chosen = [(tensors, entry) for tensors, entry in _entries(measured) if not set(tensors).isdisjoint(wanted)]
        if chosen:
            sizes, utilities = (
                np.array([entry[key] for _, entry in chosen], np.float64).T for key in ("bytes", "utility")
            )
            if sizes.shape != (len(_LEVELS), len(chosen)) or not (np.isfinite(sizes) & np.isfinite(utilities)).all():
                raise ValueError("bytes or utilities that are not one number for each quality")
            rows = np.array(balanced(sizes, utilities).qualities)
            for row, (tensors, _) in zip(rows.T, chosen, strict=True):
                qualities[:, [list(names).index(tensor) for tensor in tensors]] = row[:, None]
        return cls(tuple(map(tuple, qualities.tolist())))


def balanced_qualities(
    weights: Path, fingerprint: bytes, names: Sequence[str], quality: float, wanted: Collection[str] | None = None
) -> dict[str, float]:
    """The quality of each task or tensor that stands for one of all; arguments as of :meth:`Balance.read` and
    :meth:`.at`, which say what is raised."""
    return dict(zip(names, Balance.read(weights, fingerprint, names, wanted).at(quality), strict=True))


def measured_utilities(
    weights: Path, fingerprint: bytes, names: Sequence[str]
) -> list[tuple[tuple[str, ...], NDArray[np.float64]]]:
    """Utility of each task's or network's answers at integer qualities, as it was measured for some weights and is kept
    next to them: its tensors, and the monotone fit, (8,), at most 1. What could not be compared is left out.

    Raises:
        WeightsError: as :meth:`Balance.read`.
    """
    with _measured(weights, fingerprint) as record:
        entries = [(tensors, np.array(entry["utility"], np.float64)) for tensors, entry in _entries(record["measured"])]
        if any(row.shape != _LEVELS.shape or not np.isfinite(row).all() for _, row in entries):
            raise ValueError("utilities that are not one number for each quality")
        if unknown := [name for tensors, _ in entries for name in tensors if name not in names]:
            raise ValueError(f"a tensor {unknown[0]!r} that the weights do not have")
        return [(tensors, np.minimum(_rising(row), 1)) for tensors, row in entries]


def _entries(measured: Mapping[str, Any]) -> list[tuple[tuple[str, ...], Mapping[str, Any]]]:
    """What was measured of each task or network: its tensors (by default the one of its name), and their bytes and the
    utility of its answers by quality. Where nothing could be compared, utility is None, and it is left out."""
    return [
        (tuple(entry.get("tensors", [name])), entry) for name, entry in measured.items() if entry["utility"] is not None
    ]


@contextmanager
def _measured(weights: Path, fingerprint: bytes) -> Iterator[dict[str, Any]]:
    """What was measured for some weights; a block that cannot make sense of it raises :class:`WeightsError`."""
    path = balance_path(weights)
    try:
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if record["provenance"]["weights"] != fingerprint.hex():
            raise WeightsError(
                str(path), f"a balance of weights {str(record['provenance']['weights'])[:_SHOWN]}", fingerprint.hex(),
                f"Delete it, or measure it again with {_MADE_BY}",
            )  # fmt: skip
        yield record
    except OSError as error:
        reason = "no balance" if isinstance(error, FileNotFoundError) else reason_of(error)
        expected = "one that was measured for these weights"
        raise WeightsError(str(path), reason, expected, f"Make it with {_MADE_BY}") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        what = f"nothing of {error}" if isinstance(error, KeyError) else str(error)
        raise WeightsError(
            str(path), f"a damaged file ({what[:_SHOWN]})", "a measured balance", f"Make it with {_MADE_BY}"
        ) from error


def balance_path(weights: Path) -> Path:
    """Where the balance of a weights file is kept."""
    return weights.with_suffix(".balance.json")


def at_steps(levels: NDArray[np.float64]) -> NDArray[np.float64]:
    """Values at integer qualities, (8, T), as values at all 57 steps, linear between: (57, T).

    >>> at_steps(np.arange(8.0)[:, None])[[0, 4, 56], 0].tolist()
    [0.0, 0.5, 7.0]
    """
    return np.stack([np.interp(_STEPS, _LEVELS, column) for column in levels.T], 1)


def balanced(sizes: NDArray[np.float64], utilities: NDArray[np.float64]) -> Balance:
    """The balance for measured sizes and utilities.

    Args:
        sizes: of each task at each integer quality, in any unit, (8, T), from 0.
        utilities: likewise.

    Where a better quality was measured to be worse, which is noise, utilities are replaced by their monotone fit.

    >>> levels = np.arange(8)[:, None]
    >>> cheap, dear = 2.0 ** levels, 8 * 2.0 ** levels
    >>> balance = balanced(np.hstack([cheap, dear]), np.hstack([1 - 2.0 ** -levels] * 2))
    >>> balance.at(3)[0] > 3 > balance.at(3)[1]
    True
    """
    tasks = sizes.shape[1]
    rising = np.stack([_rising(utilities[:, task]) for task in range(tasks)], 1)
    cost, worth = np.exp(at_steps(np.log(np.maximum(sizes, _TINY)))), at_steps(rising)
    slopes = np.geomspace(1e-4, 1e4, 4001) * np.ptp(worth.mean(1)) / max(np.ptp(cost.sum(1)), _TINY)
    chosen = np.stack([(worth / tasks - slope * cost).argmax(0) for slope in slopes])
    # A slope meets only points of the convex hulls; between two of them lie the steps from one to the next, and one
    # quality for all.
    path = np.unique(chosen, axis=0)
    path = path[np.argsort(path.sum(1), kind="stable")]
    between = [
        np.linspace(low, high, 1 + int(np.abs(high - low).max())).round().astype(np.int64)
        for low, high in pairwise(path)
    ]
    alike = (_LEVELS * QUALITY_STEPS_PER_UNIT)[:, None].repeat(tasks, 1)
    candidates = np.concatenate([path, *between, alike])
    every = np.arange(tasks)
    means = np.array([worth[row, every].mean() for row in candidates])
    totals = np.array([cost[row, every].sum() for row in candidates])
    rows: list[tuple[float, ...]] = []
    for level in _LEVELS:
        good = np.flatnonzero(means >= rising[level].mean() - 1e-9)
        best = candidates[good[totals[good].argmin()]]
        rows.append(tuple(_STEPS[best].tolist()))
    return Balance(tuple(rows))


def _rising(utilities: NDArray[np.float64]) -> NDArray[np.float64]:
    """The monotone fit of a task's utilities, (8,)."""
    from scipy.optimize import isotonic_regression  # half a second, which a process that codes need not spend

    return isotonic_regression(utilities).x
