"""The command line among files: folders, lists, pipes, outputs that exist, many processes, and stops in the middle."""

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

import atdc.pipeline
from atdc import cli
from atdc.cli import batch, inputs
from atdc.cli.inputs import Item, find_items
from atdc.errors import ArgumentError, OutputError
from atdc.files import write_bytes_unless_others
from atdc.report.answer_files import answers_as_bytes, write_answers
from atdc.tasks import TASK_NAMES

DONE, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working folder with images of equal stems, and a text."""
    monkeypatch.chdir(tmp_path)
    for number, name in enumerate(("a.png", "sub/a.png", "sub/deep/a.jpg", "sub/b.webp")):
        path = Path("photos") / name
        path.parent.mkdir(parents=True, exist_ok=True)
        image = np.random.default_rng(number).integers(0, 256, (16, 20 + number, 3), dtype=np.uint8)
        Image.fromarray(image).save(path)
    Path("photos/notes.txt").write_text("no image")
    Path("photos/.hidden.png").write_bytes(b"")
    yield tmp_path


@pytest.fixture
def model(untrained_weights: Path) -> tuple[str, str]:
    return "--model", str(untrained_weights)


def run(*arguments: str, stdin: bytes | None = None) -> Any:
    return CliRunner().invoke(cli.app, list(arguments), input=stdin)


def shell(line: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """A line for the shell, where ``atdc`` is this package's command."""
    command = f'atdc() {{ "{sys.executable}" -m atdc "$@"; }}\n{line}'
    return subprocess.run(
        ["bash", "-c", command], capture_output=True, check=False, env=os.environ | environment, timeout=120
    )


def below(path: str) -> list[str]:
    return sorted(str(file.relative_to(path)) for file in Path(path).rglob("*") if file.is_file())


ENCODED = ["a.atdc", "sub/a.atdc", "sub/b.atdc", "sub/deep/a.atdc"]


# --- equal stems -----------------------------------------------------------------------------------------------------


def test_a_folder_keeps_its_relative_paths_through_encode_and_decode(folder: Path, model: tuple[str, str]) -> None:
    result = run("encode", "photos", "-o", "out", *model)
    assert result.exit_code == DONE, result.output
    assert below("out") == ENCODED and "encoded 4 of 4 files" in result.stdout
    assert run("decode", "out", "-o", "answers", "--tasks", "rgb", *model).exit_code == DONE
    assert below("answers") == sorted(
        f"{name.removesuffix('.atdc')}/rgb.{kind}" for name in ENCODED for kind in ("png", "npy")
    )
    for name in ENCODED:  # each is its own image's
        (source,) = Path("photos").glob(f"{name.removesuffix('.atdc')}.*")
        with Image.open(source) as image:
            assert image.width == np.load(f"answers/{name.removesuffix('.atdc')}/rgb.npy").shape[1]
    assert run("verify", "out", *model).stdout.count(": ok;") == 4


def names_and_places(items: Sequence[Item]) -> dict[str, str]:
    return {item.name: item.place.as_posix() for item in items if not item.refusal}


def is_image(path: Path) -> bool:
    return path.suffix in (".png", ".jpg", ".webp")


def test_patterns_are_expanded_where_the_shell_did_not(folder: Path) -> None:
    found = find_items(["photos/**/a.*"], None, is_image, lambda: folder)
    assert names_and_places(found) == {
        "photos/a.png": "a", "photos/sub/a.png": "sub/a", "photos/sub/deep/a.jpg": "sub/deep/a",
    }  # fmt: skip
    Path("[1].png").write_bytes(b"")
    assert names_and_places(find_items(["[1].png"], None, is_image, lambda: folder)) == {"[1].png": "[1]"}
    (none,) = find_items(["photos/*.gif"], None, is_image, lambda: folder)
    assert "photos/*.gif: found no file of this pattern" in none.refusal


