"""The task graph: who is sent first, and who is predicted from whom; acyclic because no other kind can be built.

A graph over ``T`` tasks is a tuple of parent sets, ``parents[c]`` for child ``c``. The decoder cannot recompute the
encoder's choice (it was made from features the decoder does not have), so the graph travels in the file, as one
integer: :meth:`TaskGraph.rank` numbers all labelled directed acyclic graphs (DAGs) with at most ``K`` parents per task
from 0 to :meth:`TaskGraph.count` - 1, without gaps. What follows is therefore part of the file format.

**The numbering.** Every DAG falls into *layers* in exactly one way: layer 1 holds the roots; a task of any later layer
has all its parents in earlier layers and at least one in the layer right before. With ``p`` tasks placed, ``l`` of them
in the last layer, a task of the next layer has

    W(p, l) = sum_{j=1..K} [ C(p, j) - C(p - l, j) ]        possible parent sets (W = 1, the empty set, at p = 0)

and the ``r`` tasks not yet placed can be completed in

    F(p, l, r) = sum_{m=1..r} C(r, m) * W(p, l)^m * F(p + m, m, r - m),        F(p, l, 0) = 1

ways; ``count = F(0, 0, T)``. (The recursion is ours; it agrees with Robinson's numbers, 1973, when K = T - 1.) A rank
is read off the same sum, most significant choice first:

1. the size ``m`` of the next layer, the largest first, so that rank 0 is the graph without edges;
2. which ``m`` of the tasks not yet placed, subsets in lexicographic order;
3. for each of them by ascending index, its parent set: by size ``j``, then by how many (``i = 1..j``) lie in the last
   layer, then which of the last layer, then which of the earlier layers, subsets in lexicographic order;
4. the layers after that.

Exact integers throughout. With the sums memoised, one rank or unrank takes O(T^2) additions and multiplications.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from math import comb
from operator import index as as_integer

from atdc.errors import GraphError

MAX_RANKED_TASKS = 64
"""Beyond this many tasks there is no rank: the sums grow with the cube, and a damaged size could stall a reader."""


@dataclass(frozen=True, slots=True)
class TaskGraph:
    """A directed acyclic graph over the tasks ``0 .. T-1``: an immutable, hashable value.

    Args:
        parents: for each task, the tasks it is predicted from. Kept as sorted tuples, so equal graphs are equal.

    Attributes:
        layers: of each task, the length of its longest path from a root; 0 for roots.
        order: the coding order: by layer, then by index, so that every task comes after its parents. Encoder and
            decoder both derive it, so it is never sent.

    Raises:
        GraphError: no task at all, a parent out of range, a task among its own parents, a parent named twice, or a
            cycle (which is named).

    >>> graph = TaskGraph(((2,), (), (1,)))
    >>> graph.order, graph.layers, graph.roots, graph.edges
    ((1, 2, 0), (2, 0, 1), (1,), ((1, 2), (2, 0)))
    >>> TaskGraph(((1,), (2,), (0,)))
    Traceback (most recent call last):
    atdc.errors.GraphError: task graph: found the cycle 0→2→1→0; expected no cycle. Drop one of these edges.
    """

    parents: tuple[tuple[int, ...], ...]
    order: tuple[int, ...] = field(init=False, repr=False, compare=False)
    layers: tuple[int, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Brings the parents to their canonical form, checks them, and derives the order."""
        try:
            parents = tuple(tuple(sorted(as_integer(parent) for parent in row)) for row in self.parents)
        except TypeError as error:
            raise GraphError("task graph", repr(self.parents), "one collection of task numbers per task") from error
        if not parents:
            raise GraphError("task graph", "no tasks", "at least one task", "Name the tasks to code.")
        for child, row in enumerate(parents):
            for position, parent in enumerate(row):
                if not 0 <= parent < len(parents):
                    raise GraphError(
                        f"parents of task {child}", f"task {parent}", f"tasks from 0 to {len(parents) - 1}"
                    )
                if parent == child:
                    raise GraphError(f"parents of task {child}", "the task itself", "other tasks only")
                if position and row[position - 1] == parent:
                    raise GraphError(f"parents of task {child}", f"task {parent} twice", "each parent once")
        object.__setattr__(self, "parents", parents)
        layers = _layers(parents)
        object.__setattr__(self, "layers", layers)
        object.__setattr__(self, "order", tuple(sorted(range(len(parents)), key=lambda task: (layers[task], task))))

    @classmethod
    def independent(cls, size: int) -> TaskGraph:
        """The graph of ``size`` tasks without edges: every task is sent on its own.

        >>> TaskGraph.independent(3).edges
        ()
        """
        return cls(((),) * size)

    @classmethod
    def from_edges(cls, size: int, edges: Iterable[tuple[int, int]]) -> TaskGraph:
        """The graph of ``size`` tasks with the given (parent, child) edges.

        Raises:
            GraphError: as the constructor does; also for an edge given twice.

        >>> TaskGraph.from_edges(3, [(0, 2), (1, 2)]).parents
        ((), (), (0, 1))
        """
        parents: list[list[int]] = [[] for _ in range(size)]
        for parent, child in edges:
            if not 0 <= child < size:
                raise GraphError(f"edge {parent}→{child}", f"task {child}", f"tasks from 0 to {size - 1}")
            parents[child].append(parent)
        return cls(tuple(tuple(row) for row in parents))

    def expanded(self, tensors: Sequence[int], count: int) -> TaskGraph:
        """A graph over some tensors of a model, in index order, as one over all of them; the others have no edges.

        >>> TaskGraph(((), (0,))).expanded((1, 3), 4).parents
        ((), (), (), (1,))
        """
        if len(tensors) == count:
            return self
        parents: list[tuple[int, ...]] = [()] * count
        for child, row in zip(tensors, self.parents, strict=True):
            parents[child] = tuple(tensors[parent] for parent in row)
        return TaskGraph(tuple(parents))

    def among(self, tensors: Sequence[int]) -> TaskGraph:
        """The inverse of :meth:`expanded`; parents that are not among the tensors are dropped.

        >>> TaskGraph(((), (0,), (), (1,))).among((1, 3)).parents
        ((), (0,))
        """
        place = {tensor: number for number, tensor in enumerate(tensors)}
        return TaskGraph(tuple(tuple(place[p] for p in self.parents[tensor] if p in place) for tensor in tensors))

    def is_closed(self, tasks: Collection[int]) -> bool:
        """Whether some tasks have no parents, and so no ancestors, but each other.

        >>> TaskGraph(((), (0,))).is_closed({0}), TaskGraph(((), (0,))).is_closed({1})
        (True, False)
        """
        return all(set(self.parents[task]) <= set(tasks) for task in tasks)

    def within(self, tasks: Iterable[int]) -> TaskGraph:
        """The graph of as many tasks without the edges that leave some of them: missing parents are dropped.

        >>> TaskGraph(((1,), (2,), ())).within([0, 1]).parents
        ((1,), (), ())
        """
        members = set(tasks)
        if len(members) == self.size:
            return self
        return TaskGraph(
            tuple(
                tuple(parent for parent in row if parent in members) if child in members else ()
                for child, row in enumerate(self.parents)
            )
        )

    @property
    def size(self) -> int:
        """``T``, the number of tasks.

        >>> TaskGraph(((), (0,))).size
        2
        """
        return len(self.parents)

    @property
    def roots(self) -> tuple[int, ...]:
        """The tasks without parents, ascending; never empty.

        >>> TaskGraph(((), (0,), ())).roots
        (0, 2)
        """
        return tuple(task for task, row in enumerate(self.parents) if not row)

    @property
    def edges(self) -> tuple[tuple[int, int], ...]:
        """All (parent, child) pairs, ascending.

        >>> TaskGraph(((1,), (), (1,))).edges
        ((1, 0), (1, 2))
        """
        return tuple(sorted((parent, child) for child, row in enumerate(self.parents) for parent in row))

    def children(self, task: int) -> tuple[int, ...]:
        """The tasks predicted from ``task``, ascending.

        Raises:
            GraphError: no such task.

        >>> TaskGraph(((1,), (), (0, 1))).children(1)
        (0, 2)
        """
        self._require(task)
        return tuple(child for child, row in enumerate(self.parents) if task in row)

    def ancestors(self, task: int) -> tuple[int, ...]:
        """Everything that must be decoded before ``task`` can be, ascending: its parents, theirs, and so on.

        Raises:
            GraphError: no such task.

        >>> TaskGraph(((), (0,), (1,), ())).ancestors(2)
        (0, 1)
        """
        self._require(task)
        ancestors: set[int] = set()
        waiting = list(self.parents[task])
        while waiting:
            ancestor = waiting.pop()
            if ancestor not in ancestors:
                ancestors.add(ancestor)
                waiting.extend(self.parents[ancestor])
        return tuple(sorted(ancestors))

    def closure(self, wanted: Iterable[int]) -> tuple[int, ...]:
        """What must be decoded for some tasks, in coding order: their ancestors and themselves.

        Raises:
            GraphError: no such task.

        >>> TaskGraph(((2,), (), ())).closure([0])
        (2, 0)
        """
        tasks = list(wanted)
        needed = {ancestor for task in tasks for ancestor in self.ancestors(task)} | set(tasks)
        return tuple(task for task in self.order if task in needed)

    def describe(self, letters: Sequence[str]) -> str:
        """The graph for people, in coding order: a root as its letter, a child as ``child←parents``.

        Args:
            letters: one letter per task; names of more than one letter are separated by commas.

        Raises:
            GraphError: not one letter per task.

        >>> TaskGraph(((3, 4), (), (), (), (3,), ())).describe("sktnda")
        'k t n a d←n s←nd'
        >>> TaskGraph(((), (), (0, 1))).describe(["left", "right", "flow"])
        'left right flow←left,right'
        """
        if len(letters) != self.size:
            raise GraphError("letters", f"{len(letters)} of them", f"{self.size}, one per task")
        joint = "" if all(len(letter) == 1 for letter in letters) else ","
        return " ".join(
            letters[task] + ("←" + joint.join(letters[parent] for parent in row) if (row := self.parents[task]) else "")
            for task in self.order
        )

    @staticmethod
    def count(size: int, max_parents: int | None = None) -> int:
        """How many labelled DAGs of ``size`` tasks have at most ``max_parents`` parents per task.

        Args:
            size: number of tasks, 1 to ``MAX_RANKED_TASKS``.
            max_parents: ``K``; None, or anything from ``size - 1`` up, means no limit.

        Raises:
            GraphError: a size out of range or a negative limit.

        >>> TaskGraph.count(6, 2), TaskGraph.count(4), TaskGraph.count(3, 1)
        (695902, 543, 16)
        """
        return _completions(0, 0, size, _limit(size, max_parents))

    def rank(self, max_parents: int | None = None) -> int:
        """The number of this graph among all with at most ``max_parents`` parents: see the module's text.

        Returns:
            An integer from 0 to ``count(size, max_parents) - 1``; 0 is the graph without edges.

        Raises:
            GraphError: a task has more than ``max_parents`` parents, or there are too many tasks.

        >>> TaskGraph.independent(6).rank(max_parents=2), TaskGraph(((), (0,))).rank(), TaskGraph(((1,), ())).rank()
        (0, 1, 2)
        """
        limit = _limit(self.size, max_parents)
        for child, row in enumerate(self.parents):
            if len(row) > limit:
                raise GraphError(
                    f"parents of task {child}", f"{len(row)} of them", f"at most {limit}", "Rank with a higher limit."
                )
        rank = 0
        earlier: list[int] = []
        last: list[int] = []
        remaining = list(range(self.size))
        for number in range(max(self.layers) + 1):
            layer = [task for task, task_layer in enumerate(self.layers) if task_layer == number]
            placed, size, remainder = len(earlier) + len(last), len(layer), len(remaining) - len(layer)
            choices = _parent_choices(placed, len(last), limit)
            for larger in range(len(remaining), size, -1):
                rank += _layer_block(placed, len(last), len(remaining), larger, limit)
            digit = _subset_rank([remaining.index(task) for task in layer], len(remaining))
            for task in layer:
                digit = digit * choices + _parent_set_rank(self.parents[task], earlier, last)
            rank += digit * _completions(placed + size, size, remainder, limit)
            earlier, last = sorted(earlier + last), layer
            remaining = [task for task in remaining if task not in layer]
        return rank

    @classmethod
    def unrank(cls, rank: int, size: int, max_parents: int | None = None) -> TaskGraph:
        """The graph with that number: the inverse of :meth:`rank`.

        Raises:
            GraphError: a rank that no graph of this size and limit has, or a size out of range.

        >>> TaskGraph.unrank(695901, size=6, max_parents=2).parents
        ((1, 5), (2, 5), (3, 5), (4, 5), (5,), ())
        >>> TaskGraph.unrank(3, size=2)
        Traceback (most recent call last):
        atdc.errors.GraphError: graph rank: found 3; expected 0 to 2, as there are 3 graphs of 2 tasks.
        """
        limit = _limit(size, max_parents)
        total = _completions(0, 0, size, limit)
        if not 0 <= rank < total:
            few = "" if limit == size - 1 else f" with at most {limit} parents each"
            raise GraphError(
                "graph rank", str(rank), f"0 to {total - 1}, as there are {total} graphs of {size} tasks{few}"
            )
        parents: list[tuple[int, ...]] = [()] * size
        earlier: list[int] = []
        last: list[int] = []
        remaining = list(range(size))
        while remaining:
            placed = len(earlier) + len(last)
            choices = _parent_choices(placed, len(last), limit)
            layer_size = len(remaining)
            while rank >= (block := _layer_block(placed, len(last), len(remaining), layer_size, limit)):
                rank -= block
                layer_size -= 1
            remainder = len(remaining) - layer_size
            digit, rank = divmod(rank, _completions(placed + layer_size, layer_size, remainder, limit))
            subset, digit = divmod(digit, choices**layer_size)
            layer = [remaining[position] for position in _subset_unrank(subset, len(remaining), layer_size)]
            for task in reversed(layer):
                digit, choice = divmod(digit, choices)
                parents[task] = _parent_set_unrank(choice, earlier, last)
            earlier, last = sorted(earlier + last), layer
            remaining = [task for task in remaining if task not in layer]
        return cls(tuple(parents))

    def _require(self, task: int) -> None:
        if not 0 <= task < self.size:
            raise GraphError("task", str(task), f"0 to {self.size - 1}")


