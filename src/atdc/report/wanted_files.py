"""What an image's files of wanted tasks take: each set really encoded, its features computed once for all."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from atdc.pipeline import Codec, as_batch
from atdc.report.wanted_table import NAMED_SETS, WantedFile
from atdc.tasks import TASK_NAMES

EVERY_SET_PIXELS = 150_000
"""Of larger images, named sets alone are encoded, so that a page does not take long to make."""


def sets_for(pixels: int) -> list[tuple[str, ...]]:
    """The sets of tasks of which files are made, by size; the last is of all.

    >>> len(sets_for(256 * 256)), len(sets_for(10**6))
    (63, 5)
    """
    if pixels > EVERY_SET_PIXELS:
        return list(NAMED_SETS)
    sizes = range(1, len(TASK_NAMES) + 1)
    return [tasks for size in sizes for tasks in combinations(TASK_NAMES, size)]


def wanted_files(
    codec: Codec, rgb: NDArray[np.uint8], quality: float, sets: Iterable[Sequence[str]]
) -> list[WantedFile]:
    """A file of each set of tasks, of the default search setting, which alone has helpers.

    Args:
        codec: the model.
        rgb: the image, ``(H, W, 3)`` bytes.
        quality: 0 to 7.
        sets: names of tasks, in their order.

    >>> from atdc import load
    >>> codec, grey = load("small"), np.full((64, 64, 3), 128, np.uint8)
    >>> (file,) = wanted_files(codec, grey, 4, [TASK_NAMES[:2]])
    >>> file.size_bytes == len(codec.encode(grey, 4, tasks=TASK_NAMES[:2]))
    True
    """
    feature_codec = codec.feature_codec
    features = codec.features_of(as_batch(rgb)).unbind(1)
    files = []
    for tasks in sets:
        wanted = feature_codec.task_indices(tasks)
        coded = feature_codec.encode_batch(features, quality, sizes=[rgb.shape[:2]], restore_all=False, wanted=wanted)
        helpers = tuple(TASK_NAMES[place] for place in feature_codec.needed(wanted, quality) if place not in wanted)
        files.append(WantedFile(tuple(tasks), helpers, len(coded.data[0])))
    return files