def test_lines_of_a_list_keep_their_paths(folder: Path) -> None:
    absolute = folder / "photos" / "a.png"
    Path("list").write_text(f"photos/sub/a.png\n\n{absolute}\nphotos/sub/deep\n../{folder.name}/photos/a.png\n")
    assert names_and_places(find_items([], "list", is_image, lambda: folder)) == {
        "photos/sub/a.png": "photos/sub/a",
        str(absolute): absolute.relative_to("/").with_suffix("").as_posix(),
        "photos/sub/deep/a.jpg": "photos/sub/deep/a",
        f"../{folder.name}/photos/a.png": f"{folder.name}/photos/a",
    }


def test_a_list_comes_from_standard_input_too(folder: Path, model: tuple[str, str]) -> None:
    result = run("encode", "--from-file", "-", "-o", "out", *model, stdin=b"photos/a.png\nphotos/sub/a.png\n")
    assert result.exit_code == DONE, result.output
    assert below("out") == ["photos/a.atdc", "photos/sub/a.atdc"]


def test_inputs_must_be_named_and_standard_input_once(folder: Path) -> None:
    assert run("encode", "-o", "out").exit_code == USAGE
    with pytest.raises(ArgumentError, match="named twice"):
        find_items(["-"], "-", is_image, lambda: folder)
    assert run("verify", "--from-file", "absent").exit_code == USAGE


def test_colliding_and_absent_inputs_are_named_and_the_rest_is_done(folder: Path, model: tuple[str, str]) -> None:
    named = ("photos/a.png", "photos/sub/a.png", "absent.png", "photos/notes.txt", "photos/sub/b.webp")
    result = run("encode", *named, "-o", "out", *model)
    assert result.exit_code == FAILED and below("out") == ["b.atdc"]
    assert "encoded 1 of 5 files, 4 failed" in result.stdout
    errors = result.stderr.splitlines()
    assert [error.split(":")[1].strip() for error in errors] == [*named[:4]]
    assert run("encode", "photos/a.png", "-o", "out", *model).exit_code == DONE
    for command in ("decode", "inspect", "verify"):
        more = ("-o", "answers") if command == "decode" else ()
        result = run(command, "absent", "out/a.atdc", "photos/notes.txt", "out/b.atdc", *more, *model)
        assert result.exit_code == FAILED and len(result.stderr.splitlines()) == 2
        assert "absent" in result.stderr and "photos/notes.txt" in result.stderr
        assert "out/b.atdc" in result.stdout


def test_an_image_is_never_replaced_by_its_own_file(folder: Path, model: tuple[str, str]) -> None:
    before = Path("photos/a.png").read_bytes()
    result = run("encode", "photos/a.png", "-o", "photos/a.png", "--force", *model)
    assert result.exit_code == FAILED and "the input itself" in result.stderr
    assert Path("photos/a.png").read_bytes() == before


