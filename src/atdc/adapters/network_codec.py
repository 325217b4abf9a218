"""A codec of features together with the networks they are of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atdc.adapters.answer import Array
from atdc.adapters.network_set import DIGESTS, NetworkSet
from atdc.codec import FeatureCodec
from atdc.errors import NetworkError
from atdc.weights import shipped_cards


class NetworkCodec:
    """Networks whose first halves make what a codec codes, and whose second halves answer from what it decodes.

    Args:
        networks: some or all of those that the codec was fitted to.
        codec: of their features.
        whose: what messages call the codec.

    Raises:
        NetworkError: the codec is of features of other networks.
    """

    def __init__(self, networks: NetworkSet, codec: FeatureCodec, whose: str = "codec") -> None:
        try:
            networks.require_digests(codec.card.get(DIGESTS), whose)
        except NetworkError as error:  # only then are the shipped weights looked at
            raise NetworkError(error.where, error.found, error.expected, _name_others(networks)) from error
        if missing_names := [name for name in networks.names if name not in codec.task_names]:
            raise NetworkError(
                whose, f"no tensor {missing_names[0]}", "all tensors of the networks", "Fit one that has it."
            )
        self.networks, self.feature_codec = networks, codec

    def answers_of(self, features: Mapping[str, Any]) -> dict[str, Array]:
        """Answers by ``network/answer``, of the networks whose tensors are there."""
        return self.networks.answers_of({name: np.asarray(value) for name, value in features.items()})


def _name_others(networks: NetworkSet) -> str:
    """What to do with weights of other features."""
    names = [name for name, card in shipped_cards() if card.get(DIGESTS) == networks.digests]
    hint = f"that is {' or '.join(names)}, or" if names else "made by"
    return f"Name weights that are fitted to these networks by --model, {hint} atdc fit FEATURES --networks NETWORKS."


def summary(answer: NDArray[Any]) -> str:
    """An answer in a few words.

    >>> summary(np.array([[0, 0, 0, 7]])), summary(np.linspace(0, 1, 100).reshape(1, 10, 10))
    ('1×4 int64: 0 75 %, 7 25 %', '1×10×10 float64: 0 … 1, mean 0.5')
    """
    head = f"{'×'.join(map(str, answer.shape))} {answer.dtype.name}"
    if not answer.size:
        return head
    if answer.dtype.kind in "iub":
        values, counts = np.unique(answer, return_counts=True)
        order = np.argsort(-counts, kind="stable")[:5]
        return f"{head}: " + ", ".join(
            f"{values[place]} {counts[place] / answer.size:.0%}".replace("%", " %") for place in order
        )
    if answer.size <= 8:
        return f"{head}: " + ", ".join(f"{value:.4g}" for value in answer.ravel())
    return f"{head}: {answer.min():.4g} … {answer.max():.4g}, mean {answer.mean():.4g}"
