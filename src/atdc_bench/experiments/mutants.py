"""Damaged files: valid ones changed in one place or a few, mostly under checks that fit what they stand over.

A check refuses nearly all damage before anything else sees it. So a file is taken apart into its fields, one of them is
changed, and the checks are computed again: what is tried then is all that stands behind the checks. Four ways to
damage, chosen by :func:`mutant`:

* ``file``: any bytes of the whole file, checks left as they are;
* ``field``: a field of the header or of the table gets a value from the edges of what it can hold, or beyond; or the
  header is written as that of the other version;
* ``payload``: the bytes of a segment; payload checks fit, symbol checks are as they were;
* ``symbol check``: likewise, and symbol checks fit, too; or ``rewritten``: the segments are what a writer makes of the
  symbols in the damaged bytes, so that the file is valid.
"""

from __future__ import annotations

import binascii
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random

from atdc.bitstream.container import Container, ContainerReader, Header, Segment, pack, unpack
from atdc.bitstream.layout import MAX_QUALITY_STEP, MAX_TASKS, TABLES, number_bytes, rank_bytes
from atdc.graph.task_graph import TaskGraph
from atdc.reader import IntegerReader
from atdc.tensors import Grid
from atdc_bench.experiments.sample_files import FromSegments, Sample, write_symbols


@dataclass(frozen=True, slots=True)
class Limits:
    """What a reader is told to hold at most.

    Attributes:
        pixels: of an image.
        positions: of bare features.
    """

    pixels: int = 1 << 16
    positions: int = 1 << 10


@dataclass(frozen=True, slots=True)
class Mutant:
    """A damaged file.

    Attributes:
        mutation: what was done, in a word or two.
        data: the file.
        sample: the valid file it was made from; the same bytes say the same.
    """

    mutation: str
    data: bytes
    sample: Sample


@dataclass(slots=True)
class Parts:
    """A file taken apart; :meth:`join` computes its checks.

    Attributes:
        header: what it says before anything is changed.
        fields: the header's bytes by field, in order.
        segments: by place, or one for all.
        symbol_checks: as many.
        compact: which profile follows the header, whatever the header says.
        lengths: the table's lengths as they are written; those of the segments if None.

    >>> from atdc_bench.experiments.sample_files import random_files, tiny_reader
    >>> for sample in random_files(tiny_reader(), 2, [64]):
    ...     Parts.of(sample.container).join() == sample.data
    True
    True
    """

    header: Header
    fields: dict[str, bytes]
    segments: list[bytes]
    symbol_checks: list[int]
    compact: bool
    lengths: list[bytes] | None = None

    @classmethod
    def of(cls, container: Container) -> Parts:
        """The parts of a file."""
        return cls(
            container.header,
            header_fields(container.header, container.header.version),
            [segment.data for segment in container.segments],
            [segment.symbol_check for segment in container.segments],
            container.header.profile == "compact",
        )

    def join(self) -> bytes:
        """The file, under checks that fit."""
        head = b"".join(self.fields.values())
        body = b"".join(self.segments)
        checks = [check.to_bytes(2, "big") for check in self.symbol_checks]
        if self.compact:
            head += checks[0] if checks else b""
            return head + binascii.crc_hqx(body, binascii.crc_hqx(head, 0)).to_bytes(2, "big") + body
        lengths = [number_bytes(len(segment)) for segment in self.segments] if self.lengths is None else self.lengths
        for length, segment, check in zip(lengths, self.segments, checks, strict=False):
            head += length + binascii.crc_hqx(segment, 0).to_bytes(2, "big") + check
        return head + zlib.crc32(head).to_bytes(4, "big") + body


def header_fields(header: Header, version: int) -> dict[str, bytes]:
    """A header's bytes by field, in file order, as a version lays them out."""
    values = {
        "form": (header.profile, header.kind), "fingerprint": header.fingerprint, "tasks": header.tensor_count,
        "tensors": header.tensor_count, "mask": header.present, "height": header.height, "width": header.width,
        "grids": header.grids, "quality": header.qualities, "graph": header.graph,
        "first": header.first,
    }  # fmt: skip
    return {field.name: field.write(values) for field in TABLES[version]}


