"""The main job, shown: images to files here, files to answers in another process, and a page about both.

The other process starts in an empty folder with copies of the files, so it can know nothing but the bytes and the
model's weights.
"""

from __future__ import annotations

import io
import itertools
import math
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata, resources
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.table import Table

from atdc.codec import DEFAULT_GRAPH
from atdc.config import DEFAULT_MODEL
from atdc.errors import AtdcError
from atdc.files import make_folder, write_bytes_atomically
from atdc.images import read_image
from atdc.pipeline import load
from atdc.report.answer_files import read_answers
from atdc.report.candidates import candidates_of
from atdc.report.carried import carried_ground_truth
from atdc.report.ground_truth import error_of, errors_in_words, image_ground_truth
from atdc.report.page import Answers, Shown, page
from atdc.report.same_size import decibels, same_size
from atdc.report.wanted_files import sets_for, wanted_files
from atdc.tasks import BY_NAME, short_title
from atdc.terminal import escape, plain_table

DEMO_PIXELS = 400_000
"""Larger images are shrunk for the page, so that it opens at once; `atdc encode` takes them as they are."""
DEMO_SIDE_PX = 4096
"""Longer ones are shrunk, too: WebP, in which the page holds its images, ends at 16,383."""


def silent(step: str) -> None:
    """Says nothing."""


@dataclass(frozen=True, slots=True)
class Demo:
    """What :func:`run_demo` made.

    Attributes:
        page: the HTML file.
        shown: what is on it.
        decode_seconds: time of the other process, Python and the model's loading included.
    """

    page: Path
    shown: tuple[Shown, ...]
    decode_seconds: float


def carried_images() -> list[Path]:
    """The images that the package carries (:mod:`atdc.report.carried`), rooms first; none was seen in training."""
    folder = Path(str(resources.files("atdc.report").joinpath("demo_images")))
    return sorted(folder.iterdir(), key=lambda path: (path.suffix != ".png", path.name))


def run_demo(
    images: Sequence[Path],
    out: Path,
    model: str = DEFAULT_MODEL,
    quality: float = 4.0,
    graph: str = DEFAULT_GRAPH,
    report: Callable[[str], None] = silent,
    refused: Sequence[str] = (),
) -> Demo:
    """Encode, decode elsewhere, and write ``out/index.html`` next to the files themselves.

    Args:
        images: images of any kind; none means :func:`carried_images`, on the page by their errors, least first.
        out: folder for the page, the ``.atdc`` files and, in ``decoded/``, the answers.
        model: a name or a path, as for :func:`atdc.load`.
        quality: 0 (fewest bytes) to 7 (best answers).
        graph: a search setting.
        report: called with a sentence before every step that takes time.
        refused: inputs that could not be read, a line each; the page names them.

    Raises:
        AtdcError: an image cannot be read, the weights are missing, the folder cannot be written, or the other
            process failed; its own words are quoted.
    """
    paths = list(images) or carried_images()
    make_folder(out)
    report("loading the model")
    codec = load(model)
    names = _distinct([path.stem for path in paths])
    photos: list[NDArray[np.uint8]] = []
    originals: list[tuple[int, int]] = []
    files: list[bytes] = []
    seconds: list[float] = []
    for path, name in zip(paths, names, strict=True):
        report(escape(f"encoding {path.name}"))
        rgb = read_image(path)
        originals.append((rgb.shape[1], rgb.shape[0]))
        photos.append(_shrink(rgb))
        if not files:
            codec.encode(photos[0], quality, graph)  # the first call also sets up the machine's kernels
        start = time.perf_counter()
        files.append(codec.encode(photos[-1], quality, graph))
        seconds.append(time.perf_counter() - start)
        write_bytes_atomically(out / f"{name}.atdc", files[-1])

    report("decoding, in another process")
    start = time.perf_counter()
    decoded_folder = out / "decoded"
    _decode_elsewhere([out / f"{name}.atdc" for name in names], decoded_folder, codec.feature_codec.path)
    decode_seconds = time.perf_counter() - start

    shown = []
    for path, name, rgb, original, data, second in zip(paths, names, photos, originals, files, seconds, strict=True):
        report(escape(f"comparing {name}"))
        inspection = codec.inspect(data)
        assert inspection.graph is not None, "the codec knows its own graphs"
        uncompressed, ground_truth = codec.answers(rgb), _ground_truth(path, rgb)
        decoded = read_answers(decoded_folder / name, uncompressed)
        shown.append(
            Shown(
                name=name,
                rgb=rgb,
                original_size=original,
                size_bytes=len(data),
                task_bytes=apportioned(
                    len(data) - inspection.framing_bytes,
                    {task: row["ideal_bits"] for task, row in inspection.tasks.items()},
                ),
                framing_bytes=inspection.framing_bytes,
                parents=inspection.graph,
                setting=graph,
                candidates=candidates_of(codec, rgb, quality, inspection.graph),
                ground_truth=ground_truth,
                errors=errors_in_words(decoded, uncompressed, ground_truth),
                quality=inspection.quality,
                decoded=decoded,
                uncompressed=uncompressed,
                same_size=[same_size(rgb, len(data), "WebP"), same_size(rgb, len(data), "JPEG")],
                jpeg75_bytes=_jpeg75_bytes(rgb),
                wanted=wanted_files(codec, rgb, quality, sets_for(rgb.shape[0] * rgb.shape[1])),
                encode_seconds=second,
            )
        )
    made_by = (
        f"Made by atdc {metadata.version('atdc')} with the model “{model}” and torch {metadata.version('torch')}. "
        f"Another process decoded all files in {decode_seconds:.1f} s, most of which is starting Python and loading "
        "the weights."
    )
    if not images:
        shown = by_error(shown)
        made_by += " Images are in the order of their answers' errors against the ground truth, least first."
    target = out / "index.html"
    write_bytes_atomically(target, page(shown, ", ".join(names), made_by, refused).encode(errors="replace"))
    return Demo(target, tuple(shown), decode_seconds)


