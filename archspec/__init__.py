"""archspec: vision token mixers as YAML, exactly costed, checked and built.

    import archspec

    spec = archspec.load("smlpnet_b")             # a shipped spec, or a path
    archspec.cost(spec).flops                     # exact, without torch
    model = archspec.build(spec)                  # a plain nn.Module: NCHW images in, logits out

Importing this module loads nothing else; each name loads what it needs when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from archspec.api import build, cost, emit
    from archspec.counting import CostTable
    from archspec.download import DownloadError
    from archspec.errors import ArchspecError, ShapeError, SpecError, WeightsError
    from archspec.expansion import expand
    from archspec.graph import Graph
    from archspec.many import costs
    from archspec.resolution import size_dependence
    from archspec.spec import Spec, load, loads

__version__ = "0.1.0"

__all__ = [
    "ArchspecError",
    "CostTable",
    "DownloadError",
    "Graph",
    "ShapeError",
    "Spec",
    "SpecError",
    "WeightsError",
    "build",
    "cost",
    "costs",
    "emit",
    "expand",
    "load",
    "loads",
    "size_dependence",
]

# No submodule has one of these names: importing it would put the module in the function's place.
_HOME = {
    "build": "api", "cost": "api", "emit": "api", "costs": "many", "expand": "expansion",
    "load": "spec", "loads": "spec", "Spec": "spec", "CostTable": "counting", "Graph": "graph",
    "ArchspecError": "errors", "ShapeError": "errors", "SpecError": "errors",
    "WeightsError": "errors", "DownloadError": "download", "size_dependence": "resolution",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"archspec.{_HOME[name]}"), name)
    raise AttributeError(f"module 'archspec' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
