"""The steps of a body, as data: what `archspec.parser` makes and `archspec.expander` walks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from archspec import expr
from archspec.errors import Mark, SpecError
from archspec.ops import Op, registry
from archspec.source import Key, Node

CONTROL = ("residual", "repeat", "if", "use")
"""Steps that are not ops: they arrange other steps."""


@dataclass(frozen=True)
class BlockHead:
    """What a caller must know of a block: its inputs and its arguments."""

    inputs: tuple[str, ...]
    arguments: tuple[str, ...]
    required: tuple[str, ...]


@dataclass(frozen=True)
class Step:
    """One line of a body.

    `sources` are the names after `from:`; None means the output of the step before.
    """

    kind: Literal["op", "block", "residual", "repeat", "if", "use", "choice"]
    name: str
    mark: Mark
    args: Mapping[str, Node] = field(default_factory=dict)
    ids: tuple[Key, ...] = ()
    sources: tuple[Key, ...] | None = None
    bodies: tuple[tuple[Step, ...], ...] = ()

    @property
    def op(self) -> type[Op]:
        return registry()[self.name]

    def uses(self, name: str) -> bool:
        """Whether an expression in this step, or in the steps inside it, names `name`."""
        return any(name in names_in(node) for node in self.args.values()) or any(
            step.uses(name) for body in self.bodies for step in body
        )


def names_in(node: Node) -> Iterator[str]:
    """Every name in the expressions of a tree, words among them."""
    if isinstance(node.value, str):
        try:
            yield from expr.parse(node.value).names
        except SpecError:
            return
    for child in node.children():
        yield from names_in(child)
