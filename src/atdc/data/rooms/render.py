"""Ray casting: a room to six targets.

The image is cut into tiles of 16 x 16 pixels. Which primitives a tile can meet is decided once, for all tiles and
primitives together; the surviving (tile, primitive) pairs are then intersected in blocks that stay in the cache.
The same routine serves shadows, with rays from each lamp to the points that the camera sees.

Rooms are rendered one after the other, so that no value can depend on the rest of the batch.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from atdc.data.rooms.materials import MaterialTable, albedo, hash01
from atdc.data.rooms.sample import StyleSet, sample_scene
from atdc.data.rooms.scene import BOX, CLASS_INDEX, CYLINDER, PATTERN_INDEX, SPHERE, Scene
from atdc.data.rooms.targets import PICTURE_TARGETS, image_target
from atdc.errors import ArgumentError

TILE_PX = 16
DEPTH_UNITS_PER_METRE = 512

_NEAR = 1e-3
_BLOCK_PAIRS = 96
_PIXELS = TILE_PX * TILE_PX


SCENE_TARGETS = ("rgb", "segment_semantic", "depth_zbuffer", "normal")
"""What a room shows and what is known of it; the other targets follow from its image."""


def render_rooms(
    seeds: Sequence[int], styles: StyleSet = "train", size: int = 256, device: torch.device | str = "cpu"
) -> dict[str, Tensor]:
    """Render rooms with all six targets, in the compact form in which they are stored.

    Args:
        seeds: one whole number ≥ 0 per room.
        styles: ``train``, or ``held_out`` for the two styles kept out of training.
        size: side of the square image in pixels, a positive multiple of 16.
        device: where to compute; the tensors stay there.

    Returns:
        By Taskonomy's names, for ``B`` seeds and ``H = W = size``:

        - ``rgb`` uint8 ``(B, 3, H, W)``: sRGB, 255 = 1.
        - ``depth_zbuffer`` uint16 ``(B, 1, H, W)``: depth along the optical axis in 1/512 metre.
        - ``normal`` uint8 ``(B, 3, H, W)``: ``round((n + 1) * 127.5)``; in camera axes: x right,
          y up, z towards the camera.
        - ``segment_semantic`` uint8 ``(B, 1, H, W)``: index into :data:`atdc.tasks.CLASSES`.
        - ``keypoints2d``, ``edge_texture`` uint8 ``(B, 1, H, W)``: 255 = 1; see :mod:`atdc.data.rooms.targets`.

    Raises:
        ArgumentError: a size that is not a positive multiple of 16, a negative seed, an unknown style set.

    >>> room = render_rooms([5], size=32)
    >>> room["depth_zbuffer"].shape, room["depth_zbuffer"].dtype
    (torch.Size([1, 1, 32, 32]), torch.uint16)
    """
    if size <= 0 or size % TILE_PX:
        raise ArgumentError("size", str(size), f"a positive multiple of {TILE_PX}", "pass size=256.")
    if styles not in ("train", "held_out"):
        raise ArgumentError("styles", repr(styles), "'train' or 'held_out'")
    if any(seed < 0 for seed in seeds):
        raise ArgumentError("seeds", str(min(seeds)), "whole numbers of at least 0")
    if not seeds:
        raise ArgumentError("seeds", "none", "at least one seed")
    with torch.inference_mode(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="index_reduce")
        rooms = [render_scene(sample_scene(seed, styles), size, torch.device(device)) for seed in seeds]
    return {name: torch.stack([room[name] for room in rooms]) for name in rooms[0]}


def render_scene(scene: Scene, size: int, device: torch.device) -> dict[str, Tensor]:
    """Render one room; like :func:`render_rooms`, without the batch dimension."""
    side = size // TILE_PX
    shapes = _Shapes(scene, device)
    axes = torch.tensor(scene.camera.axes, dtype=torch.float32, device=device)
    eye = torch.tensor(scene.camera.position, dtype=torch.float32, device=device)
    focal = 0.5 * size / math.tan(math.radians(scene.camera.fov_deg) / 2)

    x, y = _tile_grid(size, device)
    cx, cy = (x - (size - 1) / 2) / focal, ((size - 1) / 2 - y) / focal
    direction = torch.stack([cx * axes[0, i] + cy * axes[1, i] + axes[2, i] for i in range(3)])

    # What each pixel sees. A direction has length 1 along the optical axis, so that t is the z-depth.
    depth, hits = _room_exit(scene, eye, direction)
    tile, primitive = _pairs_on_screen(shapes, eye, axes, focal, size)
    for block_tile, block_primitive, near in _intersect(shapes, tile, primitive, eye[None], direction, None):
        depth, hits = _keep_nearest(depth, hits, block_tile, block_primitive, near)
    point = eye[:, None, None] + direction * depth
    normal, u, v, label, material = _surface(scene, shapes, hits, point, direction)

    # How it looks.
    toward = -(direction * normal).sum(0) / direction.square().sum(0).sqrt()
    pixel_m = depth / focal / toward.clamp_min(0.08)
    table = _material_table(scene, device)
    base = albedo(table, material.flatten(), u.flatten(), v.flatten(), pixel_m.flatten())
    base = base.view(*material.shape, 3).permute(2, 0, 1).clamp(0.0, 1.0)
    light, shine = _lighting(scene, shapes, point, normal, direction, hits, size, table.gloss[material])
    linear = base * (light + table.emission[material]) + shine
    rgb = _develop(scene, _to_image(linear, side), size)

    camera_normal = torch.stack(
        [normal[0] * axes[k, 0] + normal[1] * axes[k, 1] + normal[2] * axes[k, 2] for k in range(3)]
    )
    camera_normal[2].neg_()
    stored_depth = (depth * DEPTH_UNITS_PER_METRE).round().clamp(0, 65535).to(torch.int32).to(torch.uint16)
    return {
        "rgb": rgb,
        "depth_zbuffer": _to_image(stored_depth[None], side),
        "normal": _to_image(((camera_normal + 1.0) * 127.5).round().clamp(0, 255).to(torch.uint8), side),
        "segment_semantic": _to_image(label[None].to(torch.uint8), side),
        **{name: image_target(name, rgb[None])[0] for name in PICTURE_TARGETS},
    }


class _Shapes:
    """A scene's primitives as tensors. ``inverse`` takes world offsets to the unit shape's coordinates."""

    def __init__(self, scene: Scene, device: torch.device) -> None:
        half = np.maximum(scene.half_size, 1e-4)
        inverse = np.swapaxes(scene.matrix / (half * half)[:, None, :], 1, 2)
        self.device = device
        self.count = len(scene.shape)
        self.kind = scene.shape
        self.matrix = torch.tensor(scene.matrix, dtype=torch.float32, device=device).reshape(-1, 3, 3)
        self.inverse = torch.tensor(inverse, dtype=torch.float32, device=device).reshape(-1, 3, 3)
        self.centre = torch.tensor(scene.centre, dtype=torch.float32, device=device).reshape(-1, 3)
        self.half = torch.tensor(half, dtype=torch.float32, device=device).reshape(-1, 3)
        self.label = torch.tensor(scene.label, device=device)
        self.material = torch.tensor(scene.material, device=device)
        self.casts = torch.tensor(scene.casts, device=device)
        self.first = {kind: int(np.searchsorted(scene.shape, kind)) for kind in (BOX, CYLINDER, SPHERE, SPHERE + 1)}


def _tile_grid(size: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Pixel coordinates in tile order, ``(tiles, 256)`` each."""
    y, x = torch.meshgrid(*(torch.arange(size, dtype=torch.float32, device=device),) * 2, indexing="ij")
    return _to_tiles(x[None])[0], _to_tiles(y[None])[0]


