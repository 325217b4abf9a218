"""`atdc decode` of what arrives: every answer's files as soon as its bytes are there, told line by line."""

from __future__ import annotations

import functools
import http.server
import io
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import atdc
from atdc.bitstream.container import ContainerReader
from atdc.cli import app
from atdc.tasks import TASK_NAMES


@pytest.fixture(scope="module")
def files(untrained_weights: Path) -> dict[str, bytes]:
    codec = atdc.load(untrained_weights)
    image = np.random.default_rng(1).integers(0, 255, (32, 48, 3), np.uint8)
    made = {profile: codec.encode(image, profile=profile) for profile in ("compact", "segments")}
    bare = {name: torch.full((8, 4, 4), float(place)) for place, name in enumerate(TASK_NAMES[:3])}
    return {**made, "features": codec.feature_codec.encode(bare, profile="segments")}


@pytest.fixture
def decode(untrained_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.chdir(tmp_path)

    def run(data: bytes, *arguments: str, name: str = "-") -> Any:
        command = ["decode", name, "-o", "answers", "--model", str(untrained_weights), *arguments]
        return CliRunner().invoke(app, command, input=data)

    return run


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def test_a_slow_pipe_is_decoded_answer_by_answer(
    files: dict[str, bytes], untrained_weights: Path, tmp_path: Path
) -> None:
    data = files["segments"]
    reader = ContainerReader(data)
    start = len(data) - sum(reader.lengths)
    command = [sys.executable, "-m", "atdc", "decode", "-", "-o", str(tmp_path / "out"), "--json"]
    with subprocess.Popen(
        [*command, "--model", str(untrained_weights)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    ) as process:  # fmt: skip
        assert process.stdin is not None and process.stdout is not None
        graph, seen = atdc.load(untrained_weights).feature_codec.integers.read(data).graph, 0
        process.stdin.write(data[:start])
        for place, length in enumerate(reader.lengths):
            process.stdin.write(data[start : start + length])
            process.stdin.flush()
            start += length
            ready = [task for task in range(6) if set(graph.closure([task])) <= set(range(place + 1))]
            while seen < len(ready):  # what can be decoded of these bytes comes without a further one
                event = json.loads(process.stdout.readline())
                assert TASK_NAMES.index(event["task"]) in ready
                assert all(Path(path).is_file() for path in event["outputs"]) and event["file"] == "-"
                seen += 1
        process.stdin.close()
        assert process.wait(60) == 0 and seen == 6
    assert sorted(os.listdir(tmp_path / "out" / "stdin")) == sorted(
        f"{name}{suffix}" for name in TASK_NAMES for suffix in (".npy", ".png")
    )


def test_an_early_end_leaves_the_answers_that_came_and_names_the_others(decode: Any, files: dict[str, bytes]) -> None:
    done = decode(files["segments"][:-1], "--json")
    events = lines(done.stdout)
    arrived = {event["task"] for event in events if "task" in event}
    missing = set(events[-1]["missing"])
    assert done.exit_code == 1 and missing and arrived | missing == set(TASK_NAMES) and not arrived & missing
    assert {path.stem for path in Path("answers/stdin").iterdir()} == arrived
    assert "its end before" in done.stderr and all(name in " ".join(done.stderr.split()) for name in missing)


def test_a_compact_file_says_that_it_cannot_be_decoded_in_parts_and_is_decoded(
    decode: Any, files: dict[str, bytes]
) -> None:
    done = decode(files["compact"], "--tasks", "rgb")
    assert done.exit_code == 0 and Path("answers/stdin/rgb.npy").is_file()
    assert "a compact file cannot be decoded in parts" in " ".join(done.stderr.split())


def test_features_that_arrive_are_one_file(decode: Any, files: dict[str, bytes]) -> None:
    done = decode(files["features"])
    assert done.exit_code == 0, done.stderr
    with np.load("answers/stdin.npz") as archive:
        assert set(archive.files) == set(TASK_NAMES[:3])
    assert f"-: {TASK_NAMES[0]}, after" in done.stdout
    again = decode(files["features"], "--skip-existing", "--quiet")
    assert again.exit_code == 0 and not again.stdout


@pytest.mark.parametrize("kind", ["nothing", "noise", "compact", "segments"])
def test_an_error_of_what_arrives_is_told_to_programs_too(decode: Any, files: dict[str, bytes], kind: str) -> None:
    cut = {"nothing": b"", "noise": b"noise", "compact": files["compact"][:30], "segments": files["segments"][:20]}
    data = cut[kind]
    done = decode(data, "--json")
    assert done.exit_code == 1 and "error" in json.loads(done.stdout.splitlines()[-1])


def test_lines_for_programs_need_a_folder(decode: Any, files: dict[str, bytes], untrained_weights: Path) -> None:
    command = ["decode", "-", "-o", "-", "--json", "--model", str(untrained_weights)]
    done = CliRunner().invoke(app, command, input=files["segments"])
    assert done.exit_code == 2 and "name one with -o" in " ".join(done.stderr.split())


class OneFile(http.server.BaseHTTPRequestHandler):
    data = b""

    def do_GET(self) -> None:
        first, last = (int(side) for side in self.headers["Range"].removeprefix("bytes=").split("-"))
        part = self.data[first : last + 1]
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {first}-{first + len(part) - 1}/{len(self.data)}")
        self.end_headers()
        self.wfile.write(part)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def address(files: dict[str, bytes]) -> Iterator[str]:
    handler = type("Handler", (OneFile,), {"data": files["segments"]})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as serving:
        thread = threading.Thread(target=functools.partial(serving.serve_forever, poll_interval=0.01))
        thread.start()
        yield f"http://127.0.0.1:{serving.server_address[1]}/some/photo.atdc"
        serving.shutdown()
        thread.join()


def test_a_file_on_a_server_is_decoded_by_ranges(decode: Any, address: str, untrained_weights: Path) -> None:
    done = decode(b"", "--tasks", "normal", "--json", name=address)
    (event,) = lines(done.stdout)
    assert done.exit_code == 0 and event["task"] == "normal"
    assert Path("answers/photo/normal.npy").is_file()
    whole = np.load(io.BytesIO(Path("answers/photo/normal.npy").read_bytes()))
    command = ["decode", address, "-o", "normal.npy", "--tasks", "normal", "--model", str(untrained_weights)]
    assert CliRunner().invoke(app, command).exit_code == 0
    assert np.array_equal(np.load("normal.npy"), whole)