def test_a_demo_continues_without_the_image_that_fails(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import atdc.report.demo

    shown: list[Path] = []

    class Made:
        shown = ()
        decode_seconds = 1.0
        page = Path("demo/index.html")

    def run_demo(images: Sequence[Path], *_: Any, **__: Any) -> type[Made]:
        shown.extend(images)
        return Made

    monkeypatch.setattr(atdc.report.demo, "run_demo", run_demo)
    result = run("demo", "photos/notes.txt", "photos/a.png", "absent.png")
    assert result.exit_code == FAILED and shown == [Path("photos/a.png")]
    assert "photos/notes.txt: " in result.stderr and "absent.png: " in result.stderr
    assert run("demo", "absent.png").exit_code == FAILED and len(shown) == 1


# --- outputs that exist ----------------------------------------------------------------------------------------------


def test_a_repeated_command_succeeds_and_other_content_is_kept_unless_forced(
    folder: Path, model: tuple[str, str]
) -> None:
    encode = ("encode", "photos/a.png", "photos/sub/b.webp", "-o", "out", *model)
    assert run(*encode).exit_code == run(*encode).exit_code == DONE
    Path("out/a.atdc").write_bytes(b"precious")
    refused = run(*encode)
    assert refused.exit_code == FAILED and "out/a.atdc: found a file of other content" in refused.stderr
    assert "--force" in refused.stderr and Path("out/a.atdc").read_bytes() == b"precious"
    assert run(*encode, "--force").exit_code == DONE and Path("out/a.atdc").read_bytes() != b"precious"
    decode = ("decode", "out", "-o", "answers", *model)
    assert run(*decode).exit_code == run(*decode).exit_code == DONE
    Path("answers/a/rgb.npy").write_bytes(b"precious")
    Path("answers/a/normal.npy").unlink()
    refused = run(*decode)
    assert refused.exit_code == FAILED and "answers/a/rgb.npy: found a file of other content" in refused.stderr
    assert Path("answers/a/rgb.npy").read_bytes() == b"precious" and not Path("answers/a/normal.npy").exists()
    assert run(*decode, "--force").exit_code == DONE and np.load("answers/a/rgb.npy").ndim == 3
    assert run(*encode, "--force", "--skip-existing").exit_code == USAGE


def test_outputs_that_are_there_can_be_left_out(folder: Path, model: tuple[str, str]) -> None:
    Path("out/sub").mkdir(parents=True)
    Path("out/sub/a.atdc").write_bytes(b"done before")
    result = run("encode", "photos", "-o", "out", "--skip-existing", *model)
    assert result.exit_code == DONE and "encoded 3 of 4 files, 1 there before" in result.stdout
    assert below("out") == ENCODED and Path("out/sub/a.atdc").read_bytes() == b"done before"
    Path("out/sub/a.atdc").unlink()
    decode = ("decode", "out", "-o", "answers", "--tasks", "rgb,normal", *model)
    assert run(*decode).exit_code == DONE
    Path("answers/a/normal.png").unlink()
    result = run(*decode, "--skip-existing")
    assert result.exit_code == DONE and "decoded 1 of 3 files, 2 there before" in result.stdout
    assert Path("answers/a/normal.png").is_file()


def test_other_bytes_are_refused_and_the_same_are_not(tmp_path: Path) -> None:
    path = tmp_path / "a"
    for data in (b"one", b"one"):
        write_bytes_unless_others(path, data)
    for other in (b"two", b"longer"):
        with pytest.raises(OutputError, match="other content"):
            write_bytes_unless_others(path, other)
    assert path.read_bytes() == b"one"
    write_bytes_unless_others(path, b"two", replace=True)
    assert path.read_bytes() == b"two"


def test_answers_are_written_all_or_none(tmp_path: Path) -> None:
    (tmp_path / "depth_zbuffer.npy").write_bytes(b"precious")
    with pytest.raises(OutputError):
        answers = {"edge_texture": np.zeros((2, 2), np.float32), "depth_zbuffer": np.ones((2, 2), np.float32)}
        write_answers(tmp_path, answers, replace=False)
    assert os.listdir(tmp_path) == ["depth_zbuffer.npy"]


# --- one file, pipes -------------------------------------------------------------------------------------------------


def test_what_looks_like_a_file_is_one(folder: Path, model: tuple[str, str]) -> None:
    assert run("encode", "photos/a.png", "-o", "x.bin", *model).exit_code == DONE
    assert Path("x.bin").read_bytes()[:4] == b"ATDC"
    assert run("encode", "photos/a.png", "-o", "y.bin/", *model).exit_code == DONE and Path("y.bin/a.atdc").is_file()
    several = run("encode", "photos", "-o", "z.bin", *model)
    assert several.exit_code == USAGE and not Path("z.bin").exists()
    assert run("decode", "x.bin", "-o", "n/depth.npy", "--tasks", "depth_zbuffer", *model).exit_code == DONE
    assert np.load("n/depth.npy").shape == (16, 20)
    assert run("decode", "x.bin", "-o", "depth.png", "--tasks", "depth_zbuffer", *model).exit_code == DONE
    with Image.open("depth.png") as image:
        assert image.size == (20, 16)
    assert run("decode", "x.bin", "-o", "all.zip", *model).exit_code == DONE
    with zipfile.ZipFile("all.zip") as archive:
        assert set(archive.namelist()) == {f"{task}.{kind}" for task in TASK_NAMES for kind in ("png", "npy")}
    for wrong, status in (("all.npy", FAILED), ("all.tar", USAGE)):  # that it has several answers, the file alone tells
        result = run("decode", "x.bin", "-o", wrong, *model)
        assert result.exit_code == status and not Path(wrong).exists()


def test_answers_of_a_zip_are_the_numbers() -> None:
    answers = {"rgb": np.full((2, 3, 3), 0.25, np.float32), "depth_zbuffer": np.ones((2, 3), np.float32)}
    with np.load(io.BytesIO(answers_as_bytes(answers, ".zip"))) as archive:
        for task, answer in answers.items():
            np.testing.assert_array_equal(archive[task], answer)
    assert answers_as_bytes(answers, ".zip") == answers_as_bytes(answers, ".zip")
    for suffix in (".npy", ".png"):
        with pytest.raises(ArgumentError):
            answers_as_bytes(answers, suffix)


def test_standard_input_and_output_carry_the_same_bytes_as_files(folder: Path, model: tuple[str, str]) -> None:
    assert run("encode", "photos/a.png", "-o", "a.atdc", *model).exit_code == DONE
    data = Path("a.atdc").read_bytes()
    piped = run("encode", "-", "-o", "-", *model, stdin=Path("photos/a.png").read_bytes())
    assert piped.exit_code == DONE and piped.stdout_bytes == data and "- → standard output" in piped.stderr
    one = run("decode", "-", "-o", "-", "--tasks", "normal", *model, stdin=data)
    assert np.load(io.BytesIO(one.stdout_bytes)).shape == (16, 20, 3)
    several = run("decode", "-", "-o", "-", "--tasks", "normal,rgb", *model, stdin=data)
    assert set(np.load(io.BytesIO(several.stdout_bytes))) >= {"normal", "rgb"}
    assert run("decode", "-", "-o", "answers", "--tasks", "rgb", *model, stdin=data).exit_code == DONE
    assert below("answers") == ["stdin/rgb.npy", "stdin/rgb.png"]
    assert json.loads(run("inspect", "-", "--json", *model, stdin=data).stdout)["bytes"] == len(data)
    assert run("verify", "-", *model, stdin=data).stdout.startswith("-: ok;")
    broken = run("encode", "-", "-o", "-", *model, stdin=b"no picture")
    assert broken.exit_code == FAILED and broken.stdout_bytes == b""
    assert broken.stderr.startswith("atdc: -: found a file that is not an image")
    assert run("encode", "photos", "-o", "-", *model).exit_code == USAGE


@pytest.mark.slow
def test_pipes_without_a_seek_work_everywhere(folder: Path, model: tuple[str, str]) -> None:
    options = " ".join(model)
    line = (
        f"set -eo pipefail; cat photos/a.png | atdc encode /dev/stdin -o - {options} > piped.atdc; "
        f"atdc encode photos/a.png -o a.atdc {options}; cmp a.atdc piped.atdc; "
        f"cat a.atdc | atdc decode /dev/stdin -o - --tasks rgb {options} > rgb.npy; "
        f"cat a.atdc | atdc verify /dev/stdin --json {options}; cat a.atdc | atdc inspect - --json; "
        f"atdc verify <(cat a.atdc)"
    )
    done = shell(line)
    assert done.returncode == DONE, done.stderr
    assert np.load("rgb.npy").shape == (16, 20, 3)


def test_no_more_is_taken_from_a_pipe_than_an_image_needs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inputs, "STREAM_LIMIT_BYTES", 5)
    result = run("verify", "-", stdin=b"123456")
    assert result.exit_code == FAILED and "at most 5 bytes" in result.stderr


