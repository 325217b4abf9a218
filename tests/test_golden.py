"""The golden files decode to their integers, and are what these are written as, now and in every later release.

A failure here is a change of the file format: see ``tests/golden/make_golden.py``.
"""

from __future__ import annotations

import json

import numpy as np
import pytest

from atdc.bitstream.container import unpack, verify
from atdc.errors import CorruptFileError
from atdc.graph.task_graph import TaskGraph
from atdc_bench.experiments.sample_files import FromSegments, write_symbols
from golden_folder import GOLDEN, GoldenFolder

FILES = GoldenFolder(GOLDEN)

each_file = pytest.mark.parametrize("name", FILES.headers)


def test_every_golden_file_is_known() -> None:
    FILES.require_all_known()
    for name in FILES.headers:
        assert set(FILES.latents(name)) == set(range(len(FILES.reader.task_names)))


@each_file
def test_it_says_what_it_said(name: str) -> None:
    data, expected = FILES.data(name), FILES.headers[name]
    decoded = FILES.reader.read(data)
    header = decoded.header
    assert {
        "bytes": decoded.bytes_read,
        "profile": header.profile,
        "kind": header.kind,
        "fingerprint": header.fingerprint.hex(),
        "height": header.height,
        "width": header.width,
        "qualities": list(header.qualities),
        "listed": header.graph if isinstance(header.graph, int) else None,
        "parents": [list(parents) for parents in decoded.graph.parents],
        "symbol_checks": [segment.symbol_check for segment in unpack(data).segments],
    } == expected
    latents = FILES.latents(name)
    assert decoded.latents.keys() == latents.keys()
    for task, latent in latents.items():
        assert decoded.latents[task].shape == latent.shape
        assert np.array_equal(decoded.latents[task], latent)


@each_file
def test_its_integers_are_written_as_its_bytes(name: str) -> None:
    data = FILES.data(name)
    container = unpack(data)
    again = write_symbols(FILES.reader, container.header, FromSegments(FILES.reader, container))
    assert again.data == data


@each_file
def test_each_task_can_be_had_alone(name: str) -> None:
    latents = FILES.latents(name)
    for task in latents:
        decoded = FILES.reader.read(FILES.data(name), [task])
        for known in decoded.latents:
            assert np.array_equal(decoded.latents[known], latents[known])
        assert task in decoded.latents


@each_file
def test_a_changed_last_byte_is_refused(name: str) -> None:
    data = FILES.data(name)
    assert verify(data).ok
    with pytest.raises(CorruptFileError):
        FILES.reader.read(data[:-1] + bytes([data[-1] ^ 1]))


def test_the_list_of_graphs_is_that_of_the_weights() -> None:
    listed = json.loads((FILES.path / "graphs.json").read_text(encoding="utf-8"))["listed"]
    assert tuple(TaskGraph(tuple(map(tuple, parents))) for parents in listed) == FILES.reader.listed
    assert len(set(FILES.reader.listed)) == len(FILES.reader.listed) > 127


def test_together_they_hold_whatever_the_format_knows() -> None:
    headers = FILES.headers.values()
    assert {(header["profile"], header["kind"]) for header in headers} == {
        (profile, kind) for profile in ("segments", "compact") for kind in ("image", "features")
    }
    for profile in ("segments", "compact"):
        some = [header for header in headers if header["profile"] == profile]
        assert {header["listed"] is None for header in some} == {True, False}
        assert {len(set(header["qualities"])) > 1 for header in some} == {True, False}
        assert {header["height"] == header["width"] for header in some} == {True, False}
    assert any((header["listed"] or 0) > 126 for header in headers)
    segments = [segment.data for name in FILES.headers for segment in unpack(FILES.data(name)).segments]
    assert b"" in segments and any(len(segment) > 127 for segment in segments)
    largest = max(int(np.abs(latent).max()) for name in FILES.headers for latent in FILES.latents(name).values())
    assert largest > 16 * ((1 << 20) - 2)
