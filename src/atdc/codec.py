"""Features to bytes and back: the codec itself, which knows a set of feature tensors and nothing of images."""

from __future__ import annotations

import dataclasses
import importlib
import math
import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from atdc.balance import at_steps, balance_path, balanced_qualities, measured_utilities
from atdc.bitstream.container import PIXEL_LIMIT, Container, Header, Segment, graph_code, pack
from atdc.bitstream.layout import PLAIN_PROFILES
from atdc.bitstream.sources import FileLike, opened
from atdc.bitstream.symbols import SymbolWriter
from atdc.choice.budget import best_within
from atdc.choice.costs import CostModel
from atdc.choice.graphs import cheapest_of_several, choose
from atdc.choice.ordered import choose_ordered
from atdc.coding.latent_coders import IntegerLatentCoder, KnownLatentCoder
from atdc.coding.traversal import StepwiseDecoder, code_along_graph, quality_tensor
from atdc.config import QUALITY_STEPS_PER_UNIT, ModelConfig, Quality, quality_steps, require_one_of
from atdc.entropy.coder import EntropyCoder
from atdc.entropy.integer import Integers
from atdc.entropy.model import EntropyModel
from atdc.errors import ArgumentError, WeightsError, caller_level
from atdc.features import Features, FeatureScaling, by_index, require_grids, warn_of_extremes
from atdc.graph.graph_tables import GraphTables
from atdc.graph.scores import candidate_sets
from atdc.graph.search import parse_setting
from atdc.graph.task_graph import TaskGraph
from atdc.networks.batches import FeatureBatch, by_tensor
from atdc.networks.codec_networks import CodecNetworks
from atdc.networks.devices import open_device, torch_defaults
from atdc.reader import Arrivals, CodedFile, DecodedIntegers, IntegerReader, combined_check
from atdc.stored_networks import built, stored_arrays
from atdc.weights import (
    ENTROPY_PREFIX,
    OLDER_FORMAT,
    WEIGHTS_FORMAT,
    WeightsFile,
    fingerprint_of,
    open_weights,
    weights_bytes,
    weights_of,
    write_weights,
)

DEFAULT_GRAPH = "codebook"
"""The search setting used when none is named."""

_CODEC_PREFIX, _FEATURE_PREFIX = "codec.", "feature."
T = TypeVar("T")
Effort = Literal["normal", "high"]
Profile = Literal["compact", "segments"]

EFFORTS: tuple[Effort, ...] = ("normal", "high")


@dataclass(frozen=True, slots=True)
class EncodedBatch:
    """A coded batch.

    Attributes:
        data: one file per image.
        graphs: the graph each image was coded along.
        ideal_bits: −Σ log₂ of the probabilities the range coder was given, (B, T).
        reconstruction: what a decoder gets, by tensor (B, C, h, w), in the features' own units; only a prediction for
            tensors without children, where not all was to be restored.
    """

    data: list[bytes]
    graphs: list[TaskGraph]
    ideal_bits: NDArray[np.float64]
    reconstruction: list[Tensor]

    @property
    def stacked(self) -> Tensor:
        """The reconstruction (B, T, C, h, w) of tensors that are alike."""
        return torch.stack(self.reconstruction, 1)


