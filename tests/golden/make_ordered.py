"""Makes ``ordered.json``: files of profile ``ordered``, whole as bytes, and what each says. Run once::

    PYTHONPATH=tests python tests/golden/make_ordered.py

They are never made again. They are containers: their segments are arbitrary bytes, which no weights decode.
"""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

from atdc.bitstream.container import Container, Header, Segment, pack
from atdc.graph.task_graph import TaskGraph
from golden.make_version_2 import said

PATH = Path(__file__).parent / "ordered.json"
GRAPH = TaskGraph(((3,), (2,), (5,), (), (3, 0), (3,)))
IMAGE = {"kind": "image", "height": 101, "width": 37, "qualities": (32,) * 6}
FEATURES = {"kind": "features", "height": 0, "width": 0}
WIDE = TaskGraph(tuple(tuple(sorted({task // 2, task - 3})) if task > 3 else () for task in range(40)))

HEADERS = {
    "one of all first": {**IMAGE, "graph": GRAPH, "first": (3,)},
    "a chain first, qualities apart": {**IMAGE, "graph": GRAPH, "first": (2, 3, 5), "qualities": (1, 2, 3, 4, 5, 6)},
    "all but one first, a listed graph": {**IMAGE, "graph": 3, "first": (0, 1, 2, 3, 4)},
    "one of two of six": {
        **FEATURES, "tensor_count": 6, "present": (1, 4), "qualities": (32, 40), "grids": ((33, 33), (80, 60)),
        "graph": TaskGraph(((1,), ())), "first": (4,),
    },
    "all of features, one grid for all": {
        **FEATURES, "qualities": (7,) * 3, "graph": TaskGraph(((), (0,), (0, 1))), "grids": ((5, 4),) * 3,
        "first": (0, 1),
    },
    "four of forty, a mask of five bytes": {
        **FEATURES, "tensor_count": 64, "present": tuple(range(12, 32)) + tuple(range(44, 64)), "qualities": (32,) * 40,
        "graph": WIDE, "first": (12, 13, 14, 16),
    },
}  # fmt: skip


def main() -> None:
    """Writes the file."""
    random, golden = Random(4), {}
    for name, fields in HEADERS.items():
        header = Header(**{"fingerprint": b"\x00\xc0\xff\xee", "profile": "ordered", **fields})
        segments = tuple(
            Segment(random.randbytes(place % 4), random.getrandbits(16)) for place in range(header.present_count)
        )
        graph, says = header.graph, said(header, segments) | {"first": header.first}
        if isinstance(graph, TaskGraph):
            says["places"] = header.places(graph)
        golden[name] = {"file": pack(Container(header, segments)).hex(), "says": says}
    lines = ",\n".join(f' "{name}": {json.dumps(entry)}' for name, entry in golden.items())
    PATH.write_text(f"{{\n{lines}\n}}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
