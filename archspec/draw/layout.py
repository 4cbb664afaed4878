"""Where the boxes of one diagram stand: in layers, from top to bottom.

The method is Sugiyama's: nodes into layers, a point in each layer that a long edge crosses, an
order in each layer with few crossings, then coordinates. A residual path is taken out before and
runs beside the boxes, in a lane of its own. Lengths are points (1/72 inch); y grows downwards.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from archspec.draw.branches import identities, residuals
from archspec.draw.diagram import Diagram, Wire
from archspec.draw.order import Point, ordered, spread

Size = tuple[float, float]
XY = tuple[float, float]

STEM = 16.0
"""The straight piece under an output, beside which its shape is written."""
ROUTE = 18.0
"""The height in which edges change their column."""
TRACK = 5.0
"""Between two lines that run side by side."""
ENTRY = 9.0
"""The straight piece with the arrow's head, over an input."""
LABEL = 4.0
"""From a stem to the text beside it."""
SIDE = 12.0
"""Between a residual path's lane and what it passes."""


@dataclass(frozen=True, slots=True)
class Box:
    """A box's place: its centre and size."""

    x: float
    y: float
    width: float
    height: float

    @property
    def left(self) -> float:
        return self.x - self.width / 2

    @property
    def right(self) -> float:
        return self.x + self.width / 2

    @property
    def top(self) -> float:
        return self.y - self.height / 2

    @property
    def bottom(self) -> float:
        return self.y + self.height / 2

    def overlaps(self, other: Box) -> bool:
        return (
            self.left < other.right
            and other.left < self.right
            and self.top < other.bottom
            and other.top < self.bottom
        )


@dataclass(frozen=True, slots=True)
class Line:
    """A wire's way. `smooth` bends from point to point; else corners are rounded."""

    wire: Wire
    points: tuple[XY, ...]
    smooth: bool


@dataclass
class Layout:
    """Boxes by the key of their item, and lines; the top left corner is (0, 0)."""

    boxes: dict[str, Box] = field(default_factory=dict)
    lines: list[Line] = field(default_factory=list)
    ghosts: dict[Wire, Box] = field(default_factory=dict)
    """Places on long edges where the word 'identity' may stand."""
    stems: dict[tuple[str, int], XY] = field(default_factory=dict)
    """Where each output leaves its box."""
    width: float = 0.0
    height: float = 0.0

    def moved(self, dx: float, width: float, height: float) -> Layout:
        """The same, `dx` further to the right, with its size filled in."""

        def box(old: Box) -> Box:
            return Box(old.x + dx, old.y, old.width, old.height)

        return Layout(
            {key: box(old) for key, old in self.boxes.items()},
            [
                Line(line.wire, tuple((x + dx, y) for x, y in line.points), line.smooth)
                for line in self.lines
            ],
            {wire: box(old) for wire, old in self.ghosts.items()},
            {key: (x + dx, y) for key, (x, y) in self.stems.items()},
            width,
            height,
        )


def arrange(
    diagram: Diagram,
    sizes: Mapping[str, Size],
    label_width: Callable[[str], float],
    ghost: Size = (52.0, 16.0),
) -> Layout:
    """Place a diagram.

    Args:
        diagram: what to place.
        sizes: width and height of each item's box.
        label_width: the width of a shape's text, which stands right of the stem.
        ghost: the size of an 'identity' box on an edge that passes beside others.
    """
    return _Arrangement(diagram, sizes, label_width, ghost).layout()


@dataclass(frozen=True, slots=True)
class _Gap:
    """The space under a layer: stems and tracks that leave, bends, tracks that arrive, entries."""

    top: float
    start: float
    """Where bends start."""
    end: float
    """Where they end."""
    leaving: tuple[tuple[str, int], ...]
    """Outputs from which residual paths leave, a track each."""
    arriving: tuple[Wire, ...]
    """Residual paths that come in from above, because the side of their join is not free."""


