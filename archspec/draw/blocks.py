"""The distinct blocks of a network: each is drawn once, however often and wide it is used."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass

from archspec.draw.labels import is_depthwise
from archspec.errors import SpecError, did_you_mean
from archspec.graph import CallNode, Graph, OpNode, RepeatNode

_STRUCTURAL = frozenset({"kernel", "stride", "dilation"})
"""Numbers that make another block of it; all others (widths, rates, offsets) are sizes."""


@dataclass(frozen=True)
class Block:
    """One structure, as its first use has it."""

    title: str
    """Its name; `cross (2)` for the second structure under one name."""
    graph: Graph
    where: str
    """The stage in which it is used first, whose sizes are shown."""

    @property
    def caption(self) -> str:
        """Whose shapes are shown."""
        return f"shapes as in {self.where}"


class Blocks:
    """All structures inside a graph, in the order in which they are met."""

    def __init__(self, root: Graph) -> None:
        self.root = root
        self._signatures: dict[int, int] = {}
        self._numbers: dict[Hashable, int] = {}
        self._found: dict[int, Block] = {}
        self._collect(root, root.name)

    def __iter__(self) -> Iterator[Block]:
        return iter(self._found.values())

    def title(self, graph: Graph) -> str:
        """How a graph inside the root is called in the drawing."""
        return self._found[self.signature(graph)].title

    def named(self, name: str) -> list[Block]:
        """All structures with a name or title; a stage's name is one too.

        Raises:
            SpecError: there is none.
        """
        inner = [block for block in self if block.graph.kind != "network"]
        found = [block for block in inner if name in (block.graph.name, block.title)]
        if not found:
            names = {block.title for block in inner} | {block.graph.name for block in inner}
            raise SpecError(
                f"{self.root.name} uses no block {name!r}", hint=did_you_mean(name, names)
            )
        return found

    def _collect(self, graph: Graph, where: str) -> None:
        key = self.signature(graph)
        if key in self._found:
            return
        self._found[key] = Block(self._new_title(graph, where), graph, where)
        where = graph.name if graph.kind == "stage" else where
        for node in graph.nodes:
            if isinstance(node, CallNode):
                self._collect(node.graph, where)
            elif isinstance(node, RepeatNode):
                for body in node.bodies:
                    self._collect(body, where)

    def _new_title(self, graph: Graph, where: str) -> str:
        name = _name(graph, where)
        if graph.kind in ("network", "stage"):
            return name
        others = [b for b in self if b.graph.kind not in ("network", "stage")]
        same = sum(_name(block.graph, block.where) == name for block in others)
        return f"{name} ({same + 1})" if same else name

    def signature(self, graph: Graph) -> int:
        """A number that two uses of a block share when they are to be drawn as one."""
        # by identity: two graphs may be equal but for their sizes
        if id(graph) not in self._signatures:
            sign = self._sign(graph)
            self._signatures[id(graph)] = self._numbers.setdefault(sign, len(self._numbers))
        return self._signatures[id(graph)]

    def _sign(self, graph: Graph) -> Hashable:
        parts: list[Hashable] = [graph.name, graph.kind, graph.output]
        for node in graph.nodes:
            what: Hashable
            if isinstance(node, OpNode):
                what = (node.op.name, len(node.outputs), _arguments(node))
            elif isinstance(node, CallNode):
                what = self.signature(node.graph)
            else:
                bodies = tuple(dict.fromkeys(self.signature(body) for body in node.bodies))
                what = (str(node.times), bodies)
            parts.append((node.id, node.inputs, what))
        return tuple(parts)


def _name(graph: Graph, where: str) -> str:
    """A block's name; steps that are repeated without one are the layer of their stage."""
    if graph.kind != "layer":
        return graph.name
    return f"{where} {'layer' if graph.name == 'layers' else graph.name}"


def _arguments(node: OpNode) -> Hashable:
    fields = {name: getattr(node.op, name) for name in type(node.op).model_fields}
    kept = [
        (name, str(value))
        for name, value in fields.items()
        if name in _STRUCTURAL or isinstance(value, str | bool)
    ]
    return (is_depthwise(node.op, node.input_shapes), *kept)
