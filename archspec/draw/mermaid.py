"""A network as Mermaid text, which GitHub and many editors render."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from archspec.draw.blocks import Blocks
from archspec.draw.diagram import OUTPUT, Diagram, Item, diagram, sole_op
from archspec.draw.labels import shape_text
from archspec.draw.style import colour
from archspec.files import unique
from archspec.graph import CallNode, Graph

_SHAPES = {
    "end": ('(["', '"])'),
    "join": ('(("', '"))'),
    "op": ('["', '"]'),
    "block": ('[["', '"]]'),
}


def mermaid(graph: Graph, *, block: str | None = None) -> str:
    """A flowchart: the network stage by stage, and beside it each distinct block, once.

    Edges carry the tensors' shapes. A graph that is no network is drawn with its blocks.

    Args:
        graph: a network, or a block on its own.
        block: the name of a block (or stage) in the graph, to draw nothing else.

    Raises:
        SpecError: there is no such block.
    """
    return "\n".join(_Chart(graph, block).lines()) + "\n"


class _Chart:
    """Lines under construction, and the ids that are taken."""

    def __init__(self, graph: Graph, only: str | None) -> None:
        self.graph = graph
        self.blocks = Blocks(graph)
        self.only = None if only is None else self.blocks.named(only)
        self.ids: set[str] = set()
        self.families: dict[str, None] = {}

    def lines(self) -> Iterator[str]:
        yield "flowchart TB"
        if self.only is not None:
            for block in self.only:
                yield from self._block(block.title, block.graph, f" ({block.caption})")
        elif self.graph.kind == "network":
            yield from self._network()
        for block in self.blocks if self.only is None else ():
            if block.graph is self.graph and self.graph.kind != "network":
                yield from self._block(block.title, block.graph)
            elif block.graph.kind == "layer" or (
                block.graph.kind == "block" and sole_op(block.graph) is None
            ):
                yield from self._block(block.title, block.graph, f" ({block.caption})")
        for family in self.families:
            look = colour(family)
            yield f"  classDef {_word(family)} fill:{look.fill},stroke:{look.edge},color:#1a1a1a"

    def _network(self) -> Iterator[str]:
        source, shape = self._id("image"), shape_text(self.graph.inputs[0])
        yield f"  {self._node(source, _end('image'))}"
        for node in self.graph.nodes:
            if not isinstance(node, CallNode):
                continue
            drawn = diagram(node.graph, self.blocks)
            ids = {item.key: self._id(node.id, item.key) for item in _inner(drawn)}
            ids[drawn.items[0].key] = source
            if ids.keys() - {drawn.items[0].key}:
                yield f'  subgraph {self._id(node.id)}["{node.id}"]'
                for item in _inner(drawn):
                    yield f"    {self._node(ids[item.key], item)}"
                yield "  end"
            outputs = {item.key: item.outputs for item in drawn.items}
            # the stage's input is an inner node of the stage before: its shape is the same
            outputs[drawn.items[0].key] = (shape,)
            for wire in drawn.wires:
                if wire.target == OUTPUT:
                    source, shape = ids[wire.source], outputs[wire.source][wire.port]
                else:
                    text = outputs[wire.source][wire.port]
                    yield f"  {_edge(ids[wire.source], text, ids[wire.target])}"
        end = self._id("logits")
        yield f"  {self._node(end, _end('logits'))}"
        yield f"  {_edge(source, shape, end)}"

    def _block(self, title: str, graph: Graph, caption: str = "") -> Iterator[str]:
        drawn = diagram(graph, self.blocks)
        ids = {item.key: self._id(title, item.key) for item in drawn.items}
        yield f'  subgraph {self._id(title)}["{title}{caption}"]'
        for item in drawn.items:
            yield f"    {self._node(ids[item.key], item)}"
        outputs = {item.key: item.outputs for item in drawn.items}
        for wire in drawn.wires:
            text = outputs[wire.source][wire.port]
            yield f"    {_edge(ids[wire.source], text, ids[wire.target])}"
        yield "  end"

    def _id(self, *words: str) -> str:
        """A new id. All have a prefix, because Mermaid trips over some words (`end`)."""
        text = "_".join(_word(word.removeprefix("node ")) for word in ("n", *words))
        return unique(text, self.ids)

    def _node(self, node_id: str, item: Item) -> str:
        self.families[item.family] = None
        first, last = _SHAPES[item.kind]
        title = f"{item.title} <i>{item.name}</i>" if item.name else item.title
        text = "<br/>".join([title, *item.details])
        return f"{node_id}{first}{text}{last}:::{_word(item.family)}"


def _end(title: str) -> Item:
    return Item(title, "end", "terminal", title)


def _inner(drawn: Diagram) -> Iterable[Item]:
    return drawn.items[1:-1]


def _edge(source: str, text: str, target: str) -> str:
    return f'{source} -->|"{text}"| {target}'


def _word(text: str) -> str:
    return re.sub(r"\W+", "_", text, flags=re.ASCII).strip("_") or "x"
