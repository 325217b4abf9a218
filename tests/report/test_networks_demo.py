"""The page of other people's networks: every kind of answer before and after, next to bytes and agreement."""

import os
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from typer.testing import CliRunner

from any_tensors import untrained_codec
from atdc.adapters.network_set import DIGESTS, load_networks
from atdc.cli import app
from atdc.errors import NetworkError
from atdc.graph.graph_tables import GraphTables
from atdc.report.networks_demo import run_networks_demo
from atdc.tensors import FeatureSet, TensorSpec
from html_page import HtmlPage

MODULE = """
import numpy as np
import torch
from torch import nn


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.features, self.classes = nn.Conv2d(3, 4, 3, 4, 1), nn.Conv2d(4, 5, 1)

    def forward(self, x):
        scores = self.classes(self.features(x))
        return {"scores": scores, "classes": scores.argmax(1), "vector": scores.mean((2, 3)), "mean": scores.mean(3)}


def network():
    torch.manual_seed(0)
    return Network()
"""
ANSWERS = ("scores", "classes", "vector", "mean")
HARMLESS, HOSTILE = ("net", "photo.png", "mine"), ('a "net" <b>', "<img onerror=x>'&.png", "<script>alert(1)</script>&")


@pytest.fixture
def pages(tmp_path: Path) -> list[str]:
    """Of a network, a photo and weights with harmless and with hostile names."""
    (tmp_path / "my_networks.py").write_text(MODULE, "utf-8")
    pages = []
    for name, photo, whose in (HARMLESS, HOSTILE):
        settings = {
            "torch": "my_networks.py:network", "input": {"size": [24, 32]}, "cuts": {"features": "features"},
            "answers": {answer: {"tensor": answer, "loss": "none", "metric": "relative"} for answer in ANSWERS},
        }  # fmt: skip
        (tmp_path / "networks.yaml").write_text(yaml.safe_dump({"networks": {name: settings}}), "utf-8")
        networks = load_networks(tmp_path / "networks.yaml")
        tensors = FeatureSet((TensorSpec("features", 4, (6, 8)),))
        codec = untrained_codec(tensors, GraphTables.untrained(1), b"page")
        codec.card = {DIGESTS: networks.digests}
        pixels = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / photo, "PNG")
        photos = {photo: tmp_path / photo}
        page, _ = run_networks_demo(networks, codec, photos, tmp_path / "demo", qualities=(1, 5), whose=whose)
        pages.append(page.read_text("utf-8"))
    return pages


def test_every_kind_of_answer_is_shown_before_and_after(pages: list[str]) -> None:
    seen = HtmlPage(pages[0])
    assert seen.elements.count("img") == 1 + 2 * 3, "the photo; scores and classes, before and at two qualities"
    assert seen.elements.count("ul") == 3 and seen.elements.count("li") == 3 * 5, "the vector's greatest shares"
    assert seen.text.count("1×5×6 float32") == 3, "in words"
    assert seen.text.count("agrees ") == 2 * len(ANSWERS) and "quality 5" in seen.text
    assert all(value.startswith("data:image/webp") for value in seen.attributes if "image" in value)


def test_an_answers_own_drawing_is_shown_and_what_cannot_be_compared_is_said(tmp_path: Path) -> None:
    (tmp_path / "my_networks.py").write_text(
        MODULE
        + "def red(image, before, answer):\n"
        + "    return np.full((5, 7, 3), (200, 0, 0), np.uint8)\n"
        + "def flat(image, before, answer):\n"
        + "    return np.zeros((5, 7), np.uint8)\n"
        + "def nothing(before, after):\n"
        + "    return float('nan')\n",
        "utf-8",
    )
    answer = {"tensor": "mean", "loss": "none", "metric": "my_networks.py:nothing", "drawing": "my_networks.py:red"}
    settings = {
        "torch": "my_networks.py:network", "input": {"size": [24, 32]}, "cuts": {"features": "features"},
        "answers": {"mean": answer},
    }  # fmt: skip
    (tmp_path / "networks.yaml").write_text(yaml.safe_dump({"networks": {"net": settings}}), "utf-8")
    networks = load_networks(tmp_path / "networks.yaml")
    codec = untrained_codec(FeatureSet((TensorSpec("features", 4, (6, 8)),)), GraphTables.untrained(1), b"page")
    codec.card = {DIGESTS: networks.digests}
    Image.new("RGB", (32, 24)).save(tmp_path / "photo.png")
    page, _ = run_networks_demo(networks, codec, {"p": tmp_path / "photo.png"}, tmp_path / "demo", qualities=(4,))
    seen = HtmlPage(page.read_text("utf-8"))
    assert seen.elements.count("img") == 3 and seen.text.count("nothing to compare") == 1
    assert "nan" not in seen.text and "float32" not in seen.text
    settings["answers"] = {"mean": answer | {"drawing": "my_networks.py:flat"}}
    (tmp_path / "networks.yaml").write_text(yaml.safe_dump({"networks": {"net": settings}}), "utf-8")
    other = load_networks(tmp_path / "networks.yaml")
    with pytest.raises(NetworkError, match=r"net/mean, my_networks.py:flat: found uint8 of the shape \(5, 7\)"):
        other.drawn("net/mean", np.zeros((24, 32, 3), np.uint8), np.zeros(1), np.zeros(1))


