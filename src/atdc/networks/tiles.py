"""Large images in pieces: which positions a tile gives, and which it must see for that."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, slots=True)
class Tile:
    """A rectangle of feature positions, and the one around it that layers must see to answer it as the whole would.

    Attributes:
        rows, columns: what the tile gives.
        outer_rows, outer_columns: with a margin, cut at the image's border. There layers pad as they do for the whole
            image, and elsewhere what their padding spoils lies in the margin.
    """

    rows: slice
    columns: slice
    outer_rows: slice
    outer_columns: slice

    def core_of(self, outer: Tensor, scale: int = 1) -> Tensor:
        """The tile's own part of what layers made of the outer rectangle, ``scale`` pixels to a position."""
        top, left = self.rows.start - self.outer_rows.start, self.columns.start - self.outer_columns.start
        height, width = self.rows.stop - self.rows.start, self.columns.stop - self.columns.start
        return outer[..., top * scale : (top + height) * scale, left * scale : (left + width) * scale]

    def pixels(self, scale: int) -> tuple[slice, slice]:
        """Rows and columns of the tile's own pixels, ``scale`` to a position."""
        return (
            slice(self.rows.start * scale, self.rows.stop * scale),
            slice(self.columns.start * scale, self.columns.stop * scale),
        )


def tiles_of(rows: int, columns: int, side: int, halo: int) -> Iterator[Tile]:
    """Tiles that cover ``rows`` × ``columns`` positions once, row by row.

    Args:
        rows: of the image.
        columns: of the image.
        side: of a tile.
        halo: width of the margin.

    >>> [(tile.columns, tile.outer_columns) for tile in tiles_of(2, 5, 3, 1)]
    [(slice(0, 3, None), slice(0, 4, None)), (slice(3, 5, None), slice(2, 5, None))]
    """
    for top in range(0, rows, side):
        for left in range(0, columns, side):
            bottom, right = min(top + side, rows), min(left + side, columns)
            yield Tile(
                slice(top, bottom),
                slice(left, right),
                slice(max(top - halo, 0), min(bottom + halo, rows)),
                slice(max(left - halo, 0), min(right + halo, columns)),
            )
