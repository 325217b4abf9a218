"""From a seed to a room: choose a style, furnish the floor, hang the walls, set the lamps, place the camera."""

from __future__ import annotations

import colorsys
import math
from typing import Literal

import numpy as np

from atdc.data.rooms import furniture
from atdc.data.rooms.scene import Builder, Camera, Floats, Frame, Light, Material, Random, Scene, Vec
from atdc.data.rooms.styles import HELD_OUT_STYLES, TRAIN_STYLES, Style

StyleSet = Literal["train", "held_out"]

_HELD_OUT_SALT = 0x5EED

_USUAL: dict[str, dict[str, float]] = {
    "object": {"plain": 1.0},
    "timber": {"wood": 3.0, "plain": 3.0},
    "cloth": {"plain": 3.0, "carpet": 3.0, "plaid": 1.0, "stripes": 1.0, "cloud": 1.0},
}
"""What things are often made of; a style's own weights replace it at random, so that no pattern tells a class."""


def sample_scene(seed: int, styles: StyleSet = "train") -> Scene:
    """Draw a room. The same seed and style set give the same room, always.

    >>> sample_scene(3).style == sample_scene(3).style
    True
    """
    held_out = styles == "held_out"
    r = Random(seed, _HELD_OUT_SALT if held_out else 0)
    family = HELD_OUT_STYLES if held_out else TRAIN_STYLES
    weights = {style.name: 2.0 if style.name in ("home", "bedroom") else 1.0 for style in family}
    name = r.weighted(weights)
    style = next(style for style in family if style.name == name)
    return _Room(seed, style, r).scene()


def _colour(r: Random, saturation: float) -> Vec:
    """A linear albedo: any hue, value spread from nearly black to nearly white."""
    grey = r.chance(0.3)
    hue = r.unit() if r.chance(0.5) else r.uniform(0.02, 0.16)
    strength = r.uniform(0.0, 0.12) if grey else saturation * r.unit() ** 0.8
    value = 0.05 + 0.87 * r.unit() ** 0.8
    red, green, blue = colorsys.hsv_to_rgb(hue, strength, 1.0)
    return (value * red**1.6, value * green**1.6, value * blue**1.6)


def _mix(a: Vec, b: Vec, t: float) -> Vec:
    return (a[0] + (b[0] - a[0]) * t, a[1] + (b[1] - a[1]) * t, a[2] + (b[2] - a[2]) * t)


def _light_colour(r: Random) -> Vec:
    """Lamp colours from warm to cool, now and then tinted."""
    warm = r.uniform(-1.0, 1.0)
    tint = r.uniform(-0.25, 0.25) if r.chance(0.15) else r.uniform(-0.04, 0.04)
    return (1.0 + 0.28 * warm, 1.0 + tint, 1.0 - 0.32 * warm)


