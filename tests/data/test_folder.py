"""Photos of a folder: all of them, in one order, and what is broken is counted."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from atdc.data.folder import PhotoFolder
from atdc.errors import DataError

KODAK = Path(os.environ.get("ATDC_KODAK", Path(__file__).parents[2].parent / "shared" / "data" / "kodak"))


@pytest.fixture()
def folder(tmp_path: Path) -> Path:
    for number, name in enumerate(("b.png", "a.JPG", "deep/er/c.webp", "deep/d.tiff", ".hidden/e.png", ".f.png")):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4 + number, 3), (number, 0, 0)).save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no photo")
    (tmp_path / "no_ending").write_bytes(b"")
    return tmp_path


def names(photos: PhotoFolder) -> list[str]:
    return [path.relative_to(photos.folder).as_posix() for path, _ in photos]


def test_photos_come_recursively_and_in_the_order_of_their_paths(folder: Path) -> None:
    photos = PhotoFolder(folder)
    assert len(photos) == 4 and names(photos) == ["a.JPG", "b.png", "deep/d.tiff", "deep/er/c.webp"]
    assert [image.shape for _, image in photos] == [(3, 5, 3), (3, 4, 3), (3, 7, 3), (3, 6, 3)]
    assert photos.summary() == "4 of 4 photos read."


def test_what_cannot_be_read_is_passed_over_and_counted_again_each_time(folder: Path) -> None:
    (folder / "b.png").write_bytes(b"no picture")
    (folder / "deep/empty.png").write_bytes(b"")
    photos = PhotoFolder(folder, pixel_limit=19)
    for _ in range(2):
        assert names(photos) == ["a.JPG", "deep/er/c.webp"]
        assert [Path(error.where).name for error in photos.skipped] == ["b.png", "d.tiff", "empty.png"]
    assert photos.summary().startswith("2 of 5 photos read; 3 skipped, the first: ")


def test_what_waits_for_a_writer_is_no_photo_and_what_a_phone_writes_is(folder: Path) -> None:
    os.mkfifo(folder / "pipe.png")
    (folder / "phone.HEIC").touch()
    (folder / "page.eps").touch()
    assert [path.name for path in PhotoFolder(folder).paths] == ["a.JPG", "b.png", "d.tiff", "c.webp", "phone.HEIC"]


def test_a_folder_that_may_not_be_entered_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scandir = os.scandir

    def closed(path: str) -> object:
        if str(path).endswith("deep"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", closed)
    with pytest.raises(DataError, match="deep: found permission denied; expected a folder that can be entered"):
        PhotoFolder(folder)


def test_a_loop_of_linked_folders_ends(folder: Path) -> None:
    (folder / "deep/loop").symlink_to(folder, target_is_directory=True)
    assert len(PhotoFolder(folder)) == 4


def test_a_folder_without_photos_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("")
    for path, found in (
        (tmp_path, "no photo"),
        (tmp_path / "absent", "no such folder"),
        (tmp_path / "notes.txt", "no such"),
    ):
        with pytest.raises(DataError, match=found):
            PhotoFolder(path)


@pytest.mark.skipif(not KODAK.is_dir(), reason="no Kodak photos here: set ATDC_KODAK to their folder")
def test_the_kodak_photos_are_read() -> None:
    photos = PhotoFolder(KODAK)
    assert {tuple(sorted(image.shape)) for _, image in photos} == {(3, 512, 768)} and not photos.skipped
    assert all(image.dtype == np.uint8 for _, image in photos)
