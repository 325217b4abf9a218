"""From the records of `atdc bench wanted` to its result: utilities, points, rate differences, bytes at utilities."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from atdc.errors import ArgumentError
from atdc.metrics.tasks import MEASURES, FloatArray, utility
from atdc.tasks import LETTERS, TASK_NAMES, TASKS
from atdc_bench.baselines import sent_answers, vvc
from atdc_bench.baselines.sent_answers import combined
from atdc_bench.experiments.wanted_parts import PICTURES, TRAINED, Plan, parts_of, trained_names
from atdc_bench.experiments.wanted_sets import ARMS, NAMED, subsets, tasks_of
from atdc_bench.measures.rate_distortion import (
    MOST_REFUSED,
    BDRate,
    Curve,
    differences,
    draw_counts,
    with_interval,
)

UTILITIES = (0.8, 0.9, 0.95)
"""At which bytes are told."""
OURS = ("own", "own-fixed")
"""Arms that all others are compared with."""
RIVALS = ("ancestors", "dropped", "independent")
BEST_OF_TWO = "dropped or independent"
"""The better of the two, set by set."""


@dataclass(frozen=True)
class Curves:
    """One arm of one set: of all images (row 0) and of each resample.

    Attributes:
        labels: of the points.
        rates: mean bytes, (1 + R, P).
        each: by task of the set, unclipped utilities (1 + R, P, tasks).
        errors: of all images, (P, tasks).
        overhead: mean bytes of containers, (P,), where they are told apart.
    """

    labels: tuple[str, ...]
    rates: FloatArray
    each: FloatArray
    errors: FloatArray
    overhead: FloatArray | None = None

    @cached_property
    def utilities(self) -> FloatArray:
        """The set's: the mean over its tasks of ``min(u, 1)``, (1 + R, P)."""
        return np.minimum(self.each, 1).mean(2)

    @cached_property
    def cheapest(self) -> list[Curve | ArgumentError]:
        """The curve through the cheapest points, on all images and each resample; or why there is none, as where an
        untrained head, or a class that was not drawn, leaves no scale."""
        return [_cheapest(*row) for row in zip(self.rates, self.utilities, strict=True)]

    def of_all_images(self) -> Curves:
        """The same without resamples."""
        return replace(self, rates=self.rates[:1], each=self.each[:1])

    @cached_property
    def _reached(self) -> dict[float, tuple[FloatArray, str]]:
        return {target: self._bytes_at(target) for target in UTILITIES}

    def bytes_at(self, target: float) -> tuple[FloatArray, str]:
        """Bytes that reach one of :data:`UTILITIES`, (1 + R,), NaN where no point does; and whether, on all images,
        that lies ``between`` points, is the ``lowest``, or there is ``none``."""
        return self._reached[target]

    def _bytes_at(self, target: float) -> tuple[FloatArray, str]:
        sizes, state = np.full(len(self.rates), np.nan), "none"
        for row, curve in enumerate(self.cheapest):
            size = None if isinstance(curve, ArgumentError) else curve.rate_at(target)
            if size is not None:
                sizes[row] = size
        first = self.cheapest[0]
        if not np.isnan(sizes[0]) and isinstance(first, Curve):
            state = "lowest" if target <= first.utilities[0] else "between"
        return sizes, state


def _cheapest(rates: FloatArray, utilities: FloatArray) -> Curve | ArgumentError:
    try:
        return Curve.of_cheapest(rates, utilities)
    except ArgumentError as refusal:
        return refusal


CurvesOf: TypeAlias = Callable[[str, str, int], Curves]
"""From a system, a set and a number of images."""


