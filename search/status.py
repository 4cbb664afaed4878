"""How a search stands at this moment, while it runs or not: what `archspec search status` prints.

Everything is read: from the study's trials, from the signs of life that their workers leave in the
database, and from the locks of the workers of this machine.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import sqlalchemy as sql
from optuna.storages import RDBStorage
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from archspec.search import database
from archspec.search.addresses import shown
from archspec.search.choose import best, results_of
from archspec.search.kept import LOCK, WINNER, is_held
from archspec.search.reading import objectives_of, record, trial_record
from archspec.search.record import Finalist, TrialRecord
from archspec.search.retries import DEVICE, EPOCHS, WORKER, finished, is_cut, lost, place_of
from archspec.search.samplers.history import OUTCOME
from archspec.search.storage import CLOSER, PLAN
from archspec.search.workers import lock_of, parted, places_in, worker_at

HOUR = 3600.0
"""Seconds of the past that the rate is taken over."""
_ENDED = (TrialState.COMPLETE, TrialState.PRUNED)


@dataclass(frozen=True)
class Counts:
    """Networks, each counted once however often it was cut."""

    asked: int
    """How many there are to be."""
    finished: int
    """Tried to an end, good or bad."""
    complete: int
    pruned: int
    failed: int
    """By a fault of their own (diverged, out of memory, …), or given up after too many kills."""
    running: int
    waiting: int
    """Cut, and queued to be run again."""
    cut: int
    """Attempts that were cut: killed, or stopped."""


@dataclass(frozen=True)
class Worker:
    """A process that searches."""

    machine: str
    folder: str
    place: int | None
    """Among the workers of its machine; None for the only one of a study in a file."""
    state: Literal["alive", "silent", "gone", "unknown"]
    """`silent`: without a sign of life for longer than two are apart. `gone`: its process has
    ended. `unknown`: it leaves no signs of life, and runs on another machine, if it does."""
    trial: int | None = None
    """What it tries now; None between two, while it trains finalists, and of a process that looks
    after workers."""
    epochs: int | None = None
    """That the trial has behind it."""
    device: str | None = None
    silent_for: float | None = None
    """Seconds since its last sign of life, by the database's clock."""
    finalist: int | None = None
    """The trial whose network it trains again now, if it is that which does."""

    @property
    def name(self) -> str:
        return self.machine if self.place is None else f"{self.machine} #{self.place}"


@dataclass(frozen=True)
class Status:
    """How a search stands."""

    study: str
    storage: str
    """Without a password."""
    space: str
    budget: str
    objectives: tuple[str, ...]
    counts: Counts
    workers: tuple[Worker, ...]
    best: TrialRecord | None
    """The best so far; of several objectives, that of the front which is nearest to the best of
    each."""
    per_hour: float | None
    """Networks finished per hour, over the last hour at most; None where nobody works."""
    seconds_left: float | None
    """Finalists included; None where nothing is known of it."""
    finalists: tuple[Finalist, ...]
    finalists_asked: int
    winner: int | None
    """The number of its trial, once the search has ended."""
    rule: str
    winner_file: str | None
    """Where it is, if it is on this machine."""
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def status(study: Study, storage: RDBStorage, folder: Path, url: str) -> Status:
    """How a search stands; nothing is changed.

    Args:
        storage: the study's.
        folder: the study's, on this machine; it need not exist.
        url: the storage's.

    Raises:
        StudyError: the study is none of archspec's.
    """
    found = record(study)
    plan: dict[str, Any] = study.user_attrs[PLAN]
    trials = study.get_trials(deepcopy=False)
    ages = _ages(storage, study.study_name)
    counts = _counts(study, trials, int(plan["trials"]))
    objectives = objectives_of(found.objectives)
    wanted = best(study, objectives, plan["finalists"]) if plan["finalists"] else []
    again = results_of(study.user_attrs)
    to_train = [trial.number for trial in wanted if trial.number not in again]
    left = len(to_train)
    closer = study.user_attrs.get(CLOSER) if to_train else None
    workers = _workers(trials, ages, folder, None if closer is None else (closer, to_train[0]))
    is_over = not counts.running and (not left if wanted else counts.finished >= counts.asked)
    leading = [t for t in best(study, objectives, 1) if t.state == TrialState.COMPLETE]
    is_worked_at = any(worker.state in ("alive", "silent") for worker in workers)
    rate = _rate(trials, ages) if is_worked_at else None
    named = found.winner if is_over else None
    file = folder / WINNER
    return Status(
        study=study.study_name, storage=shown(url), space=found.space,
        budget=found.budget, objectives=found.objectives, counts=counts, workers=workers,
        best=trial_record(leading[0]) if leading else None,
        per_hour=rate,
        seconds_left=_seconds_left(trials, counts, rate, left),
        finalists=found.finalists, finalists_asked=int(plan["finalists"]),
        winner=named, rule="" if named is None else found.rule,
        winner_file=str(file) if named is not None and file.is_file() else None,
        notes=tuple(_notes(counts, workers, is_over)),
    )  # fmt: skip


def _counts(study: Study, trials: Sequence[FrozenTrial], asked: int) -> Counts:
    def places(wanted: Sequence[FrozenTrial]) -> int:
        return len({place_of(trial) for trial in wanted})

    failed = {place_of(trial) for trial in trials if OUTCOME in trial.user_attrs}
    return Counts(
        asked=asked,
        finished=finished(study),
        complete=places([t for t in trials if t.state == TrialState.COMPLETE]),
        pruned=places([t for t in trials if t.state == TrialState.PRUNED]),
        failed=len(failed | lost(trials)),
        running=places([t for t in trials if t.state == TrialState.RUNNING]),
        waiting=places([t for t in trials if t.state == TrialState.WAITING]),
        cut=sum(is_cut(trial) for trial in trials),
    )


