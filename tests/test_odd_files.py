"""More than a hundred odd files go through `encode` in one call, and each ends as the table says."""

import re
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from atdc.cli import app
from atdc.errors import ImageError
from atdc.images import as_rgb, read_image
from atdc.pipeline import load
from odd_files import OddFile, odd_files

FILES = odd_files()


@pytest.mark.parametrize("file", FILES, ids=[file.name for file in FILES])
def test_an_odd_file_is_the_image_of_the_table_or_refused_as_it_says(tmp_path: Path, file: OddFile) -> None:
    path = tmp_path / file.name
    path.write_bytes(file.data)
    if file.image is not None:
        np.testing.assert_array_equal(read_image(path), file.image)
        np.testing.assert_array_equal(as_rgb(file.data), file.image)
        return
    with pytest.raises(ImageError) as caught:
        read_image(path)
    assert re.match(file.refused, caught.value.found) and "\n" not in str(caught.value)


@pytest.mark.slow
def test_all_odd_files_in_one_call_end_as_the_table_says(tmp_path: Path, untrained_weights: Path) -> None:
    good = [file for file in FILES if file.image is not None]
    assert len(FILES) >= 100 and len({Path(file.name).stem for file in FILES}) == len(FILES) > len(good) >= 80
    for file in FILES:
        (tmp_path / file.name).write_bytes(file.data)
    paths = [str(tmp_path / file.name) for file in FILES]
    model = str(untrained_weights)
    result = CliRunner().invoke(app, ["encode", *paths, "-o", str(tmp_path / "out"), "-q", "7", "--model", model])
    assert result.exit_code == 1 and isinstance(result.exception, SystemExit)
    assert "Traceback" not in result.output and "defect" not in result.output
    errors = result.stderr.splitlines()
    for file in FILES:
        own = [line for line in errors if line.startswith(f"atdc: {tmp_path / file.name}: found ")]
        assert len(own) == (file.image is None), file.name
    assert len(errors) == len(FILES) - len(good)
    codec = load(model)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {f"{Path(file.name).stem}.atdc" for file in good}
    for file in good:
        assert file.image is not None
        coded = (tmp_path / "out" / f"{Path(file.name).stem}.atdc").read_bytes()
        assert coded == codec.encode(file.image, quality=7), file.name
