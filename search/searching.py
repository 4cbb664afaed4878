"""A search from beginning to end: the call behind `archspec search`."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from archspec.errors import ArchspecError
from archspec.search import defaults
from archspec.search.budgets import Budget
from archspec.search.errors import StudyError
from archspec.search.feasibility import feasible
from archspec.search.kept import WEIGHTS
from archspec.search.listener import Listener
from archspec.search.objectives import Function
from archspec.search.plan import Plan
from archspec.search.processes import threads_each
from archspec.search.record import Record
from archspec.search.settings import Settings, check_name, check_same, default_name
from archspec.search.space import Space
from archspec.spec import Spec

if TYPE_CHECKING:
    from optuna.study import Study

    from archspec.search.candidate import Workshop
    from archspec.search.data.images import Data
    from archspec.search.patience import PatientStorage
    from archspec.search.workers import Watch


@dataclass(frozen=True)
class Outcome:
    """What a search ends with."""

    record: Record
    winner: Spec | None
    """At its own input size, without holes; None if no trial came to an end."""
    folder: Path
    report: Path | None
    weights: Path | None = None
    """Of the winner's whole training with a fresh seed, at the size and with the classes that it
    was trained with (`archspec.search.kept.Facts`, beside it); None if it had none."""
    is_elsewhere: bool = False
    """Whether another worker of the study is naming the winner."""


def run(
    space: Space | Spec | str | Path = defaults.SPACE,
    budget: Budget | Spec | str | Path | Sequence[str] = (),
    *,
    objective: str | Function = "accuracy",
    trials: int | None = None,
    time_limit: float | None = None,
    data: str | Path | Data | None = None,
    limit: int | None = None,
    study: str | None = None,
    storage: str | None = None,
    seed: int = 0,
    device: str = "auto",
    resolution: int | None = None,
    sampler: str | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    precision: str | None = None,
    finalists: int = defaults.FINALISTS,
    workers: int = 1,
    folder: str | Path = defaults.FOLDER,
    report: bool = True,
    listener: Listener | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Outcome:
    """Search a space for the best network within a budget.

    The same arguments go on with the same study: nothing that has ended is done again, and what was
    cut, also by `kill -9`, is taken up at its last epoch. No network outside the budget is ever
    trained. Nothing is printed.

    Args:
        space: a spec with holes.
        budget: see `archspec.search.budgets.budget`. The cost of a network is counted at the spec's
            own input size, whatever size it is trained at.
        objective: `accuracy`, `latency`, …, several with commas between; or a function that gives
            a number for a `Spec`, higher is better. A network for which it gives NaN or an infinity
            has failed; what it raises ends the search, and the same call tries that network again.
        trials: networks to try, those of earlier calls included; all that there are, if fewer.
        time_limit: seconds after which no further trial begins. The finalists come after it.
        data: an image folder, a Parquet file, a Hugging Face data set; scikit-learn's digits if
            None.
        limit: training images at most.
        study: its name; made of the settings if None.
        storage: an SQLite file or a database's URL; a file in the study's folder if None.
        seed: of the choice of networks and of their training; 0 or more.
        device: `auto`, `cpu`, `cuda`, `cuda:1`.
        resolution: height and width to train at; a small one that the space allows if None.
        sampler: `tpe`, `gp`, `uniform` or `nsga2`; tpe, or nsga2 for several objectives, if None.
        epochs: of one candidate's training.
        batch_size: images per step; by the size of the data if None.
        precision: `fp32` or `bf16`; bf16 on CUDA, else fp32, if None.
        finalists: how many of the best are trained again with fresh seeds.
        workers: processes on this machine that try networks, one GPU each where there are several.
            More may work at the same study elsewhere, by the same call with the same `storage` and
            `study`.
        folder: where studies are kept.
        report: whether to write the page and its pictures at the end.
        listener: who is told how it goes.
        should_stop: asked often; when it says so, the search is left as after Ctrl-C.

    Returns:
        What is known of the study and its winner. The winner also stands in
        `FOLDER/STUDY/winner.yaml`, its weights in `winner.safetensors` there, and the report in
        `report.html`.

    Raises:
        BudgetError: nothing in the space meets it.
        SpaceError: the spec leaves nothing open, or has no networks for the data's images.
        DataError: the data cannot be read.
        StudyError: the study is another one, or cannot be kept.
        Interrupted: `should_stop` said so.
        ArchspecError: whatever else is wrong, before anything is trained.
    """
    from archspec.search.preparing import check_workers
    from archspec.search.train.outcomes import Interrupted
    from archspec.search.trying import try_networks

    asked: dict[str, Any] = {
        "space": space, "budget": budget, "objective": objective, "trials": trials,
        "time_limit": time_limit, "data": data, "limit": limit, "study": study,
        "storage": storage, "seed": seed, "device": device, "resolution": resolution,
        "sampler": sampler, "epochs": epochs, "batch_size": batch_size, "precision": precision,
        "finalists": finalists, "folder": folder,
    }  # fmt: skip
    check_workers(workers, objective)
    ready = prepare(**asked, listener=listener, should_stop=should_stop)
    with opened(ready, alone=storage is None) as bench:
        plan = _planned(ready, bench, finalists, time_limit)
        try:
            if workers > 1:
                from archspec.search import crew

                threads = threads_each(workers, ready.shop.settings.device)
                crew.work({**asked, "study": ready.name, "threads": threads}, workers, plan,
                          ready.shop.listener, should_stop)  # fmt: skip
            else:
                try_networks(bench, plan.trials, plan.time_limit)
            return _finish(bench, plan, report)
        except Interrupted:
            raise _interrupted(bench.study, plan) from None


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
        watch = None if alone else Watch(shop.folder, shop.worker, database.HEARTBEAT)
        # workers that begin at the same instant: the first one says what the study is
        with Turn(None if alone else storage, f"{ready.name} start").taken():
            study = _open(ready.name, storage, shop)
        yield Bench(study, shop, storage, watch)


def _planned(ready: Ready, bench: Bench, finalists: int, time_limit: float | None) -> Plan:
    """What is going to be done, worked out, kept and told."""
    from archspec.search import storage as store
    from archspec.search.planning import keep, plan_of
    from archspec.search.retries import DEATHS, finished, lost
    from archspec.search.trying import recovered

    study, shop = bench.study, bench.shop
    again = recovered(bench)
    done = finished(study)
    if done or again:
        shop.listener.resumed(done, len(again))
    for place in sorted(lost(study.get_trials(deepcopy=False))):
        shop.listener.note(
            f"trial {place} is not tried again: its process was killed {DEATHS} times in a row "
            "without coming to the end of an epoch"
        )
    plan = plan_of(shop, study, store.shown(ready.url), ready.trials, done, finalists, time_limit)
    keep(study, plan, shop, ready.budget, ready.given)
    shop.listener.planned(plan)
    return plan


def _leave(should_stop: Callable[[], bool]) -> None:
    """Stop before anything was begun."""
    from archspec.search.train.outcomes import Interrupted

    if should_stop():
        raise Interrupted("interrupted before the search began")


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


def _interrupted(study: Study, plan: Plan) -> ArchspecError:
    from archspec.search.retries import finished
    from archspec.search.train.outcomes import Interrupted

    return Interrupted(
        f"interrupted with {finished(study)} of {plan.trials} trials done; "
        "no finished trial or epoch is lost",
        hint="the same command goes on",
    )


def _finish(bench: Bench, plan: Plan, report: bool) -> Outcome:
    """Train the best again, name a winner, and write it and the report."""
    from archspec.search.choose import best, train_again
    from archspec.search.reading import faults, record
    from archspec.search.report import write_report
    from archspec.search.trained import forget, of_winner
    from archspec.search.turns import Turn
    from archspec.search.winner import write_winner

    study, shop = bench.study, bench.shop
    with contextlib.ExitStack() as stack:
        if bench.watch is not None:
            end = Turn(bench.storage, f"{study.study_name} end")
            if not stack.enter_context(end.taken(patience=0)):
                return Outcome(record(study), None, shop.folder, None, is_elsewhere=True)
        if plan.finalists:
            train_again(study, shop, best(study, shop.objectives, plan.finalists))
        found = record(study)
        fresh = of_winner(found, shop)
        shop.forget_all()
        if found.winner is None:
            reasons = "".join(f"\n  {fault}" for fault in faults(study)[:3])
            shop.listener.note(f"no trial came to its end{reasons}")
        shop.listener.busy("checking the winner")
        winner = write_winner(found, shop, fresh)
        forget(shop)
        page = None
        if report:
            shop.listener.busy("drawing the report")
            page = write_report(found, shop.folder, winner)
        shop.listener.won(found)
        weights = None if fresh is None else shop.folder / WEIGHTS
        return Outcome(found, winner, shop.folder, page, weights)
