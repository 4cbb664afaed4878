"""Which holes one part of a spec can reach: its own, and those behind the names that it reads."""

from __future__ import annotations

import ast
import types
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import TypeAdapter, ValidationError

from archspec import expr
from archspec.errors import Mark, SpecError
from archspec.ops import Op
from archspec.source import Key, Node, is_hole
from archspec.spec import Spec
from archspec.steps import Step


def reaches(spec: Spec, part: str, among: Iterable[int]) -> set[int]:
    """The holes (by their place in `spec.holes`) that a part's cost, shape or being may hang on.

    It may name more than there are: a list of values counts as read when one of them is.

    Args:
        part: `stem`, `head`, or a stage's name.
        among: the holes that are asked about.
    """
    reader = _Reader(spec)
    if part in ("stem", "head"):
        reader.steps(spec.stem if part == "stem" else spec.head)
    else:
        stage = next(stage for stage in spec.stages if stage.name == part)
        reader.variables |= stage.vars
        reader.node(stage.repeat)
        reader.steps((*stage.enter, *stage.body))
    return {index for index in among if spec.holes[index].node.mark in reader.holes}


class _Reader:
    """Follows steps, expressions, variables and blocks, each once."""

    def __init__(self, spec: Spec) -> None:
        self.blocks = spec.blocks
        self.variables: dict[str, Node] = {**spec.vars}
        self.holes: set[Mark] = set()
        """Where those stand that were met."""
        self._seen: set[str] = set()

    def steps(self, steps: Iterable[Step]) -> None:
        for step in steps:
            if step.kind == "choice":
                self.holes.add(step.mark)
            if step.kind == "block":
                self.name(step.name)
            for name, node in step.args.items():
                if step.kind != "op" or not self._is_idle(step.op, name, node):
                    self.node(node)
            for body in step.bodies:
                self.steps(body)

    def node(self, node: Node) -> None:
        if is_hole(node):
            self.holes.add(node.mark)
        for word in _words(node):
            self.name(word)
        for child in node.children():
            self.node(child)

    def name(self, name: str) -> None:
        if name in self._seen:
            return
        self._seen.add(name)
        if name in self.variables:
            self.node(self.variables[name])
        if name in self.blocks:
            block = self.blocks[name]
            for default in block.defaults.values():
                self.node(default)
            self.steps(block.body)

    def _is_idle(self, op: type[Op], field: str, node: Node) -> bool:
        """Whether an argument can be left out: a real number that is right whatever is chosen.

        Rates, slopes and initial values change no shape and no cost.
        """
        if not is_real(op, field):
            return False
        seen: set[str] = set()
        while isinstance(node.value, str) and node.value in self.variables.keys() - seen:
            seen.add(node.value)
            node = self.variables[node.value]
        return is_hole(node) and _takes(op, field, _ends(node))


@cache
def is_real(op: type[Op], field: str) -> bool:
    """Whether an op's argument is a real number, which no shape and no cost hangs on."""

    def plain(kind: Any) -> Any:
        return get_args(kind)[0] if get_origin(kind) is Annotated else kind

    kind = op.model_fields[field].annotation
    kinds = get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)
    return {plain(kind) for kind in kinds} - {type(None)} == {float}


def _takes(op: type[Op], field: str, values: Iterable[Any]) -> bool:
    info = op.model_fields[field]
    kind: Any = info.annotation
    if info.metadata:
        kind = Annotated[(kind, *info.metadata)]
    adapter: TypeAdapter[Any] = TypeAdapter(kind)
    try:
        for value in values:
            adapter.validate_python(value)
    except ValidationError:
        return False
    return True


def _ends(hole: Node) -> tuple[Any, ...]:
    """The lowest and the highest number of a hole; what is taken at both is taken between."""
    content: Mapping[str, Any] = hole.plain()
    values = next(content[key] for key in ("choice", "int", "float") if key in content)
    if not all(type(value) in (int, float) for value in values):
        return ("no number",)
    return min(values), max(values)


def uses_all_variables(spec: Spec) -> bool:
    """Whether each variable is used whatever is chosen: expansion refuses those that are not."""
    used: set[str] = set()
    for section in ("vars", "blocks", "stem", "stages", "head"):
        node = spec.tree.find((section,))
        used |= set() if node is None else _certain(node)
    stages = (spec.tree.find(("stages", stage.name, "vars")) for stage in spec.stages)
    declared: set[Key] = set()
    for node in (spec.tree.find(("vars",)), *stages):
        declared |= set(node.value) if node is not None and isinstance(node.value, dict) else set()
    # what another file declared need not be used (Spec.check_variables)
    own = {key for key in declared if key.mark.file == spec.tree.mark.file or not key.mark.line}
    return own <= used


def _certain(node: Node) -> set[str]:
    """The names that a tree reads whatever stands in its holes."""
    if is_hole(node):
        choice = node.value.get("choice")
        options = () if choice is None else choice.children()
        return set.intersection(*map(_certain, options)) if options else set()
    names = set(_names(node.value)) if isinstance(node.value, str) else set()
    return names.union(*map(_certain, node.children()))


def _words(node: Node) -> Iterator[str]:
    """The names in a node itself: in an expression, as a word, as keys."""
    if isinstance(node.value, dict):
        yield from map(str, node.value)
    if isinstance(node.value, str):
        yield node.value.strip()
        yield from _names(node.value)
        yield from _quoted(node.value)


def _names(text: str) -> Iterable[str]:
    try:
        return expr.parse(text).names
    except SpecError:
        return ()


def _quoted(text: str) -> Iterator[str]:
    """Words in an expression that names one of several: `'cross' if C > 64 else 'local'`."""
    try:
        tree = expr.parse(text).tree
    except SpecError:
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
