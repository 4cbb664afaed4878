"""Bytes that a network moves to and from memory when its ops run one by one.

Computed from shapes alone, for comparing two forms of a network: a runtime that fuses ops moves
less, and one with small caches more.
"""

from __future__ import annotations

from dataclasses import dataclass

from archspec.graph import Graph, OpNode, Ref
from archspec.ops.norm import BatchNorm
from archspec.ops.param import Param, RelativePositionBias, ShiftedWindowMask

OF_BATCH = (Param, RelativePositionBias, ShiftedWindowMask)
"""Ops that read a tensor for the number of images only, and give each image the same."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """Bytes moved in one forward pass of a whole batch."""

    read: int
    """Of activations."""
    written: int
    """Of activations."""
    weights: int
    """Read once for the batch, constants of the network among them."""

    @property
    def activations(self) -> int:
        return self.read + self.written

    @property
    def total(self) -> int:
        return self.activations + self.weights

    def __add__(self, other: Traffic) -> Traffic:
        return Traffic(
            self.read + other.read, self.written + other.written, self.weights + other.weights
        )

    def __sub__(self, other: Traffic) -> Traffic:
        return Traffic(
            self.read - other.read, self.written - other.written, self.weights - other.weights
        )


def traffic(graph: Graph, batch: int = 1, element_bytes: int = 4) -> Traffic:
    """What the ops of a flat graph move: inputs read, outputs written, weights read, once each.

    Views (split, flatten, rename, …) move nothing. What is the same for all images, such as a
    `param`, counts once for the batch. A sum of several tensors is one op.

    Args:
        graph: of OpNodes alone, as `compile.network.inline` makes it.
        batch: images.
        element_bytes: bytes of one number.
    """
    read = written = weights = 0
    same: set[Ref] = set()
    for node in graph.nodes:
        assert isinstance(node, OpNode), f"{node.id} is not a single op"
        outputs = {Ref(node.id, port) for port in range(len(node.outputs))}
        if isinstance(node.op, OF_BATCH) or (node.op.is_view and set(node.inputs) <= same):
            same |= outputs
        if node.op.is_view:
            continue
        weights += _weights(node)
        if isinstance(node.op, OF_BATCH):
            weights += sum(shape.numel() for shape in node.outputs)  # written, once
            continue
        written += sum(shape.numel() for shape in node.outputs)
        for source, shape in zip(node.inputs, node.input_shapes, strict=True):
            if source in same:
                weights += shape.numel()
            else:
                read += shape.numel()
    images = batch * element_bytes
    return Traffic(int(read * images), int(written * images), int(weights * element_bytes))


def _weights(node: OpNode) -> int:
    statistics = 2 * node.input_shapes[0].channels if isinstance(node.op, BatchNorm) else 0
    return int(node.op.params(*node.input_shapes) + statistics)
