"""The page of the demo: one self-contained HTML file, images and style inside, readable by day and by night.

A page is a function of :class:`Shown` values and of nothing else: no codec, no clock, no files but the template.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib import resources
from string import Template

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from atdc.report.answer_images import CLASS_COLOURS, classes_in, depth_range_of, depth_scale, image_of
from atdc.report.graph_svg import GraphNode, graph_svg, layers
from atdc.report.same_size import SameSize, decibels, psnr_db
from atdc.report.wanted_table import WantedFile, wanted_table
from atdc.tasks import BY_NAME, IMAGE_TASK, short_title, task_named
from atdc.tasks.task import Presentation, registry

Answers = Mapping[str, NDArray[np.generic]]
_LOSSLESS_PIXELS = 300_000


@dataclass(frozen=True, slots=True)
class Candidate:
    """One graph and what it costs on one image: see :mod:`atdc.report.candidates`.

    Attributes:
        parents: {child: [parents]}.
        listed: whether it is one of the candidate graphs, among which the default chooses.
        estimated_cost_bits: by the rate estimator and the graph's cost correction; None where the graph is no
            candidate.
        cost_bits: really coded.
        size_bytes: of its file.
        chosen: whether the image's file has this graph.
    """

    parents: Mapping[str, Sequence[str]]
    listed: bool
    estimated_cost_bits: float | None
    cost_bits: float
    size_bytes: int
    chosen: bool


@dataclass(frozen=True, slots=True)
class Shown:
    """One image of the demo, with everything that the page tells about it.

    Attributes:
        name: of the input, without folder and suffix.
        rgb: what was encoded, ``(H, W, 3)`` bytes.
        original_size: width and height of the input file; `rgb` is smaller if the demo shrank it.
        size_bytes: length of the ATDC file, all included.
        task_bytes: each task's part of the coded bytes.
        framing_bytes: header, graph and checks; with `task_bytes` they sum to `size_bytes`.
        parents: the graph, {child: [parents]}.
        setting: the search setting that chose it.
        candidates: graphs, the chosen one among them, and what they cost; by real cost, least first.
        quality: of every task.
        decoded: answers of the process that had only the file and the weights.
        uncompressed: answers from the features themselves.
        ground_truth: ground truth by task, in the form of answers, of the tasks that have one on this image.
        errors: of each of these, the error of `decoded` and of `uncompressed` against it, in words.
        same_size: what pixel codecs make of about as many bytes.
        jpeg75_bytes: the image as an ordinary JPEG, quality 75.
        wanted: files of sets of tasks at the same quality, of the default setting; that of all tasks among them.
        encode_seconds: time of `encode`, without loading the model.
    """

    name: str
    rgb: NDArray[np.uint8]
    original_size: tuple[int, int]
    size_bytes: int
    task_bytes: Mapping[str, int]
    framing_bytes: int
    parents: Mapping[str, Sequence[str]]
    setting: str
    candidates: Sequence[Candidate]
    quality: Mapping[str, float]
    decoded: Answers
    uncompressed: Answers
    ground_truth: Answers
    errors: Mapping[str, tuple[str, str]]
    same_size: Sequence[SameSize]
    jpeg75_bytes: int
    wanted: Sequence[WantedFile]
    encode_seconds: float

    @property
    def rate_bpp(self) -> float:
        """Bits per pixel: ``8 · bytes / (H · W)``."""
        height, width = self.rgb.shape[:2]
        return 8.0 * self.size_bytes / float(height * width)

    @property
    def graph_in_letters(self) -> str:
        """Edges as ``n→d``, those sent first in front; a dash when every task stands on its own."""
        return _in_letters(list(self.task_bytes), self.parents)

    def psnr_db(self, answers: Answers) -> float:
        """Of the answer that is an image against the input."""
        return psnr_db(self.rgb / 255.0, answers[IMAGE_TASK], peak=1.0)


def agreement(task: str, decoded: NDArray[np.generic], uncompressed: NDArray[np.generic]) -> str:
    """What compression changed in one task's answer, in that task's own measure, as words.

    >>> agreement("depth_zbuffer", np.array([[1.1]]), np.array([[1.0]]))
    '10.0 % away in depth'
    """
    return AGREEMENTS[task_named(task).presentation](decoded, uncompressed)


def _pixels_alike(decoded: NDArray[np.generic], uncompressed: NDArray[np.generic]) -> str:
    return f"{100 * float(np.mean(decoded == uncompressed)):.1f} % of pixels alike"


def _away_in_depth(decoded: NDArray[np.generic], uncompressed: NDArray[np.generic]) -> str:
    first, second = decoded.astype(np.float64), uncompressed.astype(np.float64)
    return f"{100 * float(np.mean(np.abs(first / second - 1.0))):.1f} % away in depth"


def _degrees_apart(decoded: NDArray[np.generic], uncompressed: NDArray[np.generic]) -> str:
    first, second = decoded.astype(np.float64), uncompressed.astype(np.float64)
    cosine = (first * second).sum(-1) / (np.linalg.norm(first, axis=-1) * np.linalg.norm(second, axis=-1) + 1e-9)
    return f"{float(np.degrees(np.arccos(cosine.clip(-1.0, 1.0))).mean()):.1f}° apart"


def _apart(decoded: NDArray[np.generic], uncompressed: NDArray[np.generic]) -> str:
    return f"{float(np.mean(np.abs(decoded.astype(np.float64) - uncompressed.astype(np.float64)))):.3f} apart, of 1"


AGREEMENTS: dict[Presentation, Callable[[NDArray[np.generic], NDArray[np.generic]], str]] = registry(
    Presentation,
    {
        "classes": _pixels_alike, "share": _apart, "unit_vectors": _degrees_apart, "metres": _away_in_depth,
        "image": _apart,
    },
)  # fmt: skip
"""By a row's ``presentation``: what two answers have in common, or what parts them."""


