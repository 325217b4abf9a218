"""``docs/weights.md`` says what is in a weights file: every key, and every tensor's name, type and shape."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open

import atdc
from atdc.codec import FeatureCodec
from atdc.config import ModelConfig, model_config
from atdc.entropy.float_model import FloatEntropyModel, quantised_model
from atdc.graph.graph_tables import GraphTables
from atdc.graph.scores import candidate_sets
from atdc.graph.wanted import WantedGraphs
from atdc.networks.codec_networks import CodecNetworks
from atdc.tensors import FeatureSet, TensorSpec

PAGE = (Path(__file__).parents[1] / "docs" / "weights.md").read_text("utf-8")
OLDER = Path(atdc.__file__).parent / "shipped" / "small-1.safetensors"


@pytest.fixture(scope="module")
def newer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of format 3: three unlike tensors and the factorised rate estimator."""
    return written(tmp_path_factory.mktemp("weights"), "factorised")


def written(folder: Path, rate_estimator: str, gains: str = "latent", spatial_context: str = "none") -> Path:
    config = ModelConfig(
        predictor_width=6, codec_width=10, hyper_channels=2, hyper_width=3, state_channels=4, scorer_width=5,
        scale_count=7, rate_estimator=rate_estimator, gains=gains,
        spatial_context=spatial_context,
    )  # fmt: skip
    tensors = FeatureSet((TensorSpec("a/b", 4, (9, 7)), TensorSpec("c", 2, 16, 5), TensorSpec("d", 1)))
    networks = CodecNetworks(config, tensors)
    entropy = quantised_model(FloatEntropyModel(config, tensors), networks)
    rows = [torch.ones(spec.channels) for spec in tensors.tensors]
    path = folder / "newer.safetensors"
    FeatureCodec(networks, entropy, rows, rows, GraphTables.untrained(3)).save(path, {"made": "here"})
    return path


def found_or_skipped(which: str, newer: Path) -> Path:
    if which == "older" and not OLDER.exists():
        pytest.skip("no weights in the package: train some with `make train`")
    return OLDER if which == "older" else newer


def header_of(path: Path) -> dict[str, Any]:
    with safe_open(path, framework="np") as file:
        assert list(file.metadata()) == ["atdc"]
        header: dict[str, Any] = json.loads(file.metadata()["atdc"])
    return header


def rows_of(table: str, width: int) -> list[list[str]]:
    cells = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if line.startswith("|")
    ]
    return [row for row in cells if len(row) == width and row[0].startswith("`")]


def said_of(header: dict[str, Any], radius: int) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Types and shapes by name, as the page has them for a model of these settings."""
    config = model_config(header["model"])
    older = header["format"] == 2
    tensors = config.tensors(tuple(header["tasks"])) if older else FeatureSet.from_json(header["tensors"])
    sizes = {
        "T": len(tensors), "W": config.predictor_width, "V": config.codec_width, "U": config.codec_width // 2,
        "H": config.hyper_channels, "X": config.hyper_width, "Z": config.state_channels, "E": config.scorer_width,
        "N": config.scale_count, "R": radius, "P": len(candidate_sets(len(tensors), config.max_parents)),
        "A": sum(spec.channels for spec in tensors.tensors),
    }  # fmt: skip
    table = re.search("<!-- names -->(.*)<!-- end -->", PAGE, re.DOTALL)
    assert table is not None
    said: dict[str, tuple[str, tuple[int, ...]]] = {}
    for name, kind, shape, what in rows_of(table[1], 4):
        name, shape = name.strip("`"), shape.strip("`")
        if "gains `hidden`" in what and config.gains != "hidden":
            continue
        if "spatial context `checkerboard`" in what and config.spatial_context != "checkerboard":
            continue
        estimators = re.findall("`(pairs|agreement|factorised)`", what)
        if estimators and config.rate_estimator not in estimators:
            continue
        if (of_format := re.search(r"\(format (\d)\)", what)) is not None and int(of_format[1]) != header["format"]:
            continue
        places = (
            range(len(tensors))
            if "{i}" in name
            else [int(n) for n in re.findall(r"{(\d),(\d)}", name)[0]]
            if "{" in name
            else [0]
        )
        for place in places:
            spec = tensors[place if "{i}" in name else 0]
            own = sizes | {"C": spec.channels, "M": spec.latent_channels}
            own["D"] = 3 * own["C"] if config.residual == "conditional" else own["C"]
            text = shape.replace("A or E", "A" if place == 0 else "E")
            numbers = tuple(int(eval(part, {}, own)) for part in text.split(","))
            said[re.sub("{.*}", str(place), name)] = kind, numbers
    return said


@pytest.mark.parametrize("which", [pytest.param("older", marks=pytest.mark.weights), "newer"])
def test_the_page_names_every_tensor_with_its_type_and_shape(which: str, newer: Path) -> None:
    require_as_the_page_says(found_or_skipped(which, newer), 2 if which == "older" else 3)


@pytest.mark.parametrize("rate_estimator", ["pairs", "agreement"])
def test_the_page_names_what_each_rate_estimator_has(rate_estimator: str, tmp_path: Path) -> None:
    require_as_the_page_says(written(tmp_path, rate_estimator), 3)


def test_the_page_names_what_hidden_gains_have(tmp_path: Path) -> None:
    require_as_the_page_says(written(tmp_path, "factorised", "hidden"), 3)


def test_the_page_names_what_a_spatial_context_has(tmp_path: Path) -> None:
    require_as_the_page_says(written(tmp_path, "factorised", spatial_context="checkerboard"), 3)


def require_as_the_page_says(path: Path, of_format: int) -> None:
    with safe_open(path, framework="np") as file:
        slices = {key: file.get_slice(key) for key in file.keys() if not key.startswith("tasks.")}  # noqa: SIM118
        found = {key: (part.get_dtype(), tuple(part.get_shape())) for key, part in slices.items()}
        radius = int(np.max(file.get_tensor("entropy.tables.radius")))
    header = header_of(path)
    assert header["format"] == of_format
    assert radius <= np.ceil(4 * model_config(header["model"]).scale_max)
    assert found == said_of(header, radius)


def keys_of(part: str) -> list[str]:
    """The keys in the page's table of a part of the metadata."""
    table = PAGE.split(f"key of `{part}`")[1].split("\n\n")[0]
    return [key for row in rows_of(table, 2) for key in re.findall(r"`(\w+)`", row[0])]


@pytest.mark.parametrize("which", [pytest.param("older", marks=pytest.mark.weights), "newer"])
def test_the_page_names_every_key_of_the_metadata(which: str, newer: Path) -> None:
    header = header_of(found_or_skipped(which, newer))
    keys = [row[0].strip("`") for row in rows_of(PAGE, 3) if str(header["format"]) in row[1].split(", ")]
    assert sorted(header) == sorted(keys)
    graph_tables = keys_of("book")
    assert sorted({"wanted", *header["book"]}) == sorted(graph_tables)  # which may be missing
    wanted = WantedGraphs(2, np.ones((8, 9)), np.ones((8, 9)), {}).to_json()
    assert sorted(wanted) == sorted(keys_of("wanted"))
    if "tensors" in header:
        assert all(f"`{key}`" in PAGE for row in header["tensors"] for key in row)
