"""`atdc bench networks`: bytes against the answers of other people's networks, after coding as before it.

Every way to get answers from a photo to a server is taken on the same photos: tensors at the networks' cuts by a fitted
codec and by plainer ones, the photo by image codecs, and the answers themselves
(:mod:`atdc_bench.baselines.sent_tensors`). What is wanted is one network's answers, or all networks' together.

An answer's *agreement* is its metric in the networks' file, after against before, the mean over photos whose answer
before says something (:meth:`~atdc.adapters.network_set.NetworkSet.saying`); a network's is the mean over its answers,
and that of several networks the mean over them.

What each system has given is kept; a run that was stopped resumes where it stopped.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import math
import os
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from atdc.adapters.halves import CutNetwork
from atdc.adapters.network_balance import mean_agreements
from atdc.adapters.network_codec import NetworkCodec
from atdc.adapters.network_set import NetworkSet, load_networks
from atdc.adapters.python_files import loaded_function
from atdc.balance import Balance, balance_path
from atdc.codec import FeatureCodec
from atdc.config import MAX_QUALITY
from atdc.data.dumped import DumpedFeatures
from atdc.data.feature_source import evenly_spaced
from atdc.data.photos import photos_in
from atdc.errors import ArgumentError, DataError, NetworkError
from atdc.files import write_bytes_atomically
from atdc.images import read_image
from atdc.provenance import provenance, write_result
from atdc.weights import open_weights
from atdc_bench.baselines.sent_tensors import BALANCED, FITTED, Photo, Sender, senders

Curve = Sequence[tuple[float, float]]
"""Bytes and agreement of each point."""
ALL = "all together"
"""The set of all networks."""
TARGETS = (0.8, 0.9, 0.95)
"""Agreements at which bytes are compared."""
PICTURES = ("jpeg", "webp", "avif", "avif-small", "avif-half", "vvc_vvenc", "vvc-small", "vvc-half")
"""Systems that send the photo."""
ONE_QUALITY = f"{FITTED}-codebook"
RIVALS = {
    "the best image codec": PICTURES,
    "tensors as images or whole numbers": ("tiled-avif", "tiled-vvc", "levels"),
    "codec without training": ("untrained",),
    "each tensor alone": (f"{FITTED}-independent",),
    "one fixed graph": (f"{FITTED}-fixed",),
    "one quality for all": (ONE_QUALITY,),
    "the answers": ("answers-avif", "answers-vvc", "answers-levels"),
}
"""What the fitted codec is compared with: the one of a row's systems that takes the fewest bytes. It has a quality for
each network where there are several and a balance was measured; but :data:`OTHER_GRAPHS` have one for all, and are
compared with it at one for all."""
OTHER_GRAPHS = ("each tensor alone", "one fixed graph")
APART = "-apart"
"""What names of systems end with whose networks each have the setting that is best on the very photos of the
measurement: more than a rival can know."""
_RESAMPLES = 1000
_VERSION = 1
"""Rises when records change their meaning."""
_TIMED = 5
_WHAT = (
    "Bytes of a photo's file (files that are written, but for the codec without training: ideal bits of tables counted "
    "on training photos), and agreement of answers after with before, means over photos. agreement: the mean over "
    "networks of the mean over their answers; answers: each answer's, None where no photo's answer says anything. at: "
    "bytes that reach an agreement, along the points that agree better than every cheaper one, logarithms between "
    "them; state `lowest` where the smallest files already do, `none` where no point does. against: bytes of the "
    "fitted codec's own graph (with a quality for each network where several are wanted and a balance was measured, "
    "but for the rivals that are other graphs) in percent of a rival's at equal agreement, of a rival's systems the "
    "one of the fewest bytes, those that code networks apart also with a setting for each that is best on these very "
    "photos (names end in -apart), with 95 % intervals over resampled photos; "
    "None where one does not reach it; bound `at least` where the rival's smallest files already do, `at most` where "
    "the codec's do. device_ms: CPU milliseconds of one photo on one thread, networks and coding, medians; sent: what "
    "the device runs of the networks, their first halves, the wholes, or nothing. networks: the first half's time, and "
    "the whole's."
)


def run_networks(
    networks: str | Path,
    out: Path,
    *,
    photos: Path,
    features: Path,
    model: Path | None = None,
    count: int = 20,
    known_count: int = 128,
    qualities: Sequence[float] = (1, 3, 5, 7),
    runs: Path = Path("runs/networks"),
    quiet: bool = False,
) -> dict[str, Any]:
    """Measures all systems on some photos, and writes curves and bytes at equal agreement.

    Args:
        networks: a file of networks, or a shipped set by name.
        out: the result, JSON.
        photos: folder of the photos that are sent.
        features: of other photos, which the codec without training learns from; made by ``atdc networks features``.
        model: weights of the fitted codec; without them it is said to be not run.
        count: of the photos, so many, evenly spaced.
        known_count: of the other photos, so many.
        qualities: of the fitted codec.
        runs: folder of the records. Delete it to measure again after a change of the code.
        quiet: no progress bar.

    Returns:
        What was written.

    Raises:
        ArgumentError: no quality, or one that there is not.
        DataError: too few photos.
        NetworkError: weights or features of other networks.
    """
    if not qualities or not all(0 <= quality <= MAX_QUALITY for quality in qualities):
        raise ArgumentError("qualities", str(list(qualities)), f"one at least, from 0 to {MAX_QUALITY}")
    from atdc.cli.networks import digests_in

    loaded, paths = load_networks(networks), photos_in(photos)
    loaded.require_digests(digests_in([features]), str(features))
    codec = None if model is None else FeatureCodec.load(model)
    if codec is not None:
        NetworkCodec(loaded, codec, str(model))  # refuses a codec of other networks
        if unknown_names := [name for name in codec.task_names if name not in loaded.names]:
            raise NetworkError(str(networks), f"no network with {', '.join(unknown_names)}", f"all networks of {model}")
    if len(paths) < count:
        raise DataError(str(photos), f"{len(paths)} photos", f"at least {count}")
    sent_photos = [_photo(loaded, paths[place]) for place in evenly_spaced(len(paths), count)]
    source = DumpedFeatures(features)
    rows = evenly_spaced(len(source), known_count)
    learned = [source.read(int(row)) for row in rows]
    balance = _balance(model, codec)
    everything, missing = senders(loaded, codec, learned, tuple(qualities), balance)
    sets = {name: [name] for name in loaded.networks}
    if len(sets) > 1:
        sets[ALL] = list(loaded.networks)
    fitted = _Fitted(codec, balance)
    records = _records(runs, loaded, everything, sets, sent_photos, learned, fitted, quiet)
    titles = {name: sender.title for name, sender in everything.items()}
    sent = {name: sender.networks for name, sender in everything.items()}
    for name, record in list(records.items()):
        if ALL in sets and not everything[name].by_set and everything[name].networks:
            apart = name + APART
            records[apart] = _with_settings_apart(record, sets)
            titles[apart], sent[apart] = f"{titles[name]}, settings chosen on these photos", sent[name]
    halves = {name: _half_ms(network, sent_photos) for name, network in loaded.networks.items()}
    points = [
        {"set": wanted, "system": name, **_mean_point(point, row)}
        for wanted in sets
        for name, record in records.items()
        for point, row in record["points"].get(wanted, {}).items()
    ]
    result = {
        "what": _WHAT,
        "provenance": provenance(seed=0, weights=None if codec is None else codec.fingerprint.hex()),
        "data": {"name": photos.name, "images": count, "learned_from": len(rows)},
        "networks": _described(loaded, halves, [loaded.saying(photo.before) for photo in sent_photos]),
        "sets": sets, "qualities": list(qualities), "targets": list(TARGETS),
        "titles": titles, "missing": missing, "sent": sent,
        "points": points,
        "at": _at(points),
        "against": _against(records, loaded, sets),
        "device_ms": {
            wanted: {
                name: record["coding_ms"][wanted] + sum(halves[member][sent[name]] for member in members)
                for name, record in records.items()
                if wanted in record["points"]
            }
            for wanted, members in sets.items()
        },
    }  # fmt: skip
    write_result(out, result)
    return result


@dataclass(frozen=True)
class _Fitted:
    """The fitted codec, if there is one, and its balance."""

    codec: FeatureCodec | None
    balance: Balance | None

    def inputs(self, name: str) -> list[Any]:
        """What a system of that name is measured with of it."""
        inputs: list[Any] = []
        if name.startswith(FITTED) and self.codec is not None:
            inputs.append(self.codec.fingerprint.hex())
        if name == BALANCED and self.balance is not None:
            inputs.append(self.balance.qualities)
        return inputs


def _records(
    folder: Path, loaded: NetworkSet, everything: Mapping[str, Sender], sets: Mapping[str, Sequence[str]],
    sent_photos: Sequence[Photo], learned: Sequence[Mapping[str, NDArray[Any]]], fitted: _Fitted, quiet: bool,
) -> dict[str, dict[str, Any]]:  # fmt: skip
    """What was measured of each system, or is measured now, and kept in a folder by all that it follows from."""
    common_inputs = [
        _VERSION, loaded.digests, answers_digest(loaded), [_digest(photo.image) for photo in sent_photos],
        [_digest(*sample.values()) for sample in learned],
    ]  # fmt: skip
    records = {}
    for name, sender in tqdm(everything.items(), unit="system", desc="networks", disable=quiet):
        inputs = [*common_inputs, list(sender.points), *fitted.inputs(name)]
        path = folder / f"{name}-{hashlib.sha256(json.dumps(inputs).encode()).hexdigest()[:12]}.json"
        if not path.exists():
            folder.mkdir(parents=True, exist_ok=True)
            sender_sets = {key: members for key, members in sets.items() if len(members) > 1 or not sender.for_several}
            record = _measured(loaded, sender, sender_sets, sent_photos)
            write_bytes_atomically(path, json.dumps(record).encode())
        records[name] = json.loads(path.read_text("utf-8"))
    return records


def _half_ms(network: CutNetwork, sent_photos: Sequence[Photo]) -> dict[str, float]:
    """Times of what a device may run of a network: its first half, the whole, or nothing."""
    return {
        "first": _median_ms(lambda photo: network.features(photo.image), sent_photos),
        "whole": _median_ms(lambda photo: network.whole(photo.image), sent_photos),
        "": 0.0,
    }


def _described(
    loaded: NetworkSet, halves: Mapping[str, Mapping[str, float]], saying: Sequence[Collection[str]]
) -> dict[str, Any]:
    """What each network is, and in how many photos its answers say anything."""
    return {
        name: {
            "tensors": {tensor.name: list(tensor.feature_shape) for tensor in network.tensors},
            "answers": {key: {"metric": answer.metric} for key, answer in network.reported.items()},
            "photos_that_say_something": {
                key: sum(f"{name}/{key}" in says for says in saying) for key in network.reported
            },
            "first_ms": halves[name]["first"], "whole_ms": halves[name]["whole"],
        }
        for name, network in loaded.networks.items()
    }  # fmt: skip


def _at(points: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Bytes that reach each of the targets."""
    curves: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for row in points:
        curves.setdefault((row["set"], row["system"]), []).append((row["bytes"], row["agreement"]))
    return [
        {"set": wanted, "system": name, "agreement": target, **bytes_at(curve, target)}
        for (wanted, name), curve in curves.items()
        for target in TARGETS
    ]


