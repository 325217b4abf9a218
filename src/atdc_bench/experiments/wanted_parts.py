"""What `atdc bench wanted` measures, part by part: bytes of real files, and one vector per image and task.

Decoded features of a task follow from its graph of ancestors alone, whatever the set, so heads run once for each such
graph (:mod:`atdc_bench.baselines.subset_files`), and images are decoded once for all sets.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from atdc.codec import FeatureCodec
from atdc.config import MAX_QUALITY
from atdc.data.labelled import LabelledImages, as_input
from atdc.errors import ArgumentError, DataError
from atdc.files import write_bytes_atomically
from atdc.graph.task_graph import TaskGraph
from atdc.metrics.tasks import MEASURES
from atdc.pipeline import Codec
from atdc.tasks import LETTERS, TASK_NAMES, TASKS
from atdc.tasks.answers import answer_form, presented
from atdc_bench.baselines import pixels, sent_answers, vvc
from atdc_bench.baselines.sent_answers import decode_answer, encode_answer, points_of
from atdc_bench.baselines.set_codecs import graph_of
from atdc_bench.baselines.subset_files import Ancestry, Sent, SubsetFiles, ancestry
from atdc_bench.baselines.system import PixelSystem
from atdc_bench.experiments.compare import received
from atdc_bench.experiments.evaluated_codec import Batch, batches, features_at
from atdc_bench.experiments.speed import timed
from atdc_bench.experiments.wanted_sets import ARMS, NAMED, Choice, best_of_subsets, subsets, tasks_of

VERSION = 1
"""Rises when records change their meaning."""
BLOCK = 25
"""Images of a part of the records, which are coded at once."""
PICTURES: dict[str, PixelSystem] = {
    codec.name: codec for codec in (pixels.JPEG, pixels.WEBP, pixels.AVIF, *pixels.SMALLER, vvc.VVENC)
}
"""Image codecs, by name."""
TRAINED = {
    "joint": "joint latent of the set", "alone": "codec trained for the set alone",
    "longer": "codec trained longer for all sets",
}  # fmt: skip
"""Codecs with weights of their own, ``KIND_LETTERS.safetensors``, by kind: one latent of all tensors of a set, or a
tensor for each task of the set."""
_SAME = 1e-3
"""Encoder's and decoder's floats may differ by rounding, up to this many standard deviations."""
_TIMED = 5
Arrays: TypeAlias = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Plan:
    """What is measured on how many images.

    Args:
        qualities: of the any-graph codec; at least four.
        count: images of the named sets, and of codecs trained for them.
        subset_count: images of all other sets.
        rival_count: images of image codecs and answers.
        val_count: validation images on which the graphs of sets are chosen.
        resamples: of the bootstrap.
        seed: of the bootstrap.

    Raises:
        ArgumentError: counts or qualities that make no sense.
    """

    qualities: tuple[float, ...] = (0, 1, 2, 3, 4, 6)
    count: int = 400
    subset_count: int = 100
    rival_count: int = 100
    val_count: int = 40
    resamples: int = 300
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuses what cannot be measured."""
        if len(set(self.qualities)) < 4 or not all(0 <= quality <= MAX_QUALITY for quality in self.qualities):
            raise ArgumentError("qualities", str(self.qualities), f"four or more, from 0 to {MAX_QUALITY}")
        if not (1 <= self.subset_count <= self.count and 1 <= self.rival_count <= self.count and self.val_count > 0):
            counts = f"{self.count}; {self.subset_count}, {self.rival_count} of them; {self.val_count}"
            raise ArgumentError(
                "counts", counts, "images; no more of all sets and of rivals; and some to choose graphs"
            )

    @property
    def spans(self) -> tuple[range, ...]:
        """Blocks of images; in each all images take part in the same."""
        ends = sorted({*range(0, self.count, BLOCK), self.subset_count, self.rival_count, self.count})
        return tuple(range(start, stop) for start, stop in pairwise(ends))

    def sets(self, span: range) -> tuple[str, ...]:
        """The sets that are measured on a block."""
        return subsets() if span.stop <= self.subset_count else tuple(NAMED)