def page(shown: Sequence[Shown], title: str, made_by: str, refused: Sequence[str] = ()) -> str:
    """The whole page.

    Args:
        shown: the images, in order.
        title: for the browser's tab.
        made_by: one sentence for the foot: model, versions, times.
        refused: inputs that could not be read, a line each.
    """
    total = sum(item.size_bytes for item in shown)
    template = Template(resources.files("atdc.report").joinpath("demo.html").read_text(encoding="utf-8"))
    tasks = len(shown[0].task_bytes) if shown else 0
    images = "One image" if len(shown) == 1 else f"{len(shown)} images"
    return template.substitute(
        title=escape(title),
        headline=f"{images}, {tasks} answers each, {total:,} bytes",
        lead=(
            "ATDC sends what machines look at: not pixels but the features of several vision tasks. Along a graph, "
            "<strong>which task is predicted from which</strong>, it sends of each task only what its parents could "
            f"not predict. {_graphs_said(shown)} Everything below marked <strong>from the file</strong> was computed "
            "by another process that had the file and the model's weights, and nothing else."
        ),
        refused=_refused(refused),
        table=_table(shown),
        items="\n".join(_item(item, index) for index, item in enumerate(shown)),
        footer=escape(made_by),
    )


def _graphs_said(shown: Sequence[Shown]) -> str:
    """How many graphs the images take, as it happened."""
    graphs = len({item.graph_in_letters for item in shown})
    if len(shown) < 2:
        return ""
    if graphs == 1:
        return f"Here all {len(shown)} images have the same graph."
    return f"Here the {len(shown)} images have {graphs} different graphs."


def _refused(lines: Sequence[str]) -> str:
    if not lines:
        return ""
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return f'<div class="refused"><b>Not shown, because not readable:</b><ul>{items}</ul></div>'


