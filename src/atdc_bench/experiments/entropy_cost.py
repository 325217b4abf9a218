"""`atdc bench entropy-cost`: what exact integers cost against floats, and what decoded parents save.

Two questions about the entropy path, both answered from a training run's folder, for only there is the float model:

* **integers against floats**: the same latents under the integer entropy model and under the float one, in float64,
  with the same probability tables: ideal bits, and time from pixels to bytes;
* **parents' states**: the float model trained further on frozen latents, with the states by which decoded parents
  inform a child's tables, and without them, equally long; ideal bits of the integers made of each.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from atdc.bitstream.symbols import SymbolCounter
from atdc.codec import DEFAULT_GRAPH, FeatureCodec
from atdc.coding.latent_coders import IntegerLatentCoder, TrainingLatentCoder
from atdc.coding.traversal import code_along_graph, schedule
from atdc.config import MAX_QUALITY, QUALITY_STEPS_PER_UNIT, load_recipe
from atdc.data.rooms import RoomsDataset
from atdc.entropy.coder import EntropyCoder, EntropyParameters
from atdc.entropy.float_model import FloatEntropyModel, quantised_model
from atdc.errors import DataError
from atdc.graph.task_graph import TaskGraph
from atdc.pipeline import Codec, load
from atdc.provenance import provenance, write_result
from atdc.tensors import LATENT_STRIDE, Grid
from atdc.training.run_folder import RunFolder
from atdc.training.stages import CODEC_FOLDER
from atdc_bench.experiments.evaluated_codec import as_input, images_at, open_rooms, require_images
from atdc_bench.experiments.speed import paired_ratio
from atdc_bench.measures.float_entropy import FloatEntropyParameters

_BATCH = 20
LAST_CHECKPOINT = "codec"


def run_entropy_cost(
    recipe: Path,
    run: Path,
    data: Path,
    out: Path,
    *,
    count: int = 250,
    qualities: tuple[float, ...] = (0, 2, 4, 7),
    rounds: int = 60,
    train_images: int = 3200,
    steps: int = 3000,
    quiet: bool = False,
) -> dict[str, Any]:
    """Measures both and writes the result file.

    Args:
        recipe: of the run.
        run: the run's folder, with the checkpoint of the last codec stage and the weights.
        data: rendered rooms.
        out: the result file.
        count: test images.
        qualities: at which bits are counted.
        rounds: pairs of timed encodings.
        train_images: on whose latents the float models are trained further.
        steps: of that training, 20 images each; 0 leaves this part out, and the result says so.
        quiet: no progress bars.

    Raises:
        DataError: the run is not finished, or too few images.
    """
    settings = load_recipe(recipe)
    RunFolder(run, settings)
    folder = RunFolder(run / CODEC_FOLDER, settings.codec_recipe())
    state, weights = folder.load(LAST_CHECKPOINT), run / f"{settings.name}.safetensors"
    if state is None or not weights.exists():
        raise DataError(str(run), "no finished training", f"{LAST_CHECKPOINT}.pt and {weights.name}", "Train first.")
    codec = load(weights)
    float_model = FloatEntropyModel(codec.feature_codec.config, codec.feature_codec.tensors)
    prefix = "entropy."
    float_model.load_state_dict({k.removeprefix(prefix): v for k, v in state["module"].items() if k.startswith(prefix)})
    float_model.eval().requires_grad_(False)
    test = open_rooms(data, "test")
    require_images(test, count)
    features = torch.cat(
        [
            codec.features_of(as_input(images_at(test, range(start, min(start + _BATCH, count)))))
            for start in tqdm(range(0, count, _BATCH), desc="features", disable=quiet)
        ]
    )
    result: dict[str, Any] = {
        "what": "integer entropy path against its float model; parents' states against none",
        "provenance": provenance(seed=settings.seed, weights=codec.feature_codec.fingerprint.hex()),
        "data": {"split": "test", "images": count},
        "integers_against_floats": integers_against_floats(codec, float_model, features, qualities, quiet),
        "time": time_ratio(codec, float_model, images_at(test, range(min(count, rounds))), rounds),
        "states": "not run: steps = 0",
    }
    if steps:
        train = RoomsDataset(data, "train")
        result["states"] = states_against_none(
            codec, float_model, features, train, train_images, steps, settings.seed, quiet
        )
    write_result(out, result)
    return result


def integers_against_floats(
    codec: Codec, float_model: FloatEntropyModel, features: Tensor, qualities: tuple[float, ...], quiet: bool = True
) -> dict[str, Any]:
    """Mean ideal bytes of an image under the integers and under the floats, by quality; graphs are the default's."""
    feature_codec = codec.feature_codec
    floats = FloatEntropyParameters(float_model, feature_codec.networks, feature_codec.entropy.tables)
    rows: dict[str, Any] = {}
    for quality in tqdm(qualities, desc="integers against floats", disable=quiet):
        sums = np.zeros(2)
        for start in range(0, len(features), _BATCH):
            block = features[start : start + _BATCH]
            graphs = feature_codec.choose_graphs(block, quality, DEFAULT_GRAPH)
            models: tuple[EntropyParameters, ...] = (feature_codec.entropy, floats)
            for place, parameters in enumerate(models):
                sums[place] += ideal_bits(feature_codec, parameters, block, quality, graphs)
        integers, float_bytes = sums / 8 / len(features)
        percent = 100 * (integers / float_bytes - 1)
        rows[f"{quality:g}"] = {"integer_bytes": integers, "float_bytes": float_bytes, "percent": percent}
    return rows


