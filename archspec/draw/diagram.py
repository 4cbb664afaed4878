"""What a drawing shows of one graph: boxes with words, and the tensors between them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from archspec.draw.blocks import Blocks
from archspec.draw.labels import JOIN_SIGNS, details, family, shape_text
from archspec.graph import INPUT, CallNode, Graph, Node, OpNode, Ref, RepeatNode
from archspec.sizes import show

OUTPUT = "output"


@dataclass(frozen=True, slots=True)
class Item:
    """A box."""

    key: str
    kind: Literal["end", "op", "join", "block"]
    """An end of the graph, an op, an elementwise join (a circle), or a graph of its own."""
    family: str
    title: str
    name: str = ""
    """The id that the spec gives, where it says more than the op's name."""
    details: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    """The shape of each output, as text."""


@dataclass(frozen=True, slots=True)
class Wire:
    """A tensor on its way from an item's output to another item's input."""

    source: str
    port: int
    target: str
    position: int = 0
    """Which of the target's inputs it is."""


@dataclass(frozen=True)
class Diagram:
    """Items in an order in which they can be computed, and the wires between them."""

    items: tuple[Item, ...]
    wires: tuple[Wire, ...]


def diagram(graph: Graph, blocks: Blocks) -> Diagram:
    """One graph with its inputs and its output as items of their own.

    Ops that never act (a dropout at rate 0) are left out, as papers do.
    """
    skipped = {node.id: node.inputs[0] for node in graph.nodes if _never_acts(node)}
    items = list(_ends(graph))
    wires = []
    for node in graph.nodes:
        if node.id in skipped:
            continue
        items.append(_item(node, blocks))
        for position, ref in enumerate(node.inputs):
            source, port = _source(ref, skipped)
            wires.append(Wire(source, port, _key(node.id), position))
    items.append(Item(OUTPUT, "end", "terminal", OUTPUT))
    source, port = _source(graph.output, skipped)
    wires.append(Wire(source, port, OUTPUT))
    return Diagram(tuple(items), tuple(wires))


def _key(node_id: str) -> str:
    return f"node {node_id}"  # a node may be called `output` or `input_1`


def _ends(graph: Graph) -> Iterator[Item]:
    alone = len(graph.inputs) == 1
    for port, shape in enumerate(graph.inputs):
        title = INPUT if alone else f"{INPUT} {port + 1}"
        yield Item(f"{INPUT} {port}", "end", "terminal", title, outputs=(shape_text(shape),))


def _source(ref: Ref, skipped: dict[str, Ref]) -> tuple[str, int]:
    while ref.node in skipped:
        ref = skipped[ref.node]
    if ref.node == INPUT:
        return f"{INPUT} {ref.port}", 0
    return _key(ref.node), ref.port


def _never_acts(node: Node) -> bool:
    return (
        isinstance(node, OpNode)
        and len(node.inputs) == 1
        and bool(getattr(node.op, "rate", None) == 0)
    )


def _item(node: Node, blocks: Blocks) -> Item:
    key, outputs = _key(node.id), tuple(map(shape_text, node.outputs))
    if isinstance(node, OpNode):
        op = node.op
        if op.name in JOIN_SIGNS:
            return Item(key, "join", family(op), JOIN_SIGNS[op.name], outputs=outputs)
        words = details(op, node.input_shapes)
        return Item(key, "op", family(op), op.name, _given(node.id, op.name), words, outputs)
    if isinstance(node, CallNode):
        sole = sole_op(node.graph)
        if sole is not None:
            words = details(sole.op, sole.input_shapes)
            return Item(key, "op", family(sole.op), sole.op.name, node.id, words, outputs)
        title = blocks.title(node.graph)
        given = _given(node.id, node.graph.name)
        return Item(key, "block", "block", title, given, outputs=outputs)
    titles = list(dict.fromkeys(blocks.title(body) for body in node.bodies))
    return Item(key, "block", "block", *_repeated(node, titles), outputs=outputs)


def sole_op(graph: Graph) -> OpNode | None:
    """The op that a block is only a name for; such a block is drawn as the op."""
    acting = [node for node in graph.nodes if not _never_acts(node)]
    node = acting[0] if len(acting) == 1 else None
    if not isinstance(node, OpNode) or node.op.name in JOIN_SIGNS or len(node.outputs) > 1:
        return None
    return node if len(graph.inputs) == len(node.inputs) else None


def _repeated(node: RepeatNode, titles: list[str]) -> tuple[str, str, tuple[str, ...]]:
    if len(titles) == 1:
        once = isinstance(node.times, int) and node.times == 1
        return (titles[0] if once else f"{titles[0]} × {show(node.times)}"), "", ()
    shown = [*titles[:3], "…"] if len(titles) > 3 else titles
    return f"{node.id} × {show(node.times)}", "", (", ".join(shown),)


def _given(node_id: str, usual: str) -> str:
    """The id, unless it is only the op's or block's name, numbered or not."""
    stem, _, number = node_id.rpartition("_")
    return "" if usual in (node_id, stem if number.isdigit() else "") else node_id
