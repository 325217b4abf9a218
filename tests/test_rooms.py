"""The map of the source tree: which room may import which, read from the code itself.

    atdc          errors, tasks → tensors → config, files, images, terminal → networks, graph, balance, metrics
                  → entropy → coding, bitstream → reader → weights, choice, features → stored_networks
                  → codec, inspection → pipeline
                  → data, training → adapters → report
    atdc.cli      inputs → batch → codecs, destination → options, files, encoding, decoding
                  → coding, inspection, fit, networks, weights, group → the application
    atdc_bench    compare_recipe, measures → baselines → experiments → report → cli

The product, ``atdc``, knows the evidence, ``atdc_bench``, in one place only: the command line, which offers it. An
import goes to an earlier stage, or to another room of its own stage as long as rooms never import each other both ways.
Imports inside functions and for type checkers count, too.
"""

import ast
import subprocess
import sys
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src"

STAGES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("atdc", ("errors", "tasks")),
    ("atdc", ("tensors",)),
    ("atdc", ("config", "files", "images", "terminal")),
    ("atdc", ("networks", "graph", "balance", "metrics", "provenance")),
    ("atdc", ("entropy",)),
    ("atdc", ("coding", "bitstream")),
    ("atdc", ("reader",)),
    ("atdc", ("weights", "choice", "features")),
    ("atdc", ("stored_networks",)),
    ("atdc", ("codec", "inspection")),
    ("atdc", ("pipeline",)),
    ("atdc", ("data", "training")),
    ("atdc", ("adapters",)),
    ("atdc", ("report",)),
    ("atdc.cli", ("inputs",)),
    ("atdc.cli", ("batch",)),
    ("atdc.cli", ("codecs", "destination")),
    ("atdc.cli", ("options", "files", "encoding", "decoding")),
    ("atdc.cli", ("coding", "inspection", "fit", "networks", "weights", "group")),
    ("atdc", ("cli",)),
    ("atdc", ("__main__",)),
    ("atdc_bench", ("compare_recipe", "measures")),
    ("atdc_bench", ("baselines",)),
    ("atdc_bench", ("experiments",)),
    ("atdc_bench", ("report",)),
    ("atdc_bench", ("cli",)),
)
STAGE = {f"{package}.{room}": number for number, (package, rooms) in enumerate(STAGES) for room in rooms}
DOORS = ("atdc", "atdc_bench")
"""The packages' own ``__init__``; the product's opens on no page and no command."""
OFFER = "atdc.cli.group"
"""The one module of the product that knows the evidence."""

CORE = (
    "atdc.tensors", "atdc.graph", "atdc.entropy", "atdc.coding", "atdc.bitstream", "atdc.reader", "atdc.weights",
    "atdc.choice", "atdc.codec", "atdc.features", "atdc.stored_networks", "atdc.networks.batches",
    "atdc.networks.codec_networks", "atdc.networks.predictor",
    "atdc.networks.rate_estimators", "atdc.networks.resampling", "atdc.networks.transforms", "atdc.training.adding",
    "atdc.training.codec_stage", "atdc.training.data", "atdc.training.estimator_stage", "atdc.training.fit",
    "atdc.training.graph_stage", "atdc.training.objectives", "atdc.training.predictor_stage",
    "atdc.training.principal_components",
)  # fmt: skip
"""Rooms and modules that know feature tensors and nothing of what they are for."""
OF_TASKS_AND_IMAGES = ("atdc.tasks", "atdc.images", "atdc.pipeline", "atdc.data.rooms")

WITHOUT_TORCH = (
    "atdc", "atdc.errors", "atdc.tasks", "atdc.config", "atdc.balance", "atdc.files", "atdc.images",
    "atdc.graph.task_graph",
    "atdc.graph.search", "atdc.bitstream.range_coder", "atdc.bitstream.container", "atdc.bitstream.layout",
    "atdc.bitstream.symbols", "atdc.bitstream.sources", "atdc.entropy.integer", "atdc.entropy.model",
    "atdc.entropy.coder", "atdc.reader", "atdc.weights", "atdc.inspection", "atdc.data.feature_source",
    "atdc.data.dumped", "atdc.data.feature_report", "atdc.report.answer_images", "atdc.report.page",
    "atdc.images.pillow_codecs", "atdc.cli.batch", "atdc.cli.codecs", "atdc.cli.destination", "atdc.cli.encoding",
    "atdc.cli.decoding", "atdc.cli.fit", "atdc.cli.networks", "atdc.cli",
    "atdc_bench.cli", "atdc_bench.report.line_chart",
    "atdc_bench.report.comparison", "atdc_bench.report.registry", "atdc_bench.baselines.pixels",
    "atdc_bench.baselines.vvc",
)  # fmt: skip


def room_of(module: str) -> str:
    """``atdc.graph.search`` is in the room ``atdc.graph``; each module of the command line is a room."""
    return ".".join(module.split(".")[: 3 if module.startswith("atdc.cli.") else 2])


