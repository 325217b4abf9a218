"""Features on disk, as any program can write them: ``.npz`` (NumPy) and ``.safetensors`` files.

=================  ===========================================================================================
arrays of a file   meaning
=================  ===========================================================================================
(C, h, w)          the file is one sample; arrays are its tensors, by name
(N, C, h, w)       the file is a shard of N samples; all its arrays have the same N, and row i is of sample i
=================  ===========================================================================================

Types are float16, float32, float64 and, in ``.safetensors``, bfloat16. Names are any printable text: ``backbone/c4`` is
the npz member ``backbone/c4.npy``.

Rows are read where they lie, except from npz files that are compressed (``np.savez_compressed``) or hold arrays in
Fortran order: those are decoded whole. See :class:`DumpedFeatures`.
"""

from __future__ import annotations

import io
import json
import math
import os
import struct
import sys
import threading
import zipfile
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import IO, Any, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from atdc.data.feature_source import (
    AnyArray,
    InMemoryFeatures,
    Shape,
    finite_float32,
    misfit,
    other_channels,
    sample_number,
)
from atdc.errors import ArgumentError, AtdcError, DataError
from atdc.files import reason_of, write_bytes_atomically

SUFFIXES = (".npz", ".safetensors")
"""Endings of files that are read."""

_EXPECTED = ".npz or .safetensors files with arrays (C, h, w), or (N, C, h, w) for N samples"
_DECODED_LIMIT_BYTES = 512 * 2**20
_BFLOAT16 = "bfloat16"
_SAFETENSORS_TYPES = {"F16": "float16", "F32": "float32", "F64": "float64", "BF16": _BFLOAT16}
_HALF_LIMIT = float(np.finfo(np.float16).max)
_Headers: TypeAlias = "dict[str, tuple[str, tuple[int, ...], int | None]]"
"""Of a file's arrays by name: type and first byte as of :class:`_Array`, and whole shape."""
_LOCAL_HEADER = struct.Struct("<4s22xHH")
"""Of a zip member: signature, lengths of the name and of what follows it (APPNOTE 4.3.7)."""


@dataclass(frozen=True, slots=True)
class _Array:
    """Where an array's values are.

    Attributes:
        kind: NumPy's type string, or ``bfloat16``.
        shape: of one sample.
        start: the file's byte where they begin, row after row; None if they have to be decoded.
    """

    kind: str
    shape: Shape
    start: int | None

    @property
    def dtype(self) -> np.dtype[Any]:
        """As stored."""
        return np.dtype("<u2" if self.kind == _BFLOAT16 else self.kind)

    @property
    def row_bytes(self) -> int:
        """Of one sample."""
        return math.prod(self.shape) * self.dtype.itemsize


@dataclass(frozen=True, slots=True)
class _File:
    """One file's headers.

    Attributes:
        state: size and time of the last change, when it was opened.
        rows: how many samples a shard has; None for one sample.
    """

    path: Path
    state: tuple[int, int]
    rows: int | None
    arrays: dict[str, _Array]


