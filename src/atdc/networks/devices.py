"""Where networks run: the CPU, or a GPU. Whatever decides a bit stays on the CPU, in integers."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import nn

from atdc.errors import ArgumentError


def open_device(name: str | torch.device) -> torch.device:
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
        found = f"{str(name)!r} ({str(error).splitlines()[0]})"
        raise ArgumentError("device", found, "cpu, or a GPU that is here") from error
    return device


def device_of(module: nn.Module) -> torch.device:
    """Where a module's parameters are."""
    return next(module.parameters()).device


_coarse = False


@contextmanager
def coarse_arithmetic(wanted: bool) -> Iterator[None]:
    """Networks compute in bfloat16 where torch finds that fit, inside :func:`torch_defaults` too: to check that no
    float decides a bit."""
    global _coarse
    before, _coarse = _coarse, wanted
    try:
        yield
    finally:
        _coarse = before


@contextmanager
def torch_defaults() -> Iterator[None]:
    """Whatever a program has made of torch's global state does not change what is computed inside: default type and
    device, autocast, inference mode. As a decorator, or in a ``with`` block."""
    dtype = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        with ExitStack() as stack:
            stack.enter_context(torch.device("cpu"))
            stack.enter_context(torch.inference_mode(False))
            for kind in ("cpu", "cuda"):
                stack.enter_context(torch.autocast(kind, dtype=torch.bfloat16, enabled=_coarse))
            yield
    finally:
        torch.set_default_dtype(dtype)