def test_encode_takes_the_pixel_limit(folder: Path, model: tuple[str, str]) -> None:
    result = run("encode", "photos/a.png", "photos/sub/b.webp", "-o", "out", "--pixel-limit", "320", *model)
    assert result.exit_code == FAILED and below("out") == ["a.atdc"]
    assert "found 23×16 pixels; expected at most 320 pixels. If that size is meant, raise --pixel-limit." in (
        result.stderr
    )


def test_the_codec_has_the_limit_that_it_is_told(model: tuple[str, str]) -> None:
    codec = atdc.pipeline.load(model[1])
    image = np.zeros((16, 20, 3), np.uint8)
    with pytest.raises(atdc.AtdcError, match="at most 319 pixels"):
        codec.encode(image, pixel_limit=319)
    assert codec.encode(image, pixel_limit=320)


def test_programs_get_an_object_of_one_file_and_a_list_of_several(folder: Path, model: tuple[str, str]) -> None:
    run("encode", "photos", "-o", "out", *model)
    assert "profile" in json.loads(run("inspect", "out/a.atdc", "--json").stdout)
    for arguments, count in ((("out/a.atdc", "out/sub/a.atdc"), 2), (("out",), 4), (("out/*.atdc",), 1)):
        rows = json.loads(run("inspect", *arguments, "--json").stdout)
        assert len(rows) == count and rows[0]["file"] == "out/a.atdc" and rows[0]["profile"] == "compact"


