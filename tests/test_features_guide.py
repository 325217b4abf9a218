"""Every command and snippet of ``docs/your-features.md`` runs, in order, with fewer samples and steps."""

import os
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import atdc.training.loop
from atdc import cli
from atdc.config import load_fit_recipe
from tiny_recipe import STEPS_PER_EPOCH, TINY, yaml_of

PAGE = Path(__file__).parents[1] / "docs" / "your-features.md"
SMALLER = {"range(300)": "range(12)", "fit_small": "tiny.yaml"}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::atdc.errors.FitWarning")
def test_the_guides_commands_and_snippets_run_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(atdc.training.loop, "STEPS_PER_EPOCH", STEPS_PER_EPOCH)
    Path("tiny.yaml").write_text(yaml_of(TINY), "utf-8")
    text = PAGE.read_text("utf-8")
    blocks = re.findall(r"^```(python|sh)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 9 == text.count("```") / 2
    names: dict[str, object] = {}
    for kind, block in blocks:
        for whole, part in SMALLER.items():
            block = block.replace(whole, part)
        if kind == "python":
            exec(compile(block, str(PAGE), "exec"), names)
            continue
        for line in block.strip().splitlines():
            before, _, after = line.partition("atdc ")
            settings, arguments = before.split(), shlex.split(after)
            with monkeypatch.context() as patch:
                for setting in settings:
                    patch.setenv(*setting.split("=", 1))
                result = CliRunner().invoke(cli.app, arguments)
            assert arguments and result.exit_code == 0, (line, result.output)
    for name, expected in (("x", ["depth/out", "p3", "p4"]), ("decoded/0001", ["depth/out", "p4"]), ("again", None)):
        with np.load(f"{name}.npz") as arrays:
            assert sorted(arrays) == (expected or ["depth/out", "p3", "p4"])
    assert {name: np.shape(value) for name, value in dict(names["decoded"]).items()} == {  # type: ignore[call-overload]
        "p3": (16, 18, 18), "p4": (24, 9, 9), "depth/out": (2, 18, 18),
    }  # fmt: skip
    assert list(dict(names["only"])) == ["depth/out"]  # type: ignore[call-overload]
    assert atdc.FeatureCodec.load("more.safetensors").task_names == ("depth/out", "p3", "p4", "edges")
    assert os.path.getsize("y.atdc") > 0


def test_the_guide_tells_how_the_recipes_differ() -> None:
    whole, small = (load_fit_recipe(Path(name)) for name in ("fit", "fit_small"))
    assert whole.steps == 12 * small.steps and "twelve times as many steps" in " ".join(PAGE.read_text("utf-8").split())
