"""Latents to symbols and back: the integer entropy model meets whoever counts, writes or reads symbols."""

from __future__ import annotations

import binascii
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from atdc.entropy.integer import Integers, Numbers
from atdc.entropy.model import MEAN_BITS, first_half
from atdc.entropy.tables import FrequencyTables
from atdc.tensors import Grid, latent_grid, padded, spans

LARGEST_SYMBOL = 1 << 15
"""Writers clamp symbols to ± this; a latent that far out is damage, not data."""


class SymbolCoder(Protocol):
    """What symbols are handed to: a counter, a writer or a reader."""

    def code(
        self, image: int, task: int, symbols: NDArray[np.int32] | None, table_index: NDArray[np.uint8]
    ) -> NDArray[np.int32]:
        """Takes (or, reading, returns) the symbols of one image's task, each with the table that describes it."""
        ...


class EntropyParameters(Protocol):
    """What decides the probability of a symbol: :class:`~atdc.entropy.model.EntropyModel`, integers all
    through; or, to measure what integers cost, its float model."""

    @property
    def tables(self) -> FrequencyTables:
        """The probability tables."""
        ...

    @property
    def hyper_channels(self) -> int:
        """Channels of the hyper-latent."""
        ...

    @property
    def padding(self) -> str:
        """Latents that lie wholly in the padding: ``coded`` or ``zero``."""
        ...

    @property
    def spatial_context(self) -> str:
        """What is known of a latent tells of the rest of it: ``none`` or ``checkerboard``."""
        ...

    def sends_hyper(self, parents: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Whether a task with these parents has a hyper-latent."""
        ...

    def hyper_prior(self, task: int, steps: Integers) -> tuple[Integers, Integers]:
        """Mean and table of the hyper-latent."""
        ...

    def hidden_sums(
        self, task: int, steps: Integers, hyper: Integers, parents: NDArray[np.bool_], states: Mapping[int, Numbers]
    ) -> Numbers:
        """What hyper-latent and parents tell of the latent."""
        ...

    def latent_prior(
        self, task: int, steps: Integers, sums: Numbers, around: Integers | None = None,
        at: NDArray[np.bool_] | None = None,
    ) -> tuple[Integers, Integers, Numbers]:  # fmt: skip
        """Mean and table of the latent, where some symbols of it are known, and hidden activations."""
        ...

    def state(self, task: int, steps: Integers, latent: Integers, hidden: Numbers) -> Numbers:
        """What a decoded latent tells the task's children."""
        ...


class EntropyCoder:
    """Codes the latents of a batch, task by task, parents before children.

    Args:
        model: the entropy parameters.
        symbols: counts, writes or reads.
        steps: quality steps of each image and task, (B, T).
        grids: height and width of each task's features, before padding.
        states: by task, what latents that were coded elsewhere tell their children, (B, rows, columns, Z).

    Attributes:
        states: by task, what is known of the latents coded so far.
        checks: by (image, task), the CRC-16/XMODEM of the decoded integers: hyper-latent, then latent, in sixteenths
            of a step, int32, little-endian, by row, column and channel.
    """

    def __init__(
        self, model: EntropyParameters, symbols: SymbolCoder, steps: Integers, grids: Sequence[Grid],
        states: Mapping[int, Numbers] | None = None,
    ) -> None:  # fmt: skip
        self._model, self._symbols, self._steps, self._grids = model, symbols, steps, tuple(grids)
        self.states: dict[int, Numbers] = dict(states or {})
        self._remembers = True
        self.checks: dict[tuple[int, int], int] = {}

    def for_trial(self, symbols: SymbolCoder, copies: int, parents: Collection[int]) -> EntropyCoder:
        """A coder of so many copies of the batch, one after the other, that knows these parents as far as they were
        decoded, hands its symbols elsewhere, and remembers nothing of them."""
        states = {task: np.tile(state, (copies, 1, 1, 1)) for task, state in self.states.items() if task in parents}
        trial = EntropyCoder(self._model, symbols, np.tile(self._steps, (copies, 1)), self._grids, states)
        trial._remembers = False
        return trial

    def code(
        self,
        images: Sequence[int],
        task: int,
        parents: NDArray[np.bool_],
        latent: NDArray[np.float64] | None = None,
        hyper: NDArray[np.float64] | None = None,
    ) -> Integers:
        """Codes one task of some images.

        Args:
            images: which of the batch, (n,).
            task: which task.
            parents: (n, T), True where a task is a parent; parents were coded before.
            latent: in quantisation steps (n, rows, columns, M); None when reading.
            hyper: likewise, at half the size.

        Returns:
            The decoded latent in sixteenths of a step, (n, rows, columns, M).
        """
        model, rows = self._model, np.asarray(images, np.int64)
        steps, grid = self._steps[rows, task], self._grids[task]
        height, width = padded(grid)
        shape = (len(rows), height // 4, width // 4, model.hyper_channels)
        mean, table = (np.broadcast_to(row[:, None, None], shape) for row in model.hyper_prior(task, steps))
        hyper_rows = np.flatnonzero(model.sends_hyper(parents)).tolist()
        decoded_hyper = np.zeros(shape, np.int64)
        if hyper_rows:
            senders, hyper_values = [images[row] for row in hyper_rows], None if hyper is None else hyper[hyper_rows]
            decoded_hyper[hyper_rows] = self._exchange(senders, task, hyper_values, mean[hyper_rows], table[hyper_rows])
        states = {
            parent: resampled_states(state[rows], self._grids[parent], grid)
            for parent, state in self.states.items()
            if parents[:, parent].any()
        }
        prior = partial(model.latent_prior, task, steps, model.hidden_sums(task, steps, decoded_hyper, parents, states))
        own_rows, own_columns = latent_grid(grid) if model.padding == "zero" else (height // 2, width // 2)
        if model.spatial_context == "none":
            inner = (slice(None), slice(own_rows), slice(own_columns))
            mean, table, hidden = prior()
            decoded = np.zeros_like(mean)
            values = None if latent is None else latent[inner]
            decoded[inner] = self._exchange(images, task, values, mean[inner], table[inner])
        else:
            places = np.zeros((height // 2, width // 2), np.bool_)
            places[:own_rows, :own_columns] = True
            decoded, hidden = self._in_halves(images, task, latent, prior, places)
        if not self._remembers:
            return decoded
        state = model.state(task, steps, decoded, hidden)
        self.states.setdefault(task, np.zeros((len(self._steps), *state.shape[1:]), state.dtype))[rows] = state
        for row, image in enumerate(images):
            check = binascii.crc_hqx(decoded_hyper[row].astype("<i4").tobytes(), 0)
            self.checks[image, task] = binascii.crc_hqx(decoded[row].astype("<i4").tobytes(), check)
        return decoded

    def _in_halves(
        self, images: Sequence[int], task: int, latent: NDArray[np.float64] | None,
        prior: Callable[..., tuple[Integers, Integers, Numbers]], places: NDArray[np.bool_],
    ) -> tuple[Integers, Numbers]:  # fmt: skip
        """Codes a latent at some places, every second one of them when the others are known; the rest of it is 0.
        Also returns the hidden activations."""
        first = first_half(*places.shape)
        before, after = np.logical_and(places, first), np.logical_and(places, ~first)
        mean, table, hidden = prior(at=before)
        decoded = np.zeros((len(images), *places.shape, mean.shape[-1]), np.int64)
        symbols = np.zeros_like(decoded)
        for half in (before, after) if after.any() else (before,):
            if half is after:
                mean, table, _ = prior(symbols, after)
            values = None if latent is None else latent[:, half]
            decoded[:, half] = self._exchange(images, task, values, mean, table)
            symbols[:, half] = (decoded[:, half] - mean) >> MEAN_BITS
        return decoded, hidden

    def _exchange(
        self, images: Sequence[int], task: int, value: NDArray[np.float64] | None, mean: Integers, table: Integers
    ) -> Integers:
        """Rounds values to symbols around their means and codes them, or reads them; returns decoded sixteenths."""
        symbols = None
        if value is not None:
            rounded = np.rint(value - mean / (1 << MEAN_BITS))
            symbols = np.clip(rounded, -LARGEST_SYMBOL, LARGEST_SYMBOL).astype(np.int32)
        tables = table.astype(np.uint8)
        parts = [
            self._symbols.code(image, task, None if symbols is None else symbols[row].ravel(), tables[row].ravel())
            for row, image in enumerate(images)
        ]
        return (np.stack(parts).reshape(mean.shape).astype(np.int64) << MEAN_BITS) + mean


def resampled_states(states: Numbers, parent: Grid, child: Grid) -> Numbers:
    """A parent's states at the latent positions of a child whose features have another grid; integers stay integers.

    Along each axis by :func:`~atdc.tensors.spans` on the latents' grids, without their padding: sum and floor division
    over what a position covers, or the state under its middle; beyond the child's own positions the outermost again.

    Args:
        states: (n, rows, columns, Z) on the parent's padded latent grid.
        parent: height and width of the parent's features.
        child: likewise of the child's.

    >>> states = np.arange(4).reshape(1, 2, 2, 1)
    >>> resampled_states(states, (4, 4), (2, 2)).ravel().tolist()
    [1, 1, 1, 1]
    >>> resampled_states(states, (4, 4), (1, 6))[0, 0].T.tolist()
    [[1, 2, 2, 2]]
    """
    if parent == child:
        return states
    means, counts = states, np.ones(1, np.int64)
    pairs = list(zip((1, 2), latent_grid(parent), latent_grid(child), strict=True))
    # What shrinks goes first: a tall grid and a wide one never meet in one that is both.
    for axis, length, target in sorted(pairs, key=lambda pair: pair[2] >= pair[1]):
        starts, stops = spans(length, target).T
        if target >= length:
            means = means.take(starts, axis)
            continue
        sums = np.zeros_like(means, shape=(*means.shape[:axis], means.shape[axis] + 1, *means.shape[axis + 1 :]))
        means.cumsum(axis, out=sums[(slice(None),) * axis + (slice(1, None),)])
        means = sums.take(stops, axis) - sums.take(starts, axis)
        counts = counts * np.expand_dims(stops - starts, (1, 2) if axis == 1 else 1)
    means = means // counts if states.dtype.kind in "iu" else means / counts
    height, width = padded(child)
    border = ((0, 0), (0, height // 2 - means.shape[1]), (0, width // 2 - means.shape[2]), (0, 0))
    return np.pad(means, border, mode="edge")
