"""What pairs cost in the mean: of whole samples alone, at every quality, and of pairs that nobody measured."""

from typing import Any

import numpy as np
import pytest

import atdc
from atdc.graph.scores import alone_columns, candidate_sets
from atdc.training import graph_stage
from atdc.training.measured_costs import Measured, columns_to_measure, mean_table
from tiny_recipe import TINY

PAIRS = candidate_sets(3, 2)


def block(level: int, costs: list[float], columns: list[int], spoilt: bool = False) -> Measured:
    return Measured(np.arange(2), level, np.array(columns), np.array([costs, costs]), spoilt)


def test_spoilt_samples_do_not_count_and_what_was_not_measured_follows() -> None:
    every = list(range(len(PAIRS)))
    costs = [10.0, 8.0, 6.0, 5.0] * 3
    single = [place for place in every if len(PAIRS[place][1]) < 2]
    blocks = [
        block(2, costs, every), block(6, [3 * costs[place] for place in single], single),
        block(2, [99.0] * 12, every, spoilt=True),
    ]  # fmt: skip
    means = mean_table(blocks, PAIRS)
    assert means.shape == (8, 12)
    for place in single:  # the nearest measured quality's beyond both, a line between them
        assert means[[0, 2, 4, 7], place] == pytest.approx(np.array([1, 1, 2, 3]) * costs[place])
    both = [place for place in every if len(PAIRS[place][1]) == 2]
    for place in both:
        assert means[2, place] == costs[place]
    alone = alone_columns(PAIRS)
    unmeasured = mean_table([block(6, [costs[place] for place in single], single)], PAIRS)
    for place in both:  # the better parent's gain, and half of the other's
        assert unmeasured[6, place] == pytest.approx(costs[alone[place]] - 4 - 0.5 * 2)


def test_of_two_parents_those_are_measured_that_promise_most() -> None:
    pairs = candidate_sets(6, 2)
    gains = np.array([sum(parents) if len(parents) == 1 else 0.0 for _, parents in pairs])
    chosen = [pairs[place] for place in columns_to_measure(gains, pairs).tolist()]
    assert sum(len(parents) < 2 for _, parents in chosen) == 6 * 6
    two = [parents for _, parents in chosen if len(parents) == 2]
    assert len(two) == round(0.2 * 6 * 10) and min(map(sum, two)) >= 7


@pytest.mark.filterwarnings("ignore::atdc.errors.FitWarning")
def test_costs_of_candidate_graphs_are_of_elements_as_the_codec_counts_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """A small tensor is mostly padding: what an element costs is of padded ones, in choosing as in measuring."""
    counts: list[list[int]] = []
    with_candidates = graph_stage._with_candidates

    def recorded(codec: Any, recipe: Any, train: Any, totals: Any, elements: Any, graphs: Any) -> Any:
        counts.append(elements.tolist())
        return with_candidates(codec, recipe, train, totals, elements, graphs)

    monkeypatch.setattr(graph_stage, "_with_candidates", recorded)
    draw = np.random.default_rng(0)
    shapes = {"vector": (6, 1, 1), "map": (3, 5, 8)}
    samples = [{name: draw.normal(size=shape).astype(np.float32) for name, shape in shapes.items()} for _ in range(12)]
    atdc.FeatureCodec.fit(samples, recipe=TINY, progress=False)
    assert counts == [[3 * 8 * 8, 6 * 4 * 4]]
