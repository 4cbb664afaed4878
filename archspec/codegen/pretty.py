"""Source lines that fit: a bracket stays on one line where it can, else its items get their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

WIDTH = 100
INDENT = "    "


@dataclass(frozen=True, slots=True)
class Bracket:
    """`head` + items + `tail`, such as `f(`, `a`, `b`, `)`.

    Items are separated by commas, unless `is_generator`: `(`, `f(x)`, `for x in y`, `)`.
    """

    head: str
    items: tuple[Doc, ...]
    tail: str = ")"
    is_generator: bool = False

    def __str__(self) -> str:
        return f"{self.head}{self.inside}{self.tail}"

    @property
    def inside(self) -> str:
        return (" " if self.is_generator else ", ").join(map(str, self.items))


Doc: TypeAlias = "str | Bracket"


def call(function: str, arguments: Sequence[Doc]) -> Bracket:
    return Bracket(f"{function}(", tuple(arguments))


def lines(before: str, doc: Doc, after: str = "", depth: int = 0) -> list[str]:
    """`before` + doc + `after` as lines of at most WIDTH characters, indented `depth` times."""
    indent = INDENT * depth
    flat = f"{indent}{before}{doc}{after}"
    if len(flat) <= WIDTH or isinstance(doc, str) or not doc.items:
        return [flat]
    opened, closed = f"{indent}{before}{doc.head}", f"{indent}{doc.tail}{after}"
    inner = f"{indent}{INDENT}{doc.inside}"
    if len(inner) <= WIDTH:
        return [opened, inner, closed]
    comma = "" if doc.is_generator or len(doc.items) == 1 else ","
    listed = [line for item in doc.items for line in lines("", item, comma, depth + 1)]
    return [opened, *listed, closed]
