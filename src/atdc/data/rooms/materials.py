"""Procedural albedo: what colour a surface has at a point, from a handful of numbers per material.

A material mixes colours ``a`` and ``b`` by a pattern ``f(u, v)`` in [0, 1], where ``(u, v)`` are metres along the
surface, rotated by ``angle`` and divided by ``period_m``. Every pattern is told the width of a pixel in its own units
and softens its edges by that width, so that far textures fade to their mean instead of flickering.
Randomness inside a pattern is a hash of integer cell coordinates: no state, the same on every device.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class MaterialTable:
    """The materials of one scene, one row each.

    Attributes:
        pattern: int64 ``(M,)``, index into :data:`PATTERNS`.
        colour: float32 ``(M, 3, 3)``, three linear RGB colours a, b, c.
        period_m: float32 ``(M,)``, length of one repeat in metres.
        angle: float32 ``(M,)``, rotation of the pattern in radians.
        duty: float32 ``(M,)`` in [0, 1], how the area divides between the colours.
        salt: int32 ``(M,)``, seed of the pattern's own randomness.
        gloss: float32 ``(M,)``, strength of the highlight.
        emission: float32 ``(M,)``, light given off, in units of albedo.
    """

    pattern: Tensor
    colour: Tensor
    period_m: Tensor
    angle: Tensor
    duty: Tensor
    salt: Tensor
    gloss: Tensor
    emission: Tensor


def hash01(x: Tensor, y: Tensor, salt: Tensor | int) -> Tensor:
    """Map integer cells to numbers in [0, 1) that look independent; int32 arithmetic wraps by design.

    >>> cells = torch.arange(4, dtype=torch.int32)
    >>> bool((hash01(cells, cells, 7) == hash01(cells, cells, 7)).all())
    True
    """
    h = x * 374761393 + y * 668265263 + salt * 144305901
    h = (h ^ (h >> 13)) * 1274126177
    h = (h ^ (h >> 15)) * 73244475
    h = h ^ (h >> 16)
    return (h & 0xFFFF).to(torch.float32) * (1.0 / 65536.0)


def _cell(x: Tensor) -> tuple[Tensor, Tensor]:
    floor = torch.floor(x)
    return floor.to(torch.int32), x - floor


def _noise(u: Tensor, v: Tensor, salt: Tensor) -> Tensor:
    """Value noise in [0, 1] with one lattice point per unit."""
    iu, fu = _cell(u)
    iv, fv = _cell(v)
    fu = fu * fu * (3.0 - 2.0 * fu)
    fv = fv * fv * (3.0 - 2.0 * fv)
    low = torch.lerp(hash01(iu, iv, salt), hash01(iu + 1, iv, salt), fu)
    high = torch.lerp(hash01(iu, iv + 1, salt), hash01(iu + 1, iv + 1, salt), fu)
    return torch.lerp(low, high, fv)


def _triangle(x: Tensor) -> Tensor:
    """Triangle wave of period 1 with values in [-1, 1]; slope 4."""
    return (x - torch.floor(x) - 0.5).abs() * 4.0 - 1.0


def _step(signed: Tensor, width: Tensor) -> Tensor:
    """1 where ``signed`` is positive, 0 where negative, a ramp of ``width`` between."""
    return (signed / width + 0.5).clamp(0.0, 1.0)


def _visible(width: Tensor, per_period: float = 1.0) -> Tensor:
    """1 while a detail of ``per_period`` repeats is resolved by the pixels, 0 where it is not."""
    return (1.5 - 2.0 * per_period * width).clamp(0.0, 1.0)


# What a pattern answers: how much of b is mixed into a; a factor of brightness; how much of c is mixed into b.
_Mix = tuple[Tensor, Tensor | None, Tensor | None]
# A pattern takes u, v and the pixel's width w, all in periods; then the duty p and the salt s.
_Pattern = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], _Mix]


def _plain(u: Tensor, v: Tensor, w: Tensor, p: Tensor, s: Tensor) -> _Mix:
    return torch.zeros_like(u), None, None


def _stripes(u: Tensor, v: Tensor, w: Tensor, p: Tensor, s: Tensor) -> _Mix:
    return torch.lerp(1.0 - p, _step(_triangle(u) - (2.0 * p - 1.0), 4.0 * w), _visible(w)), None, None


def _checks(u: Tensor, v: Tensor, w: Tensor, p: Tensor, s: Tensor) -> _Mix:
    x = (_triangle(u) / (2.0 * w)).clamp(-1.0, 1.0)
    y = (_triangle(v) / (2.0 * w)).clamp(-1.0, 1.0)
    return 0.5 + 0.5 * x * y * _visible(w), None, None


def _dots(u: Tensor, v: Tensor, w: Tensor, p: Tensor, s: Tensor) -> _Mix:
    iv, fv = _cell(v)
    iu, fu = _cell(u + 0.5 * (iv & 1))
    radius = 0.15 + 0.28 * p
    distance = ((fu - 0.5).square() + (fv - 0.5).square()).sqrt()
    f = torch.lerp(math.pi * radius.square(), _step(radius - distance, w), _visible(w))
    return f, None, hash01(iu, iv, s)


def _rings(u: Tensor, v: Tensor, w: Tensor, p: Tensor, s: Tensor) -> _Mix:
    fu, fv = _cell(u * 0.25)[1], _cell(v * 0.25)[1]
    distance = 4.0 * ((fu - 0.5).square() + (fv - 0.5).square()).sqrt()
    return torch.lerp(1.0 - p, _step(_triangle(distance) - (2.0 * p - 1.0), 4.0 * w), _visible(w)), None, None


def _masonry(u: Tensor, v: Tensor, w: Tensor, p: Tensor, s: Tensor, aspect: float, shift: float) -> _Mix:
    iv, fv = _cell(v * aspect)
    iu, fu = _cell(u + shift * (iv & 1))
    gap = torch.minimum(0.5 - (fu - 0.5).abs(), (0.5 - (fv - 0.5).abs()) / aspect)
    mortar = 0.01 + 0.03 * p
    visibility = _visible(w, aspect)
    f = torch.lerp(2.0 * mortar * (1.0 + aspect), _step(mortar - gap, w), visibility)
    shade = hash01(iu, iv, s)
    return f, 1.0 + (shade - 0.5) * (0.7 * p * visibility), None


def _bricks(u: Tensor, v: Tensor, w: Tensor, p: Tensor, s: Tensor) -> _Mix:
    return _masonry(u, v, w, p, s, 2.6, 0.5)


def _tiles(u: Tensor, v: Tensor, w: Tensor, p: Tensor, s: Tensor) -> _Mix:
    return _masonry(u, v, w, p, s, 1.0, 0.0)


def _wood(u: Tensor, v: Tensor, w: Tensor, p: Tensor, s: Tensor) -> _Mix:
    iv, fv = _cell(v)
    along = u * 0.3 + hash01(iv, iv, s) * 31.0
    bend = _noise(along, v * 1.7 + 13.0 * iv, s)
    rings = torch.sin((v * 2.0 + 3.0 * bend) * 6.2831853)
    streak = _noise(along * 2.0, v * 12.0, s + 1)
    f = 0.5 + (0.3 * rings * _visible(w, 3.0) + (streak - 0.5) * 0.5 * _visible(w, 12.0)) * 0.9
    gap = 1.0 - 0.5 * _step(0.03 - (0.5 - (fv - 0.5).abs()), w) * _visible(w)
    return f.clamp(0.0, 1.0), gap * (0.85 + 0.3 * hash01(iv, iv + 5, s)), None


def _marble(u: Tensor, v: Tensor, w: Tensor, p: Tensor, s: Tensor) -> _Mix:
    turbulence = _noise(u, v, s) + 0.5 * _noise(u * 2.1, v * 2.1, s + 1) + 0.25 * _noise(u * 4.3, v * 4.3, s + 2)
    vein = 1.0 - torch.sin((u + 2.2 * turbulence) * 3.1415927).abs()
    vein = vein * vein * (1.0 - 0.5 * p)
    return torch.lerp(torch.full_like(vein, 0.15), vein, _visible(w, 2.0)), 0.9 + 0.12 * turbulence, None


def _cloud(u: Tensor, v: Tensor, w: Tensor, p: Tensor, s: Tensor) -> _Mix:
    visibility = _visible(w, 3.7)
    f = 0.6 * _noise(u, v, s) + 0.4 * torch.lerp(torch.full_like(u, 0.5), _noise(u * 3.7, v * 3.7, s + 1), visibility)
    return ((f - 0.5) * (1.0 + 1.5 * p) + 0.5).clamp(0.0, 1.0), None, None


def _carpet(u: Tensor, v: Tensor, w: Tensor, p: Tensor, s: Tensor) -> _Mix:
    grain = _noise(u * 12.0, v * 12.0, s) - 0.5
    broad = _noise(u, v, s + 1) - 0.5
    return (0.5 + grain * _visible(w, 12.0) * (0.5 + p) + 0.4 * broad).clamp(0.0, 1.0), None, None


def _patches(u: Tensor, v: Tensor, w: Tensor, p: Tensor, s: Tensor) -> _Mix:
    amount = 0.2 + 1.6 * p
    wu = u + amount * (_noise(u * 0.8, v * 0.8, s) - 0.5)
    wv = v + amount * (_noise(u * 0.8, v * 0.8, s + 1) - 0.5)
    iu = torch.floor(wu).to(torch.int32)
    iv = torch.floor(wv).to(torch.int32)
    return hash01(iu, iv, s), 0.55 + 0.8 * hash01(iv, iu, s + 3), hash01(iu, iv, s + 5)


def _spines(u: Tensor, v: Tensor, w: Tensor, p: Tensor, s: Tensor) -> _Mix:
    warped = u + 0.14 * torch.sin(u * 2.3 + s) + 0.1 * torch.sin(u * 5.1)
    iu, fu = _cell(warped)
    gap = _step(0.05 - (0.5 - (fu - 0.5).abs()), w) * _visible(w)
    height = hash01(iu, iu + 3, s)
    band = _step(0.25 - (v * 0.35 - 1.5 * height).abs(), w) * _visible(w) * 0.35
    return hash01(iu, iu, s), (1.0 - 0.75 * gap + band) * (0.6 + 0.6 * height), hash01(iu, iu + 7, s)


def _plaid(u: Tensor, v: Tensor, w: Tensor, p: Tensor, s: Tensor) -> _Mix:
    threshold = 2.0 * p - 1.0
    visibility = _visible(w)
    x = torch.lerp(1.0 - p, _step(_triangle(u) - threshold, 4.0 * w), visibility)
    y = torch.lerp(1.0 - p, _step(_triangle(v) - threshold, 4.0 * w), visibility)
    fine = _step(_triangle(u * 2.0 + 0.25) - 0.85, 8.0 * w) * _visible(w, 2.0)
    return 0.5 * (x + y), None, 0.7 * fine


def _zigzag(u: Tensor, v: Tensor, w: Tensor, p: Tensor, s: Tensor) -> _Mix:
    return _stripes(v + 0.25 * _triangle(u), v, 1.5 * w, p, s)


def _sky(u: Tensor, v: Tensor, w: Tensor, p: Tensor, s: Tensor) -> _Mix:
    height = (0.5 + 0.5 * v).clamp(0.0, 1.0)
    skyline = 0.1 + 0.5 * p * _noise(u * 3.0, torch.zeros_like(u), s)
    land = _step(skyline - height, w + 0.02) * (p > 0.35)
    clouds = 0.3 * (_noise(u * 1.5, v * 3.0, s + 1) - 0.5)
    return (height + clouds).clamp(0.0, 1.0), None, land


PATTERNS: dict[str, _Pattern] = {
    "plain": _plain, "stripes": _stripes, "checks": _checks, "dots": _dots, "rings": _rings, "bricks": _bricks,
    "tiles": _tiles, "wood": _wood, "marble": _marble, "cloud": _cloud, "carpet": _carpet, "patches": _patches,
    "spines": _spines, "plaid": _plaid, "zigzag": _zigzag, "sky": _sky,
}  # fmt: skip
"""Every pattern by name; a material's ``pattern`` is the position in this order."""

