"""Which holes the text of one part of a spec can reach: its own, and those behind its names."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator

from archspec import expr
from archspec.errors import SpecError
from archspec.source import Key, Node, Path_, is_hole
from archspec.spec import Spec


def reaches(spec: Spec, part: str, among: Iterable[int]) -> set[int]:
    """The holes (by their place in `spec.holes`) that a part may read.

    It may read more than it does: a list of values counts as read when one of them is.

    Args:
        part: `stem`, `head`, or a stage's name.
        among: the holes that are asked about.
    """
    section: Path_ = (part,) if part in ("stem", "head") else ("stages", part)
    own = spec.tree.find((*section, "vars"))
    hidden = {*map(str, own.value)} if own is not None and isinstance(own.value, dict) else set()
    seen = {section}
    todo = [section]
    while todo:
        node = spec.tree.find(todo.pop())
        for name in () if node is None else _words(node):
            paths: list[Path_] = [("blocks", name)]
            if name not in hidden:  # by a variable of the stage, which is in its section
                paths.append(("vars", name))
            for path in paths:
                if path not in seen and spec.tree.find(path) is not None:
                    seen.add(path)
                    todo.append(path)
    return {
        index
        for index in among
        if any(spec.holes[index].path[: len(path)] == path for path in seen)
    }


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
    """Every name in a tree: in expressions, as words, as keys."""
    if isinstance(node.value, dict):
        yield from map(str, node.value)
    if isinstance(node.value, str):
        yield node.value.strip()
        yield from _names(node.value)
        yield from _quoted(node.value)
    for child in node.children():
        yield from _words(child)


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
