"""All encoders and heads of a model, side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from atdc.config import ModelConfig
from atdc.networks.encoders import SmallEncoder
from atdc.networks.heads import SmallHead
from atdc.networks.tiles import Tile, tiles_of
from atdc.networks.xception import XceptionEncoder, XceptionHead
from atdc.tasks import TASKS

Encoder = SmallEncoder | XceptionEncoder
Head = SmallHead | XceptionHead
ARCHITECTURES: dict[str, tuple[type[Encoder], type[Head]]] = {
    "small": (SmallEncoder, SmallHead),
    "xception": (XceptionEncoder, XceptionHead),
}


class TaskNetworks(nn.Module):
    """A separate encoder and a separate head for each task (the paper's form: they share nothing before the codec)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        encoder, head = ARCHITECTURES[config.architecture]
        self.encoders = nn.ModuleList([encoder(config) for _ in TASKS])
        channels = [config.classes if task.loss == "cross_entropy" else task.out_channels for task in TASKS]
        self.heads = nn.ModuleList([head(config, count) for count in channels])

    def channels_last(self) -> TaskNetworks:
        """Lays weights out channels last, which CPUs and tensor cores convolve fastest."""
        for parameter in self.parameters():
            if parameter.ndim == 4:
                parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
        return self

    def features(self, image: Tensor, tasks: Sequence[int] | None = None) -> Tensor:
        """(B, 3, H, W) in [0, 1], sides multiples of the stride, to (B, T, C, H/16, W/16); of some tasks alone, by
        index, if they are named."""
        image = image.contiguous(memory_format=torch.channels_last)
        return torch.stack([encoder(image) for encoder in self._encoders_of(tasks)], dim=1)

    def _encoders_of(self, tasks: Sequence[int] | None) -> list[Encoder]:
        return [cast(Encoder, self.encoders[task]) for task in (range(len(self.encoders)) if tasks is None else tasks)]

    def outputs(self, features: Tensor, tasks: Sequence[int]) -> list[Tensor]:
        """Raw outputs (B, out_channels, H, W) of the named task indices, in their order."""
        return [self.heads[task](features[:, task]) for task in tasks]

    def features_by_tiles(
        self,
        read: Callable[[Tile], Tensor],
        rows: int,
        columns: int,
        side: int,
        tasks: Sequence[int] | None = None,
    ) -> Tensor:
        """:meth:`features` of an image that is too large to be seen at once; equal but for rounding.

        Layers before an encoder's context see a tile and a margin around it; what they find, 6 bytes a pixel for all
        tasks together, goes through the rest as a whole. So memory is bounded by the tile, but for those.

        Args:
            read: the image (B, 3, 16 rows, 16 columns) in [0, 1] at a tile's ``outer`` positions.
            rows: of the image, in feature positions.
            columns: likewise.
            side: of a tile, in feature positions.
            tasks: whose encoders; all by default.
        """
        features = []
        for encoder in self._encoders_of(tasks):
            activations: Tensor | None = None
            for tile in tiles_of(rows, columns, side, encoder.halo):
                image = read(tile).contiguous(memory_format=torch.channels_last)
                part = tile.core_of(encoder.local(image))
                if activations is None:
                    activations = part.new_empty((*part.shape[:2], rows, columns))
                activations[..., tile.rows, tile.columns] = part
            assert activations is not None
            features.append(encoder.whole(activations))
        return torch.stack(features, dim=1)

    def output_by_tiles(self, features: Tensor, task: int, side: int) -> Iterator[tuple[Tile, Tensor]]:
        """:meth:`outputs` of one task, tile by tile: its raw output (B, out_channels, 16h, 16w) at a tile's positions.

        Args:
            features: of the task, (B, C, rows, columns).
            task: its index.
            side: of a tile, in feature positions.
        """
        head = cast(Head, self.heads[task])
        activations = head.whole(features)
        for tile in tiles_of(features.shape[-2], features.shape[-1], side, head.halo):
            outer = activations[..., tile.outer_rows, tile.outer_columns]
            yield tile, tile.core_of(head.local(outer), 16)