class DumpedFeatures:
    """Features of many samples on disk: a folder of ``.npz`` and ``.safetensors`` files, or such files one by one.

    A folder is searched with all folders in it; files are sorted by path, other endings ignored, hidden files left out
    and linked folders not entered. Files that are named come in the order given.

    Opening reads headers only, and reading a sample reads its rows: any amount of data is read at random in little
    memory. Compressed npz files, and arrays in Fortran order, are the exception: a shard's array is decoded whole for
    any of its rows, and the latest decoded ones are kept, up to 512 MiB in each process. Read such shards in order, or
    write them again with ``np.savez`` or :func:`write_shard`.

    No file stays open between calls. Objects can be pickled, and several threads may read at once.

    Args:
        path: a folder, a file, or several of them.

    Attributes:
        names: names of all tensors, sorted.

    Raises:
        ArgumentError: what is no path.
        DataError: no such file or folder, none in a folder, a damaged file, an array that is no feature tensor, shards
            that contradict themselves, or a tensor with other channels than elsewhere.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.savez(Path(folder) / "first.npz", edges=np.ones((4, 8, 8)), **{"net/c5": np.ones((2, 3, 3))})
    ...     write_shard(Path(folder) / "others.safetensors", [{"edges": np.zeros((4, 6, 6))}] * 10, half=True)
    ...     features = DumpedFeatures(folder)
    ...     print(len(features), features.names, features.shapes(0), features.shapes(10))
    ...     print(features.described(10).removeprefix(folder), features.read(10)["edges"].dtype)
    11 ('edges', 'net/c5') {'edges': (4, 8, 8), 'net/c5': (2, 3, 3)} {'edges': (4, 6, 6)}
    /others.safetensors, sample 9 float32
    """

    def __init__(self, path: str | Path | Sequence[str | Path]) -> None:
        argument: Any = [path] if isinstance(path, str | Path) else path
        if not isinstance(argument, Sequence) or not all(isinstance(entry, str | Path) for entry in argument):
            raise ArgumentError("path", repr(path)[:80], "a folder or files, by their paths")
        paths: list[str | Path] = list(argument)
        if not paths:
            raise DataError("features", "no file", _EXPECTED, "Name a folder or files.")
        self._files = [_open(file) for entry in paths for file in _files_of(Path(entry))]
        channels: dict[str, tuple[int, str]] = {}
        for file in self._files:
            for name, array in file.arrays.items():
                count, first = channels.setdefault(name, (array.shape[0], str(file.path)))
                if count != array.shape[0]:
                    raise other_channels(DataError, name, str(file.path), array.shape[0], first, count)
        self.names = tuple(sorted(channels))
        self._ends = list(accumulate(file.rows or 1 for file in self._files))
        self._forget()

    def _forget(self) -> None:
        self._lock = threading.Lock()
        self._decoded: dict[tuple[Path, str], NDArray[Any]] = {}
        """Of compressed shards, the latest used at the end."""

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key not in ("_lock", "_decoded")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._forget()

    def __len__(self) -> int:
        return self._ends[-1]

    def _place(self, index: int) -> tuple[_File, int]:
        """The file of a sample, and its row there."""
        number = sample_number(index, len(self))
        place = bisect_right(self._ends, number)
        file = self._files[place]
        return file, number - (self._ends[place] - (file.rows or 1))

    def described(self, index: int) -> str:
        """A sample as messages name it: its file, and for a shard its row there.

        Raises:
            ArgumentError: no such sample.
        """
        file, row = self._place(index)
        return str(file.path) if file.rows is None else f"{file.path}, sample {row}"

    def shapes(self, index: int) -> dict[str, Shape]:
        """Channels, height and width of the tensors that a sample has; nothing is read.

        Raises:
            ArgumentError: no such sample.
        """
        file, _ = self._place(index)
        return {name: array.shape for name, array in file.arrays.items()}

    def read(self, index: int) -> dict[str, NDArray[np.float32]]:
        """The tensors that a sample has, (C, h, w).

        Raises:
            ArgumentError: no such sample.
            DataError: the file is gone, was changed or is damaged, or a value is not finite: file, tensor and channel
                are named.
        """
        file, row = self._place(index)
        where = self.described(index)
        result = {}
        try:
            with open(file.path, "rb") as stream:
                if _state(os.fstat(stream.fileno())) != file.state:
                    raise DataError(str(file.path), "a file that was changed since it was opened", "the same file",
                                    "Start again once all files are written.")  # fmt: skip
                for name, array in file.arrays.items():
                    values = self._values(stream, file, name, row)
                    if array.kind == _BFLOAT16:
                        values = (values.astype(np.uint32) << 16).view(np.float32)
                    result[name] = finite_float32(values.reshape(array.shape), where, name)
        except AtdcError:
            raise
        except Exception as error:  # as in _open
            raise _damaged(file.path, error) from error
        return result

    def _values(self, stream: IO[bytes], file: _File, name: str, row: int) -> NDArray[Any]:
        """One sample's values as stored."""
        array = file.arrays[name]
        if array.start is None:
            return self._decode(stream, file, name, row)
        stream.seek(array.start + row * array.row_bytes)
        return np.fromfile(stream, array.dtype, math.prod(array.shape))

    def _decode(self, stream: IO[bytes], file: _File, name: str, row: int) -> NDArray[Any]:
        if file.rows is None:
            return _decoded_member(stream, name)
        with self._lock:  # one at a time, so that memory stays bounded; the row is copied before another evicts it
            key = (file.path, name)
            whole = self._decoded.pop(key, None)
            if whole is None:
                free = _DECODED_LIMIT_BYTES - file.rows * file.arrays[name].row_bytes
                while sum(array.nbytes for array in self._decoded.values()) > free:
                    del self._decoded[next(iter(self._decoded))]
                whole = _decoded_member(stream, name)
            self._decoded[key] = whole
            return cast(NDArray[Any], whole[row].copy())


