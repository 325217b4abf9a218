"""A task graph as an inline SVG: sent first on the left, every task to the right of its parents.

The layout is Sugiyama's in its simplest form: a task's layer is the length of the longest path to it; an edge that
skips layers gets a small stand-in in each of them, so that no edge runs through a box; the order inside a layer is the
one with the fewest crossings, then the shortest edges, among all orders of the layer, sweeping until nothing improves.
Colours come from CSS classes, so that the page decides on light and dark.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise, permutations

NODE_WIDTH, NODE_HEIGHT = 142, 58
_ROW_GAP, _BEND_HEIGHT, _MARGIN = 20, 18, 6
_SMALLEST_SCALE = 0.62
_LARGEST_LAYER_TO_PERMUTE = 6

Item = tuple[int, str]
"""A box ``(layer, name)``, or a bend ``(layer, "parent→child")`` of an edge that skips this layer."""


@dataclass(frozen=True, slots=True)
class GraphNode:
    """One task of the image.

    Attributes:
        name: the task's name; the key by which edges refer to it.
        title: the words in the box.
        size_bytes: what its segment of the file takes.
        thumbnail: a data URI of a small square image, or empty.
    """

    name: str
    title: str
    size_bytes: int
    thumbnail: str = ""


def graph_svg(nodes: Sequence[GraphNode], parents: Mapping[str, Sequence[str]]) -> str:
    """The image as an ``<svg>`` element.

    Args:
        nodes: all tasks.
        parents: parents of each child, by name; tasks that are missing here have none. Must be acyclic.

    >>> svg = graph_svg([GraphNode("a", "image", 90), GraphNode("n", "normals", 30)], {"n": ["a"]})
    >>> svg.count('<g class="node"'), svg.count('<path class="edge"')
    (2, 1)
    """
    names = [node.name for node in nodes]
    edges = [(parent, name) for name in names for parent in parents.get(name, ())]
    columns, chains = _columns(names, edges)
    columns = _fewest_crossings(columns, chains)
    centres, width, height = _place(columns)
    total = max(1, sum(node.size_bytes for node in nodes))

    layer_of = {name: layer for column in columns for layer, name in column if "→" not in name}
    parts = [
        f'<svg class="graph" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'style="min-width:{_SMALLEST_SCALE * width:.0f}px" role="img" '
        f'aria-label="{escape(_in_words(nodes, parents))}">',
        '<defs><marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path class="tip" d="M0 0.6 L7.6 4 L0 7.4 Z"/></marker></defs>',
    ]
    parts += [_edge(chain, centres, _port(chain, chains, centres)) for chain in chains]
    parts += [_box(node, *centres[(layer_of[node.name], node.name)], node.size_bytes / total) for node in nodes]
    return "\n".join([*parts, "</svg>"])


def layers(names: Sequence[str], parents: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """The layer of each task: 0 for roots, else one more than its deepest parent.

    >>> layers(["a", "d", "n"], {"n": ["a", "d"], "d": ["a"]})
    {'a': 0, 'd': 1, 'n': 2}
    """
    layer_of: dict[str, int] = {}

    def layer(name: str) -> int:
        if name not in layer_of:
            layer_of[name] = 1 + max((layer(parent) for parent in parents.get(name, ())), default=-1)
        return layer_of[name]

    return {name: layer(name) for name in names}


def _columns(names: Sequence[str], edges: Sequence[tuple[str, str]]) -> tuple[list[list[Item]], list[list[Item]]]:
    """Layers of boxes and bends, and for every edge the chain of items that it runs along."""
    parents: dict[str, list[str]] = {name: [] for name in names}
    for parent, child in edges:
        parents[child].append(parent)
    layer_of = layers(names, parents)
    columns: list[list[Item]] = [[] for _ in range(1 + max(layer_of.values(), default=0))]
    for name in names:
        columns[layer_of[name]].append((layer_of[name], name))
    chains = []
    for parent, child in edges:
        bends = [(layer, f"{parent}→{child}") for layer in range(layer_of[parent] + 1, layer_of[child])]
        for bend in bends:
            columns[bend[0]].append(bend)
        chains.append([(layer_of[parent], parent), *bends, (layer_of[child], child)])
    return columns, chains


def _fewest_crossings(columns: list[list[Item]], chains: list[list[Item]]) -> list[list[Item]]:
    """Reorder every column, again and again, as long as crossings or then lengths fall."""
    links = [link for chain in chains for link in pairwise(chain)]

    def badness(candidate: list[list[Item]]) -> tuple[int, float]:
        centres = _place(candidate)[0]
        ends = [(a[0], centres[a][1], centres[b][1]) for a, b in links]
        crossings = sum(
            layer == layer2 and (start - start2) * (end - end2) < 0
            for index, (layer, start, end) in enumerate(ends)
            for layer2, start2, end2 in ends[:index]
        )
        return crossings, sum(abs(start - end) for _, start, end in ends)

    best = badness(columns)
    improved = True
    while improved:
        improved = False
        for index, column in enumerate(columns):
            if len(column) > _LARGEST_LAYER_TO_PERMUTE:
                continue
            for order in permutations(column):
                candidate = [*columns[:index], list(order), *columns[index + 1 :]]
                if (value := badness(candidate)) < best:
                    best, columns, improved = value, candidate, True
    return columns


def _place(columns: list[list[Item]]) -> tuple[dict[Item, tuple[float, float]], int, int]:
    """Centre of every item, and the image's width and height; every column is centred."""
    heights = [
        sum(_BEND_HEIGHT if "→" in name else NODE_HEIGHT for _, name in column) + _ROW_GAP * (len(column) - 1)
        for column in columns
    ]
    tallest = max(heights, default=NODE_HEIGHT)
    gap = 56 if len(columns) <= 4 else 34  # long chains would otherwise be shrunk to small print
    centres: dict[Item, tuple[float, float]] = {}
    for index, column in enumerate(columns):
        y = _MARGIN + (tallest - heights[index]) / 2
        for item in column:
            height = _BEND_HEIGHT if "→" in item[1] else NODE_HEIGHT
            centres[item] = (_MARGIN + NODE_WIDTH / 2 + index * (NODE_WIDTH + gap), y + height / 2)
            y += height + _ROW_GAP
    width = 2 * _MARGIN + len(columns) * NODE_WIDTH + (len(columns) - 1) * gap
    return centres, width, 2 * _MARGIN + tallest


