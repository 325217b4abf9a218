"""The integer entropy model: which probability table describes each symbol, from already decoded integers only.

Per task, in sixteenths of a quantisation step where a value is a mean or a latent::

    hyper-latent ĥ   mean and table: per quality step and channel, constants
    latent ŷ         x = relu(up(relu(first·ĥ + quality bias + Σ_p parent bias)) + Σ_p parent_p · state_p)
                     mean = gain(q)·(last_mean · x),   table = last_scale · x + gain(q)
                     with the spatial context `checkerboard`, where row + column is odd, s symbols where it is even:
                     x  = relu(… + around · asinh|s|),  mean = … + neighbours(q)·(the four s next to it)
    state            s = relu(own · asinh(ŷ) + hidden · x + quality bias),   what the children's x is given

Nothing here is a float but the products of :mod:`atdc.entropy.integer`, which are exact. The float model of these
equations, :mod:`atdc.entropy.float_model`, is for training only. Images are (images, rows, columns, channels).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields

import numpy as np
from numpy.typing import NDArray

from atdc.entropy.integer import IntegerConv, Integers, clamped, rounded_shift, unfold_pixels
from atdc.entropy.tables import FrequencyTables
from atdc.errors import WeightsError

MEAN_BITS = 4
"""Means and latents are integers in 1/16 of a quantisation step."""
ACTIVATION_BITS = 8
"""Activations are integers in 1/256."""
GAIN_BITS = 16
"""Gains are integers in 1/65536."""
ACTIVATION_LIMIT = (1 << 15) - 1
"""The greatest activation, 128 less a bit."""
STATE_LIMIT = 16 << ACTIVATION_BITS
"""The greatest state, 16."""
HYPER_LIMIT = 512 << MEAN_BITS
"""Decoded hyper-latents count no further than ± 512 steps."""
LATENT_LIMIT = 256
"""Decoded latents count no further than ± 256 steps in a state."""
MEAN_LIMIT = 1 << 19
"""The greatest magnitude of a mean, in sixteenths."""

NEIGHBOUR_BITS = 10
"""Weights of neighbours are integers in 1/1024 of a sixteenth."""

LEAST_FIRST_FRACTION = ACTIVATION_BITS - MEAN_BITS
"""The fewest fractional bits of the weights of first: its sums are shifted down to activations, never up."""

_ASINH_LIMIT = 1 << 12


@dataclass(frozen=True, eq=False)
class TaskEntropy:
    """One task's integers. ``S`` quality steps, ``T`` tasks, ``W`` hidden, ``M`` latent, ``H`` hyper, ``Z`` state
    channels.

    Attributes:
        fractions: fractional bits of the weights of first, up (and parents), last_mean, last_scale, own (and hidden).
        hyper_mean: (S, H), sixteenths.
        hyper_table: (S, H).
        first: (3, 3, H, W).
        first_bias: (S, W), in units of first's sums.
        parent_bias: (T, W), likewise.
        up: (1, 1, W, 4·W), output ``(2·row + column)·W + channel`` of a 2×2 block.
        up_bias: (4·W,).
        parents: (T, Z, W), in up's units.
        last_mean: (3, 3, W, M).
        last_mean_bias: (M,).
        last_scale: (3, 3, W, M), counts in tables.
        last_scale_bias: (M,).
        gain: (S, M), in 1/65536.
        gain_tables: (S, M), logarithm of the gain in last_scale's units.
        own: (3, 3, M, Z).
        hidden: (1, 1, W, Z).
        state_bias: (S, Z).
        asinh: (2·256 + 1,), asinh of −256 … 256 in 1/256.
        around: (3, 3, M, W), in up's units; None without a spatial context.
        neighbours: (S, M), in 1/1024 of a sixteenth a symbol; likewise.
    """

    fractions: NDArray[np.int32]
    hyper_mean: NDArray[np.int32]
    hyper_table: NDArray[np.int32]
    first: NDArray[np.int16]
    first_bias: NDArray[np.int32]
    parent_bias: NDArray[np.int32]
    up: NDArray[np.int16]
    up_bias: NDArray[np.int32]
    parents: NDArray[np.int16]
    last_mean: NDArray[np.int16]
    last_mean_bias: NDArray[np.int32]
    last_scale: NDArray[np.int16]
    last_scale_bias: NDArray[np.int32]
    gain: NDArray[np.int32]
    gain_tables: NDArray[np.int32]
    own: NDArray[np.int16]
    hidden: NDArray[np.int16]
    state_bias: NDArray[np.int32]
    asinh: NDArray[np.int16]
    around: NDArray[np.int16] | None = None
    neighbours: NDArray[np.int16] | None = None


@dataclass(frozen=True, eq=False)
class EntropyModel:
    """The entropy parameters of every task, and the probability tables they choose from.

    Args:
        tasks: integers by task.
        tables: the probability tables.
        factorised: which tasks have no hyper-latent: `none`, `roots` or `all`.
        padding: latents that lie wholly in the padding: `coded`, or `zero`, without a symbol.
        spatial_context: `none`, or `checkerboard`: of a latent, positions whose row and column have an odd sum are
            coded last, and what the others are tells of them.

    Raises:
        WeightsError: shapes that do not fit together, or sums that could exceed what is exact.
    """

    tasks: tuple[TaskEntropy, ...]
    tables: FrequencyTables
    factorised: str = "none"
    padding: str = "coded"
    spatial_context: str = "none"
    _layers: tuple[_Layers, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Checks shapes and bounds; builds the layers."""
        has_context = self.spatial_context != "none"
        layers = tuple(
            _Layers.of(task, len(self.tasks), self.tables.size, i, has_context) for i, task in enumerate(self.tasks)
        )
        for name in ("hyper_mean", "own"):  # hyper-latents and states of all tasks are alike
            sizes = [getattr(task, name).shape[-1] for task in self.tasks]
            if len(set(sizes)) > 1:
                raise WeightsError(f"entropy, channels of {name}", str(sizes), "as many for every task")
        object.__setattr__(self, "_layers", layers)

    @property
    def hyper_channels(self) -> int:
        """``H``."""
        return int(self.tasks[0].hyper_mean.shape[1])

    def latent_channels(self, task: int) -> int:
        """``M`` of a task."""
        return int(self.tasks[task].gain.shape[1])

    def sends_hyper(self, parents: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Whether a task with these parents, (n, T), has a hyper-latent, (n,); where it has none, it counts as zero."""
        return sends_hyper(self.factorised, parents)

    def hyper_prior(self, task: int, steps: Integers) -> tuple[Integers, Integers]:
        """Mean in sixteenths and table of each channel of the hyper-latent, each (n, H).

        Args:
            task: which task.
            steps: quality steps, (n,).
        """
        integers = self.tasks[task]
        return integers.hyper_mean[steps].astype(np.int64), integers.hyper_table[steps].astype(np.int64)

    def hidden_sums(
        self, task: int, steps: Integers, hyper: Integers, parents: NDArray[np.bool_], states: Mapping[int, Integers]
    ) -> Integers:
        """What hyper-latent and parents tell of a latent: the sums that x is the relu of, (n, rows, columns, W).

        Args:
            task: which task.
            steps: quality steps, (n,).
            hyper: decoded hyper-latent in sixteenths, (n, rows/2, columns/2, H).
            parents: (n, T), True where a task is a parent.
            states: by parent, (n, rows, columns, Z); only those of parents are looked at.
        """
        integers, layers = self.tasks[task], self._layers[task]
        first_bits = int(integers.fractions[0])
        x = layers.first(clamped(hyper, -HYPER_LIMIT, HYPER_LIMIT))
        bias = integers.first_bias[steps].astype(np.int64) + parents.astype(np.int64) @ integers.parent_bias
        x = rounded_shift(x + bias[:, None, None], MEAN_BITS + first_bits - ACTIVATION_BITS)
        x = unfold_pixels(layers.up(clamped(x, 0, ACTIVATION_LIMIT)) + integers.up_bias)
        for parent in np.flatnonzero(parents.any(0)).tolist():
            rows = np.flatnonzero(parents[:, parent])
            x[rows] += layers.parents[parent](states[parent][rows])
        return x

    def latent_prior(
        self, task: int, steps: Integers, sums: Integers, around: Integers | None = None,
        at: NDArray[np.bool_] | None = None,
    ) -> tuple[Integers, Integers, Integers]:  # fmt: skip
        """Mean in sixteenths and table of each latent, each (n, rows, columns, M), and the hidden x.

        Args:
            task: which task.
            steps: quality steps, (n,).
            sums: of :meth:`hidden_sums`.
            around: the symbols that are known of this latent, (n, rows, columns, M), 0 where none is; None for the
                first of them.
            at: where means and tables are asked for, (rows, columns), which are (n, positions, M) then; None:
                everywhere.
        """
        integers, layers = self.tasks[task], self._layers[task]
        _, up_bits, mean_bits, scale_bits, _ = (int(bits) for bits in integers.fractions)
        if around is not None and layers.around is not None:
            around = clamped(around, -LATENT_LIMIT, LATENT_LIMIT)
            sums = sums + layers.around(integers.asinh[np.abs(around) + LATENT_LIMIT].astype(np.int64))
        x = clamped(rounded_shift(sums, up_bits), 0, ACTIVATION_LIMIT)

        last, channels = layers.last(x, at), self.latent_channels(task)

        def of_steps(rows: NDArray[np.integer]) -> Integers:
            return np.expand_dims(rows[steps], (1, 2) if at is None else 1).astype(np.int64)

        last_mean, last_scale = last[..., :channels], last[..., channels:]
        mean = (last_mean + integers.last_mean_bias) * of_steps(integers.gain)
        mean = rounded_shift(mean, ACTIVATION_BITS + mean_bits + GAIN_BITS - MEAN_BITS)
        if around is not None and integers.neighbours is not None:
            sums = sums_of_neighbours(around)
            offset = of_steps(integers.neighbours) * (sums if at is None else sums[:, at])
            mean += rounded_shift(offset, NEIGHBOUR_BITS)
        table = last_scale + integers.last_scale_bias + of_steps(integers.gain_tables)
        table = rounded_shift(table, ACTIVATION_BITS + scale_bits)
        return clamped(mean, -MEAN_LIMIT, MEAN_LIMIT), clamped(table, 0, self.tables.size - 1), x

    def state(self, task: int, steps: Integers, latent: Integers, hidden: Integers) -> Integers:
        """What a decoded latent (n, rows, columns, M) tells the task's children, (n, rows, columns, Z)."""
        integers, layers = self.tasks[task], self._layers[task]
        whole = clamped(rounded_shift(latent, MEAN_BITS), -LATENT_LIMIT, LATENT_LIMIT)
        state = layers.own(integers.asinh[whole + LATENT_LIMIT].astype(np.int64)) + layers.hidden(hidden)
        state = rounded_shift(state + integers.state_bias[steps][:, None, None], int(integers.fractions[4]))
        return clamped(state, 0, STATE_LIMIT)

    def to_arrays(self) -> dict[str, NDArray[np.integer]]:
        """Everything by name, to be kept with the weights."""
        arrays: dict[str, NDArray[np.integer]] = {f"tables.{k}": v for k, v in self.tables.to_arrays().items()}
        for index, task in enumerate(self.tasks):
            entries = {f"{index}.{entry.name}": getattr(task, entry.name) for entry in fields(TaskEntropy)}
            arrays |= {name: array for name, array in entries.items() if array is not None}
        return arrays

    @classmethod
    def from_arrays(
        cls, arrays: Mapping[str, NDArray[np.integer]], task_count: int, factorised: str = "none",
        padding: str = "coded", spatial_context: str = "none",
    ) -> EntropyModel:  # fmt: skip
        """The inverse of :meth:`to_arrays`; the rest is kept with the model's settings.

        Raises:
            WeightsError: an array is missing or of another type, or the constructor's reasons.
        """
        tables = FrequencyTables.from_arrays(
            {k.removeprefix("tables."): v for k, v in arrays.items() if k.startswith("tables.")}
        )
        tasks = []
        for index in range(task_count):
            values = {}
            for entry in fields(TaskEntropy):
                if entry.default is None and spatial_context == "none":
                    continue
                array = arrays.get(f"{index}.{entry.name}")
                kind = "int16" if "int16" in str(entry.type) else "int32"
                if array is None or array.dtype != kind:
                    problem = "no such array" if array is None else str(array.dtype)
                    raise WeightsError(f"entropy.{index}.{entry.name}", problem, kind, "Fetch the weights again.")
                values[entry.name] = array
            tasks.append(TaskEntropy(**values))  # type: ignore[arg-type]  # kinds checked here, shapes in _Layers
        return cls(tuple(tasks), tables, factorised, padding, spatial_context)


def first_half(rows: int, columns: int) -> NDArray[np.bool_]:
    """Where a latent is coded first under the spatial context `checkerboard`.

    >>> first_half(2, 3).astype(int).tolist()
    [[1, 0, 1], [0, 1, 0]]
    """
    return np.asarray(np.add.outer(np.arange(rows), np.arange(columns)) % 2 == 0)


def sums_of_neighbours(values: Integers) -> Integers:
    """Of each position of (n, rows, columns, M), the sum of the four next to it, zeros around the image.

    >>> sums_of_neighbours(np.arange(4).reshape(1, 2, 2, 1))[0, :, :, 0].tolist()
    [[3, 3], [3, 3]]
    """
    wide = np.pad(values, ((0, 0), (1, 1), (1, 1), (0, 0)))
    return wide[:, :-2, 1:-1] + wide[:, 2:, 1:-1] + wide[:, 1:-1, :-2] + wide[:, 1:-1, 2:]


def sends_hyper(factorised: str, parents: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Whether tasks with these parents, (n, T), have a hyper-latent, (n,).

    >>> sends_hyper("roots", np.array([[True, False], [False, False]])).tolist()
    [True, False]
    """
    if factorised == "roots":
        return np.asarray(parents.any(1))
    return np.full(len(parents), factorised == "none")


@dataclass(frozen=True, eq=False)
class _Layers:
    """One task's integers as checked layers."""

    first: IntegerConv
    up: IntegerConv
    last: IntegerConv
    own: IntegerConv
    hidden: IntegerConv
    parents: tuple[IntegerConv, ...]
    around: IntegerConv | None

    @classmethod
    def of(cls, task: TaskEntropy, task_count: int, tables: int, index: int, has_context: bool) -> _Layers:
        for name, rank in (("hyper_mean", 2), ("first", 4), ("gain", 2), ("own", 4)):
            if getattr(task, name).ndim != rank:
                raise WeightsError(f"entropy.{index}.{name}", f"shape {getattr(task, name).shape}", f"{rank} axes")
        steps, hyper = task.hyper_mean.shape
        width, latent, state = task.first.shape[-1], task.gain.shape[-1], task.own.shape[-1]
        shapes = {
            "fractions": (5,), "hyper_mean": (steps, hyper), "hyper_table": (steps, hyper),
            "first": (3, 3, hyper, width), "first_bias": (steps, width), "parent_bias": (task_count, width),
            "up": (1, 1, width, 4 * width), "up_bias": (4 * width,), "parents": (task_count, state, width),
            "last_mean": (3, 3, width, latent), "last_mean_bias": (latent,), "last_scale": (3, 3, width, latent),
            "last_scale_bias": (latent,), "gain": (steps, latent), "gain_tables": (steps, latent),
            "own": (3, 3, latent, state), "hidden": (1, 1, width, state), "state_bias": (steps, state),
            "asinh": (2 * LATENT_LIMIT + 1,),
        }  # fmt: skip
        of_context = {"around": (3, 3, latent, width), "neighbours": (steps, latent)}
        for name, shape in (shapes | of_context if has_context else shapes).items():
            array_shape = None if getattr(task, name) is None else getattr(task, name).shape
            if array_shape != shape:
                raise WeightsError(f"entropy.{index}.{name}", f"shape {array_shape}", str(shape))
        if task.hyper_table.min() < 0 or task.hyper_table.max() >= tables:
            span = f"{task.hyper_table.min()} … {task.hyper_table.max()}"
            raise WeightsError(f"entropy.{index}.hyper_table", span, f"0 … {tables - 1}")
        if np.abs(task.asinh.astype(np.int64)).max() > _ASINH_LIMIT:
            raise WeightsError(f"entropy.{index}.asinh", f"{np.abs(task.asinh).max()}", f"at most {_ASINH_LIMIT}")
        sums = np.abs(task.last_mean.astype(np.int64)).sum((0, 1, 2)) * ACTIVATION_LIMIT
        gains = np.abs(task.gain.astype(np.int64)).max(0)
        worst = max(
            (total + abs(bias)) * gain
            for total, bias, gain in zip(sums.tolist(), task.last_mean_bias.tolist(), gains.tolist(), strict=True)
        )
        if worst >= 1 << 62:
            raise WeightsError(f"entropy.{index}.gain", f"means that may reach {worst}", "means below 2**62")
        if task.fractions.min() < 0 or task.fractions.max() > 16 or task.fractions[0] < LEAST_FIRST_FRACTION:
            expected = f"0 … 16, the first from {LEAST_FIRST_FRACTION} on"
            raise WeightsError(f"entropy.{index}.fractions", str(task.fractions.tolist()), expected)

        def layer(name: str, reach: int, weight: NDArray[np.integer] | None = None) -> IntegerConv:
            return IntegerConv(getattr(task, name) if weight is None else weight, reach, f"entropy.{index}.{name}")

        return cls(
            layer("first", HYPER_LIMIT), layer("up", ACTIVATION_LIMIT),
            layer("last_mean and last_scale", ACTIVATION_LIMIT, np.concatenate([task.last_mean, task.last_scale], -1)),
            layer("own", _ASINH_LIMIT), layer("hidden", ACTIVATION_LIMIT),
            tuple(layer("parents", STATE_LIMIT, weight[None, None]) for weight in task.parents),
            layer("around", _ASINH_LIMIT) if has_context else None,
        )  # fmt: skip
