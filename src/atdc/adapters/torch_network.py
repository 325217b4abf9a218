"""A torch module as a network in two halves: tensors are taken, and put back, by hooks on modules inside it.

The second half runs the whole module on a black image and puts decoded tensors in the place of what modules give
there; that nothing else of the answers comes from the image is checked when the network is cut.
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
import threading
import weakref
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from atdc.adapters.answer import Answer, Array, usable_answers
from atdc.adapters.cut import cut_tensors, no_such, require_cut
from atdc.adapters.differences import SAME, difference, require_repeats
from atdc.adapters.halves import CutNetwork
from atdc.adapters.image_input import ImageInput, require_input
from atdc.errors import ArgumentError, CutError, NetworkError

_PICTURE = "the image itself, or what is made of it without gradients"
_NAMELESS = "a tensor of the first half that no module gives"


class _Collected(Exception):
    """All tensors are there: the rest of the network need not run."""


_running: weakref.WeakKeyDictionary[nn.Module, threading.Lock] = weakref.WeakKeyDictionary()
"""Held by the thread that runs a model with hooks in it, whichever network cuts that model."""


class TorchNetwork(CutNetwork):
    """A torch module cut at the outputs of modules inside it.

    Args:
        model: switched to evaluation, its parameters without gradients.
        cuts: dotted names of modules, ``layer3.1``, or such names by the name that the feature tensor gets; of a module
            that gives several tensors, one is named behind a colon: ``neck:0``, ``encoder:last_hidden_state``.
        input: how it takes images; its size must be said.
        name: what messages call it.
        answers: by name. Their tensors are the model's outputs (``output`` if it is one tensor, otherwise numbers or
            keys) or modules inside, as in `cuts`. All outputs by default.

    Raises:
        ArgumentError: what is no module, cut, input, answer or name.
        NetworkError: no such module (near names are listed), one that runs more than once, a model that fails or whose
            runs differ.
        CutError: the cut does not separate.
    """

    def __init__(
        self,
        model: nn.Module,
        cuts: Mapping[str, str] | Sequence[str],
        *,
        input: ImageInput,
        name: str = "network",
        answers: Mapping[str, Answer] | None = None,
    ) -> None:
        require_input(name, input)
        module: Any = model
        if not isinstance(module, nn.Module):
            raise ArgumentError(f"{name}, model", type(module).__name__, "a torch module", "Give the model itself.")
        if not input.size:
            raise ArgumentError(f"{name}, input", "no size", "height and width", "Say them: size=(224, 224).")
        if isinstance(model, torch.jit.ScriptModule):
            cure = "Give the module that it was made of."
            raise NetworkError(name, "a TorchScript module, whose modules cannot be hooked", "an eager one", cure)
        if any(is_lazy(value) for value in model.parameters()):
            cure = "Run the model on an image once before it is given."
            raise NetworkError(name, "lazy layers that have no weights yet", "a model whose layers have them", cure)
        self.name, self.input, self._model = name, input, model.eval().requires_grad_(False)
        self._modules, self._running = dict(model.named_modules()), _running.setdefault(model, threading.Lock())
        self._places = require_cut(name, cuts)
        for place in self._places:
            self._require_module(place, "cuts")
        probe = np.random.default_rng(0).integers(0, 256, (*input.size, 3), np.uint8)
        array = input.array(probe)
        outputs, arrays = self._probe(array)
        self.answers = usable_answers(name, answers, outputs)
        self._outputs = tuple(outputs)
        for answer in self.answers.values():
            for place in (*answer.outputs, answer.loss_on):
                if place and place not in outputs and place.partition(":")[0] not in self._modules:
                    raise no_such(
                        f"{name}, answers", place, [*outputs, *filter(None, self._modules)], "output or module"
                    )
        self._wanted = self._outputs_wanted
        self.tensors = cut_tensors(name, cuts, arrays, self._places)
        require_repeats(name, arrays, self._first(array))
        self._require_separation(array, arrays)
        digest = hashlib.sha256(f"{type(model).__qualname__} {self.input.canonical}".encode())
        digest.update(str(sorted((tensor.name, tensor.place) for tensor in self.tensors)).encode())
        for key, value in sorted(model.state_dict().items()):
            if not isinstance(value, Tensor) or value.is_meta or value.is_quantized:
                kind = type(value).__name__
                if isinstance(value, Tensor):
                    kind = "a tensor without values" if value.is_meta else "a quantised tensor"
                raise NetworkError(
                    f"{name}, {key}", f"{kind} in the state", "tensors of plain numbers",
                    "Give the model before it was quantised, or without extra state.",
                )  # fmt: skip
            digest.update(
                key.encode() + value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
            )
        self.digest = digest.hexdigest()[:16]

    # --- hooks -----------------------------------------------------------------------------------------------------

    def _require_module(self, place: str, setting: str) -> None:
        module = place.partition(":")[0]
        if not module or module not in self._modules:
            raise no_such(f"{self.name}, {setting}", module, filter(None, self._modules), "module")

    @contextlib.contextmanager
    def _hooked(
        self, collect: Sequence[str], replacements: Mapping[str, Tensor] | None = None, stop: bool = False
    ) -> Iterator[dict[str, Tensor]]:
        """Within it, tensors at places are collected as the network runs, or replaced.

        Tensors are copied, since what follows may work in place. One thread at a time: training runs second halves
        while another thread prepares the next batch with them, and hooks are the module's, not a thread's. Whoever else
        runs the module meanwhile is left alone.
        """
        captures: dict[str, Tensor] = {}
        thread = threading.get_ident()
        by_module: dict[str, list[str]] = {}
        for place in [*collect, *(replacements or {})]:
            by_module.setdefault(place.partition(":")[0], []).append(place)

        def hook_of(places: list[str]) -> Any:
            def hook(module: nn.Module, inputs: Any, output: Any) -> Any:
                if threading.get_ident() != thread:
                    return output
                for place in dict.fromkeys(places):
                    path = place.partition(":")[2]
                    if replacements and place in replacements:
                        output = _replaced(output, path, replacements[place].clone(), place, self.name)
                    elif place in collect:
                        captures[place] = _item(output, path, place, self.name).clone()
                if stop and len(captures) == len(set(collect)):
                    raise _Collected
                return output

            return hook

        with self._running:
            handles = [
                self._modules[module].register_forward_hook(hook_of(places)) for module, places in by_module.items()
            ]
            try:
                yield captures
            finally:
                for handle in handles:
                    handle.remove()

    def _run(self, image: Tensor) -> dict[str, Tensor]:
        """The model's outputs by name."""
        try:
            return _outputs_of(self._model(image))
        except (_Collected, NetworkError):
            raise
        except Exception as error:  # whatever the user's code raises
            failure = f"{type(error).__name__} ({str(error).splitlines()[0] if str(error) else 'without a word'})"
            raise NetworkError(
                self.name, failure, f"a run on {tuple(image.shape)}", "Check its input's settings."
            ) from error

    @torch.no_grad()
    def _probe(self, array: Array) -> tuple[dict[str, Tensor], dict[str, Array]]:
        """Outputs and tensors at the cut of one image; counts how often modules run."""
        counts: dict[str, int] = {}
        modules = {place.partition(":")[0] for place in self._places}

        def counting(name: str) -> Any:
            def hook(*_: Any) -> None:
                counts[name] = counts.get(name, 0) + 1

            return hook

        handles = [self._modules[name].register_forward_hook(counting(name)) for name in modules]
        try:
            with self._hooked(self._places) as captures:
                outputs = self._run(torch.from_numpy(array))
        finally:
            for handle in handles:
                handle.remove()
        for name in sorted(modules):
            if counts.get(name, 0) != 1:
                raise NetworkError(
                    f"{self.name}, {name}", f"a module that runs {counts.get(name, 0)} times", "one that runs once",
                    "Cut at another module.",
                )  # fmt: skip
        return outputs, self._arrays(captures)

    def _arrays(self, tensors: Mapping[str, Tensor]) -> dict[str, Array]:
        """Tensors at places as arrays.

        Raises:
            NetworkError: numbers of a type that is not coded or compared.
        """
        for place, value in tensors.items():
            if value.dtype == torch.bfloat16 or value.is_complex():
                raise NetworkError(
                    f"{self.name}, {place}", f"values of {value.dtype}", "real numbers of a type that NumPy has",
                    "Give the model in single precision (model.float()), or parts of complex numbers as reals.",
                )  # fmt: skip
        return {place: value.numpy() for place, value in tensors.items()}

    @torch.no_grad()
    def _first(self, array: Array) -> dict[str, Array]:
        with self._hooked(self._places, stop=True) as captures, contextlib.suppress(_Collected):
            self._run(torch.from_numpy(array))
        return self._arrays(captures)

    def _second_on(self, tensors: Mapping[str, Tensor], wanted: Sequence[str], image: Tensor) -> dict[str, Tensor]:
        places = [place for place in wanted if place not in self._outputs]
        with self._hooked(places, tensors) as captures:
            outputs = self._run(image)
        return {place: outputs[place] if place in outputs else captures[place] for place in wanted}

    def _differentiable(self, tensors: Mapping[str, Tensor], wanted: Sequence[str]) -> dict[str, Tensor]:
        for place in wanted:
            if place not in self._outputs:
                self._require_module(place, "answers")
        value = next(iter(tensors.values()))
        black = torch.from_numpy(self.input.array(np.zeros((*self.input.size, 3), np.uint8))).to(value.device)
        return self._second_on(tensors, wanted, black.expand(len(value), *black.shape[1:]).clone())

    @torch.no_grad()
    def _second(self, tensors: Mapping[str, Array]) -> dict[str, Array]:
        inputs = {place: torch.from_numpy(value) for place, value in tensors.items()}
        return self._arrays(self._differentiable(inputs, self._wanted))

    @torch.no_grad()
    def _whole(self, array: Array) -> dict[str, Array]:
        return self._arrays(self._second_on({}, self._wanted, torch.from_numpy(array)))

    # --- separation ------------------------------------------------------------------------------------------------

    def _require_separation(self, array: Array, arrays: Mapping[str, Array]) -> None:
        """Answers must be the same whatever image the second half runs on."""
        losses = [answer.loss_on for answer in self.answers.values() if answer.loss_on]
        wanted = list(dict.fromkeys([*self._wanted, *losses]))
        tensors = {place: torch.from_numpy(value) for place, value in arrays.items()}
        with torch.no_grad():
            whole = self._arrays(self._second_on({}, wanted, torch.from_numpy(array)))
            answers = self._arrays(self._differentiable(tensors, wanted))
        for name in wanted:
            if difference(whole[name], answers[name]) > SAME:
                with torch.no_grad():  # what is random differs without any leak
                    repeat = self._second_on({}, [name], torch.from_numpy(array))[name]
                require_repeats(self.name, {name: whole[name]}, {name: repeat.numpy()})
                crossing = self._crossing(array, wanted)
                verb = "reaches" if len(crossing) == 1 else "reach"
                raise CutError(
                    self.name, f"a cut that leaks: {', '.join(crossing[:3])} still {verb} "
                    f"{name} past the cut", f"a cut at {', '.join(self._places)} that separates",
                    "Add what crosses to the cut, cut elsewhere, or leave that answer out.",
                )  # fmt: skip

    def _crossing(self, array: Array, wanted: Sequence[str]) -> list[str]:
        """Modules of the first half whose output the second half takes, by the graph that gradients would go along."""
        makers, siblings = dict[Any, str](), dict[Any, str]()

        def noting(name: str) -> Any:
            is_cut = any(place.partition(":")[0] == name for place in self._places)

            def hook(module: nn.Module, inputs: Any, output: Any) -> None:
                for key, value in _outputs_of(output).items():
                    if value.grad_fn is not None:
                        makers[value.grad_fn] = name
                        if is_cut and not {name, f"{name}:{key}"} & set(self._places):
                            siblings[value.grad_fn] = f"{name}:{key}"

            return hook

        handles = [module.register_forward_hook(noting(name)) for name, module in self._modules.items() if name]
        image = torch.from_numpy(array).float().requires_grad_()
        inner_places = [place for place in wanted if place not in self._outputs]
        try:
            with self._hooked([*self._places, *inner_places]) as captures, torch.enable_grad():
                outputs = self._run(image)
        finally:
            for handle in handles:
                handle.remove()
        cut = {_before_copy(captures[place]) for place in self._places}
        first = _reachable(cut, set())
        answers = {_before_copy(captures[place]) if place in captures else outputs[place].grad_fn for place in wanted}
        nodes = _reachable(answers, first | set(siblings)) - first
        # What a module gives beside the tensor at the cut is of its own tensor, not of the decoded one.
        names = dict.fromkeys(siblings[node] for node in siblings.keys() & nodes)
        for node in nodes - siblings.keys():
            for source, _ in node.next_functions:
                if source is not None and source in first - cut:
                    of_image = source.name() == "torch::autograd::AccumulateGrad"
                    names[_PICTURE if of_image else makers.get(source, _NAMELESS)] = None
        return list(names) or [_PICTURE]


