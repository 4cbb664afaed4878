"""Search for the best network within a budget.

    import archspec.search

    found = archspec.search.run("smlpnet_space", "5GFLOPs", trials=50)
    found.winner                              # a Spec without holes

    def score(spec):                          # or any function of your own
        return -archspec.cost(spec).activations

    archspec.search.run("smlpnet_space", "5GFLOPs", objective=score, trials=200)

Importing this module loads nothing else; each name loads what it needs when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from archspec.search.budgets import Budget, budget
    from archspec.search.errors import BudgetError, SpaceError, StudyError
    from archspec.search.feasibility import FeasibleSet, feasible
    from archspec.search.record import Record
    from archspec.search.searching import Outcome, run
    from archspec.search.space import Space

__all__ = [
    "Budget",
    "BudgetError",
    "FeasibleSet",
    "Outcome",
    "Record",
    "Space",
    "SpaceError",
    "StudyError",
    "budget",
    "feasible",
    "run",
]

# No submodule has one of these names: importing it would put the module in the function's place.
_HOME = {
    "Budget": "budgets", "budget": "budgets", "BudgetError": "errors", "SpaceError": "errors",
    "StudyError": "errors", "FeasibleSet": "feasibility", "feasible": "feasibility",
    "Record": "record", "Outcome": "searching", "run": "searching", "Space": "space",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"archspec.search.{_HOME[name]}"), name)
    raise AttributeError(f"module 'archspec.search' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
