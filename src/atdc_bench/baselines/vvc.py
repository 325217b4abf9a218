"""VVC (H.266) intra coding of single images: an encoder found on the machine, and FFmpeg's decoder inside PyAV.

Two encoders are driven, both written with the standard: VVenC, the fast one, and VTM, the reference. Neither is a
Python package. They read a raw image from a temporary folder (see :mod:`atdc_bench.baselines.yuv420` for the colours,
8 bits) and leave a byte stream (H.266, Annex B), which is the file: it says the size and all the decoder needs. Inside,
samples have 10 bits, both encoders' default, and the decoded image is rounded to 8 bits only as RGB.

4:2:0 needs even sides. An image with an odd one gets its last column or row twice, and **one byte** in front of the
stream says so: 1 width, 2 height, 3 both. A stream itself begins with 0, so without that byte the sides are even.
"""

from __future__ import annotations

import shutil
import tempfile
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, TypeAlias, final

import numpy as np

from atdc.errors import ArgumentError, ImageError, ProgramError
from atdc.images import PIXEL_LIMIT
from atdc.images.pillow_codecs import RgbImage, colour_bytes, damaged, whole_point
from atdc_bench.baselines.outside import load_library, run_program
from atdc_bench.baselines.system import PixelSystem
from atdc_bench.baselines.yuv420 import FloatPlane, from_yuv420, to_yuv420

Command: TypeAlias = Sequence[str | Path]
"""A program and its arguments."""

MAX_QP = 63
"""The coarsest quantisation that the standard has; six more double the quantiser's step."""
TIMEOUT_S = 600.0
"""For one image; an image of 256x256 takes VVenC a second or two and VTM less than a minute."""
_FIRST_BYTE = 0
"""Of an Annex B stream, which begins with a start code, 0 0 1 or 0 0 0 1."""


class Vvc(PixelSystem):
    """One still image; the point is the quantisation parameter, QP, of the encoder's command line."""

    programs: ClassVar[tuple[str, ...]]
    """Names under which the encoder is looked for on the PATH, first come, first taken."""
    cure: ClassVar[str]
    """How to get it."""
    version_argument: ClassVar[str]
    """What makes it print its version."""

    timeout_s: float = TIMEOUT_S

    @abstractmethod
    def command(self, program: Path, source: Path, size: tuple[int, int], qp: int, target: Path) -> Command:
        """The encoder's command line.

        Args:
            program: the encoder.
            source: raw 4:2:0 image of 8 bits.
            size: its width and height.
            qp: the quantisation parameter.
            target: the stream to write.
        """

    @abstractmethod
    def settings(self) -> Mapping[str, Any]:
        """The choices in the command line that are not the same for every encoder, for result files."""

    def program(self) -> Path:
        """The encoder.

        Raises:
            ProgramError: there is none on the PATH.
        """
        for name in self.programs:
            if (path := shutil.which(name)) is not None:
                return Path(path)
        raise ProgramError(" or ".join(self.programs), "no such program on the PATH", "a VVC encoder", self.cure)

    def missing(self) -> str | None:
        """A sentence where the encoder or PyAV's decoder is not there."""
        try:
            self.command(self.program(), Path("source"), (2, 2), 0, Path("target"))
        except ProgramError as error:
            return str(error)
        return self.decoder_missing()

    def decoder_missing(self) -> str | None:
        """A sentence where PyAV's decoder is not there; decoding needs nothing else."""
        try:
            _decoder()
        except ProgramError as error:
            return str(error)
        return None

    def describe(self) -> Mapping[str, Any]:
        """Encoder and decoder with their versions, colours and settings.

        Raises:
            ProgramError: the encoder or PyAV is not there.
        """
        # VTM prints its help, version first, and ends with status 1.
        lines = run_program([self.program(), self.version_argument], 20, any_status=True).splitlines()
        av = load_library("av")
        return {
            "program": next((line.strip() for line in lines if "ersion" in line), "version not told"),
            "decoder": f"PyAV {av.__version__}, libavcodec {'.'.join(map(str, av.library_versions['libavcodec']))}",
            "point": f"QP, {MAX_QP} (fewest bytes) to 0",
            "colour": "BT.709 full range, 4:2:0, 8 bits in, 10 bits inside",
            **self.settings(),
        }

    def encode(self, image: RgbImage, point: float) -> bytes:
        """One image to a byte stream, preceded by one byte if a side is odd.

        Raises:
            ArgumentError: a QP that is not a whole number from 0 to 63, or no such image.
            ProgramError: the encoder is not there, fails, or takes longer than `timeout_s`; the temporary folder is
                gone all the same.
        """
        qp = whole_point("QP", point, 0, MAX_QP)
        image = colour_bytes(image)
        height, width = image.shape[:2]
        odd = (width % 2) + 2 * (height % 2)
        even = np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        program = self.program()
        with tempfile.TemporaryDirectory(prefix="atdc-vvc-") as folder:
            source, target = Path(folder) / "picture.yuv", Path(folder) / "picture.266"
            source.write_bytes(to_yuv420(even))
            run_program(self.command(program, source, (even.shape[1], even.shape[0]), qp, target), self.timeout_s)
            stream = target.read_bytes() if target.is_file() else b""
        if stream[:1] != bytes([_FIRST_BYTE]):
            raise ProgramError(program.name, f"{len(stream)} bytes that are no stream", "an Annex B byte stream")
        return (bytes([odd]) if odd else b"") + stream

    def decode(self, data: bytes) -> RgbImage:
        """The image in a byte stream.

        Raises:
            ImageError: bytes that are not one whole VVC image, 4:2:0, 10 bits, within the pixel limit.
            ProgramError: PyAV is not there, or was built without a VVC decoder.
        """
        odd = data[0] if data else _FIRST_BYTE
        if odd > 3:
            raise ImageError(self.title, f"a first byte of {odd}", "0, or 1 to 3 before a stream")
        luma, cb, cr = _decode_planes(data[1:] if odd else data)
        image = from_yuv420(luma, cb, cr)
        return np.ascontiguousarray(image[: image.shape[0] - (odd >> 1), : image.shape[1] - (odd & 1)])


