"""Features to bytes and back: the codec itself, which knows a set of feature tensors and nothing of images."""

from __future__ import annotations

import math
import sys
import warnings
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from atdc.bitstream.container import Container, Header, Segment, graph_code, pack
from atdc.bitstream.layout import PROFILES
from atdc.bitstream.ports import CountingPort, WritingPort
from atdc.bitstream.sources import FileLike, opened
from atdc.coding.latent_coders import IntegerPort, KnownPort
from atdc.coding.traversal import code_task, walk
from atdc.config import MAX_QUALITY, QUALITY_STEPS_PER_UNIT, ModelConfig, quality_of, require_one_of
from atdc.entropy.coder import EntropyCoder
from atdc.entropy.model import EntropyModel
from atdc.errors import ArgumentError, FeatureWarning
from atdc.graph import search
from atdc.graph.graph_book import GraphBook
from atdc.graph.search import ScoreTable, candidate_sets, parse_setting
from atdc.graph.task_graph import TaskGraph
from atdc.integer_codec import DecodedIntegers, IntegerReader, combined_check, padded
from atdc.networks.codec_networks import CodecNetworks
from atdc.networks.devices import open_device, torch_defaults
from atdc.networks.predictability import proxy_losses, score_bits

DEFAULT_GRAPH = "codebook"
"""The search setting used when none is named."""

Quality = float | Sequence[float]
Effort = Literal["normal", "high"]
Profile = Literal["compact", "segments"]

_HIGH_EFFORT_CANDIDATES = 4
EFFORTS: tuple[Effort, ...] = ("normal", "high")
EXTREME_DEVIATIONS = 100.0
"""Features further from their mean than this, in standard deviations, are warned of; those of photos lie within 40."""
LARGEST_DEVIATIONS = 1e12
"""Features further from their mean than this are refused: their squares leave single precision."""


@dataclass(frozen=True, slots=True)
class EncodedBatch:
    """A coded batch.

    Attributes:
        data: one file per image.
        graphs: the graph each image was coded along.
        ideal_bits: −Σ log₂ of the probabilities the range coder was given, (B, T).
        reconstruction: what a decoder gets, (B, T, C, h, w), in the features' own units; only a prediction for tasks
            without children, where not all was to be restored.
    """

    data: list[bytes]
    graphs: list[TaskGraph]
    ideal_bits: NDArray[np.float64]
    reconstruction: Tensor


def quality_steps(quality: Quality, task_count: int) -> tuple[int, ...]:
    """Qualities as integers in steps of 1/8, one per task; each is rounded to the nearest (halves to the even one).

    Raises:
        ArgumentError: not a number from 0 to 7, or not one per task.

    >>> quality_steps(4, 2), quality_steps([0.5, 7], 2)
    ((32, 32), (4, 56))
    """
    given: Any = quality
    if isinstance(given, (str, bytes, Mapping, Set)) or not hasattr(given, "__len__") or getattr(given, "ndim", 1) == 0:
        return (round(quality_of(given) * QUALITY_STEPS_PER_UNIT),) * task_count
    values = [quality_of(value) for value in given]
    if len(values) != task_count:
        raise ArgumentError("quality", f"{len(values)} values", f"one for each of the {task_count} tasks")
    return tuple(round(value * QUALITY_STEPS_PER_UNIT) for value in values)


def given_graphs(graph: str | TaskGraph) -> str | list[TaskGraph]:
    """A search setting's name, checked, or the graph of one image.

    Raises:
        ArgumentError: neither.
    """
    if isinstance(graph, TaskGraph):
        return [graph]
    if isinstance(graph, str):
        return parse_setting(graph)
    raise ArgumentError("graph", repr(graph), "the name of a search setting, or a TaskGraph")


