"""Decoding as bytes arrive: each answer as soon as its segment is there, the same as of the whole file; what is not, by
name."""

from __future__ import annotations

import functools
import http.server
import io
import os
import pickle
import re
import threading
import time
import tracemalloc
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch

import atdc
from atdc.bitstream import layout
from atdc.bitstream.container import ContainerReader
from atdc.bitstream.sources import FileSource, HttpSource, StreamSource, opened
from atdc.codec import FeatureCodec
from atdc.errors import (
    ArgumentError,
    CorruptFileError,
    IncompleteFileError,
    NotAnAtdcFileError,
    TruncatedFileError,
    WrongModelError,
)
from atdc.graph.task_graph import TaskGraph

GRAPH = TaskGraph(((3,), (2,), (5,), (), (3, 0), (3,)))
"""Of the six tasks: 3, then 0 and 5, then 2 and 4, then 1."""


@pytest.fixture(scope="module")
def codec(untrained_weights: Path) -> FeatureCodec:
    return atdc.load(untrained_weights).feature_codec


@pytest.fixture(scope="module")
def features(codec: FeatureCodec) -> dict[str, torch.Tensor]:
    random = torch.Generator().manual_seed(0)
    return {name: torch.randn(8, 11, 9, generator=random) for name in codec.task_names}


@pytest.fixture(scope="module")
def whole(codec: FeatureCodec, features: dict[str, torch.Tensor]) -> bytes:
    """A file of version 1: segments by index."""
    return codec.encode(features, graph=GRAPH, profile="segments")


@pytest.fixture(scope="module")
def some(codec: FeatureCodec, features: dict[str, torch.Tensor]) -> bytes:
    """A file of version 2, of five of the tensors: segments in coding order."""
    names = codec.task_names[:1] + codec.task_names[2:]
    return codec.encode({name: features[name] for name in names}, graph=GRAPH, profile="segments")


def spans(data: bytes) -> list[tuple[int, int]]:
    """First and last byte of each segment, by place, with the end exclusive."""
    reader = ContainerReader(data)
    ends = np.cumsum(reader.lengths) + len(data) - sum(reader.lengths)
    return [(int(end) - length, int(end)) for end, length in zip(ends, reader.lengths, strict=True)]


def damaged(data: bytes, place: int) -> bytes:
    start = spans(data)[place][0]
    return data[:start] + bytes([data[start] ^ 1]) + data[start + 1 :]


class Trickle(io.RawIOBase):
    """A stream that gives one byte at a time, and counts them."""

    def __init__(self, data: bytes) -> None:
        self.data, self.given = data, 0

    def readable(self) -> bool:
        return True

    def read(self, count: int = -1) -> bytes:
        part = self.data[self.given : self.given + 1]
        self.given += len(part)
        return part


@pytest.mark.parametrize("kind", ["whole", "some"])
@pytest.mark.parametrize("tasks", [None, ["normal", "depth_zbuffer"], ["rgb"]])
def test_what_arrives_is_what_the_whole_file_holds(
    codec: FeatureCodec, kind: str, tasks: list[str] | None, request: pytest.FixtureRequest
) -> None:
    data = request.getfixturevalue(kind)
    expected = codec.decode(data, tasks)
    for source in (data, io.BytesIO(data), Trickle(data)):
        arrived = dict(codec.decode_progressive(source, tasks))
        assert arrived.keys() == expected.keys()
        for name, value in expected.items():
            assert torch.equal(arrived[name], value), name


@pytest.mark.parametrize("kind", ["whole", "some"])
def test_an_answer_takes_no_byte_beyond_its_segment_and_those_of_its_ancestors(
    codec: FeatureCodec, kind: str, request: pytest.FixtureRequest
) -> None:
    data = request.getfixturevalue(kind)
    stream, ends = Trickle(data), spans(data)
    arrivals = codec.decode_progressive(stream)
    assert stream.given == ends[0][0]  # the head and no more
    header, graph = arrivals.header, GRAPH.within(arrivals.header.present)
    sent = codec.integers.read(data)
    places = dict(zip(header.present, header.places(header.resolve(codec.graph_tables.listed)), strict=True))
    assert sent.graph == graph
    for name, _ in arrivals:
        task = codec.task_names.index(name)
        last = max(places[needed] for needed in graph.closure([task]))
        assert stream.given == ends[last][1]
    if kind == "some":
        assert [codec.task_names[task] for task in graph.order if task in places] == list(
            dict(codec.decode_progressive(data))
        )


