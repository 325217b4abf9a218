"""Bytes against the device's work as an SVG: points along a linear axis, bytes on a logarithmic one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

IMAGE, TENSORS, RESULT = "#D55E00", "#0072B2", "#009E73"
"""Colours by what is sent: the image, tensors, the answers; Okabe and Ito's, for white paper."""

_WIDTH, _LEFT, _RIGHT, _BOTTOM, _TOP = 640, 70, 30, 50, 40
_LETTER, _LINE, _BASELINE = 6.2, 14, 4
_RADIUS = 5


@dataclass(frozen=True, slots=True)
class CostPoint:
    """One way to send.

    Attributes:
        work: of the device, in the unit of the axis.
        bytes: of a file.
        colour: of the point.
        words: what it says when pointed at.
        label: written next to it; may be empty.
    """

    work: float
    bytes: float
    colour: str
    words: str
    label: str = ""


def cost_chart(points: Sequence[CostPoint], title: str, axis: str, marks: Sequence[float], unit: str) -> str:
    """A chart of its own, without anything from elsewhere.

    Args:
        points: one at least.
        title: above.
        axis: what the work is.
        marks: values that the axis names, ascending, the first and the last at its ends.
        unit: of these values.

    >>> point = CostPoint(5, 900, IMAGE, "JPEG: 900 bytes", "JPEG")
    >>> chart = cost_chart([point], "Bytes", "the device's time", (0, 10), "ms")
    >>> chart.count("<circle "), ">10 ms<" in chart
    (1, True)
    """
    logs = [math.log10(max(point.bytes, 1.0)) for point in points]
    low = math.floor(min(logs))
    high = max(math.ceil(max(logs)), low + 1)
    height = 240 + 80 * (high - low)
    inner = _WIDTH - _LEFT - _RIGHT

    def across(work: float) -> float:
        return _LEFT + (work - marks[0]) / (marks[-1] - marks[0]) * inner

    def down(log: float) -> float:
        return height - _BOTTOM - (log - low) / (high - low) * (height - _BOTTOM - _TOP)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{_WIDTH}" height="{height}" fill="white"/>',
        f'<text x="{_LEFT}" y="22" font-size="14">{escape(title)}</text>',
    ]
    for decade in range(low, high + 1):
        parts.append(f'<path d="M{_LEFT} {down(decade):.1f}H{_WIDTH - _RIGHT}" stroke="#ddd"/>')
        parts.append(f'<text x="{_LEFT - 8}" y="{down(decade) + 4:.1f}" text-anchor="end">{10**decade:,}</text>')
    for mark in marks:
        parts.append(
            f'<text x="{across(mark):.1f}" y="{height - _BOTTOM + 18}" text-anchor="middle">{mark:g} {unit}</text>'
        )
    parts.append(f'<text x="{_WIDTH / 2}" y="{height - 10}" text-anchor="middle">{escape(axis)}</text>')
    parts.append(
        f'<text x="16" y="{height / 2}" transform="rotate(-90 16 {height / 2})" text-anchor="middle">bytes</text>'
    )
    spans = [
        (across(point.work) - _RADIUS, across(point.work) + _RADIUS, down(log) + _BASELINE)
        for point, log in zip(points, logs, strict=True)
    ]
    for point, log in sorted(zip(points, logs, strict=True), key=lambda pair: -pair[1]):
        x, y = across(point.work), down(log)
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{_RADIUS}" fill="{point.colour}">')
        parts.append(f"<title>{escape(point.words)}</title></circle>")
        if point.label:
            parts.append(_label(point.label, x, y, spans))
    return "\n".join([*parts, "</svg>\n"])


def _label(label: str, x: float, y: float, spans: list[tuple[float, float, float]]) -> str:
    """Words beside a point, on the side that has room, below points and words that are there already.

    Args:
        label: the words.
        x: of the point.
        y: of the point.
        spans: from where to where, and the base line, of what is there; the label is added.
    """
    length = _LETTER * len(label)
    right = x + 8 + length <= _WIDTH
    begin = x + 8 if right else x - 8 - length
    line = y + _BASELINE
    while any(
        abs(line - baseline) < _LINE and begin < end and start < begin + length for start, end, baseline in spans
    ):
        line += 1
    spans.append((begin, begin + length, line))
    anchor = "start" if right else "end"
    return f'<text x="{x + (8 if right else -8):.1f}" y="{line:.1f}" text-anchor="{anchor}">{escape(label)}</text>'
