"""A search from beginning to end: the call behind `archspec search`."""

from __future__ import annotations

import contextlib
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from archspec.errors import ArchspecError, Mark, SpecError
from archspec.search import defaults
from archspec.search.budgets import Budget
from archspec.search.budgets import budget as read_budget
from archspec.search.errors import SpaceError, StudyError
from archspec.search.feasibility import FeasibleSet, feasible
from archspec.search.listener import Listener
from archspec.search.objectives import Function, Objective, objectives
from archspec.search.plan import Plan
from archspec.search.record import Record
from archspec.search.settings import Settings, check_name, check_same, default_name
from archspec.search.space import Space
from archspec.spec import Spec

if TYPE_CHECKING:
    from optuna.study import Study
    from optuna.trial import FrozenTrial

    from archspec.search.candidate import Workshop
    from archspec.search.data.images import Data


@dataclass(frozen=True)
class Outcome:
    """What a search ends with."""

    record: Record
    winner: Spec | None
    """At its own input size, without holes; None if no trial came to an end."""
    folder: Path
    report: Path | None


def run(
    space: Space | Spec | str | Path = defaults.SPACE,
    budget: Budget | Spec | str | Path | Sequence[str] = (),
    *,
    objective: str | Function = "accuracy",
    trials: int | None = None,
    time_limit: float | None = None,
    data: str | Data | None = None,
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
    folder: str | Path = defaults.FOLDER,
    report: bool = True,
    listener: Listener | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Outcome:
    """Search a space for the best network within a budget.

    The same arguments go on with the same study: nothing that has ended is done again. No network
    outside the budget is ever trained.

    Args:
        space: a spec with holes.
        budget: see `archspec.search.budgets.budget`. The cost of a network is counted at the spec's
            own input size, whatever size it is trained at.
        objective: `accuracy`, `latency`, …, several with commas between; or a function that gives
            a number for a `Spec`, higher is better.
        trials: networks to try.
        time_limit: seconds after which no further trial begins.
        data: an image folder, a Parquet file, a Hugging Face data set; scikit-learn's digits if
            None.
        limit: training images at most.
        study: its name; made of the settings if None.
        storage: an SQLite file or a database's URL; a file in the study's folder if None.
        device: `auto`, `cpu`, `cuda`, `cuda:1`.
        resolution: height and width to train at; a small one that the space allows if None.
        sampler: `tpe`, `gp`, `uniform` or `nsga2`; tpe, or nsga2 for several objectives, if None.
        epochs: of one candidate's training.
        finalists: how many of the best are trained again with fresh seeds.
        folder: where studies are kept.
        report: whether to write the page and its pictures at the end.
        should_stop: asked often; when it says so, the search is left as after Ctrl-C.

    Raises:
        BudgetError: nothing in the space meets it.
        StudyError: the study is another one, or cannot be kept.
        Interrupted: `should_stop` said so.
        ArchspecError: whatever else is wrong, before anything is trained.
    """
    hear = listener or Listener()
    if finalists < 0 or (trials is not None and trials < 1):
        raise ArchspecError("expected at least one trial and no negative number of finalists")
    if seed < 0:
        raise ArchspecError(f"a seed is 0 or more, found {seed}")
    asked = space if isinstance(space, Space) else Space(space)
    wanted = _budget(budget)
    goals = (
        objectives(objective)
        if isinstance(objective, str)
        else (Objective(_name(objective), "maximize", "function", "a function of the caller"),)
    )
    function = None if isinstance(objective, str) else objective
    hear.busy(f"counting the networks of {asked.name}")
    found = feasible(asked, wanted)
    found.check()
    chosen = _sampler(sampler, goals)

    hear.busy("reading the data")
    size, images = _data(asked, found, data, resolution, limit, seed, goals, function)
    recipe = defaults.recipe(images, epochs=epochs, batch_size=batch_size, precision=precision)
    from archspec.search.machine import machine

    here = machine(device)
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
    )
    name = check_name(study or default_name(asked, wanted, settings))
    count = min(trials or defaults.trials(images, goals), found.count if found.is_exact else 10**9)
    place = Path(folder) / name

    from archspec.search import storage as store
    from archspec.search.candidate import Workshop

    shop = Workshop(
        found, goals, settings, recipe, images, place, device, here.name, hear, function,
        should_stop,
    )  # fmt: skip
    url = store.url_of(storage, place)
    with store.locked(place), store.messages(store.shown(url)):
        database = store.connect(url)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Optuna's notes on what is experimental
            opened = _open(name, database, shop, chosen, settings)
            again = store.recover(opened) if storage is None else []
            done = store.finished(opened)
            if done:
                hear.resumed(done, len(again))
            plan = _plan(shop, opened, url, count, done, finalists, time_limit)
            _keep(opened, plan, shop, wanted, budget)
            hear.planned(plan)
            _search(opened, shop, plan, time_limit)
            return _finish(opened, shop, plan, report)


