"""From what a search is asked for to all that it needs, checked; nothing is begun."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from archspec.search import defaults
from archspec.search.budgets import Budget
from archspec.search.feasibility import feasible
from archspec.search.listener import Listener
from archspec.search.objectives import Function
from archspec.search.settings import Settings, check_name, default_name
from archspec.search.space import Space
from archspec.spec import Spec

if TYPE_CHECKING:
    from archspec.search.candidate import Workshop
    from archspec.search.data.images import Data


@dataclass(frozen=True)
class Ready:
    """What was asked for, checked; nothing is begun."""

    name: str
    shop: Workshop
    budget: Budget
    given: object
    """The budget as the caller gave it."""
    url: str
    trials: int


def prepare(
    space: Space | Spec | str | Path,
    budget: Budget | Spec | str | Path | Sequence[str],
    *,
    objective: str | Function,
    trials: int | None,
    time_limit: float | None,
    data: str | Path | Data | None,
    limit: int | None,
    study: str | None,
    storage: str | None,
    seed: int,
    device: str,
    resolution: int | None,
    sampler: str | None,
    epochs: int | None,
    batch_size: int | None,
    precision: str | None,
    finalists: int,
    folder: str | Path,
    listener: Listener | None,
    should_stop: Callable[[], bool],
) -> Ready:
    """Check everything that `run` takes, count the networks and read the data."""
    from archspec.search import preparing

    hear = listener or Listener()
    preparing.check_numbers(
        trials=trials, finalists=finalists, seed=seed, time_limit=time_limit,
        resolution=resolution, limit=limit, epochs=epochs, batch_size=batch_size,
    )  # fmt: skip
    goals, function = preparing.goals_of(objective)
    chosen = preparing.sampler_of(sampler, goals)
    if study is not None:
        check_name(study)
    asked = space if isinstance(space, Space) else Space(space)
    wanted = preparing.budget_of(budget)
    hear.busy(f"counting the networks of {asked.name}")
    found = feasible(asked, wanted)
    found.check()
    if (missing := found.missing()) is not None:
        hear.note(missing)
    _leave(should_stop)

    hear.busy("importing PyTorch")
    from archspec import __version__
    from archspec.search import storage as store
    from archspec.search.candidate import Workshop
    from archspec.search.machine import machine
    from archspec.search.workers import worker_at

    here = machine(device)
    # what is wrong with it is said before any image is read
    defaults.recipe(None, epochs=epochs, batch_size=batch_size, precision=precision)
    size, images = (asked.spec.input["height"], asked.spec.input["width"]), None
    if any(goal.needs in ("training", "scores") for goal in goals):
        hear.busy("reading the data")
        size, images = preparing.images_for(asked, found, data, resolution, limit, hear)
    recipe = defaults.recipe(images, epochs=epochs, batch_size=batch_size, precision=precision)
    settings = Settings(
        space=asked.name,
        space_digest=asked.spec.digest,
        windows={f: (w.low, w.high) for f, w in wanted.windows.items()},
        objectives=tuple(goal.name for goal in goals),
        sampler=chosen,
        seed=seed,
        data="" if images is None else images.name,
        data_digest="" if images is None else images.digest,
        resolution=size,
        device=here.kind,
        recipe=recipe.model_dump(mode="json"),
        version=__version__,
    )
    name = check_name(study or default_name(asked, wanted, settings))
    place = Path(folder) / name
    shop = Workshop(
        found, goals, settings, recipe, images, place, device, here.name, hear, function,
        should_stop, worker_at(place),
    )  # fmt: skip
    _leave(should_stop)
    count = trials or defaults.trials(images, goals)
    if found.is_exact and found.count < count:
        hear.note(f"there are {found.count:,} networks inside the budget: all are tried")
        count = found.count
    return Ready(name, shop, wanted, budget, store.url_of(storage, place), count)


def _leave(should_stop: Callable[[], bool]) -> None:
    """Stop before anything was begun."""
    from archspec.search.train.outcomes import Interrupted

    if should_stop():
        raise Interrupted("interrupted before the search began")
