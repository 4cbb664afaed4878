"""Which holes the text of one part of a spec can reach: its own, and those behind its names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from archspec import expr
from archspec.errors import SpecError
from archspec.source import Node, Path_
from archspec.spec import Spec


def reaches(spec: Spec, part: str, among: Iterable[int]) -> set[int]:
    """The holes (by their place in `spec.holes`) that a part may read.

    It may read more than it does: a list of values counts as read when one of them is.

    Args:
        part: `stem`, `head`, or a stage's name.
        among: the holes that are asked about.
    """
    section: Path_ = (part,) if part in ("stem", "head") else ("stages", part)
    seen = {section}
    todo = [section]
    while todo:
        node = spec.tree.find(todo.pop())
        for name in () if node is None else _words(node):
            for path in (("vars", name), ("blocks", name)):
                if path not in seen and spec.tree.find(path) is not None:
                    seen.add(path)
                    todo.append(path)
    return {
        index
        for index in among
        if any(spec.holes[index].path[: len(path)] == path for path in seen)
    }


def _words(node: Node) -> Iterator[str]:
    """Every name in a tree: in expressions, as words, as keys."""
    if isinstance(node.value, dict):
        yield from map(str, node.value)
    if isinstance(node.value, str):
        try:
            yield from expr.parse(node.value).names
        except SpecError:
            yield node.value
    for child in node.children():
        yield from _words(child)