def plain_graphs(graphs: Sequence[TaskGraph]) -> list[list[list[int]]]:
    """Graphs as lists of each task's parents, for JSON."""
    return [[list(parents) for parents in graph.parents] for graph in graphs]


def graphs_of(rows: Sequence[Sequence[Sequence[int]]]) -> tuple[TaskGraph, ...]:
    """The inverse of :func:`plain_graphs`; graphs are validated as they are built."""
    return tuple(TaskGraph(tuple(tuple(parents) for parents in row)) for row in rows)


def _layers(parents: tuple[tuple[int, ...], ...]) -> tuple[int, ...]:
    """The layer of each task (Kahn's algorithm, one layer a round); raises GraphError on a cycle."""
    children: list[list[int]] = [[] for _ in parents]
    for child, row in enumerate(parents):
        for parent in row:
            children[parent].append(child)
    missing = [len(row) for row in parents]
    layers = [0] * len(parents)
    placed, layer = 0, [task for task, number in enumerate(missing) if number == 0]
    while layer:
        placed += len(layer)
        following = []
        for parent in layer:
            for child in children[parent]:
                missing[child] -= 1
                if missing[child] == 0:  # its last parent is in this layer, so it belongs to the next
                    layers[child] = layers[parent] + 1
                    following.append(child)
        layer = following
    if placed < len(parents):
        cycle = "→".join(str(task) for task in _cycle(parents, missing))
        raise GraphError("task graph", f"the cycle {cycle}", "no cycle", "Drop one of these edges.")
    return tuple(layers)


