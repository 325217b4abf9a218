"""Valid files of random content, and a codec so tiny that a thousand of them take a second. Nothing here needs torch.

The symbols of a file come from a coder, like a reader's: drawn at random, or read from another file. What the model
says of them follows from the symbols themselves, so whatever is drawn makes a file that a writer could have written.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from atdc.bitstream.container import Container, Header, Segment, graph_code, pack
from atdc.bitstream.layout import KINDS, MAX_QUALITY_STEP, PLAIN_PROFILES, has_one_size
from atdc.bitstream.symbols import SymbolReader, SymbolWriter
from atdc.entropy.coder import EntropyCoder, SymbolCoder
from atdc.entropy.integer import Integers
from atdc.entropy.model import LATENT_LIMIT, EntropyModel, TaskEntropy
from atdc.entropy.tables import SYMBOL_LIMIT, FrequencyTables
from atdc.graph.task_graph import TaskGraph
from atdc.reader import IntegerReader, combined_check
from atdc.tensors import FeatureSet, Grid, TensorSpec

_Symbols = NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Sample:
    """A valid file and what it says.

    Attributes:
        data: the file.
        container: what was packed into it.
        latents: by task, as a reader decodes them.
    """

    data: bytes
    container: Container
    latents: dict[int, Integers]


class RandomSymbols:
    """A coder that draws symbols as often as their tables expect them, now and then an extreme one.

    Args:
        tables: the probability tables.
        random: where chance comes from.
        wild: share of symbols that are drawn from the edges of what can be coded instead.

    >>> symbol_coder = RandomSymbols(FrequencyTables.gaussian([0.5]), np.random.default_rng(0), wild=0.2)
    >>> symbol_coder.code(0, 0, None, np.zeros(10, np.uint8)).dtype.name
    'int32'
    """

    def __init__(self, tables: FrequencyTables, random: np.random.Generator, wild: float = 0.0) -> None:
        self._radius, self._random, self._wild = tables.radius, random, wild
        self._cumulative = np.cumsum(tables.frequencies, axis=1)

    def code(self, image: int, task: int, symbols: _Symbols | None, table_index: NDArray[np.uint8]) -> _Symbols:
        """As many symbols as there are tables in ``table_index``."""
        random, count, radius = self._random, len(table_index), self._radius[table_index]
        place = random.integers(0, self._cumulative[0, -1], count)
        drawn = (self._cumulative[table_index] <= place[:, None]).sum(1) - radius
        sign = 1 - 2 * random.integers(0, 2, count)
        beyond = radius + 1 + random.integers(0, 1 << random.integers(0, 9, count))
        drawn = np.where(drawn > radius, sign * beyond, drawn)
        edges = np.array([radius, radius + 1, 0 * radius, 1 << 15 | 0 * radius, SYMBOL_LIMIT - 1 | 0 * radius])
        edge = sign * edges[random.integers(0, len(edges), count), np.arange(count)]
        return np.where(random.random(count) < self._wild, edge, drawn).astype(np.int32)


class Zeros:
    """A coder whose symbols are all 0."""

    def code(self, image: int, task: int, symbols: _Symbols | None, table_index: NDArray[np.uint8]) -> _Symbols:
        """As many zeros as there are tables in ``table_index``."""
        return np.zeros(len(table_index), np.int32)


class LowestSymbols:
    """A coder whose symbols are the smallest that their tables hold: a range coder needs no byte for them."""

    def __init__(self, tables: FrequencyTables) -> None:
        self._radius = tables.radius

    def code(self, image: int, task: int, symbols: _Symbols | None, table_index: NDArray[np.uint8]) -> _Symbols:
        """Minus the radius of each table in ``table_index``."""
        return -self._radius[table_index]


class FromSegments:
    """A coder that reads a file's segments and does not mind what their checks, or left-over bytes, say of them.

    Args:
        reader: of the weights.
        container: the file.

    Raises:
        BitstreamError: the file names a graph that the weights lack.
    """

    def __init__(self, reader: IntegerReader, container: Container) -> None:
        self._symbol_reader, self._segments, self._at = SymbolReader(reader.model.tables), container.segments, -1
        self._places = segment_places(reader, container.header)

    def code(self, image: int, task: int, symbols: _Symbols | None, table_index: NDArray[np.uint8]) -> _Symbols:
        """The next symbols of the task's segment."""
        segment = self._places[task]
        if segment != self._at:
            self._symbol_reader.begin(self._segments[segment].data, f"segment {segment}")
            self._at = segment
        return self._symbol_reader.code(image, task, None, table_index)


def segment_places(reader: IntegerReader, header: Header) -> dict[int, int]:
    """By tensor, where its segment stands in a file; raises :class:`BitstreamError` for a graph the weights lack."""
    return dict(zip(header.present, header.places(header.resolve(reader.listed)), strict=True))


