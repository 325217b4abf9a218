"""Work on many inputs, here or in other processes: one that fails gets a line on standard error, the rest is done."""

from __future__ import annotations

import contextlib
import multiprocessing
import re
import signal
import sys
import time
import warnings
from collections import deque
from collections.abc import Callable, Collection, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, TextIO, TypeAlias, cast

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from atdc.cli.inputs import Item
from atdc.errors import AtdcError, BitstreamError, FeatureWarning, FitWarning, ImageError
from atdc.terminal import escape, guard_output, shown

out = Console(highlight=False, soft_wrap=True, emoji=False)
err = Console(stderr=True, highlight=False, soft_wrap=True, emoji=False)

INTERRUPTED = 130
"""Exit status after SIGINT, as shells have it: 128 + 2."""


@dataclass(frozen=True, slots=True)
class Report:
    """What became of one input; plain values, so that it can come from another process.

    Attributes:
        line: what to say of it.
        problems: what is wrong with the result; a line each.
        value: whatever the command does with the result at the end.
        skipped: its output was there before, and stays.
        details: further lines below the first.
    """

    line: str
    problems: tuple[str, ...] = ()
    value: Any = None
    skipped: bool = False
    details: tuple[str, ...] = ()


Work: TypeAlias = Callable[[Item], Report]
Outcome: TypeAlias = Report | str
"""A report, or why there is none."""
Outcomes: TypeAlias = Generator[tuple[int, Outcome], None, None]
"""With the number of the input."""


@dataclass(slots=True)
class Done:
    """What became of many inputs.

    Attributes:
        reports: of those that were worked on, in the order of the inputs.
        items: their inputs.
        flawed: how many of them have problems.
        failed: how many inputs have no report.
        heading: the first words of a summary; empty where none is wanted.
        console: where the summary goes.
    """

    reports: list[Report]
    items: list[Item]
    flawed: int
    failed: int
    heading: str
    console: Console = field(default_factory=lambda: out)

    def finish(self, summary: Callable[[list[Any]], str] | None = None) -> None:
        """Prints the summary of many inputs, and leaves with status 1 if anything is wrong with one."""
        values = [report.value for report in self.reports if report.value is not None or not report.skipped]
        if self.heading:
            what = f": {summary(values)}" if values and summary else ""
            self.console.print(f"{self.heading}{escape(what)}")
        if self.failed or self.flawed:
            raise typer.Exit(1)


def for_each(
    ctx: typer.Context,
    verbs: tuple[str, str],
    items: Sequence[Item],
    make: Callable[[], Work],
    *,
    quiet: bool,
    lines: bool = True,
    jobs: int = 1,
    flawed_word: str = "",
    resume: str = "",
    console: Console = out,
) -> Done:
    """Works on every input; one that fails gets a line and does not stop the others.

    Args:
        ctx: of the command.
        verbs: what happens, and what has happened, to an input.
        items: the inputs.
        make: makes what works on one; called once here, before any input, and once in each other process.
        quiet: say nothing but errors.
        lines: say a line of each input, and a summary; a bar is shown without them, too.
        jobs: processes; more than one needs a ``make`` that pickles.
        flawed_word: what an input is called whose report has problems.
        resume: after an interruption, how to resume.
        console: where lines about inputs go.

    Raises:
        typer.Exit: 130, interrupted; what was begun is not left half done.
    """
    quiet, traceback = quiet or globally(ctx, "quiet"), globally(ctx, "traceback")
    start, reports, flawed, failed, skipped = time.perf_counter(), dict[int, Report](), 0, 0, 0
    progress = Progress(
        TextColumn(verbs[0]), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
        console=err, transient=True, disable=quiet or not err.is_terminal,
    )  # fmt: skip
    try:
        work = make()  # what no input could be worked on with is said once
        is_serial = jobs == 1 or len(items) == 1 or traceback
        outcomes = _one_by_one(work, items, traceback) if is_serial else _in_processes(make, items, jobs)
        with progress, contextlib.closing(outcomes):
            step = progress.add_task(verbs[0], total=len(items))
            for index, outcome in outcomes:
                if isinstance(outcome, str):
                    failed += 1
                    complain(outcome)
                else:
                    reports[index] = outcome
                    skipped += outcome.skipped
                    if lines and not quiet and outcome.line:
                        console.print(escape(outcome.line))
                        for detail in outcome.details:
                            console.print(f"  {escape(detail)}")
                    flawed += bool(outcome.problems)
                    for problem in outcome.problems:
                        complain(problem)
                progress.advance(step)
    except KeyboardInterrupt:
        complain(f"interrupted: {len(reports)} of {len(items)} done.{' ' + resume if resume else ''}")
        raise typer.Exit(INTERRUPTED) from None
    heading = ""
    if lines and not quiet and len(items) > 1:
        heading = f"{verbs[1]} {len(reports) - flawed - skipped} of {len(items)} files"
        heading += f", {skipped} there before" if skipped else ""
        heading += f", {flawed} {flawed_word}" if flawed else ""
        heading += f", {failed} failed" if failed else ""
        heading += f" in {time.perf_counter() - start:.1f} s"
    order = sorted(reports)
    return Done([reports[i] for i in order], [items[i] for i in order], flawed, failed, heading, console)


