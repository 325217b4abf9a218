"""What a further task goes through, from training to its image, where the table has one row more.

Run by ``test_task_rows.py`` in a copy of the package whose table ends with the row ``curvature``; nothing here is told
of it but its name.
"""

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from typer.testing import CliRunner

import atdc
from atdc.cli import app
from atdc.codec import FeatureCodec
from atdc.config import ModelConfig, NetworkShape, Recipe, TaskStage
from atdc.data.labelled import IMAGE
from atdc.data.rooms import render_rooms
from atdc.data.targets import STORED_LAYOUT, decode_stored, target_form
from atdc.entropy.float_model import FloatEntropyModel, quantised_model
from atdc.graph.graph_tables import GraphTables
from atdc.metrics.tasks import measure_of
from atdc.networks.codec_networks import CodecNetworks
from atdc.networks.task_networks import TaskNetworks
from atdc.pipeline import Codec
from atdc.report.answer_files import write_answers
from atdc.report.answer_images import image_of
from atdc.report.ground_truth import error_in_words, error_of
from atdc.report.page import agreement, thumbnail_uri
from atdc.tasks import LETTERS, TASK_NAMES, TENSOR_NAMES, short_title
from atdc.training.augment import augmented
from atdc.training.run_folder import RunFolder
from atdc.training.task_objectives import TaskLosses
from atdc.training.task_stage import train_tasks

NAME, INDEX = "curvature", 6
SIDE = 48
SHAPE = NetworkShape(feature_channels=8, encoder_widths=(8, 8, 16), head_widths=(8, 8, 8))
CONFIG = ModelConfig(
    **dataclasses.asdict(SHAPE), predictor_width=8, latent_channels=8, codec_width=16, hyper_channels=4, hyper_width=8,
    state_channels=4, scorer_width=8,
)  # fmt: skip


class Labelled:
    """Its data: random images with a stored target for every row."""

    def __init__(self, count: int) -> None:
        rng = np.random.default_rng(0)
        self.stored = {
            name: torch.from_numpy(rng.integers(1, 14, (count, channels, SIDE, SIDE)).astype(dtype))
            for name, (channels, dtype) in STORED_LAYOUT.items()
        }

    def __len__(self) -> int:
        return len(self.stored[IMAGE])

    def targets(
        self, indices: Sequence[int] | NDArray[np.integer], names: Sequence[str] | None = None
    ) -> dict[str, Tensor]:
        return {name: self.stored[name][torch.as_tensor(np.asarray(indices))] for name in names or self.stored}


def trained_networks(folder: Path, data: Labelled) -> TaskNetworks:
    """A step or two of every task's network."""
    torch.manual_seed(0)
    networks = TaskNetworks(CONFIG)
    before = [next(part.parameters()).detach().clone() for part in (networks.encoders[INDEX], networks.heads[INDEX])]
    settings = TaskStage(shared_epochs=1, half_epochs=1, epochs=1, batch=2)
    recipe = Recipe(networks=SHAPE, tasks=settings, augment=True)
    train_tasks(RunFolder(folder / "run", recipe), recipe, networks, (data, data), (data, data))
    after = [next(part.parameters()).detach() for part in (networks.encoders[INDEX], networks.heads[INDEX])]
    assert not any(torch.equal(old, new) for old, new in zip(before, after, strict=True))
    return networks


def codec_of(networks: TaskNetworks) -> Codec:
    """A codec of all tensors that has learned nothing."""
    tensors = CONFIG.tensors(TENSOR_NAMES)
    parts, float_model = CodecNetworks(CONFIG, tensors), FloatEntropyModel(CONFIG, tensors)
    means, stds = torch.zeros(len(tensors), 8), torch.full((len(tensors), 8), 0.3)
    graph_tables = GraphTables.untrained(len(tensors))
    return Codec(networks, FeatureCodec(parts, quantised_model(float_model, parts), means, stds, graph_tables), {})


def main(folder: Path) -> None:
    """Trains, codes, measures and shows the task of the last row."""
    assert Path(atdc.__file__).is_relative_to(folder), atdc.__file__
    assert TASK_NAMES[INDEX:] == (NAME,) and len(set(LETTERS)) == INDEX + 1

    data = Labelled(4)
    ground_truth = decode_stored(NAME, data.stored[NAME])
    assert ground_truth.shape == (4, 1, SIDE, SIDE) and target_form(NAME).measured(ground_truth) is None
    stored = data.stored[NAME].numpy()
    assert np.array_equal(target_form(NAME).flip(stored)[..., 0], stored[..., -1])
    assert augmented(data.stored, np.random.default_rng(0))[NAME].shape == ground_truth.shape
    assert NAME not in render_rooms([0], size=16), "a data set has the targets it always had"

    networks = trained_networks(folder, data)
    goals = TaskLosses(networks, data, torch.tensor([[1.0], [0.5]]).repeat(1, INDEX + 1))
    decoded = torch.randn(2, 8, SIDE // 16, SIDE // 16, requires_grad=True)
    goals.loss(INDEX, decoded, goals.targets(np.arange(2), [INDEX])).sum().backward()
    assert decoded.grad is not None and decoded.grad.any()

    weights = folder / "seven.safetensors"
    codec_of(networks).save(weights)
    codec = atdc.load(weights)
    image = data.stored[IMAGE][0].permute(1, 2, 0).numpy()
    qualities = dict.fromkeys(TASK_NAMES, 5.0) | {NAME: 2.0}
    answers = codec.decode(codec.encode(image, quality=qualities, graph="exact"))
    assert tuple(answers) == TASK_NAMES
    answer = answers[NAME]
    assert answer.shape == (SIDE, SIDE) and answer.dtype == np.float32 and 0 <= answer.min() <= answer.max() <= 1

    own = ground_truth[0, 0].numpy()
    assert np.isclose(error_of(NAME, answer, own), np.abs(answer - own).mean(), rtol=1e-5)
    assert error_of(NAME, own, own) == 0 and error_in_words(NAME, own, own) == "L1 0.0000"
    assert list(measure_of(NAME).metrics(measure_of(NAME).statistics(ground_truth, ground_truth))) == ["l1"]
    assert image_of(NAME, answer).shape == (SIDE, SIDE, 3)
    assert agreement(NAME, own, own) == "0.000 apart, of 1" and short_title(NAME) == "curves"
    assert thumbnail_uri(NAME, answer).startswith("data:image/webp")
    assert [path.name for path in write_answers(folder / "answers", {NAME: answer})] == [f"{NAME}.png", f"{NAME}.npy"]

    runner, photo = CliRunner(), folder / "photo.png"
    Image.fromarray(image).save(photo)
    shown = runner.invoke(app, ["decode", "--help"], env={"COLUMNS": "400"})
    assert shown.exit_code == 0 and NAME in shown.output, shown.output
    files = [str(folder / name) for name in ("photo.atdc", "curvature.npy")]
    for command in (
        ["encode", str(photo), "-o", files[0], "--task-quality", f"{NAME}=3", "--model", str(weights)],
        ["decode", files[0], "-o", files[1], "--tasks", NAME, "--model", str(weights)],
    ):
        done = runner.invoke(app, command)
        assert done.exit_code == 0, done.output
    assert np.load(files[1]).shape == (SIDE, SIDE)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
