"""Where the boxes of one diagram stand: in layers, from top to bottom.

The method is Sugiyama's: nodes into layers, a point in each layer that a long edge crosses, an
order in each layer with few crossings, then coordinates. A residual path is taken out before and
runs beside the boxes, in a lane of its own. Lengths are points (1/72 inch); y grows downwards.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from archspec.draw.diagram import Diagram, Wire
from archspec.draw.order import Layers, Point, ordered, spread

Size = tuple[float, float]
XY = tuple[float, float]

STEM = 14.0
"""The straight piece under an output, beside which its shape is written."""
ROUTE = 20.0
"""The height in which edges change their column."""
TRACK = 5.0
"""Between two lines that run side by side."""
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
    skips = residuals(diagram)
    layers = ordered(diagram, skips, identities(diagram, skips))
    room = _room(diagram, layers, sizes, label_width, ghost)
    xs = spread(layers, room)
    ys, gaps = _rows(layers, sizes, skips, ghost)
    layout = Layout()
    for point, x in xs.items():
        if point.item is not None:
            width, height = sizes[point.item]
            layout.boxes[point.item] = Box(x, ys[layers.row(point)], width, height)
        elif point.wire is not None and point in layers.ghosts:
            layout.ghosts[point.wire] = Box(x, ys[layers.row(point)], *ghost)
    _stems(diagram, layout)
    _ordinary(layers, layout, xs, ys, gaps)
    _lanes(layers, layout, skips, gaps, label_width, diagram, room, xs)
    return _moved(layout, layers, room, xs)


# -- which wires are what ----------------------------------------------------------------------


def residuals(diagram: Diagram) -> frozenset[Wire]:
    """Wires that skip what the other input of a join of two has gone through."""
    import networkx as nx

    flow = nx.DiGraph([(wire.source, wire.target) for wire in diagram.wires])
    found = set()
    for item in diagram.items:
        wires = [wire for wire in diagram.wires if wire.target == item.key]
        if item.kind != "join" or len(wires) != 2:
            continue
        for wire, other in (wires, wires[::-1]):
            if wire.source != other.source and wire.source in nx.ancestors(flow, other.source):
                found.add(wire)
    return frozenset(found)


def identities(diagram: Diagram, skips: Iterable[Wire]) -> frozenset[Wire]:
    """Wires that are a branch by themselves: past the ops on all other branches of a join."""
    import networkx as nx

    flow = nx.DiGraph([(wire.source, wire.target) for wire in diagram.wires])
    found = set()
    for item in diagram.items:
        wires = [wire for wire in diagram.wires if wire.target == item.key]
        if len(wires) < 2:
            continue
        for wire in wires:
            others = [other for other in wires if other is not wire]
            if wire not in skips and all(
                wire.source in nx.ancestors(flow, other.source) for other in others
            ):
                found.add(wire)
    return frozenset(found)


# -- coordinates -------------------------------------------------------------------------------


def _room(
    diagram: Diagram,
    layers: Layers,
    sizes: Mapping[str, Size],
    label_width: Callable[[str], float],
    ghost: Size,
) -> dict[Point, tuple[float, float]]:
    """What each point needs to the left and to the right of its centre, labels included."""
    outputs = {item.key: item.outputs for item in diagram.items}
    room = {}
    for layer in layers.rows:
        for point in layer:
            if point.item is None:
                half = ghost[0] / 2 if point in layers.ghosts else 4.0
                room[point] = (half, half)
                continue
            half = sizes[point.item][0] / 2
            right = half
            if outputs[point.item]:
                last = _port_x(sizes[point.item][0], len(outputs[point.item]) - 1,
                               len(outputs[point.item]))  # fmt: skip
                right = max(half, last + 5 + label_width(outputs[point.item][-1]))
            room[point] = (half, right)
    return room


def _port_x(width: float, port: int, count: int) -> float:
    """An output's place along the bottom of its box, from the centre."""
    return width * ((port + 0.5) / count - 0.5)


def _rows(
    layers: Layers, sizes: Mapping[str, Size], skips: Iterable[Wire], ghost: Size
) -> tuple[list[float], list[_Gap]]:
    """The y of each layer's centre, and the gap under each layer."""
    ys, gaps, y = [], [], 0.0
    for index, layer in enumerate(layers.rows):
        height = max(
            sizes[point.item][1]
            if point.item is not None
            else (ghost[1] if point in layers.ghosts else 0.0)
            for point in layer
        )
        leaving = {
            (wire.source, wire.port)
            for wire in skips
            if layers.row_of_item(wire.source) == index
        }
        arriving = {
            wire for wire in skips if layers.row_of_item(wire.target) == index + 1
            and not layers.is_last(wire.target)
        }  # fmt: skip
        ys.append(y + height / 2)
        top = y + height
        start = top + STEM + TRACK * len(leaving)
        end = start + ROUTE
        gaps.append(_Gap(top, start, end, sorted(leaving), sorted(arriving, key=repr)))
        y = end + TRACK * len(arriving)
    return ys, gaps