def _before_copy(tensor: Tensor) -> Any:
    """The node that made a tensor, which was copied when it was collected."""
    function = tensor.grad_fn
    return function.next_functions[0][0] if function is not None else None


def _reachable(start: set[Any], borders: set[Any]) -> set[Any]:
    """Nodes of autograd's graph that others depend on, not beyond some."""
    nodes: set[Any] = set()
    stack = [node for node in start if node is not None]
    while stack:
        node = stack.pop()
        if node in nodes:
            continue
        nodes.add(node)
        if node in borders and node not in start:
            continue
        stack += [source for source, _ in node.next_functions if source is not None]
    return nodes


def _outputs_of(output: Any, prefix: str = "") -> dict[str, Tensor]:
    """Tensors of any nest of lists, tuples and mappings, by numbers and keys."""
    if isinstance(output, Tensor):
        return {prefix or "output": output}
    if isinstance(output, Mapping):
        pairs: list[tuple[Any, Any]] = list(output.items())
    elif isinstance(output, (list, tuple)):
        pairs = list(enumerate(output))
    else:
        return {}
    return {
        name: value
        for key, part in pairs
        for name, value in _outputs_of(part, f"{prefix}.{key}" if prefix else str(key)).items()
    }


def _item(output: Any, path: str, place: str, where: str) -> Tensor:
    """The tensor at a path in a module's output."""
    tensors = _outputs_of(output)
    key = path or "output"
    if key not in tensors:
        raise NetworkError(
            f"{where}, {place}", f"the outputs {', '.join(tensors) or 'none'}", "one tensor",
            f"Name one of them behind a colon: {place.partition(':')[0]}:{next(iter(tensors), '0')}",
        )  # fmt: skip
    return tensors[key]


def _replaced(output: Any, path: str, value: Tensor, place: str, where: str) -> Any:
    """A module's output with another tensor at a path."""
    _item(output, path, place, where)
    if not path:
        return value
    key, _, subpath = path.partition(".")
    if isinstance(output, Mapping):
        result = copy.copy(output)
        name = next(entry for entry in output if str(entry) == key)
        result[name] = _replaced(output[name], subpath, value, place, where) if subpath else value  # type: ignore[index]
        return result
    parts = list(output)
    parts[int(key)] = _replaced(parts[int(key)], subpath, value, place, where) if subpath else value
    return type(output)(*parts) if hasattr(output, "_fields") else type(output)(parts)
