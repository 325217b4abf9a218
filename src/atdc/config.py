"""Frozen, validated settings: the architecture of a model, and the recipe that trains it.

Under each field stands its meaning, its unit, and whether the value is the paper's or ours.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import operator
import re
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, cast

import yaml

from atdc.errors import ArgumentError
from atdc.files import reason_of
from atdc.tensors import FeatureSet

DEFAULT_MODEL = "real"
"""Weights that images are encoded with, unless others are named."""
QUALITY_STEPS_PER_UNIT = 8
"""Quality travels as an integer in steps of 1/8."""
MAX_QUALITY = 7
"""Qualities run from 0 (fewest bytes) to 7 (best answers)."""
PIXEL_LIMIT = 1 << 26
"""The largest image, height times width, that is encoded or decoded unless told otherwise: 8192 x 8192 pixels.

Encoding takes about 45 bytes a pixel, here 3 GB.
"""

RECIPES = Path(__file__).parent / "recipes"
FIT_RECIPES = RECIPES / "fit"
"""The folder of the recipes that come with the package."""

T = TypeVar("T")

STRIDE = 16
"""Pixels per feature position, along each axis, of every architecture of task networks."""


def quality_of(value: Any, where: str = "quality") -> float:
    """A quality as a number; whatever Python, NumPy or torch calls a number is one, and so is a string of digits.

    Args:
        value: from 0 to 7. What travels is the nearest multiple of 1/8, which `inspect` shows.
        where: what to call it in an error.

    Raises:
        ArgumentError: no number, or one out of range.

    >>> quality_of("4"), quality_of(True)
    Traceback (most recent call last):
    atdc.errors.ArgumentError: quality: found True; expected a number from 0 to 7. Try quality 4.
    """
    try:
        no_number = isinstance(value, (bool, bytes, bytearray)) or _dtype_of(value).startswith(("bool", "complex"))
        number = math.nan if no_number else float(value)
    except (TypeError, ValueError, OverflowError, RuntimeError):  # torch raises the last for more than one number
        number = math.nan
    if not 0 <= number <= MAX_QUALITY:
        raise ArgumentError(where, repr(value), f"a number from 0 to {MAX_QUALITY}", "Try quality 4.")
    return number


Quality = float | Sequence[float]
"""For all tasks one, or one for each."""


def quality_steps(quality: Quality, task_count: int) -> tuple[int, ...]:
    """Qualities as integers in steps of 1/8, one per task; each is rounded to the nearest (halves to the even one).

    Raises:
        ArgumentError: not a number from 0 to 7, or not one per task.

    >>> quality_steps(4, 2), quality_steps([0.5, 7], 2)
    ((32, 32), (4, 56))
    """
    argument: Any = quality
    if (
        isinstance(argument, (str, bytes, Mapping, Set))
        or not hasattr(argument, "__len__")
        or getattr(argument, "ndim", 1) == 0
    ):
        return (round(quality_of(argument) * QUALITY_STEPS_PER_UNIT),) * task_count
    values = [quality_of(value) for value in argument]
    if len(values) != task_count:
        raise ArgumentError("quality", f"{len(values)} values", f"one for each of the {task_count} tasks")
    return tuple(round(value * QUALITY_STEPS_PER_UNIT) for value in values)


def nearest_integer_quality(quality: Quality, task_count: int) -> int:
    """The integer quality at which graphs kept with the weights are looked up: nearest to the mean over tasks.

    >>> nearest_integer_quality(3.5, 2), nearest_integer_quality([0.5, 7], 2)
    (4, 4)
    """
    steps = quality_steps(quality, task_count)
    return level_of(sum(steps) / len(steps))


def level_of(step: float) -> int:
    """The integer quality nearest to one in eighths; halves go up.

    >>> level_of(28), level_of(27)
    (4, 3)
    """
    return min(MAX_QUALITY, int(step / QUALITY_STEPS_PER_UNIT + 0.5))


def _dtype_of(value: Any) -> str:
    """What NumPy or torch calls the type of a number of theirs; nothing for any other value."""
    return str(getattr(value, "dtype", "")).removeprefix("torch.")


def pixel_limit_of(value: Any) -> int:
    """A limit of pixels as an integer.

    Raises:
        ArgumentError: no whole number.

    >>> pixel_limit_of(float("nan"))
    Traceback (most recent call last):
    atdc.errors.ArgumentError: pixel_limit: found nan; expected a whole number of pixels.
    """
    try:
        return operator.index(value)
    except TypeError as error:
        raise ArgumentError("pixel_limit", repr(value), "a whole number of pixels") from error


def require_one_of(where: str, value: Any, choices: Sequence[str]) -> None:
    """Refuses what is none of the known words, and names the one probably meant.

    >>> require_one_of("effort", "hihg", ("normal", "high"))
    Traceback (most recent call last):
    atdc.errors.ArgumentError: effort: found 'hihg'; expected one of normal, high. Did you mean 'high'?
    """
    if not isinstance(value, str) or value not in choices:
        close = difflib.get_close_matches(str(value), choices, n=1)
        cure = f"Did you mean {close[0]!r}?" if close else ""
        raise ArgumentError(where, repr(value), f"one of {', '.join(choices)}", cure)


MAX_TABLES = 256
"""Of probabilities: an index of a table is a byte."""


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """Everything that fixes the shape of a model's networks. Stored with the weights."""

    architecture: str = "small"
    """Of the task networks: `small` (ours) or `xception` (the paper's)."""
    classes: int = 14
    """Semantic classes (ours 14, Taskonomy 17)."""
    feature_channels: int = 32
    """Channels of each task's feature tensor (the paper's Taskonomy networks: 512; ours, small: 32)."""
    stride: int = STRIDE
    """Pixels per feature position, along each axis."""
    encoder_widths: tuple[int, int, int] = (32, 48, 96)
    """Channels at 1/4, 1/8 and 1/16 of the resolution (ours; of `small` only)."""
    head_widths: tuple[int, int, int] = (80, 48, 24)
    """Channels at 1/16, 1/8 and 1/4 of the resolution (ours; of `small` only)."""
    max_parents: int = 2
    """K_max, the most parents a task may have in a searched graph (paper: 2)."""
    predictor_width: int = 96
    """Hidden channels of the shared predictor (ours)."""
    latent_channels: int = 64
    """Channels of the latent y, at half the feature resolution (ours)."""
    codec_width: int = 96
    """Hidden channels of the analysis and synthesis transforms (ours)."""
    hyper_channels: int = 8
    """Channels of the hyper-latent, at a quarter of the feature resolution (ours)."""
    hyper_width: int = 32
    """Hidden channels of the hyper transforms (ours)."""
    state_channels: int = 16
    """Channels of the integer state by which decoded parents inform a child's probability tables (ours)."""
    scorer_width: int = 96
    """Hidden channels of the rate estimator (ours)."""
    scale_min: float = 0.05
    """Smallest standard deviation of the entropy tables, in quantisation steps (ours)."""
    scale_max: float = 64.0
    """Largest standard deviation of the entropy tables, in quantisation steps (ours)."""
    scale_count: int = 64
    """How many entropy tables, geometrically spaced (ours)."""
    residual: str = "conditional"
    """`conditional`: the transforms see the prediction too; `plain`: they see the residual only (the paper)."""
    parents: str = "both"
    """What decoded parents give their child: a `prediction` of its features (the paper), `context` for its probability
    tables, `both` (ours), or `none`."""
    rate_estimator: str = "pairs"
    """What estimates costs before coding: `pairs`, with an output for each child and parent set, for a few
    tensors of one grid; `agreement`, the same, which also sees how far every two tensors agree; `factorised`, for any
    number and any grids (ours)."""
    factorised: str = "none"
    """Which tasks have no hyper-latent, so that each latent channel has one density everywhere: `none` (ours), `roots`
    (the paper), or `all`."""
    padding: str = "coded"
    """Latents that lie wholly in the padding of a tensor's grid: `coded` like all others, or `zero`, without a symbol
    (what `atdc fit` makes). Grids of multiples of four have none."""
    spatial_context: str = "none"
    """What is known of a latent tells of the rest of it: `none`, or `checkerboard`, of which one colour is coded first
    (He et al., "Checkerboard Context Model for Efficient Learned Image Compression", CVPR 2021; `atdc fit`)."""
    gains: str = "latent"
    """What a learned gain of each quality scales: the channels of the `latent`, or also the `hidden` ones of the
    networks next to the linear transforms, which refine otherwise at low quality than at high (`atdc fit`)."""

    def __post_init__(self) -> None:
        """Refuses what no network can be built from."""
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise ArgumentError(f"model.{name}", repr(getattr(self, name)), f"one of {', '.join(choices)}")
        for name in _COUNTS:
            value, least = getattr(self, name), 0 if name == "max_parents" else 1
            if isinstance(value, bool) or not least <= value <= _LARGEST_COUNT:
                raise ArgumentError(f"model.{name}", repr(value), f"{least} to {_LARGEST_COUNT}")
        if not 2 <= self.scale_count <= MAX_TABLES:
            raise ArgumentError("model.scale_count", str(self.scale_count), f"2 to {MAX_TABLES}")
        if not 0 < self.scale_min < self.scale_max < _LARGEST_COUNT:
            values = f"scale_min {self.scale_min:g}, scale_max {self.scale_max:g}"
            raise ArgumentError("model.scale_min", values, "positive numbers, the first the smaller")
        if self.stride != STRIDE:
            raise ArgumentError("model.stride", str(self.stride), f"{STRIDE}, which all task networks have")
        for name in _WIDTHS_OF_SMALL:
            widths: Any = getattr(self, name)
            if len(widths) != 3 or not all(type(width) is int and 1 <= width <= _LARGEST_COUNT for width in widths):
                values = repr(list(widths))
                raise ArgumentError(f"model.{name}", values, f"three whole numbers from 1 to {_LARGEST_COUNT}")
            usual = type(self).__dataclass_fields__[name].default
            if self.architecture != "small" and getattr(self, name) != usual:
                where, values = f"model.{name}", f"{getattr(self, name)} for {self.architecture}"
                raise ArgumentError(where, values, f"{usual}: that architecture has widths of its own", "Leave it out.")

    def tensors(self, names: Iterable[object]) -> FeatureSet:
        """Tensors of these names, alike as the task networks' features are.

        >>> ModelConfig().tensors(["depth"])[0]
        TensorSpec(name='depth', channels=32, grid=16, latent_channels=64)
        """
        return FeatureSet.alike(names, self.feature_channels, self.latent_channels, self.stride)

    @property
    def predicts(self) -> bool:
        """Parents predict their child's features."""
        return self.parents in ("both", "prediction")

    @property
    def informs(self) -> bool:
        """Parents inform their child's probability tables."""
        return self.parents in ("both", "context")


