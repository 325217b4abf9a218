"""VVC by an outside encoder: command lines, failures and leftovers with a pretended one; images with a real one."""

from __future__ import annotations

import contextlib
import stat
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

from atdc.errors import ArgumentError, ImageError, ProgramError
from atdc_bench.baselines.vvc import VTM, VVENC, Vtm, Vvc, Vvenc
from atdc_bench.baselines.yuv420 import to_yuv420

COLOURS = np.array([[(200, 40, 40), (40, 200, 40)], [(40, 40, 200), (220, 220, 220)]], np.uint8)
STREAM = bytes.fromhex(
    "03000000010079000d82108000822111a80fa6dd32348a4de709b2b182041382affd2ecbfc7920000003002000000300262000000001"
    "008100011088987ec0800000010041c401027ce2d8a2c1ea13cdfff90ee29caa020764ce22797ef9a9c80c2960eff92fef0d31e83bc4"
    "e967e0"
)
"""An image of 15x15, quarters of these colours, by VVenC at QP 25."""

PYAV = pytest.mark.skipif(VVENC.decoder_missing() is not None, reason=str(VVENC.decoder_missing()))
REAL = pytest.mark.parametrize(
    "system",
    [
        pytest.param(Vvenc("faster", 60), id="vvenc"),
        pytest.param(Vtm(timeout_s=120), id="vtm", marks=pytest.mark.slow),
    ],
)


def here(system: Vvc) -> Vvc:
    """The system; skips the test where it cannot run."""
    if (why := system.missing()) is not None:
        pytest.skip(why)
    return system


def scene(height: int, width: int) -> np.ndarray:
    y, x = np.mgrid[:height, :width] / max(height, width)
    red = 180 * (np.hypot(x - 0.4, y - 0.4) < 0.3) + 40
    return np.stack([red, 180 * x + 40, 180 * y + 40], -1).clip(0, 255).astype(np.uint8)


def psnr(first: np.ndarray, second: np.ndarray) -> float:
    return float(-10 * np.log10(np.mean((first / 255 - second / 255) ** 2) + 1e-10))


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary folders are made."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def pretended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is the whole PATH; programs are put there by `write_program`."""
    folder = tmp_path / "source" / "bin"
    folder.mkdir(parents=True)
    monkeypatch.setenv("PATH", str(folder))
    return folder


def write_program(folder: Path, name: str, body: str) -> None:
    """A program that keeps its arguments and its input, and then runs `body`."""
    path = folder / name
    path.write_text(
        f"#!{sys.executable} -S\n"
        "import os, pathlib, sys, time\n"
        "here = pathlib.Path(__file__).parent\n"
        "words = [part for word in sys.argv[1:] for part in word.split('=', 1)]\n"
        "(here / 'arguments').write_text('\\n'.join(sys.argv[1:]))\n"
        "def after(*names):\n"
        "    return pathlib.Path(next(words[words.index(n) + 1] for n in names if n in words))\n"
        "if {'--version', '--help'} & {*words}:\n"
        "    print('\\nEncoder Version 7.1 [pretended]')\n"
        "    sys.exit('--help' in words)\n"
        "(here / 'input').write_bytes(after('--input', '--InputFile').read_bytes())\n"
        "target = after('--output', '--BitstreamFile')\n" + body
    )
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def argument(folder: Path, name: str) -> str:
    words = (folder / "arguments").read_text().split("\n")
    joined = [word.split("=", 1)[1] for word in words if word.startswith(f"{name}=")]
    return joined[0] if joined else words[words.index(name) + 1]


def test_vvenc_is_asked_for_one_intra_image_of_this_size_and_qp(pretended: Path, scratch: Path) -> None:
    write_program(pretended, "vvencapp", "target.write_bytes(b'\\0\\0\\1stream')")
    image = scene(6, 10)
    assert Vvenc("slow").encode(image, 37) == b"\0\0\1stream"
    expected = {
        "--preset": "slow", "--size": "10x6", "--format": "yuv420", "--frames": "1", "--intraperiod": "1", "--qp": "37",
        "--qpa": "0", "--threads": "1",
    }  # fmt: skip
    assert {name: argument(pretended, name) for name in expected} == expected
    assert (pretended / "input").read_bytes() == to_yuv420(image)
    assert list(scratch.iterdir()) == []


