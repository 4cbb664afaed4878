"""How the zoo looks in a terminal: one line for each network, or all about one."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from rich import box
from rich.table import Table
from rich.text import Text

from archspec.cli.filters import APART
from archspec.cli.tables import console, giga, in_yaml, memory
from archspec.figures import Row

if TYPE_CHECKING:
    from archspec.spec import Block, Spec

COLUMNS = ("name", "parameters", "FLOPs", "top-1 %", "source", "about")
NOTE = "Parameters and FLOPs (multiply-adds) are exact counts; top-1 is the paper's, on ImageNet-1k"


def show_specs(rows: Sequence[Row], *, is_sorted: bool, is_narrow: bool) -> None:
    """What `archspec specs` prints.

    Args:
        rows: in the order of the table, if `is_sorted`; else they are grouped by folder.
        is_sorted: whether the user asked for an order.
        is_narrow: whether the user named what to show; else only networks of the zoo are.
    """
    out = console()
    apart = [] if is_narrow else [row for row in rows if row["folder"] in APART]
    shown = [row for row in rows if row not in apart]
    lines: list[tuple[str, ...] | None] = []
    if is_sorted:
        lines += map(_cells, shown)
    else:
        for folder, group in groupby(sorted(shown, key=_place), key=lambda row: row["folder"]):
            lines += [(folder or "networks",), *(_cells(row, "  ") for row in group), None]
    if shown:
        out.print(_table(lines, out.width))
    if apart:
        counts = {name: sum(row["folder"] == name for row in apart) for name in APART}
        names = [f"'archspec specs {name}' ({count})" for name, count in counts.items() if count]
        out.print(f"{NOTE}. Beside these: {', '.join(names)}.", soft_wrap=True)
    else:
        out.print(f"{NOTE}.", soft_wrap=True)
    for row in shown:
        if row["error"] is not None:
            out.print(Text(f"✗ {row['name']}: {row['error']}", "red"), soft_wrap=True)


def _table(lines: Sequence[tuple[str, ...] | None], width: int) -> Table:
    """One line each; a single cell is a heading, None an end. Only the last column is cut.

    Args:
        lines: cells, one for each of COLUMNS.
        width: of the terminal, in characters.
    """
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    room = width
    for place, column in enumerate(COLUMNS):
        cells = [line[place] for line in lines if line is not None and len(line) > place]
        table.add_column(column, justify="right" if place in (1, 2, 3) else "left", no_wrap=True)
        room -= max(map(len, (column, *cells))) + 3 if column != "about" else 3
    for line in lines:
        if line is None:
            table.add_section()
        else:
            *cells, last = line
            last = textwrap.shorten(last, max(room, 12), placeholder=" …") if cells else last
            table.add_row(*cells, last, style=None if cells else "bold")
    return table


def _place(row: Row) -> tuple[str, str, int, str]:
    """Families together, the small sizes first."""
    return row["folder"], row["family"], row["flops"] or 0, row["name"]


def _cells(row: Row, indent: str = "") -> tuple[str, ...]:
    if row["params"] is not None and row["flops"] is not None:
        params, flops = giga(row["params"]), giga(row["flops"])
    elif row["error"] is not None:
        params, flops = "unreadable", ""
    else:
        params, flops = (f"{row['holes']} holes" if row["holes"] else "blocks"), ""
    top1 = "" if row["top1"] is None else str(row["top1"])
    source = (row["source"] or "").removeprefix("https://")
    source = source.replace("arxiv.org/abs/", "arXiv ").split("/")[0]
    return f"{indent}{row['name']}", params, flops, top1, source, row["about"] or ""


def show_spec(row: Row) -> None:
    """All about one spec."""
    from archspec.spec import load

    out = console()
    out.print(Text.assemble((row["name"], "bold"), "   ", row["about"] or ""), soft_wrap=True)
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, text in (*_facts(row), *_contents(load(row["file"]))):
        table.add_row(name, text)
    out.print(table)


def _facts(row: Row) -> Iterator[tuple[str, str]]:
    published = row["published"]
    if row["source"]:
        yield "source", row["source"]
    yield "file", row["file"]
    extends = f", extends {row['extends']}" if row["extends"] else ""
    yield "family", f"{row['family']}{extends}"
    if row["params"] is None or row["flops"] is None or row["activation_bytes"] is None:
        return
    image = "×".join(map(str, row["input"]))
    yield "input", f"{image}, {row['classes']} classes"
    for name, key, ours in (
        ("parameters", "params", row["params"]), ("FLOPs", "flops", row["flops"])
    ):  # fmt: skip
        yield name, f"{ours:,}" + (f" (published {published[key]})" if key in published else "")
    yield "activations", f"{memory(row['activation_bytes'])} for one image in fp32"
    if row["top1"] is not None:
        yield "top-1", f"{row['top1']:g} % on ImageNet-1k, as published"


def _contents(spec: Spec) -> Iterator[tuple[str, str]]:
    """What may be set, what may be imported, which checkpoints can be loaded."""
    if spec.vars:
        yield (
            "variables",
            ", ".join(f"{key}: {in_yaml(node.plain())}" for key, node in spec.vars.items()),
        )
    own = [block for block in spec.blocks.values() if block.mark.file == str(spec.file)]
    if own:
        yield "blocks", ", ".join(map(_signature, own))
    for name, mapping in spec.header.weights.items():
        parts = [mapping.url or mapping.source]
        parts += [f"licence {mapping.license}"] if mapping.license else []
        parts += [f"top-1 {mapping.top1:g} %"] if mapping.top1 is not None else []
        yield f"weights {name}", ", ".join(part for part in parts if part)


def _signature(block: Block) -> str:
    arguments = (
        name
        if block.defaults[name].value is None
        else f"{name}: {in_yaml(block.defaults[name].plain())}"
        for name in block.head.arguments
    )
    return f"{block.name} {{{', '.join(arguments)}}}" if block.head.arguments else block.name
