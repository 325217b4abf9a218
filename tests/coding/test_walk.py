"""The walk: one loop, four ports, one truth."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from atdc.bitstream.ports import CountingPort, ReadingPort, WritingPort
from atdc.coding.latents import IntegerPort, TrainingPort
from atdc.coding.walk import schedule, walk
from atdc.config import ModelConfig
from atdc.graph.search import candidate_sets
from atdc.graph.task_graph import TaskGraph
from atdc.networks.codec_networks import CodecNetworks
from atdc.numerics.quantise import scales
from atdc.numerics.tables import FrequencyTables

TASKS = 4
SHAPE = (8, 4)


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
    config = ModelConfig(
        feature_channels=4, predictor_width=8, latent_channels=6, codec_width=8, hyper_channels=3, hyper_width=8,
        scorer_width=8,
    )  # fmt: skip
    networks = CodecNetworks(config, TASKS, candidate_sets(TASKS, 2)).eval().requires_grad_(False)
    for task in range(TASKS):  # entropy parameters that vary from place to place, as trained ones do
        torch.nn.init.normal_(networks.task(task).hyper_last.weight, std=0.3)
        torch.nn.init.normal_(networks.task(task).parent_bias, std=0.5)
    networks.entropy_in_double()
    return networks


@pytest.fixture(scope="module")
def tables(networks: CodecNetworks) -> FrequencyTables:
    config = networks.config
    return FrequencyTables.gaussian(scales(config.scale_min, config.scale_max, config.scale_count))


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
    networks: CodecNetworks, tables: FrequencyTables, batch: list[TaskGraph], level: int, seed: int
) -> None:
    torch.manual_seed(seed)
    features = torch.randn(len(batch), TASKS, 4, *SHAPE) * 3
    quality = torch.full((len(batch), TASKS), float(level))
    counting, writing = CountingPort(tables), WritingPort(tables, len(batch), TASKS)
    counted = walk(networks, batch, quality, IntegerPort(networks.config, counting), SHAPE, features).reconstruction
    written = walk(networks, batch, quality, IntegerPort(networks.config, writing), SHAPE, features).reconstruction
    reading = ReadingPort(tables, writing.finish())
    read = walk(networks, batch, quality, IntegerPort(networks.config, reading), SHAPE).reconstruction
    reading.close()
    assert torch.equal(counted, written) and torch.equal(written, read)
    bits = [port.bits.array(len(batch), TASKS) for port in (counting, writing, reading)]
    assert np.array_equal(bits[0], bits[1]) and np.array_equal(bits[1], bits[2])


@settings(max_examples=10, deadline=None)
@given(graphs(), st.sets(st.integers(0, TASKS - 1), min_size=1))
def test_wanted_tasks_decode_to_the_same_without_the_others(
    networks: CodecNetworks, tables: FrequencyTables, graph: TaskGraph, wanted: set[int]
) -> None:
    torch.manual_seed(3)
    features, quality = torch.randn(1, TASKS, 4, *SHAPE), torch.full((1, TASKS), 3.0)
    writing = WritingPort(tables, 1, TASKS)
    whole = walk(networks, [graph], quality, IntegerPort(networks.config, writing), SHAPE, features).reconstruction
    needed = set(wanted).union(*(graph.ancestors(task) for task in wanted))
    segments = [[data if task in needed else None for task, data in enumerate(writing.finish()[0])]]
    reading = IntegerPort(networks.config, ReadingPort(tables, segments))
    part = walk(networks, [graph], quality, reading, SHAPE, wanted=wanted).reconstruction
    for task in range(TASKS):
        assert torch.equal(part[:, task], whole[:, task]) if task in needed else not part[:, task].any()


def test_training_counts_about_the_bits_that_coding_takes(networks: CodecNetworks, tables: FrequencyTables) -> None:
    torch.manual_seed(5)
    batch = [TaskGraph(((), (0,), (0, 1), (2,)))] * 8
    features, quality = torch.randn(8, TASKS, 4, *SHAPE) * 4, torch.full((8, TASKS), 6.0)
    counting = CountingPort(tables)
    walk(networks, batch, quality, IntegerPort(networks.config, counting), SHAPE, features)
    single = CodecNetworks(networks.config, TASKS, candidate_sets(TASKS, 2))
    single.load_state_dict(networks.state_dict())
    training = TrainingPort(networks.config, 8, TASKS)
    walk(single, batch, quality, training, SHAPE, features)
    real = counting.bits.array(8, TASKS).sum()
    assert float(training.bits.detach().sum()) == pytest.approx(real, rel=0.1)


def test_gradients_reach_parents_through_their_children(networks: CodecNetworks) -> None:
    free = CodecNetworks(networks.config, TASKS, candidate_sets(TASKS, 2))
    for task in range(TASKS):
        torch.nn.init.normal_(free.predictor.mean[task].weight)
    features = torch.randn(1, TASKS, 4, *SHAPE)
    port = TrainingPort(free.config, 1, TASKS)
    result = walk(free, [TaskGraph(((), (0,), (), ()))], torch.full((1, TASKS), 7.0), port, SHAPE, features)
    result.reconstruction[:, 1].square().sum().backward()
    gradient = free.task(0).block.weight.grad
    assert gradient is not None and bool(gradient.any())
    stranger = free.task(2).block.weight.grad
    assert stranger is None or not bool(stranger.any())
