"""Training in several processes, started by ``torchrun``: each takes its share of every batch, gradients are averaged.

::

    torchrun --nproc-per-node 2 --no-python -- atdc train --recipe small

One process does everything as if there were no others; of several, the first alone writes. Networks here are run
part by part, along graphs that differ from batch to batch; so gradients are averaged after the backward pass, by no
wrapper around ``forward``. Features and measured costs are shared out, too; what else is no training (rates, graphs),
and the factorised rate estimator, every process computes for itself.
"""

from __future__ import annotations

import atexit
import contextlib
import os
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from tqdm import tqdm

Value = TypeVar("Value")


def join() -> None:
    """Meets the other processes of a ``torchrun``, and leaves them when Python ends; does nothing without one."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and not dist.is_initialized():
        dist.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo")
        atexit.register(_leave)


def _leave() -> None:
    """Ends the group's threads; one that still runs when the process ends would abort it, after all is done."""
    if dist.is_initialized():
        dist.destroy_process_group()


def count() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """Which of them this is, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def is_first() -> bool:
    """Whether this one writes files."""
    return rank() == 0


def shows_progress() -> bool:
    """Whether this one shows bars and figures of epochs."""
    return is_first() and not _silent


def bar(iterable: Any = None, **settings: Any) -> tqdm[Any]:
    """A progress bar, where one is shown: on a terminal.

    >>> list(bar(range(2), desc="twice", disable=True))
    [0, 1]
    """
    hidden = not shows_progress() or None  # None: where standard error is no terminal
    return tqdm(iterable, **{"mininterval": 2.0, "disable": hidden, **settings})


_silent = False


@contextlib.contextmanager
def silent(wanted: bool) -> Iterator[None]:
    """No bars and no figures of epochs inside, if that is wanted."""
    global _silent
    previous, _silent = _silent, _silent or wanted
    try:
        yield
    finally:
        _silent = previous


def wait() -> None:
    """Until all are here."""
    if dist.is_initialized():
        dist.barrier()


def gathered(value: Value) -> list[Value]:
    """Every process's value, in their order.

    >>> gathered("alone")
    ['alone']
    """
    if count() == 1:
        return [value]
    values: list[Any] = [None] * count()
    dist.all_gather_object(values, value)
    return values


@torch.no_grad()
def average_gradients(parameters: Iterable[Tensor]) -> None:
    """Replaces each gradient by its mean over processes; one that a process lacks counts as zeros there."""
    if count() == 1:
        return
    gradients = []
    for parameter in parameters:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
        gradients.append(parameter.grad)
    _average(gradients)


@torch.no_grad()
def average_buffers(module: nn.Module) -> None:
    """Replaces floating-point buffers (running statistics of normalisations) by their means over processes."""
    if count() > 1:
        _average([buffer for buffer in module.buffers() if buffer.is_floating_point()])


def _average(tensors: list[Tensor]) -> None:
    """All in one message."""
    if not tensors:
        return
    flat = torch.cat([tensor.ravel() for tensor in tensors])
    dist.all_reduce(flat)
    flat /= count()
    for tensor, part in zip(tensors, torch.split(flat, [tensor.numel() for tensor in tensors]), strict=True):
        tensor.copy_(part.view_as(tensor))
