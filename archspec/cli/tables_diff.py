"""How the difference of two networks looks in a terminal."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from archspec.cli.tables import console, giga, in_yaml, memory, shape_text
from archspec.search.report.words import change

if TYPE_CHECKING:
    from archspec.diff import Difference, Pair, PartChange

LABELS = {
    "params": "parameters", "flops": "FLOPs", "macs": "multiply-adds",
    "activation_bytes": "activations (fp32)",
}  # fmt: skip
COLOURS = {"+": "green", "-": "red"}


def show(found: Difference, *, full: bool) -> None:
    """What `archspec diff` prints.

    Args:
        found: the difference.
        full: whether blocks that only one network has are printed as well.
    """
    out = console()
    out.print(Text.assemble((found.first, "bold"), " → ", (found.second, "bold")), soft_wrap=True)
    if found.is_same:
        out.print("no difference: they are the same network")
        top1 = found.header["top1"]
        if top1.differs:  # of another training
            ours, theirs = (
                "–" if value is None else f"{value} %" for value in (top1.first, top1.second)
            )
            out.print(f"published top-1: {ours} → {theirs}")
        return
    if found.figures:
        _figures(out, found)
        _stages(out, found)
    else:
        out.print("no costs to compare: not both are single networks")
    if found.variables:
        _variables(out, found.variables)
    _parts(out, found.parts, full=full)


def _table(title: str, first: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
    table.add_column(first, no_wrap=True)
    return table


def _figures(out: Console, found: Difference) -> None:
    table = _table("For one image", "")
    for column in (found.first, found.second, "difference", ""):
        table.add_column(column, justify="right")
    for key, pair in found.figures.items():
        shown: Callable[[Any], str] = memory if key == "activation_bytes" else "{:,}".format
        ours, theirs = pair.first, pair.second
        less = "−" if theirs < ours else "+" if theirs > ours else ""
        table.add_row(
            LABELS[key], shown(ours), shown(theirs), f"{less}{shown(abs(theirs - ours))}",
            change(theirs, ours),
        )  # fmt: skip
    for key, pair in found.header.items():
        if pair.differs:
            label = "published top-1 %" if key == "top1" else key
            table.add_row(label, *map(_header_text, (pair.first, pair.second)))
    out.print(table)


def _header_text(value: Any) -> str:
    if isinstance(value, list):
        return "×".join(map(str, value))
    return "–" if value is None else str(value)


def _stages(out: Console, found: Difference) -> None:
    table = _table("By stage", "stage")
    for column in ("layers", "output H×W×C", "parameters", "", "FLOPs", ""):
        table.add_column(column, justify="right", no_wrap=True)
    for stage in found.stages:
        one, other = stage.first, stage.second
        cells = [
            _both(one, other, lambda stage: str(stage["layers"] or "–")),
            _both(one, other, lambda stage: shape_text(stage["output"])),
        ]
        for key in ("params", "flops"):
            cells.append(_both(one, other, lambda stage, key=key: giga(stage[key])))  # type: ignore[misc]
            is_in_both = one is not None and other is not None
            cells.append(change(other[key], one[key]) if is_in_both else "")  # type: ignore[index]
        table.add_row(stage.name, *cells)
    out.print(table)


def _both(
    one: Mapping[str, Any] | None,
    other: Mapping[str, Any] | None,
    text: Callable[[Mapping[str, Any]], str],
) -> str:
    """`2 → 8`, or `2` where it is the same in both."""
    left, right = ("–" if stage is None else text(stage) for stage in (one, other))
    return left if left == right else f"{left} → {right}"


def _variables(out: Console, variables: Mapping[str, Pair]) -> None:
    table = Table(
        title="Variables", title_justify="left", title_style="bold", box=None, show_header=False,
        padding=(0, 2, 0, 1),
    )  # fmt: skip
    for name, pair in variables.items():
        values = ("–" if value is None else in_yaml(value) for value in (pair.first, pair.second))
        table.add_row(name, " → ".join(values))
    out.print(table)
    out.print()


def _parts(out: Console, parts: tuple[PartChange, ...], *, full: bool) -> None:
    """What changed as a diff; what only one of them has by name, unless all is asked for."""
    for part in parts:
        whole = part.kind != "changed"
        if whole and not full:
            continue
        verb = {"changed": "", "added": " (new)", "removed": " (gone)"}[part.kind]
        out.print(Text(f"{part.name}{verb}", "bold"))
        for line in part.lines:
            if not line.startswith("@@"):
                out.print(Text(f"  {line[0]} {line[1:]}", COLOURS.get(line[0], "")), soft_wrap=True)
            elif line is not part.lines[0]:
                out.print(Text("  …", "dim"))
        out.print()
    for kind, label in (("removed", "Gone"), ("added", "New")):
        names = [part.name for part in parts if part.kind == kind]
        if names and not full:
            out.print(Text.assemble((f"{label}: ", "bold"), ", ".join(names)), soft_wrap=True)
