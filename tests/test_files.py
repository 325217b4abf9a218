"""Writing is all or nothing, reading is bounded, and what goes wrong says so."""

from __future__ import annotations

import errno
import os
import stat

import pytest

from atdc.errors import ArgumentError, ImageError, OutputError
from atdc.files import read_bytes, write_bytes_atomically


def test_bytes_come_back(tmp_path):
    path = tmp_path / "a.atdc"
    for data in (b"", b"first", bytes(100_000)):
        write_bytes_atomically(path, data)
        assert read_bytes(path, 100_000) == data
    assert os.listdir(tmp_path) == ["a.atdc"]


def failing(error_number):
    def fail(*_args, **_kwargs):
        raise OSError(error_number, os.strerror(error_number))

    return fail


@pytest.mark.parametrize("function", ["write", "replace", "fsync", "open"])
@pytest.mark.parametrize(
    ("error_number", "cure"),
    [(errno.ENOSPC, "space"), (errno.EACCES, "permissions"), (errno.EROFS, "read-only"), (errno.EIO, "another place")],
)
def test_a_failure_at_any_step_leaves_the_folder_as_it_was(tmp_path, monkeypatch, function, error_number, cure):
    path = tmp_path / "a.atdc"
    path.write_bytes(b"before")
    with monkeypatch.context() as patch:
        patch.setattr(os, function, failing(error_number))
        with pytest.raises(OutputError, match=cure) as caught:
            write_bytes_atomically(path, b"after")
        with pytest.raises(OutputError):
            write_bytes_atomically(tmp_path / "new.atdc", b"after")
    assert str(path) in str(caught.value)
    assert os.listdir(tmp_path) == ["a.atdc"]
    assert path.read_bytes() == b"before"


def test_a_disk_that_fills_up_midway_leaves_no_half_file(tmp_path, monkeypatch):
    write = os.write

    def short_write(descriptor, data):
        if len(data) <= 60:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(descriptor, data[:10])

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", short_write)
        with pytest.raises(OutputError, match="no space left"):
            write_bytes_atomically(tmp_path / "a.atdc", bytes(100))
    assert os.listdir(tmp_path) == []


def test_short_writes_are_continued(tmp_path, monkeypatch):
    write = os.write
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:7]))
        write_bytes_atomically(tmp_path / "a.atdc", bytes(range(100)))
    assert (tmp_path / "a.atdc").read_bytes() == bytes(range(100))


def test_an_interrupt_leaves_no_half_file_either(tmp_path, monkeypatch):
    def interrupt(_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", interrupt)
        with pytest.raises(KeyboardInterrupt):
            write_bytes_atomically(tmp_path / "a.atdc", b"data")
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="no folder is read-only for this user")
def test_a_read_only_folder_is_refused(tmp_path):
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(OutputError, match="permission"):
            write_bytes_atomically(tmp_path / "a.atdc", b"data")
    finally:
        tmp_path.chmod(0o700)


def test_places_that_cannot_hold_a_file_are_refused(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    for path, words in (
        (tmp_path, "a folder"),
        (tmp_path / "none" / "a.atdc", "Create the folder"),
        (tmp_path / "file" / "a.atdc", "Create the folder"),
        (tmp_path / ("x" * 300), "shorter name"),
        (str(tmp_path / "a\0b"), "another name"),
    ):
        with pytest.raises(OutputError, match=words):
            write_bytes_atomically(path, b"data")
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_devices_and_pipes_are_not_replaced(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(OutputError, match="device or pipe"):
        write_bytes_atomically(pipe, b"data")
    assert stat.S_ISFIFO(pipe.stat().st_mode)


@pytest.mark.skipif(os.name == "nt", reason="POSIX permissions and links")
def test_permissions_and_links_stay(tmp_path):
    path, link = tmp_path / "a.atdc", tmp_path / "link"
    path.write_bytes(b"before")
    path.chmod(0o640)
    link.symlink_to(path)
    write_bytes_atomically(link, b"after")
    assert link.is_symlink() and path.read_bytes() == b"after"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    mask = os.umask(0o027)
    try:
        write_bytes_atomically(tmp_path / "new", b"")
    finally:
        os.umask(mask)
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o640


def test_reading_is_bounded_and_errors_are_named(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(bytes(11))
    assert read_bytes(path, 11) == bytes(11)
    with pytest.raises(ArgumentError, match="more than 10 bytes"):
        read_bytes(path, 10)
    with pytest.raises(ImageError, match="no such file"):
        read_bytes(tmp_path / "none", 10, error_class=ImageError)
    with pytest.raises(ArgumentError, match="directory"):
        read_bytes(tmp_path, 10)
    with pytest.raises(ArgumentError, match="a path that holds a NUL"):
        read_bytes("a\0b", 10)