def mutant(reader: IntegerReader, samples: Sequence[Sample], random: Random, limits: Limits) -> Mutant:
    """A damaged file; now and then one that is as it was.

    Args:
        reader: of the weights; it says which symbols are in damaged bytes.
        samples: what to damage.
        random: all chance comes from here.
        limits: of the reader.
    """
    sample, donor_sample = random.choice(samples), random.choice(samples)
    way = random.random()
    if way < 0.01:
        return Mutant("none", sample.data, sample)
    if way < 0.25:
        name = random.choice(_BYTE_NAMES)
        return Mutant(f"file: {name}", BYTE_MUTATIONS[name](random, sample.data, donor_sample.data), sample)
    parts = Parts.of(sample.container)
    if way < 0.55:
        names = _FIELD_NAMES[parts.header.version]
        name = random.choice(names)
        FIELD_MUTATIONS[name](random, parts, Parts.of(donor_sample.container), reader)
        if random.random() < 0.1:  # two fields that are wrong together
            FIELD_MUTATIONS[random.choice(names)](random, parts, Parts.of(donor_sample.container), reader)
        return Mutant(f"field: {name}", parts.join(), sample)
    name = random.choice(_BYTE_NAMES)
    index = random.randrange(len(parts.segments))
    donor = random.choice(donor_sample.container.segments).data
    parts.segments[index] = BYTE_MUTATIONS[name](random, parts.segments[index], donor)
    data = parts.join()
    if way < 0.95:
        return Mutant(f"payload: {name}", data, sample)
    repaired = with_symbol_checks(reader, data, limits)
    if repaired is None:
        return Mutant(f"payload: {name}", data, sample)
    fitting, valid = repaired
    if way < 0.975:
        return Mutant(f"symbol check: {name}", fitting, sample)
    return Mutant(f"rewritten: {name}", valid.data, valid)


def with_symbol_checks(reader: IntegerReader, data: bytes, limits: Limits) -> tuple[bytes, Sample] | None:
    """A file with symbol checks that fit, and the valid file of the same symbols.

    Args:
        reader: of the weights.
        data: a file whose other checks fit.
        limits: of the reader.

    Returns:
        The file as it is but for its symbol checks, and what a writer makes of the symbols in it; None if its bytes
        stand for no symbols.
    """
    try:
        container = unpack(data, pixel_limit=limits.pixels, position_limit=limits.positions)
        valid = write_symbols(reader, container.header, FromSegments(reader, container))
    except Exception:  # whatever goes wrong with these bytes goes wrong once more, and counts, when they are read
        return None
    pairs = zip(container.segments, valid.container.segments, strict=True)
    fitting = Container(container.header, tuple(Segment(old.data, new.symbol_check) for old, new in pairs))
    return pack(fitting), valid


def untouched(reader: ContainerReader, sample: Sample, graph: TaskGraph, places: Mapping[int, int]) -> list[int]:
    """The tasks of a damaged file that decode as they did: header, own segment and ancestors' segments unchanged.

    Args:
        reader: of the damaged file, of profile ``segments``.
        sample: what it was made from.
        graph: of both, over all tensors of the model.
        places: where the sample's segments stand, by task.
    """
    if reader.header != sample.container.header:
        return []
    same = []
    for index, segment in enumerate(sample.container.segments):
        try:
            same.append(reader.segment(index) == segment)
        except Exception:  # refused, or a defect that shows when the file is decoded
            same.append(False)
    return [task for task in places if all(same[places[needed]] for needed in graph.closure([task]))]


# --- any bytes -------------------------------------------------------------------------------------------------------


def _place(random: Random, data: bytes) -> tuple[int, int]:
    """A range of at least one byte, short or long; an empty one if there are no bytes."""
    if not data:
        return 0, 0
    start = random.randrange(len(data))
    return start, start + random.randint(1, min(len(data) - start, 1 << random.randrange(9)))


