"""A trained pixel codec as a row: its files, and its weights on disk.

A file is the point (one byte), rows and columns (LEB128 numbers, up to two bytes each below 16384), and one range-coded
segment to the end. Everything else that a decoder needs is in the weights.

These rows promise decoding on the machine that encoded: networks that decide probabilities run in float32, on one
thread whatever torch is set to, since on another number of threads sums are rounded differently. A decoder elsewhere
may desynchronise; it then reports a corrupt file, or returns a wrong image.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from atdc.bitstream.layout import ByteReader, number_bytes
from atdc.bitstream.sources import BytesSource
from atdc.bitstream.symbols import SymbolReader, SymbolWriter
from atdc.entropy.tables import FrequencyTables
from atdc.errors import ArgumentError, CorruptFileError, WeightsError
from atdc.files import write_bytes_atomically
from atdc.images.pillow_codecs import RgbImage, colour_bytes
from atdc_bench.baselines.learned_codec import POINTS, STRIDE_PX, PixelCodec, SymbolCoder, complexity, gaussian_tables
from atdc_bench.baselines.system import PixelSystem

PIXEL_LIMIT = 1 << 22
"""Pixels of the largest image, sides padded; what a damaged file's size can cost a decoder."""
WEIGHTS_FORMAT = 1

_HEADER = "atdc_pixels"
_TABLES = "tables."


@dataclasses.dataclass(frozen=True, eq=False)
class Trained:
    """A pixel codec that can code.

    Attributes:
        networks: in evaluation mode, on the CPU.
        tables: the probability tables, kept with the weights.
        card: what is known of its training.
    """

    networks: PixelCodec
    tables: FrequencyTables
    card: Mapping[str, Any]

    @classmethod
    def of(cls, networks: PixelCodec, card: Mapping[str, Any]) -> Trained:
        """From networks as training left them."""
        return cls(networks.eval(), gaussian_tables(), card)

    def save(self, path: Path, kind: str, size: str) -> None:
        """Writes the weights: matrices in half, everything else in single precision.

        Raises:
            OutputError: the file cannot be written.
        """
        tensors = {
            key: value.detach().cpu().to(torch.float16 if value.ndim > 1 else torch.float32).contiguous()
            for key, value in self.networks.state_dict().items()
        }
        tensors |= {_TABLES + key: torch.from_numpy(value) for key, value in self.tables.to_arrays().items()}
        header = {"format": WEIGHTS_FORMAT, "kind": kind, "size": size, "card": dict(self.card)}
        write_bytes_atomically(path, save(tensors, {_HEADER: json.dumps(header)}))

    @classmethod
    def load(cls, path: Path, kind: str, size: str, build: Callable[[str], PixelCodec]) -> Trained:
        """Reads what :meth:`save` wrote.

        Raises:
            WeightsError: no such file, or a damaged one, or another codec's.
        """
        try:
            with safe_open(path, framework="pt") as file:
                header = json.loads((file.metadata() or {}).get(_HEADER, "{}"))
                signature = tuple(header.get(key) for key in ("format", "kind", "size"))
                if signature != (WEIGHTS_FORMAT, kind, size):
                    raise WeightsError(str(path), f"weights of {signature}", f"{(WEIGHTS_FORMAT, kind, size)}")
                tensors: dict[str, Tensor] = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            arrays = {key: tensors.pop(_TABLES + key).numpy() for key in ("frequencies", "radius")}
            tables = FrequencyTables.from_arrays(arrays)
            networks = build(size)
            networks.load_state_dict({key: value.float() for key, value in tensors.items()})
        except (KeyError, TypeError, ValueError, RuntimeError, OSError, SafetensorError) as error:
            raise WeightsError(str(path), f"no usable weights ({error})", f"weights of {kind}, {size}") from error
        return cls(networks.eval(), tables, header["card"])

    @torch.no_grad()
    def encode(self, image: RgbImage, point: int) -> tuple[bytes, float]:
        """An image (H, W, 3) to a file, and the ideal bits of its symbols.

        Raises:
            ArgumentError: more than :data:`PIXEL_LIMIT` pixels.
        """
        rows, columns = image.shape[:2]
        sides = padded(rows), padded(columns)
        if sides[0] * sides[1] > PIXEL_LIMIT:
            raise ArgumentError("image", f"{rows} rows, {columns} columns", f"at most {PIXEL_LIMIT} pixels")
        pixels = torch.from_numpy(image.astype(np.float32)).permute(2, 0, 1)[None] / 255
        pixels = F.pad(pixels, (0, sides[1] - columns, 0, sides[0] - rows), mode="replicate")
        symbol_coder = SymbolWriter(self.tables, 1, 1)
        with one_thread():
            self.networks.traverse(SymbolCoder(symbol_coder), torch.tensor([point]), sides, pixels)
        head = bytes([point]) + number_bytes(rows) + number_bytes(columns)
        return head + symbol_coder.finish()[0][0], symbol_coder.bits[0][0]

    @torch.no_grad()
    def decode(self, data: bytes) -> RgbImage:
        """A file to its image (H, W, 3).

        Raises:
            BitstreamError: bytes that no encoder wrote, as far as that can be told.
        """
        reader = ByteReader(BytesSource(data))
        point = reader.take(1, "point")[0]
        rows, columns = reader.number("rows"), reader.number("columns")
        if point >= POINTS:
            raise CorruptFileError("point", str(point), f"0 … {POINTS - 1}")
        sides = padded(rows), padded(columns)
        if not 0 < sides[0] * sides[1] <= PIXEL_LIMIT:
            raise CorruptFileError("size", f"{rows} rows, {columns} columns", f"1 … {PIXEL_LIMIT} pixels")
        symbol_coder = SymbolReader(self.tables)
        symbol_coder.begin(data[reader.position :], "latents")
        with one_thread():
            latent = self.networks.traverse(SymbolCoder(symbol_coder), torch.tensor([point]), sides, None)
            symbol_coder.end()
            return as_image(self.networks.restore(latent)[0, :, :rows, :columns])


