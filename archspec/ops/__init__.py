"""The primitive ops, found by scanning this folder: one class each, grouped by family."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

from archspec.ops.base import Op

__all__ = ["Op", "registry"]


@cache
def registry() -> dict[str, type[Op]]:
    """Every op by its YAML name. A name that two classes claim is a programming error."""
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")
    found: dict[str, type[Op]] = {}
    todo = list(Op.__subclasses__())
    while todo:
        cls = todo.pop()
        todo.extend(cls.__subclasses__())
        if "name" not in vars(cls):
            continue  # a family's base class
        if cls.name in found:
            raise RuntimeError(f"two ops are called {cls.name!r}: {found[cls.name]} and {cls}")
        found[cls.name] = cls
    return dict(sorted(found.items()))
