"""The map of the source tree: which room may import which, read from the code itself.

    errors, tasks → config, files, images, numerics, terminal → networks, graph, balance, pillow_codecs
                  → coding, bitstream → integer_codec → codec, inspection → pipeline
                  → data, evaluation, training, baselines → report, inputs → batch → jobs → cli

An import goes to an earlier stage, or to another room of its own stage as long as rooms never import each other both
ways. Imports inside functions and for type checkers count, too.
"""

import ast
import subprocess
import sys
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "atdc"

STAGES: tuple[tuple[str, ...], ...] = (
    ("errors", "tasks"),
    ("config", "files", "image_arrays", "images", "numerics", "terminal"),
    ("networks", "graph", "balance", "pillow_codecs"),
    ("coding", "bitstream"),
    ("integer_codec",),
    ("codec", "inspection"),
    ("pipeline",),
    ("data", "evaluation", "training", "baselines"),
    ("report", "inputs"),
    ("batch",),
    ("jobs",),
    ("cli",),
    ("__main__",),
)
STAGE = {room: number for number, rooms in enumerate(STAGES) for room in rooms}
DOOR = "atdc"
"""The package's own ``__init__``: it opens on no room of the last four stages."""

WITHOUT_TORCH = (
    "atdc", "atdc.errors", "atdc.tasks", "atdc.config", "atdc.balance", "atdc.files", "atdc.images",
    "atdc.graph.task_graph",
    "atdc.graph.search", "atdc.bitstream.range_coder", "atdc.bitstream.container", "atdc.bitstream.layout",
    "atdc.bitstream.ports", "atdc.bitstream.sources", "atdc.numerics.integer", "atdc.numerics.entropy_model",
    "atdc.coding.entropy_coder", "atdc.integer_codec", "atdc.inspection", "atdc.report.pictures", "atdc.report.page",
    "atdc.report.line_chart", "atdc.report.comparison",
    "atdc.baselines.pixels", "atdc.baselines.vvc", "atdc.pillow_codecs", "atdc.batch", "atdc.jobs", "atdc.cli",
)  # fmt: skip


def room_of(module: str) -> str:
    """``atdc.graph.search`` is in the room ``graph``."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else DOOR


def module_of(path: Path) -> str:
    parts = ("atdc", *path.relative_to(SOURCE).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def imports() -> dict[str, frozenset[str]]:
    """Every module of the package and all that it imports, by full name."""
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
    return {room_of(name) for name in imports()[module] if name.startswith("atdc.")} & set(STAGE)


def test_every_module_is_in_a_room_on_the_map() -> None:
    unknown = sorted(module for module in imports() if room_of(module) not in {*STAGE, DOOR})
    assert not unknown, f"put them on the map, with care: {unknown}"


def test_imports_run_downwards_only() -> None:
    upwards = [
        f"{module} imports {room}"
        for module in imports()
        if room_of(module) != DOOR
        for room in sorted(inner_imports(module))
        if STAGE[room] > STAGE[room_of(module)]
    ]
    assert not upwards


def test_rooms_of_one_stage_do_not_import_each_other_both_ways() -> None:
    graph: dict[str, set[str]] = {room: set() for room in STAGE}
    for module in imports():
        if (room := room_of(module)) != DOOR:
            graph[room] |= inner_imports(module) - {room}
    TopologicalSorter(graph).prepare()  # raises CycleError, with the cycle


def test_coding_and_bitstream_meet_only_in_the_walks_port() -> None:
    for module in imports():
        if room_of(module) in ("coding", "bitstream"):
            other = {"coding": "bitstream", "bitstream": "coding"}[room_of(module)]
            assert other not in inner_imports(module), f"{module} imports {other}"


def test_the_coding_walk_does_not_know_how_graphs_are_chosen() -> None:
    """What only an encoder has, the walk that a decoder runs cannot use: whatever it needs has crossed as bytes."""
    chosen_by_the_encoder = {"atdc.networks.encoders", "atdc.graph.search", "atdc.graph.predictability"}
    for module, names in imports().items():
        if room_of(module) in ("coding", "bitstream"):
            assert not {name for name in names for door in chosen_by_the_encoder if name.startswith(door)}, module


def test_one_file_alone_knows_the_range_coder_library() -> None:
    users = {module for module, names in imports().items() if any(n.split(".")[0] == "constriction" for n in names)}
    assert users == {"atdc.bitstream.range_coder"}


def test_the_door_opens_on_no_page_and_no_command() -> None:
    assert not inner_imports("atdc") & {"report", "inputs", "batch", "terminal", "jobs", "cli"}


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
