"""The traversal: one loop, four coders, one truth."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from atdc.bitstream.symbols import SymbolCounter, SymbolReader, SymbolWriter
from atdc.coding.latent_coders import IntegerLatentCoder, KnownLatentCoder, TrainingLatentCoder
from atdc.coding.traversal import code_along_graph, schedule
from atdc.config import ModelConfig
from atdc.entropy.coder import EntropyCoder
from atdc.entropy.float_model import FloatEntropyModel, quantised_model
from atdc.entropy.model import EntropyModel
from atdc.graph.task_graph import TaskGraph
from atdc.networks.batches import FeatureBatch
from atdc.networks.codec_networks import CodecNetworks

pytestmark = pytest.mark.portability

TASKS = 4
SHAPE = (8, 4)
GRIDS = (SHAPE,) * TASKS
SMALL = ModelConfig(
    feature_channels=4, predictor_width=8, latent_channels=6, codec_width=8, hyper_channels=3, hyper_width=8,
    state_channels=4, scorer_width=8,
)  # fmt: skip


@st.composite
def graphs(draw: st.DrawFn) -> TaskGraph:
    order = draw(st.permutations(range(TASKS)))
    parents: list[tuple[int, ...]] = [()] * TASKS
    for place, child in enumerate(order):
        parents[child] = tuple(sorted(draw(st.sets(st.sampled_from(order[:place]), max_size=2)))) if place else ()
    return TaskGraph(tuple(parents))


@pytest.fixture(scope="module")
def networks() -> CodecNetworks:
    torch.manual_seed(1)
    return CodecNetworks(SMALL, SMALL.tensors(range(TASKS))).eval().requires_grad_(False)


@pytest.fixture(scope="module")
def float_model(networks: CodecNetworks) -> FloatEntropyModel:
    float_model = FloatEntropyModel(networks.config, networks.tensors)
    for parameter in float_model.parameters():  # entropy parameters that vary from place to place, as trained ones do
        torch.nn.init.normal_(parameter, std=0.3)
    return float_model


@pytest.fixture(scope="module")
def model(float_model: FloatEntropyModel, networks: CodecNetworks) -> EntropyModel:
    return quantised_model(float_model, networks)


def integer_traversal(networks, model, symbol_coder, batch, level, features):
    """Codes features; returns what the decoder sees and the coder."""
    coder = EntropyCoder(model, symbol_coder, np.full((len(batch), TASKS), 8 * level), GRIDS)
    quality = torch.full((len(batch), TASKS), float(level))
    result = code_along_graph(networks, batch, quality, IntegerLatentCoder(coder), GRIDS, features.unbind(1))
    return torch.stack(result.reconstruction, 1), coder


def read_latents(model, segments, graph, level, wanted=None):
    """The latents of one image from its segments, by task."""
    symbol_coder = SymbolReader(model.tables)
    coder = EntropyCoder(model, symbol_coder, np.full((1, TASKS), 8 * level), GRIDS)
    latents = {}
    for task in graph.order if wanted is None else graph.closure(wanted):
        symbol_coder.begin(segments[task], str(task))
        parents = np.isin(np.arange(TASKS), graph.parents[task])[None]
        latents[task] = coder.code([0], task, parents)
        symbol_coder.end()
    return latents, coder, symbol_coder


@given(st.lists(graphs(), min_size=1, max_size=5))
def test_every_image_meets_parents_before_children(batch: list[TaskGraph]) -> None:
    seen: set[tuple[int, int]] = set()
    for task, images in schedule(batch):
        for image in images:
            assert all((image, parent) in seen for parent in batch[image].parents[task])
        seen |= {(image, task) for image in images}
    assert seen == {(image, task) for image in range(len(batch)) for task in range(TASKS)}


@settings(max_examples=15, deadline=None)
@given(st.lists(graphs(), min_size=1, max_size=3), st.integers(0, 7), st.integers(0, 2**31))
def test_counting_writing_and_reading_agree(
    networks: CodecNetworks, model: EntropyModel, batch: list[TaskGraph], level: int, seed: int
) -> None:
    torch.manual_seed(seed)
    features = torch.randn(len(batch), TASKS, 4, *SHAPE) * 3
    counting, writing = SymbolCounter(model.tables), SymbolWriter(model.tables, len(batch), TASKS)
    counted, _ = integer_traversal(networks, model, counting, batch, level, features)
    written, coder = integer_traversal(networks, model, writing, batch, level, features)
    assert torch.equal(counted, written)
    bits = counting.bits.array(len(batch), TASKS)
    assert np.array_equal(bits, writing.bits.array(len(batch), TASKS))
    for image, segments in enumerate(writing.finish()):
        latents, reader, symbol_coder = read_latents(model, segments, batch[image], level)
        assert {task: reader.checks[0, task] for task in range(TASKS)} == {
            task: coder.checks[image, task] for task in range(TASKS)
        }
        assert np.array_equal(symbol_coder.bits.array(1, TASKS)[0], bits[image])
        quality = torch.full((1, TASKS), float(level))
        read = code_along_graph(networks, [batch[image]], quality, KnownLatentCoder(latents), GRIDS).reconstruction
        assert torch.allclose(
            torch.cat(read), written[image], atol=1e-4
        )  # floats may depend on the batch; integers do not


@settings(max_examples=10, deadline=None)
@given(graphs(), st.sets(st.integers(0, TASKS - 1), min_size=1))
def test_wanted_tasks_decode_to_the_same_without_the_others(
    networks: CodecNetworks, model: EntropyModel, graph: TaskGraph, wanted: set[int]
) -> None:
    torch.manual_seed(3)
    writing = SymbolWriter(model.tables, 1, TASKS)
    whole, _ = integer_traversal(networks, model, writing, [graph], 3, torch.randn(1, TASKS, 4, *SHAPE))
    latents, _, _ = read_latents(model, writing.finish()[0], graph, 3, wanted)
    quality = torch.full((1, TASKS), 3.0)
    part = code_along_graph(networks, [graph], quality, KnownLatentCoder(latents), GRIDS, wanted=wanted).reconstruction
    for task in range(TASKS):
        assert torch.equal(part[task], whole[:, task]) if task in latents else not part[task].any()


def test_training_counts_about_the_bits_that_coding_takes(
    networks: CodecNetworks, float_model: FloatEntropyModel, model: EntropyModel
) -> None:
    torch.manual_seed(5)
    batch = [TaskGraph(((), (0,), (0, 1), (2,)))] * 8
    features = torch.randn(8, TASKS, 4, *SHAPE) * 4
    counting = SymbolCounter(model.tables)
    integer_traversal(networks, model, counting, batch, 6, features)
    training = TrainingLatentCoder(networks, float_model, 8, GRIDS)
    code_along_graph(networks, batch, torch.full((8, TASKS), 6.0), training, GRIDS, features.unbind(1))
    real = counting.bits.array(8, TASKS).sum()
    assert float(training.bits.detach().sum()) == pytest.approx(real, rel=0.1)


def test_gradients_reach_parents_through_their_children(
    networks: CodecNetworks, float_model: FloatEntropyModel
) -> None:
    free = CodecNetworks(networks.config, networks.tensors)
    for task in range(TASKS):
        torch.nn.init.normal_(free.predictor.mean[task].weight)
    features = torch.randn(1, TASKS, 4, *SHAPE)
    latent_coder = TrainingLatentCoder(free, float_model, 1, GRIDS)
    result = code_along_graph(
        free, [TaskGraph(((), (0,), (), ()))], torch.full((1, TASKS), 7.0), latent_coder, GRIDS, features.unbind(1)
    )
    result.reconstruction[1].square().sum().backward()
    gradient = free.task(0).block.weight.grad
    assert gradient is not None and bool(gradient.any())
    stranger = free.task(2).block.weight.grad
    assert stranger is None or not bool(stranger.any())


def test_a_childs_bits_teach_its_parents_state(networks: CodecNetworks, float_model: FloatEntropyModel) -> None:
    latent_coder = TrainingLatentCoder(networks, float_model, 1, GRIDS)
    features = torch.randn(1, TASKS, 4, *SHAPE)
    code_along_graph(
        networks, [TaskGraph(((), (0,), (), ()))], torch.full((1, TASKS), 7.0), latent_coder, GRIDS, features.unbind(1)
    )
    float_model.zero_grad()
    latent_coder.bits[0, 1].backward()
    gradient = float_model.task(0).own.weight.grad
    assert gradient is not None and bool(gradient.any())


@pytest.mark.parametrize("parents", ["both", "prediction", "context", "none"])
@pytest.mark.parametrize("factorised", ["none", "roots", "all"])
@pytest.mark.parametrize("spatial_context", ["none", "checkerboard"])
def test_every_kind_of_codec_reads_what_it_wrote(parents: str, factorised: str, spatial_context: str) -> None:
    torch.manual_seed(4)
    config = dataclasses.replace(
        SMALL, parents=parents, factorised=factorised, residual="plain", spatial_context=spatial_context
    )
    networks = CodecNetworks(config, config.tensors(range(TASKS))).eval().requires_grad_(False)
    float_model = FloatEntropyModel(config, config.tensors(range(TASKS)))
    for parameter in float_model.parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.3)
    model = quantised_model(float_model, networks)
    graph = TaskGraph(((), (0,), (0, 1), ()))
    writing = SymbolWriter(model.tables, 1, TASKS)
    written, coder = integer_traversal(networks, model, writing, [graph], 5, torch.randn(1, TASKS, 4, *SHAPE) * 3)
    latents, reader, _ = read_latents(model, writing.finish()[0], graph, 5)
    assert reader.checks == coder.checks
    read = code_along_graph(
        networks, [graph], torch.full((1, TASKS), 5.0), KnownLatentCoder(latents), GRIDS
    ).reconstruction
    assert torch.allclose(torch.stack(read, 1), written, atol=1e-4)


def test_a_factorised_task_sends_no_hyper_latent(networks: CodecNetworks, float_model: FloatEntropyModel) -> None:
    """Its symbols are the latent's alone: half of the sides, six channels."""
    config = dataclasses.replace(networks.config, factorised="roots")
    model = dataclasses.replace(quantised_model(float_model, networks), factorised=config.factorised)
    counted: list[tuple[int, int]] = []

    class Counter(SymbolCounter):
        def code(self, image, task, symbols, table_index):
            counted.append((task, len(table_index)))
            return super().code(image, task, symbols, table_index)

    graph = TaskGraph(((), (0,), (), ()))
    integer_traversal(networks, model, Counter(model.tables), [graph], 3, torch.randn(1, TASKS, 4, *SHAPE))
    latent, hyper = 6 * 4 * 2, 3 * 2 * 1
    assert sorted(counted) == [(0, latent), (1, hyper), (1, latent), (2, latent), (3, latent)]


