"""Compounds of primitives: what stands, hangs and lies in a room.

Every function builds one thing in a :class:`~atdc.data.rooms.scene.Frame` whose origin is on the floor (or on the wall,
or on a table top) and whose +z points to the front. Materials come from a callable, so that a style decides them.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from atdc.data.rooms.scene import BOX, CYLINDER, SPHERE, Builder, Frame, Light, Random, Vec

Paint = Callable[[str], int]
"""From a use to the row of a material for it.

The uses are ``object``, ``timber``, ``cloth``, ``wall``, ``floor``, ``screen``, ``sky``, ``spines``, ``glow`` and
``picture``.
"""


def table(b: Builder, r: Random, f: Frame, paint: Paint, size: Vec) -> None:
    """A table: round or square top; four legs, two panels or one foot. ``size`` = full width, height, depth."""
    w, h, d = size[0] / 2, size[1], size[2] / 2
    top, leg = paint("timber"), paint("timber")
    thick = r.uniform(0.012, 0.04)
    round_top = r.chance(0.3)
    if round_top:
        b.add(CYLINDER, f, (0, h - thick, 0), (w, thick, d), "table", top)
    else:
        b.box(f, (0, h - thick, 0), (w, thick, d), "table", top)
    kind = r.integer(0, 2)
    low = h / 2 - thick
    if kind == 0 or (round_top and r.chance(0.5)):
        b.cylinder(f, (0, low, 0), r.uniform(0.03, 0.12), low, "table", leg)
        b.cylinder(f, (0, 0.02, 0), 0.55 * min(w, d), 0.02, "table", leg)
    elif kind == 1 and not round_top:
        for sx in (-1, 1):
            b.box(f, (sx * (w - 0.03), low, 0), (0.02, low, d * 0.9), "table", leg)
        if r.chance(0.5):
            b.box(f, (0, h * 0.6, -d * 0.7), (w - 0.03, h * 0.3, 0.012), "table", leg)
    else:
        thin, inset = r.uniform(0.015, 0.045), 0.68 if round_top else 0.92
        for sx in (-1, 1):
            for sz in (-1, 1):
                where = (sx * (w * inset - thin), low, sz * (d * inset - thin))
                b.add(r.integer(BOX, CYLINDER), f, where, (thin, low, thin), "table", leg)


def chair(b: Builder, r: Random, f: Frame, paint: Paint) -> None:
    """A chair or a stool."""
    w, d, seat = r.uniform(0.19, 0.27), r.uniform(0.19, 0.27), r.uniform(0.4, 0.5)
    a, c = paint("timber"), paint("timber")
    shape = r.integer(BOX, CYLINDER)
    thick = r.uniform(0.015, 0.05)
    b.add(shape, f, (0, seat, 0), (w, thick, d), "chair", a)
    if r.chance(0.3):
        b.cylinder(f, (0, seat / 2, 0), 0.03, seat / 2, "chair", c)
        b.cylinder(f, (0, 0.03, 0), w * 0.9, 0.02, "chair", c)
    else:
        thin = r.uniform(0.012, 0.03)
        spread = 0.65 if shape == CYLINDER else 0.95
        for sx in (-1, 1):
            for sz in (-1, 1):
                b.add(
                    BOX,
                    f,
                    (sx * (w * spread - thin), seat / 2, sz * (d * spread - thin)),
                    (thin, seat / 2, thin),
                    "chair",
                    c,
                )
    if r.chance(0.85):
        tall = r.uniform(0.18, 0.33)
        lean = r.uniform(-0.2, 0.0)
        if r.chance(0.6):
            b.box(f, (0, seat + tall + 0.06, -d), (w, tall, 0.018), "chair", a, (lean, 0.0))
        else:
            for i in range(3):
                b.box(f, (0, seat + 0.1 + tall * 0.8 * i, -d), (w, 0.035, 0.015), "chair", a)
            for sx in (-1, 1):
                b.box(f, (sx * w, seat + tall, -d), (0.018, tall, 0.018), "chair", c)
    if r.chance(0.25):
        for sx in (-1, 1):
            b.box(f, (sx * (w + 0.03), seat + 0.2, 0), (0.025, 0.02, d), "chair", c)


def sofa(b: Builder, r: Random, f: Frame, paint: Paint, size: Vec) -> None:
    """A sofa or an armchair; back at -z. ``size`` = full width, height, depth."""
    w, h, d = size[0] / 2, size[1], size[2] / 2
    a, c = paint("cloth"), paint("cloth")
    seat, arm = r.uniform(0.36, 0.46), r.uniform(0.08, 0.16)
    foot = r.uniform(0.03, 0.14)
    b.box(f, (0, (seat - 0.1 + foot) / 2, 0), (w, (seat - 0.1 - foot) / 2, d), "sofa", a)
    for sx in (-1, 1):
        for sz in (-1, 1):
            b.box(f, (sx * (w - 0.05), foot / 2, sz * (d - 0.05)), (0.025, foot / 2, 0.025), "sofa", c)
    b.box(f, (0, h / 2 + 0.1, -d + 0.1), (w, h / 2 - 0.1, 0.1), "sofa", a, (r.uniform(-0.12, 0.0), 0.0))
    cushions = max(1, round(2 * w / 0.75))
    inner = (w - arm) / cushions
    for i in range(cushions):
        x = -w + arm + inner * (2 * i + 1)
        b.box(f, (x, seat - 0.03, 0.07), (inner - 0.008, 0.08, d - 0.06), "sofa", a if r.chance(0.8) else c)
        if r.chance(0.45):
            pillow = paint("cloth")
            s = r.uniform(0.15, 0.22)
            b.box(
                f,
                (x + r.uniform(-0.1, 0.1), seat + s + 0.05, -d + 0.33),
                (s, s, 0.06),
                "sofa",
                pillow,
                (-0.35, r.uniform(-0.3, 0.3)),
            )
    arm_height = seat + r.uniform(0.08, 0.25)
    for sx in (-1, 1):
        if r.chance(0.5):
            b.box(
                f,
                (sx * (w - arm / 2), arm_height / 2 + foot / 2, 0),
                (arm / 2, arm_height / 2 - foot / 2, d),
                "sofa",
                a,
            )
        else:
            b.box(f, (sx * (w - arm / 2), arm_height, 0), (arm / 2, 0.04, d), "sofa", c)
            b.box(f, (sx * (w - arm / 2), arm_height / 2, d - 0.05), (arm / 3, arm_height / 2, 0.04), "sofa", c)


def bed(b: Builder, r: Random, f: Frame, paint: Paint, size: Vec) -> None:
    """A bed with its head at -z. ``size`` = full width, mattress height, length."""
    w, h, d = size[0] / 2, size[1], size[2] / 2
    frame, linen, cover = paint("timber"), paint("cloth"), paint("cloth")
    b.box(f, (0, h * 0.35, 0), (w, h * 0.3, d), "bed", frame)
    b.box(f, (0, h * 0.8, 0.02), (w - 0.03, h * 0.2, d - 0.04), "bed", linen)
    b.box(f, (0, h + 0.01, d * 0.3), (w, 0.04, d * 0.68), "bed", cover)
    if r.chance(0.85):
        head = r.uniform(0.6, 1.2)
        b.box(f, (0, head / 2, -d - 0.03), (w + 0.02, head / 2, 0.03), "bed", frame)
    if r.chance(0.3):
        b.box(f, (0, h * 0.7, d + 0.02), (w, h * 0.7, 0.025), "bed", frame)
    pillows = 2 if w > 0.6 else 1
    for i in range(pillows):
        x = 0.0 if pillows == 1 else (i - 0.5) * w
        b.box(
            f,
            (x, h + 0.07, -d + 0.28),
            (min(0.32, 0.42 * w * (3 - pillows)), 0.06, 0.18),
            "bed",
            linen if r.chance(0.6) else paint("cloth"),
            (0.2, 0.0),
        )


def cabinet(b: Builder, r: Random, f: Frame, paint: Paint, size: Vec) -> None:
    """A closed cabinet, drawers or a counter, back at -z."""
    w, h, d = size[0] / 2, size[1] / 2, size[2] / 2
    body, front = paint("timber"), paint("timber")
    if r.chance(0.6):
        front = body
    b.box(f, (0, h, 0), (w, h, d), "furniture", body)
    columns = max(1, round(2 * w / r.uniform(0.4, 0.8)))
    rows = 1 if r.chance(0.5) else max(1, round(2 * h / r.uniform(0.25, 0.5)))
    while columns * rows > 12:
        rows, columns = max(1, rows - 1), max(1, columns - 1)
    knob = paint("timber")
    cell_w, cell_h = w / columns, (h - 0.03) / rows
    for i in range(columns):
        for j in range(rows):
            x, y = -w + cell_w * (2 * i + 1), 0.04 + cell_h * (2 * j + 1)
            b.box(f, (x, y, d), (cell_w - 0.012, cell_h - 0.012, 0.012), "furniture", front)
            side = 0.0 if rows > 1 else (0.7 if i % 2 == 0 else -0.7) * cell_w
            if r.chance(0.5):
                b.sphere(f, (x + side, y, d + 0.025), 0.018, "furniture", knob)
            else:
                b.box(
                    f,
                    (x + side, y, d + 0.022),
                    (0.012, min(0.08, 0.6 * cell_h), 0.01) if rows == 1 else (min(0.08, 0.6 * cell_w), 0.01, 0.01),
                    "furniture",
                    knob,
                )
    if r.chance(0.4):
        b.box(f, (0, 2 * h + 0.012, 0.01), (w + 0.015, 0.014, d + 0.015), "furniture", paint("timber"))


def book_row(b: Builder, r: Random, f: Frame, paint: Paint, width: float, height: float, depth: float) -> None:
    """Books standing side by side from -width/2; single volumes or one printed block."""
    x, end = -width / 2, -width / 2 + width * r.uniform(0.35, 1.0)
    if r.chance(0.6):
        h = height * r.uniform(0.6, 0.92)
        b.box(
            f,
            ((x + end) / 2, h / 2, 0),
            ((end - x) / 2, h / 2, depth * r.uniform(0.6, 0.95) / 2),
            "books",
            paint("spines"),
        )
        x = end + 0.01
        end = width / 2 - 0.02
        if r.chance(0.5):
            return
    for _ in range(6):
        t, h = r.uniform(0.015, 0.05), height * r.uniform(0.55, 0.92)
        if x + 2 * t > end:
            break
        lean = r.uniform(-0.15, 0.0) if r.chance(0.2) else 0.0
        b.box(f, (x + t, h / 2, 0), (t, h / 2, depth * 0.4), "books", paint("object"), (0.0, lean))
        x += 2 * t + (0.03 if lean else 0.004)


def book_stack(b: Builder, r: Random, f: Frame, paint: Paint) -> None:
    """Books lying on each other."""
    y = 0.0
    for _ in range(r.integer(1, 4)):
        t = r.uniform(0.01, 0.03)
        b.box(
            f.moved((0, 0, 0), r.uniform(-0.5, 0.5)),
            (0, y + t, 0),
            (r.uniform(0.07, 0.13), t, r.uniform(0.1, 0.16)),
            "books",
            paint("object"),
        )
        y += 2 * t


def shelf(b: Builder, r: Random, f: Frame, paint: Paint, size: Vec) -> None:
    """An open shelf with books and objects, back at -z."""
    w, h, d = size[0] / 2, size[1], size[2] / 2
    body = paint("timber")
    rows = max(1, round(h / r.uniform(0.32, 0.5)))
    step = (h - 0.03) / rows
    for sx in (-1, 1):
        b.box(f, (sx * w, h / 2, 0), (0.014, h / 2, d), "furniture", body)
    if r.chance(0.6):
        b.box(f, (0, h / 2, -d + 0.01), (w, h / 2, 0.008), "furniture", body if r.chance(0.6) else paint("timber"))
    fill = r.uniform(0.2, 1.0)
    for i in range(rows + 1):
        b.box(f, (0, 0.015 + step * i, 0), (w, 0.014, d), "furniture", body)
        if i < rows and r.chance(fill):
            level = f.moved((0, 0.03 + step * i, 0.0))
            if r.chance(0.65):
                book_row(b, r, level, paint, 2 * w - 0.06, step - 0.04, 2 * d)
            else:
                things_on(b, r, level, paint, w * 0.8, d * 0.4, r.integer(1, 2), step * 0.8)


def wall_shelf(b: Builder, r: Random, f: Frame, paint: Paint, size: Vec) -> None:
    """A board on the wall with books or objects. The frame lies on the wall."""
    w = size[0] / 2
    b.box(f, (0, 0, 0.13), (w, 0.014, 0.13), "furniture", paint("timber"))
    if r.chance(0.6):
        book_row(b, r, f.moved((0, 0.014, 0.13)), paint, 2 * w - 0.05, r.uniform(0.22, 0.32), 0.22)
    else:
        things_on(b, r, f.moved((0, 0.014, 0.13)), paint, w * 0.8, 0.05, r.integer(1, 3), 0.3)


def thing(b: Builder, r: Random, f: Frame, paint: Paint, limit: float) -> None:
    """One object that stands on something: ball, box, can, vase, bowl, plant, bottle; at most ``limit`` high."""
    kind, a = r.integer(0, 7), paint("object")
    s = r.uniform(0.25, 0.5) * limit
    if kind == 0:
        b.sphere(f, (0, s * 0.8, 0), s * 0.8, "objects", a)
    elif kind == 1:
        b.box(f, (0, s * 0.7, 0), (s * r.uniform(0.3, 1.2), s * 0.7, s * r.uniform(0.3, 0.9)), "objects", a)
    elif kind == 2:
        b.cylinder(f, (0, s, 0), s * r.uniform(0.25, 0.8), s, "objects", a)
    elif kind == 3:
        b.add(SPHERE, f, (0, s * 0.7, 0), (s * 0.5, s * 0.7, s * 0.5), "objects", a)
        b.cylinder(f, (0, s * 1.4, 0), s * 0.2, s * 0.3, "objects", a)
    elif kind == 4:
        b.cylinder(f, (0, s * 0.5, 0), s * 0.4, s * 0.5, "objects", a)
        green = paint("object")
        for _ in range(r.integer(2, 4)):
            p = (r.uniform(-0.4, 0.4) * s, s * r.uniform(1.1, 1.6), r.uniform(-0.4, 0.4) * s)
            b.add(SPHERE, f, p, (s * 0.45, s * r.uniform(0.3, 0.6), s * 0.45), "objects", green)
    elif kind == 5:
        b.cylinder(f, (0, s * 0.6, 0), s * 0.3, s * 0.6, "objects", a)
        b.cylinder(f, (0, s * 1.4, 0), s * 0.1, s * 0.4, "objects", a)
    elif kind == 6:
        b.box(f, (0, s * 0.4, 0), (s * 0.6, s * 0.4, s * 0.6), "objects", a)
        b.box(
            f.moved((0, s * 0.8, 0), r.uniform(-0.6, 0.6)),
            (0, s * 0.3, 0),
            (s * 0.4, s * 0.3, s * 0.5),
            "objects",
            paint("object"),
        )
    else:
        b.add(SPHERE, f, (0, s * 0.3, 0), (s * 0.9, s * 0.3, s * 0.9), "objects", a)


def things_on(
    b: Builder, r: Random, f: Frame, paint: Paint, half_w: float, half_d: float, count: int, limit: float
) -> None:
    """Objects and books spread over a surface."""
    for i in range(count):
        x = half_w * ((2 * i + 1) / count - 1 + r.uniform(-0.5, 0.5) / count)
        spot = f.moved((x, 0, half_d * r.uniform(-1, 1)), r.uniform(-math.pi, math.pi))
        if r.chance(0.3):
            book_stack(b, r, spot, paint)
        else:
            thing(b, r, spot, paint, r.uniform(0.4, 1.0) * min(limit, 0.45))


def crate(b: Builder, r: Random, f: Frame, paint: Paint, size: Vec) -> None:
    """Boxes on the floor, perhaps stacked."""
    a = paint("object")
    b.box(f, (0, size[1] / 2, 0), (size[0] / 2, size[1] / 2, size[2] / 2), "objects", a)
    if r.chance(0.4):
        s = r.uniform(0.5, 0.9)
        b.box(
            f.moved((0, size[1], 0), r.uniform(-0.5, 0.5)),
            (0, size[1] * s / 2, 0),
            (size[0] * s / 2, size[1] * s / 2, size[2] * s / 2),
            "objects",
            a if r.chance(0.4) else paint("object"),
        )


def big_thing(b: Builder, r: Random, f: Frame, paint: Paint, size: Vec) -> None:
    """One large object on the floor."""
    thing(b, r, f, paint, size[1])


def rug(b: Builder, r: Random, f: Frame, paint: Paint, size: Vec) -> None:
    """A carpet; it counts as floor."""
    shape = CYLINDER if r.chance(0.25) else BOX
    b.add(shape, f, (0, 0.006, 0), (size[0] / 2, 0.006, size[2] / 2), "floor", paint("wall"))


def column(b: Builder, r: Random, f: Frame, paint: Paint, radius: float, height: float, material: int) -> None:
    """A column from floor to ceiling; it counts as wall."""
    b.add(r.integer(BOX, CYLINDER), f, (0, height / 2, 0), (radius, height / 2, radius), "wall", material)
    if r.chance(0.5):
        b.box(f, (0, 0.08, 0), (radius * 1.2, 0.08, radius * 1.2), "wall", material)


def beam(b: Builder, r: Random, f: Frame, half_length: float, material: int) -> None:
    """A beam under the ceiling (the frame's height); it counts as ceiling."""
    t = r.uniform(0.06, 0.14)
    b.box(f, (0, -t, 0), (half_length, t, t * r.uniform(0.6, 1.2)), "ceiling", material)


def _framed(b: Builder, f: Frame, centre: Vec, w: float, h: float, t: float, deep: float, label: str, m: int) -> None:
    """Four boxes around a rectangle on a wall."""
    for s in (-1, 1):
        b.box(f, (centre[0] + s * (w + t), centre[1], deep), (t, h + 2 * t, deep), label, m)
        b.box(f, (centre[0], centre[1] + s * (h + t), deep), (w, t, deep), label, m)


def door(b: Builder, r: Random, f: Frame, paint: Paint, size: Vec) -> None:
    """A door with frame and handle; the frame stands on the floor at the wall. Sometimes with glass or panels."""
    w, h = size[0] / 2, size[1] / 2
    a = paint("timber")
    b.box(f, (0, h, 0.015), (w, h, 0.015), "door", a)
    edge = a if r.chance(0.4) else paint("timber")
    t = r.uniform(0.03, 0.07)
    for s in (-1, 1):
        b.box(f, (s * (w + t), h + t, 0.03), (t, h + t, 0.03), "door", edge)
    b.box(f, (0, 2 * h + t, 0.03), (w, t, 0.03), "door", edge)
    side = r.sign()
    if r.chance(0.5):
        b.sphere(f, (side * (w - 0.08), 1.0, 0.06), 0.032, "door", paint("timber"))
    else:
        b.box(f, (side * (w - 0.1), 1.0, 0.06), (0.06, 0.012, 0.012), "door", paint("timber"))
    if r.chance(0.5):
        panel = a if r.chance(0.5) else paint("timber")
        for low, high in ((0.12, 0.45), (0.52, 0.93)):
            b.box(f, (0, h * (low + high), 0.03), (w * 0.72, h * (high - low), 0.008), "door", panel)


def window(b: Builder, r: Random, f: Frame, paint: Paint, size: Vec) -> None:
    """A window: bright pane, frame, bars, sill, curtains or blinds at times. The frame's origin is its middle."""
    w, h = size[0] / 2, size[1] / 2
    b.add(BOX, f, (0, 0, 0.006), (w, h, 0.006), "window", paint("sky"), casts=False)
    m = paint("timber")
    t = r.uniform(0.02, 0.05)
    _framed(b, f, (0, 0, 0), w, h, t, 0.035, "window", m)
    for i in range(r.integer(0, 2)):
        b.box(f, ((i - 0.25) * w * 0.6, 0, 0.02), (0.015, h, 0.012), "window", m)
    if r.chance(0.5):
        b.box(f, (0, r.uniform(-0.2, 0.4) * h, 0.02), (w, 0.015, 0.012), "window", m)
    if r.chance(0.5):
        b.box(f, (0, -h - 2 * t, 0.08), (w + 2 * t, 0.015, 0.08), "window", m)
    if r.chance(0.3):
        cloth = paint("cloth")
        for s in (-1, 1):
            if r.chance(0.8):
                b.box(f, (s * (w + t), -0.05, 0.09), (w * r.uniform(0.2, 0.45), h + 0.15, 0.015), "objects", cloth)


def picture(b: Builder, r: Random, f: Frame, paint: Paint, size: Vec) -> None:
    """A picture, with or without frame and mount. The frame's origin is its middle."""
    w, h = size[0] / 2, size[1] / 2
    b.box(f, (0, 0, 0.01), (w, h, 0.01), "picture", paint("picture"))
    if r.chance(0.7):
        _framed(b, f, (0, 0, 0), w, h, r.uniform(0.01, 0.05), 0.018, "picture", paint("timber"))


def tv(b: Builder, r: Random, f: Frame, paint: Paint, size: Vec) -> None:
    """A television on the wall or on a foot; the frame's origin is its middle, front at +z."""
    w, h = size[0] / 2, size[1] / 2
    case = paint("object")
    b.box(f, (0, 0, 0.03), (w, h, 0.03), "tv", case)
    b.add(BOX, f, (0, 0.0, 0.055), (w * 0.96, h * 0.93, 0.008), "tv", paint("screen"), casts=False)


def tv_stand(b: Builder, r: Random, f: Frame, paint: Paint, size: Vec) -> None:
    """A low cabinet with a television on it."""
    cabinet(b, r, f, paint, size)
    w = r.uniform(0.6, 1.0) * size[0]
    h = w * r.uniform(0.5, 0.65)
    b.box(f, (0, size[1] + 0.05, 0), (0.12, 0.05, 0.06), "tv", paint("object"))
    tv(b, r, f.moved((0, size[1] + 0.08 + h / 2, -0.03)), paint, (w, h, 0.0))


def floor_lamp(b: Builder, r: Random, f: Frame, paint: Paint, height: float, power: Vec) -> Light:
    """A lamp on a pole (or on a table, if short); returns its light."""
    pole = paint("object")
    b.cylinder(f, (0, 0.015, 0), 0.07 + 0.05 * height, 0.015, "objects", pole)
    b.cylinder(f, (0, height / 2, 0), 0.012, height / 2, "objects", pole)
    s = r.uniform(0.09, 0.17)
    shape = r.integer(CYLINDER, SPHERE)
    b.add(shape, f, (0, height, 0), (s, s * r.uniform(0.7, 1.1), s), "objects", paint("glow"), casts=False)
    return Light(f.point((0, height, 0)), 0.09, power)


def pendant(b: Builder, r: Random, f: Frame, paint: Paint, drop: float, power: Vec) -> Light:
    """A lamp hanging from the ceiling, or a flat panel if ``drop`` is small; returns its light."""
    if drop < 0.15:
        shape = r.integer(BOX, CYLINDER)
        b.add(
            shape,
            f,
            (0, -0.02, 0),
            (r.uniform(0.12, 0.4), 0.02, r.uniform(0.12, 0.4)),
            "objects",
            paint("glow"),
            casts=False,
        )
        return Light(f.point((0, -0.12, 0)), 0.2, power)
    b.cylinder(f, (0, -drop / 2, 0), 0.006, drop / 2, "objects", paint("object"))
    s = r.uniform(0.08, 0.2)
    b.add(
        r.integer(BOX, SPHERE), f, (0, -drop, 0), (s, s * r.uniform(0.5, 1.0), s), "objects", paint("glow"), casts=False
    )
    return Light(f.point((0, -drop, 0)), 0.1, power)


def desk(b: Builder, r: Random, f: Frame, paint: Paint, size: Vec) -> None:
    """A table against the wall with things on it and a chair before it."""
    table(b, r, f, paint, size)
    top = f.moved((0, size[1], 0))
    things_on(b, r, top, paint, size[0] * 0.4, size[2] * 0.25, r.integer(0, 4), 0.4)
    if r.chance(0.3):
        w = r.uniform(0.4, 0.7)
        b.box(top, (0, 0.05, -size[2] * 0.3), (0.1, 0.05, 0.05), "tv", paint("object"))
        tv(b, r, top.moved((0, 0.1 + w * 0.3, -size[2] * 0.3)), paint, (w, w * 0.58, 0.0))
    if r.chance(0.7):
        chair(
            b,
            r,
            f.moved((r.uniform(-0.2, 0.2), 0, size[2] / 2 + r.uniform(0.0, 0.3)), math.pi + r.uniform(-0.5, 0.5)),
            paint,
        )


def dining(b: Builder, r: Random, f: Frame, paint: Paint, size: Vec) -> None:
    """A table with chairs around it and things on it."""
    table(b, r, f, paint, size)
    things_on(b, r, f.moved((0, size[1], 0)), paint, size[0] * 0.35, size[2] * 0.25, r.integer(0, 4), 0.35)
    state = r.integer(0, 4)
    same = [paint("timber"), paint("timber")]
    used = 0

    def shared(use: str) -> int:
        nonlocal used
        used += 1
        return same[used % 2] if use == "timber" else paint(use)

    for i in range(state):
        side = 1 if i % 2 == 0 else -1
        x = (i // 2 - 0.5) * size[0] * 0.5 if state > 2 else 0.0
        p = (x, 0.0, side * (size[2] / 2 + r.uniform(-0.05, 0.3)))
        chair(b, r, f.moved(p, (math.pi if side > 0 else 0.0) + r.uniform(-0.3, 0.3)), shared)


def lone_chair(b: Builder, r: Random, f: Frame, paint: Paint, size: Vec) -> None:
    """A chair by itself."""
    chair(b, r, f, paint)


def topped_cabinet(b: Builder, r: Random, f: Frame, paint: Paint, size: Vec) -> None:
    """A cabinet, with things on top if it is low."""
    cabinet(b, r, f, paint, size)
    if size[1] < 1.3 and r.chance(0.7):
        things_on(b, r, f.moved((0, size[1] + 0.026, 0)), paint, size[0] * 0.4, size[2] * 0.2, r.integer(1, 3), 0.45)


Make = Callable[[Builder, Random, Frame, Paint, Vec], None]

FLOOR_ITEMS: dict[str, tuple[Make, bool, Vec, Vec]] = {
    "dining": (dining, False, (0.8, 0.68, 0.7), (2.0, 0.8, 1.1)),
    "coffee": (desk, False, (0.5, 0.35, 0.4), (1.2, 0.5, 0.8)),
    "desk": (desk, True, (0.8, 0.68, 0.5), (1.7, 0.8, 0.8)),
    "chair": (lone_chair, False, (0.55, 0.9, 0.55), (0.6, 0.9, 0.6)),
    "sofa": (sofa, True, (0.9, 0.7, 0.75), (2.4, 0.95, 1.0)),
    "armchair": (sofa, False, (0.75, 0.7, 0.7), (1.0, 0.95, 0.9)),
    "bed": (bed, True, (0.9, 0.4, 1.9), (1.9, 0.6, 2.2)),
    "cabinet": (topped_cabinet, True, (0.5, 0.5, 0.35), (1.8, 2.1, 0.65)),
    "counter": (topped_cabinet, True, (1.2, 0.82, 0.5), (2.6, 0.95, 0.65)),
    "shelf": (shelf, True, (0.5, 0.6, 0.25), (1.5, 2.2, 0.42)),
    "tvstand": (tv_stand, True, (0.8, 0.35, 0.35), (1.7, 0.6, 0.5)),
    "crate": (crate, False, (0.25, 0.2, 0.25), (0.8, 0.7, 0.8)),
    "thing": (big_thing, False, (0.4, 0.4, 0.4), (0.8, 1.2, 0.8)),
}
"""Things for the floor: how to make it, whether its back goes to a wall, least and greatest (width, height, depth)."""
