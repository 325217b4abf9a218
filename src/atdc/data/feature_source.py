"""Features of many samples, wherever they come from: what fitting reads, and the features in a program's own memory.

A sample (one image, one frame) has named tensors (C, h, w). A tensor has the same channels in every sample that has
it; its grid may differ from sample to sample, and samples may lack tensors.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from atdc.errors import ArgumentError, AtdcError, DataError
from atdc.tensors import require_unmasked

if TYPE_CHECKING:
    from torch import Tensor

Shape: TypeAlias = tuple[int, int, int]
AnyArray: TypeAlias = "NDArray[Any] | Tensor"


class FeatureSource(Protocol):
    """Features of many samples, read one sample at a time and in any order."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all tensors, sorted."""
        ...

    def __len__(self) -> int:
        """How many samples."""
        ...

    def shapes(self, index: int) -> dict[str, Shape]:
        """Channels, height and width of the tensors that a sample has, without reading them."""
        ...

    def read(self, index: int) -> dict[str, NDArray[np.float32]]:
        """The tensors that a sample has, (C, h, w), all values finite."""
        ...


class DescribedSource(FeatureSource, Protocol):
    """A source whose samples have names."""

    def described(self, index: int) -> str:
        """A sample as messages name it."""
        ...


class SelectedFeatures:
    """Some samples of a source.

    Args:
        source: of all.
        rows: which.

    Attributes:
        names: names of all tensors, sorted.

    >>> whole = InMemoryFeatures([{"a": np.full((1, 2, 2), number, np.float32)} for number in range(4)])
    >>> [float(sample["a"].max()) for sample in map(SelectedFeatures(whole, [3, 1]).read, range(2))]
    [3.0, 1.0]
    """

    def __init__(self, source: DescribedSource, rows: Sequence[int]) -> None:
        self._source, self._rows, self.names = source, list(rows), source.names

    def __len__(self) -> int:
        return len(self._rows)

    def shapes(self, index: int) -> dict[str, Shape]:
        """As the source has them."""
        return self._source.shapes(self._rows[sample_number(index, len(self))])

    def read(self, index: int) -> dict[str, NDArray[np.float32]]:
        """As the source has them."""
        return self._source.read(self._rows[sample_number(index, len(self))])

    def described(self, index: int) -> str:
        """As the source says."""
        return self._source.described(self._rows[sample_number(index, len(self))])


class InMemoryFeatures:
    """Features that are in memory, as NumPy arrays or torch tensors of floats; they are not copied until read.

    Args:
        samples: the tensors (C, h, w) of each sample by name.

    Attributes:
        names: names of all tensors, sorted.

    Raises:
        ArgumentError: no sample, a sample without tensors, a tensor of another rank or type, or one with other channels
            than it has elsewhere.

    >>> features = InMemoryFeatures([{"a": np.ones((3, 2, 2))}, {"a": np.ones((3, 4, 2)), "b": np.ones((1, 1, 1))}])
    >>> len(features), features.names, features.shapes(1)
    (2, ('a', 'b'), {'a': (3, 4, 2), 'b': (1, 1, 1)})
    >>> features.read(0)["a"].dtype
    dtype('float32')
    """

    def __init__(self, samples: Sequence[Mapping[str, AnyArray]]) -> None:
        self._samples = list(samples)
        if not self._samples:
            raise ArgumentError("samples", "none", "at least one", "Check where they come from.")
        channels: dict[str, tuple[int, str]] = {}
        for index, sample in enumerate(self._samples):
            where = self.described(index)
            mapping: Any = sample
            if not isinstance(mapping, Mapping) or not all(isinstance(name, str) for name in mapping):
                raise ArgumentError(where, type(mapping).__name__, "a mapping of tensors by name")
            if not sample:
                raise ArgumentError(where, "no tensor", "at least one", "Leave the sample out.")
            for name, value in mapping.items():
                if not hasattr(value, "shape") or not hasattr(value, "dtype"):
                    expected = "a NumPy array or a torch tensor (C, h, w)"
                    raise ArgumentError(f"{where}, tensor {name!r}", type(value).__name__, expected)
            for name, value in sample.items():
                require_unmasked(value, f"{where}, tensor {name!r}")
                if reason := misfit(tuple(value.shape), _type_name(value), (3,)):
                    raise ArgumentError(f"{where}, tensor {name!r}", *reason)
                count, first = channels.setdefault(name, (value.shape[0], where))
                if count != value.shape[0]:
                    raise other_channels(ArgumentError, name, where, value.shape[0], first, count)
        self.names = tuple(sorted(channels))

    def __len__(self) -> int:
        return len(self._samples)

    def shapes(self, index: int) -> dict[str, Shape]:
        """Channels, height and width of the tensors that a sample has.

        Raises:
            ArgumentError: no such sample.
        """
        sample = self._samples[sample_number(index, len(self))]
        return {name: (value.shape[0], value.shape[1], value.shape[2]) for name, value in sample.items()}

    def read(self, index: int) -> dict[str, NDArray[np.float32]]:
        """The tensors that a sample has, (C, h, w), copied.

        Raises:
            ArgumentError: no such sample.
            DataError: a value is not finite; sample, tensor and channel are named.
        """
        sample = self._samples[sample_number(index, len(self))]
        where = self.described(index)
        return {name: finite_float32(_numpy(value), where, name) for name, value in sample.items()}

    def described(self, index: int) -> str:
        """A sample as messages name it: ``sample 3``."""
        return f"sample {index}"


