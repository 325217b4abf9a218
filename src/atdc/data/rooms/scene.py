"""What a room is: frozen arrays of primitives, materials, lights and one camera.

World axes: x right, y up, z forward, in metres; the floor is y = 0 and the room is centred on x = z = 0.
Every primitive is the image of a unit shape (cube [-1, 1]^3, upright cylinder, sphere) under an affine map,
so that one ray test per shape serves every size and pose.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from atdc.data.rooms.materials import PATTERNS
from atdc.tasks import CLASSES

BOX, CYLINDER, SPHERE = 0, 1, 2

CLASS_INDEX: dict[str, int] = {name: index for index, name in enumerate(CLASSES)}
PATTERN_INDEX: dict[str, int] = {name: index for index, name in enumerate(PATTERNS)}

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Vec = tuple[float, float, float]


class Random:
    """A stream of scalar choices from one seed; a thin, quick face on NumPy's generator."""

    def __init__(self, *seed: int) -> None:
        self._pool: list[float] = []
        self._generator = np.random.Generator(np.random.PCG64(seed))

    def unit(self) -> float:
        """Uniform in [0, 1)."""
        if not self._pool:
            self._pool.extend(self._generator.random(512).tolist())
        return self._pool.pop()

    def uniform(self, low: float, high: float) -> float:
        """Uniform in [low, high)."""
        return low + (high - low) * self.unit()

    def log_uniform(self, low: float, high: float) -> float:
        """Uniform in the logarithm."""
        return low * math.pow(high / low, self.unit())

    def integer(self, low: int, high_inclusive: int) -> int:
        """Uniform among low, …, high_inclusive."""
        return low + int(self.unit() * (high_inclusive - low + 1))

    def chance(self, probability: float) -> bool:
        """True with the given probability."""
        return self.unit() < probability

    def sign(self) -> float:
        """-1 or 1."""
        return -1.0 if self.unit() < 0.5 else 1.0

    def weighted(self, weights: dict[str, float]) -> str:
        """A key, with probability proportional to its value."""
        remainder = self.unit() * sum(weights.values())
        for key, weight in weights.items():
            remainder -= weight
            if remainder < 0.0:
                return key
        return key


@dataclass(frozen=True, slots=True)
class Material:
    """One row of :class:`~atdc.data.rooms.materials.MaterialTable`, before it becomes a tensor."""

    pattern: str
    colours: tuple[Vec, Vec, Vec]
    period_m: float
    angle: float
    duty: float
    salt: int
    gloss: float = 0.0
    emission: float = 0.0


@dataclass(frozen=True, slots=True)
class Light:
    """A small round lamp: position, radius of its soft shadow, linear RGB power."""

    position: Vec
    radius_m: float
    power: Vec


@dataclass(frozen=True, slots=True)
class Camera:
    """Pinhole camera. Rows of ``axes`` are right, up and forward in world axes; the field of view is horizontal."""

    position: Vec
    axes: tuple[Vec, Vec, Vec]
    fov_deg: float


@dataclass(frozen=True, slots=True)
class Scene:
    """A whole room, ready to render.

    Attributes:
        seed: where it came from.
        style: name of its style.
        half_m: half width, half height, half depth of the room.
        room_material: material of the faces -x, +x, floor, ceiling, -z, +z.
        shape: ``(P,)`` BOX, CYLINDER or SPHERE, ascending.
        matrix: ``(P, 3, 3)``, unit shape to world; columns are the half axes in metres.
        centre: ``(P, 3)``, metres.
        half_size: ``(P, 3)``, lengths of the half axes.
        label: ``(P,)``, class index.
        material: ``(P,)``, row in ``materials``.
        casts: ``(P,)`` bool, False for what gives light itself.
        materials: the materials.
        lights: one to three lamps.
        ambient: linear RGB from above and from below.
        camera: the camera.
        exposure: wanted mean of the picture's linear luminance.
        white_balance: gains of the three channels.
        vignette: relative loss of light at the corners.
        noise: standard deviation of the sensor's noise, in sRGB units.
        contrast: exponent of the tone curve, around 1.
    """

    seed: int
    style: str
    half_m: Vec
    room_material: tuple[int, ...]
    shape: Ints
    matrix: Floats
    centre: Floats
    half_size: Floats
    label: Ints
    material: Ints
    casts: NDArray[np.bool_]
    materials: tuple[Material, ...]
    lights: tuple[Light, ...]
    ambient: tuple[Vec, Vec]
    camera: Camera
    exposure: float
    white_balance: Vec
    vignette: float
    noise: float
    contrast: float


