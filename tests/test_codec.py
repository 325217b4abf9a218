"""Features to bytes and back."""

import copy
import dataclasses
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

import atdc
from any_tensors import untrained_codec
from atdc.choice.costs import CostModel, squared_errors
from atdc.choice.graphs import candidate_estimates
from atdc.codec import FeatureCodec
from atdc.config import quality_steps
from atdc.errors import ArgumentError, BitstreamError, FeatureWarning, WrongModelError
from atdc.graph.graph_tables import GraphTables
from atdc.graph.orders import MAX_EXACT_TASKS
from atdc.graph.search import SETTINGS
from atdc.graph.task_graph import TaskGraph
from atdc.tensors import FeatureSet, TensorSpec

pytestmark = pytest.mark.portability


@pytest.fixture(scope="module")
def codec(untrained_weights: Path) -> FeatureCodec:
    return atdc.load(untrained_weights).feature_codec


@pytest.fixture(scope="module")
def features() -> torch.Tensor:
    return torch.randn(3, 6, 8, 12, 8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("setting", SETTINGS)
def test_the_decoder_gets_what_the_encoder_saw(codec: FeatureCodec, features: torch.Tensor, setting: str) -> None:
    encoded = codec.encode_batch(features, 5, setting)
    assert torch.equal(codec.decode_batch(encoded.data), encoded.stacked)
    for data, image in zip(encoded.data, encoded.stacked, strict=True):  # one by one, too
        for name, value in codec.decode(data).items():
            assert torch.allclose(value, image[codec.task_names.index(name)], atol=1e-4)


@pytest.mark.parametrize("setting", ["codebook", "chain", "independent"])
def test_an_encoder_need_not_restore_tasks_without_children(
    codec: FeatureCodec, features: torch.Tensor, setting: str
) -> None:
    whole, bare = (codec.encode_batch(features, 5, setting, restore_all=all_) for all_ in (True, False))
    assert whole.data == bare.data and not torch.equal(whole.stacked, bare.stacked)


@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (4, 4), (2, 37)])
@pytest.mark.parametrize("quality", [0, 7])
def test_any_size_and_real_bytes_near_ideal_bits(codec: FeatureCodec, shape: tuple[int, int], quality: int) -> None:
    features = torch.randn(1, 6, 8, *shape)
    encoded = codec.encode_batch(features, quality)
    assert encoded.stacked.shape == features.shape
    assert torch.equal(codec.decode_batch(encoded.data), encoded.stacked)
    assert len(encoded.data[0]) <= 1.01 * encoded.ideal_bits[0].sum() / 8 + 24


def test_constant_and_huge_features_survive(codec: FeatureCodec) -> None:
    for value in (0.0, 1e6, -1e9):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FeatureWarning)
            encoded = codec.encode_batch(torch.full((1, 6, 8, 4, 4), value), 7)
        assert torch.equal(codec.decode_batch(encoded.data), encoded.stacked)


def test_each_task_has_a_quality_of_its_own(codec: FeatureCodec, features: torch.Tensor) -> None:
    low = codec.encode_batch(features, 1, "independent")
    mixed = codec.encode_batch(features, [1, 1, 7, 1, 1, 1], "independent")
    assert np.allclose(low.ideal_bits[:, [0, 1, 3, 4, 5]], mixed.ideal_bits[:, [0, 1, 3, 4, 5]])
    assert (mixed.ideal_bits[:, 2] > low.ideal_bits[:, 2]).all()
    assert torch.equal(codec.decode_batch(mixed.data), mixed.stacked)


def with_graph_tables(codec: FeatureCodec, **changes: object) -> FeatureCodec:
    """The codec with other graphs or rates."""
    other = copy.copy(codec)
    other.graph_tables = dataclasses.replace(codec.graph_tables, **changes)
    return other


def test_the_level_is_the_nearest_integer_quality(codec: FeatureCodec, features: torch.Tensor) -> None:
    fixed = tuple(TaskGraph.unrank(rank, 6) for rank in range(8))
    own = with_graph_tables(codec, fixed=fixed)
    for quality, level in ((0, 0), (3.375, 3), (3.5, 4), (6.875, 7), ([3, 4, 4, 4, 4, 4], 4), ([0, 0, 0, 0, 0, 7], 1)):
        assert own.choose_graphs(features, quality, "fixed") == [fixed[level]] * 3


