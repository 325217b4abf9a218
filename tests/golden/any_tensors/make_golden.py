"""Makes the golden files of any tensors: what the integers of format version 2 are, beyond doubt. Run once::

    python tests/golden/any_tensors/make_golden.py

They are never made again, like those of the folder above. The folder holds weights without networks,
``tiny.safetensors``; files; and what the files say, ``expected.json`` (headers and grids) and ``expected.npz``
(integers, as ``file.tensor``).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType

import numpy as np

from atdc.bitstream.container import Header, graph_code
from atdc.entropy.coder import SymbolCoder
from atdc.entropy.model import EntropyModel
from atdc.entropy.tables import FrequencyTables
from atdc.graph.graph_tables import GraphTables
from atdc.graph.task_graph import TaskGraph
from atdc.tensors import FeatureSet, Grid, TensorSpec
from atdc.weights import ENTROPY_PREFIX, open_weights, weights_bytes
from atdc_bench.experiments.sample_files import LowestSymbols, RandomSymbols, Zeros, random_entropy, write_symbols

HERE = Path(__file__).parent
TENSORS = FeatureSet((
    TensorSpec("a/b", 3, 16, 4), TensorSpec("levels/p3", 2, 8, 3), TensorSpec("map", 1, (5, 9), 2),
    TensorSpec("token", 2, (1, 1), 6), TensorSpec("points", 2, None, 3), TensorSpec("boîte 点", 1, None, 1),
))  # fmt: skip
STRIDE_16, STRIDE_8, MAP, TOKEN, POINTS, BOX = ALL = tuple(range(len(TENSORS)))
CHAIN = TaskGraph(((), (0,), (1,), (2,), (3,), (4,)))
TOP_DOWN = TaskGraph(((3,), (0,), (0,), (), (1, 2), (4,)))
STAR = TaskGraph(((4,), (4,), (4,), (4,), (), (4,)))
LISTED = (TaskGraph.independent(len(TENSORS)), TOP_DOWN, STAR)
SEPARATE = (0, 56, 31, 8, 47, 12)


@dataclass(frozen=True)
class Golden:
    """One file.

    Args:
        name: of the file.
        profile: of the file.
        size: height and width of the image; None of features.
        parents: by tensor, for those that have some; or a number in the list.
        grids: by tensor, those that are spelled out.
        present: the tensors.
        quality: in eighths, for all or by tensor of the file.
        first: the tensors that come first, in the profile `ordered`.
        symbols: ``usual`` ones, some ``wild`` ones among them, ``extreme`` ones alone, ``zeros`` or the ``lowest``.
    """

    name: str
    profile: str
    size: Grid | None
    parents: int | Mapping[int, tuple[int, ...]]
    grids: Mapping[int, Grid] = field(default_factory=dict)
    present: tuple[int, ...] = ALL
    quality: int | tuple[int, ...] = 32
    symbols: str = "usual"
    first: tuple[int, ...] = ()


CHAINED = {tensor: (tensor - 1,) for tensor in ALL[1:]}
EVERYTHING = {tensor: tuple(range(tensor)) for tensor in ALL[1:]}

FILES = (
    Golden("whole", "compact", (101, 37), 1, {POINTS: (7, 3), BOX: (2, 11)}),
    Golden("whole_apart", "segments", (37, 101), CHAINED, {POINTS: (6, 6), BOX: (6, 6)}, quality=SEPARATE),
    Golden(
        "whole_features", "compact", None, 2,
        {STRIDE_16: (4, 6), STRIDE_8: (8, 12), POINTS: (8, 12), BOX: (9, 2)}, quality=SEPARATE,
    ),
    Golden(
        "whole_features_apart", "segments", None, EVERYTHING,
        {STRIDE_16: (3, 5), STRIDE_8: (6, 9), POINTS: (13, 1), BOX: (1, 14)}, quality=17,
    ),
    Golden("constants", "segments", None, {MAP: (TOKEN,)}, present=(MAP, TOKEN)),
    Golden("one_number", "compact", None, {}, present=(TOKEN,), quality=56),
    Golden("one_of_an_image", "segments", (100, 60), {}, present=(STRIDE_16,)),
    Golden("one_spelled_out", "compact", None, {}, {BOX: (10, 7)}, present=(BOX,), quality=0),
    Golden(
        "upwards", "compact", (64, 96), {STRIDE_8: (STRIDE_16,), STRIDE_16: (TOKEN,), POINTS: (STRIDE_8, TOKEN)},
        {POINTS: (11, 17)}, present=(STRIDE_16, STRIDE_8, TOKEN, POINTS),
    ),
    Golden(
        "downwards", "segments", (64, 96), {STRIDE_8: (POINTS,), STRIDE_16: (STRIDE_8, POINTS), TOKEN: (MAP, POINTS)},
        {POINTS: (11, 17)}, present=(STRIDE_16, STRIDE_8, MAP, TOKEN, POINTS), quality=(40, 8, 0, 56, 33),
    ),
    Golden(
        "crosswise", "segments", None, {BOX: (POINTS,), MAP: (POINTS, BOX)}, {POINTS: (3, 20), BOX: (19, 2)},
        present=(MAP, POINTS, BOX), quality=24,
    ),
    Golden(
        "nearly_equal", "compact", None, {STRIDE_8: (STRIDE_16,), BOX: (STRIDE_8, POINTS), POINTS: (STRIDE_16,)},
        {STRIDE_16: (5, 9), STRIDE_8: (6, 10), POINTS: (5, 9), BOX: (5, 10)},
        present=(STRIDE_16, STRIDE_8, POINTS, BOX), quality=(7, 7, 7, 8),
    ),
    Golden("one_pixel", "compact", (1, 1), {STRIDE_16: (MAP,), STRIDE_8: (STRIDE_16,)}, present=(0, 1, 2)),
    Golden("escapes", "compact", (48, 80), CHAINED, {POINTS: (1, 5), BOX: (3, 3)}, quality=SEPARATE, symbols="wild"),
    Golden(
        "extremes", "segments", (33, 17), EVERYTHING, {POINTS: (4, 4), BOX: (9, 4)}, quality=1, symbols="extreme",
    ),
    Golden("zeros", "compact", None, {TOKEN: (MAP,)}, present=(MAP, TOKEN), quality=(9, 10), symbols="zeros"),
    Golden("empty", "segments", (40, 24), 0, {POINTS: (2, 2), BOX: (2, 2)}, quality=20, symbols="lowest"),
)  # fmt: skip


def make_weights(
    folder: Path, settings: Mapping[str, str] = MappingProxyType({}), fractions: Sequence[int] = (8,) * 5
) -> None:
    """The weights file; its settings beside those that all have."""
    random = np.random.default_rng(3)
    rows = [
        random_entropy(
            random,
            len(TENSORS),
            width=6,
            latent=spec.latent_channels,
            hyper=2,
            state=3,
            sees="spatial_context" in settings,
            fractions=fractions,
        )
        for spec in TENSORS.tensors
    ]
    model = EntropyModel(tuple(rows), FrequencyTables.gaussian([0.15 * 2**step for step in range(7)]))
    graph_tables = replace(GraphTables.untrained(len(TENSORS)), listed=LISTED)
    arrays = {f"{ENTROPY_PREFIX}{name}": array for name, array in model.to_arrays().items()}
    card = {"what": "integers drawn at random"}
    (folder / "tiny.safetensors").write_bytes(weights_bytes(dict(settings), TENSORS, graph_tables, card, arrays))


def make_files(folder: Path, files: Sequence[Golden]) -> None:
    """The files and what they say."""
    reader = open_weights(folder / "tiny.safetensors").integers()
    random = np.random.default_rng(4)
    headers, latents = {}, {}
    for golden in files:
        present, whole = golden.present, golden.present == ALL
        if isinstance(golden.parents, int):
            graph = reader.listed[golden.parents]
        else:
            graph = TaskGraph(tuple(golden.parents.get(tensor, ()) for tensor in ALL))
        sent = graph.among(present)
        header = Header(
            fingerprint=reader.fingerprint, kind="features" if golden.size is None else "image",
            profile=golden.profile, height=golden.size[0] if golden.size else 0,
            width=golden.size[1] if golden.size else 0,
            qualities=(golden.quality,) * len(present) if isinstance(golden.quality, int) else golden.quality,
            graph=graph_code(sent, reader.listed) if whole else sent, tensor_count=len(ALL), present=present,
            grids=tuple(golden.grids[tensor] for tensor in present if tensor in golden.grids), first=golden.first,
        )  # fmt: skip
        assert header.version == 2 and isinstance(header.graph, int) == isinstance(golden.parents, int), golden.name
        tables = reader.model.tables
        symbols: dict[str, SymbolCoder] = {
            "usual": RandomSymbols(tables, random), "wild": RandomSymbols(tables, random, 0.1),
            "extreme": RandomSymbols(tables, random, 1.0), "zeros": Zeros(), "lowest": LowestSymbols(tables),
        }  # fmt: skip
        sample = write_symbols(reader, header, symbols[golden.symbols])
        (folder / f"{golden.name}.atdc").write_bytes(sample.data)
        grids = reader.grids(header)
        headers[golden.name] = {
            "bytes": len(sample.data),
            "profile": header.profile,
            "kind": header.kind,
            "height": header.height,
            "width": header.width,
            "present": header.present,
            "spelled_out": header.grids,
            "grids": [grids[tensor] for tensor in present],
            "qualities": header.qualities,
            "listed": header.graph if isinstance(header.graph, int) else None,
            "parents": graph.parents,
            "symbol_checks": [segment.symbol_check for segment in sample.container.segments],
            **({"first": header.first} if header.first else {}),
        }
        latents |= {f"{golden.name}.{task}": array.astype(np.int32) for task, array in sample.latents.items()}
    np.savez_compressed(folder / "expected.npz", **latents)
    lines = ",\n".join(f' "{name}": {json.dumps(header)}' for name, header in headers.items())
    (folder / "expected.json").write_text(f"{{\n{lines}\n}}\n", encoding="utf-8")


if __name__ == "__main__":
    if any(HERE.glob("*.atdc")):
        sys.exit("the golden files are there, and stay as they are; see the top of this file")
    make_weights(HERE)
    make_files(HERE, FILES)
