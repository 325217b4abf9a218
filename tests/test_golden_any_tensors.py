"""The golden files of any tensors decode to their integers, and are what these are written as, now and ever after.

A failure here is a change of the file format: see ``tests/golden/any_tensors/make_golden.py``.
"""

from __future__ import annotations

from functools import partial
from itertools import pairwise

import numpy as np
import pytest

from atdc.bitstream.container import unpack, verify
from atdc.entropy.model import first_half
from atdc.errors import ArgumentError, CorruptFileError
from atdc.tensors import latent_grid, padded
from atdc_bench.experiments.sample_files import FromSegments, write_symbols
from golden_folder import GOLDEN, GoldenFolder

FILES = GoldenFolder(GOLDEN / "any_tensors")
UNPADDED = GoldenFolder(GOLDEN / "zero_padding")
"""Likewise, of weights whose latents have no symbols in the padding."""
SEEING = GoldenFolder(GOLDEN / "checkerboard")
"""Likewise, and with a spatial context."""
WITHOUT_HYPER = GoldenFolder(GOLDEN / "roots")
"""Of weights whose roots have no hyper-latent, with a spatial context and five different units; some are `ordered`."""
ALL_FOLDERS = (FILES, UNPADDED, SEEING, WITHOUT_HYPER)

each_file = pytest.mark.parametrize("name", FILES.headers)
each_of_both = pytest.mark.parametrize(
    ("files", "name"), [(folder, name) for folder in ALL_FOLDERS for name in folder.headers],
    ids=lambda value: value.path.name if isinstance(value, GoldenFolder) else value,
)  # fmt: skip


@pytest.mark.parametrize("files", ALL_FOLDERS, ids=lambda files: files.path.name)
def test_every_golden_file_is_known(files: GoldenFolder) -> None:
    files.require_all_known()
    for name, header in files.headers.items():
        assert set(files.latents(name)) == set(header["present"])


def test_without_symbols_in_the_padding_files_are_smaller_and_latents_there_zero() -> None:
    assert UNPADDED.reader.model.padding == "zero" and FILES.reader.model.padding == "coded"
    smaller = 0
    for name, header in UNPADDED.headers.items():
        smaller += len(UNPADDED.data(name)) < len(FILES.data(name))
        for tensor, latent in UNPADDED.latents(name).items():
            rows, columns = latent_grid(tuple(header["grids"][header["present"].index(tensor)]))
            assert not latent[:, rows:].any() and not latent[:, :, columns:].any()
    assert smaller > 3


def test_with_a_spatial_context_integers_of_the_second_half_follow_those_of_the_first() -> None:
    assert SEEING.reader.model.spatial_context == "checkerboard" and UNPADDED.reader.model.spatial_context == "none"
    header = SEEING.headers["whole"]
    decoded = SEEING.reader.read(SEEING.data("whole"))
    task, steps = header["present"][0], np.array([header["qualities"][0]])
    latent = decoded.latents[task]
    nothing, parents = np.zeros((1, *(side // 2 for side in latent.shape[1:3]), 2), np.int64), np.zeros((1, 6), bool)
    model = SEEING.reader.model
    prior = partial(model.latent_prior, task, steps, model.hidden_sums(task, steps, nothing, parents, {}))
    mean, table, _ = prior()
    symbols = (latent // 16) * first_half(*latent.shape[1:3])[None, :, :, None]
    further_mean, further_table, _ = prior(symbols)
    assert (mean != further_mean).any() and (table != further_table).any()


@each_of_both
def test_it_says_what_it_said(files: GoldenFolder, name: str) -> None:
    data = files.data(name)
    decoded = files.reader.read(data)
    header = decoded.header
    assert header.version == 2 and header.fingerprint == files.reader.fingerprint
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
        **({"first": list(header.first)} if header.first else {}),
    } == files.headers[name]
    latents = files.latents(name)
    assert decoded.latents.keys() == latents.keys()
    for tensor, latent in latents.items():
        rows, columns = (side // 2 for side in padded(decoded.grids[tensor]))
        assert decoded.latents[tensor].shape == (1, rows, columns, files.reader.tensors[tensor].latent_channels)
        assert np.array_equal(decoded.latents[tensor], latent)


@each_of_both
def test_its_integers_are_written_as_its_bytes(files: GoldenFolder, name: str) -> None:
    container = unpack(files.data(name))
    assert write_symbols(files.reader, container.header, FromSegments(files.reader, container)).data == files.data(name)


@each_file
def test_each_tensor_can_be_had_alone_and_no_other_is_there(name: str) -> None:
    latents, data = FILES.latents(name), FILES.data(name)
    for tensor in range(len(FILES.reader.tensors)):
        if tensor not in latents:
            with pytest.raises(ArgumentError, match="what is in the file"):
                FILES.reader.read(data, [tensor])
            continue
        decoded = FILES.reader.read(data, [tensor])
        assert tensor in decoded.latents
        for other, latent in decoded.latents.items():
            assert np.array_equal(latent, latents[other])
        if decoded.header.profile == "segments":
            assert set(decoded.latents) == set(decoded.graph.closure([tensor]))


@each_file
def test_a_changed_last_byte_is_refused(name: str) -> None:
    data = FILES.data(name)
    assert verify(data).ok
    with pytest.raises(CorruptFileError):
        FILES.reader.read(data[:-1] + bytes([data[-1] ^ 1]))


def test_tensors_differ_in_channels_and_in_what_their_grids_follow_from() -> None:
    tensors = FILES.reader.tensors.tensors
    assert {type(spec.grid) for spec in tensors} == {int, tuple, type(None)}
    assert len({spec.grid for spec in tensors if isinstance(spec.grid, int)}) > 1
    assert len({spec.latent_channels for spec in tensors}) > 3
    assert any("/" in spec.name for spec in tensors) and any(not spec.name.isascii() for spec in tensors)


def test_together_they_hold_whatever_version_2_knows() -> None:
    headers = FILES.headers.values()
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
    segments = [segment.data for name in FILES.headers for segment in unpack(FILES.data(name)).segments]
    assert b"" in segments and any(len(segment) > 127 for segment in segments)
    largest = max(int(np.abs(latent).max()) for name in FILES.headers for latent in FILES.latents(name).values())
    assert largest > 16 * ((1 << 20) - 2)


def test_segments_in_another_order_than_that_of_their_tensors_are_among_them() -> None:
    found = set()
    for name in FILES.headers:
        decoded = FILES.reader.read(FILES.data(name))
        if decoded.header.profile == "segments":
            found.add([task for task in decoded.graph.order if task in decoded.present] == list(decoded.present))
    assert found == {True, False}


def test_parents_have_coarser_finer_crossed_and_equal_grids() -> None:
    ways = set()
    for header in FILES.headers.values():
        grids = dict(zip(header["present"], map(tuple, header["grids"]), strict=True))
        for child, parents in enumerate(header["parents"]):
            for parent in parents:
                own, wanted = latent_grid(grids[parent]), latent_grid(grids[child])
                along = tuple((own[axis] < wanted[axis]) - (own[axis] > wanted[axis]) for axis in (0, 1))
                ways.add((*along, grids[parent] == grids[child]))
    assert ways >= {
        (1, 1, False), (-1, -1, False), (1, -1, False), (-1, 1, False), (0, 0, True), (0, 0, False), (0, 1, False),
    }  # fmt: skip
