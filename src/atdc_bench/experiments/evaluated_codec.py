"""What is measured, on what: the two things every experiment needs, and where they come from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from atdc.codec import FeatureCodec
from atdc.data.data_sets import labelled
from atdc.data.labelled import IMAGE, LabelledImages, as_input
from atdc.data.targets import decode_stored
from atdc.errors import ArgumentError, DataError
from atdc.tasks import CLASSES, TASK_NAMES

__all__ = [
    "DEFAULT_DATA",
    "Batch",
    "EvaluatedCodec",
    "LabelledImages",
    "as_input",
    "batches",
    "features_at",
    "images_at",
    "load_evaluated_codec",
    "open_rooms",
    "require_images",
]  # fmt: skip

DEFAULT_DATA = Path("data/rooms")
"""Where rooms are rendered to unless told otherwise."""


class EvaluatedCodec(Protocol):
    """What a codec must offer to be measured; :class:`atdc.pipeline.Codec` does."""

    @property
    def feature_codec(self) -> FeatureCodec:
        """The codec of features."""
        ...

    @property
    def card(self) -> Mapping[str, Any]:
        """What is known of the model's training."""
        ...

    def features_of(self, images: Tensor, tasks: Sequence[int] | None = None) -> Tensor:
        """Images (B, 3, H, W) in [0, 1] to features (B, T, C, h, w), of all tasks or of those named by index."""
        ...

    def answer_tensors(self, features: Tensor, tasks: Sequence[str] | None = None) -> dict[str, Tensor]:
        """Features (B, T, C, h, w) to raw head outputs by task name."""
        ...


def load_evaluated_codec(model: str | Path, device: str = "cpu") -> EvaluatedCodec:
    """The codec by name or weights file, its networks on a device.

    Raises:
        ArgumentError: it has other classes than measures count.
    """
    from atdc.pipeline import load

    codec = load(model).to(device)
    if (classes := codec.feature_codec.config.classes) != len(CLASSES):
        raise ArgumentError(
            "model", f"weights of {classes} classes", f"the {len(CLASSES)} that measures count",
            "Measure weights of a recipe with these classes.",
        )  # fmt: skip
    return codec


def open_rooms(data: Path, split: str) -> LabelledImages:
    """A split of rooms; one that was never rendered, or only in part, is rendered first.

    Raises:
        DataError: the folder holds rooms of another version, or a damaged array.
    """
    return labelled("rooms", data, split)


def require_images(data: LabelledImages, count: int) -> None:
    """Raises :class:`DataError` when there are fewer images than wanted, :class:`ArgumentError` for none."""
    if count < 1:
        raise ArgumentError("count", str(count), "at least one image")
    if len(data) < count:
        raise DataError("images", f"{len(data)} of them", f"at least {count}", "measure fewer with --count")


def image_size(data: LabelledImages) -> tuple[int, int]:
    """Height and width of the images."""
    height, width = data.targets([0])[IMAGE].shape[-2:]
    return int(height), int(width)


def images_at(data: LabelledImages, indices: Sequence[int]) -> NDArray[np.uint8]:
    """Images (n, 3, H, W), bytes."""
    return np.asarray(data.targets(list(indices))[IMAGE], np.uint8)


def features_at(evaluated: EvaluatedCodec, data: LabelledImages, indices: Sequence[int]) -> Tensor:
    """Raw features (n, T, C, h, w) of some images."""
    with torch.no_grad():
        return evaluated.features_of(as_input(images_at(data, indices)))


@dataclass(frozen=True)
class Batch:
    """Some labelled images with what is measured on them.

    Attributes:
        images: bytes, (n, 3, H, W).
        features: raw, (n, T, C, h, w).
        targets: the ground truth by task, decoded, of tasks that have one.
    """

    images: NDArray[np.uint8]
    features: Tensor
    targets: Mapping[str, Tensor]


def batches(evaluated: EvaluatedCodec, data: LabelledImages, span: range, size: int = 25) -> Iterator[Batch]:
    """A span of images, a few at a time."""
    for start in range(span.start, span.stop, size):
        stored = data.targets(list(range(start, min(start + size, span.stop))))
        images = np.asarray(stored[IMAGE], np.uint8)
        with torch.no_grad():
            features = evaluated.features_of(as_input(images))
        yield Batch(
            images, features, {task: decode_stored(task, stored[task]) for task in TASK_NAMES if task in stored}
        )
