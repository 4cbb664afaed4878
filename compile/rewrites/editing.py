"""A network while a rewrite changes it: what is read by whom, kept up to date."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from torch import Tensor

from archspec.compile.network import Network
from archspec.compile.rewrites.base import Fired
from archspec.files import unique
from archspec.graph import INPUT, Graph, OpNode, Ref
from archspec.ops.base import Op
from archspec.shape import Shape

AnyOp = TypeVar("AnyOp", bound=Op)


class Edit:
    """A working copy of a network. Nodes stay in an order in which they can be computed.

    Whoever changes it keeps the function the same; shapes of new nodes are inferred.
    """

    def __init__(self, network: Network, rewrite: str) -> None:
        self.network = network
        self.rewrite = rewrite
        self.output = network.graph.output
        self.fired: list[Fired] = []
        self.weights: dict[str, dict[str, Tensor]] = {
            node: dict(held) for node, held in network.weights.items()
        }
        self._places = dict(network.places)
        self._nodes = {node.id: node for node in network.nodes}
        self._order = [node.id for node in network.nodes]
        self._taken = {INPUT, *self._nodes}
        self._readers: dict[str, dict[str, None]] = {}  # the values are not used: an ordered set
        for node in network.nodes:
            self._note(node)

    # -- looking ---------------------------------------------------------------------------------

    def nodes(self) -> list[OpNode]:
        """All nodes as they are now; changes made while going through it do not show."""
        return [self._nodes[id_] for id_ in self._order]

    def each(self, kind: type[AnyOp]) -> Iterator[tuple[OpNode, AnyOp]]:
        """The nodes with a kind of op, as they are when their turn comes; those gone left out."""
        for id_ in tuple(self._order):
            node = self._nodes.get(id_)
            if node is not None and isinstance(node.op, kind):
                yield node, node.op

    def get(self, id_: str) -> OpNode | None:
        """A node by its id; None if it is gone, or the graph's input."""
        return self._nodes.get(id_)

    def node(self, ref: Ref) -> OpNode:
        """The node that makes an output."""
        return self._nodes[ref.node]

    def in_order(self, nodes: Sequence[OpNode]) -> list[OpNode]:
        """Nodes in the order in which they are computed, as they are now."""
        return [self._nodes[id_] for id_ in sorted((n.id for n in nodes), key=self._order.index)]

    def now(self, node: OpNode) -> OpNode:
        """A node as it has become: what it reads may have been replaced."""
        return self._nodes[node.id]

    def shape(self, ref: Ref) -> Shape:
        if ref.node == INPUT:
            return self.network.graph.inputs[ref.port]
        return self._nodes[ref.node].outputs[ref.port]

    def readers(self, ref: Ref) -> list[OpNode]:
        """The nodes that read an output, one that reads it twice standing there twice."""
        nodes = [self._nodes[id_] for id_ in self._readers.get(ref.node, {})]
        return [node for node in nodes for source in node.inputs if source == ref]

    def only_reader(self, ref: Ref) -> OpNode | None:
        """The one node that reads an output, once; None if there are more, or the network ends."""
        readers = self.readers(ref)
        return readers[0] if len(readers) == 1 and ref != self.output else None

    def is_read(self, ref: Ref) -> bool:
        """Whether anything needs an output: a node, or the network's end."""
        return ref == self.output or bool(self.readers(ref))

    def tensors(self, node: OpNode) -> dict[str, Tensor]:
        """What a node holds, by name, in float64; linear weights are (out, in)."""
        held = self.weights.get(node.id, {})
        if node.op.name == "linear":  # those of a 1×1 convolution have two axes more
            return {**held, "weight": held["weight"].flatten(1)}
        return held

    # -- changing --------------------------------------------------------------------------------

    def add(
        self,
        op: Op,
        inputs: Sequence[Ref],
        *,
        like: OpNode,
        before: str,
        name: str | None = None,
        weights: Mapping[str, Tensor] | None = None,
    ) -> Ref:
        """A new node; its first output.

        Args:
            like: the node whose place in the spec it takes.
            before: the node that it stands before in the order.
            name: what to call it; after `like` if None.
        """
        id_ = unique(name or like.id, self._taken)
        self._order.insert(self._order.index(before), id_)
        self._places[id_] = self._places[like.id]
        self._set(id_, op, tuple(inputs), like)
        if weights:
            self.weights[id_] = dict(weights)
        return Ref(id_)

    def change(
        self,
        node: OpNode,
        op: Op,
        *,
        inputs: Sequence[Ref] | None = None,
        weights: Mapping[str, Tensor],
    ) -> None:
        """Another op under the same id, with all the weights that it is to have."""
        now = self._nodes[node.id]
        self._forget(now)
        self._set(node.id, op, now.inputs if inputs is None else tuple(inputs), now)
        self.weights.pop(node.id, None)
        if weights:
            self.weights[node.id] = dict(weights)

    def redirect(self, old: Ref, new: Ref) -> None:
        """Whatever reads `old` reads `new` from now on."""
        for reader in {node.id: node for node in self.readers(old)}.values():
            self._forget(reader)
            inputs = tuple(new if source == old else source for source in reader.inputs)
            shapes = tuple(map(self.shape, inputs))
            self._nodes[reader.id] = replace(reader, inputs=inputs, input_shapes=shapes)
            self._note(self._nodes[reader.id])
        if self.output == old:
            self.output = new

    def remove(self, node: OpNode) -> None:
        """Take out a node that nothing reads any more."""
        now = self._nodes[node.id]
        assert not self._readers.get(node.id), f"{node.id} is still read"
        self._forget(now)
        del self._nodes[node.id], self._places[node.id]
        self._order.remove(node.id)
        self.weights.pop(node.id, None)

    def bypass(self, node: OpNode) -> None:
        """Take out a node of one input and one output; its readers read its input."""
        (source,) = self._nodes[node.id].inputs
        self.redirect(Ref(node.id), source)
        self.remove(node)

    def note(self, node: OpNode, what: str) -> None:
        """Remember that the rewrite fired, at a node of the network before it."""
        self.fired.append(Fired(self.rewrite, node.id, self._places[node.id], what))

    def done(self) -> tuple[Network, tuple[Fired, ...]]:
        """The network after all changes; the same one if there were none."""
        if not self.fired:
            return self.network, ()
        was = self.network.graph
        graph = Graph(was.name, was.kind, was.inputs, tuple(self.nodes()), self.output)
        return Network(graph, self.weights, self._places), tuple(self.fired)

    # -- the index of readers --------------------------------------------------------------------

    def _set(self, id_: str, op: Op, inputs: tuple[Ref, ...], like: OpNode) -> None:
        shapes = tuple(map(self.shape, inputs))
        found = op.infer(*shapes)
        outputs = found if isinstance(found, tuple) else (found,)
        self._nodes[id_] = OpNode(id_, op, inputs, shapes, outputs, like.mark)
        self._note(self._nodes[id_])

    def _note(self, node: OpNode) -> None:
        for source in node.inputs:
            self._readers.setdefault(source.node, {})[node.id] = None

    def _forget(self, node: OpNode) -> None:
        for source in node.inputs:
            self._readers[source.node].pop(node.id, None)
