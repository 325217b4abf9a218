"""Whatever is named on a command line is done or refused in one line: locked folders, odd names, links, lists."""

from __future__ import annotations

import errno
import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import atdc
from atdc import cli
from atdc.bitstream.sources import opened
from atdc.cli.inputs import Item, apart, find_items
from atdc.cli.options import PASSED_OVER
from atdc.errors import AtdcError
from atdc.files import read_bytes
from atdc.images import as_rgb

DONE, FAILED, USAGE = 0, 1, 2


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with the images a.png and sub/b.png."""
    monkeypatch.chdir(tmp_path)
    for number, name in enumerate(("a.png", "sub/b.png")):
        save_image(name, number)
    return tmp_path


@pytest.fixture
def model(untrained_weights: Path) -> tuple[str, str]:
    return "--model", str(untrained_weights)


def save_image(name: str, seed: int = 0) -> None:
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (16, 20, 3), dtype=np.uint8)).save(name)


def run(*arguments: str, stdin: bytes | None = None) -> Any:
    return CliRunner().invoke(cli.app, list(arguments), input=stdin)


def test_no_temporary_folder_is_made_where_nothing_is_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(**_: object) -> object:
        raise FileNotFoundError(2, "No usable temporary directory found")

    monkeypatch.setattr("atdc.cli.files.TemporaryDirectory", full)
    result = run("verify", str(Path(__file__).parent / "golden" / "square.atdc"), "--model", "small")
    assert "temporary" not in result.output
    result = run("verify", "-", "--model", "small", stdin=b"ATDC")
    assert result.exit_code == 1 and "found no usable temporary directory found" in " ".join(result.stderr.split())


@pytest.mark.skipif(sys.platform == "win32", reason="no such devices")
def test_a_device_is_no_output() -> None:
    result = run("decode", str(Path(__file__).parent / "golden" / "square.atdc"), "-o", "/dev/null")
    assert result.exit_code == 1 and "/dev/null: found a device or pipe;" in result.stderr


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="no such signals")
def test_a_command_that_is_told_to_end_leaves_no_copies(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "atdc", "encode", "-", "-o", str(tmp_path / "x.atdc"), "--model", "small"]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment)
    assert process.stdin is not None
    process.stdin.write(bytes(1 << 20))
    process.stdin.flush()
    end = time.monotonic() + 60
    while not list(tmp_path.glob("atdc-*/0")) and time.monotonic() < end:
        time.sleep(0.05)
    process.terminate()
    assert process.wait(60) == 128 + signal.SIGTERM and not list(tmp_path.iterdir())
    process.stdin.close()


@pytest.mark.skipif(sys.platform == "win32", reason="no such signals")
def test_a_signal_that_is_ignored_stays_so() -> None:
    """As `nohup` has it."""
    program = (
        "import signal\nfrom atdc import cli\nsignal.signal(signal.SIGHUP, signal.SIG_IGN)\ncli.app = lambda: None\n"
        "cli.main()\nof = signal.getsignal\nprint(of(signal.SIGHUP) == signal.SIG_IGN, callable(of(signal.SIGTERM)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "True"]


def complaints(result: Any) -> list[str]:
    """The lines on standard error; nothing may have escaped as an exception."""
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return [line.removeprefix("atdc: ") for line in result.stderr.splitlines()]


# --- folders that may not be entered ---------------------------------------------------------------------------------


@pytest.fixture
def lock(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Lets the operating system answer as to a user who may not enter a folder; it lets root in anywhere."""

    def locked(name: str) -> None:
        folder = os.path.abspath(name)

        def guarded(function: Callable[..., Any], itself: bool) -> Callable[..., Any]:
            def call(path: Any = ".", *args: Any, **options: Any) -> Any:
                if isinstance(path, (str, os.PathLike)):
                    full = os.path.abspath(path)
                    if full.startswith(folder + os.sep) or (itself and full == folder):
                        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
                return function(path, *args, **options)

            return call

        for module, function, itself in (
            (os, "stat", False), (os, "lstat", False), (os, "mkdir", False), (os, "open", False),
            (os, "scandir", True), (os, "listdir", True), (io, "open", False),
        ):  # fmt: skip
            monkeypatch.setattr(module, function, guarded(getattr(module, function), itself))
        monkeypatch.setattr("builtins.open", io.open)

    return locked


