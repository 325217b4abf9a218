"""Work on many inputs: one that fails gets a line on standard error, and the others are done."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from atdc.errors import AtdcError, BitstreamError

Result = TypeVar("Result")
out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)


class Done:
    """What became of many inputs: results, some of them with problems; or nothing, where the work failed."""

    def __init__(self, results: list[Any], flawed: int, failed: int, heading: str) -> None:
        self.results, self.flawed, self.failed, self.heading = results, flawed, failed, heading

    def finish(self, summary: Callable[[list[Any]], str] | None = None) -> None:
        """Print the summary of many inputs, and leave with status 1 if anything is wrong with one."""
        if self.heading:
            what = f": {summary(self.results)}" if self.results and summary else ""
            out.print(f"{self.heading}{what}")
        if self.failed or self.flawed:
            raise typer.Exit(1)


def for_each(
    ctx: typer.Context,
    verbs: tuple[str, str],
    paths: Sequence[Path],
    work: Callable[[Path], Result],
    line: Callable[[Path, Result], str],
    quiet: bool,
    problems: Callable[[Result], Iterable[Exception | str]] = lambda _: (),
    flawed_word: str = "",
) -> Done:
    """Work on every input; one that fails gets a line and does not stop the others.

    Args:
        ctx: of the command.
        verbs: what happens, and what has happened, to an input.
        paths: the inputs.
        work: what to do with one.
        line: what to say of one that is done.
        quiet: say nothing but errors.
        problems: what is wrong with a result; a line each.
        flawed_word: what an input is called whose result has problems.
    """
    quiet = quiet or globally(ctx, "quiet")
    start, results, flawed, failed = time.perf_counter(), [], 0, 0
    progress = Progress(
        TextColumn(verbs[0]), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
        console=err, transient=True, disable=quiet or len(paths) < 2 or not err.is_terminal,
    )  # fmt: skip
    with progress:
        step = progress.add_task(verbs[0], total=len(paths))
        for path in paths:
            try:
                result = work(path)
                results.append(result)
                if not quiet:
                    out.print(escape(line(path, result)))
                wrong = list(problems(result))
                flawed += bool(wrong)
                for problem in wrong:
                    complain(problem, path)
            except Exception as error:
                if globally(ctx, "traceback"):
                    raise
                failed += 1
                complain(error, path)
            progress.advance(step)
    heading = ""
    if not quiet and len(paths) > 1:
        heading = f"{verbs[1]} {len(results) - flawed} of {len(paths)} files"
        heading += f", {flawed} {flawed_word}" if flawed else ""
        heading += f", {failed} failed" if failed else ""
        heading += f" in {time.perf_counter() - start:.1f} s"
    return Done(results, flawed, failed, heading)


def complain(error: Exception | str, path: Path | None = None) -> None:
    """One line on standard error."""
    text = " ".join(str(_with_option(error)).split())
    if isinstance(error, MemoryError) or "allocate memory" in text:  # torch says it with a RuntimeError
        text = "found too little memory; expected about 45 bytes a pixel. Make the picture smaller."
    elif not isinstance(error, (AtdcError, str)):
        text = f"{type(error).__name__}: {text} (a defect of atdc; `atdc --traceback …` shows where)"
    if path is not None and str(path) not in text:
        text = f"{path}: {text}"
    err.print(f"[bold red]atdc:[/bold red] {escape(text)}")


def _with_option(error: Exception | str) -> Exception | str:
    """An error over an image's size with the option that helps; any other as it is."""
    if isinstance(error, BitstreamError) and error.where == "height and width" and error.expected.endswith("pixels"):
        return type(error)(error.where, error.found, error.expected, "If that size is meant, raise --pixel-limit.")
    return error


def globally(ctx: typer.Context, option: str) -> bool:
    return bool((ctx.obj or {}).get(option, False))
