"""Makes ``version_2.json``: files of format version 2, whole as bytes, and what each says. Run once::

    python tests/golden/make_version_2.py

They are never made again. They are containers: their segments are arbitrary bytes, which no weights decode.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from random import Random

from atdc.bitstream.container import Container, Header, Segment, pack
from atdc.graph.task_graph import TaskGraph

PATH = Path(__file__).parent / "version_2.json"
PAIR = TaskGraph(((1,), ()))
FOUR_LAYERS = TaskGraph(((5,), (0, 5), (), (2,), (0, 1, 3), ()))
WIDE = TaskGraph(tuple(tuple(sorted({task // 2, task - 3})) if task > 3 else () for task in range(40)))
IMAGE = {"kind": "image", "height": 101, "width": 37}
FEATURES = {"kind": "features", "height": 0, "width": 0}
SOME = {"tensor_count": 6, "present": (1, 4), "graph": PAIR}

HEADERS = {
    "two of six": {**IMAGE, **SOME, "qualities": (32, 32)},
    "two of six, square, compact": {**IMAGE, **SOME, "width": 101, "qualities": (0, 56), "profile": "compact"},
    "one of six": {**IMAGE, "tensor_count": 6, "present": (5,), "qualities": (8,), "graph": TaskGraph(((),))},
    "a grid each": {**FEATURES, **SOME, "qualities": (32, 40), "grids": ((33, 33), (80, 60))},
    "one grid for both": {**FEATURES, **SOME, "qualities": (1, 1), "grids": ((6, 160), (6, 160))},
    "grids from the weights": {**FEATURES, **SOME, "qualities": (1, 2)},
    "all of features, grids apart": {
        **FEATURES, "qualities": (7,) * 6, "graph": 3,
        "grids": ((16, 16), (16, 16), (33, 33), (16, 16), (24, 80), (80, 24)),
    },
    "all of features, grids from the weights, compact": {
        **FEATURES, "qualities": (7,) * 6, "graph": FOUR_LAYERS, "profile": "compact",
    },
    "all of an image, one grid": {
        **IMAGE, "qualities": (0, 56, 31, 8, 8, 47), "graph": FOUR_LAYERS, "grids": ((9, 1),),
    },
    "a mask of two bytes": {
        **IMAGE, "tensor_count": 9, "present": (0, 7, 8), "qualities": (5, 5, 6), "graph": TaskGraph(((2,), (0,), ())),
    },
    "forty of sixty-four": {
        **FEATURES, "tensor_count": 64, "present": tuple(range(12, 32)) + tuple(range(44, 64)), "qualities": (32,) * 40,
        "graph": WIDE, "grids": ((20, 20),) * 40,
    },
    "the most tensors": {**FEATURES, "qualities": (32,) * 64, "graph": 200},
}  # fmt: skip


def said(header: Header, segments: tuple[Segment, ...]) -> dict[str, object]:
    """What a reader must say of a file."""
    graph = header.graph
    return {
        "version": header.version,
        "profile": header.profile,
        "kind": header.kind,
        "fingerprint": header.fingerprint.hex(),
        "tensors": header.tensor_count,
        "present": header.present,
        "grids": header.grids,
        "height": header.height,
        "width": header.width,
        "qualities": header.qualities,
        "graph": graph.parents if isinstance(graph, TaskGraph) else graph,
        "segments": [(segment.data.hex(), segment.symbol_check) for segment in segments],
    }


def main() -> None:
    """Writes the file."""
    random, golden = Random(3), {}
    for name, fields in HEADERS.items():
        header = Header(**{"fingerprint": b"\x00\xc0\xff\xee", "profile": "segments", **fields})
        count = 1 if header.profile == "compact" else header.present_count
        segments = tuple(Segment(random.randbytes(place % 4), random.getrandbits(16)) for place in range(count))
        graph, says = header.graph, said(header, segments)
        if header.profile == "segments" and isinstance(graph, TaskGraph):
            says["places"] = header.places(graph)
        golden[name] = {"file": pack(Container(header, segments)).hex(), "says": says}
    lines = ",\n".join(f' "{name}": {json.dumps(entry)}' for name, entry in golden.items())
    PATH.write_text(f"{{\n{lines}\n}}\n", encoding="utf-8")


if __name__ == "__main__":
    if PATH.exists():
        sys.exit("the golden files are there, and stay as they are; see the top of this file")
    main()
