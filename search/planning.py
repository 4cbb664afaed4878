"""What is going to be done, worked out and kept in the study for its report."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from archspec import catalog
from archspec.errors import ArchspecError
from archspec.search import defaults
from archspec.search.plan import Plan
from archspec.search.space import Space

if TYPE_CHECKING:
    from optuna.study import Study

    from archspec.search.budgets import Budget
    from archspec.search.candidate import Workshop


def plan_of(
    shop: Workshop,
    study: Study,
    storage: str,
    trials: int,
    done: int,
    finalists: int,
    time_limit: float | None,
) -> Plan:
    """The plan of a search.

    Args:
        storage: as messages show it.
        trials: how many there are to be in the end, those that are `done` included.
    """
    trained = any(goal.needs == "training" for goal in shop.objectives)
    rungs = defaults.rungs(shop.recipe.epochs) if trained and len(shop.objectives) == 1 else ()
    finalists = 0 if shop.data is None else finalists
    found = shop.feasible
    return Plan(
        study=study.study_name,
        folder=str(shop.folder),
        storage=storage,
        about=found.space.spec.header.about or "",
        space_size=found.space.size,
        feasible=found.count,
        interval=found.interval,
        is_exact=found.is_exact,
        budget=str(found.budget),
        settings=shop.settings,
        data="" if shop.data is None else shop.data.describe(),
        trials=trials,
        finished=done,
        epochs=shop.recipe.epochs,
        rungs=rungs,
        finalists=finalists,
        seconds=_seconds(shop, study, max(0, trials - done), rungs, finalists, time_limit),
        time_limit=time_limit,
    )


def _seconds(
    shop: Workshop,
    study: Study,
    left: int,
    rungs: tuple[int, ...],
    finalists: int,
    time_limit: float | None,
) -> float | None:
    """How long it is going to take; None where nothing is trained, or nothing is left."""
    from archspec.search.choose import results_of
    from archspec.search.estimate import seconds_left

    if not left:
        finalists = max(0, finalists - len(results_of(study.user_attrs)))
    if not any(goal.needs == "training" for goal in shop.objectives):
        left = 0
    if shop.data is None or not (left or finalists):
        return None
    shop.listener.busy("timing a few steps")
    seconds = seconds_left(shop, left, rungs, defaults.REDUCTION, finalists)
    if seconds is not None and time_limit is not None:
        last = seconds_left(shop, 0, (), defaults.REDUCTION, finalists)
        seconds = seconds if last is None else min(seconds, time_limit + last)
    return seconds


def keep(study: Study, plan: Plan, shop: Workshop, wanted: Budget, given: object) -> None:
    """Keep in the study what its report will say."""
    from archspec.search import storage as store
    from archspec.search.reading import versions

    space = shop.feasible.space
    facts = plan.to_dict() | {
        "budget": str(wanted),
        "source": space.spec.header.source,
        "reference": _reference(space, given),
        "versions": versions(),
        "device_name": shop.device_name,
    }
    study.set_user_attr(store.PLAN, facts)


def _reference(space: Space, given: object) -> str | None:
    """The network that the winner is compared with: the budget's, or the one the space varies."""
    from archspec import inherit
    from archspec.spec import load

    names: list[object] = [given] if isinstance(given, str | Path) else []
    if isinstance(given, Sequence) and not isinstance(given, str):
        names = list(given)
    if space.spec.file is not None:
        names += inherit.ancestors(space.spec.file)
    for name in names:
        if isinstance(name, str | Path):
            with contextlib.suppress(ArchspecError):
                found = load(name)
                if found.is_network and not found.holes:
                    return found.name if found.name in catalog.shipped() else str(name)
    return None