def test_vtm_is_given_its_own_intra_configuration(pretended: Path, scratch: Path) -> None:
    write_program(pretended, "EncoderApp", "target.write_bytes(b'\\0\\0\\1stream')")
    assert "encoder_intra_vtm.cfg" in str(VTM.missing())
    with pytest.raises(ProgramError, match=r"encoder_intra_vtm\.cfg"):
        VTM.encode(scene(4, 4), 30)
    configuration = pretended.parent / "cfg" / "encoder_intra_vtm.cfg"
    configuration.parent.mkdir()
    configuration.write_text("")
    assert VTM.encode(scene(6, 10), 30) == b"\0\0\1stream"
    expected = {
        "-c": str(configuration), "--SourceWidth": "10", "--SourceHeight": "6", "--InputBitDepth": "8",
        "--InputChromaFormat": "420", "--FramesToBeEncoded": "1", "--ConformanceWindowMode": "1", "--QP": "30",
    }  # fmt: skip
    assert {name: argument(pretended, name) for name in expected} == expected
    files = [argument(pretended, name) for name in ("--InputFile", "--BitstreamFile", "--ReconFile")]
    assert len(set(files)) == 3 and {Path(file).parent.parent for file in files} == {scratch}
    other = pretended / "other.cfg"
    with pytest.raises(ProgramError, match=r"other\.cfg"):
        Vtm(other).encode(scene(4, 4), 30)
    other.write_text("")
    Vtm(other).encode(scene(4, 4), 30)
    assert argument(pretended, "-c") == str(other)
    assert list(scratch.iterdir()) == []


def test_the_static_program_of_vtm_comes_first(pretended: Path) -> None:
    write_program(pretended, "EncoderApp", "")
    assert VTM.program().name == "EncoderApp"
    write_program(pretended, "EncoderAppStatic", "")
    assert VTM.program().name == "EncoderAppStatic"


@pytest.mark.parametrize(("size", "first"), [((6, 9), 1), ((5, 10), 2), ((5, 9), 3), ((1, 1), 3)])
def test_an_odd_side_is_filled_up_and_costs_one_byte(
    pretended: Path, scratch: Path, size: tuple[int, int], first: int
) -> None:
    write_program(pretended, "vvencapp", "target.write_bytes(b'\\0\\0\\1stream')")
    image = scene(*size)
    assert VVENC.encode(image, 30) == bytes([first]) + b"\0\0\1stream"
    height, width = size
    assert argument(pretended, "--size") == f"{width + width % 2}x{height + height % 2}"
    filled = np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    assert (pretended / "input").read_bytes() == to_yuv420(filled)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("print('unsupported size', file=sys.stderr); sys.exit(2)", "status 2: unsupported size"),
        ("target.write_bytes(b'half'); sys.exit(1)", "status 1"),
        ("", "0 bytes that are no stream"),
        ("target.write_bytes(b'')", "0 bytes that are no stream"),
        ("target.write_bytes(b'RIFF')", "4 bytes that are no stream"),
        ("target.mkdir()", "0 bytes that are no stream"),
        ("os.kill(os.getpid(), 9)", "status -9"),
    ],
)
def test_an_encoder_that_fails_is_named_and_leaves_nothing(
    pretended: Path, scratch: Path, body: str, message: str
) -> None:
    write_program(pretended, "vvencapp", body)
    with pytest.raises(ProgramError, match=f"vvencapp: found .*{message}"):
        VVENC.encode(scene(4, 4), 30)
    assert list(scratch.iterdir()) == []


def test_an_encoder_that_does_not_end_is_stopped_and_leaves_nothing(pretended: Path, scratch: Path) -> None:
    write_program(pretended, "vvencapp", "target.write_bytes(b'\\0'); time.sleep(60)")
    with pytest.raises(ProgramError, match=r"no end after 0\.5 seconds"):
        Vvenc(timeout_s=0.5).encode(scene(4, 4), 30)
    assert list(scratch.iterdir()) == []


@pytest.mark.parametrize("system", [VVENC, VTM], ids=lambda system: system.name)
def test_without_an_encoder_one_sentence_says_how_to_get_it(system: Vvc, pretended: Path) -> None:
    why = system.missing()
    assert why is not None and "PATH" in why and "from its source" in why
    with pytest.raises(ProgramError, match="PATH"):
        system.encode(scene(4, 4), 30)