@torch.no_grad()
def ideal_bits(
    codec: FeatureCodec, parameters: EntropyParameters, features: Tensor, quality: float, graphs: list[TaskGraph]
) -> float:
    """Ideal bits of all images, coded along their graphs with some entropy parameters."""
    steps = np.full((len(features), codec.task_count), round(quality * QUALITY_STEPS_PER_UNIT))
    counter = SymbolCounter(parameters.tables)
    normalised = codec.normalise(features)
    qualities = torch.full((len(features), codec.task_count), float(quality))
    coder = EntropyCoder(parameters, counter, steps, normalised.grids)
    code_along_graph(codec.networks, graphs, qualities, IntegerLatentCoder(coder), normalised.grids, normalised.parts)
    return float(counter.bits.array(len(features), codec.task_count).sum())


def time_ratio(codec: Codec, float_model: FloatEntropyModel, images: NDArray[np.uint8], rounds: int) -> dict[str, Any]:
    """Time from pixels to bytes with integers over that with floats: pairs of runs, the order of a pair alternating."""
    integers = codec.feature_codec
    floats = FeatureCodec(integers.networks, integers.entropy, integers.mean, integers.std, integers.graph_tables)
    floats.entropy = FloatEntropyParameters(float_model, integers.networks, integers.entropy.tables)  # type: ignore[assignment]  # to time it

    def with_codec(feature_codec: FeatureCodec) -> Callable[[int], object]:
        def encode(number: int) -> object:
            image = as_input(images[number % len(images)][None])
            return feature_codec.encode_batch(codec.features_of(image), 4.0)

        return encode

    return paired_ratio(with_codec(integers), with_codec(floats), rounds)


@dataclass(frozen=True, slots=True)
class FrozenLatents:
    """Latents of images coded along their graphs by frozen transforms: all that an entropy model is trained on.

    Attributes:
        hyper: (N, T, H, rows/2, columns/2), quantisation steps, not rounded.
        latent: (N, T, M, rows, columns), likewise.
        graphs: one per image.
        quality: (N,), whole.
    """

    hyper: Tensor
    latent: Tensor
    graphs: list[TaskGraph]
    quality: Tensor

    @property
    def grids(self) -> list[Grid]:
        """Of the features that the latents are of."""
        rows, columns = self.latent.shape[-2:]
        return [(LATENT_STRIDE * rows, LATENT_STRIDE * columns)] * self.latent.shape[1]

    def block(self, start: int) -> FrozenLatents:
        """Some images in a row."""
        rows = slice(start, start + _BATCH)
        return FrozenLatents(self.hyper[rows], self.latent[rows], self.graphs[rows], self.quality[rows])


class _Catching:
    """A latent coder that keeps what passes."""

    def __init__(self, latent_coder: IntegerLatentCoder, batch: int, tasks: int) -> None:
        self._latent_coder, self._batch, self._tasks = latent_coder, batch, tasks
        self.latents: dict[str, Tensor] = {}

    def code(
        self,
        images: Tensor,
        task: int,
        quality: Tensor,
        mask: Tensor,
        latent: Tensor | None,
        hyper: Tensor | None,
    ) -> Tensor:
        for name, value in (("latent", latent), ("hyper", hyper)):
            assert value is not None
            if name not in self.latents:
                self.latents[name] = torch.zeros(self._batch, self._tasks, *value.shape[1:])
            self.latents[name][images, task] = value
        return self._latent_coder.code(images, task, quality, mask, latent, hyper)


@torch.no_grad()
def frozen_latents(codec: FeatureCodec, blocks: list[Tensor], seed: int, quiet: bool = True) -> FrozenLatents:
    """Latents of blocks of features, each block at a random integer quality, along the default's graphs."""
    rng = np.random.default_rng(seed)
    hyper, latent, quality = [], [], []
    graphs: list[TaskGraph] = []
    for features in tqdm(blocks, desc="latents", disable=quiet):
        level = int(rng.integers(MAX_QUALITY + 1))
        chosen = codec.choose_graphs(features, level, DEFAULT_GRAPH)
        steps = np.full((len(features), codec.task_count), level * QUALITY_STEPS_PER_UNIT)
        normalised = codec.normalise(features)
        coder = EntropyCoder(codec.entropy, SymbolCounter(codec.entropy.tables), steps, normalised.grids)
        latent_coder = _Catching(IntegerLatentCoder(coder), len(features), codec.task_count)
        qualities = torch.full((len(features), codec.task_count), float(level))
        code_along_graph(codec.networks, chosen, qualities, latent_coder, normalised.grids, normalised.parts)
        hyper.append(latent_coder.latents["hyper"])
        latent.append(latent_coder.latents["latent"])
        quality.append(qualities[:, 0])
        graphs += chosen
    return FrozenLatents(torch.cat(hyper), torch.cat(latent), graphs, torch.cat(quality))


