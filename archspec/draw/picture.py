"""The whole picture of a network, or of one block of it, as a file."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from archspec.counting import count
from archspec.draw.blocks import Block, Blocks
from archspec.draw.canvas import Canvas, settings, suffix, text_width
from archspec.draw.diagram import Diagram, diagram, sole_op
from archspec.draw.fold import folded
from archspec.draw.labels import JOIN_SIGNS, quantity
from archspec.draw.overview import Overview, is_large
from archspec.draw.panel import Panel, sketch
from archspec.draw.style import DETAIL_SIZE, FAMILIES, NAME_SIZE, QUIET, TITLE_SIZE, colour
from archspec.graph import Graph

MARGIN = 20.0
GUTTER = 16.0
"""Between panels."""
ASPECT = 1.5
"""Width by height that a picture with many blocks aims at."""


def draw(graph: Graph, path: Path, *, block: str | None = None) -> None:
    """Draw a network, or one of its blocks, into an SVG, PNG or PDF file.

    Args:
        graph: a network, or a block on its own.
        path: the file; its suffix says the format.
        block: the name of a block (or stage) in the graph, to draw nothing else.

    Raises:
        SpecError: there is no such block, or no such format.
        ArchspecError: the file cannot be written.
    """
    suffix(path)
    blocks = Blocks(graph)
    chosen = blocks.named(block) if block is not None else _own_panels(graph, blocks)
    with settings():
        diagrams = [diagram(entry.graph, blocks) for entry in chosen]
        panels = [
            Panel(entry.title, _subtitle(entry, graph), tuple(map(sketch, folded(drawn))))
            for entry, drawn in zip(chosen, diagrams, strict=True)
        ]
        overview = Overview(graph, blocks) if block is None and graph.kind == "network" else None
        if overview is not None:
            diagrams += [card.sketch.diagram for card in overview.cards]
        _sheet(graph, overview, panels, diagrams).save(path)


def _own_panels(graph: Graph, blocks: Blocks) -> list[Block]:
    """What is drawn beside the overview: all blocks, and stages too large for it."""
    return [
        entry
        for entry in blocks
        if (entry.graph.kind == "layer")
        or (entry.graph.kind == "block" and sole_op(entry.graph) is None)
        or (entry.graph.kind == "stage" and is_large(entry.graph, blocks))
        or (entry.graph is graph and graph.kind != "network")
    ]


def _subtitle(block: Block, root: Graph) -> str:
    if block.graph.kind == "stage" or block.graph is root:
        return block.graph.kind
    return block.caption


def _sheet(
    graph: Graph, overview: Overview | None, panels: list[Panel], diagrams: Iterable[Diagram]
) -> Canvas:
    head = 52.0 if overview is not None else 0.0
    left = least = 0.0
    if overview is not None:
        left, least = overview.width + (GUTTER * 1.5 if panels else 0.0), overview.height
    places, width, height = _packed(panels, left, least)
    height = max(height, least)
    title, facts = graph.name, _facts(graph) if overview is not None else ""
    words = max(text_width(title, NAME_SIZE, bold=True), text_width(facts, TITLE_SIZE))
    total = max(left + width, words if overview is not None else 0.0)
    rows = _legend_rows(diagrams, total)
    legend = 20.0 * len(rows) + 6
    canvas = Canvas(total + 2 * MARGIN, head + height + legend + 2 * MARGIN)
    if overview is not None:
        canvas.text(MARGIN, MARGIN + 10, title, NAME_SIZE, align="left", bold=True)
        canvas.text(MARGIN, MARGIN + 31, facts, TITLE_SIZE, align="left", colour=QUIET)
        overview.paint(canvas, MARGIN, MARGIN + head)
    for panel, (x, y) in zip(panels, places, strict=True):
        panel.paint(canvas, MARGIN + left + x, MARGIN + head + y)
    _paint_legend(canvas, rows, MARGIN + head + height + 18)
    return canvas


def _facts(graph: Graph) -> str:
    table = count(graph)
    if not isinstance(table.params, int) or not isinstance(table.flops, int):
        return ""
    return (
        f"{quantity(table.params)} parameters · {quantity(table.flops)}FLOPs (multiply-adds) "
        "for one image"
    )


def _packed(
    panels: list[Panel], beside: float, at_least: float
) -> tuple[list[tuple[float, float]], float, float]:
    """Panels in columns, in such heights that the picture comes near its aspect.

    Args:
        beside: the width of what stands at the left.
        at_least: its height.

    Returns:
        The place of each panel, and the width and height of all.
    """
    if not panels:
        return [], 0.0, 0.0
    lowest = max([at_least, *(panel.size[1] for panel in panels)])
    tries = [_columns(panels, lowest * (1 + step / 8)) for step in range(33)]
    return min(tries, key=lambda t: max((beside + t[1]) / ASPECT, t[2], at_least))


def _columns(panels: list[Panel], limit: float) -> tuple[list[tuple[float, float]], float, float]:
    """Each panel in the first column in which it finds room under a limit."""
    columns: list[list[Panel]] = []
    for panel in panels:
        free = limit - panel.size[1]
        fitting = (c for c in columns if sum(p.size[1] + GUTTER for p in c) <= free)
        column = next(fitting, None)
        if column is None:
            columns.append(column := [])
        column.append(panel)
    spots, x, tallest = {}, 0.0, 0.0
    for column in columns:
        y = 0.0
        for panel in column:
            spots[id(panel)] = (x, y)
            y += panel.size[1] + GUTTER
        x += max(panel.size[0] for panel in column) + GUTTER
        tallest = max(tallest, y - GUTTER)
    return [spots[id(panel)] for panel in panels], x - GUTTER, tallest


# -- legend ------------------------------------------------------------------------------------


def _legend_rows(diagrams: Iterable[Diagram], width: float) -> list[list[tuple[str, str]]]:
    """What the colours and signs mean, of those that are in the picture, broken into rows."""
    items = [item for drawn in diagrams for item in drawn.items]
    found = {item.family for item in items if item.kind in ("op", "block")}
    signs = {item.title for item in items if item.kind == "join"}
    entries = [(name, name) for name in FAMILIES if name in found]
    entries += [(name, name) for name in sorted(found - FAMILIES.keys())]
    entries += [(sign, op) for op, sign in JOIN_SIGNS.items() if sign in signs]
    rows: list[list[tuple[str, str]]] = [[]]
    used = 0.0
    for entry in entries:
        needed = _entry_width(entry[1])
        if rows[-1] and used + needed > width:
            rows.append([])
            used = 0.0
        rows[-1].append(entry)
        used += needed
    return rows


def _entry_width(text: str) -> float:
    return 18 + text_width(text, DETAIL_SIZE) + 16


def _paint_legend(canvas: Canvas, rows: list[list[tuple[str, str]]], top: float) -> None:
    signs = set(JOIN_SIGNS.values())
    for index, row in enumerate(rows):
        x, y = MARGIN, top + 20.0 * index
        for what, text in row:
            if what in signs:
                canvas.circle(x + 6, y, 6, colour("combine"))
                canvas.text(x + 6, y, what, 10.0)
            else:
                canvas.box(x, y - 5, 12, 10, colour(what), radius=2.0)
            canvas.text(x + 18, y, text, DETAIL_SIZE, align="left")
            x += _entry_width(text)
