"""A set of networks in one file: where each is, how it takes images, where it is cut, and what it answers.

::

    networks:
      segments:
        onnx: deeplab.onnx                        # next to this file, below $ATDC_NETWORKS, or package:name/file.onnx
        input: {white: 255}                       # see atdc.adapters.image_input; an ONNX file says much itself
        cuts: [backbone/add_8]                    # tensors; or {my name: tensor}
        answers:
          classes: {tensor: ArgMax, loss_on: logits, loss: kl, metric: miou}
      edges:
        torch: my_networks.py:build               # or package.module:function
        arguments: {width: 32}
        state: edges.pt                           # a state_dict, loaded with weights_only
        input: {size: [240, 320], mean: [0.5], std: [0.25]}
        cuts: {edges/c3: backbone.layer3}
        answers:
          map: {tensor: output, loss: l1}
"""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atdc.adapters.answer import Answer, Array, RgbImage
from atdc.adapters.distances import loss_function, metric_function
from atdc.adapters.halves import CutNetwork
from atdc.adapters.image_input import ImageInput
from atdc.adapters.python_files import file_of, loaded, loaded_function
from atdc.config import RECIPES, read_settings, settings_of, within
from atdc.errors import ArgumentError, NetworkError
from atdc.images import ImageLike, as_rgb

_ANSI = re.compile(r"\x1b\[[0-9;]*m")

NETWORK_SETS = RECIPES / "networks"
"""The folder of the sets that come with the package."""
DIGESTS = "networks"
"""Where a codec's card keeps what networks its features are of."""
_SAYS_SOMETHING = 0.3
"""What a map from 0 to 1 has to reach somewhere to count in means."""


@dataclass(frozen=True, slots=True)
class NetworkSettings:
    """One network of a set."""

    onnx: str = ""
    """An ONNX file; or"""
    torch: str = ""
    """what makes a torch module: ``package.module:function`` or ``file.py:function``."""
    arguments: dict[str, Any] = field(default_factory=dict)
    """Of that function."""
    state: str = ""
    """A file with the module's ``state_dict``."""
    input: ImageInput = field(default_factory=ImageInput)
    cuts: dict[Any, Any] = field(default_factory=dict)
    """Tensors or modules by the names that features get."""
    tensors: tuple[str, ...] = ()
    """Those without names of their own: features are called like ``segments/64x33x33``."""
    answers: dict[str, Any] = field(default_factory=dict)
    """See :class:`~atdc.adapters.answer.Answer`; all outputs by default."""


@dataclass(frozen=True, slots=True)
class NetworkSettingsFile:
    """What is in a file of settings."""

    name: str = "networks"
    networks: dict[str, Any] = field(default_factory=dict)