def complain(text: str) -> None:
    """One line on standard error."""
    err.print(f"[bold red]atdc:[/bold red] {escape(text)}")


def complaint(error: Exception | str, item: Item | None = None, has_limit: bool = True) -> str:
    """What to say of an error, in one line that names the input; `has_limit`, whether the command takes a limit of
    pixels."""
    text = str(_with_option(error, has_limit))
    is_short_of_memory = isinstance(error, MemoryError) or "allocate memory" in (
        error.found if isinstance(error, AtdcError) else str(error)
    )  # torch says it with a RuntimeError
    names = [error.where] if isinstance(error, AtdcError) else []
    if item is not None:
        path = str(item.path)  # which writes "./a" as "a"
        if isinstance(error, AtdcError) and re.match(re.escape(path) + r"\b", error.where):
            text = item.name + text.removeprefix(path)
        names.append(item.name)
    for name in names:  # whose ends of lines, unlike those of other programs' sentences, are part of them
        text = text.replace(name, shown(name))
    text = re.sub(r"\s*[\r\n]\s*", " ", text.strip())
    if is_short_of_memory:
        text = "found too little memory; expected about 45 bytes a pixel of an image. Make the input smaller."
    elif not isinstance(error, (AtdcError, str)):
        text = f"{type(error).__name__}: {text} (a defect of atdc; `atdc --traceback …` shows where)"
    if item is not None:
        name = shown(item.name)
        if not text.startswith(f"{name}:") and (name not in text or len(name) < 3):
            text = f"{name}: {text}"
    return text


@contextlib.contextmanager
def warnings_as_lines(where: str = "", shown_sentences: Collection[str] = ()) -> Iterator[None]:
    """Shows this package's warnings as one line each on standard error; those of others stay as they are.

    Args:
        where: what they are about, for the beginning of a line.
        shown_sentences: those that were shown before, and are not repeated.
    """
    with warnings.catch_warnings():
        usual = warnings.showwarning

        def show(
            message: Warning | str, category: type[Warning], filename: str, lineno: int,
            file: TextIO | None = None, line: str | None = None,
        ) -> None:  # fmt: skip
            if not issubclass(category, (FeatureWarning, FitWarning)):
                usual(message, category, filename, lineno, file, line)
            elif str(message) not in shown_sentences:
                complain(f"{where}{': ' if where else ''}{message}")

        warnings.showwarning = show
        for category in (FeatureWarning, FitWarning):
            warnings.simplefilter("always", category)
        yield


