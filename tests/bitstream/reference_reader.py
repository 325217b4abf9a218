"""A second reader of ATDC files, written from ``docs/bitstream.md`` and importing nothing of the package.

Plain and slow on purpose: where it and the package disagree, one of them does not do what the page says.
"""

import binascii
import zlib
from functools import cache
from math import comb

PROFILES = ("segments", "compact", "ordered")
KINDS = ("image", "features")
AREA_LIMITS = {"image": 1 << 26, "features": 1 << 18}


def read(data, listed=None):
    """All that a file holds, as a dictionary; ``listed`` are the weights' graphs, each a list of parent lists.

    ``graph`` is a tuple of parent tuples; without ``listed`` a listed graph is its number. ``segments`` are pairs of
    bytes and symbol check, as they stand in the file; ``places``, where the graph is known, says for each tensor in the
    file which segment is its. Anything wrong raises ValueError.
    """
    walk = Walk(data)
    found = header(walk, listed)
    if found["profile"] == "compact":
        symbol_check = walk.big_endian(2)
        before = walk.done()
        check = walk.big_endian(2)
        payload = walk.take(walk.left())
        require(check == binascii.crc_hqx(before + payload, 0), "payload check")
        found["segments"] = [(payload, symbol_check)]
        return found
    found["segments"] = []
    start = 0
    for count in (len(found["first"]), len(found["present"]) - len(found["first"])):
        if count:
            table = [(walk.varint(), walk.big_endian(2), walk.big_endian(2)) for _ in range(count)]
            computed = zlib.crc32(walk.done()[start:])
            require(walk.big_endian(4) == computed, "head check or table check")
            for length, check, symbol_check in table:
                segment = walk.take(length)
                require(check == binascii.crc_hqx(segment, 0), "payload check")
                found["segments"].append((segment, symbol_check))
            start = walk.position
    require(walk.left() == 0, "bytes after the end")
    return found


def header(walk, listed):
    require(walk.take(4) == b"ATDC", "magic")
    form = walk.take(1)[0]
    version, profile, kind = form // 16, form // 2 % 8, form % 2
    require(version in (1, 2), "version")
    require(profile < version + 1, "profile")
    found = {"version": version, "profile": PROFILES[profile], "kind": KINDS[kind], "fingerprint": walk.take(4)}
    tensors = found["tensors"] = walk.varint()
    require(1 <= tensors <= (1024 if version == 1 else 64), "number of tensors")
    found["present"] = list(range(tensors)) if version == 1 else masked(walk, tensors)
    count = len(found["present"])
    found["height"] = found["width"] = 0
    if version == 1 or found["kind"] == "image":
        found["height"], found["width"] = sides(walk, walk.varint())
        require(found["height"] * found["width"] <= AREA_LIMITS[found["kind"]], "area")
    found["grids"] = [] if version == 1 else spelled_out_grids(walk, count)
    if version == 2 and count == tensors and found["profile"] != "ordered":
        one_image = found["kind"] == "image" and found["grids"] == []
        one_grid = found["kind"] == "features" and found["grids"] in [[grid] * tensors for grid in found["grids"]]
        require(not one_image and not one_grid, "version 2 for what version 1 says")
    quality = walk.take(1)[0]
    if quality == 255:
        found["qualities"] = list(walk.take(count))
        require(len(set(found["qualities"])) > 1, "separate qualities")
    else:
        found["qualities"] = [quality] * count
    require(max(found["qualities"]) <= 56, "quality")
    chosen = found["graph"] = graph(walk, count, listed, count == tensors)
    found["first"] = []
    if found["profile"] == "ordered":
        places = masked(walk, count)
        require(len(places) < count, "all tensors first")
        known = isinstance(chosen, tuple)
        require(not known or all(set(chosen[place]) <= set(places) for place in places), "a parent that is not first")
        found["first"] = [found["present"][place] for place in places]
    if found["profile"] != "compact" and (version == 1 or isinstance(chosen, tuple)):
        order = list(range(count)) if version == 1 else coding_order(chosen)
        if found["first"]:
            order = [t for t in order if t in places] + [t for t in order if t not in places]
        found["places"] = [order.index(tensor) for tensor in range(count)]
    return found


