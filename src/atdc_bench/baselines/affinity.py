"""What a TAMC-style codec needs before it is a codec: which tasks share a representation, and a graph over the groups.

After "Which Tasks Should Be Compressed Together?" (TAMC, ICLR 2025): tasks are grouped by how much a training step on
one lowers the loss of another, every group gets one representation, and groups are coded along one static graph in
which each has the parent that tells most of it. Neither its code nor its numbers per task are public. How affinity is
measured follows Fifty et al., "Efficiently Identifying Task Groupings for Multi-Task Learning" (arXiv 2109.04617);
what both leave open is ours, and named so below.

1. :func:`affinity_trace` trains one network for all tasks and measures the affinities on the way.
2. :func:`best_partition` makes groups of them.
3. :func:`group_costs` says what each group costs given each other, and :func:`static_graph` makes the graph of that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn
from torch.func import functional_call
from tqdm import tqdm

from atdc.codec import FeatureCodec
from atdc.config import MAX_QUALITY, Recipe
from atdc.data.labelled import IMAGE
from atdc.data.rooms import RoomsDataset
from atdc.errors import ArgumentError
from atdc.graph.scores import ScoreTable, candidate_sets
from atdc.graph.search import exact
from atdc.graph.task_graph import TaskGraph
from atdc.networks.encoders import SmallEncoder
from atdc.networks.heads import SmallHead
from atdc.networks.predictability import score_bits
from atdc.tasks import TASKS
from atdc.training.loop import cosine
from atdc.training.losses import task_loss
from atdc.training.run_folder import RunFolder
from atdc.training.task_stage import class_weights, load_targets
from atdc_bench.baselines.grouping import Grouping

Floats = NDArray[np.float64]

MAX_PARTITIONED_TASKS = 10
"""Beyond this many tasks the partitions are too many to try each: there are 115,975 of ten."""

LOOK_AHEAD_SHARE = 0.1
"""Length of the look-ahead step, as a share of the optimiser's; see :func:`affinity_trace`."""
UNMEASURED_SHARE = 0.1
"""Share of training that passes before the first measurement."""

_SMALLEST_LOSS = 1e-6
_IMAGES_PER_BATCH = 50


# --- how much a step on one task helps another ------------------------------------------------------------------------


def look_ahead(
    losses: Callable[[Mapping[str, Tensor]], Tensor], parameters: Mapping[str, Tensor], step_sizes: Mapping[str, Tensor]
) -> Floats:
    """Inter-task affinity on one batch: by which share a step on task i alone lowers the loss of task j.

        Z[i, j] = 1 - L_j(θ_i) / L_j(θ),        θ_i = θ - s ⊙ ∇L_i(θ) / L_i(θ)

    θ are the shared parameters; the tasks' own stay as they are (Fifty et al., arXiv 2109.04617, equation 1). Dividing
    the gradient by the loss is what training does here, too: it makes the step the same in whatever unit the loss is.

    Args:
        losses: the losses of all T tasks, (T,), as a function of θ and of nothing else that varies.
        parameters: θ, the shared ones, by name.
        step_sizes: s, of the same names; tensors of the same shapes, or of one element.

    Returns:
        (T, T), rows i, columns j. Positive where the step helps.

    >>> def losses(parameters):
    ...     return torch.stack([(parameters["x"] - goal).square().sum() for goal in (1.0, 2.0, -1.0)])
    >>> look_ahead(losses, {"x": torch.zeros(1)}, {"x": torch.tensor(0.1)}).round(3)
    array([[ 0.36 ,  0.19 , -0.44 ],
           [ 0.19 ,  0.098, -0.21 ],
           [-0.44 , -0.21 ,  0.36 ]])
    """
    theta = {name: value.detach().requires_grad_() for name, value in parameters.items()}
    before = losses(theta)
    scaled_losses = before / before.detach().clamp(min=_SMALLEST_LOSS)
    rows = []
    for loss in scaled_losses:
        gradients = torch.autograd.grad(loss, list(theta.values()), retain_graph=True)
        with torch.no_grad():
            task_theta = {
                name: value - step_sizes[name] * gradient
                for (name, value), gradient in zip(theta.items(), gradients, strict=True)
            }
            rows.append(1 - losses(task_theta) / before.clamp(min=_SMALLEST_LOSS))
    return torch.stack(rows).double().numpy()


