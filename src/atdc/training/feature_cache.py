"""Features of a data split on disk: computed once after the task networks are trained, then read at random."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from atdc.data.labelled import IMAGE, LabelledImages
from atdc.networks.devices import device_of
from atdc.networks.task_networks import TaskNetworks
from atdc.tasks import TENSOR_NAMES
from atdc.training import processes
from atdc.training.run_folder import RunFolder

_BATCH = 20
_ROUNDS = 50
"""Between two notes of how far it is."""


class FeatureCache:
    """Raw features (N, T, C, h, w) of a split, float16 on disk, as a :class:`~atdc.data.feature_source.FeatureSource`;
    resumes where a kill left it. Several processes share the work and the file.

    Attributes:
        names: of the tensors, in the tasks' order.
        features: all of them.
    """

    def __init__(self, run: RunFolder, split: str, networks: TaskNetworks, data: LabelledImages) -> None:
        self.names = TENSOR_NAMES
        self._path = run.path / "features" / f"{split}.npy"
        self._path.parent.mkdir(exist_ok=True)
        key = f"features/{split}.json"
        count = run.read_json(key, {"images": 0})["images"]
        if count < len(data):
            self._fill(run, key, count, networks, data)
        self.features: NDArray[np.float16] = np.load(self._path, mmap_mode="r")

    @torch.no_grad()
    def _fill(self, run: RunFolder, key: str, count: int, networks: TaskNetworks, data: LabelledImages) -> None:
        networks.eval()

        def features_of(indices: NDArray[np.int64]) -> NDArray[np.float16]:
            image = torch.from_numpy(np.asarray(data.targets(indices, (IMAGE,))[IMAGE]).astype(np.float32) / 255)
            return networks.features(image.to(device_of(networks))).half().cpu().numpy()

        if count == 0 and processes.is_first():
            shape = (len(data), *features_of(np.arange(1)).shape[1:])
            np.lib.format.open_memmap(self._path, "w+", np.float16, shape).flush()
        processes.wait()
        array = np.lib.format.open_memmap(self._path, "r+")
        # Each process takes a block of a round; after some rounds all are known to be there.
        round_size = _BATCH * processes.count()
        rounds = processes.bar(range(count, len(data), round_size), desc=f"features of {Path(key).stem}")
        for number, start in enumerate(rounds):
            first = start + _BATCH * processes.rank()
            indices = np.arange(first, min(first + _BATCH, len(data)))
            if len(indices):
                array[indices] = features_of(indices)
            if number % _ROUNDS == _ROUNDS - 1 or start + round_size >= len(data):
                array.flush()
                processes.wait()
                run.write_json(key, {"images": min(start + round_size, len(data))})

    def __len__(self) -> int:
        return len(self.features)

    def shapes(self, index: int) -> dict[str, tuple[int, int, int]]:
        """The same of every sample."""
        channels, height, width = self.features.shape[2:]
        return dict.fromkeys(self.names, (channels, height, width))

    def read(self, index: int) -> dict[str, NDArray[np.float32]]:
        """Raw features (C, h, w) of a sample."""
        return dict(zip(self.names, self.features[index].astype(np.float32), strict=True))

    def described(self, index: int) -> str:
        """A sample as messages name it."""
        return f"features of image {index} of {self._path.stem}"
