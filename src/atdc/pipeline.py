"""Images to bytes and bytes to answers: task networks around the feature codec, loaded from one weights file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from atdc.bitstream.container import Header
from atdc.bitstream.sources import FileLike, opened
from atdc.codec import (
    DEFAULT_GRAPH,
    Effort,
    FeatureCodec,
    Profile,
    given_graphs,
    profile_for,
    warn_of_older_format,
)
from atdc.config import PIXEL_LIMIT, pixel_limit_of
from atdc.errors import ArgumentError, BitstreamError, WeightsError
from atdc.features import Features
from atdc.graph.task_graph import TaskGraph
from atdc.images import ImageLike, as_rgb
from atdc.inspection import Inspection, inspect
from atdc.networks.devices import torch_defaults
from atdc.networks.task_networks import TaskNetworks
from atdc.networks.tiles import Tile
from atdc.reader import Arrivals, CodedFile
from atdc.stored_networks import built, stored_arrays
from atdc.tasks import TASK_NAMES, TENSOR_NAMES
from atdc.tasks.answers import presented
from atdc.weights import open_weights, write_weights

TILE_PX = 1024
"""Side of the tiles in which larger images are seen: a quarter of a gigabyte at a time."""

TASKS_PREFIX = "tasks."
"""Of the task networks' names in a weights file."""


class Answers(dict[str, NDArray[Any]]):
    """Answers by task name.

    Attributes:
        failed: by task name, why there is no answer: only where damage is skipped.
        bytes_read: how many bytes of the file were read for them.
    """

    def __init__(
        self,
        values: Mapping[str, NDArray[Any]],
        failed: Mapping[str, BitstreamError] | None = None,
        bytes_read: int = 0,
    ) -> None:
        super().__init__(values)
        self.failed = dict(failed or {})
        self.bytes_read = bytes_read


