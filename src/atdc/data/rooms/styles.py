"""Styles: how often a kind of room holds what, in which materials and light. Two styles are kept out of training."""

from __future__ import annotations

from dataclasses import dataclass

_ANY = {
    "plain": 5.0, "stripes": 1.0, "checks": 0.7, "dots": 0.5, "rings": 0.4, "bricks": 0.3, "tiles": 0.4, "wood": 2.0,
    "marble": 0.8, "cloud": 1.4, "carpet": 1.2, "patches": 0.5, "spines": 0.3, "plaid": 0.7, "zigzag": 0.5,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Style:
    """One kind of room.

    Attributes:
        name: its name.
        side_m: least and greatest side of the floor.
        height_m: least and greatest height.
        items: weights of the things on the floor.
        clutter: least and greatest number of things on the floor.
        walls: weights of wall patterns.
        floors: weights of floor patterns.
        objects: weights of the patterns of things.
        saturation: greatest colour saturation.
        hangings: weights of what the walls carry.
        hanging_count: least and greatest number of hangings.
        columns: greatest number of columns.
        beams: probability of ceiling beams.
        ambient: least and greatest share of ambient light.
        first: things that most rooms of this style hold; they are placed before the others.
    """

    name: str
    side_m: tuple[float, float]
    height_m: tuple[float, float]
    items: dict[str, float]
    clutter: tuple[int, int]
    walls: dict[str, float]
    floors: dict[str, float]
    objects: dict[str, float]
    saturation: float
    hangings: dict[str, float]
    hanging_count: tuple[int, int]
    columns: int = 0
    beams: float = 0.0
    ambient: tuple[float, float] = (0.15, 0.7)
    first: tuple[str, ...] = ()


_HANG = {"door": 1.8, "window": 3.0, "picture": 2.0, "tv": 0.9, "shelf": 0.8}
_WALLS = {**_ANY, "plain": 9.0, "cloud": 2.5, "wood": 0.8, "bricks": 1.0, "tiles": 0.6}
_FLOORS = {**_ANY, "wood": 5.0, "carpet": 3.0, "tiles": 2.5, "checks": 1.2}

TRAIN_STYLES: tuple[Style, ...] = (
    Style(
        "home", (3.0, 6.5), (2.3, 2.8),
        {"sofa": 3, "armchair": 1.5, "coffee": 2, "tvstand": 2, "shelf": 2, "cabinet": 1.5, "dining": 1.5, "chair": 1,
         "thing": 1, "crate": 0.5, "bed": 0.5},
        (1, 9), _WALLS, _FLOORS, _ANY, 0.75, _HANG, (2, 7), first=("sofa", "tvstand"),
    ),
    Style(
        "bedroom", (2.5, 5.0), (2.3, 2.8),
        {"bed": 4, "cabinet": 2, "desk": 1.5, "chair": 1, "shelf": 1.2, "crate": 0.5, "thing": 0.7, "tvstand": 0.5},
        (1, 6), {**_WALLS, "stripes": 2.5, "plaid": 1.5}, _FLOORS, {**_ANY, "plaid": 1.5, "stripes": 1.6}, 0.7, _HANG,
        (2, 6), first=("bed",),
    ),
    Style(
        "office", (3.0, 9.0), (2.5, 3.2),
        {"desk": 4, "chair": 2, "cabinet": 2, "shelf": 2.5, "crate": 0.7, "thing": 0.5, "dining": 1},
        (2, 12), {**_WALLS, "plain": 16.0}, {**_FLOORS, "carpet": 6.0}, {**_ANY, "plain": 8.0}, 0.5,
        {**_HANG, "tv": 1.4, "window": 3.0}, (2, 7), columns=1, first=("desk",),
    ),
    Style(
        "gallery", (4.0, 9.0), (2.8, 3.4),
        {"thing": 3, "chair": 0.7, "crate": 1, "coffee": 0.5, "sofa": 0.4},
        (0, 5), {**_WALLS, "plain": 12.0}, _FLOORS, {**_ANY, "marble": 3.0, "cloud": 2.0}, 0.8,
        {"picture": 6, "door": 1, "window": 1.0, "tv": 0.8}, (2, 8), columns=2, ambient=(0.25, 0.8), first=("sofa",),
    ),
    Style(
        "storage", (2.5, 7.0), (2.3, 3.4),
        {"crate": 6, "shelf": 3, "cabinet": 1.5, "thing": 2, "chair": 0.5, "bed": 0.2, "desk": 0.5},
        (4, 16), {**_WALLS, "bricks": 3.0, "cloud": 4.0}, {**_FLOORS, "cloud": 4.0}, {**_ANY, "wood": 3.0}, 0.6,
        {"door": 2, "window": 1, "picture": 0.5, "shelf": 2, "tv": 0.2}, (0, 4), beams=0.3, ambient=(0.08, 0.5),
    ),
    Style(
        "kitchen", (2.5, 5.5), (2.3, 2.9),
        {"counter": 4, "dining": 2, "cabinet": 2.5, "chair": 1, "thing": 0.7, "crate": 0.3, "tvstand": 0.4},
        (2, 8), {**_WALLS, "tiles": 5.0}, {**_FLOORS, "tiles": 6.0, "marble": 2.0}, {**_ANY, "marble": 1.5}, 0.7,
        {**_HANG, "shelf": 2.0}, (2, 6), first=("dining",),
    ),
    Style(
        "hall", (2.5, 9.0), (2.3, 3.4),
        {"chair": 1, "cabinet": 1, "thing": 1, "sofa": 0.5, "crate": 0.5, "shelf": 0.5, "coffee": 0.3},
        (0, 3), {**_WALLS, "stripes": 2.0, "patches": 1.0}, _FLOORS, _ANY, 0.6,
        {"door": 3, "window": 1.5, "picture": 1.5, "tv": 0.2}, (0, 6), columns=2, beams=0.15, ambient=(0.1, 0.9),
    ),
)  # fmt: skip

HELD_OUT_STYLES: tuple[Style, ...] = (
    Style(
        "loft", (4.5, 9.0), (2.9, 3.4),
        {"sofa": 2, "dining": 2, "shelf": 2, "crate": 2, "desk": 1, "bed": 1, "thing": 1.5, "tvstand": 1, "chair": 1},
        (3, 12), {"bricks": 9, "cloud": 1, "wood": 1}, {"wood": 4, "cloud": 4, "checks": 0.5},
        {"wood": 4, "plain": 3, "bricks": 0.5, "cloud": 2, "carpet": 1}, 0.45,
        {"window": 4, "picture": 1.5, "door": 1, "shelf": 1, "tv": 0.5}, (2, 7), columns=7, beams=1.0,
        ambient=(0.05, 0.3),
    ),
    Style(
        "nursery", (2.5, 5.0), (2.3, 2.7),
        {"thing": 6, "crate": 3, "bed": 2, "chair": 2, "coffee": 2, "shelf": 1.5, "cabinet": 1, "tvstand": 0.4},
        (4, 14), {"dots": 6, "stripes": 2, "zigzag": 2, "rings": 1.5},
        {"rings": 2, "checks": 2, "dots": 2, "carpet": 2},
        {"dots": 4, "plain": 3, "stripes": 2, "rings": 1.5, "zigzag": 1.5, "checks": 1}, 1.0,
        {"picture": 3, "window": 2, "door": 1, "shelf": 1.5, "tv": 0.2}, (1, 6), ambient=(0.4, 0.9),
    ),
)  # fmt: skip
