"""Which wires of a diagram are residual paths, and which are branches that do nothing."""

from __future__ import annotations

from collections.abc import Iterator

from archspec.draw.diagram import Diagram, Wire


def residuals(diagram: Diagram) -> frozenset[Wire]:
    """Wires that skip what the other input of a join of two has gone through."""
    joins = {item.key for item in diagram.items if item.kind == "join"}
    return frozenset(
        wire for wire, many in _bypasses(diagram) if many == 2 and wire.target in joins
    )


def identities(diagram: Diagram) -> frozenset[Wire]:
    """Wires that are a branch by themselves: past the ops on all other branches of a join."""
    return frozenset(wire for wire, _ in _bypasses(diagram)) - residuals(diagram)


def _bypasses(diagram: Diagram) -> Iterator[tuple[Wire, int]]:
    """Wires past all that feeds the other inputs of their target, and how many inputs it has.

    A part of a split is none: what passes by is another tensor.
    """
    import networkx as nx

    flow = nx.DiGraph([(wire.source, wire.target) for wire in diagram.wires])
    forks = {item.key for item in diagram.items if len(item.outputs) == 1}
    into: dict[str, list[Wire]] = {}
    for wire in diagram.wires:
        into.setdefault(wire.target, []).append(wire)
    for wires in into.values():
        if len(wires) == 1:
            continue
        above = {wire: nx.ancestors(flow, wire.source) for wire in wires}
        for wire in wires:
            others = (above[other] for other in wires if other is not wire)
            if wire.source in forks and all(wire.source in sources for sources in others):
                yield wire, len(wires)
