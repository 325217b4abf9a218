"""`atdc bench adaptivity`: what a graph for each image is worth over one good graph for all, where images differ and
where one modality of an image is spoiled on purpose.

Under each condition a pool of graphs is made from validation images: the candidate graphs kept with the weights, and
for each kind of image the cheapest graph by measured costs. Every test image is coded along all of them. Arms:

- one graph: the graph of the pool that costs least on validation images, for all images;
- graph by kind: for each kind its own, for who knows the kind;
- default: the setting that encoders use unless told otherwise, which knows nothing of kinds or of the pool;
- oracle: for each image the graph of the pool that really costs it least;
- control: one graph for all, but each image at the one of as many slightly different qualities that costs it least.
  An oracle that gains no more than this was lucky with rounding, and has found no better graph.

All choose by what an encoder knows, J = R + λ·D. What came of it is said in J and, where the truth is known, in bits
and the tasks' own losses.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from atdc.choice.graphs import choose
from atdc.codec import FeatureCodec
from atdc.config import MAX_QUALITY, Quality
from atdc.data.data_sets import labelled
from atdc.data.labelled import LabelledImages
from atdc.errors import ArgumentError
from atdc.graph import search
from atdc.graph.scores import ScoreTable, columns_within
from atdc.graph.task_graph import TaskGraph
from atdc.provenance import provenance, write_result
from atdc.tasks import TASK_NAMES
from atdc.training.losses import loss_gap
from atdc_bench.experiments.evaluate import Objective, measure_answers
from atdc_bench.experiments.evaluated_codec import Batch, EvaluatedCodec, batches, load_evaluated_codec, require_images
from atdc_bench.experiments.photo_tiles import TILES, PhotoTiles
from atdc_bench.measures.rate_distortion import draw_counts

ARMS = ("one graph", "graph by kind", "default", "oracle", "control")
_BLOCK = 10
_RESAMPLES = 1000


@dataclass(frozen=True)
class Condition:
    """How images are changed, and what is asked of them.

    Attributes:
        kinds: of images, in turn.
        spoil: features (B, T, C, h, w) of images of a kind, and what networks see in noise and in the dark, each
            (T, C, h, w), to features by tensor; None where there are none.
        quality: of a kind, from the quality measured at.
        judged: whether the truth about images says what the answers are worth; not where features are spoiled.
    """

    kinds: int
    spoil: Callable[[Tensor, int, Tensor, Tensor], list[Tensor | None]]
    quality: Callable[[float, int, int], Quality] = lambda quality, kind, tensors: quality
    judged: bool = False


def _as_they_are(features: Tensor, kind: int, noise: Tensor, dark: Tensor) -> list[Tensor | None]:
    return list(features.unbind(1))


def _replaced(by: Callable[[Tensor, int, Tensor, Tensor], Tensor]) -> Callable[..., list[Tensor | None]]:
    def spoil(features: Tensor, kind: int, noise: Tensor, dark: Tensor) -> list[Tensor | None]:
        parts: list[Tensor | None] = list(features.unbind(1))
        parts[kind] = by(features[:, kind], kind, noise, dark)
        return parts

    return spoil


def _only(tensors: Sequence[int]) -> Callable[..., list[Tensor | None]]:
    def spoil(features: Tensor, kind: int, noise: Tensor, dark: Tensor) -> list[Tensor | None]:
        return [part if place in tensors else None for place, part in enumerate(features.unbind(1))]

    return spoil


def _missing(features: Tensor, kind: int, noise: Tensor, dark: Tensor) -> list[Tensor | None]:
    return [None if place == kind else part for place, part in enumerate(features.unbind(1))]


def _drawn_qualities(quality: float, kind: int, tensors: int) -> list[float]:
    """Each task's quality is drawn from all, by a generator seeded by the kind."""
    rng = np.random.default_rng([kind, round(8 * quality)])
    return [float(q) for q in rng.integers(0, 8 * MAX_QUALITY + 1, tensors) / 8]


def conditions(tensors: int) -> dict[str, Condition]:
    """By name; the last tensor is that of the image itself."""
    return {
        "as they are": Condition(1, _as_they_are, judged=True),
        "without the image": Condition(1, _only(range(tensors - 1)), judged=True),
        "random qualities": Condition(6, _as_they_are, _drawn_qualities, judged=True),
        "one modality of another image": Condition(tensors, _replaced(lambda part, kind, noise, dark: part.roll(1, 0))),
        "one modality noise": Condition(
            tensors, _replaced(lambda part, kind, noise, dark: noise[kind].expand_as(part).contiguous())
        ),
        "one modality dark": Condition(
            tensors, _replaced(lambda part, kind, noise, dark: dark[kind].expand_as(part).contiguous())
        ),
        "one modality missing": Condition(tensors, _missing, judged=True),
    }


@dataclass(frozen=True)
class _Group:
    """Images of one kind, coded together."""

    kind: int
    parts: list[Tensor | None]
    quality: Quality
    images: NDArray[np.int64]


