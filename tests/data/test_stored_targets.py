"""Pixels without measurement: how they are stored, and that no loss and no metric sees them."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from atdc.data.rooms import render_rooms
from atdc.data.targets import NO_DEPTH, NO_NORMAL, STORED_LAYOUT, decode_stored, target_form
from atdc.metrics.tasks import MEASURES
from atdc.tasks import BY_NAME, CLASSES, IGNORE_CLASS, TASK_NAMES
from atdc.training.losses import task_loss

NOTHING = {"depth_zbuffer": NO_DEPTH, "normal": NO_NORMAL, "segment_semantic": IGNORE_CLASS}


@pytest.fixture(scope="module")
def rooms() -> dict[str, np.ndarray]:
    return {name: stored.numpy() for name, stored in render_rooms([3, 4], size=64).items()}


def output_for(task: str, size: tuple[int, int, int], seed: int = 0) -> Tensor:
    images, height, width = size
    generator = torch.Generator().manual_seed(seed)
    return torch.rand((images, BY_NAME[task].out_channels, height, width), generator=generator)


def plain_loss(task: str, output: Tensor, stored: np.ndarray) -> Tensor:
    """The loss of targets that measure every pixel, written out."""
    target = torch.from_numpy(stored.astype(np.float32)) / 255
    if task == "normal":
        target, output = F.normalize(target * 2 - 1, dim=1), F.normalize(output, dim=1)
    if task == "depth_zbuffer":
        target = torch.from_numpy(np.log(stored.astype(np.float32) / 512))
    difference = output - target
    return (difference.abs() if BY_NAME[task].loss == "l1" else difference.square()).mean((1, 2, 3))


@pytest.mark.parametrize("task", [task for task in TASK_NAMES if task != "segment_semantic"])
def test_where_every_pixel_is_measured_no_bit_of_a_loss_or_its_gradient_changes(
    task: str, rooms: dict[str, np.ndarray]
) -> None:
    output = output_for(task, (2, 64, 64)).requires_grad_()
    loss = task_loss(BY_NAME[task], output, decode_stored(task, rooms[task]))
    (gradient,) = torch.autograd.grad(loss.sum(), output)
    expected = plain_loss(task, output, rooms[task])
    (expected_gradient,) = torch.autograd.grad(expected.sum(), output)
    assert torch.equal(loss, expected) and torch.equal(gradient, expected_gradient)


def test_rooms_measure_every_pixel(rooms: dict[str, np.ndarray]) -> None:
    for task in NOTHING:
        valid = target_form(task).measured(decode_stored(task, rooms[task]))
        assert valid is not None and valid.all()


@pytest.mark.parametrize("task", NOTHING)
def test_what_was_not_measured_changes_neither_loss_nor_metric(task: str, rooms: dict[str, np.ndarray]) -> None:
    stored = rooms[task].copy()
    stored[:, :, :, 40:] = NOTHING[task]
    output = output_for(task, (2, 64, 64))
    if task == "segment_semantic":
        output = output[:, : len(CLASSES)]
    target, part = decode_stored(task, stored), decode_stored(task, rooms[task][..., :40])
    loss, alone = (task_loss(BY_NAME[task], o.contiguous(), t) for o, t in ((output, target), (output[..., :40], part)))
    assert torch.allclose(loss, alone, rtol=1e-5)
    measure = MEASURES[task]
    np.testing.assert_allclose(
        measure.statistics(output, target), measure.statistics(output[..., :40].contiguous(), part), rtol=1e-12
    )


@pytest.mark.parametrize("task", NOTHING)
def test_an_image_without_any_measurement_has_no_loss_and_a_finite_gradient(task: str) -> None:
    channels, dtype = STORED_LAYOUT[task]
    target = decode_stored(task, np.full((1, channels, 8, 8), NOTHING[task], dtype))
    output = output_for(task, (1, 8, 8)).requires_grad_()
    loss = task_loss(BY_NAME[task], output, target)
    loss.sum().backward()
    assert float(loss.detach()) == 0 and output.grad is not None and not output.grad.any()


def test_a_mirrored_image_has_measurements_where_the_image_has(rooms: dict[str, np.ndarray]) -> None:
    stored = rooms["normal"].copy()
    stored[:, :, 5:9, :20] = NO_NORMAL
    form = target_form("normal")
    valid, mirrored = form.measured(form.decode(stored)), form.measured(form.decode(form.flip(stored)))
    assert valid is not None and mirrored is not None
    assert torch.equal(mirrored, valid.flip(-1)) and int((~valid).sum()) == 2 * 4 * 20


def test_no_unit_vector_is_stored_as_no_measurement() -> None:
    vectors = F.normalize(torch.randn((1, 3, 100, 100), generator=torch.Generator().manual_seed(1)), dim=1)
    decoded = decode_stored("normal", ((vectors + 1) * 127.5).round().to(torch.uint8).numpy())
    assert torch.allclose(decoded.norm(dim=1), torch.ones(1), atol=1e-6)
