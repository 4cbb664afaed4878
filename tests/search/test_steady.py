"""Who was away, or has only just come, cannot tell that another worker gave no sign of life."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from archspec.search import database, patience, retries
from archspec.search.patience import Patience, PatientStorage


class Clocks:
    """Two clocks that are set by hand."""

    def __init__(self) -> None:
        self.steady, self.wall = 1000.0, 5000.0

    def monotonic(self) -> float:
        return self.steady

    def time(self) -> float:
        return self.wall

    def go(self, seconds: float) -> None:
        self.steady += seconds
        self.wall += seconds


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch) -> Clocks:
    made = Clocks()
    monkeypatch.setattr(patience, "time", made)
    return made


def test_who_was_away_has_not_seen_what_happened(clocks: Clocks) -> None:
    patient = Patience("there", gap=60)
    assert patient.steady() == 0, "it has never answered"
    patient.answered()
    clocks.go(50)
    assert patient.steady() == 50
    patient.answered()
    clocks.go(60)
    patient.answered()
    assert patient.steady() == 110
    clocks.go(61)  # frozen
    assert patient.steady() == 0
    patient.answered()
    assert patient.steady() == 0
    clocks.go(10)
    assert patient.steady() == 10
    clocks.wall += 3600  # the machine slept, or its clock was set
    assert patient.steady() == 0
    patient.answered()
    clocks.go(10)
    assert patient.steady() == 10


def test_who_has_only_just_come_takes_nobody_for_dead(tmp_path: Path, clocks: Clocks) -> None:
    """All signs of life are old after a long outage: the living must have time for their next."""
    url = f"sqlite:///{tmp_path}/s.db"
    with database.quiet(), database.connected(url, shared=True) as theirs:
        trial = optuna.create_study(study_name="s", storage=theirs).ask()
        theirs.record_heartbeat(theirs.get_trial_id_from_study_id_trial_number(1, trial.number))
    with contextlib.closing(sqlite3.connect(tmp_path / "s.db")) as file, file:
        file.execute("UPDATE trial_heartbeats SET heartbeat = datetime(heartbeat, '-1 hour')")
    with database.quiet(), database.connected(url, shared=True) as storage:
        check(optuna.load_study(study_name="s", storage=storage), storage, clocks)


def check(study: optuna.Study, storage: PatientStorage, clocks: Clocks) -> None:
    study.get_trials()
    for _ in range(2):
        clocks.go(database.HEARTBEAT - 1)
        retries.recover(study, storage, [], lambda trial: False)
        assert [trial.state for trial in study.get_trials()] == [TrialState.RUNNING]
    clocks.go(2)
    retries.recover(study, storage, [], lambda trial: False)
    assert study.get_trials()[0].state == TrialState.FAIL