def globally(ctx: typer.Context, option: str) -> bool:
    """Whether an option was given before the command's name."""
    return bool((ctx.obj or {}).get(option, False))


def _with_option(error: Exception | str, has_limit: bool) -> Exception | str:
    """An error over an image's or features' size with the option that helps, if there is one; any other as it is."""
    limits = r"at most [\d,]+ (pixels|positions)"
    of_size = isinstance(error, (BitstreamError, ImageError)) and re.fullmatch(limits, error.expected)
    if isinstance(error, AtdcError) and of_size:
        cure = "If that size is meant, raise --pixel-limit." if has_limit else "Make it smaller."
        return type(error)(error.where, error.found, error.expected, cure)
    return error


def _attempt(work: Work, item: Item) -> Outcome:
    try:
        return work(item)
    except Exception as error:
        return complaint(error, item)


def _one_by_one(work: Work, items: Sequence[Item], traceback: bool) -> Outcomes:
    for index, item in enumerate(items):
        if item.refusal:
            yield index, item.refusal
        else:
            yield index, work(item) if traceback else _attempt(work, item)


def _in_processes(make: Callable[[], Work], items: Sequence[Item], jobs: int) -> Outcomes:
    """Outcomes in the order in which they come. A process that dies loses the one input that it had, no other.

    Processes are spawned: threads of torch do not survive forking.
    """
    context = multiprocessing.get_context("spawn")
    waiting = deque((index, item) for index, item in enumerate(items) if not item.refusal)
    busy: dict[Connection, tuple[BaseProcess, int]] = {}
    processes: list[BaseProcess] = []
    try:
        yield from ((index, item.refusal) for index, item in enumerate(items) if item.refusal)
        while waiting or busy:
            while waiting and len(busy) < jobs:
                parent_end, child_end = context.Pipe()
                process: BaseProcess = context.Process(target=_serve, args=(make, child_end), daemon=True)
                with _interrupts_held():
                    process.start()
                child_end.close()  # so that its death is the end of the connection
                processes.append(process)
                busy[parent_end] = (process, waiting[0][0])
                _send(parent_end, waiting.popleft()[1])
            for ready in cast("list[Connection]", wait(list(busy))):
                process, index = busy.pop(ready)
                try:
                    outcome: Outcome = ready.recv()
                except (EOFError, OSError):
                    process.join()
                    ready.close()
                    yield index, _death(items[index], process.exitcode)
                    continue
                if waiting:
                    busy[ready] = (process, waiting[0][0])
                    _send(ready, waiting.popleft()[1])
                else:
                    ready.close()  # the process leaves
                yield index, outcome
    finally:
        for connection in busy:
            connection.close()
        for process in processes if busy else ():
            process.terminate()
        for process in processes:
            process.join()


@contextlib.contextmanager
def _interrupts_held() -> Iterator[None]:
    """A process begun here never sees SIGINT, not even while it starts; ours comes when the block ends."""
    if sys.platform == "win32":
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _send(connection: Connection, item: Item) -> None:
    with contextlib.suppress(OSError):  # it has died; reading from it says so
        connection.send(item)


def _death(item: Item, status: int | None) -> str:
    how = f"signal {-status}" if status is not None and status < 0 else f"exit status {status}"
    cure = "If memory was short, use fewer --jobs."
    return complaint(AtdcError(item.name, f"the end of the process that had it, by {how}", "a result", cure))


def _serve(make: Callable[[], Work], connection: Connection) -> None:
    """The other process: inputs in, outcomes out, until the connection ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal sends it to all; the first process decides
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that a file begun is removed
    guard_output()  # what it prints may find nobody who reads
    work: Work | None = None
    try:
        while True:
            item = connection.recv()
            try:
                work = work or make()
            except Exception as error:
                connection.send(complaint(error, item))
            else:
                connection.send(_attempt(work, item))
    except (EOFError, OSError):
        pass
    finally:  # it leaves: what is asked of it then would only disturb the interpreter's end, with a traceback
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