# --- output that cannot be shown or written --------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["cp1252", "ascii"])
def test_what_cannot_be_shown_is_spelled_out(folder: Path, model: tuple[str, str], encoding: str) -> None:
    shutil.copy("photos/a.png", "größe→.png")
    options = " ".join(model)
    line = f"atdc encode größe→.png absent→.png -o out {options}; atdc inspect out/größe→.atdc {options}"
    done = shell(line, PYTHONIOENCODING=encoding, PYTHONUTF8="1")
    assert done.returncode == DONE and b"Traceback" not in done.stderr
    text = done.stdout.decode(encoding)
    assert " -> out" in text and "predicted from" in text
    assert "absent->.png: found no such" in done.stderr.decode(encoding)
    assert Path("out/größe→.atdc").is_file()
    assert shell("atdc --help; atdc encode --help", PYTHONIOENCODING=encoding).returncode == DONE


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_messages_that_cannot_be_written_fail_no_job(folder: Path, model: tuple[str, str]) -> None:
    options = " ".join(model)
    for line in (
        f"atdc encode photos/a.png -o 1.atdc {options} > /dev/full",
        f"set -o pipefail; atdc encode photos/a.png photos/sub/b.webp -o out {options} | true",
        f"atdc encode photos/a.png -o 2.atdc {options} >&- 2>&-",
        "atdc verify 1.atdc > /dev/full",
        "set -o pipefail; atdc inspect 1.atdc | true",
    ):
        done = shell(line)
        assert (done.returncode, done.stderr) == (DONE, b""), line
    assert below("out") == ["a.atdc", "b.atdc"] and Path("1.atdc").read_bytes() == Path("2.atdc").read_bytes()
    failed = shell(f"atdc encode absent photos/a.png -o 3.atdc/ {options} 2> /dev/full")
    assert failed.returncode == FAILED and Path("3.atdc/a.atdc").is_file()


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_an_output_that_is_the_job_itself_is_not_lost_silently(folder: Path, model: tuple[str, str]) -> None:
    options = " ".join(model)
    assert run("encode", "photos/a.png", "-o", "a.atdc", *model).exit_code == DONE
    for line in (
        f"atdc encode photos/a.png -o - -q 1 --quiet {options} > /dev/full",
        f"atdc decode a.atdc -o - --quiet {options} > /dev/full",
        "atdc inspect a.atdc --json > /dev/full",
        "atdc verify a.atdc --json > /dev/full",
    ):
        done = shell(line)
        assert done.returncode == FAILED, line
        assert done.stderr.startswith(b"atdc: standard output: found no space left") and done.stderr.count(b"\n") == 1
    closed = shell("atdc inspect a.atdc --json >&-; atdc verify - <&-")
    assert b"standard output: found a closed one" in closed.stderr and b"-: found bad file descriptor" in closed.stderr
    assert b"Traceback" not in closed.stderr