def run_adaptivity(
    model: str | Path = "real",
    data: Path = Path("data/nyuv2"),
    out: Path = Path("results/adaptivity_nyuv2.json"),
    *,
    images: str = "nyuv2",
    count: int = 60,
    qualities: Sequence[float] = (1, 4),
    names: Sequence[str] | None = None,
    quiet: bool = False,
) -> dict[str, Any]:
    """Measures every condition on the first images of the test split, and writes the result.

    Args:
        model: name or weights file.
        data: folder of the images.
        out: the result, JSON.
        images: name of the data set; ``tiles``: tiles of the photos in a folder, without any truth.
        count: test images, and validation images.
        qualities: measured at.
        names: of conditions; all by default.
        quiet: no progress bar.

    Raises:
        ArgumentError: an unknown data set or condition.
        DataError: too few images.

    Returns:
        What was written: per condition and quality, each arm's J and truth as a share of one graph's, with intervals.
    """
    evaluated = load_evaluated_codec(model)
    codec, objective = evaluated.feature_codec, Objective.of(evaluated.card)
    splits = {
        split: PhotoTiles(data, split) if images == TILES else labelled(images, data, split)
        for split in ("val", "test")
    }
    for split in splits.values():
        require_images(split, count)
    every = conditions(codec.task_count)
    if unknown := [name for name in names or () if name not in every]:
        raise ArgumentError("conditions", repr(unknown[0]), f"some of {', '.join(every)}")
    chosen = {name: every[name] for name in (names or every)}
    inputs = {split: _features(evaluated, data_set, count) for split, data_set in splits.items()}
    has_truth = all(set(TASK_NAMES) <= set(batch.targets) for batch in inputs["test"][1])
    rows = []
    with tqdm(total=len(chosen) * len(qualities), desc="adaptivity", disable=quiet) as bar:
        for name, condition in chosen.items():
            for quality in qualities:
                val, test = (_groups(condition, features, evaluated, quality) for features, _ in inputs.values())
                truth = inputs["test"][1] if condition.judged and has_truth else None
                measured = _measured(evaluated, objective, val, test, truth)
                rows.append({"condition": name, "quality": quality, **measured})
                bar.update()
    result = {
        "what": "Mean cost J = R + λ·D of each arm, and bits per feature element + Λ(q) * mean normalised task loss "
        "(truth), as percent above or below one graph for all images; 95 % intervals over images.",
        "provenance": provenance(weights=codec.fingerprint.hex(), seed=0),
        "data": {"name": images, "split": "test", "images": count},
        "resamples": _RESAMPLES,
        "rows": rows,
    }
    write_result(out, result)
    return result


def _features(evaluated: EvaluatedCodec, data: LabelledImages, count: int) -> tuple[Tensor, list[Batch]]:
    blocks = list(batches(evaluated, data, range(count), size=_BLOCK))
    return torch.cat([batch.features for batch in blocks]), blocks


@torch.no_grad()
def _groups(condition: Condition, features: Tensor, evaluated: EvaluatedCodec, quality: float) -> list[_Group]:
    stride = evaluated.feature_codec.config.stride
    height, width = (stride * side for side in features.shape[3:])
    generator = torch.Generator().manual_seed(0)
    noise, dark = evaluated.features_of(
        torch.stack([torch.rand(3, height, width, generator=generator), torch.zeros(3, height, width)])
    )
    groups = []
    for kind in range(condition.kinds):
        members = np.arange(kind, len(features), condition.kinds)
        for start in range(0, len(members), _BLOCK):
            images = members[start : start + _BLOCK]
            parts = condition.spoil(features[images], kind, noise, dark)
            at = condition.quality(quality, kind, features.shape[1])
            groups.append(_Group(kind, parts, at, images))
    return groups


def _measured(
    evaluated: EvaluatedCodec, objective: Objective, val: list[_Group], test: list[_Group], truth: list[Batch] | None
) -> dict[str, Any]:
    codec = evaluated.feature_codec
    of_kind = _graphs_by_kind(codec, val)
    pool = list(dict.fromkeys([*codec.graph_tables.candidates, *codec.graph_tables.fixed, *of_kind.values()]))
    on_val = np.concatenate([_costs(codec, group, pool) for group in val], axis=1)
    cheapest_place = int(on_val.mean(1).argmin())
    count = sum(len(group.images) for group in test)
    costs, losses = np.zeros((len(ARMS), count)), np.full((len(ARMS), count), np.nan)
    graphs: dict[str, list[TaskGraph]] = {arm: [] for arm in ARMS}
    for group in test:
        batch = codec.normalise(group.parts)
        table = _costs(codec, group, pool)
        best = table.argmin(0)
        default = choose(codec.costs, batch, group.quality, "codebook")
        arms: dict[str, list[TaskGraph]] = {
            "one graph": [pool[cheapest_place]] * len(batch),
            "graph by kind": [of_kind[group.kind]] * len(batch),
            "default": default,
            "oracle": [pool[place] for place in best.tolist()],
        }
        plain = _as_qualities(group.quality, codec.task_count)
        nearby = [plain, *jitters(plain, len(pool) - 1)]
        multipliers = codec.costs.lagrange_multipliers(group.quality)
        alone = _within([pool[cheapest_place]] * len(batch), batch.available)
        jittered = np.stack([codec.costs.total_costs(batch, near, alone, multipliers=multipliers) for near in nearby])
        for row, arm in enumerate(ARMS[:-1]):
            along = _within(arms[arm], batch.available)
            costs[row, group.images] = codec.costs.total_costs(batch, group.quality, along)
            losses[row, group.images] = _truth(evaluated, objective, group, arms[arm], [plain] * len(batch), truth)
            graphs[arm] += along
        costs[-1, group.images] = jittered.min(0)
        chosen = [nearby[place] for place in jittered.argmin(0).tolist()]
        losses[-1, group.images] = _truth(evaluated, objective, group, arms["one graph"], chosen, truth)
    gains = {
        arm: {
            "cost_percent": percent_over(costs[row], costs[0]),
            "truth_percent": None if np.isnan(losses).any() else percent_over(losses[row], losses[0]),
            "distinct": len(set(graphs[arm])) if graphs[arm] else 1,
        }
        for row, arm in enumerate(ARMS)
    }
    return {"pool": len(pool), "arms": gains}


