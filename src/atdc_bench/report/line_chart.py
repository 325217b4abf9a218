"""Curves over a logarithmic rate as an inline SVG: a function of its arguments, without any plotting library.

What tells curves apart does not hang on colour alone: a :class:`Style` has a colour that colour-blind readers can tell
from the others (Okabe and Ito's palette without yellow, which is lost on white), a dash and a shape of its points.
Every curve names itself when pointed at.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from typing import Literal

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#000000", "#CC79A7", "#E69F00", "#56B4E9")
"""Okabe and Ito's, for white paper."""
_LIGHT = frozenset({"#CC79A7", "#E69F00", "#56B4E9"})
"""Those on which black letters are read more easily than white ones."""

Shape = Literal["circle", "square", "diamond", "triangle", "hexagon", "cross"]

_LEFT, _RIGHT, _TOP, _BOTTOM = 54, 12, 10, 46
_FLOOR = -0.05
"""Lowest value shown where there are positive ones."""
_CHARACTER = 6.6
"""Width of a digit at the size of the axes' labels, pixels."""


@dataclass(frozen=True, slots=True)
class Style:
    """How a curve looks.

    Attributes:
        colour: of the line and of its points.
        dash: SVG's ``stroke-dasharray``; empty for a solid line.
        shape: of the points.
        hollow: points are white inside.
        width: of the line, pixels.
    """

    colour: str
    dash: str = ""
    shape: Shape = "circle"
    hollow: bool = False
    width: float = 2.0


@dataclass(frozen=True, slots=True)
class Point:
    """One measurement.

    Attributes:
        rate: positive; where it lies on the logarithmic axis.
        value: where it lies on the other axis.
        note: what it says when pointed at.
        letter: written into the point, which grows to hold it; may be empty.
    """

    rate: float
    value: float
    note: str = ""
    letter: str = ""


@dataclass(frozen=True, slots=True)
class Curve:
    """Points of one system, joined in their order.

    Attributes:
        name: what the curve says when pointed at.
        style: how it looks.
        points: in the order in which they are joined.
    """

    name: str
    style: Style
    points: tuple[Point, ...]


def value_range(values: Sequence[float]) -> tuple[float, float]:
    """What the upright axis shows: every value, but nothing far below 0, where an answer is worse than none.

    >>> value_range([0.5, 0.9])
    (0.5, 0.9)
    >>> value_range([-30.0, 0.9])
    (-0.05, 0.9)
    """
    low, high = min(values, default=0.0), max(values, default=1.0)
    return (low if low >= 0 or high <= 0 else max(low, _FLOOR), high)


def log_ticks(low: float, high: float, most: int) -> list[float]:
    """Round numbers from low to high, dense as 1, 2, 5 or sparser, so that there are at most ``most``.

    Denser only where fewer than two would be left, on a short axis.

    >>> log_ticks(80, 3000, 9)
    [100.0, 200.0, 500.0, 1000.0, 2000.0]
    >>> log_ticks(80, 3000, 3)
    [100.0, 1000.0]
    >>> log_ticks(1100, 1700, 9)
    [1200.0, 1500.0]
    """
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))

    def inside(steps: Sequence[float], stride: int = 1) -> list[float]:
        powers = range(first, last + 1, stride)
        ticks = [round(step * 10.0**power, max(0, 1 - power)) for power in powers for step in steps]
        return [float(tick) for tick in ticks if low <= tick <= high]

    for steps, stride in (((1, 2, 5), 1), ((1, 3), 1), ((1,), 1), ((1,), 2), ((1,), 4)):
        if len(ticks := inside(steps, stride)) <= most:
            break
    finer = inside((1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8))
    return finer if len(ticks) < 2 and len(finer) <= most else ticks