def _bit_flip(random: Random, data: bytes, donor: bytes) -> bytes:
    if not data:
        return random.randbytes(1)
    place = random.randrange(len(data))
    return data[:place] + bytes([data[place] ^ 1 << random.randrange(8)]) + data[place + 1 :]


def _byte_change(random: Random, data: bytes, donor: bytes) -> bytes:
    if not data:
        return b"\0"
    place = random.randrange(len(data))
    return data[:place] + random.choice((b"\0", b"\xff", b"\x80", b"\x7f", random.randbytes(1))) + data[place + 1 :]


def _random_bytes(random: Random, data: bytes, donor: bytes) -> bytes:
    start, end = _place(random, data)
    return data[:start] + random.randbytes(end - start) + data[end:]


def _other_bytes(random: Random, data: bytes, donor: bytes) -> bytes:
    return random.choice((random.randbytes(random.randrange(80)), bytes(random.randrange(80)), donor, b""))


def _truncation(random: Random, data: bytes, donor: bytes) -> bytes:
    return data[: random.randrange(max(1, len(data)))]


def _extension(random: Random, data: bytes, donor: bytes) -> bytes:
    count = random.choice((1, 1, 2, 4, 8, 300))
    return data + random.choice((bytes(count), b"\xff" * count, random.randbytes(count), donor))


def _deletion(random: Random, data: bytes, donor: bytes) -> bytes:
    start, end = _place(random, data)
    return data[:start] + data[end:]


def _insertion(random: Random, data: bytes, donor: bytes) -> bytes:
    start, _ = _place(random, data)
    return data[:start] + random.randbytes(random.randrange(1, 9)) + data[start:]


def _duplication(random: Random, data: bytes, donor: bytes) -> bytes:
    start, end = _place(random, data)
    return data[:end] + data[start:end] + data[end:]


def _splice(random: Random, data: bytes, donor: bytes) -> bytes:
    return data[: random.randrange(len(data) + 1)] + donor[random.randrange(len(donor) + 1) :]


BYTE_MUTATIONS: dict[str, Callable[[Random, bytes, bytes], bytes]] = {
    "bit flip": _bit_flip,
    "byte change": _byte_change,
    "random bytes": _random_bytes,
    "other bytes": _other_bytes,
    "truncation": _truncation,
    "extension": _extension,
    "deletion": _deletion,
    "insertion": _insertion,
    "duplication": _duplication,
    "splice": _splice,
}
"""By name; each takes chance, the bytes and another file's, and gives new bytes."""
_BYTE_NAMES = tuple(BYTE_MUTATIONS)


# --- fields ----------------------------------------------------------------------------------------------------------

_FieldMutation = Callable[[Random, Parts, Parts, IntegerReader], None]

_BROKEN_NUMBERS = (
    b"\x80\x80\x80\x80\x10", b"\xff\xff\xff\xff\x7f", b"\xff" * 6, b"\x80" * 9 + b"\1", b"\x80\0", b"\x81\0",
    b"\xff\x80\0", b"\x80\x80\x80\x80\0", b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
)  # fmt: skip
"""2³² and more, without end, or longer than need be."""


def _number(random: Random, usual: Sequence[int]) -> bytes:
    """A varint of a usual value, an unusual one, or a broken varint."""
    way = random.random()
    if way < 0.6:
        return number_bytes(random.choice(usual))
    if way < 0.8:
        bit = random.randrange(33)
        return number_bytes(min((1 << 32) - 1, max(0, (1 << bit) + random.randint(-1, 1))))
    return random.choice(_BROKEN_NUMBERS)


def _magic(random: Random, parts: Parts, donor: Parts, reader: IntegerReader) -> None:
    parts.fields["magic"] = random.choice((b"", b"ATD", b"atdc", b"ATDC\n", b"\x89PNG", b"\xff\xd8\xff\xe0", bytes(4)))


def _form(random: Random, parts: Parts, donor: Parts, reader: IntegerReader) -> None:
    form = parts.fields["form"][0]
    new = random.choice((form ^ 1, form ^ 2, form ^ 3, form ^ 1 << random.randrange(8), random.randrange(256)))
    parts.fields["form"] = bytes([new])
    if random.random() < 0.5:  # laid out as the header now says
        parts.compact = new >> 1 & 7 == 1
        _fit(random, parts, 1 if parts.compact else parts.header.present_count)


