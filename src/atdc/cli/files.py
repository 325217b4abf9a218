"""What a command is to read, and where it is to write, from the names that it was given."""

from __future__ import annotations

import glob
import os
import sys
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import typer

from atdc.bitstream.sources import is_url
from atdc.cli.batch import complain, complaint
from atdc.cli.codecs import codes_images
from atdc.cli.destination import SUFFIX, Destination, Existing
from atdc.cli.inputs import Item, find_items, is_features
from atdc.errors import AtdcError, OutputError
from atdc.files import reason_of

_STREAMS = ("-", "/dev/stdout", "/dev/fd/1")
"""Names of the standard output."""


def items_of(
    ctx: typer.Context, names: Sequence[str] | None, from_file: str | None, wanted: Callable[[Path], bool],
    as_they_come: bool = False,
) -> list[Item]:  # fmt: skip
    """The inputs that are named; copies of what comes through pipes, unless this is read as it comes, live as long as
    the command."""
    if not names and from_file is None:
        raise typer.BadParameter("no input is named; name files or folders, - for standard input, or use --from-file.")

    @cache
    def temporary() -> Path:
        try:
            return Path(ctx.with_resource(TemporaryDirectory(prefix="atdc-")))
        except OSError as error:
            raise OutputError(
                "temporary folder", reason_of(error), "one that can be written",
                "Name one by the variable TMPDIR.",
            ) from error  # fmt: skip

    return find_items(names or (), from_file, wanted, None if as_they_come else temporary)


def readable_images(ctx: typer.Context, names: Sequence[str]) -> tuple[list[Item], list[str]]:
    """The images that are named and can be read, and complaints about the others, which are said here.

    Raises:
        typer.Exit: none can be read.
    """
    from atdc.images import read_image

    readable, refused = [], []
    for item in items_of(ctx, names, None, is_image):
        try:
            if item.refusal:
                refused.append(item.refusal)
            else:
                read_image(item.path)
                readable.append(item)
        except AtdcError as error:
            refused.append(complaint(error, item, has_limit=False))
    for line in refused:
        complain(line)
    if not readable:
        raise typer.Exit(1)
    return readable, refused


def is_one_file(names: Sequence[str] | None, from_file: str | None) -> bool:
    """Whether a single file is named by its path, so that a program expects one answer instead of a list."""
    return (
        from_file is None
        and len(names or ()) == 1
        and not any(
            os.path.isdir(name) or (glob.has_magic(name) and not is_url(name) and not os.path.exists(name))
            for name in names or ()
        )
    )


def is_coded(path: Path) -> bool:
    """Whether a file in a folder is one to decode."""
    return path.suffix == SUFFIX


def is_image(path: Path) -> bool:
    """Whether a file in a folder is one to encode."""
    from atdc.images import image_suffixes

    return path.suffix.lower() in image_suffixes()


def encodable_with(model: str) -> Callable[[Path], bool]:
    """Whether a file in a folder is one to encode with such weights: an image, or a file of features where the weights
    have no networks for images. Weights are opened when a folder is looked into."""
    return lambda path: is_image(path) if codes_images(model) else is_features(path)


def is_folder(out: str) -> bool:
    """Whether a folder is named for outputs: all but ``-``, and what looks like a file."""
    named = not Path(out).suffix or out.endswith(("/", os.sep)) or os.path.isdir(out)
    return named and out not in _STREAMS


def destination_of(out: str, items: Sequence[Item], kind: str, existing: Existing) -> Destination:
    """Standard output for ``-``, a file for what looks like one, otherwise a folder."""
    path = Path(out)
    if out not in _STREAMS and os.path.exists(out) and not os.path.isdir(out) and not os.path.isfile(out):
        raise OutputError(out, "a device or pipe", "a folder, a file, or - for standard output", "Choose another name.")
    if is_folder(out):
        return Destination("folder", path, existing)
    if out in _STREAMS:
        where = Destination("stream", path, existing)
        if len(items) == 1 and getattr(sys.stdout, "isatty", bool)():
            raise typer.BadParameter("standard output is a terminal; send it to a file or a program.")
    else:
        where = Destination("file", path, existing)
    if len(items) != 1:
        folder = f": {out}/" if where.kind == "file" else ""
        raise typer.BadParameter(f"{out} is one file, but there are {len(items)} {kind}s; name a folder{folder}")
    return where


def existing_of(skip: bool, force: bool) -> Existing:
    """What becomes of outputs that are there."""
    if skip and force:
        raise typer.BadParameter("--skip-existing and --force exclude each other.")
    return Existing.SKIP if skip else Existing.REPLACE if force else Existing.REFUSE
