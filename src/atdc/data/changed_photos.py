"""Changed copies of photos, where those to fit to are few: no label has to follow."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance

LEAST_AREA = 0.35
"""Of the part that is cut out, as a share of the photo's."""
MOST_STRETCH = 1.28
"""Of its aspect ratio, either way."""
STRENGTHS = (0.75, 1.3)
"""Of colour, brightness and contrast, least and most; 1 leaves them as they are."""


def changed_copy(photo: NDArray[np.uint8], number: int) -> NDArray[np.uint8]:
    """A part of a photo (H, W, 3), mirrored or not, with other colours, brightness and contrast.

    Equal photos and numbers give equal copies.

    Args:
        photo: upright, sRGB.
        number: of the copy; each is another.

    >>> photo = np.full((8, 8, 3), 100, np.uint8)
    >>> bool((changed_copy(photo, 1) == changed_copy(photo, 1)).all())
    True
    """
    height, width = photo.shape[:2]
    rng = np.random.default_rng([number, height, width, int(photo.sum(dtype=np.int64))])
    area, stretch = rng.uniform(LEAST_AREA, 1.0), np.exp(rng.uniform(-1.0, 1.0) * np.log(MOST_STRETCH) / 2)
    rows = min(height, max(1, round(height * np.sqrt(area) / stretch)))
    columns = min(width, max(1, round(width * np.sqrt(area) * stretch)))
    top, left = int(rng.integers(height - rows + 1)), int(rng.integers(width - columns + 1))
    part = photo[top : top + rows, left : left + columns]
    image = Image.fromarray(part[:, ::-1] if rng.random() < 0.5 else part)
    for enhance in (ImageEnhance.Color, ImageEnhance.Brightness, ImageEnhance.Contrast):
        image = enhance(image).enhance(rng.uniform(*STRENGTHS))
    return np.asarray(image)
