"""Networks in a weights file: parameters as it keeps them, and back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from numpy.typing import NDArray
from torch import nn

from atdc.weights import WeightsFile

_SINGLE_PRECISION = (
    "log_gain", "log_inverse_gain", "analysis_gain", "synthesis_gain", "scorer.offset", "scorer.spread",
    "scorer.base_offset", "scorer.base_spread", "scorer.gain_offset", "scorer.gain_spread", "scorer.overlap_scale",
)  # fmt: skip


Module = TypeVar("Module", bound=nn.Module)


def stored_arrays(module: nn.Module) -> dict[str, NDArray[Any]]:
    """A module's parameters and buffers as a weights file keeps them: matrices in half precision."""
    arrays = {}
    for key, value in module.state_dict().items():
        if key.endswith("num_batches_tracked"):
            continue
        exact = value.ndim < 2 or any(part in key for part in _SINGLE_PRECISION)
        arrays[key] = value.detach().cpu().to(torch.float32 if exact else torch.float16).contiguous().numpy()
    return arrays


def built(make: Callable[[], Module], file: WeightsFile, prefix: str) -> Module:
    """The inverse of :func:`stored_arrays`; raises :class:`WeightsError` on whatever does not fit the module."""
    with torch.device("meta"):  # what is not as the settings say is refused before it takes memory
        state = make().state_dict()
    shapes = {key: tuple(value.shape) for key, value in state.items() if not key.endswith("num_batches_tracked")}
    arrays = file.floats(prefix, shapes)
    with torch.random.fork_rng(devices=[]):  # what layers start with is no business of the caller's generator
        module = make()
    module.load_state_dict({**module.state_dict(), **{key: torch.from_numpy(array) for key, array in arrays.items()}})
    return module
