"""Changed copies of photos."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from atdc.data.changed_photos import LEAST_AREA, MOST_STRETCH, changed_copy


@given(st.integers(1, 90), st.integers(1, 90), st.integers(1, 100))
def test_copies_are_parts_of_nearly_the_same_aspect(height: int, width: int, number: int) -> None:
    photo = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    rows, columns, channels = changed_copy(photo, number).shape
    assert 1 <= rows <= height and 1 <= columns <= width and channels == 3
    assert (rows + 1) * (columns + 1) >= LEAST_AREA * height * width / MOST_STRETCH
    assert (rows - 0.5) / height <= MOST_STRETCH * (columns + 0.5) / width
    assert (columns - 0.5) / width <= MOST_STRETCH * (rows + 0.5) / height


def test_copies_differ_and_leave_the_photo_as_it_is() -> None:
    photo = np.arange(40 * 60 * 3, dtype=np.uint32).astype(np.uint8).reshape(40, 60, 3)
    before = photo.copy()
    copies = [changed_copy(photo, number) for number in (1, 2, 3, 1)]
    assert len({copy.tobytes() for copy in copies}) == 3 and np.array_equal(copies[0], copies[3])
    np.testing.assert_array_equal(photo, before)


def test_a_grey_photo_stays_grey() -> None:
    photo = np.repeat(np.arange(48, dtype=np.uint8).reshape(6, 8, 1), 3, 2)
    copy = changed_copy(photo, 1)
    np.testing.assert_array_equal(copy, np.repeat(copy[..., :1], 3, 2))