def _fingerprint(random: Random, parts: Parts, donor: Parts, reader: IntegerReader) -> None:
    parts.fields["fingerprint"] = random.choice(
        (_bit_flip(random, reader.fingerprint, b""), random.randbytes(4), bytes(4), reader.fingerprint[:3], b"")
    )


def _tasks(random: Random, parts: Parts, donor: Parts, reader: IntegerReader) -> None:
    tasks = len(reader.task_names)
    count = random.choice((0, 1, tasks - 1, tasks + 1, 2 * tasks, 24, 25, MAX_TASKS, MAX_TASKS + 1, 1 << 16))
    of_version_2 = parts.header.version == 2
    parts.fields["tensors" if of_version_2 else "tasks"] = (
        number_bytes(count) if random.random() < 0.7 else _number(random, (tasks,))
    )
    if of_version_2:
        if random.random() < 0.7:
            parts.fields["mask"] = parts.fields.get("mask", b"\1")[:1] + bytes(max(0, (count + 7) // 8 - 1))
    elif random.random() < 0.7 and count <= MAX_TASKS + 1:
        graph = random.choice((number_bytes(1), bytes(1 + rank_bytes(count) if 1 <= count <= 24 else 1 + count)))
        parts.fields["graph"] = graph
        if not parts.compact:
            _fit(random, parts, count)


def _fit(random: Random, parts: Parts, count: int) -> None:
    """As many segments as wanted, new ones empty or copies, surplus ones joined to the last."""
    while len(parts.segments) < count:
        parts.segments.append(random.choice((b"", *parts.segments[:1])))
        parts.symbol_checks.append(0)
    if 0 < count < len(parts.segments):
        parts.segments[count - 1 :] = [b"".join(parts.segments[count - 1 :])]
        del parts.symbol_checks[count:]


def _mask(random: Random, parts: Parts, donor: Parts, reader: IntegerReader) -> None:
    """Other tensors than those in the file; mostly, all that goes by their number then fits the mask."""
    present, tensors = set(parts.header.present), parts.header.tensor_count
    chosen = random.choice((
        present ^ {random.randrange(tensors)}, present ^ {random.randrange(tensors)}, set(range(tensors)), set(),
        set(range(tensors)) - present, {random.randrange(tensors)}, present | {tensors}, set(donor.header.present),
    ))  # fmt: skip
    size, bits = (tensors + 7) // 8, sum(1 << tensor for tensor in chosen)
    parts.fields["mask"] = random.choice((
        *[(bits % (1 << 8 * size)).to_bytes(size, "little")] * 8, bits.to_bytes(size + 1, "little"), b"",
        random.randbytes(size),
    ))  # fmt: skip
    if random.random() < 0.7 and chosen:
        count = len(chosen)
        parts.fields["quality"] = bytes([random.randrange(MAX_QUALITY_STEP + 1)])
        parts.fields["graph"] = bytes(1) + random.randrange(TaskGraph.count(count)).to_bytes(rank_bytes(count), "big")
        if not parts.compact:
            _fit(random, parts, count)
        if random.random() < 0.5:
            parts.fields["grids"] = _grid_bytes([_small_grid(random) for _ in range(random.randint(0, count))])


def _grids(random: Random, parts: Parts, donor: Parts, reader: IntegerReader) -> None:
    """One grid more or less, or another one; as large as grids may be, or a little more; or written otherwise."""
    grids = list(parts.header.grids)
    place = random.randrange(len(grids) + 1)
    edges = ((1, 1 << 10), (1 << 10, 1), (1, (1 << 10) + 1), (32, 32), (33, 32), (1 << 16, 1 << 16), (1, (1 << 32) - 1))
    changed = random.choice((
        grids[1:], grids[:-1], grids[::-1], [*grids, *grids[-1:]], [*grids, _small_grid(random)],
        [*grids[:place], _small_grid(random), *grids[place + 1 :]],
        [*grids[:place], random.choice(edges), *grids[place + 1 :]], [_small_grid(random)] * parts.header.present_count,
        list(donor.header.grids),
    ))  # fmt: skip
    count, body = number_bytes(len(changed)), _grid_bytes(changed)[1:]
    square = number_bytes(random.randint(1, 9)) * 2
    parts.fields["grids"] = random.choice((
        *[count + body] * 6, number_bytes(len(changed) + 1) + body, number_bytes(max(0, len(changed) - 1)) + body,
        b"".join([count, *(number_bytes(height) + number_bytes(width) for height, width in changed)]),
        b"\1\0", b"\1" + square, b"\2" + b"\4\0" * 2, b"\2\4\0\0", b"\1\4" + _number(random, _SIDES),
        _number(random, (0, 1, parts.header.present_count, parts.header.present_count + 1)) + body,
    ))  # fmt: skip


def _grid_bytes(grids: Sequence[Grid]) -> bytes:
    field = next(field for field in TABLES[2] if field.name == "grids")
    return field.write({"grids": tuple(grids)})


def _small_grid(random: Random) -> Grid:
    return random.randint(1, 12), random.randint(1, 12)


def _version(random: Random, parts: Parts, donor: Parts, reader: IntegerReader) -> None:
    """The same header as the other version lays it out."""
    header, fields = parts.header, parts.fields
    parts.fields = header_fields(header, 3 - header.version)
    if header.version == 1:
        grids = ((header.height, header.width),) * header.present_count if header.kind == "features" else ()
        parts.fields["grids"] = _grid_bytes(grids)
        return
    parts.fields["tasks"] = number_bytes(random.choice((header.present_count, header.tensor_count)))
    if header.kind == "features":
        height, width = random.choice((*header.grids, _small_grid(random)))
        parts.fields["height"] = number_bytes(height)
        parts.fields["width"] = number_bytes(0 if height == width else width)
    parts.fields["graph"] = random.choice((fields["graph"], b"\1"))


_SIDES = (0, 1, 2, 3, 4, 15, 16, 17, 33, 63, 64, 65, 255, 256, 257, 1023, 1024, 1 << 16, 1 << 26, (1 << 32) - 1)


def _height(random: Random, parts: Parts, donor: Parts, reader: IntegerReader) -> None:
    parts.fields["height"] = _number(random, _SIDES)


def _width(random: Random, parts: Parts, donor: Parts, reader: IntegerReader) -> None:
    parts.fields["width"] = random.choice((_number(random, _SIDES), parts.fields["height"], b"\0"))


def _sides(random: Random, parts: Parts, donor: Parts, reader: IntegerReader) -> None:
    """A size that is as large as it may be, or a little more, or another file's."""
    shapes = ((1, 1 << 16), (256, 257), (257, 256), (65535, 1), (1, 1024), (32, 33), (1025, 1), (1, 2), (2, 1))
    height, width = random.choice(shapes)
    parts.fields["height"], parts.fields["width"] = number_bytes(height), number_bytes(width)
    if random.random() < 0.3:
        parts.fields["height"], parts.fields["width"] = donor.fields["height"], donor.fields["width"]


def _quality(random: Random, parts: Parts, donor: Parts, reader: IntegerReader) -> None:
    tasks = parts.header.present_count
    some = [random.choice((0, 1, MAX_QUALITY_STEP, random.randrange(MAX_QUALITY_STEP + 1))) for _ in range(tasks)]
    parts.fields["quality"] = random.choice((
        bytes([random.randrange(MAX_QUALITY_STEP + 1)]), bytes([MAX_QUALITY_STEP + 1]), b"\xfe", b"\xff",
        bytes([255, *some]), bytes([255, *some[1:], 57]), bytes([255] * (tasks + 1)), bytes([255, *some[1:]]),
        bytes([255] + [random.randrange(57)] * tasks), donor.fields["quality"],
    ))  # fmt: skip


def _graph(random: Random, parts: Parts, donor: Parts, reader: IntegerReader) -> None:
    tasks = parts.header.present_count
    count, size = TaskGraph.count(tasks), rank_bytes(tasks)
    rank = random.choice((0, 1, count - 1, count, (1 << 8 * size) - 1, random.randrange(count)))
    if tasks == len(reader.tensors) and random.random() < 0.2:
        rank = reader.listed[0].rank()
    listed = len(reader.listed)
    parts.fields["graph"] = random.choice((
        _number(random, (*range(1, listed + 1),)), number_bytes(random.choice((listed + 1, 127, 128, (1 << 32) - 1))),
        b"\0" + min(rank, (1 << 8 * size) - 1).to_bytes(size, "big"),
        b"\0" + random.randrange(count).to_bytes(size, "big"),
        b"\0" + random.randbytes(size), b"\0", donor.fields["graph"],
    ))  # fmt: skip


def _length(random: Random, parts: Parts, donor: Parts, reader: IntegerReader) -> None:
    """A length in the table that is not that of the segment; in ``compact`` there is none, and a byte goes instead."""
    if parts.compact:
        parts.segments[0] = parts.segments[0][1:]
        return
    lengths = [len(segment) for segment in parts.segments]
    written = [number_bytes(length) for length in lengths]
    index = random.randrange(len(written))
    if random.random() < 0.2:  # the sum stays what it was
        lengths[index], lengths[index - 1] = lengths[index - 1], lengths[index]
        written = [number_bytes(length) for length in lengths]
    elif random.random() < 0.2:
        written[index] = bytes([lengths[index] & 0x7F | 0x80, lengths[index] >> 7 | 0x80, 0])
    else:
        near = (max(0, lengths[index] - 1), lengths[index] + 1, sum(lengths), 0, 1 << 16, (1 << 32) - 1, 1 << 31)
        written[index] = _number(random, near)
    parts.lengths = written


def _segments(random: Random, parts: Parts, donor: Parts, reader: IntegerReader) -> None:
    """Segments in another order, one twice, one gone, one of another file, or all of them another file's; or by index
    where they stand in coding order, and the other way round."""
    way, rows = random.randrange(6), list(zip(parts.segments, parts.symbol_checks, strict=True))
    index = random.randrange(len(rows))
    if way == 0:
        random.shuffle(rows)
    elif way == 1:
        rows[index] = random.choice(rows)
    elif way == 2:
        rows[index] = (b"", rows[index][1])
    elif way == 3:
        rows[index] = random.choice(list(zip(donor.segments, donor.symbol_checks, strict=True)))
    elif way == 4 and len(rows) == parts.header.present_count and not parts.compact:
        order = parts.header.resolve(reader.listed).order
        rows = [
            rows[order.index(place)] if parts.header.version == 2 else rows[order[place]] for place in range(len(order))
        ]
    else:
        rows = list(zip(donor.segments, donor.symbol_checks, strict=True))
    parts.segments, parts.symbol_checks = [row[0] for row in rows], [row[1] for row in rows]


def _symbol_check(random: Random, parts: Parts, donor: Parts, reader: IntegerReader) -> None:
    index = random.randrange(len(parts.symbol_checks))
    old = parts.symbol_checks[index]
    parts.symbol_checks[index] = random.choice((0, 0xFFFF, old ^ 1 << random.randrange(16), random.randrange(1 << 16)))


FIELD_MUTATIONS: dict[str, _FieldMutation] = {
    "magic": _magic,
    "form": _form,
    "fingerprint": _fingerprint,
    "tasks": _tasks,
    "height": _height,
    "width": _width,
    "both sides": _sides,
    "quality": _quality,
    "graph": _graph,
    "length": _length,
    "segments": _segments,
    "symbol check": _symbol_check,
    "version": _version,
    "mask": _mask,
    "grids": _grids,
}
"""By name; each takes chance, the parts that it changes, another file's parts, and the reader of the weights."""
_FIELD_NAMES = {1: tuple(name for name in FIELD_MUTATIONS if name not in ("mask", "grids")), 2: tuple(FIELD_MUTATIONS)}