def test_tasks_that_were_asked_for_end_the_reading(codec: FeatureCodec, some: bytes) -> None:
    stream = Trickle(some)
    assert [name for name, _ in codec.decode_progressive(stream, ["normal"])] == ["normal"]
    assert stream.given == spans(some)[0][1] < len(some)


def test_a_slow_pipe_gives_each_answer_before_the_next_segment_is_written(codec: FeatureCodec, some: bytes) -> None:
    reading, writing = os.pipe()
    asked = threading.Semaphore(1)
    written: list[int] = []

    def write() -> None:
        with os.fdopen(writing, "wb", buffering=0) as pipe:
            pipe.write(some[: spans(some)[0][0]])
            for place, (start, end) in enumerate(spans(some)):
                assert asked.acquire(timeout=60)
                written.append(place)
                pipe.write(some[start : start + 1])
                time.sleep(0.01)
                pipe.write(some[start + 1 : end])

    thread = threading.Thread(target=write)
    thread.start()
    with os.fdopen(reading, "rb") as pipe:
        for number, _ in enumerate(codec.decode_progressive(pipe), 1):
            assert len(written) == number
            asked.release()
    thread.join(60)
    assert written == list(range(5))


@pytest.mark.parametrize("kind", ["whole", "some"])
def test_a_stream_that_ends_early_gives_what_is_whole_and_names_the_rest(
    codec: FeatureCodec, kind: str, request: pytest.FixtureRequest
) -> None:
    data = request.getfixturevalue(kind)
    names = list(dict(codec.decode_progressive(data)))
    start = spans(data)[0][0]
    for length in range(start, len(data)):
        arrived = []
        with pytest.raises(IncompleteFileError) as caught:
            for name, _ in codec.decode_progressive(io.BytesIO(data[:length])):
                arrived.append(name)
        assert sorted([*arrived, *caught.value.missing]) == sorted(names)
        assert all(name in str(caught.value) for name in caught.value.missing)
        assert any(isinstance(error, TruncatedFileError) for error in caught.value.missing.values())
        assert "its end before" in str(caught.value)
    for length in (0, 3, 20, start - 1):
        with pytest.raises(NotAnAtdcFileError if length == 0 else TruncatedFileError):
            codec.decode_progressive(io.BytesIO(data[:length]))


def test_damage_names_its_tensor_and_those_predicted_from_it_and_leaves_the_others(
    codec: FeatureCodec, some: bytes
) -> None:
    names = list(dict(codec.decode_progressive(some)))
    graph = GRAPH.within([0, 2, 3, 4, 5])
    for place, name in enumerate(names):
        task = codec.task_names.index(name)
        lost = {codec.task_names[c] for c in range(6) if c == task or task in graph.ancestors(c)}
        arrived = []
        with pytest.raises(IncompleteFileError, match=rf"damage to {name} \(") as caught:
            for other, _ in codec.decode_progressive(io.BytesIO(damaged(some, place))):
                arrived.append(other)
        assert set(caught.value.missing) == lost and set(arrived) == set(names) - lost
        assert type(caught.value.missing[name]) is CorruptFileError
        again = pickle.loads(pickle.dumps(caught.value))
        assert str(again) == str(caught.value) and set(again.missing) == lost


def test_damage_to_what_was_not_asked_for_plays_no_part(codec: FeatureCodec, some: bytes) -> None:
    assert [name for name, _ in codec.decode_progressive(damaged(some, 4), ["normal"])] == ["normal"]


def test_bytes_after_the_end_are_noticed_and_not_waited_for(codec: FeatureCodec, some: bytes) -> None:
    stream, arrived = Trickle(some + bytes(1000)), []
    with pytest.raises(CorruptFileError, match="after the last segment"):
        for name, _ in codec.decode_progressive(stream):
            arrived.append(name)
    assert len(arrived) == 5 and stream.given == len(some) + 1