def test_an_input_in_a_folder_that_may_not_be_entered_gets_a_line_and_the_rest_is_done(
    folder: Path, model: tuple[str, str], lock: Callable[[str], None]
) -> None:
    assert run("encode", "a.png", "-o", "a.atdc", *model).exit_code == DONE
    save_image("locked/c.png")
    Path("locked/c.atdc").write_bytes(b"")
    lock("locked")
    result = run("encode", "locked/c.png", "a.png", "-o", "out", *model)
    (line,) = complaints(result)
    assert result.exit_code == FAILED and line.startswith("locked/c.png: found a file that may not be read")
    assert Path("out/a.atdc").is_file()
    for command, *options in (("inspect",), ("inspect", "--json"), ("verify",), ("decode", "-o", "answers")):
        result = run(command, "locked/c.atdc", "a.atdc", *options, *model)
        (line,) = complaints(result)
        assert result.exit_code == FAILED and line.startswith("locked/c.atdc: found permission denied"), command
        assert "a.atdc" in result.stdout
    assert complaints(run("verify", "locked", *model)) == [
        "locked: found permission denied; expected a folder to read. Check its permissions."
    ]


def test_an_input_that_may_not_be_read_is_no_usage_error(
    folder: Path, model: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    save_image("locked/c.png")
    monkeypatch.setattr(os, "access", lambda path, *_, **__: "locked" not in str(path))
    assert run("encode", "locked", "a.png", "./a.png", "-o", "out", *model).exit_code == DONE
    assert sorted(os.listdir("out")) == ["a.atdc", "c.atdc"]


def test_an_output_in_a_folder_that_may_not_be_entered_gets_a_line(
    folder: Path, model: tuple[str, str], lock: Callable[[str], None]
) -> None:
    assert run("encode", "a.png", "-o", "a.atdc", *model).exit_code == DONE
    Path("locked").mkdir()
    lock("locked")
    for command in ("encode a.png -o locked/x", "encode a.png -o locked/x.atdc", "encode sub -o locked",
                    "encode a.png -o locked/x.atdc --skip-existing", "decode a.atdc -o locked/x",
                    "decode a.atdc -o locked/x.zip", "decode a.atdc -o locked --skip-existing"):  # fmt: skip
        result = run(*command.split(), *model)
        (line,) = complaints(result)
        assert result.exit_code == FAILED and "locked" in line, command
        assert ": found permission denied; expected a " in line, command


def test_weights_in_a_folder_that_may_not_be_entered_are_not_at_hand(
    folder: Path, model: tuple[str, str], lock: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("encode", "a.png", "-o", "a.atdc", *model).exit_code == DONE
    Path("locked").mkdir()
    lock("locked")
    monkeypatch.setenv("ATDC_MODEL", "locked/own.safetensors")
    assert complaints(run("verify", "a.atdc")) == []
    (line,) = complaints(run("encode", "a.png", "-o", "b.atdc"))
    assert line.startswith("locked/own.safetensors: found permission denied")


# --- names that no file has, and files without bytes -----------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        ("encode", "", "-o", "out"), ("encode", "a.png", "", "-o", "out"), ("encode", "a.png", "-o", ""),
        ("encode", "a.png", "--out="), ("encode", "a.png", "-o", "out", "--model", ""), ("decode", "", "-o", "out"),
        ("decode", "a.atdc", "-o", ""), ("decode", "a.atdc", "-o", "out", "--tasks", ""), ("inspect", ""),
        ("verify", ""), ("verify", "--from-file", ""), ("demo", ""), ("demo", "a.png", "-o", ""),
        ("data", "--data", ""),
    ],
)  # fmt: skip
def test_an_empty_name_is_no_folder(folder: Path, arguments: tuple[str, ...]) -> None:
    result = run(*arguments)
    assert result.exit_code == USAGE and "an empty name or value" in result.stderr
    assert sorted(os.listdir()) == ["a.png", "sub"]


