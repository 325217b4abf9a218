"""How much quality each network's tensors get: the same mean agreement of answers in fewer bytes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from atdc.adapters.network_codec import NetworkCodec
from atdc.balance import balanced
from atdc.config import MAX_QUALITY
from atdc.data.feature_source import FeatureSource, evenly_spaced
from atdc.errors import DataError, NetworkError
from atdc.provenance import provenance


def measured_balance(
    network_codec: NetworkCodec, samples: FeatureSource, count: int, *, quiet: bool = True
) -> dict[str, Any]:
    """Codes samples along the fixed graphs at every integer quality, and finds the balance of their networks.

    A network's utility is the mean agreement of its answers, after coding with before, none below 0; networks count
    alike (:mod:`atdc.balance`). All tensors of a network get one quality.

    Args:
        network_codec: the codec, and all networks whose features it codes.
        samples: that the codec was not trained on.
        count: of the samples that have all tensors, so many, evenly spaced; all, where there are fewer.
        quiet: no progress bar.

    Returns:
        What is kept next to the weights, as :meth:`~atdc.balance.Balance.read` reads it.

    Raises:
        DataError: no sample has all tensors.
        NetworkError: the codec codes further tensors, or an agreement is not finite.
    """
    networks, codec = network_codec.networks, network_codec.feature_codec
    if extra_names := [name for name in codec.task_names if name not in networks.places]:
        raise NetworkError(
            "networks", f"none with {', '.join(extra_names)}", "all networks whose features the codec codes"
        )
    whole = [place for place in range(len(samples)) if set(networks.names) <= set(samples.shapes(place))]
    if not whole:
        raise DataError("features", "no sample that has all tensors", f"some with {', '.join(networks.names)}")
    selection = [whole[place] for place in evenly_spaced(len(whole), min(count, len(whole)))]
    levels = range(MAX_QUALITY + 1)
    bits = np.zeros((len(levels), codec.task_count))
    agreements: list[dict[str, list[float]]] = [{} for _ in levels]
    for place in tqdm(selection, unit="photo", desc="balance", disable=quiet or None):
        features = samples.read(place)
        before = networks.answers_of(features)
        saying = networks.saying(before)
        parts = [torch.from_numpy(features[name])[None] for name in codec.task_names]
        for level in levels:
            result = codec.encode_batch(parts, level, "fixed")
            bits[level] += result.ideal_bits[0] / len(selection)
            decoded = {
                name: part[0].numpy() for name, part in zip(codec.task_names, result.reconstruction, strict=True)
            }
            for key, value in networks.counted(before, networks.answers_of(decoded), saying).items():
                if math.isinf(value):
                    raise NetworkError(key, f"an agreement of {value}", "a number, 1 where nothing has changed")
                agreements[level].setdefault(key, []).append(max(value, 0.0) if value == value else value)
    names = list(networks.networks)
    of_network = [[codec.task_names.index(tensor) for tensor in networks.tensors_of([name])] for name in names]
    sizes = np.stack([bits[:, tensors].sum(1) for tensors in of_network], 1)
    utilities = np.array([[mean_agreements(row).get(name, np.nan) for name in names] for row in agreements])
    saying = ~np.isnan(utilities).any(0)  # nothing can be compared of the others, which keep the quality of all
    qualities = np.arange(float(len(levels)))[:, None].repeat(len(names), 1)
    if saying.any():
        qualities[:, saying] = balanced(sizes[:, saying], utilities[:, saying]).qualities
    return {
        "what": "Qualities of each tensor that reach the mean agreement of one quality for all in the fewest bytes, "
        "from measured bytes and agreements of each network along the fixed graphs.",
        "provenance": provenance(weights=codec.fingerprint.hex()),
        "data": {"samples": len(selection)},
        "qualities": {
            str(level): {tensor: row[names.index(networks.places[tensor][0])] for tensor in codec.task_names}
            for level, row in enumerate(qualities.tolist())
        },
        "measured": {
            name: {
                "tensors": networks.tensors_of([name]),
                "bytes": (sizes[:, place] / 8).round(2).tolist(),
                "utility": utilities[:, place].round(5).tolist() if saying[place] else None,
            }
            for place, name in enumerate(names)
        },
    }


def mean_agreements(answers: dict[str, list[float]] | dict[str, NDArray[np.float64]]) -> dict[str, float]:
    """By network: the mean over its answers of the mean over the samples that say something.

    >>> mean_agreements({"a/x": [1.0, 0.5], "a/y": [float("nan"), 0.25], "b/z": [float("nan")]})
    {'a': 0.5}
    """
    by_network: dict[str, list[float]] = {}
    for key, values in answers.items():
        row = np.asarray(values, np.float64)
        numbers = row[~np.isnan(row)]
        if len(numbers):
            by_network.setdefault(key.partition("/")[0], []).append(float(numbers.mean()))
    return {name: float(np.mean(values)) for name, values in by_network.items()}
