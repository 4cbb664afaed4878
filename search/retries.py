"""Trials that were cut: which they are, how often they died, and how they are run again.

A trial is cut when its process ends before it: killed, or stopped in good order. It is run again
with the same parameters, as a new trial that stands in its place, and goes on from the checkpoint
of its last epoch. All attempts at one network share a place: the number of the first of them.
"""

from __future__ import annotations

import contextlib
import copy
import warnings
from collections.abc import Callable, Iterable, Sequence

from optuna.exceptions import ExperimentalWarning, UpdateFinishedTrialError
from optuna.storages import RDBStorage, RetryHeartbeatStaleTrialCallback, fail_stale_trials
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from archspec.search.samplers.history import OUTCOME, retry_of

DEATHS = 5
"""After so many kills in a row without an epoch between them, a network is given up."""

WORKER = "archspec:worker"
"""The attribute of a trial with the place that it runs at."""
DEVICE = "archspec:device"
"""Likewise, with the device there, as it calls itself."""
STOPPED = "archspec:stopped"
"""The attribute of a trial that was stopped in good order: its own number."""
_HISTORY = "retry_history"
"""The attribute under which Optuna's callback keeps the numbers of all attempts before."""
EPOCHS = "archspec:epochs"
"""The attribute of a trial with the epochs that are in its checkpoint."""


def place_of(trial: FrozenTrial) -> int:
    """The number of the first attempt at a trial's network."""
    first = retry_of(trial)
    return trial.number if first is None else first


def is_cut(trial: FrozenTrial) -> bool:
    """Whether a trial ended for no fault of its network: nobody said what the fault was."""
    return trial.state == TrialState.FAIL and OUTCOME not in trial.user_attrs


def is_named(trial: FrozenTrial, names: Iterable[str]) -> bool:
    """Whether the whole network of a trial is known: its process did not die while choosing."""
    return all(name in trial.params for name in names)


def given_up(attempts: Sequence[FrozenTrial]) -> bool:
    """Whether a network has killed its process too often.

    Stops in good order do not count, nor do kills before the latest progress.

    Args:
        attempts: all cut trials of one place, in order.
    """
    deaths, furthest = 0, None
    for trial in reversed(attempts):
        if trial.user_attrs.get(STOPPED) == trial.number:
            continue
        epochs = trial.user_attrs.get(EPOCHS, 0)
        if furthest is not None and epochs < furthest:
            break
        furthest = epochs
        deaths += 1
    return deaths >= DEATHS


def cut_places(trials: Sequence[FrozenTrial]) -> dict[int, list[FrozenTrial]]:
    """Place → attempts, for networks all of whose attempts were cut."""
    places: dict[int, list[FrozenTrial]] = {}
    for trial in trials:
        places.setdefault(place_of(trial), []).append(trial)
    return {
        place: attempts
        for place, attempts in sorted(places.items())
        if all(is_cut(trial) for trial in attempts)
    }


def finished(study: Study) -> int:
    """Networks that were tried to an end, good or bad, or given up."""
    trials = study.get_trials(deepcopy=False)
    done = (TrialState.COMPLETE, TrialState.PRUNED)
    ended = {place_of(t) for t in trials if t.state in done or OUTCOME in t.user_attrs}
    return len(ended | lost(trials))


def lost(trials: Sequence[FrozenTrial]) -> set[int]:
    """The places of networks that were given up."""
    return {place for place, attempts in cut_places(trials).items() if given_up(attempts)}


def run_again(study: Study, trial: FrozenTrial) -> None:
    """Queue a cut trial again, unless it has died too often. (Optuna's callback for stale ones.)"""
    trials = study.get_trials(deepcopy=False)
    place = place_of(trial)
    if given_up([t for t in trials if place_of(t) == place and is_cut(t)]):
        return
    if any(_follows(t) == trial.number for t in trials):  # another worker was faster
        return
    trial = copy.deepcopy(trial)
    attrs = {key: value for key, value in trial.user_attrs.items() if key != WORKER}
    trial.user_attrs = attrs  # whoever takes it up says so itself
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        RetryHeartbeatStaleTrialCallback()(study, trial)


def _follows(trial: FrozenTrial) -> int | None:
    """The cut trial right before this one, which runs it again."""
    history = trial.system_attrs.get(_HISTORY)
    return int(history[-1]) if history else None


def _drop_twins(study: Study, storage: RDBStorage) -> None:
    """Drop what was queued twice, since the answer of the database to the first time was lost."""
    trials = study.get_trials(deepcopy=False)
    followed: set[int] = set()
    for trial in trials:
        before = _follows(trial)
        if before is None:
            continue
        if before not in followed:
            followed.add(before)
        elif trial.state == TrialState.WAITING:
            study_id = storage.get_study_id_from_name(study.study_name)
            key = storage.get_trial_id_from_study_id_trial_number(study_id, trial.number)
            with contextlib.suppress(UpdateFinishedTrialError):
                storage.set_trial_user_attr(key, STOPPED, trial.number)
                storage.set_trial_state_values(key, TrialState.FAIL)


def recover(
    study: Study,
    storage: RDBStorage,
    names: Iterable[str],
    is_dead: Callable[[FrozenTrial], bool],
) -> list[int]:
    """Queue again what was cut: trials whose process is gone, and those stopped in good order.

    Args:
        storage: the study's.
        names: the parameters of a whole network; a trial that has not all of them is not run
            again, since its place will be asked for anew.
        is_dead: whether the process of a trial that runs by the study's word is gone.

    Returns:
        The numbers of the trials that were queued.
    """
    names = list(names)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        # Optuna does so too, but only where a trial is begun: none is where these are the last
        fail_stale_trials(study)
    for trial in study.get_trials(deepcopy=False, states=[TrialState.RUNNING]):
        if is_dead(trial):
            with contextlib.suppress(ValueError, UpdateFinishedTrialError):  # another was faster
                study.tell(trial.number, state=TrialState.FAIL)
    _drop_twins(study, storage)
    trials = study.get_trials(deepcopy=False)
    for attempts in cut_places(trials).values():
        if is_named(attempts[-1], names):
            run_again(study, attempts[-1])
    return [trial.number for trial in study.get_trials(deepcopy=False)[len(trials) :]]


def in_flight(study: Study) -> int:
    """Networks that are being tried now, or wait for it."""
    open_ = study.get_trials(deepcopy=False, states=[TrialState.RUNNING, TrialState.WAITING])
    return len({place_of(trial) for trial in open_})