def test_names_that_no_file_has_are_said_to_be_such() -> None:
    takers: list[Callable[[str], Any]] = [
        as_rgb, atdc.load, lambda name: read_bytes(name, 1), lambda name: opened(name).__enter__()
    ]  # fmt: skip
    for take in takers:
        with pytest.raises(AtdcError, match=r"^'': found an empty name; expected"):
            take("")
        with pytest.raises(AtdcError, match=r"^'a\\x00b': found a path that holds a NUL; expected"):
            take("a\0b")


def test_what_is_no_name_of_weights_is_said_to_be_such(folder: Path) -> None:
    for wrong, found in ((5, "5"), (b"real", "b'real'"), (True, "True")):
        with pytest.raises(atdc.WeightsError, match=f"^model: found {found}; expected a name or a path"):
            atdc.load(wrong)  # type: ignore[arg-type]
    with pytest.raises(
        atdc.WeightsError, match=r"^a\.png: found a file of another kind, by its name; expected shipped"
    ):
        atdc.load("a.png")
    with pytest.raises(atdc.WeightsError, match=r"^sub: found a folder; expected shipped weights \("):
        atdc.load("sub")


def test_bytes_that_are_not_there_are_said_to_be_missing(folder: Path) -> None:
    for empty in (b"", bytearray(), io.BytesIO()):
        with pytest.raises(atdc.ImageError, match=r"^image: found an empty file \(0 bytes\)"):
            as_rgb(empty)
    with open("a.png", "rb") as file, opened(io.BytesIO()) as nothing:
        file.read()
        assert as_rgb(file).shape == (16, 20, 3), "an image is read from its start"
        assert nothing.size() == 0
        file.read()
        with (
            pytest.raises(atdc.ArgumentError, match=r"found 0 bytes left in it.*Call its seek\(0\) first"),
            opened(file),
        ):
            pass


def test_an_image_comes_through_a_pipe_in_a_program(folder: Path) -> None:
    class Pipe(io.RawIOBase):
        def __init__(self, data: bytes) -> None:
            self.rest = io.BytesIO(data)

        def readable(self) -> bool:
            return True

        def readinto(self, buffer: Any) -> int:
            return self.rest.readinto(buffer)

    assert as_rgb(Pipe(Path("a.png").read_bytes())).shape == (16, 20, 3)  # type: ignore[arg-type]
    with pytest.raises(atdc.ImageError, match="an empty file"):
        as_rgb(Pipe(b""))  # type: ignore[arg-type]


# --- equal outputs ---------------------------------------------------------------------------------------------------


def test_of_inputs_with_one_output_none_is_done_whatever_their_order_and_whether_they_can_be_read(
    folder: Path, model: tuple[str, str]
) -> None:
    save_image("pairs/q.jpg")
    Path("pairs/q.png").write_bytes(b"no picture")
    save_image("pairs/r.png")
    for _ in range(2):  # what was done before plays no part
        result = run("encode", "pairs", "-o", "out", "--skip-existing", *model)
        assert result.exit_code == FAILED and os.listdir("out") == ["r.atdc"]
        assert complaints(result) == [
            f"{one}: found out/q.atdc, which {other} would be written to, too; expected an output of its own. Use two "
            f"calls with different -o folders, for example for the patterns 'pairs/*{a}' and 'pairs/*{b}'."
            for one, other, a, b in (
                ("pairs/q.jpg", "pairs/q.png", ".jpg", ".png"), ("pairs/q.png", "pairs/q.jpg", ".png", ".jpg"),
            )
        ]  # fmt: skip
    assert run("encode", "pairs/*.jpg", "-o", "jpg", *model).exit_code == DONE, "the cure helps"
    assert os.listdir("jpg") == ["q.atdc"]