class NetworkSet:
    """Networks whose features are coded together.

    Args:
        networks: in the order of their features.
        folder: of the files that they name.

    Attributes:
        networks: by name.

    Raises:
        ArgumentError: none, a name twice, or an unknown loss or metric.
    """

    def __init__(self, networks: list[CutNetwork], folder: Path = Path()) -> None:
        self.networks = {network.name: network for network in networks}
        self.folder = folder
        if not networks or len(self.networks) < len(networks):
            raise ArgumentError("networks", "none" if not networks else "a name twice", "networks of different names")
        self.places = {tensor.name: (network.name, tensor) for network in networks for tensor in network.tensors}
        names = [tensor.name for network in networks for tensor in network.tensors]
        for name in names:
            if names.count(name) > 1:
                raise ArgumentError(
                    "networks", f"the tensor {name!r} twice", "each name once", "Give cuts other names."
                )
        for network in networks:
            network.folder = folder
            for key, answer in network.answers.items():
                try:
                    if answer.is_reported:
                        metric_function(answer.metric, folder)
                    for function in filter(None, (answer.function, answer.drawing)):
                        loaded_function(function, folder)
                    if answer.loss != "none":
                        loss_function(answer.loss, folder)
                except ArgumentError as error:
                    raise within(f"{network.name}/{key}", error) from error

    @property
    def names(self) -> tuple[str, ...]:
        """Of all feature tensors."""
        return tuple(self.places)

    @property
    def digests(self) -> dict[str, str]:
        """By network: what tells whether features are the same numbers."""
        return {name: network.digest for name, network in self.networks.items()}

    def features(
        self, image: ImageLike, where: str = "image", tensors: Collection[str] | None = None
    ) -> dict[str, NDArray[np.float32]]:
        """Feature tensors of an image, (C, h, w) by name, see :meth:`~atdc.adapters.halves.CutNetwork.features`.

        Args:
            image: it.
            where: what messages call it.
            tensors: those that are needed; only networks that have one run. All by default.

        Raises:
            ArgumentError: no image.
            ImageError: one that cannot be read.
            DataError: a value is not finite.
        """
        image = as_rgb(image)
        features: dict[str, NDArray[np.float32]] = {}
        for network in self.networks.values():
            if tensors is None or any(tensor.name in tensors for tensor in network.tensors):
                features |= network.features(image, where)
        return features

    def answers_of(self, features: Mapping[str, Array]) -> dict[str, Array]:
        """Answers of the networks whose tensors are all there, by ``network/answer``."""
        return {
            f"{name}/{key}": value
            for name, network in self.networks.items()
            if all(tensor.name in features for tensor in network.tensors)
            for key, value in network.answers_of(features).items()
        }

    def whole(self, image: RgbImage) -> dict[str, Array]:
        """Answers of the networks that are not cut, likewise."""
        return {
            f"{name}/{key}": value
            for name, network in self.networks.items()
            for key, value in network.whole(image).items()
        }

    def agreement(self, before: Mapping[str, Array], after: Mapping[str, Array]) -> dict[str, float]:
        """Each answer's metric, after against before; not a number where there is nothing to compare."""
        return {
            key: metric_function(self._answer(key).metric, self.folder)(before[key], value)
            for key, value in after.items()
        }

    def saying(self, before: Mapping[str, Array]) -> frozenset[str]:
        """Which answers, by ``network/answer``, say something.

        Maps that ``overlap`` compares reach 0.3 somewhere: without anything in them, they agree whatever is sent.
        Others can be compared with themselves, which an answer that finds no line, or no body, cannot.
        """
        agreements = self.agreement(before, before)
        return frozenset(
            key
            for key, value in agreements.items()
            if not math.isnan(value)
            and (self._answer(key).metric != "overlap" or before[key].max(initial=0) >= _SAYS_SOMETHING)
        )

    def counted(
        self, before: Mapping[str, Array], after: Mapping[str, Array], saying: frozenset[str]
    ) -> dict[str, float]:
        """Each answer's agreement as means count it: not a number where the answer before says nothing, 0 where only
        the one after does.

        Args:
            before: answers by ``network/answer``.
            after: of the same photo.
            saying: those of the answers before that say something, of :meth:`saying`.
        """
        return {
            key: (0.0 if math.isnan(value) else value) if key in saying else math.nan
            for key, value in self.agreement(before, after).items()
        }

    def _answer(self, key: str) -> Answer:
        name, _, answer = key.partition("/")
        return self.networks[name].answers[answer]

    def drawn(self, key: str, image: RgbImage, before: Array, answer: Array) -> RgbImage | None:
        """A picture of the answer ``network/answer``; see :meth:`~atdc.adapters.halves.CutNetwork.drawn`."""
        name, _, answer_name = key.partition("/")
        return self.networks[name].drawn(answer_name, image, before, answer)

    def tensors_of(self, networks: list[str]) -> list[str]:
        """Names of the tensors of networks.

        Raises:
            ArgumentError: an unknown network.
        """
        for name in networks:
            if name not in self.networks:
                raise ArgumentError("networks", repr(name), f"some of {', '.join(self.networks)}")
        return [tensor.name for name in networks for tensor in self.networks[name].tensors]

    def tensors_among(self, names: Iterable[str]) -> list[str]:
        """Names of tensors, networks' replaced by those of their tensors; what is neither stays as it is."""
        return [tensor for name in names for tensor in (self.tensors_of([name]) if name in self.networks else [name])]

    def require_digests(self, digests: Mapping[str, str] | None, whose: str) -> None:
        """Refuses features, or a codec, of other networks.

        Args:
            digests: by network, as they were kept; None where none were.
            whose: what messages call it.

        Raises:
            NetworkError: another network, input or cut.
        """
        cure = "Use the settings and files that the features were made with, or make features and codec again."
        if digests is None:
            raise NetworkError(whose, "no word on which networks its features are of", "that of these networks", cure)
        for name, digest in self.digests.items():
            if name not in digests:
                raise NetworkError(whose, f"none of the network {name}", f"features of {', '.join(self.digests)}", cure)
            if digests[name] != digest:
                expected = f"those of this one ({digest}): equal file, input and cut"
                raise NetworkError(
                    whose, f"features of another {name} ({digests[name]})", expected, cure,
                )  # fmt: skip