class FeatureCodec:
    """Codes a set of feature tensors, one per task, along a task graph.

    Args:
        networks: predictor, transforms and scorer; switched to evaluation.
        entropy: the integers that decide every probability.
        task_names: names in index order.
        mean: per task and channel, (T, C); features are normalised to ``(z − mean) / deviation``.
        deviation: (T, C).
        book: graphs and rates kept with the weights.
        fingerprint: four bytes that name the weights; a file names them, other weights refuse it.
    """

    def __init__(
        self,
        networks: CodecNetworks,
        entropy: EntropyModel,
        task_names: Sequence[str],
        mean: Tensor,
        deviation: Tensor,
        book: GraphBook,
        fingerprint: bytes = bytes(4),
    ) -> None:
        self.networks = networks.eval().requires_grad_(False)
        self.entropy = entropy
        self.task_names = tuple(task_names)
        self.task_count = len(self.task_names)
        self.mean, self.deviation = mean, deviation
        self.book = book
        self.fingerprint = fingerprint
        self.pairs = candidate_sets(self.task_count, networks.config.max_parents)
        self._children = [child for child, _ in self.pairs]

    @property
    def config(self) -> ModelConfig:
        """The architecture."""
        return self.networks.config

    @property
    def integers(self) -> IntegerReader:
        """The half of the decoder that needs no network."""
        return IntegerReader(self.entropy, self.book.listed, self.task_names, self.config.stride, self.fingerprint)

    # --- one image -------------------------------------------------------------------------------------------------

    @torch_defaults()
    def encode(
        self,
        features: Mapping[str, Tensor | NDArray[np.floating]],
        quality: Quality = 4,
        graph: str | TaskGraph = DEFAULT_GRAPH,
        effort: Effort = "normal",
        profile: Profile = "compact",
    ) -> bytes:
        """Codes one set of features to one file.

        Args:
            features: name to tensor or array (C, h, w) of any floating-point type, every task of the model.
            quality: 0 to 7, rounded to the nearest multiple of 1/8; one for all tasks or one per task.
            graph: a search setting's name, or a graph.
            effort: `high` codes several graphs, the fixed one among them, and keeps the one of least cost.
            profile: `compact` takes the fewest bytes; `segments` lets a reader fetch single tasks.

        Raises:
            ArgumentError: unknown or missing tasks, a wrong shape, values that are not finite or beyond
                :data:`LARGEST_DEVIATIONS`, an unknown setting.

        Values beyond :data:`EXTREME_DEVIATIONS` are coded, with a :class:`~atdc.errors.FeatureWarning`.
        """
        stacked = self._stacked(features)[None]
        return self.encode_batch(
            stacked, quality, given_graphs(graph), effort, profile=profile, restore_all=False
        ).data[0]

    def _stacked(self, features: Any) -> Tensor:
        """Features by name as one tensor (T, C, h, w), single precision, without gradients."""
        if not isinstance(features, Mapping):
            raise ArgumentError("features", type(features).__name__, f"a mapping of {', '.join(self.task_names)}")
        missing = [name for name in self.task_names if name not in features]
        unknown = [name for name in features if name not in self.task_names]
        for problem, names in (("without", missing), ("with an unknown", unknown)):
            if names:
                raise ArgumentError("features", f"{problem} {names[0]!r}", f"exactly {', '.join(self.task_names)}")
        tensors = {}
        for name in self.task_names:
            tensor = _float_tensor(features[name], f"features of {name}")
            channels = self.config.feature_channels
            if tensor.ndim != 3 or tensor.shape[0] != channels:
                found = f"shape {tuple(tensor.shape)}"
                raise ArgumentError(f"features of {name}", found, f"shape ({channels}, height, width)")
            if tensor.is_meta and self.device.type != "meta":
                raise ArgumentError(f"features of {name}", "a tensor on the device meta", "one that holds values")
            tensors[name] = tensor.to(self.device)
        first = self.task_names[0]
        for name, tensor in tensors.items():
            if tensor.shape != tensors[first].shape:
                raise ArgumentError(
                    f"features of {name}", f"shape {tuple(tensor.shape)}",
                    f"{tuple(tensors[first].shape)}, that of {first}: all tasks have one size",
                )  # fmt: skip
        return torch.stack(list(tensors.values()))

    def _warn_of_extremes(self, normalised: Tensor) -> None:
        """Says which tensor has values that no training has shown the codec."""
        extremes = _extremes(normalised)
        count = int((extremes > EXTREME_DEVIATIONS).sum())
        if not count:
            return
        task, channel = divmod(int(extremes.argmax()), extremes.shape[1])
        more = f" (and {count - 1} more channels likewise)" if count > 1 else ""
        warnings.warn(
            f"features of {self.task_names[task]}, channel {channel}: found a value {extremes[task, channel]:.3g} "
            f"standard deviations from the mean{more}; expected at most {EXTREME_DEVIATIONS:g}. Answers of this task "
            "and of those predicted from it are in doubt: check that the features are those of the networks that the "
            "codec was trained with.",
            FeatureWarning,
            stacklevel=_frames_of_the_package(),
        )

    @torch_defaults()
    def decode(self, data: FileLike, tasks: Sequence[str] | None = None) -> dict[str, Tensor]:
        """Features (C, h, w) by task name, of the named tasks or of all.

        Args:
            data: the file: its bytes, a path, a file object, or a source that can be read by range.
            tasks: which.

        Raises:
            BitstreamError: the bytes are not a file of this model, or are damaged.
            ArgumentError: an unknown task.
        """
        wanted = self.task_indices(tasks)
        with opened(data) as source:
            decoded = self.restore([self.integers.read(source, wanted)], wanted)[0]
        return {self.task_names[task]: decoded[task] for task in wanted}

    def task_indices(self, tasks: Sequence[str] | None) -> list[int]:
        """Indices of named tasks; raises :class:`ArgumentError` that lists the known ones."""
        if isinstance(tasks, str):
            raise ArgumentError("tasks", repr(tasks), "a list of names", f"pass [{tasks!r}]")
        try:
            names = self.task_names if tasks is None else tuple(tasks)
        except TypeError as error:
            raise ArgumentError("tasks", repr(tasks), "a list of names") from error
        for name in names:
            if name not in self.task_names:
                raise ArgumentError("tasks", repr(name), f"some of {', '.join(self.task_names)}")
        return [self.task_names.index(name) for name in names]

    def elements_of(self, height: int, width: int) -> int:
        """Numbers in the features of an image of that size, ``T·C·h·w``."""
        stride = self.config.stride
        return self.task_count * self.config.feature_channels * -(-height // stride) * -(-width // stride)

    @property
    def device(self) -> torch.device:
        """Where the networks run, and where features come back."""
        return self.mean.device

    def to(self, device: str | torch.device) -> FeatureCodec:
        """Moves the networks to another device, itself, and returns itself; files stay the same but for what rounding
        makes of the encoder's latents, and any device decodes them to the same integers.

        Raises:
            ArgumentError: no such device here.
        """
        device = open_device(device)
        self.networks.to(device)
        self.mean, self.deviation = self.mean.to(device), self.deviation.to(device)
        return self

    # --- batches ---------------------------------------------------------------------------------------------------

    @torch_defaults()
    @torch.no_grad()
    def encode_batch(
        self,
        features: Tensor,
        quality: Quality,
        graph: str | Sequence[TaskGraph] = DEFAULT_GRAPH,
        effort: Effort = "normal",
        sizes: Sequence[tuple[int, int]] | None = None,
        profile: Profile = "compact",
        restore_all: bool = True,
    ) -> EncodedBatch:
        """Codes features (B, T, C, h, w), each image to a file of its own.

        Args:
            features: raw features, finite.
            quality: for all images, one number or one per task.
            graph: a search setting's name, or one graph per image.
            effort: see :meth:`encode`.
            sizes: (height, width) of the images the features come from, kept in the file; none for bare features.
            profile: see :meth:`encode`.
            restore_all: False where the bytes are all that is wanted, which saves time.
        """
        require_one_of("effort", effort, EFFORTS)
        require_one_of("profile", profile, PROFILES)
        steps = quality_steps(quality, self.task_count)
        normalised, shape = self.normalise(features), (features.shape[3], features.shape[4])
        given: Any = graph  # of one image, it is easily given without its list
        if isinstance(given, TaskGraph) or (not isinstance(given, str) and len(given) != len(features)):
            raise ArgumentError("graph", repr(graph), f"a setting's name, or {len(features)} graphs, one per image")
        if sizes is not None and len(sizes) != len(features):
            raise ArgumentError("sizes", f"{len(sizes)} of them", f"{len(features)}, one per image")
        self._warn_of_extremes(normalised)
        graphs = self.choose_graphs(features, quality, graph) if isinstance(graph, str) else list(graph)
        self._require_graphs(graphs, len(features))
        qualities = self._quality_tensor([steps] * len(features))
        if effort == "high":
            graphs = self._best_of_several(normalised, steps, graphs)
        port = WritingPort(self.entropy.tables, len(features), self.task_count, together=profile == "compact")
        coder = self._coder(port, steps, len(features))
        result = walk(
            self.networks, graphs, qualities, IntegerPort(coder), _sides(normalised), normalised,
            restore_all=restore_all,
        )  # fmt: skip
        data = []
        for image, segments in enumerate(port.finish()):
            height, width = sizes[image] if sizes is not None else shape
            header = Header(
                fingerprint=self.fingerprint, kind="features" if sizes is None else "image", profile=profile,
                height=height, width=width, qualities=steps, graph=graph_code(graphs[image], self.book.listed),
            )  # fmt: skip
            checks = [coder.checks[image, task] for task in range(self.task_count)]
            if profile == "compact":
                checks = [combined_check(checks)]
            data.append(pack(Container(header, tuple(map(Segment, segments, checks)))))
        bits = port.bits.array(len(graphs), self.task_count)
        return EncodedBatch(data, graphs, bits, self._restore(result.reconstruction, shape))

    def decode_batch(self, data: Sequence[bytes]) -> Tensor:
        """Features (B, T, C, h, w) of files whose features have one size."""
        return self.restore([self.integers.read(item) for item in data])

    @torch_defaults()
    @torch.no_grad()
    def restore(self, files: Sequence[DecodedIntegers], wanted: Sequence[int] | None = None) -> Tensor:
        """Decoded integers of files of one size to raw features (B, T, C, h, w); zeros for tasks not wanted."""
        shapes = {self.integers.feature_shape(file.header) for file in files}
        if len(shapes) != 1:
            found = f"features of {', '.join(f'{h} x {w}' for h, w in sorted(shapes))}" if shapes else "none"
            raise ArgumentError("files", found, "at least one file, all of one size", "Decode them one by one.")
        (shape,) = shapes
        wanted = range(self.task_count) if wanted is None else wanted
        known = {
            task: np.concatenate([file.latents[task] for file in files])
            for task in range(self.task_count)
            if all(task in file.latents for file in files)
        }
        qualities = self._quality_tensor([file.header.qualities for file in files])
        result = walk(
            self.networks, [file.graph for file in files], qualities, KnownPort(known), padded(shape), wanted=wanted
        )
        return self._restore(result.reconstruction, shape)

    def _require_graphs(self, graphs: Sequence[TaskGraph], images: int) -> None:
        sizes = [graph.size for graph in graphs]
        if sizes != [self.task_count] * images:
            raise ArgumentError("graph", f"graphs of {sizes} tasks", f"{images} of {self.task_count} tasks")

    # --- graphs ----------------------------------------------------------------------------------------------------

    @torch_defaults()
    @torch_defaults()
    @torch.no_grad()
    def choose_graphs(self, features: Tensor, quality: Quality, setting: str) -> list[TaskGraph]:
        """One graph per image of a batch (B, T, C, h, w), by a search setting's name.

        `random` draws from a generator seeded by the position in the batch, so that a call repeats itself.
        """
        name = parse_setting(setting)
        level = self._level(quality)
        whole = self.book.whole(name, level)
        if whole is not None:
            return [whole] * len(features)
        limit = self.config.max_parents
        if name == "paper":
            return self.paper_graphs(features, limit)
        costs = self.cost_table(features, quality)
        if name == "codebook":
            return self.from_codebook(costs, features, quality)
        if name == "exact":
            return search.exact_batch(costs, self.task_count, limit)
        tables = [ScoreTable.of(self.task_count, row, limit) for row in costs]
        if name == "greedy":
            return [search.greedy(table, limit) for table in tables]
        if name == "paper-order":
            return [search.paper_order(table, limit) for table in tables]
        return [search.random_order(table, np.random.default_rng(i), limit) for i, table in enumerate(tables)]

    def from_codebook(self, costs: NDArray[np.float64], features: Tensor, quality: Quality) -> list[TaskGraph]:
        """Each image's cheapest graph of the codebook, by :meth:`cost_table` and the graphs' surcharges."""
        return self.book.cheapest(costs, self._level(quality), features[0, 0].numel())

    def codebook_estimates(self, features: Tensor, quality: Quality) -> NDArray[np.float64]:
        """What the setting `codebook` compares: the estimated cost of each graph of the codebook, bits, (M, B)."""
        costs = self.cost_table(features, quality)
        return self.book.estimates(costs, self._level(quality), features[0, 0].numel())

    @torch_defaults()
    @torch.no_grad()
    def paper_graphs(self, features: Tensor, max_parents: int, threshold: float = 0.2) -> list[TaskGraph]:
        """Each image's graph by :func:`~atdc.graph.search.paper`, for any K and τ; features (B, T, C, h, w)."""
        normalised = self.normalise(features)
        pairs = candidate_sets(self.task_count, max_parents)
        losses = proxy_losses(self.networks.predictor, normalised, pairs).double().cpu().numpy()
        empty = torch.exp(-0.5 * normalised.square().mean((2, 3, 4))).double().cpu().numpy()
        return [search.paper(losses[i], empty[i], max_parents, threshold) for i in range(len(features))]

    @torch_defaults()
    @torch.no_grad()
    def cost_table(self, features: Tensor, quality: Quality) -> NDArray[np.float64]:
        """The cheap scorer's cost of each (child, parent set), bits, (B, P); pairs in the order of :attr:`pairs`.

        A cost is what the child's segment is expected to take, plus its squared error at the exchange rate
        ``w = −dR/dD`` of the working quality: the term of the total that depends on the child's parents.
        """
        return self._cheap_costs(self.normalise(features), quality)

    @torch_defaults()
    @torch.no_grad()
    def full_scores(self, features: Tensor, quality: Quality) -> NDArray[np.float64]:
        """The predictor's score of each pair, bits, (B, P): :func:`~atdc.networks.predictability.score_bits`."""
        normalised = self.normalise(features)
        distortion = torch.from_numpy(self.book.distortion)
        scores = score_bits(self.networks.predictor, normalised, self.pairs, distortion)
        return self._at_quality(scores.cpu().numpy(), self._children, quality)

    @torch_defaults()
    @torch.no_grad()
    def pair_costs(
        self, features: Tensor, quality: Quality, pairs: Sequence[search.Pair] | None = None
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """What each pair really costs: ideal bits and summed squared error of the child, each (B, P).

        The parents are taken as decoded along the fixed graph at this quality; then each child is coded from each set.
        """
        pairs = self.pairs if pairs is None else pairs
        normalised = self.normalise(features)
        steps = quality_steps(quality, self.task_count)
        batch = len(features)
        qualities = self._quality_tensor([steps] * batch)
        coder = self._coder(CountingPort(self.entropy.tables), steps, batch)
        fixed = [self.book.fixed[self._level(quality)]] * batch
        shape = _sides(normalised)
        parents = walk(self.networks, fixed, qualities, IntegerPort(coder), shape, normalised).reconstruction
        bits, errors = np.zeros((batch, len(pairs))), np.zeros((batch, len(pairs)))
        images = torch.arange(batch, device=self.device)
        shares = [self.networks.share(task, parents[:, task]) for task in range(self.task_count)]
        for column, (child, chosen) in enumerate(pairs):
            mask = torch.zeros(batch, self.task_count, device=self.device)
            mask[:, list(chosen)] = 1
            given = [shares[parent] for parent in chosen]
            port = CountingPort(self.entropy.tables)
            target, beside = normalised[:, child], IntegerPort(coder.beside(port))
            value, _ = code_task(self.networks, child, images, given, mask, qualities[:, child], shape, beside, target)
            bits[:, column] = port.bits.array(batch, self.task_count)[:, child]
            errors[:, column] = (value - target).square().sum((1, 2, 3)).cpu().numpy()
        return bits, errors

    def measured_costs(self, features: Tensor, quality: Quality) -> NDArray[np.float64]:
        """What coding each pair costs, bits, (B, P): :meth:`pair_costs` with errors at :meth:`rates_of_exchange`."""
        bits, errors = self.pair_costs(features, quality)
        costs: NDArray[np.float64] = bits + self.rates_of_exchange(quality)[self._children] * errors
        return costs

    def rates_of_exchange(self, quality: Quality) -> NDArray[np.float64]:
        """``w``, bits per unit of summed squared error, of each task at its quality, (T,)."""
        return self._at_quality(self.book.bits_per_error, range(self.task_count), quality)

    def _best_of_several(self, normalised: Tensor, steps: tuple[int, ...], chosen: list[TaskGraph]) -> list[TaskGraph]:
        quality = [step / QUALITY_STEPS_PER_UNIT for step in steps]
        level, batch = self._level(quality), len(normalised)
        costs = self._cheap_costs(normalised, quality)
        listed = search.graph_costs(costs, self.book.codebook)
        best = np.argsort(listed, axis=0, kind="stable")[:_HIGH_EFFORT_CANDIDATES]
        candidates = [chosen, [self.book.fixed[level]] * batch]
        candidates.append(search.exact_batch(costs, self.task_count, self.config.max_parents))
        candidates += [[self.book.codebook[index] for index in row] for row in best.tolist()]
        totals = np.stack([self.total_costs(normalised, quality, graphs) for graphs in candidates])
        return [candidates[row][image] for image, row in enumerate(totals.argmin(0).tolist())]

    @torch_defaults()
    @torch.no_grad()
    def total_costs(self, normalised: Tensor, quality: Quality, graphs: list[TaskGraph]) -> NDArray[np.float64]:
        """``J = bits + Σ_i w_i·‖z'_i − ẑ'_i‖²`` of each image along its graph, (B,)."""
        steps, port = quality_steps(quality, self.task_count), CountingPort(self.entropy.tables)
        latents = IntegerPort(self._coder(port, steps, len(graphs)))
        qualities = self._quality_tensor([steps] * len(graphs))
        result = walk(self.networks, graphs, qualities, latents, _sides(normalised), normalised)
        errors = (result.reconstruction - normalised).square().sum((2, 3, 4)).double().cpu().numpy()
        bits = port.bits.array(len(graphs), self.task_count).sum(1)
        total: NDArray[np.float64] = bits + errors @ self.rates_of_exchange(quality)
        return total

    # --- shared pieces ---------------------------------------------------------------------------------------------

    def _level(self, quality: Quality) -> int:
        steps = quality_steps(quality, self.task_count)
        return min(MAX_QUALITY, int(sum(steps) / len(steps) / QUALITY_STEPS_PER_UNIT + 0.5))

    def _cheap_costs(self, normalised: Tensor, quality: Quality) -> NDArray[np.float64]:
        costs = self.networks.scorer(normalised).double().cpu().numpy() * normalised[0, 0].numel()
        return self._at_quality(costs, self._children, quality)

    def _at_quality(self, levels: NDArray[np.float64], tasks: Sequence[int], quality: Quality) -> NDArray[np.float64]:
        """Values at whole qualities (..., 8, n), each column belonging to one of the `tasks`, taken at that task's own
        quality: (..., n), linear between whole ones."""
        exact = (np.array(quality_steps(quality, self.task_count)) / QUALITY_STEPS_PER_UNIT)[list(tasks)]
        low = np.minimum(exact.astype(np.int64), MAX_QUALITY - 1)
        share = exact - low
        columns = np.arange(levels.shape[-1])
        result: NDArray[np.float64] = levels[..., low, columns] * (1 - share) + levels[..., low + 1, columns] * share
        return result

    def _coder(self, port: CountingPort | WritingPort, steps: Sequence[int], batch: int) -> EntropyCoder:
        return EntropyCoder(self.entropy, port, np.array([steps] * batch, np.int64))

    def _quality_tensor(self, steps: Sequence[Sequence[int]]) -> Tensor:
        """Qualities of each image and task, (B, T), from their steps."""
        return (torch.tensor(steps, dtype=torch.float64) / QUALITY_STEPS_PER_UNIT).float().to(self.device)

    def normalise(self, features: Tensor) -> Tensor:
        """Raw features (B, T, C, h, w) to zero mean and unit deviation, padded by repetition to multiples of 4.

        Raises:
            ArgumentError: a wrong shape, or values that are not finite or beyond :data:`LARGEST_DEVIATIONS`.
        """
        expected = (self.task_count, self.config.feature_channels)
        given: Any = features
        if not isinstance(given, Tensor):
            raise ArgumentError("features", type(given).__name__, "a tensor; arrays are taken by name, see `encode`")
        if features.ndim != 5 or features.shape[1:3] != expected or 0 in features.shape:
            raise ArgumentError(
                "features", f"shape {tuple(features.shape)}", f"(images, {expected[0]}, {expected[1]}, height, width)"
            )
        shape = (features.shape[3], features.shape[4])
        features = features.detach().to(self.device, torch.float32)
        normalised = (features - self.mean[:, :, None, None]) / self.deviation[:, :, None, None]
        extremes = _extremes(normalised)
        beyond = np.argwhere(~(extremes <= LARGEST_DEVIATIONS))  # in this form true of NaN
        if len(beyond):
            task, channel = beyond[0].tolist()
            finite = math.isfinite(extremes[task, channel])
            raise ArgumentError(
                f"features of {self.task_names[task]}, channel {channel}",
                f"a value {extremes[task, channel]:.3g} standard deviations from the mean" if finite
                else "a value that is not finite, or not in single precision",
                f"finite numbers within {LARGEST_DEVIATIONS:g} standard deviations",
            )  # fmt: skip
        rows, columns = padded(shape)
        flat = normalised.flatten(1, 2)
        flat = F.pad(flat, (0, columns - shape[1], 0, rows - shape[0]), mode="replicate")
        return flat.reshape(*features.shape[:3], rows, columns)

    def _restore(self, normalised: Tensor, shape: tuple[int, int]) -> Tensor:
        cropped = normalised[..., : shape[0], : shape[1]]
        return cropped * self.deviation[:, :, None, None] + self.mean[:, :, None, None]


def _float_tensor(value: Any, where: str) -> Tensor:
    """A tensor or an array of any floating-point type, byte order and layout in memory as a tensor of floats."""
    if not isinstance(value, Tensor):
        try:
            array = np.asarray(value)
        except (TypeError, ValueError, RuntimeError) as error:
            raise ArgumentError(
                where, f"{type(value).__name__} ({error})", "a tensor or an array of numbers"
            ) from error
        if array.dtype.kind != "f":
            raise ArgumentError(where, f"{type(value).__name__} of {array.dtype}", "floating-point numbers")
        with np.errstate(over="ignore"):  # what is infinite then is refused as such
            return torch.from_numpy(np.array(array, np.float32, order="C"))
    if not value.is_floating_point() or value.layout != torch.strided or value.is_quantized:
        raise ArgumentError(where, f"{value.dtype}, {value.layout}", "a dense tensor of floating-point numbers")
    return value.detach().float()


def _extremes(normalised: Tensor) -> NDArray[np.float64]:
    """How far from the mean the values of each task and channel lie at most, (T, C), of features (B, T, C, h, w)."""
    extremes: NDArray[np.float64] = normalised.abs().amax((0, 3, 4)).cpu().double().numpy()
    return extremes


def _frames_of_the_package() -> int:
    """How many frames up the caller's program begins, so that a warning names its line."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").split(".")[0] in _NOT_THE_CALLERS:
        level, frame = level + 1, frame.f_back
    return level


_NOT_THE_CALLERS = ("atdc", "contextlib", "torch")  # decorators are of the latter two


def _sides(features: Tensor) -> tuple[int, int]:
    return features.shape[-2], features.shape[-1]