def write_shard(path: str | Path, samples: Sequence[Mapping[str, AnyArray]], *, half: bool = False) -> None:
    """Writes samples that have the same tensors and shapes as one ``.safetensors`` file, whole or not at all.

    Args:
        path: where to; an existing file is replaced.
        samples: the tensors (C, h, w) of each sample by name.
        half: keep values as float16, half the bytes, instead of float32.

    Raises:
        ArgumentError: another ending; no sample; samples that differ in tensors or shapes; a tensor that is none, or of
            a name that the format does not have; or a value beyond float16, if that is asked for.
        DataError: a value is not finite.
        OutputError: the file cannot be written.

    >>> write_shard("features.safetensors", [{"a": np.ones((1, 2, 2))}, {"a": np.ones((1, 3, 3))}])
    Traceback (most recent call last):
    ...
    atdc.errors.ArgumentError: sample 1: found {'a': (1, 3, 3)}; expected {'a': (1, 2, 2)}, as sample 0 has. \
Write samples of other tensors or shapes to another file.
    """
    if Path(path).suffix != ".safetensors":
        raise ArgumentError(str(path), "another ending", ".safetensors", "Choose another name.")
    features = InMemoryFeatures(samples)
    shapes = features.shapes(0)
    for index in range(len(features)):
        if features.shapes(index) != shapes:
            raise ArgumentError(
                f"sample {index}", str(features.shapes(index)), f"{shapes}, as sample 0 has",
                "Write samples of other tensors or shapes to another file.",
            )  # fmt: skip
    stacked: dict[str, NDArray[Any]] = {
        name: np.empty((len(features), *shape), np.float16 if half else np.float32) for name, shape in shapes.items()
    }
    for index in range(len(features)):
        for name, values in features.read(index).items():
            with np.errstate(over="ignore"):
                stacked[name][index] = values
            if not np.isfinite(stacked[name][index]).all():
                raise ArgumentError(
                    f"sample {index}, tensor {name!r}", f"values up to {np.abs(values).max():.6g}",
                    f"at most {_HALF_LIMIT:g} for float16", "Keep float32.",
                )  # fmt: skip
    write_bytes_atomically(path, _safetensors_bytes(stacked))


def features_as_bytes(tensors: Mapping[str, NDArray[Any]], suffix: str, name: str = "file") -> bytes:
    """One sample's tensors as the content of a file, the same for the same tensors.

    Args:
        tensors: arrays (C, h, w) by name.
        suffix: ``.npz`` or ``.safetensors``.
        name: what to call it in errors.

    Raises:
        ArgumentError: another suffix, or a name that the format does not have.

    >>> import io
    >>> np.load(io.BytesIO(features_as_bytes({"net/c5": np.ones((2, 3, 3), np.float32)}, ".npz")))["net/c5"].shape
    (2, 3, 3)
    """
    if suffix not in SUFFIXES:
        raise ArgumentError(name, "another ending", f"{' or '.join(SUFFIXES)} for features", "Rename it.")
    if suffix == ".safetensors":
        return _safetensors_bytes({name: np.ascontiguousarray(array) for name, array in tensors.items()})
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, array in tensors.items():
            member = io.BytesIO()
            np.save(member, array, allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), member.getvalue())  # no date: same tensors, same bytes
    return buffer.getvalue()


