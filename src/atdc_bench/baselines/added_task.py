"""A task more for a trained codec: everything that it had stays as it is, so its files stay readable.

Whatever the codec knows of its first tasks is frozen, weights and integers: the predictor's hidden layers, every old
task's transforms and probability tables. What is trained did not exist before: the new task's transforms and tables
and its pairs in the predictor and in the tables of others, as in the paper's test of scalability.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch

from atdc.codec import FeatureCodec
from atdc.config import MAX_QUALITY, FitRecipe, ModelConfig
from atdc.entropy.float_model import FloatEntropyModel, extended_model, quantised_model
from atdc.entropy.model import EntropyModel
from atdc.graph.graph_tables import GraphTables
from atdc.graph.task_graph import TaskGraph
from atdc.networks.batches import FeatureBatch
from atdc.networks.codec_networks import CodecNetworks
from atdc.tensors import FeatureSet
from atdc.training.adding import adopt
from atdc.training.codec_stage import TrainingState, train_codec
from atdc.training.graph_stage import copy_of
from atdc.training.loop import epochs_of
from atdc.training.objectives import Objective
from atdc.training.predictor_stage import train_predictor
from atdc.training.principal_components import start_from_principal_components
from atdc.training.run_folder import RunFolder
from atdc_bench.baselines.graph_sources import GraphsByImage
from atdc_bench.baselines.some_tasks import FeaturesOf
from atdc_bench.baselines.stacked_features import StackedFeatures
from atdc_bench.measures.predicted_graphs import best_graphs

Sets = Mapping[str, StackedFeatures]
Goals = Mapping[str, Objective]


def first_of(sets: Sets, count: int) -> dict[str, StackedFeatures]:
    """The first tasks' features of some splits."""
    return {
        split: StackedFeatures(FeaturesOf(features.cache, range(count)), features.mean[:count], features.std[:count])
        for split, features in sets.items()
    }


def best_by_predictor(networks: CodecNetworks, features: FeatureBatch, level: int) -> list[TaskGraph]:
    """The cheapest graph of each image by the predictor's score in bits; of normalised features."""
    distortion = torch.from_numpy(GraphTables.untrained(networks.task_count).distortion[level])
    return best_graphs(networks.predictor, features, distortion, networks.config.max_parents)


@dataclass(frozen=True)
class Trained:
    """A codec between trainings.

    Attributes:
        networks: predictor and transforms.
        float_model: entropy parameters in floating point.
        codec: the same with integers, to code with.
    """

    networks: CodecNetworks
    float_model: FloatEntropyModel
    codec: FeatureCodec


def train_from_nothing(
    run: RunFolder, recipe: FitRecipe, model: ModelConfig, sets: Sets, goals: Goals, names: tuple[str, ...], steps: int
) -> Trained:
    """A codec of some tasks: predictor, `steps // 2` steps on features alone, `steps` on rate and objective."""
    torch.manual_seed(recipe.seed)
    tensors = model.tensors(names)
    networks, float_model = CodecNetworks(model, tensors), FloatEntropyModel(model, tensors)
    start_from_principal_components(networks, float_model, sets["train"])
    _train(run, recipe, networks, float_model, sets, goals, steps)
    return Trained(networks, float_model, _codec(networks, quantised_model(float_model, networks), sets["train"]))


def add_task(
    run: RunFolder, recipe: FitRecipe, before: Trained, sets: Sets, goals: Goals, names: tuple[str, ...], steps: int
) -> Trained:
    """A codec of one task more, trained as :func:`train_from_nothing` does, with all that `before` has frozen.

    Args:
        run: a folder of its own.
        recipe: how it is trained.
        before: of all tasks but the last; stays as it is.
        sets: features of all tasks.
        goals: of all tasks.
        names: of all tasks.
        steps: of training.
    """
    torch.manual_seed(recipe.seed)
    new, model = len(names) - 1, before.codec.config
    tensors = model.tensors(names)
    networks, float_model = CodecNetworks(model, tensors), FloatEntropyModel(model, tensors)
    sample = sets["train"].read(np.arange(min(400, len(sets["train"])))).parts[new]
    float_model.task(new).start_from_std(networks.task(new).start_from_principal_components(sample))
    adopt(networks, before.networks)
    adopt(float_model, before.float_model)
    _train(run, recipe, networks, float_model, sets, goals, steps)
    integers = extended_model(before.codec.entropy, float_model, networks)
    return Trained(networks, float_model, _codec(networks, integers, sets["train"]))


def _codec(networks: CodecNetworks, integers: EntropyModel, train: StackedFeatures) -> FeatureCodec:
    """What was trained, to code with."""
    graph_tables = GraphTables.untrained(networks.task_count)
    return FeatureCodec(copy_of(networks), integers, train.mean, train.std, graph_tables)


def _train(
    run: RunFolder,
    recipe: FitRecipe,
    networks: CodecNetworks,
    float_model: FloatEntropyModel,
    sets: Sets,
    goals: Goals,
    steps: int,
) -> None:
    train_predictor(run, recipe, networks, sets["train"], sets["val"])
    frozen = copy_of(networks).eval()

    def graph_of(split: str) -> GraphsByImage:
        def of(image: int) -> TaskGraph:
            features = sets[split].read(np.array([image]))
            return best_by_predictor(frozen, features, image % (MAX_QUALITY + 1))[0]

        return GraphsByImage(of)

    state = TrainingState(
        networks, float_model, graph_of("train"), graph_of("val"), sets["train"], sets["val"],
        subset=tuple(range(networks.task_count)),
    )  # fmt: skip
    rate, end = recipe.lr, recipe.lr_end
    train_codec(run, recipe, "warmup", epochs_of(steps // 2), (rate, rate), state, None, goals["val"])
    train_codec(run, recipe, "codec", epochs_of(steps), (rate, end), state, goals["train"], goals["val"])


def first_tasks(codec: FeatureCodec, count: int, fingerprint: bytes) -> FeatureCodec:
    """The codec of the first tasks that is inside a codec of more: what reads files from before a task was added."""
    config = codec.config
    networks = CodecNetworks(config, FeatureSet(codec.tensors.tensors[:count]))
    weights = codec.networks.state_dict()
    part = {
        name: value if name.startswith("scorer.") else weights[name][tuple(slice(size) for size in value.shape)]
        for name, value in networks.state_dict().items()
    }
    networks.load_state_dict(part)
    tasks = [
        replace(task, parents=task.parents[:count], parent_bias=task.parent_bias[:count])
        for task in codec.entropy.tasks[:count]
    ]
    entropy = replace(codec.entropy, tasks=tuple(tasks))
    graph_tables = GraphTables.untrained(count)
    return FeatureCodec(networks, entropy, codec.mean[:count], codec.std[:count], graph_tables, fingerprint)
