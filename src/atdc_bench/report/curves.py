"""Pictures of an evaluation: utility over rate, bytes saved at equal utility, and each task's metric over rate.

Drawn from the JSON that `atdc bench evaluate` writes, and from nothing else. Needs matplotlib (`pip install
atdc[report]`).
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from atdc.errors import AtdcError, DataError
from atdc.files import write_bytes_atomically
from atdc.tasks import TASKS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#000000", "#CC79A7", "#E69F00", "#56B4E9")
"""Okabe and Ito's palette: told apart by colour-blind readers, too."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_METRICS = {
    "segment_semantic": ("miou", "mIoU ↑"),
    "keypoints2d": ("l1", "L1 ↓"),
    "edge_texture": ("l1", "L1 ↓"),
    "normal": ("mean_degrees", "mean angle, degrees ↓"),
    "depth_zbuffer": ("abs_rel", "AbsRel ↓"),
    "rgb": ("psnr_db", "PSNR, dB ↑"),
}

Points = dict[str, list[dict[str, Any]]]


def draw_curves(result: Path, folder: Path) -> list[Path]:
    """Draws all pictures of one evaluation.

    Args:
        result: what `atdc bench evaluate` wrote.
        folder: where ``utility.png`` and ``tasks.png`` go.

    Returns:
        The pictures' paths.

    Raises:
        DataError: no evaluation there.
        AtdcError: matplotlib is not installed.
        OutputError: a picture cannot be written.
    """
    table = read_result(result)
    points = points_by_setting(table)
    return [
        _save(draw_utility(table, points), folder / "utility.png"),
        _save(draw_tasks(table, points), folder / "tasks.png"),
    ]


def read_result(path: Path) -> dict[str, Any]:
    """The evaluation in a file; raises :class:`DataError` when it holds something else."""
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(table, dict) or not {"points", "bd_rates", "anchors"} <= set(table):
            raise ValueError("no table of points")
    except (OSError, ValueError) as error:
        raise DataError(str(path), str(error), "a result of atdc bench evaluate", "run: atdc bench evaluate") from error
    return table


def points_by_setting(table: Mapping[str, Any]) -> Points:
    """Points of the settings that were measured on all images, by ascending rate.

    Settings measured on fewer images have no place in these pictures: other images are another curve.
    """
    most = max(point["images"] for point in table["points"])
    points: Points = {}
    for point in table["points"]:
        if point["images"] == most and point["effort"] == "normal":
            points.setdefault(point["setting"], []).append(point)
    return {setting: sorted(rows, key=lambda row: float(row["bpp"])) for setting, rows in points.items()}


def draw_utility(table: Mapping[str, Any], points: Points) -> Figure:
    """Left: mean utility over bits per pixel. Right: bytes at equal utility against independent coding."""
    figure, axes = _figure(1, 2, (10, 4))
    left, right = axes
    for place, (setting, rows) in enumerate(points.items()):
        _plot(left, place, setting, [row["bpp"] for row in rows], [row["utility"] for row in rows])
    left.axhline(1, color="#888888", linewidth=0.8, linestyle=":")
    left.annotate("uncompressed features", (0.02, 1), xycoords=("axes fraction", "data"), va="bottom", color="#666666")
    _rate_axis(left)
    left.set_ylabel("mean utility U of six tasks")
    left.legend(frameon=False, loc="lower right")
    _draw_savings(right, table)
    return figure


def _draw_savings(axes: Axes, table: Mapping[str, Any]) -> None:
    rows = [r for r in table["bd_rates"] if r["reference"] == "independent" and r["over"] == "U" and "percent" in r]
    rows.sort(key=lambda row: float(row["percent"]), reverse=True)
    most = max((row["images"] for row in rows), default=0)
    for place, row in enumerate(rows):
        colour = COLOURS[0] if row["images"] == most else "#888888"
        if row["low"] is not None:
            axes.plot([row["low"], row["high"]], [place, place], color=colour, linewidth=2, solid_capstyle="round")
        axes.plot([row["percent"]], [place], "o", color=colour, markersize=6)
        axes.annotate(
            f"{row['percent']:+.1f} %", (row["percent"], place), xytext=(0, 6), textcoords="offset points", ha="center",
            fontsize=8, color=colour,
        )  # fmt: skip
    axes.set_yticks(range(len(rows)), [f"{row['setting']} ({row['images']})" for row in rows])
    axes.set_ylim(-0.6, len(rows) - 0.2)
    axes.axvline(0, color="#888888", linewidth=0.8, linestyle=":")
    axes.set_xlabel(
        "bytes at equal U against independent coding, %\n(95 % interval over images; in brackets, how many)"
    )
    axes.grid(axis="x", color="#eeeeee")


def draw_tasks(table: Mapping[str, Any], points: Points) -> Figure:
    """Each task's customary metric over bits per pixel, with the level of uncompressed features."""
    figure, axes = _figure(2, 3, (11, 6.2))
    for task, panel in zip(TASKS, axes, strict=True):
        metric, label = _METRICS[task.name]
        for place, (setting, rows) in enumerate(points.items()):
            values = [row["tasks"][task.name][metric] for row in rows]
            _plot(panel, place, setting, [row["bpp"] for row in rows], values)
        panel.axhline(
            table["anchors"]["uncompressed"][task.name][metric], color="#888888", linewidth=0.9, linestyle=":",
            label="uncompressed",
        )  # fmt: skip
        panel.set_title(task.title, fontsize=10)
        panel.set_ylabel(label)
        _rate_axis(panel)
    axes[0].legend(frameon=False, fontsize=8)
    return figure


def _figure(rows: int, columns: int, size: tuple[float, float]) -> tuple[Figure, list[Axes]]:
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise AtdcError("matplotlib", "nothing", "the package", "install it: pip install 'atdc[report]'") from error
    figure = Figure(figsize=size, dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(rows, columns, squeeze=False)
    panels = list(grid.ravel())
    for panel in panels:
        panel.spines[["top", "right"]].set_visible(False)
        panel.tick_params(labelsize=8)
    return figure, panels


def _plot(axes: Axes, place: int, setting: str, rates: list[float], values: list[float]) -> None:
    axes.plot(
        rates, values, label=setting, color=COLOURS[place % len(COLOURS)], marker=MARKERS[place % len(MARKERS)],
        markersize=4, linewidth=1.3, zorder=3 if place == 0 else 2,
    )  # fmt: skip


def _rate_axis(axes: Axes) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("bits per pixel (real files)")
    axes.grid(color="#eeeeee")


def _save(figure: Figure, path: Path) -> Path:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes_atomically(path, buffer.getvalue())
    return path