@pytest.mark.parametrize("grid", [(14, 13), (9, 12), (12, 16), (1, 2)])
@pytest.mark.parametrize("spatial_context", ["none", "checkerboard"])
def test_padding_may_have_no_symbols(grid: tuple[int, int], spatial_context: str) -> None:
    """Then latents there are zeros, when trained, counted and read; errors that lie there cost nothing."""
    torch.manual_seed(5)
    config = dataclasses.replace(SMALL, padding="zero", spatial_context=spatial_context)
    networks = CodecNetworks(config, config.tensors(range(2))).eval().requires_grad_(False)
    float_model = FloatEntropyModel(config, config.tensors(range(2)))
    for parameter in float_model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    model, graph, grids = quantised_model(float_model, networks), TaskGraph(((), (0,))), (grid, grid)
    rows, columns = -(-grid[0] // 2), -(-grid[1] // 2)
    quality, steps = torch.full((1, 2), 7.0), np.full((1, 2), 56)
    features = list(FeatureBatch.of(torch.randn(1, 2, 4, *grid) * 9).parts)
    counted: list[int] = []

    class Writer(SymbolWriter):
        def code(self, image, task, symbols, table_index):
            counted.append(len(table_index))
            return super().code(image, task, symbols, table_index)

    writer = Writer(model.tables, 1, 2)
    coder = EntropyCoder(model, writer, steps, grids)
    code_along_graph(networks, [graph], quality, IntegerLatentCoder(coder), grids, features)
    hyper = -(-grid[0] // 4) * -(-grid[1] // 4) * 3
    halves = [rows * columns] if spatial_context == "none" else [-(-rows * columns // 2), rows * columns // 2]
    assert counted == [hyper, *(6 * half for half in halves if half)] * 2
    symbols = SymbolReader(model.tables)
    reader = EntropyCoder(model, symbols, steps, grids)
    for task, segment in enumerate(writer.finish()[0]):
        symbols.begin(segment, str(task))
        latent = reader.code([0], task, np.array([[task == 1, False]]))
        symbols.end()
        assert latent.shape[1:3] == (-(-grid[0] // 4) * 2, -(-grid[1] // 4) * 2)
        assert latent[:, :rows, :columns].any((0, 3)).all()
        assert not latent[:, rows:].any() and not latent[:, :, columns:].any()
    assert reader.checks == coder.checks
    seen: list[tuple[float, torch.Tensor]] = []
    for padding in (0.0, 1e3):  # what lies beyond the features
        training = TrainingLatentCoder(networks, float_model, 1, grids)
        value = torch.full((1, 6, *latent.shape[1:3]), padding)
        torch.manual_seed(0)
        value[..., :rows, :columns] = torch.randn(1, 6, rows, columns)
        alone, image = torch.zeros(1, 2), torch.zeros(1, dtype=torch.long)
        nothing = torch.zeros(1, 3, *(side // 2 for side in value.shape[2:]))
        made = training.code(image, 0, quality[:, 0], alone, value, nothing)
        seen.append((float(training.bits.detach().sum()), made))
    assert seen[0][0] == seen[1][0] and torch.equal(seen[0][1], seen[1][1])
    assert not made[..., rows:, :].any() and not made[..., columns:].any()


@torch.no_grad()
def test_training_knows_of_a_latent_what_coding_knows() -> None:
    """The same latent, decoded by both: means and tables of the second half follow the same symbols of the first."""
    torch.manual_seed(6)
    config = dataclasses.replace(SMALL, padding="zero", spatial_context="checkerboard")
    networks = CodecNetworks(config, config.tensors(range(2))).eval().requires_grad_(False)
    float_model = FloatEntropyModel(config, config.tensors(range(2)))
    for parameter in float_model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    model, grids = quantised_model(float_model, networks), ((14, 13), (14, 13))
    latent, hyper = 6 * torch.randn(1, 6, 8, 8), 3 * torch.randn(1, 3, 4, 4)
    counter = SymbolCounter(model.tables)
    coder, alone = EntropyCoder(model, counter, np.full((1, 2), 40), grids), torch.zeros(1, 2)
    image, quality = torch.zeros(1, dtype=torch.long), torch.tensor([5.0])
    coded = IntegerLatentCoder(coder).code(image, 0, quality, alone, latent, hyper)
    training = TrainingLatentCoder(networks, float_model, 1, grids)
    trained = training.code(image, 0, quality, alone, latent, hyper)
    assert float(((coded - trained).abs() <= 3 / 16).float().mean()) > 0.97
    bits = counter.bits.array(1, 2)[0, 0]
    assert abs(float(training.bits[0, 0]) / bits - 1) < 0.1


def test_parents_that_only_predict_leave_tables_alone_and_those_that_only_inform_predict_nothing() -> None:
    features = torch.randn(1, TASKS, 4, *SHAPE) * 3
    graph, alone = TaskGraph(((), (0,), (), ())), TaskGraph.independent(TASKS)
    for parents in ("prediction", "context"):
        torch.manual_seed(6)
        config = dataclasses.replace(SMALL, parents=parents, residual="plain")
        networks = CodecNetworks(config, config.tensors(range(TASKS))).eval().requires_grad_(False)
        for task in range(TASKS):
            torch.nn.init.normal_(networks.predictor.mean[task].weight)
        float_model = FloatEntropyModel(config, config.tensors(range(TASKS)))
        for parameter in float_model.parameters():
            if parameter.requires_grad:
                torch.nn.init.normal_(parameter, std=0.3)
        quality, latent_coders = torch.full((1, TASKS), 5.0), []
        results = []
        for each in (graph, alone):
            latent_coder = TrainingLatentCoder(networks, float_model, 1, GRIDS)
            torch.manual_seed(0)
            results.append(
                code_along_graph(networks, [each], quality, latent_coder, GRIDS, features.unbind(1)).reconstruction
            )
            latent_coders.append(latent_coder)
        if parents == "context":
            contribution = networks.no_contribution(1, SHAPE)
            means = [networks.predict(1, [contribution], torch.tensor([[bit, 0, 0, 0]]), SHAPE) for bit in (0, 1.0)]
            assert not means[0][0].any() and torch.equal(means[0][0], means[1][0])
            assert not torch.equal(latent_coders[0].bits[0, 1], latent_coders[1].bits[0, 1])
        else:
            assert not float_model.task(1).parents.any() and not float_model.task(1).parent_bias.any()
            assert not torch.equal(results[0][1], results[1][1])
