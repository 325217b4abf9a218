"""Whether two computations of the same numbers agree but for rounding."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from atdc.adapters.answer import Array
from atdc.errors import NetworkError

SAME = 1e-3
"""Mean difference of two runs, as a share of the mean deviation of the values, that rounding may make."""
SAME_WHOLE = 0.01
"""Share of whole numbers (classes, places) that ties may turn."""
_SAME_RUN = 1e-4
_LEAST_SCALE = 1e-4
"""Of values' deviation: in a map of probabilities that are all next to 0, rounding is no difference."""


def difference(before: Array, after: Array) -> float:
    """Mean difference as a share of the mean deviation of the values; of whole numbers, the share that differ.

    >>> difference(np.array([1.0, 3.0]), np.array([1.0, 3.5])), difference(np.array([1, 2]), np.array([1, 3]))
    (0.25, 0.5)
    """
    if before.shape != after.shape:
        return float("inf")
    if before.dtype.kind != "f":
        return float((before != after).mean()) if before.size else 0.0
    reference, values = before.astype(np.float64), after.astype(np.float64)
    error, scale = float(np.abs(reference - values).mean()), float(np.abs(reference - reference.mean()).mean())
    if error == 0:
        return 0.0
    return error / max(scale, 1e-6 * float(np.abs(reference).mean()), _LEAST_SCALE)


def require_repeats(name: str, first: Mapping[str, Array], second: Mapping[str, Array]) -> None:
    """Refuses two runs of a network that differ.

    Raises:
        NetworkError: a tensor is not the same.
    """
    for place, values in first.items():
        if (distance := difference(values, second[place])) > _SAME_RUN:
            raise NetworkError(
                f"{name}, {place}", f"two runs that differ by {distance:.2g} of the deviation",
                "the same numbers", "Switch off what is random in it, such as dropout.",
            )  # fmt: skip