def _to_tiles(image: Tensor) -> Tensor:
    c, h, w = image.shape
    tiled = image.view(c, h // TILE_PX, TILE_PX, w // TILE_PX, TILE_PX).transpose(2, 3)
    return tiled.reshape(c, -1, _PIXELS)


def _to_image(tiles: Tensor, side: int) -> Tensor:
    c = tiles.shape[0]
    size = side * TILE_PX
    return tiles.reshape(c, side, side, TILE_PX, TILE_PX).transpose(2, 3).reshape(c, size, size)


def _room_exit(scene: Scene, eye: Tensor, direction: Tensor) -> tuple[Tensor, Tensor]:
    """Distance to the walls, and -1 for 'the room itself' at every pixel."""
    half = torch.tensor(scene.half_m, dtype=torch.float32, device=eye.device)
    offset = eye.clone()
    offset[1] -= half[1]
    best: Tensor | None = None
    for axis in range(3):
        inverse = 1.0 / direction[axis]
        t = half[axis] * inverse.abs() - offset[axis] * inverse
        best = t if best is None else torch.minimum(best, t)
    assert best is not None
    return best, torch.full_like(best, -1, dtype=torch.int64)


def _pairs_on_screen(shapes: _Shapes, eye: Tensor, axes: Tensor, focal: float, size: int) -> tuple[Tensor, Tensor]:
    """All (tile, primitive) pairs whose bounding rectangle on the screen meets the tile."""
    side = size // TILE_PX
    if shapes.count == 0:
        none = torch.zeros(0, dtype=torch.int64, device=shapes.device)
        return none, none
    signs = torch.tensor(
        [(a, b, c) for a in (-1.0, 1.0) for b in (-1.0, 1.0) for c in (-1.0, 1.0)], device=shapes.device
    )
    corners = shapes.centre[:, None] + (shapes.matrix[:, None] * signs[None, :, None, :]).sum(-1) - eye
    local = (corners[:, :, None, :] * axes).sum(-1)
    z = local[..., 2]
    front = z.clamp_min(0.02)
    px = local[..., 0] / front * focal + (size - 1) / 2
    py = (size - 1) / 2 - local[..., 1] / front * focal
    crossing = (z <= 0.02).any(1)
    gone = (z <= 0.02).all(1)
    start = torch.arange(side, device=shapes.device, dtype=torch.float32) * TILE_PX

    def touched(p: Tensor) -> Tensor:
        low, high = p.amin(1)[:, None], p.amax(1)[:, None]
        return ((low <= start + (TILE_PX + 0.5)) & (high >= start - 1.5)) | crossing[:, None]

    meets = touched(py)[:, :, None] & touched(px)[:, None, :] & ~gone[:, None, None]
    primitive, tile = torch.nonzero(meets.view(shapes.count, -1)).unbind(1)
    return tile, primitive


def _intersect(
    shapes: _Shapes,
    tile: Tensor,
    primitive: Tensor,
    origin: Tensor,
    direction: Tensor,
    jitter: tuple[Tensor, Tensor, Tensor] | None,
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yield blocks (ray bundle, primitive, nearest t or infinity); pairs must be sorted by primitive.

    ``origin`` is ``(1, 3)``, or ``(lamps, 3)`` with ``jitter`` = (row of each pair, offsets ``(3, 256)`` in lamp radii,
    radius of each lamp).
    """
    bounds = torch.searchsorted(primitive, torch.tensor([shapes.first[k] for k in range(4)], device=shapes.device))
    edges = bounds.tolist()
    for kind in (BOX, CYLINDER, SPHERE):
        for start in range(edges[kind], edges[kind + 1], _BLOCK_PAIRS):
            stop = min(start + _BLOCK_PAIRS, edges[kind + 1])
            t, p = tile[start:stop], primitive[start:stop]
            source = origin if jitter is None else origin[jitter[0][start:stop]]
            inverse = shapes.inverse[p]
            o = (inverse * (source - shapes.centre[p])[:, None, :]).sum(-1)[:, :, None]
            if jitter is not None:
                radius = jitter[2][jitter[0][start:stop]][:, None, None]
                o = o + (inverse.reshape(-1, 3) @ jitter[1]).view(-1, 3, _PIXELS) * radius
            dx, dy, dz = direction[0][t], direction[1][t], direction[2][t]
            d = []
            for row in range(3):
                m = inverse[:, row, :, None]
                d.append((dx * m[:, 0]).addcmul_(dy, m[:, 1]).addcmul_(dz, m[:, 2]))
            yield t, p, _HIT[kind]((o[:, 0], o[:, 1], o[:, 2]), (d[0], d[1], d[2]))


_Triple = tuple[Tensor, Tensor, Tensor]


def _slab(o: Tensor, d: Tensor) -> tuple[Tensor, Tensor]:
    inverse = d.reciprocal()
    middle = inverse * -o
    reach = inverse.abs_()
    return middle - reach, middle + reach


def _finish(near: Tensor, hit: Tensor) -> Tensor:
    return near.masked_fill_(hit.logical_not_(), math.inf)


def _hit_box(o: _Triple, d: _Triple) -> Tensor:
    near, far = _slab(o[0], d[0])
    for axis in (1, 2):
        n, f = _slab(o[axis], d[axis])
        torch.maximum(near, n, out=near)
        torch.minimum(far, f, out=far)
    return _finish(near, (near < far) & (near > _NEAR))


def _hit_cylinder(o: _Triple, d: _Triple) -> Tensor:
    a = d[0] * d[0] + d[2] * d[2]
    b = d[0] * o[0] + d[2] * o[2]
    c = o[0] * o[0] + o[2] * o[2] - 1.0
    root = torch.addcmul(b * b, a, c, value=-1.0)
    missed = root < 0.0
    root = root.clamp_min_(0.0).sqrt_()
    inverse = a.clamp_min_(1e-12).reciprocal_()
    near, far = _slab(o[1], d[1])
    near = torch.maximum(near, (-b - root) * inverse)
    far = torch.minimum(far, (root - b) * inverse)
    return _finish(near, (near < far) & (near > _NEAR) & ~missed)


def _hit_sphere(o: _Triple, d: _Triple) -> Tensor:
    a = d[0] * d[0] + d[1] * d[1] + d[2] * d[2]
    b = d[0] * o[0] + d[1] * o[1] + d[2] * o[2]
    c = o[0] * o[0] + o[1] * o[1] + o[2] * o[2] - 1.0
    root = torch.addcmul(b * b, a, c, value=-1.0)
    hit = root > 0.0
    near = (-b - root.clamp_min_(0.0).sqrt_()) / a
    return _finish(near, hit & (near > _NEAR))


_HIT = {BOX: _hit_box, CYLINDER: _hit_cylinder, SPHERE: _hit_sphere}


def _keep_nearest(depth: Tensor, hits: Tensor, tile: Tensor, primitive: Tensor, near: Tensor) -> tuple[Tensor, Tensor]:
    """Lower ``depth`` where a block hit something nearer, and note what it was."""
    best = depth.index_reduce(0, tile, near, "amin")
    pair, pixel = torch.nonzero((near == best[tile]) & (near < depth[tile])).unbind(1)
    hits[tile[pair], pixel] = primitive[pair]
    return best, hits


def _surface(
    scene: Scene, shapes: _Shapes, hits: Tensor, point: Tensor, direction: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """World normal ``(3, T, 256)``, surface coordinates in metres, class and material of every pixel."""
    device = point.device
    half = torch.tensor(scene.half_m, dtype=torch.float32, device=device)
    # The room: the face whose plane the point lies on; its normal points inwards.
    p = point.clone()
    p[1] -= half[1]
    ratio = p.abs() - half[:, None, None]
    axis = _largest(ratio[0], ratio[1], ratio[2])
    positive = torch.gather(p, 0, axis[None])[0] > 0
    normal = torch.zeros_like(point)
    normal.scatter_(0, axis[None], torch.where(positive, -1.0, 1.0)[None])
    face = axis * 2 + positive
    kinds = torch.tensor([CLASS_INDEX[n] for n in ("wall", "wall", "floor", "ceiling", "wall", "wall")], device=device)
    label = kinds[face]
    material = torch.tensor(scene.room_material, device=device)[face]
    u, v = _face_coordinates(axis, p)

    tile, pixel = torch.nonzero(hits >= 0).unbind(1)
    if tile.numel() == 0:
        return normal, u, v, label, material
    i = hits[tile, pixel]
    offset = point[:, tile, pixel].T - shapes.centre[i]
    inverse = shapes.inverse[i]
    q = (inverse * offset[:, None, :]).sum(-1)
    ray = direction[:, tile, pixel].T
    towards = q * (inverse * ray[:, None, :]).sum(-1) < 0.0
    kind = torch.tensor(shapes.kind, device=device)[i]
    round_ = kind != BOX
    side = q.abs()
    outer = torch.where(towards, side, side - 1.0)  # On an edge, the face that the ray meets from outside.
    axis = _largest(outer[:, 0], outer[:, 1], outer[:, 2])
    on_face = torch.zeros_like(q).scatter_(1, axis[:, None], torch.gather(q, 1, axis[:, None]).sign())
    radius = q[:, 0] * q[:, 0] + q[:, 2] * q[:, 2]
    cap = (kind == CYLINDER) & towards[:, 1] & (side[:, 1] - 1.0 > -2e-4) & (side[:, 1] * side[:, 1] >= radius - 2e-3)
    keep_y = torch.where(kind == SPHERE, q[:, 1], torch.zeros_like(radius))
    curved = torch.stack((q[:, 0], keep_y, q[:, 2]), 1)
    flat = torch.stack((torch.zeros_like(radius), q[:, 1].sign(), torch.zeros_like(radius)), 1)
    local = torch.where(round_[:, None], torch.where(cap[:, None], flat, curved), on_face)
    n = (inverse * local[:, :, None]).sum(1)
    n = n / n.square().sum(1, keepdim=True).sqrt().clamp_min(1e-12)
    away = (n * ray).sum(1, keepdim=True).clamp_min(0.0) / ray.square().sum(1, keepdim=True)
    n = n - away * ray  # On a silhouette, rounding may turn a normal slightly away from the camera.
    n = n / n.square().sum(1, keepdim=True).sqrt().clamp_min(1e-12)
    metres = q * shapes.half[i]
    bu, bv = _face_coordinates(torch.where(cap, torch.ones_like(axis), axis), metres.T)
    around = torch.atan2(q[:, 0], q[:, 2]) * 0.5 * (shapes.half[i, 0] + shapes.half[i, 2])
    wrapped = round_ & ~cap
    normal[:, tile, pixel] = n.T
    u[tile, pixel] = torch.where(wrapped, around, bu)
    v[tile, pixel] = torch.where(wrapped, metres[:, 1], bv)
    label[tile, pixel] = shapes.label[i]
    material[tile, pixel] = shapes.material[i]
    return normal, u, v, label, material


def _largest(x: Tensor, y: Tensor, z: Tensor) -> Tensor:
    """Index of the largest of three; quicker than argmax over a short dimension."""
    return torch.where(z > torch.maximum(x, y), 2, (y > x).to(torch.int64))


def _face_coordinates(axis: Tensor, p: Tensor) -> tuple[Tensor, Tensor]:
    """The two coordinates along an axis-aligned face; v is up on walls."""
    return torch.where(axis == 0, p[2], p[0]), torch.where(axis == 1, p[2], p[1])


def _lighting(
    scene: Scene,
    shapes: _Shapes,
    point: Tensor,
    normal: Tensor,
    direction: Tensor,
    hits: Tensor,
    size: int,
    gloss: Tensor,
) -> tuple[Tensor, Tensor]:
    """Light that falls on every pixel ``(3, T, 256)``, and the highlights."""
    device = point.device
    half = torch.tensor(scene.half_m, dtype=torch.float32, device=device)
    above = torch.tensor(scene.ambient[0], device=device)[:, None, None]
    below = torch.tensor(scene.ambient[1], device=device)[:, None, None]
    p = point.clone()
    p[1] -= half[1]
    gap = (half[:, None, None] - p.abs()).clamp_min(0.0)
    crevice = (1.0 - 0.45 * torch.exp(gap * -4.5) * (1.0 - normal.abs())).prod(0)
    light = torch.lerp(below, above, 0.5 + 0.5 * normal[1]) * crevice
    shine = torch.zeros_like(light)

    lamps = torch.tensor([lamp.position for lamp in scene.lights], dtype=torch.float32, device=device)
    lifted = point + normal * 0.004
    visible = _visibility(scene, shapes, lamps, lifted, normal, hits, size)
    view = direction / direction.square().sum(0).sqrt()
    for k, lamp in enumerate(scene.lights):
        to = lamps[k][:, None, None] - point
        squared = to.square().sum(0)
        to = to / squared.sqrt()
        lambert = (to * normal).sum(0).clamp_min(0.0)
        strength = visible[k] / (squared + 0.25)
        power = torch.tensor(lamp.power, device=device)[:, None, None]
        light += power * (lambert * strength)
        halfway = to - view
        aligned = ((halfway * normal).sum(0) / halfway.square().sum(0).sqrt().clamp_min(1e-4)).clamp(0.0, 1.0)
        aligned = aligned.square().square().square().square().square()
        shine += power * (aligned * gloss * strength * 0.5)
    return light, shine


def _visibility(
    scene: Scene, shapes: _Shapes, lamps: Tensor, point: Tensor, normal: Tensor, hits: Tensor, size: int
) -> Tensor:
    """Share of each lamp that every pixel sees, ``(lamps, T, 256)``: one shadow ray each, to a jittered lamp point.

    The jitter repeats every 4 x 4 pixels and is averaged away over that window, within the same primitive only.
    """
    device = point.device
    count, tiles = len(lamps), point.shape[1]
    clear = torch.ones((count * tiles, _PIXELS), device=device)
    if shapes.count == 0:
        return clear.view(count, tiles, _PIXELS)
    x, y = _tile_grid(size, device)
    cell = ((x[0].to(torch.int32) & 3) + 4 * (y[0].to(torch.int32) & 3)).to(torch.int64)
    dither = torch.tensor([0, 8, 2, 10, 12, 4, 14, 6, 3, 11, 1, 9, 15, 7, 13, 5], device=device)[cell].to(torch.float32)
    turn = dither * (2.399963)
    spread = ((dither + 0.5) / 16.0).sqrt()
    jitter = torch.stack((spread * torch.cos(turn), (dither * 0.4375 % 1.0) * 2.0 - 1.0, spread * torch.sin(turn)))
    radius = torch.tensor([lamp.radius_m for lamp in scene.lights], device=device)
    pair_tile, pair_primitive, pair_lamp = [], [], []
    low, high = point.amin(2), point.amax(2)
    middle, reach = (low + high) * 0.5, (high - low).square().sum(0).sqrt() * 0.5
    sizes = shapes.half.square().sum(1).sqrt()
    boxed = shapes.matrix.abs().sum(2)
    for k in range(count):
        margin = float(radius[k]) + 0.01
        # The primitive's box must meet the box around lamp and tile, and its ball the cone from lamp to tile.
        first = torch.minimum(low, lamps[k][:, None]) - margin
        last = torch.maximum(high, lamps[k][:, None]) + margin
        meets = shapes.casts[:, None].expand(-1, tiles)
        for axis in range(3):
            at, extent = shapes.centre[:, axis : axis + 1], boxed[:, axis : axis + 1]
            meets = meets & (at + extent > first[axis]) & (at - extent < last[axis])
        along = middle - lamps[k][:, None]
        length = along.square().sum(0).sqrt().clamp_min(1e-3)
        along = along / length
        offset = shapes.centre - lamps[k]
        ahead = offset @ along
        aside = (offset.square().sum(1, keepdim=True) - ahead.square()).clamp_min(0.0).sqrt()
        width = reach * (ahead / length).clamp(0.0, 1.0) + margin
        meets = meets & (aside < width + sizes[:, None])
        facing = (((lamps[k][:, None, None] - point) * normal).sum(0).amax(1)) > -margin
        primitive, tile = torch.nonzero(meets & facing).unbind(1)
        pair_tile.append(tile + k * tiles)
        pair_primitive.append(primitive)
        pair_lamp.append(torch.full_like(tile, k))
    primitive = torch.cat(pair_primitive)
    if primitive.numel() == 0:
        return clear.view(count, tiles, _PIXELS)
    order = torch.argsort(primitive, stable=True)
    bundle, primitive, lamp = torch.cat(pair_tile)[order], primitive[order], torch.cat(pair_lamp)[order]

    # Rays run from a point of the lamp (t = 0) to the seen point (t = 1); each pixel of the 4 x 4 window has its own
    # lamp point, the same in all tiles.
    rays = torch.cat([
        point - lamps[k][:, None, None] - jitter[:, None, :] * radius[k] for k in range(count)
    ], dim=1)  # fmt: skip
    for block, _, near in _intersect(shapes, bundle, primitive, lamps, rays, (lamp, jitter, radius)):
        pair, pixel = torch.nonzero(near < 0.9995).unbind(1)
        clear[block[pair], pixel] = 0.0
    return _average_jitter(clear.view(count, tiles, _PIXELS), normal, hits, size)


def _average_jitter(clear: Tensor, normal: Tensor, hits: Tensor, size: int) -> Tensor:
    """Mean over 4 pixels along each axis, among pixels of the same primitive and nearly the same normal."""
    side = size // TILE_PX
    image, facing, owner = _to_image(clear, side), _to_image(normal, side), _to_image(hits[None], side)[0]
    for dim in (2, 1):
        total, weight = image * 0.25, torch.full((size, size), 0.25, device=image.device)
        for shift in (1, 2):
            keep = size - shift
            alike = owner.narrow(dim - 1, 0, keep) == owner.narrow(dim - 1, shift, keep)
            alike &= (facing.narrow(dim, 0, keep) * facing.narrow(dim, shift, keep)).sum(0) > 0.9
            share = alike.to(torch.float32) * (0.25 if shift == 1 else 0.125)
            total.narrow(dim, 0, keep).add_(share * image.narrow(dim, shift, keep))
            total.narrow(dim, shift, keep).add_(share * image.narrow(dim, 0, keep))
            weight.narrow(dim - 1, 0, keep).add_(share)
            weight.narrow(dim - 1, shift, keep).add_(share)
        image = total / weight
    return _to_tiles(image)


def _material_table(scene: Scene, device: torch.device) -> MaterialTable:
    rows = scene.materials

    def column(values: list[float]) -> Tensor:
        return torch.tensor(values, dtype=torch.float32, device=device)

    return MaterialTable(
        pattern=torch.tensor([PATTERN_INDEX[m.pattern] for m in rows], device=device),
        colour=torch.tensor([m.colours for m in rows], dtype=torch.float32, device=device),
        period_m=column([m.period_m for m in rows]),
        angle=column([m.angle for m in rows]),
        duty=column([m.duty for m in rows]),
        salt=torch.tensor([m.salt for m in rows], dtype=torch.int32, device=device),
        gloss=column([m.gloss for m in rows]),
        emission=column([m.emission for m in rows]),
    )


def _develop(scene: Scene, linear: Tensor, size: int) -> Tensor:
    """Exposure, white balance, vignetting, the lens's slight blur, tone curve, noise: linear light to uint8 sRGB."""
    device = linear.device
    y, x = torch.meshgrid(*(torch.linspace(-1.0, 1.0, size, device=device),) * 2, indexing="ij")
    linear = linear * torch.tensor(scene.white_balance, device=device)[:, None, None]
    mean = linear.mean(0).clamp_max(4.0).mean().clamp_min(1e-4)
    linear = linear * (scene.exposure / mean)
    if scene.vignette:
        linear = linear * (1.0 - 0.5 * scene.vignette * (x * x + y * y))
    tone = 1.0 - torch.exp(-1.35 * linear)
    tone = torch.lerp(tone, tone * tone * (3.0 - 2.0 * tone), 0.35)
    for dim in (1, 2):
        padded = torch.cat((tone.narrow(dim, 0, 1), tone, tone.narrow(dim, size - 1, 1)), dim)
        tone = 0.74 * tone + 0.13 * (padded.narrow(dim, 0, size) + padded.narrow(dim, 2, size))
    image = tone.clamp(0.0, 1.0).pow(scene.contrast / 2.2)
    if scene.noise:
        ix = torch.arange(size * size, dtype=torch.int32, device=device).view(size, size)
        salt = int(scene.seed) % (1 << 30)
        first = torch.stack([hash01(ix, ix + c, salt + 11 * c) for c in range(3)])
        grain = first + torch.stack([hash01(ix, ix - c, salt + 5 + 11 * c) for c in range(3)])
        image = image + (grain - 1.0) * (2.45 * scene.noise)
    return (image * 255.0).round().clamp(0, 255).to(torch.uint8)
