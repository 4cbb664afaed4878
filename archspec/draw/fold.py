"""A long diagram in several columns, cut where only one tensor is on its way."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from archspec.draw.diagram import OUTPUT, Diagram, Item, Wire

MOST_ITEMS = 22
"""What one column holds, as a rule: a long stretch without a place to cut stays whole."""


def folded(diagram: Diagram, most: int = MOST_ITEMS) -> list[Diagram]:
    """The parts of a diagram, in order.

    Where it is cut, a circle with a letter ends one part, and the same one begins the next.
    """
    count = len(diagram.items)
    parts = -(-count // most)
    ends = [0]
    for end in _cuts(diagram):
        if len(ends) < parts and end >= len(ends) * count / parts:
            ends.append(end)
    ends.append(count)
    return [_part(diagram, start, end, ends) for start, end in pairwise(ends)]


def _cuts(diagram: Diagram) -> Iterator[int]:
    """Numbers of items after which one tensor alone goes on, to more items than the output."""
    at = {item.key: index for index, item in enumerate(diagram.items)}
    for end in range(2, len(diagram.items) - 1):
        if len({_output(wire) for wire in _crossing(diagram, at, end)}) == 1:
            yield end


def _crossing(diagram: Diagram, at: dict[str, int], end: int) -> Iterator[Wire]:
    return (wire for wire in diagram.wires if at[wire.source] < end <= at[wire.target])


def _output(wire: Wire) -> tuple[str, int]:
    return (wire.source, wire.port)


def _part(diagram: Diagram, start: int, end: int, ends: list[int]) -> Diagram:
    at = {item.key: index for index, item in enumerate(diagram.items)}
    items = list(diagram.items[start:end])
    wires = [w for w in diagram.wires if start <= at[w.source] and at[w.target] < end]
    if start:
        incoming = list(_crossing(diagram, at, start))
        source = diagram.items[at[incoming[0].source]]
        shape = source.outputs[incoming[0].port]
        first = Item("input 0", "end", "terminal", _letter(ends.index(start)), outputs=(shape,))
        items.insert(0, first)
        wires += [Wire(first.key, 0, wire.target, wire.position) for wire in incoming]
    if end < len(diagram.items):
        outgoing = next(_crossing(diagram, at, end))
        items.append(Item(OUTPUT, "end", "terminal", _letter(ends.index(end))))
        wires.append(Wire(*_output(outgoing), OUTPUT))
    return Diagram(tuple(items), tuple(wires))


def _letter(number: int) -> str:
    """A, B, …, Z, A2, B2, …"""
    turn, index = divmod(number - 1, 26)
    return chr(ord("A") + index) + (str(turn + 1) if turn else "")