@final
class Vvenc(Vvc):
    """Fraunhofer's VVenC, by its program vvencapp.

    Its perceptual QP adaptation is off, so that it spends bits for squared error, as VTM and the task networks' losses
    do. VVenC codes an intra image with a QP 3 below the one that it is given.

    Args:
        preset: ``faster``, ``fast``, ``medium``, ``slow`` or ``slower``.
        timeout_s: for one image.

    Raises:
        ArgumentError: no such preset.
    """

    name = "vvc_vvenc"
    points = (57, 50, 43, 36, 29)
    presets = ("faster", "fast", "medium", "slow", "slower")
    programs = ("vvencapp",)
    cure = "Build VVenC from its source (CMake, target vvencapp) and put vvencapp on the PATH."
    version_argument = "--version"

    def __init__(self, preset: str = "medium", timeout_s: float = TIMEOUT_S) -> None:
        if preset not in self.presets:
            raise ArgumentError("preset", repr(preset), f"one of {', '.join(self.presets)}")
        self.preset, self.timeout_s = preset, timeout_s
        self.title = f"VVC intra (VVenC, {preset})"

    def command(self, program: Path, source: Path, size: tuple[int, int], qp: int, target: Path) -> Command:
        """vvencapp's command line."""
        return (
            program, "--preset", self.preset, "--input", source, "--size", f"{size[0]}x{size[1]}", "--format", "yuv420",
            "--framerate", "1", "--frames", "1", "--intraperiod", "1", "--qp", str(qp), "--qpa", "0", "--threads", "1",
            "--verbosity", "1", "--output", target,
        )  # fmt: skip

    def settings(self) -> Mapping[str, Any]:
        """The preset, and that perceptual adaptation is off."""
        return {"preset": self.preset, "perceptual_qp_adaptation": False}


