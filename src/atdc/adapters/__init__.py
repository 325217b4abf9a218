"""Other people's networks: cut in two, so that what the first half makes is coded and the second half answers.

>>> import atdc.adapters
>>> network = atdc.adapters.onnx("net.onnx", ["backbone/add_8"])                          # doctest: +SKIP
>>> codec = atdc.FeatureCodec.fit([network.features(image) for image in images])    # doctest: +SKIP
>>> answers = network.answers_of(codec.decode(codec.encode(network.features(image))))   # doctest: +SKIP

Whole sets of networks stand in one file, see :mod:`atdc.adapters.network_set` and ``docs/your-networks.md``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from atdc.adapters.answer import Answer as Answer
from atdc.adapters.halves import CutNetwork as CutNetwork
from atdc.adapters.image_input import ImageInput as ImageInput

if TYPE_CHECKING:
    from atdc.data.dumped import DumpedFeatures

__all__ = ["Answer", "CutNetwork", "ImageInput", "dumped", "onnx", "torch"]

Cuts = Mapping[str, str] | Sequence[str]
"""Where a network is cut; by the names that the feature tensors get, or without: ``net/64x33x33`` then."""


def torch(
    model: Any, cuts: Cuts, *, input: ImageInput, name: str = "network", answers: Mapping[str, Answer] | None = None
) -> CutNetwork:
    """A torch module, cut at modules inside it; see :class:`atdc.adapters.torch_network.TorchNetwork`.

    >>> from torch import nn
    >>> model = nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.ReLU(), nn.Conv2d(4, 2, 1))
    >>> network = torch(model, {"relu": "1"}, input=ImageInput(size=(9, 9)), name="tiny")
    >>> [(tensor.name, tensor.feature_shape) for tensor in network.tensors], list(network.answers)
    ([('relu', (4, 4, 4))], ['output'])
    """
    from atdc.adapters.torch_network import TorchNetwork

    return TorchNetwork(model, cuts, input=input, name=name, answers=answers)


def onnx(
    path: str | Path,
    cuts: Cuts,
    *,
    input: ImageInput | None = None,
    name: str = "",
    answers: Mapping[str, Answer] | None = None,
) -> CutNetwork:
    """An ONNX file, cut at tensors; see :class:`atdc.adapters.onnx_network.OnnxNetwork`."""
    from atdc.adapters.onnx_network import OnnxModel, OnnxNetwork

    return OnnxNetwork(OnnxModel(path, name, input), cuts, answers)


def dumped(folder: str | Path) -> DumpedFeatures:
    """Features that any program has written; see :class:`atdc.data.dumped.DumpedFeatures`."""
    from atdc.data.dumped import DumpedFeatures

    return DumpedFeatures(folder)