# --- many processes, and stops ---------------------------------------------------------------------------------------


@pytest.mark.slow
def test_many_processes_write_the_same_bytes_and_name_what_fails(folder: Path, model: tuple[str, str]) -> None:
    shutil.copy("photos/notes.txt", "photos/broken.png")
    for jobs in ("1", "2"):
        result = run("encode", "photos", "-o", f"out{jobs}", "--jobs", jobs, *model)
        assert result.exit_code == FAILED and "encoded 4 of 5 files, 1 failed" in result.stdout
        assert result.stderr.startswith("atdc: photos/broken.png: found a file that is not an image")
        assert result.stderr.count("\n") == 1
    assert below("out1") == below("out2") == ENCODED
    for name in ENCODED:
        assert (Path("out1") / name).read_bytes() == (Path("out2") / name).read_bytes()
    rows = json.loads(run("verify", "out1", "absent", "--json", "--jobs", "2", *model).stdout)
    assert [row["file"] for row in rows] == [*(f"out1/{name}" for name in sorted(ENCODED)), "absent"]
    assert [row["ok"] for row in rows] == [True] * 4 + [False]


@pytest.mark.slow
def test_a_process_that_dies_loses_its_own_input_only(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    Path("dying.py").write_text(
        "import os, signal\n"
        "from atdc.cli.batch import Report\n"
        "def make():\n"
        "    def work(item):\n"
        "        if item.name.startswith('killed'): os.kill(os.getpid(), signal.SIGKILL)\n"
        "        if item.name.startswith('left'): os._exit(7)\n"
        "        return Report('did ' + item.name, value=os.getpid())\n"
        "    return work\n"
    )
    monkeypatch.syspath_prepend(str(folder))
    import dying  # type: ignore[import-not-found]

    items = [Item(name, Path(name), Path(name)) for name in ("one", "killed", "two", "left", "three", "four")]
    context = typer.Context(typer.main.get_command(cli.app))
    done = batch.for_each(context, ("doing", "done"), items, dying.make, quiet=False, jobs=2)
    assert [item.name for item in done.items] == ["one", "two", "three", "four"] and done.failed == 2
    assert os.getpid() not in [report.value for report in done.reports]
    printed = capfd.readouterr()
    assert "killed: found the end of the process that had it, by signal 9" in printed.err
    assert "left: found the end of the process that had it, by exit status 7" in printed.err
    assert "Traceback" not in printed.err


@pytest.mark.slow
@pytest.mark.parametrize("jobs", ["1", "2"])
def test_an_interrupted_command_says_how_far_it_was_and_resumes(
    folder: Path, model: tuple[str, str], jobs: str
) -> None:
    count = 300
    Path("many").mkdir()
    for number in range(count):
        shutil.copy("photos/a.png", f"many/{number:03}.png")
    command = [sys.executable, "-u", "-m", "atdc", "encode", "many", "-o", "out", "--jobs", jobs, *model]
    command += ["--effort", "high"]
    heard = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # ignored by inheritance where tests run with `&`
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True, preexec_fn=heard
    )
    assert process.stdout is not None
    assert "many/" in process.stdout.readline()
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to all processes of the command
    _, errors = process.communicate(timeout=60)
    assert process.returncode == INTERRUPTED
    assert f" of {count} done. The same command with --skip-existing resumes from there." in errors
    assert errors.startswith("atdc: interrupted: ") and errors.count("\n") == 1
    finished = below("out")
    assert 0 < len(finished) < count and all(name.endswith(".atdc") and name[0] != "." for name in finished)
    assert run("verify", "out", *model, "--quiet").exit_code == DONE
    time.sleep(0.1)
    assert below("out") == finished  # nobody still works


