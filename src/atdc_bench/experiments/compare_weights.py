"""`atdc bench compare-weights`: the same images through several weights, each with its own task networks and codec.

Utilities of all are on the scale of the first weights: 0 is what its heads answer to channel means, 1 what they answer
to its uncompressed features. Weights that see better than the first go beyond 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from atdc.codec import DEFAULT_GRAPH
from atdc.data.data_sets import labelled
from atdc.errors import ArgumentError
from atdc.provenance import provenance, write_result
from atdc_bench.experiments.evaluate import (
    UNCOMPRESSED,
    ZERO,
    Cell,
    DataSet,
    Records,
    comparisons,
    figures,
    measure_items,
    point_row,
)
from atdc_bench.experiments.evaluated_codec import (
    DEFAULT_DATA,
    image_size,
    load_evaluated_codec,
    require_images,
)


def compared(
    models: Sequence[str | Path],
    data: Path = DEFAULT_DATA,
    *,
    name: str = "rooms",
    split: str = "test",
    count: int = 200,
    qualities: Sequence[float] = (0, 1, 2, 4, 7),
    resamples: int = 500,
    quiet: bool = False,
) -> dict[str, Any]:
    """Codes the first images of a split by each of some weights, and compares their answers with the ground truth.

    Args:
        models: names or weights files; the first is the reference.
        data: folder of the data set.
        name: of the data set, one of :data:`~atdc.data.data_sets.DATA_SETS`.
        split: of it.
        count: images.
        qualities: at least four.
        resamples: of the bootstrap.
        quiet: no progress bar.

    Returns:
        The result: metrics from uncompressed features, points, and percent of bytes at equal utility.

    Raises:
        ArgumentError: fewer than two weights, or the same twice.
        DataError: fewer images than wanted.
    """
    labels = [Path(model).stem for model in models]
    if len(set(labels)) < max(2, len(labels)):
        raise ArgumentError("models", ", ".join(labels), "two or more different weights", "name another one")
    images = labelled(name, data, split)
    require_images(images, count)
    height, width = image_size(images)
    subjects = {label: load_evaluated_codec(model) for label, model in zip(labels, models, strict=True)}
    records: dict[Cell | str, Records] = {}
    anchors: dict[str, dict[str, Any]] = {}
    usual = [Cell(DEFAULT_GRAPH, "normal", quality) for quality in qualities]
    with tqdm(total=count * len(subjects), unit="image", desc="weights", disable=quiet) as bar:
        for label, evaluated in subjects.items():
            item_records = measure_items(evaluated, images, count, (ZERO, UNCOMPRESSED, *usual), bar.update)
            anchors[label] = {"zero": figures(item_records[ZERO]), "uncompressed": figures(item_records[UNCOMPRESSED])}
            for anchor in (ZERO, UNCOMPRESSED):
                records.setdefault(anchor, item_records[anchor])  # the first one's ends of the scale
            records |= {Cell(label, "normal", cell.quality): item_records[cell] for cell in usual}
    elements = subjects[labels[0]].feature_codec.elements_of(height, width)
    rows = DataSet(records, int(height) * int(width), elements)
    cells = [cell for cell in records if isinstance(cell, Cell)]
    points = [point_row(rows, cell, count) for cell in sorted(cells)]
    return {
        "what": "The same images through several weights. U: mean over tasks of (e_0 - e) / (e_0 - e_inf), e_0 and "
        "e_inf being the first weights' errors from channel means and from uncompressed features. bd_rates: percent of "
        "bytes at equal utility against the first (negative: fewer), 95 % bootstrap interval over images.",
        "provenance": provenance(weights=subjects[labels[0]].feature_codec.fingerprint.hex()),
        "data": {"name": name, "split": split, "images": count, "height": height, "width": width},
        "models": {label: evaluated.feature_codec.fingerprint.hex() for label, evaluated in subjects.items()},
        "anchors": anchors,
        "points": [{"model": row.pop("setting"), **row} for row in points],
        "bd_rates": [
            {"model": row.pop("setting"), **row}
            for row in comparisons(rows, dict.fromkeys(cells, count), (labels[0],), resamples, seed=0)
        ],
    }


def run_compare_weights(
    models: Sequence[str | Path],
    data: Path = DEFAULT_DATA,
    out: Path = Path("results/compare_weights_rooms.json"),
    **plan: Any,
) -> dict[str, Any]:
    """Writes what :func:`compared` finds, and returns it."""
    result = compared(models, data, **plan)
    write_result(out, result)
    return result
