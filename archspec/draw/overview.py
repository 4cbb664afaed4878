"""The column of a picture that shows the network as a whole: its stages and what each costs."""

from __future__ import annotations

from dataclasses import dataclass

from archspec.counting import CostTable, count
from archspec.draw.blocks import Blocks
from archspec.draw.canvas import Canvas, text_width
from archspec.draw.diagram import OUTPUT, Diagram, Item, Wire, diagram
from archspec.draw.labels import quantity, shape_text
from archspec.draw.panel import PAD, Sketch, sketch
from archspec.draw.style import (
    DETAIL_SIZE,
    HEADING_SIZE,
    PANEL,
    QUIET,
    SHAPE_SIZE,
    TITLE_SIZE,
    Colour,
    colour,
)
from archspec.graph import CallNode, Graph

MAX_ITEMS = 8
"""A stage with more is drawn as one box here, and as a panel of its own."""
MAX_HEIGHT = 1200.0
"""Of a column of stages, in points; what is more goes into the next column."""

_FIGURES = 128.0  # the width of the figures beside a stage's boxes
_BETWEEN = 14.0
_PILL = 44.0
_TURN = 28.0  # between two columns, where the line runs up again


def is_large(graph: Graph, blocks: Blocks) -> bool:
    """Whether a stage is too large to be drawn inside the overview."""
    return len(diagram(graph, blocks).items) - 2 > MAX_ITEMS


@dataclass(frozen=True)
class _Card:
    """One stage."""

    name: str
    sketch: Sketch
    figures: tuple[tuple[str, float], ...]
    """Text, and the share of the network's total."""

    @property
    def entry(self) -> float:
        """The x at which the line comes in, from the sketch's left."""
        return self.sketch.layout.boxes[self.sketch.diagram.items[0].key].x

    @property
    def height(self) -> float:
        return max(self.sketch.height, 40.0 + 26.0 * len(self.figures))


class Overview:
    """The stages of a network in one column, or several when there are many."""

    def __init__(self, graph: Graph, blocks: Blocks) -> None:
        table = count(graph)
        stages = table.by_stage()
        self.graph = graph
        self.cards = [
            _Card(
                node.id, sketch(_inside(node.graph, blocks), ends=False),
                tuple(_figures(stages.get(node.id, CostTable(())), table)),
            )
            for node in graph.nodes
            if isinstance(node, CallNode)
        ]  # fmt: skip
        # all stages are entered on one vertical line
        self.axis = _FIGURES + 2 * PAD + max((card.entry for card in self.cards), default=40.0)
        after = max((card.sketch.width - card.entry for card in self.cards), default=40.0)
        self.card_width = self.axis + after + PAD
        self.columns = self._columns()
        self.width = len(self.columns) * (self.card_width + _TURN) - _TURN
        self.height = max(map(self._height, self.columns)) + 2 * _PILL

    def _columns(self) -> list[list[_Card]]:
        """As few columns as there can be, of about the same height."""
        limit = max([MAX_HEIGHT, *(card.height for card in self.cards)])
        fewest = len(self._filled(limit))
        tries = (limit * step / 40 for step in range(1, 40))
        even = next((low for low in tries if len(self._filled(low)) == fewest), limit)
        return self._filled(even)

    def _filled(self, limit: float) -> list[list[_Card]]:
        columns: list[list[_Card]] = [[]]
        for card in self.cards:
            if columns[-1] and self._height([*columns[-1], card]) > limit:
                columns.append([])
            columns[-1].append(card)
        return columns

    @staticmethod
    def _height(cards: list[_Card]) -> float:
        return sum(card.height + _BETWEEN for card in cards) - _BETWEEN if cards else 0.0

    def paint(self, canvas: Canvas, left: float, top: float) -> None:
        """Paint it with its top left corner at a spot."""
        x, y = left, top
        axis = x + self.axis
        self._pill(canvas, axis, y + 11, "image")
        canvas.text(axis + 4, y + 33, shape_text(self.graph.inputs[0]), SHAPE_SIZE, align="left",
                    colour=QUIET)  # fmt: skip
        last = (axis, y + 22)
        for number, column in enumerate(self.columns):
            if number:
                x += self.card_width + _TURN
                axis += self.card_width + _TURN
            y = top + _PILL
            for index, card in enumerate(column):
                shift = axis - card.entry
                enter = (axis, y)
                if number and not index:
                    turn, low, high = x - _TURN / 2, last[1] + 12, y - 12
                    around = [(last[0], low), (turn, low), (turn, high), (axis, high)]
                    canvas.line([last, *around, enter], arrow=False)
                else:
                    canvas.line([last, enter], smooth=True, arrow=False)
                self._card(canvas, card, x, y, shift)
                out = card.sketch.layout.boxes[OUTPUT]
                last = (shift + out.x, y + card.height)
                canvas.line([(last[0], y + out.y), last], arrow=False)
                y += card.height + _BETWEEN
        canvas.line([last, (axis, last[1] + 20)], smooth=True)
        self._pill(canvas, axis, last[1] + 31, "logits")

    def _pill(self, canvas: Canvas, x: float, y: float, text: str) -> None:
        width = text_width(text, TITLE_SIZE) + 20
        canvas.box(x - width / 2, y - 11, width, 22, colour("terminal"), radius=11)
        canvas.text(x, y, text, TITLE_SIZE)

    def _card(self, canvas: Canvas, card: _Card, x: float, y: float, shift: float) -> None:
        canvas.box(x, y, self.card_width, card.height, PANEL, radius=8.0, below=True)
        canvas.text(x + PAD, y + PAD + 6, card.name, HEADING_SIZE, align="left", bold=True)
        at = y + PAD + 28
        for text, share in card.figures:
            canvas.text(x + PAD, at, text, DETAIL_SIZE, align="left", colour=QUIET)
            canvas.box(x + PAD, at + 7, _FIGURES - 8, 5, Colour("#e9e9ee", "none"), radius=2.5)
            if share > 0:
                full = max(5.0, share * (_FIGURES - 8))
                canvas.box(x + PAD, at + 7, full, 5, Colour("#7d8fc4", "none"), radius=2.5)
            at += 28
        card.sketch.paint(canvas, shift, y)


def _inside(stage: Graph, blocks: Blocks) -> Diagram:
    drawn = diagram(stage, blocks)
    if len(drawn.items) - 2 <= MAX_ITEMS:
        return drawn
    steps = f"{len(drawn.items) - 2} steps"
    shapes = (shape_text(stage.output_shape),)
    box = Item("all", "block", "block", blocks.title(stage), "", (steps,), shapes)
    first, last = drawn.items[0], drawn.items[-1]
    return Diagram((first, box, last), (Wire(first.key, 0, "all"), Wire("all", 0, last.key)))


def _figures(stage: CostTable, whole: CostTable) -> list[tuple[str, float]]:
    """Parameters and FLOPs with their shares; none where they are formulas."""
    found = []
    for part, total, unit in (
        (stage.params, whole.params, " params"), (stage.flops, whole.flops, "FLOPs"),
    ):  # fmt: skip
        if isinstance(part, int) and isinstance(total, int):
            share = part / total if total else 0.0
            text = f"{quantity(part)}{unit}" if part >= 1000 else f"{part} {unit.strip()}"
            found.append((f"{text} · {_percent(share)}", share))
    return found


def _percent(share: float) -> str:
    return "< 1 %" if 0 < share < 0.01 else f"{share:.0%}".replace("%", " %")
