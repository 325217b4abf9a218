"""``rooms``: procedural indoor scenes with exact ground truth for all six tasks; see ``docs/rooms.md``.

Reading order: ``styles`` (how rooms differ), ``scene`` (what a room is), ``furniture`` (what is in it), ``sample``
(from a seed to a room), ``materials`` (colours), ``render`` (rays), ``targets`` (edges, keypoints), ``store`` (arrays
on disk).
"""

from atdc.data.rooms.render import DEPTH_UNITS_PER_METRE, render_rooms
from atdc.data.rooms.sample import StyleSet, sample_scene
from atdc.data.rooms.store import ROOMS_VERSION, SPLITS, RoomsDataset, RoomsSplit, materialise
from atdc.data.rooms.targets import edge_texture, keypoints2d

__all__ = [
    "DEPTH_UNITS_PER_METRE",
    "ROOMS_VERSION",
    "SPLITS",
    "RoomsDataset",
    "RoomsSplit",
    "StyleSet",
    "edge_texture",
    "keypoints2d",
    "materialise",
    "render_rooms",
    "sample_scene",
]
