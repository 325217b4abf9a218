"""Weights of any tensors that are nowhere but in memory, and files of them, for hypothesis."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import strategies as st

from atdc.bitstream.container import Header
from atdc.bitstream.layout import has_one_size
from atdc.codec import FeatureCodec
from atdc.config import ModelConfig
from atdc.entropy.float_model import FloatEntropyModel, quantised_model
from atdc.entropy.model import EntropyModel
from atdc.entropy.tables import FrequencyTables
from atdc.graph.graph_tables import GraphTables
from atdc.graph.task_graph import TaskGraph
from atdc.networks.codec_networks import CodecNetworks
from atdc.reader import IntegerReader
from atdc.tensors import FeatureSet, TensorSpec
from atdc_bench.experiments.sample_files import RandomSymbols, Sample, random_entropy, write_symbols
from bitstream.container_strategies import graphs, qualities

LARGEST_SIDE = 9


def reader_of(
    *specs: TensorSpec, fingerprint: bytes = b"here", seed: int = 0, padding: str = "coded",
    spatial_context: str = "none",
) -> IntegerReader:  # fmt: skip
    """The reader of weights drawn at random; its list has the graph without edges and a chain."""
    random, count = np.random.default_rng(seed), len(specs)
    sees = spatial_context != "none"
    rows = [
        random_entropy(random, count, width=3, latent=spec.latent_channels, hyper=1, state=2, sees=sees)
        for spec in specs
    ]
    tables = FrequencyTables.gaussian([0.15 * 2**step for step in range(7)])
    model = EntropyModel(tuple(rows), tables, padding=padding, spatial_context=spatial_context)
    chain = TaskGraph(tuple((task - 1,) if task else () for task in range(count)))
    listed = tuple(dict.fromkeys((TaskGraph.independent(count), chain)))
    return IntegerReader(model, listed, FeatureSet(specs), fingerprint)


def untrained_codec(tensors: FeatureSet, graph_tables: GraphTables, fingerprint: bytes) -> FeatureCodec:
    """A codec of a few weights drawn at random, of normalised features."""
    torch.manual_seed(0)
    config = ModelConfig(
        predictor_width=4, codec_width=8, hyper_channels=2, hyper_width=4, state_channels=3, scorer_width=4,
        rate_estimator="factorised",
    )  # fmt: skip
    networks, float_model = CodecNetworks(config, tensors), FloatEntropyModel(config, tensors)
    for parameter in float_model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    ones = [torch.ones(spec.channels) for spec in tensors.tensors]
    nothing = [0 * row for row in ones]
    return FeatureCodec(networks, quantised_model(float_model, networks), nothing, ones, graph_tables, fingerprint)


def header_of(reader: IntegerReader, **fields: object) -> Header:
    """A header of these weights: of features, compact, quality 4 and no edges where nothing else is said."""
    count = len(reader.tensors)
    present = fields.setdefault("present", tuple(range(count)))
    size = len(present)  # type: ignore[arg-type]
    usual = {
        "fingerprint": reader.fingerprint, "kind": "features", "profile": "compact", "height": 0, "width": 0,
        "qualities": (32,) * size, "graph": 0 if size == count else TaskGraph.independent(size),
        "tensor_count": count,
    }  # fmt: skip
    return Header(**{**usual, **fields})  # type: ignore[arg-type]


def file_of(reader: IntegerReader, seed: int = 0, wild: float = 0.02, **fields: object) -> Sample:
    """A file of random symbols under such a header."""
    symbols = RandomSymbols(reader.model.tables, np.random.default_rng(seed), wild)
    return write_symbols(reader, header_of(reader, **fields), symbols)


sides = st.integers(1, LARGEST_SIDE)
grids = st.tuples(sides, sides)


@st.composite
def readers(draw: st.DrawFn) -> IntegerReader:
    """Of 1 to 8 tensors of any channels and any kind of grid."""
    specs = []
    for name in range(draw(st.integers(1, 8))):
        channels = draw(st.integers(1, 2))
        rule = draw(st.one_of(st.sampled_from([8, 16]), grids, st.none()))
        specs.append(TensorSpec(f"{name}", channels, rule, draw(st.integers(1, 4 * channels))))
    settings = {"padding": ("coded", "zero"), "spatial_context": ("none", "checkerboard")}
    chosen = {name: draw(st.sampled_from(values)) for name, values in settings.items()}
    return reader_of(*specs, seed=draw(st.integers(0, 9)), **chosen)


@st.composite
def files(draw: st.DrawFn, profile: str) -> tuple[IntegerReader, Sample]:
    """A reader and a file: any of its tensors, any grids and graph, one quality or unequal ones."""
    reader = draw(readers())
    tensors, count = reader.tensors, len(reader.tensors)
    present = tuple(sorted(draw(st.sets(st.integers(0, count - 1), min_size=1))))
    kind = draw(st.sampled_from(["image", "features"]))
    height, width = (draw(st.integers(1, 8 * LARGEST_SIDE)) for _ in range(2)) if kind == "image" else (0, 0)
    spelled_out = [
        t for t in present if tensors[t].grid is None or (kind == "features" and isinstance(tensors[t].grid, int))
    ]
    own = tuple(draw(grids) for _ in spelled_out)
    graph: TaskGraph | int = draw(graphs(len(present)))
    if len(present) == count:
        if graph in reader.listed:
            graph = reader.listed.index(graph)
        if kind == "features" and has_one_size(kind, count, own):
            (height, width), own = own[0], ()
    sample = file_of(
        reader, draw(st.integers(0, 9)), draw(st.sampled_from([0.0, 0.1])), present=present, kind=kind,
        profile=profile, height=height, width=width, qualities=draw(qualities(len(present))), graph=graph, grids=own,
    )  # fmt: skip
    return reader, sample