@final
class Vtm(Vvc):
    """VTM, the standard's reference encoder, with its configuration for all-intra coding.

    Args:
        configuration: ``encoder_intra_vtm.cfg`` of VTM's source; left out, it is looked for in the folder ``cfg`` of
            the source tree that the program on the PATH lies in, or links to.
        timeout_s: for one image.
    """

    name = "vvc_vtm"
    title = "VVC intra (VTM)"
    points = (54, 47, 40, 33, 26)
    programs = ("EncoderAppStatic", "EncoderApp")
    cure = "Build VTM from its source (CMake, target EncoderApp) and link its program to a folder on the PATH."
    version_argument = "--help"
    configuration_name = "encoder_intra_vtm.cfg"

    def __init__(self, configuration: Path | None = None, timeout_s: float = TIMEOUT_S) -> None:
        self.configuration, self.timeout_s = configuration, timeout_s

    def command(self, program: Path, source: Path, size: tuple[int, int], qp: int, target: Path) -> Command:
        """EncoderApp's command line.

        Raises:
            ProgramError: its configuration is not found.
        """
        return (
            program, "-c", self._configuration(program), f"--InputFile={source}", f"--SourceWidth={size[0]}",
            f"--SourceHeight={size[1]}", "--InputBitDepth=8", "--InputChromaFormat=420", "--FrameRate=1",
            "--FramesToBeEncoded=1", "--ConformanceWindowMode=1", f"--QP={qp}", f"--BitstreamFile={target}",
            f"--ReconFile={target.with_name('decoded.yuv')}",
        )  # fmt: skip

    def settings(self) -> Mapping[str, Any]:
        """The configuration's name."""
        return {"configuration": self._configuration(self.program()).name}

    def _configuration(self, program: Path) -> Path:
        if self.configuration is not None:
            choices = [self.configuration]
        else:
            choices = [folder / "cfg" / self.configuration_name for folder in program.resolve().parents]
        for path in choices:
            if path.is_file():
                return path
        raise ProgramError(
            self.configuration_name, f"none at {choices[0]}", "VTM's configuration for all-intra coding",
            "Link the program from VTM's source tree instead of copying it, or name the file: Vtm(configuration).",
        )  # fmt: skip


def _decoder() -> Any:
    """PyAV's VVC decoder, new."""
    av = load_library("av")
    try:
        context = av.CodecContext.create("vvc", "r")
    except ValueError as error:  # UnknownCodecError
        raise ProgramError("PyAV", f"no VVC decoder ({error})", "PyAV 14 or later", "Update the package av.") from error
    context.options = {"max_pixels": str(PIXEL_LIMIT)}  # before memory is taken for what damaged bytes may claim
    context.thread_count = 1
    return context


def _decode_planes(stream: bytes) -> tuple[FloatPlane, FloatPlane, FloatPlane]:
    """Luma, Cb, Cr of the one image in a stream, in units of 8 bits.

    Raises:
        ImageError: there is not exactly one.
    """
    context = _decoder()
    ffmpeg_error: type[Exception] = load_library("av").FFmpegError
    try:
        packets = [*context.parse(stream), *context.parse(None)]
        frames = [frame for packet in [*packets, None] for frame in context.decode(packet)]
    except (ffmpeg_error, ValueError, OSError, RuntimeError, MemoryError) as error:
        raise damaged("VVC", error) from error
    if len(frames) != 1:
        raise ImageError("VVC", f"a stream of {len(frames)} images", "one image")
    frame = frames[0]
    if frame.format.name != "yuv420p10le":
        raise ImageError("VVC", f"samples of the kind {frame.format.name}", "4:2:0 with 10 bits")
    luma, cb, cr = (_samples(plane) for plane in frame.planes)
    return luma, cb, cr


def _samples(plane: Any) -> FloatPlane:
    """A plane (height, width) of 10 bits in units of 8; its lines in memory are longer than wide."""
    rows = np.frombuffer(plane, "<u2").reshape(-1, plane.line_size // 2)
    samples: FloatPlane = rows[: plane.height, : plane.width].astype(np.float32)
    return samples / np.float32(4)


VVENC = Vvenc()
VTM = Vtm()