class Codec:
    """The whole main job: an image in, one small file out, six answers back.

    It pickles and copies. A process that is forked from one that has used it in several threads lacks these and would
    wait for them for ever; there :class:`~atdc.errors.ProgramError` is raised instead. Start workers by
    ``multiprocessing.get_context("spawn")``, or call ``torch.set_num_threads(1)``, before or first in each of them.

    Attributes:
        tile_positions: side of the tiles in which larger images are seen, in feature positions.

    >>> codec = load("real")
    >>> photo = np.zeros((40, 60, 3), np.uint8)
    >>> data = codec.encode(photo, quality=4)
    >>> answers = codec.decode(data, tasks=["depth_zbuffer"])
    >>> answers["depth_zbuffer"].shape
    (40, 60)
    """

    def __init__(self, networks: TaskNetworks, feature_codec: FeatureCodec, card: Mapping[str, Any]) -> None:
        self.networks = networks.channels_last().eval().requires_grad_(False)
        self.feature_codec = feature_codec
        self.card = dict(card)
        self.tile_positions = TILE_PX // feature_codec.config.stride

    @property
    def path(self) -> Path | None:
        """Of the weights file it was loaded from."""
        return self.feature_codec.path

    def __repr__(self) -> str:
        """Which weights, and where they are."""
        codec = self.feature_codec
        name = "weights in memory" if self.path is None else str(self.path)
        return (
            f"<atdc.Codec: {name}, fingerprint {codec.fingerprint.hex()}, {codec.task_count} tasks, on {codec.device}>"
        )

    def to(self, device: str | torch.device) -> Codec:
        """Moves all networks to another device, a GPU, say, itself, and returns itself. Integers stay on the CPU: what
        one device encodes, any other decodes to the same integers.

        Raises:
            ArgumentError: no such device here.

        >>> load("small").to("cpu").feature_codec.device
        device(type='cpu')
        """
        self.feature_codec.to(device)
        self.networks.to(self.feature_codec.device)
        return self

    # --- images ----------------------------------------------------------------------------------------------------

    @torch_defaults()
    def encode(
        self,
        image: ImageLike,
        quality: float | Mapping[str, float] | None = None,
        graph: str | TaskGraph = DEFAULT_GRAPH,
        effort: Effort = "normal",
        profile: Profile | None = None,
        *,
        tasks: Sequence[str] | None = None,
        first: Sequence[str] = (),
        max_bytes: int | None = None,
        weights: Mapping[str, float] | None = None,
        pixel_limit: int = PIXEL_LIMIT,
    ) -> bytes:
        """Codes an image's task features into one file.

        Args:
            image: see :func:`~atdc.images.as_rgb`.
            quality: 0 to 7, rounded to the nearest multiple of 1/8, which :meth:`inspect` shows; 4 by default; a
                mapping sets single tasks, the others stay at 4.
            graph: a search setting (``codebook``, ``exact``, ``fixed``, ``independent``, …) or a graph.
            effort: ``high`` codes several graphs and keeps the best.
            profile: ``compact``, the default, takes the fewest bytes; of ``segments`` a reader can fetch single tasks,
                and damage to one leaves the others whole.
            tasks: which answers the file is for; all by default. Only the networks of these tasks run, and those of
                others that help to predict them (:meth:`~atdc.codec.FeatureCodec.helpers`), which are sent, too; with
                `max_bytes` all run, since helpers depend on qualities.
            first: tasks that are predicted from each other alone and stand at the file's beginning: who stops reading
                after them has them. It makes the profile ``segments``.
            max_bytes: instead of a quality: the file takes no more, and its qualities, task by task, are the best that
                were found for that. What they are worth says :meth:`FeatureCodec.utilities`.
            weights: with `max_bytes`, how much each task counts; 1 where nothing is said.
            pixel_limit: refuse larger images; reading the file takes a limit as high.

        Returns:
            The file's bytes. They hold everything a decoder needs but the weights.

        Raises:
            ImageError: the image cannot be read.
            ArgumentError: an unknown task or setting, no task, a weight of one that is not wanted, a quality out of
                range, or fewer bytes than quality 0 takes.

        >>> codec = load("small")
        >>> data = codec.encode(np.zeros((40, 60, 3), np.uint8), tasks=["normal", "depth_zbuffer"])
        >>> list(codec.decode(data))
        ['normal', 'depth_zbuffer']
        """
        feature_codec = self.feature_codec
        wanted = None if tasks is None else feature_codec.tensors.wanted(tasks)
        pixels = _bytes_tensor(image, pixel_limit_of(pixel_limit))
        graphs, qualities = given_graphs(graph), None if quality is None else feature_codec.qualities(quality)
        size = (pixels.shape[2], pixels.shape[3])
        features: Features
        if wanted is None or max_bytes is not None:  # which others help depends on the qualities
            features = self.features_of(pixels)
        else:
            needed = feature_codec.needed(wanted, 4 if qualities is None else qualities, graphs)
            tensors = dict(zip(needed, self.features_of(pixels, needed).unbind(1), strict=True))
            features = [tensors.get(task) for task in range(feature_codec.task_count)]
        return feature_codec.encode_one(
            features, qualities, max_bytes, weights, graph=graphs, effort=effort, sizes=[size],
            profile=profile_for(profile, first), first=feature_codec.first_indices(first), wanted=wanted,
        )  # fmt: skip

    @torch_defaults()
    def decode(
        self,
        data: FileLike,
        tasks: Sequence[str] | None = None,
        *,
        skip_damaged: bool = False,
        pixel_limit: int = PIXEL_LIMIT,
    ) -> Answers:
        """Answers at the image's size, by task name: see :meth:`answers` for their form.

        Args:
            data: the file: a path or a :class:`~atdc.bitstream.sources.Source`, of which only what is needed is read;
                its bytes; or a file object.
            tasks: which answers; by default all that the file holds, those of helpers among them: a file does not say
                which of its tensors were asked for.
            skip_damaged: decode what is whole of a file with segments, and say in ``failed`` what is not.
            pixel_limit: refuse larger images.

        Raises:
            BitstreamError: not an ATDC file, damaged, of another version, or of other weights.
            ArgumentError: an unknown task, or a file that holds bare features.
        """
        codec = self.feature_codec
        named = None if tasks is None else codec.task_indices(tasks)
        with opened(data) as source:
            integers = codec.integers.read(source, named, skip_damaged=skip_damaged, pixel_limit=pixel_limit)
        header = integers.header
        _require_image(header)
        wanted = integers.present if named is None else named
        whole = [task for task in wanted if task not in integers.failed]
        values = self._answers(codec.restore([integers], whole), whole, (header.height, header.width))
        failed = {codec.task_names[task]: integers.failed[task] for task in wanted if task in integers.failed}
        return Answers(values, failed, integers.bytes_read)

    def decode_progressive(
        self, data: FileLike, tasks: Sequence[str] | None = None, *, pixel_limit: int = PIXEL_LIMIT
    ) -> Arrivals[NDArray[Any]]:
        """Answers at the image's size with their tasks' names, one by one, each as soon as its bytes are there.

        They come parents first; of a file of version 2, in coding order. Each is checked before it is given. A file of
        profile ``compact`` cannot be decoded in parts: all its answers come once it is whole.

        Args:
            data: the file; a file object may be a pipe that is still written to, of which no more is taken than is
                needed for the next answer. Of whatever can be read by range, only what is needed is read.
            tasks: which answers; all by default.
            pixel_limit: refuse larger images.

        Raises:
            BitstreamError: not a file of these weights, or its head is damaged.
            ArgumentError: an unknown task, or a file that holds bare features.
            IncompleteFileError: from the iteration, once all that is whole was given: what has not come or is damaged.

        >>> codec = load("small")
        >>> data = codec.encode(np.zeros((40, 60, 3), np.uint8), profile="segments")
        >>> [(name, answer.shape) for name, answer in codec.decode_progressive(data, ["rgb"])]
        [('rgb', (40, 60, 3))]
        """

        def presented(file: CodedFile) -> Callable[[int, Tensor], NDArray[Any]]:
            header = file.header
            _require_image(header)
            size = (header.height, header.width)
            return lambda task, value: self._answers({task: value[None]}, [task], size)[TASK_NAMES[task]]

        return self.feature_codec.arrivals(data, tasks, presented, pixel_limit=pixel_limit)

    def inspect(self, data: FileLike) -> Inspection:
        """Sizes, qualities and graph of a file, and its ideal bits (which take decoding its symbols)."""
        with opened(data) as source:
            return inspect(source, self.feature_codec.integers)

    @torch_defaults()
    def answers(self, image: ImageLike, tasks: Sequence[str] | None = None) -> Answers:
        """Answers from uncompressed features: what a decoder could give at best.

        Returns:
            By task name, at the image's size: ``segment_semantic`` class ids, uint8 (H, W); ``depth_zbuffer`` metres,
            float32 (H, W); ``normal`` unit vectors, float32 (H, W, 3); ``keypoints2d`` and ``edge_texture`` in
            [0, 1], float32 (H, W); ``rgb`` in [0, 1], float32 (H, W, 3).
        """
        pixels = _bytes_tensor(image)
        wanted = self.feature_codec.task_indices(tasks)
        if not wanted:
            return Answers({})
        features = dict(zip(wanted, self.features_of(pixels, wanted).unbind(1), strict=True))
        return Answers(self._answers(features, wanted, (pixels.shape[2], pixels.shape[3])))

    # --- tensors ---------------------------------------------------------------------------------------------------

    @torch_defaults()
    @torch.no_grad()
    def features_of(self, images: Tensor, tasks: Sequence[int] | None = None) -> Tensor:
        """Images of any size to raw features (B, T, C, ⌈H/16⌉, ⌈W/16⌉), of all tasks or of those named by index.

        Images larger than a tile of 1024 × 1024 pixels are seen in such tiles, with the same result but for rounding
        (see :meth:`~atdc.networks.task_networks.TaskNetworks.features_by_tiles`).

        Args:
            images: (B, 3, H, W), bytes or floats in [0, 1].
            tasks: whose networks run; all by default.
        """
        stride = self.feature_codec.config.stride
        rows, columns = -(-images.shape[2] // stride), -(-images.shape[3] // stride)

        def read(top: int, bottom: int, left: int, right: int) -> Tensor:
            """Pixels as floats; beyond the image, the outermost ones again."""
            part = images[:, :, top:bottom, left:right].to(self.feature_codec.device)
            part = part.float() / 255 if part.dtype == torch.uint8 else part
            beyond = (0, right - left - part.shape[3], 0, bottom - top - part.shape[2])
            return F.pad(part, beyond, mode="replicate")

        if max(rows, columns) <= self.tile_positions:
            return self.networks.features(read(0, rows * stride, 0, columns * stride), tasks)

        def read_tile(tile: Tile) -> Tensor:
            down, across = tile.outer_rows, tile.outer_columns
            return read(down.start * stride, down.stop * stride, across.start * stride, across.stop * stride)

        return self.networks.features_by_tiles(read_tile, rows, columns, self.tile_positions, tasks)

    @torch_defaults()
    @torch.no_grad()
    def answer_tensors(self, features: Tensor, tasks: Sequence[str] | None = None) -> dict[str, Tensor]:
        """Raw head outputs (B, out_channels, 16h, 16w) by task name: logits, ln metres, vectors, values."""
        wanted = self.feature_codec.task_indices(tasks)
        outputs = self.networks.outputs(features.to(self.feature_codec.device), wanted)
        return {TASK_NAMES[task]: output for task, output in zip(wanted, outputs, strict=True)}

    def balanced(self, quality: float, tasks: Sequence[str] | None = None) -> dict[str, float]:
        """The qualities of each task that reach the mean utility of one quality for all in fewer bytes.

        Measured for these weights and kept next to them (:mod:`atdc.balance`); to be given to :meth:`encode`.

        Args:
            quality: of all, 0 to 7.
            tasks: whose utility counts; all by default.

        Raises:
            ArgumentError: no quality from 0 to 7, or an unknown task.
            WeightsError: none was measured for these weights.

        >>> codec = load("small")
        >>> sorted(codec.balanced(4)) == sorted(codec.feature_codec.task_names)
        True
        """
        return self.feature_codec.balanced(quality, tasks)

    @torch.no_grad()
    def _answers(
        self, features: Sequence[Tensor] | Mapping[int, Tensor], wanted: Sequence[int], size: tuple[int, int]
    ) -> dict[str, NDArray[Any]]:
        """Answers of one image, each made tile by tile: the raw output of a whole large image never exists."""
        stride, answers = self.feature_codec.config.stride, {}
        for task in wanted:
            for tile, output in self.networks.output_by_tiles(features[task], task, self.tile_positions):
                down, across = tile.pixels(stride)
                part = presented(TASK_NAMES[task], output[..., : size[0] - down.start, : size[1] - across.start])
                if part.shape[:2] == size:
                    answers[TASK_NAMES[task]] = part
                    break
                whole = answers.setdefault(TASK_NAMES[task], np.empty((*size, *part.shape[2:]), part.dtype))
                whole[down, across] = part
        return answers

    # --- weights ---------------------------------------------------------------------------------------------------

    def save(self, path: str | Path) -> None:
        """Writes the weights file: convolutions in half precision, whatever decides bits in integers.

        Weights that were in the format of before get another fingerprint, of which a :class:`UserWarning` tells.

        Raises:
            OutputError: the file cannot be written.
        """
        data = self.to_bytes()
        write_weights(Path(path), data)
        warn_of_older_format(path, self.feature_codec, data)

    def to_bytes(self) -> bytes:
        """The weights file's content."""
        arrays = {f"{TASKS_PREFIX}{key}": value for key, value in stored_arrays(self.networks).items()}
        return self.feature_codec.to_bytes(self.card, arrays)


@torch_defaults()
def load(name: str | Path | None = None) -> Codec:
    """Loads a model by the name of shipped weights, or from a weights file.

    Args:
        name: ``real``, ``small``, or a path to a ``.safetensors`` file; by default what the environment's
            ``ATDC_MODEL`` names, or ``real``.

    Raises:
        WeightsError: no such weights, or a damaged or foreign file.
    """
    file = open_weights(name)
    if file.task_names != TENSOR_NAMES:
        raise WeightsError(
            str(file.path), f"weights of the tensors {', '.join(file.task_names)}",
            f"those of the tasks {', '.join(TASK_NAMES)}, in order",
            "Weights of features alone are loaded by atdc.FeatureCodec.load.",
        )  # fmt: skip
    feature_codec = FeatureCodec.of_weights(file, (TASKS_PREFIX,))
    networks = built(lambda: TaskNetworks(file.config), file, TASKS_PREFIX)
    return Codec(networks, feature_codec, file.header.get("card", {}))


def _require_image(header: Header) -> None:
    if header.kind != "image":
        raise ArgumentError("file", "bare features", "a file made from an image", "Use FeatureCodec.decode.")


def _bytes_tensor(image: ImageLike, pixel_limit: int = PIXEL_LIMIT) -> Tensor:
    """An image as (1, 3, H, W), bytes.

    Raises:
        ImageError: no readable image, or one that is too large.
        ArgumentError: an array that is no image.
    """
    return as_batch(as_rgb(image, pixel_limit))


def as_batch(rgb: NDArray[np.uint8]) -> Tensor:
    """An image (H, W, 3) as a batch of one, (1, 3, H, W); bytes stay bytes."""
    return torch.from_numpy(np.array(rgb)).permute(2, 0, 1)[None]