@dataclass(frozen=True)
class Bench:
    """What parts are measured with.

    Attributes:
        codec: task networks and the any-graph codec.
        data: the images.
        plan: of the measurement.
        graphs: by quality and letters, what is sent where a set has one graph.
        codecs: folder of codecs trained for sets.
    """

    codec: Codec
    data: LabelledImages
    plan: Plan
    graphs: Mapping[float, Mapping[str, Sent]]
    codecs: Path

    @staticmethod
    def described(sent: Sent) -> str:
        """What is sent, in letters and coding order."""
        return name_of(tuple((task, sent.graph.parents[task]) for task in sent.graph.order if task in sent.present))

    def batch(self, span: range) -> Batch:
        """Images, features and ground truth of a block."""
        (batch,) = batches(self.codec, self.data, span, len(span))
        return batch


# --- parts -----------------------------------------------------------------------------------------------------------


@torch.no_grad()
def statistics(bench: Bench, task: int, features: Tensor, batch: Batch, rows: Sequence[int]) -> NDArray[np.float32]:
    """The vectors of one task's answers, from its features (n, C, h, w), of some images of a batch."""
    name = TASK_NAMES[task]
    stacked = features[:, None].expand(-1, len(TASKS), -1, -1, -1)
    output = bench.codec.answer_tensors(stacked, [name])[name]
    return MEASURES[name].statistics(output, batch.targets[name][list(rows)]).astype(np.float32)


def measure_anchors(bench: Bench, span: range) -> Arrays:
    """Both ends of the scale: answers from channel means, and from features as they are."""
    batch, codec, arrays = bench.batch(span), bench.codec.feature_codec, {}
    for task in range(len(TASKS)):
        part = batch.features[:, task]
        ends = {"zero": codec.mean[task][None, :, None, None].expand_as(part), "uncompressed": part}
        for end, features in ends.items():
            arrays[f"statistics/{LETTERS[task]}/{end}"] = statistics(bench, task, features, batch, range(len(part)))
    return arrays


def name_of(key: Ancestry) -> str:
    """A graph of ancestors in letters; its last is the task it is of.

    >>> name_of(((3, ()), (0, (3,))))
    'n s<n'
    """
    return " ".join(
        LETTERS[task] + ("<" + "".join(LETTERS[parent] for parent in row) if row else "") for task, row in key
    )


def measure_features(bench: Bench, span: range) -> Arrays:
    """Every arm of the any-graph codec, every set and quality: bytes of files, and vectors by graph of ancestors.

    Raises:
        DataError: a file that decodes to something else than the encoder had.
    """
    batch, codec = bench.batch(span), bench.codec.feature_codec
    size = (batch.images.shape[2], batch.images.shape[3])
    arrays: Arrays = {}
    for quality in bench.plan.qualities:
        choice = Choice.of(codec, batch.features, quality, bench.graphs[quality])
        sent_by_arm = {
            (arm, letters): ARMS[arm].sent(choice, letters) for letters in bench.plan.sets(span) for arm in ARMS
        }
        files = SubsetFiles(codec, batch.features, quality, size, sent_by_arm.values())
        for (arm, letters), each in sent_by_arm.items():
            sizes = [files.file_bytes(image, sent) for image, sent in enumerate(each)]
            arrays[f"bytes/{arm}/{letters}/{quality:g}"] = np.array(sizes, np.int32)
            for task in tasks_of(letters):
                names = [name_of(ancestry(sent.graph, task)) for sent in each]
                arrays[f"names/{arm}/{letters}/{quality:g}/{LETTERS[task]}"] = np.array(names)
        for letters in NAMED:
            _require_same(codec, files, sent_by_arm["own", letters][0])
        for key, images in files.items().items():
            vectors = statistics(bench, key[-1][0], files.decoded(key)[images], batch, images)
            rows = np.zeros((len(batch.features), vectors.shape[1]), np.float32)
            rows[images] = vectors
            arrays[f"statistics/{quality:g}/{name_of(key)}"] = rows
    return arrays


