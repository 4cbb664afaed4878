"""Which trials are dropped early: successive halving that survives kills.

Optuna's own pruner keeps what it needs in attributes of each trial, which a trial that is run again
inherits: it would be let through where the first attempt stopped, and be counted twice.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from optuna.pruners import BasePruner
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial

from archspec.search.retries import place_of


class SuccessiveHalving(BasePruner):
    """Asynchronous successive halving (Li et al., arXiv 1810.05934).

    At each rung a trial goes on if it is among the best 1/factor of all networks that have reached
    the rung so far, itself included. What it decides hangs on the reported values alone, one for
    each network however often it was run again.

    Args:
        rungs: the steps after which trials are compared.
        factor: of the trials at a rung, one in so many goes on.
    """

    def __init__(self, rungs: Sequence[int], factor: int) -> None:
        self.rungs, self.factor = tuple(rungs), factor

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        step = trial.last_step
        if step is None or step not in self.rungs:
            return False
        value = trial.intermediate_values[step]
        if math.isnan(value):
            return True
        own = place_of(trial)
        reached = {
            place_of(other): other.intermediate_values[step]
            for other in study.get_trials(deepcopy=False)
            if step in other.intermediate_values
        }
        reached[own] = value
        sign = -1 if study.direction == StudyDirection.MAXIMIZE else 1
        losses = sorted(sign * v for v in reached.values() if not math.isnan(v))
        # of fewer than `factor` trials, the best one goes on
        return sign * value > losses[max(len(losses) // self.factor, 1) - 1]
