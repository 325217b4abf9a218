"""Other people's networks, shown: what they answer before a photo's tensors are sent as bytes, and after.

For each photo and quality the tensors are coded to one file, decoded from its bytes, and given to the networks' second
halves; the page puts answers side by side, with the bytes and with how far each agrees.

=====================  ==================================================================================
answer                 shown as
=====================  ==================================================================================
whole numbers (1,h,w)  one colour a number
one channel (1,1,h,w)  black to white, from 0 to 1 or, where the answer before is not within, between its ends
channels (1,C,h,w)     their first three principal components, those of the answer before, as red, green, blue
a vector (1,C)         the greatest five as softmax shares
anything else          in words; but an answer with a `drawing` of its own as that draws it
=====================  ==================================================================================
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atdc.adapters.answer import Array, RgbImage
from atdc.adapters.halves import of_image
from atdc.adapters.network_codec import NetworkCodec, summary
from atdc.adapters.network_set import NetworkSet
from atdc.codec import FeatureCodec
from atdc.errors import DataError, NetworkError
from atdc.files import make_folder, write_bytes_atomically
from atdc.images import read_image
from atdc.report.page import data_uri
from atdc.report.templates import rendered
from atdc.terminal import escape

QUALITIES = (1, 3, 5, 7)
_BEST = 5
_SIDE = 256
"""Answers that are smaller are enlarged to about this many pixels."""


@dataclass(frozen=True, slots=True)
class ShownAnswer:
    """One of the ways in which an answer is shown.

    Attributes:
        image: (H, W, 3) bytes, or None.
        shares: of the greatest numbers of a vector, by their places.
        words: of anything else.
    """

    image: NDArray[np.uint8] | None = None
    shares: Mapping[int, float] = field(default_factory=dict)
    words: str = ""


def run_networks_demo(
    networks: NetworkSet,
    codec: FeatureCodec,
    photos: Mapping[str, Path],
    out: Path,
    *,
    qualities: Sequence[float] = QUALITIES,
    whose: str = "codec",
    report: Callable[[str], None] = lambda _: None,
    refused: Sequence[str] = (),
) -> tuple[Path, list[str]]:
    """Writes ``out/index.html``.

    Args:
        networks: that are run.
        codec: of their tensors.
        photos: files of photos, by the names that they are shown with.
        out: a folder, made if need be.
        qualities: that photos are coded at.
        whose: what messages call the codec.
        report: called with a sentence before every photo.
        refused: photos that could not be read, a line each; the page names them, and those that a network cannot take.

    Returns:
        Where the page is, and the photos that a network cannot take, a line each.

    Raises:
        NetworkError: the codec is of other networks.
        DataError: no photo that the networks can take.
    """
    network_codec = NetworkCodec(networks, codec, whose)
    make_folder(out)
    shown_photos, refusals = list[dict[str, Any]](), list[str]()
    for name, path in photos.items():
        report(escape(f"{name}: networks, files, answers"))
        try:
            shown_photos.append(_photo(network_codec, name, path, qualities))
        except (DataError, NetworkError) as error:
            refusals.append(str(error))
    all_refused = [*refused, *refusals]
    if not shown_photos:
        reason = all_refused[0] if all_refused else "no photo"
        raise DataError("photos", f"none that can be shown ({reason})", "one at least")
    title = f"{', '.join(networks.networks)}: answers before and after"
    html = rendered(
        "atdc.report", "networks.html", title=title, whose=whose, fingerprint=codec.fingerprint.hex(),
        photos=shown_photos, refused=all_refused, data_uri=data_uri,
    )  # fmt: skip
    page = out / "index.html"
    write_bytes_atomically(page, html.encode(errors="replace"))  # names of files need not be text
    return page, refusals


def _photo(network_codec: NetworkCodec, name: str, path: Path, qualities: Sequence[float]) -> dict[str, Any]:
    """What the page shows of a photo, by the names that the template has for it."""
    image = read_image(path)
    features = network_codec.networks.features(image, name)
    with of_image(name):
        before = network_codec.networks.whole(image)
    files = [network_codec.feature_codec.encode(features, quality) for quality in qualities]
    with of_image(name):
        after = [network_codec.answers_of(network_codec.feature_codec.decode(data)) for data in files]
        agreements = [network_codec.networks.agreement(before, answers) for answers in after]
    return {
        "name": name,
        "image": image,
        "files": list(zip(qualities, map(len, files), strict=True)),
        "before": {key: _shown(network_codec, key, image, answer, answer) for key, answer in before.items()},
        "after": {
            key: [
                (_shown(network_codec, key, image, answer, answers[key]), agreement[key])
                for answers, agreement in zip(after, agreements, strict=True)
            ]
            for key, answer in before.items()
        },
    }


def _shown(network_codec: NetworkCodec, name: str, image: RgbImage, before: Array, answer: Array) -> ShownAnswer:
    picture = network_codec.networks.drawn(name, image, before, answer)
    return shown(before, answer) if picture is None else ShownAnswer(image=picture)


def shown(before: Array, answer: Array) -> ShownAnswer:
    """How an answer is shown, on the scale of the one before.

    >>> {place: round(share, 2) for place, share in shown(np.zeros((1, 3)), np.array([[0.0, 5.0, 0.0]])).shares.items()}
    {1: 0.99, 0: 0.01, 2: 0.01}
    """
    image = drawn(before, answer)
    if image is not None:
        return ShownAnswer(image=image)
    if answer.ndim == 2 and answer.shape[0] == 1 and answer.dtype.kind == "f" and answer.size > 1:
        shares = np.exp(answer[0].astype(np.float64) - answer.max())
        shares /= shares.sum()
        best = np.argsort(-shares, kind="stable")[:_BEST]
        return ShownAnswer(shares={int(place): float(shares[place]) for place in best})
    return ShownAnswer(words=summary(answer))


def drawn(before: Array, answer: Array) -> NDArray[np.uint8] | None:
    """An answer as an image (H, W, 3), on the scale of the one before; None where there is nothing to draw.

    >>> drawn(np.zeros((1, 1, 2, 2)), np.ones((1, 1, 2, 2))).shape, drawn(np.zeros((1, 9)), np.zeros((1, 9)))
    ((256, 256, 3), None)
    """
    if answer.shape != before.shape or answer.ndim < 3 or len(answer) != 1:
        return None
    if answer.dtype.kind in "iub" and answer.ndim == 3:
        hues = np.random.default_rng(0).integers(40, 256, (256, 3)).astype(np.uint8)
        return _enlarged(hues[answer[0].astype(np.int64) % 256])
    if answer.ndim != 4 or answer.dtype.kind != "f":
        return None
    base, values = (value[0].reshape(value.shape[1], -1).T.astype(np.float64) for value in (before, answer))
    if base.shape[1] > 3:
        mean = base.mean(0)
        _, _, axes = np.linalg.svd(base - mean, full_matrices=False)
        base, values = (base - mean) @ axes[:3].T, (values - mean) @ axes[:3].T
    low, high = np.quantile(base, 0.005, axis=0), np.quantile(base, 0.995, axis=0)
    if base.shape[1] == 1 and base.min() >= 0 and base.max() <= 1:
        low, high = np.zeros(1), np.ones(1)
    scaled = np.clip((values - low) / np.maximum(high - low, 1e-12), 0, 1)
    channels = np.zeros((len(values), 3))
    if scaled.shape[1] == 1:
        channels[:] = scaled
    else:
        channels[:, : scaled.shape[1]] = scaled
    return _enlarged((255 * channels).round().astype(np.uint8).reshape(*answer.shape[2:], 3))


def _enlarged(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    factor = max(1, _SIDE // max(image.shape[:2]))
    return image.repeat(factor, 0).repeat(factor, 1)
