"""What workers do that are elsewhere, told from what the study says of it.

Nothing else reaches them: a message would be lost with the machine that sent it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from optuna.trial import TrialState

from archspec.search.listener import Listener
from archspec.search.reading import trial_record
from archspec.search.retries import EPOCHS, STOPPED, WORKER, finished, is_cut
from archspec.search.samplers.history import OUTCOME
from archspec.search.trying import best_value

if TYPE_CHECKING:
    from optuna.study import Study
    from optuna.trial import FrozenTrial

    from archspec.search.objectives import Direction

_ENDED = (TrialState.COMPLETE, TrialState.PRUNED)


class Follower:
    """Tells of each trial once that it has ended, and of those that run what they have reached.

    Args:
        workers: how many there are to be; a trial is told of as that of the first free one.
    """

    def __init__(
        self, study: Study, direction: Direction, workers: int, listener: Listener
    ) -> None:
        self._study, self._direction, self._listener = study, direction, listener
        self._doing: dict[int, tuple[int, int] | None] = dict.fromkeys(range(1, workers + 1))
        """Each worker's trial, and the epochs that it has behind it."""
        trials = study.get_trials(deepcopy=False)
        self._told = {trial.number for trial in trials if trial.state.is_finished()}
        for worker in self._doing:
            listener.of_worker(worker, "busy", "waiting for its place in the cluster")

    def look(self) -> int:
        """Look at the study and tell what is new.

        Returns:
            How many networks are finished.
        """
        trials = self._study.get_trials(deepcopy=False)
        done = finished(self._study)
        self._tell_running([t for t in trials if t.state == TrialState.RUNNING])
        for trial in trials:
            if trial.number in self._told or not trial.state.is_finished():
                continue
            self._told.add(trial.number)
            if trial.state in _ENDED or OUTCOME in trial.user_attrs:
                best = best_value(self._study, self._direction)
                self._listener.ended(trial_record(trial), done, best)
            elif is_cut(trial) and STOPPED not in trial.user_attrs:
                self._listener.note(
                    f"trial {trial.number} was cut, since its worker died; it is run again"
                )
        return done

    def _tell_running(self, trials: Sequence[FrozenTrial]) -> None:
        running = {trial.number: trial for trial in trials if WORKER in trial.user_attrs}
        for worker, doing in self._doing.items():
            if doing is not None and doing[0] not in running:
                self._doing[worker] = None
                self._listener.of_worker(worker, "busy", "choosing the next network")
        shown = {doing[0] for doing in self._doing.values() if doing is not None}
        free = [worker for worker, doing in self._doing.items() if doing is None]
        for worker, number in zip(free, sorted(set(running) - shown), strict=False):
            attrs = running[number].user_attrs
            if "flops" in attrs:
                self._doing[worker] = (number, 0)
                cost = {"flops": attrs["flops"], "params": attrs["params"]}
                self._listener.of_worker(
                    worker, "began", number, dict(running[number].params), cost
                )
        for worker, doing in self._doing.items():
            if doing is not None:
                self._doing[worker] = self._epochs(worker, running[doing[0]], doing[1])

    def _epochs(self, worker: int, trial: FrozenTrial, told: int) -> tuple[int, int]:
        epochs = int(trial.user_attrs.get(EPOCHS, 0))
        if epochs > told and trial.intermediate_values:
            accuracy = trial.intermediate_values[max(trial.intermediate_values)]
            self._listener.of_worker(worker, "epoch", trial.number, epochs, accuracy)
            return trial.number, epochs
        return trial.number, told
