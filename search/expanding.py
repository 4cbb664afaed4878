"""The parts of a network one by one, for many networks at once.

What `archspec.expansion.expand` does for a whole network, cut into its stem, stages and head.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from archspec.counting import CostTable, count
from archspec.errors import SpecError
from archspec.expander import Body, Expander, Tensor
from archspec.expansion import check_logits
from archspec.graph import INPUT, CallNode, Graph, Ref
from archspec.scope import Scope, evaluate
from archspec.shape import Shape
from archspec.sizes import is_array, whole
from archspec.source import Node
from archspec.spec import Spec
from archspec.steps import Step


@dataclass(frozen=True)
class PartGraph:
    """One part of a network, expanded and counted."""

    costs: CostTable
    ops: Any
    """Repeated layers counted as often as they stand there."""
    steps: int
    """Repeated layers counted once."""
    shape: Shape
    """What it hands on."""


def part_names(spec: Spec) -> list[str]:
    """`stem`, the stages, `head`: those that there are, in order."""
    stages = [stage.name for stage in spec.stages]
    return ["stem"] * bool(spec.stem) + stages + ["head"] * bool(spec.head)


def expand_part(spec: Spec, name: str, shape: Shape) -> PartGraph:
    """One part of a network for an input of `shape`.

    Raises:
        SpecError: as `archspec.expansion.expand` would.
    """
    expander, body, x = _Expander(spec), Body(), Tensor(Ref(INPUT), shape)
    if name == "stem":
        expander.section(name, spec.stem, x, body)
    elif name == "head":
        check_logits(spec, expander.section(name, spec.head, x, body).shape)
    else:
        expander.stage(next(stage for stage in spec.stages if stage.name == name), x, body)
    (node,) = body.nodes
    assert isinstance(node, CallNode)
    ops = sum((times for _, times in node.graph.walk()), start=0)
    return PartGraph(count(node.graph), ops, expander.done, node.graph.output_shape)


class _Expander(Expander):
    """One that says so where networks are refused for being repeated a different number of times.

    A layer that changes the shape may stand there once, and one that cannot be built not at all;
    where the number varies, both are refused as if it were 2.
    """

    refused: SpecError | None = None
    """Why the latest layer could not be built."""

    def layer(self, name: str, body: tuple[Step, ...], shape: Shape, scope: Scope) -> Graph:
        try:
            return super().layer(name, body, shape, scope)
        except SpecError as error:
            self.refused = error
            raise

    def repeat(
        self, wanted: str, times: Node, body: tuple[Step, ...], x: Tensor, scope: Scope, into: Body
    ) -> Tensor:
        try:
            return super().repeat(wanted, times, body, x, scope, into)
        except SpecError as error:
            number = whole(evaluate(times, scope.with_local(x.shape.names())))
            if is_array(number):
                harmless = number < 1 if error is self.refused else number < 2
                bool(harmless)  # which is refused where it is true of some and not of others
            raise