def _name(function: Function) -> str:
    return getattr(function, "__name__", "function").strip("<>")


def _budget(given: Budget | Spec | str | Path | Sequence[str]) -> Budget:
    if isinstance(given, Budget | Spec | str | Path):
        found = read_budget(given)
    else:
        found = read_budget(*given)
    if not found.windows:
        raise ArchspecError(
            "a search needs a budget", hint="such as --budget 5GFLOPs, or --budget smlpnet_t"
        )
    return found


def _sampler(name: str | None, goals: Sequence[Objective]) -> str:
    from archspec.errors import did_you_mean
    from archspec.search.samplers import samplers

    if name is None:
        return "nsga2" if len(goals) > 1 else "tpe"
    if name not in samplers():
        raise ArchspecError(f"there is no sampler {name!r}", hint=did_you_mean(name, samplers()))
    return name


def _data(
    space: Space,
    found: FeasibleSet,
    source: str | Data | None,
    resolution: int | None,
    limit: int | None,
    seed: int,
    goals: Sequence[Objective],
    function: Function | None,
) -> tuple[tuple[int, int], Data | None]:
    """The size to train at, and the images at that size."""
    from archspec.search.data.images import Data

    if function is not None or not any(goal.needs in ("training", "scores") for goal in goals):
        shape = space.spec.input
        return (shape["height"], shape["width"]), None
    if isinstance(source, Data):
        height, width = source.train.images_NCHW.shape[2:]
        _fits(space, found, (height, width), len(source.classes), "the data")
        return (height, width), source
    from archspec.search.data import load

    size = _resolution(space, found, resolution)
    loaded = load(source, size=size, channels=space.spec.input["channels"], limit=limit, seed=0)
    _fits(space, found, size, len(loaded.classes), "the data")
    return size, loaded


def _resolution(space: Space, found: FeasibleSet, asked: int | None) -> tuple[int, int]:
    own = (space.spec.input["height"], space.spec.input["width"])
    if asked is not None:
        _fits(space, found, (asked, asked), 10, "--resolution")
        return (asked, asked)
    for side in defaults.RESOLUTIONS:
        if side < min(own):
            with contextlib.suppress(SpaceError):
                _fits(space, found, (side, side), 10, "--resolution")
                return (side, side)
    return own


def _fits(
    space: Space, found: FeasibleSet, size: tuple[int, int], classes: int, origin: str
) -> None:
    """Refuse a size that networks of the space cannot have."""
    import numpy as np

    from archspec.expansion import expand

    values = {"input.height": size[0], "input.width": size[1], "classes": classes}
    for row in found.sample(8, np.random.default_rng(0)):
        try:
            expand(space.spec_of(row).with_values(values, origin=origin))
        except SpecError as error:
            own = space.spec.input
            raise SpaceError(
                f"{space.name} has no networks for images of {size[0]}×{size[1]}: {error.message}",
                mark=Mark(origin),
                hint=f"its own size is {own['height']}×{own['width']}",
            ) from None


def _open(name: str, database: Any, shop: Workshop, sampler: str, settings: Settings) -> Study:
    from optuna.pruners import BasePruner, NopPruner, SuccessiveHalvingPruner

    from archspec.search import storage as store
    from archspec.search.samplers import samplers

    pruner: BasePruner = NopPruner()
    if len(shop.objectives) == 1 and defaults.rungs(shop.recipe.epochs):
        pruner = SuccessiveHalvingPruner(min_resource=1, reduction_factor=defaults.REDUCTION)
    study = store.open_study(
        name, database, [goal.direction for goal in shop.objectives],
        samplers()[sampler](shop.feasible, settings.seed), pruner,
    )  # fmt: skip
    kept = study.user_attrs.get(store.SETTINGS)
    if kept is None:
        if study.get_trials(deepcopy=False):
            raise StudyError(
                f"the study {name!r} was not made by archspec",
                hint="choose another name with --study",
            )
        study.set_user_attr(store.SETTINGS, settings.model_dump(mode="json"))
    else:
        check_same(name, settings, kept)
    return study


