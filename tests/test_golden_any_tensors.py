"""The golden files of any tensors decode to their integers, and are what these are written as, now and ever after.

A failure here is a change of the file format: see ``tests/golden/any_tensors/make_golden.py``.
"""

from __future__ import annotations

import json
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from atdc.bitstream.container import unpack, verify
from atdc.errors import ArgumentError, CorruptFileError
from atdc.reader import IntegerReader
from atdc.tensors import latent_grid, padded
from atdc.weights import open_weights
from atdc_bench.experiments.sample_files import FromSegments, write_symbols

GOLDEN = Path(__file__).parent / "golden" / "any_tensors"
HEADERS: dict[str, dict[str, Any]] = json.loads((GOLDEN / "expected.json").read_text(encoding="utf-8"))

each_file = pytest.mark.parametrize("name", HEADERS)


@cache
def reader() -> IntegerReader:
    return open_weights(GOLDEN / "tiny.safetensors").integers()


def data_of(name: str) -> bytes:
    return (GOLDEN / f"{name}.atdc").read_bytes()


def expected_latents(name: str) -> dict[int, np.ndarray]:
    with np.load(GOLDEN / "expected.npz") as file:
        return {task: file[f"{name}.{task}"] for task in HEADERS[name]["present"]}


def test_every_golden_file_is_known() -> None:
    assert {path.stem for path in GOLDEN.glob("*.atdc")} == set(HEADERS)
    with np.load(GOLDEN / "expected.npz") as file:
        assert set(file) == {f"{name}.{task}" for name in HEADERS for task in HEADERS[name]["present"]}


@each_file
def test_it_says_what_it_said(name: str) -> None:
    data = data_of(name)
    decoded = reader().read(data)
    header = decoded.header
    assert header.version == 2 and header.fingerprint == reader().fingerprint
    assert {
        "bytes": decoded.bytes_read,
        "profile": header.profile,
        "kind": header.kind,
        "height": header.height,
        "width": header.width,
        "present": list(decoded.present),
        "spelled_out": list(map(list, header.grids)),
        "grids": [list(decoded.grids[tensor]) for tensor in decoded.present],
        "qualities": list(header.qualities),
        "listed": header.graph if isinstance(header.graph, int) else None,
        "parents": list(map(list, decoded.graph.parents)),
        "symbol_checks": [segment.symbol_check for segment in unpack(data).segments],
    } == HEADERS[name]
    latents = expected_latents(name)
    assert decoded.latents.keys() == latents.keys()
    for tensor, latent in latents.items():
        rows, columns = (side // 2 for side in padded(decoded.grids[tensor]))
        assert decoded.latents[tensor].shape == (1, rows, columns, reader().tensors[tensor].latent_channels)
        assert np.array_equal(decoded.latents[tensor], latent)


@each_file
def test_its_integers_are_written_as_its_bytes(name: str) -> None:
    container = unpack(data_of(name))
    assert write_symbols(reader(), container.header, FromSegments(reader(), container)).data == data_of(name)


@each_file
def test_each_tensor_can_be_had_alone_and_no_other_is_there(name: str) -> None:
    latents, data = expected_latents(name), data_of(name)
    for tensor in range(len(reader().tensors)):
        if tensor not in latents:
            with pytest.raises(ArgumentError, match="what is in the file"):
                reader().read(data, [tensor])
            continue
        decoded = reader().read(data, [tensor])
        assert tensor in decoded.latents
        for other, latent in decoded.latents.items():
            assert np.array_equal(latent, latents[other])
        if decoded.header.profile == "segments":
            assert set(decoded.latents) == set(decoded.graph.closure([tensor]))


@each_file
def test_a_changed_last_byte_is_refused(name: str) -> None:
    data = data_of(name)
    assert verify(data).ok
    with pytest.raises(CorruptFileError):
        reader().read(data[:-1] + bytes([data[-1] ^ 1]))


def test_tensors_differ_in_channels_and_in_what_their_grids_follow_from() -> None:
    tensors = reader().tensors.tensors
    assert {type(spec.grid) for spec in tensors} == {int, tuple, type(None)}
    assert len({spec.grid for spec in tensors if isinstance(spec.grid, int)}) > 1
    assert len({spec.latent_channels for spec in tensors}) > 3
    assert any("/" in spec.name for spec in tensors) and any(not spec.name.isascii() for spec in tensors)


def test_together_they_hold_whatever_version_2_knows() -> None:
    headers = HEADERS.values()
    assert {(header["profile"], header["kind"]) for header in headers} == {
        (profile, kind) for profile in ("segments", "compact") for kind in ("image", "features")
    }
    for profile in ("segments", "compact"):
        some = [header for header in headers if header["profile"] == profile]
        assert {header["listed"] is None for header in some} == {True, False}
        assert {len(set(header["qualities"])) > 1 for header in some} == {True, False}
        assert {len(header["present"]) for header in some} >= {1, 2, 3, 6}
    spelled_out = [header["spelled_out"] for header in headers]
    assert any(a == b for grids in spelled_out for a, b in pairwise(grids)) and [] in spelled_out
    segments = [segment.data for name in HEADERS for segment in unpack(data_of(name)).segments]
    assert b"" in segments and any(len(segment) > 127 for segment in segments)
    largest = max(int(np.abs(latent).max()) for name in HEADERS for latent in expected_latents(name).values())
    assert largest > 16 * ((1 << 20) - 2)


def test_segments_in_another_order_than_that_of_their_tensors_are_among_them() -> None:
    found = set()
    for name in HEADERS:
        decoded = reader().read(data_of(name))
        if decoded.header.profile == "segments":
            found.add([task for task in decoded.graph.order if task in decoded.present] == list(decoded.present))
    assert found == {True, False}


def test_parents_have_coarser_finer_crossed_and_equal_grids() -> None:
    ways = set()
    for header in HEADERS.values():
        grids = dict(zip(header["present"], map(tuple, header["grids"]), strict=True))
        for child, parents in enumerate(header["parents"]):
            for parent in parents:
                own, wanted = latent_grid(grids[parent]), latent_grid(grids[child])
                along = tuple((own[axis] < wanted[axis]) - (own[axis] > wanted[axis]) for axis in (0, 1))
                ways.add((*along, grids[parent] == grids[child]))
    assert ways >= {
        (1, 1, False), (-1, -1, False), (1, -1, False), (-1, 1, False), (0, 0, True), (0, 0, False), (0, 1, False),
    }  # fmt: skip
