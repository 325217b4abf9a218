"""Features on disk: every layout reads the same, in little memory, and what is no feature is refused in words."""

import io
import os
import pickle
import re
import subprocess
import sys
import tempfile
import threading
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from atdc.data import dumped
from atdc.data.dumped import DumpedFeatures, write_shard
from atdc.data.feature_source import LARGEST_VALUE, FeatureSource, InMemoryFeatures
from atdc.errors import ArgumentError, DataError, OutputError

Arrays = Mapping[str, NDArray[Any]]
Writer = Callable[[Path, Arrays], None]


def write_npz(path: Path, arrays: Arrays, compression: int = zipfile.ZIP_STORED) -> None:
    """As ``np.savez`` does, with names that are no names of its arguments only by chance."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asarray(array), allow_pickle=True)


def write_compressed(path: Path, arrays: Arrays) -> None:
    write_npz(path, arrays, zipfile.ZIP_DEFLATED)


def write_safetensors(path: Path, arrays: Arrays) -> None:
    safetensors.numpy.save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, path)


WRITERS: dict[str, tuple[str, Writer]] = {
    "stored": (".npz", write_npz),
    "compressed": (".npz", write_compressed),
    "safetensors": (".safetensors", write_safetensors),
}


def arrays_of(seed: int, *shape: int, dtype: Any = np.float32) -> dict[str, NDArray[Any]]:
    """Two tensors, of which ``shape`` says what comes before (C, h, w)."""
    draw = np.random.default_rng(seed)
    return {
        "net/c5": draw.normal(size=(*shape, 3, 4, 5)).astype(dtype),
        "b": draw.normal(size=(*shape, 2, 1, 1)).astype(dtype),
    }


def equal(found: Mapping[str, NDArray[np.float32]], expected: Arrays) -> bool:
    """All names and values, as float32."""
    return set(found) == set(expected) and all(
        value.dtype == np.float32 and value.flags.c_contiguous and value.flags.writeable
        and np.array_equal(value, np.asarray(expected[name]).astype(np.float32))
        for name, value in found.items()
    )  # fmt: skip


def error_of(path: Any) -> str:
    with pytest.raises(DataError) as caught:
        DumpedFeatures(path)
    return str(caught.value)


@pytest.mark.parametrize("dtype", ["<f2", "<f4", "<f8", ">f4"])
@pytest.mark.parametrize("layout", WRITERS)
def test_every_layout_and_type_reads_back_what_was_written(layout: str, dtype: str, tmp_path: Path) -> None:
    suffix, write = WRITERS[layout]
    one, shard = arrays_of(1, dtype=dtype), arrays_of(2, 6, dtype=dtype)
    write(tmp_path / f"one{suffix}", one)
    write(tmp_path / f"shard{suffix}", shard)
    features = DumpedFeatures(tmp_path)
    assert len(features) == 7 and features.names == ("b", "net/c5")
    assert equal(features.read(0), one)
    for row in (5, 0, 3, 3, 1, 2, 4):
        assert equal(features.read(1 + row), {name: value[row] for name, value in shard.items()})
        assert features.shapes(1 + row) == {"net/c5": (3, 4, 5), "b": (2, 1, 1)}


@pytest.mark.parametrize("layout", ["stored", "compressed"])
def test_arrays_in_fortran_order_read_back(layout: str, tmp_path: Path) -> None:
    suffix, write = WRITERS[layout]
    one, shard = ({name: np.asfortranarray(v) for name, v in arrays_of(3, *n).items()} for n in ((), (4,)))
    write(tmp_path / f"one{suffix}", one)
    write(tmp_path / f"shard{suffix}", shard)
    features = DumpedFeatures(tmp_path)
    assert equal(features.read(0), one)
    assert all(equal(features.read(1 + i), {name: value[i] for name, value in shard.items()}) for i in (3, 1, 0, 2))


def test_all_of_bfloat16_reads_as_torch_reads_it(tmp_path: Path) -> None:
    patterns = torch.arange(2**16, dtype=torch.int32).to(torch.int16).view(torch.bfloat16)
    usable = patterns[patterns.float().abs() <= LARGEST_VALUE]
    values = torch.cat([usable, usable[: -len(usable) % 40]]).reshape(5, 2, 4, -1)
    safetensors.torch.save_file({"x": values, "half": values.clamp(-1, 1).half()}, tmp_path / "x.safetensors")
    features = DumpedFeatures(tmp_path)
    for row in range(5):
        expected = values[row].float().numpy()
        assert np.array_equal(features.read(row)["x"].view(np.uint32), expected.view(np.uint32))
        assert equal({"half": features.read(row)["half"]}, {"half": expected.clip(-1, 1).astype(np.float16)})


NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12).filter(
    lambda name: name != "__metadata__"
)


@settings(max_examples=40)
@given(
    names=st.lists(NAMES, min_size=1, max_size=4, unique=True),
    rows=st.none() | st.integers(1, 5),
    layout=st.sampled_from(sorted(WRITERS)),
    shape=st.tuples(*[st.integers(1, 4)] * 3),
    dtype=st.sampled_from(["<f2", "<f4", "<f8"]),
)
def test_any_names_and_shapes_read_back(
    names: list[str], rows: int | None, layout: str, shape: tuple[int, int, int], dtype: str
) -> None:
    suffix, write = WRITERS[layout]
    draw = np.random.default_rng(len(names))
    whole = (() if rows is None else (rows,)) + shape
    arrays = {name: draw.normal(size=whole).astype(dtype) for name in names}
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder) / f"x{suffix}", arrays)
        features = DumpedFeatures(folder)
        assert features.names == tuple(sorted(names)) and len(features) == (rows or 1)
        for row in range(len(features)):
            assert equal(features.read(row), arrays if rows is None else {n: a[row] for n, a in arrays.items()})
            assert features.shapes(row) == dict.fromkeys(names, shape)


def test_what_numpy_and_write_shard_write_is_read(tmp_path: Path) -> None:
    arrays = arrays_of(4, 3)
    np.savez(tmp_path / "1.npz", **arrays)
    np.savez_compressed(tmp_path / "2.npz", **arrays)
    write_shard(tmp_path / "3.safetensors", [{name: value[i] for name, value in arrays.items()} for i in range(3)])
    features = DumpedFeatures(tmp_path)
    assert len(features) == 9
    for i in range(9):
        assert equal(features.read(i), {name: value[i % 3] for name, value in arrays.items()})


@pytest.mark.parametrize("layout", WRITERS)
def test_one_file_a_sample_equals_shards(layout: str, tmp_path: Path) -> None:
    suffix, write = WRITERS[layout]
    arrays = arrays_of(5, 7)
    rows = [{name: value[i] for name, value in arrays.items()} for i in range(7)]
    (tmp_path / "single").mkdir()
    (tmp_path / "shards").mkdir()
    for i, row in enumerate(rows):
        write(tmp_path / "single" / f"{i}{suffix}", row)
    write(tmp_path / "shards" / f"1{suffix}", {name: value[:4] for name, value in arrays.items()})
    write(tmp_path / "shards" / f"2{suffix}", {name: value[4:] for name, value in arrays.items()})
    single, shards, memory = (
        DumpedFeatures(tmp_path / "single"),
        DumpedFeatures(tmp_path / "shards"),
        InMemoryFeatures(rows),
    )
    sources: tuple[FeatureSource, ...] = (single, shards, memory)
    for source in sources:
        assert len(source) == 7 and source.names == ("b", "net/c5")
        for i in (6, 0, 3, 4, 1, 5, 2):
            assert equal(source.read(i), rows[i]) and source.shapes(i) == single.shapes(i)


def test_missing_tensors_are_absent_and_grids_may_differ(tmp_path: Path) -> None:
    write_npz(tmp_path / "1.npz", {"a": np.ones((2, 3, 4))})
    write_npz(tmp_path / "2.npz", {"b": np.ones((5, 1, 2), np.float16), "a": np.ones((2, 6, 1))})
    features = DumpedFeatures(tmp_path)
    assert features.names == ("a", "b")
    assert features.shapes(0) == {"a": (2, 3, 4)} and set(features.read(0)) == {"a"}
    assert features.shapes(1) == {"a": (2, 6, 1), "b": (5, 1, 2)} and set(features.read(1)) == {"a", "b"}


def test_folders_are_searched_in_order_of_paths_and_lists_keep_their_order(tmp_path: Path) -> None:
    for number, name in enumerate(("b/2.npz", "a.npz", "b/1.NPZ", "c/d/e.npz", ".hidden/x.npz", "b/.x.npz")):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        write_npz(tmp_path / name, {"a": np.full((1, 1, 1), number, np.float32)})
    (tmp_path / "notes.txt").write_text("other files are left alone")
    features = DumpedFeatures(str(tmp_path))
    assert [float(features.read(i)["a"].item()) for i in range(len(features))] == [1, 2, 0, 3]
    listed = DumpedFeatures([tmp_path / "c" / "d" / "e.npz", str(tmp_path / "a.npz")])
    assert [float(listed.read(i)["a"].item()) for i in range(len(listed))] == [3, 1]
    assert len(DumpedFeatures(tmp_path / "a.npz")) == 1


def test_a_sample_is_described_by_its_file_and_its_row(tmp_path: Path) -> None:
    write_npz(tmp_path / "1.npz", {"a": np.ones((2, 3, 4))})
    write_npz(tmp_path / "2.npz", {"a": np.ones((4, 2, 3, 4))})
    features = DumpedFeatures(tmp_path)
    assert features.described(0) == str(tmp_path / "1.npz")
    assert features.described(4) == f"{tmp_path / '2.npz'}, sample 3"
    for call in (
        features.described,
        features.shapes,
        features.read,
        InMemoryFeatures([{"a": np.ones((1, 1, 1))}]).read,
    ):
        for index in (5, -1):
            with pytest.raises(ArgumentError, match=r"sample: found (5|-1); expected a number from 0 to [04]"):
                call(index)


MISFITS: dict[str, tuple[Arrays, str]] = {
    "integers": ({"a": np.ones((1, 2, 2), np.int64)}, r"'a': found values of the type (int64|I64); .*Convert them"),
    "bytes": ({"a": np.ones((1, 2, 2), np.uint8)}, r"found values of the type (uint8|U8);"),
    "truth values": ({"a": np.ones((1, 2, 2), bool)}, r"found values of the type (bool|BOOL);"),
    "complex numbers": ({"a": np.ones((1, 2, 2), np.complex64)}, r"found values of the type (complex64|C64);"),
    "a vector": ({"a": np.ones(7)}, r"found the shape \(7,\); expected.*\(C, h, w\).*a vector to \(C, 1, 1\)"),
    "five dimensions": ({"a": np.ones((1, 1, 1, 1, 1))}, r"found the shape \(1, 1, 1, 1, 1\)"),
    "no channels": ({"a": np.ones((0, 2, 2))}, r"found the shape \(0, 2, 2\), without values"),
    "no samples": ({"a": np.ones((0, 1, 2, 2))}, r"found the shape \(0, 1, 2, 2\), without values"),
    "a sample in a shard": (
        {"a": np.ones((2, 1, 2, 2)), "b": np.ones((1, 2, 2))},
        r"'[ab]': found the shape .*; expected [34] dimensions, as tensor '[ab]' of .* has.*in files of their own",
    ),
    "shards of two lengths": (
        {"a": np.ones((2, 1, 2, 2)), "b": np.ones((3, 1, 2, 2))},
        r"'[ab]': found [23] samples; expected [23], as tensor '[ab]' has.*lack a tensor in a file of their own",
    ),
    "nothing": ({}, r"found no array; expected \.npz or \.safetensors files"),
}  # fmt: skip


@pytest.mark.parametrize("layout", WRITERS)
@pytest.mark.parametrize("kind", MISFITS)
def test_misfits_are_refused_when_opened_with_file_and_cure(kind: str, layout: str, tmp_path: Path) -> None:
    suffix, write = WRITERS[layout]
    arrays, words = MISFITS[kind]
    path = tmp_path / f"x{suffix}"
    write(path, arrays)
    message = error_of(tmp_path)
    assert message.startswith(str(path)) and re.search(words, message), message


def test_a_tensor_with_other_channels_elsewhere_is_refused_with_both_files(tmp_path: Path) -> None:
    write_npz(tmp_path / "1.npz", {"a": np.ones((2, 3, 3)), "b": np.ones((1, 1, 1))})
    write_safetensors(tmp_path / "2.safetensors", {"a": np.ones((9, 3, 3, 3))})
    message = error_of(tmp_path)
    assert (
        f"{tmp_path / '2.safetensors'}, tensor 'a': found 3 channels; expected 2, as in {tmp_path / '1.npz'}" in message
    )


def test_pickled_objects_foreign_members_and_double_names_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    write_npz(path, {"a": np.array([np.ones((1, 2, 2)), None], object)})
    assert re.search(r"x\.npz, tensor 'a': found pickled objects, .*expected an array of floats", error_of(path))
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "no array")
    assert "found the member 'readme.txt'; expected arrays named" in error_of(path)
    array = io.BytesIO()
    np.save(array, np.ones((1, 2, 2)))
    with zipfile.ZipFile(path, "w") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("a.npy", array.getvalue())
        archive.writestr("a.npy", array.getvalue())
    assert "found the array 'a' twice" in error_of(path)


def test_nothing_to_read_is_refused_with_what_is_expected(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no features")
    expected = "expected .npz or .safetensors files with arrays (C, h, w), or (N, C, h, w) for N samples"
    for path, found in (
        (tmp_path, "a folder without any features"), (tmp_path / "missing.npz", "no such file or folder"),
        (tmp_path / "notes.txt", "another ending"), ([], "no file"),
    ):  # fmt: skip
        message = error_of(path)
        assert f"found {found}; {expected}" in message


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("layout", WRITERS)
def test_what_is_not_finite_is_refused_with_file_sample_tensor_and_channel(
    layout: str, value: float, tmp_path: Path
) -> None:
    suffix, write = WRITERS[layout]
    arrays = {"a": np.zeros((4, 3, 2, 2), np.float16), "b": np.zeros((4, 1, 1, 1))}
    arrays["a"][2, 1, 0, 1] = value
    write(tmp_path / f"x{suffix}", arrays)
    features = DumpedFeatures(tmp_path)
    for row in (0, 1, 3):
        features.read(row)
    where = re.escape(f"{tmp_path / f'x{suffix}'}, sample 2, tensor 'a', channel 1: found {value}; expected finite")
    with pytest.raises(DataError, match=where):
        features.read(2)


def test_float64_beyond_float32_is_refused_with_the_value(tmp_path: Path) -> None:
    write_npz(tmp_path / "x.npz", {"a": np.full((1, 1, 1), -1e300)})
    with pytest.raises(DataError, match=r"channel 0: found -1e\+300; expected finite values up to 1e\+36"):
        DumpedFeatures(tmp_path).read(0)


@pytest.mark.parametrize("layout", WRITERS)
def test_truncated_files_are_refused_by_name(layout: str, tmp_path: Path) -> None:
    suffix, write = WRITERS[layout]
    path = tmp_path / f"x{suffix}"
    write(path, arrays_of(6, 3))
    data = path.read_bytes()
    for size in (0, 4, 40, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:size])
        assert f"{path}: found a damaged file" in error_of(tmp_path)


@settings(max_examples=150)
@given(layout=st.sampled_from(sorted(WRITERS)), place=st.floats(0, 1), flips=st.integers(1, 255), cut=st.booleans())
def test_a_damaged_byte_gives_a_data_error_or_samples_of_the_same_shapes(
    layout: str, place: float, flips: int, cut: bool
) -> None:
    suffix, write = WRITERS[layout]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"x{suffix}"
        write(path, {"a": arrays_of(7, 3, dtype=np.float16)["net/c5"]})
        data = bytearray(path.read_bytes())
        data[min(int(place * len(data)), len(data) - 1)] ^= flips
        path.write_bytes(data[: len(data) - cut * 7])
        try:
            features = DumpedFeatures(folder)
            for index in range(len(features)):
                assert {name: value.shape for name, value in features.read(index).items()} == features.shapes(index)
        except DataError as error:
            assert str(path) in str(error)


def test_a_damaged_compressed_array_is_refused_when_read(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    write_compressed(path, {"a": np.random.default_rng(8).normal(size=(3, 40, 4, 4))})
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    features = DumpedFeatures(path)
    with pytest.raises(DataError, match=re.escape(f"{path}: found a damaged file")):
        features.read(0)


def test_a_file_that_was_changed_or_removed_since_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    write_npz(path, arrays_of(9, 3))
    features = DumpedFeatures(path)
    write_npz(path, arrays_of(9, 2))
    with pytest.raises(DataError, match="found a file that was changed since it was opened"):
        features.read(0)
    path.unlink()
    with pytest.raises(DataError, match=re.escape(str(path))):
        features.read(0)


@pytest.mark.parametrize("layout", WRITERS)
def test_pickled_features_and_threads_read_the_same(
    layout: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    suffix, write = WRITERS[layout]
    shards = [arrays_of(seed, 8) for seed in range(3)]
    monkeypatch.setattr(
        dumped, "_DECODED_LIMIT_BYTES", shards[0]["net/c5"].nbytes
    )  # one array: threads evict each other's
    for number, arrays in enumerate(shards):
        write(tmp_path / f"{number}{suffix}", arrays)
    features = DumpedFeatures(tmp_path)
    features.read(0)
    copy: DumpedFeatures = pickle.loads(pickle.dumps(features))
    assert len(pickle.dumps(features)) < 2000  # no values
    wrong: list[int] = []

    def read(seed: int) -> None:
        for index in np.random.default_rng(seed).integers(0, 24, 60).tolist():
            expected = {name: value[index % 8] for name, value in shards[index // 8].items()}
            if not equal(copy.read(index), expected):
                wrong.append(index)

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong and copy.names == features.names and copy.described(9) == features.described(9)


def test_compressed_shards_read_in_order_decode_each_array_once_and_keep_few(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shards = [arrays_of(seed, 6) for seed in range(4)]
    for number, arrays in enumerate(shards):
        write_compressed(tmp_path / f"{number}.npz", arrays)
    limit = sum(array.nbytes for array in shards[0].values())
    monkeypatch.setattr(dumped, "_DECODED_LIMIT_BYTES", limit)
    decoded = []
    decode = dumped._decoded_member
    monkeypatch.setattr(dumped, "_decoded_member", lambda stream, name: decoded.append(name) or decode(stream, name))
    features = DumpedFeatures(tmp_path)
    for index in range(len(features)):
        features.read(index)
        assert sum(array.nbytes for array in features._decoded.values()) <= limit
    assert len(decoded) == 2 * 4


@pytest.mark.parametrize("rows", [(), (4,)])
def test_compressed_arrays_beyond_the_limit_are_refused_with_the_cure(
    rows: tuple[int, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrays = arrays_of(10, *rows)
    size = arrays["net/c5"].nbytes
    write_compressed(tmp_path / "x.npz", arrays)
    monkeypatch.setattr(dumped, "_DECODED_LIMIT_BYTES", size)
    assert len(DumpedFeatures(tmp_path)) == (rows or (1,))[0]
    monkeypatch.setattr(dumped, "_DECODED_LIMIT_BYTES", size - 1)
    assert re.search(rf"'net/c5': found {size} bytes that must be decoded.*Save it as safetensors", error_of(tmp_path))
    write_npz(tmp_path / "x.npz", arrays)
    DumpedFeatures(tmp_path).read(0)


def test_no_file_stays_open(tmp_path: Path) -> None:
    if not Path("/proc/self/fd").is_dir():
        pytest.skip("counts open files as Linux shows them")
    for layout, (suffix, write) in WRITERS.items():
        write(tmp_path / f"{layout}{suffix}", arrays_of(11, 4))
    before = len(os.listdir("/proc/self/fd"))
    features = DumpedFeatures(tmp_path)
    for index in range(12):
        features.read(index)
    assert len(os.listdir("/proc/self/fd")) == before


READ_AT_RANDOM = """
import re, sys
import numpy as np
from atdc.data.dumped import DumpedFeatures
def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1]) / 1024
before = peak()
features = DumpedFeatures(sys.argv[1])
for index in np.random.default_rng(0).integers(0, len(features), 200).tolist():
    assert features.read(index)["a"][0, 0, 0] == index