def _require_same(codec: FeatureCodec, files: SubsetFiles, sent: Sent) -> None:
    """Decodes the first image's file from its bytes alone."""
    decoded = codec.decode(files.file(0, sent))
    for task in sent.present:
        features, back = files.decoded(ancestry(sent.graph, task))[0], decoded[codec.task_names[task]]
        difference = float(((features - back).abs() / codec.std[task][:, None, None]).max())
        if difference > _SAME:
            where = f"features of {codec.task_names[task]}"
            raise DataError(where, f"{difference:.2g} standard deviations from the encoder's", f"at most {_SAME:g}")


@torch.no_grad()
def measure_images(bench: Bench, span: range, name: str) -> Arrays:
    """An image codec: bytes of each point, and the vectors of all tasks, answered from what was decoded."""
    batch, system, arrays = bench.batch(span), PICTURES[name], {}
    for point in system.points:
        sizes, features, shown = received(system, bench.codec, batch.features, batch.images, point)
        arrays[f"bytes/{point:g}"] = np.array(sizes, np.int32)
        outputs = bench.codec.answer_tensors(features)
        for letter, task in zip(LETTERS, TASKS, strict=True):
            output = shown if task.presentation == "image" else outputs[task.name]
            assert output is not None, "receivers of images have them"
            vectors = MEASURES[task.name].statistics(output, batch.targets[task.name])
            arrays[f"statistics/{letter}/{point:g}"] = vectors.astype(np.float32)
    return arrays


@torch.no_grad()
def measure_answers(bench: Bench, span: range, name: str) -> Arrays:
    """A codec of answers: for every task and point the bytes, the container's among them, and vectors."""
    batch, codec, arrays = bench.batch(span), sent_answers.CODECS[name], {}
    size = (batch.images.shape[2], batch.images.shape[3])
    outputs = bench.codec.answer_tensors(batch.features)
    for letter, task in zip(LETTERS, TASKS, strict=True):
        answers = [presented(task.name, output[None, :, : size[0], : size[1]]) for output in outputs[task.name]]
        if task.presentation == "image":  # who wants the image is sent the image, not what a head makes of it
            answers = [np.asarray(image.transpose(1, 2, 0) / np.float32(255)) for image in batch.images]
        form = answer_form(task.name)
        for place, point in enumerate(points_of(task, codec)):
            coded = [encode_answer(task, answer, codec, point) for answer in answers]
            back = [decode_answer(task, sent_answer.data, codec, size) for sent_answer in coded]
            output = torch.cat([form.as_output(answer) for answer in back])
            arrays[f"bytes/{letter}/{place}"] = np.array([len(sent_answer.data) for sent_answer in coded], np.int32)
            arrays[f"overhead/{letter}/{place}"] = np.array(
                [sent_answer.overhead_bytes for sent_answer in coded], np.int32
            )
            vectors = MEASURES[task.name].statistics(output, batch.targets[task.name])
            arrays[f"statistics/{letter}/{place}"] = vectors.astype(np.float32)
    return arrays


def trained_names() -> list[str]:
    """Codecs that are trained for a named set; a joint latent of one task would be nothing else than that task alone.

    >>> "joint_nd" in trained_names(), "joint_s" in trained_names()
    (True, False)
    """
    return [f"{kind}_{letters}" for letters in NAMED for kind in TRAINED if kind != "joint" or len(letters) > 1]