def module_of(path: Path) -> str:
    parts = path.relative_to(SOURCE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def imports() -> dict[str, frozenset[str]]:
    """Every module of both packages and all that it imports, by full name."""
    found = {}
    for path in sorted(SOURCE.rglob("*.py")):
        names = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{path}: imports are written in full"
                # `from atdc.graph import search` names a module, `from atdc.graph.search import exact` what is in one.
                names |= {f"{node.module}.{alias.name}" for alias in node.names} if node.module else set()
                names.add(node.module or "")
        found[module_of(path)] = frozenset(names)
    return found


def inner_imports(module: str) -> set[str]:
    """The rooms that a module imports from."""
    return {room_of(name) for name in imports()[module]} & set(STAGE)


def test_every_module_is_in_a_room_on_the_map() -> None:
    unknown = sorted(module for module in imports() if room_of(module) not in {*STAGE, *DOORS})
    assert not unknown, f"put them on the map, with care: {unknown}"


def test_imports_run_downwards_only() -> None:
    upwards = [
        f"{module} imports {room}"
        for module in imports()
        if module not in DOORS
        for room in sorted(inner_imports(module))
        if STAGE[room] > STAGE[room_of(module)] and not (module == OFFER and room.startswith("atdc_bench."))
    ]
    assert not upwards


def test_the_product_knows_the_evidence_in_one_place_only() -> None:
    users = {
        module
        for module, names in imports().items()
        if module.split(".")[0] == "atdc" and any(name.split(".")[0] == "atdc_bench" for name in names)
    }
    assert users == {OFFER}


def test_rooms_of_one_stage_do_not_import_each_other_both_ways() -> None:
    graph: dict[str, set[str]] = {room: set() for room in STAGE}
    for module in set(imports()) - {*DOORS, OFFER}:
        room = room_of(module)
        graph[room] |= inner_imports(module) - {room}
    TopologicalSorter(graph).prepare()  # raises CycleError, with the cycle


def test_coding_and_bitstream_meet_only_in_the_traversals_coder() -> None:
    for module in imports():
        if room_of(module) in ("atdc.coding", "atdc.bitstream"):
            other = {"atdc.coding": "atdc.bitstream", "atdc.bitstream": "atdc.coding"}[room_of(module)]
            assert other not in inner_imports(module), f"{module} imports {other}"


def test_the_coding_traversal_does_not_know_how_graphs_are_chosen() -> None:
    """What only an encoder has, the decoder's traversal cannot use: whatever it needs has crossed as bytes."""
    chosen_by_the_encoder = {"atdc.networks.encoders", "atdc.graph.search", "atdc.networks.predictability"}
    for module, names in imports().items():
        if room_of(module) in ("atdc.coding", "atdc.bitstream"):
            assert not {name for name in names for door in chosen_by_the_encoder if name.startswith(door)}, module


def test_one_file_alone_knows_the_range_coder_library() -> None:
    users = {module for module, names in imports().items() if any(n.split(".")[0] == "constriction" for n in names)}
    assert users == {"atdc.bitstream.range_coder"}


def test_the_door_opens_on_no_page_and_no_command() -> None:
    first = STAGE["atdc.report"]
    assert not {room for room in inner_imports("atdc") if STAGE[room] >= first or room == "atdc.terminal"}


def within(module: str, rooms: tuple[str, ...]) -> bool:
    """Whether a module is one of some rooms or modules, or in one of them."""
    return any(module == room or module.startswith(f"{room}.") for room in rooms)


def way_to(module: str, rooms: tuple[str, ...]) -> list[str]:
    """A chain of imports that leads from a module into one of some rooms; empty if none does."""
    came_from: dict[str, str] = {module: ""}
    waiting = [module]
    while waiting:
        here = waiting.pop()
        if within(here, rooms):
            chain = [here]
            while came_from[chain[0]]:
                chain.insert(0, came_from[chain[0]])
            return chain
        # What is imported from the product's own door comes late, from where it is; the next test loads it.
        for name in sorted(imports()[here] & set(imports()) - set(DOORS)):
            if name not in came_from:
                came_from[name] = here
                waiting.append(name)
    return []


def test_the_core_knows_tensors_alone() -> None:
    core = [module for module in imports() if within(module, CORE)]
    assert {room for room in CORE if any(within(module, (room,)) for module in core)} == set(CORE)
    ways = [" → ".join(way) for module in core if (way := way_to(module, OF_TASKS_AND_IMAGES))]
    assert not ways


def test_the_way_from_one_module_to_another_is_found_through_others() -> None:
    assert way_to("atdc.pipeline", ("atdc.bitstream.range_coder",))
    assert not way_to("atdc.errors", ("atdc.bitstream.range_coder",))


def test_loading_the_core_loads_no_tasks_and_no_images() -> None:
    core = sorted(module for module in imports() if within(module, CORE))
    code = (
        "import importlib, sys\n"
        f"for name in {core!r}:\n"
        "    importlib.import_module(name)\n"
        f"    loaded = [m for m in sys.modules if m.startswith({OF_TASKS_AND_IMAGES!r})]\n"
        "    assert not loaded, f'{name} loads {loaded}'\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr.splitlines()[-1]


@pytest.mark.slow
def test_coding_loads_neither_the_compiler_nor_the_solvers(untrained_weights: Path) -> None:
    """They would double the time that a command of one image takes."""
    code = (
        "import sys, numpy, atdc\n"
        f"codec = atdc.load({str(untrained_weights)!r})\n"
        "codec.decode(codec.encode(numpy.zeros((64, 64, 3), numpy.uint8)))\n"
        "loaded = {'torch._dynamo', 'sympy', 'scipy'} & set(sys.modules)\n"
        "assert not loaded, f'coding loads {loaded}'\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr.splitlines()[-1]


@pytest.mark.slow
def test_light_rooms_do_not_load_torch() -> None:
    code = (
        "import importlib, sys\n"
        f"for name in {WITHOUT_TORCH!r}:\n"
        "    importlib.import_module(name)\n"
        "    assert 'torch' not in sys.modules, name + ' loads torch'\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr.splitlines()[-1]
