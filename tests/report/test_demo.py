"""The page holds everything in itself, and the demo's answers come from another process."""

import dataclasses
import io
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from rich.console import Console

import atdc.pipeline
from atdc.data.rooms import ROOMS_VERSION, SPLITS
from atdc.errors import AtdcError, ImageError
from atdc.images import read_image, to_rgb
from atdc.report import demo
from atdc.report.candidates import candidates_of
from atdc.report.carried import RENDERED_TARGETS, ROOMS, carried_files, carried_ground_truth
from atdc.report.demo import apportioned, by_error, carried_images, demo_tables, run_demo
from atdc.report.ground_truth import error_in_words, error_of, errors_in_words, image_ground_truth
from atdc.report.page import Candidate, Shown, agreement, page
from atdc.report.same_size import same_size
from atdc.report.wanted_files import sets_for
from atdc.report.wanted_table import WantedFile
from atdc.tasks import TASK_NAMES
from html_page import HtmlPage


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
        name=name, rgb=rgb, original_size=(32, 24), size_bytes=919, framing_bytes=19,
        task_bytes=dict.fromkeys(TASK_NAMES, 150), setting="codebook",
        candidates=[
            Candidate({"rgb": ["normal"]}, True, 8000.0, 7200.0, 919, True),
            Candidate({}, False, None, 8800.0, 1149, False),
        ],
        ground_truth=image_ground_truth(rgb),
        errors=errors_in_words(_answers(rgb, 0.1), _answers(rgb), image_ground_truth(rgb)),
        parents={"rgb": ["normal"], "normal": []} if parents is None else parents,
        quality=dict.fromkeys(TASK_NAMES, 4.0), decoded=_answers(rgb, 0.1), uncompressed=_answers(rgb),
        same_size=[same_size(rgb, 300, "WebP")], jpeg75_bytes=5000, encode_seconds=0.25,
        wanted=[WantedFile(tasks, (), 100 * len(tasks) + 319) for tasks in sets_for(24 * 32)],
    )  # fmt: skip


def test_the_page_needs_nothing_from_outside() -> None:
    html = page([_shown(), _shown("another")], "title", "made by a test")
    assert "http" not in html.replace("http://www.w3.org", "")
    sources = re.findall(r'(?:src|href)="([^"]{1,30})', html)
    assert sources and all(source.startswith(("data:image/webp;base64,", "#picture-")) for source in sources)
    assert "$" not in html, "every place of the template is filled"


def test_the_page_tells_sizes_graph_and_answers() -> None:
    html = page([_shown()], "title", "made by a test")
    for text in ("919 bytes", "9.573 bits per pixel", "together 919", "n→a"):
        assert text in html
    assert len(re.findall(r"<figcaption>from the file<br>", html)) == len(TASK_NAMES)
    assert html.count("<figcaption>ground truth</figcaption>") == 3 == html.count("no ground truth for this image")
    assert "5,000 bytes, 5.4 times as much" in html


def test_a_graph_without_edges_and_mixed_qualities_are_told() -> None:
    item = dataclasses.replace(
        _shown(parents={}), quality=dict.fromkeys(TASK_NAMES, 4.0) | {"rgb": 0.5}, original_size=(64, 48)
    )
    html = page([item], "title", "")
    assert "every task stands on its own" in html and "image 0.5" in html and "shrunk from 64×48" in html


def test_names_are_escaped() -> None:
    name = "<img onerror=x>"
    html = page([_shown(name)], name, name)
    assert name not in html and "&lt;img onerror=x&gt;" in html


def test_names_and_titles_are_text_wherever_they_stand() -> None:
    name, title = "<script>alert(1)</script>&.jpg", "\"quoted\" & 'so' -- </title>"
    harmless, hostile = (
        HtmlPage(page([dataclasses.replace(_shown(text), setting=text)], words, text, [text]))
        for text, words in (("a", "b"), (name, title))
    )
    assert hostile.elements == harmless.elements and hostile.elements.count("script") == 1, "the page's own"
    assert hostile.text.count(name) == 5 and title in hostile.text


def test_agreement_is_in_the_tasks_own_measure() -> None:
    first, second = np.zeros((2, 2), np.uint8), np.eye(2, dtype=np.uint8)
    assert agreement("segment_semantic", first, second) == "50.0 % of pixels alike"
    x, z = np.array([[[1.0, 0, 0]]]), np.array([[[0, 0, 1.0]]])
    assert agreement("normal", x, z) == "90.0° apart"
    assert agreement("edge_texture", np.full((1, 1), 0.5), np.full((1, 1), 0.25)) == "0.250 apart, of 1"


def test_answers_with_ground_truth_have_their_error_and_others_their_agreement() -> None:
    item = _shown()
    html = page([item], "title", "")
    for answers in (item.decoded, item.uncompressed):
        assert (
            f"<b>{error_in_words('keypoints2d', answers['keypoints2d'], item.ground_truth['keypoints2d'])}</b>" in html
        )
    assert "% away in depth, against uncompressed" in html and "AbsRel" not in html


