"""The numbers of the pages: every table between two markers is written from a result file, never by hand.

A block looks like ``<!-- numbers: rates -->`` … ``<!-- end -->``. ``python -m atdc_bench.report.readme`` (``make
readme``) rewrites what stands between the markers, and names the sentences that :mod:`atdc_bench.report.figures` finds
at odds with the files; tests check both.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from functools import cache
from importlib import resources
from pathlib import Path

from atdc.errors import DataError
from atdc.files import write_bytes_atomically
from atdc_bench.report.figures import pages, problems
from atdc_bench.report.registry import BLOCKS, Result
from atdc_bench.report.reservations import reservations

_BLOCK = re.compile(r"(<!-- numbers: ([a-z]+) -->\n).*?(<!-- end -->)", re.DOTALL)
TINY = b"tiny".hex()
"""What the weights that `atdc bench fuzz` makes up call themselves."""


PAGES = {
    "README.md": "results",
    "docs/results.md": "../results",
    "docs/real.md": "../results",
    "docs/published-networks.md": "../results",
    "src/atdc/shipped/small-1.md": "../../../results",
    "src/atdc/shipped/real-1.md": "../../../results",
}
"""Pages with blocks, and how each links to the folder of results."""


def fill(text: str, results: Path, link: str = "results") -> str:
    """The text with every block written again.

    Args:
        text: Markdown with blocks.
        results: folder of the result files; a block whose file is not there says so.
        link: the folder as the page links to it.

    Raises:
        DataError: a block of an unknown name, or a damaged result file.

    >>> print(fill("<!-- numbers: rates -->\\n<!-- end -->", Path("no such folder")))
    <!-- numbers: rates -->
    *Not measured yet: `atdc bench evaluate --count 400 --extra-count 100` writes `results/evaluate_small.json`.*
    <!-- end -->
    """

    def write(match: re.Match[str]) -> str:
        name = match[2]
        if name not in BLOCKS:
            raise DataError("README", f"a block named {name!r}", "one of " + ", ".join(BLOCKS))
        block = BLOCKS[name]
        file, command = block.file, block.command
        path = results / file
        if not path.exists():
            return f"{match[1]}*Not measured yet: `{command}` writes `results/{file}`.*\n{match[3]}"
        try:
            result = json.loads(path.read_text(encoding="utf-8"))
            body = "\n".join(block.formatter(result))
        except (OSError, ValueError, KeyError) as error:
            raise DataError(str(path), repr(error), f"a result of `{command}`", "Run it again.") from error
        return f"{match[1]}{body}\n\n{_origin(result, command, file, link)}\n{match[3]}"

    return _BLOCK.sub(write, text)


def _origin(result: Result, command: str, file: str, link: str) -> str:
    """The caption: the command, its file, what it ran on, and why it may not be what the command gives today."""
    origin = result["provenance"]
    data, machine, commit = result.get("data", {}), origin["machine"], origin["commit"] or "unknown"
    images = f": {data['images']} images of `{data.get('name', 'rooms')}`" if "images" in data else ""
    split = f", split `{data['split']}`" if "split" in data else ""
    weights = "" if origin["weights"] in (None, TINY) else f"weights `{origin['weights']}`, "
    seed = "" if origin["seed"] is None else f"seed {origin['seed']}, "
    return (
        f"<sub>`{command}` → [`results/{file}`]({link}/{file}){images}{split}; {weights}{seed}code `{commit[:7]}` of "
        f"{origin['date'][:10]}; {machine['cpu']}, threads: {machine['threads']}.{_marks(result)}</sub>"
    )


def _marks(result: Result) -> str:
    """Reservations about a result, and about rows of it that were measured on their own."""
    rows: dict[str, Result] = {
        name: row["provenance"] for name, row in result.get("systems", {}).items() if "provenance" in row
    }
    names_by_words: dict[str, list[str]] = {}
    for name, origin in (rows or {"": result["provenance"]}).items():
        for words in reservations(origin, shipped_weights()):
            names_by_words.setdefault(words, []).append(name)
    notes = [
        words if len(names) == max(1, len(rows)) else f"{words} ({', '.join(f'`{name}`' for name in names)})"
        for words, names in names_by_words.items()
    ]
    return f" **To renew:** {'; '.join(notes)}." if notes else ""


@cache
def shipped_weights() -> frozenset[str]:
    """Fingerprints of the weights in the package, and of the tiny ones that tests make.

    >>> TINY in shipped_weights()
    True
    """
    folder = resources.files("atdc").joinpath("shipped")
    files = [file for file in folder.iterdir() if file.name.endswith(".safetensors")]
    return frozenset({TINY, *(hashlib.sha256(file.read_bytes()).hexdigest()[:8] for file in files)})


def main() -> None:
    """Rewrite the blocks of all pages in the current folder from ``results/``, and name sentences at odds with them."""
    for name, link in PAGES.items():
        path = Path(name)
        text = path.read_text(encoding="utf-8")
        new_text = fill(text, Path("results"), link)
        if new_text != text:
            write_bytes_atomically(path, new_text.encode())
        print(f"{path}: {'numbers rewritten' if new_text != text else 'numbers are up to date'}", file=sys.stderr)
    errors = [
        f"{page}: {problem}" for page, text in pages(Path()).items() for problem in problems(text, Path("results"))
    ]
    if errors:
        sys.exit("\n".join(errors))


if __name__ == "__main__":
    main()