def states_against_none(
    codec: Codec,
    float_model: FloatEntropyModel,
    test_features: Tensor,
    train: RoomsDataset,
    train_images: int,
    steps: int,
    seed: int,
    quiet: bool = True,
) -> dict[str, Any]:
    """Mean ideal bytes with and without parents' states, after equal training on frozen latents."""
    feature_codec = codec.feature_codec
    blocks = [
        codec.features_of(as_input(images_at(train, range(start, min(start + _BATCH, train_images)))))
        for start in tqdm(range(0, train_images, _BATCH), desc="features", disable=quiet)
    ]
    learnt = frozen_latents(feature_codec, blocks, seed, quiet)
    tested = frozen_latents(
        feature_codec,
        [test_features[start : start + _BATCH] for start in range(0, len(test_features), _BATCH)],
        seed + 1,
        quiet,
    )
    result: dict[str, Any] = {"train_images": train_images, "steps": steps, "test_images": len(test_features)}
    for name in ("with", "without"):
        trained = train_float_model(
            deepcopy(float_model), feature_codec, learnt, steps, seed, states=name == "with", quiet=quiet
        )
        result[f"{name}_states_bytes"] = latent_bits(feature_codec, trained, tested) / 8 / len(test_features)
    result["percent"] = 100 * (result["with_states_bytes"] / result["without_states_bytes"] - 1)
    return result


def train_float_model(
    float_model: FloatEntropyModel,
    codec: FeatureCodec,
    latents: FrozenLatents,
    steps: int,
    seed: int,
    *,
    states: bool,
    quiet: bool = True,
) -> FloatEntropyModel:
    """Trains a float model on frozen latents: bits relative to themselves, so that all qualities count alike."""
    torch.manual_seed(seed)
    float_model.train().requires_grad_(True)
    if not states:
        for task in range(codec.task_count):
            float_model.task(task).parents.data.zero_()
            float_model.task(task).parents.requires_grad_(False)
    optimiser = torch.optim.Adam([p for p in float_model.parameters() if p.requires_grad], 1e-3)
    schedule_ = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    rng = np.random.default_rng(seed)
    bar = tqdm(range(steps), desc="with states" if states else "without states", disable=quiet)
    for _ in bar:
        block = latents.block(_BATCH * int(rng.integers(-(-len(latents.graphs) // _BATCH))))
        bits = training_bits(float_model, codec, block)
        optimiser.zero_grad()
        (bits / bits.detach()).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule_.step()
    return float_model.eval().requires_grad_(False)


def training_bits(float_model: FloatEntropyModel, codec: FeatureCodec, latents: FrozenLatents) -> Tensor:
    """Differentiable bits of a block of latents."""
    latent_coder = TrainingLatentCoder(codec.networks, float_model, len(latents.graphs), latents.grids)
    for task, members in schedule(latents.graphs):
        images = torch.tensor(members)
        mask = _parents(latents.graphs, members, task)
        latent, hyper = latents.latent[images, task], latents.hyper[images, task]
        latent_coder.code(images, task, latents.quality[images], torch.from_numpy(mask).float(), latent, hyper)
    return latent_coder.bits.sum()


def latent_bits(codec: FeatureCodec, float_model: FloatEntropyModel, latents: FrozenLatents) -> float:
    """Ideal bits of latents under the integers made of a float model."""
    model, total = quantised_model(float_model, codec.networks), 0.0
    for start in range(0, len(latents.graphs), _BATCH):
        block = latents.block(start)
        steps = (block.quality.long() * QUALITY_STEPS_PER_UNIT)[:, None].repeat(1, codec.task_count).numpy()
        counter = SymbolCounter(model.tables)
        integers = IntegerLatentCoder(EntropyCoder(model, counter, steps, block.grids))
        for task, members in schedule(block.graphs):
            images = torch.tensor(members)
            mask = torch.from_numpy(_parents(block.graphs, members, task)).float()
            latent, hyper = block.latent[images, task], block.hyper[images, task]
            integers.code(images, task, block.quality[images], mask, latent, hyper)
        total += float(counter.bits.array(len(block.graphs), codec.task_count).sum())
    return total


def _parents(graphs: list[TaskGraph], members: list[int], task: int) -> NDArray[np.bool_]:
    mask = np.zeros((len(members), graphs[0].size), np.bool_)
    for row, image in enumerate(members):
        mask[row, list(graphs[image].parents[task])] = True
    return mask