def test_the_page_says_whether_images_have_one_graph_or_several() -> None:
    assert "all 2 images have the same graph" in page([_shown("a"), _shown("b")], "", "")
    html = page([_shown("a"), _shown("b", {"normal": ["rgb"]}), _shown("c")], "", "")
    assert "the 3 images have 2 different graphs" in html and "the same graph" not in html


def test_the_page_says_why_this_graph_from_what_coding_it_took() -> None:
    item = _shown()
    html = page([item], "", "")
    assert "none of these costs less" in html and "20.0 % fewer bytes than independent coding" in html
    assert "<td>1,000</td><td>900</td><td>919 B</td><td>±0.0 %</td>" in html and "<td>+25.0 %</td>" in html
    cheaper = Candidate({"depth_zbuffer": ["rgb"]}, True, 8100.0, 7000.0, 900, False)
    html = page([dataclasses.replace(item, candidates=[cheaper, *item.candidates])], "", "")
    assert "2.9 % more than the cheapest of these" in html and "none of these costs less" not in html
    html = page([dataclasses.replace(item, setting="chain")], "", "")
    assert "The setting <code>chain</code> chose it" in html and "of least estimated cost" not in html


def test_inputs_that_cannot_be_read_are_named_on_the_page() -> None:
    html = page([_shown()], "", "", ["a <b>.png: found no such file"])
    assert "Not shown" in html and "a &lt;b&gt;.png: found no such file" in html
    assert "Not shown" not in page([_shown()], "", "")


def test_an_image_returned_without_error_and_a_file_of_another_size_are_told() -> None:
    rgb = _shown().rgb
    errors = errors_in_words(_answers(rgb), _answers(rgb), image_ground_truth(rgb))
    item = dataclasses.replace(_shown(), decoded=_answers(rgb), errors=errors, size_bytes=10)
    html = page([item], "", "")
    assert "∞ dB" in html and "inf" not in html and "no file of it is nearer in size" in html


@given(st.integers(0, 5000), st.lists(st.floats(0, 1e5), min_size=1, max_size=6))
def test_the_tasks_bytes_sum_to_the_coded_bytes_and_none_is_a_byte_off(total: int, bits: list[float]) -> None:
    parts = {str(index): value for index, value in enumerate(bits)}
    counts = apportioned(total, parts)
    assert sum(counts.values()) == total and list(counts) == list(parts)
    if sum(bits) > 0:
        assert all(abs(counts[name] - total * part / sum(bits)) < 1 + 1e-6 for name, part in parts.items())


def test_the_bytes_left_over_go_to_the_largest_remainders() -> None:
    assert apportioned(10, {"a": 2.6, "b": 7.4}) == {"a": 3, "b": 7}
    assert apportioned(10, {"a": 2.4, "b": 7.6}) == {"a": 2, "b": 8}


def test_names_stay_apart_whatever_they_end_in() -> None:
    assert demo._distinct(["a", "a", "a-2", "a"]) == ["a", "a-2", "a-2-2", "a-3"]


def test_a_long_image_is_shrunk_to_what_the_page_can_hold() -> None:
    assert demo._shrink(np.zeros((3, 20_000, 3), np.uint8)).shape == (1, demo.DEMO_SIDE_PX, 3)


def test_the_ground_truth_of_carried_images_is_that_of_what_they_show() -> None:
    """Classes change where the image has edges, more than where its mirror image has some."""
    for path in carried_images():
        ground_truth, rgb = carried_ground_truth(path.name), read_image(path)
        assert set(ground_truth) == set(RENDERED_TARGETS)
        assert all(values.shape[:2] == rgb.shape[:2] for values in ground_truth.values())
        edges, classes = image_ground_truth(rgb)["edge_texture"], ground_truth["segment_semantic"].astype(int)
        if path.name == "thumbnail.gif":  # its border is its mirror image's, too
            edges, classes = edges[4:-4, 4:-4], classes[4:-4, 4:-4]
        jumps = np.zeros(edges.shape)
        jumps[:, 1:] += classes[:, 1:] != classes[:, :-1]
        jumps[1:] += classes[1:] != classes[:-1]
        upright, mirrored = edges[jumps > 0].mean(), edges[:, ::-1][jumps > 0].mean()
        assert upright > 1.2 * mirrored, path.name


def test_pixels_outside_the_scene_have_no_ground_truth() -> None:
    ground_truth = carried_ground_truth("thumbnail.gif")
    inside = np.zeros((72, 104), bool)
    inside[4:-4, 4:-4] = True
    assert np.array_equal(ground_truth["segment_semantic"] != 255, inside)
    assert np.array_equal(np.isfinite(ground_truth["depth_zbuffer"]), inside)
    assert np.array_equal(np.linalg.norm(ground_truth["normal"], axis=-1) > 0.5, inside)
    for task, values in ground_truth.items():
        answer = np.nan_to_num(np.where(values == 255, 0, values), nan=3.0) if task != "normal" else values + 0.0
        assert error_of(task, answer, values) < 1e-3, "what is outside does not count"