def data_uri(image: NDArray[np.uint8]) -> str:
    """An image inside the page: WebP, lossless unless it is large."""
    buffer = io.BytesIO()
    lossless = image.shape[0] * image.shape[1] <= _LOSSLESS_PIXELS
    Image.fromarray(image).save(buffer, "WEBP", lossless=lossless, quality=90, method=2 if lossless else 4)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def thumbnail_uri(task: str, answer: NDArray[np.generic]) -> str:
    """An answer as a small image inside a page that shows many: half the size, a few kilobytes."""
    image = Image.fromarray(image_of(task, answer))
    filter_ = Image.Resampling.NEAREST if task_named(task).presentation == "classes" else Image.Resampling.BOX
    buffer = io.BytesIO()
    image.resize((image.width // 2, image.height // 2), filter_).save(buffer, "WEBP", quality=85)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def _table(shown: Sequence[Shown]) -> str:
    rivals = [rival.format for rival in shown[0].same_size] if shown else []
    head = "".join(f"<th>{name} nearest<br>in size, PSNR</th>" for name in rivals)
    rows = []
    for index, item in enumerate(shown):
        cells = "".join(f"<td>{rival.size_bytes:,} B, {decibels(rival.psnr_db)}</td>" for rival in item.same_size)
        rows.append(
            f'<tr><td><a href="#picture-{index}">{escape(item.name)}</a></td>'
            f"<td>{item.rgb.shape[1]}×{item.rgb.shape[0]}</td><td>{item.size_bytes:,} B</td>"
            f"<td>{item.rate_bpp:.3f}</td><td>{item.jpeg75_bytes:,} B</td>"
            f"<td>{decibels(item.psnr_db(item.decoded))}</td>{cells}<td><code>{item.graph_in_letters}</code></td></tr>"
        )
    return (
        "<table><thead><tr><th>image</th><th>size</th><th>file</th><th>bits per<br>pixel</th>"
        f"<th>JPEG at<br>quality 75</th><th>image answer,<br>PSNR</th>{head}<th>graph</th></tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table>"
    )


def _item(item: Shown, index: int) -> str:
    height, width = item.rgb.shape[:2]
    depth_ranges = {
        task: depth_range_of(item.ground_truth.get(task, item.uncompressed[task]).astype(np.float64))
        for task in _presented_as("metres", item.uncompressed)
    }
    drawn = [
        {task: image_of(task, answer, depth_ranges.get(task)) for task, answer in answers.items()}
        for answers in (item.ground_truth, item.decoded, item.uncompressed)
    ]
    nodes = [
        GraphNode(task, short_title(task), size, data_uri(_thumbnail(drawn[1][task])))
        for task, size in item.task_bytes.items()
    ]
    shrunk = ""
    if item.original_size != (width, height):
        shrunk = f", shrunk from {item.original_size[0]}×{item.original_size[1]}"
    return f"""<section class="item" id="picture-{index}">
<header><h2>{escape(item.name)}</h2><span class="pill">{item.size_bytes:,} bytes</span>
<p class="facts">{item.rate_bpp:.3f} bits per pixel · {width}×{height}{shrunk} · {_quality_in_words(item.quality)}
· encoded in {item.encode_seconds:.2f} s</p></header>
<div class="top">
<figure><img src="{data_uri(item.rgb)}" alt="the input"><figcaption><b>Input.</b> As a JPEG of quality 75 it takes
{item.jpeg75_bytes:,} bytes, {_times(item.jpeg75_bytes / item.size_bytes)} as much.</figcaption></figure>
<figure class="graphbox"><div class="scroll">{graph_svg(nodes, item.parents)}</div>
<figcaption><b>The graph:</b> {_graph_in_words(item)} The tasks take {sum(item.task_bytes.values()):,} bytes (each its
part by ideal bits), header, graph and check {item.framing_bytes}: together {item.size_bytes:,}.</figcaption></figure>
</div>
<h3>Answers <span>— ground truth, from the file, from uncompressed features; below an answer its error against the
ground truth</span></h3>
<div class="answers">{"".join(_answer(item, task, drawn) for task in item.decoded)}</div>
{_legend(item, depth_ranges)}
<h3>About the same bytes, as nothing but an image</h3>
{_rivals(item)}
<h3>Only what is wanted <span>— files of some of the tasks, each really encoded</span></h3>
{_wanted(item)}
<h3>Why this graph <span>— {len(item.candidates)} graphs, each really coded</span></h3>
{_candidates(item)}
</section>"""


def _answer(item: Shown, task: str, drawn: Sequence[Mapping[str, NDArray[np.uint8]]]) -> str:
    title = escape(short_title(task))
    if task in item.errors:
        from_file, uncompressed = (f"<br><b>{error}</b>" for error in item.errors[task])
    else:
        from_file = f"<br>{agreement(task, item.decoded[task], item.uncompressed[task])}, against uncompressed"
        uncompressed = ""
    cells = []
    for tag, error, images in zip(
        ("ground truth", "from the file", "uncompressed"), ("", from_file, uncompressed), drawn, strict=True
    ):
        if task not in images:
            height, width = item.rgb.shape[:2]
            empty = f'<div class="none" style="aspect-ratio:{width}/{height}">no ground truth for this image</div>'
            cells.append(f"<figure>{empty}</figure>")
            continue
        image = f'<img src="{data_uri(images[task])}" alt="{title}, {tag}">'
        cells.append(f"<figure>{image}<figcaption>{tag}{error}</figcaption></figure>")
    return (
        f'<section class="task"><h4>{title} ({_letter(task)}) <span>{item.task_bytes[task]:,} bytes</span></h4>'
        f'<div class="three">{"".join(cells)}</div></section>'
    )


def _rivals(item: Shown) -> str:
    height, width = item.rgb.shape[:2]
    figures = []
    for rival in item.same_size:
        how = f"quality {rival.quality}"
        if (rival.width, rival.height) != (width, height):
            how += f", shrunk to {rival.width}×{rival.height} first"
        if not rival.is_about(item.size_bytes):
            how += "; no file of it is nearer in size"
        figures.append(
            f'<figure><img src="{data_uri(rival.image)}" alt="{rival.format}"><figcaption><b>{rival.format}, '
            f"{rival.size_bytes:,} bytes:</b> {decibels(rival.psnr_db)} ({how}).</figcaption></figure>"
        )
    words = (
        f"ATDC's image answer has {decibels(item.psnr_db(item.decoded))}, and next to it there are "
        f"{len(item.task_bytes) - 1} more answers in the {item.size_bytes:,} bytes. As an image, "
        f"{_better_images(item)}."
    )
    return f'<div class="rivals">{"".join(figures)}<p class="facts">{words}</p></div>'


def _wanted(item: Shown) -> str:
    """What files of some tasks take, next to the images of this page."""
    images = {"a JPEG of quality 75": item.jpeg75_bytes}
    images |= {f"the {rival.format} above": rival.size_bytes for rival in item.same_size}
    setting = ""
    if item.setting != "codebook":
        setting = '<p class="facts">Graphs are those of the setting <code>codebook</code>.</p>'
    return setting + wanted_table(item.wanted, images)


def _better_images(item: Shown) -> str:
    """Which pixel codecs send the better image in about as many bytes."""
    own = item.psnr_db(item.decoded)
    better = [rival.format for rival in item.same_size if rival.psnr_db > own]
    if not better:
        return "that is the best of them"
    return f"{' and '.join(better)} {'is' if len(better) == 1 else 'are'} better"


def _candidates(item: Shown) -> str:
    chosen = next(candidate for candidate in item.candidates if candidate.chosen)
    rows = []
    for candidate in item.candidates:
        name = f"<code>{_in_letters(list(item.task_bytes), candidate.parents)}</code>"
        if not any(candidate.parents.values()):
            name = "every task on its own"
        estimate = candidate.estimated_cost_bits
        row, mark = ('<tr class="chosen">', " (chosen)") if candidate.chosen else ("<tr>", "")
        rows.append(
            f"{row}<td>{name}{mark}</td>"
            f"<td>{'–' if estimate is None else f'{estimate / 8:,.0f}'}</td><td>{candidate.cost_bits / 8:,.0f}</td>"
            f"<td>{candidate.size_bytes:,} B</td>"
            f"<td>{_percent(candidate.size_bytes, chosen.size_bytes)}</td></tr>"
        )
    return (
        f'<p class="facts">{_why(item)}</p><div class="scroll"><table class="detail"><thead><tr><th>graph</th>'
        "<th>estimated<br>cost</th><th>real<br>cost</th><th>file</th><th>bytes against<br>the chosen</th></tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _why(item: Shown) -> str:
    """Who chose the graph, by what, and whether really coding the candidates bears it out."""
    listed = sum(candidate.listed for candidate in item.candidates)
    chosen = next(candidate for candidate in item.candidates if candidate.chosen)
    least = item.candidates[0]
    cost = (
        "A cost is the coded bits and each task's squared feature error at its Lagrange multiplier, in bytes; the "
        "estimate "
        "is made without coding."
    )
    if item.setting == "codebook":
        who = f"The encoder takes, of the model's {listed} graphs, the one of least estimated cost."
    else:
        who = (
            f"The setting <code>{escape(item.setting)}</code> chose it; for comparison the {listed} graphs among which "
            "<code>codebook</code>, the default, chooses."
        )
    if least.chosen:
        outcome = "Really coded, none of these costs less."
    else:
        more = 100 * (chosen.cost_bits / least.cost_bits - 1)
        outcome = f"Really coded, the chosen one costs {more:.1f} % more than the cheapest of these."
    alone = [candidate for candidate in item.candidates if not any(candidate.parents.values())]
    saved = ""
    if alone and not alone[0].chosen:
        change = 100 * (1 - chosen.size_bytes / alone[0].size_bytes)
        words = f"{abs(change):.1f} % {'fewer' if change >= 0 else 'more'} bytes"
        saved = f" It takes {words} than independent coding of this image at the same quality."
    return f"{who} {outcome}{saved} {cost}"


def _percent(value: int, reference: int) -> str:
    """A signed change, one decimal.

    >>> _percent(75, 100), _percent(1, 1)
    ('−25.0 %', '±0.0 %')
    """
    change = 100 * (value / reference - 1)
    return "±0.0 %" if round(change, 1) == 0 else f"{change:+.1f} %".replace("-", "−")


def _legend(item: Shown, depth_ranges: Mapping[str, tuple[float, float]]) -> str:
    """What colours mean, for every presentation that has any."""
    maps = [
        answers[task]
        for answers in (item.ground_truth, item.decoded, item.uncompressed)
        for task in _presented_as("classes", answers)
    ]
    classes = dict.fromkeys(name for answer in maps for name in classes_in(answer.astype(np.int64)))
    entries = [f'<li><i style="background:rgb{CLASS_COLOURS[name]}"></i>{name}</li>' for name in classes]
    stops = ",".join("rgb({},{},{})".format(*colour) for colour in depth_scale(9).tolist())
    for task, (near, far) in depth_ranges.items():
        entries.append(
            f'<li><i class="bar" style="background:linear-gradient(90deg,{stops})"></i>'
            f"{short_title(task)} {near:.1f} to {far:.1f} m</li>"
        )
    for task in _presented_as("unit_vectors", item.decoded):
        entries.append(
            f'<li><img class="ball" src="{data_uri(_ball(task))}" alt="">{short_title(task)}, as on a ball</li>'
        )
    return f'<ul class="legend">{"".join(entries)}</ul>'


def _presented_as(presentation: Presentation, answers: Answers) -> list[str]:
    return [task for task in answers if task_named(task).presentation == presentation]


def _times(ratio: float) -> str:
    return f"{ratio:.0f} times" if ratio >= 10 else f"{ratio:.1f} times"


def _graph_in_words(item: Shown) -> str:
    roots = [short_title(task) for task in item.task_bytes if not item.parents.get(task)]
    edges = sum(len(parents) for parents in item.parents.values())
    if edges == 0:
        return "every task stands on its own."
    words = roots[0] if len(roots) == 1 else ", ".join(roots[:-1]) + " and " + roots[-1]
    return f"sent without help: {words}; along each arrow one task is predicted from another."


def _quality_in_words(quality: Mapping[str, float]) -> str:
    values = set(quality.values())
    if len(values) == 1:
        return f"quality {values.pop():g}"
    return "quality " + ", ".join(f"{short_title(task)} {value:g}" for task, value in quality.items())


def _in_letters(tasks: Sequence[str], parents: Mapping[str, Sequence[str]]) -> str:
    """Edges as ``n→d``, those sent first in front; a dash where there are none."""
    layer_of = layers(tasks, parents)
    children = sorted(tasks, key=lambda child: layer_of[child])
    edges = [f"{_letter(parent)}→{_letter(child)}" for child in children for parent in parents.get(child, ())]
    return " ".join(edges) or "–"


def _letter(task: str) -> str:
    return BY_NAME[task].letter if task in BY_NAME else task


def _thumbnail(pixels: NDArray[np.uint8], side: int = 92) -> NDArray[np.uint8]:
    height, width = pixels.shape[:2]
    edge = min(height, width)
    top, left = (height - edge) // 2, (width - edge) // 2
    image = Image.fromarray(np.ascontiguousarray(pixels[top : top + edge, left : left + edge]))
    return np.array(image.resize((side, side), Image.Resampling.LANCZOS), dtype=np.uint8)


def _ball(task: str, side: int = 48) -> NDArray[np.uint8]:
    """The front of a ball in camera axes, x right, y up, z towards the camera, as an image of the task's."""
    y, x = np.mgrid[1 : -1 : side * 1j, -1 : 1 : side * 1j]
    z = np.sqrt(np.maximum(0.0, 1.0 - x**2 - y**2))
    return image_of(task, np.stack([x, y, z], -1))