def affinity_trace(
    run: RunFolder, recipe: Recipe, data: RoomsDataset, *, steps: int, every: int, batch: int, seed: int = 0,
    images: int | None = None, quiet: bool = False,
) -> Floats:  # fmt: skip
    """Trains one trunk with the heads of all tasks, and measures :func:`look_ahead` on the way.

    The network is the recipe's: one encoder, six heads on its features. It learns as the shared start of
    :func:`~atdc.training.task_stage.train_tasks` does, on the sum of all losses, each divided by its own value. The
    look-ahead step goes where the optimiser, AdamW, would go on task i alone: its learning rate over the root of the
    second moments of that time, momentum and decay left out, so that the steps of all tasks add up to the direction of
    training. (Fifty et al. train with SGD, where s is the learning rate.) It is a tenth as long as the optimiser's:
    at full length it often overshoots, the image's loss rising on its own step; at a tenth and below affinities
    mostly scale with the length. The first tenth of training is not measured: second moments have not settled, and
    single measurements there outweigh all later ones.

    Everything is float32: an affinity is a thousandth or so, less than bfloat16 resolves. Heads see clean features;
    noise would have to be the same before and after the step.

    Args:
        run: keeps the checkpoint, from which a run that was stopped resumes.
        recipe: the network's widths, learning rate and weight decay.
        data: training rooms. Of half size they cost a quarter of the time, and are what the shared start learns from,
            too. Segments, depth and normals are those of the same rooms; edges and keypoints are those of the smaller
            image, with filters of the same pixels, and so of coarser structure in the room.
        steps: of training.
        every: steps between two measurements, at least 2: before the first step there are no second moments.
        batch: images per step; the look-ahead uses the same ones.
        seed: of weights and batches.
        images: how many of the first rooms batches are drawn from; all of them by default.
        quiet: no progress bar.

    Returns:
        (M, 6, 6), one matrix every `every` steps after the first tenth.

    Raises:
        ArgumentError: numbers that allow no measurement, or more images a step than there are.
    """
    if not 2 <= every <= steps:
        raise ArgumentError("every", str(every), f"a number from 2 to steps, {steps}")
    images = len(data) if images is None else images
    if not 1 <= batch <= images <= len(data):
        raise ArgumentError(
            "batch, images", f"{batch}, {images}", f"batch from 1 to images, images up to {len(data)}, all there are"
        )
    torch.manual_seed(seed)
    settings, weights = recipe.tasks, class_weights(data)
    trunk = SmallEncoder(recipe.model())
    heads = nn.ModuleList([SmallHead(recipe.model(), task.out_channels) for task in TASKS])
    # In training mode, normalisation is by the batch: its running averages play no part, and may run.
    network = nn.ModuleDict({"trunk": trunk, "heads": heads}).train()
    for parameter in network.parameters():
        if parameter.ndim == 4:  # channels last, which CPUs and tensor cores convolve fastest
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(
        network.parameters(), lr=settings.lr, weight_decay=settings.weight_decay, betas=(0.9, 0.98), fused=True
    )
    name = f"affinity_{steps}_{every}_{batch}_{seed}_{images}"
    first, trace = 0, np.zeros((0, len(TASKS), len(TASKS)))
    if (state := run.load(name)) is not None:
        network.load_state_dict(state["network"])
        optimiser.load_state_dict(state["optimiser"])
        first, trace = int(state["step"]), state["trace"].numpy()

    def losses_on(targets: dict[str, Tensor], parameters: Mapping[str, Tensor]) -> Tensor:
        features = functional_call(
            trunk, dict(parameters), targets[IMAGE].contiguous(memory_format=torch.channels_last)
        )
        return torch.stack(
            [
                task_loss(task, head(features), targets[task.name], weights.get(task.name)).mean()
                for task, head in zip(TASKS, heads, strict=True)
            ]
        )

    last = steps - steps % every
    for step in tqdm(
        range(first, last), initial=first, total=last, desc="affinity", leave=False, mininterval=2.0, disable=quiet
    ):
        for group in optimiser.param_groups:
            group["lr"] = cosine(step / steps, settings.lr, settings.lr / 2)
        # A step's batch depends on seed and step alone, so that a resumed run repeats itself.
        rng = np.random.default_rng([seed, step])
        indices = np.sort(rng.choice(images, batch, replace=False))
        targets = load_targets(data, indices, flip=bool(rng.integers(2)))
        parameters = dict(trunk.named_parameters())
        due = (step + 1) % every == 0
        if due and step >= UNMEASURED_SHARE * steps:
            matrix = look_ahead(partial(losses_on, targets), parameters, _step_sizes(optimiser, parameters))
            trace = np.concatenate([trace, matrix[None]])
        values = losses_on(targets, parameters)
        optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward((values / values.detach().clamp(min=_SMALLEST_LOSS)).sum())
        optimiser.step()
        if due:
            progress = {"step": step + 1, "trace": torch.from_numpy(trace)}
            run.save(name, {"network": network.state_dict(), "optimiser": optimiser.state_dict(), **progress})
    return trace


