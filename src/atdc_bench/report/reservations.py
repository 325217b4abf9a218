"""Why a result may not be what its command gives today: what captions have to say."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

CODEC_CHANGED = "2026-11-26T13:47:15Z"
"""When what is measured last changed so that a number may move, be it in a last digit; older results are marked."""


def reservations(origin: Mapping[str, Any], fingerprints: Collection[str]) -> list[str]:
    """What a caption says of a result, a few words for each reason.

    Args:
        origin: what :func:`~atdc.provenance.provenance` recorded.
        fingerprints: of the weights that are shipped now.

    >>> origin = {"date": "2026-11-25T00:07:33Z", "commit": "6400cff4+changes", "seed": None, "weights": "e2429603"}
    >>> reservations(origin, ["cc435e59"])
    ['older code', 'uncommitted changes', 'no seed recorded', 'weights `e2429603`, not shipped any more']
    """
    weights = origin["weights"]
    reasons = {
        "older code": origin["date"] < CODEC_CHANGED,
        "no commit recorded": origin["commit"] is None,
        "uncommitted changes": origin["commit"] is not None and origin["commit"].endswith("+changes"),
        "no seed recorded": origin["seed"] is None,
        f"weights `{weights}`, not shipped any more": weights is not None and weights not in fingerprints,
    }
    return [words for words, holds in reasons.items() if holds]
