"""`atdc bench budget`: files within a number of bytes against the best one quality for all tasks that fits as well.

Every image is encoded with ``max_bytes``, and by the highest one quality for all whose file fits. Both are decoded
and answered, and judged by the ground truth about the images: utility of a task is ``(e_0 - e) / (e_0 - e_inf)`` over
all images, at most 1, and that of an encoding the mean over tasks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from atdc.balance import at_steps
from atdc.bitstream.container import ContainerReader
from atdc.choice.budget import STEPS
from atdc.config import QUALITY_STEPS_PER_UNIT
from atdc.data.data_sets import labelled
from atdc.data.feature_source import evenly_spaced
from atdc.data.labelled import IMAGE
from atdc.data.targets import decode_stored
from atdc.errors import ArgumentError
from atdc.metrics.tasks import MEASURES, FloatArray, utility
from atdc.pipeline import Codec, load
from atdc.provenance import provenance, write_result
from atdc.tasks import TASK_NAMES
from atdc_bench.experiments.evaluated_codec import DEFAULT_DATA, features_at, image_size, require_images
from atdc_bench.measures.rate_distortion import draw_counts

ARMS = ("within bytes", "one quality")
_ENDS = ("zero", "uncompressed")
_RESAMPLES = 1000


def highest_quality_within(codec: Codec, features: Tensor, size: tuple[int, int], max_bytes: int) -> bytes:
    """The file of the highest one quality for all that takes no more bytes, found by halving.

    Args:
        codec: codes it.
        features: of one image, raw, (1, T, C, h, w).
        size: height and width of the image.
        max_bytes: of the file.

    Raises:
        ArgumentError: quality 0 takes more.
    """

    def coded(step: int) -> bytes:
        quality = step / QUALITY_STEPS_PER_UNIT
        return codec.feature_codec.encode_batch(features, quality, sizes=[size], restore_all=False).data[0]

    best, low, high = coded(0), 0, STEPS
    if len(best) > max_bytes:
        raise ArgumentError("max_bytes", str(max_bytes), f"at least {len(best)}, which quality 0 takes")
    while high - low > 1:
        middle = (low + high) // 2
        data = coded(middle)
        if len(data) <= max_bytes:
            best, low = data, middle
        else:
            high = middle
    return best


def run_budget(
    model: str | Path = "real",
    data: Path = DEFAULT_DATA,
    out: Path = Path("results/budget_rooms.json"),
    *,
    name: str = "rooms",
    split: str = "test",
    count: int = 30,
    sizes: Sequence[int] = (500, 1000, 2000),
    quiet: bool = False,
) -> dict[str, Any]:
    """Encodes images within numbers of bytes and by one quality, and writes what answers are worth.

    Args:
        model: name or weights file.
        data: folder of the data set.
        out: the result, JSON.
        name: of the data set, ``rooms`` or ``nyuv2``.
        split: of it.
        count: images, evenly spaced over the split.
        sizes: numbers of bytes.
        quiet: no progress bar.

    Returns:
        What was written.

    Raises:
        ArgumentError: fewer bytes than quality 0 takes.
        DataError: fewer images than wanted.
    """
    codec, images = load(model), labelled(name, data, split)
    require_images(images, count)
    feature_codec = codec.feature_codec
    utilities = np.maximum.accumulate(at_steps(np.stack([row for _, row in feature_codec.utilities()], 1)), 0)
    vectors: dict[tuple[Any, ...], list[FloatArray]] = {}
    lengths: dict[tuple[str, int], list[int]] = {}
    worth: dict[tuple[str, int], list[float]] = {}
    size = image_size(images)
    for place in tqdm(evenly_spaced(len(images), count).tolist(), "budget", disable=quiet):
        stored = images.targets([place])
        targets = {task: decode_stored(task, stored[task]) for task in TASK_NAMES}
        features = features_at(codec, images, [place])
        zero = torch.stack([mean[None, :, None, None].expand_as(features[:, 0]) for mean in feature_codec.mean], 1)
        for end, at_end in zip(_ENDS, (zero, features), strict=True):
            _answered(codec, at_end, targets, (end,), vectors)
        image = stored[IMAGE][0].permute(1, 2, 0).numpy()
        for limit in sizes:
            files = {
                ARMS[0]: codec.encode(image, max_bytes=limit),
                ARMS[1]: highest_quality_within(codec, features, size, limit),
            }
            for arm, file in files.items():
                steps = ContainerReader(file).header.qualities
                lengths.setdefault((arm, limit), []).append(len(file))
                worth.setdefault((arm, limit), []).append(float(utilities[steps, range(len(steps))].mean()))
                decoded = torch.stack(list(feature_codec.decode(file).values()), 0)[None]
                _answered(codec, decoded, targets, (arm, limit), vectors)
    draws = draw_counts(count, _RESAMPLES, seed=0)
    result = {
        "what": "Files within numbers of bytes against files of the highest one quality for all tasks that fits: share "
        "of the bytes that is used, and mean utility of tasks over all images, each at most 1, with what it "
        "gains and its 95 % bootstrap interval over images; told_gain: the same by the utilities that the encoder "
        "counts with.",
        "provenance": provenance(seed=0, weights=feature_codec.fingerprint.hex()),
        "data": {"name": name, "split": split, "images": count, "height": size[0], "width": size[1]},
        "rows": [_row(limit, vectors, lengths, worth, draws) for limit in sizes],
    }  # fmt: skip
    write_result(out, result)
    return result


@torch.no_grad()
def _answered(
    codec: Codec, features: Tensor, targets: Mapping[str, Tensor], key: tuple[Any, ...],
    vectors: dict[tuple[Any, ...], list[FloatArray]],
) -> None:  # fmt: skip
    """Adds the vectors of one image's answers, from its features (1, T, C, h, w)."""
    for task, output in codec.answer_tensors(features).items():
        vectors.setdefault((*key, task), []).append(MEASURES[task].statistics(output, targets[task])[0])


def _row(
    limit: int, vectors: Mapping[tuple[Any, ...], Sequence[FloatArray]], lengths: Mapping[tuple[str, int], list[int]],
    worth: Mapping[tuple[str, int], list[float]], draws: FloatArray,
) -> dict[str, Any]:  # fmt: skip
    """What came of one number of bytes."""

    def error(task: str, *key: Any) -> FloatArray:
        return MEASURES[task].error(draws @ np.stack(vectors[(*key, task)]))

    arms, means = {}, {}
    for arm in ARMS:
        each = [utility(error(task, arm, limit), *(error(task, end) for end in _ENDS)) for task in TASK_NAMES]
        means[arm] = np.minimum(np.stack(each), 1).mean(0)
        arms[arm] = {
            "most_bytes": max(lengths[arm, limit]),
            "used_share": _rounded(np.mean(lengths[arm, limit]) / limit),
            "utility": _rounded(means[arm][0]),
            "utilities": {task: _rounded(values[0]) for task, values in zip(TASK_NAMES, each, strict=True)},
        }
    gain = means[ARMS[0]] - means[ARMS[1]]
    encoder_gains = np.array(worth[ARMS[0], limit]) - worth[ARMS[1], limit]
    return {
        "max_bytes": limit, "arms": arms,
        "gain": [_rounded(value) for value in (gain[0], *np.nanquantile(gain[1:], [0.025, 0.975]))],
        "told_gain": _rounded(encoder_gains.mean()),
        "told_better_share": _rounded((encoder_gains > 0).mean()),
    }  # fmt: skip


def _rounded(value: Any) -> float:
    return round(float(value), 4)
