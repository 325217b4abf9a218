"""All that is measured: by the name of its command, what runs it, what its result says, and which pages say it.

The command line, the pages and the tests of both read this list; nothing here is imported before it is run.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from atdc_bench.report import networks, result_lines, wanted

Result: TypeAlias = Mapping[str, Any]
Formatter: TypeAlias = Callable[[Result], Iterable[str]]
"""A result to lines of Markdown."""


@dataclass(frozen=True)
class Block:
    """A part of a page that is written from a result file.

    Attributes:
        file: under ``results/``.
        command: what writes the file.
        formatter: what stands on the page.
    """

    file: str
    command: str
    formatter: Formatter


@dataclass(frozen=True)
class Experiment:
    """Something that can be measured, by a command of its name.

    Attributes:
        run: the function, as ``module:name`` below :mod:`atdc_bench.experiments`; it takes the command's options, among
            them ``out`` and ``quiet``, writes the result file and returns what is in it.
        formatters: what a terminal shows of the result.
        blocks: what pages show, by the block's name.
    """

    run: str
    formatters: tuple[Formatter, ...]
    blocks: Mapping[str, Block] = field(default_factory=dict)

    def function(self) -> Callable[..., Result]:
        """What runs it, imported."""
        module, _, name = self.run.partition(":")
        return getattr(importlib.import_module(f"atdc_bench.experiments.{module}"), name)

    def measure(self, out: Path, *, quiet: bool, **options: Any) -> Result:
        """Runs it; see its function for options and errors."""
        return self.function()(out=out, quiet=quiet, **options)

    def summary(self, result: Result) -> str:
        """What a terminal shows, in Markdown."""
        return "\n\n".join("\n".join(formatter(result)) for formatter in self.formatters)


_EVALUATE = ("evaluate_small.json", "atdc bench evaluate --count 400 --extra-count 100")
_STYLES = (
    "evaluate_small_styles.json",
    "atdc bench evaluate --split test_styles --count 250 --extra-count 0 --settings codebook,fixed,independent "
    "--extra-settings '' --qualities 0,1,2,4,7 --out results/evaluate_small_styles.json",
)
_WEIGHTS_ROOMS = (
    "compare_weights_rooms.json",
    "atdc bench compare-weights real small --count 200 -o results/compare_weights_rooms.json",
)
_WEIGHTS_NYUV2 = (
    "compare_weights_nyuv2.json",
    "atdc bench compare-weights real small --images nyuv2 --data nyuv2 --count 400 "
    "-o results/compare_weights_nyuv2.json",
)
_COMPARE = ("compare_small/compare.json", "atdc bench compare --recipe compare_small")
_COMPARE_NYUV2 = (
    "compare_nyuv2/compare.json",
    "atdc bench compare --recipe compare_nyuv2 --data nyuv2 -o results/compare_nyuv2",
)
_WANTED_NYUV2 = (
    "wanted_nyuv2.json",
    "atdc bench wanted --images nyuv2 --data nyuv2 --count 400 --subset-count 100 --rival-count 50 "
    "-o results/wanted_nyuv2.json",
)
_WANTED_ROOMS = (
    "wanted_rooms.json",
    "atdc bench wanted --count 200 --subset-count 50 --rival-count 20 -o results/wanted_rooms.json",
)
_WANTED_LONGER = (
    "wanted_longer.json",
    "atdc bench wanted --images nyuv2 --data nyuv2 --count 100 --subset-count 2 --rival-count 2 "
    "-o results/wanted_longer.json",
)
_ESTIMATES_NYUV2 = (
    "estimates_nyuv2.json",
    "atdc bench estimates --images nyuv2 --data nyuv2 --count 12 -o results/estimates_nyuv2.json",
)
_BUDGET_NYUV2 = (
    "budget_nyuv2.json",
    "atdc bench budget --images nyuv2 --data nyuv2 --count 30 -o results/budget_nyuv2.json",
)
_NETWORKS = {
    "": (
        "networks_pypi.json",
        "atdc bench networks pypi --photos photos --features features --model pypi-4 --count 65 --qualities 0,2,4,6,7",
    ),
    "kodak": (
        "networks_kodak.json",
        "atdc bench networks pypi --photos kodak --features features --model pypi-4 --count 24 --qualities 0,2,4,6,7 "
        "-o results/networks_kodak.json",
    ),
    "mixed": (
        "networks_mixed.json",
        "atdc bench networks mixed --photos photos --features features --model mixed-4 --count 40 --qualities 0,2,4,7 "
        "-o results/networks_mixed.json --picture docs/images/networks-mixed.svg",
    ),
    "pyramid": (
        "networks_pyramid.json",
        "atdc bench networks pyramid --photos photos --features features --model pyramid-2 --count 40 "
        "--qualities 0,2,4,7 -o results/networks_pyramid.json",
    ),
}
_GRAPHS = {
    "": ("graphs_pypi.json", "atdc bench graphs pypi-4 features_test --count 24 -o results/graphs_pypi.json"),
    "mixed": ("graphs_mixed.json", "atdc bench graphs mixed-4 features_test --count 24 -o results/graphs_mixed.json"),
    "pyramid": (
        "graphs_pyramid.json",
        "atdc bench graphs pyramid-2 features_test --count 40 -o results/graphs_pyramid.json",
    ),
}
"""By what names of their blocks begin with; the first set's have nothing there."""
_FUZZ_TINY = ("fuzz_tiny.json", "atdc bench fuzz --model tiny --count 1000000")
_FUZZ_SMALL = ("fuzz_small.json", "atdc bench fuzz --model small --count 50000")

