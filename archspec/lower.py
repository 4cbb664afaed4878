"""From the shaped graph to a program of PyTorch calls: each op lowers itself."""

from __future__ import annotations

from dataclasses import dataclass, replace

from archspec.errors import SpecError
from archspec.graph import INPUT, CallNode, Graph, OpNode, Ref, RepeatNode
from archspec.program import (
    BATCH,
    Builder,
    Local,
    Member,
    Name,
    Pointwise,
    Program,
    Sequence,
    Statement,
    Value,
)
from archspec.shape import CHANNELS, Shape
from archspec.sizes import is_array, is_symbol


@dataclass
class _Position:
    """Counts the repeated layers of the network, for stochastic depth; how products are lowered."""

    total: int
    pointwise: Pointwise
    index: int = 0


def lower(graph: Graph, *, pointwise: Pointwise = "conv") -> Program:
    """The program of a whole network. Images come in as (batch, channels, height, width).

    Args:
        pointwise: what linear maps along the channels of a grid become.

    Raises:
        SpecError: the graph describes many networks (arrays) or a formula (symbols).
    """
    for leaf, times in graph.walk():
        sizes = [times, *(size for shape in leaf.node.outputs for size in shape.values())]
        if any(is_array(size) or is_symbol(size) for size in sizes):
            raise SpecError("only one network with known sizes can be built", mark=leaf.node.mark)
    return _program(graph, _Position(_layers(graph), pointwise), image=True)


def entry(graph: Graph) -> Program:
    """What a network does to images before its first section reads them."""
    return lower(replace(graph, nodes=(), output=Ref(INPUT)))


def _layers(graph: Graph) -> int:
    """Repeated layers in a graph; a repeat inside a layer is part of that layer."""
    found = 0
    for node in graph.nodes:
        if isinstance(node, RepeatNode):
            found += int(node.times)
        elif isinstance(node, CallNode):
            found += _layers(node.graph)
    return found


def interface(shape: Shape) -> tuple[str, ...]:
    """The order of axes in which modules hand tensors on: batch, positions, channels."""
    return Value("", (), shape).channels_last


def _program(graph: Graph, at: _Position, image: bool = False, inside: bool = False) -> Program:
    builder = Builder(layer_count=at.total, pointwise=at.pointwise)
    values: dict[Ref, Value] = {}
    inputs = []
    for port, shape in enumerate(graph.inputs):
        name = builder.fresh("x" if len(graph.inputs) == 1 else f"x{port}")
        inputs.append(name)
        order = (BATCH, CHANNELS, "height", "width") if image else interface(shape)
        value = Value(name, order, shape)
        if image:
            # one conversion here, and no copy for layout anywhere after
            builder.node = name
            value = builder.method(
                "contiguous", value, order=order, shape=shape,
                memory_format=Name("torch.channels_last"),
            )  # fmt: skip
        values[Ref(INPUT, port)] = value
    for node in graph.nodes:
        builder.node = node.id
        builder.names = node.names if isinstance(node, OpNode) else ()
        # what stands between layers counts with the next one, or with the last
        builder.layer_index = min(at.index, max(at.total - 1, 0))
        sources = tuple(values[ref] for ref in node.inputs)
        if isinstance(node, OpNode):
            result = node.op.lower(builder, *sources)
            outputs = result if isinstance(result, tuple) else (result,)
        else:
            member: Member
            if isinstance(node, CallNode):
                member = _program(node.graph, at, inside=inside)
            else:
                items = []
                for body in node.iterations():
                    items.append(_program(body, at, inside=True))
                    if not inside:
                        at.index += 1
                member = Sequence(tuple(items))
            builder.members[node.id] = member
            args = tuple(Local(builder.order(x, interface(x.shape)).name) for x in sources)
            name = builder.fresh(node.id)
            builder.body.append(Statement((name,), "module", node.id, args))
            shape = node.outputs[0]
            outputs = (Value(name, interface(shape), shape),)
        values.update({Ref(node.id, port): value for port, value in enumerate(outputs)})
    builder.node = "x"
    last = values[graph.output]
    result_value = builder.order(last, interface(last.shape))
    return Program(
        graph.name, graph.kind, tuple(inputs), graph.inputs,
        builder.members, tuple(builder.body), result_value.name,
    )  # fmt: skip