def _graphs_by_kind(codec: FeatureCodec, groups: list[_Group]) -> dict[int, TaskGraph]:
    """The cheapest graph of each kind by measured costs, over the tensors that there are."""
    limit, count = codec.config.max_parents, codec.task_count
    graphs = {}
    for kind in sorted({group.kind for group in groups}):
        members = [group for group in groups if group.kind == kind]
        batch = codec.normalise(members[0].parts)
        columns = columns_within(count, limit, batch.available)
        tables = [
            codec.costs.measured_costs(codec.normalise(group.parts), group.quality)[:, columns] for group in members
        ]
        scores = ScoreTable.of(len(batch.available), np.concatenate(tables).mean(0), limit)
        graphs[kind] = search.exact(scores, limit).expanded(batch.available, count)
    return graphs


def _within(graphs: Sequence[TaskGraph], tensors: Sequence[int]) -> list[TaskGraph]:
    return [graph.within(tensors) for graph in graphs]


def _costs(codec: FeatureCodec, group: _Group, pool: Sequence[TaskGraph]) -> NDArray[np.float64]:
    """What each graph of the pool really costs each image, (M, n)."""
    batch = codec.normalise(group.parts)
    costs: dict[TaskGraph, NDArray[np.float64]] = {}
    rows = []
    for graph in _within(pool, batch.available):
        if graph not in costs:
            costs[graph] = codec.costs.total_costs(batch, group.quality, [graph] * len(batch))
        rows.append(costs[graph])
    return np.stack(rows)


def _as_qualities(quality: Quality, tensors: int) -> list[float]:
    return [float(quality)] * tensors if isinstance(quality, (int, float)) else [float(q) for q in quality]


def jitters(quality: Sequence[float], count: int) -> list[list[float]]:
    """Qualities a step of 1/8 or none away from a given one, each its own way."""
    rng = np.random.default_rng(0)
    moves = rng.integers(-1, 2, (count, len(quality))) / 8
    return [np.clip(np.array(quality) + move, 0, MAX_QUALITY).tolist() for move in moves]


def _truth(
    evaluated: EvaluatedCodec, objective: Objective, group: _Group, graphs: Sequence[TaskGraph],
    qualities: Sequence[Sequence[float]], truth: list[Batch] | None,
) -> NDArray[np.float64]:  # fmt: skip
    """Bits per feature element and the tasks' weighted normalised losses of each image; NaN where nobody knows."""
    codec = evaluated.feature_codec
    values = np.full(len(group.images), np.nan)
    if truth is None or objective.bounds is None:
        return values
    tensors = [place for place, part in enumerate(group.parts) if part is not None]
    gap = loss_gap(torch.from_numpy(objective.bounds)).numpy()
    weights = np.array([objective.weight(q) for q in _as_qualities(group.quality, codec.task_count)])
    for row, (image, graph, quality) in enumerate(zip(group.images.tolist(), graphs, qualities, strict=True)):
        parts = [None if part is None else part[row : row + 1] for part in group.parts]
        encoded = codec.encode_batch(parts, list(quality), [graph])
        batch = truth[image // _BLOCK]
        place = image % _BLOCK
        targets = {task: target[place : place + 1] for task, target in batch.targets.items()}
        _, loss = measure_answers(evaluated, encoded.stacked, targets)
        lost = weights * (loss[0] - objective.bounds[1]) / gap
        elements = encoded.stacked[0].numel() * len(tensors) / codec.task_count
        values[row] = encoded.ideal_bits.sum() / elements + float(lost[tensors].mean())
    return values


def percent_over(values: NDArray[np.float64], reference: NDArray[np.float64]) -> list[float]:
    """Mean difference in percent, and the 95 % interval over images."""
    draws = draw_counts(len(values), _RESAMPLES, seed=0)
    ratios = 100 * ((draws @ values) / (draws @ reference) - 1)
    low, high = np.quantile(ratios, [0.025, 0.975])
    return [round(float(v), 3) for v in (100 * (values.mean() / reference.mean() - 1), low, high)]