# -- workers ---------------------------------------------------------------------------------------


def _ages(storage: RDBStorage, study: str) -> dict[int, float]:
    """The number of each trial → seconds since its last sign of life, by the database's clock.

    Optuna's own tables, as its storage reads them: a column without a time zone, in that of the
    connection.
    """
    studies = sql.table("studies", sql.column("study_id"), sql.column("study_name"))
    trials = sql.table(
        "trials", sql.column("trial_id"), sql.column("study_id"), sql.column("number")
    )
    signs = sql.table(
        "trial_heartbeats", sql.column("trial_id"), sql.column("heartbeat", sql.DateTime)
    )
    ask = (
        sql.select(trials.c.number, signs.c.heartbeat)
        .join_from(signs, trials, signs.c.trial_id == trials.c.trial_id)
        .join(studies, studies.c.study_id == trials.c.study_id)
        .where(studies.c.study_name == study)
    )
    with storage.engine.connect() as connection:
        rows = connection.execute(ask).all()
        now = connection.execute(sql.select(sql.func.now())).scalar_one().replace(tzinfo=None)
    return {number: (now - sign).total_seconds() for number, sign in rows}


def _workers(
    trials: Sequence[FrozenTrial],
    ages: Mapping[int, float],
    folder: Path,
    closer: tuple[str, int] | None,
) -> tuple[Worker, ...]:
    """Those whose trials run by the study's word, and those of this machine that are there.

    Args:
        closer: which worker trains a finalist by the study's word, and the number of its trial.
    """
    here = set(_present(folder))
    found = []
    for trial in trials:
        worker = trial.user_attrs.get(WORKER)
        if trial.state != TrialState.RUNNING or worker is None:
            continue
        at, age = parted(worker), ages.get(trial.number)
        state = _state(worker, age, folder)
        here.discard(worker)
        device, epochs = trial.user_attrs.get(DEVICE), trial.user_attrs.get(EPOCHS)
        found.append(
            Worker(at.machine, at.folder, at.place, state, trial.number, epochs, device, age)
        )
    if closer is not None:
        name, number = closer
        here.discard(name)
        found.append(Worker(*parted(name), _state(name, None, folder), finalist=number))
    found += [Worker(*parted(name), "alive") for name in here]
    return tuple(sorted(found, key=lambda w: (w.machine, w.folder, w.place or 0, w.trial or 0)))


def _present(folder: Path) -> list[str]:
    """What the processes call themselves that are at a folder's study on this machine now."""
    found = [
        worker_at(folder, place) for place in places_in(folder) if is_held(lock_of(folder, place))
    ]
    # where there are others, the one without a place looks after them and tries no networks
    return found or ([worker_at(folder)] if is_held(folder / LOCK) else [])


def _state(
    worker: str, age: float | None, folder: Path
) -> Literal["alive", "silent", "gone", "unknown"]:
    at = parted(worker)
    # of other folders nothing is looked at: what stands in a database is no path to follow
    is_here = f"{at.machine}:{at.folder}" == worker_at(folder)
    if is_here and not is_held(folder / LOCK if at.place is None else lock_of(folder, at.place)):
        return "gone"
    if age is not None and age > 2 * database.HEARTBEAT:
        return "silent"
    return "alive" if is_here or age is not None else "unknown"


# -- how fast --------------------------------------------------------------------------------------


def _rate(trials: Sequence[FrozenTrial], ages: Mapping[int, float]) -> float | None:
    """Networks finished per hour over the last hour, or since the first of those was begun.

    When a trial ended is told by its last sign of life where there is one: the clocks of the
    workers may differ, the database has one.
    """
    now, count, span = datetime.datetime.now(), 0, 0.0
    for trial in trials:
        if not (trial.state in _ENDED or OUTCOME in trial.user_attrs) or trial.duration is None:
            continue
        assert trial.datetime_complete is not None
        age = ages.get(trial.number, (now - trial.datetime_complete).total_seconds())
        if age <= HOUR:
            count += 1
            span = max(span, age + trial.duration.total_seconds())
    return count * HOUR / min(max(span, 1e-3), HOUR) if count else None


def _seconds_left(
    trials: Sequence[FrozenTrial], counts: Counts, rate: float | None, finalists: int
) -> float | None:
    if rate is None:
        return None
    whole = [
        t.duration.total_seconds()
        for t in trials
        if t.state == TrialState.COMPLETE and t.duration is not None
    ]
    each = sum(whole) / len(whole) if whole else 0.0
    return max(0, counts.asked - counts.finished) * HOUR / rate + finalists * each


# -- what is to be said of it ----------------------------------------------------------------------


def _notes(counts: Counts, workers: Sequence[Worker], is_over: bool) -> list[str]:
    notes = []
    is_worked_at = any(worker.state == "alive" for worker in workers)
    for worker in workers:
        if worker.state == "gone":
            then = "another worker runs" if is_worked_at else "the same search command runs"
            what = f"{then} trial {worker.trial} again"
            if worker.trial is None:
                what = "the same search command trains the finalists that are left"
            notes.append(f"{worker.name} has ended: {what}")
        elif worker.state == "silent":
            notes.append(
                f"{worker.name} has given no sign of life for {worker.silent_for:.0f} s: frozen, "
                f"or cut off; after {database.GRACE} s trial {worker.trial} is run again"
            )
        elif worker.state == "unknown":
            if worker.trial is None:
                notes.append(f"whether {worker.name} still trains finalists, only it knows")
                continue
            notes.append(
                f"whether trial {worker.trial} still runs, {worker.machine} knows: a study in a "
                "file has no signs of life"
            )
    if not is_over and not is_worked_at and not notes:
        notes.append("nobody works at it: the same search command goes on")
    return notes
