"""How ``atdc inspect`` shows a file to people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atdc.batch import out as console
from atdc.terminal import escape, plain_table

if TYPE_CHECKING:
    from atdc.inspection import Inspection


def show_inspection(name: str, seen: Inspection) -> None:
    """Prints a file's sizes and a table of what is in it."""
    if seen.kind == "image":
        size = f"{seen.width}×{seen.height} pixels, {seen.bpp:.3f} bpp"
    else:
        size = f"the features of {len(seen.tasks)} tensors"
        size += "" if seen.bpp is None else f", {seen.bpp:.3f} bits per position"
    console.print(f"[bold]{escape(name)}[/bold]: {seen.bytes:,} bytes for {size}")
    known = [key for key in ("bytes", "ideal_bits") if all(key in row for row in seen.tasks.values())]
    columns = ["quality", *(key.replace("_", " ") for key in known), *(["share"] if known else [])]
    grids = seen.grids if seen.kind == "features" else None
    table = plain_table("task" if seen.kind == "image" else "tensor", [] if grids is None else ["grid"])
    if seen.graph is not None:
        table.add_column("predicted from")
    for column in columns:
        table.add_column(column, justify="right")
    total = sum(row[known[0]] for row in seen.tasks.values()) if known else 0
    for name, row in seen.tasks.items():
        cells = [escape(name)]
        cells += [] if grids is None else ["×".join(map(str, grids[name]))]
        cells += [] if seen.graph is None else [escape(", ".join(seen.graph[name])) or "–"]
        cells += [f"{seen.quality[name]:g}", *(f"{row[key]:,.0f}" for key in known)]
        table.add_row(*cells, *([f"{row[known[0]] / (total or 1):.0%}"] if known else []))
    console.print(table)
    if seen.graph is None:
        console.print(f"graph: number {seen.graph_number} of the list kept with weights {seen.fingerprint}")
    ideal = "" if seen.ideal_bits is None else f"ideal {seen.ideal_bits / 8:,.1f} bytes; "
    console.print(
        f"header and checks {seen.framing_bytes} bytes; {ideal}format {seen.version}, profile {seen.profile}, "
        f"weights {seen.fingerprint}"
    )
    if seen.first:
        console.print(f"first: {escape(', '.join(seen.first))}; a reader may stop after these")
    if seen.ideal_bits is None:
        console.print(f"For names, the graph and ideal bits, name the weights {seen.fingerprint} with --model.")
