"""The merged pattern of many graphs as an image: who is predicted from whom, in what share of the images."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from atdc.tasks import TASK_NAMES, short_title

_CELL, _LEFT, _TOP, _GAP, _FOOT = 46, 112, 92, 36, 22
_INK, _PAPER, _STEPS = "#1f2328", "#ffffff", ("#f1f4f8", "#0b4f9e")


def graph_matrices_svg(statistics: Mapping[str, Any], setting: str = "codebook") -> str:
    """One square for each quality, children in rows, parents in columns, roots in a column of their own.

    Args:
        statistics: a result of ``atdc bench statistics``.
        setting: whose graphs.

    Returns:
        An ``<svg>`` document with colours of its own, for pages that set none; numbers are percent of the images.
    """
    panels = {quality: values["graphs"][setting] for quality, values in statistics["qualities"].items()}
    side = _CELL * len(TASK_NAMES)
    step = _LEFT + side + _CELL + 10 + _GAP
    width, height = step * len(panels) - _GAP + 8, _TOP + side + _FOOT
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        'role="img" aria-label="share of images in which a task is predicted from another" '
        'font-family="system-ui, sans-serif" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="{_PAPER}"/>',
    ]
    for place, (quality, row) in enumerate(panels.items()):
        parts += _panel(quality, row, place * step)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _panel(quality: str, row: Mapping[str, Any], x: int) -> list[str]:
    left = x + _LEFT
    root_x = left + len(TASK_NAMES) * _CELL + 10
    parts = [_text(x + 4, 18, f"quality {quality}", weight=600), _text(x + 4, 36, "child ↓  parent →")]
    for place, name in enumerate([*TASK_NAMES, "root"]):
        words = short_title(name)
        middle = (left + place * _CELL if name != "root" else root_x) + _CELL / 2
        parts.append(f'<g transform="translate({middle + 4:g} {_TOP - 8}) rotate(-50)">{_text(0, 0, words)}</g>')
    for down, child in enumerate(TASK_NAMES):
        y = _TOP + down * _CELL
        parts.append(_text(left - 8, y + _CELL / 2 + 4, short_title(child), anchor="end"))
        for across, parent in enumerate(TASK_NAMES):
            share = row["edge_share"][child].get(parent, 0.0)
            parts += _cell(left + across * _CELL, y, None if parent == child else share)
        parts += _cell(root_x, y, row["root_share"][child])
    return parts


def _cell(x: float, y: float, share: float | None) -> list[str]:
    box = f'x="{x:g}" y="{y:g}" width="{_CELL - 2}" height="{_CELL - 2}"'
    if share is None:
        return [f'<rect {box} fill="none" stroke="#d0d7de" stroke-dasharray="2 3"/>']
    parts = [f'<rect {box} fill="{_mixed(share)}"/>']
    if share >= 0.005:
        ink = _PAPER if share > 0.5 else _INK
        parts.append(_text(x + _CELL / 2 - 1, y + _CELL / 2 + 4, f"{100 * share:.0f}", anchor="middle", fill=ink))
    return parts


def _mixed(share: float) -> str:
    low, high = ([int(colour[i : i + 2], 16) for i in (1, 3, 5)] for colour in _STEPS)
    return "#" + "".join(f"{round(a + (b - a) * share):02x}" for a, b in zip(low, high, strict=True))


def _text(x: float, y: float, words: str, *, anchor: str = "start", fill: str = _INK, weight: int = 400) -> str:
    style = f'text-anchor="{anchor}" fill="{fill}" font-weight="{weight}"'
    return f'<text x="{x:g}" y="{y:g}" {style}>{escape(words)}</text>'