def test_inputs_of_different_folders_are_told_of_their_common_one() -> None:
    items = [Item(name, Path(name), Path("a")) for name in ("x/a.png", "y/a.png")]
    for order in (items, items[::-1]):
        refusals = [item.refusal for item in apart(order, lambda item: [Path("out") / item.place])]
        assert all("Name their common folder instead" in refusal for refusal in refusals)


def test_a_file_named_in_two_ways_is_one_input_and_keeps_its_turn(folder: Path) -> None:
    found = find_items(["a.png", "sub/b.png", "./a.png", "sub//b.png"], None, lambda _: True, lambda: folder)
    assert [item.name for item in found] == ["a.png", "sub/b.png"]


# --- lists -----------------------------------------------------------------------------------------------------------


def test_names_in_a_list_may_hold_whatever_else_ends_a_line(folder: Path) -> None:
    names = ["sub/x\x0by", "x\x0cy", "x\x1cy", "x\x85y", "x\u2028y", "x\ry"]
    Path("list").write_bytes(("\ufeff" + "\r\n".join(names[:3]) + "\n \n" + "\n".join(names[3:]) + "\n").encode())
    assert [item.name for item in find_items([], "list", lambda _: True, lambda: folder)] == names


def test_a_list_with_nuls_is_split_at_them_alone(folder: Path) -> None:
    names = ["x\ny", " ", "sub/x y", "x\r"]
    for end in ("\0", ""):
        Path("list").write_bytes(("\0".join(names) + end).encode())
        assert [item.name for item in find_items([], "list", lambda _: True, lambda: folder)] == names


# --- links and hidden files ------------------------------------------------------------------------------------------


@pytest.fixture
def linked(folder: Path) -> Path:
    """In ``tree``: an image, a link to one, a linked folder, two loops, and what is hidden."""
    for name in ("tree/in/a.png", "tree/.hidden.png", "tree/.dir/h.png", "else/where/o.png"):
        save_image(name)
    os.symlink("in/a.png", "tree/link.png")
    os.symlink("../else", "tree/linked")
    os.symlink(".", "tree/loop")
    os.symlink("../tree", "tree/twice")
    return folder


def named(folder: Path, *names: str) -> list[str]:
    return [
        item.name
        for item in find_items(names, None, lambda path: path.suffix == ".png", lambda: folder)
        if not item.refusal
    ]


@pytest.mark.parametrize(
    "name", ["tree", "tree/", "tree/**/*.png", "tree/**", "tr*/**/*.png", "tree/loop", "tree/loop/**"]
)
def test_folders_and_patterns_enter_no_linked_folder_and_pass_over_what_is_hidden(linked: Path, name: str) -> None:
    start = "tree/loop/" if "loop" in name else "tree/"  # named itself, it is entered
    assert sorted(named(linked, name)) == [f"{start}in/a.png", f"{start}link.png"]


@pytest.mark.parametrize("name", ["tree/linked", "tree/linked/**/*.png", "tree/linked/*/o.png", "tree/l*d/where/*"])
def test_a_linked_folder_that_is_named_is_entered(linked: Path, name: str) -> None:
    assert named(linked, name) == ["tree/linked/where/o.png"]
    Path("list").write_text(name)
    items = find_items([], "list", lambda path: path.suffix == ".png", lambda: linked)
    assert [item.name for item in items] == ["tree/linked/where/o.png"]


def test_hidden_files_that_are_named_are_taken(linked: Path) -> None:
    assert named(linked, "tree/.hidden.png", "tree/.d*/*.png") == ["tree/.hidden.png", "tree/.dir/h.png"]
    assert named(linked, "tree/.dir") == ["tree/.dir/h.png"]


def test_help_says_what_is_passed_over() -> None:
    for command in ("encode", "decode", "inspect", "verify"):
        words = " ".join(run(command, "--help").stdout.replace("│", " ").split())
        assert PASSED_OVER in words