@pytest.mark.slow
def test_of_a_hundred_odd_files_each_is_encoded_or_named(folder: Path, model: tuple[str, str]) -> None:
    modes = {
        "L": "png",
        "RGB": "jpg",
        "RGBA": "webp",
        "P": "gif",
        "1": "tif",
        "CMYK": "jpg",
        "LA": "png",
        "I;16": "png",
    }
    good, bad = set(), {"absent.png", os.devnull, "odd/link.png"}
    Path("odd/sub folder").mkdir(parents=True)
    for number in range(72):
        mode, kind = list(modes.items())[number % len(modes)]
        path = Path("odd") / ("sub folder" if number % 3 else "") / f"p{number:02}.{kind}"
        Image.new(mode, (17 + number % 5, 16)).save(path)
        good.add(str(path))
    for number, content in enumerate([b"", b"x", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"ATDC", b"\xff\xd8\xff"] * 4):
        path = Path("odd") / f"bad{number}.png"
        path.write_bytes(content)
        bad.add(str(path))
    os.symlink("nowhere", "odd/link.png")
    os.mkfifo("odd/pipe.png")  # one that nobody writes to is not waited for
    shutil.copy("photos/a.png", "odd/p00.jpeg")
    bad |= {"odd/p00.png", "odd/p00.jpeg"}  # both would be p00.atdc
    good -= bad
    result = run("encode", "odd", "absent.png", os.devnull, "-o", "out", *model)
    assert result.exit_code == FAILED and len(good | bad) == 100
    assert {line.split(" → ")[0] for line in result.stdout.splitlines()[:-1]} == good
    errors = result.stderr.splitlines()
    assert {error.removeprefix("atdc: ").split(": found ")[0] for error in errors} == bad and len(errors) == len(bad)
    assert len(below("out")) == len(good) and "a defect of atdc" not in result.stderr


def test_a_file_of_one_answer_is_decoded_to_that_answer(folder: Path, model: Sequence[str]) -> None:
    assert run("encode", "photos/a.png", "-o", "one.atdc", "--tasks", "rgb", *model).exit_code == DONE
    assert run("encode", "photos/a.png", "-o", "all.atdc", *model).exit_code == DONE
    assert run("decode", "one.atdc", "-o", "one.npy", *model).exit_code == DONE
    assert np.load("one.npy").shape[2] == 3
    refused = run("decode", "all.atdc", "-o", "all.npy", *model)
    assert refused.exit_code == FAILED and "all.npy: found 6 answers; expected one in .npy or .png" in refused.stderr
    assert "Name one by --tasks, or a folder." in refused.stderr and not Path("all.npy").exists()


def test_decode_tells_a_program_of_every_answer(folder: Path, model: Sequence[str]) -> None:
    run("encode", "photos/a.png", "-o", "a.atdc", "--tasks", "rgb,normal", *model)
    rows = [json.loads(line) for line in run("decode", "a.atdc", "-o", "out", "--json", *model).stdout.splitlines()]
    assert [row["task"] for row in rows] == ["normal", "rgb"]
    assert all(Path(path).is_file() for row in rows for path in row["outputs"])
    assert {row["bytes_read"] for row in rows} == {Path("a.atdc").stat().st_size}


def test_a_path_without_the_ending_of_weights_is_refused(folder: Path) -> None:
    for name in (str(folder), str(folder / "mine")):
        refused = run("encode", "photos/a.png", "-o", "x", "--model", name)
        assert refused.exit_code == FAILED and "or a .safetensors file" in " ".join(refused.stderr.split())


def test_weights_that_did_not_write_a_file_are_said_not_to_check_it(folder: Path, model: Sequence[str]) -> None:
    run("encode", "photos/a.png", "-o", "a.atdc", *model)
    checked = run("verify", "a.atdc", "--model", "small").stdout
    assert "not the integers: not small, but the weights" in " ".join(checked.split())


def test_features_in_a_folder_of_images_are_answered_with_the_option_that_they_need(folder: Path) -> None:
    Path("dumps").mkdir()
    np.savez("dumps/a.npz", x=np.zeros((1, 2, 2), np.float32))
    refused = run("encode", "dumps", "-o", "x")
    assert "For features, name weights that were fitted to them by --model." in " ".join(refused.stderr.split())