class _Copied:
    """Takes symbols from one coder and hands them to another."""

    def __init__(self, source: SymbolCoder, target: SymbolCoder) -> None:
        self._source, self._target = source, target

    def code(self, image: int, task: int, symbols: _Symbols | None, table_index: NDArray[np.uint8]) -> _Symbols:
        return self._target.code(image, task, self._source.code(image, task, symbols, table_index), table_index)


def write_symbols(reader: IntegerReader, header: Header, source: SymbolCoder) -> Sample:
    """The one file that holds, under a header, the symbols that a coder gives.

    Raises:
        BitstreamError: the header names a graph that the weights lack, or the coder's reason.
    """
    model, present, together = reader.model, header.present, header.profile == "compact"
    count = len(reader.tensors)
    graph = header.resolve(reader.listed).expanded(present, count)
    writing = SymbolWriter(model.tables, 1, count, together)
    steps = np.zeros((1, count), np.int64)
    steps[0, list(present)] = header.qualities
    coder = EntropyCoder(model, _Copied(source, writing), steps, reader.grids(header))
    latents = {}
    for task in graph.order:
        if task in present:
            parents = np.array([[parent in graph.parents[task] for parent in range(count)]])
            latents[task] = coder.code([0], task, parents)
    checks, data = [coder.checks[0, task] for task in present], writing.finish()[0]
    if together:
        segments = [Segment(data[0], combined_check(checks))]
    else:
        places = segment_places(reader, header)
        segments = [Segment(data[task], coder.checks[0, task]) for task in sorted(present, key=places.__getitem__)]
    container = Container(header, tuple(segments))
    return Sample(pack(container), container, latents)


