"""timm without torchvision, so that the tests can use it in any environment.

FOR TESTS ONLY, and only in a process of its own: `install` puts a copy of timm on the path and an
empty torchvision beside it, of which timm wants no more here than that its names can be imported.
"""

from __future__ import annotations

import importlib.util
import sys
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

SOURCE = Path(sys.prefix) / "timm"
"""A copy of timm without what it depends on; `make setup` puts it there."""


def why_not() -> str | None:
    """Why there is no timm for tests; None if there is."""
    if importlib.util.find_spec("timm") is None and not (SOURCE / "timm").is_dir():
        return "there is no copy of timm: pip install --no-deps --target .venv/timm timm==1.0.31"
    return None


class _Module(ModuleType):
    """Has every name: a class of which nobody makes anything."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        value = _Kind(name, (), {})
        setattr(self, name, value)
        return value


class _Kind(type):
    """Classes that have every constant."""

    def __getattr__(cls, name: str) -> str:
        if name.startswith("__"):
            raise AttributeError(name)
        return name


class _Torchvision(MetaPathFinder, Loader):
    def find_spec(self, name: str, path: Any, target: Any = None) -> ModuleSpec | None:
        if name.split(".")[0] != "torchvision":
            return None
        return ModuleSpec(name, self, is_package=True)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _Module(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        module.__version__ = "0.0"  # type: ignore[attr-defined]


def install() -> None:
    """Make `import timm` work in this process; a timm that is installed is let be."""
    if importlib.util.find_spec("timm") is None:
        sys.path.append(str(SOURCE))
    if importlib.util.find_spec("torchvision") is None:
        sys.meta_path.append(_Torchvision())