class Records:
    """What the parts of a measurement hold.

    Args:
        plan: of the measurement.
        folder: of the parts.
        missing: systems that were not measured.
    """

    def __init__(self, plan: Plan, folder: Path, missing: Mapping[str, str]) -> None:
        self.plan, self._missing = plan, missing
        self._parts: dict[tuple[str, str], list[tuple[range, Mapping[str, NDArray[Any]]]]] = {}
        for part in parts_of(plan, missing):
            with np.load(part.path(folder)) as file:
                arrays = {name: file[name] for name in file.files}
            self._parts.setdefault((part.family, part.name), []).append((part.span, arrays))
        self._errors: dict[tuple[int, str, bytes], FloatArray] = {}
        self._draws: dict[int, FloatArray] = {}
        self._ends: dict[tuple[int, int], tuple[FloatArray, FloatArray]] = {}
        self._ids: dict[str, int] = {}

    def systems(self, letters: str) -> list[str]:
        """What was measured of a set."""
        names = [*ARMS]
        names += [name for name in (*PICTURES, *sent_answers.CODECS) if name not in self._missing]
        return names + [name for name in trained_names() if name.endswith(f"_{letters}") and name not in self._missing]

    def images(self, system: str, letters: str) -> int:
        """How many images a system and set were measured on."""
        if system in ARMS:
            return self.plan.count if letters in NAMED else self.plan.subset_count
        return self.plan.count if system in trained_names() else self.plan.rival_count

    def draws(self, images: int) -> FloatArray:
        """How often each image is drawn, (1 + R, images)."""
        if images not in self._draws:
            self._draws[images] = draw_counts(images, self.plan.resamples, self.plan.seed)
        return self._draws[images]

    def _rows(self, family: str, name: str, key: str, images: int) -> NDArray[Any]:
        parts = [arrays[key] for span, arrays in self._parts[family, name] if span.stop <= images]
        return np.concatenate(parts)

    def _error(self, task: int, vectors: NDArray[Any], images: int) -> FloatArray:
        counts = self.draws(images)
        return MEASURES[TASK_NAMES[task]].error(counts @ vectors.astype(np.float64))

    def ends(self, task: int, images: int) -> tuple[FloatArray, FloatArray]:
        """A task's errors at both ends of the scale, (1 + R,) each."""
        if (task, images) not in self._ends:
            keys = [f"statistics/{LETTERS[task]}/{end}" for end in ("zero", "uncompressed")]
            low, high = (self._error(task, self._rows("anchors", "", key, images), images) for key in keys)
            self._ends[task, images] = low, high
        return self._ends[task, images]

    def _coded_error(self, arm: str, letters: str, quality: str, task: int, images: int) -> FloatArray:
        """The error of an arm of the any-graph codec; images differ in the graphs of their ancestors."""
        letter = LETTERS[task]
        names = self._rows("features", "", f"names/{arm}/{letters}/{quality}/{letter}", images)
        distinct, which = np.unique(names, return_inverse=True)
        ids = np.array([self._ids.setdefault(name, len(self._ids)) for name in distinct.tolist()], np.int32)[which]
        key = (images, f"{quality}/{letter}", ids.tobytes())
        if key not in self._errors:
            vectors = []
            for span, arrays in self._parts["features", ""]:
                if span.stop <= images:
                    rows = [arrays[f"statistics/{quality}/{names[image]}"][image - span.start] for image in span]
                    vectors.append(np.stack(rows))
            self._errors[key] = self._error(task, np.concatenate(vectors), images)
        return self._errors[key]

    def curves(self, system: str, letters: str, images: int) -> Curves:
        """An arm of a set, on the first images."""
        tasks = tasks_of(letters)
        if system in sent_answers.CODECS:
            return self._answers(system, letters, images)
        if system in PICTURES:
            labels, family, name = [f"{point:g}" for point in PICTURES[system].points], "pictures", system
        else:
            labels = [f"{quality:g}" for quality in self.plan.qualities]
            family, name = ("features", "") if system in ARMS else ("trained", system)
        counts, rates, errors = self.draws(images), [], []
        for label in labels:
            bytes_key = f"bytes/{system}/{letters}/{label}" if family == "features" else f"bytes/{label}"
            rates.append(counts @ self._rows(family, name, bytes_key, images) / images)
            if family == "features":
                errors.append([self._coded_error(system, letters, label, task, images) for task in tasks])
            else:
                keys = [f"statistics/{LETTERS[task]}/{label}" for task in tasks]
                errors.append(
                    [self._rival_error(family, name, key, task, images) for key, task in zip(keys, tasks, strict=True)]
                )
        return self._of(tuple(labels), np.stack(rates, 1), np.array(errors), tasks, images)

    def _rival_error(self, family: str, name: str, key: str, task: int, images: int) -> FloatArray:
        error_key = (images, f"{family}/{name}/{key}", b"")
        if error_key not in self._errors:
            self._errors[error_key] = self._error(task, self._rows(family, name, key, images), images)
        return self._errors[error_key]

    def _of(
        self, labels: tuple[str, ...], rates: FloatArray, errors: FloatArray, tasks: Sequence[int], images: int,
        overhead: FloatArray | None = None,
    ) -> Curves:  # fmt: skip
        """Curves of errors (P, tasks, 1 + R)."""
        each = [
            utility(errors[:, place], *self.ends(task, images)).T for place, task in enumerate(tasks)
        ]  # fmt: skip
        return Curves(labels, rates, np.stack(each, 2), errors[..., 0], overhead)

    def _answers(self, system: str, letters: str, images: int) -> Curves:
        """The answers of a set: of each task the point that is worth its bytes at one price for all."""
        tasks, counts = tasks_of(letters), self.draws(images)
        sizes, errors, overheads, curves = [], [], [], []
        for task in tasks:
            letter = LETTERS[task]
            places = range(len(sent_answers.points_of(TASKS[task], sent_answers.CODECS[system])))
            task_sizes = [
                counts @ self._rows("answers", system, f"bytes/{letter}/{p}", images) / images for p in places
            ]
            task_overheads = [self._rows("answers", system, f"overhead/{letter}/{p}", images).mean() for p in places]
            error = [self._rival_error("answers", system, f"statistics/{letter}/{p}", task, images) for p in places]
            reached = np.minimum(utility(np.array(error), *self.ends(task, images))[:, 0], 1)
            sizes.append(task_sizes)
            errors.append(error)
            overheads.append(task_overheads)
            curves.append([(float(size[0]), float(u)) for size, u in zip(task_sizes, reached, strict=True)])
        chosen = combined(curves)
        rates = np.stack([sum(sizes[t][p] for t, p in enumerate(row)) for row in chosen], 1)
        picked = np.array([[errors[t][p] for t, p in enumerate(row)] for row in chosen])
        overhead = np.array([sum(overheads[t][p] for t, p in enumerate(row)) for row in chosen])
        labels = tuple(",".join(map(str, row)) for row in chosen)
        return self._of(labels, rates, picked, tasks, images, overhead)