@dataclass(frozen=True, slots=True)
class Frame:
    """A place to build: origin on the world, and a turn about the vertical. Local +z points to the front."""

    x: float
    y: float
    z: float
    yaw: float = 0.0

    def point(self, p: Vec) -> Vec:
        """Local to world."""
        c, s = math.cos(self.yaw), math.sin(self.yaw)
        return (self.x + c * p[0] + s * p[2], self.y + p[1], self.z - s * p[0] + c * p[2])

    def moved(self, p: Vec, turn: float = 0.0) -> Frame:
        """The frame at a local point, turned further."""
        x, y, z = self.point(p)
        return Frame(x, y, z, self.yaw + turn)


@dataclass(slots=True)
class Builder:
    """Collects primitives and materials while a scene is sampled."""

    shape: list[int] = field(default_factory=list)
    matrix: list[Floats] = field(default_factory=list)
    centre: list[Vec] = field(default_factory=list)
    half_size: list[Vec] = field(default_factory=list)
    label: list[int] = field(default_factory=list)
    material: list[int] = field(default_factory=list)
    casts: list[bool] = field(default_factory=list)
    materials: list[Material] = field(default_factory=list)

    def add_material(self, material: Material) -> int:
        """Register a material and return its row."""
        self.materials.append(material)
        return len(self.materials) - 1

    def add(
        self,
        shape: int,
        frame: Frame,
        centre: Vec,
        half: Vec,
        label: str,
        material: int,
        tilt: tuple[float, float] = (0.0, 0.0),
        casts: bool = True,
    ) -> None:
        """Add one primitive: centre and half sizes in the frame's axes, ``tilt`` = turns about local x, then z."""
        cy, sy = math.cos(frame.yaw), math.sin(frame.yaw)
        rotation = np.array(((cy, 0.0, sy), (0.0, 1.0, 0.0), (-sy, 0.0, cy)))
        if tilt != (0.0, 0.0):
            ca, sa, cb, sb = math.cos(tilt[0]), math.sin(tilt[0]), math.cos(tilt[1]), math.sin(tilt[1])
            about_x = np.array(((1.0, 0.0, 0.0), (0.0, ca, -sa), (0.0, sa, ca)))
            about_z = np.array(((cb, -sb, 0.0), (sb, cb, 0.0), (0.0, 0.0, 1.0)))
            rotation = rotation @ about_z @ about_x
        self.shape.append(shape)
        self.matrix.append(rotation * np.array(half))
        self.centre.append(frame.point(centre))
        self.half_size.append(half)
        self.label.append(CLASS_INDEX[label])
        self.material.append(material)
        self.casts.append(casts)

    def box(
        self, frame: Frame, centre: Vec, half: Vec, label: str, material: int, tilt: tuple[float, float] = (0.0, 0.0)
    ) -> None:
        """Add a box."""
        self.add(BOX, frame, centre, half, label, material, tilt)

    def cylinder(self, frame: Frame, centre: Vec, radius: float, half_height: float, label: str, material: int) -> None:
        """Add an upright cylinder."""
        self.add(CYLINDER, frame, centre, (radius, half_height, radius), label, material)

    def sphere(self, frame: Frame, centre: Vec, radius: float, label: str, material: int) -> None:
        """Add a sphere."""
        self.add(SPHERE, frame, centre, (radius, radius, radius), label, material)
