"""The page holds everything in itself, and the demo's answers come from another process."""

import dataclasses
import io
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

import atdc.pipeline
from atdc.data.rooms import ROOMS_VERSION, SPLITS
from atdc.errors import AtdcError, ImageError
from atdc.images import read_image, to_rgb
from atdc.report import demo
from atdc.report.carried import ROOMS, carried_pictures
from atdc.report.demo import carried_images, demo_tables, run_demo
from atdc.report.page import Shown, agreement, page
from atdc.report.same_size import same_size
from atdc.tasks import TASK_NAMES


def _answers(rgb: np.ndarray, shift: float = 0.0) -> dict[str, np.ndarray]:
    height, width = rgb.shape[:2]
    grey = rgb.mean(-1).astype(np.float32) / 255 + shift
    normal = np.zeros((height, width, 3), np.float32)
    normal[..., 2] = 1.0
    return {
        "segment_semantic": (rgb[..., 0] // 20).astype(np.uint8),
        "keypoints2d": grey,
        "edge_texture": grey,
        "normal": normal,
        "depth_zbuffer": 1.0 + grey,
        "rgb": rgb.astype(np.float32) / 255 + shift,
    }


def _shown(name: str = "a room", parents: Mapping[str, list[str]] | None = None) -> Shown:
    rgb = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    return Shown(
        name=name, rgb=rgb, original_size=(32, 24), size_bytes=1036, task_bytes=dict.fromkeys(TASK_NAMES, 150),
        parents={"rgb": ["normal"], "normal": []} if parents is None else parents,
        quality=dict.fromkeys(TASK_NAMES, 4.0), decoded=_answers(rgb, 0.1), uncompressed=_answers(rgb),
        same_size=[same_size(rgb, 300, "WebP")], jpeg75_bytes=5000, encode_seconds=0.25,
    )  # fmt: skip


def test_the_page_needs_nothing_from_outside() -> None:
    html = page([_shown(), _shown("another")], "title", "made by a test")
    assert "http" not in html.replace("http://www.w3.org", "")
    sources = re.findall(r'(?:src|href)="([^"]{1,30})', html)
    assert sources and all(source.startswith(("data:image/webp;base64,", "#picture-")) for source in sources)
    assert "$" not in html, "every place of the template is filled"


def test_the_page_tells_sizes_graph_and_answers() -> None:
    html = page([_shown()], "title", "made by a test")
    for text in ("1,036 bytes", "10.792 bits per pixel", "136 bytes more", "n→a"):
        assert text in html
    assert html.count("from the file</span>") == len(TASK_NAMES) == html.count("uncompressed</span>")
    assert "5,000 bytes, 4.8 times as much" in html


def test_a_graph_without_edges_and_mixed_qualities_are_told() -> None:
    item = dataclasses.replace(
        _shown(parents={}), quality=dict.fromkeys(TASK_NAMES, 4.0) | {"rgb": 0.5}, original_size=(64, 48)
    )
    html = page([item], "title", "")
    assert "every task stands on its own" in html and "image 0.5" in html and "shrunk from 64×48" in html


def test_names_are_escaped() -> None:
    assert "<script>" not in page([_shown("<script>")], "<script>", "<script>")


def test_agreement_is_in_the_tasks_own_measure() -> None:
    first, second = np.zeros((2, 2), np.uint8), np.eye(2, dtype=np.uint8)
    assert agreement("segment_semantic", first, second) == "50.0 % of pixels alike"
    x, z = np.array([[[1.0, 0, 0]]]), np.array([[[0, 0, 1.0]]])
    assert agreement("normal", x, z) == "90.0° apart"
    assert agreement("edge_texture", np.full((1, 1), 0.5), np.full((1, 1), 0.25)) == "0.250 apart, of 1"


def test_the_carried_pictures_are_those_that_their_program_makes() -> None:
    made, carried = carried_pictures(), {path.name: path for path in carried_images()}
    assert set(made) == set(carried) and all(path.stat().st_size < 150_000 for path in carried.values())
    assert [path.stem for path in carried_images()[: len(ROOMS)]] == sorted(ROOMS)
    for name, content in made.items():
        with Image.open(io.BytesIO(content)) as new, Image.open(carried[name]) as old:
            assert (new.format, new.mode, new.size) == (old.format, old.mode, old.size)
            difference = np.abs(to_rgb(new).astype(int) - to_rgb(old).astype(int))
        # Renderings differ in last digits between machines.
        assert np.quantile(difference, 0.999) <= (1 if name.endswith((".png", ".tif")) else 8), name


def test_the_carried_rooms_say_which_they_are() -> None:
    for name, seed in ROOMS.items():
        with Image.open(next(path for path in carried_images() if path.stem == name)) as image:
            said = re.fullmatch(r"atdc rooms, version (\d+), test split, seed (\d+)", str(image.info["Source"]))
            assert image.size == (256, 256) and said is not None
        assert (int(said[1]), int(said[2])) == (ROOMS_VERSION, seed) and seed in SPLITS["test"].seeds


def test_people_s_files_are_carried_too() -> None:
    """A photo to be turned, more than eight bits, a palette with transparency."""
    sides = {path.name: read_image(path).shape for path in carried_images()[len(ROOMS) :]}
    assert sides == {"grey-scan.tif": (192, 256, 3), "phone-photo.jpg": (512, 384, 3), "thumbnail.gif": (72, 104, 3)}


def test_table_has_a_row_for_every_picture() -> None:
    console = Console(width=200)
    with console.capture() as capture:
        console.print(*demo_tables([_shown("first"), _shown("second")]))
    text = capture.get()
    assert text.count("first") == text.count("second") == 2 and "1,036" in text


@pytest.mark.slow
def test_the_demo_shows_what_another_process_decoded(
    untrained_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo, "DEMO_PIXELS", 3000)
    generator = np.random.default_rng(0)
    for folder, size in (("x", (40, 30)), ("y", (90, 50))):
        (tmp_path / folder).mkdir()
        Image.fromarray(generator.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)).save(
            tmp_path / folder / "photo.png"
        )
    steps: list[str] = []
    paths = [tmp_path / "x" / "photo.png", tmp_path / "y" / "photo.png"]
    result = run_demo(paths, tmp_path / "demo", model=str(untrained_weights), quality=3, report=steps.append)
    assert result.page == tmp_path / "demo" / "index.html" and result.page.stat().st_size > 20_000
    first, second = result.shown
    assert (first.name, second.name) == ("photo", "photo-2") and len(steps) == 6
    assert second.original_size == (90, 50) and second.rgb.shape == (41, 73, 3)
    codec = atdc.pipeline.load(untrained_weights)
    for item in result.shown:
        data = (tmp_path / "demo" / f"{item.name}.atdc").read_bytes()
        assert item.size_bytes == len(data) == codec.inspect(data).bytes
        for task, answer in codec.decode(data).items():
            np.testing.assert_allclose(item.decoded[task], answer, atol=1e-5)


def test_a_failure_of_the_other_process_is_quoted(untrained_weights: Path, tmp_path: Path) -> None:
    (tmp_path / "a.atdc").write_bytes(b"no such file")
    with pytest.raises(AtdcError, match=r"exit status 1.*a\.atdc"):
        demo._decode_elsewhere([tmp_path / "a.atdc"], tmp_path / "out", str(untrained_weights))


def test_a_picture_that_cannot_be_read_is_named(untrained_weights: Path, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="no such file"):
        run_demo([tmp_path / "a.png"], tmp_path / "demo", model=str(untrained_weights))


@pytest.mark.weights
@pytest.mark.slow
def test_the_demo_of_the_shipped_model_makes_a_file_of_every_carried_picture(tmp_path: Path) -> None:
    if not Path(atdc.pipeline.__file__).with_name("weights").joinpath("small.safetensors").exists():
        pytest.skip("no weights in the package: train some with `make train`")
    command = [sys.executable, "-m", "atdc.cli", "demo", "-o", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert {path.stem for path in carried_images()} == {path.stem for path in tmp_path.glob("*.atdc")}