def _step_sizes(optimiser: torch.optim.AdamW, parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What AdamW multiplies the gradient of each parameter by: ``lr / (√v̂ + ε)`` (Loshchilov and Hutter, 2019)."""
    group, sizes = optimiser.param_groups[0], {}
    for name, parameter in parameters.items():
        state = optimiser.state[parameter]
        second = state["exp_avg_sq"] / (1 - group["betas"][1] ** float(state["step"]))
        sizes[name] = LOOK_AHEAD_SHARE * group["lr"] / (second.sqrt() + group["eps"])
    return sizes


# --- which tasks share a representation -------------------------------------------------------------------------------


def set_partitions(count: int) -> Iterator[tuple[tuple[int, ...], ...]]:
    """All partitions of the tasks 0 .. count - 1, the one with a single group first; as many as the Bell number says.

    Every task either joins a group of the tasks before it or opens one.

    >>> list(set_partitions(3))
    [((0, 1, 2),), ((0, 1), (2,)), ((0, 2), (1,)), ((0,), (1, 2)), ((0,), (1,), (2,))]
    """
    if count < 1:
        yield ()
        return
    for before in set_partitions(count - 1):
        for place, group in enumerate(before):
            yield (*before[:place], (*group, count - 1), *before[place + 1 :])
        yield (*before, (count - 1,))


def partition_affinity(affinity: ArrayLike, groups: Sequence[Sequence[int]]) -> float:
    """How much groups help their members: for each task j the mean of Z[i, j] over the others i of its group, 0 for a
    task alone; averaged over tasks.

    Zero is what a task gets from tasks with which it shares nothing, so that groups are made of tasks that help each
    other on the whole. This choice is ours. Fifty et al. forbid a task alone (their network selection scores it
    -10⁶), but let groups overlap and are told how many there are. Standley et al. (ICML 2020) compare losses of
    networks that were trained, where a task alone has a loss like any other. The affinity of a task with itself would
    leave all tasks alone: no other task's step lowers a loss as its own does.

    >>> partition_affinity([[9.0, 2.0, 0.0], [4.0, 9.0, 0.0], [0.0, 0.0, 9.0]], [(0, 1), (2,)])
    2.0
    """
    rows = np.asarray(affinity, np.float64).tolist()
    gains = [
        sum(rows[member][task] for member in group if member != task) / max(len(group) - 1, 1)
        for group in groups
        for task in group
    ]
    return float(sum(gains) / len(gains))


def best_partition(affinity: ArrayLike) -> Grouping:
    """The partition of most :func:`partition_affinity` among all there are, by trying each.

    Of equals it is the first that :func:`set_partitions` names.

    Args:
        affinity: Z, (T, T), finite; the diagonal is not used.

    Raises:
        ArgumentError: not a square of finite numbers, or of more than ``MAX_PARTITIONED_TASKS`` tasks.

    >>> best_partition([[0.9, 0.2, -0.1], [0.4, 0.9, 0.1], [-0.1, 0.0, 0.9]]).groups
    ((0, 1), (2,))
    """
    matrix = _square(affinity, "affinity")
    if len(matrix) > MAX_PARTITIONED_TASKS:
        raise ArgumentError("number of tasks", str(len(matrix)), f"at most {MAX_PARTITIONED_TASKS}")
    return Grouping(max(set_partitions(len(matrix)), key=lambda groups: partition_affinity(matrix, groups)))


# --- the graph over groups --------------------------------------------------------------------------------------------


def group_costs(codec: FeatureCodec, features: Tensor, grouping: Grouping, quality: int = 4) -> Floats:
    """What each group costs given each other: the predictor's scores of its tasks, all tasks of the other as parents.

        cost[g, p] = Σ_{c in g} mean over images of score[c, p],        cost[g, g] = Σ_{c in g} score[c, {}]

    What tasks of one group tell of each other is left out: it is the same under every parent, as far as information
    adds up.

    Args:
        codec: task by task, with the predictor and the distortions that scores need.
        features: raw, (B, T, C, h, w).
        grouping: of the codec's T tasks.
        quality: whole, 0 to 7.

    Returns:
        (G, G) bits per image; rows are what is coded, columns what is known.

    Raises:
        ArgumentError: features or groups of another number of tasks, no images, or no such quality.
    """
    groups, tasks = grouping.groups, sum(map(len, grouping.groups))
    if tasks != codec.task_count:
        raise ArgumentError("grouping", f"{tasks} tasks", f"{codec.task_count}, the codec's")
    if quality not in range(MAX_QUALITY + 1):
        raise ArgumentError("quality", str(quality), f"a whole number from 0 to {MAX_QUALITY}")
    if not len(features):
        raise ArgumentError("features", "no images", "at least one")
    cells = [(g, p) for g in range(len(groups)) for p in range(len(groups)) for _ in groups[g]]
    pairs = [
        (child, () if group is parent_group else tuple(sorted(parent_group)))
        for group in groups
        for parent_group in groups
        for child in group
    ]
    distortion = torch.from_numpy(codec.graph_tables.distortion[[quality]])
    cost = np.zeros((len(groups), len(groups)))
    for start in range(0, len(features), _IMAGES_PER_BATCH):
        batch = codec.normalise(features[start : start + _IMAGES_PER_BATCH])
        scores = score_bits(codec.networks.predictor, batch, pairs, distortion)[:, 0]
        for cell, bits in zip(cells, scores.double().sum(0).tolist(), strict=True):
            cost[cell] += bits / len(features)
    return cost


def static_graph(cost: ArrayLike) -> TaskGraph:
    """The cheapest acyclic graph in which each group has at most one parent, exactly.

    Mutual information in bits is ``cost[g, g] - cost[g, p]``, so that a group's cheapest parent is TAMC's, the one of
    most mutual information. Where those would close a cycle, the least total decides (ours).

    Args:
        cost: bits of group g given group p in row g and column p, of g alone on the diagonal; (G, G), finite.

    Raises:
        ArgumentError: not a square of finite numbers, or of more groups than an exact search can take.

    >>> static_graph([[10.0, 4.0], [8.0, 3.0]]).describe("ab")
    'b a←b'
    """
    matrix = _square(cost, "cost")
    pairs = candidate_sets(len(matrix), 1)
    bits = np.array([matrix[child, parents[0] if parents else child] for child, parents in pairs])
    return exact(ScoreTable(pairs, bits), 1)


def _square(values: ArrayLike, name: str) -> Floats:
    matrix = np.asarray(values, np.float64)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not len(matrix) or not np.isfinite(matrix).all():
        finite = np.isfinite(matrix).sum()
        raise ArgumentError(
            name, f"shape {matrix.shape}, {finite} of {matrix.size} numbers finite", "a square of finite numbers"
        )
    return matrix