def _numpy(value: AnyArray) -> NDArray[Any]:
    if isinstance(value, np.ndarray):
        return value
    wide = value.detach().cpu()
    return (wide if wide.element_size() > 4 else wide.float()).numpy()  # NumPy has no bfloat16


def _type_name(value: AnyArray) -> str:
    return value.dtype.name if isinstance(value, np.ndarray) else str(value.dtype).removeprefix("torch.")


def sample_number(index: int, count: int) -> int:
    """The index as an ``int``, if there is such a sample.

    Raises:
        ArgumentError: there is not.

    >>> sample_number(np.int64(3), 4)
    3
    """
    number = operator.index(index)
    if not 0 <= number < count:
        raise ArgumentError("sample", str(number), f"a number from 0 to {count - 1}")
    return number


def misfit(shape: tuple[int, ...], dtype: str, ranks: tuple[int, ...]) -> tuple[str, str, str] | None:
    """Why an array is no feature tensor: found, expected and cure; None if it is one.

    Args:
        shape: of the array.
        dtype: the type's name.
        ranks: how many dimensions it may have, 3 or 4.

    >>> misfit((64, 33, 33), "float16", (3,)) is None
    True
    >>> misfit((64, 33, 33), "int64", (3,))
    ('values of the type int64', 'float16, float32, float64 or bfloat16', 'Convert them to float32, or leave the array
    out.')
    """
    if dtype not in ("float16", "float32", "float64", "bfloat16"):
        expected = "float16, float32, float64 or bfloat16"
        return f"values of the type {dtype}", expected, "Convert them to float32, or leave the array out."
    expected = "channels, height and width (C, h, w)" + (", or (N, C, h, w) for N samples" if 4 in ranks else "")
    if len(shape) not in ranks:
        return f"the shape {shape}", expected, "Reshape it, a vector to (C, 1, 1), or leave it out."
    if min(shape) < 1:
        return f"the shape {shape}, without values", expected, "Leave it out."
    return None


def other_channels(
    error_class: type[AtdcError], name: str, where: str, count: int, first: str, expected: int
) -> AtdcError:
    """The error of a tensor whose channels differ between two places."""
    return error_class(
        f"{where}, tensor {name!r}", f"{count} channels", f"{expected}, as in {first}",
        "Give tensors of different networks different names.",
    )  # fmt: skip


def evenly_spaced(length: int, count: int) -> NDArray[np.int64]:
    """Places of so many of some samples, all of them if there are fewer, the first and the last among them.

    >>> evenly_spaced(10, 4).tolist(), evenly_spaced(2, 4).tolist()
    ([0, 3, 6, 9], [0, 1])
    """
    return np.linspace(0, length - 1, min(count, length)).round().astype(np.int64)


LARGEST_VALUE = 1e36
"""Differences of larger features, and what is decoded of them, could leave single precision."""


def finite_float32(values: NDArray[Any], where: str, name: str) -> NDArray[np.float32]:
    """A copy (C, h, w) as float32.

    Args:
        values: of any floating type.
        where: what messages call the sample.
        name: the tensor's.

    Raises:
        DataError: a value is not finite, or beyond :data:`LARGEST_VALUE`; the channel is named.

    >>> finite_float32(np.array([[[0.5]], [[np.nan]]]), "sample 3", "logits")
    Traceback (most recent call last):
    ...
    atdc.errors.DataError: sample 3, tensor 'logits', channel 1: found nan; expected finite values up to 1e+36. \
Find out what made it, or leave the sample out.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        result = values.astype(np.float32, order="C")
    usable = np.abs(result) <= LARGEST_VALUE  # untrue of what is not a number
    if not usable.all():
        channel, row, column = np.argwhere(~usable)[0]
        value = f"{values[channel, row, column]:.6g}"
        raise DataError(
            f"{where}, tensor {name!r}, channel {channel}", value, f"finite values up to {LARGEST_VALUE:g}",
            "Find out what made it, or leave the sample out.",
        )  # fmt: skip
    return result
