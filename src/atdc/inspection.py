"""What a file says about itself, with and without the weights that wrote it. Nothing here imports torch."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass

from atdc.bitstream.container import ContainerReader
from atdc.bitstream.sources import BytesSource, Source
from atdc.config import QUALITY_STEPS_PER_UNIT
from atdc.graph.task_graph import TaskGraph
from atdc.integer_codec import IntegerReader


@dataclass(frozen=True, slots=True)
class Inspection:
    """What a file says about itself.

    Attributes:
        bytes: its length.
        bpp: bits per pixel of the image, ``8 * bytes / (height * width)``; per position for bare features.
        ideal_bits: −Σ log₂ of the probabilities the range coder was given; None without the weights.
        quality: 0 to 7 by task; tasks have numbers for names without the weights.
        graph: child to parents; None where the file names a graph of the weights' list and they are not at hand.
        graph_number: the graph's number in the weights' list; None for a graph that is spelled out.
        tasks: by task, the segment's ``bytes`` (profile ``segments``) and ``ideal_bits`` (with the weights).
        framing_bytes: what is not range-coded.
        height: of the image, pixels; or of the features.
        width: likewise.
        kind: ``image`` or ``features``.
        profile: ``compact`` or ``segments``.
        fingerprint: of the weights that can read it, hexadecimal.
        version: of the format.
    """

    bytes: int
    bpp: float
    ideal_bits: float | None
    quality: dict[str, float]
    graph: dict[str, list[str]] | None
    graph_number: int | None
    tasks: dict[str, dict[str, float]]
    framing_bytes: int
    height: int
    width: int
    kind: str
    profile: str
    fingerprint: str
    version: int

    def to_json(self) -> str:
        """The same as JSON text."""
        return json.dumps(dataclasses.asdict(self), indent=1)


def inspect(source: Source | bytes, integers: IntegerReader | None = None) -> Inspection:
    """Sizes, qualities and graph of a file.

    Args:
        source: the file. Without its weights only its head is read.
        integers: of the weights that the file names: tasks and graph get their names, and ideal bits are counted.

    Raises:
        BitstreamError: not an ATDC file, or damaged.
    """
    source = BytesSource(source) if isinstance(source, bytes) else source
    reader = ContainerReader(source)
    header = reader.header
    names = [str(task) for task in range(header.task_count)]
    graph = header.graph if isinstance(header.graph, TaskGraph) else None
    bits = None
    if integers is not None and integers.fingerprint == header.fingerprint:
        decoded = integers.read(source)
        names, graph, bits = list(integers.task_names), decoded.graph, decoded.bits
    tasks: dict[str, dict[str, float]] = {name: {} for name in names}
    for index, name in enumerate(names):
        if header.profile == "segments":
            tasks[name]["bytes"] = reader.lengths[index]
        if bits is not None:
            tasks[name]["ideal_bits"] = round(float(bits[index]), 2)
    size = source.size()
    return Inspection(
        bytes=size,
        bpp=8 * size / (header.height * header.width),
        ideal_bits=None if bits is None else round(float(bits.sum()), 2),
        quality={name: step / QUALITY_STEPS_PER_UNIT for name, step in zip(names, header.qualities, strict=True)},
        graph=None
        if graph is None
        else {names[child]: [names[p] for p in parents] for child, parents in enumerate(graph.parents)},
        graph_number=None if isinstance(header.graph, TaskGraph) else header.graph,
        tasks=tasks,
        framing_bytes=size - sum(reader.lengths),
        height=header.height,
        width=header.width,
        kind=header.kind,
        profile=header.profile,
        fingerprint=header.fingerprint.hex(),
        version=header.version,
    )
