"""The codecs that work on inputs, by the names of their weights."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from atdc.adapters.network_codec import NetworkCodec
    from atdc.bitstream.sources import Source
    from atdc.codec import FeatureCodec
    from atdc.pipeline import Codec


def tensor_names(model: str) -> tuple[str, ...]:
    """What weights code.

    Raises:
        WeightsError: no such weights, or a damaged file.
    """
    from atdc.weights import open_weights

    return open_weights(model).task_names


@cache
def codes_images(model: str) -> bool:
    """Whether weights have networks that make features of images, and answers of features.

    Raises:
        WeightsError: no such weights, or a damaged file.
    """
    from atdc.weights import open_weights

    return bool(open_weights(model).arrays("tasks."))


def load_codecs(model: str, device: str) -> tuple[Codec | None, FeatureCodec]:
    """The codec of images, None where the weights have no networks for them, and that of their features."""
    from atdc import pipeline
    from atdc.codec import FeatureCodec

    if not codes_images(model):
        return None, FeatureCodec.load(model).to(device)
    codec = pipeline.load(model).to(device)
    return codec, codec.feature_codec


def cut_networks(networks: str, features: FeatureCodec, model: str) -> NetworkCodec:
    """Networks with the codec of their features."""
    from atdc.adapters.network_codec import NetworkCodec
    from atdc.adapters.network_set import load_networks

    return NetworkCodec(load_networks(networks), features, f"weights {model}")


class Codecs:
    """What decodes files: the weights of a name, or without one those that wrote a file; each is loaded once.

    Args:
        model: the name, or a file.
        device: where networks run.
        networks: a set of networks whose second halves give answers, by name or file.

    Raises:
        WeightsError: the named weights cannot be used.
    """

    def __init__(self, model: str | None, device: str, networks: str | None) -> None:
        self._model = model
        self._load = cache(lambda name: load_codecs(name, device))
        self._cut_by = cache(
            lambda name: None if networks is None else cut_networks(networks, self._load(name)[1], name)
        )
        if model is not None:
            self._load(model)

    def of(self, source: Source) -> tuple[Codec | None, FeatureCodec, NetworkCodec | None]:
        """For a file: the codec of images and that of networks, where there are such, and that of features.

        Raises:
            WeightsError: no such weights, or a damaged file.
            NetworkError: other networks than those of the weights.
        """
        from atdc.weights import default_model, writer_of

        name = self._model or writer_of(source) or default_model()
        return *self._load(name), self._cut_by(name)
