"""Names and values while a spec is expanded, and how an op's arguments become its fields."""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import ValidationError

from archspec import expr
from archspec.document import expected
from archspec.errors import Mark, SpecError, brief, did_you_mean
from archspec.ops import Op
from archspec.sizes import describe
from archspec.source import Node, is_hole

ANY_TEXT = frozenset({"*"})
"""Marks a field that takes words, such as the name of an axis, rather than expressions."""


MAX_CHAIN = 50
"""How many variables may stand behind one another."""


class UnfilledError(SpecError):
    """A value that is needed is left open for search."""


class Variables(Mapping[str, Any]):
    """The variables of a spec or stage. One may be an expression over the others.

    They are evaluated when asked for, so that a stage that overrides `dim` also changes what is
    computed from it.
    """

    def __init__(self, nodes: Mapping[str, Node], constants: Mapping[str, Any]) -> None:
        self._nodes = nodes
        self._constants = constants
        self._values: dict[str, Any] = {}
        self._open: list[str] = []

    def override(self, nodes: Mapping[str, Node]) -> Variables:
        return Variables({**self._nodes, **nodes}, self._constants) if nodes else self

    def __getitem__(self, name: str) -> Any:
        if name in self._constants:
            return self._constants[name]
        if name not in self._values:
            node = self._nodes[name]
            if name in self._open:
                circle = " → ".join((*self._open, name))
                raise SpecError(f"variables depend on each other: {circle}", mark=node.mark)
            if len(self._open) == MAX_CHAIN:
                raise SpecError(
                    f"more than {MAX_CHAIN} variables depend on one another", mark=node.mark
                )
            self._open.append(name)
            try:
                self._values[name] = evaluate(node, self, word=True, label=f"vars.{name}")
            finally:
                self._open.pop()
        return self._values[name]

    def written(self, name: str) -> Node | None:
        """What stands in YAML as a variable's value."""
        return self._nodes.get(name)

    def __iter__(self) -> Iterator[str]:
        return iter({**self._nodes, **self._constants})

    def __len__(self) -> int:
        return len({**self._nodes, **self._constants})

    def __contains__(self, name: object) -> bool:
        return name in self._nodes or name in self._constants


class Scope(Mapping[str, Any]):
    """Variables, a block's arguments, and the implicit names, the nearest first."""

    def __init__(self, variables: Variables, local: Mapping[str, Any]) -> None:
        self.variables = variables
        self.local = local

    def with_local(self, names: Mapping[str, Any]) -> Scope:
        return Scope(self.variables, {**self.local, **names})

    def __getitem__(self, name: str) -> Any:
        return self.local[name] if name in self.local else self.variables[name]

    def origin(self, node: Node) -> Mark:
        """Where a value was written: at its variable, where it is nothing but a variable's name."""
        seen: set[str] = set()
        while isinstance(name := node.value, str) and name not in self.local and name not in seen:
            seen.add(name)
            node = self.variables.written(name) or node
        return node.mark

    def __iter__(self) -> Iterator[str]:
        return iter({**dict.fromkeys(self.variables), **self.local})

    def __len__(self) -> int:
        return len(set(self))

    def __contains__(self, name: object) -> bool:
        return name in self.local or name in self.variables


def evaluate(
    node: Node,
    scope: Mapping[str, Any],
    *,
    texts: frozenset[str] = frozenset(),
    word: bool = False,
    label: str = "",
) -> Any:
    """A value from what stands in YAML: expressions are computed, words stay words.

    Args:
        texts: words that mean themselves here; ANY_TEXT for every word.
        word: whether a single unknown name is a word (`mixer: cross`) and not an error.
        label: where this stands, for the message about an unfilled hole.

    Raises:
        UnfilledError: a value is left open for search.
        SpecError: an expression is wrong, or names what is not there.
    """
    value = node.value
    if is_hole(node):
        raise UnfilledError(f"{label or 'this value'} has no value yet", mark=node.mark)
    if isinstance(value, dict):
        return {
            str(key): evaluate(child, scope, texts=texts, word=word, label=f"{label}.{key}")
            for key, child in value.items()
        }
    if isinstance(value, tuple):
        return tuple(
            evaluate(child, scope, texts=texts, word=word, label=f"{label}[{index}]")
            for index, child in enumerate(value)
        )
    if not isinstance(value, str):
        return value
    if value in texts:
        return value
    if texts is ANY_TEXT:
        held = scope.get(value, value)
        return held if isinstance(held, str) else value
    try:
        expression = expr.parse(value)
        if word and expression.names == {expression.text} and expression.text not in scope:
            return value
        if texts and expression.names == {expression.text} and expression.text not in scope:
            raise SpecError(
                f"unknown name {brief(value)}", hint=did_you_mean(value, {*texts, *scope})
            )
        return expression(scope)
    except SpecError as error:
        raise error.at(node.mark) from None


@cache
def _field_texts(op: type[Op]) -> Mapping[str, frozenset[str]]:
    """For each field of an op, the words that it takes as they are."""
    return {name: _texts(field.annotation) for name, field in op.model_fields.items()}


def _texts(annotation: Any) -> frozenset[str]:
    if annotation is str:
        return ANY_TEXT
    origin, args = get_origin(annotation), get_args(annotation)
    if annotation is bool:
        return frozenset({"true", "false"})
    if origin is Literal:
        return frozenset(arg for arg in args if isinstance(arg, str))
    if origin is Annotated:
        return _texts(args[0])
    if origin is dict:
        return _texts(args[1])
    if origin in (Union, types.UnionType, tuple):
        inner = [_texts(arg) for arg in args if arg is not Ellipsis]
        if any(texts is ANY_TEXT for texts in inner):
            return ANY_TEXT
        return frozenset().union(*inner)
    return frozenset()


def make_op(op: type[Op], args: Mapping[str, Node], scope: Mapping[str, Any]) -> Op:
    """An op with its fields computed and validated.

    Raises:
        SpecError: at the argument that does not fit, or (without a place) for the op as a whole.
    """
    texts = _field_texts(op)
    values = {}
    for name, node in args.items():
        label = f"'{op.name}' {name}"
        values[name] = evaluate(node, scope, texts=texts[name], label=label)
    try:
        return op(**values)
    except ValidationError as error:
        # a union reports each branch that failed; the one that looked deepest knows the most
        errors = error.errors()
        first = max(errors, key=lambda e: sum(isinstance(step, int) for step in e["loc"]))
        field = str(first["loc"][0])
        if first["type"] == "missing":
            raise SpecError(f"'{op.name}' needs {field!r}") from None
        text = expected(first)
        found = "" if "found" in text else f", found {describe(values[field])}"
        raise SpecError(f"'{op.name}' {field}: {text}{found}", mark=args[field].mark) from None
