"""A second way from a file to its integers, in plain Python, one number at a time, importing nothing of the package.

Written from ``docs/bitstream.md``; what a file's bytes are divided into is :mod:`reference_reader`'s part. Slow on
purpose: for tiny weights and tiny files. Where it and the package disagree, one of them does not do what the page
says. It does not check that a segment is the one that a writer would write.
"""

import binascii
import json
import struct


class Weights:
    """A weights file: ``header`` (JSON) and ``entropy``, nested lists of integers by name."""

    def __init__(self, data):
        (length,) = struct.unpack("<Q", data[:8])
        entries = json.loads(data[8 : 8 + length])
        self.header = json.loads(entries.pop("__metadata__")["atdc"])
        self.entropy = {}
        for name, entry in entries.items():
            if name.startswith("entropy."):
                start, stop = entry["data_offsets"]
                code = {"I16": "h", "I32": "i"}[entry["dtype"]]
                values = [
                    value for (value,) in struct.iter_unpack("<" + code, data[8 + length + start : 8 + length + stop])
                ]
                self.entropy[name.removeprefix("entropy.")] = nested(values, entry["shape"])
        alike = [{"grid": self.header["model"].get("stride")} for _ in self.header.get("tasks", [])]
        self.tensors = self.header.get("tensors", alike)
        self.listed = self.header["book"]["listed"]
        self.radius = self.entropy["tables.radius"]
        self.bounds = [
            table_bounds(row, radius)
            for row, radius in zip(self.entropy["tables.frequencies"], self.radius, strict=True)
        ]

    def of(self, tensor):
        """The arrays of one tensor."""
        prefix = f"{tensor}."
        return {name[len(prefix) :]: array for name, array in self.entropy.items() if name.startswith(prefix)}


def nested(values, shape):
    if len(shape) == 1:
        return values
    size = len(values) // shape[0]
    return [nested(values[i * size : (i + 1) * size], shape[1:]) for i in range(shape[0])]


def decode(container, weights):
    """What a file says: ``grids``, ``parents``, ``latents`` and ``checks`` by tensor of the model.

    Args:
        container: as ``reference_reader.read`` gives it.
        weights: its weights.
    """
    present = container["present"]
    grids = dict(zip(present, grids_of(container, weights), strict=True))
    qualities = dict(zip(present, container["qualities"], strict=True))
    parents = {present[c]: [present[p] for p in row] for c, row in enumerate(container["graph"])}
    order, states, latents, checks = [], {}, {}, {}
    while len(order) < len(present):  # layer by layer, within a layer by index
        layer = [t for t in present if t not in order and all(p in order for p in parents[t])]
        order += layer
    if container["profile"] == "ordered":  # parents of the first are among the first
        first = container["first"]
        order = [t for t in order if t in first] + [t for t in order if t not in first]
    decoder = None
    if container["profile"] == "compact":
        decoder = Decoder(container["segments"][0][0])
    for place, tensor in enumerate(order):
        if container["profile"] != "compact":
            index = place if container["version"] == 2 else present.index(tensor)
            segment, check = container["segments"][index]
            decoder = Decoder(segment)
        given = {p: between_grids(states[p], grids[p], grids[tensor]) for p in parents[tensor]}
        hyper, latent, states[tensor] = one_tensor(decoder, weights, tensor, qualities[tensor], grids[tensor], given)
        latents[tensor] = latent
        checks[tensor] = crc([hyper, latent])
        if container["profile"] != "compact" and checks[tensor] != check:
            raise ValueError(f"symbol check of tensor {tensor}")
    if container["profile"] == "compact":
        together = binascii.crc_hqx(b"".join(checks[t].to_bytes(2, "big") for t in present), 0)
        if together != container["segments"][0][1]:
            raise ValueError("symbol check")
    return {"grids": grids, "parents": parents, "latents": latents, "checks": checks}