def test_images_are_ordered_by_their_errors_least_first() -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    ground_truth = {**_answers(rgb), "segment_semantic": np.zeros((24, 32), np.uint8)}
    items = [
        dataclasses.replace(_shown(f"{shift}"), ground_truth=ground_truth, decoded=_answers(rgb, shift))
        for shift in (0.3, 0.1, 0.2)
    ]
    assert [item.name for item in by_error(items)] == ["0.1", "0.2", "0.3"]


def test_the_carried_images_are_those_that_their_program_makes() -> None:
    made, carried = carried_files(), {path.name: path for path in carried_images()}
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


def test_table_has_a_row_for_every_image() -> None:
    console = Console(width=200)
    with console.capture() as capture:
        console.print(*demo_tables([_shown("first"), _shown("second")]))
    text = capture.get()
    assert text.count("first") == text.count("second") == 2 and "919" in text


@pytest.mark.slow
def test_the_demo_shows_what_another_process_decoded(
    untrained_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo, "DEMO_PIXELS", 3000)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")  # next to the weights, which are named without their folder
    shutil.copy(untrained_weights, "mine.safetensors")
    generator = np.random.default_rng(0)
    for folder, size in (("x", (40, 30)), ("y", (90, 50))):
        (tmp_path / folder).mkdir()
        Image.fromarray(generator.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)).save(
            tmp_path / folder / "photo.png"
        )
    steps: list[str] = []
    paths = [tmp_path / "x" / "photo.png", tmp_path / "y" / "photo.png"]
    result = run_demo(paths, tmp_path / "demo", model="mine.safetensors", quality=3, report=steps.append)
    assert result.page == tmp_path / "demo" / "index.html" and result.page.stat().st_size > 20_000
    assert len(result.shown) == 2 and all(
        set(item.ground_truth) == set(image_ground_truth(item.rgb)) for item in result.shown
    )
    first, second = result.shown
    assert (first.name, second.name) == ("photo", "photo-2") and len(steps) == 6
    assert second.original_size == (90, 50) and second.rgb.shape == (41, 73, 3)
    codec = atdc.pipeline.load(untrained_weights)
    for item in result.shown:
        data = (tmp_path / "demo" / f"{item.name}.atdc").read_bytes()
        assert item.size_bytes == len(data) == codec.inspect(data).bytes
        assert sum(item.task_bytes.values()) + item.framing_bytes == len(data)
        assert [candidate.size_bytes for candidate in item.candidates if candidate.chosen] == [len(data)]
        assert [file.tasks for file in item.wanted] == sets_for(3000) and item.wanted[-1].size_bytes == len(data)
        for task, answer in codec.decode(data).items():
            np.testing.assert_allclose(item.decoded[task], answer, atol=1e-5)


def test_a_failure_of_the_other_process_is_quoted(untrained_weights: Path, tmp_path: Path) -> None:
    (tmp_path / "a.atdc").write_bytes(b"no such file")
    with pytest.raises(AtdcError, match=r"exit status 1.*a\.atdc"):
        demo._decode_elsewhere([tmp_path / "a.atdc"], tmp_path / "out", untrained_weights)


def test_an_image_that_cannot_be_read_is_named(untrained_weights: Path, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="no such file"):
        run_demo([tmp_path / "a.png"], tmp_path / "demo", model=str(untrained_weights))


@pytest.mark.weights
@pytest.mark.slow
def test_the_demo_of_the_shipped_model_makes_a_file_of_every_carried_image(tmp_path: Path) -> None:
    if not Path(atdc.pipeline.__file__).with_name("shipped").joinpath("small-1.safetensors").exists():
        pytest.skip("no weights in the package: train some with `make train`")
    command = [sys.executable, "-m", "atdc", "demo", "-o", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert {path.stem for path in carried_images()} == {path.stem for path in tmp_path.glob("*.atdc")}
    html = (tmp_path / "index.html").read_text("utf-8")
    assert len(html) < 10_000_000, "one file that opens at once"
    rooms = len(carried_images())
    assert html.count("<figcaption>ground truth</figcaption>") == rooms * len(TASK_NAMES)


@pytest.mark.weights
def test_the_candidate_of_least_estimate_is_the_one_that_the_encoder_takes() -> None:
    """And a candidate's size and cost are those of its own file."""
    codec, rgb = atdc.pipeline.load(), read_image(carried_images()[0])[:128, :128]
    parents = codec.inspect(codec.encode(rgb, 2)).graph
    assert parents is not None
    candidates = candidates_of(codec, rgb, 2, parents)
    listed = [item for item in candidates if item.estimated_cost_bits is not None]
    assert len(listed) == len(codec.feature_codec.graph_tables.candidates) == sum(item.listed for item in candidates)
    assert min(listed, key=lambda item: item.estimated_cost_bits or 0.0).chosen
    assert [item.cost_bits for item in candidates] == sorted(item.cost_bits for item in candidates)
    alone = [item for item in candidates if not any(item.parents.values())]
    assert [item.size_bytes for item in alone] == [len(codec.encode(rgb, 2, graph="independent"))]
