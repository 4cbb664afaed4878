"""A spec as YAML text: one document that needs no other, laid out as one would write it by hand."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import yaml

from archspec.source import Node, scalar
from archspec.spec import Spec
from archspec.steps import names_in

_HEAD = ("name", "about", "source", "published", "input", "classes", "vars")
_SECTIONS = ("blocks", "stem", "stages", "head", "weights")
"""Each stands apart."""
_SPREAD = ("blocks", "stages", "names")
"""Keys whose entries stand in a line each."""
_WIDTH = 96
_QUOTED = set("[]{},")
"""Characters for which a scalar is quoted inside brackets."""


def to_yaml(spec: Spec, *, leave_out: Iterable[str] = ()) -> str:
    """The spec with everything that it extends and imports, and without what nothing in it uses.

    Read again, it is the same network; comments are lost.

    Args:
        leave_out: keys of the document to leave out, such as `weights`.
    """
    document = complete(spec)
    for key in leave_out:
        document.pop(key, None)
    parts = [_text({key: document[key] for key in _HEAD if key in document})]
    parts += [_text({key: document[key]}) for key in _SECTIONS if key in document]
    return "\n".join(parts)


def sections(spec: Spec) -> dict[str, str]:
    """The network's parts as YAML texts: `vars`, `stem`, `stages.NAME`, `head`, `blocks.NAME`.

    Each is without its key, as it stands alone.
    """
    document = complete(spec)
    found: dict[str, str] = {}
    for key in ("vars", "stem", "stages", "head", "blocks"):
        value = document.get(key)
        if key in ("blocks", "stages"):
            found |= {f"{key}.{name}": _text(part) for name, part in (value or {}).items()}
        elif value is not None:
            found[key] = _text(value)
    return found


def complete(spec: Spec) -> dict[str, Any]:
    """The document with everything that it extends and imports, without what nothing in it uses."""
    document = spec.to_dict() | {"name": spec.name}
    if spec.is_network:
        used = _used(spec)
        for name in ("vars", "blocks"):
            document[name] = _only(document.get(name), used)
        for stage in (document.get("stages") or {}).values():
            if isinstance(stage, dict) and "vars" in stage:
                stage["vars"] = _only(stage["vars"], used)
                if not stage["vars"]:
                    del stage["vars"]
    return {key: value for key, value in document.items() if value not in (None, {}, [])}


def _used(spec: Spec) -> set[str]:
    """Names that something reads; what only an unused variable or block reads is not among them."""
    sections = ("stem", "stages", "head")
    nodes = [node for name in sections if (node := spec.tree.find((name,))) is not None]
    used: set[str] = set()
    while nodes:
        for name in set(_words(nodes.pop())) - used:
            used.add(name)
            found = (spec.tree.find((section, name)) for section in ("vars", "blocks"))
            nodes += [node for node in found if node is not None]
    return used


def _words(node: Node) -> Iterator[str]:
    """Every name in a tree: in its expressions, and those of steps, which are keys."""
    yield from names_in(node)
    if isinstance(node.value, dict):
        yield from map(str, node.value)
    for child in node.children():
        yield from _words(child)


def _only(entries: Mapping[str, Any] | None, used: set[str]) -> dict[str, Any]:
    return {name: value for name, value in (entries or {}).items() if name in used}


# -- layout ----------------------------------------------------------------------------------------


def _text(section: Any) -> str:
    node = _Dumper(io.StringIO(), sort_keys=False).represent_data(section)
    _lay_out(node, 0, spread=True)
    text = str(yaml.serialize(node, Dumper=_Dumper, allow_unicode=True, width=10_000))
    return text.removesuffix("...\n")  # the end of a document that is one word


def _lay_out(node: yaml.Node, column: int, *, spread: bool = False) -> None:
    """Decide what stands in one line: `{…}` or `[…]`, where it fits and is easily read.

    Args:
        column: where the node would begin in that line.
        spread: whether it is to be spread over lines in any case.
    """
    if not isinstance(node, yaml.CollectionNode):
        return
    node.flow_style = not spread and _is_plain(node) and column + _length(node) <= _WIDTH
    if node.flow_style:
        return
    indent = column if spread else 0
    for key, child in _children(node):
        if key is None and isinstance(child, yaml.MappingNode) and len(child.value) == 1:
            child.flow_style = False  # a step: `- linear: {…}`
            ((name, value),) = child.value
            _lay_out(value, indent + 6 + _length(name))
        else:
            after = 6 if key is None else 4 + _length(key)
            _lay_out(child, indent + after, spread=_is_long(key))


def _is_long(key: yaml.Node | None) -> bool:
    """Whether what follows a key is spread over lines in any case."""
    return key is not None and key.value in _SPREAD


def _is_plain(node: yaml.Node) -> bool:
    """Whether a node is easily read in one line: no list of steps that have arguments or steps."""
    children = [child for _, child in _children(node)]
    if isinstance(node, yaml.SequenceNode):
        for _, given in (pair for child in children for pair in _children(child)):
            inner = [given, *(item for key, item in _children(given) if key is None)]
            if any(isinstance(value, yaml.MappingNode) for value in inner):
                return False
    return all(map(_is_plain, children))


def _children(node: yaml.Node) -> list[tuple[yaml.Node | None, yaml.Node]]:
    """Keys and values of a mapping; the items of a list, without keys."""
    if isinstance(node, yaml.MappingNode):
        return list(node.value)
    if isinstance(node, yaml.SequenceNode):
        return [(None, item) for item in node.value]
    return []


def _length(node: yaml.Node) -> int:
    """Characters of a node in one line."""
    if isinstance(node, yaml.ScalarNode):
        return len(node.value) + 2 * bool(_QUOTED & set(node.value))
    inner = [(0 if key is None else _length(key) + 2) + _length(n) for key, n in _children(node)]
    return sum(inner) + 2 * max(len(inner), 1)


class _Dumper(yaml.SafeDumper):
    """Lists are indented, and there are no anchors: they would stand for values that are only by
    chance the same."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)

    def represent_text(self, text: str) -> yaml.ScalarNode:
        """With quotes where it would be read as a number: `"670e1166"`, which PyYAML calls text."""
        style = None if scalar(text) == text else '"'
        return self.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _Dumper.represent_text)
