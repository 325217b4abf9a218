"""How commands are found, the measuring ones among them, and how their errors become a line and an exit status."""

from __future__ import annotations

import re
from functools import cache
from itertools import pairwise
from typing import Any

import typer
from typer.core import TyperGroup

from atdc.cli.batch import INTERRUPTED, complain, complaint
from atdc.errors import ArgumentError, AtdcError
from atdc.terminal import shown


class Commands(TyperGroup):
    """Errors of this package end in one line and an exit status, whichever way a command is called.

    ``bench`` is a command, too, whose own ones are loaded when somebody asks for them.
    """

    def list_commands(self, ctx: Any) -> list[str]:
        return [*super().list_commands(ctx), "bench"]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        return _bench() if cmd_name == "bench" else super().get_command(ctx, cmd_name)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name = args[0]
        if not ctx.resilient_parsing and name not in self.list_commands(ctx) and name in _bench().commands:
            raise ArgumentError(f"atdc {name}", "a command's former name", f"atdc bench {name}")
        return super().resolve_command(ctx, args)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        for before, argument in pairwise(["", *args]):
            if not ctx.resilient_parsing and (not argument or re.fullmatch("--[a-z-]+=", argument)):
                after = f" after {shown(before)}" if before else ""
                raise typer.BadParameter(f"an empty name or value{after}; is a variable of the shell not set?")
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except typer.BadParameter as error:
            error.message = shown(_in_our_words(error.message))
            raise
        except KeyboardInterrupt:
            complain("interrupted.")
            raise typer.Exit(INTERRUPTED) from None
        except AtdcError as error:
            if ctx.params.get("traceback"):
                raise
            complain(complaint(error))
            raise typer.Exit(2 if isinstance(error, ArgumentError) else 1) from error


@cache
def _bench() -> TyperGroup:
    """The measuring commands; nowhere else the product knows the evidence."""
    from atdc_bench.cli import app as measurements

    group = typer.main.get_group(measurements)
    group.rich_help_panel = "Measure"
    return group


def _in_our_words(message: str) -> str:
    """What is said of a value that typer has refused, without the names of its machinery."""
    message = re.sub(r"^Input should be (.*?)(, unable to .*)?$", r"it should be \1.", message)
    return message.removeprefix("Value error, ")