def _cycle(parents: tuple[tuple[int, ...], ...], missing: list[int]) -> list[int]:
    """One cycle, parents before children, from its smallest task back to it; tasks with ``missing`` > 0 were stuck."""
    walk = [next(task for task, number in enumerate(missing) if number)]
    while True:
        step = next(parent for parent in parents[walk[-1]] if missing[parent])
        if step in walk:
            cycle = walk[walk.index(step) :][::-1]
            start = cycle.index(min(cycle))
            return [*cycle[start:], *cycle[: start + 1]]
        walk.append(step)


def _limit(size: int, max_parents: int | None) -> int:
    """``K`` as the counting uses it: no more than ``size - 1``; raises GraphError on impossible numbers."""
    if not 1 <= size <= MAX_RANKED_TASKS:
        raise GraphError("number of tasks", str(size), f"1 to {MAX_RANKED_TASKS}, the sizes that have ranks")
    if max_parents is not None and max_parents < 0:
        raise GraphError("max_parents", str(max_parents), "0 or more, or None for no limit")
    return size - 1 if max_parents is None else min(max_parents, size - 1)


@cache
def _parent_choices(placed: int, last: int, limit: int) -> int:
    """W(p, l): parent sets of 1..K placed tasks, at least one of them in the last layer; 1 for the roots' layer."""
    if placed == 0:
        return 1
    return sum(comb(placed, number) - comb(placed - last, number) for number in range(1, limit + 1))


