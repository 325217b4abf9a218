"""The page's files of wanted tasks: their sizes are those of real files, readable without scripts, and escaped."""

import copy
import html
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import atdc
from atdc.config import MAX_QUALITY
from atdc.graph.scores import candidate_sets
from atdc.graph.task_graph import TaskGraph
from atdc.graph.wanted import WantedGraphs
from atdc.pipeline import Codec
from atdc.report import wanted_table as table_module
from atdc.report.wanted_files import EVERY_SET_PIXELS, sets_for, wanted_files
from atdc.report.wanted_table import NAMED_SETS, WantedFile, wanted_table
from atdc.tasks import TASK_NAMES, short_title

PICTURE = np.random.default_rng(0).integers(0, 256, (40, 52, 3), np.uint8)
NORMAL, DEPTH, EDGES = (TASK_NAMES.index(name) for name in ("normal", "depth_zbuffer", "edge_texture"))


@pytest.fixture(scope="module")
def codec(untrained_weights: Path) -> Codec:
    """Its weights know that edges help normals and depth."""
    own = atdc.load(untrained_weights)
    own.feature_codec = copy.copy(own.feature_codec)
    costs = np.ones((MAX_QUALITY + 1, len(candidate_sets(6, 2))))
    graphs = (TaskGraph.from_edges(6, [(EDGES, NORMAL), (NORMAL, DEPTH)]),) * (MAX_QUALITY + 1)
    wanted = WantedGraphs(2, costs, costs, {(NORMAL, DEPTH): graphs})
    own.feature_codec.graph_tables = replace(own.feature_codec.graph_tables, wanted=wanted)
    return own


@pytest.fixture(scope="module")
def files(codec: Codec) -> list[WantedFile]:
    return wanted_files(codec, PICTURE, 3, sets_for(40 * 52))


def ticked(page: str, tasks: tuple[str, ...]) -> str:
    """What is shown where these tasks are ticked: words at the sum of the values of their checkboxes."""
    fieldset = re.search(r'<fieldset class="ticks" data-words="(.*?)" hidden>(.*?)</fieldset>', page)
    assert fieldset is not None
    boxes = dict(re.findall(r'<label><input type="checkbox" value="(\d+)"[^>]*> ([^<]*)</label>', fieldset[2]))
    values = {title: int(value) for value, title in boxes.items()}
    words: list[str] = json.loads(html.unescape(fieldset[1]))
    return words[sum(values[short_title(task)] for task in tasks)]


def test_the_numbers_of_all_63_sets_are_the_lengths_of_their_files(codec: Codec, files: list[WantedFile]) -> None:
    page = wanted_table(files, {})
    assert len({file.tasks for file in files}) == len(files) == 63
    for file in files:
        data = codec.encode(PICTURE, 3, tasks=file.tasks)
        assert ticked(page, file.tasks).startswith(f"{len(data):,} bytes")
        assert set(codec.inspect(data).tasks) == {*file.tasks, *file.helpers}
    assert files[-1].size_bytes == len(codec.encode(PICTURE, 3))


def test_helpers_are_named_where_there_are_any(files: list[WantedFile]) -> None:
    page = wanted_table(files, {})
    assert "edges sent to help among them" in ticked(page, ("normal", "depth_zbuffer"))
    assert "sent to help" not in ticked(page, ("segment_semantic",))
    assert "<tr><td>normals + depth</td><td>edges</td>" in page and "<tr><td>segments</td><td>–</td>" in page


def test_named_sets_stand_in_a_table_that_needs_no_script(files: list[WantedFile]) -> None:
    sizes = {file.tasks: file.size_bytes for file in files}
    page = wanted_table(files, {"a JPEG of quality 75": 5000})
    static = re.sub(r"<fieldset.*?</fieldset>", "", page)
    rows = re.findall(r"<tr><td>([^<]*)</td><td>[^<]*</td><td>([^<]*) B</td><td>(\d+) %</td></tr>", static)
    whole = sizes[TASK_NAMES]
    assert rows == [
        (words, f"{sizes[tasks]:,}", f"{100 * sizes[tasks] / whole:.0f}") for tasks, words in NAMED_SETS.items()
    ]
    assert [row[0] for row in rows] == [
        "segments", "normals + depth", "segments + normals + depth", "the 5 analysis tasks", "all 6",
    ]  # fmt: skip
    assert f"the file of all 6, {whole:,} bytes; a JPEG of quality 75, 5,000 bytes" in static


def test_of_a_larger_image_the_named_sets_stand_alone_and_the_page_says_so() -> None:
    sets = sets_for(EVERY_SET_PIXELS + 1)
    page = wanted_table([WantedFile(tasks, (), 100) for tasks in sets], {})
    assert len(sets) == 5 and "checkbox" not in page and "these sets alone were coded" in page
    assert "these sets alone" not in wanted_table([WantedFile(tasks, (), 100) for tasks in sets_for(64)], {})


def test_all_words_are_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_module, "short_title", lambda task: f'<b title="{task}">')
    page = wanted_table([WantedFile(tasks, tasks[:1], 100) for tasks in sets_for(64)], {"<script>": 1})
    assert "<b title" not in page and "<script>" not in page and "&lt;script&gt;" in page
    assert "<b title=" in ticked(page.replace("&lt;b title=&#34;rgb&#34;&gt;</label>", "image</label>"), ("rgb",))
