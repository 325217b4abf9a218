"""How far an answer after coding is from the one before: losses that training goes down, and metrics to report."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from atdc.adapters.python_files import called, loaded_function, result_of
from atdc.config import require_one_of
from atdc.errors import NetworkError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

UNREPORTED = "none"
"""The metric of what training alone compares."""
_LEAST_SQUARE = 1e-10
"""Below which a root's gradient would grow without bound."""

Loss = Callable[["Tensor", "Tensor"], "Tensor"]
"""Of tensors (n, …) before and after: a distance of each image, (n,)."""
CurvatureDraw = Callable[["Tensor", "torch.Generator"], "Tensor"]
"""Of a compared tensor (n, …): one number to differentiate."""
Metric = Callable[[NDArray[Any], NDArray[Any]], float]
"""Of answers (1, …) before and after: 1 where nothing has changed, not a number where there is nothing to compare."""


def _root(squares: Tensor) -> Tensor:
    """So that every loss grows with the error itself, as `l1` does. One that grows with its square vanishes next to the
    others at high quality, and its answers would stop to get better."""
    least = squares.new_tensor(_LEAST_SQUARE)
    return (squares.clamp_min(0) + least).sqrt() - least.sqrt()


def _kl(before: Tensor, after: Tensor) -> Tensor:
    """The root of Kullback and Leibler's divergence of the classes along axis 1, before from after, the mean over
    places."""
    log_p, log_q = before.float().log_softmax(1), after.float().log_softmax(1)
    divergence = (log_p.exp() * (log_p - log_q)).sum(1)
    return _root(divergence.flatten(1).mean(1) if before.ndim > 2 else divergence)


def _l1(before: Tensor, after: Tensor) -> Tensor:
    return (before - after).abs().flatten(1).mean(1)


def _l2(before: Tensor, after: Tensor) -> Tensor:
    """The root of the mean square."""
    return _root((before - after).square().flatten(1).mean(1))


LOSSES: Mapping[str, Loss] = {"kl": _kl, "l1": _l1, "l2": _l2}


def _log_probability(after: Tensor, generator: torch.Generator) -> Tensor:
    """The signed logarithms of the probabilities of classes that are drawn by them: their Fisher information is the
    curvature of Kullback and Leibler's divergence."""
    logits = after.float().log_softmax(1).movedim(1, -1).flatten(0, -2)
    classes = logits.detach().exp().multinomial(1, generator=generator)
    return (logits.gather(1, classes)[:, 0] * _signs(logits[:, 0], generator)).sum()


def _signed_sum(after: Tensor, generator: torch.Generator) -> Tensor:
    return (after * _signs(after, generator)).sum()


def _signs(like: Tensor, generator: torch.Generator) -> Tensor:
    import torch

    return (torch.randint(0, 2, like.shape, generator=generator) * 2 - 1).to(like)


def curvature_draw(loss: str) -> CurvatureDraw:
    """What to differentiate, drawn at random: on average gradients' products are the curvature of the loss's square.

    That of ``kl`` is the Fisher information; of all others that of the squared difference, which is theirs up to a
    factor (``l2``) or stands for it.

    >>> import torch
    >>> after = torch.tensor([[1.0, 2.0]], requires_grad=True)
    >>> curvature_draw("l2")(after, torch.Generator().manual_seed(0)).backward()
    >>> after.grad.abs().tolist()
    [[1.0, 1.0]]
    """
    return _log_probability if loss == "kl" else _signed_sum


def anchor(loss: str) -> float:
    """How much errors by sensitivity count next to a loss, by which training goes down at the end: as much as itself
    where they are its square's second order (``kl``, ``l2``), a tenth where they only stand for it.

    >>> anchor("kl"), anchor("l1")
    (1.0, 0.1)
    """
    return 1.0 if loss in ("kl", "l2") else 0.1


def _same(before: NDArray[Any], after: NDArray[Any]) -> float:
    return float((before == after).mean())


def _relative(before: NDArray[Any], after: NDArray[Any]) -> float:
    """1 − mean difference / mean deviation of the values before; not a number for a constant answer."""
    reference, answer = before.astype(np.float64), after.astype(np.float64)
    scale = float(np.abs(reference - reference.mean()).mean())
    if scale <= 1e-6 * float(np.abs(reference).mean()):
        return math.nan
    return 1 - float(np.abs(reference - answer).mean()) / scale


def _top1(before: NDArray[Any], after: NDArray[Any]) -> float:
    """The share of places with the same greatest class along axis 1."""
    return _same(before.argmax(1), after.argmax(1))


def _miou(before: NDArray[Any], after: NDArray[Any]) -> float:
    """Intersection over union of the classes that are there before; logits are taken by their greatest class."""
    reference, answer = (value.argmax(1) if value.dtype.kind == "f" else value for value in (before, after))
    shares = [
        ((reference == k) & (answer == k)).sum() / ((reference == k) | (answer == k)).sum()
        for k in np.unique(reference)
    ]
    return float(np.mean(shares))