# --- tables ----------------------------------------------------------------------------------------------------------


def summarise(records: Records) -> dict[str, Any]:
    """The part of the result that follows from the records."""
    cache: dict[tuple[str, str, int], Curves] = {}

    def curves(system: str, letters: str, images: int) -> Curves:
        if (system, letters, images) not in cache:
            cache[system, letters, images] = records.curves(system, letters, images)
        return cache[system, letters, images]

    points: list[dict[str, Any]] = []
    rates: list[dict[str, Any]] = []
    sizes: list[dict[str, Any]] = []
    percents: dict[tuple[str, str, str], FloatArray] = {}
    for letters in subsets():
        systems = records.systems(letters)
        for system in systems:
            images = records.images(system, letters)
            system_curves = curves(system, letters, images)
            if letters not in NAMED and system not in (*OURS, *RIVALS):
                system_curves = system_curves.of_all_images()
            points += _points(system, letters, images, system_curves)
            sizes += _bytes_at(system, letters, images, system_curves)
        for ours in OURS:
            for rival in systems if letters in NAMED else (*OURS, *RIVALS):
                if rival == ours:
                    continue
                images = min(records.images(ours, letters), records.images(rival, letters))
                pair = [curves(system, letters, images) for system in (rival, ours)]
                bd_rates = differences(pair[0].cheapest, pair[1].cheapest)
                rates.append({"setting": ours, "reference": rival, "over": letters, **_difference(bd_rates, images)})
                percents[ours, rival, letters] = np.array(
                    [np.nan if isinstance(row, ArgumentError) else row.percent for row in bd_rates]
                )
    return {
        "ends": _ends(records),
        "points": points,
        "bytes_at": sizes,
        "bd_rates": rates,
        "by_size": _by_size(records, percents, curves),
        "against_best": _against_best(records, curves),
    }


def _ends(records: Records) -> dict[str, Any]:
    images = records.plan.count
    return {
        letter: dict(
            zip(("zero", "uncompressed"), (_rounded(row[0]) for row in records.ends(task, images)), strict=True)
        )
        for task, letter in enumerate(LETTERS)
    }


def _points(system: str, letters: str, images: int, curves: Curves) -> list[dict[str, Any]]:
    rows = []
    for place, label in enumerate(curves.labels):
        row: dict[str, Any] = {
            "set": letters, "system": system, "point": label, "images": images,
            "bytes": round(float(curves.rates[0, place]), 2), "utility": _rounded(curves.utilities[0, place]),
        }  # fmt: skip
        if letters == LETTERS:
            row["u6"] = _rounded(curves.each[0, place].mean())
        if curves.overhead is not None:
            row["overhead_bytes"] = round(float(curves.overhead[place]), 2)
        row["errors"] = {letter: _rounded(error) for letter, error in zip(letters, curves.errors[place], strict=True)}
        rows.append(row)
    return rows


def _bytes_at(system: str, letters: str, images: int, curves: Curves) -> list[dict[str, Any]]:
    rows = []
    for target in UTILITIES:
        sizes, state = curves.bytes_at(target)
        size = None if np.isnan(sizes[0]) else round(float(sizes[0]), 2)
        low, high = _interval(sizes[1:]) if size is not None else (None, None)
        rows.append({"set": letters, "system": system, "utility": target, "images": images, "bytes": size,
                     "reached": state, "low": low, "high": high})  # fmt: skip
    return rows