EXPERIMENTS: dict[str, Experiment] = {
    "evaluate": Experiment(
        "evaluate:run_evaluate",
        (result_lines.default_rates, result_lines.rates),
        {
            "rates": Block(*_EVALUATE, result_lines.rates),
            "points": Block(*_EVALUATE, result_lines.points),
            "checks": Block(*_EVALUATE, result_lines.checks),
            "cardsmall": Block(*_EVALUATE, result_lines.uncompressed),
            "cardrates": Block(*_EVALUATE, result_lines.default_rates),
            "cardstyles": Block(*_STYLES, result_lines.uncompressed),
        },
    ),
    "score-calibration": Experiment(
        "score_calibration:run_score_calibration",
        (result_lines.score_calibration,),
        {
            "calibration": Block(
                "score_calibration_small.json",
                "atdc bench score-calibration --count 50",
                result_lines.score_calibration,
            )
        },
    ),
    "statistics": Experiment(
        "statistics:run_statistics",
        (result_lines.graphs,),
        {"graphs": Block("statistics_small.json", "atdc bench statistics --count 250", result_lines.graphs)},
    ),
    "speed": Experiment(
        "speed:run_speed",
        (result_lines.times,),
        {"times": Block("bench_small.json", "atdc bench speed --count 30 --threads 2", result_lines.times)},
    ),
    "fuzz": Experiment(
        "fuzz:run_fuzz",
        (result_lines.fuzz,),
        {"fuzztiny": Block(*_FUZZ_TINY, result_lines.fuzz), "fuzz": Block(*_FUZZ_SMALL, result_lines.fuzz)},
    ),
    "entropy-cost": Experiment(
        "entropy_cost:run_entropy_cost",
        (result_lines.entropy,),
        {"entropy": Block("entropy_small.json", "atdc bench entropy-cost --count 250", result_lines.entropy)},
    ),
    "ablation": Experiment(
        "ablation:run_ablation",
        (result_lines.ablation,),
        {"ablation": Block("ablation_small.json", "atdc bench ablation --epochs 1 --count 250", result_lines.ablation)},
    ),
    "compare-weights": Experiment(
        "compare_weights:run_compare_weights",
        (result_lines.compared_weights,),
        {
            "weightsrooms": Block(*_WEIGHTS_ROOMS, result_lines.compared_weights),
            "weightsnyuv": Block(*_WEIGHTS_NYUV2, result_lines.compared_weights),
            "cardrooms": Block(*_WEIGHTS_ROOMS, result_lines.uncompressed),
            "cardnyuv": Block(*_WEIGHTS_NYUV2, result_lines.uncompressed),
        },
    ),
    "joint-finetune": Experiment(
        "joint_finetune:run_joint_finetune",
        (result_lines.compared_weights,),
        {
            "tuned": Block(
                "joint_finetune_small.json",
                "atdc bench joint-finetune --steps 100 --count 100",
                result_lines.compared_weights,
            )
        },
    ),
    "compare": Experiment(
        "compare:run_compare",
        (result_lines.systems,),
        {
            "systems": Block(*_COMPARE, result_lines.systems),
            "bytask": Block(*_COMPARE, result_lines.by_task),
            "order": Block(*_COMPARE, result_lines.order),
            "seeds": Block(*_COMPARE, result_lines.seeds),
            "low": Block(*_COMPARE, result_lines.low_rates),
            "realsystems": Block(*_COMPARE_NYUV2, result_lines.systems),
            "realtasks": Block(*_COMPARE_NYUV2, result_lines.by_task),
        },
    ),
    "entropy-models": Experiment(
        "entropy_models:run_entropy_models",
        (result_lines.entropy_models,),
        {
            "entropymodels": Block(
                "entropy_models_small.json", "atdc bench entropy-models --count 24", result_lines.entropy_models
            )
        },
    ),
    "add-task": Experiment(
        "added_task:run_added_task",
        (result_lines.added_task,),
        {
            "addedtask": Block(
                "added_task_small.json", "atdc bench add-task --steps 300 --count 100", result_lines.added_task
            )
        },
    ),
    "sweep": Experiment(
        "sweep:run_sweep",
        (result_lines.sweep,),
        {"sweep": Block("sweep_small.json", "atdc bench sweep --count 100", result_lines.sweep)},
    ),
    "adaptivity": Experiment(
        "adaptivity:run_adaptivity",
        (result_lines.adaptivity,),
        {
            "adaptivity": Block(
                "adaptivity_nyuv2.json",
                "atdc bench adaptivity --data nyuv2 --count 24 --qualities 4",
                result_lines.adaptivity,
            ),
            "tiles": Block(
                "adaptivity_tiles.json",
                "atdc bench adaptivity --images tiles --data kodak --count 24 "
                "--conditions 'as they are,without the image,random qualities' -o results/adaptivity_tiles.json",
                result_lines.adaptivity,
            ),
        },
    ),
    "scaling": Experiment(
        "scaling:run_scaling",
        (result_lines.many_tasks,),
        {"manytasks": Block("scaling.json", "atdc bench scaling", result_lines.many_tasks)},
    ),
    "affinity": Experiment("affinity:run_affinity", (result_lines.affinity,)),
    "balance": Experiment("balance:run_balance", (result_lines.balance,)),
    "networks": Experiment(
        "networks:run_networks",
        (networks.bytes_at_agreement, networks.against_rivals),
        {
            f"{name}network{block}": Block(*_NETWORKS[name], formatter)
            for block, names, formatter in (
                ("sets", ("", "mixed"), networks.bytes_at_agreement),
                ("rivals", tuple(_NETWORKS), networks.against_rivals),
                ("points", ("", "mixed", "pyramid"), networks.fitted_points),
            )
            for name in names
        },
    ),
    "graphs": Experiment(
        "feature_graphs:run_feature_graphs",
        (networks.graph_arms, networks.saved_by_parents),
        {
            f"{name}network{block}": Block(*_GRAPHS[name], formatter)
            for name in _GRAPHS
            for block, formatter in {"graphs": networks.graph_arms, "pairs": networks.saved_by_parents}.items()
        },
    ),
    "selfcheck": Experiment(
        "selfcheck:run_selfcheck",
        (result_lines.exact,),
        {
            "exact": Block(
                "selfcheck_small.json",
                "atdc bench selfcheck --set full --symbols 1e8",
                result_lines.exact,
            )
        },
    ),
    "wanted": Experiment(
        "wanted:run_wanted",
        (wanted.by_size, wanted.named_sets, wanted.against_single_rivals, wanted.left_out),
        {
            "wantedsizes": Block(*_WANTED_NYUV2, wanted.by_size),
            "wantedsets": Block(*_WANTED_NYUV2, wanted.named_sets),
            "wantedroomsizes": Block(*_WANTED_ROOMS, wanted.by_size),
            "wantedroomsets": Block(*_WANTED_ROOMS, wanted.named_sets),
            "wantedsingle": Block(*_WANTED_NYUV2, wanted.against_single_rivals),
            "wantedlonger": Block(*_WANTED_LONGER, wanted.against_single_rivals),
        },
    ),
    "set-codecs": Experiment(
        "set_codecs:run_set_codecs",
        (wanted.set_codecs,),
        {
            "setcodecs": Block(
                "set_codecs.json", "atdc bench set-codecs --real nyuv2 -o results/set_codecs.json", wanted.set_codecs
            )
        },
    ),
    "own-graphs": Experiment(
        "own_graphs:run_own_graphs",
        (wanted.own_graphs,),
        {
            "owngraphs": Block(
                "own_graphs.json",
                "atdc bench own-graphs --real nyuv2 --steps 400 --count 100 -o results/own_graphs.json",
                wanted.own_graphs,
            )
        },
    ),
    "budget": Experiment("budget:run_budget", (wanted.budget,), {"budget": Block(*_BUDGET_NYUV2, wanted.budget)}),
    "estimates": Experiment(
        "estimates:run_estimates", (wanted.estimates,), {"estimates": Block(*_ESTIMATES_NYUV2, wanted.estimates)}
    ),
}
"""By the name of the command, ``atdc bench NAME``."""

BLOCKS = {name: block for experiment in EXPERIMENTS.values() for name, block in experiment.blocks.items()}
"""All blocks of pages, by name."""
