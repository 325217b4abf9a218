"""`atdc bench balance`: each task's bytes and utility at every quality, and the qualities that follow for each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from atdc.balance import balanced
from atdc.config import MAX_QUALITY
from atdc.data.data_sets import labelled
from atdc.provenance import provenance, write_result
from atdc.tasks import TASK_NAMES
from atdc_bench.experiments.evaluate import (
    UNCOMPRESSED,
    ZERO,
    Cell,
    DataSet,
    Objective,
    measure_items,
    point_row,
)
from atdc_bench.experiments.evaluated_codec import image_size, load_evaluated_codec, require_images


def run_balance(
    model: str | Path = "small",
    data: Path = Path("data/rooms"),
    out: Path = Path("results/balance_small.json"),
    *,
    name: str = "rooms",
    count: int = 300,
    quiet: bool = False,
) -> dict[str, Any]:
    """Codes validation images along the fixed graphs at every integer quality, and writes the balance.

    Args:
        model: name or weights file.
        data: folder of the data set.
        out: the result; next to the weights :meth:`~atdc.pipeline.Codec.balanced` looks for it.
        name: of the data set, one of :data:`~atdc.data.data_sets.DATA_SETS`.
        count: images.
        quiet: no progress bar.

    Returns:
        What was written: per integer quality the qualities of each task, and what was measured.
    """
    evaluated, images = load_evaluated_codec(model), labelled(name, data, "val")
    require_images(images, count)
    cells = [Cell("fixed", "normal", level) for level in range(MAX_QUALITY + 1)]
    with tqdm(total=count, unit="image", desc="balance", disable=quiet) as bar:
        records = measure_items(evaluated, images, count, (ZERO, UNCOMPRESSED, *cells), bar.update)
    height, width = image_size(images)
    elements = evaluated.feature_codec.elements_of(height, width)
    measured = DataSet(records, int(height) * int(width), elements, Objective.of(evaluated.card))
    rows = [point_row(measured, cell, count)["tasks"] for cell in cells]
    bits = np.array([[row[task]["ideal_bits"] for task in TASK_NAMES] for row in rows])
    utilities = np.array([[row[task]["utility"] for task in TASK_NAMES] for row in rows])
    balance = balanced(bits, utilities)
    result = {
        "what": "Qualities of each task that reach the mean utility of one quality for all in the fewest bytes, from "
        "measured bytes and utilities of each task along the fixed graphs.",
        "provenance": provenance(weights=evaluated.feature_codec.fingerprint.hex()),
        "data": {"name": name, "split": "val", "images": count},
        "qualities": {
            str(level): dict(zip(TASK_NAMES, row, strict=True)) for level, row in enumerate(balance.qualities)
        },
        "measured": {
            task: {"bytes": (bits[:, i] / 8).round(2).tolist(), "utility": utilities[:, i].round(5).tolist()}
            for i, task in enumerate(TASK_NAMES)
        },
    }
    write_result(out, result)
    return result
