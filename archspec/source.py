"""Safe YAML: text to a tree of plain values that remember their place in the file.

Only mappings, lists and scalars exist here. Tags, duplicate keys, huge files, deep nesting and
aliases that explode are refused. Scalars follow YAML 1.2: `on` and `off` are words, `1e-6` is
a number.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

import yaml

from archspec.errors import OBEYED, Mark, SpecError, brief, suggestion

MAX_BYTES = 1_000_000
MAX_NODES = 20_000
MAX_DEPTH = 60

Scalar: TypeAlias = "str | int | float | bool | None"
Path_: TypeAlias = "tuple[str | int, ...]"

_INT = re.compile(r"[-+]?[0-9]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_WORDS: dict[str, Scalar] = {
    "": None, "~": None, "null": None, "Null": None, "NULL": None,
    "true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False,
    ".inf": math.inf, "-.inf": -math.inf, ".nan": math.nan,
}  # fmt: skip


_YAML_TAG = "tag:yaml.org,2002:"


class Key(str):
    """A mapping key with its place."""

    __slots__ = ("mark",)
    mark: Mark

    def __new__(cls, text: str, mark: Mark) -> Key:
        key = super().__new__(cls, text)
        key.mark = mark
        return key

    def __reduce__(self) -> tuple[type[Key], tuple[str, Mark]]:
        return (Key, (str(self), self.mark))


@dataclass(frozen=True, slots=True)
class Node:
    """One YAML value: a scalar, a tuple of nodes, or a dict of nodes.

    `value` may also hold something that was put in place of a hole: an array, a symbol.
    """

    value: Any
    mark: Mark
    weight: int = field(init=False, compare=False)
    """How many values it holds, itself included."""
    depth: int = field(init=False, compare=False)
    """How many levels of values it holds, itself included."""

    def __post_init__(self) -> None:
        children = self.children()
        object.__setattr__(self, "weight", 1 + sum(child.weight for child in children))
        object.__setattr__(self, "depth", 1 + max((child.depth for child in children), default=0))

    def children(self) -> tuple[Node, ...]:
        if isinstance(self.value, dict):
            return tuple(self.value.values())
        return self.value if isinstance(self.value, tuple) else ()

    @property
    def kind(self) -> str:
        """What this is, in the words of a message to the user."""
        if isinstance(self.value, dict):
            return "a mapping" if self.value else "an empty mapping"
        if isinstance(self.value, tuple):
            return "a list" if self.value else "an empty list"
        if isinstance(self.value, bool):
            return "true" if self.value else "false"
        return "nothing" if self.value is None else brief(self.value)

    def plain(self) -> Any:
        """The value without places."""
        if isinstance(self.value, dict):
            return {str(key): child.plain() for key, child in self.value.items()}
        if isinstance(self.value, tuple):
            return [child.plain() for child in self.value]
        return self.value

    def items(self, what: str) -> Iterator[tuple[Key, Node]]:
        """The entries of a mapping; anything else is refused as not being `what`."""
        if not isinstance(self.value, dict):
            raise SpecError(f"expected {what}, found {self.kind}", mark=self.mark)
        yield from self.value.items()

    def find(self, path: Path_) -> Node | None:
        node: Node | None = self
        for step in path:
            if node is None:
                return None
            if isinstance(node.value, dict):
                node = node.value.get(step)
            elif isinstance(node.value, tuple) and isinstance(step, int):
                node = node.value[step] if step < len(node.value) else None
            else:
                return None
        return node

    def replaced(self, path: Path_, new: Node) -> Node:
        """A copy of this tree with `new` at `path`; mappings on the way are made when missing."""
        if not path:
            return new
        step, rest = path[0], path[1:]
        if isinstance(self.value, tuple) and isinstance(step, int):
            if not 0 <= step < len(self.value):
                raise SpecError(f"no entry {step} in a list of {len(self.value)}", mark=self.mark)
            items = list(self.value)
            items[step] = items[step].replaced(rest, new)
            return replace(self, value=tuple(items))
        if isinstance(self.value, dict) or self.value is None:
            entries = dict(self.value or {})
            key = next((k for k in entries if k == step), Key(str(step), new.mark))
            entries[key] = entries.get(key, Node(None, new.mark)).replaced(rest, new)
            return replace(self, value=entries)
        raise SpecError(f"{step!r} cannot be set inside {self.kind}", mark=self.mark)


def merge(base: Node, over: Node) -> Node:
    """`over` laid on `base`: mappings merge key by key, null removes, everything else replaces."""
    mappings = isinstance(base.value, dict) and isinstance(over.value, dict)
    if not mappings or is_hole(base) or is_hole(over):
        return over
    merged = dict(base.value)
    for key, value in over.value.items():
        if key in merged and value.value is None:
            del merged[key]
        else:
            merged[key] = merge(merged[key], value) if key in merged else value
    return Node(merged, over.mark)


HOLE_KEYS = ("choice", "int", "float")


def is_hole(node: Node) -> bool:
    """Whether a value is left open for search, such as `{choice: [2, 3]}` or `{int: [1, 8]}`."""
    return isinstance(node.value, dict) and any(key in node.value for key in HOLE_KEYS)


def node_of(value: Any, mark: Mark) -> Node:
    """A tree from plain Python values, all at one place (for `--set` and the Python API)."""
    if isinstance(value, Node):
        return value
    if isinstance(value, dict):
        return Node({Key(str(k), mark): node_of(v, mark) for k, v in value.items()}, mark)
    if isinstance(value, list | tuple):
        return Node(tuple(node_of(v, mark) for v in value), mark)
    return Node(value, mark)


def read(path: Path) -> Node:
    """Parse a file. OSErrors and wrong encodings become messages too."""
    mark = Mark(str(path))
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise SpecError(f"cannot be read: {error.strerror or error}", mark=mark) from None
    if len(raw) > MAX_BYTES:
        raise SpecError(f"is larger than {MAX_BYTES:,} bytes, which no spec needs", mark=mark)
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        column = error.start - (raw.rfind(b"\n", 0, error.start) + 1) + 1
        raise SpecError(
            f"is not UTF-8: byte 0x{raw[error.start]:02x}", mark=Mark(str(path), line, column)
        ) from None
    return parse(text, str(path))


def parse(text: str, file: str = "<text>") -> Node:
    """Parse YAML text into a tree.

    Raises:
        SpecError: with file, line and column, for anything but one plain document.
    """
    _refuse_control_characters(text, file)
    try:
        # the C parser where PyYAML was built with it: the same events, ten times sooner
        events = yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        return _Tree(events, file).document()
    except yaml.YAMLError as error:
        where = getattr(error, "problem_mark", None)
        lines = text.split("\n")
        if where is None or where.line >= len(lines):  # libyaml adds a line to what ends early
            mark = Mark(file, len(lines), len(lines[-1]) + 1)
        else:
            mark = Mark(file, where.line + 1, where.column + 1)
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        tab = lines[mark.line - 1][mark.column - 1 : mark.column] == "\t"
        raise SpecError(
            f"is not valid YAML: {problem}", mark=mark,
            hint="indent with spaces; YAML does not take tabs"
            if tab
            else "check brackets and indentation; text with any of : , # [ ] { } needs quotes",
        ) from None  # fmt: skip


# What YAML calls printable, less the marks of other encodings.
_CONTROL = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def _refuse_control_characters(text: str, file: str) -> None:
    found = _CONTROL.search(text)
    if found:
        line = text.count("\n", 0, found.start()) + 1
        column = found.start() - text.rfind("\n", 0, found.start())
        raise SpecError(
            f"holds a character that YAML does not allow: U+{ord(found[0]):04X}",
            mark=Mark(file, line, column),
        )


class _Tree:
    def __init__(self, events: Iterator[yaml.Event], file: str) -> None:
        self.events = events
        self.file = file
        self.anchors: dict[str, Node] = {}
        self.nodes = 0

    def mark(self, event: yaml.Event) -> Mark:
        start: Any = event.start_mark  # optional only in events made by hand
        return Mark(self.file, start.line + 1, start.column + 1)

    def document(self) -> Node:
        root: Node | None = None
        for event in self.events:
            if isinstance(event, yaml.StreamStartEvent | yaml.DocumentEndEvent):
                continue
            if isinstance(event, yaml.DocumentStartEvent):
                if root is not None:
                    raise SpecError(
                        "holds a second document; a spec is one document", mark=self.mark(event)
                    )
                root = self.value(next(self.events), 0)
            elif isinstance(event, yaml.StreamEndEvent):
                break
        if root is None:
            raise SpecError("is empty", mark=Mark(self.file, 1, 1))
        return root

    def value(self, event: yaml.Event, depth: int) -> Node:
        mark = self.mark(event)
        self.nodes += 1
        if depth > MAX_DEPTH:
            raise _too_deep(mark)
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in self.anchors:
                raise SpecError(
                    f"alias {brief(event.anchor)} has no anchor before it", mark=mark,
                    hint=suggestion(event.anchor or "", self.anchors),
                )  # fmt: skip
            node = self.anchors[event.anchor]
            self.nodes += node.weight
            if depth + node.depth > MAX_DEPTH:
                raise _too_deep(mark)
        else:
            tag = getattr(event, "tag", None)
            if tag is not None and tag != "!":
                raise SpecError(
                    f"tag {brief(tag.replace(_YAML_TAG, '!!'))} is not allowed; "
                    "a spec holds plain values only",
                    mark=mark,
                )
            node = self.plain(event, mark, depth)
            anchor = getattr(event, "anchor", None)
            if anchor is not None:
                self.anchors[anchor] = node
        if self.nodes > MAX_NODES:
            raise SpecError(
                f"holds more than {MAX_NODES:,} values, counting what aliases repeat", mark=mark
            )
        return node

    def plain(self, event: yaml.Event, mark: Mark, depth: int) -> Node:
        if isinstance(event, yaml.ScalarEvent):
            if obeyed := OBEYED.search(event.value):
                raise SpecError(
                    f"holds U+{ord(obeyed[0]):04X}, which a terminal would obey", mark=mark,
                    hint="a spec holds text that can be read",
                )  # fmt: skip
            value = scalar(event.value) if event.implicit[0] else event.value
            if isinstance(value, float) and not math.isfinite(value):
                raise SpecError(f"{brief(event.value)} is not a finite number", mark=mark)
            return Node(value, mark)
        if isinstance(event, yaml.SequenceStartEvent):
            items = []
            while not isinstance(event := next(self.events), yaml.SequenceEndEvent):
                items.append(self.value(event, depth + 1))
            return Node(tuple(items), mark)
        entries: dict[Key, Node] = {}
        while not isinstance(event := next(self.events), yaml.MappingEndEvent):
            name = self.value(event, depth + 1)
            if isinstance(name.value, dict | tuple):
                raise SpecError(f"a key must be a word, found {name.kind}", mark=name.mark)
            text = event.value if isinstance(event, yaml.ScalarEvent) else str(name.value)
            key = Key(text, name.mark)
            if key in entries:
                first = next(k for k in entries if k == key).mark
                raise SpecError(
                    f"key {brief(text)} stands twice; first on line {first.line}", mark=name.mark
                )
            if text == "<<":
                raise SpecError(
                    "merge keys (<<) are not part of the language", mark=name.mark,
                    hint="'extends' lays one spec over another; blocks share steps",
                )  # fmt: skip
            entries[key] = self.value(next(self.events), depth + 1)
        return Node(entries, mark)


def _too_deep(mark: Mark) -> SpecError:
    return SpecError(f"is nested more than {MAX_DEPTH} levels deep", mark=mark)


def scalar(text: str) -> Scalar:
    """What a plain scalar, one without quotes, is read as."""
    if text in _WORDS:
        return _WORDS[text]
    if len(text) <= 400:
        if _INT.fullmatch(text):
            return int(text)
        if _FLOAT.fullmatch(text):
            return float(text)
    return text