_COUNTS = (
    "classes", "feature_channels", "max_parents", "predictor_width", "latent_channels", "codec_width", "hyper_channels",
    "hyper_width", "state_channels", "scorer_width", "scale_count",
)  # fmt: skip
_LARGEST_COUNT = 1 << 16
_WIDTHS_OF_SMALL = ("encoder_widths", "head_widths")
_CHOICES = {
    "architecture": ("small", "xception"),
    "residual": ("conditional", "plain"),
    "parents": ("both", "prediction", "context", "none"),
    "factorised": ("none", "roots", "all"),
    "padding": ("coded", "zero"),
    "spatial_context": ("none", "checkerboard"),
    "gains": ("latent", "hidden"),
    "rate_estimator": ("pairs", "agreement", "factorised"),
}


def _require_numbers(settings: Any) -> None:
    """Refuses numbers below 0, or 0 where that makes no sense, and shares above 1, in a dataclass.

    Raises:
        ArgumentError: there is one.
    """
    for setting in dataclasses.fields(settings):
        value = getattr(settings, setting.name)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            continue
        positive, most = setting.name not in _MAY_BE_ZERO, 1 if setting.name in _SHARES else 1 << 32
        if 0 <= value <= most and (value or not positive):
            continue
        expected = f"a number {'above 0' if positive else 'from 0'}, at most {most}"
        if isinstance(value, int):
            expected = f"a whole number from {int(positive)} to {most}"
        raise ArgumentError(setting.name, str(value), expected)