def apportioned(total: int, parts: Mapping[str, float]) -> dict[str, int]:
    """Whole numbers in proportion to the parts that sum to `total`, by largest remainders (Hamilton's method).

    The tasks of a file share one range coder, so their bytes are parts of what it wrote, by ideal bits.

    >>> apportioned(10, {"a": 1.0, "b": 1.0, "c": 1.0})
    {'a': 4, 'b': 3, 'c': 3}
    """
    whole = sum(parts.values())
    exact = {name: total * part / whole if whole else total / len(parts) for name, part in parts.items()}
    counts = {name: math.floor(value) for name, value in exact.items()}
    remainder = total - sum(counts.values())
    for name in sorted(exact, key=lambda name: counts[name] - exact[name])[:remainder]:
        counts[name] += 1
    return counts


def by_error(shown: Sequence[Shown]) -> list[Shown]:
    """Images with all their ground truth, ordered by the errors of the answers from their files, least first.

    What is compared is the mean over tasks of the error relative to its mean over the images, so that all tasks count
    alike; of the image, the mean squared error.
    """
    errors = np.array([[_error(task, item) for task in item.decoded] for item in shown])
    relative = (errors / np.maximum(errors.mean(0), 1e-12)).mean(1)
    return [shown[index] for index in np.argsort(relative, kind="stable")]


def demo_tables(shown: Sequence[Shown]) -> list[Table]:
    """The page's numbers for a terminal: sizes and image quality, then what every task took and the graph."""
    sizes = plain_table("image", ["pixels", "bytes", "bpp", "image"])
    for rival in shown[0].same_size if shown else ():
        sizes.add_column(f"{rival.format}", justify="right", no_wrap=True)
    for item in shown:
        sizes.add_row(
            item.name,
            f"{item.rgb.shape[1]}×{item.rgb.shape[0]}",
            f"{item.size_bytes:,}",
            f"{item.rate_bpp:.3f}",
            decibels(item.image_psnr_db),
            *(f"{rival.size_bytes:,} B {decibels(rival.psnr_db)}" for rival in item.same_size),
        )
    tasks = list(shown[0].task_bytes) if shown else []
    letters = [BY_NAME[task].letter if task in BY_NAME else "" for task in tasks]
    costs = plain_table(
        "bytes of", [f"{letter}\n{short_title(task)}" for letter, task in zip(letters, tasks, strict=True)]
    )
    costs.add_column("graph")
    for item in shown:
        costs.add_row(item.name, *(f"{item.task_bytes[task]:,}" for task in tasks), item.graph_in_letters)
    return [sizes, costs]


def _decode_elsewhere(files: Sequence[Path], out: Path, weights: Path | None) -> None:
    assert weights is not None, "the codec was loaded"
    with tempfile.TemporaryDirectory(prefix="atdc-demo-") as empty:
        for file in files:
            shutil.copy(file, empty)
        command = [sys.executable, "-m", "atdc", "decode", "-o", str(out.resolve()), "--model", str(weights.resolve())]
        command += ["--quiet", "--force", "--", *(file.name for file in files)]
        done = subprocess.run(command, cwd=empty, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise AtdcError("the decoding process", f"exit status {done.returncode}", "0", done.stderr.strip()[-2000:])


def _ground_truth(path: Path, rgb: NDArray[np.uint8]) -> Answers:
    """What is known of an image: of any, that which it determines itself; of a carried one, its scene, too."""
    scene = carried_ground_truth(path.name) if path in carried_images() else {}
    return {**scene, **image_ground_truth(rgb)}


def _error(task: str, item: Shown) -> float:
    error = error_of(task, item.decoded[task], item.ground_truth[task])
    return float(10 ** (error / 10)) if BY_NAME[task].measure == "psnr" else error  # -PSNR in dB to mean squared error


def _shrink(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = rgb.shape[:2]
    scale = min(math.sqrt(DEMO_PIXELS / (height * width)), DEMO_SIDE_PX / max(height, width))
    if scale >= 1.0:
        return rgb
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.array(Image.fromarray(rgb).resize(size, Image.Resampling.LANCZOS), dtype=np.uint8)


def _distinct(names: Sequence[str]) -> list[str]:
    """Names made different by a number: two folders may each hold an ``a.jpg``, and one of them an ``a-2.jpg``."""
    result: list[str] = []
    for name in names:
        numbered = (f"{name}-{number}" for number in itertools.count(2))
        result.append(next(free for free in itertools.chain([name], numbered) if free not in result))
    return result


def _jpeg75_bytes(rgb: NDArray[np.uint8]) -> int:
    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, "JPEG", quality=75)
    return buffer.tell()
