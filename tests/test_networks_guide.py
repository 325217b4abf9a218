"""Every command and snippet of ``docs/your-networks.md`` runs, in order, with a tiny network and few photos."""

import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import atdc.training.loop
from atdc import cli
from tiny_networks import photos, write_onnx
from tiny_recipe import TINY, yaml_of

PAGE = Path(__file__).parents[1] / "docs" / "your-networks.md"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::atdc.errors.FitWarning")
def test_the_guides_commands_and_snippets_run_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnxruntime", reason="needs onnx and onnxruntime: pip install onnx onnxruntime")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(atdc.training.loop, "STEPS_PER_EPOCH", 2)
    Path("tiny.yaml").write_text(yaml_of(TINY), "utf-8")
    write_onnx(Path("net.onnx"))
    Path("photos").mkdir()
    for number, image in enumerate(photos(12)):
        Image.fromarray(image).save(f"photos/{number:02}.png")
    Image.fromarray(photos(1, seed=1)[0]).save("photo.png")
    text = PAGE.read_text("utf-8")
    blocks = re.findall(r"^```(python|sh|yaml)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 8 == text.count("```") / 2
    names: dict[str, Any] = {}
    said: dict[str, str] = {}
    for kind, block in blocks:
        if kind == "yaml":
            Path("networks.yaml").write_text(block, "utf-8")
        elif block.startswith("# my_networks.py\n"):
            Path("my_networks.py").write_text(block, "utf-8")
        elif kind == "python":
            exec(compile(block, str(PAGE), "exec"), names)
        else:
            for line in block.strip().splitlines():
                if line.startswith("pip "):
                    continue
                words = shlex.split(line.removeprefix("atdc ").replace("fit_small", "tiny.yaml"))
                # other processes would load the package again for every few photos
                words = [word for word in " ".join(words).replace("--jobs 2", "--jobs 1").split()]
                result = CliRunner().invoke(cli.app, words)
                assert result.exit_code == 0, (line, result.output, result.exception)
                said[line] = result.output
    assert Path("cuts.svg").read_text("utf-8").startswith("<svg ")
    with np.load("answers.npz") as answers, np.load("segments.npz") as segments, np.load("features.npz") as features:
        assert sorted(answers) == ["edges/map", "segments/classes"] and sorted(segments) == ["segments/classes"]
        np.testing.assert_array_equal(answers["segments/classes"], segments["segments/classes"])
        assert sorted(features) == ["edges/c2", "segments/16x6x6"]
    decoded = next(output for line, output in said.items() if "answers.npz" in line)
    assert "\n  segments/classes: 1×24×24 int64: " in decoded and "edges/map: 1×1×6×8 float32: " in decoded
    fit = next(output for line, output in said.items() if line.startswith("atdc fit"))
    next_words = "encode photo.jpg --model mine.safetensors --networks networks.yaml -o photo.atdc"
    assert f"Next: atdc {next_words}" in " ".join(fit.split()) and "measured on 1 photo alone" in fit
    page = Path("demo/index.html").read_text("utf-8")
    assert page.count("agrees ") == 2 * 4 and "quality 7" in page and "segments/classes" in page and "edges/map" in page
    assert 0 <= names["same"] <= 1 and names["answers"]["classes"].shape == (1, 24, 24)
    assert len(list(Path("encoded").iterdir())) == 12
    _features_say_which_networks_they_are_of()
    _other_networks_are_refused()
    _weights_of_other_features_are_refused_with_what_helps()


def _features_say_which_networks_they_are_of() -> None:
    """A codec that is fitted to errors of features alone serves the networks, too."""
    model = ["--model", "plain.safetensors", "--networks", "networks.yaml"]
    for arguments in (
        ["fit", "features", "-o", "plain.safetensors", "--recipe", "tiny.yaml"],
        ["encode", "photo.png", "-o", "plain.atdc", *model],
    ):
        result = CliRunner().invoke(cli.app, arguments)
        assert result.exit_code == 0, result.output


def _weights_of_other_features_are_refused_with_what_helps() -> None:
    for words, cure in (
        ("encode photo.png -o c.atdc --model small --networks networks.yaml", "by --model, made by atdc fit FEATURES"),
        ("encode photo.png -o c.atdc --model mine.safetensors", "or the networks of these by --networks"),
        ("decode photo.atdc -o c.npz", "--model or the variable ATDC_MODEL names them"),
    ):
        result = CliRunner().invoke(cli.app, words.split())
        assert result.exit_code == 1 and cure in " ".join(result.stderr.split()), result.output


def _other_networks_are_refused() -> None:
    """The codec's card names its networks: another input, and features without a word, are refused."""
    Path("networks.yaml").write_text(
        Path("networks.yaml").read_text("utf-8").replace("std: [0.25]", "std: [0.5]"), "utf-8"
    )
    model = ["--model", "mine.safetensors", "--networks", "networks.yaml"]
    for arguments in (
        ["encode", "photo.png", "-o", "other.atdc", *model], ["decode", "photo.atdc", "-o", "other.npz", *model],
        ["fit", "features", "-o", "other.safetensors", "--networks", "networks.yaml", "--recipe", "tiny.yaml"],
    ):  # fmt: skip
        result = CliRunner().invoke(cli.app, arguments)
        assert result.exit_code == 1 and "features of another edges" in result.stderr, result.output
    Path("features/networks.json").unlink()
    result = CliRunner().invoke(cli.app, arguments)
    assert result.exit_code == 1 and "no word on which networks" in result.stderr
