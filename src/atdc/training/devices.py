"""Where networks are trained: the CPU, or a GPU. Whatever is loaded, measured in bits or saved stays on the CPU."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn

from atdc.errors import ArgumentError

Value = TypeVar("Value")


def open_device(name: str) -> torch.device:
    """A device by its name; of several processes on one machine (``torchrun``) each gets a GPU of its own.

    Raises:
        ArgumentError: no such device here.

    >>> open_device("cpu")
    device(type='cpu')
    """
    if name == "cuda":
        name = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:  # torch raises either for what a build or a machine lacks
        raise ArgumentError(
            "device", f"{name!r} ({str(error).splitlines()[0]})", "cpu, or a GPU that is here"
        ) from error
    if device.type == "cuda":
        torch.set_float32_matmul_precision("high")
        torch.backends.cudnn.allow_tf32 = True
    return device


def mixed_precision(device: torch.device) -> torch.autocast:
    """Convolutions in bfloat16 where that is faster than float32: a CPU without its instructions takes 1.6 times as
    long."""
    faster = device.type == "cuda" or (device.type == "cpu" and torch.cpu._is_avx512_bf16_supported())
    return torch.autocast(device.type if faster else "cpu", torch.bfloat16, enabled=faster)


def device_of(module: nn.Module) -> torch.device:
    """Where a module's parameters are."""
    return next(module.parameters()).device


def moved(value: Value, device: torch.device) -> Value:
    """Tensors in a dataclass, mapping or tuple, at any depth, on a device; all else, lists among it, as it is.

    >>> moved({"a": (torch.ones(1), "b")}, torch.device("cpu"))
    {'a': (tensor([1.]), 'b')}
    """
    return cast(Value, _moved(value, device))


def _moved(value: Any, device: torch.device) -> Any:
    if isinstance(value, Tensor):
        return value.to(device, non_blocking=True)
    if isinstance(value, Mapping):
        return {key: _moved(item, device) for key, item in value.items()}
    if isinstance(value, tuple):
        return tuple(_moved(item, device) for item in value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: _moved(getattr(value, field.name), device) for field in dataclasses.fields(value)}
        return type(value)(**fields)
    return value
