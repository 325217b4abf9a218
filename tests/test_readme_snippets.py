"""What the README shows in Python runs as it stands there."""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import atdc

README = Path(__file__).parents[1] / "README.md"


@pytest.mark.weights
@pytest.mark.slow
def test_the_readmes_python_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not (Path(atdc.__file__).parent / "shipped" / "real-1.safetensors").exists():
        pytest.skip("no weights in the package: train some with `make train`")
    monkeypatch.chdir(tmp_path)
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)).save("photo.jpg")
    snippets = re.findall(r"^```python\n(.*?)^```", README.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    assert len(snippets) == 3
    names: dict[str, object] = {}
    for snippet in snippets:
        exec(compile(snippet, str(README), "exec"), names)
    answers, features = names["answers"], names["features"]
    assert isinstance(answers, dict) and answers["depth_zbuffer"].shape == (48, 64)
    assert isinstance(features, dict) and list(features) == ["normal"]
