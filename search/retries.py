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

from archspec.search.ledger import Kept, Ledger
from archspec.search.samplers.history import OUTCOME, retry_of

DEATHS = 5
"""After so many kills in a row without an epoch between them, a network is given up."""

WORKER = "archspec:worker"
"""The attribute of a trial with the place that it runs at."""
DEVICE = "archspec:device"
"""Likewise, with the device there, as it calls itself."""
STOPPED = "archspec:stopped"
"""The attribute of a trial that was stopped in good order: its own number."""
TWIN = "archspec:twin"
"""The attribute of a trial that ended before it began, since another one has its network."""
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
    """Whether a trial has a whole network of its own: its process did not die while choosing."""
    return TWIN not in trial.user_attrs and all(name in trial.params for name in names)


def is_twin(trials: Sequence[FrozenTrial], number: int) -> bool:
    """Whether another place has the network of a trial."""
    mine = trials[number]
    return any(
        trial.params == mine.params
        and place_of(trial) != place_of(mine)
        and TWIN not in trial.user_attrs
        for trial in trials
    )


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


class Attempts(Ledger):
    """All attempts at the networks of a study, by the places that they share."""

    def __init__(self) -> None:
        super().__init__()
        self._ended: set[int] = set()
        self._cut: dict[int, list[FrozenTrial]] = {}
        self._followers: dict[int, int] = {}

    def add(self, trial: FrozenTrial) -> None:
        place, before = place_of(trial), _follows(trial)
        if before is not None:
            self._followers[before] = min(trial.number, self._followers.get(before, trial.number))
        if is_cut(trial):
            attempts = self._cut.setdefault(place, [])
            attempts.append(trial)
            attempts.sort(key=lambda attempt: attempt.number)
        else:
            self._ended.add(place)

    def cut_at(self, place: int) -> list[FrozenTrial]:
        """The attempts at a place that were cut, in order."""
        return list(self._cut.get(place, ()))

    def cut_places(self) -> dict[int, list[FrozenTrial]]:
        """Place → attempts, for networks all of whose attempts were cut."""
        others = self._ended | self.in_flight() if self._cut else set()
        return {place: self.cut_at(place) for place in sorted(self._cut) if place not in others}

    def in_flight(self) -> set[int]:
        """The places of networks that are being tried now, or wait for it."""
        return {place_of(trial) for trial in self.open}

    def lost(self) -> set[int]:
        """The places of networks that were given up."""
        return {place for place, attempts in self.cut_places().items() if given_up(attempts)}

    def ended(self) -> set[int]:
        """The places of networks that were tried to an end, good or bad, or given up."""
        failing = {place_of(trial) for trial in self.open if OUTCOME in trial.user_attrs}
        return self._ended | failing | self.lost()

    def follower(self, number: int) -> int | None:
        """The first trial that runs a cut one again."""
        found = [trial.number for trial in self.open if _follows(trial) == number]
        if number in self._followers:
            found.append(self._followers[number])
        return min(found, default=None)


_KEPT = Kept()


def attempts_of(study: Study) -> contextlib.AbstractContextManager[Attempts]:
    """The attempts of a study as of now, for the time of a block."""
    return _KEPT.read(study, Attempts, Attempts)


def finished(study: Study) -> int:
    """Networks that were tried to an end, good or bad, or given up."""
    with attempts_of(study) as attempts:
        return len(attempts.ended())


def taken(study: Study) -> int:
    """Networks that were tried to an end, are being tried now, or wait for it.

    All from one look at the study: between two, a trial may end and be in neither.
    """
    with attempts_of(study) as attempts:
        return len(attempts.ended() | attempts.in_flight())


def lost(trials: Sequence[FrozenTrial]) -> set[int]:
    """The places of networks that were given up."""
    return Attempts().read(trials).lost()


def run_again(study: Study, trial: FrozenTrial) -> None:
    """Queue a cut trial again, unless it has died too often. (Optuna's callback for stale ones.)"""
    with attempts_of(study) as attempts:
        if given_up(attempts.cut_at(place_of(trial))):
            return
        if attempts.follower(trial.number) is not None:  # another worker was faster
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
    with attempts_of(study) as attempts:
        waiting = [trial for trial in attempts.open if trial.state == TrialState.WAITING]
        first = {before: attempts.follower(before) for before in map(_follows, waiting)
                 if before is not None}  # fmt: skip
    for trial in waiting:
        before = _follows(trial)
        if before is not None and first[before] != trial.number:
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
    with attempts_of(study) as attempts:
        running = [trial for trial in attempts.open if trial.state == TrialState.RUNNING]
    for trial in running:
        if is_dead(trial):
            with contextlib.suppress(ValueError, UpdateFinishedTrialError):  # another was faster
                study.tell(trial.number, state=TrialState.FAIL)
    _drop_twins(study, storage)
    with attempts_of(study) as attempts:
        known = {trial.number for trial in attempts.open}
        cut = [each[-1] for each in attempts.cut_places().values() if is_named(each[-1], names)]
    if not cut:
        return []
    for trial in cut:
        run_again(study, trial)
    with attempts_of(study) as attempts:
        return [trial.number for trial in attempts.open if trial.number not in known]
