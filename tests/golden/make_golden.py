"""Makes the golden files: what format version 1 is, beyond doubt. Run once::

    python tests/golden/make_golden.py

They are never made again. A change of the package after which one of them no longer decodes to its integers, or those
are no longer written as its bytes, is a change of the format: it needs a new version number, and golden files of its
own. ``--replace`` is for the time before a version is released.

The folder holds weights without networks, ``tiny.safetensors``; the graphs that they list, ``graphs.json``; files; and
what the files say, ``expected.json`` (headers) and ``expected.npz`` (integers, as ``file.task``).
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from safetensors.numpy import save

from atdc.bitstream.container import Header, graph_code
from atdc.entropy.coder import SymbolCoder
from atdc.entropy.model import EntropyModel
from atdc.entropy.tables import FrequencyTables
from atdc.graph.graph_tables import GraphTables
from atdc.graph.task_graph import TaskGraph
from atdc.tasks import TASK_NAMES
from atdc.weights import ENTROPY_PREFIX, WEIGHTS_FORMAT, open_weights
from atdc_bench.experiments.sample_files import LowestSymbols, RandomSymbols, Zeros, random_entropy, write_symbols

HERE = Path(__file__).parent
TASKS = len(TASK_NAMES)
LISTED = tuple(TaskGraph.unrank(29_077 * number + 1_000_000, TASKS) for number in range(90)) + tuple(
    TaskGraph.unrank(7_919 * number, TASKS, max_parents=2) for number in range(50)
)
"""More than 127, so that some numbers take two bytes; the graph without edges is one of them."""
CHAIN = TaskGraph(((), (0,), (1,), (2,), (3,), (4,)))
EVERYTHING = TaskGraph(((1, 2, 3, 4, 5), (2, 3, 4, 5), (3, 4, 5), (4, 5), (5,), ()))
FORK = TaskGraph(((3,), (3,), (3,), (), (3,), (3, 4)))
SEPARATE = (0, 56, 31, 8, 8, 47)


@dataclass(frozen=True)
class Golden:
    """One file.

    Args:
        name: of the file.
        profile: of the file.
        kind: of the file.
        size: height and width.
        quality: in eighths, for all tasks or for each.
        graph: a number in the list, or a graph that is not in it.
        symbols: ``usual`` ones, some ``wild`` ones among them, ``extreme`` ones alone, ``zeros`` or the ``lowest``.
    """

    name: str
    profile: str
    kind: str
    size: tuple[int, int]
    quality: int | tuple[int, ...]
    graph: int | TaskGraph
    symbols: str = "usual"


FILES = (
    Golden("one_pixel", "compact", "image", (1, 1), 32, 0),
    Golden("one_pixel_apart", "segments", "image", (1, 1), SEPARATE, CHAIN),
    Golden("one_position", "compact", "features", (1, 1), 0, 1),
    Golden("odd", "compact", "image", (101, 37), SEPARATE, 2),
    Golden("odd_apart", "segments", "image", (37, 101), 17, FORK),
    Golden("odd_features", "segments", "features", (5, 7), SEPARATE, 3),
    Golden("square", "compact", "image", (256, 256), 32, 4),
    Golden("square_apart", "segments", "image", (256, 256), 32, 4),
    Golden("square_features", "compact", "features", (16, 16), 56, EVERYTHING),
    Golden("row", "segments", "image", (1, 300), 40, 5),
    Golden("column", "compact", "features", (64, 1), 24, CHAIN),
    Golden("far_in_the_list", "compact", "image", (200, 130), 32, len(LISTED) - 1),
    Golden("zeros", "compact", "image", (64, 64), 32, 6, "zeros"),
    Golden("zeros_apart", "segments", "features", (4, 8), SEPARATE, EVERYTHING, "zeros"),
    Golden("empty", "compact", "features", (8, 12), 20, 8, "lowest"),
    Golden("empty_apart", "segments", "image", (64, 48), SEPARATE, CHAIN, "lowest"),
    Golden("escapes", "compact", "image", (48, 80), SEPARATE, FORK, "wild"),
    Golden("escapes_apart", "segments", "features", (20, 22), 49, 7, "wild"),
    Golden("extremes", "segments", "image", (90, 33), 1, EVERYTHING, "extreme"),
)


def make_weights() -> None:
    """The weights file and the list of graphs."""
    random = np.random.default_rng(1)
    model = EntropyModel(
        tuple(random_entropy(random, TASKS, width=8, latent=4, hyper=2, state=3) for _ in TASK_NAMES),
        FrequencyTables.gaussian([0.15 * 2**step for step in range(7)]),
    )
    graph_tables = replace(GraphTables.untrained(TASKS), listed=LISTED)
    header = {"format": WEIGHTS_FORMAT, "model": {"stride": 16}, "tasks": TASK_NAMES, "book": graph_tables.to_json()}
    arrays = {f"{ENTROPY_PREFIX}{name}": array for name, array in model.to_arrays().items()}
    (HERE / "tiny.safetensors").write_bytes(save(arrays, {"atdc": json.dumps(header)}))
    listed = graph_tables.to_json()["listed"]
    (HERE / "graphs.json").write_text(json.dumps({"listed": listed}, separators=(",", ":")) + "\n", encoding="utf-8")


def make_files() -> None:
    """The files and what they say."""
    reader = open_weights(HERE / "tiny.safetensors").integers()
    random = np.random.default_rng(2)
    headers, latents = {}, {}
    for golden in FILES:
        graph = golden.graph if isinstance(golden.graph, TaskGraph) else reader.listed[golden.graph]
        header = Header(
            fingerprint=reader.fingerprint, kind=golden.kind, profile=golden.profile,
            height=golden.size[0], width=golden.size[1],
            qualities=(golden.quality,) * TASKS if isinstance(golden.quality, int) else golden.quality,
            graph=graph_code(graph, reader.listed),
        )  # fmt: skip
        assert header.graph == golden.graph, f"{golden.name}: the list has it, or has it twice"
        tables = reader.model.tables
        symbols: dict[str, SymbolCoder] = {
            "usual": RandomSymbols(tables, random), "wild": RandomSymbols(tables, random, 0.1),
            "extreme": RandomSymbols(tables, random, 1.0), "zeros": Zeros(), "lowest": LowestSymbols(tables),
        }  # fmt: skip
        sample = write_symbols(reader, header, symbols[golden.symbols])
        (HERE / f"{golden.name}.atdc").write_bytes(sample.data)
        headers[golden.name] = {
            "bytes": len(sample.data),
            "profile": header.profile,
            "kind": header.kind,
            "fingerprint": header.fingerprint.hex(),
            "height": header.height,
            "width": header.width,
            "qualities": header.qualities,
            "listed": header.graph if isinstance(header.graph, int) else None,
            "parents": graph.parents,
            "symbol_checks": [segment.symbol_check for segment in sample.container.segments],
        }
        latents |= {f"{golden.name}.{task}": array.astype(np.int32) for task, array in sample.latents.items()}
    np.savez_compressed(HERE / "expected.npz", **latents)
    lines = ",\n".join(f' "{name}": {json.dumps(header)}' for name, header in headers.items())
    (HERE / "expected.json").write_text(f"{{\n{lines}\n}}\n", encoding="utf-8")


if __name__ == "__main__":
    if any(HERE.glob("*.atdc")) and sys.argv[1:] != ["--replace"]:
        sys.exit("the golden files are there, and stay as they are; see the top of this file")
    make_weights()
    make_files()