def _balance(model: Path | None, codec: FeatureCodec | None) -> Balance | None:
    """The balance next to the weights, if there is one."""
    if model is None or codec is None:
        return None
    path = open_weights(model).path
    return Balance.read(path, codec.fingerprint, codec.task_names) if balance_path(path).exists() else None


def _with_settings_apart(record: Mapping[str, Any], sets: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """Of a system that codes each network by itself: points of all together at which each network has its own setting,
    such that the mean agreement is the best for its bytes (Everett, 1963)."""
    single = [record["points"][wanted] for wanted in sets if wanted != ALL]
    settings = list(single[0])
    sizes = np.array([[np.mean(rows[setting]["bytes"]) for setting in settings] for rows in single])
    worth = np.array([[_mean_point(setting, rows[setting])["agreement"] for setting in settings] for rows in single])
    slopes = np.geomspace(1e-4, 1e4, 2001) * np.ptp(worth) / max(np.ptp(sizes), 1e-12)
    chosen = np.unique([(worth - slope * sizes).argmax(1) for slope in slopes], axis=0)
    order = np.argsort([sizes[np.arange(len(single)), row].sum() for row in chosen])
    points = {}
    for number, row in enumerate(chosen[order]):
        members = [rows[settings[place]] for rows, place in zip(single, row, strict=True)]
        size = np.sum([member["bytes"] for member in members], 0).tolist()
        answers = {key: values for member in members for key, values in member["answers"].items()}
        points[str(number)] = {"bytes": size, "answers": answers}
    return {"points": {ALL: points}, "coding_ms": {ALL: record["coding_ms"][ALL]}}


def answers_digest(networks: NetworkSet) -> list[Any]:
    """What tells answers apart, with the source of the functions that make and compare them."""
    rows: list[Any] = []
    for network in networks.networks.values():
        for name, answer in network.reported.items():
            code = [
                inspect.getsource(loaded_function(function, networks.folder))
                for function in (answer.function, answer.metric)
                if ":" in function
            ]
            rows.append([network.name, name, asdict(answer), code])
    return rows


def _digest(*arrays: NDArray[Any]) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.shape} {array.dtype}".encode() + np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _photo(networks: NetworkSet, path: Path) -> Photo:
    image = read_image(path)
    return Photo(image, networks.features(image, path.name), networks.whole(image))