def _safetensors_bytes(arrays: dict[str, NDArray[Any]]) -> bytes:
    if "__metadata__" in arrays:
        raise ArgumentError(
            "name", "'__metadata__'", "another: the format has its own use for it", "Rename the tensor."
        )
    try:
        return save(arrays)
    except UnicodeEncodeError as error:
        raise ArgumentError("name", repr(error.object), "text that UTF-8 can hold", "Rename the tensor.") from error


def _files_of(path: Path) -> Iterator[Path]:
    """The file, or those below the folder."""
    if not os.path.isdir(path):  # false, too, where nobody may look
        yield path
        return
    unreadable: list[OSError] = []
    files = []
    for parent, folders, names in os.walk(path, onerror=unreadable.append):
        folders[:] = [name for name in folders if not name.startswith(".")]
        wanted = (Path(parent, n) for n in names if not n.startswith(".") and Path(n).suffix.lower() in SUFFIXES)
        files += [file for file in wanted if os.path.isfile(file)]
    if unreadable:
        reason = reason_of(unreadable[0])
        raise DataError(str(unreadable[0].filename), reason, "a folder to read", "Check its permissions.")
    if not files:
        raise DataError(str(path), "a folder without any features", _EXPECTED, "Check the path.")
    yield from sorted(files)


def _state(status: os.stat_result) -> tuple[int, int]:
    return status.st_size, status.st_mtime_ns


def _open(path: Path) -> _File:
    """Reads a file's headers."""
    if not os.path.exists(path):
        raise DataError(str(path), "no such file or folder", _EXPECTED, "Check the path.")
    if path.suffix.lower() not in SUFFIXES:
        raise DataError(str(path), "another ending", _EXPECTED, "Name a folder or such files.")
    if not os.path.isfile(path):
        raise DataError(str(path), "no file", _EXPECTED, "Check the path.")
    try:
        with open(path, "rb") as stream:
            state = _state(os.fstat(stream.fileno()))
            arrays = _npz_arrays(path, stream) if path.suffix.lower() == ".npz" else _safetensors_arrays(path, stream)
    except AtdcError:
        raise
    except Exception as error:  # zipfile and NumPy let EOFError, RuntimeError, SyntaxError, struct.error, … escape
        raise _damaged(path, error) from error
    return _file(path, state, arrays)


def _damaged(path: Path, error: Exception) -> DataError:
    return DataError(str(path), f"a damaged file ({error})", _EXPECTED, "Write or copy it again, or leave it out.")


def _file(path: Path, state: tuple[int, int], arrays: _Headers) -> _File:
    """A file's arrays, if they make one sample, or as many as all of them say."""
    if not arrays:
        raise DataError(str(path), "no array", _EXPECTED, "Leave the file out.")
    first, (_, first_shape, _) = next(iter(arrays.items()))
    tensors: dict[str, _Array] = {}
    for name, (kind, shape, start) in arrays.items():
        where = f"{path}, tensor {name!r}"
        if len(shape) != len(first_shape):
            raise DataError(
                where, f"the shape {shape}", f"{len(first_shape)} dimensions, as tensor {first!r} of {first_shape} has",
                "Keep single samples (C, h, w) and shards (N, C, h, w) in files of their own.",
            )  # fmt: skip
        if len(shape) == 4 and shape[0] != first_shape[0]:
            raise DataError(
                where, f"{shape[0]} samples", f"{first_shape[0]}, as tensor {first!r} has",
                "Keep samples that lack a tensor in a file of their own.",
            )  # fmt: skip
        # Names are the same in many files: one text for all.
        tensors[sys.intern(name)] = array = _Array(sys.intern(kind), cast(Shape, shape[-3:]), start)
        if start is None and math.prod(shape) * array.dtype.itemsize > _DECODED_LIMIT_BYTES:
            raise DataError(
                where, f"{math.prod(shape) * array.dtype.itemsize:,} bytes that must be decoded at once",
                f"at most {_DECODED_LIMIT_BYTES:,} in a compressed file or in Fortran order",
                "Save it as safetensors, or with np.savez, or as smaller shards.",
            )  # fmt: skip
    return _File(path, state, first_shape[0] if len(first_shape) == 4 else None, tensors)