def profile_for(profile: Profile | None, first: Sequence[str]) -> Profile:
    """The profile that is meant where none is named: `segments` where some tensors come first.

    >>> profile_for(None, []), profile_for(None, ["normal"])
    ('compact', 'segments')
    """
    if profile is not None:
        return profile
    return "segments" if first else "compact"


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
    """Codes a set of feature tensors along a graph of what is predicted from what.

    Args:
        networks: predictor, transforms and rate estimator; switched to evaluation.
        entropy: the integers that decide every probability.
        mean: of each tensor's channels, (C,); features are normalised to ``(z − mean) / std``.
        std: likewise.
        graph_tables: graphs and rates kept with the weights.
        fingerprint: four bytes that name the weights; a file names them, other weights refuse it.
        card: how the codec was made, plain values.

    Attributes:
        path: of the weights file it was loaded from.
        of_older_format: that file is in a format that is read, but not written.
    """

    path: Path | None = None

    def __init__(
        self,
        networks: CodecNetworks,
        entropy: EntropyModel,
        mean: Sequence[Tensor] | Tensor,
        std: Sequence[Tensor] | Tensor,
        graph_tables: GraphTables,
        fingerprint: bytes = bytes(4),
        card: Mapping[str, Any] | None = None,
    ) -> None:
        self.networks = networks.eval().requires_grad_(False)
        self.entropy = entropy
        self.tensors = networks.tensors
        self.task_names = self.tensors.names
        self.task_count = len(self.tensors)
        self.scaling = FeatureScaling(self.tensors, mean, std)
        self.graph_tables = graph_tables
        self.fingerprint = fingerprint
        self.card = dict(card or {})
        self.of_older_format = False
        self._stored_settings: Mapping[str, Any] | None = None
        self.pairs = candidate_sets(self.task_count, networks.config.max_parents)

    @property
    def mean(self) -> list[Tensor]:
        """Of each tensor's channels, (C,)."""
        return self.scaling.mean

    @property
    def std(self) -> list[Tensor]:
        """Likewise."""
        return self.scaling.std

    @property
    def config(self) -> ModelConfig:
        """The architecture."""
        return self.networks.config

    @property
    def integers(self) -> IntegerReader:
        """The half of the decoder that needs no network."""
        return IntegerReader(self.entropy, self.graph_tables.listed, self.tensors, self.fingerprint)

    # --- weights ---------------------------------------------------------------------------------------------------

    def save(self, path: str | Path, card: Mapping[str, Any] | None = None) -> None:
        """Writes a weights file: convolutions in half precision, whatever decides bits in integers.

        Args:
            path: of the file, which is written whole or not at all.
            card: how the codec was made, plain values; by default its own. Another one gives the file another
                fingerprint than this codec's, whose files it then cannot read; so have weights that had task networks
                beside the codec, and those of an older format, of which a :class:`UserWarning` tells.

        Raises:
            OutputError: the file or its folder cannot be written.
        """
        data = self.to_bytes(self.card if card is None else card)
        write_weights(Path(path), data)
        warn_of_older_format(path, self, data)
        if self.path is None and fingerprint_of(data) == self.fingerprint:
            self.path = Path(path)

    def to_bytes(self, card: Mapping[str, Any], others: Mapping[str, NDArray[Any]] | None = None) -> bytes:
        """The weights file's content; `others` are arrays to be kept in it next to the codec's own."""
        arrays = {f"{_CODEC_PREFIX}{key}": value for key, value in stored_arrays(self.networks).items()}
        arrays |= {ENTROPY_PREFIX + key: value for key, value in self.entropy.to_arrays().items()}
        for index, (mean, std) in enumerate(zip(self.mean, self.std, strict=True)):
            arrays[f"{_FEATURE_PREFIX}{index}.mean"] = mean.cpu().numpy()
            arrays[f"{_FEATURE_PREFIX}{index}.deviation"] = std.cpu().numpy()
        settings = self._stored_settings or dataclasses.asdict(self.config)
        return weights_bytes(settings, self.tensors, self.graph_tables, card, {**arrays, **(others or {})})

    @classmethod
    @torch_defaults()
    def load(cls, name: str | Path) -> FeatureCodec:
        """The codec in a weights file, or in shipped weights by name; task networks in it are left aside.

        Raises:
            WeightsError: no such weights, or a damaged or foreign file.

        >>> FeatureCodec.load("small").tensors[0].name
        'segment_semantic'
        """
        return cls.of_weights(open_weights(name), None)

    @classmethod
    def of_bytes(cls, data: bytes) -> FeatureCodec:
        """The codec in a weights file's content: what it is after it was saved and loaded.

        Raises:
            WeightsError: a damaged or foreign content.
        """
        codec = cls.of_weights(weights_of(Path("weights"), data), None)
        codec.path = None
        return codec

    @staticmethod
    def fit(dataset: Any, **settings: Any) -> FeatureCodec:
        """Trains a codec for any features.

        Args:
            dataset: a folder or file of ``.npz`` or ``.safetensors`` features, see :mod:`atdc.data.dumped`; samples in
                memory, each a mapping of tensors (C, h, w) by name; or any
                :class:`~atdc.data.feature_source.FeatureSource`. Samples may lack tensors; two at least have all.
            **settings: ``recipe``, the name of a shipped recipe (``fit``, ``fit_small``), a YAML file or a
                :class:`~atdc.config.FitRecipe`; ``objective``, what decoded features are for, see
                :class:`~atdc.training.objectives.Objective` (squared error of normalised features alone if None), and
                ``val_objective``, the same of validation samples; ``val``, validation samples (by default a tenth of
                the dataset); ``grids``, by name what a tensor's grid follows from, where it is not the same in all
                samples, see :mod:`atdc.tensors`; ``start``, a codec that is trained further, or if the dataset has
                further tensors, to which these are added while all else stays as it is; ``run``, a folder for
                checkpoints, logs and TensorBoard's events, from which a stopped call resumes; ``device``, where
                networks are trained (an objective's own must be there, too); ``progress=False``, no bars and no figures
                of epochs.

        Returns:
            The codec, as it is after saving and loading.

        Raises:
            ArgumentError: a setting that is not usable.
            DataError: features that are damaged, not finite, too few, or of unequal channels.

        Features of which little may be expected are fitted with a :class:`~atdc.errors.FitWarning`.
        """
        # Training is a later room than the codec; only this door leads there.
        return importlib.import_module("atdc.training.fit").fit(dataset, **settings)

    @classmethod
    def of_weights(cls, file: WeightsFile, others: tuple[str, ...] | None) -> FeatureCodec:
        """The codec in an opened weights file.

        Args:
            file: the weights.
            others: prefixes of what else may be in it; anything if None.

        Raises:
            WeightsError: what is there is not what is meant.
        """
        if others is not None:
            file.require_prefixes((ENTROPY_PREFIX, _CODEC_PREFIX, _FEATURE_PREFIX, *others))
        integers = file.integers()
        file.require_agreement(integers.model)
        networks = built(lambda: CodecNetworks(file.config, file.tensors), file, _CODEC_PREFIX)
        mean, std = (_statistics(file, kind) for kind in ("mean", "deviation"))
        for spec, row in zip(file.tensors.tensors, std, strict=True):
            if bool((row <= 0).any()):
                where = f"{file.path}, standard deviation of {spec.name}"
                raise WeightsError(where, "a value of 0 or less", "positive numbers", "Get the weights again.")
        codec = cls(networks, integers.model, mean, std, file.graph_tables, file.fingerprint, file.header.get("card"))
        codec.path = file.path
        codec.of_older_format = file.header["format"] != WEIGHTS_FORMAT
        if not codec.of_older_format:  # written again as they were, so that the fingerprint stays
            codec._stored_settings = file.header["model"]
        return codec

    # --- qualities -------------------------------------------------------------------------------------------------

    def balanced(self, quality: float, wanted: Sequence[str] | None = None) -> dict[str, float]:
        """The quality of each tensor that stands for one of all: the same mean utility, or agreement, in fewer bytes.

        Measured for these weights and kept next to them (:mod:`atdc.balance`); to be given to :meth:`encode`.

        Args:
            quality: of all, 0 to 7.
            wanted: the tensors whose answers count; all by default.

        Raises:
            ArgumentError: no quality from 0 to 7, or an unknown tensor.
            WeightsError: none was measured for these weights.

        >>> codec = FeatureCodec.load("pypi-4")
        >>> sorted(codec.balanced(4)) == sorted(codec.task_names)
        True
        """
        if self.path is None:
            raise WeightsError(
                "model", "weights in memory", "a weights file with a balance next to it", "Save and load it first."
            )
        if wanted is not None:
            self.tensors.wanted(wanted)
        return balanced_qualities(self.path, self.fingerprint, self.task_names, quality, wanted)

    def utilities(self) -> list[tuple[tuple[int, ...], NDArray[np.float64]]]:
        """What integer qualities are worth, as `max_bytes` counts: of tensors that get one quality, their indices, and
        the utility, (8,).

        It is the utility, or agreement of answers, that was measured for these weights and is kept next to them
        (:mod:`atdc.balance`); of other tensors 1 less the mean squared error of normalised features, as measured when
        the codec was made.

        Raises:
            WeightsError: a damaged measurement, or one of other weights.

        >>> [places for places, _ in FeatureCodec.load("pypi-4").utilities()]
        [(1,), (2, 3, 4, 5), (0,)]
        """
        measured: list[tuple[tuple[int, ...], NDArray[np.float64]]] = []
        if self.path is not None and balance_path(self.path).exists():
            rows = measured_utilities(self.path, self.fingerprint, self.task_names)
            measured = [(tuple(self.tensors.indices(names, "balance")), row) for names, row in rows]
        others = set(range(self.task_count)).difference(*(places for places, _ in measured))
        return measured + [((place,), 1 - self.graph_tables.distortion[:, place]) for place in sorted(others)]

    def qualities(self, quality: Quality | Mapping[str, float]) -> Quality:
        """One number, or one per tensor from a mapping, 4 where it says nothing; raises :class:`ArgumentError` on an
        unknown tensor."""
        if not isinstance(quality, Mapping):
            return quality
        self.tensors.indices(list(quality), "quality")
        return [quality.get(name, 4.0) for name in self.task_names]

    # --- one image -------------------------------------------------------------------------------------------------

    @torch_defaults()
    def encode(
        self,
        features: Mapping[str, Tensor | NDArray[np.floating]],
        quality: Quality | Mapping[str, float] | None = None,
        graph: str | TaskGraph = DEFAULT_GRAPH,
        effort: Effort = "normal",
        profile: Profile | None = None,
        wanted: Sequence[str] | None = None,
        *,
        first: Sequence[str] = (),
        max_bytes: int | None = None,
        weights: Mapping[str, float] | None = None,
    ) -> bytes:
        """Codes one set of features to one file.

        Args:
            features: name to tensor or array (C, h, w) of any floating-point type, all tensors of the model or some.
            quality: 0 to 7, rounded to the nearest multiple of 1/8; one for all tensors, one per tensor in
                their order, or by name (:meth:`balanced`); 4 by default.
            graph: a search setting's name, or a graph.
            effort: `high` codes several graphs, the fixed one among them, and keeps the one of least cost.
            profile: `compact`, the default, takes the fewest bytes; `segments` lets a reader fetch single tasks.
            wanted: the tensors that the file is for; all given ones by default. Of the others those are sent that help
                to predict them and pay (see :meth:`helpers`); none where `first` says an order.
            first: tensors that are predicted from each other alone and stand at the file's beginning: who stops reading
                after them has them, for little more than a file of them alone takes. It makes the profile `segments`.
            max_bytes: instead of a quality: the file takes no more, and its qualities are the best that were found for
                that. What they are worth says :meth:`utilities`.
            weights: with `max_bytes`, how much each of the wanted tensors counts; 1 where nothing is said.

        Raises:
            ArgumentError: unknown names or none, features of a wanted tensor that are not given, a wrong
                shape, values that are not finite or beyond :data:`~atdc.features.LARGEST_DEVIATIONS`, an unknown
                setting; a weight of a tensor that is not wanted; a `max_bytes` next to a quality, or below what
                quality 0 takes, which is named.

        Values beyond :data:`~atdc.features.EXTREME_DEVIATIONS` are coded, with a :class:`~atdc.errors.FeatureWarning`.
        """
        parts = [None if part is None else part[None] for part in by_index(self.tensors, features, self.device)]
        qualities = None if quality is None else self.qualities(quality)
        return self.encode_one(
            parts, qualities, max_bytes, weights, graph=given_graphs(graph),
            effort=effort, profile=profile_for(profile, first), first=self.first_indices(first),
            wanted=None if wanted is None else self.tensors.wanted(wanted, "wanted"),
        )  # fmt: skip

    def encode_one(
        self, parts: Features, quality: Quality | None, max_bytes: int | None, weights: Mapping[str, float] | None,
        wanted: Sequence[int] | None = None, **settings: Any,
    ) -> bytes:  # fmt: skip
        """One sample's file, of some quality or within some bytes; raises as :meth:`encode`.

        Args:
            parts: features as :meth:`encode_batch` takes them.
            quality: see :meth:`encode`.
            max_bytes: likewise.
            weights: likewise.
            wanted: indices of the tensors that the file is for; all given ones by default.
            settings: of :meth:`encode_batch`.
        """
        settings["wanted"] = wanted
        if max_bytes is None:
            if weights is not None:
                raise ArgumentError("weights", "without max_bytes", "max_bytes, within which they count")
            return self.encode_batch(parts, 4 if quality is None else quality, restore_all=False, **settings).data[0]
        if quality is not None:
            raise ArgumentError("max_bytes", f"{max_bytes} and the quality {quality}", "one of them")
        limit: Any = max_bytes
        if isinstance(limit, bool) or not isinstance(limit, Integral) or limit < 1:
            raise ArgumentError("max_bytes", repr(max_bytes), "a number of bytes, 1 or more")
        available = [place for place, part in enumerate(by_tensor(parts)) if part is not None]
        present = available if wanted is None else sorted(wanted)
        rows = self._weights(weights, present)
        if wanted is not None:
            for name in weights or ():
                if self.task_names.index(name) not in present:
                    expected = f"one of the wanted: {', '.join(self.task_names[place] for place in present)}"
                    raise ArgumentError("weights", repr(name), expected)

        shares = [([place for place in places if place in present], row) for places, row in self.utilities()]
        groups = [(places, row) for places, row in shares if places]

        def coded(steps: tuple[int, ...]) -> tuple[bytes, Sequence[float]]:
            # Tensors that are not there have the mean quality, so that the level of the file is that of the others.
            every = np.full(self.task_count, round(float(np.mean(steps))))
            for step, (places, _) in zip(steps, groups, strict=True):
                every[places] = step
            encoded = self.encode_batch(parts, (every / QUALITY_STEPS_PER_UNIT).tolist(), restore_all=False, **settings)
            return encoded.data[0], [float(encoded.ideal_bits[0, places].sum()) for places, _ in groups]

        rising = np.maximum.accumulate(at_steps(np.stack([row for _, row in groups], 1)), 0)
        counts = [float(np.mean([rows[present.index(place)] for place in places])) for places, _ in groups]
        return best_within(max_bytes, rising, counts, coded)

    def _weights(self, weights: Mapping[str, float] | None, present: Sequence[int]) -> list[float]:
        """How much each tensor of a file counts."""
        if not isinstance(weights, Mapping | None):
            raise ArgumentError("weights", type(weights).__name__, f"a mapping of {', '.join(self.task_names)}")
        by_name = dict(weights or {})
        if by_name:
            self.tensors.indices(list(by_name), "weights")
        for name, value in by_name.items():
            number: Any = value
            if not isinstance(number, Real) or not 0 <= float(number) < math.inf:
                raise ArgumentError(f"weight of {name}", repr(value), "a number, 0 or more")
        rows = [float(by_name.get(self.task_names[place], 1)) for place in present]
        if not any(rows):
            raise ArgumentError("weights", "0 for all", "one at least that counts")
        return rows

    def first_indices(self, first: Sequence[str]) -> list[int]:
        """Indices of the tensors that are to come first; raises :class:`ArgumentError` that lists the known ones."""
        return self.tensors.indices(first, "first")

    @torch_defaults()
    def decode(
        self,
        data: FileLike,
        tasks: Sequence[str] | None = None,
        *,
        pixel_limit: int = PIXEL_LIMIT,
        position_limit: int | None = None,
    ) -> dict[str, Tensor]:
        """Features (C, h, w) by task name, of the named tasks or of all.

        Args:
            data: the file: its bytes, a path, a file object, or a source that can be read by range.
            tasks: which; by default all that the file holds.
            pixel_limit: refuse those of larger images.
            position_limit: refuse bare features of more positions, height times width, taken together where a file
                has more than one grid.

        Raises:
            BitstreamError: the bytes are not a file of this model, or are damaged.
            ArgumentError: an unknown task, or one that the file does not hold.
        """
        with opened(data) as source:
            wanted = None if tasks is None else self.task_indices(tasks)
            file = self.integers.read(source, wanted, pixel_limit=pixel_limit, position_limit=position_limit)
        tensors = file.present if wanted is None else wanted
        decoded = self.restore([file], tensors)
        return {self.task_names[task]: decoded[task][0] for task in tensors}

    def decode_progressive(
        self,
        data: FileLike,
        tasks: Sequence[str] | None = None,
        *,
        pixel_limit: int = PIXEL_LIMIT,
        position_limit: int | None = None,
    ) -> Arrivals[Tensor]:
        """Features (C, h, w) with their names, one after the other, each as soon as its bytes are there.

        They come parents first; of a file of version 2, in coding order. Each is checked before it is given. A file of
        profile ``compact`` cannot be decoded in parts: all its features come once it is whole.

        Args:
            data: the file; a file object may be a pipe that is still written to, of which no more is taken than is
                needed for the next tensor. Of whatever can be read by range, only what is needed is read.
            tasks: which; by default all that the file holds.
            pixel_limit: see :meth:`decode`.
            position_limit: see :meth:`decode`.

        Raises:
            BitstreamError: not a file of this model, or its head is damaged.
            ArgumentError: an unknown task, or one that the file does not hold.
            IncompleteFileError: from the iteration, once all that is whole was given: what has not come or is damaged.

        >>> codec = FeatureCodec.load("small")
        >>> features = {name: np.zeros((32, 4, 4), np.float32) for name in codec.task_names}
        >>> data = codec.encode(features, profile="segments")
        >>> sorted(name for name, value in codec.decode_progressive(data)) == sorted(codec.task_names)
        True
        """
        return self.arrivals(
            data, tasks, lambda file: lambda task, value: value, pixel_limit=pixel_limit, position_limit=position_limit
        )

    def arrivals(
        self,
        data: FileLike,
        tasks: Sequence[str] | None,
        presented: Callable[[CodedFile], Callable[[int, Tensor], T]],
        **limits: Any,
    ) -> Arrivals[T]:
        """What :meth:`decode_progressive` gives, with something else made of the features (C, h, w) of each task."""

        @torch_defaults()
        def converted(file: CodedFile) -> Callable[[int, Integers], T]:
            steps = [0] * self.task_count
            for task, step in zip(file.header.present, file.header.qualities, strict=True):
                steps[task] = step
            quality = quality_tensor([steps], self.device)
            decoder = StepwiseDecoder(self.networks, file.graph, quality, file.grids)
            present = presented(file)

            @torch_defaults()
            @torch.no_grad()
            def features(task: int, latent: Integers) -> T:
                value = decoder.restore(task, KnownLatentCoder({task: latent}))
                return present(task, self.scaling.raw(value, task, file.grids[task])[0])

            return features

        wanted = None if tasks is None else self.task_indices(tasks)
        return Arrivals(self.integers, data, wanted, converted, **limits)

    def task_indices(self, tasks: Sequence[str] | None) -> list[int]:
        """Indices of named tasks; raises :class:`ArgumentError` that lists the known ones."""
        return self.tensors.indices(tasks)

    def elements_of(self, height: int, width: int) -> int:
        """Numbers in the features of an image of that size, ``Σ C·h·w``, of tensors whose grids follow from it."""
        grids = self.tensors.grids_of_image(height, width)
        rows = zip(self.tensors.tensors, grids, strict=True)
        return sum(spec.channels * grid[0] * grid[1] for spec, grid in rows if grid is not None)

    @property
    def device(self) -> torch.device:
        """Where the networks run, and where features come back."""
        return self.scaling.device

    def to(self, device: str | torch.device) -> FeatureCodec:
        """Moves the networks to another device, itself, and returns itself; files stay the same but for what rounding
        makes of the encoder's latents, and any device decodes them to the same integers.

        Raises:
            ArgumentError: no such device here.
        """
        device = open_device(device)
        self.networks.to(device)
        self.scaling = self.scaling.on(device)
        return self

    # --- batches ---------------------------------------------------------------------------------------------------

    @torch_defaults()
    @torch.no_grad()
    def encode_batch(
        self,
        features: Features,
        quality: Quality,
        graph: str | Sequence[TaskGraph] = DEFAULT_GRAPH,
        effort: Effort = "normal",
        sizes: Sequence[tuple[int, int]] | None = None,
        profile: Profile = "compact",
        restore_all: bool = True,
        first: Sequence[int] = (),
        wanted: Sequence[int] | None = None,
    ) -> EncodedBatch:
        """Codes the features of several images, each image to a file of its own.

        Args:
            features: raw features, finite: by tensor (B, C, h, w), or stacked (B, T, C, h, w) where all are alike.
            quality: for all images, one number or one per tensor.
            graph: a search setting's name, or one graph per image.
            effort: see :meth:`encode`.
            sizes: (height, width) of the images the features come from, kept in the file; none for bare features.
            profile: see :meth:`encode`.
            restore_all: False where the bytes are all that is wanted, which saves time.
            first: tensors that come first, by index; see :meth:`encode`. The profile is then `segments`.
            wanted: indices of the tensors that files are for; all given ones by default. Others are sent where they
                help.
        """
        require_one_of("effort", effort, EFFORTS)
        require_one_of("profile", profile, PLAIN_PROFILES)
        self._require_places("first", first)
        if wanted is not None:
            self._require_places("wanted", wanted)
            if not len(wanted):
                raise ArgumentError("wanted", "no tensor", "one at least")
            quality = self._with_helpers_qualities(quality, wanted)
            features = self._needed_alone(features, quality, graph, wanted, has_helpers=not first)
        steps = quality_steps(quality, self.task_count)
        normalised = self.normalise(features)
        count, grids = len(normalised), normalised.grids
        targets = normalised.available if wanted is None else tuple(sorted(wanted))
        argument: Any = graph  # of one image, it is easily given without its list
        if isinstance(argument, TaskGraph) or (not isinstance(argument, str) and len(argument) != count):
            raise ArgumentError("graph", repr(graph), f"a setting's name, or {count} graphs, one per image")
        if sizes is not None and len(sizes) != count:
            raise ArgumentError("sizes", f"{len(sizes)} of them", f"{count}, one per image")
        for size in [None] if sizes is None else sizes:
            require_grids(self.tensors, normalised, size)
        warn_of_extremes(self.tensors, normalised)
        head = self._head(first, targets, profile)
        if isinstance(graph, str) and head:
            graphs = choose_ordered(self.costs, normalised.only(targets), quality, graph, head, effort)
        else:
            graphs = choose(self.costs, normalised, quality, graph, targets) if isinstance(graph, str) else list(graph)
            self._require_graphs(graphs, count)
            graphs = [graph.within(normalised.available) for graph in graphs]
            if not all(graph.is_closed(head) for graph in graphs):
                problem = "a graph in which one of them is predicted from another tensor"
                raise ArgumentError("first", problem, "tensors that are predicted from each other alone")
            if effort == "high" and not head:
                graphs = cheapest_of_several(self.costs, normalised, quality, graphs, targets)
        qualities = quality_tensor([steps] * count, self.device)
        writer = SymbolWriter(self.entropy.tables, count, self.task_count, together=profile == "compact")
        coder = EntropyCoder(self.entropy, writer, np.array([steps] * count, np.int64), grids)
        result = code_along_graph(
            self.networks, graphs, qualities, IntegerLatentCoder(coder), grids, normalised.parts, targets,
            restore_all=restore_all,
        )  # fmt: skip
        data = []
        for image, segments in enumerate(writer.finish()):
            present = tuple(sorted(graphs[image].closure(targets)))
            size = None if sizes is None else sizes[image]
            header = self._header(steps, graphs[image], normalised.only(present), size, profile, head)
            checks = [coder.checks[image, task] for task in present]
            if profile == "compact":
                data.append(pack(Container(header, (Segment(segments[0], combined_check(checks)),))))
                continue
            order = [0] * len(present)
            for place, task in zip(header.places(graphs[image].among(present)), present, strict=True):
                order[place] = task
            rows = tuple(Segment(segments[task], coder.checks[image, task]) for task in order)
            data.append(pack(Container(header, rows)))
        bits = writer.bits.array(len(graphs), self.task_count)
        return EncodedBatch(data, graphs, bits, self.scaling.restored(result.reconstruction, grids))

    def helpers(self, wanted: Sequence[str], quality: Quality = 4, graph: str = DEFAULT_GRAPH) -> tuple[str, ...]:
        """Tensors that nobody asked for and that a file of the wanted ones holds: others are predicted from them.

        Weights know them before any network has run; so no network runs but those of the wanted tensors and these.

        Raises:
            ArgumentError: unknown names or none, an unknown setting.

        >>> FeatureCodec.load("small").helpers(["normal"])  # weights without graphs of wanted sets have no helpers
        ()
        """
        places = self.tensors.wanted(wanted, "wanted")
        parse_setting(graph)
        return tuple(self.task_names[place] for place in self.needed(places, quality, graph) if place not in places)

    def needed(
        self,
        wanted: Sequence[int],
        quality: Quality = 4,
        graph: str | Sequence[TaskGraph] = DEFAULT_GRAPH,
        available: Collection[int] | None = None,
    ) -> list[int]:
        """Indices of the wanted tensors and of their helpers, ascending: all that a file of them holds.

        Args:
            wanted: indices.
            quality: of all tasks, or of each.
            graph: a search setting's name, or graphs; the default setting alone has helpers.
            available: tensors that may help; all by default.
        """
        places = tuple(sorted(wanted))
        graph_tables = self.graph_tables.wanted
        if graph != DEFAULT_GRAPH or graph_tables is None or len(places) == self.task_count:
            return list(places)
        steps = quality_steps(self._with_helpers_qualities(quality, places), self.task_count)
        everything = range(self.task_count) if available is None else {*available, *places}
        return sorted(graph_tables.graph(places, steps, everything).closure(places))

    def _with_helpers_qualities(self, quality: Quality, wanted: Sequence[int]) -> list[float]:
        """Qualities in which tensors that nobody asked for have the mean quality of those wanted."""
        steps = quality_steps(quality, self.task_count)
        mean = round(sum(steps[place] for place in wanted) / len(wanted))
        return [(step if place in wanted else mean) / QUALITY_STEPS_PER_UNIT for place, step in enumerate(steps)]

    def _needed_alone(
        self, features: Features, quality: Quality, graph: str | Sequence[TaskGraph], wanted: Sequence[int],
        has_helpers: bool,
    ) -> Features:  # fmt: skip
        """Features of the wanted tensors and, if any may, of those that help them; None for all others."""
        parts = by_tensor(features)
        available = [place for place, part in enumerate(parts) if part is not None]
        for place in wanted:
            if place not in available:
                expected = f"all that are wanted; given: {', '.join(self.task_names[other] for other in available)}"
                raise ArgumentError(f"features of {self.task_names[place]}", "none", expected)
        needed = self.needed(wanted, quality, graph, available) if has_helpers else wanted
        return [part if place in needed else None for place, part in enumerate(parts)]

    def _header(
        self, steps: tuple[int, ...], graph: TaskGraph, batch: FeatureBatch, size: tuple[int, int] | None,
        profile: Profile, first: tuple[int, ...],
    ) -> Header:  # fmt: skip
        """Of version 1 where that can say the same."""
        present = batch.available
        grids = [
            batch.grids[place] for place in present
            if self.tensors[place].grid is None or (size is None and isinstance(self.tensors[place].grid, int))
        ]  # fmt: skip
        whole = len(present) == self.task_count
        height, width = (0, 0) if size is None else size
        if size is None and whole and not first and len(grids) == self.task_count and len(set(grids)) == 1:
            (height, width), grids = grids[0], []
        sent = graph.among(present)
        return Header(
            fingerprint=self.fingerprint, kind="features" if size is None else "image",
            profile="ordered" if first else profile, first=first, height=height, width=width,
            qualities=tuple(steps[place] for place in present),
            graph=graph_code(sent, self.graph_tables.listed) if whole else sent,
            tensor_count=self.task_count, present=present, grids=tuple(grids),
        )  # fmt: skip

    def decode_batch(self, data: Sequence[bytes]) -> Tensor:
        """Features (B, T, C, h, w) of files of one size, where all tensors are alike."""
        return torch.stack(self.restore([self.integers.read(item) for item in data]), 1)

    @torch_defaults()
    @torch.no_grad()
    def restore(self, files: Sequence[DecodedIntegers], wanted: Sequence[int] | None = None) -> list[Tensor]:
        """Decoded integers of files of one size to raw features, by tensor (B, C, h, w); zeros for those not wanted."""
        sizes = {file.grids for file in files}
        if len(sizes) != 1:
            problem = f"features of {len(sizes)} sizes" if sizes else "none"
            raise ArgumentError("files", problem, "at least one file, all of one size", "Decode them one by one.")
        (grids,) = sizes
        tensor_sets = {file.present for file in files}
        if len(tensor_sets) != 1:
            raise ArgumentError("files", "different tensors", "files of the same tensors", "Decode them one by one.")
        wanted = tensor_sets.pop() if wanted is None else wanted
        latents = {
            task: np.concatenate([file.latents[task] for file in files])
            for task in range(self.task_count)
            if all(task in file.latents for file in files)
        }
        steps = np.zeros((len(files), self.task_count), np.int64)
        for row, file in zip(steps, files, strict=True):
            row[list(file.present)] = file.header.qualities
        qualities = quality_tensor(steps.tolist(), self.device)
        result = code_along_graph(
            self.networks, [file.graph for file in files], qualities, KnownLatentCoder(latents), grids, wanted=wanted
        )
        return self.scaling.restored(result.reconstruction, grids)

    def _require_places(self, where: str, places: Sequence[int]) -> None:
        for place in places:
            index: Any = place
            if not isinstance(index, Integral) or not 0 <= int(index) < self.task_count:
                raise ArgumentError(where, repr(place), f"indices of tensors, from 0 to {self.task_count - 1}")

    def _head(self, first: Sequence[int], present: Sequence[int], profile: Profile) -> tuple[int, ...]:
        """The tensors that come first, ascending; none where they are all, as no order is then left to choose."""
        if first and profile == "compact":
            problem, expected = "tensors that come first, in the profile compact", "the profile segments"
            raise ArgumentError("first", problem, expected)
        for tensor in first:
            if tensor not in present:
                expected = f"what is coded: {', '.join(self.task_names[place] for place in present)}"
                raise ArgumentError("first", repr(self.task_names[tensor]), expected)
        return tuple(sorted(set(first))) if set(first) < set(present) else ()

    def _require_graphs(self, graphs: Sequence[TaskGraph], images: int) -> None:
        sizes = [graph.size for graph in graphs]
        if sizes != [self.task_count] * images:
            raise ArgumentError("graph", f"graphs of {sizes} tasks", f"{images} of {self.task_count} tasks")

    # --- graphs ----------------------------------------------------------------------------------------------------

    @property
    def costs(self) -> CostModel:
        """What pairs and graphs cost: estimated, and measured by coding."""
        return CostModel(self.networks, self.entropy, self.graph_tables)

    def normalise(self, features: Features) -> FeatureBatch:
        """Raw features to normalised ones; see :meth:`~atdc.features.FeatureScaling.normalise`."""
        return self.scaling.normalise(features)

    def choose_graphs(self, features: Features, quality: Quality, setting: str) -> list[TaskGraph]:
        """One graph per image of a batch, by a search setting's name.

        `random` draws from a generator seeded by the position in the batch, so that a call repeats itself.
        """
        return choose(self.costs, self.normalise(features), quality, setting)