def _measured(
    networks: NetworkSet, sender: Sender, sets: Mapping[str, Sequence[str]], photos: Sequence[Photo]
) -> dict[str, Any]:
    """All points of a system: bytes and each answer's agreement, photo by photo, and the time of its coding."""
    middle, every = sender.points[len(sender.points) // 2], list(networks.networks)
    points: dict[str, Any] = {
        wanted: {f"{point:g}": {"bytes": [], "answers": {}} for point in sender.points} for wanted in sets
    }
    saying = [networks.saying(photo.before) for photo in photos]
    for point in sender.points:
        for photo, says in zip(photos, saying, strict=True):
            groups = list(sets.items()) if sender.by_set else [("", every)]
            for group, members in groups:
                coded = sender.code(photo, members, point)
                agreements = networks.counted(photo.before, sender.answers(coded, members), says)
                for wanted in [group] if sender.by_set else sets:
                    row = points[wanted][f"{point:g}"]
                    row["bytes"].append(coded.size(sets[wanted]))
                    for key, value in agreements.items():
                        if key.partition("/")[0] in sets[wanted]:
                            row["answers"].setdefault(key, []).append(None if math.isnan(value) else value)
    times = {
        wanted: _median_ms(lambda photo, members=members: sender.code(photo, members, middle), photos)
        for wanted, members in sets.items()
    }
    return {"points": points, "coding_ms": times}


def _median_ms(function: Any, photos: Sequence[Photo]) -> float:
    """CPU time, which other programs on the machine do not lengthen as they do the clock's; that of programs that are
    called counts, too."""
    times = []
    function(photos[0])
    for photo in photos[:_TIMED]:
        begin = _cpu_seconds()
        function(photo)
        times.append(1000 * (_cpu_seconds() - begin))
    return float(np.median(times))


def _cpu_seconds() -> float:
    called = os.times()
    return time.process_time() + called.children_user + called.children_system


def _against(
    records: Mapping[str, Any], networks: NetworkSet, sets: Mapping[str, Sequence[str]]
) -> list[dict[str, Any]]:
    """The fitted codec's bytes against those of each rival at equal agreement, the same photos drawn for both."""
    rng = np.random.default_rng(0)
    if ONE_QUALITY not in records:
        return []
    first = next(iter(records[ONE_QUALITY]["points"][next(iter(sets))].values()))
    count = len(first["bytes"])
    draws = [np.arange(count), *rng.integers(0, count, (_RESAMPLES, count))]
    rows = []
    for wanted in sets:
        curves = {
            name: _curves(record["points"][wanted], draws)
            for name, record in records.items()
            if wanted in record["points"]
        }
        best = BALANCED if BALANCED in curves else ONE_QUALITY
        for title, systems in RIVALS.items():
            ours = ONE_QUALITY if title in OTHER_GRAPHS else best
            rivals = [
                name for system in systems for name in (system, system + APART) if name in curves and name != ours
            ]
            if not rivals:
                continue
            for target in TARGETS:
                ratios = [
                    _ratio(curves[ours][draw], [curves[name][draw] for name in rivals], target)
                    for draw in range(len(draws))
                ]
                percents = [percent for percent, _ in ratios[1:] if percent is not None]
                percent, bound = ratios[0]
                # Resamples may be bounds, too: around a bound they say nothing of what it is a bound of.
                certain = percent is not None and not bound and len(percents) > 0.95 * _RESAMPLES
                interval = (
                    [round(float(value), 1) for value in np.quantile(percents, (0.025, 0.975))] if certain else None
                )
                rows.append(
                    {
                        "set": wanted, "rival": title, "agreement": target,
                        "percent": None if percent is None else round(percent, 1), "bound": bound, "interval": interval,
                    }
                )  # fmt: skip
    return rows


def _ratio(own_curve: Curve, rival_curves: Sequence[Curve], target: float) -> tuple[float | None, str]:
    """Bytes of a curve in percent of the fewest of other curves at an agreement, None where that cannot be said; and
    what bound it is where smallest files do better."""
    ours, rivals = bytes_at(own_curve, target), [bytes_at(curve, target) for curve in rival_curves]
    reached = [rival for rival in rivals if rival["bytes"] is not None]
    if ours["bytes"] is None or not reached:
        return None, ""
    least = min(reached, key=lambda rival: float(rival["bytes"]))
    low, lower = least["state"] == "lowest", ours["state"] == "lowest"
    if low and lower:
        return None, ""
    return 100 * float(ours["bytes"]) / float(least["bytes"]), "at least" if low else "at most" if lower else ""


def _curves(points: Mapping[str, Any], draws: Sequence[NDArray[np.int64]]) -> list[Curve]:
    """(bytes, agreement) of each point, means over each draw of photos."""
    sizes = {point: np.array(row["bytes"]) for point, row in points.items()}
    answers = {
        point: {key: np.array(values, np.float64) for key, values in row["answers"].items()}
        for point, row in points.items()
    }
    return [
        [(float(sizes[point][draw].mean()), _agreement(answers[point], draw)) for point in points] for draw in draws
    ]


def _agreement(answers: Mapping[str, NDArray[np.float64]], draw: NDArray[np.int64]) -> float:
    """The mean over networks of the mean over their answers of the mean over photos that say something."""
    by_network = mean_agreements({key: values[draw] for key, values in answers.items()})
    return float(np.mean(list(by_network.values()))) if by_network else 0.0


def _mean_point(point: str, row: Mapping[str, Any]) -> dict[str, Any]:
    """Means over photos: bytes, each answer's agreement, and theirs."""
    answers = {key: np.array(values, np.float64) for key, values in row["answers"].items()}
    means = {key: None if np.isnan(values).all() else float(np.nanmean(values)) for key, values in answers.items()}
    agreement = _agreement(answers, np.arange(len(row["bytes"])))
    return {"point": float(point), "bytes": float(np.mean(row["bytes"])), "agreement": agreement, "answers": means}


def bytes_at(curve: Curve, target: float) -> dict[str, Any]:
    """The fewest bytes of a curve of (bytes, agreement) that reach an agreement.

    >>> bytes_at([(100, 0.5), (400, 0.9), (300, 0.4)], 0.7)
    {'bytes': 200.0, 'state': 'between'}
    >>> bytes_at([(100, 0.5)], 0.7), bytes_at([(100, 0.8)], 0.7)
    ({'bytes': None, 'state': 'none'}, {'bytes': 100.0, 'state': 'lowest'})
    """
    best: list[tuple[float, float]] = []
    for size, agreement in sorted(curve):
        if not best or agreement > best[-1][1]:
            best.append((size, agreement))
    for number, (size, agreement) in enumerate(best):
        if agreement < target:
            continue
        if number == 0:
            return {"bytes": float(size), "state": "lowest"}
        below, before = best[number - 1]
        share = (target - before) / (agreement - before)
        between = math.exp(math.log(below) + share * (math.log(size) - math.log(below)))
        return {"bytes": round(between, 1), "state": "between"}
    return {"bytes": None, "state": "none"}
