"""From a study in its storage to a `Record`."""

from __future__ import annotations

import importlib.metadata
import math
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from archspec.search import storage as store
from archspec.search.candidate import MESSAGE
from archspec.search.choose import choose, complete, finalist_records, front
from archspec.search.errors import StudyError
from archspec.search.objectives import OBJECTIVES, Objective
from archspec.search.record import Network, Record, State, TrialRecord
from archspec.search.retries import is_cut, lost, place_of
from archspec.search.samplers.history import OUTCOME, retry_of
from archspec.search.settings import check_name
from archspec.search.storage import PLAN

_STATES: dict[TrialState, State] = {
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
    TrialState.RUNNING: "running",
    TrialState.WAITING: "waiting",
}
PACKAGES = ("torch", "optuna", "numpy", "kornia", "lightning-fabric")


def trial_record(trial: FrozenTrial, lost: Collection[int] = ()) -> TrialRecord:
    """One trial as plain data.

    Args:
        lost: the places of networks that were given up.
    """
    attrs = trial.user_attrs
    scores = {
        key.removeprefix("score:"): float(value)
        for key, value in attrs.items()
        if key.startswith("score:")
    }
    # when a trial that was cut has really ended, nobody knows
    lasted = None if is_cut(trial) else trial.duration
    seconds = None if lasted is None else lasted.total_seconds()
    started = trial.datetime_start
    return TrialRecord(
        trial.number, _STATES[trial.state],
        tuple(trial.values) if trial.state == TrialState.COMPLETE else (),
        dict(trial.params), attrs.get("flops"), attrs.get("params"), scores,
        {step: v for step, v in trial.intermediate_values.items() if math.isfinite(v)},
        seconds, attrs.get(OUTCOME) or _cut(trial, lost),
        None if started is None else started.isoformat(timespec="seconds"), retry_of(trial),
    )  # fmt: skip


def _cut(trial: FrozenTrial, lost: Collection[int]) -> str | None:
    if not is_cut(trial):
        return None
    return "killed" if place_of(trial) in lost else "interrupted"


def faults(study: Study) -> list[str]:
    """What went wrong with failed trials, each fault once, the most frequent first."""
    trials = study.get_trials(deepcopy=False, states=[TrialState.FAIL])
    counts = Counter(str(t.user_attrs[MESSAGE]) for t in trials if OUTCOME in t.user_attrs)
    return [f"{fault} (×{n})" if n > 1 else fault for fault, n in counts.most_common()]


def objectives_of(names: Sequence[str]) -> tuple[Objective, ...]:
    return tuple(
        OBJECTIVES.get(name) or Objective(name, "maximize", "function", "a function")
        for name in names
    )


def record(study: Study) -> Record:
    """All that is known of a study.

    Raises:
        StudyError: it is none of archspec's.
    """
    plan = study.user_attrs.get(PLAN)
    if plan is None:
        raise StudyError(f"the study {study.study_name!r} was not made by archspec")
    settings = plan["settings"]
    objectives = objectives_of(settings["objectives"])
    winner, rule = choose(study, objectives, plan["finalists"])
    several = len(objectives) > 1
    found = study.get_trials(deepcopy=False)
    given_up = lost(found)
    # a process that died while a network was chosen leaves a trial of nothing
    trials = tuple(trial_record(t, given_up) for t in found if t.params or not is_cut(t))
    return Record(
        name=study.study_name,
        space=settings["space"],
        budget=plan["budget"],
        windows={figure: (low, high) for figure, (low, high) in settings["windows"].items()},
        space_size=plan["space_size"],
        feasible=plan["feasible"],
        is_exact=plan["is_exact"],
        objectives=tuple(settings["objectives"]),
        directions=tuple(objective.direction for objective in objectives),
        sampler=settings["sampler"],
        seed=settings["seed"],
        data=plan["data"],
        device=plan.get("device_name") or settings["device"],
        plan=_plan(plan),
        trials=trials,
        finalists=finalist_records(study.user_attrs),
        winner=None if winner is None else winner.number,
        rule=rule,
        front=tuple(t.number for t in front(complete(study), objectives)) if several else (),
        networks=_networks(plan.get("source")),
        reference=plan.get("reference"),
        versions=plan.get("versions", {}),
    )


def find_record(study: str, folder: Path, storage: str | None = None) -> Record:
    """All that is known of a study, by its name or its folder.

    Args:
        study: its name, or its folder (`runs/NAME`).
        folder: where studies are kept.
        storage: its database, where that is not in its folder.

    Raises:
        StudyError: there is none, or it is none of archspec's.
    """
    place = place_of_study(study, folder)
    url = store.url_of(storage, place)
    with store.messages(url), store.quiet():
        return record(store.load_study(place.name, url))


def place_of_study(study: str, folder: Path) -> Path:
    """The folder of a study that is given by its name or as that folder.

    Raises:
        ArchspecError: the name is none that a study can have.
    """
    path = Path(study)
    if "/" in study or path.is_dir():
        folder, study = path.parent, path.name
    return folder / check_name(study)


def _plan(plan: dict[str, Any]) -> dict[str, Any]:
    settings = plan["settings"]
    if not any(objective == "accuracy" for objective in settings["objectives"]):
        return {}
    height, width = settings["resolution"]
    recipe = {key: value for key, value in settings["recipe"].items() if value is not None}
    return {"resolution": f"{height}×{width}", "rungs": plan["rungs"], **recipe}


def _networks(source: str | None) -> tuple[Network, ...]:
    """The shipped networks of a source, with what they cost."""
    from archspec.figures import shipped_figures

    return tuple(
        Network(row["name"], row["flops"], row["params"], row["top1"])
        for row in shipped_figures()
        if source and row["source"] == source and row["flops"] and row["params"] and row["top1"]
        and row["folder"] != "ablations"
    )  # fmt: skip


def versions() -> dict[str, str]:
    """Of what a study's results hang on."""
    from archspec import __version__

    found = {"archspec": __version__}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:  # `lightning` instead of its parts
            continue
    return found
