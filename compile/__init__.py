"""Compile a network to an artefact that is fast, and proven to compute the same function.

    import archspec.compile

    artefact = archspec.compile.compile("smlpnet_t", backend="onnx", output="smlpnet_t-onnx")
    logits_BK = artefact(images_BCHW)
    again = archspec.compile.load("smlpnet_t-onnx")     # needs neither spec nor source

Importing this module loads nothing else; each name loads what it needs when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from archspec.compile.artefact import Artefact, load
    from archspec.compile.calls import compile  # noqa: A004
    from archspec.compile.errors import CompileError, UnavailableError, UnfitError
    from archspec.compile.manifest import Manifest
    from archspec.compile.running import classify

__all__ = [
    "Artefact",
    "CompileError",
    "Manifest",
    "UnavailableError",
    "UnfitError",
    "classify",
    "compile",
    "load",
]

# No submodule has one of these names: importing it would put the module in the function's place.
_HOME = {
    "Artefact": "artefact", "load": "artefact", "compile": "calls", "CompileError": "errors",
    "UnavailableError": "errors", "UnfitError": "errors", "Manifest": "manifest",
    "classify": "running",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"archspec.compile.{_HOME[name]}"), name)
    raise AttributeError(f"module 'archspec.compile' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
