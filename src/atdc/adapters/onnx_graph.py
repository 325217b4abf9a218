"""The graph of an ONNX model: who makes and who takes which tensor, and what crosses a cut. Reads messages only."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any

from atdc.adapters.cut import no_such
from atdc.errors import CutError, ProgramError


class OnnxGraph:
    """Tensors and nodes of a model.

    Attributes:
        nodes: in an order in which they can be computed.
        constants: weights by name.
        inputs: tensors that a caller gives.
        outputs: tensors that a caller gets.
    """

    def __init__(self, model: Any) -> None:
        graph = model.graph
        self.model = model
        self.nodes = list(graph.node)
        self.constants = {tensor.name: tensor for tensor in graph.initializer}
        self.inputs = [value for value in graph.input if value.name not in self.constants]
        self.outputs = [value.name for value in graph.output]

    @cached_property
    def producers(self) -> dict[str, int]:
        """The number of the node that makes a tensor."""
        return {name: place for place, node in enumerate(self.nodes) for name in node.output if name}

    @cached_property
    def of_image(self) -> frozenset[str]:
        """Tensors that depend on the inputs."""
        names = {value.name for value in self.inputs}
        for node in self.nodes:
            if any(name in names for name in node.input):
                names.update(name for name in node.output if name)
        return frozenset(names)

    def require(self, name: str, where: str) -> None:
        """Refuses a tensor that is not there, or does not depend on the image.

        Raises:
            NetworkError: with near names.
        """
        if name not in self.of_image:
            names = [out for node in self.nodes for out in node.output if out in self.of_image]
            raise no_such(where, name, names, "tensor")

    def needed(self, wanted: Iterable[str], cut: Iterable[str]) -> tuple[list[int], set[str]]:
        """Nodes, in order, that make tensors from given ones and constants, and the inputs that they still take."""
        cut, names = set(cut), {value.name for value in self.inputs}
        nodes: set[int] = set()
        inputs: set[str] = set()
        stack = [name for name in wanted if name not in cut]
        while stack:
            name = stack.pop()
            if name in names:
                inputs.add(name)
            place = self.producers.get(name)
            if place is None or place in nodes:
                continue
            nodes.add(place)
            stack += [source for source in self.nodes[place].input if source and source not in cut]
        return sorted(nodes), inputs

    def crossing(self, cut: Sequence[str], wanted: Sequence[str]) -> list[str]:
        """Tensors next to those of a cut that the second half takes from the first; none if the cut separates."""
        second, _ = self.needed(wanted, cut)
        first = set(self.needed(cut, ())[0])
        inputs = {value.name for value in self.inputs}
        cut_names = set(cut)
        names: dict[str, None] = {}
        for place in second:
            if place in first:
                continue
            for name in self.nodes[place].input:
                is_earlier = self.producers.get(name) in first or name in inputs
                if name in self.of_image and is_earlier and name not in cut_names:
                    names[name] = None
        for name in wanted:  # an answer of the first half is no answer to what was decoded
            if name not in cut_names and self.producers.get(name) in first:
                names[name] = None
        return list(names)

    def require_separation(self, cut: Sequence[str], wanted: Sequence[str], where: str) -> None:
        """Refuses a cut that does not separate.

        Raises:
            CutError: with the tensors that still cross.
        """
        if crossing := self.crossing(cut, wanted):
            remainder = f" and {len(crossing) - 3} more" if len(crossing) > 3 else ""
            verb = "goes" if len(crossing) == 1 else "go"
            raise CutError(
                where, f"a cut that leaks: {', '.join(crossing[:3])}{remainder} still {verb} "
                "from the first half to the second", f"a cut at {', '.join(cut)} that separates",
                "Add what crosses to the cut, or cut elsewhere: `atdc networks cuts` lists places.",
            )  # fmt: skip


def library(name: str) -> Any:
    """A package that the extra ``networks`` brings.

    Raises:
        ProgramError: it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        cure = "Install it: pip install onnx onnxruntime"
        raise ProgramError(name, "no such package", "what networks in ONNX files need", cure) from error
