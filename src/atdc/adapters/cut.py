"""Where a network is cut: names, places and forms of the tensors there."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from atdc.adapters.answer import Array
from atdc.errors import ArgumentError, NetworkError


@dataclass(frozen=True, slots=True)
class CutTensor:
    """A tensor at the cut.

    Attributes:
        name: of the feature tensor.
        place: where it is in the network.
        shape: there, with a batch of one.
        type: there, as NumPy calls it.
    """

    name: str
    place: str
    shape: tuple[int, ...]
    type: str

    @property
    def feature_shape(self) -> tuple[int, int, int]:
        """Channels, height and width, see :func:`feature_shape`."""
        return feature_shape(self.shape)

    @property
    def values(self) -> int:
        """Numbers of an image."""
        channels, height, width = self.feature_shape
        return channels * height * width

    def feature_of(self, values: Any) -> Any:
        """From the network's form to (n, C, h, w), of arrays and of torch's tensors."""
        if len(self.shape) == 4:
            return values
        return values.swapaxes(1, 2)[..., None] if len(self.shape) == 3 else values[..., None, None]

    def place_of(self, feature: Any) -> Any:
        """The inverse."""
        if len(self.shape) == 4:
            return feature
        return feature[..., 0].swapaxes(1, 2) if len(self.shape) == 3 else feature[..., 0, 0]


def feature_shape(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Channels, height and width: (1, C, h, w) as it is, tokens (1, N, D) as (D, N, 1), a vector as (C, 1, 1)."""
    if len(shape) == 4:
        return shape[1], shape[2], shape[3]
    return (shape[2], shape[1], 1) if len(shape) == 3 else (shape[1], 1, 1)


def require_cut(name: str, cuts: Mapping[str, str] | Sequence[str]) -> list[str]:
    """The places of a cut, each once.

    Raises:
        ArgumentError: none, or one twice.
    """
    argument: Any = cuts
    if not isinstance(argument, Mapping | Sequence) or not cuts or isinstance(cuts, str):
        raise ArgumentError(f"{name}, cuts", repr(cuts), "one tensor at least, as a list or by name")
    places = list(cuts.values()) if isinstance(cuts, Mapping) else list(cuts)
    for text in (*cuts, *places):
        if not isinstance(text, str):
            raise ArgumentError(f"{name}, cuts", repr(text), "a name, as text")
    for place in places:
        if places.count(place) > 1:
            raise ArgumentError(f"{name}, cuts", f"{place!r} twice", "each tensor once")
    return places


def cut_names(name: str, cuts: Mapping[str, str] | Sequence[str], shapes: Mapping[str, tuple[int, ...]]) -> list[str]:
    """Names of the tensors at the cut: those given, or like ``segments/64x33x33``.

    >>> cut_names("net", ["a", "b"], {"a": (4, 8, 8), "b": (4, 8, 8)})
    ['net/4x8x8', 'net/4x8x8.2']
    """
    if isinstance(cuts, Mapping):
        return list(cuts)
    names: list[str] = []
    for place in cuts:
        base = f"{name}/{'x'.join(map(str, shapes[place]))}"
        count = sum(entry == base or entry.startswith(f"{base}.") for entry in names)
        names.append(f"{base}.{count + 1}" if count else base)
    return names


def cut_tensors(
    name: str, cuts: Mapping[str, str] | Sequence[str], arrays: Mapping[str, Array], places: Sequence[str]
) -> tuple[CutTensor, ...]:
    """The tensors at the cut, from what one image gives.

    Raises:
        NetworkError: one of another rank, of whole numbers, or with another batch than one.
    """
    for place in places:
        values = arrays[place]
        if values.dtype.kind != "f" or not 2 <= values.ndim <= 4 or values.shape[0] != 1 or 0 in values.shape:
            raise NetworkError(
                f"{name}, {place}", f"{values.dtype} of the shape {values.shape}",
                "numbers with a point, (1, C, h, w), (1, N, D) or (1, C)", "Cut at another tensor.",
            )  # fmt: skip
    tensors = {place: CutTensor("", place, arrays[place].shape, str(arrays[place].dtype)) for place in places}
    names = cut_names(name, cuts, {place: tensor.feature_shape for place, tensor in tensors.items()})
    return tuple(
        CutTensor(tensor_name, place, tensors[place].shape, tensors[place].type)
        for tensor_name, place in zip(names, places, strict=True)
    )


def no_such(where: str, name: str, candidates: Iterable[str], kind: str) -> NetworkError:
    """The error of a name that is not there, with near ones."""
    names = list(candidates)
    matches = difflib.get_close_matches(name, names, n=3, cutoff=0.3)
    matches = list(dict.fromkeys(matches))
    matches += [
        candidate for candidate in names if name and name.lower() in candidate.lower() and candidate not in matches
    ][: 3 - len(matches)]
    cure = (
        f"Near: {', '.join(matches)}."
        if matches
        else f"Known: {', '.join(names[:8])}{', …' if len(names) > 8 else ''}."
    )
    return NetworkError(where, f"no {kind} {name!r}", f"one of its {len(names)} {kind}s", cure)