def test_a_compact_file_is_decoded_once_it_is_whole(codec: FeatureCodec, features: dict[str, torch.Tensor]) -> None:
    data = codec.encode(features)
    stream = Trickle(data)
    arrivals = codec.decode_progressive(stream)
    assert arrivals.header.profile == "compact" and stream.given == len(data)
    expected = codec.decode(data)
    assert all(torch.equal(value, expected[name]) for name, value in arrivals)
    assert [name for name, _ in codec.decode_progressive(data, ["rgb"])] == ["rgb"]
    with pytest.raises(CorruptFileError):
        codec.decode_progressive(io.BytesIO(data[:-1]))


class Endless(Trickle):
    """A stream without an end."""

    def read(self, count: int = -1) -> bytes:
        if self.given < len(self.data):
            return super().read(count)
        self.given += count
        return bytes(count)


@pytest.mark.parametrize("length", [1 << 20, (1 << 32) - 1])
def test_a_length_that_no_symbols_take_is_neither_waited_nor_paid_for(
    codec: FeatureCodec, features: dict[str, torch.Tensor], length: int
) -> None:
    some = codec.encode(features, profile="segments", graph="independent")  # nothing else fails with the first
    reader = ContainerReader(some)
    start = spans(some)[0][0]
    table = start - 4 - sum(len(layout.number_bytes(own)) + 4 for own in reader.lengths)
    rest = table + len(layout.number_bytes(reader.lengths[0]))
    head = some[:table] + layout.number_bytes(length) + some[rest : start - 4]
    stream = Endless(head + zlib.crc32(head).to_bytes(4, "big") + some[start:])
    tracemalloc.start()
    with pytest.raises(IncompleteFileError, match=rf"\({length} bytes instead of at most \d+, as no symbols take more"):
        list(codec.decode_progressive(stream))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert stream.given < len(some) and peak < 2_000_000


def test_an_endless_stream_of_a_compact_file_is_refused_at_the_limit(
    codec: FeatureCodec, features: dict[str, torch.Tensor]
) -> None:
    stream = Endless(codec.encode(features))
    with pytest.raises(ArgumentError, match="at most 100,000 bytes"):
        codec.decode_progressive(StreamSource(stream, limit=100_000))
    assert stream.given <= 200_000


def test_streams_that_cannot_be_read_are_argument_errors(codec: FeatureCodec, tmp_path: Path) -> None:
    closed = io.BytesIO(b"ATDC")
    closed.close()
    with pytest.raises(ArgumentError, match="cannot be read"):
        codec.decode_progressive(closed)
    with pytest.raises(ArgumentError, match="an object that reads str"):
        codec.decode_progressive(io.StringIO("ATDC"))


def test_other_weights_are_noticed_before_any_segment(codec: FeatureCodec, some: bytes) -> None:
    stream = Trickle(some[:5] + b"\0\0\0\0" + some[9:])
    with pytest.raises((WrongModelError, CorruptFileError)):
        codec.decode_progressive(stream)
    assert stream.given <= spans(some)[0][0]


def test_answers_of_images_arrive_as_they_are_decoded(untrained_weights: Path) -> None:
    codec = atdc.load(untrained_weights)
    image = np.random.default_rng(0).integers(0, 255, (40, 56, 3), np.uint8)
    data = codec.encode(image, profile="segments")
    expected = codec.decode(data)
    arrived = dict(codec.decode_progressive(Trickle(data)))
    assert arrived.keys() == expected.keys()
    assert all(np.array_equal(arrived[name], value) for name, value in expected.items())
    bare = codec.feature_codec.encode({"rgb": torch.zeros(8, 4, 4)}, profile="segments")
    with pytest.raises(ArgumentError, match="bare features"):
        codec.decode_progressive(bare)


