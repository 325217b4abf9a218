"""`atdc bench graphs`: which tensors of a codec predict which, and what a graph for each sample is worth.

For features of any networks, on samples that the codec was not fitted to. Everything is really coded; what is compared
is J = R + λ·D. Arms, over all tensors and over those of each network that has several:

- fixed: the one graph of the quality that is kept with the weights;
- default: the setting that encoders use unless told otherwise;
- oracle: for each sample the candidate graph that really costs it least;
- control: the fixed graph, but each sample at the one of as many slightly different qualities that costs it least. An
  oracle that gains no more than this was lucky with rounding;
- independent: no edges.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from atdc.choice.graphs import choose
from atdc.codec import FeatureCodec
from atdc.config import nearest_integer_quality
from atdc.data.dumped import DumpedFeatures
from atdc.data.feature_source import evenly_spaced
from atdc.errors import DataError
from atdc.graph.task_graph import TaskGraph
from atdc.networks.batches import FeatureBatch
from atdc.provenance import provenance, write_result
from atdc.training.data import SourceFeatures, kinds_of
from atdc_bench.experiments.adaptivity import jitters, percent_over

ARMS = ("fixed", "default", "oracle", "control", "independent")
ALL = "all"
_BLOCK = 8
_WHAT = (
    "arms: mean cost J = R + λ·D in percent above or below the fixed graph's, with 95 % intervals over samples; "
    "distinct: how many different graphs there are; roots: how often each tensor has no parent. saved: the percentage "
    "of a child's bits that each parent alone saves, parents as decoded along the fixed graph; rows are children."
)


def run_feature_graphs(
    model: str | Path,
    features: Path,
    out: Path,
    *,
    count: int = 60,
    qualities: Sequence[float] = (1, 4, 7),
    quiet: bool = False,
) -> dict[str, Any]:
    """Measures all arms on evenly spaced samples, and writes the result.

    Args:
        model: weights of a codec.
        features: of its tensors, samples that it was not fitted to.
        out: the result, JSON.
        count: samples.
        qualities: measured at.
        quiet: no progress bar.

    Returns:
        What was written.

    Raises:
        DataError: too few samples that have all tensors on the same grids.
    """
    codec, source = FeatureCodec.load(model), DumpedFeatures(features)
    blocks = _blocks(codec, source, count, str(features))
    sets = {ALL: tuple(range(codec.task_count)), **_networks(codec.task_names)}
    rows, saved = [], []
    with tqdm(total=len(qualities) * (len(sets) + 1), desc="graphs", disable=quiet) as bar:
        for quality in qualities:
            for name, wanted in sets.items():
                rows.append({"set": name, "quality": quality, **_measured(codec, blocks, wanted, quality)})
                bar.update()
            saved.append({"quality": quality, "percent": _saved(codec, blocks, quality)})
            bar.update()
    result = {
        "what": _WHAT,
        "provenance": provenance(weights=codec.fingerprint.hex(), seed=0),
        "data": {"name": features.name, "images": count},
        "tensors": list(codec.task_names),
        "sets": {name: [codec.task_names[place] for place in wanted] for name, wanted in sets.items()},
        "rows": rows,
        "saved": saved,
    }
    write_result(out, result)
    return result


def _blocks(codec: FeatureCodec, source: DumpedFeatures, count: int, where: str) -> list[FeatureBatch]:
    """Normalised features of samples that are alike."""
    kinds = kinds_of(source, codec.task_names)
    samples = SourceFeatures(source, codec.tensors, codec.mean, codec.std, np.arange(len(source)), kinds)
    alike = samples.alike(len(source))
    if len(alike) < count:
        raise DataError(where, f"{len(alike)} samples with all tensors on the same grids", f"at least {count}")
    rows = alike[evenly_spaced(len(alike), count)]
    return [codec.normalise(samples.raw(rows[start : start + _BLOCK])) for start in range(0, count, _BLOCK)]


def _networks(names: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """Places of the tensors of each network that has several, but not all, of them.

    >>> _networks(["a/x", "b/x", "b/y"])
    {'b': (1, 2)}
    """
    places: dict[str, list[int]] = {}
    for place, name in enumerate(names):
        places.setdefault(name.rpartition("/")[0], []).append(place)
    return {name: tuple(members) for name, members in places.items() if name and 1 < len(members) < len(names)}


def _measured(
    codec: FeatureCodec, blocks: Sequence[FeatureBatch], wanted: tuple[int, ...], quality: float
) -> dict[str, Any]:
    fixed = codec.graph_tables.fixed[nearest_integer_quality(quality, codec.task_count)].within(wanted)
    independent = TaskGraph.independent(codec.task_count)
    pool = list(
        dict.fromkeys(
            graph.within(wanted) for graph in (fixed, *codec.graph_tables.candidates, *codec.graph_tables.fixed)
        )
    )
    nearby = [[float(quality)] * codec.task_count, *jitters([float(quality)] * codec.task_count, len(pool) - 1)]
    multipliers = codec.costs.lagrange_multipliers(quality)
    costs: dict[str, list[NDArray[np.float64]]] = {arm: [] for arm in ARMS}
    graphs: dict[str, list[TaskGraph]] = {arm: [] for arm in ("default", "oracle")}
    for block in blocks:
        batch = block.only(wanted)
        alone = [fixed] * len(batch)
        table = np.stack([codec.costs.total_costs(batch, quality, [graph] * len(batch)) for graph in pool])
        near = np.stack(
            [codec.costs.total_costs(batch, qualities, alone, multipliers=multipliers) for qualities in nearby]
        )
        default = choose(codec.costs, batch, quality, "codebook", wanted)
        costs["fixed"].append(table[0])
        costs["default"].append(codec.costs.total_costs(batch, quality, default))
        costs["oracle"].append(table.min(0))
        costs["control"].append(near.min(0))
        costs["independent"].append(codec.costs.total_costs(batch, quality, [independent] * len(batch)))
        graphs["default"] += default
        graphs["oracle"] += [pool[place] for place in table.argmin(0).tolist()]
    totals = {arm: np.concatenate(values) for arm, values in costs.items()}
    chosen = {"fixed": [fixed], **graphs}
    return {
        "pool": len(pool),
        "arms": {arm: percent_over(values, totals["fixed"]) for arm, values in totals.items()},
        "distinct": {arm: len(set(arm_graphs)) for arm, arm_graphs in chosen.items()},
        "roots": {
            arm: {
                codec.task_names[place]: round(float(np.mean([not graph.parents[place] for graph in arm_graphs])), 3)
                for place in wanted
            }
            for arm, arm_graphs in chosen.items()
        },
    }


def _saved(codec: FeatureCodec, blocks: Sequence[FeatureBatch], quality: float) -> list[list[float]]:
    count = codec.task_count
    pairs = [
        (child, () if parent == child else (parent,)) for child in range(count) for parent in range(count)
    ]  # of a child by itself, what it costs without parents
    bits = np.concatenate([codec.costs.pair_costs(block, quality, pairs)[0] for block in blocks]).sum(0)
    table = bits.reshape(count, count)
    saved = 100 * (1 - table / np.diag(table)[:, None])
    return [[round(float(value), 2) for value in row] for row in saved]