class _Arrangement:
    """One run of the method."""

    def __init__(
        self,
        diagram: Diagram,
        sizes: Mapping[str, Size],
        label_width: Callable[[str], float],
        ghost: Size,
    ) -> None:
        self.diagram, self.sizes, self.ghost = diagram, sizes, ghost
        self.skips = residuals(diagram)
        self.layers = ordered(diagram, self.skips, identities(diagram))
        self.reach = {
            point: self._reach(point, label_width) for row in self.layers.rows for point in row
        }
        self.xs = spread(self.layers, self._room())
        self.ys: list[float] = []
        self.gaps: list[_Gap] = []
        self._rows()
        self.out = Layout()

    def layout(self) -> Layout:
        self._boxes()
        self._ordinary()
        self._residual()
        left = min(x - self.reach[point][0] for point, x in self.xs.items())
        right = max(x + self.reach[point][1] for point, x in self.xs.items())
        right = max([right, *(x for line in self.out.lines for x, _ in line.points)])
        bottom = max(box.bottom for box in self.out.boxes.values())
        return self.out.moved(-left, right - left, bottom)

    def _size(self, point: Point) -> Size:
        if point.item is not None:
            return self.sizes[point.item]
        return self.ghost if point in self.layers.ghosts else (4.0, 0.0)

    def _reach(self, point: Point, label_width: Callable[[str], float]) -> tuple[float, float]:
        """How far a point's box and labels reach to the left and to the right of its centre."""
        half = self._size(point)[0] / 2
        if point.item is None:
            return (half, half)
        outputs = next(item.outputs for item in self.diagram.items if item.key == point.item)
        if not outputs:
            return (half, half)
        stem = _port_x(2 * half, len(outputs) - 1, len(outputs))
        return (half, max(half, stem + LABEL + label_width(outputs[-1])))

    def _room(self) -> dict[Point, float]:
        """The half-width of each point's place; similar ones get the same, to stand evenly."""
        room = {}
        for row in self.layers.rows:
            needed = {point: max(self.reach[point]) for point in row}
            for point in row:
                alike = [n for n in needed.values() if n <= 1.6 * needed[point]]
                room[point] = max(alike)
        return room

    def _rows(self) -> None:
        """The y of each layer's centre, and the gap under it."""
        y = 0.0
        row_of = self.layers.row_of
        for index, row in enumerate(self.layers.rows):
            height = max(self._size(point)[1] for point in row)
            leaving = {(w.source, w.port) for w in self.skips if row_of(w.source) == index}
            arriving = [
                wire
                for wire in self.diagram.wires
                if wire in self.skips
                and row_of(wire.target) == index + 1
                and not self.layers.is_last(wire.target)
            ]
            start = y + height + STEM + TRACK * len(leaving)
            end = start + (ROUTE if self._bends(index) else ROUTE / 2)
            self.ys.append(y + height / 2)
            self.gaps.append(_Gap(y + height, start, end, tuple(sorted(leaving)), tuple(arriving)))
            y = end + TRACK * len(arriving) + ENTRY

    def _bends(self, index: int) -> bool:
        """Whether wires change their column under a layer."""
        rows = self.layers.rows
        return len(rows[index]) > 1 or (index + 1 < len(rows) and len(rows[index + 1]) > 1)

    def _boxes(self) -> None:
        for point, x in self.xs.items():
            box = Box(x, self.ys[point.row], *self._size(point))
            if point.item is not None:
                self.out.boxes[point.item] = box
            elif point.wire is not None and point in self.layers.ghosts:
                self.out.ghosts[point.wire] = box
        for item in self.diagram.items:
            box = self.out.boxes[item.key]
            for port in range(len(item.outputs)):
                x = box.x + _port_x(box.width, port, len(item.outputs))
                self.out.stems[item.key, port] = (x, box.bottom)

    def _entries(self) -> dict[Wire, XY]:
        """Where each ordinary wire enters its target: spread along the top, in their order."""
        arrivals: dict[str, list[tuple[float, int, Wire]]] = {}
        for wire, chain in self.layers.chains.items():
            before = chain[-2]
            x = self.xs[before] if before.item is None else self.out.stems[_output(wire)][0]
            arrivals.setdefault(wire.target, []).append((x, wire.position, wire))
        joins = {item.key for item in self.diagram.items if item.kind == "join"}
        places = {}
        for target, wires in arrivals.items():
            box = self.out.boxes[target]
            usable = box.width * (0.7 if len(wires) < 4 else 0.95)
            if target in joins:
                usable = 0.0  # a circle has no top to spread along
            for index, (_, _, wire) in enumerate(sorted(wires, key=lambda entry: entry[:2])):
                places[wire] = (box.x + _port_x(usable, index, len(wires)), box.top)
        return places

    def _ordinary(self) -> None:
        """Lines from layer to layer."""
        entries = self._entries()
        for wire, chain in self.layers.chains.items():
            points = [self.out.stems[_output(wire)]]
            for point in chain[1:]:
                above = self.gaps[point.row - 1]
                points.append((points[-1][0], above.start))
                if point is chain[-1]:
                    x, top = entries[wire]
                    points += [(x, above.end), (x, top)]
                else:
                    below = self.gaps[point.row].top
                    points += [(self.xs[point], above.end), (self.xs[point], below)]
            kept = [p for i, p in enumerate(points) if i == 0 or p != points[i - 1]]
            self.out.lines.append(Line(wire, tuple(kept), smooth=True))

    def _residual(self) -> None:
        """Residual paths: out under the stem, down a lane at the right, back in from the side."""

        def rows(wire: Wire) -> tuple[int, int]:
            return self.layers.row_of(wire.source), self.layers.row_of(wire.target)

        taken: list[tuple[int, int, float]] = []
        for wire in sorted(self.skips, key=lambda w: (rows(w)[1] - rows(w)[0], rows(w), w.port)):
            first, last = rows(wire)
            passed = [point for row in self.layers.rows[first : last + 1] for point in row]
            lane = max(self.xs[point] + self.reach[point][1] for point in passed) + SIDE
            for start, end, x in taken:
                if start < last and first < end:
                    lane = max(lane, x + SIDE)
            taken.append((first, last, lane))
            self.out.lines.append(Line(wire, self._beside(wire, lane, first, last), smooth=False))

    def _beside(self, wire: Wire, lane: float, first: int, last: int) -> tuple[XY, ...]:
        gap = self.gaps[first]
        x, bottom = self.out.stems[_output(wire)]
        y = gap.top + STEM + TRACK * gap.leaving.index(_output(wire))
        box = self.out.boxes[wire.target]
        if self.layers.is_last(wire.target):
            back: tuple[XY, ...] = ((lane, box.y), (box.right, box.y))
        else:
            above = self.gaps[last - 1]
            track = above.end + TRACK * above.arriving.index(wire)
            enter = box.x + box.width / 4
            # it meets the circle at half its radius
            back = ((lane, track), (enter, track), (enter, box.y - box.height * 3**0.5 / 4))
        return ((x, bottom), (x, y), (lane, y), *back)


def _output(wire: Wire) -> tuple[str, int]:
    return (wire.source, wire.port)


def _port_x(width: float, port: int, count: int) -> float:
    """A port's place along a side of its box, from the centre."""
    return width * ((port + 0.5) / count - 0.5)
