"""Photos of a folder: all of them, in one order."""

import os
from pathlib import Path

import pytest
from PIL import Image

from atdc.data.photos import photos_in
from atdc.errors import DataError


@pytest.fixture()
def folder(tmp_path: Path) -> Path:
    for number, name in enumerate(("b.png", "a.JPG", "deep/er/c.webp", "deep/d.tiff", ".hidden/e.png", ".f.png")):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4 + number, 3), (number, 0, 0)).save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no photo")
    (tmp_path / "no_ending").write_bytes(b"")
    return tmp_path


def test_photos_come_recursively_and_in_the_order_of_their_paths(folder: Path) -> None:
    found = [path.relative_to(folder).as_posix() for path in photos_in(folder)]
    assert found == ["a.JPG", "b.png", "deep/d.tiff", "deep/er/c.webp"]


def test_what_waits_for_a_writer_is_no_photo_and_what_a_phone_writes_is(folder: Path) -> None:
    os.mkfifo(folder / "pipe.png")
    (folder / "phone.HEIC").touch()
    (folder / "page.eps").touch()
    assert [path.name for path in photos_in(folder)] == ["a.JPG", "b.png", "d.tiff", "c.webp", "phone.HEIC"]


def test_a_folder_that_may_not_be_entered_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scandir = os.scandir

    def closed(path: str) -> object:
        if str(path).endswith("deep"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", closed)
    with pytest.raises(DataError, match="deep: found permission denied; expected a folder that can be entered"):
        photos_in(folder)


def test_a_loop_of_linked_folders_ends(folder: Path) -> None:
    (folder / "deep/loop").symlink_to(folder, target_is_directory=True)
    assert len(photos_in(folder)) == 4


def test_a_folder_without_photos_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("")
    for path, found in (
        (tmp_path, "no photo"),
        (tmp_path / "absent", "no such folder"),
        (tmp_path / "notes.txt", "no such"),
    ):
        with pytest.raises(DataError, match=found):
            photos_in(path)
