"""One process of `atdc bench selfcheck`: codes images and reads files in the way it is told, and says what came of it.

Called as ``python -m atdc_bench.experiments.selfcheck_worker JOB``, with the path of a job in JSON; the answer is one
line of JSON on standard output. What must be said before a process starts (environment variables) is the caller's
affair; what of it took effect is observed here. Nothing is judged here.
"""

from __future__ import annotations

import ctypes
import dataclasses
import hashlib
import json
import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from atdc.codec import EncodedBatch, FeatureCodec, Profile
from atdc.coding.traversal import schedule
from atdc.data.labelled import as_input
from atdc.entropy.integer import Integers
from atdc.entropy.model import EntropyModel
from atdc.errors import BitstreamError
from atdc.files import write_bytes_atomically
from atdc.networks.devices import coarse_arithmetic
from atdc.networks.rate_estimators import PairEstimator
from atdc.pipeline import Codec, load

TaskIntegers = tuple[Integers, Integers]
"""A task's decoded hyper-latent and latent of one image, in sixteenths."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What a process can be told once it runs.

    Attributes:
        threads: of torch.
        batch: images coded, and files restored, in one call.
        mkldnn: whether oneDNN may convolve.
        layout: ``usual``: as the package lays weights out; or ``channels_last`` or ``contiguous`` for all of them.
        autocast: networks compute in bfloat16 where torch finds that fit.
        compiled: encoders and transforms are compiled.
        device: where encoders, transforms, predictor and rate estimator compute.
    """

    threads: int = 1
    batch: int = 1
    mkldnn: bool = True
    layout: str = "usual"
    autocast: bool = False
    compiled: bool = False
    device: str = "cpu"


@dataclass(frozen=True, slots=True)
class Group:
    """Images that can be coded in one call.

    Attributes:
        name: the files are called ``name-0``, ``name-1`` and so on.
        images: path of an array (n, 3, H, W) of bytes.
        quality: for all tasks, or one per task.
        profile: of the files.
        graphs: a search setting per image.
    """

    name: str
    images: str
    quality: float | list[float]
    profile: Profile
    graphs: list[str]


@dataclass(frozen=True, slots=True)
class Files:
    """Files of images of one size.

    Attributes:
        paths: of the files.
        restore: whether features are wanted, not only integers.
    """

    paths: list[str]
    restore: bool