@contextmanager
def one_thread() -> Iterator[None]:
    """torch computes on one thread; afterwards on as many as before.

    >>> with one_thread():
    ...     torch.get_num_threads()
    1
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def padded(side_px: int) -> int:
    """The next multiple of 64.

    >>> padded(1), padded(256), padded(257)
    (64, 256, 320)
    """
    return -(-side_px // STRIDE_PX) * STRIDE_PX


def as_image(pixels: Tensor) -> RgbImage:
    """(3, H, W) about 0 … 1 to (H, W, 3) of 8 bits."""
    # Latents of a damaged file may lead networks to what is no number.
    levels = torch.nan_to_num(pixels).clamp(0, 1).mul(255).round().to(torch.uint8)
    return levels.permute(1, 2, 0).contiguous().cpu().numpy()


@final
class LearnedPixels(PixelSystem):
    """A learned pixel codec behind the comparison's interface; weights are read at first use.

    Args:
        name: its kind, ``elic`` or ``mlic``.
        title: see :class:`~atdc_bench.baselines.system.System`.
        size: which of its presets.
        build: makes its networks.
        weights: where training wrote them.
    """

    def __init__(self, name: str, title: str, size: str, build: Callable[[str], PixelCodec], weights: Path) -> None:
        self.name, self.title, self.size = name, title, size
        self.points = tuple(float(point) for point in range(POINTS))
        self.weights = weights
        self._build = build
        self._codec: Trained | None = None

    def missing(self) -> str | None:
        """The command that trains it, where it is not trained."""
        if self.weights.exists():
            return None
        return f"not trained: python -m atdc_bench.baselines.learned_training {self.name} {self.size}"

    def describe(self) -> Mapping[str, Any]:
        """Parameters, multiply-accumulates, and the card of its training."""
        codec = self.trained()
        return {"size": self.size, **complexity(codec.networks), "training": dict(codec.card)}

    def trained(self) -> Trained:
        """The codec itself.

        Raises:
            WeightsError: it is not trained, or its weights are damaged.
        """
        if self._codec is None:
            reason = self.missing()
            if reason is not None:
                raise WeightsError(str(self.weights), reason, "trained weights")
            self._codec = Trained.load(self.weights, self.name, self.size, self._build)
        return self._codec

    def encode(self, image: RgbImage, point: float) -> bytes:
        """One image to bytes that say everything, its size included.

        Raises:
            ArgumentError: no such point, no image (H, W, 3) of 8 bits, or one of more than 4 million pixels.
            WeightsError: see :meth:`trained`.
        """
        if point not in self.points:
            raise ArgumentError("point", f"{point:g}", f"one of {self.points}")
        return self.trained().encode(colour_bytes(image), int(point))[0]

    def decode(self, data: bytes) -> RgbImage:
        """The image, from the bytes alone.

        Raises:
            BitstreamError: bytes that no encoder wrote, as far as that can be told.
            WeightsError: see :meth:`trained`.
        """
        return self.trained().decode(data)
