"""What a network costs, exactly, from its shaped graph: parameters, FLOPs, activations."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from archspec.graph import Graph, OpNode
from archspec.shape import Shape

BYTES = 4
"""Of one fp32 element, in which activation memory is given."""


@dataclass(frozen=True, slots=True)
class Row:
    """One op's cost for one image; where it is repeated, that of one of its `times` copies."""

    path: tuple[str, ...]
    op: str
    times: Any
    params: Any
    flops: Any
    activations: Any
    node: OpNode

    @property
    def output(self) -> Shape:
        return self.node.outputs[0]

    @property
    def is_product(self) -> bool:
        return self.node.op.is_product

    @property
    def other_operations(self) -> Any:
        """Computed when asked for: in a Fourier transform it is no polynomial of the sizes."""
        return self.node.op.other_operations(*self.node.input_shapes)

    @property
    def stage(self) -> str:
        return self.path[0]


class Written(NamedTuple):
    """One op of a network that is written out."""

    op: str
    params: int
    flops: int


@dataclass(frozen=True)
class CostTable:
    """The cost of every op of a network.

    Figures are ints, or arrays over many networks, or formulas, as the spec's values were.
    FLOPs are multiply-adds of one image in fvcore's convention; `macs` leaves out norms.
    `other_operations` are those that fvcore leaves at zero, and are in none of the other figures.
    Activations are the elements that the ops write, views not counted.
    """

    rows: tuple[Row, ...]

    def _total(self, value: Callable[[Row], Any], rows: tuple[Row, ...] | None = None) -> Any:
        total: Any = 0
        for row in self.rows if rows is None else rows:
            amount = value(row)
            if isinstance(amount, int) and amount == 0:
                continue
            total = total + amount * row.times
        return total

    @property
    def params(self) -> Any:
        """Learnable parameters."""
        return self._total(lambda row: row.params)

    @property
    def flops(self) -> Any:
        """FLOPs of one image, as fvcore counts them."""
        return self._total(lambda row: row.flops)

    @property
    def macs(self) -> Any:
        """Multiply-adds of the products alone: convolutions, linear maps, contractions."""
        return self._total(lambda row: row.flops if row.is_product else 0)

    @property
    def other_operations(self) -> Any:
        """Operations of one image beside the FLOPs: activations, softmax, biases, FFT, sums.

        One each for an addition, subtraction, multiplication, division, comparison or elementary
        function of one element (`archspec.ops.base.Op`). Not of arrays of networks where there
        are Fourier transforms.

        Raises:
            SpecError: a Fourier transform's size is an array.
        """
        return self._total(lambda row: row.other_operations)

    @property
    def activations(self) -> Any:
        """Elements written in one forward pass of one image."""
        return self._total(lambda row: row.activations)

    @property
    def activation_bytes(self) -> Any:
        """Their size in fp32. Training keeps most of it, unless it is computed again."""
        return self.activations * BYTES

    def by(self, key: Callable[[Row], str]) -> dict[str, CostTable]:
        """The table cut into groups, in order of first appearance."""
        groups: dict[str, list[Row]] = {}
        for row in self.rows:
            groups.setdefault(key(row), []).append(row)
        return {name: CostTable(tuple(rows)) for name, rows in groups.items()}

    def by_stage(self) -> dict[str, CostTable]:
        return self.by(lambda row: row.stage)

    def by_op(self) -> dict[str, CostTable]:
        return self.by(lambda row: row.op)

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)


def written_out(graph: Graph) -> dict[str, Written]:
    """What each op costs, by its module's path, repeated layers written out; of one network."""
    found = {}
    for path, _, node in graph.written_out():
        shapes = node.input_shapes
        params, flops = int(node.op.params(*shapes)), int(node.op.flops(*shapes))
        found[path] = Written(node.op.name, params, flops)
    return found


def count(graph: Graph) -> CostTable:
    """The cost of a graph."""
    rows = []
    for leaf, times in graph.walk():
        op, shapes = leaf.node.op, leaf.node.input_shapes
        activations: Any = 0
        if not op.is_view:
            for shape in leaf.node.outputs:
                activations = activations + shape.numel()
        rows.append(
            Row(
                leaf.path, op.name, times, op.params(*shapes), op.flops(*shapes), activations,
                leaf.node,
            )
        )  # fmt: skip
    return CostTable(tuple(rows))
