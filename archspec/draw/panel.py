"""One diagram as a part of a picture: its boxes measured, placed and painted."""

from __future__ import annotations

from dataclasses import dataclass, field

from archspec.draw.canvas import Canvas, text_width
from archspec.draw.diagram import Diagram, Item
from archspec.draw.layout import Layout, Size, arrange
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

LEADING = 1.3
"""From one line of text to the next, in font sizes."""
NARROWEST = 76.0
"""The least width of a box."""
JOIN = 17.0
"""The diameter of an elementwise join."""
PAD = 14.0
"""Between a panel's border and what is in it."""
HEAD = 40.0
"""The height of a panel's heading."""
GHOST = "identity"


@dataclass(frozen=True)
class Sketch:
    """A diagram that has been placed, ready to paint at any spot."""

    diagram: Diagram
    layout: Layout

    @property
    def width(self) -> float:
        return self.layout.width

    @property
    def height(self) -> float:
        return self.layout.height

    def paint(self, canvas: Canvas, left: float, top: float) -> None:
        """Paint it with its top left corner at a spot."""
        layout = self.layout
        for line in layout.lines:
            points = [(x + left, y + top) for x, y in line.points]
            target = layout.boxes[line.wire.target]
            canvas.line(points, smooth=line.smooth, arrow=target.height > 0)
            if not line.smooth:
                canvas.dot(*points[1])
        for box in layout.ghosts.values():
            dashed = Colour("#ffffff", "#9a9a9a")
            canvas.box(box.left + left, box.top + top, box.width, box.height, dashed, dashed=True,
                       radius=8.0)  # fmt: skip
            canvas.text(box.x + left, box.y + top, GHOST, DETAIL_SIZE, colour=QUIET, italic=True)
        for item in self.diagram.items:
            box = layout.boxes[item.key]
            if box.height:
                _paint_item(canvas, item, box.x + left, box.y + top, box.width, box.height)
            if box.height or item.title != "input":
                for port, shape in enumerate(item.outputs):
                    x, y = layout.stems[item.key, port]
                    canvas.text(x + left + 4, y + top + 7, shape, SHAPE_SIZE, align="left",
                                colour=QUIET)  # fmt: skip


def sketch(diagram: Diagram, *, ends: bool = True) -> Sketch:
    """Measure and place a diagram; without `ends`, its input and output are mere points."""
    sizes = {
        item.key: (0.0, 0.0) if item.kind == "end" and not ends else _size(item)
        for item in diagram.items
    }
    ghost = (NARROWEST, 18.0)
    layout = arrange(diagram, sizes, lambda text: text_width(text, SHAPE_SIZE), ghost)
    return Sketch(diagram, layout)


def _lines(item: Item) -> list[tuple[str, float]]:
    return [(item.title, TITLE_SIZE), *((line, DETAIL_SIZE) for line in item.details)]


def _size(item: Item) -> Size:
    if item.kind == "join":
        return (JOIN, JOIN)
    lines = _lines(item)
    wide = max(text_width(text, size) for text, size in lines[1:]) if len(lines) > 1 else 0.0
    wide = max(wide, _title_width(item))
    shapes = [text_width(shape, SHAPE_SIZE) + 12 for shape in item.outputs]
    several = max(shapes) * len(shapes) if len(shapes) > 1 else 0.0
    height = sum(size * LEADING for _, size in lines) + 8
    if item.kind == "end":
        return (wide + 20, height)
    return (max(wide + 18, several, NARROWEST), height)


def _title_width(item: Item) -> float:
    width = text_width(item.title, TITLE_SIZE, bold=item.kind != "end")
    return width + (5 + text_width(item.name, DETAIL_SIZE, italic=True) if item.name else 0)


def _paint_item(
    canvas: Canvas, item: Item, x: float, y: float, width: float, height: float
) -> None:
    look = colour(item.family)
    if item.kind == "join":
        canvas.circle(x, y, width / 2, look)
        canvas.text(x, y, item.title, 13.0)
        return
    radius = height / 2 if item.kind == "end" else 4.0
    canvas.box(x - width / 2, y - height / 2, width, height, look, radius=radius,
               line=1.5 if item.kind == "block" else 1.0)  # fmt: skip
    lines = _lines(item)
    at = y - sum(size * LEADING for _, size in lines) / 2
    for index, (text, size) in enumerate(lines):
        middle = at + size * LEADING / 2
        if index == 0:
            start = x - _title_width(item) / 2
            bold = item.kind != "end"
            canvas.text(start, middle, text, size, align="left", bold=bold)
            if item.name:
                after = start + text_width(text, size, bold=bold) + 5
                canvas.text(after, middle, item.name, DETAIL_SIZE, align="left", italic=True,
                            colour=QUIET)  # fmt: skip
        else:
            canvas.text(x, middle, text, size)
        at += size * LEADING


@dataclass(frozen=True)
class Panel:
    """A block under a heading, in a frame; a long one in several columns."""

    title: str
    subtitle: str
    columns: tuple[Sketch, ...]
    size: Size = field(init=False)

    def __post_init__(self) -> None:
        words = max(
            text_width(self.title, HEADING_SIZE, bold=True),
            text_width(self.subtitle, DETAIL_SIZE),
        )
        height = max(sketch.height for sketch in self.columns)
        size = (max(self._width, words) + 2 * PAD, height + HEAD + 2 * PAD)
        object.__setattr__(self, "size", size)

    @property
    def _width(self) -> float:
        return sum(sketch.width + 2 * PAD for sketch in self.columns) - 2 * PAD

    def paint(self, canvas: Canvas, left: float, top: float) -> None:
        """Paint it with its top left corner at a spot."""
        width, height = self.size
        canvas.box(left, top, width, height, PANEL, radius=8.0, below=True)
        accent = colour("block").edge
        canvas.text(left + PAD, top + PAD + 6, self.title, HEADING_SIZE, align="left",
                    bold=True, colour=accent)  # fmt: skip
        canvas.text(left + PAD, top + PAD + 22, self.subtitle, DETAIL_SIZE, align="left",
                    colour=QUIET)  # fmt: skip
        x = left + (width - self._width) / 2
        for sketch in self.columns:
            sketch.paint(canvas, x, top + PAD + HEAD)
            x += sketch.width + 2 * PAD