def _difference(bd_rates: Sequence[BDRate | ArgumentError], images: int) -> dict[str, Any]:
    whole = bd_rates[0]
    if isinstance(whole, ArgumentError):
        return {"images": images, "refused": str(whole)}
    percents = [row.percent for row in bd_rates[1:] if isinstance(row, BDRate)]
    return with_interval(whole, percents, len(bd_rates) - 1, images).to_json()


def _by_size(
    records: Records, percents: Mapping[tuple[str, str, str], FloatArray], curves: CurvesOf
) -> list[dict[str, Any]]:
    """By size of set, ours against each rival: means over sets of the logarithms of ratios of bytes."""
    rows, images = [], records.plan.subset_count
    for size in range(1, len(LETTERS) + 1):
        sets = [letters for letters in subsets() if len(letters) == size]
        for ours in OURS:
            for rival in (*RIVALS, BEST_OF_TWO):
                rivals = RIVALS[1:] if rival == BEST_OF_TWO else (rival,)
                at_equal = [
                    np.log1p(np.fmax.reduce([percents[ours, name, letters] for name in rivals]) / 100)
                    for letters in sets
                ]
                row: dict[str, Any] = {
                    "size": size,
                    "sets": len(sets),
                    "setting": ours,
                    "reference": rival,
                    "images": images,
                }
                row |= {"bd_rate": _mean(at_equal)}
                for target in UTILITIES:
                    ratios = []
                    for letters in sets:
                        our_bytes = curves(ours, letters, images).bytes_at(target)[0]
                        rival_bytes = np.fmin.reduce(
                            [curves(name, letters, images).bytes_at(target)[0] for name in rivals]
                        )
                        ratios.append(np.log(our_bytes / rival_bytes))
                    row[f"at {target:g}"] = _mean(ratios)
                rows.append(row)
    return rows


def _mean(logarithms: Sequence[FloatArray]) -> dict[str, Any]:
    """The mean over sets, of those that can be compared on all images, with an interval over resamples."""
    rows = [row for row in logarithms if np.isfinite(row[0])]
    if not rows:
        return {"compared": 0, "percent": None, "low": None, "high": None}
    percents = 100 * np.expm1(_nanmean(np.stack(rows)))
    low, high = _interval(percents[1:])
    return {"compared": len(rows), "percent": _rounded(percents[0]), "low": low, "high": high}


def _against_best(records: Records, curves: CurvesOf) -> list[dict[str, Any]]:
    """Named sets at each utility: our bytes against those of the best of a family, which may be another in each
    resample."""
    rows = []
    for letters in NAMED:
        systems = records.systems(letters)
        families: dict[str, list[str]] = {"pictures": [*PICTURES], "answers": [*sent_answers.CODECS]}
        families |= {"vvc": [vvc.VVENC.name]} | {kind: [f"{kind}_{letters}"] for kind in TRAINED}
        for family, members in families.items():
            names = [name for name in members if name in systems]
            images = records.images(names[0], letters) if names else records.plan.rival_count
            for target in UTILITIES:
                candidates = {name: curves(name, letters, images).bytes_at(target) for name in names}
                sizes = {name: size for name, (size, _) in candidates.items()}
                reached = {name: float(size[0]) for name, size in sizes.items() if np.isfinite(size[0])}
                best = min(reached, key=lambda name: reached[name]) if reached else None
                for ours in OURS:
                    our_bytes = curves(ours, letters, images).bytes_at(target)[0]
                    row = {"set": letters, "setting": ours, "family": family, "utility": target, "images": images,
                           "best": best, "bytes": None if np.isnan(our_bytes[0]) else round(float(our_bytes[0]), 2),
                           "best_bytes": None if best is None else round(reached[best], 2),
                           "best_reached": None if best is None else candidates[best][1]}  # fmt: skip
                    ratio = np.log(our_bytes / np.fmin.reduce([*sizes.values()])) if sizes else np.full(1, np.nan)
                    rows.append(row | _mean([ratio]))
    return rows


def _nanmean(rows: FloatArray) -> FloatArray:
    """Over sets, of those that a resample can compare; NaN where there are none."""
    is_finite = np.isfinite(rows)
    return np.where(is_finite, rows, 0).sum(0) / np.where(is_finite.any(0), is_finite.sum(0), np.nan)


def _interval(resampled: FloatArray) -> tuple[float | None, float | None]:
    """95 % of the resamples that have a value; none where more than a tenth have not."""
    values = resampled[np.isfinite(resampled)]
    if not len(values) or len(resampled) - len(values) > MOST_REFUSED * len(resampled):
        return None, None
    low, high = np.percentile(values, [2.5, 97.5])
    return _rounded(low), _rounded(high)


def _rounded(value: Any) -> float | None:
    return float(f"{value:.6g}") if np.isfinite(value) else None