_SHARES = ("subset_share", "val_share", "latent_energy", "spoilt_share")
_MAY_BE_ZERO = (
    "shared_epochs", "half_epochs", "epochs", "weight_decay", "feature_noise", "feature_weight", "spoilt_share",
    "subset_share", "tasks_per_step", "lr_end", "seed", "warmup_steps", "predictor_steps", "steps", "entropy_steps",
    "objective_lr",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class TaskStage:
    """Training of the six encoders and heads, from small images to whole ones (ours)."""

    shared_epochs: int = 24
    """On half-size images, one encoder for segmentation, normals and depth: what all six encoders start from."""
    half_epochs: int = 10
    """On half-size images, each task with its own encoder."""
    epochs: int = 6
    """On full-size images, each task with its own encoder."""
    batch: int = 16
    lr: float = 2e-3
    """Falls to its half in the first part, to a quarter in the second and to a two-hundredth in the third."""
    weight_decay: float = 1e-4
    feature_noise: float = 0.3
    """Each image's features get Gaussian noise of a standard deviation drawn from [0, this], in standard deviations of
    the features (ours)."""
    accumulate: int = 1
    """Parts of each batch taken one after the other, where memory is too small."""

    def __post_init__(self) -> None:
        """Refuses numbers that nothing can be made of."""
        _require_numbers(self)


@dataclass(frozen=True, slots=True)
class FitRecipe:
    """Fitting a codec to features: how large it is, and for how many steps it is trained.

    The paper trains its predictor for 20 epochs, then its codec for 5 epochs of warm-up and 20 of rate and distortion,
    in batches of 8, at a learning rate from 1e-4 to 1e-5.
    """

    name: str = "fit"
    seed: int = 0
    predictor_width: int = 64
    """Hidden channels of the shared predictor."""
    codec_width: int = 64
    """Hidden channels of the analysis and synthesis transforms."""
    hyper_channels: int = 8
    """Channels of the hyper-latents."""
    hyper_width: int = 32
    """Hidden channels of the hyper transforms."""
    state_channels: int = 16
    """Channels of the integer states by which parents inform a child's probability tables."""
    estimator_width: int = 32
    """Length of the rate estimator's summary of a tensor."""
    latent_channels: int = 192
    """The most latent channels of a tensor."""
    latent_energy: float = 0.999
    """Latents have as many channels as principal components of 2×2 blocks need for this share of the energy."""
    max_parents: int = 2
    """The most parents a tensor may have in a searched graph."""
    predictor_steps: int = 600
    """Of the predictor alone."""
    warmup_steps: int = 300
    """Of the codec on features, with graphs that the predictor chooses, at the full learning rate. Where an objective
    says how sensitive it is, errors of features count by that."""
    steps: int = 3000
    """Of the codec, at a falling learning rate, on the objective if there is one."""
    frozen_analysis: bool = False
    """The steps on the objective after a warm-up change what is made of latents alone, and not these."""
    entropy_steps: int = 0
    """Of the entropy model alone, at a falling learning rate, when all else stays as it is."""
    batch: int = 16
    """Samples of a step."""
    accumulate: int = 1
    """Parts of each batch taken one after the other, where memory is too small."""
    lr: float = 1e-3
    lr_end: float = 2e-5
    objective_lr: float = 0.0
    """Where an objective is given, the warm-up's learning rate falls to this one, with which the steps on the objective
    begin; 0: to `lr`."""
    lambda_min: float = 0.5
    """Λ of quality 0: bits that a unit of squared error of the normalised features may cost, per feature element."""
    lambda_max: float = 60.0
    """Λ of quality 7; geometric between."""
    feature_weight: float = 0.1
    """Weight of the features' error next to an objective, where one is given: an anchor. An error counts as in the
    warm-up."""
    tasks_per_step: int = 2
    """The objective is taken of this many random tensors a step, scaled up so that its mean is unchanged."""
    subset_share: float = 0.3
    """Share of steps that code a random subset of the tensors, each size alike."""
    val_share: float = 0.1
    """Share of samples kept for validation, where none are given; at most 500."""
    rate_estimator: str = "factorised"
    """What estimates costs before coding, see :attr:`ModelConfig.rate_estimator`."""
    estimator_images: int = 800
    """Training samples whose costs are measured for the rate estimator."""
    spoilt_share: float = 0.0
    """Share of these of each of which one tensor is spoilt, see :mod:`atdc.training.spoiling`: what the rate estimator
    learns, and candidate graphs are made of, next to whole samples."""
    estimator_steps: int = 1500
    """Of the rate estimator."""
    codebook_size: int = 8
    """Candidate graphs kept with the weights."""

    def __post_init__(self) -> None:
        """Refuses what nothing can be made of."""
        _require_numbers(self)
        require_one_of("rate_estimator", self.rate_estimator, _CHOICES["rate_estimator"])
        if self.lambda_min > self.lambda_max:
            raise ArgumentError("lambda_min", f"{self.lambda_min:g}", f"at most lambda_max, {self.lambda_max:g}")
        _require_name(self.name)

    @property
    def trains_transforms(self) -> bool:
        """There are steps of the codec's transforms."""
        return bool(self.warmup_steps + self.steps)

    @property
    def trains_entropy(self) -> bool:
        """There are steps of its entropy model, with transforms or alone."""
        return self.trains_transforms or bool(self.entropy_steps)

    def model(self) -> ModelConfig:
        """Settings of the networks."""
        return ModelConfig(
            max_parents=self.max_parents, predictor_width=self.predictor_width, codec_width=self.codec_width,
            hyper_channels=self.hyper_channels, hyper_width=self.hyper_width, state_channels=self.state_channels,
            scorer_width=self.estimator_width, rate_estimator=self.rate_estimator, latent_channels=self.latent_channels,
            padding="zero", gains="hidden", spatial_context="checkerboard",
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class NetworkShape:
    """What fixes the shape of the task networks, see :class:`ModelConfig`."""

    architecture: str = "small"
    classes: int = 14
    feature_channels: int = 32
    encoder_widths: tuple[int, int, int] = (32, 48, 96)
    head_widths: tuple[int, int, int] = (80, 48, 24)


@dataclass(frozen=True, slots=True)
class Recipe:
    """A whole training run, from images to shipped weights: task networks, then the codec of their features."""

    name: str = "small"
    seed: int = 0
    start: str = ""
    """Weights, by name or file, that training starts from; empty: nothing."""
    anew: bool = False
    """The codec begins anew, though there are weights to start from: their task networks alone are kept."""
    data: str = "rooms"
    """What is learned from: `rooms`, which are rendered; `taskonomy` or `nyuv2`, which must be there; `rooms+nyuv2`."""
    real_repeats: int = 4
    """How often each real training image occurs next to rooms."""
    augment: bool = False
    """Half of the training images are zoomed and recoloured, each time for the task networks, once and for all for
    the codec: for data sets of few images."""
    train_count: int = 8000
    """Training images, rendered, or drawn from a data set that is read; features take two bytes a number."""
    val_count: int = 500
    """Validation images, likewise."""
    networks: NetworkShape = field(default_factory=NetworkShape)
    tasks: TaskStage = field(default_factory=TaskStage)
    codec: FitRecipe = field(default_factory=FitRecipe)

    def __post_init__(self) -> None:
        """Refuses what nothing can be made of."""
        _require_numbers(self)
        _require_name(self.name)
        if self.train_count < 2:
            raise ArgumentError("train_count", str(self.train_count), "2 or more")
        for setting in ("name", "seed", "val_share"):
            value, usual = getattr(self.codec, setting), getattr(FitRecipe(), setting)
            if value != usual:
                raise ArgumentError(f"codec.{setting}", repr(value), "nothing: a training has its own", "Leave it out.")
        try:
            self.model()
        except ArgumentError as error:
            where = error.where.replace("model.", "networks.", 1)
            raise ArgumentError(where, error.found, error.expected, error.cure) from error

    def model(self) -> ModelConfig:
        """Settings of all networks.

        >>> load_recipe(Path("taskonomy_xception")).model().feature_channels
        512
        """
        return dataclasses.replace(self.codec.model(), **dataclasses.asdict(self.networks))

    def codec_recipe(self) -> FitRecipe:
        """How the codec is fitted: as :attr:`codec` says, under the training's name and seed."""
        return dataclasses.replace(self.codec, name=self.name, seed=self.seed)


def _require_name(name: str) -> None:
    if not name or Path(name).name != name:
        raise ArgumentError("name", repr(name), "a name of a file, without a folder")


def settings_of(cls: type[T], values: Any, where: str) -> T:
    """Settings of a kind, a dataclass whose fields have defaults, from plain values.

    Args:
        cls: the dataclass.
        values: a mapping, as YAML has it.
        where: what messages call it.

    Raises:
        ArgumentError: an unknown setting, or a value of another type than the default; the setting's path is named.
    """
    if not isinstance(values, dict):
        raise ArgumentError(where, repr(values), "a mapping of settings")
    names = [f.name for f in dataclasses.fields(cast(Any, cls))]
    unknown = sorted(set(values) - set(names))
    if unknown:
        raise ArgumentError(where, f"unknown setting {unknown[0]!r}", f"one of {', '.join(names)}")
    built: dict[str, Any] = {}
    for key, value in values.items():
        default = getattr(cls(), key)
        if dataclasses.is_dataclass(default):
            value = settings_of(type(default), value, f"{where}.{key}")
        built[key] = like_default(f"{where}.{key}", value, default)
    try:
        return cls(**built)
    except ArgumentError as error:
        raise within(where, error) from error


_KINDS: dict[type, str] = {
    tuple: "a list", dict: "a mapping", str: "a text", int: "a whole number", float: "a number", bool: "true or false",
}  # fmt: skip


def like_default(where: str, value: Any, default: T) -> T:
    """A value of its default's type, into which lists (to tuples) and whole numbers (to floats) are turned.

    Raises:
        ArgumentError: of another type.

    >>> like_default("size", [2, 4], ()), like_default("white", 255, 1.0)
    ((2, 4), 255.0)
    """
    if isinstance(default, tuple) and isinstance(value, list):
        value = tuple(value)
    elif isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if not _is_like(value, default):
        raise ArgumentError(where, repr(value), _KINDS.get(type(default), f"a value like {default!r}"))
    return cast(T, value)


def settle_types(settings: Any, where: str) -> None:
    """Brings each field of a frozen dataclass to its default's type, see :func:`like_default`: for ``__post_init__``.

    Raises:
        ArgumentError: a field of another type.
    """
    for entry in dataclasses.fields(settings):
        value = like_default(f"{where}.{entry.name}", getattr(settings, entry.name), entry.default)
        object.__setattr__(settings, entry.name, value)


def _is_like(value: Any, default: Any) -> bool:
    """Whether a value is of a default's type; booleans are no numbers.

    >>> _is_like(True, 1), _is_like(2, 1), _is_like((), (1,))
    (False, True, True)
    """
    return isinstance(value, type(default)) and isinstance(value, bool) == isinstance(default, bool)


def within(where: str, error: ArgumentError) -> ArgumentError:
    """The same error, said to be of one of several places.

    >>> print(within("nets.yaml, a", ArgumentError("weight", "-1", "a number from 0")))
    nets.yaml, a, weight: found -1; expected a number from 0.
    """
    return ArgumentError(f"{where}, {error.where}", error.found, error.expected, error.cure)


def model_config(values: dict[str, Any]) -> ModelConfig:
    """The architecture stored next to weights; raises :class:`ArgumentError` on unknown or mistyped settings."""
    return settings_of(ModelConfig, values, "model")


def shipped_recipes(folder: Path = RECIPES) -> tuple[str, ...]:
    """The names of the recipes in a folder, by default of those that come with the package.

    >>> "small" in shipped_recipes()
    True
    """
    return tuple(sorted(path.stem for path in folder.glob("*.yaml")))


def load_recipe(path: Path) -> Recipe:
    """Reads a recipe.

    Args:
        path: a YAML file, or the name of a shipped recipe, without folder and suffix.

    Raises:
        ArgumentError: there is no such recipe, or a value is not usable; the setting's path is named.

    >>> load_recipe(Path("small")).name
    'small'
    """
    return read_settings(Recipe, path, RECIPES)


def load_fit_recipe(path: Path) -> FitRecipe:
    """Reads a recipe for fitting a codec to features, as :func:`load_recipe` does a training's.

    >>> load_fit_recipe(Path("fit_small")).steps < load_fit_recipe(Path("fit")).steps
    True
    """
    return read_settings(FitRecipe, path, FIT_RECIPES)


def read_settings(kind: type[T], path: Path, folder: Path, what: str = "recipe") -> T:
    """Reads settings of a kind, a dataclass whose fields have defaults, as :func:`load_recipe` does a recipe.

    Args:
        kind: the dataclass.
        path: a YAML file, or the name of one in the folder, without suffix.
        folder: of the shipped ones.
        what: they are called in messages.

    Raises:
        ArgumentError: as :func:`load_recipe` does.

    >>> read_settings(Recipe, Path("tiny"), RECIPES).name
    'tiny'
    """
    return settings_of(kind, _read(path, folder, what), path.name)


class _UniqueKeys(yaml.SafeLoader):
    """Refuses a key that stands twice in a mapping, of which YAML's loaders take the last without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """See :class:`yaml.SafeLoader`."""
        keys = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in keys:
                raise yaml.constructor.ConstructorError(None, None, f"the key {key.value!r} twice", key.start_mark)
            keys.add(key.value)
        return super().construct_mapping(node, deep)


# YAML 1.1 takes 1e-3, which Python and YAML 1.2 take for a number, for a text.
_UniqueKeys.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)[eE][-+]?[0-9]+$"), list("-+.0123456789")
)


def _read(path: Path, folder: Path, what: str) -> Any:
    shipped = shipped_recipes(folder)
    file = folder / f"{path}.yaml" if str(path) in shipped else path
    try:
        with open(file, "rb") as stream:  # whose name is in YAML's messages, as a text's is not
            values = yaml.load(stream, _UniqueKeys)
    except OSError as error:
        reason = "a folder" if file.is_dir() else reason_of(error)
        expected = f"the name of a shipped {what} ({', '.join(shipped)}) or a readable YAML file"
        raise ArgumentError(str(path), reason, expected) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ArgumentError(str(path), f"broken YAML ({error})", f"a {what} like {folder / shipped[0]}.yaml") from error
    if values is None:
        raise ArgumentError(
            str(path), "no setting", f"settings, as in {folder / shipped[0]}.yaml",
            f"Name a shipped {what} ({', '.join(shipped)}) where its settings will do.",
        )  # fmt: skip
    return values
