"""A search from beginning to end: the call behind `archspec search`."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from archspec.errors import ArchspecError
from archspec.search import defaults
from archspec.search.bench import Bench, opened
from archspec.search.budgets import Budget
from archspec.search.kept import WEIGHTS
from archspec.search.listener import Listener
from archspec.search.objectives import Function
from archspec.search.plan import Plan
from archspec.search.processes import threads_each
from archspec.search.ready import Ready, prepare
from archspec.search.record import Record
from archspec.search.space import Space
from archspec.spec import Spec

if TYPE_CHECKING:
    from optuna.study import Study

    from archspec.search.data.images import Data


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
    ray: str | None = None,
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
        ray: the address of a Ray cluster, `HOST:PORT` or `auto`: the workers are tasks there, one
            GPU each where this machine has one. `storage` must then be a database's URL.
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
        MissingError: Ray is asked for and not installed.
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
    check_workers(workers, objective, elsewhere=ray is not None)
    with contextlib.ExitStack() as cluster, contextlib.ExitStack() as stack:
        if ray is not None:
            from archspec.search import on_ray, ray_cluster

            ray_cluster.check(ray, storage, device)
            cluster.enter_context(ray_cluster.joined(ray, listener or Listener()))
        ready = prepare(**asked, listener=listener, should_stop=should_stop)
        bench = stack.enter_context(opened(ready, alone=storage is None))
        plan = _planned(ready, bench, finalists, time_limit)
        try:
            if ray is not None:
                on_ray.work(asked, workers, ready, bench, plan, should_stop)
                cluster.close()  # Ray ends this process too where its head dies
            elif (count := _enough(workers, plan, ready.shop.listener)) > 1:
                from archspec.search import crew

                threads = threads_each(count, ready.shop.settings.device)
                crew.work({**asked, "study": ready.name, "threads": threads}, count, plan,
                          ready.shop.listener, should_stop)  # fmt: skip
            else:
                try_networks(bench, plan.trials, plan.time_limit)
            return _finish(bench, plan, report)
        except Interrupted:
            raise _interrupted(bench.study, plan) from None


def _enough(workers: int, plan: Plan, listener: Listener) -> int:
    """How many workers to start: no more than there are networks left to try."""
    left = max(0, plan.trials - plan.finished)
    if left and left < workers:
        one = "1 network is left to try, and 1 worker is enough"
        many = f"{left} networks are left to try, and {left} workers are enough"
        listener.note(one if left == 1 else many)
    return min(workers, left)


def _planned(ready: Ready, bench: Bench, finalists: int, time_limit: float | None) -> Plan:
    """What is going to be done, worked out, kept and told."""
    from archspec.search import storage as store
    from archspec.search.planning import keep, plan_of
    from archspec.search.retries import DEATHS, finished, lost
    from archspec.search.trying import recovered

    study, shop = bench.study, bench.shop
    again = recovered(bench)
    if study.user_attrs.get(store.CLOSER) == shop.worker:  # killed at that
        study.set_user_attr(store.CLOSER, None)
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


def _interrupted(study: Study, plan: Plan) -> ArchspecError:
    from archspec.search.retries import finished
    from archspec.search.train.outcomes import Interrupted

    return Interrupted(
        f"interrupted with {finished(study)} of {plan.trials} trials done; "
        "no finished trial or epoch is lost",
        hint="the same command goes on",
    )


@contextlib.contextmanager
def _closing(study: Study, worker: str) -> Iterator[None]:
    """Let the study say who trains its finalists, for as long as the block lasts."""
    from archspec.search.storage import CLOSER

    study.set_user_attr(CLOSER, worker)
    try:
        yield
    except BaseException:
        with contextlib.suppress(Exception):  # the first fault is the one to be told
            study.set_user_attr(CLOSER, None)
        raise
    study.set_user_attr(CLOSER, None)


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
            with _closing(study, shop.worker):
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
