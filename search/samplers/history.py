"""What a study has seen so far, as rows of the space: what samplers learn from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from archspec.search.errors import SpaceError
from archspec.search.space import Rows, Space

RETRY_OF = "failed_trial"
"""The attribute under which Optuna's own retry callback keeps the number of the cut trial."""
OUTCOME = "outcome"
"""Why a trial failed."""
_HIGHEST = 1e300
CUT = ("interrupted", "killed")
"""Outcomes that say nothing of the network."""


@dataclass(frozen=True)
class History:
    """Trials so far; retries of cut ones stand in their place."""

    rows: Rows
    """Networks with a result, one row each, in the order in which they were asked for."""
    ranks: NDArray[np.int64]
    """Their places among each other, 0 for the best; equal ones share a place."""
    losses: NDArray[np.float64]
    """What each objective came out as, lower is better; NaN for pruned and failed ones."""
    seen: frozenset[tuple[int, ...]]
    """Every network that was proposed, with or without a result."""
    asked: int
    """How many networks were asked for, retries not counted."""

    @property
    def results(self) -> int:
        return len(self.rows)


def history(study: Study, space: Space, before: int | None = None) -> History:
    """The history of a study.

    Args:
        before: a trial's number; those after it are left out (the trial that asks, for one).
    """
    found: dict[int, tuple[tuple[int, ...], FrozenTrial]] = {}
    seen, asked = set(), set()
    for trial in study.get_trials(deepcopy=False):
        if before is not None and trial.number >= before:
            continue
        try:
            row = space.row(trial.params)
        except SpaceError:  # only just asked for, or enqueued by hand with values of its own
            if trial.state == TrialState.RUNNING:
                asked.add(trial.number)  # by another process, which must not draw what we draw
            continue
        original = retry_of(trial)
        place = trial.number if original is None else original
        seen.add(row)
        asked.add(place)
        if has_result(trial):
            found[place] = (row, trial)
    ordered = [found[place] for place in sorted(found)]
    rows = np.array([row for row, _ in ordered], np.int64).reshape(len(ordered), len(space.dims))
    trials = [trial for _, trial in ordered]
    losses = _losses(trials, study.directions)
    return History(rows, _ranks(trials, losses), losses, frozenset(seen), len(asked))


def retry_of(trial: FrozenTrial) -> int | None:
    """The trial that was cut and that this one runs again."""
    number = trial.system_attrs.get(RETRY_OF)
    return None if number is None else int(number)


def has_result(trial: FrozenTrial) -> bool:
    """Whether a trial says something of its network: also that it diverged."""
    if trial.state == TrialState.COMPLETE:
        return True
    if trial.state == TrialState.PRUNED:
        return bool(trial.intermediate_values)
    outcome = trial.user_attrs.get(OUTCOME)
    return trial.state == TrialState.FAIL and outcome is not None and outcome not in CUT


def _losses(
    trials: Sequence[FrozenTrial], directions: Sequence[StudyDirection]
) -> NDArray[np.float64]:
    losses = np.full((len(trials), len(directions)), math.nan)
    for i, trial in enumerate(trials):
        if trial.state == TrialState.COMPLETE:
            losses[i] = trial.values
        elif trial.state == TrialState.PRUNED and len(directions) == 1:
            losses[i] = trial.intermediate_values[max(trial.intermediate_values)]
    signs = [-1.0 if d == StudyDirection.MAXIMIZE else 1.0 for d in directions]
    found = losses * np.array(signs)
    return np.asarray(np.clip(found, -_HIGHEST, _HIGHEST), np.float64)  # infinity has no distances


def _ranks(trials: Sequence[FrozenTrial], losses: NDArray[np.float64]) -> NDArray[np.int64]:
    """Places, 0 for the best: finished trials, then pruned ones by how far they came, then failed.

    With several objectives, a place is how many fronts lie before a trial's own.
    """
    places = np.zeros(len(trials), np.int64)
    complete = [i for i, trial in enumerate(trials) if trial.state == TrialState.COMPLETE]
    places[complete] = fronts(losses[complete])
    worst = int(places[complete].max(initial=-1)) + 1

    def key(i: int) -> tuple[float, float]:
        values = trials[i].intermediate_values
        if trials[i].state != TrialState.PRUNED or not values:
            return (math.inf, math.inf)
        loss = float(losses[i, 0])
        return (-max(values), math.inf if math.isnan(loss) else loss)

    rest = [i for i, trial in enumerate(trials) if trial.state != TrialState.COMPLETE]
    keys = sorted({key(i) for i in rest})
    for i in rest:
        places[i] = worst + keys.index(key(i))
    return places


def fronts(losses: NDArray[np.float64]) -> NDArray[np.int64]:
    """For each point, how many fronts of points that no other beats are peeled off before it."""
    places = np.full(len(losses), -1, np.int64)
    if losses.shape[1] == 1:
        return np.unique(losses[:, 0], return_inverse=True)[1].astype(np.int64)
    front = 0
    while (places < 0).any():
        left = np.flatnonzero(places < 0)
        points = losses[left]
        better = (points[:, None] <= points[None]).all(2) & (points[:, None] < points[None]).any(2)
        places[left[~better.any(axis=0)]] = front
        front += 1
    return places