@cache
def _completions(placed: int, last: int, remaining: int, limit: int) -> int:
    """F(p, l, r): ways to arrange the remaining tasks into further layers."""
    if remaining == 0:
        return 1
    return sum(_layer_block(placed, last, remaining, size, limit) for size in range(1, remaining + 1))


@cache
def _layer_block(placed: int, last: int, remaining: int, size: int, limit: int) -> int:
    """One term of F: the arrangements whose next layer holds exactly ``size`` tasks."""
    arrangements: int = comb(remaining, size) * _parent_choices(placed, last, limit) ** size
    return arrangements * _completions(placed + size, size, remaining - size, limit)


def _subset_rank(positions: Sequence[int], total: int) -> int:
    """The place of an ascending subset of ``range(total)`` among those of its size, in lexicographic order."""
    rank, start = 0, 0
    for number, position in enumerate(positions):
        rank += sum(comb(total - skipped - 1, len(positions) - number - 1) for skipped in range(start, position))
        start = position + 1
    return rank


def _subset_unrank(rank: int, total: int, size: int) -> list[int]:
    """The inverse of :func:`_subset_rank`."""
    positions: list[int] = []
    position = 0
    while len(positions) < size:
        with_it = comb(total - position - 1, size - len(positions) - 1)
        if rank < with_it:
            positions.append(position)
        else:
            rank -= with_it
        position += 1
    return positions