class _Room:
    """The state of one draw."""

    def __init__(self, seed: int, style: Style, r: Random) -> None:
        self.seed, self.style, self.r = seed, style, r
        self.b = Builder()
        width, depth = r.uniform(*style.side_m), r.uniform(*style.side_m)
        height = r.uniform(*style.height_m)
        self.w, self.h, self.d = width / 2, height, depth / 2
        self.footprints: list[tuple[float, float, float, float]] = []
        self.lights: list[Light] = []
        self.windows: list[Light] = []
        self.pattern_rate = r.unit()
        self.reuse = r.unit() * 0.6
        self.palette = [_colour(r, style.saturation) for _ in range(r.integer(3, 7))]
        self.recent: dict[str, list[int]] = {"object": [], "timber": [], "cloth": []}
        self.night = r.chance(0.25)

    # Materials.

    def _pick_colour(self) -> Vec:
        if self.r.chance(0.6):
            return _mix(self.palette[self.r.integer(0, len(self.palette) - 1)], _colour(self.r, 0.3), 0.12)
        return _colour(self.r, self.style.saturation)

    def _surface(self, weights: dict[str, float], period_m: tuple[float, float]) -> int:
        r = self.r
        a, b, c = self._pick_colour(), self._pick_colour(), self._pick_colour()
        pattern = r.weighted(weights)
        if pattern in ("wood", "cloud", "carpet", "marble") and r.chance(0.75):
            b = _mix(a, b, r.uniform(0.1, 0.5))
        elif r.chance(0.35):
            b = _mix(a, b, r.uniform(0.1, 0.45))
        period = r.log_uniform(*period_m)
        if pattern in ("wood", "carpet"):
            period = r.log_uniform(0.08, 0.25)
        if pattern == "bricks" and period_m[1] > 0.5:
            period = r.log_uniform(0.18, 0.42)
        if pattern in ("cloud", "marble", "patches"):
            period *= 1.8
        if pattern == "spines":
            period *= 0.4
        turn = r.weighted({"0": 5.0, "1": 2.0, "2": 0.6, "3": 1.2})
        angle = {"0": 0.0, "1": math.pi / 2, "2": math.pi / 4, "3": r.uniform(0.0, math.pi)}[turn]
        if pattern in ("bricks", "spines") and turn != "2":
            angle = 0.0
        gloss = r.unit() ** 2 * 0.7 if r.chance(0.45) else 0.0
        material = Material(pattern, (a, b, c), period, angle, r.uniform(0.2, 0.8), r.integer(0, 1 << 20), gloss)
        return self.b.add_material(material)

    def paint(self, use: str) -> int:
        """A new (or, for things, perhaps an earlier) material for a use."""
        r, style = self.r, self.style
        if use in _USUAL:
            earlier = self.recent[use]
            if earlier and r.chance(self.reuse):
                return earlier[r.integer(0, len(earlier) - 1)]
            weights = style.objects if r.chance(0.2 + 0.6 * self.pattern_rate) else _USUAL[use]
            earlier.append(self._surface(weights, (0.03, 0.3)))
            return earlier[-1]
        if use == "wall":
            return self._surface(style.walls, (0.06, 0.8))
        if use == "floor":
            return self._surface(style.floors, (0.08, 0.9))
        if use == "spines":
            kind = "spines" if r.chance(0.8) else "stripes"
            colours = (_colour(r, 0.9), _colour(r, 0.9), _colour(r, 0.9))
            return self._special(kind, colours, r.uniform(0.03, 0.07), r.uniform(0.3, 0.7), 0.0)
        if use == "picture":
            pattern = r.weighted({"patches": 4, "cloud": 1.5, "sky": 1.5, "marble": 0.8, "rings": 0.7, "plain": 0.7,
                                  "stripes": 0.5, "plaid": 0.5, "dots": 0.5})  # fmt: skip
            colours = (_colour(r, 1.0), _colour(r, 1.0), _colour(r, 1.0))
            return self._special(pattern, colours, r.uniform(0.1, 0.7), r.unit(), 0.0)
        if use == "screen":
            on = r.chance(0.5)
            colours = (_colour(r, 1.0), _colour(r, 1.0), _colour(r, 1.0)) if on else ((0.02, 0.02, 0.022),) * 3
            pattern = r.weighted({"patches": 3, "sky": 2, "cloud": 1}) if on else "plain"
            period, duty = r.uniform(0.2, 0.7), r.unit()
            return self._special(pattern, colours, period, duty, r.uniform(0.3, 1.0) if on else 0.0, 0.5)
        if use == "sky":
            if self.night:
                colours = ((0.03, 0.03, 0.05), (0.01, 0.015, 0.04), (0.02, 0.02, 0.02))
                return self._special("sky", colours, 1.0, r.unit(), r.uniform(0.2, 1.0), 0.3)
            low = _mix((0.9, 0.92, 0.95), _colour(r, 0.6), 0.35)
            high = _mix((0.45, 0.65, 1.0), _colour(r, 0.5), r.uniform(0.0, 0.5))
            land = _mix((0.2, 0.28, 0.12), _colour(r, 0.6), 0.6)
            pattern = "plain" if r.chance(0.2) else "sky"
            return self._special(pattern, (low, high, land), r.uniform(0.7, 1.4), r.unit(), r.uniform(0.6, 2.2))
        tint = _mix((1.0, 0.97, 0.9), _colour(r, 0.5), r.uniform(0.0, 0.4))
        return self._special("plain", (tint, tint, tint), 1.0, 0.5, r.uniform(0.8, 3.0))

    def _special(
        self,
        pattern: str,
        colours: tuple[Vec, Vec, Vec],
        period: float,
        duty: float,
        emission: float,
        gloss: float = 0.0,
    ) -> int:
        """A material without chance: screens, skies, lamps, book rows."""
        salt = self.r.integer(0, 1 << 20)
        return self.b.add_material(Material(pattern, colours, period, 0.0, duty, salt, gloss, emission))

    # Places.

    def _free(self, x: float, z: float, ex: float, ez: float) -> bool:
        return all(abs(x - tx) > ex + tw or abs(z - tz) > ez + td for tx, tz, tw, td in self.footprints)

    def _wall_frame(self, wall: int, along: float, out: float) -> tuple[float, float, float]:
        """Position and yaw with the back to a wall: 0 = -z, 1 = +x, 2 = +z, 3 = -x."""
        if wall == 0:
            return along * self.w, -self.d + out, 0.0
        if wall == 1:
            return self.w - out, along * self.d, -math.pi / 2
        if wall == 2:
            return along * self.w, self.d - out, math.pi
        return -self.w + out, along * self.d, math.pi / 2

    def _furnish(self) -> None:
        r, style = self.r, self.style
        area = min(1.0, self.w * self.d * 4 / 20.0)
        count = round(style.clutter[0] + (style.clutter[1] - style.clutter[0]) * r.unit() * (0.5 + 0.5 * area))
        wanted = [item for item in style.first if r.chance(0.65)]
        wanted += [r.weighted(style.items) for _ in range(count - len(wanted))]
        for item in wanted:
            if len(self.b.shape) > 190:
                break
            make, at_wall, low, high = furniture.FLOOR_ITEMS[item]
            t = r.unit()
            size = tuple(a + (c - a) * (0.6 * t + 0.4 * r.unit()) for a, c in zip(low, high, strict=True))
            for _ in range(12):
                if at_wall and r.chance(0.85):
                    span = self.w if (wall := r.integer(0, 3)) % 2 == 0 else self.d
                    room = 1.0 - (size[0] / 2 + 0.03) / span
                    if room <= 0.0:
                        continue
                    x, z, yaw = self._wall_frame(wall, r.uniform(-room, room), size[2] / 2 + r.uniform(0.02, 0.06))
                else:
                    yaw = r.uniform(-math.pi, math.pi) if r.chance(0.5) else r.integer(0, 3) * math.pi / 2
                    x, z = r.uniform(-self.w, self.w), r.uniform(-self.d, self.d)
                c, s = abs(math.cos(yaw)), abs(math.sin(yaw))
                ex, ez = (c * size[0] + s * size[2]) / 2, (s * size[0] + c * size[2]) / 2
                if abs(x) + ex > self.w or abs(z) + ez > self.d or not self._free(x, z, ex, ez):
                    continue
                self.footprints.append((x, z, ex, ez))
                make(self.b, r, Frame(x, 0.0, z, yaw), self.paint, (size[0], min(size[1], self.h - 0.2), size[2]))
                break

    def _hang(self) -> None:
        r, style = self.r, self.style
        used: list[tuple[int, float, float]] = []
        for _ in range(r.integer(*style.hanging_count)):
            kind, wall = r.weighted(style.hangings), r.integer(0, 3)
            span = self.w if wall % 2 == 0 else self.d
            size = {
                "door": (r.uniform(0.7, 1.1), r.uniform(1.9, 2.12), 0.0),
                "window": (r.uniform(0.5, 2.0), r.uniform(0.6, 1.6), 0.0),
                "picture": (r.uniform(0.2, 1.4), r.uniform(0.2, 1.0), 0.0),
                "tv": (r.uniform(0.6, 1.3), r.uniform(0.35, 0.7), 0.0),
                "shelf": (r.uniform(0.4, 1.3), 0.35, 0.0),
            }[kind]
            room = span - size[0] / 2 - 0.15
            if room <= 0.0:
                continue
            at = r.uniform(-room, room)
            if any(w == wall and abs(at - a) < e + size[0] / 2 + 0.15 for w, a, e in used):
                continue
            used.append((wall, at, size[0] / 2))
            x, z, yaw = self._wall_frame(wall, at / span, 0.0)
            middle = r.uniform(1.3, 1.75)
            y = 0.0 if kind == "door" else min(middle, self.h - size[1] / 2 - 0.15)
            frame = Frame(x, y, z, yaw)
            if kind == "door":
                furniture.door(self.b, r, frame, self.paint, size)
            elif kind == "window":
                furniture.window(self.b, r, frame, self.paint, size)
                if not self.night:
                    power = r.uniform(1.5, 5.0) * size[0] * size[1]
                    sky = (0.85 * power, 0.95 * power, 1.15 * power)
                    self.windows.append(Light(frame.point((0.0, 0.1, 0.3)), 0.25, sky))
            elif kind == "picture":
                furniture.picture(self.b, r, frame, self.paint, size)
            elif kind == "tv":
                furniture.tv(self.b, r, frame, self.paint, size)
            else:
                furniture.wall_shelf(self.b, r, frame, self.paint, size)

    def _light_up(self) -> None:
        r = self.r
        count = r.weighted({"1": 3.0, "2": 4.0, "3": 2.0})
        wanted = int(count)
        self.lights = [light for light in self.windows if r.chance(0.8)][:2]
        while len(self.lights) < wanted:
            tint, power = _light_colour(r), r.log_uniform(1.5, 8.0)
            colour = (tint[0] * power, tint[1] * power, tint[2] * power)
            x, z = r.uniform(-0.8, 0.8) * self.w, r.uniform(-0.8, 0.8) * self.d
            kind = r.weighted({"pendant": 4.0, "floor": 2.0, "hidden": 2.5})
            if kind == "pendant":
                drop = r.uniform(0.0, 0.15) if r.chance(0.5) else r.uniform(0.3, 0.9)
                self.lights.append(furniture.pendant(self.b, r, Frame(x, self.h, z), self.paint, drop, colour))
            elif kind == "floor" and self._free(x, z, 0.2, 0.2):
                self.footprints.append((x, z, 0.2, 0.2))
                self.lights.append(
                    furniture.floor_lamp(self.b, r, Frame(x, 0.0, z), self.paint, r.uniform(1.1, 1.8), colour)
                )
            else:
                self.lights.append(Light((x, r.uniform(0.7, 0.95) * self.h, z), r.uniform(0.02, 0.25), colour))

    # The camera.

    def _inside(self, p: Vec, matrix: Floats, centre: Floats, half: Floats, margin: float) -> bool:
        if len(centre) == 0:
            return False
        offset = np.array(p) - centre
        along = np.abs(np.einsum("pij,pi->pj", matrix / half[:, None, :], offset))
        return bool((along < half + margin).all(axis=1).any())

    def _camera(self, matrix: Floats, centre: Floats, half: Floats) -> Camera:
        r = self.r
        mode = r.weighted({"far": 7.0, "thing": 2.4, "wall": 0.3, "steep": 0.3})
        position: Vec = (0.0, 1.5, 0.0)
        target: Vec = (0.0, 1.0, 1.0)
        labels = np.array(self.b.label, dtype=np.int64)
        present = sorted(set(self.b.label))
        for attempt in range(40):
            subject: Vec | None = None
            if present:
                members = np.flatnonzero(labels == present[r.integer(0, len(present) - 1)])
                subject = self.b.centre[int(members[r.integer(0, len(members) - 1)])]
            if mode == "thing" and subject is not None and attempt < 20:
                target = subject
                distance, turn = r.log_uniform(0.9, 2.8), r.uniform(-math.pi, math.pi)
                height = target[1] + distance * r.uniform(-0.1, 0.7)
                position = (target[0] + distance * math.cos(turn), height, target[2] + distance * math.sin(turn))
            elif mode == "wall" and attempt < 20:
                x, z, yaw = self._wall_frame(r.integer(0, 3), r.uniform(-0.9, 0.9), 0.0)
                target = (x, r.uniform(0.3, 0.8 * self.h), z)
                distance, turn = r.log_uniform(0.8, 1.8), yaw + r.uniform(-0.9, 0.9)
                position = (x + distance * math.sin(turn), r.uniform(0.6, 2.0), z + distance * math.cos(turn))
            else:
                height = r.uniform(1.3, 1.7) if r.chance(0.7) else r.uniform(0.9, 2.0)
                position = (r.uniform(-0.9, 0.9) * self.w, height, r.uniform(-0.9, 0.9) * self.d)
                spread = 0.4 if mode == "steep" else 0.9
                far = -math.copysign(1.0, position[0]), -math.copysign(1.0, position[2])
                target = (far[0] * r.unit() * spread * self.w, r.uniform(0.1, 1.7), far[1] * r.unit() * spread * self.d)
                if subject is not None and r.chance(0.5):
                    target = subject
                if mode == "steep":
                    x, z = position[0] + r.uniform(-1, 1), position[2] + r.uniform(-1, 1)
                    target = (x, 0.0 if r.chance(0.65) else self.h, z)
            near_wall = max(abs(position[0]) - self.w, abs(position[2]) - self.d, position[1] - self.h, -position[1])
            if near_wall > -0.2 or self._inside(position, matrix, centre, half, 0.2):
                continue
            ahead = np.array(target) - np.array(position)
            length = float(np.linalg.norm(ahead))
            if length < 0.3:
                continue
            step = tuple((np.array(position) + ahead * (0.35 / length)).tolist())
            if not self._inside(step, matrix, centre, half, 0.05):
                break
        forward = np.array(target) - np.array(position)
        forward = forward / max(float(np.linalg.norm(forward)), 1e-6)
        if abs(forward[1]) > 0.97:
            forward[1] = math.copysign(0.97, forward[1])
            flat = math.sqrt((1 - 0.97**2) / max(forward[0] ** 2 + forward[2] ** 2, 1e-9))
            forward[0], forward[2] = (forward[0] * flat, forward[2] * flat) if flat < 1e3 else (0.243, 0.0)
            forward = forward / float(np.linalg.norm(forward))
        right = np.cross((0.0, 1.0, 0.0), forward)
        right = right / float(np.linalg.norm(right))
        up = np.cross(forward, right)
        roll = math.radians(r.uniform(-1, 1) * r.uniform(-1, 1) * 9.0)
        c, s = math.cos(roll), math.sin(roll)
        right, up = c * right + s * up, c * up - s * right
        rows = (tuple(right.tolist()), tuple(up.tolist()), tuple(forward.tolist()))
        # Lenses of phones and depth cameras. A wider range makes the scale of depth a guess: half of a network's error.
        fov = 62.0 + 7.0 * (r.unit() - r.unit())
        return Camera(position, rows, fov)

    def scene(self) -> Scene:
        """Run the whole draw."""
        r, style, b = self.r, self.style, self.b
        wall = self.paint("wall")
        walls = [wall if r.chance(0.7) else self.paint("wall") for _ in range(4)]
        bare = {"plain": 5.0, "cloud": 1.0}
        ceiling = self._surface(bare if r.chance(0.6) else {**style.walls, "plain": 4.0}, (0.1, 0.9))
        room_material = (walls[0], walls[1], self.paint("floor"), ceiling, walls[2], walls[3])
        for _ in range(r.integer(0, style.columns)):
            x, z, size = r.uniform(-0.9, 0.9) * self.w, r.uniform(-0.9, 0.9) * self.d, r.uniform(0.1, 0.28)
            if self._free(x, z, size, size):
                self.footprints.append((x, z, size, size))
                foot = Frame(x, 0.0, z, r.uniform(0, 0.2))
                furniture.column(b, r, foot, self.paint, size, self.h, walls[r.integer(0, 3)])
        if r.chance(style.beams):
            material = self.paint("object")
            for i in range(count := r.integer(2, 6)):
                at = Frame(0.0, self.h, self.d * ((2 * i + 1) / count - 1))
                furniture.beam(b, r, at, self.w, material)
        if r.chance(0.3):
            extent = (r.uniform(0.8, 1.4 * self.w), 0.01, r.uniform(0.6, 1.4 * self.d))
            at = Frame(r.uniform(-0.2, 0.2) * self.w, 0.0, r.uniform(-0.2, 0.2) * self.d)
            furniture.rug(b, r, at, self.paint, extent)
        if r.chance(0.35):
            board, tall = self.paint("object"), r.uniform(0.03, 0.08)
            for wall_index in range(4):
                x, z, yaw = self._wall_frame(wall_index, 0.0, 0.0)
                reach = self.w if wall_index % 2 == 0 else self.d
                b.box(Frame(x, 0.0, z, yaw), (0, tall, 0.006), (reach, tall, 0.008), "wall", board)
        self._hang()
        self._furnish()
        self._light_up()
        order = np.argsort(np.array(b.shape, dtype=np.int64), kind="stable")
        matrix = np.array(b.matrix, dtype=np.float64).reshape(-1, 3, 3)[order]
        centre = np.array(b.centre, dtype=np.float64).reshape(-1, 3)[order]
        half = np.array(b.half_size, dtype=np.float64).reshape(-1, 3)[order]
        camera = self._camera(matrix, centre, half)
        level = r.uniform(*style.ambient)
        sky, ground = _light_colour(r), _colour(r, 0.4)
        above = (level * sky[0], level * sky[1], level * sky[2])
        below = _mix(above, (level * ground[0], level * ground[1], level * ground[2]), 0.6)
        gain = (r.uniform(0.9, 1.1), r.uniform(0.97, 1.03), r.uniform(0.88, 1.12))
        return Scene(
            seed=self.seed,
            style=style.name,
            half_m=(self.w, self.h / 2, self.d),
            room_material=room_material,
            shape=np.array(b.shape, dtype=np.int64)[order],
            matrix=matrix,
            centre=centre,
            half_size=half,
            label=np.array(b.label, dtype=np.int64)[order],
            material=np.array(b.material, dtype=np.int64)[order],
            casts=np.array(b.casts, dtype=np.bool_)[order],
            materials=tuple(b.materials),
            lights=tuple(self.lights),
            ambient=(above, below),
            camera=camera,
            exposure=r.log_uniform(0.12, 0.5),
            white_balance=gain,
            vignette=r.uniform(0.0, 0.3) if r.chance(0.5) else 0.0,
            noise=r.uniform(0.0, 0.012),
            contrast=r.uniform(0.85, 1.2),
        )
