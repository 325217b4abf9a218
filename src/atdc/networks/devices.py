"""Where networks run: the CPU, or a GPU. Whatever decides a bit stays on the CPU, in integers."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import nn

from atdc.errors import ArgumentError, ProgramError


def open_device(name: str | torch.device) -> torch.device:
    """A device by its name; of several processes on one machine (``torchrun``) each gets a GPU of its own.

    Raises:
        ArgumentError: no such device here, or one that holds no values.

    >>> open_device("cpu")
    device(type='cpu')
    """
    if name == "cuda":
        name = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
    try:
        device = torch.device(name)
        holds_values = not torch.zeros(1, device=device).is_meta
    except (RuntimeError, AssertionError, TypeError):  # for what is no device's name, or what a build or machine lacks
        holds_values = False
    if not holds_values:
        names = ["cpu", *(f"cuda:{number}" for number in range(torch.cuda.device_count()))]
        cure = "A GPU is called cuda." if str(name).lower().startswith(("gpu", "nvidia")) else ""
        label = repr(str(name)) if isinstance(name, torch.device) else repr(name)
        raise ArgumentError("device", label, f"one that is here: {', '.join(names)}", cure)
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
    previous, _coarse = _coarse, wanted
    try:
        yield
    finally:
        _coarse = previous


class _DefaultType:
    """Single precision as torch's default type, which all threads share, while any of them is inside."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entered = 0
        self._outer_dtype = torch.float32

    def enter(self) -> None:
        with self._lock:
            if not self._entered:
                self._outer_dtype = torch.get_default_dtype()
                torch.set_default_dtype(torch.float32)
            self._entered += 1

    def leave(self) -> None:
        with self._lock:
            self._entered -= 1
            if not self._entered:
                torch.set_default_dtype(self._outer_dtype)


class _Fork:
    """Whether this process was forked from one whose torch had started threads, which a child waits for in vain."""

    def __init__(self) -> None:
        self.threads_used = False
        self.threads_lost = False

    def check(self) -> None:
        if torch.get_num_threads() == 1:
            return
        if self.threads_lost:
            raise ProgramError(
                "process", "one that was forked after ATDC had computed in several threads", "threads of its own",
                'Start it by multiprocessing.get_context("spawn"), or call torch.set_num_threads(1) in it first.',
            )  # fmt: skip
        self.threads_used = True


_default_type = _DefaultType()
_fork = _Fork()


def _after_fork() -> None:
    """In the child: another thread of the parent may have been inside, and is not here."""
    global _default_type
    _default_type = _DefaultType()
    _fork.threads_lost |= _fork.threads_used


if sys.platform != "win32":
    os.register_at_fork(after_in_child=_after_fork)


@contextmanager
def torch_defaults() -> Iterator[None]:
    """Whatever a program has made of torch's global state does not change what is computed inside: default type and
    device, autocast, inference mode. As a decorator, or in a ``with`` block.

    Raises:
        ProgramError: in a process forked after torch's threads were used, where any computation would hang.
    """
    _fork.check()
    default_type = _default_type
    default_type.enter()
    try:
        with ExitStack() as stack:
            if torch.empty(0).device.type != "cpu":  # looked at first: the mode costs 10 µs with every operation
                stack.enter_context(torch.device("cpu"))
            stack.enter_context(torch.inference_mode(False))
            for kind in ("cpu", "cuda"):
                if _coarse or torch.is_autocast_enabled(kind):  # looked at first: entering costs as much as a layer
                    stack.enter_context(torch.autocast(kind, dtype=torch.bfloat16, enabled=_coarse))
            yield
    finally:
        default_type.leave()