def _plan(
    shop: Workshop,
    study: Study,
    url: str,
    trials: int,
    done: int,
    finalists: int,
    time_limit: float | None,
) -> Plan:
    from archspec.search import storage as store
    from archspec.search.estimate import seconds_left

    trained = any(goal.needs == "training" for goal in shop.objectives)
    rungs = defaults.rungs(shop.recipe.epochs) if trained and len(shop.objectives) == 1 else ()
    finalists = 0 if shop.data is None else finalists
    seconds = None
    left = max(0, trials - done)
    if shop.data is not None and (left or _unfinished(study, finalists)):
        shop.listener.busy("timing a few steps")
        seconds = seconds_left(
            shop, left if trained else 0, rungs, defaults.REDUCTION,
            finalists if left else _unfinished(study, finalists),
        )  # fmt: skip
        if time_limit is not None:
            seconds = min(seconds, time_limit + seconds_left(shop, 0, (), 2, finalists))
    found = shop.feasible
    return Plan(
        study=study.study_name,
        folder=str(shop.folder),
        storage=store.shown(url),
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
        seconds=seconds,
        time_limit=time_limit,
    )


def _unfinished(study: Study, wanted: int) -> int:
    from archspec.search.choose import finalists

    return max(0, wanted - len(finalists(study.user_attrs)))


def _keep(study: Study, plan: Plan, shop: Workshop, wanted: Budget, given: object) -> None:
    """Keep in the study what its report will say."""
    from archspec.search import storage as store
    from archspec.search.reading import versions

    spec = shop.feasible.space.spec
    facts = plan.to_dict() | {
        "budget": str(wanted),
        "source": spec.header.source,
        "reference": _reference(shop.feasible.space, given),
        "versions": versions(),
        "device_name": shop.device_name,
    }
    study.set_user_attr(store.PLAN, facts)


def _reference(space: Space, given: object) -> str | None:
    """The network that the winner is compared with: the budget's, or the one the space varies."""
    from archspec.spec import as_spec

    names = [given] if isinstance(given, str | Path) else list(given) if isinstance(
        given, list | tuple
    ) else []  # fmt: skip
    for name in (*names, space.spec.header.extends):
        with contextlib.suppress(ArchspecError, TypeError):
            found = as_spec(name)  # type: ignore[arg-type]
            if found.is_network and not found.holes:
                return str(name)
    return None


def _search(study: Study, shop: Workshop, plan: Plan, time_limit: float | None) -> None:
    from optuna.trial import TrialState

    from archspec.search import storage as store
    from archspec.search.candidate import Candidate, caught
    from archspec.search.choose import complete
    from archspec.search.reading import trial_record

    began = time.monotonic()
    direction = shop.objectives[0].direction

    def after(study: Study, trial: FrozenTrial) -> None:
        values = [t.values[0] for t in complete(study)]
        best = (max if direction == "maximize" else min)(values) if values else None
        done = store.finished(study)
        shop.listener.ended(trial_record(trial), done, best)
        late = time_limit is not None and time.monotonic() - began >= time_limit
        if done >= plan.trials or late or shop.should_stop():
            study.stop()

    if store.finished(study) < plan.trials:
        study.optimize(
            Candidate(shop), n_trials=None, callbacks=[after], catch=caught(),
        )  # fmt: skip
    if shop.should_stop():
        raise _interrupted(study, plan)
    ended = [t for t in study.get_trials(deepcopy=False) if t.state == TrialState.FAIL]
    if not complete(study):
        reasons = {t.user_attrs.get("message", "interrupted") for t in ended}
        shop.listener.note(
            "no trial came to an end" + "".join(f"\n  {reason}" for reason in sorted(reasons)[:3])
        )


def _interrupted(study: Study, plan: Plan) -> ArchspecError:
    from archspec.search import storage as store
    from archspec.search.train.outcomes import Interrupted

    done = store.finished(study)
    return Interrupted(
        f"interrupted with {done} of {plan.trials} trials done; nothing is lost",
        hint="the same command goes on",
    )


def _finish(study: Study, shop: Workshop, plan: Plan, report: bool) -> Outcome:
    from archspec.search.choose import best, train_again
    from archspec.search.reading import record
    from archspec.search.winner import write_specs

    if plan.finalists:
        train_again(study, shop, best(study, shop.objectives, plan.finalists))
    found = record(study)
    winner = write_specs(found, shop.feasible.space, shop.folder)
    page = None
    if report:
        shop.listener.busy("drawing the report")
        page = write_report(found, shop.folder, winner)
    shop.listener.won(found)
    return Outcome(found, winner, shop.folder, page)


def write_report(found: Record, folder: Path, winner: Spec | None) -> Path:
    """The page and the pictures of a study, in its folder."""
    from archspec.search.report import write
    from archspec.spec import load

    reference = None
    if found.reference is not None:
        with contextlib.suppress(ArchspecError):
            reference = load(found.reference)
    return write(found, folder, winner=winner, reference=reference)