def test_photos_with_odd_names_are_shown_and_those_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    (tmp_path / "my_networks.py").write_text(MODULE, "utf-8")
    settings = {
        "torch": "my_networks.py:network", "input": {"size": [24, 32]}, "cuts": {"features": "features"},
        "answers": {"mean": {"tensor": "mean", "loss": "none", "metric": "relative"}},
    }  # fmt: skip
    (tmp_path / "networks.yaml").write_text(yaml.safe_dump({"networks": {"net": settings}}), "utf-8")
    codec = untrained_codec(FeatureSet((TensorSpec("features", 4, (6, 8)),)), GraphTables.untrained(1), b"page")
    codec.card = {DIGESTS: load_networks(tmp_path / "networks.yaml").digests}
    codec.save(tmp_path / "mine.safetensors")
    odd = [tmp_path / os.fsdecode(b"[b] [bold] \xff.png"), tmp_path / "second.png"]
    for photo in odd:
        Image.fromarray(np.zeros((24, 32, 3), np.uint8)).save(photo, "PNG")
    bad = tmp_path / "<b>broken.png"
    bad.write_bytes(b"no image")
    command = ["networks", "demo", str(tmp_path / "networks.yaml"), "--model", str(tmp_path / "mine.safetensors")]
    done = CliRunner().invoke(app, [*command, *map(str, [odd[0], bad, odd[1]]), "-o", str(tmp_path / "out")])
    assert done.exit_code == 1 and "broken.png" in done.output, done.output
    page = HtmlPage((tmp_path / "out" / "index.html").read_text("utf-8"))
    assert "[b] [bold] ?.png" in page.text and "second.png" in page.text and "<b>broken.png" in page.text
    nothing = CliRunner().invoke(app, [*command, str(bad), "-o", str(tmp_path / "none")])
    assert nothing.exit_code == 1 and not (tmp_path / "none").exists()


OF_LIGHT = """
import torch
from torch import nn


class OfLight(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Conv2d(3, 4, 3, 4, 1)

    def forward(self, x):
        first = self.features(x)
        if 0 < x.max() < 0.1:
            raise ValueError("no light")
        return {"mean": first.mean(3)}


def network():
    torch.manual_seed(0)
    return OfLight()
"""


@pytest.mark.parametrize("is_ahead", [False, True])
def test_photos_on_which_a_network_fails_are_named_and_others_shown(tmp_path: Path, is_ahead: bool) -> None:
    module = OF_LIGHT
    if is_ahead:  # of the cut
        module = module.replace("        first = self.features(x)\n", "")
        module = module.replace("        return", "        first = self.features(x)\n        return")
    (tmp_path / "my_networks.py").write_text(module, "utf-8")
    settings = {
        "torch": "my_networks.py:network", "input": {"size": [24, 32]}, "cuts": {"features": "features"},
        "answers": {"mean": {"tensor": "mean", "loss": "none", "metric": "relative"}},
    }  # fmt: skip
    (tmp_path / "networks.yaml").write_text(yaml.safe_dump({"networks": {"net": settings}}), "utf-8")
    codec = untrained_codec(FeatureSet((TensorSpec("features", 4, (6, 8)),)), GraphTables.untrained(1), b"page")
    codec.card = {DIGESTS: load_networks(tmp_path / "networks.yaml").digests}
    codec.save(tmp_path / "mine.safetensors")
    for name, value in (("dark.png", 9), ("light.png", 200)):
        Image.fromarray(np.full((24, 32, 3), value, np.uint8)).save(tmp_path / name)
    command = ["networks", "demo", str(tmp_path / "networks.yaml"), "--model", str(tmp_path / "mine.safetensors")]
    photos = [str(tmp_path / name) for name in ("dark.png", "light.png")]
    some = CliRunner().invoke(app, [*command, *photos, "-o", str(tmp_path / "some")])
    assert some.exit_code == 1 and "dark.png, net: found ValueError (no light)" in some.output, some.output
    page = HtmlPage((tmp_path / "some" / "index.html").read_text("utf-8"))
    assert "light.png" in page.text and "dark.png, net: found ValueError (no light)" in page.text
    none = CliRunner().invoke(app, [*command, photos[0], "-o", str(tmp_path / "none")])
    assert none.exit_code == 1 and "none that can be shown" in none.output


def test_names_of_networks_photos_and_weights_are_text(pages: list[str]) -> None:
    harmless, hostile = map(HtmlPage, pages)
    assert hostile.elements == harmless.elements and "script" not in hostile.elements
    for before, after in zip(HARMLESS, HOSTILE, strict=True):
        assert hostile.text.count(after) >= 1 <= harmless.text.count(before)