@pytest.mark.parametrize("value", [3.49, 3.51, 3.5])
def test_a_quality_travels_as_the_nearest_eighth(value: float) -> None:
    assert quality_steps(value, 1) == quality_steps([value], 1) == (28,)


def test_high_effort_is_never_worse_than_fixed(
    codec: FeatureCodec, features: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even where the fixed graph is in no list and no search finds it."""
    fixed = TaskGraph.unrank(1_000_000, 6)
    own = with_graph_tables(codec, fixed=(fixed,) * 8)
    assert fixed not in own.graph_tables.candidates
    tried: list[TaskGraph] = []

    def costs(model: CostModel, batch: object, quality: object, graphs: list[TaskGraph], wanted: object) -> np.ndarray:
        tried.extend(graphs)
        return np.array([float(graph != fixed) for graph in graphs])

    monkeypatch.setattr(CostModel, "total_costs", costs)
    assert own.encode_batch(features, 4, "independent", effort="high").graphs == [fixed] * 3
    assert TaskGraph.independent(6) in tried and len(set(tried)) > 2


def test_high_effort_codes_the_candidates_that_are_cheapest_with_their_corrections(
    codec: FeatureCodec, features: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [[(0,) if task == child else () for task in range(6)] for child in range(1, 6)]
    candidates = (TaskGraph.independent(6), *(TaskGraph(tuple(row)) for row in rows))
    own = with_graph_tables(codec, candidates=candidates, correction=np.tile(np.arange(6) % 3 * 100.0, (8, 1)))
    tried: list[list[TaskGraph]] = []

    def costs(model: CostModel, batch: object, quality: object, graphs: list[TaskGraph], wanted: object) -> np.ndarray:
        tried.append(graphs)
        return np.zeros(len(graphs))

    monkeypatch.setattr(CostModel, "total_costs", costs)
    own.encode_batch(features, 4, "fixed", effort="high")
    estimates = candidate_estimates(own.costs, own.normalise(features), 4)
    for image in range(len(features)):
        best = {own.graph_tables.candidates[row] for row in estimates[:, image].argsort(kind="stable")[:4]}
        assert {graphs[image] for graphs in tried[3:]} == best


def test_high_effort_searches_among_more_tensors_than_exact_search_takes() -> None:
    tensors = FeatureSet(tuple(TensorSpec(f"t{i}", 1, (2, 2), latent_channels=1) for i in range(MAX_EXACT_TASKS + 1)))
    codec = untrained_codec(tensors, GraphTables.untrained(len(tensors)), b"many")
    features = {name: torch.randn(1, 2, 2) for name in tensors.names}
    assert codec.decode(codec.encode(features, effort="high")).keys() == features.keys()


def test_high_effort_keeps_the_cheapest_of_what_it_codes(codec: FeatureCodec, features: torch.Tensor) -> None:
    own = with_graph_tables(codec, fixed=(TaskGraph.unrank(1_000_000, 6),) * 8)
    normalised = own.normalise(features)
    high = own.encode_batch(features, 4, effort="high")
    best = own.costs.total_costs(normalised, 4, high.graphs)
    for setting in ("fixed", "codebook", "exact"):
        assert (
            best <= own.costs.total_costs(normalised, 4, own.choose_graphs(features, 4, setting)) * (1 + 1e-9)
        ).all()


def test_a_pairs_costs_do_not_depend_on_the_pairs_before_it(codec: FeatureCodec, features: torch.Tensor) -> None:
    batch = codec.normalise(features)
    bits, errors = codec.costs.pair_costs(batch, 3)
    for column in (5, 60, len(codec.pairs) - 1):
        alone = codec.costs.pair_costs(batch, 3, [codec.pairs[column]])
        # Another size of a batch may turn a latent that lies at a rounding's edge, which is less than a hundredth.
        assert np.allclose(alone[0][:, 0], bits[:, column], rtol=0.01)
        assert np.allclose(alone[1][:, 0], errors[:, column], rtol=0.01)


def test_costs_weigh_each_tasks_error_by_its_own_multiplier(codec: FeatureCodec, features: torch.Tensor) -> None:
    own = with_graph_tables(codec, bits_per_error=np.arange(1.0, 49.0).reshape(8, 6))
    quality = [1, 2, 3, 4, 5, 6]
    weights = own.costs.lagrange_multipliers(quality)
    assert weights.tolist() == [6 * level + task + 1 for task, level in enumerate(quality)]
    assert np.allclose(own.costs.lagrange_multipliers([0.5] * 6), [4, 5, 6, 7, 8, 9])
    bits, errors = own.costs.pair_costs(own.normalise(features), quality)
    children = [child for child, _ in own.pairs]
    assert np.allclose(own.costs.measured_costs(own.normalise(features), quality), bits + weights[children] * errors)
    graphs = own.choose_graphs(features, quality, "chain")
    coded, normalised = own.encode_batch(features, quality, graphs), own.normalise(features)
    restored = own.normalise(coded.reconstruction)
    squared = squared_errors(restored.parts, normalised.parts, normalised.grids).numpy()
    expected = coded.ideal_bits.sum(1) + squared @ weights
    assert own.costs.total_costs(normalised, quality, graphs) == pytest.approx(expected, rel=1e-3)


def test_errors_in_the_padding_do_not_count() -> None:
    decoded, features = torch.ones(2, 3, 8, 4), torch.zeros(2, 3, 8, 4)
    decoded[..., 5:, :], decoded[..., 3:] = 7, 7
    assert squared_errors([decoded], [features], [(5, 3)]).tolist() == [[45.0], [45.0]]


def test_pair_costs_are_what_coding_takes(codec: FeatureCodec, features: torch.Tensor) -> None:
    batch = codec.normalise(features)
    bits, errors = codec.costs.pair_costs(batch, 3)
    alone = codec.encode_batch(features, 3, "independent")
    columns = [codec.pairs.index((task, ())) for task in range(6)]
    assert np.allclose(bits[:, columns], alone.ideal_bits, rtol=0.01)  # see above
    difference = (alone.stacked - features) / torch.stack(codec.std)[:, :, None, None]
    assert np.allclose(errors[:, columns], difference.square().sum((2, 3, 4)).numpy(), rtol=0.01)


def test_wrong_features_are_refused_by_name(codec: FeatureCodec) -> None:
    good = {name: torch.zeros(8, 4, 4) for name in codec.task_names}
    with pytest.raises(ArgumentError, match="telepathy"):
        codec.encode({**good, "telepathy": torch.zeros(8, 4, 4)})
    with pytest.raises(ArgumentError, match="none"):
        codec.encode({})
    with pytest.raises(ArgumentError, match="not finite"):
        codec.encode({**good, "rgb": torch.full((8, 4, 4), float("nan"))})
    with pytest.raises(ArgumentError, match="shape"):
        codec.encode_batch(torch.zeros(1, 6, 9, 4, 4), 4)
    with pytest.raises(ArgumentError, match="codebook"):
        codec.encode(good, graph="codebok")
    for quality in (-1, 7.5, float("nan")):
        with pytest.raises(ArgumentError, match="0 to 7"):
            quality_steps(quality, 6)


def test_other_weights_are_refused_naming_both(codec: FeatureCodec, features: torch.Tensor) -> None:
    data = codec.encode_batch(features[:1], 4).data[0]
    parts = (codec.networks, codec.entropy, codec.mean, codec.std, codec.graph_tables)
    other = FeatureCodec(*parts, fingerprint=b"\x01\x02\x03\x04")
    with pytest.raises(WrongModelError, match=f"{codec.fingerprint.hex()}.*01020304"):
        other.decode(data)


def test_damage_is_an_error_by_name(codec: FeatureCodec, features: torch.Tensor) -> None:
    data = codec.encode_batch(features[:1], 4).data[0]
    rng = np.random.default_rng(0)
    for _ in range(200):
        broken = bytearray(data)
        broken[int(rng.integers(len(data)))] ^= 1 << int(rng.integers(8))
        with pytest.raises(BitstreamError):
            codec.decode(bytes(broken))
