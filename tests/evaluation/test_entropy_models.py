"""Graphs by measured costs: a choice per image never really costs more than the fixed graph, the best that is known."""

import copy

import numpy as np

from atdc.evaluation.entropy_models import chosen
from atdc.evaluation.subject import as_input
from atdc.pipeline import Codec
from atdc.training.fixed_graphs import settled


def test_choices_by_measured_costs_cost_no_more(tiny_codec: Codec, pictures) -> None:
    codec = copy.copy(tiny_codec.feature_codec)
    features = tiny_codec.features_of(as_input(np.asarray(pictures.targets(range(6))["rgb"], np.uint8)))
    normalised, before = codec.normalise(features), codec.book.fixed[4]
    fixed = settled(codec, features, 4)
    assert codec.book.fixed[4] == fixed and codec.book.fixed[3] == tiny_codec.feature_codec.book.fixed[3]

    def cost(graphs: list) -> np.ndarray:
        return codec.total_costs(normalised, 4, graphs)

    assert cost([fixed] * 6).mean() <= min(cost([graph] * 6).mean() for graph in (before, *codec.book.codebook)) + 1e-6
    assert (cost(chosen(codec, features, 4)) <= cost([fixed] * 6) + 1e-6).all()
