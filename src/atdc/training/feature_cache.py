"""Features of a data split on disk: computed once after the task networks are trained, then read at random."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from atdc.data.labelled import IMAGE, LabelledImages
from atdc.networks.devices import device_of
from atdc.networks.task_networks import TaskNetworks
from atdc.training import processes
from atdc.training.run_folder import RunFolder

_BATCH = 20
_ROUNDS = 50
"""Between two notes of how far it is."""


class FeatureCache:
    """Raw features (N, T, C, h, w) of a split, float16 on disk; resumes where a kill left it. Several processes share
    the work and the file."""

    def __init__(self, run: RunFolder, split: str, networks: TaskNetworks, data: LabelledImages) -> None:
        self._path = run.path / "features" / f"{split}.npy"
        self._path.parent.mkdir(exist_ok=True)
        key = f"features/{split}.json"
        done = run.read_json(key, {"images": 0})["images"]
        if done < len(data):
            self._fill(run, key, done, networks, data)
        self.features: NDArray[np.float16] = np.load(self._path, mmap_mode="r")

    @torch.no_grad()
    def _fill(self, run: RunFolder, key: str, done: int, networks: TaskNetworks, data: LabelledImages) -> None:
        networks.eval()

        def features_of(indices: NDArray[np.int64]) -> NDArray[np.float16]:
            image = torch.from_numpy(np.asarray(data.targets(indices, (IMAGE,))[IMAGE]).astype(np.float32) / 255)
            features: NDArray[np.float16] = networks.features(image.to(device_of(networks))).half().cpu().numpy()
            return features

        if done == 0 and processes.is_first():
            shape = (len(data), *features_of(np.arange(1)).shape[1:])
            np.lib.format.open_memmap(self._path, "w+", np.float16, shape).flush()
        processes.wait()
        array = np.lib.format.open_memmap(self._path, "r+")
        # Each process takes a block of a round; after some rounds all are known to be there.
        together = _BATCH * processes.count()
        rounds = tqdm(
            range(done, len(data), together), desc=f"features of {Path(key).stem}", mininterval=2.0,
            disable=not processes.shows_progress(),
        )  # fmt: skip
        for number, start in enumerate(rounds):
            own = start + _BATCH * processes.rank()
            indices = np.arange(own, min(own + _BATCH, len(data)))
            if len(indices):
                array[indices] = features_of(indices)
            if number % _ROUNDS == _ROUNDS - 1 or start + together >= len(data):
                array.flush()
                processes.wait()
                run.write_json(key, {"images": min(start + together, len(data))})

    def __len__(self) -> int:
        return len(self.features)

    def read(self, indices: NDArray[np.int64]) -> Tensor:
        """Raw features of some images, float32 (n, T, C, h, w)."""
        return torch.from_numpy(self.features[indices].astype(np.float32))

    def statistics(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation per task and channel, each (T, C)."""
        total, squares, count = 0.0, 0.0, 0
        for start in range(0, len(self), 200):
            block = self.features[start : start + 200].astype(np.float64)
            total = total + block.sum((0, 3, 4))
            squares = squares + np.square(block).sum((0, 3, 4))
            count += block.shape[0] * block.shape[3] * block.shape[4]
        mean = np.asarray(total) / count
        std = np.sqrt(np.maximum(np.asarray(squares) / count - mean**2, 1e-8))
        return torch.from_numpy(mean).float(), torch.from_numpy(std).float()