def test_without_pyav_one_sentence_says_how_to_get_it(pretended: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_program(pretended, "vvencapp", "")
    monkeypatch.setitem(sys.modules, "av", None)
    why = VVENC.missing()
    assert why is not None and "pip install imagecodecs av" in why
    with pytest.raises(ProgramError, match=r"pip install imagecodecs av"):
        VVENC.decode(b"\0\0\1")


@PYAV
def test_a_description_has_versions_and_choices(pretended: Path) -> None:
    write_program(pretended, "vvencapp", "")
    said = Vvenc("fast").describe()
    assert said["program"] == "Encoder Version 7.1 [pretended]" and said["preset"] == "fast"
    assert "libavcodec" in said["decoder"] and "BT.709" in said["colour"]
    write_program(pretended, "EncoderApp", "")
    configuration = pretended / "mine.cfg"
    configuration.write_text("")
    said = Vtm(configuration).describe()
    assert said["program"] == "Encoder Version 7.1 [pretended]" and said["configuration"] == "mine.cfg"


def test_points_go_from_few_bytes_to_many() -> None:
    for system in (VVENC, VTM):
        assert system.points[0] < 63 and list(system.points) == sorted(system.points, reverse=True)
        for wrong in (64, -1, 30.5, float("nan")):
            with pytest.raises(ArgumentError, match="QP"):
                system.encode(scene(4, 4), wrong)
    with pytest.raises(ArgumentError, match="faster, fast, medium"):
        Vvenc("placebo")


# --- decoding, without an encoder -------------------------------------------------------------------------------------


@PYAV
def test_a_stream_is_decoded_to_its_size_and_colours_with_no_encoder_there(pretended: Path) -> None:
    for system in (VVENC, VTM):
        back = system.decode(STREAM)
        assert back.shape == (15, 15, 3) and back.dtype == np.uint8 and back.flags.c_contiguous
        assert np.abs(back[3::8, 3::8].astype(int) - COLOURS).max() <= 2
    for first, shape in ((0, (16, 16, 3)), (1, (16, 15, 3)), (2, (15, 16, 3))):
        assert VVENC.decode(bytes([first] if first else []) + STREAM[1:]).shape == shape


@PYAV
@pytest.mark.parametrize(
    "data",
    [b"", b"\0", b"\1", b"\0\0\1", b"\x04" + STREAM[1:], b"\xff" * 40, STREAM[:1], STREAM[:20], STREAM[:-60], b"RIFF"],
)
def test_bytes_of_no_whole_stream_are_refused_by_name(data: bytes) -> None:
    with pytest.raises(ImageError, match="VVC"):
        VVENC.decode(data)


@PYAV
def test_two_images_in_one_stream_are_refused() -> None:
    with pytest.raises(ImageError, match="2 images"):
        VVENC.decode(STREAM + STREAM[1:])


@PYAV
def test_damaged_streams_give_an_image_or_one_typed_error() -> None:
    random = np.random.default_rng(0)
    for number in range(400):
        data = bytearray(STREAM)
        for place in random.integers(0, 60 if number % 2 else len(data), random.integers(1, 4)):
            data[place] = random.integers(0, 256)
        with contextlib.suppress(ImageError):
            assert VVENC.decode(bytes(data)).dtype == np.uint8


# --- with a real encoder ---------------------------------------------------------------------------------------------


@REAL
@pytest.mark.parametrize("size", [(16, 24), (21, 18), (18, 7), (1, 1)])
def test_an_image_comes_back_from_its_bytes_alone(system: Vvc, size: tuple[int, int], scratch: Path) -> None:
    here(system)
    image = scene(*size)
    back = system.decode(system.encode(image, 22))
    assert back.shape == image.shape and back.dtype == np.uint8
    assert psnr(image, back) > 21  # a few columns are mostly edge, which chroma at half resolution blurs
    assert list(scratch.iterdir()) == []


@REAL
def test_a_lower_qp_takes_more_bytes_for_a_better_image(system: Vvc) -> None:
    here(system)
    image = scene(24, 24)
    files = [system.encode(image, qp) for qp in (63, 40, 25)]
    assert len(files[0]) < len(files[1]) < len(files[2])
    quality = [psnr(image, system.decode(data)) for data in files]
    assert quality == sorted(quality)
    assert system.encode(image, 40) == files[1]


@REAL
def test_the_decoded_colours_are_those_that_were_encoded(system: Vvc) -> None:
    """A wrong matrix, range or order of planes costs far more than coding does."""
    here(system)
    image = COLOURS.repeat(16, 0).repeat(16, 1)
    back = system.decode(system.encode(image, 12))
    middle = back[8::16, 8::16].astype(int)
    assert np.abs(middle - COLOURS).max() <= 3
