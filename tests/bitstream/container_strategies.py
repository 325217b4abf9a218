"""Containers of both versions, for hypothesis."""

from __future__ import annotations

from hypothesis import assume
from hypothesis import strategies as st

from atdc.bitstream import layout
from atdc.bitstream.container import Container, Header, Segment
from atdc.graph.task_graph import TaskGraph


@st.composite
def graphs(draw, tasks):
    """Any graph; of up to 24 tasks often one with many edges."""
    if tasks <= layout.MAX_TASKS_BY_RANK and draw(st.booleans()):
        return TaskGraph.unrank(draw(st.integers(0, TaskGraph.count(tasks) - 1)), tasks)
    order = draw(st.permutations(range(tasks)))
    parents = [()] * tasks
    for place, task in enumerate(order[1:], 1):
        parents[task] = tuple(draw(st.sets(st.sampled_from(order[:place]), max_size=4)))
    return TaskGraph(tuple(parents))


def listed_numbers():
    """Of graphs in the weights' list."""
    return st.one_of(st.integers(0, 300), st.just(layout.MAX_LISTED_NUMBER))


def qualities(count):
    """One for all, or one each."""
    step = st.integers(0, layout.MAX_QUALITY_STEP)
    return st.one_of(step.map(lambda q: (q,) * count), st.tuples(*[step] * count))


@st.composite
def sizes(draw):
    """Height and width of no more than 2**18 pixels or positions."""
    height = draw(st.one_of(st.integers(1, 512), st.just(1 << 18)))
    width = height if height <= 512 and draw(st.booleans()) else draw(st.integers(1, (1 << 18) // height))
    return height, width


@st.composite
def headers_1(draw, max_tasks=40):
    """Of version 1."""
    tasks = draw(st.integers(1, max_tasks))
    height, width = draw(sizes())
    return Header(
        fingerprint=draw(st.binary(min_size=4, max_size=4)),
        kind=draw(st.sampled_from(layout.KINDS)),
        profile=draw(st.sampled_from(["segments", "compact"])),
        height=height,
        width=width,
        qualities=draw(qualities(tasks)),
        graph=draw(st.one_of(listed_numbers(), graphs(tasks))),
    )


@st.composite
def headers_2(draw, ordered=True):
    """Of version 2: some of the tensors, or grids of their own, or features that have their sizes from the weights; or,
    if `ordered`, some tensors first."""
    tensors = draw(st.one_of(st.integers(1, 9), st.integers(1, layout.MAX_TENSORS)))
    every = st.just(set(range(tensors)))
    present = tuple(sorted(draw(st.one_of(every, st.sets(st.integers(0, tensors - 1), min_size=1)))))
    count = len(present)
    kind = draw(st.sampled_from(layout.KINDS))
    # From a few grids, so that some stand twice; 64 of them have 2**18 positions at most.
    few = draw(st.lists(st.tuples(st.integers(1, 64), st.integers(1, 64)), min_size=1, max_size=3))
    grids = tuple(draw(st.lists(st.sampled_from(few), max_size=count)))
    whole = count == tensors
    graph = draw(st.one_of(listed_numbers(), graphs(count)) if whole else graphs(count))
    first = ()
    if ordered and count > 1 and draw(st.booleans()):
        some = draw(st.sets(st.integers(0, count - 1), min_size=1, max_size=count - 1))
        closed = graph.closure(some) if isinstance(graph, TaskGraph) else some
        first = tuple(sorted(present[place] for place in closed)) if len(closed) < count else ()
    assume(first or not (whole and kind == "image" and not grids))
    assume(first or not (whole and kind == "features" and len(grids) == count and len(set(grids)) == 1))
    height, width = draw(sizes()) if kind == "image" else (0, 0)
    return Header(
        fingerprint=draw(st.binary(min_size=4, max_size=4)),
        kind=kind,
        profile="ordered" if first else draw(st.sampled_from(["segments", "compact"])),
        height=height,
        width=width,
        qualities=draw(qualities(count)),
        graph=graph,
        tensor_count=tensors,
        present=present,
        grids=grids,
        first=first,
    )


@st.composite
def containers(draw, headers):
    """Around such headers."""
    header = draw(headers)
    segment = st.builds(Segment, st.binary(max_size=200), st.integers(0, 0xFFFF))
    count = 1 if header.profile == "compact" else header.present_count
    return Container(header, tuple(draw(segment) for _ in range(count)))


def all_containers(max_tasks=40):
    """Of both versions."""
    return containers(st.one_of(headers_1(max_tasks), headers_2()))