@dataclass(frozen=True, slots=True)
class _Gap:
    """The space between two layers: stems down to `start`, bends, tracks from `end` on."""

    top: float
    start: float
    end: float
    leaving: list[tuple[str, int]]
    arriving: list[Wire]


def _stems(diagram: Diagram, layout: Layout) -> None:
    for item in diagram.items:
        box = layout.boxes[item.key]
        for port in range(len(item.outputs)):
            x = box.x + _port_x(box.width, port, len(item.outputs))
            layout.stems[item.key, port] = (x, box.bottom)


def _ordinary(
    layers: Layers, layout: Layout, xs: Mapping[Point, float], ys: list[float], gaps: list[_Gap]
) -> None:
    """Lines from layer to layer; those that enter one box are spread along its top."""
    entries: dict[str, list[tuple[float, int, Wire]]] = {}
    for wire, chain in layers.chains.items():
        before = chain[-2]
        x = xs[before] if before.item is None else layout.stems[wire.source, wire.port][0]
        entries.setdefault(wire.target, []).append((x, wire.position, wire))
    places = {}
    for target, arrivals in entries.items():
        box = layout.boxes[target]
        arrivals.sort(key=lambda entry: entry[:2])
        for index, (_, _, wire) in enumerate(arrivals):
            usable = box.width * (0.7 if len(arrivals) < 4 else 0.9)
            places[wire] = (box.x + _port_x(usable, index, len(arrivals)), box.top)
    for wire, chain in layers.chains.items():
        points = [layout.stems[wire.source, wire.port]]
        for index, point in enumerate(chain[1:], start=1):
            row = layers.row(point)
            points.append((points[-1][0], gaps[row - 1].start))
            if index == len(chain) - 1:
                x, top = places[wire]
                points += [(x, gaps[row - 1].end), (x, top)]
            else:
                points += [(xs[point], gaps[row - 1].end), (xs[point], gaps[row].top)]
        layout.lines.append(Line(wire, _distinct(points), smooth=True))


def _distinct(points: list[XY]) -> tuple[XY, ...]:
    return tuple(p for i, p in enumerate(points) if i == 0 or p != points[i - 1])


def _lanes(
    layers: Layers,
    layout: Layout,
    skips: Iterable[Wire],
    gaps: list[_Gap],
    label_width: Callable[[str], float],
    diagram: Diagram,
    room: Mapping[Point, tuple[float, float]],
    xs: Mapping[Point, float],
) -> None:
    """Residual paths: out under the stem, down a lane at the right, back in from the side."""
    taken: list[tuple[int, int, float]] = []

    def rows(wire: Wire) -> tuple[int, int]:
        return layers.row_of_item(wire.source), layers.row_of_item(wire.target)

    for wire in sorted(skips, key=lambda w: (rows(w)[1] - rows(w)[0], rows(w), w.source)):
        first, last = rows(wire)
        passed = [p for row in layers.rows[first : last + 1] for p in row]
        lane = max(xs[p] + room[p][1] for p in passed) + SIDE
        for start, end, x in taken:
            if start < last and first < end:
                lane = max(lane, x + SIDE)
        taken.append((first, last, lane))
        x, bottom = layout.stems[wire.source, wire.port]
        gap = gaps[first]
        out = gap.top + STEM + TRACK * gap.leaving.index((wire.source, wire.port))
        points = [(x, bottom), (x, out), (lane, out)]
        box = layout.boxes[wire.target]
        if layers.is_last(wire.target):
            points += [(lane, box.y), (box.right, box.y)]
        else:
            above = gaps[last - 1]
            track = above.end + TRACK * above.arriving.index(wire)
            enter = box.x + box.width / 4
            points += [(lane, track), (enter, track), (enter, box.top)]
        layout.lines.append(Line(wire, tuple(points), smooth=False))


def _moved(
    layout: Layout,
    layers: Layers,
    room: Mapping[Point, tuple[float, float]],
    xs: Mapping[Point, float],
) -> Layout:
    """The layout with its top left corner at (0, 0)."""
    left = min(xs[point] - room[point][0] for point in xs)
    right = max(xs[point] + room[point][1] for point in xs)
    bottom = max(box.bottom for box in layout.boxes.values())
    for line in layout.lines:
        right = max(right, *(x for x, _ in line.points))

    def box(old: Box) -> Box:
        return Box(old.x - left, old.y, old.width, old.height)

    return Layout(
        {key: box(old) for key, old in layout.boxes.items()},
        [
            Line(line.wire, tuple((x - left, y) for x, y in line.points), line.smooth)
            for line in layout.lines
        ],
        {wire: box(old) for wire, old in layout.ghosts.items()},
        {key: (x - left, y) for key, (x, y) in layout.stems.items()},
        right - left,
        bottom,
    )
