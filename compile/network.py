"""A network as one straight list of ops together with its weights: what rewrites take and give."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from archspec.files import unique
from archspec.graph import INPUT, CallNode, Graph, OpNode, Ref
from archspec.lower import lower
from archspec.module import to_module
from archspec.program import Pointwise

Weights = Mapping[str, Mapping[str, Tensor]]
"""Node → the name of a parameter or buffer (`weight`, `running_mean`) → its value in float64."""


@dataclass(frozen=True)
class Network:
    """The ops of a network in the order in which they are computed, and what they hold.

    Blocks, stages and repeated layers are written out: each op stands in `graph.nodes` itself.
    """

    graph: Graph
    weights: Weights
    places: Mapping[str, str]
    """Node → where it stands in the spec: `stage1.layers.0.cross.fuse`."""

    @property
    def nodes(self) -> tuple[OpNode, ...]:
        """The ops, in the order in which they are computed."""
        return tuple(node for node in self.graph.nodes if isinstance(node, OpNode))

    def module(self, dtype: torch.dtype, *, pointwise: Pointwise = "conv") -> nn.Module:
        """The network as an `nn.Module` in eval mode: images in, logits out, both of `dtype`."""
        module = to_module(lower(self.graph, pointwise=pointwise)).to(dtype)
        own = module.state_dict()
        for node, tensors in self.weights.items():
            for name, value in tensors.items():
                target = own[f"{node}.{name}"]
                with torch.no_grad():
                    target.copy_(value.reshape(target.shape))
        return module.eval()


def inline(graph: Graph, module: nn.Module) -> Network:
    """A network as its spec describes it, with the weights of the module that was built from it.

    Args:
        graph: of one network with known sizes (`archspec.expand`).
        module: what `archspec.build` made of the same spec.
    """
    writer = _Writer()
    inputs = tuple(Ref(INPUT, port) for port in range(len(graph.inputs)))
    output = writer.copy(graph, inputs, ())
    held = {name: value.detach() for name, value in module.state_dict().items()}
    weights: dict[str, dict[str, Tensor]] = {}
    ids = {place: node for node, place in writer.places.items()}
    for full, value in held.items():
        place, _, name = full.rpartition(".")
        if name == "num_batches_tracked":
            continue  # counts steps of training; nothing depends on it
        weights.setdefault(ids[place], {})[name] = value.double()
    flat = Graph(graph.name, graph.kind, graph.inputs, tuple(writer.nodes), output)
    return Network(flat, weights, writer.places)


class _Writer:
    """Writes graphs inside graphs out, one after the other."""

    def __init__(self) -> None:
        self.nodes: list[OpNode] = []
        self.places: dict[str, str] = {}
        self._taken: set[str] = {INPUT}

    def copy(self, graph: Graph, inputs: tuple[Ref, ...], path: tuple[str, ...]) -> Ref:
        """Write a graph out; where its output is then."""
        where = {Ref(INPUT, port): ref for port, ref in enumerate(inputs)}
        for node in graph.nodes:
            here = (*path, node.id)
            sources = tuple(where[ref] for ref in node.inputs)
            if isinstance(node, OpNode):
                id_ = unique("_".join(here), self._taken)
                self.places[id_] = ".".join(here)
                names = tuple(f"{id_}_{name}" for name in node.names)
                self.nodes.append(replace(node, id=id_, inputs=sources, names=names))
                found = [Ref(id_, port) for port in range(len(node.outputs))]
            elif isinstance(node, CallNode):
                found = [self.copy(node.graph, sources, here)]
            else:
                (ref,) = sources
                for index, body in enumerate(node.iterations()):
                    ref = self.copy(body, (ref,), (*here, str(index)))
                found = [ref]
            where.update({Ref(node.id, port): ref for port, ref in enumerate(found)})
        return where[graph.output]
