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
anything else          in words
=====================  ==================================================================================
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from atdc.adapters.halves import Array
from atdc.adapters.network_codec import NetworkCodec, summary
from atdc.adapters.network_set import NetworkSet
from atdc.codec import FeatureCodec
from atdc.files import write_bytes_atomically
from atdc.images import read_image
from atdc.report.answer_files import make_folder
from atdc.report.page import data_uri

QUALITIES = (1, 3, 5, 7)
_BEST = 5
_SIDE = 256
"""Answers that are smaller are enlarged to about this many pixels."""
_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; font: 15px/1.45 system-ui, sans-serif }}
body {{ margin: 2rem auto; max-width: 90rem; padding: 0 1rem }}
table {{ border-collapse: collapse; display: block; overflow-x: auto; margin-bottom: 2.5rem }}
th, td {{ padding: .3rem .5rem; text-align: left; vertical-align: top; font-weight: normal }}
td img {{ display: block; width: 11rem; image-rendering: pixelated }}
small {{ opacity: .75 }}
</style>
<h1>{title}</h1>
<p>{made_by}</p>
{photos}
</html>
"""


def run_networks_demo(
    networks: NetworkSet,
    codec: FeatureCodec,
    photos: Sequence[Path],
    out: Path,
    *,
    qualities: Sequence[float] = QUALITIES,
    whose: str = "codec",
    report: Callable[[str], None] = lambda _: None,
) -> Path:
    """Writes ``out/index.html``, and returns where it is.

    Args:
        networks: that are run.
        codec: of their tensors.
        photos: files of photos.
        out: a folder, made if need be.
        qualities: that photos are coded at.
        whose: what messages call the codec.
        report: called with a sentence before every photo.

    Raises:
        NetworkError: the codec is of other networks.
        ImageError: a photo that cannot be read.
    """
    both = NetworkCodec(networks, codec, whose)
    make_folder(out)
    parts = []
    for path in photos:
        report(f"{path.name}: networks, files, answers")
        parts.append(_photo(both, path, qualities))
    title = f"{', '.join(networks.networks)}: answers before and after"
    made_by = (
        f"Weights {escape(whose)}, fingerprint {codec.fingerprint.hex()}. Bytes are those of one file with all "
        "tensors; agreement is 1 where nothing has changed."
    )
    page = out / "index.html"
    write_bytes_atomically(page, _PAGE.format(title=escape(title), made_by=made_by, photos="\n".join(parts)).encode())
    return page


def _photo(both: NetworkCodec, path: Path, qualities: Sequence[float]) -> str:
    image = read_image(path)
    before, features = both.networks.whole(image), both.networks.features(image, path.name)
    files = [both.feature_codec.encode(features, quality) for quality in qualities]
    after = [both.answers_of(both.feature_codec.decode(data)) for data in files]
    agreements = [both.networks.agreement(before, answers) for answers in after]
    heads = "".join(
        f"<th>quality {quality:g}<br><small>{len(data):,} bytes</small></th>"
        for quality, data in zip(qualities, files, strict=True)
    )
    rows = []
    for name, answer in before.items():
        cells = [f"<th>{escape(name)}</th><td>{shown(answer, answer)}</td>"]
        for answers, agreement in zip(after, agreements, strict=True):
            cells.append(f"<td>{shown(answer, answers[name])}<small>agrees {agreement[name]:.3f}</small></td>")
        rows.append(f"<tr>{''.join(cells)}</tr>")
    return (
        f'<h2>{escape(path.name)}</h2><table><tr><th><img src="{data_uri(image)}" alt="" width="160"></th>'
        f"<th>before</th>{heads}</tr>{''.join(rows)}</table>"
    )


def shown(before: Array, answer: Array) -> str:
    """An answer as HTML, on the scale of the one before.

    >>> shown(np.zeros((1, 3)), np.array([[0.0, 5.0, 0.0]]))
    '<ol><li>1: 99 %</li><li>0: 1 %</li><li>2: 1 %</li></ol>'
    """
    image = drawn(before, answer)
    if image is not None:
        return f'<img src="{data_uri(image)}" alt="">'
    if answer.ndim == 2 and answer.shape[0] == 1 and answer.dtype.kind == "f" and answer.size > 1:
        shares = np.exp(answer[0].astype(np.float64) - answer.max())
        shares /= shares.sum()
        best = np.argsort(-shares, kind="stable")[:_BEST]
        return "<ol>" + "".join(f"<li>{place}: {100 * shares[place]:.0f} %</li>" for place in best) + "</ol>"
    return escape(summary(answer))


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
    base, own = (value[0].reshape(value.shape[1], -1).T.astype(np.float64) for value in (before, answer))
    if base.shape[1] > 3:
        mean = base.mean(0)
        _, _, axes = np.linalg.svd(base - mean, full_matrices=False)
        base, own = (base - mean) @ axes[:3].T, (own - mean) @ axes[:3].T
    low, high = np.quantile(base, 0.005, axis=0), np.quantile(base, 0.995, axis=0)
    if base.shape[1] == 1 and base.min() >= 0 and base.max() <= 1:
        low, high = np.zeros(1), np.ones(1)
    scaled = np.clip((own - low) / np.maximum(high - low, 1e-12), 0, 1)
    channels = np.zeros((len(own), 3))
    channels[:] = scaled if scaled.shape[1] == 3 else scaled[:, :1]
    return _enlarged((255 * channels).round().astype(np.uint8).reshape(*answer.shape[2:], 3))


def _enlarged(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    factor = max(1, _SIDE // max(image.shape[:2]))
    return image.repeat(factor, 0).repeat(factor, 1)
