"""What people do with the command line once in a while: odd names and sizes, addresses, part of the answers before, a
reader that leaves."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import atdc.files
from any_tensors import untrained_codec
from atdc import cli
from atdc.bitstream.container import (
    Container,
    ContainerReader,
    Header,
    Segment,
    header_of,
    pack,
)
from atdc.cli.files import is_coded, is_one_file
from atdc.cli.inputs import find_items, is_arriving
from atdc.codec import FeatureCodec
from atdc.errors import BitstreamError
from atdc.graph.graph_tables import GraphTables
from atdc.tensors import FeatureSet, TensorSpec
from atdc.terminal import LenientOutput
from atdc.weights import open_weights, writer_of

DONE, FAILED, USAGE = 0, 1, 2


def run(*arguments: str, stdin: bytes | None = None) -> Any:
    return CliRunner().invoke(cli.app, list(arguments), input=stdin)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """With weights of two tensors, features, and a photo."""
    monkeypatch.chdir(tmp_path)
    tensors = FeatureSet((TensorSpec("a", 4, (4, 6)), TensorSpec("b", 3, (5, 5))))
    untrained_codec(tensors, GraphTables.untrained(2), b"odd").save("mine.safetensors")
    draw = np.random.default_rng(0)
    shapes = {"a": (4, 4, 6), "b": (3, 5, 5)}
    np.savez("f.npz", **{name: draw.normal(size=shape).astype(np.float32) for name, shape in shapes.items()})
    Image.fromarray(draw.integers(0, 256, (32, 48, 3), np.uint8)).save("photo.png")
    return tmp_path


def of_size(kind: Any, height: int, width: int, fingerprint: bytes) -> bytes:
    header = Header(
        fingerprint=fingerprint, kind=kind, profile="compact", height=height, width=width, qualities=(8,) * 6, graph=0
    )
    return pack(Container(header, (Segment(b"x", 1),)))


@pytest.mark.weights
def test_weights_are_found_whatever_the_size_of_what_they_wrote(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = of_size("image", 9000, 9000, open_weights("small").fingerprint)
    assert writer_of(data) == "small-1" and header_of(data).height == 9000
    (tmp_path / "broken.safetensors").write_bytes(b"no weights")
    os.truncate(tmp_path / "broken.safetensors", (1 << 30) + 1)
    monkeypatch.setenv("ATDC_WEIGHTS", str(tmp_path))
    assert writer_of(of_size("image", 64, 64, b"none")) is None


def test_a_limit_of_pixels_is_one_of_positions_too() -> None:
    data = of_size("features", 700, 700, b"some")
    with pytest.raises(BitstreamError, match="positions"):
        ContainerReader(data)
    assert ContainerReader(data, pixel_limit=1 << 28).header.height == 700


def test_names_are_taken_where_files_find_their_weights(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("encode", "f.npz", "-o", "enc", "--model", "mine.safetensors").exit_code == DONE
    result = run("decode", "enc", "-o", "d", "--tasks", "classes/80x14x14")  # of shipped weights
    assert result.exit_code == FAILED and "unknown tensor or task" not in result.stderr
    monkeypatch.setenv("ATDC_WEIGHTS", str(folder))
    assert run("decode", "enc", "-o", "d", "--tasks", "a").exit_code == DONE


def test_what_was_decoded_in_part_is_decoded_again(folder: Path) -> None:
    model = ("--model", "mine.safetensors")
    run("encode", "f.npz", "-o", "f.atdc", "--profile", "segments", *model)
    assert run("decode", "f.atdc", "-o", "d", "--tasks", "a", *model).exit_code == DONE
    again = run("decode", "f.atdc", "-o", "d", "--skip-existing", "--tasks", "a", *model)
    assert again.exit_code == DONE and "there before" in again.output
    whole = run("decode", "f.atdc", "-o", "d", "--skip-existing", *model)
    assert whole.exit_code == FAILED and "a file of other content" in whole.stderr
    assert run("decode", "f.atdc", "-o", "d", "--force", *model).exit_code == DONE
    last = run("decode", "f.atdc", "-o", "d", "--skip-existing", *model)
    assert last.exit_code == DONE and "there before" in last.output and set(np.load("d/f.npz")) == {"a", "b"}


def test_a_file_of_some_answers_is_there_once_they_are(folder: Path, untrained_weights: Path) -> None:
    model = ("--model", str(untrained_weights))
    run("encode", "photo.png", "-o", "p.atdc", "--tasks", "normal", *model)
    for words in ("p.atdc →", "there before"):
        result = run("decode", "p.atdc", "-o", "d", "--skip-existing", *model)
        assert result.exit_code == DONE and words in result.output


def test_features_that_arrive_are_told_with_their_file(folder: Path) -> None:
    run("encode", "f.npz", "-o", "f.atdc", "--profile", "segments", "--model", "mine.safetensors")
    options = ("-o", "d", "--json", "--model", "mine.safetensors")
    lines = run("decode", "-", *options, stdin=Path("f.atdc").read_bytes()).stdout.splitlines()
    rows = [json.loads(line) for line in lines]
    assert {row["task"] for row in rows} == {"a", "b"} and all(Path(row["outputs"][0]).is_file() for row in rows)


def test_damage_does_not_change_the_format_of_standard_output(folder: Path, untrained_weights: Path) -> None:
    model = ("--model", str(untrained_weights))
    run("encode", "photo.png", "-o", "p.atdc", "--tasks", "normal,rgb", "--profile", "segments", *model)
    data = bytearray(Path("p.atdc").read_bytes())
    data[-1] ^= 1
    Path("damaged.atdc").write_bytes(data)
    for name, status in (("p.atdc", DONE), ("damaged.atdc", FAILED)):
        result = run("decode", name, "-o", "-", *model)
        assert result.exit_code == status and result.stdout_bytes[:2] == b"PK"


@pytest.mark.slow
def test_processes_end_well_where_the_reader_of_their_lines_has_left(folder: Path, untrained_weights: Path) -> None:
    model = f"--model '{untrained_weights}'"
    Image.open("photo.png").save("other.png")
    script = (
        f"'{sys.executable}' -m atdc encode photo.png other.png -o enc {model} --quiet && "
        f"'{sys.executable}' -m atdc decode enc -o out --json --jobs 2 --quiet {model} | true; exit ${{PIPESTATUS[0]}}"
    )
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == DONE and "defect" not in done.stderr, done.stderr


def test_addresses_are_refused_or_named_safely(folder: Path) -> None:
    result = run("verify", "http://[", "photo.png")
    assert result.exit_code == FAILED and result.stderr.count("http://[") == 1 and "Traceback" not in result.output
    items = find_items(["http://127.0.0.1:9/..", "http://127.0.0.1:9/"], None, is_coded, None)
    assert [str(item.place) for item in items] == ["file", "file"]
    assert is_one_file(["https://example.org/a.atdc?token=1"], None) and not is_one_file(["*.atdc"], None)
    told = run("encode", "https://example.org/a.jpg", "-o", "out", "--model", "mine.safetensors")
    assert told.exit_code == FAILED and "Fetch it first" in told.stderr


def test_a_file_called_like_standard_input_is_a_file(folder: Path) -> None:
    run("encode", "f.npz", "-o", "f.atdc", "--model", "mine.safetensors")
    Path("f.atdc").rename("-")
    result = run("decode", "./-", "-o", "d", "--model", "mine.safetensors", stdin=b"")
    assert result.exit_code == DONE and set(np.load("d/-.npz")) == {"a", "b"}
    assert not is_arriving(find_items(["./-"], None, is_coded, None)[0])


def test_weights_of_one_task_contradict_each_other(folder: Path) -> None:
    options = ("--max-bytes", "900", "--weight", "a=3", "--weight", "a=1", "--model", "mine.safetensors")
    result = run("encode", "f.npz", "-o", "f.atdc", *options)
    assert result.exit_code == USAGE and "contradict" in result.output


def test_the_longest_names_are_written_and_the_same_bytes_once(tmp_path: Path) -> None:
    path = tmp_path / ("漢" * 82 + ".atdc")
    atdc.files.write_bytes_unless_others(path, b"some")
    before = path.stat().st_ino
    atdc.files.write_bytes_unless_others(path, b"some")
    assert path.stat().st_ino == before and path.read_bytes() == b"some"


def test_a_missing_file_is_not_taken_for_missing_memory(folder: Path) -> None:
    result = run("encode", "cannot allocate memory.npz", "-o", "out", "--model", "mine.safetensors")
    assert result.exit_code == FAILED and "too little memory" not in result.stderr


def test_of_tensors_that_all_come_first_none_is_a_helper(folder: Path) -> None:
    codec = FeatureCodec.load("mine.safetensors")
    features = dict(np.load("f.npz"))
    header = ContainerReader(codec.encode(features, 1, wanted=["a"], first=["a"])).header
    assert header.present == (0,)


@pytest.mark.skipif(sys.platform == "win32", reason="no such pipes")
def test_standard_output_that_does_not_block_takes_all() -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    data, parts = os.urandom(300_000), list[bytes]()

    def read() -> None:
        with open(reading, "rb") as stream:
            while part := stream.read(7000):
                time.sleep(0.001)
                parts.append(part)

    reader = threading.Thread(target=read)
    reader.start()
    with open(writing, "wb", buffering=0) as raw:
        output = LenientOutput(raw)
        with io.BufferedWriter(output) as stream:
            stream.write(data)
    reader.join(30)
    assert b"".join(parts) == data and output.failure is None