# --- options that are repeated ---------------------------------------------------------------------------------------


def test_tasks_named_in_several_options_are_all_decoded(folder: Path, model: tuple[str, str]) -> None:
    assert run("encode", "a.png", "-o", "a.atdc", *model).exit_code == DONE
    options = ("--tasks", "rgb", "--tasks", "normal,rgb")
    assert run("decode", "a.atdc", "-o", "answers", *options, *model).exit_code == DONE
    assert sorted(os.listdir("answers/a")) == ["normal.npy", "normal.png", "rgb.npy", "rgb.png"]
    for nothing in (",", " "):
        result = run("decode", "a.atdc", "-o", "none", "--tasks", nothing, *model)
        assert result.exit_code == USAGE and "names no tensor or task" in result.stderr and not Path("none").exists()


def test_two_qualities_of_one_task_are_refused_unless_they_are_equal(folder: Path, model: tuple[str, str]) -> None:
    def encode(*qualities: str) -> Any:
        options = [part for value in qualities for part in ("--task-quality", value)]
        return run("encode", "a.png", "-o", "a.atdc", *options, *model)

    result = encode("rgb=1", "normal=2", "rgb=2")
    assert result.exit_code == USAGE and "rgb=1 and rgb=2 contradict each other" in result.stderr
    assert encode("rgb=1", "rgb=1.0", "normal=2").exit_code == DONE


# --- damaged files ---------------------------------------------------------------------------------------------------


def test_damage_to_a_compact_file_is_not_taken_for_other_weights(folder: Path, model: tuple[str, str]) -> None:
    assert run("encode", "a.png", "-o", "a.atdc", *model).exit_code == DONE
    data = Path("a.atdc").read_bytes()
    codec = atdc.load(model[1])
    for place in range(5, 9):  # the fingerprint
        damaged = data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
        with pytest.raises(atdc.CorruptFileError, match=r"^header or payload: found check"):
            codec.decode(damaged)
    Path("a.atdc").write_bytes(damaged)
    (line,) = complaints(run("decode", "a.atdc", "-o", "answers"))
    assert line.startswith("a.atdc: header or payload: found check")
    with pytest.raises(atdc.WrongModelError):
        atdc.load("small").decode(data)


def test_verify_names_a_damaged_file_once(folder: Path, model: tuple[str, str]) -> None:
    assert run("encode", "a.png", "-o", "a.atdc", *model).exit_code == DONE
    data = Path("a.atdc").read_bytes()
    Path("b.atdc").write_bytes(data[:-1] + b"?")
    Path("c.atdc").write_bytes(b"")
    result = run("verify", "a.atdc", "b.atdc", "c.atdc", *model)
    assert [line.partition(": ")[0] for line in complaints(result)] == ["b.atdc", "c.atdc"]
    assert result.exit_code == FAILED and [line[:11] for line in result.stdout.splitlines()] == [
        "a.atdc: ok;",
        "verified 1 ",
    ]


# --- what is printed -------------------------------------------------------------------------------------------------

ODD_NAMES = {
    "one\ntwo": r"one\ntwo", "red\x1b[31m": r"red\x1b[31m", "over\rwritten": r"over\rwritten",
    "tu\u202ened": r"tu\u202ened", "two  spaces": "two  spaces", "c1\x9b5m": r"c1\x9b5m",
    "[bold]": "[bold]", "\u2028": r"\u2028",
}  # fmt: skip