def masked(walk, tensors):
    mask = walk.take(-(-tensors // 8))
    bits = [byte >> bit & 1 for byte in mask for bit in range(8)]
    require(1 in bits and 1 not in bits[tensors:], "mask")
    return [tensor for tensor in range(tensors) if bits[tensor]]


def sides(walk, height):
    width = walk.varint()
    require(height >= 1 and width != height, "height or width")
    return height, width or height


def spelled_out_grids(walk, count):
    grids = []
    number = walk.varint()
    require(number <= count, "number of grids")
    while len(grids) < number:
        height = walk.varint()
        if height == 0:
            require(grids, "a first grid like the one before")
            grids.append(grids[-1])
        else:
            grid = sides(walk, height)
            require(grids[-1:] != [grid], "a grid like the one before, written out")
            grids.append(grid)
        require(sum(height * width for height, width in grids) <= AREA_LIMITS["features"], "area of grids")
    return grids


def coding_order(parents):
    """Layer by layer: a layer holds whatever has its latest parent in the layer before."""
    order = []
    while len(order) < len(parents):
        placed = set(order)
        order += [task for task, row in enumerate(parents) if task not in placed and placed.issuperset(row)]
    return order


def graph(walk, tasks, listed, all_are_present):
    code = walk.varint()
    require(code == 0 or all_are_present, "a number for a graph of some tensors")
    known = None if listed is None else [tuple(map(tuple, parents)) for parents in listed]
    if code > 0:
        if known is None:
            return code - 1
        require(code <= len(known), "number of the list")
        chosen = known[code - 1]
        require(len(chosen) == tasks and chosen not in known[: code - 1], "graph of the list")
        return chosen
    if tasks <= 24:
        graphs = ways(0, 0, tasks)
        size = 0
        while 256**size < graphs:
            size += 1
        rank = walk.big_endian(size)
        require(rank < graphs, "rank")
        chosen = ranked_graph(rank, tasks)
    else:
        chosen = tuple(explicit_parents(walk, tasks) for _ in range(tasks))
        require_acyclic(chosen)
    require(known is None or not all_are_present or chosen not in known, "a listed graph spelled out")
    return chosen


def explicit_parents(walk, tasks):
    count = walk.varint()
    require(count < tasks, "number of parents")
    parents = []
    for number in range(count):
        gap = walk.varint()
        parents.append(gap if number == 0 else parents[-1] + gap + 1)
        require(parents[-1] < tasks, "parent")
    return tuple(parents)


def require_acyclic(parents):
    done = set()
    while len(done) < len(parents):
        ready = [task for task, row in enumerate(parents) if task not in done and done.issuperset(row)]
        require(ready, "cycle")
        done.update(ready)


def parent_sets(p, l):
    """W of the page."""
    return 1 if p == 0 else 2**p - 2 ** (p - l)


@cache
def ways(p, l, r):
    """F of the page."""
    return 1 if r == 0 else sum(block(p, l, r, m) for m in range(1, r + 1))


def block(p, l, r, m):
    """B of the page."""
    return comb(r, m) * parent_sets(p, l) ** m * ways(p + m, m, r - m)


def subset(i, of, m):
    """Entry ``i`` of the subsets of ``m`` elements of a list, in lexicographic order."""
    if m == 0:
        return []
    with_the_first = comb(len(of) - 1, m - 1)
    if i < with_the_first:
        return [of[0], *subset(i, of[1:], m - 1)]
    return subset(i - with_the_first, of[1:], m)


def ranked_graph(rank, tasks):
    parents = [()] * tasks
    earlier, last, free = [], [], list(range(tasks))
    while free:
        p, l, r = len(earlier) + len(last), len(last), len(free)
        m = r
        while rank >= block(p, l, r, m):
            rank -= block(p, l, r, m)
            m -= 1
        digit, rank = divmod(rank, ways(p + m, m, r - m))
        which, digit = divmod(digit, parent_sets(p, l) ** m)
        layer = subset(which, free, m)
        for task in reversed(layer):
            digit, choice = divmod(digit, parent_sets(p, l))
            parents[task] = parent_set(choice, earlier, last)
        earlier, last = sorted(earlier + last), layer
        free = [task for task in free if task not in layer]
    return tuple(parents)


def parent_set(choice, earlier, last):
    if not last:
        return ()
    j = 0
    while True:
        j += 1
        for i in range(1, j + 1):
            size = comb(len(last), i) * comb(len(earlier), j - i)
            if choice < size:
                near, far = divmod(choice, comb(len(earlier), j - i))
                return tuple(sorted(subset(near, last, i) + subset(far, earlier, j - i)))
            choice -= size


class Walk:
    """From the first byte to the last."""

    def __init__(self, data):
        self.data, self.position = data, 0

    def left(self):
        return len(self.data) - self.position

    def done(self):
        return self.data[: self.position]

    def take(self, count):
        require(count <= self.left(), "too few bytes")
        self.position += count
        return self.data[self.position - count : self.position]

    def big_endian(self, count):
        return int.from_bytes(self.take(count), "big")

    def varint(self):
        parts = []
        while not parts or parts[-1] >= 128:
            parts += self.take(1)
        value = sum((part % 128) << 7 * place for place, part in enumerate(parts))
        require(value < 1 << 32 and len(parts) <= 5, "varint too large")
        require(len(parts) == 1 or parts[-1] > 0, "varint too long")
        return value


def require(holds, what):
    if not holds:
        raise ValueError(what)
