"""Optuna samplers that propose networks inside the budget, and no others.

Each file of this folder holds one; `SAMPLER` in it says how the command line calls it.
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

from archspec.search.samplers.base import FeasibleSampler, Make

__all__ = ["FeasibleSampler", "samplers"]


@cache
def samplers() -> dict[str, Make]:
    """Every sampler by its name: `(feasible set, seed) → sampler`."""
    found: dict[str, Make] = {}
    for info in pkgutil.iter_modules(__path__):
        module = importlib.import_module(f"{__name__}.{info.name}")
        entry = getattr(module, "SAMPLER", None)
        if entry is None:
            continue  # a helper
        name, make = entry
        if name in found:
            raise RuntimeError(f"two samplers are called {name!r}")
        found[name] = make
    return found
