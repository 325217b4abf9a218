"""Everything that is measured has a command, a function, and words for its result that fit a terminal and a page."""

import inspect
import json
from pathlib import Path

import pytest
import typer
from rich.console import Console
from rich.markdown import Markdown

from atdc_bench import cli
from atdc_bench.report.registry import EXPERIMENTS, Experiment

RESULTS = Path(__file__).parents[3] / "results"
KEPT = sorted({(name, block.file) for name, experiment in EXPERIMENTS.items() for block in experiment.blocks.values()})


def test_every_measuring_command_is_an_experiment_and_the_other_way_round() -> None:
    assert set(typer.main.get_group(cli.app).commands) == set(EXPERIMENTS)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_what_runs_an_experiment_takes_the_options_of_all_and_its_blocks_name_its_command(name: str) -> None:
    experiment = EXPERIMENTS[name]
    inspect.signature(experiment.function()).bind_partial(out=RESULTS, quiet=True)  # TypeError where it takes none
    for block in experiment.blocks.values():
        assert block.command.split()[:3] == ["atdc", "bench", name]


@pytest.mark.parametrize(("name", "file"), [*KEPT, ("affinity", "affinity_small.json")])
def test_a_terminal_shows_what_every_kept_result_says(name: str, file: str) -> None:
    summary = EXPERIMENTS[name].summary(json.loads((RESULTS / file).read_text("utf-8")))
    console = Console(width=1000)
    with console.capture() as capture:
        console.print(Markdown(summary))
    shown = capture.get()
    assert "|" not in shown and "**" not in shown, "tables and emphasis are rendered"
    for row in summary.splitlines():
        if row.startswith("| "):
            assert row.strip("| ").split(" | ")[0].strip("`").split("`")[0] in shown


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("evaluate", "evaluate_small.json"),
        ("compare-weights", "compare_weights_rooms.json"),
        ("compare", "compare_small/compare.json"),
    ],
)
def test_a_utility_that_few_images_do_not_give_is_a_dash(name: str, file: str) -> None:
    result = json.loads((RESULTS / file).read_text("utf-8"))
    for row in result.get("points", []):
        row["utility"] = None
    for system in result.get("systems", {}).values():
        for row in system["points"]:
            row["utility"] = None
    assert "–" in EXPERIMENTS[name].summary(result)


def test_an_experiment_passes_its_options_on(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, object] = {}
    experiment = Experiment("sweep:run_sweep", ())
    monkeypatch.setattr("atdc_bench.experiments.sweep.run_sweep", lambda **options: seen.update(options) or {"a": 1})
    assert experiment.measure(Path("r.json"), quiet=True, count=3) == {"a": 1}
    assert seen == {"out": Path("r.json"), "quiet": True, "count": 3}
