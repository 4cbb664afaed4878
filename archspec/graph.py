"""The shaped graph: what a spec means, with every size known.

A graph is a straight list of nodes, each after the ones it reads. Blocks, stages and repeated
layers are graphs inside it, so a network of 28 equal layers stays small. Everything downstream
(cost, module, source, pictures, formulas) is a function of this and of nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from archspec.errors import Mark
from archspec.ops.base import Op
from archspec.shape import Shape

INPUT = "input"


@dataclass(frozen=True, slots=True)
class Ref:
    """One output of a node, or one of the graph's inputs (`node == "input"`)."""

    node: str
    port: int = 0


@dataclass(frozen=True, slots=True)
class OpNode:
    """One primitive op."""

    id: str
    op: Op
    inputs: tuple[Ref, ...]
    input_shapes: tuple[Shape, ...]
    outputs: tuple[Shape, ...]
    mark: Mark
    names: tuple[str, ...] = ()
    """What the spec calls the outputs, where there are several."""


@dataclass(frozen=True, slots=True)
class CallNode:
    """A graph inside the graph: a block, a stage."""

    id: str
    graph: Graph
    inputs: tuple[Ref, ...]

    @property
    def outputs(self) -> tuple[Shape, ...]:
        return (self.graph.output_shape,)


@dataclass(frozen=True, slots=True)
class RepeatNode:
    """Layers one after the other: one body `times` times, or a body of its own for each."""

    id: str
    times: Any
    bodies: tuple[Graph, ...]
    inputs: tuple[Ref, ...]

    @property
    def outputs(self) -> tuple[Shape, ...]:
        return (self.bodies[-1].output_shape,)

    @property
    def each(self) -> Any:
        """How often each of `bodies` stands in the network."""
        return self.times if len(self.bodies) == 1 else 1

    def iterations(self) -> tuple[Graph, ...]:
        """One graph per repetition; only where `times` is a plain number."""
        return self.bodies * int(self.times) if len(self.bodies) == 1 else self.bodies


Node: TypeAlias = OpNode | CallNode | RepeatNode


@dataclass(frozen=True, slots=True)
class Graph:
    """Nodes in an order in which they can be computed."""

    name: str
    kind: Literal["network", "stage", "block", "layer"]
    inputs: tuple[Shape, ...]
    nodes: tuple[Node, ...]
    output: Ref
    arguments: Mapping[str, Any] = field(default_factory=dict, compare=False)
    """What a block's caller gave; its other arguments have their defaults."""

    def shape_of(self, ref: Ref) -> Shape:
        if ref.node == INPUT:
            return self.inputs[ref.port]
        return next(node for node in self.nodes if node.id == ref.node).outputs[ref.port]

    @property
    def output_shape(self) -> Shape:
        return self.shape_of(self.output)

    def walk(self, path: tuple[str, ...] = (), times: Any = 1) -> Iterator[tuple[Leaf, Any]]:
        """Every op in the network with how often it stands there.

        A repeated body is visited once, with its count; its path has `*` for the position then.
        """
        for node in self.nodes:
            here = (*path, node.id)
            if isinstance(node, OpNode):
                yield Leaf(here, node), times
            elif isinstance(node, CallNode):
                yield from node.graph.walk(here, times)
            else:
                same = len(node.bodies) == 1
                for index, body in enumerate(node.bodies):
                    position = "*" if same else str(index)
                    yield from body.walk((*here, position), times * node.each)

    def written_out(self, prefix: str = "") -> Iterator[tuple[str, Graph, OpNode]]:
        """Every op, by its module's path, and the graph that it stands in.

        Repeated layers are written out; only of one network with known sizes.
        """
        for node in self.nodes:
            path = f"{prefix}{node.id}"
            if isinstance(node, OpNode):
                yield path, self, node
            elif isinstance(node, CallNode):
                yield from node.graph.written_out(f"{path}.")
            else:
                for index, body in enumerate(node.iterations()):
                    yield from body.written_out(f"{path}.{index}.")


@dataclass(frozen=True, slots=True)
class Leaf:
    """An op and its place in the network."""

    path: tuple[str, ...]
    node: OpNode
