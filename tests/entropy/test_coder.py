"""Latents to symbols: what is decoded is the nearest value that can be sent."""

from pathlib import Path

import numpy as np

import atdc
from atdc.bitstream.ports import CountingPort
from atdc.entropy.coder import EntropyCoder
from atdc.entropy.model import MEAN_BITS


def test_a_decoded_latent_is_within_half_a_step(untrained_weights: Path) -> None:
    model = atdc.load(untrained_weights).feature_codec.entropy
    rng = np.random.default_rng(0)
    latent, hyper = (
        rng.normal(0, 9, (2, 4, 6, model.latent_channels(2))),
        rng.normal(0, 9, (2, 2, 3, model.hyper_channels)),
    )
    coder = EntropyCoder(model, CountingPort(model.tables), np.full((2, 6), 32), [(8, 12)] * 6)
    decoded = coder.code([0, 1], 2, np.zeros((2, 6), np.bool_), latent, hyper)
    assert np.abs(decoded / (1 << MEAN_BITS) - latent).max() <= 0.5