def _port(
    chain: list[Item], chains: list[list[Item]], centres: Mapping[Item, tuple[float, float]]
) -> tuple[float, float]:
    """How far above or below the middle an edge leaves its parent and meets its child, so that ends do not coincide."""
    leaving = sorted(
        (sibling for sibling in chains if sibling[0] == chain[0]), key=lambda sibling: centres[sibling[1]][1]
    )
    meeting = sorted(
        (sibling for sibling in chains if sibling[-1] == chain[-1]), key=lambda sibling: centres[sibling[-2]][1]
    )
    start = min(9.0, 40.0 / len(leaving)) * (leaving.index(chain) - (len(leaving) - 1) / 2)
    end = min(16.0, 40.0 / len(meeting)) * (meeting.index(chain) - (len(meeting) - 1) / 2)
    return start, end


def _edge(chain: list[Item], centres: Mapping[Item, tuple[float, float]], ports: tuple[float, float]) -> str:
    points: list[tuple[float, float]] = []
    for index, item in enumerate(chain):
        x, y = centres[item]
        if index > 0:
            points.append((x - NODE_WIDTH / 2, y + (ports[1] if index == len(chain) - 1 else 0.0)))
        if index < len(chain) - 1:
            points.append((x + NODE_WIDTH / 2, y + (ports[0] if index == 0 else 0.0)))
    path = f"M{points[0][0]:g} {points[0][1]:g}"
    for (x0, y0), (x1, y1) in zip(points[::2], points[1::2], strict=True):
        middle = (x0 + x1) / 2
        path += f" L{x0:g} {y0:g} C{middle:g} {y0:g} {middle:g} {y1:g} {x1:g} {y1:g}"
    title = escape(f"{chain[-1][1]} is predicted from {chain[0][1]}")
    return f'<path class="edge" marker-end="url(#arrow)" d="{path}"><title>{title}</title></path>'


def _box(node: GraphNode, x: float, y: float, share: float) -> str:
    left, top = x - NODE_WIDTH / 2, y - NODE_HEIGHT / 2
    thumbnail, text = "", left + 12
    if node.thumbnail:
        text = left + NODE_HEIGHT + 2
        side = NODE_HEIGHT - 12
        thumbnail = (
            f'<image x="{left + 6:g}" y="{top + 6:g}" width="{side}" height="{side}" '
            f'preserveAspectRatio="xMidYMid slice" href="{node.thumbnail}"/>'
        )
    bar = left + NODE_WIDTH - 10 - text
    return (
        f'<g class="node" data-task="{escape(node.name)}"><title>{escape(node.name)}: {node.size_bytes:,} bytes</title>'
        f'<rect class="box" x="{left:g}" y="{top:g}" width="{NODE_WIDTH}" height="{NODE_HEIGHT}" rx="10"/>{thumbnail}'
        f'<text class="title" x="{text:g}" y="{top + 20:g}">{escape(node.title)}</text>'
        f'<text class="bytes" x="{text:g}" y="{top + 38:g}">{node.size_bytes:,} bytes</text>'
        f'<rect class="track" x="{text:g}" y="{top + 45:g}" width="{bar:g}" height="4" rx="2"/>'
        f'<rect class="share" x="{text:g}" y="{top + 45:g}" width="{bar * share:.1f}" height="4" rx="2"/></g>'
    )


def _in_words(nodes: Sequence[GraphNode], parents: Mapping[str, Sequence[str]]) -> str:
    titles = {node.name: node.title for node in nodes}
    sentences = []
    for node in nodes:
        origin = " and ".join(titles.get(parent, parent) for parent in parents.get(node.name, ()))
        sentences.append(f"{node.title}: {node.size_bytes} bytes, {'from ' + origin if origin else 'on its own'}")
    return "Task graph. " + "; ".join(sentences)
