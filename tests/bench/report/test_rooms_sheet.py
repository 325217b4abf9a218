"""The sheet of sample rooms."""

import numpy as np

from atdc_bench.report.rooms_sheet import GAP_PX, ROWS, rooms_sheet


def test_the_sheet_has_a_column_for_every_room_and_a_row_for_every_task() -> None:
    sheet = rooms_sheet([1, 2], side_px=32, size=64)
    assert sheet.shape == (6 * 32 + 5 * GAP_PX, 2 * 32 + GAP_PX, 3)
    step = 32 + GAP_PX
    tiles = [sheet[row * step : row * step + 32, :32] for row in range(len(ROWS))]
    assert all(tile.std() > 1 for tile in tiles), "every task has something to show"
    assert (sheet[32 : 32 + GAP_PX] == 255).all() and not np.array_equal(sheet[:, :32], sheet[:, step:])