def test_control_characters_in_names_are_spelled_out_in_all_that_is_printed(
    folder: Path, model: tuple[str, str]
) -> None:
    names = list(ODD_NAMES)
    for name in names:
        save_image(f"in/{name}.png")
        Path(f"in/{name}-bad.png").write_bytes(b"no picture")
    results = [run("encode", "in", "-o", "out\n1", *model), run("encode", "in", "-o", "out\n1", "-q", "1", *model)]
    assert sorted(os.listdir("out\n1")) == sorted(f"{name}.atdc" for name in names)
    for name in names:
        assert f"in/{ODD_NAMES[name]}.png → out\\n1/{ODD_NAMES[name]}.atdc  " in results[0].stdout
        assert f"in/{ODD_NAMES[name]}-bad.png: found a file that is not an image" in results[0].stderr
        assert f"in/{ODD_NAMES[name]}.png: out\\n1/{ODD_NAMES[name]}.atdc: found a file of other" in results[1].stderr
    assert len(complaints(results[0])) == len(names) and len(complaints(results[1])) == 2 * len(names)
    Path("out\n1/tu\u202ened.atdc").write_bytes(b"no file")
    for command, *options in (
        ("verify",),
        ("inspect",),
        ("decode", "-o", "answers"),
        ("decode", "-o", "an\x1bswer.npy"),
    ):
        results.append(run(command, "out\n1", *options, *model))
        assert results[-1].exit_code in (FAILED, USAGE)
    for result in results:
        printed = (result.stdout + result.stderr).replace("\n", "")
        assert not [c for c in printed if c < " " or c in "\x9b\u202e\u2028"]


def test_usage_errors_are_in_our_words(folder: Path) -> None:
    for options, words in (
        (("--effort", "hi"), "'hi' is not one of 'normal', 'high'"), (("-q", "high"), "it should be a valid number."),
        (("--jobs", "two"), "it should be a valid integer."), (("--profile", "x"), "'x' is not one of"),
        (("--pixel-limit", "1e6"), "it should be a valid integer."),
    ):  # fmt: skip
        result = run("encode", "a.png", "-o", "out", *options)
        said = " ".join(result.stderr.replace("│", " ").split())
        assert result.exit_code == USAGE and words in said, said
        assert "Value error" not in said and "Input should" not in said and "unable to" not in said


def test_a_suffix_may_be_in_capitals(folder: Path, model: tuple[str, str]) -> None:
    assert run("encode", "a.png", "-o", "a.atdc", *model).exit_code == DONE
    for name in ("d.PNG", "d.Npy"):
        assert run("decode", "a.atdc", "-o", name, "--tasks", "rgb", *model).exit_code == DONE
    assert run("decode", "a.atdc", "-o", "d.ZIP", *model).exit_code == DONE
    assert [Path(name).read_bytes()[1:4] for name in ("d.PNG", "d.Npy", "d.ZIP")] == [b"PNG", b"NUM", b"K\x03\x04"]


def test_the_size_of_a_bomb_is_said_with_the_option_that_lets_it_in(
    folder: Path, model: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)  # and back to what it was, after the command has changed it
    with pytest.raises(atdc.ImageError, match=r"found 320 pixels; expected at most 300 pixels"):
        as_rgb("a.png", 300)
    with pytest.raises(
        atdc.ImageError, match=r"found 320 pixels; expected no more than Pillow.*MAX_IMAGE_PIXELS = None"
    ):
        as_rgb("a.png", 320)
    result = run("encode", "a.png", "-o", "a.atdc", "--pixel-limit", "300", *model)
    (line,) = complaints(result)
    assert line.endswith("found 20×16 pixels; expected at most 300 pixels. If that size is meant, raise --pixel-limit.")
    assert run("encode", "a.png", "-o", "a.atdc", "--pixel-limit", "320", *model).exit_code == DONE


def test_cures_are_sentences() -> None:
    assert str(AtdcError("a", "b", "c", "try d")) == "a: found b; expected c. Try d"
    assert AtdcError("a", "b", "c").cure == ""


def test_a_codec_says_which_weights_it_has(untrained_weights: Path) -> None:
    codec = atdc.load(untrained_weights)
    fingerprint = codec.feature_codec.fingerprint.hex()
    assert repr(codec) == f"<atdc.Codec: {untrained_weights}, fingerprint {fingerprint}, 6 tasks, on cpu>"