def test_a_file_is_closed_after_the_last_answer_or_when_it_is_told_to(
    codec: FeatureCodec, some: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[bool] = []
    usual = FileSource.__exit__
    monkeypatch.setattr(FileSource, "__exit__", lambda self, *error: closed.append(True) or usual(self, *error))
    path = tmp_path / "some.atdc"
    path.write_bytes(some)
    arrivals = codec.decode_progressive(path)
    assert len(list(arrivals)) == 5 and closed == [True]
    arrivals = codec.decode_progressive(path)
    next(arrivals)
    assert closed == [True]
    arrivals.close()
    assert closed == [True, True] and list(arrivals) == []


# --- servers ----------------------------------------------------------------------------------------------------------


class RangeServer(http.server.BaseHTTPRequestHandler):
    """Serves one file by ranges, slowly; what the paths mean stands below."""

    data = b""
    asked: ClassVar[list[tuple[int, int]]] = []
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path == "/absent":
            self.send_error(404)
            return
        said = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers["Range"])
        assert said is not None
        first, last = int(said[1]), min(int(said[2]), len(self.data) - 1)
        self.asked.append((first, last))
        if self.path == "/plain":
            self.send_response(200)
            self.send_header("Content-Length", str(len(self.data)))
            self.end_headers()
            self.wfile.write(self.data)
            return
        if first >= len(self.data):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(self.data)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        part = self.data[first : last + 1]
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {first}-{last}/{len(self.data)}")
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        if self.path == "/cut" and first > 100:
            self.wfile.write(part[:-1])
            self.close_connection = True
            return
        if self.path == "/silent" and first > 100:
            time.sleep(1)
        for start in range(0, len(part), 16):
            self.wfile.write(part[start : start + 16])
            time.sleep(0.001)

    def log_message(self, *_: object) -> None:
        pass


class Server(http.server.ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        """Says nothing of clients that leave."""


@pytest.fixture
def server(some: bytes) -> Iterator[tuple[str, list[tuple[int, int]]]]:
    asked: list[tuple[int, int]] = []
    handler = type("Handler", (RangeServer,), {"data": some, "asked": asked})
    with Server(("127.0.0.1", 0), handler) as serving:
        thread = threading.Thread(target=functools.partial(serving.serve_forever, poll_interval=0.01))
        thread.start()
        yield f"http://127.0.0.1:{serving.server_address[1]}", asked
        serving.shutdown()
        thread.join()


def test_a_server_gives_segment_by_segment_and_only_what_is_needed(
    codec: FeatureCodec, some: bytes, server: tuple[str, list[tuple[int, int]]]
) -> None:
    url, asked = server
    ends = spans(some)
    expected = codec.decode(some)
    for number, (name, value) in enumerate(codec.decode_progressive(f"{url}/file")):
        assert torch.equal(value, expected[name])
        assert max(last for _, last in asked) < max(ends[number][1], 2 * ends[0][0])
    asked.clear()
    assert list(codec.decode(f"{url}/file", ["normal"])) == ["normal"]
    assert max(last for _, last in asked) < max(ends[0][1], 2 * ends[0][0]) < len(some)


def test_a_server_that_stops_is_an_early_end(codec: FeatureCodec, server: tuple[str, list[tuple[int, int]]]) -> None:
    arrived = []
    with pytest.raises(IncompleteFileError, match="its end before"):
        for name, _ in codec.decode_progressive(f"{server[0]}/cut"):
            arrived.append(name)
    assert len(arrived) < 5


@pytest.mark.parametrize(
    ("path", "message"),
    [("absent", "404"), ("plain", "one that answers range requests"), ("silent", "timed out")],
)
def test_a_server_without_ranges_or_answers_is_one_error(
    codec: FeatureCodec, server: tuple[str, list[tuple[int, int]]], path: str, message: str
) -> None:
    with pytest.raises(ArgumentError, match=message):
        list(codec.decode_progressive(HttpSource(f"{server[0]}/{path}", timeout_s=0.3)))


def test_ranges_of_a_server_are_those_of_the_file(some: bytes, server: tuple[str, list[tuple[int, int]]]) -> None:
    with opened(f"{server[0]}/file") as source:
        assert source.read(3, 5) == some[3:8] and source.size() == len(some)
        assert source.read(len(some) - 2, 9) == some[-2:] and source.read(len(some), 1) == b""
    with pytest.raises(ArgumentError, match="refused"), opened("http://127.0.0.1:9/none") as source:
        source.size()
