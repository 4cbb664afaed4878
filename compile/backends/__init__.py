"""Ways to compile: each is one class in a file of this folder, found by scanning it."""

from __future__ import annotations

import importlib
import inspect
import pkgutil

from archspec.compile.backends.base import Backend
from archspec.compile.errors import CompileError
from archspec.errors import brief, did_you_mean

__all__ = ["Backend", "find", "find_all"]


def find_all() -> dict[str, type[Backend]]:
    """Every backend by its name."""
    found: dict[str, type[Backend]] = {}
    for info in pkgutil.iter_modules(__path__):
        module = importlib.import_module(f"{__name__}.{info.name}")
        for _, value in inspect.getmembers(module, inspect.isclass):
            if issubclass(value, Backend) and value.__module__ == module.__name__ != _BASE:
                if value.name in found:
                    raise RuntimeError(f"two backends are called {value.name!r}")
                found[value.name] = value
    return found


_BASE = Backend.__module__


def find(name: str) -> type[Backend]:
    """A backend by its name.

    Raises:
        CompileError: there is none of that name.
    """
    known = find_all()
    if name not in known:
        raise CompileError(
            f"there is no backend {brief(name)}",
            hint=did_you_mean(name, known),
        )
    return known[name]