def linear_ticks(low: float, high: float, most: int) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten from low to high, at most ``most``.

    >>> linear_ticks(0.61, 1.0, 6)
    [0.7, 0.8, 0.9, 1.0]
    """
    power = math.floor(math.log10(max(high - low, 1e-9))) - 1
    steps = [factor * 10.0**exponent for exponent in range(power, power + 4) for factor in (1, 2, 5)]
    for step in steps:
        ticks = [number * step for number in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]
        if len(ticks) <= most:
            break
    return [round(tick, max(0, 1 - power)) + 0.0 for tick in ticks]


def line_chart(
    curves: Sequence[Curve], *, width: int, height: int, rate_label: str, value_label: str, guide: tuple[float, str]
) -> str:
    """The image as an ``<svg>`` element.

    Args:
        curves: drawn in this order, the last on top.
        width: of the image, pixels; it shrinks with the page.
        height: likewise.
        rate_label: what the level axis is called.
        value_label: what the upright axis is called.
        guide: a value to mark with a dotted line, and what it is.

    >>> curve = Curve("jpeg", Style("#000000"), (Point(100, 0.5), Point(1000, 0.9)))
    >>> svg = line_chart([curve], width=300, height=200, rate_label="bytes", value_label="U", guide=(1.0, "whole"))
    >>> svg.count('<g class="curve"'), svg.count('class="point"')
    (1, 2)
    """
    points = [point for curve in curves for point in curve.points]
    rates = [point.rate for point in points] or [100.0, 1000.0]
    low, high = value_range([point.value for point in points] + [guide[0]])
    margin = 0.06 * (high - low or 1.0)
    bottom, top = (low if low == _FLOOR else low - margin), high + margin
    growth = max(math.log(max(rates) / min(rates)), math.log(1.5))
    left = math.log(min(rates)) - 0.05 * growth
    right = math.log(min(rates)) + 1.05 * growth
    inner_width, inner_height = width - _LEFT - _RIGHT, height - _TOP - _BOTTOM

    def x(rate: float) -> float:
        return inner_width * (math.log(rate) - left) / (right - left)

    def y(value: float) -> float:
        return inner_height * (top - value) / (top - bottom)

    def labels(most: int) -> list[tuple[float, float, str]]:
        """Of the level axis: where each tick is, where the middle of its words is, and the words."""
        ticks = [(_LEFT + x(tick), _rate(tick)) for tick in log_ticks(math.exp(left), math.exp(right), most)]
        # The words of the last one stay inside the image.
        return [(place, min(place, width - _CHARACTER * len(words) / 2 - 1), words) for place, words in ticks]

    level = next((candidate for most in range(inner_width // 30, 0, -1) if _are_apart(candidate := labels(most))), [])
    upright = linear_ticks(bottom, top, max(2, inner_height // 34))
    parts = [
        f'<svg class="chart" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" '
        f'aria-label="{escape(value_label)} over {escape(rate_label)}">'
    ]
    for tick in upright:
        place = _TOP + y(tick)
        parts.append(f'<path class="grid" d="M{_LEFT} {place:.1f}H{width - _RIGHT}"/>')
        parts.append(f'<text class="tick" x="{_LEFT - 7}" y="{place + 4:.1f}" text-anchor="end">{tick:g}</text>')
    for place, middle, words in level:
        parts.append(f'<path class="grid" d="M{place:.1f} {_TOP}V{height - _BOTTOM}"/>')
        parts.append(
            f'<text class="tick" x="{middle:.1f}" y="{height - _BOTTOM + 16}" text-anchor="middle">{words}</text>'
        )
    parts.append(f'<path class="axis" d="M{_LEFT} {_TOP}V{height - _BOTTOM}H{width - _RIGHT}"/>')
    # Above the line on the left, where curves are still far below it.
    parts.append(f'<path class="guide" d="M{_LEFT} {_TOP + y(guide[0]):.1f}H{width - _RIGHT}"/>')
    parts.append(f'<text class="note" x="{_LEFT + 6}" y="{_TOP + y(guide[0]) - 4:.1f}">{escape(guide[1])}</text>')
    parts.append(
        f'<text class="label" x="{_LEFT + inner_width / 2:.0f}" y="{height - 8}" text-anchor="middle">'
        f"{escape(rate_label)}</text>"
    )
    parts.append(
        f'<text class="label" transform="translate(14 {_TOP + inner_height / 2:.0f}) rotate(-90)" '
        f'text-anchor="middle">{escape(value_label)}</text>'
    )
    parts.append(f'<svg x="{_LEFT}" y="{_TOP}" width="{inner_width}" height="{inner_height}">')  # clips what is below
    for curve in curves:
        if curve.points:
            places = [(x(point.rate), y(point.value)) for point in curve.points]
            parts.append(_drawn(curve, places, 3.8 if width > 600 else 3.0))
    return "\n".join([*parts, "</svg>", "</svg>"])


def sample(style: Style) -> str:
    """A short piece of a curve, for the legend."""
    return (
        f'<svg class="sample" viewBox="0 0 36 14" width="36" height="14" aria-hidden="true">{_line(style, "M1 7H35")}'
        f"{_point(style, 18, 7, 4.2)}</svg>"
    )


def _are_apart(labels: Sequence[tuple[float, float, str]]) -> bool:
    """Whether the words leave some space between them; one label alone does."""
    ends = [(middle - _CHARACTER * len(words) / 2, middle + _CHARACTER * len(words) / 2) for _, middle, words in labels]
    return all(right[0] - left[1] > 8 for left, right in pairwise(ends))


def _rate(rate: float) -> str:
    return f"{rate:,.0f}" if rate >= 10 else f"{rate:.2g}"


def _drawn(curve: Curve, places: Sequence[tuple[float, float]], radius: float) -> str:
    path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
    parts = [f'<g class="curve"><title>{escape(curve.name)}</title>{_line(curve.style, path)}']
    for point, (x, y) in zip(curve.points, places, strict=True):
        note = f"<title>{escape(point.note)}</title>" if point.note else ""
        if point.letter:
            ink = "#000000" if curve.style.hollow or curve.style.colour in _LIGHT else "#ffffff"
            letter = (
                f'<text class="letter" x="{x:.1f}" y="{y + 3.6:.1f}" text-anchor="middle" style="fill:{ink}">'
                f"{escape(point.letter)}</text>"
            )
            parts.append(f'<g class="point">{note}{_point(curve.style, x, y, 7.5)}{letter}</g>')
        else:
            parts.append(f'<g class="point">{note}{_point(curve.style, x, y, radius)}</g>')
    return "".join([*parts, "</g>"])


def _line(style: Style, path: str) -> str:
    dash = f' stroke-dasharray="{style.dash}"' if style.dash else ""
    return (
        f'<path d="{path}" fill="none" stroke="{style.colour}" stroke-width="{style.width:g}" '
        f'stroke-linejoin="round"{dash}/>'
    )


def _point(style: Style, x: float, y: float, radius: float) -> str:
    """A shape of about the same area as the circle of that radius."""
    inside = "#ffffff" if style.hollow else style.colour
    paint = f'fill="{inside}" stroke="{style.colour}" stroke-width="1.5"'
    if style.shape == "circle":
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:g}" {paint}/>'
    if style.shape == "cross":
        arm, half = 1.25 * radius, 0.45 * radius
        corners = [
            (-half, -arm), (half, -arm), (half, -half), (arm, -half), (arm, half), (half, half), (half, arm),
            (-half, arm), (-half, half), (-arm, half), (-arm, -half), (-half, -half),
        ]  # fmt: skip
    else:
        sides, turn, reach = {
            "square": (4, 45.0, 1.25), "diamond": (4, 0.0, 1.35), "triangle": (3, 0.0, 1.5), "hexagon": (6, 30.0, 1.15),
        }[style.shape]  # fmt: skip
        angles = [math.radians(turn + 360 * corner / sides) for corner in range(sides)]
        corners = [(reach * radius * math.sin(angle), -reach * radius * math.cos(angle)) for angle in angles]
    path = "L".join(f"{x + dx:.1f} {y + dy:.1f}" for dx, dy in corners)
    return f'<path d="M{path}Z" {paint}/>'