def warn_of_older_format(path: str | Path, codec: FeatureCodec, data: bytes) -> None:
    """Tells of weights that are saved in a newer format than they were loaded in, if they are."""
    if codec.of_older_format:
        now, before = fingerprint_of(data).hex(), codec.fingerprint.hex()
        warnings.warn(
            f"{path}: found the fingerprint {now} for weights loaded as {before}: neither can read files of the other. "
            "To keep it, copy the weights file instead.",
            UserWarning, stacklevel=caller_level(),
        )  # fmt: skip


def _statistics(file: WeightsFile, kind: str) -> list[Tensor]:
    """Means or standard deviations of each tensor's channels; older files keep them in one array."""
    tensors = file.tensors.tensors
    if file.header["format"] == OLDER_FORMAT:
        shape = (len(tensors), tensors[0].channels)
        statistics = file.floats(_FEATURE_PREFIX, {"mean": shape, "deviation": shape})
        return list(torch.from_numpy(statistics[kind]))
    shapes = {f"{i}.{k}": (spec.channels,) for i, spec in enumerate(tensors) for k in ("mean", "deviation")}
    rows = file.floats(_FEATURE_PREFIX, shapes)
    return [torch.from_numpy(rows[f"{index}.{kind}"]) for index in range(len(tensors))]