def _cosine(before: NDArray[Any], after: NDArray[Any]) -> float:
    """The mean cosine of vectors along axis 1."""
    reference, answer = before.astype(np.float64), after.astype(np.float64)
    norms = np.linalg.norm(reference, axis=1) * np.linalg.norm(answer, axis=1)
    return float(((reference * answer).sum(1) / np.maximum(norms, 1e-12)).mean())


def _overlap(before: NDArray[Any], after: NDArray[Any]) -> float:
    """Σ min / Σ max of maps from 0 to 1, the soft intersection over union; a thousandth of the map is added to both, so
    that empty maps agree."""
    reference, answer = before.astype(np.float64), after.astype(np.float64)
    floor = 1e-3 * reference.size
    return float((np.minimum(reference, answer).sum() + floor) / (np.maximum(reference, answer).sum() + floor))


METRICS: Mapping[str, Metric] = {
    "overlap": _overlap,
    "relative": _relative, "same": _same, "top1": _top1, "miou": _miou, "cosine": _cosine,
}  # fmt: skip

_OF_CLASSES = frozenset({"kl", "top1", "cosine"})
"""Losses and metrics along axis 1."""


def loss_function(name: str, folder: Path) -> Loss:
    """A loss by name, or a user's own: ``file.py:function``, which gets copies.

    Raises:
        ArgumentError: no such name or function.
        NetworkError: when called, by a user's own that fails or gives no tensor of floats.

    >>> import torch
    >>> loss_function("kl", Path())(torch.zeros(2, 3), torch.zeros(2, 3)).tolist()
    [0.0, 0.0]
    """
    if ":" in name:
        function = loaded_function(name, folder)
        return lambda before, after: _own_loss(name, function, before, after)
    require_one_of("loss", name, [*LOSSES, "none", "file.py:function"])
    loss = LOSSES[name]

    def measured(before: Tensor, after: Tensor) -> Tensor:
        _require_classes(f"loss {name}", name in _OF_CLASSES, after)
        return loss(before, after)

    return measured


def _own_loss(name: str, function: Loss, before: Tensor, after: Tensor) -> Tensor:
    """What a user's own loss gives."""
    expected = f"a distance of each image for tensors like {tuple(after.shape)}"
    value: Any = result_of(f"loss {name}", function, (before.clone(), after.clone()), expected)
    if not hasattr(value, "is_floating_point") or not value.is_floating_point() or value.shape != (len(after),):
        kind = f"a tensor of {value.dtype} {tuple(value.shape)}" if hasattr(value, "dtype") else type(value).__name__
        raise NetworkError(f"loss {name}", kind, f"a tensor of floats ({len(after)},), one an image")
    return value


def metric_function(name: str, folder: Path) -> Metric:
    """A metric by name, or a user's own: ``file.py:function``.

    A metric by name is not a number where both answers are empty, and 0 where one is; a user's own gets copies.

    Raises:
        ArgumentError: no such name or function.
        NetworkError: when called, by a user's own that fails or gives no number up to 1; and by a metric by name for
            answers of different shapes.

    >>> metric_function("same", Path())(np.array([1, 2]), np.array([1, 3]))
    0.5
    """
    if ":" in name:
        loaded_function(name, folder)
        return lambda before, after: _checked(name, called(name, folder, before, after))
    require_one_of("metric", name, [*METRICS, UNREPORTED, "file.py:function"])
    metric = METRICS[name]

    def measured(before: NDArray[Any], after: NDArray[Any]) -> float:
        if not before.size or not after.size:
            return float("nan") if before.size == after.size else 0.0
        if before.shape != after.shape:
            problem = f"answers of the shapes {before.shape} and {after.shape}"
            raise NetworkError(f"metric {name}", problem, "one shape", "Write a metric of your own: file.py:function.")
        of_logits = name == "miou" and before.dtype.kind == "f"
        _require_classes(f"metric {name}", of_logits or name in _OF_CLASSES, before)
        return metric(before, after)

    return measured


def _require_classes(where: str, wanted: bool, values: Any) -> None:
    """Refuses what has no axis of classes where one is wanted."""
    if wanted and values.ndim < 2:
        raise NetworkError(
            where, f"the shape {tuple(values.shape)}", "an axis of classes, (n, classes, …)", "Name another."
        )


def _checked(name: str, value: Any) -> float:
    """The number that a user's own metric gives."""
    try:
        number = np.asarray(value)
    except ValueError:  # rows of different lengths
        number = np.array(None)
    is_number = number.size == 1 and number.dtype.kind in "biuf"
    if not is_number or not (np.isnan(number) | ((number > -np.inf) & (number <= 1 + 1e-6))).all():
        raise NetworkError(name, repr(value)[:80], "a number up to 1, or not a number where nothing can be compared")
    return float(number.item())