@torch.no_grad()
def measure_trained(bench: Bench, span: range, name: str) -> Arrays:
    """A codec trained for a set (:mod:`atdc_bench.baselines.set_codecs`): one tensor that holds those of all its tasks,
    or the any-graph codec's tensors, of which only the set's are sent.

    Raises:
        DataError: weights of other tensors.
    """
    batch, letters = bench.batch(span), name.partition("_")[2]
    path, tasks = bench.codecs / f"{name}.safetensors", tasks_of(letters)
    codec = FeatureCodec.load(path)
    arrays: Arrays = {}
    inputs = [batch.features[:, task] for task in tasks]
    channels = [part.shape[1] for part in inputs]
    joint = name.startswith("joint_")
    expected = [sum(channels)] if joint else [part.shape[1] for part in batch.features.unbind(1)]
    if (of_weights := [spec.channels for spec in codec.tensors.tensors]) != expected:
        raise DataError(str(path), f"tensors of {of_weights} channels", f"{expected}")
    for quality in bench.plan.qualities:
        if joint:
            encoded = codec.encode_batch([torch.cat(inputs, 1)], quality)
        else:
            sent = [part if task in tasks else None for task, part in enumerate(batch.features.unbind(1))]
            encoded = codec.encode_batch(sent, quality, [graph_of(codec, tasks, quality)] * len(batch.features))
        restored = codec.restore([codec.integers.read(data) for data in encoded.data])
        parts = list(torch.split(restored[0], channels, 1)) if joint else [restored[task] for task in tasks]
        arrays[f"bytes/{quality:g}"] = np.array([len(data) for data in encoded.data], np.int32)
        for task, part in zip(tasks, parts, strict=True):
            arrays[f"statistics/{LETTERS[task]}/{quality:g}"] = statistics(bench, task, part, batch, range(len(part)))
    return arrays


FAMILIES: dict[str, Callable[..., Arrays]] = {
    "anchors": measure_anchors, "features": measure_features, "pictures": measure_images,
    "answers": measure_answers, "trained": measure_trained,
}  # fmt: skip


@dataclass(frozen=True)
class Part:
    """A piece of the measurement, kept in a file of its own.

    Attributes:
        family: of :data:`FAMILIES`.
        span: images.
        name: of the system, where a family has several.
    """

    family: str
    span: range
    name: str = ""

    def path(self, folder: Path) -> Path:
        """Its file."""
        names = [self.family, self.name] if self.name else [self.family]
        return folder / "-".join([*names, f"{self.span.start:04d}", f"{self.span.stop:04d}.npz"])

    def is_measured(self, folder: Path, plan: Plan) -> bool:
        """Whether its file is there, with all sets that the plan wants of these images."""
        if self.family != "features" or not self.path(folder).exists():
            return self.path(folder).exists()
        with np.load(self.path(folder)) as arrays:
            return all(f"bytes/own/{letters}/{plan.qualities[-1]:g}" in arrays for letters in plan.sets(self.span))

    def measure(self, bench: Bench, folder: Path) -> None:
        """Measures it and keeps what is found."""
        names = [self.name] if self.name else []
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **FAMILIES[self.family](bench, self.span, *names))  # type: ignore[arg-type]
        write_bytes_atomically(self.path(folder), buffer.getvalue())


def missing_systems(codecs: Path) -> dict[str, str]:
    """What cannot be measured here, and why."""
    why = {name: system.missing() for name, system in PICTURES.items()}
    why |= {name: codec.missing() for name, codec in sent_answers.CODECS.items()}
    for name in trained_names():
        path = codecs / f"{name}.safetensors"
        why[name] = None if path.exists() else f"not run: no {path.name} among the trained codecs"
    return {name: reason for name, reason in why.items() if reason is not None}


def parts_of(plan: Plan, missing: Iterable[str]) -> list[Part]:
    """All parts, the longest first."""
    without = set(missing)
    systems = [("pictures", name) for name in PICTURES] + [("answers", name) for name in sent_answers.CODECS]
    trained = [name for name in trained_names() if name not in without]
    rivals = [span for span in plan.spans if span.stop <= plan.rival_count]
    return [
        *(Part("features", span) for span in plan.spans),
        *(Part(family, span, name) for family, name in systems if name not in without for span in rivals),
        *(Part("trained", span, name) for name in trained for span in plan.spans),
        *(Part("anchors", span) for span in plan.spans),
    ]


# --- graphs, times ---------------------------------------------------------------------------------------------------


