"""A study that is open, and one process's place at it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from archspec.search import defaults
from archspec.search.errors import StudyError
from archspec.search.ready import Ready
from archspec.search.settings import check_same

if TYPE_CHECKING:
    from optuna.study import Study

    from archspec.search.candidate import Workshop
    from archspec.search.patience import PatientStorage
    from archspec.search.workers import Watch


@dataclass(frozen=True)
class Bench:
    """A study that is open, and the process's place at it."""

    study: Study
    shop: Workshop
    storage: PatientStorage
    watch: Watch | None
    """Where others may work at the study too."""


@contextlib.contextmanager
def opened(ready: Ready, *, alone: bool, patient: bool = False) -> Iterator[Bench]:
    """Open the study and take a place at it.

    Args:
        alone: no other process may search in the study's folder meanwhile.
        patient: wait for a database that does not answer, as one does once it has.

    Raises:
        StudyError: it is another study, or cannot be kept.
    """
    from archspec.search import database
    from archspec.search import storage as store
    from archspec.search.patience import LIMIT, Patience
    from archspec.search.turns import Turn
    from archspec.search.workers import Watch, await_absence, placed

    shop = ready.shop
    shop.listener.busy("opening the study")
    where = store.shown(ready.url)
    limit = 0 if alone else LIMIT
    patience = Patience(where, limit, shop.listener.note, shop.should_stop, patient)
    with contextlib.ExitStack() as stack:
        if alone:
            stack.enter_context(store.locked(shop.folder))
            await_absence(shop.folder)
        else:
            shop = replace(shop, worker=stack.enter_context(placed(shop.folder)))
        stack.enter_context(store.quiet())
        storage = stack.enter_context(
            store.connected(ready.url, shared=not alone, patience=patience)
        )
        watch = None if alone else Watch(
            shop.folder, shop.worker, database.HEARTBEAT, patience.steady
        )  # fmt: skip
        # workers that begin at the same instant: the first one says what the study is
        with Turn(None if alone else storage, f"{ready.name} start").taken():
            study = _open(ready.name, storage, shop)
        yield Bench(study, shop, storage, watch)


def _open(name: str, database: PatientStorage, shop: Workshop) -> Study:
    from optuna.pruners import BasePruner, NopPruner

    from archspec.search import storage as store
    from archspec.search.pruning import SuccessiveHalving
    from archspec.search.samplers import samplers

    pruner: BasePruner = NopPruner()
    if len(shop.objectives) == 1:
        pruner = SuccessiveHalving(defaults.rungs(shop.recipe.epochs), defaults.REDUCTION)
    settings = shop.settings
    study = store.open_study(
        name, database, [goal.direction for goal in shop.objectives],
        samplers()[settings.sampler](shop.feasible, settings.seed), pruner,
    )  # fmt: skip
    kept = study.user_attrs.get(store.SETTINGS)
    if kept is not None:
        check_same(name, settings, kept)
        return study
    if study.get_trials(deepcopy=False):
        raise StudyError(
            f"the study {name!r} was not made by archspec",
            hint="choose another name with --study",
        )
    study.set_user_attr(store.SETTINGS, settings.model_dump(mode="json"))
    return study