def random_header(reader: IntegerReader, random: np.random.Generator, number: int, sizes: Sequence[int]) -> Header:
    """A header that a writer could write; headers of consecutive numbers differ in profile, kind, graph and qualities,
    and every other sixteen of them are of some tensors only, which is version 2.

    Args:
        reader: of the weights.
        random: where sizes, qualities and graphs come from.
        number: chooses what alternates.
        sizes: of images, in pixels; each side is one of these.
    """
    tensors, count = reader.tensors, len(reader.tensors)
    kind: Literal["image", "features"] = "image" if KINDS[number // 2 % 2] == "image" else "features"
    height, width = (int(side) for side in random.choice(sizes, 2))
    present = tuple(range(count))
    if number // 16 % 2:
        present = tuple(sorted(random.choice(count, int(random.integers(1, count + 1)), replace=False).tolist()))
    whole = len(present) == count
    if kind == "features" and not (whole and len({spec.grid for spec in tensors.tensors}) == 1):
        height, width = min(height, 128), min(width, 128)  # grids that are spelled out are limited together
    grids: list[Grid] = []
    for tensor in present:
        spec = tensors[tensor]
        if spec.grid is None:
            likewise = grids and random.random() < 0.3
            grids.append(grids[-1] if likewise else (int(random.integers(1, 14)), int(random.integers(1, 14))))
        elif isinstance(spec.grid, int) and kind == "features":
            grids.append((max(1, height // spec.grid), max(1, width // spec.grid)))
    if kind == "features":
        height, width = (0, 0)
        if whole and has_one_size(kind, count, grids):
            (height, width), grids = grids[0], []
    size = len(present)
    graph = TaskGraph.unrank(int.from_bytes(random.bytes(64), "big") % TaskGraph.count(size), size)
    if whole and number // 4 % 2:
        graph = reader.listed[int(random.integers(len(reader.listed)))]
    steps = random.integers(0, MAX_QUALITY_STEP + 1, size if number // 8 % 2 else 1).tolist()
    return Header(
        fingerprint=reader.fingerprint, kind=kind,
        profile="compact" if PLAIN_PROFILES[number % 2] == "compact" else "segments", height=height, width=width,
        qualities=tuple(steps * (size // len(steps))), graph=graph_code(graph, reader.listed) if whole else graph,
        tensor_count=count, present=present, grids=tuple(grids),
    )  # fmt: skip


def random_files(
    reader: IntegerReader, count: int, sizes: Sequence[int], seed: int = 0, wild: float = 0.02
) -> list[Sample]:
    """Valid files: most of usual content, every fourth with extreme symbols, every eighth of zeros or without payload.

    >>> files = random_files(tiny_reader(), 4, [64, 128])
    >>> [(file.container.header.profile, file.container.header.kind) for file in files]
    [('segments', 'image'), ('compact', 'image'), ('segments', 'features'), ('compact', 'features')]
    """
    random, tables = np.random.default_rng(seed), reader.model.tables
    files = []
    for number in range(count):
        source: SymbolCoder = RandomSymbols(tables, random, wild if number % 4 == 3 else 0.0)
        if number % 8 == 6:
            source = LowestSymbols(tables) if number % 16 == 6 else Zeros()
        files.append(write_symbols(reader, random_header(reader, random, number, sizes), source))
    return files


def tiny_reader() -> IntegerReader:
    """The reader of weights that are nowhere but here: three tasks, few channels, integers from a fixed seed.

    The list of graphs names one of them twice, which a reader has to know of.

    >>> reader = tiny_reader()
    >>> reader.task_names, reader.model.latent_channels(0)
    (('left', 'middle', 'right'), 3)
    """
    chain, fork = TaskGraph(((), (0,), (0, 1))), TaskGraph(((1,), (), (1,)))
    tensors = FeatureSet.alike(("left", "middle", "right"), 1, 3, 16)
    return _tiny(tensors, (chain, fork, TaskGraph.independent(3), fork), b"tiny")


def tiny_reader_of_any_tensors(*, sees: bool = False) -> IntegerReader:
    """Likewise of five tensors that differ in channels and in what their grids follow from; as `atdc fit` makes them,
    with a spatial context and no symbols in the padding, or without either.

    >>> [spec.grid for spec in tiny_reader_of_any_tensors().tensors.tensors]
    [16, 8, (5, 9), (1, 1), None]
    """
    tensors = FeatureSet((
        TensorSpec("coarse", 1, 16, 3), TensorSpec("fine", 1, 8, 2), TensorSpec("map", 1, (5, 9), 1),
        TensorSpec("whole", 2, (1, 1), 5), TensorSpec("free", 1, None, 3),
    ))  # fmt: skip
    chain = TaskGraph(((), (0,), (1,), (2,), (3,)))
    star = TaskGraph(((4,), (4,), (4,), (4,), ()))
    return _tiny(tensors, (chain, star, TaskGraph.independent(5)), b"see!" if sees else b"any!", sees)


def _tiny(tensors: FeatureSet, listed: tuple[TaskGraph, ...], fingerprint: bytes, sees: bool = False) -> IntegerReader:
    random = np.random.default_rng(0)
    rows = [
        random_entropy(random, len(tensors), width=4, latent=spec.latent_channels, hyper=2, state=2, sees=sees)
        for spec in tensors.tensors
    ]
    tables = FrequencyTables.gaussian([0.15 * 2**step for step in range(7)])
    settings = {"padding": "zero", "spatial_context": "checkerboard"} if sees else {}
    model = EntropyModel(tuple(rows), tables, **settings)
    return IntegerReader(model, listed, tensors, fingerprint)


def random_entropy(
    random: np.random.Generator, tasks: int, *, width: int, latent: int, hyper: int, state: int, sees: bool = False,
    fractions: Sequence[int] = (8,) * 5,
) -> TaskEntropy:  # fmt: skip
    """One task's integers, drawn so that hyper-latents and parents matter; for seven tables.

    Args:
        random: where chance comes from.
        tasks: how many there are.
        width: hidden channels.
        latent: channels of the latent.
        hyper: channels of the hyper-latent.
        state: channels of the state.
        sees: with a spatial context.
        fractions: fractional bits of the weights.
    """
    steps = MAX_QUALITY_STEP + 1
    first, up, mean, scale, own = fractions
    tables = 7

    def weights(reach: float, bits: int, *shape: int) -> NDArray[np.int16]:
        limit = round(reach * (1 << bits))
        return random.integers(-limit, limit + 1, shape).astype(np.int16)

    def biases(reach: float, unit_bits: int, *shape: int) -> NDArray[np.int32]:
        limit = round(reach * (1 << unit_bits))
        return random.integers(-limit, limit + 1, shape).astype(np.int32)

    finer = np.arange(steps)[:, None] * np.ones((1, latent))  # a higher quality has larger latents
    entropy = TaskEntropy(
        fractions=np.array(fractions, np.int32),
        hyper_mean=biases(1, 4, steps, hyper),
        hyper_table=random.integers(0, tables, (steps, hyper)).astype(np.int32),
        first=weights(0.5, first, 3, 3, hyper, width),
        first_bias=biases(1, 4 + first, steps, width),
        parent_bias=biases(1, 4 + first, tasks, width),
        up=weights(0.8, up, 1, 1, width, 4 * width),
        up_bias=biases(0.5, 8 + up, 4 * width),
        parents=weights(0.8, up, tasks, state, width),
        last_mean=weights(0.4, mean, 3, 3, width, latent),
        last_mean_bias=biases(0.5, 8 + mean, latent),
        last_scale=weights(0.3, scale, 3, 3, width, latent),
        last_scale_bias=biases(1, 8 + scale, latent) + (1 << 8 + scale),
        gain=(40_000 + 2_000 * finer).astype(np.int32),
        gain_tables=(finer * ((2 << 8 + scale) / steps)).astype(np.int32),
        own=weights(0.5, own, 3, 3, latent, state),
        hidden=weights(0.3, own, 1, 1, width, state),
        state_bias=biases(0.5, 8 + own, steps, state),
        asinh=np.rint(256 * np.arcsinh(np.arange(-LATENT_LIMIT, LATENT_LIMIT + 1))).astype(np.int16),
    )
    if not sees:
        return entropy
    around, neighbours = weights(0.3, up, 3, 3, latent, width), random.integers(-9000, 9001, (steps, latent))
    return replace(entropy, around=around, neighbours=neighbours.astype(np.int16))
