"""THE traversal of the graph: the one loop that trains, counts, writes and reads, by the latent coder it is given.

For each task, parents before children::

    μ, σ = predictor(decoded parents)
    ŷ    = coder(analysis(z' − μ, μ, σ))        when the features are known; read from the coder when not
    ẑ'   = μ + synthesis(ŷ, μ, σ)

Images of a batch may have different graphs. Tasks of equal depth in their graphs are independent of each other, so all
images whose task *c* sits at depth *l* are coded in one call.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from atdc.coding.latent_coders import LatentCoder
from atdc.config import QUALITY_STEPS_PER_UNIT
from atdc.graph.task_graph import TaskGraph
from atdc.networks.codec_networks import CodecNetworks
from atdc.networks.predictor import proxy_loss
from atdc.networks.resampling import resampled
from atdc.tensors import Grid, padded


@dataclass(frozen=True, slots=True)
class TraversalResult:
    """What a traversal leaves.

    Attributes:
        reconstruction: by tensor, decoded normalised features (B, C, rows, columns); zeros for tasks that were not
            wanted, the mere prediction for tasks that were not restored.
        proxy: ``L_proxy`` of each task given its decoded parents, (B, T) nats per element, where it was asked for.
    """

    reconstruction: list[Tensor]
    proxy: Tensor | None


def schedule(graphs: Sequence[TaskGraph], wanted: Collection[int] | None = None) -> list[tuple[int, list[int]]]:
    """(task, images) groups in an order in which every image meets parents before children.

    >>> chain, alone = TaskGraph(((), (0,))), TaskGraph.independent(2)
    >>> schedule([chain, alone])
    [(0, [0, 1]), (1, [1]), (1, [0])]
    """
    groups: dict[tuple[int, int], list[int]] = {}
    for image, graph in enumerate(graphs):
        for task in graph.order if wanted is None else graph.closure(wanted):
            groups.setdefault((graph.layers[task], task), []).append(image)
    return [(task, images) for (_, task), images in sorted(groups.items())]


def quality_tensor(steps: Sequence[Sequence[int]], device: torch.device) -> Tensor:
    """Qualities of each image and task, (B, T), from their steps.

    >>> quality_tensor([(32, 4)], torch.device("cpu"))
    tensor([[4.0000, 0.5000]])
    """
    return (torch.tensor(steps, dtype=torch.float64) / QUALITY_STEPS_PER_UNIT).float().to(device)


def code_along_graph(
    networks: CodecNetworks,
    graphs: Sequence[TaskGraph],
    quality: Tensor,
    coder: LatentCoder,
    grids: Sequence[Grid],
    features: Sequence[Tensor] | None = None,
    wanted: Collection[int] | None = None,
    restore_all: bool = True,
    with_proxy: bool = False,
) -> TraversalResult:
    """Codes a batch of images' features along their graphs.

    Args:
        networks: predictor and transforms.
        graphs: one per image.
        quality: (B, T), 0 to 7.
        coder: trains, counts, writes or reads.
        grids: height and width of each tensor before padding.
        features: by tensor, normalised features (B, C, rows, columns), padded; None when reading.
        wanted: tasks to decode (their ancestors come along); all by default.
        restore_all: False restores parents only: all that an encoder needs.
        with_proxy: also how well each task is predicted, for training.
    """
    batch, tasks, device = len(graphs), networks.task_count, quality.device
    decoded = [
        torch.zeros(batch, tensor.channels, *padded(grid), device=device)
        for tensor, grid in zip(networks.tensors.tensors, grids, strict=True)
    ]
    contributions: dict[int, Tensor] = {}
    proxy = torch.zeros(batch, tasks, device=device) if with_proxy else None
    edges = np.zeros((batch, tasks, tasks), np.float32)
    for image, graph in enumerate(graphs):
        for child, parents in enumerate(graph.parents):
            edges[image, child, list(parents)] = 1
    has_children = edges.max((0, 1)) > 0
    masks = torch.from_numpy(edges).to(device)

    for task, members in schedule(graphs, wanted):
        images = torch.tensor(members, device=device)
        everyone = len(members) == batch  # then nothing is copied, and nothing kept of zeros for tasks not yet coded
        chosen = slice(None) if everyone else images
        mask = masks[chosen, task]
        parent_tasks = np.flatnonzero(edges[members, task].any(0)).tolist()
        inputs = [
            resampled(contributions[parent][chosen], grids[parent], grids[task]) * mask[:, parent, None, None, None]
            for parent in parent_tasks
        ]
        target = None if features is None else features[task][chosen]
        restore = restore_all or bool(has_children[task])
        value, guess = code_task(
            networks, task, images, inputs, mask, quality[chosen, task], padded(grids[task]), coder, target, restore
        )
        decoded[task] = value if everyone else decoded[task].index_copy(0, images, value)
        if proxy is not None and target is not None:
            proxy = proxy.index_put((images, torch.full_like(images, task)), proxy_loss(*guess, target))
        if has_children[task]:
            contribution = networks.contribution(task, value).float()
            if not everyone:
                batch_contribution = (
                    contributions[task]
                    if task in contributions
                    else networks.no_contribution(batch, padded(grids[task]))
                )
                contribution = batch_contribution.index_copy(0, images, contribution)
            contributions[task] = contribution
    return TraversalResult(decoded, proxy)


def code_task(
    networks: CodecNetworks,
    task: int,
    images: Tensor,
    contributions: Sequence[Tensor],
    mask: Tensor,
    quality: Tensor,
    shape: tuple[int, int],
    coder: LatentCoder,
    target: Tensor | None,
    restore: bool = True,
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """Codes one task of some images given their parents: the body of the traversal.

    Args:
        networks: predictor and transforms.
        task: which task.
        images: which images of the batch, (n,), told to the coder.
        contributions: of the predictor's first layer, one of each decoded parent, on the task's grid,
            (n, width, rows, columns).
        mask: (n, T), 1 where a task is a parent.
        quality: (n,).
        shape: rows and columns of the task's features.
        coder: trains, counts, writes or reads.
        target: normalised features (n, C, h, w); None when reading.
        restore: whether the decoded features are wanted.

    Returns:
        The decoded normalised features (n, C, h, w), or what was predicted where they are not wanted; mean and log
        variance of the prediction.
    """
    transforms = networks.task(task)
    # Sums stay in single precision where training computes its convolutions in half.
    mean, log_variance = (part.float() for part in networks.predict(task, contributions, mask, shape))
    latent = hyper = None
    if target is not None:
        latent = transforms.analysis(target - mean, mean, log_variance, quality)
        hyper = transforms.hyper_analysis(latent)
    latent = coder.code(images, task, quality, mask, latent, hyper)
    value = mean + transforms.synthesis(latent, mean, log_variance, quality) if restore else mean
    return value, (mean, log_variance)


class StepwiseDecoder:
    """Restores one image's tensors one after the other, parents first: what :func:`code_along_graph` makes at once.

    Args:
        networks: predictor and transforms.
        graph: of the image.
        quality: (1, T), 0 to 7.
        grids: height and width of each tensor before padding.
    """

    def __init__(self, networks: CodecNetworks, graph: TaskGraph, quality: Tensor, grids: Sequence[Grid]) -> None:
        self._networks, self._graph, self._quality, self._grids = networks, graph, quality, tuple(grids)
        self._contributions: dict[int, Tensor] = {}

    def restore(self, task: int, coder: LatentCoder) -> Tensor:
        """Decoded normalised features (1, C, rows, columns) of a task whose parents have been restored."""
        parents, device = self._graph.parents[task], self._quality.device
        mask = torch.zeros(1, self._graph.size, device=device)
        mask[:, list(parents)] = 1
        inputs = [resampled(self._contributions[parent], self._grids[parent], self._grids[task]) for parent in parents]
        value, _ = code_task(
            self._networks, task, torch.zeros(1, dtype=torch.long, device=device), inputs, mask,
            self._quality[:, task], padded(self._grids[task]), coder, None,
        )  # fmt: skip
        if self._graph.children(task):
            self._contributions[task] = self._networks.contribution(task, value).float()
        return value
