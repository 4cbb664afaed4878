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
OWN_FILE = frozenset({"url", "sha256", "top1"})
"""Likewise within `weights`: where one network's checkpoint is, unlike the names in it."""


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
        base = _inherited(_other(extends, path, seen, "extends"))
    imports = tree.value.get("import")
    if imports is not None:
        items = imports.value if isinstance(imports.value, tuple) else (imports,)
        imported: dict[str, Node] = {}
        for item in items:
            shared = _other(item, path, seen, "import")
            blocks = shared.value.get("blocks", Node({}, shared.mark))
            _refuse_clash(imported, blocks, item)
            base = _with_blocks(base, blocks)
    rest = {k: v for k, v in tree.value.items() if k not in ("extends", "import")}
    tree = Node(rest, tree.mark)
    return tree if base is None else source.merge(base, tree)


def _with_blocks(base: Node | None, blocks: Node) -> Node:
    """`base` with imported blocks, each as a whole: merged with itself, null would remove keys."""
    given = {} if base is None else base.value
    before = given.get("blocks")
    if before is not None and isinstance(before.value, dict) and isinstance(blocks.value, dict):
        blocks = Node(before.value | blocks.value, blocks.mark)
    return Node(given | {Key("blocks", blocks.mark): blocks}, blocks.mark)


def _refuse_clash(imported: dict[str, Node], blocks: Node, item: Node) -> None:
    """Refuse a block that an earlier import defines in another way; note the others."""
    entries = blocks.value if isinstance(blocks.value, dict) else {}
    for name, block in entries.items():
        first = imported.setdefault(name, block)
        if first.plain() != block.plain():
            raise SpecError(
                f"two imports define block {str(name)!r} differently: "
                f"at {first.mark} and at {block.mark}",
                mark=item.mark,
                hint="give one of the two another name",
            )


def _inherited(base: Node) -> Node:
    """What a spec hands down to those that extend it."""
    kept = _without(base, OWN)
    if "weights" in kept.value and isinstance(kept.value["weights"].value, dict):
        mappings = kept.value["weights"]
        files = {name: _without(mapping, OWN_FILE) for name, mapping in mappings.value.items()}
        kept = Node(kept.value | {"weights": Node(files, mappings.mark)}, kept.mark)
    return kept


def _without(node: Node, keys: frozenset[str]) -> Node:
    if not isinstance(node.value, dict):
        return node
    return Node({key: value for key, value in node.value.items() if key not in keys}, node.mark)


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