def grids_of(container, weights):
    spelled_out = list(container["grids"])
    found = []
    for tensor in container["present"]:
        rule = weights.tensors[tensor]["grid"]
        if isinstance(rule, list):
            found.append(tuple(rule))
        elif isinstance(rule, int) and container["kind"] == "image":
            found.append((-(-container["height"] // rule), -(-container["width"] // rule)))
        elif container["version"] == 1:
            found.append((container["height"], container["width"]))
        else:
            found.append(spelled_out.pop(0))
    if spelled_out:
        raise ValueError("grids left over")
    return found


def one_tensor(decoder, weights, tensor, quality, grid, states):
    """Hyper-latent, latent and state of one tensor, each an image: a list of rows of positions of channels."""
    own = weights.of(tensor)
    first_bits, up_bits, mean_bits, scale_bits, state_bits = own["fractions"]
    rows, columns = (-(-side // 4) for side in grid)  # of the hyper-latent; the latent has twice as many
    width = len(own["up_bias"]) // 4

    settings = weights.header["model"]
    without = settings.get("factorised", "none")
    if without == "all" or (without == "roots" and not states):
        hyper = image(rows, columns, lambda r, c: [0] * len(own["hyper_mean"][quality]))
    else:
        hyper = decoder.image(
            weights,
            image(rows, columns, lambda r, c: own["hyper_mean"][quality]),
            image(rows, columns, lambda r, c: own["hyper_table"][quality]),
        )
    x = convolved(mapped(hyper, lambda v: limited(v, -512 * 16, 512 * 16)), own["first"])
    bias = [v + sum(own["parent_bias"][p][k] for p in states) for k, v in enumerate(own["first_bias"][quality])]
    x = added(x, lambda r, c: bias)
    x = mapped(x, lambda v: limited(shifted(v, 4 + first_bits - 8), 0, 32767))
    x = added(convolved(x, own["up"]), lambda r, c: own["up_bias"])
    x = image(2 * rows, 2 * columns, lambda r, c: x_of_block(x, r, c, width))
    for parent, state in states.items():
        told = convolved(state, [[own["parents"][parent]]])
        x = added(x, lambda r, c, told=told: told[r][c])
    gain = own["gain"][quality]

    def prior(x, told):
        """Means and tables from what is hidden; ``told``, sixteenths to be added to a mean."""
        x = mapped(x, lambda v: limited(shifted(v, up_bits), 0, 32767))
        mean = added(convolved(x, own["last_mean"]), lambda r, c: own["last_mean_bias"])
        mean = image(2 * rows, 2 * columns, lambda r, c: [v * g for v, g in zip(mean[r][c], gain, strict=True)])
        mean = added(mapped(mean, lambda v: shifted(v, 8 + mean_bits + 16 - 4)), told)
        mean = mapped(mean, lambda v: limited(v, -(1 << 19), 1 << 19))
        table = added(convolved(x, own["last_scale"]), lambda r, c: own["last_scale_bias"])
        table = added(table, lambda r, c: own["gain_tables"][quality])
        return x, mean, mapped(table, lambda v: limited(shifted(v, 8 + scale_bits), 0, len(weights.radius) - 1))

    nothing = [0] * len(gain)
    own_rows, own_columns = (
        (-(-side // 2) for side in grid) if settings.get("padding") == "zero" else (2 * rows, 2 * columns)
    )
    inside = [(r, c) for r in range(own_rows) for c in range(own_columns)]
    runs = [inside]
    if settings.get("spatial_context") == "checkerboard":
        runs = [[(r, c) for r, c in inside if (r + c) % 2 == odd] for odd in (0, 1)]
    before = x
    latent, symbols = ({} for _ in range(2))
    for number, run in enumerate(runs):
        known = image(2 * rows, 2 * columns, lambda r, c, symbols=symbols: symbols.get((r, c), nothing))
        known = mapped(known, lambda v: limited(v, -256, 256))
        if number == 0:
            x, mean, table = prior(before, lambda r, c: nothing)
        else:
            loud = convolved(mapped(known, lambda v: own["asinh"][abs(v) + 256]), own["around"])
            weight = own["neighbours"][quality]

            def told(r, c, known=known, weight=weight):
                next_to = [(r - 1, c), (r + 1, c), (r, c - 1), (r, c + 1)]
                there = [known[i][j] for i, j in next_to if 0 <= i < len(known) and 0 <= j < len(known[0])]
                return [shifted(w * sum(channel), 10) for w, *channel in zip(weight, *there, strict=True)]

            _, mean, table = prior(added(before, lambda r, c, loud=loud: loud[r][c]), told)
        if run:
            means = [[mean[r][c] for r, c in run]]
            (found,) = decoder.image(weights, means, [[table[r][c] for r, c in run]])
            latent |= dict(zip(run, found, strict=True))
            symbols |= {
                place: [(v - m) // 16 for v, m in zip(value, mean[place[0]][place[1]], strict=True)]
                for place, value in zip(run, found, strict=True)
            }
    latent = image(2 * rows, 2 * columns, lambda r, c: latent.get((r, c), nothing))

    asinh = mapped(latent, lambda v: own["asinh"][limited(shifted(v, 4), -256, 256) + 256])
    state, hidden = convolved(asinh, own["own"]), convolved(x, own["hidden"])
    state = added(added(state, lambda r, c: hidden[r][c]), lambda r, c: own["state_bias"][quality])
    return hyper, latent, mapped(state, lambda v: limited(shifted(v, state_bits), 0, 16 << 8))


def x_of_block(x, row, column, width):
    start = (2 * (row % 2) + column % 2) * width
    return x[row // 2][column // 2][start : start + width]


def between_grids(states, parent, child):
    """A parent's states at a child's positions: *Symbols* of the page."""
    if parent == child:
        return states
    own, wanted = ([(side + 1) // 2 for side in grid] for grid in (parent, child))
    height, width = (2 * -(-side // 4) for side in child)

    def under(i, h_p, h_c):
        i = min(i, h_c - 1)  # the padding repeats the outermost
        if h_c >= h_p:
            return [min((2 * i + 1) * h_p // (2 * h_c), h_p - 1)]
        return range(i * h_p // h_c, -(-((i + 1) * h_p) // h_c))

    def told(i, j):
        below = [states[r][c] for r in under(i, own[0], wanted[0]) for c in under(j, own[1], wanted[1])]
        return [sum(channel) // len(below) for channel in zip(*below, strict=True)]

    return image(height, width, told)


# --- images --------------------------------------------------------------------------------------------------------


def image(rows, columns, position):
    return [[list(position(row, column)) for column in range(columns)] for row in range(rows)]


def mapped(x, change):
    return [[[change(v) for v in position] for position in row] for row in x]


def added(x, other):
    return image(len(x), len(x[0]), lambda r, c: [a + b for a, b in zip(x[r][c], other(r, c), strict=True)])


def convolved(x, weight):
    """Zeros around the image; weight by row, column, input and output."""
    border, outputs = len(weight) // 2, range(len(weight[0][0][0]))

    def position(r, c):
        total = [0 for _ in outputs]
        for i, weight_row in enumerate(weight):
            for j, matrix in enumerate(weight_row):
                y, z = r + i - border, c + j - border
                if 0 <= y < len(x) and 0 <= z < len(x[0]):
                    for v, row in zip(x[y][z], matrix, strict=True):
                        for k in outputs:
                            total[k] += v * row[k]
        return total

    return image(len(x), len(x[0]), position)


def shifted(value, bits):
    """``floor(value / 2**bits + 1/2)``."""
    return (2 * value + (1 << bits)) // (2 << bits)


def limited(value, least, greatest):
    return max(least, min(greatest, value))


def crc(images):
    values = [v for x in images for row in x for position in row for v in position]
    return binascii.crc_hqx(struct.pack(f"<{len(values)}i", *values), 0)


# --- the range coder -------------------------------------------------------------------------------------------------

WHOLE = 1 << 24


def table_bounds(frequencies, radius):
    """Where each symbol of a table begins, in 24 bits, and the end."""
    used, bounds, total = 2 * radius + 2, [], 0
    for i in range(used):
        bounds.append(total * (WHOLE - used) // (1 << 16) + i)
        total += frequencies[i]
    return [*bounds, WHOLE]


class Decoder:
    """Reads symbols off a segment: a binary fraction, zeros after its end."""

    def __init__(self, data):
        self.data, self.position = data, 8
        self.offset, self.range = int.from_bytes(data[:8].ljust(8, b"\0"), "big"), (1 << 64) - 1

    def symbol(self, bounds):
        """The number of the next symbol, of which each begins at its bound."""
        scale = self.range >> 24
        quantile = self.offset // scale
        if quantile >= WHOLE:
            raise ValueError("bytes that stand for no symbols")
        symbol = max(i for i, bound in enumerate(bounds[:-1]) if bound <= quantile)
        self.offset -= scale * bounds[symbol]
        self.range = scale * (bounds[symbol + 1] - bounds[symbol])
        if self.range < 1 << 32:
            word = self.data[self.position : self.position + 4].ljust(4, b"\0")
            self.offset = self.offset << 32 | int.from_bytes(word, "big")
            self.range <<= 32
            self.position += 4
        return symbol

    def uniform(self, bits):
        """A number of so many bits."""
        if bits == 0:
            return 0
        step = WHOLE >> bits
        value = self.offset // (self.range >> 24) // step
        self.symbol([0, value * step, (value + 1) * step, WHOLE])
        return value

    def image(self, weights, mean, table):
        """One run of symbols, decoded: ``16 · symbol + mean``."""
        tables = [v for row in table for position in row for v in position]
        order = sorted(range(len(tables)), key=lambda place: tables[place])  # stable
        symbols = [0] * len(tables)
        for place in order:
            symbols[place] = self.symbol(weights.bounds[tables[place]]) - weights.radius[tables[place]]
        escaped = [place for place in order if symbols[place] > weights.radius[tables[place]]]
        lengths = dict.fromkeys(escaped, 0)
        unfinished = escaped
        while unfinished:
            unfinished = [place for place in unfinished if self.uniform(1)]
            for place in unfinished:
                lengths[place] += 1
            if max(lengths.values()) > 19:
                raise ValueError("an escaped symbol without end")
        for place in escaped:
            symbols[place] = weights.radius[tables[place]] + (1 << lengths[place]) + self.uniform(lengths[place])
        for place in escaped:
            if symbols[place] >= 1 << 20:
                raise ValueError("an escaped symbol too large")
            if self.uniform(1):
                symbols[place] = -symbols[place]
        rest = iter(symbols)
        return mapped(mean, lambda v: 16 * next(rest) + v)
