"""The package and a second implementation of its integers, written from the page, decode the same."""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from atdc.bitstream.container import Segment, pack, unpack
from atdc.errors import BitstreamError
from atdc.reader import IntegerReader
from atdc.weights import open_weights
from atdc_bench.experiments.sample_files import random_files

HERE = Path(__file__).parent
GOLDEN = HERE.parent / "golden"
FOLDERS = (GOLDEN, *(GOLDEN / name for name in ("any_tensors", "zero_padding", "checkerboard", "roots")))
FILES = [path for folder in FOLDERS for path in sorted(folder.glob("*.atdc"))]


def load(name: str) -> ModuleType:
    """By its path: tests are imported without a package around them."""
    spec = importlib.util.spec_from_file_location(name, HERE / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


containers, reference = load("reference_reader"), load("reference_integers")


@cache
def weights(folder: Path) -> Any:
    return reference.Weights((folder / "tiny.safetensors").read_bytes())


@cache
def reader(folder: Path) -> IntegerReader:
    return open_weights(folder / "tiny.safetensors").integers()


def decode(data: bytes, folder: Path) -> Any:
    """What the second implementation says of a file; ValueError if it refuses."""
    return reference.decode(containers.read(data, weights(folder).listed), weights(folder))


def assert_agreement(data: bytes, folder: Path) -> None:
    expected, found = decode(data, folder), reader(folder).read(data)
    assert {tensor: found.grids[tensor] for tensor in found.present} == expected["grids"]
    assert {tensor: list(found.graph.parents[tensor]) for tensor in found.present} == expected["parents"]
    assert found.latents.keys() == expected["latents"].keys()
    for tensor, latent in expected["latents"].items():
        assert np.array_equal(found.latents[tensor][0], np.array(latent))


@pytest.mark.parametrize("path", FILES, ids=[f"{path.parent.name}/{path.stem}" for path in FILES])
def test_both_find_the_same_integers_in_every_golden_file(path: Path) -> None:
    assert_agreement(path.read_bytes(), path.parent)


@pytest.mark.parametrize("folder", FOLDERS, ids=["alike", "any", "unpadded", "seeing", "roots"])
def test_both_find_the_same_integers_in_random_files(folder: Path) -> None:
    files = random_files(reader(folder), 64, (1, 8, 24, 40), seed=5)
    assert {file.container.header.version for file in files} >= {2}
    for file in files:
        assert_agreement(file.data, folder)


@pytest.mark.parametrize("path", FILES, ids=[f"{path.parent.name}/{path.stem}" for path in FILES])
def test_both_refuse_random_bytes_in_place_of_a_segment(path: Path) -> None:
    container, random = unpack(path.read_bytes()), np.random.default_rng(6)
    for _ in range(3):
        segments = list(container.segments)
        place = int(random.integers(len(segments)))
        segments[place] = Segment(random.bytes(int(random.integers(1, 30))), segments[place].symbol_check)
        data = pack(type(container)(container.header, tuple(segments)))
        with pytest.raises(ValueError):
            decode(data, path.parent)
        with pytest.raises(BitstreamError):
            reader(path.parent).read(data)


def test_the_second_implementation_imports_nothing_of_the_package() -> None:
    lines = (HERE / "reference_integers.py").read_text(encoding="utf-8").splitlines()
    imported = {line.split()[1] for line in lines if line.startswith(("import ", "from "))}
    assert imported == {"binascii", "json", "struct"}
