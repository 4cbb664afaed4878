"""One process's share of a study: networks are chosen and tried until there are enough."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import TrialState

from archspec.search.candidate import Candidate, caught
from archspec.search.choose import complete
from archspec.search.errors import BudgetError
from archspec.search.reading import trial_record
from archspec.search.retries import TWIN, finished, is_cut, is_twin, recover, taken
from archspec.search.train.outcomes import Interrupted
from archspec.search.turns import PATIENCE, Turn

if TYPE_CHECKING:
    from optuna.study import Study
    from optuna.trial import FrozenTrial, Trial

    from archspec.search.bench import Bench
    from archspec.search.objectives import Direction

POLL = 1.0
"""Seconds between two looks at what the other workers do."""


def recovered(bench: Bench) -> list[int]:
    """Queue again what was cut; the numbers of the trials that were queued."""
    # the first look at thousands of trials takes seconds: before the turn, nobody waits for it
    finished(bench.study)
    with _turn(bench).taken():
        return _recovered(bench)


def _recovered(bench: Bench) -> list[int]:
    names = [dim.name for dim in bench.shop.feasible.space.dims]
    watch = bench.watch
    is_dead = (lambda trial: True) if watch is None else watch.is_dead
    return recover(bench.study, bench.storage, names, is_dead)


def _turn(bench: Bench) -> Turn:
    return Turn(None if bench.watch is None else bench.storage, bench.study.study_name, PATIENCE)


def try_networks(bench: Bench, trials: int, time_limit: float | None) -> None:
    """Try networks until there are enough, the time is up or the caller stops it.

    Where there are other workers, each chooses in its turn: so none chooses what another one has,
    and there are never more networks than were asked for.

    Args:
        trials: how many there are to be in the end, whoever tried them.
        time_limit: seconds after which none is begun.

    Raises:
        Interrupted: the caller stopped it.
    """
    share, began, should_stop = _Share(bench, trials), time.monotonic(), bench.shop.should_stop
    while not should_stop() and finished(bench.study) < trials:
        if time_limit is not None and time.monotonic() - began >= time_limit:
            break
        try:
            if not share.try_one():
                time.sleep(POLL)
        except BudgetError as error:  # of the sampler, which knows of no further network
            bench.shop.listener.note(f"{error.message}; the search ends with those")
            break
    if should_stop():
        raise Interrupted("stopped between trials")


class _TurnLost(Exception):
    """The turn ended while it was being used: what was counted before may be so no longer."""


class _Share:
    """What this process does of a study."""

    def __init__(self, bench: Bench, trials: int) -> None:
        self._bench, self._trials = bench, trials
        self._turn = _turn(bench)
        self._direction = bench.shop.objectives[0].direction

    def try_one(self) -> bool:
        """Try a network, unless those that are being tried now are enough."""
        study, shop = self._bench.study, self._bench.shop
        with self._turn.taken():
            if self._bench.watch is not None:
                _recovered(self._bench)
                waiting = study.get_trials(deepcopy=False, states=[TrialState.WAITING])
                if not waiting and taken(study) >= self._trials:
                    return False
            candidate = Candidate(shop, self._check_turn, self._chosen)
            try:
                study.optimize(candidate, n_trials=1, callbacks=[self._after], catch=caught())
            except _TurnLost:
                return True  # others may have chosen meanwhile: look again
            except (UpdateFinishedTrialError, ValueError, AssertionError):
                # Optuna's "Cannot tell a FAIL trial.", on which it trips itself
                if not self._was_taken_over(candidate.number):
                    raise
                shop.listener.note(
                    f"trial {candidate.number} was taken over by another worker, since this one "
                    "gave no sign of life"
                )
        return True

    def _check_turn(self) -> None:
        if self._turn.is_lost():
            raise _TurnLost

    def _chosen(self, trial: Trial) -> None:
        """The study knows the network: the turn is another's, unless both have chosen the same."""
        if self._turn.is_lost():
            self._turn.give()
            self._turn.take()
            if is_twin(self._bench.study.get_trials(deepcopy=False), trial.number):
                trial.set_user_attr(TWIN, True)
                raise _TurnLost
        self._turn.give()

    def _was_taken_over(self, number: int | None) -> bool:
        if self._bench.watch is None or number is None:
            return False
        trial = self._bench.study.get_trials(deepcopy=False)[number]
        return is_cut(trial)

    def _after(self, study: Study, trial: FrozenTrial) -> None:
        shop = self._bench.shop
        shop.forget_trial(trial.params)
        best = best_value(study, self._direction)
        shop.listener.ended(trial_record(trial), finished(study), best)


def best_value(study: Study, direction: Direction) -> float | None:
    """The best first objective so far."""
    values = [trial.values[0] for trial in complete(study)]
    return (max if direction == "maximize" else min)(values) if values else None
