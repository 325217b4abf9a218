"""OmniICM-style: one bottleneck latent for all tasks, trained without any task's labels.

After "Image Coding for Machines with Omnipotent Feature Learning" (Feng et al., ECCV 2022): a feature passes an
information-filtering bottleneck, trained with the rate, the features' squared error and that of deeper layers. Here the
bottleneck is the joint codec's, what it carries are all tasks' features, the deeper layers are the first of the frozen
heads, and the last convolution before each task's features is its light decoder.
"""

from __future__ import annotations

from atdc.training.codec_stage import Objective
from atdc.training.task_objectives import DeepFeatures
from atdc_bench.baselines.joint import TOGETHER, alone, alone_in_training, model
from atdc_bench.baselines.trainer import BaselineTrainer, Row


def row() -> Row:
    """The row."""
    return Row("omni-icm", "OmniICM-style", alone, alone_in_training, model, TOGETHER, _deeper_layers, from_base=False)


def _deeper_layers(trainer: BaselineTrainer, split: str) -> Objective:
    return DeepFeatures(trainer.base.networks, trainer.features[split])