_FUNCTIONS = tuple(PATTERNS.values())


def albedo(table: MaterialTable, material: Tensor, u_m: Tensor, v_m: Tensor, pixel_m: Tensor) -> Tensor:
    """Return the linear RGB albedo of every point.

    Args:
        table: the scene's materials.
        material: int64 ``(N,)``, row of ``table`` at each point.
        u_m: float32 ``(N,)``, surface coordinate in metres.
        v_m: float32 ``(N,)``, the other surface coordinate in metres.
        pixel_m: float32 ``(N,)``, width on the surface of one pixel, in metres.

    Returns:
        float32 ``(N, 3)``, about [0, 1].
    """
    out = table.colour[:, 0][material]
    pattern_at = table.pattern[material]
    for pattern in torch.unique(table.pattern).tolist():
        if pattern == 0:
            continue
        where = torch.nonzero(pattern_at == pattern).squeeze(1)
        if where.numel() == 0:
            continue
        m = material[where]
        scale = 1.0 / table.period_m[m]
        angle = table.angle[m]
        cos, sin = torch.cos(angle) * scale, torch.sin(angle) * scale
        u, v = u_m[where], v_m[where]
        width = (pixel_m[where] * scale).clamp_min(1e-4)
        f, shade, third = _FUNCTIONS[pattern](cos * u + sin * v, cos * v - sin * u, width, table.duty[m], table.salt[m])
        colours = table.colour[m]
        first, second = colours[:, 0], colours[:, 1]
        if third is not None:
            second = torch.lerp(second, colours[:, 2], third[:, None])
        mixed = torch.lerp(first, second, f[:, None])
        if shade is not None:
            mixed = mixed * shade[:, None]
        out[where] = mixed
    return out