@dataclass(frozen=True, slots=True)
class Job:
    """What a process does: first it encodes, then it decodes, be it its own files.

    Attributes:
        model: name or weights file.
        settings: how.
        folder: where files (``.atdc``) and restored, normalised features (``.npy``) go.
        encode: images.
        decode: files.

    >>> job = Job("small", Settings(batch=8), "/tmp", [], [Files(["/tmp/a.atdc"], True)])
    >>> Job.from_json(job.to_json()) == job
    True
    """

    model: str
    settings: Settings
    folder: str
    encode: list[Group]
    decode: list[Files]

    def to_json(self) -> str:
        """The job as text."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Job:
        """The inverse of :meth:`to_json`."""
        raw = json.loads(text)
        return cls(
            raw["model"], Settings(**raw["settings"]), raw["folder"],
            [Group(**group) for group in raw["encode"]], [Files(**files) for files in raw["decode"]],
        )  # fmt: skip


# --- the integers ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class ListeningModel(EntropyModel):
    """An entropy model that keeps the integers it is told of: the same for who writes and who reads.

    Attributes:
        calls: in order, the task, and its decoded hyper-latents and latents.
    """

    calls: list[tuple[int, Integers, Integers]] = field(default_factory=list)

    @classmethod
    def of(cls, model: EntropyModel) -> ListeningModel:
        """One that computes what another does."""
        return cls(**{item.name: getattr(model, item.name) for item in dataclasses.fields(EntropyModel) if item.init})

    def hidden_sums(
        self, task: int, steps: Integers, hyper: Integers, parents: NDArray[np.bool_], states: Mapping[int, Integers]
    ) -> Integers:
        """As the model has it; the hyper-latents are kept."""
        self.calls.append((task, hyper, hyper[:0]))
        return super().hidden_sums(task, steps, hyper, parents, states)

    def state(self, task: int, steps: Integers, latent: Integers, hidden: Integers) -> Integers:
        """As the model has it; the latents are kept."""
        call_task, hyper, _ = self.calls[-1]
        assert call_task == task, "a task's state follows its prior"
        self.calls[-1] = task, hyper, latent
        return super().state(task, steps, latent, hidden)

    def written(self, encoded: EncodedBatch) -> list[dict[int, TaskIntegers]]:
        """Per image of a batch that was just coded, the integers its writer had; forgets them."""
        images: list[dict[int, TaskIntegers]] = [{} for _ in encoded.graphs]
        for (task, members), (call_task, hyper, latent) in zip(schedule(encoded.graphs), self.calls, strict=True):
            assert call_task == task, "tasks are coded in the order of the schedule"
            for row, image in enumerate(members):
                images[image][task] = hyper[row], latent[row]
        self.calls.clear()
        return images

    def read(self) -> dict[int, TaskIntegers]:
        """The integers of a file that was just read; forgets them."""
        integers = {task: (hyper[0], latent[0]) for task, hyper, latent in self.calls}
        self.calls.clear()
        return integers


def digest(integers: Mapping[int, TaskIntegers]) -> str:
    """SHA-256 of an image's integers: by task, hyper-latent and latent, int32, little-endian.

    >>> integers = {0: (np.zeros((1, 1, 2), np.int64), np.ones((2, 2, 3), np.int64))}
    >>> digest(integers) == digest(dict(integers)), digest(integers) == digest({1: integers[0]})
    (True, False)
    """
    total = hashlib.sha256()
    for task in sorted(integers):
        total.update(task.to_bytes(4, "little"))
        for values in integers[task]:
            total.update(values.astype("<i4").tobytes())
    return total.hexdigest()


def _record(integers: Mapping[int, TaskIntegers]) -> dict[str, Any]:
    return {"digest": digest(integers), "symbols": sum(values.size for pair in integers.values() for values in pair)}


# --- the settings ----------------------------------------------------------------------------------------------------


def float_networks(codec: Codec) -> list[nn.Module]:
    """Every network that codes, cut where one can be called by itself: tensors in, tensors out."""
    networks = codec.feature_codec.networks
    estimator = networks.rate_estimator
    assert isinstance(estimator, PairEstimator), "shipped weights have an output for each pair"
    units: list[nn.Module] = [*codec.networks.encoders, networks.predictor, *networks.predictor.shares, estimator.local]
    for task in range(networks.task_count):
        transforms = networks.task(task)
        units += [transforms.block, transforms.unblock, transforms.analysis_layers, transforms.hyper_analysis_layers]
        units += [transforms.synthesis_deep, transforms.synthesis_merge]
    return units


def place(codec: Codec, device: torch.device) -> None:
    """Lets the networks compute on a device, while everything between them stays where it is."""

    def to_device(module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(value.to(device) if isinstance(value, Tensor) else value for value in inputs)

    def to_cpu(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> Any:
        return output.cpu() if isinstance(output, Tensor) else tuple(value.cpu() for value in output)

    for unit in float_networks(codec):
        unit.to(device)
        unit.register_forward_pre_hook(to_device)
        unit.register_forward_hook(to_cpu)


def lay_out(codec: Codec, layout: str) -> None:
    """Lays all weights out in one way, and the encoders' input with them."""
    form = torch.channels_last if layout == "channels_last" else torch.contiguous_format
    for module in (codec.networks, codec.feature_codec.networks):
        for parameter in module.parameters():
            if parameter.ndim == 4:
                parameter.data = parameter.data.contiguous(memory_format=form)
    for encoder in codec.networks.encoders:
        encoder.register_forward_pre_hook(lambda module, inputs: (inputs[0].contiguous(memory_format=form),))


def compile_networks(codec: Codec) -> None:
    """Compiles encoders and transforms; they are built when first called."""
    for encoder in codec.networks.encoders:
        encoder.compile()
    for task in range(codec.feature_codec.task_count):
        transforms = codec.feature_codec.networks.task(task)
        for name in ("analysis", "hyper_analysis", "synthesis"):
            setattr(transforms, name, torch.compile(getattr(transforms, name)))


class Observer:
    """Notes, by hooks on convolutions that every image passes, how the networks really compute."""

    def __init__(self, codec: Codec) -> None:
        self.properties: dict[str, str] = {}
        self.batch = 0
        first = next(layer for layer in codec.networks.encoders[0].modules() if isinstance(layer, nn.Conv2d))
        self._watch(first, "encoders")
        self._watch(codec.feature_codec.networks.predictor.hidden[0], "codec")

    def _watch(self, layer: nn.Module, name: str) -> None:
        def note(module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
            last = output.is_contiguous(memory_format=torch.channels_last)
            self.properties[f"{name}_layout"] = "channels_last" if last else "contiguous"
            self.properties[f"{name}_dtype"] = str(output.dtype).removeprefix("torch.")
            self.properties[f"{name}_device"] = output.device.type
            self.batch = max(self.batch, len(output))

        layer.register_forward_hook(note)


def blas() -> dict[str, Any]:
    """The library that multiplies numpy's matrices, its kernels and threads, by asking it; OpenBLAS on Linux only."""
    try:
        lines = Path("/proc/self/maps").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    paths = {line.split(maxsplit=5)[5] for line in lines if "openblas" in line.rpartition("/")[2]}
    for path in sorted(paths, key=lambda path: ("numpy" not in path, path)):  # SciPy brings one of its own
        library = ctypes.CDLL(path)
        for name in ("scipy_openblas_{}64_", "scipy_openblas_{}", "openblas_{}64_", "openblas_{}"):
            if hasattr(library, name.format("get_corename")):
                core = getattr(library, name.format("get_corename"))
                core.restype = ctypes.c_char_p
                threads = getattr(library, name.format("get_num_threads"))()
                return {"blas": Path(path).name, "blas_core": core().decode(), "blas_threads": threads}
    return {"blas": None, "blas_core": None, "blas_threads": None}


def numpy_features() -> list[str]:
    """The processor's features that numpy has code for, found, and does not leave out on request."""
    config: Any = np.show_config(mode="dicts")  # typed as None by some releases
    return list(config.get("SIMD Extensions", {}).get("found", []))


def took_effect(observer: Observer) -> dict[str, Any]:
    """How this process computes, as far as it can be observed."""
    compiler = sys.modules.get("torch._dynamo.utils")  # loaded by whoever compiles
    graphs = 0 if compiler is None else int(compiler.counters["stats"]["unique_graphs"])
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "threads": torch.get_num_threads(),
        "mkldnn": torch.backends.mkldnn.is_available() and bool(torch.backends.mkldnn.enabled),  # type: ignore[no-untyped-call]
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        **blas(),
        "numpy_features": numpy_features(),
        "batch": observer.batch,
        "compiled": graphs > 0,
        **observer.properties,
    }