print(peak() - before)
"""


@pytest.mark.slow
def test_a_large_folder_is_read_at_random_in_little_memory(tmp_path: Path) -> None:
    if not Path("/proc/self/status").is_file():
        pytest.skip("reads the peak of memory as Linux shows it")
    rows = 75
    for number in range(4):  # 75 MiB each
        values = np.zeros((rows, 64, 64, 64), np.float32)
        values[:, 0, 0, 0] = np.arange(rows) + rows * number
        write_npz(tmp_path / f"{number}.npz", {"a": values}) if number % 2 else write_safetensors(
            tmp_path / f"{number}.safetensors", {"a": values}
        )
    del values
    done = subprocess.run(
        [sys.executable, "-c", READ_AT_RANDOM, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 100


def test_rows_beyond_four_gigabytes_are_read_where_they_lie(tmp_path: Path) -> None:
    path, rows = tmp_path / "x.safetensors", 9000
    header = b'{"a":{"dtype":"F16","shape":[9000,256,32,32],"data_offsets":[0,4718592000]}}'
    with open(path, "wb") as file:  # a hole on the disk, but for the last row's first value
        file.write(len(header).to_bytes(8, "little") + header)
        file.truncate(8 + len(header) + 4718592000)
        file.seek(8 + len(header) + (rows - 1) * 256 * 32 * 32 * 2)
        file.write(np.float16(7).tobytes())
    features = DumpedFeatures(path)
    assert [features.read(index)["a"][0, 0, 0] for index in (0, rows - 1)] == [0, 7]


def test_a_half_shard_holds_what_float16_holds(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    samples = [arrays_of(seed) for seed in range(3)]
    for half, dtype in ((False, np.float32), (True, np.float16)):
        write_shard(path, samples, half=half)
        assert {array.dtype for array in safetensors.numpy.load_file(path).values()} == {np.dtype(dtype)}
        features = DumpedFeatures(path)
        for index, sample in enumerate(samples):
            assert equal(features.read(index), {name: value.astype(dtype) for name, value in sample.items()})


def test_a_shard_takes_torch_tensors(tmp_path: Path) -> None:
    samples = [{"a": torch.full((2, 3, 3), i + 0.5, dtype=torch.bfloat16, requires_grad=True)} for i in range(3)]
    write_shard(tmp_path / "x.safetensors", samples)
    assert [DumpedFeatures(tmp_path).read(i)["a"].max() for i in range(3)] == [0.5, 1.5, 2.5]


ONE = np.ones((1, 2, 2))
REFUSED: dict[str, tuple[str, Sequence[Any], str]] = {
    "another ending": ("x.npz", [{"a": ONE}], r"found another ending; expected \.safetensors"),
    "no samples": ("x.safetensors", [], r"samples: found none"),
    "no tensors": ("x.safetensors", [{}], r"sample 0: found no tensor"),
    "other tensors": ("x.safetensors", [{"a": ONE}, {"b": ONE}], r"sample 1: found \{'b'.*expected \{'a'.*another"),
    "other shapes": ("x.safetensors", [{"a": ONE}, {"a": ONE[:, :1]}], r"sample 1: found .*\(1, 1, 2\)"),
    "other channels": ("x.safetensors", [{"a": ONE}, {"a": ONE.repeat(2, 0)}], r"sample 1, .*'a': found 2 channels"),
    "another rank": ("x.safetensors", [{"a": ONE[None]}], r"sample 0, tensor 'a': found the shape \(1, 1, 2, 2\)"),
    "integers": ("x.safetensors", [{"a": ONE.astype(int)}], r"found values of the type int64"),
    "beyond half": ("x.safetensors", [{"a": ONE}, {"a": ONE * 7e4}], r"sample 1, tensor 'a': found values up to 70000"),
    "a reserved name": ("x.safetensors", [{"__metadata__": ONE}], r"found '__metadata__'"),
    "no text": ("x.safetensors", [{"\ud800": ONE}], r"expected text that UTF-8 can hold"),
}  # fmt: skip


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_no_shard_is_refused_and_leaves_the_file_as_it_was(kind: str, tmp_path: Path) -> None:
    name, samples, words = REFUSED[kind]
    (tmp_path / name).write_bytes(b"as it was")
    with pytest.raises(ArgumentError, match=words):
        write_shard(tmp_path / name, samples, half=True)
    assert [path.name for path in tmp_path.iterdir()] == [name] and (tmp_path / name).read_bytes() == b"as it was"


def test_a_shard_is_refused_where_values_are_not_finite_or_the_folder_is_missing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="sample 1, tensor 'a', channel 0: found nan"):
        write_shard(tmp_path / "x.safetensors", [{"a": ONE}, {"a": ONE * np.nan}])
    with pytest.raises(OutputError):
        write_shard(tmp_path / "missing" / "x.safetensors", [{"a": ONE}])
    assert not list(tmp_path.iterdir())


def test_memory_takes_any_float_of_numpy_and_torch_and_gives_copies() -> None:
    values = np.arange(8.0).reshape(2, 2, 2)
    kinds: list[Any] = [values.astype(dtype) for dtype in ("<f2", ">f4", "<f8")]
    kinds += [torch.from_numpy(values).to(dtype) for dtype in (torch.bfloat16, torch.float16, torch.float64)]
    features = InMemoryFeatures([{"a": kind} for kind in kinds])
    for index in range(len(kinds)):
        read = features.read(index)
        assert equal(read, {"a": values})
        read["a"][:] = -1
        assert equal(features.read(index), {"a": values})
    with pytest.raises(ArgumentError, match="sample 0, tensor 'a': found values of the type int64"):
        InMemoryFeatures([{"a": torch.ones((1, 1, 1), dtype=torch.int64)}])
    with pytest.raises(DataError, match=r"sample 0, tensor 'a', channel 0: found 1e\+300"):
        InMemoryFeatures([{"a": torch.full((1, 1, 1), 1e300, dtype=torch.float64)}]).read(0)
