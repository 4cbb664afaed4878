"""What a study has seen so far, as rows of the space: what samplers learn from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from archspec.search.errors import SpaceError
from archspec.search.fronts import fronts
from archspec.search.ledger import Kept, Ledger
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
    with _KEPT.read(study, space, lambda: _Digests(space, len(study.directions))) as ledger:
        digests = [*ledger.ended, *map(ledger.digest, ledger.open)]
    digests.sort(key=lambda digest: digest.number)
    found: dict[int, _Digest] = {}
    seen, asked = set(), set()
    for digest in digests:
        if before is not None and digest.number >= before:
            break
        if digest.row is not None:
            seen.add(digest.row)
        if digest.is_asked:
            asked.add(digest.place)
        if digest.losses is not None:
            found[digest.place] = digest
    ordered = [found[place] for place in sorted(found)]
    rows = np.array([digest.row for digest in ordered], np.int64)
    losses = _losses(ordered, study.directions)
    return History(
        rows.reshape(len(ordered), len(space.dims)), _ranks(ordered, losses), losses,
        frozenset(seen), len(asked),
    )  # fmt: skip


class _Digest(NamedTuple):
    """What a history needs of a trial."""

    number: int
    place: int
    row: tuple[int, ...] | None
    """None if it is no network of the space."""
    is_asked: bool
    losses: tuple[float, ...] | None
    """What came out of it, as it was reported; None if it says nothing of its network."""
    is_complete: bool
    furthest: int | None
    """The last step of one that was pruned."""


class _Digests(Ledger):
    def __init__(self, space: Space, objectives: int) -> None:
        super().__init__()
        self._space, self._objectives = space, objectives
        self.ended: list[_Digest] = []

    def add(self, trial: FrozenTrial) -> None:
        self.ended.append(self.digest(trial))

    def digest(self, trial: FrozenTrial) -> _Digest:
        original = retry_of(trial)
        place = trial.number if original is None else original
        try:
            row = self._space.row(trial.params)
        except SpaceError:  # only just asked for, or enqueued by hand with values of its own
            # by another process, which must not draw what we draw
            is_asked = trial.state == TrialState.RUNNING
            return _Digest(trial.number, trial.number, None, is_asked, None, False, None)
        is_complete = trial.state == TrialState.COMPLETE
        furthest, losses = None, None
        if has_result(trial):
            losses = (math.nan,) * self._objectives
            if trial.state == TrialState.PRUNED:
                furthest = max(trial.intermediate_values)
                if self._objectives == 1:
                    losses = (trial.intermediate_values[furthest],)
            elif is_complete:
                losses = tuple(trial.values)
        return _Digest(trial.number, place, row, True, losses, is_complete, furthest)


_KEPT = Kept()


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
    digests: Sequence[_Digest], directions: Sequence[StudyDirection]
) -> NDArray[np.float64]:
    losses = np.array([digest.losses for digest in digests], np.float64)
    losses = losses.reshape(len(digests), len(directions))
    signs = [-1.0 if d == StudyDirection.MAXIMIZE else 1.0 for d in directions]
    found = losses * np.array(signs)
    return np.asarray(np.clip(found, -_HIGHEST, _HIGHEST), np.float64)  # infinity has no distances


def _ranks(digests: Sequence[_Digest], losses: NDArray[np.float64]) -> NDArray[np.int64]:
    """Places, 0 for the best: finished trials, then pruned ones by how far they came, then failed.

    With several objectives, a place is how many fronts lie before a trial's own.
    """
    places = np.zeros(len(digests), np.int64)
    complete = [i for i, digest in enumerate(digests) if digest.is_complete]
    places[complete] = fronts(losses[complete])
    worst = int(places[complete].max(initial=-1)) + 1

    def key(i: int) -> tuple[float, float]:
        furthest = digests[i].furthest
        if furthest is None:
            return (math.inf, math.inf)
        loss = float(losses[i, 0])
        return (-furthest, math.inf if math.isnan(loss) else loss)

    rest = {i: key(i) for i, digest in enumerate(digests) if not digest.is_complete}
    order = {each: place for place, each in enumerate(sorted(set(rest.values())))}
    for i, each in rest.items():
        places[i] = worst + order[each]
    return places