# --- the work --------------------------------------------------------------------------------------------------------


def run_job(job: Job) -> dict[str, Any]:
    """Does a job.

    Returns:
        ``effective``: see :func:`took_effect`; ``encoded`` by file name and ``decoded`` by path: digest and number of
        the integers, or the ``error`` with which a file was refused, and ``finite`` where features were restored.
    """
    settings = job.settings
    torch.set_num_threads(settings.threads)
    torch.backends.mkldnn.enabled = settings.mkldnn  # type: ignore[assignment]  # a property that takes a bool
    codec = load(job.model)
    features = codec.feature_codec
    model = ListeningModel.of(features.entropy)
    features.entropy = model
    observer = Observer(codec)
    if settings.layout != "usual":
        lay_out(codec, settings.layout)
    if settings.device != "cpu":
        place(codec, torch.device(settings.device))
    if settings.compiled:
        compile_networks(codec)
    folder = Path(job.folder)
    encoded: dict[str, Any] = {}
    decoded: dict[str, Any] = {}
    with torch.no_grad(), coarse_arithmetic(settings.autocast):
        for group in job.encode:
            encoded |= _encode(codec, model, group, settings.batch, folder)
        for files in job.decode:
            decoded |= _decode(features, model, files, settings.batch, folder)
    return {"effective": took_effect(observer), "encoded": encoded, "decoded": decoded}


def _encode(codec: Codec, model: ListeningModel, group: Group, batch: int, folder: Path) -> dict[str, Any]:
    images, records = np.load(group.images), {}
    for start in range(0, len(images), batch):
        settings = group.graphs[start : start + batch]
        features = codec.features_of(as_input(images[start : start + batch]))
        chosen = {name: codec.feature_codec.choose_graphs(features, group.quality, name) for name in set(settings)}
        graphs = [chosen[name][row] for row, name in enumerate(settings)]
        sizes = [(images.shape[2], images.shape[3])] * len(graphs)
        coded = codec.feature_codec.encode_batch(features, group.quality, graphs, sizes=sizes, profile=group.profile)
        for row, (data, integers) in enumerate(zip(coded.data, model.written(coded), strict=True)):
            name = f"{group.name}-{start + row}"
            write_bytes_atomically(folder / f"{name}.atdc", data)
            records[name] = _record(integers)
    return records


def _decode(codec: FeatureCodec, model: ListeningModel, files: Files, batch: int, folder: Path) -> dict[str, Any]:
    """The two halves of ``decode_batch``, reading and restoring, so that a file that is refused fails alone."""
    records: dict[str, Any] = {}
    whole = []
    for path in files.paths:
        model.calls.clear()
        try:
            whole.append((path, codec.integers.read(Path(path).read_bytes())))
            records[path] = _record(model.read())
        except BitstreamError as error:
            records[path] = {"error": str(error)}
    for start in range(0, len(whole) if files.restore else 0, batch):
        part = whole[start : start + batch]
        restored = torch.stack(codec.restore([integers for _, integers in part]), 1).float()
        mean, std = (torch.stack(rows)[:, :, None, None] for rows in (codec.mean, codec.std))
        normalised = (restored - mean) / std
        for (path, _), values in zip(part, normalised, strict=True):
            records[path]["finite"] = bool(values.isfinite().all())
            np.save(folder / f"{Path(path).stem}.npy", values.numpy())
    return records


def main(arguments: Sequence[str] | None = None) -> None:
    """Does the job whose path is the one argument, and prints what came of it."""
    (path,) = sys.argv[1:] if arguments is None else arguments
    print(json.dumps(run_job(Job.from_json(Path(path).read_text(encoding="utf-8")))))


if __name__ == "__main__":
    main()