def load_networks(path: str | Path) -> NetworkSet:
    """Reads a file of settings, or a shipped set by name, and loads its networks.

    Raises:
        ArgumentError: a setting that is not usable; its path is named.
        NetworkError: a network that cannot be run or cut.
        ProgramError: a package is missing.
    """
    file = Path(path)
    shipped_file = NETWORK_SETS / f"{path}.yaml"
    values = read_settings(NetworkSettingsFile, file, NETWORK_SETS, "set of networks")
    folder = shipped_file.parent if shipped_file.is_file() else file.parent
    where = f"{file.name}.networks"
    names: list[Any] = list(values.networks)
    for name in names:
        if not isinstance(name, str) or not name:
            raise ArgumentError(where, f"a network called {name!r}", "a name", "Write it in quotes.")
    networks = [_network(name, settings, folder, f"{where}.{name}") for name, settings in values.networks.items()]
    return NetworkSet(networks, folder)


def _network(name: str, values: Any, folder: Path, where: str) -> CutNetwork:
    if isinstance(values, dict) and isinstance(values.get("cuts"), list):
        values = {**values, "tensors": values["cuts"], "cuts": {}}
    settings = settings_of(NetworkSettings, values, where)
    if bool(settings.onnx) == bool(settings.torch):
        raise ArgumentError(where, "both onnx and torch" if settings.onnx else "neither onnx nor torch", "one of them")
    if "/" in name:
        raise ArgumentError(where, repr(name), "a name without a slash")
    answers = {
        str(key): settings_of(Answer, entry, f"{where}.answers.{key}") for key, entry in settings.answers.items()
    }
    for key, place in settings.cuts.items():
        if not isinstance(key, str) or not isinstance(place, str):
            raise ArgumentError(f"{where}.cuts", f"{key!r}: {place!r}", "names of texts", "Write them in quotes.")
    cuts: Any = settings.cuts or [str(tensor) for tensor in settings.tensors]
    if settings.onnx:
        from atdc.adapters.onnx_network import OnnxModel, OnnxNetwork

        return OnnxNetwork(OnnxModel(file_of(settings.onnx, folder), name, settings.input), cuts, answers)
    from atdc.adapters.torch_network import TorchNetwork

    module = _module(settings, folder, where)
    return TorchNetwork(module, cuts, input=settings.input, name=name, answers=answers)


def _module(settings: NetworkSettings, folder: Path, where: str) -> Any:
    import torch

    build: Callable[..., Any] = loaded(settings.torch, folder)
    try:
        module = build(**settings.arguments)
    except (Exception, SystemExit) as error:  # whatever the user's code raises; an interruption stays one
        raise NetworkError(where, f"{type(error).__name__} ({error})", f"a module from {settings.torch}") from error
    if not isinstance(module, torch.nn.Module):
        raise NetworkError(where, type(module).__name__, f"a torch module from {settings.torch}")
    if settings.state:
        path = file_of(settings.state, folder)
        try:
            module.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
        except Exception as error:  # of torch.load and load_state_dict, some ten kinds
            reason = textwrap.shorten(_ANSI.sub("", str(error)), 300, placeholder=" …")
            raise NetworkError(str(path), reason, f"a state_dict of {settings.torch}") from error
    return module
