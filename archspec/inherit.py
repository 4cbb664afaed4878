"""From a file to one document: `extends` and `import` resolved, every place remembered."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from archspec import catalog, source
from archspec.errors import SpecError
from archspec.source import Key, Node

MAX_EXTENDS = 20

OWN = frozenset({"published", "name", "about", "source"})
"""Keys that describe one network and not those that extend it."""


def read(path: Path, seen: tuple[Path, ...] = ()) -> Node:
    """The whole document of a file.

    Raises:
        SpecError: an unreadable file, or specs that extend one another in a circle.
    """
    return resolve(_parsed(path), path, (*seen, path.resolve()))


def _parsed(path: Path) -> Node:
    """A file's tree, parsed once for as long as the file stays as it is."""
    try:
        state = path.stat()
    except OSError:
        return source.read(path)  # which says what is wrong
    return _cached(path, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=256)
def _cached(path: Path, modified: int, size: int) -> Node:
    return source.read(path)


def resolve(tree: Node, path: Path | None, seen: tuple[Path, ...]) -> Node:
    """`tree` with everything that it extends and imports laid under it."""
    if not isinstance(tree.value, dict):
        return tree
    base: Node | None = None
    extends = tree.value.get("extends")
    if extends is not None:
        base = _other(extends, path, seen, "extends")
        kept = {key: value for key, value in base.value.items() if key not in OWN}
        base = Node(kept, base.mark)
    imports = tree.value.get("import")
    if imports is not None:
        items = imports.value if isinstance(imports.value, tuple) else (imports,)
        for item in items:
            shared = _other(item, path, seen, "import")
            blocks = shared.value.get("blocks", Node({}, shared.mark))
            layer = Node({Key("blocks", blocks.mark): blocks}, shared.mark)
            base = layer if base is None else source.merge(base, layer)
    rest = {k: v for k, v in tree.value.items() if k not in ("extends", "import")}
    tree = Node(rest, tree.mark)
    return tree if base is None else source.merge(base, tree)


def ancestors(path: Path) -> Iterator[Path]:
    """The specs that a file extends, the nearest first."""
    while (extends := _parsed(path).find(("extends",))) is not None:
        path = catalog.find(str(extends.value), near=path.parent)
        yield path


def _other(node: Node, path: Path | None, seen: tuple[Path, ...], key: str) -> Node:
    if not isinstance(node.value, str):
        raise SpecError(
            f"{key!r} takes the name or the path of a spec, found {node.kind}", mark=node.mark
        )
    try:
        target = catalog.find(node.value, near=path.parent if path else None)
    except SpecError as error:
        raise SpecError(error.message, mark=node.mark, hint=error.hint) from None
    if target.resolve() in seen:
        names = " → ".join(p.name for p in (*seen, target))
        raise SpecError(f"{key!r} goes in a circle: {names}", mark=node.mark)
    if len(seen) > MAX_EXTENDS:
        raise SpecError(f"more than {MAX_EXTENDS} specs extend one another", mark=node.mark)
    tree = read(target, seen)
    if not isinstance(tree.value, dict):
        raise SpecError(f"{target.name} is not a spec: it holds {tree.kind}", mark=node.mark)
    return tree