def _parent_set_rank(row: tuple[int, ...], earlier: list[int], last: list[int]) -> int:
    """The place of a parent set among the W(p, l) possible ones; 0 for a root."""
    if not row:
        return 0
    near = [last.index(parent) for parent in row if parent in last]
    far = [earlier.index(parent) for parent in row if parent not in last]
    smaller = sum(
        comb(len(last), inside) * comb(len(earlier), number - inside)
        for number in range(1, len(row) + 1)
        for inside in range(1, (number if number < len(row) else len(near) - 1) + 1)
    )
    return smaller + _subset_rank(near, len(last)) * comb(len(earlier), len(far)) + _subset_rank(far, len(earlier))


def _parent_set_unrank(rank: int, earlier: list[int], last: list[int]) -> tuple[int, ...]:
    """The inverse of :func:`_parent_set_rank`."""
    if not last:
        return ()
    number, inside = 1, 1
    while rank >= (block := comb(len(last), inside) * comb(len(earlier), number - inside)):
        rank -= block
        number, inside = (number, inside + 1) if inside < number else (number + 1, 1)
    which_near, which_far = divmod(rank, comb(len(earlier), number - inside))
    near = [last[position] for position in _subset_unrank(which_near, len(last), inside)]
    far = [earlier[position] for position in _subset_unrank(which_far, len(earlier), number - inside)]
    return tuple(sorted(near + far))
