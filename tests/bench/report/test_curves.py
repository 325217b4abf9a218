"""Pictures of an evaluation: drawn from its JSON alone, with only what may share an axis on it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from atdc.errors import DataError
from atdc.tasks import TASKS
from atdc_bench.report.curves import draw_curves, draw_tasks, draw_utility, points_by_setting, read_result

pytest.importorskip("matplotlib", reason="pictures of curves need matplotlib")


def result() -> dict[str, Any]:
    metrics = {"miou": 0.7, "l1": 0.02, "mean_degrees": 12.0, "abs_rel": 0.08, "psnr_db": 27.0}

    def point(setting: str, quality: float, images: int, effort: str = "normal") -> dict[str, Any]:
        return {
            "setting": setting, "effort": effort, "quality": quality, "images": images, "bpp": 0.03 * 2**quality,
            "utility": 1 - 0.4 / (1 + quality), "tasks": {task.name: metrics for task in TASKS},
        }  # fmt: skip

    def compared(setting: str, percent: float, images: int) -> dict[str, Any]:
        return {
            "setting": setting, "reference": "independent", "over": "U", "images": images, "percent": percent,
            "low": percent - 2, "high": percent + 2,
        }  # fmt: skip

    points = [point(s, q, 100) for s in ("codebook", "fixed", "independent") for q in (6, 0, 2, 4)]
    points += [point("paper", q, 25) for q in (0, 2, 4, 6)] + [point("codebook", q, 25, "high") for q in (0, 2, 4, 6)]
    refused = {"setting": "random", "reference": "independent", "over": "U", "images": 25, "refused": "little overlap"}
    return {
        "points": points,
        "bd_rates": [compared("codebook", -31, 100), compared("fixed", -28, 100), compared("paper", -20, 25), refused],
        "anchors": {"uncompressed": {task.name: metrics for task in TASKS}},
    }


def test_two_pictures_are_written_from_a_result_file(tmp_path: Path) -> None:
    (tmp_path / "evaluate.json").write_text(json.dumps(result()))
    paths = draw_curves(tmp_path / "evaluate.json", tmp_path / "images")
    assert [path.name for path in paths] == ["utility.png", "tasks.png"]
    for path in paths:
        with Image.open(path) as picture:
            assert picture.width > 1000


def test_curves_on_other_images_are_not_drawn_beside_each_other() -> None:
    points = points_by_setting(result())
    assert list(points) == ["codebook", "fixed", "independent"]
    rates = [row["bpp"] for row in points["codebook"]]
    assert rates == sorted(rates) and len(rates) == 4
    left, right = draw_utility(result(), points).axes
    assert [text.get_text() for text in left.get_legend().get_texts()] == ["codebook", "fixed", "independent"]
    assert [text.get_text() for text in right.get_yticklabels()] == ["paper (25)", "fixed (100)", "codebook (100)"]
    assert len(draw_tasks(result(), points).axes) == len(TASKS)


@pytest.mark.parametrize("text", ["", "[]", '{"points": []}'])
def test_another_file_is_refused_by_name(text: str, tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text(text)
    with pytest.raises(DataError, match=r"other\.json"):
        read_result(tmp_path / "other.json")
