"""Real files of many subsets of a codec's tensors, along many graphs, from few runs of the networks.

What a tensor's latents are follows from its features, its quality and the graph of its ancestors; which other tensors
a file holds does not matter. So each (tensor, graph of its ancestors) is coded once an image and kept: its symbols
with their tables, the check of its integers, what it tells its children, and its decoded features. A file is then
written from symbols that are there, by the range coder and with the header of any other file, byte for byte what
:meth:`~atdc.codec.FeatureCodec.encode_batch` writes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from atdc.bitstream.container import Container, Header, Segment, graph_code, pack
from atdc.bitstream.symbols import SymbolWriter
from atdc.codec import FeatureCodec
from atdc.coding.latent_coders import IntegerLatentCoder
from atdc.coding.traversal import code_task
from atdc.config import quality_steps
from atdc.entropy.coder import EntropyCoder
from atdc.entropy.integer import Numbers
from atdc.graph.task_graph import TaskGraph
from atdc.networks.resampling import resampled
from atdc.reader import combined_check
from atdc.tensors import padded

Ancestry: TypeAlias = tuple[tuple[int, tuple[int, ...]], ...]
"""A tensor's graph of ancestors: each of them and the tensor itself with its parents, in coding order."""


def ancestry(graph: TaskGraph, task: int) -> Ancestry:
    """What a tensor's latents depend on, of a graph.

    >>> ancestry(TaskGraph(((2,), (0,), ())), 0)
    ((2, ()), (0, (2,)))
    """
    return tuple((ancestor, graph.parents[ancestor]) for ancestor in graph.closure([task]))


@dataclass(frozen=True, slots=True)
class Sent:
    """What a file of one image holds.

    Attributes:
        graph: over all tensors of the model, without edges that leave those present.
        present: the tensors in the file, ascending; those asked for, and whatever they need.
    """

    graph: TaskGraph
    present: tuple[int, ...]


class _Passed:
    """A symbol coder that keeps what passes, by image."""

    def __init__(self) -> None:
        self.runs: dict[int, list[tuple[NDArray[np.int32], NDArray[np.uint8]]]] = {}

    def code(
        self, image: int, task: int, symbols: NDArray[np.int32] | None, table_index: NDArray[np.uint8]
    ) -> NDArray[np.int32]:
        assert symbols is not None
        self.runs.setdefault(image, []).append((symbols, table_index))
        return symbols


@dataclass(frozen=True, slots=True)
class _Coded:
    """One tensor of some images, coded along one graph of ancestors; arrays have a row for every image."""

    runs: Mapping[int, Sequence[tuple[NDArray[np.int32], NDArray[np.uint8]]]]
    checks: Mapping[tuple[int, int], int]
    state: Numbers
    value: Tensor
    share: Tensor


class SubsetFiles:
    """Files of subsets of some images' features, at one quality.

    Args:
        codec: codes them.
        features: raw, (B, T, C, h, w).
        quality: of all tensors.
        size: height and width of the images.
        contents: of every file that will be asked for, one for each image.
    """

    def __init__(
        self, codec: FeatureCodec, features: Tensor, quality: float, size: tuple[int, int],
        contents: Iterable[Sequence[Sent]],
    ) -> None:  # fmt: skip
        self._codec, self._size = codec, size
        self._batch = codec.normalise(features)
        self._steps = quality_steps(quality, codec.task_count)
        self._tensor = torch.full((len(features), codec.task_count), float(quality), device=codec.device)
        self._coded: dict[Ancestry, _Coded] = {}
        self._sizes: dict[tuple[int, Sent], int] = {}
        images: dict[Ancestry, set[int]] = {}
        for files in contents:
            for image, content in enumerate(files):
                for task in content.present:
                    images.setdefault(ancestry(content.graph, task), set()).add(image)
        with torch.no_grad():
            for key in sorted(images, key=len):
                self._code(key, sorted(images[key]))

    def _code(self, key: Ancestry, images: list[int]) -> None:
        codec, grids = self._codec, self._batch.grids
        task, parents = key[-1]
        graph = _graph_of(key, codec.task_count)
        above = {parent: self._coded[ancestry(graph, parent)] for parent in parents}
        mask = torch.zeros(len(images), codec.task_count, device=codec.device)
        mask[:, list(parents)] = 1
        rows, recorder = torch.tensor(images, device=codec.device), _Passed()
        coder = EntropyCoder(
            codec.entropy, recorder, np.array([self._steps] * len(self._batch), np.int64), grids,
            {parent: coded.state for parent, coded in above.items()},
        )  # fmt: skip
        contributions = [resampled(coded.share[rows], grids[parent], grids[task]) for parent, coded in above.items()]
        target = self._batch.parts[task]
        value, _ = code_task(
            codec.networks, task, rows, contributions, mask, self._tensor[rows, task], padded(grids[task]),
            IntegerLatentCoder(coder), target[rows],
        )  # fmt: skip
        share = codec.networks.contribution(task, value)
        zeros = [torch.zeros(len(self._batch), *part.shape[1:], device=codec.device) for part in (value, share)]
        tensors = [empty.index_copy(0, rows, part) for empty, part in zip(zeros, (value, share), strict=True)]
        self._coded[key] = _Coded(recorder.runs, coder.checks, coder.states[task], *tensors)

    def items(self) -> Mapping[Ancestry, list[int]]:
        """What was coded, and of which images."""
        return {key: sorted(coded.runs) for key, coded in self._coded.items()}

    def decoded(self, key: Ancestry) -> Tensor:
        """Features (B, C, h, w) of a tensor as a reader gets them, in the features' own units."""
        task = key[-1][0]
        height, width = self._batch.grids[task]
        mean, std = (row[task][:, None, None] for row in (self._codec.mean, self._codec.std))
        return self._coded[key].value[..., :height, :width] * std + mean

    def file(self, image: int, content: Sent) -> bytes:
        """The file of an image."""
        codec, present = self._codec, content.present
        writer = SymbolWriter(codec.entropy.tables, 1, codec.task_count, together=True)
        checks = {}
        for task in content.graph.order:
            if task in present:
                coded = self._coded[ancestry(content.graph, task)]
                checks[task] = coded.checks[image, task]
                for symbols, tables in coded.runs[image]:
                    writer.code(0, task, symbols, tables)
        ((data,),) = writer.finish()
        subgraph = content.graph.among(present)
        is_whole = len(present) == codec.task_count
        header = Header(
            fingerprint=codec.fingerprint, kind="image", profile="compact", height=self._size[0], width=self._size[1],
            qualities=tuple(self._steps[task] for task in present),
            graph=graph_code(subgraph, codec.graph_tables.listed) if is_whole else subgraph,
            tensor_count=codec.task_count, present=present, grids=(),
        )  # fmt: skip
        return pack(Container(header, (Segment(data, combined_check([checks[task] for task in present])),)))

    def file_bytes(self, image: int, content: Sent) -> int:
        """The length of the file of an image; each is written once, however often it is asked for."""
        if (image, content) not in self._sizes:
            self._sizes[image, content] = len(self.file(image, content))
        return self._sizes[image, content]


def _graph_of(key: Ancestry, size: int) -> TaskGraph:
    """The graph of all tensors that has these edges and no others."""
    parents: list[tuple[int, ...]] = [()] * size
    for task, row in key:
        parents[task] = row
    return TaskGraph(tuple(parents))