def _require_tensor(path: Path, name: str, shape: tuple[int, ...], dtype: str) -> None:
    if reason := misfit(shape, dtype, (3, 4)):
        raise DataError(f"{path}, tensor {name!r}", *reason)


def _safetensors_arrays(path: Path, stream: IO[bytes]) -> _Headers:
    """The library says whether the file is sound, but not where arrays are."""
    try:
        with safe_open(path, framework="np"):
            pass
    except SafetensorError as error:
        raise _damaged(path, error) from error
    size = int.from_bytes(stream.read(8), "little")
    header: dict[str, dict[str, Any]] = json.loads(stream.read(size))
    arrays: _Headers = {}
    for name, entry in header.items():
        if name != "__metadata__":
            shape, kind = tuple(entry["shape"]), _SAFETENSORS_TYPES.get(entry["dtype"], entry["dtype"])
            _require_tensor(path, name, shape, kind)
            stored = kind if kind == _BFLOAT16 else np.dtype(kind).newbyteorder("<").str
            arrays[name] = stored, shape, 8 + size + entry["data_offsets"][0]
    return arrays


def _npz_arrays(path: Path, stream: IO[bytes]) -> _Headers:
    """From the zip's directory and the head of each member."""
    arrays: _Headers = {}
    with zipfile.ZipFile(stream) as archive:
        for info in archive.infolist():
            name = info.filename.removesuffix(".npy")
            if info.is_dir():
                continue
            if name == info.filename:
                raise DataError(str(path), f"the member {name!r}", "arrays named ….npy", "Write it with np.savez.")
            if name in arrays:
                raise DataError(str(path), f"the array {name!r} twice", "names that differ", "Write it with np.savez.")
            with archive.open(info) as member:
                shape, fortran, dtype = _npy_header(member)
                before = member.tell()
            if dtype.hasobject:
                raise DataError(
                    f"{path}, tensor {name!r}", "pickled objects, which may run programs", "an array of floats",
                    "Stack arrays of one shape, and save arrays of other shapes under other names or in other files.",
                )  # fmt: skip
            _require_tensor(path, name, shape, dtype.name)
            if before + math.prod(shape) * dtype.itemsize != info.file_size:
                raise ValueError(f"the array {name!r} of {shape} takes {info.file_size - before} bytes")
            direct = info.compress_type == zipfile.ZIP_STORED and not fortran
            start = _data_start(stream, info) + before if direct else None
            if start is not None and start - before + info.file_size > os.fstat(stream.fileno()).st_size:
                raise ValueError(f"the array {name!r} resumes beyond the file's end")
            arrays[name] = dtype.str, shape, start
    return arrays


def _npy_header(member: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, whether in Fortran order, and type; the values come next."""
    version = np.lib.format.read_magic(member)
    if version == (1, 0):
        return np.lib.format.read_array_header_1_0(member)
    if version == (2, 0):
        return np.lib.format.read_array_header_2_0(member)
    raise ValueError(f"version {version} of the npy format")  # 3.0 is for names of fields, which no tensor has


def _data_start(stream: IO[bytes], info: zipfile.ZipInfo) -> int:
    """The file's byte where a stored member begins."""
    stream.seek(info.header_offset)
    signature, name, extra = _LOCAL_HEADER.unpack(stream.read(_LOCAL_HEADER.size))
    if signature != b"PK\3\4":
        raise ValueError(f"no header of the member {info.filename!r}")
    return cast(int, info.header_offset + _LOCAL_HEADER.size + name + extra)


def _decoded_member(stream: IO[bytes], name: str) -> NDArray[Any]:
    """A whole array of an npz file."""
    with zipfile.ZipFile(stream) as archive, archive.open(f"{name}.npy") as member:
        array: NDArray[Any] = np.lib.format.read_array(member, allow_pickle=False)
        member.read()  # to the very end, where the checksum is compared
    return array