def graphs_of_sets(codec: Codec, val: LabelledImages, plan: Plan, path: Path) -> dict[float, dict[str, Sent]]:
    """What is sent where a set has one graph, chosen by measured costs of validation images; kept in a file."""
    if path.exists():
        table = json.loads(path.read_text(encoding="utf-8"))
        return {
            float(quality): {
                letters: Sent(TaskGraph(tuple(map(tuple, row["parents"]))), tuple(row["present"]))
                for letters, row in rows.items()
            }
            for quality, rows in table.items()
        }
    feature_codec, graphs = codec.feature_codec, {}
    spans = [range(start, min(start + BLOCK, plan.val_count)) for start in range(0, plan.val_count, BLOCK)]
    features = [feature_codec.normalise(features_at(codec, val, span)) for span in spans]
    for quality in plan.qualities:
        pairs = [feature_codec.costs.pair_costs(part, quality) for part in features]
        bits, errors = (np.concatenate([pair[place] for pair in pairs]).mean(0) for place in (0, 1))
        weights = feature_codec.costs.lagrange_multipliers(quality)[feature_codec.costs.children]
        graphs[quality] = best_of_subsets(feature_codec, bits, weights * errors, subsets())
    plain = {
        f"{quality:g}": {
            letters: {"parents": [list(row) for row in sent.graph.parents], "present": list(sent.present)}
            for letters, sent in rows.items()
        }
        for quality, rows in graphs.items()
    }
    write_bytes_atomically(path, json.dumps(plain).encode())
    return graphs


def device_ms(bench: Bench, missing: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Milliseconds of a device, one image at a time, medians: by named set and arm its encoders, heads and codec."""
    codec, coding, without = bench.codec, bench.codec.feature_codec, set(missing)
    images = bench.batch(range(min(_TIMED, bench.plan.count))).images
    size, middle = (images.shape[2], images.shape[3]), bench.plan.qualities[len(bench.plan.qualities) // 2]
    inputs = [as_input(pixels[None]) for pixels in images]
    colours = [np.ascontiguousarray(pixels.transpose(1, 2, 0)) for pixels in images]
    features = [codec.features_of(image) for image in inputs]
    answers = [
        {name: presented(name, output) for name, output in codec.answer_tensors(image_features).items()}
        for image_features in features
    ]

    @torch.no_grad()
    def median(function: Callable[[int], object]) -> float:
        function(0)
        return round(float(np.median([timed(function, number)[0] for number in range(len(inputs))])), 3)

    def encoded(task: int, number: int) -> Tensor:
        return codec.networks.encoders[task](inputs[number])

    def sent_of(arm: str, letters: str, number: int) -> Sent:
        return ARMS[arm].sent(Choice.of(coding, features[number], middle, bench.graphs[middle]), letters)[0]

    def coded(arm: str, letters: str, number: int) -> None:
        sent = sent_of(arm, letters, number)
        parts = [part if task in sent.present else None for task, part in enumerate(features[number].unbind(1))]
        coding.encode_batch(parts, middle, [sent.graph], sizes=[size], restore_all=False)

    def answered(name: str, letters: str, number: int) -> None:
        answer_codec = sent_answers.CODECS[name]
        for task in (TASKS[place] for place in tasks_of(letters)):
            points = points_of(task, answer_codec)
            encode_answer(task, answers[number][task.name], answer_codec, points[len(points) // 2])

    def depicted(name: str, number: int) -> None:
        PICTURES[name].encode(colours[number], PICTURES[name].points[len(PICTURES[name].points) // 2])

    encoders = [median(partial(encoded, task)) for task in range(len(TASKS))]
    heads = [median(lambda number, head=name: codec.answer_tensors(features[number], [head])) for name in TASK_NAMES]  # type: ignore[misc]
    shown = {name: median(partial(depicted, name)) for name in PICTURES if name not in without}
    times: dict[str, dict[str, Any]] = {}
    for letters in NAMED:
        rows = times[letters] = {name: _device(0.0, 0.0, milliseconds) for name, milliseconds in shown.items()}
        for arm in ARMS:
            present = sent_of(arm, letters, 0).present
            rows[arm] = _device(sum(encoders[task] for task in present), 0.0, median(partial(coded, arm, letters)))
        for name in sent_answers.CODECS:
            if name not in without:
                tasks, took = tasks_of(letters), median(partial(answered, name, letters))
                rows[name] = _device(sum(encoders[task] for task in tasks), sum(heads[task] for task in tasks), took)
    return times


def _device(encoders: float, heads: float, codec: float) -> dict[str, float]:
    return {"encoders": round(encoders, 2), "heads": round(heads, 2), "codec": round(codec, 2)}
