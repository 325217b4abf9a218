"""The image of a graph shows every task and edge, parents left of children, and no edge through a box."""

import itertools
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atdc.graph.task_graph import TaskGraph
from atdc.report.graph_svg import NODE_HEIGHT, NODE_WIDTH, GraphNode, graph_svg, layers

SVG = "{http://www.w3.org/2000/svg}"
NAMES = ("s", "k", "t", "n", "d", "a")


def _parents(graph: TaskGraph) -> dict[str, list[str]]:
    return {NAMES[child]: [NAMES[parent] for parent in row] for child, row in enumerate(graph.parents)}


def _drawn(graph: TaskGraph) -> ElementTree.Element:
    nodes = [GraphNode(name, f"task {name}", 10 * index) for index, name in enumerate(NAMES)]
    text = graph_svg(nodes, _parents(graph))
    return ElementTree.fromstring(text.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1))


def _boxes(svg: ElementTree.Element) -> dict[str, tuple[float, float]]:
    groups = [group for group in svg.iter(f"{SVG}g") if group.get("class") == "node"]
    boxes = {}
    for group in groups:
        box = group.find(f"{SVG}rect")
        assert box is not None
        boxes[str(group.get("data-task"))] = (float(box.get("x", "")), float(box.get("y", "")))
    return boxes


def _paths(svg: ElementTree.Element) -> list[list[tuple[float, float]]]:
    """Every edge as points along it: its Bézier curves and straight parts, sampled."""
    paths = []
    for element in svg.iter(f"{SVG}path"):
        if element.get("class") != "edge":
            continue
        points: list[tuple[float, float]] = []
        for command, arguments in re.findall(r"([MLC])([^MLC]*)", element.get("d", "")):
            numbers = [float(value) for value in arguments.split()]
            corners = list(zip(numbers[::2], numbers[1::2], strict=True))
            if command != "M":
                points += _sampled([points[-1], *corners])
            points.append(corners[-1])
        paths.append(points)
    return paths


def _sampled(corners: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """De Casteljau's points of a Bézier curve of any degree."""
    points = []
    for step in range(1, 16):
        row, t = list(corners), step / 16
        while len(row) > 1:
            row = [(a[0] + t * (b[0] - a[0]), a[1] + t * (b[1] - a[1])) for a, b in itertools.pairwise(row)]
        points.append(row[0])
    return points


graphs = st.integers(0, TaskGraph.count(6, 2) - 1).map(lambda rank: TaskGraph.unrank(rank, 6, 2))


@given(graph=graphs)
def test_every_graph_is_drawn_whole_and_readable(graph: TaskGraph) -> None:
    svg = _drawn(graph)
    boxes, paths = _boxes(svg), _paths(svg)
    assert set(boxes) == set(NAMES) and len(paths) == len(graph.edges)
    for parent, child in graph.edges:
        assert boxes[NAMES[parent]][0] + NODE_WIDTH < boxes[NAMES[child]][0], "parents stand left of their children"
    for (x, y), (x2, y2) in itertools.combinations(boxes.values(), 2):
        assert abs(x - x2) >= NODE_WIDTH or abs(y - y2) >= NODE_HEIGHT, "boxes do not overlap"
    width, height = float(svg.get("width", "")), float(svg.get("height", ""))
    for points in paths:
        for px, py in points[1:-1]:
            assert 0 <= px <= width and 0 <= py <= height
            inside = [n for n, (x, y) in boxes.items() if x + 1 < px < x + NODE_WIDTH - 1 and y < py < y + NODE_HEIGHT]
            assert not inside, "no edge runs through a box"


def test_a_layer_is_the_longest_path() -> None:
    assert layers(NAMES, {"k": ["s"], "t": ["k", "s"], "n": []}) == {"s": 0, "k": 1, "t": 2, "n": 0, "d": 0, "a": 0}


@pytest.mark.parametrize("rows", [((),) * 6, ((), (0,), (1,), (2,), (3,), (4,)), ((), (0,), (0,), (0,), (0,), (0,))])
def test_extreme_graphs_have_images(rows: tuple[tuple[int, ...], ...]) -> None:
    assert len(_boxes(_drawn(TaskGraph(rows)))) == 6


def test_words_from_outside_are_escaped() -> None:
    svg = graph_svg([GraphNode("<a>", 'x & "y"', 1)], {})
    assert "<a>" not in svg and "x &amp; " in svg


def test_the_graph_is_told_in_words_for_those_who_do_not_see_it() -> None:
    svg = graph_svg([GraphNode("n", "normals", 30), GraphNode("d", "depth", 20)], {"d": ["n"]})
    assert 'aria-label="Task graph. normals: 30 bytes, on its own; depth: 20 bytes, from normals"' in svg
