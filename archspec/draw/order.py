"""Layers, the order inside each, and the columns: the combinatorial half of the layout."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from itertools import groupby, pairwise

from archspec.draw.diagram import Diagram, Wire

SWEEPS = 8
GAP = 16.0
"""Between two boxes of a layer."""


@dataclass(frozen=True, slots=True)
class Point:
    """A place in a layer: an item, or where a long wire passes through."""

    item: str | None = None
    wire: Wire | None = None
    row: int = 0


@dataclass
class Layers:
    """Points layer by layer, from left to right."""

    rows: list[list[Point]]
    chains: dict[Wire, list[Point]]
    """Each ordinary wire's points, from its source to its target."""
    ghosts: frozenset[Point] = frozenset()
    """Points that stand for a branch that does nothing."""
    _row: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._row = {
            point.item: index
            for index, row in enumerate(self.rows)
            for point in row
            if point.item is not None
        }

    def row_of(self, key: str) -> int:
        """The layer that an item stands in."""
        return self._row[key]

    def is_last(self, key: str) -> bool:
        """Whether an item is the rightmost of its layer, so that its side is free."""
        return self.rows[self._row[key]][-1].item == key


def ordered(diagram: Diagram, skips: Collection[Wire], identities: Collection[Wire]) -> Layers:
    """A diagram in layers with few crossings.

    Args:
        skips: wires that run beside the boxes and take no part.
        identities: wires that are a branch of their own.
    """
    import networkx as nx

    flow: nx.DiGraph[str] = nx.DiGraph()
    flow.add_nodes_from(item.key for item in diagram.items)
    flow.add_edges_from((wire.source, wire.target) for wire in diagram.wires)
    place = {
        key: index
        for index, generation in enumerate(nx.topological_generations(flow))
        for key in generation
    }
    end = diagram.items[-1].key
    place[end] = max(place.values())
    rows: list[list[Point]] = [[] for _ in range(place[end] + 1)]
    points = {item.key: Point(item.key, row=place[item.key]) for item in diagram.items}
    chains, ghosts = {}, set()
    for wire in diagram.wires:
        if wire in skips:
            continue
        first, last = place[wire.source], place[wire.target]
        between = [Point(wire=wire, row=row) for row in range(first + 1, last)]
        if wire in identities and between:
            ghosts.add(between[(len(between) - 1) // 2])
        chains[wire] = [points[wire.source], *between, points[wire.target]]
    for point in _first_order(diagram, points, chains):
        rows[point.row].append(point)
    layers = Layers(rows, chains, frozenset(ghosts))
    layers.rows = _untangled(layers)
    return layers


def _first_order(
    diagram: Diagram, points: Mapping[str, Point], chains: Mapping[Wire, list[Point]]
) -> list[Point]:
    """All points, depth first from the output, a join's inputs in their order."""
    into: dict[str, list[Wire]] = {}
    for wire in sorted(chains, key=lambda wire: wire.position):
        into.setdefault(wire.target, []).append(wire)
    found: dict[Point, None] = {}
    todo: list[Point | Wire] = [points[item.key] for item in reversed(diagram.items)]
    todo.append(points[diagram.items[-1].key])
    while todo:
        step = todo.pop()
        if isinstance(step, Wire):
            found.update(dict.fromkeys(chains[step][1:-1]))
            todo.append(chains[step][0])
        elif step not in found and step.item is not None:
            found[step] = None
            todo.extend(reversed(into.get(step.item, [])))
    return list(found)


Links = dict[Point, list[tuple[Point, float]]]


def _links(layers: Layers) -> tuple[Links, Links]:
    """Each point's neighbours above and below, with where along the neighbour the wire ends.

    The offset, below 1, keeps the parts of a split and the inputs of a join in their order.
    """
    above: Links = {}
    below: Links = {}
    for wire, chain in layers.chains.items():
        for upper, lower in pairwise(chain):
            out = wire.port / 64 if upper.item is not None else 0.0
            enter = wire.position / 64 if lower.item is not None else 0.0
            above.setdefault(lower, []).append((upper, min(out, 0.9)))
            below.setdefault(upper, []).append((lower, min(enter, 0.9)))
    return above, below


def _untangled(layers: Layers) -> list[list[Point]]:
    """The best order that sweeps of the barycentre rule find."""
    above, below = _links(layers)
    rows = [list(row) for row in layers.rows]
    best, fewest = rows, crossings(rows, above)
    for sweep in range(SWEEPS):
        if fewest == 0:
            break
        downwards = sweep % 2 == 0
        links = above if downwards else below
        rows = [list(row) for row in rows]
        at = {point: float(i) for row in rows for i, point in enumerate(row)}
        for row in rows if downwards else rows[::-1]:
            row.sort(key=lambda point: _barycentre(point, links, at))
            at |= {point: float(index) for index, point in enumerate(row)}
        count = crossings(rows, above)
        if count < fewest:
            best, fewest = rows, count
    return best


def _barycentre(point: Point, links: Links, at: Mapping[Point, float]) -> float:
    ends = links.get(point, [])
    return sum(at[end] + offset for end, offset in ends) / len(ends) if ends else at[point]


def crossings(rows: list[list[Point]], above: Links) -> int:
    """How many pairs of wires cross."""
    total = 0
    for upper, lower in pairwise(rows):
        at = {point: index for index, point in enumerate(upper)}
        ends = [
            (at[end] + offset, index)
            for index, point in enumerate(lower)
            for end, offset in above.get(point, [])
        ]
        total += sum(
            (a[0] - b[0]) * (a[1] - b[1]) < 0 for i, a in enumerate(ends) for b in ends[:i]
        )
    return total


# -- columns -----------------------------------------------------------------------------------


def spread(layers: Layers, room: Mapping[Point, float]) -> dict[Point, float]:
    """The x of every point: in order, apart, straight where that can be, near its neighbours."""
    xs: dict[Point, float] = {}
    for row in layers.rows:
        xs |= _apart(row, [0.0] * len(row), room)
    pulls = _pulls(layers)
    for sweep in range(6 * SWEEPS + 1):
        # neighbours above alone, those below alone, and both; downwards last
        sides = ((-1,), (1,), (-1, 1))[sweep % 3]
        for row in layers.rows if sweep % 2 == 0 else layers.rows[::-1]:
            wanted = []
            for point in row:
                near = [(p, weight) for p, weight in pulls[point] if p.row - point.row in sides]
                total = sum(weight for _, weight in near)
                pull = sum(xs[end] * weight for end, weight in near)
                wanted.append(pull / total if near else xs[point])
            xs |= _apart(row, wanted, room)
    return xs | _straight(layers, xs, pulls)


def _pulls(layers: Layers) -> Links:
    """Each point's neighbours, with how much it wants to stand in line with each."""
    above, below = _links(layers)
    pulls: Links = {point: [] for row in layers.rows for point in row}
    for chain in layers.chains.values():
        for upper, lower in pairwise(chain):
            alone = len(below[upper]) == 1 and len(above[lower]) == 1
            pulls[upper].append((lower, 8.0 if alone else 1.0))
            pulls[lower].append((upper, 8.0 if alone else 1.0))
    return pulls


def _straight(layers: Layers, xs: Mapping[Point, float], pulls: Links) -> dict[Point, float]:
    """Layers of one point each, one after the other, on one vertical line."""
    found: dict[Point, float] = {}
    for single, rows in groupby(layers.rows, key=lambda row: len(row) == 1):
        run = [row[0] for row in rows]
        if single:
            inside = set(run)
            ends = [(p, w) for point in run for p, w in pulls[point] if p not in inside]
            total = sum(weight for _, weight in ends)
            x = sum(xs[p] * w for p, w in ends) / total if ends else xs[run[0]]
            found |= dict.fromkeys(run, x)
    return found


def _apart(
    row: list[Point],
    wanted: list[float],
    room: Mapping[Point, float],
) -> dict[Point, float]:
    """The places nearest to `wanted` (least squares) that keep the order and the distance."""
    # Taking the least possible place of each off turns "apart" into "not decreasing", which the
    # pool-adjacent-violators rule solves exactly.
    least, offsets = 0.0, []
    for index, point in enumerate(row):
        if index:
            least += room[row[index - 1]] + GAP + room[point]
        offsets.append(least)
    pools: list[tuple[float, int]] = []  # mean, how many
    for target, offset in zip(wanted, offsets, strict=True):
        pools.append((target - offset, 1))
        while len(pools) > 1 and pools[-2][0] > pools[-1][0]:
            (a, m), (b, n) = pools[-2:]
            pools[-2:] = [((a * m + b * n) / (m + n), m + n)]
    means = [mean for mean, many in pools for _ in range(many)]
    return {p: mean + offset for p, mean, offset in zip(row, means, offsets, strict=True)}
